"""The files and scripts of a job runner."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from deploys.lib.job_runner import files as runner_files
from deploys.lib.job_runner.files import ETC, ManagedFile, as_archive, faults, parse_managed_files
from inventories import Repository
from jobs.schedule.export.files import made_by
from jobs.store import mark_key, require_mark
from jobs.store.directory import DirectoryStore

GIVEN = {"MAIN": {"env": "MAIN_PASSWORD"}, f"{ETC}/age.key": {"file": "~/age.key"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (GIVEN, []),
        ({"MAIN": "s3cret"}, ['job_runner_secrets: MAIN: write {"env"']),
        (
            {"/etc/shadow": {"file": "x"}, f"{ETC}/../shadow": {"file": "x"}},
            ["/etc/shadow is outside of", "/etc/groundcrew/../"],
        ),
        ({"MIAN": {"env": "X"}}, ["staging has no secret { env = MIAN } (it has: MAIN)"]),
    ],
)
def test_each_mistake_in_group_data_is_a_fault(given: dict[str, object], expected: list[str]) -> None:
    actual = list(faults(given, ["staging"], ["MAIN"]))
    assert len(actual) == len(expected), actual
    assert all(part in fault for fault, part in zip(actual, expected, strict=True)), actual
    assert "s3cret" not in str(actual)


def test_an_environment_brings_the_files_of_its_refreshes_and_its_stacks(tmp_path: Path) -> None:
    folder, stack = tmp_path / "inventories", tmp_path / "terraform" / "stacks" / "network"
    (folder / "sanitise").mkdir(parents=True)
    stack.mkdir(parents=True)
    (stack / ".terraform").mkdir()
    for name in ("main.tf", "rules.yaml", ".terraform.lock.hcl", ".terraform/modules.json", "README.md"):
        (stack / name).write_text("# a network\n")
    (folder / "sanitise" / "app.sql").write_text("SELECT 1;\n")
    store = '[store]\nurl = "s3://acme-x/y"\nencrypt_to = "nobody"\nsign_with = "nobody"\n'
    app = '[databases.app]\nurl = "postgresql://db.internal/app"\n'
    refresh = (
        '[refresh.app]\nfrom = "production/app"\ninto = "postgresql://db.staging/app"\nsanitise = "sanitise/app.sql"\n'
    )
    state = '[terraform]\nstate = { bucket = "acme-state", region = "eu-central-1", lock = "file" }\n[stacks.network]\n'
    drift = '[drift]\ncheck = "0 7 * * *"\n'
    drift += '[hosts]\ncheck = "0 7 * * *"\ndeploys = ["host"]\nknown_hosts = "keys"\n'
    (folder / "group_data").mkdir()
    for name in ("keys", "group_data/all.py"):
        (folder / name).write_text("# of the hosts\n")
    for name, more in (("dev", ""), ("production", app), ("staging", app + refresh + state + drift)):
        (folder / name).write_text("servers = []\n")
        (folder / f"{name}.toml").write_text(f'[environment]\nname = "{name}"\n{store}{more}')
    repository = Repository.find(tmp_path)
    assert list(runner_files.configuration_files(repository, [repository.read("staging")])) == [
        f"{ETC}/{name}"
        for name in (
            "hosts/group_data/all.py",
            "hosts/keys",
            "hosts/staging",
            "production.toml",
            "sanitise/app.sql",
            "staging.toml",
            "terraform/stacks/network/.terraform.lock.hcl",
            "terraform/stacks/network/main.tf",
            "terraform/stacks/network/rules.yaml",
        )
    ]
    dev = runner_files.configuration_files(repository, [repository.read("dev")])
    assert list(dev) == [f"{ETC}/dev.toml"]
    assert dev[f"{ETC}/dev.toml"].fingerprint.startswith("640 root:groundcrew ")


def test_stores_outside_of_the_service_users_home_need_a_folder(tmp_path: Path) -> None:
    for name, folder in (("a", "/srv/store"), ("b", "/var/lib/groundcrew"), ("c", "/var/lib/groundcrew/store")):
        store = f'[store]\nurl = "file://{folder}"\nencrypt_to = "nobody"\nsign_with = "nobody"\n'
        (tmp_path / f"{name}.toml").write_text(f'[environment]\nname = "{name}"\ntimezone = "UTC"\n{store}')
    repository = Repository.find(tmp_path)
    assert runner_files.store_folders([repository.read(name) for name in repository.names()]) == ["/srv/store"]


def test_stores_in_directories_get_the_mark_that_jobs_require(tmp_path: Path) -> None:
    for name, url in (("try", f"file://{tmp_path}/a-b"), ("live", "s3://acme/live")):
        text = f'[environment]\nname = "{name}"\n[store]\nurl = "{url}"\nencrypt_to = "nobody"\nsign_with = "nobody"\n'
        (tmp_path / f"{name}.toml").write_text(text)
    repository = Repository.find(tmp_path)
    marks = runner_files.store_marks([repository.read("try"), repository.read("live")])
    assert list(marks) == [str(tmp_path / "a-b" / mark_key("try"))]
    [[command]] = marks.values()
    subprocess.run(["sh", "-c", command.removeprefix("runuser -u groundcrew -- ")], check=True)
    require_mark(DirectoryStore("file://", tmp_path / "a-b"), "try")


def test_mode_owner_and_hash_of_the_files_on_the_host_are_parsed() -> None:
    file = ManagedFile("text\n", 0o640, "groundcrew")
    digest = file.fingerprint.rpartition(" ")[2]
    lines = [
        f"640 root:groundcrew {ETC}/a.toml",
        "600 root:root /x",
        f"{digest}  {ETC}/a.toml",
        f"{digest}  /x",
        "noise",
    ]
    assert parse_managed_files(lines) == {f"{ETC}/a.toml": file.fingerprint, "/x": f"600 root:root {digest}"}


def test_an_archive_holds_the_files_with_mode_and_owner() -> None:
    files = {"/b": ManagedFile("two"), f"{ETC}/a.toml": ManagedFile("one", 0o640, "groundcrew")}
    assert as_archive(files) == as_archive(dict(reversed(files.items())))
    with tarfile.open(fileobj=BytesIO(as_archive(files))) as archive:
        members = [(each.name, each.mode, each.uname, each.gname) for each in archive]
    assert members == [("b", 0o644, "root", "root"), ("etc/groundcrew/a.toml", 0o640, "root", "groundcrew")]


@pytest.mark.parametrize(
    "script",
    [
        runner_files.switch_script("0123456789ab", ["/etc/systemd/system/groundcrew-try-verify.timer"], 9),
        runner_files.removal_script([Path("/etc/groundcrew/age.key"), Path("/m.prom")], ["/srv/store"], 9),
        runner_files.WRAPPER,
        runner_files.LIST_MANAGED_FILES,
    ],
    ids=["switch", "removal", "wrapper", "list"],
)
def test_scripts_are_valid_shell(script: str) -> None:
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_exported_units_have_the_mark_that_the_host_is_searched_for() -> None:
    assert made_by("systemd", "try").startswith(runner_files.EXPORT_MARK)
