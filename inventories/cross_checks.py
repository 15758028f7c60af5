"""Check an environment across its keys, and against the files around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inventories.environment import PITR, Environment, StoreLocation, StoreSettings, Verify
from inventories.reading import KeyPath, as_written, suggestion
from inventories.value_types import NOBODY

Fault = tuple[KeyPath, str]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The files around an environment file. `stack_folders` and `deploys` are None on a host without the repository."""

    name: str
    hosts: str = ""
    hosts_exist: bool = True
    stack_folders: tuple[str, ...] | None = None
    deploys: tuple[str, ...] | None = None
    databases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Database names by environment. A server is `main.`: the file does not list its databases."""


def cross_check(environment: Environment, sections: Sequence[str], around: Surroundings) -> Iterator[Fault]:
    """Yield all faults across keys and files; the environment can be incomplete because of other faults."""
    yield from _name(environment, around)
    yield from _store(environment, sections)
    yield from _object_lock(environment)
    yield from _signing(environment)
    yield from _same_names(environment)
    yield from _copies(environment)
    yield from _refreshes(environment, around)
    yield from _verify_scripts(environment)
    yield from _stacks(environment, around)
    yield from _state(environment, sections)
    yield from _deploys(environment, around)
    yield from _thresholds(environment)
    yield from _bill(environment)


def missing_hosts_file(around: Surroundings) -> Iterator[Fault]:
    """Yield a fault if the hosts file, which pyinfra needs, is missing."""
    if not around.hosts_exist:
        yield (), f"the hosts file {around.hosts} is missing; create it, for example with: dev_servers = []"


def _name(environment: Environment, around: Surroundings) -> Iterator[Fault]:
    heading = environment.environment
    if heading and heading.name and heading.name != around.name:
        fact = f'"{heading.name}" does not match the file name'
        yield ("environment", "name"), f'{fact}; use name = "{around.name}", or rename the file'


_NEEDS_STORE = ("databases", "servers", "pitr", "copies", "refresh", "stacks", "drift", "hosts", "cost", "status")


def _store(environment: Environment, sections: Sequence[str]) -> Iterator[Fault]:
    needing = [section for section in _NEEDS_STORE if getattr(environment, section)]
    needing += ["alerts"] if environment.alerts.digest else []
    if "store" not in sections and needing:
        remedy = 'add [store] with url = "s3://bucket/prefix" or "file:///directory"'
        yield ("store",), f"is missing, but [{needing[0]}] needs it; {remedy}"


def _object_lock(environment: Environment) -> Iterator[Fault]:
    places: dict[KeyPath, StoreLocation] = {("copies", name): copy for name, copy in environment.copies.items()}
    if environment.store:
        places["store",] = environment.store
    for path, place in places.items():
        if place.lock and place.url and place.url.startswith("file:"):
            yield (*path, "lock"), "object lock needs S3, a directory cannot refuse to delete files; remove `lock`"
        if not place.lock and place.lock_mode == "compliance":
            yield (*path, "lock_mode"), 'has no effect without lock; add lock = "30d"'


def _signing(environment: Environment) -> Iterator[Fault]:
    if environment.store and environment.verify:
        yield from _unused_signing_keys(environment.store, environment.verify)
        yield from _keys_with_two_purposes(environment.store, environment.verify)


def _unused_signing_keys(store: StoreSettings, verify: Verify) -> Iterator[Fault]:
    unused = {("store", "trust"): store.trust, ("verify", "sign_with"): verify.sign_with}
    for path, value in unused.items():
        if store.signing_disabled and value:
            yield path, f'has no effect, because store.sign_with = "{NOBODY}" disables signatures; remove one of them'


def _keys_with_two_purposes(store: StoreSettings, verify: Verify) -> Iterator[Fault]:
    """Yield a fault for each key that is used twice: a machine that verifies backups must not be able to sign them."""
    remedy = "make another one: ssh-keygen -t ed25519"
    if store.signing_key and store.signing_key == store.decrypt_with:
        yield ("store", "sign_with"), f"is the same secret as store.decrypt_with; {remedy}"
    if verify.sign_with and verify.sign_with == store.signing_key:
        yield ("verify", "sign_with"), f"is the same secret as store.sign_with; {remedy}"
    if verify.sign_with and verify.sign_with == store.decrypt_with:
        yield ("verify", "sign_with"), f"is the same secret as store.decrypt_with; {remedy}"


def _same_names(environment: Environment) -> Iterator[Fault]:
    for name in sorted(environment.databases.keys() & environment.servers.keys()):
        yield ("databases", name), f"[servers.{name}] has the same name; rename one of them"
    for kind in ("servers", "copies"):
        if environment.pitr and PITR in getattr(environment, kind):
            yield (kind, PITR), f"has the same name as the stanzas of [{PITR}.…]; rename it"


def _copies(environment: Environment) -> Iterator[Fault]:
    """Yield a fault for each copy whose subjects or objects would be those of something else."""
    places = {_place(environment.store): "store.url"} if environment.store else {}
    for name, copy in environment.copies.items():
        for kind in ("databases", "servers"):
            if name in getattr(environment, kind):
                yield ("copies", name), f"[{kind}.{name}] has the same name; rename one of them"
        other = places.setdefault(_place(copy), f"copies.{name}.url")
        if copy.url and other != f"copies.{name}.url":
            yield ("copies", name, "url"), f"is the same place as {other}; use another bucket or prefix"


def _place(location: StoreLocation) -> tuple[str, str]:
    """Return what tells two places apart: buckets of two providers can have one name."""
    return (location.url or "").rstrip("/"), (location.endpoint or "").rstrip("/")


def _refreshes(environment: Environment, around: Surroundings) -> Iterator[Fault]:
    for name, refresh in environment.refresh.items():
        if refresh.source:
            for text in _origin(refresh.source_environment, refresh.source_database, around):
                yield ("refresh", name, "from"), text
        if refresh.sanitise and not refresh.sanitise.is_file():
            path = _beside(refresh.sanitise, environment.folder)
            yield (
                ("refresh", name, "sanitise"),
                f"file {path} does not exist; create it with the SQL that sanitises the copy",
            )


def _verify_scripts(environment: Environment) -> Iterator[Fault]:
    for kind in ("servers", "databases"):
        for name, source in getattr(environment, kind).items():
            if source.verify_with and not source.verify_with.is_file():
                path = _beside(source.verify_with, environment.folder)
                yield (kind, name, "verify_with"), f"file {path} does not exist; create it, or remove verify_with"
    for name, stanza in environment.pitr.items():
        for database, script in stanza.verify_with.items():
            if not script.is_file():
                path = _beside(script, environment.folder)
                yield (
                    ("pitr", name, "verify_with", database),
                    f"file {path} does not exist; create it, or remove it here",
                )


def _beside(path: Path, folder: Path) -> str:
    return f"{path.relative_to(folder)} beside this file" if path.is_relative_to(folder) else str(path)


def _origin(environment: str, database: str, around: Surroundings) -> Iterator[str]:
    if environment not in around.databases:
        yield f"environment {as_written(environment)} does not exist; {suggestion(environment, around.databases)}"
        return
    known = around.databases[environment]
    if not any(database == name or (name.endswith(".") and database.startswith(name)) for name in known):
        names = [f"{name}<database>" if name.endswith(".") else name for name in known]
        hint = suggestion(database, names) if names else "it has no databases"
        yield f"{environment} has no database {as_written(database)}; {hint}"


def _stacks(environment: Environment, around: Surroundings) -> Iterator[Fault]:
    stacks = environment.stacks
    for name, stack in stacks.items():
        for other in stack.after:
            if other not in stacks:
                others = [stack for stack in stacks if stack != name]
                hint = suggestion(other, others) if others else "this file has no other stack"
                yield ("stacks", name, "after"), f"stack {as_written(other)} is not in this file; {hint}"
        if stack.role and stack.account and stack.role.split(":")[4] != stack.account:
            fact = f"{as_written(stack.account)} is not the account of the role, {stack.role}"
            yield ("stacks", name, "account"), f"{fact}; change one of them"
        folders = around.stack_folders
        if folders is not None and name not in folders:
            yield ("stacks", name), f"directory terraform/stacks/{name} does not exist; {_folder_hint(name, folders)}"
    yield from _cycle(environment)


def _folder_hint(name: str, folders: tuple[str, ...]) -> str:
    return suggestion(name, folders) if folders else "create it with the stack's .tf files, or remove the stack"


def _cycle(environment: Environment) -> Iterator[Fault]:
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter({name: stack.after for name, stack in environment.stacks.items()}).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        yield (
            ("stacks", cycle[0], "after"),
            f"the stacks wait for each other ({' → '.join(cycle)}); remove one of their `after` keys",
        )


def _state(environment: Environment, sections: Sequence[str]) -> Iterator[Fault]:
    state = environment.terraform.state if environment.terraform else None
    if "stacks" in sections and environment.stacks and environment.terraform and not state:
        remedy = 'add state = { bucket = "…", region = "…", lock = "file" } to [terraform]'
        yield ("terraform", "state"), f"is missing, but stacks need it; {remedy}"
    if state and state.lock and state.lock_table:
        yield ("terraform", "state"), "lock and lock_table are both set; remove one of them"
    if state and not state.lock and not state.lock_table:
        yield (
            ("terraform", "state"),
            'no lock is set; add lock = "file", or lock_table = "a DynamoDB table" before Terraform 1.10',
        )


def _deploys(environment: Environment, around: Surroundings) -> Iterator[Fault]:
    settings = environment.hosts
    if settings is None or settings.deploys is None:
        return
    if not settings.deploys:
        yield (
            ("hosts", "deploys"),
            'is empty, so there is nothing to compare; use deploys = ["host"], or remove [hosts]',
        )
    for number, name in enumerate(settings.deploys, start=1):
        if around.deploys is not None and name not in around.deploys:
            fact = f"deploys/{name}.py does not exist"
            yield ("hosts", "deploys", str(number)), f"{fact}; {suggestion(name, around.deploys)}"
        elif name in settings.deploys[: number - 1]:
            yield ("hosts", "deploys", str(number)), f"{as_written(name)} is listed twice; remove one of them"


def _thresholds(environment: Environment) -> Iterator[Fault]:
    thresholds = environment.cost.thresholds if environment.cost else ()
    if thresholds != tuple(sorted(set(thresholds))):
        yield (
            ("cost", "thresholds"),
            f"{list(thresholds)} is not in ascending order; list each threshold once, lowest first",
        )


def _bill(environment: Environment) -> Iterator[Fault]:
    cost = environment.cost
    if cost and cost.source == "focus" and not cost.exports:
        yield ("cost", "exports"), 'is missing, but from = "focus" needs it; add the bucket or directory of the exports'
    if cost and cost.stacks and not cost.stack_tag:
        yield ("cost", "stack_tag"), 'is missing, but budgets of stacks need it; add a tag such as "Stack"'
    if cost and cost.source != "focus" and cost.exports:
        yield ("cost", "exports"), 'has no effect without from = "focus"; add that, or remove it'
    if cost and cost.source == "opencost" and not cost.api:
        yield (
            ("cost", "api"),
            'is missing, but from = "opencost" needs it; add an address such as "http://opencost:9003"',
        )
    if cost and cost.source == "opencost":
        for key, value in (("filter", cost.filter.tag), ("owner_tag", cost.owner_tag), ("stack_tag", cost.stack_tag),
                           ("commitments", cost.commitments), ("role", cost.role)):  # fmt: skip
            if value:
                yield ("cost", key), 'has no effect with from = "opencost"; remove it'
