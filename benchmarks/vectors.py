"""What isolation and judging cost: ONNX's node vectors on ONNX Runtime, three ways in one run.

* bare: a loop in one process, session and run, nothing compared; with the adapter's session options, which is
  the peer, and with ONNX Runtime's defaults beside it;
* ours: the isolated runner and the judge, first with no references on disk (cold), then with them (warm), one
  job; and warm with two jobs;
* ONNX's own: `onnx.backend.test.runner` under pytest.

    python benchmarks/vectors.py [--rounds N] [--skip-onnx]

All go through the same vectors: those that ours judges (`conformance.vectors.unjudged` says which it does not). What
is timed of ours is the engine of `conformance run onnxruntime --suite vectors`, each vector run once.
The loops are timed from the first vector to the last, in turns, and the fastest of each counts; so are, against
ONNX's runner, which is a process from start to end, processes of ours. ONNX's makes its vectors anew in every process; ours
keeps them in the cache, so it is timed with an empty cache and with a full one, with one job and with two. Seconds
are of the wall and, in brackets, of the processors (all processes together): on a machine with other work only
those hold.
Goals: ours (warm, one job) within 2 times bare, and at least 4 times faster than ONNX's own.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.backends import resolve
from conformance.backends.onnxruntime import Backend
from conformance.casework import Casework, Ready
from conformance.plan import Plan, Selection, build_plan
from conformance.pool import Launch, Pool, Task
from conformance.run import verdict_of
from conformance.vectors import Vector

# ONNX's runner needs a backend of the onnx.backend.base kind; this is the least one for ONNX Runtime.
_PEER = """
import json, onnx.backend.base, onnx.backend.test, onnxruntime

class Rep(onnx.backend.base.BackendRep):
    def __init__(self, session): self.session = session
    def run(self, inputs, **kwargs):
        names = [i.name for i in self.session.get_inputs()]
        return self.session.run(None, dict(zip(names, inputs)))

class Backend(onnx.backend.base.Backend):
    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return Rep(onnxruntime.InferenceSession(model.SerializeToString(), options))
    @classmethod
    def supports_device(cls, device): return device == "CPU"

onnxruntime.set_default_logger_severity(4)
wanted = {name + "_cpu" for name in json.load(open("names.json"))}
for name, tests in onnx.backend.test.BackendTest(Backend, __name__).test_cases.items():
    for method in [m for m in vars(tests) if m.startswith("test_") and m not in wanted]:
        delattr(tests, method)
    if any(m in wanted for m in vars(tests)):
        globals()[name] = tests
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of the wall and of the processors."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.processor:.2f} s)"

    def over(self, other: Spent) -> str:
        """The ratio of both."""
        return f"{self.wall / other.wall:.2f} ({self.processor / other.processor:.2f})"


def clock(work: Callable[[], str]) -> tuple[Spent, str]:
    """What some work took, its child processes included, and what it says of itself."""
    began, before = time.perf_counter(), sum(os.times()[:4])
    said = work()
    return Spent(time.perf_counter() - began, sum(os.times()[:4]) - before), said


def pooled(jobs: int, work: Callable[[Pool], str]) -> tuple[Spent, str]:
    """As `clock`, with backend processes: the first one's start is not counted, as the bare loop's is not."""

    def started(work: Callable[[Pool], str]) -> tuple[Spent, str]:
        before = sum(os.times()[:4])
        with Pool(Launch(resolve("onnxruntime")), jobs=jobs) as pool:
            pool.describe()
            began = time.perf_counter()
            said = work(pool)
            wall = time.perf_counter() - began
        return Spent(wall, sum(os.times()[:4]) - before), said  # a process's seconds are known when it has ended

    start, _ = started(lambda pool: "")
    spent, said = started(work)
    return Spent(spent.wall, spent.processor - start.processor), said


def bare(vectors: Sequence[Vector], folder: Path, *, defaults: bool) -> str:
    """Session and run of every vector, whatever comes of them. The models are on disk before."""
    import onnxruntime  # here alone: the engine of ours lives in another process

    backend = Backend()
    raised = 0
    for vector in vectors:
        path = str(folder / f"bare-{vector.name}.onnx")
        try:
            if defaults:
                onnxruntime.InferenceSession(path).run(None, dict(vector.feed))
            else:
                backend.prepare(path)(dict(vector.feed))
        except Exception:  # noqa: BLE001  (what the engine refuses costs time too, and is judged in the other loop)
            raised += 1
    return f"{len(vectors)} vectors, {raised} raised"


