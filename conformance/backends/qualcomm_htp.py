"""Qualcomm's HTP on its host simulator, through ONNX Runtime's QNN plugin: no device is needed.

Options: ``soc_model`` (69 unless told otherwise, Qualcomm's number of a chip), ``fp16`` (1: float32 models are computed
in float16, as the HTP does; 0: not). Any further option goes to the provider.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime_qnn as qnn

__all__ = ["Backend", "Unsupported"]


def _beside(name: str) -> Any:
    """An adapter in this folder, from its file: nothing of this project is installed where this one runs."""
    spec = importlib.util.spec_from_file_location(f"_adapter_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from . import onnxruntime as adapter
else:
    adapter = _beside("onnxruntime")

Unsupported = adapter.Unsupported


class Backend(adapter.Backend):
    def __init__(self, soc_model: str = "69", fp16: str = "1", **options: str) -> None:
        self._soc = soc_model
        self._fp16 = fp16 == "1"
        super().__init__(
            "QNNExecutionProvider",
            qnn.get_library_path(),
            **{
                "backend_path": qnn.get_qnn_htp_path(),
                "soc_model": soc_model,
                "enable_htp_fp16_precision": fp16,
                **options,
            },
        )

    def describe(self) -> dict[str, Any]:
        """What runs, and what it takes: static shapes, nothing in float64."""
        described: dict[str, Any] = {
            "name": "Qualcomm HTP simulator",
            "version": metadata.version("onnxruntime-qnn"),
            "device": f"simulated HTP, soc_model {self._soc}",
            "driver": f"ONNX Runtime {metadata.version('onnxruntime')}, QNNExecutionProvider",
            "static_shapes": True,
        }
        if self._fp16:
            described["numerics"] = {"float32": {"mode": "float16"}}
        return described
