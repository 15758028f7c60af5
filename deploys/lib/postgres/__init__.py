"""PostgreSQL servers: configuration files, roles, databases."""
