"""Samples that many operators share: shapes, broadcasts, reductions, special values and models to refuse.

Every generator yields `Sample` records with the names and tags that the reports group by. The first sample
runs in every dtype of the operator; most others in ``few`` (float32 and float16 unless told otherwise), so that
an operator stays at some dozens of cases. A sample's dtypes are those listed *and* allowed by the schema.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from allpairspy import AllPairs

from conformance.draws import AUTO, Draw, choice, integers, subnormal, values
from conformance.dtypes import FLOATS, lookup
from conformance.spec import Sample, TensorSpec, const, tensor

__all__ = [
    "DYNAMIC",
    "EMPTY",
    "FEW",
    "INF",
    "LARGE",
    "LAST_BITS",
    "LONG",
    "NAN",
    "NO_NAN",
    "SCALAR",
    "SMALL",
    "SPECIAL",
    "SPECIAL_VALUES",
    "SUBNORMALS",
    "UNUSUAL",
    "binary",
    "carried",
    "extremes",
    "fits",
    "literal",
    "only",
    "pairwise",
    "reduction",
    "refusals",
    "tagged",
    "unary",
    "variadic",
]

NAN, INF = float("nan"), float("inf")

FEW = ("float32", "float16")
UNUSUAL = ("string", "complex64", "complex128")  # moved about by many operators, computed with by few
LONG = (
    40961  # terms of one sign about 1: an accumulator of 16 bits stops resolving them, and float16 holds their sum
)
SMALL = integers(-3, 3)  # 77 of these add up exactly, even in float16

SPECIAL = frozenset({"special"})
EMPTY = frozenset({"empty"})
LARGE = frozenset({"large"})
SCALAR = frozenset({"scalar"})
DYNAMIC = frozenset({"dynamic"})

SPECIAL_VALUES: tuple[float, ...] = (NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1.5, -2.5)
# Where ONNX leaves NaN open: Sign, and the larger or smaller of two numbers (docs/adr/0008).
NO_NAN = SPECIAL_VALUES[1:]
# Subnormal in float16, in float32 and bfloat16, in float64; what a narrower format cannot hold becomes zero.
SUBNORMALS: tuple[float, ...] = (5.9604645e-08, -3.0517578e-05, 1e-40, -7e-39, 5e-324, -1e-310, 1.5e-308)
# Beside 1 by the last bit of each format in turn; what a narrower format cannot hold becomes 1.
LAST_BITS: tuple[float, ...] = (
    1 + 2.0**-7,
    1 + 2.0**-10,
    1 + 2.0**-23,
    1 + 2.0**-52,
    1 - 2.0**-8,
    1 - 2.0**-11,
    1 - 2.0**-24,
    1 - 2.0**-53,
)


def carried(
    base: Sample, *positions: int, nan: bool = True, infinity: bool = True, subnormals: bool = True
) -> Iterator[Sample]:
    """A sample with NaN among the values of the operands at these positions, with infinity, and with subnormal numbers
    alone: for operators through which such values go to the outputs. In every float type."""
    kinds = {}
    if nan:
        kinds["nan"] = choice(NAN, 1.0, -2.0, 0.5, 3.0)
    if subnormals:
        kinds["subnormal"] = subnormal()
    if infinity:
        kinds["infinity"] = choice(INF, 1.0, -2.0, 0.5, 3.0)
    for kind, draw in kinds.items():
        inputs = tuple(
            replace(spec, draw=draw) if spec is not None and position in positions else spec
            for position, spec in enumerate(base.inputs)
        )
        tags = base.tags | SPECIAL | ({"subnormal"} if kind == "subnormal" else set())
        yield replace(base, name=f"{base.name}-{kind}", inputs=inputs, dtypes=FLOATS, again=(), tags=tags)


def literal(*items: Any, shape: Sequence[int] | None = None, dtype: str | None = None) -> TensorSpec:
    """An input that holds exactly these values: one-dimensional unless a shape is given."""
    return TensorSpec((len(items),) if shape is None else tuple(shape), values(*items), dtype)


def tagged(name: str, *inputs: TensorSpec | None, tags: Iterable[str] = (), **fields: Any) -> Sample:
    """A sample with its inputs and tags written one after the other."""
    return Sample(name, inputs, tags=frozenset(tags), **fields)


def only(
    samples: Iterable[Sample],
    *,
    prefix: str = "",
    attributes: Mapping[str, Any] | None = None,
    refusals: bool = True,
    **fields: Any,
) -> Iterator[Sample]:
    """The same samples with a prefix to their names, attributes added and fields replaced (``opset=…``).

    ``refusals``: whether the models to refuse are kept; a second series of one operator leaves them out.
    """
    for sample in samples:
        if refusals or not sample.refuse:
            own = {**(attributes or {}), **sample.attributes}
            yield replace(sample, name=prefix + sample.name, attributes=own, **fields)


def pairwise(
    base: Sample,
    attributes: Mapping[str, Sequence[Any]],
    *,
    variations: Mapping[str, Sequence[Any]] | None = None,
    inputs: Callable[[Mapping[str, Any]], Sequence[TensorSpec | None]] | None = None,
    more: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    valid: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Iterator[Sample]:
    """Samples that have every value of each parameter together with every value of each other one, in few cases.

    Most defects that need more than one attribute need two of them (Kuhn, Wallace and Gallo, Software Fault
    Interactions and Implications for Software Testing, IEEE TSE 30(6), 2004: table 1 has 70 to 97 %).

    ``attributes``: the values of each attribute, None where it is left out; they are added to ``base``'s own.
    ``variations``: further parameters, which are no attributes: a rank, an optional input, two outputs.
    ``inputs``: the inputs of a combination, by parameter (default: those of ``base``).
    ``more``: attributes that follow from a combination.
    ``valid``: whether a combination is one that ONNX allows and defines. It is also asked of the first parameters
    of one, and takes each parameter that it looks at from the mapping by ``[]``: a no is then final.

    The names say what differs from the plain operator, so that a name means the same when values are added; the
    order is always the same. The samples run in ``base``'s dtypes, float32 where it has none.
    """
    parameters = {**attributes, **(variations or {})}

    def chosen(places: Sequence[int]) -> dict[str, Any]:
        return {name: items[i] for (name, items), i in zip(parameters.items(), places, strict=False)}

    def allowed(places: Sequence[int]) -> bool:
        try:
            return valid is None or valid(chosen(places))
        except KeyError:
            return len(places) < len(parameters)  # it looks at one that is not chosen yet

    for places in _covering([len(items) for items in parameters.values()], allowed):
        row = chosen(places)
        own = {name: row[name] for name in attributes if row[name] is not None}
        yield replace(
            base,
            name="-".join([base.name, *filter(None, (_label(name, value) for name, value in row.items()))]),
            inputs=tuple(inputs(row)) if inputs else base.inputs,
            attributes={**base.attributes, **own, **(more(row) if more else {})},
            dtypes=base.dtypes or FEW[:1],
        )


def _covering(sizes: Sequence[int], allowed: Callable[[Sequence[int]], bool]) -> list[list[int]]:
    """Combinations of places that have every two allowed ones together.

    AllPairs stops at the first combination that brings nothing new, and where some are not allowed that may be
    before the end. Each pair that is then missing is held fast, and of the combinations that have it the one is taken
    that has most of the others.
    """
    everything = [list(range(size)) for size in sizes]
    found = [list(row) for row in AllPairs(everything, filter_func=allowed)]
    together = [
        ((i, a), (j, b))
        for (i, first), (j, second) in itertools.combinations(enumerate(everything), 2)
        for a, b in itertools.product(first, second)
    ]
    missing = set(together).difference(*map(_pairs_of, found))
    for pair in together:
        if pair not in missing:
            continue
        held = dict(pair)
        fixed = [[held[k]] if k in held else places for k, places in enumerate(everything)]
        rows = [list(row) for row in AllPairs(fixed, filter_func=allowed)]
        if rows:
            found.append(max(rows, key=lambda row: len(missing & _pairs_of(row))))
            missing -= _pairs_of(found[-1])
    return found


def _pairs_of(row: Sequence[int]) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    """Every two parameters of a combination with their places."""
    return set(itertools.combinations(enumerate(row), 2))


def _label(name: str, value: Any) -> str:
    """A parameter's part of a name: nothing where it is left out, a yes (or a long list) as its name, a word as it
    is."""
    if value is None or value is False:
        return ""
    if isinstance(value, str):
        return value.lower().replace("_", "-")
    parameter = name.lower().replace("_", "-")
    if value is True or (value == 1 and isinstance(value, int)) or (isinstance(value, list) and len(value) > 4):
        return parameter
    items = "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f"{parameter}-{items}".lower()


def _resized(
    inputs: Sequence[TensorSpec | None], shapes: Sequence[Sequence[int]]
) -> tuple[TensorSpec | None, ...]:
    return tuple(None if i is None else replace(i, shape=tuple(s)) for i, s in zip(inputs, shapes, strict=True))


def extremes(dtype: str) -> tuple[int, ...]:
    """Both ends of an integer type and what is next to them; uint64 up to 2^63 - 1 (torch has no uint64)."""
    info = np.iinfo(lookup(dtype).numpy)
    low, high = int(info.min), min(int(info.max), 2**63 - 1)
    return tuple(dict.fromkeys((low, low + 1, 0, 1, high // 2 + 1, high - 1, high)))


def fits(value: int, dtype: str) -> bool:
    """Whether an integer type holds the value. What an operator's result is where it does not, ONNX leaves open
    except for Cast: engines wrap, saturate or go through doubles, and no sample asks for one of these."""
    info = np.iinfo(lookup(dtype).numpy)
    return int(info.min) <= value <= int(info.max)


def refusals(operands: int, *, wrong: str | None = "string", most: int | None = None) -> Iterator[Sample]:
    """Models with one operand too few, one too many, or operands of a type that the schema does not have.

    ``operands``: how many the operator needs. ``most``: how many it takes (default: as many; 0: any number).
    ``wrong``: a type outside the schema, None where every type is allowed.
    """
    x = tensor(2, 3)
    one = ("float32",)
    too_few = (x,) * (operands - 1)
    yield Sample(
        "too-few-inputs", too_few, dtypes=one, refuse=f"{len(too_few)} inputs where {operands} are needed"
    )
    if most != 0:
        too_many = (x,) * ((most or operands) + 1)
        yield Sample("too-many-inputs", too_many, dtypes=one, refuse=f"{len(too_many)} inputs are too many")
    if wrong:
        bad = (replace(x, dtype=wrong),) * max(operands, 1)
        yield Sample("wrong-type", bad, dtypes=one, refuse=f"the schema has no {wrong}")


def unary(
    draw: Draw = AUTO,
    *,
    special: Sequence[float] | None = SPECIAL_VALUES,
    subnormals: bool = True,
    limits: Sequence[str] = (),
    result: Callable[[int], int] | None = None,
    every: tuple[str, ...] | None = None,
    few: tuple[str, ...] = FEW,
    large: bool = True,
    wrong: str | None = "string",
    attributes: Mapping[str, Any] | None = None,
) -> Iterator[Sample]:
    """One operand of any shape, the result of the same shape.

    ``special``: values for the special sample in every floating dtype (None: no such sample).
    ``limits``: integer dtypes for which the extreme values are tried.
    ``result``: of whole numbers, where it can lie outside the dtype; such values are left out (`fits`).
    ``every``: the dtypes of the first sample (None: all of the operator's).
    """

    def samples() -> Iterator[Sample]:
        yield Sample("cube", (tensor(3, 5, 7, draw=draw),), dtypes=every)
        yield Sample("vector", (tensor(17, draw=draw),), dtypes=few)
        yield Sample("scalar", (tensor(draw=draw),), dtypes=few, tags=SCALAR)
        yield Sample("ones", (tensor(1, 1, 1, draw=draw),), dtypes=few[:1])
        yield Sample("rank-6", (tensor(2, 1, 3, 2, 1, 5, draw=draw),), dtypes=few)
        yield Sample("empty", (tensor(3, 0, 2, draw=draw),), dtypes=few, tags=EMPTY)
        if large:
            yield Sample("large", (tensor(1021, 257, draw=draw),), dtypes=few[:1], tags=LARGE)
        yield _dynamic((tensor(2, 3, 4, draw=draw),), [(1, 3, 7)], [(5, 2, 9)], few=few)
        if special is not None:
            yield Sample("special", (literal(*special),), dtypes=FLOATS, tags=SPECIAL)
        if subnormals and special is not None:
            yield Sample("subnormals", (literal(*SUBNORMALS),), dtypes=FLOATS, tags=SPECIAL | {"subnormal"})
        for dtype in limits:
            ends = literal(*[v for v in extremes(dtype) if result is None or fits(result(v), dtype)])
            yield Sample(f"extremes-{dtype}", (ends,), dtypes=(dtype,), tags=SPECIAL)
        yield from refusals(1, wrong=wrong)

    return only(samples(), attributes=attributes)


def _dynamic(
    inputs: Sequence[TensorSpec | None], *shapes: Sequence[Sequence[int]], few: tuple[str, ...] = FEW
) -> Sample:
    """One prepared model at three shapes and more: those of ``inputs``, then each of ``shapes``."""
    again = tuple(_resized(inputs, s) for s in shapes)
    return Sample("dynamic", tuple(inputs), dtypes=few, again=again, tags=DYNAMIC)


def binary(
    left: Draw = AUTO,
    right: Draw = AUTO,
    *,
    special: Sequence[float] | None = SPECIAL_VALUES,
    subnormals: bool = True,
    limits: Sequence[str] = (),
    result: Callable[[int, int], int] | None = None,
    every: tuple[str, ...] | None = None,
    few: tuple[str, ...] = FEW,
    large: bool = True,
    right_dtype: str | None = None,
    wrong: str | None = "string",
    attributes: Mapping[str, Any] | None = None,
) -> Iterator[Sample]:
    """Two operands under NumPy's broadcasting.

    ``special``: every pair of these values is tried in every floating dtype (None: no such sample).
    ``limits``: integer dtypes for which every pair of extreme values is tried.
    ``result``: of whole numbers, where it can lie outside the dtype; such pairs are left out (`fits`).
    ``every``: the dtypes of the first sample (None: all of the operator's).
    ``right_dtype``: the second operand's dtype where it is not the one under test.
    """

    def pair(a: Sequence[int], b: Sequence[int]) -> tuple[TensorSpec, TensorSpec]:
        return tensor(*a, draw=left), tensor(*b, draw=right, dtype=right_dtype)

    def table(items: Sequence[Any], others: Sequence[Any]) -> tuple[TensorSpec, TensorSpec]:
        across = literal(*others, shape=(1, len(others)), dtype=right_dtype)
        return literal(*items, shape=(len(items), 1)), across

    def samples() -> Iterator[Sample]:
        yield Sample("broadcast-both", pair((3, 1, 5), (4, 1)), dtypes=every)
        yield Sample("same-shape", pair((3, 4, 5), (3, 4, 5)), dtypes=few)
        yield Sample("broadcast-row", pair((3, 4, 5), (5,)), dtypes=few)
        yield Sample("broadcast-left", pair((7,), (2, 3, 7)), dtypes=few)
        yield Sample("scalar-left", pair((), (3, 5)), dtypes=few, tags=SCALAR)
        yield Sample("scalar-right", pair((3, 5), ()), dtypes=few, tags=SCALAR)
        yield Sample("scalars", pair((), ()), dtypes=few, tags=SCALAR)
        yield Sample("rank-6", pair((2, 1, 3, 1, 2, 5), (1, 2, 1, 3, 2, 1)), dtypes=few)
        yield Sample("empty", pair((2, 0, 3), (1, 3)), dtypes=few, tags=EMPTY)
        a, b = pair((2, 3, 8, 9), (3, 1, 1))
        yield Sample("constant-right", (a, replace(b, constant=True)), dtypes=few)
        yield Sample(
            "constant-left",
            (replace(b, dtype=None, draw=left, constant=True), replace(a, draw=right, dtype=right_dtype)),
            dtypes=few,
        )
        if large:
            yield Sample("large", pair((513, 511), (511,)), dtypes=few[:1], tags=LARGE)
        yield _dynamic(pair((2, 3, 4), (3, 1)), [(1, 5, 7), (5, 1)], [(4, 1, 9), (1, 1)], few=few)
        if special is not None:
            yield Sample("special", table(special, special), dtypes=FLOATS, tags=SPECIAL)
        if subnormals and special is not None:
            pairs = table(SUBNORMALS, (1.0, -0.0, 0.5))
            yield Sample("subnormals", pairs, dtypes=FLOATS, tags=SPECIAL | {"subnormal"})
        for dtype in limits:
            items = extremes(dtype)
            ends = table(items, items)
            if result is not None:
                held = [(v, w) for v in items for w in items if fits(result(v, w), dtype)]
                ends = literal(*[v for v, _ in held]), literal(*[w for _, w in held], dtype=right_dtype)
            yield Sample(f"extremes-{dtype}", ends, dtypes=(dtype,), tags=SPECIAL)
        mismatch = pair((3, 4), (3, 5))
        yield Sample("mismatch", mismatch, dtypes=few[:1], refuse="4 and 5 do not broadcast")
        yield from refusals(2, wrong=wrong)

    return only(samples(), attributes=attributes)


def variadic(
    draw: Draw = AUTO, *, limits: Sequence[str] = (), special: Sequence[float] | None = SPECIAL_VALUES
) -> Iterator[Sample]:
    """One operand or more, broadcasting (Max, Sum, …)."""

    def operands(*shapes: Sequence[int]) -> tuple[TensorSpec, ...]:
        return tuple(tensor(*shape, draw=draw) for shape in shapes)

    yield Sample("three", operands((3, 4, 5), (3, 4, 5), (3, 4, 5)))
    yield Sample("one", operands((3, 5)), dtypes=FEW)
    yield Sample("two", operands((17,), (17,)), dtypes=FEW)
    yield Sample("broadcast", operands((3, 1, 5), (4, 1), (5,), ()), dtypes=FEW)
    yield Sample("nine", operands(*[(3, 7)] * 9), dtypes=FEW)
    yield Sample("scalars", operands((), (), ()), dtypes=FEW, tags=SCALAR)
    yield Sample("rank-6", operands((2, 1, 3, 1, 2, 5), (1, 2, 1, 3, 2, 1)), dtypes=FEW)
    yield Sample("empty", operands((2, 0, 3), (1, 3)), dtypes=FEW, tags=EMPTY)
    yield Sample("large", operands((513, 511), (511,), (513, 1)), dtypes=FEW[:1], tags=LARGE)
    yield _dynamic(operands((2, 3, 4), (3, 1)), [(1, 5, 7), (5, 1)], [(4, 1, 9), (1, 1)])
    if special is not None:
        size = len(special)
        table = literal(*special, shape=(size, 1)), literal(*special, shape=(1, size))
        yield Sample("special", table, dtypes=FLOATS, tags=SPECIAL)
        small = tensor(3, 5, draw=subnormal())
        yield Sample("subnormals", (small, small), dtypes=FLOATS, tags=SPECIAL | {"subnormal"})
    for dtype in limits:
        items = extremes(dtype)
        table = literal(*items, shape=(len(items), 1)), literal(*items, shape=(1, len(items)))
        yield Sample(f"extremes-{dtype}", table, dtypes=(dtype,), tags=SPECIAL)
    yield Sample("mismatch", operands((3, 4), (3, 5)), dtypes=FEW[:1], refuse="4 and 5 do not broadcast")
    yield from refusals(1, most=0)


def reduction(
    draw: Draw = AUTO,
    *,
    input_since: int = 18,
    empty: bool = True,
    exact: Draw | None = SMALL,
    special: Sequence[float] | None = SPECIAL_VALUES,
    subnormals: bool = True,
    whole: TensorSpec | None = None,
    integral: tuple[str, ...] = ("int32", "int64"),
) -> Iterator[Sample]:
    """One operand reduced along ``axes``: an attribute before opset ``input_since``, an input from then on.

    ``empty``: whether a reduction over no elements is defined. ``exact``: whole numbers whose reduction is
    exact in any order (None: there are none). ``subnormals``: whether operands so small that their products
    are zero leave a result. ``whole``: the integer operand, reduced along axis 1, where it
    is not ``draw``'s. ``integral``: the integer dtypes for samples that do not run in every dtype.
    """
    x = tensor(3, 4, 5, draw=draw)
    one = ("float32",)
    yield Sample("axis-1", (x, const([1])), dtypes=None if integral and whole is None else FLOATS)
    if whole is not None:
        yield Sample("axis-1-whole", (whole, const([1])), dtypes=("int32", "int64", "uint32", "uint64"))
    yield Sample("keepdims-0", (x, const([2])), {"keepdims": 0}, dtypes=FEW)
    yield Sample("first-axis", (tensor(19, 33, draw=draw), const([0])), dtypes=FEW)
    yield Sample("negative-axis", (x, const([-1])), dtypes=FEW)
    yield Sample("two-axes", (x, const([0, 2])), {"keepdims": 0}, dtypes=FEW)
    yield Sample("unsorted-axes", (x, const([-1, 0])), dtypes=FEW)
    yield Sample("all-axes", (x,), dtypes=FEW)
    yield Sample("all-axes-keepdims-0", (x,), {"keepdims": 0}, dtypes=FEW, tags=SCALAR)
    yield Sample("empty-axes", (x, const([])), {"keepdims": 0}, dtypes=FEW)
    yield Sample("no-axes-noop", (x,), {"noop_with_empty_axes": 1}, dtypes=FEW)
    yield Sample("no-axes-noop-keepdims-0", (x,), {"noop_with_empty_axes": 1, "keepdims": 0}, dtypes=one)
    yield Sample("empty-axes-noop", (x, const([])), {"noop_with_empty_axes": 1}, dtypes=FEW)
    yield Sample("axes-at-run-time", (x, literal(1, dtype="int64")), shape=(3, 1, 5), dtypes=FEW)
    yield Sample("scalar", (tensor(draw=draw),), dtypes=FEW, tags=SCALAR)
    yield Sample("ones", (tensor(1, 1, draw=draw), const([0])), dtypes=one)
    yield Sample("rank-6", (tensor(2, 3, 1, 2, 5, 2, draw=draw), const([1, -2])), dtypes=FEW)
    yield Sample("empty-result", (tensor(0, 3, 4, draw=draw), const([1])), dtypes=FEW, tags=EMPTY)
    if empty:
        spec = tensor(2, 0, 4, draw=draw)
        yield Sample("empty", (spec, const([1])), dtypes=(*FLOATS, *integral), tags=EMPTY)
        yield Sample("empty-all", (spec,), {"keepdims": 0}, dtypes=one, tags=EMPTY)
    yield Sample("large-rows", (tensor(61, 4099, draw=draw), const([-1])), dtypes=one, tags=LARGE)
    yield Sample("large-columns", (tensor(1025, 67, draw=draw), const([0])), dtypes=one, tags=LARGE)
    if exact is not None:
        spec = tensor(13, 77, draw=exact)
        yield Sample("exact-integers", (spec, const([1])), dtypes=FEW, exact=True)
    dynamic = tensor(2, 3, 4, draw=draw)
    sizes = (replace(dynamic, shape=(1, 5, 9)), const([1])), (replace(dynamic, shape=(4, 33, 2)), const([1]))
    yield Sample("dynamic", (dynamic, const([1])), dtypes=FEW, again=sizes, tags=DYNAMIC)
    if special is not None:
        # Each value first, in the middle and last among ordinary ones: where it stands must not matter.
        rows = [
            row
            for v in special
            for row in ((v, 2.0, 0.5, 1.0, 4.0), (2.0, 0.5, v, 1.0, 4.0), (INF, 2.0, 0.5, 1.0, v))
        ]
        table = literal(*[v for row in rows for v in row], shape=(len(rows), 5)), const([1])
        yield Sample("special", table, {"keepdims": 0}, dtypes=FLOATS, tags=SPECIAL)
        if subnormals:
            small = tensor(15, 2, draw=subnormal()), const([1])
            yield Sample("subnormals", small, dtypes=FLOATS, tags=SPECIAL | {"subnormal"})
    yield Sample("axes-attribute", (x,), {"axes": [1]}, dtypes=("float32", "float64", *integral), opset=11)
    yield Sample(
        "axes-attribute-negative", (x,), {"axes": [0, -1], "keepdims": 0}, dtypes=one, opset=input_since - 1
    )
    yield Sample("axis-out-of-range", (x, const([3])), dtypes=one, refuse="axis 3 of a tensor of rank 3")
    yield Sample(
        "wrong-type", (replace(x, dtype="string"), const([1])), dtypes=one, refuse="the schema has no string"
    )
    yield Sample("float-axes", (x, const([1.0], "float32")), dtypes=one, refuse="axes must be int64")
