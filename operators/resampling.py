"""Resizing and upsampling: interpolation at places that attributes and sizes determine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.draws import choice
from conformance.dtypes import BOOL, INTEGERS
from conformance.lazy import torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from .samples import DYNAMIC, EMPTY, FEW, LARGE, SPECIAL, UNUSUAL, carried, extremes, pairwise

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")
Coordinate = Callable[[Any], Any]


def _coordinate(mode: str, size: int, out: int, scale: float, roi: tuple[float, float]) -> Coordinate:
    """From a place in the output to one in the input, on numbers and on tensors alike (Resize-19).

    ``out`` is the whole length of the output; where a fractional one is meant, it is ``scale · size``.
    """
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and out > 1):
        return lambda x: (x + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return lambda x: x * 0.0
    if mode == "half_pixel_symmetric":
        shift = size / 2 * (1 - out / (scale * size))
        return lambda x: shift + (x + 0.5) / scale - 0.5
    if mode == "align_corners":
        return lambda x: x * (size - 1) / (out - 1) if out > 1 else x * 0.0
    if mode == "asymmetric":
        return lambda x: x / scale
    if mode == "tf_crop_and_resize":
        start, end = roi
        if out == 1:
            return lambda x: x * 0.0 + 0.5 * (start + end) * (size - 1)
        return lambda x: start * (size - 1) + x * (end - start) * (size - 1) / (out - 1)
    raise ValueError(f"unknown coordinate_transformation_mode {mode!r}")


def _nearest(at: float, mode: str) -> int:
    if mode == "floor":
        return math.floor(at)
    if mode == "ceil":
        return math.ceil(at)
    return math.ceil(at - 0.5) if mode == "round_prefer_floor" else math.floor(at + 0.5)


def _keys(distance: torch.Tensor, a: float) -> torch.Tensor:
    """Cubic convolution of support 2 (Keys 1981, equation 4)."""
    d = distance.abs()
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, inner, torch.where(d < 2, outer, torch.zeros_like(d)))


def _filtered(
    x: torch.Tensor,
    axis: int,
    at: torch.Tensor,
    scale: float,
    *,
    mode: str,
    a: float,
    antialias: int,
    exclude_outside: int,
) -> torch.Tensor:
    """One axis resampled at ``at``: taps around each place, weighted by their distance; outside, the edge
    counts again, or nothing does and the rest is scaled up."""
    size = x.shape[axis]
    stretch = min(scale, 1.0) if antialias else 1.0
    reach = math.floor(-(1 if mode == "linear" else 2) / stretch) + 1
    taps = at.floor()[:, None] + torch.arange(reach, 2 - reach, device=x.device)
    distance = (taps - at[:, None]) * stretch
    weights = (1 - distance.abs()).clamp(min=0) if mode == "linear" else _keys(distance, a)
    if antialias:
        weights = weights / weights.sum(1, keepdim=True)
    if exclude_outside:
        inside = (taps >= 0) & (taps < size)
        weights = torch.where(inside, weights, torch.zeros_like(weights))
        weights = weights / weights.sum(1, keepdim=True)
    index = taps.clamp(0, size - 1).long()
    found = torch.unflatten(x.index_select(axis, index.flatten()), axis, index.shape)
    shape = [*index.shape, *[1] * (x.dim() - axis - 1)]
    return (found * weights.reshape(shape)).sum(axis + 1)


def _sizes(
    shape: Sequence[int],
    axes: Sequence[int],
    scales: Sequence[float] | None,
    sizes: Sequence[int] | None,
    policy: str,
) -> tuple[list[int], list[float]]:
    """The output's length and the scale of each of the axes."""
    if sizes is None:
        assert scales is not None
        return [math.floor(shape[a] * s) for a, s in zip(axes, scales, strict=True)], list(scales)
    own = [n / shape[a] for a, n in zip(axes, sizes, strict=True)]
    if policy == "stretch":
        return list(sizes), own
    common = min(own) if policy == "not_larger" else max(own)
    return [math.floor(common * shape[a] + 0.5) for a in axes], [common] * len(axes)


def _numbers(t: torch.Tensor | None) -> list[Any] | None:
    return None if t is None or t.numel() == 0 else t.tolist()


