"""Where an exported schedule will run."""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Destination:
    """The machine or cluster that the files are for."""

    crew: str = "/usr/local/bin/crew"
    root: str = "/etc/groundcrew"
    user: str = "groundcrew"
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    image: str = ""
    namespace: str = "groundcrew"

    @property
    def credentials(self) -> str:
        """The folder of secrets, one file for each `{ env }` of the environment file."""
        return f"{self.root}/credentials"
