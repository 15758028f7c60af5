"""K3s clusters: nodes, upgrades, snapshots, leaving."""
