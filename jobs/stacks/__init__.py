"""Terraform stacks as jobs see them."""
