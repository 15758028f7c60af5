"""The shipped files themselves: formatted, named where they are used, valid."""

from __future__ import annotations

import subprocess

import pytest

from inventories import Repository
from terraform.place import Place
from tests.parts.terraform import ROOT, both_versions, program, settings


@both_versions
def test_it_is_formatted(version: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "TF_CLI_CONFIG_FILE": str(settings())}
    argv = [program(version), "fmt", "-check", "-recursive", "-diff", ROOT / "terraform"]
    ended = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("name", ["dev", "staging", "production"])
def test_every_stack_of_an_environment_has_its_values(name: str) -> None:
    environment = Repository.find(ROOT).read(name)
    assert environment.stacks
    for stack in environment.stacks:
        files = [file.name for file in Place(ROOT, name, stack).var_files]
        assert files == ["all.tfvars", f"{stack}.tfvars"]
