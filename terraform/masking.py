"""Mask the sensitive values of a plan's JSON, so that programs of others can read it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from terraform.values import SENSITIVE

SHORTEST = 8
"""Shorter secrets are masked only where Terraform marks them: as part of other texts, they would match too much."""
_STRUCTURE = frozenset({
    "action_reason", "actions", "address", "deposed", "format_version", "index", "mode", "module_address",
    "previous_address", "provider_name", "type",
})  # fmt: skip
"""Keys whose values say what the plan does to which resource: a secret with such a text must not hide that."""
_MARKED = (
    ("before", "before_sensitive"),
    ("after", "after_sensitive"),
    ("values", "sensitive_values"),
    ("config_values", "config_sensitive"),
)
"""Keys of values, and the key beside them that marks which are sensitive."""


def masked_plan(text: str) -> str:
    """Return the JSON of a plan in which sensitive texts are "(sensitive)", and other sensitive values are null.

    A sensitive text is masked everywhere in the document, also where Terraform does not mark it.
    """
    document = json.loads(text)
    secrets: set[str] = set()
    _hide_inputs(document, secrets)
    masked = _by_marks(document, secrets)
    long = sorted((re.escape(secret) for secret in secrets if len(secret) >= SHORTEST), key=len, reverse=True)
    if long:
        pattern = re.compile("|".join(long))
        masked = _each_text(masked, lambda value: pattern.sub(SENSITIVE, value))
    return json.dumps(masked, ensure_ascii=False)


def _hide_inputs(document: dict[str, Any], secrets: set[str]) -> None:
    """Hide the sensitive input variables in place: only the code in the plan says which ones are sensitive."""
    code = ((document.get("configuration") or {}).get("root_module") or {}).get("variables") or {}
    inputs = document.get("variables") or {}
    for name in inputs:
        if (code.get(name) or {}).get("sensitive"):
            inputs[name] = _hidden(inputs[name], secrets)


def _by_marks(value: Any, secrets: set[str]) -> Any:
    """Return a value with all that is marked as sensitive hidden, and collect its texts."""
    if isinstance(value, list):
        return [_by_marks(each, secrets) for each in value]
    if not isinstance(value, dict):
        return value
    hidden = {
        name: _masked(value[name], value[mask], secrets) for name, mask in _MARKED if name in value and mask in value
    }
    if value.get("sensitive") is True and "value" in value:  # an output
        hidden["value"] = _hidden(value["value"], secrets)
    return {name: hidden[name] if name in hidden else _by_marks(each, secrets) for name, each in value.items()}


def _masked(value: Any, mask: Any, secrets: set[str]) -> Any:
    """Return a value with the parts hidden that a mask of Terraform marks."""
    if mask is True:
        return _hidden(value, secrets)
    if isinstance(value, dict) and isinstance(mask, Mapping):
        return {name: _masked(each, mask.get(name), secrets) for name, each in value.items()}
    if isinstance(value, list) and isinstance(mask, list):
        masks = [*mask, *[None] * len(value)]
        return [_masked(each, masks[index], secrets) for index, each in enumerate(value)]
    return value


def _hidden(value: Any, secrets: set[str]) -> Any:
    """Return a value of the same shape without its content, and collect its texts."""
    secrets.update(_texts(value))
    if isinstance(value, dict):
        return {name: _hidden(each, secrets) for name, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each, secrets) for each in value]
    return SENSITIVE if isinstance(value, str) else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: each if name in _STRUCTURE else _each_text(each, change) for name, each in value.items()}
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    return change(value) if isinstance(value, str) else value
