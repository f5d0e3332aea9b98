"""Arithmetic from quantised numbers to quantised numbers, and products that begin or end in real ones.

Of com.microsoft, version 1; the law is the text that ONNX Runtime registers with each operator (docs/
ContribOperators.md there). Where an operator has no text (DynamicQuantizeMatMul, MatMulIntegerToFloat), it is what it
is the fusion of: DynamicQuantizeLinear, MatMulInteger, and the scales. Scales are drawn at random, so that no quotient is
a tie but by chance; at a tie either integer passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from operator import add, mul
from typing import Any

from conformance.draws import Draw, coin, distinct, full, integers, uniform
from conformance.lazy import torch
from conformance.rules import ROUNDED, Composite, Requantised
from conformance.spec import Operator, Sample, TensorSpec, tensor

from . import samples as s
from .activations import leaky_relu, softmax
from .assembly import concat
from .casting import INT4
from .pooling import average_pool, global_average_pool
from .quantisation import (
    BYTES,
    FULL,
    dequantize_linear,
    dynamic_quantize_linear,
    fixed,
    quantize_linear,
    saturated,
    zeros,
)
from .quantised import weight_draw
from .schemas import DOMAIN
from .transformers import whole_product

__all__ = ["OPERATORS"]

ONE = ("uint8",)
HALF = uniform(0.01, 0.04)


# What they mean.


def _real(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None) -> torch.Tensor:
    """(x - zero)·scale, a scalar each, in the scale's type."""
    whole = x.to(torch.int64)
    whole = whole if zero is None else whole - zero.reshape(()).to(torch.int64)
    return whole.to(scale.dtype) * scale.reshape(())


def _quantised(real: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, dtype: str) -> torch.Tensor:
    return saturated(real / scale.reshape(()), None if zero is None else zero.reshape(()), dtype)


