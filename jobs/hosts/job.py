"""The job `hosts`: compares the hosts with a deploy, so that new, changed and resolved drift causes an alert."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.format import and_more, plural
from jobs.hosts.report import (
    BadComparison,
    ComparedHost,
    HostChange,
    HostComparison,
    parse_comparison,
    with_ignored,
)
from jobs.run.job import Failed, Job, Options, Outcome, Result, Run, Transient, UnknownName

if TYPE_CHECKING:
    from inventories import Environment, HostDrift, Secret
    from jobs.store import Store

SHOWN = 3
MAX_ANSWER = 16 * 2**20  # bytes
# The beginnings of pyinfra's reasons that can pass: the host reboots, or the network or its name server is down.
PASSING = (
    "Could not connect",
    "Could not resolve hostname",
    "EOF error",
    "SSH error (Error reading SSH protocol banner",
)


def work(run: Run) -> Result:
    """Compare the hosts with one deploy, and log each change."""
    settings, deploy = host_drift(run.environment), deploy_file(run.environment, run.subject)
    comparison = with_ignored(compare_with(run.environment, deploy, run.process), settings.ignore)
    run.check()
    for change in comparison.changes:
        why = {"ignored": change.ignored} if change.ignored else {}
        run.log.info("drift", host=change.host, operation=change.operation, target=change.target,
                     detail=change.detail, **why)  # fmt: skip
    for host in comparison.failed:
        run.log.warning("host not compared", host=host.name, why=host.error)
    return comparison_result(comparison)


def host_drift(environment: Environment) -> HostDrift:
    """Return the environment's [hosts] section."""
    if environment.hosts is None:
        raise Failed(f"{environment.name}: no [hosts] section, so no deploy is compared; add one with deploys")
    return environment.hosts


def compare_with(
    environment: Environment, deploy: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> HostComparison:
    """Start the child process that compares the hosts with a deploy, and return its answer."""
    settings, inventory = host_drift(environment), _beside(environment, Path(environment.name))
    for path, what in ((inventory, "inventory"), (deploy, "deploy")):
        if not path.is_file():
            raise Failed(f"the {what} {path} does not exist; run this where the whole repository is")
    with tempfile.TemporaryDirectory(prefix="crew-hosts-") as folder:
        answer = Path(folder, "answer.json")
        given = ["--ssh-key", _key_file(settings.ssh_key, folder)] if settings.ssh_key else []
        if settings.known_hosts:
            relative = Path(os.path.relpath(settings.known_hosts, environment.folder))
            given += ["--known-hosts", str(_beside(environment, relative))]
        child = start(
            [sys.executable, "-m", "jobs.hosts", *given, str(inventory), str(deploy), str(answer)],
            cwd=repository_folder(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # pyinfra prints what it reads, and the output of a host can contain secrets
            stderr=subprocess.DEVNULL,
        )
        return _answer(answer, child.wait(), f"pyinfra {inventory} {deploy} --dry")


def _answer(file: Path, code: int, command: str) -> HostComparison:
    if code or not file.is_file() or file.stat().st_size > MAX_ANSWER:
        raise Failed(f"the comparison ended without an answer (exit code {code}); to see why, run: {command}")
    try:
        return parse_comparison(file.read_text())
    except (BadComparison, UnicodeDecodeError) as error:
        raise Failed(f"{error}; to see why, run: {command}") from None


def _key_file(key: Secret, folder: str) -> str:
    """Write the SSH key to a file that only this user can read; it is removed together with its directory."""
    file = Path(folder, "key")
    file.touch(mode=0o600)
    file.write_text(f"{key.reveal().strip()}\n")
    return str(file)


def _beside(environment: Environment, file: Path) -> Path:
    """Return a file that is beside the environment file; on a job runner it is in hosts/."""
    folder = environment.folder.absolute()
    on_runner = folder / "hosts" / file
    return on_runner if on_runner.is_file() else folder / file


def repository_folder(environment: Environment) -> Path:
    """Return the directory that pyinfra runs in: the repository, or that of the environment files on a job runner."""
    folder = environment.folder.absolute()
    return folder.parent if folder.name == "inventories" else folder


def deploy_file(environment: Environment, name: str) -> Path:
    """Return the file of a deploy: that of the repository, or on a job runner that of the installed groundcrew."""
    import deploys

    own = repository_folder(environment) / "deploys"
    folders = [own] if own.is_dir() else [Path(each) for each in deploys.__path__]
    return folders[0] / f"{name}.py"


def comparison_result(comparison: HostComparison) -> Result:
    """Return the result of a run: a change is a finding, and a host that could not be compared is a failure.

    Its sentence also names the changes on the other hosts. Raise Transient if each such host can answer later.
    """
    if comparison.error:
        raise Failed(comparison.error)
    sentence, drift, failed = "; ".join(_sentences(comparison)), comparison.drift, comparison.failed
    if failed and all(map(_passes, failed)):
        raise Transient(sentence)
    figures = {
        "hosts": len(comparison.hosts),
        "drifted": len({change.host for change in drift}),
        "changes": len(drift),
        "ignored": len(comparison.changes) - len(drift),
        "not_compared": len(failed),
    }
    outcome = Outcome.FAILED if failed else Outcome.FINDING if drift else Outcome.DONE
    return Result(outcome, sentence, figures, _fingerprint(drift, failed), details=comparison)


def _sentences(comparison: HostComparison) -> Iterator[str]:
    failed, drift = comparison.failed, comparison.drift
    hosts, total = len({change.host for change in drift}), plural(len(comparison.hosts), "host")
    if failed:
        reasons = and_more([f"{host.name}: {host.error}" for host in failed], SHOWN)
        yield f"{len(failed)} of {total} could not be compared ({reasons})"
    if drift:
        listed = and_more([change.what for change in drift], SHOWN)
        yield f"{plural(len(drift), 'change')} on {hosts} of {total} ({listed})"
    elif not failed:
        ignored = len(comparison.changes)
        yield f"no drift on {total}" + (f", {ignored} ignored" if ignored else "")


def _passes(host: ComparedHost) -> bool:
    return host.unreachable and host.error.startswith(PASSING)


def _fingerprint(drift: Sequence[HostChange], failed: Sequence[ComparedHost]) -> str:
    """Return a hash that changes with the drift and the hosts that failed, and reveals nothing about them."""
    changes = [(change.host, change.operation, change.target) for change in drift]
    text = repr(sorted([*changes, *((host.name, "", "") for host in failed)]))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def subjects(environment: Environment, _store: Store, options: Options) -> Sequence[str]:
    """Return the selected deploys (default: all)."""
    deploys = environment.hosts.deploys if environment.hosts else ()
    unknown = [name for name in options.only if name not in deploys]
    if unknown:
        listed = f"it compares: {', '.join(deploys)}" if deploys else "it compares none; add [hosts] with deploys"
        raise UnknownName(f"{environment.name}: no deploy {unknown[0]} in [hosts]; {listed}")
    return options.only or deploys


def schedule(environment: Environment, _deploy: str) -> str | None:
    """Return the cron line, which all deploys share."""
    return str(environment.hosts.check) if environment.hosts and environment.hosts.check else None


HOSTS = Job(
    "hosts", subjects, work, schedule,
    limit=lambda _environment, _deploy: timedelta(minutes=30), max_parallel=1,
    has_subject=lambda environment, deploy: environment.hosts is not None and deploy in environment.hosts.deploys,
)  # fmt: skip
