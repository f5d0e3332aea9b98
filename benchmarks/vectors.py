"""What isolation and judging cost: ONNX's node vectors on ONNX Runtime, three ways in one run.

* bare: a loop in this process, session and run, nothing compared;
* ours: the isolated runner and the judge, references from the golden cache (filled before the clock starts);
* ONNX's own: `onnx.backend.test.runner` under pytest, in a process of its own.

    python benchmarks/vectors.py [--jobs N] [--skip-onnx]

Prints seconds and ratios. Goals: ours within 2 times bare, and at least 4 times faster than ONNX's own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import onnxruntime

from conformance.backends import resolve
from conformance.goldens import GoldenCache, default_folder
from conformance.pool import Launch, Pool, Task
from conformance.run import verdict_of
from conformance.vectors import Vector, collect, ready

# ONNX's runner needs a backend of the onnx.backend.base kind; this is the least one for ONNX Runtime.
_PEER = """
import onnx.backend.base, onnx.backend.test, onnxruntime

class Rep(onnx.backend.base.BackendRep):
    def __init__(self, session): self.session = session
    def run(self, inputs, **kwargs):
        names = [i.name for i in self.session.get_inputs()]
        return self.session.run(None, dict(zip(names, inputs)))

class Backend(onnx.backend.base.Backend):
    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        return Rep(onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]))
    @classmethod
    def supports_device(cls, device): return device == "CPU"

backend_test = onnx.backend.test.BackendTest(Backend, __name__)
backend_test.include("test_.*_cpu")
globals().update({k: v for k, v in backend_test.test_cases.items() if "Node" in k})
"""


def bare(vectors: list[Vector], folder: Path) -> float:
    """Seconds for session and run of every vector, in this process, whatever comes of them."""
    paths = []
    for vector in vectors:
        path = folder / f"bare-{vector.name}.onnx"
        path.write_bytes(vector.model.SerializeToString())
        paths.append(str(path))
    began = time.perf_counter()
    failed = 0
    for path, vector in zip(paths, vectors, strict=True):
        try:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            session.run(None, dict(vector.feed))
        except Exception:  # noqa: BLE001  (what the engine refuses costs time too, and is judged in the other loop)
            failed += 1
    seconds = time.perf_counter() - began
    print(f"bare loop: {seconds:.2f} s, {len(vectors)} vectors, {failed} raised")
    return seconds


def ours(vectors: list[Vector], folder: Path, jobs: int) -> float:
    """Seconds for the same through the isolated runner and the judge."""
    cache = GoldenCache(default_folder())
    for vector in vectors:
        ready(vector, folder, cache)  # fills the cache
    with Pool(Launch(resolve("onnxruntime")), jobs=jobs) as pool:
        pool.describe()
        began = time.perf_counter()
        waiting = {}
        verdicts: Counter[str] = Counter()

        def tasks():  # type: ignore[no-untyped-def]
            for vector in vectors:
                case = ready(vector, folder, cache)
                waiting[case.case.id] = case
                yield Task(case.case.id, case.model, case.feeds, repeats=1)

        for outcome in pool.run(tasks()):
            verdicts[str(verdict_of(waiting.pop(outcome.id), outcome).verdict)] += 1
        seconds = time.perf_counter() - began
    print(f"isolated and judged, {jobs} job(s): {seconds:.2f} s, {dict(verdicts)}")
    return seconds


def onnx_runner(folder: Path) -> float:
    """Seconds for ONNX's own runner under pytest, collection included, as its users run it."""
    peer = folder / "test_peer.py"
    peer.write_text(_PEER)
    began = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", str(peer)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    print(f"ONNX's runner: {seconds:.2f} s, {result.stdout.strip().splitlines()[-1]}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--skip-onnx", action="store_true")
    arguments = parser.parse_args()
    vectors = [v for v in collect() if v.tensors]
    onnxruntime.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        our_seconds = ours(vectors, folder, arguments.jobs)
        bare_seconds = bare(vectors, folder)
        print(f"ours / bare: {our_seconds / bare_seconds:.2f}")
        if not arguments.skip_onnx:
            print(f"ONNX's runner / ours: {onnx_runner(folder) / our_seconds:.1f}")


if __name__ == "__main__":
    main()
