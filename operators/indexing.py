"""Operators that read or write elements at positions given by an index tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conformance.draws import anything, choice, integers, subnormal
from conformance.dtypes import BOOL, FLOATS, INTEGERS
from conformance.lazy import torch
from conformance.rules import Accumulation
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from .movement import COPIED, NARROW, PAIR, moves, positive, special_moves
from .samples import DYNAMIC, EMPTY, INF, LARGE, NAN, SPECIAL, UNUSUAL, literal, pairwise, refusals, tagged

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]

ONE = ("float32",)


def index(*items: int, shape: tuple[int, ...] | None = None, dtype: str = "int64") -> TensorSpec:
    """A literal index tensor, an input at run time."""
    return literal(*items, shape=shape, dtype=dtype)


def random_index(*shape: int, n: int, low: int | None = None, dtype: str = "int64") -> TensorSpec:
    """Positions along an axis of size n, counted from the front or from the back."""
    return tensor(*shape, draw=integers(-n if low is None else low, n - 1), dtype=dtype)


def wrapped(indices: Tensor, n: int) -> Tensor:
    """Positions counted from the front, as int64. Raises ``IndexError`` where one is outside [-n, n-1]."""
    indices = indices.long()
    if indices.numel() and not bool(((indices >= -n) & (indices < n)).all()):
        raise IndexError(f"an index outside [-{n}, {n - 1}]")
    return torch.where(indices < 0, indices + n, indices)


def gather(data: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    axis = positive(axis, data.dim())
    at = wrapped(indices, data.shape[axis])
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    return data.index_select(axis, at.reshape(-1)).reshape(shape)


def gather_elements(data: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    axis = positive(axis, data.dim())
    if indices.dim() != data.dim():
        raise ValueError(f"indices of rank {indices.dim()} for data of rank {data.dim()}")
    return data.gather(axis, wrapped(indices, data.shape[axis]))


def _flat(indices: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Row-major positions in a tensor of these sizes from tuples along the last axis."""
    at = indices.new_zeros(indices.shape[:-1], dtype=torch.int64)
    for i, n in enumerate(sizes):
        at = at * n + wrapped(indices[..., i], n)
    return at


