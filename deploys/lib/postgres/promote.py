"""Promote a standby by hand, fence the old primary, and let it join again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.context import ctx_state

from deploys.lib import operations
from deploys.lib.k3s.cluster import StepFailed, log_failure, run_on
from deploys.lib.messages import log_message
from deploys.lib.operations import Steps, run_silently
from deploys.lib.postgres import replication as decide
from deploys.lib.postgres import standby
from deploys.lib.postgres.pitr import METRICS_FILE, PROGRAMS, UNITS, data_folder
from deploys.lib.postgres.replication import PRIMARIES, STANDBYS, Replication
from deploys.lib.postgres.server import PSQL
from deploys.lib.postgres.setup import ManagedServer
from deploys.lib.postgres.split_report import position
from deploys.lib.preflight import stop_on_faults

REPORT = f"{PROGRAMS}/postgres-split-report"
REJOIN, REJOIN_UNIT = f"{standby.FOLDER}/rejoin", "groundcrew-standby-rejoin.service"
CATCH_UP = 60  # seconds in which a standby replays the last WAL of a stopped primary
SHOWN = 12
OUR_TIMERS = f"ls {UNITS} | grep '^groundcrew-pitr-.*[.]timer$'"
STATUS = (
    "SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() THEN "
    "GREATEST(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()) "
    "ELSE pg_catalog.pg_current_wal_lsn() END, "
    "COALESCE((SELECT status FROM pg_catalog.pg_stat_wal_receiver), 'stopped'), "
    "COALESCE(pg_catalog.to_char(pg_catalog.pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', "
    "'YYYY-MM-DD HH24:MI:SS'), 'none'), "
    "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots "
    "WHERE pg_catalog.starts_with(slot_name, 'groundcrew_'))"
)


@dataclass(frozen=True)
class MemberState:
    """What a primary or standby says of itself."""

    name: str
    reachable: bool = True
    fenced: str = ""
    unfinished: bool = False
    timeline: int = 0
    shutdown: bool = False  # it was stopped cleanly
    checkpoint: int = 0  # where its last checkpoint is; after a clean stop, the end of its WAL
    running: bool = False  # it answers
    in_recovery: bool = False
    end: int = 0  # the end of the WAL that it has
    receiver: str = ""  # such as "streaming"
    last: str = ""  # the time of the last transaction that it replayed
    slots: int = 0

    @property
    def is_primary(self) -> bool:
        return self.running and not self.in_recovery

    def __str__(self) -> str:
        if not self.reachable:
            return f"{self.name}: can't be reached"
        if self.fenced:
            return f"{self.name}: fenced, because {self.fenced} was promoted"
        if not self.running:
            return f"{self.name}: PostgreSQL is stopped{'' if self.shutdown else ', and was not stopped cleanly'}"
        kind = "primary" if self.is_primary else f"standby, {self.receiver}, last transaction at {self.last} UTC"
        return f"{self.name}: {kind}, timeline {self.timeline}"


def member_command(version: int) -> str:
    """Return the command whose output `parse_member` reads."""
    yes_or_no = "&& echo yes || echo no"
    control = f"LC_ALL=C /usr/lib/postgresql/{version}/bin/pg_controldata {data_folder(version)} 2>/dev/null"
    keys = ("Latest checkpoint's TimeLineID", "Database cluster state", "Latest checkpoint location")
    values = "; ".join(f'echo "$control" | sed -n "s/^{key}: *//p" | grep . || echo' for key in keys)
    return (
        f"head -n 1 {standby.FENCED} 2>/dev/null | grep . || echo; [ -e {standby.UNFINISHED} ] {yes_or_no}; "
        f"control=$({control}); {values}; {PSQL} --command={shlex.quote(STATUS)} 2>/dev/null | grep . || echo"
    )


def parse_member(name: str, lines: Sequence[str]) -> MemberState:
    """Return the state of a member from the output of `member_command`."""
    fenced, unfinished, timeline, cluster, checkpoint, answer = (line.strip() for line in lines)
    state = MemberState(
        name,
        fenced=fenced,
        unfinished=unfinished == "yes",
        timeline=int(timeline or 0),
        shutdown=cluster in {"shut down", "shut down in recovery"},
        checkpoint=position(checkpoint or "0/0"),
    )
    if not answer:
        return state
    in_recovery, end, receiver, last, slots = answer.split("|")
    more: dict[str, Any] = {"running": True, "in_recovery": in_recovery == "t", "slots": int(slots)}
    return MemberState(**{**state.__dict__, **more, "end": position(end or "0/0"), "receiver": receiver, "last": last})


def read_member(name: str, version: int) -> MemberState:
    """Return the state of a member, also of one that --limit excludes."""
    ok, lines = run_on(name, member_command(version))
    return parse_member(name, lines) if ok and len(lines) == 6 else MemberState(name, reachable=False)


def request_faults(promote: str, rejoin: str, lose: str, standbys: Sequence[str]) -> Iterator[str]:
    """Yield each fault in the options of a run."""
    if promote and promote not in standbys:
        yield f"promote: {promote} is not in {STANDBYS}, which has {', '.join(standbys)}"
    if rejoin and rejoin not in standbys:
        yield (
            f"rejoin: {rejoin} is not in {STANDBYS}; move the promoted server to {PRIMARIES}, and {rejoin} to "
            f"{STANDBYS}, in the inventory"
        )
    if promote and rejoin:
        yield "promote and rejoin: use one of them; between them, the inventory changes"
    if lose not in {"", "yes"}:
        yield f"lose: {lose!r} is not allowed; lose=yes accepts that transactions are lost"


def loss(old: MemberState, new: MemberState) -> str:
    """Return why a promotion would lose transactions, and which; "" if it would not."""
    since = f"its transactions since {new.last} UTC, the last one that {new.name} has, would be lost"
    missing = old.checkpoint > new.end if old.shutdown else not old.running
    if not old.reachable:
        return f"{old.name} can't be reached, so it can't be stopped; power it off. I{since[1:]}"
    if old.fenced or not old.running:
        start = "" if old.fenced else "start it if you can. Else "
        return f"{old.name} is stopped, and {new.name} may not have all its WAL; {start}{since}" if missing else ""
    if new.receiver != "streaming":
        return (
            f"{new.name} does not stream, and lacks {max(old.end - new.end, 0):,} bytes of WAL of {old.name}; {since}"
        )
    return ""


def promotion_faults(old: MemberState, new: MemberState, others: Sequence[MemberState], *, lose: bool) -> Iterator[str]:
    """Yield each reason why the standby can't be promoted."""
    if not new.reachable or not new.running:
        yield f"{new}; only a standby that runs can be promoted"
        return
    if new.unfinished:
        yield f"{new.name} is not finished: run deploys/postgres.py first"
    if not new.in_recovery:
        return  # an earlier run promoted it
    if (lost := loss(old, new)) and not lose:
        yield f"{lost}. To accept that, add --data lose=yes"
    for other in others:
        if other.in_recovery and other.end > new.end and not lose and not old.running:
            more = f"{other.name} has {other.end - new.end:,} bytes of WAL more than {new.name}"
            yield f"{more}; promote {other.name}, or add --data lose=yes"


