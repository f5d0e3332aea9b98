"""MNN, an engine for phones, on the CPU."""

import tempfile
from collections.abc import Callable
from typing import Any

import _tools  # MNN's converter; MNN.tools around it runs pip for a logging service when it is imported
import MNN
import numpy as np
import onnx
from MNN import expr, nn

__all__ = ["Backend", "Unsupported"]

# The types of ONNX that fit into MNN's own: whoever runs a model puts its results back into the model's.
_FLOAT, _INT, _T = (np.float32, expr.float), (np.int32, expr.int), onnx.TensorProto
_FITS = {_T.FLOAT: _FLOAT, _T.FLOAT16: _FLOAT, _T.INT32: _INT, _T.INT64: _INT, _T.BOOL: _INT}
_FITS |= {_T.UINT8: (np.uint8, expr.uint8), _T.INT8: (np.int8, expr.int8)}


class Unsupported(Exception):
    """MNN has no such operator or type."""


class Backend:
    settings = nn.create_runtime_manager(({"backend": "CPU", "precision": "high", "numThread": 1},))

    def describe(self) -> dict[str, Any]:
        """What runs."""
        return {"name": "MNN", "version": MNN.version(), "device": "CPU"}

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[np.ndarray]]:
        """Convert the model to MNN's format and load it."""
        graph = onnx.load(model).graph
        given, wanted = ({v.name: v.type.tensor_type.elem_type for v in e} for e in (graph.input, graph.output))
        if not _FITS.keys() >= {*given.values(), *wanted.values()}:
            raise Unsupported("MNN computes with tensors of float32, int32, int8 and uint8")
        with tempfile.NamedTemporaryFile() as file:
            files = "--modelFile", model, "--MNNModel", file.name
            _tools.mnnconvert(["", "-f", "ONNX", *files, "--bizCode", "_"])
            if not file.read(1):
                raise Unsupported("MNN's converter declines the model: its words are in the log")
            module = nn.load_module_from_file(file.name, [*given], [*wanted], runtime_manager=self.settings)

        def run(inputs: dict[str, Any]) -> list[np.ndarray]:
            fits = [(inputs[name], *_FITS[kind]) for name, kind in given.items()]
            feeds = [expr.const(np.array(a, d), list(a.shape), expr.NCHW, t) for a, d, t in fits]
            dtypes = map(onnx.helper.tensor_dtype_to_np_dtype, wanted.values())
            # What `read` gives lies in the variable, which must live until it is copied.
            results = zip([expr.convert(r, expr.NCHW) for r in module.forward(feeds)], dtypes, strict=False)
            return [result.read().astype(dtype) for result, dtype in results]

        return run
