"""The user's own ONNX files as models of a run: found, opened with care, judged where they can be, in no grade."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import evidence_factory as factory
import numpy as np
import onnx
import pytest
from command_line import call, finish, lines, start, verdicts, wait_for
from onnx import TensorProto, helper, numpy_helper
from test_pytest_plugin import judged, run_suite
from test_run import schema_problems

from conformance.difference import compare
from conformance.errors import UsageError
from conformance.further import FurtherModel, find, open_file
from conformance.goldens import GoldenCache, default_folder
from conformance.grade import grade
from conformance.plan import Selection, build_plan
from conformance.reports.html import render_report
from conformance.reports.language import load_language
from conformance.reports.viewmodel import page
from conformance.runfolder import Further, PlannedFurther, PlannedModel, Result, RunFolder, read_run
from conformance.spec import FURTHER, Verdict

WRAPPING = f"{Path(__file__).parent / 'backends_planted' / 'wrapping.py'}"
RANDOM = np.random.default_rng(0)

pytestmark = pytest.mark.usefixtures("cache")


# --------------------------------------------------------------------------------------------------- files


def value(name: str, *dims: int | str | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    info: onnx.ValueInfoProto = helper.make_tensor_value_info(name, dtype, dims)
    return info


def written(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    opset: int = 17,
    domains: tuple[str, ...] = (),
    inner: list[onnx.ValueInfoProto] | None = None,
    **constants: np.ndarray,
) -> Path:
    """A file with a graph and its weights, as a package has them."""
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
        value_info=inner or [],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    return path


def weights(*shape: int) -> np.ndarray:
    return np.asarray(RANDOM.standard_normal(shape) / 4, dtype=np.float32)


def network(path: Path, opset: int = 17, scale: float = 1.0) -> Path:
    """Convolution, activation, pooling and a product, of any batch and size."""
    return written(
        path,
        [
            helper.make_node("Conv", ["image", "kernel"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Sigmoid", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["m"]),
            helper.make_node("Softmax", ["m"], ["y"], axis=1),
        ],
        [value("image", "batch", 3, "height", "width")],
        [value("y", "batch", 5)],
        opset,
        inner=[value("c", 7, 4, 9, 9)],  # stale: of another size
        kernel=np.linspace(-scale, scale, 108, dtype=np.float32).reshape(4, 3, 3, 3),
        w=np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5),
    )


def opened(path: Path, seed: int = 0) -> FurtherModel:
    (file,) = find([str(path)])
    return open_file(file, seed)


def reasons(model: FurtherModel) -> dict[str, str]:
    return {model.reference.nodes[p].operator: reason for p, (reason, _) in model.unjudged.items()}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, one of which has an operator that nobody defines."""
    folder = tmp_path_factory.mktemp("places")
    network(folder / "nets" / "small.onnx")
    written(
        folder / "strange.onnx",
        [
            helper.make_node("Tanh", ["x"], ["t"]),
            helper.make_node("Secret", ["t"], ["s"], domain="com.example"),
            helper.make_node("Exp", ["s"], ["e"]),
            helper.make_node("Sinh", ["x"], ["z"]),
        ],
        [value("x", "n", 8)],
        [value("e", "n", 8), value("z", "n", 8)],
        domains=("com.example",),
    )
    return folder


def alone(folder: Path) -> tuple[str, ...]:
    return ("--suite", "models-from", "--models-from", str(folder))


