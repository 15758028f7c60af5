"""The Prometheus alert rules."""

from __future__ import annotations

from dataclasses import dataclass

from deploys.lib.postgres.pitr_metrics import PREFIX as PITR
from jobs.run.job import Outcome
from jobs.run.latest import EVIDENCE_PERIOD
from jobs.run.metrics import CODES, EVIDENCE_GAP, FIGURE, LAST_RUN, LAST_SUCCESS, OUTCOME, PERIOD

REPLICATION = "groundcrew_replication"  # written by deploys/lib/postgres/replication_metrics.sh
RUN = "{{ $labels.environment }}: {{ $labels.crew_job }} of {{ $labels.subject }}"
SHOW_ARCHIVE = "Read /var/log/pgbackrest on the host, or run deploys/postgres.py, which checks the archive and says why"
SHOW_MEASUREMENT = "Show why: journalctl --unit=groundcrew-pitr-metrics"
REPOSITORY = "{{ $labels.instance }}: repository {{ $labels.repository }}"
SHOW_RUNS = "Show the runs: crew runs {{ $labels.environment }} {{ $labels.crew_job }} {{ $labels.subject }}"


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert: its expression, how long it must hold, its severity, and its texts."""

    name: str
    expression: str
    duration: str
    severity: str
    summary: str
    description: str


OTHER_JOBS = '!~"backup|verify|copy"'
"""The jobs without an overdue rule of their own, also those that are added later."""


def overdue_expression(job: str) -> str:
    """Return an expression: no run of the job without failure within 1.5 times its period."""
    labels = f"{{crew_job{job}}}"
    return f"time() - {LAST_SUCCESS.name}{labels} > 1.5 * {PERIOD.name}{labels}"


def outcome_expression(outcome: Outcome, job: str = "") -> str:
    """Return an expression: the last run had this outcome."""
    labels = f'{{crew_job="{job}"}}' if job else ""
    return f"{OUTCOME.name}{labels} == {CODES[outcome]}"


def budget_expression(figure: str) -> str:
    """Return an expression: a cost figure has reached 100 % of the budget."""
    return f'{FIGURE.name}{{crew_job="cost",figure="{figure}"}} >= 100'


def evidence_gap_expression() -> str:
    """Return an expression: in the week before the last run a gap ended that was longer than 1.5 periods."""
    # A gap that still lasts is overdue, which has its own rule. A monthly job shows its last gap for a month.
    is_over = f"time() - {LAST_SUCCESS.name} <= 1.5 * {PERIOD.name}"
    is_recent = f"time() - {LAST_RUN.name} < {EVIDENCE_PERIOD.total_seconds():.0f}"
    return f"{EVIDENCE_GAP.name} > 1.5 * {PERIOD.name} and {is_over} and {is_recent}"


RULES = (
    Rule(
        "GroundcrewBackupOverdue",
        overdue_expression('="backup"'),
        "5m",
        "critical",
        f"{RUN}: no successful backup for {{{{ $value | humanizeDuration }}}}, more than 1.5 times its period",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewVerificationOverdue",
        overdue_expression('="verify"'),
        "5m",
        "warning",
        f"{RUN}: not verified for {{{{ $value | humanizeDuration }}}}, more than 1.5 times its period",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewEvidenceGap",
        evidence_gap_expression(),
        "1m",
        "warning",
        f"{RUN}: had a gap of {{{{ $value | humanizeDuration }}}}, more than 1.5 times its period",
        "Write down why, for an audit; show the gap: "
        "crew backups evidence {{ $labels.environment }} --since 90d --html evidence.html",
    ),
    Rule(
        "GroundcrewCopyOverdue",
        overdue_expression('="copy"'),
        "5m",
        "warning",
        f"{RUN}: not copied for {{{{ $value | humanizeDuration }}}}, more than 1.5 times its period",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewCopyIncomplete",
        outcome_expression(Outcome.FINDING, "copy"),
        "1m",
        "warning",
        f"{RUN}: sets could not be copied",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewJobOverdue",
        overdue_expression(OTHER_JOBS),
        "5m",
        "warning",
        f"{RUN}: no run without failure for {{{{ $value | humanizeDuration }}}}, more than 1.5 times its period",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewRunFailing",
        outcome_expression(Outcome.FAILED),
        "1m",
        "critical",
        f"{RUN}: the last run failed",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewVerificationFailed",
        outcome_expression(Outcome.FINDING, "verify"),
        "1m",
        "critical",
        f"{RUN}: verification failed, the restored backup differs from its manifest",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewBackupShrank",
        outcome_expression(Outcome.FINDING, "backup"),
        "1m",
        "warning",
        f"{RUN}: the last set is much smaller than the sets before it, or comes from another server",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewDriftOpen",
        outcome_expression(Outcome.FINDING, "drift"),
        "1d",
        "warning",
        "{{ $labels.environment }}: stack {{ $labels.subject }} has had drift for at least a day",
        "Show the drift: crew drift {{ $labels.environment }}",
    ),
    Rule(
        "GroundcrewHostsDrifted",
        outcome_expression(Outcome.FINDING, "hosts"),
        "1d",
        "warning",
        "{{ $labels.environment }}: hosts have differed from the deploy {{ $labels.subject }} for at least a day",
        "Show the changes: crew run hosts {{ $labels.environment }} --only {{ $labels.subject }}",
    ),
    Rule(
        "GroundcrewBudgetPassed",
        budget_expression("spent_percent"),
        "1m",
        "critical",
        "{{ $labels.environment }}: {{ $value | humanize }} % of the month's budget is spent",
        "Show the bill: crew cost {{ $labels.environment }}",
    ),
    Rule(
        "GroundcrewForecastPassesBudget",
        budget_expression("forecast_percent"),
        "1m",
        "warning",
        "{{ $labels.environment }}: the forecast for this month is {{ $value | humanize }} % of the budget",
        "Show the bill: crew cost {{ $labels.environment }}",
    ),
    Rule(
        "GroundcrewRunnerSilent",
        f"time() - max by (environment) ({LAST_RUN.name}) > 1.5 * min by (environment) ({PERIOD.name})",
        "15m",
        "critical",
        "{{ $labels.environment }}: no job has run for {{ $value | humanizeDuration }}",
        "Check cron, systemd or the daemon; show the schedule: crew schedule list {{ $labels.environment }}",
    ),
    Rule(
        "GroundcrewNoMetrics",
        f"absent({LAST_RUN.name})",
        "15m",
        "critical",
        "Prometheus receives no groundcrew metrics",
        "Compare metrics.textfile in the environment file with node_exporter's --collector.textfile.directory",
    ),
    # All three times together stay below 15 minutes: the metric's minute, the lag, and the duration.
    Rule(
        "GroundcrewArchiveBehind",
        f"{PITR}_archive_lag_seconds > 300",
        "5m",
        "critical",
        "{{ $labels.instance }}: WAL has waited {{ $value | humanizeDuration }} for the archive",
        SHOW_ARCHIVE,
    ),
    Rule(
        "GroundcrewArchiveDropped",
        f"{PITR}_archive_dropped == 1",
        "1m",
        "critical",
        f"{REPOSITORY} lacks WAL that the server dropped because its queue was full",
        "Make a backup now: systemctl start groundcrew-pitr-backup@full. No moment in the gap can be restored",
    ),
    Rule(
        "GroundcrewRepositoryFailing",
        f"{PITR}_repository_ok == 0",
        "10m",
        "critical",
        f"{REPOSITORY} can't be read, or has a fault",
        SHOW_MEASUREMENT,
    ),
    Rule(
        "GroundcrewPhysicalBackupFailed",
        f"{PITR}_backup_failed == 1",
        "1m",
        "critical",
        f"{REPOSITORY}: the last pgBackRest backup failed",
        "Show why: journalctl --unit='groundcrew-pitr-backup@*'",
    ),
    Rule(
        "GroundcrewPhysicalBackupOverdue",
        f"time() - max by (instance, repository) ({PITR}_last_backup_timestamp_seconds) "
        f"> on (instance) group_left () (1.5 * {PITR}_backup_period_seconds)",
        "5m",
        "critical",
        f"{REPOSITORY}: no pgBackRest backup for {{{{ $value | humanizeDuration }}}}, more than 1.5 times its period",
        "Show the timers on the host: systemctl list-timers 'groundcrew-pitr-*'",
    ),
    Rule(
        "GroundcrewArchiveUnmeasured",
        f"time() - {PITR}_measured_timestamp_seconds > 600",
        "1m",
        "critical",
        "{{ $labels.instance }}: the WAL archive has not been measured for {{ $value | humanizeDuration }}",
        SHOW_MEASUREMENT,
    ),
    Rule(
        "GroundcrewStandbyBehind",
        f"{REPLICATION}_lag_seconds > 300",
        "5m",
        "critical",
        "{{ $labels.instance }}: the standby is {{ $value | humanizeDuration }} behind its primary",
        "Look for a long query on the standby, which delays changes for up to 30 minutes; else: deploys/postgres.py",
    ),
    Rule(
        "GroundcrewStandbyDisconnected",
        f"{REPLICATION}_standby_streaming == 0",
        "5m",
        "critical",
        "{{ $labels.instance }}: the standby {{ $labels.standby }} does not stream",
        "Run deploys/postgres.py, which says why. Until then the primary keeps WAL for it, up to keep_wal",
    ),
    Rule(
        "GroundcrewStandbyLostWal",
        f"{REPLICATION}_standby_wal_lost == 1",
        "1m",
        "critical",
        "{{ $labels.instance }}: WAL that the standby {{ $labels.standby }} needs was removed: keep_wal was reached",
        "Run deploys/postgres.py; if the standby can't follow from the repository, add --data rebuild=HOST",
    ),
    Rule(
        "GroundcrewServerFenced",
        f"{REPLICATION}_fenced == 1",
        "1h",
        "warning",
        "{{ $labels.instance }} is fenced, because another server was promoted, so one standby is missing",
        "Let it join again: deploys/postgres_promote.py --data rejoin=HOST",
    ),
    Rule(
        "GroundcrewReplicationUnmeasured",
        f"time() - {REPLICATION}_measured_timestamp_seconds > 600",
        "1m",
        "critical",
        "{{ $labels.instance }}: replication has not been measured for {{ $value | humanizeDuration }}",
        "Show why: journalctl --unit=groundcrew-replication-metrics",
    ),
)


def rules_yaml(rules: tuple[Rule, ...] = RULES) -> str:
    """Return the rules as YAML text."""
    import jinja2

    return str(jinja2.Template(_TEMPLATE, trim_blocks=True, keep_trailing_newline=True).render(rules=rules))


_TEMPLATE = """\
# Generated by `make monitoring` from jobs/monitoring/rules.py; edit that file instead.
groups:
  - name: groundcrew
    rules:
{% for rule in rules %}
      - alert: {{ rule.name }}
        expr: {{ rule.expression }}
        for: {{ rule.duration }}
        labels: { severity: {{ rule.severity }} }
        annotations:
          summary: {{ rule.summary | tojson }}
          description: {{ rule.description | tojson }}
{% endfor %}
"""
