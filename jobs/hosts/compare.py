"""The child process of the job `hosts`: prepare one deploy for all hosts, and write what it would change as JSON.

It prepares operations, as `pyinfra --dry` does, and that only reads the hosts. It never calls the part of pyinfra that
runs operations. If a deploy asks for that, or for an upload, the comparison of its host fails.
"""

from __future__ import annotations

import argparse
import inspect
import os
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyinfra
from pyinfra.api import Config, Host, State
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.state import BaseStateCallback, StateOperationHostData, StateStage
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state

from deploys.lib.facts import HostFacts, PathFacts, QuestionKind, Questions, UnitFacts, known_facts
from deploys.lib.operations import ENABLED_STATES, LOCAL_OPERATIONS, list_installed, missing_packages
from deploys.lib.preflight import DeployError, require_hosts
from jobs.hosts.report import ComparedHost, HostChange, HostComparison, comparison_json, safe_text

UPLOADS = ("put_file", "rsync")
GET_FACT = "get_fact"
# Parameters of operations that name what is changed. Other parameters can be secrets.
TARGETS = ("dest", "path", "unit", "service", "packages", "package", "user", "group")
MAX_NAMES = 5


class ReadingState(State):
    """The state of a run that prepares operations and runs none. It keeps what each operation would change."""

    def __init__(self) -> None:
        super().__init__(check_for_changes=True)
        self.changes: dict[str, list[HostChange]] = {}
        self.unreachable: dict[str, str] = {}
        self.errors: dict[str, str] = {}

    def set_stage(self, stage: StateStage) -> None:
        if stage is StateStage.Execute:
            raise DeployError("a comparison runs no operation")
        super().set_stage(stage)

    def fail_hosts(self, hosts_to_fail: set[Host], activated_count: int | None = None) -> None:
        """Go on with the other hosts, where pyinfra itself would end the run."""
        del activated_count  # pyinfra's share of hosts that can fail
        self.failed_hosts |= hosts_to_fail
        self.active_hosts -= hosts_to_fail
        if self.current_stage is StateStage.Prepare:
            facts = ", ".join(str(host.connector_data.get(GET_FACT)) for host in hosts_to_fail)
            raise DeployError(f"the fact {facts} could not be read")

    def set_op_data_for_host(self, host: Host, op_hash: str, op_data: StateOperationHostData) -> None:
        """Keep the change that an operation would make. pyinfra calls this for each operation that it prepared."""
        super().set_op_data_for_host(host, op_hash, op_data)
        prepared = inspect.getclosurevars(op_data.command_generator).nonlocals
        # The condition of `_if` is known only when operations run.
        if not op_data.operation_meta.will_change or op_data.global_arguments["_if"]:
            return
        if prepared["func"] not in LOCAL_OPERATIONS:
            arguments = inspect.signature(prepared["func"]).bind(*prepared["args"], **prepared["kwargs"]).arguments
            name = ", ".join(sorted(self.op_meta[op_hash].names))
            texts = (safe_text(each) for each in (name, *difference(*known_facts(host), arguments)))
            self.changes.setdefault(host.name, []).append(HostChange(host.name, *texts))


class _Unreachable(BaseStateCallback):
    @staticmethod
    def host_connect_error(state: State, host: Host, error: ConnectError) -> None:
        if isinstance(state, ReadingState) and state.current_stage is StateStage.Connect:
            state.unreachable[host.name] = safe_text(str(error))


