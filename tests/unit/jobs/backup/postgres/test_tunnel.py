import pytest

from inventories import TunnelSettings
from jobs.backup.postgres.tunnel import owner_of_listener, tunnel_command

SSH = [
    *("ssh", "-N", "-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ControlPath=none"),
]


@pytest.mark.parametrize(
    ("host", "destination"),
    [
        ("db.internal", "db.internal:5433"),
        ("fd00::7", "[fd00::7]:5433"),
        ("/var/run/postgresql", "/var/run/postgresql/.s.PGSQL.5433"),
    ],
)
def test_ssh_forwards_a_local_port_to_the_database(host: str, destination: str) -> None:
    assert tunnel_command(TunnelSettings(ssh="me@bastion"), 40001, host, "5433") == [
        *SSH,
        *("-L", f"127.0.0.1:40001:{destination}", "--", "me@bastion"),
    ]


@pytest.mark.parametrize(
    ("via", "context", "namespace", "target"),
    [
        (TunnelSettings(kubernetes="production/statefulset/postgres", context="prod"), ["--context=prod"], "production",
         "statefulset/postgres"),
        (TunnelSettings(kubernetes="shop/service/db"), [], "shop", "service/db"),
        (TunnelSettings(kubernetes="shop/pod/db-0"), [], "shop", "pod/db-0"),
        (TunnelSettings(kubernetes="shop/db-0"), [], "shop", "pod/db-0"),
    ],
)  # fmt: skip
def test_kubectl_forwards_a_local_port_to_the_pod_or_service(
    via: TunnelSettings, context: list[str], namespace: str, target: str
) -> None:
    assert tunnel_command(via, 40001, "ignored", "5432") == [
        *("kubectl", *context, f"--namespace={namespace}", "port-forward", "--address=127.0.0.1", target, "40001:5432"),
    ]


def test_the_owner_of_a_listener_is_read_from_the_table_of_sockets() -> None:
    """Only a socket that listens on this very address and port counts."""
    table = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   1: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 100 0 0 10 0
   2: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 3 1 0 100 0 0 10 0
"""
    assert owner_of_listener(table, 5432) == 65534
    assert owner_of_listener(table, 5433) is None
