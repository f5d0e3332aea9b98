"""The elementwise operators and reductions: their meanings against ONNX's evaluator, ONNX's vectors and hand
calculations, and their samples against the schemas."""

from __future__ import annotations

import functools
import importlib
import operator
import pkgutil
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from conformance.dtypes import DTYPES, FLOATS, lookup
from conformance.graphs import Node, build, dtypes_of, nodes_of, schema_of
from conformance.interpreter import call, to_array, to_tensor
from conformance.judge import judge
from conformance.operators import catalogue
from conformance.operators.samples import fits
from conformance.oracle import expect
from conformance.spec import Operator, Sample, Verdict

FAMILIES = ("arithmetic", "elementary", "activations", "logic", "reductions")
OPERATORS = {o.name: o for o in catalogue().values() if o.family in FAMILIES}
OPSET = 21


class Explained(NamedTuple):
    """Why ONNX's evaluator does not say what the definition does, and how far off it may be (None: not compared)."""

    reason: str
    relative: float | None = None
    absolute: float = 0.0


_ERF = Explained("the evaluator's erf is a polynomial of single precision", 1e-6, 3e-7)
_EXPM1 = Explained("the evaluator uses expm1 where the definition has exp(x) - 1", 1e-12, 2e-16)
_COERCION = Explained("before opset 13 the axes from `axis` on are one; the evaluator has only opset 13's meaning")
_IN_PLACE = Explained("the evaluator adds in place, into the first operand's shape")
_RANK_0 = Explained("the evaluator returns a NumPy scalar and rejects it")
_WIDENED = Explained("the evaluator returns the sum of int32 as int64, of uint32 as uint64")
DISAGREEMENTS: Mapping[str, Explained] = {
    "Erf": _ERF,
    "Gelu": _ERF,
    "HardSwish": Explained("1/6 is a float32 number in the evaluator", 1e-7, 1e-7),
    "Elu": _EXPM1,
    "Selu": _EXPM1,
    "Celu": _EXPM1,
    **{
        f"{operator}/{sample}": _COERCION
        for operator in ("Softmax", "LogSoftmax", "Hardmax")
        for sample in ("opset-11-two-axes", "opset-11-default-axis", "opset-12-negative-axis")
    },
    "Mean/broadcast": _IN_PLACE,
    "Mean/rank-6": _IN_PLACE,
    "Mean/special": _IN_PLACE,
    "Softsign/scalar": _RANK_0,
    "ReduceLogSumExp/scalar": _RANK_0,
    "ReduceSumSquare/limits-int32": _WIDENED,
    "ReduceSumSquare/limits-uint32": _WIDENED,
    "ReduceSumSquare/axis-1": _WIDENED,
    "ReduceSumSquare/empty": _WIDENED,
    "ReduceSumSquare/axes-attribute": _WIDENED,
}
# In each of the last two columns, the model breaks a rule that ONNX states in words and the checker does not test.
STATED_IN_WORDS = {
    ("Mod", "floats-without-fmod"),
    ("Clip", "vector-limit"),
    ("CumSum", "axis-out-of-range"),
    ("CumProd", "axis-out-of-range"),
    ("PRelu", "slope-wider"),
}


def _cases(
    operator: Operator, *, refuse: bool = False, among: tuple[str, ...] | None = None
) -> Iterator[tuple[Sample, str, int]]:
    """Each sample in each dtype with its opset; of the dtypes in ``among``, only the first that a sample has."""
    for sample in operator.samples():
        if bool(sample.refuse) != refuse:
            continue
        opset = sample.opset or OPSET
        dtypes = dtypes_of(operator, sample, opset)
        alike = [d for d in among or () if d in dtypes]
        for dtype in dtypes:
            if dtype not in alike[1:]:
                yield sample, dtype, opset


