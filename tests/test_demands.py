"""A backend is shown the models that it declares to take, each case keeps its question, and what has no such model is
unsupported. The planted backends raise for anything else, so a model of the wrong kind fails its case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import call, lines, verdicts
from onnx import TensorProto, helper

from conformance.demands import Demands, Unfit, fitted
from conformance.graphs import build, domain_opset, dtypes_of, schema_of
from conformance.operators import catalogue
from conformance.plan import samples_of
from conformance.versions import as_of

PLANTED = Path(__file__).parent / "backends_planted" / "demanding.py"
X = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 3, 4)


def model(
    nodes: list[Any],
    opset: int,
    shape: tuple[Any, ...] = (2, 3, 4),
    constants: dict[str, np.ndarray] | None = None,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """x -> y, valid as of ``opset``."""
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(v, k) for k, v in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports))


def opset_of(proto: onnx.ModelProto) -> int:
    (imported,) = proto.opset_import
    return int(imported.version)


def within(proto: onnx.ModelProto, oldest: int, newest: int, **how: Any) -> onnx.ModelProto:
    return fitted(proto, [{"x": X}], Demands(opset=(oldest, newest)), single=True, **how)


# ---------------------------------------------------------------------------------------------- declarations


@pytest.mark.parametrize(
    ("described", "demands"),
    [
        ({}, Demands()),
        ({"supports": {"opset": [7, 19]}}, Demands(opset=(7, 19))),
        ({"supports": {"opset": [7]}}, Demands()),
        ({"supports": {"opset": "19"}}, Demands()),
        ({"supports": {"opset": [7.0, 19.0]}}, Demands()),
        (
            {"supports": {"operators": "Conv", "dtypes": ["float16"]}},
            Demands(frozenset({"Conv"}), frozenset({"float16"})),
        ),
        ({"supports": None, "static_shapes": True, "packs": 8}, Demands(static_shapes=True, packs=8)),
        ({"static_shapes": "no", "packs": True}, Demands()),
        ({"packs": 0}, Demands()),
    ],
)
def test_only_what_is_declared_in_its_form_is_a_demand(described: dict[str, Any], demands: Demands) -> None:
    assert Demands.of(described) == demands


# --------------------------------------------------------------------------------------------------- opsets


def test_a_model_in_the_range_stays_as_it_is() -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], 21)
    assert within(proto, 7, 21) is proto


def test_an_operator_that_did_not_change_only_gets_another_opset() -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], 21)
    older = within(proto, 7, 17)
    assert (opset_of(older), older.ir_version) == (17, 8)
    assert older.graph == proto.graph
    newer = within(model([helper.make_node("Relu", ["x"], ["y"])], 14), 18, 22)
    assert opset_of(newer) == 18


def test_an_input_that_was_an_attribute_becomes_one_again() -> None:
    node = helper.make_node("ReduceMax", ["x", "axes"], ["y"], keepdims=0)
    older = within(model([node], 18, constants={"axes": np.array([1])}), 11, 17)
    onnx.checker.check_model(older, full_check=True)
    (found,) = older.graph.node
    assert {a.name: list(a.ints) for a in found.attribute if a.name == "axes"} == {"axes": [1]}


@pytest.mark.parametrize(
    ("node", "opset", "newest"),
    [
        # No such operator: nobody can say it.
        (helper.make_node("Gelu", ["x"], ["y"]), 21, 19),
        # Softmax of 12 flattens: of three dimensions, it is another function, and the converter adds nodes.
        (helper.make_node("Softmax", ["x"], ["y"], axis=1), 13, 12),
        # GroupNormalization of 18 scales groups, that of 21 channels, with inputs of the same names.
        (helper.make_node("GroupNormalization", ["x", "scale", "bias"], ["y"], num_groups=1), 21, 20),
    ],
    ids=["Gelu", "Softmax", "GroupNormalization"],
)
def test_what_an_older_opset_does_not_say_is_not_shown(node: Any, opset: int, newest: int) -> None:
    constants = {"scale": np.arange(1, 4, dtype=np.float32), "bias": np.ones(3, np.float32)}
    used = {name: value for name, value in constants.items() if name in node.input}
    with pytest.raises(
        Unfit, match=rf"^declared: opset {opset} is outside the backend's 7 to {newest}, and "
    ) as why:
        within(model([node], opset, constants=used), 7, newest)
    assert node.op_type in str(why.value)


def test_a_conversion_upwards_that_needs_more_nodes_is_not_one_operator_any_more() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"], axis=1)
    with pytest.raises(Unfit, match="Softmax"):
        within(model([node], 12), 13, 21)
    whole = fitted(model([node], 12), [{"x": X}], Demands(opset=(13, 21)), single=False)
    assert opset_of(whole) == 13
    assert len(whole.graph.node) > 1


def test_a_writing_that_says_something_else_is_not_shown() -> None:
    """Whatever hands in the other writing: both are evaluated on the case's own inputs."""
    proto = model([helper.make_node("Gelu", ["x"], ["y"])], 21)
    other = model([helper.make_node("Relu", ["x"], ["y"])], 19)
    with pytest.raises(Unfit, match="cannot be shown to say the same"):
        fitted(proto, [{"x": X}], Demands(opset=(7, 19)), single=False, rewritten=lambda opset: other)
    zero = {"zero": np.zeros(1, np.float32)}
    composed = model([helper.make_node("Max", ["x", "zero"], ["y"])], 19, constants=zero)
    relu = model(
        [helper.make_node("Relu", ["x"], ["z"]), helper.make_node("Reshape", ["z", "s"], ["y"])],
        21,
        constants={"s": np.array([2, 3, 4])},
    )
    found = fitted(relu, [{"x": X}], Demands(opset=(7, 19)), single=False, rewritten=lambda opset: composed)
    assert found is composed


