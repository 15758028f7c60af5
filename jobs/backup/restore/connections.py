"""Several connections at once to the database that a restore fills."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jobs.backup.concurrent import Cancellation, run_concurrently
from jobs.backup.postgres.connection import DISABLE_TIMEOUTS, Endpoint, translated_errors
from jobs.backup.restore.task import with_fast_settings
from jobs.run.job import Run

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")


def in_parallel(
    into: Endpoint,
    tasks: Sequence[Callable[[psycopg.Connection[Any]], T]],
    connections: int,
    run: Run,
    *,
    row_security: Literal["on", "off"] = "off",
) -> list[T]:
    """Do tasks over several connections. Return their results in the order of the tasks."""
    results: dict[int, T] = {}
    remaining, lock, cancellation = iter(enumerate(tasks)), threading.Lock(), Cancellation()

    def work() -> None:
        with (
            translated_errors(),
            with_fast_settings(into).connect(autocommit=True) as connection,
            cancellation.on_cancel(connection.cancel),
        ):
            connection.execute(DISABLE_TIMEOUTS)
            connection.execute(f"SET row_security = {row_security}".encode())
            while True:
                cancellation.check()
                with lock:
                    number, task = next(remaining, (-1, None))
                if task is None:
                    return
                results[number] = task(connection)

    run_concurrently(run, cancellation, {str(number): work for number in range(min(connections, len(tasks)))})
    return [results[number] for number in range(len(tasks))]
