"""deploys/job_runner.py on booted hosts: installation, scheduled runs, upgrade and removal."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pprint import pformat
from threading import Thread
from typing import Any

import pytest

from deploys.lib.job_runner.release import SOURCES
from jobs.backup import new_keys
from jobs.schedule.export.files import render
from tests.lab.lab import Lab
from tests.lab.pyinfra import ROOT, PyinfraRun, deploy
from tests.parts import intruder
from tests.parts.intruder import Targets
from tests.parts.patience import until

PASSWORD, ALERTS = "shop's-own-S3cret", "json://127.0.0.1:1/s3cret-path-of-alerts"
# Tests have their own home folder. Use the pip cache that `make setup` has filled.
PIP_CACHE = os.environ.get("PIP_CACHE_DIR") or str(Path("~root/.cache/pip").expanduser())
MOST_EXPOSURE = 1.6  # of ten, as systemd-analyze security counts
MOST_EXPOSURE_OF_SANDBOX = 2.7  # bubblewrap needs namespaces, mounts and openat2

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
sign_with = {{ file = "/etc/groundcrew/signing.key" }}
trust = ['{signing}', '{verification}']
[verify]
sign_with = {{ env = "VERIFY_KEY" }}
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
STATUS_ONLY = """
[store]
url = "file:///srv/store"
encrypt_to = "nobody"
sign_with = "nobody"
[status]
at = "* * * * *"
"""
HOSTS = """
[hosts]
check = "0 7 * * *"
deploys = ["host"]
ssh_key = {{ env = "HOSTS_KEY" }}
known_hosts = "known_hosts"
"""
POSTGRES = {
    "postgres_roles": [{"name": "shop", "password": {"env": "SHOP_PASSWORD"}}],
    "postgres_databases": [{"name": "shop", "owner": "shop"}],
    "postgres_backup": {"name": "backup", "password": {"env": "SHOP_PASSWORD"}},
    "postgres_memory": 256,
}
ASK = "cd / && runuser -u postgres -- psql -qtA shop -c"


def keys(lab: Lab) -> dict[str, str]:
    """Return the public keys of the environment. The secret keys are in files of the lab's folder."""
    public = lab.folder / "public.json"
    if not public.exists():
        made = new_keys(lab.folder / "age.key", "try")
        for each in made.files:
            each.path.touch(0o600)
            each.path.write_text(each.text)
        names = ("public", "signing", "verification")
        public.write_text(json.dumps({name: each.public for name, each in zip(names, made.files, strict=True)}))
    return dict(json.loads(public.read_text()))


def given_keys(lab: Lab) -> dict[str, dict[str, str]]:
    """Return where the deploy finds the secret keys."""
    return {
        "/etc/groundcrew/age.key": {"file": str(lab.folder / "age.key")},
        "/etc/groundcrew/signing.key": {"file": str(lab.folder / "age.signing.key")},
        "VERIFY_KEY": {"file": str(lab.folder / "age.verify.key")},
    }


def run(lab: Lab, *options: str, text: str = SHOP, root: Path = ROOT, **changed: object) -> PyinfraRun:
    """Run the deploy from the command line, in a repository with the environment `try`."""
    public_keys = keys(lab)
    folder = lab.folder / "repository/inventories"
    (folder / "group_data").mkdir(parents=True, exist_ok=True)
    (folder / "try").write_text(f"servers = [({lab.hosts[0].address!r}, {{'ssh_user': 'root'}})]\n")
    shutil.copy(lab.home / ".ssh/known_hosts", folder)
    (folder / "try.toml").write_text(HEADING + text.format(**public_keys))
    data = {
        "job_runner_environments": ["try"],
        "job_runner_secrets": given_keys(lab) if text is SHOP else {},
        **POSTGRES,
        **changed,
    }
    (folder / "group_data/lab.py").write_text("".join(f"{name} = {pformat(value)}\n" for name, value in data.items()))
    variables = {"SHOP_PASSWORD": PASSWORD, "ALERTS": ALERTS, "CREW_ROOT": str(folder.parent)}
    arguments = ("--group-data", str(folder / "group_data"), *options)
    if "postgres" in changed:
        return deploy(lab, *arguments, "deploys/postgres.py", timeout=600, **variables)
    return deploy(
        lab,
        *arguments,
        "deploys/job_runner.py",
        cwd=root,
        timeout=600,
        PYTHONPATH=str(root),
        PIP_CACHE_DIR=PIP_CACHE,
        **variables,
    )


