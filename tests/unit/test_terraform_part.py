"""Where the tests find the AWS provider."""

from __future__ import annotations

from pathlib import Path

from tests.parts.terraform import STACKS, has_provider, locked_version, mirrors


def test_the_mirror_of_the_settings_file_comes_first(tmp_path: Path) -> None:
    settings = tmp_path / "terraformrc"
    settings.write_text(
        'provider_installation {\n  filesystem_mirror {\n    path = "/srv/mirror"\n  }\n  direct {}\n}\n'
    )
    folder = tmp_path / "opt" / "plugins"
    (folder / "registry.terraform.io").mkdir(parents=True)
    places = [str((tmp_path / "opt" / "*" / "registry.terraform.io").relative_to("/"))]
    assert mirrors(settings, places)[:2] == [Path("/srv/mirror"), folder]
    assert mirrors(Path(), places)[0] == folder


def test_a_mirror_holds_folders_or_archives(tmp_path: Path) -> None:
    assert not has_provider(tmp_path, "5.100.0")
    folder = tmp_path / "registry.terraform.io" / "hashicorp" / "aws"
    folder.mkdir(parents=True)
    (folder / "terraform-provider-aws_5.100.0_linux_amd64.zip").touch()
    assert has_provider(tmp_path, "5.100.0")
    assert not has_provider(tmp_path, "5.99.0")
    (folder / "5.99.0").mkdir()
    assert has_provider(tmp_path, "5.99.0")


def test_every_stack_locks_the_same_provider() -> None:
    files = sorted(STACKS.glob("*/.terraform.lock.hcl"))
    assert len(files) == len(list(STACKS.glob("*/main.tf")))
    assert len({file.read_text() for file in files}) == 1
    assert locked_version().startswith("5.")
