"""What the outputs of one case say of the arithmetic that made them: bits, the accumulator's bits, subnormal numbers;
and the record of a reduced precision.

Statistics over many elements, for the evidence; no verdict depends on them. Which reduced precision outputs behave like
is `modes`' matter, and what all cases of an operator add up to `measured`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import numerics
from .dtypes import lookup
from .numerics import Expected
from .rules import Accumulation, Composite

__all__ = ["FORMATS", "NOTHING", "UNBOUNDED", "Mode", "Precision", "median", "precision"]

# Formats that hardware puts wider types into, the widest first, with their significant bits. tf32 and float16 differ in
# range alone. Where that does not show, operands are said to be in tf32 and results, which nothing stores as tf32, in float16.
FORMATS = {"float32": 24, "tf32": 11, "float16": 11, "bfloat16": 8}
# Elements that are looked at (evenly spaced).
SAMPLE = 1 << 14
# Stands for an infinite ratio (any error where none is allowed): JSON has no infinity.
UNBOUNDED = 1e300
# An accumulator shows in sums of this many terms, over this many outputs.
TERMS, OUTPUTS = 8, 32
# Mean of the squared rounding error of a sum of K terms, in u² of the accumulator, K and the squares of the results: 1/6
# for partial sums that grow like a random walk (1/9 for those that grow steadily).
WALK = 6.0


@dataclass(frozen=True, slots=True)
class Mode:
    """A reduced precision. ``inputs``: the format that the operands behave as if they were rounded to, or "";
    ``results``: the format that every result is a number of, or ""."""

    inputs: str = ""
    results: str = ""

    def __str__(self) -> str:
        if self.inputs == self.results:
            return f"{self.inputs} inputs and results"
        parts = [f"{self.inputs} inputs" if self.inputs else "", f"{self.results} results" if self.results else ""]
        return " and ".join(filter(None, parts))

    def as_json(self) -> dict[str, str]:
        return {"inputs": self.inputs, "results": self.results}


@dataclass(frozen=True, slots=True)
class Precision:
    """Of one output; None where there is nothing to measure.

    ``median``: the error in units of the bound. ``bits``: -log2 of the root mean square error, relative to each result,
    or, of sums and composites, to the root mean square of all results. ``accumulator``: -log2 of the unit roundoff that
    an accumulator has whose rounding errors are these; ``terms``: how many terms the sums have, there where an
    accumulator could show, whether or not it does. ``flushed``, ``kept``: of the results that are subnormal numbers by
    definition, how many came as zero and how many did not.
    """

    median: float | None = None
    bits: float | None = None
    accumulator: float | None = None
    terms: int | None = None
    flushed: int = 0
    kept: int = 0


NOTHING = Precision()


def precision(
    want: Expected, value: np.ndarray, out: np.ndarray, bound: np.ndarray, *, flush_to_zero: bool = False
) -> Precision:
    """Measure one output. ``value``: float64, flat; ``out``: the same in the type under test; ``bound``: what
    `numerics.allowed` gave with this ``flush_to_zero``."""
    step = max(1, -(-value.size // SAMPLE))
    y, a, t = value[::step], out[::step].astype(np.float64), bound[::step]
    error = np.abs(a - y)
    finite = np.isfinite(error)  # infinities and NaN have no distance
    whole = bool(finite.all())
    if not whole:
        y, a, error, t = y[finite], a[finite], error[finite], t[finite]
    if not len(error):
        return NOTHING
    units = error / t
    if not np.isfinite(units).all():
        units = np.nan_to_num(units, nan=0.0, posinf=UNBOUNDED)
    size = np.abs(y)
    flushed, kept = _subnormal(size, a, t - lookup(want.dtype).smallest if flush_to_zero else t, want.dtype)
    accumulator, terms = None, None
    if isinstance(want.rule, Accumulation) and want.terms is not None and want.dtype != "float64":
        k = np.broadcast_to(want.terms, want.value.shape).reshape(-1)[::step]
        accumulator, terms = _accumulator(want.dtype, y, error, k if whole else k[finite])
    return Precision(median(units), _bits(want, size, error), accumulator, terms, flushed, kept)


def _bits(want: Expected, size: np.ndarray, error: np.ndarray) -> float | None:
    smallest = lookup(want.dtype).smallest
    if isinstance(want.rule, (Accumulation, Composite)):
        # What cancels has few digits by right: the size of all results is the measure of each.
        scale = _mean_square(size)
        square = _mean_square(error) / scale if scale > smallest * smallest else 0.0
    else:
        use = size >= smallest
        if not use.all():
            error, size = error[use], size[use]
        square = _mean_square(error / size)
    return -0.5 * math.log2(square) if 0.0 < square < math.inf else None


def _mean_square(values: np.ndarray) -> float:
    # Not by BLAS, whose threads would spin for a while after it, on the cores of the backends.
    return float(np.square(values).mean()) if len(values) else 0.0


def _accumulator(
    dtype: str, y: np.ndarray, error: np.ndarray, terms: np.ndarray
) -> tuple[float | None, int | None]:
    """The accumulator's bits, and the sums' number of terms.

    Of K terms one after the other in an accumulator with unit roundoff u, the rounding errors have the mean square
    K·u²·mean(y²)/6; what the rounding of the result itself adds (ulp²/12) is taken off first.
    """
    long = terms >= TERMS
    count = int(np.count_nonzero(long))
    if count < OUTPUTS:
        return None, None
    y, error, terms = y[long], error[long], terms[long]
    middle = round(float(median(terms)))
    walk = float(np.mean(terms * y * y))
    last = _mean_square(numerics.ulp(y, dtype)) / 12
    excess = _mean_square(error) - last
    # The mean of the squares of uniform errors is known to ±√(0.8/n) of itself.
    if not excess > 6.0 * math.sqrt(0.8 / count) * last or not walk > 0.0:
        return None, middle
    return -0.5 * math.log2(WALK * excess / walk), middle


def _subnormal(size: np.ndarray, a: np.ndarray, t: np.ndarray, dtype: str) -> tuple[int, int]:
    """How many subnormal results came as zero, and how many otherwise; only where the bound tells the two apart."""
    kind = lookup(dtype)
    tiny = (size > t) & (size < kind.smallest * (1.0 - kind.u))
    if not tiny.any():
        return 0, 0
    zeros = int(np.count_nonzero(a[tiny] == 0))
    return zeros, int(np.count_nonzero(tiny)) - zeros


def median(values: np.ndarray) -> float:
    """Of at least one number. NumPy's own takes ten times as long for the few elements that most outputs have."""
    lower, upper = (len(values) - 1) // 2, len(values) // 2
    parted = np.partition(values, (lower, upper))
    return float(parted[lower] + parted[upper]) / 2
