"""Reductions along axes: sums, norms, extremes and where they stand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.draws import AUTO, Draw, choice, distinct, full, integers, nonzero, uniform
from conformance.dtypes import FLOATS, INTEGERS, lookup
from conformance.lazy import torch
from conformance.rules import EXACT, Accumulation, Composite
from conformance.spec import Operator, Sample, const, tensor

from . import samples as s

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]


def dims(x: Tensor, axes: Tensor | Sequence[int] | None, noop_with_empty_axes: int) -> tuple[int, ...]:
    """The dimensions to reduce, counted from the front. No axes, or an empty list of them: every dimension, or
    none where ``noop_with_empty_axes``."""
    chosen = [int(a) % x.dim() for a in axes] if axes is not None else []
    if not chosen and not noop_with_empty_axes:
        chosen = list(range(x.dim()))
    return tuple(chosen)


def reduce_sum(
    data: Tensor, axes: Tensor | Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """The sum along the axes; 0 over no elements."""
    along = dims(data, axes, noop_with_empty_axes)
    # torch takes an empty tuple of dimensions for all of them.
    return data.sum(along, keepdim=bool(keepdims), dtype=data.dtype) if along else data


def reduce_mean(
    data: Tensor, axes: Tensor | Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """The mean along the axes; of integers with truncation toward zero."""
    count = math.prod(data.shape[d] for d in dims(data, axes, noop_with_empty_axes))
    total = reduce_sum(data, axes, keepdims, noop_with_empty_axes)
    return total / count if data.is_floating_point() else torch.div(total, count, rounding_mode="trunc")


def reduce_prod(
    data: Tensor, axes: Tensor | Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """The product along the axes, of 16-bit floats in float32; 1 over no elements."""
    narrow = data.is_floating_point() and data.element_size() < 4
    result = data.float() if narrow else data
    for dim in sorted(dims(data, axes, noop_with_empty_axes), reverse=True):
        result = result.prod(dim, keepdim=bool(keepdims), dtype=result.dtype)
    return result.to(data.dtype)


def _extreme(
    data: Tensor,
    axes: Tensor | Sequence[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
    dtypes: Sequence[str] = (),
    *,
    largest: bool,
) -> Tensor:
    """The greatest or least element along the axes, NaN where there is one. Over no elements: -inf or inf, the
    lowest or highest of the integers, False or True (ReduceMax-20, ReduceMin-20)."""
    along = dims(data, axes, noop_with_empty_axes)
    if not along:
        return data
    if all(data.shape[d] for d in along):
        return (torch.amax if largest else torch.amin)(data, along, keepdim=bool(keepdims))
    none: float | int = -math.inf if largest else math.inf
    if data.dtype == torch.bool:
        none = not largest
    elif not data.is_floating_point():
        kind = lookup(dtypes[0]) if dtypes else None
        unsigned = kind is not None and kind.kind == "uint"
        bits = 8 * (kind.numpy.itemsize if kind is not None else data.element_size())
        low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        none = low if largest else high
        if none >= 2 ** (8 * data.element_size() - 1) and data.dtype != torch.uint8:
            none -= 2**bits  # wraps back to the unsigned maximum
    shape = [1 if d in along else n for d, n in enumerate(data.shape) if keepdims or d not in along]
    return data.new_full(shape, none)


reduce_max = partial(_extreme, largest=True)
reduce_min = partial(_extreme, largest=False)


def reduce_l1(
    data: Tensor, axes: Tensor | Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """The sum of absolute values."""
    return reduce_sum(data.abs(), axes, keepdims, noop_with_empty_axes)


def reduce_sum_square(
    data: Tensor, axes: Tensor | Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """The sum of squares."""
    return reduce_sum(data * data, axes, keepdims, noop_with_empty_axes)


def _real(data: Tensor) -> Tensor:
    """Roots and logarithms of integers are taken in float64, and what is left after the point cut off."""
    return data if data.is_floating_point() else data.double()


def reduce_l2(
    data: Tensor, axes: Tensor | Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """The square root of the sum of squares."""
    total = reduce_sum_square(_real(data), axes, keepdims, noop_with_empty_axes)
    return torch.sqrt(total).to(data.dtype)


def reduce_log_sum(
    data: Tensor, axes: Tensor | Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """The logarithm of the sum; -inf over no elements."""
    return torch.log(_real(reduce_sum(data, axes, keepdims, noop_with_empty_axes))).to(data.dtype)


def reduce_log_sum_exp(
    data: Tensor, axes: Tensor | Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """The logarithm of the sum of exponentials, about the maximum so that none overflows; -inf over no
    elements."""
    x = _real(data)
    along: dict[str, Any] = {"axes": list(dims(x, axes, noop_with_empty_axes)), "noop_with_empty_axes": 1}
    peak = reduce_max(x, **along)
    peak = torch.where(torch.isfinite(peak), peak, torch.zeros_like(peak))
    total = torch.log(reduce_sum(torch.exp(x - peak), keepdims=keepdims, **along))
    if not keepdims:
        peak = reduce_sum(peak, keepdims=0, **along)
    return (total + peak).to(data.dtype)


def _position(
    data: Tensor, axis: int = 0, keepdims: int = 1, select_last_index: int = 0, *, largest: bool
) -> Tensor:
    """Where the extreme stands along an axis: the first of several, or the last."""
    peak = (torch.amax if largest else torch.amin)(data, axis, keepdim=True)
    at = ((data == peak) | (data != data)).to(torch.int32)
    # argmax promises no order among equals; the first or last of the marks is a running count of one.
    if select_last_index:
        return data.shape[axis] - 1 - _first(at.flip(axis), axis, keepdims)
    return _first(at, axis, keepdims)


def _first(marks: Tensor, axis: int, keepdims: int) -> Tensor:
    """The index of the first 1 along an axis: how many places have seen none before."""
    return (torch.cumsum(marks, axis) == 0).sum(axis, keepdim=bool(keepdims))


# How they are exercised.

positive = uniform(0.1, 2)


def sums(
    odd: int = 2**62 + 1,
    signed: tuple[int, ...] = (2**30, 2**30 - 6, 5),
    unsigned: tuple[int, ...] = (2**31, 2**30, 2**30 - 1),
    **options: Any,
) -> Iterator[Sample]:
    """``signed``, ``unsigned``: what adds up to about the largest number of 32 bits. ONNX does not say what comes
    of a larger sum."""
    yield from s.reduction(**options)
    # Odd sums beyond 2^53, which an engine that goes through doubles gets wrong.
    rows = s.literal(odd, 1, 1, 3, -5, odd, shape=(2, 3)), const([1])
    yield s.tagged("beyond-doubles", *rows, dtypes=("int64",), tags=s.SPECIAL)
    rows = s.literal(odd, 1, 1, 3, 5, odd, shape=(2, 3)), const([1])
    yield s.tagged("beyond-doubles-unsigned", *rows, dtypes=("uint64",), tags=s.SPECIAL)
    for dtype, items in (("int32", signed), ("uint32", unsigned)):
        rows = s.literal(*items, *items[::-1], shape=(2, 3)), const([1])
        yield s.tagged(f"limits-{dtype}", *rows, dtypes=(dtype,), tags=s.SPECIAL)


def long(draw: Draw = AUTO) -> Sample:
    """A sum of many terms of one sign."""
    return Sample("long", (tensor(2, s.LONG, draw=draw), const([1])), dtypes=("float16", "bfloat16"), tags=s.LARGE)


def logarithms() -> Iterator[Sample]:
    yield from s.reduction(positive, exact=None, integral=())
    yield long(positive)


def logarithms_of_exponentials() -> Iterator[Sample]:
    yield from s.reduction(exact=None, integral=())
    yield long()
    # Sums of exponentials that overflow in every format but one, though their logarithm is small.
    high, low = tensor(7, 9, draw=uniform(100, 800)), tensor(7, 9, draw=uniform(-800, -100))
    yield Sample("large-exponents", (high, const([1])), dtypes=FLOATS, tags=s.SPECIAL)
    yield Sample("small-exponents", (low, const([1])), dtypes=FLOATS, tags=s.SPECIAL)


def extremes() -> Iterator[Sample]:
    yield from s.reduction(exact=None, integral=("int32", "int64", "int8", "uint8", "bool"))
    for dtype in ("int8", "uint8", "int32", "uint32", "int64", "uint64"):
        ends = s.extremes(dtype)
        # All in either order, and then each alone, for the least and the greatest would hide the others.
        items = [*ends, *ends[::-1], *(v for v in ends for _ in ends)]
        rows = s.literal(*items, shape=(2 + len(ends), len(ends))), const([1])
        yield s.tagged(f"extremes-{dtype}", *rows, dtypes=(dtype,), tags=s.SPECIAL)
    # From opset 20 on they take bool too; the axes became an input before that.
    yield Sample("opset-18", (tensor(3, 4, 5), const([-1])), dtypes=("float32", "int32"), opset=18)
    noop = {"noop_with_empty_axes": 1}
    yield Sample("opset-18-noop", (tensor(3, 4, 5),), noop, dtypes=("float32",), opset=18)
    bits = s.literal(True, True, True, False, False, False, True, False, True, shape=(3, 3))
    yield s.tagged("truth", bits, const([1]), dtypes=("bool",))


def positions() -> Iterator[Sample]:
    x = tensor(3, 7, 5, draw=distinct(0.5))
    tied = tensor(5, 16, 3, draw=integers(0, 3))
    one = ("float32",)
    yield Sample("axis-1", (tensor(3, 7, 5, draw=distinct()),), {"axis": 1})
    yield Sample("default-axis", (x,), dtypes=s.FEW)
    yield Sample("negative-axis", (x,), {"axis": -1}, dtypes=s.FEW)
    yield Sample("keepdims-0", (x,), {"axis": 1, "keepdims": 0}, dtypes=s.FEW)
    yield Sample("ties-first", (tied,), {"axis": 1}, dtypes=(*FLOATS, "int32", "int8", "uint8"))
    last = {"axis": 1, "select_last_index": 1}
    yield Sample("ties-last", (tied,), last, dtypes=(*FLOATS, "int32", "int8", "uint8"))
    yield Sample("ties-last-keepdims-0", (tied,), {**last, "keepdims": 0}, dtypes=s.FEW)
    yield Sample("ties-last-default-axis", (tied,), {"select_last_index": 1}, dtypes=one)
    yield Sample("all-equal", (tensor(2, 9, draw=full(3)),), {"axis": 1}, dtypes=s.FEW)
    yield Sample("vector", (tensor(17, draw=distinct()),), {"keepdims": 0}, dtypes=s.FEW, tags=s.SCALAR)
    yield Sample("rank-6", (tensor(2, 3, 1, 4, 5, 2, draw=distinct()),), {"axis": 3}, dtypes=s.FEW)
    yield Sample("empty-result", (tensor(0, 3),), {"axis": 1}, dtypes=s.FEW, tags=s.EMPTY)
    yield Sample("large", (tensor(61, 4099),), {"axis": 1}, dtypes=one, tags=s.LARGE)
    sizes = (tensor(1, 5, 9, draw=distinct()),), (tensor(4, 33, 2, draw=distinct()),)
    first = (tensor(2, 3, 4, draw=distinct()),)
    yield Sample("dynamic", first, {"axis": 1}, dtypes=s.FEW, again=sizes, tags=s.DYNAMIC)
    rows = s.literal(1.0, s.INF, -s.INF, 0.0, -0.0, 0.0, -s.INF, -1.0, -s.INF, 5e-324, 1e-40, 6e-8, shape=(4, 3))
    yield s.tagged("special", rows, attributes={"axis": 1}, dtypes=FLOATS, tags=s.SPECIAL)
    # An extreme in the middle, beyond the others by the last bit of one format or by a subnormal number.
    ones = [v for p in s.LAST_BITS for v in (1.0, p, 1.0)]
    noughts = [v for p in s.SUBNORMALS for v in (0.0, p, 0.0, 0.0, -p, 0.0)]
    rows = s.literal(*ones, *noughts, shape=((len(ones) + len(noughts)) // 3, 3))
    yield s.tagged("last-bits", rows, attributes={"axis": 1}, dtypes=FLOATS, tags=s.SPECIAL)
    for dtype, wide in (("int32", 2**24), ("int64", 2**53), ("uint32", 2**31), ("uint64", 2**53)):
        rows = s.literal(wide + 2, wide + 1, wide + 3, wide, wide + 1, wide, shape=(2, 3))
        yield s.tagged(f"neighbours-{dtype}", rows, attributes={"axis": 1}, dtypes=(dtype,), tags=s.SPECIAL)
    for dtype in INTEGERS:
        ends = s.literal(*s.extremes(dtype))
        yield s.tagged(f"extremes-{dtype}", ends, dtypes=(dtype,), tags=s.SPECIAL)
    yield Sample("opset-11", (x,), {"axis": 1}, dtypes=("float32", "int32"), opset=11)
    yield Sample("opset-12", (tied,), last, dtypes=("float32", "int32"), opset=12)
    refused = "axis 3 of a tensor of rank 3"
    yield Sample("axis-out-of-range", (x,), {"axis": 3}, dtypes=one, refuse=refused)
    yield from s.refusals(1)


def absolute_sums() -> Iterator[Sample]:
    yield from sums()
    # All of one sign: an accumulator of 16 bits stops resolving them.
    yield Sample("long", (tensor(5, 2048), const([1])), dtypes=("float16",), tags=s.LARGE)


def squares() -> Iterator[Sample]:
    yield from sums(odd=2**31 + 1, signed=(46340, 296, 19), unsigned=(65535, 361, 27))
    beyond = tensor(3, 5, draw=uniform(300, 900)), const([1])
    yield Sample("beyond-float16", beyond, dtypes=("bfloat16",))


def means() -> Iterator[Sample]:
    yield from s.reduction(exact=None, empty=False, whole=tensor(3, 4, 5, draw=choice(0, 4, 8, 12)))
    for items, dtypes in (
        ((2**30 - 1, 2**30 - 1, 2**24 + 1, 2**24 + 3), ("int32",)),
        ((2**61 + 1, 2**61 + 1, 2**53 + 1, 2**53 + 3), ("int64", "uint64")),
    ):
        rows = s.literal(*items, shape=(2, 2)), const([1])
        yield s.tagged(f"large-{dtypes[0]}", *rows, dtypes=dtypes, tags=s.SPECIAL)
    # Of one number each: the sum of two so large would not be one of the type.
    ones = s.literal(2**31 + 1, 2**32 - 1, 5, shape=(3, 1)), const([1])
    yield s.tagged("large-uint32", *ones, dtypes=("uint32",), tags=s.SPECIAL)


def products() -> Iterator[Sample]:
    yield from s.reduction(
        nonzero(0.9, 1.1), exact=choice(1, -1), whole=tensor(3, 4, 5, draw=integers(1, 7)), subnormals=False
    )
    # One factor that is subnormal; the product of two is zero.
    rows = s.literal(*(v for t in s.SUBNORMALS for v in (1.0, t, -1.0)), shape=(len(s.SUBNORMALS), 3)), const([1])
    yield s.tagged("subnormals", *rows, dtypes=FLOATS, tags=s.SPECIAL | {"subnormal"})
    for dtype in ("int32", "int64", "uint32", "uint64"):
        ends = s.extremes(dtype)
        rows = s.literal(*(v for t in ends for v in (1, t)), shape=(len(ends), 2)), const([1])
        yield s.tagged(f"extremes-{dtype}", *rows, dtypes=(dtype,), tags=s.SPECIAL)


def norms() -> Iterator[Sample]:
    # Whole roots: what is after the point of others would be cut off or rounded as the engine likes. The squares of
    # subnormal numbers are zero.
    whole = s.literal(2, 3, 6, 0, 1, 4, 8, 0, 2, 6, 9, 0, shape=(3, 4))
    yield from s.reduction(exact=None, subnormals=False, whole=whole)
    yield long()


OPERATORS = (
    Operator("ReduceSum", reduce_sum, Accumulation(), partial(sums, input_since=13)),
    Operator("ReduceMean", reduce_mean, Accumulation(count=reduce_sum), means),
    Operator("ReduceMax", reduce_max, EXACT, extremes),
    Operator("ReduceMin", reduce_min, EXACT, extremes),
    Operator("ReduceProd", reduce_prod, Accumulation(count=reduce_sum), products),
    Operator("ReduceL1", reduce_l1, Accumulation(), absolute_sums),
    Operator("ReduceL2", reduce_l2, Composite(), norms),
    Operator("ReduceSumSquare", reduce_sum_square, Accumulation(), squares),
    # Of integers, ONNX has taken these two back (opset 28).
    Operator("ReduceLogSum", reduce_log_sum, Composite(), logarithms, dtypes=FLOATS),
    Operator("ReduceLogSumExp", reduce_log_sum_exp, Composite(), logarithms_of_exponentials, dtypes=FLOATS),
    Operator("ArgMax", partial(_position, largest=True), EXACT, positions),
    Operator("ArgMin", partial(_position, largest=False), EXACT, positions),
)
