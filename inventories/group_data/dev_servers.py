"""Who works on the dev servers, and how these are kept: read by deploys/dev_server.py."""

# Everybody who may log in. `uid` is a number of their own, the same on every host; `keys` are all the keys that open
# the account; the rest may be left out, and a shell that the system lacks is to be named in `packages` too:
#   {"name": "ada", "uid": 2001, "keys": ["ssh-ed25519 AAAA… ada@laptop"], "sudo": True, "shell": "/bin/zsh",
#    "expires": "2027-12-31", "limits": {"memory": "16G"}}
developers: list[dict[str, object]] = []

# Names of those who left: locked out, their programs ended, their home folders kept. So is everybody whom a host still
# has in the group `developers`, or with a key in /etc/ssh/authorized_keys.d, and who is named neither above nor here.
departed: list[str] = []

# What one person may take, unless the person's own limits say otherwise.
limits = {"cpu": "400%", "memory": "8G", "tasks": 8192}

# 22, "60000-61000/udp", {"port": 9100, "from": ["10.0.0.0/8"]}. What is not here is closed,
# ports that containers publish as well.
open_ports = [22]

# "podman", which needs no rights, or "docker", which only those with sudo may use, or "".
containers = "podman"
docker_settings: dict[str, object] = {}  # of daemon.json, beside ours or instead of them

packages = ["build-essential", "git", "htop", "jq", "postgresql-client", "python3-venv", "ripgrep", "tmux"]
workspaces = "/srv/workspaces"
swap = "4G"
sysctl: dict[str, object] = {}
time_servers: list[str] = []  # beside the system's own
never_ban: list[str] = []  # networks that fail2ban leaves alone
ssh_settings: dict[str, str] = {}  # of sshd_config(5), beside ours or instead of them
about = "A server that developers share."
