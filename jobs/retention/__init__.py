"""Retention: which backup sets the policy keeps, and the removal of the others."""
