"""The operations on a PostgreSQL server that runs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.facts import HostFacts, looking
from deploys.lib.operations import Steps, brought_up, is_older, of_unit, quietly, stamped
from deploys.lib.postgres.files import before
from deploys.lib.postgres.roles import ASK, Database, Role, found, large_objects, statements
from inventories import Secret, redact

PSQL = "cd / && runuser --user postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1"
# PostgreSQL would keep the rules it has, and say so only in its log.
RULES = (
    "SELECT format('%s:%s: %s', current_setting('hba_file'), line_number, error) "
    "FROM pg_hba_file_rules WHERE error <> ''"
)


@looking(lambda unit, settings, **_: of_unit(unit, [settings]))
def server_runs(seen: HostFacts, unit: str, settings: str) -> Steps:
    """With the settings that are there; if it does not start with new ones, with those of before."""
    old = before(settings)
    back = f"[ ! -e {old} ] || {{ mv --no-target-directory {old} {settings} && systemctl restart {unit} && "
    back += "echo 'it runs with the settings of before'; } >&2"
    new = is_older(seen, unit, [settings])
    for step in brought_up(seen, unit, [settings], "restart"):
        yield f"( {step} ) || {{ {back}; exit 1; }}" if new else step


@looking(lambda unit, access, **_: of_unit(unit, [access]))
def access_is_in_force(seen: HostFacts, unit: str, access: str) -> Steps:
    """The server has read its pg_hba.conf as it is now; nobody's connection ends over it."""
    if is_older(seen, unit, [access]):
        yield FunctionCommand(_has_only_rules, (), {})
        yield f"systemctl reload {unit}"
        yield stamped(unit)


def _has_only_rules(state: State, host: Host) -> bool:
    told, printed = quietly(host, PSQL, RULES)
    if printed:
        host.log("\n".join(printed))
    return told and not printed


@operation()
def roles_and_databases(roles: Sequence[Role], databases: Sequence[Database]) -> Steps:
    """Those that are named are there as named; others are left alone."""
    told, printed = quietly(host, PSQL, ASK)
    there, standing = found(json.loads("".join(printed)) if told else {})
    if missing := statements(roles, databases, there, standing):
        # Nothing of it is to be logged by the server either.
        text = "SET log_statement = 'none';\nSET log_min_error_statement = 'panic';\n" + ";\n".join(missing) + ";\n"
        yield FunctionCommand(_say, ("postgres", Secret(literal=text)), {})


@operation()
def large_objects_are_readable(backup: str, databases: Sequence[str]) -> Steps:
    """pg_read_all_data does not cover large objects: each that is there is granted by itself."""
    for database in databases:
        told, hidden = quietly(host, f"{PSQL} --dbname={database}", large_objects(backup))
        if told and hidden:
            yield FunctionCommand(_say, (database, Secret(literal=f"{large_objects(backup)} \\gexec\n")), {})


def _say(state: State, host: Host, database: str, text: Secret) -> bool:
    told, printed = quietly(host, f"{{ {PSQL} --dbname={database}; }} 2>&1", text.reveal())
    if not told:
        host.log(redact("\n".join(printed)))
    return told
