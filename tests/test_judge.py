"""The judge: agreement with a slow and obvious twin, and the right verdict for every wrong thing planted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.dtypes import lookup
from conformance.judge import CHUNK, Judgement, combine, judge
from conformance.numerics import Expected
from conformance.rules import (
    EXACT,
    ROUNDED,
    Accumulation,
    Composite,
    Elementary,
    Exact,
    OrderFree,
    Random,
    Requantised,
    Rounded,
    Rule,
)
from conformance.spec import Verdict

INF, NAN = math.inf, math.nan
PASS, INACCURATE, WRONG = Verdict.PASS, Verdict.INACCURATE, Verdict.WRONG


def one(want: Expected, got: object, **options: bool) -> Judgement:
    return judge([want], [got], (), {}, **options)


# --- The twin: one element at a time, straight from docs/numerics.md. ------------------------------------------


def twin(rule: Rule, dtype: str, y: float, a: float, magnitude: float, terms: float, ftz: bool) -> Verdict:
    kind = lookup(dtype)
    u, smallest_subnormal = kind.u, kind.smallest * 2.0**-kind.p
    if isinstance(rule, Exact):
        if math.isnan(y) or math.isnan(a):
            return PASS if math.isnan(y) and math.isnan(a) else WRONG
        if ftz and a == 0 and abs(y) < kind.smallest:
            return PASS
        if y != a or (rule.signed_zero and y == 0 and math.copysign(1, y) != math.copysign(1, a)):
            return WRONG
        return PASS
    if math.isnan(y):
        return PASS if math.isnan(a) else WRONG
    if math.isinf(y):
        return PASS if a == y else WRONG
    ulp = smallest_subnormal
    if abs(y) >= kind.smallest:
        ulp = 2.0 ** (math.frexp(y)[1] - 1 - kind.p)
    if isinstance(rule, (Rounded, Elementary)):
        count = rule.narrow if dtype in ("float16", "bfloat16") else rule.ulps
        bound = max(count * ulp, smallest_subnormal)
        if isinstance(rule, Elementary):
            bound = max(bound, count * u * rule.scale)
    else:
        accumulator = lookup(kind.accumulator)
        size = max(magnitude, accumulator.smallest)
        bound = 4 * math.sqrt(max(terms, 1)) * accumulator.u * size + max(2 * u * abs(y), ulp)
    if dtype == "float64":
        bound *= 2
    if ftz:
        bound += kind.smallest
    if isinstance(rule, Accumulation) and magnitude == 0:
        bound = 0.0
    if math.isnan(a):
        return WRONG
    if math.isinf(a):
        return PASS if math.copysign(1, a) == math.copysign(1, y) and abs(y) + bound >= kind.largest else WRONG
    if abs(a - y) <= bound:
        return PASS
    return WRONG if abs(y) > kind.largest + bound else INACCURATE


special = st.sampled_from([0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 65504.0, 65519.0, 65520.0, 3.4e38, 3.5e38, 1e-40])
numbers = st.one_of(special, st.floats(-1e5, 1e5), st.floats(-1e-4, 1e-4), st.floats(-1e300, 1e300))
steps = st.sampled_from([0.0, 0.3, 0.49, 0.51, 0.99, 1.01, 1.9, 2.1, 2.9, 3.1, 5.0, 100.0])
rules = st.sampled_from([ROUNDED, Rounded(2.5, 1.0), Elementary(3, 2), Elementary(4, 2, 1.0), Accumulation()])
dtypes = st.sampled_from(["float32", "float16", "bfloat16", "float64"])
elements = st.lists(
    st.tuples(numbers, st.one_of(st.tuples(steps, st.sampled_from([-1, 1])), special), st.floats(1, 4)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules, dtypes, elements, st.integers(0, 5000), st.booleans())
def test_approximate_rules_agree_with_the_twin(
    rule: Rule, dtype: str, drawn: list[Any], terms: int, ftz: bool
) -> None:
    target = lookup(dtype).numpy
    values, actual, sizes = [], [], []
    for y, how, size in drawn:
        kind = lookup(dtype)
        with np.errstate(all="ignore"):
            if isinstance(how, tuple) and math.isfinite(y):
                unit = max(2.0 ** (math.frexp(y)[1] - 1) if y else 0.0, kind.smallest) * 2.0**-kind.p
                a = y + how[0] * how[1] * unit
            else:
                a = y if isinstance(how, tuple) else how
            actual.append(np.array(a).astype(target))
        values.append(y)
        sizes.append(abs(y) * size if math.isfinite(y) else abs(y))
    y_ = np.array(values, np.float64)
    got = np.array(actual, target).reshape(y_.shape)
    want = Expected(dtype, rule, y_, np.minimum(np.array(sizes), 1e38), np.full(1, float(terms)))
    magnitude = want.magnitude
    assert magnitude is not None
    verdicts = [
        twin(rule, dtype, y, float(a), m, terms, ftz)
        for y, a, m in zip(values, got.astype(np.float64), magnitude, strict=True)
    ]
    worst = max(verdicts, key=[PASS, INACCURATE, WRONG].index, default=PASS)
    found = one(want, got, flush_to_zero=ftz)
    assert found.verdict is worst, (found, verdicts)
    if verdicts:
        assert found.error["share"] == sum(v is not PASS for v in verdicts) / len(verdicts)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["float32", "float16", "bfloat16", "float64"]),
    st.lists(st.tuples(numbers, st.booleans(), numbers), max_size=12),
    st.booleans(),
    st.booleans(),
)
def test_exact_floats_agree_with_the_twin(dtype: str, drawn: list[Any], signed_zero: bool, ftz: bool) -> None:
    target = lookup(dtype).numpy
    with np.errstate(all="ignore"):
        value = np.array([y for y, _, _ in drawn], np.float64).astype(target)
        got = np.array([y if same else other for y, same, other in drawn], np.float64).astype(target)
    rule = Exact(signed_zero)
    verdicts = [twin(rule, dtype, float(y), float(a), 0, 0, ftz) for y, a in zip(value, got, strict=True)]
    assert one(Expected(dtype, rule, value), got, flush_to_zero=ftz).verdict is (
        WRONG if WRONG in verdicts else PASS
    )


@given(st.lists(st.tuples(st.integers(-128, 127), st.integers(-128, 127)), max_size=20))
def test_integers_are_equal_or_wrong(pairs: list[tuple[int, int]]) -> None:
    value, got = (np.array([p[i] for p in pairs], np.int8) for i in (0, 1))
    found = one(Expected("int8", EXACT, value), got)
    assert (found.verdict is PASS) == all(a == b for a, b in pairs)


# --- Phases before values ---------------------------------------------------------------------------------------

Y = np.arange(6.0).reshape(2, 3)
A = Y.astype(np.float32)


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    ("actual", "verdict", "says"),
    [
        (None, WRONG, "None instead of a list"),
        (A, WRONG, "numpy.ndarray instead of a list"),
        ({"y": A}, WRONG, "dict instead of a list"),
        (iter([A]), WRONG, "instead of a list"),
        ([], WRONG, "0 outputs instead of 1"),
        ([A, A], WRONG, "2 outputs instead of 1"),
        ([A.tolist()], WRONG, "is a list instead of an array"),
        ([1.5], WRONG, "is a float instead of an array"),
        ([None], WRONG, "is None instead of an array"),
        ([np.ma.array(A)], WRONG, "MaskedArray"),
        ([Y], WRONG, "dtype float64 instead of float32"),
        ([A.astype(object)], WRONG, "dtype object"),
        ([A.astype(np.int32)], WRONG, "dtype int32"),
        ([A.astype("U8")], WRONG, "dtype"),
        ([A.T], WRONG, r"shape \[3, 2\] instead of \[2, 3\]"),
        ([A[None]], WRONG, "shape"),
        ([np.float32(1)], WRONG, r"shape \[\]"),
        ([A.astype(">f4")], PASS, ""),
        ([np.asfortranarray(A)], PASS, ""),
        ([A.view(Subclass)], PASS, ""),
        ((A,), PASS, ""),
        ([np.repeat(A, 2, axis=1)[:, ::2]], PASS, ""),
    ],
    ids=range(22),
)
@pytest.mark.parametrize("rule", [ROUNDED, EXACT], ids=["rounded", "exact"])
def test_whatever_is_returned_gets_a_verdict(rule: Rule, actual: Any, verdict: Verdict, says: str) -> None:
    want = Expected("float32", rule, Y if rule is ROUNDED else A)
    found = judge([want], actual, (), {})
    assert found.verdict is verdict
    assert bool(found.message) == (verdict is not PASS)
    assert re.search(says, found.message)


def test_bool_is_not_uint8_and_bfloat16_is_not_its_bits() -> None:
    assert one(Expected("bool", EXACT, np.array([True])), np.array([1], np.uint8)).verdict is WRONG
    bits = np.array([1.5], ml_dtypes.bfloat16).view(np.uint16)
    assert one(Expected("bfloat16", ROUNDED, np.array([1.5])), bits).verdict is WRONG


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int8", "bool", "int4", "string"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_scalars_and_empty_outputs_are_judged(dtype: str, shape: tuple[int, ...]) -> None:
    value = np.zeros(shape, lookup(dtype).numpy)
    found = one(Expected(dtype, EXACT, value), value.copy())
    assert found.verdict is PASS
    if value.size:
        other = np.ones(shape, lookup(dtype).numpy)
        assert one(Expected(dtype, EXACT, value), other).verdict is WRONG
    if lookup(dtype).is_float:
        y, k = np.zeros(shape), np.ones(())
        for rule in (ROUNDED, Elementary(2, 2, 1.0, -1, 1), Accumulation(), Composite()):
            assert one(Expected(dtype, rule, y, y, k, y), value).verdict is PASS


# --- Values -----------------------------------------------------------------------------------------------------


def test_the_message_says_how_many_where_and_by_how_much() -> None:
    got = A.copy()
    got[1, 2] = 6
    got[0, 1] = np.nextafter(np.float32(1), np.float32(2))
    found = one(Expected("float32", ROUNDED, Y), got)
    assert found.verdict is INACCURATE
    assert "2 of 6 elements (33.3 %)" in found.message
    assert "worst at [1, 2]: got 6.0, expected 5.0 ±" in found.message
    assert found.error["index"] == [1, 2]
    assert (found.error["actual"], found.error["expected"]) == ("6.0", "5.0")
    assert found.error["ulp"] == 2**21
    assert found.error["units"] == 2**22
    assert found.error["share"] == pytest.approx(1 / 3)
    assert found.error["elements"] == 6


@pytest.mark.parametrize("got", [NAN, INF, -INF])
def test_a_number_that_became_special_is_wrong_and_named_before_larger_errors(got: float) -> None:
    a = A.copy()
    a[0, 0], a[1, 1] = 1e30, got
    found = one(Expected("float32", ROUNDED, Y), a)
    assert found.verdict is WRONG
    assert found.error["index"] == [1, 1]
    json.dumps(found.error, allow_nan=False)


@pytest.mark.parametrize("want", [NAN, INF, -INF])
def test_a_special_value_that_became_a_number_is_wrong(want: float) -> None:
    y = Y.copy()
    y[0, 1] = want
    assert one(Expected("float32", ROUNDED, y), A).verdict is WRONG
    assert one(Expected("float32", ROUNDED, y), y.astype(np.float32)).verdict is PASS


def test_overflow_is_infinite_and_near_it_either_will_do() -> None:
    for y, got, verdict in (
        (70000.0, INF, PASS),
        (70000.0, 65504.0, WRONG),
        (70000.0, -INF, WRONG),
        (65510.0, INF, PASS),
        (65510.0, 65504.0, PASS),
        (60000.0, INF, WRONG),
    ):
        found = one(Expected("float16", ROUNDED, np.array([y])), np.array([got], np.float16))
        assert found.verdict is verdict, (y, got)


def test_formats_without_infinity_saturate_or_become_nan() -> None:
    for got in (448.0, NAN):
        want = Expected("float8e4m3fn", ROUNDED, np.array([1000.0]))
        assert one(want, np.array([got], ml_dtypes.float8_e4m3fn)).verdict is PASS


def test_flush_to_zero_only_where_it_is_declared() -> None:
    want, zero = Expected("float32", ROUNDED, np.array([5e-39])), np.zeros(1, np.float32)
    assert one(want, zero).verdict is INACCURATE
    assert one(want, zero, flush_to_zero=True).verdict is PASS
    exact = Expected("float32", EXACT, np.array([5e-39], np.float32))
    assert one(exact, zero).verdict is WRONG
    assert one(exact, zero, flush_to_zero=True).verdict is PASS


def test_the_sign_of_zero_counts_where_the_definition_fixes_it() -> None:
    value, got = np.array([-0.0], np.float32), np.array([0.0], np.float32)
    assert one(Expected("float32", Exact(), value), got).verdict is PASS
    assert one(Expected("float32", Exact(signed_zero=True), value), got).verdict is WRONG


def test_elements_that_rounding_decides_are_free() -> None:
    want = Expected("float32", Composite(), np.array([1.0, INF]), spread=np.array([np.inf, np.inf]))
    assert one(want, np.array([np.nan, 3.0], np.float32)).verdict is PASS
    index = Expected("int64", Composite(), np.array([3, 4]), spread=np.array([np.inf, 0.0]))
    assert one(index, np.array([9, 4])).verdict is PASS
    assert one(index, np.array([9, 5])).verdict is WRONG


def test_no_result_leaves_the_range_of_its_function() -> None:
    want = Expected("float32", Composite(1.0, 0.0, 1.0), np.array([0.999]), spread=np.array([0.01]))
    assert one(want, np.array([1.0000001], np.float32)).verdict is PASS
    assert one(want, np.array([1.01], np.float32)).verdict is INACCURATE


def test_a_sum_of_nothing_is_zero() -> None:
    want = Expected("float32", Accumulation(), np.zeros(2), np.zeros(2), np.ones(2))
    found = one(want, np.array([0.0, 1e-30], np.float32))
    assert found.verdict is INACCURATE
    json.dumps(found.error, allow_nan=False)


def test_an_error_hidden_in_the_crowd_is_inaccurate() -> None:
    y = np.random.default_rng(0).standard_normal(4000)
    want = Expected("float32", Accumulation(), y, np.abs(y) + 30, np.full(1, 1000.0))
    assert one(want, y.astype(np.float32)).verdict is PASS
    found = one(want, (y + 1e-5).astype(np.float32))
    assert found.verdict is INACCURATE
    assert "lean to one side" in found.message
    assert found.error["units"] < 1 < found.error["bias"]


def test_one_bad_element_in_a_large_output_is_found_wherever_it_is() -> None:
    y = np.random.default_rng(0).standard_normal(2 * CHUNK + 77)
    want = Expected("float32", ROUNDED, y)
    for place in (0, CHUNK - 1, CHUNK, len(y) - 1):
        got = y.astype(np.float32)
        got[place] *= np.float32(1.001)
        found = one(want, got)
        assert (found.verdict, found.error["index"]) == (INACCURATE, [place])
        assert found.error["share"] == 1 / len(y)


def test_the_worst_index_is_of_a_bad_element_even_if_a_good_one_came_close() -> None:
    y = np.ones(CHUNK + 10)
    want = Expected("float32", Composite(), y, spread=np.where(np.arange(len(y)) == 5, np.inf, 0.0))
    got = y.astype(np.float32)
    got[5], got[CHUNK + 3] = 100, 1.001
    assert one(want, got).error["index"] == [CHUNK + 3]


def test_effective_bits_tell_the_format_that_was_used() -> None:
    y = np.random.default_rng(0).uniform(1, 2, 10000)
    for target, bits in ((np.float32, 24), (np.float16, 11), (ml_dtypes.bfloat16, 8)):
        error = one(Expected("float32", ROUNDED, y), y.astype(target).astype(np.float32)).error
        assert error["bits"] == pytest.approx(bits + 1.3, abs=0.3)  # rounding errors are uniform, not all maximal


def test_complex_numbers_are_judged_by_component() -> None:
    z = np.array([1 + 2j, 3 - 4j])
    want, got = Expected("complex64", ROUNDED, z), z.astype(np.complex64)
    assert one(want, got).verdict is PASS
    assert one(want, got.conj()).verdict is INACCURATE
    assert one(want, got * np.complex64(NAN)).verdict is WRONG
    exact = Expected("complex64", EXACT, got)
    assert (one(exact, got).verdict, one(exact, got.conj()).verdict) == (PASS, WRONG)


@pytest.mark.parametrize("form", [object, "U8", "S8"])
def test_strings_compare_as_text_however_they_are_stored(form: Any) -> None:
    want = Expected("string", EXACT, np.array([["a", "bc"]], dtype=object))
    assert one(want, np.array([["a", "bc"]], dtype=form)).verdict is PASS
    found = one(want, np.array([["a", "bd"]], dtype=form))
    assert found.verdict is WRONG
    assert "got 'bd', expected 'bc'" in found.message
    assert one(want, np.array([["a", None]], dtype=object)).verdict is WRONG


def test_requantised_values_may_differ_at_a_tie_only() -> None:
    value = np.array([3, 4, 5], np.uint8)
    want = Expected("uint8", Requantised(), value, low=value, high=np.array([3, 5, 5], np.uint8))
    assert one(want, np.array([3, 5, 5], np.uint8)).verdict is PASS
    found = one(want, np.array([4, 5, 5], np.uint8))
    assert found.verdict is INACCURATE
    assert found.error["index"] == [0]
    assert found.error["units"] > 1
    assert one(want, np.array([3, 0, 5], np.uint8)).verdict is INACCURATE  # zero is no excuse


# --- Rules over all outputs -------------------------------------------------------------------------------------


def by_index(
    inputs: Sequence[np.ndarray | None], attributes: Mapping[str, Any], outputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    values, indices = outputs
    data = inputs[0]
    assert data is not None
    if not np.array_equal(data[indices], values):
        raise ValueError("an index does not point at its value")
    order = np.argsort(values, kind="stable")
    return [values[order]]


def test_order_free_outputs_may_come_in_any_order_but_must_agree() -> None:
    data = np.array([5.0, 7.0, 7.0, 1.0], np.float32)
    rule = OrderFree(by_index)
    want = [Expected("float32", rule, data[[1, 0]]), Expected("int64", rule, np.array([1, 0]))]

    def verdict(values: list[float], indices: list[int]) -> Judgement:
        return judge(want, [np.array(values, np.float32), np.array(indices)], [data], {})

    assert verdict([5, 7], [0, 2]).verdict is PASS
    assert verdict([7, 7], [1, 2]).verdict is WRONG
    assert "does not point at" in verdict([7, 5], [0, 1]).message
    assert verdict([7, 5], [99, 0]).verdict is WRONG  # an index out of range


def test_random_outputs_are_tested_once() -> None:
    calls = []

    def uniform(
        inputs: Any, attributes: Mapping[str, Any], outputs: Sequence[np.ndarray], flush_to_zero: bool
    ) -> str | None:
        calls.append(flush_to_zero)
        return None if outputs[0].max() < attributes["high"] else "a draw is above its limit"

    rule = Random(uniform)
    want = [Expected("float32", rule, np.zeros(2)), Expected("float32", rule, np.zeros(2))]
    draws = np.array([0.1, 0.7], np.float32)
    assert judge(want, [draws, draws], [], {"high": 1}).verdict is PASS
    found = judge(want, [draws, draws], [], {"high": 0.5}, flush_to_zero=True)
    assert found.message == "a draw is above its limit"
    assert calls == [False, True]


def test_the_worst_output_speaks_for_the_case() -> None:
    want = [
        Expected("float32", ROUNDED, Y),
        Expected("int64", EXACT, np.array([1])),
        Expected("float32", ROUNDED, Y),
    ]
    found = judge(want, [A * np.float32(1.1), np.array([2]), A], [], {})
    assert (found.verdict, found.error["output"]) == (WRONG, 1)
    found = judge(want, [A, np.array([1]), A * np.float32(1.1)], [], {})
    assert (found.verdict, found.error["output"]) == (INACCURATE, 2)


def test_several_input_sets_count_as_their_worst() -> None:
    good = Judgement(PASS, "", {"units": 0.2})
    close = Judgement(PASS, "", {"units": 0.9})
    off, far = Judgement(INACCURATE, "off", {"units": 3.0}), Judgement(INACCURATE, "far", {"units": 30.0})
    assert combine([good, close, good]) == close
    assert combine([good, off, far]) == Judgement(INACCURATE, "input set 2: far", {"units": 30.0})
    assert combine([off]) == off
    assert combine([off, Judgement(WRONG, "shape")]).verdict is WRONG


# --- Sequences. ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actual", "verdict", "says"),
    [
        ([[1.0, 2.0], 3.0], PASS, ""),
        ([(1.0, 2.0), 3.0], PASS, ""),
        ([[1.0, 2.0], 4.0], WRONG, "output 1 (float32[1]): 1 of 1 element (all) differ"),
        ([[1.0, 5.0], 3.0], WRONG, "output 0[1] (float32[1])"),
        ([[2.0, 1.0], 3.0], WRONG, "output 0[0] (float32[1])"),
        ([[1.0], 3.0], WRONG, "output 0: is a sequence of 1 tensor instead of 2"),
        ([[1.0, 2.0, 3.0], 3.0], WRONG, "output 0: is a sequence of 3 tensors instead of 2"),
        ([1.0, 3.0], WRONG, "output 0: is a numpy.ndarray instead of a sequence of 2 tensors"),
        ([None, 3.0], WRONG, "output 0: is None instead of a sequence of 2 tensors"),
        ([[1.0, None], 3.0], WRONG, "output 0[1]: is None instead of an array of float32"),
        ([[1.0, 2.0], [3.0]], WRONG, "output 1: is a list instead of an array of float32"),
        ([[1.0, 2.0]], WRONG, "returned 1 output instead of 2"),
        ([1.0, 2.0, 3.0], WRONG, "returned 3 outputs instead of 2"),
    ],
)
def test_a_sequence_is_judged_tensor_by_tensor_in_its_place(actual: Any, verdict: Verdict, says: str) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(filled(item) for item in value)
        return None if value is None else np.array([value], np.float32)

    expected = [Expected("float32", EXACT, np.array([value], np.float32)) for value in (1.0, 2.0, 3.0)]
    judgement = judge(expected, filled(actual), (), {}, lengths=(2, None))
    assert judgement.verdict is verdict
    assert judgement.message.startswith(says), judgement.message
