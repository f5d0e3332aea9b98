"""Counts of verdicts that add up, and figures that never flatter: shares are exact and rounded down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ..certificate import Summary
from ..certificate import percent as _percent
from ..spec import Verdict

__all__ = ["SEVERITY", "SYMBOLS", "Tally", "figure", "percent", "weighted"]

# From the gravest to the mildest: what stands for a group of cases is its gravest verdict. What takes the
# machine down comes before wrong results, and what was declined comes last: it is honest.
SEVERITY = (
    Verdict.CRASH,
    Verdict.OUT_OF_MEMORY,
    Verdict.TIMEOUT,
    Verdict.WRONG,
    Verdict.FLAKY,
    Verdict.INACCURATE,
    Verdict.ERROR,
    Verdict.NOT_RUN,
    Verdict.UNSUPPORTED,
    Verdict.PASS,
)

# Colour is never the only carrier of a verdict. Only characters that every system font has.
SYMBOLS: dict[Verdict, str] = {
    Verdict.PASS: "✓",
    Verdict.INACCURATE: "≈",
    Verdict.WRONG: "≠",
    Verdict.UNSUPPORTED: "○",
    Verdict.ERROR: "!",
    Verdict.CRASH: "†",
    Verdict.TIMEOUT: "∞",
    Verdict.OUT_OF_MEMORY: "■",
    Verdict.FLAKY: "±",
    Verdict.NOT_RUN: "?",
}


@dataclass(frozen=True, slots=True)
class Tally:
    """How many cases came to each verdict; ``sum(tallies, Tally())`` works."""

    counts: Mapping[Verdict, int] = field(default_factory=dict)

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Tally:
        counts: dict[Verdict, int] = {}
        for verdict in verdicts:
            counts[verdict] = counts.get(verdict, 0) + 1
        return cls(counts)

    def __add__(self, other: Tally) -> Tally:
        return Tally({v: self[v] + other[v] for v in SEVERITY if self[v] or other[v]})

    def __getitem__(self, verdict: Verdict) -> int:
        return self.counts.get(verdict, 0)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def passed(self) -> int:
        return self[Verdict.PASS]

    @property
    def failed(self) -> int:
        """Every case that did not pass, for whatever reason."""
        return self.total - self.passed

    @property
    def clean(self) -> bool:
        """Something was asked, and all of it passed."""
        return self.total > 0 and self.failed == 0

    @property
    def gravest(self) -> Verdict:
        """The gravest verdict among the cases; ``NOT_RUN`` where there are none."""
        return next((v for v in SEVERITY if self[v]), Verdict.NOT_RUN)

    @property
    def share(self) -> str:
        """The share that passed, for people: see `percent`."""
        return percent(self.passed, self.total)


def percent(part: int | Fraction, whole: int | Fraction = 1) -> str:
    """``part / whole`` in per cent with one decimal, rounded down; "100 %" only where it is exact.

    A share that is above zero never reads "0 %". An empty whole gives a dash: nothing was asked.
    """
    if whole == 0:
        return "—"
    share = Fraction(part) / Fraction(whole)
    text = _percent(share, 1)
    return "< 0.1 %" if share > 0 and text == "0 %" else text


def weighted(summary: Summary) -> str:
    """The weighted coverage, rounded down; a dash without models: they are what gives operators their weight."""
    return _percent(summary.weighted_coverage) if summary.models else "—"


def figure(value: float | None) -> str:
    """A measured number with three significant digits; more where it would otherwise read as exactly 1.

    1 is the bound: 1.0004 is outside and 0.9996 within, and both must be seen to be.
    """
    if value is None:
        return "—"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    text = f"{value:.3g}"
    digits = 3
    while float(text) == 1.0 and digits < 17:
        digits += 1
        text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        return f"{mantissa}e{int(exponent)}"
    return text