@pytest.fixture(scope="module")
def some(cache: Path, places: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("further") / "run"
    done = call("run", "onnxruntime", *alone(places), "-o", folder)
    assert done.status == 0, done
    assert "Further models' cases: " in done.out
    return folder


# ------------------------------------------------------------------------------------------------- finding


def test_files_are_found_in_a_folder_by_a_path_and_each_content_once(places: Path, tmp_path: Path) -> None:
    network(tmp_path / "copy" / "small.onnx")
    (tmp_path / "copy" / "notes.txt").write_text("no model")
    found = find([str(places), str(tmp_path), str(places / "strange.onnx")])
    assert [(f.name, f.origin) for f in found] == [
        ("further/small", f"{places}: nets/small.onnx"),
        ("further/strange", f"{places}: strange.onnx"),
    ]


def test_names_tell_files_apart_and_are_no_reference_models(tmp_path: Path) -> None:
    for number, name in enumerate(("a/model.onnx", "b/model.onnx", "b/resnet 50.onnx"), 1):
        network(tmp_path / name, scale=float(number))
    names = [f.name for f in find([str(tmp_path)])]
    assert names == ["further/a.model", "further/b.model", "further/resnet_50"]


def test_a_package_is_read_and_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network(tmp_path / "planted_net" / "data" / "net.onnx")
    (tmp_path / "planted_net" / "__init__.py").write_text("raise RuntimeError('imported')")
    record = tmp_path / "planted_net_models-1.2.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: planted-net-models\nVersion: 1.2\n")
    (record / "RECORD").write_text("planted_net/__init__.py,,\nplanted_net/data/net.onnx,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("planted-net-models", "planted_net"):
        (file,) = find([name])
        assert (file.name, file.origin) == ("further/net", "planted-net-models 1.2: planted_net/data/net.onnx")
        assert open_file(file, 0).whole is None
    assert "planted_net" not in sys.modules


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no such file or folder, and no installed package of this name"),
        ("", "there is no .onnx file in it"),
        ("junk", "not an ONNX model, or a truncated one"),
        ("truncated", "not an ONNX model, or a truncated one"),
        ("outside", "is outside the model's folder"),
        ("sequence", "has no type or no rank"),
    ],
)
def test_what_is_no_model_is_one_line_and_leaves_no_folder(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    place = tmp_path / "place"
    if content is not None:
        path = network(place / "one.onnx")
        whole = path.read_bytes()
        if content == "":
            path.unlink()
        elif content == "junk":
            path.write_bytes(bytes(range(256)) * 40)
        elif content == "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        elif content == "sequence":
            tensor_type = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
            sequence = onnx.ValueInfoProto(name="s", type=helper.make_sequence_type_proto(tensor_type))
            written(path, [helper.make_node("SequenceLength", ["s"], ["y"])], [sequence], [value("y", dtype=7)])
        else:
            model = onnx.ModelProto.FromString(whole)
            tensor = model.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="../secret")
            (tmp_path / "secret").write_bytes(bytes(432))
            path.write_bytes(model.SerializeToString())
    done = call("run", "onnxruntime", *alone(place), "-o", tmp_path / "run")
    assert done.status == 2
    assert complaint in done.complaint
    assert str(place) in done.complaint
    assert not (tmp_path / "run").exists()


def test_the_suite_of_further_models_alone_wants_one(tmp_path: Path) -> None:
    done = call("run", "onnxruntime", "--suite", "models-from", "-o", tmp_path / "run")
    assert (done.status, "there is none" in done.complaint) == (2, True)


# ------------------------------------------------------------------------------------------------- opening


def test_symbolic_dimensions_get_lengths_that_run_and_the_record_names_them(tmp_path: Path) -> None:
    model = opened(network(tmp_path / "a.onnx"))
    assert model.lengths == {"image": "1x3x64x64"}
    assert model.reference.types["c"] == ("float32", (1, 4, 64, 64))  # and not what the file says
    assert (model.unjudged, model.whole) == ({}, None)


