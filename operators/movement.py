"""Operators that give the same elements another shape or order, or repeat them; no element ever changes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from conformance.draws import choice
from conformance.dtypes import FLOATS, INTEGERS
from conformance.lazy import torch
from conformance.rules import Exact
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from .samples import (
    DYNAMIC,
    EMPTY,
    LARGE,
    NAN,
    SCALAR,
    SPECIAL,
    SPECIAL_VALUES,
    SUBNORMALS,
    UNUSUAL,
    extremes,
    literal,
    refusals,
    tagged,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["COPIED", "NARROW", "OPERATORS", "PAIR", "as_list", "moves", "positive", "special_moves"]

COPIED = Exact(signed_zero=True)  # a copy keeps the sign of zero; the payload of a NaN is nobody's business
PAIR = ("float32", "int64")
NARROW = (
    *("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "int4", "uint4"),
    *("float4e2m1", "float8e8m0", "int2", "uint2"),
)
ONE = ("float32",)


def as_list(items: Tensor | Sequence[int] | int | None) -> list[int] | None:
    """The whole numbers of what was an attribute (a list) in one version and is an input (a tensor) in another."""
    if items is None:
        return None
    if isinstance(items, int):
        return [items]
    flat = items.reshape(-1).tolist() if isinstance(items, torch.Tensor) else items
    return [int(i) for i in flat]


def positive(axis: int, rank: int) -> int:
    """The axis counted from the front. Raises ``ValueError`` where the tensor has no such axis."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


def special_moves(
    shape: Sequence[int], *rest: TensorSpec | None, attributes: dict[str, Any] | None = None, **fields: Any
) -> Iterator[Sample]:
    """Unusual values survive the move bit by bit: NaN, infinities, both zeros, subnormals, extreme integers."""
    unusual = tensor(*shape, draw=choice(*SPECIAL_VALUES, *SUBNORMALS, *(NAN, -0.0, 1e-40) * 3))
    given = {"attributes": attributes or {}, **fields}
    yield tagged("special", unusual, *rest, dtypes=FLOATS, tags=SPECIAL, **given)
    for dtype in INTEGERS:
        # Moved, not compared, in torch as well: so uint64 has what int64 has not.
        limits = tensor(*shape, draw=choice(*extremes(dtype), *((2**64 - 1,) if dtype == "uint64" else ())))
        yield tagged(f"extremes-{dtype}", limits, *rest, dtypes=(dtype,), tags=SPECIAL, **given)
    yield tagged("narrow-types", tensor(*shape), *rest, dtypes=NARROW, **given)
    yield tagged("unusual-types", tensor(*shape), *rest, dtypes=UNUSUAL, **given)


def moves(
    uses: Iterable[tuple[str, Sequence[int], Sequence[TensorSpec | None], dict[str, Any]]],
) -> Iterator[Sample]:
    """A sample for each (name, shape of the data, further inputs, attributes), the first in every dtype.

    Tags follow from the shape: "empty" for zero elements, "scalar" for rank 0.
    """
    for position, (name, shape, rest, attributes) in enumerate(uses):
        tags = (EMPTY if 0 in shape else frozenset()) | (SCALAR if not shape else frozenset())
        dtypes = PAIR if position else None
        yield tagged(name, tensor(*shape), *rest, attributes=attributes, dtypes=dtypes, tags=tags)


def reshape(data: Tensor, shape: Tensor, allowzero: int = 0) -> Tensor:
    sizes = as_list(shape) or []
    if allowzero and 0 in sizes and -1 in sizes:
        raise ValueError("allowzero with both 0 and -1 in shape")
    if not allowzero:
        sizes = [data.shape[i] if s == 0 else s for i, s in enumerate(sizes)]
    return data.reshape(sizes)


def flatten(input: Tensor, axis: int = 1) -> Tensor:
    if not -input.dim() <= axis <= input.dim():
        raise ValueError(f"axis {axis} of a tensor of rank {input.dim()}")
    at = axis if axis >= 0 else axis + input.dim()
    return input.reshape(math.prod(input.shape[:at]), math.prod(input.shape[at:]))


