"""Whether the decryption key matches the recipients."""

from __future__ import annotations

from pathlib import Path

import pyrage

from inventories import Secret
from jobs.checks import CheckVerdict, ok
from jobs.checks.encryption import round_trip


def key_file(folder: Path, name: str) -> tuple[Secret, str]:
    identity = pyrage.x25519.Identity.generate()
    path = folder / name
    path.write_text(str(identity))
    path.chmod(0o600)
    return Secret(file=path), str(identity.to_public())


def test_a_round_trip_shows_whether_the_key_matches(tmp_path: Path) -> None:
    (key, public), (other, _) = key_file(tmp_path, "a"), key_file(tmp_path, "b")
    assert round_trip((public,), key).verdict is CheckVerdict.OK
    assert round_trip((public,), other).verdict is CheckVerdict.FAULT
    assert round_trip((public,), None) == ok(
        "encryption works; without decrypt_with, this machine cannot restore or verify backups"
    )
    assert round_trip((), None).verdict is CheckVerdict.WARN
