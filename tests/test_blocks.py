"""Pieces of reference models: what stands in a block, what may come out of it where it is quantised, and which pieces
count as one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conformance import models, plan
from conformance.cuts import Reference, blocks_of, identity, likeness, opened, piece
from conformance.graphs import nodes_of
from conformance.judge import judge
from conformance.models.store import INPUTS_KEY, WEIGHTS_KEY, parse
from conformance.numerics import Expected
from conformance.oracle import expect_graph
from conformance.spec import Source, Verdict

SCALE = np.float32(0.1)


def quantised_pair() -> onnx.ModelProto:
    """x (uint8) and w (int8), both dequantised, a product, its quantised result: what a compiler makes one kernel of."""
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["dx"], name="a"),
        helper.make_node("DequantizeLinear", ["w", "scale"], ["dw"], name="b"),
        helper.make_node("MatMul", ["dx", "dw"], ["y"], name="c"),
        helper.make_node("Relu", ["y"], ["r"], name="d"),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["q"], name="e"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["out"], name="f"),
    ]
    info = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [info("x", TensorProto.UINT8, [2, 3]), info("w", TensorProto.INT8, [3, 4])],
            [info("out", TensorProto.FLOAT, [2, 4])],
            [
                numpy_helper.from_array(SCALE, "scale"),
                numpy_helper.from_array(np.uint8(3), "zero"),
            ],
            value_info=[
                info("dx", TensorProto.FLOAT, [2, 3]),
                info("dw", TensorProto.FLOAT, [3, 4]),
                info("y", TensorProto.FLOAT, [2, 4]),
                info("r", TensorProto.FLOAT, [2, 4]),
                info("q", TensorProto.UINT8, [2, 4]),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
    )
    notes = {INPUTS_KEY: {"x": {"kind": "auto"}}, WEIGHTS_KEY: {"w": {"kind": "auto"}}}
    helper.set_model_props(model, {k: json.dumps(v) for k, v in notes.items()})
    return model


def test_a_block_of_a_quantised_model_goes_from_integers_to_integers() -> None:
    (block,) = blocks_of(opened(parse("pair", quantised_pair()))).values()
    assert block.positions == (0, 1, 2, 3, 4)
    assert block.inputs == ("x",)
    assert set(block.constants) == {"w", "scale", "zero"}
    assert block.outputs == ("q",)


def test_a_dequantised_value_that_others_read_too_stays_outside() -> None:
    model = quantised_pair()
    model.graph.node.insert(1, helper.make_node("Neg", ["dx"], ["other"], name="g"))
    model.graph.value_info.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [2, 3]))
    (block,) = blocks_of(opened(parse("pair", model))).values()
    assert block.inputs == ("dx",)
    assert block.outputs == ("q",)


def product(values: np.ndarray, weights: np.ndarray) -> Expected:
    """What is expected of the quantised product of float32 numbers, in steps of 1."""
    info = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "w"], ["y"]),
                helper.make_node("QuantizeLinear", ["y", "scale", "zero"], ["q"]),
            ],
            "g",
            [
                info("x", TensorProto.FLOAT, values.shape),
                info("w", TensorProto.FLOAT, weights.shape),
                info("scale", TensorProto.FLOAT, []),
                info("zero", TensorProto.INT8, []),
            ],
            [info("q", TensorProto.INT8, None)],
            value_info=[info("y", TensorProto.FLOAT, None)],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
    )
    constants = {"scale": np.float32(1.0), "zero": np.int8(0)}
    feeds = {"x": values, "w": weights, **constants}
    (expected,) = expect_graph(nodes_of(model), feeds, {"q": "int8"}, constants.get, key="product")
    return expected


def test_at_a_tie_that_rounding_decides_either_neighbour_is_right_and_no_other() -> None:
    """Sums of 64 terms next to 2.5, which float32 cannot tell from it, and one that is clearly 2."""
    x = np.full((1, 64), 1.0, np.float32)
    w = np.full((64, 2), np.float32(2.5 / 64), np.float32)
    w[0, 0] += np.float32(1e-8)
    w[:, 1] = np.float32(2.1 / 64)
    expected = product(x, w)
    for answer, verdict in (([2, 2], "pass"), ([3, 2], "pass"), ([4, 2], "inaccurate"), ([2, 3], "inaccurate")):
        given = judge((expected,), [np.array([answer], np.int8)], (), {})
        assert given.verdict is Verdict(verdict), answer


def test_an_integer_that_no_quantiser_made_has_one_right_value() -> None:
    info = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT8), helper.make_node("Neg", ["y"], ["z"])],
            "g",
            [info("x", TensorProto.FLOAT, [2])],
            [info("z", TensorProto.INT8, [2])],
            value_info=[info("y", TensorProto.INT8, [2])],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
    )
    feeds = {"x": np.array([2.0, -3.0], np.float32)}
    (expected,) = expect_graph(nodes_of(model), feeds, {"z": "int8"}, {}.get, key="cast")
    assert judge((expected,), [np.array([-2, 3], np.int8)], (), {}).verdict is Verdict.PASS
    assert judge((expected,), [np.array([-2, 4], np.int8)], (), {}).verdict is not Verdict.PASS


# ---------------------------------------------------------------------------------- which pieces are alike


def graph_of(*nodes: onnx.NodeProto, opset: int = 20, **constants: np.ndarray) -> Reference:
    """x (float32, 2 x 32) through nodes, with literals by name."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 32])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 32])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    helper.set_model_props(model, {INPUTS_KEY: '{"x": {"kind": "auto"}}', WEIGHTS_KEY: "{}"})
    return opened(parse("g", model))


