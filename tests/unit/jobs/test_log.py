"""Log lines of groundcrew and of libraries: each names its run, and none has a secret."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from inventories import Secret
from jobs import log
from tests.parts.patience import deadline

ANOTHER_THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
PASSWORD = 'pa"ss wörd\\1'


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Return a function that returns the JSON lines logged so far."""
    before = logging.getLogger().handlers[:], logging.getLogger().level
    log.configure()
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    logging.captureWarnings(capture=False)
    logging.getLogger().handlers, _ = before
    logging.getLogger().setLevel(before[1])
    structlog.reset_defaults()


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    return Secret(env="SHOP_PASSWORD").reveal()


def test_a_line_is_json_with_its_run(lines: Any) -> None:
    with log.log_context(run="r1", job="backup", subject="shop"):
        log.get().info("step finished", seconds=1.5)
    log.get().info("after")
    first, second = lines()
    assert (first["event"], first["run"], first["job"], first["subject"]) == ("step finished", "r1", "backup", "shop")
    assert (first["level"], first["seconds"]) == ("info", 1.5)
    assert first["timestamp"].endswith("Z")
    assert "run" not in second


def test_a_thread_keeps_the_log_context_of_the_thread_that_started_it(lines: Any) -> None:
    def work() -> None:
        log.get().info("ours")
        logging.getLogger("botocore").warning("library")

    with log.log_context(run="r7"):
        for target in (log.with_log_context(work), work):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert [line.get("run") for line in lines()] == ["r7", "r7", None, None]


def test_a_call_with_log_context_runs_in_many_threads_at_once() -> None:
    both = threading.Barrier(2, timeout=deadline(10))
    call = log.with_log_context(both.wait)
    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken


def test_lines_of_libraries_and_warnings_have_the_same_form(lines: Any) -> None:
    logging.getLogger("botocore.retries").warning("retry %s of %s", 1, 3)
    logging.getLogger("botocore.retries").info("not worth a line")
    warnings.warn("old ways", stacklevel=1)
    retry, old = lines()
    assert (retry["event"], retry["logger"], retry["level"]) == ("retry 1 of 3", "botocore.retries", "warning")
    assert "old ways" in old["event"]


@pytest.mark.parametrize(("verbose", "events"), [(0, ["ours"]), (1, ["ours", "our debug", "info"]), (2, ["ours", "our debug", "info", "debug"])])  # fmt: skip  # noqa: E501
def test_verbose_logs_more(lines: Any, verbose: int, events: list[str]) -> None:
    log.configure(verbose)
    log.get().info("ours")
    log.get().debug("our debug")
    logging.getLogger("botocore").info("info")
    logging.getLogger("botocore").debug("debug")
    assert [line["event"] for line in lines()] == events


def test_no_secret_in_an_event_or_in_a_nested_value(lines: Any, secret: str) -> None:
    log.get().info(f"connecting with {secret}", url=f"postgresql://me:{secret}@db/shop", raw=secret.encode())
    log.get().info("deep", tried=[{"password": secret}, (secret,)], **{secret: 1}, error=ValueError(secret))
    logging.getLogger("psycopg").warning("refused: %s", secret)
    output = json.dumps(lines(), ensure_ascii=False)
    assert "***" in output
    assert secret not in output
    assert "wörd" not in output


def test_no_password_in_a_url_even_if_it_was_never_revealed(lines: Any) -> None:
    log.get().warning("retry", url="postgresql://me:hunter2@db/shop")
    (line,) = lines()
    assert line["url"] == "postgresql://me:***@db/shop"


def test_no_secret_in_an_exception_or_in_its_frames(lines: Any, secret: str) -> None:
    def connect(password: str) -> None:
        raise ConnectionError(f"FATAL: no entry for {password}")

    for write in (log.get().exception, logging.getLogger("library").exception):
        try:
            connect(secret)
        except ConnectionError:
            write("it failed")
    for line in lines():
        assert "ConnectionError: FATAL: no entry for ***" in line["exception"]
        assert "wörd" not in json.dumps(line, ensure_ascii=False)


def test_no_secret_in_the_output_of_a_program(lines: Any, secret: str) -> None:
    program = "import os, sys; sys.stderr.write('pg_dump: wrong ' + os.environ['SHOP_PASSWORD'])"
    stderr = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    log.get().error("pg_dump ended with 1", stderr=stderr)
    (line,) = lines()
    assert line["stderr"] == "pg_dump: wrong ***"


class Terminal(io.StringIO):
    """A text file that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_short_lines(lines: Any, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log.configure()
    with log.log_context(run="r1", job="backup", subject="shop", environment="try"):
        log.get().info("step finished", seconds=2)
        log.get().error("pg_dump ended", stderr=secret)
        log.get().error("odd", exc_info=ValueError(secret))
    plain = terminal.getvalue()
    for code in ("\x1b[2m", "\x1b[0m", "\x1b[1;31m"):
        plain = plain.replace(code, "")
    first, second, *trace = plain.splitlines()
    assert first[8:] == " backup shop: step finished seconds=2 r1"
    assert second[8:] == " backup shop: error pg_dump ended stderr=*** r1"
    assert trace[-1] == "ValueError: ***"
    assert "wörd" not in plain


IMPORTED = """
import sys, threading
from jobs import log
{first}
log.configure()
log.get().debug("x")
print("rich" in sys.modules)
import rich.table
"""


@pytest.mark.parametrize(("first", "imports_rich"), [("", False), (ANOTHER_THREAD, True)])
def test_the_first_line_imports_rich_only_while_other_threads_could_do_the_same(first: str, imports_rich: bool) -> None:
    argv = [sys.executable, "-c", IMPORTED.format(first=first)]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert printed == f"{imports_rich}\n"
