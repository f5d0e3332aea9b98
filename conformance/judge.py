"""What a backend returned, held against what the oracle expects: a verdict with its measured error.

Decides pass, inaccurate or wrong, in strict phases: how many outputs, their types, their shapes, and only then
their values. How far a value may be off is `numerics`' matter. Nothing that a backend returns makes it raise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import numerics
from .dtypes import DType, lookup
from .numerics import Expected
from .precision import NOTHING, UNBOUNDED, Precision, median, precision
from .rules import Accumulation, Exact, OrderFree, Random, Requantised
from .spec import Verdict

__all__ = ["Judgement", "combine", "judge"]

# Elements that are compared at a time, so that the temporaries stay in the cache.
CHUNK = 1 << 15

_SEVERITY = {verdict: rank for rank, verdict in enumerate((Verdict.PASS, Verdict.INACCURATE, Verdict.WRONG))}


@dataclass(frozen=True, slots=True)
class Judgement:
    """``message``: empty for a pass, else one line. ``error``: what was measured, as results.jsonl has it; empty
    where nothing was compared."""

    verdict: Verdict
    message: str = ""
    error: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Comparison:
    """What one output's values came to. ``bad``: flat mask or None; ``special``: some bad element is NaN or
    infinite where it must not be, or the other way round. ``units`` is None where there is nothing to measure."""

    elements: int
    bad: int = 0
    worst: int = 0  # flat index
    special: bool = False
    units: float | None = None
    ulp: float | None = None
    precision: Precision = NOTHING


def judge(
    expected: Sequence[Expected],
    actual: Sequence[object],
    inputs: Sequence[np.ndarray | None],
    attributes: Mapping[str, Any],
    *,
    flush_to_zero: bool = False,
    lengths: Sequence[int | None] = (),
) -> Judgement:
    """Hold the outputs of one run against the oracle's.

    A map, or a sequence of maps with the same keys, is taken for two outputs: the ascending keys and the values that
    belong to them, a row for each map. ``inputs`` and ``attributes`` are the node's, for the rules that need them
    (`OrderFree`, `Random`).
    ``flush_to_zero``: the backend declares that it treats subnormal numbers as zero. ``lengths``: where there are
    sequences, for each output how many tensors its sequence has, or None for a tensor; ``expected`` then has the
    tensors of all in order. Returns the worst output's
    judgement: ``wrong`` for another count, type or shape, for NaN or infinity that should not be there (or should
    and is not) and for an exact result that differs; ``inaccurate`` for a value outside its bound.
    """
    if not isinstance(actual, (list, tuple)):
        return Judgement(Verdict.WRONG, f"returned {_type(actual)} instead of a list of arrays")
    if lengths:
        return _with_sequences(expected, actual, lengths, inputs, attributes, flush_to_zero)
    actual = [part for got in actual for part in _columns(got)]
    if len(actual) != len(expected):
        return Judgement(Verdict.WRONG, f"returned {_plural(len(actual), 'output')} instead of {len(expected)}")
    arrays: list[np.ndarray] = []
    for position, (want, got) in enumerate(zip(expected, actual, strict=True)):
        array = _array(got)
        problem = _unlike(want, got, array)
        if array is None or problem:
            return Judgement(Verdict.WRONG, f"output {position}: {problem}", {"output": position})
        arrays.append(array)
    judgements = [
        _values(position, want, array, flush_to_zero)
        for position, (want, array) in enumerate(zip(expected, arrays, strict=True))
        if not isinstance(want.rule, (OrderFree, Random))
    ]
    for rule in {id(e.rule): e.rule for e in expected}.values():
        if isinstance(rule, OrderFree):
            judgements.append(_order_free(rule, expected, arrays, inputs, attributes))
        elif isinstance(rule, Random):
            judgements.append(_random(rule, arrays, inputs, attributes, flush_to_zero))
    return max(judgements, key=_rank, default=Judgement(Verdict.PASS))


def _with_sequences(
    expected: Sequence[Expected],
    actual: Sequence[object],
    lengths: Sequence[int | None],
    inputs: Sequence[np.ndarray | None],
    attributes: Mapping[str, Any],
    flush_to_zero: bool,
) -> Judgement:
    """Each output by itself, the tensors of a sequence as if they were outputs."""
    if len(actual) != len(lengths):
        return Judgement(Verdict.WRONG, f"returned {_plural(len(actual), 'output')} instead of {len(lengths)}")
    judgements = []
    start = 0
    for position, (length, got) in enumerate(zip(lengths, actual, strict=True)):
        wanted = expected[start : start + (1 if length is None else length)]
        start += len(wanted)
        items: Sequence[object] = [got]
        problem = ""
        if length is not None:
            if not isinstance(got, (list, tuple)):
                problem = f"is {_type(got)} instead of a sequence of {_plural(length, 'tensor')}"
            elif len(got) != length:
                problem = f"is a sequence of {_plural(len(got), 'tensor')} instead of {length}"
            else:
                items = got
        if problem:
            judgements.append(Judgement(Verdict.WRONG, f"output {position}: {problem}", {"output": position}))
            continue
        found = judge(wanted, items, inputs, attributes, flush_to_zero=flush_to_zero)
        name = f"output {position}" if length is None else rf"output {position}[\1]"
        message = re.sub(r"^output (\d+)", name, found.message)
        judgements.append(Judgement(found.verdict, message, found.error | {"output": position}))
    return max(judgements, key=_rank, default=Judgement(Verdict.PASS))


def combine(judgements: Sequence[Judgement]) -> Judgement:
    """One judgement for several input sets of a prepared model: the worst one, naming its set."""
    if not judgements:
        return Judgement(Verdict.PASS)
    worst = max(judgements, key=_rank)
    if len(judgements) == 1 or worst.verdict is Verdict.PASS:
        return worst
    position = next(i for i, j in enumerate(judgements) if j is worst)
    return Judgement(worst.verdict, f"input set {position}: {worst.message}", worst.error)


def _rank(judgement: Judgement) -> tuple[int, float, float]:
    """Worse is greater: by verdict, then by the error in units of the bound; measured before unmeasured."""
    units, share = judgement.error.get("units"), judgement.error.get("share")
    return (
        _SEVERITY.get(judgement.verdict, len(_SEVERITY)),
        -1.0 if units is None else units,
        -1.0 if share is None else share,
    )


def _columns(got: object) -> list[object]:
    """A map or a sequence of maps as keys and values; anything else as it is."""
    maps: list[Any] = got if isinstance(got, list) else [got]
    if not maps or not all(isinstance(m, dict) and m.keys() == maps[0].keys() for m in maps):
        return [got]
    try:
        keys = sorted(maps[0])
        rows = [[m[key] for key in keys] for m in maps]
        text = any(isinstance(key, (str, bytes)) for key in keys)
        labels = np.array(keys, dtype=object if text else np.int64)
        values = np.array(rows if isinstance(got, list) else rows[0])
    except (TypeError, ValueError, OverflowError):
        return [got]
    if values.dtype == np.float64 and _fits(values):
        values = values.astype(np.float32)  # Python has one float; ONNX's maps have either
    return [labels, values]


def _fits(values: np.ndarray) -> bool:
    """Whether float32 has all these float64 values."""
    with np.errstate(over="ignore"):
        return np.array_equal(values.astype(np.float32).astype(np.float64), values, equal_nan=True)


# Phases one to three: is it an array, of the right type and shape?


def _array(got: object) -> np.ndarray | None:
    """A plain array in the machine's byte order, or None. A NumPy scalar is an array of rank 0."""
    if not isinstance(got, (np.ndarray, np.generic)) or isinstance(got, np.ma.MaskedArray):
        return None
    array = np.asarray(got)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _unlike(want: Expected, got: object, array: np.ndarray | None) -> str:
    """What keeps the values from being compared; empty where nothing does."""
    if array is None:
        return f"is {_type(got)} instead of an array of {want.dtype}"
    kind = lookup(want.dtype)
    same = array.dtype.kind in "OUST" if kind.kind == "string" else array.dtype == kind.numpy
    if not same:
        return f"has dtype {array.dtype} instead of {want.dtype}"
    if array.shape != want.value.shape:
        return f"has shape {list(array.shape)} instead of {list(want.value.shape)}"
    return ""