def first_run(lab: Lab) -> None:
    host = lab.hosts[0]
    postgres = run(lab, postgres=True)
    assert postgres.code == 0, postgres.text
    lab.ask(host, f"{ASK} 'CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id'")
    result = run(lab, "-vvv", "--diff", "--debug")
    assert result.code == 0, result.text[-6000:]
    lines = [line for file in lab.folder.glob("age*.key") for line in file.read_text().splitlines()]
    secrets = (PASSWORD, ALERTS, "s3cret-path", *(line for line in lines if not line.startswith(("#", "---"))))
    assert [secret for secret in secrets if secret in result.text] == [], "pyinfra prints a secret"
    (lab.folder / "release").write_text(lab.ask(host, "readlink /opt/groundcrew/current"))


@pytest.fixture
def runner(prepared: Callable[..., Lab]) -> Lab:
    lab: Lab = prepared("job_runner", 1, first_run)
    if lab.ask(lab.hosts[0], "readlink /opt/groundcrew/current") != (lab.folder / "release").read_text():
        again = run(lab)  # another test has left an upgrade
        assert again.code == 0, again.text
    return lab


def backups(lab: Lab) -> list[dict[str, Any]]:
    return list(json.loads(lab.ask(lab.hosts[0], "crew backups list try shop --json"))["sets"])


STATE = (
    "systemctl show --property=Id,ActiveEnterTimestampMonotonic 'groundcrew-*.timer' systemd-journald; "
    "readlink /opt/groundcrew/current; ls /opt/groundcrew /etc/systemd/system"
)


def test_the_second_run_changes_and_restarts_nothing(runner: Lab) -> None:
    before = runner.ask(runner.hosts[0], STATE)
    result = run(runner)
    assert (result.code, result.changes) == (0, 0), result.text
    assert runner.ask(runner.hosts[0], STATE) == before


def test_a_timer_starts_a_backup_which_writes_a_record_and_metrics(runner: Lab) -> None:
    host = runner.hosts[0]
    until(lambda: backups(runner), 75)
    newest = backups(runner)[0]
    assert newest["database"] == "shop", newest
    records = json.loads(runner.ask(host, "crew runs try backup --json"))["runs"]
    assert any(each["scheduled"] and each["outcome"] == "done" for each in records), records
    assert "groundcrew_last_success_timestamp_seconds" in runner.ask(
        host, "runuser -u nobody -- cat /var/lib/prometheus/node-exporter/groundcrew.prom"
    )
    runner.ask(host, "systemctl start groundcrew-try-retention.service")
    assert "done" in runner.ask(
        host, "journalctl --sync; journalctl --unit=groundcrew-try-backup --output=cat --no-pager"
    )


