"""Sophgo's BM1684X on the simulator of its compiler, TPU-MLIR, or another chip of theirs.

Options: ``chip`` (bm1684x unless told otherwise: bm1688, cv184x, …), ``quantize`` (F16 unless told otherwise; F32 or
BF16), ``packs`` (how many cases to compile in one model, 1 unless told otherwise). A compilation takes seconds: raise
--timeout on a busy machine.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import shutil
import sys
import tempfile
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx

__all__ = ["Backend"]


class Failed(Exception):
    """A tool of the compiler left with a status; its reason is in the log."""


def _stand_in_for_torch() -> None:
    """TPU-MLIR imports torch for a single cast, which is NumPy's, too: two gigabytes that nobody needs."""
    if importlib.util.find_spec("torch") is not None:
        return
    importlib.import_module("onnxruntime_extensions")  # what it imports looks closer whether this is torch
    torch: Any = types.ModuleType("torch")
    torch.tensor = lambda values: types.SimpleNamespace(numpy=lambda: np.asarray(values))
    sys.modules["torch"] = torch


class Backend:
    def __init__(self, chip: str = "bm1684x", quantize: str = "F16", packs: str = "1") -> None:
        self._chip = chip
        self._quantize = quantize.upper()
        self._packs = int(packs)
        _stand_in_for_torch()
        package = importlib.import_module("tpu_mlir")  # puts its folders on the path
        self._tools = Path(str(package.__file__)).parent / "python" / "tools"
        self._folder = tempfile.TemporaryDirectory(prefix="sophgo-")
        os.chdir(self._folder.name)

    def describe(self) -> dict[str, Any]:
        """What runs, and what it takes."""
        mode = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}.get(self._quantize, self._quantize)
        return {
            "name": "Sophgo TPU simulator",
            "version": metadata.version("tpu-mlir"),
            "device": f"simulated {self._chip}",
            "static_shapes": True,
            "packs": self._packs,
            "supports": {"opset": [7, 19]},
            "numerics": {"float32": {"mode": mode}},
        }

    def prepare(self, model: str) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
        """Transform and deploy the model, as the two command-line tools do, in this process."""
        graph = onnx.load(model, load_external_data=False).graph
        declared = [
            (o.name, onnx.helper.tensor_dtype_to_np_dtype(o.type.tensor_type.elem_type)) for o in graph.output
        ]
        shapes = [[d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.input]
        for path in Path(self._folder.name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        local = shutil.copyfile(model, "case.onnx")
        data = Path(f"{model}.data")
        if data.exists():
            Path(data.name).symlink_to(data)
        self._run(
            "model_transform", model_name="case", model_def=local, input_shapes=repr(shapes), mlir="case.mlir"
        )
        target = {"mlir": "case.mlir", "quantize": self._quantize, "chip": self._chip, "model": "case.bmodel"}
        self._run("model_deploy", **target)
        model_inference = importlib.import_module("tools.model_runner").model_inference

        def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            # In a child: the simulator's threads never rest, and would slow down every compilation after this.
            with ProcessPoolExecutor(1, get_context("fork")) as child:
                found = child.submit(model_inference, inputs, "case.bmodel", dump_all=False).result()
            return [_as_declared(_named(found, name), dtype) for name, dtype in declared]

        return run

    def close(self) -> None:
        """Remove what the compiler wrote."""
        os.chdir("/")
        self._folder.cleanup()

    def _run(self, tool: str, **options: str) -> None:
        path = str(self._tools / f"{tool}.py")
        before, sys.argv = sys.argv, [path, *(w for k, v in options.items() for w in (f"--{k}", v))]
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as left:
            if left.code:
                raise Failed(f"{tool} left with status {left.code}; its reason is in the log") from None
        finally:
            sys.argv = before


def _named(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    """An output by its name in the graph: the compiler adds the operator and the type that it computed in."""
    names = [key for key in found if key == name or key.startswith(f"{name}_")]
    if len(names) != 1:
        raise Failed(f"no output {name} among {', '.join(found)}")
    return found[names[0]]


def _as_declared(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The simulator hands out float32 and int32 for everything. Floats are rounded to the model's own type; other
    values go back into it where it has every one of them."""
    if array.dtype == dtype or array.dtype not in (np.float32, np.int32):
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        own = array.astype(dtype)
    floats = array.dtype == np.float32 and dtype in (np.float16, np.float64)
    return own if floats or np.array_equal(own.astype(array.dtype), array, equal_nan=True) else array
