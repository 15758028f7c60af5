from jobs.backup.restore.temporary_role import VERIFYING_ROLES, abandoned_roles, role_prefix


def test_only_roles_of_dropped_databases_are_abandoned() -> None:
    running, dropped = (f"{role_prefix(name, VERIFYING_ROLES)}0123abcd" for name in ("running", "dropped"))
    of_a_person = [f"{VERIFYING_ROLES}staging", f"{dropped}_more", "postgres"]
    assert abandoned_roles([running, dropped, *of_a_person], ["running"]) == [dropped]
