"""nxrt, a runtime in Rust with ONNX Runtime's interface, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nxrt

__all__ = ["Backend", "Unsupported"]

# What nxrt says when it declines a model, as opposed to failing on it.
_DECLINED = ("unsupported", "does not support", "not supported", "not implemented", "cannot yet", "tensor-only")


class Unsupported(Exception):
    """nxrt, or its Python interface, declines the model."""


class Backend:
    def describe(self) -> dict[str, Any]:
        """What runs."""
        return {"name": "nxrt", "version": nxrt.__version__, "device": "CPU"}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[Any]]:
        """Load the model."""
        session = _declining(nxrt.InferenceSession, model, ["CPUExecutionProvider"])
        return lambda inputs: _declining(session.run, None, inputs)


def _declining(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Exception as error:
        if any(sign in str(error) for sign in _DECLINED):
            raise Unsupported(str(error)) from error
        raise
