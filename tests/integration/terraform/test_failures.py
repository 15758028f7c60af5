"""Failures of stack commands and their messages, with the oldest supported Terraform."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.parts import terminal
from tests.parts.cloud import AWS, EMPTY, GOOD, PASSWORD, REGION, SLEEPS, SLOW, Cloud, cloud
from tests.parts.store import mark
from tests.parts.terraform import NEW, OLD, program


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), OLD) as made:
        made.run_json("stacks", "bootstrap", "staging")
        yield made


def test_a_missing_program(aws: Cloud) -> None:
    aws.only("good-1", program="/opt/none/terraform")
    assert "/opt/none/terraform is not installed on this machine; install it" in aws.failure(
        "stacks", "plan", "staging"
    )
    assert "is not installed" in aws.failure("drift", "staging")


def test_a_program_that_is_too_old(aws: Cloud) -> None:
    aws.only("good-2", program=aws.script("old", 'echo "Terraform v0.12.31"'))
    assert "is version 0.12.31, but 1.0 or newer is needed" in aws.failure("stacks", "plan", "staging")


def test_a_provider_that_cannot_be_downloaded(aws: Cloud, tmp_path: Path) -> None:
    aws.only("slow-1", code=SLOW)
    settings = tmp_path / "rc"
    settings.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{tmp_path}" }}\n}}\n')
    output = aws.failure(
        "stacks", "plan", "staging", TF_CLI_CONFIG_FILE=str(settings), TF_PLUGIN_CACHE_DIR=str(tmp_path)
    )
    assert "cannot download a provider" in output


def test_an_unreachable_backend(aws: Cloud) -> None:
    state = '{ bucket = "acme-state", region = "eu-central-1", endpoint = "http://127.0.0.1:9", lock_table = "locks" }'
    aws.only("good-3", state=state)
    assert "cannot reach a service" in aws.failure("stacks", "plan", "staging")
    assert "AWS is unreachable" in aws.failure("stacks", "bootstrap", "staging")


COMMANDS = [("stacks", "plan"), ("drift",), ("stacks", "bootstrap"), ("check",)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_credentials(aws: Cloud, command: tuple[str, ...]) -> None:
    aws.only("good-4")
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    output = aws.failure(*command, "staging", **none)
    assert re.search("no valid credential sources|Unable to locate credentials", output)
    assert "AWS_PROFILE" in output


def test_wrong_credentials(aws: Cloud) -> None:
    """The emulator checks credentials, as AWS does."""
    aws.only("good-4")
    with aws.asking_who_it_is() as known:
        aws.run_json("stacks", "plan", "staging", **known)
        nobody = {**known, "AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN1"}
        wrong = {**known, "AWS_SECRET_ACCESS_KEY": "hush-hush-but-wrong"}
        outputs = [aws.failure(*command, "staging", **wrong) for command in COMMANDS]
        outputs.append(aws.failure("stacks", "plan", "staging", **nobody))
    for output in outputs:
        assert re.search("AWS rejected the credentials|AWS rejected the request", output)
        assert "AWS_PROFILE" in output
        assert "hush-hush" not in output


def test_a_role_of_staging_reaches_no_state_of_production(aws: Cloud) -> None:
    """Bootstrap prints its policy. The emulator checks it, but ignores conditions."""
    policy = json.loads(aws.crew("stacks", "bootstrap", "staging", "--policy", "writing").stdout)
    s3_rights = [each for each in policy["Statement"] if "s3:::" in each["Resource"]]
    with aws.asking_who_it_is(statements=s3_rights) as keys:
        mine = boto3.client(
            "s3", endpoint_url=aws.endpoint, region_name=REGION,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"], aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        mine.put_object(Bucket=aws.bucket, Key="staging/policy", Body=b"{}")
        assert mine.get_object(Bucket=aws.bucket, Key="staging/policy")["Body"].read() == b"{}"
        for key in ("production/policy", "staging-2/policy"):
            with pytest.raises(ClientError, match="AccessDenied"):
                mine.put_object(Bucket=aws.bucket, Key=key, Body=b"{}")
            with pytest.raises(ClientError, match="AccessDenied"):
                mine.get_object(Bucket=aws.bucket, Key=key)
        with pytest.raises(ClientError, match="AccessDenied"):
            mine.delete_object(Bucket=aws.bucket, Key="staging/policy")


def test_bootstrap_keeps_a_policy_and_rules_that_the_bucket_has(aws: Cloud) -> None:
    s3, bucket = aws.client("s3"), f"own-{aws.bucket}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/x"}
    own = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(own))
    rule = {"ID": "own", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    aws.settings(
        {}, state=f'{{ bucket = "{bucket}", region = "{REGION}", endpoint = "{aws.endpoint}", lock = "file" }}'
    )
    [sentence] = aws.run_json("stacks", "bootstrap", "staging")["done"]
    assert sentence.endswith("; its own policy stays; its own lifecycle rules stay")
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == own


def test_check_lists_what_bootstrap_would_create(aws: Cloud) -> None:
    state = f'{{ bucket = "not-there", region = "eu-central-1", endpoint = "{aws.endpoint}", lock_table = "none" }}'
    aws.only("good-4", state=state)
    output = aws.failure("check", "staging")
    assert "bucket not-there does not exist and table none does not exist; run crew stacks bootstrap staging" in output
    aws.client("s3").create_bucket(Bucket="not-there", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert "bucket not-there has no versioning" in aws.failure("check", "staging")
    aws.run_json("stacks", "bootstrap", "staging")
    [check] = [check for check in aws.run_json("check", "staging")["checks"] if check["check"] == "stacks' state"]
    assert (check["verdict"], check["remedy"]) == ("ok", None)


@pytest.mark.parametrize(
    ("program", "state", "message"),
    [
        ("/opt/none/terraform", "", "not installed; needed for stacks; install /opt/none/terraform"),
        ("old", "", "is version 0.12.31, but 1.0 or newer is needed"),
        (str(program(OLD)), '{ bucket = "acme", lock = "file" }', "needs Terraform 1.10 or newer (found: 1.0.3)"),
    ],
)
def test_check_reports_an_unsupported_program(aws: Cloud, program: str, state: str, message: str) -> None:
    path = aws.script("old", 'echo "Terraform v0.12.31"') if program == "old" else program
    aws.only("good-4", program=path, state=state)
    assert message in aws.failure("check", "staging")


def test_a_table_with_another_key_cannot_hold_locks(aws: Cloud) -> None:
    aws.client("dynamodb").create_table(
        TableName="bills",
        KeySchema=[{"AttributeName": "Bill", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Bill", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    where = f'bucket = "{aws.bucket}", region = "eu-central-1", endpoint = "{aws.endpoint}"'
    aws.only("good-4", state=f'{{ {where}, lock_table = "bills" }}')
    assert "the key of table bills is not LockID" in aws.failure("check", "staging")


def test_a_syntax_error_beside_good_stacks(aws: Cloud) -> None:
    aws.only("bad", "good-5", "later", after={"later": ("bad",)})
    aws.stack("bad", GOOD + "resource {")
    output = aws.run_json("stacks", "apply", "staging", "--yes", code=1)["stacks"]
    assert [(one["stack"], one["outcome"]) for one in output] == [
        ("bad", "failed"),
        ("good-5", "done"),
        ("later", "skipped"),
    ]
    assert "main.tf line" in output[0]["sentence"]
    assert output[2]["sentence"] == "because bad failed"
    [report] = aws.run_json("drift", "staging", code=1)["environments"]
    assert [bool(one["error"]) for one in report["stacks"]] == [True, False, False]


def test_a_state_that_is_newer_than_the_program(aws: Cloud) -> None:
    aws.only("good-6")
    state = {"version": 5, "terraform_version": "9.9.9", "serial": 3, "lineage": "x", "outputs": {}, "resources": []}
    aws.client("s3").put_object(Bucket=aws.bucket, Key="staging/good-6", Body=json.dumps(state))
    assert "newer than this Terraform reads" in aws.failure("stacks", "plan", "staging")


class TestSavedPlans:
    def test_a_saved_plan_is_applied(self, aws: Cloud, tmp_path: Path) -> None:
        aws.only("saved-1")
        aws.run_json("stacks", "plan", "staging", "--save", str(tmp_path / "plans"))
        assert (tmp_path / "plans" / "saved-1.tfplan").stat().st_mode & 0o077 == 0
        aws.run_json("stacks", "apply", "staging", "--yes", "--saved", str(tmp_path / "plans"))
        output = aws.run_json("stacks", "output", "staging")
        assert output["stacks"]["saved-1"] == {"word": "good"}
        assert "the state changed after the plan" in aws.failure(
            "stacks", "apply", "staging", "--yes", "--saved", str(tmp_path / "plans")
        )

    def test_a_plan_is_refused_after_a_code_change(self, aws: Cloud, tmp_path: Path) -> None:
        aws.only("saved-2")
        aws.run_json("stacks", "plan", "staging", "--save", str(tmp_path))
        aws.stack("saved-2", GOOD.replace("good", "better"))
        assert "the code changed after the plan" in aws.failure(
            "stacks", "apply", "staging", "--yes", "--saved", str(tmp_path)
        )

    def test_a_plan_is_refused_by_another_version(self, aws: Cloud, tmp_path: Path) -> None:
        aws.only("saved-3", program=str(program(NEW)))
        aws.run_json("stacks", "plan", "staging", "--save", str(tmp_path))
        aws.only("saved-3")
        assert "another version of the program" in aws.failure(
            "stacks", "apply", "staging", "--yes", "--saved", str(tmp_path)
        )

    def test_a_missing_plan_is_an_error(self, aws: Cloud, tmp_path: Path) -> None:
        aws.only("saved-4")
        assert "has no complete plan of this stack" in aws.failure(
            "stacks", "apply", "staging", "--yes", "--saved", str(tmp_path)
        )


def test_a_protected_environment_asks(aws: Cloud) -> None:
    aws.only("good-7")
    aws.protect()
    assert "add --yes-to staging" in aws.failure("stacks", "apply", "staging", "--yes")
    aws.run_json("stacks", "apply", "staging", "--yes-to", "staging")


@pytest.mark.parametrize("times", [1, 99])
def test_an_apply_during_a_drift_check(aws: Cloud, times: int) -> None:
    """A program that runs an apply after a plan, this number of times."""
    name = f"raced-{times}"
    real = program(OLD)
    racing = aws.script(
        name,
        f'"{real}" "$@"; code=$?\n'
        f'if [ "$1" = plan ] && [ "$(ls {aws.root}/{name}.* 2>/dev/null | wc -l)" -lt {times} ]; then\n'
        f'  mktemp {aws.root}/{name}.XXXXXX >/dev/null\n'
        f'  "{real}" apply -auto-approve -var word=$(date +%N) >/dev/null 2>&1\n'
        "fi; exit $code",
    )  # fmt: skip
    code = EMPTY + 'variable "word" { default = "x" }\noutput "word" { value = var.word }\n'
    aws.only(name, code=code, program=racing)
    if times == 1:
        aws.run_json("drift", "staging")
    else:
        assert "the state changed during the drift check" in aws.failure("drift", "staging")


@pytest.mark.long
def test_a_resource_that_changes_during_a_drift_check(aws: Cloud) -> None:
    """The check reports what it read; the next check reports the change."""
    aws.only("drifting", code=SLOW.replace("10.99", "10.97"), program=str(program(NEW)))
    aws.run_json("stacks", "apply", "staging", "--yes")
    [vpc] = aws.client("ec2").describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.97.0.0/16"]}])["Vpcs"]
    edit = f"ec2.create_tags(Resources=['{vpc['VpcId']}'], Tags=[{{'Key': 'Own', 'Value': 'mallory'}}])"
    client = f"boto3.client('ec2', endpoint_url='{aws.endpoint}', region_name='eu-central-1')"
    script = aws.script(
        "edits",
        f'"{program(NEW)}" "$@"; code=$?\n'
        f"""if [ "$1" = plan ]; then {sys.executable} -c "import boto3; ec2 = {client}; {edit}" || exit 1; fi\n"""
        "exit $code",
    )
    aws.only("drifting", code=SLOW.replace("10.99", "10.97"), program=script)
    aws.run_json("drift", "staging", "--fail-on", "pending")
    [report] = aws.run_json("drift", "staging", code=2)["environments"]
    [found] = report["stacks"][0]["findings"]
    assert (found["kind"], found["attribute"], found["now"]) == ("changed", "tags.Own", "mallory")


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ("head -c 200", "is incomplete JSON; if Terraform was stopped, try again"),
        ("""sed 's/"format_version":"[0-9]*/"format_version":"2/'""", "is newer than this groundcrew reads"),
        ("""sed 's/"actions"/"deeds"/g'""", "lacks required fields"),
    ],
)
def test_an_unreadable_plan_is_an_error_and_is_not_printed(aws: Cloud, filter_: str, message: str) -> None:
    script = aws.script(
        "spoils", f'if [ "$1" != show ]; then exec "{program(OLD)}" "$@"; fi\n"{program(OLD)}" "$@" | {filter_}'
    )
    code = EMPTY + 'output "words" {\n  sensitive = true\n  value = { deep = ["hush-hush-99"] }\n}\n'
    aws.only("spoiled", code=code, program=script)
    for output in (aws.failure("drift", "staging"), aws.failure("stacks", "plan", "staging")):
        assert message in output
        assert "hush-hush" not in output


def test_secret_output_that_looks_like_progress_is_not_shown(aws: Cloud) -> None:
    """The JSON of plans, outputs and states contains secrets, so none of its lines is shown as progress."""
    secret = 'variable "database_password" { sensitive = true }\noutput "hush" {\n  sensitive = true\n'
    secret += "  value = var.database_password\n}\n"
    steps = 'output "steps" { value = "- name: create swap, a.x: Creating..." }\n'
    aws.only("steps", code=EMPTY + secret + steps)
    for command in (["plan"], ["apply", "--yes"], ["output"], ["plan"], ["destroy", "--yes"]):
        ended = aws.crew("stacks", *command, "staging")
        assert ended.returncode == 0
        assert PASSWORD not in ended.stdout + ended.stderr
        assert "create swap" not in ended.stderr


@pytest.mark.long
def test_an_import_block_is_pending_until_it_is_applied(aws: Cloud) -> None:
    topic = aws.client("sns").create_topic(Name="taken")["TopicArn"]
    taken = f'import {{\n  to = aws_sns_topic.x\n  id = "{topic}"\n}}\n'
    aws.only(
        "imports", code=f'{AWS}{taken}resource "aws_sns_topic" "x" {{ name = "taken" }}\n', program=str(program(NEW))
    )
    [report] = aws.run_json("drift", "staging", "--fail-on", "pending", code=2)["environments"]
    output = [(one["kind"], one["address"], one["action"]) for one in report["stacks"][0]["findings"]]
    assert output == [("pending", "aws_sns_topic.x", f"import {topic}")]
    [planned] = aws.run_json("stacks", "plan", "staging")["stacks"]
    assert planned["changes"] == [{"action": "import", "address": "aws_sns_topic.x", "edits": f"imported from {topic}"}]
    [applied] = aws.run_json("stacks", "apply", "staging", "--yes")["stacks"]
    assert applied["sentence"] == "1 imported"
    aws.run_json("drift", "staging", "--fail-on", "pending")
    [again] = aws.run_json("stacks", "apply", "staging", "--yes")["stacks"]
    assert again["sentence"] == "nothing to do"


@pytest.mark.long
@pytest.mark.parametrize("version", [pytest.param(OLD, marks=pytest.mark.release), NEW])
def test_a_resource_removed_from_cloud_and_code_is_reported_until_an_apply(aws: Cloud, version: str) -> None:
    name, network = ("gone-old", "10.95") if version == OLD else ("gone-new", "10.94")
    aws.only(name, code=SLOW.replace("10.99", network), program=str(program(version)))
    aws.run_json("stacks", "apply", "staging", "--yes")
    ec2 = aws.client("ec2")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": [f"{network}.0.0/16"]}])["Vpcs"]
    ec2.delete_vpc(VpcId=vpc["VpcId"])
    [report] = aws.run_json("drift", "staging", code=2)["environments"]
    assert [one["kind"] for one in report["stacks"][0]["findings"]] == ["missing"]
    aws.stack(name, AWS)
    [report] = aws.run_json("drift", "staging", code=2)["environments"]
    assert [one["kind"] for one in report["stacks"][0]["findings"]] == ["state only"]
    [applied] = aws.run_json("stacks", "apply", "staging", "--yes")["stacks"]
    assert applied["sentence"] == "1 changed outside, recorded in the state"
    [report] = aws.run_json("drift", "staging", "--fail-on", "pending")["environments"]
    assert report["stacks"][0]["findings"] == []


def test_two_environments_never_mix(aws: Cloud) -> None:
    """One stack in two environments has two states, two data directories and two lines in the report."""
    aws.only("shared")
    staging = aws.root / "inventories" / "staging.toml"
    mark(aws.root / "store", "other")
    (aws.root / "inventories" / "other").write_text("servers = []\n")
    (aws.root / "inventories" / "other.toml").write_text(
        staging.read_text().replace('name = "staging"', 'name = "other"')
    )
    aws.run_json("stacks", "apply", "staging", "--yes")
    reports = aws.run_json("drift", "--all", "--fail-on", "pending", code=2)["environments"]
    assert [(one["environment"], one["pending"]) for one in reports] == [("other", True), ("staging", False)]
    aws.run_json("stacks", "apply", "other", "--yes")
    aws.run_json("drift", "other", "staging", "--fail-on", "pending")
    keys = {one["Key"] for one in aws.client("s3").list_objects_v2(Bucket=aws.bucket)["Contents"]}
    assert {"staging/shared", "other/shared"} <= keys
    (aws.root / "inventories" / "other.toml").unlink()
    (aws.root / "inventories" / "other").unlink()


def answered(aws: Cloud, answer: str, question: str = "type the environment's name: ") -> tuple[int, str]:
    """The exit code and output of `crew stacks apply` with an answer typed on a terminal."""
    argv, environment = aws.argv("stacks", "apply", "staging"), aws.process_environment()
    return terminal.answered(argv, environment, question, answer)


class TestAsked:
    @pytest.mark.parametrize(
        ("answer", "why"),
        [("production", "the answer was not staging"), ("", "stopped by SIGINT")],
        ids=["no", "Ctrl-C"],
    )
    def test_every_other_answer_applies_nothing_and_reports_all_stacks(self, aws: Cloud, answer: str, why: str) -> None:
        aws.only("asked", "bad", "later", after={"later": ("asked",)})
        aws.stack("bad", GOOD + "resource {")
        aws.protect()
        code, output = answered(aws, answer)
        assert code == 1, output
        assert "Terraform is finishing" not in output
        assert f"not applied: {why}" in output
        assert re.search(r"failed +bad ", output), output
        assert "because asked failed" in output

    def test_yes(self, aws: Cloud) -> None:
        aws.only("asked-2")
        aws.protect()
        code, output = answered(aws, "staging")
        assert code == 0, output
        assert "1 output" in output

    def test_without_protection_yes_is_the_answer(self, aws: Cloud) -> None:
        aws.only("asked-3")
        question = "To apply this plan to staging/asked-3, type yes: "
        code, output = answered(aws, "no", question)
        assert code == 1, output
        assert "not applied: the answer was not yes" in output
        code, output = answered(aws, "yes", question)
        assert code == 0, output
        assert "1 output" in output


class TestEnded:
    def test_terraform_releases_its_lock_after_ctrl_c(self, aws: Cloud) -> None:
        aws.only("slow-3", code=SLEEPS, program=str(program(NEW)))
        with aws.applying() as crew:
            crew.send_signal(signal.SIGINT)
            output, _ = crew.communicate()
            assert crew.returncode == 1, output
            assert "stopped by SIGINT" in output
        assert aws.run_json("stacks", "unlock", "staging", "slow-3")["sentence"] == "staging/slow-3 is not locked"
        aws.run_json("stacks", "apply", "staging", "--yes")

    def test_a_second_ctrl_c_warns_and_is_not_passed_on(self, aws: Cloud) -> None:
        signals = aws.root / "signals"
        patient = aws.script(
            "patient",
            f'if [ "$1" != apply ]; then exec "{program(OLD)}" "$@"; fi\n'
            f"trap 'echo INT >>{signals}; sleep 2; echo ended >>{signals}; exit 1' INT\n"
            'echo "a.x: Creating..."; while :; do sleep 0.1; done',
        )  # fmt: skip
        aws.only("good-8", program=patient)
        with aws.applying() as crew:
            assert crew.stdout
            crew.send_signal(signal.SIGINT)
            assert any("interrupt sent to Terraform" in line for line in crew.stdout)
            crew.send_signal(signal.SIGINT)
            output, _ = crew.communicate()
        assert crew.returncode == 1, output
        assert signals.read_text().split() == ["INT", "ended"]
        assert "the state will lack new resources and the lock will stay" in output
