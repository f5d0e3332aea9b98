"""ONNX's published node vectors, as cases that are judged by our rules instead of one tolerance for all.

What is expected of a vector is the catalogue's definition in float64 with its bound, where the catalogue defines
every node; else the published output, with the tolerance that ONNX publishes beside it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from .casework import Ready
from .dtypes import dtype_of, is_known, lookup
from .files import share_whole
from .goldens import Golden, GoldenCache
from .graphs import Node, nodes_of
from .interpreter import operator_of
from .numerics import COMPOSITE_SIGMAS, Expected
from .operators import catalogue
from .oracle import COMPOSITE, effective_rule, expect, expect_graph
from .rules import Random, Rule
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


def collect(cache: Path | None = None) -> list[Vector]:
    """Every node vector that the installed onnx ships (about 1,900).

    onnx makes them anew each time, which takes it ten seconds of loops in Python: with a ``cache`` folder they are
    kept there. Raises ``OSError`` where the disk does not take them.
    """
    if cache is None:
        return _made()
    path = cache / "vectors" / f"{onnx.__version__}-{_source().hex()[:16]}.vectors"
    try:
        return _unpacked(path.read_bytes())
    except (FileNotFoundError, ValueError, LookupError, DecodeError):  # none, or a damaged one
        pass
    found = _made()
    share_whole(path, _packed(found))
    return found


def _made() -> list[Vector]:
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


# A file of vectors: the header's length, a JSON header and ONNX messages, one after the other. Values are kept as
# ONNX keeps them; a list is a sequence, None an optional that is absent.
_KINDS: Mapping[str, tuple[Callable[[Any], Any], type[Any], Callable[[Any], Any]]] = {
    "tensor": (onnx.numpy_helper.from_array, onnx.TensorProto, onnx.numpy_helper.to_array),
    "sequence": (onnx.numpy_helper.from_list, onnx.SequenceProto, onnx.numpy_helper.to_list),
    "absent": (onnx.numpy_helper.from_optional, onnx.OptionalProto, onnx.numpy_helper.to_optional),
}


def _packed(vectors: Sequence[Vector]) -> list[bytes]:
    chunks: list[bytes] = []

    def place(value: Any) -> list[Any]:
        kind = "absent" if value is None else "sequence" if isinstance(value, list) else "tensor"
        chunks.append(_KINDS[kind][0](value).SerializeToString())
        return [kind, len(chunks) - 1]

    entries = []
    for vector in vectors:
        chunks.append(vector.model.SerializeToString())
        entry = [vector.name, len(chunks) - 1, vector.rtol, vector.atol]
        feed = [[name, *place(value)] for name, value in vector.feed.items()]
        entries.append([*entry, feed, [place(value) for value in vector.outputs]])
    header = json.dumps({"sizes": [len(c) for c in chunks], "vectors": entries}).encode()
    return [len(header).to_bytes(8, "little"), header, *chunks]


def _unpacked(data: bytes) -> list[Vector]:
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    chunks = []
    for size in header["sizes"]:
        chunks.append(data[start : start + size])
        start += size
    if start != len(data):
        raise ValueError("not all there")

    def value(kind: str, index: int) -> Any:
        _, message, read = _KINDS[kind]
        return read(message.FromString(chunks[index]))

    return [
        Vector(
            name,
            onnx.ModelProto.FromString(chunks[model]),
            {n: value(*place) for n, *place in feed},
            [value(*place) for place in outputs],
            rtol,
            atol,
        )
        for name, model, rtol, atol, feed, outputs in header["vectors"]
    ]


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "US" else array  # as onnx reads strings back


def unjudged(vector: Vector) -> str:
    """Why a vector has no verdict, or ""."""
    values = (*vector.feed.values(), *vector.outputs)
    if not all(isinstance(v, np.ndarray) for v in values):
        return "a sequence or an absent optional among its values"
    if not all(is_known(v) for v in values):
        return "an element type that the suite does not have"
    if len(vector.model.graph.node) > 1 and any(_is_random(n) for n in vector.model.graph.node):
        return "a function that draws at random: no value to expect, and no one operator to test the draw by"
    return ""


def _is_random(node: onnx.NodeProto) -> bool:
    entry = catalogue().get((node.domain, node.op_type))
    return entry is not None and isinstance(entry.rule_for(0), Random)


def ready(vector: Vector, scratch: Path, cache: GoldenCache) -> Ready:
    """A vector that is not ``unjudged`` as a case, its model written to ``scratch``."""
    stored: bytes = vector.model.SerializeToString(deterministic=True)
    path = scratch / f"{vector.name}.onnx"
    path.write_bytes(stored)
    case = _case(vector, stored)
    # Of a function, only computing the reference looks at the nodes.
    node = nodes_of(vector.model)[0] if len(vector.model.graph.node) == 1 else None
    golden = cache.load(case, 0, _rules(vector, node))
    if golden is None:
        golden = Golden(({},), (_expected(vector, node),))
        cache.store(case, 0, golden)
    if node is None:
        return Ready(case, path, (vector.feed,), golden.outputs, scratch=path)
    inputs = tuple(_inputs(vector, node))
    return Ready(case, path, (vector.feed,), golden.outputs, (inputs,), node.attributes, scratch=path)


def _inputs(vector: Vector, node: Node) -> list[np.ndarray | None]:
    given = {**_weights(vector), **vector.feed}
    return [given[n] if n else None for n in node.inputs]


def _weights(vector: Vector) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in vector.model.graph.initializer}


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


def _case(vector: Vector, stored: bytes) -> Case:
    # This file too: it says what is expected where no definition does.
    state = hashlib.blake2b(_source() + stored, digest_size=16)
    for name, array in vector.feed.items():
        state.update(f"{name} {array.dtype} {array.shape}".encode())
        state.update(repr(array.tolist()).encode() if array.dtype.kind in "OU" else array.tobytes())
    first, *others = vector.model.graph.node
    # A vector of several nodes may be touched by any family.
    entry = None if others else catalogue().get((first.domain, first.op_type))
    opsets = {o.domain: o.version for o in vector.model.opset_import}
    return Case(
        id=f"vectors/{vector.name}",
        operator="(function)" if others else first.op_type,
        domain=first.domain,
        opset=opsets.get(first.domain, 1),
        dtype=dtype_of(vector.outputs[0]) if vector.outputs else "float32",
        source=Source.OPERATOR if entry else Source.BLOCK,
        family=entry.family if entry else "block",
        digest=state.hexdigest(),
    )


def rounded(expected: Expected) -> np.ndarray:
    """What the definition gives, in the declared type: an output that any backend may return."""
    return expected.value.astype(lookup(expected.dtype).numpy)


@functools.cache
def _source() -> bytes:
    return hashlib.blake2b(Path(__file__).read_bytes(), digest_size=16).digest()


def defined(vector: Vector) -> bool:
    """Whether the catalogue defines every node on tensors, and torch has the tensors (it has no strings)."""
    if any(dtype_of(np.asarray(v)) == "string" for v in vector.feed.values()):
        return False
    entries = [catalogue().get((n.domain, n.op_type)) for n in vector.model.graph.node]
    return all(e is not None and e.meaning is not None for e in entries)


def _rules(vector: Vector, node: Node | None) -> tuple[Rule, ...]:
    if node is not None and defined(vector):
        operator = operator_of(node)
        return tuple(effective_rule(operator.rule_for(i), d) for i, d in enumerate(node.dtypes) if d)
    return tuple(effective_rule(COMPOSITE, dtype_of(o)) for o in vector.outputs)


def _expected(vector: Vector, node: Node | None) -> tuple[Expected, ...]:
    if not defined(vector):
        return tuple(_published(o, vector) for o in vector.outputs)
    if node is not None:
        return expect(node, _inputs(vector, node), key=vector.name)
    # Published functions do not declare their intermediate values.
    nodes = nodes_of(onnx.shape_inference.infer_shapes(vector.model))
    dtypes = {o.name: dtype_of(a) for o, a in zip(vector.model.graph.output, vector.outputs, strict=True)}
    return expect_graph(nodes, vector.feed, dtypes, _weights(vector).get, key=vector.name)


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
