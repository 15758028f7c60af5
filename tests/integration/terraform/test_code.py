"""The shipped Terraform files: formatting, values and conventions."""

from __future__ import annotations

import re
import subprocess

from inventories import Repository
from terraform.paths import StackPaths
from tests.parts.terraform import ROOT, both_versions, program, settings

SHIPPED = Repository.find(ROOT)


@both_versions
def test_the_code_is_formatted(version: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "TF_CLI_CONFIG_FILE": str(settings())}
    argv = [program(version), "fmt", "-check", "-recursive", "-diff", ROOT / "terraform"]
    completed = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert completed.stdout == ""


STACKS = [(name, stack) for name in SHIPPED.names() for stack in SHIPPED.read(name).stacks]


def test_all_stacks_share_one_settings_file() -> None:
    files = sorted((ROOT / "terraform" / "stacks").glob("*/settings.tf"))
    assert len(files) == len(list((ROOT / "terraform" / "stacks").glob("*/main.tf")))
    different = [str(file) for file in files if file.read_text() != files[0].read_text()]
    assert different == [], f"these differ from {files[0]}"


def test_each_values_file_belongs_to_a_known_stack() -> None:
    """Otherwise the tests below would check nothing and pass."""
    files = (ROOT / "terraform" / "environments").glob("*/*.tfvars")
    assert {(file.parent.name, file.stem) for file in files if file.stem != "all"} <= set(STACKS)


def test_databases_are_referenced_by_identifier() -> None:
    """Since provider 5, `id` is a name that other resources do not accept."""
    code = "".join(file.read_text() for file in (ROOT / "terraform").glob("[ms]*/**/*.tf"))
    assert re.findall(r"replicate_source_db += (\S+)", code) == ["aws_db_instance.primary.identifier"]
    assert re.findall(r"\baws_db_instance\.\w+(?:\[[^]]*\])?\.id\b", code) == []


def test_each_stack_of_an_environment_has_values() -> None:
    for name, stack in STACKS:
        files = [file.name for file in StackPaths(ROOT, name, stack).var_files]
        assert files == ["all.tfvars", f"{stack}.tfvars"], name


def test_the_values_match_the_variables_of_the_stack() -> None:
    from_the_process = {"database_password", "image_owner"}
    for name, stack in STACKS:
        paths = StackPaths(ROOT, name, stack)
        code = "".join(file.read_text() for file in (ROOT / "terraform" / "stacks" / stack).glob("*.tf"))
        blocks = dict(re.findall(r'^variable "(\w+)" \{\n((?:  .*\n)*)', code, re.MULTILINE))
        values = re.findall(r"^(\w+) +=", "".join(file.read_text() for file in paths.var_files), re.MULTILINE)
        assert set(values) <= set(blocks), (name, stack)
        required = {variable for variable, block in blocks.items() if " default " not in block} - from_the_process
        assert required <= set(values), (name, stack)
