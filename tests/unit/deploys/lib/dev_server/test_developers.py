"""Who should have what on a dev server, and what has to be done for it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from deploys.lib.dev_server.developers import (
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
    unfit_to_leave,
    unnamed,
    without_shell,
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
        (Account(2001, "/bin/sh", True, "1", frozenset({"developers", "sudo"}), 3),
         ["gpasswd --delete ada sudo", "loginctl terminate-user ada || true; pkill -KILL --uid 2001 || true",
          "gpasswd --delete ada developers"]),
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
        ({"expires": "2027-02-31"}, "write a day"),
        ({"expires": date(2027, 12, 31)}, "write a day"),
        ({"shell": "zsh"}, "shell is 'zsh'; write its whole path"),
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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bob", []),
        ("john.doe", []),
        ("bob; reboot", ["departed: 'bob; reboot' is no name for an account; write it as the host has it"]),
        (7, ["departed: 7 is no name for an account; write it as the host has it"]),
        ("root", ["departed: root can't be locked out; name people only"]),
    ],
)
def test_who_may_be_named_as_departed(name: str, said: list[str]) -> None:
    assert list(faults([GIVEN], {}, [name])) == said


def test_who_is_named_nowhere_has_departed_too() -> None:
    member, other = frozenset({"developers"}), frozenset({"audio"})
    there = {
        "ada": THERE,
        "bob": Account(2002, "/bin/sh", False, "", member, 1),
        "dan": Account(2003, "/bin/sh", False, "", other, 1),
        "eve": Account(2004, "/bin/sh", False, "", other, 1),
        "gus": Account(2005, "/bin/sh", False, "", member, 1),
        "root": Account(0, "/bin/sh", False, "", member, 1),
        "www-data": Account(33, "/bin/sh", False, "", other, 1),
    }
    assert unnamed([ADA], ["gus"], there, ["ada", "eve", "ghost", "www-data"]) == ["bob", "eve", "ghost"]


def test_nobody_of_the_system_and_nobody_who_runs_it_is_locked_out() -> None:
    there = {"www-data": Account(33, "", False, "", frozenset(), 0), "bob": THERE}
    assert list(unfit_to_leave(["bob", "ghost"], ["eve"], there, "root")) == []
    assert list(unfit_to_leave(["www-data"], [], there, "root")) == [
        "departed: www-data has uid 33 there, so it is the system's own; take the name out"
    ]
    for departed, others in ((["bob"], []), ([], ["bob"])):
        assert list(unfit_to_leave(departed, others, there, "bob")) == [
            "bob would be locked out, and this run has logged in as bob; "
            "log in as somebody else, or name bob among the developers"
        ]


def test_a_shell_is_there_or_comes_with_a_package() -> None:
    zoe = Developer("zoe", 2003, (KEY,), shell="/bin/zsh")
    assert list(without_shell([ADA, zoe], {"/bin/bash", "/bin/zsh"}, [])) == []
    assert list(without_shell([ADA, zoe], {"/bin/bash"}, ["zsh"])) == []
    assert list(without_shell([ADA, zoe], {"/bin/bash"}, ["git"])) == [
        'developers: zoe: there is no shell /bin/zsh; if it comes with a package, add that to packages, as in "zsh"'
    ]


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
