"""Create 100,000 sets and, with an argument, plan what to keep. More than a second for the plan is a failure."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from inventories import Keep, Span
from jobs.backup.sets.sets import Set
from jobs.retention.policy import apply_policy

NOW = datetime(2026, 11, 21, 12, tzinfo=ZoneInfo("Europe/Berlin"))
POLICY = Keep(within=Span(days=2), daily=90, yearly=5, tags=(("pre-migration",),))


def made(at: datetime) -> Set:
    return Set("production", "shop", f"{at:%Y%m%dT%H%M%SZ}-3f9a", at, 1, at, None, None, False, ())


sets = [made(NOW.astimezone(UTC) - timedelta(hours=n)) for n in range(100_000)]
if "plan" in sys.argv:
    begun = time.process_time()
    apply_policy(sets, POLICY, NOW)
    took = time.process_time() - begun
    sys.stderr.write(f"planned in {took:.2f} s\n")
    sys.exit(took > 1)
