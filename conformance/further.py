"""Somebody else's ONNX files as models of a run: finding them, and what of each can be judged.

A file says little that can be relied on: its opset may be old, its dimensions symbolic, its value_info stale. So it is
run once by the catalogue's definitions. That run gives every value its shape, takes the branch that each If takes, and
names the nodes for which there is no definition. Nothing of a package is imported.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from onnx import helper

from .cuts import Reference, opened
from .draws import AUTO, Draw, full, integers
from .dtypes import dtype_of, is_known, lookup
from .errors import UsageError
from .graphs import Node, attributes_of, lookup_name, schema_of, subgraphs
from .interpreter import DECLINES, NoMeaning, call, operator_of, to_array, to_tensor
from .models import Model, TensorType, feed, read_model
from .oracle import evaluate
from .rules import Exact, Random

if TYPE_CHECKING:
    import torch

__all__ = ["PREFIX", "REASONS", "File", "FurtherModel", "find", "open_file"]

# Why a piece of a file has no verdict.
REASONS = {
    "definition": "the catalogue has no definition of the operator on tensors",
    "declined": "the definition does not cover these inputs",
    "before": "what it reads comes from a node that cannot be computed here",
    "type": "a sequence, an optional or an element type that the suite does not have",
    "random": "draws at random: no value to expect",
    "part": "a part of it has no verdict",
    "shape": "how much comes out depends on numbers that rounding decides",
}
# What the names of further models begin with, so that none is a reference model's.
PREFIX = "further/"
# The oldest opset that the definitions are written for; what is older is brought to it.
OLDEST = 13
# Operators whose outputs have as many elements as their inputs' values say.
COUNTING = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress"})
# Lengths to try for symbolic dimensions, until the definitions can run: of an image's sides, and of others.
LENGTHS = ((64, 16), (32, 32), (224, 64), (320, 128), (48, 256), (640, 512), (64, 1), (64, 576), (64, 1536))
# What stands between token ids and the table that they are looked up in.
_PASSING = frozenset(
    {"Cast", "Expand", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Slice", "Transpose"}
)
_DEFAULT_DOMAIN = "ai.onnx"


@dataclass(frozen=True, slots=True)
class File:
    """A file that was found. ``name``: of the model, in the ids of its cases; ``origin``: the package with its version,
    or the folder as the user named it, and where in it; ``digest``: of the bytes."""

    name: str
    origin: str
    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class FurtherModel:
    """A file, run once.

    ``reference``: its graph with every branch taken and every shape known, constants as literals. ``original``: the
    file's own graph, with its data, brought to opset 13 where it was older: ``converted`` says so. ``lengths``: what was
    chosen for the symbolic dimensions of each input, as text by its name. ``unjudged``: why nodes have no verdict, by
    position, a key of ``REASONS`` and the details. ``whole``: the same for the run from end to end, or None.
    ``given``: what each of these nodes yields, by ONNX's evaluator, as far as that has it.
    """

    file: File
    reference: Reference
    original: onnx.ModelProto
    opset: int
    converted: bool
    lengths: Mapping[str, str]
    unjudged: Mapping[int, tuple[str, str]]
    whole: tuple[str, str] | None
    given: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def weight(self, name: str) -> np.ndarray | None:
        """A constant's value; None for a value that is none."""
        literal = self.reference.literals.get(name)
        return None if literal is None else onnx.numpy_helper.to_array(literal)


# ----------------------------------------------------------------------------------------------- finding


def find(places: Iterable[str]) -> list[File]:
    """The ``.onnx`` files of installed packages, of folders and by their own paths, each content once.

    Raises `UsageError` for a place that is neither, and for one without any such file.
    """
    found: dict[str, tuple[str, Path, str]] = {}
    for place in places:
        files = [*_files(place)]
        if not files:
            raise UsageError(f"--models-from {place}: there is no .onnx file in it")
        for path, origin in files:
            try:
                digest = _digest(path)
            except OSError as error:
                raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
            found.setdefault(digest, (origin, path, digest))
    names = _names([path for _, path, _ in found.values()])
    return [File(name, *entry) for name, entry in zip(names, found.values(), strict=True)]


