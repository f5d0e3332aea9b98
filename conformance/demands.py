"""What a backend demands of the models that it is shown, and a case's model brought to that without another question.

A backend declares it in `describe()`. What cannot be brought to it has no model to show, and counts as unsupported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .graphs import nodes_of, schema_of, subgraphs, value_types
from .interpreter import DECLINES, NoMeaning, operator_of, run_nodes, to_array, to_tensor
from .oracle import evaluate
from .protocol import same
from .spec import Case, Source
from .vectors import FUNCTION

__all__ = ["ANY_MODEL", "Demands", "Unfit", "fitted", "renamed"]

Feed = Mapping[str, Any]
Weight = Callable[[str], "np.ndarray | None"]

# Initializers of more bytes than this are no shapes or axes: the converter has no need to see them.
_WEIGHT_BYTES = 4096


class Unfit(Exception):
    """A model cannot be brought to what the backend demands; the text says why, as the verdict's message."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What a backend declares of the models that it takes.

    ``operators``, ``dtypes``: the names that it lists, None for any. ``opset``: oldest and newest of the default
    domain. ``static_shapes``: no symbolic dimensions. ``packs``: how many cases it wants in one model.
    """

    operators: frozenset[str] | None = None
    dtypes: frozenset[str] | None = None
    opset: tuple[int, int] | None = None
    static_shapes: bool = False
    packs: int = 1

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Demands:
        """What `describe()` said, as the worker passed it on; what is none of these forms is not declared."""
        supports = described.get("supports")
        supports = supports if isinstance(supports, Mapping) else {}
        opset = supports.get("opset")
        ranged = isinstance(opset, (list, tuple)) and len(opset) == 2 and all(type(n) is int for n in opset)
        packs = described.get("packs")
        return cls(
            _names(supports.get("operators")),
            _names(supports.get("dtypes")),
            (opset[0], opset[1]) if ranged and opset else None,
            described.get("static_shapes") is True,
            packs if type(packs) is int and packs > 1 else 1,
        )

    def refusal(self, case: Case) -> str:
        """Why a case counts as unsupported before its model is looked at, or ""."""
        single = case.source in (Source.OPERATOR, Source.MODEL, Source.VECTOR) and case.operator != FUNCTION
        if self.operators is not None and single and case.operator not in self.operators:
            return "declared: the backend does not list this operator"
        if self.dtypes is not None and case.dtype not in self.dtypes:
            return "declared: the backend does not list this dtype"
        if self.static_shapes and "dynamic" in case.tags:
            return "declared: static shapes only, and this case runs one prepared model at several"
        return ""


ANY_MODEL = Demands()


def _names(declared: Any) -> frozenset[str] | None:
    """A lone name is meant as a list of one."""
    if isinstance(declared, str):
        return frozenset({declared})
    return frozenset(map(str, declared)) if isinstance(declared, (list, tuple)) else None


def fitted(
    model: onnx.ModelProto,
    feeds: Sequence[Feed],
    demands: Demands,
    *,
    single: bool,
    rewritten: Callable[[int], onnx.ModelProto | None] = lambda opset: None,
    weight: Weight = lambda name: None,
    refuse: bool = False,
) -> onnx.ModelProto:
    """The model as the backend demands it; the model itself where nothing is to be done.

    ``feeds``: its input sets by name. ``single``: it stands for one node, and must stay one. ``rewritten``: what the
    case's author would have written at another opset. ``weight``: the values of initializers that are kept outside.
    ``refuse``: a model that must be refused, of which there is nothing to compute. Raises `Unfit`, and
    ``ImportError`` where a conversion is to be checked and torch is missing.
    """
    model = _without_unused_domains(model)
    if demands.opset is not None:
        model = _within(model, feeds, demands.opset, single, rewritten, weight, refuse)
    return _pinned(model, feeds) if demands.static_shapes else model


# ----------------------------------------------------------------------------------------------- opsets


def _within(
    model: onnx.ModelProto,
    feeds: Sequence[Feed],
    span: tuple[int, int],
    single: bool,
    rewritten: Callable[[int], onnx.ModelProto | None],
    weight: Weight,
    refuse: bool,
) -> onnx.ModelProto:
    oldest, newest = span
    own = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if own is None or oldest <= own <= newest:
        return model
    opset = max(oldest, min(own, newest))
    changed = _changed(model, own, opset)
    if not changed:
        return _stamped(model, opset)
    outside = f"declared: opset {own} is outside the backend's {oldest} to {newest}"
    reason = f"{', '.join(sorted(changed))} cannot be written as of {opset}"
    for way in (rewritten, lambda opset: None if refuse else _converted(model, opset)):
        candidate = way(opset)
        if candidate is None or (single and [n.op_type for n in candidate.graph.node] != _operators(model)):
            continue
        if refuse or _same_answers(model, candidate, feeds, weight):
            return candidate
        reason = f"{', '.join(sorted(changed))} as of {opset} cannot be shown to say the same"
    raise Unfit(f"{outside}, and {reason}")


def _operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def _changed(model: onnx.ModelProto, own: int, other: int) -> set[str]:
    """The operators of the default domain that have another version at the other opset, or none."""
    found = {f.name for f in model.functions}  # their bodies have opsets of their own
    for node in _nodes(model.graph):
        if node.domain in ("", "ai.onnx"):
            mine, theirs = schema_of(node.op_type, own), schema_of(node.op_type, other)
            if mine is None or theirs is None or mine.since_version != theirs.since_version:
                found.add(node.op_type)
    return found


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside them."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from _nodes(inner)


def _stamped(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same nodes as of another opset, with the oldest format that has it."""
    stamped = onnx.ModelProto()
    stamped.CopyFrom(model)
    for imported in stamped.opset_import:
        if imported.domain in ("", "ai.onnx"):
            imported.version = opset
    oldest = helper.find_min_ir_version_for(list(stamped.opset_import), ignore_unknown=True)
    stamped.ir_version = min(model.ir_version, oldest)
    return stamped


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto | None:
    """What ONNX's version converter makes of it, None where it has no way or what it made is no valid model."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    weights = [t for t in light.graph.initializer if t.ByteSize() > _WEIGHT_BYTES or t.external_data]
    names = {t.name for t in weights}
    kept = [t for t in light.graph.initializer if t.name not in names]
    del light.graph.initializer[:]
    light.graph.initializer.extend(kept)
    inputs = {i.name for i in light.graph.input}
    for tensor in weights:
        if tensor.name not in inputs:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    try:
        found: onnx.ModelProto = onnx.version_converter.convert_version(light, opset)
        onnx.checker.check_model(found, full_check=True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None  # the converter raises for what it has no adapter for
    real = [i for i in found.graph.input if i.name in inputs or i.name not in names]
    del found.graph.input[:]
    found.graph.input.extend(real)
    found.graph.initializer.extend(weights)
    if [i.name for i in found.graph.input] != [i.name for i in model.graph.input]:
        return None
    return _stamped(found, opset)


def _same_answers(before: onnx.ModelProto, after: onnx.ModelProto, feeds: Sequence[Feed], weight: Weight) -> bool:
    """Whether both models give the same bits for every input set, by the definitions of their versions."""
    for feed in feeds:
        mine = _answers(before, feed, weight)
        theirs = _answers(after, renamed(feed, before, after), weight)
        if mine is None or theirs is None or len(mine) != len(theirs):
            return False
        if not all(map(_equal, mine, theirs)):
            return False
    return True


def renamed(feed: Feed, before: onnx.ModelProto, after: onnx.ModelProto) -> Feed:
    """The feed of a model by another's names of the same inputs."""
    if before is after:
        return feed
    names = {i.name: j.name for i, j in zip(before.graph.input, after.graph.input, strict=True)}
    return {names[name]: value for name, value in feed.items()}


