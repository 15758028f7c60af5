"""What a K3s cluster is like: read by deploys/k3s*.py from its first server."""

k3s_version = "v1.33.5+k3s1"  # of a cluster that runs: changed by deploys/k3s_upgrade.py
k3s_artefacts = "https://github.com/k3s-io/k3s/releases/download"  # or a mirror, or a folder of this machine
k3s_airgap = False  # True: K3s's own images as well, for hosts without internet; or "tar.zst", "tar.gz", "tar"

# Where the token is kept, as in {"env": "K3S_TOKEN"}; empty: made once, and kept in ~/.config/groundcrew.
k3s_token: dict[str, object] = {}

k3s_config: dict[str, object] = {}  # of servers, the same on each: {"disable": ["traefik"], "tls-san": [...]}
k3s_registries: dict[str, object] = {}  # registries.yaml

# {"schedule": "0 */6 * * *", "keep": 28, "s3": {"bucket": "acme-etcd", "folder": "staging", "region": "eu-central-1",
#  "endpoint": "s3.amazonaws.com", "access_key": {"env": "ETCD_KEY"}, "secret_key": {"env": "ETCD_SECRET"}}}; plain HTTP
#  is "insecure": True.
k3s_snapshots: dict[str, object] = {}

# {"name": "ada", "cpu": 4, "memory": "16Gi", "users": ["ada"]}
k3s_namespaces: list[dict[str, object]] = []  # one that leaves goes with all in it: --data k3s_drop_namespaces=ada

k3s_kubeconfig = ""  # where to; empty: ~/.kube/<environment>.yaml
k3s_kubeconfig_merge = False  # into ~/.kube/config as well
k3s_wait = 300  # seconds that a node may take to become ready
k3s_drain = 300  # seconds that its pods may take to go elsewhere, in an upgrade or a reset
k3s_batch = 1  # agents that are upgraded at the same time