def _type(got: object) -> str:
    return (
        "None" if got is None else f"a {type(got).__module__}.{type(got).__qualname__}".replace(" builtins.", " ")
    )


# Phase four: values.


def _values(position: int, want: Expected, got: np.ndarray, flush_to_zero: bool) -> Judgement:
    kind = lookup(want.dtype)
    if kind.kind == "string":
        value, got = _texts(want.value), _texts(got)
        return _verdict(position, want, value, got, None, _equality(np.asarray(value != got), got.size))
    if numerics.approximates(want):
        bound = numerics.allowed(want, flush_to_zero=flush_to_zero)
        if kind.kind == "complex":
            want, got, bound = _components(want, got, bound)
        comparison = _approximate(want, got, bound, flush_to_zero)
        verdict = _verdict(position, want, want.value, got, bound, comparison)
        return verdict if comparison.bad else _together(position, want, got, verdict)
    if isinstance(want.rule, Requantised):
        return _requantised(position, want, got)
    signed_zero = isinstance(want.rule, Exact) and want.rule.signed_zero
    differs = _differs(want.value, got, kind, signed_zero, flush_to_zero)
    if differs is not None and want.spread is not None:
        differs &= ~np.isinf(want.spread)  # rounding decides there: an index of the largest of two near-equals
    return _verdict(position, want, want.value, got, None, _equality(differs, got.size))


