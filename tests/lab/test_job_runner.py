"""deploys/job_runner.py on real hosts: groundcrew runs there by the clock, is upgraded, and goes without a trace."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pprint import pformat
from threading import Thread
from typing import Any

import pyrage
import pytest

from deploys.lib.job_runner.release import HELD
from tests.lab.lab import Lab
from tests.lab.pyinfra import ROOT, Told, deploy

PASSWORD, ALERTS = "shop's-own-S3cret", "json://127.0.0.1:1/s3cret-path-of-alerts"
# Tests have a home of their own, and what pip has downloaded for `make setup` is in the other one.
PIP_CACHE = os.environ.get("PIP_CACHE_DIR") or str(Path("~root/.cache/pip").expanduser())
EXPOSED_AT_MOST = 1.6  # of ten, as systemd-analyze security counts

pytestmark = pytest.mark.timeout(900)  # an installation takes half a minute, on a machine that does nothing else

HEADING = """
[environment]
name = "try"
timezone = "Europe/Berlin"
"""
SHOP = """
[store]
url = "file:///var/lib/groundcrew/store"
encrypt_to = ["{public}"]
decrypt_with = {{ file = "/etc/groundcrew/age.key" }}
[databases.shop]
url = "postgresql://backup@127.0.0.1/shop"
password = {{ env = "SHOP_PASSWORD" }}
backup = "* * * * *"
retention = "30 6 * * *"
verify = "0 5 * * 0"
keep = {{ daily = 2 }}
limits = {{ lock = "10m" }}
[alerts]
to = [{{ env = "ALERTS" }}]
[metrics]
textfile = "/var/lib/prometheus/node-exporter/groundcrew.prom"
"""
ONLY_A_PAGE = """
[store]
url = "file:///srv/store"
encrypt_to = "nobody"
[status]
at = "* * * * *"
"""
POSTGRES = {
    "postgres_roles": [{"name": "shop", "password": {"env": "SHOP_PASSWORD"}}],
    "postgres_databases": [{"name": "shop", "owner": "shop"}],
    "postgres_backup": {"name": "backup", "password": {"env": "SHOP_PASSWORD"}},
    "postgres_memory": 256,
}
ASK = "cd / && runuser -u postgres -- psql -qtA shop -c"


def key(lab: Lab) -> tuple[Path, str]:
    """The file of a key pair, and its public half."""
    file = lab.folder / "age.key"
    if not file.exists():
        file.touch(0o600)
        file.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    return file, str(pyrage.x25519.Identity.from_str(file.read_text().strip()).to_public())


def run(lab: Lab, *told: str, text: str = SHOP, root: Path = ROOT, **changed: object) -> Told:
    """The deploy as a person types it, in a repository that has the environment `try`."""
    file, public = key(lab)
    folder = lab.folder / "repository/inventories"
    (folder / "group_data").mkdir(parents=True, exist_ok=True)
    (folder / "try").write_text("")
    (folder / "try.toml").write_text(HEADING + text.format(public=public))
    data = {
        "job_runner_environments": ["try"],
        "job_runner_secrets": {"/etc/groundcrew/age.key": {"file": str(file)}} if text is SHOP else {},
        **POSTGRES,
        **changed,
    }
    (folder / "group_data/lab.py").write_text("".join(f"{name} = {pformat(value)}\n" for name, value in data.items()))
    variables = {"SHOP_PASSWORD": PASSWORD, "ALERTS": ALERTS, "CREW_ROOT": str(folder.parent)}
    given = ("--group-data", str(folder / "group_data"), *told)
    if "postgres" in changed:
        return deploy(lab, *given, "deploys/postgres.py", timeout=600, **variables)
    return deploy(
        lab,
        *given,
        "deploys/job_runner.py",
        cwd=root,
        timeout=600,
        PYTHONPATH=str(root),
        PIP_CACHE_DIR=PIP_CACHE,
        **variables,
    )


def first_run(lab: Lab) -> None:
    host = lab.hosts[0]
    there = run(lab, postgres=True)
    assert there.code == 0, there.text
    lab.ask(host, f"{ASK} 'CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id'")
    told = run(lab, "-vvv", "--diff", "--debug")
    assert told.code == 0, told.text[-6000:]
    secrets = (PASSWORD, ALERTS, "s3cret-path", key(lab)[0].read_text().strip())
    assert [secret for secret in secrets if secret in told.text] == [], "a secret shows in what pyinfra prints"
    (lab.folder / "release").write_text(lab.ask(host, "readlink /opt/groundcrew/current"))


@pytest.fixture
def runner(prepared: Callable[..., Lab]) -> Lab:
    there: Lab = prepared("job_runner", 1, first_run)
    if there.ask(there.hosts[0], "readlink /opt/groundcrew/current") != (there.folder / "release").read_text():
        assert run(there).code == 0  # another test has left an upgrade
    return there


def backups(lab: Lab) -> list[dict[str, Any]]:
    return list(json.loads(lab.ask(lab.hosts[0], "crew backups list try shop --json"))["sets"])


def until(holds: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.3)


STATE = (
    "systemctl show --property=Id,ActiveEnterTimestampMonotonic 'groundcrew-*.timer' systemd-journald; "
    "readlink /opt/groundcrew/current; ls /opt/groundcrew /etc/systemd/system"
)


def test_the_second_run_changes_and_restarts_nothing(runner: Lab) -> None:
    before = runner.ask(runner.hosts[0], STATE)
    told = run(runner)
    assert (told.code, told.changes) == (0, 0), told.text
    assert runner.ask(runner.hosts[0], STATE) == before


def test_its_timer_backs_up_and_leaves_a_record_and_figures(runner: Lab) -> None:
    host = runner.hosts[0]
    until(lambda: backups(runner), 75)
    newest = backups(runner)[0]
    assert newest["database"] == "shop", newest
    ran = json.loads(runner.ask(host, "crew runs try backup --json"))["runs"]
    assert any(each["scheduled"] and each["outcome"] == "done" for each in ran), ran
    assert "groundcrew_last_success_timestamp_seconds" in runner.ask(
        host, "runuser -u nobody -- cat /var/lib/prometheus/node-exporter/groundcrew.prom"
    )
    runner.ask(host, "systemctl start groundcrew-try-retention.service")
    assert "done" in runner.ask(host, "journalctl --unit=groundcrew-try-backup --output=cat --no-pager")


def test_secrets_are_for_root_alone_and_services_can_do_little(runner: Lab) -> None:
    host = runner.hosts[0]
    modes = runner.ask(
        host,
        "stat --format='%a %U:%G %n' /etc/groundcrew /etc/groundcrew/try.toml /etc/groundcrew/age.key "
        "/etc/groundcrew/credentials /etc/groundcrew/credentials/*",
    )
    assert modes.splitlines() == [
        "750 root:groundcrew /etc/groundcrew",
        "640 root:groundcrew /etc/groundcrew/try.toml",
        "600 groundcrew:groundcrew /etc/groundcrew/age.key",
        "700 root:root /etc/groundcrew/credentials",
        "600 root:root /etc/groundcrew/credentials/ALERTS",
        "600 root:root /etc/groundcrew/credentials/SHOP_PASSWORD",
    ]
    assert runner.ssh(host, "runuser -u nobody -- ls /etc/groundcrew").returncode != 0
    assert PASSWORD not in runner.ask(
        host, "systemctl cat 'groundcrew-*'; journalctl --no-pager; ls -R /etc/groundcrew"
    )
    units = runner.ask(host, "cd /etc/systemd/system && ls groundcrew-*.service").split()
    assert len(units) == 5
    for unit in units:
        told = runner.ssh(host, f"systemd-analyze security --no-pager {unit.replace('@', '@x')}").stdout
        exposed = re.search(r"Overall exposure level for \S+ (\d+\.\d+)", told)
        assert exposed, told
        assert float(exposed[1]) <= EXPOSED_AT_MOST, told
    runner.ask(host, "systemd-analyze verify /etc/systemd/system/groundcrew-*.timer")


@contextmanager
def long_run(lab: Lab) -> Iterator[None]:
    """A backup that waits for somebody's lock on a table, as long as this lasts."""
    host = lab.hosts[0]
    say = "runuser -u postgres -- psql -qtA shop -c"
    lab.ask(host, f"cd / && systemd-run --quiet --collect --unit=locks {say} 'BEGIN; LOCK TABLE orders; {SLEEP}'")
    until(lambda: "orders" in lab.ask(host, f'{ASK} "{LOCKED}"'), 20)
    lab.ask(host, BACKS_UP)
    until(lambda: lab.ask(host, f'{ASK} "{WAITING}"') != "0", 20)
    try:
        yield
    finally:
        lab.ask(host, f'{ASK} "{LET_GO}"')


