import pytest

from inventories import TunnelSettings
from jobs.backup.postgres.tunnel import tunnel_command

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
