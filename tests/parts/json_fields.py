"""The fields of the JSON objects that commands print, read from the code."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jobs.cli.commands import COMMANDS, load_command

_END = "_as_json"
_SHARED = ("jobs.cli.run", "jobs.cli.stacks_command")
"""Modules whose functions print or make documents for other commands."""


def commands() -> dict[str, Any]:
    """Return the function of each visible command, by its name on the command line."""
    found: dict[str, Any] = {}
    for name in COMMANDS:
        command = load_command(name)
        inner = getattr(command, "commands", {})
        for of_group, each in inner.items():
            if not each.hidden:
                found[f"crew {name} {of_group}"] = each
        if not inner:
            found[f"crew {name}"] = command
    return found


def fields_by_command() -> dict[str, tuple[str, ...]]:
    """Return the fields that each command with --json prints, without `format`."""
    found = {}
    for name, command in commands().items():
        if any(parameter.name == "as_json" for parameter in command.params):
            function = command.callback
            module = importlib.import_module(_original(function).__module__)
            found[name] = tuple(dict.fromkeys(_printed(module.__name__, _original(function).__name__, set())))
    return found


def fields_of_objects() -> dict[str, tuple[str, ...]]:
    """Return the fields of the objects inside these documents, by the name of the function that makes each."""
    found = {}
    for path in sorted(Path(importlib.import_module("jobs.cli").__path__[0]).glob("*.py")):
        for name in _functions(f"jobs.cli.{path.stem}"):
            if name.endswith(_END):
                found[name.removesuffix(_END).strip("_").replace("_", " ")] = tuple(
                    dict.fromkeys(_returned(f"jobs.cli.{path.stem}", name))
                )
    return found


def _original(function: Any) -> Any:
    return getattr(function, "__wrapped__", function)


@cache
def _functions(module: str) -> dict[str, ast.FunctionDef]:
    source = Path(str(importlib.import_module(module).__file__)).read_text()
    return {each.name: each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.FunctionDef)}


def _printed(module: str, name: str, seen: set[str]) -> Iterator[str]:
    """Yield the keys that a function prints, itself or through others of its module."""
    function = _functions(module).get(name)
    if function is None or name in seen:
        return
    seen.add(name)
    for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if called == "print_json":
            yield from _keys(module, function, call.args[0])
        elif owner := _owner(module, called):
            yield from _printed(owner, called, seen)


def _owner(module: str, function: str) -> str | None:
    """Return the module that has a function which this module calls."""
    return next((each for each in (module, *_SHARED) if function in _functions(each)), None)


def _returned(module: str, name: str) -> Iterator[str]:
    function = _functions(module)[name]
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield from _keys(module, function, node.value)


def _keys(module: str, function: ast.FunctionDef, node: ast.expr) -> Iterator[str]:
    """Yield the keys of a dict: a literal, a local variable, or what another function returns."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                yield from _keys(module, function, value)
            elif isinstance(key, ast.Constant):
                yield str(key.value)
    elif isinstance(node, ast.IfExp):
        yield from _keys(module, function, node.body)
        yield from _keys(module, function, node.orelse)
    elif isinstance(node, ast.Name):
        for statement in ast.walk(function):
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == node.id for target in targets):
                value = getattr(statement, "value", None)
                if isinstance(value, ast.Dict | ast.IfExp):
                    yield from _keys(module, function, value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and (owner := _owner(module, node.func.id)):
        yield from _returned(owner, node.func.id)


PAGE = Path(__file__).parents[2] / "docs" / "json.md"
_START = "## Commands\n"


def page(before: str) -> str:
    """Return the page with its tables written anew; the text before them stays."""
    lines = [_START, "| command | fields |", "|---|---|"]
    lines += [f"| `{name}` | {_listed(fields)} |" for name, fields in fields_by_command().items()]
    lines += ["", "## Objects inside them", "", "| object | fields |", "|---|---|"]
    lines += [f"| {name} | {_listed(fields)} |" for name, fields in fields_of_objects().items()]
    return before.partition(_START)[0] + "".join(f"{line}\n" for line in lines)


def _listed(fields: tuple[str, ...]) -> str:
    return ", ".join(f"`{field}`" for field in fields)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
