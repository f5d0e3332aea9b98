"""Losses over class scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from conformance.draws import choice, integers, normal, uniform, values
from conformance.lazy import torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .geometry import wide
from .samples import DYNAMIC, FEW, INF, LARGE, LONG, SPECIAL, carried, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")


def negative_log_likelihood(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """−weight[target] · input[target] of (N, C, …) log-probabilities; a mean divides by the sum of the weights of
    what is not ignored (NegativeLogLikelihoodLoss-22). Raises ``ValueError`` where there is not one label for each."""
    scores, labels = wide(input), target.long()
    if labels.shape != (scores.shape[0], *scores.shape[2:]):
        raise ValueError(f"labels of shape {list(labels.shape)} for scores of shape {list(scores.shape)}")
    kept = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
    labels = torch.where(kept, labels, torch.zeros_like(labels))
    factor = scores.new_ones(labels.shape) if weight is None else wide(weight)[labels]
    factor = torch.where(kept, factor, torch.zeros_like(factor))
    loss = -scores.gather(1, labels.unsqueeze(1)).squeeze(1) * factor
    loss = torch.where(kept, loss, torch.zeros_like(loss))
    if reduction == "mean":
        loss = loss.sum() / factor.sum()
    elif reduction == "sum":
        loss = loss.sum()
    return loss.to(input.dtype)


def softmax_cross_entropy(
    scores: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of log-softmax over the classes, and these log-probabilities (SoftmaxCrossEntropyLoss-13)."""
    x = wide(scores)
    shifted = x - x.amax(1, keepdim=True)
    log_prob = shifted - shifted.exp().sum(1, keepdim=True).log()
    loss = negative_log_likelihood(
        log_prob,
        labels,
        None if weights is None else wide(weights),
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return loss.to(scores.dtype), log_prob.to(scores.dtype)


def _samples(outputs: int = 1) -> Iterator[Sample]:
    def inputs(
        *shape: int, weighted: bool = False, labels: str = "int64", ignored: int | None = None
    ) -> tuple[TensorSpec, ...]:
        classes, places = shape[1], (shape[0], *shape[2:])
        draw = integers(0, classes - 1) if ignored is None else choice(*range(classes), ignored, ignored)
        given = tensor(*shape, draw=normal(-2, 1)), tensor(*places, draw=draw, dtype=labels)
        return (*given, tensor(classes, draw=uniform(0.2, 2.0), constant=True)) if weighted else given

    def sample(name: str, given: tuple[TensorSpec, ...], dtypes: tuple[str, ...] = FEW, **fields: Any) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "refuse", "opset", "outputs") if k in fields}
        kept.setdefault("outputs", outputs)
        return Sample(name, given, fields, dtypes=dtypes, **kept)

    for reduction in ("mean", "sum", "none"):
        yield sample(reduction, inputs(7, 5), ALL, reduction=reduction)
        yield sample(f"{reduction}-weighted", inputs(7, 5, weighted=True), reduction=reduction)
        yield sample(f"{reduction}-space", inputs(2, 5, 3, 4), reduction=reduction)
        yield sample(f"{reduction}-space-weighted", inputs(2, 5, 3, 4, weighted=True), reduction=reduction)
        ignoring: dict[str, Any] = {"reduction": reduction, "ignore_index": 1}
        yield sample(f"{reduction}-ignored", inputs(19, 5), **ignoring)
        yield sample(f"{reduction}-ignored-weighted", inputs(19, 5, weighted=True), **ignoring)
    outside = inputs(19, 5, weighted=True, ignored=-100)
    yield sample("ignored-outside", outside, ignore_index=-100)
    yield sample("ignored-outside-none", inputs(2, 5, 6, ignored=-1), ignore_index=-1, reduction="none")
    yield sample("labels-int32", inputs(7, 5, labels="int32"))
    yield sample("three-axes", inputs(2, 3, 2, 3, 4), reduction="none")
    yield sample("two-classes", inputs(5, 2))
    yield sample("one-sample", inputs(1, 11))
    yield sample("large", inputs(64, 301), reduction="mean", tags=LARGE)
    yield sample("long", inputs(LONG // 2, 2), ("float16",), reduction="mean", tags=LARGE)
    yield sample("large-none", inputs(2, 21, 32, 33), ONE, reduction="none", tags=LARGE)
    yield sample("dynamic", inputs(7, 5), again=(inputs(1, 5), inputs(19, 5)), tags=DYNAMIC)
    yield sample("opset-12", inputs(7, 5, weighted=True), ONE, opset=12)
    # Through the weights, by which a class's loss is multiplied: each class has a label.
    given = replace(inputs(7, 5, weighted=True)[1], draw=values(0, 1, 2, 3, 4, 0, 1))
    weighted = sample("none-weighted", inputs(7, 5, weighted=True), reduction="none")
    yield from carried(replace(weighted, inputs=(weighted.inputs[0], given, weighted.inputs[2])), 2)
    bad = tensor(4, 5), tensor(3, draw=integers(0, 4), dtype="int64")
    yield sample("batch-mismatch", bad, ONE, refuse="3 labels for 4 samples")
    float_labels = tensor(4, 5), tensor(4)
    yield sample("float-labels", float_labels, ONE, refuse="labels must be integers")
    yield from refusals(2, most=3)


def _softmax_samples() -> Iterator[Sample]:
    # Not in bfloat16: the function body uses a NegativeLogLikelihoodLoss that has none.
    plain = tuple(d for d in ALL if d != "bfloat16")
    for sample in _samples(outputs=2):
        yield replace(sample, dtypes=tuple(d for d in sample.dtypes or plain if d in plain))
    labels = tensor(5, draw=integers(0, 7), dtype="int64")
    yield Sample("loss-only", (tensor(5, 8), labels), dtypes=FEW)
    yield Sample("large-scores", (tensor(5, 8, draw=normal(0, 50)), labels), outputs=2, dtypes=FEW)
    masked = tensor(5, 8, draw=choice(-INF, 0.5, 1.0, -2.0))
    yield Sample("masked", (masked, labels), {"reduction": "none"}, outputs=2, dtypes=plain, tags=SPECIAL)
    yield Sample("shifted", (tensor(5, 8, draw=normal(300, 1)), labels), outputs=2, dtypes=FEW)


def _nll_samples() -> Iterator[Sample]:
    yield from _samples()
    labels = tensor(7, draw=integers(0, 4), dtype="int64")
    yield Sample("opset-22", (tensor(7, 5), labels), dtypes=ALL, opset=22)


OPERATORS = (
    Operator("NegativeLogLikelihoodLoss", negative_log_likelihood, Composite(), _nll_samples),
    Operator("SoftmaxCrossEntropyLoss", softmax_cross_entropy, Composite(), _softmax_samples),
)
