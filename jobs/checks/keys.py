"""Check the keys that decrypt and sign: which jobs this machine can run, and whether others trust what it signs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial

from inventories import Environment, Secret
from jobs.checks.check import Check, CheckResult, fault, ok, warn

DISABLED = 'backups are not signed (sign_with = "nobody"): anyone with write access to the store can plant one'
_HOW_TO_SIGN = "docs/backups.md says how to make a key and where it belongs"
_JOBS = {
    "store.decrypt_with": "restore, verify and refresh",
    "store.sign_with": "back up",
    "verify.sign_with": "verify",
}


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check of the settings of signatures, and one of each key that the file names."""
    if environment.store is None:
        return
    if environment.databases or environment.servers:
        yield Check("signatures", partial(check_signatures, environment))
    keys = keys_of_jobs(environment)
    for name in keys:
        yield Check(f"key {name}", partial(check_key, environment, name, keys))


def keys_of_jobs(environment: Environment) -> dict[str, Secret]:
    """Return the keys that only some jobs need, by their names in the file."""
    store = environment.store
    keys = {
        "store.decrypt_with": store.decrypt_with if store else None,
        "store.sign_with": store.signing_key if store else None,
        "verify.sign_with": environment.verify.sign_with,
    }
    return {name: secret for name, secret in keys.items() if secret is not None}


def check_signatures(environment: Environment) -> CheckResult:
    """Check that backups and results of verifications are signed, and that no process can read all the keys."""
    store = environment.store
    assert store
    if store.signing_disabled:
        return warn(DISABLED, _HOW_TO_SIGN)
    if store.signing_key is None and not store.trust:
        return fault("the file names no key that signs backups (sign_with), and none to trust (trust)", _HOW_TO_SIGN)
    databases = (*environment.databases.values(), *environment.servers.values())
    if environment.verify.sign_with is None and any(database.verify for database in databases):
        return fault("verifications are scheduled, but [verify] has no sign_with", _HOW_TO_SIGN)
    if store.url.startswith("s3:") and _is_readable(store.signing_key) and _is_readable(store.decrypt_with):
        return warn(
            "this user can read both the key that signs and the key that decrypts: somebody who takes over this user "
            "can read and plant backups",
            "back up and verify on two machines, or export to systemd, whose units hide the keys of other jobs",
        )
    return ok("backups are signed" if store.signing_key else "this machine only reads; trust names the keys")


def _is_readable(secret: Secret | None) -> bool:
    """Whether other programs of this user can read the key. An exported unit hides it from the units of other jobs."""
    in_unit = "INVOCATION_ID" in os.environ
    return bool(secret and secret.file and not in_unit and os.access(secret.file, os.R_OK))


def check_key(environment: Environment, name: str, keys: Mapping[str, Secret]) -> CheckResult:
    """Check that a key is on this machine and valid. A machine that runs only some jobs has only their keys."""
    from jobs.backup import SigningKey

    secret = keys[name]
    if not secret.exists:
        fact = f"not on this machine, so that it cannot {_JOBS[name]} ({secret.source})"
        if any(other.exists for other in keys.values()):
            return warn(fact, "put it here only if this machine has to")
        return fault(fact, f"this machine has no key at all; {_HOW_TO_SIGN}")
    text = secret.reveal()
    if name == "store.decrypt_with":  # the check of the encryption tries it
        return ok(f"available ({secret.source})")
    return _check_trust(environment, name, SigningKey(text).public.line)


def _check_trust(environment: Environment, name: str, public: str) -> CheckResult:
    """Check that `trust` accepts what a key signs."""
    from jobs.backup import parse_public_key

    namespace = "groundcrew-manifest" if name == "store.sign_with" else "groundcrew-verification"
    trusted = [parse_public_key(line) for line in environment.store.trust] if environment.store else []
    signer = parse_public_key(public)
    if trusted and not any(key == signer and key.may_sign(namespace) for key in trusted):
        return fault("no key in trust accepts what it signs", f"add to trust: 'namespaces=\"{namespace}\" {public}'")
    if not trusted:
        return warn("other machines do not know its public key", f"add trust = ['namespaces=\"{namespace}\" {public}']")
    return ok("trust accepts what it signs")
