"""What is expected of a published vector: the catalogue's definition in float64 with its bound, where the catalogue
defines every node; else the published output, with the tolerance that ONNX publishes beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from .dtypes import dtype_of, lookup
from .graphs import Node, nodes_of
from .interpreter import operator_of
from .numerics import COMPOSITE_SIGMAS, Expected
from .operators import catalogue
from .oracle import COMPOSITE, effective_rule, expect, expect_graph, piece_rule
from .rules import Exact, Rule
from .vectors import Vector, flat

__all__ = ["by_definition", "by_publication", "inputs_of", "only_node", "rounded", "rules_of_vector"]


def only_node(vector: Vector) -> Node | None:
    """The node of a vector that has one: of a function, only computing the reference looks at the nodes."""
    return nodes_of(vector.model)[0] if len(vector.model.graph.node) == 1 else None


def inputs_of(vector: Vector, node: Node) -> tuple[Any, ...]:
    """The inputs of the vector's only node by position, initializers included."""
    given = {**_weights(vector), **vector.feed}
    return tuple(given[n] if n else None for n in node.inputs)


def _weights(vector: Vector) -> Mapping[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in vector.model.graph.initializer}


def rules_of_vector(vector: Vector, node: Node | None) -> tuple[Rule, ...]:
    """The rule of each output of a vector that the catalogue defines."""
    if node is None:
        return tuple(piece_rule(dtype_of(o)) for o in vector.outputs)
    operator = operator_of(node)
    return tuple(effective_rule(operator.rule_for(i), d) for i, d in enumerate(node.dtypes) if d)


def by_definition(vector: Vector, node: Node | None) -> tuple[Expected, ...]:
    """The outputs in float64, with their bounds. Raises what a definition does for inputs that it does not cover."""
    if node is not None:
        return expect(node, inputs_of(vector, node), key=vector.name)
    # Published functions do not declare their intermediate values.
    nodes = nodes_of(onnx.shape_inference.infer_shapes(vector.model))
    dtypes = {o.name: dtype_of(a) for o, a in zip(vector.model.graph.output, vector.outputs, strict=True)}
    return expect_graph(nodes, vector.feed, dtypes, _weights(vector).get, key=vector.name)


def by_publication(vector: Vector) -> tuple[Expected, ...]:
    """The published outputs, one for each tensor of a sequence.

    What only moves data is equal or not. Else there is no bound to derive without a definition, and the published
    tolerance stands in, as a spread.
    """
    first, *others = vector.model.graph.node
    entry = None if others else catalogue().get((first.domain, first.op_type))
    rule = entry.rule_for(0) if entry else COMPOSITE
    computes = any(a.type == onnx.AttributeProto.GRAPH for a in first.attribute)  # whatever the body says
    if isinstance(rule, Exact) and not computes:
        return tuple(Expected(dtype_of(o), rule, o) for o in flat(vector.outputs))
    return tuple(_tolerated(o, vector) for o in flat(vector.outputs))


def _tolerated(array: np.ndarray, vector: Vector) -> Expected:
    dtype = dtype_of(array)
    rule = effective_rule(COMPOSITE, dtype)
    if rule is not COMPOSITE:
        return Expected(dtype, rule, array)
    value = array.astype(np.float64)
    with np.errstate(invalid="ignore"):
        tolerance = np.where(np.isfinite(value), vector.atol + vector.rtol * np.abs(value), 0.0)
    return Expected(dtype, rule, value, spread=tolerance / COMPOSITE_SIGMAS)


def rounded(expected: Expected) -> np.ndarray:
    """What the definition gives, in the declared type: an output that any backend may return."""
    return expected.value.astype(lookup(expected.dtype).numpy)
