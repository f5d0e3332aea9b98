"""One real run of a materialised model: the shape, the type and the health of every tensor; and its arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from conformance.draws import full
from conformance.dtypes import dtype_of, lookup
from conformance.models.store import Model, TensorType, feed, loosen

__all__ = ["Layer", "Measured", "macs", "measure"]

EXPLODED = 1e4  # no intermediate of a healthy network is larger
VANISHED = 1e-6  # nor is all of it smaller
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "GRU", "LSTM", "LayerNormalization", "MatMul", "MatMulNBits")
NORMALISED = ("BatchNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization")
# Functions that saturate or cut, and the two values beyond which they say nothing any more.
SATURATING = {"Sigmoid": (1e-3, 0.999), "HardSigmoid": (0.0, 1.0), "Tanh": (-0.999, 0.999)}
CUTTING = ("Relu", "Clip", "HardSwish", "Gelu", "LeakyRelu", "PRelu", "QuantizeLinear")
HEALTHY = (1e-2, 1e3)  # standard deviation of an output
# Masks add the most negative number; it is meant.
MASKED = {"float16": -6e4}
MASKED_WIDE = -1e30


@dataclass(frozen=True, slots=True)
class Layer:
    """What comes out of a layer: its mean and deviation, the shares of zeros and of saturated elements."""

    node: str
    mean: float
    std: float
    zeros: float
    saturated: float


@dataclass(frozen=True, slots=True)
class Measured:
    """``types``: (element type, shape) by tensor. ``output_std``: by output. ``largest``: of all intermediates.
    ``layers``: what has weights, normalises, saturates or cuts. ``complaints``: what is unhealthy, in words."""

    types: Mapping[str, tuple[int, tuple[int, ...]]]
    output_std: Mapping[str, float]
    largest: float
    layers: tuple[Layer, ...]
    complaints: tuple[str, ...]


def measure(model: Model, file: Path, seed: int = 0) -> Measured:
    """Run a materialised model in ONNX Runtime, unoptimised and with every intermediate as an output.

    Runs it as it is too: a file that ONNX Runtime's optimiser does not take is none to certify with.
    """
    import onnxruntime

    feeds = {name: feed(model, name, seed) for name in model.inputs}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    plain = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    finals = dict(zip((o.name for o in plain.get_outputs()), plain.run(None, feeds), strict=True))
    del plain

    proto = onnx.load(file, load_external_data=False)
    known = {o.name for o in proto.graph.output}
    names = [name for node in proto.graph.node for name in node.output if name]
    del proto.graph.value_info[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    opened = file.with_name("opened-" + file.name)
    opened.write_bytes(proto.SerializeToString())
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(opened, options, providers=["CPUExecutionProvider"])
    arrays = dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds), strict=True))
    types = {n: (lookup(dtype_of(a)).onnx, a.shape) for n, a in arrays.items()}
    zeros = {name for name, recipe in model.weights.items() if recipe == full(0.0)}
    complaints: list[str] = []
    layers: list[Layer] = []
    largest = 0.0
    for node in proto.graph.node:
        for name in filter(None, node.output):
            largest = max(largest, _inspect(f"{node.name} ({name})", arrays[name], complaints))
        if node.op_type in (*WEIGHTED, *NORMALISED, *SATURATING, *CUTTING):
            layers.append(_layer(node, arrays[node.output[0]]))
        if not zeros.intersection(node.input):
            _look_for_death(node, arrays, complaints)
    std = {}
    for name, array in finals.items():
        std[name] = float(array.astype(np.float64).std()) if array.size > 1 else abs(float(array.ravel()[0]))
        if array.dtype.kind == "f" and not HEALTHY[0] <= std[name] <= HEALTHY[1]:
            complaints.append(f"output {name} has a standard deviation of {std[name]:.3g}")
        if not np.allclose(array, arrays[name], rtol=1e-2, atol=1e-2 * max(std[name], 1e-6)):
            complaints.append(f"output {name} differs between an optimised and a plain run")
    if model.axes:
        _run_at_all_sizes(model, loosen(model, file), options, seed)
    return Measured(types, std, largest, tuple(layers), tuple(complaints))


def _run_at_all_sizes(model: Model, file: Path, options: Any, seed: int) -> None:
    """Raises ``ValueError`` where the model does not give finite numbers at one of its further lengths."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    for sizes in model.sizes:
        outputs = session.run(None, {name: feed(model, name, seed, sizes) for name in model.inputs})
        if not all(np.isfinite(o).all() for o in outputs if o.dtype.kind == "f"):
            raise ValueError(f"{model.name} is not finite at {dict(sizes)}")


def _layer(node: onnx.NodeProto, array: np.ndarray) -> Layer:
    x = array.astype(np.float64)
    low, high = SATURATING.get(node.op_type, (-math.inf, math.inf))
    if node.op_type == "QuantizeLinear":
        low, high = (float(v) for v in (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max))
    saturated = float(((x <= low) | (x >= high)).mean())
    return Layer(node.name, float(x.mean()), float(x.std()), float((x == 0).mean()), saturated)


def _inspect(where: str, array: np.ndarray, complaints: list[str]) -> float:
    """The largest magnitude, masks aside; appends what is wrong with the tensor."""
    if array.dtype.kind != "f" or not array.size:
        return 0.0
    masked = array <= MASKED.get(dtype_of(array), MASKED_WIDE)
    plain = array[~masked]
    if not plain.size:
        return 0.0
    largest = float(np.abs(plain).max())
    if not math.isfinite(largest):
        complaints.append(f"{where} is not finite")
    elif largest > EXPLODED:
        complaints.append(f"{where} reaches {largest:.3g}")
    return largest


def _look_for_death(node: onnx.NodeProto, arrays: Mapping[str, np.ndarray], complaints: list[str]) -> None:
    """Where something goes in and nothing comes out, a comparison says nothing. Zeros out of zeros are meant: a
    detector's decoder starts with them, a mask consists of them."""
    alive = [np.abs(arrays[i]).max() > VANISHED for i in node.input if i in arrays and arrays[i].size]
    if node.op_type not in WEIGHTED or not all(alive):
        return
    if (largest := float(np.abs(arrays[node.output[0]]).max())) <= VANISHED:
        complaints.append(f"{node.name} ({node.output[0]}) vanishes: at most {largest:.3g}")


def macs(model: Model) -> int:
    """Multiply-accumulates of convolutions, matrix products and recurrent layers."""
    return sum(_node_macs(node, model.types) for node in model.proto.graph.node)


def _node_macs(node: onnx.NodeProto, types: Mapping[str, TensorType]) -> int:
    def shape(name: str) -> tuple[int, ...]:
        return types[name].shape

    def size(name: str) -> int:
        return math.prod(shape(name))

    if node.op_type in ("Conv", "ConvInteger"):
        return size(node.output[0]) * math.prod(shape(node.input[1])[1:])
    if node.op_type == "ConvTranspose":
        return size(node.input[0]) * math.prod(shape(node.input[1])[1:])
    if node.op_type in ("MatMul", "MatMulInteger"):
        return size(node.output[0]) * shape(node.input[0])[-1]
    if node.op_type == "MatMulNBits":
        return size(node.output[0]) * next(a.i for a in node.attribute if a.name == "K")
    if node.op_type == "Gemm":
        return size(node.output[0]) * size(node.input[0]) // shape(node.output[0])[0]
    if node.op_type in ("LSTM", "GRU", "RNN"):
        steps, batch = shape(node.input[0])[:2]
        return steps * batch * (size(node.input[1]) + size(node.input[2]))
    return 0
