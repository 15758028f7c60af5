"""Copies of backup sets in a second place: which sets to copy, and copying them piece by piece."""
