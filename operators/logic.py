"""Comparisons, Boolean and bitwise logic, and the choice that they steer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from conformance.draws import coin, integers, subnormal
from conformance.dtypes import FLOATS, INTEGERS, UNSIGNED
from conformance.lazy import torch
from conformance.rules import EXACT, Exact
from conformance.spec import Operator, Sample, TensorSpec, tensor

from . import samples as s

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]

LIMITS = INTEGERS
FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")


def shift(x: Tensor, y: Tensor, direction: str = "") -> Tensor:
    """Bits moved toward the high end (LEFT) or the low end (RIGHT), zeros moved in."""
    return x << y if direction == "LEFT" else x >> y


def _wide(x: Tensor) -> Tensor:
    """float8 has no tests of its own in torch; every value of it is one of float32."""
    return x.float() if x.element_size() == 1 else x


def is_infinite(x: Tensor, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Whether an element is infinite, of a sign that is asked for."""
    x = _wide(x)
    return ((x == float("inf")) & bool(detect_positive)) | ((x == float("-inf")) & bool(detect_negative))


# Equal numbers must occur: few values, so that about one pair in five is equal.
comparison = partial(s.binary, integers(0, 4), integers(0, 4), limits=LIMITS)
logical = partial(s.binary, few=("bool",), special=None, wrong="float32")
bitwise = partial(s.binary, few=("int32", "uint8"), special=None, limits=LIMITS, wrong="float32")


def last_bits() -> Sample:
    """Numbers that differ in their last bits alone, and subnormal ones that differ from zero."""
    items = (*s.LAST_BITS, *s.SUBNORMALS, 1.0)
    pairs = s.literal(*items, shape=(len(items), 1)), s.literal(1.0, 0.0, shape=(1, 2))
    return s.tagged("last-bits", *pairs, dtypes=FLOATS, tags=s.SPECIAL)


def ordered() -> Iterator[Sample]:
    yield from comparison(wrong="bool")
    yield last_bits()
    # Neighbours in int64 that are one double, and fractions.
    big = s.literal(2**53, 2**53 + 1, -(2**53) - 1, 2**62), s.literal(2**53 + 1, 2**53, -(2**53), 2**62 + 1)
    yield s.tagged("beyond-doubles", *big, dtypes=("int64",), tags=s.SPECIAL)
    yield Sample("fractions", (tensor(9, 31), tensor(9, 31)), dtypes=FLOATS)
    few = integers(0, 4)
    yield Sample("opset-13", (tensor(9, 31, draw=few), tensor(31, draw=few)), dtypes=("float32",), opset=13)


def equal() -> Iterator[Sample]:
    yield from comparison(wrong=None)
    yield last_bits()
    big = s.literal(2**53, 2**53 + 1, 2**62), s.literal(2**53 + 1, 2**53 + 1, 2**62 + 1)
    yield s.tagged("beyond-doubles", *big, dtypes=("int64",), tags=s.SPECIAL)
    yield Sample("strings", (tensor(3, 1, 5), tensor(4, 1)), dtypes=("string",))
    alike = s.literal("a", "A", "a ", "", "é"), s.literal("a", "a", "a", "", "e\u0301")  # the last look the same
    yield s.tagged("strings-alike", *alike, dtypes=("string",), tags=s.SPECIAL)
    mixed = (tensor(3), tensor(3, dtype="int64"))
    yield Sample("mixed-types", mixed, dtypes=("float32",), refuse="both operands must have one type")