def gather_nd(data: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    b, k = batch_dims, indices.shape[-1]
    if b >= min(data.dim(), indices.dim()) or k > data.dim() - b or data.shape[:b] != indices.shape[:b]:
        raise ValueError(f"indices {tuple(indices.shape)} do not fit data {tuple(data.shape)} at batch_dims {b}")
    batches = math.prod(data.shape[:b])
    rest = data.shape[b + k :]
    at = _flat(indices, tuple(data.shape[b : b + k]))
    rows = data.reshape(batches, math.prod(data.shape[b : b + k]), *rest)
    batch = torch.arange(batches, device=data.device).reshape((*data.shape[:b], *(1,) * (at.dim() - b)))
    return rows[batch.expand(at.shape), at].reshape((*at.shape, *rest))


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scattered(data: Tensor, axis: int, at: Tensor, updates: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return data.scatter(axis, at, updates)
    return data.scatter_reduce(axis, at, updates, _REDUCTIONS[reduction], include_self=True)


def scatter_elements(
    data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, reduction: str = "none"
) -> Tensor:
    axis = positive(axis, data.dim())
    if indices.shape != updates.shape or indices.dim() != data.dim():
        raise ValueError(
            f"indices {tuple(indices.shape)}, updates {tuple(updates.shape)}, data {tuple(data.shape)}"
        )
    return _scattered(data, axis, wrapped(indices, data.shape[axis]), updates, reduction)


def scatter_nd(data: Tensor, indices: Tensor, updates: Tensor, reduction: str = "none") -> Tensor:
    k = indices.shape[-1]
    if updates.shape != (*indices.shape[:-1], *data.shape[k:]):
        raise ValueError(f"updates {tuple(updates.shape)} for indices {tuple(indices.shape)}")
    at = _flat(indices, tuple(data.shape[:k])).reshape(-1, 1)
    inner = math.prod(data.shape[k:])
    rows = data.reshape(math.prod(data.shape[:k]), inner)
    changed = _scattered(rows, 0, at.expand(-1, inner), updates.reshape(-1, inner), reduction)
    return changed.reshape(data.shape)


def tensor_scatter(
    past_cache: Tensor,
    update: Tensor,
    write_indices: Tensor | None = None,
    axis: int = -2,
    mode: str = "linear",
) -> Tensor:
    axis = positive(axis, past_cache.dim())
    size, length = past_cache.shape[axis], update.shape[axis]
    first = past_cache.new_zeros(update.shape[0], dtype=torch.int64) if write_indices is None else write_indices
    at = first[:, None] + torch.arange(length, device=past_cache.device)
    if mode == "circular":
        at = at % size
    shape = [1] * past_cache.dim()
    shape[0], shape[axis] = at.shape
    return past_cache.scatter(axis, at.reshape(shape).expand(update.shape), update)


def one_hot(indices: Tensor, depth: Tensor, values: Tensor, axis: int = -1) -> Tensor:
    n = int(depth.reshape(()).item())
    axis = positive(axis, indices.dim() + 1)
    at = indices.long()
    at = torch.where(at < 0, at + n, at).unsqueeze(axis)
    shape = [1] * (indices.dim() + 1)
    shape[axis] = n
    return torch.where(at == torch.arange(n, device=at.device).reshape(shape), values[1], values[0])


def gathers() -> Iterator[Sample]:
    x = (5, 4, 3)
    yield from moves(
        (
            ("matrix-of-rows", x, (index(0, 4, -1, -5, 2, 2, shape=(2, 3)),), {}),
            ("axis-1", x, (index(3, 0, -4),), {"axis": 1}),
            ("axis-negative", x, (index(2, -3),), {"axis": -1}),
            ("scalar-index", x, (index(2, shape=()),), {"axis": 1}),
            ("scalar-index-negative", x, (index(-1, shape=()),), {}),
            ("int32", x, (index(1, -2, 0, dtype="int32"),), {}),
            ("vector", (7,), (index(6, 0, 3),), {}),
            ("scalar-from-vector", (7,), (index(3, shape=()),), {}),
            ("rank-6", (2, 1, 3, 2, 2, 2), (index(0, 2, -1),), {"axis": 2}),
            ("rank-3-indices", (3, 2), (random_index(2, 3, 2, n=3),), {}),
            ("embedding", (50, 16), (random_index(2, 9, n=50, low=0),), {}),
            ("empty-data", (0, 3), (index(0, 2),), {"axis": 1}),
        )
    )
    constant = TensorSpec((3,), index(2, 0, -1).draw, "int64", constant=True)
    yield tagged("constant-indices", tensor(*x), constant, dtypes=PAIR)
    table = tensor(50, 16, constant=True)
    yield tagged("constant-data", table, random_index(2, 9, n=50, low=0), dtypes=ONE)
    yield tagged("empty", tensor(*x), index(shape=(0,)), dtypes=PAIR, tags=EMPTY)
    yield from special_moves((4, 9), index(3, 0, 1))
    yield tagged("large", tensor(997, 129), random_index(33, 31, n=997), dtypes=ONE, tags=LARGE)
    again = ((tensor(3, 2), random_index(4, n=3)), (tensor(9, 5), random_index(1, n=9)))
    yield tagged("dynamic", tensor(5, 3), random_index(2, n=5), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), index(1, -1), dtypes=PAIR, opset=11)
    yield tagged("float-indices", tensor(*x), tensor(2), dtypes=ONE, refuse="indices are int32 or int64")
    yield tagged(
        "axis-out-of-range", tensor(*x), index(1), attributes={"axis": 3}, dtypes=ONE, refuse="axis 3, rank 3"
    )
    yield tagged("index-out-of-range", tensor(*x), index(5), dtypes=ONE, refuse="index 5 of 5")
    yield tagged("index-too-negative", tensor(*x), index(-6), dtypes=ONE, refuse="index -6 of 5")
    yield tagged("constant-out-of-range", tensor(*x), const([0, 5]), dtypes=ONE, refuse="index 5 of 5")
    yield from refusals(2, wrong=None)


def gathers_of_elements() -> Iterator[Sample]:
    x = (4, 5)
    yield from moves(
        (
            ("axis-0", x, (random_index(3, 5, n=4),), {}),
            ("axis-1", x, (random_index(4, 7, n=5),), {"axis": 1}),
            ("axis-negative", (2, 3, 4), (random_index(2, 3, 6, n=4),), {"axis": -1}),
            ("smaller-indices", x, (random_index(2, 3, n=4),), {}),
            ("both-ends", x, (index(0, 4, -1, -5, shape=(4, 1)),), {"axis": 1}),
            ("int32", x, (random_index(2, 5, n=4, dtype="int32"),), {}),
            ("vector", (7,), (random_index(9, n=7),), {}),
            ("rank-6", (2, 1, 3, 2, 2, 2), (random_index(2, 1, 4, 2, 2, 2, n=3),), {"axis": 2}),
        )
    )
    yield tagged("empty", tensor(*x), index(shape=(0, 5)), dtypes=PAIR, tags=EMPTY)
    yield from special_moves((4, 9), random_index(4, 9, n=4))
    yield tagged("large", tensor(257, 511), random_index(129, 511, n=257), dtypes=ONE, tags=LARGE)
    again = ((tensor(3, 2), random_index(4, 2, n=3)), (tensor(9, 5), random_index(1, 5, n=9)))
    yield tagged("dynamic", tensor(5, 3), random_index(2, 3, n=5), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), random_index(3, 5, n=4), dtypes=PAIR, opset=11)
    yield tagged("rank-mismatch", tensor(*x), index(1), dtypes=ONE, refuse="indices of rank 1, data of rank 2")
    yield tagged("index-out-of-range", tensor(4), index(4), dtypes=ONE, refuse="index 4 of 4")
    yield tagged("index-too-negative", tensor(4), index(0, -5), dtypes=ONE, refuse="index -5 of 4")
    yield tagged("constant-out-of-range", tensor(4), const([0, 4]), dtypes=ONE, refuse="index 4 of 4")
    beyond = {"axis": 2}
    yield tagged(
        "axis-out-of-range", tensor(*x), random_index(3, 5, n=4), attributes=beyond, dtypes=ONE, refuse="axis 2"
    )
    yield from refusals(2, wrong=None)


