"""Secrets in group data: group data says where a secret is kept, never its value."""

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
    """Yield a fault if the value is not a valid reference to a secret."""
    is_valid = isinstance(given, dict) and len(given) == 1 and set(given) <= {"env", "file", "command"}
    if not is_valid:
        yield f'{where}: write {{"env": "A_VARIABLE"}}, {{"file": "/a/path"}} or {{"command": ["a", "program"]}}'


def reveal(where: str, given: dict[str, Any]) -> str:
    """Return the secret's value; raise DeployError if it can't be read."""
    secret = Secret(
        env=given.get("env", ""),
        file=Path(given["file"]).expanduser() if "file" in given else None,
        command=tuple(given.get("command", ())),
        used_by=where,
    )
    try:
        return secret.reveal()
    except NoSecret as missing:
        raise DeployError(str(missing)) from None


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """Return the SCRAM verifier that PostgreSQL stores. It is computed here, so the password never travels."""
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def matches_verifier(password: str, verifier: str) -> bool:
    """Return whether a server's verifier was made from this password."""
    if not verifier.startswith(f"SCRAM-SHA-256${ITERATIONS}:"):
        return False
    salt = base64.b64decode(verifier.split(":")[1].split("$", maxsplit=1)[0])
    return hmac.compare_digest(scram_verifier(password, salt), verifier)
