"""When a host reboots, and in which order the nodes of a cluster do."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from deploys.lib.host import reboot
from deploys.lib.host.reboot import K3sNode, parse_window

SUNDAY = datetime(2026, 11, 29).astimezone()
NODES = [K3sNode("a", server=True), K3sNode("b", server=True), K3sNode("c")]


@pytest.mark.parametrize(
    ("window", "day", "time", "expected"),
    [
        ("Sun 03:00-05:00", 29, "03:00", True),
        ("Sun 03:00-05:00", 29, "05:00", False),
        ("Sun 03:00-05:00", 30, "04:00", False),
        ("02:00-04:00", 30, "02:30", True),
        ("Sat-Mon 02:00-04:00", 30, "02:30", True),
        ("Tue,Wed 02:00-04:00", 30, "02:30", False),
        ("Sun 23:00-01:00", 30, "00:30", True),
        ("Sun 23:00-01:00", 29, "00:30", False),
    ],
)
def test_a_window_has_days_and_can_pass_midnight(window: str, day: int, time: str, expected: bool) -> None:
    hour, minute = map(int, time.split(":"))
    parsed = parse_window(window)
    assert parsed
    assert parsed.contains(SUNDAY.replace(day=day, hour=hour, minute=minute)) is expected


@pytest.mark.parametrize("text", ["Sunday 03:00-05:00", "3:00-5:00", "25:00-26:00", "Foo 03:00-05:00", "always"])
def test_another_text_is_no_window(text: str) -> None:
    assert parse_window(text) is None


@pytest.mark.parametrize(
    ("state", "needed", "in_window", "expected"),
    [
        ("", True, True, reboot.WANTED),
        ("", True, False, None),
        (reboot.WANTED, True, True, None),
        (reboot.DRAINED, True, False, "reboot"),
        (reboot.BLOCKED, True, True, None),
        (reboot.DRAINED, False, False, reboot.DONE),
        (reboot.DONE, False, False, None),
        (reboot.WANTED, False, True, ""),
        ("", False, True, None),
    ],
)
def test_a_host_reboots_after_its_node_is_drained(
    state: str, needed: bool, in_window: bool, expected: str | None
) -> None:
    assert reboot.own_step(K3sNode("c", state), needed=needed, in_window=in_window) == expected


@pytest.mark.parametrize(
    ("changed", "me", "in_window", "expected"),
    [
        ([K3sNode("c", reboot.WANTED)], "a", True, ["drain c"]),
        ([K3sNode("c", reboot.WANTED)], "b", True, []),  # one server acts
        ([K3sNode("a", ready=False, server=True), K3sNode("c", reboot.WANTED)], "b", True, ["wait a"]),
        ([K3sNode("c", reboot.WANTED)], "a", False, []),
        ([K3sNode("a", reboot.WANTED, server=True), K3sNode("c", reboot.WANTED)], "a", True, ["drain c"]),
        ([K3sNode("b", reboot.DRAINED, server=True), K3sNode("c", reboot.WANTED)], "a", True, ["wait b"]),
        ([K3sNode("c", reboot.DONE, ready=False)], "a", False, ["wait c"]),
        ([K3sNode("c", reboot.DONE)], "a", False, ["release c"]),
        ([K3sNode("c", reboot.BLOCKED)], "a", True, []),
        ([K3sNode("c", reboot.BLOCKED)], "a", False, ["retry c"]),
    ],
)
def test_nodes_reboot_one_after_another(changed: list[K3sNode], me: str, in_window: bool, expected: list[str]) -> None:
    nodes = list({node.name: node for node in [*NODES, *changed]}.values())
    steps = reboot.cluster_steps(nodes, me, in_window=in_window)
    assert [f"{what} {node.name}" for what, node in steps] == expected


class Api:
    """kubectl, as the script calls it."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[str] = []
        self.fails = fails

    def __call__(self, *words: str, own: bool = False) -> str:
        self.calls.append(" ".join(words))
        if words[0] == self.fails:
            raise reboot.subprocess.CalledProcessError(1, "kubectl", stderr="a disruption budget keeps shop-0")
        return ""


@pytest.mark.parametrize("jobs", ["", "groundcrew-try-backup.service loaded activating start\n"])
def test_a_host_without_k3s_reboots_in_its_window_unless_a_job_runs(
    jobs: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    for name, text in (("systemctl", f"printf '{jobs}'"), ("shutdown", f"echo $@ > {tmp_path}/called")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(reboot, "UNITS", tmp_path)
    monkeypatch.setattr(reboot, "REQUIRED", tmp_path / "reboot-required")
    assert reboot.run("00:00-00:00", "5") == 0
    assert not (tmp_path / "called").exists(), "no update asked for it"
    (tmp_path / "reboot-required").touch()
    assert reboot.run("00:00-00:00", "5") == 0
    assert (tmp_path / "called").exists() is (jobs == "")


def test_an_api_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "k3s.service").touch()
    monkeypatch.setattr(reboot, "UNITS", tmp_path)
    monkeypatch.setattr(reboot, "K3S", "false")
    assert reboot.run("00:00-00:00", "5") == 1
    assert capsys.readouterr().err == "false kubectl get failed: 1\n"


def test_a_failed_drain_makes_the_node_take_pods_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api(fails="drain")
    monkeypatch.setattr(reboot, "kubectl", api)
    assert reboot.act("drain", K3sNode("c", reboot.WANTED), 5) == 1
    cordoned, _, blocked = api.calls
    assert '"spec": {"unschedulable": true}' in cordoned
    assert '"groundcrew/reboot": "blocked"' in blocked
    assert '"spec": {"unschedulable": null}' in blocked
    assert "a disruption budget keeps shop-0" in capsys.readouterr().err


def test_a_node_that_an_admin_cordoned_stays_cordoned(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    monkeypatch.setattr(reboot, "kubectl", api)
    by_admin = K3sNode("c", reboot.WANTED, cordoned=True)
    assert reboot.act("drain", by_admin, 5) == 0
    assert reboot.act("release", by_admin, 5) == 0
    assert "unschedulable" not in "".join(api.calls)
