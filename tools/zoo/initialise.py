"""Initial values: degenerate ones made lively before the export, and recipes fitted to what was exported.

A fresh network is degenerate in places: batch statistics of exactly 0 and 1, scales of 1, biases of 0, layer
scales of 1e-6. A backend that ignores such a tensor would still be right. They are drawn instead, before the
export, so that the exporter does not fold them away either.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from conformance.draws import Draw, full, normal, uniform

__all__ = ["THIN", "enliven", "fit", "is_thin", "thin"]

SCALE = (0.5, 1.5)  # of a normalisation, where the framework has ones
BIAS = 0.05  # standard deviation, where the framework has zeros
SMALL_SCALE = (0.1, 0.5)  # of a layer scale, where the framework has a tiny constant
UNIFORM_KURTOSIS, NORMAL_KURTOSIS = 1.8, 3.0
VAST = 1 << 20  # elements from which a weight of a thin model is not held
THIN = normal(0.0, 0.02)  # what such a weight is drawn from: the initial values of transformers' linear layers
FEW = 64  # elements below which the kurtosis says nothing


@torch.no_grad()
def enliven(module: nn.Module, gains: dict[str, float]) -> None:
    """Replace every constant parameter and every batch statistic, in place; then apply the gains."""
    for part in module.modules():
        buffers = dict(part.named_buffers(recurse=False))
        if buffers.get("running_mean") is None or buffers.get("running_var") is None:
            continue
        buffers["running_mean"].normal_(0.0, 0.1)
        buffers["running_var"].uniform_(*SCALE)
        if "weight" in buffers and "bias" in buffers:  # frozen: scale and shift are buffers too
            buffers["weight"].uniform_(*SCALE)
            buffers["bias"].normal_(0.0, BIAS)
    for parameter in module.parameters():
        if parameter.numel() < 2 or is_thin(parameter) or parameter.min() != parameter.max():
            continue
        value = float(parameter.flatten()[0])
        if value == 0.0:
            parameter.normal_(0.0, BIAS)
        elif value == 1.0:
            parameter.uniform_(*SCALE)
        else:
            parameter.uniform_(*SMALL_SCALE)
    for name, parameter in module.named_parameters():
        for key, gain in gains.items():
            if key in name:
                parameter.mul_(gain)


def thin(module: nn.Module) -> None:
    """Replace the vast parameters of a module that was made without initial values by one number, seen as if it had
    their shape: a model of billions of them is exported in no memory, as its recipes are all that is stored."""
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.numel() >= VAST:
                setattr(owner, name, nn.Parameter(torch.zeros(()).expand(parameter.shape), requires_grad=False))


def is_thin(tensor: torch.Tensor) -> bool:
    """Whether all elements of a tensor are one in memory."""
    return tensor.numel() > 1 and not any(tensor.stride())


def _round(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")


def fit(array: np.ndarray) -> Draw:
    """The recipe whose draws look like this tensor: constant, uniform or normal, by kurtosis.

    A mean within three standard errors of zero counts as zero.
    """
    if array.min() == array.max():
        return full(array.ravel()[0].item())
    flat = array.astype(np.float64).ravel()
    mean, std = float(flat.mean()), float(flat.std())
    if abs(mean) < 3.0 * std / math.sqrt(flat.size):
        mean = 0.0
    squares = np.square((flat - flat.mean()) / std)
    kurtosis = float(np.square(squares).mean())
    if flat.size >= FEW and kurtosis < (UNIFORM_KURTOSIS + NORMAL_KURTOSIS) / 2:
        half = math.sqrt(3.0) * std
        return uniform(_round(mean - half), _round(mean + half))
    return normal(_round(mean), _round(std))
