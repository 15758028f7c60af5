"""Nodes leave their K3s cluster, or the whole cluster goes, and nothing of it stays there: no data, no snapshots.

    pyinfra inventories/staging deploys/k3s_reset.py --data k3s_reset=staging-agent-1.acme.example
    pyinfra inventories/staging deploys/k3s_reset.py --data k3s_reset=staging

What is to go is named: hosts, with commas between them, or the environment, which is all of it. A host that was reset
joins again with deploys/k3s.py. A server does not leave if etcd would lose its majority over it.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import leaving as k3s_leaving

cluster = k3s_cluster.hosts()
said = str(cluster.given.get("k3s_reset") or "")
preflight.every(k3s_leaving.faults(said, cluster))
leaving = k3s_leaving.named(said, cluster)
preflight.all_take_part(leaving, "what is to go has to be there")
if host.name in leaving:
    preflight.host_is_fit()
    node, staying = k3s_cluster.node_of(cluster), [name for name in cluster.servers if name not in leaving]
    if staying:
        nodes = k3s_cluster.nodes(*staying)
        if nodes is None:
            raise preflight.DeployError(
                f"none of {', '.join(staying)} answers, and they have to forget {host.name}; make one of them work "
                f"first, or reset the whole cluster: --data k3s_reset={cluster.environment}"
            )
        preflight.every(k3s_leaving.faults_of_majority(nodes, [k3s_cluster.node_name(name) for name in leaving]))
        for who in host.loop(leaving):
            k3s_leaving.node_is_forgotten(
                name=f"{who} is forgotten",
                who=who,
                node=node,
                servers=staying,
                drain=int(cluster.given.get("k3s_drain", 300)),
            )
    else:
        k3s_leaving.k3s_is_stopped(name="Agents are stopped", who=cluster.agents, node=node)
        k3s_leaving.k3s_is_stopped(name="Servers are stopped", who=cluster.servers, node=node)
    k3s_leaving.k3s_is_gone(name="Nothing of K3s is left")