def shifts() -> Iterator[Sample]:
    few = ("uint8", "uint32")
    for direction in ("LEFT", "RIGHT"):
        series = s.binary(integers(0, 255), integers(0, 7), special=None, few=few, large=False, wrong="float32")
        first = direction == "LEFT"
        yield from s.only(
            series, prefix=f"{direction.lower()}-", attributes={"direction": direction}, refusals=first
        )
        for dtype in UNSIGNED:
            # Every single bit by every amount that stays within the width; uint64 below 2^63.
            top = {"uint8": 7, "uint16": 15, "uint32": 31, "uint64": 62}[dtype]
            ends = (1, 3, 2**top, 2 ** (top + 1) - 1)
            pairs = s.literal(*ends, shape=(4, 1)), s.literal(0, 1, top // 2, top, shape=(1, 4))
            name, attributes = f"{direction.lower()}-ends-{dtype}", {"direction": direction}
            yield s.tagged(name, *pairs, attributes=attributes, dtypes=(dtype,), tags=s.SPECIAL)
    operands = (tensor(3, dtype="uint8"), tensor(3, dtype="uint8"))
    yield Sample("no-direction", operands, dtypes=("uint8",), refuse="direction is required")


def found_again() -> Sample:
    """Special values at other places the second time, where what was found first must not be given again."""
    items = s.SPECIAL_VALUES
    return s.tagged("again", s.literal(*items), dtypes=FLOATS, again=((s.literal(*items[::-1]),),), tags=s.SPECIAL)


def infinities() -> Iterator[Sample]:
    yield from s.unary(wrong="int32")
    yield found_again()
    mixed = s.literal(*s.SPECIAL_VALUES, s.INF, -s.INF, 65504.0, 3.4028234e38, -3.4028234e38)
    for name, attributes in (
        ("only-positive", {"detect_negative": 0}),
        ("only-negative", {"detect_positive": 0}),
        ("neither", {"detect_negative": 0, "detect_positive": 0}),
    ):
        yield s.tagged(name, mixed, attributes=attributes, dtypes=FLOATS, tags=s.SPECIAL)
    yield s.tagged("opset-10", mixed, dtypes=("float32", "float64"), opset=11, tags=s.SPECIAL)
    yield s.tagged("float8", s.literal(*s.SPECIAL_VALUES), dtypes=FLOAT8, tags=s.SPECIAL)


def not_numbers() -> Iterator[Sample]:
    yield from s.unary(wrong="int32")
    yield found_again()
    yield s.tagged("float8", s.literal(*s.SPECIAL_VALUES), dtypes=FLOAT8, tags=s.SPECIAL)


def selections() -> Iterator[Sample]:
    def three(a: tuple[int, ...], b: tuple[int, ...], c: tuple[int, ...]) -> tuple[TensorSpec, ...]:
        return tensor(*a, dtype="bool", draw=coin()), tensor(*b), tensor(*c)

    yield Sample("same-shape", three((3, 4, 5), (3, 4, 5), (3, 4, 5)))
    unusual = (*s.FEW, "int64", "bool", *s.UNUSUAL)
    yield Sample("broadcast-all", three((3, 1, 5), (4, 1), (1, 4, 5)), dtypes=unusual)
    yield Sample("broadcast-condition", three((5,), (3, 4, 5), (3, 4, 5)), dtypes=s.FEW)
    yield Sample("scalar-condition", three((), (3, 5), (3, 5)), dtypes=s.FEW, tags=s.SCALAR)
    yield Sample("scalar-branch", three((3, 5), (3, 5), ()), dtypes=s.FEW, tags=s.SCALAR)
    yield Sample("scalars", three((), (), ()), dtypes=s.FEW, tags=s.SCALAR)
    yield Sample("rank-6", three((2, 1, 3, 1, 2, 5), (1, 2, 1, 3, 2, 1), (5,)), dtypes=s.FEW)
    yield Sample("empty", three((2, 0), (2, 0), (1, 1)), dtypes=s.FEW, tags=s.EMPTY)
    yield Sample("large", three((513, 511), (511,), (513, 1)), dtypes=("float32",), tags=s.LARGE)
    condition, x, _ = three((1, 1, 6, 6), (1, 2, 6, 6), ())
    mask = replace(condition, constant=True)
    yield Sample("mask", (mask, x, TensorSpec((), s.literal(-s.INF).draw, constant=True)), dtypes=FLOATS)
    sizes = three((1, 7), (5, 1, 7), (5, 2, 1)), three((4, 1), (1, 4, 3), (1, 4, 1))
    yield Sample("dynamic", three((3, 4), (2, 3, 4), (2, 3, 1)), dtypes=s.FEW, again=sizes, tags=s.DYNAMIC)
    size = len(s.SPECIAL_VALUES)
    # What is not chosen must not shine through: NaN times zero is no choice.
    branches = s.literal(*s.SPECIAL_VALUES, shape=(size, 1)), s.literal(*s.SPECIAL_VALUES, shape=(1, size))
    yield s.tagged("special", tensor(size, size, dtype="bool"), *branches, dtypes=FLOATS, tags=s.SPECIAL)
    small = tensor(5, 7, draw=subnormal())
    subnormals = tensor(5, 7, dtype="bool", draw=coin()), small, small
    yield Sample("subnormals", subnormals, dtypes=FLOATS, tags=s.SPECIAL | {"subnormal"})
    for dtype in LIMITS:
        ends = s.literal(*s.extremes(dtype))
        flags = s.literal(*[True] * (ends.shape[0] - 1), False, dtype="bool")
        yield s.tagged(f"extremes-{dtype}", flags, ends, s.literal(7, shape=()), dtypes=(dtype,), tags=s.SPECIAL)
    yield Sample("opset-11", three((3, 4), (3, 4), (4,)), dtypes=("float32", "int64"), opset=11)
    one = ("float32",)
    yield Sample("mismatch", three((3, 4), (3, 5), (3, 5)), dtypes=one, refuse="4 and 5 do not broadcast")
    numbers = (tensor(3), tensor(3), tensor(3))
    yield Sample("wrong-type", numbers, dtypes=one, refuse="the condition must be bool")
    yield Sample("too-few-inputs", three((3,), (3,), (3,))[:2], dtypes=one, refuse="2 inputs where 3 are needed")


OPERATORS = (
    Operator("Equal", lambda a, b: a == b, EXACT, equal, strings=True),
    Operator("Greater", lambda a, b: a > b, EXACT, ordered),
    Operator("GreaterOrEqual", lambda a, b: a >= b, EXACT, ordered),
    Operator("Less", lambda a, b: a < b, EXACT, ordered),
    Operator("LessOrEqual", lambda a, b: a <= b, EXACT, ordered),
    Operator("And", lambda a, b: a & b, EXACT, logical),
    Operator("Or", lambda a, b: a | b, EXACT, logical),
    Operator("Xor", lambda a, b: a ^ b, EXACT, logical),
    Operator("Not", lambda x: ~x, EXACT, partial(s.unary, special=None, few=("bool",), wrong="float32")),
    Operator("BitwiseAnd", lambda a, b: a & b, EXACT, bitwise),
    Operator("BitwiseOr", lambda a, b: a | b, EXACT, bitwise),
    Operator("BitwiseXor", lambda a, b: a ^ b, EXACT, bitwise),
    Operator(
        "BitwiseNot",
        lambda x: ~x,
        EXACT,
        partial(s.unary, special=None, few=("int32", "uint8"), limits=LIMITS, wrong="float32"),
    ),
    Operator("BitShift", shift, EXACT, shifts),
    Operator("IsNaN", lambda x: torch.isnan(_wide(x)), EXACT, not_numbers),
    Operator("IsInf", is_infinite, EXACT, infinities),
    Operator(
        "Where",
        lambda c, x, y: torch.where(c, x, y),
        Exact(signed_zero=True),
        selections,
        variable="T",
        strings=True,
    ),
)