def squeeze(data: Tensor, axes: Tensor | list[int] | None = None) -> Tensor:
    given = as_list(axes)
    if given is None:
        return data.reshape([n for n in data.shape if n != 1])
    gone = {positive(a, data.dim()) for a in given}
    if any(data.shape[a] != 1 for a in gone):
        raise ValueError(f"axes {sorted(gone)} of shape {tuple(data.shape)} are not all of size 1")
    return data.reshape([n for a, n in enumerate(data.shape) if a not in gone])


def unsqueeze(data: Tensor, axes: Tensor | list[int]) -> Tensor:
    given = as_list(axes) or []
    rank = data.dim() + len(given)
    new = {positive(a, rank) for a in given}
    if len(new) != len(given):
        raise ValueError(f"axes {given} repeat one of the {rank} dimensions of the result")
    sizes = iter(data.shape)
    return data.reshape([1 if a in new else next(sizes) for a in range(rank)])


def transpose(data: Tensor, perm: list[int] | None = None) -> Tensor:
    return data.permute(perm if perm is not None else tuple(reversed(range(data.dim()))))


def expand(input: Tensor, shape: Tensor) -> Tensor:
    sizes: tuple[int, ...] = torch.broadcast_shapes(tuple(input.shape), tuple(as_list(shape) or []))  # type: ignore[no-untyped-call]
    return input.expand(sizes)


def tile(input: Tensor, repeats: Tensor) -> Tensor:
    counts = as_list(repeats) or []
    if len(counts) != input.dim():
        raise ValueError(f"{len(counts)} repeats for rank {input.dim()}")
    return input.repeat(counts)


