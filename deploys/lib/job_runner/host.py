"""Operations on a job runner."""

from __future__ import annotations

import shlex
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path

from pyinfra import host
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State, operation
from pyinfra.api.state import StateStage

from deploys.lib.facts import sudo_arguments
from deploys.lib.host.base import JOURNAL, KERNEL
from deploys.lib.job_runner import release as runner_release
from deploys.lib.job_runner.files import (
    CREW,
    ETC,
    EXPORT_MARK,
    HOME,
    LIST_MANAGED_FILES,
    OPT,
    UNITS,
    USER,
    ManagedFile,
    as_archive,
    parse_managed_files,
    removal_script,
    switch_script,
)
from deploys.lib.job_runner.release import HostPython
from deploys.lib.messages import log_message
from deploys.lib.operations import CommandLines, Steps, journal, run_silently
from deploys.lib.preflight import DeployError

WHEELS = f"{OPT}/wheels"
# systemd runs the script on the host, so a lost connection does not stop it. STOP ends a script that still waits.
STOP = "systemctl stop groundcrew-switch.service 2>/dev/null || true"
RUN = f"systemd-run --quiet --wait --pipe --collect --unit=groundcrew-switch sh {OPT}/switch"


@operation()
def install_release(python: HostPython, release: str) -> Steps:
    """Install this release into its own virtual environment, beside the active one. A partial one is replaced."""
    new = f"{OPT}/{release}"
    if host.get_fact(CommandLines, f"cat {new}/whole"):
        host.noop(f"release {release} is installed")
        return
    yield f"rm --recursive --force {new} && mkdir --parents {WHEELS} {new}"
    yield FunctionCommand(_send_wheels, (python, new), {})
    yield f"python3 -m venv {new}"
    yield (
        f"cd {WHEELS} && {new}/bin/pip --isolated install --quiet --no-index --no-deps $(cat {new}/wheels) {new}/*.whl"
        f" && {new}/bin/pip --isolated check && {new}/bin/crew --version > {new}/whole.new"
        f" && mv {new}/whole.new {new}/whole"
    )


def _send_wheels(state: State, host: Host, python: HostPython, new: str) -> bool:
    """Send the wheels that the host does not have yet, in one archive."""
    try:
        own, others = runner_release.make_wheels(python)
    except DeployError as error:
        log_message(host, str(error))
        return False
    _, present = run_silently(host, f"ls {WHEELS}")
    names = [each.name for each in others]
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as packing:
        packing.add(own, f"{new}/{own.name}")
        for each in others:
            if each.name not in present:
                packing.add(each, f"{WHEELS}/{each.name}")
    sent = f"{new}/sent.tar"
    archive.seek(0)
    ok = host.put_file(archive, sent, remote_temp_filename=host.get_temp_filename(sent), **sudo_arguments(host))
    unpack = (
        f"tar --extract --directory=/ --no-same-owner --file={sent} && rm {sent} && cat > {new}/wheels && cd {WHEELS} "
        f"&& {{ ls | grep -vxF --file={new}/wheels | xargs --no-run-if-empty rm; }}"
    )
    return ok and run_silently(host, unpack, "\n".join(names))[0]


@operation()
def activate_release(
    release: str, files: Mapping[str, ManagedFile], secrets: Sequence[str], timers: Sequence[str], limit: int
) -> Steps:
    """Activate a release with its files and timers, all at once, while no run is active."""
    current = parse_managed_files(host.get_fact(CommandLines, LIST_MANAGED_FILES))
    stale = sorted(set(current) - set(files) - set(secrets))
    unchanged = all(current.get(path) == file.fingerprint for path, file in files.items())
    names = " ".join(timers)
    inactive = host.get_fact(
        CommandLines,
        f"systemctl is-active {names} | grep -vx active; systemctl is-enabled {names} | grep -vx enabled; "
        f"systemctl show --property=NeedDaemonReload --value {names} | grep yes; "
        f"[ $(readlink {OPT}/current) = {release} ] || echo another release",
    )
    if unchanged and not stale and not inactive:
        host.noop("release, files and timers are up to date")
        return
    yield STOP
    yield _upload(BytesIO(as_archive(files)), f"{OPT}/next.tar")
    yield _upload(StringIO(switch_script(release, stale, limit)), f"{OPT}/switch")
    yield RUN
    yield f"rm {OPT}/next.tar {OPT}/switch"


def _upload(content: BytesIO | StringIO, to: str) -> FileUploadCommand:
    return FileUploadCommand(content, to, remote_temp_filename=host.get_temp_filename(to))


@operation()
def check_environments(names: Sequence[str]) -> Steps:
    """Run `crew check` as the service user, hardened as runs are; a problem fails the deploy."""
    if host.state.current_stage is not StateStage.Execute:  # the check needs the installed release
        return
    for name in names:
        ok, output = run_silently(host, crew_check_command(name))
        log_message(host, "\n    ".join([f"crew check {name}:", *output]))
        if not ok:
            yield FunctionCommand(_report_failed_check, (name,), {})


def crew_check_command(name: str) -> str:
    """Return a command that runs the check and prints its output."""
    unit = f"groundcrew-{name}-check.service"
    lines = journal(unit, '--identifier=crew --since="$began"')
    return f"began=$(date '+%F %T.%6N'); systemctl start {unit} 2>&1; code=$?; {lines}; exit $code"


def _report_failed_check(state: State, host: Host, name: str) -> bool:
    log_message(
        host,
        f"groundcrew is installed and its timers run, but the check of {name} failed, see above; "
        f"fix that and run this again, or check on the host: systemctl start groundcrew-{name}-check",
    )
    return False


@operation()
def remove_job_runner(files: Sequence[Path], stores: Sequence[str], limit: int) -> Steps:
    """Remove all that this deploy installed, except a store on this host and the user that owns it."""
    installed = f"{OPT} {ETC} {CREW} $(test -e {KERNEL} || echo {JOURNAL}) {shlex.join(map(str, files))}"
    orphan = f"ls --directory {shlex.join([HOME, *stores])} | grep --quiet . || getent passwd {USER}"
    left = f"ls --directory {installed}; grep -ls '{EXPORT_MARK}' {UNITS}/groundcrew-*; {orphan}"
    if not host.get_fact(CommandLines, left):
        host.noop("nothing is left to remove")
        return
    yield f"{STOP}; mkdir --parents {OPT}"
    yield _upload(StringIO(removal_script(files, stores, limit)), f"{OPT}/switch")
    yield RUN
