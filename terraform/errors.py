"""What can go wrong with a stack, in sentences a user can act on."""

from __future__ import annotations


class StackError(Exception):
    """Something about a stack that a user can act on: the message names the thing, the fact, the way out."""


class NoProgram(StackError):
    """Terraform is not on this machine, or not in a version that will do."""


class Unreadable(StackError):
    """A plan that can't be read: cut, or of a format that is newer than this groundcrew."""


class OutOfReach(StackError):
    """Something did not answer: trying again later may help."""


class Locked(StackError):
    """Somebody else holds the lock of the stack's state."""


class Refused(StackError):
    """A change that is not made, because somebody said so beforehand or something moved since it was shown."""
