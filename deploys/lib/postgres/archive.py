"""Operations that set up pgBackRest on a PostgreSQL server, and remove it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.context import ctx_state

from deploys.lib import operations
from deploys.lib.facts import HostFacts, command_output, file_contents, operation_with_facts
from deploys.lib.header import SENTENCE
from deploys.lib.messages import log_message, report_failure
from deploys.lib.operations import CommandLines, Steps, run_silently
from deploys.lib.postgres import pitr as settings_of
from deploys.lib.postgres.pitr import CONFIG, UNITS, Pitr
from inventories import Secret

AS_POSTGRES = "cd / && runuser --user postgres --"
# pgBackRest says only that the systems differ; it can't know why.
OTHER_SERVER = (
    "the repository has the backups of another server in this stanza: restore them with deploys/postgres_restore.py, "
    "or set another stanza"
)
# A copy of a server has the same identifier, so pgBackRest would accept it.
TAKEN = "this-stanza-has-backups"
TAKEN_STANZA = (
    "the repository has backups of this stanza, and this host has no configuration of pgBackRest. If another server "
    "made them, restore them with deploys/postgres_restore.py, or set another stanza. If no other server archives "
    "to it any more, confirm with --data old_server=stopped"
)
CHECK_TIMEOUT = 120  # seconds; pgBackRest itself tries again and again
# "foreign" if the configuration is not ours, so that nobody's own pgBackRest is replaced or removed.
OURS = f"grep --quiet --fixed-strings {shlex.quote(SENTENCE)} {CONFIG}"
ORIGIN = f"[ ! -e {CONFIG} ] || {{ {OURS} && echo ours || echo foreign; }}"
OUR_UNITS = f"cd {UNITS} && ls -d groundcrew-pitr-*"


def set_up(pitr: Pitr, config: Secret, version: int, *, create_stanza: bool = True) -> None:
    """Install and configure pgBackRest. Its timers start later, with `start`."""
    operations.ensure_folder(name="Results of backups", path=settings_of.STATE, mode="750", owner="postgres:postgres")
    operations.ensure_folder(name="Metrics", path=settings_of.METRICS_FOLDER)
    metrics = Path(__file__).with_name("pitr_metrics.py").read_text()
    programs = {
        settings_of.BACKUP_PROGRAM: settings_of.backup_program(pitr),
        settings_of.METRICS_PROGRAM: metrics,
    }
    for path, text in host.loop(programs.items()):
        operations.write_file(name=f"Program {Path(path).name}", text=text, dest=path, mode="755")
    write_config(
        name="Repositories",
        config=config,
        stanza=pitr.stanza if create_stanza else "",
        data=settings_of.data_folder(version),
    )


def start(pitr: Pitr, version: int) -> None:
    """Start the timers, and check that WAL reaches each repository."""
    units = settings_of.pitr_units(pitr, version)
    for path, text in host.loop(units.items()):
        operations.write_file(name=f"Unit {Path(path).name}", text=text, dest=path)
    remove_units(name="Timers of other schedules", keep=[Path(path).name for path in units])
    operations.reload_systemd(name="Unit files", files=list(units))
    for path in host.loop([path for path in units if path.endswith(".timer")]):
        operations.ensure_unit(name=f"Timer {Path(path).name}", unit=Path(path).name, files=[path])
    check_archive(name="Archive", stanza=pitr.stanza)
    start_first_backups(name="First backups", stanza=pitr.stanza, repositories=len(pitr.repositories))


def remove() -> None:
    """Remove timers, programs and the configuration with its secrets. Backups in the repositories stay."""
    remove_units(name="Timers of backups", keep=[])
    files = [settings_of.BACKUP_PROGRAM, settings_of.METRICS_PROGRAM, settings_of.METRICS_FILE]
    remove_files(name="Files of pgBackRest", files=files)


@operation_with_facts(lambda **_: file_contents(CONFIG) | command_output(ORIGIN))
def write_config(facts: HostFacts, config: Secret, stanza: str, data: str) -> Steps:
    """Write pgBackRest's configuration, if each of its repositories has the stanza or accepts it.

    So a wrong key never replaces a configuration that works. The secrets travel through stdin.
    """
    if facts.output[ORIGIN] == ["foreign"]:
        message = f"{CONFIG} is not from groundcrew; move it away, and its timers, to let postgres_pitr replace it"
        yield FunctionCommand(report_failure, (message,), {})
        return
    current = facts.paths.get(CONFIG)
    up_to_date = current and (current.mode, current.owner) == ("640", "postgres:postgres")
    if up_to_date and facts.checksums.get(CONFIG) == operations.sha256(config.reveal()):
        host.noop("the configuration is up to date")
        return
    is_known = current is not None or host.data.get("old_server") == "stopped"
    check = f"[ ! -e {data}/PG_VERSION ] || ({accept_command(stanza, is_known=is_known)})" if stanza else ""
    write = operations.write_command(CONFIG, "640", "postgres:postgres", check)
    yield FunctionCommand(_write_config, (write, config), {})


def accept_command(stanza: str, *, is_known: bool) -> str:
    """Return a command that succeeds if each repository of the configuration {0} has the stanza or accepts it.

    If the host is not known to archive to the stanza, it must not have backups yet.
    """
    pgbackrest = f"{AS_POSTGRES} pgbackrest --config={{0}} --stanza={stanza} --io-timeout=10"
    create = f"{pgbackrest} --no-online stanza-create"
    is_free = f"! ({pgbackrest} --output=json info) | grep --quiet '\"label\":' || (echo {TAKEN}; exit 1)"
    return create if is_known else f"({is_free}) && {create}"


def _write_config(state: State, host: Host, write: str, config: Secret) -> bool:
    ok, output = run_silently(host, f"{{ {write}; }} 2>&1", config.reveal())
    if TAKEN in output:
        log_message(host, TAKEN_STANZA)
    elif not ok:
        log_message(
            host, "\n".join(["the repositories were not accepted, and the configuration stays as it was:", *output])
        )
        if any("do not match the database" in each for each in output):
            log_message(host, OTHER_SERVER)
    return ok


@operation()
def check_archive(stanza: str) -> Steps:
    """Check that a WAL segment written now reaches each repository; this changes nothing."""
    if not ctx_state.get().is_executing:
        return
    ok, output = run_silently(host, archive_check_command(stanza))
    if not ok:
        yield FunctionCommand(report_failure, ("\n".join(["WAL does not reach the repositories:", *output]),), {})


def archive_check_command(stanza: str) -> str:
    """Return a command that writes a WAL segment and waits until it is in each repository."""
    check = f"timeout {CHECK_TIMEOUT} pgbackrest --stanza={stanza} --io-timeout=5 --archive-timeout=60 check"
    return f"{{ {AS_POSTGRES} {check} || {{ [ $? != 124 ] || echo no answer in time; false; }}; }} 2>&1"


@operation()
def start_first_backups(stanza: str, repositories: int) -> Steps:
    """Start a full backup in each repository that has none; without it, no moment can be restored."""
    if not ctx_state.get().is_executing:
        return
    ok, output = run_silently(host, f"{AS_POSTGRES} pgbackrest --stanza={stanza} --io-timeout=5 --output=json info")
    for number in repositories_without_backup("".join(output) if ok else "", repositories):
        unit = f"groundcrew-pitr-backup@full-{number}.service"
        if not host.get_fact(CommandLines, f"systemctl is-active {unit} | grep -x activating"):
            log_message(
                host, f"the first backup in repository {number} starts; follow it: journalctl --follow -u {unit}"
            )
            yield f"systemctl start --no-block {unit}"


def repositories_without_backup(info: str, repositories: int) -> list[int]:
    """Return the numbers of the repositories without a backup, from the output of `pgbackrest info`."""
    stanzas = json.loads(info or "[]")
    backed_up = {each["database"]["repo-key"] for stanza in stanzas for each in stanza.get("backup", ())}
    return [number for number in range(1, repositories + 1) if number not in backed_up] if stanzas else []


@operation_with_facts(lambda **_: command_output(OUR_UNITS))
def remove_units(facts: HostFacts, keep: Sequence[str]) -> Steps:
    """Stop and remove our units that are not among those to keep."""
    old = sorted(set(facts.output[OUR_UNITS]) - set(keep))
    if timers := [unit for unit in old if unit.endswith(".timer")]:
        yield f"systemctl disable --quiet --now {shlex.join(timers)}"
    if old:
        yield f"cd {UNITS} && rm --force {shlex.join(old)} && systemctl daemon-reload"


@operation_with_facts(lambda files, **_: file_contents(*files) | command_output(ORIGIN))
def remove_files(facts: HostFacts, files: Sequence[str]) -> Steps:
    """Remove files, if they exist, and the configuration, if it is ours."""
    existing = [file for file in files if file in facts.paths]
    if existing := [*existing, *([CONFIG] if facts.output[ORIGIN] == ["ours"] else [])]:
        yield f"rm --force {shlex.join(existing)}"
