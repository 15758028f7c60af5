"""SCRAM verifiers of PostgreSQL passwords."""

from __future__ import annotations

from deploys.lib import passwords


def test_a_verifier_matches_only_its_own_password() -> None:
    verifier = passwords.scram_verifier("s3cret")
    assert verifier != passwords.scram_verifier("s3cret"), "each verifier has its own salt"
    assert passwords.matches_verifier("s3cret", verifier)
    assert not passwords.matches_verifier("secret", verifier)
    assert not passwords.matches_verifier("s3cret", "md5abc")
