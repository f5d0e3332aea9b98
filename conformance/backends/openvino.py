"""OpenVINO, on one of its devices.

Options: ``device`` (CPU unless told otherwise). Any further option is a property of OpenVINO's. Three are set unless
told otherwise: ``INFERENCE_PRECISION_HINT=f32`` (without it a CPU that has bfloat16 computes float32 models in it),
``DYNAMIC_QUANTIZATION_GROUP_SIZE=0`` (no quantising of activations that the model does not ask for) and
``INFERENCE_NUM_THREADS=1``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov

__all__ = ["Backend", "Unsupported"]

_PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "INFERENCE_NUM_THREADS": "1",
}
# What OpenVINO says when it declines a model, as opposed to failing on it.
_DECLINED = (
    "No conversion rule found for operations",
    "does not support",
    "doesn't support",
    "not supported",
    "only supported",
    "nsupported",
    "ot implemented",
    "Not Implemented",
    "Unknown activation function",
    "element type must be",
)
# Element types that NumPy lacks: the name in ml_dtypes, and how many OpenVINO packs into a byte.
_EXTENDED = {
    "bf16": ("bfloat16", 1),
    "f8e4m3": ("float8_e4m3fn", 1),
    "f8e5m2": ("float8_e5m2", 1),
    "f8e8m0": ("float8_e8m0fnu", 1),
    "f4e2m1": ("float4_e2m1fn", 2),
    "i4": ("int4", 2),
    "u4": ("uint4", 2),
}


class Unsupported(Exception):
    """OpenVINO declines the model."""


class Backend:
    def __init__(self, device: str = "CPU", **properties: str) -> None:
        self._core, self._device = ov.Core(), device
        if device not in self._core.available_devices:  # AUTO, HETERO and their like choose for themselves
            raise Unsupported(f"{device} is not among {', '.join(self._core.available_devices)}")
        known = self._core.get_property(device, "SUPPORTED_PROPERTIES")
        self._properties = {k: v for k, v in _PROPERTIES.items() if k in known} | properties

    def describe(self) -> dict[str, Any]:
        """What runs, on what, and the properties that it runs with."""
        return {
            "name": "OpenVINO",
            "version": ov.__version__.partition("-")[0],
            "build": ov.__version__,
            "device": self._core.get_property(self._device, "FULL_DEVICE_NAME"),
            "driver": self._device,
            "properties": self._properties,
        }

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[Any]]:
        """Read and compile the model; the callable runs it."""
        try:
            compiled = self._core.compile_model(model, self._device, self._properties)
        except Exception as error:
            if any(sign in str(error) for sign in _DECLINED):
                lines = str(error).splitlines()
                reason = " ".join(line for line in lines if line and not line.startswith("Exception from"))
                raise Unsupported(reason) from error
            raise
        # By the nodes' names: those of the ports are lost where a Sum or a Max of one input is optimised away.
        ports = {port.node.friendly_name: port for port in compiled.inputs}
        request = compiled.create_infer_request()

        def run(inputs: dict[str, Any]) -> list[Any]:
            for name, array in inputs.items():
                request.set_tensor(ports[name], _to_tensor(array, ports[name].element_type))
            request.infer()
            return [_to_array(request.get_output_tensor(n)) for n in range(len(compiled.outputs))]

        return run


def _to_tensor(array: Any, element: ov.Type) -> ov.Tensor:
    if not isinstance(array, np.ndarray):
        raise Unsupported("OpenVINO takes tensors only, no sequences and no absent optionals")
    if array.dtype == object:
        return ov.Tensor(array.astype(np.str_))
    _, each = _EXTENDED.get(element.get_type_name(), ("", 0))
    if not each:
        return ov.Tensor(array)
    data: Any = array.reshape(-1).view(np.uint16 if array.itemsize == 2 else np.uint8)
    if each == 2:  # the first one low; openvino.helpers.pack_data has it high
        data = np.append(data & 15, np.zeros(data.size % 2, np.uint8)).reshape(-1, 2)
        data = data[:, 0] | data[:, 1] << 4
    tensor = ov.Tensor(
        element, list(array.shape)
    )  # its own memory: one made of an array would not keep that alive
    tensor.data.view(np.uint8).reshape(-1)[:] = data.view(np.uint8)
    return tensor


def _to_array(tensor: ov.Tensor) -> np.ndarray:
    name = tensor.element_type.get_type_name()
    if name == "string":
        return np.asarray(tensor.str_data).astype(object)
    dtype, each = _EXTENDED.get(name, ("", 0))
    if not each:
        return np.array(tensor.data)
    import ml_dtypes

    data = tensor.data
    if each == 2:
        data = data.view(np.uint8).reshape(-1)
        data = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)[: tensor.size]
        if name == "i4":  # the sign is the highest of the four bits
            data = ((data ^ 8).view(np.int8) - 8).astype(ml_dtypes.int4)
    result: np.ndarray = np.asarray(data).view(getattr(ml_dtypes, dtype)).reshape(tuple(tensor.shape))
    return result
