"""Check that every secret of the environment file is available on this machine; `keys.py` checks the keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from inventories import Environment, Secret
from jobs.checks.check import Check, CheckResult, ok
from jobs.checks.keys import keys_of_jobs


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check for each secret, named by its key in the file."""
    keys = keys_of_jobs(environment)
    for key, secret in secrets_in(environment):
        if key not in keys:
            yield Check(f"secret {key}", partial(check_secret, secret))


def check_secret(secret: Secret) -> CheckResult:
    """Check that the secret can be read; the result never shows its value."""
    secret.reveal()
    return ok(f"available ({secret.source})")


def secrets_in(value: Any, key: str = "") -> Iterator[tuple[str, Secret]]:
    """Yield every secret inside a value, with its dotted key."""
    if isinstance(value, Secret):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from secrets_in(inner, _join(key, str(name)))
    elif isinstance(value, tuple):
        for number, inner in enumerate(value, start=1):
            yield from secrets_in(inner, _join(key, str(number)))
    elif is_dataclass(value):
        for field in fields(value):
            yield from secrets_in(getattr(value, field.name), _join(key, field.name))


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