def gathers_nd() -> Iterator[Sample]:
    x = (3, 4, 5)
    batched = {"batch_dims": 1}
    pairs = index(0, 0, 2, 3, -1, -4, shape=(3, 2))
    yield from moves(
        (
            ("slices", x, (pairs,), {}),
            ("elements", x, (index(0, 3, 4, -3, -1, -5, shape=(2, 3)),), {}),
            ("rows", x, (index(2, -1, 0, shape=(3, 1)),), {}),
            ("matrix-of-tuples", x, (random_index(2, 3, 2, n=3),), {}),
            ("one-tuple", x, (index(1, -1),), {}),
            ("batch", x, (random_index(3, 2, n=4),), batched),
            ("batch-matrix", x, (random_index(3, 6, 1, n=4),), batched),
            ("batch-2", (2, 3, 4), (random_index(2, 3, 1, n=4),), {"batch_dims": 2}),
            ("rank-6", (2, 1, 3, 2, 2, 2), (index(1, 0, 2, -1, -1, 0, shape=(2, 3)),), {}),
            ("vector", (7,), (index(6, -7, shape=(2, 1)),), {}),
        )
    )
    yield tagged("empty", tensor(*x), index(shape=(0, 2)), dtypes=PAIR, tags=EMPTY)
    yield from special_moves((4, 9), index(3, 0, -1, 1, shape=(4, 1)))
    yield tagged("large", tensor(33, 65, 129), random_index(17, 31, 2, n=33), dtypes=ONE, tags=LARGE)
    again = ((tensor(3, 4), random_index(4, 1, n=3)), (tensor(9, 5), random_index(1, 1, n=9)))
    yield tagged("dynamic", tensor(5, 3), random_index(2, 1, n=5), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), pairs, dtypes=PAIR, opset=11)
    yield tagged("opset-12", tensor(*x), random_index(3, 2, n=4), attributes=batched, dtypes=PAIR, opset=12)
    yield tagged("tuple-too-long", tensor(3, 4), index(0, 0, 0), dtypes=ONE, refuse="3 indices, rank 2")
    yield tagged("index-out-of-range", tensor(3, 4), index(3), dtypes=ONE, refuse="index 3 of 3")
    yield tagged("index-too-negative", tensor(3, 4), index(0, -5), dtypes=ONE, refuse="index -5 of 4")
    # It would be inside the data as a flat index.
    yield tagged("second-out-of-range", tensor(3, 4), index(0, 4), dtypes=ONE, refuse="index 4 of 4")
    yield tagged("constant-out-of-range", tensor(3, 4), const([3]), dtypes=ONE, refuse="index 3 of 3")
    int32 = index(0, 0, dtype="int32")
    yield tagged("int32-indices", tensor(3, 4), int32, dtypes=ONE, refuse="indices are int64")


