"""Wrong definitions of operators that move, choose, sum in windows and contract: what goes where, and what counts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..dtypes import from_onnx, lookup
from ..operators.geometry import frame, pad, wide, windows
from .semantics import Maker, Meaning, Mistake, as_asked
from .subject import NotApplicable

__all__ = ["MISTAKES"]


def _clipped(position: int) -> Maker:
    """Negative indices taken for 0."""

    def make(right: Meaning) -> Meaning:
        def wrong(*inputs: Any, **attributes: Any) -> Any:
            indices = inputs[position]
            return right(*inputs[:position], indices.clamp(min=0), *inputs[position + 1 :], **attributes)

        return wrong

    return make


def _other_end(right: Meaning) -> Meaning:
    """SAME_UPPER and SAME_LOWER exchanged: what is odd goes to the other end."""
    other = {"SAME_UPPER": "SAME_LOWER", "SAME_LOWER": "SAME_UPPER"}

    def wrong(*inputs: Any, auto_pad: str = "NOTSET", **attributes: Any) -> Any:
        return right(*inputs, auto_pad=other.get(auto_pad, auto_pad), **attributes)

    return wrong


def _slice_end(right: Meaning) -> Meaning:
    """With a negative step, an end before the first element taken for the first: which is then left out."""

    def wrong(data: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
        along = range(len(starts)) if axes is None else axes.tolist()
        sizes = torch.tensor([data.shape[a] for a in along])
        if steps is not None and data.numel():
            ends = torch.where((steps < 0) & (ends < -sizes), torch.zeros_like(ends), ends)
        return right(data, starts, ends, axes, steps)

    return wrong


def _rounded(right: Meaning) -> Meaning:
    """Fractions rounded to the nearest integer instead of cut off."""

    def wrong(x: Any, *target: Any, **attributes: Any) -> Any:
        to = from_onnx(attributes["to"]).name if "to" in attributes else attributes["dtypes"][0]
        whole = to != "string" and not lookup(to).is_float and to != "bool"
        return right(x.round() if whole and x.is_floating_point() else x, *target, **attributes)

    return wrong


def _reflected_rows(right: Meaning) -> Meaning:
    """Rows that are reflected along the first axis are also turned round."""

    def wrong(data: Any, pads: Any, value: Any = None, axes: Any = None, mode: str = "constant") -> Any:
        y = right(data, pads, value, axes, mode)
        if mode != "reflect" or axes is not None or data.dim() < 2:
            return y
        before = int(pads[0])
        return torch.cat([y[:before].flip(-1), y[before:]])

    return wrong


def _split_evenly(right: Meaning) -> Meaning:
    """What does not divide is spread over the first parts, not taken from the last."""

    def wrong(input: Any, split: Any = None, axis: int = 0, n_outputs: int = 1, **attributes: Any) -> Any:
        if split is not None:
            return right(input, split, axis=axis, n_outputs=n_outputs, **attributes)
        return torch.tensor_split(input, n_outputs, axis)

    return wrong


def _of_the_filtered(right: Meaning) -> Meaning:
    """Boxes counted among those above the score threshold, not among all."""

    def wrong(boxes: Any, scores: Any, *limits: Any, **attributes: Any) -> Any:
        rows = right(boxes, scores, *limits, **attributes)
        if len(limits) < 3 or limits[2] is None:
            return rows
        above = scores > limits[2].reshape(())
        place = above.long().cumsum(-1) - 1
        rows = rows.clone()
        rows[:, 2] = place[rows[:, 0], rows[:, 1], rows[:, 2]]
        return rows

    return wrong


def _sorted_alone(right: Meaning) -> Meaning:
    """Where the values alone are asked for, they come sorted."""

    def wrong(x: Any, axis: int | None = None, sorted: int = 1, n_outputs: int = 1) -> Any:
        return right(x, axis, 1 if n_outputs == 1 else sorted)

    wrong.__signature__ = inspect.signature(wrong)  # type: ignore[attr-defined]
    return wrong


def _inverse_for_indices(right: Meaning) -> Meaning:
    """The inverse indices in the place of the first occurrences."""

    def wrong(*inputs: Any, **attributes: Any) -> Any:
        y, _, inverse, counts = right(*inputs, **attributes)
        return y, inverse, inverse, counts

    return wrong


def _masked(right: Meaning) -> Meaning:
    """Multiplied by a mask of zeros and ones: infinity and NaN are not cut off."""

    def wrong(x: Any, k: Any = None, upper: int = 1) -> Any:
        if not x.is_floating_point():
            raise NotApplicable
        return x * right(torch.ones_like(x), k, upper)

    return wrong


def _summed(x: Any, kernel_shape: Sequence[int], attributes: dict[str, Any]) -> tuple[Any, Any]:
    frames = frame(x.shape[2:], kernel_shape, **attributes)
    return windows(pad(wide(x), frames, 0.0, 0.0), frames).sum(-1), frames


def _whole_kernel(right: Meaning) -> Meaning:
    """The mean over the whole kernel where padding counts, although a last window reaches beyond the padding."""

    def wrong(x: Any, *, count_include_pad: int = 0, kernel_shape: Sequence[int], **attributes: Any) -> Any:
        if not count_include_pad:
            return right(x, kernel_shape=kernel_shape, **attributes)
        total, _ = _summed(x, kernel_shape, attributes)
        return (total / math.prod(kernel_shape)).to(x.dtype)

    return wrong


def _begin_alone(right: Meaning) -> Meaning:
    """Of the padding that counts, only that before the input does."""

    def wrong(x: Any, *, count_include_pad: int = 0, kernel_shape: Sequence[int], **attributes: Any) -> Any:
        if not count_include_pad:
            return right(x, kernel_shape=kernel_shape, **attributes)
        total, frames = _summed(x, kernel_shape, attributes)
        ones = pad(wide(x).new_ones(1, 1, *x.shape[2:]), frames, 1.0, 0.0)
        for axis, (f, size) in enumerate(zip(frames, x.shape[2:], strict=True)):
            ones.narrow(2 + axis, f.begin + size, ones.shape[2 + axis] - f.begin - size).zero_()
        return (total / windows(ones, frames).sum(-1)).to(x.dtype)

    return wrong


def _within_a_plane(right: Meaning) -> Meaning:
    """Indices counted anew in each channel."""

    def wrong(x: Any, **attributes: Any) -> Any:
        result = right(x, **attributes)
        if not isinstance(result, tuple):
            raise NotApplicable
        return result[0], result[1] % math.prod(x.shape[2:])

    return wrong


def _half_pixel_ignored(right: Meaning) -> Meaning:
    def wrong(*inputs: Any, coordinate_transformation_mode: str = "", **attributes: Any) -> Any:
        return right(*inputs, coordinate_transformation_mode="output_half_pixel", **attributes)

    return wrong


def _groups_interleaved(right: Meaning) -> Meaning:
    """The weights of group g are every group-th row, not a block of them."""

    def wrong(x: Any, w: Any, *bias: Any, group: int = 1, **attributes: Any) -> Any:
        rows = torch.arange(w.shape[0]).reshape(-1, group).T.reshape(-1)
        return right(x, w[rows], *bias, group=group, **attributes)

    return wrong


def _offsets_apart(right: Meaning) -> Meaning:
    """All rows' offsets first and then all columns', not in pairs."""

    def wrong(x: Any, w: Any, offset: Any, *more: Any, offset_group: int = 1, **attributes: Any) -> Any:
        n, _, *out = offset.shape
        pairs = offset.reshape(n, offset_group, 2, -1, *out).transpose(2, 3)
        return right(x, w, pairs.reshape(offset.shape), *more, offset_group=offset_group, **attributes)

    return wrong


def _alpha_over_all(right: Meaning) -> Meaning:
    """alpha·(A·B + C): the bias is scaled as well."""

    def wrong(a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, **attributes: Any) -> Any:
        return right(a, b, c, alpha=alpha, beta=alpha * beta, **attributes)

    return wrong


def _beta_twice(right: Meaning) -> Meaning:
    def wrong(a: Any, b: Any, c: Any = None, *, beta: float = 1.0, **attributes: Any) -> Any:
        return right(a, b, c, beta=beta * beta, **attributes)

    return wrong


def _shared_labels_kept(right: Meaning) -> Meaning:
    """An implicit output with the labels that two operands share, which are to be summed over."""

    def wrong(*inputs: Any, equation: str) -> Any:
        if "->" in equation or "," not in equation or "." in equation:
            raise NotApplicable
        labels = "".join(sorted(set(equation.replace(" ", "").replace(",", ""))))
        return right(*inputs, equation=f"{equation}->{labels}")

    return wrong


def _diagonal_last(right: Meaning) -> Meaning:
    """The axis of a diagonal comes last, while its label stays where it was."""

    def wrong(*inputs: Any, equation: str) -> Any:
        given, _, output = equation.replace(" ", "").partition("->")
        if len(inputs) != 1 or "." in equation or len(set(given)) == len(given) or len(output) != 2:
            raise NotApplicable
        return right(*inputs, equation=f"{given}->{output[::-1]}")

    return wrong


_NEGATIVE = "negative-indices-clipped"
_SAME = "same-padding-at-the-other-end"
_BY_OPERATOR: Mapping[str, Sequence[tuple[str, Maker, str]]] = {
    "Gather": ((_NEGATIVE, _clipped(1), "openvinotoolkit/openvino#1570"),),
    "GatherElements": ((_NEGATIVE, _clipped(1), "apache/tvm#20217"),),
    "GatherND": ((_NEGATIVE, _clipped(1), "apache/tvm#20217"),),
    "ScatterElements": ((_NEGATIVE, _clipped(1), "tracel-ai/burn-onnx#487"),),
    "ScatterND": ((_NEGATIVE, _clipped(1), "apache/tvm#20217"),),
    "OneHot": ((_NEGATIVE, _clipped(0), "apache/tvm#20217"),),
    "Slice": (("end-before-the-first-is-the-first", _slice_end, "ROCm/AMDMIGraphX#858"),),
    "Split": (("remainder-spread", _split_evenly, "ROCm/AMDMIGraphX#2254"),),
    "Pad": (("reflected-rows-turned", _reflected_rows, "microsoft/onnxruntime#6442"),),
    "Cast": (("fractions-rounded", _rounded, "Xilinx/onnx-mlir#75"),),
    "CastLike": (("fractions-rounded", _rounded, "ROCm/rocMLIR#2340"),),
    "Trilu": (("masked-by-a-product", _masked, "NVIDIA/trt-samples-for-hackathon-cn#84"),),
    "NonMaxSuppression": (("index-among-the-filtered", _of_the_filtered, "Idein/onnion#11"),),
    "Unique": (
        ("sorted-where-values-alone", _sorted_alone, "onnx/onnx#8424"),
        ("inverse-for-indices", _inverse_for_indices, "apache/tvm#8099"),
    ),
    "MaxPool": (
        ("indices-within-a-plane", _within_a_plane, "sonos/tract#2860"),
        (_SAME, _other_end, "root-project/root#21793"),
    ),
    "AveragePool": (
        ("whole-kernel-counted", _whole_kernel, "microsoft/onnxruntime#16203"),
        ("end-padding-not-counted", _begin_alone, "microsoft/onnxruntime#24681"),
        (_SAME, _other_end, "root-project/root#21793"),
    ),
    "Conv": ((_SAME, _other_end, "root-project/root#21793"),),
    "ConvTranspose": (
        (_SAME, _other_end, "microsoft/onnxruntime#8769"),
        ("groups-interleaved", _groups_interleaved, "onnx/onnx-tensorflow#315"),
    ),
    "DeformConv": (("offsets-not-in-pairs", _offsets_apart, "dontLoveBugs/Deformable_ConvNet_pytorch#2"),),
    "RoiAlign": (("half-pixel-ignored", _half_pixel_ignored, "apache/tvm#19501"),),
    "Gemm": (
        ("alpha-scales-the-bias", _alpha_over_all, "microsoft/onnxruntime#28130"),
        ("beta-applied-twice", _beta_twice, "microsoft/onnxscript#3027"),
    ),
    "Einsum": (
        ("shared-labels-kept", _shared_labels_kept, "openvinotoolkit/openvino#6131"),
        ("diagonal-comes-last", _diagonal_last, "tinygrad/tinygrad#18207"),
    ),
}

MISTAKES: Mapping[str, Sequence[Mistake]] = {
    operator: [Mistake(name, source, as_asked(make)) for name, make, source in mistakes]
    for operator, mistakes in _BY_OPERATOR.items()
}
