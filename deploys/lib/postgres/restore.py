"""Operations that restore a PostgreSQL server with pgBackRest."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.context import ctx_state

from deploys.lib.messages import log_message, report_failure
from deploys.lib.operations import CommandLines, Steps, run_silently, write_command
from deploys.lib.postgres.archive import AS_POSTGRES, archive_check_command
from deploys.lib.postgres.pitr import BACKUP_PROGRAM, Pitr, data_folder
from deploys.lib.postgres.reachable import (
    LABEL,
    Reachable,
    Target,
    needed_bytes,
    parse_info,
    parse_target,
    parse_timelines,
    reachable_lines,
    restore_options,
    target_faults,
    timeline_at,
    unreadable_repositories,
)
from deploys.lib.postgres.server import PSQL
from deploys.lib.postgres.setup import ManagedServer
from deploys.lib.preflight import DeployError, stop_on_faults

UNIT = "groundcrew-pitr-restore.service"
FOLDER = "/var/lib/groundcrew-restore"  # root's own: what postgres can write must not decide what root runs
# While a restore is unfinished: its target, and where the old cluster is. After it: the target, and what came of it.
UNFINISHED, FINISHED = f"{FOLDER}/unfinished", f"{FOLDER}/finished"
SCRIPT, LOG = f"{FOLDER}/script", f"{FOLDER}/log"
SAY = "groundcrew: "  # the start of our own lines in the log
LOST_REPOSITORY = (
    "If one is lost, or has no stanza yet, remove it from postgres_pitr in group data, and run this again: the restore "
    "then reads the others. What only this one has can't be restored."
)
SPARE = 1.1  # the restored cluster also needs room for WAL
GIB = 1024**3


class RestoreRefused(DeployError):
    """The host or the repositories do not allow the restore; nothing was changed."""


@dataclass(frozen=True)
class RestoreRequest:
    """The options of a restore."""

    to: str
    target: Target | None  # None: show what can be restored
    backup: str
    timeline: str
    replace_old: bool
    other_server_stopped: bool


def request_of_data(data: Any) -> RestoreRequest:
    """Return the options of this run; raise DeployError with all faults."""
    to, backup, timeline = (str(data.get(name) or "") for name in ("to", "backup", "timeline"))
    old, other = str(data.get("old") or ""), str(data.get("old_server") or "")
    target, faults = None, []
    try:
        target = parse_target(to) if to != "?" else None
    except ValueError as error:
        faults.append(str(error) if to else f"to is missing: {str(error).partition('; ')[2]}")
    if backup and not LABEL.fullmatch(backup):
        faults.append(f"backup: {backup!r} is not the name of a backup; to=? lists them")
    if timeline and not timeline.isdigit():
        faults.append(f"timeline: {timeline!r} is not a number")
    if old not in {"", "replace"}:
        faults.append(f"old: {old!r} is not allowed; old=replace overwrites the old cluster (default: keep it)")
    if other not in {"", "stopped"}:
        faults.append(f"old_server: {other!r} is not allowed; old_server=stopped confirms that it is stopped")
    stop_on_faults(faults)
    return RestoreRequest(to, target, backup, timeline, bool(old), bool(other))


def several_servers_faults(servers: Sequence[str], asked: RestoreRequest) -> Iterator[str]:
    """Yield a fault if a run would restore more than one server: each of them stops and loses what came later."""
    if asked.target is not None and len(servers) > 1:
        yield (
            f"to={asked.to} would stop and restore {', '.join(servers)}; name the one to restore: --limit {servers[0]}"
        )


def require_no_unfinished_restore() -> None:
    """Raise DeployError if a restore was interrupted: it would overwrite what the server writes now."""
    if unfinished := host.get_fact(CommandLines, f"cat {UNFINISHED}"):
        again = shlex.quote(f"to={unfinished[0]}")
        raise DeployError(f"{host.name}: a restore is unfinished; first run deploys/postgres_restore.py --data {again}")


def read_reachable(host: Host, pitr: Pitr) -> tuple[Reachable, dict[int, datetime]]:
    """Return what the repositories have, and when the newest WAL of each arrived."""
    info = f"{AS_POSTGRES} pgbackrest --stanza={pitr.stanza} --io-timeout=10 --output=json info"
    ok, output = run_silently(host, f"{info} 2>&1")
    try:
        stanzas = json.loads("".join(output)) if ok else []
    except ValueError:
        stanzas = []
    if not stanzas:
        raise RestoreRefused("\n".join(["pgBackRest can't read the repositories:", *output]))
    if unreadable := unreadable_repositories(stanzas[0]):
        raise RestoreRefused("\n".join(["pgBackRest can't read these repositories:", *unreadable, LOST_REPOSITORY]))
    reachable = parse_info(stanzas[0])
    until, timelines = {}, dict[int, datetime]()
    for repository, (archive_id, segment) in reachable.newest_wal.items():
        archive = f"archive/{pitr.stanza}/{archive_id}"
        wal = _list_files(host, repository, f"{archive}/{segment[:16]}")
        if times := [each["time"] for each in wal.values() if "time" in each]:
            until[repository] = datetime.fromtimestamp(max(times), UTC)
        for number, began in parse_timelines(_list_files(host, repository, archive)).items():
            timelines[number] = min(began, timelines.get(number, began))
    return replace(reachable, timelines=timelines), until


def _list_files(host: Host, repository: int, folder: str) -> dict[str, Any]:
    """Return the files in a folder of a repository, by name."""
    ok, output = run_silently(host, f"{AS_POSTGRES} pgbackrest --repo={repository} --output=json repo-ls {folder}")
    if not ok:  # without the timelines, a restore would follow the wrong one
        raise RestoreRefused("\n".join([f"pgBackRest can't list {folder} of repository {repository}:", *output]))
    files: dict[str, Any] = json.loads("".join(output))
    return files


@operation()
def show_reachable(pitr: Pitr) -> Steps:
    """Print the moments that can be restored; this changes nothing."""
    if not ctx_state.get().is_executing:
        return
    try:
        lines = list(reachable_lines(*read_reachable(host, pitr)))
    except RestoreRefused as refused:
        yield FunctionCommand(report_failure, (str(refused),), {})
        return
    for line in lines or ["the repositories have no backup of this stanza"]:
        log_message(host, line)
    log_message(
        host, "Before a restore, a server that runs here sends its WAL, so that everything until then is reachable"
    )


@operation()
def restore_cluster(server: ManagedServer, pitr: Pitr, asked: RestoreRequest, target: Target) -> Steps:
    """Restore the cluster, unless the last restore on this host was the same."""
    ok, output = run_silently(host, f"cat {FINISHED}")
    if ok and output[:1] == [asked.to]:
        if ctx_state.get().is_executing:
            log_message(host, f"to={asked.to}: {'; '.join(output[1:])}. To restore it again, first remove {FINISHED}")
        return
    yield FunctionCommand(_restore, (server, pitr, asked, target), {})


def _restore(
    state: State, host: Host, server: ManagedServer, pitr: Pitr, asked: RestoreRequest, target: Target
) -> bool:
    # An earlier run may have lost its connection, and its unit goes on.
    run_silently(host, f"while systemctl is-active --quiet {UNIT}; do sleep 1; done")
    ok, finished = run_silently(host, f"cat {FINISHED}")
    if ok and finished[:1] == [asked.to]:
        log_message(host, f"the run before this one finished: {'; '.join(finished)}")
        return True
    try:
        script = _plan(host, server, pitr, asked, target)
    except RestoreRefused as refused:
        log_message(host, str(refused))
        return False
    run = f"systemd-run --quiet --wait --collect --unit={UNIT} --property=StandardOutput=truncate:{LOG} "
    run += f"--property=StandardError=append:{LOG} sh {SCRIPT}"
    ok, output = run_silently(host, f"{write_command(SCRIPT, '600', 'root:root')} && {run}", script)
    _, log = run_silently(host, f"tail --lines=30 {LOG}")
    if not ok:
        lines = [line.removeprefix(SAY) for line in [*output, *log]]
        log_message(host, "\n".join(["the restore failed; repair what it says and run it again:", *lines]))
        return False
    _, finished = run_silently(host, f"cat {FINISHED}")
    for line in finished[1:]:
        log_message(host, line)
    return True


@dataclass(frozen=True)
class RestoreState:
    """What is on the host before a restore."""

    unfinished: bool
    kept: str  # where an unfinished restore keeps the old cluster; "" if it replaces it
    opened: str  # to where an unfinished restore has come, if its cluster is open for writing already
    system: str  # the identifier of the local cluster; "" if there is none
    running: bool
    free: int  # bytes on the disk of the cluster
    fixed: bool  # the data directory is a link or a mount point, or has tablespaces outside, so it can't be renamed


def _read_state(host: Host, server: ManagedServer) -> RestoreState:
    data, programs = data_folder(server.version), f"/usr/lib/postgresql/{server.version}/bin"
    yes_or_no = "&& echo yes || echo no"
    command = (
        f"[ -e {UNFINISHED} ] {yes_or_no}; sed -n 2p {UNFINISHED} 2>/dev/null | grep . || echo; "
        f"LC_ALL=C {programs}/pg_controldata {data} 2>/dev/null | sed -n 's/^Database system identifier: *//p' "
        f"| grep . || echo; systemctl is-active --quiet {server.unit} {yes_or_no}; "
        f"head -n 1 {FOLDER}/recovered 2>/dev/null | grep . || echo; "
        "df --output=avail -B1 /var/lib/postgresql | tail -1; "
        f'{{ [ -L {data} ] || mountpoint -q {data} || [ -n "$(ls {data}/pg_tblspc 2>/dev/null)" ]; }} {yes_or_no}'
    )
    ok, output = run_silently(host, command)
    if not ok or len(output) != 7:
        raise RestoreRefused("\n".join(["reading the state of the host failed:", *output]))
    unfinished, kept, system, running, opened, free, fixed = (line.strip() for line in output)
    return RestoreState(unfinished == "yes", kept, opened, system, running == "yes", int(free), fixed == "yes")


def _plan(host: Host, server: ManagedServer, pitr: Pitr, asked: RestoreRequest, target: Target) -> str:
    """Return the script to run on the host; raise RestoreRefused if the restore can't succeed."""
    found, (reachable, until) = as_new_restore(_read_state(host, server), asked), read_reachable(host, pitr)
    if found.running and not found.unfinished and found.system in reachable.systems:
        _send_all_wal(host, pitr)
        reachable, until = read_reachable(host, pitr)
    now = datetime.now(UTC)
    faults = [
        *target_faults(target, reachable, server.version, now, asked.backup),
        *state_faults(found, asked, reachable, max(until.values(), default=None)),
    ]
    if faults:
        raise RestoreRefused("\n".join([*faults, *reachable_lines(reachable, until)]))
    keep = found.kept if found.unfinished else kept_folder(server.version, now, replace=asked.replace_old)
    timeline = asked.timeline or timeline_at(target, reachable.timelines)
    if timeline:
        log_message(host, f"to={asked.to}: on timeline {timeline}")
    options = restore_options(target, asked.backup, timeline)
    return restore_script(server.version, pitr.stanza, asked.to, keep, options)


