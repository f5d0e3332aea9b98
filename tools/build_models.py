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
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from zoo import references
from zoo.initialise import enliven
from zoo.measure import macs, measure
from zoo.normalise import normalise, store_types, strip_weights
from zoo.reference import Built, Reference
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
        entry, extra = build(known[name])
        unhealthy += bool(extra["complaints"])
        write_tables(ROOT, list(known), entry, {**extra, "versions": versions})
        print(
            f"{name}: {entry.nodes} nodes, {entry.operators} operators, "
            f"{entry.parameters / 1e6:.1f} M parameters, {entry.macs / 1e9:.2f} GMAC, {entry.size / 1e3:.0f} kB, "
            f"output std {extra['output_std']:.3g}, "
            f"largest {extra['largest']:.3g}, {time.monotonic() - start:.0f} s"
        )
        for complaint in extra["complaints"]:
            print(f"  {complaint}")
    stored = read_manifest(ROOT)
    print(
        f"{len(stored)} models, {sum(e['parameters'] for e in stored) / 1e6:.0f} M parameters, "
        f"{sum(e['macs'] for e in stored) / 1e9:.1f} GMAC, {sum(e['size'] for e in stored) / 1e6:.2f} MB"
    )
    return 1 if unhealthy else 0


def build(reference: Reference) -> tuple[ModelEntry, dict[str, object]]:
    """Export, normalise, strip, verify and write one model; its entry and what was measured."""
    torch.manual_seed(0)
    built = reference.build()
    built.module.eval()
    enliven(built.module, built.gains)
    proto = normalise(export(reference, built), reference.opset)
    names = {n.removeprefix(PREFIX) for n in (*built.module.state_dict(), *dict(built.module.named_parameters()))}
    strip_weights(proto, names, {k: v.draw for k, v in built.inputs.items()})
    with tempfile.TemporaryDirectory() as scratch:
        model = parse(reference.name, proto)
        file = materialise(model, Path(scratch) / f"{reference.name}.onnx")
        measured = measure(model, file)
        store_types(proto, measured.types)
    onnx.checker.check_model(proto, full_check=True)
    model = parse(reference.name, proto)
    content = proto.SerializeToString(deterministic=True)
    (FOLDER / "graphs").mkdir(exist_ok=True)
    (FOLDER / "graphs" / f"{reference.name}.onnx").write_bytes(content)
    return entry_of(reference, model, content), {
        "output_std": next(iter(measured.output_std.values())),
        "largest": measured.largest,
        "complaints": measured.complaints,
    }


def export(reference: Reference, built: Built) -> onnx.ModelProto:
    """What the framework's own exporter makes of the module, with the wrapper's prefix taken off the names."""
    examples = tuple(
        torch.from_numpy(np.array(draw(f.draw, f.shape, f.dtype, f"example/{name}")))
        for name, f in built.inputs.items()
    )
    program = torch.onnx.export(
        built.module,
        examples,
        input_names=list(built.inputs),
        output_names=list(built.outputs),
        opset_version=reference.opset,
        dynamo=True,
        optimize=reference.fold,
        verbose=False,
    )
    if not reference.fold:
        from onnxscript import optimizer

        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    proto = program.model_proto
    for tensor in proto.graph.initializer:
        tensor.name = tensor.name.removeprefix(PREFIX)
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = name.removeprefix(PREFIX)
    return proto


def entry_of(reference: Reference, model: Model, content: bytes) -> ModelEntry:
    graph = model.proto.graph
    return ModelEntry(
        name=reference.name,
        domain=reference.domain,
        source=reference.source,
        licence=reference.licence,
        opset=reference.opset,
        nodes=len(graph.node),
        operators=len({n.op_type for n in graph.node}),
        parameters=sum(int(np.prod(model.types[w].shape)) for w, d in model.weights.items() if d.kind != "full"),
        macs=macs(model),
        digest=digest_of(content),
        size=len(content),
    )


if __name__ == "__main__":
    sys.exit(main())
