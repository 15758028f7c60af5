"""Reset hosts of a K3s cluster: remove them from the cluster, and K3s with all its data and snapshots from their disks.

    pyinfra inventories/staging deploys/k3s_reset.py --data k3s_reset=staging-agent-1.acme.example
    pyinfra inventories/staging deploys/k3s_reset.py --data k3s_reset=staging

k3s_reset names the hosts, separated by commas, or the environment for the whole cluster. A host that was reset joins
again with deploys/k3s.py. A server is not removed if etcd would lose its quorum.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import draining
from deploys.lib.k3s import leaving as k3s_leaving

cluster = k3s_cluster.cluster_hosts()
value = str(cluster.settings.get("k3s_reset") or "")
preflight.stop_on_faults(k3s_leaving.faults(value, cluster))
leaving = k3s_leaving.hosts_to_reset(value, cluster)
preflight.require_in_limit(leaving, "all hosts to reset must take part")
if host.name in leaving:
    preflight.check_system()
    node, staying = k3s_cluster.this_node(cluster), [name for name in cluster.servers if name not in leaving]
    if staying:
        nodes = k3s_cluster.read_nodes(*staying)
        if nodes is None:
            raise preflight.DeployError(
                f"none of {', '.join(staying)} answers, so {host.name} can't be removed from the cluster; "
                f"repair one of them, or reset the whole cluster: --data k3s_reset={cluster.environment}"
            )
        preflight.stop_on_faults(k3s_leaving.majority_faults(nodes, [k3s_cluster.node_name(name) for name in leaving]))
        for target in host.loop(leaving):
            k3s_leaving.remove_node(
                name=f"Remove {target} from the cluster",
                target=target,
                node=node,
                servers=staying,
                drain=draining.drain_settings(cluster.settings),
            )
    else:
        k3s_leaving.stop_k3s(name="Stop agents", hosts=cluster.agents, node=node)
        k3s_leaving.stop_k3s(name="Stop servers", hosts=cluster.servers, node=node)
    k3s_leaving.uninstall_k3s(name="Uninstall K3s", virtual_ip=str(cluster.settings.get("k3s_virtual_ip") or ""))
