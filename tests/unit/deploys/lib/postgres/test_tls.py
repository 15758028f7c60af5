"""Which certificates a server accepts, before anything changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploys.lib.postgres import tls
from deploys.lib.postgres.tls import Tls
from tests.parts.certificates import Issued, issue

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROOT = issue("Root", ca=True, now=NOW)
MIDDLE = issue("Middle", ROOT, ca=True, now=NOW)
LEAF = issue("db", MIDDLE, names=["db.internal", "*.shop.example", "10.0.0.5"], now=NOW)


def checked(
    folder: Path,
    *,
    chain: str = LEAF.pem + MIDDLE.pem,
    key: str = LEAF.key,
    names: list[str] | None = None,
    **more: str,
) -> tuple[Tls | None, list[str]]:
    given: dict[str, Any] = {"names": names or ["db.internal"]}
    for name, text in {"certificate": chain, "key": key, **more}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600 if name == "key" else 0o644)
        given[name] = {"file": str(folder / name)} if name == "key" else str(folder / name)
    assert list(tls.reference_faults(given, {})) == []
    return tls.tls_of_group_data(given, NOW)


def test_a_good_chain_becomes_one_file_with_the_key(tmp_path: Path) -> None:
    names = ["db.internal", "DB.internal", "eu.shop.example", "10.0.0.5"]
    found, faults = checked(tmp_path, names=names, ca=ROOT.pem, client_ca=ROOT.pem)
    assert faults == []
    assert found is not None
    assert found.bundle.reveal() == LEAF.key + LEAF.pem + MIDDLE.pem
    assert (found.expires, found.client_ca) == (NOW + 90 * DAY, ROOT.pem)
    assert "PRIVATE" not in repr(found)
    assert "ssl_key_file = '/etc/x/groundcrew-tls.pem'\n" in tls.tls_settings(found, "/etc/x")
    assert "ssl_ca_file = '/etc/x/groundcrew-client-ca.pem'\n" in tls.tls_settings(found, "/etc/x")


def of(leaf: Issued) -> dict[str, Any]:
    return {"chain": leaf.pem + MIDDLE.pem, "key": leaf.key}


def leaf(**more: Any) -> dict[str, Any]:
    return of(issue("db", MIDDLE, names=["db.internal"], now=NOW, **more))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"chain": "no"}, ["certificate: it has no readable certificate; write PEM, which starts with"]),
        ({"key": "no"}, ["key: it has no readable private key"]),
        ({"key": LEAF.locked_key()}, ["key: it is encrypted with a passphrase, which a server can't enter"]),
        ({"key": MIDDLE.key}, ["key: it does not belong to the certificate"]),
        ({"chain": MIDDLE.pem + LEAF.pem}, [
            "key: it does not belong to the certificate",
            "certificate 2 did not issue certificate 1; write the server's certificate first",
            "certificate 2: it is not a certificate authority",
            "names: the certificate is not for db.internal (its subject alternative names: none)",
        ]),
        ({"chain": LEAF.pem + ROOT.pem}, ["certificate 2 did not issue certificate 1"]),
        ({"chain": LEAF.pem, "ca": ROOT.pem}, ["certificate: ca did not issue certificate 1; add the missing issuers"]),
        ({"ca": LEAF.pem}, ["certificate: ca did not issue certificate 2"]),
        ({"ca": "no"}, ["ca: it has no readable certificate"]),
        ({"client_ca": LEAF.pem}, ["client_ca: it is not a certificate authority"]),
        (leaf(ends=-DAY / 2), ["certificate 1 (CN=db): it expired on 2026-11-30 00:00 UTC; renew it"]),
        (leaf(begins=DAY), ["certificate 1 (CN=db): it is valid only from 2026-12-01 12:00 UTC on"]),
        (leaf(client_only=True), ["certificate: it is not for servers"]),
        (leaf(rsa_bits=1024), ["key: it has 1024 bits; OpenSSL needs 2048 at least"]),
        ({"names": ["other.internal", "a.b.shop.example", "shop.example", "10.0.0.6"]}, [
            f"names: the certificate is not for {name} (its subject alternative names: *.shop.example, 10.0.0.5, "
            "db.internal); get one that is"
            for name in ("other.internal", "a.b.shop.example", "shop.example", "10.0.0.6")
        ]),
    ],
)  # fmt: skip
def test_each_problem_of_a_certificate_is_a_fault(tmp_path: Path, changed: dict[str, Any], expected: list[str]) -> None:
    found, faults = checked(tmp_path, **changed)
    assert found is None
    assert len(faults) == len(expected), faults
    for fault, start in zip(faults, expected, strict=True):
        assert fault.startswith(f"postgres_tls: {start}")


def test_a_mistake_in_group_data_is_a_fault() -> None:
    path = 'write the path of a file on this machine, such as "~/certificates/db.pem"'
    given = {"certificate": {"file": "db.pem"}, "key": "db.key", "name": "db"}
    assert list(tls.reference_faults(given, {"ssl_key_file": "x"})) == [
        "postgres_tls: no such key: name; allowed: ca, certificate, client_ca, key, names",
        f"postgres_tls: certificate: {path}",
        'postgres_tls: key: write {"env": "A_VARIABLE"}, {"file": "/a/path"} or {"command": ["a", "program"]}',
        'postgres_tls: names: list the names or addresses that clients connect to, such as ["db.internal"]',
        "postgres_settings: ssl_key_file: postgres_tls sets it; remove it",
    ]
    assert list(tls.reference_faults("db.pem", {})) == [
        "postgres_tls: write a dictionary with certificate, key and names"
    ]
    missing = {"certificate": "/not/there", "key": {"env": "NOT_THERE"}, "names": ["db"]}
    found, faults = tls.tls_of_group_data(missing, NOW)
    assert (found, len(faults)) == (None, 2)
