"""Pooling over sliding windows and over the whole image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.draws import choice, distinct, full, integers, uniform, values
from conformance.lazy import torch
from conformance.rules import EXACT, Accumulation, Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .convolution import one_padding
from .geometry import frame, pad, wide, windows
from .samples import DYNAMIC, EMPTY, FEW, INF, LARGE, NAN, SPECIAL, extremes, pairwise, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")
WHOLE = integers(-4, 4)
Ints = Sequence[int]


def _lowest(dtype: torch.dtype) -> float:
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def max_pool(
    x: torch.Tensor,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
    n_outputs: int = 1,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """The largest element under the kernel, NaN if one is there, and where the first such stands (MaxPool-22)."""
    frames = frame(
        x.shape[2:],
        kernel_shape,
        auto_pad=auto_pad,
        pads=pads,
        strides=strides,
        dilations=dilations,
        ceil_mode=ceil_mode,
    )
    lowest = _lowest(x.dtype)
    found = windows(pad(x, frames, lowest, lowest), frames)
    y = found.amax(-1)
    if n_outputs == 1:
        return y
    place = windows(pad(_places(x, storage_order), frames, -1, -1), frames)
    hit = (found == y[..., None]) | (found != found)
    first = ((place >= 0) & hit).to(torch.uint8).argmax(-1, keepdim=True)
    return y, place.gather(-1, first)[..., 0]


def _places(x: torch.Tensor, storage_order: int) -> torch.Tensor:
    """The flat index of every element; column-major order swaps the roles of the spatial axes only."""
    count = torch.arange(x.numel(), device=x.device)
    if not storage_order:
        return count.reshape(x.shape)
    backward = list(range(x.dim() - 1, 1, -1))
    return count.reshape(*x.shape[:2], *[x.shape[a] for a in backward]).permute(0, 1, *backward)


def _pool_samples(**fixed: Any) -> Iterator[Sample]:
    """What all sliding-window pools have in common; ``fixed`` attributes are added to each sample."""

    def sample(name: str, x: tuple[int, ...], kernel: list[int], **fields: Any) -> Sample:
        tags, dtypes, opset = fields.pop("tags", frozenset()), fields.pop("dtypes", FEW), fields.pop("opset", None)
        return Sample(
            name, (tensor(*x),), {"kernel_shape": kernel, **fixed, **fields}, dtypes=dtypes, opset=opset, tags=tags
        )

    image = (2, 3, 9, 11)
    yield sample("stride-1", image, [3, 3], dtypes=None)
    yield sample("stride-2", image, [2, 2], strides=[2, 2], dtypes=ALL)
    yield sample("stride-wider-than-kernel", image, [1, 2], strides=[2, 3])
    yield sample("pads", image, [3, 3], pads=[1, 1, 1, 1], strides=[2, 2], dtypes=ALL)
    yield sample("asymmetric-pads", image, [3, 4], pads=[0, 2, 1, 3], strides=[1, 2])
    yield sample("auto-pad-same-upper-stride-1", image, [4, 2], auto_pad="SAME_UPPER")
    yield sample("ceil-mode", image, [2, 2], ceil_mode=1, strides=[2, 2])
    yield sample("ceil-mode-pads", image, [3, 3], ceil_mode=1, strides=[2, 3], pads=[1, 1, 1, 1])
    yield sample("ceil-mode-asymmetric", (1, 2, 10, 9), [3, 4], ceil_mode=1, strides=[4, 3], pads=[1, 2, 0, 1])
    yield sample(
        "ceil-mode-last-window-in-padding", (1, 2, 2, 6), [1, 2], ceil_mode=1, strides=[2, 3], pads=[0, 1, 0, 1]
    )
    yield sample("ceil-mode-1d", (2, 3, 10), [3], ceil_mode=1, strides=[4])
    yield sample("whole-image", (2, 3, 5, 6), [5, 6])
    yield sample("pool-1d", (2, 3, 23), [4], strides=[3], pads=[1, 2])
    yield sample("pool-3d", (1, 2, 5, 6, 7), [2, 3, 2], strides=[1, 2, 2], pads=[1, 0, 1, 0, 1, 0])
    yield sample("ones", (1, 1, 1, 1), [1, 1])
    yield sample("channel-tails", (1, 13, 7, 7), [3, 3], strides=[2, 2])
    yield sample("large", (1, 16, 56, 56), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1], tags=LARGE)
    yield sample("empty-batch", (0, 3, 5, 5), [2, 2], dtypes=ONE, tags=EMPTY)
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], **fixed}
    again = ((tensor(1, 3, 7, 8),), (tensor(3, 3, 17, 5),))
    yield Sample("dynamic", (tensor(*image),), attributes, dtypes=FEW, again=again, tags=DYNAMIC)
    yield sample("opset-22", image, [3, 3], pads=[1, 1, 1, 1], opset=22, dtypes=ALL)
    x = (tensor(*image),)
    yield Sample("no-kernel-shape", x, dict(fixed), dtypes=ONE, refuse="kernel_shape is required")
    yield Sample("bad-kernel-rank", x, {"kernel_shape": [3], **fixed}, dtypes=ONE, refuse="one size for two axes")
    bad = {"kernel_shape": [3, 3], "strides": [2], **fixed}
    yield Sample("bad-strides", x, bad, dtypes=ONE, refuse="one stride for two axes")
    bad = {"kernel_shape": [12, 3], **fixed}
    yield Sample("kernel-too-large", x, bad, dtypes=ONE, refuse="a window of 12 does not fit into 9")
    yield from refusals(1)


def _pairs(
    more: Mapping[str, Sequence[Any]], *, x: TensorSpec | None = None, indices: bool = False
) -> Iterator[Sample]:
    """Every two attributes of a sliding-window pool together, ``more`` being those of the operator's own."""
    yield from pairwise(
        Sample("pairs", (x or tensor(2, 2, 9, 11),), {"kernel_shape": [4, 2]}, outputs=2 if indices else 1),
        {
            "auto_pad": (None, "SAME_UPPER", "SAME_LOWER", "VALID"),
            "pads": (None, [1, 0, 2, 1]),
            "strides": (None, [2, 3]),
            "dilations": (None, [1, 2]),
            "ceil_mode": (None, 1),
            **more,
        },
        valid=one_padding,
    )


