"""Can every secret that the file names be had here?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from inventories import Environment, Secret
from jobs.checks.check import Check, CheckResult, ok


def checks(environment: Environment) -> Iterator[Check]:
    """One for each secret, under its key in the file."""
    for key, secret in secrets_in(environment):
        yield Check(f"secret {key}", partial(check_secret, secret))


def check_secret(secret: Secret) -> CheckResult:
    """That it can be had; never what it is."""
    secret.reveal()
    return ok(f"is there ({secret.source})")


def secrets_in(value: Any, key: str = "") -> Iterator[tuple[str, Secret]]:
    """Every secret below a value, with its dotted key."""
    if isinstance(value, Secret):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from secrets_in(inner, _below(key, str(name)))
    elif isinstance(value, tuple):
        for at, inner in enumerate(value, start=1):
            yield from secrets_in(inner, _below(key, str(at)))
    elif is_dataclass(value):
        for one in fields(value):
            yield from secrets_in(getattr(value, one.name), _below(key, one.name))


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
