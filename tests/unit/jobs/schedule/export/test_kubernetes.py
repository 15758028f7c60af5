"""CronJobs are valid, hardened, and start at every tick."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import kubernetes_validate
import pytest
import yaml

from inventories import Environment, Repository
from jobs.run.ticks import next_ticks
from jobs.schedule.export import UnsupportedSchedule
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.kubernetes import clock_change_lines, files, kubernetes_fields, resource_name
from jobs.schedule.slots import slots, timers
from tests.unit.jobs.schedule.cron_lines import CRONSIM_ONLY, random_lines

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
DESTINATION = Destination(image="registry.acme.example/groundcrew:1")
MINUTE = timedelta(minutes=1)
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def manifest(environment: Environment, sources: dict[str, Environment] | None = None) -> list[dict[str, Any]]:
    (file,) = files(environment, timers(environment.name, slots(environment)), DESTINATION, sources or {}, NOW)
    return list(yaml.safe_load_all(file.text))


def test_every_object_is_valid(production: Environment) -> None:
    objects = manifest(production)
    assert [each["kind"] for each in objects].count("CronJob") == 7
    for each in objects:
        kubernetes_validate.validate(each, "1.30", strict=True)


def test_a_cron_job_is_hardened_and_leaves_retries_to_crew(production: Environment) -> None:
    backup = next(
        each for each in manifest(production) if each["metadata"]["name"] == "groundcrew-production-backup-shop"
    )
    spec, job = backup["spec"], backup["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (crew,) = pod["containers"]
    assert (spec["concurrencyPolicy"], spec["timeZone"], spec["schedule"]) == ("Forbid", "Europe/Berlin", "0 2 * * *")
    assert spec["startingDeadlineSeconds"] == 86400
    assert (job["backoffLimit"], pod["restartPolicy"], pod["automountServiceAccountToken"]) == (0, "Never", False)
    assert pod["securityContext"]["runAsNonRoot"]
    assert crew["securityContext"]["readOnlyRootFilesystem"]
    assert crew["args"] == ["run", "backup", "production", "--only", "shop", "--scheduled"]


def secret_keys(objects: list[dict[str, Any]], job: str) -> list[str]:
    (found,) = [each for each in objects if each["metadata"]["name"] == job]
    volumes = found["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
    sources = next(each for each in volumes if each["name"] == "credentials")["projected"]["sources"]
    return [item["key"] for source in sources[1:] for item in source["secret"]["items"]]


def test_a_job_gets_only_the_secrets_that_it_reads(production: Environment) -> None:
    objects = manifest(production)
    assert secret_keys(objects, "groundcrew-production-backup-main") == [
        "SLACK_ALERTS_URL", "HEARTBEAT_BACKUP_URL", "MAIN_DB_PASSWORD"
    ]  # fmt: skip
    assert secret_keys(objects, "groundcrew-production-verify") == ["SLACK_ALERTS_URL", "etc.groundcrew.age.key"]
    assert secret_keys(objects, "groundcrew-production-drift") == ["SLACK_ALERTS_URL"]


def with_scratch(repository: Repository, url: str) -> Environment:
    file = repository.root / "production.toml"
    file.write_text(f'{file.read_text()}[verify]\nscratch = "{url}"\n')
    return repository.read("production")


def pod_of(objects: list[dict[str, Any]], job: str) -> dict[str, Any]:
    (found,) = [each for each in objects if each["metadata"]["name"] == job]
    pod: dict[str, Any] = found["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def test_a_scratch_server_runs_in_a_container_without_keys(repository: Repository) -> None:
    objects = manifest(with_scratch(repository, "postgresql://verifier@/postgres?host=/run/scratch"))
    for each in objects:
        kubernetes_validate.validate(each, "1.30", strict=True)
    pod = pod_of(objects, "groundcrew-production-verify")
    (scratch,), (crew,) = pod["initContainers"], pod["containers"]
    assert scratch["restartPolicy"] == "Always"
    assert [(each["name"], each["mountPath"]) for each in scratch["volumeMounts"]] == [
        ("scratch", "/var/lib/scratch"),
        ("scratch-socket", "/run/scratch"),
    ]
    assert not {"env", "envFrom"} & scratch.keys()
    assert scratch["securityContext"] == {**crew["securityContext"], "runAsUser": 10002, "runAsGroup": 10002}
    assert {"name": "scratch-socket", "mountPath": "/run/scratch", "readOnly": True} in crew["volumeMounts"]
    assert not pod.get("shareProcessNamespace")
    assert not pod["automountServiceAccountToken"]


def test_only_verifications_have_a_scratch_server(repository: Repository, production: Environment) -> None:
    objects = manifest(with_scratch(repository, "postgresql://verifier@/postgres?host=/run/scratch"))
    assert "initContainers" not in pod_of(objects, "groundcrew-production-backup-main")
    assert "initContainers" not in pod_of(manifest(production), "groundcrew-production-verify")


def test_a_scratch_server_on_another_socket_is_refused(repository: Repository) -> None:
    with pytest.raises(UnsupportedSchedule, match=r"a pod has no socket in /var/run/postgresql; use host=/run/scratch"):
        manifest(with_scratch(repository, "postgresql://verifier@/postgres?host=/var/run/postgresql"))


def test_a_store_on_one_machine_is_refused(repository: Repository) -> None:
    with pytest.raises(UnsupportedSchedule, match="pods cannot share a directory of one machine; use an S3 store"):
        manifest(repository.read("staging"), {"production": repository.read("production")})


def test_a_database_behind_kubectl_is_refused(repository: Repository) -> None:
    file = repository.root / "production.toml"
    via = 'via = { kubernetes = "shop/statefulset/postgres", context = "prod" }'
    file.write_text(file.read_text().replace("[databases.shop]", f"[databases.shop]\n{via}"))
    with pytest.raises(
        UnsupportedSchedule, match="shop: a pod has no token, so it cannot reach shop/statefulset/postgres"
    ):
        manifest(repository.read("production"))


def test_a_stanza_is_refused(repository: Repository) -> None:
    file = repository.root / "production.toml"
    file.write_text(f'{file.read_text()}[pitr.main]\nstanza = "main"\nverify = "0 5 * * 6"\n')
    with pytest.raises(UnsupportedSchedule, match=r"pitr\.main: the image has no pgBackRest"):
        manifest(repository.read("production"))


def reads(field: str, low: int, high: int) -> set[int]:
    """Return a field's numbers, parsed as strictly as Kubernetes does."""
    found: set[int] = set()
    for term in field.split(","):
        match = re.fullmatch(r"(\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", term)
        assert match, term
        first, last = (
            (low, high) if match[1] == "*" else (int(match[2]), int(match[3] or (high if match[4] else match[2])))
        )
        assert low <= first <= last <= high, term
        found.update(range(first, last + 1, int(match[4] or 1)))
    return found


