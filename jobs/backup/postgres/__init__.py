"""Connections to PostgreSQL and its client programs."""
