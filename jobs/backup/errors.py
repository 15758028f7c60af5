"""What can go wrong with a backup, in sentences a user can act on."""

from jobs.run.job import Failed


class BackupError(Failed):
    """Something about a backup that trying again won't mend: the message names the thing, the fact, the way out."""


class NoProgram(BackupError):
    """No client program on this machine is of a version that fits."""


class Unreadable(BackupError):
    """A stored part or manifest that can't be read: damaged, cut, of a newer format, or sealed to another key."""


class WrongKey(Unreadable):
    """A stored part that is sealed to other keys than ours."""


class Damaged(Unreadable):
    """A stored part that is not what was backed up: its bytes, or some of them, are others or gone."""
