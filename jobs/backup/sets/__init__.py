"""Backup sets as they are stored: manifest, parts, encryption."""
