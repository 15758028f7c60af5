"""The operations on a job runner."""

from __future__ import annotations

import shlex
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path

from pyinfra import host
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State, operation
from pyinfra.api.state import StateStage

from deploys.lib.facts import as_root
from deploys.lib.job_runner import release as runner_release
from deploys.lib.job_runner.files import (
    CREW,
    ETC,
    FOUND,
    HOME,
    JOURNAL,
    MADE_BY,
    OPT,
    UNITS,
    USER,
    Placed,
    found,
    packed,
    removal,
    switch,
)
from deploys.lib.job_runner.release import Python
from deploys.lib.operations import Lines, Steps, quietly
from deploys.lib.preflight import DeployError

WHEELS = f"{OPT}/wheels"
# By the host's own systemd, so that it comes to its end even if we are cut off. One that still waits makes way.
STOP = "systemctl stop groundcrew-switch.service 2>/dev/null || true"
RUN = f"systemd-run --quiet --wait --pipe --collect --unit=groundcrew-switch sh {OPT}/switch"


@operation()
def release_is_there(python: Python, release: str) -> Steps:
    """A virtual environment of this release, beside the one that is in use; whole, or made anew."""
    new = f"{OPT}/{release}"
    if host.get_fact(Lines, f"cat {new}/whole"):
        host.noop(f"release {release} is there")
        return
    yield f"rm --recursive --force {new} && mkdir --parents {WHEELS} {new}"
    yield FunctionCommand(_send_wheels, (python, new), {})
    yield f"python3 -m venv {new}"
    yield (
        f"cd {WHEELS} && {new}/bin/pip --isolated install --quiet --no-index --no-deps $(cat {new}/wheels) {new}/*.whl"
        f" && {new}/bin/pip --isolated check && {new}/bin/crew --version > {new}/whole.new"
        f" && mv {new}/whole.new {new}/whole"
    )


def _send_wheels(state: State, host: Host, python: Python, new: str) -> bool:
    """Bring what the host does not have yet, in one piece."""
    try:
        own, others = runner_release.wheels(python)
    except DeployError as fault:
        host.log(str(fault))
        return False
    _, there = quietly(host, f"ls {WHEELS}")
    names = [each.name for each in others]
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as packing:
        packing.add(own, f"{new}/{own.name}")
        for each in others:
            if each.name not in there:
                packing.add(each, f"{WHEELS}/{each.name}")
    sent = f"{new}/sent.tar"
    archive.seek(0)
    told = host.put_file(archive, sent, remote_temp_filename=host.get_temp_filename(sent), **as_root(host))
    unpack = (
        f"tar --extract --directory=/ --no-same-owner --file={sent} && rm {sent} && cat > {new}/wheels && cd {WHEELS} "
        f"&& {{ ls | grep -vxF --file={new}/wheels | xargs --no-run-if-empty rm; }}"
    )
    return told and quietly(host, unpack, "\n".join(names))[0]


@operation()
def in_force(
    release: str, files: Mapping[str, Placed], secrets: Sequence[str], timers: Sequence[str], limit: int
) -> Steps:
    """This release, with these files, on these timers: switched between runs, all at once."""
    there = found(host.get_fact(Lines, FOUND))
    stale = sorted(set(there) - set(files) - set(secrets))
    same = all(there.get(path) == file.told for path, file in files.items())
    named = " ".join(timers)
    off = host.get_fact(
        Lines,
        f"systemctl is-active {named} | grep -vx active; systemctl is-enabled {named} | grep -vx enabled; "
        f"systemctl show --property=NeedDaemonReload --value {named} | grep yes; "
        f"[ $(readlink {OPT}/current) = {release} ] || echo another release",
    )
    if same and not stale and not off:
        host.noop("all is as it should be")
        return
    yield STOP
    yield _upload(BytesIO(packed(files)), f"{OPT}/next.tar")
    yield _upload(StringIO(switch(release, stale, limit)), f"{OPT}/switch")
    yield RUN
    yield f"rm {OPT}/next.tar {OPT}/switch"


def _upload(content: BytesIO | StringIO, to: str) -> FileUploadCommand:
    return FileUploadCommand(content, to, remote_temp_filename=host.get_temp_filename(to))


@operation()
def environments_are_well(names: Sequence[str]) -> Steps:
    """`crew check`, as the service user, hardened as runs are: what it finds wrong fails the deploy."""
    if host.state.current_stage is not StateStage.Execute:  # what it looks at is not there before
        return
    for name in names:
        told, printed = quietly(host, check(name))
        host.log("\n    ".join([f"crew check {name}:", *printed]))
        if not told:
            yield FunctionCommand(_is_wrong, (name,), {})


def check(name: str) -> str:
    """Runs the check and prints what it said."""
    unit = f"groundcrew-{name}-check.service"
    return (
        f"began=$(date '+%F %T.%6N'); systemctl start {unit} 2>&1; code=$?; journalctl --sync; "
        f'journalctl --unit={unit} --identifier=crew --output=cat --no-pager --since="$began"; exit $code'
    )


def _is_wrong(state: State, host: Host, name: str) -> bool:
    host.log(
        f"groundcrew is installed and its timers run, but {name} can't do its work like this, see above; "
        f"mend it and run this again, or look by hand: systemctl start groundcrew-{name}-check"
    )
    return False


@operation()
def gone(files: Sequence[Path], stores: Sequence[str], limit: int) -> Steps:
    """All that this deploy made is away; a store that is a folder of the host stays, and so does its owner then."""
    ours = f"{OPT} {ETC} {CREW} {JOURNAL} {shlex.join(map(str, files))}"
    orphan = f"ls --directory {shlex.join([HOME, *stores])} | grep --quiet . || getent passwd {USER}"
    there = f"ls --directory {ours}; grep -ls '{MADE_BY}' {UNITS}/groundcrew-*; {orphan}"
    if not host.get_fact(Lines, there):
        host.noop("nothing of it is there")
        return
    yield f"{STOP}; mkdir --parents {OPT}"
    yield _upload(StringIO(removal(files, stores, limit)), f"{OPT}/switch")
    yield RUN
