"""Pooling over regions of interest, and the inverse of max pooling: places are data here, not attributes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from conformance.draws import anything, distinct, integers, values
from conformance.lazy import torch
from conformance.rules import EXACT, Composite
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from .geometry import spread
from .samples import DYNAMIC, EMPTY, FEW, LARGE, SPECIAL, carried, literal, pairwise, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")


def max_roi_pool(
    x: torch.Tensor, rois: torch.Tensor, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0
) -> torch.Tensor:
    """The largest element of each bin of each region; an empty bin gives 0 (MaxRoiPool-22).

    Regions are (image, x1, y1, x2, y2), rounded half away from zero to whole pixels, both ends included, as in
    Girshick's Fast R-CNN, from which ONNX has the operator.
    """
    height, width = x.shape[2:]
    rows, columns = pooled_shape
    y = x.new_zeros(rois.shape[0], x.shape[1], rows, columns)
    for r, (image, *corners) in enumerate(rois.tolist()):
        left, top, right, bottom = (_round(c * spatial_scale) for c in corners)
        tall, broad = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for i in range(rows):
            y1, y2 = _bin(top, tall, i, rows, height)
            for j in range(columns):
                x1, x2 = _bin(left, broad, j, columns, width)
                if y1 < y2 and x1 < x2:
                    y[r, :, i, j] = x[int(image), :, y1:y2, x1:x2].amax((-2, -1))
    return y


def _round(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _bin(start: int, size: int, index: int, bins: int, limit: int) -> tuple[int, int]:
    first, last = index * size // bins, -(-(index + 1) * size // bins)
    return min(max(start + first, 0), limit), min(max(start + last, 0), limit)


def _max_roi_pool_samples() -> Iterator[Sample]:
    x = tensor(2, 3, 9, 11)

    def rois(*rows: tuple[float, ...]) -> TensorSpec:
        return literal(*(v for row in rows for v in row), shape=(len(rows), 5))

    some = rois((0, 1, 1, 6, 7), (1, 0, 0, 10, 8), (0, 3, 2, 3, 2), (1, 4, 0, 9, 3))
    yield Sample("basic", (x, some), {"pooled_shape": [2, 2]})
    yield from carried(Sample("basic", (x, some), {"pooled_shape": [2, 2]}), 0, nan=False)
    yield Sample("pooled-3x4", (x, some), {"pooled_shape": [3, 4]}, dtypes=FEW)
    yield Sample("pooled-1x1", (x, some), {"pooled_shape": [1, 1]}, dtypes=FEW)
    wider = rois((0, 2, 2, 13, 15), (1, 0, 0, 21, 17), (1, 5, 4, 12, 11))
    yield Sample("scale-half", (x, wider), {"pooled_shape": [2, 3], "spatial_scale": 0.5}, dtypes=FEW)
    outside = rois((0, -3, -2, 4, 4), (1, 8, 6, 15, 14), (0, 20, 20, 25, 25))
    yield Sample("partly-outside", (x, outside), {"pooled_shape": [2, 2]}, dtypes=FEW)
    backward = rois(
        (0, 5, 6, 2, 1),
    )
    yield Sample("malformed", (x, backward), {"pooled_shape": [2, 2]}, dtypes=FEW)
    fractional = rois((0, 0.75, 1.25, 6.25, 7.75), (1, 1.1, 0.2, 8.4, 5.9))
    yield Sample("rounded", (x, fractional), {"pooled_shape": [2, 2]}, dtypes=FEW)
    yield Sample("no-regions", (x, tensor(0, 5)), {"pooled_shape": [2, 2]}, dtypes=ONE, tags=EMPTY)
    yield Sample(
        "large", (tensor(1, 64, 14, 14), some_of(1, 14, 14)), {"pooled_shape": [7, 7]}, dtypes=ONE, tags=LARGE
    )
    yield Sample("opset-22", (x, some), {"pooled_shape": [2, 2]}, opset=22)
    yield Sample(
        "bad-rois", (x, tensor(3, 4)), {"pooled_shape": [2, 2]}, dtypes=ONE, refuse="a region has five numbers"
    )
    yield from refusals(2)


def some_of(images: int, height: int, width: int) -> TensorSpec:
    """Ten regions of many sizes, corners at whole pixels, as MaxRoiPool takes them."""
    rows = []
    for r in range(10):
        left, top = (3 * r) % (width // 2), (5 * r) % (height // 2)
        rows += [r % images, left, top, left + 1 + (7 * r) % (width // 2), top + 1 + (2 * r) % (height // 2)]
    return literal(*map(float, rows), shape=(10, 5))


def roi_align(
    x: torch.Tensor,
    rois: torch.Tensor,
    batch_indices: torch.Tensor,
    *,
    mode: str = "avg",
    coordinate_transformation_mode: str = "output_half_pixel",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> torch.Tensor:
    """Bilinear samples of each bin, averaged; or the largest of their weighted corners (RoiAlign-22).

    The text calls for the largest *sample* with ``mode="max"``; ONNX's published vectors, its evaluator and the
    engines that pass them take the largest product of a weight and a corner, and so does this.
    """
    half = coordinate_transformation_mode == "half_pixel"
    work = torch.promote_types(x.dtype, torch.float32)
    places = rois.to(work) * spatial_scale - (0.5 if half else 0.0)
    regions = []
    for r, image in enumerate(batch_indices.tolist()):
        left, top, right, bottom = places[r]
        tall, broad = bottom - top, right - left
        if not half:
            tall, broad = tall.clamp(min=1.0), broad.clamp(min=1.0)
        rows = _samples(top, tall, output_height, sampling_ratio)  # (bins, samples of one bin)
        columns = _samples(left, broad, output_width, sampling_ratio)
        part = _corners(x[image].to(work), rows, columns)  # (C, bins, samples, bins, samples, 4)
        if mode == "avg":
            count = max(rows.shape[1] * columns.shape[1], 1)
            regions.append(part.sum((2, 4, 5)) / count)
        elif rows.shape[1] * columns.shape[1] == 0:
            regions.append(part.sum((2, 4, 5)))
        else:
            regions.append(part.amax((2, 4, 5)))
    if not regions:
        return x.new_zeros(0, x.shape[1], output_height, output_width)
    return torch.stack(regions).to(x.dtype)


def _samples(start: torch.Tensor, size: torch.Tensor, bins: int, ratio: int) -> torch.Tensor:
    count = ratio if ratio > 0 else math.ceil(size.item() / bins)
    step = size / bins
    index = torch.arange(bins, device=start.device, dtype=start.dtype)
    within = torch.arange(count, device=start.device, dtype=start.dtype)
    return start + index[:, None] * step + (within + 0.5) * step / count


def _axis(at: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The two neighbours of each coordinate and their weights, 0 where it is more than a pixel outside."""
    inside = (at >= -1.0) & (at <= size)
    at = at.clamp(0, size - 1)
    low = at.floor()
    high = (low + 1).clamp(max=size - 1)
    above = at - low
    weights = torch.stack([1 - above, above], -1)
    index = torch.stack([low, high], -1).long()
    return index, torch.where(inside[..., None], weights, torch.zeros_like(weights))


