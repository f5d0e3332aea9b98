"""Operators that put tensors together, take them apart, cut a part out or put a border around."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conformance.dtypes import FLOATS
from conformance.lazy import torch
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from .movement import COPIED, PAIR, as_list, moves, positive, special_moves
from .samples import DYNAMIC, EMPTY, LARGE, NAN, SPECIAL, literal, only, refusals, tagged

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]

ONE = ("float32",)
MAX, MIN = 2**63 - 1, -(2**63)


def concat(*inputs: Tensor, axis: int) -> Tensor:
    if len({i.dim() for i in inputs}) != 1:  # torch would let an empty vector pass beside anything
        raise ValueError(f"ranks {[i.dim() for i in inputs]} differ")
    return torch.cat(inputs, positive(axis, inputs[0].dim()))


def split(
    input: Tensor,
    split: Tensor | list[int] | None = None,
    axis: int = 0,
    num_outputs: int | None = None,
    n_outputs: int = 1,
    opset: int = 21,
) -> tuple[Tensor, ...]:
    axis = positive(axis, input.dim())
    size = input.shape[axis]
    sizes = as_list(split)
    if sizes is None:
        parts = num_outputs or n_outputs
        if opset < 18 and size % parts:
            raise ValueError(f"{size} elements do not make {parts} equal parts")
        chunk = -(-size // parts)
        sizes = [chunk] * (parts - 1) + [size - chunk * (parts - 1)]
    if len(sizes) != n_outputs:
        raise ValueError(f"{len(sizes)} parts for {n_outputs} outputs")
    return tuple(torch.split(input, sizes, axis))


def slice_(
    data: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    first, last = as_list(starts) or [], as_list(ends) or []
    along = as_list(axes) if axes is not None else list(range(len(first)))
    stride = as_list(steps) if steps is not None else [1] * len(first)
    for start, end, axis, step in zip(first, last, along or [], stride or [], strict=True):
        if step == 0:
            raise ValueError("a step of 0")
        axis = positive(axis, data.dim())
        n = data.shape[axis]
        start, end = start + n * (start < 0), end + n * (end < 0)
        # The standard's clamping: a negative step begins at the last element at most and ends before the first.
        low, high = (0, n) if step > 0 else (-1, n - 1)
        start, end = min(max(start, 0), high), min(max(end, low), high)
        data = data.index_select(
            axis, torch.tensor(range(start, end, step), dtype=torch.int64, device=data.device)
        )
    return data


def pad(
    data: Tensor,
    pads: Tensor,
    constant_value: Tensor | None = None,
    axes: Tensor | None = None,
    mode: str = "constant",
) -> Tensor:
    amounts = as_list(pads) or []
    along = as_list(axes) if axes is not None else list(range(data.dim()))
    assert along is not None
    if len(amounts) != 2 * len(along):
        raise ValueError(f"{len(amounts)} pads for {len(along)} axes")
    for i, axis in enumerate(along):
        data = _pad_axis(
            data, positive(axis, data.dim()), amounts[i], amounts[len(along) + i], mode, constant_value
        )
    return data


def _pad_axis(data: Tensor, axis: int, before: int, after: int, mode: str, fill: Tensor | None) -> Tensor:
    n = data.shape[axis]
    if mode == "constant":
        shape = list(data.shape)
        shape[axis] = before + n + after
        result = data.new_zeros(shape) if fill is None else fill.reshape(()).expand(shape).clone()
        kept = max(0, n + min(before, 0) + min(after, 0))
        inner = data.narrow(axis, max(-before, 0), kept) if kept else data.narrow(axis, 0, 0)
        result.narrow(axis, max(before, 0), kept).copy_(inner)
        return result
    at = torch.arange(-before, n + after, device=data.device)
    if mode == "edge":
        at = at.clamp(0, n - 1)
    elif mode == "wrap":
        at = at.remainder(n)
    elif mode == "reflect":
        period = max(2 * (n - 1), 1)
        at = at.remainder(period)
        at = torch.minimum(at, period - at) if n > 1 else at
    else:
        raise ValueError(f"no such mode: {mode}")
    return data.index_select(axis, at)


def center_crop_pad(input_data: Tensor, shape: Tensor, axes: list[int] | None = None) -> Tensor:
    sizes = as_list(shape) or []
    along = list(range(input_data.dim())) if axes is None else [positive(a, input_data.dim()) for a in axes]
    for axis, size in zip(along, sizes, strict=True):
        extra = size - input_data.shape[axis]
        # What is odd goes to the right when padding, and is taken from the right when cropping.
        before = extra // 2 if extra >= 0 else -(-extra // 2)
        input_data = _pad_axis(input_data, axis, before, extra - before, "constant", None)
    return input_data


def concats() -> Iterator[Sample]:
    def several(name: str, *shapes: Sequence[int], axis: int, **fields: Any) -> Sample:
        given: dict[str, Any] = {"dtypes": PAIR, **fields}
        return tagged(name, *(tensor(*s) for s in shapes), attributes={"axis": axis}, **given)

    yield several("axis-1", (2, 3, 4), (2, 5, 4), axis=1, dtypes=None)
    yield several("axis-0", (2, 3), (1, 3), axis=0)
    yield several("last-axis", (2, 3, 4), (2, 3, 1), axis=-1)
    yield several("first-axis-negative", (2, 3, 4), (3, 3, 4), axis=-3)
    yield several("one-input", (2, 3), axis=0)
    yield several("vectors", (3,), (1,), (5,), axis=0)
    yield several("nine-inputs", *[(2, n, 3) for n in range(1, 10)], axis=1)
    yield several("rank-6", (2, 1, 3, 1, 2, 2), (2, 1, 3, 4, 2, 2), axis=3)
    yield several("one-empty", (2, 0, 4), (2, 3, 4), axis=1, tags=EMPTY)
    yield several("all-empty", (0, 3), (0, 2), axis=1, tags=EMPTY)
    yield several("large", (64, 255, 7), (64, 257, 7), axis=1, dtypes=ONE, tags=LARGE)
    yield from special_moves((2, 36), tensor(2, 3), attributes={"axis": 1})
    constant = tensor(2, 3, constant=True)
    yield tagged("constant-operand", tensor(2, 5), constant, attributes={"axis": 1}, dtypes=PAIR)
    again = ((tensor(1, 5, 4), tensor(1, 2, 4)), (tensor(3, 1, 6), tensor(3, 7, 6)))
    dynamic: dict[str, Any] = {"again": again, "tags": DYNAMIC}
    yield several("dynamic", (2, 3, 4), (2, 3, 4), axis=1, **dynamic)
    yield several("opset-11", (2, 3), (2, 5), axis=-1, opset=11)
    yield several("mismatch", (2, 3), (3, 3), axis=1, dtypes=ONE, refuse="2 and 3 rows beside each other")
    yield several("rank-mismatch", (2, 3), (2,), axis=0, dtypes=ONE, refuse="ranks 2 and 1")
    yield several("axis-out-of-range", (2, 3), (2, 3), axis=2, dtypes=ONE, refuse="axis 2, rank 2")
    yield tagged("no-axis", tensor(2, 3), tensor(2, 3), dtypes=ONE, refuse="axis is required")
    mixed = (tensor(2, 3), tensor(2, 3, dtype="int64"))
    yield tagged("mixed-types", *mixed, attributes={"axis": 0}, dtypes=ONE, refuse="float32 beside int64")
    yield from refusals(1, wrong=None, most=0)


def splits() -> Iterator[Sample]:
    def parts(name: str, shape: Sequence[int], sizes: list[int], axis: int, **fields: Any) -> Sample:
        given: dict[str, Any] = {"dtypes": PAIR, **fields}
        return tagged(name, tensor(*shape), const(sizes), attributes={"axis": axis}, outputs=len(sizes), **given)

    def equal(name: str, shape: Sequence[int], count: int, axis: int, **fields: Any) -> Sample:
        given: dict[str, Any] = {"dtypes": PAIR, **fields}
        attributes: dict[str, Any] = {"axis": axis, "num_outputs": count}
        return tagged(name, tensor(*shape), attributes=attributes, outputs=count, **given)

    yield parts("sizes", (2, 9, 3), [2, 4, 3], 1, dtypes=None)
    yield parts("sizes-last-axis", (3, 7), [1, 6], -1)
    yield parts("sizes-axis-0", (6, 2), [3, 2, 1], 0)
    yield parts("sizes-with-zero", (5, 2), [0, 5], 0, tags=EMPTY)
    yield parts("one-part", (5, 2), [5], 0)
    yield parts("rank-6", (2, 1, 3, 4, 2, 2), [1, 3], 3)
    yield parts("empty", (0, 4), [1, 3], 1, tags=EMPTY)
    yield parts("large", (64, 513, 7), [171, 171, 171], 1, dtypes=ONE, tags=LARGE)
    yield tagged("default-axis", tensor(4, 3), const([1, 3]), outputs=2, dtypes=PAIR)
    yield equal("equal", (4, 6), 3, 1)
    yield equal("equal-vector", (6,), 2, 0)
    yield equal("last-smaller", (7, 2), 3, 0)
    yield equal("last-smaller-negative-axis", (2, 5), 2, -1)
    yield from special_moves((2, 40), const([18, 22]), attributes={"axis": 1}, outputs=2)
    sizes = const([2, 3])
    again = ((tensor(4, 5), sizes), (tensor(1, 5), sizes))
    yield parts("dynamic", (2, 5), [2, 3], 1, again=again, tags=DYNAMIC)
    attributes = {"axis": -1, "split": [2, 5]}
    yield tagged("sizes-attribute", tensor(3, 7), attributes=attributes, outputs=2, dtypes=PAIR, opset=11)
    yield tagged("equal-opset-11", tensor(3, 8), attributes={"axis": 1}, outputs=2, dtypes=PAIR, opset=11)
    yield tagged("equal-opset-13", tensor(6, 2), outputs=3, dtypes=PAIR, opset=13)
    yield parts("sizes-opset-13", (3, 7), [3, 4], 1, opset=13)
    yield parts("wrong-sum", (3, 7), [3, 3], 1, dtypes=ONE, refuse="3 + 3 is not 7")
    yield parts("negative-size", (3, 7), [8, -1], 1, dtypes=ONE, refuse="a size of -1")
    yield parts("axis-out-of-range", (3, 7), [3, 4], 2, dtypes=ONE, refuse="axis 2, rank 2")
    few = const([3, 4])
    yield tagged("outputs", tensor(7), few, outputs=3, dtypes=ONE, refuse="two sizes for three outputs")


def slices() -> Iterator[Sample]:
    def cut(*bounds: Sequence[int], dtype: str = "int64") -> tuple[TensorSpec, ...]:
        return tuple(const(b, dtype) for b in bounds)

    x = (5, 7)
    yield from moves(
        (
            ("both-axes", x, cut([1, 2], [4, 6], [0, 1]), {}),
            ("no-axes", x, cut([1, 2], [4, 6]), {}),
            ("one-axis", x, cut([2], [5], [1]), {}),
            ("negative-axis", x, cut([1], [3], [-1]), {}),
            ("negative-bounds", x, cut([-4, -3], [-1, -1], [0, 1]), {}),
            ("unsorted-axes", x, cut([2, 1], [6, 4], [1, 0]), {}),
            ("step-2", x, cut([0], [7], [1], [2]), {}),
            ("step-3-uneven", x, cut([1], [7], [1], [3]), {}),
            ("reverse", x, cut([-1], [MIN], [1], [-1]), {}),
            ("reverse-to-negative-end", x, cut([-1], [-4], [1], [-1]), {}),
            ("reverse-step-2", x, cut([5], [0], [1], [-2]), {}),
            ("reverse-to-before-first", x, cut([3], [-8], [1], [-1]), {}),
            ("mixed-steps", x, cut([4, 0], [0, 7], [0, 1], [-1, 2]), {}),
            ("to-the-end", x, cut([1], [MAX], [0]), {}),
            ("clamped-both", x, cut([-100], [100], [1]), {}),
            ("start-before-first-reverse", x, cut([-100], [-200], [1], [-1]), {}),
            ("clamped-reverse", x, cut([100], [-100], [1], [-1]), {}),
            ("step-larger-than-axis", x, cut([2], [7], [1], [100]), {}),
            ("int32-bounds", x, cut([1], [4], [0], [2], dtype="int32"), {}),
            ("vector", (9,), cut([2], [7]), {}),
            ("rank-6", (2, 3, 1, 4, 2, 3), cut([1, 0, -1], [3, 2, MIN], [3, 1, 5], [1, 1, -1]), {}),
            ("empty", (0, 3), cut([0], [2], [1]), {}),
        )
    )
    nothing: dict[str, Any] = {"dtypes": PAIR, "tags": EMPTY}
    yield tagged("nothing-between", tensor(*x), *cut([4], [2], [0]), **nothing)
    yield tagged("start-far-behind", tensor(*x), *cut([99], [100], [1]), **nothing)
    yield tagged("start-behind-the-end", tensor(*x), *cut([5], [9], [0]), **nothing)
    yield tagged("empty-reverse", tensor(2, 0), *cut([-1], [MIN], [1], [-1]), **nothing)
    run_time = tuple(literal(i, dtype="int64") for i in (1, 6, 1, 2))
    yield tagged("bounds-at-run-time", tensor(*x), *run_time, dtypes=(*PAIR, "bool", "string"))
    yield from special_moves((5, 9), *cut([8], [MIN], [1], [-1]))
    yield tagged("large", tensor(129, 1025), *cut([1, 1000], [128, 3], [0, 1], [1, -3]), dtypes=ONE, tags=LARGE)
    bounds = cut([1], [-1], [1])
    again = ((tensor(1, 5, 4), *bounds), (tensor(3, 9, 2), *bounds))
    yield tagged("dynamic", tensor(2, 4, 3), *bounds, dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), *cut([1], [4], [0], [2]), dtypes=PAIR, opset=11)
    yield tagged("step-0", tensor(*x), *cut([0], [4], [0], [0]), dtypes=ONE, refuse="a step of 0")
    yield tagged("axis-out-of-range", tensor(*x), *cut([0], [4], [2]), dtypes=ONE, refuse="axis 2, rank 2")
    yield tagged("lengths-differ", tensor(*x), *cut([0, 1], [4]), dtypes=ONE, refuse="two starts, one end")
    floats = cut([0.0], [4.0], dtype="float32")  # type: ignore[list-item]
    yield tagged("float-bounds", tensor(*x), *floats, dtypes=ONE, refuse="bounds are integers")
    yield from refusals(3, wrong=None, most=5)


def pads() -> Iterator[Sample]:
    x = (3, 4)

    def border(*amounts: int) -> tuple[TensorSpec]:
        return (const(list(amounts)),)

    def by(*modes: str) -> Iterator[tuple[str, tuple[int, ...], tuple[TensorSpec], dict[str, Any]]]:
        for mode in modes:
            given = {"mode": mode}
            yield mode, x, border(1, 2, 2, 3), given
            yield f"{mode}-one-side", (2, 3, 5), border(0, 0, 3, 0, 0, 0), given
            yield f"{mode}-rank-4", (1, 2, 4, 5), border(0, 0, 2, 1, 0, 0, 1, 3), given

    value = TensorSpec((), const(3).draw, None, constant=True)
    some_axes = (*border(1, 2), value, const([-1]))
    yield from moves(
        (
            ("constant", x, border(1, 0, 2, 3), {}),
            ("constant-value", x, (*border(0, 2, 1, 0), value), {}),
            ("constant-negative", x, (*border(-1, 2, 0, -1), value), {}),
            ("crop", x, border(-1, -1, -1, 0), {}),
            ("nothing", x, border(0, 0, 0, 0), {}),
            ("axes", x, some_axes, {}),
            ("axes-unsorted", (2, 3, 4), (*border(1, 0, 2, 1), None, const([2, 0])), {}),
            *by("reflect", "edge"),
            ("edge-far", (2, 3), border(0, 5, 0, 7), {"mode": "edge"}),
            ("edge-crop", (2, 6), border(0, -2, 0, 1), {"mode": "edge"}),
            ("vector", (5,), border(2, 3), {}),
            ("rank-6", (2, 1, 2, 1, 3, 2), border(0, 1, 0, 0, 1, 0, 1, 0, 0, 2, 0, 1), {}),
            ("empty", (0, 3), border(1, 0, 1, 2), {}),
            ("pads-at-run-time", x, (literal(1, 0, 0, 2, dtype="int64"),), {}),
        )
    )
    yield from only(moves(by("wrap")), dtypes=PAIR, since=19)
    # float8e8m0 has no zero to pad with.
    for sample in special_moves((5, 9), *border(0, 2, 1, 0)):
        kept = tuple(d for d in sample.dtypes or () if d != "float8e8m0")
        yield replace(sample, dtypes=kept) if sample.name == "narrow-types" else sample
    two = TensorSpec((), const(2).draw, None, constant=True)
    yield tagged("float8e8m0", tensor(3, 5), *border(0, 2, 1, 0), two, dtypes=("float8e8m0",))
    last = literal(-1, dtype="int32")
    yield tagged("axes-int32", tensor(*x), *border(1, 2), value, last, dtypes=PAIR, shape=(3, 7))
    text = TensorSpec((), const("pad").draw, None, constant=True)
    yield tagged("string-value", tensor(2, 3), *border(0, 1, 1, 0), text, dtypes=("string",))
    nan = TensorSpec((), const(NAN).draw, None, constant=True)
    yield tagged("constant-nan", tensor(*x), *border(0, 2, 1, 0), nan, dtypes=FLOATS, tags=SPECIAL)
    yield tagged(
        "large", tensor(65, 1025), *border(3, 5, 7, 1), attributes={"mode": "reflect"}, dtypes=ONE, tags=LARGE
    )
    again = ((tensor(5, 4), *border(1, 0, 2, 3)), (tensor(1, 9), *border(1, 0, 2, 3)))
    yield tagged("dynamic", tensor(2, 3), *border(1, 0, 2, 3), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), *border(1, 0, 2, 3), value, dtypes=PAIR, opset=11)
    yield tagged("opset-13", tensor(*x), *border(1, 1, 2, 3), attributes={"mode": "edge"}, dtypes=PAIR, opset=13)
    yield tagged("opset-18-axes", tensor(*x), *border(2, 1), None, const([1]), dtypes=PAIR, opset=18)
    wrapped = {"mode": "wrap"}
    yield tagged("opset-19-wrap", tensor(*x), *border(1, 2, 3, 5), attributes=wrapped, dtypes=PAIR, opset=19)
    yield tagged("wrong-length", tensor(*x), *border(1, 2, 3), dtypes=ONE, refuse="3 pads for rank 2")
    yield tagged(
        "no-such-mode", tensor(*x), *border(1, 0, 2, 3), attributes={"mode": "mirror"}, dtypes=ONE, refuse="mode"
    )
    yield tagged("float-pads", tensor(1), const([1.0, 2.0], "float32"), dtypes=ONE, refuse="pads are int64")
    yield from refusals(2, wrong=None, most=4)


def centres() -> Iterator[Sample]:
    x = (5, 8)
    yield from moves(
        (
            ("crop-and-pad", x, (const([2, 11]),), {}),
            ("crop", x, (const([3, 5]),), {}),
            ("crop-odd", x, (const([2, 3]),), {}),
            ("pad", x, (const([7, 12]),), {}),
            ("pad-odd", x, (const([8, 11]),), {}),
            ("same", x, (const([5, 8]),), {}),
            ("axes", (4, 7, 3), (const([3, 10]),), {"axes": [2, 1]}),
            ("negative-axes", (4, 7, 3), (const([10]),), {"axes": [-2]}),
            ("int32-shape", x, (const([3, 9], "int32"),), {}),
            ("rank-6", (2, 1, 3, 2, 1, 5), (const([4, 4]),), {"axes": [5, 3]}),
            ("empty", (0, 3), (const([2, 2]),), {}),
        )
    )
    # What a string of zero is, the standard does not say: strings are only cropped.
    for sample in special_moves((5, 9), const([4, 12])):
        kept = tuple(d for d in sample.dtypes or () if d != "string")
        yield replace(sample, dtypes=kept) if sample.name == "unusual-types" else sample
    yield tagged("crop-string", tensor(5, 9), const([4, 6]), dtypes=("string",))
    yield tagged("lengths-differ", tensor(*x), const([3]), dtypes=ONE, refuse="one size for two axes")


OPERATORS = (
    Operator("Concat", concat, COPIED, concats, strings=True),
    Operator("Split", split, COPIED, splits, strings=True),
    Operator("Slice", slice_, COPIED, slices, strings=True),
    Operator("Pad", pad, COPIED, pads, strings=True),
    Operator("CenterCropPad", center_crop_pad, COPIED, centres, strings=True),
)
