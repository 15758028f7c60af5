"""The operations on a PostgreSQL server that runs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.pieces import Steps, quietly
from deploys.postgres_roles import ASK, Database, Role, found, large_objects, statements
from inventories import Secret, redact

PSQL = "cd / && runuser --user postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1"


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
