"""The types of values in an environment file, and the fault that each reports for an invalid value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from inventories.reading import (
    NAME,
    NAME_RULE,
    InvalidValue,
    Position,
    Scalar,
    ValueType,
    as_written,
    expect_table,
    suggestion,
)
from inventories.secret import Secret, has_password

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of each day; they can begin before midnight."""

    begin: time
    end: time

    def include(self, at: time) -> bool:
        if self.begin < self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end


JOBS = ("backup", "verify", "retention", "copy", "drift", "hosts", "cost", "refresh", "status", "digest")
UNLIMITED = -1
FORMAT = 1
NOBODY: Final = "nobody"


class Cron(str):
    """A valid cron line of five fields, with single spaces."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Span:
    """A period of calendar time; its length in days depends on the date."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __str__(self) -> str:
        counts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{count}{unit}" for count, unit in counts if count)


@dataclass(frozen=True, slots=True)
class TunnelSettings:
    """A tunnel to a server that has no direct connection. Exactly one of ssh and kubernetes is set."""

    ssh: str | None = None
    kubernetes: str | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True)
class PlanCheck:
    """A program that checks each plan. With `raw`, the plan that it gets has its sensitive values."""

    command: tuple[str, ...]
    raw: bool = False


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue(f'{as_written(value)} is not text; write it in quotes, as "{_unquoted(value)}"')
    if not value.strip():
        raise InvalidValue('"" is empty; write some text, or remove the key')
    if not value.isprintable():
        raise InvalidValue(f"{as_written(value)} has characters that cannot be printed; use plain text")
    return value


def _unquoted(value: object) -> str:
    return as_written(value) if isinstance(value, (bool, int, float)) else "…"


def _matching(pattern: str, is_not: str, use: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = _text(value)
        if not re.fullmatch(pattern, text):
            raise InvalidValue(f"{as_written(text)} is not {is_not}; {use}")
        return text

    return read


def or_empty(value_type: ValueType[str]) -> ValueType[str]:
    """Return the same type, but also accept ""."""
    return Scalar(
        f'{value_type.description}, or ""',
        lambda value: "" if value == "" else value_type.read(value, Position("", Path())),
    )


def _whole(description: str, least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidValue(f"{as_written(value)} is not {description}; use {_range(least, most)}")
        return value

    return read


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"a whole number from {least} to {most}"


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue(f"{as_written(value)} is not a boolean; use true or false, without quotes")
    return value


def _count(value: object) -> int:
    if value in ("all", UNLIMITED) and not isinstance(value, bool):
        return UNLIMITED
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 10**9:
        raise InvalidValue(f"{as_written(value)} is not a count; use a whole number from 1, or remove the key")
    return value


def _money(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise InvalidValue(f"{as_written(value)} is not an amount; use a number above 0, such as 300 or 2500.50")
    return float(value)


def _factor(value: object) -> float:
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?)x", value) if isinstance(value, str) else None
    if not match or float(match[1]) < 1:
        raise InvalidValue(f'{as_written(value)} is not a factor; use 1 or more with an x, such as "2x" or "1.5x"')
    return float(match[1])


def _share(value: object) -> float | None:
    if value == "off":
        return None
    match = re.fullmatch(r"(\d{1,2})%", value) if isinstance(value, str) else None
    if not match or not int(match[1]):
        raise InvalidValue(f'{as_written(value)} is not a share; use 1 to 99 with a %, such as "50%", or "off"')
    return int(match[1]) / 100


_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def _duration(value: object) -> timedelta:
    use = 'use a number and a unit of s, m, h, d or w, such as "60s", "10m", "6h" or "1h30m"'
    pieces = re.findall(r"(\d{1,6})([wdhms])", value) if isinstance(value, str) else []
    if not pieces or "".join(number + unit for number, unit in pieces) != value:
        raise InvalidValue(f"{as_written(value)} is not a duration; {use}")
    length = sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in pieces), timedelta())
    if not length:
        raise InvalidValue(f"{as_written(value)} is a duration of zero; {use}")
    return length


def _lock_period(value: object) -> timedelta:
    length = _duration(value)
    if not timedelta(days=1) <= length <= timedelta(days=36_500):
        raise InvalidValue(f'{as_written(value)} is not the period of a lock; use one day to 100 years, such as "30d"')
    return length


def _lock_mode(value: object) -> str:
    if value not in ("governance", "compliance"):
        raise InvalidValue(f'{as_written(value)} is not a mode of object lock; use "governance" or "compliance"')
    return str(value)


