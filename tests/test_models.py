"""The reference models: what is stored, what is drawn from it, and what is refused."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conformance import models
from conformance.errors import UsageError
from conformance.models import store

NAMES = models.names()
DOMAINS = {
    "image classification",
    "detection",
    "segmentation",
    "OCR",
    "NLP",
    "text generation",
    "speech",
    "time series",
    "diffusion",
    "image-text",
    "recommendation",
    "graph",
    "depth and pose",
    "image generation",
}
HEALTH = Path(__file__).parents[1] / "tools" / "zoo" / "health"
EXTENSION = "com.microsoft"


loaded = functools.cache(models.load)  # no test changes what it is given


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> models.Model:
    return loaded(request.param)


def test_the_manifest_and_the_folder_hold_the_same_models() -> None:
    graphs = files(models) / "graphs"
    assert sorted(f.name for f in graphs.iterdir()) == sorted(f"{n}.onnx" for n in NAMES)
    assert sum(len(f.read_bytes()) for f in graphs.iterdir()) < 40e6
    assert {e.domain for e in models.manifest().values()} == DOMAINS
    assert len(NAMES) >= 110


def test_the_zoo_has_what_deployed_models_have() -> None:
    entries = models.manifest().values()
    assert sum(e.state for e in entries) >= 12
    assert sum(e.dynamic for e in entries) >= 8
    assert sum("int" in e.form for e in entries) >= 10
    assert sum(e.form == "float16" for e in entries) >= 8
    assert {e.form for e in entries} == {"float32", "float16", "int8", "dynamic int8", "int4"}
    assert max(e.parameters for e in entries) >= 1e9
    assert [e.suite for e in entries] == sorted((e.suite for e in entries), reverse=True)  # standard, then full


@pytest.mark.parametrize("domain", ["image classification", "OCR", "NLP", "time series"])
def test_the_domains_that_tiers_count_have_two_models(domain: str) -> None:
    assert sum(e.domain == domain for e in models.manifest().values()) >= 2


def test_the_standard_suite_stays_within_its_budget() -> None:
    entries = [e for e in models.manifest().values() if e.suite == "standard"]
    assert len(entries) == 25
    assert sum(e.parameters for e in entries) < 660e6
    assert sum(e.macs for e in entries) < 60e9


def test_the_manifest_counts_what_is_in_the_file(model: models.Model) -> None:
    entry = models.manifest()[model.name]
    content = (files(models) / "graphs" / f"{model.name}.onnx").read_bytes()
    graph = model.proto.graph
    assert entry.digest == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert entry.size == len(content)
    assert entry.nodes == len(graph.node)
    assert entry.operators == len({(n.domain, n.op_type) for n in graph.node})
    extended = [(EXTENSION, 1)] if entry.form == "int4" else []
    assert [(o.domain, o.version) for o in model.proto.opset_import] == [("", entry.opset), *extended]
    packed = {n.input[1] for n in graph.node if n.op_type == "MatMulNBits"}
    drawn = [n for n, recipe in model.weights.items() if recipe.kind != "full"]
    assert entry.parameters == sum(int(np.prod(model.types[n].shape)) * (1 + (n in packed)) for n in drawn)
    assert entry.dynamic == bool(model.axes)
    assert entry.macs > 0
    assert entry.source
    assert entry.licence


def test_a_stored_graph_is_a_valid_model_of_the_normal_form(model: models.Model) -> None:
    onnx.checker.check_model(model.proto, full_check=True)
    graph = model.proto.graph
    assert not model.proto.functions
    assert [n.name for n in graph.node] == [f"{n.op_type}_{i}" for i, n in enumerate(graph.node)]
    assert all(not n.doc_string and not n.metadata_props for n in graph.node)
    assert all(n.domain == (EXTENSION if n.op_type == "MatMulNBits" else "") for n in graph.node)
    assert all(n.op_type != "Constant" for n in graph.node)
    assert not [a.name for n in graph.node for a in n.attribute if a.HasField("g") or a.graphs]
    made = [o for n in graph.node for o in n.output if o]
    given = [v.name for v in (*graph.input, *graph.initializer)]
    assert len(set(made + given)) == len(made + given)
    read = {i for n in graph.node for i in n.input}
    assert {i.name for i in graph.initializer} <= read
    assert set(model.weights) <= read


def test_every_tensor_has_a_type_and_a_static_shape_and_nothing_stale_does(model: models.Model) -> None:
    graph = model.proto.graph
    made = {o for n in graph.node for o in n.output if o}
    assert {v.name for v in graph.value_info} == made - {o.name for o in graph.output}
    for value in (*graph.input, *graph.value_info, *graph.output):
        assert value.type.tensor_type.elem_type
        assert all(d.HasField("dim_value") and d.dim_value > 0 for d in value.type.tensor_type.shape.dim)
    assert set(model.types) == made | {v.name for v in (*graph.input, *graph.initializer)}


def test_every_graph_input_has_a_recipe_inputs_first(model: models.Model) -> None:
    names = [value.name for value in model.proto.graph.input]
    assert names == [*model.inputs, *model.weights]


def test_what_stays_in_the_file_is_small_or_no_real_number(model: models.Model) -> None:
    scales = {n.input[1] for n in model.proto.graph.node if n.op_type == "DequantizeLinear"}
    for tensor in model.proto.graph.initializer:
        if tensor.name in scales:
            continue
        array = numpy_helper.to_array(tensor)
        assert array.size <= 256 or array.dtype.kind != "f" or len(np.unique(array)) <= 4, tensor.name


def test_no_drawn_weight_is_degenerate(model: models.Model) -> None:
    """Normal draws have a spread; variances of batch normalisations are positive."""
    variances = {n.input[4] for n in model.proto.graph.node if n.op_type == "BatchNormalization"}
    for name, recipe in model.weights.items():
        if recipe.kind == "normal":
            assert recipe.b > 0, name
        elif recipe.kind in ("uniform", "integers"):
            assert recipe.b > recipe.a, name
            assert name not in variances or recipe.a > 0
        else:
            assert recipe.kind == "full" or len(set(recipe.items)) > 1, name
            assert name not in variances


def test_inputs_can_be_drawn_and_indices_lie_in_their_tables(model: models.Model) -> None:
    for name in model.inputs:
        array = models.feed(model, name, 3)
        assert array.shape == model.types[name].shape
        for node in model.proto.graph.node:
            if node.op_type == "Gather" and node.input[1] == name:
                axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
                assert array.max() < model.types[node.input[0]].shape[axis]


def test_a_form_is_in_the_graph_and_not_only_in_the_name(model: models.Model) -> None:
    form = models.manifest()[model.name].form
    operators = {n.op_type for n in model.proto.graph.node}
    dtypes = {t.dtype for t in model.types.values()}
    assert ("float16" in dtypes) == (form == "float16"), "float32 in a float16 model is its accumulators' alone"
    assert ({"QuantizeLinear", "DequantizeLinear"} <= operators) == (form == "int8")
    assert ({"DynamicQuantizeLinear", "MatMulInteger"} <= operators) == (form == "dynamic int8")
    assert ("MatMulNBits" in operators) == (form == "int4")


def test_the_scale_of_a_quantised_bias_is_the_product_of_the_other_two(model: models.Model) -> None:
    """What kernels on integers take for granted, whatever the graph says."""
    made = {n.output[0]: n for n in model.proto.graph.node if n.op_type == "DequantizeLinear"}
    held = {i.name: numpy_helper.to_array(i) for i in model.proto.graph.initializer}
    for node in model.proto.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in made:
            x, w, bias = (held[made[i].input[1]] for i in node.input)
            np.testing.assert_allclose(bias, x * w, rtol=1e-6, err_msg=node.name)


DYNAMIC = [n for n, e in models.manifest().items() if e.dynamic]


@pytest.mark.parametrize("name", DYNAMIC)
def test_a_dynamic_model_is_fed_at_lengths_of_its_own(name: str) -> None:
    model = models.load(name)
    lengths = {n: d for i, axes in model.axes.items() for p, n in axes.items() if (d := model.types[i].shape[p])}
    assert len(model.sizes) >= 2
    for sizes in model.sizes:
        assert sizes.keys() == lengths.keys()
        assert sizes != lengths
        for tensor in model.inputs:
            shape = models.feed(model, tensor, 0, sizes).shape
            axes = model.axes.get(tensor, {})
            assert shape == tuple(
                sizes[axes[i]] if i in axes else d for i, d in enumerate(model.types[tensor].shape)
            )


def test_a_loosened_model_runs_at_all_lengths_on_the_weights_of_the_other(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = models.load("deepfm-dynamic")
    path = models.loosen(model, models.materialise(model, tmp_path / "m.onnx", 2))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for sizes in (None, *model.sizes):
        feeds = {n: models.feed(model, n, 2, sizes) for n in model.inputs}
        (click,) = session.run(None, feeds)
        assert click.shape == (feeds["ids"].shape[0], 1)
        assert 0 < click.min() < click.max() < 1 or click.size == 1


def layers_of(name: str) -> list[dict[str, float]]:
    with (HEALTH / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return [{k: float(v) for k, v in row.items() if k != "layer"} for row in csv.DictReader(stream)]


@pytest.mark.parametrize("name", NAMES)
def test_activations_neither_vanish_nor_explode(name: str) -> None:
    """As they were recorded layer by layer; within float16 but for the models whose manifest says why not."""
    layers = layers_of(name)
    record = json.loads((files(models) / "manifest.json").read_text(encoding="utf-8"))["exports"][name]
    assert layers
    assert 0.01 < record["output_std"] < 1e3 or "wild" in record
    assert record["largest"] < 65504 or "wild" in record
    assert all(abs(x["mean"]) + 4 * x["std"] < 65504 or "wild" in record for x in layers)
    alive = [x for x in layers if x["std"] > 1e-5 and x["zeros"] < 0.995]
    # A detector's decoder starts with zeros, a probability alone has no deviation.
    assert len(layers) - len(alive) <= max(2, len(layers) // 10)
    assert sum(x["saturated"] > 0.9 for x in layers) <= 0.05 * len(layers)


PINNED = {
    ("resnet50", "resnet.embedder.embedder.convolution.weight"): "4bbdefd11daf2080",
    ("crnn", "classify.bias"): "ecf200f596651ea3",
    ("gpt2", "transformer.h.3.attn.c_attn.weight"): "338835343fe0abac",
}


@pytest.mark.parametrize(("name", "tensor"), PINNED)
def test_weights_have_the_same_bits_on_every_machine(name: str, tensor: str) -> None:
    drawn = models.weight(models.load(name), tensor, 0)
    assert hashlib.blake2b(drawn.tobytes(), digest_size=8).hexdigest() == PINNED[name, tensor]


def test_another_seed_gives_other_weights_and_inputs() -> None:
    model = models.load("crnn")
    assert not np.array_equal(models.weight(model, "classify.bias", 0), models.weight(model, "classify.bias", 1))
    assert not np.array_equal(models.feed(model, "image", 0), models.feed(model, "image", 1))


def test_a_tensor_that_is_no_weight_is_a_key_error() -> None:
    model = models.load("crnn")
    with pytest.raises(KeyError, match="no weight 'image'"):
        models.weight(model, "image")
    with pytest.raises(KeyError, match=r"no input 'classify\.bias'"):
        models.feed(model, "classify.bias")


@pytest.mark.parametrize("limit", [1 << 30, 0], ids=["inline", "beside"])
def test_a_materialised_model_runs_and_holds_the_drawn_weights(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(store, "INLINE_LIMIT", limit)
    model = models.load("tcn")
    path = models.materialise(model, tmp_path / "tcn.onnx", 5)
    assert (tmp_path / "tcn.onnx.data").exists() == (limit == 0)
    read = models.read_model(path)
    assert [i.name for i in read.graph.input] == list(model.inputs)
    held = {i.name: numpy_helper.to_array(i) for i in read.graph.initializer}
    for name in model.weights:
        assert np.array_equal(held[name], models.weight(model, name, 5))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {n: models.feed(model, n, 5) for n in model.inputs})
    assert out.shape == model.types["prediction"].shape
    assert np.isfinite(out).all()
    assert 1e-2 < out.std() < 1e3


def test_loading_does_not_change_what_is_loaded_next() -> None:
    first = models.load("tcn")
    del first.proto.graph.node[:]
    assert models.load("tcn").proto.graph.node


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no reference model 'resnet51'; known are: .*resnet50"):
        models.load("resnet51")


def test_a_damaged_installation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    damaged = {n: replace(e, digest="0" * 32) for n, e in models.manifest().items()}
    monkeypatch.setattr(store, "manifest", lambda: damaged)
    with pytest.raises(UsageError, match="tcn is not the one in the manifest"):
        models.load("tcn")


def test_the_operator_sets_follow_from_the_stored_graphs() -> None:
    sets = models.operator_sets()
    graphs = {n: loaded(n).proto.graph for n in models.names()}
    counts = {n: [node.op_type for node in g.node if not node.domain] for n, g in graphs.items()}
    occurring = {o for ops in counts.values() for o in ops}
    assert set(sets["weight"]) == occurring
    for operator in occurring:
        share = sum(ops.count(operator) / len(graphs[n].node) for n, ops in counts.items()) / len(counts)
        assert sets["weight"][operator] == pytest.approx(share, rel=1e-9)
    assert sets["common"] == sorted(o for o in occurring if sum(o in ops for ops in counts.values()) >= 2)
    assert len(sets["core"]) == len(set(sets["core"])) == 35
    assert set(sets["core"]) <= set(sets["common"])
    table = {k: sets[k] for k in ("core", "common", "weight")}
    content = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    assert sets["digest"] == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_what_the_exporter_has_is_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    from zoo import references

    assert [reference.name for reference in references()] == list(models.names())


# Files that somebody else wrote.


def small(operator: str = "Relu", domain: str = "", opset: int = 21) -> onnx.ModelProto:
    node = helper.make_node(operator, ["x"], ["y"], name="only", domain=domain)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, 1)] if domain else []
    return helper.make_model(
        helper.make_graph([node], "g", [x], [y]), opset_imports=imports, ir_version=10, producer_name="test"
    )


def with_external(location: str, length: int = 8) -> onnx.ModelProto:
    model = small()
    model.graph.node[0].op_type = "Add"
    model.graph.node[0].input.append("w")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    model.graph.initializer.append(tensor)
    return model


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        models.read_model(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


def test_an_ordinary_model_is_read_with_its_external_data(tmp_path: Path) -> None:
    np.array([1.0, 2.0], np.float32).tofile(tmp_path / "w.bin")
    (tmp_path / "m.onnx").write_bytes(with_external("w.bin").SerializeToString())
    model = models.read_model(tmp_path / "m.onnx")
    assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == [1.0, 2.0]


NOT_MODELS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"this is not a model at all\n",
    "image": lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "truncated": lambda: small().SerializeToString()[:-9],
}


@pytest.mark.parametrize("kind", NOT_MODELS)
def test_what_is_no_model_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(NOT_MODELS[kind]())
    assert "not an ONNX model, or a truncated one" in refused(tmp_path / "m.onnx")


def test_a_model_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    """At a field's boundary too, where protobuf itself sees nothing wrong."""
    whole = small().SerializeToString()
    for length in range(len(whole)):
        (tmp_path / "m.onnx").write_bytes(whole[:length])
        refused(tmp_path / "m.onnx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "none.onnx")
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../w.bin", "a/../../w.bin", "C:\\w.bin", "..\\w.bin", "\\\\host\\w.bin", ""]
)
def test_external_data_outside_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(8))
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "m.onnx"
    path.write_bytes(with_external(location).SerializeToString())
    assert "outside the model's folder" in refused(path)