def _answers(model: onnx.ModelProto, feed: Feed, weight: Weight) -> list[Any] | None:
    """The outputs by the catalogue's definitions in float64, by ONNX's evaluator where these have no tensors; None
    where the model cannot be evaluated: then nobody knows what it says."""
    try:
        known = onnx.shape_inference.infer_shapes(model) if len(model.graph.node) > 1 else model
    except onnx.shape_inference.InferenceError:
        return None
    nodes = nodes_of(known)
    constants = {t.name: t for t in model.graph.initializer if not t.external_data}
    outputs = [o.name for o in model.graph.output]
    types = value_types(known.graph)

    def tensor(name: str) -> Any:
        value = onnx.numpy_helper.to_array(constants[name]) if name in constants else weight(name)
        return None if value is None else to_tensor(value, widen=True)

    try:
        for node in nodes:
            operator_of(node)
        if any("string" in (*node.dtypes, *node.input_dtypes) for node in nodes):
            raise NoMeaning("torch has no strings")
    except NoMeaning:
        return _evaluated(model, feed)
    try:
        values = {name: to_tensor(array, widen=True) for name, array in feed.items()}
        found = run_nodes(nodes, values, outputs, tensor, widen=True)
    except DECLINES:
        return None
    # Floats stay wide: a difference that rounding would hide is one.
    return [
        t.numpy() if t.is_floating_point() and t.itemsize == 8 else to_array(t, types[n][0])
        for n, t in zip(outputs, found, strict=True)
    ]


