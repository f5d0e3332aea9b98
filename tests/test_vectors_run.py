"""ONNX's vectors as cases of a run: planned beside the suite, isolated and resumed as all cases are, in no grade."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import evidence_factory as factory
import pytest
from command_line import FEW, call, finish, lines, start, verdicts, wait_for
from test_pytest_plugin import judged, run_suite
from test_run import schema_problems

from conformance.certificate import Certificate
from conformance.difference import compare
from conformance.grade import grade
from conformance.plan import Plan, Selection, build_plan
from conformance.runfolder import PlannedVectors, Result, RunFolder, read_run
from conformance.spec import Source, Verdict

WRAPPING = f"{Path(__file__).parent / 'backends_planted' / 'wrapping.py'}"
SOME = (
    "--suite",
    "vectors",
    "--operator",
    "Sigmoid",
    "--operator",
    "Sinh",
    "--operator",
    "HardSigmoid",
    "--operator",
    "SplitToSequence",
)

pytestmark = pytest.mark.usefixtures("cache")


def planned(*operators: str) -> Plan:
    return build_plan(
        Selection("vectors", operators=operators or ("Sigmoid", "Sinh", "HardSigmoid", "SplitToSequence"))
    )


@pytest.fixture(scope="module")
def some(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors") / "run"
    done = call("run", "onnxruntime", *SOME, "-o", folder)
    assert done.status == 0, done
    assert "ONNX's vectors: " in done.out
    return folder


# ------------------------------------------------------------------------------------------ what is planned


def test_the_vectors_come_last_and_leave_the_suite_as_it_is() -> None:
    selection = Selection(operators=("Softmax",), models=("tcn",), dtypes=("float16",))
    without, plan = build_plan(selection), build_plan(replace(selection, vectors="test_*"))
    count = len(without.cases)
    assert plan.cases[:count] == without.cases
    assert {case.source for case in plan.cases[count:]} == {Source.VECTOR}
    assert {case.dtype for case in plan.cases} == {"float16"}
    assert plan.suite() == without.suite()
    for key in ("suite", "models", "operators"):
        assert plan.as_json()[key] == without.as_json()[key]
    assert (without.vectors_digest, bool(plan.vectors_digest)) == ("", True)


def test_every_vector_is_planned_or_has_its_reason() -> None:
    plan = build_plan(Selection("vectors"))
    left = [name for names in plan.unjudged.values() for name in names]
    ids = [case.id for case in plan.cases]
    assert len(ids) == len(set(ids))
    assert len(ids) + len(left) > 1880
    assert plan.as_json()["vectors"]["unjudged"] == {k: list(v) for k, v in plan.unjudged.items()}
    assert not plan.suite()["complete"]


def test_an_operator_is_found_in_functions_and_in_the_bodies_of_control_flow() -> None:
    plan = planned("Add")
    ids = {case.id for case in plan.cases}
    assert {
        "vectors/test_add",
        "vectors/test_loop11",
        "vectors/test_range_int32_type_negative_delta_expanded",
    } <= ids
    assert all("Add" in vector.operators for vector in plan.vectors.values())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--vectors", "test_no_such"), "has no vector 'test_no_such'; all are called 'onnx'"),
        (
            ("--vectors", "test_bernoulli_expanded"),
            "no verdict can be given to test_bernoulli_expanded: a function",
        ),
        (("--operator", "NoSuch"), "unknown operator NoSuch"),
        (("--model", "tcn"), "the suite 'vectors' has no models"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = call("run", "onnxruntime", "--suite", "vectors", *arguments, "-o", tmp_path / "run")
    assert done.status == 2
    assert complaint in done.complaint
    assert not (tmp_path / "run").exists()


def test_vectors_are_listed_by_name_pattern_and_beside_the_suite() -> None:
    alone = call("list", "cases", "--suite", "vectors", "--vectors", "test_sigmoid*").out.split()
    assert alone == [case.id for case in build_plan(Selection("vectors", vectors="test_sigmoid*")).cases]
    assert len(alone) >= 2
    assert call("list", "cases", "--suite", "vectors", "--vectors", alone[0]).out.split() == alone[:1]
    both = call("list", "cases", *FEW, "--vectors", "test_softmax*").out.split()
    assert both == call("list", "cases", *FEW).out.split()  # in float16 there is none of these
    both = call("list", "cases", *FEW, "--dtype", "float32", "--vectors", "test_softmax*").out.split()
    assert both[-1].startswith("vectors/test_softmax")


# ------------------------------------------------------------------------------------------------- verdicts


def test_a_backend_that_is_wrong_in_one_operator_loses_exactly_its_vectors(some: Path, tmp_path: Path) -> None:
    options = ("--option", "operator=Sigmoid")
    assert call("run", f"{WRAPPING}:Tilts", *SOME, *options, "-o", tmp_path / "run").status == 0
    right, found = verdicts(some), verdicts(tmp_path / "run")
    affected = {case for case, vector in planned().vectors.items() if "Sigmoid" in vector.operators}
    assert len(affected) >= 3
    assert {case for case in found if found[case] != right[case]} == affected
    assert {found[case] for case in affected} <= {"wrong", "inaccurate"}
    similar = {line["case"]: line["error"]["similar"] for line in lines(tmp_path / "run")}
    assert not any(similar[case] for case in affected)
    assert all(similar[case] for case in similar.keys() - affected)


def test_a_good_backend_passes_and_every_answer_says_whether_onnx_would_accept_it(some: Path) -> None:
    assert set(verdicts(some).values()) == {"pass"}
    assert {line["error"]["similar"] for line in lines(some)} == {True}
    assert {line["source"] for line in lines(some)} == {"vector"}
    assert {line["repeat"] for line in lines(some)} == {"identical"}


def test_the_evidence_is_what_the_schemas_describe(some: Path) -> None:
    assert schema_problems(some) == []


def test_what_a_backend_does_not_declare_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "narrow.py").write_text(
        "class Backend:\n"
        "    def describe(self): return {'name': 'narrow', 'supports': {'operators': ['Sinh']}}\n"
        "    def prepare(self, model): raise RuntimeError('asked')\n",
        encoding="utf-8",
    )
    assert call("run", str(tmp_path / "narrow.py"), *SOME, "-o", tmp_path / "run").status == 0
    found = verdicts(tmp_path / "run")
    assert (found["vectors/test_sigmoid"], found["vectors/test_sinh"]) == ("unsupported", "error")


def test_killed_and_resumed_every_vector_has_its_verdict_once(some: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ("run", f"{WRAPPING}:Slow", *SOME, "-o", folder)
    with start(*arguments) as process:
        wait_for(process, folder, 4)
        process.kill()
        finish(process)
    kept = [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert 4 <= len(kept) < len(verdicts(some))
    other = call("run", f"{WRAPPING}:Slow", *SOME, "--vectors", "test_s*", "--resume", "-o", folder)
    assert (other.status, "its vectors is " in other.complaint) == (2, True)
    assert call(*arguments, "--resume").status == 0
    assert verdicts(folder) == verdicts(some)
    assert lines(folder)[: len(kept)] == kept


def test_one_vector_is_exported_and_reproduces(some: Path, tmp_path: Path) -> None:
    assert call("export", some, "vectors/test_sigmoid", "-o", tmp_path / "case").status == 0
    done = subprocess.run(
        [sys.executable, tmp_path / "case" / "reproduce.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 elements outside their bound" in done.stdout
    refused = call("export", some, "vectors/test_split_to_sequence_1", "-o", tmp_path / "other")
    assert (refused.status, "it has maps, sequences or optionals" in refused.complaint) == (2, True)
    assert not (tmp_path / "other").exists()


def test_vectors_are_pytest_tests_too(some: Path, tmp_path: Path) -> None:
    options = ("--backend", f"{WRAPPING}:Tilts", "--backend-option", "operator=Sigmoid")
    done = run_suite(tmp_path, *options, "--suite", "vectors", "--vectors", "test_*h_example")
    assert done.returncode == 0, done.stdout
    assert set(judged(tmp_path).values()) == {("pass", "passed")}
    done = run_suite(tmp_path, *options, "--suite", "vectors", "--vectors", "test_sigmoid*")
    assert done.returncode == 1
    assert {outcome for _, outcome in judged(tmp_path).values()} == {"failure"}


# ---------------------------------------------------------------------------------------------------- grade

FULL = factory.plan()


def with_vectors(run: RunFolder, found: Mapping[str, str]) -> RunFolder:
    """The run with vectors of these verdicts, in operators and dtypes that tiers ask for."""
    extra = {
        f"vectors/test_{n}": factory.case(
            f"vectors/test_{n}", factory.name(n % 40), source="vector", tags=["special", "dynamic"]
        )
        for n, _ in enumerate(found)
    }
    planned = factory.plan(operators=1, core=0, common=1, models=0)
    planned["cases"] = list(extra.values())
    cases = factory.run(planned, lines=[]).plan.cases
    results = {k: Result(k, Verdict(v)) for k, v in zip(extra, found.values(), strict=True)}
    plan = replace(
        run.plan, cases=MappingProxyType({**run.plan.cases, **cases}), vectors=PlannedVectors("ONNX 9", "d9")
    )
    return replace(run, plan=plan, results={**run.results, **results})


def graded(certificate: Certificate) -> dict[str, Any]:
    found = certificate.as_json()
    found["summary"].pop("vectors", None)
    return found


@pytest.mark.parametrize("failing", [{}, {f"{factory.name(0)}/plain/float32": "wrong", "model003/n1": "error"}])
def test_the_grade_is_the_same_with_and_without_vectors(failing: dict[str, str]) -> None:
    run = factory.run(FULL, failing)
    bad = [v for v in Verdict if v not in (Verdict.PASS, Verdict.NOT_RUN)]
    vectors = {str(n): str(v) for n, v in enumerate([*bad, Verdict.PASS] * 20)}
    both = with_vectors(run, vectors)
    assert len(both.plan.cases) == len(run.plan.cases) + len(vectors)
    assert graded(grade(both)) == graded(grade(run))
    assert grade(both).summary.vectors == dict.fromkeys((*bad, Verdict.PASS), 20)


def test_a_run_is_complete_only_when_every_vector_has_a_verdict() -> None:
    run = factory.run(FULL)
    assert grade(run).complete
    missing = grade(with_vectors(run, {"0": "pass", "1": "not-run"}))
    assert (missing.complete, missing.tier) == (False, 0)


def test_a_run_with_and_one_without_vectors_are_compared_in_what_both_have() -> None:
    run = factory.run(FULL)
    both = with_vectors(run, {"0": "wrong"})
    found = compare(run, both)
    assert found.notes == ("only the new run has ONNX's vectors: they are left out here",)
    assert [*found.added, *found.gone, *found.regressed] == []
    worse = compare(with_vectors(run, {"0": "pass"}), both)
    assert [change.case for change in worse.regressed] == ["vectors/test_0"]
    assert worse.notes == ()


def test_a_run_of_vectors_alone_reads_back_with_its_reasons(some: Path, tmp_path: Path) -> None:
    run = read_run(some)
    assert run.plan.vectors is not None
    assert run.plan.vectors.digest == planned().vectors_digest
    assert not run.suite_alone().plan.cases
    assert '<section id="vectors"' in (some / "report" / "index.html").read_text("utf-8")
