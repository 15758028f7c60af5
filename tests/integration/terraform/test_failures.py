"""What goes wrong with stacks, and what people are told: on the old Terraform, whose program is one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parts.cloud import EMPTY, Cloud, cloud
from tests.parts.runs import until
from tests.parts.terraform import NEW, OLD, program

GOOD = EMPTY + 'output "word" { value = "good" }\n'
SLOW = (
    EMPTY
    + 'provider "aws" {\n  region = "eu-central-1"\n}\nresource "aws_vpc" "slow" { cidr_block = "10.99.0.0/16" }\n'
)


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), OLD) as made:
        made.told("stacks", "bootstrap", "staging")
        yield made


def with_stacks(
    sky: Cloud, *names: str, code: str = GOOD, after: dict[str, tuple[str, ...]] | None = None, **more: str
) -> Cloud:
    """The environment has these stacks alone."""
    for name in names:
        sky.stack(name, code)
    sky.settings({name: (after or {}).get(name, ()) for name in names}, **more)
    return sky


def failure(sky: Cloud, *args: str, code: int = 1, **more: str) -> str:
    ended = sky.crew(*args, **more)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr


def script(sky: Cloud, name: str, text: str) -> str:
    """A program of the test's own, in the place of Terraform."""
    file = sky.root / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_no_program(sky: Cloud) -> None:
    with_stacks(sky, "good-1", program="/opt/none/terraform")
    assert "no program /opt/none/terraform on this machine; install it" in failure(sky, "stacks", "plan", "staging")
    assert "no program" in failure(sky, "drift", "staging")


def test_a_program_that_is_too_old(sky: Cloud) -> None:
    with_stacks(sky, "good-2", program=script(sky, "old", 'echo "Terraform v0.12.31"'))
    assert "is version 0.12.31, and 1.0 is the oldest that will do" in failure(sky, "stacks", "plan", "staging")


def test_a_provider_that_can_not_be_had(sky: Cloud, tmp_path: Path) -> None:
    with_stacks(sky, "slow-1", code=SLOW)
    settings = tmp_path / "rc"
    settings.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{tmp_path}" }}\n}}\n')
    told = failure(
        sky, "stacks", "plan", "staging", TF_CLI_CONFIG_FILE=str(settings), TF_PLUGIN_CACHE_DIR=str(tmp_path)
    )
    assert "a provider can't be had" in told


def test_a_backend_out_of_reach(sky: Cloud) -> None:
    state = '{ bucket = "acme-state", region = "eu-central-1", endpoint = "http://127.0.0.1:9", lock_table = "locks" }'
    with_stacks(sky, "good-3", state=state)
    assert "out of reach" in failure(sky, "stacks", "plan", "staging")
    assert "out of reach" in failure(sky, "stacks", "bootstrap", "staging")


def test_no_credentials(sky: Cloud) -> None:
    with_stacks(sky, "good-4")
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    assert "AWS does not accept the credentials" in failure(sky, "stacks", "plan", "staging", **none)


def test_a_syntax_error_beside_good_stacks(sky: Cloud) -> None:
    with_stacks(sky, "bad", "good-5", "later", after={"later": ("bad",)})
    sky.stack("bad", GOOD + "resource {")
    told = sky.told("stacks", "apply", "staging", code=1)["stacks"]
    assert [(one["stack"], one["outcome"]) for one in told] == [
        ("bad", "failed"),
        ("good-5", "done"),
        ("later", "skipped"),
    ]
    assert "main.tf line" in told[0]["sentence"]
    assert told[2]["sentence"] == "because bad failed"
    [report] = sky.told("drift", "staging", code=1)["environments"]
    assert [bool(one["error"]) for one in report["stacks"]] == [True, False, False]


def test_a_state_that_is_newer_than_the_program(sky: Cloud) -> None:
    with_stacks(sky, "good-6")
    state = {"version": 5, "terraform_version": "9.9.9", "serial": 3, "lineage": "x", "outputs": {}, "resources": []}
    sky.client("s3").put_object(Bucket=sky.bucket, Key="staging/good-6", Body=json.dumps(state))
    assert "newer than this Terraform reads" in failure(sky, "stacks", "plan", "staging")


class TestSavedPlans:
    def test_one_is_applied_as_it_was_shown(self, sky: Cloud, tmp_path: Path) -> None:
        with_stacks(sky, "saved-1")
        sky.told("stacks", "plan", "staging", "--save", str(tmp_path / "plans"))
        assert (tmp_path / "plans" / "saved-1.tfplan").stat().st_mode & 0o077 == 0
        sky.told("stacks", "apply", "staging", "--saved", str(tmp_path / "plans"))
        told = sky.told("stacks", "output", "staging")
        assert told["stacks"]["saved-1"] == {"word": "good"}
        assert "the state has changed since" in failure(
            sky, "stacks", "apply", "staging", "--saved", str(tmp_path / "plans")
        )

    def test_not_once_the_code_has_changed(self, sky: Cloud, tmp_path: Path) -> None:
        with_stacks(sky, "saved-2")
        sky.told("stacks", "plan", "staging", "--save", str(tmp_path))
        sky.stack("saved-2", GOOD.replace("good", "better"))
        assert "its code has changed since" in failure(sky, "stacks", "apply", "staging", "--saved", str(tmp_path))

    def test_not_by_another_version(self, sky: Cloud, tmp_path: Path) -> None:
        with_stacks(sky, "saved-3", program=str(program(NEW)))
        sky.told("stacks", "plan", "staging", "--save", str(tmp_path))
        with_stacks(sky, "saved-3")
        assert "another version of the program" in failure(sky, "stacks", "apply", "staging", "--saved", str(tmp_path))

    def test_not_for_another_stack_and_none_at_all(self, sky: Cloud, tmp_path: Path) -> None:
        with_stacks(sky, "saved-4")
        assert "has no whole plan of it" in failure(sky, "stacks", "apply", "staging", "--saved", str(tmp_path))