def _evaluated(model: onnx.ModelProto, feed: Feed) -> list[Any] | None:
    try:
        with np.errstate(all="ignore"):
            return evaluate(model, feed)
    except DECLINES:
        return None


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) or a is None:
        return bool(a == b)
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype.kind in "OU":
        return x.shape == y.shape and bool((x == y).all())
    return same(np.asarray(x, order="C"), np.asarray(y, order="C"))


# ----------------------------------------------------------------------------------------------- shapes


def _pinned(model: onnx.ModelProto, feeds: Sequence[Feed]) -> onnx.ModelProto:
    """The model with the shapes of its inputs in place of symbolic dimensions, and what follows from them."""
    if all(_is_static(value) for value in (*model.graph.input, *model.graph.output)):
        return model
    pinned = onnx.ModelProto()
    pinned.CopyFrom(model)
    for value in pinned.graph.input:
        shapes = {np.shape(feed[value.name]) for feed in feeds if isinstance(feed.get(value.name), np.ndarray)}
        if len(shapes) > 1:
            raise Unfit("declared: static shapes only, and this case runs one prepared model at several")
        tensor = value.type.tensor_type
        if shapes and value.type.HasField("tensor_type"):
            elem = tensor.elem_type
            value.type.CopyFrom(helper.make_tensor_type_proto(elem, shapes.pop()))
    # What was declared of inner values is of the symbolic dimensions.
    del pinned.graph.value_info[:]
    for value in pinned.graph.output:
        if value.type.HasField("tensor_type") and not _is_static(value):
            value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(pinned, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return pinned  # a model that is to be refused


def _is_static(value: onnx.ValueInfoProto) -> bool:
    if not value.type.HasField("tensor_type"):
        return True
    tensor = value.type.tensor_type
    return tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)


# ---------------------------------------------------------------------------------------------- domains


def _without_unused_domains(model: onnx.ModelProto) -> onnx.ModelProto:
    """Importers stumble over a domain that they do not know, used or not. ONNX's own always stays: what other domains
    define as functions is written in it."""
    used = {node.domain for node in _nodes(model.graph)} | {"", "ai.onnx"}
    used |= {node.domain for function in model.functions for node in function.node}
    if all(imported.domain in used for imported in model.opset_import):
        return model
    cleaned = onnx.ModelProto()
    cleaned.CopyFrom(model)
    del cleaned.opset_import[:]
    cleaned.opset_import.extend(o for o in model.opset_import if o.domain in used)
    return cleaned
