"""The goal of the deploy of fifty steps, and a check of it."""

from __future__ import annotations

GROUP = "developers"
FOLDERS = [f"/srv/bench/{n:02}" for n in range(15)]
FILES = {f"/srv/bench/{n % 15:02}/{n:02}.conf": f"setting_{n} = on\n" * 25 for n in range(25)}
USERS = {f"bench{n}": 3000 + n for n in range(10)}
SHELL = "/bin/sh"

ASK = (
    f"stat --format='%F %a %U:%G %n' {' '.join([*FOLDERS, *FILES])} && cat {' '.join(FILES)} && "
    f"getent passwd {' '.join(USERS)} | cut -d: -f1,3,6,7 && stat --format='%F %U:%G %n' /home/bench* && "
    f"getent group {GROUP} | cut -d: -f4 | tr , '\\n' | sort"
)
THERE = "\n".join(
    [
        *(f"directory 750 root:root {path}" for path in FOLDERS),
        *(f"regular file 640 root:root {path}" for path in FILES),
        *("".join(FILES.values()).splitlines()),
        *(f"{name}:{uid}:/home/{name}:{SHELL}" for name, uid in USERS.items()),
        *(f"directory {name}:{name} /home/{name}" for name in USERS),
        *USERS,
    ]
)
WIPE = f"rm -rf /srv/bench; for name in {' '.join(USERS)}; do userdel --remove $name; done; groupdel {GROUP}; true"
