"""Group data of deploys/dev_server.py: developers, limits, packages and containers of dev servers.

The keys of all.py, such as open_ports, are valid here too."""

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

# "podman", which works without root; "docker", which only developers with sudo can use; or "" for none.
containers = "podman"
docker_settings: dict[str, object] = {}  # keys of daemon.json; they override the defaults

packages = ["build-essential", "git", "htop", "jq", "postgresql-client", "python3-venv", "ripgrep", "tmux"]
workspaces = "/srv/workspaces"
swap = "4G"
about = "A server that developers share."  # shown at login
