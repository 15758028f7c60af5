"""Open a page in Chromium with a given width and colour scheme, and report text, layout, requests and errors."""

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

from tests.parts.patience import deadline

HOST = "http://status.invalid"
BROWSERS_OWN = re.compile(r"\b(google|googleapis|gvt1)\.com\b")  # requests that Chromium makes on its own
PROBE = Path(__file__).with_name("probe.html").read_text()
CHROMIUM = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--no-first-run",
    "--no-default-browser-check", "--disable-features=OptimizationHints,MediaRouter,Translate",
]  # fmt: skip


@dataclass(frozen=True)
class PageView:
    """The content, layout, requests and console errors of a page."""

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
    errors: list[str]


def open_page(page: str, folder: Path, *, width: int = 360, dark: bool = False) -> PageView:
    """Open a page through a proxy that records every request to any host."""
    with _proxy({f"{HOST}/probe": PROBE.replace("WIDTH", str(width)), f"{HOST}/page": page}) as (port, requests):
        done = subprocess.run(
            [
                *CHROMIUM, "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900",
                f"--proxy-server=http://127.0.0.1:{port}", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                "--dump-dom", f"{HOST}/probe",
            ],
            capture_output=True, text=True, check=True, timeout=deadline(60),
        )  # fmt: skip
    report = re.search(r'<pre id="report">(.+?)</pre>', done.stdout, re.DOTALL)
    assert report, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    own = [path for path in requests if not BROWSERS_OWN.search(path)]
    return PageView(**json.loads(html.unescape(report[1])), requests=own, errors=errors)


def screenshot(page: Path, image: Path, folder: Path, *, width: int, height: int) -> None:
    """Write a PNG of a page in a window of that size, in light mode."""
    window = [f"--window-size={width},{height}", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"]
    argv = [*CHROMIUM, *window, f"--screenshot={image}", page.as_uri()]
    subprocess.run(argv, capture_output=True, check=True, timeout=deadline(120))


@contextmanager
def _proxy(pages: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """Serve these pages only, and record all requests."""
    requests: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_CONNECT(self) -> None:
            requests.append(self.path)
            self.send_error(502)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port, requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
