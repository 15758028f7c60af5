"""Backup sets in the store: listing, manifest, parts, encryption."""
