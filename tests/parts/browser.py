"""A real browser that opens a page in a window of any width, by day or by night, and tells what it saw."""

from __future__ import annotations

import html
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "http://status.invalid"
BROWSERS_OWN = re.compile(r"\b(google|googleapis|gvt1)\.com\b")  # what a browser asks for by itself
PROBE = Path(__file__).with_name("probe.html").read_text()
CHROMIUM = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--no-first-run",
    "--no-default-browser-check", "--disable-features=OptimizationHints,MediaRouter,Translate",
]  # fmt: skip


@dataclass(frozen=True)
class PageView:
    """What the browser saw, asked for, and complained of."""

    text: str
    title: str
    inner: int
    scroll: int
    faint: list[str]
    checked: int
    page: str
    pictures: list[str | bool | None]
    headings: list[int]
    tables: list[str | None]
    states: list[str]
    resources: list[str]
    requests: list[str]
    complaints: list[str]


def open_page(page: str, folder: Path, *, width: int = 360, dark: bool = False) -> PageView:
    """Open a page through a proxy that sees whatever is asked for, wherever it lies."""
    with _world({f"{HOST}/probe": PROBE.replace("WIDTH", str(width)), f"{HOST}/page": page}) as (port, asked):
        done = subprocess.run(
            [
                *CHROMIUM, "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900",
                f"--proxy-server=http://127.0.0.1:{port}", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                "--dump-dom", f"{HOST}/probe",
            ],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
    found = re.search(r'<pre id="told">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout + done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    ours = [path for path in asked if not BROWSERS_OWN.search(path)]
    return PageView(**json.loads(html.unescape(found[1])), requests=ours, complaints=complaints)


def screenshot(page: Path, image: Path, folder: Path, *, width: int, height: int) -> None:
    """Take a PNG of what a window of that size shows of a page, by day."""
    window = [f"--window-size={width},{height}", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"]
    argv = [*CHROMIUM, *window, f"--screenshot={image}", page.as_uri()]
    subprocess.run(argv, capture_output=True, check=True, timeout=120)


@contextmanager
def _world(pages: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """All that can be reached: these pages, and a record of what else was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
