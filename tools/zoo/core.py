"""Core: the 35 operators without which the models of Tier 1 do not run. Frozen: changing it is a major version.

When it was frozen there were 25 reference models. Every operator that three or more of them use is here, but for
one pair: Sin and Cos, which stand for rotary embeddings alone and would have been the 35th and 36th. Split takes
the 35th place: it is how fused projections are taken apart, in GPT-2 and in the denoiser.
"""

from __future__ import annotations

__all__ = ["CORE"]

ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Pow", "Sqrt")
# Exporters guard every attention against rows that are masked throughout: IsNaN, then Where.
SELECTION = ("And", "IsNaN", "Where", "Cast")
PRODUCTS = ("Conv", "Gemm", "MatMul")
ACTIVATIONS = ("Clip", "Erf", "Gelu", "Relu", "Sigmoid", "Softmax", "Tanh")
NORMALISATIONS = ("BatchNormalization", "LayerNormalization")
REDUCTIONS = ("MaxPool", "ReduceMean", "ReduceSum")
# GatherND reads attention masks in exported decoders; Resize is every pyramid's and every decoder's.
MOVEMENT = (
    "Concat",
    "Expand",
    "Gather",
    "GatherND",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Transpose",
    "Unsqueeze",
)

CORE = (*ARITHMETIC, *SELECTION, *PRODUCTS, *ACTIVATIONS, *NORMALISATIONS, *REDUCTIONS, *MOVEMENT)
