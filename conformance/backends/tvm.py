"""Apache TVM: the relax front end for ONNX, compiled for one of TVM's targets.

Options: ``target`` (llvm unless told otherwise).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx
from tvm_ffi import Shape

__all__ = ["Backend", "Unsupported"]

# What TVM says when it declines a model, as opposed to failing on it.
_DECLINED = ("not supported", "nsupported", "not implemented", "not yet implemented")


class Unsupported(Exception):
    """TVM's front end declines the model."""


class Backend:
    def __init__(self, target: str = "llvm") -> None:
        self._target, self._device = target, tvm.device(target if target != "llvm" else "cpu")

    def describe(self) -> dict[str, Any]:
        """What runs."""
        return {"name": "TVM", "version": tvm.__version__, "device": self._target}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[Any]]:
        """Import and compile the model; inputs then go by position."""
        try:
            module = from_onnx(onnx.load(model), keep_params_in_input=False)
            module = relax.transform.DecomposeOpsForInference()(module)
            machine = relax.VirtualMachine(tvm.compile(module, target=self._target), self._device)
        except Exception as error:
            if isinstance(error, NotImplementedError) or any(sign in str(error) for sign in _DECLINED):
                raise Unsupported(str(error)) from error
            raise

        def run(inputs: dict[str, Any]) -> list[Any]:
            machine.set_input("main", *[tvm.runtime.tensor(array, self._device) for array in inputs.values()])
            machine.invoke_stateful("main")
            outputs = machine.get_outputs("main")
            alone = isinstance(outputs, (tvm.runtime.Tensor, Shape))
            return [_to_array(output) for output in ((outputs,) if alone else outputs)]

        return run


def _to_array(value: Any) -> np.ndarray:
    return np.asarray(value, np.int64) if isinstance(value, Shape) else np.asarray(value.numpy())
