"""WAL that does not reach its repository: the host's metrics and `crew check` say so, and nothing is lost after it.

`tests/integration/jobs/monitoring/test_rules.py` shows that these metrics raise their alerts within 15 minutes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploys.lib.postgres import pitr_metrics
from tests.parts.crew import Repository
from tests.parts.needs import needs
from tests.parts.patience import until
from tests.parts.pgbackrest import CIPHER, STANZA, Archiving, archiving
from tests.parts.postgres import DISTRIBUTION

MAJOR = max(DISTRIBUTION, default=0)
# As the deploy configures it: a background process sends several segments at once, and drops them if too many wait.
# If that process ends just as PostgreSQL asks for the next segment, PostgreSQL waits for the timeout and asks again.
ASYNC = "archive-async=y\nprocess-max=2\narchive-push-queue-max=64MiB\n[global:archive-push]\narchive-timeout=5\n"
SEGMENTS_IN_QUEUE = 4


@pytest.fixture(scope="module")
def main() -> Iterator[Archiving]:
    """A server with a full backup."""
    with archiving(MAJOR, ASYNC) as server:
        server.run("CREATE TABLE ticks (at timestamptz)")
        server.call("backup")
        yield server


@pytest.fixture
def repository(tmp_path: Path, main: Archiving, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An environment with the stanza, and the metrics program of its host."""
    monkeypatch.setenv("PGBACKREST_CONFIG", str(main.config))
    monkeypatch.setattr("jobs.pitr.stanza._TRAVELS", timedelta(0))
    made = Repository(tmp_path)
    configure(made, main)
    return made


def configure(repository: Repository, main: Archiving, behind: str = "1d") -> None:
    """Write the environment's file, with the age from which the archive counts as behind."""
    limits = f'limits = {{ behind = "{behind}" }}'
    repository.environment(text=f'[pitr.main]\nstanza = "{STANZA}"\nconfig = "{main.config}"\n{limits}\n')


def metrics(main: Archiving) -> Mapping[str, float]:
    output = StringIO()
    with redirect_stdout(output):
        pitr_metrics.main([STANZA, "1", str(main.server.running.data), "86400"])
    families = text_string_to_metric_families(output.getvalue())
    return {each.name.removeprefix("groundcrew_pitr_"): each.samples[-1].value for each in families}


def write(main: Archiving) -> None:
    """Write a WAL segment."""
    main.run("INSERT INTO ticks VALUES (now())", "SELECT pg_switch_wal()")


def waits(main: Archiving) -> bool:
    found = metrics(main)
    return found["archive_waiting_segments"] > 0 and found["archive_lag_seconds"] > 0


def waiting(main: Archiving) -> float:
    main.run("SELECT pg_reload_conf()")  # it wakes the archiver, which rests for a minute after errors
    return metrics(main)["archive_waiting_segments"]


def check(repository: Repository) -> tuple[str, str]:
    found = repository.crew("check", "staging", "--json").json["checks"]
    [of_stanza] = [each for each in found if each["check"] == "pitr main"]
    return of_stanza["verdict"], of_stanza["fact"]


@needs("pgbackrest", "bwrap")
@pytest.mark.parametrize("fault", ["a repository that is gone", "a wrong key"])
def test_wal_waits_and_is_sent_later(
    main: Archiving, repository: Repository, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    gone, config = main.folder / "gone", main.config.read_text()
    if fault == "a wrong key":
        main.config.write_text(config.replace(CIPHER, "an0ther-cipher-of-these-tests"))
        reason, measured = "it can't be decrypted", "FormatError"
    else:
        main.repository.rename(gone)
        reason = measured = "missing stanza path"
    write(main)
    until(lambda: waits(main))
    capfd.readouterr()
    assert metrics(main)["repository_ok"] == 0
    assert measured in capfd.readouterr().err
    verdict, fact = check(repository)
    assert (verdict, reason in fact) == ("fault", True), fact
    if fault == "a wrong key":
        main.config.write_text(config)
    else:
        gone.rename(main.repository)
    until(lambda: waiting(main) == 0, 60)
    found = metrics(main)
    assert (found["repository_ok"], found["archive_dropped"]) == (1, 0)
    assert check(repository)[0] == "ok"


@contextmanager
def small_disk(main: Archiving, folder: Path) -> Iterator[None]:
    """Move a folder of the server to a file system of its own, of 32 MiB."""
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=750", "small", folder], check=True)
    try:
        main.give(folder)
        subprocess.run(["cp", "--archive", f"{kept}/.", folder], check=True)
        yield
    finally:
        subprocess.run(["cp", "--archive", f"{folder}/.", kept], check=True)
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()
        kept.rename(folder)


def fill(folder: Path) -> Path:
    """Write a file until the disk is full, and return it."""
    filler = folder / "filler"
    full = subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True, text=True, check=False)
    assert "No space left on device" in full.stderr
    return filler


@needs("pgbackrest", "bwrap", "lab")
@pytest.mark.parametrize("what", ["repository", "spool"])
def test_wal_waits_for_space_on_a_full_disk(main: Archiving, repository: Repository, what: str) -> None:
    """The repository can be read, so only the WAL that waits and its age tell of the fault."""
    folder = main.folder / what
    with small_disk(main, folder):
        filler = fill(folder)
        write(main)
        until(lambda: waits(main))
        assert metrics(main)["repository_ok"] == 1
        configure(repository, main, behind="1s")
        until(lambda: check(repository)[0] == "warn", saw=lambda: check(repository))
        assert "does not archive" in check(repository)[1]
        filler.unlink()
        until(lambda: waiting(main) == 0, 60)
        configure(repository, main)
        assert metrics(main)["archive_dropped"] == 0
        assert check(repository)[0] == "ok"


@needs("pgbackrest", "bwrap")
def test_a_full_queue_is_dropped_and_the_gap_is_named(main: Archiving, repository: Repository) -> None:
    """The disk does not fill up. The price is a gap, which stays a fault until the next backup."""
    gone = main.folder / "gone"
    main.repository.rename(gone)

    for _ in range(SEGMENTS_IN_QUEUE + 2):
        write(main)
    until(lambda: waiting(main) < SEGMENTS_IN_QUEUE + 2)
    gone.rename(main.repository)
    write(main)
    until(lambda: waiting(main) == 0, 60)
    assert metrics(main)["archive_dropped"] == 1
    verdict, fact = check(repository)
    assert (verdict, "is missing, so no later moment can be restored" in fact) == ("fault", True), fact
    main.call("--type=full", "backup")
    assert metrics(main)["archive_dropped"] == 0
    assert check(repository)[0] == "ok"
