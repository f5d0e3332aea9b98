"""Every case of the plan as a test. Run with: pytest --pyargs conformance.suite --backend NAME"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.spec import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.pytest_plugin import Runner
    from conformance.spec import Case


def test_case(
    conformance_case: Case, conformance_runner: Runner, record_property: Callable[[str, object], None]
) -> None:
    judgement = conformance_runner.run(conformance_case)
    record_property("verdict", str(judgement.verdict))
    if judgement.verdict is Verdict.UNSUPPORTED:
        pytest.skip(f"unsupported: {judgement.message}")
    if judgement.verdict is not Verdict.PASS:
        pytest.fail(f"{conformance_case.id}: {judgement.verdict}: {judgement.message}", pytrace=False)
