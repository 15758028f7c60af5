"""What could lock us out holds for a while, and goes back by itself unless we come in anew and keep it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pyinfra.api import Host, State, StringCommand

from deploys.lib.operations import quietly

BACK_AFTER = 30  # seconds
PATIENCE = 5  # seconds that a server may take to listen again


@dataclass(frozen=True)
class Trial:
    """Something new that is in force on a host, and whose timer ends it."""

    unit: str
    what: str  # is on trial
    hint: str  # where to look if it fails
    go_back: str  # a command without single quotes

    @property
    def begin(self) -> str:
        soon = f"--on-active={BACK_AFTER} --timer-property=AccuracySec=1s"  # else systemd is up to a minute late
        return f"systemd-run --quiet --collect {soon} --unit={self.unit} sh -c '{self.go_back}'"

    @property
    def end(self) -> str:
        return f"systemctl stop {self.unit}.timer"

    def kept_or_gone_back(self, state: State, host: Host, keep: str, tidy: str = "true") -> bool:
        """Keep it if the runner can come in anew; else go back, at once by this connection or soon by itself."""
        let_in = fresh_login(state, host)
        then = f"{self.end} && {keep}" if let_in else f"{tidy}; {self.go_back} && {self.end}"
        done, _ = quietly(host, then)
        if not (let_in and done):
            host.log(self.verdict(let_in=let_in, done=done))
        return let_in and done

    def verdict(self, *, let_in: bool, done: bool) -> str:
        """Why the new does not hold, and what does."""
        if let_in:
            return f"these {self.what} let us in, but not within {BACK_AFTER} s, and were not kept; run it again"
        hold = "hold again" if done else f"come back by themselves within {BACK_AFTER} s"
        return f"these {self.what} would lock us out, so the ones before {hold}; {self.hint}"


def fresh_login(state: State, host: Host) -> bool:
    """Log in anew, as this run did: whether that works, soon."""
    end = time.monotonic() + PATIENCE
    while fault := _fault_of_login(state, host):
        if time.monotonic() > end:
            host.log(f"a fresh login fails: {fault}")
            return False
        time.sleep(0.2)
    return True


def _fault_of_login(state: State, host: Host) -> str:
    login = type(host.connector)(state, host)
    try:
        login.connect()
        told, _ = login.run_shell_command(StringCommand("true"), print_output=False, print_input=False)
    except Exception as error:  # whatever is in the way, it is the answer
        return str(error)
    finally:
        if client := getattr(login, "client", None):
            client.close()
    return "" if told else "a command can't be run"
