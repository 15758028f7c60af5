"""Group data of deploys/postgres.py: roles, databases and settings of PostgreSQL servers.

Passwords are never written here; group data says where they are kept.
"""

# The major version; 0 means that of the system. Other versions come from postgres_repository: PostgreSQL's own, or ""
# if the host's own repositories have the version. postgres_beside lists other versions that run on the host on purpose;
# the deploy does not change their servers.
postgres_version = 0
postgres_beside: list[int] = []
postgres_repository = "https://apt.postgresql.org/pub/repos/apt"

# Roles that log in. `"database": True` also creates a database with the role's name that the role owns.
# `"read_only": True` lets the role read every table of the databases whose readers name it; row security still applies.
#   {"name": "shop", "password": {"env": "SHOP_DB_PASSWORD"}},
#   {"name": "ada", "password": {"file": "~/secrets/ada.password"}, "database": True},
#   {"name": "reports", "password": {"env": "REPORTS_DB_PASSWORD"}, "read_only": True}
postgres_roles: list[dict[str, object]] = []

# Only the owner, the readers and the backup role can connect.
#   {"name": "shop", "owner": "shop", "readers": ["reports"]}
postgres_databases: list[dict[str, object]] = []

# The role for `crew run backup`. It reads everything, regardless of row security, and changes nothing.
#   {"name": "backup", "password": {"env": "BACKUP_DB_PASSWORD"}}
postgres_backup: dict[str, object] = {}

postgres_clients: list[str] = []  # networks or addresses that can connect, with TLS (default: only this host)
# Lines of pg_hba.conf, which come before those for postgres_clients: "hostssl shop shop 10.0.0.5/32 cert"
postgres_hba: list[str] = []
postgres_memory = 0  # MiB that PostgreSQL can use; 0 means all memory of the host
postgres_settings: dict[str, object] = {}  # keys of postgresql.conf; they override the defaults

# Extensions of each database. "package" is the end of a package's name: "pgvector" for postgresql-15-pgvector.
#   {"shop": ["pg_trgm", {"name": "vector", "package": "pgvector"}, {"name": "cube", "schema": "geometry"}],
#    "postgres": [{"name": "pg_cron", "package": "cron"}]}  # also needs {"shared_preload_libraries": "pg_cron"} above
postgres_extensions: dict[str, object] = {}

# The server's own certificate; paths are on the machine that runs the deploy. "certificate" also has the intermediate
# certificates. "names" are those that clients connect to. The deploy checks the chain up to "ca" (default: up to its
# last certificate). "client_ca" issues the certificates of clients, for lines "hostssl … cert" in postgres_hba.
#   {"certificate": "~/certificates/db.pem", "key": {"file": "~/secrets/db.key"}, "names": ["db.internal", "10.0.0.5"],
#    "ca": "~/certificates/ca.pem", "client_ca": "~/certificates/clients.pem"}
postgres_tls: dict[str, object] = {}

# pgbouncer, with transaction pooling, for the roles above. "clients" can connect, with TLS; [] is this host only.
# "size" is how many connections to the server each database and role can have, "connections" how many clients.
#   {"clients": ["10.0.0.0/8"], "port": 6432, "size": 20, "connections": 1000}
postgres_pooler: dict[str, object] = {}
# prometheus-postgres-exporter. Prometheus on another host needs an address of this host, and `metrics_from`.
#   {"address": "127.0.0.1", "port": 9187}
postgres_exporter: dict[str, object] = {}

# Point-in-time recovery with pgBackRest. One to three repositories, each with all backups and WAL. Times are cron lines
# in the host's timezone. "keep": {"full": 4} keeps four full backups, {"days": 30} a window of 30 days; "diff" limits
# differential backups. Leave out both keys if the host has a role for the bucket. "cipher": "none" disables encryption.
#   {"stanza": "main", "full": "0 3 * * 0", "diff": "0 3 * * 1-6", "incr": "0 9-21/4 * * *",
#    "queue": "16GiB",  # the most WAL that waits while the archive fails (default: up to a quarter of the disk)
#    "repositories": [{"s3": {"bucket": "acme-pitr", "folder": "main", "region": "eu-central-1",
#                             "endpoint": "s3.eu-central-1.amazonaws.com", "path_style": False, "verify_tls": True,
#                             "access_key": {"env": "PITR_KEY"}, "secret_key": {"env": "PITR_SECRET"}},
#                      "cipher": {"env": "PITR_CIPHER"}, "keep": {"full": 4, "diff": 14}}]}
postgres_pitr: dict[str, object] = {}

# Standbys: hosts in the group postgres_standbys, which take all values in this file from their primary. If there are
# several primaries, each standby names its own in the inventory: ("db-2", {"postgres_primary": "db-1"}). Servers reach
# each other at postgres_address, also set there (default: their private addresses). keep_wal is the most WAL that a
# primary keeps for a standby that is away (default: up to a quarter of the disk).
#   {"password": {"env": "POSTGRES_REPLICATION_PASSWORD"}, "keep_wal": "16GiB"}
postgres_replication: dict[str, object] = {}
