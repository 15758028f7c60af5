"""What a job runner gets, and what it is told to do."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from deploys.lib.job_runner import files as runner_files
from deploys.lib.job_runner import host, release
from deploys.lib.job_runner.files import ETC, Placed, faults, found, packed
from deploys.lib.job_runner.release import Python, download, identity, needed, pinned, requirements, wheels
from deploys.lib.preflight import DeployError
from inventories import Repository

OURS = Python("3.11", 36, "x86_64")
NEWER = Python("3.13", 41, "aarch64")
METADATA = {
    "app": ['db[binary]>=3; python_version < "3.13"', "plain", 'colors; sys_platform == "win32"'],
    "db": ['db-binary==3; extra == "binary"', 'db-c; extra == "c"'],
    "plain": ['old; python_version < "3.12"', "app"],
}


@pytest.mark.parametrize(
    ("python", "names"), [(OURS, ["app", "db", "db-binary", "old", "plain"]), (NEWER, ["app", "plain"])]
)
def test_packages_are_those_that_the_hosts_python_needs(python: Python, names: list[str]) -> None:
    first = ["App>=1", 'mine; sys_platform == "darwin"']
    assert needed(first, lambda name: METADATA.get(name, []), python.markers) == names


def test_each_package_comes_at_the_version_of_the_constraints() -> None:
    told = requirements(OURS)
    assert "pyinfra==3.10.0" in told
    assert [one for one in told if "==" not in one] == []
    assert "mypy" not in " ".join(told), "what only tests need stays here"
    assert pinned("# why\nJinja2==3.1.6\nzope.event==6.2\n") == {
        "jinja2": "Jinja2==3.1.6",
        "zope-event": "zope.event==6.2",
    }


def test_wheels_are_asked_for_the_hosts_python_and_not_for_this_one() -> None:
    told = download(Python("3.13", 6, "aarch64"), ["zstandard==0.25.0"], Path("/there"))
    assert told[1:] == [
        "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", "/there",
        "--implementation", "cp", "--python-version", "3.13",
        "--platform", "manylinux_2_6_aarch64", "--platform", "manylinux_2_5_aarch64", "zstandard==0.25.0",
    ]  # fmt: skip


def repository(folder: Path) -> Path:
    """As little of a repository as pip can make a wheel of."""
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs/__init__.py").write_text("")
    (folder / "inventories").mkdir()
    (folder / "inventories/own.toml").write_text("")
    (folder / "constraints.txt").write_text("")
    (folder / "pyproject.toml").write_text("[project]\nname = 'groundcrew'\nversion = '1'\ndependencies = []\n")
    return folder


def test_a_release_is_another_when_what_would_be_installed_is(tmp_path: Path) -> None:
    root = repository(tmp_path)
    first = identity(OURS, root)
    (root / "inventories/own.toml").write_text("name = 'an environment is no program'")
    (root / "jobs/__pycache__").mkdir()
    (root / "jobs/__pycache__/x.pyc").write_text("")
    assert identity(OURS, root) == first
    assert identity(NEWER, root) != first
    (root / "jobs/__init__.py").write_text("# changed")
    assert identity(OURS, root) != first


def test_wheels_are_made_once_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(tmp_path / "root")
    monkeypatch.setattr(release, "CACHE", tmp_path / "wheels")
    told: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        told.append(command)
        to = Path(command[command.index("--dest" if "download" in command else "--wheel-dir") + 1])
        to.mkdir(exist_ok=True)
        (to / ("old.tar.gz" if "download" in command else f"{Path(command[-1]).name}.whl")).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    own, others = wheels(OURS, root)
    assert (own.name, [each.name for each in others]) == ("root.whl", ["old.tar.gz.whl"]), "of a source a wheel is made"
    assert wheels(OURS, root) == (own, others)
    assert len(told) == 3
    (root / "jobs/__init__.py").write_text("# changed")
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "x\nERROR: no index")
    )
    with pytest.raises(DeployError, match="can't make the wheels: ERROR: no index; see that it reaches its index"):
        wheels(OURS, root)
    assert len(list((tmp_path / "wheels").iterdir())) == 2


GIVEN = {"MAIN": {"env": "MAIN_PASSWORD"}, f"{ETC}/age.key": {"file": "~/age.key"}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (GIVEN, []),
        ({"MAIN": "s3cret"}, ['job_runner_secrets: MAIN: write {"env"']),
        (
            {"/etc/shadow": {"file": "x"}, f"{ETC}/../shadow": {"file": "x"}},
            ["/etc/shadow is not", "/etc/groundcrew/../"],
        ),
        ({"MIAN": {"env": "X"}}, ["no { env = MIAN } is in the files of staging; asked for: MAIN"]),
    ],
)
def test_faults_of_the_group_data(given: dict[str, object], said: list[str]) -> None:
    told = list(faults(given, ["staging"], ["MAIN"]))
    assert len(told) == len(said)
    assert all(part in fault for fault, part in zip(told, said, strict=True))
    assert "s3cret" not in str(told)


def test_an_environment_brings_what_it_copies_from_and_what_it_watches(tmp_path: Path) -> None:
    folder, stack = tmp_path / "inventories", tmp_path / "terraform" / "stacks" / "network"
    (folder / "sanitise").mkdir(parents=True)
    stack.mkdir(parents=True)
    (stack / ".terraform").mkdir()
    for name in ("main.tf", "rules.yaml", ".terraform.lock.hcl", ".terraform/modules.json", "README.md"):
        (stack / name).write_text("# a network\n")
    (folder / "sanitise" / "app.sql").write_text("SELECT 1;\n")
    store = '[store]\nurl = "s3://acme-x/y"\nencrypt_to = "nobody"\n'
    app = '[databases.app]\nurl = "postgresql://db.internal/app"\n'
    copy = (
        '[refresh.app]\nfrom = "production/app"\ninto = "postgresql://db.staging/app"\nsanitise = "sanitise/app.sql"\n'
    )
    state = '[terraform]\nstate = { bucket = "acme-state", region = "eu-central-1", lock = "file" }\n[stacks.network]\n'
    watched = '[drift]\ncheck = "0 7 * * *"\n'
    for name, more in (("dev", ""), ("production", app), ("staging", app + copy + state + watched)):
        (folder / name).write_text("servers = []\n")
        (folder / f"{name}.toml").write_text(f'[environment]\nname = "{name}"\n{store}{more}')
    repository = Repository.find(tmp_path)
    assert list(runner_files.etc(repository, [repository.read("staging")])) == [
        f"{ETC}/{name}"
        for name in (
            "production.toml",
            "sanitise/app.sql",
            "staging.toml",
            "terraform/stacks/network/.terraform.lock.hcl",
            "terraform/stacks/network/main.tf",
            "terraform/stacks/network/rules.yaml",
        )
    ]
    dev = runner_files.etc(repository, [repository.read("dev")])
    assert list(dev) == [f"{ETC}/dev.toml"]
    assert dev[f"{ETC}/dev.toml"].told.startswith("640 root:groundcrew ")


def test_stores_outside_of_the_services_own_folder_are_made(tmp_path: Path) -> None:
    for name, folder in (("a", "/srv/store"), ("b", "/var/lib/groundcrew"), ("c", "/var/lib/groundcrew/store")):
        store = f'[store]\nurl = "file://{folder}"\nencrypt_to = "nobody"\n'
        (tmp_path / f"{name}.toml").write_text(f'[environment]\nname = "{name}"\ntimezone = "UTC"\n{store}')
    repository = Repository.find(tmp_path)
    assert runner_files.folders([repository.read(name) for name in repository.names()]) == ["/srv/store"]


def test_what_is_on_the_host_is_compared_whole() -> None:
    placed = Placed("text\n", 0o640, "groundcrew")
    digest = placed.told.rpartition(" ")[2]
    lines = [
        f"640 root:groundcrew {ETC}/a.toml",
        "600 root:root /x",
        f"{digest}  {ETC}/a.toml",
        f"{digest}  /x",
        "noise",
    ]
    assert found(lines) == {f"{ETC}/a.toml": placed.told, "/x": f"600 root:root {digest}"}


def test_files_are_packed_with_their_rights() -> None:
    files = {"/b": Placed("two"), f"{ETC}/a.toml": Placed("one", 0o640, "groundcrew")}
    assert packed(files) == packed(dict(reversed(files.items())))
    with tarfile.open(fileobj=BytesIO(packed(files))) as archive:
        told = [(each.name, each.mode, each.uname, each.gname) for each in archive]
    assert told == [("b", 0o644, "root", "root"), ("etc/groundcrew/a.toml", 0o640, "root", "groundcrew")]


@pytest.mark.parametrize(
    "script",
    [
        runner_files.switch("0123456789ab", ["/etc/systemd/system/groundcrew-try-verify.timer"], 9),
        runner_files.removal([Path("/etc/groundcrew/age.key"), Path("/m.prom")], ["/srv/store"], 9),
        host.check("try"),
        runner_files.WRAPPER,
        runner_files.FOUND,
    ],
)
def test_scripts_are_what_a_shell_understands(script: str) -> None:
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
