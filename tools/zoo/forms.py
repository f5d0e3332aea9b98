"""The numbers that a deployed graph computes in: a model in float32 becomes one in float16 or a quantised one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper

from conformance.draws import Draw, choice, integers, uniform
from conformance.models.store import Model, feed

__all__ = ["HALF", "REWRITES", "halve", "quantised_draw", "to_nibbles"]

HALF = "float16"
CALIBRATION = 4  # seeds of inputs from which ranges are taken
BLOCK = 32  # numbers that share a scale in 4-bit weights
# Two zero points in a byte, 7 or 8 each: on average the middle of 0..15, so that the weights have no mean.
ZEROS = (0x77, 0x78, 0x87, 0x88)
NIBBLE_STD = 4.61  # standard deviation of a whole number drawn evenly from 0..15
BOUND = 3.47  # deviations within which a normal draw lies


def halve(module: torch.nn.Module, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a module's floats into float16, in place; its feeds in float16."""
    from dataclasses import replace

    module.half()
    return {n: replace(f, dtype=HALF) if f.dtype == "float32" else f for n, f in feeds.items()}


class _Calibration:
    """What ONNX Runtime's quantiser reads ranges from."""

    def __init__(self, model: Model) -> None:
        self._feeds = iter([{n: feed(model, n, seed) for n in model.inputs} for seed in range(CALIBRATION)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _static(model: Model, file: Path) -> onnx.ModelProto:
    """Weights in int8, a scale a channel; activations in uint8; as pairs of QuantizeLinear and DequantizeLinear."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    target = file.with_name("quantised.onnx")
    quantize_static(
        str(file),
        str(target),
        _Calibration(model),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return onnx.load(target)


def _dynamic(model: Model, file: Path) -> onnx.ModelProto:
    """Weights in int8; activations quantised as they come, by DynamicQuantizeLinear."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = file.with_name("quantised.onnx")
    quantize_dynamic(str(file), str(target), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    return onnx.load(target)


# By the name of the form: from a materialised model in float32 to one with other numbers in it.
REWRITES: Mapping[str, Callable[[Model, Path], onnx.ModelProto]] = {"int8": _static, "dynamic int8": _dynamic}


def quantised_draw(array: np.ndarray, kind: Draw) -> Draw:
    """The recipe of integers like these: a fitted normal or uniform draw that stays within the type."""
    info = np.iinfo(array.dtype)
    if kind.kind == "normal":
        room = min(info.max - kind.a, kind.a - info.min)
        return Draw("normal", kind.a, min(kind.b, float(f"{room / BOUND:.3g}")))
    return integers(int(array.min()), int(array.max()))


def to_nibbles(proto: onnx.ModelProto, recipes: dict[str, Draw]) -> dict[str, Draw]:
    """Replace products with a weight by MatMulNBits (com.microsoft) with 4-bit weights, in place: two to a byte, a
    scale for each block of a column. Takes and returns the recipes of the weights, from which the scales follow."""
    graph = proto.graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    found: dict[str, Draw] = dict(recipes)
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in recipes:
            continue
        name = node.input[1]
        rows, columns = shapes[name]
        if rows % BLOCK:
            continue
        draw = found.pop(name, None) or recipes[name]
        std = draw.b if draw.kind == "normal" else (draw.b - draw.a) / 12**0.5
        blocks = rows // BLOCK
        scale = float(f"{std / NIBBLE_STD:.3g}")
        added = {
            f"{name}.nibbles": (onnx.TensorProto.UINT8, [columns, blocks, BLOCK // 2], integers(0, 255)),
            f"{name}.scales": (onnx.TensorProto.FLOAT, [columns, blocks], uniform(0.5 * scale, 1.5 * scale)),
            f"{name}.zeros": (onnx.TensorProto.UINT8, [columns, (blocks + 1) // 2], choice(*ZEROS)),
        }
        for key, (kind, shape, recipe) in added.items():
            if key not in found:
                graph.input.append(helper.make_tensor_value_info(key, kind, shape))
            found[key] = recipe
        attributes = {"K": rows, "N": columns, "bits": 4, "block_size": BLOCK}
        node.CopyFrom(
            helper.make_node(
                "MatMulNBits",
                [node.input[0], *added],
                node.output,
                node.name,
                domain="com.microsoft",
                **attributes,
            )
        )
    kept = [v for v in graph.input if v.name in found or v.name not in recipes]
    del graph.input[:]
    graph.input.extend(kept)
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return {v.name: found[v.name] for v in graph.input if v.name in found}
