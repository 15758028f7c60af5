"""When the key of secrets can be rotated, from what K3s prints."""

from __future__ import annotations

import pytest

from deploys.lib.k3s.encryption import EncryptionStatus, faults, parse_encryption_status

PRINTED = """\
Encryption Status: Enabled
Current Rotation Stage: {stage}
Server Encryption Hashes: {hashes}

Active  Key Type  Name
------  --------  ----
 *      AES-CBC   aescbckey
"""
SAME, DIFFERENT = "All hashes match", "hash does not match between node-1 and node-2"


@pytest.mark.parametrize(
    ("stage", "hashes", "settled"),
    [
        ("start", SAME, True),
        ("reencrypt_finished", SAME, True),
        ("reencrypt_finished", DIFFERENT, False),  # an interrupted run rotated, and has to restart servers
        ("reencrypt_active", SAME, False),
    ],
)
def test_a_new_key_is_made_only_from_a_settled_state(stage: str, hashes: str, settled: bool) -> None:
    status = parse_encryption_status(PRINTED.format(stage=stage, hashes=hashes).splitlines())
    assert status.enabled
    assert status.is_settled is settled


def test_a_run_needs_encryption_and_a_confirmation() -> None:
    assert list(faults("staging", "staging", EncryptionStatus(enabled=True))) == []
    disabled = parse_encryption_status(["Encryption Status: Disabled, no configuration file found"])
    missing, off = faults("", "staging", disabled)
    assert "confirm with --data k3s_rekey=staging" in missing
    assert "does not encrypt secrets" in off
