"""What the plan costs, before the first case runs: beside reading the same models with onnx.load.

    python benchmarks/plan.py [--opset N]

A plan needs every graph of the reference models, the nodes' types and the digest of every piece. The peer is what
nobody can do without: `onnx.load` of the same graphs. Each is timed in a process of its own, because both keep what they
read, without the imports that both need. Goal: the standard plan in under 5 s.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

ROUNDS = 3
_READY = """
import sys, time
from importlib.resources import files
import onnx
from conformance import models
from conformance.operators import catalogue
from conformance.plan import Selection, build_plan
catalogue()
names = [name for name, entry in models.manifest().items() if entry.suite == "standard"]
paths = [files("conformance.models") / "graphs" / f"{name}.onnx" for name in names]
started = time.perf_counter()
"""
_PLAN = """
plan = build_plan(Selection(opset=int(sys.argv[1])))
plan.digest
print(time.perf_counter() - started, len(plan.cases))
"""
_LOAD = """
for path in paths:
    onnx.load(path)
print(time.perf_counter() - started, len(paths))
"""


def timed(body: str, opset: int) -> tuple[float, int]:
    """The least seconds of several processes, and what was counted."""
    found = []
    for _ in range(ROUNDS):
        command = [sys.executable, "-P", "-c", _READY + body, str(opset)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, count = done.stdout.split()
        found.append((float(seconds), int(count)))
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opset", type=int, default=21)
    opset = parser.parse_args().opset
    seconds, cases = timed(_PLAN, opset)
    load, graphs = timed(_LOAD, opset)
    print(f"the standard plan as of {opset}, {cases} cases and its digest: {seconds:.2f} s")
    print(f"onnx.load of its {graphs} graphs: {load:.2f} s")
    print(f"ratio: {seconds / load:.2f}")


if __name__ == "__main__":
    main()
