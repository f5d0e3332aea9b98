"""Run folders made up for tests: a plan that meets every tier's size exactly, and verdicts on demand.

Nothing here is a result. ``plan()`` is big enough for Tier 3; ``run()`` gives every case a pass that was repeated
identically, except where told otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.runfolder import Result, RunFolder, parse_run
from conformance.spec import Verdict

FLOATS = ("float32", "float16", "bfloat16")
SUITE = {"version": "0.1.0", "digest": "d1", "name": "standard", "opset": 21, "seed": 0, "complete": True}
Document = dict[str, Any]


def name(index: int) -> str:
    """Operators are Op000, Op001, …: Core first, then Common."""
    return f"Op{index:03d}"


def case(
    ident: str,
    operator: str,
    dtype: str = "float32",
    source: str = "operator",
    tags: Iterable[str] = (),
    **more: Any,
) -> Document:
    return {
        "case": ident,
        "operator": operator,
        "domain": "",
        "opset": 21,
        "dtype": dtype,
        "source": source,
        "family": "arithmetic" if source in ("operator", "model") else source,
        "model": None,
        "tags": list(tags),
        "occurrences": {},
        **more,
    }


def operator(index: int, core: int, common: int, quantised: int) -> Document:
    return {
        "operator": name(index),
        "domain": "",
        "family": "arithmetic",
        "rule": "rounded",
        "core": index < core,
        "common": index < common,
        "weight": 0.01,
        "required_dtypes": [*FLOATS, "int64"],
        "quantised": index >= common and index < common + quantised,
        "extension": False,
    }


def model(index: int, common: int, domains: int) -> tuple[Document, list[Document]]:
    """A model of three float32 nodes of Common operators, and one in int64; a block; itself end to end."""
    ident = f"model{index:03d}"
    operators = [name((3 * index + k) % common) for k in range(3)]
    nodes = [(f"n{k}", op, f"{ident}/n{k}", "float32") for k, op in enumerate(operators)]
    nodes.append(("n3", name(0), f"{ident}/n3", "int64"))
    cases = [
        case(c, op, d, "model", model=ident, occurrences={ident: [k]}) for k, (_, op, c, d) in enumerate(nodes)
    ]
    cases.append(case(f"{ident}/block-n0", "+".join(operators[:2]), source="block", model=ident))
    tags = ("dynamic",) if index < 3 else ()
    cases.append(case(f"{ident}/end-to-end", "(model)", source="end-to-end", tags=tags, model=ident))
    entry = {
        "name": ident,
        "domain": f"domain {index % domains}",
        "nodes": [{"name": n, "operator": op, "case": c} for n, op, c, _ in nodes],
        "blocks": [f"{ident}/block-n0"],
        "end_to_end": f"{ident}/end-to-end",
        "parameters": 1000 + index,
    }
    return entry, cases


def plan(
    operators: int = 120, core: int = 35, common: int = 75, models: int = 100, domains: int = 4, quantised: int = 3
) -> Document:
    cases = []
    for index in range(operators):
        op = name(index)
        cases += [case(f"{op}/plain/{dtype}", op, dtype) for dtype in (*FLOATS, "int64")]
        cases.append(case(f"{op}/nan/float32", op, tags=["special"]))
        cases.append(case(f"{op}/batches/float32", op, tags=["dynamic"]))
    cases.append(case(f"{name(0)}/refused/float32", name(0), tags=["refuse"]))
    cases.append(case(f"{name(0)}/plain/float64", name(0), "float64"))
    built = [model(index, common, domains) for index in range(models)]
    return {
        "format": 1,
        "suite": dict(SUITE),
        "cases": cases + [c for _, group in built for c in group],
        "models": [entry for entry, _ in built],
        "operators": [operator(index, core, common, quantised) for index in range(operators)],
    }


def line(planned: Document, verdict: str = "pass", **more: Any) -> Document:
    keys = ("case", "operator", "domain", "opset", "dtype", "source", "model")
    repeat = "identical" if verdict == "pass" else "not-repeated"
    base = {"verdict": verdict, "message": "", "error": {}, "seconds": 0.001, "repeat": repeat}
    return {**{key: planned[key] for key in keys}, **base, **more}


def results(planned: Document, verdicts: Mapping[str, str] | None = None) -> list[Document]:
    """A line for each case; ``verdicts`` by case id, all others pass."""
    return [line(entry, (verdicts or {}).get(entry["case"], "pass")) for entry in planned["cases"]]


def header(planned: Document, **more: Any) -> Document:
    return {
        "format": 1,
        "suite": planned["suite"],
        "backend": {"spec": "acme", "name": "Acme", "version": "2.1", "device": "npu", "options": {}},
        "environment": {"platform": "Linux", "python": "3.11", "cpu": "x", "memory_gb": 16.0, "packages": {}},
        "command": ["conformance", "run", "acme"],
        "started": "2026-03-01T10:00:00+00:00",
        "finished": "2026-03-01T10:05:00+00:00",
        "seconds": 300.0,
        **more,
    }


def texts(planned: Document, lines: Iterable[Document], run: Document | None = None) -> tuple[str, str, str]:
    """The three files."""
    rows = "".join(json.dumps(row) + "\n" for row in lines)
    return json.dumps(run or header(planned)), json.dumps(planned), rows


_PASSED: list[tuple[Document, RunFolder]] = []  # parsed once for each plan: these are big, and tests are many


def _passed(planned: Document) -> RunFolder:
    for known, parsed in _PASSED:
        if known is planned:
            return parsed
    _PASSED.append((planned, parse_run(*texts(planned, results(planned)))))
    return _PASSED[-1][1]


def run(
    planned: Document, verdicts: Mapping[str, str] | None = None, lines: Iterable[Document] | None = None
) -> RunFolder:
    """A run of the plan, which must not be changed afterwards: all passes but for ``verdicts``, or these lines."""
    if lines is not None:
        return parse_run(*texts(planned, lines))
    passed = _passed(planned)
    other = {ident: Result(ident, Verdict(verdict)) for ident, verdict in (verdicts or {}).items()}
    return replace(passed, results={**passed.results, **other})


def write(folder: Path, planned: Document, lines: Iterable[Document], run: Document | None = None) -> Path:
    """The run folder on disk, without a certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in zip(("run.json", "plan.json", "results.jsonl"), texts(planned, lines, run), strict=True):
        (folder / file).write_text(text, encoding="utf-8")
    return folder