@operation()
def show_members(replication: Replication, version: int) -> Steps:
    """Print the members and what a promotion would lose; this changes nothing."""
    if ctx_state.get().is_executing:
        members = (replication.primary, *replication.standbys)
        for line in member_lines(*(read_member(each.name, version) for each in members)):
            log_message(host, line)
    yield from ()


def member_lines(old: MemberState, *standbys: MemberState) -> Iterator[str]:
    """Yield the state of each member, and what its promotion would lose."""
    yield str(old)
    for new in standbys:
        yield str(new)
        if new.in_recovery:
            lost = loss(old, new) or f"nothing would be lost: {old.name} is stopped first, and sends what is missing"
            yield f"    {lost}. To promote it: --data promote={new.name}"


@operation()
def promote_standby(replication: Replication, version: int, lose: bool) -> Steps:
    """Promote this host and fence the old primary, unless both is done."""
    old, new = read_member(replication.primary.name, version), read_member(host.name, version)
    is_done = new.is_primary and (old.fenced or not old.reachable) and new.slots >= len(replication.peers)
    if not is_done:
        yield FunctionCommand(_promote, (replication, version, lose), {})


def _promote(state: State, host: Host, replication: Replication, version: int, lose: bool) -> bool:
    return log_failure(host, lambda: _promote_and_fence(host, replication, version, lose=lose))


