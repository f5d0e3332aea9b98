"""Third answers for the operators that networks are made of: slow, obvious NumPy, or another library, on the same
samples as the meanings. They decide where ONNX's evaluator and the meanings part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import scipy.signal
import torch
import torch.nn.functional as F

from conformance.dtypes import FLOATS, lookup
from conformance.graphs import Node, build, dtypes_of, nodes_of
from conformance.interpreter import call, to_array, to_tensor
from conformance.operators import catalogue

Array = Any
Attributes = dict[str, Any]


# Pools: every window visited, every element of it asked whether it is input, padding or beyond.


def _windows(x: Array, a: Attributes) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...] | None]]]:
    """Each output place with its taps: an input place, () in the declared padding, None beyond it."""
    sizes, kernel = x.shape[2:], a["kernel_shape"]
    rank = len(sizes)
    strides, dilations = a.get("strides") or [1] * rank, a.get("dilations") or [1] * rank
    pads = list(a.get("pads") or [0] * 2 * rank)
    outs = []
    for d, size in enumerate(sizes):
        reach = (kernel[d] - 1) * dilations[d] + 1
        if a["auto_pad"].startswith("SAME"):
            out = math.ceil(size / strides[d])
            total = max((out - 1) * strides[d] + reach - size, 0)
            pads[d], pads[d + rank] = total // 2, total - total // 2
            if a["auto_pad"] == "SAME_LOWER":
                pads[d], pads[d + rank] = pads[d + rank], pads[d]
        else:
            steps = (size + pads[d] + pads[d + rank] - reach) / strides[d] + 1
            out = math.ceil(steps) if a.get("ceil_mode") else math.floor(steps)
            if (out - 1) * strides[d] >= size + pads[d]:
                out -= 1
        outs.append(out)
    for place in itertools.product(*map(range, outs)):
        taps: list[tuple[int, ...] | None] = []
        for k in itertools.product(*map(range, kernel)):
            at = tuple(
                p * s - b + i * g for p, s, b, i, g in zip(place, strides, pads[:rank], k, dilations, strict=True)
            )
            if all(0 <= i < n for i, n in zip(at, sizes, strict=True)):
                taps.append(at)
            else:
                inside = all(i < n + e for i, n, e in zip(at, sizes, pads[rank:], strict=True))
                taps.append(() if inside else None)
        yield place, taps


def _pooled(x: Array, a: Attributes, value: Callable[[Array, int], Array]) -> list[Array]:
    """``value`` of the inputs under each window, (N, C, taps), and the number of its taps in the padding."""
    found = {
        place: value(np.stack([x[(..., *t)] for t in taps if t], -1), sum(t == () for t in taps))
        for place, taps in _windows(x, a)
    }
    shape = tuple(max(p[d] for p in found) + 1 for d in range(x.ndim - 2))
    y = np.empty((*x.shape[:2], *shape))
    for place, v in found.items():
        y[(..., *place)] = v
    return [y]


def max_pool(x: Array, **a: Any) -> list[Array]:
    return _pooled(x, a, lambda v, _: v.max(-1))


def average_pool(x: Array, **a: Any) -> list[Array]:
    return _pooled(x, a, lambda v, padding: v.sum(-1) / (v.shape[-1] + padding * a["count_include_pad"]))


def lp_pool(x: Array, **a: Any) -> list[Array]:
    return _pooled(x, a, lambda v, _: (np.abs(v) ** a["p"]).sum(-1) ** (1 / a["p"]))


def global_max_pool(x: Array) -> list[Array]:
    return [x.max(tuple(range(2, x.ndim)), keepdims=True)]


def global_average_pool(x: Array) -> list[Array]:
    return [x.mean(tuple(range(2, x.ndim)), keepdims=True)]


def global_lp_pool(x: Array, p: int) -> list[Array]:
    return [(np.abs(x) ** p).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / p)]


def max_roi_pool(x: Array, rois: Array, pooled_shape: Sequence[int], spatial_scale: float) -> list[Array]:
    """A pixel belongs to every bin that it overlaps (Fast R-CNN, section 2.1)."""
    y = np.zeros((len(rois), x.shape[1], *pooled_shape))
    for r, (n, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (int(np.sign(c) * np.floor(abs(c) + 0.5)) for c in np.array(corners) * spatial_scale)
        high, wide = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for i, j in np.ndindex(*pooled_shape):
            rows = [
                y1 + k
                for k in range(high)
                if k + 1 > i * high / pooled_shape[0] + 1e-9 and k < (i + 1) * high / pooled_shape[0] - 1e-9
            ]
            columns = [
                x1 + k
                for k in range(wide)
                if k + 1 > j * wide / pooled_shape[1] + 1e-9 and k < (j + 1) * wide / pooled_shape[1] - 1e-9
            ]
            found = [
                x[int(n), :, p, q] for p in rows for q in columns if 0 <= p < x.shape[2] and 0 <= q < x.shape[3]
            ]
            y[r, :, i, j] = np.max(found, 0) if found else 0.0
    return [y]


# Transposed convolution: every input element spread over the output.


def conv_transpose(x: Array, w: Array, b: Array | None = None, **a: Any) -> list[Array]:
    rank, group = x.ndim - 2, a["group"]
    s, g = a.get("strides") or [1] * rank, a.get("dilations") or [1] * rank
    more, pads = a.get("output_padding") or [0] * rank, a.get("pads") or [0] * 2 * rank
    full = [s[d] * (x.shape[2 + d] - 1) + more[d] + (w.shape[2 + d] - 1) * g[d] + 1 for d in range(rank)]
    begins, outs = list(pads[:rank]), [f - pads[d] - pads[d + rank] for d, f in enumerate(full)]
    if a.get("output_shape") or a["auto_pad"].startswith("SAME"):
        outs = a.get("output_shape") or [n * t for n, t in zip(x.shape[2:], s, strict=True)]
        totals = [f - o for f, o in zip(full, outs, strict=True)]
        begins = [t // 2 if a["auto_pad"] == "SAME_UPPER" else t - t // 2 for t in totals]
    per = w.shape[1]
    y = np.zeros((x.shape[0], per * group, *outs))
    for c in range(x.shape[1]):
        to = slice(c // (x.shape[1] // group) * per, (c // (x.shape[1] // group) + 1) * per)
        for place in np.ndindex(*x.shape[2:]):
            for k in np.ndindex(*w.shape[2:]):
                at = tuple(p * t + i * h - o for p, t, i, h, o in zip(place, s, k, g, begins, strict=True))
                if all(0 <= i < n for i, n in zip(at, outs, strict=True)):
                    y[(slice(None), to, *at)] += x[(slice(None), c, *place)][:, None] * w[(c, slice(None), *k)]
    return [y if b is None else y + b.reshape(-1, *[1] * rank)]


def deform_conv(
    x: Array, w: Array, offset: Array, b: Array | None = None, mask: Array | None = None, **a: Any
) -> list[Array]:
    (n, channels, high, wide), (m, per, kh, kw) = x.shape, w.shape
    s, g = a.get("strides") or [1, 1], a.get("dilations") or [1, 1]
    top, left = (a.get("pads") or [0] * 4)[:2]
    share, taps = channels // a["offset_group"], kh * kw
    y = np.zeros((n, m, *offset.shape[2:]))

    def pixel(image: int, c: int, r: int, q: int) -> float:
        return float(x[image, c, r, q]) if 0 <= r < high and 0 <= q < wide else 0.0

    for image, o, i, j in np.ndindex(*y.shape):
        for c, t in np.ndindex(per, taps):
            source = o // (m // a["group"]) * per + c
            at = source // share * taps + t
            r = i * s[0] - top + t // kw * g[0] + offset[image, 2 * at, i, j]
            q = j * s[1] - left + t % kw * g[1] + offset[image, 2 * at + 1, i, j]
            r0, q0 = math.floor(r), math.floor(q)
            value = sum(
                (1 - abs(r - rr)) * (1 - abs(q - qq)) * pixel(image, source, rr, qq)
                for rr in (r0, r0 + 1)
                for qq in (q0, q0 + 1)
            )
            y[image, o, i, j] += w[o, c, t // kw, t % kw] * value * (1 if mask is None else mask[image, at, i, j])
    return [y if b is None else y + b.reshape(-1, 1, 1)]


# Normalisations.


def batch_normalization(x: Array, scale: Array, b: Array, mean: Array, var: Array, **a: Any) -> list[Array]:
    axes = (0, *range(2, x.ndim))
    m, v = (x.mean(axes), x.var(axes)) if a.get("training_mode") else (mean, var)
    scale, b, *stats = (t.reshape(-1, *[1] * (x.ndim - 2)) for t in (scale, b, m, v))
    y = (x - stats[0]) / np.sqrt(stats[1] + a["epsilon"]) * scale + b
    keep = a["momentum"]
    return [y, mean * keep + m * (1 - keep), var * keep + v * (1 - keep)] if a.get("training_mode") else [y]


def group_normalization(x: Array, scale: Array, bias: Array, **a: Any) -> list[Array]:
    share = x.shape[1] // a["num_groups"]
    if len(scale) != x.shape[1]:
        scale, bias = np.repeat(scale, share), np.repeat(bias, share)
    tensors = (torch.from_numpy(t) for t in (scale, bias))
    return [F.group_norm(torch.from_numpy(x), a["num_groups"], *tensors, a["epsilon"]).numpy()]


def layer_normalization(x: Array, scale: Array, b: Array | None = None, **a: Any) -> list[Array]:
    axes = tuple(range(a["axis"] % x.ndim, x.ndim))
    mean, inverse = x.mean(axes, keepdims=True), 1 / np.sqrt(x.var(axes, keepdims=True) + a["epsilon"])
    return [(x - mean) * inverse * scale + (0 if b is None else b), mean, inverse]


def rms_normalization(x: Array, scale: Array, **a: Any) -> list[Array]:
    axes = tuple(range(a["axis"] % x.ndim, x.ndim))
    return [x / np.sqrt(np.mean(x**2, axes, keepdims=True) + a["epsilon"]) * scale]


def lp_normalization(x: Array, axis: int, p: int) -> list[Array]:
    norm = np.linalg.norm(x, p, axis, keepdims=True) if x.size else 1.0
    with np.errstate(invalid="ignore"):
        return [np.where(norm == 0, 0.0, x / norm)]


def mean_variance_normalization(x: Array, axes: Sequence[int]) -> list[Array]:
    axes = tuple(axes)
    return [(x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + 1e-9)]


def lrn(x: Array, size: int, alpha: float, beta: float, bias: float) -> list[Array]:
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        first, last = c - math.floor((size - 1) / 2), c + math.ceil((size - 1) / 2)
        near = x[:, max(first, 0) : min(last, x.shape[1] - 1) + 1]
        y[:, c] = x[:, c] / (bias + alpha / size * (near**2).sum(1)) ** beta
    return [y]


# Resampling: each axis as a dense matrix of weights.


def _cubic(d: float, a: float) -> float:
    d = abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def _row(at: float, size: int, scale: float, a: Attributes) -> Array:
    """The weights of all input elements in one output element."""
    row = np.zeros(size)
    if a["mode"] == "nearest":
        whole = {
            "floor": math.floor(at),
            "ceil": math.ceil(at),
            "round_prefer_floor": math.floor(at) if at - math.floor(at) <= 0.5 else math.ceil(at),
            "round_prefer_ceil": math.ceil(at) if math.ceil(at) - at <= 0.5 else math.floor(at),
        }[a["nearest_mode"]]
        row[min(max(whole, 0), size - 1)] = 1.0
        return row
    stretch = min(scale, 1.0) if a["antialias"] else 1.0
    reach = math.ceil(2 / stretch) + 1
    weights = {}
    for i in range(math.floor(at) - reach, math.floor(at) + reach + 1):
        d = (i - at) * stretch
        weights[i] = max(1 - abs(d), 0.0) if a["mode"] == "linear" else _cubic(d, a["cubic_coeff_a"])
    if a["exclude_outside"]:
        weights = {i: v for i, v in weights.items() if 0 <= i < size}
    total = sum(weights.values())
    for i, v in weights.items():
        row[min(max(i, 0), size - 1)] += v / total if total else 0.0  # beyond all that counts: extrapolated
    return row


def _original(o: int, size: int, out: int, scale: float, ends: Sequence[float], mode: str) -> float:
    if mode == "align_corners":
        return o * (size - 1) / (out - 1) if out > 1 else 0.0
    if mode == "asymmetric":
        return o / scale
    if mode == "tf_crop_and_resize":
        if out == 1:
            return 0.5 * (ends[0] + ends[1]) * (size - 1)
        return ends[0] * (size - 1) + o * (ends[1] - ends[0]) * (size - 1) / (out - 1)
    if mode == "pytorch_half_pixel" and out == 1:
        return 0.0
    shift = size / 2 * (1 - out / (scale * size)) if mode == "half_pixel_symmetric" else 0.0
    return shift + (o + 0.5) / scale - 0.5


def resize(
    x: Array, roi: Array | None = None, scales: Array | None = None, sizes: Array | None = None, **a: Any
) -> list[Array]:
    axes = [d % x.ndim for d in a.get("axes") or range(x.ndim)]
    if scales is not None and scales.size:
        factors = [float(s) for s in scales]
        outs = [math.floor(x.shape[d] * f) for d, f in zip(axes, factors, strict=True)]
    else:
        assert sizes is not None
        outs, factors = list(sizes), [n / x.shape[d] for d, n in zip(axes, sizes, strict=True)]
        policy = a.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factors = [min(factors) if policy == "not_larger" else max(factors)] * len(axes)
            outs = [math.floor(x.shape[d] * f + 0.5) for d, f in zip(axes, factors, strict=True)]
    mode = a["coordinate_transformation_mode"]
    a = {"antialias": 0, **a}
    y, outside = x.astype(np.float64), np.zeros([1] * x.ndim, bool)
    for i, (d, out, f) in enumerate(zip(axes, outs, factors, strict=True)):
        ends = (roi[i], roi[i + len(axes)]) if mode == "tf_crop_and_resize" and roi is not None else (0.0, 1.0)
        places = [_original(o, x.shape[d], out, f, ends, mode) for o in range(out)]
        matrix = np.stack([_row(p, x.shape[d], f, a) for p in places])
        if a["mode"] == "nearest":  # one tap each: the others' NaN is not multiplied by zero
            y = y.take(matrix.argmax(1), d)
        else:
            y = np.moveaxis(np.tensordot(matrix, y, (1, d)), 0, d)
        if mode == "tf_crop_and_resize":
            out_of_range = np.array([p < 0 or p > x.shape[d] - 1 for p in places])
            outside = outside | out_of_range.reshape(-1, *[1] * (x.ndim - d - 1))
    return [np.where(outside, a["extrapolation_value"], y)]


def upsample(x: Array, scales: Array, mode: str) -> list[Array]:
    fields = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "extrapolation_value": 0.0}
    return resize(x, None, scales, mode=mode, exclude_outside=0, cubic_coeff_a=-0.75, **fields)


def grid_sample(x: Array, grid: Array, align_corners: int, mode: str, padding_mode: str) -> list[Array]:
    name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    tensors = torch.from_numpy(x), torch.from_numpy(grid.astype(x.dtype))
    return [F.grid_sample(*tensors, name, padding_mode, bool(align_corners)).numpy()]


def affine_grid(theta: Array, size: Array, align_corners: int) -> list[Array]:
    return [F.affine_grid(torch.from_numpy(theta), size.tolist(), bool(align_corners)).numpy()]


# Attention: one query at a time.


def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    pk: Array | None = None,
    pv: Array | None = None,
    lens: Array | None = None,
    **a: Any,
) -> list[Array]:
    flat = q.ndim == 3
    if flat:
        heads = a["q_num_heads"], a["kv_num_heads"], a["kv_num_heads"]
        q, k, v = (t.reshape(*t.shape[:2], n, -1).swapaxes(1, 2) for t, n in zip((q, k, v), heads, strict=True))
    past = 0 if pk is None else pk.shape[2]
    k, v = (t if p is None else np.concatenate([p, t], 2) for t, p in ((k, pk), (v, pv)))
    batch, heads, queries, size = q.shape
    y = np.zeros((batch, heads, queries, v.shape[-1]))
    shown = np.zeros((batch, heads, queries, k.shape[2]))
    scale = a.get("scale") or 1 / math.sqrt(size)
    for n, h, i in np.ndindex(batch, heads, queries):
        keys, values = (t[n, h // (heads // t.shape[1])] for t in (k, v))
        product = keys @ q[n, h, i] * scale
        capped = np.tanh(product / a["softcap"]) * a["softcap"] if a["softcap"] else product
        biased = capped.copy()
        for j in range(len(biased)):
            offset = past if lens is None else int(lens[n]) - queries
            if (a["is_causal"] and j > i + offset) or (lens is not None and j >= lens[n]):
                biased[j] = -np.inf
            left, right = a.get("left_window_size", -1), a.get("right_window_size", -1)
            if (left >= 0 and j < i + offset - left) or (right >= 0 and j > i + offset + right):
                biased[j] = -np.inf
            if mask is not None:
                m = np.broadcast_to(mask, (batch, heads, queries, mask.shape[-1]))[n, h, i]
                value = m[j] if j < len(m) else (False if m.dtype == bool else -np.inf)
                biased[j] += (0.0 if value else -np.inf) if m.dtype == bool else value
        weights = np.exp(biased - biased.max()) if biased.max() > -np.inf else np.zeros_like(biased)
        chances = weights / weights.sum() if weights.any() else weights
        y[n, h, i] = chances @ values
        shown[n, h, i] = (product, capped, biased, chances)[a["qk_matmul_output_mode"]]
    return [y.swapaxes(1, 2).reshape(batch, queries, -1) if flat else y, k, v, shown]


# Recurrent layers: one sequence of the batch and one direction at a time.


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "Affine": lambda x, a, b: a * x + b,
    "Elu": lambda x, a, b: np.where(x < 0, a * np.expm1(x), x),
    "HardSigmoid": lambda x, a, b: np.minimum(1, np.maximum(0, a * x + b)),
    "LeakyRelu": lambda x, a, b: np.where(x < 0, a * x, x),
    "Relu": lambda x, a, b: np.maximum(x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "Sigmoid": lambda x, a, b: 1 / (1 + np.exp(-x)),
    "Softplus": lambda x, a, b: np.log1p(np.exp(x)),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Tanh": lambda x, a, b: np.tanh(x),
    "ThresholdedRelu": lambda x, a, b: np.where(x >= a, x, 0),
}


# Of the operators LeakyRelu and HardSigmoid.
_USUAL = {"LeakyRelu": (0.01, 0.0), "HardSigmoid": (0.2, 0.5)}


def _recurrent(gates: int, states: int, default: Sequence[str]) -> Callable[..., list[Array]]:
    def run(
        x: Array,
        w: Array,
        r: Array,
        b: Array | None = None,
        lens: Array | None = None,
        *rest: Array | None,
        **a: Any,
    ) -> list[Array]:
        batch_first = a.get("layout", 0)
        x = x.swapaxes(0, 1) if batch_first else x
        ways, hidden = r.shape[0], r.shape[2]
        first = [s if s is None else s.swapaxes(0, 1) if batch_first else s for s in rest[:states]]
        peep = rest[states] if len(rest) > states else None
        time, batch = x.shape[:2]
        y, ends = np.zeros((time, ways, batch, hidden)), np.zeros((states, ways, batch, hidden))
        names = list(a.get("activations") or default * ways)
        alphas, betas = (list(a.get(f"activation_{n}") or []) for n in ("alpha", "beta"))
        functions = []
        for name in names:
            a0, b0 = _USUAL.get(name, (0.0, 0.0))
            alpha = alphas.pop(0) if alphas and name not in ("Sigmoid", "Tanh", "Relu") else a0
            beta = betas.pop(0) if betas and name in ("Affine", "HardSigmoid", "ScaledTanh") else b0
            functions.append((_FUNCTIONS[name], alpha, beta))

        def act(d: int, k: int, z: Array) -> Array:
            function, alpha, beta = functions[d * len(default) + k]
            return function(z if "clip" not in a else np.clip(z, -a["clip"], a["clip"]), alpha, beta)

        for d, n in np.ndindex(ways, batch):
            length = time if lens is None else int(lens[n])
            order = range(length)
            h, c = (np.zeros(hidden) if s is None else s[d, n] for s in [*first, None, None][:2])
            wb, rb = np.zeros((2, gates * hidden)) if b is None else b[d].reshape(2, -1)
            for t in reversed(order) if d == 1 or a["direction"] == "reverse" else order:
                xs = np.split(w[d] @ x[t, n] + wb, gates)
                hs = np.split(r[d] @ h + rb, gates)
                if gates == 1:
                    h = act(d, 0, xs[0] + hs[0])
                elif gates == 3:
                    z, reset = act(d, 0, xs[0] + hs[0]), act(d, 0, xs[1] + hs[1])
                    after = r[d][2 * hidden :] @ (reset * h) + rb[2 * hidden :]
                    h = (1 - z) * act(d, 1, xs[2] + (reset * hs[2] if a["linear_before_reset"] else after)) + z * h
                else:
                    pi, po, pf = np.zeros((3, hidden)) if peep is None else peep[d].reshape(3, -1)
                    i = act(d, 0, xs[0] + hs[0] + pi * c)
                    f = 1 - i if a["input_forget"] else act(d, 0, xs[2] + hs[2] + pf * c)
                    c = f * c + i * act(d, 1, xs[3] + hs[3])
                    h = act(d, 0, xs[1] + hs[1] + po * c) * act(d, 2, c)
                y[t, d, n] = h
            ends[:, d, n] = [h, c][:states]
        if batch_first:
            return [y.transpose(2, 0, 1, 3), *(e.swapaxes(0, 1) for e in ends)]
        return [y, *ends]

    return run


# Windows, by SciPy.


def _scipy(*name: Any) -> Callable[..., list[Array]]:
    def run(size: Array, periodic: int, output_datatype: int) -> list[Array]:
        # SciPy gives 1 for a window of one element; the formula's first element does not depend on the length.
        length = max(int(size), 2)
        return [scipy.signal.get_window(name if len(name) > 1 else name[0], length, bool(periodic))[: int(size)]]

    return run


BY_HAND: dict[str, Callable[..., list[Array]]] = {
    "AffineGrid": affine_grid,
    "Attention": attention,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "BlackmanWindow": _scipy("blackman"),
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "GRU": _recurrent(3, 1, ["Sigmoid", "Tanh"]),
    "GlobalAveragePool": global_average_pool,
    "GlobalLpPool": global_lp_pool,
    "GlobalMaxPool": global_max_pool,
    "GridSample": grid_sample,
    "GroupNormalization": group_normalization,
    "HammingWindow": _scipy("general_hamming", 25 / 46),
    "HannWindow": _scipy("hann"),
    "LRN": lrn,
    "LSTM": _recurrent(4, 2, ["Sigmoid", "Tanh", "Tanh"]),
    "LayerNormalization": layer_normalization,
    "LpNormalization": lp_normalization,
    "LpPool": lp_pool,
    "MaxPool": max_pool,
    "MaxRoiPool": max_roi_pool,
    "MeanVarianceNormalization": mean_variance_normalization,
    "RMSNormalization": rms_normalization,
    "RNN": _recurrent(1, 1, ["Tanh"]),
    "Resize": resize,
    "Upsample": upsample,
}
# A loss of digits that the definition has and the calculation by hand has not.
LOOSE = {"GroupNormalization/large-mean": 1e-10, "MeanVarianceNormalization": 1e-10}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_meaning_agrees_with_a_calculation_by_hand(name: str) -> None:
    operator = catalogue()["", name]
    for sample in operator.samples():
        empty = any(0 in s.shape for s in sample.inputs if s is not None)
        if sample.refuse or "large" in sample.tags or (empty and name != "LpNormalization"):
            continue  # large ones are the same attributes again; of nothing there is nothing to calculate
        opset = sample.opset or 21
        dtype = next((d for d in dtypes_of(operator, sample, opset) if d in FLOATS), None)
        if dtype is None:
            continue  # of other types the meaning rounds, or only moves; these calculations do neither
        content = build(operator, sample, dtype, opset, f"0/{name}/{sample.name}")
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer}
        (node,) = nodes_of(content.model)
        for feed in content.feeds:
            arrays = [_wide({**constants, **feed}[n]) if n else None for n in node.inputs]
            mine = _meaning(node, arrays)
            with np.errstate(all="ignore"):
                theirs = BY_HAND[name](*arrays, **node.attributes)
            within = LOOSE.get(f"{name}/{sample.name}", LOOSE.get(name, 1e-12))
            for position, value in mine.items():
                scale = np.max(np.abs(theirs[position]), where=np.isfinite(theirs[position]), initial=0.0)
                np.testing.assert_allclose(
                    value, theirs[position], 0.0, within * max(scale, 1.0), err_msg=f"{name}/{sample.name}"
                )


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" or array.dtype.name == "bfloat16" else array


def _meaning(node: Node, arrays: Sequence[Array | None]) -> dict[int, Array]:
    outputs = call(node, [None if a is None else to_tensor(a, widen=True) for a in arrays], widen=True)
    found = {}
    for i, (t, d) in enumerate(zip(outputs, node.dtypes, strict=False)):
        if d and (lookup(d).is_float or i == 0):
            found[i] = to_array(t, "float64" if lookup(d).is_float else d)
    return found


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_indices_of_max_pooling_are_torchs(rank: int) -> None:
    x = torch.randperm(2 * 3 * 5**rank).to(torch.float64).reshape(2, 3, *[5] * rank)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
    values, places = pool(x, 3, 2, 1, return_indices=True)
    offsets = torch.arange(6).reshape(2, 3, *[1] * rank) * 5**rank
    meaning = catalogue()["", "MaxPool"].meaning
    assert meaning is not None
    fields = {"kernel_shape": [3] * rank, "strides": [2] * rank, "pads": [1] * 2 * rank, "n_outputs": 2}
    y, row_major = meaning(x, **fields)
    _, column_major = meaning(x, **fields, storage_order=1)
    assert torch.equal(y, values)
    assert torch.equal(row_major, places + offsets)
    # Column-major: the same element, counted with the first spatial axis running fastest.
    back = x.permute(0, 1, *range(rank + 1, 1, -1)).flatten()
    assert torch.equal(back[column_major], values)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("length", [7, 10])
def test_the_inverse_transform_undoes_the_transform(length: int, onesided: int) -> None:
    meaning = catalogue()["", "DFT"].meaning
    assert meaning is not None
    x = torch.randn(2, length, 1, dtype=torch.float64)
    there = meaning(x, onesided=onesided)
    back = meaning(there, torch.tensor(length), inverse=1, onesided=onesided)
    torch.testing.assert_close(back[..., :1], x)
    assert there.shape[1] == (length // 2 + 1 if onesided else length)


def test_an_unpooled_index_counts_in_the_output_that_was_asked_for() -> None:
    meaning = catalogue()["", "MaxUnpool"].meaning
    assert meaning is not None
    x, index = torch.tensor([[[[5.0, 6.0], [7.0, 8.0]]]]), torch.tensor([[[[6, 8], [16, 18]]]])
    y = meaning(x, index, torch.tensor([1, 1, 5, 5]), kernel_shape=[2, 2], strides=[2, 2])
    expected = F.max_unpool2d(x, index, 2, 2, output_size=(5, 5))
    assert torch.equal(y, expected)


def test_the_clipped_lstm_never_has_a_cell_that_its_clip_would_reach() -> None:
    # Gates' inputs are clipped by every reading of the attribute; the cell before h, or for good, by some.
    operator = catalogue()["", "LSTM"]
    sample = next(s for s in operator.samples() if s.name == "clip")
    content = build(operator, sample, "float32", 21, "0/LSTM/clip/float32")
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer}
    (node,) = nodes_of(content.model)
    arrays = [_wide({**constants, **content.feeds[0]}[n]) if n else None for n in node.inputs]
    x, *weights = arrays
    assert x is not None
    for steps in range(1, len(x) + 1):
        *_, cell = BY_HAND["LSTM"](x[:steps], *weights, **node.attributes)
        assert np.abs(cell).max() < sample.attributes["clip"]
    unclipped = {k: v for k, v in node.attributes.items() if k != "clip"}
    assert not np.allclose(
        BY_HAND["LSTM"](*arrays, **node.attributes)[0], BY_HAND["LSTM"](*arrays, **unclipped)[0]
    )


@pytest.mark.parametrize(
    ("operator", "attributes", "expected"),
    [
        ("AveragePool", {}, 5.0),
        (
            "AveragePool",
            {"count_include_pad": 1},
            45 / 12,
        ),  # a row of padding, and nothing of what is past the end
        ("MaxPool", {}, 9.0),
        ("LpPool", {"p": 1}, 45.0),
    ],
)
def test_with_ceil_mode_the_only_window_may_be_larger_than_the_image(
    operator: str, attributes: Attributes, expected: float
) -> None:
    """As exported EfficientNets pool: ceil((3 + 1 - k) / k + 1) is 1. A window of 12,800 is no reason for as many taps."""
    x = torch.arange(1, 10, dtype=torch.float64).reshape(1, 1, 3, 3)
    meaning = catalogue()["", operator].meaning
    assert meaning is not None
    for k in (5, 12800):
        window = {"kernel_shape": [k, k], "strides": [k, k], "pads": [1, 0, 0, 0]}
        assert meaning(x, ceil_mode=1, **window, **attributes).tolist() == [[[[expected]]]]
        with pytest.raises(ValueError, match="does not fit"):
            meaning(x, ceil_mode=0, **window, **attributes)
