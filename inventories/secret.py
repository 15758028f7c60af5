"""Secrets: a file contains only references to them; values are read when needed and never shown."""

from __future__ import annotations

import os
import re
import signal
import stat
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote, quote_plus

from inventories.errors import CrewError, ExitCode

HIDDEN = "***"
COMMAND_SECONDS = 20.0  # shorter than the time limit of a check in `crew check`, which can then name the command
SHORT = 4  # a shorter value is hidden only as a whole word; otherwise logs would be full of stars
LONG = 16  # a path of this length in a URL is hidden too: it can be a token, while /backup is not


class BadEnvironment(CrewError):
    """An environment that cannot be used: all its faults, one line each."""

    exit_code = ExitCode.BAD_CONFIGURATION


class NoSecret(BadEnvironment):
    """A secret that cannot be read."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that is stored elsewhere: in an environment variable, a file, or the output of a command."""

    env: str = ""
    file: Path | None = None
    command: tuple[str, ...] = ()
    literal: str = ""
    used_by: str = field(default="", compare=False)

    def reveal(self) -> str:
        """Return the value. From now on, redact() hides it."""
        try:
            value = self._value()
        except NoSecret:
            raise
        except UnicodeDecodeError:
            raise self._missing(f"{self.source} is not UTF-8 text; store it as text") from None
        except OSError as error:
            raise self._missing(
                f"{self.source} cannot be read ({error.strerror}); check its path and permissions"
            ) from None
        if not value:
            raise self._missing(f"{self.source} is empty; store the secret there")
        hide(value)
        return value

    @property
    def source(self) -> str:
        """The location of the value, in words that do not reveal it."""
        if self.env:
            return f"environment variable {self.env}"
        if self.file:
            return f"file {self.file}"
        return f"the output of {self.command[0]}" if self.command else "the environment file"

    @property
    def exists(self) -> bool:
        """Whether this machine has the value, even if it cannot be read. The output of a command always exists."""
        if self.env:
            return self.env in os.environ or (self._credential is not None and self._credential.is_file())
        try:
            return self.file is None or self.file.exists()
        except OSError:  # a directory that this user cannot search
            return True

    @property
    def _credential(self) -> Path | None:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        return Path(folder) / self.env if folder else None

    def _value(self) -> str:
        if self.env:
            return self._from_environment()
        if self.file:
            return self._from_file(self.file)
        return self._from_command() if self.command else self.literal

    def _from_environment(self) -> str:
        if self.env in os.environ:
            return os.environ[self.env]
        if self._credential and self._credential.is_file():
            return _text(self._credential)
        missing = f"{self.source} is not set, and $CREDENTIALS_DIRECTORY has no file {self.env}"
        raise self._missing(f"{missing}; set the variable or create the file")

    def _from_file(self, path: Path) -> str:
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise self._missing(
                f"{self.source} is readable or writable by every user of this machine; run: chmod 600 {path}"
            )
        return _text(path)

    def _from_command(self) -> str:
        import subprocess

        # A process group lets us end all processes that the command starts. Its stderr can contain the secret.
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
                timeout = (
                    f"{self.source} did not arrive within {COMMAND_SECONDS:g} s; run the command yourself to see why"
                )
                raise self._missing(timeout) from None
        if program.returncode:
            why = f"exit code {program.returncode}; run the command yourself to see why"
            raise self._missing(f"{self.source} cannot be read: {why}")
        return printed.decode().rstrip("\r\n")

    def _missing(self, text: str) -> NoSecret:
        return NoSecret(f"{self.used_by}: {text}" if self.used_by else text)

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__


def _text(path: Path) -> str:
    return path.read_bytes().decode().rstrip("\r\n")


_lock = threading.Lock()
_hidden: set[str] = set()
_values: set[str] = set()  # those whose forms are in the pattern already
_pattern: Callable[[], re.Pattern[str]] | None = None

_PASSWORD_IN_URL = re.compile(
    r"(?P<before>[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#:@\"']*:)(?!\d{1,5}(?:[/?#\s\"']|$))[^\s\"']+(?=@)"
)
_PASSWORD_PARAMETER = re.compile(r"(?P<before>\b(?:ssl)?password=)(?:'(?:[^'\\]|\\.)*'|[^\s&'\"]+)", re.IGNORECASE)


def hide(value: str) -> None:
    """Make redact() replace this value from now on, in all its common encodings."""
    global _pattern  # noqa: PLW0603  (one list of secrets for the whole program, since every log line needs it)
    if value in _values:  # many runs reveal the same few secrets
        return
    forms = _forms(value)
    with _lock:
        if not forms <= _hidden:
            _hidden.update(forms)
            _pattern = cache(partial(_compile, frozenset(_hidden)))  # compiling takes long, so the first text does it
        _values.add(value)


def _compile(forms: Collection[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_expression, sorted(forms, key=len, reverse=True))))


def _forms(value: str) -> set[str]:
    import json

    lines = {line for line in value.splitlines() if len(line) >= SHORT and not line.startswith("#")}
    # Libraries rewrite the URL of a web hook; the secret part is its path.
    paths = {path for line in lines if len(path := _path_of(line)) >= LONG}
    forms = {value} | lines | paths
    for text in (value, *lines, *paths):
        forms |= {quote(text, safe=safe, errors="surrogateescape") for safe in ("", "/")}
        forms |= {quote_plus(text, errors="surrogateescape")}
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
    return forms


def _path_of(address: str) -> str:
    match = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]+(/[^?#\s]*?)/*(?:[?#].*)?", address)
    return match[1] if match else ""


def _expression(form: str) -> str:
    return re.escape(form) if len(form) >= SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"


def has_password(text: str) -> bool:
    """Return whether an address contains a password."""
    return bool(_PASSWORD_IN_URL.search(text) or _PASSWORD_PARAMETER.search(text))


def redact(text: str) -> str:
    """Return the text with stars for every revealed secret and every password in a URL."""
    if _pattern:
        text = _pattern().sub(HIDDEN, text)
    if "://" in text:  # the expressions are slow on a long text, such as a page
        text = _PASSWORD_IN_URL.sub(rf"\g<before>{HIDDEN}", text)
    if "password=" in text.casefold():
        text = _PASSWORD_PARAMETER.sub(rf"\g<before>{HIDDEN}", text)
    return text


def redact_all(value: object) -> object:
    """Return a value for logs and JSON with every text in it redacted; numbers stay numbers."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): redact_all(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_all(inner) for inner in value]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return redact(str(value))