def _texts(array: np.ndarray) -> np.ndarray:
    """The same strings as Python ``str``; bytes are UTF-8."""
    out = np.empty(array.size, dtype=object)
    out[:] = [
        x.decode("utf-8", "surrogateescape") if isinstance(x, bytes) else str(x)
        for x in array.reshape(-1).tolist()
    ]
    return out.reshape(array.shape)


def _components(want: Expected, got: np.ndarray, bound: np.ndarray) -> tuple[Expected, np.ndarray, np.ndarray]:
    """Complex numbers as pairs of floats, with a last axis of 2."""
    name = {"complex64": "float32", "complex128": "float64"}[want.dtype]
    value = np.ascontiguousarray(want.value, dtype=np.complex128).reshape(want.value.shape)
    pairs = value.view(np.float64).reshape(*value.shape, 2)
    parts = np.ascontiguousarray(got).reshape(got.shape).view(lookup(name).numpy).reshape(*got.shape, 2)
    return Expected(name, want.rule, pairs), parts, np.repeat(bound[..., None], 2, axis=-1)


def _differs(
    value: np.ndarray, got: np.ndarray, kind: DType, signed_zero: bool, flush_to_zero: bool
) -> np.ndarray | None:
    """Where two arrays of one type differ; None where they are the same bit by bit."""
    if got.dtype == value.dtype and _same_bits(value, got):
        return None
    if kind.kind not in ("float", "complex"):
        return np.asarray(value != got)
    if kind.kind == "float" and kind.p < lookup("float32").p:
        value, got = value.astype(np.float32), got.astype(np.float32)
    with np.errstate(invalid="ignore"):
        differs: np.ndarray = (value != got) & ~((value != value) & (got != got))
        if signed_zero and kind.kind == "float":
            differs |= (value == 0) & (got == 0) & (np.signbit(value) != np.signbit(got))
        if flush_to_zero and kind.kind == "float":
            differs &= ~((got == 0) & (np.abs(value) < kind.smallest))
    return differs


def _same_bits(value: np.ndarray, got: np.ndarray) -> bool:
    size = value.dtype.itemsize
    if size not in (1, 2, 4, 8) or not (value.flags.c_contiguous and got.flags.c_contiguous):
        return False
    word = np.dtype(f"u{size}")
    return bool(np.array_equal(value.reshape(-1).view(word), got.reshape(-1).view(word)))


def _equality(differs: np.ndarray | None, elements: int) -> _Comparison:
    if differs is None:
        return _Comparison(elements)
    flat = differs.reshape(-1)
    bad = int(np.count_nonzero(flat))
    return _Comparison(flat.size, bad, int(flat.argmax()) if bad else 0)


def _requantised(position: int, want: Expected, got: np.ndarray) -> Judgement:
    """Inside the interval; one step outside counts as twice the bound."""
    low, high = want.low, want.high
    if low is None or high is None:
        raise ValueError("a requantised output needs low and high")
    wide = np.float64 if lookup(want.dtype).is_float else np.int64
    a, v, lo, hi = (x.astype(wide).reshape(-1) for x in (got, want.value, low, high))
    with np.errstate(invalid="ignore"):
        inside = ((a >= lo) & (a <= hi)) | ((a != a) & (v != v))
        outside = np.maximum(lo - a, a - hi).astype(np.float64)
        units = np.where(inside, np.abs(a - v) / np.maximum(np.maximum(hi - v, v - lo), 1), 1.0 + outside)
    units[np.isnan(units)] = 0.0
    bad = np.flatnonzero(~inside)
    comparison = _Comparison(a.size, len(bad))
    if a.size:
        comparison.units = float(units.max())
        comparison.precision = Precision(median(units))
        comparison.worst = int(bad[units[bad].argmax()]) if len(bad) else int(units.argmax())
    bound = np.maximum(hi - v, v - lo).reshape(got.shape)
    return _verdict(position, want, want.value, got, bound, comparison)


