"""pyinfra reads this before anything else: a run stops at its first failure, and a run on no hosts is a failure."""

from pyinfra import config

from deploys.early import refuse_to_run_on_nobody

config.FAIL_PERCENT = 0
refuse_to_run_on_nobody()