def _promote_and_fence(host: Host, replication: Replication, version: int, *, lose: bool) -> None:
    old, new = read_member(replication.primary.name, version), read_member(host.name, version)
    others = [read_member(each.name, version) for each in replication.standbys if each.name != host.name]
    if faults := list(promotion_faults(old, new, others, lose=lose)):
        raise StepFailed("\n".join(faults))
    if old.reachable and not old.fenced:
        log_message(host, f"{old.name} is stopped and fenced")
        _run(old.name, fence_script(host.name, version), f"{old.name} could not be fenced")
        old = read_member(old.name, version)
    if new.in_recovery:
        if old.reachable and not _caught_up(host, old, version) and not lose:
            _run(old.name, unfence_script(version), f"{old.name} could not be started again")
            raise StepFailed(f"{host.name} does not have the last WAL of {old.name}, which runs again; nothing is lost")
        _sql(host, "SELECT pg_catalog.pg_promote(true, 120)", "it could not be promoted", answer="t")
    # pg_rewind reads the new timeline from the control file.
    _sql(host, "CHECKPOINT", "it is promoted, but a checkpoint failed")
    for statement in decide.slot_statements(standby.read_slots(host), [each.slot for each in replication.peers]):
        _sql(host, statement, "it is promoted, but its slots could not be made")
    now = read_member(host.name, version)
    log_message(host, f"it is the primary now, on timeline {now.timeline}. Last transaction before: {new.last} UTC")
    log_message(
        host,
        f"now move {host.name} to {PRIMARIES} and {old.name} to {STANDBYS} in the inventory, let applications connect "
        f"to {host.name}, and run deploys/postgres.py. Then: deploys/postgres_promote.py --data rejoin={old.name}",
    )
    if not old.reachable:
        log_message(
            host, f"{old.name} refuses to start if it reaches {host.name} by then; keep it off until it is fenced"
        )


def _run(name: str, command: str, failure: str) -> None:
    ok, output = run_on(name, command)
    if not ok:
        raise StepFailed("\n    ".join([f"{failure}:", *output]))


def _sql(host: Host, statement: str, failure: str, answer: str = "") -> None:
    ok, output = run_silently(host, f"{{ {PSQL}; }} 2>&1", statement)
    if not ok or (answer and output != [answer]):
        raise StepFailed("\n    ".join([f"{failure}:", *output]))


def _caught_up(host: Host, old: MemberState, version: int) -> bool:
    """Return whether the standby has all WAL of the stopped primary; wait a moment for it."""
    if not old.shutdown:
        return False
    end = f"{old.checkpoint >> 32:X}/{old.checkpoint & 0xFFFFFFFF:X}"
    has_all = f"SELECT pg_catalog.pg_last_wal_replay_lsn() > '{end}'::pg_catalog.pg_lsn"
    wait = (
        f'for i in $(seq {CATCH_UP}); do [ "$({PSQL} --command={shlex.quote(has_all)})" != t ] || exit 0; sleep 1; done'
    )
    ok, _ = run_silently(host, f"{wait}; exit 1")
    return ok


def fence_script(winner: str, version: int) -> str:
    """Return the command that stops a primary, so that neither a reboot nor a person starts it as one again."""
    marker = f"{winner}\\n{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\\n"
    fenced, signal = standby.FENCED, f"{data_folder(version)}/standby.signal"
    return (
        f"printf {shlex.quote(marker)} > {fenced}.new && mv {fenced}.new {fenced} && "
        f"{{ {OUR_TIMERS} | xargs --no-run-if-empty systemctl disable --quiet --now; }} && "
        "{ systemctl stop 'groundcrew-pitr-backup@*.service'; true; } && "
        f"rm --force {METRICS_FILE} && systemctl stop postgresql@{version}-main && "
        f"runuser --user postgres -- touch {signal}"
    )


def unfence_script(version: int) -> str:
    """Return the command that starts a fenced primary again, because no other was promoted."""
    return (
        f"rm --force {data_folder(version)}/standby.signal {standby.FENCED} && "
        f"systemctl start postgresql@{version}-main && "
        f"{{ {OUR_TIMERS} | xargs --no-run-if-empty systemctl enable --quiet --now; }}"
    )


