"""Automatic rollback for settings that can lock you out of a host.

A timer on the host restores the previous settings, unless a fresh login succeeds with the new ones in time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pyinfra.api import Host, State, StringCommand

from deploys.lib.messages import log_message
from deploys.lib.operations import run_silently

ROLLBACK_AFTER = 30  # seconds
LOGIN_TIMEOUT = 5  # seconds that a server may need until it accepts connections again


@dataclass(frozen=True)
class TimedRollback:
    """New settings that are active on a host until a timer restores the previous ones."""

    unit: str
    subject: str  # plural noun for messages, such as 'SSH settings'
    hint: str  # what to do if the new settings fail
    restore_command: str  # without single quotes

    @property
    def start_timer(self) -> str:
        soon = f"--on-active={ROLLBACK_AFTER} --timer-property=AccuracySec=1s"  # the default accuracy is one minute
        return f"systemd-run --quiet --collect {soon} --unit={self.unit} sh -c '{self.restore_command}'"

    @property
    def stop_timer(self) -> str:
        return f"systemctl stop {self.unit}.timer"

    def confirm_or_restore(self, state: State, host: Host, confirm: str, cleanup: str = "true") -> bool:
        """Confirm the new settings if a fresh login works, else restore the previous ones; return which it was.

        If the open connection is lost too, the timer restores them.
        """
        login_works = can_log_in(state, host)
        restore = f"{cleanup}; {self.restore_command} && {self.stop_timer}"
        finished, _ = run_silently(host, f"{self.stop_timer} && {confirm}" if login_works else restore)
        if not (login_works and finished):
            log_message(host, self.failure_message(login_works=login_works, finished=finished))
        return login_works and finished

    def failure_message(self, *, login_works: bool, finished: bool) -> str:
        """Say why the new settings are not active, and whether the previous ones are."""
        if login_works:
            return (
                f"the new {self.subject} allow a login, but were not confirmed within {ROLLBACK_AFTER} s, "
                "so the previous ones were restored; run it again"
            )
        previous = "are active again" if finished else f"are restored within {ROLLBACK_AFTER} s"
        return f"the new {self.subject} would lock you out, so the previous ones {previous}; {self.hint}"


def can_log_in(state: State, host: Host) -> bool:
    """Return whether a second login, made like the one of this run, works within LOGIN_TIMEOUT."""
    end = time.monotonic() + LOGIN_TIMEOUT
    while fault := _login_fault(state, host):
        if time.monotonic() > end:
            log_message(host, f"a fresh login fails: {fault}")
            return False
        time.sleep(0.2)
    return True


def _login_fault(state: State, host: Host) -> str:
    login = type(host.connector)(state, host)
    try:
        login.connect()
        ok, _ = login.run_shell_command(StringCommand("true"), print_output=False, print_input=False)
    except Exception as error:  # every error means that the login does not work
        return str(error)
    finally:
        if client := getattr(login, "client", None):
            client.close()
    return "" if ok else "the login works, but a command fails"