def test_lengths_are_tried_until_the_graph_runs(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.onnx",
        [helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Abs", ["r"], ["y"])],
        [value("x", "batch", "samples")],
        [value("y", None, None, None)],
        shape=np.array([1, -1, 256]),
    )
    model = opened(path)
    assert model.lengths == {"x": "1x256"}
    assert model.unjudged == {}


def test_ids_stay_within_their_table_and_a_named_value_is_met(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.onnx",
        [
            helper.make_node("Cast", ["ids"], ["c"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "c"], ["g"]),
            helper.make_node("Equal", ["rate", "wanted"], ["is"]),
            helper.make_node("Where", ["is", "g", "zero"], ["y"]),
        ],
        [value("ids", "batch", "seq", dtype=TensorProto.INT32), value("rate", dtype=TensorProto.INT64)],
        [value("y", None, None, None)],
        table=weights(11, 3),
        wanted=np.array(16000),
        zero=np.float32(0),
    )
    model = opened(path)
    draws = model.reference.model.inputs
    assert (draws["ids"].a, draws["ids"].b) == (0, 10)
    assert draws["rate"].items == (16000,)
    assert model.unjudged == {}


def test_an_old_opset_is_brought_to_13_and_said_to_be(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.onnx",
        [
            helper.make_node("Unsqueeze", ["x"], ["u"], axes=[0]),
            helper.make_node("Softmax", ["u"], ["s"], axis=1),  # over all axes from here, until 12
            helper.make_node("Squeeze", ["s"], ["y"], axes=[0]),
        ],
        [value("x", 3, 4)],
        [value("y", 3, 4)],
        opset=11,
    )
    plan = build_plan(Selection("models-from", further=(str(path),)))
    brought = plan.further["further/a"]
    assert (brought.opset, brought.shown) == (11, 13)
    assert call("run", "onnxruntime", *alone(path), "-o", tmp_path / "run").status == 0
    found = verdicts(tmp_path / "run")
    assert set(found.values()) == {"pass"}
    assert "further/a/end-to-end" in found
    html = (tmp_path / "run" / "report" / "index.html").read_text("utf-8")
    assert "<td>11 → 13</td>" in html


@pytest.mark.parametrize("taken", [True, False])
def test_of_an_if_the_branch_that_is_taken_is_judged(tmp_path: Path, taken: bool) -> None:
    branches = {
        f"{name}_branch": helper.make_graph(
            [
                helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
                helper.make_node(operator, ["t", "two"], ["out"]),
            ],
            name,
            [],
            [value("out", 2, 3)],
        )
        for name, operator in (("then", "Mul"), ("else", "Div"))
    }
    path = written(
        tmp_path / "a.onnx",
        [
            helper.make_node("Tanh", ["x"], ["t"]),
            helper.make_node("If", ["flag"], ["y"], **branches),
        ],
        [value("x", 2, 3)],
        [value("y", 2, 3)],
        flag=np.array(taken),
    )
    model = opened(path)
    assert [n.operator for n in model.reference.nodes] == ["Tanh", "Mul" if taken else "Div", "Identity"]
    assert (model.unjudged, model.whole) == ({}, None)
    assert call("run", "onnxruntime", *alone(path), "-o", tmp_path / "run").status == 0
    assert set(verdicts(tmp_path / "run").values()) == {"pass"}


def test_a_loop_has_no_definition_and_what_comes_after_it_is_still_judged(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "x"], ["next"]), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            value("i", dtype=TensorProto.INT64),
            value("go", dtype=TensorProto.BOOL),
            value("s", 2, 3),
        ],
        [value("on", dtype=TensorProto.BOOL), value("next", 2, 3)],
    )
    path = written(
        tmp_path / "a.onnx",
        [
            helper.make_node("Loop", ["count", "flag", "x"], ["l"], body=body),
            helper.make_node("Exp", ["l"], ["y"]),
        ],
        [value("x", 2, 3)],
        [value("y", 2, 3)],
        count=np.array(2),
        flag=np.array(True),
    )
    plan = build_plan(Selection("models-from", further=(str(path),)))
    assert [c.id for c in plan.cases] == ["further/a/Exp_1"]
    assert plan.further["further/a"].unjudged == {
        "definition": ("further/a/Loop_0",),
        "part": ("further/a/end-to-end",),
    }
    assert call("run", "onnxruntime", *alone(path), "-o", tmp_path / "run").status == 0
    assert verdicts(tmp_path / "run") == {"further/a/Exp_1": "pass"}


def test_functions_of_the_model_are_written_out(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.onnx",
        [helper.make_node("Twice", ["x"], ["y"], domain="own")],
        [value("x", 2, 3)],
        [value("y", 2, 3)],
        domains=("own",),
    )
    model = onnx.load(path)
    model.functions.append(
        helper.make_function(
            "own",
            "Twice",
            ["a"],
            ["b"],
            [helper.make_node("Add", ["a", "a"], ["b"])],
            [helper.make_opsetid("", 17)],
        )
    )
    onnx.save(model, path)
    found = opened(path)
    assert [n.operator for n in found.reference.nodes] == ["Add"]
    assert found.whole is None


