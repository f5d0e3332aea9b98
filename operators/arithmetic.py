"""Elementwise arithmetic on one, two or many tensors, and running sums."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.draws import choice, integers, nonzero, subnormal, uniform
from conformance.dtypes import FLOATS, INTEGERS, SIGNED, UNSIGNED
from conformance.lazy import torch
from conformance.rules import EXACT, ROUNDED, Accumulation, Composite, Elementary, Exact, Rounded
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from . import samples as s

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]

LIMITS = INTEGERS


# What the operators mean. Integers wrap here, but no sample has a result that its type does not hold.


def divide(a: Tensor, b: Tensor) -> Tensor:
    """Division; of integers with truncation toward zero (Div-14)."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def modulo(a: Tensor, b: Tensor, fmod: int = 0, opset: int = 28) -> Tensor:
    """The remainder with the sign of the divisor, or C's fmod with that of the dividend. Both are exact.

    Raises ``ValueError`` for floats without ``fmod`` before opset 28, which allowed them."""
    if a.is_floating_point() and not fmod and opset < 28:
        raise ValueError("before opset 28, Mod of floating-point numbers needs fmod=1")
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def power(x: Tensor, y: Tensor) -> Tensor:
    """x to the power of y in x's dtype (Pow-15); special values as C99's annex F has them."""
    if x.is_floating_point():
        return torch.pow(x, y.to(x.dtype))
    if y.is_floating_point():
        return torch.pow(x.double(), y.double()).to(x.dtype)
    return torch.pow(x, y.to(x.dtype))


def add_all(*data: Tensor) -> Tensor:
    """The sum of all operands."""
    return functools.reduce(torch.add, data)


def mean_all(*data: Tensor) -> Tensor:
    """The mean of all operands."""
    return add_all(*data) / len(data)


def largest(*data: Tensor) -> Tensor:
    """The greatest of all operands; NaN where any is."""
    return functools.reduce(torch.maximum, data)


def smallest(*data: Tensor) -> Tensor:
    """The least of all operands; NaN where any is."""
    return functools.reduce(torch.minimum, data)


