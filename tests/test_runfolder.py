"""Reading a run folder: what counts, what is filled in, and one clear line for anything malformed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evidence_factory as factory
import pytest
from evidence_factory import case, name, plan, results

from conformance.errors import UsageError
from conformance.runfolder import parse_run, read_run
from conformance.spec import Source, Verdict

TINY = plan(operators=2, core=1, common=2, models=1, quantised=0)
FIRST = TINY["cases"][0]["case"]


def folder(tmp_path: Path, change: Callable[[list[dict[str, Any]]], object] = lambda lines: None) -> Path:
    lines = results(TINY)
    change(lines)
    return factory.write(tmp_path / "run", TINY, lines)


def test_a_folder_is_read_into_records(tmp_path: Path) -> None:
    run = read_run(folder(tmp_path))
    assert list(run.results) == [c["case"] for c in TINY["cases"]]
    assert run.plan.cases["model000/n1"].source is Source.MODEL
    assert run.plan.cases["model000/n1"].occurrences == {"model000": (1,)}
    assert run.plan.models[0].cases[-2:] == ("model000/block-n0", "model000/end-to-end")
    assert run.plan.complete
    assert run.backend["name"] == "Acme"


def test_the_last_line_about_a_case_counts(tmp_path: Path) -> None:
    def again(lines: list[dict[str, Any]]) -> None:
        lines.append({**lines[0], "verdict": "timeout", "message": "second"})

    assert read_run(folder(tmp_path, again)).results[FIRST].verdict is Verdict.TIMEOUT


def test_planned_cases_without_a_line_have_not_run(tmp_path: Path) -> None:
    run = read_run(folder(tmp_path, lambda lines: lines.pop(0)))
    assert run.results[FIRST].verdict is Verdict.NOT_RUN
    assert list(run.results) == [c["case"] for c in TINY["cases"]]


def test_a_journal_that_was_never_begun_leaves_every_case_not_run(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "results.jsonl").unlink()
    assert {r.verdict for r in read_run(path).results.values()} == {Verdict.NOT_RUN}


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_last_line_that_was_cut_off_is_no_evidence(tmp_path: Path, cut: int) -> None:
    path = folder(tmp_path, lambda lines: lines[-1].update(message="größer"))
    journal = path / "results.jsonl"
    last = TINY["cases"][-1]["case"]
    journal.write_bytes(journal.read_bytes()[: -1 - cut])
    assert read_run(path).results[last].verdict is Verdict.NOT_RUN
    assert read_run(path).results[FIRST].verdict is Verdict.PASS


def test_a_last_line_cut_inside_a_character_is_no_evidence(tmp_path: Path) -> None:
    path = folder(tmp_path, lambda lines: lines.pop())
    with (path / "results.jsonl").open("ab") as stream:
        stream.write('{"case": "gr\u00f6'.encode()[:-1])
    assert read_run(path).results[TINY["cases"][-1]["case"]].verdict is Verdict.NOT_RUN


BAD_LINES = [
    ("{", "not JSON"),
    ("[]", "expected an object, found list"),
    ('{"verdict": "pass"}', "'case' is missing"),
    (json.dumps({"case": FIRST, "verdict": "fine"}), "'fine' is not a valid Verdict"),
    (json.dumps({"case": FIRST, "verdict": "pass", "seconds": "1"}), "'seconds' must be a number"),
    (json.dumps({"case": FIRST, "verdict": "pass", "repeat": "yes"}), "'repeat' must be one of"),
    (json.dumps({"case": FIRST, "verdict": "pass", "error": []}), "'error' must be dict"),
    (json.dumps({"case": "No/such", "verdict": "pass"}), "'No/such' is not in plan.json"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES)
def test_a_malformed_line_is_named_with_file_and_number(tmp_path: Path, bad: str, reason: str) -> None:
    path = folder(tmp_path)
    journal = path / "results.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:2], bad, *lines[2:]]) + "\n")
    with pytest.raises(UsageError) as caught:
        read_run(path)
    assert str(caught.value).startswith(f"{journal}:3: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def changed(**fields: Any) -> dict[str, Any]:
    return {**TINY, **fields}


BAD_PLANS = [
    (changed(format=2), "format 2 is not 1"),
    (changed(cases={}), "'cases' must be a list"),
    (changed(cases=[*TINY["cases"], TINY["cases"][0]]), f"case '{FIRST}' is planned twice"),
    (changed(cases=[*TINY["cases"], case("x", name(0), source="dream")]), "'dream' is not a valid Source"),
    (changed(operators=[{"operator": "Conv"}]), "operators[0]: 'family' is missing"),
    (changed(operators=[{**TINY["operators"][0], "core": 1}]), "operators[0]: 'core' must be bool"),
    (changed(cases=TINY["cases"][:-1]), "names case 'model000/end-to-end', which is not planned"),
    (changed(suite=3), "'suite' must be an object"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_PLANS)
def test_a_malformed_plan_is_named_in_one_line(tmp_path: Path, bad: dict[str, Any], reason: str) -> None:
    path = folder(tmp_path)
    (path / "plan.json").write_text(json.dumps(bad))
    with pytest.raises(UsageError) as caught:
        read_run(path)
    assert str(caught.value).startswith(str(path / "plan.json"))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_filtered_plan_may_name_cases_that_it_left_out() -> None:
    filtered = changed(cases=TINY["cases"][:-1], suite={**TINY["suite"], "complete": False})
    assert not parse_run(*factory.texts(filtered, results(filtered))).plan.complete


def test_a_run_and_a_plan_of_different_suites_do_not_belong_together(tmp_path: Path) -> None:
    other = factory.header(changed(suite={**TINY["suite"], "digest": "d2"}))
    with pytest.raises(UsageError, match=r"run\.json: suite digest is 'd2', but plan\.json has 'd1'"):
        read_run(factory.write(tmp_path / "run", TINY, results(TINY), other))


@pytest.mark.parametrize("file", ["run.json", "plan.json"])
def test_a_missing_file_and_a_missing_folder_are_told_apart(tmp_path: Path, file: str) -> None:
    path = folder(tmp_path)
    (path / file).unlink()
    with pytest.raises(UsageError, match=f"is not a run folder: {file} is missing"):
        read_run(path)
    with pytest.raises(UsageError, match="no such folder"):
        read_run(tmp_path / "nowhere")


def test_json_that_is_cut_off_names_its_line(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "run.json").write_text('{"format": 1,\n "suite": ')
    with pytest.raises(UsageError, match=r"run\.json:2: not JSON"):
        read_run(path)
