"""Decide which upgrades of K3s are allowed, and in which order nodes are upgraded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-rc(\d+))?\+k3s(\d+)")
FINAL = 10_000  # sorts after every release candidate
# The first release of v1.33 from which etcd 3.6 of v1.34 can be reached: https://etcd.io/blog/2025/zombie_members_upgrade
BEFORE_ETCD_3_6 = "v1.33.7+k3s3"

Release = tuple[int, int, int, int, int]


def parse_release(version: str) -> Release | None:
    """Return a version as a tuple that sorts by age; None if it is not a release of K3s."""
    match = RELEASE.fullmatch(version)
    if not match:
        return None
    major, minor, patch, candidate, build = (None if part is None else int(part) for part in match.groups())
    return major or 0, minor or 0, patch or 0, FINAL if candidate is None else candidate, build or 0


def faults(node: str, current: str, target: str, *, skip: bool, backwards: bool) -> Iterator[str]:
    """Yield a fault if the upgrade skips a minor version or goes backwards, unless that is allowed explicitly.

    Another fault is an upgrade to v1.34 after which etcd could count removed servers as members again.
    """
    old, new = parse_release(current), parse_release(target)
    if not (old and new):
        return
    if new < old and not backwards:
        yield (
            f"k3s_version: {target} is older than {current}, which {node} runs, and K3s does not support a downgrade; "
            "set a newer version, or add --data k3s_backwards=true"
        )
    elif (new[0] != old[0] or new[1] > old[1] + 1) and not skip:
        yield (
            f"k3s_version: {node} runs {current}, so {target} skips a minor version, which Kubernetes forbids; "
            f"upgrade to v{old[0]}.{old[1] + 1} first, or add --data k3s_skip_minor=true"
        )
    if old < (parse_release(BEFORE_ETCD_3_6) or ()) and new >= (1, 34):
        yield (
            f"k3s_version: {node} runs {current}, and with {target} etcd could count servers that were removed as "
            f"members again and lose its quorum; upgrade to {BEFORE_ETCD_3_6} or a newer v1.33 first"
        )


def join_faults(name: str, version: str, of_servers: Sequence[str]) -> Iterator[str]:
    """Yield a fault if a new node would be newer than a server of its cluster, which Kubernetes forbids."""
    new = parse_release(version)
    if new and (older := [each for each in of_servers if (old := parse_release(each)) and old < new]):
        yield (
            f"{name}: k3s_version is {version}, but a server of the cluster runs {older[0]}, and a node must not be "
            f"newer; run deploys/k3s_upgrade.py on the others first, or set k3s_version to {older[0]}"
        )


def batches(nodes: Sequence[str], size: int) -> list[list[str]]:
    """Return the nodes in their order, in batches of `size`."""
    return [list(nodes[start : start + size]) for start in range(0, len(nodes), size)]


def has_majority(members: int, ready: int) -> bool:
    """Return whether etcd has a quorum with this number of ready members."""
    return ready > members // 2
