"""`make changelog` and `make notes`: what changed since the last release, from the commits, by what they touch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"

HEADINGS = {  # the first that a path begins with
    "jobs/backup": "Backups",
    "jobs/retention": "Backups",
    "jobs/prune": "Backups",
    "jobs/schedule": "Schedules",
    "jobs/cost": "The bill",
    "jobs/status": "Watching",
    "jobs/monitoring": "Watching",
    "jobs/stacks": "Stacks and drift",
    "jobs/drift": "Stacks and drift",
    "jobs": "Runs and the command line",
    "terraform": "Stacks and drift",
    "deploys": "Deploys",
    "inventories": "Environments",
}


@dataclass(frozen=True)
class Commit:
    """Its first line, and the files that it touched."""

    subject: str
    paths: tuple[str, ...]


def heading(commit: Commit) -> str | None:
    """Under what a user looks for it; None for what only those who work on groundcrew notice."""
    told = [next((title for start, title in HEADINGS.items() if path.startswith(start)), None) for path in commit.paths]
    counted = Counter(title for title in told if title)
    return counted.most_common(1)[0][0] if counted else None


def section(version: str, day: str, commits: Sequence[Commit]) -> str:
    """A release as CHANGELOG.md has it: the newest commit first, each once."""
    lines = [f"## {version} ({day})"]
    for title in dict.fromkeys(HEADINGS.values()):
        subjects = dict.fromkeys(commit.subject for commit in commits if heading(commit) == title)
        lines += ["", f"### {title}", "", *(f"- {subject}" for subject in subjects)] if subjects else []
    return "\n".join(lines) + "\n"


def sections(text: str) -> dict[str, str]:
    """The releases of CHANGELOG.md, each by its version."""
    found = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {one.removeprefix("## ").split(maxsplit=1)[0]: one.strip() + "\n" for one in found}


def version() -> str:
    """What pyproject.toml says; it exits where a tag says something else."""
    told: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    tag = os.environ.get("GITHUB_REF_NAME", "") if os.environ.get("GITHUB_REF_TYPE") == "tag" else f"v{told}"
    if tag != f"v{told}":
        sys.exit(f"The tag is {tag}, and pyproject.toml has version {told}: make them one, and tag anew.")
    return told


def commits(told: str) -> list[Commit]:
    """Those since the release before this version."""
    tags = [tag for tag in _git("tag", "--list", "v*", "--merged", "--sort=-creatordate").split() if tag != f"v{told}"]
    log = _git("log", "--no-merges", "--name-only", "--format=%x00%s", *([f"{tags[0]}..HEAD"] if tags else []))
    lines = [[line for line in one.splitlines() if line] for one in log.split("\0")[1:]]
    return [Commit(subject, tuple(paths)) for subject, *paths in lines]


def _git(*args: str) -> str:
    argv = ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def main() -> None:
    told = version()
    text = CHANGELOG.read_text()
    there = sections(text).get(told)
    made = there or section(told, f"{datetime.now(UTC):%Y-%m-%d}", commits(told))
    if sys.argv[1:] == ["notes"]:
        notes = ROOT / "dist" / "notes.md"
        notes.parent.mkdir(exist_ok=True)
        notes.write_text(made)
        print(f"wrote dist/notes.md: what is new in {told}")
    elif there:
        sys.exit(f"CHANGELOG.md has {told} already: raise the version in pyproject.toml first.")
    else:
        begun, found, before = text.partition("\n## ")
        CHANGELOG.write_text(f"{begun}\n{made}{found}{before}")
        print(f"CHANGELOG.md has {told} now: say it in the words of those who use it")


if __name__ == "__main__":
    main()
