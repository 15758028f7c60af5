"""The script of the workflow that deploys apps, with a stand-in for pyinfra that shows how it is called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.parts.readme import ROOT

SHOW = """#!/bin/sh
echo "$0" "$@" "key=${HOSTS_SSH_KEY-unset}"
for file in $(echo "$@" | grep -o '/[^ =]*/key'); do stat -c '%a' "$file"; sha256sum <"$file"; done
exit ${CODE-0}
"""
KEY = "a line of a key\nanother line"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone of a repository with one commit on main."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", "-C"]
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", origin], check=True)
    subprocess.run([*git, origin, "commit", "--quiet", "--allow-empty", "-m", "First"], check=True)
    subprocess.run(["git", "clone", "--quiet", origin, clone], check=True)
    for name in ("pyinfra", "crew"):
        (tmp_path / name).write_text(SHOW)
        (tmp_path / name).chmod(0o755)
    return clone


def deploy(checkout: Path, **more: str) -> subprocess.CompletedProcess[str]:
    folder = checkout.parent
    path = f"{folder}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "TMPDIR": str(folder), "GITHUB_ACTIONS": "true", **more}
    script = [ROOT / "deploys/ci/apps.sh", "staging"]
    return subprocess.run(script, cwd=checkout, env=variables, capture_output=True, text=True, check=False)


def test_it_deploys_with_the_key_of_the_job_and_shows_what_runs(checkout: Path) -> None:
    done = deploy(checkout, HOSTS_SSH_KEY=KEY, HOSTS_KNOWN_HOSTS="host ssh-ed25519 AAAA")
    assert done.returncode == 0, done.stderr
    deployed, mode, _, shown = done.stdout.splitlines()
    folder = checkout.parent
    command, _, _ = deployed.replace(f"{folder}/tmp.", "").partition(" key=")
    options = [word for word in command.split() if not word.startswith("ssh_k")]
    assert options == [
        f"{folder}/pyinfra", "-y", "--data", "ssh_strict_host_key_checking=yes", "--data", "apps_record=true",
        "--data", "--data", "inventories/staging", "deploys/k3s_apps.py",
    ]  # fmt: skip
    assert "ssh_known_hosts_file=" in command
    assert (mode, shown) == ("600", f"{folder}/crew apps staging key=unset")
    assert KEY.splitlines()[0] not in done.stdout
    assert not list(folder.glob("tmp.*")), "the key is removed"


def test_a_failed_deploy_fails_the_job_and_leaves_no_key(checkout: Path) -> None:
    done = deploy(checkout, HOSTS_SSH_KEY=KEY, CODE="1")
    assert done.returncode == 1
    assert "crew apps" not in done.stdout
    assert not list(checkout.parent.glob("tmp.*"))


def test_a_commit_that_is_not_on_main_is_not_deployed(checkout: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", "-C", checkout]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "Not reviewed"], check=True)
    done = deploy(checkout)
    assert (done.returncode, done.stdout) == (1, "")
    assert "HEAD is not part of the branch main" in done.stderr
    by_hand = deploy(checkout, GITHUB_ACTIONS="")
    assert by_hand.returncode == 0
    assert "ssh_key=" not in by_hand.stdout