def _files(place: str) -> Iterator[tuple[Path, str]]:
    path = Path(place)
    if path.is_file():
        yield path, place
        return
    if path.is_dir():
        for file in sorted(path.rglob("*.onnx")):
            if file.is_file():
                yield file, f"{place}: {file.relative_to(path)}"
        return
    package = _package(place)
    for entry in sorted(package.files or (), key=str):
        if entry.suffix == ".onnx":
            yield Path(str(package.locate_file(entry))), f"{package.name} {package.version}: {entry}"


def _package(name: str) -> metadata.Distribution:
    """An installed package by its own name or by one that it is imported by."""
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        pass
    owners = metadata.packages_distributions().get(name)
    if not owners:
        raise UsageError(f"--models-from {name}: no such file or folder, and no installed package of this name")
    return metadata.distribution(owners[0])


def _digest(path: Path) -> str:
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its own, with as many folders before it as tell it from the others."""
    parts = [[re.sub(r"[^\w.+-]", "_", p) for p in (*path.absolute().parts[1:-1], path.stem)] for path in paths]
    names: list[str] = []
    for own in parts:
        counts = range(1, len(own) + 1)
        count = next((c for c in counts if sum(o[-c:] == own[-c:] for o in parts) == 1), len(own))
        name = PREFIX + ".".join(own[-count:])
        names.append(f"{name}-{len(names)}" if name in names else name)
    return names


# ----------------------------------------------------------------------------------------------- opening


@functools.lru_cache(maxsize=1)  # all cases of a model are made one after the other
def open_file(file: File, seed: int) -> FurtherModel:
    """Read a file and run it once, with inputs drawn from ``seed``.

    Raises `UsageError`, in one line that names the file, for what `read_model` refuses, a file that is not what it was
    when it was found, and one that cannot be run at all: an opset that cannot be brought to 13, or inputs of which the
    shape is not to be found out.
    """
    model = read_model(file.path, undefined=True)
    if _digest(file.path) != file.digest:
        raise UsageError(f"{file.path}: changed while it was being read")
    for domain in (o for o in model.opset_import if o.domain == _DEFAULT_DOMAIN):
        domain.domain = ""
    opset = next((o.version for o in model.opset_import if not o.domain), OLDEST)
    original = model
    if opset < OLDEST:
        try:
            original = onnx.version_converter.convert_version(model, OLDEST)
        except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(
                f"{file.path}: opset {opset} cannot be brought to {OLDEST}, the oldest here: {reason}"
            ) from None
    model = onnx.inliner.inline_local_functions(original) if original.functions else original
    best: _Run | None = None
    for lengths in LENGTHS:
        run = _Run(file, model, seed, lengths)
        run.go(until_declined=True)
        if best is None or run.reached > best.reached:
            best = run
        if not run.declined:
            break
        if not run.chosen:
            break  # nothing was symbolic: other lengths change nothing
    assert best is not None
    if best.declined:
        best = _Run(file, model, seed, best.lengths)
        best.go(until_declined=False)
    return FurtherModel(
        file,
        best.reference(),
        original,
        opset,
        opset < OLDEST,
        {name: "x".join(map(str, shape)) for name, shape in best.chosen.items()},
        best.unjudged,
        best.whole(),
        best.given,
    )


class _Run:
    """One run of a file's graph by the definitions, with certain lengths for its symbolic dimensions."""

    def __init__(self, file: File, model: onnx.ModelProto, seed: int, lengths: tuple[int, int]) -> None:
        self.lengths = lengths
        self.declined = False
        self.chosen: dict[str, tuple[int, ...]] = {}
        self.unjudged: dict[int, tuple[str, str]] = {}
        self.given: dict[int, dict[str, np.ndarray]] = {}
        self._name = file.name
        self._graph = model.graph
        self._imports = [o for o in model.opset_import if o.domain != _DEFAULT_DOMAIN]
        self._opsets = {o.domain: o.version for o in self._imports}
        self._literals = {t.name: t for t in model.graph.initializer}
        self._types: dict[str, TensorType] = {
            t.name: TensorType(lookup_name(t.data_type), tuple(t.dims)) for t in model.graph.initializer
        }
        self._values: dict[str, torch.Tensor] = {}
        self._opaque: dict[str, Any] = {}
        self._rounded: set[str] = set()  # values that rounding has touched
        self._counts_rounded = False
        self._nodes: list[onnx.NodeProto] = []
        self._inputs = self._drawn(file)
        self._model = Model(file.name, self._empty(), {}, self._inputs, dict(self._types))
        for name in self._inputs:
            self._values[name] = to_tensor(feed(self._model, name, seed), widen=True)

    @property
    def reached(self) -> int:
        """How many nodes there were before one declined, or all."""
        return len(self._nodes)

    # --- inputs

    def _drawn(self, file: File) -> dict[str, Draw]:
        names: dict[str, int] = {}
        draws = {}
        for value in self._graph.input:
            if value.name in self._literals:
                continue
            tensor = value.type.tensor_type
            dtype = lookup_name(tensor.elem_type)
            if not value.type.HasField("tensor_type") or not dtype or not tensor.HasField("shape"):
                raise UsageError(
                    f"{file.path}: input {value.name!r} has no type or no rank: nothing can be fed to it"
                )
            dims = tensor.shape.dim
            shape = tuple(self._length(dims, axis, dtype, names) for axis in range(len(dims)))
            if any(d.dim_value <= 0 for d in dims):
                self.chosen[value.name] = shape
            self._types[value.name] = TensorType(dtype, shape)
            draws[value.name] = self._draw(value.name, dtype, shape)
        return draws

    def _length(self, dims: Any, axis: int, dtype: str, names: dict[str, int]) -> int:
        """The declared length of an axis, or the one chosen for all axes of its name."""
        dim = dims[axis]
        if dim.dim_value > 0:
            return int(dim.dim_value)
        image, other = self.lengths
        open_ = [d.dim_value <= 0 for d in dims]
        rows = dims[1].dim_value if len(dims) > 1 else 0
        if axis == 0 or "batch" in dim.dim_param.lower():
            # Of one axis it is a length; of more the batch, unless it is named as something else.
            chosen = other if len(dims) == 1 or _is_length(dim.dim_param) else 1
        elif len(dims) == 3 and axis == 1 and not open_[0] and not open_[2] and dims[0].dim_value <= 4:
            chosen = 1  # layers, batch, state
        elif len(dims) > 3 and axis > 1 and (rows in (1, 3) or all(open_[2:])):
            chosen = image
        else:
            chosen = other
        return names.setdefault(dim.dim_param, chosen) if re.search(r"\w", dim.dim_param) else chosen

    def _draw(self, name: str, dtype: str, shape: tuple[int, ...]) -> Draw:
        kind = lookup(dtype).kind
        if kind not in ("int", "uint"):
            return AUTO
        if dtype == "uint8" and len(shape) > 2:
            return integers(0, 255)  # an image
        readers: deque[str] = deque([name])
        while readers:
            value = readers.popleft()
            for node in self._graph.node:
                if value not in node.input:
                    continue
                other = next((i for i in node.input if i != value), "")
                if node.op_type == "Gather" and node.input[1] == value and node.input[0] in self._literals:
                    table = self._literals[node.input[0]]
                    axis = attributes_of(node, self._opsets.get("", OLDEST)).get("axis", 0)
                    return integers(0, int(table.dims[axis]) - 1)
                literal = self._literal(other) if node.op_type in ("Equal", "OneHot") else None
                if literal is not None and literal.size:  # what is asked for by its value, or a one-hot code
                    last = int(literal.max()) - (node.op_type == "OneHot")
                    return integers(int(literal.min()) if literal.size > 1 else 0, last) if shape else full(last)
                if node.op_type in _PASSING and node.input[0] == value:
                    readers.append(node.output[0])
        if re.search(r"len", name.lower()):
            return full(self.lengths[1])
        return integers(0, 1)

    def _literal(self, name: str) -> np.ndarray | None:
        if name in self._literals:
            return onnx.numpy_helper.to_array(self._literals[name])
        made = next((n for n in self._graph.node if name and name in n.output and n.op_type == "Constant"), None)
        return None if made is None else self._constant(made)

    # --- the run

    def go(self, *, until_declined: bool) -> None:
        """Run the nodes in order. ``until_declined``: stop at the first that a definition declines."""
        todo = deque(self._graph.node)
        reads = Counter(name for node in todo for name in _reads(node))
        reads.update(o.name for o in self._graph.output)
        while todo:
            node = todo.popleft()
            if node.op_type == "Constant" and not node.domain:
                self._hold(node)
                continue
            if (branch := self._branch(node)) is not None:
                reads.update(name for inner in branch for name in _reads(inner))
                todo.extendleft(reversed(branch))
                continue
            self._step(node)
            if self.declined and until_declined:
                return
            for name in _reads(node):
                reads[name] -= 1
                if not reads[name]:
                    self._values.pop(name, None)
                    self._opaque.pop(name, None)

    def _constant(self, node: onnx.NodeProto) -> np.ndarray | None:
        (value,) = self._evaluated(node) or (None,)
        return value if isinstance(value, np.ndarray) and is_known(value) else None

    def _hold(self, node: onnx.NodeProto) -> None:
        value = self._constant(node)
        if value is not None:
            name = node.output[0]
            self._literals[name] = onnx.numpy_helper.from_array(value, name)
            self._types[name] = TensorType(dtype_of(value), value.shape)

    def _array(self, name: str) -> Any:
        """A value in its declared type, or the object that ONNX's evaluator made. Raises ``KeyError``."""
        if name in self._opaque:
            return self._opaque[name]
        if name in self._values:
            return to_array(self._values[name], self._types[name].dtype)
        return onnx.numpy_helper.to_array(self._literals[name])

    def _branch(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes of the branch that an If takes, under names of their own; None where that is not known."""
        if node.op_type != "If" or node.domain:
            return None
        try:
            condition = bool(np.asarray(self._array(node.input[0])).item())
        except (KeyError, ValueError):
            return None
        wanted = "then_branch" if condition else "else_branch"
        graph = next(a.g for a in node.attribute if a.name == wanted)
        prefix = f"{node.output[0]}/"
        inner = [o for n in graph.node for o in n.output] + [t.name for t in graph.initializer]
        renamed = {name: prefix + name for name in inner if name}
        for tensor in graph.initializer:
            name = renamed[tensor.name]
            self._literals[name] = onnx.TensorProto()
            self._literals[name].CopyFrom(tensor)
            self._literals[name].name = name
            self._types[name] = TensorType(lookup_name(tensor.data_type), tuple(tensor.dims))
        taken = [_renamed(n, renamed) for n in graph.node]
        for mine, theirs in zip(node.output, graph.output, strict=True):
            source = renamed.get(theirs.name, theirs.name)
            taken.append(helper.make_node("Identity", [source], [mine]))
        return taken

    def _step(self, proto: onnx.NodeProto) -> None:
        """One node: its results or why there are none, and the types of its outputs."""
        position = len(self._nodes)
        proto = _renamed(proto, {})
        proto.name = f"{proto.op_type}_{position}"
        if proto.domain == _DEFAULT_DOMAIN:
            proto.domain = ""
        self._nodes.append(proto)
        if missing := [n for n in _free(proto) if not self._has(n)]:
            self.unjudged[position] = ("before", missing[0])
            self.given[position] = {}
            return
        declared = self._declared(proto)
        node = Node(
            proto.name,
            proto.op_type,
            proto.domain,
            self._opsets.get(proto.domain, 1),
            tuple(proto.input),
            tuple(proto.output),
            attributes_of(proto, self._opsets.get(proto.domain, 1)),
            tuple(declared.get(o, "") for o in proto.output),
            tuple(self._types[i].dtype if i in self._types else "" for i in proto.input),
        )
        reason = self._computed(node)
        if reason is None:
            return
        self.unjudged[position] = reason
        self.declined |= reason[0] == "declined"
        found = self._evaluated(proto)
        given = {}
        for name, value in zip(proto.output, found or (), strict=False):
            if isinstance(value, np.ndarray) and is_known(value) and dtype_of(value) != "string":
                given[name] = value
                self._take(name, to_tensor(value, widen=True), dtype_of(value))
            elif name:
                self._opaque[name] = value
        self.given[position] = given
        self._rounded.update(proto.output)

    def _has(self, name: str) -> bool:
        return name in self._values or name in self._literals or name in self._opaque

    def _take(self, name: str, tensor: torch.Tensor, dtype: str) -> None:
        self._values[name] = tensor
        self._types[name] = TensorType(dtype, tuple(tensor.shape))

    def _computed(self, node: Node) -> tuple[str, str] | None:
        """Compute a node by its definition; None, or why that cannot be."""
        try:
            operator = operator_of(node)
        except NoMeaning:
            return "definition", f"{node.domain or 'ai.onnx'} {node.operator} {node.opset}"
        if any(n in self._opaque for n in node.inputs) or "string" in (*node.dtypes, *node.input_dtypes):
            return "type", ", ".join(n for n in (*node.inputs, *node.outputs) if n)
        if any(o and not d for o, d in zip(node.outputs, node.dtypes, strict=True)):
            return "type", ", ".join(o for o, d in zip(node.outputs, node.dtypes, strict=True) if o and not d)
        inputs = [self._tensor(n) if n else None for n in node.inputs]
        try:
            results = call(node, inputs, widen=True)
        except DECLINES as error:
            return "declined", " ".join(str(error).split())[:200]
        rounded = any(n in self._rounded for n in node.inputs)
        if node.operator in COUNTING and rounded:
            self._counts_rounded = True
        for i, (name, dtype, result) in enumerate(zip(node.outputs, node.dtypes, results, strict=False)):
            if name:
                self._take(name, result, dtype)
                if node.operator not in ("Shape", "Size") and (
                    rounded or not isinstance(operator.rule_for(i), Exact)
                ):
                    self._rounded.add(name)
        if isinstance(operator.rule_for(0), Random):
            return "random", node.operator
        return None

    def _tensor(self, name: str) -> torch.Tensor:
        if name in self._values:
            return self._values[name]
        return to_tensor(onnx.numpy_helper.to_array(self._literals[name]), widen=True)

    def _declared(self, proto: onnx.NodeProto) -> dict[str, str]:
        """The dtypes of a node's outputs, by ONNX's inference for the node, else by the schema's type variables."""
        schema = schema_of(proto.op_type, self._opsets.get(proto.domain, 1), proto.domain)
        if schema is None:
            return {}
        known = {n: self._types[n] for n in _free(proto) if n in self._types}
        types = {n: helper.make_tensor_type_proto(lookup(t.dtype).onnx, t.shape) for n, t in known.items()}
        found: dict[str, str] = {}
        if all(n in types for n in proto.input if n):
            small = {n: self._literals[n] for n in known if n in self._literals and np.prod(known[n].shape) < 1024}
            try:
                inferred = onnx.shape_inference.infer_node_outputs(
                    schema, proto, types, small, opset_imports=self._imports
                )
            except (
                onnx.shape_inference.InferenceError,
                RuntimeError,
                ValueError,
            ):  # what does not fit, it declines
                inferred = {}
            found = {n: lookup_name(t.tensor_type.elem_type) for n, t in inferred.items()}
        variables = {
            schema.inputs[min(i, len(schema.inputs) - 1)].type_str: known[n].dtype
            for i, n in enumerate(proto.input)
            if n in known
        }
        for i, name in enumerate(proto.output):
            formal = schema.outputs[min(i, len(schema.outputs) - 1)].type_str
            if name and not found.get(name):
                found[name] = variables.get(formal, "")
        return found

    def _evaluated(self, proto: onnx.NodeProto) -> list[Any] | None:
        """A node's outputs by ONNX's evaluator, for what the catalogue does not define."""
        try:
            feeds = {n: self._array(n) for n in _free(proto)}
            graph = helper.make_graph(
                [proto],
                "node",
                [onnx.ValueInfoProto(name=n) for n in feeds],
                [onnx.ValueInfoProto(name=o) for o in proto.output if o],
            )
            model = helper.make_model(graph, opset_imports=self._imports)
            with np.errstate(all="ignore"):
                found = iter(evaluate(model, feeds))
        except DECLINES:
            return None
        return [next(found) if o else None for o in proto.output]

    # --- what came of it

    def whole(self) -> tuple[str, str] | None:
        """Why the run from end to end has no verdict, or None."""
        if self.unjudged:
            return "part", self._nodes[min(self.unjudged)].name
        if self._counts_rounded:
            return "shape", next(n.op_type for n in self._nodes if n.op_type in COUNTING)
        absent = [o.name for o in self._graph.output if o.name not in self._types]
        return ("type", absent[0]) if absent else None

    def _empty(self) -> onnx.ModelProto:
        graph = helper.make_graph([], self._name, [self._info(n) for n in self._inputs], [])
        return helper.make_model(
            graph,
            opset_imports=self._imports,
            ir_version=helper.find_min_ir_version_for(self._imports, ignore_unknown=True),
        )

    def _info(self, name: str) -> onnx.ValueInfoProto:
        spec = self._types[name]
        return helper.make_tensor_value_info(name, lookup(spec.dtype).onnx, spec.shape)

    def reference(self) -> Reference:
        """The graph as it ran."""
        proto = self._empty()
        graph = proto.graph
        graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in _reads(node)} | {o.name for o in self._graph.output}
        graph.initializer.extend(t for n, t in self._literals.items() if n in used)
        outputs = [o.name for o in self._graph.output if o.name in self._types]
        graph.output.extend(self._info(n) for n in outputs)
        given = {*self._inputs, *outputs, *self._literals}
        graph.value_info.extend(self._info(n) for n in self._types if n not in given)
        return opened(Model(self._name, proto, {}, self._inputs, dict(self._types)))


