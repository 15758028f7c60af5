"""The destination of an exported schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Destination:
    """The machine or cluster that runs the exported schedule."""

    crew: str = "/usr/local/bin/crew"
    root: str = "/etc/groundcrew"
    user: str = "groundcrew"
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    image: str = ""
    namespace: str = "groundcrew"

    @property
    def credentials(self) -> str:
        """The directory of secrets, one file for each `{ env }` of the environment file."""
        return f"{self.root}/credentials"
