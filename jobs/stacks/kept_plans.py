"""Keep plans in the store, encrypted, so that another machine applies exactly what a person has read.

The plans of one command have one ID: the commit, and a hash of a document that names the hash of each plan. So the ID
alone proves that nobody with access to the store has changed a plan.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.stacks.commits import SHORT
from jobs.stacks.pruning import remove_all_but_newest

if TYPE_CHECKING:
    from inventories import Environment, Secret
    from jobs.run.job import Run
    from jobs.store import ListedKey

FORMAT = 1
KEPT = 30
"""How many kept plans of a stack stay in the store."""
_DIGITS = 24
_ID = re.compile(rf"[0-9a-f]{{{SHORT}}}-[0-9a-f]{{{_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """What is kept of one stack: a plan, nothing because there was nothing to do, or the stack that it waits for."""

    serial: int = 0
    """The serial number of the state that the plan was made from."""
    name: str = ""
    """The name of the object in the store; empty if there was nothing to do, or if the stack waits."""
    sha256: str = ""
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class KeptPlans:
    """The plans that one command kept."""

    id: str
    commit: str
    stacks: Mapping[str, KeptPlan]


def plan_recipients(environment: Environment) -> tuple[str, ...]:
    """Return for whom kept plans are encrypted; StackError if the file does not say that explicitly."""
    from terraform.errors import StackError

    recipients, store = environment.terraform.encrypt_plans_to, environment.store
    if recipients is None and not (store and store.encrypt_to):
        remedy = 'set encrypt_plans_to = ["age1…"] under [terraform] (age-keygen prints the key)'
        raise StackError(
            f"{environment.name}: kept plans contain secrets, and nothing says whose key encrypts them; {remedy}"
        )
    return recipients if recipients is not None else store.encrypt_to if store else ()


def keep_plan(run: Run, stack: str, folder: Path, commit: str, serial: int) -> KeptPlan:
    """Encrypt a plan that was saved in a directory, write it to the store, and return what was kept."""
    from jobs.backup import encrypt

    sealed, recipients = BytesIO(), plan_recipients(run.environment)
    about, plan = (folder / f"{stack}.json").read_bytes(), (folder / f"{stack}.tfplan").read_bytes()
    encrypt([about, b"\n", plan], sealed, recipients)
    body = sealed.getvalue()
    sha256 = hashlib.sha256(body).hexdigest()
    name = f"{commit[:SHORT]}.{serial}.{sha256[:SHORT]}.tfplan.zst{'.age' if recipients else ''}"
    run.store.create(f"{_folder(run)}{stack}/{name}", body)
    remove_all_but_newest(run, lambda: [each.key for each in _oldest_first(run, stack)], KEPT, "kept plans")
    return KeptPlan(serial, name, sha256)


def keep_plans(run: Run, commit: str, stacks: Mapping[str, KeptPlan]) -> str:
    """Write the document about all plans of a command and return its ID."""
    document = {
        "format": FORMAT,
        "environment": run.environment.name,
        "commit": commit,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "stacks": {name: asdict(plan) for name, plan in stacks.items()},
    }
    body = json.dumps(document, indent=2).encode()
    identifier = f"{commit[:SHORT]}-{hashlib.sha256(body).hexdigest()[:_DIGITS]}"
    run.store.create(f"{_folder(run)}{identifier}.json", body)
    remove_all_but_newest(run, lambda: [entry.key for entry in _documents(run)], KEPT, "kept plans")
    return identifier


def read_kept_plans(run: Run, identifier: str) -> KeptPlans:
    """Return the kept plans with an ID; ChangeRefused if there are none, or if the store was changed since."""
    from jobs.store import Missing
    from terraform.errors import ChangeRefused

    name = run.environment.name
    if not _ID.fullmatch(identifier):
        raise ChangeRefused(
            f"{name}: {identifier!r} is not an ID of kept plans; crew stacks plan {name} --keep prints one"
        )
    try:
        body = run.store.get(f"{_folder(run)}{identifier}.json").body
    except Missing:  # the error names no other ID: everybody who can write the store can keep plans there
        remedy = f"plan again with: crew stacks plan {name} --keep"
        raise ChangeRefused(f"{name}: the store has no kept plans {identifier}; {remedy}") from None
    if not hashlib.sha256(body).hexdigest().startswith(identifier.partition("-")[2]):
        raise ChangeRefused(f"{name}: the document of the kept plans {identifier} was changed in the store; plan again")
    document = json.loads(body)
    if document["format"] != FORMAT:
        raise ChangeRefused(f"{name}: a newer groundcrew kept the plans {identifier}; update this one")
    stacks = {stack: KeptPlan(**plan) for stack, plan in document["stacks"].items()}
    return KeptPlans(identifier, document["commit"], stacks)


def unpack_plan(run: Run, stack: str, plan: KeptPlan, folder: Path) -> None:
    """Write a kept plan to a directory as `plan --save` does; ChangeRefused if it is gone or was changed."""
    from jobs.backup import decrypt
    from jobs.store import LARGE_DOCUMENT_LIMIT, Missing
    from terraform.errors import ChangeRefused

    name = f"{run.environment.name}/{stack}"
    try:
        body = run.store.get(f"{_folder(run)}{stack}/{plan.name}", LARGE_DOCUMENT_LIMIT).body
    except Missing:
        raise ChangeRefused(f"{name}: the kept plan is no longer in the store; plan again") from None
    if hashlib.sha256(body).hexdigest() != plan.sha256:
        raise ChangeRefused(f"{name}: the kept plan was changed in the store; plan again")
    is_encrypted, opened = plan.name.endswith(".age"), BytesIO()
    key = _key(run, name) if is_encrypted else None
    decrypt([body], opened, key.reveal() if key else None)
    about, _, content = opened.getvalue().partition(b"\n")
    for suffix, part in (("json", about), ("tfplan", content)):
        file = folder / f"{stack}.{suffix}"
        file.touch(mode=0o600)
        file.write_bytes(part)


def _key(run: Run, name: str) -> Secret:
    from terraform.errors import StackError

    store = run.environment.store
    key = run.environment.terraform.decrypt_plans_with or (store.decrypt_with if store else None)
    if key is None:
        remedy = 'set decrypt_plans_with = { file = "…" } under [terraform]'
        raise StackError(f"{name}: the kept plan is encrypted, and {run.environment.name}.toml has no key; {remedy}")
    return key


def _folder(run: Run) -> str:
    return f"{run.environment.name}/plans/"


def _oldest_first(run: Run, stack: str) -> list[ListedKey]:
    return sorted(run.store.list(f"{_folder(run)}{stack}/"), key=lambda entry: entry.modified)


def _documents(run: Run) -> list[ListedKey]:
    """Return the documents of kept plans, oldest first."""
    from jobs.store import ListedKey

    listed = [entry for entry in run.store.folders(_folder(run)) if isinstance(entry, ListedKey)]
    return sorted((entry for entry in listed if entry.key.endswith(".json")), key=lambda entry: entry.modified)
