"""ONNX's published node vectors, as cases that are judged by our rules instead of one tolerance for all.

What is expected of a vector is the catalogue's definition in float64 with its bound, where the catalogue defines
every node; else the published output, with the tolerance that ONNX publishes beside it.
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .casework import Ready
from .dtypes import dtype_of, is_known, lookup
from .goldens import Golden, GoldenCache
from .graphs import Node, nodes_of
from .interpreter import operator_of
from .numerics import COMPOSITE_SIGMAS, Expected
from .operators import catalogue
from .oracle import COMPOSITE, effective_rule, expect, expect_graph
from .rules import Random, Requantised, Rule
from .spec import Case, Source

__all__ = ["Vector", "collect", "defined", "ready", "rounded", "similar", "unjudged"]

# What ONNX's runner allows bfloat16 at least: two of its ulps.
_BFLOAT16_RTOL = 2.0**-6


@dataclass(frozen=True, slots=True)
class Vector:
    """A published vector: its model, its inputs by name, its outputs in graph order and the tolerance for them."""

    name: str
    model: onnx.ModelProto
    feed: Mapping[str, Any]
    outputs: Sequence[Any]
    rtol: float = 1e-3
    atol: float = 1e-7

    @property
    def operators(self) -> list[str]:
        """The operators of the graph, each once, with their domains where these are not ONNX's own."""
        nodes = self.model.graph.node
        return list(dict.fromkeys(f"{n.domain}::{n.op_type}" if n.domain else n.op_type for n in nodes))


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
            given = [_array(v) for v in outputs]
            found.append(Vector(test.name, test.model, feed, given, test.rtol, test.atol))
    return found


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def unjudged(vector: Vector) -> str:
    """Why a vector has no verdict, or ""."""
    values = (*vector.feed.values(), *vector.outputs)
    if not all(isinstance(v, np.ndarray) for v in values):
        return "a sequence or an absent optional among its values"
    if not all(is_known(v) for v in values):
        return "a 2-, 4- or 8-bit type that the suite does not have"
    if len(vector.model.graph.node) > 1 and any(_is_random(n) for n in vector.model.graph.node):
        return "a function that draws at random: no value to expect, and no one operator to test the draw by"
    return ""


def _is_random(node: onnx.NodeProto) -> bool:
    entry = catalogue().get((node.domain, node.op_type))
    return entry is not None and isinstance(entry.rule_for(0), Random)


def ready(vector: Vector, scratch: Path, cache: GoldenCache) -> Ready:
    """A vector that is not ``unjudged`` as a case, its model written to ``scratch``."""
    nodes = _nodes(vector)
    case = _case(vector, nodes)
    path = scratch / f"{vector.name}.onnx"
    path.write_bytes(vector.model.SerializeToString())
    golden = cache.load(case, 0, _rules(nodes, vector))
    if golden is None:
        golden = Golden(({},), (_expected(vector, nodes),))
        cache.store(case, 0, golden)
    inputs, attributes = _view(vector, nodes)
    return Ready(case, path, (vector.feed,), golden.outputs, (inputs,), attributes, scratch=path)


def similar(vector: Vector, outputs: Sequence[Any]) -> bool:
    """Whether outputs are what ONNX's own runner accepts: within one tolerance of the published ones.

    Of a draw at random only type and shape are looked at: ONNX's runner compares its values too, and nobody passes.
    """
    if len(outputs) != len(vector.outputs):
        return False
    drawn = any(_is_random(n) for n in vector.model.graph.node)
    return all(_close(a, b, vector, drawn) for a, b in zip(outputs, vector.outputs, strict=True))


def _close(mine: Any, theirs: np.ndarray, vector: Vector, drawn: bool) -> bool:
    if not isinstance(mine, np.ndarray) or mine.shape != theirs.shape or dtype_of(mine) != dtype_of(theirs):
        return False
    kind = lookup(dtype_of(theirs))
    if drawn:
        return True
    if kind.kind == "string":
        return bool(np.array_equal(mine.astype(str), theirs.astype(str)))
    wide = np.complex128 if kind.kind == "complex" else np.float64
    rtol = max(vector.rtol, _BFLOAT16_RTOL) if kind.name == "bfloat16" else vector.rtol
    return bool(np.allclose(mine.astype(wide), theirs.astype(wide), rtol, vector.atol, equal_nan=True))


def _case(vector: Vector, nodes: Sequence[Node]) -> Case:
    # This file too: it says what is expected where no definition does.
    state = hashlib.blake2b(_source() + vector.model.SerializeToString(deterministic=True), digest_size=16)
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


def rounded(expected: Expected) -> np.ndarray:
    """What the definition gives, in the declared type: an output that any backend may return."""
    kind = lookup(expected.dtype)
    value = expected.value
    if isinstance(expected.rule, Requantised) and kind.is_float:  # beyond its largest number a float8 saturates
        value = np.clip(value, -kind.largest, kind.largest)
    return value.astype(kind.numpy)


@functools.cache
def _source() -> bytes:
    return Path(__file__).read_bytes()


def _nodes(vector: Vector) -> list[Node]:
    if len(vector.model.graph.node) == 1:
        return nodes_of(vector.model)
    # Published functions do not declare their intermediate values.
    return nodes_of(onnx.shape_inference.infer_shapes(vector.model))


def defined(vector: Vector) -> bool:
    """Whether the catalogue defines every node on tensors, and torch has the tensors (it has no strings)."""
    if any(dtype_of(np.asarray(v)) == "string" for v in vector.feed.values()):
        return False
    entries = [catalogue().get((n.domain, n.op_type)) for n in vector.model.graph.node]
    return all(e is not None and e.meaning is not None for e in entries)


def _rules(nodes: Sequence[Node], vector: Vector) -> tuple[Rule, ...]:
    if len(nodes) == 1 and defined(vector):
        operator = operator_of(nodes[0])
        return tuple(effective_rule(operator.rule_for(i), d) for i, d in enumerate(nodes[0].dtypes) if d)
    return tuple(effective_rule(COMPOSITE, dtype_of(o)) for o in vector.outputs)


def _expected(vector: Vector, nodes: Sequence[Node]) -> tuple[Expected, ...]:
    if not defined(vector):
        return tuple(_published(o, vector) for o in vector.outputs)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in vector.model.graph.initializer}
    if len(nodes) == 1:
        given = {**weights, **vector.feed}
        return expect(nodes[0], [given[n] if n else None for n in nodes[0].inputs], key=vector.name)
    dtypes = {o.name: dtype_of(a) for o, a in zip(vector.model.graph.output, vector.outputs, strict=True)}
    return expect_graph(nodes, vector.feed, dtypes, weights.get, key=vector.name)


def _published(array: np.ndarray, vector: Vector) -> Expected:
    """Without a definition there is no bound to derive: the published tolerance stands in, as a spread."""
    dtype = dtype_of(array)
    rule = effective_rule(COMPOSITE, dtype)
    if rule is not COMPOSITE:
        return Expected(dtype, rule, array)
    value = array.astype(np.float64)
    with np.errstate(invalid="ignore"):
        tolerance = np.where(np.isfinite(value), vector.atol + vector.rtol * np.abs(value), 0.0)
    return Expected(dtype, rule, value, spread=tolerance / COMPOSITE_SIGMAS)


def _view(vector: Vector, nodes: Sequence[Node]) -> tuple[tuple[np.ndarray | None, ...], Mapping[str, Any]]:
    if len(nodes) != 1:
        return (), {}
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in vector.model.graph.initializer}
    given = {**weights, **vector.feed}
    return tuple(given[n] if n else None for n in nodes[0].inputs), nodes[0].attributes
