"""The catalogue's own definitions on a torch device: what PyTorch's kernels make of the operators.

Options: ``device`` (cpu, cuda, mps, npu, mlu, musa, xpu, …), ``mode`` (eager or compile), ``threads``, and
``tf32=1`` to let float32 products use reduced precision where the device has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch

from conformance.graphs import nodes_of
from conformance.interpreter import NoMeaning, operator_of, run_nodes, to_array, to_tensor

__all__ = ["Backend", "Unsupported"]


class Unsupported(Exception):
    """The catalogue has no tensor definition, or torch has no kernel."""


class Backend:
    def __init__(self, device: str = "cpu", mode: str = "eager", threads: str = "1", tf32: str = "0") -> None:
        if mode not in ("eager", "compile"):
            raise ValueError(f"mode={mode}: eager or compile is meant")
        self._device = torch.device(device)
        self._compile = mode == "compile"
        if "CONFORMANCE_COMPILE_CACHE" in os.environ:  # outlives the process, as its temporary folder does not
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.environ["CONFORMANCE_COMPILE_CACHE"])
        self._tf32 = tf32 == "1"
        torch.set_num_threads(int(threads))
        torch.set_float32_matmul_precision("high" if self._tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = self._tf32
        # Sums of 16-bit products in float32 throughout, and the same order every time.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False

    def describe(self) -> dict[str, Any]:
        """What runs, on what, and the numerics that the options ask for."""
        cuda = self._device.type == "cuda"
        described: dict[str, Any] = {
            "name": "torch compile" if self._compile else "torch",
            "version": torch.__version__,
            "device": torch.cuda.get_device_name(self._device) if cuda else str(self._device),
            "numerics": {"float32": {"accumulator": "float32", "mode": "tf32" if self._tf32 else "float32"}},
        }
        if cuda:
            described["driver"] = f"CUDA {torch.version.cuda}"
        return described

    def prepare(self, model: str) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
        """Check that every node has a definition, and put the initializers on the device."""
        proto = onnx.load(model)
        # The definitions read a graph; they do not police it. What is no valid model is refused here.
        onnx.checker.check_model(proto, full_check=True)
        nodes = nodes_of(proto)
        if any(not d for node in nodes for o, d in zip(node.outputs, node.dtypes, strict=True) if o):
            # Some definitions take the type of what they yield from its declaration.
            nodes = nodes_of(onnx.shape_inference.infer_shapes(proto))
        if any("string" in node.dtypes for node in nodes):
            raise Unsupported("torch has no strings")
        for node in nodes:
            try:
                operator_of(node)
            except NoMeaning as reason:
                raise Unsupported(str(reason)) from None
        weights = {t.name: self._tensor(onnx.numpy_helper.to_array(t)) for t in proto.graph.initializer}
        names = [o.name for o in proto.graph.output]
        dtypes = {n: d for node in nodes for n, d in zip(node.outputs, node.dtypes, strict=True)}
        device = str(self._device)

        def evaluate(feeds: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            return run_nodes(nodes, feeds, names, weights.get, widen=False, device=device)

        compiled = torch.compile(evaluate, dynamic=False) if self._compile else evaluate

        def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            feeds = {n: self._tensor(a) for n, a in inputs.items()}
            try:
                with torch.no_grad():
                    results = compiled(feeds)
            except (NotImplementedError, RuntimeError) as error:
                if "not implemented for" in str(error) or isinstance(error, NotImplementedError):
                    raise Unsupported(str(error).splitlines()[0]) from error
                raise
            return [to_array(r, dtypes[n]) for r, n in zip(results, names, strict=True)]

        return run

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        if not isinstance(array, np.ndarray):
            raise Unsupported("the definitions know tensors only, no sequences and no absent optionals")
        if array.dtype == object:
            raise Unsupported("torch has no strings")
        return to_tensor(array, widen=False).to(self._device)