SMALL = integers(-3, 3)
POWERS = choice(1, 2, -1, -2)
_NUMBERS = (*FLOATS, *INTEGERS)


def _reductions(
    data: tuple[int, ...], indices: TensorSpec, updates: tuple[int, ...], **axis: int
) -> Iterator[Sample]:
    """Several updates meet in one place; small whole numbers make every order of evaluation exact."""
    for reduction, draw, opset in (
        ("add", SMALL, 16),
        ("mul", POWERS, 16),
        ("max", SMALL, 18),
        ("min", SMALL, 18),
    ):
        x, u = tensor(*data, draw=draw), tensor(*updates, draw=draw)
        attributes = {"reduction": reduction, **axis}
        dtypes = None if reduction == "add" else (*PAIR, "float16")
        given: dict[str, Any] = {"attributes": attributes, "exact": True}
        yield tagged(
            f"{reduction}-duplicates",
            x,
            indices,
            u,
            dtypes=_NUMBERS if dtypes is None else dtypes,
            since=opset,
            **given,
        )
        yield tagged(f"{reduction}-opset-{opset}", x, indices, u, dtypes=PAIR, opset=opset, **given)


def scatters_of_elements() -> Iterator[Sample]:
    x = (4, 5)
    columns = index(1, 3, -5, -1, 0, 2, 2, 4, shape=(4, 2))
    uses: tuple[tuple[str, tuple[int, ...], TensorSpec, tuple[int, ...], dict[str, Any]], ...] = (
        ("axis-1", x, columns, (4, 2), {"axis": 1}),
        ("axis-0", x, index(2, 0, -1, shape=(1, 3)), (1, 3), {}),
        ("axis-negative", (2, 3, 4), index(0, -1, 2, shape=(1, 3, 1)), (1, 3, 1), {"axis": -1}),
        ("int32", x, index(2, 0, -1, shape=(1, 3), dtype="int32"), (1, 3), {}),
        ("vector", (7,), index(6, -7, 3), (3,), {}),
        ("rank-6", (2, 1, 3, 1, 2, 2), index(2, 0, shape=(1, 1, 2, 1, 1, 1)), (1, 1, 2, 1, 1, 1), {"axis": 2}),
    )
    for position, (name, data, indices, updates, attributes) in enumerate(uses):
        inputs = (tensor(*data), indices, tensor(*updates))
        dtypes = PAIR if position else None
        yield tagged(name, *inputs, attributes=attributes, dtypes=dtypes, exact=True)
    nothing = (tensor(*x), index(shape=(0, 5)), tensor(0, 5))
    yield tagged("empty", *nothing, dtypes=PAIR, tags=EMPTY, exact=True)
    yield from special_moves(
        (4, 9), index(*range(9), shape=(1, 9)), tensor(1, 9), attributes={"axis": 1}, exact=True
    )
    yield from _reductions(x, index(1, 3, 1, 1, -1, 4, 0, 0, 0, 2, -3, 2, shape=(4, 3)), (4, 3), axis=1)
    # One update for each place: nothing depends on their order.
    apart = (tensor(*x), index(1, 3, -4, 0, 0, 2, shape=(2, 3)), tensor(2, 3))
    for sample in pairwise(
        Sample("pairs", apart, exact=True),
        {"reduction": (None, "mul", "max", "min"), "axis": (None, -1)},
        valid=lambda row: row["reduction"] is not None or row["axis"] is not None,
    ):
        yield replace(sample, since=18 if sample.attributes.get("reduction") in ("max", "min") else 0)
    once = (tensor(4, 5), columns, tensor(4, 2))
    yield tagged("add-once", *once, attributes={"axis": 1, "reduction": "add"}, dtypes=FLOATS)
    many = (tensor(129, 257), random_index(513, 257, n=129), tensor(513, 257))
    yield tagged("large-add", *many, attributes={"reduction": "add"}, dtypes=ONE, tags=LARGE)
    again = (
        (tensor(3, 5), index(0, -1, shape=(1, 2)), tensor(1, 2)),
        (tensor(9, 2), index(0, 1, 2, -1, 4, 3, shape=(3, 2)), tensor(3, 2)),
    )
    first = (tensor(4, 5), index(0, 1, -1, shape=(1, 3)), tensor(1, 3))
    yield tagged("dynamic", *first, dtypes=PAIR, again=again, tags=DYNAMIC, exact=True)
    yield tagged("opset-11", *once, attributes={"axis": 1}, dtypes=PAIR, opset=11, exact=True)
    short = (tensor(4, 5), columns, tensor(4, 3))
    yield tagged("updates-shape", *short, attributes={"axis": 1}, dtypes=ONE, refuse="updates unlike indices")
    yield tagged("index-out-of-range", tensor(4), index(4), tensor(1), dtypes=ONE, refuse="index 4 of 4")
    yield tagged("index-too-negative", tensor(4), index(-5), tensor(1), dtypes=ONE, refuse="index -5 of 4")
    yield tagged("constant-out-of-range", tensor(4), const([4]), tensor(1), dtypes=ONE, refuse="index 4 of 4")
    yield tagged("axis-out-of-range", *once, attributes={"axis": 2}, dtypes=ONE, refuse="axis 2 of rank 2")
    odd = {"reduction": "mean"}
    yield tagged(
        "no-such-reduction", tensor(4), index(1), tensor(1), attributes=odd, dtypes=ONE, refuse="reduction"
    )


