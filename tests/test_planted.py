"""The planted arithmetic does what it is told, legal orders add every term once, and the suite tells right from wrong."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from command_line import call
from hypothesis import given
from hypothesis import strategies as st

from conformance.casework import Casework
from conformance.draws import anything, draw
from conformance.goldens import default_folder
from conformance.operators import catalogue
from conformance.plan import Selection, build_plan
from conformance.planted import NotApplicable, Outputs, Subject, computing, defects, placing, semantics, variants
from conformance.planted.device import Arithmetic, Order, lanes, pairwise, rounded, sequential, split
from conformance.planted.precision import _block_twice, _last_dropped, _tail_dropped
from conformance.reports.sensitivity import markdown
from conformance.sensitivity import judged, measure
from conformance.spec import Source

T = torch.Tensor
ORDERS = [
    sequential(1),
    sequential(8),
    sequential(16, reverse=True),
    sequential(3, seed=1),
    lanes(8),
    split(4, 2),
    pairwise,
]


def positions(order: Order, count: int) -> list[int]:
    return sorted(int(i) for chain in order(count) for part in chain for i in part)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [1, 7, 64, 65, 1000])
def test_a_legal_order_takes_every_term_once(order: Order, count: int) -> None:
    assert positions(order, count) == list(range(count))


@pytest.mark.parametrize("order", [_block_twice, _last_dropped, _tail_dropped])
def test_a_defective_order_does_not(order: Order) -> None:
    assert positions(order, 65) != list(range(65))


FORMATS = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@given(st.sampled_from(sorted(FORMATS)), st.floats(width=32, allow_nan=False))
def test_values_are_rounded_as_the_format_does(name: str, value: float) -> None:
    with np.errstate(over="ignore"):
        expected = float(np.array(value).astype(np.float32).astype(FORMATS[name]))
    assert rounded(torch.tensor([value], dtype=torch.float64), name).item() == expected


@given(st.floats(min_value=2.0**-100, max_value=2.0**100, width=32))
def test_truncation_never_grows_and_tf32_keeps_ten_bits(value: float) -> None:
    x = torch.tensor([value, -value], dtype=torch.float64)
    assert (rounded(x, "float16", truncate=True).abs() <= x.abs()).all()
    assert (rounded(x, "tf32") - x).abs().max().item() <= value * 2.0**-11
    assert (rounded(x, "tf32").float().view(torch.int32) & 0x1FFF).eq(0).all()


def numbers(*shape: int) -> T:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape))


F = torch.nn.functional
WORK: list[Callable[[], T]] = [
    lambda: F.conv2d(numbers(2, 4, 9, 8), numbers(6, 2, 3, 3), numbers(6), (2, 1), (1, 2), (2, 1), 2),
    lambda: F.conv1d(numbers(0, 4, 9), numbers(6, 4, 3)),
    lambda: F.conv_transpose2d(
        numbers(2, 4, 5, 6), numbers(4, 3, 3, 2), numbers(6), (2, 3), (1, 0), (1, 2), 2, (1, 2)
    ),
    lambda: numbers(3, 5) @ numbers(2, 5, 4),
    lambda: numbers(2, 0) @ numbers(0, 3),
    lambda: numbers(3, 4, 5).sum((0, 2), keepdim=True),
    lambda: numbers(3, 4, 5).mean(1),
    lambda: numbers(7).sum(),
]


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("order", ORDERS)
def test_with_all_the_precision_there_is_nothing_changes(work: Callable[[], T], order: Order) -> None:
    (result,) = Arithmetic(accumulator="float64", order=order).run("float32", lambda: [work()])
    expected = work()
    assert result.shape == expected.shape
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_a_narrow_accumulator_loses_what_it_should() -> None:
    terms = torch.tensor([256.0] + [1.0] * 100, dtype=torch.float64)

    def total(accumulator: str) -> float:
        arithmetic = Arithmetic(accumulator=accumulator, order=sequential(1))
        return arithmetic.run("float32", lambda: [terms.sum()])[0].item()

    assert total("float32") == total("float16") == 356.0
    assert total("bfloat16") == 256.0  # 257 is a tie there, and goes to the even one


def test_every_operator_has_defects_of_different_names() -> None:
    for entry in catalogue().values():
        assert len(defects(entry)) >= 2, entry.name
    assert len(variants()) >= 40
    assert len({v.name for v in variants()}) == len(variants())


@pytest.fixture(scope="module")
def cache() -> Path:
    return default_folder()


def test_the_suite_fails_no_legal_matrix_product_and_catches_what_is_planted_into_one(cache: Path) -> None:
    found = measure(["linear"], ["float32"], cache)
    assert not found.failures
    assert sum(found.verdicts.values()) > 1000
    caught = {(a.operator, a.defect) for a in found.answers if a.caught}
    for defect in (
        "operands-in-tf32",
        "accumulator-in-float16",
        "last-term-dropped",
        "block-added-twice",
        "stale-output",
    ):
        assert ("MatMul", defect) in caught
    assert ("Gemm", "ignored:transB") in caught
    page = markdown(found)
    for answer in found.answers:
        assert answer.caught or f"{answer.operator}/{answer.dtype}" in page


def test_an_operator_that_only_reads_strings_is_measured_and_not_a_crash(cache: Path) -> None:
    found = measure(["logic"], ["string"], cache)
    assert {a.operator for a in found.answers} == {"Equal", "Where"}
    assert all(a.dtype == "string" for a in found.answers)
    assert not found.failures


@pytest.mark.parametrize(("word", "caught", "failed"), [("", 0, 0), ("no", 1, 1)])
def test_a_judge_without_judgement_shows_in_the_figures(word: str, caught: int, failed: int, cache: Path) -> None:
    def compare(subject: Subject, outputs: Outputs, *, flush_to_zero: bool = False) -> str:
        return word

    figures = measure(["casting"], ["int8"], cache, compare=compare).figures()
    shown = figures["planted"]
    assert (figures["caught"] > 0.5 * shown) == bool(caught)
    assert figures["failed"] == failed * figures["verdicts"] > -1


def test_the_command_prints_shares_and_refuses_unknown_names(tmp_path: Path) -> None:
    done = call("sensitivity", "--family", "casting", "--dtype", "int8", "-o", tmp_path / "page.md")
    assert done.status == 0
    assert "planted defects caught" in done.out
    assert "| casting |" in (tmp_path / "page.md").read_text(encoding="utf-8")
    done = call("sensitivity", "--family", "nosuch")
    assert done.status == 2
    assert "unknown family nosuch" in done.err


@pytest.mark.parametrize("name", sorted({*placing.MISTAKES, *computing.MISTAKES}))
def test_an_engines_mistake_is_caught_by_its_outputs(name: str, cache: Path) -> None:
    """And not by what it raises, which would say nothing of the cases."""
    left = {d.name: d for d in semantics.defects(catalogue()["", name])}
    assert left
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", d.source) for d in left.values())
    plan = build_plan(Selection(operators=(name,), dtypes=("float32", "int32", "int8")))
    with Casework(plan, cache) as casework, np.errstate(all="ignore"):
        for case in plan.cases:
            if case.source is not Source.OPERATOR or "refuse" in case.tags or not left:
                continue
            subject = Subject(case, casework.operator_case(case))
            for defect in list(left.values()):
                with contextlib.suppress(NotApplicable):
                    if judged(subject, defect.spoil(subject)):
                        del left[defect.name]
    assert not left


def test_strings_and_initializers_are_evaluated_as_they_are_changed(cache: Path) -> None:
    plan = build_plan(Selection(operators=("Slice", "NonZero"), dtypes=("string",)))
    cases = {c.id: c for c in plan.cases if c.source is Source.OPERATOR}
    with Casework(plan, cache) as casework:
        subject = Subject(
            cases["Slice/unusual-types/string"], casework.operator_case(cases["Slice/unusual-types/string"])
        )
        assert subject.constants == {1, 2, 3, 4}
        # Without axes the reversal is that of the rows.
        (turned,) = subject.evaluate(lambda inputs: [*inputs[:3], None, inputs[4]])
        assert turned[0].tolist() == subject.inputs[0][0][::-1].tolist() != subject.good[0][0].tolist()
        subject = Subject(cases["NonZero/strings/string"], casework.operator_case(cases["NonZero/strings/string"]))
        assert subject.evaluate()[0][0].tolist() == subject.good[0][0].tolist()


def test_anything_holds_what_a_type_can_hold() -> None:
    x = draw(anything(), (40,), "float16", "k")
    assert np.isnan(x).any()
    assert np.isinf(x).sum() >= 2
    assert (np.signbit(x) & (x == 0)).any()
    assert ((x != 0) & (np.abs(x) < 6.1e-5)).any()
    assert draw(anything(), (40,), "uint64", "k").max() == 2**64 - 1
    assert draw(anything(), (40,), "int8", "k").min() == -128
    assert draw(anything(), (40,), "int4", "k").shape == (40,)
    assert draw(anything(), (40,), "string", "k").dtype == object
