"""Activations, products and normalisations with their neighbours fused in, as optimised transformers have them.

Of com.microsoft, version 1; the law is the text that ONNX Runtime registers with each operator (docs/
ContribOperators.md there), and its function bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.draws import choice, full, integers, nonzero, normal, uniform, values
from conformance.lazy import torch
from conformance.rules import Accumulation, Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from . import samples as s
from .activations import BOTH_TAILS, gelu, hard_sigmoid, leaky_relu, swish
from .convolution import conv, weight
from .geometry import wide
from .linear import gemm
from .schemas import DOMAIN

__all__ = ["OPERATORS"]

ONE = ("float32",)
GPU = ("float32", "float16", "bfloat16")
REAL = ("float32", "float16", "bfloat16", "float64")
REALS = ("float32", "float16", "float64")
MANY_DIGITS = integers(1, 15)
SCALE = uniform(0.5, 1.5)


# What they mean.


def bias_gelu(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Gelu of the sum, by the error function."""
    return gelu(a + b)


def fast_gelu(x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x/2·(1 + tanh(0.797885·x + 0.035677·x³)), of x + bias. The constants are the text's and the function body's."""
    if bias is not None:
        x = x + bias
    return x * 0.5 * (torch.tanh(x * (x * x * 0.035677 + 0.797885)) + 1)


def quick_gelu(x: torch.Tensor, alpha: float = 1.702) -> torch.Tensor:
    """x·sigmoid(alpha·x)."""
    return swish(x, alpha)


def _turned(x: torch.Tensor, batch: int, matrix: int) -> torch.Tensor:
    """The first axis behind the batch's, then the last two exchanged."""
    if x.dim() < 2:
        return x
    x = x.movedim(0, -2) if batch else x
    return x.mT if matrix else x


def fused_matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
    transBatchA: int = 0,  # noqa: N803
    transBatchB: int = 0,  # noqa: N803
) -> torch.Tensor:
    """alpha·A'·B', each transposed on request in its last two axes, or with its first axis put behind the batch's.
    A vector is left as it is."""
    return torch.matmul(_turned(a, transBatchA, transA), _turned(b, transBatchB, transB)) * alpha


def _matmul_magnitude(attributes: dict[str, Any]) -> dict[str, Any]:
    return {**attributes, "alpha": abs(attributes["alpha"])}


def _matmul_count(a: torch.Tensor, b: torch.Tensor, **attributes: Any) -> torch.Tensor:
    return fused_matmul(a, b, **{**attributes, "alpha": 1.0})


def _activated(x: torch.Tensor, name: str, parameters: Sequence[float]) -> torch.Tensor:
    known: dict[str, Callable[..., torch.Tensor]] = {
        "": lambda t: t,
        "Relu": torch.relu,
        "Tanh": torch.tanh,
        "Sigmoid": torch.sigmoid,
        "LeakyRelu": leaky_relu,
        "Clip": torch.clamp,
        "HardSigmoid": hard_sigmoid,
    }
    return known[name](x, *parameters)


def fused_gemm(
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    **attributes: Any,
) -> torch.Tensor:
    """The activation of alpha·A'·B' + beta·C."""
    parameters = [p for p in (activation_alpha, activation_beta, activation_gamma) if p is not None]
    return _activated(gemm(a, b, c, **attributes), activation, parameters)


def fused_conv(
    x: torch.Tensor,
    w: torch.Tensor,
    b: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    **attributes: Any,
) -> torch.Tensor:
    """The activation of Conv(x, w, b) + z."""
    y = conv(x, w, b, **attributes)
    return _activated(y if z is None else y + z, activation, activation_params)


def inverse(x: torch.Tensor) -> torch.Tensor:
    """(…, M, M) to its inverse, by Gauss and Jordan with the largest pivot of each column."""
    a = wide(x)
    size = a.shape[-1]
    place = torch.arange(size, device=a.device)
    rows = torch.cat([a, torch.eye(size, dtype=a.dtype, device=a.device).expand(a.shape)], -1)
    for k in range(size):
        below = torch.where(place >= k, rows[..., k].abs(), -torch.ones_like(rows[..., k]))
        pivot = below.argmax(-1, keepdim=True)
        order = torch.where(place == pivot, torch.full_like(place, k), place)
        order = torch.where(place == k, pivot, order)
        rows = rows.gather(-2, order[..., None].expand(rows.shape))
        head = rows[..., k : k + 1, :] / rows[..., k : k + 1, k : k + 1]
        factors = rows[..., k : k + 1]
        rows = torch.where(place[:, None] == k, head, rows - factors * head)
    return rows[..., size:].to(x.dtype)


