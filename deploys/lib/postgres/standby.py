"""Operations that set up a primary for its standbys, and make a host a standby."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.context import ctx_state

from deploys.lib import operations, passwords
from deploys.lib.facts import HostFacts, command_output, file_contents, operation_with_facts
from deploys.lib.header import HEADER
from deploys.lib.messages import log_message, report_failure
from deploys.lib.operations import CommandLines, Steps, is_outdated, run_silently, stamp_command, unit_and_files
from deploys.lib.postgres import pitr as pitr_settings
from deploys.lib.postgres import replication as decide
from deploys.lib.postgres.archive import AS_POSTGRES, remove_units
from deploys.lib.postgres.pitr import METRICS_FOLDER, PROGRAMS, UNITS, data_folder
from deploys.lib.postgres.replication import Replication, ReplicationSlot
from deploys.lib.postgres.server import PSQL
from deploys.lib.postgres.setup import ManagedServer
from deploys.lib.preflight import DeployError
from inventories import Secret

FOLDER = "/var/lib/groundcrew-standby"
FENCED = f"{FOLDER}/fenced"  # the server that was promoted in place of this one, and when
UNFINISHED = f"{FOLDER}/unfinished"  # while a standby is made: where the old cluster is kept
PATIENCE = 30  # seconds that a booting server waits for the answers of the others
GUARD, MEASURE = f"{PROGRAMS}/postgres-guard", f"{PROGRAMS}/postgres-replication-metrics"
METRICS_FILE = f"{METRICS_FOLDER}/groundcrew-replication.prom"
METRICS_TIMER = "groundcrew-replication-metrics.timer"
OUR_UNITS = "groundcrew-replication-*"
BUILD, BUILD_UNIT = f"{FOLDER}/build", "groundcrew-standby-build.service"
LOG = f"{FOLDER}/log"
ROLE_IN_PLACE = (
    f"cat {FENCED} 2>/dev/null | head -n 1 | sed 's/^/fenced /'; "
    "ls -d /var/lib/postgresql/*/main/standby.signal 2>/dev/null | sed 's/.*/standby/'"
)
SLOTS_QUERY = (
    "SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', slot_name, 'active', active, "
    "'lost', COALESCE(wal_status = 'lost', false))) FROM pg_catalog.pg_replication_slots "
    "WHERE slot_type = 'physical' AND pg_catalog.starts_with(slot_name, 'groundcrew_')"
)
# The verifier of the role, if it has all that it needs except for its password, or else whether it exists.
ROLE_QUERY = (
    "SELECT CASE WHEN rolreplication AND rolcanlogin AND NOT rolsuper AND "
    + " AND ".join(f"pg_catalog.has_function_privilege(oid, '{each}', 'EXECUTE')" for each in decide.REWIND_FUNCTIONS)
    + " THEN COALESCE(rolpassword, '-') ELSE 'incomplete' END "
    f"FROM pg_catalog.pg_authid WHERE rolname = '{decide.ROLE}'"
)


def in_place_faults(name: str, lines: Sequence[str], *, is_primary: bool) -> list[str]:
    """Return why the inventory can't call this host a primary; it may have been promoted, fenced or made a standby."""
    if is_primary and (fenced := fenced_by(lines)):
        return [
            f"{name} is fenced, because {fenced} was promoted in its place; move {fenced} to {decide.PRIMARIES} and "
            f"{name} to {decide.STANDBYS} in the inventory"
        ]
    if is_primary and "standby" in lines:
        return [f"{name} is a standby; move it to {decide.STANDBYS}, or promote it with deploys/postgres_promote.py"]
    return []


def require_role_in_place(*, is_primary: bool) -> bool:
    """Return whether this standby is fenced; raise DeployError if the host has another role than in the inventory."""
    lines = host.get_fact(CommandLines, ROLE_IN_PLACE)
    if faults := in_place_faults(host.name, lines, is_primary=is_primary):
        raise DeployError("\n".join(faults))
    fenced = fenced_by(lines)
    if fenced and not ctx_state.get().is_executing:
        log_message(host, f"PostgreSQL stays stopped. {fenced_text(host.name, fenced)}")
    return bool(fenced)


def fenced_by(lines: Sequence[str]) -> str:
    """Return the server that was promoted in place of this one; "" if none was."""
    return next((line.removeprefix("fenced ") for line in lines if line.startswith("fenced ")), "")


