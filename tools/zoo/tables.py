"""What is derived from all stored graphs together: the manifest, the operator sets, the page about the models."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import onnx

from conformance.models.store import ModelEntry

from .core import CORE

__all__ = ["digest_of", "operator_table", "read_manifest", "write_tables"]

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


def write_tables(root: Path, order: Iterable[str], entry: ModelEntry, measured: Mapping[str, Any]) -> None:
    """Put one model's entry into the manifest and derive the rest again from all stored graphs."""
    entries = {e["name"]: e for e in read_manifest(root)} | {entry.name: asdict(entry)}
    entries = {name: entries[name] for name in order if name in entries}
    exports = _read(root / MANIFEST).get("exports", {}) | {entry.name: _export_record(measured)}
    exports = {name: exports[name] for name in entries}
    _write(root / MANIFEST, {"format": 1, "models": list(entries.values()), "exports": exports})
    graphs = {n: onnx.load(root / "conformance/models/graphs" / f"{n}.onnx").graph for n in entries}
    counts = {n: Counter(node.op_type for node in g.node) for n, g in graphs.items()}
    sets = operator_table(counts)
    _write(root / SETS, sets)
    (root / PAGE).write_text(_page(list(entries.values()), exports, sets, counts), encoding="utf-8")


def _export_record(measured: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "versions": measured["versions"],
        "output_std": float(f"{measured['output_std']:.3g}"),
        "largest": float(f"{measured['largest']:.3g}"),
    }


def operator_table(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Core, Common and the weight of every operator that occurs: the mean over the models of its share of the
    model's nodes (computed exactly, stored to 12 digits). ``digest`` covers the three."""
    weight: dict[str, Fraction] = {}
    models: Counter[str] = Counter()
    for count in counts.values():
        nodes = sum(count.values())
        for operator, times in count.items():
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
initialisation, the same bits on every machine; nothing is downloaded.

| model | domain | opset | nodes | operators | parameters | multiply-adds | source | licence |
|---|---|--:|--:|--:|--:|--:|---|---|
"""


def _page(
    entries: list[dict[str, Any]],
    exports: Mapping[str, Any],
    sets: Mapping[str, Any],
    counts: Mapping[str, Mapping[str, int]],
) -> str:
    lines = [HEAD.rstrip("\n")]
    for e in entries:
        lines.append(
            f"| {e['name']} | {e['domain']} | {e['opset']} | {e['nodes']} | {e['operators']} "
            f"| {e['parameters'] / 1e6:.1f} M | {e['macs'] / 1e9:.2f} G | {e['source']} | {e['licence']} |"
        )
    total = {k: sum(e[k] for e in entries) for k in ("nodes", "parameters", "macs", "size")}
    domains = Counter(e["domain"] for e in entries)
    lines += [
        f"| **{len(entries)} models** | {len(domains)} domains | | {total['nodes']} | {len(sets['weight'])} "
        f"| {total['parameters'] / 1e6:.0f} M | {total['macs'] / 1e9:.1f} G "
        f"| {total['size'] / 1e6:.1f} MB stored | |",
        "",
        "Every shape is static and the batch is 1, but for the recommenders. A text generator is one step with a",
        "cache of keys and values: one new token after 64, of which 5 are padding.",
        "",
        "Health of the networks in float32, as measured when they were exported: the standard deviation of the",
        "first output, and the largest magnitude of any intermediate.",
        "",
        "| model | first output | largest intermediate |",
        "|---|--:|--:|",
    ]
    lines += [f"| {n} | {r['output_std']:.3g} | {r['largest']:.3g} |" for n, r in exports.items()]
    lines += ["", CORE_TEXT.strip(), "", "| operator | set | models | share of nodes |", "|---|---|--:|--:|"]
    in_models = {o: sum(o in c for c in counts.values()) for o in sets["weight"]}
    for operator, share in sorted(sets["weight"].items(), key=lambda item: -item[1]):
        names = [s for s in ("core", "common") if operator in sets[s]]
        lines.append(f"| {operator} | {', '.join(names)} | {in_models[operator]} | {share * 100:.2f} % |")
    return "\n".join(lines) + "\n"


CORE_TEXT = """
## Operator sets

An operator's weight is the mean, over the models, of its share of the model's nodes. **Common** is every operator
that occurs in two or more models. **Core** is a frozen list of 35: what three or more of the 25 models used when it
was frozen, except Sin and Cos (rotary embeddings alone), with Split in their place; `tools/zoo/core.py` has it. All
are in `conformance/models/operator_sets.json`, with a digest.
"""
