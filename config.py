"""pyinfra reads this before anything else: a run stops at its first failure, and a run on no hosts is a failure."""

import sys
from pathlib import Path

from gevent import get_hub
from pyinfra import config
from pyinfra.api.exceptions import PyinfraError

# pyinfra appends the working directory, so a groundcrew that pip installed would come before this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from deploys.lib.preflight import refuse_to_run_on_nobody

config.FAIL_PERCENT = 0
refuse_to_run_on_nobody()
get_hub().NOT_ERROR += (PyinfraError,)  # print a failure as a sentence, without gevent's traceback
