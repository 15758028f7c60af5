"""One name has one meaning: a public class or function is defined once, unless all its definitions share a contract."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("inventories", "terraform", "deploys", "jobs")

SHARED = {
    "checks": "what `crew check` tests of one part of an environment",
    "faults": "what is wrong with group data, a sentence each",
    "files": "the files that a scheduler needs",
    "limit": "the time limit of a run, as a Job has it",
    "main": "runs a module as a program",
    "schedule": "the cron line of a subject, as a Job has it",
    "subjects": "what a job runs on, as a Job has it",
    "translated_errors": "turns a library's exceptions into errors that explain themselves",
    "work": "runs the job on one subject, as a Job has it",
}
"""Names that several modules define, and the one meaning that all of them share."""


def definitions() -> dict[str, list[str]]:
    """Every public class and top-level function, with the files that define it."""
    found = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                    found[node.name].append(str(file.relative_to(ROOT)))
    return found


def test_a_public_name_is_defined_once() -> None:
    several = {name: files for name, files in definitions().items() if len(files) > 1 and name not in SHARED}
    assert several == {}


def test_every_shared_name_is_still_shared() -> None:
    found = definitions()
    assert [name for name in SHARED if len(found[name]) < 2] == []
