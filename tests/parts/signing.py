"""Keys that sign the backup sets and the results of verifications in tests, new for each run of the tests."""

from __future__ import annotations

from pathlib import Path

from jobs.backup.sets.signatures import (
    MANIFEST_NAMESPACE,
    VERIFICATION_NAMESPACE,
    PublicKey,
    SigningKey,
    new_signing_key,
    parse_public_key,
)
from jobs.backup.sets.trust import Trust

_TEXTS = {namespace: new_signing_key(namespace) for namespace in (MANIFEST_NAMESPACE, VERIFICATION_NAMESPACE)}
SET_SIGNER, RESULT_SIGNER = (SigningKey(text) for text, _ in _TEXTS.values())
PUBLIC_LINES = [f'namespaces="{namespace}" {public}' for namespace, (_, public) in _TEXTS.items()]
KEYS: tuple[PublicKey, ...] = tuple(map(parse_public_key, PUBLIC_LINES))
TRUST = Trust(KEYS)


def write_signing_keys(folder: Path) -> tuple[Path, Path]:
    """Write the secret keys that sign sets and results, and return their files."""
    files = folder / "signing.key", folder / "verify.key"
    for file, (text, _) in zip(files, _TEXTS.values(), strict=True):
        file.touch(0o600)
        file.write_text(text)
    return files
