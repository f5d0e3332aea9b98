"""Operators that change the element type: by value (Cast, CastLike) or by keeping the bits (BitCast).

What ONNX leaves open is not asked for: a float that is out of an integer type's range, and the rounding of a
float64 to 16 bits through float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.draws import AUTO, Draw, choice, integers, uniform
from conformance.dtypes import (
    BOOL,
    BORROWED,
    FLOATS,
    INTEGERS,
    SIGNED,
    from_onnx,
    lookup,
    numpy_to_torch,
    torch_dtype,
)
from conformance.lazy import torch
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .movement import COPIED, NARROW, PAIR
from .samples import DYNAMIC, EMPTY, INF, LARGE, NAN, SCALAR, SPECIAL, extremes, literal, refusals, tagged

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS", "to_dtype"]

ONE = ("float32",)
FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")
TINY = ("float4e2m1", "float6e2m3", "float6e3m2")  # neither infinities nor NaN
INT4 = ("int4", "uint4")
FEW_BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
HALVES = ("float16", "bfloat16")
PLAIN = (*FLOATS, *INTEGERS, *BOOL)
# torch has too little arithmetic on these: they are computed as the wider signed type.
WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


def _rounded(x: Tensor, dtype: str) -> Tensor:
    """float64 values on the format's grid, to nearest even; above the largest number the grid goes on."""
    kind = lookup(dtype)
    x = x.double()
    exponent = torch.frexp(torch.where(x.isfinite(), x.abs(), 1.0).clamp(min=kind.smallest)).exponent - 1
    spacing = torch.ldexp(torch.ones_like(x), exponent - kind.p)
    return torch.round(x / spacing) * spacing


def _power_of_two(x: Tensor, saturate: bool, round_mode: str) -> Tensor:
    """float64 values on float8e8m0's grid, 2^-127 to 2^127. Of negative numbers the standard says nothing; zero is
    saturated like what else is too small (its bits are zero)."""
    fraction, exponent = torch.frexp(torch.where(x.isfinite(), x, 1.0))  # x = fraction * 2^exponent, from 1/2 on
    above = {"up": fraction > 0.5, "down": torch.zeros_like(x, dtype=torch.bool), "nearest": fraction >= 0.75}
    value = torch.ldexp(torch.ones_like(x), exponent - 1 + above[round_mode])
    value = torch.where(x == INF, INF, value)
    kind = lookup("float8e8m0")
    if saturate:
        value = torch.where(x == 0, kind.smallest, value).clamp(kind.smallest, kind.largest)
    else:
        value = torch.where((value >= kind.smallest) & (value <= kind.largest) & (x != 0), value, NAN)
    return torch.where(x.isnan(), NAN, value)


def to_dtype(x: Tensor, dtype: str, saturate: bool = True, round_mode: str = "up") -> Tensor:
    """Cast by value, rounding once to nearest even (torch goes to the narrow formats through float32).

    ``dtype`` is an ONNX type name; a type that torch does not compute in becomes the wider signed one or that in
    which it travels (`conformance.dtypes.BORROWED`). ``saturate`` is for the 8-bit floats, ``round_mode`` for
    float8e8m0: the tables of the Cast operator.
    """
    kind = lookup(dtype)
    target = torch_dtype(WIDER.get(dtype, dtype))
    if x.dtype == target and dtype not in BORROWED:
        return x
    if x.is_floating_point() and x.element_size() == 1:
        x = x.float()
    if dtype == "bool":
        return x.ne(0)
    if dtype in FEW_BITS:
        half = 1 << (FEW_BITS[dtype] - 1)
        low = x.long() & (2 * half - 1)
        return (low if dtype.startswith("u") else (low ^ half) - half).to(target)
    if dtype == "float8e8m0":
        return _power_of_two(x.double(), saturate, round_mode).to(target)
    if not kind.is_float or kind.p > 10:
        return x.to(target)
    value = _rounded(x, dtype)
    if dtype in (*FLOAT8, *TINY):
        over = value.abs() > kind.largest
        beyond = kind.largest if saturate or dtype in TINY else (INF if dtype == "float8e5m2" else NAN)
        value = torch.where(over, torch.full_like(value, beyond).copysign(value), value)
    # Every value is one of the format's by now (or too large for it), so that this conversion rounds nothing.
    return value.float().to(target)


