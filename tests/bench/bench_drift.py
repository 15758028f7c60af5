"""The cost of `crew drift`, compared with `terraform plan`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench import Bench, Side
from tests.parts.cloud import Cloud, add_debian_image, cloud
from tests.parts.terraform import NEW, program

CREW = Path(sys.executable).with_name("crew")


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    with applied(folder, "network") as made:
        crew = f"{CREW} --root {made.root} drift staging"
        environment = made.process_environment()
        as_it_should_be, edited = (partial(owned_by, made, owner) for owner in ("platform@acme.example", "mallory"))
        terraform, tag = bare(made, "network"), "terraform plan -out, show -json, with an edited tag"
        yield [
            Side("terraform plan -out, show -json", terraform, environment, before=as_it_should_be),
            Side("crew drift", crew, environment, before=as_it_should_be, times=1.05),
            Side(tag, terraform, environment, before=edited),
            Side("crew drift, which finds it", f"{crew}; test $? = 2", environment, before=edited, than={tag: 1.05}),
        ]


def owned_by(made: Cloud, owner: str) -> None:
    """Change a tag in the cloud."""
    ec2 = made.client("ec2")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.20.0.0/16"]}])["Vpcs"]
    ec2.create_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Owner", "Value": owner}])


@contextmanager
def applied(folder: Path, *stacks: str, after: Mapping[str, Sequence[str]] = {}) -> Iterator[Cloud]:
    """A cloud to which these stacks are applied."""
    with cloud(folder, NEW) as made:
        add_debian_image(made)
        made.settings({name: after.get(name, ()) for name in stacks})
        made.run_json("stacks", "bootstrap", "staging")
        made.run_json("stacks", "apply", "staging", "--yes")
        yield made


def bare(made: Cloud, stack: str) -> str:
    """The command line."""
    terraform = program(NEW)
    data = made.root / ".cache" / "terraform" / "staging" / stack
    values = [f"-var-file={made.root}/terraform/environments/staging/{name}.tfvars" for name in ("all", stack)]
    plan = shlex.join([str(terraform), "plan", "-lock=false", "-input=false", f"-out={data}/bare", *values])
    show = shlex.join([str(terraform), "show", "-json", f"{data}/bare"])
    there = f"cd {made.root}/terraform/stacks/{stack} && export TF_DATA_DIR={data}"
    return f"{there} && {plan} >/dev/null && {show} >/dev/null"


BENCH = Bench("drift of one stack (7 resources, an emulator of AWS on the same two cores)", sides, rounds=5)
