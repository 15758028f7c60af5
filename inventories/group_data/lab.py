"""Group data of the lab's hosts, with one developer, Ada. Her key is the one that `make lab` created."""

from os import environ
from pathlib import Path

_key = Path(environ.get("CREW_LAB", ".cache/lab/now")) / "home/.ssh/id_ed25519.pub"

if _key.exists():
    developers = [{"name": "ada", "uid": 2001, "keys": [_key.read_text().strip()], "sudo": True}]
never_ban = ["198.18.0.0/15"]
packages = ["git"]
swap = "64M"
postgres_memory = 512
postgres_clients = ["198.18.0.0/15"]
about = "A temporary host of the lab."
