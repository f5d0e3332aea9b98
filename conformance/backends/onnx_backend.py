"""Any class with ONNX's backend interface (onnx.backend.base.Backend).

Options: ``module`` (where it is, such as ``onnx_tf.backend``), ``class`` (its name; without one, the module's own
``prepare``, or its only subclass of Backend), ``device`` (CPU unless told otherwise).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend as Interface

__all__ = ["Backend", "Unsupported"]


class Unsupported(Exception):
    """The wrapped backend declines the model, or the device."""


class Backend:
    def __init__(self, module: str = "", device: str = "CPU", **options: str) -> None:
        name = options.pop("class", "")
        if not module:
            raise ValueError("which backend? --option module=package.module [--option class=Name]")
        if options:
            raise ValueError(f"unknown options: {', '.join(options)}")
        self._module = importlib.import_module(module)
        self._backend = _find(self._module, name)
        self._device = device
        if hasattr(self._backend, "supports_device") and not self._backend.supports_device(device):
            raise Unsupported(f"{module} does not support the device {device}")

    def describe(self) -> dict[str, Any]:
        """The package's name and version, as far as it says."""
        package = importlib.import_module(self._module.__name__.partition(".")[0])
        return {
            "name": f"{package.__name__} (ONNX backend interface)",
            "version": str(getattr(package, "__version__", "unknown")),
            "device": self._device,
        }

    def prepare(self, model: str) -> Callable[[dict[str, Any]], list[Any]]:
        """Let the wrapped backend prepare the model; inputs then go by position, as its interface asks."""
        proto = onnx.load(model)
        if hasattr(self._backend, "is_compatible") and not self._backend.is_compatible(proto, self._device):
            raise Unsupported("is_compatible() says no")
        constant = {tensor.name for tensor in proto.graph.initializer}
        names = [value.name for value in proto.graph.input if value.name not in constant]
        prepared = _declining(self._backend.prepare, proto, self._device)
        if prepared is None:
            raise Unsupported("prepare() gave nothing")

        def run(inputs: dict[str, Any]) -> list[Any]:
            outputs = _declining(prepared.run, [inputs[name] for name in names])
            # The interface lets scalars come back as NumPy numbers.
            return [np.asarray(o) if isinstance(o, np.generic) else o for o in outputs]

        return run


def _find(module: ModuleType, name: str) -> Any:
    if name:
        return getattr(module, name)
    if callable(getattr(module, "prepare", None)):
        return module
    found = [
        v for v in vars(module).values() if inspect.isclass(v) and issubclass(v, Interface) and v is not Interface
    ]
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise ValueError(f"{module.__name__}: which class? --option class=Name ({names})")
    return found[0]


def _declining(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Exception as error:
        # By name: the class lives in onnx's test runner, which not everyone who raises it can import.
        if "BackendIsNotSupposedToImplementIt" in [c.__name__ for c in type(error).__mro__]:
            raise Unsupported(str(error)) from error
        raise
