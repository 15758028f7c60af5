"""The module of K3s hosts, applied to the AWS emulator with several servers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import boto3
import pytest

from tests.parts import s3
from tests.parts.needs import needs
from tests.parts.terraform import NEW, ROOT, override, program, settings

REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION}  # pragma: allowlist secret


@pytest.mark.long
@needs("terraform", "aws-provider")
def test_nodes_talk_by_private_addresses_and_people_through_a_load_balancer(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    shutil.copytree(ROOT / "terraform" / "modules" / "cluster", folder)
    with s3.moto(tmp_path) as endpoint:
        (folder / "emulator.tf").write_text(override())
        ec2 = boto3.client(
            "ec2", endpoint_url=endpoint, region_name=REGION, aws_access_key_id="key", aws_secret_access_key="secret"
        )
        vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.20.{at}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]
            for at, zone in enumerate("ab")
        ]
        values = {
            "name": "acme-test",
            "vpc_id": vpc,
            "subnets": [subnet["SubnetId"] for subnet in subnets],
            "image": ec2.describe_images()["Images"][0]["ImageId"],
            "servers": 3,
            "agents": 1,
            "server": {"type": "t3.large", "disk": 60},
            "agent": {"type": "t3.large", "disk": 60},
            "admins": ["198.51.100.0/24"],
            "user": "admin",
            "ssh_keys": ["ssh-ed25519 AAAAexample you@acme.example"],
            "tags": {"Owner": "platform"},
        }
        (folder / "terraform.tfvars.json").write_text(json.dumps(values))
        for words in (["init"], ["apply", "-auto-approve"]):
            terraform(folder, endpoint, *words)
        output = json.loads(terraform(folder, endpoint, "output", "-json"))
    outputs = {name: each["value"] for name, each in output.items()}
    hosts = [*outputs["k3s_servers"], *outputs["k3s_agents"]]
    [network] = {host["k3s_address"].rsplit(".", 2)[0] for host in hosts}
    assert network == "10.20", "the nodes' addresses are those of the subnets"
    assert not any(host["ssh_hostname"].startswith(network) for host in hosts)
    assert len({host["k3s_address"] for host in hosts}) == 4
    assert {host["k3s_endpoint"] for host in outputs["k3s_servers"]} == {outputs["k3s_endpoint"]}
    assert outputs["k3s_endpoint"].startswith("acme-test-api-")


def terraform(folder: Path, endpoint: str, *words: str) -> str:
    own = {"TF_CLI_CONFIG_FILE": str(settings()), "AWS_ENDPOINT_URL": endpoint, **KEYS}
    environment = {"PATH": os.environ["PATH"], **own}
    argv = [program(NEW), *words, *(["-no-color"] if words[0] != "output" else [])]
    ended = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
