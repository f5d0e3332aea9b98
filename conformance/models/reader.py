"""Reading ONNX files that somebody else wrote: nothing in them is trusted, what is wrong is said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError

from ..errors import UsageError
from ..graphs import subgraphs
from ..operators import schemas

__all__ = ["read_model"]


def read_model(path: str | Path, *, undefined: bool = False) -> onnx.ModelProto:
    """Read a model with its external data.

    Raises `UsageError`, in one line that names the file, where it cannot be read, is not an ONNX model or a
    truncated one, keeps data outside its own folder, uses an operator or a domain that ONNX does not define (and
    the model does not either, as a function), or is refused by ``onnx.checker``. ``undefined``: the operators of
    domains that are not ONNX's may be unknown.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror}") from None
    try:
        model = onnx.ModelProto()
        model.ParseFromString(content)
    except DecodeError:
        raise UsageError(f"{path}: not an ONNX model, or a truncated one") from None
    del content
    if not model.ir_version or not model.HasField("graph"):
        raise UsageError(f"{path}: not an ONNX model, or a truncated one")
    if not model.opset_import:
        raise UsageError(f"{path}: imports no opset: not an ONNX model, or a truncated one")
    _check_operators(path, model, undefined)
    external = [t for t in _tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in external:
        _check_location(path, tensor)
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as e:
        reason = next((line.strip() for line in str(e).splitlines() if line.strip()), "no reason given")
        raise UsageError(f"{path}: not a valid ONNX model: {reason}") from None
    for tensor in external:
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return model


def _graphs(model: onnx.ModelProto) -> Iterator[tuple[list[onnx.NodeProto], list[onnx.TensorProto]]]:
    """Nodes and initializers of the main graph, of every function and of every subgraph."""
    todo: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while todo:
        graph = todo.pop()
        nodes = list(graph.node)
        initializers: list[onnx.TensorProto] = []
        if isinstance(graph, onnx.GraphProto):
            initializers = list(graph.initializer)
            for sparse in graph.sparse_initializer:
                initializers += [sparse.values, sparse.indices]
        yield nodes, initializers
        for node in nodes:
            todo += subgraphs(node)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for nodes, initializers in _graphs(model):
        yield from initializers
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield sparse.values
                    yield sparse.indices


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _check_operators(path: Path, model: onnx.ModelProto, undefined: bool) -> None:
    schemas.register()  # what is known must not depend on what the process has looked at before
    imported = {_domain(o.domain): o.version for o in model.opset_import}
    own = {(_domain(f.domain), f.name) for f in model.functions}
    defined = {schema.domain for schema in onnx.defs.get_all_schemas()}
    newest = onnx.defs.onnx_opset_version()
    if imported.get("", 1) > newest:
        raise UsageError(f"{path}: opset {imported['']} is newer than opset {newest}, the newest known here")
    for nodes, _ in _graphs(model):
        for node in nodes:
            domain = _domain(node.domain)
            foreign = domain and not domain.startswith("ai.onnx")
            if (domain, node.op_type) in own or (undefined and foreign):
                continue
            where = f"(node {node.name!r})" if node.name else f"(the node that makes {list(node.output)})"
            if domain not in defined:
                raise UsageError(f"{path}: unknown domain {domain!r} of operator {node.op_type!r} {where}")
            try:
                onnx.defs.get_schema(node.op_type, imported.get(domain, 1), domain)
            except onnx.defs.SchemaError:
                at = f"opset {imported.get(domain, 1)}" + (f" of {domain}" if domain else "")
                raise UsageError(f"{path}: unknown operator {node.op_type!r} in {at} {where}") from None


def _check_location(path: Path, tensor: onnx.TensorProto) -> None:
    """The data must lie in the model's folder, whatever the machine that reads it; links are followed first."""
    place = {entry.key: entry.value for entry in tensor.external_data}
    location = place.get("location", "")
    about = f"{path}: external data of {tensor.name!r}"
    for pure in (PurePosixPath(location), PureWindowsPath(location)):
        if not location or pure.is_absolute() or pure.drive or ".." in pure.parts:
            raise UsageError(f"{about} is outside the model's folder: {location!r}")
    folder = path.parent.resolve()
    file = (folder / location).resolve()
    if not file.is_relative_to(folder):
        raise UsageError(f"{about} is outside the model's folder: {location!r}")
    if not file.is_file():
        raise UsageError(f"{about} is missing: {location!r}")
    try:
        offset, length = int(place.get("offset", 0)), int(place.get("length", 0))
    except ValueError:
        raise UsageError(f"{about} has an offset or a length that is no number") from None
    if offset < 0 or length < 0 or offset + length > file.stat().st_size:
        raise UsageError(f"{about} reaches beyond the end of {location!r}")
