"""Where environment files are found, and how one is read whole: every fault at once."""

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
from inventories.reading import KeyPath, Position, TableOf, printable, suggestion, toml_path
from inventories.secret import BadEnvironment
from inventories.value_types import FORMAT

INSTALLED = Path("/etc/groundcrew")


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder of environment files: `inventories` of a repository, or /etc/groundcrew of an installed host."""

    root: Path
    folder: Path

    @classmethod
    def find(cls, root: Path | None = None, start: Path | None = None) -> Repository:
        """The one at `root`, else at CREW_ROOT, else from `start` or the current folder upwards, else this host's."""
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
            f"{beginning}: neither here nor above is a folder inventories/ with .toml files, and {INSTALLED} has none; "
            "go to the repository, name it with --root or CREW_ROOT, or begin one here: crew init NAME"
        )

    def names(self) -> tuple[str, ...]:
        """The environments there are."""
        return tuple(sorted(path.stem for path in self.folder.glob("[!.]*.toml") if path.is_file()))

    def read(self, name: str) -> Environment:
        """An environment, whole and right; BadEnvironment with every fault if it is not."""
        names = self.names()
        if name not in names:
            near = suggestion(name, names) if names else ""
            near = f"; {near}" if near.startswith("did") else ""
            there = f"there are {', '.join(names)}" if names else "there is none yet"
            raise BadEnvironment(f"there is no environment {name}; {there}{near}; or make it: crew init {name}")
        return _read(self.folder / f"{name}.toml", self)

    def shown(self, path: Path) -> str:
        """A path as people of this repository call it."""
        inside = self.root != self.folder and path.is_relative_to(self.root)
        return str(path.relative_to(self.root) if inside else path)


def _at(root: Path, said_by: str) -> Repository:
    root = root.expanduser().absolute()
    for folder in (root / "inventories", root):
        if _has_environments(folder):
            return Repository(root, folder)
    raise BadEnvironment(f"{said_by}: {root} has no folder inventories/ with .toml files; name the repository's root")


def _has_environments(folder: Path) -> bool:
    return any(folder.glob("[!.]*.toml"))


def _read(path: Path, repository: Repository) -> Environment:
    place = Position(repository.shown(path), path.parent)
    around = _around(path, repository)
    document = _document(path, place)
    if document is None or _is_newer(document, place):
        raise BadEnvironment(*_lines(place, [], [*place.faults, *missing_hosts_file(around)]))
    overrides, unfit = apply_overrides(document, _WHOLE, os.environ)
    lines = [line for variable, line in unfit.items() if not _fits_another(variable, path, repository)]
    environment = _WHOLE.read(document, place, file=path)
    faults = [*place.faults, *cross_check(environment, tuple(document), around), *missing_hosts_file(around)]
    if faults or lines:
        raise BadEnvironment(*_lines(place, overrides, faults), *lines)
    return environment


_WHOLE = TableOf(Environment)


def _fits_another(variable: str, path: Path, repository: Repository) -> bool:
    """Whether a variable is about what only another environment has, a database of it for one."""
    others = [repository.folder / f"{name}.toml" for name in repository.names() if name != path.stem]
    documents = [_document(other, Position("", other.parent)) for other in others]
    variables = {variable: os.environ[variable]}
    return any(not apply_overrides(document, _WHOLE, variables)[1] for document in documents if document is not None)


def _lines(place: Position, overrides: Sequence[Override], faults: Sequence[Fault]) -> list[str]:
    """One line for each fault, which names the file, or the variable that overrides it."""
    return [_line(place, overrides, path, text) for path, text in faults]


def _line(place: Position, overrides: Sequence[Override], path: KeyPath, text: str) -> str:
    for one in overrides:
        if one.covers(path):
            return one.fault(path, text)
    return f"{place.file}: {toml_path(path)}: {text}" if path else f"{place.file}: {text}"


def _document(path: Path, place: Position) -> dict[str, Any] | None:
    """The file as TOML, or None and a fault."""
    import tomllib

    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        place.wrong(f"can't be read ({error.strerror}); check its rights")
    except UnicodeDecodeError as error:
        place.wrong(f"is not UTF-8 (byte {error.start + 1}); save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        place.wrong(_syntax(str(error)))
    except (RecursionError, ValueError):
        place.wrong("is nested too deeply, or has a number too long to read; write it more simply")
    return None


def _syntax(error: str) -> str:
    """What tomllib says, the line first."""
    found = re.fullmatch(r"(.*?) \(at (.*)\)", error, re.DOTALL)
    what, where = (found[1], found[2]) if found else (error, "somewhere")
    what = printable(what[:1].lower() + what[1:])
    once = "; a key or table may stand only once" if what.startswith("cannot") else ""
    return f"{where}: this is not TOML ({what}){once}; nothing of the file counts until that is right"


def _is_newer(document: dict[str, Any], place: Position) -> bool:
    heading = document.get("environment")
    written = heading.get("format") if isinstance(heading, dict) else None
    if not isinstance(written, int) or written <= FORMAT:
        return False
    newer = f"{written} is newer than what this groundcrew reads ({FORMAT}); install a newer groundcrew"
    place.at("environment").at("format").wrong(newer)
    return True


def _around(path: Path, repository: Repository) -> Surroundings:
    """What lies around an environment file, as far as its checks ask for it."""
    beside = path.with_suffix("")
    stacks = repository.root / "terraform" / "stacks"
    a_repository = repository.folder != repository.root
    return Surroundings(
        name=path.stem,
        hosts=repository.shown(beside),
        hosts_there=not a_repository or beside.is_file(),
        stack_folders=_folders(stacks) if stacks.parent.is_dir() and a_repository else None,
        databases={name: _databases(repository.folder / f"{name}.toml") for name in repository.names()},
    )


def _folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(one.name for one in folder.iterdir() if one.is_dir())) if folder.is_dir() else ()


def _databases(path: Path) -> tuple[str, ...]:
    """The databases another file has; what else is wrong with it is told when it is read itself."""
    document = _document(path, Position("", path.parent)) or {}
    databases, servers = (document.get(section) for section in ("databases", "servers"))
    named = tuple(databases) if isinstance(databases, dict) else ()
    return (*named, *(f"{name}." for name in servers)) if isinstance(servers, dict) else named
