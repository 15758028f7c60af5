"""K3s clusters: installation, upgrade, reset and restore."""
