"""Group data of deploys/k3s*.py, read from the first server: the settings of a K3s cluster."""

k3s_version = "v1.36.4+k3s1"  # deploys/k3s_upgrade.py upgrades a running cluster to it
k3s_artefacts = "https://github.com/k3s-io/k3s/releases/download"  # or a mirror, or a directory on your machine
k3s_airgap = False  # True: install K3s's own images too, for hosts without internet; or "tar.zst", "tar.gz", "tar"

# Where the token is kept, such as {"env": "K3S_TOKEN"} (default: generated once and kept in ~/.config/groundcrew).
k3s_token: dict[str, object] = {}

# The token of agents, the same way (default: derived from k3s_token, which agents never get).
k3s_agent_token: dict[str, object] = {}

# config.yaml: of all servers, such as {"disable": ["traefik"], "tls-san": [...]}; of all agents, such as
# {"kubelet-arg": ["max-pods=50"]}. The inventory can set k3s_host_config per host, over both.
k3s_config: dict[str, object] = {}
k3s_agent_config: dict[str, object] = {}

k3s_endpoint = (
    ""  # where people reach the API: a load balancer or a DNS name (default: the first server's login address)
)
k3s_registration = ""  # where nodes join: a load balancer, DNS name or virtual address (default: the first server)
# A free IP address in the network of the servers. kube-vip keeps it on one of them, for people and for nodes that join.
k3s_virtual_ip = ""
k3s_virtual_ip_image = ""  # another image of kube-vip, such as one in your registry
# Whether k3s.py keeps the firewall of deploys/host.py up to date. None: only if host.py has set it up, or each host has
# a k3s_address. False: no deploy changes the firewall of the nodes.
k3s_firewall: bool | None = None
k3s_environment: dict[str, object] = {}  # variables of the units: {"HTTPS_PROXY": "http://proxy.acme.example:3128"}
k3s_registries: dict[str, object] = {}  # registries.yaml

# Snapshots of etcd. Each server keeps "keep" of its own. "insecure": True uses plain HTTP.
# Leave out both keys if the servers have a role for the bucket, as those of the cluster stack.
#   {"schedule": "0 */6 * * *", "keep": 28, "s3": {"bucket": "acme-etcd", "folder": "staging", "region": "eu-central-1",
#    "endpoint": "s3.amazonaws.com", "access_key": {"env": "ETCD_KEY"}, "secret_key": {"env": "ETCD_SECRET"}}}
k3s_snapshots: dict[str, object] = {}

# True: as the hardening guide of K3s says (docs/k3s-hardening.md). Secrets are encrypted only if the cluster was
# created with this: k3s.py does not switch it on later. Production has it by default.
k3s_hardened = False

# Admins of the whole cluster, such as ["eve"]. crew kubeconfig gives each person a kubeconfig that expires after hours.
k3s_admins: list[str] = []

# {"name": "ada", "cpu": 4, "memory": "16Gi", "users": ["ada"], "viewers": ["qa"]}. In a hardened cluster also
# "security": "baseline" or "privileged" (default: "restricted"), and "egress": ["10.0.8.0/24"], networks that its pods
# reach. A namespace that is no longer listed stays. To delete it with everything in it:
# --data k3s_drop_namespaces=ada.
k3s_namespaces: list[dict[str, object]] = []

# Apps of deploys/k3s_apps.py (docs/deploys.md); examples to name: postgresql, valkey, s3, nats, monitoring.
#   {"name": "shop", "namespace": "shop", "chart": "shop", "repo": "https://charts.acme.example", "version": "1.2.0",
#    "values": {"db": {"password": {"secret": {"env": "SHOP_DB"}}}}, "ready": ["deployment/shop"],
#    "smoke": {"image": "curlimages/curl:8.16.0", "command": ["curl", "--fail", "http://shop"]}},
#   {"name": "docs", "namespace": "docs", "manifests": "manifests/docs"}, {"example": "postgresql", "memory": "4Gi"}
# An app that is no longer listed stays. To remove it: --data remove=shop.
apps: list[dict[str, object]] = []
apps_record = False  # True: record apps that passed in the store of the environment; crew apps ENV shows them
apps_proven_in = ""  # deploy only what has passed in this environment; override it with --data unproven=shop

k3s_kubeconfig = ""  # the file to write (default: ~/.kube/<environment>.yaml)
k3s_kubeconfig_merge = False  # True: merge it into ~/.kube/config too
k3s_wait = 300  # seconds for a node to become ready
k3s_drain = 300  # seconds for pods to move to other nodes, in an upgrade or a reset; 0: no drain
k3s_drain_force = False  # True: delete pods that have no controller, or that a disruption budget keeps
k3s_batch = 1  # agents to upgrade at the same time
