"""Give every host of an environment its base: SSH, firewall, updates, fail2ban, clock, kernel settings, audit, metrics.

    pyinfra inventories/staging deploys/host.py

Run it before the other deploys. The groups of a host decide which ports are open. On dev servers, dev_server.py does
the same and more.

Group data: inventories/group_data/all.py, which explains each key.
"""

from __future__ import annotations

from deploys.lib import operations, preflight
from deploys.lib.host.base import apply_base, check_host

MEMORY, DISK = 400, 500  # MiB

system = preflight.check_system(memory=MEMORY, disk=DISK)
base = check_host()
operations.install_packages(name="Packages", packages=list(base.packages))
apply_base(base, container=system.container)