def test_external_data_behind_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(8))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").symlink_to(tmp_path / "w.bin")
    path = tmp_path / "sub" / "m.onnx"
    path.write_bytes(with_external("w.bin").SerializeToString())
    assert "outside the model's folder" in refused(path)


def test_external_data_that_is_missing_or_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(with_external("w.bin").SerializeToString())
    assert "is missing" in refused(path)
    (tmp_path / "w.bin").write_bytes(bytes(4))
    assert "beyond the end" in refused(path)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (small("Reluu"), r"unknown operator 'Reluu' in opset 21 (node 'only')"),
        (small("Gelu", opset=19), r"unknown operator 'Gelu' in opset 19"),
        (small("Relu", domain="com.acme"), r"unknown domain 'com.acme' of operator 'Relu'"),
        (small(opset=9999), "opset 9999 is newer"),
    ],
    ids=["operator", "too-new", "domain", "opset"],
)
def test_an_operator_that_nobody_defines_is_refused(model: onnx.ModelProto, reason: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert reason in refused(tmp_path / "m.onnx")


def test_an_operator_that_the_model_defines_itself_is_taken(tmp_path: Path) -> None:
    model = small("Twice", domain="com.acme")
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    imports = [helper.make_opsetid("", 21)]
    model.functions.append(helper.make_function("com.acme", "Twice", ["a"], ["b"], body, imports))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert models.read_model(tmp_path / "m.onnx").functions[0].name == "Twice"


def test_a_graph_that_reads_what_nobody_makes_is_refused(tmp_path: Path) -> None:
    model = small()
    model.graph.node[0].input[0] = "nowhere"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "not a valid ONNX model" in refused(tmp_path / "m.onnx")