def test_only_root_reads_secrets_and_services_are_hardened(runner: Lab) -> None:
    host = runner.hosts[0]
    modes = runner.ask(
        host,
        "stat --format='%a %U:%G %n' /etc/groundcrew /etc/groundcrew/try.toml /etc/groundcrew/*.key "
        "/etc/groundcrew/credentials /etc/groundcrew/credentials/*",
    )
    assert modes.splitlines() == [
        "750 root:groundcrew /etc/groundcrew",
        "640 root:groundcrew /etc/groundcrew/try.toml",
        "600 groundcrew:groundcrew /etc/groundcrew/age.key",
        "600 groundcrew:groundcrew /etc/groundcrew/signing.key",
        "700 root:root /etc/groundcrew/credentials",
        "600 root:root /etc/groundcrew/credentials/ALERTS",
        "600 root:root /etc/groundcrew/credentials/SHOP_PASSWORD",
        "600 root:root /etc/groundcrew/credentials/VERIFY_KEY",
    ]
    assert runner.ssh(host, "runuser -u nobody -- ls /etc/groundcrew").returncode != 0
    assert PASSWORD not in runner.ask(
        host, "systemctl cat 'groundcrew-*'; journalctl --sync; journalctl --no-pager; ls -R /etc/groundcrew"
    )
    units = runner.ask(host, "cd /etc/systemd/system && ls groundcrew-*.service").split()
    assert len(units) == 5
    for unit in units:
        output = runner.ssh(host, f"systemd-analyze security --no-pager {unit.replace('@', '@x')}").stdout
        exposure = re.search(r"Overall exposure level for \S+ (\d+\.\d+)", output)
        assert exposure, output
        assert float(exposure[1]) <= (MOST_EXPOSURE_OF_SANDBOX if "verify" in unit else MOST_EXPOSURE), output
    runner.ask(host, "systemd-analyze verify /etc/systemd/system/groundcrew-*.timer")


def test_hostile_code_in_a_set_reaches_nothing_from_the_verification_service(runner: Lab) -> None:
    host, psql = runner.hosts[0], "cd / && runuser -u postgres -- psql -qtA --set=ON_ERROR_STOP=1 shop"
    runner.ask(host, "systemd-run --quiet --collect --unit=bystander --uid=groundcrew sleep 600")
    targets = Targets(
        file="/etc/groundcrew/age.key",
        pid=int(runner.ask(host, "systemctl show --property=MainPID --value bystander")),
        psql=("/usr/lib/postgresql/15/bin/psql",),
        tcp=("127.0.0.1", 5432),
        socket=("/run/postgresql", 5432),
        folder="/var/lib/groundcrew",
    )
    runner.ask(host, f"{psql} <<'END'\nSET ROLE shop;\n{intruder.PLANT}{intruder.arm(targets)}END\n")
    try:
        runner.ask(host, START_BACKUP.replace("--no-block", "--wait"))
        assert runner.ssh(host, "systemctl start groundcrew-try-verify.service").returncode != 0
        journal = runner.ask(host, "journalctl --sync; journalctl --unit=groundcrew-try-verify --output=cat --no-pager")
        assert "reached: user psql." in journal, journal
        runner.ask(host, "systemctl is-active bystander && ! ls /var/lib/groundcrew/written")
    finally:
        runner.ask(host, f"{psql} -c 'DROP TABLE planted'; systemctl stop bystander")


@contextmanager
def long_run(lab: Lab) -> Iterator[None]:
    """Keep a backup waiting for a lock on a table while the context is open."""
    host = lab.hosts[0]
    psql = "runuser -u postgres -- psql -qtA shop -c"
    lab.ask(host, f"cd / && systemd-run --quiet --collect --unit=locks {psql} 'BEGIN; LOCK TABLE orders; {SLEEP}'")
    until(lambda: "orders" in lab.ask(host, f'{ASK} "{LOCKED}"'), 20)
    lab.ask(host, START_BACKUP)
    until(lambda: lab.ask(host, f'{ASK} "{WAITING}"') != "0", 20)
    try:
        yield
    finally:
        lab.ask(host, f'{ASK} "{END_LOCK}"')


WAITS_FOR_RUNS = "pgrep --exact sleep --parent $(systemctl show --property=MainPID --value groundcrew-switch)"
SLEEP = "SELECT pg_sleep(600)"
END_LOCK = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'"
START_BACKUP = (
    "systemd-run --quiet --collect --unit=groundcrew-try-now --property=Type=oneshot --no-block --uid=groundcrew "
    "--setenv=HOME=/var/lib/groundcrew --property=LoadCredential=ALERTS:/etc/groundcrew/credentials/ALERTS "
    "--property=LoadCredential=SHOP_PASSWORD:/etc/groundcrew/credentials/SHOP_PASSWORD crew run backup try"
)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
LOCKED = "SELECT relation::regclass FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock'"


