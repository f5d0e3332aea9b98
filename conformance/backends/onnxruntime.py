"""ONNX Runtime, on any of its execution providers.

Options: ``provider`` (an execution provider's name, CPUExecutionProvider unless told otherwise), ``library``
(the file of a plugin provider, registered under that name), ``ep_device`` (which of a plugin's devices, 0 unless told
otherwise), ``threads`` (1 unless told otherwise; 0: as many as ONNX Runtime likes), ``optimization`` (all, extended,
basic or disabled). Any further option goes to the provider.

A provider other than the CPU's gets no help from the CPU: what it does not take is unsupported, and so is what
ONNX Runtime computes itself while it reads the model.
"""

from __future__ import annotations

import ctypes
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["Backend", "Unsupported"]

CPU = "CPUExecutionProvider"
_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
# What ONNX Runtime says when it declines a model, as opposed to failing on it.
_DECLINED = (
    "NOT_IMPLEMENTED",
    "Could not find an implementation",
    "fallback to CPU EP has been explicitly disabled",
    "is under development and support for this is limited",
    "Unsupported model IR version",
    "No Op registered for",
    "is not a registered function/op",
    "is not currently registered or supported",  # an element type
)
# What a Python dict becomes, whatever the model wants.
_MAPS = ("map(string,tensor(float))", "map(int64,tensor(float))")
# Element types that NumPy lacks: the number in onnx.TensorProto.DataType, the name in ml_dtypes, bits an element.
_EXTENDED = {
    "bfloat16": (16, "bfloat16", 16),
    "float8e4m3fn": (17, "float8_e4m3fn", 8),
    "float8e4m3fnuz": (18, "float8_e4m3fnuz", 8),
    "float8e5m2": (19, "float8_e5m2", 8),
    "float8e5m2fnuz": (20, "float8_e5m2fnuz", 8),
    "uint4": (21, "uint4", 4),
    "int4": (22, "int4", 4),
    "float4e2m1": (23, "float4_e2m1fn", 4),
    "float8e8m0": (24, "float8_e8m0fnu", 8),
    "uint2": (25, "uint2", 2),
    "int2": (26, "int2", 2),
}


class Unsupported(Exception):
    """ONNX Runtime, or the provider, declines the model."""


