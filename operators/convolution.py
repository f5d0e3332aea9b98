"""Convolutions, their transposes and their deformable form, and the column-to-image sum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.draws import anything, choice, full, integers, subnormal, uniform
from conformance.dtypes import BOOL, FLOATS, INTEGERS
from conformance.lazy import F, torch
from conformance.rules import Accumulation, Composite
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from .geometry import Frame, frame, pad, spread, wide
from .samples import DYNAMIC, EMPTY, FEW, INF, LARGE, NAN, SPECIAL, UNUSUAL, pairwise, refusals

__all__ = ["CONV_ATTRIBUTES", "OPERATORS", "conv", "one_padding"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")
WHOLE = integers(-4, 4)
RARE = choice(NAN, INF, -INF, *(0.25 * i for i in range(-20, 21) if i))


# Of a kernel of 4 by 2 on a plane: on 9 rows the two SAME modes differ at either stride.
CONV_ATTRIBUTES: Mapping[str, Sequence[Any]] = {
    "auto_pad": (None, "SAME_UPPER", "SAME_LOWER", "VALID"),
    "pads": (None, [0, 2, 1, 1]),
    "strides": (None, [2, 3]),
    "dilations": (None, [1, 3]),
    "group": (None, 2),
    "kernel_shape": (None, [4, 2]),
}


def one_padding(row: Mapping[str, Any]) -> bool:
    """Whether a node is not padded in both ways: "cannot be used simultaneously with auto_pad attribute"."""
    return row["auto_pad"] is None or row["pads"] is None


def _check_kernel(w: torch.Tensor, kernel_shape: Sequence[int] | None) -> None:
    if kernel_shape is not None and list(kernel_shape) != list(w.shape[2:]):
        raise ValueError(f"kernel_shape is {list(kernel_shape)}, but the weight's is {list(w.shape[2:])}")


def conv(
    x: torch.Tensor,
    w: torch.Tensor,
    b: torch.Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> torch.Tensor:
    """(N, C, D1, …) with (M, C/group, K1, …): cross-correlation over one to three spatial axes (Conv-22).

    Raises ``ValueError`` where ``kernel_shape`` is not the weight's."""
    _check_kernel(w, kernel_shape)
    frames = frame(x.shape[2:], w.shape[2:], auto_pad=auto_pad, pads=pads, strides=strides, dilations=dilations)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[len(frames) - 1]
    steps, gaps = [f.stride for f in frames], [f.dilation for f in frames]
    return convolve(pad(x, frames, 0.0), w, b, steps, 0, gaps, group)


def weight(*shape: int, draw: Any = None) -> TensorSpec:
    """An initializer; by default scaled as a trained one is, so that outputs stay near 1."""
    fan = math.prod(shape[1:]) or 1
    return tensor(*shape, draw=draw or uniform(-1.7 / math.sqrt(fan), 1.7 / math.sqrt(fan)), constant=True)


