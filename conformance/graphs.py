"""Single-operator models: built from a catalogue sample, or looked at one node at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from .draws import draw
from .dtypes import BOOL, BORROWED, FLOATS, INTEGERS, dtype_of, from_onnx, lookup
from .operators import schemas
from .spec import Operator, Sample, Shape, TensorSpec

__all__ = [
    "TYPE_ATTRIBUTES",
    "Content",
    "Node",
    "allowed_dtypes",
    "attributes_of",
    "build",
    "defaults_of",
    "domain_opset",
    "dtypes_of",
    "has_choice",
    "has_types",
    "nodes_of",
    "proto_of",
    "schema_defaults",
    "schema_of",
    "subgraphs",
    "to_tensor_proto",
    "value_types",
]

_PLAIN = FLOATS + INTEGERS + BOOL
_TYPE_NAMES = {"float": "float32", "double": "float64"}


@dataclass(frozen=True, slots=True)
class Content:
    """What a case consists of when it is carried out: a model and one or more input sets by input name, arrays
    but for inputs that are maps, which are dicts."""

    model: onnx.ModelProto
    feeds: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A node with what it takes to evaluate it: attributes with the schema's defaults filled in."""

    name: str
    operator: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    dtypes: tuple[str, ...]  # of the outputs, as declared; "" where an output is left out or has no tensor type
    input_dtypes: tuple[str, ...] = ()  # of the inputs, likewise


@functools.cache
def schema_of(operator: str, opset: int, domain: str = "") -> Any:
    """The ``onnx.defs.OpSchema`` in force at this opset, or None where the operator does not exist yet."""
    if domain == schemas.DOMAIN:
        schemas.register()
    if not onnx.defs.has(operator, domain):
        return None
    try:
        return onnx.defs.get_schema(operator, opset, domain)
    except onnx.defs.SchemaError:
        return None


@functools.cache
def domain_opset(domain: str, opset: int) -> int:
    """The version of a domain's operators that goes with a version of the default domain's.

    For ai.onnx.ml the one that ONNX had released by then, and for the domains of vendors ``opset`` itself, which
    is beyond all of theirs.
    """
    if domain != "ai.onnx.ml":
        return opset
    return max(int(ml) for _, _, default, ml, *_ in helper.VERSION_TABLE if int(default) <= opset)


def _type_name(text: str) -> str:
    inner = text[len("tensor(") : -1] if text.startswith("tensor(") else ""
    return _TYPE_NAMES.get(inner, inner)


def _element_name(text: str) -> str:
    """The dtype of the tensors in ``tensor(…)``, ``seq(tensor(…))`` and the like; "" where there are none."""
    return _type_name(text[text.index("tensor(") :].rstrip(")") + ")") if "tensor(" in text else ""


# Attributes that name an element type.
TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype", "output_datatype"})


@functools.cache
def allowed_dtypes(operator: str, opset: int, domain: str, variable: str | None) -> tuple[str, ...]:
    """The dtypes that a type variable of a schema may stand for, "" for what has no tensors. ``variable`` None: the
    first input's, or the first output's where there is no input."""
    schema = schema_of(operator, opset, domain)
    if variable is None:
        formal = schema.inputs[0] if schema.inputs else schema.outputs[0]
        variable = formal.type_str
    for constraint in schema.type_constraints:
        if constraint.type_param_str == variable:
            return tuple(_element_name(t) for t in constraint.allowed_type_strs)
    return (_element_name(variable),)


def has_choice(operator: Operator, position: int, opset: int) -> bool:
    """Whether the schema allows more than one dtype for the input at this position."""
    schema = schema_of(operator.name, opset, operator.domain)
    formal = schema.inputs[min(position, len(schema.inputs) - 1)]
    return len(allowed_dtypes(operator.name, opset, operator.domain, formal.type_str)) > 1


