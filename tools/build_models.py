"""Export the reference models and write them down without their weights.

    python tools/build_models.py            all of them
    python tools/build_models.py gpt2 gcn   these; the manifest and the tables are rewritten for all

Needs torch, transformers, diffusers, onnxscript and onnxruntime; the suite itself needs none of them. Nothing is
downloaded: the architectures come from configurations, the weights from seeded initialisation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from zoo import references
from zoo.forms import HALF, REWRITES, halve, to_nibbles
from zoo.initialise import enliven
from zoo.measure import Measured, macs, measure
from zoo.normalise import normalise, note, store_types, strip_weights
from zoo.reference import Call, Feed, Reference
from zoo.tables import digest_of, read_manifest, write_tables

from conformance.draws import draw
from conformance.models.store import Model, ModelEntry, materialise, parse

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "conformance" / "models"
PACKAGES = ("torch", "transformers", "diffusers", "onnxscript", "onnx-ir", "onnx", "onnxruntime")
PREFIX = "net."  # of the wrapper that adapts a framework's model to plain tensors


def main(arguments: Sequence[str] | None = None) -> int:
    known = {r.name: r for r in references()}
    parser = argparse.ArgumentParser(description="Export the reference models without their weights.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    chosen = parser.parse_args(arguments).names or list(known)
    if unknown := [n for n in chosen if n not in known]:
        parser.error(f"unknown model {unknown[0]!r}; known are: {', '.join(known)}")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    versions = {p: importlib.metadata.version(p) for p in PACKAGES}
    unhealthy = 0
    for name in chosen:
        start = time.monotonic()
        entry, measured = build(known[name])
        unhealthy += bool(measured.complaints) and not known[name].wild
        record = export_record(known[name], measured, versions)
        write_tables(ROOT, list(known), entry, measured, record)
        print(
            f"{name}: {entry.nodes} nodes, {entry.operators} operators, "
            f"{entry.parameters / 1e6:.1f} M parameters, {entry.macs / 1e9:.2f} GMAC, {entry.size / 1e3:.0f} kB, "
            f"output std {record['output_std']:.3g}, "
            f"largest {measured.largest:.3g}, {time.monotonic() - start:.0f} s"
        )
        for complaint in measured.complaints:
            print(f"  {complaint}")
    stored = read_manifest(ROOT)
    print(
        f"{len(stored)} models, {sum(e['parameters'] for e in stored) / 1e6:.0f} M parameters, "
        f"{sum(e['macs'] for e in stored) / 1e9:.1f} GMAC, {sum(e['size'] for e in stored) / 1e6:.2f} MB"
    )
    return 1 if unhealthy else 0


def export_record(reference: Reference, measured: Measured, versions: Mapping[str, str]) -> dict[str, Any]:
    """What the manifest says of an export: the versions that made it, and the health of the network."""
    figures = {
        "output_std": next(iter(measured.output_std.values())),
        "largest": measured.largest,
        "least_std": min((x.std for x in measured.layers), default=0.0),
        "zeros": max((x.zeros for x in measured.layers), default=0.0),
        "saturated": max((x.saturated for x in measured.layers), default=0.0),
    }
    record: dict[str, Any] = {"versions": versions, **{k: float(f"{v:.3g}") for k, v in figures.items()}}
    return {**record, "wild": reference.wild} if reference.wild else record


def build(reference: Reference) -> tuple[ModelEntry, Measured]:
    """Export, normalise, strip, verify and write one model; its entry and what was measured."""
    torch.manual_seed(0)
    built = reference.build()
    built.module.eval()
    enliven(built.module, built.gains)
    inputs = built.inputs
    if reference.form == HALF:
        inputs = halve(built.module, inputs)
    proto = normalise(export(reference, built.module, inputs, built.outputs), reference.opset)
    names = {n.removeprefix(PREFIX) for n in (*built.module.state_dict(), *dict(built.module.named_parameters()))}
    del built
    draws = {k: v.draw for k, v in inputs.items()}
    strip_weights(proto, names, draws)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{reference.name}.onnx"
        if rewrite := REWRITES.get(reference.form):
            plain = parse(reference.name, proto)
            proto = normalise(rewrite(plain, materialise(plain, file)), reference.opset)
            strip_weights(proto, names, draws)
        elif reference.form == "int4":
            note(proto, draws, to_nibbles(proto, dict(parse(reference.name, proto).weights)))
        if reference.dynamic:
            note(proto, draws, parse(reference.name, proto).weights, asdict(reference.dynamic))
        model = parse(reference.name, proto)
        measured = measure(model, materialise(model, file))
        store_types(proto, measured.types)
    onnx.checker.check_model(proto, full_check=True)
    model = parse(reference.name, proto)
    content = proto.SerializeToString(deterministic=True)
    (FOLDER / "graphs").mkdir(exist_ok=True)
    (FOLDER / "graphs" / f"{reference.name}.onnx").write_bytes(content)
    return entry_of(reference, model, content), measured


def export(
    reference: Reference, module: nn.Module, inputs: Mapping[str, Feed], outputs: Sequence[str]
) -> onnx.ModelProto:
    """What the framework's own exporter makes of the module, with the wrapper's prefix taken off the names."""
    examples = tuple(
        torch.from_numpy(np.array(draw(f.draw, f.shape, f.dtype, f"example/{name}"))) for name, f in inputs.items()
    )
    shapes: Any = None
    if reference.dynamic:
        shapes = tuple(dict(reference.dynamic.axes.get(name, {})) for name in inputs)
        shapes = (shapes,) if isinstance(module, Call) else shapes  # which takes them all in one variadic argument
    program = torch.onnx.export(
        module,
        examples,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=shapes,
        opset_version=reference.opset,
        dynamo=True,
        optimize=reference.fold,
        verbose=False,
    )
    if not reference.fold:
        from onnxscript import optimizer

        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    _open_thin(program.model.graph)
    proto = program.model_proto
    for value in proto.graph.input if reference.dynamic else ():
        for dim, length in zip(value.type.tensor_type.shape.dim, inputs[value.name].shape, strict=True):
            dim.dim_value = length
    for value in proto.graph.output if reference.dynamic else ():
        value.type.tensor_type.ClearField("shape")
    for tensor in (*proto.graph.initializer, *proto.graph.input):
        tensor.name = tensor.name.removeprefix(PREFIX)
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = name.removeprefix(PREFIX)
    return proto


def _open_thin(graph: Any) -> None:
    """Turn weights that are not held into inputs of the graph, before it is written down with its data."""
    for name, value in list(graph.initializers.items()):
        if value.const_value.size > 1 and not any(value.const_value.numpy().strides):
            del graph.initializers[name]
            value.const_value = None
            graph.inputs.append(value)


def entry_of(reference: Reference, model: Model, content: bytes) -> ModelEntry:
    graph = model.proto.graph
    return ModelEntry(
        name=reference.name,
        domain=reference.domain,
        source=reference.source,
        licence=reference.licence,
        opset=reference.opset,
        nodes=len(graph.node),
        operators=len({(n.domain, n.op_type) for n in graph.node}),
        parameters=parameters(model),
        macs=macs(model),
        digest=digest_of(content),
        size=len(content),
        form=reference.form,
        state=reference.state,
        dynamic=reference.dynamic is not None,
        suite=reference.suite,
    )


def parameters(model: Model) -> int:
    """Numbers in the weights that are drawn; bytes of 4-bit weights hold two."""
    packed = {n.input[1] for n in model.proto.graph.node if n.op_type == "MatMulNBits"}
    drawn = [w for w, recipe in model.weights.items() if recipe.kind != "full"]
    return sum(int(np.prod(model.types[w].shape)) * (2 if w in packed else 1) for w in drawn)


if __name__ == "__main__":
    sys.exit(main())