def _conv_samples() -> Iterator[Sample]:
    def sample(name: str, x: tuple[int, ...], w: tuple[int, ...], bias: bool = False, **fields: Any) -> Sample:
        tags = fields.pop("tags", frozenset())
        dtypes, opset = fields.pop("dtypes", FEW), fields.pop("opset", None)
        inputs = (tensor(*x), weight(*w)) + ((weight(w[0]),) if bias else ())
        return Sample(name, inputs, fields, dtypes=dtypes, opset=opset, tags=tags)

    image, kernel = (2, 3, 9, 11), (5, 3, 3, 3)
    yield sample("basic", image, kernel, dtypes=ALL)
    yield sample("same-pads", image, kernel, True, pads=[1, 1, 1, 1], kernel_shape=[3, 3], dtypes=ALL)
    yield sample("asymmetric-pads", image, kernel, True, pads=[0, 2, 1, 0])
    yield sample("pads-wider-than-kernel", (1, 2, 5, 5), (3, 2, 3, 3), pads=[3, 4, 3, 4])
    yield sample("stride-2", image, kernel, True, pads=[1, 1, 1, 1], strides=[2, 2])
    yield sample("stride-wider-than-kernel", image, (4, 3, 1, 1), strides=[2, 3])
    yield sample("dilation-2", image, kernel, dilations=[2, 2], pads=[2, 2, 2, 2])
    yield sample("dilations-differ", image, kernel, dilations=[1, 3])
    yield sample("dilated-strided", image, kernel, dilations=[2, 1], strides=[1, 2], pads=[1, 0, 2, 1])

    def combination(row: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
        bias = (weight(6),) if row["bias"] else ()
        return tensor(2, 4, 9, 11), weight(6, 4 // (row["group"] or 1), 4, 2), *bias

    yield from pairwise(
        Sample("pairs", ()),
        CONV_ATTRIBUTES,
        variations={"bias": (False, True)},
        inputs=combination,
        valid=one_padding,
    )
    yield sample("auto-pad-same-lower-stride-1", image, (5, 3, 4, 2), True, auto_pad="SAME_LOWER")
    yield sample("pointwise", (2, 16, 7, 7), (24, 16, 1, 1), True)
    yield sample("kernel-5x1", image, (4, 3, 5, 1), pads=[2, 0, 2, 0])
    yield sample("kernel-1x7", image, (4, 3, 1, 7), pads=[0, 3, 0, 3])
    yield sample("kernel-as-large-as-input", (2, 3, 6, 5), (4, 3, 6, 5), True)
    yield sample("groups", (2, 6, 7, 7), (9, 2, 3, 3), True, group=3, pads=[1, 1, 1, 1])
    yield sample("depthwise", (2, 8, 9, 9), (8, 1, 3, 3), True, group=8, pads=[1, 1, 1, 1], dtypes=ALL)
    yield sample("depthwise-stride-2", (1, 7, 9, 9), (7, 1, 5, 5), group=7, strides=[2, 2], pads=[2, 2, 2, 2])
    yield sample("depthwise-multiplier", (1, 5, 8, 8), (15, 1, 3, 3), group=5)
    yield sample("conv-1d", (2, 3, 23), (5, 3, 4), True, pads=[1, 2], strides=[2], dtypes=ALL)
    yield sample("conv-1d-dilated-depthwise", (2, 6, 23), (6, 1, 3), group=6, dilations=[4], pads=[4, 4])
    yield sample("conv-1d-auto-pad", (1, 3, 10), (4, 3, 3), auto_pad="SAME_UPPER", strides=[3])
    yield sample("conv-3d", (1, 2, 5, 6, 7), (3, 2, 3, 2, 3), True, pads=[1, 0, 1, 1, 1, 0], dtypes=ALL)
    yield sample("conv-3d-strided-groups", (1, 4, 6, 6, 6), (6, 2, 2, 2, 2), strides=[2, 1, 2], group=2)
    yield sample("ones", (1, 1, 1, 1), (1, 1, 1, 1), True)
    yield sample("channel-tails", (1, 13, 9, 9), (17, 13, 3, 3), True, pads=[1, 1, 1, 1])
    yield sample("first-layer", (1, 3, 33, 33), (16, 3, 7, 7), strides=[2, 2], pads=[3, 3, 3, 3], tags=LARGE)
    yield sample("deep", (1, 128, 9, 9), (24, 128, 3, 3), True, pads=[1, 1, 1, 1], tags=LARGE)
    yield sample("wide", (1, 456, 6, 7), (32, 456, 3, 3), tags=LARGE, dtypes=("float32", "float16", "bfloat16"))
    inputs = tensor(*image), tensor(*kernel), tensor(5)
    yield Sample("weight-at-run-time", inputs, {"pads": [1, 1, 1, 1]}, dtypes=FEW)
    whole: tuple[TensorSpec, ...]
    whole = tensor(1, 8, 13, 13, draw=WHOLE), weight(9, 8, 3, 3, draw=WHOLE), weight(9, draw=WHOLE)
    yield Sample("exact-integers", whole, {"pads": [1, 1, 1, 1]}, dtypes=FEW, exact=True)
    whole = tensor(2, 6, 13, 13, draw=WHOLE), weight(6, 1, 3, 3, draw=WHOLE)
    attributes = {"group": 6, "strides": [2, 2], "pads": [0, 1, 1, 0]}
    yield Sample("exact-integers-depthwise", whole, attributes, dtypes=FEW, exact=True)
    special = tensor(1, 2, 9, 9, draw=RARE), weight(3, 2, 2, 2)
    yield Sample("special", special, {"pads": [1, 1, 0, 0]}, dtypes=FLOATS, tags=SPECIAL)
    # By whole numbers, as products of subnormal numbers would round.
    small = tensor(1, 2, 7, 7, draw=subnormal()), weight(3, 2, 2, 2, draw=WHOLE)
    yield Sample("subnormals", small, {"pads": [1, 1, 0, 0]}, dtypes=FLOATS, tags=SPECIAL | {"subnormal"})
    yield sample("empty-batch", (0, 3, 5, 5), kernel, tags=EMPTY)
    attributes = {"pads": [1, 1, 1, 1]}
    again = tuple((tensor(*s), weight(*kernel)) for s in ((1, 3, 5, 6), (3, 3, 17, 8)))
    first = tensor(*image), weight(*kernel)
    yield Sample("dynamic", first, attributes, dtypes=FEW, again=again, tags=DYNAMIC)
    yield sample("opset-11", image, kernel, True, pads=[1, 1, 1, 1], opset=11)
    yield sample("opset-22", image, kernel, True, pads=[1, 1, 1, 1], opset=22, dtypes=ALL)

    def refuse(name: str, why: str, x: TensorSpec, w: TensorSpec, *more: TensorSpec, **attributes: Any) -> Sample:
        return Sample(name, (x, w, *more), attributes, dtypes=ONE, refuse=why)

    x, w = tensor(*image), weight(*kernel)
    yield refuse("channel-mismatch", "3 channels against 4", x, weight(5, 4, 3, 3))
    yield refuse("bad-group", "3 channels do not divide into 2 groups", x, w, group=2)
    yield refuse("kernel-shape-mismatch", "the weight is 3 by 3", x, w, kernel_shape=[5, 5])
    yield refuse("bias-mismatch", "4 biases for 5 outputs", x, w, weight(4))
    yield refuse("bad-strides", "one stride for two axes", x, w, strides=[2])
    yield refuse("bad-pads", "three pads for two axes", x, w, pads=[1, 1, 1])
    yield refuse("kernel-too-large", "a window of 3 does not fit into 1", tensor(1, 3, 1, 1), w)
    yield refuse("rank-mismatch", "two spatial axes against one", x, weight(5, 3, 3))
    yield from refusals(2, most=3)


def conv_transpose(
    x: torch.Tensor,
    w: torch.Tensor,
    b: torch.Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> torch.Tensor:
    """(N, C, D1, …) with (C, M/group, K1, …): the adjoint of Conv, cropped by ``pads`` (ConvTranspose-22).

    Raises ``ValueError`` where ``kernel_shape`` is not the weight's."""
    _check_kernel(w, kernel_shape)
    rank, dtype = x.dim() - 2, x.dtype
    steps, gaps = spread(strides, rank, 1), spread(dilations, rank, 1)
    more, given = spread(output_padding, rank, 0), spread(pads, 2 * rank, 0)
    transpose = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    around: list[int] = []
    for axis in reversed(range(rank)):
        size = (x.shape[2 + axis] - 1) * steps[axis] + (w.shape[2 + axis] - 1) * gaps[axis] + 1 + more[axis]
        begin, end = given[axis], given[axis + rank]
        if output_shape or auto_pad.startswith("SAME"):
            target = output_shape[-rank:][axis] if output_shape else x.shape[2 + axis] * steps[axis]
            total = size - target
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        elif auto_pad == "VALID":
            begin = end = 0
        around += [-begin, more[axis] - end]
    # On the CPU, torch adds up the transposed product in the format of its operands.
    if x.device.type == "cpu":
        x, w, b = wide(x), wide(w), None if b is None else wide(b)
    beyond = any(n > 0 for n in around)  # where no tap reaches, there is the bias alone
    y = transpose(x, w, None if beyond else b, steps, 0, 0, group, gaps)
    y = F.pad(y, around) if any(around) else y
    if beyond and b is not None:
        y = y + b.reshape(-1, *[1] * rank)
    return y.to(dtype)


def _conv_transpose_samples() -> Iterator[Sample]:
    def sample(name: str, x: tuple[int, ...], w: tuple[int, ...], bias: int = 0, **fields: Any) -> Sample:
        tags = fields.pop("tags", frozenset())
        dtypes, opset = fields.pop("dtypes", FEW), fields.pop("opset", None)
        inputs = (tensor(*x), weight(*w)) + ((weight(bias),) if bias else ())
        return Sample(name, inputs, fields, dtypes=dtypes, opset=opset, tags=tags)

    image, kernel = (2, 3, 5, 7), (3, 4, 3, 3)
    yield sample("basic", image, kernel, dtypes=ALL)
    yield sample("bias", image, kernel, 4)
    yield sample("stride-2", image, (3, 4, 2, 2), 4, strides=[2, 2], kernel_shape=[2, 2], dtypes=ALL)
    yield sample("stride-wider-than-kernel", image, (3, 4, 1, 2), 4, strides=[2, 3])
    yield sample("pads", image, kernel, 4, strides=[2, 2], pads=[1, 1, 1, 1])
    yield sample("asymmetric-pads", image, kernel, strides=[2, 2], pads=[0, 2, 1, 1])
    yield sample("output-padding", image, kernel, 4, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    yield sample("output-padding-differs", image, kernel, 4, strides=[3, 2], output_padding=[2, 0])
    yield sample("output-padding-beyond-kernel", image, (3, 4, 2, 2), 4, strides=[3, 3], output_padding=[2, 1])
    yield sample("output-shape", image, kernel, strides=[2, 2], output_shape=[10, 14])
    yield sample("output-shape-odd-total", image, (3, 4, 4, 4), strides=[2, 2], output_shape=[11, 13])
    upper: dict[str, Any] = {"output_shape": [11, 13], "auto_pad": "SAME_UPPER"}
    yield sample("output-shape-same-upper", image, (3, 4, 4, 4), strides=[2, 2], **upper)
    yield sample("dilated-strided", image, kernel, 4, dilations=[2, 1], strides=[2, 3], pads=[1, 0, 0, 1])

    def combination(row: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
        groups = row["group"] or 1
        return tensor(2, 4, 5, 7), weight(4, 6 // groups, 4, 2), *((weight(6),) if row["bias"] else ())

    def valid(row: Mapping[str, Any]) -> bool:
        # An output shape decides the padding; VALID is another decision. Padding at the end of an output has to be
        # less than the stride or the dilation.
        decided = row["auto_pad"] == "VALID" and row["output_shape"]
        return one_padding(row) and not decided and not (row["output_padding"] and not row["strides"])

    yield from pairwise(
        Sample("pairs", ()),
        {
            **CONV_ATTRIBUTES,
            "strides": (None, [2, 2]),
            "output_padding": (None, [1, 1]),
            "output_shape": (None, [6, 8]),
        },
        variations={"bias": (False, True)},
        inputs=combination,
        valid=valid,
    )
    yield sample("groups", (1, 6, 5, 5), (6, 2, 3, 3), 4, group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    yield sample("depthwise", (1, 5, 6, 6), (5, 1, 4, 4), 5, group=5, strides=[2, 2], pads=[1, 1, 1, 1])
    yield sample("transpose-1d", (2, 3, 9), (3, 4, 4), 4, strides=[2], pads=[1, 1])
    yield sample("transpose-3d", (1, 2, 3, 4, 5), (2, 3, 2, 3, 2), 3, strides=[2, 1, 2])
    yield sample("ones", (1, 1, 1, 1), (1, 1, 1, 1))
    yield sample("tails", (1, 13, 9, 9), (13, 17, 3, 3), 17, strides=[2, 2], pads=[1, 1, 1, 1], tags=LARGE)
    yield sample("decoder", (1, 64, 8, 8), (64, 20, 4, 4), 20, strides=[2, 2], pads=[1, 1, 1, 1], tags=LARGE)
    yield Sample("weight-at-run-time", (tensor(*image), tensor(*kernel), tensor(4)), dtypes=FEW)
    whole = tensor(1, 8, 7, 7, draw=WHOLE), weight(8, 9, 3, 3, draw=WHOLE), weight(9, draw=WHOLE)
    yield Sample("exact-integers", whole, {"strides": [2, 2]}, dtypes=FEW, exact=True)
    special = tensor(1, 2, 6, 6, draw=RARE), weight(2, 3, 2, 2)
    yield Sample("special", special, {"strides": [2, 2]}, dtypes=FLOATS, tags=SPECIAL)
    small = tensor(1, 2, 5, 5, draw=subnormal()), weight(2, 3, 3, 3, draw=WHOLE)
    yield Sample("subnormals", small, {"strides": [2, 2]}, dtypes=FLOATS, tags=SPECIAL | {"subnormal"})
    yield sample("empty-batch", (0, 3, 5, 5), kernel, tags=EMPTY)
    again = tuple((tensor(*s), weight(*kernel)) for s in ((1, 3, 4, 4), (3, 3, 9, 2)))
    first = tensor(*image), weight(*kernel)
    yield Sample("dynamic", first, {"strides": [2, 2]}, dtypes=FEW, again=again, tags=DYNAMIC)
    yield sample("opset-11", image, kernel, 4, strides=[2, 2], opset=11)
    yield sample("opset-22", image, kernel, 4, strides=[2, 2], opset=22, dtypes=ALL)
    x, w = tensor(*image), weight(*kernel)
    yield Sample("channel-mismatch", (x, weight(4, 4, 3, 3)), dtypes=ONE, refuse="3 channels against 4")
    yield Sample("bad-group", (x, w), {"group": 2}, dtypes=ONE, refuse="3 channels do not divide into 2 groups")
    yield Sample("bias-mismatch", (x, w, weight(3)), dtypes=ONE, refuse="3 biases for 4 outputs")
    yield Sample(
        "kernel-shape-mismatch", (x, w), {"kernel_shape": [2, 2]}, dtypes=ONE, refuse="the weight is 3 by 3"
    )
    yield from refusals(2, most=3)


def bilinear(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Sample (N, G, C, H, W) at (N, G, P) fractional places: (N, G, C, P); outside the image there are zeros."""
    height, width = x.shape[-2:]
    flat = x.flatten(-2)
    top, left = rows.floor(), columns.floor()
    total = None
    for i, j in itertools.product((0, 1), (0, 1)):
        r, c = top + i, left + j
        share = (1 - (rows - r).abs()) * (1 - (columns - c).abs())
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        place = r.clamp(0, height - 1) * width + c.clamp(0, width - 1)
        index = place.long()[:, :, None].expand(-1, -1, x.shape[2], -1)
        part = flat.gather(-1, index) * torch.where(inside, share, torch.zeros_like(share))[:, :, None]
        total = part if total is None else total + part
    assert total is not None
    return total


def deform_conv(
    x: torch.Tensor,
    w: torch.Tensor,
    offset: torch.Tensor,
    b: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> torch.Tensor:
    """Conv whose taps are moved by ``offset`` (N, G·KH·KW·2, OH, OW) and weighted by ``mask`` (DeformConv-22).

    Raises ``ValueError`` where ``kernel_shape`` is not the weight's."""
    _check_kernel(w, kernel_shape)
    n, channels = x.shape[:2]
    frames = frame(x.shape[2:], w.shape[2:], pads=pads, strides=strides, dilations=dilations)
    taps = math.prod(f.kernel for f in frames)
    places = math.prod(f.out for f in frames)
    moved = offset.reshape(n, offset_group, taps, 2, places)
    # Coordinates in the input's own dtype, float32 at least: a float16 cannot count pixels beyond 2048.
    work = torch.promote_types(x.dtype, torch.float32)
    base = _taps(frames, x.device).to(work)  # (taps, 2, places)
    where = base + moved.to(work)
    images = x.to(work).reshape(n, offset_group, channels // offset_group, *x.shape[2:])
    found = bilinear(images, where[:, :, :, 0].flatten(2), where[:, :, :, 1].flatten(2))
    found = found.reshape(n, offset_group, channels // offset_group, taps, places)
    if mask is not None:
        found = found * mask.to(work).reshape(n, offset_group, 1, taps, places)
    columns = found.reshape(n, group, channels // group * taps, places)
    kernels = w.to(work).reshape(group, w.shape[0] // group, -1)
    y = torch.matmul(kernels, columns).reshape(n, w.shape[0], *(f.out for f in frames))
    if b is not None:
        y = y + b.to(work).reshape(-1, 1, 1)
    return y.to(x.dtype)


def _taps(frames: Sequence[Frame], device: torch.device) -> torch.Tensor:
    """The undisturbed coordinates: (taps, 2, places), whole numbers."""
    axes = []
    for f in frames:
        starts = torch.arange(f.out, device=device) * f.stride - f.begin
        axes.append(torch.arange(f.kernel, device=device)[:, None] * f.dilation + starts)
    (kh, oh), (kw, ow) = axes[0].shape, axes[1].shape
    rows = axes[0][:, None, :, None].expand(kh, kw, oh, ow)
    columns = axes[1][None, :, None, :].expand(kh, kw, oh, ow)
    return torch.stack([rows.reshape(kh * kw, -1), columns.reshape(kh * kw, -1)], 1)


def _deform_conv_samples() -> Iterator[Sample]:
    def sample(
        name: str,
        *,
        masked: bool = False,
        bias: bool = False,
        out: tuple[int, int] = (4, 5),
        n: int = 1,
        c: int = 4,
        m: int = 6,
        kernel: tuple[int, int] = (3, 3),
        **fields: Any,
    ) -> Sample:
        tags, dtypes, opset = fields.pop("tags", frozenset()), fields.pop("dtypes", FEW), fields.pop("opset", None)
        groups, taps = fields.get("offset_group", 1), kernel[0] * kernel[1]
        size = fields.pop("size", (6, 7))
        offset = tensor(n, groups * taps * 2, *out, draw=fields.pop("draw", uniform(-1.4, 1.4)))
        inputs: tuple[TensorSpec | None, ...] = (
            tensor(n, c, *size),
            weight(m, c // fields.get("group", 1), *kernel),
            offset,
            weight(m) if bias else None,
            tensor(n, groups * taps, *out, draw=uniform(0, 1)) if masked else None,
        )
        while inputs[-1] is None:
            inputs = inputs[:-1]
        return Sample(name, inputs, fields, dtypes=dtypes, opset=opset, tags=tags)

    yield sample("basic", dtypes=ALL)
    yield sample("no-offset", draw=full(0.0))
    yield sample("whole-offset", draw=integers(-1, 1))
    yield sample("bias", bias=True)
    yield sample("mask", masked=True)
    yield sample("bias-mask", bias=True, masked=True, dtypes=ALL)
    yield sample("pads", pads=[1, 1, 1, 1], out=(6, 7))
    yield from _deform_conv_pairs()
    yield sample("asymmetric-pads", pads=[0, 1, 2, 0], out=(6, 6), masked=True)
    yield sample("dilations", dilations=[2, 1], out=(2, 5))
    yield sample("group-offset-group", group=2, offset_group=4, bias=True, masked=True)
    yield sample("kernel-2x4", kernel=(2, 4), kernel_shape=[2, 4], out=(5, 4))
    yield sample("pointwise", kernel=(1, 1), out=(6, 7), masked=True)
    yield sample("batch", n=3, pads=[1, 1, 1, 1], out=(6, 7), bias=True)
    yield sample("far-outside", draw=uniform(-9.0, 9.0))
    yield sample(
        "large", c=16, m=20, size=(14, 14), out=(14, 14), pads=[1, 1, 1, 1], masked=True, dtypes=ONE, tags=LARGE
    )
    yield sample("opset-22", masked=True, opset=22, dtypes=ALL)
    # At whole places: what NaN or infinity times a share of 0 comes to is left open, so there are none.
    still = tensor(1, 8, 4, 4, draw=full(0.0))
    kernels = weight(3, 4, 2, 2, draw=integers(-2, 2))
    small = tensor(1, 4, 5, 5, draw=subnormal()), kernels, still
    yield Sample("subnormals", small, dtypes=FLOATS, tags=SPECIAL | {"subnormal"})
    whole = tensor(1, 4, 5, 5, draw=integers(-63, 63)), kernels, still
    yield Sample("exact-integers", whole, dtypes=FEW, exact=True)
    yield from refusals(3, most=5)


def _deform_conv_pairs() -> Iterator[Sample]:
    def inputs(row: Mapping[str, Any]) -> tuple[TensorSpec | None, ...]:
        attributes = {k: row[k] for k in ("pads", "strides", "dilations")}
        out = [f.out for f in frame((6, 7), (4, 2), **attributes)]
        groups = row["offset_group"] or 1
        given: tuple[TensorSpec | None, ...] = (
            tensor(1, 4, 6, 7),
            weight(6, 4 // (row["group"] or 1), 4, 2),
            tensor(1, groups * 16, *out, draw=uniform(-1.4, 1.4)),
            weight(6) if row["bias"] else None,
            tensor(1, groups * 8, *out, draw=uniform(0, 1)) if row["mask"] else None,
        )
        return given if row["mask"] else given[:4] if row["bias"] else given[:3]

    attributes = {k: v for k, v in CONV_ATTRIBUTES.items() if k != "auto_pad"}
    yield from pairwise(
        Sample("pairs", ()),
        {**attributes, "offset_group": (None, 2), "strides": (None, [2, 1])},
        variations={"bias": (False, True), "mask": (False, True)},
        inputs=inputs,
    )


def col2im(
    input: torch.Tensor,
    image_shape: torch.Tensor,
    block_shape: torch.Tensor,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> torch.Tensor:
    """(N, C·K, L) blocks summed into (N, C, *image_shape): the adjoint of cutting windows out (Col2Im-18)."""
    image, block = image_shape.tolist(), block_shape.tolist()
    frames = frame(image, block, pads=pads, strides=strides, dilations=dilations)
    sizes = [size + f.begin + f.end for size, f in zip(image, frames, strict=True)]
    place = torch.zeros((), dtype=torch.int64, device=input.device)
    for axis, f in enumerate(frames):
        starts = torch.arange(f.out, device=input.device) * f.stride
        at = torch.arange(f.kernel, device=input.device)[:, None] * f.dilation + starts  # (K, O)
        shape = [1] * (2 * len(frames))
        shape[axis], shape[len(frames) + axis] = at.shape
        place = place + at.reshape(shape) * math.prod(sizes[axis + 1 :])
    n = input.shape[0]
    columns = input.reshape(n, math.prod(input.shape[1:]) // place.numel(), place.numel())  # n may be 0
    canvas = columns.new_zeros(n, columns.shape[1], math.prod(sizes))
    y = torch.unflatten(canvas.index_add(-1, place.flatten(), columns), -1, sizes)
    for axis, (f, size) in enumerate(zip(frames, image, strict=True)):
        y = y.narrow(2 + axis, f.begin, size)
    return y


def _col2im_samples() -> Iterator[Sample]:
    def sample(name: str, shape: tuple[int, ...], image: list[int], block: list[int], **fields: Any) -> Sample:
        kept = {k: fields.pop(k) for k in ("dtypes", "exact", "tags") if k in fields}
        kept.setdefault("dtypes", FEW)
        draw = WHOLE if kept.get("exact") else None
        x = tensor(*shape, draw=draw) if draw else tensor(*shape)
        return Sample(name, (x, const(image), const(block)), fields, **kept)

    # Where blocks overlap, Booleans and strings would have to be added.
    every = (*ALL, *INTEGERS, *BOOL, *UNUSUAL)
    yield sample("no-overlap", (1, 5, 5), [5, 5], [1, 5], dtypes=every)
    unusual = tensor(1, 5, 5, draw=anything()), const([5, 5]), const([1, 5])
    yield Sample("special", unusual, dtypes=(*ALL, *INTEGERS), tags=SPECIAL)
    yield sample("overlap", (2, 12, 12), [4, 5], [2, 2])
    yield sample("pads", (1, 8, 30), [4, 5], [2, 2], pads=[1, 0, 1, 2], dtypes=(*ALL, "int64"))
    yield sample("strides", (1, 9, 4), [5, 5], [3, 3], strides=[2, 2])
    yield sample("dilations", (1, 8, 12), [5, 5], [2, 2], dilations=[1, 2])
    yield sample(
        "dilated-strided-padded", (2, 27, 6), [6, 5], [3, 3], dilations=[2, 1], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    yield sample("gaps", (1, 4, 4), [7, 7], [2, 2], strides=[4, 4])
    yield sample("one-axis", (1, 6, 5), [7], [3])
    yield sample("three-axes", (1, 16, 24), [3, 4, 5], [2, 2, 2])
    yield sample("ones", (1, 1, 1), [1, 1], [1, 1])
    yield sample("channels", (2, 28, 20), [5, 6], [2, 2])
    yield sample("exact-integers", (1, 36, 100), [12, 12], [3, 3], exact=True)
    yield sample("large", (2, 72, 784), [30, 30], [3, 3], dtypes=ONE, tags=LARGE)
    again = ((tensor(3, 12, 12), const([4, 5]), const([2, 2])),)
    first = tensor(1, 12, 12), const([4, 5]), const([2, 2])
    yield Sample("dynamic", first, dtypes=ONE, again=again, tags=DYNAMIC)
    bad = tensor(1, 5, 4), const([5, 5]), const([1, 5])
    yield Sample("block-count-mismatch", bad, dtypes=ONE, refuse="4 blocks where 5 fit")
    yield from refusals(3, wrong=None)


OPERATORS = (
    Operator("Conv", conv, Accumulation(), _conv_samples),
    Operator("ConvTranspose", conv_transpose, Accumulation(), _conv_transpose_samples),
    Operator("DeformConv", deform_conv, Composite(), _deform_conv_samples),
    Operator("Col2Im", col2im, Accumulation(), _col2im_samples, strings=True),
)