def dtypes_of(operator: Operator, sample: Sample, opset: int) -> tuple[str, ...]:
    """The dtypes under test of one sample: what the entry and the sample name, less what the schema at this
    opset does not allow (an entry serves all opsets, and types were added over time)."""
    allowed = allowed_dtypes(operator.name, opset, operator.domain, operator.variable)
    wanted = sample.dtypes or operator.dtypes or tuple(d for d in _PLAIN if d in allowed)
    if sample.refuse or not any(allowed):  # a variable may stand for no tensors at all: maps
        return tuple(wanted)
    if sample.model is not None:
        return tuple(d for d in wanted if d in allowed)
    if not has_types(operator, sample, opset):
        return ()
    formal = schema_of(operator.name, opset, operator.domain).inputs
    # What the dtype under test stands for: mostly one type variable, in Pow-13 (bases and exponents) two.
    variables = {
        formal[min(position, len(formal) - 1)].type_str
        for position, spec in enumerate(sample.inputs)
        if spec is not None and spec.dtype is None
    }
    sets = [allowed, *(allowed_dtypes(operator.name, opset, operator.domain, v) for v in variables)]
    return tuple(d for d in wanted if all(d in types for types in sets))


def has_types(operator: Operator, sample: Sample, opset: int) -> bool:
    """Whether the schema at this opset has the dtypes that a sample itself chooses."""
    schema = schema_of(operator.name, opset, operator.domain)

    def allows(formal: Any, dtype: str) -> bool:
        return dtype in allowed_dtypes(operator.name, opset, operator.domain, formal.type_str)

    chosen = [(p, spec.dtype) for p, spec in enumerate(sample.inputs) if spec is not None and spec.dtype]
    results = [
        lookup_name(v) for n, v in sample.attributes.items() if n in TYPE_ATTRIBUTES and isinstance(v, int) and v
    ]
    return all(allows(schema.inputs[min(p, len(schema.inputs) - 1)], dtype) for p, dtype in chosen) and all(
        allows(schema.outputs[0], dtype) for dtype in results
    )


def to_tensor_proto(array: np.ndarray, name: str, into: TensorProto | None = None) -> TensorProto:
    """An initializer with raw bytes (strings as string data), in a new message or ``into`` an empty one.

    The latter is for large weights: ONNX's helpers copy a tensor once for the graph and once more for the model.
    """
    dtype = lookup(dtype_of(array))
    proto = TensorProto() if into is None else into
    if dtype.name in BORROWED and dtype.name != "float8e8m0":  # several elements to a byte, or bits across bytes
        proto.CopyFrom(onnx.numpy_helper.from_array(array, name))
        return proto
    proto.name, proto.data_type = name, dtype.onnx
    proto.dims.extend(array.shape)
    if dtype.kind == "string":
        proto.string_data.extend(str(s).encode() for s in array.flat)
    else:
        proto.raw_data = np.ascontiguousarray(array).tobytes()
    return proto


def _input_names(schema: Any, count: int) -> list[str]:
    formal = [i.name for i in schema.inputs] if schema is not None else []
    names: list[str] = []
    for i in range(count):
        if i < len(formal) and not (i == len(formal) - 1 and count > len(formal)):
            names.append(formal[i])
        else:
            names.append(f"{formal[-1] if formal else 'input'}_{i}")
    return names


def _dims(spec: TensorSpec, others: Sequence[TensorSpec | None], name: str) -> list[int | str]:
    """The declared shape: symbolic where the input sets differ. A rank never changes."""
    shapes = [spec.shape, *(o.shape for o in others if o is not None)]
    return [d if all(s[axis] == d for s in shapes) else f"{name}_{axis}" for axis, d in enumerate(spec.shape)]


