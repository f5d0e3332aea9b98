"""Measured precision: bits and accumulators of known arithmetic, modes that are named and none that is not there, and
declarations that do not hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import evidence_factory as factory
import ml_dtypes
import numpy as np
import pytest
from command_line import call, lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.casework import Casework, Ready
from conformance.certificate import Certificate, Criterion
from conformance.grade import grade
from conformance.judge import Judgement, judge
from conformance.measured import measured
from conformance.modes import named
from conformance.numerics import Expected
from conformance.operators import catalogue
from conformance.plan import Selection, build_plan
from conformance.planted import NotApplicable, Outputs, Subject, defects, variants
from conformance.planted.device import Arithmetic
from conformance.pool import Outcome
from conformance.rules import ROUNDED, Accumulation
from conformance.run import verdict_of
from conformance.runfolder import RunFolder, read_run
from conformance.spec import Verdict

TYPES: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
DEVICE = Path(__file__).parent / "backends_planted" / "device.py"
STRICT = {"float32": {"mode": "float32", "accumulator": "float32"}}

# --------------------------------------------------------------------------------------- of one output


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 25.3), ("float16", 12.3), ("bfloat16", 9.3)])
def test_a_result_that_is_rounded_once_shows_the_bits_of_its_format_and_one_more(dtype: str, bits: float) -> None:
    y = np.random.default_rng(1).normal(size=20_000)
    found = judge([Expected(dtype, ROUNDED, y)], [y.astype(TYPES[dtype])], (), {})
    assert found.error["bits"] == pytest.approx(bits, abs=0.15)


def sums(terms: int, accumulator: Any, block: int = 1, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Products of float16 numbers, added one block after the other; their exact sums, and the sums of their sizes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1000, terms)).astype(np.float16).astype(np.float64)
    x *= rng.normal(size=(1000, terms)).astype(np.float16).astype(np.float64)
    total = np.zeros(1000, dtype=accumulator)
    for start in range(0, terms, block):
        part = x[:, start : start + block].sum(1)
        total = (total.astype(np.float64) + part).astype(accumulator)
    return total, x.sum(1), np.abs(x).sum(1)


def judged(terms: int, dtype: str, accumulator: Any, block: int = 1) -> Judgement:
    total, exact, size = sums(terms, accumulator, block)
    want = Expected(dtype, Accumulation(), exact, magnitude=size, terms=np.array(float(terms)))
    return judge([want], [total.astype(np.float64).astype(TYPES[dtype])], (), {})


@pytest.mark.parametrize("terms", [16, 64, 256, 1024])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("accumulator", "bits"), [(np.float16, 11), (ml_dtypes.bfloat16, 8)])
def test_an_accumulator_shows_its_own_bits_at_every_length(
    terms: int, dtype: str, accumulator: Any, bits: float
) -> None:
    error = judged(terms, dtype, accumulator).error
    assert error["terms"] == terms
    assert error["accumulator"] == pytest.approx(bits + 0.4, abs=0.6)


@pytest.mark.parametrize("terms", [16, 1024])
def test_an_accumulator_that_is_wide_enough_shows_as_such_or_not_at_all(terms: int) -> None:
    assert judged(terms, "float32", np.float32).error["accumulator"] == pytest.approx(24.4, abs=0.6)
    assert judged(terms, "float16", np.float32).error["accumulator"] is None
    assert judged(terms, "float32", np.float64).error["accumulator"] is None


def test_subnormal_results_are_counted_as_flushed_or_kept() -> None:
    y = np.array([1e-39, 3e-40, 0.0, 1.0, 1e-46, -2e-39])
    want = Expected("float32", ROUNDED, y)
    kept = y.astype(np.float32)
    flushed = np.where(np.abs(kept) < 1.2e-38, np.float32(0), kept)
    assert [judge([want], [kept], (), {}).error[k] for k in ("flushed", "kept")] == [0, 3]
    error = judge([want], [flushed], (), {}, flush_to_zero=True).error
    assert (error["flushed"], error["kept"]) == (3, 0)
    assert "kept" not in judge([Expected("float32", ROUNDED, y[3:4])], [kept[3:4]], (), {}).error


# --------------------------------------------------------------------------------------- modes


@pytest.fixture(scope="module")
def subjects(cache: Path) -> Iterator[dict[str, list[Subject]]]:
    """Cases of float32 by operator: those with 16 outputs and more, that are not exact nor special."""
    operators = ("MatMul", "Conv", "Exp", "GRU")
    plan = build_plan(Selection(operators=operators, models=("tcn",), dtypes=("float32",)))
    found: dict[str, list[Subject]] = {}
    with Casework(plan, cache) as casework:
        for case in plan.cases:
            of_it = found.setdefault(case.operator, [])
            if case.source == "operator" and not case.tags & {"special", "refuse", "large"} and len(of_it) < 8:
                ready = casework.operator_case(case)
                assert ready.expected is not None
                if min(e.value.size for one in ready.expected for e in one) >= 30:
                    of_it.append(Subject(case, ready))
        yield found


def verdict_on(subject: Subject, outputs: Outputs) -> Judgement:
    judgement = verdict_of(subject.ready, Outcome(subject.case.id, "ok", outputs=outputs, runs=1))
    return named(judgement, subject.ready, outputs)


def modes(subjects: list[Subject], spoil: Callable[[Subject], Outputs]) -> list[Any]:
    """The mode that is named of each inaccurate case; None for none."""
    found = []
    for subject in subjects:
        try:
            judgement = verdict_on(subject, spoil(subject))
        except NotApplicable:
            continue
        if judgement.verdict is Verdict.INACCURATE:
            found.append(judgement.error.get("mode"))
    return found


def planted(operator: str, name: str) -> Callable[[Subject], Outputs]:
    (found,) = [d for d in defects(catalogue()["", operator]) if d.name == name]
    return found.spoil


@pytest.mark.parametrize("operator", ["MatMul", "Conv", "Exp"])
@pytest.mark.parametrize(
    ("defect", "mode"),
    [
        ("operands-in-tf32", {"inputs": "tf32", "results": ""}),
        ("operands-in-bfloat16", {"inputs": "bfloat16", "results": ""}),
        ("result-in-float16", {"inputs": "", "results": "float16"}),
        ("result-in-bfloat16", {"inputs": "", "results": "bfloat16"}),
    ],
)
def test_a_planted_format_is_named(
    subjects: dict[str, list[Subject]], operator: str, defect: str, mode: dict[str, str]
) -> None:
    found = modes(subjects[operator], planted(operator, defect))
    assert len([m for m in found if m == mode]) >= 3
    assert all(m in (None, mode) for m in found)  # and never another


def test_the_factors_of_products_inside_an_operator_are_seen(subjects: dict[str, list[Subject]]) -> None:
    found = modes(subjects["GRU"], planted("GRU", "products-in-tf32"))
    assert {"inputs": "tf32", "results": ""} in found


@pytest.mark.parametrize("format", ["tf32", "bfloat16"])
def test_operands_that_are_cut_off_are_named_as_well(subjects: dict[str, list[Subject]], format: str) -> None:
    arithmetic = Arithmetic(accumulator="float64", operands=format, chop=True)
    found = modes(subjects["MatMul"], lambda s: s.evaluate(arithmetic=arithmetic, widen=True))
    assert found
    assert {"inputs": format, "results": ""} in found


def test_inputs_and_results_of_one_format_are_named_together(subjects: dict[str, list[Subject]]) -> None:
    arithmetic = Arithmetic(accumulator="float64", operands="bfloat16", step="bfloat16")
    found = modes(subjects["MatMul"], lambda s: s.evaluate(arithmetic=arithmetic, widen=True))
    assert {"inputs": "bfloat16", "results": "bfloat16"} in found
    said = verdict_on(subjects["MatMul"][-1], subjects["MatMul"][-1].evaluate(arithmetic=arithmetic, widen=True))
    assert said.message.endswith("; behaves like bfloat16 inputs and results")


@pytest.mark.parametrize("operator", ["MatMul", "Conv", "Exp"])
def test_no_other_defect_is_taken_for_a_format(subjects: dict[str, list[Subject]], operator: str) -> None:
    formats = ("tf32", "float16", "bfloat16", "operands-", "subnormal")
    looked = 0
    for defect in defects(catalogue()["", operator]):
        if not any(word in defect.name for word in formats) and (
            defect.dtypes is None or "float32" in defect.dtypes
        ):
            found = modes(subjects[operator][:4], _raising_counts_as_nothing(defect.spoil))
            looked += len(found)
            assert not any(found), defect.name
    assert looked >= 10


def _raising_counts_as_nothing(spoil: Callable[[Subject], Outputs]) -> Callable[[Subject], Outputs]:
    def run(subject: Subject) -> Outputs:
        try:
            return spoil(subject)
        except (RuntimeError, ValueError, LookupError, TypeError, AssertionError):
            raise NotApplicable from None

    return run


def test_a_legal_variant_stays_as_it_is(subjects: dict[str, list[Subject]]) -> None:
    for variant in variants():
        if not variant.flush_to_zero:
            assert modes(subjects["MatMul"], variant.run) == []


@given(st.integers(0, 2**32 - 1), st.floats(-20.0, 0.0), st.sampled_from(["normal", "uniform", "one", "bias"]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_of_any_size_is_not_taken_for_a_format(
    subjects: dict[str, list[Subject]], seed: int, size: float, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    subject = subjects["MatMul"][seed % len(subjects["MatMul"])]
    outputs = []
    for one in subject.expected:
        noisy = []
        for e in one:
            scale = 2.0**size * np.abs(e.value).max()
            noise = {
                "normal": rng.normal(size=e.value.shape),
                "uniform": rng.uniform(-1.0, 1.0, size=e.value.shape),
                "one": np.eye(1, e.value.size).reshape(e.value.shape),
                "bias": np.ones(e.value.shape),
            }[kind]
            noisy.append((e.value + scale * noise).astype(np.float32))
        outputs.append(noisy)
    assert "mode" not in verdict_on(subject, outputs).error


@pytest.mark.parametrize("number", [1.0, 0.5, -2.0])
def test_one_number_everywhere_is_no_format(subjects: dict[str, list[Subject]], number: float) -> None:
    for subject in subjects["MatMul"]:
        outputs = [[np.full(e.value.shape, number, dtype=np.float32) for e in one] for one in subject.expected]
        judgement = verdict_on(subject, outputs)
        assert judgement.verdict is Verdict.INACCURATE
        assert "mode" not in judgement.error


def test_what_is_special_or_passes_is_not_looked_at(subjects: dict[str, list[Subject]]) -> None:
    subject = subjects["MatMul"][-1]
    outputs = planted("MatMul", "operands-in-tf32")(subject)
    assert verdict_on(subject, outputs).error["mode"]
    case = replace(subject.case, tags=frozenset({"special"}))
    ready: Ready = replace(subject.ready, case=case)
    judgement = verdict_of(ready, Outcome(case.id, "ok", outputs=outputs, runs=1))
    assert named(judgement, ready, outputs) is judgement
    passed = Judgement(Verdict.PASS)
    assert named(passed, subject.ready, outputs) is passed


def test_a_format_in_which_the_outputs_have_another_shape_explains_nothing(cache: Path) -> None:
    plan = build_plan(Selection(operators=("Range",), models=("tcn",), dtypes=("float64",)))
    (case,) = [case for case in plan.cases if case.id == "Range/many-tenths/float64"]
    with Casework(plan, cache) as casework:
        subject = Subject(case, casework.operator_case(case))
        outputs = [[e.value.astype(np.float32).astype(np.float64) * (1 + 1e-6) for e in subject.expected[0]]]
        judgement = verdict_on(subject, outputs)
    assert judgement.verdict is Verdict.INACCURATE
    assert "mode" not in judgement.error


# --------------------------------------------------------------------------------------- through a run


def criterion(certificate: Certificate, tier: int = 1) -> Criterion:
    (found,) = [c for c in certificate.of_tier(tier) if c.name == "declared-numerics"]
    return found


def emulated(folder: Path, **options: str) -> RunFolder:
    chosen = [w for k, v in options.items() for w in ("--option", f"{k}={v}")]
    dtypes = ("--dtype", "float32", "--dtype", "float16", "--operator", "MatMul", "--model", "tcn")
    done = call("run", DEVICE, *dtypes, *chosen, "-o", folder)
    assert done.status == 0, done
    return read_run(folder)


def declaring(run: RunFolder, numerics: dict[str, Any]) -> RunFolder:
    return replace(run, run={**run.run, "backend": {**run.backend, "numerics": numerics}})


@pytest.fixture(scope="module")
def tf32(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return emulated(tmp_path_factory.mktemp("run") / "tf32", operands="tf32")


def test_tf32_that_nobody_declared_is_inaccurate_and_named(tf32: RunFolder) -> None:
    assert tf32.path is not None
    found = [
        r
        for r in lines(tf32.path)
        if r["dtype"] == "float32" and r["message"].endswith("behaves like tf32 inputs")
    ]
    assert len(found) >= 10
    assert {r["verdict"] for r in found} == {"inaccurate"}
    assert all(r["verdict"] == "pass" for r in lines(tf32.path) if r["dtype"] == "float16")
    certificate = grade(tf32)
    (row,) = [m for m in certificate.measured.operators if m.dtype == "float32"]
    assert row.behaves_like == "tf32 inputs"
    assert 11 <= (row.bits or 0) <= 13
    assert criterion(certificate).met  # nothing was declared
    assert "tf32 inputs" in (tf32.path / "report" / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("mode", "met"),
    [("float32", False), ("bf16x3", False), ("tf32", True), ("bfloat16", True), ("in-house", True)],
)
def test_a_mode_is_contradicted_by_one_that_is_narrower_only(tf32: RunFolder, mode: str, met: bool) -> None:
    certificate = grade(declaring(tf32, {"float32": {"mode": mode}}))
    for tier in (1, 2, 3):
        assert criterion(certificate, tier).met is met
    assert certificate.measured.operators[0].declared_mode in (mode, "")
    if not met:
        (said,) = criterion(certificate).items
        assert said == f"float32 mode: declared {mode}, but behaves like tf32 inputs in MatMul"


def test_a_narrow_accumulator_contradicts_a_wide_one(cache: Path, tmp_path: Path) -> None:
    wide = {"accumulator": "float32"}
    declares = json.dumps({"float16": wide, "float32": wide})
    run = emulated(tmp_path / "acc", accumulator="float16", declares=declares)
    certificate = grade(run)
    assert {(c.dtype, c.what, str(c.found)) for c in certificate.measured.contradictions} == {
        ("float16", "accumulator", "float16"),
        ("float32", "accumulator", "float16"),
    }
    assert criterion(certificate, 3).reached == 2
    honest = declaring(run, {d: {"accumulator": "float16"} for d in ("float16", "float32")})
    assert criterion(grade(honest)).met
    assert json.loads((tmp_path / "acc" / "certificate.json").read_text())["precision"]["contradictions"]


def test_a_right_device_has_nothing_named_and_keeps_what_it_declares(cache: Path, tmp_path: Path) -> None:
    run = emulated(tmp_path / "good", accumulator="float32", declares=json.dumps(STRICT))
    certificate = grade(run)
    assert {r["verdict"] for r in lines(tmp_path / "good")} == {"pass"}
    assert criterion(certificate).met
    rows = {m.dtype: m for m in certificate.measured.operators}
    assert {m.behaves_like for m in rows.values()} == {"float32", "float16"}
    assert rows["float32"].accumulator is not None
    assert rows["float32"].accumulator.format == "float32"
    assert rows["float16"].accumulator is None


def test_onnx_runtime_delivers_float32_less_the_growth_of_long_sums(cache: Path, tmp_path: Path) -> None:
    which = ("--operator", "MatMul", "--operator", "Exp", "--dtype", "float32", "--model", "tcn")
    assert call("run", "onnxruntime", *which, "-o", tmp_path / "r").status == 0
    rows = {m.operator: m for m in grade(read_run(tmp_path / "r")).measured.operators}
    matmul, exp = rows["MatMul"], rows["Exp"]
    assert matmul.bits is not None
    assert 22 <= matmul.bits <= 25.6
    assert matmul.accumulator is not None
    assert matmul.accumulator.format == "float32"
    assert exp.bits is not None
    assert 24 <= exp.bits <= 25.6
    assert {matmul.behaves_like, exp.behaves_like} == {"float32"}


# --------------------------------------------------------------------------------------- from evidence


SMALL = factory.plan(operators=4, core=2, common=3, models=0, quantised=0)


def evidence(errors: dict[str, dict[str, Any]], numerics: Any, planned: dict[str, Any] = SMALL) -> RunFolder:
    rows = [factory.line(c, error=errors.get(c["case"], {})) for c in planned["cases"]]
    return declaring(factory.run(planned, lines=rows), numerics)


def float32_error(**more: Any) -> dict[str, Any]:
    return {"units": 0.1, "ulp": 0.5, "bits": 24.0, **more}


def with_sums(bits: list[float | None], lengths: list[int]) -> RunFolder:
    """An operator with a case for each length."""
    planned = {**SMALL, "cases": [factory.case(f"Op000/{n}/float32", "Op000") for n in lengths]}
    errors = {
        f"Op000/{n}/float32": float32_error(terms=n, accumulator=b) for n, b in zip(lengths, bits, strict=True)
    }
    return evidence(errors, STRICT, planned)


LENGTHS = [8, 32, 128, 512, 2048]


@pytest.mark.parametrize(
    ("bits", "found"),
    [
        ([12.1, 12.3, 12.2, 12.6, 12.9], "float16"),
        ([9.0, 9.2, 9.1, 9.6, 9.9], "bfloat16"),
        ([24.4, 24.5, 25.0, 25.2, 25.8], "float32"),
        ([12.5, 13.5, 14.5, 15.5, 16.5], None),  # operands: half a bit an octave
        ([3.0, 5.0, 7.0, 9.0, 11.0], None),  # a term that is missing: a whole bit
        ([11.0, 14.0, 11.0, 14.5, 11.0], None),  # no line at all
        ([12.0, None, None, None, 12.2], None),  # mostly hidden by the rounding of the result
        ([18.0, 18.1, 18.0, 18.2, 18.1], ""),  # level, but of no format
    ],
)
def test_an_accumulator_is_read_from_the_growth_with_the_length(
    bits: list[float | None], found: str | None
) -> None:
    result = measured(with_sums(bits, LENGTHS))
    accumulator = result.operators[0].accumulator
    assert (None if accumulator is None else accumulator.format) == found
    assert bool(result.contradictions) == (found in ("float16", "bfloat16"))


def test_lengths_that_are_nearly_the_same_tell_nothing() -> None:
    assert measured(with_sums([12.0] * 5, [8, 9, 10, 12, 16])).operators[0].accumulator is None
    assert measured(with_sums([12.0] * 3, [8, 64, 512])).operators[0].accumulator is None


@pytest.mark.parametrize(
    ("flushed", "kept", "contradicted"),
    [
        ([5, 3], [0, 0], False),
        ([0, 0], [5, 3], False),
        ([5, 0], [0, 3], True),
        ([5, 2], [0, 1], True),
    ],
)
def test_declared_flushing_is_done_in_every_operator_or_in_none(
    flushed: list[int], kept: list[int], contradicted: bool
) -> None:
    errors = {
        f"Op00{i}/nan/float32": float32_error(flushed=f, kept=k)
        for i, (f, k) in enumerate(zip(flushed, kept, strict=True))
    }
    certificate = grade(evidence(errors, {"flush_to_zero": True}))
    assert criterion(certificate, 2).met is not contradicted
    if contradicted:
        (found,) = certificate.measured.contradictions
        assert (found.what, found.operators) == ("flush_to_zero", ("Op001",))
    assert criterion(grade(evidence(errors, {}))).met  # without the declaration the verdicts speak


def test_special_cases_and_extensions_contradict_nothing() -> None:
    mode = {"inputs": "tf32", "results": ""}
    special = evidence({"Op000/nan/float32": float32_error(mode=mode)}, STRICT)
    assert not measured(special).contradictions
    plain = {"Op000/plain/float32": float32_error(mode=mode)}
    assert measured(evidence(plain, STRICT)).contradictions
    operators = [{**o, "extension": True} for o in SMALL["operators"]]
    outside = measured(evidence(plain, STRICT, {**SMALL, "operators": operators}))
    assert not outside.contradictions
    assert outside.operators[0].behaves_like == "tf32 inputs"  # shown all the same


@pytest.mark.parametrize(
    "error",
    [
        {"mode": "tf32"},
        {"mode": {"inputs": "float7", "results": 3}},
        {"bits": "nan", "terms": -4, "accumulator": [], "flushed": True, "kept": 1.5},
        {"terms": 64, "accumulator": 1e400},
    ],
)
@pytest.mark.parametrize("numerics", [STRICT, {"float32": "float32"}, "all", None, {"float32": {"mode": 32}}])
def test_evidence_and_declarations_that_make_no_sense_are_passed_over(
    error: dict[str, Any], numerics: Any
) -> None:
    result = measured(evidence({"Op000/plain/float32": float32_error(**error)}, numerics))
    assert not result.contradictions
    assert result.operators[0].cases == 1
