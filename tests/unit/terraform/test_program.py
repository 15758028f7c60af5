"""The whole command lines that python-terraform builds, and its pitfalls."""

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


class FakeStart:
    """Starts a program that prints the given text, and records the command lines."""

    def __init__(self, output: str = "", code: int = 0, err: str = "") -> None:
        self.lines: list[list[str]] = []
        self.popen: dict[str, Any] = {}
        self.code = f"import sys; print({output!r}, end=''); print({err!r}, end='', file=sys.stderr); sys.exit({code})"

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
            lambda terraform: terraform.init(Path("/own/backend.hcl")),
            "init -input=false -no-color -reconfigure -backend-config=/own/backend.hcl",
            id="init: no state, no parallelism, no folder",
        ),
        pytest.param(
            lambda terraform: terraform.plan(Path("/p"), [Path("/a.tfvars"), Path("/b.tfvars")], lock=True),
            "plan -input=false -no-color -detailed-exitcode -out=/p -var-file=/a.tfvars -var-file=/b.tfvars"
            " -lock-timeout=60s",
            id="plan",
        ),
        pytest.param(
            lambda terraform: terraform.plan(Path("/p"), [], lock=False),
            "plan -input=false -no-color -detailed-exitcode -out=/p -lock=false",
            id="plan without a lock: false as Terraform writes it",
        ),
        pytest.param(
            lambda terraform: terraform.plan(Path("/p"), [], lock=True, destroy=True, lock_timeout="5m"),
            "plan -input=false -no-color -detailed-exitcode -out=/p -lock-timeout=5m -destroy",
            id="destroy: a plan, not -force",
        ),
        pytest.param(
            lambda terraform: terraform.apply(Path("/p")),
            "apply -input=false -no-color -lock-timeout=60s /p",
            id="apply: a saved plan, without any -var-file",
        ),
        pytest.param(
            lambda terraform: terraform.refresh_state([Path("/a.tfvars")]),
            "apply -refresh-only -auto-approve -input=false -no-color -var-file=/a.tfvars -lock-timeout=60s",
            id="refresh_state: changes no resource",
        ),
        pytest.param(lambda terraform: terraform.show(Path("/p")), "show -json /p", id="show"),
        pytest.param(lambda terraform: terraform.show_text(Path("/p")), "show -no-color /p", id="show as text"),
        pytest.param(lambda terraform: terraform.outputs(), "output -json -no-color", id="output: without a name"),
        pytest.param(lambda terraform: terraform.stored_state(), "state pull", id="state pull: two words"),
        pytest.param(
            lambda terraform: terraform.push_state(Path("/s"), "5m"),
            "state push -no-color -lock-timeout=5m /s",
            id="state push: without -force",
        ),
        pytest.param(lambda terraform: terraform.unlock("6f1c"), "force-unlock -force 6f1c", id="unlock"),
    ],
)
def test_command_lines(call: Any, line: str, tmp_path: Path) -> None:
    start = FakeStart(output="{}")
    call(program(start, tmp_path))
    assert start.lines == [["/opt/terraform", *line.split(" ")]]


def test_it_runs_in_the_stack_folder_with_only_the_given_environment(tmp_path: Path) -> None:
    start = FakeStart()
    program(start, tmp_path).stored_state()
    assert (start.popen["cwd"], start.popen["env"]) == (str(tmp_path), {"PATH": "/bin"})


