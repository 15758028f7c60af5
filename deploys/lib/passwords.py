"""Secrets that group data names: where they are kept, never what they are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploys.lib.preflight import DeployError
from inventories import NoSecret, Secret

ITERATIONS = 4096


def faults(where: str, given: Any) -> Iterator[str]:
    """What is wrong with the way in which a secret is named."""
    named = isinstance(given, dict) and len(given) == 1 and set(given) <= {"env", "file", "command"}
    if not named:
        yield f'{where}: write {{"env": "A_VARIABLE"}}, {{"file": "/a/path"}} or {{"command": ["a", "program"]}}'


def revealed(where: str, given: dict[str, Any]) -> str:
    """The secret itself, or the end of the deploy with a sentence."""
    named = Secret(
        env=given.get("env", ""),
        file=Path(given["file"]).expanduser() if "file" in given else None,
        command=tuple(given.get("command", ())),
        asked_by=where,
    )
    try:
        return named.reveal()
    except NoSecret as missing:
        raise DeployError(str(missing)) from None


def verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL keeps of a password; made here, so that the password itself never travels."""
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    told = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{told[0]}${told[1]}:{told[2]}"


def fits(password: str, kept: str) -> bool:
    """Is this the password of a verifier that a server keeps?"""
    if not kept.startswith(f"SCRAM-SHA-256${ITERATIONS}:"):
        return False
    salt = base64.b64decode(kept.split(":")[1].split("$", maxsplit=1)[0])
    return hmac.compare_digest(verifier(password, salt), kept)
