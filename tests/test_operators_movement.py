"""Data movement, indexing, casts, quantisation, structure and randomness: their meanings against ONNX's evaluator,
ONNX's vectors and hand calculations, their samples against the schemas, and their tests against planted defects."""

from __future__ import annotations

import functools
import importlib
import math
import pkgutil
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from conformance.dtypes import dtype_of, is_known, lookup, numpy_to_torch, torch_to_numpy
from conformance.graphs import Content, Node, build, dtypes_of, nodes_of
from conformance.interpreter import call, to_array, to_tensor
from conformance.judge import judge
from conformance.numerics import Expected
from conformance.operators import catalogue
from conformance.operators.casting import to_dtype
from conformance.operators.randomness import (
    bernoulli_problem,
    dropout_problem,
    multinomial_problem,
    normal_problem,
    uniform_problem,
)
from conformance.operators.selection import same_boxes, same_top
from conformance.oracle import expect, expect_content
from conformance.rules import Exact, OrderFree, Random
from conformance.spec import Case, Operator, Sample, Source, Verdict

FAMILIES = (
    "movement",
    "assembly",
    "indexing",
    "generation",
    "selection",
    "casting",
    "quantisation",
    "quantised",
    "structure",
    "randomness",
)
OPERATORS = {o.name: o for o in catalogue().values() if o.family in FAMILIES}
TENSORS = [name for name, o in OPERATORS.items() if o.meaning is not None]
OPSET = 21
torch.set_num_threads(1)  # the tensors are small

# Where ONNX's evaluator declines or is wrong, and what the definition says. Everything else agrees.
_NEGATIVE_PADS = "it hands negative pads to numpy.pad, which has none; the definition removes elements"
_ROWS = "it adds a zero point per row along the columns"
_CLIPPED_LATE = "it casts infinity to int32 before it clips"
_BEFORE_19 = "it has no DequantizeLinear before version 19"
_MULTINOMIAL = "it has no Multinomial"
_SCATTER = "it has no Scatter; ONNX's vectors of it are reproduced"
_SCALAR_LIMITS = "it indexes the limits, which are scalars by the schema; see the test below"
_FLOAT32_SCALE = "it multiplies float16 data by a float32 scale and returns float32"
EXPLAINED: Mapping[str, str] = {
    "Scatter": _SCATTER,
    "Slice/start-before-first-reverse": "Python's slice clamps a start before the first element to -1, not to 0",
    "Pad/constant-negative": _NEGATIVE_PADS,
    "Pad/crop": _NEGATIVE_PADS,
    "Pad/edge-crop": _NEGATIVE_PADS,
    "GatherElements/axis-negative": "it compares the negative axis with positive ones",
    "GatherElements/smaller-indices": "it wants indices of the data's size along the other axes",
    "GatherElements/large": "its fallback for more than 32 rows fails",
    "OneHot/last-axis/bool": "it cannot subtract bool values",
    "OneHot/special-infinity": "it multiplies and adds the values",
    "OneHot/special-nan": "it multiplies and adds the values",
    "OneHot/strings": "it multiplies and adds the values",
    "Pad/unusual-types/string": "it pads strings with the number 0; the text has the empty string",
    "QLinearMatMul/float8": "it knows integers only",
    "OneHot/vector-depth": "it takes a scalar depth only",
    "Unique/axis-1-unsorted": "it takes along axis 0 whatever the axis is",
    "Unique/only-values-unsorted": "it leaves the order of first occurrence where only values are asked for",
    "QuantizeLinear/saturation-uint8": _CLIPPED_LATE,
    "QuantizeLinear/saturation-int8": _CLIPPED_LATE,
    "CastLike/opset-24-down": "its CastLike knows no round_mode",
    "CastLike/opset-24-nearest": "its CastLike knows no round_mode",
    "DequantizeLinear/opset-11": _BEFORE_19,
    "DequantizeLinear/opset-13": _BEFORE_19,
    "DequantizeLinear/opset-13-axis": _BEFORE_19,
    "MatMulInteger/rows": _ROWS,
    "QLinearMatMul/rows": _ROWS,
    "RandomNormal/scalar": "it refuses an empty shape",
    "RandomUniform/scalar": "it refuses an empty shape",
    "Dropout/training-0.5/float16": _FLOAT32_SCALE,
    "Dropout/training-0.25/float16": _FLOAT32_SCALE,
    "Dropout/training-0.9/float16": _FLOAT32_SCALE,
    "Dropout/training-no-mask/float16": _FLOAT32_SCALE,
    "Dropout/training-default-ratio": "it cannot do without the ratio",
    "Constant/sparse-flat": "it returns a sparse tensor, and its runtime refuses that",
    "Constant/sparse-coordinates": "it returns a sparse tensor, and its runtime refuses that",
    "Range/stash-float16": "it has the wider stash types only",
    "Multinomial": _MULTINOMIAL,
    "NonMaxSuppression": _SCALAR_LIMITS,
}


