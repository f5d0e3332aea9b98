"""Sampling at places that are data: grids of coordinates, and the affine maps that make them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from conformance.draws import AUTO, Draw, choice, uniform
from conformance.dtypes import BOOL, INTEGERS
from conformance.lazy import torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from .samples import DYNAMIC, EMPTY, FEW, LARGE, SPECIAL, SUBNORMALS, UNUSUAL, carried, extremes, literal, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")
CUBIC_A = -0.75


def _pixels(grid: torch.Tensor, size: int, align_corners: int) -> torch.Tensor:
    """From [−1, 1] to pixels: the outer pixels' centres, or their outer edges, lie at ±1."""
    if align_corners:
        return (grid + 1) / 2 * (size - 1)
    return ((grid + 1) * size - 1) / 2


def _reflect(at: torch.Tensor, size: int, align_corners: int) -> torch.Tensor:
    """Folded at the borders until inside."""
    low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
    if span == 0:
        return torch.zeros_like(at)
    off = (at - low).abs()
    flips = (off / span).floor()
    rest = off - flips * span
    return torch.where(flips % 2 == 0, rest, span - rest) + low


def _shares(at: torch.Tensor, cubic: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The first tap below each place, and the weights of the two or four taps from there on."""
    base = at.floor()
    t = at - base
    if not cubic:
        return base, [1 - t, t]
    a = CUBIC_A

    def near(d: torch.Tensor) -> torch.Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: torch.Tensor) -> torch.Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return base - 1, [far(t + 1), near(t), near(1 - t), far(2 - t)]


def grid_sample(
    x: torch.Tensor,
    grid: torch.Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> torch.Tensor:
    """(N, C, D1, …) at (N, O1, …, rank), coordinates from the last axis backward (GridSample-22, -16)."""
    work = torch.promote_types(grid.dtype, torch.float32)
    spaces = x.shape[2:]
    rank = len(spaces)
    cubic = mode in ("cubic", "bicubic")
    bases: list[torch.Tensor] = []
    shares: list[list[torch.Tensor]] = []
    for axis, size in enumerate(spaces):
        at = _pixels(grid[..., rank - 1 - axis].to(work).flatten(1), size, align_corners)
        if mode == "nearest":
            at = at.round()
        if cubic:
            pass  # each tap is brought back inside on its own
        elif padding_mode == "reflection":
            low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
            at = torch.where((at < low) | (at > high), _reflect(at, size, align_corners), at)
        elif padding_mode == "border":
            at = at.clamp(0, size - 1)
        if mode == "nearest":
            bases.append(at.round() if padding_mode == "reflection" else at)
            shares.append([torch.ones_like(at)])
        else:
            base, weights = _shares(at, cubic)
            bases.append(base)
            shares.append(weights)
    image = x.flatten(2)
    total = None
    for taps in itertools.product(*(range(len(s)) for s in shares)):
        place = torch.zeros_like(bases[0], dtype=torch.int64)
        inside = torch.ones_like(place, dtype=torch.bool)
        weight = None
        for axis, (tap, size) in enumerate(zip(taps, spaces, strict=True)):
            index = bases[axis] + tap
            if padding_mode == "reflection" and cubic:
                index = _reflect(index, size, align_corners)
            if padding_mode == "zeros":
                inside = inside & (index >= 0) & (index <= size - 1)
            place = place * size + index.clamp(0, size - 1).long()
            share = shares[axis][tap]
            weight = share if weight is None else weight * share
        assert weight is not None
        found = image.gather(2, place[:, None].expand(-1, x.shape[1], -1))
        found = torch.where(inside[:, None], found, torch.zeros_like(found))
        if mode == "nearest":
            total = found
            break
        part = found * weight[:, None]
        total = part if total is None else total + part
    assert total is not None
    return total.to(x.dtype).reshape(*x.shape[:2], *grid.shape[1:-1])


def _grid_samples() -> Iterator[Sample]:
    def inputs(
        n: int, c: int, space: tuple[int, ...], out: tuple[int, ...], draw: Draw = AUTO, x: str | None = None
    ) -> tuple[TensorSpec, ...]:
        draw = uniform(-1.0, 1.0) if draw == AUTO else draw
        return tensor(n, c, *space, dtype=x), tensor(n, *out, len(space), draw=draw)

    image = inputs(2, 3, (5, 7), (4, 6))
    far = inputs(2, 3, (5, 7), (4, 6), uniform(-2.4, 2.4))
    # Between the outermost pixels' centres. Whether `border` moves a place beyond them, or each of the taps around it, the
    # text does not say, and with four taps it shows (microsoft/onnxruntime issue 10607).
    inner = inputs(2, 3, (5, 7), (4, 6), uniform(-0.8, 0.8))
    yield Sample("defaults", image, dtypes=("float32", "float16", "float64"))
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for align in (0, 1):
                attributes = {"mode": mode, "padding_mode": padding, "align_corners": align}
                name = f"{mode}-{padding}" + ("-aligned" if align else "")
                both = (
                    ("float32", "float64")
                    if name in ("linear-border-aligned", "linear-reflection-aligned")
                    else ONE
                )
                since = 0 if mode == "nearest" else 20  # bilinear and bicubic until then
                grid = inner if (mode, padding) == ("cubic", "border") else far
                yield Sample(name, grid, attributes, dtypes=FEW if align == 0 else both, since=since)
    space = inputs(1, 2, (3, 4, 5), (2, 3, 4), uniform(-1.6, 1.6))
    for mode in ("linear", "nearest"):
        for padding in ("zeros", "border", "reflection"):
            attributes = {"mode": mode, "padding_mode": padding, "align_corners": int(padding == "border")}
            yield Sample(f"volume-{mode}-{padding}", space, attributes, dtypes=ONE, since=20)
    whole = tensor(1, 2, 5, 7, dtype="float32"), tensor(1, 4, 6, 2, draw=uniform(-1.2, 1.2), dtype="float32")
    for padding in ("zeros", "border"):
        attributes = {"mode": "linear", "padding_mode": padding}
        yield Sample(f"float32-grid-{padding}", whole, attributes, dtypes=ONE, since=20)
    # Between integers and between strings, and beside them, there is nothing that the standard names.
    others = (*INTEGERS, *BOOL, *UNUSUAL)
    places = tensor(2, 4, 6, 2, draw=uniform(-1.2, 1.2), dtype="float32")
    moved = {"mode": "nearest", "padding_mode": "border", "align_corners": 1}
    yield Sample("other-types", (tensor(2, 3, 5, 7), places), moved, dtypes=others)
    corners = tensor(1, 3, 3, 2, draw=choice(-1.0, 0.0, 1.0))
    yield Sample("corners-aligned", (tensor(1, 2, 5, 7), corners), {"align_corners": 1}, dtypes=FEW)
    yield Sample("corners", (tensor(1, 2, 5, 7), corners), dtypes=FEW)
    very = inputs(1, 2, (5, 7), (4, 6), uniform(-9.0, 9.0))
    yield Sample("very-far-reflected", very, {"padding_mode": "reflection"}, dtypes=ONE)
    yield Sample(
        "very-far-reflected-aligned", very, {"padding_mode": "reflection", "align_corners": 1}, dtypes=ONE
    )
    yield Sample("one-pixel", inputs(1, 2, (1, 1), (3, 3)), dtypes=FEW)
    specks = tensor(1, 2, 4, 5, draw=choice(math.inf, *(0.5 * i for i in range(-19, 20))))
    nearest = {"mode": "nearest", "padding_mode": "border"}
    yield Sample("special", (specks, image_grid()), nearest, dtypes=ONE, tags=SPECIAL)
    # Centres of pixels, to the last bit in every format.
    centres = tensor(1, 4, 6, 2, draw=choice(-1.0, -0.5, 0.0, 0.5, 1.0))
    aligned = {**nearest, "align_corners": 1}
    yield from carried(Sample("centres", (tensor(1, 2, 5, 5), centres), aligned), 0)
    # Centres of what would be pixels two beyond the border, where repeating and reflecting differ.
    beyond = tensor(1, 4, 6, 2, draw=choice(-2.0, -1.5, 0.0, 1.5, 2.0), dtype="float32")
    yield Sample("beyond", (tensor(1, 2, 5, 5), beyond), aligned, dtypes=(*BOOL, *UNUSUAL))
    for dtype in INTEGERS:
        ends = tensor(1, 2, 5, 5, draw=choice(*extremes(dtype)))
        yield Sample(f"beyond-{dtype}", (ends, beyond), aligned, dtypes=(dtype,), tags=SPECIAL)
    yield Sample("large", inputs(1, 8, (32, 40), (24, 30)), dtypes=ONE, tags=LARGE)
    yield Sample("empty-batch", inputs(0, 3, (5, 7), (4, 6)), dtypes=ONE, tags=EMPTY)
    again = (inputs(1, 3, (4, 4), (2, 9)), inputs(3, 3, (9, 2), (5, 5)))
    yield Sample("dynamic", image, dtypes=ONE, again=again, tags=DYNAMIC)
    for mode in ("bilinear", "bicubic", "nearest"):
        grid = inner if mode == "bicubic" else far
        yield Sample(f"opset-16-{mode}", grid, {"mode": mode, "padding_mode": "border"}, dtypes=ONE, opset=16)
    yield Sample("opset-22", image, dtypes=ALL, opset=22)
    bad = tensor(1, 2, 5, 7), tensor(1, 4, 6, 3)
    yield Sample("coordinate-mismatch", bad, dtypes=ONE, refuse="three coordinates for two axes")
    batch = tensor(2, 2, 5, 7), tensor(3, 4, 6, 2)
    yield Sample("batch-mismatch", batch, dtypes=ONE, refuse="3 grids for 2 images")


def image_grid() -> TensorSpec:
    """A grid for one image, clear of the borders."""
    return tensor(1, 4, 6, 2, draw=uniform(-0.9, 0.9))


def affine_grid(theta: torch.Tensor, size: torch.Tensor, *, align_corners: int = 0) -> torch.Tensor:
    """(N, rank, rank + 1) maps of an evenly spaced grid over [−1, 1]: (N, D1, …, rank) (AffineGrid-20)."""
    spaces = size.tolist()[2:]
    work = torch.promote_types(theta.dtype, torch.float32)
    lines = []
    for count in spaces:
        steps = torch.arange(count, device=theta.device, dtype=work)
        if align_corners:
            lines.append(steps * 2 / (count - 1) - 1 if count > 1 else steps * 0)
        else:
            lines.append((steps * 2 + 1) / count - 1)
    # Coordinates run from the last axis backward: x, y (, z), 1.
    mesh = torch.meshgrid(*lines, indexing="ij")
    base = torch.stack([*reversed(mesh), torch.ones_like(mesh[0])], -1)
    maps = theta.to(work)
    y = torch.matmul(base.flatten(0, -2), maps.mT)
    return y.reshape(theta.shape[0], *spaces, len(spaces)).to(theta.dtype)


def _affine_samples() -> Iterator[Sample]:
    def sample(name: str, n: int, space: list[int], dtypes: tuple[str, ...] = FEW, **fields: Any) -> Sample:
        rank = len(space)
        tags, opset = fields.pop("tags", frozenset()), fields.pop("opset", None)
        given = tensor(n, rank, rank + 1), const([n, 3, *space])
        return Sample(name, given, fields, dtypes=dtypes, tags=tags, opset=opset)

    yield sample("plane", 2, [5, 6], ALL)
    yield sample("plane-aligned", 2, [5, 6], align_corners=1)
    yield sample("volume", 2, [3, 4, 5])
    yield sample("volume-aligned", 1, [3, 4, 5], align_corners=1)
    yield sample("row", 1, [1, 7])
    yield sample("column-aligned", 1, [9, 2], align_corners=1)
    yield sample("large", 1, [40, 50], ONE, tags=LARGE)
    sizes = tensor(4, dtype="int64", draw=const([2, 3, 5, 6]).draw)
    yield Sample("size-at-run-time", (tensor(2, 2, 3), sizes), dtypes=FEW)
    # An even number of places along each axis: no coordinate is zero, which would make infinity a NaN.
    yield from (
        v for v in carried(Sample("even", (tensor(2, 2, 3), const([2, 3, 4, 6]))), 0) if "subnormal" not in v.tags
    )
    # Subnormal numbers as what is added: products of them may be rounded one by one.
    shifts = literal(*(v for t in (*SUBNORMALS[1:4:2], *SUBNORMALS[5:]) for v in (0.0, 0.0, t)), shape=(2, 2, 3))
    yield Sample("subnormal-shifts", (shifts, const([2, 3, 4, 6])), dtypes=ALL, tags=SPECIAL | {"subnormal"})
    bad = tensor(2, 3, 3), const([2, 3, 5, 6])
    yield Sample("bad-theta", bad, dtypes=ONE, refuse="a plane takes maps of 2 by 3")
    yield from refusals(2)


OPERATORS = (
    Operator("GridSample", grid_sample, Composite(), _grid_samples, strings=True),
    Operator("AffineGrid", affine_grid, Composite(), _affine_samples),
)