def ours(plan: Plan, cache: Path, pool: Pool) -> str:
    """The same through the isolated runner and the judge."""
    waiting: dict[str, Ready] = {}
    verdicts: Counter[str] = Counter()

    def tasks() -> Iterator[Task]:
        for case in casework.ready(lambda case: False):
            waiting[case.case.id] = case
            yield Task(case.case.id, case.model, case.feeds, repeats=1)

    with Casework(plan, cache) as casework:
        for outcome in pool.run(tasks()):
            case = waiting.pop(outcome.id)
            verdicts[str(verdict_of(case, outcome).verdict)] += 1
            case.model.unlink()
    return ", ".join(f"{n} {v}" for v, n in verdicts.most_common())


def onnx_runner(folder: Path, names: Sequence[str]) -> str:
    """ONNX's own runner under pytest, as its users run it."""
    (folder / "names.json").write_text(json.dumps(names))
    (folder / "test_peer.py").write_text(_PEER)
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", "-W", "ignore"]
    result = subprocess.run(
        [sys.executable, *command, "test_peer.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    return result.stdout.strip().splitlines()[-1]


def whole(cache: Path, jobs: int) -> str:
    """Ours as a process from start to end, with what the cache holds."""
    command = [sys.executable, __file__, "--only-ours", str(cache), "--jobs", str(jobs)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="ONNX's node vectors on ONNX Runtime, three ways.")
    parser.add_argument("--rounds", type=int, default=3, help="times that each loop is run (3)")
    parser.add_argument("--skip-onnx", action="store_true", help="leave ONNX's own runner out: it takes minutes")
    parser.add_argument("--only-ours", type=Path, metavar="CACHE", help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_ours:
        os.environ["CONFORMANCE_CACHE"] = str(arguments.only_ours)
    plan = build_plan(Selection("vectors"))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        if arguments.only_ours:
            with Pool(Launch(resolve("onnxruntime")), jobs=arguments.jobs) as pool:
                print(ours(plan, arguments.only_ours, pool))
        else:
            _compare(plan, folder, arguments.rounds, not arguments.skip_onnx)


def _compare(plan: Plan, folder: Path, rounds: int, with_onnx: bool) -> None:
    vectors = list(plan.vectors.values())
    for vector in vectors:
        (folder / f"bare-{vector.name}.onnx").write_bytes(vector.model.SerializeToString())
    work = functools.partial(ours, plan, folder / "cache")
    results = {"ours, cold": pooled(1, work)}
    loops: dict[str, Callable[[], tuple[Spent, str]]] = {
        "bare": lambda: clock(lambda: bare(vectors, folder, defaults=False)),
        "bare, default options": lambda: clock(lambda: bare(vectors, folder, defaults=True)),
        "ours, warm": lambda: pooled(1, work),
        "ours, warm, 2 jobs": lambda: pooled(2, work),
    }
    results |= _fastest(loops, rounds)
    if with_onnx:
        another = folder / "another"
        results["ours, a process, cold"] = clock(lambda: whole(another, 1))
        processes: dict[str, Callable[[], tuple[Spent, str]]] = {
            "ours, a process": lambda: clock(lambda: whole(another, 1)),
            "ours, a process, 2 jobs": lambda: clock(lambda: whole(another, 2)),
            "ONNX's runner, a process": lambda: clock(lambda: onnx_runner(folder, [v.name for v in vectors])),
        }
        results |= _fastest(processes, rounds)
    for name, (spent, said) in results.items():
        print(f"{name:25} {spent!s:22} {said}")
    print(f"ours, cold / bare: {results['ours, cold'][0].over(results['bare'][0])}")
    print(f"ours, warm / bare: {results['ours, warm'][0].over(results['bare'][0])}, goal: at most 2")
    print(f"ours, warm, 2 jobs / bare: {results['ours, warm, 2 jobs'][0].over(results['bare'][0])}")
    if with_onnx:
        peer = results["ONNX's runner, a process"][0]
        for name in ("ours, a process, cold", "ours, a process", "ours, a process, 2 jobs"):
            print(
                f"ONNX's runner / {name}: {peer.over(results[name][0])}, goal of one with a full cache: at least 4"
            )


def _fastest(ways: Mapping[str, Callable[[], tuple[Spent, str]]], rounds: int) -> dict[str, tuple[Spent, str]]:
    """Each way's shortest time by the clock of as many rounds, in which they take turns."""
    found = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    return {name: min((one[name] for one in found), key=lambda result: result[0].wall) for name in ways}


if __name__ == "__main__":
    main()