def changed_repository(lab: Lab) -> Path:
    """Return a copy of this repository with one change."""
    copied = lab.folder / "copy"
    shutil.rmtree(copied, ignore_errors=True)
    for pattern in (*SOURCES, "config.py", "LICENSE", "README.md", "inventories/lab", "inventories/group_data/*.py"):
        for file in ROOT.glob(pattern):
            target = copied / file.relative_to(ROOT)
            if file.is_file() and "__pycache__" not in file.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
    (copied / ".cache").mkdir()
    (copied / ".cache/wheels").symlink_to(ROOT / ".cache/wheels")
    with (copied / "jobs/__init__.py").open("a") as changed:
        changed.write("# Changed.\n")
    return copied


@pytest.mark.long
def test_an_upgrade_waits_for_active_runs_and_a_failed_one_changes_nothing(runner: Lab) -> None:
    host, copied = runner.hosts[0], changed_repository(runner)
    before = runner.ask(host, "readlink /opt/groundcrew/current")
    with long_run(runner):
        hurried = run(runner, root=copied, job_runner_wait=1)
        assert hurried.code == 1, hurried.text
        assert "groundcrew-try-now.service still runs after 1 s, so nothing was changed" in hurried.text
        assert runner.ask(host, "readlink /opt/groundcrew/current") == before
        assert active_timers(runner) == TIMERS
        results: list[PyinfraRun] = []
        deploying = Thread(target=lambda: results.append(run(runner, root=copied)))
        deploying.start()
        until(lambda: not active_timers(runner), 60)
        until(lambda: runner.ssh(host, WAITS_FOR_RUNS).returncode == 0, 20)
        assert runner.ask(host, "readlink /opt/groundcrew/current") == before, "the upgrade waits for the run"
    deploying.join()
    assert results[0].code == 0, results[0].text
    records = json.loads(runner.ask(host, "crew runs try backup --json"))["runs"]
    assert next(each["outcome"] for each in records if not each["scheduled"]) == "done", records
    now = runner.ask(host, "readlink /opt/groundcrew/current")
    assert now != before
    assert set(runner.ask(host, "ls /opt/groundcrew").split()) == {now, "current", "wheels"}
    assert active_timers(runner) == TIMERS

    runner.ask(host, "mv /usr/lib/python3.11/ensurepip /usr/lib/python3.11/ensurepip.away")
    broken = run(runner)
    runner.ask(host, "mv /usr/lib/python3.11/ensurepip.away /usr/lib/python3.11/ensurepip")
    assert broken.code == 1, broken.text
    assert runner.ask(host, "readlink /opt/groundcrew/current; crew --version").split()[:2] == [now, "crew"]
    assert active_timers(runner) == TIMERS


TIMERS = ["groundcrew-try-backup.timer", "groundcrew-try-retention.timer", "groundcrew-try-verify.timer"]


def active_timers(lab: Lab) -> list[str]:
    output = lab.ask(lab.hosts[0], "systemctl list-units --plain --no-legend --state=active 'groundcrew-*.timer'")
    return sorted(line.split()[0] for line in output.splitlines())


def test_removed_settings_leave_the_host_and_manual_changes_are_reverted(runner: Lab) -> None:
    host = runner.hosts[0]
    runner.ask(
        host, "echo '# mine' >> /etc/systemd/system/groundcrew-try-backup.service; echo x > /etc/groundcrew/try.toml"
    )
    runner.ask(
        host, "systemctl disable --quiet --now groundcrew-try-retention.timer; chmod 644 /etc/groundcrew/age.key"
    )
    fewer = re.sub(r"(?s)verify = .*?\n|\[alerts\].*?\n(?=\[)", "", SHOP)
    result = run(runner, text=fewer, job_runner_secrets=given_keys(runner))
    assert (result.code, result.changes) == (0, 2), result.text
    assert active_timers(runner) == TIMERS[:2]
    units = runner.ask(
        host, "ls /etc/systemd/system /etc/systemd/system/timers.target.wants; ls /etc/groundcrew/credentials"
    )
    assert "verify" not in units
    assert "ALERTS" not in units
    assert "mine" not in runner.ask(host, "systemctl cat groundcrew-try-backup.service")
    with runner.process_list(host) as processes:
        back = run(runner)
    assert (back.code, back.changes) == (0, 2), back.text
    assert [line for line in processes if PASSWORD in line or ALERTS in line] == []
    assert any("/etc/groundcrew/credentials/ALERTS" in line for line in processes), (
        "the deploy was recorded while it ran"
    )
    assert active_timers(runner) == TIMERS