def first_scatters() -> Iterator[Sample]:
    """Scatter, as versions 9 and 10 of ONNX have it: no negative indices, no reduction."""
    x, columns = (4, 5), index(1, 3, 0, 4, 0, 2, 2, 4, shape=(4, 2))
    uses: tuple[tuple[str, tuple[int, ...], TensorSpec, dict[str, Any]], ...] = (
        ("axis-1", x, columns, {"axis": 1}),
        ("axis-0", x, index(2, 0, 3, shape=(1, 3)), {}),
        ("axis-2", (2, 3, 4), index(0, 3, 2, shape=(1, 3, 1)), {"axis": 2}),
        ("int32", x, index(2, 0, 3, shape=(1, 3), dtype="int32"), {}),
        ("vector", (7,), index(6, 0, 3), {}),
    )
    for name, data, indices, attributes in uses:
        inputs = (tensor(*data), indices, tensor(*indices.shape))
        dtypes = (*_NUMBERS, *BOOL, *UNUSUAL) if name == "axis-1" else PAIR
        yield tagged(name, *inputs, attributes=attributes, dtypes=dtypes, opset=10, exact=True)
    nothing = (tensor(*x), index(shape=(0, 5)), tensor(0, 5))
    yield tagged("empty", *nothing, dtypes=PAIR, tags=EMPTY, opset=10, exact=True)
    unusual = (tensor(*x, draw=anything()), columns, tensor(4, 2, draw=anything()))
    special: dict[str, Any] = {"dtypes": _NUMBERS, "opset": 10, "tags": SPECIAL}
    yield tagged("special", *unusual, attributes={"axis": 1}, **special)
    once = (tensor(*x), columns, tensor(4, 2))
    yield tagged("opset-9", *once, attributes={"axis": 1}, dtypes=PAIR, opset=9, exact=True)
    short = (tensor(4, 5), columns, tensor(4, 3))
    refused: dict[str, Any] = {"dtypes": ONE, "opset": 10}
    yield tagged("updates-shape", *short, attributes={"axis": 1}, refuse="updates unlike indices", **refused)
    yield tagged("index-out-of-range", tensor(4), index(4), tensor(1), refuse="index 4 of 4", **refused)


