"""Operators whose results are drawn at random: what they mean, and the tests that tell a sample from a wrong one.

A right implementation fails a test with probability `FALSE_ALARM` at most, over all that the test looks at. Every
threshold is an inequality that holds for each sample size, so none is tuned:

- distributions: Dvoretzky-Kiefer-Wolfowitz with Massart's constant, P(sup|Fn - F| > e) <= 2 exp(-2 n e^2);
- counts: Bernstein, P(|S - E S| > sqrt(2 v L) + L/3) <= 2 exp(-L) for a sum of variance v of terms within 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.draws import choice, full, uniform
from conformance.dtypes import BOOL, FLOATS, INTEGERS, dtype_of, lookup
from conformance.lazy import torch
from conformance.rules import Random
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .casting import FLOAT8
from .samples import EMPTY, INF, NAN, SCALAR, SPECIAL, UNUSUAL, literal, pairwise, tagged

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FALSE_ALARM",
    "OPERATORS",
    "bernoulli_problem",
    "dropout_problem",
    "multinomial_problem",
    "normal_problem",
]

FALSE_ALARM = 1e-9
_LOOKS = 64  # the most inequalities that one test relies on; each gets its part of the false alarms
_LOG = math.log(2 * _LOOKS / FALSE_ALARM)
_POINTS = 1024  # at which two distribution functions are compared; fewer points only lower the alarm rate
WIDE = ("float32", "float16", "float64")
ONE = ("float32",)
MANY = (256, 256)

Arrays = Sequence["np.ndarray | None"]
Attributes = Mapping[str, Any]
# The share of values up to each of many, float64.
Distribution = Callable[[np.ndarray], np.ndarray]


def _distribution(x: np.ndarray, cdf: Distribution, size: float) -> str | None:
    """Whether the sample has this distribution function. ``size``: of its values, for a generator's resolution."""
    kind = lookup(dtype_of(x))
    values = np.sort(x.astype(np.float64).ravel())
    n = len(values)
    reach = math.sqrt(_LOG / (2 * n))
    points = values[:: max(1, n // _POINTS)]
    below, up_to = (np.searchsorted(values, points, side) / n for side in ("left", "right"))
    # The value stands for all reals that are rounded to it, and the generator has a grid of its own.
    width = 2.0**-kind.p * (np.abs(points) + size)
    low, high = cdf(points - width) - reach, cdf(points + width) + reach
    for share in (below, up_to):
        bad = np.flatnonzero(~((low <= share) & (share <= high)))
        if len(bad):
            at = bad[0]
            expected = f"{low[at]:.4f} to {high[at]:.4f}"
            return f"a share of {share[at]:.4f} up to {points[at]:.6g} where {expected} is expected ({n} values)"
    return None


def _share(flags: np.ndarray, probability: np.ndarray | float, what: str) -> str | None:
    """Whether independent events happened as often as their probabilities say."""
    p = np.broadcast_to(np.asarray(probability, dtype=np.float64), flags.shape)
    expected, variance = float(p.sum()), float((p * (1 - p)).sum())
    reach = math.sqrt(2 * variance * _LOG) + _LOG / 3
    count = int(flags.sum())
    if abs(count - expected) <= reach:
        return None
    return f"{what}: {count} of {flags.size} where {expected:.1f} ± {reach:.1f} are expected"


def _independence(flags: np.ndarray, probability: float) -> str | None:
    """Whether neighbours are independent: disjoint pairs at several distances are both true as often as they should."""
    flat = flags.ravel()
    for distance in (1, 2, flags.shape[-1] if flags.ndim else 1, 4, max(flat.size // 2, 1)):
        starts = np.arange(0, flat.size // (2 * distance) * 2 * distance).reshape(-1, 2, distance)
        if starts.size:
            both = flat[starts[:, 0]] & flat[starts[:, 1]]
            problem = _share(both, probability**2, f"pairs at a distance of {distance}")
            if problem:
                return problem
    return None


def _continuous(x: np.ndarray, median: float, cdf: Distribution, size: float) -> str | None:
    if not x.size:
        return None
    if not np.isfinite(x.astype(np.float64)).all():
        return "a value is not finite"
    # A generator of 21 bits or more repeats itself in one of 64 of as many values as there are here, at most.
    if dtype_of(x) in ("float32", "float64") and len(np.unique(x)) < 0.9 * x.size:
        return f"only {len(np.unique(x))} of {x.size} values differ"
    return _distribution(x, cdf, size) or _independence(x.astype(np.float64) > median, 0.5)


def normal_problem(
    inputs: Arrays, attributes: Attributes, outputs: Sequence[np.ndarray], flush_to_zero: bool = False
) -> str | None:
    """None, or in what the first output is no sample of a normal distribution of the given mean and scale."""
    mean, scale = attributes["mean"], attributes["scale"]
    root = scale * math.sqrt(2)

    def cdf(v: np.ndarray) -> np.ndarray:
        return np.array([0.5 * math.erfc(z) for z in ((mean - v) / root).tolist()])

    return _continuous(outputs[0], mean, cdf, abs(mean) + scale)


def uniform_problem(
    inputs: Arrays, attributes: Attributes, outputs: Sequence[np.ndarray], flush_to_zero: bool = False
) -> str | None:
    """None, or in what the first output is no sample of a uniform distribution between low and high."""
    low, high = attributes["low"], attributes["high"]
    x = outputs[0].astype(np.float64)
    slack = 2.0 ** -lookup(dtype_of(outputs[0])).p * max(abs(low), abs(high))
    if x.size and not (x.min() >= low - slack and x.max() <= high + slack):
        return f"values from {x.min()} to {x.max()} where {low} to {high} are allowed"
    middle, width = (low + high) / 2, high - low
    return _continuous(outputs[0], middle, lambda v: np.clip((v - low) / width, 0, 1), max(abs(low), abs(high)))


def bernoulli_problem(
    inputs: Arrays, attributes: Attributes, outputs: Sequence[np.ndarray], flush_to_zero: bool = False
) -> str | None:
    """None, or in what the first output is no draw of ones with the probabilities that the first input gives.

    ONNX contradicts itself, so that there are two right answers, each as a whole: the operator's text (Bernoulli-15)
    has a 1 with probability p, its function body ``Greater(RandomUniformLike(input), input)`` with 1 - p.
    """
    assert inputs[0] is not None
    p, y = inputs[0].astype(np.float64), outputs[0].astype(np.float64)
    if not np.isin(y, (0.0, 1.0)).all():
        return "a value is neither 0 nor 1"
    problem = _ones(y == 1, p)
    # A uniform number of the input's type may be 0, which is not greater than a p of 0.
    if problem and _ones(y == 1, 1 - p, 2.0 ** -lookup(dtype_of(inputs[0])).p):
        return problem
    return None


def _ones(ones: np.ndarray, p: np.ndarray, misses: float = 0.0) -> str | None:
    """Whether the ones were drawn with probabilities p; ``misses``: the share of what is sure that may stay out."""
    sure, missing = int((p == 1).sum()), int((~ones[p == 1]).sum())
    most = sure * misses + math.sqrt(2 * sure * misses * _LOG) + _LOG / 3 if misses else 0
    if ones[p == 0].any() or missing > most:
        return "what is certain did not happen"
    ones = ones | (p == 1)  # those that may be missing are counted
    different = np.unique(p)
    groups = [p == q for q in different] if len(different) <= _LOOKS // 4 else [p < 0.5, p >= 0.5]
    for group in groups:
        problem = _share(ones[group], p[group], "ones")
        if problem:
            return problem
    return _independence(ones, float(different[0])) if len(different) == 1 else None


def multinomial_problem(
    inputs: Arrays, attributes: Attributes, outputs: Sequence[np.ndarray], flush_to_zero: bool = False
) -> str | None:
    """None, or in what the first output is no draw of classes with the given unnormalised log-probabilities."""
    assert inputs[0] is not None
    weights = np.exp(inputs[0].astype(np.float64) - inputs[0].astype(np.float64).max(-1, keepdims=True))
    chances, y = weights / weights.sum(-1, keepdims=True), outputs[0]
    if y.size and not (y.min() >= 0 and y.max() < chances.shape[1]):
        return f"classes from {y.min()} to {y.max()} of {chances.shape[1]}"
    for row, (p, drawn) in enumerate(zip(chances, y, strict=True)):
        for class_ in range(len(p)):
            if p[class_] == 0 and (drawn == class_).any():
                return f"row {row}: class {class_} cannot be"
            problem = _share(drawn == class_, float(p[class_]), f"row {row}, class {class_}")
            if problem:
                return problem
    return None


def dropout_problem(
    inputs: Arrays, attributes: Attributes, outputs: Sequence[np.ndarray], flush_to_zero: bool = False
) -> str | None:
    """None, or what is wrong: a change in inference, a value that is neither dropped nor scaled, a mask that says
    otherwise, or a share of zeros that the ratio does not explain."""
    x, y = inputs[0], outputs[0]
    assert x is not None
    given = inputs[1] if len(inputs) > 1 else None
    ratio = float(given.reshape(())) if given is not None else float(attributes.get("ratio", 0.5))
    training = len(inputs) > 2 and inputs[2] is not None and bool(inputs[2].reshape(()))
    mask = outputs[1] if len(outputs) > 1 else None
    data, result = x.astype(np.float64), y.astype(np.float64)
    kind = lookup(dtype_of(x))
    if not training or ratio == 0:
        same = ((data == result) & (np.signbit(data) == np.signbit(result))) | (np.isnan(data) & np.isnan(result))
        if flush_to_zero:
            same |= (result == 0) & (np.abs(data) < kind.smallest)
        if not same.all():
            return "the data are changed where nothing is to be dropped"
        return None if mask is None or mask.all() else "the mask has a False where nothing is to be dropped"
    kept = mask if mask is not None else (result != 0) | (data == 0)
    scaled = data / (1 - ratio)
    # 1 - ratio, its reciprocal and the product may each be rounded, in the type of the ratio or of the data.
    fraction = min(lookup(dtype_of(a)).p for a in (x, given) if a is not None)
    right = np.abs(result - scaled) <= 4 * 2.0**-fraction * np.maximum(np.abs(scaled), kind.smallest)
    if flush_to_zero:  # of what came in, or of what comes out
        right |= (result == 0) & (np.minimum(np.abs(data), np.abs(scaled)) < kind.smallest)
    if not (result[~kept] == 0).all():
        return "a dropped value is not 0"
    if not right[kept].all():
        return f"a kept value is not data / (1 - {ratio})"
    counted = kept[data != 0]
    return _share(counted, 1 - ratio, "kept values") or _independence(kept, 1 - ratio)


def _generator(seed: float | None) -> Any:
    if seed is None:
        return None
    return torch.Generator().manual_seed(int.from_bytes(np.float64(seed).tobytes(), "little") % 2**63)


def _uniforms(shape: Sequence[int], seed: float | None, wide: bool) -> Tensor:
    return torch.rand(list(shape), generator=_generator(seed), dtype=torch.float64 if wide else torch.float32)


def _normals(shape: Sequence[int], seed: float | None, wide: bool) -> Tensor:
    return torch.randn(list(shape), generator=_generator(seed), dtype=torch.float64 if wide else torch.float32)


def random_normal(
    *inputs: Tensor,
    shape: list[int] | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    dtype: int | None = None,
    dtypes: tuple[str, ...] = ("float32",),
) -> Tensor:
    sizes = inputs[0].shape if inputs else shape or []
    drawn = mean + scale * _normals(sizes, seed, dtypes[0] == "float64")
    return drawn.to(inputs[0].device) if inputs else drawn


def random_uniform(
    *inputs: Tensor,
    shape: list[int] | None = None,
    low: float = 0.0,
    high: float = 1.0,
    seed: float | None = None,
    dtype: int | None = None,
    dtypes: tuple[str, ...] = ("float32",),
) -> Tensor:
    sizes = inputs[0].shape if inputs else shape or []
    drawn = low + (high - low) * _uniforms(sizes, seed, dtypes[0] == "float64")
    return drawn.to(inputs[0].device) if inputs else drawn


def bernoulli(input: Tensor, seed: float | None = None, dtype: int | None = None) -> Tensor:
    """1 with the given probability, as in the operator's text; its function body has it the other way round."""
    return _uniforms(input.shape, seed, wide=True).to(input.device) < input


def multinomial(input: Tensor, sample_size: int = 1, seed: float | None = None, dtype: int = 6) -> Tensor:
    weights = torch.exp(input.double() - input.double().amax(-1, keepdim=True)).cpu()
    return torch.multinomial(weights, sample_size, replacement=True, generator=_generator(seed)).to(input.device)


def dropout(
    data: Tensor, ratio: Tensor | float = 0.5, training_mode: Tensor | None = None, seed: int | None = None
) -> tuple[Tensor, Tensor]:
    share = 0.5 if ratio is None else float(ratio)
    if training_mode is None or not bool(training_mode) or share == 0:
        return data, torch.ones_like(data, dtype=torch.bool)
    mask = (_uniforms(data.shape, seed, wide=True) >= share).to(data.device)
    return torch.where(mask, data / (1 - share), torch.zeros_like(data)), mask


def _typed(
    name: str, dtypes: Sequence[str], attributes: dict[str, Any], *inputs: TensorSpec, **fields: Any
) -> Iterator[Sample]:
    """The same in several output types, which are an attribute here."""
    for dtype in dtypes:
        given = {**attributes, "dtype": lookup(dtype).onnx}
        yield tagged(f"{name}-{dtype}", *inputs, attributes=given, dtypes=(dtype,), **fields)


def _generators(first: str, second: str) -> Iterator[Sample]:
    """Of RandomNormal and RandomUniform, with the names of their two parameters."""
    shape = {"shape": list(MANY)}
    yield from _typed("many", (*WIDE, "bfloat16"), shape)
    yield from _typed("parameters", WIDE, {**shape, first: -3.5, second: 2.0})
    yield from pairwise(
        Sample("pairs", (), shape),
        {first: (None, -3.5), second: (None, 2.0), "seed": (None, 7.0), "dtype": (None, 10)},
    )
    yield tagged("small-scale", attributes={**shape, first: 0.0, second: 1e-3}, dtypes=ONE)
    yield tagged("rank-6", attributes={"shape": [2, 1, 30, 4, 5, 7]}, dtypes=ONE)
    yield tagged("vector", attributes={"shape": [10007]}, dtypes=ONE)
    yield tagged("scalar", attributes={"shape": []}, dtypes=ONE, tags=SCALAR)
    yield tagged("empty", attributes={"shape": [2, 0]}, dtypes=ONE, tags=EMPTY)
    yield tagged("no-shape", dtypes=ONE, refuse="shape is required")
    integer = {"shape": [2, 3], "dtype": 7}
    yield tagged("integer-type", attributes=integer, dtypes=ONE, refuse="int64 is no type of the result")


def _likes(first: str, second: str) -> Iterator[Sample]:
    """Of RandomNormalLike and RandomUniformLike."""
    many = tensor(*MANY)
    yield tagged("many", many, dtypes=WIDE)
    yield tagged("parameters", many, attributes={first: -3.5, second: 2.0}, dtypes=WIDE)
    yield from pairwise(
        Sample("pairs", (many,)),
        {first: (None, -3.5), second: (None, 2.0), "seed": (None, 7.0), "dtype": (None, 10)},
    )
    for dtype in WIDE:
        attributes = {"dtype": lookup(dtype).onnx}
        yield tagged(f"to-{dtype}", many, attributes=attributes, dtypes=("int64", "float32"))
    yield tagged("to-bfloat16", many, attributes={"dtype": 16}, dtypes=ONE)
    others = ("bfloat16", *INTEGERS, *BOOL, *UNUSUAL)
    yield tagged("outline", many, attributes={"dtype": 1}, dtypes=tuple(d for d in others if d != "int64"))
    yield tagged("rank-6", tensor(2, 1, 30, 4, 5, 7), dtypes=ONE)
    yield tagged("empty", tensor(2, 0), dtypes=ONE, tags=EMPTY)
    again = ((tensor(99, 3),), (tensor(1, 700),))
    yield tagged("dynamic", tensor(50, 40), dtypes=ONE, again=again, tags=("dynamic",))


def bernoullis() -> Iterator[Sample]:
    yield tagged("probabilities", tensor(*MANY, draw=uniform(0.0, 1.0)), dtypes=(*WIDE, "bfloat16"))
    for p in (0.5, 0.25, 0.015625):
        yield tagged(f"probability-{p}", tensor(*MANY, draw=full(p)), dtypes=WIDE)
    yield tagged("certain", tensor(99, 7, draw=choice(0.0, 1.0)), dtypes=WIDE, tags=SPECIAL)
    yield tagged("mixed", tensor(*MANY, draw=choice(0.0, 1.0, 0.5, 0.125)), dtypes=ONE)
    yield tagged("seed", tensor(*MANY, draw=full(0.5)), attributes={"seed": 3.0}, dtypes=ONE)
    both = {"seed": 3.0, "dtype": 7}
    yield tagged("seed-to-int64", tensor(*MANY, draw=full(0.25)), attributes=both, dtypes=ONE)
    for dtype in (*FLOATS, *INTEGERS, *BOOL):
        attributes = {"dtype": lookup(dtype).onnx}
        yield tagged(f"to-{dtype}", tensor(*MANY, draw=full(0.25)), attributes=attributes, dtypes=ONE)
    yield tagged("empty", tensor(2, 0), dtypes=ONE, tags=EMPTY)


def multinomials() -> Iterator[Sample]:
    logits = literal(0.0, 1.0, 2.0, -1.0, 0.5, 0.5, 0.5, 0.5, shape=(2, 4))
    many = {"sample_size": 20000}
    yield tagged("two-rows", logits, attributes=many, dtypes=(*WIDE, "bfloat16"))
    yield tagged("int32", logits, attributes={**many, "dtype": 6}, dtypes=ONE)
    yield tagged("int64", logits, attributes={**many, "dtype": 7}, dtypes=ONE)
    yield tagged("seed", logits, attributes={**many, "seed": 5.0}, dtypes=ONE)
    yield tagged("sixteen-classes", tensor(3, 16), attributes=many, dtypes=ONE)
    yield tagged("large-logits", literal(500.0, 501.0, 499.0, shape=(1, 3)), attributes=many, dtypes=ONE)
    yield tagged(
        "impossible-class", literal(0.0, -INF, 1.0, shape=(1, 3)), attributes=many, dtypes=ONE, tags=SPECIAL
    )
    yield tagged("one-class", tensor(4, 1), attributes={"sample_size": 3}, dtypes=ONE)
    yield tagged("one-sample", tensor(5, 4), dtypes=ONE)
    yield tagged("one-sample-int64-seed", tensor(5, 4), attributes={"dtype": 7, "seed": 5.0}, dtypes=ONE)
    vector = tensor(4)
    yield tagged("vector", vector, dtypes=ONE, refuse="rank 1")


def dropouts() -> Iterator[Sample]:
    def flag(value: bool) -> TensorSpec:
        return TensorSpec((), full(value), "bool", constant=True)

    def ratio(value: float, dtype: str | None = "float32") -> TensorSpec:
        return TensorSpec((), full(value), dtype, constant=True)

    x, many = tensor(3, 5, 7), tensor(*MANY)
    yield tagged("inference", x, dtypes=(*FLOATS, *FLOAT8))
    yield tagged("inference-mask", x, ratio(0.3), flag(False), outputs=2, dtypes=FLOATS)
    yield tagged("inference-mask-default", x, outputs=2, dtypes=WIDE)
    yield tagged("inference-ratio", x, ratio(0.9), dtypes=WIDE)
    yield tagged("inference-seed", x, ratio(0.9), attributes={"seed": 3}, dtypes=ONE)
    unusual = tensor(3, 7, draw=choice(NAN, INF, -INF, 0.0, -0.0, 1.0))
    yield tagged("special", unusual, outputs=2, dtypes=FLOATS, tags=SPECIAL)
    yield tagged("scalar", tensor(), outputs=2, dtypes=ONE, tags=SCALAR)
    yield tagged("empty", tensor(2, 0), outputs=2, dtypes=ONE, tags=EMPTY)
    again = ((tensor(2, 9),), (tensor(5, 1),))
    yield tagged("dynamic", tensor(3, 4), dtypes=ONE, again=again, tags=("dynamic",))
    for share in (0.5, 0.25, 0.9):
        inputs = (many, ratio(share), flag(True))
        yield tagged(f"training-{share}", *inputs, outputs=2, dtypes=WIDE)
    yield tagged("training-no-mask", many, ratio(0.5), flag(True), dtypes=WIDE)
    yield tagged("training-default-ratio", many, None, flag(True), outputs=2, dtypes=ONE)
    yield tagged("training-ratio-0", many, ratio(0.0), flag(True), outputs=2, dtypes=WIDE)
    yield tagged("training-float16-ratio", many, ratio(0.5, "float16"), flag(True), outputs=2, dtypes=ONE)
    for dtype in ("float64", "bfloat16", *FLOAT8):
        yield tagged(f"inference-{dtype}-ratio", x, ratio(0.5, dtype), dtypes=ONE)
    seeded = {"seed": 11}
    yield tagged("training-seed", many, ratio(0.5), flag(True), attributes=seeded, outputs=2, dtypes=ONE)
    yield tagged("opset-11", x, attributes={"ratio": 0.3}, dtypes=WIDE, opset=11)
    yield tagged("opset-12", x, ratio(0.3), dtypes=ONE, opset=12)


NORMAL, UNIFORM = Random(normal_problem), Random(uniform_problem)

OPERATORS = (
    Operator("RandomNormal", random_normal, NORMAL, lambda: _generators("mean", "scale")),
    Operator("RandomNormalLike", random_normal, NORMAL, lambda: _likes("mean", "scale"), strings=True),
    Operator("RandomUniform", random_uniform, UNIFORM, lambda: _generators("low", "high")),
    Operator("RandomUniformLike", random_uniform, UNIFORM, lambda: _likes("low", "high"), strings=True),
    Operator("Bernoulli", bernoulli, Random(bernoulli_problem), bernoullis),
    Operator("Multinomial", multinomial, Random(multinomial_problem), multinomials),
    Operator("Dropout", dropout, Random(dropout_problem), dropouts),
)
