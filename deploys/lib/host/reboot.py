"""Reboot this host in its window, if an update needs it. Nodes of a K3s cluster reboot one after another, drained.

A host of the deploy runs this file every two minutes, with Python's standard library alone.

Each K3s node says through an annotation of its own node that it wants to reboot, with the rights of its kubelet. One
server, the first that is ready, drains the nodes one at a time and makes them take pods again. So agents need no
rights in the cluster, and a node that does not come back stops all further reboots.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WINDOW = re.compile(r"(?:([A-Z][a-z]{2}(?:[-,][A-Z][a-z]{2})*) )?([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
STATE, CORDONED = "groundcrew/reboot", "groundcrew/cordoned"
WANTED, DRAINED, DONE, BLOCKED = "wanted", "drained", "done", "blocked"
SERVER_ROLE = "node-role.kubernetes.io/control-plane"
REQUIRED = Path("/run/reboot-required")
UNITS = Path("/etc/systemd/system")
K3S = "/usr/local/bin/k3s"
KUBELET = "/var/lib/rancher/k3s/agent/kubelet.kubeconfig"


@dataclass(frozen=True)
class Window:
    """The days and minutes in which hosts reboot."""

    days: frozenset[int]  # 0 is Monday
    start: int  # minutes since midnight
    end: int

    def contains(self, now: datetime) -> bool:
        minute, yesterday = now.hour * 60 + now.minute, (now.weekday() - 1) % 7
        if self.start < self.end:
            return now.weekday() in self.days and self.start <= minute < self.end
        return (now.weekday() in self.days and minute >= self.start) or (yesterday in self.days and minute < self.end)


def parse_window(text: str) -> Window | None:
    """Return the window in a text such as "Sat,Sun 03:00-05:00", "Mon-Fri 23:00-01:00" or "02:00-04:00"."""
    match = WINDOW.fullmatch(text)
    if not match:
        return None
    days: set[int] = set()
    for part in (match[1] or "Mon-Sun").split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            return None
        start, end = DAYS.index(first), DAYS.index(last or first)
        days |= {day % 7 for day in range(start, end + (8 if end < start else 1))}
    return Window(frozenset(days), int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5]))


@dataclass(frozen=True)
class K3sNode:
    """What this file needs to know about a node."""

    name: str
    state: str = ""
    ready: bool = True
    server: bool = False
    cordoned: bool = False
    cordoned_by_us: bool = False


def parse_node(given: dict[str, Any]) -> K3sNode:
    """Return a node from its object in the API."""
    metadata, conditions = given["metadata"], given["status"]["conditions"]
    annotations = metadata.get("annotations") or {}
    return K3sNode(
        name=metadata["name"],
        state=annotations.get(STATE, ""),
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
        server=SERVER_ROLE in (metadata.get("labels") or {}),
        cordoned=bool(given["spec"].get("unschedulable")),
        cordoned_by_us=CORDONED in annotations,
    )


def own_step(node: K3sNode, *, needed: bool, in_window: bool) -> str | None:
    """Return the state that this host gives its own node: "" removes it, "reboot" reboots the host, None does nothing.

    /run/reboot-required is on a file system in memory: a host that rebooted does not have it any more.
    """
    if not needed:
        return {DRAINED: DONE, WANTED: "", BLOCKED: ""}.get(node.state)
    if node.state == DRAINED:
        return "reboot"
    return WANTED if in_window and not node.state else None


def cluster_steps(nodes: Sequence[K3sNode], me: str, *, in_window: bool) -> Iterator[tuple[str, K3sNode]]:
    """Yield what the server `me` does in the cluster: nothing, unless it is the first server that is ready."""
    servers = sorted(node.name for node in nodes if node.server and node.ready)
    if servers[:1] != [me]:
        return
    if not in_window:
        yield from (("retry", node) for node in nodes if node.state == BLOCKED)
    yield from (("release", node) for node in nodes if node.state == DONE and node.ready)
    under_way = [node for node in nodes if node.state in (DRAINED, DONE)]
    waiting = sorted((node for node in nodes if node.state == WANTED), key=lambda node: (node.server, node.name))
    if in_window and waiting and not under_way:
        # Every node must be there: a second one that is down could cost etcd its quorum.
        down = [node for node in nodes if not node.ready]
        yield ("wait", down[0]) if down else ("drain", waiting[0])
    elif under_way:
        yield from (("wait", node) for node in under_way if not (node.state == DONE and node.ready))


def main(window: Window, drain: int) -> int:
    """Do the next step of this host, and of its cluster."""
    needed, in_window = REQUIRED.exists(), window.contains(datetime.now().astimezone())
    is_server = (UNITS / "k3s.service").exists()
    if not is_server and not (UNITS / "k3s-agent.service").exists():
        if needed and in_window:
            shut_down()
        return 0
    me = socket.gethostname().lower()
    own = parse_node(json.loads(kubectl("get", "node", me, "--output=json", own=not is_server)))
    step = own_step(own, needed=needed, in_window=in_window)
    if step == "reboot":
        shut_down()
    elif step is not None:
        change(own, step or None, own=not is_server)
    if not is_server:
        return 0
    listed = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    steps = list(cluster_steps([parse_node(each) for each in listed], me, in_window=in_window))
    return max([0, *(act(what, node, drain) for what, node in steps)])


def act(what: str, node: K3sNode, drain: int) -> int:
    """Do a step in the cluster; return 1 if it failed."""
    log_line(f"{what}: node {node.name}")
    if what == "retry":
        change(node, WANTED)
    elif what == "release":
        change(node, None, cordoned=False if node.cordoned_by_us else None)
    elif what == "drain":
        change(node, WANTED, cordoned=None if node.cordoned else True)
        options = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={drain}s")
        try:
            if drain:
                kubectl("drain", node.name, *options)
        except subprocess.CalledProcessError as error:
            change(node, BLOCKED, cordoned=None if node.cordoned and not node.cordoned_by_us else False)
            log_line(f"draining node {node.name} failed, so it does not reboot: {error.stderr}")
            return 1
        change(node, DRAINED)
    return 0


def change(node: K3sNode, state: str | None, *, cordoned: bool | None = None, own: bool = False) -> None:
    """Set a node's state, or remove it. If `cordoned` is given, cordon or uncordon the node in the same request."""
    body: dict[str, Any] = {"metadata": {"annotations": {STATE: state}}}
    if cordoned is not None:
        body["metadata"]["annotations"][CORDONED] = "yes" if cordoned else None
        body["spec"] = {"unschedulable": cordoned or None}
    kubectl("patch", "node", node.name, "--type=merge", f"--patch={json.dumps(body)}", own=own)


