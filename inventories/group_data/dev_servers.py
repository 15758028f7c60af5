"""Group data of deploys/dev_server.py: developers, limits, open ports, packages and upkeep of dev servers."""

# Everyone who can log in. `uid` is unique per person and the same on every host. `keys` are the only keys that open the
# account. All other keys are optional. Add the package of a shell that the system does not have to `packages`.
#   {"name": "ada", "uid": 2001, "keys": ["ssh-ed25519 AAAA… ada@laptop"], "sudo": True, "shell": "/bin/zsh",
#    "expires": "2027-12-31", "limits": {"memory": "16G"}}
developers: list[dict[str, object]] = []

# Names of people who left. The deploy locks their accounts and ends their processes, but keeps their home directories.
# Removing someone from `developers` locks their account too: the deploy locks each account that is in neither list,
# but is in the host's group `developers` or has a file in /etc/ssh/authorized_keys.d.
departed: list[str] = []

# Limits for each person; a developer's own "limits" override them.
limits = {"cpu": "400%", "memory": "8G", "tasks": 8192}

# Examples: 22, "60000-61000/udp", {"port": 9100, "from": ["10.0.0.0/8"]}. All other ports are closed, also ports that
# containers publish.
open_ports = [22]

# "podman", which works without root; "docker", which only developers with sudo can use; or "" for none.
containers = "podman"
docker_settings: dict[str, object] = {}  # keys of daemon.json; they override the defaults

packages = ["build-essential", "git", "htop", "jq", "postgresql-client", "python3-venv", "ripgrep", "tmux"]
workspaces = "/srv/workspaces"
swap = "4G"
sysctl: dict[str, object] = {}
time_servers: list[str] = []  # in addition to the system's own
never_ban: list[str] = []  # networks that fail2ban ignores
ssh_settings: dict[str, str] = {}  # keys of sshd_config(5); they override the defaults
about = "A server that developers share."  # shown at login