def resize(
    x: torch.Tensor,
    roi: torch.Tensor | None = None,
    scales: torch.Tensor | None = None,
    sizes: torch.Tensor | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> torch.Tensor:
    """Each axis resampled in turn by nearest, linear or cubic interpolation (Resize-11 to -19).

    Raises ``ValueError`` for any other mode."""
    if mode not in ("nearest", "linear", "cubic"):
        raise ValueError(f"mode {mode!r}")
    chosen = [a % x.dim() for a in axes] if axes is not None else list(range(x.dim()))
    lengths, factors = _sizes(x.shape, chosen, _numbers(scales), _numbers(sizes), keep_aspect_ratio_policy)
    region = _numbers(roi) if coordinate_transformation_mode == "tf_crop_and_resize" else None
    region = region or [0.0] * len(chosen) + [1.0] * len(chosen)
    work = torch.promote_types(x.dtype, torch.float32)
    y = x if mode == "nearest" else x.to(work)
    for i, (axis, out, scale) in enumerate(zip(chosen, lengths, factors, strict=True)):
        ends = region[i], region[len(chosen) + i]
        if scale == 1 and out == y.shape[axis] and ends == (0.0, 1.0):
            continue
        size = x.shape[axis]
        place = _coordinate(coordinate_transformation_mode, size, out, scale, ends)
        # Decisions are taken on exact numbers: their rounding is no part of the operator.
        exact = [place(float(o)) for o in range(out)]
        if mode == "nearest":
            index = [min(max(_nearest(e, nearest_mode), 0), size - 1) for e in exact]
            y = y.index_select(axis, torch.tensor(index, dtype=torch.int64, device=x.device))
        else:
            at = place(torch.arange(out, device=x.device, dtype=work))
            y = _filtered(
                y,
                axis,
                at,
                scale,
                mode=mode,
                a=cubic_coeff_a,
                antialias=antialias,
                exclude_outside=exclude_outside,
            )
        if coordinate_transformation_mode == "tf_crop_and_resize":
            outside = torch.tensor([not 0 <= e <= size - 1 for e in exact], dtype=torch.bool, device=x.device)
            y = y.masked_fill(outside.reshape(-1, *[1] * (x.dim() - axis - 1)), extrapolation_value)
    return y.to(x.dtype)


# An image and the lengths to resize it to, for each way of transforming coordinates: no place falls on a tie or, but
# for the ends of align_corners, on a whole number, where floors and ceilings would be decided by a rounding.
_HALVES = (tensor(1, 2, 5, 7), (8, 10))
_WHOLES = (tensor(1, 2, 4, 6), (7, 7))
_ENDS = (tensor(1, 2, 5, 7), (8, 8))


def _resize_pairs() -> Iterator[Sample]:
    """Every two attributes, as far as both of them count."""
    region = [0.3, 0.2, 0.8, 1.63]  # in rows as far as the image, in columns beyond it

    def inputs(row: Mapping[str, Any]) -> tuple[TensorSpec | None, ...]:
        transform = row["coordinate_transformation_mode"]
        image, lengths = {"asymmetric": _WHOLES, "align_corners": _ENDS}.get(transform or "", _HALVES)
        all_axes = row["axes"] is None
        roi = [0.0, 0.0, *region[:2], 1.0, 1.0, *region[2:]] if all_axes else region
        given = const(roi, "float32") if transform == "tf_crop_and_resize" else None
        if row["scaled"]:
            factors = [0.5, 0.25] if row["antialias"] else [2.0, 4.0]
            return image, given, const([1.0, 1.0, *factors] if all_axes else factors, "float32")
        lengths = (3, 4) if row["antialias"] else lengths
        return image, given, None, const([1, 2, *lengths] if all_axes else list(lengths))

    def valid(row: Mapping[str, Any]) -> bool:
        mode, transform = row["mode"], row["coordinate_transformation_mode"]
        crop, ends = transform == "tf_crop_and_resize", transform == "align_corners"
        nearest = row["nearest_mode"]
        return (
            (nearest is None or mode is None)
            # A place at the end is a whole number but for its rounding.
            and not (ends and nearest in ("floor", "ceil"))
            and not (row["cubic_coeff_a"] and mode != "cubic")
            and not (row["extrapolation_value"] and not crop)
            and not (row["exclude_outside"] and mode is None)
            # Nothing says whether the filter that antialiasing stretches counts what is outside.
            and not (row["antialias"] and (mode is None or crop or not row["exclude_outside"]))
            # The text's length counts the region, that of ONNX's inference, evaluator and engines does not.
            and not (crop and row["scaled"])
            # "not applicable when the scales input is used"; and of a region, whose aspect is it?
            and not (row["keep_aspect_ratio_policy"] and (row["scaled"] or crop or ends or row["axes"] is None))
        )

    yield from pairwise(
        Sample("pairs", (), opset=19),
        {
            "mode": (None, "linear", "cubic"),
            "coordinate_transformation_mode": (
                None,
                "half_pixel_symmetric",
                "pytorch_half_pixel",
                "align_corners",
                "asymmetric",
                "tf_crop_and_resize",
            ),
            "nearest_mode": (None, "round_prefer_ceil", "floor", "ceil"),
            "cubic_coeff_a": (None, -0.5),
            "extrapolation_value": (None, 10.0),
            "exclude_outside": (None, 1),
            "antialias": (None, 1),
            "axes": (None, [2, 3]),
            "keep_aspect_ratio_policy": (None, "not_larger", "not_smaller"),
        },
        variations={"scaled": (False, True)},
        inputs=inputs,
        valid=valid,
    )


# Only nearest: what a fraction between integers is rounded to, and what lies between strings, the standard does not say.
_TYPES = (*INTEGERS, *BOOL, *UNUSUAL)


# Of 8 and 16 bits with a sign, the usual draw has all that an engine could lose.
_LONG = ("int32", "int64", "uint8", "uint16", "uint32", "uint64")


def _resize_samples() -> Iterator[Sample]:
    image = tensor(1, 2, 5, 7)

    def sample(
        name: str,
        *,
        x: TensorSpec = image,
        scales: Sequence[float] | None = None,
        sizes: Sequence[int] | None = None,
        roi: Sequence[float] | None = None,
        dtypes: tuple[str, ...] | None = ONE,
        **fields: Any,
    ) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "opset", "refuse", "again") if k in fields}
        given: list[TensorSpec | None] = [x, None if roi is None else const(roi, "float32")]
        given.append(None if scales is None else const(scales, "float32"))
        given += [] if sizes is None else [const(sizes)]
        return Sample(name, tuple(given), fields, dtypes=dtypes, **kept)

    fields: dict[str, Any]
    up, down, odd = [1, 1, 2, 3], [1, 1, 0.5, 0.5], [1, 2, 8, 5]
    yield sample("nearest-up", scales=up, dtypes=(*ALL, *_TYPES))
    yield sample("nearest-down", scales=down, dtypes=FEW)
    yield sample("nearest-sizes", sizes=odd, dtypes=FEW)
    yield from carried(sample("nearest", scales=up), 0)
    for dtype in _LONG:
        ends = replace(image, draw=choice(*extremes(dtype)))
        yield sample(f"extremes-{dtype}", x=ends, scales=up, dtypes=(dtype,), tags=SPECIAL)
    # To one pixel along an axis, where half_pixel takes the middle, and to half along another, where every place is a tie.
    yield sample("nearest-one-pixel-ties", x=tensor(1, 2, 5, 8), sizes=[1, 2, 1, 4], dtypes=(*ALL, *_TYPES))
    for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        name = mode.replace("_", "-")
        yield sample(f"nearest-{name}", sizes=[1, 2, 9, 4], nearest_mode=mode)
        fields = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": mode}
        yield sample(f"nearest-{name}-ties", scales=[*up[:2], 2, 4], **fields)
    for transform in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners"):
        name, fields = transform.replace("_", "-"), {"coordinate_transformation_mode": transform}
        since: dict[str, Any] = {"opset": 19} if transform == "half_pixel_symmetric" else {}
        yield sample(f"linear-{name}-up", scales=up, mode="linear", **fields, **since)
        nearest: dict[str, Any] = {"nearest_mode": "floor"} if transform == "align_corners" else {}
        yield sample(f"nearest-{name}", sizes=odd, **nearest, **fields, **since)
    fields = {"sizes": [1, 2, 1, 1], "coordinate_transformation_mode": "pytorch_half_pixel"}
    yield sample("linear-to-one-pixel", **fields, mode="linear")
    yield sample("linear-from-one-pixel", x=tensor(1, 2, 1, 1), scales=up, mode="linear")
    for transform in ("half_pixel", "half_pixel_symmetric"):
        name, fields = transform.replace("_", "-"), {"coordinate_transformation_mode": transform}
        yield sample(f"linear-{name}-fractional", scales=[1, 1, 1.5, 0.75], mode="linear", opset=19, **fields)
        yield sample(f"cubic-{name}-fractional", scales=[1, 1, 1.25, 2.25], mode="cubic", opset=19, **fields)
    yield sample("linear-up", scales=up, mode="linear", dtypes=ALL)
    yield sample("linear-down", scales=down, mode="linear", dtypes=FEW)
    yield sample("linear-one-axis", x=tensor(2, 3, 9), scales=[1, 1, 1.75], mode="linear")
    yield sample("linear-three-axes", x=tensor(1, 2, 3, 4, 5), sizes=[1, 2, 5, 6, 3], mode="linear")
    yield sample("linear-channels-last", x=tensor(1, 5, 7, 3), sizes=[1, 8, 4, 3], mode="linear")
    yield sample("cubic-up", scales=up, mode="cubic", dtypes=ALL)
    yield sample("cubic-down", scales=down, mode="cubic", dtypes=FEW)
    yield sample("cubic-coefficient", scales=up, mode="cubic", cubic_coeff_a=-0.5)
    yield from _resize_pairs()
    yield sample(
        "cubic-exclude-outside-down", sizes=[1, 2, 3, 4], mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5
    )
    yield sample("antialias-linear", sizes=[1, 2, 3, 4], mode="linear", antialias=1, exclude_outside=1, dtypes=FEW)
    yield sample("antialias-cubic", sizes=[1, 2, 3, 3], mode="cubic", antialias=1, exclude_outside=1)
    yield sample("antialias-linear-up", scales=up, mode="linear", antialias=1, exclude_outside=1)
    fields = {"x": tensor(1, 1, 23, 29), "scales": [1, 1, 0.25, 0.375], "antialias": 1, "exclude_outside": 1}
    yield sample("antialias-linear-quarter", mode="linear", **fields)
    yield sample("antialias-cubic-quarter", mode="cubic", cubic_coeff_a=-0.5, **fields)
    crop: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize"}
    crop["roi"] = [0, 0, 0.3, 0.2, 1, 1, 0.8, 0.7]
    yield sample("crop-nearest", sizes=[1, 2, 3, 4], **crop)
    yield sample("crop-linear", sizes=[1, 2, 3, 4], mode="linear", dtypes=FEW, **crop)
    yield sample("crop-cubic", sizes=[1, 2, 6, 4], mode="cubic", **crop)
    exact_roi = const([0, 0, 0.25, 0.125, 1, 1, 0.75, 0.875], None)
    for dtype in ("float16", "float64"):
        given = image, replace(exact_roi, dtype=dtype), None, const([1, 2, 3, 4])
        attributes = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
        yield Sample(f"crop-roi-{dtype}", given, attributes, dtypes=ONE)
    beyond = {**crop, "roi": [0, 0, -0.3, 0.2, 1, 1, 0.8, 1.6]}
    yield sample("crop-extrapolated", sizes=[1, 2, 4, 6], mode="linear", extrapolation_value=10.0, **beyond)
    # As long as the input, but not the input: the region counts at a scale of 1 too.
    yield sample("crop-same-length", sizes=[1, 2, 5, 6], mode="linear", extrapolation_value=10.0, **beyond)
    yield sample("crop-to-one-pixel", sizes=[1, 2, 1, 1], mode="linear", **crop)
    yield sample("axes", sizes=[8, 5], mode="linear", axes=[2, 3], dtypes=FEW)
    yield sample("axes-negative", scales=[2, 3], axes=[-2, -1])
    yield sample("axes-swapped", sizes=[5, 8], mode="cubic", axes=[3, 2])
    yield sample("axes-crop", sizes=[4, 5], axes=[2, 3], mode="linear", **{**crop, "roi": [0.3, 0.2, 0.8, 0.7]})
    wide_image = tensor(1, 2, 4, 10)
    for policy in ("not_larger", "not_smaller"):
        fields = {"axes": [2, 3], "keep_aspect_ratio_policy": policy, "x": wide_image}
        name = policy.replace("_", "-")
        yield sample(f"{name}-nearest", sizes=[8, 15], **fields)
        yield sample(f"{name}-linear", sizes=[6, 20], mode="linear", **fields)
    yield sample("identity", scales=[1, 1, 1, 1], mode="linear")
    yield sample("rank-2", x=tensor(5, 7), sizes=[3, 11], mode="linear")
    yield sample("large", x=tensor(1, 8, 40, 48), sizes=[1, 8, 61, 37], mode="linear", dtypes=ONE, tags=LARGE)
    yield sample("large-nearest", x=tensor(1, 16, 40, 40), scales=[1, 1, 2, 2], tags=LARGE, dtypes=FEW)
    yield sample("empty-batch", x=tensor(0, 2, 5, 7), scales=up, dtypes=ONE, tags=EMPTY)
    scales = const(up, "float32")
    again = ((tensor(2, 2, 3, 4), None, scales), (tensor(1, 2, 9, 6), None, scales))
    yield Sample("dynamic", (image, None, scales), {"mode": "linear"}, dtypes=FEW, again=again, tags=DYNAMIC)
    lengths = tensor(4, dtype="int64", draw=const(odd).draw)
    yield Sample("sizes-at-run-time", (image, None, None, lengths), {"mode": "linear"}, dtypes=FEW)
    for opset in (11, 13, 18):
        yield sample(f"opset-{opset}", scales=up, roi=[], mode="linear", dtypes=ONE, opset=opset)
    fields = {"antialias": 1, "axes": [3, 2], "keep_aspect_ratio_policy": "not_larger", "exclude_outside": 1}
    yield sample("opset-18-antialias", sizes=[3, 4], mode="linear", opset=18, **fields)
    yield sample("scales-and-sizes", scales=up, sizes=odd, dtypes=ONE, refuse="either scales or sizes, not both")
    yield sample("neither-scales-nor-sizes", dtypes=ONE, refuse="scales or sizes must be given")
    yield sample("too-few-scales", scales=[2, 2], dtypes=ONE, refuse="two scales for four axes")
    yield sample("bad-mode", scales=up, mode="quintic", dtypes=ONE, refuse="no such mode")


