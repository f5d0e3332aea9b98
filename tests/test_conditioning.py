"""The cases are well conditioned: a bound so wide that a wrong answer would fit into it is a defect of the suite."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.graphs import build
from conformance.numerics import allowed
from conformance.operators import catalogue
from conformance.oracle import expect_content
from conformance.plan import Selection, build_plan, samples_of
from conformance.rules import Composite
from conformance.spec import Case, Source

# Of the outputs' root mean square. Single precision leaves 1e-7; what rounding grows by beyond this is no test.
WIDEST = 1e-3
SMALLEST = 1e-5  # for outputs that are all next to zero
# Whose subject is conditioning itself, or numbers that have no digits left.
# Or whose bound is wide by definition: tests/test_extensions.py asks what these still catch.
HARD = frozenset({"cancellation", "special", "large", "coarse", "left-open"})


def composites() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in build_plan(Selection(dtypes=("float32",))).cases:
        operator = catalogue().get((case.domain, case.operator))
        if (
            case.source is Source.OPERATOR
            and operator
            and operator.meaning
            and isinstance(operator.rule, Composite)
        ):
            found.setdefault(case.operator, []).append(case)
    return found


@pytest.mark.parametrize(("name", "cases"), composites().items())
def test_no_bound_is_wide_enough_for_a_wrong_answer(name: str, cases: list[Case]) -> None:
    wide = []
    for case in cases:
        operator = catalogue()[case.domain, case.operator]
        sample = samples_of(operator)[case.index]
        if sample.refuse or sample.model or sample.tags & HARD or "subnormals" in sample.name:
            continue
        content = build(operator, sample, case.dtype, case.opset, f"0/{case.id}")
        for outputs in expect_content(case, content, sample):
            for expected in outputs:
                if not isinstance(expected.rule, Composite) or not expected.value.size:
                    continue
                finite = expected.value[np.isfinite(expected.value)]
                size = float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0
                widest = float(np.max(allowed(expected), initial=0.0))
                if widest > max(WIDEST * size, SMALLEST):
                    wide.append(f"{case.id}: ± {widest:.3g} where outputs are about {size:.3g}")
    assert not wide
