"""A restore of a server of 5 GB to a moment, on a lab host: pgBackRest by hand, and deploys/postgres_restore.py."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploys.lib.postgres.restore import FINISHED, FOLDER, UNIT
from jobs.embedded import seaweed
from tests.bench import Bench, Side
from tests.lab import commands, lab, pitr, rootfs
from tests.lab.lab import Lab
from tests.lab.pyinfra import PROGRAM, ROOT, own_variables
from tests.parts.patience import until
from tests.parts.s3 import Bucket

SCALE = max(1, int(340 * float(os.environ.get("BENCH_SIZE", "1"))))
"""pgbench fills 15 MB for each."""
DATA = "/var/lib/postgresql/15/main"
AS_POSTGRES = "cd / && runuser -u postgres --"
PGBENCH = f"{AS_POSTGRES} /usr/lib/postgresql/15/bin/pgbench"
LONG = 3600


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    there = lab.up(rootfs.CACHE / f"bench-{secrets.token_hex(4)}", 1, bound=True)
    try:
        with seaweed(folder) as server:
            bucket = Bucket(server.endpoint, server.bucket, key=server.key, secret=server.secret, region=server.region)
            with pitr.behind_tls(there, bucket) as endpoint:
                yield _sides(there, folder, bucket, endpoint)
    finally:
        lab.down(there.folder)


def _sides(there: Lab, folder: Path, bucket: Bucket, endpoint: str) -> Sequence[Side]:
    host = there.hosts[0]
    settings = {"stanza": "main", "full": "0 3 * * 0", "repositories": [pitr.repository(bucket, endpoint, "main")]}

    def ask(command: str) -> str:
        done = there.ssh(host, command, timeout=LONG)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def get_ready() -> None:
        """Wait for the full backup of the last restore, and remove the cluster that it kept."""
        ask(f"while systemctl is-active --quiet {UNIT}; do sleep 0.2; done; rm -rf {FINISHED} {DATA}.before*; sync")

    made = pitr.run(there, bucket=bucket, postgres_pitr=settings)
    assert made.code == 0, made.text
    until(lambda: "full backup: " in ask(f"{AS_POSTGRES} pgbackrest info"), 90)
    ask(f"{PGBENCH} -q -i -s {SCALE} shop")
    ask("systemctl start groundcrew-pitr-backup@full")
    ask(f"{PGBENCH} -n -t 20000 shop")
    moment = ask(f"{AS_POSTGRES} psql -AtX -c 'SELECT clock_timestamp()'")
    ask(f"{AS_POSTGRES} psql -qX shop -c 'DROP TABLE pgbench_accounts' -c 'SELECT pg_switch_wal()'")
    by_hand = (
        f"set -e; cd /; systemctl stop postgresql@15-main; mv {DATA} {DATA}.before; "
        f"install -d -o postgres -g postgres -m 700 {DATA}; runuser -u postgres -- pgbackrest --stanza=main "
        f"--type=time --target='{moment}' --target-timeline=1 --target-action=promote restore; "
        "systemctl start postgresql@15-main; "
        "until runuser -u postgres -- psql -AtX -c 'SELECT pg_is_in_recovery()' | grep -q f; do sleep 0.5; done"
    )
    arguments, inventory, variables = pitr.deploy_options(there, bucket, "postgres_restore", postgres_pitr=settings)
    deploy = shlex.join([str(PROGRAM), "-y", inventory, *arguments, "--data", f"to={moment}", "--data", "timeline=1"])
    environment = {**own_variables(there), **variables, "PYTHONPATH": str(ROOT)}
    output = shlex.quote(str(folder / "output"))
    on_host = commands.ssh(there.home, host.address, "root", None)
    until_open = shlex.join([*on_host, f"until test -e {FOLDER}/recovered -o -e {FINISHED}; do sleep 0.1; done"])
    return [
        Side("pgbackrest restore, start", [*on_host, by_hand], before=get_ready),
        Side(
            "deploys/postgres_restore.py, until the server accepts writes",
            f"{{ {deploy} > {output} 2>&1 & }}; {until_open}",
            environment,
            get_ready,
            times=1.1,
        ),
        Side("the same, with its new full backup", deploy, environment, get_ready),
    ]


BENCH = Bench(f"A restore of a server of {SCALE * 15 / 1000:.1f} GB to a moment", sides, rounds=3)
