"""Quantisation of real tensors and its inverse: per tensor, per axis and in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conformance.draws import choice, distinct, full, integers, uniform, values
from conformance.dtypes import lookup
from conformance.lazy import torch
from conformance.rules import ROUNDED, Requantised, Rounded
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .casting import FEW_BITS, FLOAT8, INT4, TINY, to_dtype
from .movement import positive
from .samples import DYNAMIC, EMPTY, INF, LARGE, SCALAR, SPECIAL, literal, pairwise, refusals, tagged

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BYTES", "FULL", "OPERATORS", "fixed", "saturated", "scales", "zeros"]

ONE = ("float32",)
BYTES = ("uint8", "int8")
FULL = integers(-128, 127)  # the whole range of int8, and (wrapped) of uint8


def _spread(parameters: Tensor, shape: Sequence[int], axis: int, block_size: int) -> Tensor:
    """Scales or zero points in a shape that broadcasts to x's: per tensor, per axis or per block."""
    if parameters.numel() == 1 and parameters.dim() <= 1:
        return parameters.reshape(())
    axis = positive(axis, len(shape))
    if block_size:
        return parameters.repeat_interleave(block_size, axis).narrow(axis, 0, shape[axis])
    if parameters.dim() != 1 or parameters.shape[0] != shape[axis]:
        raise ValueError(f"parameters of shape {tuple(parameters.shape)} for axis {axis} of shape {tuple(shape)}")
    return parameters.reshape([-1 if a == axis else 1 for a in range(len(shape))])


def saturated(real: Tensor, zero: Tensor | None, dtype: str) -> Tensor:
    """round-half-even(real) + zero, clamped to the integer type's range."""
    bits = FEW_BITS.get(dtype, lookup(dtype).numpy.itemsize * 8)
    low = 0 if dtype.startswith("u") else -(2 ** (bits - 1))
    whole = torch.round(real)
    whole = whole if whole.dtype == torch.float64 else whole.float()  # a 16-bit float would round the sum
    return (whole if zero is None else whole + zero).clamp(low, low + 2**bits - 1).to(torch.int32)


def quantize_linear(
    x: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    axis: int = 1,
    saturate: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    dtypes: tuple[str, ...] = ("uint8",),
) -> Tensor:
    real = x / _spread(y_scale, x.shape, axis, block_size)
    if lookup(dtypes[0]).is_float:  # of 8 bits and fewer; its zero point is 0
        return to_dtype(real, dtypes[0], bool(saturate))
    zero = None if y_zero_point is None else _spread(y_zero_point, x.shape, axis, block_size)
    return saturated(real, zero, dtypes[0])