def scatters_nd() -> Iterator[Sample]:
    x = (4, 5, 3)
    pairs = index(0, 4, 3, 0, -2, -5, shape=(3, 2))
    uses: tuple[tuple[str, tuple[int, ...], TensorSpec, tuple[int, ...]], ...] = (
        ("slices", x, pairs, (3, 3)),
        ("rows", x, index(3, 0, shape=(2, 1)), (2, 5, 3)),
        ("elements", x, index(0, 0, 0, 3, 4, 2, -2, -1, -1, shape=(3, 3)), (3,)),
        ("matrix-of-tuples", (6, 4), index(0, -1, 3, 2, shape=(2, 2, 1)), (2, 2, 4)),
        ("one-tuple", x, index(1, -1), (3,)),
        ("vector", (7,), index(6, -7, shape=(2, 1)), (2,)),
        ("rank-6", (2, 1, 3, 1, 2, 2), index(1, 0, 2, 0, 0, -2, shape=(2, 3)), (2, 1, 2, 2)),
    )
    for position, (name, data, indices, updates) in enumerate(uses):
        inputs = (tensor(*data), indices, tensor(*updates))
        yield tagged(name, *inputs, dtypes=PAIR if position else None, exact=True)
    nothing = (tensor(*x), index(shape=(0, 2)), tensor(0, 3))
    yield tagged("empty", *nothing, dtypes=PAIR, tags=EMPTY, exact=True)
    yield from special_moves((4, 9), index(1, shape=(1, 1)), tensor(1, 9), exact=True)
    yield from _reductions((4, 3), index(1, 3, 1, -3, 0, shape=(5, 1)), (5, 3))
    once = (tensor(*x), pairs, tensor(3, 3))
    yield tagged("add-once", *once, attributes={"reduction": "add"}, dtypes=FLOATS)
    many = (tensor(129, 257), random_index(511, 1, n=129), tensor(511, 257))
    yield tagged("large-add", *many, attributes={"reduction": "add"}, dtypes=ONE, tags=LARGE)
    again = (
        (tensor(3, 5), index(0, -1, shape=(2, 1)), tensor(2, 5)),
        (tensor(9, 2), index(4, shape=(1, 1)), tensor(1, 2)),
    )
    first = (tensor(4, 3), index(0, 3, -2, shape=(3, 1)), tensor(3, 3))
    yield tagged("dynamic", *first, dtypes=PAIR, again=again, tags=DYNAMIC, exact=True)
    yield tagged("opset-11", *once, dtypes=PAIR, opset=11, exact=True)
    yield tagged("updates-shape", tensor(*x), pairs, tensor(3, 4), dtypes=ONE, refuse="updates do not fit indices")
    yield tagged(
        "index-out-of-range", tensor(4), index(4, shape=(1, 1)), tensor(1), dtypes=ONE, refuse="index 4 of 4"
    )


def tensor_scatters() -> Iterator[Sample]:
    cache, update = tensor(3, 6, 4), tensor(3, 2, 4)
    circular = {"mode": "circular"}
    heads = (tensor(2, 3, 7, 4), tensor(2, 3, 1, 4), index(0, 6))
    uses: tuple[tuple[str, tuple[TensorSpec, ...], dict[str, Any]], ...] = (
        ("linear", (cache, update, index(0, 4, 2)), {}),
        ("prefill", (cache, update), {}),
        ("circular", (cache, update, index(5, 4, 11)), circular),
        ("heads", heads, {}),
        ("axis-1", (tensor(2, 5, 3, 4), tensor(2, 2, 3, 4), index(3, 0)), {"axis": 1}),
        ("axis-1-circular", (tensor(2, 5, 3, 4), tensor(2, 2, 3, 4), index(4, 0)), {"axis": 1, **circular}),
        ("last-axis", (tensor(2, 3, 5), tensor(2, 3, 2), index(1, 3)), {"axis": -1}),
        ("whole-cache", (cache, tensor(3, 6, 4), index(0, 0, 0)), {}),
    )
    for position, (name, inputs, attributes) in enumerate(uses):
        dtypes = PAIR if position else None
        yield tagged(name, *inputs, attributes=attributes, dtypes=dtypes, opset=24)
    # Exact: a definition in float64, as torch scatters no 8-bit floats.
    narrow = (cache, update, index(0, 4, 2))
    yield tagged("narrow-types", *narrow, dtypes=NARROW, opset=24, exact=True)
    yield tagged("unusual-types", *narrow, dtypes=UNUSUAL, opset=24)


