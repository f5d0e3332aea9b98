"""The whole path, plan to report: planted defects get their verdicts, and no death on the way costs anybody another."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command_line import (
    FEW,
    MORE,
    Done,
    call,
    cannot_import,
    contents,
    copied,
    finish,
    interpreter_with,
    lines,
    start,
    verdicts,
    wait_for,
)

from conformance.casework import Casework
from conformance.measured import declared_of
from conformance.operators import catalogue
from conformance.plan import Selection, build_plan, samples_of
from conformance.spec import Case

WRAPPING = f"{Path(__file__).parent / 'backends_planted' / 'wrapping.py'}"
SCHEMAS = Path(__file__).parent.parent / "docs" / "schemas"

pytestmark = pytest.mark.usefixtures("cache")


def planned(*operators: str) -> tuple[Case, ...]:
    """The cases of ``MORE``, or of these operators in it."""
    wanted = operators or ("Softmax", "Conv", "MaxPool")
    return build_plan(Selection(operators=wanted, models=("tcn",), dtypes=("float16",))).cases


# --------------------------------------------------------------------------------------- planted defects


@pytest.mark.parametrize(
    ("numerics", "flushed"),
    [
        ({"float16": {"flush_to_zero": True}}, {"float16"}),
        ({"flush_to_zero": True}, {"float16", "float32"}),
        ({"float64": {"flush_to_zero": True}, "float16": {"flush_to_zero": "no"}}, set()),
        ("all of them", set()),
    ],
)
def test_subnormals_count_as_zero_only_where_the_backend_declares_it(numerics: Any, flushed: set[str]) -> None:
    assert {
        d for d in ("float16", "float32") if declared_of({"numerics": numerics}, d)["flush_to_zero"]
    } == flushed


def test_a_right_backend_passes_every_case(good: Path) -> None:
    assert set(verdicts(good).values()) == {"pass"}
    assert {case.split("/")[0] for case in verdicts(good)} == {"Softmax", "Conv", "MaxPool"}


def test_a_backend_that_knows_one_length_loses_the_dynamic_case_of_a_model_and_no_other(tmp_path: Path) -> None:
    done = call("run", f"{WRAPPING}:OneLength", "--model", "deepfm-dynamic", "-o", tmp_path / "run")
    assert done.status == 0
    found = verdicts(tmp_path / "run")
    assert len(found) > 10
    assert {case: v for case, v in found.items() if v != "pass"} == {"deepfm-dynamic/dynamic-shapes": "wrong"}


def _attribute(case: Case, name: str) -> Any:
    return samples_of(catalogue()["", case.operator])[case.index].attributes.get(name)


@pytest.mark.parametrize(
    ("operator", "attribute", "defaults"),
    [("Conv", "dilations", (None,)), ("MaxPool", "dilations", (None,)), ("Softmax", "axis", (None, -1))],
)
def test_an_attribute_that_is_ignored_loses_its_cases_and_no_other(
    good: Path, tmp_path: Path, operator: str, attribute: str, defaults: tuple[Any, ...]
) -> None:
    options = ("--option", f"operator={operator}", "--option", f"attribute={attribute}")
    done = call("run", f"{WRAPPING}:IgnoresAttribute", *MORE, *options, "-o", tmp_path / "run")
    assert done.status == 0
    affected = {c.id for c in planned(operator) if _attribute(c, attribute) not in defaults}
    assert len(affected) >= 4
    found = verdicts(tmp_path / "run")
    assert {case for case, verdict in found.items() if verdict != "pass"} == affected
    assert {found[case] for case in affected} <= {"wrong", "inaccurate"}
    assert f"{operator} in float16: " in done.out  # what to fix first


def test_crashes_are_charged_to_the_cases_that_crash_and_to_no_other(
    good: Path, tmp_path: Path, cache: Path
) -> None:
    assert call("run", f"{WRAPPING}:CrashesOnSome", *MORE, "-o", tmp_path / "run").status == 0
    plan = build_plan(Selection(operators=("Softmax", "Conv", "MaxPool"), models=("tcn",), dtypes=("float16",)))
    with Casework(plan, cache) as casework:
        content = {case.id: casework.operator_case(case).model.read_bytes() for case in plan.cases}
    fatal = {case for case, model in content.items() if zlib.crc32(model) % 10 == 0}
    assert len(fatal) >= 4
    assert verdicts(tmp_path / "run") == {**verdicts(good), **dict.fromkeys(fatal, "crash")}
    crashed = [line for line in lines(tmp_path / "run") if line["case"] in fatal]
    assert {line["message"] for line in crashed} == {"killed by SIGSEGV"}
    assert all("in load" in line["log"] for line in crashed)  # where: the Python stack of the crash


def test_an_output_that_belongs_to_other_inputs_of_the_same_shapes_is_found_in_every_operator(
    tmp_path: Path,
) -> None:
    assert call("run", f"{WRAPPING}:Stale", *MORE, "-o", tmp_path / "run").status == 0
    bad = [line for line in lines(tmp_path / "run") if line["verdict"] != "pass"]
    assert {line["operator"] for line in bad} == {"Softmax", "Conv", "MaxPool"}
    assert {line["verdict"] for line in bad} <= {"wrong", "inaccurate"}


def test_a_backend_that_does_not_start_again_has_refused_nothing(tmp_path: Path) -> None:
    options = ("--option", f"mark={tmp_path / 'mark'}")
    assert call("run", f"{WRAPPING}:DiesOnce", *MORE, *options, "-o", tmp_path / "run").status == 0
    assert "pass" not in verdicts(tmp_path / "run").values()


def test_a_death_that_a_second_try_outlives_is_no_stability(tmp_path: Path) -> None:
    assert call("run", f"{WRAPPING}:DiesNowAndThen", *MORE, "-o", tmp_path / "run").status == 0
    assert set(verdicts(tmp_path / "run").values()) == {"pass"}
    criteria = json.loads((tmp_path / "run" / "certificate.json").read_text(encoding="utf-8"))["criteria"]
    (agreed,) = [c for c in criteria if c["tier"] == 1 and c["name"] == "repeat-verdicts"]
    assert not agreed["met"]


def test_noise_on_every_channel_changes_no_verdict(good: Path, tmp_path: Path) -> None:
    assert call("run", f"{WRAPPING}:Noisy", *MORE, "-o", tmp_path / "run").status == 0
    assert verdicts(tmp_path / "run") == verdicts(good)


def test_two_jobs_give_the_verdicts_of_one(good: Path, tmp_path: Path) -> None:
    assert call("run", "onnxruntime", *MORE, "--jobs", "2", "-o", tmp_path / "run").status == 0
    assert verdicts(tmp_path / "run") == verdicts(good)


@pytest.mark.parametrize(
    ("how", "message"), [("less", "0 outputs instead of 1"), ("more", "2 outputs instead of 1")]
)
def test_a_wrong_number_of_outputs_is_a_wrong_answer_and_nothing_worse(
    good: Path, tmp_path: Path, how: str, message: str
) -> None:
    few = (*FEW, "--suite", "smoke")
    done = call("run", f"{WRAPPING}:Miscounts", "--option", f"how={how}", *few, "-o", tmp_path / "run")
    assert done.status == 0
    found = lines(tmp_path / "run")
    assert {line["verdict"] for line in found} == {"wrong"}
    assert all(message in line["message"] for line in found)


def test_another_seed_changes_the_inputs_and_a_right_backend_still_passes(tmp_path: Path) -> None:
    fed = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 7)):
        log = tmp_path / f"{name}.log"
        options = ("--seed", str(seed), "--option", f"log={log}")
        assert call("run", f"{WRAPPING}:Good", *FEW, *options, "-o", tmp_path / name).status == 0
        assert set(verdicts(tmp_path / name).values()) == {"pass"}
        fed[name] = log.read_text(encoding="utf-8").splitlines()
    assert fed["first"] == fed["again"]
    # But for the empty tensor and the special values, which are what they are.
    assert len(set(fed["first"]) & set(fed["other"])) <= 4
    digests = [json.loads((tmp_path / n / "run.json").read_text())["suite"]["digest"] for n in ("first", "other")]
    assert digests[0] == digests[1]


# ------------------------------------------------------------------------------------- killed and resumed


def _children(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (thread / "children").read_text(encoding="utf-8").split())


def test_killed_at_any_moment_and_resumed_a_run_gives_every_case_its_verdict_once(
    good: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    arguments = ("run", f"{WRAPPING}:Slow", *MORE, "--resume", "-o", folder)
    dice = random.Random(20)
    kept: list[dict[str, Any]] = []
    # Twice while it starts, then while verdicts come: at their number and a random moment later.
    for count in (0, 0, 5, 20, 45):
        with start(*arguments) as process:
            if count:
                wait_for(process, folder, count)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(dice.uniform(0, 0.1 if count else 0.6))
            process.kill()
            finish(process)
        text = (folder / "results.jsonl").read_text(encoding="utf-8") if folder.exists() else ""
        given = [json.loads(line) for line in text.split("\n")[:-1]]
        assert given[: len(kept)] == kept  # what was given is never given anew
        assert len(given) >= count
        kept = given
    assert call(*arguments).status == 0
    assert verdicts(folder) == verdicts(good)
    assert lines(folder)[: len(kept)] == kept


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finding the worker needs Linux's /proc")
def test_a_worker_that_is_killed_from_outside_costs_no_verdict(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with start("run", f"{WRAPPING}:Slow", *MORE, "-o", folder) as process:
        for count in (10, 40):
            wait_for(process, folder, count)
            for worker in _children(process.pid):
                os.kill(worker, signal.SIGKILL)
        done = finish(process)
    assert done.status == 0, done
    assert verdicts(folder) == verdicts(good)
    assert 1 <= sum("after" in line for line in lines(folder)) <= 2


def test_a_resumed_run_keeps_the_day_on_which_it_began(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "run")
    header = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(
        json.dumps(header | {"started": "2026-01-02T03:04:05+00:00"}), encoding="utf-8"
    )
    assert call("run", "onnxruntime", *MORE, "--resume", "-o", folder).status == 0
    resumed = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert resumed["started"] == "2026-01-02T03:04:05+00:00"


# ----------------------------------------------------------------------------------- a vendor's interpreter


@pytest.fixture(scope="module")
def vendors_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return interpreter_with(tmp_path_factory.mktemp("vendor") / "venv", "numpy", "ml_dtypes", "onnxruntime")


def test_a_vendors_interpreter_needs_nothing_of_this_project(
    good: Path, tmp_path: Path, vendors_python: str
) -> None:
    lacking = ("conformance", "torch", "onnx", "jinja2", "click")
    assert cannot_import(vendors_python, tmp_path, *lacking, "numpy", "ml_dtypes") == list(lacking)
    assert call("run", "onnxruntime", *MORE, "--python", vendors_python, "-o", tmp_path / "run").status == 0
    assert verdicts(tmp_path / "run") == verdicts(good)
    header = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert header["backend"]["interpreter"]["executable"] == vendors_python


def test_types_of_ml_dtypes_reach_a_vendors_interpreter(tmp_path: Path, vendors_python: str) -> None:
    selection = ("--model", "tcn", "--operator", "Identity", "--dtype", "bfloat16", "--dtype", "int4")
    folder = tmp_path / "run"
    assert call("run", "onnxruntime", *selection, "--python", vendors_python, "-o", folder).status == 0
    assert {(line["dtype"], line["verdict"]) for line in lines(folder)} >= {("bfloat16", "pass")}


def test_a_new_backend_runs_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = call("new-backend", "acme")
    assert (made.status, made.err) == (0, "")
    assert len((tmp_path / "acme.py").read_text(encoding="utf-8").splitlines()) < 50
    selection = ("--model", "tcn", "--operator", "Add", "--dtype", "float16")
    assert call("run", "./acme.py", *selection, "-o", "run").status == 0
    assert set(verdicts(tmp_path / "run").values()) == {"pass"}


# --------------------------------------------------------------------------------------------- the evidence


def _closed(schema: Any) -> Any:
    """The schema with no room for a field that it does not describe."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **closed} if "properties" in schema else closed


