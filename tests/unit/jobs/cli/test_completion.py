"""Shell completion, called as bash and zsh call it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from tests.parts.needs import needs
from tests.parts.patience import deadline
from tests.unit.jobs.cli.conftest import HEAD, Write, databases
from tests.unit.jobs.cli.test_stacks import STACK


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., str]:
    """Runs a script in a shell with `crew` on its PATH."""
    program = tmp_path / "bin" / "crew"
    program.parent.mkdir()
    checkout = Path(cli.__file__).parents[2]
    program.write_text(f'#!/bin/sh\nPYTHONPATH={checkout} exec {sys.executable} -m jobs.cli "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}

    def run(name: str, script: str) -> str:
        ended = subprocess.run(
            [name, *{"bash": ["--norc"], "zsh": ["-f"]}[name], "-c", script],
            capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=deadline(30), check=False,
        )  # fmt: skip
        assert ended.stderr == ""
        return ended.stdout

    return run


START = 'eval "$(crew --show-completion)"'
COMPLETE = """
complete_line() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _crew_completion crew; echo "${{COMPREPLY[@]}}"; }}
complete_line {line}
"""

OFFERS = {
    "crew stat": ["status"],
    'crew check ""': ["other", "try"],
    "crew check t": ["try"],
    "crew run ba": ["backup"],
    'crew run backup ""': ["other", "try"],
    'crew run backup try --only ""': ["shop", "stock"],
    'crew run drift try --only ""': ["network"],
    'crew run copy try --only ""': ["offsite", "offsite.shop", "offsite.stock"],
    "crew runs try backup sh": ["shop"],
    "crew runs try copy offsite.sh": ["offsite.shop"],
    'crew stacks plan try ""': ["network"],
    'crew stacks rollback try ""': ["network"],
    'crew backups list try ""': ["shop", "stock"],
    'crew backups restore try ""': ["shop", "stock"],
    'crew backups verify try ""': ["shop", "stock"],
    'crew alerts ""': ["test"],
    "crew run --sch": ["--scheduled"],
    'crew check nothing ""': [],
}


@pytest.fixture
def environments(write: Write) -> None:
    write(databases("shop", "stock") + STACK + '[copies.offsite]\nurl = "file:///offsite"\n')
    write(databases("elsewhere"), name="other", head=HEAD.replace('"try"', '"other"'))


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("line", OFFERS)
def test_the_words_that_complete_a_line(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Completion, called in this process with the variables that bash sets."""
    words = shlex.split(line)
    variables = {"_CREW_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": len(words) - 1}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(SystemExit):
        cli.run_command_line([])
    assert sorted(capsys.readouterr().out.split()) == OFFERS[line]


@pytest.mark.usefixtures("environments")
def test_bash_completes(shell: Callable[..., str]) -> None:
    lines = ['crew run backup try --only ""', "crew run --sch", 'crew check nothing ""']
    printed = shell("bash", START + "".join(COMPLETE.format(line=line) for line in lines))
    assert [sorted(offered.split()) for offered in printed.splitlines()] == [OFFERS[line] for line in lines]


def test_an_invalid_file_completes_nothing_and_prints_nothing(shell: Callable[..., str], write: Write) -> None:
    write("nonsense")
    assert shell("bash", START + COMPLETE.format(line='crew run backup try --only ""')).strip() == ""


def test_installed_completion_works_in_a_new_bash(shell: Callable[..., str], write: Write) -> None:
    write()
    # Without `; true` bash replaces itself with crew, which then cannot find out which shell called it.
    assert "completion installed" in shell("bash", "crew --install-completion; true")
    script = 'source "$HOME/.bashrc"\n' + COMPLETE.format(line="crew stat")
    assert shell("bash", script).split() == ["status"]


ZSH = """
autoload -Uz compinit; compinit -u -d "$HOME/.zcompdump"
eval "$(crew --show-completion)"
_arguments() { print -r -- "$1"; }
words=(crew check ""); CURRENT=3
_crew_completion
"""


@needs("zsh")
def test_zsh_completes(shell: Callable[..., str], write: Write) -> None:
    write()
    assert '"try"' in shell("zsh", ZSH)
