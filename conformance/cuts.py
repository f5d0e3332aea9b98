"""Pieces of a reference model: which nodes make a block, when two pieces are the same, and a piece as a model."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from . import models
from .draws import Draw
from .dtypes import dtype_of, lookup
from .graphs import Node, nodes_of, schema_of, to_tensor_proto, value_types

__all__ = [
    "Contents",
    "Piece",
    "Reference",
    "blocks_of",
    "cut",
    "identity",
    "likeness",
    "open_model",
    "opened",
    "piece",
]

# What a compiler fuses behind a convolution or a matrix product: elementwise operators and normalisations.
ANCHORS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "QLinearConv", "ConvInteger", "MatMulInteger"})
FUSIBLE = frozenset(
    """
    Add Sub Mul Div Pow Sqrt Relu LeakyRelu PRelu Clip Sigmoid HardSigmoid HardSwish Tanh Erf Gelu Mish
    Softplus Swish Elu Selu Celu Softmax LogSoftmax BatchNormalization LayerNormalization
    GroupNormalization InstanceNormalization RMSNormalization Neg Abs Reciprocal Where Cast
    QuantizeLinear DequantizeLinear Reshape Transpose
    """.split()
)
LONGEST = 8
# How many nodes what is repeated has, at least and at most.
MIN_PERIOD, MAX_PERIOD = 4, 256
QUANTISERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"})
# Which inputs are scales of a quantisation. What was calibrated differs from layer to layer in its last digits.
SCALES = {
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
}
# A float constant of more elements than this, and of more distinct values than a mask has, is data.
SMALL = 16
MASK_VALUES = 4


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference model, opened: its nodes in order and the declared type and shape of every value.

    ``consumers``: for each value the positions of the nodes that read it, -1 for the model's output.
    """

    name: str
    model: models.Model
    nodes: tuple[Node, ...]
    protos: tuple[onnx.NodeProto, ...]
    types: Mapping[str, tuple[str, tuple[int, ...] | None]]
    literals: Mapping[str, onnx.TensorProto]
    consumers: Mapping[str, Sequence[int]]

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(o.name for o in self.model.proto.graph.output)

    def is_constant(self, name: str) -> bool:
        """Whether the value is an initializer, literal or drawn."""
        return name in self.literals or name in self.model.weights


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive consumers in a model: the positions of its nodes, what it reads and what it yields."""

    positions: tuple[int, ...]
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]


@functools.cache  # the plan opens each model and so does whoever runs it; without weights they are small
def open_model(name: str) -> Reference:
    """Load a reference model by name. Raises ``UsageError`` for an unknown one."""
    return opened(models.load(name))


def opened(model: models.Model) -> Reference:
    """A stored model with its nodes looked at one at a time."""
    graph = model.proto.graph
    nodes = tuple(nodes_of(model.proto))
    return Reference(
        model.name,
        model,
        nodes,
        tuple(graph.node),
        value_types(graph),
        {t.name: t for t in graph.initializer},
        _consumers(nodes, [o.name for o in graph.output]),
    )


def _consumers(nodes: Sequence[Node], outputs: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {name: [-1] for name in outputs}
    for position, node in enumerate(nodes):
        for name in node.inputs:
            if name:
                found.setdefault(name, []).append(position)
    return found


def piece(reference: Reference, positions: Sequence[int]) -> Piece:
    """The boundary of some nodes: inputs and constants in order of first use, outputs that are read elsewhere."""
    inside = {o for p in positions for o in reference.nodes[p].outputs if o}
    inputs: dict[str, None] = {}
    constants: dict[str, None] = {}
    for position in positions:
        for name in reference.nodes[position].inputs:
            if name and name not in inside:
                (constants if reference.is_constant(name) else inputs)[name] = None
    outputs = [
        o
        for p in positions
        for o in reference.nodes[p].outputs
        if o and (len(positions) == 1 or any(c not in positions for c in reference.consumers.get(o, ())))
    ]
    return Piece(tuple(positions), tuple(inputs), tuple(constants), tuple(outputs))


def blocks_of(reference: Reference) -> dict[str, Piece]:
    """The pieces of several nodes that are cases of their own, by what follows the model's name in the case's id: what
    backends fuse (``block-NODE``), and what stands in the model more than once (``repeat-NODE``). NODE is the first."""
    pieces = [("block-{}", part) for part in _chains(reference)]
    pieces += [("repeat-{}", part) for part in _repeats(reference)]
    return {name.format(reference.nodes[part.positions[0]].name): part for name, part in pieces}


def _chains(reference: Reference) -> list[Piece]:
    """The blocks that backends fuse: an anchor and the chain of its sole consumers, up to the next anchor.

    A product of a product (attention: MatMul, scale, Softmax, MatMul) ends with the second one. Chains are
    followed along single-consumer values, so a block has one output that the rest of the model reads. A chain
    ends where it is quantised; before a quantised anchor stand the nodes that undo the quantisation of what it
    reads, as far as nobody else does.
    """
    found: list[Piece] = []
    taken: set[int] = set()
    makers = {o: p for p, node in enumerate(reference.nodes) for o in node.outputs if o}
    for start, node in enumerate(reference.nodes):
        if node.operator not in ANCHORS or start in taken:
            continue
        chain = [start]
        while len(chain) < LONGEST and reference.nodes[chain[-1]].operator != "QuantizeLinear":
            readers = reference.consumers.get(reference.nodes[chain[-1]].outputs[0], ())
            if len(readers) != 1 or readers[0] < 0:
                break
            following = reference.nodes[readers[0]]
            scaled = following.operator == "QuantizeLinear" and not reference.is_constant(following.inputs[1])
            if following.operator in FUSIBLE and not scaled:
                chain.append(readers[0])
                continue
            if following.operator == "MatMul" and any(reference.nodes[p].operator == "Softmax" for p in chain):
                chain.append(readers[0])
            break
        while len(chain) > 1 and reference.nodes[chain[-1]].operator in ("Reshape", "Transpose", "Cast"):
            chain.pop()  # data movement at the end is nobody's fusion
        chain += [p for p in _dequantisers(reference, makers, node) if p not in taken]
        if len(chain) > 1:
            taken.update(chain)
            found.append(piece(reference, sorted(chain)))
    return found


def _dequantisers(reference: Reference, makers: Mapping[str, int], node: Node) -> list[int]:
    """The positions of the DequantizeLinear nodes that this node alone reads."""
    read = [n for n in node.inputs if n in makers and len(reference.consumers[n]) == 1]
    return [makers[n] for n in read if reference.nodes[makers[n]].operator == "DequantizeLinear"]


def _repeats(reference: Reference) -> list[Piece]:
    """Sub-graphs that follow each other with the same operators: a transformer's layers, a stage's residual blocks, the
    heads of a detector. All copies of each, of whatever shapes: those that are the same will be one case.

    Nodes are taken in the order of the graph, which exporters write layer by layer. Of all periods with which operators
    recur, that of most copies comes first, then what covers most nodes. Where a copy begins is open: it is where the
    fewest values go in and out. What goes on with numbers that it has quantised itself is left out: one of them that
    rounding moves over a tie moves all that follows, by far more than a bound can say.
    """
    kinds: dict[tuple[Any, ...], int] = {}
    word = np.array(
        [
            kinds.setdefault((n.domain, n.operator, len(n.inputs), len(n.outputs)), len(kinds))
            for n in reference.nodes
        ]
    )
    count = len(word)
    runs: list[tuple[int, int, int]] = []  # covered, period, start
    for period in range(MIN_PERIOD, min(count // 2, MAX_PERIOD) + 1):
        same = np.concatenate(([False], word[:-period] == word[period:], [False]))
        edges = np.flatnonzero(same[1:] != same[:-1])
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if end - start >= period:
                runs.append((int(end - start) + period, period, int(start)))
    found: list[Piece] = []
    free = np.ones(count, dtype=bool)
    for covered, period, start in sorted(runs, key=lambda run: (-(run[0] // run[1]), -run[0], run[1])):
        own = start + np.flatnonzero(free[start : start + covered])
        anchors = sum(reference.nodes[p].operator in ANCHORS for p in range(start, start + period))
        if anchors < 2 or len(own) < 2 * period or own[-1] - own[0] >= len(own):
            continue
        start, end = int(own[0]), int(own[-1]) + 1
        begins = range(start, min(start + period, end - 2 * period + 1))
        cuts = {at: piece(reference, range(at, at + period)) for at in begins}
        first = min(begins, key=lambda at: len(cuts[at].inputs) + len(cuts[at].outputs))
        last = end - (end - first) % period
        free[first:last] = False
        copies = [range(at, at + period) for at in range(first, last, period)]
        found += [piece(reference, copy) for copy in copies if not _quantises_within(reference, copy)]
    return found


def _quantises_within(reference: Reference, positions: range) -> bool:
    quantisers = [n for n in map(reference.nodes.__getitem__, positions) if n.operator in QUANTISERS]
    return any(at in positions for n in quantisers for o in n.outputs for at in reference.consumers.get(o, ()))


def identity(reference: Reference, part: Piece) -> str:
    """A hash of what a backend sees of the piece: operators, attributes, versions, types, shapes and constants.

    Drawn weights count by their distribution and its order of magnitude, not by their seed: the second of two
    layers of one shape teaches nothing that the first did not.
    """
    return _described(reference, part, lambda name, literal: _bits(literal), lambda node: node.opset)


def likeness(reference: Reference, part: Piece) -> str:
    """As `identity`, but the same for two pieces that no backend tells apart: scales of quantisation and large float
    constants count by their octaves, an operator by the version that is in force at its opset."""
    scales = {
        node.inputs[i]
        for node in (reference.nodes[p] for p in part.positions)
        for i in SCALES.get(node.operator, ())
        if i < len(node.inputs)
    }

    def version(node: Node) -> int:
        schema = schema_of(node.operator, node.opset, node.domain)
        return node.opset if schema is None else int(schema.since_version)

    return _described(reference, part, lambda name, literal: _octaves(literal, scale=name in scales), version)


class Contents:
    """Tells which pieces, one after the other, are the same case. ``alike``: two that no backend tells apart may be."""

    def __init__(self, *, alike: bool) -> None:
        self._seen: set[str] = set()
        self._first: dict[str, str] | None = {} if alike else None

    def of(self, reference: Reference, part: Piece, *, exactly: bool) -> str:
        """A hash that a piece shares with those that are the same. ``exactly``: with none but what is the same to the
        last bit."""
        digest = identity(reference, part)
        if digest not in self._seen and self._first is not None:
            first = self._first.setdefault(likeness(reference, part), digest)
            digest = digest if exactly else first
        self._seen.add(digest)
        return digest


def _octaves(literal: np.ndarray, *, scale: bool) -> Any:
    """What of a constant a backend may look at: of a scale, and of data, the octaves between which it lies and whether
    it has both signs; of anything else every bit."""
    if not lookup(dtype_of(literal)).is_float or (
        not scale and (literal.size <= SMALL or len(np.unique(literal.astype(np.float64))) <= MASK_VALUES)
    ):
        return _bits(literal)
    wide = literal.astype(np.float64)
    sizes = np.abs(wide[np.isfinite(wide) & (wide != 0)])
    octaves = [round(math.log2(end)) for end in ((sizes.min(), sizes.max()) if sizes.size else ())]
    return [octaves if scale else octaves[1:], bool((wide < 0).any()), bool(np.isfinite(wide).all())]


def _bits(literal: np.ndarray) -> str:
    return _hash(repr(literal.tolist()).encode() if literal.dtype.kind in "OU" else literal.tobytes())


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _described(
    reference: Reference,
    part: Piece,
    constant: Callable[[str, np.ndarray], Any],
    version: Callable[[Node], int],
) -> str:
    """A hash of a piece. ``constant``: what of a literal counts; ``version``: an operator's."""
    local: dict[str, str] = {}

    def alias(name: str) -> str:
        return local.setdefault(name, f"v{len(local)}") if name else ""

    described: list[Any] = []
    for name in part.inputs:
        described.append([alias(name), *_typed(reference, name)])
    for name in part.constants:
        recipe: Any
        if name in reference.literals:
            recipe = constant(name, onnx.numpy_helper.to_array(reference.literals[name]))
        else:
            recipe = _likeness(reference.model.weights[name])
        described.append([alias(name), *_typed(reference, name), recipe])
    for position in part.positions:
        node, proto = reference.nodes[position], reference.protos[position]
        attributes = sorted(a.SerializeToString(deterministic=True).hex() for a in proto.attribute)
        described.append(
            [
                node.domain,
                node.operator,
                version(node),
                attributes,
                [alias(i) for i in node.inputs],
                [alias(o) for o in node.outputs],
            ]
        )
    described.append([alias(o) for o in part.outputs])
    return _hash(json.dumps(described).encode())


