"""The grade's criteria as a reader takes them in: what comes first, and what each figure reads as."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ..certificate import TIERS, Certificate, Criterion, percent

__all__ = ["CriterionView", "TierView", "tier_views"]


@dataclass(frozen=True, slots=True)
class CriterionView:
    """A line of the table. ``required`` is None where the tier only reports the figure. ``first``: the first that
    fails on the way up. ``short``: the suite itself has less than is asked. ``items``: what falls short."""

    tier: int
    name: str
    required: str | None
    reached: str
    met: bool | None
    short: bool
    available: int | None
    first: bool
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TierView:
    """The criteria of a tier, the failing ones first. ``met`` and ``asked`` count those that gate."""

    tier: int
    criteria: tuple[CriterionView, ...]
    met: int
    asked: int


def _text(value: int | Fraction | None, ceiling: bool = False) -> str:
    """A count, or a share rounded against the backend: down for what should be high, up for what should be low."""
    if value is None:
        return "—"
    if isinstance(value, Fraction):
        return percent(Fraction(math.ceil(value * 10_000), 10_000) if ceiling else value)
    return f"{value:,}"


def _view(criterion: Criterion, first: bool) -> CriterionView:
    share = isinstance(criterion.required, Fraction)
    reached = criterion.reached
    if share and isinstance(reached, int):
        reached = Fraction(reached)
    required = None
    if criterion.required is not None:
        required = f"{'≤' if criterion.at_most else '≥'} {_text(criterion.required)}"
        if criterion.at_most and criterion.required == 0:
            required = "0"
    return CriterionView(
        tier=criterion.tier,
        name=criterion.name,
        required=required,
        reached=_text(reached, criterion.at_most),
        met=criterion.met,
        short=criterion.short,
        available=criterion.available,
        first=first,
        items=criterion.items,
    )


def tier_views(certificate: Certificate) -> tuple[tuple[TierView, ...], CriterionView | None]:
    """The tiers with the first failing criterion's on top, and that criterion.

    The order is: the tier of the first failing criterion, those above it, then those below it from the highest
    (they are met). Within a tier: failing, met, reported only; else as the grade has them.
    """
    failing = next((c for tier in TIERS for c in certificate.of_tier(tier) if c.met is False), None)
    order = list(TIERS)
    if failing is not None:
        order = [t for t in TIERS if t >= failing.tier] + [t for t in reversed(TIERS) if t < failing.tier]
    else:
        order.reverse()
    views, first = [], None
    for tier in order:
        criteria = sorted(certificate.of_tier(tier), key=lambda c: (c.met is not False, c.met is None))
        rows = tuple(_view(c, c is failing) for c in criteria)
        first = next((row for row in rows if row.first), first)
        asked = [row for row in rows if row.met is not None]
        if rows:
            views.append(TierView(tier, rows, sum(1 for row in asked if row.met), len(asked)))
    return tuple(views), first