def cast(x: Tensor, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return to_dtype(x, from_onnx(to).name, bool(saturate), round_mode)


def cast_like(
    x: Tensor,
    target_type: Tensor,
    saturate: int = 1,
    round_mode: str = "up",
    dtypes: tuple[str, ...] = (),
) -> Tensor:
    return to_dtype(x, dtypes[0], bool(saturate), round_mode)


def _patterns(dtype: str) -> Tensor:
    """The value of every pattern of bits of a type of 8 bits at most that travels as another one, in order."""
    bits = np.arange(1 << _width(dtype), dtype=np.uint8)
    kind = lookup(dtype)
    return numpy_to_torch(bits.view(kind.numpy) if kind.is_float else bits.astype(kind.numpy))


def _width(dtype: str) -> int:
    return {**FEW_BITS, "float4e2m1": 4}.get(dtype, 8 * lookup(dtype).numpy.itemsize)


def _small_bits(x: Tensor, width: int) -> Tensor:
    """The bits of a type of 8 bits at most, as int64; in float32 only float4e2m1 and float8e8m0 come."""
    if x.dtype == torch.float32:
        table = _patterns("float8e8m0" if width == 8 else "float4e2m1")
        return (x.view(torch.int32)[..., None] == table.view(torch.int32)).to(torch.uint8).argmax(-1)
    whole = x.view(torch.uint8) if x.is_floating_point() else x
    return whole.long() & ((1 << width) - 1)


def bit_cast(x: Tensor, to: int) -> Tensor:
    kind = lookup(from_onnx(to).name)
    size = kind.numpy.itemsize
    if kind.name in BORROWED:
        return _patterns(kind.name).to(x.device)[_small_bits(x, _width(kind.name))]
    if x.dtype == torch.float32 and size == 1:
        x = _small_bits(x, 8).to(torch.uint8)
    if kind.name == "bool" or x.dtype == torch.bool:
        x = x.to(torch.uint8)
    if not x.is_floating_point() and x.element_size() > size:  # a uint16 or uint32 that came in a wider type
        x = x.to(torch.int16 if size == 2 else torch.int32)
    if kind.name not in WIDER or kind.name == "uint64":
        return x.view(torch_dtype(WIDER.get(kind.name, kind.name)))
    bits = x.view(torch.int16 if size == 2 else torch.int32)
    return torch.bitwise_and(bits.to(torch_dtype(WIDER[kind.name])), 2 ** (8 * size) - 1)


# Halfway between two float16 or two bfloat16 numbers, next to it, and at the ends of the two formats.
TIES = (
    2049.0,
    2051.0,
    -2049.0,
    2048.5,
    1 + 2**-11,
    1 + 3 * 2**-11,
    257.0,
    259.0,
    -257.0,
    1 + 2**-8,
    1 + 3 * 2**-8,
)
ENDS = (65504.0, 65519.0, 65520.0, -65520.0, 1e6, 2**-24, 2**-25, 1.5 * 2**-24, -(2**-26), 1e-7, 3.39e38, 3.4e38)
FLOAT8_VALUES = (
    *(0.0, -0.0, 1.0, -1.0, 1.0625, 1.1875, 1.125, 1.375, 2**-9, 2**-10, 3 * 2**-10, 2**-16, 2**-17, 1e-6, 0.3),
    *(240.0, 247.0, 248.0, 256.0, 448.0, 463.0, 464.0, 465.0, -464.5, 480.0, 1000.0),
    *(57344.0, 61439.0, 61440.0, -61440.0, 65000.0, NAN, INF, -INF),
)


# Halfway between two numbers and next to it; of float4e2m1 beyond its ends, too, which the published vectors settle.
# What float6 makes of what is beyond its ends, and any of the three of NaN, Cast does not say.
TINY_VALUES: Mapping[str, tuple[float, ...]] = {
    "float4e2m1": (
        0.0,
        -0.0,
        0.25,
        0.2505,
        -0.75,
        1.25,
        1.26,
        1.75,
        2.5,
        -3.5,
        4.9,
        5.0,
        5.02,
        6.0,
        7.0,
        -9.0,
        INF,
        -INF,
    ),
    "float6e2m3": (
        0.0,
        -0.0,
        0.0625,
        0.063,
        -0.1875,
        1.0625,
        1.07,
        1.1875,
        2.125,
        -3.875,
        5.25,
        5.26,
        7.25,
        7.5,
        -7.5,
    ),
    "float6e3m2": (
        0.0,
        -0.0,
        0.03125,
        0.032,
        -0.09375,
        1.125,
        1.13,
        1.375,
        4.5,
        -7.5,
        18.0,
        18.1,
        22.0,
        26.0,
        28.0,
        -28.0,
    ),
}
POWERS = (0.3, 0.5, 1.0, 1.0009765625, 1.25, 1.5, 1.49, 1.75, 2.0, 3.0, 5.0, 6.0, 100.0, 2.0**-14, 3e4, 2.0**15)
FAR_POWERS = (*POWERS, 2.0**127, 2.0**-126, 1.25 * 2.0**126, 1.75 * 2.0**126, 3e-38, NAN)


def _values_for(target: str) -> Draw:
    """Floats of which the target can hold the whole part; the fraction is cut off."""
    if target in FLOATS or target in FLOAT8 or target == "bool":
        return AUTO
    if target in FEW_BITS:
        # Engines differ in whether a fraction is cut off or rounded here, and the standard is silent.
        bits = FEW_BITS[target]
        return (
            integers(0, 2**bits - 1)
            if target.startswith("u")
            else integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )
    return uniform(-99.0 if target in SIGNED else 0.0, 99.0)


def _casts(like: bool) -> Iterator[Sample]:
    def to(name: str, x: TensorSpec, target: str, *, saturate: int | None = None, **fields: Any) -> Sample:
        attributes = {} if saturate is None else {"saturate": saturate}
        if like:
            return tagged(name, x, tensor(1, dtype=target), attributes=attributes, **fields)
        return tagged(name, x, attributes={"to": lookup(target).onnx, **attributes}, **fields)

    targets = ("float32", "float16", "int32", "int64", "uint8", "bool") if like else PLAIN
    for target in targets:
        exactly = tuple(d for d in PLAIN if d != "float64" or target not in HALVES)
        whole = tuple(d for d in exactly if d not in FLOATS)
        whole = ("int32", "int64", "uint8", "bool") if like else whole
        floats = tuple(d for d in exactly if d in FLOATS)
        yield to(f"to-{target}", tensor(3, 7, draw=_values_for(target)), target, dtypes=floats)
        few = integers(0, 9) if target.startswith("u") else AUTO
        yield to(f"whole-to-{target}", tensor(3, 7, draw=few), target, dtypes=whole)
    for target in HALVES[:1] if like else HALVES:
        wide = literal(*TIES, *ENDS)
        yield to(f"rounding-to-{target}", wide, target, dtypes=("float32", "float64"), tags=SPECIAL)
    for target in ("float32", "float64") if like else FLOATS:
        unusual = literal(NAN, INF, -INF, 0.0, -0.0, 1.0, 1e30, 1e-40, 6e-8, 5e-324)
        yield to(f"special-to-{target}", unusual, target, dtypes=FLOATS, tags=SPECIAL)
    for saturate in (1, 0):
        for target in FLOAT8[:1] if like else FLOAT8:
            name = f"to-{target}" if saturate else f"to-{target}-unsaturated"
            # What becomes of an infinity that is saturated, the text of versions 19 to 23 has as NaN for the
            # FNUZ types, where ONNX's evaluator and vectors have the largest number: not asked before 24.
            infinite = not (saturate and target.endswith("fnuz"))
            wide = literal(*(v for v in FLOAT8_VALUES if infinite or abs(v) != INF))
            yield to(name, wide, target, saturate=saturate, dtypes=("float32", *HALVES), tags=SPECIAL)
    yield to(
        "nonzero-to-bool", literal(NAN, INF, -INF, 0.0, -0.0, 0.5, -1e-7), "bool", dtypes=FLOATS, tags=SPECIAL
    )
    cut = literal(0.5, -0.5, 0.99, -0.99, 1.5, -1.5, 2.5, -2.5, 126.75, -127.5)
    yield to("truncation", cut, "int8" if not like else "int32", dtypes=FLOATS)
    yield to("same-type", tensor(3, 5), "float32", dtypes=ONE)
    yield to("scalar", tensor(), "int32", dtypes=ONE, tags=SCALAR)
    yield to("rank-6", tensor(2, 1, 3, 1, 2, 2), "int64", dtypes=ONE)
    yield to("empty", tensor(2, 0, 3), "float16", dtypes=ONE, tags=EMPTY)
    yield to("large", tensor(513, 511), "float16", dtypes=ONE, tags=LARGE)
    again = ((tensor(1, 5),), (tensor(4, 9),)) if not like else ()
    yield to("dynamic", tensor(2, 3), "int32", dtypes=PAIR, again=again, tags=DYNAMIC if not like else ())


WRAPS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("int64", ("int8", "uint8", "int16", "int32", "uint32", "uint64")),
    ("int32", ("int8", "uint16", "int64")),
    ("int16", ("uint8", "uint64")),
    ("int8", ("uint8", "uint32")),
    ("uint8", ("int8", "int32")),
    ("uint16", ("int16", "uint8")),
    ("uint32", ("int32", "int64")),
    ("uint64", ("uint32", "int64")),
)


