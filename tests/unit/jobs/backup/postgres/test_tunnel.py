from dataclasses import dataclass

import pytest

from jobs.backup.postgres.tunnel import command


@dataclass(frozen=True)
class Via:
    ssh: str | None = None
    kubernetes: str | None = None
    context: str | None = None


SSH = [
    *("ssh", "-N", "-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ControlPath=none"),
]


@pytest.mark.parametrize(
    ("host", "there"),
    [
        ("db.internal", "db.internal:5433"),
        ("fd00::7", "[fd00::7]:5433"),
        ("/var/run/postgresql", "/var/run/postgresql/.s.PGSQL.5433"),
    ],
)
def test_an_ssh_tunnel_goes_from_a_local_port_to_the_database(host: str, there: str) -> None:
    assert command(Via(ssh="me@bastion"), 40001, host, "5433") == [
        *SSH,
        *("-L", f"127.0.0.1:40001:{there}", "--", "me@bastion"),
    ]


@pytest.mark.parametrize(
    ("via", "context", "namespace", "target"),
    [
        (Via(kubernetes="production/statefulset/postgres", context="prod"), ["--context=prod"], "production",
         "statefulset/postgres"),
        (Via(kubernetes="shop/service/db"), [], "shop", "service/db"),
        (Via(kubernetes="shop/pod/db-0"), [], "shop", "pod/db-0"),
        (Via(kubernetes="shop/db-0"), [], "shop", "pod/db-0"),
    ],
)  # fmt: skip
def test_a_cluster_is_entered_by_port_forward(via: Via, context: list[str], namespace: str, target: str) -> None:
    assert command(via, 40001, "ignored", "5432") == [
        *("kubectl", *context, f"--namespace={namespace}", "port-forward", "--address=127.0.0.1", target, "40001:5432"),
    ]
