"""The stanzas of point-in-time recovery, as their last verifications found them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inventories import Environment
from jobs.status.health import Health, HealthState


@dataclass(frozen=True, slots=True)
class StanzaStatus:
    """A stanza of the file, and what its last verification measured."""

    name: str
    health: Health | None

    @property
    def verified(self) -> datetime | None:
        """When the last verification succeeded; None if it failed."""
        return self.health.succeeded if self.health and not self.failed else None

    @property
    def failed(self) -> bool:
        """Whether the last verification failed, or found something."""
        return self.health is not None and self.health.state in (
            HealthState.FAILED,
            HealthState.FINDING,
            HealthState.DIED,
        )

    @property
    def since(self) -> datetime | None:
        """The earliest moment that could be restored then."""
        return self._moment("reachable_since_timestamp_seconds")

    @property
    def until(self) -> datetime | None:
        """The newest moment that was restored then."""
        return self._moment("reachable_until_timestamp_seconds")

    @property
    def recovery_time(self) -> timedelta | None:
        """How long it took until the restored server accepted connections."""
        return self._length("recovery_seconds")

    @property
    def recovery_point(self) -> timedelta | None:
        """How old the newest restored transaction was."""
        return self._length("recovery_point_seconds")

    def _moment(self, figure: str) -> datetime | None:
        seconds = self._seconds(figure)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    def _length(self, figure: str) -> timedelta | None:
        seconds = self._seconds(figure)
        return None if seconds is None else timedelta(seconds=seconds)

    def _seconds(self, figure: str) -> float | None:
        value = self.health.figures.get(figure) if self.health else None
        return value if isinstance(value, int | float) else None


def stanza_statuses(environment: Environment, health: Iterable[Health]) -> tuple[StanzaStatus, ...]:
    """Return the status of each stanza of the file, by name."""
    verifications = {each.subject: each for each in health if each.job == "verify"}
    return tuple(StanzaStatus(name, verifications.get(each.subject)) for name, each in sorted(environment.pitr.items()))