def starts(line: str, zone: ZoneInfo, start: datetime, hours: int) -> set[datetime]:
    """Return when Kubernetes starts a line: whenever local time matches, twice in a repeated hour."""
    minutes, hours_, dates, months, weekdays = (
        reads(field, *bounds) for field, bounds in zip(line.split(), BOUNDS, strict=True)
    )
    _, _, date, _, weekday = line.split()

    def matches(local: datetime) -> bool:
        days = (local.day in dates, local.isoweekday() % 7 in weekdays)
        return all(days) if "*" in (date, weekday) else any(days)

    moments = [start + n * MINUTE for n in range(hours * 60)]
    return {
        moment
        for moment in moments
        if (local := moment.astimezone(zone)).minute in minutes
        and local.hour in hours_
        and local.month in months
        and matches(local)
    }


@pytest.mark.parametrize(
    "line", [line for line in random_lines(24, seed=2) if "*/" not in line.split()[2] + line.split()[4]]
)
def test_kubernetes_starts_each_tick(line: str) -> None:
    """A start in the second of two repeated hours is harmless: its tick already has a record."""
    for start in (
        datetime(2026, 11, 27, tzinfo=UTC),
        datetime(2027, 3, 27, 12, tzinfo=UTC),
        datetime(2027, 10, 30, 12, tzinfo=UTC),
    ):
        ticks = set(ticks_until(line, start, start + timedelta(hours=48)))
        started = starts(kubernetes_fields(line), BERLIN, start, 48)
        added = set().union(*(starts(extra, BERLIN, start, 48) for extra in clock_change_lines(line, BERLIN, NOW)))
        assert ticks <= started | added
        assert {extra for extra in started - ticks if extra.astimezone(BERLIN).fold == 0} == set()


def ticks_until(line: str, start: datetime, end: datetime) -> list[datetime]:
    from itertools import takewhile

    return list(takewhile(lambda tick: tick < end, next_ticks(line, BERLIN, start - MINUTE)))


@pytest.mark.parametrize(
    ("line", "zone", "extra"),
    [
        ("30 2 * * *", BERLIN, ("0 3 25-31 3 *",)),
        ("30 2 * * *", NEW_YORK, ("0 3 8-14 3 *",)),
        ("0 */6 * * *", BERLIN, ()),
        ("30 2 * * *", ZoneInfo("UTC"), ()),
    ],
)
def test_ticks_of_the_missing_hour_get_extra_lines(line: str, zone: ZoneInfo, extra: tuple[str, ...]) -> None:
    assert clock_change_lines(line, zone, NOW) == extra


@pytest.mark.parametrize("line", [*CRONSIM_ONLY, "0 2 */2 * MON", "0 2 1 * */2"])
def test_lines_that_kubernetes_reads_differently_are_refused(line: str) -> None:
    with pytest.raises(UnsupportedSchedule):
        kubernetes_fields(line)


def test_sunday_is_zero_in_kubernetes() -> None:
    assert kubernetes_fields("0 2 * * 7") == "0 2 * * 0"
    assert kubernetes_fields("0 2 * * 5-7") == "0 2 * * 0,5,6"


def test_a_resource_name_is_short_and_unique() -> None:
    assert resource_name("groundcrew-production-backup") == "groundcrew-production-backup"
    long = "groundcrew-production-backup-a-database-with-quite-a-long-name"
    assert len(resource_name(long)) <= 52
    assert resource_name(long) != resource_name(long + "r")
    assert resource_name("groundcrew-production-backup-Shop_1") != resource_name("groundcrew-production-backup-shop_1")
