"""Which major version of PostgreSQL a host gets, and from which apt repository."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from deploys.lib.postgres import versions


@pytest.mark.parametrize(
    ("version", "beside", "repository", "expected"),
    [
        (0, [], versions.REPOSITORY, []),
        (17, [15, 16], "", []),
        (13, [], "", ["postgres_version: 13 is not allowed; write a major version from 14 on, such as 17"]),
        ("17", [], "", ["postgres_version: '17' is not allowed; write a major version from 14 on, such as 17"]),
        (17, 15, "", ["postgres_beside: 15 is not allowed; list major versions from 14 on, such as [15]"]),
        (17, [17], "", ["postgres_beside: 17 is postgres_version; list only others"]),
        (
            17,
            [],
            "https://a\nb",
            [f"postgres_repository: 'https://a\\nb' is not a URL; write one such as \"{versions.REPOSITORY}\""],
        ),
    ],
)
def test_each_mistake_in_group_data_is_a_fault(version: Any, beside: Any, repository: Any, expected: list[str]) -> None:
    assert list(versions.faults(version, beside, repository)) == expected


@pytest.mark.parametrize(
    ("version", "existing", "beside", "expected"),
    [
        (17, [], [], ""),
        (17, [17], [], ""),
        (17, [15, 17], [], ""),
        (15, [15, 17], [17], ""),
        (15, [15, 17], [], "the host also has a server of PostgreSQL 17, so that of 15 may be left from an upgrade."),
        (17, [15], [15], ""),
        (17, [15], [], "the host has a server of PostgreSQL 15, and group data asks for 17. Set postgres_version = 15"),
        (17, [15, 16], [15], "the host has a server of PostgreSQL 16, and group data asks for 17."),
    ],
)
def test_an_empty_server_never_replaces_one_with_data(
    version: int, existing: list[int], beside: list[int], expected: str
) -> None:
    faults = list(versions.cluster_faults(version, existing, beside, []))
    assert len(faults) == bool(expected)
    assert "".join(faults).startswith(expected)


def test_an_unfinished_upgrade_is_finished_first() -> None:
    assert versions.parse_clusters(["17", "15", "15 17"]) == ([15, 17], [15, 17])
    assert versions.parse_clusters(["17"]) == ([17], [])
    (fault,) = versions.cluster_faults(17, [15, 17], [], [15, 17])
    assert fault == "an upgrade from PostgreSQL 15 to 17 is unfinished; first run deploys/postgres_upgrade.py again"


def test_the_repository_is_trusted_with_its_own_key_only() -> None:
    assert versions.source_text(versions.REPOSITORY, "bookworm").splitlines()[1:] == [
        "Types: deb",
        "URIs: https://apt.postgresql.org/pub/repos/apt",
        "Suites: bookworm-pgdg",
        "Components: main",
        "Signed-By: /etc/apt/keyrings/groundcrew-postgresql.asc",
    ]


def test_the_key_is_that_of_the_postgresql_project() -> None:
    text = Path(versions.__file__).with_name("apt.postgresql.org.asc").read_text()
    lines = text.partition("\n\n")[2].partition("\n=")[0]
    packets = base64.b64decode(lines)
    assert packets[0] == 0x99, "a public key, with a length of two bytes"
    body = packets[: 3 + int.from_bytes(packets[1:3])]
    fingerprint = hashlib.sha1(body, usedforsecurity=False).hexdigest().upper()
    assert fingerprint == "B97B 0AFC AA1A 47F0 44F2 44A0 7FCC 7D46 ACCC 4CF8".replace(" ", "")
    assert text.count("BEGIN") == 1
