"""Somebody who can write the store, but has no secret key, gets nothing restored, removed or hidden."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from jobs.backup.sets.encryption import encrypt
from jobs.backup.sets.signatures import SigningKey, new_signing_key
from tests.integration.jobs.backup.test_readme import block
from tests.parts.crew import Repository
from tests.parts.needs import needs
from tests.parts.postgres import Database
from tests.parts.rewriting import overwrite, rewrite_manifest
from tests.parts.signing import PUBLIC_LINES

STRANGER = SigningKey(new_signing_key()[0])


@pytest.fixture
def taken(repository: Repository, database: Callable[..., Database]) -> str:
    """Return the only set of a database with one table."""
    origin = database(16)
    origin.run("CREATE TABLE orders AS SELECT generate_series(1, 100) n")
    repository.environment(text=repository.section("shop", origin, "keep = { daily = 1 }"))
    return repository.backup()


def plant(repository: Repository, taken: str, signer: SigningKey | None, **changes: object) -> str:
    """Write a newer set like the one that was taken, with another manifest. Return its ID."""
    planted = f"{taken[:15]}Z-ffff"
    folder = repository.folder(taken).with_name(planted)
    shutil.copytree(repository.folder(taken), folder)
    rewrite_manifest(folder, lambda body: body.update(set=planted, ended="2099-01-01T00:00:00Z", **changes), signer)
    return planted


@pytest.mark.parametrize("signer", [None, STRANGER], ids=["nobody", "a stranger"])
def test_a_planted_set_is_listed_apart_and_never_used(
    repository: Repository, taken: str, database: Callable[..., Database], signer: SigningKey | None
) -> None:
    planted = plant(repository, taken, signer, recipients=[])
    listed = repository.crew("backups", "list", "staging").out
    assert (
        listed.index(taken) < listed.index("Not trusted, and used only with --trust-unsigned:") < listed.index(planted)
    )
    states = repository.crew("backups", "list", "staging", "--json").json["sets"]
    assert {each["set"]: each["state"] for each in states} == {taken: "complete", planted: "untrusted"}
    into = database(16)
    restore = ("backups", "restore", "staging", "shop", "--into", into.url, "--dry-run")
    restore += ("--password-from", f"file:{repository.password(into)}")
    chosen = repository.crew(*restore)
    assert (chosen.code, f"set {taken}" in chosen.out) == (0, True), chosen
    assert f"Warning: set {taken} is used instead of a newer one: set {planted} is not trusted" in chosen.err
    for command in (
        restore,
        ("backups", "fetch", "staging", "shop", "roles"),
        ("backups", "verify", "staging", "shop"),
    ):
        refused = repository.crew(*command, "--set", planted)
        assert refused.code == 1, refused
        assert f"name it with --trust-unsigned {planted}" in refused.out + refused.err
    assert repository.crew("run", "verify", "staging", "--dry-run").out.count(taken) == 1
    pruned = repository.crew("backups", "prune", "staging", "--dry-run", "--json").json["databases"][0]
    assert {each["set"]: each["keep"] for each in pruned["sets"]} == {taken: True, planted: True}
    assert repository.crew("backups", "prune", "staging", "shop", "--set", planted).code == 0
    assert not repository.folder(taken).with_name(planted).exists()


def test_a_manifest_of_another_set_does_not_pass_under_a_valid_marker(repository: Repository, taken: str) -> None:
    newer = repository.backup()
    for name in ("manifest.json", "manifest.json.sig"):
        overwrite(repository.folder(newer) / name, (repository.folder(taken) / name).read_bytes())
    refused = repository.crew("backups", "fetch", "staging", "shop", "roles", "--set", newer)
    assert refused.code == 1, refused
    assert f"set {newer} of staging/shop was changed after it was signed: its manifest differs" in refused.err
    assert "--trust-unsigned" not in refused.err
    shown = repository.crew("backups", "show", "staging", "shop", "--set", newer, "--json").json
    assert (shown["signed_by"], "was copied or renamed" in shown["untrusted"]) == (None, True)


def test_a_changed_manifest_is_not_trusted(repository: Repository, taken: str) -> None:
    manifest = repository.folder(taken) / "manifest.json"
    overwrite(manifest, manifest.read_bytes().replace(b'"standby": false', b'"standby": true'))
    refused = repository.crew("backups", "fetch", "staging", "shop", "roles")
    assert refused.code == 1, refused
    assert "was changed after it was signed: its manifest differs" in refused.err


@pytest.mark.parametrize("part", ["roles", "rest"])
def test_no_byte_of_an_exchanged_piece_is_used(
    repository: Repository, taken: str, part: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Recipients are public, so everybody can make a piece that decrypts well."""
    forged = BytesIO()
    recipients = json.loads((repository.folder(taken) / "manifest.json").read_bytes())["recipients"]
    encrypt([b"ALTER ROLE app SUPERUSER;\n" * 100_000], forged, recipients)
    overwrite(repository.folder(taken) / f"{part}.0", forged.getvalue())
    file = repository.root / "fetched"
    refused = repository.crew("backups", "fetch", "staging", "shop", part, "--to", str(file))
    assert refused.code == 1, refused
    assert f"part {part} of set {taken} of staging/shop is damaged" in refused.err
    assert not file.exists()


