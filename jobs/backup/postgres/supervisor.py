"""Programs that end when groundcrew ends, even by SIGKILL, with all processes that they have started."""

from __future__ import annotations

from collections.abc import Collection, Sequence

# Runs a command until stdin closes, which happens however groundcrew ends; passes on the command's exit code.
# The shell leads a process group, as Run.process() starts it. Once stdin closes, the whole group gets SIGTERM. So
# pg_restore ends with its workers, and cancels their statements on the server.
_WATCH_STDIN = (
    'exec {fd}<&0; "$@" </dev/null {fd}<&- & program=$!; '
    '(read -r _ <&{fd}; kill -s TERM -- "-$$") >/dev/null 2>&1 & watch=$!; '
    'wait "$program"; code=$?; kill "$watch" 2>/dev/null; exit "$code"'
)
_DIGITS = range(3, 10)  # a POSIX shell redirects no other descriptors


def ends_with_parent(argv: Sequence[str], pass_fds: Collection[int] = ()) -> list[str]:
    """Return a command that ends when groundcrew ends. Start it with a pipe as stdin, in its own process group.

    `pass_fds` are the file descriptors that the program inherits.
    """
    free = next(number for number in _DIGITS if number not in pass_fds)
    return ["/bin/sh", "-c", _WATCH_STDIN.format(fd=free), "supervisor", *argv]