def _approximate(want: Expected, got: np.ndarray, bound: np.ndarray, flush_to_zero: bool) -> _Comparison:
    """Every element against its bound. ``want.value`` float64, ``got`` in the type under test, of one shape."""
    kind = lookup(want.dtype)
    value, out, bound = want.value.reshape(-1), got.reshape(-1), bound.reshape(-1)
    low, high = numerics.reach(want)
    result = _Comparison(value.size)
    if not value.size:
        return result
    worst_units, worst_ulp, worst_bad = -1.0, 0.0, -1.0
    with np.errstate(all="ignore"):
        for start in range(0, value.size, CHUNK):
            y, t = value[start : start + CHUNK], bound[start : start + CHUNK]
            a = out[start : start + CHUNK].astype(np.float64)
            error = np.abs(a - y)
            fits = error <= t
            if low != -np.inf or high != np.inf:
                fits &= (a >= low) & (a <= high)
            units = error / t  # 0/0 where nothing is allowed and nothing is off
            top = np.fmax.reduce(units)
            if not fits.all():
                at = np.flatnonzero(~fits)
                at = at[~_excused(y[at], a[at], t[at], kind, flush_to_zero)]
                if len(at):
                    result.bad += len(at)
                    special = ~(np.isfinite(y[at]) & np.isfinite(a[at])) | (np.abs(y[at]) > kind.largest + t[at])
                    ratio = np.where(special, np.inf, np.nan_to_num(units[at], nan=UNBOUNDED, posinf=UNBOUNDED))
                    result.special |= bool(special.any())
                    if ratio.max() > worst_bad:
                        worst_bad = float(ratio.max())
                        result.worst = start + int(at[ratio.argmax()])
            if not math.isfinite(top):  # infinities and NaN have no distance
                units[~(np.isfinite(y) & np.isfinite(a))] = np.nan
                top = np.fmax.reduce(units)
            if top > worst_units:
                worst_units = float(min(top, UNBOUNDED))
                if not result.bad:
                    result.worst = start + int(np.nanargmax(units))
            error /= numerics.ulp(y, want.dtype)
            top = np.fmax.reduce(error)
            if not math.isfinite(top):
                top = np.fmax.reduce(error[np.isfinite(error)], initial=0.0)
            worst_ulp = max(worst_ulp, float(top))
        result.units = max(worst_units, 0.0)
        result.ulp = worst_ulp
        result.precision = precision(want, value, out, bound, flush_to_zero=flush_to_zero)
    return result


def _excused(y: np.ndarray, a: np.ndarray, t: np.ndarray, kind: DType, flush_to_zero: bool) -> np.ndarray:
    """Which of the elements outside their bound are right all the same: special values, and free elements."""
    size = np.abs(y) + t
    right: np.ndarray = (np.isnan(y) & np.isnan(a)) | (np.isinf(y) & (a == y)) | np.isinf(t)
    if "fn" in kind.name:  # formats without infinity: what overflows saturates or becomes NaN
        right |= (size >= kind.largest) & (np.isnan(a) | (a == np.copysign(kind.largest, y)))
    else:
        right |= (size >= kind.largest) & np.isinf(a) & (np.sign(a) == np.sign(y))
    if flush_to_zero:
        right |= (a == 0) & (np.abs(y) < kind.smallest)
    return right


def _together(position: int, want: Expected, got: np.ndarray, single: Judgement) -> Judgement:
    """The ensemble tests, for an accumulation whose elements are each within their bound."""
    found = numerics.ensemble(want, got) if isinstance(want.rule, Accumulation) else None
    if found is None:
        return single
    error = single.error | {"mean_square": found.mean_square, "bias": found.bias}
    if max(found.mean_square, found.bias) <= 1.0:
        return Judgement(single.verdict, single.message, error)
    what = (
        f"the errors of {found.outputs} outputs lean to one side: their sum is {found.bias:.3g} times its limit"
        if found.bias > found.mean_square
        else f"the mean square error of {found.outputs} outputs is {found.mean_square:.3g} times its limit"
    )
    bits = error.get("bits")
    precision = "" if bits is None else f" (effective precision {bits:.1f} bits)"
    message = f"output {position}: every element is within its bound, but {what}{precision}"
    return Judgement(Verdict.INACCURATE, message, error)