def _cases(operator: Operator, *, refuse: bool = False) -> Iterator[tuple[Sample, str, int, str]]:
    for sample in operator.samples():
        if bool(sample.refuse) == refuse:
            opset = sample.opset or OPSET
            for dtype in dtypes_of(operator, sample, opset):
                yield sample, dtype, opset, f"{operator.name}/{sample.name}/{dtype}"


def _explained(key: str) -> str | None:
    operator, sample, _ = key.split("/")
    return EXPLAINED.get(key) or EXPLAINED.get(f"{operator}/{sample}") or EXPLAINED.get(operator)


def _view(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> tuple[Node, list[np.ndarray | None]]:
    (node,) = nodes_of(model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return node, [{**constants, **feed}[n] if n else None for n in node.inputs]


def _native(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The meaning in the declared types, as the torch backend runs it."""
    node, inputs = _view(model, feed)
    outputs = call(node, [None if a is None else to_tensor(a, widen=False) for a in inputs], widen=False)
    return [to_array(t, d) for t, d in zip(outputs, node.dtypes, strict=False) if d]


def _evaluator(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [np.asarray(o) for o in ReferenceEvaluator(model).run(None, dict(feed))]


def _problems(operator: Operator, sample: Sample, content: Content, case: Case, results: Any) -> list[str]:
    """What the judge says of ``results(model, feed)`` for each input set, where that is not a pass."""
    found = []
    for feed, expected in zip(content.feeds, expect_content(case, content, sample), strict=True):
        node, inputs = _view(content.model, feed)
        judgement = judge(expected, results(content.model, feed), inputs, node.attributes)
        if judgement.verdict is not Verdict.PASS:
            found.append(f"{case.id}: {judgement.message}")
    return found


def _case(operator: Operator, key: str, dtype: str, opset: int) -> Case:
    return Case(key, operator.name, operator.domain, opset, dtype, Source.OPERATOR, operator.family, "")


@pytest.mark.parametrize("name", TENSORS)
def test_a_meaning_agrees_with_the_evaluator_in_every_sample_and_dtype(name: str) -> None:
    operator = OPERATORS[name]
    problems, compared = [], 0
    for sample, dtype, opset, key in _cases(operator):
        if _explained(key):
            continue
        content = build(operator, sample, dtype, opset, key)
        problems += _problems(operator, sample, content, _case(operator, key, dtype, opset), _evaluator)
        compared += 1
    assert not problems
    assert compared or name in EXPLAINED


@pytest.mark.parametrize("name", [n for n in TENSORS if not isinstance(OPERATORS[n].rule, Exact)])
def test_a_meaning_in_its_own_dtypes_is_right_by_its_own_rule(name: str) -> None:
    operator = OPERATORS[name]
    problems = []
    for sample, dtype, opset, key in _cases(operator):
        if dtype == "string":
            continue  # the oracle's, not the torch backend's
        content = build(operator, sample, dtype, opset, key)
        problems += _problems(operator, sample, content, _case(operator, key, dtype, opset), _native)
    assert not problems


def test_every_explanation_is_still_needed() -> None:
    left = set(EXPLAINED) - {"Multinomial", "NonMaxSuppression", "Scatter"}
    for operator in (OPERATORS[n] for n in TENSORS):
        for sample, dtype, opset, key in _cases(operator):
            entry = next((e for e in (key, key.rsplit("/", 1)[0]) if e in left), None)
            if entry is None:
                continue
            content = build(operator, sample, dtype, opset, key)
            try:
                wrong = _problems(operator, sample, content, _case(operator, key, dtype, opset), _evaluator)
            except (ValueError, TypeError, IndexError, RuntimeError):
                wrong = ["declined"]
            if wrong:
                left.discard(entry)
    assert not left


def test_non_max_suppression_agrees_with_the_evaluator_when_its_limits_are_vectors() -> None:
    operator = OPERATORS["NonMaxSuppression"]
    compared = 0
    for sample, dtype, opset, key in _cases(operator):
        if any(i is None for i in sample.inputs) or len(sample.inputs) < 4:
            continue
        content = build(operator, sample, dtype, opset, key)
        for tensor in content.model.graph.initializer:
            tensor.dims[:] = [1]
        case = _case(operator, key, dtype, opset)
        assert not _problems(operator, sample, content, case, _evaluator)
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("name", OPERATORS)
def test_every_sample_is_a_valid_model(name: str) -> None:
    operator = OPERATORS[name]
    names: set[tuple[str, str]] = set()
    for sample, dtype, opset, key in _cases(operator):
        assert (sample.name, dtype) not in names, f"{key} is there twice"
        names.add((sample.name, dtype))
        model = build(operator, sample, dtype, opset, key).model
        onnx.checker.check_model(model, full_check=True)


def _check_and_run(content: Content, run: Any) -> None:
    onnx.checker.check_model(content.model, full_check=True)
    for feed in content.feeds:
        run(content.model, feed)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_invalid_model_is_refused_by_the_checker_or_by_the_definition(name: str) -> None:
    operator = OPERATORS[name]
    for sample, dtype, opset, key in _cases(operator, refuse=True):
        if f"{name}/{sample.name}" in REFUSED_IN_WORDS:
            continue
        content = build(operator, sample, dtype, opset, key)
        with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a refusal
            _check_and_run(content, _evaluator if operator.meaning is None else _native)


# ONNX publishes none for these.
WITHOUT_VECTORS = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}

# The standard says so, and neither the checker nor the evaluator looks.
REFUSED_IN_WORDS = {"SequenceInsert/out-of-range"}


@functools.cache
def _vectors() -> Mapping[str, list[Any]]:
    """ONNX's node vectors of these operators. Only their modules are imported: all of them take many seconds."""
    package = importlib.import_module("onnx.backend.test.case.node")
    wanted = {n.lower() for n in TENSORS}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.replace("_", "").removesuffix("op") in wanted:
                importlib.import_module(f"{package.__name__}.{module.name}")
    found: dict[str, list[Any]] = {}
    for case in package._NodeTestCases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and not nodes[0].domain:
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


@pytest.mark.parametrize("name", [n for n in TENSORS if n not in WITHOUT_VECTORS])
def test_a_meaning_reproduces_the_published_vectors(name: str) -> None:
    problems, compared = [], 0
    for case in _vectors().get(name, []):
        for inputs, outputs in case.data_sets:
            arrays, wanted = ([_array(a) for a in side] for side in (inputs, outputs))
            if not all(isinstance(a, np.ndarray) and is_known(a) for a in (*arrays, *wanted)):
                continue
            if any(dtype_of(a) == "string" for a in (*arrays, *wanted)):
                continue
            feed = {i.name: a for i, a in zip(case.model.graph.input, arrays, strict=True)}
            compared += 1
            problem = _against_vector(OPERATORS[name], case.model, feed, wanted)
            if problem:
                problems.append(f"{case.name}: {problem}")
    assert not problems
    assert compared


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _against_vector(
    operator: Operator, model: onnx.ModelProto, feed: Mapping[str, np.ndarray], wanted: list[np.ndarray]
) -> str:
    node, inputs = _view(model, feed)
    mine = _native(model, feed)
    if isinstance(operator.rule, Random):
        return operator.rule.test(inputs, node.attributes, mine, False) or ""
    if isinstance(operator.rule, OrderFree):
        mine, wanted = (operator.rule.canonical(inputs, node.attributes, o) for o in (mine, wanted))
    for a, b in zip(mine, wanted, strict=True):
        if a.shape != b.shape or dtype_of(a) != dtype_of(b):
            return f"{dtype_of(a)}{a.shape} where {dtype_of(b)}{b.shape} is expected"
        close = (
            1e-6 if lookup(dtype_of(a)).is_float and operator.name in ("Range", "DynamicQuantizeLinear") else 0.0
        )
        with np.errstate(invalid="ignore"):
            x, y = (v.astype(np.float64) if lookup(dtype_of(v)).is_float else v for v in (a, b))
        if not np.all(np.isclose(x, y, rtol=close, atol=0.0, equal_nan=True)):
            return f"{x} where {y} is expected"
    return ""


# By hand: what neither the evaluator nor the vectors settle.


def _run(name: str, *arrays: Any, opset: int = OPSET, outputs: int = 1, **attributes: Any) -> list[np.ndarray]:
    """One operator on arrays (constants of the model, so that every result's type is inferred)."""
    inputs = [f"x{i}" if a is not None else "" for i, a in enumerate(arrays)]
    node = onnx.helper.make_node(name, inputs, [f"y{i}" for i in range(outputs)], **attributes)
    values = [
        onnx.helper.make_tensor_value_info(n, lookup(dtype_of(a)).onnx, a.shape)
        for n, a in zip(inputs, arrays, strict=True)
        if a is not None
    ]
    graph = onnx.helper.make_graph([node], "g", values, [onnx.ValueInfoProto(name=n) for n in node.output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    model = onnx.shape_inference.infer_shapes(model)
    return _native(model, {n: a for n, a in zip(inputs, arrays, strict=True) if a is not None})


def _list(*items: int) -> np.ndarray:
    return np.array(items, dtype=np.int64)


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (-100, -200, -1, [0]),  # both clamped: from the first element to before the first
        (100, -100, -1, [4, 3, 2, 1, 0]),
        (-1, -(2**63), -2, [4, 2, 0]),
        (2**63 - 1, 1, -1, [4, 3, 2]),
        (3, 2, 1, []),
        (-3, 2**63 - 1, 2, [2, 4]),
    ],
)
def test_slice_clamps_as_the_standard_says(start: int, end: int, step: int, expected: list[int]) -> None:
    data = np.arange(5, dtype=np.float32)
    (result,) = _run("Slice", data, _list(start), _list(end), _list(0), _list(step))
    assert result.tolist() == expected


@pytest.mark.parametrize(
    ("mode", "pads", "expected"),
    [
        ("constant", (1, 2), [0, 1, 2, 3, 0, 0]),
        ("constant", (-1, 1), [2, 3, 0]),
        ("constant", (-2, -2), []),
        ("edge", (2, 1), [1, 1, 1, 2, 3, 3]),
        ("reflect", (2, 1), [3, 2, 1, 2, 3, 2]),
        ("wrap", (4, 1), [3, 1, 2, 3, 1, 2, 3, 1]),
    ],
)
def test_pad_in_each_mode(mode: str, pads: tuple[int, int], expected: list[int]) -> None:
    if mode == "constant" and sum(pads) < -3:
        with pytest.raises(RuntimeError):
            _run("Pad", np.array([1, 2, 3], dtype=np.int32), _list(*pads), mode=mode)
        return
    (result,) = _run("Pad", np.array([1, 2, 3], dtype=np.int32), _list(*pads), mode=mode)
    assert result.tolist() == expected


def test_an_accumulator_of_bytes_does_not_saturate() -> None:
    a, b = np.full((1, 2), 255, dtype=np.uint8), np.full((2, 1), 127, dtype=np.int8)
    assert _run("MatMulInteger", a, b)[0].tolist() == [[64770]]


def test_ties_in_quantisation_go_to_the_even_number_before_the_zero_point_is_added() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300, -300], dtype=np.float32)
    (y,) = _run("QuantizeLinear", x, np.array(1.0, np.float32), np.array(1, np.uint8))
    assert y.tolist() == [1, 3, 3, 1, 0, 255, 0]


@pytest.mark.parametrize(
    ("saturate", "given", "wanted"),
    [
        (0, [465.0, 1e4, -1e4, 500.0, 448.0], [math.nan, math.nan, math.nan, math.nan, 448.0]),
        (1, [465.0, 1e4, -1e4, math.inf, -math.inf], [448.0, 448.0, -448.0, 448.0, -448.0]),
    ],
)
def test_the_reference_of_a_float8_quantisation_overflows_as_its_attribute_says(
    saturate: int, given: list[float], wanted: list[float]
) -> None:
    x, one = np.array(given, np.float32), np.array(1.0, np.float32)
    attributes = {"output_dtype": onnx.TensorProto.FLOAT8E4M3FN, "saturate": saturate, "axis": 1, "block_size": 0}
    node = Node("n", "QuantizeLinear", "", OPSET, ("x", "s"), ("y",), attributes, ("float8e4m3fn",))
    for exact in (True, False):
        (expected,) = expect(node, [x, one], key="key", exact=exact)
        np.testing.assert_array_equal(expected.value.astype(np.float64), wanted)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=9))
