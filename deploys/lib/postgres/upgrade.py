"""Operations that upgrade a PostgreSQL server to a new major version."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.facts import HostFacts, file_contents, operation_with_facts
from deploys.lib.messages import log_message
from deploys.lib.operations import Steps, run_silently, write_command
from deploys.lib.postgres import files
from deploys.lib.postgres.archive import archive_check_command
from deploys.lib.postgres.pitr import BACKUP_PROGRAM, CONFIG, Pitr, data_folder
from deploys.lib.postgres.server import PSQL
from deploys.lib.postgres.versions import UPGRADE_FOLDER, UPGRADE_UNFINISHED
from deploys.lib.preflight import DeployError

UNIT = "groundcrew-postgres-upgrade.service"
SCRIPT, LOG, RESULT = (f"{UPGRADE_FOLDER}/{name}" for name in ("script", "log", "result"))
SAY = "groundcrew: "  # the start of our own lines in the log
MODES = ("check", "copy", "link", "back")


@dataclass(frozen=True)
class UpgradeRequest:
    """The options of an upgrade."""

    mode: str
    old: int  # 0: the only other version of the host
    backup_taken: bool


def upgrade_faults(data: Any, *, has_pitr: bool, has_standbys: bool) -> Iterator[str]:
    """Yield each fault in the options, and one if the server has standbys."""
    if has_standbys:
        yield (
            "standbys can't follow an upgrade: take them out of postgres_standbys, run deploys/postgres.py, upgrade, "
            "and add them again; they are made again"
        )
    mode, old, backup = (str(data.get(name) or "") for name in ("mode", "from", "backup"))
    if mode and mode not in MODES:
        yield f"mode: {mode!r} is not allowed; use {', '.join(MODES)} (default: check)"
    if old and not old.isdigit():
        yield f"from: {old!r} is not a major version, such as 15"
    if backup not in {"", "taken"}:
        yield f"backup: {backup!r} is not allowed; backup=taken confirms that a backup was taken and verified"
    elif mode in {"copy", "link"} and not backup and not has_pitr:
        yield (
            "an upgrade needs a backup to return to: take one with `crew run backup`, then add --data backup=taken "
            "(with postgres_pitr, the upgrade makes one itself)"
        )


def upgrade_request(data: Any) -> UpgradeRequest:
    """Return the options of this run; `upgrade_faults` found none."""
    return UpgradeRequest(str(data.get("mode") or "check"), int(data.get("from") or 0), bool(data.get("backup")))


class NoUpgrade(DeployError):
    """The host can't be upgraded as asked."""


def version_to_upgrade(target: int, existing: Sequence[int], unfinished: Sequence[int], wanted: int) -> int:
    """Return the version that the host leaves, 0 if it has the target already; raise NoUpgrade if it can't be left."""
    if unfinished:
        old, new = unfinished
        if (new, wanted or old) != (target, old):
            raise NoUpgrade(
                f"an upgrade from {old} to {new} is unfinished; first finish it with postgres_version = {new}"
            )
        return old
    if target in existing:
        return 0
    others = [version for version in existing if wanted in (0, version)]
    if not others:
        has = ", ".join(map(str, existing)) or "none"
        raise NoUpgrade(f"there is no server of PostgreSQL {wanted or 'an older version'} to upgrade (it has: {has})")
    if len(others) > 1:
        has = ", ".join(map(str, others))
        raise NoUpgrade(f"the host has PostgreSQL {has}; choose one with --data from={others[-1]}")
    if others[0] > target:
        raise NoUpgrade(f"the host has PostgreSQL {others[0]}, and postgres_version is {target}; it can't go back")
    return others[0]


@operation_with_facts(lambda new, **_: file_contents(UPGRADE_UNFINISHED, f"/etc/postgresql/{new}/main/postgresql.conf"))
def create_new_cluster(facts: HostFacts, old: int, new: int) -> Steps:
    """Create the cluster of the new version, and record that an upgrade began."""
    if UPGRADE_UNFINISHED not in facts.paths:
        yield (
            f"mkdir --parents --mode=700 {UPGRADE_FOLDER} && echo {old} {new} > {UPGRADE_UNFINISHED}.new && "
            f"mv {UPGRADE_UNFINISHED}.new {UPGRADE_UNFINISHED} && rm --force {RESULT}"
        )
    folder = f"/etc/postgresql/{new}/main"
    if f"{folder}/postgresql.conf" not in facts.paths:
        # Of a run that was killed; the record above is from before it.
        yield f"rm --recursive --force {folder} {data_folder(new)} && pg_createcluster {new} main"


@operation()
def upgrade_cluster(old: int, new: int, asked: UpgradeRequest, pitr: Pitr | None) -> Steps:
    """Check the upgrade, or upgrade, or go back, and print what came of it."""
    script = upgrade_script(old, new, asked.mode, pitr.stanza if pitr else "")
    yield FunctionCommand(_upgrade, (script,), {})


def _upgrade(state: State, host: Host, script: str) -> bool:
    # An earlier run may have lost its connection, and its unit goes on.
    run_silently(host, f"while systemctl is-active --quiet {UNIT}; do sleep 1; done")
    gone, _ = run_silently(host, f"[ ! -e {UPGRADE_UNFINISHED} ] && [ -e {RESULT} ]")
    if not gone:
        run = f"systemd-run --quiet --wait --collect --unit={UNIT} --property=StandardOutput=truncate:{LOG} "
        run += f"--property=StandardError=append:{LOG} sh {SCRIPT}"
        ok, output = run_silently(host, f"{write_command(SCRIPT, '600', 'root:root')} && {run}", script)
        if not ok:
            _, log = run_silently(host, f"tail --lines=40 {LOG}")
            lines = [line.removeprefix(SAY) for line in [*output, *log]]
            log_message(host, "\n".join(["the upgrade did not succeed; its log says:", *lines]))
            return False
    _, result = run_silently(host, f"cat {RESULT}")
    for line in result:
        log_message(host, line)
    return True


def upgrade_script(old: int, new: int, mode: str, stanza: str) -> str:
    """Return the script that upgrades a cluster."""
    words = {
        "old": str(old),
        "new": str(new),
        "mode": mode,
        "initdb": files.INITDB_OPTIONS,
        "folder": UPGRADE_FOLDER,
        "psql": PSQL,
        "stanza": stanza,
        "config": CONFIG,
        "check": archive_check_command(stanza) if stanza else "",
        "backup": BACKUP_PROGRAM if stanza else "",
    }
    variables = "".join(f"{name}={shlex.quote(value)}\n" for name, value in words.items())
    return variables + Path(__file__).with_name("upgrade.sh").read_text()
