"""Every error that product code raises for a user derives from CrewError."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

from inventories import CrewError

ROOT = Path(__file__).parents[3]

PACKAGES = ("inventories", "terraform", "deploys", "jobs")
CAUGHT_NEARBY = {"InvalidValue", "StepFailed", "_StopReading"}
"""Exceptions that never reach a user: their own package catches them."""


def exceptions() -> list[tuple[str, str]]:
    """Return (module, name) of each exception class that product code defines on a built-in base."""
    found = []
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for node in ast.parse(file.read_text()).body:
                bases = [base.id for base in getattr(node, "bases", []) if isinstance(base, ast.Name)]
                if isinstance(node, ast.ClassDef) and any(base.endswith(("Error", "Exception")) for base in bases):
                    found.append((module, node.name))
    return found


def test_each_exception_is_a_crew_error() -> None:
    found = [(module, name) for module, name in exceptions() if name not in CAUGHT_NEARBY]
    assert len(found) > 20
    assert [at for at in found if not issubclass(getattr(import_module(at[0]), at[1]), CrewError)] == []


def test_an_error_keeps_its_lines() -> None:
    error = CrewError("one", "two")
    assert error.lines == ("one", "two")
    assert str(error) == "one\ntwo"
    assert error.on_one_line == "one; two"
