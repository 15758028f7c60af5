"""Recognises errors of the network by their text, which is all that libraries pass on."""

from __future__ import annotations

_UNKNOWN_HOST = ("Name or service not known", "No address associated with hostname", "nodename nor servname provided")


def is_unknown_host(message: str) -> bool:
    """Whether a name server answered that the host does not exist: trying again is useless."""
    return any(text in message for text in _UNKNOWN_HOST)