def _span(value: object) -> Span:
    pattern = r"(?:(\d{1,4})y)?(?:(\d{1,4})m)?(?:(\d{1,5})d)?(?:(\d{1,6})h)?"
    match = re.fullmatch(pattern, value) if isinstance(value, str) else None
    span = Span(*(int(part or 0) for part in match.groups())) if match else Span()
    if span == Span():
        use = 'use years, months, days and hours in this order, such as "2y5m7d3h" or "90d"'
        raise InvalidValue(f"{as_written(value)} is not a calendar period; {use}")
    return span


def _cron(value: object) -> Cron:
    use = 'use five fields, minute hour day month weekday, such as "0 2 * * *"'
    if not isinstance(value, str):
        raise InvalidValue(f"{as_written(value)} is not a cron line; {use}")
    if len(value.split()) != 5:
        raise InvalidValue(f"{as_written(value)} is not a cron line (fields: {len(value.split())}); {use}")
    if why := _cron_fault(value):
        raise InvalidValue(f"{as_written(value)} is not a cron line ({why}); {use}")
    return Cron(" ".join(value.split()))


def _cron_fault(line: str) -> str:
    from datetime import datetime

    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(line, datetime(2026, 1, 1)))  # any start date finds the fault
    except CronSimError as error:
        return str(error)[:1].lower() + str(error)[1:]
    except StopIteration:
        return "no day matches it"
    except (AssertionError, ValueError, TypeError):  # cronsim raises these for some invalid lines
        return "the fields contradict each other"
    return ""


def _timezone(value: object) -> ZoneInfo:
    text = _text(value)
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # KeyError: ZoneInfoNotFoundError
        from zoneinfo import available_timezones

        hint = suggestion(text, sorted(available_timezones()))
        hint = hint if hint.startswith("did") else 'use a name such as "Europe/Berlin" or "UTC"'
        raise InvalidValue(f"{as_written(text)} is not a timezone; {hint}") from None


def _store_url(value: object) -> str:
    use = 'use "s3://bucket/prefix" or "file:///directory"'
    text = _text(value)
    match = re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#]*)?|file://(/[^\s?#]+)", text)
    if not match:
        raise InvalidValue(f"{as_written(text)} is not a store URL; {use}")
    segments = (match[1] or match[2] or "").strip("/").split("/")
    if {".", "..", ""} & set(segments) and (match[2] or segments != [""]):
        raise InvalidValue(f'{as_written(text)} has an empty segment, "." or ".."; {use}')
    return text.rstrip("/")


