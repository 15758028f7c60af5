"""crew schedule list and export, and the next runs in crew status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from jobs.run.lease import Holder, holder_to
from jobs.run.record import tick_key
from jobs.run.ticks import tick_before
from jobs.schedule.unit_failure import failure_message
from jobs.store.directory import DirectoryStore
from tests.unit.jobs.cli.conftest import HEAD, Crew, databases

Write = Callable[..., Path]
NIGHTLY = databases("shop", more='backup = "0 2 * * *"\nretention = "30 6 * * *"')
ALWAYS = databases("shop", more='retention = "* * * * *"')


def rows(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines()]


def test_the_list_says_when_in_words_and_the_next_three_runs(crew: Crew, write: Write) -> None:
    write(NIGHTLY)
    backup, retention = rows(crew("schedule", "list", "try").out)[1:]
    assert backup.startswith("backup shop At 02:00 every day never ")
    assert backup.count(" 02:00") == 3 + 1
    assert retention.startswith("retention shop At 06:30 every day never ")


def test_the_list_tells_what_is_overdue(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(NIGHTLY)
    crew("run", "retention", "try")
    store = DirectoryStore("file://", tmp_path / "store")
    (done,) = [entry.key for entry in store.list("try/runs/retention/")]
    body = store.get(done).body
    store.delete([done])
    store.put(tick_key("try", "retention", "shop", datetime.now(UTC) - timedelta(days=9)), body)
    told = crew("schedule", "list", "try", "--json").told["schedule"][1]
    assert told["overdue_since"]
    assert 600 < told["overdue_seconds"] <= 86400
    assert "OVERDUE since" in crew("schedule", "list", "try").out


def test_the_list_tells_what_runs_now(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(NIGHTLY)
    now = datetime.now(UTC)
    holder = holder_to(Holder("r", "host", 1, now, 60.0, renewed=now))
    DirectoryStore("file://", tmp_path / "store").put("try/locks/backup/shop.json", holder)
    backup, retention = crew("schedule", "list", "try", "--json").told["schedule"]
    assert (backup["running"], retention["running"]) == (True, False)
    assert "running now" in crew("schedule", "list", "try").out


def test_the_list_tells_the_last_run(crew: Crew, write: Write) -> None:
    write(ALWAYS)
    assert crew("run", "retention", "try", "--scheduled").code == 0
    (item,) = crew("schedule", "list", "try", "--json").told["schedule"]
    assert item["last"]["outcome"] == "done"
    assert item["words"] == "Every minute"
    assert len(item["next"]) == 3


def test_a_file_without_lines_says_so(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    assert "its file puts nothing on the clock" in crew("schedule", "list", "try").out
    refused = crew("schedule", "export", "systemd", "try")
    assert (refused.code, "puts nothing on the clock; add backup" in refused.err) == (64, True)


def test_an_export_goes_to_a_folder_and_takes_away_what_is_no_longer_on_the_clock(
    crew: Crew, write: Write, tmp_path: Path
) -> None:
    units = tmp_path / "units"
    write(NIGHTLY)
    assert crew("schedule", "export", "systemd", "try", "--output", str(units)).code == 0
    (units / "groundcrew-try-own.service").write_text("# somebody's own\n")
    write(ALWAYS)
    ended = crew("schedule", "export", "systemd", "try", "--output", str(units))
    assert f"removed {units}/groundcrew-try-backup.timer" in ended.out
    assert "systemctl enable --now groundcrew-try-*.timer" in ended.out
    assert sorted(file.name for file in units.iterdir()) == [
        "groundcrew-try-check.service",
        "groundcrew-try-died@.service",
        "groundcrew-try-own.service",
        "groundcrew-try-retention.service",
        "groundcrew-try-retention.timer",
    ]


@pytest.mark.parametrize("target", ["systemd", "cron"])
def test_an_export_leaves_those_of_an_environment_whose_name_begins_alike(
    crew: Crew, write: Write, tmp_path: Path, target: str
) -> None:
    write(NIGHTLY)
    write(NIGHTLY, HEAD.replace('"try"', '"try-eu"'), "try-eu")
    export = ("schedule", "export", target, "--timezone", "Europe/Berlin", "--output", str(tmp_path / "there"))
    assert crew(*export, "try-eu").code == 0
    theirs = set((tmp_path / "there").iterdir())
    assert "removed" not in crew(*export, "try").out
    assert theirs < set((tmp_path / "there").iterdir())


def test_an_export_for_cron_wants_the_timezone_of_its_machine(crew: Crew, write: Write) -> None:
    write(NIGHTLY)
    refused = crew("schedule", "export", "cron", "try", "--timezone", "America/New_York")
    assert refused.code == 64
    assert "cron knows only the timezone of its machine, which is America/New_York" in refused.err
    assert "0 2 * * * groundcrew" in crew("schedule", "export", "cron", "try", "--timezone", "Europe/Berlin").out
    assert crew("schedule", "export", "cron", "try", "--timezone", "Mars/Olympus").code == 64


def test_an_export_for_kubernetes_wants_an_image_and_a_store_in_reach(crew: Crew, write: Write) -> None:
    write(NIGHTLY)
    assert "kubernetes wants --image" in crew("schedule", "export", "kubernetes", "try").err
    refused = crew("schedule", "export", "kubernetes", "try", "--image", "acme/groundcrew:1")
    assert (refused.code, "a directory is on one machine" in refused.err) == (64, True)


def test_status_tells_the_next_run(crew: Crew, write: Write) -> None:
    write(ALWAYS)
    crew("run", "retention", "try", "--scheduled")
    (subject,) = crew("status", "try", "--json").told["environments"][0]["subjects"]
    after = datetime.now(UTC)
    assert datetime.fromisoformat(subject["next"]) - tick_before("* * * * *", ZoneInfo("UTC"), after) <= timedelta(
        minutes=1
    )
    assert "next " in crew("status", "try").out


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"MONITOR_EXIT_CODE": "exited", "MONITOR_EXIT_STATUS": "1", "MONITOR_SERVICE_RESULT": "exit-code"}, None),
        (
            {"MONITOR_EXIT_CODE": "killed", "MONITOR_EXIT_STATUS": "KILL", "MONITOR_SERVICE_RESULT": "oom-kill",
             "MONITOR_UNIT": "groundcrew-try-backup.service", "HOSTNAME": "jobs-1"},
            "try: groundcrew-try-backup.service died without a word (oom-kill: killed KILL); "
            "see journalctl --unit groundcrew-try-backup.service on jobs-1",
        ),
        ({}, "try: a run died without a word (failed); see journalctl on its host"),
    ],
)  # fmt: skip
def test_only_a_run_that_could_not_tell_of_itself_is_told_of(told: dict[str, str], expected: str | None) -> None:
    assert failure_message("try", told) == expected


def test_a_run_that_died_is_told(crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write('[alerts]\nto = ["json://127.0.0.1:1/"]\n')
    monkeypatch.setenv("MONITOR_EXIT_CODE", "exited")
    monkeypatch.setenv("MONITOR_EXIT_STATUS", "1")
    assert "has told of itself" in crew("schedule", "died", "try").out
    monkeypatch.setenv("MONITOR_EXIT_STATUS", "203")
    ended = crew("schedule", "died", "try")
    assert (ended.code, "died without a word" in ended.out) == (1, True)
