"""Small models with an answer by hand, put to one engine: what docs/findings-engines.md says is reproduced here.

Run by hand, in an environment that has the engine, onnx and NumPy (docs/backends/ has one for each):

    python docs/findings/questions.py openvino > docs/findings/openvino.txt

Nothing of the suite is imported, neither its references nor its adapters: an answer here shares no code with a verdict.
Answers may differ by a part in ten thousand and a millionth, so that what is printed is a defect and no matter of rounding.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

f32, i32, i64, u8 = np.float32, np.int32, np.int64, np.uint8
NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Question:
    """``answers``: what the definition gives, worked out by hand; several where it leaves a choice."""

    title: str
    model: onnx.ModelProto
    feed: dict[str, np.ndarray]
    answer: list[np.ndarray]


QUESTIONS: list[Question] = []


def ask(
    title: str,
    op: str,
    inputs: list[Any],
    answer: Any,
    *,
    constants: tuple[int, ...] = (),
    opset: int = 21,
    domain: str = "",
    **attributes: Any,
) -> None:
    """A model of one node. ``inputs``: arrays, None where one is left out. ``constants``: those that are initializers."""
    answers = [np.asarray(a) for a in (answer if isinstance(answer, list) else [answer])]
    arrays = {f"x{n}": np.asarray(a) for n, a in enumerate(inputs) if a is not None}
    names = [f"x{n}" if a is not None else "" for n, a in enumerate(inputs)]
    node = helper.make_node(op, names, [f"y{n}" for n in range(len(answers))], domain=domain, **attributes)
    fixed = {f"x{n}" for n in constants}
    graph = helper.make_graph(
        [node],
        "g",
        [_value(n, a) for n, a in arrays.items() if n not in fixed],
        [_value(n, a) for n, a in zip(node.output, answers, strict=True)],
        [numpy_helper.from_array(arrays[n], n) for n in sorted(fixed)],
    )
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 21 else 10)
    QUESTIONS.append(Question(title, model, {n: a for n, a in arrays.items() if n not in fixed}, answers))


def _value(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


# ------------------------------------------------------------------------------------- numbers that are none

ask("Exp of NaN is NaN", "Exp", [f32([NAN, 0])], f32([NAN, 1]))
ask("Exp of 88.5, below float32's end", "Exp", [f32([88.5])], f32([math.exp(88.5)]))
ask("Gelu of infinity: ½·∞·(1 + erf ∞)", "Gelu", [f32([INF, 1])], f32([INF, 0.5 * (1 + math.erf(0.5**0.5))]))
ask(
    "Softmax of a row with a NaN: every quotient has it",
    "Softmax",
    [f32([[0, 1], [NAN, 1]])],
    f32([[1 / (1 + math.e), math.e / (1 + math.e)], [NAN, NAN]]),
)
ask("LogSoftmax of a row with a NaN", "LogSoftmax", [f32([[NAN, 1]])], f32([[NAN, NAN]]))
ask("ThresholdedRelu of -∞: y = x for x > alpha, else 0", "ThresholdedRelu", [f32([-INF, 0.5, 2])], f32([0, 0, 2]))
ask("Shrink of NaN and ∞: otherwise 0; x - bias", "Shrink", [f32([NAN, INF, -INF, 0.1])], f32([0, INF, -INF, 0]))
ask(
    "Greater: nothing is greater than NaN, nor NaN than anything",
    "Greater",
    [f32([NAN, 1, NAN, 2]), f32([1, NAN, NAN, 1])],
    np.array([False, False, False, True]),
)
ask(
    "GreaterOrEqual with NaN",
    "GreaterOrEqual",
    [f32([NAN, 1, NAN, 2]), f32([1, NAN, NAN, 1])],
    np.array([False, False, False, True]),
)
ask(
    "Mod, fmod=1: the remainder of ∞ as divisor is the dividend",
    "Mod",
    [f32([1, 5.5]), f32([INF, 2])],
    f32([1, 1.5]),
    fmod=1,
)
ask(
    "Mod, fmod=1, of 1e6+1/16 by 0.1: exact, as C has it",
    "Mod",
    [f32([1000000.0625]), f32([0.1])],
    f32([float(Fraction(1000000.0625) % Fraction(float(f32(0.1))))]),
    fmod=1,
)
ask(
    "ReduceMax of nothing is -∞",
    "ReduceMax",
    [np.zeros((2, 0), f32), i64([1])],
    f32([[-INF], [-INF]]),
    constants=(1,),
)
ask(
    "ReduceMax with NaN in either place: as numpy's maximum",
    "ReduceMax",
    [f32([[NAN, 1], [1, NAN]]), i64([1])],
    f32([[NAN], [NAN]]),
    constants=(1,),
)
ask(
    "ReduceLogSumExp of NaN and ∞: NaN",
    "ReduceLogSumExp",
    [f32([[NAN, INF]]), i64([1])],
    f32([[NAN]]),
    constants=(1,),
)
ask("Celu with alpha=0.5: ½·(exp(-1/½) - 1)", "Celu", [f32([-1, 2])], f32([0.5 * math.expm1(-2), 2]), alpha=0.5)
ask("GlobalLpPool with p=1: a sum", "GlobalLpPool", [f32([[[3, -4]]])], f32([[[7]]]), p=1)
ask("GlobalLpPool with p=3", "GlobalLpPool", [f32([[[3, -4]]])], f32([[[91 ** (1 / 3)]]]), p=3)
ask(
    "Mod of integers beyond 2²⁴",
    "Mod",
    [i64([1000000007, 123456789]), i64([1000, 1000])],
    i64([7, 789]),
)
ask(
    "ReduceMin of nothing is ∞",
    "ReduceMin",
    [np.zeros((2, 0), f32), i64([1])],
    f32([[INF], [INF]]),
    constants=(1,),
)
ask(
    "MaxPool, ceil_mode: a window that would start in the padding at the end is none",
    "MaxPool",
    [np.arange(1, 12, dtype=f32).reshape(1, 1, 11)],
    f32([[[2, 5, 8, 11]]]),
    opset=22,
    kernel_shape=[3],
    strides=[3],
    pads=[1, 1],
    ceil_mode=1,
)
ask(
    "MaxPool of nothing but -∞",
    "MaxPool",
    [np.full((1, 1, 2, 2), -INF, f32)],
    np.full((1, 1, 1, 1), -INF, f32),
    kernel_shape=[2, 2],
)
ask(
    "GlobalMaxPool of nothing but -∞",
    "GlobalMaxPool",
    [np.full((1, 1, 2, 2), -INF, f32)],
    np.full((1, 1, 1, 1), -INF, f32),
)
ask("Softplus of -8.091669", "Softplus", [f32([-8.091669])], f32([math.log1p(math.exp(-8.091669))]))
ask("Relu of -∞", "Relu", [f32([-INF, -1, 2])], f32([0, 0, 2]))
ask("Cast of ∞ to float64", "Cast", [f32([INF, -INF, 1])], np.array([INF, -INF, 1]), to=11)
ask(
    "Cast of 0.5 to bool: what is not zero is true",
    "Cast",
    [f32([0.5, 1e-3, 0, -2])],
    np.array([True, True, False, True]),
    to=9,
)

# --------------------------------------------------------------------------------------- shapes with a zero

ask("Flatten of (2, 3, 0)", "Flatten", [np.zeros((2, 3, 0), f32)], np.zeros((6, 0), f32), axis=2)
ask(
    "Expand of (3, 1) to (3, 0)",
    "Expand",
    [np.zeros((3, 1), f32), i64([3, 0])],
    np.zeros((3, 0), f32),
    constants=(1,),
)
ask(
    "Expand of (0, 1) to (0, 4)",
    "Expand",
    [np.zeros((0, 1), f32), i64([0, 4])],
    np.zeros((0, 4), f32),
    constants=(1,),
)
ask("Gather of no indices", "Gather", [f32([[1, 2], [3, 4]]), np.zeros(0, i64)], np.zeros((0, 2), f32))
ask("Concat with an empty tensor", "Concat", [np.zeros((0, 2), f32), f32([[1, 2]])], f32([[1, 2]]), axis=0)
ask(
    "Range the wrong way: max(⌈(limit - start)/delta⌉, 0) elements",
    "Range",
    [f32(5), f32(1), f32(0.5)],
    np.zeros(0, f32),
)
ask(
    "Constant of shape (0, 3)",
    "Constant",
    [],
    np.zeros((0, 3), f32),
    value=numpy_helper.from_array(np.zeros((0, 3), f32)),
)
ask("NonZero of a scalar: (0, N), other than NumPy", "NonZero", [f32(2)], np.zeros((0, 1), i64))
ask("Relu of (0, 3)", "Relu", [np.zeros((0, 3), f32)], np.zeros((0, 3), f32))
ask("Size is a scalar", "Size", [np.zeros((2, 3), f32)], np.array(6, i64))
ask("Unique of nothing", "Unique", [np.zeros(0, f32)], np.zeros(0, f32))

# ----------------------------------------------------------------------------------------------- reductions

ask(
    "ReduceL1 over no axes: the absolute value",
    "ReduceL1",
    [f32([[-1, 2]])],
    f32([[1, 2]]),
    noop_with_empty_axes=1,
)
ask(
    "ReduceL2 over no axes: the absolute value",
    "ReduceL2",
    [f32([[-1, 2]])],
    f32([[1, 2]]),
    noop_with_empty_axes=1,
)
ask(
    "ReduceSumSquare over no axes: the square",
    "ReduceSumSquare",
    [f32([[-3, 2]])],
    f32([[9, 4]]),
    noop_with_empty_axes=1,
)
ask(
    "ReduceLogSum over no axes: the logarithm",
    "ReduceLogSum",
    [f32([[1, 4]])],
    f32([[0, math.log(4)]]),
    noop_with_empty_axes=1,
)
ask(
    "ReduceL1-13 over the attribute's axis -1",
    "ReduceL1",
    [f32([[-1, 2], [3, 4]])],
    f32([3, 7]),
    opset=13,
    axes=[-1],
    keepdims=0,
)
ask(
    "ReduceSum over the axis -1",
    "ReduceSum",
    [f32([[-1, 2], [3, 4]]), i64([-1])],
    f32([1, 7]),
    constants=(1,),
    keepdims=0,
)
ask(
    "Softmax-11 of axis 1 in three: over the last two together",
    "Softmax",
    [np.zeros((1, 2, 3), f32)],
    np.full((1, 2, 3), 1 / 6, f32),
    opset=11,
    axis=1,
)
ask("Hardmax: the first of equal maxima", "Hardmax", [f32([[1, 3, 3, 0]])], f32([[0, 1, 0, 0]]))
ask("ArgMax: the first of equal maxima", "ArgMax", [f32([[1, 3, 3, 0]])], np.array([[1]]), axis=1)
ask(
    "CumSum, exclusive and reversed",
    "CumSum",
    [f32([1, 2, 3, 4]), np.array(0, i64)],
    f32([9, 7, 4, 0]),
    constants=(1,),
    exclusive=1,
    reverse=1,
)

# -------------------------------------------------------------------------------------- choosing and placing

ask("Unique along an axis: columns", "Unique", [f32([[2, 1, 2], [2, 1, 2]])], f32([[1, 2], [1, 2]]), axis=1)
ask("Unique, unsorted: in the order of first occurrence", "Unique", [f32([2, 1, 1, 3])], f32([2, 1, 3]), sorted=0)
ask("GatherND with a negative index", "GatherND", [f32([[1, 2], [3, 4]]), i64([[-1]])], f32([[3, 4]]))
ask("ScatterND with a negative index", "ScatterND", [f32([1, 2, 3]), i64([[-1]]), f32([9])], f32([1, 2, 9]))
ask(
    "GatherElements with a negative index",
    "GatherElements",
    [f32([[1, 2], [3, 4]]), i64([[-1, 0]])],
    f32([[3, 2]]),
)
ask(
    "OneHot of -1 counts from the end",
    "OneHot",
    [i64([-1, 1]), np.array(3, i64), f32([0, 5])],
    f32([[0, 0, 5], [0, 5, 0]]),
    constants=(1,),
)
ask(
    "BitShift to the left of a byte drops what leaves it",
    "BitShift",
    [u8([192, 3]), u8([1, 1])],
    u8([128, 6]),
    direction="LEFT",
)
ask("Add of float64 keeps 2⁻⁴⁰ beside 1", "Add", [np.array([1.0]), np.array([2.0**-40])], np.array([1 + 2.0**-40]))
ask("Mod of int64 takes the divisor's sign", "Mod", [i64([-7, 7]), i64([3, -3])], i64([2, -2]))
ask("Equal of int64 beyond float64's integers", "Equal", [i64([2**53 + 1]), i64([2**53])], np.array([False]))
ask("Add of int64 beyond int32", "Add", [i64([2**40]), i64([1])], i64([2**40 + 1]))
ask(
    "TopK of the least, sorted",
    "TopK",
    [f32([3, 1, 2]), i64([2])],
    [f32([1, 2]), i64([1, 2])],
    constants=(1,),
    largest=0,
)
ask("Max broadcasts in both directions", "Max", [f32([[1], [5]]), f32([[2, 3, 4]])], f32([[2, 3, 4], [5, 5, 5]]))
BOXES = f32([[[0, 0, 1, 1], [0, 0.5, 1, 1.5], [0, 3, 1, 4]]])
ask(
    "NonMaxSuppression: equal to the threshold is kept (IoU ⅓)",
    "NonMaxSuppression",
    [BOXES, f32([[[3, 2, 1]]]), i64([3]), f32([f32(0.5) / f32(1.5)])],
    i64([[0, 0, 0], [0, 0, 1], [0, 0, 2]]),
    constants=(2, 3),
)
ask(
    "NonMaxSuppression: the threshold 0 keeps boxes that do not meet",
    "NonMaxSuppression",
    [BOXES, f32([[[3, 2, 1]]]), i64([3])],
    i64([[0, 0, 0], [0, 0, 2]]),
    constants=(2,),
)

ask(
    "TopK of twos and ones: of equals the lower index first",
    "TopK",
    [f32([1, 2] * 16), i64([20])],
    [f32([2] * 16 + [1] * 4), i64([*range(1, 32, 2), 0, 2, 4, 6])],
    constants=(1,),
)
ask(
    "ConstantOfShape without a value: zeros of float32", "ConstantOfShape", [i64([2])], f32([0, 0]), constants=(0,)
)
ask("Einsum ij->: the sum of all", "Einsum", [f32([[1, 2], [3, 4]])], f32(10), equation="ij->")
ask(
    "MatMulInteger of (2) and (2, 1): (1), as numpy.matmul",
    "MatMulInteger",
    [u8([1, 2]), u8([[1], [2]])],
    i32([5]),
)
# ---------------------------------------------------------------------------------------------------- images

ramp = np.arange(16, dtype=f32).reshape(1, 1, 4, 4)
ask(
    "MaxPool, ceil_mode: 5 in windows of 2 by 2",
    "MaxPool",
    [f32([[[1, 2, 3, 4, 5]]])],
    f32([[[2, 4, 5]]]),
    kernel_shape=[2],
    strides=[2],
    ceil_mode=1,
)
ask(
    "MaxPool: indices in column-major order",
    "MaxPool",
    [ramp[:, :, :2, :3]],
    [f32([[[[5, 6]]]]), i64([[[[3, 5]]]])],
    kernel_shape=[2, 2],
    storage_order=1,
)
ask(
    "LpPool, ceil_mode: the root of the sum of squares in the window",
    "LpPool",
    [f32([[[3, 4, 12]]])],
    f32([[[5, 12]]]),
    kernel_shape=[2],
    strides=[2],
    ceil_mode=1,
)
ask(
    "AveragePool, padding not counted",
    "AveragePool",
    [f32([[[2, 4]]])],
    f32([[[2, 3, 4]]]),
    kernel_shape=[2],
    pads=[1, 1],
)
ask(
    "LRN of an even size: ⌊(size-1)/2⌋ before, ⌈(size-1)/2⌉ after",
    "LRN",
    [f32([[[[1]], [[2]], [[3]]]])],
    f32([1 / (1 + (1 + 4) / 2), 2 / (1 + (4 + 9) / 2), 3 / (1 + 9 / 2)]).reshape(1, 3, 1, 1),
    size=2,
    alpha=1.0,
    beta=1.0,
    bias=1.0,
)
ask(
    "LRN with bias 2.5: x/(bias + alpha/size·Σx²)^beta",
    "LRN",
    [f32([[[[1]], [[2]], [[3]]]])],
    f32([1 / (2.5 + 0.1 * 5), 2 / (2.5 + 0.1 * 14), 3 / (2.5 + 0.1 * 13)]).reshape(1, 3, 1, 1),
    size=3,
    alpha=0.3,
    beta=1.0,
    bias=2.5,
)
ask(
    "Resize not larger than (2, 3): one scale for both axes, ½",
    "Resize",
    [ramp, None, None, i64([2, 3])],
    ramp[:, :, ::2, ::2] * 1.0,
    constants=(3,),
    axes=[2, 3],
    mode="nearest",
    keep_aspect_ratio_policy="not_larger",
    coordinate_transformation_mode="asymmetric",
    nearest_mode="floor",
)
ask(
    "Resize with antialias to half of (0, 1, 2, 3): the triangle's weights 1, 3, 3, 1, the edge repeated",
    "Resize",
    [np.arange(4, dtype=f32).reshape(1, 1, 1, 4), None, f32([1, 1, 1, 0.5])],
    f32([(1 * 0 + 3 * 0 + 3 * 1 + 1 * 2) / 8, (1 * 1 + 3 * 2 + 3 * 3 + 1 * 3) / 8]).reshape(1, 1, 1, 2),
    constants=(2,),
    mode="linear",
    antialias=1,
)
ask(
    "Resize, nearest, asymmetric, floor, to 3 of 4: 0, 1, 2",
    "Resize",
    [np.arange(4, dtype=f32).reshape(1, 1, 1, 4), None, None, i64([1, 1, 1, 3])],
    f32([0, 1, 2]).reshape(1, 1, 1, 3),
    constants=(3,),
    mode="nearest",
    coordinate_transformation_mode="asymmetric",
    nearest_mode="floor",
)
ask(
    "Resize, nearest, half_pixel, round_prefer_floor, to 2 of 4: 0.5 and 2.5 down",
    "Resize",
    [np.arange(4, dtype=f32).reshape(1, 1, 1, 4), None, None, i64([1, 1, 1, 2])],
    f32([0, 2]).reshape(1, 1, 1, 2),
    constants=(3,),
    mode="nearest",
)
ask(
    "ConvTranspose, output_shape with SAME_UPPER: the whole begins at ⌊padding/2⌋",
    "ConvTranspose",
    [f32([[[1, 2]]]), f32([[[1, 10, 100]]])],
    f32([[[1, 10, 102, 20]]]),
    constants=(1,),
    strides=[2],
    output_shape=[4],
    auto_pad="SAME_UPPER",
)
ask(
    "RoiAlign of a constant map",
    "RoiAlign",
    [np.full((1, 1, 4, 4), 7, f32), f32([[0, 0, 3, 3]]), i64([0])],
    np.full((1, 1, 1, 1), 7, f32),
)
ask("Dropout's mask is Boolean", "Dropout", [f32([1, 2])], [f32([1, 2]), np.array([True, True])])

# ------------------------------------------------------------------------------------------ signals, networks

ask(
    "DFT of the axis 0",
    "DFT",
    [f32([[1], [3]]).reshape(2, 1, 1), None, np.array(0, i64)],
    f32([[4, 0], [-2, 0]]).reshape(2, 1, 2),
    opset=20,
    constants=(2,),
)
ask(
    "DFT, onesided: (1, 4, 1) becomes (1, 3, 2)",
    "DFT",
    [f32([1, 0, 0, 0]).reshape(1, 4, 1), None, np.array(1, i64)],
    np.tile(f32([1, 0]), (1, 3, 1)).reshape(1, 3, 2),
    opset=20,
    constants=(2,),
    onesided=1,
)
one, zero = np.ones((1, 4, 1), f32), np.zeros((1, 4, 1), f32)
sigmoid = lambda v: 1 / (1 + math.exp(-v))  # noqa: E731
cell = 0.5 * math.tanh(1)  # gates i, f: ½ of nothing; candidate: tanh of the input 1
gates = np.array([0, 0, 0, 1], f32).reshape(1, 4, 1)
ask(
    "LSTM with a peephole to the output: sigmoid(3·C)",
    "LSTM",
    [f32([[[1]]]), gates, zero, None, None, None, None, f32([[0, 3, 0]])],
    f32([[[[sigmoid(3 * cell) * math.tanh(cell)]]]]),
    constants=(1, 2, 7),
    hidden_size=1,
)
ask(
    "LSTM, input_forget: the forget gate is 1 - i",
    "LSTM",
    [f32([[[1]]]), gates + np.array([2, 0, 0, 0], f32).reshape(1, 4, 1), zero, None, None, None, f32([[[2]]])],
    [f32([[[[0]]]]) + 0.5 * math.tanh(sigmoid(2) * math.tanh(1) + (1 - sigmoid(2)) * 2)],
    constants=(1, 2),
    hidden_size=1,
    input_forget=1,
)
ask(
    "RNN, layout 1: the batch goes first",
    "RNN",
    [np.zeros((2, 3, 1), f32), np.ones((1, 1, 1), f32), np.ones((1, 1, 1), f32)],
    np.zeros((2, 3, 1, 1), f32),
    constants=(1, 2),
    hidden_size=1,
    layout=1,
)
ask(
    "RNN in two directions, Relu backwards: relu(-1) = 0, tanh(-1)",
    "RNN",
    [f32([[[-1]]]), np.ones((2, 1, 1), f32), np.zeros((2, 1, 1), f32)],
    f32([[[[math.tanh(-1)]], [[0]]]]),
    constants=(1, 2),
    hidden_size=1,
    direction="bidirectional",
    activations=["Tanh", "Relu"],
)

# --------------------------------------------------------------------------------------------- quantisation

ask(
    "QuantizeLinear of 2.5 scales: a tie goes to even",
    "QuantizeLinear",
    [f32([1.25, 1.75, -1.25]), f32(0.5), u8(10)],
    u8([12, 14, 8]),
    constants=(1, 2),
)
ask(
    "DequantizeLinear per column",
    "DequantizeLinear",
    [np.int8([[1, 2]]), f32([1, 10])],
    f32([[1, 20]]),
    constants=(1,),
    axis=1,
)

ask(
    "QuantizeLinear of ∞ and -∞: saturated",
    "QuantizeLinear",
    [f32([INF, -INF]), f32(0.5), np.int8(7)],
    np.int8([127, -128]),
    constants=(1, 2),
)
MS = "com.microsoft"
ask(
    "SkipSimplifiedLayerNormalization of small numbers: epsilon is 1e-12",
    "SkipSimplifiedLayerNormalization",
    [f32([[[1e-3, 1e-3]]]), f32([[[0, 0]]]), f32([1, 1])],
    f32([[[1, 1]]]),
    constants=(2,),
    domain=MS,
)
ask(
    "FusedMatMul, transBatchA: (4, 1, 2) as (1, 2, 4) in batches",
    "FusedMatMul",
    [np.arange(6, dtype=f32).reshape(3, 1, 2), np.ones((1, 2, 1), f32)],
    np.arange(6, dtype=f32).reshape(3, 1, 2).transpose(1, 0, 2) @ np.ones((1, 2, 1), f32),
    domain=MS,
    transBatchA=1,
)
ask(
    "Attention with scale=2: softmax of 2 and 0",
    "Attention",
    [f32([[[1], [0]]]), f32([[1, 1, 1]]), f32([0, 0, 0])],
    f32([[[1 / (1 + math.exp(-2))], [0.5]]]),
    constants=(1, 2),
    domain=MS,
    num_heads=1,
    scale=2.0,
)
ask(
    "Attention with mask_filter_value=-1: softmax of 1 and 0 - 1, of 0 and 0 - 1",
    "Attention",
    [f32([[[1], [0]]]), f32([[1, 1, 1]]), f32([0, 0, 0]), i32([[1, 0]])],
    f32([[[1 / (1 + math.exp(-2))], [1 / (1 + math.exp(-1))]]]),
    constants=(1, 2),
    domain=MS,
    num_heads=1,
    mask_filter_value=-1.0,
)
ask(
    "RotaryEmbedding of the first 4 of 8, in pairs, by a quarter turn",
    "RotaryEmbedding",
    [f32([[[1, 2, 3, 4, 5, 6, 7, 8]]]), i64([[0]]), f32([[0, 0]]), f32([[1, 1]])],
    f32([[[-2, 1, -4, 3, 5, 6, 7, 8]]]),
    constants=(2, 3),
    domain=MS,
    interleaved=1,
    num_heads=1,
    rotary_embedding_dim=4,
)
ask(
    "DynamicQuantizeMatMul of 0, 255 and 0.4: steps of 1, so 0.4 is 0",
    "DynamicQuantizeMatMul",
    [f32([[0, 255, 0.4]]), np.int8([[1], [0], [1]]), f32(1)],
    f32([[0]]),
    constants=(1, 2),
    domain=MS,
)
ask(
    "FusedGemm with Tanh",
    "FusedGemm",
    [f32([[2]]), f32([[3]])],
    f32([[math.tanh(6)]]),
    domain=MS,
    activation="Tanh",
)
ask(
    "QLinearAdd saturates",
    "QLinearAdd",
    [u8([200]), f32(1), u8(0), u8([100]), f32(1), u8(0), f32(1), u8(0)],
    u8([255]),
    constants=(1, 2, 4, 5, 6, 7),
    domain=MS,
)
ask(
    "QLinearMul rounds 5/3 to the nearest",
    "QLinearMul",
    [u8([5]), f32(1), u8(0), u8([1]), f32(1), u8(0), f32(3), u8(0)],
    u8([2]),
    constants=(1, 2, 4, 5, 6, 7),
    domain=MS,
)

ask(
    "Hardmax: the first of equal maxima in a long row",
    "Hardmax",
    [np.where(np.isin(np.arange(31), (9, 12)), 1, 0).astype(f32).reshape(1, 31)],
    np.eye(31, dtype=f32)[9:10],
)
ask(
    "QuantizeLinear: x/scale is rounded, then the zero point added: round(-5.5) + 3",
    "QuantizeLinear",
    [f32([-1.375, 0.125]), f32(0.25), np.int8(3)],
    np.int8([-3, 3]),
    constants=(1, 2),
)
peak = np.zeros((1, 1, 4, 4), f32)
peak[0, 0, 1, 1] = 1
ask(
    "RoiAlign, as many samples as the region is long: of four around a peak each takes a quarter of it",
    "RoiAlign",
    [peak, f32([[0, 0, 2, 2]]), i64([0])],
    np.full((1, 1, 1, 1), 0.25, f32),
    constants=(2,),
    coordinate_transformation_mode="output_half_pixel",
)
ask(
    "Unique of nine columns with four different ones",
    "Unique",
    [f32([[0, 0, 1, 1, 0, 0, 1, 0, 0], [0, 1, 0, 1, 0, 1, 1, 0, 0]])],
    f32([[0, 0, 1, 1], [0, 1, 0, 1]]),
    axis=1,
)
ask(
    "Mul by subnormal constants: 1e38 · 1e-39",
    "Mul",
    [f32([1e38, 1e38]), f32([1e-39, 2e-39])],
    f32([0.1, 0.2]),
    constants=(1,),
)

drawn = helper.make_graph(
    [
        helper.make_node("RandomNormal", [], ["n"], shape=[65536]),
        helper.make_node("Less", ["n", "least"], ["below"]),
        helper.make_node("Cast", ["below"], ["ones"], to=1),
        helper.make_node("ReduceMax", ["ones"], ["y0"], keepdims=0),
    ],
    "g",
    [_value("least", f32(-2))],
    [_value("y0", f32(1))],
)
drawn_model = helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
QUESTIONS.append(
    Question("RandomNormal: of 65536 numbers some are below -2", drawn_model, {"least": f32(-2)}, [f32(1)])
)
ask(
    "Multinomial of the logarithms 600, 0, 0: always the first",
    "Multinomial",
    [f32([[600, 0, 0]])],
    i32([[0, 0, 0, 0]]),
    sample_size=4,
)
scalar = helper.make_node("RandomUniform", [], ["y0"], low=1.0, high=1.00001)
scalar.attribute.append(helper.make_attribute("shape", [], attr_type=onnx.AttributeProto.INTS))
scalar_model = helper.make_model(
    helper.make_graph([scalar], "g", [], [_value("y0", f32(1))]),
    opset_imports=[helper.make_opsetid("", 21)],
    ir_version=10,
)
QUESTIONS.append(Question("RandomUniform of no axes, from 1 to 1.00001", scalar_model, {}, [np.array(1, f32)]))
body = helper.make_graph(
    [helper.make_node("Identity", [a], [b]) for a, b in (("go", "on"), ("v", "w"), ("v", "each"))],
    "body",
    [_value("turn", i64(0)), _value("go", np.array(True)), _value("v", f32([1, 2]))],
    [_value("on", np.array(True)), _value("w", f32([1, 2])), _value("each", f32([1, 2]))],
)
ask(
    "Loop whose condition is false before the first turn: no turn",
    "Loop",
    [i64(4), np.array(False), f32([1, 2])],
    [f32([1, 2]), np.zeros((0, 2), f32)],
    constants=(0, 1),
    body=body,
)
there = helper.make_graph(
    [
        helper.make_node("Cast", ["x"], ["e"], to=TensorProto.FLOAT8E4M3FN),
        helper.make_node("Cast", ["e"], ["y0"], to=1),
    ],
    "g",
    [_value("x", f32([500, -1e6, 1]))],
    [_value("y0", f32([448, -448, 1]))],
)
there_model = helper.make_model(there, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
feed = {"x": f32([500, -1e6, 1])}
QUESTIONS.append(Question("Cast to float8e4m3fn saturates at 448", there_model, feed, [f32([448, -448, 1])]))


# --------------------------------------------------------------------------------------------------- engines


def openvino() -> tuple[str, Callable[..., Any]]:
    import openvino as ov

    properties = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}

    def run(path: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        compiled = ov.Core().compile_model(path, "CPU", properties)
        return [np.array(a) for a in compiled(list(feed.values())).to_tuple()]

    return f"OpenVINO {ov.__version__}", run


def tract() -> tuple[str, Callable[..., Any]]:
    import tract as engine

    def run(path: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        runnable = engine.onnx().load(path).into_model().into_runnable()
        return [o.to_numpy() for o in runnable.run(list(feed.values()))]

    return f"tract {engine.version()}", run


def tinygrad() -> tuple[str, Callable[..., Any]]:
    os.environ["DEV"] = "CPU"
    from importlib.metadata import version

    from tinygrad.nn.onnx import OnnxRunner

    return f"tinygrad {version('tinygrad')}", lambda path, feed: [
        t.numpy() for t in OnnxRunner(path)(feed).values()
    ]


def opencv() -> tuple[str, Callable[..., Any]]:
    import cv2

    def run(path: str, feed: dict[str, np.ndarray]) -> list[Any]:
        net = cv2.dnn.readNetFromONNX(path, cv2.dnn.ENGINE_NEW)
        for name, array in feed.items():
            net.setInput(array, name)
        return list(net.forward(net.getUnconnectedOutLayersNames()))

    return f"OpenCV {cv2.__version__}", run


def iree() -> tuple[str, Callable[..., Any]]:
    from importlib.metadata import version

    import iree.compiler.tools as compiler
    import iree.runtime as runtime
    from iree.compiler.tools.import_onnx import __main__ as importer

    options = ["--iree-llvmcpu-target-cpu=host", "--iree-input-demote-f64-to-f32=false"]

    def run(path: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        importer.main(importer.parse_arguments([path, "-o", f"{path}.mlir"]))
        binary = compiler.compile_file(
            f"{path}.mlir", input_type="onnx", target_backends=["llvm-cpu"], extra_args=options
        )
        context = runtime.SystemContext(config=runtime.Config("local-sync"))
        context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, binary))
        outputs = context.modules.module["g"](*feed.values())
        arrays = [o.to_host() for o in (outputs if isinstance(outputs, tuple) else (outputs,))]
        kinds = [
            helper.tensor_dtype_to_np_dtype(o.type.tensor_type.elem_type) for o in onnx.load(path).graph.output
        ]
        return [
            a.view(k) if k.kind == "u" else a for a, k in zip(arrays, kinds, strict=True)
        ]  # no sign of its own

    return f"IREE {version('iree-base-compiler')}", run


def tvm() -> tuple[str, Callable[..., Any]]:
    import tvm as engine
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    def run(path: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        module = from_onnx(onnx.load(path), keep_params_in_input=False)
        compiled = engine.compile(relax.transform.DecomposeOpsForInference()(module), target="llvm")
        outputs = relax.VirtualMachine(compiled, engine.cpu())["main"](
            *[engine.runtime.tensor(a) for a in feed.values()]
        )
        return [o.numpy() for o in ([outputs] if hasattr(outputs, "numpy") else outputs)]

    return f"TVM {engine.__version__}", run


def nxrt() -> tuple[str, Callable[..., Any]]:
    import nxrt as engine

    return f"nxrt {engine.__version__}", lambda path, feed: list(engine.InferenceSession(path).run(None, feed))


def emx_onnx_cgen() -> tuple[str, Callable[..., Any]]:
    from importlib.metadata import version

    from emx_onnx_cgen.onnx_backend import prepare

    return f"emx-onnx-cgen {version('emx-onnx-cgen')}", lambda path, feed: prepare(onnx.load(path)).run(
        list(feed.values())
    )


def mnn() -> tuple[str, Callable[..., Any]]:
    import _tools
    import MNN
    from MNN import expr, nn

    floats, whole = (np.float32, expr.float), (np.int32, expr.int)
    fits = {"float32": floats, "float16": floats, "int32": whole, "int64": whole, "bool": whole}
    fits |= {"uint8": (np.uint8, expr.uint8), "int8": (np.int8, expr.int8)}

    def run(path: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        wanted = {o.name: o.type.tensor_type.elem_type for o in onnx.load(path).graph.output}
        dtypes = [helper.tensor_dtype_to_np_dtype(t) for t in wanted.values()]
        if not fits.keys() >= {str(d) for d in (*dtypes, *(a.dtype for a in feed.values()))}:
            raise TypeError("MNN has no such type")
        _tools.mnnconvert(["", "-f", "ONNX", "--modelFile", path, "--MNNModel", f"{path}.mnn", "--bizCode", "_"])
        module = nn.load_module_from_file(
            f"{path}.mnn", [*feed], [*wanted], precision_mode=expr.PrecisionMode.High
        )
        given = [(a, *fits[str(a.dtype)]) for a in feed.values()]
        feeds = [expr.const(np.array(a, d), list(a.shape), expr.NCHW, t) for a, d, t in given]
        results = [expr.convert(r, expr.NCHW) for r in module.forward(feeds)]  # what is read lies in them
        return [np.array(r.read()).astype(d) for r, d in zip(results, dtypes, strict=False)]

    return f"MNN {MNN.version()}", run


def onnxruntime() -> tuple[str, Callable[..., Any]]:
    import onnxruntime as engine

    def run(path: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        options = engine.SessionOptions()
        options.log_severity_level = 4
        return list(engine.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feed))

    return f"ONNX Runtime {engine.__version__}", run


def reference() -> tuple[str, Callable[..., Any]]:
    from onnx.reference import ReferenceEvaluator

    return f"ONNX's reference evaluator {onnx.__version__}", lambda path, feed: ReferenceEvaluator(path).run(
        None, feed
    )


ENGINES = {
    f.__name__.replace("_", "-"): f
    for f in (openvino, tract, tinygrad, opencv, iree, tvm, nxrt, emx_onnx_cgen, mnn, onnxruntime, reference)
}


# ---------------------------------------------------------------------------------------------------- asking


# An engine that takes longer has no answer.
SECONDS = 30


def same(actual: Any, expected: np.ndarray) -> bool:
    """Whether the engine's output is the answer, to a part in ten thousand and a millionth."""
    if not isinstance(actual, np.ndarray) or (actual.shape, actual.dtype) != (expected.shape, expected.dtype):
        return False
    if expected.dtype.kind != "f":
        return bool((actual == expected).all())
    return bool(np.allclose(actual, expected, rtol=1e-4, atol=1e-6, equal_nan=True))


