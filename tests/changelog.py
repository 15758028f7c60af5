"""`make changelog` and `make notes`: what changed since the last release, read from the commits, grouped by package."""

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
UNRELEASED = "Unreleased"

HEADINGS = {  # the first prefix that matches counts
    "jobs/backup": "Backups",
    "jobs/retention": "Backups",
    "jobs/schedule": "Schedules",
    "jobs/cost": "Cost",
    "jobs/status": "Monitoring",
    "jobs/monitoring": "Monitoring",
    "jobs/hosts": "Stacks and drift",
    "jobs/stacks": "Stacks and drift",
    "jobs": "Runs and the command line",
    "terraform": "Stacks and drift",
    "deploys": "Deploys",
    "inventories": "Environments",
}


@dataclass(frozen=True)
class Commit:
    """A commit's subject and the files that it changed."""

    subject: str
    paths: tuple[str, ...]


def heading(commit: Commit) -> str | None:
    """The heading for a commit; None if users do not notice it."""
    titles = [
        next((title for start, title in HEADINGS.items() if path.startswith(start)), None) for path in commit.paths
    ]
    counted = Counter(title for title in titles if title)
    return counted.most_common(1)[0][0] if counted else None


def section(version: str, day: str, commits: Sequence[Commit]) -> str:
    """A release's section of CHANGELOG.md: the newest commit first, each subject once."""
    lines = [f"## {version} ({day})"]
    for title in dict.fromkeys(HEADINGS.values()):
        subjects = dict.fromkeys(commit.subject for commit in commits if heading(commit) == title)
        lines += ["", f"### {title}", "", *(f"- {subject}" for subject in subjects)] if subjects else []
    return "\n".join(lines) + "\n"


def sections(text: str) -> dict[str, str]:
    """The sections of CHANGELOG.md by version."""
    found = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {each.removeprefix("## ").split(maxsplit=1)[0]: each.strip() + "\n" for each in found}


def released(text: str, version: str, day: str, commits: Sequence[Commit]) -> str:
    """CHANGELOG.md with a section for a version: what is unreleased becomes that section, else the commits do."""
    if UNRELEASED in sections(text):
        return text.replace(f"## {UNRELEASED}\n", f"## {version} ({day})\n")
    start, separator, rest = text.partition("\n## ")
    return f"{start}\n{section(version, day, commits)}{separator}{rest}"


def version() -> str:
    """The version in pyproject.toml; exits if a tag says otherwise."""
    number: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    tag = os.environ.get("GITHUB_REF_NAME", "") if os.environ.get("GITHUB_REF_TYPE") == "tag" else f"v{number}"
    if tag != f"v{number}":
        sys.exit(f"The tag is {tag}, but pyproject.toml has version {number}. Correct one of them and tag again.")
    return number


def commits(version: str) -> list[Commit]:
    """The commits since the release before this version."""
    tags = [
        tag for tag in _git("tag", "--list", "v*", "--merged", "--sort=-creatordate").split() if tag != f"v{version}"
    ]
    log = _git("log", "--no-merges", "--name-only", "--format=%x00%s", *([f"{tags[0]}..HEAD"] if tags else []))
    lines = [[line for line in entry.splitlines() if line] for entry in log.split("\0")[1:]]
    return [Commit(subject, tuple(paths)) for subject, *paths in lines]


def _git(*args: str) -> str:
    argv = ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def main() -> None:
    number, text, day = version(), CHANGELOG.read_text(), f"{datetime.now(UTC):%Y-%m-%d}"
    written = sections(text)
    if sys.argv[1:] == ["notes"]:
        notes = ROOT / "dist" / "notes.md"
        notes.parent.mkdir(exist_ok=True)
        notes.write_text(written.get(number) or sections(released(text, number, day, commits(number)))[number])
        print(f"wrote dist/notes.md for version {number}")
    elif number in written:
        sys.exit(f"CHANGELOG.md already has a section for {number}. Raise the version in pyproject.toml first.")
    else:
        CHANGELOG.write_text(released(text, number, day, commits(number)))
        print(f"CHANGELOG.md now has a section for {number}. Edit it for users before you merge.")


if __name__ == "__main__":
    main()
