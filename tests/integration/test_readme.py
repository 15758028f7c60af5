"""The README, followed word for word from top to bottom in a fresh clone: all of it works, and prints what it says."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab import rootfs
from tests.lab.k3s import release
from tests.lab.lab import Lab
from tests.parts import clone, postgres, s3, terraform
from tests.parts.bills import Account
from tests.parts.explorer import explorer, pages_of
from tests.parts.listeners import Heard, web_hook
from tests.parts.needs import needs
from tests.parts.readme import ROOT, Typed, differs, typed

README = list(typed(ROOT / "README.md"))

NOT_HERE = {  # what begins so, and why it can't be run where tests run
    "make image push": "there is no Docker; make --dry-run knows both, and the Dockerfile says what it makes",
    "kubectl apply": "there is no cluster; tests/unit/jobs/schedule/export/test_kubernetes.py holds the files to its schemas",
}


@dataclass
class Walk:
    """A shell in a fresh clone, which remembers what was exported and where it is."""

    folder: Path
    shell: subprocess.Popen[str]
    errors: Path

    def run(self, command: str) -> tuple[int, str]:
        """How a command ended, and what it printed."""
        assert self.shell.stdin
        assert self.shell.stdout
        self.shell.stdin.write(f"{{\n{command}\n}} 2>>{self.errors} </dev/null\nended=$?; echo; echo $ended ended\n")
        self.shell.stdin.flush()
        seen = ""
        for line in self.shell.stdout:
            if line.endswith(" ended\n"):
                return int(line.split()[0]), seen
            seen += line
        raise AssertionError(f"the shell ended at: {command}\n{seen}")


@contextmanager
def walk(folder: Path, variables: dict[str, str]) -> Iterator[Walk]:
    place = clone.fresh(folder / "groundcrew")
    shell = subprocess.Popen(
        ["bash", "--norc"], cwd=place, env=clone.environment(place, **variables), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    with shell:
        yield Walk(place, shell, folder / "errors")
        assert shell.stdin
        shell.stdin.close()


@contextmanager
def world(folder: Path) -> Iterator[tuple[dict[str, str], Heard]]:
    """What the README takes for granted: a database on this machine, AWS, somewhere to tell alerts to."""
    home = folder / "home"
    home.mkdir()
    for name in ("postgres", "moto"):
        (folder / name).mkdir()
    with ExitStack() as running:
        server = running.enter_context(postgres.start(16, folder / "postgres"))
        with server.connect() as connection:
            connection.execute("CREATE ROLE me SUPERUSER LOGIN PASSWORD 'known to the tests alone'")
            connection.execute("CREATE DATABASE shop OWNER me")
        with server.connect("shop") as connection:
            connection.execute(
                "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS item FROM generate_series(1, 1000) n"
            )
        (home / ".pgpass").touch(0o600)
        (home / ".pgpass").write_text(f"localhost:*:*:me:{postgres.PASSWORD}\n")
        aws = running.enter_context(s3.moto(folder / "moto"))
        bill = running.enter_context(explorer(aws))
        bill.queue(pages_of(Account().bill(datetime.now(UTC))))
        told = running.enter_context(web_hook())
        yield (
            {
                "HOME": str(home),
                "PGPORT": str(server.port),
                "AWS_ACCESS_KEY_ID": s3.KEY,
                "AWS_SECRET_ACCESS_KEY": s3.SECRET,
                "AWS_ENDPOINT_URL": aws,
                "AWS_ENDPOINT_URL_COST_EXPLORER": bill.endpoint,
                "TRY_ALERTS_URL": f"json://127.0.0.1:{told.port}/alerts",
                "TF_CLI_CONFIG_FILE": str(terraform.settings()),
                "PATH": f"{terraform.program(terraform.NEW).parent}:{os.environ['PATH']}",
            },
            told,
        )


def before_stacks(walk: Walk) -> None:
    """The provider of the tests takes the emulator's address from nowhere but code, the state's place from the file."""
    override = walk.folder / "terraform" / "stacks" / "network" / "emulator_override.tf"
    _, endpoint = walk.run("echo $AWS_ENDPOINT_URL")
    override.write_text(terraform.override(endpoint.strip()))
    assert walk.run("export GROUNDCREW__TERRAFORM__STATE__ENDPOINT=$AWS_ENDPOINT_URL")[0] == 0


def before_the_lab(walk: Walk) -> None:
    """The root file system is there already; K3s comes from a folder, and is a stand-in."""
    walk.run("unset GROUNDCREW__TERRAFORM__STATE__ENDPOINT")
    cache = walk.folder / ".cache" / "lab"
    cache.mkdir()
    for made in (rootfs.release(12), rootfs.downloads(12)):
        (cache / made.name).symlink_to(made)
    data = walk.folder / "inventories" / "group_data"
    version = runpy.run_path(str(data / "k3s_servers.py"))["k3s_version"]
    standing = release(Lab(walk.folder / ".cache", 0, 12, ()), version)
    with (data / "lab.py").open("a") as file:
        file.write(f"k3s_artefacts = {str(standing)!r}\n")


BEFORE: dict[str, Callable[[Walk], None]] = {"crew stacks bootstrap": before_stacks, "make lab ": before_the_lab}


@pytest.mark.long
@pytest.mark.timeout(900)
@needs("lab", "age")
def test_followed_word_for_word(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with world(tmp_path) as (variables, told), walk(tmp_path, variables) as there:
        try:
            for one in README:
                follow(there, one)
        finally:
            there.run("make lab-down")
        assert [path for path, _ in told.requests] == ["/alerts"] * len(told.requests)
        assert told.requests, "no alert was told"
        assert (there.folder / "status.html").exists()
        assert shutil.which("kubectl") or list((there.folder / "units" / "kubernetes").glob("*.yaml"))


def follow(there: Walk, one: Typed) -> None:
    """Run a command as it stands there; it must end well, and print what the page shows."""
    if any(one.command.startswith(start) for start in NOT_HERE):
        return
    for start, prepare in BEFORE.items():
        if one.command.startswith(start):
            prepare(there)
    code, seen = there.run(one.command)
    seen = seen.replace(f"{there.folder.parent}/home", "/home/me").replace(str(there.folder), "/home/me/groundcrew")
    assert code == 0, f"README.md:{one.line}: {one.command}\nexit {code}\n{seen}\n{there.errors.read_text()[-3000:]}"
    if one.shown is not None:
        fault = differs(one.shown, seen)
        assert fault is None, f"README.md:{one.line}: {one.command}\n{fault}"


@pytest.mark.parametrize("start", [*NOT_HERE, *BEFORE])
def test_what_is_not_run_or_prepared_is_still_in_it(start: str) -> None:
    assert any(one.command.startswith(start) for one in README)


def test_what_make_would_do_of_it_is_known() -> None:
    [image] = [one.command for one in README if one.command.startswith("make image push")]
    argv = ["make", "--no-print-directory", "--dry-run", *image.split()[1:]]
    told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    name = image.partition("IMAGE=")[2]
    assert told.splitlines() == [f'docker build --tag "{name}" .', f'docker push "{name}"']
    exported = [one.command for one in README if "schedule export kubernetes" in one.command]
    assert all(f"--image {name}" in one for one in exported)
