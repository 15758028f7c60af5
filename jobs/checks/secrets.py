"""Can every secret that the file names be had here?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from inventories import Environment, Secret
from jobs.checks.check import Check, Finding, ok


def checks(environment: Environment) -> Iterator[Check]:
    """One for each secret, under its key in the file."""
    for key, secret in named(environment):
        yield Check(f"secret {key}", partial(resolved, secret))


def resolved(secret: Secret) -> Finding:
    """That it can be had; never what it is."""
    secret.reveal()
    return ok(f"is there ({secret.source})")


def named(value: Any, key: str = "") -> Iterator[tuple[str, Secret]]:
    """Every secret below a value, with its dotted key."""
    if isinstance(value, Secret):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from named(inner, _below(key, str(name)))
    elif isinstance(value, tuple):
        for at, inner in enumerate(value, start=1):
            yield from named(inner, _below(key, str(at)))
    elif is_dataclass(value):
        for one in fields(value):
            yield from named(getattr(value, one.name), _below(key, one.name))


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