def test_a_result_that_was_not_signed_or_copied_changes_nothing(repository: Repository, taken: str) -> None:
    verified = repository.crew("run", "verify", "staging")
    assert verified.code == 0, verified
    newer = repository.backup()
    results = repository.folder(newer) / "verifications"
    shutil.copytree(repository.folder(taken) / "verifications", results)
    [copied] = results.glob("*-passed-*")
    (results / copied.name.replace("-passed-", "-failed-")).write_bytes(b"")
    listed = {each["set"]: each for each in repository.crew("backups", "list", "staging", "--json").json["sets"]}
    assert listed[taken]["verified"] is not None
    assert (listed[newer]["verified"], listed[newer]["verification_failed"]) == (None, None)
    assert [each["outcome"] for each in listed[newer]["untrusted_results"]] == ["failed", "passed"]
    assert "not yet (unsigned: failed)" in repository.crew("backups", "list", "staging", "shop").out
    assert f"would verify set {newer}" in repository.crew("run", "verify", "staging", "--dry-run").out


def test_the_manifest_in_clear_does_not_describe_the_database(repository: Repository, taken: str) -> None:
    manifest = (repository.folder(taken) / "manifest.json").read_text()
    assert "orders" not in manifest
    toml = repository.root / "inventories/staging.toml"
    toml.write_text("".join(line for line in toml.open() if not line.startswith("decrypt_with")))
    shown = repository.crew("backups", "show", "staging", "shop")
    assert shown.code == 0, shown
    assert "Not shown: tables, rows and notes, because set" in shown.out
    assert "orders" not in shown.out


def test_without_a_word_about_signatures_nothing_is_backed_up_or_listed(repository: Repository, taken: str) -> None:
    toml = repository.root / "inventories/staging.toml"
    toml.write_text("".join(line for line in toml.open() if not line.startswith(("sign_with", "trust"))))
    for command in (("run", "backup", "staging"), ("backups", "list", "staging")):
        refused = repository.crew(*command)
        assert refused.code != 0, refused
        assert 'sign_with = "nobody"' in refused.out + refused.err


@needs("ssh-keygen")
def test_the_commands_of_the_page_check_a_signature(repository: Repository, taken: str, tmp_path: Path) -> None:
    commands = block("Check a signature without groundcrew")
    line = next(line for line in PUBLIC_LINES if "groundcrew-manifest" in line)
    commands = commands.replace('namespaces="groundcrew-manifest" ssh-ed25519 AAAA…', line)
    folder = tmp_path / "here"
    shutil.copytree(repository.folder(taken), folder)

    def check() -> subprocess.CompletedProcess[str]:
        script = f"set -e\n{commands}"
        return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)

    checked = check()
    assert checked.returncode == 0, checked.stderr
    assert 'Good "groundcrew-manifest" signature' in checked.stdout
    assert "rest.0: OK" in checked.stdout
    overwrite(folder / "manifest.json", (folder / "manifest.json").read_bytes() + b" ")
    assert check().returncode != 0
