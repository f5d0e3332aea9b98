"""How errors lie against their bounds: counts on a logarithmic axis, and the bars that show them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HEIGHT", "TICKS", "WIDTH", "Bar", "Distribution", "Tick", "distribution"]

LOW, HIGH, PER_DECADE = -5, 5, 4  # the axis runs from 1e-5 to 1e5 bounds, four bars a decade
WIDTH, HEIGHT = 440, 44  # of the drawing, in its own units
_EXACT = 28  # left margin: the bar for errors of exactly 0, which no logarithm has
_STEP = (WIDTH - _EXACT) / ((HIGH - LOW) * PER_DECADE)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the drawing; ``beyond``: its errors are outside the bound."""

    x: float
    y: float
    width: float
    height: float
    count: int
    beyond: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis, at 10 to the power of ``exponent`` bounds."""

    x: float
    exponent: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """The largest error of each case of a family, in units of its bound (1 is the bound)."""

    family: str
    count: int
    beyond: int
    zero: int
    median: float
    largest: float
    bars: tuple[Bar, ...]


def _position(exponent: float) -> float:
    return round(_EXACT + (exponent - LOW) * PER_DECADE * _STEP, 2)


TICKS = tuple(Tick(_position(exponent), exponent) for exponent in (*range(LOW + 1, 0, 2), 0, *range(2, HIGH, 2)))


def _bin(units: float) -> int:
    """The position of an error above 0 among the bars; the last one takes infinities and NaN."""
    if not math.isfinite(units):
        return (HIGH - LOW) * PER_DECADE - 1
    place = math.floor((math.log10(units) - LOW) * PER_DECADE)
    bound = -LOW * PER_DECADE  # the first bar beyond the bound
    # An error of exactly 1 is within the bound, and rounding in log10 may carry no error across it.
    place = min(place, bound - 1) if units <= 1 else max(place, bound)
    return min(max(place, 0), (HIGH - LOW) * PER_DECADE - 1)


def distribution(family: str, errors: Sequence[float]) -> Distribution:
    """The distribution of at least one error; bars are as high as the square root of their count.

    The square root keeps a single outlier visible beside a thousand ordinary cases.
    """
    counts: dict[int, int] = {}
    zero = 0
    for units in errors:
        if units == 0:
            zero += 1
        else:
            place = _bin(units)
            counts[place] = counts.get(place, 0) + 1
    top = math.sqrt(max([zero, *counts.values()]))

    def bar(x: float, width: float, count: int, beyond: bool) -> Bar:
        height = round(max(2.0, (HEIGHT - 2) * math.sqrt(count) / top), 2)
        return Bar(round(x, 2), round(HEIGHT - height, 2), round(width, 2), height, count, beyond)

    bars = [bar(0, _EXACT - 12, zero, False)] if zero else []
    for place, count in sorted(counts.items()):
        bars.append(bar(_EXACT + place * _STEP, _STEP - 1, count, place >= -LOW * PER_DECADE))
    ordered = [math.inf if math.isnan(units) else units for units in errors]
    beyond = sum(1 for units in ordered if units > 1)
    return Distribution(family, len(ordered), beyond, zero, statistics.median(ordered), max(ordered), tuple(bars))