def test_a_cast_to_float16_rounds_once(items: list[float]) -> None:
    wide = np.array(items, dtype=np.float64)
    with np.errstate(over="ignore"):
        expected = wide.astype(np.float16)
    actual = torch_to_numpy(to_dtype(torch.from_numpy(wide), "float16"))
    assert np.array_equal(actual.view(np.int16), expected.view(np.int16))


@pytest.mark.parametrize("target", ["bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"])
def test_a_cast_to_a_narrow_float_is_that_of_another_library(target: str) -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**32, 20000, dtype=np.uint64).astype(np.uint32)
    wide = np.concatenate([bits.view(np.float32), rng.normal(0, 300, 20000).astype(np.float32)])
    kind = lookup(target)
    with np.errstate(all="ignore"):
        expected = wide.astype(kind.numpy).astype(np.float64)
        actual = torch_to_numpy(to_dtype(numpy_to_torch(wide), target, saturate=False)).astype(np.float64)
        saturated = torch_to_numpy(to_dtype(numpy_to_torch(wide), target)).astype(np.float64)
    assert np.array_equal(actual, expected, equal_nan=True)
    if target != "bfloat16":
        beyond = np.where(np.isnan(wide), np.nan, np.copysign(kind.largest, wide))
        assert np.array_equal(saturated, np.where(np.isfinite(expected), expected, beyond), equal_nan=True)


