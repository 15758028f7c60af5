"""What `crew status` and its page say about copies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.cli.status import health_as_json, print_summary
from jobs.schedule.slots import slots
from jobs.status.collect import environment_status
from jobs.status.health import HealthState, environment_health
from jobs.status.page import render_page
from tests.parts.copies import TwoPlaces
from tests.parts.sets import put

NOW = datetime.now(UTC).replace(microsecond=0)
TAKEN = NOW - timedelta(hours=5)


def test_the_page_shows_the_newest_set_in_each_place(places: TwoPlaces) -> None:
    put(places.store, TAKEN)
    places.run()
    put(places.store, NOW - timedelta(hours=1))
    status = environment_status(places.environment, places.store, NOW)
    (shop,) = status.databases
    (copy,) = shop.copies
    assert shop.newest is not None
    assert (shop.newest, copy.copied) == (NOW - timedelta(hours=1), TAKEN)
    assert '<span class="quiet">offsite: 5 h ago</span>' in render_page([status], NOW)


def test_a_copy_that_did_not_run_is_overdue_on_the_page_and_in_the_summary(
    places: TwoPlaces, capsys: pytest.CaptureFixture[str]
) -> None:
    put(places.store, TAKEN)
    places.run()
    later = NOW + timedelta(days=2)
    (health,) = environment_health(slots(places.environment), places.environment, places.store, later)
    assert (health.subject, health.state, health.copied) == ("offsite.shop", HealthState.OVERDUE, TAKEN)
    page = render_page([environment_status(places.environment, places.store, later)], later)
    assert '<span class="warn"><span aria-hidden="true">▲</span> offsite: 2 d' in page
    print_summary(health_as_json("try", [health]), later, UTC)
    assert "overdue  copy offsite.shop" in capsys.readouterr().out


def test_copies_stand_under_their_name(places: TwoPlaces, capsys: pytest.CaptureFixture[str]) -> None:
    put(places.store, TAKEN)
    places.run()
    health = environment_health(slots(places.environment), places.environment, places.store, NOW)
    print_summary(health_as_json("try", health), NOW, UTC)
    assert "copy offsite: 1 ok" in capsys.readouterr().out
