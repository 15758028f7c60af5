"""Checks of group data that every deploy shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def unknown_keys(where: str, given: Iterable[str], known: Iterable[str], noun: str = "key") -> Iterator[str]:
    """Yield one fault that names the keys that are not allowed, and those that are."""
    if unknown := sorted(set(given) - set(known)):
        yield f"{where}: no such {noun}: {', '.join(unknown)}; allowed: {', '.join(sorted(known))}"
