"""The people on a dev server: what they should have, and what has to be done for it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any

KEYS = "/etc/ssh/authorized_keys.d"
GROUP = "developers"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
ANYBODY = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]{0,31}")  # of names that others have given
DAY = re.compile(r"\d{4}-\d\d-\d\d")
SHELL = re.compile(r"(/[\w.+-]+)+")
KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [\w+/=]+( .*)?"
)


@dataclass(frozen=True)
class Limits:
    """What one person may take of the host."""

    cpu: str = "200%"
    memory: str = "8G"
    tasks: int = 4096


@dataclass(frozen=True)
class Developer:
    name: str
    uid: int
    keys: tuple[str, ...]
    sudo: bool = False
    shell: str = "/bin/bash"
    expires: date | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Account:
    """What a host has under a name."""

    uid: int
    shell: str
    locked: bool
    expires: str  # days since 1970, or nothing
    groups: frozenset[str]
    processes: int


# All accounts of a host in one command: pyinfra's own fact asks several for each account.
ACCOUNTS = "getent passwd; echo --; getent shadow; echo --; getent group; echo --; ps --no-headers -eo user:32"
KEY_FILES = f"find {KEYS} -maxdepth 1 ! -type d -printf '%f\\n'"
LOGIN = 'echo "${SUDO_USER:-$(id -un)}"'  # as whom this run came in


def accounts(told: Sequence[str]) -> dict[str, Account]:
    """Accounts from passwd, shadow, group and the owners of processes, with `--` between."""
    parts = "\n".join(told).split("\n--\n")
    passwd, shadow, group, owners = ([line.split(":") for line in part.splitlines()] for part in parts)
    secrets = {name: (password, expires) for name, password, *_, expires, _ in shadow}
    running = [owner for (owner,) in owners]
    return {
        name: Account(
            uid=int(uid),
            shell=shell,  # the name of a login shell  # nosec B604
            locked=secrets.get(name, ("", ""))[0].startswith("!"),
            expires=secrets.get(name, ("", ""))[1],
            groups=frozenset(title for title, _, _, members in group if name in members.split(",")),
            processes=running.count(name),
        )
        for name, _, uid, _, _, _, shell in passwd
    }


def read(given: Sequence[Mapping[str, Any]], limits: Mapping[str, Any]) -> list[Developer]:
    """Developers as group data names them, once `faults` has found nothing."""
    return [
        Developer(
            **{
                **person,
                "keys": tuple(person["keys"]),
                "expires": date.fromisoformat(person["expires"]) if person.get("expires") else None,
                "limits": Limits(**{**limits, **person.get("limits", {})}),
            }
        )
        for person in given
    ]


def faults(given: Sequence[Mapping[str, Any]], limits: Mapping[str, Any], departed: Sequence[str]) -> Iterator[str]:
    """What is wrong in the group data, each in a sentence."""
    known = {each.name for each in fields(Developer)}
    for person in given:
        name = person.get("name", "?")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield f"developers: {name!r} is no name for an account; use a-z, 0-9, - and _, a letter first"
        if others := sorted(set(person) - known):
            yield f"developers: {name}: {', '.join(others)}: no such key; there are {', '.join(sorted(known))}"
        if not isinstance(person.get("uid"), int) or not 1000 < person["uid"] < 60000:
            yield f"developers: {name}: uid must be a number between 1001 and 59999, the same on every host"
        yield from _faults_of_keys(name, person.get("keys") or ())
        if person.get("expires") and not _is_day(person["expires"]):
            yield f'developers: {name}: expires is {person["expires"]!r}; write a day, as in "2027-12-31"'
        if not SHELL.fullmatch(str(person.get("shell", "/bin/bash"))):
            yield f"developers: {name}: shell is {person['shell']!r}; write its whole path, as in /bin/bash"
        yield from _faults_of_limits(f"developers: {name}: limits", person.get("limits", {}))
    yield from _faults_of_limits("limits", limits)
    names, uids = [person.get("name") for person in given], [person.get("uid") for person in given]
    for twice in sorted({str(each) for each in [*names, *uids] if (names + uids).count(each) > 1}):
        yield f"developers: {twice} is there twice"
    yield from _faults_of_departed(departed)
    for name in sorted({str(name) for name in names} & {str(name) for name in departed}):
        yield f"departed: {name} is among the developers too; take the name out of one of them"


def _faults_of_keys(name: str, keys: Sequence[str]) -> Iterator[str]:
    if not keys:
        yield f"developers: {name}: keys is empty, and there is no other way in; give a public SSH key"
    for key in keys:
        if not KEY.fullmatch(key):
            yield f"developers: {name}: {key[:20]!r}… is no public SSH key; it begins like ssh-ed25519 AAAA"


def _faults_of_departed(departed: Sequence[str]) -> Iterator[str]:
    for name in departed:
        if not isinstance(name, str) or not ANYBODY.fullmatch(name):
            yield f"departed: {name!r} is no name for an account; write it as the host has it"
        elif name == "root":
            yield "departed: root can't be locked out; name people only"


def _is_day(told: object) -> bool:
    try:
        return isinstance(told, str) and bool(DAY.fullmatch(told)) and bool(date.fromisoformat(told))
    except ValueError:
        return False


def _faults_of_limits(where: str, limits: Mapping[str, Any]) -> Iterator[str]:
    if others := sorted(set(limits) - {each.name for each in fields(Limits)}):
        yield f"{where}: {', '.join(others)}: no such limit; there are cpu, memory, tasks"
    if not re.fullmatch(r"\d+%", str(limits.get("cpu", "100%"))):
        yield f'{where}.cpu: {limits["cpu"]!r}; write a share of one core, as in "200%"'
    if not re.fullmatch(r"\d+[MG]", str(limits.get("memory", "1G"))):
        yield f'{where}.memory: {limits["memory"]!r}; write a size, as in "8G"'
    if not isinstance(limits.get("tasks", 1), int):
        yield f"{where}.tasks: {limits['tasks']!r}; write a number"


def conflicts(people: Sequence[Developer], there: Mapping[str, Account]) -> Iterator[str]:
    """Accounts that are on a host already under the same name or number, and are somebody else's."""
    owners = {account.uid: name for name, account in there.items()}
    for person in people:
        if person.name in there and there[person.name].uid != person.uid:
            yield f"{person.name} has uid {there[person.name].uid} there, not {person.uid}; give that one"
        if owners.get(person.uid, person.name) != person.name:
            yield f"uid {person.uid} of {person.name} belongs to {owners[person.uid]} there; give another"