def _is_length(name: str) -> bool:
    return bool(re.search(r"seq|len|time|num|step|tok", name.lower()))


def _reads(node: onnx.NodeProto) -> list[str]:
    """The names that a node reads, those that its subgraphs read among them (their own too)."""
    found = [name for name in node.input if name]
    for graph in subgraphs(node):
        found += [name for inner in graph.node for name in _reads(inner)]
        found += [o.name for o in graph.output]
    return found


def _free(node: onnx.NodeProto) -> list[str]:
    """The names that a node reads from outside, each once."""
    inside = {name for graph in subgraphs(node) for name in _made(graph)}
    return [name for name in dict.fromkeys(_reads(node)) if name not in inside]


def _made(graph: onnx.GraphProto) -> set[str]:
    names = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    for node in graph.node:
        names |= set(node.output)
        for inner in subgraphs(node):
            names |= _made(inner)
    return names


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of a node with other names for values, also where its subgraphs read them."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    if names:
        _rename(copy, names)
    return copy


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(n, n) for n in node.input]
    node.output[:] = [names.get(n, n) for n in node.output]
    for graph in subgraphs(node):
        own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        own |= {o for inner in graph.node for o in inner.output}
        outer = {k: v for k, v in names.items() if k not in own}
        for inner in graph.node:
            _rename(inner, outer)
        for value in graph.output:
            value.name = outer.get(value.name, value.name)