def fenced_text(name: str, by: str) -> str:
    return (
        f"{name} is fenced, because {by} was promoted in its place; it joins again with "
        f"deploys/postgres_promote.py --data rejoin={name}"
    )


def set_up_member(replication: Replication, server: ManagedServer) -> None:
    """Write what primary and standbys share: the password file, the guard and the metrics."""
    operations.ensure_folder(name="State of the standby", path=FOLDER)
    operations.ensure_folder(name="Folder of metrics", path=METRICS_FOLDER)
    operations.write_secret_file(
        name="Password of the standbys", dest=decide.PASSFILE, text=replication.passfile, owner="postgres:postgres"
    )
    drop_in = f"{UNITS}/{server.unit}.d/groundcrew-guard.conf"
    files = {
        GUARD: (guard_script(replication, server.version), "755"),
        MEASURE: (Path(__file__).with_name("replication_metrics.sh").read_text(), "755"),
        drop_in: (f"{HEADER}[Service]\nExecStartPre={GUARD}\n", "644"),
        **{path: (text, "644") for path, text in metric_units(replication).items()},
    }
    for path, (text, mode) in host.loop(files.items()):
        operations.write_file(name=f"File {Path(path).name}", text=text, dest=path, mode=mode)
    operations.reload_systemd(name="Unit files of replication", files=[drop_in, *metric_units(replication)])


def start_metrics(replication: Replication) -> None:
    """Start the timer that measures replication."""
    operations.ensure_unit(
        name="Timer of replication metrics", unit=METRICS_TIMER, files=list(metric_units(replication))
    )


def set_up_primary(replication: Replication) -> None:
    """Create the role and the slots of the standbys."""
    apply_role(name="Role of the standbys", password=replication.password)
    apply_slots(name="Slots of the standbys", wanted=[each.slot for each in replication.standbys])


LEFTOVERS = f"ls -d {UNITS}/{OUR_UNITS} {UNITS}/postgresql@*.d/groundcrew-guard.conf {METRICS_FILE} {decide.PASSFILE}"


@operation_with_facts(lambda **_: command_output(LEFTOVERS))
def remove_replication(facts: HostFacts) -> Steps:
    """Remove what `set_up_member` wrote and drop the slots, on a server that has no standbys any more."""
    if found := facts.output[LEFTOVERS]:
        yield f"systemctl disable --quiet --now {METRICS_TIMER} 2>/dev/null; true"
        yield FunctionCommand(_execute_slots, ([],), {})
        yield f"rm --force {shlex.join(found)} && systemctl daemon-reload"


def make_standby(replication: Replication, server: ManagedServer, rebuild: str) -> None:
    """Make this host a standby, unless it is one, and let it follow the primary of the inventory."""
    write_connection(replication, server)
    named = host.name in rebuild.split(",")
    ensure_standby(name="Standby", replication=replication, server=server, rebuild=named)


def write_connection(replication: Replication, server: ManagedServer) -> None:
    """Write from where the standby streams."""
    operations.write_file(
        name="Connection to the primary",
        text=decide.connection_settings(replication),
        dest=connection_path(server),
        mode="640",
        owner="postgres:postgres",
    )


def connection_path(server: ManagedServer) -> str:
    return f"{server.folder}/{decide.CONNECTION}"


@operation()
def apply_role(password: Secret) -> Steps:
    """Create or correct the role of the standbys."""
    ok, output = run_silently(host, PSQL, ROLE_QUERY)
    found = output[0] if ok and output else ""
    right = passwords.matches_verifier(password.reveal(), found)
    if not right:
        verifier = passwords.scram_verifier(password.reveal())
        statements = decide.role_statements(found, verifier)
        silent = "SET log_statement = 'none';\nSET log_min_error_statement = 'panic';\n"
        yield FunctionCommand(_execute, (Secret(literal=silent + ";\n".join(statements) + ";\n"),), {})


def _execute(state: State, host: Host, text: Secret) -> bool:
    ok, output = run_silently(host, f"{{ {PSQL}; }} 2>&1", text.reveal())
    if not ok:
        log_message(host, "\n".join(output))
    return ok


@operation()
def apply_slots(wanted: Sequence[str]) -> Steps:
    """Create the slots of the standbys, and drop those of former standbys."""
    if decide.slot_statements(read_slots(host), wanted):
        yield FunctionCommand(_execute_slots, (wanted,), {})