def difference(asked: Questions, facts: HostFacts, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Return what an operation changes (a file, unit or packages) and how that differs; "" for what is unknown.

    The operation has read the facts before, so its host answered the questions in `asked`.
    """
    file, unit, packages = (arguments.get(name) for name in ("dest", "unit", "packages"))
    file = file or arguments.get("path")
    if isinstance(packages, list | tuple) and list_installed([*map(str, packages)]) in facts.output:
        return names(missing_packages(facts, packages)), "not installed"
    if isinstance(unit, str) and unit in facts.units:
        return unit, _unit_detail(facts.units[unit])
    if isinstance(file, str) and (QuestionKind.PATH, file) in asked:
        return file, _file_detail(facts.paths.get(file))
    return next((names(arguments[name]) for name in TARGETS if arguments.get(name)), ""), ""


def _unit_detail(unit: UnitFacts) -> str:
    if unit.file_state not in ENABLED_STATES:
        return "not enabled"
    return "needs a restart, its files are newer" if unit.active else "not active"


def _file_detail(file: PathFacts | None) -> str:
    if file is None:
        return "missing"
    return f"differs, written {datetime.fromtimestamp(file.modified / 10**9, UTC):%Y-%m-%d %H:%M} UTC"


def names(given: object) -> str:
    """Return one name, or the first of a list; "" for anything else."""
    listed = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(listed, list | tuple):
        return ""
    more = [f"and {len(listed) - MAX_NAMES} more"] if len(listed) > MAX_NAMES else []
    return ", ".join([*map(str, listed[:MAX_NAMES]), *more])


def compare_hosts(inventory: Path, deploy: Path, access: Mapping[str, Any]) -> HostComparison:
    """Prepare a deploy for all hosts of an inventory, and return what it would change there."""
    from pyinfra_cli.inventory import make_inventory

    state, config = ReadingState(), Config()
    state.cwd = str(Path.cwd())
    with ctx_state.use(state), ctx_config.use(config):
        _load_config(config, Path("config.py"))
        require_hosts()
        hosts = make_inventory(str(inventory), cwd=state.cwd, override_data=dict(access))
        with ctx_inventory.use(hosts):
            state.init(hosts, config)
            state.callback_handlers.append(_Unreachable())
            try:
                state.set_stage(StateStage.Connect)
                connect_all(state)
                state.set_stage(StateStage.Prepare)
                _prepare(state, str(deploy))
            finally:
                disconnect_all(state)
        return HostComparison(tuple(_compared(state, host) for host in sorted(hosts, key=lambda host: host.name)))


def _load_config(config: Config, file: Path) -> None:
    from pyinfra_cli.util import exec_file

    if file.exists():
        exec_file(str(file.absolute()))
    config.lock_current_state()


def _prepare(state: ReadingState, deploy: str) -> None:
    """Run the deploy's code for each host, all at once. It adds operations, and pyinfra asks each for its changes."""
    from pyinfra_cli.util import exec_file

    state.current_deploy_filename = deploy

    def prepare(host: Host) -> None:
        try:
            with ctx_config.use(state.config.copy()), ctx_host.use(host):
                exec_file(deploy)
        except (Exception, SystemExit) as error:
            state.errors[host.name] = explanation(error).removeprefix(f"{host.name}: ")

    for host in list(state.active_hosts):
        state.pool.spawn(prepare, host)
    state.pool.join()


def explanation(error: BaseException) -> str:
    """Return why a comparison failed. The text of an unexpected error can be a secret: name its kind and place."""
    error = getattr(error, "exception", error)  # pyinfra's wrapper of an error in a deploy
    if isinstance(error, PyinfraError | SystemExit):
        return safe_text(str(error)) or type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    return safe_text(f"{type(error).__name__}{place}")


def _compared(state: ReadingState, host: Host) -> ComparedHost:
    return ComparedHost(
        host.name,
        operations=len(state.ops[host]),
        changes=tuple(state.changes.get(host.name, ())),
        error=state.unreachable.get(host.name) or state.errors.get(host.name, ""),
        unreachable=host.name in state.unreachable,
    )


def _refuse(*_arguments: object, **_options: object) -> bool:
    raise DeployError("a comparison uploads no file")


def allow_reading_only() -> None:
    """Let no host accept an upload, and remember the fact that each host is asked for."""
    for name in UPLOADS:
        setattr(Host, name, _refuse)
    read = getattr(Host, GET_FACT)

    def get_fact(host: Host, fact: type, *arguments: Any, **options: Any) -> Any:
        host.connector_data[GET_FACT] = fact.__name__
        return read(host, fact, *arguments, **options)

    setattr(Host, GET_FACT, get_fact)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m jobs.hosts")
    parser.add_argument("inventory", type=Path)
    parser.add_argument("deploy", type=Path)
    parser.add_argument("answer", type=Path)
    parser.add_argument("--ssh-key")
    parser.add_argument("--known-hosts")
    given = parser.parse_args()
    pyinfra.is_cli = True
    allow_reading_only()
    access = {"ssh_key": given.ssh_key, "ssh_known_hosts_file": given.known_hosts}
    access = {name: value for name, value in access.items() if value} | {"ssh_strict_host_key_checking": "yes"}
    try:
        answer = compare_hosts(given.inventory, given.deploy, access)
    except (Exception, SystemExit) as error:
        answer = HostComparison(error=explanation(error))
    given.answer.write_text(comparison_json(answer))
