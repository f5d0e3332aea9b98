"""Operators that make a tensor from a shape, a few numbers or another tensor's outline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.draws import anything, choice
from conformance.dtypes import BOOL, FLOATS, INTEGERS, from_onnx, lookup
from conformance.lazy import torch
from conformance.rules import EXACT, Composite
from conformance.spec import Operator, Sample, const, tensor

from .movement import COPIED, NARROW, PAIR, as_list, moves
from .samples import DYNAMIC, EMPTY, INF, LARGE, NAN, SCALAR, SPECIAL, UNUSUAL, literal, refusals, tagged

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]

ONE = ("float32",)
_PLAIN = (*FLOATS, *INTEGERS, *BOOL)


def value_of(items: Any, dtype: str) -> Any:
    """An ``onnx.TensorProto`` of these values, for an attribute."""
    import onnx

    array = np.asarray(items)
    if array.dtype.kind not in "USc":
        array = array.astype(np.float64)  # int4 and its kin are not made of int64
    return onnx.numpy_helper.from_array(array.astype(lookup(dtype).numpy), "value")


def constant(
    value: Tensor | None = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
    sparse_value: Any = None,
) -> Tensor:
    if value is not None:
        return value
    if sparse_value is not None:
        return _dense(sparse_value)
    if value_float is not None or value_floats is not None:
        return torch.tensor(value_floats if value_float is None else value_float, dtype=torch.float32)
    return torch.tensor(value_ints if value_int is None else value_int, dtype=torch.int64)


def _dense(sparse: Any) -> Tensor:
    """An ``onnx.SparseTensorProto`` with its zeros; indices are flat, or a row of coordinates for each value."""
    import onnx

    dense = np.zeros(list(sparse.dims), lookup(from_onnx(sparse.values.data_type).name).numpy)
    at = onnx.numpy_helper.to_array(sparse.indices)
    where = np.unravel_index(at, dense.shape) if at.ndim == 1 else tuple(at.T)
    dense[where] = onnx.numpy_helper.to_array(sparse.values)
    return torch.from_numpy(dense)


def sparse_of(items: Sequence[float], indices: Sequence[Any], shape: Sequence[int]) -> Any:
    """An ``onnx.SparseTensorProto`` of these float32 numbers at ascending indices, for an attribute."""
    import onnx

    places = onnx.numpy_helper.from_array(np.array(indices, np.int64), "indices")
    return onnx.helper.make_sparse_tensor(value_of(items, "float32"), places, list(shape))


def constant_of_shape(input: Tensor, value: Tensor | None = None) -> Tensor:
    sizes = as_list(input) or []
    if any(n < 0 for n in sizes):
        raise ValueError(f"a dimension of {min(sizes)}")
    if value is None:
        return torch.zeros(sizes, dtype=torch.float32, device=input.device)
    return value.to(input.device).reshape(()).expand(sizes).clone()


def eye_like(input: Tensor, dtype: int | None = None, k: int = 0) -> Tensor:
    # ``dtype`` is the type that the model declares for the output, and is given to it there.
    rows = torch.arange(input.shape[0], device=input.device)[:, None]
    columns = torch.arange(input.shape[1], device=input.device)[None, :]
    return columns - rows == k


def range_(start: Tensor, limit: Tensor, delta: Tensor, stash_type: int = 1) -> Tensor:
    """start + i·delta (Range-11)."""
    first, last, step = (t.reshape(()) for t in (start, limit, delta))
    if first.is_floating_point():
        count = math.ceil((float(last) - float(first)) / float(step))
    else:
        count = -(-(int(last) - int(first)) // int(step))
    return first + torch.arange(max(count, 0), device=first.device).to(first.dtype) * step


def added_up(start: Tensor, limit: Tensor, delta: Tensor, stash_type: int = 1) -> Tensor:
    """What i additions may be off by, in units of u: each sum once. ONNX's own function body of Range is a loop that
    adds delta (Range-11), and equal addends are rounded the same way each time."""
    sums = range_(start, limit, delta).abs()
    return torch.cumsum(sums, 0) - sums[:1]


def shape(data: Tensor, start: int = 0, end: int | None = None) -> Tensor:
    rank = data.dim()
    # An end or a start outside the rank is clamped to it, as by Python's slices.
    return torch.tensor(list(data.shape)[slice(start, rank if end is None else end)], dtype=torch.int64)


def trilu(input: Tensor, k: Tensor | None = None, upper: int = 1) -> Tensor:
    diagonal = 0 if k is None else int(k.reshape(()).item())
    return torch.triu(input, diagonal) if upper else torch.tril(input, diagonal)


def constants() -> Iterator[Sample]:
    def given(name: str, attributes: dict[str, Any], dtype: str, **fields: Any) -> Sample:
        return tagged(name, attributes=attributes, dtypes=(dtype,), **fields)

    for dtype in (*_PLAIN, *NARROW):
        # float8e8m0 has neither 0 nor 3.
        items = [[1, 0, 3], [0, 2, 1]] if dtype != "float8e8m0" else [[1, 0.5, 4], [0.5, 2, 1]]
        yield given(f"tensor-{dtype}", {"value": value_of(items, dtype)}, dtype)
    for dtype in ("complex64", "complex128"):
        yield given(f"tensor-{dtype}", {"value": value_of([[1, 0.5j], [0, -2 + 1j]], dtype)}, dtype)
    yield given("tensor-string", {"value": value_of([["a", ""], ["Γ δ", "d"]], "string")}, "string")
    yield given("string", {"value_string": "a word"}, "string")
    yield given("strings", {"value_strings": ["a", "", "Γ δ"]}, "string")
    yield given("scalar", {"value": value_of(2.5, "float32")}, "float32", tags=SCALAR)
    yield given("empty", {"value": value_of(np.zeros((0, 3)), "float32")}, "float32", tags=EMPTY)
    yield given("special", {"value": value_of([NAN, INF, -INF, 0.0, -0.0], "float32")}, "float32", tags=SPECIAL)
    yield given("large", {"value": value_of(np.arange(65536) % 251, "float32")}, "float32", tags=LARGE)
    yield given("float", {"value_float": 0.1}, "float32")
    yield given("floats", {"value_floats": [0.1, -2.5, 1e30]}, "float32")
    yield given("int", {"value_int": -7}, "int64")
    yield given("ints", {"value_ints": [2**62, -(2**63), 0]}, "int64")
    flat, pairs = [1, 3, 11], [[0, 1], [0, 3], [2, 3]]
    for name, indices in (("flat", flat), ("coordinates", pairs)):
        yield given(f"sparse-{name}", {"sparse_value": sparse_of([1.5, -2.0, 0.1], indices, (3, 4))}, "float32")
    yield given("tensor-opset-11", {"value": value_of([1, 2], "float32")}, "float32", opset=11)
    yield given("ints-opset-12", {"value_ints": [3, 4]}, "int64", opset=12)
    yield given("no-value", {}, "float32", refuse="exactly one value is needed")


def constants_of_shape() -> Iterator[Sample]:
    def filled(name: str, sizes: Sequence[int], dtype: str | None, at: float = 1, **fields: Any) -> Sample:
        attributes = {} if dtype is None else {"value": value_of([at], dtype)}
        return tagged(name, const(list(sizes)), attributes=attributes, dtypes=(dtype or "float32",), **fields)

    for dtype in (*_PLAIN, *NARROW):
        yield filled(f"value-{dtype}", (2, 3), dtype)
    yield filled("default", (3, 2), None)
    yield filled("default-rank-6", (2, 1, 3, 1, 2, 2), None)
    yield filled("scalar", (), "float32", 2.5, tags=SCALAR)
    yield filled("empty", (2, 0, 3), "int64", tags=EMPTY)
    yield filled("nan", (3,), "float32", NAN, tags=SPECIAL)
    yield filled("minus-infinity", (4,), "float16", -INF, tags=SPECIAL)
    yield filled("minus-zero", (4,), "float32", -0.0, tags=SPECIAL)
    yield filled("large", (513, 511), "float32", 0.1, tags=LARGE)
    seven = {"value": value_of([7], "int64")}
    again = ((literal(1, 5, dtype="int64"),), (literal(4, 0, dtype="int64"),))
    run_time = literal(2, 3, dtype="int64")
    yield tagged("dynamic", run_time, attributes=seven, dtypes=("int64",), again=again, tags=DYNAMIC)
    yield filled("opset-11", (2, 3), "int64", opset=11)
    yield filled("negative", (2, -3), None, refuse="a dimension of -3")
    floats = const([2.0], "float32")
    yield tagged("float-shape", floats, dtypes=ONE, refuse="shape is int64")


def eyes() -> Iterator[Sample]:
    x = (4, 6)
    yield from moves(
        (
            ("wide", x, (), {}),
            ("tall", (5, 3), (), {}),
            ("above", x, (), {"k": 2}),
            ("below", x, (), {"k": -3}),
            ("outside", x, (), {"k": 6}),
            ("one", (1, 1), (), {}),
            ("empty", (0, 3), (), {}),
        )
    )
    for dtype in _PLAIN:
        attributes = {"dtype": lookup(dtype).onnx, "k": 1}
        opset = 22 if dtype == "bfloat16" else None
        yield tagged(f"dtype-{dtype}", tensor(*x), attributes=attributes, dtypes=ONE, opset=opset)
    yield tagged("dtype-main-diagonal", tensor(*x), attributes={"dtype": 6}, dtypes=ONE)
    yield tagged("dynamic", tensor(2, 3), dtypes=PAIR, again=((tensor(4, 4),), (tensor(1, 7),)), tags=DYNAMIC)
    yield tagged("opset-11", tensor(*x), attributes={"k": -1}, dtypes=PAIR, opset=11)
    yield tagged("rank-3", tensor(2, 3, 4), dtypes=ONE, refuse="rank 3")


def ranges() -> Iterator[Sample]:
    def steps(name: str, *items: float, constant: bool = False, **fields: Any) -> Sample:
        inputs = [tensor(draw=literal(i).draw, constant=constant) for i in items]
        return tagged(name, *inputs, **{"exact": True, **fields})

    yield steps("up", 2, 15, 3)
    yield steps("down", 10, -4, -2)
    yield steps("exact-end", 0, 12, 4)
    yield steps("one", 5, 6, 3)
    yield steps("nothing", 5, 5, 1, tags=EMPTY)
    yield steps("nothing-wrong-way", 1, 9, -1, tags=EMPTY)
    yield steps("constants", 1, 10, 2, constant=True)
    yield steps("halves", -1.5, 3.25, 0.5, dtypes=FLOATS)
    yield steps("large", 0, 20000, 1, dtypes=("float32", "int32", "int64"), tags=LARGE)
    yield steps("beyond-float32", 2**53, 2**53 + 9, 3, dtypes=("int64",), tags=SPECIAL)
    yield steps("tenths", 0.05, 2.0, 0.1, dtypes=FLOATS, exact=False)
    yield steps("thirds-down", 1.0, -7.1, -1 / 3, dtypes=FLOATS, exact=False)
    yield steps("many-tenths", -100.0, 100.0, 0.1, dtypes=("float32", "float64"), exact=False, tags=LARGE)
    yield steps("float16", 2, 15, 3, dtypes=("float16", "bfloat16"), opset=27)
    # A sum of twos in bfloat16 itself stops at 256, where its numbers are two apart and odd ones are rounded.
    stash, halves = {"stash_type": 1}, ("float16", "bfloat16")
    yield steps("stash-type", 1, 300, 2, attributes=stash, dtypes=halves, opset=27)
    yield steps("stash-float16", 2, 15, 3, dtypes=("float16",), attributes={"stash_type": 10}, opset=27)
    sets = [(0, 4, 1), (3, 30, 5), (7, 0, -2)]
    first, *rest = (tuple(literal(i, shape=()) for i in items) for items in sets)
    yield tagged("dynamic", *first, again=tuple(rest), exact=True, tags=DYNAMIC)
    yield steps("opset-11", 2, 15, 3, dtypes=PAIR, opset=11)
    yield tagged(
        "vector", literal(0, 1), *(literal(i, shape=()) for i in (5, 1)), dtypes=ONE, refuse="a vector start"
    )


def shapes() -> Iterator[Sample]:
    x = (2, 3, 4, 5)
    yield from moves(
        (
            ("whole", x, (), {}),
            ("scalar", (), (), {}),
            ("from-start", x, (), {"start": 1}),
            ("to-end", x, (), {"end": 2}),
            ("between", x, (), {"start": 1, "end": 3}),
            ("negative-start", x, (), {"start": -2}),
            ("negative-end", x, (), {"start": 1, "end": -1}),
            ("clamped", x, (), {"start": -9, "end": 9}),
            ("nothing", x, (), {"start": 3, "end": 1}),
            ("rank-6", (2, 1, 3, 2, 1, 5), (), {}),
            ("empty", (2, 0, 3), (), {}),
        )
    )
    yield tagged("narrow-types", tensor(3, 5), dtypes=NARROW)
    yield tagged("unusual-types", tensor(3, 5), dtypes=UNUSUAL)
    again = ((tensor(1, 5, 4),), (tensor(7, 0, 9),))
    yield tagged("dynamic", tensor(2, 3, 4), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(2, 3), dtypes=PAIR, opset=11)
    yield tagged("opset-15", tensor(*x), attributes={"start": -3, "end": 3}, dtypes=PAIR, opset=15)
    yield from refusals(1, wrong=None)


def sizes() -> Iterator[Sample]:
    cases = (("cube", (2, 3, 4)), ("scalar", ()), ("rank-6", (2, 1, 3, 2, 1, 5)), ("empty", (2, 0, 3)))
    yield from moves((name, x, (), {}) for name, x in cases)
    yield tagged("narrow-types", tensor(3, 5), dtypes=NARROW)
    yield tagged("unusual-types", tensor(3, 5), dtypes=UNUSUAL)
    again = ((tensor(1, 5, 4),), (tensor(7, 0, 9),))
    yield tagged("dynamic", tensor(2, 3, 4), dtypes=PAIR, again=again, tags=DYNAMIC)
    yield tagged("opset-11", tensor(2, 3), dtypes=PAIR, opset=11)
    yield from refusals(1, wrong=None)


def trilus() -> Iterator[Sample]:
    def diagonal(k: int) -> tuple[Any, ...]:
        return (tensor(draw=literal(k).draw, dtype="int64", constant=True),)

    x, lower = (4, 6), {"upper": 0}
    yield from moves(
        (
            ("upper", x, (), {}),
            ("lower", x, (), lower),
            *((f"upper-above-{k}", x, diagonal(k), {}) for k in (1, 6)),
            *((f"upper-below-{k}", x, diagonal(-k), {}) for k in (2, 9)),
            *((f"lower-above-{k}", x, diagonal(k), lower) for k in (2, 9)),
            *((f"lower-below-{k}", x, diagonal(-k), lower) for k in (1, 4)),
            ("tall", (5, 3), (), {}),
            ("batch", (2, 3, 4, 4), (), lower),
            ("rank-6", (1, 2, 1, 2, 3, 3), (), {}),
            ("one", (1, 1), diagonal(1), {}),
            ("k-at-run-time", x, (literal(1, shape=(), dtype="int64"),), {}),
            ("empty", (0, 4), (), {}),
        )
    )
    unusual = tensor(5, 7, draw=choice(NAN, INF, -INF, -0.0, 1.0))
    yield tagged("special", tensor(5, 7, draw=anything()), dtypes=(*FLOATS, *INTEGERS), tags=SPECIAL)
    yield tagged("special-lower", unusual, attributes=lower, dtypes=FLOATS, tags=SPECIAL)
    yield tagged("complex", tensor(3, 4), attributes=lower, dtypes=("complex64", "complex128"))
    # What a string of zero is, the standard does not say: nothing is cut off.
    yield tagged("string", tensor(3, 4), *diagonal(-2), dtypes=("string",))
    yield tagged("large", tensor(513, 511), attributes=lower, dtypes=ONE, tags=LARGE)
    yield tagged("dynamic", tensor(2, 3), dtypes=PAIR, again=((tensor(4, 4),), (tensor(1, 7),)), tags=DYNAMIC)
    yield tagged("vector", tensor(5), dtypes=ONE, refuse="rank 1")


OPERATORS = (
    Operator("Constant", constant, COPIED, constants, variable="T"),
    Operator("ConstantOfShape", constant_of_shape, COPIED, constants_of_shape, variable="T2"),
    Operator("EyeLike", eye_like, EXACT, eyes),
    Operator("Range", range_, Composite(drift=added_up), ranges),
    Operator("Shape", shape, EXACT, shapes, strings=True),
    Operator("Size", lambda data: torch.tensor(data.numel(), dtype=torch.int64), EXACT, sizes, strings=True),
    Operator("Trilu", trilu, EXACT, trilus, strings=True),
)
