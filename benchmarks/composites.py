"""Composite operators with several legal ways to compute each, and wrong ones: material for bounds.py."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

__all__ = ["COMPOSITES", "THROUGH_FLOAT32", "Function", "Shapes"]

Function = Callable[..., torch.Tensor]


def softmax(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def softmax_reciprocal(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp2((x - x.amax(-1, keepdim=True)) * math.log2(math.e))
    return e * (1 / e.sum(-1, keepdim=True))


def softmax_of_log(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(log_softmax(x))


def log_softmax(x: torch.Tensor) -> torch.Tensor:
    z = x - x.amax(-1, keepdim=True)
    return z - torch.log(torch.exp(z).sum(-1, keepdim=True))


def layer_norm(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    d = x - x.mean(-1, keepdim=True)
    return d / torch.sqrt((d * d).mean(-1, keepdim=True) + eps) * w + b


def layer_norm_reciprocal(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    d = x - x.mean(-1, keepdim=True)
    return d * torch.rsqrt((d * d).mean(-1, keepdim=True) + 1e-5) * w + b


def layer_norm_one_pass(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    m = x.mean(-1, keepdim=True)
    return (x - m) / torch.sqrt((x * x).mean(-1, keepdim=True) - m * m + 1e-5) * w + b


def layer_norm_biased(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    d = x - x.mean(-1, keepdim=True)
    return d / torch.sqrt((d * d).sum(-1, keepdim=True) / (x.shape[-1] - 1) + 1e-5) * w + b


def batch_norm(
    x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, m: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    return (x - m) / torch.sqrt(v + 1e-5) * w + b


def batch_norm_folded(
    x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, m: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    scale = w / torch.sqrt(v + 1e-5)
    return x * scale + (b - m * scale)


def rms_norm(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6) * w


def gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def silu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


def mish(x: torch.Tensor) -> torch.Tensor:
    return x * torch.tanh(x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())))


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return softmax(q @ k.mT / math.sqrt(q.shape[-1])) @ v


def attention_scaled_first(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    root = q.shape[-1] ** -0.25
    e = torch.exp((q * root) @ (k * root).mT)
    return (e @ v) / e.sum(-1, keepdim=True)


def attention_unscaled(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return softmax(q @ k.mT / math.sqrt(q.shape[-1] + 1)) @ v


def lstm(x: torch.Tensor, w: torch.Tensor, r: torch.Tensor, h: torch.Tensor, steps: int = 4) -> torch.Tensor:
    c = torch.zeros_like(h)
    for _ in range(steps):
        i, o, f, g = (x @ w.mT + h @ r.mT).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def lstm_joined(x: torch.Tensor, w: torch.Tensor, r: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    c, both = torch.zeros_like(h), torch.cat([w, r], 1)
    for _ in range(4):
        i, o, f, g = (torch.cat([x, h], 1) @ both.mT).chunk(4, -1)
        c = torch.sigmoid(f) * c + 1 / (1 + torch.exp(-i)) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def log_sum_exp(x: torch.Tensor) -> torch.Tensor:
    m = x.amax(-1, keepdim=True)
    return torch.log(torch.exp(x - m).sum(-1, keepdim=True)) + m


def l2_normalise(x: torch.Tensor) -> torch.Tensor:
    return x / torch.sqrt((x * x).sum(-1, keepdim=True))


def cross_entropy(x: torch.Tensor) -> torch.Tensor:
    return -log_softmax(x).diagonal(dim1=-2, dim2=-1).mean(-1)


# Ways that amplify rounding: legal through float32, but nobody's answer with every step in a narrow format.
THROUGH_FLOAT32 = frozenset({softmax_of_log, layer_norm_one_pass})

Shapes = tuple[tuple[int, ...], ...]
# Each: its inputs' shapes, the meaning, other ways to compute it, and wrong ones.
COMPOSITES: dict[str, tuple[Shapes, Function, tuple[Function, ...], dict[str, Function]]] = {
    "softmax": (
        ((32, 257),),
        softmax,
        (softmax_reciprocal, lambda x: torch.softmax(x, -1), softmax_of_log),
        {
            "wrong axis": lambda x: torch.softmax(x, 0),
            "last element left out of the sum": lambda x: (
                torch.cat([torch.exp(x[:, :-1]), torch.exp(x[:, -1:])], 1)
                / torch.exp(x[:, :-1]).sum(-1, keepdim=True)
            ),
            "float16 exp": lambda x: (
                (e := torch.exp(x - x.amax(-1, keepdim=True)).half().to(x.dtype)) / e.sum(-1, keepdim=True)
            ),
            "bfloat16 exp": lambda x: (
                (e := torch.exp(x - x.amax(-1, keepdim=True)).bfloat16().to(x.dtype)) / e.sum(-1, keepdim=True)
            ),
        },
    ),
    "log-softmax": (
        ((32, 257),),
        log_softmax,
        (lambda x: torch.log_softmax(x, -1), lambda x: x - log_sum_exp(x)),
        {"wrong axis": lambda x: torch.log_softmax(x, 0), "float16 sum": lambda x: x - log_sum_exp(x).half()},
    ),
    "layer-norm": (
        ((32, 256), (256,), (256,)),
        layer_norm,
        (layer_norm_reciprocal, layer_norm_one_pass, lambda x, w, b: torch.layer_norm(x, x.shape[-1:], w, b)),
        {
            "no eps": lambda x, w, b: layer_norm(x * 0.01, w, b, 0.0),
            "unbiased variance": layer_norm_biased,
            "eps 1e-3": lambda x, w, b: layer_norm(x, w, b, 1e-3),
            "wrong axis": lambda x, w, b: (
                layer_norm(x.T[:, : x.shape[0]], w[: x.shape[0]], b[: x.shape[0]])
                .T[:, :1]
                .expand(-1, x.shape[1])[: x.shape[0]]
            ),
            "no bias": lambda x, w, b: layer_norm(x, w, b * 0),
        },
    ),
    "batch-norm": (
        ((32, 64), (64,), (64,), (64,), (64,)),
        batch_norm_folded,
        (batch_norm,),
        {"no mean": lambda x, w, b, m, v: batch_norm(x, w, b, m * 0, v)},
    ),
    "rms-norm": (
        ((32, 256), (256,)),
        rms_norm,
        (lambda x, w: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * w,),
        {"mean removed": lambda x, w: rms_norm(x - x.mean(-1, keepdim=True), w)},
    ),
    "gelu": (
        ((4096,),),
        lambda x: gelu(4 * x),
        (lambda x: torch.nn.functional.gelu(4 * x),),
        {"tanh approximation": lambda x: gelu_tanh(4 * x)},
    ),
    "silu": (
        ((4096,),),
        lambda x: silu(8 * x),
        (lambda x: torch.nn.functional.silu(8 * x), lambda x: 8 * x / (1 + torch.exp(-8 * x))),
        {"hard": lambda x: torch.nn.functional.hardswish(8 * x)},
    ),
    "mish": (
        ((4096,),),
        lambda x: mish(8 * x),
        (lambda x: torch.nn.functional.mish(8 * x),),
        {"silu": lambda x: silu(8 * x)},
    ),
    "attention": (
        ((2, 33, 64), (2, 65, 64), (2, 65, 64)),
        attention,
        (attention_scaled_first, lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v)),
        {
            "scale of 65": attention_unscaled,
            "last key left out": lambda q, k, v: attention(q, k[:, :-1], v[:, :-1]),
        },
    ),
    "lstm": (
        ((8, 48), (128, 48), (128, 32), (8, 32)),
        lstm,
        (lstm_joined,),
        {
            "one step less": lambda x, w, r, h: lstm(x, w, r, h, 3),
            "no recurrence": lambda x, w, r, h: lstm(x, w, 0 * r, h),
        },
    ),
    "log-sum-exp": (
        ((64, 300),),
        log_sum_exp,
        (lambda x: torch.logsumexp(x, -1, keepdim=True), lambda x: torch.log(torch.exp(x).sum(-1, keepdim=True))),
        {"last left out": lambda x: log_sum_exp(x[:, :-1])},
    ),
    "l2-normalise": (
        ((64, 300),),
        l2_normalise,
        (lambda x: x * torch.rsqrt((x * x).sum(-1, keepdim=True)),),
        {"l1": lambda x: x / x.abs().sum(-1, keepdim=True)},
    ),
    "cross-entropy": (
        ((16, 64, 64),),
        cross_entropy,
        (lambda x: -torch.log_softmax(x, -1).diagonal(dim1=-2, dim2=-1).sum(-1) / x.shape[-1],),
        {"sum": lambda x: cross_entropy(x) * x.shape[-1]},
    ),
}
