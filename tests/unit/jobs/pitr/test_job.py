"""Which subjects the job `verify` has, and how pgBackRest is called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import Environment
from inventories import Repository as Files
from jobs.backup import ClientProgram, Difference
from jobs.pitr.job import VERIFICATIONS
from jobs.pitr.pgbackrest import Pgbackrest, find_pgbackrest
from jobs.pitr.stanza import Archive, BaseBackup, PitrError, Stanza
from jobs.pitr.verify import Examination, RecoveryPlan, matching_server, recovery_result
from jobs.run.job import Options, Outcome, UnknownName
from jobs.schedule.slots import slots
from jobs.store import open_store
from tests.parts.crew import Repository

SECTIONS = """
[databases.shop]
url = "postgresql://b@h/shop"
verify = "0 5 * * *"
[servers.main]
url = "postgresql://b@h/postgres"
[pitr.main]
stanza = "main"
[pitr.other]
stanza = "other"
verify = "0 5 * * 6"
limits = { run = "2h" }
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    Repository(tmp_path).environment(text=SECTIONS)
    return Files.find(tmp_path).read("staging")


def subjects(environment: Environment, *only: str, scheduled: bool = False) -> list[str]:
    assert environment.store
    options = Options(only=only, scheduled=scheduled)
    return list(VERIFICATIONS.subjects(environment, open_store(environment.store), options))


def test_the_subjects(environment: Environment) -> None:
    assert subjects(environment) == ["shop", "pitr.main", "pitr.other"]
    assert subjects(environment, scheduled=True) == ["shop", "pitr.other"]
    assert subjects(environment, "other") == ["pitr.other"]
    assert subjects(environment, "main") == []  # the server, which has no sets
    assert subjects(environment, "pitr.main", "shop") == ["shop", "pitr.main"]
    with pytest.raises(UnknownName, match=r"there is no stanza pitr\.nope; there are: pitr\.main, pitr\.other"):
        subjects(environment, "pitr.nope")
    assert [slot.name for slot in slots(environment)] == ["shop", "pitr.other"]
    assert VERIFICATIONS.schedule(environment, "pitr.other") == "0 5 * * 6"
    assert VERIFICATIONS.schedule(environment, "pitr.main") is None
    assert VERIFICATIONS.limit(environment, "pitr.other") == timedelta(hours=2)
    assert [VERIFICATIONS.has_subject(environment, name) for name in ("pitr.main", "pitr.gone", "shop")] == [
        True,
        False,
        True,
    ]


def test_a_command_has_no_secret(environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    config = tmp_path / "pgbackrest.conf"
    config.write_text(
        "repo1-cipher-pass=a-passphrase\nrepo1-s3-key-type=auto\n repo2-s3-key-secret = another one \n"
        "repo3-s3-key=\nrepo3-gcs-key=/etc/gcs.json\nrepo4-sftp-private-key-passphrase=a-fourth\n"
    )
    settings = environment.pitr["main"]
    object.__setattr__(settings, "config", config)
    program = find_pgbackrest(settings)
    command = program.command("info", "--output=json", repository=2)
    assert command == [
        "pgbackrest", "info", f"--config={config}", "--stanza=main", "--repo=2",
        "--log-level-file=off", "--log-level-console=off", "--log-level-stderr=error", "--output=json",
    ]  # fmt: skip
    from inventories import redact

    assert redact("a-passphrase, another one, auto, a-fourth, /etc/gcs.json") == "***, ***, auto, ***, /etc/gcs.json"


def test_a_configuration_must_be_readable(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    object.__setattr__(environment.pitr["main"], "config", Path("/nowhere/x.conf"))
    with pytest.raises(PitrError, match=r"/nowhere/x\.conf: No such file or directory"):
        find_pgbackrest(environment.pitr["main"])
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(PitrError, match="pgBackRest is not installed on this machine; install pgbackrest"):
        find_pgbackrest(environment.pitr["main"])


def test_as_root_the_owner_of_the_configuration_reads(tmp_path: Path) -> None:
    program = Pgbackrest("main", tmp_path, (101, 104))
    assert program.start[:3] == ["setpriv", "--reuid=101", "--regid=104"]
    assert "--bounding-set=-all" in program.start
    assert Pgbackrest("main", tmp_path, None).start == []


@pytest.mark.parametrize(
    ("majors", "path"),
    [([15, 17], "/usr/lib/15/initdb"), ([17], ""), ([], "")],
)
def test_only_the_same_version_reads_a_cluster(majors: list[int], path: str) -> None:
    installed = tuple(ClientProgram("initdb", f"/usr/lib/{major}/initdb", f"{major}.1") for major in majors)
    if path:
        assert matching_server(installed, 15).path == path
        return
    with pytest.raises(PitrError, match="install postgresql-15"):
        matching_server(installed, 15)


AT = datetime(2026, 11, 30, 7, tzinfo=UTC)
BACKUP = BaseBackup("20261130-061227F", AT - timedelta(hours=1), 29_000_000, f"{2:024X}")
PLAN = RecoveryPlan(
    Stanza("main", 1, "", 15, "15-1", f"{3:024X}", (BACKUP,)),
    BACKUP,
    Archive((f"{3:024X}",), AT),
    AT,
    "PostgreSQL 15.20",
)


def test_a_result_names_time_and_point() -> None:
    result = recovery_result(PLAN, 4.54, Examination(AT - timedelta(seconds=70), 2, 3, 100))
    assert result.outcome is Outcome.DONE
    assert result.sentence == (
        "stanza main is verified: restored in 4.5 s into PostgreSQL 15.20; its newest transaction is 1 min 10 s old; "
        "2 databases, 3 tables, 100 rows"
    )
    assert result.figures["recovery_seconds"] == 4.54
    assert result.figures["recovery_point_seconds"] == 70
    assert result.figures["reachable_since_timestamp_seconds"] == BACKUP.stopped.timestamp()
    idle = recovery_result(PLAN, 4.54, Examination(None, 2, 3, None, notes=("a note",)))
    assert idle.sentence.endswith(
        "no transaction ended since the backup; 2 databases, 3 tables, rows were not counted; a note"
    )
    assert idle.figures["recovery_point_seconds"] == 3600
    ahead = recovery_result(PLAN, 1, Examination(AT + timedelta(days=999), 1, 1, 1))
    assert ahead.figures["reachable_until_timestamp_seconds"] == AT.timestamp()
    wrong = recovery_result(
        PLAN, 1, Examination(None, 1, 1, 1, (Difference("amcheck", "index x", None, 2),), ("late",))
    )
    assert (wrong.outcome, wrong.sentence) == (Outcome.FINDING, "stanza main: late; amcheck index x: 2 faults")
