"""ONNX's vectors and the catalogue's definitions held against each other, without a backend.

    python tools/vectors.py

Says which of them the catalogue defines, where the definition in float64 does not give the published output within
ONNX's tolerance, and where the published output is outside our bounds. How a backend does is what
`conformance run BACKEND --suite vectors` says. docs/vectors.md explains the misses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from conformance.casework import Casework
from conformance.goldens import default_folder
from conformance.judge import judge
from conformance.plan import Plan, Selection, build_plan
from conformance.spec import PUBLISHED, Verdict
from conformance.vector_oracle import rounded
from conformance.vectors import REASONS, similar


def share(passed: int, of: int) -> str:
    """``1650 of 1663 (99.22 %)``, rounded down."""
    return f"{passed} of {of}" + (f" ({int(10000 * passed / of) / 100:.2f} %)" if of else "")


def introduce(plan: Plan) -> None:
    """Say what there is and what has no verdict, by reason and name."""
    count = len(plan.cases) + sum(map(len, plan.unjudged.values()))
    print(f"ONNX {onnx.__version__}: {count} node vectors, {len(plan.cases)} with a verdict, of which")
    inside = sum(PUBLISHED not in case.tags for case in plan.cases)
    print(f"  {inside} by the catalogue's definition, {len(plan.cases) - inside} by the published output")
    for reason, names in sorted(plan.unjudged.items()):
        print(f"  no verdict for {len(names)}: {REASONS[reason]}")
        print(f"    {' '.join(names)}")


def listed(title: str, missing: Sequence[str], of: int) -> None:
    print(f"{title}: {share(of - len(missing), of)}")
    for line in missing:
        print(f"  {line}")


def main() -> None:
    plan = build_plan(Selection("vectors"))
    introduce(plan)
    unlike, refused = [], []
    inside = [case for case in plan.cases if PUBLISHED not in case.tags]
    with (
        Casework(plan, default_folder()) as casework,
        np.errstate(all="ignore"),
    ):  # the vectors overflow on purpose
        for case in inside:
            vector, ready = plan.vectors[case.id], casework.vector_case(case)
            assert ready.expected, ready.problem
            (expected,) = ready.expected
            if not similar(vector, [rounded(e) for e in expected]):
                unlike.append(vector.name)
            judgement = judge(
                expected, list(vector.outputs), ready.inputs[0] if ready.inputs else (), ready.attributes
            )
            if judgement.verdict is not Verdict.PASS:
                refused.append(f"{vector.name}: {judgement.verdict}: {judgement.message}")
            ready.model.unlink()
    listed("definitions in float64, by ONNX's tolerance", unlike, len(inside))
    listed("published outputs, by our bounds", refused, len(inside))


if __name__ == "__main__":
    main()
