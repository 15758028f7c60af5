"""crew schedule list, export and died."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.cli.schedule import CRON_FOLDER, SYSTEMD_FOLDER, Scheduler, next_step
from jobs.registry import JOBS
from jobs.run.holders import read_holders
from jobs.run.job import Outcome
from jobs.run.latest import NO_RUNS, RunSummary
from jobs.run.lease import Holder, holder_to
from tests.parts.runs import store_in
from tests.unit.jobs.cli.conftest import HEAD, Crew, Write, databases

NIGHTLY = databases("shop", more='backup = "0 2 * * *"\nretention = "30 6 * * *"')
ALWAYS = databases("shop", more='retention = "* * * * *"')


def rows(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines()]


def test_the_list_describes_each_line_and_the_next_three_runs(crew: Crew, write: Write) -> None:
    write(NIGHTLY)
    backup, retention = rows(crew("schedule", "list", "try").out)[1:]
    assert backup.startswith("backup shop At 02:00 every day never ")
    assert backup.count(" 02:00") == 3 + 1
    assert retention.startswith("retention shop At 06:30 every day never ")


def test_the_list_shows_what_is_overdue(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(NIGHTLY)
    crew("run", "retention", "try")
    store = store_in(tmp_path / "store")
    long_ago = datetime.now(UTC) - timedelta(days=9)
    lock = read_holders(store, "try")["retention/shop"]
    run = RunSummary("r1", long_ago, long_ago, Outcome.DONE, "done", tick=long_ago)
    store.put("try/locks/retention/shop.json", holder_to(replace(lock, runs=NO_RUNS.with_run(run))))
    item = crew("schedule", "list", "try", "--json").json["schedule"][1]
    assert item["overdue_since"]
    assert 600 < item["overdue_seconds"] <= 86400
    assert "overdue since" in crew("schedule", "list", "try").out


def test_the_list_shows_running_jobs(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(NIGHTLY)
    now = datetime.now(UTC)
    holder = holder_to(Holder("r", "host", 1, now, 60.0, renewed=now))
    store_in(tmp_path / "store").put("try/locks/backup/shop.json", holder)
    backup, retention = crew("schedule", "list", "try", "--json").json["schedule"]
    assert (backup["running"], retention["running"]) == (True, False)
    assert "running now" in crew("schedule", "list", "try").out


def test_the_list_shows_the_last_run(crew: Crew, write: Write) -> None:
    write(ALWAYS)
    assert crew("run", "retention", "try", "--scheduled").code == 0
    (item,) = crew("schedule", "list", "try", "--json").json["schedule"]
    assert item["last"]["outcome"] == "done"
    assert item["description"] == "Every minute"
    assert len(item["next"]) == 3


ALL_JOBS = """
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
backup = "0 2 * * *"
verify = "0 5 * * 0"
retention = "30 6 * * *"
[copies.offsite]
url = "file:///srv/offsite"
at = "0 3 * * *"
[refresh.copy]
from = "origin/shop"
into = "postgresql://nobody@127.0.0.1:1/copy"
sanitise = "copy.sql"
at = "0 4 * * *"
[terraform]
state = { bucket = "acme-state", region = "eu-central-1", lock = "file" }
[stacks.network]
[drift]
check = "0 7 * * *"
[hosts]
check = "30 7 * * *"
deploys = ["host"]
[cost]
budget = 100
check = "0 8 * * *"
[status]
at = "0 9 * * *"
[alerts]
to = ["json://127.0.0.1:1/"]
digest = "0 8 * * 1"
"""


def test_every_job_can_be_scheduled(crew: Crew, write: Write) -> None:
    write(databases("shop"), name="origin", head=HEAD.replace('"try"', '"origin"'))
    write(ALL_JOBS).with_name("copy.sql").touch()
    result = crew("schedule", "list", "try", "--json")
    assert result.code == 0, result
    assert {item["job"] for item in result.json["schedule"]} == set(JOBS)


def test_a_file_without_scheduled_jobs_says_so(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    assert crew("schedule", "list", "try").out == "try: no jobs are scheduled in its file\n"
    result = crew("schedule", "export", "systemd", "try")
    assert result.code == 64, result
    assert result.err == "try: no jobs are scheduled in its file; add backup = ... to a database\n"


def test_an_export_writes_files_and_removes_those_no_longer_scheduled(crew: Crew, write: Write, tmp_path: Path) -> None:
    units = tmp_path / "units"
    write(NIGHTLY)
    assert crew("schedule", "export", "systemd", "try", "--output", str(units)).code == 0
    (units / "groundcrew-try-own.service").write_text("# not from an export\n")
    write(ALWAYS)
    result = crew("schedule", "export", "systemd", "try", "--output", str(units))
    assert f"removed {units}/groundcrew-try-backup.timer" in result.out
    assert f"Next: cp {units}/groundcrew-try-* /etc/systemd/system/ && cd /etc/systemd/system && " in result.out
    assert sorted(file.name for file in units.iterdir()) == [
        "groundcrew-try-check.service",
        "groundcrew-try-died@.service",
        "groundcrew-try-own.service",
        "groundcrew-try-retention.service",
        "groundcrew-try-retention.timer",
    ]


def test_files_that_are_in_the_right_directory_need_no_copy() -> None:
    assert next_step(Scheduler.SYSTEMD, "try", SYSTEMD_FOLDER) == (
        "Next: cd /etc/systemd/system && systemctl daemon-reload && systemctl enable --now groundcrew-try-*.timer"
    )
    assert next_step(Scheduler.CRON, "try", CRON_FOLDER) == "cron reads new files in /etc/cron.d without a restart."
    assert next_step(Scheduler.CRON, "try", Path("units")).startswith("Next: cp units/groundcrew-try /etc/cron.d/\n")


def test_an_export_to_a_place_that_cannot_be_written_is_an_error_with_a_remedy(crew: Crew, write: Write) -> None:
    write(NIGHTLY)
    result = crew("schedule", "export", "systemd", "try", "--output", "/proc/units")
    assert result.code == 1, result
    assert result.err.startswith("cannot write /proc/units: No such file or directory. ")


@pytest.mark.parametrize("target", ["systemd", "cron"])
def test_an_export_keeps_files_of_an_environment_whose_name_begins_alike(
    crew: Crew, write: Write, tmp_path: Path, target: str
) -> None:
    write(NIGHTLY)
    write(NIGHTLY, HEAD.replace('"try"', '"try-eu"'), "try-eu")
    export = ("schedule", "export", target, "--timezone", "Europe/Berlin", "--output", str(tmp_path / "there"))
    assert crew(*export, "try-eu").code == 0
    theirs = set((tmp_path / "there").iterdir())
    assert "removed" not in crew(*export, "try").out
    assert theirs < set((tmp_path / "there").iterdir())


def test_an_export_for_cron_needs_the_timezone_of_the_machine(crew: Crew, write: Write) -> None:
    write(NIGHTLY)
    result = crew("schedule", "export", "cron", "try", "--timezone", "America/New_York")
    assert result.code == 64, result
    assert "America/New_York" in result.err
    assert "0 2 * * * groundcrew" in crew("schedule", "export", "cron", "try", "--timezone", "Europe/Berlin").out
    assert crew("schedule", "export", "cron", "try", "--timezone", "Mars/Olympus").code == 64


def test_an_export_for_kubernetes_needs_an_image_and_a_bucket(crew: Crew, write: Write) -> None:
    write(NIGHTLY)
    assert "--image is missing" in crew("schedule", "export", "kubernetes", "try").err
    result = crew("schedule", "export", "kubernetes", "try", "--image", "acme/groundcrew:1")
    assert result.code == 64, result
    assert "a directory" in result.err


def test_an_alert_about_a_unit_that_failed_without_a_record(
    crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('[alerts]\nto = ["json://127.0.0.1:1/"]\n')
    monkeypatch.setenv("MONITOR_EXIT_CODE", "exited")
    monkeypatch.setenv("MONITOR_EXIT_STATUS", "1")
    result = crew("schedule", "died", "try")
    assert result.code == 0, result
    assert result.out == "The run has a record and has sent its own alerts.\n"
    monkeypatch.setenv("MONITOR_EXIT_STATUS", "203")
    result = crew("schedule", "died", "try")
    assert result.code == 1, result
    assert "exited 203" in result.out
    assert "could not be sent" in result.err