def test_scans_and_loops_that_the_evaluator_cannot_do_have_the_values_of_a_calculation_by_hand() -> None:
    by_name = {s.name: s for s in OPERATORS["Scan"].samples()}
    sample = by_name["backwards"]
    content = build(OPERATORS["Scan"], sample, "int64", OPSET, "Scan/backwards/int64")
    case = _case(OPERATORS["Scan"], "Scan/backwards/int64", "int64", OPSET)
    ((final, scanned),) = expect_content(case, content, sample)
    state, rows = content.feeds[0].values()
    wanted = []
    for row in rows[::-1]:
        wanted.append(state - row)
        state = state + row
    assert np.array_equal(final.value, state)
    assert np.array_equal(scanned.value, np.array(wanted))


# The rules of this part: planted defects must be seen, and other valid answers must not.


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize(("sorted_", "verdict"), [(1, Verdict.WRONG), (0, Verdict.PASS)])
def test_of_equal_elements_top_k_takes_the_lowest_first_where_it_sorts(
    dtype: str, sorted_: int, verdict: Verdict
) -> None:
    operator, x = OPERATORS["TopK"], np.array([[3, 1, 3, 2, 3]], dtype=dtype)
    attributes = {"axis": -1, "largest": 1, "sorted": sorted_}
    threes = np.array([[3, 3]], dtype=dtype)
    expected = [Expected(dtype, operator.rule, threes), Expected("int64", operator.rule, np.array([[0, 2]]))]

    def found(*indices: int) -> Verdict:
        return judge(expected, [threes, np.array([indices])], [x, np.array([2])], attributes).verdict

    assert found(0, 2) is Verdict.PASS
    assert found(2, 0) is verdict
    assert found(0, 4) is verdict
    assert found(0, 3) is Verdict.WRONG


