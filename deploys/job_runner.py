"""Set up a host that runs an environment's jobs: groundcrew itself, its timers and the secrets that the jobs need.

    pyinfra inventories/production deploys/job_runner.py
    pyinfra inventories/production deploys/job_runner.py --data job_runner=absent    # removes all of it

Group data: inventories/group_data/job_runners.py, which explains each key.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra import host

from deploys.lib import operations, passwords, preflight
from deploys.lib.host.base import JOURNAL, journal_settings
from deploys.lib.job_runner import files
from deploys.lib.job_runner import release as runner_release
from deploys.lib.job_runner.files import CREDENTIALS, CREW, ETC, HOME, USER, ManagedFile
from deploys.lib.job_runner.host import activate_release, check_environments, install_release, remove_job_runner
from inventories import BadEnvironment, Repository, Secret

MEMORY, DISK = 400, 1000  # MiB

if host.name in preflight.hosts_of_group("job_runners"):
    system = preflight.check_system(memory=MEMORY, disk=DISK)
    names = host.data.get("job_runner_environments") or [host.groups[-1]]
    given_secrets = host.data.get("job_runner_secrets") or {}
    limit = int(host.data.get("job_runner_wait") or 900)
    try:
        repository = Repository.find()
        environments = [repository.read(name) for name in names]
    except BadEnvironment as error:
        raise preflight.DeployError(str(error)) from None
    textfiles = sorted({each.metrics.textfile for each in environments if each.metrics.textfile})

    if host.data.get("job_runner") == "absent":
        metrics_files = [*textfiles, *(each.with_name(f".{each.name}.lock") for each in textfiles)]
        remove_job_runner(
            name="Remove the job runner",
            files=[*filter(Path.is_absolute, map(Path, given_secrets)), *metrics_files],
            stores=files.store_folders(environments),
            limit=limit,
        )
    else:
        (machine,) = host.get_fact(operations.CommandLines, "uname -m")
        python = runner_release.HostPython(*runner_release.PYTHONS[system.name, system.version], machine)
        release = runner_release.release_id(python)
        units = {file: text for name in names for file, text in files.export_units(repository.root, name).items()}
        variables = files.secret_names(units)
        preflight.stop_on_faults(f"{host.name}: {fault}" for fault in files.faults(given_secrets, names, variables))
        sources = {**{name: {"env": name} for name in variables}, **given_secrets}
        secrets = {
            name if "/" in name else f"{CREDENTIALS}/{name}": passwords.reveal(f"secret {name}", source)
            for name, source in sources.items()
        }

        operations.install_packages(
            name="Packages", packages=[*files.PACKAGES, *(host.data.get("job_runner_packages") or [])]
        )
        operations.run_unless_exists(name="User", path=HOME, commands=files.CREATE_USER)
        operations.ensure_folder(name="Directory of the environments", path=ETC, owner=f"root:{USER}", mode="750")
        operations.ensure_folder(name="Directory of secrets", path=CREDENTIALS, mode="700")
        for path, value in host.loop(sorted(secrets.items())):
            owner = "root" if path.startswith(f"{CREDENTIALS}/") else USER
            if owner == USER and (folder := str(Path(path).parent)) not in (ETC, HOME):
                operations.ensure_folder(name=f"Directory {folder}", path=folder, owner=f"{USER}:{USER}", mode="700")
            operations.write_secret_file(
                name=f"Secret {path}", dest=path, text=Secret(literal=f"{value}\n"), owner=f"{owner}:{owner}"
            )
        for folder in host.loop(files.store_folders(environments)):
            operations.ensure_folder(name=f"Store {folder}", path=folder, owner=f"{USER}:{USER}", mode="700")
        for mark, commands in host.loop(sorted(files.store_marks(environments).items())):
            operations.run_unless_exists(name=f"Mark {mark}", path=mark, commands=commands)
        for folder in host.loop(sorted({str(each.parent) for each in textfiles})):
            operations.ensure_folder(name=f"Metrics in {folder}", path=folder, owner=f"root:{USER}", mode="775")
        operations.write_file(
            name="Size of the journal",
            dest=JOURNAL,
            text=journal_settings(host.data.get("journal_size") or "1G"),
        )
        operations.ensure_unit(name="Journal", unit="systemd-journald.service", files=[JOURNAL])
        install_release(name=f"groundcrew {release}", python=python, release=release)
        activate_release(
            name=f"Activate release, environments and timers (waits up to {limit} s for active runs)",
            release=release,
            files={
                **files.configuration_files(repository, environments),
                **files.unit_files(units),
                CREW: ManagedFile(files.WRAPPER, 0o755),
            },
            secrets=sorted(secrets),
            timers=files.timer_names(units),
            limit=limit,
        )
        check_environments(name="Check", names=names)
