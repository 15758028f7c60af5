"""Which commands give each developer the right account, and the faults in group data."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from deploys.lib.dev_server.developers import (
    Account,
    Developer,
    ResourceLimits,
    account_commands,
    account_conflicts,
    faults,
    limits_file,
    lock_commands,
    lockout_faults,
    parse_accounts,
    parse_developers,
    shell_faults,
    sudo_rules,
    unlisted_accounts,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7vdFkc16zF7lf3tch87aunXxIaqWMZmfhY1VJZ8emg ada@laptop"
GIVEN = {"name": "ada", "uid": 2001, "keys": [KEY]}
ADA = Developer("ada", 2001, (KEY,))
ACCOUNT = Account(2001, "/bin/bash", locked=False, expires="", groups=frozenset({"developers"}), processes=0)


def test_accounts_are_parsed_from_the_output_of_a_host() -> None:
    text = (
        "root:x:0:0:root:/root:/bin/bash\nada:x:2001:2001::/home/ada:/bin/zsh\n--\n"
        "root:*:20000:0:99999:7:::\nada:!*:20000:0:99999:7::1:\n--\n"
        "developers:x:998:ada,bob\nsudo:x:27:\n--\nroot\nada\nada"
    )
    accounts = parse_accounts(text.splitlines())
    assert accounts["ada"] == Account(2001, "/bin/zsh", True, "1", frozenset({"developers"}), 2)
    assert accounts["root"] == Account(0, "/bin/bash", False, "", frozenset(), 1)


@pytest.mark.parametrize(
    ("person", "account", "containers", "commands"),
    [
        (ADA, ACCOUNT, "podman", []),
        (ADA, None, "", ["useradd --uid 2001 --user-group --create-home --shell /bin/bash --groups developers "
                         "--expiredate '' --password '*' ada", "chmod 700 ~ada"]),
        (Developer("ada", 2001, (KEY,), shell="/bin/zsh"), ACCOUNT, "", ["usermod --shell /bin/zsh ada"]),
        (Developer("ada", 2001, (KEY,), expires=date(1970, 1, 3)), ACCOUNT, "",
         ["usermod --expiredate '1970-01-03' ada"]),
        (Developer("ada", 2001, (KEY,), sudo=True), ACCOUNT, "docker", ["gpasswd --add ada docker"]),
        (ADA, Account(2001, "/bin/bash", True, "1", frozenset({"docker", "audio"}), 0), "docker", [
            "usermod --expiredate '' ada", "usermod --password '*' ada", "gpasswd --add ada developers",
            "gpasswd --delete ada docker"]),
    ],
)  # fmt: skip
def test_an_account_gets_only_the_commands_that_it_needs(
    person: Developer, account: Account | None, containers: str, commands: list[str]
) -> None:
    assert account_commands(person, account, containers) == commands


@pytest.mark.parametrize(
    ("account", "commands"),
    [
        (None, []),
        (Account(2001, "/bin/sh", True, "1", frozenset(), 0), []),
        (ACCOUNT, ["usermod --lock --expiredate 1 ada", "gpasswd --delete ada developers"]),
        (Account(2001, "/bin/sh", True, "1", frozenset({"developers", "sudo"}), 3),
         ["gpasswd --delete ada sudo", "loginctl terminate-user ada || true; pkill -KILL --uid 2001 || true",
          "gpasswd --delete ada developers"]),
    ],
)  # fmt: skip
def test_a_departed_developer_is_locked(account: Account | None, commands: list[str]) -> None:
    assert lock_commands("ada", account) == commands


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ({"name": "Ada L"}, "'Ada L' is not an account name"),
        ({"uid": 0}, "uid is not valid; use a number from 1001 to 59999"),
        ({"keys": []}, "keys is empty"),
        ({"keys": ["-----BEGIN OPENSSH " + "PRIVATE KEY-----"]}, "is not a public SSH key"),
        ({"expires": "tomorrow"}, "write a date"),
        ({"expires": "2027-02-31"}, "write a date"),
        ({"expires": date(2027, 12, 31)}, "write a date"),
        ({"shell": "zsh"}, "shell is 'zsh'; write the full path"),
        ({"sudoer": True}, "no such key: sudoer; allowed: expires, keys"),
        ({"limits": {"memory": "lots"}}, "limits.memory: 'lots'"),
        ({"limits": {"cpu": 2}}, "limits.cpu"),
        ({"limits": {"disk": "1G"}}, "no such limit: disk"),
    ],
)
def test_each_mistake_in_group_data_is_a_fault(person: dict[str, Any], expected: str) -> None:
    [fault] = faults([{**GIVEN, **person}], {}, [])
    assert expected in fault


def test_duplicates_and_names_in_both_lists_are_faults() -> None:
    assert list(faults([GIVEN], {"cpu": "100%"}, [])) == []
    lines = " ".join(faults([GIVEN, {**GIVEN, "name": "bob"}], {}, ["bob"]))
    assert "2001 is listed twice; keep one" in lines
    assert "bob is also in developers" in lines


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bob", []),
        ("john.doe", []),
        ("bob; reboot", ["departed: 'bob; reboot' is not an account name; write the name that the host has"]),
        (7, ["departed: 7 is not an account name; write the name that the host has"]),
        ("root", ["departed: root can't be locked; list people only"]),
    ],
)
def test_a_departed_name_must_be_an_account_name(name: str, expected: list[str]) -> None:
    assert list(faults([GIVEN], {}, [name])) == expected


def test_accounts_with_access_that_group_data_does_not_list() -> None:
    member, other = frozenset({"developers"}), frozenset({"audio"})
    existing = {
        "ada": ACCOUNT,
        "bob": Account(2002, "/bin/sh", False, "", member, 1),
        "dan": Account(2003, "/bin/sh", False, "", other, 1),
        "eve": Account(2004, "/bin/sh", False, "", other, 1),
        "gus": Account(2005, "/bin/sh", False, "", member, 1),
        "root": Account(0, "/bin/sh", False, "", member, 1),
        "www-data": Account(33, "/bin/sh", False, "", other, 1),
    }
    assert unlisted_accounts([ADA], ["gus"], existing, ["ada", "eve", "ghost", "www-data"]) == ["bob", "eve", "ghost"]


def test_system_accounts_and_the_login_of_the_run_are_not_locked() -> None:
    existing = {"www-data": Account(33, "", False, "", frozenset(), 0), "bob": ACCOUNT}
    assert list(lockout_faults(["bob", "ghost"], ["eve"], existing, "root")) == []
    assert list(lockout_faults(["www-data"], [], existing, "root")) == [
        "departed: www-data is a system account, with uid 33; remove it from departed"
    ]
    for departed, unlisted in ((["bob"], []), ([], ["bob"])):
        assert list(lockout_faults(departed, unlisted, existing, "bob")) == [
            "this run would lock its own login, bob; log in with another account, or add bob to developers"
        ]


def test_a_shell_must_exist_or_come_with_a_package() -> None:
    zoe = Developer("zoe", 2003, (KEY,), shell="/bin/zsh")
    assert list(shell_faults([ADA, zoe], {"/bin/bash", "/bin/zsh"}, [])) == []
    assert list(shell_faults([ADA, zoe], {"/bin/bash"}, ["zsh"])) == []
    assert list(shell_faults([ADA, zoe], {"/bin/bash"}, ["git"])) == [
        'developers: zoe: shell /bin/zsh does not exist; add its package to packages, such as "zsh"'
    ]


def test_names_and_uids_of_other_accounts_are_faults() -> None:
    assert list(account_conflicts([ADA], {"ada": ACCOUNT})) == []
    assert "ada has uid 33 on this host, not 2001; set uid to 33" in next(
        account_conflicts([ADA], {"ada": Account(33, "", False, "", frozenset(), 0)})
    )
    assert "uid 2001 belongs to www on this host; use another uid" in next(account_conflicts([ADA], {"www": ACCOUNT}))


def test_the_files_of_a_developer() -> None:
    (person,) = parse_developers(
        [{**GIVEN, "sudo": True, "expires": "2027-12-31", "limits": {"memory": "1G"}}], {"cpu": "50%"}
    )
    assert person == Developer(
        "ada", 2001, (KEY,), sudo=True, expires=date(2027, 12, 31), limits=ResourceLimits("50%", "1G", 4096)
    )
    assert limits_file(person) == (
        "/etc/systemd/system/user-2001.slice.d/50-groundcrew.conf",
        "# ada\n[Slice]\nCPUQuota=50%\nMemoryMax=1G\nTasksMax=4096\n",
    )
    assert sudo_rules([person, Developer("bob", 2002, (KEY,))]).splitlines()[1:] == ["ada ALL=(ALL:ALL) NOPASSWD: ALL"]
