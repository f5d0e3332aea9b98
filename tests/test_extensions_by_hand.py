"""Third answers for the operators of com.microsoft: slow, obvious NumPy, written from their texts, on the same samples
as the meanings. Weights are unpacked number by number, attention goes head by head and query by query."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from conformance.dtypes import lookup
from conformance.graphs import Node, build, dtypes_of, nodes_of
from conformance.interpreter import call, to_array, to_tensor
from conformance.operators import catalogue
from conformance.operators.schemas import DOMAIN, ENTRIES

Array = Any
NF4 = "-1 -.6961928009986877 -.5250730514526367 -.39491748809814453 -.28444138169288635 -.18477343022823334"
NF4 += " -.09105003625154495 0 .07958029955625534 .16093020141124725 .24611230194568634 .33791524171829224"
NF4 += " .44070982933044434 .5626170039176941 .7229568362236023 1"


# Activations, products, normalisations.


def gelu(x: Array) -> list[Array]:
    return [x * np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)), otypes=[float])(x)]


def bias_gelu(a: Array, b: Array) -> list[Array]:
    return gelu(a + b)


def fast_gelu(x: Array, bias: Array | float | None = None) -> list[Array]:
    x = x + (0.0 if bias is None else bias)
    return [0.5 * x * (1 + np.tanh(0.797885 * x + 0.035677 * x**3))]


def quick_gelu(x: Array, alpha: float) -> list[Array]:
    return [x / (1 + np.exp(-alpha * x))]


def fused_matmul(a: Array, b: Array, **w: Any) -> list[Array]:
    def turned(x: Array, batch: int, matrix: int) -> Array:
        order = list(range(x.ndim))
        if batch:
            order = [*order[1:-1], 0, order[-1]]
        if matrix:
            order[-2:] = order[:-3:-1]
        return x.transpose(order)

    left = turned(a, w["transBatchA"], w["transA"])
    right = turned(b, w["transBatchB"], w["transB"])
    return [w["alpha"] * np.einsum("...mk,...kn->...mn", left, right)]


def activated(y: Array, name: str, p: Sequence[float]) -> Array:
    match name:
        case "Relu":
            return np.maximum(y, 0)
        case "Tanh":
            return np.tanh(y)
        case "Sigmoid":
            return 1 / (1 + np.exp(-y))
        case "LeakyRelu":
            return np.where(y < 0, p[0] * y, y)
        case "Clip":
            return np.minimum(np.maximum(y, p[0]), p[1])
        case "HardSigmoid":
            return np.maximum(0, np.minimum(1, p[0] * y + p[1]))
    raise AssertionError(name)


def fused_gemm(a: Array, b: Array, c: Array | float = 0.0, **w: Any) -> list[Array]:
    left, right = a.T if w["transA"] else a, b.T if w["transB"] else b
    y = w["alpha"] * np.einsum("mk,kn->mn", left, right) + w["beta"] * c
    return [activated(y, w["activation"], [w.get("activation_alpha", 0.0)])]


def fused_conv(x: Array, w: Array, b: Array | None = None, z: Array | float = 0.0, **a: Any) -> list[Array]:
    rank, group = x.ndim - 2, a["group"]
    pads, strides = a.get("pads") or [0] * 2 * rank, a.get("strides") or [1] * rank
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    out = [(n - k) // s + 1 for n, k, s in zip(padded.shape[2:], w.shape[2:], strides, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per_in, per_out = x.shape[1] // group, w.shape[0] // group
    for o, place in itertools.product(range(w.shape[0]), itertools.product(*map(range, out))):
        channels = slice(o // per_out * per_in, (o // per_out + 1) * per_in)
        at = tuple(slice(p * s, p * s + k) for p, s, k in zip(place, strides, w.shape[2:], strict=True))
        y[(slice(None), o, *place)] = (padded[(slice(None), channels, *at)] * w[o]).sum(tuple(range(1, rank + 2)))
        y[(slice(None), o, *place)] += 0 if b is None else b[o]
    return [activated(y + z, a["activation"], a.get("activation_params", ()))]


def inverse(x: Array) -> list[Array]:
    return [np.linalg.inv(x)]


def _layer(x: Array, gamma: Array, beta: Array | float, epsilon: float) -> Array:
    y = np.empty_like(x)
    for row in np.ndindex(*x.shape[:-1]):
        y[row] = (x[row] - x[row].mean()) / math.sqrt(x[row].var() + epsilon) * gamma + beta
    return y


def skip_layer(
    x: Array, skip: Array, gamma: Array, beta: Array = None, bias: Array = None, *, epsilon: float
) -> list[Array]:
    total = x + skip + (0 if bias is None else bias)
    return [_layer(total, gamma, 0 if beta is None else beta, epsilon), None, None, total]


def skip_root(x: Array, skip: Array, gamma: Array, bias: Array = None, *, epsilon: float) -> list[Array]:
    total = x + skip + (0 if bias is None else bias)
    return [total / np.sqrt(np.mean(total**2, -1, keepdims=True) + epsilon) * gamma, None, None, total]


def embed(
    ids: Array,
    segments: Array,
    words: Array,
    positions: Array,
    kinds: Array,
    gamma: Array,
    beta: Array,
    mask: Array = None,
    places: Array = None,
    *,
    epsilon: float,
) -> list[Array]:
    total = np.empty((*ids.shape, words.shape[1]))
    for b, t in np.ndindex(*ids.shape):
        at = t if places is None else places[b if len(places) > 1 else 0, t]
        total[b, t] = words[ids[b, t]] + positions[at] + (0 if segments is None else kinds[segments[b, t]])
    counts = [0 if mask is None else int((mask[b] == 1).sum()) for b in range(len(ids))]
    return [_layer(total, gamma, beta, epsilon), np.array(counts), total]


# Attention: one query of one head at a time.


def _row(
    q: Array,
    keys: Array,
    values: Array,
    scale: float,
    *,
    bias: Array | float = 0.0,
    softcap: float = 0.0,
    seen: Sequence[bool] | None = None,
    sink: float | None = None,
) -> Array:
    found = [sum(a * b for a, b in zip(q, k, strict=True)) * scale for k in keys]
    if softcap:
        found = [softcap * math.tanh(f / softcap) for f in found]
    found = [f + b for f, b in zip(found, np.broadcast_to(bias, len(found)), strict=True)]
    weights = [math.exp(f) if seen is None or seen[i] else 0.0 for i, f in enumerate(found)]
    total = sum(weights) + (0.0 if sink is None else math.exp(sink))
    return sum(w * v for w, v in zip(weights, values, strict=True)) / total


def _all_heads(q: Array, k: Array, v: Array, mask: Array | None, bias: Array | None, w: Any) -> Array:
    """(batch, heads, length, size) each; as one tensor (batch, length, heads·size)."""
    batch, heads, queries, size = q.shape
    keys = k.shape[2]
    fill = w.get("mask_filter_value", -10000.0)
    y = np.zeros((batch, queries, heads, v.shape[-1]))
    for b, h, i in np.ndindex(batch, heads, queries):
        added = np.zeros(keys)
        if mask is not None and mask.ndim == 1:
            added[mask[b] :] = fill
        elif mask is not None:
            added[(mask[b] if mask.ndim == 2 else mask[b, i]) == 0] = fill
        if bias is not None:
            added = added + bias[b % bias.shape[0], h % bias.shape[1], i]
        seen = [not w.get("unidirectional") or j <= i + keys - queries for j in range(keys)]
        y[b, i, h] = _row(q[b, h, i], k[b, h], v[b, h], w.get("scale") or size**-0.5, bias=added, seen=seen)
    return y.reshape(batch, queries, -1)


def _by_head(x: Array, heads: int) -> Array:
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _with_past(past: Array | None, new: Array) -> Array:
    return new if past is None else np.concatenate([past, new], 2)


def multi_head(
    q: Array,
    k: Array,
    v: Array,
    bias: Array = None,
    mask: Array = None,
    added: Array = None,
    past_k: Array = None,
    past_v: Array = None,
    **w: Any,
) -> list[Array]:
    if bias is not None:
        d = q.shape[-1]
        q, k, v = q + bias[:d], k + bias[d : 2 * d], v + bias[2 * d :]
    q, k, v = (t if t.ndim == 4 else _by_head(t, w["num_heads"]) for t in (q, k, v))
    k, v = _with_past(past_k, k), _with_past(past_v, v)
    return [_all_heads(q, k, v, mask, added, w), k, v]


def _projected(x: Array, mask: Array | None, past: Array | None, added: Array | None, w: Any) -> list[Array]:
    sizes = w.get("qkv_hidden_sizes") or [x.shape[-1] // 3] * 3
    q, k, v = (_by_head(t, w["num_heads"]) for t in np.split(x, np.cumsum(sizes)[:2], -1))
    if past is not None:
        k, v = _with_past(past[0], k), _with_past(past[1], v)
    y = _all_heads(q, k, v, mask, added, w)
    return [y, np.stack([k, v]) if k.shape == v.shape else None]


def packed(
    x: Array,
    weights: Array,
    bias: Array = None,
    mask: Array = None,
    past: Array = None,
    added: Array = None,
    **w: Any,
) -> list[Array]:
    return _projected(np.einsum("btd,de->bte", x, weights) + (0 if bias is None else bias), mask, past, added, w)


def quantised(
    x: Array,
    weight: Array,
    bias: Array,
    x_scale: Array,
    w_scale: Array,
    mask: Array = None,
    x_zero: Array = None,
    w_zero: Array = None,
    past: Array = None,
    **w: Any,
) -> list[Array]:
    real = (x.astype(float) - (0 if x_zero is None else float(x_zero))) * x_scale
    weights = (weight.astype(float) - (0 if w_zero is None else float(w_zero))) * w_scale
    return _projected(np.einsum("btd,de->bte", real, weights) + bias, mask, past, None, w)


def _turn(x: Array, cos: Array, sin: Array, interleaved: int) -> Array:
    """One token of one head; each pair is a complex number times cos + i·sin."""
    y, half = x.copy(), len(cos)
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        turned = complex(x[a], x[b]) * complex(cos[i], sin[i])
        y[a], y[b] = turned.real, turned.imag
    return y


def rotary(x: Array, ids: Array, cos: Array, sin: Array, **w: Any) -> list[Array]:
    heads = w.get("num_heads") if w.get("rotary_embedding_dim") else x.shape[-1] // (2 * cos.shape[1])
    a = x if x.ndim == 4 else _by_head(x, heads)
    y = np.empty_like(a)
    for b, h, t in np.ndindex(*a.shape[:3]):
        at = ids[0] + t if ids.ndim == 1 else ids[b, t]
        y[b, h, t] = _turn(a[b, h, t], cos[at], sin[at], w.get("interleaved", 0))
    return [y if x.ndim == 4 else y.transpose(0, 2, 1, 3).reshape(x.shape)]


def grouped(
    query: Array,
    key: Array,
    value: Array,
    past_k: Array,
    past_v: Array,
    last: Array,
    total: Array,
    cos: Array = None,
    sin: Array = None,
    ids: Array = None,
    added: Array = None,
    sink: Array = None,
    **w: Any,
) -> list[Array]:
    heads, groups = w["num_heads"], w["kv_num_heads"]
    if key is None:
        size = query.shape[-1] // (heads + 2 * groups)
        query, key, value = np.split(query, [heads * size, (heads + groups) * size], -1)
    q, k, v = _by_head(query, heads), _by_head(key, groups), _by_head(value, groups)
    batch, _, new, size = q.shape
    window = w["local_window_size"]
    rows = max(int(total), 0 if past_k is None else past_k.shape[2])
    caches = np.full((2, batch, groups, rows, size), np.nan)  # what is left open stays NaN
    y = np.zeros((batch, new, heads, size))
    shares = np.zeros((batch, heads, new, rows))
    for b in range(batch):
        before = int(last[b]) + 1 - new
        for g in range(groups):
            for t in range(before):
                caches[:, b, g, t] = past_k[b, g, t], past_v[b, g, t]
            for t in range(new):
                at = before + t if ids is None else ids[b, t]
                turned = (
                    _turn(k[b, g, t], cos[at], sin[at], w.get("rotary_interleaved", 0))
                    if w.get("do_rotary")
                    else k[b, g, t]
                )
                caches[:, b, g, before + t] = turned, v[b, g, t]
        for h, t in np.ndindex(heads, new):
            at = before + t if ids is None else ids[b, t]
            one = (
                _turn(q[b, h, t], cos[at], sin[at], w.get("rotary_interleaved", 0))
                if w.get("do_rotary")
                else q[b, h, t]
            )
            end = before + t + 1 if w["causal"] else before + new
            start = max(0, before + t + 1 - window) if window > 0 else 0
            keys, values = caches[:, b, h // (heads // groups), start:end]
            bias = 0.0 if added is None else added[b % len(added), h % added.shape[1], t, start:end]
            extra = float(sink[h]) if sink is not None else 0.0 if w["smooth_softmax"] == 1 else None
            scale = w.get("scale") or size**-0.5
            kind = {"bias": bias, "softcap": w.get("softcap", 0.0), "sink": extra}
            y[b, t, h] = _row(one, keys, values, scale, **kind)
            before_softmax = w.get("qk_output") == 1
            shares[b, h, t, start:end] = (
                scale * keys @ one if before_softmax else _row(one, keys, np.eye(end - start), scale, **kind)
            )
    return [y.reshape(batch, new, -1), *caches, shares]


# Weights of a few bits: each number looked up where it lies.


def _number(data: Array, index: int, bits: int) -> int:
    """Of a row of bytes, lowest bits first."""
    each = 8 // bits
    return int(data[index // each]) >> index % each * bits & (1 << bits) - 1


def n_bits(
    a: Array, b: Array, scales: Array, zeros: Array = None, _: Any = None, bias: Array = None, **w: Any
) -> list[Array]:
    weights = np.zeros((w["N"], w["K"]))
    for n, k in np.ndindex(w["N"], w["K"]):
        block, inside = divmod(k, w["block_size"])
        zero: float = 2 ** (w["bits"] - 1)
        if zeros is not None:
            zero = _number(zeros[n], block, w["bits"]) if zeros.dtype == np.uint8 else zeros[n, block]
        weights[n, k] = (_number(b[n, block], inside, w["bits"]) - zero) * scales[n, block]
    return [np.einsum("...k,nk->...n", a, weights) + (0 if bias is None else bias)]


def bnb4(a: Array, b: Array, absmax: Array, **w: Any) -> list[Array]:
    def value(code: int) -> float:
        if w["quant_type"] == 1:
            return float(NF4.split()[code])
        # bitsandbytes' FP4: its values are twelfths, but for the smallest.
        size = [0.0, 0.0625, 8, 12, 4, 6, 2, 3][code & 7] / 12
        return -size if code & 8 else size

    weights = np.zeros(w["N"] * w["K"])
    for i in range(len(weights)):
        code = int(b[i // 2]) >> (0 if i % 2 else 4) & 15
        weights[i] = value(code) * absmax[i // w["block_size"]]
    return [np.einsum("...k,nk->...n", a, weights.reshape(w["N"], w["K"]))]


def gather_blocks(data: Array, indices: Array, scales: Array, zeros: Array = None, **w: Any) -> list[Array]:
    axis, along, byte = w["gather_axis"], w["quantize_axis"], data.dtype == np.uint8
    width = data.shape[-1] * (8 // w["bits"] if byte else 1)
    real = np.zeros((*data.shape[:-1], width))

    def number(source: Array, at: tuple[int, ...]) -> int:
        return _number(source[at[:-1]], at[-1], w["bits"]) if byte else int(source[at])

    for at in np.ndindex(*real.shape):
        block = tuple(i // w["block_size"] if d == along else i for d, i in enumerate(at))
        zero = 2 ** (w["bits"] - 1) if byte else 0
        zero = zero if zeros is None else number(zeros, block)
        real[at] = (number(data, at) - zero) * float(scales[block])
    out = np.zeros((*real.shape[:axis], *indices.shape, *real.shape[axis + 1 :]))
    for place in np.ndindex(*indices.shape):
        at = int(indices[place])
        if -real.shape[axis] <= at < real.shape[axis]:
            out[(slice(None),) * axis + place] = real[(slice(None),) * axis + (at,)]
    return [out]


# Quantised arithmetic: real numbers, then the nearest integer that the type has.


def _real(x: Array, scale: Array, zero: Array | None) -> Array:
    return (x.astype(float) - (0.0 if zero is None else zero.astype(float))) * scale


def _requantised(real: Array, scale: Array, zero: Array | None, kind: Any) -> Array:
    low, high = onnx_range(kind)
    return np.minimum(np.maximum(np.rint(real / scale) + (0 if zero is None else float(zero)), low), high)


def onnx_range(kind: Any) -> tuple[int, int]:
    name = np.dtype(kind).name
    bits = int(name.lstrip("uint"))
    return (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _two(operation: Callable[[Array, Array], Array]) -> Callable[..., list[Array]]:
    def run(
        a: Array, sa: Array, za: Array, b: Array, sb: Array, zb: Array, sc: Array, zc: Array = None
    ) -> list[Array]:
        return [_requantised(operation(_real(a, sa, za), _real(b, sb, zb)), sc, zc, a.dtype)]

    return run


def _one(function: Callable[..., Array]) -> Callable[..., list[Array]]:
    def run(x: Array, sx: Array, zx: Array, sy: Array, zy: Array = None, **w: Any) -> list[Array]:
        return [_requantised(function(_real(x, sx, zx), **w), sy, zy, x.dtype)]

    return run


def softmax(x: Array, axis: int, opset: int) -> Array:
    shape = x.shape
    if opset < 13:
        x, axis = x.reshape(int(np.prod(shape[:axis])), -1), 1
    e = np.exp(x)
    return (e / e.sum(axis, keepdims=True)).reshape(shape)


def average(x: Array, **w: Any) -> Array:
    if w["channels_last"]:
        return np.moveaxis(average(np.moveaxis(x, -1, 1), **{**w, "channels_last": 0}), 1, -1)
    kernel, rank = w["kernel_shape"], x.ndim - 2
    strides, pads = w.get("strides") or [1] * rank, list(w.get("pads") or [0] * 2 * rank)
    out = []
    for d, (n, k, s) in enumerate(zip(x.shape[2:], kernel, strides, strict=True)):
        if w["auto_pad"].startswith("SAME"):
            size = -(-n // s)
            missing = max((size - 1) * s + k - n, 0)
            pads[d] = missing // 2 if w["auto_pad"] == "SAME_UPPER" else missing - missing // 2
            pads[d + rank] = missing - pads[d]
        else:
            steps = (n + pads[d] + pads[d + rank] - k) / s + 1
            size = math.ceil(steps) if w["ceil_mode"] else math.floor(steps)
            size -= w["ceil_mode"] and (size - 1) * s >= n + pads[d]
        out.append(size)
    y = np.zeros((*x.shape[:2], *out))
    for place in itertools.product(*map(range, out)):
        taps = []
        padding = 0
        for k in itertools.product(*map(range, kernel)):
            at = tuple(p * s + i - b for p, s, i, b in zip(place, strides, k, pads, strict=False))
            if all(0 <= i < n for i, n in zip(at, x.shape[2:], strict=True)):
                taps.append(x[(slice(None), slice(None), *at)])
            else:
                padding += all(i < n + e for i, n, e in zip(at, x.shape[2:], pads[rank:], strict=True))
        y[(slice(None), slice(None), *place)] = sum(taps) / (len(taps) + padding * w["count_include_pad"])
    return y


def global_average(x: Array, channels_last: int) -> Array:
    axes = tuple(range(1, x.ndim - 1) if channels_last else range(2, x.ndim))
    return x.mean(axes, keepdims=True)


def concatenated(sy: Array, zy: Array, *inputs: Array, axis: int) -> list[Array]:
    parts = [_real(*inputs[i : i + 3]) for i in range(0, len(inputs), 3)]
    return [_requantised(np.concatenate(parts, axis), sy, zy, zy.dtype)]


def where(
    c: Array, x: Array, sx: Array, zx: Array, y: Array, sy: Array, zy: Array, sz: Array, zz: Array
) -> list[Array]:
    return [_requantised(np.where(c, _real(x, sx, zx), _real(y, sy, zy)), sz, zz, x.dtype)]


def q_gemm(
    a: Array, sa: Array, za: Array, b: Array, sb: Array, zb: Array, c: Array, sy: Array, zy: Array, **w: Any
) -> list[Array]:
    left, right = a.T if w["transA"] else a, b.T if w["transB"] else b
    m, n = left.shape[0], right.shape[1]
    real = np.zeros((m, n))
    for i, j in np.ndindex(m, n):
        zero = int(zb if zb.ndim == 0 else zb[j])
        total = sum((int(p) - int(za)) * (int(q) - zero) for p, q in zip(left[i], right[:, j], strict=True))
        total += 0 if c is None else int(c[j])
        real[i, j] = w["alpha"] * total * float(sa) * float(sb if sb.ndim == 0 else sb[j])
    return [_requantised(real, sy, zy, a.dtype)]


def to_float(
    a: Array, b: Array, sa: Array, sb: Array, za: Array = None, zb: Array = None, bias: Array = None
) -> list[Array]:
    return [_real(a, sa, za) @ _real(b, sb, zb) + (0 if bias is None else bias)]


def dynamic(a: Array, b: Array, sb: Array, zb: Array = None, bias: Array = None) -> list[Array]:
    low, high = min(float(a.min()), 0.0), max(float(a.max()), 0.0)
    scale = (high - low) / 255
    zero = min(max(np.rint(-low / scale), 0), 255)
    whole = np.minimum(np.maximum(np.rint(a / scale) + zero, 0), 255)
    return [(whole - zero) * scale @ _real(b, sb, zb) + (0 if bias is None else bias)]


def _along(x: Array, parameter: Array, axis: int | None) -> Array:
    return (
        parameter
        if parameter.ndim == 0
        else parameter.reshape([-1 if d == axis % x.ndim else 1 for d in range(x.ndim)])
    )


def quantize(x: Array, scale: Array, zero: Array = None, axis: int | None = None) -> list[Array]:
    zero = np.uint8(0) if zero is None else zero
    kind = zero.dtype
    shifted = np.rint(x / _along(x, scale, axis)) + _along(x, np.asarray(zero).astype(float), axis)
    low, high = onnx_range(kind)
    return [np.minimum(np.maximum(shifted, low), high)]


def dequantize(x: Array, scale: Array, zero: Array = None, axis: int | None = None) -> list[Array]:
    zero = np.zeros((), np.int32) if zero is None else zero
    return [(x.astype(float) - _along(x, zero.astype(float), axis)) * _along(x, scale, axis)]


BY_HAND: dict[str, Callable[..., list[Array]]] = {
    "Attention": packed,
    "BiasGelu": bias_gelu,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeMatMul": dynamic,
    "EmbedLayerNormalization": embed,
    "FastGelu": fast_gelu,
    "FusedConv": fused_conv,
    "FusedGemm": fused_gemm,
    "FusedMatMul": fused_matmul,
    "GatherBlockQuantized": gather_blocks,
    "Gelu": gelu,
    "GroupQueryAttention": grouped,
    "Inverse": inverse,
    "MatMulBnb4": bnb4,
    "MatMulIntegerToFloat": to_float,
    "MatMulNBits": n_bits,
    "MultiHeadAttention": multi_head,
    "QAttention": quantised,
    "QGemm": q_gemm,
    "QLinearAdd": _two(lambda a, b: a + b),
    "QLinearAveragePool": _one(average),
    "QLinearConcat": concatenated,
    "QLinearGlobalAveragePool": _one(global_average),
    "QLinearLeakyRelu": _one(lambda x, alpha: np.where(x < 0, alpha * x, x)),
    "QLinearMul": _two(lambda a, b: a * b),
    "QLinearSigmoid": _one(lambda x: 1 / (1 + np.exp(-x))),
    "QLinearSoftmax": _one(softmax),
    "QLinearWhere": where,
    "QuantizeLinear": quantize,
    "QuickGelu": quick_gelu,
    "RotaryEmbedding": rotary,
    "SkipLayerNormalization": skip_layer,
    "SkipSimplifiedLayerNormalization": skip_root,
}


def test_every_operator_has_a_calculation_by_hand() -> None:
    assert set(BY_HAND) == {name for domain, name in catalogue() if domain == DOMAIN} == {e.name for e in ENTRIES}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_meaning_agrees_with_a_calculation_by_hand(name: str) -> None:
    operator = catalogue()[DOMAIN, name]
    compared = 0
    for sample in operator.samples():
        empty = any(0 in s.shape for s in sample.inputs if s is not None)
        if (
            sample.refuse
            or "large" in sample.tags
            or "cancellation" in sample.tags
            or empty
            or "special" in sample.tags
        ):
            continue
        for dtype in dtypes_of(operator, sample, 21):
            if lookup(dtype).is_float and dtype != "float32":
                continue  # the same numbers, rounded
            content = build(operator, sample, dtype, 21, f"0/{name}/{sample.name}")
            constants = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer}
            (node,) = nodes_of(content.model)
            for feed in content.feeds:
                arrays = [_wide({**constants, **feed}[n]) if n else None for n in node.inputs]
                theirs = BY_HAND[name](
                    *arrays, **{k: v for k, v in node.attributes.items() if k in _known(name, node)}
                )
                for position, value in _meaning(node, arrays).items():
                    other = np.asarray(theirs[position], dtype=np.float64)
                    fixed = np.isfinite(other)
                    assert value.shape == other.shape, sample.name
                    np.testing.assert_allclose(
                        value[fixed].astype(np.float64),
                        other[fixed],
                        1e-10,
                        1e-10,
                        err_msg=f"{sample.name}/{dtype}",
                    )
                    compared += int(fixed.sum())
    assert compared > 50


def _known(name: str, node: Node) -> set[str]:
    """The attributes that the calculation is told: those of layout and storage mean nothing."""
    silent = {"accuracy_level", "weight_prepacked", "training_mode", "mask_index_type"}
    return set(node.attributes) - silent


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _meaning(node: Node, arrays: Sequence[Array | None]) -> dict[int, Array]:
    outputs = call(node, [None if a is None else to_tensor(a, widen=True) for a in arrays], widen=True)
    return {
        i: to_array(t, "float64" if lookup(d).is_float else d)
        for i, (t, d) in enumerate(zip(outputs, node.dtypes, strict=False))
        if d
    }
