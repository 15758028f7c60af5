"""Change a set in a directory store, as its own run or somebody else could have written it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from jobs.backup.sets.encryption import decrypt, encrypt
from jobs.backup.sets.manifest import decode_manifest
from jobs.backup.sets.marker import marker_name
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE, SigningKey
from jobs.backup.sets.trust import sign_name
from tests.parts.signing import SET_SIGNER

Change = Callable[[dict[str, Any]], object]


def rewrite_description(folder: Path, identity: str, change: Change) -> None:
    """Change the description in a set's folder, encrypt it again, and sign the set."""

    def changed(description: bytes) -> bytes:
        body = json.loads(description)
        change(body)
        return json.dumps(body).encode()

    rewrite_part(folder, identity, "description", changed)


def rewrite_part(folder: Path, identity: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change the contents of a small part in a set's folder, encrypt it again, and sign the set."""

    def store_part(manifest: dict[str, Any]) -> None:
        [part] = [part for part in manifest["parts"] if part["name"] == name]
        piece, recipients = folder / f"{name}.0", manifest["recipients"]
        decrypted, encrypted = BytesIO(), BytesIO()
        decrypt([piece.read_bytes()], decrypted, identity if recipients else None)
        encrypt([change(decrypted.getvalue())], encrypted, recipients)
        overwrite(piece, encrypted.getvalue())
        sha256 = hashlib.sha256(encrypted.getvalue()).hexdigest()
        part["pieces"] = [{"key": piece.name, "size": len(encrypted.getvalue()), "sha256": sha256}]
        part["first_sha256"] = sha256

    rewrite_manifest(folder, store_part)


def rewrite_manifest(folder: Path, change: Change, signer: SigningKey | None = SET_SIGNER) -> None:
    """Change the manifest in a set's folder, and sign it again, or not at all."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest)
    publish(folder, json.dumps(manifest).encode(), signer)


def publish(folder: Path, body: bytes, signer: SigningKey | None) -> None:
    """Write a manifest with what signs it."""
    set_id, database, _, environment = (each.name for each in (folder, *folder.parents[:3]))
    for marker in (folder / "ended").iterdir():
        marker.unlink()
    (folder / "manifest.json.sig").unlink(missing_ok=True)
    name = marker_name(decode_manifest(body, "manifest.json"), body)
    signed = sign_name(f"{environment}/backups/{database}/{set_id}/{name}", signer, MANIFEST_NAMESPACE)
    overwrite(folder / "ended" / signed.rpartition("/")[2], b"")
    overwrite(folder / "manifest.json", body)
    if signer is not None:
        overwrite(folder / "manifest.json.sig", signer.sign(body, MANIFEST_NAMESPACE))


def overwrite(file: Path, body: bytes) -> None:
    """Write a file that can be write-protected."""
    file.unlink(missing_ok=True)
    file.write_bytes(body)