def test_a_model_that_is_to_be_refused_is_never_made_valid_on_the_way() -> None:
    """It is written at the older opset as the catalogue does, or not shown: a converter might repair it."""
    operator = catalogue()["", "ReduceMax"]
    refused = [s for s in samples_of(operator) if s.refuse]
    assert refused
    content = build(operator, refused[0], "float32", 21, "0/x")
    with pytest.raises(Unfit):
        fitted(content.model, content.feeds, Demands(opset=(7, 12)), single=True, refuse=True)


def test_a_domain_that_no_node_uses_is_left_out_and_onnx_own_stays() -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], 21)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.preview", 1))
    assert [o.domain for o in fitted(proto, [], Demands(), single=True).opset_import] == [""]
    gelu = model([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], 21)
    gelu.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert fitted(gelu, [], Demands(), single=True) is gelu


def test_the_models_of_the_catalogue_have_nothing_that_importers_stumble_over() -> None:
    """No value declared besides inputs and outputs, no domain without a node, no name twice, as they are built."""
    looked = 0
    for operator in catalogue().values():
        newest = domain_opset(operator.domain, 21)
        if schema_of(operator.name, newest, operator.domain) is None:
            continue
        for sample in samples_of(operator):
            opset = sample.opset or newest
            written = as_of(operator, sample, opset) if opset <= newest else None
            dtypes = () if written is None else dtypes_of(operator, written, opset)
            if not dtypes or written is None or sample.refuse:
                continue
            proto = build(operator, written, dtypes[0], opset, "0/x").model
            looked += 1
            about = f"{operator.name}/{sample.name}"
            assert not proto.graph.value_info, about
            assert fitted(proto, [], Demands(), single=True) is proto, about
            names = [node.name for node in proto.graph.node if node.name]
            assert len(set(names)) == len(names), about
            values = [v.name for v in (*proto.graph.input, *proto.graph.initializer)]
            values += [o for node in proto.graph.node for o in node.output if o]
            assert len(set(values)) == len(values), about
    assert looked > 2000


