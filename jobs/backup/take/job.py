"""The job `backup`: take a set of each database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from jobs.backup.errors import BackupError
from jobs.backup.sets.trust import manifest_signer
from jobs.backup.sources import databases_to_back_up, is_known, schedule, section_of
from jobs.backup.take.shrink import SetSize, describe_shrinkage, sizes_of_runs
from jobs.format import format_size, plural
from jobs.run.job import Job, Notice, Options, Outcome, Result, Run, Transient, UnknownName

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.backup.take.take import BackupPlan, TakenSet
    from jobs.store import Store

SMALL_DATABASE = 16 << 20
"""One program dumps a database whose last dump had fewer bytes: it had no table that is big enough for segments."""

_NOT_IN_SET = "Not in the set: "
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def work(run: Run) -> Result:
    """Take a set of one database; with --dry-run, only plan it."""
    # These take time to import, and a status does without.
    from jobs.backup.take.snapshot import export_snapshot
    from jobs.backup.take.source import reach_source
    from jobs.backup.take.take import plan_backup, take_set

    section, database = section_of(run.environment, run.subject)
    store = run.environment.store
    if store is None:
        raise BackupError(f"{run.environment.name} has no [store]; add one to its file: backups are stored there")
    signer = manifest_signer(run.environment)
    with reach_source(run, section, database) as (endpoint, source):
        if run.subject in run.environment.servers:
            endpoint.connect().close()
            raise Transient(f"{run.subject}: its databases could not be listed before, but it answers now; try again")
        if run.options.dry_run:
            with export_snapshot(endpoint, section.limits.lock) as snapshot:
                return with_source(planned_result(plan_backup(run, section, endpoint, snapshot)), source)
        if signer is None:
            run.log.warning(
                "the backup is not signed, so restores cannot detect a forged one",
                remedy='replace sign_with = "nobody" under [store]: ssh-keygen -t ed25519 makes a key',
            )
        taken = take_set(run, section, endpoint, store.encrypt_to, signer)
    result = with_shrinkage(run, with_source(finished_result(taken), source), _shrinkage(run, taken, section.shrink))
    return with_other_server(run, result) if comes_from_another_server(result.figures, run.earlier_figures) else result


def with_source(result: Result, note: str) -> Result:
    """Return the result with a note on the server that was dumped, if there is one."""
    return replace(result, sentence=f"{result.sentence}; {note}") if note else result


def subjects(environment: Environment, store: Store, options: Options) -> list[str]:
    """Return the databases to back up, after checking the tags."""
    for tag in options.tags:
        if not _TAG.fullmatch(tag):
            raise UnknownName(f"--tag {tag}: use at most 63 letters, digits, dots, hyphens and underscores")
    return databases_to_back_up(environment, store, options)


def planned_result(plan: BackupPlan) -> Result:
    """Return the result of a dry run."""
    big = dict.fromkeys(part.rows.table.quoted for part in plan.parts if part.rows is not None)
    leaves = [table for table in plan.snapshot.tables if table.leaf]
    sentence = (
        f"would dump {plan.endpoint.database}: {plural(len(leaves), 'table')}, {format_size(plan.estimated_bytes)}, in "
        f"{plural(len(plan.parts), 'part')} with pg_dump {plan.program.version} from PostgreSQL {plan.server.version}"
    )
    separate = f"; separate parts for {', '.join(big)}" if big else ""
    if undivided := [part.rows.table.quoted for part in plan.parts if part.rows is not None and part.rows.undivided]:
        separate += f"; only one stream each, unless you set trust_owners, for {', '.join(undivided)}"
    return Result(Outcome.DONE, sentence + separate, {"tables": len(leaves), "bytes": plan.estimated_bytes})


def finished_result(taken: TakenSet) -> Result:
    """Return the result of a finished backup."""
    manifest, rows = taken.manifest, taken.description.rows
    seconds = (manifest.ended - manifest.started).total_seconds()
    sentence = (
        f"{format_size(manifest.dumped_bytes)} in {seconds:.1f} s, stored as {format_size(manifest.stored_bytes)} "
        f"in {len(manifest.parts)} parts: set {manifest.set}"
    )
    if again := taken.dumped_again:
        why = next(iter(again.values()))
        sentence += f"; {plural(len(again), 'part')} dumped again after uploads broke off ({', '.join(again)}: {why})"
    sentence = "; ".join([sentence, *(each.rstrip(".") for each in taken.description.notes if _NOT_IN_SET in each)])
    figures: dict[str, int | float | str] = {
        "set": manifest.set,
        "dumped_bytes": manifest.dumped_bytes,
        "stored_bytes": manifest.stored_bytes,
        "seconds": round(seconds, 3),
        "parts": len(manifest.parts),
        "parts_dumped_again": len(taken.dumped_again),
        "tables": len(taken.description.tables),
        "server": manifest.server.system_identifier,
    }
    return Result(Outcome.DONE, sentence, figures if rows is None else {**figures, "rows": rows})


def _shrinkage(run: Run, taken: TakenSet, share: float | None) -> str:
    """Return how the set shrank; "" if it did not."""
    if share is None:
        return ""
    return describe_shrinkage(
        SetSize(taken.manifest.dumped_bytes, taken.description.rows), sizes_of_runs(run.earlier_figures), share
    )


def with_shrinkage(run: Run, result: Result, shrinkage: str) -> Result:
    """Return the result of a backup, as a finding if its set shrank. A notice reports that once."""
    if not shrinkage:
        return result
    database = f"{run.environment.name} {run.subject}"
    notice = Notice(
        keys=(f"shrank {result.figures['set']}",),
        title=f"backup of {run.subject} shrank",
        text=f"The new set has {shrinkage} (the median of the sets before it).\n\nIf somebody removed data on purpose, "
        "ignore this: the next sets are no finding. If not, keep an earlier set before retention removes it: "
        f"crew backups list {database}, then crew backups pin {database} --set ID.",
    )
    sentence = f"{result.sentence}; it shrank: {shrinkage} (median of the sets before it)"
    return replace(result, outcome=Outcome.FINDING, sentence=sentence, notice=notice)


def comes_from_another_server(new: Mapping[str, object], earlier: Sequence[Mapping[str, object]]) -> bool:
    """Whether the system identifiers in the figures of a backup and of the one before it are known and differ."""
    before = next((each["server"] for each in earlier if each.get("server")), "")
    return bool(before and new["server"] and before != new["server"])


def with_other_server(run: Run, result: Result) -> Result:
    """Return the result of a backup whose set comes from another server, as a finding. A notice reports that once."""
    fact = "it comes from another PostgreSQL server than the set before it"
    text = (
        f"{fact[0].upper()}{fact[1:]}: the two have different system identifiers.\n\nIf the database has moved, ignore "
        f"this. If not, another environment file or machine stores its backups as {run.environment.name}/{run.subject}."
    )
    notice = Notice((f"server of {result.figures['set']}",), f"backup of {run.subject} from another server", text)
    if result.notice is not None:  # it shrank, too
        text = f"{result.notice.text}\n\n{text}"
        notice = replace(result.notice, keys=(*result.notice.keys, *notice.keys), text=text)
    return replace(result, outcome=Outcome.FINDING, sentence=f"{result.sentence}; {fact}", notice=notice)


def turn_share(environment: Environment, name: str, earlier: Sequence[Mapping[str, object]]) -> Fraction:
    """Return the share of a turn: a turn has `parallel` programs, and a small database needs one of them."""
    last = next(iter(sizes_of_runs(earlier)), None)
    is_small = last is not None and last.dumped < SMALL_DATABASE
    return Fraction(1, section_of(environment, name)[0].parallel if is_small else 1)


def limit(environment: Environment, name: str) -> timedelta:
    """Return the time limit of a backup of this database."""
    return section_of(environment, name)[0].limits.run


BACKUP = Job(
    "backup", subjects, work, schedule, limit,
    outlasts=timedelta(minutes=15),
    compared=("dumped_bytes", "rows", "stored_bytes", "seconds", "server"), has_subject=is_known,
    turn_share=turn_share,
)  # fmt: skip
