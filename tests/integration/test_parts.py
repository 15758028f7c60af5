"""The servers and helpers that other tests use work as those tests expect."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.parts.needs import majors
from tests.parts.patience import deadline
from tests.parts.postgres import CLIENTS, Database, Server, fresh
from tests.parts.proxy import Proxy, Way
from tests.parts.s3 import Bucket

Connect = Callable[..., Proxy]
A_LOT = b"x" * 300_000


@majors(13, 14, 15, 16, 17, 18)
def test_each_major_has_a_server_with_a_password(major: int, database: Callable[[int], Database]) -> None:
    fresh = database(major)
    assert fresh.ask("SELECT current_setting('server_version_num')::int / 10000") == [(major,)]
    assert fresh.ask("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(fresh.url, password="guessed")


def test_a_fresh_database_is_dropped_with_somebody_still_connected(postgres: Callable[[int], Server]) -> None:
    with fresh(postgres(16), 'odd "name" ü') as there:
        connected = there.connect()
    with postgres(16).connect() as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", [there.name]).fetchone() is None
    with pytest.raises(psycopg.OperationalError):
        connected.execute("SELECT 1")


@pytest.mark.parametrize("major", sorted(CLIENTS))
def test_client_programs_find_the_password(major: int, postgres: Callable[[int], Server]) -> None:
    server = postgres(16)
    asked: list[str | Path] = [CLIENTS[major] / "psql", "-XAtc", "SELECT 1", server.url()]
    assert subprocess.run(asked, env=server.environment, capture_output=True, check=True).stdout == b"1\n"


@pytest.mark.parametrize("kind", ["seaweed", "moto", "rclone_s3"])
def test_each_s3_server_gives_an_empty_bucket(kind: str, request: pytest.FixtureRequest) -> None:
    bucket: Bucket = request.getfixturevalue(kind)
    assert bucket.keys() == []
    bucket.client().put_object(Bucket=bucket.name, Key="a/b", Body=A_LOT)
    assert bucket.client().get_object(Bucket=bucket.name, Key="a/b")["Body"].read() == A_LOT
    assert os.environ["AWS_ACCESS_KEY_ID"] == bucket.key


def test_the_environment_of_who_runs_the_tests_is_not_the_tests() -> None:
    assert [name for name in os.environ if name.startswith(("AWS_", "PG"))] == []


class TestProxyToS3:
    def test_it_passes_everything_on(self, seaweed: Bucket, proxy: Connect) -> None:
        between = proxy(seaweed.target)
        s3 = seaweed.at(between.endpoint).client()
        s3.put_object(Bucket=seaweed.name, Key="a", Body=A_LOT)
        assert s3.get_object(Bucket=seaweed.name, Key="a")["Body"].read() == A_LOT
        assert s3.head_object(Bucket=seaweed.name, Key="a")["ContentLength"] == len(A_LOT)
        s3.delete_objects(Bucket=seaweed.name, Delete={"Objects": [{"Key": "a"}]})
        assert seaweed.keys() == []
        assert [line.split()[0] for line in between.requests] == ["PUT", "GET", "HEAD", "POST"]

    def test_it_answers_in_the_place_of_the_server(self, seaweed: Bucket, proxy: Connect) -> None:
        between = proxy(seaweed.target)
        s3 = seaweed.at(between.endpoint).client()
        between.answer(2, matching="PUT")
        for _ in range(2):
            with pytest.raises(ClientError, match="SlowDown"):
                s3.put_object(Bucket=seaweed.name, Key="a", Body=A_LOT)
        assert seaweed.keys() == []
        s3.put_object(Bucket=seaweed.name, Key="a", Body=A_LOT)

    def test_it_cuts_an_upload(self, seaweed: Bucket, proxy: Connect) -> None:
        between = proxy(seaweed.target)
        between.cut(100_000, matching="PUT")
        with pytest.raises(BotoCoreError):
            seaweed.at(between.endpoint).client().put_object(Bucket=seaweed.name, Key="a", Body=A_LOT)
        assert seaweed.keys() == []

    def test_it_cuts_a_download(self, seaweed: Bucket, proxy: Connect) -> None:
        seaweed.client().put_object(Bucket=seaweed.name, Key="a", Body=A_LOT)
        between = proxy(seaweed.target)
        between.cut(100_000, Way.DOWN)
        body = seaweed.at(between.endpoint).client().get_object(Bucket=seaweed.name, Key="a")["Body"]
        with pytest.raises(BotoCoreError):
            body.read()

    def test_it_corrupts_one_byte(self, seaweed: Bucket, proxy: Connect) -> None:
        seaweed.client().put_object(Bucket=seaweed.name, Key="a", Body=A_LOT)
        between = proxy(seaweed.target)
        between.corrupt(100_000, Way.DOWN)
        body = seaweed.at(between.endpoint).client().get_object(Bucket=seaweed.name, Key="a", Range="bytes=0-200000")
        got = body["Body"].read()
        assert [place for place, byte in enumerate(got) if byte != A_LOT[place]] == [100_000]

    def test_what_stalls_goes_on_when_cleared(self, seaweed: Bucket, proxy: Connect) -> None:
        between = proxy(seaweed.target)
        between.stall(100_000)
        upload = threading.Thread(
            target=seaweed.at(between.endpoint).client().put_object,
            kwargs={"Bucket": seaweed.name, "Key": "a", "Body": A_LOT},
        )
        upload.start()
        upload.join(0.3)
        assert upload.is_alive()
        between.clear()
        upload.join(deadline(10))
        assert seaweed.keys() == ["a"]

    def test_the_server_goes_away_and_comes_back(self, seaweed: Bucket, proxy: Connect) -> None:
        between = proxy(seaweed.target)
        s3 = seaweed.at(between.endpoint).client()
        s3.put_object(Bucket=seaweed.name, Key="a", Body=b"")
        between.go_away()
        with pytest.raises(BotoCoreError):
            s3.head_object(Bucket=seaweed.name, Key="a")
        between.come_back()
        s3.head_object(Bucket=seaweed.name, Key="a")


def test_a_database_connection_is_cut_in_the_middle(database: Callable[[int], Database], proxy: Connect) -> None:
    server = database(16).server
    between = proxy(server.target, http=False)
    through = f"postgresql://postgres@127.0.0.1:{between.port}/postgres"
    with psycopg.connect(through, password=server.password) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    between.cut(50_000, Way.DOWN)
    with (
        pytest.raises(psycopg.OperationalError),
        psycopg.connect(through, password=server.password) as connection,
    ):
        connection.execute("SELECT repeat('x', 1000000)")