def _corners(image: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Every sample's four corners times their weights: (C, *rows, *columns, 4)."""
    yi, yw = _axis(rows, image.shape[1])
    xi, xw = _axis(columns, image.shape[2])
    found = image[:, yi.flatten()][:, :, xi.flatten()]
    found = found.reshape(image.shape[0], *yi.shape, *xi.shape)
    weighted = found * (yw[:, :, :, None, None, None] * xw)
    return weighted.permute(0, 1, 2, 4, 5, 3, 6).flatten(-2)


def _roi_align_samples() -> Iterator[Sample]:
    x = tensor(2, 3, 10, 12)
    corners = (0.3, 0.4, 6.2, 7.1, 1.7, 2.6, 10.9, 8.3, 4.2, 3.3, 5.1, 9.4)
    rois = literal(*corners, shape=(3, 4))
    image = const([0, 1, 0])
    size = {"output_height": 3, "output_width": 2}

    def sample(name: str, dtypes: tuple[str, ...] = FEW, **attributes: Any) -> Sample:
        return Sample(name, (x, rois, image), {**size, **attributes}, dtypes=dtypes)

    yield sample("basic", ("float32", "float16", "float64"))
    yield sample("one-bin", output_height=1, output_width=1)
    yield sample("output-half-pixel", coordinate_transformation_mode="output_half_pixel")
    yield sample("ratio-1", sampling_ratio=1)
    yield sample("ratio-2", sampling_ratio=2, dtypes=("float32", "float16", "float64"))
    yield sample("ratio-3-output-half-pixel", sampling_ratio=3, coordinate_transformation_mode="output_half_pixel")
    yield sample("max", mode="max")
    yield from pairwise(
        Sample("pairs", (x, rois, image)),
        {
            "mode": (None, "max"),
            "coordinate_transformation_mode": (None, "output_half_pixel"),
            "sampling_ratio": (None, 2),
            "spatial_scale": (None, 0.6),
            "output_height": (None, 3),
            "output_width": (None, 2),
        },
    )
    outside = literal(-3.2, -2.3, 4.1, 5.2, 7.3, 6.4, 15.2, 14.1, shape=(2, 4))
    yield Sample("partly-outside", (x, outside, const([0, 1])), {**size, "sampling_ratio": 2}, dtypes=FEW)
    thin = literal(4.1, 4.2, 4.4, 4.3, shape=(1, 4))
    yield Sample("thinner-than-a-pixel", (x, thin, const([1])), {**size, "sampling_ratio": 2}, dtypes=FEW)
    malformed = {**size, "coordinate_transformation_mode": "output_half_pixel"}
    yield Sample("forced-to-a-pixel", (x, thin, const([1])), malformed, dtypes=FEW)
    yield Sample("no-regions", (x, tensor(0, 4), tensor(0, dtype="int64")), size, dtypes=ONE, tags=EMPTY)
    # Samples at whole pixels: each output is one element.
    at_pixels = {**size, "sampling_ratio": 1, "coordinate_transformation_mode": "output_half_pixel"}
    whole = literal(0, 0, 4, 6, 2, 3, 6, 9, shape=(2, 4))
    on = tensor(2, 3, 10, 12, draw=integers(-1500, 1500)), whole, const([0, 1])
    yield Sample("exact-integers", on, at_pixels, dtypes=("float32", "float16", "float64"), exact=True)
    at = Sample("at-pixels", (x, whole, const([0, 1])), at_pixels)
    yield from carried(at, 0, nan=False, infinity=False)  # what NaN times a weight of 0 comes to is left open
    many = tensor(20, 4, draw=values(*(0.37 + 0.53 * ((7 * i) % 11) + (i % 4 > 1) * 6.0 for i in range(80))))
    images = const([0] * 20)
    attributes = {"output_height": 7, "output_width": 7, "sampling_ratio": 2}
    yield Sample("large", (tensor(1, 16, 14, 14), many, images), attributes, dtypes=ONE, tags=LARGE)
    indices = tensor(3, dtype="int64", draw=values(1, 0, 1))
    yield Sample("indices-at-run-time", (x, rois, indices), size, dtypes=FEW)
    yield Sample("opset-11", (x, rois, image), size, dtypes=ONE, opset=11)
    yield Sample("opset-22", (x, rois, image), size, dtypes=ALL, opset=22)
    bad = x, tensor(3, 5), image
    yield Sample("bad-rois", bad, size, dtypes=ONE, refuse="a region has four numbers")
    yield Sample(
        "count-mismatch", (x, rois, const([0, 1])), size, dtypes=ONE, refuse="two images for three regions"
    )
    yield from refusals(3)


def max_unpool(
    x: torch.Tensor,
    indices: torch.Tensor,
    output_shape: torch.Tensor | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> torch.Tensor:
    """Each element put at its flat index in the pooled tensor's shape, zeros elsewhere (MaxUnpool-22).

    Raises ``ValueError`` where there is not one index for each element."""
    if indices.shape != x.shape:
        raise ValueError(f"indices of shape {list(indices.shape)} for elements of shape {list(x.shape)}")
    rank = len(kernel_shape)
    around, steps = spread(pads, 2 * rank, 0), spread(strides, rank, 1)
    shape = list(x.shape[:2])
    for axis, (size, k) in enumerate(zip(x.shape[2:], kernel_shape, strict=True)):
        shape.append((size - 1) * steps[axis] + k - around[axis] - around[axis + rank])
    if output_shape is not None:
        shape = output_shape.tolist()
    flat = x.new_zeros(math.prod(shape))
    return flat.scatter(0, indices.flatten(), x.flatten()).reshape(shape)


def _max_unpool_samples() -> Iterator[Sample]:
    def places(*shape: int, period: int, offset: int = 0) -> TensorSpec:
        """Distinct ascending indices, one in each run of ``period`` elements."""
        count = math.prod(shape)
        items = (period * i + (offset + 3 * i) % period for i in range(count))
        return tensor(*shape, draw=values(*items), dtype="int64")

    x = tensor(1, 2, 2, 3)
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    yield Sample("basic", (x, places(1, 2, 2, 3, period=4)), attributes)
    yield Sample("batch", (tensor(3, 2, 2, 2), places(3, 2, 2, 2, period=4, offset=1)), attributes, dtypes=FEW)
    yield Sample("stride-1", (x, places(1, 2, 2, 3, period=2)), {"kernel_shape": [2, 2]}, dtypes=FEW)
    unusual = tensor(1, 2, 3, 4, draw=anything()), places(1, 2, 3, 4, period=4)
    yield Sample("special", unusual, attributes, dtypes=ALL, tags=SPECIAL)
    pads = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    yield Sample("pads", (x, places(1, 2, 2, 3, period=2)), pads, dtypes=FEW)
    narrow = {"kernel_shape": [2, 2], "pads": [0, 1, 0, 0]}
    yield Sample("pads-stride-1", (x, places(1, 2, 2, 3, period=1)), narrow, dtypes=ONE)
    yield Sample(
        "one-axis", (tensor(2, 3, 5), places(2, 3, 5, period=3)), {"kernel_shape": [3], "strides": [3]}, dtypes=FEW
    )
    cube = {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}
    yield Sample("three-axes", (tensor(1, 2, 2, 2, 2), places(1, 2, 2, 2, 2, period=8)), cube, dtypes=FEW)
    # A row more than 2·2 by 2·3: whether indices count in the shape that is given or in the one that is inferred, the text
    # does not say (onnx/onnx issues 2398, 2726; ONNX's vector has one, torch the other). Here they are the same.
    sized = tensor(1, 1, 2, 3), places(1, 1, 2, 3, period=4), const([1, 1, 5, 6])
    yield Sample("output-shape", sized, attributes, shape=(1, 1, 5, 6), dtypes=FEW)
    inputs = tensor(2, 3, 16, 16, draw=distinct()), places(2, 3, 16, 16, period=4)
    yield Sample("large", inputs, attributes, dtypes=ONE, tags=LARGE)
    again = (
        (tensor(1, 2, 3, 2), places(1, 2, 3, 2, period=4)),
        (tensor(2, 2, 1, 1), places(2, 2, 1, 1, period=4)),
    )
    yield Sample("dynamic", (x, places(1, 2, 2, 3, period=4)), attributes, dtypes=ONE, again=again, tags=DYNAMIC)
    yield Sample("opset-22", (x, places(1, 2, 2, 3, period=4)), attributes, opset=22, dtypes=ALL)
    bad = x, places(1, 2, 2, 2, period=4)
    yield Sample("index-shape-mismatch", bad, attributes, dtypes=ONE, refuse="8 indices for 12 elements")
    yield from refusals(2, most=3)


OPERATORS = (
    Operator("MaxRoiPool", max_roi_pool, EXACT, _max_roi_pool_samples),
    Operator("RoiAlign", roi_align, Composite(), _roi_align_samples),
    Operator("MaxUnpool", max_unpool, EXACT, _max_unpool_samples),
)
