"""What the main job costs: ONNX Runtime through the suites, the parent's memory, and the command line's start.

    python benchmarks/certify.py [--jobs N] [--model NAME]

* the standard suite with no references on disk (cold) and with them (warm), and the smoke suite cold. The peer is
  the backend itself: the seconds that its own sessions took to be made and run, as the worker measured them, on as
  many processes. What is above 1 is what the suite adds: inputs, references, isolation, judging, the report;
* judging: the processor's seconds that the parent spends on verdicts in the warm standard run, as a share of that run's
  wall time;
* the parent's peak memory on the reference model that needs the most, worker processes apart;
* `conformance --help` beside `pip --help` and an interpreter that does nothing.

Goals on two cores: cold under 6 minutes, warm under 2, smoke under 1; judging under a fifth; 3 GB; 0.3 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# Measured with --model: 2.3 GB; smollm-135m 1.9, bert-base 1.7, sd-unet-small 1.3, detr-resnet50 0.7.
LARGEST = "gpt2"
CONFORMANCE = str(Path(sysconfig.get_path("scripts")) / "conformance")
_PARENT = """
import resource, sys
from conformance.cli import main
status = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""

_JUDGED = """
import sys, time
import conformance.run
from conformance.cli import main

judge, spent = conformance.run._judgement, []

def judgement(*arguments, **options):
    started = time.thread_time()  # on a clock it would wait for the processes that have the cores
    try:
        return judge(*arguments, **options)
    finally:
        spent.append(time.thread_time() - started)

conformance.run._judgement = judgement
started = time.perf_counter()
status = main(sys.argv[1:])
print("judging", sum(spent), len(spent), time.perf_counter() - started, file=sys.stderr)
sys.exit(status)
"""


def timed(command: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Wall seconds of a command, which must succeed; its output is kept from the terminal."""
    started = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - started


def suite(name: str, folder: Path, jobs: int, env: Mapping[str, str]) -> tuple[float, float, int]:
    """Wall seconds of a suite, the backend's own on as many processes, and the number of cases."""
    command = [CONFORMANCE, "run", "onnxruntime", "--suite", name, "--jobs", str(jobs), "-o", str(folder)]
    wall = timed(command, env)
    own, cases = 0.0, 0
    for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "case" in record:
            own += record.get("prepare_seconds", 0.0) + record["seconds"] * record.get("runs", 1)
            cases += 1
    return wall, own / jobs, cases


def judging(folder: Path, jobs: int, env: Mapping[str, str]) -> tuple[float, int, float]:
    """Seconds spent on verdicts in a standard run, how many they were, and the run's wall seconds."""
    command = [sys.executable, "-P", "-c", _JUDGED, "run", "onnxruntime", "--jobs", str(jobs), "-o", str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("judging ")]
    _, spent, verdicts, wall = line.split()
    return float(spent), int(verdicts), float(wall)


def peak(model: str, folder: Path, env: Mapping[str, str]) -> float:
    """The parent's largest resident size in GB over a cold run of one model."""
    command = [sys.executable, "-P", "-c", _PARENT, "run", "onnxruntime", "--model", model, "-o", str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("peak ")]
    return int(line.split()[1]) * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--model", default=LARGEST, help="the model of the memory figure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="conformance-bench-") as scratch:
        base = Path(scratch)
        env = {**os.environ, "CONFORMANCE_CACHE": str(base / "cache")}
        print(f"{'suite':<18}{'cases':>7}{'wall s':>9}{'backend s':>11}{'ratio':>8}")
        for title, name in (("standard, cold", "standard"), ("standard, warm", "standard")):
            wall, own, cases = suite(name, base / title, options.jobs, env)
            print(f"{title:<18}{cases:>7}{wall:>9.1f}{own:>11.1f}{wall / own:>8.2f}", flush=True)
        spent, verdicts, wall = judging(base / "judged", options.jobs, env)
        judged = f"{spent:.1f} of {wall:.1f} s, {spent / wall:.1%}"
        fresh = {**env, "CONFORMANCE_CACHE": str(base / "another")}
        wall, own, cases = suite("smoke", base / "smoke", options.jobs, fresh)
        print(f"{'smoke, cold':<18}{cases:>7}{wall:>9.1f}{own:>11.1f}{wall / own:>8.2f}", flush=True)
        print(f"\njudging {verdicts} cases of the warm standard suite: {judged}", flush=True)
        largest = peak(options.model, base / "largest", {**env, "CONFORMANCE_CACHE": str(base / "third")})
        print(f"\nparent's peak memory on {options.model}, cold: {largest:.2f} GB")
    starts = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "conformance --help": [CONFORMANCE, "--help"],
        "pip --help": [sys.executable, "-m", "pip", "--help"],
    }
    best = {name: min(timed(command) for _ in range(5)) for name, command in starts.items()}
    print(f"\n{'start':<22}{'s':>7}{'ratio':>8}")
    for name, seconds in best.items():
        print(f"{name:<22}{seconds:>7.3f}{seconds / best['python -c pass']:>8.2f}")


if __name__ == "__main__":
    main()
