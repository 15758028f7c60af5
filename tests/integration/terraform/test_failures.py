"""What goes wrong with stacks, and what people are told: on the old Terraform, whose program is one of its own."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import terminal
from tests.parts.cloud import AWS, EMPTY, GOOD, PASSWORD, SLOW, Cloud, cloud
from tests.parts.terraform import NEW, OLD, program


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), OLD) as made:
        made.run_json("stacks", "bootstrap", "staging")
        yield made


def test_no_program(sky: Cloud) -> None:
    sky.only("good-1", program="/opt/none/terraform")
    assert "/opt/none/terraform is not installed on this machine; install it" in sky.failure(
        "stacks", "plan", "staging"
    )
    assert "is not installed" in sky.failure("drift", "staging")


def test_a_program_that_is_too_old(sky: Cloud) -> None:
    sky.only("good-2", program=sky.script("old", 'echo "Terraform v0.12.31"'))
    assert "is version 0.12.31, but 1.0 or newer is needed" in sky.failure("stacks", "plan", "staging")


def test_a_provider_that_can_not_be_had(sky: Cloud, tmp_path: Path) -> None:
    sky.only("slow-1", code=SLOW)
    settings = tmp_path / "rc"
    settings.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{tmp_path}" }}\n}}\n')
    told = sky.failure("stacks", "plan", "staging", TF_CLI_CONFIG_FILE=str(settings), TF_PLUGIN_CACHE_DIR=str(tmp_path))
    assert "cannot download a provider" in told


def test_a_backend_out_of_reach(sky: Cloud) -> None:
    state = '{ bucket = "acme-state", region = "eu-central-1", endpoint = "http://127.0.0.1:9", lock_table = "locks" }'
    sky.only("good-3", state=state)
    assert "cannot reach a service" in sky.failure("stacks", "plan", "staging")
    assert "AWS is unreachable" in sky.failure("stacks", "bootstrap", "staging")


ASK = [("stacks", "plan"), ("drift",), ("stacks", "bootstrap"), ("check",)]


@pytest.mark.parametrize("command", ASK, ids=" ".join)
def test_no_credentials(sky: Cloud, command: tuple[str, ...]) -> None:
    sky.only("good-4")
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    told = sky.failure(*command, "staging", **none)
    assert re.search("no valid credential sources|Unable to locate credentials", told)
    assert "AWS_PROFILE" in told


def test_wrong_credentials(sky: Cloud) -> None:
    """The emulator asks who it is, as AWS does."""
    sky.only("good-4")
    with sky.asking_who_it_is() as known:
        sky.run_json("stacks", "plan", "staging", **known)
        nobody = {**known, "AWS_ACCESS_KEY_ID": "AKIAWHOISTHISANYWAY"}
        wrong = {**known, "AWS_SECRET_ACCESS_KEY": "hush-hush-but-wrong"}
        told = [sky.failure(*command, "staging", **wrong) for command in ASK]
        told.append(sky.failure("stacks", "plan", "staging", **nobody))
    for said in told:
        assert re.search("AWS rejected the credentials|AWS rejected the request", said)
        assert "AWS_PROFILE" in said
        assert "hush-hush" not in said


def test_what_bootstrap_would_make_is_told_by_check(sky: Cloud) -> None:
    state = f'{{ bucket = "not-there", region = "eu-central-1", endpoint = "{sky.endpoint}", lock_table = "none" }}'
    sky.only("good-4", state=state)
    told = sky.failure("check", "staging")
    assert "bucket not-there does not exist and table none does not exist; crew stacks bootstrap staging" in told
    sky.client("s3").create_bucket(Bucket="not-there", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert "bucket not-there has no versioning" in sky.failure("check", "staging")
    sky.run_json("stacks", "bootstrap", "staging")
    [found] = [one for one in sky.run_json("check", "staging")["checks"] if one["check"] == "stacks' state"]
    assert (found["verdict"], found["remedy"]) == ("ok", None)


@pytest.mark.parametrize(
    ("program", "state", "says"),
    [
        ("/opt/none/terraform", "", "is not on this machine, needed for stacks"),
        ("old", "", "is version 0.12.31, but 1.0 or newer is needed"),
        (str(program(OLD)), '{ bucket = "acme", lock = "file" }', "needs Terraform 1.10 or newer (found: 1.0.3)"),
    ],
)
def test_a_program_that_will_not_do_is_told_by_check(sky: Cloud, program: str, state: str, says: str) -> None:
    path = sky.script("old", 'echo "Terraform v0.12.31"') if program == "old" else program
    sky.only("good-4", program=path, state=state)
    assert says in sky.failure("check", "staging")


def test_a_table_for_something_else_locks_nothing(sky: Cloud) -> None:
    sky.client("dynamodb").create_table(
        TableName="bills",
        KeySchema=[{"AttributeName": "Bill", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Bill", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    where = f'bucket = "{sky.bucket}", region = "eu-central-1", endpoint = "{sky.endpoint}"'
    sky.only("good-4", state=f'{{ {where}, lock_table = "bills" }}')
    assert "the key of table bills is not LockID" in sky.failure("check", "staging")


def test_a_syntax_error_beside_good_stacks(sky: Cloud) -> None:
    sky.only("bad", "good-5", "later", after={"later": ("bad",)})
    sky.stack("bad", GOOD + "resource {")
    told = sky.run_json("stacks", "apply", "staging", code=1)["stacks"]
    assert [(one["stack"], one["outcome"]) for one in told] == [
        ("bad", "failed"),
        ("good-5", "done"),
        ("later", "skipped"),
    ]
    assert "main.tf line" in told[0]["sentence"]
    assert told[2]["sentence"] == "because bad failed"
    [report] = sky.run_json("drift", "staging", code=1)["environments"]
    assert [bool(one["error"]) for one in report["stacks"]] == [True, False, False]


def test_a_state_that_is_newer_than_the_program(sky: Cloud) -> None:
    sky.only("good-6")
    state = {"version": 5, "terraform_version": "9.9.9", "serial": 3, "lineage": "x", "outputs": {}, "resources": []}
    sky.client("s3").put_object(Bucket=sky.bucket, Key="staging/good-6", Body=json.dumps(state))
    assert "newer than this Terraform reads" in sky.failure("stacks", "plan", "staging")


class TestSavedPlans:
    def test_one_is_applied_as_it_was_shown(self, sky: Cloud, tmp_path: Path) -> None:
        sky.only("saved-1")
        sky.run_json("stacks", "plan", "staging", "--save", str(tmp_path / "plans"))
        assert (tmp_path / "plans" / "saved-1.tfplan").stat().st_mode & 0o077 == 0
        sky.run_json("stacks", "apply", "staging", "--saved", str(tmp_path / "plans"))
        told = sky.run_json("stacks", "output", "staging")
        assert told["stacks"]["saved-1"] == {"word": "good"}
        assert "the state changed after the plan" in sky.failure(
            "stacks", "apply", "staging", "--saved", str(tmp_path / "plans")
        )

    def test_not_once_the_code_has_changed(self, sky: Cloud, tmp_path: Path) -> None:
        sky.only("saved-2")
        sky.run_json("stacks", "plan", "staging", "--save", str(tmp_path))
        sky.stack("saved-2", GOOD.replace("good", "better"))
        assert "the code changed after the plan" in sky.failure("stacks", "apply", "staging", "--saved", str(tmp_path))

    def test_not_by_another_version(self, sky: Cloud, tmp_path: Path) -> None:
        sky.only("saved-3", program=str(program(NEW)))
        sky.run_json("stacks", "plan", "staging", "--save", str(tmp_path))
        sky.only("saved-3")
        assert "another version of the program" in sky.failure("stacks", "apply", "staging", "--saved", str(tmp_path))

    def test_not_for_another_stack_and_none_at_all(self, sky: Cloud, tmp_path: Path) -> None:
        sky.only("saved-4")
        assert "has no complete plan of this stack" in sky.failure(
            "stacks", "apply", "staging", "--saved", str(tmp_path)
        )


def test_a_protected_environment_asks(sky: Cloud) -> None:
    sky.only("good-7")
    sky.protect()
    assert "add --yes-to staging" in sky.failure("stacks", "apply", "staging")
    sky.run_json("stacks", "apply", "staging", "--yes-to", "staging")


@pytest.mark.parametrize("times", [1, 99])
def test_an_apply_while_drift_is_looked_for(sky: Cloud, times: int) -> None:
    """A program that applies behind our back, so often, after each plan."""
    name = f"raced-{times}"
    real = program(OLD)
    racing = sky.script(
        name,
        f'"{real}" "$@"; code=$?\n'
        f'if [ "$1" = plan ] && [ "$(ls {sky.root}/{name}.* 2>/dev/null | wc -l)" -lt {times} ]; then\n'
        f'  mktemp {sky.root}/{name}.XXXXXX >/dev/null\n'
        f'  "{real}" apply -auto-approve -var word=$(date +%N) >/dev/null 2>&1\n'
        "fi; exit $code",
    )  # fmt: skip
    code = EMPTY + 'variable "word" { default = "x" }\noutput "word" { value = var.word }\n'
    sky.only(name, code=code, program=racing)
    if times == 1:
        sky.run_json("drift", "staging")
    else:
        assert "the state changed during the drift check" in sky.failure("drift", "staging")


def test_a_resource_that_drifts_while_it_is_looked_at(sky: Cloud) -> None:
    """It is told as it was found, and the next look tells the rest."""
    sky.only("drifting", code=SLOW.replace("10.99", "10.97"))
    sky.run_json("stacks", "apply", "staging")
    [vpc] = sky.client("ec2").describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.97.0.0/16"]}])["Vpcs"]
    edit = f"ec2.create_tags(Resources=['{vpc['VpcId']}'], Tags=[{{'Key': 'Own', 'Value': 'mallory'}}])"
    client = f"boto3.client('ec2', endpoint_url='{sky.endpoint}', region_name='eu-central-1')"
    program_ = sky.script(
        "edits",
        f'"{program(OLD)}" "$@"; code=$?\n'
        f"""if [ "$1" = plan ]; then {sys.executable} -c "import boto3; ec2 = {client}; {edit}" || exit 1; fi\n"""
        "exit $code",
    )
    sky.only("drifting", code=SLOW.replace("10.99", "10.97"), program=program_)
    sky.run_json("drift", "staging", "--fail-on", "pending")
    [report] = sky.run_json("drift", "staging", code=2)["environments"]
    [found] = report["stacks"][0]["findings"]
    assert (found["kind"], found["attribute"], found["now"]) == ("changed", "tags.Own", "mallory")


@pytest.mark.parametrize(
    ("spoiled", "says"),
    [
        ("head -c 200", "is incomplete JSON; if Terraform was stopped, try again"),
        ("""sed 's/"format_version":"[0-9]*/"format_version":"2/'""", "is newer than this groundcrew reads"),
        ("""sed 's/"actions"/"deeds"/g'""", "lacks required fields"),
    ],
)
def test_a_plan_that_can_not_be_read_and_is_not_printed_either(sky: Cloud, spoiled: str, says: str) -> None:
    program_ = sky.script(
        "spoils", f'if [ "$1" != show ]; then exec "{program(OLD)}" "$@"; fi\n"{program(OLD)}" "$@" | {spoiled}'
    )
    code = EMPTY + 'output "words" {\n  sensitive = true\n  value = { deep = ["hush-hush-99"] }\n}\n'
    sky.only("spoiled", code=code, program=program_)
    for told in (sky.failure("drift", "staging"), sky.failure("stacks", "plan", "staging")):
        assert says in told
        assert "hush-hush" not in told


def test_a_secret_beside_words_that_sound_like_progress(sky: Cloud) -> None:
    """Plans, outputs and states are JSON with everything in it: no line of theirs is shown as what Terraform does."""
    secret = 'variable "database_password" { sensitive = true }\noutput "hush" {\n  sensitive = true\n'
    secret += "  value = var.database_password\n}\n"
    steps = 'output "steps" { value = "- name: create swap, a.x: Creating..." }\n'
    sky.only("steps", code=EMPTY + secret + steps)
    for command in ("plan", "apply", "output", "plan", "destroy"):
        ended = sky.crew("stacks", command, "staging")
        assert ended.returncode == 0
        assert PASSWORD not in ended.stdout + ended.stderr
        assert "create swap" not in ended.stderr


def test_what_the_code_imports_is_something_to_do(sky: Cloud) -> None:
    topic = sky.client("sns").create_topic(Name="taken")["TopicArn"]
    taken = f'import {{\n  to = aws_sns_topic.x\n  id = "{topic}"\n}}\n'
    sky.only(
        "imports", code=f'{AWS}{taken}resource "aws_sns_topic" "x" {{ name = "taken" }}\n', program=str(program(NEW))
    )
    [report] = sky.run_json("drift", "staging", "--fail-on", "pending", code=2)["environments"]
    told = [(one["kind"], one["address"], one["action"]) for one in report["stacks"][0]["findings"]]
    assert told == [("pending", "aws_sns_topic.x", f"import {topic}")]
    [planned] = sky.run_json("stacks", "plan", "staging")["stacks"]
    assert planned["changes"] == [{"action": "import", "address": "aws_sns_topic.x", "edits": f"from {topic}"}]
    [applied] = sky.run_json("stacks", "apply", "staging")["stacks"]
    assert applied["sentence"] == "1 imported"
    sky.run_json("drift", "staging", "--fail-on", "pending")
    [again] = sky.run_json("stacks", "apply", "staging")["stacks"]
    assert again["sentence"] == "nothing to do"


@pytest.mark.parametrize("version", [OLD, NEW])
def test_what_is_gone_from_the_cloud_and_from_the_code_is_told_until_an_apply(sky: Cloud, version: str) -> None:
    name, network = ("gone-old", "10.95") if version == OLD else ("gone-new", "10.94")
    sky.only(name, code=SLOW.replace("10.99", network), program=str(program(version)))
    sky.run_json("stacks", "apply", "staging")
    ec2 = sky.client("ec2")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": [f"{network}.0.0/16"]}])["Vpcs"]
    ec2.delete_vpc(VpcId=vpc["VpcId"])
    [report] = sky.run_json("drift", "staging", code=2)["environments"]
    assert [one["kind"] for one in report["stacks"][0]["findings"]] == ["missing"]
    sky.stack(name, AWS)
    [report] = sky.run_json("drift", "staging", code=2)["environments"]
    assert [one["kind"] for one in report["stacks"][0]["findings"]] == ["state only"]
    [applied] = sky.run_json("stacks", "apply", "staging")["stacks"]
    assert applied["sentence"] == "1 changed outside, recorded in the state"
    [report] = sky.run_json("drift", "staging", "--fail-on", "pending")["environments"]
    assert report["stacks"][0]["findings"] == []


def test_two_environments_never_mix(sky: Cloud) -> None:
    """One stack, two environments: a state, a folder of Terraform's own and a line in the report for each."""
    sky.only("shared")
    staging = sky.root / "inventories" / "staging.toml"
    (sky.root / "inventories" / "other").write_text("servers = []\n")
    (sky.root / "inventories" / "other.toml").write_text(
        staging.read_text().replace('name = "staging"', 'name = "other"')
    )
    sky.run_json("stacks", "apply", "staging")
    reports = sky.run_json("drift", "--all", "--fail-on", "pending", code=2)["environments"]
    assert [(one["environment"], one["pending"]) for one in reports] == [("other", True), ("staging", False)]
    sky.run_json("stacks", "apply", "other")
    sky.run_json("drift", "other", "staging", "--fail-on", "pending")
    keys = {one["Key"] for one in sky.client("s3").list_objects_v2(Bucket=sky.bucket)["Contents"]}
    assert {"staging/shared", "other/shared"} <= keys
    (sky.root / "inventories" / "other.toml").unlink()
    (sky.root / "inventories" / "other").unlink()