@pytest.fixture(scope="module")
def model_run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one whole reference model: nodes, blocks and end to end."""
    folder = tmp_path_factory.mktemp("model") / "run"
    assert call("run", "onnxruntime", "--model", "tcn", "-o", folder).status == 0
    return folder


@pytest.fixture(scope="module")
def crash_run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crash") / "run"
    assert call("run", f"{WRAPPING}:CrashesOnSome", *FEW, "--jobs", "2", "-o", folder).status == 0
    return folder


@pytest.mark.parametrize("which", ["good", "model_run", "crash_run"])
def test_the_evidence_is_what_the_published_schemas_describe_and_no_more(
    which: str, request: pytest.FixtureRequest
) -> None:
    assert schema_problems(request.getfixturevalue(which)) == []


def schema_problems(folder: Path) -> list[str]:
    """Where the files of a run folder are not what the published schemas describe, or have more."""
    problems = []
    documents = {
        "run": [json.loads((folder / "run.json").read_text(encoding="utf-8"))],
        "plan": [json.loads((folder / "plan.json").read_text(encoding="utf-8"))],
        "certificate": [json.loads((folder / "certificate.json").read_text(encoding="utf-8"))],
        "result": lines(folder),
    }
    for name, found in documents.items():
        schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(_closed(schema))
        for document in found:
            problems += [
                f"{name} {list(e.absolute_path)}: {e.message[:300]}" for e in validator.iter_errors(document)
            ]
    return problems


def test_a_part_of_the_suite_gives_no_tier(said: tuple[Path, Done]) -> None:
    folder, done = said
    certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    assert (certificate["complete"], certificate["tier"]) == (False, 0)
    assert "No tier" in done.out
    assert "Tier 1" not in done.out


def test_a_whole_model_is_a_part_of_the_suite_too(model_run: Path) -> None:
    certificate = json.loads((model_run / "certificate.json").read_text(encoding="utf-8"))
    assert (certificate["complete"], certificate["tier"]) == (False, 0)
    assert set(verdicts(model_run).values()) == {"pass"}
    assert {line["source"] for line in lines(model_run)} == {"model", "block", "end-to-end"}


def test_grade_and_report_are_made_again_from_the_evidence_byte_by_byte(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / good.name)  # the report shows the folder's name
    before = contents(folder)
    for name in ("certificate.json", "junit.xml", "badge.svg", "report/index.html"):
        (folder / name).unlink()
    assert call("grade", folder).status == 3  # a part of a suite
    assert (folder / "certificate.json").read_bytes() == (good / "certificate.json").read_bytes()
    done = call("report", folder)
    assert (done.status, done.out) == (0, f"{folder / 'report' / 'index.html'}\n")
    assert contents(folder) == before


def test_the_drift_of_a_model_does_not_depend_on_where_its_run_was_cut(model_run: Path, tmp_path: Path) -> None:
    folder = copied(model_run, tmp_path / "run")
    whole = lines(folder)
    assert whole[-1]["source"] == "end-to-end"
    assert whole[-1]["error"]["drift"]
    text = "".join(json.dumps(line) + "\n" for line in whole[:-1])
    (folder / "results.jsonl").write_text(text, encoding="utf-8")
    assert call("run", "onnxruntime", "--model", "tcn", "--resume", "-o", folder).status == 0
    assert lines(folder)[-1]["error"] == whole[-1]["error"]


def test_the_smoke_suite_has_every_operator_and_a_whole_reference_model() -> None:
    done = call("list", "cases", "--suite", "smoke")
    cases = done.out.split()
    assert "mobilenet-v2/end-to-end" in cases
    assert sum(case.startswith("mobilenet-v2/") for case in cases) > 50
    operators = {entry.name for entry in catalogue().values()}
    assert {case.split("/")[0].rpartition(".")[2] for case in cases} - {"mobilenet-v2"} <= operators
    assert len({case.split("/")[0] for case in cases}) > 150
