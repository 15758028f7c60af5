"""A cloud for tests: a repository with the shipped stacks, an AWS emulator, and one version of Terraform."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage

from inventories import Environment, Repository
from tests.parts import s3
from tests.parts import terraform as parts
from tests.parts.patience import until
from tests.parts.store import mark

REGION = "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": s3.KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET, "AWS_REGION": REGION}
PASSWORD = "never-to-be-shown-1"
STACKS = {"network": (), "cluster": ("network",), "database": ("network",), "backups": (), "monitoring": ()}
EMPTY = 'terraform {\n  backend "s3" {}\n}\n'
"""A stack without a provider, which is quick."""
GOOD = EMPTY + 'output "word" { value = "good" }\n'
SLEEPS = EMPTY + 'resource "terraform_data" "slow" {\n  provisioner "local-exec" { command = "sleep 2" }\n}\n'
AWS = EMPTY + f'provider "aws" {{\n  region = "{REGION}"\n}}\n'
SLOW = AWS + 'resource "aws_vpc" "slow" { cidr_block = "10.99.0.0/16" }\n'
VALUES = Path(__file__).parent / "values"  # the shipped values of staging, copied: a fork changes its own
_KEY = pyrage.x25519.Identity.generate()


@dataclass(frozen=True)
class Cloud:
    """A repository whose environment staging uses an emulator."""

    root: Path
    endpoint: str
    version: str
    bucket: str
    more: Mapping[str, str] = field(default_factory=dict)
    recipient: str = str(_KEY.to_public())
    identity: str = str(_KEY)

    @property
    def environment(self) -> Environment:
        return Repository.find(self.root).read("staging")

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables for Terraform and crew."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "TF_CLI_CONFIG_FILE": str(parts.settings()),
            "TF_VAR_database_password": PASSWORD,
            "TF_VAR_image_owner": "123456789012",  # the emulator's own account
            "GOGC": "200",  # Go collects garbage less often: a quarter less CPU for a plan
        }

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "jobs.cli", "--root", str(self.root), *args]

    def process_environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(parts.ROOT), **self.variables, **self.more, **more}

    def crew(self, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `crew …` in a process."""
        return subprocess.run(
            self.argv(*args), env=self.process_environment(**more), capture_output=True, text=True, check=False
        )

    def run_json(self, *args: str, code: int = 0, **more: str) -> Any:
        """Run `crew … --json`, check the exit code and return the JSON."""
        ended = self.crew(*args, "--json", **more)
        assert ended.returncode == code, f"{ended.returncode}: {ended.stdout}\n{ended.stderr}"
        return json.loads(ended.stdout)

    def client(self, service: str) -> Any:
        import boto3

        keys = {"aws_access_key_id": s3.KEY, "aws_secret_access_key": s3.SECRET}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, **keys)

    def settings(
        self, stacks: Mapping[str, Sequence[str]] = STACKS, more: str = "", state: str = "", **terraform: Any
    ) -> None:
        """Write the environment's file."""
        program = terraform.pop("program", str(parts.program(self.version)))
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in terraform.items())
        lock = 'lock_table = "locks"' if self.version == parts.OLD else 'lock = "file"'
        where = state or f'{{ bucket = "{self.bucket}", region = "{REGION}", endpoint = "{self.endpoint}", {lock} }}'
        sections = "".join(f"[stacks.{name}]\nafter = {json.dumps(list(after))}\n" for name, after in stacks.items())
        mark(self.root / "store", "staging")
        folder = self.root / "inventories"
        folder.mkdir(exist_ok=True)
        (folder / "staging").write_text("servers = []\n")
        (folder / "staging.toml").write_text(
            '[environment]\nname = "staging"\n'
            f'[store]\nurl = "file://{self.root}/store"\nencrypt_to = ["{self.recipient}"]\n'
            f'[terraform]\nprogram = "{program}"\nstate = {where}\n{lines}{sections}{more}'
        )

    def stack(self, name: str, code: str) -> Path:
        """Add a stack to the repository."""
        folder = self.root / "terraform" / "stacks" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.tf").write_text(code)
        if "provider" in code:
            (folder / "emulator_override.tf").write_text(parts.override())
        return folder

    def only(
        self, *names: str, code: str = GOOD, after: Mapping[str, Sequence[str]] | None = None, **more: Any
    ) -> None:
        """Set the stacks of the environment, all with the same code."""
        for name in names:
            self.stack(name, code)
        self.settings({name: (after or {}).get(name, ()) for name in names}, **more)

    def protect(self) -> None:
        """Protect the environment: changes need a confirmation."""
        file = self.root / "inventories" / "staging.toml"
        file.write_text(file.read_text().replace('name = "staging"', 'name = "staging"\nprotected = true'))

    def failure(self, *args: str, code: int = 1, **more: str) -> str:
        """Run `crew …`, check that it exits with the code and without a traceback, and return its output."""
        ended = self.crew(*args, **more)
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout + ended.stderr

    @contextmanager
    def asking_who_it_is(
        self, may: Sequence[str] = ("*",), name: str = "", statements: Sequence[Mapping[str, Any]] = ()
    ) -> Iterator[dict[str, str]]:
        """Make the emulator check credentials and permissions inside this context. Yield those of a new user."""
        iam, everything = self.client("iam"), {"Effect": "Allow", "Action": list(may), "Resource": "*"}
        name = name or f"known-{secrets.token_hex(4)}"
        iam.create_user(UserName=name)
        policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements) or [everything]})
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self._ask_after(0)
        try:
            yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        finally:
            self._ask_after(math.inf)

    def _ask_after(self, requests: float) -> None:
        body, headers = str(requests).encode(), {"Content-Type": "application/octet-stream"}
        asked = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", body, headers)
        urllib.request.urlopen(asked).close()

    def script(self, name: str, text: str) -> str:
        """Write a script that replaces Terraform."""
        file = self.root / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return str(file)

    @contextmanager
    def applying(self) -> Iterator[subprocess.Popen[str]]:
        """Run `crew stacks apply` and yield it when it creates the first resource."""
        line, pipes = (
            self.argv("stacks", "apply", "staging", "--yes"),
            {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT},
        )
        with subprocess.Popen(line, env=self.process_environment(), text=True, **pipes) as crew:
            try:
                assert crew.stdout
                assert any("Creating..." in line for line in crew.stdout)
                yield crew
            finally:
                crew.kill()

    def set(self, stack: str, old: str, new: str) -> None:
        """Replace a text in the values of a stack."""
        file = self.root / "terraform" / "environments" / "staging" / f"{stack}.tfvars"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    def settle(self) -> None:
        """Repair the security groups of instances, which only the emulator forgets, and refresh the state."""
        ec2 = self.client("ec2")
        for reservation in ec2.describe_instances()["Reservations"]:
            for one in reservation["Instances"]:
                groups = [group["GroupId"] for card in one["NetworkInterfaces"] for group in card["Groups"]]
                ec2.modify_instance_attribute(InstanceId=one["InstanceId"], Groups=groups)
        values = [f"-var-file={self.root}/terraform/environments/staging/{name}.tfvars" for name in ("all", "cluster")]
        subprocess.run(
            [parts.program(self.version), "apply", "-refresh-only", "-auto-approve", *values],
            cwd=self.root / "terraform" / "stacks" / "cluster",
            env=self.process_environment(TF_DATA_DIR=str(self.root / ".cache" / "terraform" / "staging" / "cluster")),
            check=True,
            capture_output=True,
        )