def dequantize_linear(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None = None,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    working = torch.float64 if x_scale.dtype == torch.float64 else torch.float32
    scale = _spread(x_scale, x.shape, axis, block_size).to(working)
    if x.is_floating_point():
        return x.to(working) * scale
    whole = x.to(torch.int64)
    if x_zero_point is not None:
        whole = whole - _spread(x_zero_point, x.shape, axis, block_size).to(torch.int64)
    return whole.to(working) * scale


def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.full_like(scale, 1 / 255), scale)
    zero = torch.round(-low / scale).clamp(0, 255)
    return (torch.round(x / scale) + zero).clamp(0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


def fixed(*items: float, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> TensorSpec:
    """An initializer: a scalar for one number, a vector for several."""
    return TensorSpec(
        (() if len(items) == 1 else (len(items),)) if shape is None else shape, values(*items), dtype, True
    )


def scales(*shape: int, dtype: str | None = None) -> TensorSpec:
    return TensorSpec(shape, uniform(0.02, 0.09), dtype, constant=True)


def zeros(*shape: int, dtype: str) -> TensorSpec:
    low, high = {"int4": (-3, 3), "uint4": (0, 9)}.get(dtype, (0, 99) if dtype.startswith("u") else (-40, 40))
    return TensorSpec(shape, integers(low, high), dtype, constant=True)


def quantisations() -> Iterator[Sample]:
    x = (3, 4, 5)
    few = ("float32", "float16")
    zero_point = fixed(5, dtype="int8")
    for dtype, scale in (
        ("uint8", 0.02),
        ("int8", 0.02),
        ("int16", 0.0001),
        ("uint16", 0.0001),
        ("int4", 0.2),
        ("uint4", 0.2),
        ("int2", 0.8),
        ("uint2", 0.8),
    ):
        middle = {"uint8": 128, "uint16": 30000, "uint4": 8, "uint2": 1}.get(dtype, -1)
        dtypes = None if dtype == "uint8" else ("float32",)
        yield tagged(f"to-{dtype}", tensor(*x), fixed(scale), fixed(middle, dtype=dtype), dtypes=dtypes)
    yield tagged("no-zero-point", tensor(*x), fixed(0.02), dtypes=few)
    yield tagged("output-dtype", tensor(*x), fixed(0.02), attributes={"output_dtype": 3}, dtypes=few)
    for name, axis in (("axis-default", None), ("axis-0", 0), ("axis-negative", -1)):
        n = x[1 if axis is None else axis]
        attributes = {} if axis is None else {"axis": axis}
        yield tagged(name, tensor(*x), scales(n), zeros(n, dtype="uint8"), attributes=attributes, dtypes=few)
    yield tagged("axis-int8", tensor(*x), scales(4), zeros(4, dtype="int8"), dtypes=few)
    yield tagged(
        "blocks",
        tensor(2, 6, 3),
        scales(2, 3, 3),
        zeros(2, 3, 3, dtype="uint8"),
        attributes={"block_size": 2},
        dtypes=few,
    )
    uneven = {"block_size": 3, "axis": -1}
    yield tagged(
        "blocks-uneven", tensor(2, 7), scales(2, 3), zeros(2, 3, dtype="int8"), attributes=uneven, dtypes=few
    )
    yield tagged(
        "blocks-int4",
        tensor(4, 8),
        scales(1, 8),
        None,
        attributes={"block_size": 4, "axis": 0, "output_dtype": 22},
        dtypes=ONE,
    )
    halves = [i + 0.5 for i in range(-6, 6)]
    yield tagged("ties", literal(*halves), fixed(1.0), fixed(10, dtype="uint8"), exact=True)
    yield tagged(
        "ties-scaled",
        literal(*(h / 4 for h in halves)),
        fixed(0.25),
        fixed(3, dtype="int8"),
        exact=True,
    )
    far = literal(1e4, -1e4, 300, -300, INF, -INF, 0.0, -0.0)
    for dtype in BYTES:
        yield tagged(
            f"saturation-{dtype}", far, fixed(0.5), fixed(7, dtype=dtype), exact=True, dtypes=few, tags=SPECIAL
        )
    for dtype in FLOAT8:
        zero = fixed(0.0, dtype=dtype)
        yield tagged(f"to-{dtype}", tensor(*x), fixed(0.5), zero, exact=True, dtypes=few, opset=19)
    for dtype in TINY:
        zero = fixed(0.0, dtype=dtype)
        yield tagged(f"to-{dtype}", tensor(*x), fixed(0.5), zero, exact=True, dtypes=few)
        beyond = literal(1e4, -1e4, 20.0, -20.0, 0.0, -0.0)
        attributes = {"output_dtype": lookup(dtype).onnx}
        name = f"saturation-{dtype}"
        yield tagged(name, beyond, fixed(0.5), attributes=attributes, exact=True, dtypes=few, tags=SPECIAL)
    # The precision of the division is that of the scale, unless something else is asked for.
    given: dict[str, Any] = {"attributes": {"precision": 1}, "exact": True}
    yield tagged("float8e8m0-scale", tensor(*x), fixed(0.25, dtype="float8e8m0"), zero_point, dtypes=few, **given)
    tens, eight = tensor(*x, draw=integers(-40, 40)), fixed(8, dtype="int32")
    yield tagged("int32-scale", tens, eight, zero_point, dtypes=("float32", "int32"), opset=23, **given)
    for saturate, far in ((0, literal(465.0, 1e4, -1e4, 500.0, 448.0)), (1, literal(465.0, 1e4, -1e4, INF, -INF))):
        yield tagged(
            f"overflow-saturate-{saturate}",
            far,
            fixed(1.0),
            attributes={"output_dtype": 17, "saturate": saturate},
            exact=True,
            dtypes=few,
            tags=SPECIAL,
        )
    yield tagged(
        "to-float8e4m3fn-attribute",
        tensor(*x),
        fixed(0.25),
        attributes={"output_dtype": 17, "saturate": 0},
        exact=True,
        dtypes=few,
    )
    yield from _quantisation_pairs()
    quarters = integers(-100, 100)
    precise = {"precision": 1}
    half = fixed(0.25, dtype="float16")
    yield tagged(
        "precision", tensor(*x, draw=quarters), half, attributes=precise, exact=True, dtypes=ONE, opset=23
    )
    yield tagged(
        "int32",
        tensor(*x, draw=integers(-300, 300)),
        fixed(2.5, dtype="float32"),
        fixed(5, dtype="uint8"),
        dtypes=("int32",),
        opset=13,
    )
    ends = literal(-(2**31), -300, -1, 0, 1, 127, 128, 200, 255, 256, 2**31 - 128)
    one = fixed(1.0, dtype="float32"), fixed(0, dtype="uint8")
    yield tagged("int32-saturation", ends, *one, dtypes=("int32",), opset=13, tags=SPECIAL)
    yield tagged("scalar", tensor(), fixed(0.02), fixed(100, dtype="uint8"), dtypes=few, tags=SCALAR)
    yield tagged("vector", tensor(17), fixed(0.02), fixed(100, dtype="uint8"), dtypes=few)
    yield tagged(
        "rank-6", tensor(2, 1, 3, 2, 1, 2), scales(3), zeros(3, dtype="int8"), attributes={"axis": 2}, dtypes=few
    )
    yield tagged("empty", tensor(0, 3), fixed(0.02), fixed(100, dtype="uint8"), dtypes=few, tags=EMPTY)
    yield tagged("large", tensor(257, 511), scales(511), zeros(511, dtype="int8"), dtypes=ONE, tags=LARGE)
    run_time = (TensorSpec((), full(0.03)), TensorSpec((), full(3), "int8"))
    yield tagged("parameters-at-run-time", tensor(*x), *run_time, dtypes=few)
    parameters = (fixed(0.03), fixed(3, dtype="int8"))
    again = ((tensor(1, 7), *parameters), (tensor(4, 2), *parameters))
    yield tagged("dynamic", tensor(2, 3), *parameters, dtypes=few, again=again, tags=DYNAMIC)
    for opset in (11, 13, 19):
        yield tagged(f"opset-{opset}", tensor(*x), *parameters, dtypes=ONE, opset=opset)
    rows, row = (scales(x[0]), zeros(x[0], dtype="int8")), {"axis": 0}
    yield tagged("opset-13-axis", tensor(*x), *rows, attributes=row, dtypes=ONE, opset=13)
    infinite = (fixed(1.0), fixed(0.0, dtype="float8e4m3fn"))
    far, odd = literal(465.0, 1e4, -1e4, 500.0, 448.0), {"saturate": 0}
    yield tagged("opset-19-unsaturated", far, *infinite, attributes=odd, exact=True, dtypes=ONE, opset=19)
    wrong = zeros(3, dtype="uint8")
    yield tagged("shapes-differ", tensor(*x), scales(4), wrong, dtypes=ONE, refuse="4 scales, 3 zero points")
    yield tagged(
        "float-zero-point", tensor(*x), fixed(0.1), fixed(0.0), dtypes=ONE, refuse="the zero point is float32"
    )


def _parameters(row: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the scales of a combination: of blocks, else one for each place along the axis."""
    axis = 1 if row["axis"] is None else row["axis"] % len(shape)
    if not row["block_size"]:
        return (shape[axis],)
    return tuple(n // row["block_size"] if i == axis else n for i, n in enumerate(shape))


def _quantisation_pairs() -> Iterator[Sample]:
    """Exact in any order: the scales are powers of two."""
    shape = (4, 6, 2)

    def inputs(row: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
        scale = TensorSpec(_parameters(row, shape), choice(0.25, 0.5, 1.0), None, constant=True)
        if row["output_dtype"] is not None:
            return tensor(*shape), scale
        dtype = "uint8" if row["saturate"] is None else "float8e4m3fn"
        zero = (
            zeros(*scale.shape, dtype=dtype) if dtype == "uint8" else replace(scale, dtype=dtype, draw=full(0.0))
        )
        return tensor(*shape, draw=uniform(-600.0, 600.0)), scale, zero

    def valid(row: Mapping[str, Any]) -> bool:
        return row["saturate"] is None or row["output_dtype"] in (None, 17)  # only float8 does not saturate

    yield from pairwise(
        Sample("pairs", (), exact=True, opset=23),
        {
            "axis": (None, 0, -1),
            "block_size": (None, 2),
            "output_dtype": (None, 3, 17),
            "precision": (None, 1),
            "saturate": (None, 0),
        },
        inputs=inputs,
        valid=valid,
    )


def dequantisations() -> Iterator[Sample]:
    x = tensor(3, 4, 5, draw=FULL)
    few = BYTES
    wide = ("uint8", "int8", "int16", "uint16")

    def parameters(*shape: int) -> tuple[TensorSpec, TensorSpec]:
        return scales(*shape, dtype="float32"), TensorSpec(shape, integers(0, 99), None, constant=True)

    yield tagged("per-tensor", x, *parameters(), dtypes=wide)
    yield tagged("no-zero-point", x, scales(dtype="float32"), dtypes=(*wide, "int32"))
    yield tagged("narrow-types", tensor(3, 4, 5), scales(dtype="float32"), dtypes=(*FEW_BITS, *FLOAT8, *TINY))
    power = TensorSpec((4,), choice(0.25, 0.5, 2, 8), "float8e8m0", constant=True)
    single = {"output_dtype": 1}
    yield tagged("float8e8m0-scale", tensor(3, 4, 5), power, attributes=single, dtypes=("int8", "float4e2m1"))
    small = TensorSpec((), integers(0, 7), None, constant=True)
    yield tagged("narrow-zero-point", tensor(3, 4, 5), scales(dtype="float32"), small, dtypes=INT4)
    one_zero = fixed(1)
    yield tagged("zero-point-1", tensor(3, 4, 5), scales(dtype="float32"), one_zero, dtypes=("int2", "uint2"))
    yield tagged("float8-zero-point", x, scales(dtype="float32"), fixed(0.0), dtypes=FLOAT8)
    for name, axis in (("axis-default", None), ("axis-0", 0), ("axis-negative", -1)):
        n = x.shape[1 if axis is None else axis]
        yield tagged(name, x, *parameters(n), attributes={} if axis is None else {"axis": axis}, dtypes=few)
    yield tagged("axis-no-zero-point", x, scales(4, dtype="float32"), dtypes=few)
    block = tensor(2, 6, 3, draw=FULL)
    yield tagged("blocks", block, *parameters(2, 3, 3), attributes={"block_size": 2}, dtypes=few)
    uneven = {"block_size": 3, "axis": -1}
    yield tagged("blocks-uneven", tensor(2, 7, draw=FULL), *parameters(2, 3), attributes=uneven, dtypes=few)
    columns = {"block_size": 4, "axis": 0}
    yield tagged("blocks-narrow", tensor(8, 6), scales(2, 6, dtype="float32"), attributes=columns, dtypes=INT4)
    for scale in ("float16", "bfloat16"):
        zero = TensorSpec((), integers(0, 99), None, constant=True)
        yield tagged(f"{scale}-scale", x, scales(dtype=scale), zero, dtypes=few)
        yield tagged(f"{scale}-scale-axis", x, scales(4, dtype=scale), dtypes=few)
    yield from pairwise(
        Sample("pairs", (), dtypes=("int8",), opset=23),
        {"axis": (None, 0, -1), "block_size": (None, 2), "output_dtype": (None, 10)},
        inputs=lambda row: (tensor(4, 6, 2, draw=FULL), *parameters(*_parameters(row, (4, 6, 2)))),
    )
    output = {"output_dtype": 10}
    yield tagged("output-dtype", x, *parameters(), attributes=output, dtypes=few, opset=23)
    ends = literal(*range(-128, 128))
    yield tagged("every-byte", ends, *parameters(), dtypes=("int8",), tags=SPECIAL)
    yield tagged("every-unsigned-byte", literal(*range(256)), *parameters(), dtypes=("uint8",), tags=SPECIAL)
    limits = literal(-(2**31), 2**31 - 128, 2**24, 0, -1)
    yield tagged("extremes-int32", limits, scales(dtype="float32"), dtypes=("int32",), tags=SPECIAL)
    yield tagged("scalar", tensor(draw=FULL), *parameters(), dtypes=few, tags=SCALAR)
    yield tagged("rank-6", tensor(2, 1, 3, 2, 1, 2, draw=FULL), *parameters(3), attributes={"axis": 2}, dtypes=few)
    yield tagged("empty", tensor(0, 3), *parameters(), dtypes=few, tags=EMPTY)
    yield tagged("large", tensor(257, 511, draw=FULL), *parameters(511), dtypes=("int8",), tags=LARGE)
    constant = TensorSpec((4, 5), FULL, None, constant=True)
    yield tagged("constant-weight", constant, *parameters(4), attributes={"axis": 0}, dtypes=few)
    one = parameters()
    again = ((tensor(1, 7, draw=FULL), *one), (tensor(4, 2, draw=FULL), *one))
    yield tagged("dynamic", tensor(2, 3, draw=FULL), *one, dtypes=few, again=again, tags=DYNAMIC)
    for opset in (11, 13, 19):
        yield tagged(f"opset-{opset}", x, *one, dtypes=few, opset=opset)
    rows, row = parameters(x.shape[-1]), {"axis": -1}
    yield tagged("opset-13-axis", x, *rows, attributes=row, dtypes=few, opset=13)
    other = zeros(dtype="int16")
    yield tagged("types-differ", x, scales(dtype="float32"), other, dtypes=few[:1], refuse="uint8 less int16")
    yield tagged("axis-length", x, *parameters(3), dtypes=few[:1], refuse="3 scales for an axis of 4")


def dynamic_quantisations() -> Iterator[Sample]:
    """The data are all multiples of a step, n of them with n - 1 an odd prime, so that no quotient is near a tie."""

    def spaced(name: str, *shape: int, step: float = 0.1, **fields: Any) -> Sample:
        return tagged(name, tensor(*shape, draw=distinct(step)), outputs=3, **fields)

    yield spaced("both-signs", 6, 17)
    yield spaced("small", 2, 3, 9, step=1e-5)
    yield spaced("big", 4, 6, step=1e6)
    yield tagged("positive", literal(*(0.3 * i for i in range(1, 54))), outputs=3)
    yield tagged("negative", literal(*(-0.7 * i for i in range(1, 54))), outputs=3)
    yield tagged("exact", literal(*(0.25 * i for i in range(-100, 156))), outputs=3)
    yield tagged("one", literal(2.5, shape=(1, 1)), outputs=3, tags=SCALAR)
    yield spaced("rank-6", 2, 1, 3, 2, 1, 2)
    yield spaced("large", 14, 73, tags=LARGE)
    again = ((tensor(2, 7, draw=distinct(0.3)),), (tensor(3, 6, draw=distinct(2.0)),))
    yield tagged("dynamic", tensor(3, 4, draw=distinct(0.1)), outputs=3, again=again, tags=DYNAMIC)
    yield spaced("opset-11", 6, 17, opset=11)
    yield from refusals(1)


_DEQUANTISED = ("uint8", "int8", "uint16", "int16", "int32", *FEW_BITS, *FLOAT8, *TINY)

OPERATORS = (
    Operator(
        "QuantizeLinear", quantize_linear, Requantised((0, 1)), quantisations, ("float32", "float16", "bfloat16")
    ),
    Operator("DequantizeLinear", dequantize_linear, ROUNDED, dequantisations, _DEQUANTISED),
    # One subtraction and one division make the scale: 0.5 + 2.5 ulp.
    Operator(
        "DynamicQuantizeLinear",
        dynamic_quantize_linear,
        (Requantised(extremes=True), Rounded(3.0, 3.0), Requantised(extremes=True)),
        dynamic_quantisations,
    ),
)
