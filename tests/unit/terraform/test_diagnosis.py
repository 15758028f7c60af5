"""The causes and remedies in Terraform's error output."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from terraform.diagnosis import CommandStart, StateLock, diagnose, first_error
from terraform.errors import ChangeRefused, MissingData, NoTerraform, StackError, StateLocked, TemporaryStackError

LOCK = """
Error: Error acquiring the state lock

Error message: ConditionalCheckFailedException: The conditional request failed
Lock Info:
  ID:        0b1f6b2e-7d6b
  Path:      acme/staging/network
  Operation: OperationTypeApply
  Who:       ann@laptop
  Version:   1.0.3
  Created:   2026-11-21 02:00:04.123 +0000 UTC
  Info:
"""


@pytest.mark.parametrize("frame", ["", "│ "])
def test_a_lock_error_names_holder_time_and_remedy(frame: str) -> None:
    output = "\n".join(frame + line for line in LOCK.splitlines())
    error = diagnose("staging/network", "terraform plan", output, 1)
    assert isinstance(error, StateLocked)
    assert str(error) == (
        "staging/network: the state is locked by ann@laptop since 2026-11-21 02:00:04 (apply); wait for it, "
        "or if that process has ended, run: crew stacks unlock staging network --id 0b1f6b2e-7d6b"
    )


@pytest.mark.parametrize(
    ("host", "second", "ours"),
    [("laptop", 3, True), ("laptop", 4, True), ("laptop", 5, False), ("top", 3, False), ("runner", 3, False)],
)
def test_a_lock_taken_on_this_host_after_the_start_can_be_our_own(host: str, second: int, ours: bool) -> None:
    start = CommandStart(host, datetime(2026, 11, 21, 2, 0, second, 900_000, UTC))
    output = str(diagnose("staging/network", "terraform plan", LOCK, 1, start))
    assert ("probably by this command itself" in output) is ours
    assert "crew stacks unlock staging network --id 0b1f6b2e-7d6b" in output


@pytest.mark.parametrize(
    ("output", "error_class", "text"),
    [
        ("Error: Saved plan is stale\n\nThe given plan file can no longer be applied", ChangeRefused, "plan again"),
        (
            "Error: Invalid plan file: plan file was created by Terraform 1.0.3, but",
            ChangeRefused,
            "another version",
        ),
        (
            "Failed to write state: cannot import state with serial 8 over newer state with serial 9",
            ChangeRefused,
            "the state changed during this command",
        ),
        (
            "Error: state snapshot was created by Terraform v1.9.0, which is newer",
            NoTerraform,
            "1.9.0, which is newer",
        ),
        ("Error: Unsupported state file format\n\nversion 5", NoTerraform, "newer than this Terraform reads"),
        ("Error: Unsupported Terraform Core version", NoTerraform, "required_version"),
        ('Error: S3 bucket "acme" does not exist.', StackError, "crew stacks bootstrap staging"),
        ("Error: ResourceNotFoundException: table", StackError, "crew stacks bootstrap staging"),
        ("Error: error configuring: no valid credential sources found", StackError, "AWS_PROFILE"),
        (
            "Error: Failed to query available provider packages\n\nno",
            TemporaryStackError,
            "cannot download a provider",
        ),
        ("Error: dial tcp 127.0.0.1:1: connect: connection refused", TemporaryStackError, "cannot reach a service"),
        (
            "Error: no matching VPC found\n\n  with data.aws_vpc.this,",
            MissingData,
            "plan failed: no matching VPC found",
        ),
        ("", StackError, "no error message"),
    ],
)
def test_known_errors(output: str, error_class: type[StackError], text: str) -> None:
    error = diagnose("staging/network", "terraform plan", output, 1)
    assert type(error) is error_class
    assert str(error).startswith("staging/network: ")
    assert text in str(error)


def test_a_killed_command() -> None:
    assert "killed by signal 9" in str(diagnose("staging/network", "terraform apply", "", -9))


def test_the_first_error_is_shown_on_one_line_without_a_frame() -> None:
    output = "╷\n│ Error: Invalid\n│ \n│   on main.tf line 3:\n╵\n╷\n│ Error: Other\n╵\n"
    assert first_error(output) == "Invalid on main.tf line 3:"


def test_request_ids_are_left_out() -> None:
    old = "Error: AccessDenied: no\n\tstatus code: 403, request id: A1B2, host id: c+/d=\n"
    new = "Error: S3: GetObject, StatusCode: 403, RequestID: A1, HostID: b/c+d=, api error AccessDenied: no\n"
    assert first_error(old) == "AccessDenied: no status code: 403"
    assert first_error(new) == "S3: GetObject, StatusCode: 403, api error AccessDenied: no"


def test_a_long_error_is_cut() -> None:
    assert len(first_error("Error: " + "x " * 5000)) < 700


def test_control_characters_of_terraforms_output_never_reach_an_error() -> None:
    output = "Error: Invalid value\n\nThe tag \x1b]0;owned\x07 \x9b2J is invalid."
    error = diagnose("staging/network", "terraform plan", output, 1)
    assert str(error).endswith(r"failed: Invalid value The tag \x1b]0;owned\x07 \x9b2J is invalid.")


def test_control_characters_of_a_lock_never_reach_a_sentence() -> None:
    lock = StateLock.of({"ID": "a\x1b", "Who": "b\x9b2J", "Created": None})
    assert (lock.id, lock.sentence) == (r"a\x1b", r"b\x9b2J since an unknown time (unknown operation)")


NOT_FOUND = """Error: no matching EC2 VPC found

  with {address},
  on main.tf line 3, in data "aws_vpc" "this":
   3: data "aws_vpc" "this" {{
"""
NO_OUTPUT = """Error: Unsupported attribute

  on main.tf line 20, in output "x":
  20: output "x" { value = data.terraform_remote_state.other.outputs.vpc_id }
    ├────────────────
    │ data.terraform_remote_state.other.outputs is object with no attributes

This object does not have an attribute named "vpc_id".
"""
CONDITION = """Error: Resource postcondition failed

  on main.tf line 10, in data "terraform_remote_state" "empty":
  10:       condition = length(self.outputs) > 0
    ├────────────────
    │ self.outputs is object with no attributes

no outputs
"""
BAD_CODE = """Error: Unsupported argument

  on main.tf line 4, in data "aws_vpc" "this":
   4:   tagss = {}
"""


@pytest.mark.parametrize(
    ("output", "is_missing"),
    [
        (NOT_FOUND.format(address="data.aws_vpc.this"), True),
        (NOT_FOUND.format(address='module.a["b c"].data.aws_vpc.this[0]'), True),
        (NOT_FOUND.format(address="aws_vpc.this"), False),
        (NO_OUTPUT, True),
        (CONDITION, True),
        (CONDITION + NO_OUTPUT, True),
        (CONDITION + BAD_CODE, False),
        (BAD_CODE, False),
        (NOT_FOUND.format(address="data.aws_vpc.this") + "AccessDenied: no", False),
        ("killed", False),
    ],
)
@pytest.mark.parametrize("frame", ["", "│ "])
def test_errors_of_data_sources_alone_are_missing_data(output: str, is_missing: bool, frame: str) -> None:
    framed = "\n".join(frame + line for line in output.splitlines())
    assert isinstance(diagnose("staging/cluster", "terraform plan", framed, 1), MissingData) is is_missing
