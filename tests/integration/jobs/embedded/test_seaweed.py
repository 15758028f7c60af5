"""The embedded SeaweedFS."""

from __future__ import annotations

from pathlib import Path

from jobs.embedded import seaweed
from tests.parts.processes import is_gone


def test_seaweed_stores_an_object_and_leaves_nothing(tmp_path: Path) -> None:
    with seaweed(tmp_path, bucket="kept") as server:
        server.client().put_object(Bucket="kept", Key="a", Body=b"1")
        assert server.client().get_object(Bucket="kept", Key="a")["Body"].read() == b"1"
        assert server.secret not in repr(server)
        port = int(server.endpoint.rsplit(":", 1)[1])
        assert Path(f"/tmp/seaweedfs-s3-{port}.sock").exists()
    assert not Path(f"/tmp/seaweedfs-s3-{port}.sock").exists()
    assert list(tmp_path.iterdir()) == []
    assert is_gone(server.program.pid)