SLEEP = "SELECT pg_sleep(600)"
LET_GO = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'"
BACKS_UP = (
    "systemd-run --quiet --collect --unit=groundcrew-try-now --property=Type=oneshot --no-block --uid=groundcrew "
    "--setenv=HOME=/var/lib/groundcrew --property=LoadCredential=ALERTS:/etc/groundcrew/credentials/ALERTS "
    "--property=LoadCredential=SHOP_PASSWORD:/etc/groundcrew/credentials/SHOP_PASSWORD crew run backup try"
)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
LOCKED = "SELECT relation::regclass FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock'"


def another_state(lab: Lab) -> Path:
    """This repository with a change in it."""
    copied = lab.folder / "copy"
    shutil.rmtree(copied, ignore_errors=True)
    for pattern in (*HELD, "config.py", "LICENSE", "README.md", "inventories/lab", "inventories/group_data/*.py"):
        for file in ROOT.glob(pattern):
            to = copied / file.relative_to(ROOT)
            if file.is_file() and "__pycache__" not in file.parts:
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, to)
    (copied / ".cache").mkdir()
    (copied / ".cache/wheels").symlink_to(ROOT / ".cache/wheels")
    with (copied / "jobs/__init__.py").open("a") as changed:
        changed.write("# Changed.\n")
    return copied


