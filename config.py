"""pyinfra reads this before anything else: a run stops at its first failure, and a run on no hosts is a failure."""

from gevent import get_hub
from pyinfra import config
from pyinfra.api.exceptions import PyinfraError

from deploys.preflight import refuse_to_run_on_nobody

config.FAIL_PERCENT = 0
refuse_to_run_on_nobody()
get_hub().NOT_ERROR += (PyinfraError,)  # a failure is told in words, not by gevent's traceback as well
