"""A host that runs an environment's jobs: groundcrew itself, its timers, and the secrets that they need.

    pyinfra inventories/production deploys/job_runner.py

What it runs is group data: inventories/group_data/job_runners.py, where each key is explained. With
--data job_runner=absent all that this made is taken away again.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra import host

from deploys.lib import operations, passwords, preflight
from deploys.lib.job_runner import files
from deploys.lib.job_runner import release as runner_release
from deploys.lib.job_runner.files import CREDENTIALS, CREW, ETC, HOME, JOURNAL, USER, Placed
from deploys.lib.job_runner.host import environments_are_well, gone, in_force, release_is_there
from inventories import BadEnvironment, Repository, Secret

MEMORY, DISK = 400, 1000  # MiB

if host.name in preflight.group("job_runners"):
    system = preflight.host_is_fit(memory=MEMORY, disk=DISK)
    named = host.data.get("job_runner_environments") or [host.groups[-1]]
    given = host.data.get("job_runner_secrets") or {}
    limit = int(host.data.get("job_runner_wait") or 900)
    try:
        repository = Repository.find()
        environments = [repository.read(name) for name in named]
    except BadEnvironment as fault:
        raise preflight.DeployError(str(fault)) from None
    textfiles = sorted({each.metrics.textfile for each in environments if each.metrics.textfile})

    if host.data.get("job_runner") == "absent":
        written = [*textfiles, *(each.with_name(f".{each.name}.lock") for each in textfiles)]
        gone(
            name="All is gone",
            files=[*filter(Path.is_absolute, map(Path, given)), *written],
            stores=files.folders(environments),
            limit=limit,
        )
    else:
        (machine,) = host.get_fact(operations.Lines, "uname -m")
        python = runner_release.Python(*runner_release.PYTHONS[system.name, system.version], machine)
        release = runner_release.identity(python)
        exported = {file: text for name in named for file, text in files.exported(repository.root, name).items()}
        variables = files.variables(exported)
        preflight.every(f"{host.name}: {fault}" for fault in files.faults(given, named, variables))
        sources = {**{name: {"env": name} for name in variables}, **given}
        secrets = {
            name if "/" in name else f"{CREDENTIALS}/{name}": passwords.revealed(f"secret {name}", source)
            for name, source in sources.items()
        }

        operations.packages_are_there(
            name="Packages", packages=[*files.PACKAGES, *(host.data.get("job_runner_packages") or [])]
        )
        operations.made_once(name="User", path=HOME, commands=files.NEW_USER)
        operations.folder(name="Folder of the environments", path=ETC, owner=f"root:{USER}", mode="750")
        operations.folder(name="Folder of secrets", path=CREDENTIALS, mode="700")
        for path, value in host.loop(sorted(secrets.items())):
            owner = "root" if path.startswith(f"{CREDENTIALS}/") else USER
            if owner == USER and (folder := str(Path(path).parent)) not in (ETC, HOME):
                operations.folder(name=f"Folder {folder}", path=folder, owner=f"{USER}:{USER}", mode="700")
            operations.secret_file(
                name=f"Secret {path}", dest=path, text=Secret(literal=f"{value}\n"), owner=f"{owner}:{owner}"
            )
        for folder in host.loop(files.folders(environments)):
            operations.folder(name=f"Store {folder}", path=folder, owner=f"{USER}:{USER}", mode="700")
        for folder in host.loop(sorted({str(each.parent) for each in textfiles})):
            operations.folder(name=f"Metrics in {folder}", path=folder, owner=f"root:{USER}", mode="775")
        operations.file(
            name="Size of the journal",
            dest=JOURNAL,
            text=files.journal(host.data.get("job_runner_journal") or "1G"),
        )
        operations.current(name="Journal", unit="systemd-journald.service", files=[JOURNAL])
        release_is_there(name=f"groundcrew {release}", python=python, release=release)
        in_force(
            name=f"Environments and timers, once no run is under way (for up to {limit} s)",
            release=release,
            files={
                **files.etc(repository, environments),
                **files.units(exported),
                CREW: Placed(files.WRAPPER, 0o755),
            },
            secrets=sorted(secrets),
            timers=files.timers(exported),
            limit=limit,
        )
        environments_are_well(name="Check", names=named)