@pytest.mark.parametrize(
    ("nodes", "whole", "left"),
    [
        # How many elements are above zero depends on the last bit of some.
        ([("Tanh", ["x"], "t"), ("NonZero", ["t"], "y")], "shape", {}),
        ([("NonZero", ["x"], "y")], None, {}),
        ([("RandomUniformLike", ["x"], "y")], "part", {"RandomUniformLike": "random"}),
        ([("Reshape", ["x", "odd"], "r"), ("Abs", ["r"], "y")], "part", {"Reshape": "declined", "Abs": "before"}),
        (
            [("SequenceConstruct", ["x"], "s"), ("ConcatFromSequence", ["s"], "y")],
            "part",
            {"SequenceConstruct": "definition", "ConcatFromSequence": "definition"},
        ),
    ],
)
def test_what_cannot_be_judged_is_named_with_its_reason(
    tmp_path: Path, nodes: list[tuple[str, list[str], str]], whole: str | None, left: dict[str, str]
) -> None:
    attributes = {"ConcatFromSequence": {"axis": 0}}
    path = written(
        tmp_path / "a.onnx",
        [helper.make_node(o, i, [n], **attributes.get(o, {})) for o, i, n in nodes],
        [value("x", 2, 3)],
        [value("y", None, None, dtype=TensorProto.INT64 if nodes[-1][0] == "NonZero" else TensorProto.FLOAT)],
        odd=np.array([4, 4]),
    )
    found = opened(path)
    assert reasons(found) == left
    assert (found.whole and found.whole[0]) == whole


def test_every_node_block_and_whole_run_is_a_case_or_is_named(places: Path) -> None:
    plan = build_plan(Selection("models-from", further=(str(places),)))
    ids = {case.id for case in plan.cases}
    for brought in plan.further.values():
        left = {name for names in brought.unjudged.values() for name in names}
        wanted = {node.case for node in brought.model.nodes} | {brought.model.end_to_end}
        assert wanted <= ids | left
        assert not ids & left
    strange = plan.further["further/strange"]
    assert strange.unjudged == {
        "definition": ("further/strange/Secret_1",),
        "before": ("further/strange/Exp_2",),
        "part": ("further/strange/end-to-end",),
    }


