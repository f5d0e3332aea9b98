"""tract, an engine in Rust.

Options: ``runtime`` (cpu unless told otherwise; some builds have cuda or metal).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tract

__all__ = ["Backend", "Unsupported"]

# What tract says when it declines a model, as opposed to failing on it.
_DECLINED = (
    "Unimplemented(",
    "Unknown DatumType",
    "does not support",
    "not supported",
    "not implemented",
    "nsupported",
)


class Unsupported(Exception):
    """tract, or its Python interface, declines the model."""


class Backend:
    def __init__(self, runtime: str = "cpu") -> None:
        self._runtime, self._name = tract.runtime_for_name(runtime), runtime

    def describe(self) -> dict[str, Any]:
        """What runs."""
        return {"name": "tract", "version": tract.version(), "device": self._name.upper()}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[np.ndarray]]:
        """Load the model, let tract infer what it does not say, and optimise it; inputs then go by position."""
        loaded = _declining(tract.onnx().load, model)
        names = [loaded.input_name(n) for n in range(loaded.input_count())]
        typed = _declining(loaded.into_model)
        if any(str(typed.output_fact(n)).endswith("string") for n in range(typed.output_count())):
            raise Unsupported("tract's Python interface hands out no strings")
        runnable = self._runtime.prepare(typed)

        def run(inputs: dict[str, Any]) -> list[np.ndarray]:
            arrays = [inputs[name] for name in names]
            if not all(isinstance(a, np.ndarray) and a.dtype.kind in "biuf" for a in arrays):
                raise Unsupported("tract's Python interface takes tensors of numbers only")
            return [_to_array(output) for output in _declining(runnable.run, arrays)]

        return run


def _to_array(tensor: tract.Tensor) -> np.ndarray:
    try:
        return np.asarray(tensor.to_numpy())
    except (
        tract.TractError
    ):  # "TDim", what shapes are made of: it has no other way out than as the int64 that it is
        return np.asarray(tensor.convert_to(tract.DatumType.I64).to_numpy())


def _declining(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except tract.TractError as error:
        reason = str(error).partition("\n\nStack backtrace")[0]
        if any(sign in reason for sign in _DECLINED):
            raise Unsupported(reason) from error
        raise
