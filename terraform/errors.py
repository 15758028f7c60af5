"""What can go wrong with a stack, in sentences a user can act on."""

from __future__ import annotations

from inventories import CrewError


class StackError(CrewError):
    """Something about a stack that a user can act on: the message names the thing, the fact, the way out."""


class NoTerraform(StackError):
    """Terraform is not on this machine, or not in a version that will do."""


class UnreadablePlan(StackError):
    """A plan that can't be read: cut, or of a format that is newer than this groundcrew."""


class TemporaryStackError(StackError):
    """Something did not answer: trying again later can help."""

    retryable = True


class StateLocked(StackError):
    """Somebody else holds the lock of the stack's state."""


class ChangeRefused(StackError):
    """A change that is not made, because somebody said so beforehand or something moved since it was shown."""
