"""A server that developers share: accounts, limits, SSH, firewall, packages, upkeep.

    pyinfra inventories/dev deploys/dev_server.py

Who and what is group data: inventories/group_data/dev_servers.py, where each key is explained.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import operations, preflight
from deploys.lib.dev_server import developers
from deploys.lib.dev_server.accounts import accounts_are_right, departed_are_out, group_is_there
from deploys.lib.facts import host_facts, paths, printed
from deploys.lib.host import firewall, ssh_server
from deploys.lib.host.upkeep import CHECKS, PACKAGES, ROOM_FOR_SWAP, SWAP, Upkeep, faults_of_swap, motd, swap_commands

MEMORY, DISK = 900, 2000  # MiB, under which a shared server is no help to anybody

if host.name in preflight.group("dev_servers"):
    system = preflight.host_is_fit(memory=MEMORY, disk=DISK)
    given = preflight.wanted("developers", "name them in inventories/group_data/dev_servers.py")
    limits, departed = host.data.get("limits") or {}, host.data.get("departed") or []
    ports = host.data.get("open_ports") or [22]
    upkeep = Upkeep.of(host.data, host.name)
    preflight.every(
        f"{host.name}: {fault}" for fault in [*developers.faults(given, limits, departed), *firewall.faults(ports)]
    )
    people = developers.read(given, limits)
    packages = [*PACKAGES, *upkeep.packages]
    seen = host_facts(
        printed(developers.ACCOUNTS, developers.KEY_FILES, developers.LOGIN, ROOM_FOR_SWAP)
        | paths(*(person.shell for person in people))
    )
    there = developers.accounts(seen.printed[developers.ACCOUNTS])
    unnamed = developers.unnamed(people, departed, there, seen.printed[developers.KEY_FILES])
    preflight.every(
        f"{host.name}: {fault}"
        for fault in [
            *developers.conflicts(people, there),
            *developers.unfit_to_leave(departed, unnamed, there, seen.printed[developers.LOGIN][0]),
            *developers.without_shell(people, seen.things, packages),
            *faults_of_swap(upkeep.swap, seen.printed[ROOM_FOR_SWAP], DISK),
        ]
    )

    operations.packages_are_there(name="Packages", packages=packages)

    group_is_there(name="Group of developers", group=developers.GROUP)
    operations.folder(name="Folder of keys", path=developers.KEYS, mode="755")
    # Before anybody leaves the group sudo: who runs this as one of them, with --sudo, always has a way to be root.
    operations.file(
        name="Rules of sudo",
        dest="/etc/sudoers.d/groundcrew",
        text=developers.sudo_rules(people),
        check="visudo --check --quiet --file={}",
        mode="440",
    )
    departed_are_out(name="The departed are locked out", names=departed)
    departed_are_out(name=f"Named nowhere, so locked out: {', '.join(unnamed) or 'nobody'}", names=unnamed)
    accounts_are_right(name="Accounts", people=people, containers=upkeep.containers)
    operations.folder(name="Workspaces", path=upkeep.workspaces, mode="755")
    for person in host.loop(people):
        operations.file(
            name=f"Keys of {person.name}",
            text="".join(f"{key}\n" for key in person.keys),
            dest=developers.key_of(person.name),
            mode="644",
        )
        slice_file, slice_text = developers.slice_of(person)
        operations.file(name=f"Limits of {person.name}", text=slice_text, dest=slice_file, mode="644")
        operations.folder(
            name=f"Workspace of {person.name}",
            path=f"{upkeep.workspaces}/{person.name}",
            owner=f"{person.name}:{person.name}",
            mode="700",
        )

    for path, text in host.loop(sorted(upkeep.files.items())):
        operations.file(name=path, text=text, dest=path, mode="644", check=CHECKS.get(path, ""))
    operations.file(name="Message at login", text=motd(host.name, upkeep), dest="/etc/motd", mode="644")
    operations.made_once(name="Swap file", path=SWAP, commands=swap_commands(upkeep.swap))
    operations.units_are_read(
        name="systemd has read its files",
        files=["/etc/systemd/system/swapfile.swap", *(developers.slice_of(person)[0] for person in people)],
    )
    for name, unit in host.loop(upkeep.units.items()):
        operations.current(name=name, unit=name, files=unit.files, oneshot=unit.oneshot)

    ssh_server.ssh_server(name="SSH server", text=ssh_server.settings(host.data.get("ssh_settings") or {}))
    firewall.firewall(name="Firewall", text=firewall.ruleset(ports))
    operations.current(name="Firewall after a restart", unit="nftables.service", oneshot=True)