def read_slots(host: Host) -> list[ReplicationSlot]:
    """Return our slots on a host; none if PostgreSQL does not answer."""
    ok, output = run_silently(host, PSQL, SLOTS_QUERY)
    return [ReplicationSlot(**each) for each in json.loads("".join(output) or "[]")] if ok else []


def _execute_slots(state: State, host: Host, wanted: Sequence[str]) -> bool:
    existing = read_slots(host)
    for slot in existing:
        if slot.name not in wanted and slot.active:
            log_message(host, f"slot {slot.name} is in use: its standby still streams; stop PostgreSQL there")
        if slot.name in wanted and slot.lost:
            log_message(
                host, f"slot {slot.name} had lost WAL: its standby was away for too long. If it can't follow from the "
                "repository, make it again: --data rebuild=HOST"
            )  # fmt: skip
    statements = decide.slot_statements(existing, wanted)
    return not statements or _execute(state, host, Secret(literal=";\n".join(statements) + ";\n"))


@dataclass(frozen=True)
class StandbyState:
    """What is on the host before it becomes a standby."""

    fenced: str  # the server that was promoted in its place; "" if none was
    unfinished: bool
    kept: str  # where an unfinished run keeps the old cluster
    system: str  # the identifier of the local cluster; "" if there is none, or it can't be read
    is_standby: bool
    own_data: bool  # the cluster has tables or databases that initdb did not make
    status: str  # of the WAL receiver, such as "streaming"


NO_STATE = StandbyState("", False, "", "", False, False, "")
WAL_RECEIVER = "SELECT status FROM pg_catalog.pg_stat_wal_receiver"


def read_standby_state(host: Host, version: int) -> StandbyState:
    """Return the state of a host; raise DeployError if it can't be read."""
    data, programs = data_folder(version), f"/usr/lib/postgresql/{version}/bin"
    yes_or_no = "&& echo yes || echo no"
    # Files of a new cluster have numbers below 16384.
    own = f"find {data}/base -type f 2>/dev/null | sed -nE 's|.*/([0-9]+)$|\\1|p' | awk '$1 >= 16384' | grep --quiet ."
    command = (
        f"head -n 1 {FENCED} 2>/dev/null | grep . || echo; [ -e {UNFINISHED} ] {yes_or_no}; "
        f"head -n 1 {UNFINISHED} 2>/dev/null | grep . || echo; "
        f"LC_ALL=C {programs}/pg_controldata {data} 2>/dev/null | sed -n 's/^Database system identifier: *//p' "
        f"| grep . || echo; [ -e {data}/standby.signal ] {yes_or_no}; {own} {yes_or_no}; "
        f"{PSQL} --command={shlex.quote(WAL_RECEIVER)} 2>/dev/null | grep . || echo"
    )
    ok, output = run_silently(host, command)
    if not ok or len(output) != 7:
        raise DeployError("\n".join(["reading the state of the host failed:", *output]))
    fenced, unfinished, kept, system, signal, own_data, status = (line.strip() for line in output)
    return StandbyState(fenced, unfinished == "yes", kept, system, signal == "yes", own_data == "yes", status)


@dataclass(frozen=True)
class StandbyPlan:
    """What a run does with the host: build a standby, keeping the old cluster in a folder, or explain why not."""

    build: bool = False
    keep: bool = False
    fault: str = ""


def plan_standby(name: str, found: StandbyState, primary: str, system: str, *, rebuild: bool) -> StandbyPlan:
    """Decide what to do with a host that shall be a standby of the server with this identifier."""
    again = f"to make it a standby, add --data rebuild={name}"
    if found.fenced:
        return StandbyPlan(fault=fenced_text(name, found.fenced))
    if found.unfinished:
        return StandbyPlan(build=True)
    if found.system != system:
        if found.own_data and not rebuild:
            return StandbyPlan(fault=f"{name} has a cluster of its own, not a copy of that of {primary}; {again}")
        return StandbyPlan(build=True, keep=found.own_data)
    if not found.is_standby:
        return StandbyPlan(
            fault=f"{name} is not a standby: it was a primary of the same cluster, or was promoted. It joins again "
            f"with deploys/postgres_promote.py --data rejoin={name}, which saves what only it has"
        )
    return StandbyPlan(build=rebuild)


