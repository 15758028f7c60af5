"""Saved states: listed, compared and restored, with the oldest and the newest supported Terraform."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.parts.cloud import EMPTY, GOOD, Cloud, cloud
from tests.parts.terraform import NEW, OLD, program

pytestmark = pytest.mark.long

WORD = EMPTY + 'variable "word" { sensitive = true }\nresource "terraform_data" "a" { input = var.word }\n'


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), NEW) as made:
        made.run_json("stacks", "bootstrap", "staging")
        yield made


def with_key(aws: Cloud) -> None:
    """Give the environment the key that decrypts its states."""
    key = aws.root / "key"
    key.write_text(aws.identity)
    key.chmod(0o600)
    file = aws.root / "inventories" / "staging.toml"
    file.write_text(file.read_text().replace("encrypt_to", f'decrypt_with = {{ file = "{key}" }}\nencrypt_to'))


def serial_of(aws: Cloud, stack: str) -> int:
    body = aws.client("s3").get_object(Bucket=aws.bucket, Key=f"staging/{stack}")["Body"].read()
    return int(json.loads(body)["serial"])


def test_a_state_is_listed_compared_and_restored(aws: Cloud) -> None:
    aws.only("words", code=WORD)
    with_key(aws)
    assert aws.run_json("stacks", "states", "staging", "words")["states"] == []
    for word in ("hush-1", "hush-2", "hush-3"):
        aws.run_json("stacks", "apply", "staging", "--yes", TF_VAR_word=word)
    newest, first, empty = aws.run_json("stacks", "states", "staging", "words")["states"]
    assert {state["before"] for state in (newest, first, empty)} == {"apply"}
    assert newest["serial"] > first["serial"] > empty["serial"]
    shown = aws.run_json("stacks", "states", "staging", "words", "--show", first["id"])
    assert (shown["addresses"], shown["serial"]) == (["terraform_data.a"], first["serial"])
    compared = aws.crew("stacks", "states", "staging", "words", "--diff", first["id"], "current")
    assert compared.stdout.splitlines()[1:] == ["  ~ terraform_data.a  input, output"]
    assert "hush" not in compared.stdout + compared.stderr

    assert "add --yes" in aws.failure("stacks", "states", "staging", "words", "--restore", first["id"], code=64)
    before = serial_of(aws, "words")
    restored = aws.run_json("stacks", "states", "staging", "words", "--restore", first["id"], "--yes")
    assert [change["address"] for change in restored["changes"]] == ["terraform_data.a"]
    assert serial_of(aws, "words") > before
    same = aws.run_json("stacks", "states", "staging", "words", "--diff", first["id"], "current")
    assert same["changes"] == []
    saved = aws.run_json("stacks", "states", "staging", "words")["states"][0]
    assert (saved["before"], saved["serial"]) == ("restore", before)
    [run] = aws.run_json("runs", "staging", "restore")["runs"]
    assert (run["subject"], run["outcome"]) == ("words", "done")
    again = aws.run_json("stacks", "states", "staging", "words", "--restore", first["id"], "--yes")
    assert "nothing to restore" in again["sentence"]


def test_a_lost_state_is_restored(aws: Cloud) -> None:
    aws.only("lost", program=str(program(OLD)), state=table(aws))
    with_key(aws)
    aws.run_json("stacks", "apply", "staging", "--yes")
    aws.stack("lost", GOOD.replace("good", "better"))
    aws.run_json("stacks", "apply", "staging", "--yes")
    saved, _empty = aws.run_json("stacks", "states", "staging", "lost")["states"]
    aws.client("s3").delete_object(Bucket=aws.bucket, Key="staging/lost")
    aws.client("dynamodb").delete_item(TableName="locks", Key={"LockID": {"S": f"{aws.bucket}/staging/lost-md5"}})
    aws.run_json("stacks", "states", "staging", "lost", "--restore", saved["id"], "--yes")
    assert aws.run_json("stacks", "output", "staging")["stacks"]["lost"] == {"word": "good"}


def test_a_state_of_another_lineage_is_not_restored(aws: Cloud) -> None:
    aws.only("made-anew")
    with_key(aws)
    for word in ("good", "better"):
        aws.stack("made-anew", GOOD.replace("good", word))
        aws.run_json("stacks", "apply", "staging", "--yes")
    saved, _empty = aws.run_json("stacks", "states", "staging", "made-anew")["states"]
    aws.client("s3").delete_object(Bucket=aws.bucket, Key="staging/made-anew")
    aws.run_json("stacks", "apply", "staging", "--yes")
    output = aws.failure("stacks", "states", "staging", "made-anew", "--restore", saved["id"], "--yes")
    assert "another lineage" in output


def test_a_restore_stops_at_a_lock_at_another_change_and_without_the_key(aws: Cloud) -> None:
    aws.only("raced")
    for word in ("good", "better"):
        aws.stack("raced", GOOD.replace("good", word))
        aws.run_json("stacks", "apply", "staging", "--yes")
    saved, _empty = aws.run_json("stacks", "states", "staging", "raced")["states"]
    restore = ("stacks", "states", "staging", "raced", "--restore", saved["id"])
    assert "no key to decrypt it; set decrypt_with" in aws.failure(*restore, "--yes")
    with_key(aws)
    aws.protect()
    assert "add --yes-to staging" in aws.failure(*restore, "--yes", code=64)

    lock = {"ID": "1-2", "Who": "bob@laptop", "Created": "2026-11-29T02:00:00Z", "Operation": "OperationTypeApply"}
    key = "staging/raced.tflock"
    aws.client("s3").put_object(Bucket=aws.bucket, Key=key, Body=json.dumps(lock))
    locked = aws.failure(*restore, "--yes-to", "staging", "--lock-timeout", "0s")
    assert "locked by bob@laptop" in locked
    aws.client("s3").delete_object(Bucket=aws.bucket, Key=key)

    real = program(NEW)
    racing = aws.script(
        "racing",
        f'if [ "$1 $2" = "state push" ]; then "{real}" apply -auto-approve -var x=y >/dev/null 2>&1; fi\n'
        f'exec "{real}" "$@"',
    )
    aws.only("raced", code=EMPTY + 'variable "x" { default = "x" }\noutput "word" { value = var.x }\n', program=racing)
    with_key(aws)
    assert "the state changed during this command" in aws.failure(*restore, "--yes")
    assert aws.run_json("stacks", "output", "staging")["stacks"]["raced"] == {"word": "y"}


def table(aws: Cloud) -> str:
    """The state's location for a Terraform that cannot lock with files."""
    aws.client("dynamodb").create_table(
        TableName="locks",
        KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return f'{{ bucket = "{aws.bucket}", region = "eu-central-1", endpoint = "{aws.endpoint}", lock_table = "locks" }}'
