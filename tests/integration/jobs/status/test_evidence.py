"""`crew backups evidence`: ssh-keygen accepts the signature of a report, and refuses a changed report."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.parts.crew import Repository
from tests.parts.needs import needs
from tests.parts.signing import RESULT_SIGNER

FILE = '[databases.shop]\nurl = "postgresql://me@db/shop"\nbackup = "0 2 * * *"\n'


@needs("ssh-keygen")
def test_ssh_keygen_checks_the_signature(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.environment("staging", FILE, encrypt=False)
    page = tmp_path / "evidence.html"
    result = repository.crew("backups", "evidence", "staging", "--since", "30d", "--html", str(page))
    assert result.code == 0, result
    assert f"wrote {page}: 1 database" in result.out
    assert "no run was recorded" in page.read_text()
    assert checked(tmp_path, page.read_bytes(), page.with_name("evidence.html.sig"))
    assert not checked(tmp_path, page.read_bytes().replace(b"no run", b"one run"), page.with_name("evidence.html.sig"))
    printed = repository.crew("backups", "evidence", "staging", "--since", "30d", "--json").json
    signature = tmp_path / "json.sig"
    signature.write_text(printed["signature"])
    assert checked(tmp_path, printed["document"].encode(), signature)


def checked(folder: Path, text: bytes, signature: Path) -> bool:
    """Return whether ssh-keygen accepts a signature."""
    trusted = folder / "trusted"
    trusted.write_text(f"crew {RESULT_SIGNER.public.line}\n")
    argv = ["ssh-keygen", "-Y", "verify", "-f", trusted, "-I", "crew", "-n", "groundcrew-evidence", "-s", signature]
    return subprocess.run(argv, input=text, capture_output=True, check=False).returncode == 0


def test_a_period_must_have_begun_and_a_form_must_be_named(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.environment("staging", FILE, encrypt=False)
    assert repository.crew("backups", "evidence", "staging", "--since", "2100-01-01", "--json").code == 64
    assert "--html FILE" in repository.crew("backups", "evidence", "staging", "--since", "30d").err
