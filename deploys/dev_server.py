"""Set up a server that developers share: accounts, limits, SSH, firewall, packages, upkeep.

    pyinfra inventories/dev deploys/dev_server.py

Group data: inventories/group_data/dev_servers.py, which explains each key.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import operations, preflight
from deploys.lib.dev_server import developers
from deploys.lib.dev_server.accounts import create_group, lock_accounts, update_accounts
from deploys.lib.dev_server.upkeep import (
    CHECKS,
    FREE_FOR_SWAP,
    PACKAGES,
    SWAP,
    Upkeep,
    motd,
    swap_commands,
    swap_faults,
)
from deploys.lib.facts import command_output, host_facts, paths
from deploys.lib.host.base import apply_base, check_host

MEMORY, DISK = 900, 2000  # MiB that a shared server needs

if host.name in preflight.hosts_of_group("dev_servers"):
    system = preflight.check_system(memory=MEMORY, disk=DISK)
    given = preflight.required("developers", "add them in inventories/group_data/dev_servers.py")
    limits, departed = host.data.get("limits") or {}, host.data.get("departed") or []
    upkeep = Upkeep.from_group_data(host.data, host.name)
    base = check_host(developers.faults(given, limits, departed))
    people = developers.parse_developers(given, limits)
    packages = [*base.packages, *PACKAGES, *upkeep.packages]
    facts = host_facts(
        command_output(developers.LIST_ACCOUNTS, developers.LIST_KEY_FILES, developers.LOGIN_USER, FREE_FOR_SWAP)
        | paths(*(person.shell for person in people))
    )
    existing = developers.parse_accounts(facts.output[developers.LIST_ACCOUNTS])
    unlisted = developers.unlisted_accounts(people, departed, existing, facts.output[developers.LIST_KEY_FILES])
    preflight.stop_on_faults(
        f"{host.name}: {fault}"
        for fault in [
            *developers.account_conflicts(people, existing),
            *developers.lockout_faults(departed, unlisted, existing, facts.output[developers.LOGIN_USER][0]),
            *developers.shell_faults(people, facts.paths, packages),
            *swap_faults(upkeep.swap, facts.output[FREE_FOR_SWAP], DISK),
        ]
    )

    operations.install_packages(name="Packages", packages=packages)

    create_group(name="Group of developers", group=developers.GROUP)
    operations.ensure_folder(name="Directory of keys", path=developers.KEY_FOLDER, mode="755")
    # Before the groups change: a developer who runs this with --sudo must keep sudo when the group sudo is taken away.
    operations.write_file(
        name="Sudo rules",
        dest="/etc/sudoers.d/groundcrew",
        text=developers.sudo_rules(people),
        check="visudo --check --quiet --file={}",
        mode="440",
    )
    lock_accounts(name="Lock departed accounts", names=departed)
    lock_accounts(name=f"Lock accounts not in group data: {', '.join(unlisted) or 'none'}", names=unlisted)
    update_accounts(name="Accounts", people=people, containers=upkeep.containers)
    operations.ensure_folder(name="Workspaces", path=upkeep.workspaces, mode="755")
    for person in host.loop(people):
        operations.write_file(
            name=f"Keys of {person.name}",
            text="".join(f"{key}\n" for key in person.keys),
            dest=developers.key_file(person.name),
            mode="644",
        )
        limits_path, limits_text = developers.limits_file(person)
        operations.write_file(name=f"Limits of {person.name}", text=limits_text, dest=limits_path, mode="644")
        operations.ensure_folder(
            name=f"Workspace of {person.name}",
            path=f"{upkeep.workspaces}/{person.name}",
            owner=f"{person.name}:{person.name}",
            mode="700",
        )

    for path, text in host.loop(sorted(upkeep.files.items())):
        operations.write_file(name=path, text=text, dest=path, mode="644", check=CHECKS.get(path, ""))
    operations.write_file(name="Message at login", text=motd(host.name, upkeep), dest="/etc/motd", mode="644")
    operations.run_unless_exists(name="Swap file", path=SWAP, commands=swap_commands(upkeep.swap))
    operations.reload_systemd(
        name="Reload systemd",
        files=["/etc/systemd/system/swapfile.swap", *(developers.limits_file(person)[0] for person in people)],
    )
    for name, unit in host.loop(upkeep.units.items()):
        operations.ensure_unit(name=name, unit=name, files=unit.files, oneshot=unit.oneshot)

    apply_base(base, container=system.container)