# The rules that look at all outputs at once.


def _order_free(
    rule: OrderFree,
    expected: Sequence[Expected],
    arrays: list[np.ndarray],
    inputs: Sequence[np.ndarray | None],
    attributes: Mapping[str, Any],
) -> Judgement:
    position = next(i for i, e in enumerate(expected) if e.rule is rule)
    right = rule.canonical(inputs, attributes, [e.value for e in expected])
    try:
        found = rule.canonical(inputs, attributes, list(arrays))
    except (ValueError, LookupError, ArithmeticError, TypeError) as problem:
        return Judgement(Verdict.WRONG, f"output {position}: {problem}", {"output": position})
    if len(found) != len(right):
        return Judgement(Verdict.WRONG, f"{len(found)} canonical arrays instead of {len(right)}", {})
    judgements = []
    for index, (value, got) in enumerate(zip(right, found, strict=True)):
        dtype = expected[index].dtype if index < len(expected) else "float64"
        want = Expected(dtype, Exact(), value)
        if value.shape != got.shape:
            shapes = f"{list(got.shape)} instead of {list(value.shape)}"
            judgements.append(Judgement(Verdict.WRONG, f"output {index}: put in order it has shape {shapes}"))
        else:
            judgements.append(_values(index, want, got, False))
    return max(judgements, key=_rank, default=Judgement(Verdict.PASS))


def _random(
    rule: Random,
    arrays: list[np.ndarray],
    inputs: Sequence[np.ndarray | None],
    attributes: Mapping[str, Any],
    flush_to_zero: bool,
) -> Judgement:
    try:
        problem = rule.test(inputs, attributes, list(arrays), flush_to_zero)
    except (ValueError, LookupError, ArithmeticError, TypeError) as error:
        problem = str(error)
    return Judgement(Verdict.WRONG, problem) if problem else Judgement(Verdict.PASS)


# Words.


def _verdict(
    position: int, want: Expected, value: np.ndarray, got: np.ndarray, bound: np.ndarray | None, found: _Comparison
) -> Judgement:
    """The verdict on one output, its message and its error record. ``bound`` None: equality was asked for."""
    error: dict[str, Any] = {"units": found.units, "ulp": found.ulp, "output": position}
    error |= {"share": found.bad / found.elements if found.elements else 0.0, "elements": found.elements}
    seen = found.precision
    error |= {"bits": seen.bits, "median_units": seen.median}
    if seen.terms is not None:
        error |= {"accumulator": seen.accumulator, "terms": seen.terms}
    if seen.flushed or seen.kept:
        error |= {"flushed": seen.flushed, "kept": seen.kept}
    if not found.elements:
        return Judgement(Verdict.PASS, "", error)
    index = [int(i) for i in np.unravel_index(found.worst, got.shape)]
    at = tuple(index)
    permitted = "0" if bound is None else _number(bound[at])
    error |= {"index": index, "actual": _number(got[at]), "expected": _number(value[at]), "allowed": permitted}
    if not found.bad:
        return Judgement(Verdict.PASS, "", error)
    share = f"{100 * found.bad / found.elements:.3g} %" if found.bad < found.elements else "all"
    message = (
        f"output {position} ({want.dtype}{list(got.shape)}): {found.bad} of {_plural(found.elements, 'element')} "
        f"({share}) {'differ' if bound is None else 'outside the bound'}; worst at {index}: "
        f"got {error['actual']}, expected {error['expected']}"
    )
    if bound is None:
        return Judgement(Verdict.WRONG, message, error)
    if found.special:
        return Judgement(Verdict.WRONG, message, error)
    message += f" ± {permitted} (the error is {found.units:.3g} times the bound"
    message += ")" if found.ulp is None else f", {found.ulp:.3g} ulp)"
    return Judgement(Verdict.INACCURATE, message, error)


def _number(value: Any) -> str:
    """Digits that read back as the same value; text in quotes."""
    if isinstance(value, (str, bytes)):
        return repr(value)
    try:
        return repr(value.item()) if hasattr(value, "item") else repr(value)
    except (TypeError, ValueError):
        return str(value)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