def quantiser(scale: float, zero: int = 3, opset: int = 20) -> Reference:
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"], name="a")
    return graph_of(node, opset=opset, scale=np.float32(scale), zero=np.uint8(zero))


def added(values: np.ndarray) -> Reference:
    return graph_of(helper.make_node("Add", ["x", "b"], ["y"], name="a"), b=values)


def transposed(*order: int) -> Reference:
    return graph_of(helper.make_node("Transpose", ["x"], ["y"], name="a", perm=order))


ROW = np.linspace(0.1, 1.0, 32, dtype=np.float32)
MASK = np.repeat(np.float32([0.0, -1e9]), 16)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (quantiser(0.0101), quantiser(0.0104), True),
        (quantiser(0.0101), quantiser(0.0404), False),
        (quantiser(0.0101), quantiser(-0.0101), False),
        (quantiser(0.0101, zero=3), quantiser(0.0101, zero=4), False),
        (quantiser(0.0101, opset=21), quantiser(0.0101, opset=22), True),
        (quantiser(0.0101, opset=20), quantiser(0.0101, opset=21), False),  # QuantizeLinear has a version 21
        (added(ROW), added(ROW[::-1].copy()), True),
        (added(ROW), added(ROW * 16), False),
        (added(ROW), added(-ROW), False),
        (added(ROW), added(np.where(ROW == 1, np.float32(np.inf), ROW)), False),
        (added(MASK), added(MASK[::-1].copy()), False),
        (added(ROW[:1]), added(ROW[1:2]), False),
        (transposed(0, 1), transposed(1, 0), False),
    ],
)
def test_pieces_are_alike_where_no_backend_tells_them_apart(one: Reference, other: Reference, alike: bool) -> None:
    (same,) = {likeness(one, piece(one, [0])) == likeness(other, piece(other, [0]))}
    assert same is alike
    assert identity(one, piece(one, [0])) != identity(other, piece(other, [0]))


def test_a_model_of_the_standard_suite_shares_no_case_that_is_only_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = {"first": quantiser(0.0101), "second": quantiser(0.0104)}
    manifest = {name: models.manifest()["tcn"] for name in graphs}
    monkeypatch.setattr(plan, "open_model", lambda name: replace(graphs[name], name=name))
    for suite, cases in (("standard", {"first/a", "second/a"}), ("full", {"first/a"})):
        manifest["second"] = replace(manifest["second"], suite=suite)
        monkeypatch.setattr(models, "manifest", lambda: manifest)
        monkeypatch.setattr(models, "names", lambda: tuple(manifest))
        found = plan.build_plan(plan.Selection(models=("first", "second"))).cases
        assert {case.id for case in found if case.source is Source.MODEL} == cases