def _of_two(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A function of two real tensors as the operator on quantised ones."""

    def meaning(
        a: torch.Tensor,
        a_scale: torch.Tensor,
        a_zero: torch.Tensor | None,
        b: torch.Tensor,
        b_scale: torch.Tensor,
        b_zero: torch.Tensor | None,
        c_scale: torch.Tensor,
        c_zero: torch.Tensor | None = None,
        dtypes: tuple[str, ...] = ("uint8",),
    ) -> torch.Tensor:
        real = function(_real(a, a_scale, a_zero), _real(b, b_scale, b_zero))
        return _quantised(real, c_scale, c_zero, dtypes[0])

    return meaning


def _of_one(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A function of one real tensor as the operator on quantised ones."""

    def meaning(
        x: torch.Tensor,
        x_scale: torch.Tensor,
        x_zero: torch.Tensor | None,
        y_scale: torch.Tensor,
        y_zero: torch.Tensor | None = None,
        dtypes: tuple[str, ...] = ("uint8",),
        **attributes: Any,
    ) -> torch.Tensor:
        return _quantised(function(_real(x, x_scale, x_zero), **attributes), y_scale, y_zero, dtypes[0])

    return meaning


def _sigmoid(x: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(x)


def _softmax(x: torch.Tensor, axis: int, opset: int) -> torch.Tensor:
    return softmax(x, axis, opset)


def _laid(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A pool that takes the channels last on request."""

    def meaning(x: torch.Tensor, channels_last: int = 0, **attributes: Any) -> torch.Tensor:
        if not channels_last:
            return function(x, **attributes)
        return function(x.movedim(-1, 1), **attributes).movedim(1, -1)

    return meaning


def q_linear_concat(
    y_scale: torch.Tensor,
    y_zero: torch.Tensor,
    *inputs: torch.Tensor,
    axis: int,
    dtypes: tuple[str, ...] = ("uint8",),
) -> torch.Tensor:
    """Each three of ``inputs`` are a tensor, its scale and its zero point."""
    parts = [_real(*inputs[i : i + 3]) for i in range(0, len(inputs), 3)]
    return _quantised(concat(*parts, axis=axis), y_scale, y_zero, dtypes[0])


def q_linear_where(
    condition: torch.Tensor,
    x: torch.Tensor,
    x_scale: torch.Tensor,
    x_zero: torch.Tensor,
    y: torch.Tensor,
    y_scale: torch.Tensor,
    y_zero: torch.Tensor,
    z_scale: torch.Tensor,
    z_zero: torch.Tensor,
    dtypes: tuple[str, ...] = ("uint8",),
) -> torch.Tensor:
    chosen = torch.where(condition, _real(x, x_scale, x_zero), _real(y, y_scale, y_zero))
    return _quantised(chosen, z_scale, z_zero, dtypes[0])


def q_gemm(
    a: torch.Tensor,
    a_scale: torch.Tensor,
    a_zero: torch.Tensor,
    b: torch.Tensor,
    b_scale: torch.Tensor,
    b_zero: torch.Tensor,
    c: torch.Tensor | None = None,
    y_scale: torch.Tensor | None = None,
    y_zero: torch.Tensor | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
    dtypes: tuple[str, ...] = ("uint8",),
) -> torch.Tensor:
    """(A'·B' + C)·alpha·scales, C in units of them; requantised where the output's scale is given. Vectors of scales and
    zero points go with the columns of B'."""
    left = a.long() - a_zero.long()
    right = (b.mT if transB else b).long() - b_zero.long()
    sums = whole_product(left.mT if transA else left, right)
    sums = sums if c is None else sums + c.long()
    real = sums.to(a_scale.dtype) * (a_scale.reshape(()) * b_scale * alpha)
    return real if y_scale is None else _quantised(real, y_scale, y_zero, dtypes[0])


def matmul_integer_to_float(
    a: torch.Tensor,
    b: torch.Tensor,
    a_scale: torch.Tensor,
    b_scale: torch.Tensor,
    a_zero: torch.Tensor | None = None,
    b_zero: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """(A - zero point)·(B - zero points of the columns)·scales + bias; the integers exactly."""
    left = a.long() if a_zero is None else a.long() - a_zero.long()
    right = b.long() if b_zero is None else b.long() - b_zero.long()
    y = whole_product(left, right).to(b_scale.dtype) * (a_scale * b_scale)
    return y if bias is None else y + bias


def dynamic_quantize_matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    b_scale: torch.Tensor,
    b_zero: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """DynamicQuantizeLinear of A as a whole, then MatMulIntegerToFloat."""
    quantised, scale, zero = dynamic_quantize_linear(a)
    return matmul_integer_to_float(quantised, b, scale, b_scale, zero, b_zero, bias)


def _quantize(
    x: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor | None = None,
    *,
    axis: int = 0,
    dtypes: tuple[str, ...] = ("uint8",),
) -> torch.Tensor:
    return quantize_linear(x, scale, zero, axis=axis, dtypes=dtypes)


def _dequantize(
    x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None = None, *, axis: int = 0
) -> torch.Tensor:
    return dequantize_linear(x, scale, zero, axis=axis)


# How they are exercised.


def _scale(draw: Draw = HALF) -> TensorSpec:
    return TensorSpec((), draw, "float32", constant=True)


def _zero(low: int = 0, high: int = 99) -> TensorSpec:
    return TensorSpec((), integers(low, high), None, constant=True)


def _data(*shape: int, constant: bool = False) -> TensorSpec:
    return tensor(*shape, draw=FULL, constant=constant)


def _binaries(out: Draw) -> Iterator[Sample]:
    def sample(name: str, a: TensorSpec, b: TensorSpec, *, points: bool = True, **fields: Any) -> Sample:
        zero = [_zero() if points else None for _ in range(3)]
        given = (a, _scale(), zero[0], b, _scale(), zero[1], _scale(out), zero[2])
        return Sample(name, given if points else given[:-1], **{"dtypes": BYTES, **fields})

    yield sample("same-shape", _data(3, 5, 7), _data(3, 5, 7))
    yield sample("row", _data(3, 5, 7), _data(7))
    yield sample("channel", _data(2, 3, 5, 5), _data(3, 1, 1, constant=True))
    yield sample("broadcast-both", _data(3, 1, 5), _data(4, 1))
    yield sample("scalar", _data(3, 17), _data(), dtypes=ONE, tags=s.SCALAR)
    yield sample("scalar-left", _data(), _data(3, 17), dtypes=ONE, tags=s.SCALAR)
    yield sample("no-zero-points", _data(3, 17), _data(3, 17), points=False, dtypes=ONE)
    given = sample("", _data(3, 17), _data(3, 17)).inputs
    yield Sample("no-zero-point-of-the-result", given[:-1], dtypes=BYTES)
    yield sample("empty", _data(0, 3), _data(3), dtypes=ONE, tags=s.EMPTY)
    yield sample("large", _data(65, 257), _data(65, 257), tags=s.LARGE)
    one = sample("dynamic", _data(2, 3, 4), _data(4))
    again = tuple((_data(*shape), *one.inputs[1:]) for shape in ((1, 5, 4), (3, 7, 4)))
    yield Sample("dynamic", one.inputs, dtypes=ONE, again=again, tags=s.DYNAMIC)


def _unaries(out: Draw, *, x: Draw = HALF, attributes: dict[str, Any] | None = None) -> Iterator[Sample]:
    def sample(name: str, data: TensorSpec, *, points: bool = True, **fields: Any) -> Sample:
        zero = _zero() if points else None
        given = (data, _scale(x), zero, _scale(out), *([_zero(0, 20)] if points else []))
        return Sample(name, given, **{"dtypes": BYTES, **fields})

    # All 256 numbers: the operator is a table.
    every = tensor(16, 16, draw=distinct())
    yield sample("cube", _data(3, 5, 7))
    yield sample("every-number", every)
    yield sample("no-zero-points", _data(3, 17), points=False, dtypes=ONE)
    first, scale, _, *rest = sample("", _data(3, 17)).inputs
    yield Sample("no-zero-point-of-the-operand", (first, scale, None, *rest), dtypes=BYTES)
    yield sample("empty", _data(0, 3), dtypes=ONE, tags=s.EMPTY)
    yield sample("scalar", _data(), dtypes=ONE, tags=s.SCALAR)
    one = sample("dynamic", _data(2, 3, 4))
    again = tuple((_data(*shape), *one.inputs[1:]) for shape in ((1, 5, 4), (3, 7, 4)))
    yield Sample("dynamic", one.inputs, dtypes=ONE, again=again, tags=s.DYNAMIC)
    if attributes:
        for name, chosen in attributes.items():
            yield sample(name, every, attributes=chosen)


def _softmaxes() -> Iterator[Sample]:
    def sample(
        name: str,
        *shape: int,
        kind: str = "uint8",
        opset: int = 13,
        scale: float = 1 / 256,
        points: bool = True,
        **a: Any,
    ) -> Sample:
        # As quantisers have it: results up to 1 in steps of 1/256, from the least number on.
        out = fixed(scale, dtype="float32"), fixed(-128 if kind == "int8" else 0)
        given = (_data(*shape), _scale(uniform(0.02, 0.09)), _zero() if points else None, *out)
        tags = s.LARGE if name == "large" else frozenset()
        return Sample(name, given, {"opset": opset, **a}, dtypes=(kind,), tags=tags)

    yield sample("last-axis", 3, 5, 7)
    yield sample("last-axis-signed", 3, 5, 7, kind="int8")
    yield sample("no-zero-point", 3, 17, points=False)
    yield sample("no-zero-point-signed", 3, 17, kind="int8", points=False)
    yield sample("first-axis", 7, 5, axis=0)
    yield sample("middle-axis", 2, 7, 5, axis=1, kind="int8")
    yield sample("opset-12", 2, 3, 4, opset=12, axis=1)
    yield sample("one-element", 4, 1)
    yield sample("other-scale", 5, 7, scale=0.0041)
    yield sample("large", 5, 257)


def _pools() -> Iterator[Sample]:
    def sample(name: str, *shape: int, points: bool = True, **fields: Any) -> Sample:
        dtypes, tags = fields.pop("dtypes", BYTES), fields.pop("tags", frozenset())
        given = (_data(*shape), _scale(), _zero() if points else None, _scale(), *([_zero()] if points else []))
        return Sample(name, given, fields, dtypes=dtypes, tags=tags)

    image = (2, 3, 9, 11)
    yield sample("stride-1", *image, kernel_shape=[3, 3])
    yield sample("stride-2", *image, kernel_shape=[2, 2], strides=[2, 2])
    yield sample("pads", *image, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    yield sample("pads-counted", *image, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    yield sample("pads-uneven", *image, kernel_shape=[3, 4], pads=[0, 2, 1, 3], strides=[1, 2], dtypes=ONE)
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        name = f"auto-pad-{mode.lower().replace('_', '-')}"
        yield sample(name, *image, kernel_shape=[2, 4], strides=[2, 2], auto_pad=mode, dtypes=ONE)
    yield sample("ceil-mode", *image, kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1, dtypes=ONE)
    yield sample("no-zero-points", *image, kernel_shape=[3, 3], points=False, dtypes=ONE)
    first, scale, zero, out, _ = sample("", *image).inputs
    yield Sample("no-zero-point-of-the-result", (first, scale, zero, out), {"kernel_shape": [3, 3]}, dtypes=ONE)
    yield sample("channels-last", 2, 9, 11, 3, kernel_shape=[3, 3], channels_last=1, pads=[1, 1, 1, 1])
    yield sample("1-d", 2, 3, 17, kernel_shape=[4], strides=[2], dtypes=ONE)
    yield sample("3-d", 1, 2, 5, 6, 7, kernel_shape=[2, 3, 2], dtypes=ONE)
    yield sample("large", 1, 16, 33, 33, kernel_shape=[13, 13], tags=s.LARGE, dtypes=ONE)


def _global_pools() -> Iterator[Sample]:
    def sample(name: str, *shape: int, **fields: Any) -> Sample:
        tags = s.LARGE if name == "large" else frozenset()
        return Sample(name, (_data(*shape), _scale(), _zero(), _scale(), _zero()), fields, dtypes=BYTES, tags=tags)

    yield sample("image", 2, 5, 7, 6)
    yield sample("channels-last", 2, 7, 6, 5, channels_last=1)
    yield sample("one-pixel", 2, 5, 1, 1)
    yield sample("1-d", 2, 3, 17)
    yield sample("3-d", 1, 2, 5, 6, 7)
    yield sample("large", 1, 33, 28, 28)


def _concats() -> Iterator[Sample]:
    def sample(name: str, axis: int, *shapes: tuple[int, ...], **fields: Any) -> Sample:
        parts = [spec for shape in shapes for spec in (_data(*shape), _scale(), _zero())]
        return Sample(name, (_scale(), _zero(), *parts), {"axis": axis}, **{"dtypes": BYTES, **fields})

    yield sample("axis-1", 1, (2, 3, 4), (2, 5, 4))
    yield sample("axis-0", 0, (2, 3), (1, 3))
    yield sample("negative-axis", -1, (2, 3, 4), (2, 3, 1))
    yield sample("three", 1, (2, 3, 4, 4), (2, 1, 4, 4), (2, 2, 4, 4))
    yield sample("one", 0, (3, 7), dtypes=ONE)
    # Parts that have the output's scale and zero point are only copied.
    alike = fixed(0.02, dtype="float32"), fixed(7)
    same = (*alike, _data(2, 3), *alike, _data(2, 5), *alike)
    yield Sample("same-scales", same, {"axis": 1}, dtypes=BYTES)
    yield sample("large", 1, (1, 65, 33), (1, 17, 33), dtypes=ONE, tags=s.LARGE)


def _wheres() -> Iterator[Sample]:
    def sample(name: str, c: tuple[int, ...], x: tuple[int, ...], y: tuple[int, ...], **fields: Any) -> Sample:
        condition = tensor(*c, draw=coin(), dtype="bool")
        given = (condition, _data(*x), _scale(), _zero(), _data(*y), _scale(), _zero(), _scale(), _zero())
        return Sample(name, given, **{"dtypes": BYTES, **fields})

    yield sample("same-shape", (3, 5, 7), (3, 5, 7), (3, 5, 7))
    yield sample("broadcast", (3, 1, 7), (5, 1), (7,))
    yield sample("scalar", (3, 17), (), (3, 17), dtypes=ONE, tags=s.SCALAR)
    yield sample("scalar-condition", (), (3, 17), (3, 17), dtypes=ONE, tags=s.SCALAR)


def _right(*shape: int, kind: str, columns: int = 0) -> tuple[TensorSpec, TensorSpec, TensorSpec]:
    """A constant right-hand matrix, its scales and its zero points."""
    of = (columns,) if columns else ()
    return (
        tensor(*shape, draw=weight_draw(kind), dtype=kind, constant=True),
        TensorSpec(of, HALF, "float32", constant=True),
        zeros(*of, dtype=kind),
    )


def _gemms() -> Iterator[Sample]:
    def sample(
        name: str,
        m: int = 5,
        k: int = 7,
        n: int = 9,
        *,
        kind: str = "int8",
        columns: bool = False,
        c: bool = False,
        **a: Any,
    ) -> Sample:
        left, right = ((k, m) if a.get("transA") else (m, k)), ((n, k) if a.get("transB") else (k, n))
        bias = tensor(n, draw=integers(-9000, 9000), dtype="int32", constant=True) if c else None
        # Outputs of a standard deviation of about 60.
        out = fixed(0.025 * 0.025 * 75 * 40 * k**0.5 / 60, dtype="float32"), fixed(11)
        given = (
            _data(*left),
            _scale(),
            _zero(),
            *_right(*right, kind=kind, columns=n if columns else 0),
            bias,
            *out,
        )
        tags = s.LARGE if name == "large" else frozenset()
        return Sample(name, given, a, dtypes=BYTES, tags=tags)

    yield sample("plain")
    yield sample("bias", c=True)
    yield sample("columns", columns=True, c=True)
    yield sample("trans-a", transA=1)
    yield sample("trans-b", transB=1, c=True)
    yield sample("trans-b-columns", transB=1, columns=True)
    yield sample("alpha", alpha=0.3)
    yield sample("large", 17, 129, 33, columns=True, c=True)


def _to_floats() -> Iterator[Sample]:
    def sample(
        name: str,
        a: tuple[int, ...] = (5, 7),
        b: tuple[int, ...] = (7, 9),
        *,
        kind: str = "int8",
        columns: bool = False,
        points: bool = True,
        bias: bool = False,
        **fields: Any,
    ) -> Sample:
        right, scales, zero = _right(*b, kind=kind, columns=b[-1] if columns else 0)
        given: tuple[TensorSpec | None, ...] = (_data(*a), right, _scale(), scales)
        given += (_zero(), zero) if points else ((None, None) if bias else ())
        given += (tensor(b[-1], dtype="float32", constant=True),) if bias else ()
        return Sample(name, given, **{"dtypes": BYTES, **fields})

    yield sample("plain")
    yield sample("no-zero-points", points=False)
    yield sample("unsigned-right", kind="uint8", dtypes=ONE)
    yield sample("columns", columns=True)
    yield sample("bias", bias=True)
    yield sample("bias-alone", points=False, bias=True)
    yield sample("columns-bias", columns=True, bias=True)
    yield sample("batch", (2, 3, 5, 7), (7, 9), columns=True)
    yield sample("one-row", (1, 64), (64, 17), columns=True, bias=True, dtypes=ONE)
    yield sample("large", (17, 257), (257, 65), columns=True, bias=True, dtypes=ONE, tags=s.LARGE)


def _dynamic_products() -> Iterator[Sample]:
    def sample(
        name: str,
        a: tuple[int, ...] = (5, 7),
        n: int = 9,
        *,
        kind: str = "int8",
        columns: bool = False,
        points: bool = True,
        bias: bool = False,
        draw: Draw | None = None,
        **fields: Any,
    ) -> Sample:
        right, scales, zero = _right(a[-1], n, kind=kind, columns=n if columns else 0)
        more = (zero if points else None, tensor(n, constant=True) if bias else None)
        given: tuple[TensorSpec | None, ...] = (
            tensor(*a) if draw is None else tensor(*a, draw=draw),
            right,
            scales,
            *more,
        )
        while given[-1] is None:
            given = given[:-1]
        again = tuple((tensor(*shape), *given[1:]) for shape in fields.pop("again", ()))
        return Sample(name, given, dtypes=("float32",), again=again, **fields)

    yield sample("plain")
    yield sample("no-zero-point", points=False)
    yield sample("unsigned-right", kind="uint8")
    yield sample("columns", columns=True)
    yield sample("bias", bias=True)
    yield sample("bias-alone", points=False, bias=True)
    yield sample("columns-bias", columns=True, bias=True)
    yield sample("positive", draw=uniform(0.5, 2.0))
    yield sample("negative", draw=uniform(-2.0, -0.5))
    yield sample("batch", (2, 3, 7), columns=True)
    yield sample("one-row", (1, 64), 17, columns=True, bias=True)
    yield sample("large", (17, 257), 33, columns=True, bias=True, tags=s.LARGE)
    yield sample("dynamic", again=((1, 7), (11, 7)), tags=s.DYNAMIC)
    # A right-hand matrix of zeros, so that the bias comes out.
    a, right, *others = sample("nought", (1, 2), 5, points=False, bias=True).inputs
    assert right is not None
    nought = Sample("nought", (a, replace(right, draw=full(0)), *others))
    yield from s.only(s.carried(nought, 4), dtypes=("float32",))


_QUANTISED = ("uint8", "int8", "uint16", "int16", "uint4", "int4")


def _scales(kind: str, *shape: int) -> TensorSpec:
    step = {"uint8": 0.02, "int8": 0.02, "uint16": 1e-4, "int16": 1e-4, "uint4": 0.3, "int4": 0.3}[kind]
    return TensorSpec(shape, uniform(step, 2 * step), None, constant=True)


def _since(kind: str) -> int | None:
    """The opset that has the type, where it is not one of the oldest."""
    return 21 if kind in INT4 else None


def _quantisations() -> Iterator[Sample]:
    x = (3, 4, 5)
    for kind in _QUANTISED:
        middle = {"uint8": 128, "uint16": 30000, "uint4": 8}.get(kind, -1)
        given = tensor(*x), _scales(kind), fixed(middle, dtype=kind)
        yield Sample(f"to-{kind}", given, dtypes=("float32",), opset=_since(kind))
    yield Sample("float16", (tensor(*x), _scales("uint8"), fixed(128, dtype="uint8")), dtypes=("float16",))
    yield Sample("no-zero-point", (tensor(*x), _scales("uint8")), dtypes=s.FEW)
    # A scale that is subnormal, as in float16 those of small numbers are; its inverse is finite.
    for dtype, step in (("float32", 8e-39), ("float16", 5e-5)):
        small = tensor(*x, draw=uniform(-100 * step, 100 * step)), fixed(step), fixed(128, dtype="uint8")
        tags = s.SPECIAL | {"subnormal"}
        yield Sample(f"subnormal-scale-{dtype}", small, dtypes=(dtype,), tags=tags)
    for axis in (0, 1, -1):
        given = (tensor(*x), _scales("int8", x[axis]), zeros(x[axis], dtype="int8"))
        yield Sample(f"axis-{axis}".replace("--", "-minus-"), given, {"axis": axis}, dtypes=("float32",))
    ends = s.literal(s.INF, -s.INF, 0.0, -0.0, 1e30, -1e30)
    yield Sample(
        "special", (ends, _scales("uint8"), fixed(128, dtype="uint8")), dtypes=("float32",), tags=s.SPECIAL
    )


def _dequantisations() -> Iterator[Sample]:
    x = (3, 4, 5)

    def scales(*shape: int, dtype: str = "float32") -> TensorSpec:
        return TensorSpec(shape, uniform(0.02, 0.09), dtype, constant=True)

    for kind in (*_QUANTISED, "int32"):
        draw = {"int4": integers(-8, 7), "uint4": integers(0, 15)}.get(kind, FULL)
        # Not drawn: a zero point of 0 would say nothing.
        zero = (fixed(3, dtype=kind),) if kind != "int32" else ()
        given = tensor(*x, draw=draw), scales(), *zero
        yield Sample(f"from-{kind}", given, dtypes=(kind,), opset=_since(kind))
    yield Sample("no-zero-point", (_data(*x), scales()), dtypes=BYTES)
    yield Sample("float16", (_data(*x), scales(dtype="float16"), _zero()), dtypes=ONE)
    for axis in (0, 1, -1):
        given = (_data(*x), scales(x[axis]), zeros(x[axis], dtype="int8"))
        yield Sample(f"axis-{axis}".replace("--", "-minus-"), given, {"axis": axis}, dtypes=("int8",))


_operator = partial(Operator, domain=DOMAIN)
_SCALED = Requantised()

OPERATORS = (
    _operator("QLinearAdd", _of_two(add), _SCALED, partial(_binaries, uniform(0.03, 0.06))),
    _operator("QLinearMul", _of_two(mul), _SCALED, partial(_binaries, uniform(0.02, 0.05))),
    _operator(
        "QLinearSigmoid",
        _of_one(_sigmoid),
        _SCALED,
        partial(_unaries, uniform(0.0039, 0.0042), x=uniform(0.02, 0.06)),
    ),
    _operator(
        "QLinearLeakyRelu",
        _of_one(leaky_relu),
        _SCALED,
        partial(_unaries, HALF, attributes={"alpha": {"alpha": 0.25}, "alpha-negative": {"alpha": -0.7}}),
    ),
    _operator("QLinearSoftmax", _of_one(_softmax), _SCALED, _softmaxes),
    _operator("QLinearAveragePool", _of_one(_laid(average_pool)), _SCALED, _pools),
    _operator("QLinearGlobalAveragePool", _of_one(_laid(global_average_pool)), _SCALED, _global_pools),
    _operator("QLinearConcat", q_linear_concat, _SCALED, _concats, variable="T8"),
    _operator("QLinearWhere", q_linear_where, _SCALED, _wheres, variable="T"),
    _operator("QGemm", q_gemm, _SCALED, _gemms),
    _operator("MatMulIntegerToFloat", matmul_integer_to_float, Composite(), _to_floats),
    _operator("DynamicQuantizeMatMul", dynamic_quantize_matmul, Composite(), _dynamic_products),
    _operator("QuantizeLinear", _quantize, Requantised((0, 1)), _quantisations, ("float32", "float16")),
    _operator("DequantizeLinear", _dequantize, ROUNDED, _dequantisations, (*_QUANTISED, "int32")),
)
