"""Canaan's K230 on its simulator: nncase compiles, the KPU is simulated on the host.

Options: ``quant`` (none unless told otherwise; uint8, int8 or int16: each model is quantised after training, on the
inputs that it is then run with). The compiler is a .NET program that ends its process for what it does not take.
"""

from __future__ import annotations

import os
import sysconfig
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Backend"]

_PACKAGES = Path(sysconfig.get_path("purelib"))
_DOTNET = _PACKAGES / "dnv" / "net" / "runtime" / ".net"
_QUANTISED = ("uint8", "int8", "int16")


def _nncase() -> Any:
    """The compiler's package, which reads these variables when it is imported."""
    os.environ.update(
        DOTNET_ROOT=str(_DOTNET),
        DOTNET_ROLL_FORWARD="Major",
        DOTNET_SYSTEM_GLOBALIZATION_INVARIANT="1",
        NNCASE_PLUGIN_PATH=str(_PACKAGES / "nncase" / "modules" / "kpu"),
        PATH=os.pathsep.join([str(_PACKAGES), str(_DOTNET), os.environ.get("PATH", "")]),
    )
    import nncase

    return nncase


class Backend:
    def __init__(self, quant: str = "none") -> None:
        if quant not in ("none", *_QUANTISED):
            raise ValueError(f"quant={quant}: one of none, {', '.join(_QUANTISED)} is meant")
        self._quant = quant
        self._nncase = _nncase()
        # It writes gmodel_dump_dir into the current folder, whatever it is told.
        self._folder = tempfile.TemporaryDirectory(prefix="canaan-k230-")
        os.chdir(self._folder.name)

    def describe(self) -> dict[str, Any]:
        """What runs, and what it takes."""
        return {
            "name": "Canaan K230 simulator",
            "version": metadata.version("nncase"),
            "device": "simulated K230",
            "driver": f"nncase-kpu {metadata.version('nncase-kpu')}",
            "static_shapes": True,
            "numerics": {} if self._quant == "none" else {"float32": {"mode": self._quant}},
        }

    def prepare(self, model: str) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
        """Compile the model; where it is to be quantised, at its first run, whose inputs calibrate it."""
        content = Path(model).read_bytes()
        if self._quant == "none":
            return self._loaded(content, None)
        loaded: list[Callable[[dict[str, np.ndarray]], list[np.ndarray]]] = []

        def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            if not loaded:
                loaded.append(self._loaded(content, list(inputs.values())))
            return loaded[0](inputs)

        return run

    def close(self) -> None:
        """Remove what the compiler wrote."""
        os.chdir("/")
        self._folder.cleanup()

    def _loaded(
        self, content: bytes, calibration: list[np.ndarray] | None
    ) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
        nncase = self._nncase
        options = nncase.CompileOptions()
        options.target = "k230"
        options.dump_asm = False
        options.dump_dir = self._folder.name
        compiler = nncase.Compiler(options)
        compiler.import_onnx(content, nncase.ImportOptions())
        if calibration is not None:
            ptq = nncase.PTQTensorOptions()
            ptq.quant_type = ptq.w_quant_type = self._quant
            ptq.calibrate_method = "NoClip"
            ptq.samples_count = 1
            ptq.set_tensor_data([[array] for array in calibration])
            compiler.use_ptq(ptq)
        compiler.compile()
        simulator = nncase.Simulator()
        simulator.load_model(compiler.gencode_tobytes())

        def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            for position, array in enumerate(inputs.values()):  # in the graph's order
                simulator.set_input_tensor(position, nncase.RuntimeTensor.from_numpy(array))
            simulator.run()
            return [np.array(simulator.get_output_tensor(n).to_numpy()) for n in range(simulator.outputs_size)]

        return run
