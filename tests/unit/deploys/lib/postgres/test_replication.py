"""What a primary and its standbys need, decided from the inventory and group data."""

from __future__ import annotations

import pytest

from deploys.lib.postgres import replication
from deploys.lib.postgres.replication import Member, Replication, ReplicationSlot
from deploys.lib.preflight import DeployError
from inventories import Secret

ONE, TWO, THREE = Member("db-1", ("10.0.0.1",)), Member("db-2", ("10.0.0.2", "fd00::2")), Member("db-3", ("10.0.0.3",))
PASSWORD = Secret(literal="a:b\\c")
PRIMARY = Replication(ONE, ONE, (TWO, THREE), password=PASSWORD)
STANDBY = Replication(TWO, ONE, (TWO, THREE), password=PASSWORD, keep_wal="2GiB")
GIVEN = {"password": {"env": "REPLICATION"}}


@pytest.mark.parametrize(
    ("given", "names", "roles", "expected"),
    [
        (GIVEN, ["db-2"], [], []),
        (None, ["db-2"], [], ["postgres_replication is missing, and db-2 is in postgres_standbys"]),
        ({**GIVEN, "slots": 3, "keep_wal": "lots"}, ["db-2"], [], ["no such key: slots", "'lots' is not a size"]),
        ({"password": "plain"}, ["db-2"], [], ['postgres_replication: password: write {"env"']),
        (GIVEN, ["db-2", "db.2"], [], ["differ too little to name replication slots"]),
        (GIVEN, ["db-2"], [{"name": "replicator"}], ["replicator is the role of the standbys"]),
    ],
)
def test_faults_in_group_data_are_named(
    given: object, names: list[str], roles: list[dict[str, str]], expected: list[str]
) -> None:
    faults = list(replication.faults(given, names, roles))
    assert len(faults) == len(expected)
    assert [text for text, fault in zip(expected, faults, strict=True) if text not in fault] == []


@pytest.mark.parametrize(
    ("name", "standbys", "primaries", "expected"),
    [
        ("db-1", {"db-2": None}, ["db-1"], ("db-1", ["db-2"])),
        ("db-2", {"db-2": None}, ["db-1"], ("db-1", ["db-2"])),
        ("web", {"db-2": None}, ["db-1"], None),
        ("db-1", {}, ["db-1"], None),
        ("shop", {"db-2": "db-1", "shop-2": "shop"}, ["db-1", "shop"], ("shop", ["shop-2"])),
    ],
)
def test_a_host_replicates_with_its_own_primary(
    name: str, standbys: dict[str, object], primaries: list[str], expected: object
) -> None:
    assert replication.members_of(name, standbys, primaries) == expected


@pytest.mark.parametrize(
    ("given", "primaries", "expected"),
    [
        (
            None,
            ["db-1", "shop"],
            "db-2: set its postgres_primary in the inventory, because postgres_servers has 2 hosts",
        ),
        ("web", ["db-1"], "db-2: postgres_primary is web, which is not in postgres_servers"),
        (None, ["db-1", "db-2"], "db-2 is in postgres_servers and in postgres_standbys"),
    ],
)
def test_an_unclear_primary_stops_a_run(given: object, primaries: list[str], expected: str) -> None:
    with pytest.raises(DeployError, match=expected):
        replication.primary_name("db-2", given, primaries)


def test_only_addresses_of_peers_can_replicate() -> None:
    assert replication.access_rules(PRIMARY) == [
        "hostssl replication,postgres replicator 10.0.0.2/32 scram-sha-256",
        "hostssl replication,postgres replicator fd00::2/128 scram-sha-256",
        "hostssl replication,postgres replicator 10.0.0.3/32 scram-sha-256",
    ]
    assert [rule.split()[3] for rule in replication.access_rules(STANDBY)] == ["10.0.0.1/32", "10.0.0.3/32"]
    assert replication.is_private("10.0.0.1")
    assert not replication.is_private("8.8.8.8")


def test_a_dead_standby_can_fill_a_quarter_of_the_disk_at_most() -> None:
    plain = replication.replication_settings(PRIMARY, "", 100 * 1024)
    assert plain["max_slot_wal_keep_size"] == "16GB"
    assert "restore_command" not in plain
    other = replication.replication_settings(STANDBY, "main", 100 * 1024)
    assert other["max_slot_wal_keep_size"] == "2GB"
    assert other["restore_command"] == 'pgbackrest --stanza=main archive-get %f "%p"'


def test_the_password_is_only_in_the_password_file() -> None:
    assert STANDBY.passfile.reveal() == "*:*:*:replicator:a\\:b\\\\c\n"
    text = replication.connection_settings(STANDBY)
    assert "host=10.0.0.1 port=5432 user=replicator passfile=/var/lib/postgresql/.groundcrew-replication " in text
    assert "primary_slot_name = 'groundcrew_db_2'\n" in text
    assert "a:b" not in text


@pytest.mark.parametrize(
    ("existing", "wanted", "expected"),
    [
        ([], ["groundcrew_a"], ["create_physical_replication_slot('groundcrew_a', true)"]),
        ([ReplicationSlot("groundcrew_a", active=True, lost=False)], ["groundcrew_a"], []),
        ([ReplicationSlot("groundcrew_a", active=False, lost=False)], ["groundcrew_a"], []),
        ([ReplicationSlot("groundcrew_b", active=False, lost=False)], [], ["drop_replication_slot('groundcrew_b')"]),
        ([ReplicationSlot("groundcrew_b", active=True, lost=False)], [], []),
        ([ReplicationSlot("groundcrew_a", active=False, lost=True)], ["groundcrew_a"],
         ["drop_replication_slot('groundcrew_a')", "create_physical_replication_slot('groundcrew_a', true)"]),
    ],
)  # fmt: skip
def test_slots_follow_the_inventory(existing: list[ReplicationSlot], wanted: list[str], expected: list[str]) -> None:
    statements = replication.slot_statements(existing, wanted)
    assert [each.partition("pg_catalog.pg_")[2] for each in statements] == expected


def test_the_role_of_standbys_can_replicate_and_rewind_and_nothing_else() -> None:
    created = replication.role_statements("", "SCRAM-SHA-256$x")
    assert created[0].startswith("CREATE ROLE replicator LOGIN REPLICATION NOSUPERUSER")
    assert sum(each.startswith("GRANT EXECUTE ON FUNCTION pg_catalog.") for each in created) == 4
    assert replication.role_statements("incomplete", "")[0].startswith("ALTER ROLE replicator")