# --------------------------------------------------------------------------------------------------- shapes


def test_symbolic_dimensions_become_those_of_the_inputs_and_what_follows_is_inferred() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["z"]), helper.make_node("Transpose", ["z"], ["y"], perm=[2, 0, 1])]
    proto = model(nodes, 21, shape=("n", 3, "m"))
    proto.graph.value_info.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("n", 3, "m")))
    pinned = fitted(proto, [{"x": X}, {"x": X + 1}], Demands(static_shapes=True), single=False)

    def shape(value: Any) -> list[int]:
        return [d.dim_value for d in value.type.tensor_type.shape.dim]

    assert shape(pinned.graph.input[0]) == [2, 3, 4]
    assert shape(pinned.graph.output[0]) == [4, 2, 3]
    assert [shape(v) for v in pinned.graph.value_info if v.name == "z"] == [[2, 3, 4]]
    with pytest.raises(Unfit, match="static shapes only"):
        fitted(proto, [{"x": X}, {"x": X[:1]}], Demands(static_shapes=True), single=False)


def test_a_static_model_is_not_touched() -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], 21)
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3, 4)))
    assert fitted(proto, [{"x": X}], Demands(static_shapes=True), single=True) is proto


# ------------------------------------------------------------------------------------------------ whole runs

FEW = ("--model", "tcn", "--operator", "ReduceMax", "--operator", "Transpose", "--operator", "GroupNormalization")
FEW += ("--operator", "Relu", "--operator", "Softmax", "--operator", "com.microsoft.Gelu")