@operation()
def ensure_standby(replication: Replication, server: ManagedServer, rebuild: bool) -> Steps:
    """Make this host a standby, unless it is one. Its old cluster stays beside if it has data of its own."""
    try:
        found = read_standby_state(host, server.version)
    except DeployError:
        found = NO_STATE
    if rebuild or found.unfinished or not found.is_standby:
        yield FunctionCommand(_make_standby, (replication, server, rebuild), {})


def _make_standby(state: State, host: Host, replication: Replication, server: ManagedServer, rebuild: bool) -> bool:
    # An earlier run may have lost its connection, and its unit goes on.
    run_silently(host, f"while systemctl is-active --quiet {BUILD_UNIT}; do sleep 1; done")
    ok, answer = run_silently(host, identify_command(replication))
    if not ok:
        log_message(host, "\n".join([*answer, *unreachable_lines(replication)]))
        return False
    found = read_standby_state(host, server.version)
    system = answer[0].partition("|")[0]
    plan = plan_standby(host.name, found, replication.primary.name, system, rebuild=rebuild)
    if plan.fault or not plan.build:
        log_message(host, plan.fault or "the run before this one finished it")
        return not plan.fault
    keep = f"{data_folder(server.version)}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}" if plan.keep else ""
    keep = found.kept if found.unfinished else keep
    return run_build(host, replication, server, keep)


def run_build(host: Host, replication: Replication, server: ManagedServer, keep: str) -> bool:
    """Run the script that makes the standby."""
    from_repository = server.pitr is not None and has_backup(host, server.pitr.stanza)
    source = "the newest backup in the repository" if from_repository else replication.primary.name
    log_message(host, f"the standby is made from {source}; follow it on the host: tail -f {LOG}")
    script = build_script(replication, server, keep, from_repository=from_repository)
    ok, log = run_as_unit(host, BUILD_UNIT, BUILD, script)
    if not ok:
        log_message(host, "\n".join(["making the standby failed; repair what it says and run this again:", *log]))
    elif keep:
        log_message(host, f"the old cluster is in {keep}; remove it when you no longer need it")
    return ok


def has_backup(host: Host, stanza: str) -> bool:
    """Return whether the repositories have a finished backup."""
    ok, output = run_silently(host, f"{AS_POSTGRES} pgbackrest --stanza={stanza} --io-timeout=10 --output=json info")
    return ok and any(each.get("backup") for each in json.loads("".join(output) or "[]"))


def run_as_unit(host: Host, unit: str, path: str, script: str) -> tuple[bool, list[str]]:
    """Run a script on the host, also if the connection is lost; return whether it succeeded, and its last lines."""
    run = f"systemd-run --quiet --wait --collect --unit={unit} --property=StandardOutput=truncate:{LOG} "
    run += f"--property=StandardError=append:{LOG} sh {path}"
    write = operations.write_command(path, "600", "root:root")
    ok, output = run_silently(host, f"{write} && {run}", script)
    _, log = run_silently(host, f"tail --lines=20 {LOG}")
    return ok, [line.removeprefix("groundcrew: ") for line in [*output, *log]]


def identify_command(replication: Replication) -> str:
    """Return a command that prints the identifier and the timeline of the primary."""
    target = decide.conninfo(replication.primary, replication.port, replication.me.slot) + " replication=true"
    psql = "psql --no-psqlrc --no-password --tuples-only --no-align --command=IDENTIFY_SYSTEM"
    return f"{AS_POSTGRES} {psql} --dbname={shlex.quote(target)} 2>&1"


def unreachable_lines(replication: Replication) -> list[str]:
    primary = replication.primary
    return [
        f"{primary.name} does not accept it at {primary.addresses[0]}:{replication.port}. Run deploys/host.py, "
        "which opens the port to peers, then deploys/postgres.py without --limit. If the address is wrong, set "
        f"postgres_address of {primary.name} in the inventory",
    ]


def build_script(replication: Replication, server: ManagedServer, keep: str, *, from_repository: bool) -> str:
    """Return the script that makes a standby from the repository or the primary."""
    stanza = server.pitr.stanza if server.pitr else ""
    restore = f"pgbackrest --stanza={stanza} --delta --type=standby restore" if from_repository else ""
    words = {
        **script_words(replication, server),
        "keep": keep,
        "restore": restore,
    }
    return shell_variables(words) + Path(__file__).with_name("standby.sh").read_text()


