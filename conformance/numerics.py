"""Accuracy rules and references turned into the error that each output element may have.

Decides how far a value may be off; what follows from a value that is further off is `judge`'s matter. The
rules and the sources of the constants are explained for users in docs/numerics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .dtypes import lookup
from .rules import Accumulation, Composite, Elementary, Requantised, Rounded, Rule

__all__ = [
    "COMPOSITE_SIGMAS",
    "ENSEMBLE_MINIMUM",
    "Ensemble",
    "Expected",
    "allowed",
    "approximates",
    "ensemble",
    "reach",
    "ulp",
]

# Deviations of the Monte Carlo spread that a composite may be off by: docs/adr/0003 has the experiment.
COMPOSITE_SIGMAS = 6.0
# u times a saturating composite's scale that its tail may be off by; the tails of rules.Elementary use their ulps.
COMPOSITE_FLOOR = 4.0
# √K·u_acc·A that a sum may be off by: the rounding errors of K terms add up like a random walk (Higham & Mary,
# "A new approach to probabilistic rounding error analysis", 2019, with λ = 4).
ACCUMULATION_DEVIATIONS = 4.0

# The dot product tests of TOSA's conformance suite (its reference model's verifyDotProduct): the mean square
# within 4 · 0.4 · K' in units of u = 2^-(p+1), the bias for data that are not all of one sign.
ENSEMBLE_MINIMUM = 1000
MEAN_SQUARE_LIMIT = 1.6
BIAS_LIMIT = math.sqrt(10 * MEAN_SQUARE_LIMIT)
# Outputs that the ensemble tests look at: enough to see a bias of 3 % of a unit, few enough to cost nothing.
ENSEMBLE_MAXIMUM = 1 << 14

_EXPONENT = np.uint64(0x7FF0000000000000)  # of a float64


@dataclass(frozen=True, slots=True)
class Expected:
    """What the oracle knows of one output.

    ``dtype``: the output's declared ONNX type name. ``value``: float64 where the rule approximates and the type
    is a float, and otherwise in the declared NumPy type. For `Accumulation` ``magnitude`` is A (float64, shape of
    value) and ``terms`` is K (broadcastable to it). For `Composite` ``spread`` is σ as `montecarlo.spread` gives
    it. For `Requantised` ``low`` and ``high`` are the inclusive interval, in a type that holds the value's.
    """

    dtype: str
    rule: Rule
    value: np.ndarray
    magnitude: np.ndarray | None = None
    terms: np.ndarray | None = None
    spread: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Errors of many outputs together, each in units of its limit: above 1 is too much.

    ``mean_square`` sees a variance that no rounding explains, ``bias`` errors that lean to one side; ``outputs``
    is how many distinct outputs were looked at.
    """

    mean_square: float
    bias: float
    outputs: int


def approximates(expected: Expected) -> bool:
    """Whether the output is a float (or complex) that may be off: otherwise equality, or an interval, decides."""
    return lookup(expected.dtype).kind in ("float", "complex") and isinstance(
        expected.rule, (Rounded, Elementary, Accumulation, Composite)
    )


def _format(dtype: str) -> str:
    """The float type whose constants hold: a complex number's is that of its components."""
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


def ulp(y: np.ndarray, dtype: str) -> np.ndarray:
    """The unit in the last place of ``dtype`` at each y: max(2^⌊log2|y|⌋, smallest normal) · 2^-p.

    ``y``: float64 of any shape. Returns float64 of that shape; infinite where y is not finite.
    """
    kind = lookup(_format(dtype))
    y = np.ascontiguousarray(y, dtype=np.float64).reshape(np.shape(y))
    # Clears sign and fraction: 2^⌊log2|y|⌋. NumPy makes a scalar of an array of rank 0, hence asarray, here and below.
    power: np.ndarray = np.asarray(y.view(np.uint64) & _EXPONENT).view(np.float64)
    np.maximum(power, kind.smallest, out=power)
    power *= 2.0**-kind.p
    return power


def allowed(expected: Expected, *, flush_to_zero: bool = False) -> np.ndarray:
    """The largest absolute error that each element may have, at least half an ulp for every rule but the exact.

    Returns float64 in the shape of ``expected.value``: 0 where the element must be equal, inf where it is free.
    Not-finite references get 0 (the judge asks for the same special value), unless the spread says that they
    are free. For float64 the bound is doubled, since the reference rounds as well. ``flush_to_zero`` adds one
    smallest normal number: what a backend that treats subnormals as zero is off by. Raises ``ValueError`` where
    the rule needs a field of ``expected`` that is None.
    """
    rule = expected.rule
    shape = expected.value.shape
    if not approximates(expected):
        if isinstance(rule, Requantised):
            low, high, value = (_real(a) for a in (expected.low, expected.high, expected.value))
            return np.asarray(np.maximum(high - value, value - low))
        free = np.zeros(shape)
        if expected.spread is not None:
            free[np.isinf(expected.spread)] = np.inf
        return free
    kind = lookup(_format(expected.dtype))
    y = np.asarray(
        np.abs(expected.value)
    )  # of a complex number: each component may be off relative to the modulus
    with np.errstate(invalid="ignore", over="ignore"):
        if isinstance(rule, (Rounded, Elementary)):
            count = rule.narrow if kind.p < lookup("float32").p else rule.ulps
            bound = ulp(y, expected.dtype)
            # A subnormal result may be rounded twice: one smallest subnormal.
            bound *= count
            np.maximum(bound, kind.smallest * 2.0**-kind.p, out=bound)
            if isinstance(rule, Elementary) and rule.scale:
                np.maximum(bound, count * kind.u * rule.scale, out=bound)
        else:
            # 2u·|y|, and below the normal numbers one ulp.
            bound = np.asarray(np.maximum(y, kind.smallest))
            bound *= 2.0 * kind.u
            bound += _accumulated(expected) if isinstance(rule, Accumulation) else _composed(expected)
    if expected.dtype in ("float64", "complex128"):
        bound *= 2.0
    if flush_to_zero:
        bound += kind.smallest
    if not np.all(np.isfinite(y)):
        bound[~np.isfinite(y)] = 0.0
    if isinstance(rule, Accumulation):
        assert expected.magnitude is not None
        # Where A is zero, so is the sum; unless its terms are too small for the format that A was computed in.
        bound[np.broadcast_to(expected.magnitude == 0, shape) & (y == 0)] = 0.0
    if isinstance(rule, Composite):
        assert expected.spread is not None
        bound[np.isinf(expected.spread)] = np.inf
    return bound


