"""Activation functions, and the functions that turn scores into shares: Softmax and its kin.

Composites are written in the steps of ONNX's definitions, since their rounding is what the bound is made of. The
numbers among the attributes are float32 in the model; an engine may convert them to the tensor's type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.draws import AUTO, Draw, choice, integers, nonzero, normal, uniform, values
from conformance.dtypes import FLOATS, SIGNED
from conformance.lazy import torch
from conformance.rules import EXACT, Composite, Elementary, Rounded
from conformance.spec import Operator, Sample, TensorSpec, tensor

from . import samples as s

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]


# What the operators mean.


def relu(x: Tensor) -> Tensor:
    """max(0, x); NaN stays NaN."""
    return torch.relu(x)


def leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    """alpha·x below zero, x from there on."""
    return torch.where(x < 0, x * alpha, x)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """slope·x below zero, x from there on. Raises ``RuntimeError`` where the slope does not broadcast to x's shape."""
    slope = slope.broadcast_to(x.shape)
    return torch.where(x < 0, x * slope, x)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """alpha·(exp(x) - 1) below zero, x from there on."""
    return torch.where(x < 0, (torch.exp(x) - 1) * alpha, x)


def selu(x: Tensor, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    """gamma·(alpha·exp(x) - alpha) up to zero, gamma·x beyond."""
    return torch.where(x > 0, x, torch.exp(x) * alpha - alpha) * gamma


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """max(0, x) + min(0, alpha·(exp(x/alpha) - 1))."""
    return torch.relu(x) + torch.clamp((torch.exp(x / alpha) - 1) * alpha, max=0)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x·Φ(x): with the error function, or with the tanh approximation of it (Gelu-20)."""
    if approximate == "tanh":
        return x * 0.5 * (torch.tanh((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1)
    return x * 0.5 * (torch.erf(x / math.sqrt(2)) + 1)


def softplus(x: Tensor) -> Tensor:
    """ln(exp(x) + 1), about zero so that exp cannot overflow."""
    return torch.relu(x) + torch.log1p(torch.exp(-torch.abs(x)))


def mish(x: Tensor) -> Tensor:
    """x·tanh(softplus(x))."""
    return x * torch.tanh(softplus(x))


def hard_sigmoid(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """alpha·x + beta, kept within 0 and 1."""
    return torch.clamp(x * alpha + beta, 0, 1)


def hard_swish(x: Tensor) -> Tensor:
    """x·max(0, min(1, x/6 + 1/2))."""
    return x * hard_sigmoid(x, 1 / 6, 0.5)


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return x / (torch.abs(x) + 1)


def thresholded_relu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x above alpha, 0 elsewhere."""
    return torch.where(x > alpha, x, torch.zeros_like(x))


def shrink(x: Tensor, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """x + bias below -lambd, x - bias above lambd, 0 between."""
    moved = torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))
    return moved.to(x.dtype)


