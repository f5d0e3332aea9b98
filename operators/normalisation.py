"""Normalisations: by statistics of a batch, of an instance, of a layer or of a neighbourhood.

Each is written out in elementary steps: the rounding of every one is part of its error bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from conformance.draws import AUTO, Draw, full, normal, uniform, values
from conformance.lazy import F, torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .geometry import wide
from .samples import DYNAMIC, EMPTY, FEW, LARGE, LONG, SPECIAL, carried, only, pairwise, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")
SCALE = uniform(0.5, 1.5)
# float64 is stashed as float32 by default: what it is then accurate to is float32's business.
STASHED = ("float32", "float16", "bfloat16")
CANCELLATION = frozenset({"cancellation"})


def _mean(x: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    return x.sum(tuple(axes), keepdim=True) / math.prod(x.shape[a] for a in axes)


def _standardise(x: torch.Tensor, axes: Sequence[int], epsilon: float) -> tuple[torch.Tensor, ...]:
    """(x − mean) / √(variance + ε) over the axes, the mean and 1/√(variance + ε)."""
    mean = _mean(x, axes)
    centred = x - mean
    inverse = 1 / (_mean(centred * centred, axes) + epsilon).sqrt()
    return centred * inverse, mean, inverse


def _channels(parameter: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return parameter.to(x.dtype).reshape(-1, *[1] * (x.dim() - 2))


def batch_normalization(
    x: torch.Tensor,
    scale: torch.Tensor,
    b: torch.Tensor,
    input_mean: torch.Tensor,
    input_var: torch.Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """(N, C, …) by the given statistics of each channel, or by the batch's own in training (BatchNormalization-15).

    In training the variance is the population's, and the running statistics follow with ``momentum``.
    """
    a = wide(x)
    mean, variance = _channels(input_mean, a), _channels(input_var, a)
    if training_mode:
        axes = [0, *range(2, a.dim())]
        mean = _mean(a, axes)
        variance = _mean((a - mean) * (a - mean), axes)
    # As one factor and one shift, which is what every engine makes of it: the shift has a rounding of its own.
    factor = _channels(scale, a) / (variance + epsilon).sqrt()
    y = (a * factor + (_channels(b, a) - mean * factor)).to(x.dtype)
    if not training_mode:
        return y
    old_mean, old_variance = wide(input_mean), wide(input_var)
    running_mean = old_mean * momentum + mean.flatten() * (1 - momentum)
    running_variance = old_variance * momentum + variance.flatten() * (1 - momentum)
    return y, running_mean.to(input_mean.dtype), running_variance.to(input_var.dtype)


def _batch_samples() -> Iterator[Sample]:
    def inputs(
        *shape: int, constant: bool = True, mean: Draw = AUTO, x: Draw = AUTO, c: int = 0
    ) -> tuple[TensorSpec, ...]:
        c = c or (shape[1] if len(shape) > 1 else 1)
        return (
            tensor(*shape, draw=x),
            tensor(c, draw=SCALE, constant=constant),
            tensor(c, constant=constant),
            tensor(c, draw=mean, constant=constant),
            tensor(c, draw=uniform(0.2, 2.0), constant=constant),
        )

    image = (2, 3, 5, 7)
    yield Sample("image", inputs(*image))
    yield Sample("epsilon", inputs(*image), {"epsilon": 0.125}, dtypes=FEW)
    yield Sample("momentum-ignored", inputs(*image), {"momentum": 0.5}, dtypes=FEW)
    yield Sample("one-axis", inputs(2, 5, 13), dtypes=FEW)
    yield Sample("three-axes", inputs(1, 3, 3, 4, 5), dtypes=FEW)
    yield Sample("no-space", inputs(4, 7), dtypes=FEW)
    yield Sample("ones", inputs(1, 1, 1, 1), dtypes=FEW)
    yield Sample("tails", inputs(1, 17, 9, 11), dtypes=ALL)
    yield Sample("parameters-at-run-time", inputs(*image, constant=False), dtypes=FEW)
    tiny = (*inputs(*image)[:4], tensor(3, draw=values(0.0, 1e-6, 1e-4), constant=True))
    yield Sample("tiny-variance", tiny, dtypes=("float32", "float64"))
    yield Sample(
        "large-mean", inputs(*image, mean=normal(100, 1), x=normal(100, 1)), dtypes=FEW, tags=CANCELLATION
    )
    yield Sample("large", inputs(1, 64, 28, 28), dtypes=FEW, tags=LARGE)
    special = tensor(1, 3, 2, 3, draw=_SPECIAL)
    yield Sample("special", (special, *inputs(*image)[1:]), dtypes=FEW, tags=SPECIAL)
    yield Sample("empty-batch", inputs(0, 3, 5, 7), dtypes=ONE, tags=EMPTY)
    again = (inputs(1, 3, 4, 4), inputs(5, 3, 9, 2))
    yield Sample("dynamic", inputs(*image), dtypes=FEW, again=again, tags=DYNAMIC)
    training = {"training_mode": 1}
    yield Sample("training", inputs(*image), training, outputs=3, dtypes=("float32", "float16", "float64"))
    moved = {**training, "momentum": 0.6, "epsilon": 1e-3}
    yield Sample("training-momentum", inputs(*image), moved, outputs=3, dtypes=FEW)
    yield Sample("training-tails", inputs(4, 5, 9), training, outputs=3, dtypes=ONE)
    yield Sample("opset-9", inputs(*image), dtypes=ONE, opset=9)
    yield Sample("opset-14", inputs(*image), training, outputs=3, dtypes=ONE, opset=14)
    yield from carried(Sample("bias", _only_bias(inputs(1, 5, 2, 3))), 2)
    bad = inputs(*image, c=4)
    yield Sample("channel-mismatch", bad, dtypes=ONE, refuse="statistics of 4 channels for 3")
    yield from refusals(5)


def _only_bias(inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """With scales of zero the result is the bias, to the last bit and whatever the statistics are."""
    x, scale, bias, *others = inputs
    return x, replace(scale, draw=full(0.0)), bias, *others


_SPECIAL = values(*[float("nan"), 1.0, 2.0] * 2, *[float("inf"), 1.0, -2.0] * 2, *[-float("inf"), 0.0, 0.5] * 2)


def instance_normalization(
    x: torch.Tensor, scale: torch.Tensor, b: torch.Tensor, *, epsilon: float = 1e-5
) -> torch.Tensor:
    """(N, C, D1, …) by the mean and variance of each channel of each instance (InstanceNormalization-22)."""
    a = wide(x)
    y, _, _ = _standardise(a, range(2, a.dim()), epsilon)
    return (y * _channels(scale, a) + _channels(b, a)).to(x.dtype)


def _per_channel(*shape: int, c: int = 0, draw: Draw = AUTO, constant: bool = True) -> tuple[TensorSpec, ...]:
    c = c or shape[1]
    return tensor(*shape, draw=draw), tensor(c, draw=SCALE, constant=constant), tensor(c, constant=constant)


def _instance_samples() -> Iterator[Sample]:
    image = (2, 3, 5, 7)
    yield Sample("image", _per_channel(*image))
    yield Sample("epsilon", _per_channel(*image), {"epsilon": 0.125}, dtypes=FEW)
    yield Sample("one-axis", _per_channel(2, 5, 13), dtypes=FEW)
    yield Sample("three-axes", _per_channel(1, 3, 3, 4, 5), dtypes=FEW)
    yield Sample("one-pixel", _per_channel(2, 3, 1, 1), dtypes=FEW)
    yield Sample("tails", _per_channel(1, 17, 9, 11), dtypes=FEW)
    yield Sample("parameters-at-run-time", _per_channel(*image, constant=False), dtypes=FEW)
    yield Sample("constant-input", _per_channel(*image, draw=full(3.0)), dtypes=FEW, tags=CANCELLATION)
    yield Sample(
        "large-mean",
        _per_channel(1, 4, 16, 16, draw=normal(100, 1)),
        dtypes=("float32", "float64"),
        tags=CANCELLATION,
    )
    yield Sample("tiny", _per_channel(*image, draw=normal(0, 1e-3)), dtypes=FEW)
    yield Sample("large", _per_channel(1, 16, 48, 40), dtypes=FEW, tags=LARGE)
    yield Sample("long", _per_channel(1, 2, LONG), dtypes=("float16",), tags=LARGE)
    yield Sample("special", _per_channel(1, 3, 2, 3, draw=_SPECIAL), dtypes=FEW, tags=SPECIAL)
    yield Sample("empty-batch", _per_channel(0, 3, 5, 7), dtypes=ONE, tags=EMPTY)
    again = (_per_channel(1, 3, 4, 4), _per_channel(5, 3, 9, 2))
    yield Sample("dynamic", _per_channel(*image), dtypes=FEW, again=again, tags=DYNAMIC)
    yield Sample("opset-22", _per_channel(*image), dtypes=ALL, opset=22)
    yield from carried(Sample("bias", _only_bias(_per_channel(1, 5, 2, 3))), 2)
    yield Sample("channel-mismatch", _per_channel(*image, c=4), dtypes=ONE, refuse="4 scales for 3 channels")
    yield from refusals(3)


def group_normalization(
    x: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    opset: int = 21,
) -> torch.Tensor:
    """(N, C, …) by the mean and variance of each group of channels; parameters per channel, per group before
    opset 21 (GroupNormalization-21, -18)."""
    a = wide(x)
    groups = a.reshape(a.shape[0], num_groups, math.prod(a.shape[1:]) // num_groups)  # the batch may be empty
    # The variance as ONNX's function body has it, with its loss of digits where the mean is large.
    mean = _mean(groups, [2])
    variance = _mean(groups * groups, [2]) - mean * mean
    y = ((groups - mean) / (variance + epsilon).sqrt()).reshape(a.shape)
    if opset < 21:
        share = a.shape[1] // num_groups
        scale, bias = scale.repeat_interleave(share), bias.repeat_interleave(share)
    return (y * _channels(scale, a) + _channels(bias, a)).to(x.dtype)


def _group_samples() -> Iterator[Sample]:
    for sample in _groups():
        yield replace(sample, shape=0)  # ONNX infers the type of this function, and no shape


def _groups() -> Iterator[Sample]:
    image, two = (2, 6, 5, 7), {"num_groups": 2}
    yield Sample("two-groups", _per_channel(*image), two)
    yield Sample("one-group", _per_channel(*image), {"num_groups": 1}, dtypes=FEW)
    yield Sample("group-per-channel", _per_channel(*image), {"num_groups": 6}, dtypes=FEW)
    yield Sample("epsilon", _per_channel(*image), {**two, "epsilon": 0.125}, dtypes=FEW)
    narrow = {**two, "stash_type": 10, "epsilon": 0.125}
    yield Sample("stash-float16", _per_channel(*image), narrow, dtypes=("float16",))
    yield Sample("stash-float64", _per_channel(*image), {**two, "stash_type": 11}, dtypes=("float64",))
    yield Sample("one-axis", _per_channel(2, 6, 13), two, dtypes=FEW)
    yield Sample("three-axes", _per_channel(1, 4, 3, 4, 5), two, dtypes=FEW)
    yield Sample("no-space", _per_channel(3, 12), {"num_groups": 3}, dtypes=FEW)
    yield Sample("tails", _per_channel(1, 21, 9, 11), {"num_groups": 7}, dtypes=FEW)
    yield Sample("parameters-at-run-time", _per_channel(*image, constant=False), two, dtypes=FEW)
    mean = _per_channel(1, 8, 12, 12, draw=normal(100, 1))
    yield Sample("large-mean", mean, two, dtypes=ONE, tags=CANCELLATION)
    yield Sample(
        "large",
        _per_channel(1, 64, 16, 16),
        {"num_groups": 32},
        dtypes=("float32", "float16", "bfloat16"),
        tags=LARGE,
    )
    yield Sample("long", _per_channel(1, 2, LONG), two, dtypes=("float16", "bfloat16"), tags=LARGE)
    again = (_per_channel(1, 6, 4, 4), _per_channel(5, 6, 9, 2))
    yield Sample("dynamic", _per_channel(*image), two, dtypes=FEW, again=again, tags=DYNAMIC)
    bias = _only_bias(_per_channel(1, 6, 2, 3))
    yield from only(carried(Sample("bias", bias, two), 2), dtypes=STASHED)
    double = Sample("bias-stash-float64", bias, {**two, "stash_type": 11})
    yield from only(carried(double, 2), dtypes=("float64",))
    yield Sample(
        "bad-groups", _per_channel(*image), {"num_groups": 4}, dtypes=ONE, refuse="6 channels do not divide into 4"
    )
    yield Sample("channel-mismatch", _per_channel(*image, c=5), two, dtypes=ONE, refuse="5 scales for 6 channels")
    yield Sample("no-groups", _per_channel(*image), dtypes=ONE, refuse="num_groups is required")


def _check_axis(axis: int, x: torch.Tensor) -> None:
    if not -x.dim() <= axis < x.dim():
        raise IndexError(f"axis {axis} of a tensor of rank {x.dim()}")


def layer_normalization(
    x: torch.Tensor,
    scale: torch.Tensor,
    b: torch.Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[torch.Tensor, ...]:
    """By the mean and variance over ``axis`` and all axes after it (LayerNormalization-17); also the mean and
    1/√(variance + ε), of shape (d0, …, d[axis−1], 1, …, 1). Raises ``IndexError`` for an axis that x has not."""
    a = wide(x)
    _check_axis(axis, a)
    y, mean, inverse = _standardise(a, range(axis % a.dim(), a.dim()), epsilon)
    y = y * scale.to(a.dtype)
    if b is not None:
        y = y + b.to(a.dtype)
    return y.to(x.dtype), mean, inverse


def rms_normalization(
    x: torch.Tensor, scale: torch.Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> torch.Tensor:
    """By the root of the mean square over ``axis`` and all axes after it (RMSNormalization-23).

    Raises ``IndexError`` for an axis that x has not."""
    a = wide(x)
    _check_axis(axis, a)
    rms = (_mean(a * a, range(axis % a.dim(), a.dim())) + epsilon).sqrt()
    return ((a / rms).to(x.dtype) * scale).to(scale.dtype)


def _layer_samples(bias: bool, opset: int | None = None) -> Iterator[Sample]:
    def inputs(
        *shape: int, inner: Sequence[int] = (), draw: Draw = AUTO, constant: bool = True
    ) -> tuple[TensorSpec, ...]:
        inner = tuple(inner) or shape[-1:]
        scale = tensor(*inner, draw=SCALE, constant=constant)
        parameters = (scale, tensor(*inner, constant=constant)) if bias else (scale,)
        return (tensor(*shape, draw=draw), *parameters)

    def sample(
        name: str, given: tuple[TensorSpec, ...], dtypes: tuple[str, ...] | None = FEW, **fields: Any
    ) -> Sample:
        kept = {k: fields.pop(k) for k in ("outputs", "tags", "again", "refuse") if k in fields}
        return Sample(name, given, fields, dtypes=dtypes, opset=opset, **kept)

    x = (2, 5, 16)
    yield sample("last-axis", inputs(*x), dtypes=None)
    yield sample("axis-1", inputs(*x, inner=(5, 16)), axis=1)
    yield sample("axis-0", inputs(*x, inner=x), axis=0)
    yield sample("axis-negative-2", inputs(*x, inner=(5, 16)), axis=-2)
    yield sample("rank-4", inputs(2, 3, 4, 9, inner=(4, 9)), axis=2)
    yield sample("vector", inputs(19), axis=0)
    yield sample("epsilon", inputs(*x), epsilon=0.125)
    yield sample("epsilon-axis-1", inputs(*x, inner=(5, 16)), dtypes=ONE, axis=1, epsilon=0.125)
    yield from pairwise(
        sample("pairs", (), ("bfloat16",), outputs=3 if bias else 1),
        {"axis": (None, 1), "epsilon": (None, 0.125), "stash_type": (None, 16)},
        inputs=lambda row: inputs(*x, inner=(5, 16) if row["axis"] else ()),
    )
    yield sample("scale-broadcast", inputs(*x, inner=(1,)))
    yield sample("scale-broadcast-rows", inputs(*x, inner=(5, 1)), axis=1)
    yield sample("one-element", inputs(3, 1))
    yield sample("tails", inputs(7, 33))
    yield sample("parameters-at-run-time", inputs(*x, constant=False))
    yield sample("constant-input", inputs(*x, draw=full(3.0)), tags=CANCELLATION)
    yield sample("tiny", inputs(*x, draw=normal(0, 1e-3)))
    yield sample("large-values", inputs(*x, draw=normal(0, 1e4)))
    yield sample("large-mean", inputs(4, 64, draw=normal(100, 1)), dtypes=ONE, tags=CANCELLATION)
    yield sample("hidden-768", inputs(1, 9, 768), dtypes=("float32", "float16", "bfloat16"), tags=LARGE)
    yield sample("hidden-4096", inputs(3, 4096), dtypes=FEW, tags=LARGE)
    yield sample("special", inputs(6, 3, draw=_SPECIAL), tags=SPECIAL)
    yield sample("empty", inputs(0, 16), dtypes=ONE, tags=EMPTY)
    again = (inputs(1, 3, 16), inputs(3, 17, 16))
    yield sample("dynamic", inputs(*x), again=again, tags=DYNAMIC)
    if bias:
        yield sample("no-bias", inputs(*x)[:2])
        yield sample("all-outputs", inputs(*x), outputs=3)
        yield sample("all-outputs-stash-bfloat16", inputs(*x), dtypes=("bfloat16",), stash_type=16, outputs=3)
        yield sample("mean-output", inputs(*x), outputs=2)
        yield sample("all-outputs-axis-1", inputs(*x, inner=(5, 16)), outputs=3, axis=1)
        skipped = (True, False, True)
        yield from only(carried(sample("bias", _only_bias(inputs(2, 6))), 2), dtypes=STASHED)
        yield sample("second-output-left-out", inputs(*x), outputs=skipped, dtypes=ONE)
    yield sample("bad-axis", inputs(*x), dtypes=ONE, axis=3, refuse="axis 3 of a tensor of rank 3")
    yield sample("scale-mismatch", inputs(*x, inner=(15,)), dtypes=ONE, refuse="15 scales for 16 elements")


def lp_normalization(x: torch.Tensor, *, axis: int = -1, p: int = 2) -> torch.Tensor:
    """x divided by its p-norm along the axis; 0 where the norm is 0 (LpNormalization-22)."""
    a = wide(x)
    norm = a.abs().sum(axis, keepdim=True) if p == 1 else (a * a).sum(axis, keepdim=True).sqrt()
    zero = norm == 0
    return torch.where(zero, torch.zeros_like(a), a / torch.where(zero, torch.ones_like(norm), norm)).to(x.dtype)


def _lp_samples() -> Iterator[Sample]:
    x = (tensor(3, 4, 5),)
    yield Sample("last-axis", x)
    yield Sample("p-1", x, {"p": 1}, dtypes=FEW)
    yield Sample("axis-0", x, {"axis": 0}, dtypes=FEW)
    yield Sample("axis-1-p-1", x, {"axis": 1, "p": 1}, dtypes=FEW)
    yield Sample("axis-negative-2", x, {"axis": -2, "p": 2}, dtypes=FEW)
    yield Sample("vector", (tensor(17),), {"axis": 0}, dtypes=FEW)
    yield Sample("ones", (tensor(1, 1),), dtypes=FEW)
    yield Sample("rank-5", (tensor(2, 3, 1, 4, 5),), {"axis": 3}, dtypes=FEW)
    yield Sample("hidden-781", (tensor(9, 781),), dtypes=FEW, tags=LARGE)
    yield Sample("long", (tensor(2, LONG),), dtypes=("float16",), tags=LARGE)
    zero = tensor(2, 3, draw=values(0.0, 0.0, 0.0, 3.0, 0.0, -4.0))
    yield Sample("zero-norm", (zero,), dtypes=FEW, opset=22)
    yield Sample("empty", (tensor(0, 4),), dtypes=ONE, tags=EMPTY)
    again = ((tensor(1, 2, 9),), (tensor(5, 1, 3),))
    yield Sample("dynamic", x, dtypes=FEW, again=again, tags=DYNAMIC)
    yield Sample("opset-22", x, dtypes=ALL, opset=22)
    # By the sum of the absolute values: squares of subnormal numbers are zero, and then ONNX has another text.
    yield from carried(Sample("p-1", (tensor(4, 5),), {"p": 1}), 0, infinity=False)
    yield Sample("bad-axis", x, {"axis": 3}, dtypes=ONE, refuse="axis 3 of a tensor of rank 3")
    yield from refusals(1)


def mean_variance_normalization(x: torch.Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> torch.Tensor:
    """(x − E[x]) / (√(E[x²] − E[x]²) + 1e-9), as the function body has it (MeanVarianceNormalization-13)."""
    a = wide(x)
    mean = _mean(a, axes)
    deviation = (_mean(a * a, axes) - mean * mean).sqrt()
    return ((a - mean) / (deviation + 1e-9)).to(x.dtype)


def _mean_variance_samples() -> Iterator[Sample]:
    # The default is always written out: ONNX's own shape inference fails on the function without it. It fails as well in
    # every type but float32, because the function adds a float32 epsilon: a backend that checks may refuse these.
    x, usual = (tensor(2, 3, 5, 7),), {"axes": [0, 2, 3]}
    yield Sample("default-axes", x, usual, dtypes=ONE)
    yield Sample("axes-2-3", x, {"axes": [2, 3]}, dtypes=ONE)
    yield Sample("axes-1", x, {"axes": [1]}, dtypes=ONE)
    yield Sample("negative-axes", x, {"axes": [-1, -2]}, dtypes=ONE)
    yield Sample("all-axes", x, {"axes": [0, 1, 2, 3]}, dtypes=ONE)
    yield Sample("matrix", (tensor(5, 17),), {"axes": [1]}, dtypes=ONE)
    yield Sample("shifted", (tensor(2, 3, 5, 7, draw=normal(3, 1)),), usual, dtypes=ONE, tags=CANCELLATION)
    yield Sample("large", (tensor(2, 8, 24, 25),), usual, dtypes=ONE, tags=LARGE)
    yield Sample("opset-9", x, usual, dtypes=ONE, opset=9)
    rows = Sample("rows", (tensor(4, 5),), {"axes": [1]})
    # Not subnormal numbers: the variance of these is zero or below, or its root is lost beside the 1e-9.
    yield from only(carried(rows, 0, infinity=False, subnormals=False), dtypes=ONE)
    yield from refusals(1)


def lrn(x: torch.Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> torch.Tensor:
    """x / (bias + alpha/size · Σ x² over ``size`` channels around)^beta (LRN-13).

    An even size reaches one channel further up than down: from c − ⌊(size−1)/2⌋ to c + ⌈(size−1)/2⌉.
    """
    a = wide(x)
    around = [0, 0] * (a.dim() - 2) + [(size - 1) // 2, size // 2]
    squares = F.pad(a * a, around).unfold(1, size, 1).sum(-1)
    return (a / (bias + alpha / size * squares) ** beta).to(x.dtype)


def _lrn_samples() -> Iterator[Sample]:
    x = (tensor(2, 7, 4, 5, draw=normal(0, 3)),)
    strong = {"size": 5, "alpha": 0.3}
    yield Sample("size-5", x, strong)
    yield Sample("defaults", x, {"size": 3}, dtypes=FEW)
    yield Sample("size-1", x, {"size": 1, "alpha": 0.3}, dtypes=FEW)
    yield Sample("even-size", x, {"size": 4, "alpha": 0.3}, dtypes=FEW)
    yield Sample("size-2", x, {"size": 2, "alpha": 0.3}, dtypes=FEW)
    yield Sample("wider-than-channels", x, {"size": 11, "alpha": 0.3}, dtypes=FEW)
    yield from pairwise(
        Sample("pairs", x, {"size": 5}), {"alpha": (None, 0.3), "beta": (None, 0.5), "bias": (None, 2.5)}
    )
    yield Sample("one-axis", (tensor(2, 7, 9),), strong, dtypes=FEW)
    yield Sample("three-axes", (tensor(1, 5, 2, 3, 4),), strong, dtypes=FEW)
    yield Sample("one-channel", (tensor(2, 1, 4, 5),), strong, dtypes=FEW)
    yield Sample("large", (tensor(1, 96, 13, 13),), strong, dtypes=FEW, tags=LARGE)
    yield Sample("empty-batch", (tensor(0, 5, 4, 4),), strong, dtypes=ONE, tags=EMPTY)
    yield Sample("dynamic", x, strong, dtypes=ONE, again=((tensor(1, 7, 8, 3),),), tags=DYNAMIC)
    yield from carried(Sample("channels", (tensor(1, 9, 1, 2),), strong), 0, infinity=False)
    yield Sample("no-size", x, dtypes=ONE, refuse="size is required")
    yield from refusals(1)


OPERATORS = (
    Operator("BatchNormalization", batch_normalization, Composite(), _batch_samples),
    Operator("InstanceNormalization", instance_normalization, Composite(), _instance_samples),
    Operator("GroupNormalization", group_normalization, Composite(), _group_samples, dtypes=STASHED),
    Operator(
        "LayerNormalization",
        layer_normalization,
        Composite(),
        lambda: _layer_samples(bias=True),
        dtypes=STASHED,
    ),
    Operator(
        "RMSNormalization",
        rms_normalization,
        Composite(),
        lambda: _layer_samples(bias=False, opset=23),
        dtypes=STASHED,
    ),
    Operator("LpNormalization", lp_normalization, Composite(), _lp_samples),
    Operator("MeanVarianceNormalization", mean_variance_normalization, Composite(), _mean_variance_samples),
    Operator("LRN", lrn, Composite(), _lrn_samples),
)