@pytest.mark.parametrize("file", ["terraform.tfstate", ".terraform/terraform.tfstate"])
def test_an_empty_local_state_file_is_ignored(file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert program(FakeStart(output="{}"), tmp_path).outputs() == {}


def test_an_unknown_method_is_not_run_as_a_command(tmp_path: Path) -> None:
    start = FakeStart()
    with pytest.raises(AttributeError, match="has no aply"):
        program(start, tmp_path).aply()
    assert start.lines == []


@pytest.mark.parametrize(("code", "changes"), [(0, False), (2, True)])
def test_a_plan_with_changes_is_not_a_failure(code: int, changes: bool, tmp_path: Path) -> None:
    assert program(FakeStart(code=code), tmp_path).plan(Path("/p"), [], lock=False) is changes


def test_exit_code_2_is_a_failure_of_all_other_commands(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"staging/network: terraform apply failed: broken"):
        program(FakeStart(code=2, err="Error: broken\n"), tmp_path).apply(Path("/p"))


@pytest.mark.parametrize(
    "call",
    [lambda terraform: terraform.apply(Path("/p")), lambda terraform: terraform.refresh_state([])],
    ids=["apply", "refresh_state"],
)
def test_output_lines_of_an_apply_are_passed_on(call: Any, tmp_path: Path) -> None:
    lines: list[str] = []
    start = FakeStart()
    start.code = "import sys; print('x' * 200_000, file=sys.stderr); [print('line', n) for n in range(20_000)]"
    call(program(start, tmp_path, on_line=lines.append))
    assert (len(lines), lines[-1]) == (20_000, "line 19999")


@pytest.mark.parametrize(
    "call",
    [
        lambda terraform: terraform.init(Path("/own/backend.hcl")),
        lambda terraform: terraform.plan(Path("/p"), [], lock=True),
        lambda terraform: terraform.show(Path("/p")),
        lambda terraform: terraform.show_text(Path("/p")),
        lambda terraform: terraform.in_folder(Path("/"), data_folder=Path("/own")).show(Path("/p")),
        lambda terraform: terraform.outputs(),
        lambda terraform: terraform.stored_state(),
    ],
    ids=["init", "plan", "show", "show as text", "show elsewhere", "output", "state pull"],
)
def test_output_lines_that_can_contain_secrets_are_not_passed_on(call: Any, tmp_path: Path) -> None:
    lines: list[str] = []
    call(program(FakeStart(output='{"password": "a.x: Creating..."}'), tmp_path, on_line=lines.append))
    assert lines == []


def test_long_output_is_complete(tmp_path: Path) -> None:
    start = FakeStart()
    start.code = "print('x' * 200_000, end='\\n\\n')"
    assert program(start, tmp_path).stored_state() == "x" * 200_000 + "\n\n"


def real(argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, **popen)


def test_a_missing_program_is_named_and_leaves_no_files(tmp_path: Path) -> None:
    with pytest.raises(
        NoTerraform, match=r"staging/network: /opt/terraform is not installed on this machine; install it"
    ):
        program(real, tmp_path).plan(Path("/p"), [], lock=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"directory .*/gone does not exist"):
        program(real, tmp_path / "gone").stored_state()


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("Terraform v1.0.3\non linux_amd64\n\nYour version of Terraform is out of date! v9.9.9", (1, 0, 3)),
        ("OpenTofu v1.10.5\non linux_amd64", (1, 10, 5)),
        ("Terraform v1.16.0-beta2\n", (1, 16, 0)),
    ],
)
def test_versions(output: str, version: tuple[int, ...], tmp_path: Path) -> None:
    assert program(FakeStart(output=output), tmp_path).version() == version


@pytest.mark.parametrize("output", ["Terraform v0.12.31", "hello"])
def test_unsupported_versions(output: str, tmp_path: Path) -> None:
    with pytest.raises(NoTerraform, match=r"/opt/terraform"):
        program(FakeStart(output=output), tmp_path).version()


def test_user_settings_that_change_commands_are_dropped() -> None:
    inherited = {
        "TF_WORKSPACE": "other", "TF_CLI_ARGS_plan": "-destroy", "TF_LOG": "TRACE", "TF_DATA_DIR": "/elsewhere",
        "TF_VAR_password": "x", "TF_CLI_CONFIG_FILE": "/rc", "AWS_PROFILE": "acme", "TF_PLUGIN_CACHE_DIR": "/plugins",
    }  # fmt: skip
    assert process_environment(Path("/own"), Path("/cache"), inherited) == {
        "TF_VAR_password": "x", "TF_CLI_CONFIG_FILE": "/rc", "AWS_PROFILE": "acme", "TF_PLUGIN_CACHE_DIR": "/plugins",
        "TF_DATA_DIR": "/own", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1",
    }  # fmt: skip
    assert process_environment(Path("/own"), Path("/cache"), {})["TF_PLUGIN_CACHE_DIR"] == "/cache/plugins"
