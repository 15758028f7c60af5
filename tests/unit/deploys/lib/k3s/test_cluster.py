"""Whether a host is a node of a running cluster."""

from __future__ import annotations

from deploys.lib.k3s import cluster


def test_faults_name_an_unknown_node_and_a_cluster_that_does_not_answer() -> None:
    assert list(cluster.membership_faults("one", {"one": 1})) == []
    assert "it has two" in next(cluster.membership_faults("one", {"two": 1}))
    assert "no server of the cluster answers" in next(cluster.membership_faults("one", None))
