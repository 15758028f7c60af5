"""`crew run hosts` on this machine and on a host that does not answer: what it reports, and what stays secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.hosts import job
from tests.parts.crew import Repository

DEPLOY = """
from deploys.lib import operations
from inventories import Secret
from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import files, python, server

if host.name == "@local" and host.data.mode == "compare":
    token = Secret(literal=host.data.token)
    operations.write_file(name="Message", dest=f"{host.data.folder}/motd", text="hello")
    operations.write_secret_file(name=f"Token {token.reveal()}", dest=f"{host.data.folder}/token", text=token)
    files.line(path=f"{host.data.folder}/same", line="same")
    server.shell(commands=[f"echo {host.data.token} > {host.data.folder}/shell"])
    python.call(name="Call", function=lambda: open(f"{host.data.folder}/called", "w"))
    operations.write_file(name="Never", dest=f"{host.data.folder}/if", text="", _if=lambda: True)
elif host.data.mode == "bug":
    raise ValueError(host.data.token)
elif host.data.mode == "fact":
    host.get_fact(File, path="/etc/hostname", _shell_executable="/no/such/shell")
"""
TOKEN = "correct horse battery"
HOSTS = '[hosts]\ncheck = "0 7 * * *"\ndeploys = ["own"]\nignore = [{ host = "*", operation = "Call", why = "mine" }]\n'


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    (tmp_path / "deploys").mkdir()
    (tmp_path / "deploys/own.py").write_text(DEPLOY)
    made.environment(text=HOSTS)
    (tmp_path / "target").mkdir()
    (tmp_path / "target/same").write_text("same\n")
    return made


def inventory(repository: Repository, mode: str, *more: str) -> None:
    folder = repository.root / "inventories"
    (folder / "staging").write_text(f"hosts = {['@local', *more]!r}\n")
    (folder / "group_data").mkdir(exist_ok=True)
    data = {"mode": mode, "token": TOKEN, "folder": str(repository.root / "target"), "ssh_port": 1}
    (folder / "group_data/all.py").write_text("".join(f"{name} = {value!r}\n" for name, value in data.items()))


def record(repository: Repository) -> str:
    """Return all that the store keeps of the last run."""
    return repository.crew("runs", "staging", "hosts", "own", "--last", "--json").out


def test_a_run_names_each_change_makes_none_and_keeps_secrets(repository: Repository) -> None:
    inventory(repository, "compare")
    result = repository.crew("run", "hosts", "staging", "--json")
    assert result.code == 2, result
    [run] = result.json["runs"]
    target = repository.root / "target"
    assert [tuple(change.values()) for change in run["changes"]] == [
        ("@local", "Message", str(target / "motd"), "missing", None),
        ("@local", "Token ***", str(target / "token"), "missing", None),
        ("@local", "server.shell", None, None, None),
        ("@local", "Call", None, None, "mine"),
    ]
    assert run["figures"] == {"hosts": 1, "drifted": 1, "changes": 3, "ignored": 1, "not_compared": 0}
    assert [file.name for file in target.iterdir()] == ["same"]
    assert "server.shell" in record(repository)
    assert TOKEN not in result.out + result.err + record(repository)
    quiet = repository.crew("run", "hosts", "staging", "--scheduled")
    assert quiet.code == 0, "a scheduler sees a finding in notices and records"
    assert re.search(f"@local +Message +{target}/motd +missing\\n", quiet.out), quiet.out
    assert "ignored: mine" in quiet.out


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("bug", "@local: ValueError in {root}/deploys/own.py, line"),
        ("fact", "@local: the fact File could not be read"),
    ],
)
def test_a_host_that_cannot_be_compared_is_a_failure_with_its_reason(
    repository: Repository, mode: str, why: str
) -> None:
    inventory(repository, mode)
    result = repository.crew("run", "hosts", "staging")
    assert result.code == 1, result
    assert f"1 of 1 host could not be compared ({why.format(root=repository.root)}" in result.out
    assert TOKEN not in result.out + result.err + record(repository)


def test_hosts_that_do_not_answer_are_named_by_the_run_and_the_check(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "PASSING", ("nothing passes",))
    inventory(repository, "compare", "127.0.0.1")
    result = repository.crew("run", "hosts", "staging")
    assert result.code == 1, result
    assert "1 of 2 hosts could not be compared (127.0.0.1: Could not connect (" in result.out
    assert "3 changes on 1 of 2 hosts (@local: Message" in result.out
    checked = repository.crew("check", "staging").out
    assert "1 of 2 hosts cannot be compared (127.0.0.1: Could not connect" in checked


def test_example_hosts_and_missing_files_are_explained(repository: Repository) -> None:
    (repository.root / "inventories/staging").write_text('web = ["web.acme.example"]\n')
    assert "web.acme.example: these hosts are examples" in repository.crew("run", "hosts", "staging").out
    (repository.root / "deploys/own.py").unlink()
    (repository.root / "deploys/host.py").touch()
    result = repository.crew("run", "hosts", "staging")
    assert (result.code, "hosts.deploys.1: deploys/own.py does not exist; use one of: host" in result.err) == (78, True)
