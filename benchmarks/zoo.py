"""The whole zoo on a backend: every reference model op by op, in blocks and from end to end.

    python benchmarks/zoo.py [--backend NAME] [--jobs N] [--model NAME ...] [--output FOLDER] [--resume] [--pieces]
    python benchmarks/zoo.py --whole --output FOLDER [--backend NAME] [--model NAME ...]

Node cases that models share run once, with two runs of each case, as in the standard suite. Prints, for each model, what
came of its nodes, its blocks and its whole runs, and how far the whole run is off in units of the bound; then the wall
time and the largest memory of all processes together (their proportional set size, so that what they share counts
once). References come from the cache where they are there: run it twice for the figures with warm references.

--pieces leaves the runs from end to end out: op by op and in blocks alone, which is what the goals are for.

--whole runs the models from end to end alone, each into a folder of its own, the cheapest first; a model whose folder is
there is not run again. It prints each one's verdict, units, wall seconds and the parent's largest memory so far.

Goals on two cores, references warm: under 15 minutes; under 8 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from conformance import models
from conformance.backends import resolve
from conformance.goldens import default_folder
from conformance.grade import grade
from conformance.plan import Plan, Selection, build_plan
from conformance.pool import Launch
from conformance.run import Options, execute
from conformance.runfolder import RunFolder, read_run
from conformance.spec import Source

EVERY = 0.5  # seconds between two looks at the memory
PATIENCE = 600.0  # seconds for a whole run, times ten


def children(process: int) -> list[int]:
    """A process and all that came from it, by their ids."""
    found = [process]
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # gone by now
            found += [p for child in tasks.read_text().split() for p in children(int(child))]
    return found


def memory(process: int) -> int:
    """Bytes that a process and its children take, with each shared page shared out among those that have it."""
    total = 0
    for one in children(process):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def watched(work: Callable[[], None]) -> tuple[float, int]:
    """Wall seconds of some work, and the largest memory on the way, in bytes, of this process and its children."""
    started = time.perf_counter()
    peak = 0
    done = threading.Event()

    def look() -> None:
        nonlocal peak
        while not done.wait(EVERY):
            peak = max(peak, memory(os.getpid()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return time.perf_counter() - started, peak


def table(run: RunFolder) -> None:
    """What came of each model."""
    print(f"{'model':<30}{'nodes':>13}{'blocks':>11}  {'end to end':<12}{'units':>7}")
    for model in run.plan.models:
        nodes = [run.results[node.case].passed for node in model.nodes]
        blocks = [run.results[case].passed for case in model.blocks]
        whole = run.results.get(model.end_to_end or "")
        units = whole.error.get("units") if whole else None
        far = f"{units:>7.2f}" if isinstance(units, float) else f"{'—':>7}"
        done = f"{sum(nodes)}/{len(nodes)}"
        came = str(whole.verdict) if whole else "—"
        print(f"{model.name:<30}{done:>13}{f'{sum(blocks)}/{len(blocks)}':>11}  {came:<12}{far}")


def ran(plan: Plan, backend: str, folder: Path, options: Options) -> None:
    """Run a plan, and leave the certificate that tells a whole run folder."""
    execute(plan, Launch(resolve(backend)), backend, folder, options)
    (folder / "certificate.json").write_text(json.dumps(grade(read_run(folder)).as_json()), encoding="utf-8")


def wholes(backend: str, names: Sequence[str], folder: Path) -> None:
    """Run the models from end to end, one after the other."""
    entries = sorted((models.manifest()[name] for name in names), key=lambda e: e.macs + 40 * e.parameters)
    passed = total = 0
    for entry in entries:
        place, started = folder / entry.name, time.perf_counter()
        if not (place / "certificate.json").exists():
            plan = build_plan(Selection(models=(entry.name,)))
            plan = replace(plan, cases=tuple(c for c in plan.cases if c.source is Source.END_TO_END))
            ran(plan, backend, place, Options(resume=place.exists(), cache=default_folder(), timeout=PATIENCE))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        spent = time.perf_counter() - started
        for case, result in read_run(place).results.items():
            passed, total = passed + result.passed, total + 1
            units = result.error.get("units")
            far = f"{units:>10.2g}" if isinstance(units, float) else f"{'—':>10}"
            print(f"{case:<44}{result.verdict:<12}{far}{spent:>8.1f} s{memory:>7.2f} GB", flush=True)
    print(f"whole runs that pass: {passed} of {total}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--model", action="append", help="only this one; repeatable")
    parser.add_argument("--output", type=Path, help="keep the run folder here")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run in --output")
    parser.add_argument("--pieces", action="store_true", help="without the runs from end to end")
    parser.add_argument("--whole", action="store_true", help="the runs from end to end alone, into --output")
    options = parser.parse_args()
    if options.whole:
        if options.output is None:
            parser.error("--whole wants an --output")
        wholes(options.backend, options.model or models.names(), options.output)
        return
    with tempfile.TemporaryDirectory(prefix="conformance-zoo-") as scratch:
        folder = options.output or Path(scratch) / "run"
        plan = build_plan(Selection(models=tuple(options.model or models.names())))
        if options.pieces:
            plan = replace(plan, cases=tuple(c for c in plan.cases if c.source is not Source.END_TO_END))
        how = Options(jobs=options.jobs, resume=options.resume, cache=default_folder())
        seconds, peak = watched(lambda: ran(plan, options.backend, folder, how))
        run = read_run(folder)
        table(run)
        verdicts = Counter(str(result.verdict) for result in run.results.values())
        whole = [run.results[c].passed for c, p in run.plan.cases.items() if p.source is Source.END_TO_END]
        nodes = sum(len(model.nodes) for model in run.plan.models)
        print(f"\n{len(run.plan.models)} models, {nodes} nodes, {len(run.plan.cases)} cases: {dict(verdicts)}")
        if not options.pieces:
            print(f"whole runs that pass: {sum(whole)} of {len(whole)}")
        failing = [case for case, result in run.results.items() if not result.passed]
        for case in failing:
            print(f"  {case}: {run.results[case].verdict}: {run.results[case].message[:200]}")
        where = f"{os.cpu_count()} cores, {options.jobs} jobs"
        print(f"{seconds / 60:.1f} minutes, {peak / 1e9:.2f} GB at most ({where})")


if __name__ == "__main__":
    main()