def _http_url(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", text):
        raise InvalidValue(f'{as_written(text)} is not an HTTP URL; use "https://host" or "http://host:port"')
    return text.rstrip("/")


_HOST = r"(?:\[[0-9A-Fa-f:.]+(?:%25[\w.-]+)?\]|[^\s\[\]@:/,?#]*)"
_HOSTS = re.compile(rf"{_HOST}(?::\d{{0,5}})?(?:,{_HOST}(?::\d{{0,5}})?)*")
_POSTGRES_FORM = 'use "postgresql://user@host:5432/database", "postgresql:///database?host=/run/postgresql" or "postgresql:///?service=name"'
_REMOVE_CREDENTIALS = (
    'contains a password; remove it, and add password = { env = "…" }, { file = "…" } or { command = "…" }'
)


def _server_url(value: object) -> str:
    text = _text(value)
    if has_password(text):
        raise InvalidValue(_REMOVE_CREDENTIALS)
    match = re.fullmatch(r"postgres(?:ql)?://(?:[^\s/?#]*@)?([^\s/?#@]*)(?:/[^\s/?#]*)?(?:\?([^\s#]*))?", text)
    if not match:
        raise InvalidValue(f"{as_written(text)} is not a PostgreSQL URL; {_POSTGRES_FORM}")
    hosts, query = (part or "" for part in match.groups())
    if why := _postgres_url_fault(text, hosts, query):
        raise InvalidValue(f"{as_written(text)} is not a PostgreSQL URL ({why}); {_POSTGRES_FORM}")
    return text


def _postgres_url_fault(text: str, hosts: str, query: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", text):
        return "two hexadecimal digits other than 00 must follow %"
    if not _HOSTS.fullmatch(hosts):
        return "invalid host"
    if any(not 0 < int(port) < 65536 for port in re.findall(r":(\d+)(?=,|$)", re.sub(r"\[.*?\]", "", hosts))):
        return "the port must be from 1 to 65535"
    if any("=" not in parameter for parameter in query.split("&") if query):
        return "a parameter has no ="
    return ""


def _database_url(value: object) -> str:
    text = _server_url(value)
    parts = urlsplit(re.sub(r"//[^/?]*", "//", text, count=1))
    if not parts.path.strip("/") and not re.search(r"(?:^|&)(?:dbname|service)=", parts.query):
        raise InvalidValue(
            f"{as_written(text)} has no database name; add it after the host, as in postgresql://host/database"
        )
    return text


_KUBERNETES_NAME = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"


class _Tunnel(ValueType[TunnelSettings]):
    """A tunnel through SSH or Kubernetes."""

    description = '{ ssh = "user@host:port" } or { kubernetes = "namespace/kind/name", context = "name" }'

    def read(self, value: object, position: Position) -> TunnelSettings:
        table = expect_table(value, position) if isinstance(value, dict) else {}
        known = {"ssh"} if "ssh" in table else {"kubernetes", "context"}
        if not table.keys() <= known or not table.keys() & {"ssh", "kubernetes"}:
            raise InvalidValue(f"this is not a tunnel; use {self.description}")
        if "ssh" in table:
            return _via_ssh(table["ssh"])
        return _via_kubernetes(table["kubernetes"], table.get("context", ""))


def _via_ssh(value: object) -> TunnelSettings:
    match = re.fullmatch(r"((?:[\w.][\w.-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:]+\]))(?::(\d{1,5}))?", _text(value))
    if not match or not 0 < int(match[2] or 22) < 65536:
        raise InvalidValue(f'{as_written(value)} is not an SSH host; use "host", "user@host" or "user@host:port"')
    only_in_a_url = match[2] or "[" in match[1]  # ssh accepts a port or brackets only in a URL
    return TunnelSettings(ssh=f"ssh://{match[0]}" if only_in_a_url else match[1])


def _via_kubernetes(value: object, context: object) -> TunnelSettings:
    match = re.fullmatch(rf"{_KUBERNETES_NAME}/([a-z]+)/{_KUBERNETES_NAME}", _text(value))
    if not match or match[1] not in ("pod", "service", "statefulset", "deployment"):
        use = 'use "namespace/kind/name", where kind is pod, service, statefulset or deployment'
        raise InvalidValue(f"{as_written(value)} is not a target of kubectl port-forward; {use}")
    if not isinstance(context, str) or not re.fullmatch(r"(?!-)[^\s]*", context):
        raise InvalidValue(
            f"{as_written(context)} is not a kubectl context; use a name from: kubectl config get-contexts"
        )
    return TunnelSettings(kubernetes=match[0], context=context or None)


_REFERENCES = '{ env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }'


class _SecretReference(ValueType[Secret]):
    """A reference to a secret. A fault never shows the value, since it can be the secret itself."""

    description = "a secret"

    def read(self, value: object, position: Position) -> Secret:
        if not isinstance(value, dict):
            raise InvalidValue(f"secrets must not be in this file; use {_REFERENCES}")
        if len(value) != 1 or not value.keys() <= _SECRET_SOURCES.keys():
            raise InvalidValue(f"this is not a reference to a secret; use {_REFERENCES}")
        ((source, text),) = value.items()
        return _SECRET_SOURCES[source](text, position)


def _secret_in_env(value: object, position: Position) -> Secret:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise InvalidValue('env is not a variable name; use letters, digits and _, such as { env = "SHOP_PASSWORD" }')
    return Secret(env=value, used_by=str(position))


def _secret_in_file(value: object, position: Position) -> Secret:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidValue('file is not a path; use one such as { file = "/etc/groundcrew/shop.password" }')
    path = Path(value)
    path = position.folder / (path.expanduser() if value.startswith("~/") else path)
    return Secret(file=path, used_by=str(position))


def _secret_of_command(value: object, position: Position) -> Secret:
    import shlex

    try:
        arguments = shlex.split(value) if isinstance(value, str) else value
    except ValueError:
        arguments = None
    if (
        not isinstance(arguments, list)
        or not arguments
        or not all(isinstance(argument, str) and "\0" not in argument for argument in arguments)
        or not arguments[0]
    ):
        raise InvalidValue('command is not a list of words; use one such as { command = ["pass", "show", "shop"] }')
    return Secret(command=tuple(arguments), used_by=str(position))


_SECRET_SOURCES: dict[str, Callable[[object, Position], Secret]] = {
    "env": _secret_in_env,
    "file": _secret_in_file,
    "command": _secret_of_command,
}


@dataclass(frozen=True)
class _Address(ValueType[Secret]):
    """An address for alerts or pings. It often contains a token, so it is treated as a secret."""

    description: str
    form: str

    def read(self, value: object, position: Position) -> Secret:
        if isinstance(value, dict):
            return SECRET.read(value, position)
        if not isinstance(value, str) or not re.fullmatch(self.form, value):
            raise InvalidValue(f"this is not an address; use {self.description}")
        if has_password(value):
            raise InvalidValue(f"this address contains a password; move the whole address to a secret: {_REFERENCES}")
        return Secret(literal=value, used_by=str(position))


class _Recipients(ValueType[tuple[str, ...]]):
    """The recipients of the encryption. To store data unencrypted, the file must say "nobody"."""

    description = '["age1…", …], or "nobody" to disable encryption'

    def read(self, value: object, position: Position) -> tuple[str, ...]:
        if value == NOBODY:
            return ()
        if not isinstance(value, list) or not value:
            raise InvalidValue(f"this has no recipients; use {self.description}")
        for number, recipient in enumerate(value, start=1):
            if fault := _recipient_fault(recipient):
                position.child(str(number)).add_fault(fault)
        return tuple(map(str, value))


def _recipient_fault(value: object) -> str:
    use = 'use a public key: "age1…" as age-keygen prints it, or "ssh-ed25519 …"'
    if isinstance(value, str) and value.upper().startswith("AGE-SECRET-KEY"):
        return f"this is a secret key, which must not be in this file; {use}"
    if not isinstance(value, str) or not _is_recipient(value):
        return f"{as_written(value)} is not an age recipient; {use}"
    return ""


def _is_recipient(text: str) -> bool:
    from pyrage import RecipientError, ssh, x25519

    try:
        (ssh if text.startswith("ssh-") else x25519).Recipient.from_str(text)
    except (RecipientError, ValueError):
        return False
    return True


class _SigningKey(ValueType[Secret | Literal["nobody"]]):
    """A reference to the key that signs. To write backups without a signature, the file must say "nobody"."""

    description = 'a secret, or "nobody" to disable signatures'

    def read(self, value: object, position: Position) -> Secret | Literal["nobody"]:
        return NOBODY if value == NOBODY else SECRET.read(value, position)


NAMESPACES = ("groundcrew-manifest", "groundcrew-verification")
"""What a key can sign: backup sets and the results of verifications."""
_EACH_NAMESPACE = " or ".join(f'namespaces="{name}"' for name in NAMESPACES)
_NAMESPACE = f"({'|'.join(NAMESPACES)})"


class _TrustedKeys(ValueType[tuple[str, ...]]):
    """OpenSSH public keys. Two lines with the same key are a fault, whatever else they say."""

    description = '["ssh-ed25519 AAAA… comment", …]'

    def read(self, value: object, position: Position) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise InvalidValue(f"this is not a list of public keys; use {self.description}")
        numbers: dict[str, int] = {}
        lines = []
        for number, item in enumerate(value, start=1):
            try:
                line, key = _trusted_key(item)
            except InvalidValue as error:
                position.child(str(number)).add_fault(str(error))
                continue
            if key in numbers:
                fact = f"this is the same key as number {numbers[key]}"
                position.child(str(number)).add_fault(f"{fact}; remove one of them")
            numbers.setdefault(key, number)
            lines.append(line)
        return tuple(lines)


def _trusted_key(value: object) -> tuple[str, str]:
    """Return a line of `trust` with single spaces, and its key. A fault never shows it: it can be a secret key."""
    use = 'use the line of its .pub file, "ssh-ed25519 AAAA… comment"'
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidValue(f"this is not a public key; {use}")
    if "PRIVATE KEY" in value or value.startswith("b3BlbnNzaC1rZXk"):
        raise InvalidValue(f"this is a secret key, which must not be in this file; {use}")
    words = value.split()
    key = words[1:] if words[:1] and words[0].startswith("namespaces=") else words
    if key != words and not re.fullmatch(rf'namespaces="{_NAMESPACE}(,{_NAMESPACE})*"', words[0]):
        raise InvalidValue(f"namespaces is not a list of purposes; use {_EACH_NAMESPACE}")
    if key and re.fullmatch(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+", key[0]) and key[0] != _ED25519:
        raise InvalidValue(
            f"this is a key of type {key[0]}; only {_ED25519} keys sign backups: ssh-keygen -t ed25519 makes one"
        )
    if len(key) < 2 or key[0] != _ED25519 or not _is_ed25519(key[1]):
        raise InvalidValue(f"this is not a public key; {use}")
    return " ".join(words), key[1]


_ED25519 = "ssh-ed25519"
_ED25519_HEAD = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
"""How a key begins before base64: its type, and the 32 bytes that follow, each after its length."""


def _is_ed25519(encoded: str) -> bool:
    from base64 import b64decode, b64encode

    try:
        key = b64decode(encoded, validate=True)
    except ValueError:
        return False
    is_canonical = b64encode(key).decode() == encoded  # one key has one form, so that a duplicate is found
    return is_canonical and key.startswith(_ED25519_HEAD) and len(key) == len(_ED25519_HEAD) + 32


def _path_in_store(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", text) or {".", ".."} & set(text.split("/")):
        raise InvalidValue(f'{as_written(text)} is not a key in the store; use a path such as "status/index.html"')
    return text


def _textfile(value: object) -> Path:
    text = _text(value)
    if not text.startswith("/") or not text.endswith(".prom"):
        raise InvalidValue(f"{as_written(text)} is not a metrics textfile; use an absolute path that ends in .prom")
    return Path(text)


def _absolute_path(value: object) -> Path:
    text = _text(value)
    if not text.startswith("/"):
        raise InvalidValue(f"{as_written(text)} is not an absolute path; begin it with /")
    return Path(text)


class _FileBeside(ValueType[Path]):
    """A path relative to the directory of the environment file."""

    description = "a path relative to this file"

    def read(self, value: object, position: Position) -> Path:
        return position.folder / _text(value)


PLAN = "{plan}"
"""The argument, or the part of one, that stands for the file with the plan."""


_PLAN_CHECKS = f'["program", "argument", "{PLAN}"], or {{ command = […], raw = true }}'


def _plan_check(value: object) -> PlanCheck:
    table = value if isinstance(value, dict) else {"command": value}
    command, raw = table.get("command"), table.get("raw", False)
    words = tuple(each for each in command if isinstance(each, str) and each) if isinstance(command, list) else ()
    is_command = isinstance(command, list) and len(words) == len(command) > 0
    if not is_command or not table.keys() <= {"command", "raw"} or not isinstance(raw, bool):
        raise InvalidValue(f"this is not a check of a plan; use {_PLAN_CHECKS}")
    if not all(word.isprintable() for word in words):
        raise InvalidValue("the command has characters that cannot be printed; use plain text")
    if not any(PLAN in word for word in words[1:]):
        raise InvalidValue(f'the command does not name the plan; add "{PLAN}" as an argument')
    return PlanCheck(words, raw)


def _origin(value: object) -> str:
    match = re.fullmatch(r"([^/]+)/([^/]+)", value) if isinstance(value, str) else None
    if not match:
        raise InvalidValue(
            f'{as_written(value)} is not a source database; use "environment/database", such as "production/shop"'
        )
    return match[0]


def _program(value: object) -> str:
    text = _text(value)
    if text not in ("terraform", "tofu") and not text.startswith(("/", "./", "~/")):
        raise InvalidValue(
            f'{as_written(text)} is not a supported program; use "terraform", "tofu", or an absolute path'
        )
    return text


def _quiet_hours(value: object) -> QuietHours:
    match = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", str(value))
    try:
        begin, end = (time.fromisoformat(each) for each in (match.groups() if match else ("", "")))
    except ValueError:
        raise InvalidValue(f'{as_written(value)} is not a pair of times; use two, such as "22:00-07:00"') from None
    if begin == end:
        raise InvalidValue(f"{as_written(value)} is the whole day; name two different times")
    return QuietHours(begin, end)


def _job(value: object) -> str:
    if value not in JOBS:
        raise InvalidValue(f"{as_written(value)} is not a job; use one of: {', '.join(JOBS)}")
    return str(value)


def _bill_source(value: object) -> str:
    if value not in ("aws", "focus", "opencost"):
        raise InvalidValue(f'{as_written(value)} is not a source of bills; use "aws", "focus" or "opencost"')
    return str(value)


def _lock(value: object) -> str:
    if value != "file":
        raise InvalidValue(
            f'{as_written(value)} is not a lock type; use lock = "file", or lock_table = "name of a DynamoDB table"'
        )
    return "file"


TEXT = Scalar("text", _text)
PLAN_CHECK = Scalar(_PLAN_CHECKS, _plan_check)
NAME_TYPE = Scalar("a name: letters, digits, - and _", _matching(NAME.pattern, "a name", NAME_RULE))
YES_OR_NO = Scalar("true or false", _yes_or_no)
COUNT = Scalar('1 or more, or "all"', _count)
PARALLEL = Scalar("1 to 64", _whole("a number of streams", 1, 64))
COMPRESSION = Scalar("1 to 19", _whole("a compression level", 1, 19))
PART_LIMIT = Scalar("10 to 10000", _whole("a number of parts", 10, 10000))
PERCENT = Scalar("1 to 1000", _whole("a percentage", 1, 1000))
PERCENT_OF_ALL = Scalar("1 to 100", _whole("a percentage", 1, 100))
JOB = Scalar("a job", _job)
QUIET_HOURS = Scalar('two times, such as "22:00-07:00"', _quiet_hours)
BILL_SOURCE = Scalar('"aws", "focus" or "opencost"', _bill_source)
MONEY = Scalar("a number above 0", _money)
FACTOR = Scalar('a factor, such as "2x"', _factor)
SHARE = Scalar('a share, such as "50%", or "off"', _share)
DURATION = Scalar('a duration, such as "60s", "10m", "6h" or "2d"', _duration)
SPAN = Scalar('a period of years, months, days, hours, such as "2y5m7d3h"', _span)
CRON = Scalar("a cron line: minute hour day month weekday", _cron)
TIMEZONE = Scalar('a timezone, such as "Europe/Berlin"', _timezone)
FORMAT_TYPE = Scalar("1", _whole("a format", FORMAT, FORMAT))
STORE_URL = Scalar("s3://bucket/prefix or file:///directory", _store_url)
HTTP_URL = Scalar("https://host or http://host:port", _http_url)
SERVER_URL = Scalar("postgresql://user@host:5432/database", _server_url)
DATABASE_URL = Scalar("postgresql://user@host:5432/database", _database_url)
VIA = _Tunnel()
SECRET = _SecretReference()
APPRISE = _Address(
    'an Apprise address such as "mailto://ops@acme.example", or a reference to one: { env = "NAME" }',
    form=r"[A-Za-z][A-Za-z0-9+.-]*://\S+",
)
PING = _Address('"https://host/path", or a reference to it: { env = "NAME" }', form=r"https?://\S+")
RECIPIENTS = _Recipients()
SIGNING_KEY = _SigningKey()
TRUSTED_KEYS = _TrustedKeys()
TAG = Scalar(
    "a tag", _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "a tag", "use letters, digits, ., - and _, at most 63")
)
REGION = Scalar("an AWS region", _matching(r"[a-z0-9][a-z0-9-]*", "a region", 'use one such as "eu-central-1"'))
BUCKET = Scalar(
    "a bucket", _matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket", "use 3 to 63 of a-z, 0-9, - and .")
)
ACCOUNT = Scalar("twelve digits", _matching(r"\d{12}", "an AWS account", 'use its twelve digits, "123456789012"'))
ROLE = Scalar(
    "the ARN of a role",
    _matching(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", "a role", 'use its ARN, "arn:aws:iam::123456789012:role/name"'),
)
CURRENCY = Scalar("three capitals", _matching(r"[A-Z]{3}", "a currency", 'use three capitals, such as "USD"'))
PATH_IN_STORE = Scalar("a key in the store", _path_in_store)
ABSOLUTE_PATH = Scalar("an absolute path", _absolute_path)
STANZA = Scalar("a stanza of pgBackRest", _matching(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}", "a stanza", NAME_RULE))
REPOSITORY = Scalar("1 to 256", _whole("a repository of pgBackRest", 1, 256))
TEXTFILE = Scalar("an absolute path that ends in .prom", _textfile)
FILE_BESIDE = _FileBeside()
ORIGIN = Scalar("environment/database", _origin)
PROGRAM = Scalar("terraform, tofu or an absolute path", _program)
LOCK = Scalar('"file"', _lock)
LOCK_PERIOD = Scalar('a duration of one day or more, such as "30d"', _lock_period)
LOCK_MODE = Scalar('"governance" or "compliance"', _lock_mode)
RESOURCE_TYPE = Scalar(
    "a resource type", _matching(r"[a-z0-9_]+", "a resource type", 'use one such as "aws_db_instance"')
)
