"""Products of quantised tensors: convolutions and matrix products on 8-bit numbers.

Accumulators are exact: products of 8-bit numbers add up in float64 without a rounding below 2^37 terms. Weights of
a type that the data do not have are drawn from seven bits, but for the samples named "full-range": instructions
that add two 8-bit products into 16 bits overflow there, and that is a defect of its own ("The production MUST never
overflow").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.draws import Draw, integers, uniform
from conformance.dtypes import lookup
from conformance.lazy import torch
from conformance.rules import EXACT, Requantised
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .casting import FLOAT8, to_dtype
from .convolution import CONV_ATTRIBUTES, conv, one_padding
from .quantisation import BYTES, FULL, fixed, saturated, zeros
from .samples import DYNAMIC, EMPTY, LARGE, SPECIAL, pairwise, tagged

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]


def _centred(x: Tensor, zero: Tensor | None, shape: Sequence[int] | None = None) -> Tensor:
    """x minus its zero point in float64; ``shape`` is how a vector of zero points lies along x."""
    if zero is None:
        return x.double()
    lies = zero.reshape(shape) if shape is not None and zero.dim() == 1 and zero.numel() > 1 else zero
    return x.double() - (lies.reshape(()) if lies.numel() == 1 else lies).double()


def _channels(rank: int, axis: int = 1) -> list[int]:
    return [-1 if a == axis else 1 for a in range(rank)]


def conv_integer(
    x: Tensor, w: Tensor, x_zero_point: Tensor | None = None, w_zero_point: Tensor | None = None, **attributes: Any
) -> Tensor:
    sums = conv(_centred(x, x_zero_point), _centred(w, w_zero_point, _channels(w.dim(), 0)), **attributes)
    return sums.to(torch.int64).to(torch.int32)


def q_linear_conv(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    B: Tensor | None = None,  # noqa: N803 - the standard's name
    dtypes: tuple[str, ...] = ("uint8",),
    **attributes: Any,
) -> Tensor:
    along = _channels(x.dim())
    sums = conv(_centred(x, x_zero_point), _centred(w, w_zero_point, _channels(w.dim(), 0)), **attributes)
    if B is not None:
        sums = sums + B.reshape(along).double()
    factor = x_scale.reshape(()) * w_scale.reshape(along if w_scale.numel() > 1 else ()) / y_scale.reshape(())
    return saturated(sums * factor, y_zero_point.reshape(()), dtypes[0])


def matmul_integer(
    A: Tensor,  # noqa: N803
    B: Tensor,  # noqa: N803
    a_zero_point: Tensor | None = None,
    b_zero_point: Tensor | None = None,
) -> Tensor:
    product = torch.matmul(_centred(A, a_zero_point, (-1, 1)), _centred(B, b_zero_point, (-1,)))
    return product.to(torch.int64).to(torch.int32)


def q_linear_matmul(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    dtypes: tuple[str, ...] = ("uint8",),
) -> Tensor:
    product = torch.matmul(_centred(a, a_zero_point, (-1, 1)), _centred(b, b_zero_point, (-1,)))
    rows = a_scale.reshape(-1, 1) if a_scale.dim() == 1 and a_scale.numel() > 1 else a_scale
    factor = rows.double() * b_scale.double() / y_scale.double()
    if lookup(dtypes[0]).is_float:
        return to_dtype(product * factor, dtypes[0])
    return saturated(product * factor, y_zero_point, dtypes[0])


def weight_draw(kind: str | None) -> Draw:
    """Seven bits for a weight of a fixed type, all eight for one of the data's type (None)."""
    return {"int8": integers(-64, 63), "uint8": integers(0, 127)}.get(kind or "", FULL)