def _inputs(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> tuple[Node, list[np.ndarray | None]]:
    (node,) = nodes_of(model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return node, [{**constants, **feed}[n] if n else None for n in node.inputs]


def _evaluate(node: Node, inputs: list[np.ndarray | None], *, widen: bool) -> list[np.ndarray]:
    tensors = [None if a is None else to_tensor(a, widen=widen) for a in inputs]
    outputs = call(node, tensors, widen=widen)
    floats = {d: "float64" if widen and lookup(d).is_float else d for d in node.dtypes}
    return [to_array(t, floats[d]) for t, d in zip(outputs, node.dtypes, strict=True)]


def _in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    narrow = {lookup(d).onnx for d in FLOATS}
    for value in (*wide.graph.input, *wide.graph.output):
        if value.type.tensor_type.elem_type in narrow:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for tensor in wide.graph.initializer:
        if tensor.data_type in narrow:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return wide


def _by_evaluator(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    floats = {lookup(d).numpy for d in FLOATS}
    wide = {n: a.astype(np.float64) if a.dtype in floats else a for n, a in feed.items()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [np.asarray(o) for o in ReferenceEvaluator(_in_float64(model)).run(None, wide)]


def _differs(mine: list[np.ndarray], theirs: list[np.ndarray], relative: float, absolute: float) -> str:
    for a, b in zip(mine, theirs, strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return f"{a.dtype}{a.shape} against {b.dtype}{b.shape}"
        same = np.isclose(a, b, relative, absolute, equal_nan=True) if a.dtype.kind == "f" else a == b
        if not np.all(same):
            worst = np.unravel_index(np.argmin(same), same.shape)
            return f"{a[worst]!r} against {b[worst]!r} at {worst}, {np.sum(~same)} of {same.size}"
    return ""


@pytest.mark.parametrize("name", OPERATORS)
def test_a_meaning_in_float64_says_what_the_reference_evaluator_says(name: str) -> None:
    operator = OPERATORS[name]
    agreed = set()
    # In float64 the evaluation is the same whichever float the inputs were drawn for.
    for sample, dtype, opset in _cases(operator, among=FLOATS):
        if dtype == "string":
            continue  # tests/test_dtypes.py
        content = build(operator, sample, dtype, opset, f"0/{name}/{sample.name}/{dtype}")
        key = f"{name}/{sample.name}"
        explained = DISAGREEMENTS.get(key, DISAGREEMENTS.get(name, Explained("", 1e-12)))
        for feed in content.feeds:
            node, inputs = _inputs(content.model, feed)
            mine = _evaluate(node, inputs, widen=True)
            if explained.relative is None:
                try:
                    same = not _differs(mine, _by_evaluator(content.model, feed), 1e-12, 0.0)
                except (TypeError, ValueError):
                    same = False
                agreed |= {key} if same and lookup(dtype).is_float and explained is not _WIDENED else set()
                continue
            message = _differs(mine, _by_evaluator(content.model, feed), explained.relative, explained.absolute)
            assert not message, f"{key}/{dtype}: {message}"
    assert not agreed, f"no longer a disagreement: {agreed}"


@functools.cache
def _vectors() -> Mapping[str, list[Any]]:
    """ONNX's node vectors of these operators. Only their modules are imported: all of them take many seconds."""
    package = importlib.import_module("onnx.backend.test.case.node")
    wanted = {n.lower() for n in OPERATORS}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.replace("_", "") in wanted:
                importlib.import_module(f"{package.__name__}.{module.name}")
    found: dict[str, list[Any]] = {}
    for case in package._NodeTestCases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and not nodes[0].domain:
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


# Vectors that the meaning, run in the vector's own type, does not reproduce.
VECTORS_EXPLAINED = {
    "test_celu_bfloat16": "each step is rounded to bfloat16: one ulp, where the vectors' tolerance is a quarter",
    "test_equal_string": "strings are no tensors in torch",
    "test_equal_string_broadcast": "strings are no tensors in torch",
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_meaning_reproduces_the_published_vectors(name: str) -> None:
    cases = _vectors()[name]
    assert cases, "ONNX has no vectors for this operator"
    for case in cases:
        if case.name in VECTORS_EXPLAINED:
            continue
        for inputs, outputs in case.data_sets:
            feed = {i.name: np.asarray(a) for i, a in zip(case.model.graph.input, inputs, strict=True)}
            node, arrays = _inputs(case.model, feed)
            for mine, theirs in zip(_evaluate(node, arrays, widen=False), outputs, strict=True):
                assert mine.dtype == np.asarray(theirs).dtype, case.name
                exact = mine.dtype.kind in "iub"
                kwargs = {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": case.rtol, "atol": case.atol}
                wide = np.int64 if exact else np.float64
                np.testing.assert_allclose(mine.astype(wide), theirs.astype(wide), **kwargs, err_msg=case.name)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_meaning_run_in_narrow_types_stays_within_its_own_bound(name: str) -> None:
    operator = OPERATORS[name]
    for sample, dtype, opset in _cases(operator, among=("float16", "bfloat16")):
        if dtype not in ("float16", "bfloat16") or sample.tags & {"large", "dynamic"}:
            continue
        content = build(operator, sample, dtype, opset, f"0/{name}/{sample.name}/{dtype}")
        node, inputs = _inputs(content.model, content.feeds[0])
        expected = expect(node, inputs, key=f"{name}/{sample.name}/{dtype}", exact=sample.exact)
        found = judge(expected, _evaluate(node, inputs, widen=False), inputs, node.attributes)
        assert found.verdict is Verdict.PASS, f"{name}/{sample.name}/{dtype}: {found.message}"


@pytest.mark.parametrize("name", OPERATORS)
def test_samples_have_distinct_names_and_cover_what_every_operator_is_asked(name: str) -> None:
    operator = OPERATORS[name]
    samples = list(operator.samples())
    names = [s.name for s in samples]
    assert len(set(names)) == len(names)
    tags = frozenset().union(*(s.tags for s in samples))
    unasked = {"large"} if name in ("Mod", "BitShift") else set()
    if name in ("CumSum", "CumProd", "Softmax", "LogSoftmax", "Hardmax"):
        unasked = {"scalar"}  # there is no axis then
    assert {"scalar", "empty", "large", "dynamic"} <= tags | unasked
    assert any(s.refuse for s in samples)
    assert all(dtypes_of(operator, s, s.opset or OPSET) for s in samples)
    assert sum(1 for _ in _cases(operator)) <= 90


@pytest.mark.parametrize("name", OPERATORS)
def test_every_dtype_of_the_schema_is_tried(name: str) -> None:
    operator = OPERATORS[name]
    tried = {dtype for _, dtype, _ in _cases(operator)}
    everything = Sample("everything", (), dtypes=None)
    newest = max(sample.opset or OPSET for sample in operator.samples())
    assert set(dtypes_of(operator, everything, OPSET if schema_of(name, OPSET) else newest)) <= tried


@pytest.mark.parametrize("name", OPERATORS)
def test_the_checker_accepts_valid_models_and_rejects_those_to_refuse(name: str) -> None:
    operator = OPERATORS[name]
    for sample, dtype, opset in _cases(operator, among=tuple(DTYPES)):
        if sample.name == "axes-at-run-time":  # nobody can infer the shape, which the checker wants declared
            continue
        model = build(operator, sample, dtype, opset, "0").model
        onnx.checker.check_model(model, full_check=True)
    for sample, dtype, opset in _cases(operator, refuse=True):
        model = build(operator, sample, dtype, opset, "0").model
        if (name, sample.name) in STATED_IN_WORDS:
            onnx.checker.check_model(model, full_check=True)
        else:
            with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
                onnx.checker.check_model(model, full_check=True)


# By hand: what neither the evaluator nor the vectors settle.


def _run(name: str, *arrays: Any, opset: int = OPSET, dtype: str = "float32", **attributes: Any) -> np.ndarray:
    """One operator on arrays, in their types; the output is of ``dtype``."""
    inputs = tuple(f"x{i}" if a is not None else "" for i, a in enumerate(arrays))
    schema = schema_of(name, opset)
    defaults = {
        k: onnx.helper.get_attribute_value(a.default_value)
        for k, a in schema.attributes.items()
        if a.default_value.name
    }
    node = Node("n", name, "", opset, inputs, ("y",), {**defaults, **attributes}, (dtype,))
    return _evaluate(node, [None if a is None else np.asarray(a) for a in arrays], widen=False)[0]


@pytest.mark.parametrize(
    ("dtype", "highest", "lowest"),
    [
        ("float32", -np.inf, np.inf),
        ("float16", -np.inf, np.inf),
        ("int8", -128, 127),
        ("uint8", 0, 255),
        ("int32", -(2**31), 2**31 - 1),
        ("uint32", 0, 2**32 - 1),
        ("int64", -(2**63), 2**63 - 1),
        ("uint64", 0, 2**64 - 1),
        ("bool", False, True),
    ],
)
def test_extremes_over_no_elements_are_the_identities_of_the_type(dtype: str, highest: Any, lowest: Any) -> None:
    empty, axes = np.zeros((2, 0, 3), lookup(dtype).numpy), np.array([1])
    for name, value in (("ReduceMax", highest), ("ReduceMin", lowest)):
        result = _run(name, empty, axes, dtype=dtype)
        assert result.shape == (2, 1, 3)
        assert result.dtype == lookup(dtype).numpy
        assert all(v == value for v in result.flat)


def test_softmax_before_opset_13_takes_all_axes_from_its_own_on_as_one() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7
    flat = np.exp(x.reshape(2, 12).astype(np.float64))
    shares = (flat / flat.sum(1, keepdims=True)).reshape(2, 3, 4)
    np.testing.assert_allclose(_run("Softmax", x, opset=11), shares, rtol=1e-6)
    np.testing.assert_allclose(_run("LogSoftmax", x, opset=12), np.log(shares), rtol=1e-5)
    assert _run("Hardmax", x, opset=11).sum() == 2
    assert _run("Hardmax", x, opset=13).sum() == 6


def test_crossed_limits_clip_everything_to_the_maximum() -> None:
    x = np.array([-5.0, 0.0, 5.0], np.float32)
    assert _run("Clip", x, np.float32(2), np.float32(-1)).tolist() == [-1, -1, -1]


def test_remainders_take_the_divisors_sign_and_fmod_the_dividends() -> None:
    a, b = np.array([7, -7, 7, -7], np.int32), np.array([3, 3, -3, -3], np.int32)
    assert _run("Mod", a, b, dtype="int32").tolist() == [1, 2, -2, -1]
    assert _run("Mod", a, b, dtype="int32", fmod=1).tolist() == [1, -1, 1, -1]
    assert _run("Div", a, b, dtype="int32").tolist() == [2, -2, -2, 2]


@pytest.mark.parametrize(("base", "exponent"), [(3, 39), (-7, 21), (11, 17), (-2, 31)])
def test_powers_of_integers_are_exact(base: int, exponent: int) -> None:
    assert _run("Pow", np.int64([base]), np.int64([exponent]), dtype="int64").tolist() == [base**exponent]


def test_halves_round_to_even() -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    assert _run("Round", x).tolist() == [-2, -2, 0, 0, 2, 2]


def test_no_axes_and_noop_leave_only_the_steps_that_do_not_reduce() -> None:
    x = np.array([[-1.5, 2.0]], np.float32)
    for name, step in (("ReduceSum", lambda v: v), ("ReduceL1", abs), ("ReduceSumSquare", np.square)):
        np.testing.assert_array_equal(_run(name, x, noop_with_empty_axes=1), step(x))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_bits_shifted_past_the_end_are_gone(dtype: str) -> None:
    kind = lookup(dtype).numpy
    high = 2 ** (8 * kind.itemsize - 2)
    x, y = np.array([high + 1], kind), np.array([2], kind)
    assert _run("BitShift", x, y, dtype=dtype, direction="LEFT").tolist() == [4]
    assert _run("BitShift", x, y, dtype=dtype, direction="RIGHT").tolist() == [high // 4]


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.integers(-3, 3), min_size=12, max_size=12), last=st.booleans(), axis=st.integers(-2, 1))
def test_among_equals_the_first_or_last_position_is_chosen(data: list[int], last: bool, axis: int) -> None:
    x = np.array(data, np.int32).reshape(3, 4)
    for name, best in (("ArgMax", np.max), ("ArgMin", np.min)):
        at = _run(name, x, dtype="int64", axis=axis, select_last_index=int(last), keepdims=0)
        for position, line in zip(at, np.moveaxis(x, axis, -1), strict=True):
            places = np.flatnonzero(line == best(line))
            assert position == (places[-1] if last else places[0])


def test_the_log_of_summed_exponentials_never_overflows() -> None:
    x = torch.tensor([[800.0, 800.0], [-800.0, -800.0]])
    meaning = OPERATORS["ReduceLogSumExp"].meaning
    assert meaning is not None
    expected = torch.tensor([[800.0], [-800.0]]) + np.log(2)
    torch.testing.assert_close(meaning(x, [1]), expected)


# The exact results, on arrays of Python's integers.
_WHOLE: Mapping[str, Any] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Neg": operator.neg,
    "Abs": abs,
    "CumSum": lambda x, axis: np.cumsum(x),
    "ReduceSum": lambda x, axes: np.sum(x, 1),
    "ReduceL1": lambda x, axes: np.sum(abs(x), 1),
    "ReduceSumSquare": lambda x, axes: np.sum(x * x, 1),
}


@pytest.mark.parametrize("name", _WHOLE)
def test_no_case_asks_what_comes_of_integer_overflow(name: str) -> None:
    compared = 0
    for sample, dtype, opset in _cases(OPERATORS[name]):
        sums = name.startswith(("CumSum", "Reduce"))
        if lookup(dtype).is_float or (sums and not sample.name.startswith(("limits", "beyond"))):
            continue
        content = build(OPERATORS[name], sample, dtype, opset, f"0/{name}/{sample.name}/{dtype}")
        for feed in content.feeds:
            node, inputs = _inputs(content.model, feed)
            exact = np.ravel(_WHOLE[name](*(a.astype(object) for a in inputs if a is not None)))
            (mine,) = _evaluate(node, inputs, widen=False)
            assert all(fits(v, dtype) for v in exact), f"{name}/{sample.name}/{dtype}"
            assert mine.ravel().tolist() == exact.tolist()
            compared += 1
    assert compared > 1
