"""Rockchip's RK3588 on the simulator of its toolkit: float16 inside, or another chip of theirs.

Options: ``platform`` (rk3588 unless told otherwise: rk3562, rk3566, rk3568, rk3576, rv1103, …), ``optimization`` (0 to
3, 3 unless told otherwise).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import onnx
from rknn.api import RKNN

__all__ = ["Backend", "Unsupported"]

# What the toolkit says when it declines a model, as opposed to failing on it.
_DECLINED = ("Not support", "not support", "Unsupport", "unsupport", "NOT_IMPLEMENTED", "NotImplemented")


class Unsupported(Exception):
    """The toolkit declines the model."""


class Failed(Exception):
    """A step of the toolkit gave a status; its reason is in the log only."""


class Backend:
    def __init__(self, platform: str = "rk3588", optimization: str = "3") -> None:
        self._platform = platform
        self._optimization = int(optimization)
        self._last: Any = None
        # It writes check*.onnx into the current folder.
        self._folder = tempfile.TemporaryDirectory(prefix="rockchip-")
        os.chdir(self._folder.name)

    def describe(self) -> dict[str, Any]:
        """What runs, and what it takes: opset 19 at most, static shapes."""
        return {
            "name": "Rockchip NPU simulator",
            "version": metadata.version("rknn-toolkit2"),
            "device": f"simulated {self._platform}",
            "static_shapes": True,
            "supports": {"opset": [12, 19]},
            "numerics": {"float32": {"mode": "float16"}},
        }

    def prepare(self, model: str) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
        """Convert and build the model for the chip, and start its simulator."""
        graph = onnx.load(model, load_external_data=False).graph
        if any(value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE for value in graph.input):
            raise Unsupported("the toolkit takes no float64 inputs")
        dtypes = [onnx.helper.tensor_dtype_to_np_dtype(o.type.tensor_type.elem_type) for o in graph.output]
        self._release()
        rknn = self._last = RKNN(verbose=False)
        try:
            _check("config", rknn.config(target_platform=self._platform, optimization_level=self._optimization))
            _check("load_onnx", rknn.load_onnx(model=model))
            _check("build", rknn.build(do_quantization=False))
            _check("init_runtime", rknn.init_runtime())
        except Exception as error:
            # Its text is the toolkit's own traceback, whose last line says what it is about.
            reason = (str(error).strip().splitlines() or [""])[-1]
            if any(sign in reason for sign in _DECLINED):
                raise Unsupported(reason) from error
            raise

        def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            arrays = list(inputs.values())  # in the graph's order
            # Four dimensions are taken for NHWC unless told otherwise.
            outputs = rknn.inference(inputs=arrays, data_format=["nchw"] * len(arrays))
            if outputs is None:
                raise Failed("inference gave nothing; its reason is in the log")
            if len(outputs) != len(dtypes):
                return list(outputs)
            return [_as_declared(array, dtype) for array, dtype in zip(outputs, dtypes, strict=True)]

        return run

    def close(self) -> None:
        """Give the simulator back, and remove what the toolkit wrote."""
        self._release()
        os.chdir("/")
        self._folder.cleanup()

    def _release(self) -> None:
        rknn, self._last = self._last, None
        if rknn is not None:
            rknn.release()


def _as_declared(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The toolkit makes float32 of other floats and hands that out: it is rounded to the model's own type."""
    if array.dtype != np.float32 or dtype not in (np.float16, np.float64):
        return array
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _check(step: str, status: int) -> None:
    if status != 0:
        raise Failed(f"{step} gave status {status}; its reason is in the log")
