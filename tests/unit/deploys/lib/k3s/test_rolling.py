"""When a server can restart during an upgrade."""

from __future__ import annotations

from deploys.lib.k3s import rolling
from tests.unit.deploys.lib.k3s.kubectl_nodes import node


def test_a_server_does_not_restart_if_etcd_would_lose_its_quorum() -> None:
    three = {"one": node(), "two": node(), "three": node(), "four": node(ready=False, etcd=False)}
    assert rolling.restart_fault(three, "one") == ""
    assert "since two is not ready" in rolling.restart_fault({**three, "two": node(ready=False)}, "one")
    assert rolling.restart_fault({**three, "two": node(ready=False)}, "two") == "", "the quorum does not need this one"
    assert rolling.restart_fault({"one": node()}, "one") == "", "a single server always loses it for a moment"
