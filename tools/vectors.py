"""ONNX's published node vectors on a backend: how many pass, by our rules and by ONNX's own, and every miss.

    python tools/vectors.py BACKEND [--option KEY=VALUE]... [--jobs N]

Before the backend, and without it, the catalogue's definitions are held against the published outputs both ways:
the definitions' float64 results by ONNX's tolerance, and the published outputs by our bounds, as though a backend had
returned them. A definition that is wrong cannot pass the first. docs/vectors.md has the results with every miss explained.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from conformance.backends import resolve
from conformance.casework import Ready
from conformance.cli import pairs
from conformance.goldens import GoldenCache, default_folder
from conformance.judge import judge
from conformance.pool import Launch, Outcome, Pool, Task
from conformance.run import verdict_of
from conformance.spec import Verdict
from conformance.vectors import Vector, collect, defined, ready, rounded, similar, unjudged


def share(passed: int, of: int) -> str:
    """``1650 of 1663 (99.22 %)``, rounded down."""
    return f"{passed} of {of}" + (f" ({int(10000 * passed / of) / 100:.2f} %)" if of else "")


def introduce(vectors: Sequence[Vector]) -> list[Vector]:
    """Say what there is and what has no verdict, by reason and name; returns those that have one."""
    apart: dict[str, list[str]] = {}
    for vector in vectors:
        apart.setdefault(unjudged(vector), []).append(vector.name)
    judged = [v for v in vectors if not unjudged(v)]
    print(f"ONNX {onnx.__version__}: {len(vectors)} node vectors, {len(judged)} with a verdict, of which")
    inside = sum(map(defined, judged))
    print(f"  {inside} by the catalogue's definition, {len(judged) - inside} by the published output")
    for reason, names in sorted(apart.items()):
        if reason:
            print(f"  no verdict for {len(names)}: {reason}")
            print(f"    {' '.join(names)}")
    return judged


def against_published(vectors: Sequence[Vector], cases: Mapping[str, Ready]) -> None:
    """Hold definitions and published outputs against each other."""
    unlike, refused = [], []
    inside = [v for v in vectors if defined(v)]
    for vector in inside:
        case = cases[vector.name]
        assert case.expected is not None
        (expected,) = case.expected
        with np.errstate(all="ignore"):  # the vectors overflow on purpose
            if not similar(vector, [rounded(e) for e in expected]):
                unlike.append(vector.name)
            judgement = judge(
                expected, list(vector.outputs), case.inputs[0] if case.inputs else (), case.attributes
            )
        if judgement.verdict is not Verdict.PASS:
            refused.append(f"{vector.name}: {judgement.verdict}: {judgement.message}")
    print(f"definitions in float64, by ONNX's tolerance: {share(len(inside) - len(unlike), len(inside))}")
    for line in unlike:
        print(f"  {line}")
    print(f"published outputs, by our bounds: {share(len(inside) - len(refused), len(inside))}")
    for line in refused:
        print(f"  {line}")


def run(vectors: Sequence[Vector], cases: Mapping[str, Ready], launch: Launch, jobs: int) -> None:
    """Run the vectors on a backend and print its figures and misses."""
    by_id = {case.case.id: (vector, case) for vector, case in ((v, cases[v.name]) for v in vectors)}

    def tasks() -> Iterator[Task]:
        for vector in vectors:
            case = cases[vector.name]
            yield Task(case.case.id, case.model, case.feeds)

    passed = {True: 0, False: 0}
    alike = {True: 0, False: 0}
    misses: dict[str, list[str]] = {}
    with Pool(launch, jobs=jobs) as pool:
        described = pool.describe()
        for outcome in pool.run(tasks()):
            vector, case = by_id[outcome.id]
            judgement = verdict_of(case, outcome)
            alike[defined(vector)] += _alike(vector, outcome)
            if judgement.verdict is Verdict.PASS:
                passed[defined(vector)] += 1
            else:
                misses.setdefault(str(judgement.verdict), []).append(f"{vector.name}: {_line(judgement.message)}")
    print(f"{described['name']} {described.get('version', '')}")
    for inside, what in ((True, "that the catalogue defines"), (False, "of which only outputs are published")):
        of = sum(defined(v) is inside for v in vectors)
        print(f"  vectors {what}: {share(passed[inside], of)} by our rules, {share(alike[inside], of)} by ONNX's")
    for verdict, lines in sorted(misses.items()):
        print(f"  {verdict}: {len(lines)}")
        for line in sorted(lines):
            print(f"    {line}")


def _line(message: str) -> str:
    return message.partition("\n")[0][:300]


def _alike(vector: Vector, outcome: Outcome) -> bool:
    with np.errstate(all="ignore"):
        return outcome.status == "ok" and similar(vector, outcome.outputs[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="ONNX's node vectors on a backend: pass shares and every miss.")
    parser.add_argument("backend", nargs="?", help="as for `conformance run`; none: the definitions only")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="for the backend")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    vectors = introduce(collect(default_folder()))
    cache = GoldenCache(default_folder())
    with tempfile.TemporaryDirectory() as name:
        cases = {v.name: ready(v, Path(name), cache) for v in vectors}
        against_published(vectors, cases)
        if arguments.backend:
            launch = Launch(resolve(arguments.backend), pairs(tuple(arguments.option)))
            run(vectors, cases, launch, arguments.jobs)


if __name__ == "__main__":
    main()
