"""From an exporter's model to the stored form: one shape of graph, whatever wrote it, and no weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from conformance.draws import Draw, uniform
from conformance.models.store import DYNAMIC_KEY, INPUTS_KEY, WEIGHTS_KEY

from .forms import quantised_draw
from .initialise import SCALE, THIN, fit

__all__ = ["normalise", "note", "store_types", "strip_weights"]

LARGE = 256  # elements from which any float initializer is a weight
FOLDED = "_bias"  # what the rewriter adds to a convolution's name when it folds a normalisation into it
PARAMETER = 16  # elements from which one that is the module's own is
# Operators with quantised weights, and the position of these among the inputs.
QUANTISED = {"DequantizeLinear": 0, "MatMulInteger": 1, "ConvInteger": 1}
FEW_VALUES = 4  # a large constant with no more distinct values than this is a mask: it means something


def normalise(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Default domain only, no functions, no Constant nodes, no dead nodes or initializers,
    each small constant once, unique node names, nothing that only the exporter understands.

    Raises ``ValueError`` for a graph that cannot be stored so (another domain, a subgraph, a dynamic shape).
    """
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    _constants_to_initializers(graph)
    _drop_zero_biases(graph)
    _remove_dead(graph)
    _share_constants(graph)
    for index, node in enumerate(graph.node):
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"{node.name} is of the domain {node.domain}")
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ValueError(f"{node.name} ({node.op_type}) has a subgraph")
        kept = sorted(node.attribute, key=lambda a: a.name)
        stored = helper.make_node(node.op_type, node.input, node.output, name=f"{node.op_type}_{index}")
        stored.attribute.extend(kept)
        for attribute in stored.attribute:
            attribute.doc_string = ""
        node.CopyFrom(stored)
    clean = helper.make_graph(
        list(graph.node),
        "main",
        [_plain(v) for v in graph.input],
        [_typed(v) for v in graph.output],
        [_bare(i) for i in graph.initializer],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(
        clean,
        producer_name="conformance",
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for(imports),
    )


def _plain(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    tensor = value.type.tensor_type
    dims = [d.dim_value for d in tensor.shape.dim]
    if any(not d.HasField("dim_value") for d in tensor.shape.dim):
        raise ValueError(f"{value.name} has a dynamic shape")
    return helper.make_tensor_value_info(value.name, tensor.elem_type, dims)


def _typed(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """An output: its shape is as `store_types` finds it where the exporter does not know it."""
    if not value.type.tensor_type.HasField("shape"):
        return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, None)
    return _plain(value)


def _bare(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        if node.op_type != "Constant":
            kept.append(node)
            continue
        (attribute,) = node.attribute
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            array = numpy_helper.to_array(value)
        else:
            array = np.array(value, dtype=np.int64 if "int" in attribute.name else np.float32)
        graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _drop_zero_biases(graph: onnx.GraphProto) -> None:
    """The exporter gives a convolution without a bias one of zeros; only its rewriter takes it away again."""
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer if len(i.dims) == 1}
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and len(node.input) == 3:
            bias = arrays.get(node.input[2])
            if bias is not None and not bias.any():
                del node.input[2]


def _remove_dead(graph: onnx.GraphProto) -> None:
    live = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if live.intersection(node.output):
            kept.append(node)
            live.update(node.input)
    kept.reverse()
    for node in kept:  # an optional output that nobody reads is left out
        for position in range(len(node.output) - 1, 0, -1):
            if node.output[position] in live or node.op_type == "Split":
                break
            del node.output[position]
    del graph.node[:]
    graph.node.extend(kept)
    initializers = [i for i in graph.initializer if i.name in live]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _share_constants(graph: onnx.GraphProto) -> None:
    seen: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    replaced: dict[str, str] = {}
    kept = []
    outputs = {o.name for o in graph.output}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.size <= LARGE and tensor.name not in outputs:
            key = (tensor.data_type, tuple(tensor.dims), array.tobytes())
            if key in seen:
                replaced[tensor.name] = seen[key]
                continue
            seen[key] = tensor.name
        kept.append(tensor)
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = replaced.get(name, name)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def strip_weights(model: onnx.ModelProto, parameters: set[str], inputs: Mapping[str, Draw]) -> None:
    """Turn weights into graph inputs with recipes, in place.

    A weight is a float initializer that is the module's own and not tiny, or any that is large; a mask is not,
    but what is large and the same everywhere (a mask that masks nothing) is better as a recipe too.
    """
    graph = model.graph
    variances = {n.input[4] for n in graph.node if n.op_type == "BatchNormalization"}
    scales = {n.input[1] for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")}
    integers = {n.input[QUANTISED[n.op_type]] for n in graph.node if n.op_type in QUANTISED}
    recipes: dict[str, Draw] = {v.name: THIN for v in graph.input if v.name not in inputs}
    kept = []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind in "iu" and tensor.name in integers and array.size > LARGE:
            recipes[tensor.name] = quantised_draw(array, fit(array))
        elif tensor.name in scales or not _is_weight(tensor.name, array, parameters):
            # The scale of a bias is the product of the other two: drawn apart they would not fit together.
            kept.append(tensor)
            continue
        else:
            recipes[tensor.name] = uniform(*SCALE) if tensor.name in variances else fit(array)
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    note(model, inputs, recipes)


def note(
    model: onnx.ModelProto,
    inputs: Mapping[str, Draw],
    weights: Mapping[str, Draw],
    dynamic: Mapping[str, Any] | None = None,
) -> None:
    """Write the recipes, and what is dynamic, into the model's metadata."""
    texts: dict[str, Any] = {
        INPUTS_KEY: {k: v.as_json() for k, v in inputs.items()},
        WEIGHTS_KEY: {k: v.as_json() for k, v in weights.items()},
    }
    if dynamic:
        texts[DYNAMIC_KEY] = dynamic
    helper.set_model_props(model, {k: json.dumps(v, separators=(",", ":")) for k, v in texts.items()})


def _is_weight(name: str, array: np.ndarray, parameters: set[str]) -> bool:
    if array.size > LARGE and array.min() == array.max():
        return True
    if array.dtype.kind != "f":
        return False
    if name in parameters or name.removesuffix(FOLDED) in parameters:
        return array.size >= PARAMETER
    return bool(array.size > LARGE and len(np.unique(array)) > FEW_VALUES)


def store_types(model: onnx.ModelProto, measured: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
    """Give every intermediate its ``value_info``: what a real run measured, which ONNX's own shape inference
    must not contradict. Raises ``ValueError`` where it does."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    said = {v.name: v.type.tensor_type for v in (*inferred.graph.value_info, *inferred.graph.output)}
    outputs = {o.name: o.type.tensor_type for o in model.graph.output}
    for output in model.graph.output:
        if not output.type.tensor_type.HasField("shape"):
            output.CopyFrom(helper.make_tensor_value_info(output.name, *measured[output.name]))
    del model.graph.value_info[:]
    for node in model.graph.node:
        for name in filter(None, node.output):
            elem_type, shape = measured[name]
            for source in (said, outputs):
                _agree(name, source, elem_type, shape)
            if name not in outputs:
                model.graph.value_info.append(helper.make_tensor_value_info(name, elem_type, shape))


def _agree(name: str, source: Mapping[str, onnx.TypeProto.Tensor], elem_type: int, shape: tuple[int, ...]) -> None:
    declared = source.get(name)
    if declared is None:
        return
    # After an operator that inference does not know there is no shape.
    dims = [d.dim_value if d.HasField("dim_value") else None for d in declared.shape.dim]
    dims = dims if declared.HasField("shape") else [None] * len(shape)
    known = len(dims) == len(shape) and all(d in (None, s) for d, s in zip(dims, shape, strict=True))
    if declared.elem_type != elem_type or not known:
        raise ValueError(f"{name}: a run gives type {elem_type} and shape {shape}, the graph says {declared}")