def show(values: list[Any]) -> str:
    """Outputs in one line."""
    texts = (
        f"{v.dtype}{list(v.shape)} {np.array2string(v.reshape(-1), precision=6, max_line_width=1000)}"
        if isinstance(v, np.ndarray)
        else str(v)
        for v in values
    )
    return "; ".join(texts) or "nothing"


def answers(run: Callable[..., Any], first: int) -> None:
    """Put the questions from ``first`` on to the engine; a line for each on stdout, as soon as it is answered."""
    for number, question in enumerate(QUESTIONS[first:], first):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.onnx"
            onnx.save(question.model, path)
            signal.alarm(SECONDS)  # ends a process that hangs, as a crash does
            try:
                got = list(run(path, {n: a.copy() for n, a in question.feed.items()}))
            except Exception as error:  # noqa: BLE001  (whatever an engine raises is its answer)
                text, right = f"refused: {' '.join(str(error).split())[-150:]}", "refused"
            else:
                text = show(got)
                right = (
                    "right"
                    if len(got) == len(question.answer) and all(map(same, got, question.answer))
                    else "wrong"
                )
            signal.alarm(0)
        print(f"ANSWER\t{number}\t{right}\t{text}", flush=True)


def main() -> None:
    """``questions.py ENGINE``: what the engine answers otherwise than by hand."""
    engine = sys.argv[1]
    if len(sys.argv) == 3:
        name, run = ENGINES[engine]()
        print(f"ENGINE\t{name}", flush=True)
        return answers(run, int(sys.argv[2]))
    results: dict[int, tuple[str, str]] = {}
    name = engine
    while len(results) < len(QUESTIONS):
        child = subprocess.run(
            [sys.executable, __file__, engine, str(len(results))], capture_output=True, text=True
        )
        for line in child.stdout.splitlines():
            if "ENGINE\t" in line:  # an engine may leave a line of its own unfinished
                name = line.partition("ENGINE\t")[2]
            elif "ANSWER\t" in line:
                number, right, text = line.partition("ANSWER\t")[2].split("\t")
                results[int(number)] = (right, text)
        if child.returncode > 0 or (child.returncode == 0 and len(results) < len(QUESTIONS)):
            sys.exit(child.stderr)
        if child.returncode:
            results[len(results)] = ("died", f"killed by {signal.Signals(-child.returncode).name}")
    counts = {kind: sum(r == kind for r, _ in results.values()) for kind in ("right", "wrong", "refused", "died")}
    print(f"{name}: {len(QUESTIONS)} questions; " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
    for number, (right, text) in results.items():
        if right in ("wrong", "died"):
            question = QUESTIONS[number]
            print(f"\n{question.title} ({question.model.graph.node[0].op_type})")
            print(f"    by hand  {show(question.answer)}")
            print(f"    {name.split()[0]:8} {text}")
    return None


if __name__ == "__main__":
    main()