def test_top_k_may_order_unsorted_results_as_it_likes() -> None:
    x = np.array([[3, 1, 3, 2, 3]], dtype=np.float32)
    unsorted = {"axis": -1, "largest": 1, "sorted": 0}
    first = same_top([x], unsorted, [np.array([[3, 2]], np.float32), np.array([[0, 3]])])
    second = same_top([x], unsorted, [np.array([[2, 3]], np.float32), np.array([[3, 2]])])
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("values", "indices", "why"),
    [
        ([3, 3], [0, 1], "point"),
        ([3, 3], [0, 0], "twice"),
        ([3, 3], [0, 9], "indices"),
    ],
)
def test_top_k_with_inconsistent_indices_is_seen(values: list[int], indices: list[int], why: str) -> None:
    x = np.array([[3, 1, 3, 2, 3]], dtype=np.float32)
    with pytest.raises(ValueError, match=why):
        same_top(
            [x], {"axis": -1, "largest": 1, "sorted": 1}, [np.array([values], np.float32), np.array([indices])]
        )


def test_boxes_may_come_in_any_order_but_must_be_the_same_ones() -> None:
    boxes = np.array([[[0, 0, 1, 1], [0, 0, 1, 1], [5, 5, 6, 6]]], dtype=np.float32)
    scores = np.array([[[2, 2, 1]]], dtype=np.float32)

    def canonical(*rows: tuple[int, int, int]) -> list[list[int]]:
        found: list[list[int]] = same_boxes([boxes, scores], {}, [np.array(rows)])[0].tolist()
        return found

    assert canonical((0, 0, 0), (0, 0, 2)) == canonical((0, 0, 2), (0, 0, 1))
    assert canonical((0, 0, 0), (0, 0, 2)) != canonical((0, 0, 0), (0, 0, 1))
    with pytest.raises(ValueError, match="does not exist"):
        canonical((0, 0, 3))


