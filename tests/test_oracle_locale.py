"""The oracle leaves the process as it was."""

from __future__ import annotations

import locale

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from conformance.oracle import evaluate

MODEL = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["": 21]>
    g (string[2] x) => (string[n] y) {
        y = StringNormalizer <case_change_action: string = "UPPER", locale: string = "C"> (x)
    }
""")
FEED = {"x": np.array(["a", "b"], dtype=object)}


@pytest.fixture
def unlike_c() -> str:
    for name in ("C.UTF-8", "en_US.UTF-8"):
        try:
            return locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
    pytest.fail("this machine has no locale but C to tell the difference by")


def test_onnxs_evaluator_changes_the_locale_and_the_oracle_does_not(unlike_c: str) -> None:
    (y,) = evaluate(MODEL, FEED)
    assert y.tolist() == ["A", "B"]
    assert locale.setlocale(locale.LC_ALL) == unlike_c
    ReferenceEvaluator(MODEL).run(None, FEED)
    assert locale.setlocale(locale.LC_ALL) != unlike_c  # else `evaluate` has no reason left to be
