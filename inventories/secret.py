"""Secrets: named in a file, resolved when used, never shown."""

from __future__ import annotations

import os
import re
import signal
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from inventories.errors import CrewError, ExitCode

HIDDEN = "***"
COMMAND_SECONDS = 20.0  # less than `crew check` waits for a check, so that it tells which command it was
SHORT = 4  # a value shorter than this is hidden only where it stands as a word, or every log would be stars
LONG = 16  # the path of an address is hidden alone from here on: a token is this long, and /backup is no secret


class BadEnvironment(CrewError):
    """An environment that cannot be used: all its faults, one line each."""

    exit_code = ExitCode.BAD_CONFIGURATION


class NoSecret(BadEnvironment):
    """A secret that is named in a file and can't be had where it was asked for."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value kept elsewhere: in the process environment, a file, or what a command prints."""

    env: str = ""
    file: Path | None = None
    command: tuple[str, ...] = ()
    literal: str = ""
    asked_by: str = field(default="", compare=False)

    def reveal(self) -> str:
        """The value itself. From now on redact() hides it."""
        try:
            value = self._value()
        except NoSecret:
            raise
        except UnicodeDecodeError:
            raise self._missing(f"{self.source} is not UTF-8 text; store it as text") from None
        except OSError as error:
            raise self._missing(f"{self.source} can't be read ({error.strerror}); check its path and rights") from None
        if not value:
            raise self._missing(f"{self.source} is empty; put the secret there")
        hide(value)
        return value

    @property
    def source(self) -> str:
        """Where the value is kept, in words that hold nothing of it."""
        if self.env:
            return f"environment variable {self.env}"
        if self.file:
            return f"file {self.file}"
        return f"the output of {self.command[0]}" if self.command else "the environment file"

    def _value(self) -> str:
        if self.env:
            return self._from_environment()
        if self.file:
            return self._from_file(self.file)
        return self._from_command() if self.command else self.literal

    def _from_environment(self) -> str:
        if self.env in os.environ:
            return os.environ[self.env]
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder and (Path(folder) / self.env).is_file():
            return _text(Path(folder) / self.env)
        missing = f"{self.source} is not set, and $CREDENTIALS_DIRECTORY has no file {self.env}; set one of them"
        raise self._missing(missing)

    def _from_file(self, path: Path) -> str:
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise self._missing(f"{self.source} is open to every user of this machine; chmod 600 {path}")
        return _text(path)

    def _from_command(self) -> str:
        import subprocess

        # In a group of its own, so that all it started can be ended; its stderr may hold what it was to keep.
        with subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as program:
            try:
                printed, _ = program.communicate(timeout=COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(program.pid, signal.SIGKILL)
                late = f"{self.source} did not come within {COMMAND_SECONDS:g} s; run the command by hand to see why"
                raise self._missing(late) from None
        if program.returncode:
            why = f"it ended with {program.returncode}; run the command by hand to see why"
            raise self._missing(f"{self.source} can't be had: {why}")
        return printed.decode().rstrip("\r\n")

    def _missing(self, text: str) -> NoSecret:
        return NoSecret(f"{self.asked_by}: {text}" if self.asked_by else text)

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__


def _text(path: Path) -> str:
    return path.read_bytes().decode().rstrip("\r\n")


_lock = threading.Lock()
_hidden: set[str] = set()
_pattern: re.Pattern[str] | None = None

_PASSWORD_IN_URL = re.compile(
    r"(?P<before>[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#:@\"']*:)(?!\d{1,5}(?:[/?#\s\"']|$))[^\s\"']+(?=@)"
)
_PASSWORD_PARAMETER = re.compile(r"(?P<before>\b(?:ssl)?password=)(?:'(?:[^'\\]|\\.)*'|[^\s&'\"]+)", re.IGNORECASE)


def hide(value: str) -> None:
    """Have redact() replace this value from now on, in every form it usually takes."""
    global _pattern  # noqa: PLW0603  (one list of secrets for the whole program: a log line has no other way to know)
    forms = _forms(value)
    with _lock:
        if forms <= _hidden:
            return
        _hidden.update(forms)
        _pattern = re.compile("|".join(map(_expression, sorted(_hidden, key=len, reverse=True))))


def _forms(value: str) -> set[str]:
    import json

    lines = {line for line in value.splitlines() if len(line) >= SHORT and not line.startswith("#")}
    # Who is given a web hook's address writes it anew, and what is secret in it is its path.
    paths = {path for line in lines if len(path := _path_of(line)) >= LONG}
    forms = {value} | lines | paths
    for one in (value, *lines, *paths):
        forms |= {quote(one, safe=safe, errors="surrogateescape") for safe in ("", "/")}
        forms |= {quote_plus(one, errors="surrogateescape")}
        forms |= {json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], repr(one)[1:-1]}
    return forms


def _path_of(address: str) -> str:
    found = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]+(/[^?#\s]*?)/*(?:[?#].*)?", address)
    return found[1] if found else ""


def _expression(form: str) -> str:
    return re.escape(form) if len(form) >= SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"


def has_password(text: str) -> bool:
    """Whether an address has a password written into it."""
    return bool(_PASSWORD_IN_URL.search(text) or _PASSWORD_PARAMETER.search(text))


def redact(text: str) -> str:
    """The text with every revealed secret, and every password in a URL, replaced by stars."""
    if _pattern:
        text = _pattern.sub(HIDDEN, text)
    text = _PASSWORD_IN_URL.sub(rf"\g<before>{HIDDEN}", text)
    return _PASSWORD_PARAMETER.sub(rf"\g<before>{HIDDEN}", text)


def redact_all(value: object) -> object:
    """A value as logs and JSON can hold it, each text in it redacted; numbers stay, for they would be none any more."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): redact_all(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_all(inner) for inner in value]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return redact(str(value))