def test_an_upgrade_waits_for_runs_and_a_failed_one_leaves_what_was_there(runner: Lab) -> None:
    host, copied = runner.hosts[0], another_state(runner)
    before = runner.ask(host, "readlink /opt/groundcrew/current")
    with long_run(runner):
        hurried = run(runner, root=copied, job_runner_wait=1)
        assert hurried.code == 1
        assert "groundcrew-try-now.service still runs after 1 s, and nothing changes under it" in hurried.text
        assert runner.ask(host, "readlink /opt/groundcrew/current") == before
        assert running(runner) == TIMERS
        patient: list[Told] = []
        deploying = Thread(target=lambda: patient.append(run(runner, root=copied)))
        deploying.start()
        until(lambda: not running(runner), 60)
        time.sleep(2)
        assert runner.ask(host, "readlink /opt/groundcrew/current") == before, "it waits"
    deploying.join()
    assert patient[0].code == 0, patient[0].text
    ran = json.loads(runner.ask(host, "crew runs try backup --json"))["runs"]
    assert next(each["outcome"] for each in ran if not each["scheduled"]) == "done", ran
    now = runner.ask(host, "readlink /opt/groundcrew/current")
    assert now != before
    assert set(runner.ask(host, "ls /opt/groundcrew").split()) == {now, "current", "wheels"}
    assert running(runner) == TIMERS

    runner.ask(host, "mv /usr/lib/python3.11/ensurepip /usr/lib/python3.11/ensurepip.away")
    broken = run(runner)
    runner.ask(host, "mv /usr/lib/python3.11/ensurepip.away /usr/lib/python3.11/ensurepip")
    assert broken.code == 1
    assert runner.ask(host, "readlink /opt/groundcrew/current; crew --version").split()[:2] == [now, "crew"]
    assert running(runner) == TIMERS


TIMERS = ["groundcrew-try-backup.timer", "groundcrew-try-retention.timer", "groundcrew-try-verify.timer"]


def running(lab: Lab) -> list[str]:
    told = lab.ask(lab.hosts[0], "systemctl list-units --plain --no-legend --state=active 'groundcrew-*.timer'")
    return sorted(line.split()[0] for line in told.splitlines())


