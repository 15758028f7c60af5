"""Decide which commands give each developer the account that group data describes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any

from deploys.lib.group_data import unknown_keys
from deploys.lib.header import HEADER

KEY_FOLDER = "/etc/ssh/authorized_keys.d"
GROUP = "developers"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
EXISTING_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]{0,31}")  # also names of accounts that others created
DATE = re.compile(r"\d{4}-\d\d-\d\d")
SHELL = re.compile(r"(/[\w.+-]+)+")
KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [\w+/=]+( .*)?"
)


@dataclass(frozen=True)
class ResourceLimits:
    """The share of the host that one developer can use."""

    cpu: str = "200%"
    memory: str = "8G"
    tasks: int = 4096


@dataclass(frozen=True)
class Developer:
    """A developer in the group data."""

    name: str
    uid: int
    keys: tuple[str, ...]
    sudo: bool = False
    shell: str = "/bin/bash"
    expires: date | None = None
    limits: ResourceLimits = field(default_factory=ResourceLimits)


@dataclass(frozen=True)
class Account:
    """An account on a host."""

    uid: int
    shell: str
    locked: bool
    expires: str  # days since 1970, or ""
    groups: frozenset[str]
    processes: int


# All accounts by one command: pyinfra's own fact runs several commands per account.
LIST_ACCOUNTS = "getent passwd; echo --; getent shadow; echo --; getent group; echo --; ps --no-headers -eo user:32"
LIST_KEY_FILES = f"find {KEY_FOLDER} -maxdepth 1 ! -type d -printf '%f\\n'"
LOGIN_USER = 'echo "${SUDO_USER:-$(id -un)}"'  # the user of this run's login


def parse_accounts(lines: Sequence[str]) -> dict[str, Account]:
    """Return the accounts by name, from the output of LIST_ACCOUNTS."""
    parts = "\n".join(lines).split("\n--\n")
    passwd, shadow, group, owners = ([line.split(":") for line in part.splitlines()] for part in parts)
    secrets = {name: (password, expires) for name, password, *_, expires, _ in shadow}
    running = [owner for (owner,) in owners]
    return {
        name: Account(
            uid=int(uid),
            shell=shell,  # the name of a login shell  # nosec B604
            locked=secrets.get(name, ("", ""))[0].startswith("!"),
            expires=secrets.get(name, ("", ""))[1],
            groups=frozenset(group_name for group_name, _, _, members in group if name in members.split(",")),
            processes=running.count(name),
        )
        for name, _, uid, _, _, _, shell in passwd
    }


def parse_developers(given: Sequence[Mapping[str, Any]], limits: Mapping[str, Any]) -> list[Developer]:
    """Return the developers in the group data, which must have no faults."""
    return [
        Developer(
            **{
                **person,
                "keys": tuple(person["keys"]),
                "expires": date.fromisoformat(person["expires"]) if person.get("expires") else None,
                "limits": ResourceLimits(**{**limits, **person.get("limits", {})}),
            }
        )
        for person in given
    ]


def faults(given: Sequence[Mapping[str, Any]], limits: Mapping[str, Any], departed: Sequence[str]) -> Iterator[str]:
    """Yield each fault in the group data."""
    known = {each.name for each in fields(Developer)}
    for person in given:
        name = person.get("name", "?")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield f"developers: {name!r} is not an account name; use a-z, 0-9, - and _, with a letter first"
        yield from unknown_keys(f"developers: {name}", person, known)
        if not isinstance(person.get("uid"), int) or not 1000 < person["uid"] < 60000:
            yield f"developers: {name}: uid is not valid; use a number from 1001 to 59999, the same on every host"
        yield from _key_faults(name, person.get("keys") or ())
        if person.get("expires") and not _is_date(person["expires"]):
            yield f'developers: {name}: expires is {person["expires"]!r}; write a date, such as "2027-12-31"'
        if not SHELL.fullmatch(str(person.get("shell", "/bin/bash"))):
            yield f"developers: {name}: shell is {person['shell']!r}; write the full path, such as /bin/bash"
        yield from _limit_faults(f"developers: {name}: limits", person.get("limits", {}))
    yield from _limit_faults("limits", limits)
    names, uids = [person.get("name") for person in given], [person.get("uid") for person in given]
    for duplicate in sorted({str(each) for each in [*names, *uids] if (names + uids).count(each) > 1}):
        yield f"developers: {duplicate} is listed twice; keep one"
    yield from _departed_faults(departed)
    for name in sorted({str(name) for name in names} & {str(name) for name in departed}):
        yield f"departed: {name} is also in developers; remove the name from one of them"


def _key_faults(name: str, keys: Sequence[str]) -> Iterator[str]:
    if not keys:
        yield f"developers: {name}: keys is empty, so nobody can log in; add a public SSH key"
    for key in keys:
        if not KEY.fullmatch(key):
            yield f"developers: {name}: {key[:20]!r}… is not a public SSH key; write one such as ssh-ed25519 AAAA…"


def _departed_faults(departed: Sequence[str]) -> Iterator[str]:
    for name in departed:
        if not isinstance(name, str) or not EXISTING_NAME.fullmatch(name):
            yield f"departed: {name!r} is not an account name; write the name that the host has"
        elif name == "root":
            yield "departed: root can't be locked; list people only"


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(DATE.fullmatch(value)) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _limit_faults(where: str, limits: Mapping[str, Any]) -> Iterator[str]:
    yield from unknown_keys(where, limits, [each.name for each in fields(ResourceLimits)], "limit")
    if not re.fullmatch(r"\d+%", str(limits.get("cpu", "100%"))):
        yield f'{where}.cpu: {limits["cpu"]!r} is not a percentage of one core; use one such as "200%"'
    if not re.fullmatch(r"\d+[MG]", str(limits.get("memory", "1G"))):
        yield f'{where}.memory: {limits["memory"]!r} is not a size; use one such as "8G"'
    if not isinstance(limits.get("tasks", 1), int):
        yield f"{where}.tasks: {limits['tasks']!r} is not a number; use one such as 8192"


def account_conflicts(people: Sequence[Developer], existing: Mapping[str, Account]) -> Iterator[str]:
    """Yield a fault for each developer whose name or uid belongs to another account of the host."""
    owners = {account.uid: name for name, account in existing.items()}
    for person in people:
        if person.name in existing and existing[person.name].uid != person.uid:
            uid = existing[person.name].uid
            yield f"developers: {person.name} has uid {uid} on this host, not {person.uid}; set uid to {uid}"
        if owners.get(person.uid, person.name) != person.name:
            owner = owners[person.uid]
            yield f"developers: {person.name}: uid {person.uid} belongs to {owner} on this host; use another uid"


def unlisted_accounts(
    people: Sequence[Developer], departed: Sequence[str], existing: Mapping[str, Account], key_files: Sequence[str]
) -> list[str]:
    """Return the accounts that are in the group or have a key file, but are not in group data; no system accounts."""
    members = {name for name, account in existing.items() if GROUP in account.groups}
    listed = {person.name for person in people} | set(departed)
    return sorted(
        name
        for name in (members | set(key_files)) - listed
        if name not in existing or not _is_system_account(existing[name])
    )


def lockout_faults(
    departed: Sequence[str], unlisted: Sequence[str], existing: Mapping[str, Account], login: str
) -> Iterator[str]:
    """Yield a fault for each account that must not be locked: system accounts, and the login of this run."""
    for name in departed:
        if name in existing and _is_system_account(existing[name]):
            yield f"departed: {name} is a system account, with uid {existing[name].uid}; remove it from departed"
    if login in {*departed, *unlisted}:
        yield f"this run would lock its own login, {login}; log in with another account, or add {login} to developers"


def shell_faults(people: Sequence[Developer], existing: Collection[str], packages: Sequence[str]) -> Iterator[str]:
    """Yield a fault for each shell that neither exists nor comes with a package; sshd refuses a login without it."""
    to_install = {f"{folder}/{package}" for folder in ("/bin", "/usr/bin") for package in packages}
    for person in people:
        if person.shell not in {*existing, *to_install}:
            package = person.shell.rpartition("/")[2]
            yield (
                f"developers: {person.name}: shell {person.shell} does not exist; "
                f'add its package to packages, such as "{package}"'
            )


def _is_system_account(account: Account) -> bool:
    return account.uid < 1000 or account.uid == 65534  # root, services and "nobody"


def account_commands(person: Developer, account: Account | None, containers: str) -> list[str]:
    """Return the commands that create or correct a developer's account; none if it is up to date."""
    name, groups = person.name, _groups(person, containers)
    expiry = person.expires.isoformat() if person.expires else ""
    if account is None:
        return [
            f"useradd --uid {person.uid} --user-group --create-home --shell {shlex.quote(person.shell)} "
            f"--groups {','.join(sorted(groups))} --expiredate '{expiry}' --password '*' {name}",
            f"chmod 700 ~{name}",
        ]
    managed = {GROUP, "sudo", "docker"}
    commands = []
    if account.shell != person.shell:
        commands.append(f"usermod --shell {shlex.quote(person.shell)} {name}")
    if account.expires != _days(person.expires):
        commands.append(f"usermod --expiredate '{expiry}' {name}")
    if account.locked:
        commands.append(f"usermod --password '*' {name}")
    commands += [f"gpasswd --add {name} {group}" for group in sorted(groups - account.groups)]
    commands += [f"gpasswd --delete {name} {group}" for group in sorted((account.groups & managed) - groups)]
    return commands