def casts() -> Iterator[Sample]:
    yield from _casts(like=False)
    for source, targets in WRAPS:
        for target in targets:
            limits = literal(*extremes(source))
            attributes = {"to": lookup(target).onnx}
            name = f"wrap-{source}-to-{target}"
            yield tagged(name, limits, attributes=attributes, dtypes=(source,), tags=SPECIAL)
    whole = literal(2**24 + 1, 2**24 + 3, 2**53 + 1, -(2**53) - 1, 2**62 + 2**38, 2**63 - 1)
    for target in ("float32", "float64"):
        attributes = {"to": lookup(target).onnx}
        yield tagged(f"large-to-{target}", whole, attributes=attributes, dtypes=("int64",), tags=SPECIAL)
    limits = literal(65504, 65519, 65520, -70000, 2049, 2051)
    yield tagged("to-float16-overflow", limits, attributes={"to": 10}, dtypes=("int32", "int64"), tags=SPECIAL)
    far = literal(1e39, -1e39, 3.4028235677973366e38, 1e-46, 1e-40, 1 + 2**-24, 1 + 3 * 2**-24)
    yield tagged("to-float32-rounding", far, attributes={"to": 1}, dtypes=("float64",), tags=SPECIAL)
    edges = literal(2.0**52 + 1, -(2.0**63), 2.0**62, -0.75)
    yield tagged("to-int64-edges", edges, attributes={"to": 7}, dtypes=("float64",), tags=SPECIAL)
    for target in ("float32", "float16", "bfloat16"):
        attributes = {"to": lookup(target).onnx}
        yield tagged(f"narrow-to-{target}", tensor(3, 7), attributes=attributes, dtypes=(*NARROW, *TINY[1:]))
    for target, items in TINY_VALUES.items():
        attributes = {"to": lookup(target).onnx}
        yield tagged(
            f"to-{target}", literal(*items), attributes=attributes, dtypes=("float32", *HALVES), tags=SPECIAL
        )
    eight = {"to": lookup("float8e8m0").onnx}
    far = literal(0.0, INF, 1.5 * 2.0**127, *FAR_POWERS)
    for dtype, some in (("float32", far), ("float16", literal(*POWERS, INF, NAN)), ("bfloat16", literal(*POWERS))):
        suffix = "" if dtype == "float32" else f"-from-{dtype}"
        for mode in ("up", "down", "nearest"):
            given: dict[str, Any] = {
                "attributes": {**eight, "round_mode": mode},
                "dtypes": (dtype,),
                "tags": SPECIAL,
            }
            yield tagged(f"to-float8e8m0-{mode}{suffix}", some if mode == "up" else literal(*POWERS, NAN), **given)
    free = {**eight, "round_mode": "nearest", "saturate": 0}
    yield tagged(
        "to-float8e8m0-unsaturated", literal(0.0, INF, *FAR_POWERS), attributes=free, dtypes=ONE, tags=SPECIAL
    )
    for target in FEW_BITS:
        attributes = {"to": lookup(target).onnx}
        yield tagged(f"to-{target}", tensor(3, 7, draw=_values_for(target)), attributes=attributes, dtypes=ONE)
        wide = literal(*range(41)) if target.startswith("u") else literal(*range(-20, 21))
        yield tagged(f"wrap-to-{target}", wide, attributes=attributes, dtypes=("int32", "int64"))
    yield from _texts(lambda target: {"attributes": {"to": lookup(target).onnx}}, lambda target: ())
    yield tagged("opset-11", tensor(3, 5), attributes={"to": 6}, dtypes=PAIR, opset=11)
    yield tagged("opset-13", tensor(3, 5), attributes={"to": 16}, dtypes=ONE, opset=13)
    narrow = literal(*FLOAT8_VALUES)
    unsaturated = {"to": 17, "saturate": 0}
    yield tagged("opset-19-unsaturated", narrow, attributes=unsaturated, dtypes=ONE, opset=19, tags=SPECIAL)
    for target in ("float8e4m3fnuz", "float8e5m2fnuz"):
        ends = literal(INF, -INF, NAN, 1e6, -1e6)
        attributes = {"to": lookup(target).onnx}
        yield tagged(f"opset-24-to-{target}", ends, attributes=attributes, dtypes=ONE, opset=24, tags=SPECIAL)
    down = {**eight, "round_mode": "down"}
    yield tagged("opset-24-round-mode", literal(*POWERS, NAN), attributes=down, dtypes=ONE, opset=24, tags=SPECIAL)
    yield tagged("no-target", tensor(3), dtypes=ONE, refuse="to is required")
    yield tagged("unknown-target", tensor(3), attributes={"to": 99}, dtypes=ONE, refuse="no type has number 99")
    yield from (s for s in refusals(1, wrong=None) if s.name != "too-few-inputs")