def swish(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x·sigmoid(alpha·x)."""
    return x * torch.sigmoid(x * alpha)


def swiglu(a: Tensor, b: Tensor, alpha: float = 1.0) -> Tensor:
    """Swish of the gate a, times b (SwiGLU-28)."""
    return swish(a, alpha) * b


def _along(x: Tensor, axis: int, opset: int) -> tuple[Tensor, int]:
    """The tensor and the axis to normalise; before opset 13, all axes from ``axis`` on were one."""
    if opset >= 13:
        return x, axis
    axis %= max(x.dim(), 1)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), 1


def softmax(input: Tensor, axis: int = -1, opset: int = 13) -> Tensor:
    """exp(x) / Σ exp(x) along an axis."""
    x, axis = _along(input, axis, opset)
    if not x.numel():
        return input
    e = torch.exp(x - torch.amax(x, axis, keepdim=True))
    return (e / e.sum(axis, keepdim=True)).reshape(input.shape)


def log_softmax(input: Tensor, axis: int = -1, opset: int = 13) -> Tensor:
    """ln of Softmax, as x - max - ln Σ exp(x - max)."""
    x, axis = _along(input, axis, opset)
    if not x.numel():
        return input
    x = x - torch.amax(x, axis, keepdim=True)
    return (x - torch.log(torch.exp(x).sum(axis, keepdim=True))).reshape(input.shape)


def hardmax(input: Tensor, axis: int = -1, opset: int = 13) -> Tensor:
    """1 at the first maximum along an axis, 0 elsewhere."""
    x, axis = _along(input, axis, opset)
    if not x.numel():
        return input
    at = (x == torch.amax(x, axis, keepdim=True)).to(torch.int32)
    first = (torch.cumsum(at, axis) == 1) & (at == 1)
    return first.to(input.dtype).reshape(input.shape)


# How they are exercised.


BOTH_TAILS = uniform(-15, 15)


def activation(
    draw: Draw = AUTO,
    *,
    wide: Draw | None = BOTH_TAILS,
    special: Sequence[float] | None = s.SPECIAL_VALUES,
    edges: Sequence[float] = (),
    attributes: Sequence[dict[str, Any]] = (),
    bfloat16_since: int = 22,
    opset: int | None = None,
    limits: Sequence[str] = (),
) -> Iterator[Sample]:
    """A function of one number with attributes that shape it.

    ``wide``: a range that reaches both tails. ``attributes``: sets of them, each away from its default.
    ``edges``: where branches meet. ``bfloat16_since``: the version of the operator that took in bfloat16.
    """

    def series() -> Iterator[Sample]:
        yield from s.unary(draw, special=special, limits=limits)
        if wide is not None:
            yield Sample("wide", (tensor(33, 31, draw=wide),), dtypes=FLOATS)
        if edges:
            yield s.tagged("edges", s.literal(*edges), dtypes=FLOATS, tags=s.SPECIAL)
        for chosen in attributes:
            text = "-".join(f"{k}-{v:g}" if isinstance(v, float) else f"{k}-{v}" for k, v in chosen.items())
            name = text.replace(".", "-").replace("--", "-minus-")
            yield Sample(name, (tensor(9, 31, draw=draw),), chosen, dtypes=FLOATS)
        if bfloat16_since > 21 and opset is None:
            yield Sample("bfloat16", (tensor(3, 5, 7, draw=draw),), dtypes=("bfloat16",), opset=bfloat16_since)

    fields: dict[str, Any] = {} if opset is None else {"opset": opset}
    return s.only(series(), **fields)


def slopes() -> Iterator[Sample]:
    def pair(x: tuple[int, ...], slope: tuple[int, ...]) -> tuple[Any, Any]:
        return tensor(*x), tensor(*slope, draw=integers(0, 3), constant=True)

    fractions = uniform(0.01, 0.5)
    yield Sample("channel", pair((2, 3, 5, 7), (3, 1, 1)))
    yield Sample(
        "channel-fractions", (tensor(2, 3, 5, 7), tensor(3, 1, 1, draw=fractions, constant=True)), dtypes=FLOATS
    )
    yield Sample("same-shape", (tensor(3, 17), tensor(3, 17, draw=fractions)), dtypes=s.FEW)
    yield Sample("row", (tensor(3, 17), tensor(17)), dtypes=s.FEW)
    yield Sample("one-slope", (tensor(3, 17), tensor(1, draw=fractions, constant=True)), dtypes=s.FEW)
    yield Sample("scalar-slope", (tensor(3, 17), tensor(draw=fractions)), dtypes=s.FEW, tags=s.SCALAR)
    yield Sample("rank-6", (tensor(2, 1, 3, 2, 1, 5), tensor(3, 1, 1, 1)), dtypes=s.FEW)
    yield Sample("empty", (tensor(0, 3), tensor(3)), dtypes=s.FEW, tags=s.EMPTY)
    yield Sample("large", (tensor(3, 8, 101, 107), tensor(8, 1, 1)), dtypes=("float32",), tags=s.LARGE)
    sizes = (tensor(1, 3, 9), tensor(3, 1)), (tensor(5, 3, 2), tensor(3, 1))
    yield Sample("dynamic", (tensor(2, 3, 4), tensor(3, 1)), dtypes=s.FEW, again=sizes, tags=s.DYNAMIC)
    special = s.literal(s.NAN, s.INF, -s.INF, 0.0, -0.0, 1.0, -1.0), tensor(1, draw=fractions)
    yield s.tagged("special", *special, dtypes=FLOATS, tags=s.SPECIAL)
    tiny = s.literal(*s.SUBNORMALS), s.literal(1.0)
    yield s.tagged("subnormals", *tiny, dtypes=FLOATS, tags=s.SPECIAL | {"subnormal"})
    for dtype in ("int32", "int64", "uint32", "uint64"):
        yield s.tagged(f"extremes-{dtype}", s.literal(*s.extremes(dtype)), s.literal(1), dtypes=(dtype,))
    yield Sample("opset-11", (tensor(2, 3, 5), tensor(3, 1)), dtypes=("float32", "int32"), opset=11)
    wider = (tensor(3, 1), tensor(3, 5))
    yield Sample("slope-wider", wider, dtypes=("float32",), refuse="the slope must broadcast to the input's shape")
    yield from s.refusals(2)


def shares(draw: Draw = AUTO, *, far: bool = True) -> Iterator[Sample]:
    """Softmax and its kin: one operand, one axis."""
    x = tensor(3, 5, 7, draw=draw)
    one = ("float32",)
    yield Sample("last-axis", (x,))
    yield Sample("first-axis", (x,), {"axis": 0}, dtypes=s.FEW)
    yield Sample("middle-axis", (x,), {"axis": 1}, dtypes=s.FEW)
    yield Sample("negative-axis", (x,), {"axis": -2}, dtypes=s.FEW)
    yield Sample("vector", (tensor(17, draw=draw),), dtypes=s.FEW)
    yield Sample("one-element", (tensor(4, 1, draw=draw),), dtypes=s.FEW)
    yield Sample("rank-6", (tensor(2, 1, 3, 2, 4, 5, draw=draw),), {"axis": 4}, dtypes=s.FEW)
    yield Sample("attention", (tensor(1, 4, 33, 65, draw=draw),), dtypes=FLOATS)
    yield Sample("empty", (tensor(0, 5, draw=draw),), dtypes=s.FEW, tags=s.EMPTY)
    yield Sample("large", (tensor(41, 4099, draw=draw),), dtypes=FLOATS, tags=s.LARGE)
    yield Sample("large-columns", (tensor(1025, 67, draw=draw),), {"axis": 0}, dtypes=one, tags=s.LARGE)
    sizes = (tensor(1, 5, 9, draw=draw),), (tensor(4, 33, 2, draw=draw),)
    yield Sample("dynamic", (tensor(2, 3, 4, draw=draw),), dtypes=s.FEW, again=sizes, tags=s.DYNAMIC)
    if far:
        yield Sample("spread-out", (tensor(9, 31, draw=normal(0, 8)),), dtypes=FLOATS)
        # exp overflows in every format unless the maximum is taken off first.
        yield Sample("large-scores", (tensor(9, 31, draw=uniform(900, 910)),), dtypes=FLOATS, tags=s.SPECIAL)
        nan = tensor(4, 7, draw=values(*[s.NAN if i == 9 else 0.25 * i for i in range(28)]))
        yield Sample("nan", (nan,), dtypes=FLOATS, tags=s.SPECIAL)
    else:
        # A maximum in the middle, greater by the last bit of one format or by a subnormal number.
        peaks = [v for p in s.LAST_BITS[:4] for v in (1.0, p, 1.0)] + [
            v for p in s.SUBNORMALS for v in (0.0, abs(p), -0.0)
        ]
        rows = s.literal(*peaks, shape=(len(peaks) // 3, 3))
        yield s.tagged("last-bits", rows, dtypes=FLOATS, tags=s.SPECIAL)
    masked = choice(-s.INF, 0.5, 1.0, -2.0)
    yield Sample("masked", (tensor(9, 31, draw=masked),), dtypes=FLOATS, tags=s.SPECIAL)
    rows = s.literal(0.0, -0.0, 0.0, 2.0, 2.0, 1.0, -s.INF, -s.INF, 3.0, 6e-8, 1e-40, 5e-324, shape=(4, 3))
    yield s.tagged("special", rows, dtypes=FLOATS, tags=s.SPECIAL)
    yield Sample("opset-11-two-axes", (x,), {"axis": 1}, dtypes=("float32", "float64"), opset=11)
    yield Sample("opset-11-default-axis", (tensor(2, 3, 2, 5, draw=draw),), dtypes=one, opset=11)
    yield Sample("opset-12-negative-axis", (tensor(2, 3, 2, 5, draw=draw),), {"axis": -2}, dtypes=one, opset=12)
    refused = "axis 3 of a tensor of rank 3"
    yield Sample("axis-out-of-range", (x,), {"axis": 3}, dtypes=one, refuse=refused)
    yield from s.refusals(1, wrong="int32")


def gelus() -> Iterator[Sample]:
    yield from activation(bfloat16_since=20)
    # Not in float64: in ONNX's function body the approximation's constants are float32 numbers.
    approximate = {"approximate": "tanh"}
    yield Sample("tanh", (tensor(9, 31),), approximate, dtypes=FLOATS[:3])
    yield Sample("tanh-wide", (tensor(33, 31, draw=BOTH_TAILS),), approximate, dtypes=FLOATS[:3])


def leaks() -> Iterator[Sample]:
    yield from activation(attributes=[{"alpha": 0.25}, {"alpha": -1.5}, {"alpha": 0.3}], bfloat16_since=16)
    yield Sample("opset-13", (tensor(9, 31),), dtypes=s.FEW, opset=13)


def hard_swishes() -> Iterator[Sample]:
    # The definition's 1/6 is a float32 number in ONNX's function body: in float64, only where it does not show.
    yield Sample("saturated", (tensor(9, 31, draw=nonzero(3.5, 20)),), dtypes=FLOATS)
    beyond = s.literal(s.NAN, s.INF, 5.0, -7.0)
    yield s.tagged("saturated-special", beyond, dtypes=("float64",), tags=s.SPECIAL)
    for sample in activation(edges=(-3.0, 3.0, -2.998, 2.998)):
        yield replace(sample, dtypes=tuple(d for d in sample.dtypes or FLOATS if d != "float64"))


def thresholds() -> Iterator[Sample]:
    yield from activation(attributes=[{"alpha": 0.25}, {"alpha": -1.5}], edges=(1.0, 0.99951172, 1.0009766))
    tiny = s.literal(*s.SUBNORMALS)
    tags = s.SPECIAL | {"subnormal"}
    yield s.tagged("alpha-minus-1-5-subnormals", tiny, attributes={"alpha": -1.5}, dtypes=FLOATS, tags=tags)


def swishes() -> Iterator[Sample]:
    yield from activation(attributes=[{"alpha": 1.75}, {"alpha": -0.5}], opset=24)


def gated() -> Iterator[Sample]:
    def pair(*shape: int, draw: Draw = AUTO) -> tuple[TensorSpec, TensorSpec]:
        return tensor(*shape, draw=draw), tensor(*shape)

    yield Sample("cube", pair(3, 5, 7))
    for alpha in (1.702, -0.5, 0.0):
        name = f"alpha-{alpha:g}".replace("--", "-minus-").replace(".", "-")
        yield Sample(name, pair(9, 31), {"alpha": alpha}, dtypes=FLOATS)
    yield Sample("wide", pair(33, 31, draw=BOTH_TAILS), dtypes=FLOATS)
    yield Sample("scalar", pair(), dtypes=s.FEW, tags=s.SCALAR)
    yield Sample("rank-6", pair(2, 1, 3, 2, 1, 5), dtypes=s.FEW)
    yield Sample("empty", pair(3, 0, 2), dtypes=s.FEW, tags=s.EMPTY)
    yield Sample("projection", pair(2, 17, 341), dtypes=FLOATS[:3], tags=s.LARGE)
    yield Sample("dynamic", pair(2, 3, 4), dtypes=s.FEW, again=(pair(1, 3, 7), pair(5, 2, 9)), tags=s.DYNAMIC)
    ends = [v for v in s.SPECIAL_VALUES for _ in s.SPECIAL_VALUES]
    yield s.tagged("special", s.literal(*ends), s.literal(*s.SPECIAL_VALUES * 9), dtypes=FLOATS, tags=s.SPECIAL)
    mismatch = tensor(3, 4), tensor(4)
    yield Sample("broadcast", mismatch, dtypes=("float32",), refuse="(3, 4) and (4) are not one shape")
    yield from s.refusals(2)


SMOOTH = Composite(scale=1.0)

OPERATORS = (
    Operator("Relu", relu, EXACT, partial(activation, special=s.NO_NAN, bfloat16_since=13, limits=SIGNED)),
    Operator(
        "LeakyRelu",
        leaky_relu,
        # In narrow types the slope is rounded as well.
        Rounded(0.5, 2.0),
        leaks,
    ),
    Operator("PRelu", prelu, Rounded(0.5, 1.0), slopes),
    Operator("Elu", elu, Composite(scale=1.0), partial(activation, attributes=[{"alpha": 2.5}, {"alpha": 0.3}])),
    Operator(
        "Selu",
        selu,
        SMOOTH,
        partial(activation, attributes=[{"alpha": 2.5, "gamma": 0.75}, {"gamma": 3.0}, {"alpha": 0.5}]),
    ),
    Operator(
        "Celu",
        celu,
        SMOOTH,
        partial(activation, special=s.NO_NAN, attributes=[{"alpha": 2.5}, {"alpha": 0.5}], bfloat16_since=28),
    ),
    Operator("Gelu", gelu, SMOOTH, gelus),
    Operator("Mish", mish, SMOOTH, activation),
    # exp 3, addition 0.5 and division 2.5 ulp, added up.
    Operator(
        "Sigmoid",
        lambda x: torch.sigmoid(x),
        Elementary(6, 2, 1.0, 0.0, 1.0),
        partial(activation, bfloat16_since=13),
    ),
    Operator(
        "HardSigmoid",
        hard_sigmoid,
        Composite(1.0, 0.0, 1.0),
        partial(
            activation,
            special=s.NO_NAN,
            attributes=[{"alpha": 0.5, "beta": 0.25}, {"beta": -0.5}, {"alpha": 0.5}],
            edges=(-2.5, 2.5, -3.0, 3.0),
        ),
    ),
    Operator("HardSwish", hard_swish, SMOOTH, hard_swishes),
    Operator("Softplus", softplus, SMOOTH, activation),
    Operator("Softsign", softsign, Composite(1.0, -1.0, 1.0), activation),
    Operator(
        "ThresholdedRelu",
        thresholded_relu,
        EXACT,
        thresholds,
    ),
    Operator(
        "Shrink",
        shrink,
        Rounded(0.5, 1.0),
        partial(
            activation,
            # By the last bias, numbers grow, so that some bits are rounded off.
            attributes=[
                {"lambd": 1.5, "bias": 1.5},
                {"lambd": 0.75, "bias": -0.5},
                {"lambd": 0.25, "bias": -0.7},
                {"lambd": 1.5},
                {"bias": 1.5},
            ],
            bfloat16_since=13,
            # Wider integers may be computed in the attributes' float32.
            limits=("uint8", "uint16"),
        ),
    ),
    Operator("Swish", swish, SMOOTH, swishes),
    Operator("SwiGLU", swiglu, Composite(), lambda: s.only(gated(), opset=28)),
    Operator("Softmax", softmax, Composite(0.0, 0.0, 1.0), shares),
    Operator("LogSoftmax", log_softmax, Composite(high=0.0), shares),
    Operator("Hardmax", hardmax, EXACT, partial(shares, integers(0, 9), far=False)),
)
