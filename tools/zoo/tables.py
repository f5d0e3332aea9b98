"""What is derived from all stored graphs together: the manifest, the operator sets, the page about the models."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import onnx

from conformance.cuts import Contents, Piece, Reference, blocks_of, opened, piece
from conformance.models.store import ModelEntry, parse

from .core import CORE
from .measure import Layer, Measured

__all__ = ["derive_tables", "digest_of", "operator_table", "read_manifest", "write_tables"]

HEALTH = Path("tools/zoo/health")
MANIFEST = Path("conformance/models/manifest.json")
SETS = Path("conformance/models/operator_sets.json")
PAGE = Path("docs/models.md")


def digest_of(content: bytes) -> str:
    """BLAKE2b, 16 bytes, hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return loaded


def _write(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(root: Path) -> list[dict[str, Any]]:
    """The entries as they stand in the manifest."""
    return list(_read(root / MANIFEST).get("models", []))


def write_tables(
    root: Path, order: Iterable[str], entry: ModelEntry, measured: Measured, record: Mapping[str, Any]
) -> None:
    """Put one model's entry into the manifest and derive the rest again from all stored graphs. ``record``: what
    the manifest says of its export."""
    entries = {e["name"]: e for e in read_manifest(root)} | {entry.name: asdict(entry)}
    entries = {name: entries[name] for name in order if name in entries}
    exports = _read(root / MANIFEST).get("exports", {}) | {entry.name: dict(record)}
    exports = {name: exports[name] for name in entries}
    _write(root / MANIFEST, {"format": 1, "models": list(entries.values()), "exports": exports})
    _write_layers(root / HEALTH / f"{entry.name}.csv", measured.layers)
    derive_tables(root)


def _write_layers(path: Path, layers: Iterable[Layer]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        stream.write("layer,mean,std,zeros,saturated\n")
        for x in layers:
            stream.write(f"{x.node},{x.mean:.3g},{x.std:.3g},{x.zeros:.3g},{x.saturated:.3g}\n")


def derive_tables(root: Path) -> None:
    """Write the operator sets and the page about the models again, from the manifest and the stored graphs."""
    stored = _read(root / MANIFEST)
    protos = {
        e["name"]: onnx.load(root / "conformance/models/graphs" / f"{e['name']}.onnx") for e in stored["models"]
    }
    counts = {n: Counter(_label(node) for node in p.graph.node) for n, p in protos.items()}
    sets = operator_table(counts)
    _write(root / SETS, sets)
    cases = _cases(protos, {e["name"] for e in stored["models"] if e["suite"] == "standard"})
    (root / PAGE).write_text(_page(stored["models"], stored["exports"], sets, counts, cases), encoding="utf-8")


def _label(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _cases(protos: Mapping[str, onnx.ModelProto], exact: Collection[str]) -> dict[str, tuple[int, int]]:
    """For each model the nodes and the blocks that are like none before, in the manifest's order. ``exact``: the models
    whose pieces are compared by every bit, as the plan does it."""
    contents, seen = Contents(alike=True), set[str]()

    def is_new(reference: Reference, part: Piece) -> bool:
        digest = contents.of(reference, part, exactly=reference.name in exact)
        new = digest not in seen
        seen.add(digest)
        return new

    found = {}
    for name, proto in protos.items():
        reference = opened(parse(name, proto))
        nodes = sum(is_new(reference, piece(reference, [p])) for p in range(len(reference.nodes)))
        found[name] = (nodes, sum(is_new(reference, part) for part in blocks_of(reference).values()))
    return found


def operator_table(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Core, Common and the weight of every operator of ONNX's own domain that occurs: the mean over the models of its
    share of the model's nodes (computed exactly, stored to 12 digits). ``digest`` covers the three."""
    weight: dict[str, Fraction] = {}
    models: Counter[str] = Counter()
    for count in counts.values():
        nodes = sum(count.values())
        for operator, times in count.items():
            if "." in operator:
                continue  # of a vendor's domain: in no tier
            weight[operator] = weight.get(operator, Fraction(0)) + Fraction(times, nodes * len(counts))
            models[operator] += 1
    table = {
        "core": sorted(CORE),
        "common": sorted(o for o, times in models.items() if times >= 2),
        "weight": {o: float(f"{float(w):.12g}") for o, w in sorted(weight.items())},
    }
    content = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    return {"format": 1, "digest": digest_of(content), **table}


HEAD = """# Reference models

<!-- Written by tools/build_models.py. -->

Graphs that people really run, at their real sizes, stored without weights
([why](adr/0005-models-without-weights.md)). Weights are drawn from recipes that were fitted to the framework's own
initialisation, the same bits on every machine; nothing is downloaded. `make zoo MODEL=NAME` exports one again, in an
environment of its own; with the versions that the manifest names the digest is the same.

*Cases*: nodes and blocks that are like none in a model above; one that stands in many models runs once.
*Form*: the numbers that the graph computes in. *S*: takes and gives a cache or another state. *D*: runs at several
lengths with one prepared model. *Suite*: the smallest that has the model; `full` has all, and `--model` takes any
([why](adr/0015-which-models-a-suite-has.md)).

| model | domain | suite | form | | opset | nodes | operators | cases | parameters | GFLOP | source | licence |
|---|---|---|---|---|--:|--:|--:|--:|--:|--:|---|---|
"""


def _page(
    entries: list[dict[str, Any]],
    exports: Mapping[str, Any],
    sets: Mapping[str, Any],
    counts: Mapping[str, Mapping[str, int]],
    cases: Mapping[str, tuple[int, int]],
) -> str:
    lines = [HEAD.rstrip("\n")]
    for e in entries:
        marks = " ".join(mark for key, mark in (("state", "S"), ("dynamic", "D")) if e[key])
        lines.append(
            f"| {e['name']} | {e['domain']} | {e['suite']} | {e['form']} | {marks} | {e['opset']} | {e['nodes']} "
            f"| {e['operators']} | {sum(cases[e['name']])} | {e['parameters'] / 1e6:.1f} M "
            f"| {2 * e['macs'] / 1e9:.2f} | {e['source']} | {e['licence']} |"
        )
    total = {k: sum(e[k] for e in entries) for k in ("nodes", "parameters", "macs", "size", "state", "dynamic")}
    domains = Counter(e["domain"] for e in entries)
    forms = Counter(e["form"] for e in entries)
    operators = {o for c in counts.values() for o in c}
    nodes, blocks = (sum(found) for found in zip(*cases.values(), strict=True))
    lines += [
        f"| **{len(entries)} models** | {len(domains)} domains | | | | | {total['nodes']} | {len(operators)} "
        f"| {nodes + blocks} | {total['parameters'] / 1e6:.0f} M | {2 * total['macs'] / 1e9:.0f} "
        f"| {total['size'] / 1e6:.1f} MB stored | |",
        "",
        f"{total['nodes']} nodes become {nodes} cases of single operators, and {blocks} blocks. {total['state']} models",
        f"have a state, {total['dynamic']} dynamic axes. By form: {', '.join(f'{n} {f}' for f, n in forms.most_common())}.",
        f"By domain: {', '.join(f'{n} {d}' for d, n in domains.most_common())}.",
        "",
        "Shapes are static where a model is not marked D, and the batch is 1, but for the recommenders. A text",
        "generator is one step with a cache of keys and values: one new token after 64, of which 5 are padding.",
        "",
        "## Health",
        "",
        "As measured when they were exported: the standard deviation of the first output, the largest magnitude of any",
        "intermediate (float16 ends at 65504), the smallest deviation that a layer has, the largest shares of zeros and",
        "of saturated elements. `tools/zoo/health/` has the figures of every layer.",
        "",
        "| model | first output | largest | smallest deviation | zeros | saturated | |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for name, r in exports.items():
        figures = " | ".join(
            f"{r[key]:.3g}" for key in ("output_std", "largest", "least_std", "zeros", "saturated")
        )
        lines.append(f"| {name} | {figures} | {r.get('wild', '')} |")
    lines += ["", CORE_TEXT.strip(), "", "| operator | set | models | share of nodes |", "|---|---|--:|--:|"]
    in_models = {o: sum(o in c for c in counts.values()) for o in operators}
    weights = sets["weight"]
    for operator in sorted(operators, key=lambda o: (-weights.get(o, 0.0), o)):
        names = [s for s in ("core", "common") if operator in sets[s]]
        share = f"{weights[operator] * 100:.2f} %" if operator in weights else ""
        lines.append(f"| {operator} | {', '.join(names)} | {in_models[operator]} | {share} |")
    return "\n".join(lines) + "\n"


CORE_TEXT = """
## Operator sets

An operator's weight is the mean, over all models, of its share of the model's nodes. **Common** is every operator of ONNX's
own domain that occurs in two or more of them. **Core** is a frozen list of 35: what three or more of the 25 models used that
there were when it was frozen, except Sin and Cos (rotary embeddings alone), with Split in their place; `tools/zoo/core.py`
has it. All are in `conformance/models/operator_sets.json`, with a digest.
"""
