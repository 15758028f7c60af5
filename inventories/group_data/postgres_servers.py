"""Group data of deploys/postgres.py: roles, databases and settings of PostgreSQL servers.

Passwords are never written here; group data says where they are kept.
"""

# Roles that log in. `"database": True` also creates a database with the role's name that the role owns.
#   {"name": "shop", "password": {"env": "SHOP_DB_PASSWORD"}},
#   {"name": "ada", "password": {"file": "~/secrets/ada.password"}, "database": True}
postgres_roles: list[dict[str, object]] = []

# Only the owner, the readers and the backup role can connect.
#   {"name": "shop", "owner": "shop", "readers": ["reports"]}
postgres_databases: list[dict[str, object]] = []

# The role for `crew run backup`. It reads everything, regardless of row security, and changes nothing.
#   {"name": "backup", "password": {"env": "BACKUP_DB_PASSWORD"}}
postgres_backup: dict[str, object] = {}

postgres_clients: list[str] = []  # networks or addresses that can connect, with TLS (default: only this host)
postgres_memory = 0  # MiB that PostgreSQL can use; 0 means all memory of the host
postgres_settings: dict[str, object] = {}  # keys of postgresql.conf; they override the defaults
