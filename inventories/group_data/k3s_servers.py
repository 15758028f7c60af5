"""Group data of deploys/k3s*.py, read from the first server: the settings of a K3s cluster."""

k3s_version = "v1.33.5+k3s1"  # deploys/k3s_upgrade.py upgrades a running cluster to it
k3s_artefacts = "https://github.com/k3s-io/k3s/releases/download"  # or a mirror, or a directory on your machine
k3s_airgap = False  # True: install K3s's own images too, for hosts without internet; or "tar.zst", "tar.gz", "tar"

# Where the token is kept, such as {"env": "K3S_TOKEN"} (default: generated once and kept in ~/.config/groundcrew).
k3s_token: dict[str, object] = {}

k3s_config: dict[str, object] = {}  # config.yaml of all servers: {"disable": ["traefik"], "tls-san": [...]}
k3s_registries: dict[str, object] = {}  # registries.yaml

# Snapshots of etcd. "insecure": True uses plain HTTP.
#   {"schedule": "0 */6 * * *", "keep": 28, "s3": {"bucket": "acme-etcd", "folder": "staging", "region": "eu-central-1",
#    "endpoint": "s3.amazonaws.com", "access_key": {"env": "ETCD_KEY"}, "secret_key": {"env": "ETCD_SECRET"}}}
k3s_snapshots: dict[str, object] = {}

# {"name": "ada", "cpu": 4, "memory": "16Gi", "users": ["ada"]}. Removing a namespace deletes all in it, and needs
# --data k3s_drop_namespaces=ada.
k3s_namespaces: list[dict[str, object]] = []

k3s_kubeconfig = ""  # the file to write (default: ~/.kube/<environment>.yaml)
k3s_kubeconfig_merge = False  # True: merge it into ~/.kube/config too
k3s_wait = 300  # seconds for a node to become ready
k3s_drain = 300  # seconds for pods to move to other nodes, in an upgrade or a reset
k3s_batch = 1  # agents to upgrade at the same time
