"""Bounds: every rule of docs/numerics.md, at the places where formulas go wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.dtypes import FLOATS, lookup
from conformance.numerics import COMPOSITE_SIGMAS, Expected, allowed, ensemble, reach, ulp
from conformance.rules import (
    EXACT,
    ROUNDED,
    Accumulation,
    Composite,
    Elementary,
    Requantised,
    Rounded,
)

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


def slow_ulp(y: float, dtype: str) -> float:
    kind = lookup(dtype)
    power = kind.smallest if y == 0 else max(math.ldexp(1.0, math.frexp(abs(y))[1] - 1), kind.smallest)
    return power * 2.0**-kind.p


@given(finite, st.sampled_from([*FLOATS, "float8e4m3fn", "float8e5m2"]))
def test_ulp_agrees_with_its_definition(y: float, dtype: str) -> None:
    assert ulp(np.array(y), dtype) == slow_ulp(y, dtype)


@given(st.floats(-60000, 60000), st.sampled_from(["float32", "float16", "bfloat16"]))
def test_rounding_to_nearest_is_always_within_half_an_ulp(y: float, dtype: str) -> None:
    rounded = np.array([y]).astype(lookup(dtype).numpy).astype(np.float64)
    assert abs(rounded - y) <= 0.5 * ulp(np.array([y]), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "rule", [ROUNDED, Elementary(3, 2), Accumulation(), Composite()], ids=lambda r: type(r).__name__
)
def test_a_correctly_rounded_result_fits_every_rule(rule: object, dtype: str) -> None:
    tiny = lookup(dtype).smallest
    y = np.concatenate([np.geomspace(tiny * 1e-3, 6e4, 400), -np.geomspace(tiny * 1e-3, 6e4, 400)])
    want = Expected(dtype, rule, y, np.abs(y), np.ones(1), np.zeros_like(y))  # type: ignore[arg-type]
    out = y.astype(lookup(dtype).numpy).astype(np.float64)
    assert (np.abs(out - y) <= allowed(want)).all()


def test_narrow_formats_take_the_narrow_count() -> None:
    y = np.array([1.0])
    assert allowed(Expected("float32", Rounded(0.5, 1.0), y)) == 0.5 * 2.0**-23
    assert allowed(Expected("float16", Rounded(0.5, 1.0), y)) == 1.0 * 2.0**-10
    assert allowed(Expected("bfloat16", Elementary(3, 2), y)) == 2 * 2.0**-7


def test_float64_is_allowed_twice_since_the_reference_rounds_too() -> None:
    assert allowed(Expected("float64", ROUNDED, np.array([1.0]))) == 2.0**-52


def test_a_saturating_function_has_an_absolute_floor() -> None:
    y = np.array([1e-30, 0.75])
    bound = allowed(Expected("float32", Elementary(4, 2, scale=1.0, low=0, high=1), y))
    assert bound[0] == 4 * 2.0**-24
    assert bound[1] == 4 * 2.0**-24  # 4 ulp at 0.75


def test_an_accumulation_is_four_root_k_of_the_accumulator_and_two_units_of_the_result() -> None:
    want = Expected("float16", Accumulation(), np.array([3.0]), np.array([50.0]), np.array([64.0]))
    assert allowed(want) == 4 * 8 * 2.0**-24 * 50 + 2 * 2.0**-11 * 3


def test_an_accumulation_of_nothing_but_zeros_is_zero() -> None:
    want = Expected("float32", Accumulation(), np.zeros(3), np.array([0.0, 1.0, 0.0]), np.array(5.0))
    np.testing.assert_array_equal(allowed(want) == 0, [True, False, True])


def test_an_accumulation_whose_partial_sums_overflow_is_free() -> None:
    want = Expected("float32", Accumulation(), np.array([1.0, 1.0]), np.array([1e39, np.nan]), np.array(2.0))
    assert np.isinf(allowed(want)).all()


def test_a_composite_is_its_spread_and_free_where_rounding_decides() -> None:
    want = Expected("float32", Composite(), np.array([1.0, 1.0, np.inf]), spread=np.array([1e-3, np.inf, 0.0]))
    np.testing.assert_array_equal(allowed(want), [COMPOSITE_SIGMAS * 1e-3 + 2.0**-23, np.inf, 0.0])


def test_special_references_have_no_bound_of_their_own() -> None:
    y = np.array([np.nan, np.inf, -np.inf])
    assert (allowed(Expected("float32", ROUNDED, y)) == 0).all()


def test_flush_to_zero_allows_what_flushing_subnormals_costs() -> None:
    want = Expected("float32", ROUNDED, np.array([1e-39]))
    assert allowed(want) < 1e-39 < allowed(want, flush_to_zero=True)


def test_exact_outputs_have_no_room_and_requantised_ones_their_interval() -> None:
    seven = np.array([7], np.int8)
    assert allowed(Expected("int8", EXACT, seven)) == 0
    assert allowed(Expected("int8", Requantised(), seven, low=seven, high=seven + np.int8(1))) == 1
    assert allowed(Expected("int64", ROUNDED, seven.astype(np.int64))) == 0


def test_a_rule_without_its_conditioning_is_refused() -> None:
    for rule in (Accumulation(), Composite(), Requantised()):
        with pytest.raises(ValueError, match="needs"):
            allowed(Expected("float32" if rule != Requantised() else "int8", rule, np.zeros(1)))


def test_the_range_of_a_function_is_widened_by_its_rounding_only() -> None:
    low, high = reach(
        Expected("float32", Composite(scale=1.0, low=0.0, high=1.0), np.zeros(1), spread=np.zeros(1))
    )
    assert -1e-6 < low < 0
    assert 1 < high < 1 + 1e-6
    assert reach(Expected("float32", ROUNDED, np.zeros(1))) == (-np.inf, np.inf)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("terms", [1, 4, 16, 100])
def test_products_that_are_subnormal_may_each_be_rounded(dtype: str, terms: int) -> None:
    kind, rng = lookup(dtype), np.random.default_rng(terms)
    step = kind.smallest * 2.0**-kind.p
    x = (rng.integers(-1000, 1000, (500, terms)) * step).astype(kind.numpy)
    w = rng.uniform(-1, 1, (500, terms)).astype(kind.numpy)
    exact = (x.astype(np.float64) / step * w).sum(1)  # in steps, of which float64 has fractions
    value, size = exact * step, (np.abs(x).astype(np.float64) * np.abs(w)).sum(1)
    want = Expected(dtype, Accumulation(), value, size, np.array(float(terms)))
    out = np.zeros(500, kind.numpy)
    for k in range(terms):
        out = out + x[:, k] * w[:, k]  # each product is rounded to a step, the sums are exact
    found = np.abs(out.astype(np.float64) - value) / step
    bound = allowed(want) / step
    assert (found <= bound).all()
    assert terms == 1 or found.max() > 0.5
    assert bound.max() <= 4 * math.sqrt(terms) + 2  # and no more than that


# --- Ensembles: legal orders of summation pass, and defects that hide below the bound of each element do not. ---


def products(dtype: str, inner: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Expected]:
    rng = np.random.default_rng(seed)
    target = lookup(dtype).numpy
    a = rng.standard_normal((40, inner)).astype(target).astype(np.float64)
    b = rng.standard_normal((inner, 40)).astype(target).astype(np.float64)
    terms = np.full((1, 1), float(inner))
    return a, b, Expected(dtype, Accumulation(), a @ b, np.abs(a) @ np.abs(b), terms)


def sequential(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total += np.outer(a[:, k], b[k]).astype(np.float32)
    return total


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("inner", [16, 257, 2048])
def test_legal_orders_of_summation_pass_alone_and_together(dtype: str, inner: int) -> None:
    a, b, want = products(dtype, inner)
    target = lookup(dtype).numpy
    for result in (sequential(a, b), sequential(a[:, ::-1], b[::-1]), a.astype(np.float32) @ b.astype(np.float32)):
        out = result.astype(target).astype(np.float64)
        assert (np.abs(out - want.value) <= allowed(want)).all()
        together = ensemble(want, out)
        assert together is not None
        assert max(together.mean_square, together.bias) <= 1


@pytest.mark.parametrize("inner", [64, 512, 4096])
def test_tf32_inputs_are_caught_where_no_single_element_shows_them(inner: int) -> None:
    a, b, want = products("float32", inner)

    def tf32(x: np.ndarray) -> np.ndarray:
        mantissa, exponent = np.frexp(x)
        return np.ldexp(np.round(mantissa * 2048) / 2048, exponent)

    out = (tf32(a) @ tf32(b)).astype(np.float32).astype(np.float64)
    together = ensemble(want, out)
    assert together is not None
    assert (np.abs(out - want.value) > allowed(want)).any() or together.mean_square > 1


def test_a_bias_within_every_bound_is_caught_together() -> None:
    _, _, want = products("float32", 1024)
    out = want.value + 0.5 * allowed(want)
    assert (np.abs(out - want.value) <= allowed(want)).all()
    together = ensemble(want, out)
    assert together is not None
    assert together.bias > 1


def test_sums_of_one_sign_may_lean_to_one_side() -> None:
    y = np.random.default_rng(0).uniform(1, 2, 4000)
    want = Expected("float32", Accumulation(), y, y, np.full(1, 1000.0))
    together = ensemble(want, y + 10 * y * 2.0**-24)
    assert together is not None
    assert together.bias == 0


def test_outputs_with_the_same_reference_count_once() -> None:
    value = np.repeat([1.0, 2.0], 1000)
    want = Expected("float32", Accumulation(), value, value, np.full(1, 16.0))
    assert ensemble(want, value + 1e-6) is None


def test_few_outputs_and_other_rules_have_no_ensemble() -> None:
    y = np.linspace(1, 2, 999)
    assert ensemble(Expected("float32", Accumulation(), y, y, np.ones(1)), y) is None
    assert ensemble(Expected("float32", ROUNDED, np.linspace(1, 2, 5000)), np.linspace(1, 2, 5000)) is None


def test_a_product_too_small_for_the_accumulator_may_be_zero_and_a_sum_of_zeros_must_be() -> None:
    tiny = Expected("float32", Accumulation(), np.array([-2.8e-191, 0.0]), np.zeros(2), np.ones(2))
    bound = allowed(tiny)
    assert bound[0] >= 2.8e-191
    assert bound[1] == 0.0
