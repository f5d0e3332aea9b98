"""ONNX's published node tests: collecting them, what makes each a case, and ONNX's own way of judging one.

What is expected of them by the rules of this suite is `vector_oracle`'s matter.
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from .dtypes import dtype_of, is_known, lookup
from .files import share_whole
from .operators import catalogue
from .rules import Random
from .spec import PUBLISHED, Case, Source

__all__ = ["FUNCTION", "REASONS", "Vector", "case_of", "collect", "defined", "flat", "similar", "unjudged"]

# What ONNX's runner allows bfloat16 at least: two of its ulps.
_BFLOAT16_RTOL = 2.0**-6
# Why vectors have no verdict.
REASONS = {
    "optional": "an absent optional among its outputs, or a nested sequence",
    "type": "an element type that the suite does not have",
    "random": "a function that draws at random: no value to expect, and no one operator to test the draw by",
}
# The operator of a vector with several nodes.
FUNCTION = "(function)"


@dataclass(frozen=True, slots=True)
class Vector:
    """A published vector: its model, its inputs by name, its outputs in graph order and the tolerance for them.

    A value is an array, a list of arrays (a sequence) or None (an optional that is absent).
    """

    name: str
    model: onnx.ModelProto
    feed: Mapping[str, Any]
    outputs: Sequence[Any]
    rtol: float = 1e-3
    atol: float = 1e-7

    @property
    def operators(self) -> set[str]:
        """The names of the operators in the graph and in the bodies of its control flow."""
        return set(_operators(self.model.graph))


def _operators(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _operators(attribute.g)


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


def flat(values: Sequence[Any]) -> list[Any]:
    """The values with the tensors of each sequence in its place."""
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def unjudged(vector: Vector) -> str:
    """Why a vector has no verdict, by its key in ``REASONS``, or ""."""
    outputs = flat(vector.outputs)
    values = [v for v in (*flat([*vector.feed.values()]), *outputs) if v is not None]
    if any(o is None for o in vector.outputs) or not all(isinstance(v, np.ndarray) for v in values):
        return "optional"
    if not all(map(is_known, values)):
        return "type"
    if len(vector.model.graph.node) > 1 and any(_is_random(n) for n in vector.model.graph.node):
        return "random"
    return ""


def _is_random(node: onnx.NodeProto) -> bool:
    entry = catalogue().get((node.domain, node.op_type))
    return entry is not None and isinstance(entry.rule_for(0), Random)


def defined(vector: Vector) -> bool:
    """Whether the catalogue defines every node on tensors, and torch has the tensors (it has no strings)."""
    values = (*vector.feed.values(), *vector.outputs)
    if not all(isinstance(v, np.ndarray) for v in values):
        return False
    if any(dtype_of(v) == "string" for v in vector.feed.values()):
        return False
    entries = [catalogue().get((n.domain, n.op_type)) for n in vector.model.graph.node]
    return all(e is not None and e.meaning is not None for e in entries)


def case_of(vector: Vector) -> Case:
    """The case that a vector is, unless it is ``unjudged``. The digest is over its model, inputs and outputs."""
    state = hashlib.blake2b(vector.model.SerializeToString(deterministic=True), digest_size=16)
    for name, value in (*vector.feed.items(), *((str(i), o) for i, o in enumerate(vector.outputs))):
        for array in flat([value]):
            if array is None:
                state.update(f"{name} absent".encode())
                continue
            state.update(f"{name} {array.dtype} {array.shape}".encode())
            state.update(repr(array.tolist()).encode() if array.dtype.kind in "OU" else array.tobytes())
    first, *others = vector.model.graph.node
    domain = "" if others else first.domain
    opsets = {o.domain: o.version for o in vector.model.opset_import}
    return Case(
        id=f"vectors/{vector.name}",
        operator=FUNCTION if others else first.op_type,
        domain=domain,
        opset=opsets.get(domain, 1),
        dtype=next((dtype_of(o) for o in flat(vector.outputs)), "float32"),
        source=Source.VECTOR,
        family="vectors",
        digest=state.hexdigest(),
        tags=frozenset() if defined(vector) else frozenset({PUBLISHED}),
    )


def similar(vector: Vector, outputs: Sequence[Any]) -> bool:
    """Whether outputs are what ONNX's own runner accepts: within one tolerance of the published ones.

    Of a draw at random only type and shape are looked at: ONNX's runner compares its values too, and nobody passes.
    """
    drawn = any(_is_random(n) for n in vector.model.graph.node)
    return _all_close(outputs, vector.outputs, vector, drawn)


def _all_close(mine: Sequence[Any], theirs: Sequence[Any], vector: Vector, drawn: bool) -> bool:
    return len(mine) == len(theirs) and all(_close(a, b, vector, drawn) for a, b in zip(mine, theirs, strict=True))


def _close(mine: Any, theirs: Any, vector: Vector, drawn: bool) -> bool:
    if isinstance(theirs, list):
        return isinstance(mine, (list, tuple)) and _all_close(mine, theirs, vector, drawn)
    if theirs is None:
        return mine is None
    if not isinstance(mine, np.ndarray) or not is_known(mine) or mine.shape != theirs.shape:
        return False
    kind = lookup(dtype_of(theirs))
    if dtype_of(mine) != kind.name:
        return False
    if drawn:
        return True
    if kind.kind == "string":
        return bool(np.array_equal(mine.astype(str), theirs.astype(str)))
    wide = np.complex128 if kind.kind == "complex" else np.float64
    rtol = max(vector.rtol, _BFLOAT16_RTOL) if kind.name == "bfloat16" else vector.rtol
    with np.errstate(all="ignore"):  # the vectors overflow on purpose
        return bool(np.allclose(mine.astype(wide), theirs.astype(wide), rtol, vector.atol, equal_nan=True))


@functools.cache
def _source() -> bytes:
    return hashlib.blake2b(Path(__file__).read_bytes(), digest_size=16).digest()
