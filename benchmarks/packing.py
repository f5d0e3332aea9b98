"""How much sooner a backend with a slow compiler is through with several cases in one model than with one in each.

    python benchmarks/packing.py BACKEND RUN [--packs N]

RUN is a run folder of that backend. Its operators' cases that passed there go through the backend twice: one in a model,
which is the peer, and up to N in a model. What does not pass in a pack runs again alone, so that a failing case gains
nothing by packing: the ratio holds for what works. Seconds are those of the whole run, from the start of the
process to the last verdict, and of these what compiling and computing took. Goal: at least 8 times with Sophgo's simulator.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from conformance.backends import resolve
from conformance.environments import place_of
from conformance.goldens import default_folder
from conformance.plan import Plan, Selection, build_plan
from conformance.pool import Launch
from conformance.run import Options, execute
from conformance.runfolder import read_run
from conformance.spec import Source, Verdict


def timed(backend: str, plan: Plan, packs: int) -> tuple[int, float, float]:
    """How many cases pass, the seconds of the run, and those in which the backend compiled and computed."""
    python, variables = place_of(backend, None)
    launch = Launch(resolve(backend), {"packs": str(packs)}, python, env=variables)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        tally = execute(plan, launch, backend, run, Options(timeout=600.0, cache=default_folder()))
        records = [json.loads(line) for line in (run / "results.jsonl").read_text("utf-8").splitlines()]
        seconds = json.loads((run / "run.json").read_text("utf-8"))["seconds"]
    inside = sum(r["seconds"] + r.get("prepare_seconds", 0.0) for r in records)
    return tally.counts.get(Verdict.PASS, 0), seconds, inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend")
    parser.add_argument("run", type=Path)
    parser.add_argument("--packs", type=int, default=32)
    chosen = parser.parse_args()
    known = read_run(chosen.run)
    passed = {case for case, result in known.results.items() if result.verdict is Verdict.PASS}
    plan = build_plan(Selection(suite=known.suite["name"], opset=known.suite["opset"], seed=known.suite["seed"]))
    cases = tuple(
        case
        for case in plan.cases
        if case.id in passed and case.source is Source.OPERATOR and "refuse" not in case.tags
    )
    plan = replace(plan, cases=cases)
    print(f"{len(cases)} cases of {chosen.run}\n")
    print("| packs | pass | seconds | times faster | compiling and computing | times faster |")
    print("|--:|--:|--:|--:|--:|--:|", flush=True)
    whole = parts = 0.0
    for packs in (1, chosen.packs):
        passing, seconds, inside = timed(chosen.backend, plan, packs)
        whole, parts = whole or seconds, parts or inside
        print(
            f"| {packs} | {passing} | {seconds:.1f} | {whole / seconds:.1f} | {inside:.1f} | {parts / inside:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
