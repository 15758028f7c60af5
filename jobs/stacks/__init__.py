"""Terraform stacks under a run: the drift job, starting Terraform, and saved states."""