def _texts(
    attributes: Callable[[str], dict[str, Any]], more: Callable[[str], tuple[TensorSpec, ...]]
) -> Iterator[Sample]:
    """From strings and to strings. How many digits a float gets, and what a Boolean becomes, the standard leaves open."""
    short = ("3.25", "1000", "-2.5", "1e-2", "5E2", "0")
    special = ("INF", "+INF", "-INF", "NaN", "inf", "-Inf", "nan")
    whole = ("100", "-7", "0", "42")
    # bfloat16 is left out: ONNX's evaluator, the reference for strings, reads none.
    for target in ("float32", "float16", "float64", *INTEGERS):
        items = short if target in FLOATS else tuple(t for t in whole if t[0] != "-" or target in SIGNED)
        yield tagged(f"text-to-{target}", literal(*items), *more(target), dtypes=("string",), **attributes(target))
    for target in ("float32", "float64"):
        name = f"text-to-{target}-special"
        yield tagged(
            name, literal(*special), *more(target), dtypes=("string",), tags=SPECIAL, **attributes(target)
        )
    yield tagged("to-text", tensor(3, 7), *more("string"), dtypes=INTEGERS, **attributes("string"))


def casts_like() -> Iterator[Sample]:
    yield from _casts(like=True)
    # Every type that the samples before do not have, in the place of the input and of the other.
    sources = ("int8", "int16", "uint16", "uint32", "uint64", *NARROW)
    yield tagged("others-to-float32", tensor(3, 7), tensor(1, dtype="float32"), dtypes=sources)
    for target in ("float64", "bfloat16", "int8", "int16", "uint16", "uint32", "uint64", *NARROW):
        x = tensor(3, 7, draw=integers(0, 1) if target != "float8e8m0" else choice(0.5, 1, 2))
        yield tagged(f"to-other-{target}", x, tensor(1, dtype=target), dtypes=ONE)
    yield from _texts(lambda target: {}, lambda target: (tensor(1, dtype=target),))
    for source, target in (("int64", "int32"), ("int64", "uint64"), ("int32", "int64"), ("uint8", "int8")):
        inputs = literal(*extremes(source)), tensor(1, dtype=target)
        yield tagged(f"wrap-{source}-to-{target}", *inputs, dtypes=(source,), tags=SPECIAL)
    inputs = literal(*extremes("uint64")), tensor(1, dtype="int64")
    yield tagged("wrap-uint64-to-int64", *inputs, dtypes=("uint64",), tags=SPECIAL)
    constant = tensor(1, dtype="float16", constant=True)
    yield tagged("constant-target", tensor(3, 5), constant, dtypes=PAIR)
    yield tagged("empty-target", tensor(3, 5), tensor(0, dtype="int32"), dtypes=ONE)
    yield tagged("opset-15", tensor(3, 5), tensor(1, dtype="int32"), dtypes=ONE, opset=15)
    yield tagged("opset-19", tensor(3, 5), tensor(2, 2, dtype="bfloat16"), dtypes=ONE, opset=19)
    ends, narrow = literal(INF, -INF, NAN, 1e6, -0.0), tensor(1, dtype="float8e4m3fnuz")
    yield tagged("opset-24", ends, narrow, dtypes=ONE, opset=24, tags=SPECIAL)
    powers = literal(*POWERS, NAN), tensor(1, dtype="float8e8m0")
    for mode in ("down", "nearest"):
        given = {"round_mode": mode}
        yield tagged(f"opset-24-{mode}", *powers, attributes=given, dtypes=ONE, opset=24, tags=SPECIAL)
    yield tagged(
        "opset-19-unsaturated", ends, narrow, attributes={"saturate": 0}, dtypes=ONE, opset=19, tags=SPECIAL
    )


