"""How the flags of a K3s release are read."""

from __future__ import annotations

from tests.k3s_flags import flags_of

HELP = """\
NAME:
   k3s server - Run management server

OPTIONS:
   --config FILE, -c FILE                       (config) Load configuration from FILE [$K3S_CONFIG_FILE]
   -v value                                     (logging) Number for the log level verbosity (default: 0)
   --data-dir value, -d value                   (data) Folder to hold state, not --other
   --etcd-s3                                    (db) Enable backup to S3
   --node-ip value, -i value [ --node-ip value, -i value ]  (agent/networking) addresses
   --help, -h                                   show help
"""


def test_the_flags_are_those_of_the_help() -> None:
    assert flags_of(HELP) == ["config", "data-dir", "etcd-s3", "node-ip", "v"]