def _likeness(recipe: Draw) -> list[Any]:
    """A recipe's kind and the octaves of its parameters: 0.0499 and 0.0513 are the same to any backend."""
    octaves = [round(math.log2(abs(v))) if v else None for v in (recipe.a, recipe.b)]
    return [recipe.kind, octaves, list(recipe.items)]


def _typed(reference: Reference, name: str) -> tuple[str, tuple[int, ...] | None]:
    return reference.types[name]


def cut(reference: Reference, part: Piece, constant: Callable[[str], np.ndarray | None]) -> onnx.ModelProto:
    """The piece as a model of its own: what it reads as inputs, constants as initializers with their values."""
    source = reference.model.proto
    used = {reference.nodes[p].domain for p in part.positions}
    imports = [o for o in source.opset_import if o.domain in used or o.domain == ""]
    graph = helper.make_graph(
        [reference.protos[p] for p in part.positions],
        "case",
        [_value_info(reference, n) for n in part.inputs],
        [_value_info(reference, n) for n in part.outputs],
    )
    model: onnx.ModelProto = helper.make_model(
        graph,
        producer_name="conformance",
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for(imports, ignore_unknown=True),
    )
    for name in part.constants:
        value = constant(name)
        assert value is not None
        to_tensor_proto(value, name, into=model.graph.initializer.add())
    return model


def _value_info(reference: Reference, name: str) -> onnx.ValueInfoProto:
    dtype, shape = reference.types[name]
    return helper.make_tensor_value_info(name, lookup(dtype).onnx, shape)
