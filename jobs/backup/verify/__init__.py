"""Verify a backup set by restoring it into a scratch server."""
