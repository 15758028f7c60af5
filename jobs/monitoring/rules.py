"""When Prometheus should call somebody."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.run.job import Outcome
from jobs.run.metrics import CODES, FIGURE, LAST_RUN, LAST_SUCCESS, OUTCOME, PERIOD

RUN = "{{ $labels.environment }}: {{ $labels.crew_job }} of {{ $labels.subject }}"
SHOW_RUNS = "crew runs {{ $labels.environment }} {{ $labels.crew_job }} {{ $labels.subject }}"


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert: when it is so, for how long, how bad that is, and what is said."""

    name: str
    expression: str
    lasting: str
    severity: str
    summary: str
    look: str


def overdue_expression(job: str) -> str:
    """No run of a job that did not fail within one and a half of its periods."""
    labels = f'{{crew_job="{job}"}}'
    return f"time() - {LAST_SUCCESS.name}{labels} > 1.5 * {PERIOD.name}{labels}"


def outcome_expression(outcome: Outcome, job: str = "") -> str:
    """The last run ended so."""
    labels = f'{{crew_job="{job}"}}' if job else ""
    return f"{OUTCOME.name}{labels} == {CODES[outcome]}"


def budget_expression(figure: str) -> str:
    """A figure of the bill has reached the budget."""
    return f'{FIGURE.name}{{crew_job="cost",figure="{figure}"}} >= 100'


RULES = (
    Rule(
        "GroundcrewBackupOverdue",
        overdue_expression("backup"),
        "5m",
        "critical",
        f"{RUN}: no backup for {{{{ $value | humanizeDuration }}}}, one and a half times its period",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewVerificationOverdue",
        overdue_expression("verify"),
        "5m",
        "warning",
        f"{RUN}: no backup was verified for {{{{ $value | humanizeDuration }}}}",
        SHOW_RUNS,
    ),
    Rule("GroundcrewRunFailing", outcome_expression(Outcome.FAILED), "1m", "critical", f"{RUN} is failing", SHOW_RUNS),
    Rule(
        "GroundcrewVerificationFailed",
        outcome_expression(Outcome.FINDING, "verify"),
        "1m",
        "critical",
        f"{RUN}: a backup does not hold what it promises",
        SHOW_RUNS,
    ),
    Rule(
        "GroundcrewDriftOpen",
        outcome_expression(Outcome.FINDING, "drift"),
        "1d",
        "warning",
        "{{ $labels.environment }}: stack {{ $labels.subject }} has drifted for a day or more",
        "crew drift {{ $labels.environment }}",
    ),
    Rule(
        "GroundcrewBudgetPassed",
        budget_expression("spent_percent"),
        "1m",
        "critical",
        "{{ $labels.environment }}: {{ $value | humanize }} % of the month's budget is spent",
        "crew cost {{ $labels.environment }}",
    ),
    Rule(
        "GroundcrewForecastPassesBudget",
        budget_expression("forecast_percent"),
        "1m",
        "warning",
        "{{ $labels.environment }}: the month is forecast to cost {{ $value | humanize }} % of its budget",
        "crew cost {{ $labels.environment }}",
    ),
    Rule(
        "GroundcrewRunnerSilent",
        f"time() - max by (environment) ({LAST_RUN.name}) > 1.5 * min by (environment) ({PERIOD.name})",
        "15m",
        "critical",
        "{{ $labels.environment }}: nothing has run for {{ $value | humanizeDuration }}",
        "crew schedule list {{ $labels.environment }}",
    ),
    Rule(
        "GroundcrewNoMetrics",
        f"absent({LAST_RUN.name})",
        "15m",
        "critical",
        "No metrics of groundcrew arrive: does node_exporter read the textfile?",
        "metrics.textfile in the environment's file, --collector.textfile.directory of node_exporter",
    ),
)


def rules_yaml(rules: tuple[Rule, ...] = RULES) -> str:
    """The rules as Prometheus reads them."""
    import jinja2

    return str(jinja2.Template(_TEMPLATE, trim_blocks=True, keep_trailing_newline=True).render(rules=rules))


_TEMPLATE = """\
# Written by `make monitoring` from jobs/monitoring/rules.py; change it there.
groups:
  - name: groundcrew
    rules:
{% for rule in rules %}
      - alert: {{ rule.name }}
        expr: {{ rule.expression }}
        for: {{ rule.lasting }}
        labels: { severity: {{ rule.severity }} }
        annotations:
          summary: {{ rule.summary | tojson }}
          look: {{ rule.look | tojson }}
{% endfor %}
"""
