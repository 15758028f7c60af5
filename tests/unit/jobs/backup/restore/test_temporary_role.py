"""Temporary roles: which are abandoned, and when a server refuses their login."""

import pytest

from jobs.backup.restore.temporary_role import VERIFYING_ROLES, abandoned_roles, refuses_login, role_prefix


def test_only_roles_of_dropped_databases_are_abandoned() -> None:
    running, dropped = (f"{role_prefix(name, VERIFYING_ROLES)}0123abcd" for name in ("running", "dropped"))
    of_a_person = [f"{VERIFYING_ROLES}staging", f"{dropped}_more", "postgres"]
    assert abandoned_roles([running, dropped, *of_a_person], ["running"]) == [dropped]


TLS = 'connection to server at "db", port 5432 failed: FATAL: '
ROOM = f"{TLS}remaining connection slots are reserved for roles with the SUPERUSER attribute"
NO_ENTRY = f'{TLS}no pg_hba.conf entry for host "10.0.0.1", user "groundcrew_restore_1", no encryption'


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        (f'{TLS}password authentication failed for user "groundcrew_restore_1"', True),
        ('connection to server on socket "/run/s" failed: FATAL: Peer authentication failed for user "x"', True),
        (NO_ENTRY, True),
        (f"{NO_ENTRY}. {NO_ENTRY}", True),
        (f"{ROOM}. {NO_ENTRY}", False),
        (f"{TLS}could not fork new process for connection. {NO_ENTRY}", False),
        (f'{TLS}role "groundcrew_restore_1" is not permitted to log in', False),
        ("the startup option for search_path was ignored", False),
    ],
)
def test_only_authentication_refuses_a_login(message: str, refused: bool) -> None:
    """Else the superuser would execute a set because its author uses up the connections of the server."""
    assert refuses_login(message) == refused
