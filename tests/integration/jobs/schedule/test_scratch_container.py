"""The scratch server of the exported Kubernetes pod, started by its own command as another user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.parts.needs import needs
from tests.parts.patience import until

FILE = """
[environment]
name = "try"
[store]
url = "s3://acme-backups/groundcrew"
encrypt_to = "nobody"
sign_with = "nobody"
[verify]
scratch = "postgresql://verifier@/postgres?host=/run/scratch"
[databases.shop]
url = "postgresql://backup@shop.internal/shop"
verify = "0 5 * * 0"
"""


def exported_command(root: Path) -> list[str]:
    """Return the command of the scratch container."""
    (root / "inventories").mkdir()
    (root / "inventories/try.toml").write_text(FILE)
    (root / "inventories/try").write_text("dev_servers = []\n")
    argv = [sys.executable, "-m", "jobs.cli", "schedule", "export", "kubernetes", "try", "--image", "crew.example/crew"]
    exported = subprocess.run(argv, cwd=root, check=True, capture_output=True, text=True).stdout
    [job] = [each for each in yaml.safe_load_all(exported) if each["kind"] == "CronJob"]
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
    command: list[str] = container["command"]
    return command


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """Run the command with other directories, as another user if possible; yield the directory of its socket."""
    with tempfile.TemporaryDirectory(prefix="crew-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        data, socket = folder / "data", folder / "socket"
        for each in (data, socket):
            each.mkdir()
            each.chmod(0o777)
        *shell, script = exported_command(tmp_path)
        moved = script.replace("/var/lib/scratch", str(data)).replace("/run/scratch", str(socket))
        other_user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        environment = {"PATH": os.environ["PATH"]}
        output = (tmp_path / "output").open("wb")
        with (
            output,
            subprocess.Popen(
                [*shell, moved],
                cwd=data,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **other_user,
            ) as running,
        ):
            try:
                until(lambda: accepts(socket), saw=(tmp_path / "output").read_text)
                yield socket
            finally:
                running.terminate()


def accepts(socket: Path) -> bool:
    try:
        connect(socket).close()
    except psycopg.OperationalError:
        return False
    return True


def connect(socket: Path) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(f"postgresql://verifier@/postgres?host={socket}", autocommit=True)


@needs("extension-pgcrypto")
def test_the_role_of_a_verification_restores_without_superuser_rights(server: Path) -> None:
    with connect(server) as connection:
        connection.execute("CREATE DATABASE groundcrew_verify")
        connection.execute("CREATE ROLE app")
        [[is_superuser]] = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchall()
        assert not is_superuser
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY (SELECT 1) TO PROGRAM 'true'")
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
