"""Accounts of the people on a dev server."""