WIDTHS: Sequence[tuple[str, ...]] = (
    ("int8", "uint8", *FLOAT8, "float8e8m0"),
    ("float16", "bfloat16", "int16", "uint16"),
    ("float32", "int32", "uint32"),
    ("float64", "int64", "uint64", "complex64"),
    ("int4", "uint4", "float4e2m1"),
    ("int2", "uint2"),
)


def bit_casts() -> Iterator[Sample]:
    for group in WIDTHS:
        for target in group:
            sources = tuple(d for d in group if d != target)
            attributes = {"to": lookup(target).onnx}
            yield tagged(f"to-{target}", tensor(3, 7), attributes=attributes, dtypes=sources, opset=26)
    yield tagged("bool-to-uint8", tensor(3, 7), attributes={"to": 2}, dtypes=BOOL, opset=26)
    flags = tensor(3, 7, draw=integers(0, 1))
    yield tagged("uint8-to-bool", flags, attributes={"to": 9}, dtypes=("uint8",), opset=26)
    yield tagged("complex128", tensor(3, 7), attributes={"to": 15}, dtypes=("complex128",), opset=26)
    zeros = literal(0.0, -0.0, INF, -INF, 1.0)
    yield tagged("special", zeros, attributes={"to": 6}, dtypes=ONE, opset=26, tags=SPECIAL)
    yield tagged("scalar", tensor(), attributes={"to": 6}, dtypes=ONE, opset=26, tags=SCALAR)
    yield tagged("empty", tensor(0, 3), attributes={"to": 6}, dtypes=ONE, opset=26, tags=EMPTY)
    yield tagged("other-width", tensor(3), attributes={"to": 7}, dtypes=ONE, opset=26, refuse="32 bits to 64")


OPERATORS = (
    Operator("Cast", cast, COPIED, casts),
    Operator("CastLike", cast_like, COPIED, casts_like),
    Operator("BitCast", bit_cast, COPIED, bit_casts),
)