@contextmanager
def cloud(folder: Path, version: str, **more: str) -> Iterator[Cloud]:
    """An emulator, and a repository that has the shipped stacks."""
    (folder / "moto").mkdir()
    with s3.moto(folder / "moto") as endpoint:
        made = Cloud(folder / "repository", endpoint, version, f"state-{secrets.token_hex(4)}", more)
        code = made.root / "terraform"
        for name in ("modules", "stacks"):
            shutil.copytree(parts.ROOT / "terraform" / name, code / name, ignore=shutil.ignore_patterns(".terraform"))
        shutil.copytree(VALUES, code / "environments" / "staging")
        for stack in (code / "stacks").iterdir():
            aliases = ["replica"] if (stack / "replica.tf").exists() else []
            (stack / "emulator_override.tf").write_text(parts.override(*aliases))
        made.settings()
        yield made


def add_debian_image(made: Cloud) -> None:
    """Create the image that the stack `cluster` starts hosts from. The emulator needs 3 s of CPU for it."""
    ec2 = made.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    [instance] = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"]
    ec2.create_image(InstanceId=instance["InstanceId"], Name="debian-12-amd64-20261101-1")
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])


def child_of(pid: int) -> int:
    """The only child of a process; waits until it has one."""
    found: list[int] = []

    def there() -> bool:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        found[:] = [int(one) for task in tasks for one in (task / "children").read_text().split()]
        return bool(found)

    until(there)
    [child] = found
    return child
