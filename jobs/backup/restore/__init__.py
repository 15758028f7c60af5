"""Restore a backup set, or some of its tables."""
