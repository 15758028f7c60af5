"""Five hundred things fail at once, the chat is dead and the mail server slow: no job waits, nobody is told twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from pathlib import Path

import pytest

from jobs.run import Options, Outcome, Result, delivery, run_job
from tests.parts.listeners import Heard, mail_server, web_hook
from tests.parts.runs import environment, job, store_in, until

MANY = [f"db{number}" for number in range(500)]


def named(text: str) -> Counter[str]:
    """How often each subject was said to be failing."""
    return Counter(re.findall(r"backup of (db\d+) is failing", text))


def mailed(mail: Heard) -> Counter[str]:
    """Of a mail with many alerts what is in it, of one with one alert its subject."""
    found: Counter[str] = Counter()
    for text in mail.mails:
        message = message_from_string(text, policy=policy.default)
        body = message.get_body(("plain",))
        found += named(str(message["Subject"])) or named(body.get_content() if body else "")
    return found


def hooked(chat: Heard) -> Counter[str]:
    found: Counter[str] = Counter()
    for _, body in chat.requests:
        told = json.loads(body)
        found += named(told["title"]) or named(told["message"])
    return found


def test_no_job_waits_nothing_is_lost_and_nothing_told_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DELIVERY_TIMEOUT", 3)
    store, once = store_in(tmp_path), Counter(MANY)
    work = job(lambda run: Result(Outcome.FAILED, f"no route to {run.subject}"), *MANY, max_parallel=8)
    with web_hook() as chat, mail_server() as mail:
        mail.slow = 0.3
        mailto = f"mailto://127.0.0.1:{mail.port}/?from=crew@acme.example&to=ops@acme.example&mode=insecure&format=text"
        env = environment((f"json://127.0.0.1:{chat.port}/", mailto))
        chat.answering.clear()
        begun = datetime.now(UTC)
        ended = run_job(work, env, store, Options())
        work_took = max(record.ended for record in ended) - begun
        all_took = datetime.now(UTC) - begun
        assert all_took - work_took < timedelta(seconds=10)
        assert max(record.duration for record in ended) < timedelta(seconds=2)
        assert len(mail.mails) < 10
        assert max(mailed(mail).values()) == 1
        chat.answering.set()
        until(lambda: chat.requests)  # what it took while it was dead, and answered nobody
        chat.requests.clear()
        monkeypatch.setattr(delivery, "DELIVERY_TIMEOUT", 10)
        run_job(work, env, store, Options())
        run_job(replace(work, subjects=lambda _environment, _store, _options: MANY[:20]), env, store, Options())
    assert mailed(mail) == once
    assert hooked(chat) == once
