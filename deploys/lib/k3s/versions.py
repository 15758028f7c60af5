"""From which version of K3s to which one may go, and who goes when."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-rc(\d+))?\+k3s(\d+)")
FINAL = 10_000  # later than every candidate

Release = tuple[int, int, int, int, int]


def release(version: str) -> Release | None:
    """A version as something that has an order; None if it is no release of K3s."""
    found = RELEASE.fullmatch(version)
    if not found:
        return None
    major, minor, patch, candidate, build = (None if part is None else int(part) for part in found.groups())
    return major or 0, minor or 0, patch or 0, FINAL if candidate is None else candidate, build or 0


def faults(node: str, there: str, wanted: str, *, skip: bool, back: bool) -> Iterator[str]:
    """Why a node may not go from one version to another, unless somebody said that it may."""
    old, new = release(there), release(wanted)
    if not (old and new):
        return
    if new < old and not back:
        yield (
            f"{node} runs {there}, and {wanted} is older; K3s does not promise that this works: "
            "write the newer one as k3s_version, or say so: --data k3s_backwards=true"
        )
    elif (new[0] != old[0] or new[1] > old[1] + 1) and not skip:
        yield (
            f"{node} runs {there}, and {wanted} skips a minor version, which Kubernetes forbids; "
            f"go to a release of v{old[0]}.{old[1] + 1} first, or say so: --data k3s_skip_minor=true"
        )


def batches(nodes: Sequence[str], size: int) -> list[list[str]]:
    """In the order in which they are, so many at a time."""
    return [list(nodes[at : at + size]) for at in range(0, len(nodes), size)]


def has_majority(members: int, ready: int) -> bool:
    """Whether etcd can decide anything with so many of its members."""
    return ready > members // 2
