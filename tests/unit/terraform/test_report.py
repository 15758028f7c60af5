"""Drift reports as text, JSON and Markdown."""

from __future__ import annotations

from inventories import Ignore
from terraform import report
from terraform.drift import DriftFinding, DriftKind
from terraform.report import DriftReport, StackReport

IGNORED = DriftFinding(DriftKind.CHANGED, "a.b", "n", "1", "2", ignored="the agent")


REPORT = DriftReport(
    "staging",
    (
        StackReport("backups"),
        StackReport("network", (DriftFinding(DriftKind.CHANGED, "aws_vpc.x", "tags.Owner", "we", "a|b `c`"),)),
        StackReport("cluster", (IGNORED, DriftFinding(DriftKind.PENDING, "a.c", "", "", "", "create"))),
        StackReport("database", error="is unreachable"),
    ),
    (Ignore(resource="a.gone", attribute="n", why="once"),),
)  # fmt: skip


def test_text_starts_with_the_worst() -> None:
    assert [line for line, _ in report.as_text(REPORT)] == [
        "staging/database: is unreachable",
        "staging/network: 1 drifted",
        "  changed     aws_vpc.x tags.Owner: we → a|b `c`",
        "staging/cluster: 1 pending, 1 ignored",
        "  changed     a.b n: 1 → 2  (ignored: the agent)",
        "  pending     a.c: to create",
        "staging/backups: clean",
        "staging: drift.ignore a.gone n matches no finding any more; remove it",
    ]


def test_a_stack_with_a_failed_check_is_not_clean() -> None:
    check = DriftFinding(DriftKind.CHECK_FAILED, "check.health", "", "", "no answer")
    failed = DriftReport("staging", (StackReport("network", (check,)),))
    assert list(report.as_text(failed)) == [
        ("staging/network: 1 check failed", "warn"),
        ("  check failed  check.health: no answer", ""),
    ]
    assert report.as_json(failed)["check_failed"] is True
    text = "\n".join(report.as_markdown(failed))
    assert text.startswith("### staging: check failed\n")
    assert "| network | check failed | `check.health` |  | `no answer` |" in text


def test_stacks_with_the_same_error_share_one_line() -> None:
    stacks = (StackReport("a", error="no bucket"), StackReport("b"), StackReport("c", error="no bucket"))
    assert [line for line, _ in report.as_text(DriftReport("staging", stacks))] == [
        "staging/a, c: no bucket",
        "staging/b: clean",
    ]


def test_json() -> None:
    document = report.as_json(REPORT)
    assert (document["drifted"], document["pending"], document["failed"]) == (True, True, True)
    assert document["stacks"][1]["findings"] == [
        {"kind": "changed", "address": "aws_vpc.x", "attribute": "tags.Owner", "before": "we", "now": "a|b `c`",
         "action": None, "ignored": None, "last_changed_by": None}
    ]  # fmt: skip
    assert document["unmatched_rules"] == [{"resource": "a.gone", "attribute": "n", "why": "once"}]


def test_values_do_not_break_markdown() -> None:
    text = "\n".join(report.as_markdown(REPORT))
    assert "### staging: failed" in text
    assert "| network | changed | `aws_vpc.x tags.Owner` | `we` | `` a\\|b `c` `` |" in text
    assert "- **changed**: changed outside; the next apply reverts it" in text


def test_markdown_of_many_findings_is_short() -> None:
    many = tuple(DriftFinding(DriftKind.CHANGED, f"a.x{n}", "n", "1", "2") for n in range(5000))
    text = "\n".join(report.as_markdown(DriftReport("staging", (StackReport("network", many),))))
    assert len(text) < 10_000
    assert "And 4900 more: `crew drift staging`." in text
