"""What several people need: stacks that wait, checks, kept plans. No stack here needs a provider."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.parts.cloud import EMPTY, REGION, Cloud, cloud
from tests.parts.terraform import NEW

THING = EMPTY + 'resource "terraform_data" "thing" { input = "one" }\n'


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), NEW) as made:
        made.run_json("stacks", "bootstrap", "staging")
        yield made


def reading(aws: Cloud, stack: str) -> str:
    """A stack that reads the outputs of another one."""
    skips = "".join(
        f"    skip_{each} = true\n"
        for each in ("credentials_validation", "requesting_account_id", "metadata_api_check", "s3_checksum")
    )
    return EMPTY + (
        'data "terraform_remote_state" "other" {\n  backend = "s3"\n  config = {\n'
        f'    bucket = "{aws.bucket}"\n    key = "staging/{stack}"\n    region = "{REGION}"\n'
        f'    endpoints = {{ s3 = "{aws.endpoint}" }}\n    use_path_style = true\n{skips}  }}\n}}\n'
        'resource "terraform_data" "thing" { input = data.terraform_remote_state.other.outputs.word }\n'
        'output "word" { value = terraform_data.thing.output }\n'
    )


def test_a_stack_waits_for_one_that_is_not_applied(aws: Cloud) -> None:
    """A whole new environment: what can be planned is planned, and one apply makes all of it."""
    after = {"second": ["first"], "third": ["second"]}
    aws.only("first", "second", "third", code=EMPTY + 'output "word" { value = "good" }\n', after=after)
    aws.stack("second", reading(aws, "first"))
    aws.stack("third", reading(aws, "second"))
    planned = aws.run_json("stacks", "plan", "staging", "--no-lock")["stacks"]
    assert [(each["outcome"], each.get("waits_for")) for each in planned] == [
        ("done", None), ("waits", "first"), ("waits", "second"),
    ]  # fmt: skip
    alone = aws.crew("stacks", "plan", "staging", "third")
    assert alone.returncode == 0, alone.stderr
    assert "waits  third  for second, which is not applied yet (Unable to find remote state with " in alone.stdout
    refused = aws.failure("stacks", "apply", "staging", "second", "--yes")
    assert "apply that one first: crew stacks apply staging first second" in refused
    findings = [each["findings"] for each in aws.run_json("drift", "staging")["environments"][0]["stacks"]]
    assert [[finding["kind"] for finding in each] for each in findings] == [["pending"]] * 3

    applied = aws.run_json("stacks", "apply", "staging", "--yes")["stacks"]
    assert [each["outcome"] for each in applied] == ["done"] * 3
    assert aws.run_json("stacks", "output", "staging", "third")["stacks"]["third"] == {"word": "good"}

    aws.stack("third", reading(aws, "second").replace("outputs.word", "outputs.mistyped"))
    assert "mistyped" in aws.failure("stacks", "plan", "staging")


def test_a_plan_that_fails_a_check_is_shown_and_not_applied(aws: Cloud) -> None:
    check = aws.root / "checks.py"
    check.write_text(
        "import json, os, sys\n"
        "plan = open(sys.argv[1]).read()\n"
        "after = json.loads(plan)['resource_changes'][0]['change']['after']\n"
        "print(os.environ['CREW_STACK'], 'got', after['input'], '\\x1b[31m~~~~~~~~', 'TF_VAR_word' in os.environ)\n"
        "sys.exit('bad' in after['triggers_replace'])\n"
    )
    code = 'variable "word" { sensitive = true }\nresource "terraform_data" "a" {\n  input = var.word\n'
    aws.only(
        "checked", code=EMPTY + code + '  triggers_replace = ["bad"]\n}\n', checks=[["python3", str(check), "{plan}"]]
    )
    planned = aws.crew("stacks", "plan", "staging", TF_VAR_word="hush-hush-7")
    assert planned.returncode == 2, planned.stderr
    assert f"check python3 {check} {{plan}}: failed with exit code 1\n" in planned.stdout
    assert "\n    checked got (sensitive) ~~~~~~~~ False\n" in planned.stdout
    refused = aws.failure("stacks", "apply", "staging", "--yes", TF_VAR_word="hush-hush-7")
    assert "the plan is refused by [terraform] checks: python3" in refused
    assert "hush-hush" not in refused + planned.stdout

    aws.stack("checked", EMPTY + code + '  triggers_replace = ["good"]\n}\n')
    [applied] = aws.run_json("stacks", "apply", "staging", "--yes", TF_VAR_word="hush-hush-7")["stacks"]
    assert [(each["exit_code"], each["output"]) for each in applied["checks"]] == [
        (0, "checked got (sensitive) ~~~~~~~~ False\n")
    ]


def commit(aws: Cloud, message: str) -> str:
    """Commit all code of the repository, and return the commit."""
    git = ["git", "-C", str(aws.root), "-c", "user.name=Ann", "-c", "user.email=ann@acme.example"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    for args in (["init", "-q"], ["add", "terraform"], ["commit", "-qm", message]):
        subprocess.run([*git, *args], env=environment, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], env=environment, check=True, capture_output=True, text=True)
    return head.stdout.strip()


def with_key(aws: Cloud) -> None:
    """Give the environment the key that decrypts kept plans."""
    key = aws.root / "key"
    key.write_text(aws.identity)
    key.chmod(0o600)
    file = aws.root / "inventories" / "staging.toml"
    file.write_text(file.read_text().replace("[terraform]", f'[terraform]\ndecrypt_plans_with = {{ file = "{key}" }}'))


def test_a_kept_plan_is_applied_exactly(aws: Cloud) -> None:
    word = 'variable "word" { sensitive = true }\nresource "terraform_data" "a" { input = var.word }\n'
    word += 'output "word" { value = nonsensitive(terraform_data.a.output) }\n'
    aws.only("base", "above", code=EMPTY + word, after={"above": ["base"]})
    aws.stack("above", reading(aws, "base"))
    with_key(aws)
    assert "run crew in a git checkout" in aws.failure("stacks", "plan", "staging", "--keep")
    head = commit(aws, "Add two stacks")
    hush = {"TF_VAR_word": "hush-hush-8"}
    planned = aws.run_json("stacks", "plan", "staging", "--keep", "--no-lock", **hush)
    assert [each["outcome"] for each in planned["stacks"]] == ["done", "waits"]
    assert planned["kept"].startswith(head[:12])
    applied = aws.run_json("stacks", "apply", "staging", "--kept", planned["kept"], "--yes", TF_VAR_word="another")
    assert [each["outcome"] for each in applied["stacks"]] == ["done", "done"]
    assert aws.run_json("stacks", "output", "staging", "above")["stacks"]["above"] == {"word": "hush-hush-8"}
    assert "'' is not an ID of kept plans" in aws.failure("stacks", "apply", "staging", "--kept", "", "--yes", **hush)
    again = aws.failure("stacks", "apply", "staging", "base", "--kept", planned["kept"], "--yes", **hush)
    assert "but the plan was made from 0, so something changed it since; plan again" in again

    aws.stack("base", EMPTY + word + 'output "more" { value = 1 }\n')
    assert "terraform/stacks/base/main.tf); commit or remove them" in aws.failure("stacks", "plan", "staging", "--keep")
    head = commit(aws, "Add an output")
    shown = aws.crew("stacks", "plan", "staging", "base", "--keep", **hush)
    kept = shown.stdout.splitlines()[-1].removeprefix("kept as ")
    aws.stack("base", EMPTY + word + 'output "more" { value = 2 }\n')
    refused = aws.failure("stacks", "apply", "staging", "--kept", kept, "--yes", **hush)
    assert f"the code differs from commit {head}, from which the plan was made" in refused


def test_a_bad_apply_is_rolled_back(aws: Cloud) -> None:
    code = (
        EMPTY + 'resource "terraform_data" "a" { input = "one" }\noutput "word" { value = terraform_data.a.output }\n'
    )
    aws.only("turned", code=code)
    good = commit(aws, "Say one")
    aws.run_json("stacks", "apply", "staging", "--yes")
    [run] = aws.run_json("runs", "staging", "apply", "turned")["runs"]
    assert run["figures"] == {"commit": good}
    rollback = ("stacks", "rollback", "staging", "turned")
    assert "choose one with --to COMMIT" in aws.failure(*rollback, "--yes")

    failing = '  provisioner "local-exec" { command = "exit 3" }\n'
    bad = code.replace('"one"', '"two"') + f'resource "terraform_data" "b" {{\n{failing}}}\n'
    aws.stack("turned", bad)
    commit(aws, "Say two")
    assert "exit status 3" in aws.failure("stacks", "apply", "staging", "--yes")
    assert "add --yes" in aws.failure(*rollback, code=64)
    rolled = aws.crew(*rollback, "--yes")
    assert rolled.returncode == 0, rolled.stderr
    assert f"staging/turned: back to the code of {good[:12]} (" in rolled.stdout
    assert "Say one)\n" in rolled.stdout
    assert "- terraform_data.b" in rolled.stdout
    assert "revert the bad commit in the code" in rolled.stdout
    assert aws.run_json("stacks", "output", "staging")["stacks"]["turned"] == {"word": "one"}
    assert (aws.root / "terraform" / "stacks" / "turned" / "main.tf").read_text() == bad
    [run] = aws.run_json("runs", "staging", "rollback")["runs"]
    assert (run["outcome"], run["figures"]) == ("done", {"commit": good})
    assert list((aws.root / ".cache" / "terraform").glob(f"{good[:12]}-*")) == []


def test_a_stack_has_a_role_and_an_account(aws: Cloud) -> None:
    """The role is assumed at the emulator, whose own account has this number."""
    aws.only("owned")
    file, sts = aws.root / "inventories" / "staging.toml", {"AWS_ENDPOINT_URL_STS": aws.endpoint}
    text, role = file.read_text(), 'role = "arn:aws:iam::123456789012:role/terraform"'
    file.write_text(text.replace("[stacks.owned]", f'[stacks.owned]\n{role}\naccount = "123456789012"'))
    aws.run_json("stacks", "plan", "staging", **sts)
    file.write_text(text.replace("[stacks.owned]", '[stacks.owned]\naccount = "999999999999"'))
    for command in (("stacks", "plan"), ("drift",)):
        refused = aws.failure(*command, "staging", **sts)
        assert "the credentials belong to account 123456789012, not 999999999999; check AWS_PROFILE" in refused
    file.write_text(text.replace("[stacks.owned]", f'[stacks.owned]\n{role}\naccount = "999999999999"'))
    assert "is not the account of the role" in aws.failure("stacks", "plan", "staging", code=78)
