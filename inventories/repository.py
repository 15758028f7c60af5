"""Where environment files are found, and how one is read whole: every fault at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from inventories.environment import Environment
from inventories.reading import Place, TableOf, dotted, suggestion
from inventories.secret import BadEnvironment

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
            "go to the repository, or name it with --root or CREW_ROOT"
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
    import tomllib

    place = Place(repository.shown(path), path.parent)
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
        environment = TableOf(Environment).read(document, place, file=path)
    except ValueError as error:
        raise BadEnvironment(f"{place.file}: {error}") from None
    if place.faults:
        raise BadEnvironment(*(f"{place.file}: {dotted(path)}: {text}" for path, text in place.faults))
    return environment