class Backend:
    def __init__(
        self,
        provider: str = CPU,
        library: str = "",
        ep_device: str = "0",
        threads: str = "1",
        optimization: str = "all",
        **provider_options: str,
    ) -> None:
        if optimization not in _LEVELS:
            raise ValueError(f"optimization={optimization}: one of {', '.join(_LEVELS)} is meant")
        ort.set_default_logger_severity(4)  # errors come as exceptions as well
        self._provider = provider
        self._provider_options = provider_options
        self._threads = int(threads)
        self._level = _LEVELS[optimization]
        self._devices = []
        if library:
            ort.register_execution_provider_library(provider, library)
            offered = [d for d in ort.get_ep_devices() if d.ep_name == provider]
            # One device, as an application would take it: several would share the model out among them.
            self._devices = offered[int(ep_device) :][:1]
            if not self._devices:
                raise Unsupported(f"{library} offers {len(offered)} devices for {provider}, no number {ep_device}")
        elif provider not in ort.get_available_providers():
            raise Unsupported(f"{provider} is not among {', '.join(ort.get_available_providers())}")

    def describe(self) -> dict[str, Any]:
        """What runs, and on what."""
        return {
            "name": "ONNX Runtime",
            "version": ort.__version__,
            "device": _processor() if self._provider == CPU else self._provider.replace("ExecutionProvider", ""),
            "driver": self._provider,
        }

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[Any]]:
        """Create a session; the callable runs it."""
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = self._level
        options.use_deterministic_compute = True
        options.intra_op_num_threads = self._threads
        # Idle threads that spin would take the cores from the other workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        arguments: dict[str, Any] = {}
        if self._devices:
            options.add_provider_for_devices(self._devices, self._provider_options)
        else:
            arguments["providers"] = [(self._provider, self._provider_options)]
        if self._provider != CPU:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            # Without the argument, the Python layer retries on the CPU and says so on stdout only.
            session = ort.InferenceSession(model, options, enable_fallback=0, **arguments)
        except Exception as error:
            if any(sign in str(error) for sign in _DECLINED):
                raise Unsupported(str(error)) from error
            raise
        self._look_for_help(session)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        names = [o.name for o in outputs]
        types = {i.name: _element(i.type) for i in inputs}
        for value in inputs:
            if value.type.startswith("map(") and value.type not in _MAPS:
                raise Unsupported(f"ONNX Runtime's Python interface takes no {value.type}")
        if not any(_element(v.type) in _EXTENDED for v in [*inputs, *outputs]):
            return lambda feeds: list(session.run(names, feeds))
        if any(not v.type.startswith("tensor(") for v in [*inputs, *outputs]):
            raise Unsupported("ONNX Runtime's Python interface has no sequences of this element type")

        def run(feeds: dict[str, Any]) -> list[Any]:
            values = {name: _to_value(array, types[name]) for name, array in feeds.items()}
            return [_to_array(value) for value in session.run_with_ort_values(names, values)]

        return run

    def _look_for_help(self, session: ort.InferenceSession) -> None:
        """Raise `Unsupported` where it is not the provider asked for that would compute the answer."""
        if self._provider not in session.get_providers():
            raise Unsupported(f"the session runs on {session.get_providers()}, not on {self._provider}")
        # ONNX Runtime older than 1.24 does not tell which node went where.
        if self._provider == CPU or not hasattr(session, "get_provider_graph_assignment_info"):
            return
        parts = session.get_provider_graph_assignment_info()
        others = sorted({part.ep_name for part in parts} - {self._provider})
        if others:
            raise Unsupported(f"parts of the model run on {', '.join(others)}, not on {self._provider}")
        if not parts:
            raise Unsupported(f"no node is left for {self._provider}: ONNX Runtime computed them as constants")


def _element(type_name: str) -> str:
    """The element type in ``tensor(bfloat16)``, ``seq(tensor(float))``, …"""
    return type_name.rpartition("(")[2].rstrip(")")


def _to_value(array: np.ndarray, element: str) -> ort.OrtValue:
    if element not in _EXTENDED:
        return ort.OrtValue.ortvalue_from_numpy(array)
    number, _, bits = _EXTENDED[element]
    value = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), number)
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if bits < 8:
        data = _pack(data, bits)
    if data.size:
        ctypes.memmove(value.data_ptr(), data.ctypes.data, data.size)
    return value


def _to_array(value: ort.OrtValue) -> np.ndarray:
    element = _element(value.data_type())
    if element not in _EXTENDED:
        return np.asarray(value.numpy())
    import ml_dtypes

    _, name, bits = _EXTENDED[element]
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    shape = [int(side) for side in value.shape()]
    count = math.prod(shape)
    size = -(-count * bits // 8)
    data = np.frombuffer(ctypes.string_at(value.data_ptr(), size) if size else b"", np.uint8)
    if bits < 8:
        data = _unpack(data, bits, count)
    result: np.ndarray = data.view(dtype)
    if element in ("int4", "int2"):  # the sign is the highest of the few bits
        half = 1 << (bits - 1)
        result = ((data ^ half).astype(np.int8) - half).astype(dtype)
    return result.reshape(shape)


def _pack(data: np.ndarray, bits: int) -> np.ndarray:
    """Elements in a byte each -> several in a byte, the first one lowest."""
    each = 8 // bits
    padded = np.zeros(-(-data.size // each) * each, np.uint8)
    padded[: data.size] = data & ((1 << bits) - 1)
    shifted = padded.reshape(-1, each) << (bits * np.arange(each, dtype=np.uint8))
    return np.asarray(shifted.sum(axis=1, dtype=np.uint8))


def _unpack(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    shifts = bits * np.arange(8 // bits, dtype=np.uint8)
    return np.asarray((data[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
