"""The errors of stacks. Each message names the stack, the fact and the remedy."""

from __future__ import annotations

from inventories import CrewError


class StackError(CrewError):
    """An error about a stack that the user can fix."""


class NoTerraform(StackError):
    """Terraform is not installed, or its version is not supported."""


class UnreadablePlan(StackError):
    """The plan JSON is incomplete, or its format is newer than this groundcrew reads."""


class MissingData(StackError):
    """A data source finds nothing, perhaps because another stack that creates it is not applied yet."""


class TemporaryStackError(StackError):
    """A service is unreachable or an apply is running; a later try can succeed."""

    retryable = True


class StateLocked(StackError):
    """Another process holds the lock of the stack's state."""


class ChangeRefused(StackError):
    """The change is not made: a rule or the user forbids it, or code or state changed after the plan was shown."""