def test_a_protected_environment_asks(sky: Cloud) -> None:
    with_stacks(sky, "good-7")
    file = sky.root / "inventories" / "staging.toml"
    file.write_text(file.read_text().replace('name = "staging"', 'name = "staging"\nprotected = true'))
    assert "to say yes: --yes-to staging" in failure(sky, "stacks", "apply", "staging")
    sky.told("stacks", "apply", "staging", "--yes-to", "staging")


@pytest.mark.parametrize("times", [1, 99])
def test_an_apply_while_drift_is_looked_for(sky: Cloud, times: int) -> None:
    """A program that applies behind our back, so often, after each plan."""
    name = f"raced-{times}"
    real = program(OLD)
    racing = script(
        sky, name,
        f'"{real}" "$@"; code=$?\n'
        f'if [ "$1" = plan ] && [ "$(ls {sky.root}/{name}.* 2>/dev/null | wc -l)" -lt {times} ]; then\n'
        f'  mktemp {sky.root}/{name}.XXXXXX >/dev/null\n'
        f'  "{real}" apply -auto-approve -var word=$(date +%N) >/dev/null 2>&1\n'
        "fi; exit $code",
    )  # fmt: skip
    code = EMPTY + 'variable "word" { default = "x" }\noutput "word" { value = var.word }\n'
    with_stacks(sky, name, code=code, program=racing)
    if times == 1:
        sky.told("drift", "staging")
    else:
        assert "its state changed while it was looked at" in failure(sky, "drift", "staging")


class TestEnded:
    def test_killed_halfway_locked_unlocked_and_run_again(self, sky: Cloud) -> None:
        with_stacks(sky, "slow-2", code=SLOW)
        with applying(sky) as crew:
            [terraform] = children(crew.pid)
            os.killpg(terraform, signal.SIGKILL)
            told, _ = crew.communicate()
            assert (crew.returncode, "killed by signal 9" in told) == (1, True)
        held = sky.told("stacks", "unlock", "staging", "slow-2")["sentence"]
        lock = held.rpartition("--id ")[2]
        assert f"crew stacks unlock staging slow-2 --id {lock}" in failure(
            sky, "stacks", "plan", "staging", "--lock-timeout", "0s"
        )
        assert sky.told("drift", "staging")["environments"][0]["pending"]
        failure(sky, "stacks", "unlock", "staging", "slow-2", "--id", "guessed", code=64)
        assert "is unlocked" in sky.told("stacks", "unlock", "staging", "slow-2", "--id", lock)["sentence"]
        sky.told("stacks", "apply", "staging")
        assert sky.told("drift", "staging")["environments"][0]["stacks"][0]["findings"] == []

    def test_ctrl_c_lets_terraform_give_its_lock_back(self, sky: Cloud) -> None:
        with_stacks(sky, "slow-3", code=SLOW.replace("10.99", "10.98"))
        with applying(sky) as crew:
            crew.send_signal(signal.SIGINT)
            told, _ = crew.communicate()
            assert (crew.returncode, "stopped by SIGINT" in told) == (1, True)
        assert sky.told("stacks", "unlock", "staging", "slow-3")["sentence"] == "staging/slow-3 is not locked"
        sky.told("stacks", "apply", "staging")

    def test_a_second_ctrl_c_says_what_is_risked_and_reaches_nobody(self, sky: Cloud) -> None:
        heard = sky.root / "heard"
        patient = script(
            sky, "patient",
            f'if [ "$1" != apply ]; then exec "{program(OLD)}" "$@"; fi\n'
            f"trap 'echo INT >>{heard}; sleep 2; echo ended >>{heard}; exit 1' INT\n"
            'echo "a.x: Creating..."; while :; do sleep 0.1; done',
        )  # fmt: skip
        with_stacks(sky, "good-8", program=patient)
        with applying(sky) as crew:
            assert crew.stdout
            crew.send_signal(signal.SIGINT)
            assert any("was told to end" in line for line in crew.stdout)
            crew.send_signal(signal.SIGINT)
            told, _ = crew.communicate()
        assert (crew.returncode, heard.read_text().split()) == (1, ["INT", "ended"])
        assert "in no state, and the lock would stay" in told


@contextmanager
def applying(sky: Cloud) -> Iterator[subprocess.Popen[str]]:
    """`crew stacks apply`, once it has begun to make something."""
    line = sky.argv("stacks", "apply", "staging")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(line, env=sky.process_environment(), text=True, **pipes) as crew:
        try:
            assert crew.stdout
            assert any("Creating..." in line for line in crew.stdout)
            yield crew
        finally:
            crew.kill()


def children(pid: int) -> list[int]:
    found: list[int] = []

    def there() -> bool:
        found[:] = [
            int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()
        ]
        return bool(found)

    until(there)
    return found
