"""The smallest job. The outcome of each subject follows from its name."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from inventories import Environment
from jobs.run import Failed, Job, Options, Outcome, Result, Run
from jobs.store import Store


def subjects(environment: Environment, _store: Store, options: Options) -> Sequence[str]:
    return [name for name in environment.databases if not options.only or name in options.only]


def work(run: Run) -> Result:
    run.log.info("working", tags=list(run.options.tags))
    if run.subject == "broken":
        raise Failed("the disk is full; make room")
    if run.subject == "bug":
        raise KeyError("colour")
    if run.subject == "slow":
        program = run.process([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
        while program.poll() is None:
            time.sleep(0.02)
        run.check()
    if run.subject == "odd":
        return Result(Outcome.FINDING, "3 rows are missing", {"rows_missing": 3})
    return Result(Outcome.DONE, "all counted", {"rows": 12})


count = Job("count", subjects, work, lambda environment, subject: environment.databases[subject].backup)
