"""Operations on a PostgreSQL server."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.facts import HostFacts, operation_with_facts
from deploys.lib.messages import log_message
from deploys.lib.operations import Steps, is_outdated, run_silently, stamp_command, unit_and_files, unit_steps
from deploys.lib.postgres.files import previous_file
from deploys.lib.postgres.roles import (
    EXISTING_QUERY,
    DesiredDatabase,
    DesiredRole,
    change_statements,
    large_object_grants,
    parse_existing,
)
from inventories import Secret

# The owner of a database can set its search_path, to have postgres call their functions, and the role of its sessions.
PSQL = (
    "cd / && runuser --user postgres -- env 'PGOPTIONS=-c search_path= -c role=none' "
    "psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1"
)
# Ask before a reload: with an error in the file PostgreSQL keeps its old rules, and reports that only in its log.
RULE_ERRORS = (
    "SELECT pg_catalog.format('%s:%s: %s', pg_catalog.current_setting('hba_file'), line_number, error) "
    "FROM pg_catalog.pg_hba_file_rules WHERE error <> ''"
)


@operation_with_facts(lambda unit, settings, **_: unit_and_files(unit, [settings]))
def run_server(facts: HostFacts, unit: str, settings: str) -> Steps:
    """Start the server, or restart it with new settings. If it fails to start, restore the previous settings."""
    old = previous_file(settings)
    restore = f"[ ! -e {old} ] || {{ mv --no-target-directory {old} {settings} && systemctl restart {unit} && "
    restore += "echo 'the server runs again with its previous settings'; } >&2"
    settings_changed = is_outdated(facts, unit, [settings])
    for step in unit_steps(facts, unit, [settings], "restart"):
        yield f"( {step} ) || {{ {restore}; exit 1; }}" if settings_changed else step


@operation_with_facts(lambda unit, access, **_: unit_and_files(unit, [access]))
def reload_access_rules(facts: HostFacts, unit: str, access: str) -> Steps:
    """Make the server read a new pg_hba.conf, or restore the previous one if it has an error.

    With an error in it, the server would not start again. Open connections stay open.
    """
    if is_outdated(facts, unit, [access]):
        yield FunctionCommand(_check_rules, (access,), {})
        yield f"systemctl reload {unit}"
        yield stamp_command(unit)


def _check_rules(state: State, host: Host, access: str) -> bool:
    ok, output = run_silently(host, PSQL, RULE_ERRORS)
    if output:
        log_message(host, "\n".join(output))
        old = previous_file(access)
        restored, lines = run_silently(
            host, f"[ -e {old} ] && mv --no-target-directory {old} {access} && echo restored"
        )
        if restored and lines:
            log_message(host, "the server keeps the access rules that it has; correct postgres_hba")
    return ok and not output


@operation()
def apply_roles_and_databases(roles: Sequence[DesiredRole], databases: Sequence[DesiredDatabase]) -> Steps:
    """Create or correct the roles and databases in group data. Others stay as they are."""
    ok, output = run_silently(host, PSQL, EXISTING_QUERY)
    existing_roles, existing_databases = parse_existing(json.loads("".join(output)) if ok else {})
    if statements := change_statements(roles, databases, existing_roles, existing_databases):
        # The statements contain verifiers, so the server must not log them.
        text = "SET log_statement = 'none';\nSET log_min_error_statement = 'panic';\n" + ";\n".join(statements) + ";\n"
        yield FunctionCommand(execute_statements, ("postgres", Secret(literal=text)), {})


@operation()
def grant_large_objects(backup: str, databases: Sequence[str]) -> Steps:
    """Let the backup role read each large object; pg_read_all_data does not include them."""
    for database in databases:
        ok, missing = run_silently(host, f"{PSQL} --dbname={database}", large_object_grants(backup))
        if ok and missing:
            text = Secret(literal=f"{large_object_grants(backup)} \\gexec\n")
            yield FunctionCommand(execute_statements, (database, text), {})


def execute_statements(state: State, host: Host, database: str, text: Secret) -> bool:
    """Run statements in a database. Their text travels through stdin, and only errors are printed."""
    ok, output = run_silently(host, f"{{ {PSQL} --dbname={database}; }} 2>&1", text.reveal())
    if not ok:
        log_message(host, "\n".join(output))
    return ok
