"""tinygrad, on one of its devices; for its CPU it needs a compiler on the path, clang.

Options: ``device`` (CPU unless told otherwise; CUDA, CL, METAL, …, and a renderer after a colon, as in CPU:LLVM).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

__all__ = ["Backend", "Unsupported"]

# What tinygrad says of an element type that it does not read.
_DECLINED = "is not a valid OnnxDataType"


class Unsupported(Exception):
    """tinygrad has no such operator, or no such element type."""


class Backend:
    def __init__(self, device: str = "CPU") -> None:
        os.environ["DEV"] = device  # read once, when tinygrad is imported
        from tinygrad.nn.onnx import OnnxRunner

        self._runner, self._device = OnnxRunner, device

    def describe(self) -> dict[str, Any]:
        """What runs, and on what."""
        return {"name": "tinygrad", "version": version("tinygrad"), "device": self._device}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[Any]]:
        """Read the model; its kernels are compiled when it first runs."""
        runner = _declining(self._runner, model)
        return lambda inputs: [_to_array(value) for value in _declining(runner, inputs).values()]


def _to_array(value: Any) -> Any:
    if value is None or isinstance(value, (list, tuple)):
        return value and [_to_array(item) for item in value]
    if isinstance(value, int):  # of Size: known from the shape alone
        return np.asarray(value)
    from tinygrad import dtypes

    if value.dtype != dtypes.bfloat16:
        return value.numpy()
    import ml_dtypes

    return value.bitcast(dtypes.uint16).numpy().view(ml_dtypes.bfloat16)  # numpy() makes it float32


def _declining(call: Callable[..., Any], argument: Any) -> Any:
    try:
        return call(argument)
    except (NotImplementedError, ValueError) as error:
        if isinstance(error, NotImplementedError) or _DECLINED in str(error):
            raise Unsupported(str(error)) from error
        raise
