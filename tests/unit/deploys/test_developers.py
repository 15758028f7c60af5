"""Who should have what on a dev server, and what has to be done for it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from deploys.developers import (
    Account,
    Developer,
    Limits,
    accounts,
    arrival,
    conflicts,
    departure,
    faults,
    read,
    slice_of,
    sudo_rules,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7vdFkc16zF7lf3tch87aunXxIaqWMZmfhY1VJZ8emg ada@laptop"
GIVEN = {"name": "ada", "uid": 2001, "keys": [KEY]}
ADA = Developer("ada", 2001, (KEY,))
THERE = Account(2001, "/bin/bash", locked=False, expires="", groups=frozenset({"developers"}), processes=0)


def test_what_a_host_tells_of_its_accounts() -> None:
    text = (
        "root:x:0:0:root:/root:/bin/bash\nada:x:2001:2001::/home/ada:/bin/zsh\n--\n"
        "root:*:20000:0:99999:7:::\nada:!*:20000:0:99999:7::1:\n--\n"
        "developers:x:998:ada,bob\nsudo:x:27:\n--\nroot\nada\nada"
    )
    told = text.splitlines()
    assert accounts(told)["ada"] == Account(2001, "/bin/zsh", True, "1", frozenset({"developers"}), 2)
    assert accounts(told)["root"] == Account(0, "/bin/bash", False, "", frozenset(), 1)


@pytest.mark.parametrize(
    ("person", "there", "containers", "done"),
    [
        (ADA, THERE, "podman", []),
        (ADA, None, "", ["useradd --uid 2001 --user-group --create-home --shell /bin/bash --groups developers "
                         "--expiredate '' --password '*' ada", "chmod 700 ~ada"]),
        (Developer("ada", 2001, (KEY,), shell="/bin/zsh"), THERE, "", ["usermod --shell /bin/zsh ada"]),
        (Developer("ada", 2001, (KEY,), expires=date(1970, 1, 3)), THERE, "",
         ["usermod --expiredate '1970-01-03' ada"]),
        (Developer("ada", 2001, (KEY,), sudo=True), THERE, "docker", ["gpasswd --add ada docker"]),
        (ADA, Account(2001, "/bin/bash", True, "1", frozenset({"docker", "audio"}), 0), "docker", [
            "usermod --expiredate '' ada", "usermod --password '*' ada", "gpasswd --add ada developers",
            "gpasswd --delete ada docker"]),
    ],
)  # fmt: skip
def test_only_what_is_missing_is_done(
    person: Developer, there: Account | None, containers: str, done: list[str]
) -> None:
    assert arrival(person, there, containers) == done


@pytest.mark.parametrize(
    ("there", "done"),
    [
        (None, []),
        (Account(2001, "/bin/sh", True, "1", frozenset(), 0), []),
        (THERE, ["usermod --lock --expiredate 1 ada", "gpasswd --delete ada developers"]),
        (Account(2001, "/bin/sh", True, "1", frozenset(), 3),
         ["loginctl terminate-user ada || true; pkill -KILL --uid 2001 || true"]),
    ],
)  # fmt: skip
def test_who_leaves_is_locked_out(there: Account | None, done: list[str]) -> None:
    assert departure("ada", there) == done


@pytest.mark.parametrize(
    ("person", "said"),
    [
        ({"name": "Ada L"}, "'Ada L' is no name"),
        ({"uid": 0}, "uid must be a number between 1001 and 59999"),
        ({"keys": []}, "keys is empty"),
        ({"keys": ["-----BEGIN OPENSSH " + "PRIVATE KEY-----"]}, "is no public SSH key"),
        ({"expires": "tomorrow"}, "write a day"),
        ({"sudoer": True}, "sudoer: no such key"),
        ({"limits": {"memory": "lots"}}, "limits.memory: 'lots'"),
        ({"limits": {"cpu": 2}}, "limits.cpu"),
        ({"limits": {"disk": "1G"}}, "disk: no such limit"),
    ],
)
def test_a_slip_of_the_pen_is_told(person: dict[str, Any], said: str) -> None:
    told = list(faults([{**GIVEN, **person}], {}, []))
    assert len(told) == 1
    assert said in told[0]


def test_nobody_is_there_twice_or_both_here_and_gone() -> None:
    assert list(faults([GIVEN], {"cpu": "100%"}, [])) == []
    told = " ".join(faults([GIVEN, {**GIVEN, "name": "bob"}], {}, ["bob"]))
    assert "2001 is there twice" in told
    assert "bob is among the developers too" in told


def test_accounts_of_others_are_left_alone() -> None:
    assert list(conflicts([ADA], {"ada": THERE})) == []
    assert "ada has uid 33 there" in next(conflicts([ADA], {"ada": Account(33, "", False, "", frozenset(), 0)}))
    assert "belongs to www there" in next(conflicts([ADA], {"www": THERE}))


def test_what_is_written_for_a_person() -> None:
    (person,) = read([{**GIVEN, "sudo": True, "expires": "2027-12-31", "limits": {"memory": "1G"}}], {"cpu": "50%"})
    assert person == Developer(
        "ada", 2001, (KEY,), sudo=True, expires=date(2027, 12, 31), limits=Limits("50%", "1G", 4096)
    )
    assert slice_of(person) == (
        "/etc/systemd/system/user-2001.slice.d/50-groundcrew.conf",
        "# ada\n[Slice]\nCPUQuota=50%\nMemoryMax=1G\nTasksMax=4096\n",
    )
    assert sudo_rules([person, Developer("bob", 2002, (KEY,))]).splitlines()[1:] == ["ada ALL=(ALL:ALL) NOPASSWD: ALL"]