def _integer_convolutions() -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]]:
    """Name, shape of x, shape of w, attributes."""
    image, kernel = (2, 3, 7, 6), (4, 3, 3, 3)
    padded = {"pads": [1, 1, 1, 1]}
    yield "plain", image, kernel, {}
    yield "pads", image, kernel, padded
    yield "pads-uneven", image, kernel, {"pads": [0, 1, 2, 1]}
    yield "stride-2", image, kernel, {**padded, "strides": [2, 2]}
    yield "dilation-2", image, kernel, {"dilations": [2, 2], "pads": [2, 2, 2, 2]}
    for pair in pairwise(Sample("pairs", ()), CONV_ATTRIBUTES, valid=one_padding):
        attributes = dict(pair.attributes)
        yield pair.name, (2, 4, 9, 8), (6, 4 // attributes.get("group", 1), 4, 2), attributes
    yield "depthwise", (1, 8, 7, 7), (8, 1, 3, 3), {"group": 8, **padded}
    yield "pointwise", (1, 16, 5, 5), (9, 16, 1, 1), {}
    yield "1-d", (2, 3, 11), (4, 3, 3), {"pads": [1, 1]}
    yield "3-d", (1, 2, 5, 4, 6), (3, 2, 2, 2, 2), {}


def _tags(name: str) -> frozenset[str]:
    return LARGE if name == "large" else frozenset()


def integer_convolutions() -> Iterator[Sample]:
    def plain(
        name: str, *more: TensorSpec, w: str = "int8", x: tuple[int, ...] = (2, 3, 7, 6), **fields: Any
    ) -> Sample:
        weights = TensorSpec((4, 3, 3, 3), FULL if name == "full-range" else weight_draw(w), w, constant=True)
        return tagged(name, tensor(*x, draw=FULL), weights, *more, **{"dtypes": BYTES, **fields})

    for name, x, w, attributes in _integer_convolutions():
        weights = TensorSpec(w, FULL, None, constant=True)
        dtypes = BYTES[:1] if name.startswith("pairs") else BYTES
        yield tagged(
            name, tensor(*x, draw=FULL), weights, fixed(3), fixed(1), attributes=attributes, dtypes=dtypes
        )
    yield plain("no-zero-points")
    yield plain("full-range", tags=SPECIAL)
    yield plain("x-zero-point", fixed(100), attributes={"pads": [1, 1, 1, 1]})
    yield plain("unsigned-weight", fixed(100), fixed(120, dtype="uint8"), w="uint8")
    yield plain("zero-point-per-channel", fixed(5), zeros(4, dtype="int8"))
    yield tagged("weight-at-run-time", tensor(2, 3, 7, 6, draw=FULL), tensor(4, 3, 3, 3, draw=FULL), dtypes=BYTES)
    yield tagged(
        "large",
        tensor(1, 64, 13, 13, draw=FULL),
        TensorSpec((33, 64, 3, 3), FULL, None, True),
        dtypes=BYTES,
        tags=LARGE,
    )
    again = tuple(
        (tensor(*s, draw=FULL), TensorSpec((4, 3, 3, 3), weight_draw("int8"), "int8", True))
        for s in ((1, 3, 5, 9), (3, 3, 4, 4))
    )
    yield plain("dynamic", again=again, tags=DYNAMIC)
    yield plain("opset-11", opset=11)
    yield plain("channels", x=(1, 2, 5, 5), dtypes=BYTES[:1], refuse="2 channels, a kernel for 3")


def quantised_convolutions() -> Iterator[Sample]:
    def requantised(
        name: str,
        x: tuple[int, ...],
        w: tuple[int, ...],
        attributes: dict[str, Any] | None = None,
        *,
        channels: bool = False,
        kind: str | None = None,
        bias: bool = False,
        **fields: Any,
    ) -> Sample:
        data = (tensor(*x, draw=FULL), fixed(0.02, dtype="float32"), TensorSpec((), integers(0, 99), None, True))
        shape = (w[0],) if channels else ()
        zero = zeros(*shape, dtype="int8") if kind == "int8" else TensorSpec(shape, integers(0, 9), kind, True)
        draw = FULL if name == "full-range" else weight_draw(kind)
        weights = (TensorSpec(w, draw, kind, True), TensorSpec(shape, uniform(0.01, 0.04), "float32", True), zero)
        # Outputs of a standard deviation of about 60: some saturate.
        spread = 0.02 * 0.025 * 75 * 75 * float(np.prod(w[1:])) ** 0.5 / 60
        output = (fixed(spread, dtype="float32"), fixed(11))
        extra = (TensorSpec((w[0],), integers(-9000, 9000), "int32", True),) if bias else ()
        inputs = (*data, *weights, *output, *extra)
        return tagged(
            name, *inputs, attributes=attributes or {}, **{"dtypes": BYTES, "tags": _tags(name), **fields}
        )

    for name, x, w, attributes in _integer_convolutions():
        yield requantised(name, x, w, attributes, dtypes=BYTES[:1] if name.startswith("pairs") else BYTES)
    image, kernel = (2, 3, 7, 6), (4, 3, 3, 3)
    yield requantised("bias", image, kernel, {"pads": [1, 1, 1, 1]}, bias=True)
    yield requantised("per-channel", image, kernel, channels=True, kind="int8")
    yield requantised("per-channel-bias", image, kernel, channels=True, kind="int8", bias=True)
    yield requantised(
        "depthwise-per-channel", (1, 8, 7, 7), (8, 1, 3, 3), {"group": 8}, channels=True, kind="int8"
    )
    yield requantised("signed-weight", image, kernel, kind="int8")
    yield requantised("full-range", image, kernel, kind="int8", tags=SPECIAL)
    yield requantised(
        "large", (1, 64, 13, 13), (33, 64, 3, 3), {"pads": [1, 1, 1, 1]}, channels=True, kind="int8", bias=True
    )
    sample = requantised("dynamic", image, kernel, kind="int8", tags=DYNAMIC)
    again = tuple((tensor(*s, draw=FULL), *sample.inputs[1:]) for s in ((1, 3, 5, 9), (3, 3, 4, 4)))
    yield tagged("dynamic", *sample.inputs, dtypes=BYTES, again=again, tags=DYNAMIC)
    yield requantised("opset-11", image, kernel, opset=11)


def integer_products() -> Iterator[Sample]:
    def product(
        name: str, a: tuple[int, ...], b: tuple[int, ...], *more: TensorSpec | None, **fields: Any
    ) -> Sample:
        kind = fields.pop("kind", "int8")
        draw = FULL if name == "full-range" else weight_draw(kind)
        left, right = tensor(*a, draw=FULL), tensor(*b, draw=draw, dtype=kind)
        return tagged(name, left, right, *more, **{"dtypes": BYTES, "tags": _tags(name), **fields})

    small = zeros(dtype="int8")
    yield product("matrices", (5, 7), (7, 3), fixed(12), small)
    yield product("no-zero-points", (5, 7), (7, 3))
    yield product("full-range", (5, 7), (7, 3), tags=SPECIAL)
    yield product("left-zero-point", (5, 7), (7, 3), fixed(100))
    yield product("right-zero-point", (5, 7), (7, 3), None, small)
    yield product("unsigned-right", (5, 7), (7, 3), fixed(100), fixed(200, dtype="uint8"), kind="uint8")
    yield product("columns", (5, 7), (7, 3), fixed(12), zeros(3, dtype="int8"))
    yield product("rows", (5, 7), (7, 3), TensorSpec((5,), integers(0, 99), None, True), small)
    yield product("batch", (2, 3, 5, 7), (2, 3, 7, 4), fixed(12), small)
    yield product("batch-broadcast", (2, 1, 5, 7), (3, 7, 4), fixed(12), small)
    yield product("vector-matrix", (7,), (7, 3), fixed(12), small)
    yield product("matrix-vector", (5, 7), (7,), fixed(12), small)
    yield product("one", (1, 1), (1, 1))
    yield product("empty-rows", (0, 7), (7, 3), tags=EMPTY)
    yield product("large", (65, 517), (517, 131), fixed(12), small)
    again = tuple(
        (tensor(*s, draw=FULL), tensor(7, 3, draw=weight_draw("int8"), dtype="int8")) for s in ((1, 7), (9, 7))
    )
    yield product("dynamic", (5, 7), (7, 3), again=again, tags=DYNAMIC)
    yield product("opset-11", (5, 7), (7, 3), fixed(12), small, opset=11)
    yield product("mismatch", (5, 7), (6, 3), dtypes=BYTES[:1], refuse="7 columns, 6 rows")


def quantised_products() -> Iterator[Sample]:
    def product(
        name: str,
        a: tuple[int, ...],
        b: tuple[int, ...],
        *,
        rows: int = 0,
        columns: int = 0,
        kind: str = "int8",
        scale: str = "float32",
        **fields: Any,
    ) -> Sample:
        row, column = (rows,) if rows else (), (columns,) if columns else ()
        left = (
            tensor(*a, draw=FULL),
            TensorSpec(row, uniform(0.01, 0.04), scale, True),
            TensorSpec(row, integers(0, 99), None, True),
        )
        right = (
            tensor(*b, draw=FULL if name == "full-range" else weight_draw(kind), dtype=kind),
            TensorSpec(column, uniform(0.01, 0.04), scale, True),
            zeros(*column, dtype=kind),
        )
        output = (fixed(0.025 * 0.025 * 75 * 75 * a[-1] ** 0.5 / 60, dtype=scale), fixed(11))
        return tagged(name, *left, *right, *output, **{"dtypes": BYTES, "tags": _tags(name), **fields})

    yield product("matrices", (5, 7), (7, 3))
    yield product("unsigned-right", (5, 7), (7, 3), kind="uint8")
    yield product("full-range", (5, 7), (7, 3), tags=SPECIAL)
    yield product("columns", (5, 7), (7, 3), columns=3)
    yield product("rows", (5, 7), (7, 3), rows=5)
    yield product("batch", (2, 3, 5, 7), (2, 3, 7, 4))
    yield product("batch-broadcast", (2, 1, 5, 7), (3, 7, 4))
    yield product("one", (1, 1), (1, 1))
    yield product("empty-rows", (0, 7), (7, 3), tags=EMPTY)
    yield product("large", (65, 517), (517, 131), columns=131)
    yield product("float16-scales", (5, 7), (7, 3), scale="float16")
    yield product("bfloat16-scales", (5, 7), (7, 3), scale="bfloat16")
    # Sums of few ones are numbers of all of these formats: what a sum between two is rounded to, nobody says.
    ones, unit, zero = integers(-1, 1), fixed(1.0, dtype="float32"), fixed(0.0)
    left, right = (tensor(5, 7, draw=ones), unit, zero), (tensor(7, 3, draw=ones), unit, zero)
    yield tagged("float8", *left, *right, unit, zero, dtypes=FLOAT8, exact=True)
    sample = product("dynamic", (5, 7), (7, 3))
    again = tuple((tensor(*s, draw=FULL), *sample.inputs[1:]) for s in ((1, 7), (9, 7)))
    yield product("dynamic", (5, 7), (7, 3), again=again, tags=DYNAMIC)
    yield product("opset-11", (5, 7), (7, 3), opset=11)
    yield product("mismatch", (5, 7), (6, 3), dtypes=BYTES[:1], refuse="7 columns, 6 rows")


_SCALES = Requantised(operands=(1, 4, 6))

OPERATORS = (
    Operator("ConvInteger", conv_integer, EXACT, integer_convolutions),
    Operator("QLinearConv", q_linear_conv, _SCALES, quantised_convolutions),
    Operator("MatMulInteger", matmul_integer, EXACT, integer_products),
    Operator("QLinearMatMul", q_linear_matmul, _SCALES, quantised_products),
)