def build(operator: Operator, sample: Sample, dtype: str, opset: int, key: str) -> Content:
    """The single-operator model of a sample and its input sets.

    ``key`` (the seed and the case's id) names the draws. The model is at ``opset`` (of the operator's domain, for
    ai.onnx.ml) with the lowest IR version that has it; outputs carry the element types that ONNX's inference finds.
    An input that is a map takes two specs, its keys and its values; its feed is a dict.
    """
    if sample.model is not None:
        model = sample.model(dtype, opset)
        sets = (sample.inputs, *sample.again)
        return Content(model, tuple(_feed(model.graph, specs, dtype, key, str(k)) for k, specs in enumerate(sets)))
    schema = schema_of(operator.name, opset, operator.domain)
    names = _input_names(schema, len(sample.inputs))
    inputs, feed_names = [], []
    constants: dict[str, np.ndarray] = {}
    for position, (name, spec) in enumerate(zip(names, sample.inputs, strict=True)):
        if spec is None:
            names[position] = ""
        elif spec.constant:
            constants[name] = _values(spec, dtype, f"{key}/{name}")
        else:
            dims = _dims(spec, [s[position] for s in sample.again], name)
            inputs.append(helper.make_tensor_value_info(name, lookup(spec.dtype or dtype).onnx, dims))
            feed_names.append((name, position))
    wanted = (True,) * sample.outputs if isinstance(sample.outputs, int) else sample.outputs
    formal = [o.name for o in schema.outputs] if schema is not None else []
    taken = set(names)
    outputs = []
    for i, want in enumerate(wanted):
        name = formal[i] if i < len(formal) and not (len(wanted) > len(formal)) else f"output_{i}"
        outputs.append((f"{name}_out" if name in taken else name) if want else "")
    attributes = {**(defaults_of(operator, opset) if sample.written_out else {}), **sample.attributes}
    node = helper.make_node(
        operator.name,
        names,
        outputs,
        name=f"{operator.name}_0",
        domain=operator.domain,
        **{k: v for k, v in attributes.items() if not _is_empty_list(v)},
    )
    for k, v in attributes.items():
        if _is_empty_list(v):
            node.attribute.append(helper.make_attribute(k, v, attr_type=schema.attributes[k].type.value))
    graph = helper.make_graph(
        [node],
        "case",
        inputs,
        [onnx.ValueInfoProto(name=o) for o in outputs if o],
    )
    model = _model(graph, opset, operator.domain)
    for name, value in constants.items():
        to_tensor_proto(value, name, into=model.graph.initializer.add())
    sets = (sample.inputs, *sample.again)
    feeds = []
    for number, specs in enumerate(sets):
        feed = {}
        for name, position in feed_names:
            spec = specs[position]
            assert spec is not None, f"{operator.name}/{sample.name}: an input set leaves out {name}"
            feed[name] = _values(spec, dtype, f"{key}/{name}" if number == 0 else f"{key}/{name}/{number}")
        feeds.append(feed)
    _declare_outputs(model, schema, dtype, strict=not sample.refuse)
    _declare_shapes(model, sample.shape)
    return Content(model, tuple(feeds))


def _feed(
    graph: onnx.GraphProto, specs: Sequence[TensorSpec | None], dtype: str, key: str, turn: str
) -> dict[str, Any]:
    """What a sample's own graph is fed, by name."""
    feed: dict[str, Any] = {}
    rest = iter(specs)
    for value in graph.input:
        spec = next(rest)
        if spec is not None:
            feed[value.name] = _values(spec, dtype, f"{key}/{value.name}/{turn}")
        if value.type.HasField("map_type"):
            items = next(rest)
            assert items is not None, f"{value.name}: a map without values"
            values = _values(items, dtype, f"{key}/{value.name}/values/{turn}")
            feed[value.name] = dict(zip(feed[value.name].tolist(), values.tolist(), strict=True))
    assert next(rest, None) is None, "more specs than the graph has inputs"
    return feed


def _is_empty_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) and not value


def _values(spec: TensorSpec, dtype: str, key: str) -> np.ndarray:
    return draw(spec.draw, spec.shape, spec.dtype or dtype, key)


def _model(graph: onnx.GraphProto, opset: int, domain: str) -> onnx.ModelProto:
    if domain == "ai.onnx.ml":
        imports = [helper.make_opsetid(domain, opset)]
    else:
        imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(
        graph,
        producer_name="conformance",
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for(imports, ignore_unknown=True),
    )


