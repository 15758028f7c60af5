"""The command line of the embedded SeaweedFS."""

from __future__ import annotations

from pathlib import Path

from jobs.embedded._seaweed import seaweed_command


def test_seaweed_listens_on_this_machine_only_and_sends_no_telemetry() -> None:
    assert seaweed_command(Path("/bin/weed"), Path("/d"), {"s3": 10001, "master": 10002}) == [
        "/bin/weed", "-logdir=/d", "mini", "-dir=/d", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port=10001",
        "-master.port=10002",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", "-master.telemetry=false",
        "-filer.maxMB=2",
        "-volume.max=1000",
    ]  # fmt: skip
