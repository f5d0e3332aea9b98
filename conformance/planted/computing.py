"""Wrong definitions of operators that compute: another formula, another convention, a step left out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .semantics import Maker, Meaning, Mistake, fixed, of_inputs, of_outputs, replaced, taken
from .subject import NotApplicable

__all__ = ["MISTAKES"]


def _axis(x: torch.Tensor, axis: int, opset: int) -> tuple[torch.Tensor, int]:
    if opset < 13:
        raise NotApplicable
    return x, axis


def _range(x: torch.Tensor, dtype: str) -> torch.Tensor:
    """Beyond what the format holds is infinite: the definitions compute in float64, which would hide an overflow."""
    return torch.where(x.abs() > torch.finfo(getattr(torch, dtype)).max, x.sign() * math.inf, x)


def _exponentials(dtype: str, combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Meaning:
    def wrong(input: torch.Tensor, axis: int = -1, opset: int = 13) -> torch.Tensor:
        x, along = _axis(input, axis, opset)
        powers = _range(x.exp(), dtype)
        return combine(powers, _range(powers.sum(along, keepdim=True), dtype))

    return wrong


def _normalised(
    spread: Callable[[torch.Tensor, Any, float], torch.Tensor],
    axes_of: Callable[[torch.Tensor, Mapping[str, Any]], tuple[int, ...]],
) -> Maker:
    """A normalisation by what ``spread`` makes of the data, the axes and epsilon, in place of √(variance + ε)."""

    def change(outputs: Any, inputs: Any, given: Any) -> Any:
        x, scale, b = (*inputs, None)[:3]
        axes = axes_of(x, given)
        y = (x - x.mean(axes, keepdim=True)) / spread(x, axes, given["epsilon"])
        if "axis" not in given:  # parameters of channels
            scale, b = (t.reshape(-1, *[1] * (x.dim() - 2)) for t in (scale, b))
        y = y * scale if b is None else y * scale + b
        return (y, *outputs[1:]) if isinstance(outputs, tuple) else y

    return of_outputs(change)


def _space(x: torch.Tensor, given: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


def _inner(x: torch.Tensor, given: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(range(given["axis"] % x.dim(), x.dim()))


def _outside(x: torch.Tensor, axes: Any, epsilon: float) -> torch.Tensor:
    return x.var(axes, correction=0, keepdim=True).sqrt() + epsilon


def _unbiased(x: torch.Tensor, axes: Any, epsilon: float) -> torch.Tensor:
    return (x.var(axes, correction=1, keepdim=True) + epsilon).sqrt()


def _cancelling(x: torch.Tensor, axes: Any, epsilon: float) -> torch.Tensor:
    """E[x²] − E[x]² in float32."""
    a = x.float()
    mean = a.mean(axes, keepdim=True)
    return ((a * a).mean(axes, keepdim=True) - mean * mean + epsilon).sqrt().double()


def _batch_without_root(x: torch.Tensor, scale: Any, b: Any, mean: Any, var: Any, **given: Any) -> torch.Tensor:
    if given.get("training_mode"):
        raise NotApplicable
    scale, b, mean, var = (t.reshape(-1, *[1] * (x.dim() - 2)) for t in (scale, b, mean, var))
    y: torch.Tensor = (x - mean) / (var + given["epsilon"]) ** 2 * scale + b
    return y


def _running_unbiased(outputs: Any, inputs: Any, given: Any) -> Any:
    if not given.get("training_mode"):
        raise NotApplicable
    y, mean, variance = outputs
    x, old = inputs[0], inputs[4]
    count = x.numel() // x.shape[1]
    own = (variance - old * given["momentum"]) * count / max(count - 1, 1)
    return y, mean, old * given["momentum"] + own


def _gates(order: Sequence[int], position: int) -> Callable[[list[Any]], Sequence[Any]]:
    """Blocks of the weights, recurrence and bias read in another order."""

    def change(inputs: list[Any]) -> list[Any]:
        def turned(t: torch.Tensor, blocks: Sequence[int]) -> torch.Tensor:
            parts = t.chunk(len(blocks), 1)
            return torch.cat([parts[i] for i in blocks], 1)

        n = len(order)
        if position == 7:
            if len(inputs) < 8:
                raise NotApplicable
            return [*inputs[:7], turned(inputs[7], order)]
        both = [*order, *(n + i for i in order)]
        bias = turned(inputs[3], both) if len(inputs) > 3 and inputs[3] is not None else None
        found = [inputs[0], turned(inputs[1], order), turned(inputs[2], order), *inputs[3:]]
        if len(found) > 3:
            found[3] = bias
        return found

    return change


def _without(position: int) -> Callable[[list[Any]], Sequence[Any]]:
    def change(inputs: list[Any]) -> list[Any]:
        if len(inputs) <= position or inputs[position] is None:
            raise NotApplicable
        return [None if p == position else t for p, t in enumerate(inputs)]

    return change


def _backward(outputs: Any, inputs: Any, given: Any) -> Any:
    """The outputs of the way back in the order in which they were made."""
    if given["direction"] == "forward":
        raise NotApplicable
    y, *ends = outputs
    time = 1 if given.get("layout") else 0
    if given["direction"] == "reverse":
        return (y.flip(time), *ends)
    ways = 2 if given.get("layout") else 1
    first, second = y.split(1, ways)
    return (torch.cat([first, second.flip(time)], ways), *ends)


def _from_the_very_end(right: Meaning) -> Meaning:
    """The way back begins at the end of the tensor, where a shorter sequence has none of its own."""

    @functools.wraps(right)
    def wrong(*inputs: Any, **given: Any) -> Any:
        if given["direction"] != "reverse" or len(inputs) < 5 or inputs[4] is None:
            raise NotApplicable
        y, *ends = right(*inputs[:4], None, *inputs[5:], **given)
        lengths = inputs[4][None, None, :, None]
        alive = torch.arange(y.shape[0])[:, None, None, None] < lengths
        return (torch.where(alive, y, torch.zeros_like(y)), *ends)

    return wrong


def _plain_mean(outputs: Any, inputs: Any, given: Any) -> Any:
    """The weighted losses over their number, not over the sum of the weights."""
    if given["reduction"] != "mean" or len(inputs) < 3:
        raise NotApplicable
    loss, *others = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = inputs[2][inputs[1].long().clamp(min=0)]
    return (loss * weights.sum() / weights.numel(), *others) if others else loss * weights.sum() / weights.numel()


def _away(x: torch.Tensor) -> torch.Tensor:
    return x.sign() * (x.abs() + 0.5).floor()


class _Rounding(TorchFunctionMode):
    """torch.round replaced in definitions that have no other use for it."""

    def __init__(self, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._how = how

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._how(*args) if func is torch.round else func(*args, **(kwargs or {}))


def _rounded_by(how: Callable[[torch.Tensor], torch.Tensor]) -> Maker:
    def make(right: Meaning) -> Meaning:
        @functools.wraps(right)
        def wrong(*inputs: Any, **given: Any) -> Any:
            with _Rounding(how):
                return right(*inputs, **given)

        return wrong

    return make


def _first_channel(inputs: list[Any]) -> Sequence[Any]:
    """The first scale and zero point for all channels."""
    if inputs[1].dim() != 1 or inputs[1].numel() == 1:
        raise NotApplicable
    return [inputs[0], *(None if t is None else t[0] for t in inputs[1:])]


def _floored(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if a.is_floating_point():
        raise NotApplicable
    return torch.div(a, b, rounding_mode="floor")


def _mod_swapped(a: torch.Tensor, b: torch.Tensor, fmod: int = 0, opset: int = 28) -> torch.Tensor:
    return torch.remainder(a, b) if fmod else torch.fmod(a, b)


def _upsampled(right: Meaning) -> Meaning:
    from ..operators.resampling import resize

    def wrong(x: torch.Tensor, scales: torch.Tensor, *, mode: str = "nearest") -> torch.Tensor:
        return resize(x, None, scales, mode=mode)

    return wrong


def _scale_of_sizes(inputs: list[Any]) -> Sequence[Any]:
    """The scale from the whole length of the output, where one was given that leaves a fraction."""
    if len(inputs) != 3 or inputs[2] is None:
        raise NotApplicable
    x, scales = inputs[0], inputs[2]
    if scales.numel() != x.dim():
        raise NotApplicable
    own = torch.tensor(
        [math.floor(n * float(s)) / n if n else float(s) for n, s in zip(x.shape, scales, strict=True)]
    )
    return [x, inputs[1], own.to(scales.dtype)]


def _not_flipped_back(outputs: Any, inputs: Any, given: Any) -> Any:
    if not given.get("reverse"):
        raise NotApplicable
    return outputs.flip(int(inputs[1]))


def _gelu_by_tanh(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    return x * 0.5 * (torch.tanh((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1)


def _lrn_of_other_size(right: Meaning) -> Meaning:
    """An even size reaches one channel further down than up."""

    @functools.wraps(right)
    def wrong(x: torch.Tensor, **given: Any) -> Any:
        if given["size"] % 2:
            raise NotApplicable
        return right(x.flip(1), **given).flip(1)

    return wrong


def _norm_only(x: torch.Tensor, *, axis: int = -1, p: int = 2) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return norm.expand(x.shape)


def _naive_log_sum(
    data: torch.Tensor, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> torch.Tensor:
    from ..operators.reductions import reduce_sum

    powers = _range(data.exp(), "float32")
    return reduce_sum(powers, axes, keepdims, noop_with_empty_axes).log()


_BY_OPERATOR: Mapping[str, Sequence[tuple[str, str, Maker]]] = {
    "Softmax": [
        (
            "maximum-not-subtracted",
            "uTensor/uTensor#175",
            replaced(_exponentials("float32", lambda powers, total: powers / total)),
        )
    ],
    "LogSoftmax": [
        (
            "maximum-not-subtracted",
            "tenstorrent/tt-metal#10001",
            replaced(_exponentials("float32", lambda powers, total: (powers / total).log())),
        )
    ],
    "ReduceLogSumExp": [("maximum-not-subtracted", "openvinotoolkit/openvino#35648", replaced(_naive_log_sum))],
    "LayerNormalization": [
        ("epsilon-outside-the-root", "tracel-ai/burn#2185", _normalised(_outside, _inner)),
        ("variance-by-n-minus-1", "NVIDIA/cudnn-frontend#432", _normalised(_unbiased, _inner)),
        (
            "variance-cancels-in-float32",
            "microsoft/onnxruntime#21935",
            _normalised(_cancelling, _inner),
        ),
    ],
    "InstanceNormalization": [
        ("epsilon-outside-the-root", "tracel-ai/burn#2185", _normalised(_outside, _space)),
        ("variance-by-n-minus-1", "NVIDIA/cudnn-frontend#432", _normalised(_unbiased, _space)),
        (
            "variance-cancels-in-float32",
            "tenstorrent/tt-metal#45968",
            _normalised(_cancelling, _space),
        ),
    ],
    "BatchNormalization": [
        ("square-for-root", "jax-ml/jax#442", replaced(_batch_without_root)),
        ("running-variance-by-n-minus-1", "keras-team/keras#9028", of_outputs(_running_unbiased)),
    ],
    "LpNormalization": [("the-norm-alone", "onnx/onnx-tensorflow#465", replaced(_norm_only))],
    "LRN": [("even-size-to-the-other-side", "ROCm/MIOpen#127", _lrn_of_other_size)],
    "Gelu": [("tanh-for-erf", "huggingface/candle#900", replaced(_gelu_by_tanh))],
    "Elu": [("alpha-0", "llvm/torch-mlir#3583", taken("alpha", 1.0, 0.0))],
    "LeakyRelu": [("alpha-0.1", "NeuralNetworkVerification/Marabou#739", fixed(alpha=0.1))],
    "GRU": [
        ("reset-after-the-product", "microsoft/onnxscript#2852", taken("linear_before_reset", 1, 0)),
        ("bidirectional-not-turned-back", "microsoft/onnxruntime#4187", of_outputs(_backward)),
        ("reverse-from-the-very-end", "onnx/onnx-tensorflow#342", _from_the_very_end),
    ],
    "LSTM": [
        ("gates-ifco", "CrispStrobe/CrispASR#106", of_inputs(_gates((0, 2, 3, 1), 1))),
        ("peepholes-ifo", "opencv/opencv#29931", of_inputs(_gates((0, 2, 1), 7))),
        ("peepholes-ignored", "PINTO0309/onnx2tf#303", of_inputs(_without(7))),
        ("reverse-not-turned-back", "PINTO0309/onnx2tf#287", of_outputs(_backward)),
        ("reverse-from-the-very-end", "NervanaSystems/ngraph#3176", _from_the_very_end),
    ],
    "NegativeLogLikelihoodLoss": [
        ("mean-not-weighted", "iree-org/iree#24228", of_outputs(_plain_mean)),
    ],
    "SoftmaxCrossEntropyLoss": [
        ("mean-not-weighted", "iree-org/iree#24228", of_outputs(_plain_mean)),
    ],
    "Resize": [
        (
            "half-pixel-as-asymmetric",
            "antimora/burn-flex#5",
            taken("coordinate_transformation_mode", "half_pixel", "asymmetric"),
        ),
        (
            "align-corners-as-asymmetric",
            "microsoft/onnxruntime#17564",
            taken("coordinate_transformation_mode", "align_corners", "asymmetric"),
        ),
        ("cubic-coefficient-0.5", "opencv/opencv#24165", taken("cubic_coeff_a", -0.75, -0.5)),
        ("cubic-coefficient-ignored", "microsoft/onnxruntime#25264", fixed(cubic_coeff_a=-0.75)),
        ("scale-of-the-sizes", "apache/tvm#19570", of_inputs(_scale_of_sizes)),
    ],
    "Upsample": [("half-pixel", "Xilinx/onnx-mlir#319", _upsampled)],
    "GridSample": [("corners-always-aligned", "llvm/torch-mlir#3157", fixed(align_corners=1))],
    "QuantizeLinear": [
        ("half-away-from-zero", "sonos/tract#2850", _rounded_by(_away)),
        ("truncated", "microsoft/onnxruntime#18576", _rounded_by(torch.trunc)),
        ("first-channel-for-all", "sonos/tract#2849", of_inputs(_first_channel)),
    ],
    "DequantizeLinear": [("first-channel-for-all", "sonos/tract#2849", of_inputs(_first_channel))],
    "HannWindow": [("always-periodic", "onnx/onnx#4249", fixed(periodic=1))],
    "HammingWindow": [("always-periodic", "onnx/onnx#4249", fixed(periodic=1))],
    "BlackmanWindow": [("always-periodic", "onnx/onnx#4249", fixed(periodic=1))],
    "Div": [("floored", "onnx/onnx#7570", replaced(_floored))],
    "Mod": [("signs-exchanged", "apache/tvm#20170", replaced(_mod_swapped))],
    "Round": [
        ("half-up", "openvinotoolkit/openvino#2730", replaced(lambda x: torch.floor(x + 0.5))),
    ],
    "CumSum": [
        ("reverse-ignored", "NVIDIA/TensorRT#4513", fixed(reverse=0)),
        ("reverse-not-turned-back", "apache/tvm#18137", of_outputs(_not_flipped_back)),
    ],
}

MISTAKES: Mapping[str, Sequence[Mistake]] = {
    operator: [Mistake(*mistake) for mistake in mistakes] for operator, mistakes in _BY_OPERATOR.items()
}