def _dilated() -> Iterator[Sample]:
    x = (tensor(2, 3, 9, 11),)
    attributes: dict[str, Any]
    attributes = {"kernel_shape": [2, 3], "dilations": [1, 3], "strides": [2, 1], "pads": [1, 2, 0, 2]}
    yield Sample("dilated-strided-padded", x, attributes, dtypes=FEW)
    attributes = {"kernel_shape": [3, 2], "dilations": [2, 3], "strides": [3, 4], "ceil_mode": 1}
    yield Sample("dilated-ceil-mode", x, attributes, dtypes=FEW)
    yield Sample("dilated-1d", (tensor(2, 3, 23),), {"kernel_shape": [3], "dilations": [4]}, dtypes=FEW)


def _max_pool_samples() -> Iterator[Sample]:
    yield from _pool_samples()
    yield from _dilated()
    for dtype in ("int8", "uint8"):
        limits = tensor(1, 2, 9, 9, draw=choice(*extremes(dtype)))
        attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        yield Sample(f"full-range-{dtype}", (limits,), attributes, dtypes=(dtype,))
    apart = tensor(2, 3, 7, 9, draw=distinct())
    yield from _pairs({"storage_order": (None, 1)}, x=tensor(2, 2, 9, 11, draw=distinct()), indices=True)
    attributes = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
    yield Sample("indices", (apart,), attributes, outputs=2, dtypes=FEW)
    yield Sample("indices-column-major", (apart,), {**attributes, "storage_order": 1}, outputs=2, dtypes=FEW)
    yield Sample("storage-order-without-indices", (apart,), {**attributes, "storage_order": 1}, dtypes=FEW)
    one, three = tensor(2, 3, 17, draw=distinct()), tensor(1, 2, 4, 5, 6, draw=distinct())
    yield Sample("indices-1d", (one,), {"kernel_shape": [3], "strides": [2]}, outputs=2, dtypes=FEW)
    yield Sample("indices-3d", (three,), {"kernel_shape": [2, 2, 2]}, outputs=2, dtypes=FEW)
    column = {"kernel_shape": [2, 2, 2], "storage_order": 1}
    yield Sample("indices-3d-column-major", (three,), column, outputs=2, dtypes=FEW)
    dilated = {"kernel_shape": [2, 2], "dilations": [2, 3], "ceil_mode": 1, "strides": [2, 2]}
    yield Sample("indices-dilated", (apart,), dilated, outputs=2, dtypes=FEW)
    below = tensor(1, 2, 5, 5, draw=uniform(-9.0, -1.0))
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    yield Sample("all-negative", (below,), padded, dtypes=(*FEW, "bfloat16"))
    x = tensor(1, 2, 6, 6, draw=choice(INF, -INF, -0.5, 0.25, 1.0))
    yield Sample("infinities", (x,), padded, dtypes=ALL, tags=SPECIAL)
    lowest = tensor(1, 1, 4, 4, draw=full(-INF))
    yield Sample("all-lowest", (lowest,), padded, dtypes=FEW, tags=SPECIAL)
    yield Sample("opset-11", (apart,), attributes, outputs=2, dtypes=ONE, opset=11)


