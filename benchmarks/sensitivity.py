"""What other suites would see: the same planted defects and legal variants under four ways of testing, in one run.

* ours: the cases and the judge of the standard suite;
* torch: the same cases, each output compared by `torch.testing.assert_close` with its defaults for the dtype;
* onnx, our cases: the same cases, compared as ONNX's runner does (rtol 1e-3, atol 1e-7; bfloat16 at least 2^-6);
* onnx: ONNX's own node tests, each with its own tolerance.

    python benchmarks/sensitivity.py [--family NAME]... [--dtype NAME]... [--jobs N]

A defect is one of an operator, a kind and a dtype. All ways are asked for those that ours is asked for; *shown* are
those of them that change some output of a way's cases, so that what is left is the comparison's own doing. Of a test
whose right answer its own comparison fails, nothing is counted.
NaN counts as equal to NaN everywhere: with assert_close's default for that, every case with NaN fails a correct backend.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch

from conformance.goldens import default_folder
from conformance.plan import Selection, build_plan
from conformance.planted import Outputs, Subject
from conformance.sensitivity import Sensitivity, judged, measure
from conformance.vectors import Vector, similar

Compare = Callable[..., str]
_NARROW = (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)


def _tensor(array: np.ndarray) -> torch.Tensor:
    """The array for assert_close, in its own type where torch has that: types of fewer than 16 bits in float64, whose
    tolerances are narrower than any step between two of their values."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    if array.dtype in _NARROW:
        return torch.from_numpy(array.astype(np.int8))
    if array.dtype.kind == "V" or array.dtype.name.startswith("float8"):
        return torch.from_numpy(array.astype(np.float64))
    return torch.from_numpy(np.ascontiguousarray(array))


def _by_torch(mine: np.ndarray, right: np.ndarray) -> bool:
    if mine.dtype != right.dtype or mine.shape != right.shape:
        return False
    if right.dtype.kind in "OUS":
        return bool(np.array_equal(mine, right))
    try:
        torch.testing.assert_close(_tensor(mine), _tensor(right), equal_nan=True)
    except AssertionError:
        return False
    return True


def _each(close: Callable[[np.ndarray, np.ndarray], bool]) -> Compare:
    def compare(subject: Subject, outputs: Outputs, *, flush_to_zero: bool = False) -> str:
        for one, good in zip(outputs, subject.good, strict=True):
            if len(one) != len(good) or not all(map(close, one, good)):
                return "not close"
        return ""

    return compare


def _by_onnx(mine: np.ndarray, right: np.ndarray) -> bool:
    return similar(_vector([right]), [mine])


def _vector(outputs: Sequence[Any]) -> Vector:
    import onnx

    return Vector("", onnx.ModelProto(), {}, outputs)


class _NodeTests:
    """ONNX's own tests, compared with the outputs that they publish."""

    def __init__(self) -> None:
        self.vectors = build_plan(Selection(suite="vectors")).vectors
        self._sound: dict[str, bool] = {}

    def __call__(self, subject: Subject, outputs: Outputs, *, flush_to_zero: bool = False) -> str:
        vector = self.vectors[subject.case.id]
        name = subject.case.id
        if name not in self._sound:
            self._sound[name] = similar(vector, subject.good[0])
        return "not similar" if self._sound[name] and not similar(vector, outputs[0]) else ""


def _row(name: str, found: Sensitivity, asked: set[tuple[str, str, str]]) -> str:
    own = {(a.operator, a.dtype, a.defect): a for a in found.answers}
    shown = [a for key, a in own.items() if key in asked and a.shown]
    caught = sum(a.caught for a in shown)
    verdicts = sum(found.verdicts.values())
    return (
        f"| {name} | {len(shown)} | {caught} | {caught / len(asked):.2%} | {caught / max(len(shown), 1):.2%} "
        f"| {len(found.failures)} of {verdicts} ({len(found.failures) / max(verdicts, 1):.2%}) |"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--family", action="append", default=[])
    parser.add_argument("--dtype", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args(argv)
    cache: Path = default_folder()

    def measured(compare: Compare, suite: str = "standard") -> Sensitivity:
        return measure(arguments.family, arguments.dtype, cache, arguments.jobs, compare=compare, suite=suite)

    ours = measured(judged)
    asked = {(a.operator, a.dtype, a.defect) for a in ours.answers}
    print(f"{len(asked)} planted defects\n")
    print("| way | shown | caught | of all | of those shown | legal variants failed |")
    print("|---|---:|---:|---:|---:|---:|")
    print(_row("ours", ours, asked), flush=True)
    print(_row("torch.testing's defaults on our cases", measured(_each(_by_torch)), asked), flush=True)
    print(_row("ONNX's comparison on our cases", measured(_each(_by_onnx)), asked), flush=True)
    print(_row("ONNX's node tests", measured(_NodeTests(), "vectors"), asked), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
