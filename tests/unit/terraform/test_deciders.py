"""The small deciders around a stack: settings, errors, order, what is kept, what people read."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from inventories import Ignore, StateSettings
from terraform import backend, drift, guard, order, report, summary, values
from terraform.diagnosis import CommandStart, diagnose, first_error
from terraform.drift import DriftFinding, DriftKind
from terraform.errors import ChangeRefused, NoTerraform, StackError, StateLocked, TemporaryStackError
from terraform.report import DriftReport, StackReport
from tests.unit.terraform.test_drift import entry, made

AWS = StateSettings(bucket="acme", region="eu-central-1", lock_table="locks")
ELSEWHERE = StateSettings(bucket="acme", endpoint="http://s3.local:8333", lock="file")


class TestBackend:
    @pytest.mark.parametrize("version", [(1, 0, 3), (1, 15, 5)])
    def test_on_aws_it_is_the_same_for_all_versions(self, version: tuple[int, ...]) -> None:
        assert backend.backend_settings(AWS, "staging", "network", version) == (
            'bucket = "acme"\nkey = "staging/network"\nencrypt = true\n'
            'region = "eu-central-1"\ndynamodb_table = "locks"\n'
        )

    def test_elsewhere_for_old_ones(self) -> None:
        state = StateSettings(bucket="acme", endpoint="http://s3.local:8333", lock_table="locks", profile="p")
        told = backend.backend_settings(state, "staging", "network", (1, 5, 7)).splitlines()
        assert told[3:8] == [
            'profile = "p"', 'dynamodb_table = "locks"', 'endpoint = "http://s3.local:8333"', "force_path_style = true",
            'dynamodb_endpoint = "http://s3.local:8333"',
        ]  # fmt: skip

    def test_elsewhere_for_new_ones(self) -> None:
        told = backend.backend_settings(ELSEWHERE, "staging", "network", (1, 10, 0))
        assert 'use_lockfile = true\nendpoints = { s3 = "http://s3.local:8333" }\nuse_path_style = true\n' in told

    def test_lock_files_want_a_version_that_has_them(self) -> None:
        with pytest.raises(StackError, match=r'staging: terraform.state.lock = "file" needs Terraform 1.10 .* 1\.9\.8'):
            backend.backend_settings(ELSEWHERE, "staging", "network", (1, 9, 8))


LOCK = """
Error: Error acquiring the state lock

Error message: ConditionalCheckFailedException: The conditional request failed
Lock Info:
  ID:        0b1f6b2e-7d6b
  Path:      acme/staging/network
  Operation: OperationTypeApply
  Who:       ann@laptop
  Version:   1.0.3
  Created:   2026-11-21 02:00:04.123 +0000 UTC
  Info:
