"""Shared code of the deploys. The scripts that you run are one directory up."""
