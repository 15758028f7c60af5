"""Which nodes may leave a K3s cluster, and what goes with them."""

from __future__ import annotations

import pytest

from deploys.lib.k3s import leaving as k3s_leaving
from deploys.lib.k3s.cluster import Hosts
from tests.unit.deploys.k3s import node

HOSTS = Hosts("staging", ("one", "two", "three"), ("four", "five"), {})


@pytest.mark.parametrize(
    ("said", "leaving", "faults"),
    [
        ("staging", ("one", "two", "three", "four", "five"), []),
        ("five,one,five", ("five", "one"), []),
        ("", (), ["--data k3s_reset=five, or the whole cluster with all that is in it: --data k3s_reset=staging"]),
        ("six", ("six",), ["six is no host of this cluster"]),
        ("one,two,three", ("one", "two", "three"), ["without one, two, three there is no server, and four, five"]),
        ("one,two,three,four,five", ("one", "two", "three", "four", "five"), ["that is the whole cluster; say so"]),
    ],
)
def test_what_is_to_go_is_named(said: str, leaving: tuple[str, ...], faults: list[str]) -> None:
    assert k3s_leaving.named(said, HOSTS) == leaving
    told = list(k3s_leaving.faults(said, HOSTS))
    assert len(told) == len(faults)
    assert all(part in fault for part, fault in zip(faults, told, strict=True))


@pytest.mark.parametrize(
    ("down", "leaving", "holds"),
    [
        ((), ["one"], True),
        ((), ["one", "two"], True),
        (("two",), ["two"], True),
        (("two",), ["one"], False),
        (("two",), ["four"], True),
        (("two", "three"), ["one"], False),
        ((), ["nobody"], True),
    ],
)
def test_servers_leave_only_while_the_others_are_a_majority(
    down: tuple[str, ...], leaving: list[str], holds: bool
) -> None:
    nodes = {name: node(ready=name not in down) for name in ("one", "two", "three")} | {"four": node(etcd=False)}
    assert (list(k3s_leaving.faults_of_majority(nodes, leaving)) == []) is holds


def test_cleaning_goes_into_nothing_that_is_mounted() -> None:
    told = list(k3s_leaving.clean_up())
    assert "test ! -e /var/lib/kubelet || { find /var/lib/kubelet -xdev -mindepth 1 -delete && " in "\n".join(told)
    assert next(at for at, line in enumerate(told) if "umount" in line) < next(
        at for at, line in enumerate(told) if "-xdev" in line
    )
    assert "/var/lib/rancher/k3s -xdev" in told[-2], "what tells that K3s was there is the last to go"
