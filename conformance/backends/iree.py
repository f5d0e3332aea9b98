"""IREE: its compiler for ONNX, and its runtime.

Options: ``target`` (llvm-cpu unless told otherwise), ``driver`` (local-sync unless told otherwise, that target's for
one thread), ``cpu`` (host unless told otherwise).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

import iree.compiler.tools as compiler
import iree.runtime as runtime
import numpy as np
import onnx
from iree.compiler.tools.import_onnx import __main__ as importer

__all__ = ["Backend", "Unsupported"]

# What IREE says when it declines a model, as opposed to failing on it.
_DECLINED = (
    "failed to legalize operation",
    "nsupported",
    "not supported",
    "not yet implemented",
    "nhandled",
    "could not map dtype",
)


class Unsupported(Exception):
    """IREE declines the model."""


class Backend:
    def __init__(self, target: str = "llvm-cpu", driver: str = "local-sync", cpu: str = "host") -> None:
        self._target, self._driver, self._config = target, driver, runtime.Config(driver)
        # Without this, float64 is computed in float32.
        self._arguments = ["--iree-input-demote-f64-to-f32=false"]
        if target == "llvm-cpu":
            self._arguments.append(f"--iree-llvmcpu-target-cpu={cpu}")

    def describe(self) -> dict[str, Any]:
        """What runs."""
        version = metadata.version("iree-base-runtime")
        return {"name": "IREE", "version": version, "device": self._target, "driver": self._driver}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[np.ndarray]]:
        """Import, compile and load the model; inputs then go by position."""
        proto = onnx.load(model, load_external_data=False)
        types = [value.type.tensor_type.elem_type for value in proto.graph.output]
        dtypes = [onnx.helper.tensor_dtype_to_np_dtype(t) for t in types]
        text = f"{model}.mlir"
        _declining(importer.main, importer.parse_arguments([model, "-o", text]))
        binary = _declining(
            compiler.compile_file,
            text,
            input_type="onnx",
            target_backends=[self._target],
            extra_args=self._arguments,
        )
        context = runtime.SystemContext(config=self._config)
        context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, binary))
        function = context.modules.module[proto.graph.name]

        def run(inputs: dict[str, Any]) -> list[np.ndarray]:
            outputs = _declining(function, *inputs.values())
            arrays = [o.to_host() for o in (outputs if isinstance(outputs, tuple) else (outputs,))]
            # IREE's integers have no sign of their own: what is unsigned comes out as if it had.
            return [a.view(d) if np.dtype(d).kind == "u" else a for a, d in zip(arrays, dtypes, strict=True)]

        return run


def _declining(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return call(*arguments, **options)
    except Exception as error:
        if any(sign in str(error) for sign in _DECLINED):
            raise Unsupported(str(error)) from error
        raise
