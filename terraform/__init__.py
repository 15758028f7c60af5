"""Hands on the cloud: stacks of Terraform, applied per environment and watched for drift."""
