"""Files that the user of exported units cannot read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inventories import Environment, Repository
from jobs.schedule.export.unreadable import UnitUser, unreadable_paths

FILE = """
[environment]
name = "try"
[store]
url = "file:///srv/store"
encrypt_to = "nobody"
sign_with = "nobody"
decrypt_with = {{ file = "{key}" }}
"""
CREW = UnitUser("crew", 1000, [1000, 50])


def environment(folder: Path, key: str) -> Environment:
    (folder / "try").write_text("servers = []\n")
    (folder / "try.toml").write_text(FILE.format(key=key))
    return Repository.find(folder).read("try")


def stat_of(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("folder", "key", "closed"),
    [
        ((0o755, 0, 0), (0o600, 1000, 1000), ""),
        ((0o755, 0, 0), (0o640, 0, 50), ""),
        ((0o755, 0, 0), (0o644, 0, 0), ""),
        ((0o755, 0, 0), (0o600, 0, 0), "/etc/crew/age.key"),
        ((0o700, 0, 0), (0o644, 0, 0), "/etc/crew"),
        (None, None, ""),
    ],
)
def test_the_first_closed_part_of_a_path_is_named(
    tmp_path: Path, folder: tuple[int, int, int] | None, key: tuple[int, int, int] | None, closed: str
) -> None:
    found = {"/etc/crew": folder, "/etc/crew/age.key": key}

    def find(path: Path) -> os.stat_result | None:
        at = found.get(str(path), (0o755, 0, 0) if str(path) in ("/", "/etc") else None)
        return stat_of(*at) if at else None

    sentences = unreadable_paths(environment(tmp_path, "/etc/crew/age.key"), CREW, find, systemd=True)
    expected = f"/etc/crew/age.key (store.decrypt_with): user crew cannot read {closed}; change its owner or mode"
    assert sentences == ([expected] if closed else [])


def test_systemd_hides_home_directories_from_every_user(tmp_path: Path) -> None:
    at_home = environment(tmp_path, "/home/me/age.key")
    (sentence,) = unreadable_paths(at_home, UnitUser("crew"), lambda _path: None, systemd=True)
    assert sentence.startswith("/home/me/age.key (store.decrypt_with): the units cannot see it, because ProtectHome=")
    assert unreadable_paths(at_home, UnitUser("crew"), lambda _path: None, systemd=False) == []