def answered(sky: Cloud, answer: str) -> tuple[int, str]:
    """How `crew stacks apply` ends, asked at a terminal."""
    argv, environment = sky.argv("stacks", "apply", "staging"), sky.process_environment()
    return terminal.answered(argv, environment, "type the environment's name: ", answer)


class TestAsked:
    @pytest.mark.parametrize(
        ("answer", "why"),
        [("production", "the answer was not staging"), ("", "stopped by SIGINT")],
        ids=["no", "Ctrl-C"],
    )
    def test_whatever_is_not_yes_applies_nothing_and_tells_of_all_stacks(
        self, sky: Cloud, answer: str, why: str
    ) -> None:
        sky.only("asked", "bad", "later", after={"later": ("asked",)})
        sky.stack("bad", GOOD + "resource {")
        sky.protect()
        code, said = answered(sky, answer)
        assert (code, "Terraform is finishing" in said) == (1, False)
        assert f"not applied: {why}" in said
        assert re.search(r"failed +bad ", said), "by its own fault, or stopped too where that came first"
        assert "because asked failed" in said

    def test_yes(self, sky: Cloud) -> None:
        sky.only("asked-2")
        sky.protect()
        code, said = answered(sky, "staging")
        assert (code, "1 output" in said) == (0, True)


class TestEnded:
    def test_ctrl_c_lets_terraform_give_its_lock_back(self, sky: Cloud) -> None:
        sky.only("slow-3", code=SLOW.replace("10.99", "10.98"))
        with sky.applying() as crew:
            crew.send_signal(signal.SIGINT)
            told, _ = crew.communicate()
            assert (crew.returncode, "stopped by SIGINT" in told) == (1, True)
        assert sky.run_json("stacks", "unlock", "staging", "slow-3")["sentence"] == "staging/slow-3 is not locked"
        sky.run_json("stacks", "apply", "staging")

    def test_a_second_ctrl_c_says_what_is_risked_and_reaches_nobody(self, sky: Cloud) -> None:
        heard = sky.root / "heard"
        patient = sky.script(
            "patient",
            f'if [ "$1" != apply ]; then exec "{program(OLD)}" "$@"; fi\n'
            f"trap 'echo INT >>{heard}; sleep 2; echo ended >>{heard}; exit 1' INT\n"
            'echo "a.x: Creating..."; while :; do sleep 0.1; done',
        )  # fmt: skip
        sky.only("good-8", program=patient)
        with sky.applying() as crew:
            assert crew.stdout
            crew.send_signal(signal.SIGINT)
            assert any("was told to end" in line for line in crew.stdout)
            crew.send_signal(signal.SIGINT)
            told, _ = crew.communicate()
        assert (crew.returncode, heard.read_text().split()) == (1, ["INT", "ended"])
        assert "in no state, and the lock would stay" in told
