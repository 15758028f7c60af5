"""PostgreSQL servers: configuration files, roles and databases."""
