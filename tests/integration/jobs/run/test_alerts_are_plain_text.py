"""An alert is plain text: what it quotes from outside has no effect in a mail or a chat."""

from __future__ import annotations

import json
from dataclasses import replace
from email import message_from_string, policy

import pytest

from inventories import Secret
from jobs.run.delivery import Message, send_by_apprise
from jobs.run.job import Severity
from tests.parts.listeners import mail_server, web_hook

TITLE = "staging: drift <b>of</b> a\r\nBcc: all@acme.example"
TEXT = "aws_vpc.a tags.Name <img src=https://evil.example/x.png>\x1b[2J\u202e\nSince noon."
MESSAGE = Message(TITLE, TEXT, Severity.FAILURE, command="crew runs staging drift a --last")


@pytest.mark.parametrize(
    ("form", "content_type", "shown"), [("", "plain", "<img src"), ("&format=html", "html", "&lt;img")]
)
def test_a_mail_shows_markup_as_text(form: str, content_type: str, shown: str) -> None:
    with mail_server() as mail:
        to = f"mailto://127.0.0.1:{mail.port}/?from=crew@acme.example&to=ops@acme.example&mode=insecure{form}"
        assert send_by_apprise(Secret(literal=to), MESSAGE)
    message = message_from_string(mail.mails[0], policy=policy.default)
    body = message.get_body(("html", "plain"))
    assert body
    assert body.get_content_type() == f"text/{content_type}"
    text = body.get_content()
    assert shown in text
    assert "\x1b" not in text
    assert "\\x1b[2J\\u202e" in text
    assert "Bcc" not in message
    assert "\\r\\nBcc: all@acme.example" in str(message["Subject"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[log in](https://evil.example)", "[log in] (https://evil.example)"),
        ("![x](https://evil.example/a.png)", "![x] (https://evil.example/a.png)"),
        ("<https://evil.example|log in>", "< https://evil.example|log in>"),
        ("<!channel> <@U123> @everyone", "< !channel> < @U123> @ everyone"),
        ("@**all** @here", "@ **all** @ here"),
        ("postgres@allied.example: a < b, a[1]", "postgres@allied.example: a < b, a[1]"),
    ],
)
def test_a_chat_that_renders_markdown_gets_no_link_and_no_mention(text: str, shown: str) -> None:
    with web_hook() as chat:
        assert send_by_apprise(Secret(literal=f"mmost://127.0.0.1:{chat.port}/token"), Message("a", text))
    assert json.loads(chat.requests[0][1])["text"].splitlines() == ["`a`", "```", shown, "```"]


def test_a_chat_gets_no_control_characters() -> None:
    with web_hook() as chat:
        assert send_by_apprise(Secret(literal=f"json://127.0.0.1:{chat.port}/"), MESSAGE)
    message = json.loads(chat.requests[0][1])
    assert "\\x1b[2J\\u202e\nSince noon.\n\nLook closer: crew runs staging drift a --last" in message["message"]
    assert message["title"].isprintable()
    assert message["type"] == "failure"


def test_in_a_chat_that_shows_markdown_all_from_outside_is_code() -> None:
    with web_hook() as chat:
        token = "a" * 26
        to = Secret(literal=f"mmost://127.0.0.1:{chat.port}/{token}")
        assert send_by_apprise(to, replace(MESSAGE, text="[x](https://evil.example) `a` ```b"))
    assert json.loads(chat.requests[0][1])["text"].splitlines() == [
        "`staging: drift <b>of</b> a\\r\\nBcc: all@acme.example`",
        "```",
        "[x] (https://evil.example) 'a' '''b",
        "```",
        "Look closer: `crew runs staging drift a --last`",
    ]