NORMAL = {"mean": 1.0, "scale": 2.0}
UNIFORM = {"low": -1.0, "high": 3.0}
SHAPE = (256, 256)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_right_random_samples_are_accepted_for_every_seed(dtype: str) -> None:
    kind = lookup(dtype).numpy
    p = np.linspace(0, 1, 2**12).reshape(64, 64).astype(kind)
    for seed in range(25):
        rng = np.random.default_rng(seed)
        assert normal_problem([], NORMAL, [rng.normal(1, 2, SHAPE).astype(kind)]) is None
        assert uniform_problem([], UNIFORM, [rng.uniform(-1, 3, SHAPE).astype(kind)]) is None
        coarse = (rng.integers(0, 2**11, SHAPE) * 2.0**-9 - 1).astype(np.float16)  # an 11-bit generator
        assert uniform_problem([], UNIFORM, [coarse]) is None
        assert bernoulli_problem([p], {}, [(rng.random(p.shape) < p).astype(kind)]) is None
        # As in ONNX's function body, whose uniform numbers have the type of p and may be 0.
        sure = np.concatenate([p, np.zeros_like(p), np.ones_like(p)])
        uniforms = (rng.integers(0, 2**11, sure.shape) * 2.0**-11).astype(np.float16)
        assert bernoulli_problem([sure.astype(np.float16)], {}, [(uniforms > sure).astype(kind)]) is None


