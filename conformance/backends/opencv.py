"""OpenCV's DNN module, on the CPU.

Options: ``engine`` (new, its graph engine, unless told otherwise; or classic), ``threads`` (1 unless told otherwise).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import onnx

__all__ = ["Backend", "Unsupported"]

# Named, not chosen by OpenCV: one of its engines is ONNX Runtime.
_ENGINES = {"new": cv2.dnn.ENGINE_NEW, "classic": cv2.dnn.ENGINE_CLASSIC}
# What OpenCV says when it declines a model, as opposed to failing on it.
_DECLINED = ("StsNotImplemented", "not implemented", "not supported", "nsupported", "getTypes(")


class Unsupported(Exception):
    """OpenCV declines the model."""


class Backend:
    def __init__(self, engine: str = "new", threads: str = "1") -> None:
        self._engine, self._name = _ENGINES[engine], engine
        cv2.setNumThreads(int(threads))

    def describe(self) -> dict[str, Any]:
        """What runs."""
        return {"name": "OpenCV DNN", "version": cv2.__version__, "device": "CPU", "engine": self._name}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[np.ndarray]]:
        """Read the model; OpenCV looks at shapes in the first run."""
        net = _declining(cv2.dnn.readNetFromONNX, model, self._engine)
        if net.empty():
            raise Unsupported("OpenCV reads no network from this model; its log says why")
        names = net.getUnconnectedOutLayersNames()
        outputs = onnx.load(model, load_external_data=False).graph.output
        dtypes = [onnx.helper.tensor_dtype_to_np_dtype(o.type.tensor_type.elem_type) for o in outputs]

        def run(inputs: dict[str, Any]) -> list[np.ndarray]:
            for name, array in inputs.items():
                _declining(net.setInput, array, name)
            found = _declining(net.forward, names)
            if any(array is None for array in found):
                raise Unsupported("OpenCV's Python interface has no empty tensors")
            return [_as_declared(array, dtype) for array, dtype in zip(found, dtypes, strict=True)]

        return run


def _as_declared(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """OpenCV hands out float16 as float32, and bfloat16 as 16 bits."""
    if array.dtype == np.float32 and dtype == np.float16:
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    return array.view(dtype) if array.dtype == np.uint16 and dtype.name == "bfloat16" else array


def _declining(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except cv2.error as error:
        if any(sign in str(error) for sign in _DECLINED):
            raise Unsupported(str(error)) from error
        raise
