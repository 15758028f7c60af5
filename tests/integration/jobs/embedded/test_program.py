"""Programs end with the context or the process that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jobs.embedded import NotStarted, postgres, seaweed, start_program
from tests.parts.patience import until
from tests.parts.processes import is_gone

PARENT = """
import sys, time
from pathlib import Path
from jobs.embedded import postgres, start_program
folder = Path(sys.argv[1])
log = folder / "log"
with postgres(16, folder) as database, start_program("sleep", ["sleep", "600"], log, environment={}) as sleep:
    print(database.program.pid, sleep.pid, flush=True)
    time.sleep(600)
"""


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), postgres(18, tmp_path), seaweed(tmp_path):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_programs_end_with_the_process_that_started_them(how: signal.Signals) -> None:
    with (
        tempfile.TemporaryDirectory() as short,
        subprocess.Popen([sys.executable, "-c", PARENT, short], stdout=subprocess.PIPE, text=True) as parent,
    ):
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.send_signal(how)
        assert len(pids) == 2
        until(lambda: all(map(is_gone, pids)))


def test_a_program_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    with (
        pytest.raises(NotStarted, match=r"sleeper is not ready after 0.1 s: it printed nothing"),
        start_program("sleeper", ["sleep", "60"], tmp_path / "log", environment={}) as program,
    ):
        program.wait_until(lambda: False, timeout=0.1)
    assert is_gone(program.pid)


def test_linux_ends_a_program_first_if_memory_runs_out(tmp_path: Path) -> None:
    argv = ["sh", "-c", "cat /proc/self/oom_score_adj; exec sleep 60"]
    with start_program("it", argv, tmp_path / "log", environment={}):
        assert until((tmp_path / "log").read_text) == "1000\n"
