"""Run the README from top to bottom in a fresh clone: every command succeeds and prints what the page shows."""

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
from tests.parts.listeners import Received, web_hook
from tests.parts.needs import needs
from tests.parts.readme import ROOT, Typed, differs, typed

README = list(typed(ROOT / "README.md"))

NOT_RUN = {  # commands that start like this, and why the tests cannot run them
    "make image push": "no Docker here; test_make_image_and_push_use_the_name_given checks what make would run",
    "crew check live --create": "no such bucket and database here; tests/integration/jobs/test_check.py makes stores",
    "kubectl apply": "no cluster here; the tests of the Kubernetes export validate the files against the schemas",
}


@dataclass
class Walk:
    """A shell in a fresh clone. It keeps exported variables and its working directory."""

    folder: Path
    shell: subprocess.Popen[str]
    errors: Path

    def run(self, command: str) -> tuple[int, str]:
        """Run a command; return its exit code and its output."""
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
def world(folder: Path) -> Iterator[tuple[dict[str, str], Received]]:
    """Provide what the README assumes: a local database, AWS, and a receiver of alerts."""
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
        receiver = running.enter_context(web_hook())
        yield (
            {
                "HOME": str(home),
                "PGPORT": str(server.port),
                "AWS_ACCESS_KEY_ID": s3.KEY,
                "AWS_SECRET_ACCESS_KEY": s3.SECRET,
                "AWS_ENDPOINT_URL": aws,
                "AWS_ENDPOINT_URL_COST_EXPLORER": bill.endpoint,
                "TRY_ALERTS_URL": f"json://127.0.0.1:{receiver.port}/alerts",
                "TF_CLI_CONFIG_FILE": str(terraform.settings()),
                "PATH": f"{terraform.program(terraform.NEW).parent}:{os.environ['PATH']}",
            },
            receiver,
        )


def before_stacks(walk: Walk) -> None:
    """Point the state bucket at the AWS emulator, as AWS_ENDPOINT_URL does for the provider."""
    override = walk.folder / "terraform" / "stacks" / "network" / "emulator_override.tf"
    override.write_text(terraform.override())
    assert walk.run("export GROUNDCREW__TERRAFORM__STATE__ENDPOINT=$AWS_ENDPOINT_URL")[0] == 0


def before_the_lab(walk: Walk) -> None:
    """Reuse the root file system of the other tests, and take the K3s stand-in from a directory."""
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
@needs("lab", "age")
def test_every_command_of_the_readme_works(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with world(tmp_path) as (variables, receiver), walk(tmp_path, variables) as clone_shell:
        try:
            for step in README:
                follow(clone_shell, step)
        finally:
            clone_shell.run("make lab-down")
        assert [path for path, _ in receiver.requests] == ["/alerts"] * len(receiver.requests)
        assert receiver.requests, "no alert was sent"
        assert (clone_shell.folder / "status.html").exists()
        assert shutil.which("kubectl") or list((clone_shell.folder / "units" / "kubernetes").glob("*.yaml"))


def follow(walk: Walk, step: Typed) -> None:
    """Run a command of the page; it must exit with 0 and print what the page shows."""
    if any(step.command.startswith(start) for start in NOT_RUN):
        return
    for start, prepare in BEFORE.items():
        if step.command.startswith(start):
            prepare(walk)
    code, seen = walk.run(step.command)
    seen = seen.replace(f"{walk.folder.parent}/home", "/home/me").replace(str(walk.folder), "/home/me/groundcrew")
    assert code == 0, f"README.md:{step.line}: {step.command}\nexit {code}\n{seen}\n{walk.errors.read_text()[-3000:]}"
    if step.shown is not None:
        fault = differs(step.shown, seen)
        assert fault is None, f"README.md:{step.line}: {step.command}\n{fault}"


@pytest.mark.parametrize("start", [*NOT_RUN, *BEFORE])
def test_every_exception_still_matches_a_command(start: str) -> None:
    assert any(one.command.startswith(start) for one in README)


def test_make_image_and_push_use_the_name_given() -> None:
    [image] = [one.command for one in README if one.command.startswith("make image push")]
    argv = ["make", "--no-print-directory", "--dry-run", *image.split()[1:]]
    output = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    name = image.partition("IMAGE=")[2]
    assert output.splitlines() == [f'docker build --tag "{name}" .', f'docker push "{name}"']
    exported = [one.command for one in README if "schedule export kubernetes" in one.command]
    assert all(f"--image {name}" in one for one in exported)
