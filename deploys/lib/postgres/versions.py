"""Which major version of PostgreSQL a host gets, and from which apt repository."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyinfra import host

from deploys.lib import operations
from deploys.lib.facts import HostFacts, operation_with_facts, paths
from deploys.lib.header import HEADER, SENTENCE
from deploys.lib.operations import Steps

OLDEST = 14  # the oldest that has all that these deploys use
REPOSITORY = "https://apt.postgresql.org/pub/repos/apt"
URL = re.compile(r"https?://[\w.:/@-]+")
KEY = "/etc/apt/keyrings/groundcrew-postgresql.asc"
SOURCE = "/etc/apt/sources.list.d/groundcrew-postgresql.sources"
UPDATES = "/etc/apt/apt.conf.d/52groundcrew-postgresql"
UPGRADE_FOLDER = "/var/lib/groundcrew-upgrade"  # root's own: what postgres can write must not decide what root runs
UPGRADE_UNFINISHED = f"{UPGRADE_FOLDER}/unfinished"  # the old and the new version
# The major versions whose cluster "main" has data, a line each, and both versions of an unfinished upgrade in one line.
CLUSTERS_COMMAND = f"ls /var/lib/postgresql/*/main/PG_VERSION | cut -d / -f 5; cat {UPGRADE_UNFINISHED}"


def faults(version: Any, beside: Any, repository: Any) -> Iterator[str]:
    """Yield each fault in the group data; 0 is the version of the system."""
    if not _is_version(version) and version != 0:
        yield f"postgres_version: {version!r} is not allowed; write a major version from {OLDEST} on, such as 17"
    if not isinstance(beside, list | tuple) or not all(map(_is_version, beside)):
        yield f"postgres_beside: {beside!r} is not allowed; list major versions from {OLDEST} on, such as [15]"
    elif version in beside:
        yield f"postgres_beside: {version} is postgres_version; list only others"
    if repository and not URL.fullmatch(str(repository)):
        yield f'postgres_repository: {repository!r} is not a URL; write one such as "{REPOSITORY}"'


def _is_version(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and OLDEST <= value < 100


def parse_clusters(lines: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the versions that have a cluster, and those of an unfinished upgrade; CLUSTERS_COMMAND printed them."""
    numbers = [[int(word) for word in line.split() if word.isdigit()] for line in lines]
    return sorted(each[0] for each in numbers if len(each) == 1), next((each for each in numbers if len(each) == 2), [])


def cluster_faults(
    version: int, existing: Sequence[int], beside: Sequence[int], unfinished: Sequence[int]
) -> Iterator[str]:
    """Yield a fault if the host has its databases in another version: the deploy would add or start the wrong one."""
    if unfinished:
        old, new = unfinished
        yield f"an upgrade from PostgreSQL {old} to {new} is unfinished; first run deploys/postgres_upgrade.py again"
        return
    others = sorted(set(existing) - set(beside))
    if version not in existing and others:
        has = ", ".join(map(str, others))
        yield (
            f"the host has a server of PostgreSQL {has}, and group data asks for {version}. Set postgres_version = "
            f"{others[-1]} to keep it, upgrade it with deploys/postgres_upgrade.py, or run both with "
            f"postgres_beside = {others}"
        )
    elif others and others[-1] > version:
        yield (
            f"the host also has a server of PostgreSQL {others[-1]}, so that of {version} may be left from an upgrade. "
            f"Set postgres_version = {others[-1]}, or run both with postgres_beside = {others}"
        )


def source_text(repository: str, codename: str) -> str:
    """Return the file that adds the repository to apt."""
    return f"{HEADER}Types: deb\nURIs: {repository}\nSuites: {codename}-pgdg\nComponents: main\nSigned-By: {KEY}\n"


def updates_text() -> str:
    """Return the setting that installs updates from this repository each day; it has no part for security alone."""
    return f'// {SENTENCE}\nUnattended-Upgrade::Origins-Pattern:: "origin=apt.postgresql.org";\n'


def add_repository(repository: str, codename: str) -> None:
    """Add PostgreSQL's apt repository, whose key is part of this repository."""
    operations.install_packages(name="Certificates of web servers", packages=["ca-certificates"])
    key = Path(__file__).with_name("apt.postgresql.org.asc").read_text()
    files = {KEY: key, SOURCE: source_text(repository, codename), UPDATES: updates_text()}
    for path, text in host.loop(files.items()):
        operations.write_file(name=f"PostgreSQL's apt repository: {Path(path).name}", text=text, dest=path)


@operation_with_facts(lambda **_: paths(SOURCE, UPDATES, KEY))
def remove_repository(facts: HostFacts) -> Steps:
    """Remove the repository. Packages that came from it stay."""
    if existing := [path for path in (SOURCE, UPDATES, KEY) if path in facts.paths]:
        yield f"rm --force {shlex.join(existing)}"