def lock_commands(name: str, account: Account | None) -> list[str]:
    """Return the commands that lock an account and end its processes; the home directory stays."""
    if account is None:
        return []
    commands = [] if account.locked and account.expires == "1" else [f"usermod --lock --expiredate 1 {name}"]
    commands += [f"gpasswd --delete {name} {group}" for group in sorted(account.groups - {GROUP})]
    if account.processes:
        commands.append(f"loginctl terminate-user {name} || true; pkill -KILL --uid {account.uid} || true")
    if GROUP in account.groups:  # last: after an interruption, the next run still finds the account
        commands.append(f"gpasswd --delete {name} {GROUP}")
    return commands


def key_file(name: str) -> str:
    """Return the file with the public keys of an account."""
    return f"{KEY_FOLDER}/{name}"


def limits_file(person: Developer) -> tuple[str, str]:
    """Return the systemd file that sets the limits of a developer, and its text."""
    limits = person.limits
    return (
        f"/etc/systemd/system/user-{person.uid}.slice.d/50-groundcrew.conf",
        f"# {person.name}\n[Slice]\nCPUQuota={limits.cpu}\nMemoryMax={limits.memory}\nTasksMax={limits.tasks}\n",
    )


def sudo_rules(people: Sequence[Developer]) -> str:
    """Return the sudo rules. They ask for no password, since no account has one."""
    rules = [f"{person.name} ALL=(ALL:ALL) NOPASSWD: ALL\n" for person in people if person.sudo]
    return HEADER + "".join(rules)


def _groups(person: Developer, containers: str) -> set[str]:
    # Access to Docker is as powerful as root, so only developers with sudo get it.
    return {GROUP} | ({"docker"} if containers == "docker" and person.sudo else set())


def _days(expires: date | None) -> str:
    return str((expires - date(1970, 1, 1)).days) if expires else ""