def upsample(x: torch.Tensor, scales: torch.Tensor, *, mode: str = "nearest") -> torch.Tensor:
    """Resize by x / scale, nearest below; the last output length of ONNX before Resize (Upsample-9)."""
    return resize(x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def _upsample_samples() -> Iterator[Sample]:
    image = tensor(1, 2, 5, 7)

    def scales(*factors: float) -> TensorSpec:
        return const(factors, "float32")

    def sample(name: str, *inputs: TensorSpec, mode: str = "", dtypes: tuple[str, ...] = FEW) -> Sample:
        return Sample(name, inputs, {"mode": mode} if mode else {}, dtypes=dtypes, opset=9)

    yield sample("nearest", image, scales(1, 1, 2, 3), dtypes=("float32", "float16", "float64", *_TYPES))
    yield sample("nearest-fractional", image, scales(1, 1, 1.5, 2.5), mode="nearest")
    yield sample("linear", image, scales(1, 1, 2, 3), mode="linear")
    yield sample("linear-fractional", image, scales(1, 1, 1.5, 2.5), mode="linear")
    yield sample("identity", image, scales(1, 1, 1, 1))
    yield sample("one-pixel", tensor(1, 1, 1, 1), scales(1, 1, 4, 4), mode="linear")
    for dtype in _LONG:
        ends = replace(image, draw=choice(*extremes(dtype)))
        yield sample(f"extremes-{dtype}", ends, scales(1, 1, 2, 3), dtypes=(dtype,))
    yield sample("large", tensor(1, 16, 26, 26), scales(1, 1, 2, 2), dtypes=ONE)


OPERATORS = (
    Operator("Resize", resize, Composite(), _resize_samples, strings=True),
    Operator("Upsample", upsample, Composite(), _upsample_samples, strings=True),
)