def _mean(x: torch.Tensor) -> torch.Tensor:
    return x.sum(-1, keepdim=True) / x.shape[-1]


def _normalised(
    x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor | None, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By mean and population variance over the last axis, scaled and shifted, with both statistics."""
    a = wide(x)
    mean = _mean(a)
    centred = a - mean
    inverse_deviation = 1 / (_mean(centred * centred) + epsilon).sqrt()
    y = centred * inverse_deviation * wide(gamma)
    return (y if beta is None else y + wide(beta)).to(x.dtype), mean, inverse_deviation


def skip_layer_normalization(
    x: torch.Tensor,
    skip: torch.Tensor,
    gamma: torch.Tensor,
    beta: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> tuple[torch.Tensor, ...]:
    """LayerNormalization of x + skip + bias over the last axis; also its statistics and the sum itself."""
    total = x + skip if bias is None else x + skip + bias
    y, mean, inverse_deviation = _normalised(total, gamma, beta, epsilon)
    return y, mean.float(), inverse_deviation.float(), total


def skip_simplified_layer_normalization(
    x: torch.Tensor,
    skip: torch.Tensor,
    gamma: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> tuple[torch.Tensor, ...]:
    """x + skip + bias by its root mean square over the last axis; also the statistics (the mean is none) and the sum."""
    total = x + skip if bias is None else x + skip + bias
    a = wide(total)
    root = (_mean(a * a) + epsilon).sqrt()
    y = (a / root * wide(gamma)).to(x.dtype)
    return y, torch.zeros_like(root).float(), (1 / root).float(), total


def embed_layer_normalization(
    ids: torch.Tensor,
    segments: torch.Tensor | None,
    words: torch.Tensor,
    positions: torch.Tensor,
    segment_embedding: torch.Tensor | None,
    gamma: torch.Tensor,
    beta: torch.Tensor,
    mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 1,
) -> tuple[torch.Tensor, ...]:
    """LayerNormalization of the sum of the embeddings of words, places and segments.

    Also how many words the mask has in each row (0 without a mask), and the sum.
    """
    places = torch.arange(ids.shape[1], device=ids.device)[None] if position_ids is None else position_ids.long()
    total = words[ids.long()] + positions[places]
    if segments is not None and segment_embedding is not None:
        total = total + segment_embedding[segments.long()]
    y, _, _ = _normalised(total, gamma, beta, epsilon)
    counts = torch.zeros_like(ids[:, 0]) if mask is None else mask.sum(1)
    return y, counts.to(torch.int32), total


# How they are exercised.


def _gelus(*, bias: bool | None, attributes: dict[str, Any] | None = None) -> Iterator[Sample]:
    """One operand; with a vector of its last axis beside it, always (True), at times (None) or never."""

    def given(*shape: int, draw: Any = None) -> tuple[TensorSpec, ...]:
        x = tensor(*shape) if draw is None else tensor(*shape, draw=draw)
        return (x, tensor(shape[-1], constant=True)) if bias else (x,)

    yield Sample("cube", given(3, 5, 7), dtypes=GPU)
    yield Sample("wide", given(9, 31, draw=BOTH_TAILS), dtypes=s.FEW)
    yield Sample("vector", given(17), dtypes=ONE)
    yield Sample("rank-5", given(2, 1, 3, 2, 5), dtypes=ONE)
    yield Sample("empty", given(0, 3), dtypes=ONE, tags=s.EMPTY)
    yield Sample("large", given(33, 3072), dtypes=ONE, tags=s.LARGE)
    yield Sample("dynamic", given(2, 3, 4), dtypes=ONE, again=(given(1, 5, 4), given(4, 2, 4)), tags=s.DYNAMIC)
    if bias is None:
        yield Sample("bias", (tensor(3, 5, 7), tensor(7, constant=True)), dtypes=GPU)
        yield Sample("bias-at-run-time", (tensor(3, 70), tensor(70)), dtypes=ONE)
    # The last is infinite in float16, and only there.
    special = s.literal(*s.SPECIAL_VALUES, 3e5)
    zero = (s.literal(*[0.0] * 10),) if bias else ()
    yield Sample("special", (special, *zero), dtypes=GPU, tags=s.SPECIAL)
    if attributes:
        for name, chosen in attributes.items():
            yield Sample(name, given(9, 31), chosen, dtypes=s.FEW)


def _fused_matmuls() -> Iterator[Sample]:
    def pair(a: tuple[int, ...], b: tuple[int, ...], constant: bool = False) -> tuple[TensorSpec, TensorSpec]:
        return tensor(*a), tensor(*b, constant=constant)

    yield Sample("matrix", pair((5, 8), (8, 6)), dtypes=REAL)
    yield Sample("alpha", pair((5, 8), (8, 6)), {"alpha": 0.125}, dtypes=s.FEW)
    yield Sample("alpha-negative", pair((5, 8), (8, 6)), {"alpha": -1.5}, dtypes=ONE)
    yield Sample("trans-a", pair((8, 5), (8, 6)), {"transA": 1}, dtypes=s.FEW)
    yield Sample("trans-b", pair((5, 8), (6, 8)), {"transB": 1}, dtypes=s.FEW)
    yield Sample("trans-b-constant", pair((5, 8), (6, 8), True), {"transB": 1}, dtypes=s.FEW)
    yield Sample("trans-both", pair((8, 5), (6, 8)), {"transA": 1, "transB": 1, "alpha": 0.3}, dtypes=s.FEW)
    scores = {"transB": 1, "alpha": 0.17677669}
    yield Sample("scores", pair((2, 4, 9, 32), (2, 4, 9, 32)), scores, dtypes=s.FEW)
    yield Sample("broadcast", pair((2, 1, 4, 5), (3, 6, 5)), {"transB": 1}, dtypes=ONE)
    yield Sample("batch-a", pair((4, 3, 5), (3, 5, 6)), {"transBatchA": 1}, dtypes=ONE)
    yield Sample("batch-b", pair((3, 4, 5), (5, 3, 6)), {"transBatchB": 1}, dtypes=ONE)
    both = {"transBatchA": 1, "transBatchB": 1}
    yield Sample("batch-both", pair((4, 2, 3, 5), (5, 2, 3, 6)), both, dtypes=s.FEW)
    yield Sample("batch-and-trans-b", pair((4, 3, 5), (6, 3, 5)), {**both, "transB": 1}, dtypes=ONE)
    yield Sample("batch-and-trans-a", pair((5, 3, 4), (5, 3, 6)), {**both, "transA": 1}, dtypes=ONE)
    yield Sample("inner-512", pair((33, 512), (35, 512), True), {"transB": 1}, dtypes=s.FEW, tags=s.LARGE)
    whole = tensor(33, 65, draw=s.SMALL), tensor(35, 65, draw=s.SMALL)
    yield Sample("exact-integers", whole, {"transB": 1, "alpha": 0.5}, dtypes=s.FEW, exact=True)
    yield from s.only(s.carried(Sample("small", pair((2, 3), (3, 2))), 0), dtypes=REAL)
    beyond = tensor(2, 3, draw=normal(0, 1e6)), tensor(3, 2)
    yield Sample("beyond-float16", beyond, dtypes=("bfloat16",))
    sizes = (pair((1, 1, 8), (1, 6, 8)), pair((3, 7, 8), (3, 2, 8)))
    yield Sample("dynamic", pair((2, 4, 8), (2, 6, 8)), {"transB": 1}, dtypes=ONE, again=sizes, tags=s.DYNAMIC)
    yield Sample("empty", pair((0, 5), (3, 5)), {"transB": 1}, dtypes=ONE, tags=s.EMPTY)
    yield Sample("mismatch", pair((3, 4), (3, 5)), {"transB": 1}, dtypes=ONE, refuse="4 columns against 5")


def _fused_gemms() -> Iterator[Sample]:
    given = tensor(5, 8), tensor(8, 6, constant=True), tensor(6, constant=True)
    yield Sample("relu", given, {"activation": "Relu"}, dtypes=s.FEW)
    yield Sample("no-bias", given[:2], {"activation": "Relu"}, dtypes=ONE)
    yield Sample("tanh", given, {"activation": "Tanh"}, dtypes=ONE)
    yield Sample("sigmoid", given, {"activation": "Sigmoid"}, dtypes=ONE)
    yield Sample("leaky-relu", given, {"activation": "LeakyRelu", "activation_alpha": 0.25}, dtypes=ONE)
    turned = {"transA": 1, "transB": 1, "alpha": 0.5, "beta": -1.5, "activation": "Relu"}
    yield Sample("transposed", (tensor(8, 5), tensor(6, 8, constant=True), given[2]), turned, dtypes=s.FEW)
    large = tensor(9, 256), tensor(256, 65, constant=True), tensor(65, constant=True)
    yield Sample("large", large, {"activation": "Relu"}, dtypes=ONE, tags=s.LARGE)
    whole = [tensor(*i, draw=s.SMALL, constant=len(i) == 1) for i in ((13, 33), (33, 9), (9,))]
    yield Sample("exact-integers", tuple(whole), {"activation": "Relu"}, dtypes=s.FEW, exact=True)
    # Sums up to 2000, beyond bfloat16's whole numbers.
    whole = [tensor(*i, draw=MANY_DIGITS, constant=len(i) == 1) for i in ((3, 9), (9, 4), (4,))]
    yield Sample("exact-large-integers", tuple(whole), {"activation": "Relu"}, dtypes=s.FEW, exact=True)
    leaky = {"activation": "LeakyRelu", "activation_alpha": 0.25}
    yield from s.only(s.carried(Sample("small", (tensor(2, 3), tensor(3, 2)), leaky), 0), dtypes=s.FEW)


def _fused_convolutions() -> Iterator[Sample]:
    image, kernel = (2, 3, 9, 11), (5, 3, 3, 3)
    same: dict[str, Any] = {"pads": [1, 1, 1, 1]}

    def sample(name: str, activation: str, *parameters: float, z: bool = False, **fields: Any) -> Sample:
        dtypes = fields.pop("dtypes", ONE)
        x, w = fields.pop("x", image), fields.pop("w", kernel)
        inputs: tuple[TensorSpec | None, ...] = (tensor(*x), weight(*w), weight(w[0]))
        if z:
            inputs += (tensor(x[0], w[0], *x[2:]),)
        attributes = {**same, **fields, "activation": activation}
        if parameters:
            attributes["activation_params"] = list(parameters)
        return Sample(name, inputs, attributes, dtypes=dtypes)

    yield sample("relu", "Relu", dtypes=s.FEW)
    yield sample("tanh", "Tanh")
    yield sample("sigmoid", "Sigmoid")
    yield sample("leaky-relu", "LeakyRelu", 0.25)
    yield sample("clip", "Clip", 0.0, 0.5)
    yield sample("hard-sigmoid", "HardSigmoid", 0.25, 0.4)
    yield sample("stride-2", "Relu", strides=[2, 2])
    yield sample("depthwise", "Relu", x=(1, 8, 9, 9), w=(8, 1, 3, 3), group=8)
    yield sample("conv-1d", "Relu", x=(2, 3, 23), w=(5, 3, 3), pads=[1, 1])
    yield sample("sum", "Relu", z=True)
    yield sample("sum-pointwise", "Relu", z=True, x=(1, 16, 7, 7), w=(24, 16, 1, 1), pads=[0, 0, 0, 0])
    plain = tensor(*image), weight(*kernel)
    yield Sample("no-bias", plain, {**same, "activation": "Relu"}, dtypes=ONE)
    whole = tensor(1, 8, 9, 9, draw=s.SMALL), weight(9, 8, 3, 3, draw=s.SMALL), weight(9, draw=s.SMALL)
    yield Sample("exact-integers", whole, {**same, "activation": "Relu"}, dtypes=ONE, exact=True)
    digits = tensor(1, 8, 2, 2, draw=MANY_DIGITS), weight(3, 8, 1, 1, draw=MANY_DIGITS)
    yield Sample("exact-large-integers", digits, {"activation": "Relu"}, dtypes=s.FEW, exact=True)
    leaky = {"activation": "LeakyRelu", "activation_params": [0.25]}
    small = Sample("small", (tensor(1, 2, 2, 2), weight(3, 2, 1, 1)), leaky)
    yield from s.only(s.carried(small, 0), dtypes=s.FEW)


def _inverses() -> Iterator[Sample]:
    yield Sample("matrix", (tensor(3, 3),), dtypes=REALS)
    yield Sample("one", (tensor(1, 1),), dtypes=ONE)
    yield Sample("batch", (tensor(2, 3, 4, 4),), dtypes=("float32", "float64"))
    yield Sample("size-8", (tensor(3, 8, 8),), dtypes=("float32", "float64"))
    # The first pivot is zero: without an exchange of rows there is no answer.
    turned = values(0.0, 2.0, 0.0, 0.0, 0.0, 4.0, 0.5, 0.0, 0.0)
    yield Sample("permuted", (tensor(3, 3, draw=turned),), dtypes=s.FEW)
    # Its inverse is itself with the other sign above the diagonal, to the last bit.
    above = [v for a in (1027.0, -1025.0) for v in (1.0, a, 0.0, 1.0)]
    yield Sample("unit-triangular", (tensor(2, 2, 2, draw=values(*above)),), dtypes=REALS, exact=True)
    above = [v for a in s.SUBNORMALS for v in (1.0, a, 0.0, 1.0)]
    tiny = tensor(len(s.SUBNORMALS), 2, 2, draw=values(*above))
    tags = s.SPECIAL | {"subnormal"}
    yield Sample("unit-triangular-subnormal", (tiny,), dtypes=REALS, tags=tags)
    single = Sample("single", (tensor(5, 1, 1),))
    yield from s.only(s.carried(single, 0, infinity=False, subnormals=False), dtypes=REALS)
    yield Sample(
        "dynamic", (tensor(2, 3, 3),), dtypes=ONE, again=((tensor(1, 5, 5),), (tensor(4, 2, 2),)), tags=s.DYNAMIC
    )
    yield Sample("not-square", (tensor(3, 4),), dtypes=ONE, refuse="3 rows and 4 columns")


def outlier(rows: int, size: int) -> tuple[TensorSpec, TensorSpec]:
    """Two tensors whose sum has one large number in front of many small ones, as hidden states of language models have:
    a narrow accumulator that holds its square has no room left for the others'."""
    return (
        tensor(rows, size, draw=nonzero(0.25, 0.34)),
        tensor(rows, size, draw=values(*[16.0, *[0.0] * (size - 1)] * rows)),
    )


def _skips(*, simplified: bool) -> Iterator[Sample]:
    def given(*shape: int, beta: bool = True, bias: bool = False, x: Any = None) -> tuple[TensorSpec | None, ...]:
        d = shape[-1]
        first = tensor(*shape) if x is None else tensor(*shape, draw=x)
        inputs: list[TensorSpec | None] = [first, tensor(*shape), tensor(d, draw=SCALE, constant=True)]
        if not simplified:
            inputs.append(tensor(d, constant=True) if beta else None)
        return (*inputs, tensor(d, constant=True) if bias else None)

    shape, both = (2, 3, 16), (True, False, False, True)
    yield Sample("plain", given(*shape), dtypes=GPU)
    yield Sample("bias", given(*shape, bias=True), dtypes=GPU)
    yield Sample("sum", given(*shape), outputs=both, dtypes=GPU)
    yield Sample("sum-bias", given(*shape, bias=True), outputs=both, dtypes=s.FEW)
    yield Sample("epsilon", given(*shape), {"epsilon": 0.125}, dtypes=s.FEW)
    if not simplified:
        yield Sample("no-beta", given(*shape, beta=False), dtypes=s.FEW)
        yield Sample("no-beta-bias", given(*shape, beta=False, bias=True), dtypes=ONE)
        x, _, *rest = given(*shape)
        yield Sample("skip-of-one-batch", (x, tensor(1, 3, 16), *rest), dtypes=s.FEW)
        yield Sample("skip-without-batch", (x, tensor(3, 16), *rest), outputs=both, dtypes=ONE)
    yield Sample("two-axes", given(5, 16), outputs=both, dtypes=s.FEW)
    yield Sample("tails", given(1, 5, 83), dtypes=s.FEW)
    yield Sample("large-mean", given(*shape, x=normal(100, 1)), dtypes=ONE, tags=frozenset({"cancellation"}))
    yield Sample("large", given(1, 33, 768, bias=True), outputs=both, dtypes=s.FEW, tags=s.LARGE)
    yield Sample("outlier", (*outlier(1, 1024), *given(1, 1024)[2:]), dtypes=GPU)
    # Ones of both signs are their own normalisation, so that gamma comes out.
    ones = tensor(1, 4, draw=values(1.0, -1.0, -1.0, 1.0)), tensor(1, 4, draw=full(0.0))
    small = Sample("gamma", (*ones, tensor(4, constant=True)))
    yield from s.only(s.carried(small, 2), dtypes=GPU)
    sizes = given(1, 7, 16), given(4, 1, 16)
    yield Sample("dynamic", given(2, 3, 16), dtypes=s.FEW, again=sizes, tags=s.DYNAMIC)
    x, skip, _, *rest = given(*shape)
    yield Sample(
        "gamma-too-long", (x, skip, tensor(17, constant=True), *rest), dtypes=ONE, refuse="17 factors for 16"
    )


def _embeddings() -> Iterator[Sample]:
    def ids(batch: int, length: int, most: int) -> TensorSpec:
        return tensor(batch, length, draw=integers(0, most), dtype="int32")

    def table(rows: int, d: int = 16) -> TensorSpec:
        return tensor(rows, d, constant=True)

    def given(batch: int, length: int, d: int = 16, *, segments: bool = True) -> tuple[TensorSpec | None, ...]:
        return (
            ids(batch, length, 29),
            ids(batch, length, 1) if segments else None,
            table(30, d),
            table(12, d),
            table(2, d) if segments else None,
            tensor(d, draw=SCALE, constant=True),
            tensor(d, constant=True),
        )

    mask = TensorSpec((2, 6), values(1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1), "int32")
    yield Sample("plain", given(2, 6), outputs=2, dtypes=s.FEW)
    yield Sample("one-output", given(2, 6), dtypes=ONE)
    yield Sample("mask", (*given(2, 6), mask), outputs=2, dtypes=s.FEW)
    yield Sample("no-segments", given(2, 6, segments=False), outputs=2, dtypes=s.FEW)
    yield Sample("sum", (*given(2, 6), mask), outputs=3, dtypes=s.FEW)
    yield Sample("epsilon", given(2, 6), {"epsilon": 0.125}, outputs=2, dtypes=ONE)
    at = ids(2, 6, 11)
    yield Sample("positions", (*given(2, 6), None, at), outputs=2, dtypes=s.FEW)
    yield Sample("positions-of-one-batch", (*given(2, 6), None, ids(1, 6, 11)), outputs=2, dtypes=ONE)
    yield Sample("tails", given(1, 7, 83), outputs=2, dtypes=ONE)
    words, places = (replace(spec, constant=True) for spec in outlier(2, 1024))
    few = ids(1, 2, 1), None, words, places, None, *given(1, 2, 1024)[5:]
    yield Sample("outlier", few, outputs=2, dtypes=s.FEW)
    # With factors of zero the result is beta, to the last bit.
    first = given(1, 3, 4, segments=False)[:5]
    beta = tensor(4, draw=choice(85.3125, -85.4375, 127.9375), constant=True)
    bias = Sample("bias", (*first, tensor(4, draw=full(0.0), constant=True), beta), outputs=2)
    yield replace(bias, dtypes=s.FEW)
    yield from s.only(s.carried(bias, 6), dtypes=s.FEW)
    sizes = given(1, 3), given(4, 9)
    yield Sample("dynamic", given(2, 6), outputs=2, dtypes=ONE, again=sizes, tags=s.DYNAMIC)


SMOOTH = Composite(scale=1.0)
_operator = partial(Operator, domain=DOMAIN)

OPERATORS = (
    _operator("Gelu", gelu, SMOOTH, partial(_gelus, bias=False)),
    _operator("BiasGelu", bias_gelu, SMOOTH, partial(_gelus, bias=True)),
    _operator("FastGelu", fast_gelu, SMOOTH, partial(_gelus, bias=None)),
    _operator(
        "QuickGelu",
        quick_gelu,
        SMOOTH,
        partial(_gelus, bias=False, attributes={"alpha-1": {"alpha": 1.0}, "alpha-negative": {"alpha": -0.5}}),
    ),
    _operator(
        "FusedMatMul", fused_matmul, Accumulation(magnitude=_matmul_magnitude, count=_matmul_count), _fused_matmuls
    ),
    _operator("FusedGemm", fused_gemm, Composite(), _fused_gemms),
    _operator("FusedConv", fused_conv, Composite(), _fused_convolutions),
    _operator("Inverse", inverse, Composite(), _inverses),
    _operator("SkipLayerNormalization", skip_layer_normalization, Composite(), partial(_skips, simplified=False)),
    _operator(
        "SkipSimplifiedLayerNormalization",
        skip_simplified_layer_normalization,
        Composite(),
        partial(_skips, simplified=True),
    ),
    _operator("EmbedLayerNormalization", embed_layer_normalization, Composite(), _embeddings, variable="T"),
)
