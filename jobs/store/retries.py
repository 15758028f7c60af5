"""How long a request is tried again before the store counts as out of reach."""

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
    """Time limits of one request in seconds, and the number of tries. botocore waits longer after each try."""

    connect: float = 10
    read: float = 30  # shorter than the lease of a lock, so that one lost answer does not lose the lock
    send: float = 30  # for a block of a part
    sent: float = (
        60  # for the answer to a part, whose last 4 MB can still be in a buffer of the system: 70 kB per second
    )
    tries: int = 5


def attempts(most: int) -> Iterator[bool]:
    """Yield once per attempt, with a pause in between, and say whether it is the last attempt."""
    for failed in range(most):
        if failed:
            time.sleep(backoff(failed))
        yield failed + 1 == most


def backoff(failed: int) -> float:
    """Return a pause that grows with the number of failures and has jitter."""
    return random.uniform(0.5, 1) * min(0.1 * 2.0**failed, 10)  # noqa: S311 (no secret)


def retry_on(codes: set[str], request: Callable[[], Answer], tries: int) -> Answer:
    """Return the answer to a request; try again on some of S3's error codes that botocore does not retry."""
    for last in attempts(tries):
        try:
            return request()
        except ClientError as error:
            if last or error.response["Error"].get("Code") not in codes:
                raise
    raise AssertionError("no attempt was made")