def _draws() -> Mapping[str, tuple[Any, Mapping[str, Any], Any]]:
    rng = np.random.default_rng(1)
    normal, uniform = rng.normal(1, 2, SHAPE), rng.uniform(-1, 3, SHAPE)
    few = np.tile(normal[:1], (256, 1))
    return {
        "scale ignored": (normal_problem, NORMAL, (normal - 1) / 2 + 1),
        "scale taken for the variance": (normal_problem, NORMAL, (normal - 1) / 2**0.5 + 1),
        "mean ignored": (normal_problem, NORMAL, normal - 1),
        "uniform for normal": (normal_problem, NORMAL, uniform),
        "a constant": (normal_problem, NORMAL, np.ones(SHAPE)),
        "one row repeated": (normal_problem, NORMAL, few),
        "sorted": (normal_problem, NORMAL, np.sort(normal.ravel()).reshape(SHAPE)),
        "every value twice in turn": (
            normal_problem,
            NORMAL,
            np.repeat(normal.ravel()[::2], 2) + rng.normal(0, 1e-3, 65536),
        ),
        "a NaN": (normal_problem, NORMAL, np.where(normal == normal.max(), np.nan, normal)),
        "one tail cut off": (normal_problem, NORMAL, np.minimum(normal, 3.5)),
        "high ignored": (uniform_problem, UNIFORM, (uniform + 1) / 2 - 1),
        "out of range": (uniform_problem, UNIFORM, uniform + 0.01),
        "half the range": (uniform_problem, UNIFORM, (uniform - 1) / 2 + 1),
    }


