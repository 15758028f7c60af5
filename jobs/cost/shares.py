"""Compute what each stack spent, what has no tag, and how much of the commitments was used. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from jobs.cost.bill import Commitments, TaggedUsage

UNTAGGED_SERVICES = 3


@dataclass(frozen=True, slots=True)
class StackSpending:
    """This month's usage of a stack, and its budget."""

    name: str
    spent: Decimal
    budget: Decimal


@dataclass(frozen=True, slots=True)
class Untagged:
    """This month's usage without a tag, and the services with the most of it."""

    tag: str
    amount: Decimal
    percent: Decimal  # of all usage
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnerSpending:
    """This month's usage with one value of the owner tag; the name is empty for resources without the tag."""

    name: str
    spent: Decimal


def spending_of_stacks(
    tagged: Iterable[TaggedUsage], tag: str, budgets: Mapping[str, float]
) -> tuple[StackSpending, ...]:
    """Return each stack with a budget."""
    spent = _by_value(tagged, tag)
    return tuple(
        StackSpending(name, spent.get(name, Decimal()), Decimal(str(budget))) for name, budget in budgets.items()
    )


def spending_of_owners(tagged: Iterable[TaggedUsage], tag: str) -> tuple[OwnerSpending, ...]:
    """Return the spending by owner, most first."""
    owners = [OwnerSpending(name, spent) for name, spent in _by_value(tagged, tag).items() if spent]
    return tuple(sorted(owners, key=lambda owner: (-owner.spent, owner.name)))


def untagged_usage(tagged: Iterable[TaggedUsage], tag: str) -> Untagged | None:
    """Return the usage without a tag; None if there is none."""
    services: dict[str, Decimal] = defaultdict(Decimal)
    total = Decimal()
    for each in tagged:
        if each.tag == tag:
            total += each.amount
            services[each.service] += Decimal() if each.value else each.amount
    amount = sum(services.values(), Decimal())
    if amount <= 0 or total <= 0:
        return None
    most = sorted((name for name in services if services[name] > 0), key=lambda name: (-services[name], name))
    return Untagged(tag, amount, 100 * amount / total, tuple(most[:UNTAGGED_SERVICES]))


def used_percent(commitments: Commitments) -> Decimal:
    """Return how much of the commitments was used."""
    return 100 * (commitments.total - commitments.unused) / commitments.total


def _by_value(tagged: Iterable[TaggedUsage], tag: str) -> dict[str, Decimal]:
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for each in tagged:
        if each.tag == tag:
            spent[each.value] += each.amount
    return dict(spent)