def clip(input: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    """Min(max, Max(input, min)): ``max`` wins where the limits cross (Clip-13)."""
    result = input
    if min is not None:
        result = torch.maximum(result, min)
    if max is not None:
        result = torch.minimum(result, max)
    return result


def running_sum(x: Tensor, axis: Tensor, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The sums of all elements up to each one along an axis, with it or, where exclusive, without it."""
    along = int(axis)
    if reverse:
        x = x.flip(along)
    sums = torch.cumsum(x, along, dtype=x.dtype)
    if exclusive and x.shape[along]:
        sums = torch.cat(
            [torch.zeros_like(sums.narrow(along, 0, 1)), sums.narrow(along, 0, x.shape[along] - 1)], along
        )
    return sums.flip(along) if reverse else sums


def running_product(x: Tensor, axis: Tensor, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The products of all elements up to each one along an axis, with it or, where exclusive, without it."""
    along = int(axis)
    x = x.flip(along) if reverse else x
    if exclusive and x.shape[along]:
        x = torch.cat([torch.ones_like(x.narrow(along, 0, 1)), x.narrow(along, 0, x.shape[along] - 1)], along)
    products = torch.cumprod(x, along, dtype=x.dtype)
    return products.flip(along) if reverse else products


# How they are exercised.


def products() -> Iterator[Sample]:
    yield from s.binary(limits=LIMITS, result=operator.mul)
    # Products that overflow, underflow and become subnormal in each of the formats.
    scales = s.literal(1e4, -1e4, 1e30, 1e-4, -1e-4, 1e-30, 2.0**-14, 2.0**-126, shape=(8, 1))
    factors = s.literal(1e4, 1e30, 1e-4, 0.5, 2.0**-10, shape=(1, 5))
    yield s.tagged("overflow-underflow", scales, factors, dtypes=FLOATS, tags=s.SPECIAL)


def sums(result: Callable[[int, int], int], every: tuple[str, ...] | None = None) -> Iterator[Sample]:
    yield from s.binary(limits=LIMITS, result=result, every=every)
    # One operand that vanishes against the other, sums that cancel, ties of the rounding, overflow.
    left = s.literal(1.0, 2048.0, 16777216.0, 65504.0, 3.4028235e38, 1.0009766)
    right = s.literal(1e-8, 1.0, 1.0, 65504.0, 3.4028235e38, -1.0)
    yield s.tagged("absorption", left, right, dtypes=FLOATS, tags=s.SPECIAL)


def differences() -> Iterator[Sample]:
    yield from sums(operator.sub, every=(*FLOATS, *SIGNED))
    greater, less = tensor(3, 1, 5, draw=integers(20, 99)), tensor(4, 1, draw=integers(0, 20))
    yield Sample("unsigned", (greater, less), dtypes=UNSIGNED)


def whole_extremes() -> Iterator[Sample]:
    """Both ends of the integer types over 1, 3 and the largest number: quotients and remainders with all their digits."""
    for dtype in INTEGERS[2:]:
        items = s.extremes(dtype)
        pairs = s.literal(*items, shape=(len(items), 1)), s.literal(1, 3, items[-1], shape=(1, 3))
        yield s.tagged(f"extremes-{dtype}", *pairs, dtypes=(dtype,), tags=s.SPECIAL)


def quotients(whole: str = "truncates") -> Iterator[Sample]:
    yield from s.binary(right=uniform(1, 9))
    left = s.literal(7, -7, 7, -7, 6, -6, 1, -1, 0)
    right = s.literal(3, 3, -3, -3, -3, 3, 2, 2, -5)
    yield s.tagged(f"{whole}-both-signs", left, right, dtypes=(*SIGNED, *FLOATS))
    yield s.tagged("nonzero", tensor(9, 31), tensor(9, 31, draw=nonzero(0.1, 5)), dtypes=FLOATS)
    # Quotients of numbers beyond 2^53, which an engine that goes through doubles gets wrong.
    big, odd = s.literal(2**62 + 3, -(2**61) - 5, 2**53 + 1), s.literal(7, 3, 1)
    yield s.tagged("beyond-doubles", big, odd, dtypes=("int64",), tags=s.SPECIAL)
    yield from whole_extremes()


def remainders() -> Iterator[Sample]:
    few = ("int32", "uint8")
    divisors = uniform(1, 9)
    yield from s.binary(right=divisors, special=None, every=INTEGERS, few=few, large=False)
    left, right = s.literal(7, -7, 7, -7, 6, -6, 1, -1, 0), s.literal(3, 3, -3, -3, -3, 3, 2, 2, -5)
    yield s.tagged("sign-of-divisor", left, right, dtypes=SIGNED)
    fmod = {"fmod": 1}
    yield s.tagged("sign-of-dividend", left, right, attributes=fmod, dtypes=(*SIGNED, *FLOATS))
    big, odd = s.literal(2**62 + 3, -(2**61) - 5, 2**53 + 1), s.literal(7, 3, 10)
    yield s.tagged("beyond-doubles", big, odd, dtypes=("int64",), tags=s.SPECIAL)
    yield from whole_extremes()
    floats = s.binary(right=uniform(0.3, 4), every=FLOATS, special=None)
    yield from s.only(floats, prefix="fmod-", attributes=fmod, refusals=False)
    # Zero dividends and finite ones over infinity; a zero divisor and an infinite dividend give NaN.
    items = [(v, w) for v in s.SPECIAL_VALUES for w in s.SPECIAL_VALUES]
    pairs = s.literal(*[v for v, _ in items]), s.literal(*[w for _, w in items])
    yield s.tagged("fmod-special", *pairs, attributes=fmod, dtypes=FLOATS, tags=s.SPECIAL)
    tiny = s.literal(*s.SUBNORMALS), s.literal(1.0)
    yield s.tagged("fmod-subnormals", *tiny, attributes=fmod, dtypes=FLOATS, tags=s.SPECIAL | {"subnormal"})
    pair = tensor(3, 5), tensor(3, 5, draw=uniform(0.3, 4))
    yield s.tagged("fmod-again", *pair, attributes=fmod, dtypes=s.FEW, again=(pair,))
    far = s.literal(1000.0, -65504.0, 3e4, 1e30, 7.5), s.literal(0.3, 7.0, 0.01, 3.0, 2.5)
    yield s.tagged("fmod-far", *far, attributes=fmod, dtypes=FLOATS, tags=s.SPECIAL)
    floats_need_fmod = (tensor(3, 4), tensor(3, 4, draw=uniform(1, 9)))
    refused = "before opset 28, floating-point operands need fmod=1"
    yield Sample("floats-without-fmod", floats_need_fmod, dtypes=("float32",), opset=13, refuse=refused)


def powers() -> Iterator[Sample]:
    base, exponent = uniform(0.5, 5), uniform(0, 4)
    yield from s.binary(base, exponent, subnormals=False)
    x = tensor(5, 13, draw=base)
    for dtype in (*INTEGERS, "float64", "float16"):
        mixed = (x, tensor(13, draw=exponent, dtype=dtype))
        few = ("int32", "int64", "uint8", "float64", "float16")
        yield Sample(
            f"exponent-{dtype}", mixed, dtypes=("float32", "float16", "int32") if dtype in few else ("float32",)
        )
    whole = replace(x, draw=nonzero(0.5, 3))
    yield Sample("negative-base", (whole, tensor(13, draw=integers(-3, 4))), dtypes=FLOATS)
    # The exponents that engines treat apart, as the initializers that they mostly are.
    for value in (0.5, 2.0, 3.0, -1.0, 0.0):
        name = f"constant-{value:g}".replace("-", "minus-").replace(".", "-").replace("constantminus", "constant")
        yield Sample(name, (x, const(value, None)), dtypes=FLOATS)
    roots = s.literal(0, 1, 4, 9, 144, 2**20), const([0.5] * 6, "float32")
    yield s.tagged("whole-base-root", *roots, dtypes=("int32", "int64"))
    tiny = s.literal(*s.SUBNORMALS), const(1.0, None)
    yield s.tagged("subnormals", *tiny, dtypes=FLOATS, tags=s.SPECIAL | {"subnormal"})
    large = s.literal(3, -3, 7, 2, -2, 2**24 + 1), s.literal(19, 19, 11, 30, 31, 1)
    yield s.tagged("whole-large", *large, dtypes=("int32", "int64"), tags=s.SPECIAL)
    yield s.tagged(
        "whole-beyond-doubles",
        s.literal(3, -7, 11, 2**53 + 1),
        s.literal(39, 21, 17, 1),
        dtypes=("int64",),
        tags=s.SPECIAL,
    )


def clips() -> Iterator[Sample]:
    x = tensor(3, 5, 7, draw=integers(0, 9))
    floats = tensor(3, 5, 7)
    low, high = const(2, None), const(6, None)
    few: Mapping[str, Any] = {"dtypes": s.FEW}
    yield Sample("both", (x, low, high))
    yield Sample("only-min", (x, low), **few)
    yield Sample("only-max", (x, None, high), dtypes=(*s.FEW, "int32", "uint8"))
    yield Sample("neither", (floats,), **few)
    yield Sample("relu-6", (replace(floats, draw=uniform(-9, 9)), const(0, None), high), dtypes=FLOATS)
    yield Sample("fractions", (floats, const(-0.75, None), const(0.5, None)), dtypes=FLOATS)
    yield Sample("negative", (tensor(4, 9), const(-3, None), const(-1, None)), dtypes=SIGNED)
    yield Sample("limits-at-run-time", (floats, s.literal(-0.5, shape=()), s.literal(1, shape=())), **few)
    yield Sample("crossed", (floats, const(1, None), const(-1, None)), **few)
    yield Sample("scalar", (tensor(), const(-0.25, None), const(0.25, None)), **few, tags=s.SCALAR)
    yield Sample("rank-6", (tensor(2, 1, 3, 2, 1, 5), const(-0.5, None), const(0.5, None)), **few)
    yield Sample("empty", (tensor(3, 0), low, high), **few, tags=s.EMPTY)
    yield Sample("large", (tensor(1021, 257), low, high), dtypes=("float32",), tags=s.LARGE)
    sizes = (tensor(1, 3, 7), low, high), (tensor(5, 2, 9), low, high)
    yield Sample("dynamic", (tensor(2, 3, 4), low, high), **few, again=sizes, tags=s.DYNAMIC)
    special = s.literal(*s.NO_NAN)
    yield Sample("special", (special, const(-2, None), const(1.25, None)), dtypes=FLOATS, tags=s.SPECIAL)
    tiny = (s.literal(*s.SUBNORMALS), const(-1, None), const(1, None))
    yield Sample("subnormals", tiny, dtypes=FLOATS, tags=s.SPECIAL | {"subnormal"})
    infinite = (special, const(-s.INF, None), const(s.INF, None))
    yield Sample("infinite-limits", infinite, dtypes=FLOATS, tags=s.SPECIAL)
    for dtype in LIMITS:
        ends = s.extremes(dtype)
        inputs = (s.literal(*ends), const(ends[1], None), const(ends[-2], None))
        yield Sample(f"extremes-{dtype}", inputs, dtypes=(dtype,), tags=s.SPECIAL)
    yield Sample("opset-11", (floats, const(-0.5, None), const(0.5, None)), dtypes=("float32",), opset=11)
    yield Sample("opset-12", (x, low, high), dtypes=("float32", "int8", "uint8", "int64"), opset=12)
    one = ("float32",)
    yield Sample("vector-limit", (floats, const([0.0, 1.0], None)), dtypes=one, refuse="a limit must be a scalar")
    mixed = (floats, const(0, "int64"))
    yield Sample("mixed-types", mixed, dtypes=one, refuse="the limit's type must be the input's")
    yield from s.refusals(1, most=3)


def running_sums() -> Iterator[Sample]:
    x = tensor(3, 9, 5)
    yield Sample("axis-1", (x, const(1)))
    yield Sample("axis-0", (x, const(0, "int32")), dtypes=s.FEW)
    yield Sample("negative-axis", (x, const(-1)), dtypes=s.FEW)
    yield Sample("exclusive", (x, const(1)), {"exclusive": 1}, dtypes=(*s.FEW, "int32"))
    yield Sample("reverse", (x, const(1)), {"reverse": 1}, dtypes=(*s.FEW, "int32"))
    yield Sample("exclusive-reverse", (x, const(2)), {"exclusive": 1, "reverse": 1}, dtypes=s.FEW)
    yield Sample("vector", (tensor(17), const(0)), dtypes=s.FEW)
    yield Sample("one-element", (tensor(1), const(0)), {"exclusive": 1}, dtypes=s.FEW)
    yield Sample("rank-6", (tensor(2, 1, 3, 2, 4, 2), const(-2)), dtypes=s.FEW)
    yield Sample("axis-at-run-time", (x, s.literal(1, shape=(), dtype="int64")), dtypes=s.FEW)
    yield Sample("empty", (tensor(3, 0), const(1)), dtypes=s.FEW, tags=s.EMPTY)
    yield Sample("large", (tensor(41, 2053), const(1)), dtypes=("float32",), tags=s.LARGE)
    yield Sample("exact-integers", (tensor(5, 77, draw=s.SMALL), const(1)), dtypes=s.FEW, exact=True)
    sizes = (tensor(1, 5, 2), const(1)), (tensor(4, 33, 3), const(1))
    yield Sample("dynamic", (tensor(2, 3, 4), const(1)), dtypes=s.FEW, again=sizes, tags=s.DYNAMIC)
    rows = s.literal(1.0, s.INF, 2.0, s.NAN, 3.0, -s.INF, 1.0, 2.0, s.INF, -s.INF, 1.0, 0.0, shape=(3, 4))
    yield Sample("special", (rows, const(1)), dtypes=FLOATS, tags=s.SPECIAL)
    ends = s.literal(2**30, 2**30 - 1, -(2**31) + 1, -(2**31), 2**31 - 1, 1)
    yield Sample("limits-int32", (ends, const(0)), dtypes=("int32",), tags=s.SPECIAL)
    small = tensor(3, 5, draw=subnormal())
    yield Sample("subnormals", (small, const(1)), dtypes=FLOATS, tags=s.SPECIAL | {"subnormal"})
    odd = s.literal(2**62 + 1, 2**40, 2**53 + 1, 2)
    yield Sample("beyond-doubles", (odd, const(0)), dtypes=("int64", "uint64"), tags=s.SPECIAL)
    ends = s.literal(2**31, 2**30, 2**30 - 2, 1)
    yield Sample("limits-uint32", (ends, const(0)), dtypes=("uint32",), tags=s.SPECIAL)
    yield Sample("opset-11", (x, const(1)), dtypes=("float32", "int32"), opset=11)
    yield Sample("axis-out-of-range", (x, const(3)), dtypes=("float32",), refuse="axis 3 of a tensor of rank 3")
    yield from s.refusals(2)


def running_products() -> Iterator[Sample]:
    near_one = nonzero(0.7, 1.4)

    def x(*shape: int) -> TensorSpec:
        return tensor(*shape, draw=near_one)

    whole = tensor(3, 9, 5, draw=integers(-3, 3))
    yield Sample("axis-1", (x(3, 9, 5), const(1)), dtypes=FLOATS)
    yield Sample("axis-1-whole", (whole, const(1)), dtypes=("int32", "int64"))
    yield Sample("axis-1-unsigned", (tensor(3, 9, 5, draw=integers(0, 3)), const(1)), dtypes=("uint32", "uint64"))
    yield Sample("axis-0", (x(3, 9, 5), const(0, "int32")), dtypes=s.FEW)
    yield Sample("negative-axis", (x(3, 9, 5), const(-1)), dtypes=s.FEW)
    for name, attributes in (
        ("exclusive", {"exclusive": 1}),
        ("reverse", {"reverse": 1}),
        ("exclusive-reverse", {"exclusive": 1, "reverse": 1}),
    ):
        yield Sample(name, (x(3, 9, 5), const(1)), attributes, dtypes=s.FEW)
        yield Sample(f"{name}-whole", (whole, const(1)), attributes, dtypes=("int32", "int64"))
    yield Sample("one-element", (x(1), const(0)), {"exclusive": 1}, dtypes=s.FEW)
    yield Sample("rank-6", (x(2, 1, 3, 2, 4, 2), const(-2)), dtypes=s.FEW)
    yield Sample("axis-at-run-time", (x(3, 9, 5), s.literal(1, shape=(), dtype="int64")), dtypes=s.FEW)
    yield Sample("empty", (x(3, 0), const(1)), dtypes=s.FEW, tags=s.EMPTY)
    yield Sample(
        "large", (tensor(41, 1031, draw=nonzero(0.98, 1.02)), const(1)), dtypes=("float32",), tags=s.LARGE
    )
    powers = tensor(5, 19, draw=choice(1.0, -1.0, 2.0, 0.5))
    yield Sample("exact-powers-of-two", (powers, const(1)), dtypes=s.FEW, exact=True)
    sizes = (x(1, 5, 2), const(1)), (x(4, 33, 3), const(1))
    yield Sample("dynamic", (x(2, 3, 4), const(1)), dtypes=s.FEW, again=sizes, tags=s.DYNAMIC)
    rows = s.literal(1.0, s.INF, 2.0, s.NAN, 3.0, -s.INF, 0.0, 2.0, s.INF, -s.INF, -1.0, 0.0, shape=(3, 4))
    yield Sample("special", (rows, const(1)), dtypes=FLOATS, tags=s.SPECIAL)
    wraps = s.literal(2**16 + 1, 2**16 + 3, 7, 2**31 - 1, 5)
    yield Sample("wraps", (wraps, const(0)), dtypes=("int32", "uint32"), tags=s.SPECIAL)
    outside = "axis 3 of a tensor of rank 3"
    yield Sample("axis-out-of-range", (x(3, 9, 5), const(3)), dtypes=("float32",), refuse=outside)
    yield from s.refusals(2)


ROUNDINGS = (
    *s.SPECIAL_VALUES[:5],
    0.5,
    -0.5,
    1.5,
    -1.5,
    2.5,
    -2.5,
    0.49999997,
    0.50000006,
    # Halves next to whole numbers that bfloat16 does not hold.
    1001.5,
    -1002.5,
    1001.0,
    8388609.0,
    -4503599627370497.0,
)
roundings = partial(s.unary, uniform(-9, 9), special=ROUNDINGS)
signs = partial(s.unary, limits=LIMITS)


def halves() -> Iterator[Sample]:
    yield from roundings()
    ties = tensor(64, draw=choice(*[n + 0.5 for n in range(-12, 12)]))
    yield Sample("ties-to-even", (ties,), dtypes=FLOATS)
    yield Sample("bfloat16", (tensor(3, 5, 7, draw=uniform(-9, 9)),), dtypes=("bfloat16",), opset=22)


OPERATORS = (
    Operator("Add", lambda a, b: a + b, ROUNDED, partial(sums, operator.add)),
    Operator("Sub", lambda a, b: a - b, ROUNDED, differences),
    Operator("Mul", lambda a, b: a * b, ROUNDED, products),
    Operator("Div", divide, Rounded(2.5, 1.0), quotients),
    Operator("Mod", modulo, EXACT, remainders),
    Operator("Pow", power, Elementary(16, 4), powers),
    Operator(
        "Neg",
        lambda x: -x,
        Exact(signed_zero=True),
        partial(s.unary, limits=("int8", "int32", "int64"), result=operator.neg),
    ),
    Operator("Abs", lambda x: torch.abs(x), Exact(signed_zero=True), partial(signs, result=abs)),
    Operator("Sign", lambda x: torch.sign(x), EXACT, partial(signs, special=s.NO_NAN)),
    Operator("Reciprocal", lambda x: torch.reciprocal(x), Rounded(2.5, 1.0), partial(s.unary, nonzero(0.1, 9))),
    Operator("Sqrt", lambda x: torch.sqrt(x), Rounded(3.0, 1.0), partial(s.unary, uniform(0, 9))),
    # Engines add and round one operand after the other.
    Operator("Sum", add_all, Composite(), s.variadic),
    Operator("Mean", mean_all, Composite(), s.variadic),
    Operator("Max", largest, EXACT, partial(s.variadic, limits=LIMITS, special=s.NO_NAN)),
    Operator("Min", smallest, EXACT, partial(s.variadic, limits=LIMITS, special=s.NO_NAN)),
    Operator("Floor", lambda x: torch.floor(x), Exact(signed_zero=True), roundings),
    Operator("Ceil", lambda x: torch.ceil(x), EXACT, roundings),
    Operator("Round", lambda x: torch.round(x), EXACT, halves),
    Operator("Clip", clip, EXACT, clips),
    Operator("CumSum", running_sum, Accumulation(), running_sums),
    Operator("CumProd", running_product, Composite(), lambda: s.only(running_products(), opset=26)),
)
