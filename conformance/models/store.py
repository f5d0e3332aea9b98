"""The reference models as they are stored: graphs without weights, and the recipes to draw the weights from."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx

from ..draws import Draw, draw
from ..dtypes import from_onnx, lookup
from ..errors import UsageError

__all__ = [
    "Model",
    "ModelEntry",
    "TensorType",
    "feed",
    "load",
    "loosen",
    "manifest",
    "materialise",
    "names",
    "operator_sets",
    "weight",
]

WEIGHTS_KEY = "conformance.weights"
INPUTS_KEY = "conformance.inputs"
DYNAMIC_KEY = "conformance.dynamic"
INLINE_LIMIT = 64 << 20  # bytes of weights up to which a materialised model is one file
ALIGNMENT = 4096  # of a tensor in the external file: a page, so that a runtime can map it


@dataclass(frozen=True, slots=True)
class TensorType:
    """ONNX type name and static shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What the manifest says of a model.

    ``operators``: how many distinct ones it has. ``parameters``: elements of all weights. ``macs``:
    multiply-accumulates of its convolutions, matrix products and recurrences, for one run. ``digest``: BLAKE2b
    (16 bytes, hexadecimal) of the stored file, ``size`` its bytes. ``form``: the numbers that it computes in
    (float32, float16, int8, ...). ``state``: whether it takes and gives a cache or another state. ``dynamic``:
    whether it has axes whose length is known at run time only. ``suite``: the smallest suite that has it.
    """

    name: str
    domain: str
    source: str
    licence: str
    opset: int
    nodes: int
    operators: int
    parameters: int
    macs: int
    digest: str
    size: int
    form: str = "float32"
    state: bool = False
    dynamic: bool = False
    suite: str = "full"


@dataclass(frozen=True, slots=True)
class Model:
    """A stored model.

    ``proto``: the graph, in which every weight is a graph input (after the real ones) and every intermediate
    has a ``value_info`` with a static shape. ``weights`` and ``inputs``: recipes by tensor name, in the graph's
    order. ``types``: dtype and shape of every tensor, initializers included. ``axes``: of each input that has
    some, the names of its dynamic axes by position; ``sizes``: further lengths of these, by name, that the model
    is run at, beside those in ``types``.
    """

    name: str
    proto: onnx.ModelProto
    weights: Mapping[str, Draw]
    inputs: Mapping[str, Draw]
    types: Mapping[str, TensorType]
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    sizes: tuple[Mapping[str, int], ...] = ()


@functools.cache
def _folder_text(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((files(__package__) / name).read_text(encoding="utf-8"))
    return loaded


@functools.cache
def manifest() -> Mapping[str, ModelEntry]:
    """Every reference model by name, in the manifest's order."""
    return MappingProxyType({e["name"]: ModelEntry(**e) for e in _folder_text("manifest.json")["models"]})


def names() -> tuple[str, ...]:
    """The names of all reference models."""
    return tuple(manifest())


def operator_sets() -> Mapping[str, Any]:
    """The frozen sets: ``core`` and ``common`` (lists of names), ``weight`` (by name), ``digest`` of the three."""
    return MappingProxyType(_folder_text("operator_sets.json"))


def load(name: str) -> Model:
    """Read a reference model, without materialising anything.

    Raises `UsageError` for a name that the manifest does not have, and for a file that is not the one that the
    manifest describes (a damaged installation).
    """
    entry = manifest().get(name)
    if entry is None:
        raise UsageError(f"there is no reference model {name!r}; known are: {', '.join(names())}")
    content = (files(__package__) / "graphs" / f"{name}.onnx").read_bytes()
    if hashlib.blake2b(content, digest_size=16).hexdigest() != entry.digest:
        raise UsageError(f"the stored graph of {name} is not the one in the manifest: reinstall the suite")
    return parse(name, onnx.load_model_from_string(content))


def parse(name: str, proto: onnx.ModelProto) -> Model:
    """A stored model's record from its graph, whose metadata hold the recipes."""
    notes = {p.key: json.loads(p.value) for p in proto.metadata_props}
    return Model(
        name,
        proto,
        MappingProxyType({k: Draw.from_json(v) for k, v in notes[WEIGHTS_KEY].items()}),
        MappingProxyType({k: Draw.from_json(v) for k, v in notes[INPUTS_KEY].items()}),
        MappingProxyType(_types(proto.graph)),
        {k: {int(i): n for i, n in v.items()} for k, v in notes.get(DYNAMIC_KEY, {}).get("axes", {}).items()},
        tuple(notes.get(DYNAMIC_KEY, {}).get("sizes", ())),
    )


