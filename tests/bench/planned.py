"""Create 100,000 signed sets and, with an argument, plan what to keep. More than a second for the plan is a failure."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from inventories import Keep, Span
from jobs.backup.sets.marker import MARKER, Marker
from jobs.backup.sets.results import precise_timestamp
from jobs.backup.sets.sets import Set, set_prefix
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE
from jobs.backup.sets.trust import sign_name
from jobs.retention.policy import apply_policy
from tests.parts.sets import set_id
from tests.parts.signing import SET_SIGNER, TRUST

SETS = int(100_000 * float(os.environ.get("BENCH_SIZE", "1")))
NOW = datetime(2026, 11, 21, 12, tzinfo=ZoneInfo("Europe/Berlin"))
POLICY = Keep(within=Span(days=2), daily=90, yearly=5, tags=(("pre-migration",),))


def made(at: datetime) -> Set:
    prefix = set_prefix("production", "shop", set_id(at))
    marker = f"{prefix}{MARKER}{precise_timestamp(at)}-age-{'0' * 64}"
    return Set(
        environment="production",
        database="shop",
        id=set_id(at),
        started=at,
        size=1,
        completed=at,
        pinned=False,
        tags=(),
        trust=TRUST,
        marker=Marker(sign_name(marker, SET_SIGNER, MANIFEST_NAMESPACE).removeprefix(prefix), at),
    )


sets = [made(NOW.astimezone(UTC) - timedelta(hours=n)) for n in range(SETS)]
if "plan" in sys.argv:
    begun = time.process_time()
    apply_policy(sets, POLICY, NOW)
    took = time.process_time() - begun
    sys.stderr.write(f"planned in {took:.2f} s\n")
    sys.exit(took > 1)
