"""What Terraform's error texts mean, and what to do about them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from terraform.errors import ChangeRefused, NoTerraform, StackError, StateLocked, TemporaryStackError

_LONGEST = 600
_IDS = re.compile(r",?\s*\b(?:request ?id|host ?id):[ \t]*[\w+/=-]*", re.IGNORECASE)
"""What AWS wants to be told about a request, and nobody else."""


@dataclass(frozen=True, slots=True)
class StateLock:
    """Who holds a state's lock."""

    id: str
    who: str
    created: str
    operation: str

    @property
    def changes(self) -> bool:
        """Whether it is held to change something: a plan holds it too, and changes nothing."""
        return self.operation != "OperationTypePlan"

    @property
    def sentence(self) -> str:
        """Who, since when, and at what."""
        doing = self.operation.removeprefix("OperationType").lower() or "something"
        return f"{self.who or 'somebody'} since {self.created[:19] or 'an unknown time'} ({doing})"


@dataclass(frozen=True, slots=True)
class KnownError:
    """An error that is recognised by its words."""

    words: str
    says: str
    kind: type[StackError] = StackError


_KNOWN = (
    KnownError(
        r"Saved plan is stale",
        "the state has changed since the plan was shown; plan again",
        ChangeRefused,
    ),
    KnownError(
        r"plan file was created by|Invalid plan file|can't be read by this version",
        "the plan was saved by another version of the program; plan again with this one",
        ChangeRefused,
    ),
    KnownError(
        r"state snapshot was created by (?P<program>Terraform|OpenTofu) v(?P<version>[\d.]+)",
        "its state was written by {program} {version}, which is newer than the one here; install that or a newer one",
        NoTerraform,
    ),
    KnownError(
        r"[Uu]nsupported state file format|version \d+,? which is not supported|does not support state version \d+",
        "its state is of a format that is newer than this Terraform reads; install a newer one",
        NoTerraform,
    ),
    KnownError(
        r"[Uu]nsupported Terraform Core version|[Uu]nsupported OpenTofu Core version",
        "its code wants another version of the program (required_version); install one that fits",
        NoTerraform,
    ),
    KnownError(
        r"S3 bucket (?:\"[^\"]*\" )?does not exist|NoSuchBucket",
        "the bucket of the state is not there; make it with: crew stacks bootstrap {environment}",
    ),
    KnownError(
        r"ResourceNotFoundException",
        "the table that locks the state is not there; make it with: crew stacks bootstrap {environment}",
    ),
    KnownError(
        r"[Nn]o valid credential sources|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidClientTokenId|ExpiredToken|"
        r"failed to get shared config profile|AccessDenied|Forbidden|UnrecognizedClientException|security token|"
        r"[sS]tatus ?[cC]ode: 40[13]\b",
        "AWS does not accept the credentials, or they lack a right ({line}); look at AWS_PROFILE and [terraform] state",
    ),
    KnownError(
        r"Failed to query available provider packages|Failed to install provider|could not connect to registry|"
        r"Could not retrieve the list of available versions|registry service is unreachable",
        "a provider can't be had ({line}); look at the way to the registry, or name a mirror in TF_CLI_CONFIG_FILE",
        TemporaryStackError,
    ),
    KnownError(
        r"connection refused|no such host|i/o timeout|RequestError: send request failed|TLS handshake timeout|"
        r"RequestCanceled|dial tcp|context deadline exceeded",
        "something that it needs is out of reach ({line}); try again later",
        TemporaryStackError,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CommandStart:
    """Where a command was begun, and when."""

    host: str
    at: datetime

    def may_hold(self, lock: StateLock) -> bool:
        """Whether a lock that it met can be its own: taken here, and since. AWS's answer to it was lost then."""
        try:
            created = datetime.fromisoformat(lock.created[:19]).replace(tzinfo=UTC)
        except ValueError:
            return False
        return lock.who.endswith(f"@{self.host}") and created >= self.at.replace(microsecond=0)


def diagnose(name: str, command: str, said: str, code: int, begun: CommandStart | None = None) -> StackError:
    """What went wrong with a stack, as its own error; the command with its program: terraform plan."""
    environment, _, stack = name.partition("/")
    if lock := parse_lock(said):
        if begun and begun.may_hold(lock):
            advice = "here, since this command began: its own, whose answer was lost, unless somebody else is at it"
        else:
            advice = "wait for it, or if its process is dead"
        way_out = f"{advice}: crew stacks unlock {environment} {stack} --id {lock.id}"
        return StateLocked(f"{name}: the state is locked by {lock.sentence}; {way_out}")
    line = first_error(said)
    for known in _KNOWN:
        if found := re.search(known.words, said):
            told = known.says.format(environment=environment, line=line, **found.groupdict())
            return known.kind(f"{name}: {told}")
    if code < 0:
        return StackError(f"{name}: {command} was killed by signal {-code}; run it again")
    return StackError(f"{name}: {command} failed: {line}")


def parse_lock(said: str) -> StateLock | None:
    """The lock that Terraform met, from what it says of it."""
    if "Error acquiring the state lock" not in said and "Error locking state" not in said:
        return None
    fields = dict(re.findall(r"^[│\s]*(ID|Who|Created|Operation):\s+(.+?)\s*$", said, re.MULTILINE))
    if "ID" not in fields:
        return None
    return StateLock(fields["ID"], fields.get("Who", ""), fields.get("Created", ""), fields.get("Operation", ""))


def first_error(said: str) -> str:
    """The first of the errors on one line, with where it is."""
    text = "\n".join(line.strip("│╷╵ \t") for line in said.splitlines())
    found = re.search(r"Error: (.*?)(?=\n\s*Error: |\Z)", text, re.DOTALL)
    words = " ".join(_IDS.sub("", found[1] if found else text).split()) or "it said nothing"
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
