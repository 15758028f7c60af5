"""Explain Terraform's error output: the cause and the remedy. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from inventories.printable import printable
from terraform.errors import ChangeRefused, MissingData, NoTerraform, StackError, StateLocked, TemporaryStackError

_MAX_LENGTH = 600
_REQUEST_IDS = re.compile(r",?\s*\b(?:request ?id|host ?id):[ \t]*[\w+/=-]*", re.IGNORECASE)
"""IDs that only AWS support can use."""
_ABOUT_DATA = re.compile(
    r'^with (?:.+\.)?data\.|^(?:\S+\.)?data\.\S+ is |^on .+, in data "[^\n]*\n[^\n]*condition\b', re.MULTILINE
)
"""An error of a data source, the value of one in an error, or a condition in the block of one."""


@dataclass(frozen=True, slots=True)
class StateLock:
    """A lock on a state, and its holder."""

    id: str
    who: str
    created: str
    operation: str

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> StateLock:
        """Return the lock with the fields that Terraform writes, safe to print."""
        return cls(*(printable(str(fields.get(name) or "")) for name in ("ID", "Who", "Created", "Operation")))

    @property
    def is_for_change(self) -> bool:
        """Whether the holder changes something; a plan holds the lock too, but changes nothing."""
        return self.operation != "OperationTypePlan"

    @property
    def sentence(self) -> str:
        """The holder, the start time and the operation."""
        operation = self.operation.removeprefix("OperationType").lower() or "unknown operation"
        return f"{self.who or 'an unknown user'} since {self.created[:19] or 'an unknown time'} ({operation})"


@dataclass(frozen=True, slots=True)
class KnownError:
    """A pattern in Terraform's output, with its explanation and its class of error."""

    pattern: str
    explanation: str
    error: type[StackError] = StackError


_KNOWN = (
    KnownError(
        r"Saved plan is stale",
        "the state changed after the plan was shown; plan again",
        ChangeRefused,
    ),
    KnownError(
        r"over newer state with serial|a different state that has the same serial",
        "the state changed during this command, so it was not replaced; run the command again",
        ChangeRefused,
    ),
    KnownError(
        r"plan file was created by|Invalid plan file|can't be read by this version",
        "the plan was saved by another version of the program; plan again with this version",
        ChangeRefused,
    ),
    KnownError(
        r"state snapshot was created by (?P<program>Terraform|OpenTofu) v(?P<version>[\d.]+)",
        "the state was written by {program} {version}, which is newer than the installed version; "
        "install {version} or newer",
        NoTerraform,
    ),
    KnownError(
        r"[Uu]nsupported state file format|version \d+,? which is not supported|does not support state version \d+",
        "the format of the state is newer than this Terraform reads; install a newer version",
        NoTerraform,
    ),
    KnownError(
        r"[Uu]nsupported Terraform Core version|[Uu]nsupported OpenTofu Core version",
        "the code needs another version of the program (required_version); install a version that matches",
        NoTerraform,
    ),
    KnownError(
        r"S3 bucket (?:\"[^\"]*\" )?does not exist|NoSuchBucket",
        "the bucket of the state does not exist; create it with: crew stacks bootstrap {environment}",
    ),
    KnownError(
        r"ResourceNotFoundException",
        "the lock table of the state does not exist; create it with: crew stacks bootstrap {environment}",
    ),
    KnownError(
        r"[Nn]o valid credential sources|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidClientTokenId|ExpiredToken|"
        r"failed to get shared config profile|AccessDenied|Forbidden|UnrecognizedClientException|security token|"
        r"[sS]tatus ?[cC]ode: 40[13]\b",
        "AWS rejected the credentials, or they lack a permission ({line}); check AWS_PROFILE and [terraform] state",
    ),
    KnownError(
        r"Failed to query available provider packages|Failed to install provider|could not connect to registry|"
        r"Could not retrieve the list of available versions|registry service is unreachable",
        "Terraform cannot download a provider ({line}); check the connection to the registry, "
        "or set a mirror in TF_CLI_CONFIG_FILE",
        TemporaryStackError,
    ),
    KnownError(
        r"connection refused|no such host|i/o timeout|RequestError: send request failed|TLS handshake timeout|"
        r"RequestCanceled|dial tcp|context deadline exceeded",
        "Terraform cannot reach a service ({line}); try again later",
        TemporaryStackError,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CommandStart:
    """The host where a command started, and the time."""

    host: str
    at: datetime

    def may_own(self, lock: StateLock) -> bool:
        """Return whether the command itself may have taken the lock that blocks it: on this host, after its start.

        This happens when AWS's response to the lock request is lost.
        """
        try:
            created = datetime.fromisoformat(lock.created[:19]).replace(tzinfo=UTC)
        except ValueError:
            return False
        return lock.who.endswith(f"@{self.host}") and created >= self.at.replace(microsecond=0)


def diagnose(name: str, command: str, output: str, code: int, start: CommandStart | None = None) -> StackError:
    """Return the error for a failed command, such as `terraform plan`, from its output and exit code."""
    environment, _, stack = name.partition("/")
    if lock := parse_lock(output):
        unlock = f"crew stacks unlock {environment} {stack} --id {lock.id}"
        if start and start.may_own(lock):
            remedy = f"probably by this command itself (AWS's response was lost); if nobody else uses it: {unlock}"
        else:
            remedy = f"wait for it, or if that process has ended, run: {unlock}"
        return StateLocked(f"{name}: the state is locked by {lock.sentence}; {remedy}")
    line = first_error(output)
    for known in _KNOWN:
        if match := re.search(known.pattern, output):
            explanation = known.explanation.format(environment=environment, line=line, **match.groupdict())
            return known.error(f"{name}: {explanation}")
    if code < 0:
        return StackError(f"{name}: {command} was killed by signal {-code}; run it again")
    error = MissingData if _is_about_data(output) else StackError
    return error(f"{name}: {command} failed: {line}")


def _is_about_data(output: str) -> bool:
    """Return whether all errors come from data sources, or from code that uses what one of them has found."""
    errors = list(_errors(output))
    return bool(errors) and all(_ABOUT_DATA.search(error) for error in errors)


def parse_lock(output: str) -> StateLock | None:
    """Return the lock that blocked Terraform, from its output; None if no lock did."""
    if "Error acquiring the state lock" not in output and "Error locking state" not in output:
        return None
    fields = dict(re.findall(r"^[│\s]*(ID|Who|Created|Operation):\s+(.+?)\s*$", output, re.MULTILINE))
    return StateLock.of(fields) if "ID" in fields else None


def first_error(output: str) -> str:
    """Return the first error of the output and its location, on one line."""
    text = next(_errors(output), _without_frame(output))
    error = printable(" ".join(_REQUEST_IDS.sub("", text).split())) or "no error message"
    return error if len(error) <= _MAX_LENGTH else f"{error[:_MAX_LENGTH]}…"


def _errors(output: str) -> Iterator[str]:
    for match in re.finditer(r"Error: (.*?)(?=\n\s*Error: |\Z)", _without_frame(output), re.DOTALL):
        yield match[1]


def _without_frame(output: str) -> str:
    return "\n".join(line.strip("│╷╵ \t") for line in output.splitlines())
