"""Errors of backups, restores and verifications."""

from jobs.run.job import Failed


class BackupError(Failed):
    """A backup, restore or verification failed, and trying again does not help."""


class NeedsSuperuser(BackupError):
    """A set has something that only a superuser can restore, and the owner of the database is none."""


class NoProgram(BackupError):
    """A program is missing on this machine, or no installed version of it fits."""


class UnreadableSet(BackupError):
    """A stored part or manifest cannot be read: damaged, cut off, in a newer format, or encrypted to another key."""


class Untrusted(UnreadableSet):
    """A set is not signed by a trusted key, or not encrypted although it must be."""


class WrongKey(UnreadableSet):
    """The stored part is encrypted to other keys."""


class Damaged(UnreadableSet):
    """The stored part differs from what was backed up: bytes have changed or are missing."""