"""


class TestDiagnosis:
    @pytest.mark.parametrize("frame", ["", "│ "])
    def test_a_lock_tells_who_since_when_and_the_way_out(self, frame: str) -> None:
        said = "\n".join(frame + line for line in LOCK.splitlines())
        error = diagnose("staging/network", "terraform plan", said, 1)
        assert isinstance(error, StateLocked)
        assert str(error) == (
            "staging/network: the state is locked by ann@laptop since 2026-11-21 02:00:04 (apply); wait for it, "
            "or if that process is dead: crew stacks unlock staging network --id 0b1f6b2e-7d6b"
        )

    @pytest.mark.parametrize(
        ("host", "second", "ours"),
        [("laptop", 3, True), ("laptop", 4, True), ("laptop", 5, False), ("top", 3, False), ("runner", 3, False)],
    )
    def test_a_lock_that_was_taken_here_since_the_command_began_may_be_its_own(
        self, host: str, second: int, ours: bool
    ) -> None:
        begun = CommandStart(host, datetime(2026, 11, 21, 2, 0, second, 900_000, UTC))
        said = str(diagnose("staging/network", "terraform plan", LOCK, 1, begun))
        assert ("probably by this command itself" in said) is ours
        assert "crew stacks unlock staging network --id 0b1f6b2e-7d6b" in said

    @pytest.mark.parametrize(
        ("said", "kind", "words"),
        [
            ("Error: Saved plan is stale\n\nThe given plan file can no longer be applied", ChangeRefused, "plan again"),
            (
                "Error: Invalid plan file: plan file was created by Terraform 1.0.3, but",
                ChangeRefused,
                "another version",
            ),
            (
                "Error: state snapshot was created by Terraform v1.9.0, which is newer",
                NoTerraform,
                "1.9.0, which is newer",
            ),
            ("Error: Unsupported state file format\n\nversion 5", NoTerraform, "newer than this Terraform reads"),
            ("Error: Unsupported Terraform Core version", NoTerraform, "required_version"),
            ('Error: S3 bucket "acme" does not exist.', StackError, "crew stacks bootstrap staging"),
            ("Error: ResourceNotFoundException: table", StackError, "crew stacks bootstrap staging"),
            ("Error: error configuring: no valid credential sources found", StackError, "AWS_PROFILE"),
            (
                "Error: Failed to query available provider packages\n\nno",
                TemporaryStackError,
                "cannot download a provider",
            ),
            ("Error: dial tcp 127.0.0.1:1: connect: connection refused", TemporaryStackError, "cannot reach a service"),
            (
                "Error: no matching VPC found\n\n  with data.aws_vpc.this,",
                StackError,
                "plan failed: no matching VPC found",
            ),
            ("", StackError, "no error message"),
        ],
    )
    def test_known_words(self, said: str, kind: type[StackError], words: str) -> None:
        error = diagnose("staging/network", "terraform plan", said, 1)
        assert type(error) is kind
        assert str(error).startswith("staging/network: ")
        assert words in str(error)

    def test_killed(self) -> None:
        assert "killed by signal 9" in str(diagnose("staging/network", "terraform apply", "", -9))

    def test_the_first_of_two_errors_on_one_line_without_its_frame(self) -> None:
        said = "╷\n│ Error: Invalid\n│ \n│   on main.tf line 3:\n╵\n╷\n│ Error: Other\n╵\n"
        assert first_error(said) == "Invalid on main.tf line 3:"

    def test_numbers_of_requests_are_left_out(self) -> None:
        old = "Error: AccessDenied: no\n\tstatus code: 403, request id: A1B2, host id: c+/d=\n"
        new = "Error: S3: GetObject, StatusCode: 403, RequestID: A1, HostID: b/c+d=, api error AccessDenied: no\n"
        assert first_error(old) == "AccessDenied: no status code: 403"
        assert first_error(new) == "S3: GetObject, StatusCode: 403, api error AccessDenied: no"

    def test_a_long_one_is_cut(self) -> None:
        assert len(first_error("Error: " + "x " * 5000)) < 700


def run(after: Mapping[str, Sequence[str]], failing: str = "", backwards: bool = False) -> tuple[list[str], list[Any]]:
    began: list[str] = []

    def work(stack: str) -> str:
        began.append(stack)
        if stack == failing:
            raise StackError("broken")
        return stack

    ended = order.run_in_order(order.dependencies(tuple(after), after, backwards=backwards), work)
    return began, [(one.stack, str(one.error or one.skipped_for or one.value)) for one in ended]


class TestOrder:
    CHAIN: Mapping[str, Sequence[str]] = {"app": ["cluster"], "cluster": ["network"], "network": [], "backups": []}

    def test_what_comes_first_comes_first(self) -> None:
        began, _ = run(self.CHAIN)
        assert [one for one in began if one != "backups"] == ["network", "cluster", "app"]

    def test_backwards(self) -> None:
        began, _ = run(self.CHAIN, backwards=True)
        assert [one for one in began if one != "backups"] == ["app", "cluster", "network"]

    def test_a_failure_stops_what_depends_on_it_and_nothing_else(self) -> None:
        _, ended = run(self.CHAIN, failing="network")
        assert ended == [("app", "network"), ("cluster", "network"), ("network", "broken"), ("backups", "backups")]

    def test_a_stack_that_was_not_named_is_taken_to_be_there(self) -> None:
        assert order.dependencies(["cluster"], self.CHAIN, backwards=False) == {"cluster": set()}

    def test_untied_ones_run_side_by_side(self) -> None:
        meeting = threading.Barrier(2, timeout=10)
        ended = order.run_in_order({"a": set(), "b": set()}, lambda _: meeting.wait() >= 0)
        assert [one.value for one in ended] == [True, True]


class TestGuard:
    @pytest.mark.parametrize("actions", [["delete"], ["delete", "create"], ["create", "delete"]])
    def test_by_type(self, actions: list[str]) -> None:
        plan = made(planned=[entry("aws_db_instance.x", actions, {"n": 1}, {"n": 2})])
        with pytest.raises(ChangeRefused, match=r"aws_db_instance.x \(terraform.keep lists aws_db_instance\)"):
            guard.refuse_destruction("staging/database", plan, ["aws_db_instance"])
        guard.refuse_destruction("staging/database", plan, ["aws_s3_bucket"])

    @pytest.mark.parametrize(
        ("before", "kept"),
        [
            ({"tags": {"keep": "yes"}}, True), ({"tags": {"Keep": ""}}, True), ({"tags_all": {"keep": "true"}}, True),
            ({"tags": {"keep": "false"}}, False), ({"tags": None}, False), ({"tags": {"other": "keep"}}, False),
        ],
    )  # fmt: skip
    def test_by_tag(self, before: Any, kept: bool) -> None:
        plan = made(planned=[entry("a.x", ["delete"], before, None)])
        assert [why for _, why in guard.kept_resources(plan, [])] == (["tagged keep"] if kept else [])

    def test_an_update_destroys_nothing(self) -> None:
        guard.refuse_destruction(
            "n", made(planned=[entry("a.x", ["update"], {"tags": {"keep": "1"}}, {"tags": {}})]), ["a"]
        )


class TestSummary:
    PLAN = made(
        planned=[
            entry("a.new", ["create"], None, {"n": 1}),
            entry("a.old", ["delete"], {"n": 1}, None),
            entry("a.other", ["delete", "create"], {"n": 1, "s": "x"}, {"n": 2, "s": "y"}, after_sensitive={"s": True}),
            entry("a.edited", ["update"], {str(n): 1 for n in range(6)}, {str(n): 2 for n in range(6)}),
            entry("a.taken", ["no-op"], {"n": 1}, {"n": 1}, importing={"id": "x-1"}),
            entry("a.tuned", ["update"], {"n": 1}, {"n": 2}, importing={"id": "x-2"}),
            entry("a.moved", ["no-op"], {"n": 1}, {"n": 1}, previous_address="a.was"),
            entry("a.same", ["no-op"], {"n": 1}, {"n": 1}),
        ],
        output_changes={
            "open": {"actions": ["update"], "before": 1, "after": 2, "after_unknown": False},
            "secret": {
                "actions": ["create"],
                "before": None,
                "after": "x",
                "after_unknown": False,
                "after_sensitive": True,
            },
        },
    )

    def test_counts(self) -> None:
        assert summary.planned_counts(self.PLAN) == (
            "1 to destroy, 1 to replace, 2 to update, 1 to create, 1 to import, 1 to move, 2 outputs"
        )
        assert summary.planned_counts(made()) == "nothing to do"
        assert summary.planned_counts(made(), 2) == "2 to record in the state"
        assert summary.planned_counts(self.PLAN, 1).endswith("2 outputs, 1 to record in the state")
        assert summary.applied_counts(self.PLAN).startswith(
            "1 destroyed, 1 replaced, 2 updated, 1 created, 1 imported, 1 m"
        )

    def test_lines_the_loudest_first(self) -> None:
        assert [(line.action, line.address, line.edits) for line in summary.plan_lines(self.PLAN)] == [
            ("destroy", "a.old", ""),
            ("replace", "a.other", "n 1 → 2, s (sensitive)"),
            ("update", "a.edited", "0 1 → 2, 1 1 → 2, 2 1 → 2, 3 1 → 2, and 2 more"),
            ("update", "a.tuned", "from x-2, n 1 → 2"),
            ("create", "a.new", ""),
            ("import", "a.taken", "from x-1"),
            ("move", "a.moved", "was a.was"),
            ("update", "output.open", "= 2"),
            ("update", "output.secret", "= (sensitive)"),
        ]


def test_of_two_long_texts_is_shown_what_they_have_from_where_they_part() -> None:
    long = "x" * 300
    before, after = values.short_texts(f"{long} and {{s3:GetObject}}", f"{long} and {{s3:PutObject}}")
    assert (before, after) == ("…xxxxxxxxxxx and {s3:GetObject}", "…xxxxxxxxxxx and {s3:PutObject}")
    assert values.short_texts("short", long) == ("short", f"{long[: values.MAX_LENGTH]}…")


def test_what_the_state_takes_note_of_is_what_nobody_ignores_and_no_plan_touches() -> None:
    found = [DriftFinding(kind, "a.b", "n", "1", "2") for kind in DriftKind] + [
        DriftFinding(DriftKind.STATE_ONLY, "a.c", "n", "1", "2", ignored="a clock")
    ]
    found.append(DriftFinding(DriftKind.STATE_ONLY, "a.d", "", "exists", "deleted"))
    assert [
        (line.action, line.address, line.edits) for line in summary.recorded_lines(drift.recorded_by_apply(found))
    ] == [
        ("record", "a.b", "n 1 → 2, changed outside"),
        ("record", "a.d", "deleted outside, and no longer in the code"),
    ]


IGNORED = DriftFinding(DriftKind.CHANGED, "a.b", "n", "1", "2", ignored="the agent")


class TestReport:
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

    def test_text_has_the_worst_on_top(self) -> None:
        assert [line for line, _ in report.as_text(self.REPORT)] == [
            "staging/database: is unreachable",
            "staging/network: 1 drifted",
            "  changed     aws_vpc.x tags.Owner: we → a|b `c`",
            "staging/cluster: 1 pending, 1 ignored",
            "  changed     a.b n: 1 → 2  (ignored: the agent)",
            "  pending     a.c: to create",
            "staging/backups: clean",
            "staging: drift.ignore a.gone n matches no finding any more; remove it",
        ]

    def test_what_all_stumble_over_is_told_once(self) -> None:
        seen = (StackReport("a", error="no bucket"), StackReport("b"), StackReport("c", error="no bucket"))
        assert [line for line, _ in report.as_text(DriftReport("staging", seen))] == [
            "staging/a, c: no bucket",
            "staging/b: clean",
        ]

    def test_json(self) -> None:
        told = report.as_json(self.REPORT)
        assert (told["drifted"], told["pending"], told["failed"]) == (True, True, True)
        assert told["stacks"][1]["findings"] == [
            {"kind": "changed", "address": "aws_vpc.x", "attribute": "tags.Owner", "before": "we", "now": "a|b `c`",
             "action": None, "ignored": None}
        ]  # fmt: skip
        assert told["unmatched_rules"] == [{"resource": "a.gone", "attribute": "n", "why": "once"}]

    def test_markdown_is_not_broken_by_values(self) -> None:
        text = "\n".join(report.as_markdown(self.REPORT))
        assert "### staging: failed" in text
        assert "| network | changed | `aws_vpc.x tags.Owner` | `we` | `` a\\|b `c` `` |" in text
        assert "- **changed**: changed outside; the next apply reverts it" in text

    def test_markdown_of_many_is_short(self) -> None:
        many = tuple(DriftFinding(DriftKind.CHANGED, f"a.x{n}", "n", "1", "2") for n in range(5000))
        text = "\n".join(report.as_markdown(DriftReport("staging", (StackReport("network", many),))))
        assert len(text) < 10_000
        assert "And 4900 more: `crew drift staging`." in text
