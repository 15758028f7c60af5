"""`crew stacks terraform`: any command of Terraform, with the state saved before it changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.cloud import EMPTY, Cloud, cloud
from tests.parts.terraform import NEW

CODE = EMPTY + 'variable "word" {}\nresource "terraform_data" "a" { input = var.word }\n'
RUN = ("stacks", "terraform", "staging", "words")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), NEW, TF_VAR_word="one") as made:
        made.run_json("stacks", "bootstrap", "staging")
        made.only("words", code=CODE)
        made.run_json("stacks", "apply", "staging", "--yes")
        yield made


@pytest.mark.long
def test_a_state_is_saved_and_a_run_recorded_before_a_change(aws: Cloud) -> None:
    before = len(aws.run_json("stacks", "states", "staging", "words")["states"])
    moved = aws.crew(*RUN, "--", "state", "mv", "terraform_data.a", "terraform_data.b")
    assert moved.returncode == 0, moved.stderr
    assert 'Move "terraform_data.a" to "terraform_data.b"' in moved.stdout
    listed = aws.crew(*RUN, "--", "state", "list")
    assert (listed.returncode, listed.stdout) == (0, "terraform_data.b\n")
    states = aws.run_json("stacks", "states", "staging", "words")["states"]
    assert (len(states), states[0]["before"]) == (before + 1, "terraform")

    output = aws.failure(*RUN, "--", "state", "rm", "terraform_data.none")
    assert "the state before this command is saved as 20" in output
    assert "staging/words: terraform state rm failed: Invalid target address" in output
    failed, done = aws.run_json("runs", "staging", "terraform")["runs"]
    assert (failed["outcome"], done["outcome"]) == ("failed", "done")
    assert done["sentence"] == "state mv terraform_data.a terraform_data.b"

    failed = aws.crew("stacks", "terraform", "staging", "words", "--json", "--", "state", "rm", "terraform_data.none")
    assert failed.returncode == 1
    assert "x1b" not in failed.stdout

    aws.protect()
    assert "add --yes-to staging" in aws.failure(*RUN, "--", "state", "rm", "terraform_data.b", code=64)
    assert aws.crew(*RUN, "--", "plan", "-detailed-exitcode").returncode == 2
    shown = aws.crew("stacks", "terraform", "staging", "words", "--json", "--", "state", "list")
    assert '"output": "terraform_data.b\\n"' in shown.stdout
    removed = aws.crew(*RUN, "--yes-to", "staging", "--", "state", "rm", "terraform_data.b")
    assert removed.returncode == 0, removed.stderr
    assert "use: crew stacks apply staging words" in aws.failure(*RUN, "--", "apply")
