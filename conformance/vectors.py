"""ONNX's published node vectors, as cases that are judged by our rules instead of one tolerance for all."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .casework import Ready
from .dtypes import dtype_of, is_known
from .goldens import Golden, GoldenCache
from .graphs import Node, nodes_of
from .interpreter import NoMeaning, operator_of
from .numerics import Expected
from .operators import catalogue
from .oracle import COMPOSITE, effective_rule, expect, expect_graph
from .rules import EXACT, Rule
from .spec import Case, Source

__all__ = ["Vector", "collect", "ready"]


@dataclass(frozen=True, slots=True)
class Vector:
    """A published vector: its model, its inputs by name and its outputs in graph order."""

    name: str
    model: onnx.ModelProto
    feed: Mapping[str, Any]
    outputs: Sequence[Any]

    @property
    def tensors(self) -> bool:
        """Whether all values are tensors of types that the suite has: no sequences, no optionals, no 2-bit types."""
        values = (*self.feed.values(), *self.outputs)
        return all(isinstance(v, np.ndarray) and is_known(v) for v in values)


def collect() -> list[Vector]:
    """Every node vector that the installed onnx ships (about 1,900), made in memory."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the vectors overflow and divide by zero on purpose
        published = collect_testcases(None)
    found = []
    for test in published:
        assert test.model is not None, test.name  # only onnx's tests of whole models leave it out
        assert test.data_sets is not None, test.name
        for inputs, outputs in test.data_sets:
            names = [i.name for i in test.model.graph.input]
            feed = dict(zip(names, (_array(v) for v in inputs), strict=False))
            found.append(Vector(test.name, test.model, feed, [_array(v) for v in outputs]))
    return found


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def ready(vector: Vector, scratch: Path, cache: GoldenCache) -> Ready:
    """A vector of tensors as a case, its model written to ``scratch``.

    The expectation is the catalogue's, with its bound, where the catalogue defines every node on tensors; else
    it is the published output, held to equality.
    """
    # Published functions do not declare their intermediate values.
    nodes = nodes_of(onnx.shape_inference.infer_shapes(vector.model))
    case = _case(vector, nodes)
    path = scratch / f"{vector.name}.onnx"
    path.write_bytes(vector.model.SerializeToString())
    outputs = [o.name for o in vector.model.graph.output]
    rules = _rules(nodes, vector)
    golden = cache.load(case, 0, rules)
    if golden is None:
        golden = Golden(({},), (_expected(vector, nodes, outputs),))
        cache.store(case, 0, golden)
    inputs, attributes = _view(vector, nodes)
    return Ready(case, path, (vector.feed,), golden.outputs, (inputs,), attributes, scratch=path)


def _case(vector: Vector, nodes: Sequence[Node]) -> Case:
    state = hashlib.blake2b(vector.model.SerializeToString(deterministic=True), digest_size=16)
    for name, array in vector.feed.items():
        state.update(f"{name} {array.dtype} {array.shape}".encode())
        state.update(repr(array.tolist()).encode() if array.dtype.kind in "OU" else array.tobytes())
    # A vector of several nodes may be touched by any family.
    entry = catalogue().get((nodes[0].domain, nodes[0].operator)) if len(nodes) == 1 else None
    dtype = dtype_of(np.asarray(vector.outputs[0])) if vector.outputs else "float32"
    return Case(
        id=f"vectors/{vector.name}",
        operator=nodes[0].operator if len(nodes) == 1 else "(function)",
        domain=nodes[0].domain,
        opset=nodes[0].opset,
        dtype=dtype,
        source=Source.OPERATOR if entry else Source.BLOCK,
        family=entry.family if entry else "block",
        digest=state.hexdigest(),
    )


def _defined(nodes: Sequence[Node], vector: Vector) -> bool:
    """Whether the catalogue defines every node on tensors, and torch has the tensors (it has no strings)."""
    if any(dtype_of(np.asarray(v)) == "string" for v in vector.feed.values()):
        return False
    try:
        for node in nodes:
            operator_of(node)
    except NoMeaning:
        return False
    return True


def _rules(nodes: Sequence[Node], vector: Vector) -> tuple[Rule, ...]:
    if not _defined(nodes, vector):
        return (EXACT,) * len(vector.outputs)
    if len(nodes) == 1:
        operator = operator_of(nodes[0])
        return tuple(effective_rule(operator.rule_for(i), d) for i, d in enumerate(nodes[0].dtypes) if d)
    return tuple(effective_rule(COMPOSITE, dtype_of(np.asarray(o))) for o in vector.outputs)


def _expected(vector: Vector, nodes: Sequence[Node], outputs: Sequence[str]) -> tuple[Expected, ...]:
    if not _defined(nodes, vector):
        return tuple(Expected(dtype_of(np.asarray(o)), EXACT, np.asarray(o)) for o in vector.outputs)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in vector.model.graph.initializer}
    if len(nodes) == 1:
        given = {**weights, **vector.feed}
        return expect(nodes[0], [given[n] if n else None for n in nodes[0].inputs], key=vector.name)
    dtypes = {n: dtype_of(np.asarray(o)) for n, o in zip(outputs, vector.outputs, strict=True)}
    return expect_graph(nodes, vector.feed, dtypes, weights.get, key=vector.name)


def _view(vector: Vector, nodes: Sequence[Node]) -> tuple[tuple[np.ndarray | None, ...], Mapping[str, Any]]:
    if len(nodes) != 1:
        return (), {}
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in vector.model.graph.initializer}
    given = {**weights, **vector.feed}
    return tuple(given[n] if n else None for n in nodes[0].inputs), nodes[0].attributes