def unnamed(
    people: Sequence[Developer], departed: Sequence[str], there: Mapping[str, Account], key_files: Sequence[str]
) -> list[str]:
    """Who has been let in, in the group or by a key file, and is named neither here nor there; never the system's."""
    members = {name for name, account in there.items() if GROUP in account.groups}
    named = {person.name for person in people} | set(departed)
    return sorted(
        name for name in (members | set(key_files)) - named if name not in there or not _of_the_system(there[name])
    )


def unfit_to_leave(
    departed: Sequence[str], others: Sequence[str], there: Mapping[str, Account], login: str
) -> Iterator[str]:
    """Whom nobody may lock out: the system's own accounts, and the one by which this run came in."""
    for name in departed:
        if name in there and _of_the_system(there[name]):
            yield f"departed: {name} has uid {there[name].uid} there, so it is the system's own; take the name out"
    if login in {*departed, *others}:
        yield (
            f"{login} would be locked out, and this run has logged in as {login}; "
            f"log in as somebody else, or name {login} among the developers"
        )


def without_shell(people: Sequence[Developer], there: Collection[str], packages: Sequence[str]) -> Iterator[str]:
    """Who has a shell that is not on the host, nor comes with a package of the same name: sshd would let nobody in."""
    coming = {f"{folder}/{package}" for folder in ("/bin", "/usr/bin") for package in packages}
    for person in people:
        if person.shell not in {*there, *coming}:
            package = person.shell.rpartition("/")[2]
            yield (
                f"developers: {person.name}: there is no shell {person.shell}; "
                f'if it comes with a package, add that to packages, as in "{package}"'
            )


def _of_the_system(account: Account) -> bool:
    return account.uid < 1000 or account.uid == 65534  # root, services, nobody


def arrival(person: Developer, there: Account | None, containers: str) -> list[str]:
    """The commands that make an account what it should be; none if it is."""
    name, groups = person.name, _groups(person, containers)
    day = person.expires.isoformat() if person.expires else ""
    if there is None:
        return [
            f"useradd --uid {person.uid} --user-group --create-home --shell {shlex.quote(person.shell)} "
            f"--groups {','.join(sorted(groups))} --expiredate '{day}' --password '*' {name}",
            f"chmod 700 ~{name}",
        ]
    ours = {GROUP, "sudo", "docker"}
    commands = []
    if there.shell != person.shell:
        commands.append(f"usermod --shell {shlex.quote(person.shell)} {name}")
    if there.expires != _days(person.expires):
        commands.append(f"usermod --expiredate '{day}' {name}")
    if there.locked:
        commands.append(f"usermod --password '*' {name}")
    commands += [f"gpasswd --add {name} {group}" for group in sorted(groups - there.groups)]
    commands += [f"gpasswd --delete {name} {group}" for group in sorted((there.groups & ours) - groups)]
    return commands


def departure(name: str, there: Account | None) -> list[str]:
    """The commands that lock somebody out; the home folder stays."""
    if there is None:
        return []
    commands = [] if there.locked and there.expires == "1" else [f"usermod --lock --expiredate 1 {name}"]
    commands += [f"gpasswd --delete {name} {group}" for group in sorted(there.groups - {GROUP})]
    if there.processes:
        commands.append(f"loginctl terminate-user {name} || true; pkill -KILL --uid {there.uid} || true")
    if GROUP in there.groups:  # last: by it the next run finds whom this one, had it died, would have left half in
        commands.append(f"gpasswd --delete {name} {GROUP}")
    return commands


def key_of(name: str) -> str:
    """The file that holds somebody's keys."""
    return f"{KEYS}/{name}"


def slice_of(person: Developer) -> tuple[str, str]:
    """The file that holds somebody to the limits, and its text."""
    limits = person.limits
    return (
        f"/etc/systemd/system/user-{person.uid}.slice.d/50-groundcrew.conf",
        f"# {person.name}\n[Slice]\nCPUQuota={limits.cpu}\nMemoryMax={limits.memory}\nTasksMax={limits.tasks}\n",
    )


def sudo_rules(people: Sequence[Developer]) -> str:
    """Without a password: there is none to ask for, the key is the proof."""
    rules = [f"{person.name} ALL=(ALL:ALL) NOPASSWD: ALL\n" for person in people if person.sudo]
    return "# Written by groundcrew; changes made here are overwritten.\n" + "".join(rules)


def _groups(person: Developer, containers: str) -> set[str]:
    # Who may talk to Docker is root there, so only those who may be root are let in.
    return {GROUP} | ({"docker"} if containers == "docker" and person.sudo else set())


def _days(day: date | None) -> str:
    return str((day - date(1970, 1, 1)).days) if day else ""
