"""What the child process of the job `hosts` says about an operation, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pyinfra.api import Host
from pyinfra.api.state import StateStage

from deploys.lib import operations
from deploys.lib.facts import HostFacts, PathFacts, QuestionKind, UnitFacts
from deploys.lib.k3s import app_promotion, nodes
from deploys.lib.preflight import DeployError
from inventories import hide
from jobs.hosts import compare
from jobs.hosts.compare import ReadingState, difference, explanation, names

FACTS = HostFacts(
    paths={"/etc/motd": PathFacts(True, False, "644", "root:root", 1_795_000_000 * 10**9)},
    units={
        "off.service": UnitFacts("disabled", False, False, 0),
        "dead.service": UnitFacts("enabled", False, False, 0),
        "old.service": UnitFacts("enabled", True, False, 0),
    },
    output={operations.list_installed(["git", "tmux"]): ["git"]},
)
VALUE = "hunter22"
ASKED = frozenset((QuestionKind.PATH, path) for path in ("/etc/motd", "/etc/gone"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"dest": "/etc/motd", "text": VALUE}, ("/etc/motd", "differs, written 2026-11-18 11:06 UTC")),
        ({"path": "/etc/gone", "mode": "755"}, ("/etc/gone", "missing")),
        ({"dest": "/etc/never-asked"}, ("/etc/never-asked", "")),
        ({"unit": "off.service", "files": ["/etc/x"]}, ("off.service", "not enabled")),
        ({"unit": "dead.service"}, ("dead.service", "not active")),
        ({"unit": "old.service"}, ("old.service", "needs a restart, its files are newer")),
        ({"packages": ["git", "tmux"]}, ("tmux", "not installed")),
        ({"packages": ["nginx"]}, ("nginx", "")),
        ({"user": "ada", "password": VALUE}, ("ada", "")),
        ({"commands": [f"echo {VALUE}"], "text": VALUE, "src": VALUE}, ("", "")),
    ],
)
def test_a_change_names_what_it_changes_and_no_other_argument(
    arguments: Mapping[str, object], expected: tuple[str, str]
) -> None:
    assert difference(ASKED, FACTS, arguments) == expected


def test_a_long_list_is_cut() -> None:
    assert names([str(number) for number in range(9)]) == "0, 1, 2, 3, 4, and 4 more"
    assert (names(Path("/etc")), names(7)) == ("/etc", "")


def test_no_operation_can_run() -> None:
    state = ReadingState()
    state.set_stage(StateStage.Prepare)
    with pytest.raises(DeployError):
        state.set_stage(StateStage.Execute)
    source = Path(compare.__file__).read_text()
    assert "run_op" not in source


def test_no_host_accepts_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*compare.UPLOADS, compare.GET_FACT):
        monkeypatch.setattr(Host, name, getattr(Host, name))
    compare.allow_reading_only()
    for name in compare.UPLOADS:
        with pytest.raises(DeployError):
            getattr(Host, name)(None, "file", "/etc/motd")


def test_an_unexpected_error_is_named_without_its_text() -> None:
    with pytest.raises(KeyError) as caught:
        {}[VALUE]
    assert explanation(caught.value).startswith(f"KeyError in {__file__}, line ")
    hide("tr0ubad0ur")
    assert explanation(DeployError("no login with tr0ubad0ur")) == "no login with ***"
    assert explanation(SystemExit("the lab is not running")) == "the lab is not running"


def test_operations_on_this_machine_are_no_drift() -> None:
    marked = {function.__name__ for function in operations.LOCAL_OPERATIONS}
    assert marked == {nodes.save_token.__name__, nodes.fetch_kubeconfig.__name__, app_promotion.record_passed.__name__}