def _summed(
    x: torch.Tensor, count_include_pad: int, kernel_shape: Ints, **a: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum over each window, and how many elements of it count."""
    frames = frame(x.shape[2:], kernel_shape, **a)
    total = windows(pad(x, frames, 0.0, 0.0), frames).sum(-1)
    ones = x.new_ones(1, 1, *x.shape[2:])
    return total, windows(pad(ones, frames, float(count_include_pad), 0.0), frames).sum(-1)


def average_pool(x: torch.Tensor, *, count_include_pad: int = 0, **attributes: Any) -> torch.Tensor:
    """The mean under the kernel, of the input alone or of its declared padding too (AveragePool-22).

    What ceil_mode adds beyond the padding never counts.
    """
    total, count = _summed(wide(x), count_include_pad, **attributes)
    return (total / count).to(x.dtype)


def _average_pool_count(x: torch.Tensor, *, count_include_pad: int = 0, **attributes: Any) -> torch.Tensor:
    return _summed(x, count_include_pad, **attributes)[0]


def _average_pool_samples() -> Iterator[Sample]:
    yield from _pool_samples()
    yield from _dilated()
    yield from _pairs({"count_include_pad": (None, 1)})
    image = tensor(2, 3, 9, 11)
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    yield Sample("count-include-pad", (image,), padded, dtypes=ALL)
    asymmetric = {"kernel_shape": [3, 4], "pads": [0, 2, 1, 3], "strides": [1, 2], "count_include_pad": 1}
    yield Sample("count-include-pad-asymmetric", (image,), asymmetric, dtypes=FEW)
    ceiled = {**padded, "strides": [2, 3], "ceil_mode": 1}
    yield Sample("count-include-pad-ceil-mode", (image,), ceiled, dtypes=FEW)
    ceiled = {"kernel_shape": [3, 3], "strides": [3, 4], "ceil_mode": 1, "count_include_pad": 1}
    yield Sample("count-include-pad-ceil-mode-unpadded", (tensor(1, 2, 8, 10),), ceiled, dtypes=FEW)
    dilated = {**padded, "dilations": [2, 1], "pads": [2, 1, 2, 1]}
    yield Sample("count-include-pad-dilated", (image,), dilated, dtypes=FEW)
    # Windows of four: the division is exact too.
    whole = tensor(1, 8, 16, 16, draw=WHOLE)
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    yield Sample("exact-integers", (whole,), attributes, dtypes=ALL, exact=True)
    x = tensor(1, 2, 8, 8, draw=choice(NAN, INF, -INF, *(0.25 * i for i in range(-30, 31))))
    yield Sample("special", (x,), {"kernel_shape": [2, 2]}, dtypes=FEW, tags=SPECIAL)
    yield Sample(
        "kernel-13", (tensor(1, 4, 32, 32),), {"kernel_shape": [13, 13]}, dtypes=(*FEW, "bfloat16"), tags=LARGE
    )
    yield Sample("opset-11", (image,), padded, dtypes=ONE, opset=11)


def _power(x: torch.Tensor, p: int) -> torch.Tensor:
    return x if p == 1 else x * x if p == 2 else x**p


def _root(x: torch.Tensor, p: int) -> torch.Tensor:
    return x if p == 1 else x.sqrt() if p == 2 else x ** (1 / p)


def lp_pool(x: torch.Tensor, *, kernel_shape: Ints, p: int = 2, **attributes: Any) -> torch.Tensor:
    """The p-th root of the sum of |x|^p under the kernel, padding being zero (LpPool-22)."""
    total, _ = _summed(_power(wide(x).abs(), p), 0, kernel_shape, **attributes)
    return _root(total, p).to(x.dtype)


def _lp_pool_samples() -> Iterator[Sample]:
    yield from _pool_samples()
    yield from _dilated()
    yield from _pairs({"p": (None, 1, 3)})
    x = (tensor(2, 3, 9, 11),)
    attributes = {"kernel_shape": [3, 2], "pads": [1, 1, 1, 0], "strides": [2, 1]}
    yield Sample("p-1", x, {**attributes, "p": 1}, dtypes=ALL)
    yield Sample("p-3", x, {**attributes, "p": 3}, dtypes=FEW)
    yield Sample("zeros", (tensor(1, 1, 4, 4, draw=full(0.0)),), {"kernel_shape": [2, 2]}, dtypes=FEW)
    yield Sample("opset-11", x, attributes, dtypes=ONE, opset=11)


def _space(x: torch.Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


def global_max_pool(x: torch.Tensor) -> torch.Tensor:
    """The largest element of each channel, NaN if one is there (GlobalMaxPool-22)."""
    return x.amax(_space(x), keepdim=True)


def global_average_pool(x: torch.Tensor) -> torch.Tensor:
    """The mean of each channel (GlobalAveragePool-22)."""
    a = wide(x)
    return (a.sum(_space(x), keepdim=True) / math.prod(x.shape[2:])).to(x.dtype)


def _global_count(x: torch.Tensor) -> torch.Tensor:
    return x.sum(_space(x), keepdim=True)


def global_lp_pool(x: torch.Tensor, *, p: int = 2) -> torch.Tensor:
    """The p-norm of each channel (GlobalLpPool-22)."""
    return _root(_power(wide(x).abs(), p).sum(_space(x), keepdim=True), p).to(x.dtype)


def _global_samples(*, exact: bool = False, special: bool = True) -> Iterator[Sample]:
    yield Sample("image", (tensor(2, 3, 7, 9),))
    yield Sample("one-axis", (tensor(2, 3, 23),), dtypes=FEW)
    yield Sample("three-axes", (tensor(2, 3, 3, 4, 5),), dtypes=FEW)
    yield Sample("one-pixel", (tensor(2, 5, 1, 1),), dtypes=FEW)
    yield Sample("ones", (tensor(1, 1, 1, 1),), dtypes=FEW)
    yield Sample("row", (tensor(1, 7, 1, 33),), dtypes=FEW)
    yield Sample("column", (tensor(1, 7, 33, 1),), dtypes=FEW)
    yield Sample("tails", (tensor(3, 17, 13, 11),), dtypes=FEW)
    yield Sample("classifier", (tensor(1, 1280, 7, 7),), dtypes=FEW, tags=LARGE)
    yield Sample("large-image", (tensor(1, 3, 128, 160),), dtypes=FEW, tags=LARGE)
    yield Sample("positive", (tensor(1, 4, 30, 31, draw=uniform(0.5, 1.5)),), dtypes=FEW)
    yield Sample("empty-batch", (tensor(0, 3, 5, 5),), dtypes=ONE, tags=EMPTY)
    again = ((tensor(1, 3, 5, 8),), (tensor(4, 3, 1, 17),))
    yield Sample("dynamic", (tensor(2, 3, 7, 9),), dtypes=FEW, again=again, tags=DYNAMIC)
    yield Sample("opset-22", (tensor(2, 3, 7, 9),), dtypes=ALL, opset=22)
    if exact:
        rows = [NAN, 1.0, 2.0, NAN, INF, 1.0, 0.0, 1.0, 2.0]
        yield Sample("nan", (tensor(1, 3, 3, 1, draw=values(*rows)),), dtypes=FEW, tags=SPECIAL)
        yield Sample("exact-integers", (tensor(2, 5, 8, 8, draw=WHOLE),), dtypes=(*FEW, "float64"), exact=True)
    if special:
        rows = [INF, 1.0, 2.0, -INF, 1.0, 2.0, INF, -INF, 0.0, -INF, -INF, -INF]
        yield Sample("infinities", (tensor(1, 4, 3, 1, draw=values(*rows)),), dtypes=FEW, tags=SPECIAL)
    yield from refusals(1)


def _global_lp_samples() -> Iterator[Sample]:
    yield from _global_samples(special=False)
    yield Sample("p-1", (tensor(2, 3, 7, 9),), {"p": 1}, dtypes=FEW)
    yield Sample("p-3", (tensor(2, 3, 7, 9),), {"p": 3}, dtypes=FEW)


OPERATORS = (
    Operator("MaxPool", max_pool, EXACT, _max_pool_samples),
    Operator("AveragePool", average_pool, Accumulation(count=_average_pool_count), _average_pool_samples),
    Operator("LpPool", lp_pool, Composite(), _lp_pool_samples),
    Operator("GlobalMaxPool", global_max_pool, EXACT, _global_samples),
    Operator(
        "GlobalAveragePool",
        global_average_pool,
        Accumulation(count=_global_count),
        lambda: _global_samples(exact=True),
    ),
    Operator("GlobalLpPool", global_lp_pool, Composite(), _global_lp_samples),
)
