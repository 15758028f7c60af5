"""How long something is tried before the store counts as out of reach."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from botocore.exceptions import ClientError

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RequestTimeouts:
    """Seconds for one request, and how many requests; botocore pauses longer after each, with jitter."""

    connect: float = 10
    read: float = 30  # less than a lock's lease, so that one lost answer does not lose the lock
    send: float = 120  # a whole part, since a socket's time-out is that of the whole body: 70 kB a second
    tries: int = 5


def attempts(most: int) -> Iterator[bool]:
    """One turn per attempt, with a pause between, each knowing whether it is the last."""
    for failed in range(most):
        if failed:
            time.sleep(backoff(failed))
        yield failed + 1 == most


def backoff(failed: int) -> float:
    """Longer after each failure, and never the same for two who failed together."""
    return random.uniform(0.5, 1) * min(0.1 * 2.0**failed, 10)  # noqa: S311 (no secret)


def retry_on(codes: set[str], ask: Callable[[], Answer], tries: int) -> Answer:
    """Ask again on those of S3's errors that botocore takes for final."""
    for last in attempts(tries):
        try:
            return ask()
        except ClientError as error:
            if last or error.response["Error"].get("Code") not in codes:
                raise
    raise AssertionError("no attempt was made")