def as_new_restore(found: RestoreState, asked: RestoreRequest) -> RestoreState:
    """Return the state without an unfinished restore to another target, if that one has opened its cluster.

    Applications can have written to this cluster, so it is kept like any other.
    """
    return replace(found, unfinished=False, kept="") if found.opened not in ("", asked.to) else found


def _send_all_wal(host: Host, pitr: Pitr) -> None:
    """Send all WAL of the running server to the repositories, and a transaction after the moment to restore.

    PostgreSQL ends a recovery to a time only at a later transaction.
    """
    ok, output = run_silently(host, f"{PSQL} --command='SELECT pg_catalog.pg_current_xact_id()' 2>&1")
    ok, output = run_silently(host, archive_check_command(pitr.stanza)) if ok else (ok, output)
    if not ok:
        raise RestoreRefused(
            "\n".join(
                [
                    "the newest WAL does not reach the repositories, so the last moments can't be restored; repair the "
                    "archive with deploys/postgres.py, or stop the server to restore without them:",
                    *output,
                ]
            )
        )


def state_faults(
    found: RestoreState, asked: RestoreRequest, reachable: Reachable, newest: datetime | None
) -> Iterator[str]:
    """Yield each reason why the state of the host forbids the restore."""
    if found.unfinished or not reachable.backups or asked.target is None:
        return
    # A server without writes archives nothing for hours, and pgBackRest accepts the WAL and backups of a copy.
    if found.system not in reachable.systems and not asked.other_server_stopped:
        last = f", the last time at {newest:%Y-%m-%d %H:%M:%S} UTC" if newest else ""
        yield (
            f"another server archived to this stanza{last}, and two servers can't share one; stop it for good, then "
            "confirm with --data old_server=stopped"
        )
    needed = needed_bytes(asked.target, reachable, asked.backup) * SPARE
    replace = "to overwrite the old cluster, which can't be undone, add --data old=replace"
    if found.fixed and not asked.replace_old:
        yield f"the data directory is a link or mount point, or has tablespaces, so it can't be kept beside; {replace}"
    elif needed > found.free and not asked.replace_old:
        yield (
            f"the disk has {found.free / GIB:.1f} GiB free, and the restored cluster needs {needed / GIB:.1f}; "
            f"free some space, or {replace}"
        )


def kept_folder(version: int, now: datetime, *, replace: bool) -> str:
    """Return where the old cluster is kept; "" if the restored one replaces it."""
    return "" if replace else f"{data_folder(version)}.before-{now:%Y%m%dT%H%M%SZ}"


def restore_script(version: int, stanza: str, to: str, keep: str, options: Sequence[str]) -> str:
    """Return the script that restores a cluster. Each step can be interrupted: the next run starts it again."""
    words = {
        "to": to,
        "data": data_folder(version),
        "keep": keep,
        "unit": f"postgresql@{version}-main.service",
        "server_log": f"/var/log/postgresql/postgresql-{version}-main.log",
        "folder": FOLDER,
        "restore": shlex.join(["pgbackrest", f"--stanza={stanza}", "--delta", *options, "restore"]),
        "check": archive_check_command(stanza),
        "backup": BACKUP_PROGRAM,
        "psql": PSQL,
    }
    variables = "".join(f"{name}={shlex.quote(value)}\n" for name, value in words.items())
    return variables + Path(__file__).with_name("restore.sh").read_text()
