"""Each pitfall of python-terraform that we lean on: the command lines, whole, and what never happens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from terraform.errors import NoTerraform, StackError
from terraform.program import TerraformProgram, process_environment


class Started:
    """Starts a program that says what a test wants, and keeps the command lines."""

    def __init__(self, says: str = "", code: int = 0, err: str = "") -> None:
        self.lines: list[list[str]] = []
        self.popen: dict[str, Any] = {}
        self.code = f"import sys; print({says!r}, end=''); print({err!r}, end='', file=sys.stderr); sys.exit({code})"

    @contextmanager
    def __call__(self, argv: Sequence[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
        self.lines.append(list(argv))
        self.popen = popen
        with subprocess.Popen([sys.executable, "-c", self.code], **popen) as running:
            yield running


def program(start: Any, folder: Path, **more: Any) -> TerraformProgram:
    return TerraformProgram("staging/network", "/opt/terraform", folder, {"PATH": "/bin"}, start, **more)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        pytest.param(
            lambda one: one.init(Path("/own/backend.hcl")),
            "init -input=false -no-color -reconfigure -backend-config=/own/backend.hcl",
            id="init: no state, no parallelism, no folder",
        ),
        pytest.param(
            lambda one: one.plan(Path("/p"), [Path("/a.tfvars"), Path("/b.tfvars")], lock=True),
            "plan -input=false -no-color -detailed-exitcode -out=/p -var-file=/a.tfvars -var-file=/b.tfvars"
            " -lock-timeout=60s",
            id="plan",
        ),
        pytest.param(
            lambda one: one.plan(Path("/p"), [], lock=False),
            "plan -input=false -no-color -detailed-exitcode -out=/p -lock=false",
            id="plan without a lock: false in Terraform's words, not in Python's",
        ),
        pytest.param(
            lambda one: one.plan(Path("/p"), [], lock=True, destroy=True, lock_timeout="5m"),
            "plan -input=false -no-color -detailed-exitcode -out=/p -lock-timeout=5m -destroy",
            id="destroy: a plan, not -force",
        ),
        pytest.param(
            lambda one: one.apply(Path("/p")),
            "apply -input=false -no-color -lock-timeout=60s /p",
            id="apply: a saved plan, without any -var-file",
        ),
        pytest.param(
            lambda one: one.refresh_state([Path("/a.tfvars")]),
            "apply -refresh-only -auto-approve -input=false -no-color -var-file=/a.tfvars -lock-timeout=60s",
            id="settle: refreshes, and can change nothing",
        ),
        pytest.param(lambda one: one.show(Path("/p")), "show -json /p", id="show"),
        pytest.param(lambda one: one.show_text(Path("/p")), "show -no-color /p", id="show as text"),
        pytest.param(lambda one: one.outputs(), "output -json -no-color", id="output: without a name"),
        pytest.param(lambda one: one.stored_state(), "state pull", id="state pull: two words"),
        pytest.param(lambda one: one.unlock("6f1c"), "force-unlock -force 6f1c", id="unlock"),
    ],
)
def test_command_lines(call: Any, line: str, tmp_path: Path) -> None:
    start = Started(says="{}")
    call(program(start, tmp_path))
    assert start.lines == [["/opt/terraform", *line.split(" ")]]


def test_it_runs_where_the_stack_is_with_no_more_than_its_own_environment(tmp_path: Path) -> None:
    start = Started()
    program(start, tmp_path).stored_state()
    assert (start.popen["cwd"], start.popen["env"]) == (str(tmp_path), {"PATH": "/bin"})


@pytest.mark.parametrize("file", ["terraform.tfstate", ".terraform/terraform.tfstate"])
def test_an_empty_state_file_is_none_of_our_business(file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert program(Started(says="{}"), tmp_path).outputs() == {}


def test_a_typo_is_no_command(tmp_path: Path) -> None:
    start = Started()
    with pytest.raises(AttributeError, match="has no aply"):
        program(start, tmp_path).aply()
    assert start.lines == []


@pytest.mark.parametrize(("code", "changes"), [(0, False), (2, True)])
def test_a_plan_with_changes_is_no_failure(code: int, changes: bool, tmp_path: Path) -> None:
    assert program(Started(code=code), tmp_path).plan(Path("/p"), [], lock=False) is changes


def test_two_is_a_failure_for_everything_else(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"staging/network: terraform apply failed: broken"):
        program(Started(code=2, err="Error: broken\n"), tmp_path).apply(Path("/p"))


@pytest.mark.parametrize(
    "call", [lambda one: one.apply(Path("/p")), lambda one: one.refresh_state([])], ids=["apply", "settle"]
)
def test_lines_are_heard_while_something_is_done(call: Any, tmp_path: Path) -> None:
    heard: list[str] = []
    start = Started()
    start.code = "import sys; print('x' * 200_000, file=sys.stderr); [print('line', n) for n in range(20_000)]"
    call(program(start, tmp_path, on_line=heard.append))
    assert (len(heard), heard[-1]) == (20_000, "line 19999")


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.init(Path("/own/backend.hcl")),
        lambda one: one.plan(Path("/p"), [], lock=True),
        lambda one: one.show(Path("/p")),
        lambda one: one.show_text(Path("/p")),
        lambda one: one.in_folder(Path("/"), data_folder=Path("/own")).show(Path("/p")),
        lambda one: one.outputs(),
        lambda one: one.stored_state(),
    ],
    ids=["init", "plan", "show", "show as text", "show elsewhere", "output", "state pull"],
)
def test_nobody_hears_what_is_only_told_for_it_may_hold_secrets(call: Any, tmp_path: Path) -> None:
    heard: list[str] = []
    call(program(Started(says='{"password": "a.x: Creating..."}'), tmp_path, on_line=heard.append))
    assert heard == []


def test_output_is_whole(tmp_path: Path) -> None:
    start = Started()
    start.code = "print('x' * 200_000, end='\\n\\n')"
    assert program(start, tmp_path).stored_state() == "x" * 200_000 + "\n\n"


def real(argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, **popen)


def test_a_missing_program_says_what_to_install_and_leaves_no_files(tmp_path: Path) -> None:
    with pytest.raises(
        NoTerraform, match=r"staging/network: /opt/terraform is not installed on this machine; install it"
    ):
        program(real, tmp_path).plan(Path("/p"), [], lock=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_not_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="folder .*/gone does not exist"):
        program(real, tmp_path / "gone").stored_state()


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("Terraform v1.0.3\non linux_amd64\n\nYour version of Terraform is out of date! v9.9.9", (1, 0, 3)),
        ("OpenTofu v1.10.5\non linux_amd64", (1, 10, 5)),
        ("Terraform v1.16.0-beta2\n", (1, 16, 0)),
    ],
)
def test_versions(says: str, version: tuple[int, ...], tmp_path: Path) -> None:
    assert program(Started(says=says), tmp_path).version() == version


@pytest.mark.parametrize("says", ["Terraform v0.12.31", "hello"])
def test_versions_that_will_not_do(says: str, tmp_path: Path) -> None:
    with pytest.raises(NoTerraform, match=r"/opt/terraform"):
        program(Started(says=says), tmp_path).version()


def test_settings_of_who_calls_do_not_change_what_is_meant() -> None:
    around = {
        "TF_WORKSPACE": "other", "TF_CLI_ARGS_plan": "-destroy", "TF_LOG": "TRACE", "TF_DATA_DIR": "/elsewhere",
        "TF_VAR_password": "x", "TF_CLI_CONFIG_FILE": "/rc", "AWS_PROFILE": "acme", "TF_PLUGIN_CACHE_DIR": "/plugins",
    }  # fmt: skip
    assert process_environment(Path("/own"), Path("/cache"), around) == {
        "TF_VAR_password": "x", "TF_CLI_CONFIG_FILE": "/rc", "AWS_PROFILE": "acme", "TF_PLUGIN_CACHE_DIR": "/plugins",
        "TF_DATA_DIR": "/own", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1",
    }  # fmt: skip
    assert process_environment(Path("/own"), Path("/cache"), {})["TF_PLUGIN_CACHE_DIR"] == "/cache/plugins"