def kubectl(*words: str, own: bool = False) -> str:
    """Run kubectl, with the rights of the kubelet for a host's own node; return its output."""
    config = [f"--kubeconfig={KUBELET}"] if own else []
    done = subprocess.run([K3S, "kubectl", *words, *config], check=True, capture_output=True, text=True)
    return done.stdout


def log_line(line: str) -> None:
    """Write a line to the journal, without characters that a terminal obeys."""
    sys.stderr.write("".join(each if each.isprintable() else " " for each in line) + "\n")


def shut_down() -> None:
    """Reboot in a minute, unless a job of groundcrew runs. The next call tries again."""
    running = ["systemctl", "list-units", "--no-legend", "--state=activating", "groundcrew-*.service"]
    others = subprocess.run(running, check=True, capture_output=True, text=True).stdout.splitlines()
    if names := [line.split()[0] for line in others if "groundcrew-reboot" not in line]:
        log_line(f"waiting for {', '.join(names)}")
        return
    message = "groundcrew: an update needs a reboot, and this is the window"
    subprocess.run(["shutdown", "--reboot", "+1", message], check=True)


def run(window: str, drain: str) -> int:
    """Do the next step, and say in one line why it failed. The next call tries again."""
    if not (parsed := parse_window(window)):
        log_line(f"{window} is not a window")
        return 1
    try:
        return main(parsed, int(drain))
    except subprocess.CalledProcessError as error:
        log_line(f"{' '.join(error.cmd[:3])} failed: {error.stderr or error.returncode}")
        return 1


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:3]))
