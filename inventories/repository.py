"""Find the environment files, and read one with all its faults at once."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories.cross_checks import Fault, Surroundings, cross_check, missing_hosts_file
from inventories.environment import Environment
from inventories.overrides import Override, apply_overrides
from inventories.printable import printable
from inventories.reading import KeyPath, Position, TableOf, suggestion, toml_path
from inventories.secret import BadEnvironment
from inventories.value_types import FORMAT

INSTALLED = Path("/etc/groundcrew")


@dataclass(frozen=True, slots=True)
class Repository:
    """A directory of environment files: `inventories` in a repository, or /etc/groundcrew on an installed host."""

    root: Path
    folder: Path

    @classmethod
    def find(cls, root: Path | None = None, start: Path | None = None) -> Repository:
        """Find the repository.

        The first of these is used: `root`, $CREW_ROOT, the nearest parent of `start` (default: the current folder) with
        a folder inventories/, and /etc/groundcrew.
        """
        if root is not None:
            return _at(root, f"--root {root}")
        if start is None and os.environ.get("CREW_ROOT"):
            return _at(Path(os.environ["CREW_ROOT"]), "CREW_ROOT")
        beginning = (start or Path.cwd()).absolute()
        for folder in (beginning, *beginning.parents):
            if _has_environments(folder / "inventories"):
                return cls(folder, folder / "inventories")
        if _has_environments(INSTALLED):
            return cls(INSTALLED, INSTALLED)
        raise BadEnvironment(
            f"no directory inventories/ with .toml files in {beginning} or its parents, and none in {INSTALLED}; "
            "change to the repository, set --root or CREW_ROOT, or start one here: crew init NAME"
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all environments."""
        return tuple(sorted(path.stem for path in self.folder.glob("[!.]*.toml") if path.is_file()))

    def read(self, name: str) -> Environment:
        """Return an environment; raise BadEnvironment with all faults if it is invalid."""
        names = self.names()
        if name not in names:
            hint = suggestion(name, names) if names else ""
            hint = f"{hint.rstrip('?')}, or " if hint.startswith("did") else ""
            existing = f"existing: {', '.join(names) or 'none'}"
            raise BadEnvironment(
                f"environment {name} does not exist ({existing}); {hint}create it with: crew init {name}"
            )
        return _read(self.folder / f"{name}.toml", self)

    def display_path(self, path: Path) -> str:
        """Return a path as messages show it: relative to the repository."""
        inside = self.root != self.folder and path.is_relative_to(self.root)
        return str(path.relative_to(self.root) if inside else path)


def _at(root: Path, setting: str) -> Repository:
    root = root.expanduser().absolute()
    for folder in (root / "inventories", root):
        if _has_environments(folder):
            return Repository(root, folder)
    raise BadEnvironment(
        f"{setting}: {root} has no directory inventories/ with .toml files; use the root of the repository"
    )


def _has_environments(folder: Path) -> bool:
    return any(folder.glob("[!.]*.toml"))


def _read(path: Path, repository: Repository) -> Environment:
    position = Position(repository.display_path(path), path.parent)
    around = _surroundings(path, repository)
    document = _document(path, position)
    if document is None or _is_newer(document, position):
        raise BadEnvironment(*_lines(position, [], [*position.faults, *missing_hosts_file(around)]))
    overrides, unfit = apply_overrides(document, _ENVIRONMENT_TABLE, os.environ)
    lines = [line for variable, line in unfit.items() if not _matches_another(variable, path, repository)]
    environment = _ENVIRONMENT_TABLE.read(document, position, file=path)
    faults = [*position.faults, *cross_check(environment, tuple(document), around), *missing_hosts_file(around)]
    if faults or lines:
        raise BadEnvironment(*_lines(position, overrides, faults), *lines)
    return environment


_ENVIRONMENT_TABLE = TableOf(Environment)


def _matches_another(variable: str, path: Path, repository: Repository) -> bool:
    """Return whether a variable matches a key of another environment, such as one of its databases."""
    others = [repository.folder / f"{name}.toml" for name in repository.names() if name != path.stem]
    documents = [_document(other, Position("", other.parent)) for other in others]
    variables = {variable: os.environ[variable]}
    return any(
        not apply_overrides(document, _ENVIRONMENT_TABLE, variables)[1]
        for document in documents
        if document is not None
    )


def _lines(position: Position, overrides: Sequence[Override], faults: Sequence[Fault]) -> list[str]:
    """Return a line for each fault, with the name of the file or of the variable that overrides the value."""
    return [_line(position, overrides, path, text) for path, text in faults]


def _line(position: Position, overrides: Sequence[Override], path: KeyPath, text: str) -> str:
    for override in overrides:
        if override.covers(path):
            return override.fault(path, text)
    return f"{position.file}: {toml_path(path)}: {text}" if path else f"{position.file}: {text}"


def _document(path: Path, position: Position) -> dict[str, Any] | None:
    """Return the parsed file, or None after adding a fault."""
    import tomllib

    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        position.add_fault(f"cannot be read ({error.strerror}); check its permissions")
    except UnicodeDecodeError as error:
        position.add_fault(f"is not UTF-8 (byte {error.start + 1}); save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        position.add_fault(_syntax(str(error)))
    except (RecursionError, ValueError):
        position.add_fault("is nested too deeply, or has a number that is too long; simplify it")
    return None


def _syntax(error: str) -> str:
    """Return the message of tomllib with the line first."""
    match = re.fullmatch(r"(.*?) \(at (.*)\)", error, re.DOTALL)
    what, where = (match[1], match[2]) if match else (error, "unknown line")
    what = printable(what[:1].lower() + what[1:])
    once = "; define each key and table only once" if what.startswith("cannot") else ""
    return f"{where}: invalid TOML ({what}){once}; correct this first; the rest of the file was not checked"


def _is_newer(document: dict[str, Any], position: Position) -> bool:
    heading = document.get("environment")
    written = heading.get("format") if isinstance(heading, dict) else None
    if not isinstance(written, int) or written <= FORMAT:
        return False
    newer = f"{written} is newer than this groundcrew reads ({FORMAT}); upgrade groundcrew"
    position.child("environment").child("format").add_fault(newer)
    return True


def _surroundings(path: Path, repository: Repository) -> Surroundings:
    """Return the files around an environment file, for the cross checks."""
    hosts = path.with_suffix("")
    stacks = repository.root / "terraform" / "stacks"
    in_repository = repository.folder != repository.root
    return Surroundings(
        name=path.stem,
        hosts=repository.display_path(hosts),
        hosts_exist=not in_repository or hosts.is_file(),
        stack_folders=_folders(stacks) if stacks.parent.is_dir() and in_repository else None,
        deploys=_deploy_names(repository.root / "deploys"),
        databases={name: _databases(repository.folder / f"{name}.toml") for name in repository.names()},
    )


def _folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(child.name for child in folder.iterdir() if child.is_dir())) if folder.is_dir() else ()


def _deploy_names(folder: Path) -> tuple[str, ...] | None:
    return tuple(sorted(file.stem for file in folder.glob("[!_]*.py"))) if folder.is_dir() else None


def _databases(path: Path) -> tuple[str, ...]:
    """Return the databases of another file; its faults are reported when that file is read."""
    document = _document(path, Position("", path.parent)) or {}
    databases, servers = (document.get(section) for section in ("databases", "servers"))
    named = tuple(databases) if isinstance(databases, dict) else ()
    return (*named, *(f"{name}." for name in servers)) if isinstance(servers, dict) else named
