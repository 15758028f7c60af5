"""The result of comparing hosts with a deploy, and when it causes an alert."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import HostIgnore
from jobs.hosts.job import HOSTS, comparison_result, schedule, subjects
from jobs.hosts.report import (
    MAX_TEXT,
    BadComparison,
    ComparedHost,
    HostChange,
    HostComparison,
    comparison_json,
    parse_comparison,
    with_ignored,
)
from jobs.run.alerts import AlertReason, AlertState, alert_reason
from jobs.run.job import Failed, Options, Outcome, Transient, UnknownName
from tests.parts.runs import environment, store_in

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
MOTD = HostChange("web-1", "Message at login", "/etc/motd", "differs, written 2026-11-20 09:00 UTC")
UNIT = HostChange("web-1", "fail2ban.service", "fail2ban.service", "not active")
OTHER = HostChange("web-2", "Accounts")
CLEAN = ComparedHost("web-3", operations=20)
DOWN = ComparedHost("web-4", error="Could not connect (timed out)", unreachable=True)
STRANGER = ComparedHost("web-5", error="SSH error (StrictPolicy: No host key for web-5)", unreachable=True)
UNREAD = ComparedHost("web-6", error="the fact server.Users could not be read")


def host(*changes: HostChange) -> ComparedHost:
    return ComparedHost(changes[0].host, 20, changes)


@pytest.mark.parametrize(
    ("hosts", "outcome", "sentence"),
    [
        ([CLEAN], Outcome.DONE, "no drift on 1 host"),
        ([CLEAN, host(replace(MOTD, ignored="theirs"))], Outcome.DONE, "no drift on 2 hosts, 1 ignored"),
        (
            [CLEAN, host(MOTD, UNIT)],
            Outcome.FINDING,
            "2 changes on 1 of 2 hosts (web-1: Message at login /etc/motd differs, written 2026-11-20 09:00 UTC; "
            "web-1: fail2ban.service not active)",
        ),
        ([host(OTHER)], Outcome.FINDING, "1 change on 1 of 1 host (web-2: Accounts)"),
        (
            [host(OTHER), UNREAD],
            Outcome.FAILED,
            "1 of 2 hosts could not be compared (web-6: the fact server.Users could not be read); "
            "1 change on 1 of 2 hosts (web-2: Accounts)",
        ),
        (
            [DOWN, STRANGER],
            Outcome.FAILED,
            "2 of 2 hosts could not be compared (web-4: Could not connect (timed out); "
            "web-5: SSH error (StrictPolicy: No host key for web-5))",
        ),
    ],
)
def test_a_change_is_a_finding_and_a_host_that_was_not_compared_a_failure(
    hosts: list[ComparedHost], outcome: Outcome, sentence: str
) -> None:
    result = comparison_result(HostComparison(tuple(hosts)))
    assert (result.outcome, result.sentence) == (outcome, sentence)


def test_a_host_that_is_down_is_tried_again() -> None:
    with pytest.raises(Transient, match=r"1 of 2 hosts could not be compared .*; 1 change on 1 of 2 hosts"):
        comparison_result(HostComparison((host(OTHER), DOWN)))


def test_an_inventory_that_cannot_be_read_is_a_failure() -> None:
    with pytest.raises(Failed, match="there are no hosts"):
        comparison_result(HostComparison(error="there are no hosts"))


def test_figures_for_machines() -> None:
    hosts = (CLEAN, host(MOTD, replace(UNIT, ignored="why")), host(OTHER), UNREAD)
    assert comparison_result(HostComparison(hosts)).figures == {
        "hosts": 4, "drifted": 2, "changes": 2, "ignored": 1, "not_compared": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("earlier", "current", "expected"),
    [
        ([CLEAN], [host(MOTD)], AlertReason.FOUND),
        ([host(MOTD, UNIT)], [host(UNIT, replace(MOTD, detail="missing"))], None),
        ([host(MOTD)], [host(MOTD, UNIT)], AlertReason.CHANGED),
        ([host(MOTD)], [CLEAN], AlertReason.GONE),
    ],
)
def test_new_changed_and_resolved_drift_causes_an_alert(
    earlier: list[ComparedHost], current: list[ComparedHost], expected: AlertReason | None
) -> None:
    before, now = (comparison_result(HostComparison(tuple(each))) for each in (earlier, current))
    state = AlertState(outcome=before.outcome, alerted=before.outcome, about=before.about, alerted_at=NOW)
    assert alert_reason(state, now.outcome, now.about or now.sentence, NOW, timedelta(days=1)) == expected


@pytest.mark.parametrize(
    ("rule", "ignored"),
    [
        (("web-*", None), 2),
        (("web-1", "/etc/*"), 1),
        (("*", "Message at login"), 1),
        (("*", "fail2ban.service"), 1),
        (("web-[12]", None), 0),
        (("db-*", None), 0),
    ],
)
def test_a_rule_names_a_host_and_an_operation_or_its_target(rule: tuple[str, str | None], ignored: int) -> None:
    given = HostIgnore(host=rule[0], operation=rule[1], why="theirs")
    comparison = with_ignored(HostComparison((host(MOTD, UNIT),)), [given])
    assert [change.ignored for change in comparison.changes].count("theirs") == ignored
    assert len(comparison.drift) == 2 - ignored


def test_the_answer_of_the_child_is_data() -> None:
    comparison = HostComparison((host(MOTD, UNIT), DOWN), "")
    assert parse_comparison(comparison_json(comparison)) == comparison
    long = HostComparison((host(replace(OTHER, detail="x\n\ty" * 999)),))
    [change] = parse_comparison(comparison_json(long)).changes
    assert len(change.detail) == MAX_TEXT
    assert change.detail.startswith("x yx y")


@pytest.mark.parametrize(
    "answer",
    [
        "", "[]", "null", "{}", "[" * 100_000,
        '{"format": 2, "hosts": [], "error": ""}',
        '{"format": 1, "hosts": {}, "error": ""}',
        '{"format": 1, "hosts": [1], "error": ""}',
        '{"format": 1, "hosts": [], "error": 1}',
        '{"format": 1, "error": "", "hosts": [{"name": "a", "operations": true, "changes": [], "error": "", '
        '"unreachable": false}]}',
        '{"format": 1, "error": "", "hosts": [{"name": "a", "operations": 1, "changes": [{"operation": null}], '
        '"error": "", "unreachable": false}]}',
    ],
)  # fmt: skip
def test_an_answer_that_is_not_a_comparison_is_refused(answer: str) -> None:
    with pytest.raises(BadComparison):
        parse_comparison(answer)


def test_each_deploy_is_a_subject_and_all_share_a_line(tmp_path: Path) -> None:
    with_hosts = environment(more='[hosts]\ncheck = "0 7 * * *"\ndeploys = ["host", "k3s"]\n')
    store = store_in(tmp_path)
    assert subjects(with_hosts, store, Options()) == ("host", "k3s")
    assert subjects(with_hosts, store, Options(only=("k3s",))) == ("k3s",)
    assert schedule(with_hosts, "host") == "0 7 * * *"
    assert [HOSTS.has_subject(with_hosts, name) for name in ("k3s", "postgres")] == [True, False]
    with pytest.raises(UnknownName, match=r"no deploy k4s in \[hosts\]; it compares: host, k3s"):
        subjects(with_hosts, store, Options(only=("k4s",)))
    assert (subjects(environment(), store, Options()), schedule(environment(), "host")) == ((), None)
