"""ONNX's own reference evaluator: the specification's Python code, on NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
from onnx.reference import ReferenceEvaluator

__all__ = ["Backend", "Unsupported"]


class Unsupported(Exception):
    """The evaluator has no code for an operator."""


class Backend:
    def describe(self) -> dict[str, Any]:
        """What runs: the version is onnx's."""
        return {"name": "ONNX reference evaluator", "version": onnx.__version__, "device": "CPU (NumPy)"}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[Any]]:
        """Check the model, which the evaluator itself does not, and look its operators up."""
        onnx.checker.check_model(model, full_check=True)
        try:
            evaluator = ReferenceEvaluator(model)
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error

        def run(inputs: dict[str, Any]) -> list[Any]:
            try:
                return list(evaluator.run(None, inputs))
            except NotImplementedError as error:
                raise Unsupported(str(error)) from error

        return run
