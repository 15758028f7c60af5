"""Commands that a user runs on a stack: the options that crew adds, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraform.errors import ChangeRefused
from terraform.pass_through import PassedCommand, passed_command


def passed(line: str) -> PassedCommand:
    return passed_command("staging/network", line.split(" "), [Path("/a.tfvars")], Path("/b.hcl"), "60s")


@pytest.mark.parametrize(
    ("line", "expected", "changes_state"),
    [
        ("state mv a.x a.y", "state mv -lock-timeout=60s a.x a.y", True),
        ("state rm -lock-timeout=5m a.x", "state rm -lock-timeout=5m a.x", True),
        ("state mv -help", "state mv -lock-timeout=60s -help", False),
        ("state list a.x", "state list a.x", False),
        ("state pull", "state pull", False),
        ("state unknown", "state unknown", True),
        ("import a.x i-1", "import -var-file=/a.tfvars -lock-timeout=60s a.x i-1", True),
        ("plan -lock=false", "plan -var-file=/a.tfvars -lock=false", False),
        ("plan -var x=y", "plan -var-file=/a.tfvars -lock-timeout=60s -var x=y", False),
        ("taint a.x", "taint -lock-timeout=60s a.x", True),
        ("refresh", "refresh -var-file=/a.tfvars -lock-timeout=60s", True),
        ("test", "test -var-file=/a.tfvars", True),
        ("init -upgrade", "init -backend-config=/b.hcl -upgrade", False),
        ("providers lock -platform=linux_amd64", "providers lock -platform=linux_amd64", False),
        ("output -json", "output -json", False),
        ("-version", "-version", False),
        ("unknown", "unknown", True),
    ],
)
def test_options_are_added_where_the_command_takes_them(line: str, expected: str, changes_state: bool) -> None:
    command = passed(line)
    assert (" ".join(command.argv), command.changes_state) == (expected, changes_state)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("apply", "use: crew stacks apply staging network"),
        ("apply -refresh-only", "use: crew stacks apply staging network"),
        ("destroy -auto-approve", "use: crew stacks destroy staging network"),
        ("force-unlock 1-2", "use: crew stacks unlock staging network"),
        ("workspace select other", "add an environment instead"),
        ("-chdir=/tmp state list", "would leave the directory of the stack"),
        ("state rm -lock=false a.x", "needs the lock"),
        ("import -var x=hush a.x i-1", "set the environment variable TF_VAR_name"),
        ("init --backend-config=key=other", "the location of the state is in"),
        ("init -migrate-state", "the location of the state is in"),
    ],
)
def test_what_goes_round_the_safeguards_is_refused(line: str, why: str) -> None:
    with pytest.raises(ChangeRefused, match="staging/network: crew does not pass on ") as refused:
        passed(line)
    assert why in str(refused.value)
    assert "hush" not in str(refused.value)
