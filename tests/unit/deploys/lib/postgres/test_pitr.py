"""Point-in-time recovery: what group data may say, and what is written for it."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.lib.postgres import pitr
from deploys.lib.postgres.pitr import Pitr
from deploys.lib.preflight import DeployError

S3 = {"bucket": "acme-pitr", "region": "eu-central-1", "endpoint": "s3.eu-central-1.amazonaws.com"}
KEYS = {"access_key": {"env": "PITR_KEY"}, "secret_key": {"env": "PITR_SECRET"}}
REPOSITORY: dict[str, Any] = {"s3": {**S3, **KEYS}, "cipher": {"env": "PITR_CIPHER"}, "keep": {"full": 4}}
GIVEN: dict[str, Any] = {"stanza": "main", "full": "0 3 * * 0", "repositories": [REPOSITORY]}


def faults(**changed: Any) -> list[str]:
    return [fault.removeprefix("postgres_pitr: ") for fault in pitr.faults({**GIVEN, **changed}, {})]


def with_s3(**changed: object) -> dict[str, Any]:
    return {"repositories": [{**REPOSITORY, "s3": {**S3, **KEYS, **changed}}]}


def with_repository(**changed: object) -> dict[str, Any]:
    return {"repositories": [{**REPOSITORY, **changed}]}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"diff": "0 3 * * 1-6", "incr": "30 */4 * * *", "queue": "100GiB"}, []),
        (with_s3(folder="shop/main", path_style=True, verify_tls=False, endpoint="10.0.0.5:8333"), []),
        (with_repository(s3=S3, cipher="none", keep={"days": 30, "diff": 7}), []),
        ({"stanza": "Main;x"}, ['stanza: write a name of a-z, 0-9, - and _, such as "main"']),
        ({"full": ""}, ['full is missing; write when to make full backups, such as "0 3 * * 0"']),
        (
            {"incr": "0 3 1 * 1"},
            [
                "incr: '0 3 1 * 1': write days or weekdays, not both; "
                'use five fields, minute hour day month weekday, such as "0 3 * * 0"'
            ],
        ),
        ({"queue": "16GB"}, ["queue: '16GB' is not a size; write one such as \"16GiB\""]),
        ({"repositories": []}, ["repositories: list one to 3"]),
        ({"repositories": [REPOSITORY] * 4}, ["repositories: list one to 3"]),
        (with_s3(bucket="a\nb"), ["repository 1: s3: bucket: 'a\\nb' has a character that is not allowed"]),
        (
            with_s3(endpoint="https://s3.acme.example"),
            ["repository 1: s3: endpoint: write a host without https://, such as s3.eu-central-1.amazonaws.com"],
        ),
        (with_s3(region=""), ["repository 1: s3: region is missing"]),
        (with_s3(verify_tls="no"), ["repository 1: s3: verify_tls: write True or False"]),
        (
            with_repository(s3={**S3, "access_key": {"env": "PITR_KEY"}}),
            [
                "repository 1: s3: write both access_key and secret_key, or neither if the host has a role "
                "for the bucket"
            ],
        ),
        (
            with_repository(cipher="a literal"),
            [
                'repository 1: cipher: write {"env": "A_VARIABLE"}, {"file": "/a/path"} or '
                '{"command": ["a", "program"]}; or "none" for a repository that is not encrypted'
            ],
        ),
        (
            with_repository(keep={}),
            ['repository 1: keep: write {"full": 4} for four full backups, or {"days": 30} for a window of 30 days'],
        ),
        (with_repository(keep={"full": 0}), ["repository 1: keep: full: 0 is not a number of at least 1"]),
        ({"fulll": 1}, ["no such key: fulll; allowed: diff, full, incr, queue, repositories, stanza"]),
    ],
)
def test_each_mistake_in_group_data_is_a_fault(changed: dict[str, Any], expected: list[str]) -> None:
    assert faults(**changed) == expected


def test_settings_that_it_sets_itself_are_faults() -> None:
    assert list(pitr.faults(GIVEN, {"archive_command": "true"})) == [
        "postgres_settings: archive_command: postgres_pitr sets it; remove it"
    ]
    assert list(pitr.faults("main", {})) == ["postgres_pitr: write a dictionary with stanza, repositories and full"]


def test_two_servers_cannot_share_a_stanza() -> None:
    assert list(pitr.shared_stanza_faults("db-1", {"db-1": "main", "db-2": "other"})) == []
    (fault,) = pitr.shared_stanza_faults("db-1", {"db-1": "main", "db-2": "main"})
    assert fault.startswith("postgres_pitr: db-2 has the stanza main too, and two servers can't share one; ")


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEY", "SECRET", "CIPHER"):
        monkeypatch.setenv(f"PITR_{name}", f"{name.lower()}-for-tests")


def settings(**changed: object) -> Pitr:
    return Pitr.from_group_data({**GIVEN, **changed}, 40_000)


@pytest.mark.usefixtures("secrets")
def test_the_configuration_has_each_repository_and_the_server() -> None:
    other = {"s3": {**S3, "endpoint": "10.0.0.5:8333", "folder": "/shop/", "path_style": True, "verify_tls": False}}
    both = settings(repositories=[REPOSITORY, {**other, "cipher": "none", "keep": {"days": 30, "diff": 7}}])
    text = pitr.config_text(both, 17, 4)
    lines = text.reveal().splitlines()
    assert {
        "archive-async=y", "archive-push-queue-max=8GiB", "process-max=2",
        "repo1-path=/", "repo1-s3-uri-style=host", "repo1-s3-key=key-for-tests", "repo1-s3-key-secret=secret-for-tests",
        "repo1-cipher-type=aes-256-cbc", "repo1-cipher-pass=cipher-for-tests", "repo1-retention-full-type=count",
        "repo1-retention-full=4", "repo2-path=/shop", "repo2-s3-endpoint=10.0.0.5", "repo2-storage-port=8333",
        "repo2-storage-verify-tls=n", "repo2-s3-key-type=auto", "repo2-retention-full-type=time",
        "repo2-retention-full=30", "repo2-retention-diff=7", "[main]", "pg1-path=/var/lib/postgresql/17/main",
    } <= set(lines)  # fmt: skip
    assert not any(line.startswith(("repo1-storage", "repo2-cipher", "repo2-s3-key=")) for line in lines)
    assert "for-tests" not in repr(text)


@pytest.mark.parametrize(("disk", "queue"), [(1000, 1), (8192, 2), (40_000, 8), (64_000, 8), (66_000, 16)])
def test_the_default_queue_is_at_most_a_quarter_of_the_disk(disk: int, queue: int) -> None:
    assert pitr.default_queue(disk) == f"{queue}GiB"


@pytest.mark.usefixtures("secrets")
def test_a_secret_of_several_lines_cannot_add_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PITR_CIPHER", "first\nrepo1-path=/etc")
    with pytest.raises(DeployError, match="repository 1: cipher: the secret has several lines"):
        pitr.config_text(settings(), 17, 4)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 3 * * 0", "Sun *-*-* 03:00:00"),
        ("0 3 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 03:00:00"),
        ("30 9-21/4 1,15 * *", "*-*-01,15 09,13,17,21:30:00"),
        ("*/20 * * 1 7", "Sun *-01-* *:00,20,40:00"),
    ],
)
def test_a_cron_line_becomes_a_calendar_expression(line: str, expected: str) -> None:
    assert pitr.calendar_expression(line) == expected


@pytest.mark.parametrize("line", ["0 3 * * 5L", "0 3 L * *", "0 3 * * 1#2", "@daily", "0 3 * *", "61 3 * * *", ""])
def test_a_line_that_systemd_cannot_follow_is_a_fault(line: str) -> None:
    assert pitr.cron_fault(line)


def test_the_longest_gap_is_that_of_all_types_together() -> None:
    assert pitr.longest_gap({"full": "0 3 * * 0"}) == 7 * 86400
    assert pitr.longest_gap({"full": "0 3 * * 0", "diff": "0 3 * * 1-6"}) == 86400
    assert pitr.longest_gap({"full": "0 3 * * 0", "incr": "0 9-17 * * 1-5"}) == 34 * 3600


def test_the_units_run_one_backup_at_a_time_as_postgres() -> None:
    both = settings(repositories=[REPOSITORY, REPOSITORY], incr="0 9 * * *")
    units = pitr.pitr_units(both, 17)
    assert sorted(path.rsplit("/", 1)[1] for path in units) == [
        "groundcrew-pitr-backup@.service",
        "groundcrew-pitr-full.timer",
        "groundcrew-pitr-incr.timer",
        "groundcrew-pitr-metrics.service",
        "groundcrew-pitr-metrics.timer",
    ]
    incr = units["/etc/systemd/system/groundcrew-pitr-incr.timer"]
    assert "OnCalendar=*-*-* 09:00:00\nPersistent=true\nUnit=groundcrew-pitr-backup@incr.service\n" in incr
    assert "User=postgres" in units["/etc/systemd/system/groundcrew-pitr-backup@.service"]
    program = pitr.backup_program(both)
    assert "repositories='1 2'\n" in program
    assert "flock 9\nfor repository in $repositories; do\n" in program
    assert "--stanza=main --repo=$repository" in program