def _real(array: np.ndarray | None) -> np.ndarray:
    if array is None:
        raise ValueError("a requantised output needs low and high")
    return array.astype(np.float64)


def _accumulated(expected: Expected) -> np.ndarray:
    """4·√K·u_acc·max(A, smallest normal); infinite where A is not a number though y is one, or overflows the accumulator."""
    if expected.magnitude is None or expected.terms is None:
        raise ValueError("an accumulation needs magnitude and terms")
    accumulator = lookup(lookup(_format(expected.dtype)).accumulator)
    # Products that are subnormal are rounded absolutely: as if A were the smallest normal number.
    size = np.maximum(expected.magnitude, accumulator.smallest)
    bound: np.ndarray = np.asarray(np.sqrt(np.maximum(expected.terms, 1.0)) * size)
    bound *= ACCUMULATION_DEVIATIONS * accumulator.u
    beyond = ~(expected.magnitude <= accumulator.largest)
    if beyond.any():
        bound[np.broadcast_to(beyond, bound.shape)] = np.inf
    return bound


def _composed(expected: Expected) -> np.ndarray:
    """c·σ, and a saturating function's floor."""
    if expected.spread is None:
        raise ValueError("a composite needs a spread")
    assert isinstance(expected.rule, Composite)
    floor = COMPOSITE_FLOOR * lookup(_format(expected.dtype)).u * expected.rule.scale
    bound: np.ndarray = np.asarray(expected.spread * COMPOSITE_SIGMAS)
    if floor:
        np.maximum(bound, floor, out=bound)
    return bound


def reach(expected: Expected) -> tuple[float, float]:
    """The range that no result may leave: the rule's own, widened by what rounding may add at its ends.

    (-inf, inf) for a function without one.
    """
    rule = expected.rule
    if not isinstance(rule, (Elementary, Composite)) or not approximates(expected):
        return -np.inf, np.inf
    kind = lookup(_format(expected.dtype))
    count = COMPOSITE_FLOOR
    if isinstance(rule, Elementary):
        count = rule.narrow if kind.p < lookup("float32").p else rule.ulps

    def slack(end: float) -> float:
        return 2.0 * count * max(kind.u * max(abs(end), rule.scale), kind.smallest * 2.0**-kind.p)

    low = rule.low - slack(rule.low) if math.isfinite(rule.low) else rule.low
    high = rule.high + slack(rule.high) if math.isfinite(rule.high) else rule.high
    return low, high


def ensemble(expected: Expected, actual: np.ndarray) -> Ensemble | None:
    """The tests over many outputs of an accumulation; None where there are fewer than 1000 distinct ones.

    ``actual``: float64, shape of the reference. With e = (actual - y) / U, U = max(A·u, smallest normal) and
    K' = ⌈K / 2^((p_acc - p)/2)⌉, the mean of e²/K' is held against 1.6 and the sum of e/√K' over T outputs
    against √(10·1.6·T), the latter over outputs of terms with both signs (|y| < A/2; 0 where these are fewer than
    1000). Outputs that share their reference share their rounding errors and count once.
    """
    rule, value = expected.rule, expected.value
    if not isinstance(rule, Accumulation) or not approximates(expected) or value.size < ENSEMBLE_MINIMUM:
        return None
    if value.dtype.kind == "c" or expected.magnitude is None or expected.terms is None:
        return None
    kind = lookup(expected.dtype)
    step = max(1, -(-value.size // ENSEMBLE_MAXIMUM))
    step += 1 - step % 2  # odd, so that it does not fall in with a power of two in the shape
    y = value.reshape(-1)[::step]
    _, first = np.unique(y, return_index=True)
    a = np.broadcast_to(expected.magnitude, value.shape).reshape(-1)[::step][first]
    k = np.broadcast_to(expected.terms, value.shape).reshape(-1)[::step][first]
    y, out = y[first], actual.reshape(-1)[::step][first]
    use = np.isfinite(y) & np.isfinite(out) & np.isfinite(a) & (a > 0)
    count = int(np.count_nonzero(use))
    if count < ENSEMBLE_MINIMUM:
        return None
    y, out, a, k = y[use], out[use], a[use], k[use]
    gain = lookup(kind.accumulator).p - kind.p
    terms = np.ceil(np.maximum(k, 1.0) / 2.0 ** (gain / 2))
    e = (out - y) / np.maximum(a * kind.u, kind.smallest) / np.sqrt(terms)
    if kind.name == "float64":
        e *= 0.5  # the reference rounds as well
    mixed = e[np.abs(y) < a / 2]  # terms of one sign: rounding errors lean to one side by right
    bias = (
        abs(float(np.sum(mixed))) / (BIAS_LIMIT * math.sqrt(len(mixed))) if len(mixed) >= ENSEMBLE_MINIMUM else 0.0
    )
    return Ensemble(mean_square=float(np.mean(e * e)) / MEAN_SQUARE_LIMIT, bias=bias, outputs=count)