def script_words(replication: Replication, server: ManagedServer) -> dict[str, str]:
    """Return the variables that our scripts share."""
    return {
        "data": data_folder(server.version),
        "unit": server.unit,
        "slot": replication.me.slot,
        "folder": FOLDER,
        "programs": f"/usr/lib/postgresql/{server.version}/bin",
        "primary": decide.conninfo(replication.primary, replication.port, replication.me.slot),
        "psql": PSQL,
        "server_log": f"/var/log/postgresql/postgresql-{server.version}-main.log",
    }


def shell_variables(words: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in words.items())


def guard_script(replication: Replication, version: int) -> str:
    """Return the script that refuses to start a former primary."""
    own = replication.me.slot
    peers = "\n".join(f"{each.name}|{decide.conninfo(each, replication.port, own)}" for each in replication.peers)
    words = {
        "data": data_folder(version),
        "fenced": FENCED,
        "programs": f"/usr/lib/postgresql/{version}/bin",
        "peers": peers,
        "patience": str(PATIENCE),
    }
    return f"#!/bin/sh\n{HEADER}{shell_variables(words)}{Path(__file__).with_name('guard.sh').read_text()}"


def metric_units(replication: Replication) -> dict[str, str]:
    """Return the text of each systemd unit, by path. It writes metrics each minute."""
    standbys = () if replication.is_standby else replication.standbys
    expected = "".join(f" {each.name}={each.slot}" for each in standbys)
    service = (
        "[Unit]\nDescription=Metrics of replication\n"
        "[Service]\nType=oneshot\nTimeoutStartSec=50s\nNoNewPrivileges=yes\nPrivateTmp=yes\nProtectHome=yes\n"
        f"ExecStart=/bin/sh -c '{MEASURE}{expected} > {METRICS_FILE}.new && mv {METRICS_FILE}.new {METRICS_FILE}'\n"
    )
    timer = (
        "[Unit]\nDescription=Metrics of replication\n"
        "[Timer]\nOnBootSec=1min\nOnUnitActiveSec=1min\nAccuracySec=5s\n[Install]\nWantedBy=timers.target\n"
    )
    units = {METRICS_TIMER: timer, METRICS_TIMER.replace(".timer", ".service"): service}
    return {f"{UNITS}/{name}": HEADER + text for name, text in units.items()}


@operation()
def check_standby(replication: Replication) -> Steps:
    """Check that the standby streams from its primary; this changes nothing."""
    if not ctx_state.get().is_executing or host.get_fact(CommandLines, f"cat {FENCED}"):
        return
    ask = f"{PSQL} --command={shlex.quote(WAL_RECEIVER)}"
    wait = f'for i in $(seq 30); do [ "$({ask})" != streaming ] || exit 0; sleep 1; done; exit 1'
    ok, _ = run_silently(host, wait)
    if not ok:
        _, log = run_silently(host, "grep -hE 'FATAL|ERROR' /var/log/postgresql/*.log | tail --lines=3")
        lines = [
            f"{host.name} does not stream from {replication.primary.name}. Its log says:",
            *log,
            f"If it was away for too long, or its primary was restored, make it again: --data rebuild={host.name}",
        ]
        yield FunctionCommand(report_failure, ("\n".join(lines),), {})


def follow(replication: Replication, server: ManagedServer) -> None:
    """Let the standby read a changed connection, drop the slots of a former primary, and check that it streams."""
    reload_connection(name="Follow the primary", unit=server.unit, file=connection_path(server))
    apply_slots(name="Slots of a former primary", wanted=[])
    check_standby(name="Streaming", replication=replication)


@operation_with_facts(lambda unit, file, **_: unit_and_files(unit, [file]))
def reload_connection(facts: HostFacts, unit: str, file: str) -> Steps:
    """Let a running standby follow another primary."""
    if facts.units[unit].active and is_outdated(facts, unit, [file]):
        yield f"systemctl reload {unit}"
        yield stamp_command(unit)


@operation_with_facts(lambda **_: file_contents(pitr_settings.METRICS_FILE))
def remove_primary_metrics(facts: HostFacts) -> Steps:
    """Remove the metrics of an archive that this host no longer fills."""
    if pitr_settings.METRICS_FILE in facts.paths:
        yield f"rm --force {pitr_settings.METRICS_FILE}"


def stop_backups() -> None:
    """Stop the backups of a host that was a primary: only the primary makes them."""
    remove_units(name="Timers of the primary", keep=[])
    remove_primary_metrics(name="Metrics of the primary")
