"""Stability over seeds: the tail against known distributions, the verdicts of planted backends, and the page."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conformance.plan import Selection, build_plan
from conformance.reports.stability import markdown
from conformance.spec import Verdict
from conformance.stability import Stability, Track, _by_ensemble, _rule, _sampled, chances, tail

PLANTED = Path(__file__).parent / "backends_planted"
FEW = ("--operator", "Softmax", "--operator", "MatMul", "--dtype", "float16", "--model", "tcn")


def track(units: list[float | None], rule: str = "accumulation", case: str = "c", **more: object) -> Track:
    verdicts = tuple(Verdict.INACCURATE if u is not None and u > 1 else Verdict.PASS for u in units)
    found = Track(case, "Op", "float32", rule, verdicts, tuple(units), ("",) * len(units), 64, None)
    return replace(found, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [0.0, 0.1, 0.3])
def test_the_tail_of_a_generalised_pareto_distribution_is_found(shape: float) -> None:
    values = stats.genpareto.rvs(shape, scale=2.0, size=200_000, random_state=1)
    far = np.array([15.0, 30.0])
    assert tail(values, 0.05)(far) == pytest.approx(stats.genpareto.sf(far, shape, scale=2.0), rel=0.6)


def test_the_tail_is_what_was_seen_below_the_threshold_and_never_ends() -> None:
    values = np.random.default_rng(1).uniform(size=10_000)  # ends at 1
    beyond = tail(values, 0.02)
    assert beyond(np.array([0.5]))[0] == pytest.approx(0.5, abs=0.02)
    assert 0.0 < beyond(np.array([1.05]))[0] < 0.02


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=60),
    st.sampled_from([0.05, 0.02, 0.5]),
    st.lists(st.floats(-1e7, 1e7), min_size=2, max_size=5),
)
def test_a_tail_is_a_chance_that_falls(values: list[float], share: float, at: list[float]) -> None:
    found = tail(np.array(values), share)(np.array(sorted(at)))
    assert np.all((found >= 0) & (found <= 1))
    assert np.all(np.diff(found) <= 1e-12)


def simulated(
    cases: int, limit: float, elements: int = 64, seeds: int = 20, draws: int | None = None, seed: int = 2
) -> tuple[list[Track], float]:
    """Cases of normal errors, whose bound is ``limit`` of their deviations, or of an estimate of these from so many
    ``draws``; none that failed. And how many of them a fresh seed fails."""
    rng = np.random.default_rng(seed)
    errors = np.abs(rng.normal(size=(cases, seeds, elements)))
    beyond = stats.norm.sf(limit)
    if draws:
        errors /= np.sqrt(rng.chisquare(draws, errors.shape) / draws)
        beyond = stats.t.sf(limit, draws)
    units = errors.max(-1) / limit
    kept = [track(list(one), case=str(i)) for i, one in enumerate(units) if one.max() <= 1]
    return kept, len(kept) * -math.expm1(elements * math.log1p(-2 * beyond))


def estimated(tracks: list[Track]) -> float:
    (found,) = chances(tracks)
    assert found.by_tail is not None
    return found.by_tail


@pytest.mark.parametrize("seed", range(3))
def test_the_estimate_is_no_smaller_than_the_chance_and_not_absurdly_larger(seed: int) -> None:
    for limit, absurd in ((4.5, 20), (5.0, 50), (6.0, 3000)):
        tracks, true = simulated(400, limit, seed=seed)
        assert true <= estimated(tracks) <= absurd * true


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("draws", "limit"), [(16, 6 / 0.45), (12, 10.0), (8, 6 / 0.45)])
def test_bounds_that_are_estimates_themselves_are_not_trusted_too_far(draws: int, limit: float, seed: int) -> None:
    tracks, true = simulated(600, limit, draws=draws, seed=seed)
    assert true <= estimated(tracks) <= 1000 * true


@pytest.mark.parametrize("seed", range(3))
def test_cases_of_different_scatter_neither_hide_nor_accuse_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracks, true = [], 0.0
    for i in range(600):
        kept, chance = simulated(1, rng.uniform(5, 40), int(rng.integers(33, 500)), seed=1000 * seed + i)
        tracks, true = tracks + kept, true + chance
    steady = [track(list(0.3 + rng.normal(size=20) * 1e-3), case=f"steady{i}") for i in range(200)]
    assert true <= estimated(tracks + steady) <= 20 * true
    assert estimated(steady) < 1e-6  # no luck in an error that is the same with every seed


def test_a_bound_further_off_has_a_smaller_chance() -> None:
    expected = [estimated(simulated(200, limit)[0]) for limit in (5.0, 8.0, 16.0)]
    assert expected[0] > 10 * expected[1] > 100 * expected[2]
    assert expected[2] < 1e-3


def test_rules_that_set_an_end_and_cases_without_any_error_have_no_tail() -> None:
    assert chances([track([0.999] * 20, rule="rounded")])[0].by_tail is None
    assert chances([track([0.0] * 20)])[0].by_tail == 0.0
    assert chances([track([None] * 20, rule="random")])[0].expected == 1e-9


@given(st.floats(1e-6, 0.9))
def test_the_ensemble_tests_fail_as_normal_errors_would(share: float) -> None:
    lean = 2 * stats.norm.sf(math.sqrt(10 / share))
    spread = stats.norm.sf((1 / share - 1) * math.sqrt(500))
    assert _by_ensemble(share) == pytest.approx(lean + spread, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("sample", [1, 3])
def test_a_sample_takes_so_many_of_each_operator_and_dtype(sample: int) -> None:
    selection = Selection(operators=("Softmax", "MatMul"), models=("tcn",), dtypes=("float16", "float32"))
    cases = [c for c in build_plan(selection).cases if c.source == "operator" and _rule(c, selection)]
    counts: dict[tuple[str, str], int] = {}
    for case in _sampled(cases, sample):
        counts[case.operator, case.dtype] = counts.get((case.operator, case.dtype), 0) + 1
    assert set(counts.values()) == {sample}
    assert _sampled(cases, None) == cases
    assert not any("refuse" in c.tags for c in cases)


def test_onnx_runtime_keeps_its_verdicts_and_the_page_says_so(cache: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = call("stability", "onnxruntime", *FEW, "--seeds", "5", "--sample", "4", "-o", page)
    assert done.status == 0, done
    text = page.read_text("utf-8")
    assert "| cases whose verdict changes | 0 |" in text
    assert "| composite |" in text
    assert "| seeds | 5 (1 to 5) |" in text


def test_a_backend_that_is_wrong_now_and_then_changes_its_verdict(cache: Path, tmp_path: Path) -> None:
    source = (PLANTED / "wrapping.py").read_text("utf-8")
    broken = tmp_path / "broken.py"
    broken.write_text(
        source
        + """