@pytest.mark.parametrize("defect", _draws())
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_wrong_random_sample_is_seen(defect: str, dtype: str) -> None:
    test, attributes, draw = _draws()[defect]
    assert test([], attributes, [draw.astype(lookup(dtype).numpy)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_range_may_be_added_up_as_in_onnxs_function_body_and_nothing_worse(dtype: str) -> None:
    operator, key = OPERATORS["Range"], f"Range/many-tenths/{dtype}"
    sample = next(s for s in operator.samples() if s.name == "many-tenths")
    content, case = build(operator, sample, dtype, OPSET, key), _case(operator, key, dtype, OPSET)
    start, limit, delta = (a.reshape(()) for a in content.feeds[0].values())
    i = np.arange(2000, dtype=start.dtype)
    addends = np.concatenate([[start], np.full(1999, delta)], dtype=start.dtype)

    def passes(y: np.ndarray) -> bool:
        return not _problems(operator, sample, content, case, lambda model, feed: [y.astype(start.dtype)])

    assert passes(start + i * delta)
    assert passes(np.cumsum(addends))
    assert not passes(start + i * np.float16(delta))
    assert not passes(start + (i + 1) * delta)
    assert not passes(np.linspace(start, limit, 2000))


@pytest.mark.parametrize("defect", ["inverted for small p", "thresholded", "half", "twos"])
def test_a_wrong_bernoulli_is_seen(defect: str) -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(0, 1, SHAPE).astype(np.float32)
    drawn = {
        "inverted for small p": np.where(p < 0.5, rng.random(SHAPE) > p, rng.random(SHAPE) < p),
        "thresholded": p > 0.5,
        "half": rng.random(SHAPE) < 0.5,
        "twos": 2 * (rng.random(SHAPE) < p),
    }[defect]
    assert bernoulli_problem([p], {}, [drawn.astype(np.float32)])


def test_a_wrong_multinomial_is_seen() -> None:
    rng = np.random.default_rng(2)
    logits = np.array([[0.0, 1.0, 2.0, -np.inf]], dtype=np.float32)
    chances = np.exp(logits[0]) / np.exp(logits[0]).sum()
    right = rng.choice(4, (1, 20000), p=chances.astype(np.float64) / chances.astype(np.float64).sum())
    assert multinomial_problem([logits], {}, [right]) is None
    assert multinomial_problem([logits], {}, [rng.integers(0, 3, (1, 20000))])
    assert multinomial_problem([logits], {}, [np.where(right == 0, 3, right)])
    assert multinomial_problem([logits], {}, [right + 2])


@pytest.mark.parametrize(
    "defect", ["none", "unscaled", "all kept", "ratio inverted", "mask inverted", "rows dropped whole", "leaks"]
)
def test_a_wrong_dropout_is_seen(defect: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1, SHAPE).astype(np.float32)
    mask = rng.random(SHAPE) >= 0.25
    mask = {
        "all kept": np.ones_like(mask),
        "ratio inverted": rng.random(SHAPE) >= 0.75,
        "rows dropped whole": np.repeat(rng.random((256, 1)) >= 0.25, 256, axis=1),
    }.get(defect, mask)
    y = np.where(mask, x if defect == "unscaled" else x / np.float32(0.75), 0).astype(np.float32)
    if defect == "leaks":
        y[~mask] = 1e-3
    inputs = [x, np.array(0.25, np.float32), np.array(True)]
    problem = dropout_problem(inputs, {}, [y, ~mask if defect == "mask inverted" else mask])
    assert (problem is None) == (defect == "none")


def test_dropout_in_inference_must_not_touch_the_data() -> None:
    x = np.array([[1.0, -0.0, np.nan, np.inf]], dtype=np.float32)
    assert dropout_problem([x], {}, [x, np.ones(x.shape, bool)]) is None
    assert dropout_problem([x], {}, [x * 2, np.ones(x.shape, bool)])
    assert dropout_problem([x], {}, [np.abs(x), np.ones(x.shape, bool)])
    assert dropout_problem([x], {}, [x, np.zeros(x.shape, bool)])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dropout_of_subnormal_numbers_may_give_zeros_where_that_is_declared(dtype: str, training: bool) -> None:
    kind = lookup(dtype)
    rng = np.random.default_rng(3)
    x = (rng.uniform(-2, 2, SHAPE) * kind.smallest).astype(kind.numpy)
    mask = rng.random(SHAPE) >= 0.25 if training else np.ones(SHAPE, bool)
    inputs = [x, np.array(0.25, np.float32), np.array(training)]
    kept = (x.astype(np.float64) / (0.75 if training else 1.0)).astype(kind.numpy)
    y = np.where(mask, kept, 0).astype(kind.numpy)
    flushed = np.where(np.abs(y.astype(np.float64)) < kind.smallest, 0, y).astype(kind.numpy)
    before = np.where(np.abs(x.astype(np.float64)) < kind.smallest, 0, y).astype(kind.numpy)
    for declared in (False, True):
        assert dropout_problem(inputs, {}, [y, mask], declared) is None
        assert (dropout_problem(inputs, {}, [flushed, mask], declared) is None) == declared
        assert (dropout_problem(inputs, {}, [before, mask], declared) is None) == declared
        assert dropout_problem(inputs, {}, [np.zeros_like(y), mask], declared)