def seen(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_a_run_shows_a_backend_only_the_opsets_of_its_range_and_counts_the_rest_before(
    cache: Path, tmp_path: Path
) -> None:
    for name in ("Plain", "OpsetRange"):
        options = [f"--option=log={tmp_path / name}.log", "--option=newest=17"]
        done = call("run", f"{PLANTED}:{name}", *FEW, *options, "-o", tmp_path / name)
        assert done.status == 0, done
    plain, ranged = verdicts(tmp_path / "Plain"), verdicts(tmp_path / "OpsetRange")
    assert plain.keys() == ranged.keys()
    assert {line["opset"] for line in seen(tmp_path / "OpsetRange.log")} == {11, 12, 17}
    changed = {case: verdict for case, verdict in ranged.items() if verdict != plain[case]}
    assert changed
    assert set(changed.values()) == {"unsupported"}
    messages = {line["case"]: line["message"] for line in lines(tmp_path / "OpsetRange")}
    for case in changed:
        assert " is outside the backend's 1 to 17, and " in messages[case], messages[case]
    assert {case.partition("/")[0] for case in changed} >= {"GroupNormalization"}
    # What is written otherwise there is shown, and passes.
    assert sum(case.startswith("ReduceMax/") and ranged[case] == "pass" for case in ranged) > 20
    assert sum(case.startswith("com.microsoft.Gelu/") and ranged[case] == "pass" for case in ranged) > 3


def test_a_run_shows_static_shapes_where_they_are_declared(cache: Path, tmp_path: Path) -> None:
    options = [f"--option=log={tmp_path}/log"]
    done = call("run", f"{PLANTED}:StaticShapes", *FEW, *options, "-o", tmp_path / "run")
    assert done.status == 0, done
    found = verdicts(tmp_path / "run")
    plan = json.loads((tmp_path / "run" / "plan.json").read_text(encoding="utf-8"))
    dynamic = {case["case"] for case in plan["cases"] if "dynamic" in case["tags"]}
    assert dynamic
    assert {found[case] for case in dynamic} == {"unsupported"}
    assert not [line for line in lines(tmp_path / "run") if "what shape has" in line["message"]]
    assert all(isinstance(d, int) for line in seen(tmp_path / "log") for shape in line["shapes"] for d in shape)


def test_a_whole_model_is_converted_beside_its_weights(cache: Path, tmp_path: Path) -> None:
    options = [f"--option=log={tmp_path}/log", "--option=oldest=21", "--option=newest=22"]
    done = call("run", f"{PLANTED}:OpsetRange", "--model", "tcn", *options, "-o", tmp_path / "run")
    assert done.status == 0, done
    assert set(verdicts(tmp_path / "run").values()) == {"pass"}
    assert {line["opset"] for line in seen(tmp_path / "log")} == {21}
    # What is exported is what the backend was shown.
    done = call("export", tmp_path / "run", "tcn/end-to-end", "-o", tmp_path / "case")
    assert done.status == 0, done
    assert opset_of(onnx.load(str(tmp_path / "case" / "model.onnx"), load_external_data=False)) == 21


# ---------------------------------------------------------------------------------------------------- packs

SINGLES = ("--operator", "Sin", "--operator", "Cos", "--operator", "Relu", "--operator", "Add")
SINGLES += ("--model", "tcn", "--dtype", "float32", "--dtype", "float64", "--suite", "smoke")


def packed_run(name: str, folder: Path) -> dict[str, str]:
    done = call("run", f"{PLANTED}:{name}", *SINGLES, f"--option=log={folder}.log", "-o", folder)
    assert done.status == 0, done
    return verdicts(folder)


@pytest.fixture(scope="module")
def alone(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The verdicts of the same backend with a model for each case."""
    return packed_run("Plain", tmp_path_factory.mktemp("alone") / "run")


def test_packed_cases_get_the_verdicts_that_they_get_alone_with_far_fewer_models(
    alone: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    assert packed_run("Packs", tmp_path / "run") == alone
    models = seen(tmp_path / "run.log")
    assert len(models) < len(alone) / 2
    assert max(len(line["operators"]) for line in models) >= 8
    packs = [line["packed"] for line in lines(tmp_path / "run") if "packed" in line]
    assert max(packs) == 8
    assert all(line["verdict"] == "pass" for line in lines(tmp_path / "run") if "packed" in line)


def test_a_case_that_crashes_in_a_pack_is_found_and_costs_no_other_its_verdict(
    alone: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    found = packed_run("PacksWithACrash", tmp_path / "run")
    crashed = {case for case, verdict in found.items() if verdict == "crash"}
    assert crashed == {case for case in alone if case.startswith("Cos/")}
    assert {c: v for c, v in found.items() if c not in crashed} == {
        c: v for c, v in alone.items() if c not in crashed
    }


def test_a_case_that_is_wrong_in_a_pack_is_judged_by_what_it_does_alone(
    alone: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    assert packed_run("PacksWithAFlaw", tmp_path / "run") == alone


def test_a_defect_is_charged_to_its_own_case_packed_or_not(
    alone: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    found = packed_run("PacksWithADefect", tmp_path / "run")
    differ = {case for case in alone if found[case] != alone[case]}
    assert differ == {case for case in alone if case.startswith("Sin/") and alone[case] == "pass"}
    assert {found[case] for case in differ} == {"inaccurate"}


def test_a_pack_with_the_wrong_number_of_outputs_is_taken_apart(
    alone: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    assert packed_run("PacksCountsWrong", tmp_path / "run") == alone


def test_a_packed_run_that_was_cut_short_goes_on_where_it_was(
    alone: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    packed_run("Packs", tmp_path / "run")
    journal = tmp_path / "run" / "results.jsonl"
    kept = journal.read_text(encoding="utf-8").splitlines(keepends=True)[:7]
    journal.write_text("".join(kept), encoding="utf-8")
    options = (*SINGLES, f"--option=log={tmp_path / 'run'}.log")
    done = call("run", f"{PLANTED}:Packs", *options, "--resume", "-o", tmp_path / "run")
    assert done.status == 0, done
    assert verdicts(tmp_path / "run") == alone
    assert journal.read_text(encoding="utf-8").startswith("".join(kept))