class Seldom(Good):
    def prepare(self, model):
        run = super().prepare(model)

        def spoilt(inputs):
            outputs = run(inputs)
            total = sum(float(np.abs(a.astype(np.float64)).sum()) for a in inputs.values())
            if int(total * 1000) % 2:
                outputs = [a * 2 for a in outputs]
            return outputs

        return spoilt
""",
        encoding="utf-8",
    )
    done = call("stability", f"{broken}:Seldom", *FEW, "--seeds", "6", "--sample", "2", "-o", tmp_path / "p.md")
    assert done.status == 1, done
    assert "change their verdict" in done.out
    text = (tmp_path / "p.md").read_text("utf-8")
    assert "## Cases whose verdict changes\n\n- `" in text


def test_what_did_not_pass_with_every_seed_is_in_no_estimate() -> None:
    right = [replace(t, operator=f"Right{i}") for i, t in enumerate(simulated(50, 6.0)[0])]
    besides = track([0.5] * 20, case="besides", operator="A")  # of an operator that is wrong elsewhere
    tracks = (*right, besides, track([0.5, 2.0] * 10, case="bad", operator="A"), track([3.0] * 20, case="worse"))
    found = Stability({"version": "1", "digest": "d", "opset": 21}, {"name": "x"}, tuple(range(1, 21)), {}, tracks)
    assert found.chances()[0].cases == len(right)
    text = markdown(found, "command")
    assert "- `bad`: not passed with 10 of 20 seeds" in text
    assert "| cases with another verdict that is always the same | 1 |" in text


def test_vectors_and_unknown_backends_are_refused_in_one_line() -> None:
    assert call("stability", "onnxruntime", "--suite", "vectors").status == 2
    done = call("stability", "nobody.knows:This", *FEW, "--seeds", "2", "--sample", "1")
    assert done.status == 2
    assert done.complaint