def test_a_failed_check_fails_the_deploy(runner: Lab) -> None:
    wrong = {"file": str(runner.folder / "age.key")}
    result = run(runner, job_runner_secrets={**given_keys(runner), "SHOP_PASSWORD": wrong})
    assert result.code == 1, result.text
    assert "password authentication failed" in result.text
    assert "but the check of try failed, see above" in result.text
    assert run(runner).code == 0


@pytest.mark.long
def test_mistakes_in_group_data_stop_it_with_a_message(runner: Lab) -> None:
    for changed, expected in (
        ({"text": SHOP.replace("SHOP_PASSWORD", "NOBODYS")}, "secret NOBODYS: environment variable NOBODYS is not set"),
        ({"job_runner_environments": ["tri"]}, "environment tri does not exist (existing: try)"),
        ({"text": STATUS_ONLY.split("[status]", maxsplit=1)[0]}, "exporting the timers of try failed"),
        ({"job_runner_secrets": {"/etc/shadow": {"file": "/x"}, "X": {"env": "X"}}}, "/etc/shadow is outside of"),
    ):
        result = run(runner, **changed)
        assert result.code == 1, result.text
        assert expected in result.text
        assert "Traceback" not in result.text


@pytest.mark.long
def test_debian_13_works_and_a_removal_leaves_no_trace(fresh: Callable[..., Lab]) -> None:
    lab = fresh(debian=13)
    host, hosts_key = lab.hosts[0], {"HOSTS_KEY": {"file": str(lab.home / ".ssh/id_ed25519")}}
    first = run(lab, text=STATUS_ONLY + HOSTS, job_runner_secrets=hosts_key)
    assert first.code == 0, first.text[-3000:]
    lab.ask(host, "systemctl start groundcrew-try-status.service && ls /srv/store/try/runs/*/*.status.done.page.json")
    lab.ask(host, "systemctl start groundcrew-try-hosts.service")
    [compared] = json.loads(lab.ask(host, "crew runs try hosts host --json"))["runs"]
    assert compared["figures"]["not_compared"] == 0, compared
    hardening = render("systemd.hardening.j2", isolates=True, folders=(), hidden=()).splitlines()
    properties = [f"--property={line}" for line in hardening if "=" in line and not line.startswith("#")]
    started = ["systemd-run", "--quiet", "--wait", "--collect", "--uid=groundcrew", *properties]
    lab.ask(host, shlex.join([*started, *shlex.split("bwrap --unshare-user --unshare-pid --ro-bind / / true")]))
    again = run(lab, text=STATUS_ONLY + HOSTS, job_runner_secrets=hosts_key)
    assert (again.code, again.changes) == (0, 0), again.text
    removed = run(lab, "--data", "job_runner=absent", text=STATUS_ONLY)
    assert removed.code == 0, removed.text
    files = "find / -xdev -path /proc -prune -o -name '*groundcrew*' -not -path '/srv/store/*' -print"
    traces = f"{files}; getent passwd groundcrew || true"
    (owner,) = lab.ask(host, traces).splitlines()
    assert owner.startswith("groundcrew:"), "the user stays with the store that it owns"
    assert "try" in lab.ask(host, "ls /srv/store").split()
    lab.ask(host, "rm -r /srv/store")
    assert run(lab, "--data", "job_runner=absent", text=STATUS_ONLY).code == 0
    assert lab.ask(host, traces) == ""
    assert run(lab, "--data", "job_runner=absent", text=STATUS_ONLY).changes == 0
