"""What it costs to ask crew instead of Terraform whether a stack is as it should be."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import Bench, Side
from tests.parts.cloud import Cloud, cloud
from tests.parts.terraform import OLD, program

CREW = Path(sys.executable).with_name("crew")


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    with applied(folder, "network") as made:
        yield [
            Side("terraform plan -out, show -json", bare(made, "network"), environment=made.process_environment()),
            Side(
                "crew drift, one stack",
                [CREW, "--root", made.root, "drift", "staging"],
                environment=made.process_environment(),
                times=1.05,
            ),
        ]


@contextmanager
def applied(folder: Path, *stacks: str, after: Mapping[str, Sequence[str]] = {}) -> Iterator[Cloud]:
    """A cloud with these stacks, applied."""
    with cloud(folder, OLD) as made:
        made.settings({name: after.get(name, ()) for name in stacks})
        made.told("stacks", "bootstrap", "staging")
        made.told("stacks", "apply", "staging")
        yield made


def bare(made: Cloud, stack: str) -> str:
    """What one would type."""
    terraform = program(OLD)
    data = made.root / ".cache" / "terraform" / "staging" / stack
    values = [f"-var-file={made.root}/terraform/environments/staging/{name}.tfvars" for name in ("all", stack)]
    plan = shlex.join([str(terraform), "plan", "-lock=false", "-input=false", f"-out={data}/bare", *values])
    show = shlex.join([str(terraform), "show", "-json", f"{data}/bare"])
    there = f"cd {made.root}/terraform/stacks/{stack} && export TF_DATA_DIR={data}"
    return f"{there} && {plan} >/dev/null && {show} >/dev/null"


BENCH = Bench("drift of one stack (7 resources, an emulator of AWS on the same two cores)", sides, rounds=7)
