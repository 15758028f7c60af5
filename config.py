"""pyinfra's configuration: stop a run at its first failure, and let a run without hosts fail."""

import sys
from pathlib import Path

from gevent import get_hub
from pyinfra import config
from pyinfra.api.exceptions import PyinfraError

# pyinfra puts the working directory last on sys.path. Put this checkout first, before a groundcrew installed by pip.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from deploys.lib.preflight import require_hosts

config.FAIL_PERCENT = 0
require_hosts()
get_hub().NOT_ERROR += (PyinfraError,)  # print an error as a sentence, without gevent's traceback