def layered(kinds: str, *, mask: bool = True) -> Reference:
    """A model of layers, one a letter: "a" is attention's shape in small, "b" a residual product, "q" two products with
    a quantised value between them. The mask is made once and read by all."""
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Relu", ["m"], ["mask"], name="mask")] if mask else []
    value = "x"
    for n, kind in enumerate(kinds):
        if kind == "a":
            steps = [
                ("MatMul", [value, "w"], "q"),
                ("Add", ["q", "mask" if mask else value], "s"),
                ("Softmax", ["s"], "p"),
                ("MatMul", ["p", "w"], "o"),
                ("Add", ["o", value], "r"),
            ]
        elif kind == "q":
            steps = [
                ("MatMul", [value, "w"], "h"),
                ("QuantizeLinear", ["h", "scale"], "i"),
                ("DequantizeLinear", ["i", "scale"], "g"),
                ("MatMul", ["g", "w"], "o"),
                ("Add", ["o", value], "r"),
            ]
        else:
            steps = [
                ("MatMul", [value, "w"], "h"),
                ("Relu", ["h"], "g"),
                ("MatMul", ["g", "w"], "o"),
                ("Add", ["o", value], "r"),
            ]
        inner = {name for _, _, name in steps}
        for operator, inputs, output in steps:
            named = [f"{i}{n}" if i in inner else i for i in inputs]
            nodes.append(helper.make_node(operator, named, [f"{output}{n}"], name=f"{output}{n}"))
        value = f"r{n}"
    shape = [4, 4]
    made = [name for node in nodes for name in node.output]
    graph = helper.make_graph(
        nodes,
        "g",
        [info(n, TensorProto.FLOAT, shape) for n in ("x", "m", "w")],
        [info(value, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(SCALE, "scale")],
        value_info=[
            info(n, TensorProto.UINT8 if n.startswith("i") else TensorProto.FLOAT, shape)
            for n in made
            if n != value
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    notes = {
        INPUTS_KEY: {"x": {"kind": "auto"}, "m": {"kind": "auto"}},
        WEIGHTS_KEY: {"w": {"kind": "auto"}},
    }
    helper.set_model_props(model, {k: json.dumps(v) for k, v in notes.items()})
    return opened(parse("layers", model))


def repeats(reference: Reference) -> list[str]:
    """The operators of each copy of what repeats, in order."""
    found = [part for name, part in blocks_of(reference).items() if name.startswith("repeat-")]
    return ["".join(reference.nodes[p].operator[0] for p in part.positions) for part in found]


def test_layers_are_found_where_the_fewest_values_go_in_and_out() -> None:
    reference = layered("aaa")
    assert repeats(reference) == ["MASMA"] * 3
    for name, part in blocks_of(reference).items():
        if name.startswith("repeat-"):
            assert len(part.inputs) == 2  # what the layer before made, and the mask
            assert len(part.outputs) == 1


def test_layers_that_are_the_same_are_one_case() -> None:
    reference = layered("aaaa")
    parts = [part for name, part in blocks_of(reference).items() if name.startswith("repeat-")]
    assert len(parts) == 4
    assert len({identity(reference, part) for part in parts}) == 1


def test_each_stage_of_a_model_has_repeats_of_its_own() -> None:
    assert repeats(layered("aaabbbb")) == ["MRMA"] * 4 + ["MASMA"] * 3


def test_what_stands_in_a_model_once_is_no_repeat() -> None:
    assert repeats(layered("a")) == []
    assert repeats(layered("ab", mask=False)) == []


def test_what_goes_on_with_what_it_has_quantised_is_no_repeat() -> None:
    assert repeats(layered("qqq")) == []


def test_nodes_between_two_copies_break_a_repeat() -> None:
    assert repeats(layered("aba", mask=False)) == []


def test_transformer_layers_of_a_reference_model_are_one_case_for_all() -> None:
    made = plan.build_plan(plan.Selection(models=("bert-base",)))
    (layer,) = [case for case in made.cases if case.part.startswith("repeat-")]
    assert len(layer.occurrences["bert-base"]) == 11
    assert layer.operator.count("+") == plan.SPELT - 1
    assert layer.operator.endswith("(36 nodes)")