def _types(graph: onnx.GraphProto) -> dict[str, TensorType]:
    types = {i.name: TensorType(from_onnx(i.data_type).name, tuple(i.dims)) for i in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        shape = tuple(d.dim_value for d in tensor.shape.dim)
        types[value.name] = TensorType(from_onnx(tensor.elem_type).name, shape)
    return types


def weight(model: Model, tensor: str, seed: int = 0) -> np.ndarray:
    """A weight's values: the same bits on every machine. Raises ``KeyError`` for a tensor that is no weight."""
    if tensor not in model.weights:
        raise KeyError(f"{model.name} has no weight {tensor!r}")
    spec = model.types[tensor]
    return draw(model.weights[tensor], spec.shape, spec.dtype, f"{seed}/{model.name}/{tensor}")


def feed(model: Model, tensor: str, seed: int = 0, sizes: Mapping[str, int] | None = None) -> np.ndarray:
    """A real input's values: the same bits on every machine. Raises ``KeyError`` for one that is no input.

    ``sizes``: lengths of the dynamic axes by name, where they are not those in ``model.types``.
    """
    if tensor not in model.inputs:
        raise KeyError(f"{model.name} has no input {tensor!r}")
    spec, names = model.types[tensor], model.axes.get(tensor, {})
    shape = [sizes[names[i]] if sizes and i in names else d for i, d in enumerate(spec.shape)]
    return draw(model.inputs[tensor], shape, spec.dtype, f"{seed}/{model.name}/{tensor}")


def materialise(model: Model, path: str | Path, seed: int = 0) -> Path:
    """Write the model as an ordinary ONNX file with its weights as initializers.

    Weights of more than 64 MB in all go to ``<file name>.data`` beside it, tensor by tensor, so that memory
    holds one at a time. Returns the path. Raises ``OSError`` where the folder cannot be written.
    """
    path = Path(path)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    del proto.metadata_props[:]
    real = [value for value in proto.graph.input if value.name in model.inputs]
    del proto.graph.input[:]
    proto.graph.input.extend(real)
    total = sum(_bytes(model.types[name]) for name in model.weights)
    if total <= INLINE_LIMIT:
        for name in model.weights:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(weight(model, name, seed), name))
    else:
        beside = path.with_name(path.name + ".data")
        with beside.open("wb") as stream:
            for name in model.weights:
                stream.seek(-stream.tell() % ALIGNMENT, 1)
                proto.graph.initializer.append(_external(model, name, beside.name, stream.tell()))
                stream.write(np.ascontiguousarray(weight(model, name, seed)).data)
    path.write_bytes(proto.SerializeToString())
    return path


def loosen(model: Model, path: Path) -> Path:
    """Write a materialised model once more, with its dynamic axes by name and no other shape of what is computed; the
    weights stay in one file, which both use. Returns the path of the new file, beside the other."""
    proto = onnx.load(str(path), load_external_data=False)
    del proto.graph.value_info[:]
    for value in proto.graph.input:
        for position, name in model.axes.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[position].dim_param = name
    for value in proto.graph.output:
        for position in range(len(value.type.tensor_type.shape.dim)):
            value.type.tensor_type.shape.dim[position].dim_param = f"{value.name}_{position}"
    loose = path.with_name(f"{path.stem}-dynamic.onnx")
    loose.write_bytes(proto.SerializeToString())
    return loose


def _bytes(spec: TensorType) -> int:
    return int(np.prod(spec.shape, dtype=np.int64)) * lookup(spec.dtype).numpy.itemsize


def _external(model: Model, name: str, location: str, offset: int) -> onnx.TensorProto:
    spec = model.types[name]
    tensor = onnx.TensorProto(name=name, data_type=lookup(spec.dtype).onnx, dims=spec.shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    place = {"location": location, "offset": str(offset), "length": str(_bytes(spec))}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
    return tensor