def test_a_file_that_changes_after_it_was_found_is_not_taken_for_the_other(tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx")
    (file,) = find([str(path)])
    network(path, scale=2.0)
    with pytest.raises(UsageError, match="changed while it was being read"):
        open_file(file, 0)


def test_weights_beside_the_file_are_read_and_a_backend_finds_them(tmp_path: Path) -> None:
    path = network(tmp_path / "models" / "a.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="a.data", size_threshold=0)
    assert (path.parent / "a.data").exists()
    assert call("run", "onnxruntime", *alone(path.parent), "-o", tmp_path / "run").status == 0
    found = verdicts(tmp_path / "run")
    assert "further/a/end-to-end" in found
    assert set(found.values()) == {"pass"}


def test_references_belong_to_a_files_content_and_inputs(tmp_path: Path) -> None:
    def paths(seed: int = 0) -> set[Path]:
        plan = build_plan(Selection("models-from", seed=seed, further=(str(tmp_path / "a.onnx"),)))
        return {GoldenCache(default_folder()).path(case, seed) for case in plan.cases}

    network(tmp_path / "a.onnx")
    first = paths()
    assert paths() == first
    assert not paths(seed=1) & first
    network(tmp_path / "a.onnx", scale=2.0)
    assert not paths() & first
    path, beside = tmp_path / "a.onnx", tmp_path / "a.data"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="a.data", size_threshold=0)
    first = paths()
    beside.write_bytes(bytes(beside.stat().st_size))  # other weights beside the same file
    open_file.cache_clear()  # as in another process
    assert not paths() & first


# ------------------------------------------------------------------------------------------------ verdicts


def test_further_models_stand_beside_the_suite_and_leave_it_as_it_is(places: Path) -> None:
    selection = Selection(operators=("Softmax",), models=("tcn",), dtypes=("float16",))
    without = build_plan(selection)
    both = build_plan(replace(selection, further=(str(places),), models=("tcn", "further/small"), dtypes=()))
    wide = build_plan(replace(selection, dtypes=()))
    assert [c for c in both.cases if FURTHER not in c.tags] == list(wide.cases)
    assert both.suite() == wide.suite()
    for key in ("suite", "models", "operators"):
        assert both.as_json()[key] == wide.as_json()[key]
    assert (without.further_digest, bool(both.further_digest)) == ("", True)
    assert {c.model for c in both.cases if FURTHER in c.tags} == {"further/small"}


def test_a_good_backend_passes_and_a_wrong_one_loses_exactly_its_case(
    some: Path, places: Path, tmp_path: Path
) -> None:
    right = verdicts(some)
    assert set(right.values()) == {"pass"}
    assert "further/small/end-to-end" in right
    options = ("--option", "operator=Sinh")
    assert call("run", f"{WRAPPING}:Tilts", *alone(places), *options, "-o", tmp_path / "run").status == 0
    wrong = verdicts(tmp_path / "run")
    assert {case for case in wrong if wrong[case] != right[case]} == {"further/strange/Sinh_3"}
    assert wrong["further/strange/Sinh_3"] in ("wrong", "inaccurate")


def test_the_evidence_is_what_the_schemas_describe_and_reads_back(some: Path, places: Path) -> None:
    assert schema_problems(some) == []
    run = read_run(some)
    assert run.plan.further is not None
    assert run.plan.further.of == (str(places),)
    assert [m.model.name for m in run.plan.further.models] == ["further/small", "further/strange"]
    assert run.plan.further.models[1].unjudged["before"] == ("further/strange/Exp_2",)
    assert not run.suite_alone().plan.cases
    certificate = json.loads((some / "certificate.json").read_text("utf-8"))
    assert certificate["summary"]["further"] == {"pass": len(verdicts(some))}
    assert certificate["summary"]["planned"] == 0


def test_killed_and_resumed_every_case_has_its_verdict_once(some: Path, places: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ("run", f"{WRAPPING}:Slow", *alone(places), "-o", folder)
    with start(*arguments) as process:
        wait_for(process, folder, 3)
        process.kill()
        finish(process)
    kept = [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert 3 <= len(kept) < len(verdicts(some))
    other = call("run", f"{WRAPPING}:Slow", *alone(places / "nets"), "--resume", "-o", folder)
    assert (other.status, "its further is " in other.complaint) == (2, True)
    assert call(*arguments, "--resume").status == 0
    assert verdicts(folder) == verdicts(some)
    assert lines(folder)[: len(kept)] == kept


def test_a_case_is_exported_and_reproduces(some: Path, tmp_path: Path) -> None:
    for number, case in enumerate(("further/small/Conv_0", "further/small/end-to-end")):
        assert call("export", some, case, "-o", tmp_path / str(number)).status == 0
        done = subprocess.run(
            [sys.executable, tmp_path / str(number) / "reproduce.py"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr  # (ONNX Runtime warns of the stale shape)
        assert "0 elements outside their bound" in done.stdout


def test_they_are_pytest_tests_too(places: Path, tmp_path: Path) -> None:
    options = ("--backend", f"{WRAPPING}:Tilts", "--backend-option", "operator=Sinh")
    done = run_suite(tmp_path, *options, *alone(places))
    assert done.returncode == 1
    outcomes = judged(tmp_path)
    failed = {case for case, (_, outcome) in outcomes.items() if outcome == "failure"}
    assert failed == {"further/strange/Sinh_3"}
    assert len(outcomes) > 5


def test_a_backend_with_static_shapes_gets_the_chosen_ones(places: Path, tmp_path: Path) -> None:
    """What the backend is shown has no symbolic dimension left, and the user's folder gets no new file."""
    (tmp_path / "static.py").write_text(
        "import onnx, onnxruntime\n"
        "class Backend:\n"
        "    def describe(self): return {'name': 'static', 'static_shapes': True}\n"
        "    def prepare(self, model):\n"
        "        proto = onnx.load(model)\n"
        "        dims = [d for v in proto.graph.input for d in v.type.tensor_type.shape.dim]\n"
        "        assert all(d.dim_value > 0 for d in dims), model\n"
        "        session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])\n"
        "        return lambda inputs: session.run(None, inputs)\n",
        encoding="utf-8",
    )
    before = sorted(places.rglob("*"))
    assert call("run", str(tmp_path / "static.py"), *alone(places), "-o", tmp_path / "run").status == 0
    assert set(verdicts(tmp_path / "run").values()) == {"pass"}
    assert sorted(places.rglob("*")) == before


# ------------------------------------------------------------------------------------- grade, report, diff

FULL = factory.plan()


def with_further(run: RunFolder, found: dict[str, str]) -> RunFolder:
    """The run with cases of one further model, in an operator and a dtype that tiers ask for."""
    extra = {
        f"further/net/n{n}": factory.case(
            f"further/net/n{n}", factory.name(n % 40), source="model", model="further/net", tags=[FURTHER]
        )
        for n, _ in enumerate(found)
    }
    planned = factory.plan(operators=1, core=0, common=1, models=0)
    planned["cases"] = list(extra.values())
    cases = factory.run(planned, lines=[]).plan.cases
    results = {k: Result(k, Verdict(v), "<b>odd</b>") for k, v in zip(extra, found.values(), strict=True)}
    brought = PlannedFurther(PlannedModel("further/net", "", ()), "net 1.0: net.onnx", "d", 11, 13, {"x": "1x16"})
    brought = replace(brought, unjudged={"before": ("further/net/odd",)})
    plan = replace(
        run.plan,
        cases=MappingProxyType({**run.plan.cases, **cases}),
        further=Further(("net",), "d9", (brought,)),
    )
    return replace(run, plan=plan, results={**run.results, **results})


def graded(run: RunFolder) -> dict[str, Any]:
    found = grade(run).as_json()
    found["summary"].pop("further", None)
    return found


@pytest.mark.parametrize("failing", [{}, {f"{factory.name(0)}/plain/float32": "wrong", "model003/n1": "error"}])
def test_the_grade_is_the_same_with_and_without_them(failing: dict[str, str]) -> None:
    run = factory.run(FULL, failing)
    bad = [v for v in Verdict if v not in (Verdict.PASS, Verdict.NOT_RUN)]
    both = with_further(run, {str(n): str(v) for n, v in enumerate([*bad, Verdict.PASS] * 20)})
    assert len(both.plan.cases) == len(run.plan.cases) + 20 * (len(bad) + 1)
    assert graded(both) == graded(run)
    assert grade(both).summary.further == dict.fromkeys((*bad, Verdict.PASS), 20)


def test_runs_are_compared_in_what_both_have() -> None:
    run = factory.run(FULL)
    both = with_further(run, {"0": "wrong"})
    found = compare(run, both)
    assert found.notes == ("only the new run has the user's models: they are left out here",)
    assert [*found.added, *found.gone, *found.regressed] == []
    worse = compare(with_further(run, {"0": "pass"}), both)
    assert [change.case for change in worse.regressed] == ["further/net/n0"]
    assert worse.notes == ()


@pytest.mark.parametrize(("language", "words"), [("en", "Further models"), ("zh", "附加模型")])
def test_the_report_has_a_section_of_them_and_no_other_figure(language: str, words: str) -> None:
    run = factory.run(FULL)
    both = with_further(run, {"0": "wrong", "1": "pass"})
    content, bare = page(both, grade(both)), page(run, grade(run))
    for name in ("tally", "families", "models", "distributions", "unsupported", "blockers", "tiers", "furthest"):
        assert getattr(content, name) == getattr(bare, name), name
    text = render_report(content, load_language(language))
    section = text.partition('<section id="further"')[2].partition("</section>")[0]
    for shown in (words, "net 1.0: net.onnx", "11 → 13", "1x16", "further/net/odd", "&lt;b&gt;odd&lt;/b&gt;"):
        assert shown in section, shown
    assert "--suite models-from --models-from net --model further/net -o again" in section
    assert '<section id="further"' not in render_report(bare, load_language(language))


def test_the_command_in_the_report_runs_that_model_alone(places: Path) -> None:
    plan = build_plan(Selection("models-from", models=("further/small",), further=(str(places),)))
    assert {c.model for c in plan.cases} == {"further/small"}
    done = call("list", "cases", *alone(places), "--model", "further/nothing")
    assert (done.status, "unknown model further/nothing" in done.complaint) == (2, True)
