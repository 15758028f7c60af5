"""The checksum of a downloaded file."""

from __future__ import annotations

from deploys.lib.k3s.artefacts import verify_checksum_command


def test_the_checksum_is_that_of_the_exact_file_name() -> None:
    assert verify_checksum_command("k3s-arm64", "/tmp/x").startswith('awk \'$2 == "k3s-arm64"')
