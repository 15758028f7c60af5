"""500 failures at once, with a dead chat and a slow mail server: no job waits, and no alert is sent twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from pathlib import Path
from statistics import median

import pytest

from jobs.run import Options, Outcome, Result, delivery, run_job
from tests.parts.listeners import Received, mail_server, web_hook
from tests.parts.patience import deadline
from tests.parts.runs import environment, job, store_in

MANY = [f"db{number}" for number in range(500)]


def named(text: str) -> Counter[str]:
    """Count how often each subject is named as failing."""
    return Counter(re.findall(r"backup of (db\d+) is failing", text))


def mailed(mail: Received) -> Counter[str]:
    """Count the subjects in all mails: in the body of a mail with many alerts, else in its subject line."""
    count: Counter[str] = Counter()
    for text in mail.mails:
        message = message_from_string(text, policy=policy.default)
        body = message.get_body(("plain",))
        count += named(str(message["Subject"])) or named(body.get_content() if body else "")
    return count


def hooked(chat: Received) -> Counter[str]:
    """Count the subjects in all messages to the chat."""
    count: Counter[str] = Counter()
    for _, body in chat.requests:
        message = json.loads(body)
        count += named(message["title"]) or named(message["message"])
    return count


@pytest.mark.long
def test_no_job_waits_and_each_alert_is_sent_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = deadline(1.5)
    monkeypatch.setattr(delivery, "DELIVERY_TIMEOUT", timeout)
    store, once = store_in(tmp_path), Counter(MANY)
    work = job(lambda run: Result(Outcome.FAILED, f"no route to {run.subject}"), *MANY, max_parallel=8)
    with web_hook() as chat, mail_server() as mail:
        mail.slow = 0.3
        mailto = f"mailto://127.0.0.1:{mail.port}/?from=crew@acme.example&to=ops@acme.example&mode=insecure&format=text"
        env = environment((f"json://127.0.0.1:{chat.port}/", mailto))
        chat.answering.clear()
        started = datetime.now(UTC)
        records = run_job(work, env, store, Options())
        work_took = max(record.ended for record in records) - started
        all_took = datetime.now(UTC) - started
        assert all_took - work_took < timedelta(seconds=deadline(5))
        assert median(record.duration for record in records) < timedelta(seconds=timeout)
        assert len(mail.mails) < len(MANY) / 4
        assert max(mailed(mail).values()) == 1
        chat.answering.set()
        monkeypatch.setattr(delivery, "DELIVERY_TIMEOUT", deadline(10))
        run_job(work, env, store, Options())
        run_job(replace(work, subjects=lambda _environment, _store, _options: MANY[:20]), env, store, Options())
    assert mailed(mail) == once
    assert set(hooked(chat)) == set(once)  # it accepted some while it did not answer, and got these again
