"""emx-onnx-cgen, which writes a model as C; the C compiler on the path makes a library of it."""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import onnx
from emx_onnx_cgen.compiler import Compiler, CompilerOptions, UnsupportedOpError, import_onnx

__all__ = ["Backend", "Unsupported"]


class Unsupported(Exception):
    """emx-onnx-cgen, or this adapter, declines the model."""


class Backend:
    generator = Compiler(CompilerOptions(large_weight_threshold=0))  # reads its templates once; 0: weights within

    def describe(self) -> dict[str, Any]:
        """What runs, and what it takes."""
        version = metadata.version("emx-onnx-cgen")
        return {"name": "emx-onnx-cgen", "version": version, "device": "CPU", "static_shapes": True}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[np.ndarray]]:
        """Write the model as C and load what the compiler makes of it: a function of all inputs, then all outputs."""
        proto = onnx.load(model)
        try:
            source, outputs = self.generator.compile(proto), [o.type for o in import_onnx(proto).outputs]
        except UnsupportedOpError as error:
            raise Unsupported(str(error)) from error
        tensors = {value.type.tensor_type.elem_type for value in (*proto.graph.input, *proto.graph.output)}
        if tensors & {0, onnx.TensorProto.STRING} or any(min(o.shape, default=0) < 0 for o in outputs):
            raise Unsupported("the adapter passes tensors of numbers, whose shapes must be known before")
        with tempfile.NamedTemporaryFile(suffix=".so") as library:
            command = f"cc -O2 -shared -fPIC -x c - -lm -o {library.name}"
            subprocess.run(command.split(), input=source, text=True, check=True)
            function = ctypes.CDLL(library.name).model

        def run(inputs: dict[str, Any]) -> list[np.ndarray]:
            results = [np.zeros(o.shape, o.dtype.onnx_np_dtype) for o in outputs]
            function(*[ctypes.c_void_p(array.ctypes.data) for array in (*inputs.values(), *results)])
            return results

        return run
