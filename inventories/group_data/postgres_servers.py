"""What the PostgreSQL servers have: read by deploys/postgres.py. Passwords are named here, never written."""

# Those who log in. `"database": True` makes a database of the same name that is the role's own, for developers:
#   {"name": "shop", "password": {"env": "SHOP_DB_PASSWORD"}},
#   {"name": "ada", "password": {"file": "~/secrets/ada.password"}, "database": True}
postgres_roles: list[dict[str, object]] = []

# {"name": "shop", "owner": "shop", "readers": ["reports"]}; nobody else may connect.
postgres_databases: list[dict[str, object]] = []

# The role that `crew run backup` uses: reads everything, past row security, and changes nothing.
#   {"name": "backup", "password": {"env": "BACKUP_DB_PASSWORD"}}
postgres_backup: dict[str, object] = {}

postgres_clients: list[str] = []  # networks or addresses that may connect, encrypted; empty: this host alone
postgres_memory = 0  # MiB that PostgreSQL may count on; 0: all that the host has
postgres_settings: dict[str, object] = {}  # of postgresql.conf, beside ours or instead of them