def depth_to_space(input: Tensor, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = input.shape
    b = blocksize
    result = (n, c // (b * b), h * b, w * b)
    if mode == "DCR":
        return input.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2).reshape(result)
    return input.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(result)


def space_to_depth(input: Tensor, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = input.shape
    b = blocksize
    blocks = input.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return blocks.permute(order).reshape(n, c * b * b, h // b, w // b)


def reverse_sequence(input: Tensor, sequence_lens: Tensor, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    x = input.movedim((batch_axis, time_axis), (0, 1))
    time = torch.arange(x.shape[1], device=x.device)[None, :]
    lengths = sequence_lens.to(x.device)[:, None]
    source = torch.where(time < lengths, lengths - 1 - time, time)
    rows = torch.arange(x.shape[0], device=x.device)[:, None]
    return x[rows, source].movedim((0, 1), (batch_axis, time_axis))


def identities() -> Iterator[Sample]:
    yield from moves(
        (
            ("matrix", (3, 5), (), {}),
            ("scalar", (), (), {}),
            ("rank-6", (2, 1, 3, 2, 1, 5), (), {}),
            ("empty", (2, 0, 3), (), {}),
        )
    )
    yield from special_moves((4, 9))
    yield tagged("large", tensor(64, 4099), dtypes=ONE, tags=LARGE)
    sizes = ((tensor(1, 5, 2),), (tensor(4, 1, 9),))
    yield tagged("dynamic", tensor(2, 3, 4), dtypes=PAIR, again=sizes, tags=DYNAMIC)
    yield tagged("opset-11", tensor(3, 5), dtypes=PAIR, opset=11)
    yield from refusals(1, wrong=None)


def reshapes() -> Iterator[Sample]:
    x = (2, 3, 4)
    yield from moves(
        (
            ("merge", x, (const([6, 4]),), {}),
            ("to-vector", x, (const([-1]),), {}),
            ("infer-middle", x, (const([2, -1, 2]),), {}),
            ("keep-dimension", x, (const([0, -1]),), {}),
            ("keep-two-dimensions", x, (const([0, 0, 2, 2]),), {}),
            ("to-scalar", (1, 1), (const([]),), {}),
            ("from-scalar", (), (const([1, 1]),), {}),
            ("rank-6", (12, 10), (const([2, 3, 2, 1, 5, 2]),), {}),
            ("same", x, (const([2, 3, 4]),), {}),
            ("allowzero-without-zero", x, (const([4, 6]),), {"allowzero": 1}),
            ("allowzero", (0, 3, 4), (const([3, 4, 0]),), {"allowzero": 1}),
            ("empty-keep", (0, 3, 4), (const([0, 12]),), {}),
            ("empty-infer", (2, 0, 3), (const([2, -1]),), {}),
        )
    )
    yield tagged("shape-at-run-time", tensor(*x), literal(4, 6, dtype="int64"), shape=(4, 6), dtypes=PAIR)
    yield from special_moves((4, 9), const([6, 6]))
    yield tagged("large", tensor(64, 56, 57), const([56, -1]), dtypes=ONE, tags=LARGE)
    again = ((tensor(1, 5, 4), const([0, -1, 2])), (tensor(7, 3, 4), const([0, -1, 2])))
    yield tagged("dynamic", tensor(2, 3, 4), const([0, -1, 2]), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), const([0, -1]), dtypes=PAIR, opset=11)
    yield tagged("opset-13", tensor(*x), const([3, 8]), dtypes=(*PAIR, "bfloat16"), opset=13)
    honoured = {"allowzero": 1}
    yield tagged("opset-14", tensor(0, 3, 4), const([2, 0]), attributes=honoured, dtypes=PAIR, opset=14)
    yield tagged("wrong-count", tensor(*x), const([5, 5]), dtypes=ONE, refuse="24 elements do not fill 5 x 5")
    yield tagged("no-whole-rest", tensor(*x), const([5, -1]), dtypes=ONE, refuse="24 is no multiple of 5")
    yield tagged("two-unknown", tensor(*x), const([-1, -1]), dtypes=ONE, refuse="-1 twice")
    yield tagged(
        "zero-and-unknown",
        tensor(0, 3),
        const([0, -1]),
        attributes={"allowzero": 1},
        dtypes=ONE,
        refuse="allowzero with both 0 and -1",
    )
    yield tagged("float-shape", tensor(*x), const([6.0, 4.0], "float32"), dtypes=ONE, refuse="shape is int64")
    yield from refusals(2, wrong=None)


def flattens() -> Iterator[Sample]:
    x = (2, 3, 4, 5)
    yield from moves(
        (
            ("axis-default", x, (), {}),
            *((f"axis-{a}", x, (), {"axis": a}) for a in (0, 2, 3, 4)),
            *((f"axis-minus-{-a}", x, (), {"axis": a}) for a in (-1, -4)),
            ("vector", (7,), (), {}),
            ("scalar", (), (), {"axis": 0}),
            ("rank-6", (2, 1, 3, 2, 1, 5), (), {"axis": 3}),
            ("empty", (2, 0, 3), (), {"axis": 1}),
            ("empty-columns", (2, 3, 0), (), {"axis": 2}),
        )
    )
    yield from special_moves((2, 3, 6))
    again = ((tensor(1, 5, 4),), (tensor(7, 1, 9),))
    yield tagged("dynamic", tensor(2, 3, 4), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), attributes={"axis": -2}, dtypes=PAIR, opset=11)
    yield tagged("axis-out-of-range", tensor(2, 3), attributes={"axis": 3}, dtypes=ONE, refuse="axis 3, rank 2")
    yield from refusals(1, wrong=None)


def squeezes() -> Iterator[Sample]:
    x = (1, 3, 1, 5, 1)
    yield from moves(
        (
            ("two-axes", x, (const([0, 2]),), {}),
            ("all-ones", x, (), {}),
            ("negative-axis", x, (const([-1]),), {}),
            ("unsorted-axes", x, (const([-1, 0]),), {}),
            ("to-scalar", (1, 1), (const([0, 1]),), {}),
            ("all-to-scalar", (1, 1, 1), (), {}),
            ("nothing-to-do", (2, 3), (), {}),
            ("rank-6", (1, 2, 1, 3, 1, 2), (const([0, 4]),), {}),
            ("empty", (1, 0, 3), (const([0]),), {}),
        )
    )
    yield from special_moves((1, 4, 1, 9), const([0]))
    again = ((tensor(5, 1, 2), const([1])), (tensor(1, 1, 9), const([1])))
    yield tagged("dynamic", tensor(2, 1, 4), const([1]), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("axes-attribute", tensor(*x), attributes={"axes": [0, -1]}, dtypes=PAIR, opset=11)
    yield tagged("axes-attribute-absent", tensor(*x), dtypes=PAIR, opset=12)
    yield tagged("axes-input-opset-13", tensor(*x), const([2]), dtypes=PAIR, opset=13)
    yield tagged("not-one", tensor(2, 1), const([0]), dtypes=ONE, refuse="dimension 0 is 2")
    yield tagged("axis-out-of-range", tensor(1, 3), const([2]), dtypes=ONE, refuse="axis 2, rank 2")
    yield tagged("float-axes", tensor(1, 3), const([0.0], "float32"), dtypes=ONE, refuse="axes are int64")
    yield tagged(
        "axes-attribute-now", tensor(1, 3), attributes={"axes": [0]}, dtypes=ONE, refuse="no attribute axes"
    )
    yield from refusals(1, wrong=None, most=2)


def unsqueezes() -> Iterator[Sample]:
    x = (3, 4)
    yield from moves(
        (
            ("two-axes", x, (const([0, 3]),), {}),
            ("negative-axes", x, (const([-1, -3]),), {}),
            ("unsorted-axes", x, (const([2, 0]),), {}),
            ("middle", x, (const([1]),), {}),
            ("scalar", (), (const([0]),), {}),
            ("scalar-twice", (), (const([0, 1]),), {}),
            ("to-rank-6", (2, 3), (const([0, 2, 3, -1]),), {}),
            ("empty", (0, 3), (const([1]),), {}),
        )
    )
    yield from special_moves((4, 9), const([1]))
    again = ((tensor(5, 2), const([1])), (tensor(1, 9), const([1])))
    yield tagged("dynamic", tensor(2, 4), const([1]), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("axes-attribute", tensor(*x), attributes={"axes": [0, -1]}, dtypes=PAIR, opset=11)
    yield tagged("axes-input-opset-13", tensor(*x), const([2]), dtypes=PAIR, opset=13)
    yield tagged("repeated-axis", tensor(*x), const([1, 1]), dtypes=ONE, refuse="axis 1 twice")
    yield tagged("axis-out-of-range", tensor(*x), const([3]), dtypes=ONE, refuse="axis 3, rank 3 of the result")
    yield from refusals(2, wrong=None)


def transposes() -> Iterator[Sample]:
    x = (2, 3, 4)
    yield from moves(
        (
            ("reverse", x, (), {}),
            *((f"perm-{''.join(map(str, p))}", x, (), {"perm": p}) for p in ([0, 2, 1], [1, 0, 2], [2, 0, 1])),
            ("identity", x, (), {"perm": [0, 1, 2]}),
            ("matrix", (17, 33), (), {}),
            ("vector", (7,), (), {}),
            ("scalar", (), (), {}),
            ("ones", (1, 1, 1), (), {"perm": [2, 0, 1]}),
            ("nchw-to-nhwc", (2, 3, 5, 7), (), {"perm": [0, 2, 3, 1]}),
            ("nhwc-to-nchw", (2, 5, 7, 3), (), {"perm": [0, 3, 1, 2]}),
            ("heads", (2, 5, 4, 8), (), {"perm": [0, 2, 1, 3]}),
            ("rank-6", (2, 1, 3, 2, 1, 5), (), {"perm": [5, 2, 0, 3, 1, 4]}),
            ("empty", (2, 0, 3), (), {"perm": [1, 2, 0]}),
        )
    )
    yield from special_moves((4, 9))
    yield tagged("large", tensor(31, 129, 67), attributes={"perm": [2, 1, 0]}, dtypes=ONE, tags=LARGE)
    again = ((tensor(5, 1, 2),), (tensor(1, 7, 9),))
    perm = {"perm": [1, 2, 0]}
    yield tagged("dynamic", tensor(2, 3, 4), attributes=perm, dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), attributes=perm, dtypes=PAIR, opset=11)
    yield tagged("perm-repeats", tensor(*x), attributes={"perm": [0, 0, 1]}, dtypes=ONE, refuse="axis 0 twice")
    yield tagged("perm-too-short", tensor(*x), attributes={"perm": [1, 0]}, dtypes=ONE, refuse="2 axes for rank 3")
    yield tagged("perm-out-of-range", tensor(*x), attributes={"perm": [0, 1, 3]}, dtypes=ONE, refuse="no axis 3")
    yield from refusals(1, wrong=None)


def expands() -> Iterator[Sample]:
    yield from moves(
        (
            ("one-axis", (3, 1), (const([3, 4]),), {}),
            ("more-dimensions", (3, 1), (const([2, 3, 4]),), {}),
            ("keeps-larger-input", (3, 4), (const([1, 4]),), {}),
            ("shape-of-lower-rank", (2, 3, 1), (const([5]),), {}),
            ("both-ways", (3, 1, 5), (const([4, 1]),), {}),
            ("scalar", (), (const([2, 3]),), {}),
            ("empty-shape", (2, 3), (const([]),), {}),
            ("rank-6", (1, 3, 1), (const([2, 1, 2, 5, 3, 4]),), {}),
            ("to-empty", (3, 1), (const([3, 0]),), {}),
            ("empty", (0, 1), (const([0, 4]),), {}),
        )
    )
    yield from special_moves((4, 1, 9), const([4, 2, 9]))
    yield tagged("large", tensor(1, 511), const([513, 511]), dtypes=ONE, tags=LARGE)
    again = ((tensor(5, 1, 4), const([1, 6, 1])), (tensor(1, 1, 9), const([1, 6, 1])))
    yield tagged("dynamic", tensor(2, 1, 3), const([1, 6, 1]), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(3, 1), const([3, 4]), dtypes=PAIR, opset=11)
    yield tagged("mismatch", tensor(3, 2), const([3, 4]), dtypes=ONE, refuse="2 does not broadcast to 4")
    yield tagged(
        "float-shape", tensor(3, 1), const([3.0, 4.0], "float32"), dtypes=ONE, refuse="shape must be int64"
    )
    yield from refusals(2, wrong=None)


def tiles() -> Iterator[Sample]:
    x = (2, 3)
    yield from moves(
        (
            ("both-axes", x, (const([2, 3]),), {}),
            ("one-axis", x, (const([1, 4]),), {}),
            ("once", x, (const([1, 1]),), {}),
            ("vector", (5,), (const([3]),), {}),
            ("rank-6", (2, 1, 3, 1, 2, 2), (const([1, 2, 1, 3, 1, 2]),), {}),
            ("zero-times", x, (const([0, 2]),), {}),
            ("empty", (0, 3), (const([2, 2]),), {}),
        )
    )
    yield from special_moves((4, 9), const([2, 1]))
    yield tagged("large", tensor(67, 129), const([5, 7]), dtypes=ONE, tags=LARGE)
    again = ((tensor(5, 1), const([2, 3])), (tensor(1, 7), const([2, 3])))
    yield tagged("dynamic", tensor(2, 4), const([2, 3]), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), const([2, 2]), dtypes=PAIR, opset=11)
    yield tagged("repeats-too-short", tensor(*x), const([2]), dtypes=ONE, refuse="1 repeat for rank 2")
    yield from refusals(2, wrong=None)


def depths() -> Iterator[Sample]:
    x = (2, 8, 3, 5)
    two = {"blocksize": 2}
    yield from moves(
        (
            ("dcr", x, (), {**two, "mode": "DCR"}),
            ("default", x, (), two),
            ("crd", x, (), {**two, "mode": "CRD"}),
            ("block-3", (1, 18, 2, 3), (), {"blocksize": 3}),
            ("block-3-crd", (1, 18, 2, 3), (), {"blocksize": 3, "mode": "CRD"}),
            ("block-1", (1, 3, 2, 2), (), {"blocksize": 1}),
            ("one-pixel", (1, 4, 1, 1), (), two),
            ("empty", (0, 4, 2, 2), (), two),
        )
    )
    yield from special_moves((1, 4, 3, 4), attributes=two)
    yield tagged("large", tensor(1, 64, 33, 31), attributes={**two, "mode": "CRD"}, dtypes=ONE, tags=LARGE)
    again = ((tensor(1, 4, 5, 2),), (tensor(3, 4, 1, 7),))
    yield tagged("dynamic", tensor(2, 4, 3, 3), attributes=two, dtypes=PAIR, again=again, tags=DYNAMIC)
    crd = {**two, "mode": "CRD"}
    yield tagged("opset-11", tensor(*x), attributes=crd, dtypes=PAIR, opset=11)
    yield tagged("channels", tensor(1, 6, 2, 2), attributes=two, dtypes=ONE, refuse="6 is no multiple of 4")
    yield tagged("no-blocksize", tensor(*x), dtypes=ONE, refuse="blocksize is required")


def spaces() -> Iterator[Sample]:
    x = (2, 3, 4, 6)
    two = {"blocksize": 2}
    yield from moves(
        (
            ("default", x, (), two),
            ("block-3", (1, 2, 6, 9), (), {"blocksize": 3}),
            ("block-1", (1, 3, 2, 2), (), {"blocksize": 1}),
            ("one-block", (1, 3, 2, 2), (), two),
            ("empty", (0, 4, 2, 2), (), two),
        )
    )
    yield from special_moves((1, 2, 6, 4), attributes=two)
    yield tagged("large", tensor(1, 16, 62, 66), attributes=two, dtypes=ONE, tags=LARGE)
    again = ((tensor(1, 3, 6, 2),), (tensor(4, 3, 2, 8),))
    yield tagged("dynamic", tensor(2, 3, 4, 4), attributes=two, dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), attributes=two, dtypes=PAIR, opset=11)
    column = {"blocksize": 2, "mode": "CRD"}
    yield tagged("column-row-depth", tensor(*x), attributes=column, dtypes=PAIR, opset=28)
    yield tagged("odd-height", tensor(1, 3, 5, 4), attributes=two, dtypes=ONE, refuse="5 is no multiple of 2")


def reversals() -> Iterator[Sample]:
    batch_first = {"batch_axis": 0, "time_axis": 1}
    yield from moves(
        (
            ("time-first", (4, 3), (const([4, 2, 1]),), {}),
            ("batch-first", (3, 4), (const([1, 3, 4]),), batch_first),
            ("more-dimensions", (5, 3, 2, 2), (const([5, 3, 1]),), {}),
            ("batch-first-more-dimensions", (3, 5, 2), (const([2, 5, 4]),), batch_first),
            ("one-step", (1, 3), (const([1, 1, 1]),), {}),
            ("lengths-at-run-time", (4, 2), (TensorSpec((2,), const([3, 4]).draw, "int64"),), {}),
            ("rank-6", (3, 2, 2, 1, 2, 3), (const([2, 3]),), {}),
        )
    )
    yield tagged("zero-length", tensor(4, 3), const([0, 2, 4]), dtypes=PAIR, tags=EMPTY)
    yield from special_moves((6, 4), const([6, 3, 1, 5]))
    yield tagged("too-many-lengths", tensor(4, 3), const([4, 2, 1, 1]), dtypes=ONE, refuse="4 lengths for 3 rows")
    yield from refusals(2, wrong=None)


OPERATORS = (
    Operator("Identity", lambda input: input, COPIED, identities, strings=True),
    Operator("Reshape", reshape, COPIED, reshapes, strings=True),
    Operator("Flatten", flatten, COPIED, flattens, strings=True),
    Operator("Squeeze", squeeze, COPIED, squeezes, strings=True),
    Operator("Unsqueeze", unsqueeze, COPIED, unsqueezes, strings=True),
    Operator("Transpose", transpose, COPIED, transposes, strings=True),
    Operator("Expand", expand, COPIED, expands, strings=True),
    Operator("Tile", tile, COPIED, tiles, strings=True),
    Operator("DepthToSpace", depth_to_space, COPIED, depths, strings=True),
    Operator("SpaceToDepth", space_to_depth, COPIED, spaces, strings=True),
    Operator("ReverseSequence", reverse_sequence, COPIED, reversals, strings=True),
)