def _declare_outputs(model: onnx.ModelProto, schema: Any, dtype: str, *, strict: bool) -> None:
    """Give the outputs the types that inference finds, else the schema's where it names one, else ``dtype``: some
    operators have no inference, and a model that is to be refused may have nothing to find."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True).graph.output
    except onnx.shape_inference.InferenceError:
        if strict:
            raise
        inferred = model.graph.output
    formal = [_type_name(o.type_str) for o in schema.outputs]
    for position, (mine, found) in enumerate(zip(model.graph.output, inferred, strict=True)):
        kind = found.type.WhichOneof("value")
        if kind is not None and (kind != "tensor_type" or found.type.tensor_type.elem_type):
            mine.type.CopyFrom(found.type)
        else:
            fixed = formal[min(position, len(formal) - 1)]
            mine.CopyFrom(helper.make_tensor_value_info(mine.name, lookup(fixed or dtype).onnx, None))


def _declare_shapes(model: onnx.ModelProto, shape: Shape | Sequence[Shape]) -> None:
    """Give outputs the shapes that inference does not find: a valid graph declares them."""
    shapes = shape if isinstance(shape, list) else [shape]
    for output, own in zip(model.graph.output, shapes, strict=False):
        declared = output.type.tensor_type.shape
        if isinstance(own, int):
            declared.CopyFrom(model.graph.input[own].type.tensor_type.shape)
        elif own is not None:
            declared.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, own).tensor_type.shape)


def value_types(graph: onnx.GraphProto) -> dict[str, tuple[str, tuple[int, ...] | None]]:
    """The declared dtype of every value of a graph by name, with its shape where that is static."""
    types: dict[str, tuple[str, tuple[int, ...] | None]] = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        if not tensor.elem_type:
            continue
        dims: tuple[int, ...] | None = None
        if tensor.HasField("shape"):
            dims = tuple([d.dim_value for d in tensor.shape.dim])
            # Zero is also what a symbolic dimension has here.
            if 0 in dims and not all(d.HasField("dim_value") for d in tensor.shape.dim):
                dims = None
        types[value.name] = (lookup_name(tensor.elem_type), dims)
    for initializer in graph.initializer:
        types[initializer.name] = (lookup_name(initializer.data_type), tuple(initializer.dims))
    return types


def lookup_name(elem_type: int) -> str:
    """The name of an element type, "" for one that the table does not have."""
    try:
        return from_onnx(elem_type).name
    except KeyError:
        return ""


@functools.cache
def schema_defaults(operator: str, opset: int, domain: str) -> Mapping[str, Any]:
    """The defaults of an operator's attributes, of those that have one; none for an operator without a schema."""
    schema = schema_of(operator, opset, domain)
    if schema is None:
        return {}
    found = {}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            found[name] = _plain(helper.get_attribute_value(attribute.default_value))
    return found


# Defaults that a valid node does not spell out: those of which it has one, for its own types, and the two functions
# that RNN has where it goes one way and needs one.
_UNWRITTEN = ("default_", "replaced_value_", "activations")


def defaults_of(operator: Operator, opset: int) -> dict[str, Any]:
    """The schema's defaults at an opset (of the operator's domain), as far as a node may write them out together."""
    found = schema_defaults(operator.name, opset, operator.domain)
    return {k: v for k, v in found.items() if not k.startswith(_UNWRITTEN)}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (str, int, float, onnx.TensorProto, onnx.GraphProto)):
        return value
    if hasattr(value, "__iter__"):
        return [_plain(v) for v in value]
    return value


def attributes_of(node: onnx.NodeProto, opset: int) -> dict[str, Any]:
    """A node's attributes as Python values, the schema's defaults filled in."""
    own = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
    return {**schema_defaults(node.op_type, opset, node.domain), **own}


def nodes_of(model: onnx.ModelProto) -> list[Node]:
    """The nodes of a model's graph in their (topological) order."""
    opsets = {o.domain: o.version for o in model.opset_import}
    types = value_types(model.graph)
    return [
        Node(
            node.name,
            node.op_type,
            node.domain,
            opsets.get(node.domain, 1),
            tuple(node.input),
            tuple(node.output),
            attributes_of(node, opsets.get(node.domain, 1)),
            tuple(types.get(o, ("", None))[0] for o in node.output),
            tuple(types.get(i, ("", None))[0] for i in node.input),
        )
        for node in model.graph.node
    ]


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs among a node's attributes: branches and bodies."""
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else attribute.graphs


def proto_of(model: onnx.ModelProto, index: int) -> onnx.NodeProto:
    """The node at a position, as stored."""
    node: onnx.NodeProto = model.graph.node[index]
    return node