def one_hots() -> Iterator[Sample]:
    """The dtype under test is that of the two values."""

    def hot(name: str, at: TensorSpec, depth: TensorSpec, axis: int | None = None, **fields: Any) -> Sample:
        attributes = {} if axis is None else {"axis": axis}
        given = {"dtypes": PAIR, **fields}
        return tagged(name, at, depth, literal(1, 3), attributes=attributes, **given)

    five = TensorSpec((), literal(5).draw, "int64", constant=True)
    rows = index(0, 4, 2, -1, -5, 3, shape=(2, 3))
    values = literal(0, 1)
    other = index(1, -2, 3, 3, 0, 4, shape=(2, 3))
    yield tagged("last-axis", rows, five, values, again=((other, five, values),))
    for name, pair in (
        ("digits", literal(-0.12345, 1001.37)),
        ("nan", literal(NAN, -0.0)),
        ("infinity", literal(INF, 0)),
    ):
        yield tagged(f"special-{name}", rows, five, pair, dtypes=FLOATS, tags=SPECIAL)
    yield tagged("special-integers", rows, five, tensor(2, draw=anything()), dtypes=INTEGERS, tags=SPECIAL)
    small = tensor(2, draw=subnormal())
    yield tagged("special-subnormal", rows, five, small, dtypes=FLOATS, tags=SPECIAL | {"subnormal"})
    yield hot("axis-0", rows, five, 0)
    yield hot("axis-1", rows, five, 1)
    yield hot("axis-negative", rows, five, -2)
    yield hot("axis-most-negative", rows, five, -3)
    yield hot("outside", index(5, -6, 100, -100, 2), five)
    yield hot("vector-depth", rows, TensorSpec((1,), literal(5).draw, "int64", constant=True))
    yield hot("int32", index(1, 0, -1, dtype="int32"), TensorSpec((), literal(3).draw, "int32", constant=True))
    yield hot("float-indices", literal(1.0, 0.0, 2.0, dtype="float32"), five)
    yield hot("uint8-indices", index(1, 0, 4, dtype="uint8"), five)
    yield hot("float-depth", rows, TensorSpec((), literal(5.0).draw, "float32", constant=True))
    for dtype in ("int8", "int16", "uint8", "uint16", "uint32", "uint64", "float16", "float64"):
        depth = TensorSpec((), literal(5).draw, dtype, constant=True)
        yield hot(f"places-{dtype}", index(1, 0, 4, 7, dtype=dtype), depth, dtypes=ONE)
    words = literal("off", "on"), literal(0.5j, 1 - 2j)
    yield tagged("strings", rows, five, words[0], dtypes=("string",))
    yield tagged("complex", rows, five, words[1], dtypes=("complex64", "complex128"))
    yield hot("rank-6", random_index(2, 1, 2, 1, 3, n=5), five, 2)
    yield hot("empty", index(shape=(0,)), five, tags=EMPTY)
    yield hot(
        "large", random_index(257, n=513), TensorSpec((), literal(513).draw, "int64", constant=True), tags=LARGE
    )
    again = ((random_index(1, 3, n=5), five, values), (random_index(4, 2, n=5), five, values))
    yield tagged("dynamic", random_index(2, 2, n=5), five, values, dtypes=PAIR, again=again, tags=DYNAMIC)
    yield hot("axis-out-of-range", rows, five, 3, dtypes=ONE, refuse="axis 3, rank 3 of the result")
    yield tagged("three-values", rows, five, literal(0, 1, 2), dtypes=ONE, refuse="values are [off, on]")


_SUMS = Accumulation(operands=(0, 2))

OPERATORS = (
    Operator("Gather", gather, COPIED, gathers, strings=True),
    Operator("GatherElements", gather_elements, COPIED, gathers_of_elements, strings=True),
    Operator("GatherND", gather_nd, COPIED, gathers_nd, strings=True),
    Operator("ScatterElements", scatter_elements, _SUMS, scatters_of_elements, strings=True),
    Operator("Scatter", scatter_elements, COPIED, first_scatters, strings=True),
    Operator("ScatterND", scatter_nd, _SUMS, scatters_nd, strings=True),
    Operator("TensorScatter", tensor_scatter, COPIED, tensor_scatters, strings=True),
    Operator("OneHot", one_hot, COPIED, one_hots, variable="T3", strings=True),
)