def test_what_left_the_file_leaves_the_host_and_what_was_changed_by_hand_is_mended(runner: Lab) -> None:
    host = runner.hosts[0]
    runner.ask(
        host, "echo '# mine' >> /etc/systemd/system/groundcrew-try-backup.service; echo x > /etc/groundcrew/try.toml"
    )
    runner.ask(
        host, "systemctl disable --quiet --now groundcrew-try-retention.timer; chmod 644 /etc/groundcrew/age.key"
    )
    fewer = re.sub(r"(?s)verify = .*?\n|\[alerts\].*?\n(?=\[)", "", SHOP)
    told = run(runner, text=fewer, **{"job_runner_secrets": {"/etc/groundcrew/age.key": {"file": str(key(runner)[0])}}})
    assert (told.code, told.changes) == (0, 2), told.text
    assert running(runner) == TIMERS[:2]
    units = runner.ask(
        host, "ls /etc/systemd/system /etc/systemd/system/timers.target.wants; ls /etc/groundcrew/credentials"
    )
    assert "verify" not in units
    assert "ALERTS" not in units
    assert "mine" not in runner.ask(host, "systemctl cat groundcrew-try-backup.service")
    with runner.process_list(host) as seen:
        back = run(runner)
    assert (back.code, back.changes) == (0, 2), back.text
    assert [line for line in seen if PASSWORD in line or ALERTS in line] == []
    assert any("/etc/groundcrew/credentials/ALERTS" in line for line in seen), "it was looked at while it happened"
    assert running(runner) == TIMERS


def test_what_an_environment_lacks_fails_the_deploy(runner: Lab) -> None:
    wrong = {"file": str(key(runner)[0])}
    told = run(runner, job_runner_secrets={"/etc/groundcrew/age.key": wrong, "SHOP_PASSWORD": wrong})
    assert told.code == 1
    assert "password authentication failed" in told.text
    assert "try can't do its work like this, see above" in told.text
    assert run(runner).code == 0


def test_it_ends_at_once_with_a_sentence(runner: Lab) -> None:
    for changed, said in (
        ({"text": SHOP.replace("SHOP_PASSWORD", "NOBODYS")}, "secret NOBODYS: environment variable NOBODYS is not set"),
        ({"job_runner_environments": ["tri"]}, "there is no environment tri; there are try"),
        ({"text": ONLY_A_PAGE.split("[status]", maxsplit=1)[0]}, "no timers can be made of try"),
        ({"job_runner_secrets": {"/etc/shadow": {"file": "/x"}, "X": {"env": "X"}}}, "/etc/shadow is not the deploy's"),
    ):
        told = run(runner, **changed)
        assert told.code == 1
        assert said in told.text
        assert "Traceback" not in told.text


def test_debian_13_too_and_it_goes_without_a_trace(fresh: Callable[..., Lab]) -> None:
    there = fresh(debian=13)
    host = there.hosts[0]
    first = run(there, text=ONLY_A_PAGE)
    assert first.code == 0, first.text[-3000:]
    there.ask(host, "systemctl start groundcrew-try-status.service && ls /srv/store/try/runs/status")
    again = run(there, text=ONLY_A_PAGE)
    assert (again.code, again.changes) == (0, 0), again.text
    gone = run(there, "--data", "job_runner=absent", text=ONLY_A_PAGE)
    assert gone.code == 0, gone.text
    traces = "find / -xdev -path /proc -prune -o -name '*groundcrew*' -print; getent passwd groundcrew || true"
    (owner,) = there.ask(host, traces).splitlines()
    assert owner.startswith("groundcrew:"), "it stays with what runs have stored"
    assert "try" in there.ask(host, "ls /srv/store").split()
    there.ask(host, "rm -r /srv/store")
    assert run(there, "--data", "job_runner=absent", text=ONLY_A_PAGE).code == 0
    assert there.ask(host, traces) == ""
    assert run(there, "--data", "job_runner=absent", text=ONLY_A_PAGE).changes == 0