def rejoin(replication: Replication, server: ManagedServer, *, lose: bool) -> None:
    """Make a former primary a standby, after saving what only it has, unless that may be lost."""
    report = Path(__file__).with_name("split_report.py").read_text()
    operations.install_packages(name="Python for the report", packages=["python3"])
    operations.write_file(name="Report of the split", text=report, dest=REPORT, mode="755")
    standby.write_connection(replication, server)
    rejoin_standby(name="Rejoin", replication=replication, server=server, lose=lose)


@operation()
def rejoin_standby(replication: Replication, server: ManagedServer, lose: bool) -> Steps:
    """Rewind this host to the split and let it follow the new primary, unless it streams already."""
    found = read_member(host.name, server.version)
    if found.fenced or found.unfinished or not found.in_recovery or found.receiver != "streaming":
        yield FunctionCommand(_rejoin, (replication, server, lose), {})


def _rejoin(state: State, host: Host, replication: Replication, server: ManagedServer, lose: bool) -> bool:
    for unit in (standby.BUILD_UNIT, REJOIN_UNIT):
        run_silently(host, f"while systemctl is-active --quiet {unit}; do sleep 1; done")
    primary, me = read_member(replication.primary.name, server.version), read_member(host.name, server.version)
    ok, answer = run_silently(host, standby.identify_command(replication))
    if not ok:
        log_message(host, "\n".join([*answer, *standby.unreachable_lines(replication)]))
        return False
    if faults := list(rejoin_faults(primary, me)):
        log_message(host, "\n".join(faults))
        return False
    from_repository = server.pitr is not None and standby.has_backup(host, server.pitr.stanza)
    build = standby.build_script(replication, server, "", from_repository=from_repository)
    write = operations.write_command(standby.BUILD, "600", "root:root")
    ok, output = run_silently(host, write, build)
    if not ok:
        log_message(host, "\n".join(output))
        return False
    ok, log = standby.run_as_unit(host, REJOIN_UNIT, REJOIN, rejoin_script(replication, server, lose=lose))
    report = f'folder=$(cat {standby.FOLDER}/report) && echo "$folder" && head --lines={SHOWN} "$folder/summary"'
    found, lines = run_silently(host, report)
    if found and lines:
        log_message(host, "\n".join([f"what only {host.name} had is in {lines[0]}:", *lines[1:]]))
    if ok:
        _, log = run_silently(host, f"sed --quiet 's/^groundcrew: //p' {standby.LOG}")
        log_message(host, "\n".join(log))
    else:
        log_message(host, "\n".join(["it did not join again; repair what it says and run this again:", *log]))
    return ok


def rejoin_faults(primary: MemberState, me: MemberState) -> Iterator[str]:
    """Yield each reason why this host can't follow the primary."""
    if not primary.is_primary:
        yield f"{primary}; {me.name} can only follow a primary that runs"
    elif primary.timeline < me.timeline:
        yield (
            f"{me.name} is on timeline {me.timeline}, and {primary.name} on the older timeline {primary.timeline}: if "
            f"{me.name} was promoted, it is the primary; correct the inventory"
        )


def rejoin_script(replication: Replication, server: ManagedServer, *, lose: bool = False) -> str:
    """Return the script that rewinds a former primary."""
    words = standby.script_words(replication, server)
    keys = ("data", "unit", "folder", "programs", "primary")
    own = {
        "restore_wal": "--restore-target-wal" if server.pitr else "",
        "config": f"{server.folder}/postgresql.conf",
        "winner": replication.primary.name,
        "report": REPORT,
        "build": standby.BUILD,
        "lose": "yes" if lose else "",
    }
    return standby.shell_variables({**{key: words[key] for key in keys}, **own}) + (
        Path(__file__).with_name("rejoin.sh").read_text()
    )


def read_request(data: Any, replication: Replication) -> tuple[str, str, bool]:
    """Return what a run promotes or lets join again, and whether it may lose transactions; stop on faults."""
    promote, rejoin_host, lose = (str(data.get(key) or "") for key in ("promote", "rejoin", "lose"))
    standbys = [each.name for each in replication.standbys]
    stop_on_faults(request_faults(promote, rejoin_host, lose, standbys))
    return promote, rejoin_host, bool(lose)
