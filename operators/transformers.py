"""Attention as optimised transformers have it: projections, caches, masks and positions in one node.

Of com.microsoft, version 1; the law is the text that ONNX Runtime registers with each operator (docs/
ContribOperators.md there). What it leaves open no sample asks for: rows of a cache beyond the tokens in it, queries
that may see no key, the scores as an output where a mask hides them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.draws import Draw, full, integers, normal, uniform, values
from conformance.lazy import torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from . import samples as s
from .geometry import wide
from .quantisation import FULL, fixed
from .schemas import DOMAIN

__all__ = ["OPERATORS"]

ONE = ("float32",)
GPU = ("float32", "float16", "bfloat16")
MASKED = -10000.0
OPEN = frozenset({"left-open"})  # rows of a cache are
# 16 values of a single token, which attends to nothing else.
ALONE = (
    ("special", values(s.NAN, 1.0, s.INF, -2.0, 0.5, s.NAN, -s.INF, 3.0, *s.SUBNORMALS[:4] * 2), GPU),
    ("beyond-float16", values(*[1e6, -3e5, 2e7, 7e4] * 4), GPU[2:]),
)
# One key that outweighs each of many others a thousand times and all of them together not quite twice: a narrow sum
# that has it has no room left for them.
KEYS = 1024
HEAVY = tensor(1, 1, 1, KEYS, draw=values(7.5, *[0.0] * (KEYS - 1)))


# What they mean.


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch, length, heads·size) to (batch, heads, length, size)."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


def _joined(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(2)


def _cached(past: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
    return new if past is None else torch.cat([past, new], 2)


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float | None,
    bias: Sequence[torch.Tensor | None] = (),
    hidden: torch.Tensor | None = None,
    softcap: float = 0.0,
    sink: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """softmax(Q·Kᵀ·scale, capped, + biases)·V over heads, the softmax, and the scores that it is taken of.

    ``hidden``: where a query may not see a key. ``sink``: a further score in each softmax's sum, that of no key.
    """
    scores = torch.matmul(wide(q), wide(k).mT) * (scale or 1 / math.sqrt(q.shape[-1]))
    if softcap:
        scores = (scores / softcap).tanh() * softcap
    for part in bias:
        scores = scores if part is None else scores + wide(part)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -math.inf)
    top = scores.amax(-1, keepdim=True)
    if sink is not None:
        top = torch.maximum(top, wide(sink))
    weights = (scores - top).exp()
    total = weights.sum(-1, keepdim=True)
    if sink is not None:
        total = total + (wide(sink) - top).exp()
    shares = weights / total
    return torch.matmul(shares, wide(v)).to(q.dtype), shares.to(q.dtype), scores.to(q.dtype)


def _later(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """The keys after each query, the last of which stands at the last key: (queries, keys)."""
    place = torch.arange(queries, device=device)[:, None] + keys - queries
    return torch.arange(keys, device=device) > place


def _filtered(mask: torch.Tensor | None, keys: int, value: float) -> torch.Tensor | None:
    """A mask's addition to the scores. The mask: lengths (batch), or 1 for a key that may be seen and 0 for another,
    (batch, keys) or (batch, queries, keys)."""
    if mask is None:
        return None
    if mask.dim() == 1:
        mask = torch.arange(keys, device=mask.device) < mask[:, None]
    seen = mask.bool()
    seen = seen[:, None, None] if seen.dim() == 2 else seen[:, None]
    return torch.where(seen, 0.0, value)


def multi_head_attention(
    query: torch.Tensor,
    key: torch.Tensor | None = None,
    value: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    key_padding_mask: torch.Tensor | None = None,
    attention_bias: torch.Tensor | None = None,
    past_key: torch.Tensor | None = None,
    past_value: torch.Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = MASKED,
    scale: float | None = None,
    unidirectional: int = 0,
) -> tuple[torch.Tensor, ...]:
    """Attention over heads, with the bias of the projections added first; also the keys and values with the past.

    Queries, keys and values (batch, length, heads·size), or keys and values in one tensor (batch, length, heads, 2,
    size), or all three in one, or keys and values (batch, heads, length, size) as they are.
    """
    if query.dim() == 5:
        q, k, v = (t.transpose(1, 2) for t in query.unbind(3))
    else:
        assert key is not None
        q = _split(query, num_heads)
        if key.dim() == 5:
            k, v = (t.transpose(1, 2) for t in key.unbind(3))
        else:
            assert value is not None
            k, v = (t if t.dim() == 4 else _split(t, num_heads) for t in (key, value))
    if bias is not None:
        sizes = [num_heads * t.shape[-1] for t in (q, k, v)]
        parts = zip((q, k, v), torch.split(bias, sizes), strict=True)
        q, k, v = (t + torch.unflatten(b, 0, (num_heads, 1, -1)) for t, b in parts)
    k, v = _cached(past_key, k), _cached(past_value, v)
    keys = k.shape[2]
    y, *_ = _attend(
        q,
        k,
        v,
        scale=scale,
        bias=(_filtered(key_padding_mask, keys, mask_filter_value), attention_bias),
        hidden=_later(q.shape[2], keys, q.device) if unidirectional else None,
    )
    return _joined(y), k, v


def packed_attention(
    x: torch.Tensor,
    weights: torch.Tensor,
    bias: torch.Tensor | None = None,
    mask_index: torch.Tensor | None = None,
    past: torch.Tensor | None = None,
    attention_bias: torch.Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = MASKED,
    qkv_hidden_sizes: Sequence[int] | None = None,
    scale: float | None = None,
    unidirectional: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of x to itself, by the projections to queries, keys and values in one matrix; also the keys and values
    with the past, (2, batch, heads, length, size)."""
    product = torch.matmul(x, weights)
    return _self_attention(
        product if bias is None else product + bias,
        mask_index,
        past,
        attention_bias,
        num_heads,
        mask_filter_value,
        qkv_hidden_sizes,
        scale,
        unidirectional,
    )


def _self_attention(
    projected: torch.Tensor,
    mask: torch.Tensor | None,
    past: torch.Tensor | None,
    attention_bias: torch.Tensor | None,
    heads: int,
    filter_value: float,
    sizes: Sequence[int] | None,
    scale: float | None,
    unidirectional: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    third = projected.shape[-1] // 3
    q, k, v = (_split(t, heads) for t in torch.split(projected, list(sizes or [third] * 3), -1))
    k, v = (_cached(None if past is None else past[i], t) for i, t in enumerate((k, v)))
    y, *_ = _attend(
        q,
        k,
        v,
        scale=scale,
        bias=(_filtered(mask, k.shape[2], filter_value), attention_bias),
        hidden=_later(q.shape[2], k.shape[2], q.device) if unidirectional else None,
    )
    # Keys and values of different sizes have no present in one tensor.
    return _joined(y), torch.stack([k, v]) if k.shape == v.shape else k


def quantised_attention(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    input_scale: torch.Tensor,
    weight_scale: torch.Tensor,
    mask_index: torch.Tensor | None = None,
    input_zero_point: torch.Tensor | None = None,
    weight_zero_point: torch.Tensor | None = None,
    past: torch.Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = MASKED,
    scale: float | None = None,
    unidirectional: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention whose projection is a product of 8-bit matrices."""
    left, right = x.long(), weight.long()
    left = left if input_zero_point is None else left - input_zero_point.long()
    right = right if weight_zero_point is None else right - weight_zero_point.long()
    product = whole_product(left, right).to(bias.dtype) * (input_scale * weight_scale) + bias
    return _self_attention(
        product, mask_index, past, None, num_heads, mask_filter_value, None, scale, unidirectional
    )


def whole_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The matrix product of integers, as integers on every device: exact, and no rounding of a composite's."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def rotated(
    x: torch.Tensor, places: torch.Tensor, cos_cache: torch.Tensor, sin_cache: torch.Tensor, interleaved: int
) -> torch.Tensor:
    """(batch, heads, length, size) with the first 2·width features turned by the angles at ``places`` (batch, length)
    of the caches (positions, width), in pairs (i, i + width) or (2i, 2i + 1)."""
    cos, sin = cos_cache[places][:, None], sin_cache[places][:, None]
    size = 2 * cos.shape[-1]
    turned, rest = x[..., :size], x[..., size:]
    left, right = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    real, imaginary = left * cos - right * sin, left * sin + right * cos
    if interleaved:
        return torch.cat([torch.stack([real, imaginary], -1).flatten(-2), rest], -1)
    return torch.cat([real, imaginary, rest], -1)


def rotary_embedding(
    x: torch.Tensor,
    position_ids: torch.Tensor,
    cos_cache: torch.Tensor,
    sin_cache: torch.Tensor,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> torch.Tensor:
    """Pairs of features turned by the angle of their position: x (batch, length, heads·size) or (batch, heads, length,
    size); positions (batch, length), or one number, where the first token stands."""
    size = cos_cache.shape[1] * 2
    a = x
    if x.dim() == 3:
        a = _split(x, num_heads if rotary_embedding_dim else x.shape[-1] // size)
    places = position_ids
    if position_ids.dim() == 1:
        places = (position_ids + torch.arange(a.shape[2], device=x.device)).expand(a.shape[0], -1)
    y = rotated(a, places, cos_cache, sin_cache, interleaved)
    return _joined(y) if x.dim() == 3 else y


def group_query_attention(
    query: torch.Tensor,
    key: torch.Tensor | None,
    value: torch.Tensor | None,
    past_key: torch.Tensor | None,
    past_value: torch.Tensor | None,
    seqlens_k: torch.Tensor,
    total_sequence_length: torch.Tensor,
    cos_cache: torch.Tensor | None = None,
    sin_cache: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
    attention_bias: torch.Tensor | None = None,
    head_sink: torch.Tensor | None = None,
    *,
    kv_num_heads: int,
    num_heads: int,
    causal: int = 1,
    do_rotary: int = 0,
    k_quant_type: str = "NONE",
    local_window_size: int = -1,
    qk_norm_epsilon: float = 1e-6,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float | None = None,
    sliding_window_cache: int = 0,
    smooth_softmax: int = -1,
    softcap: float = 0.0,
    v_quant_type: str = "NONE",
) -> tuple[torch.Tensor, ...]:
    """Attention in which each key and value head serves a run of query heads, to the past and to itself.

    An entry of the batch has ``seqlens_k + 1`` tokens in all, the last of which are the new ones; the caches (batch,
    heads, capacity, size) hold them from row 0 on. Also the caches, and the softmax, or the scores where
    ``qk_output`` is 1.
    """
    if key is None or value is None:
        size = query.shape[-1] // (num_heads + 2 * kv_num_heads)
        query, key, value = torch.split(query, [num_heads * size, kv_num_heads * size, kv_num_heads * size], -1)
    q, k, v = _split(query, num_heads), _split(key, kv_num_heads), _split(value, kv_num_heads)
    batch, _, new, size = q.shape
    held = 0 if past_key is None else past_key.shape[2]
    capacity = max(int(total_sequence_length), held)
    total = seqlens_k.long() + 1
    # Where the new tokens stand, (batch, new).
    places = (total - new)[:, None] + torch.arange(new, device=q.device)
    if do_rotary:
        assert cos_cache is not None
        assert sin_cache is not None
        angles = places if position_ids is None else position_ids
        q, k = (rotated(t, angles, cos_cache, sin_cache, rotary_interleaved) for t in (q, k))
    at = places[:, None, :, None].expand(batch, kv_num_heads, new, size)
    caches = []
    for past, fresh in ((past_key, k), (past_value, v)):
        room = fresh.new_zeros(batch, kv_num_heads, capacity, size)
        if past is not None:
            room[:, :, :held] = past
        caches.append(room.scatter(2, at, fresh))
    j = torch.arange(capacity, device=q.device)
    unseen = j >= total[:, None, None]
    if causal:
        unseen = unseen | (j > places[..., None])
    if local_window_size > 0:
        unseen = unseen | (j <= places[..., None] - local_window_size)
    sink = None
    if head_sink is not None:
        sink = head_sink.reshape(1, -1, 1, 1)
    elif smooth_softmax == 1:
        sink = q.new_zeros(1, 1, 1, 1)
    each = num_heads // kv_num_heads
    keys, vals = (c.repeat_interleave(each, 1) for c in caches)
    y, shares, scores = _attend(
        q, keys, vals, scale=scale, bias=(attention_bias,), hidden=unseen[:, None], softcap=softcap, sink=sink
    )
    return _joined(y), caches[0], caches[1], scores if qk_output == 1 else shares


def _rows_left_open(*inputs: torch.Tensor | None, **attributes: Any) -> tuple[torch.Tensor, ...]:
    """An infinite error where the text leaves the caches open: in rows beyond an entry's tokens."""
    y, *caches, shares = group_query_attention(*inputs, **attributes)  # type: ignore[arg-type]  # as the node has them
    counts = inputs[5]
    assert counts is not None
    beyond = torch.arange(caches[0].shape[2], device=y.device) > counts[:, None, None, None]
    open_rows = torch.where(beyond.mT, math.inf, 0.0).to(y.dtype)
    return torch.zeros_like(y), *(torch.zeros_like(c) + open_rows for c in caches), torch.zeros_like(shares)


# How they are exercised.


def _heads_samples() -> Iterator[Sample]:
    def sample(
        name: str,
        given: tuple[TensorSpec | None, ...],
        dtypes: tuple[str, ...] = s.FEW,
        heads: int = 3,
        **fields: Any,
    ) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "outputs") if k in fields}
        return Sample(name, given, {"num_heads": heads, **fields}, dtypes=dtypes, **kept)

    def flat(batch: int = 2, length: int = 4, keys: int = 6, size: int = 8, v: int = 0) -> tuple[TensorSpec, ...]:
        return (
            tensor(batch, length, 3 * size),
            tensor(batch, keys, 3 * size),
            tensor(batch, keys, 3 * (v or size)),
        )

    bias = tensor(72, constant=True)
    past = tensor(2, 3, 5, 8), tensor(2, 3, 5, 8)
    yield sample("plain", flat(), GPU)
    yield sample("self-attention", flat(keys=4))
    yield sample("bias", (*flat(), bias))
    yield sample("value-size", flat(v=5), ONE)
    yield sample("scale", flat(), scale=0.3)
    yield sample("unidirectional", flat(keys=4), unidirectional=1)
    yield sample("keys-by-head", (tensor(2, 4, 24), tensor(2, 3, 6, 8), tensor(2, 3, 6, 8)), ONE)
    seen = TensorSpec((2, 6), values(1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1), "int32")
    yield sample("padding-mask", (*flat(), None, seen))
    yield sample("padding-mask-value", (*flat(), None, seen), ONE, mask_filter_value=-2.0)
    additive = tensor(2, 3, 4, 6)
    yield sample("attention-bias", (*flat(), None, None, additive))
    yield sample("attention-bias-broadcast", (*flat(), None, None, tensor(1, 1, 4, 6)))
    yield sample("mask-and-attention-bias", (*flat(), bias, seen, additive))
    yield sample("past", (*flat(keys=4), None, None, None, *past), outputs=3)
    yield sample("past-bias", (*flat(keys=4), bias, None, None, *past), ONE, outputs=3)
    yield sample("past-unidirectional", (*flat(keys=4), None, None, None, *past), outputs=3, unidirectional=1)
    wide_mask = TensorSpec((2, 9), values(*[0, 1, 1, 1, 1, 1, 1, 1, 1] * 2), "int32")
    yield sample("past-mask", (*flat(keys=4), None, wide_mask, None, *past), outputs=3)
    yield sample("decode-step", (*flat(length=1, keys=1), None, None, None, *past), GPU, outputs=3)
    yield sample("present", flat(keys=4), ONE, outputs=3)
    yield sample("large-scores", (tensor(1, 4, 24, draw=uniform(-20, 20)), *flat(1)[1:]))
    for name, draw, dtypes in ALONE:
        alone = tensor(1, 1, 16), tensor(1, 1, 16), tensor(1, 1, 16, draw=draw)
        yield sample(f"one-token-{name}", alone, dtypes, heads=2, tags=s.SPECIAL)
    alike = flat(1, 1, KEYS)
    yield sample(
        "one-heavy-key", (tensor(1, 1, 24, draw=uniform(-0.1, 0.1)), *alike[1:], None, None, HEAVY), GPU[1:]
    )
    large = (tensor(1, 33, 256),) * 3
    yield sample("large", large, heads=4, tags=s.LARGE)
    yield sample("dynamic", flat(), ONE, again=(flat(1, 2, 9), flat(3, 7, 3)), tags=s.DYNAMIC)


def _packed_samples() -> Iterator[Sample]:
    def sample(
        name: str, given: tuple[TensorSpec | None, ...], dtypes: tuple[str, ...] = s.FEW, **fields: Any
    ) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "outputs") if k in fields}
        return Sample(name, given, {"num_heads": 3, **fields}, dtypes=dtypes, **kept)

    weights = tensor(16, 72, draw=normal(0, 0.25), constant=True), tensor(72, constant=True)
    given = (tensor(2, 5, 16), *weights)
    past = tensor(2, 2, 3, 4, 8)
    yield sample("plain", given, GPU)
    yield sample("no-bias", given[:2], ONE)
    yield sample("scale", given, ONE, scale=0.3)
    yield sample("unidirectional", given, unidirectional=1)
    lengths = TensorSpec((2,), values(5, 3), "int32")
    yield sample("lengths", (*given, lengths))
    seen = TensorSpec((2, 5), values(1, 1, 1, 1, 0, 1, 0, 1, 1, 1), "int32")
    yield sample("mask", (*given, seen))
    yield sample("mask-value", (*given, seen), ONE, mask_filter_value=-2.0)
    triangle = TensorSpec(
        (2, 5, 5), values(*[int(j <= i) for _ in range(2) for i in range(5) for j in range(5)]), "int32"
    )
    yield sample("mask-of-queries", (*given, triangle))
    yield sample("attention-bias", (*given, None, None, tensor(2, 3, 5, 5)))
    yield sample("attention-bias-broadcast", (*given, None, None, tensor(1, 3, 5, 5)), ONE)
    yield sample("present", given, ONE, outputs=2)
    yield sample("past", (*given, None, past), outputs=2)
    yield sample("past-unidirectional", (*given, None, past), outputs=2, unidirectional=1)
    beside = TensorSpec((2, 9), values(*[0, 1, 1, 1, 1, 1, 1, 1, 1] * 2), "int32")
    yield sample("past-mask", (*given, beside, past), ONE, outputs=2, unidirectional=1)
    yield sample("decode-step", (tensor(2, 1, 16), *weights, None, past), outputs=2, unidirectional=1)
    # One token's value is the result: the bias's last third, where the weights are zero.
    for name, draw, dtypes in ALONE:
        items = [*[0.5] * 32, *draw.items]
        alone = tensor(1, 1, 4), tensor(4, 48, draw=full(0.0)), tensor(48, draw=values(*items))
        kept = sample("", alone, dtypes, tags=s.SPECIAL)
        yield replace(kept, name=f"one-token-{name}", attributes={"num_heads": 2})
    # A past whose first key is the heavy one, the only one with a value; the query is the bias's (1, 1).
    heavy = values(3.75, 3.75, *[0.0] * 2 * (KEYS - 2), 1.0, 1.0, *[0.0] * 2 * (KEYS - 2))
    query = tensor(1, 1, 4), tensor(4, 6, draw=full(0.0)), tensor(6, draw=values(1.0, 1.0, *[0.0] * 4))
    leaning = *query, None, tensor(2, 1, 1, KEYS - 1, 2, draw=heavy)
    yield Sample("one-heavy-key", leaning, {"num_heads": 1, "scale": 1.0}, outputs=2, dtypes=GPU[1:])
    uneven = tensor(16, 63, draw=normal(0, 0.25), constant=True), tensor(63, constant=True)
    yield sample("value-size", (tensor(2, 5, 16), *uneven), ONE, qkv_hidden_sizes=[24, 24, 15])
    again = tuple((tensor(b, n, 16), *weights) for b, n in ((1, 1), (3, 9)))
    yield sample("dynamic", given, ONE, again=again, tags=s.DYNAMIC)


def _quantised_samples() -> Iterator[Sample]:
    def sample(
        name: str,
        *more: TensorSpec | None,
        columns: bool = False,
        zero: bool = True,
        weight: str = "int8",
        **fields: Any,
    ) -> Sample:
        shape = (72,) if columns else ()
        draw = integers(0, 127) if weight == "uint8" else integers(-64, 63)
        given: tuple[TensorSpec | None, ...] = (
            tensor(2, 5, 16, draw=FULL),
            tensor(16, 72, draw=draw, dtype=weight, constant=True),
            tensor(72, dtype="float32", constant=True),
            fixed(0.02, dtype="float32"),
            TensorSpec(shape, uniform(0.004, 0.009), "float32", constant=True),
        )
        if zero or more:
            points = (fixed(117), TensorSpec((), integers(3, 3), weight, constant=True)) if zero else (None, None)
            given += (more[0] if more else None, *points, *more[1:])
        kept = {k: fields.pop(k) for k in ("outputs",) if k in fields}
        return Sample(name, given, {"num_heads": 3, **fields}, dtypes=("uint8",), **kept)

    yield sample("plain")
    yield sample("no-zero-points", zero=False)
    yield sample("unsigned-weight", weight="uint8")
    yield sample("columns", columns=True)
    yield sample("unidirectional", unidirectional=1)
    yield sample("lengths", TensorSpec((2,), values(5, 3), "int32"))
    yield sample("mask", TensorSpec((2, 5), values(1, 1, 1, 1, 0, 1, 0, 1, 1, 1), "int32"))
    past = tensor(2, 2, 3, 4, 8, dtype="float32")
    yield sample("past", None, past, outputs=2, unidirectional=1)


def _caches(positions: int, width: int) -> tuple[TensorSpec, TensorSpec]:
    """Not on the unit circle, so that each product of the turn shows."""
    near = uniform(-1.0, 1.0)
    return tensor(positions, width, draw=near, constant=True), tensor(positions, width, draw=near, constant=True)


def _rotary_samples() -> Iterator[Sample]:
    def ids(batch: int, length: int, draw: Draw | None = None) -> TensorSpec:
        return tensor(batch, length, dtype="int64", draw=draw or integers(0, 29))

    def sample(name: str, given: tuple[TensorSpec, ...], dtypes: tuple[str, ...] = s.FEW, **fields: Any) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again") if k in fields}
        return Sample(name, given, fields, dtypes=dtypes, **kept)

    flat, caches = tensor(2, 4, 24), _caches(30, 4)
    yield sample("flat", (flat, ids(2, 4), *caches), GPU)
    yield sample("heads", (tensor(2, 3, 4, 8), ids(2, 4), *caches), GPU)
    yield sample("interleaved", (flat, ids(2, 4), *caches), interleaved=1)
    yield sample("heads-interleaved", (tensor(2, 3, 4, 8), ids(2, 4), *caches), ONE, interleaved=1)
    first = tensor(1, dtype="int64", draw=values(7))
    yield sample("first-position", (flat, first, *caches))
    partial_caches = _caches(30, 2)
    part: dict[str, Any] = {"num_heads": 3, "rotary_embedding_dim": 4}
    yield sample("partial", (flat, ids(2, 4), *partial_caches), **part)
    yield sample("partial-interleaved", (flat, ids(2, 4), *partial_caches), ONE, interleaved=1, **part)
    yield sample("one-position", (tensor(1, 1, 24), ids(1, 1), *caches), ONE)
    # Half of each head is turned, half comes out as it is.
    for name, draw, dtypes in ALONE:
        turned: dict[str, Any] = {"num_heads": 2, "rotary_embedding_dim": 4}
        given = tensor(1, 1, 16, draw=draw), ids(1, 1), *partial_caches
        yield sample(f"one-token-{name}", given, dtypes, tags=s.SPECIAL, **turned)
    yield sample("large", (tensor(1, 33, 256), ids(1, 33), *_caches(40, 32)), tags=s.LARGE)
    again = ((tensor(1, 1, 24), ids(1, 1), *caches), (tensor(3, 9, 24), ids(3, 9), *caches))
    yield sample("dynamic", (flat, ids(2, 4), *caches), ONE, again=again, tags=s.DYNAMIC)


def _grouped_samples() -> Iterator[Sample]:
    size = 16

    def sample(
        name: str,
        dtypes: tuple[str, ...] = s.FEW,
        *,
        batch: int = 2,
        new: int = 5,
        held: int | None = None,
        before: Sequence[int] | None = None,
        q: int = 4,
        kv: int = 2,
        packed: bool = False,
        rotary: int = 0,
        positions: TensorSpec | None = None,
        bias: TensorSpec | None = None,
        sink: bool = False,
        outputs: int | tuple[bool, ...] = 3,
        tags: frozenset[str] = frozenset(),
        **attributes: Any,
    ) -> Sample:
        """``held``: rows of the past (None: there is none). ``before``: how many of them are tokens, by entry of the
        batch (default: all)."""
        counts = list(before if before is not None else [held or 0] * batch)
        total = max(counts) + new
        given: list[TensorSpec | None] = [tensor(batch, new, q * size), *[tensor(batch, new, kv * size)] * 2]
        if packed:
            given = [tensor(batch, new, (q + 2 * kv) * size), None, None]
        given += [None if held is None else tensor(batch, kv, held, size)] * 2
        given.append(tensor(batch, dtype="int32", draw=values(*[c + new - 1 for c in counts])))
        given.append(fixed(total, dtype="int32"))
        caches: tuple[TensorSpec | None, ...] = _caches(40, rotary) if rotary else (None, None)
        given += [*caches, positions, bias, tensor(q, constant=True) if sink else None]
        while given[-1] is None:
            given.pop()
        named = {"num_heads": q, "kv_num_heads": kv, **({"do_rotary": 1} if rotary else {}), **attributes}
        present = (batch, kv, max(total, held or 0), size)
        shape: Any = [None, present, present] if outputs == 3 else None
        if outputs == (True, True, True, True):
            shape = [None, present, present, (batch, q, new, total)]
        return Sample(name, tuple(given), named, outputs=outputs, dtypes=dtypes, shape=shape, tags=tags)

    yield sample("prompt", GPU)
    yield sample("prompt-rotary", rotary=8)
    yield sample("prompt-packed", packed=True)
    yield sample("prompt-packed-rotary", packed=True, rotary=8)
    yield sample("decode", GPU, new=1, held=6)
    yield sample("decode-rotary", GPU, new=1, held=6, rotary=8)
    yield sample("decode-packed-rotary", new=1, held=6, packed=True, rotary=8)
    yield sample("rotary-interleaved", new=1, held=6, rotary=8, rotary_interleaved=1)
    at = TensorSpec((2, 1), values(9, 3), "int64")
    yield sample("rotary-positions", ONE, new=1, held=6, rotary=8, positions=at)
    yield sample("chunk", ONE, batch=1, new=3, held=6)
    yield sample("chunk-rotary", batch=1, new=3, held=6, rotary=8)
    yield sample("ragged", new=1, held=6, before=(6, 3), tags=OPEN)
    yield sample("ragged-rotary", ONE, new=1, held=6, before=(2, 6), rotary=8, tags=OPEN)
    yield sample("spare-capacity", new=1, held=12, before=(6, 4), rotary=8, tags=OPEN)
    yield sample("no-present", ONE, new=1, held=6, outputs=1)
    yield sample("multi-query", ONE, q=4, kv=1)
    yield sample("one-head-each", ONE, q=3, kv=3, new=1, held=6)
    yield sample("scale", ONE, scale=0.3)
    yield sample("window", local_window_size=3)
    yield sample("window-decode", new=1, held=9, local_window_size=4)
    yield sample("window-wider-than-all", ONE, local_window_size=16)
    yield sample("softcap", softcap=1.5)
    yield sample("softcap-decode", ONE, new=1, held=6, softcap=1.5)
    yield sample("smooth-softmax", smooth_softmax=1)
    yield sample("smooth-softmax-window", ONE, new=1, held=9, smooth_softmax=1, local_window_size=4)
    yield sample("head-sink", sink=True)
    yield sample("head-sink-decode", ONE, new=1, held=6, sink=True)
    yield sample("bidirectional", ONE, causal=0)
    yield sample("attention-bias", bias=tensor(2, 4, 5, 5))
    yield sample("attention-bias-broadcast", ONE, new=1, held=6, bias=tensor(1, 1, 1, 7))
    yield sample("softmax-as-output", ONE, new=1, held=6, outputs=(True,) * 4, qk_output=2)
    # Whether these have the scale in them the text leaves open.
    yield sample("scores-as-output", ONE, new=1, held=6, outputs=(True,) * 4, qk_output=1, scale=1.0)
    # One token's value is the result.
    one = sample("one-token", GPU, batch=1, new=1, q=2, kv=1)
    query, key, _, *others = one.inputs
    for name, draw, dtypes in ALONE:
        given = query, key, tensor(1, 1, size, draw=draw), *others
        yield replace(one, name=f"one-token-{name}", inputs=given, dtypes=dtypes, tags=s.SPECIAL)
    heavy = sample("one-heavy-key", batch=1, new=1, held=KEYS - 1, q=2, kv=1, bias=HEAVY)
    small = tensor(1, 1, 2 * size, draw=uniform(-0.1, 0.1))
    yield replace(heavy, inputs=(small, *heavy.inputs[1:]), dtypes=GPU[1:])
    yield sample("large", batch=1, new=33, q=8, kv=2, rotary=8, tags=s.LARGE)


_operator = partial(Operator, domain=DOMAIN)

OPERATORS = (
    _operator("Attention", packed_attention, Composite(), _packed_samples),
    _operator("QAttention", quantised_attention, Composite(), _quantised_samples),
    _operator("MultiHeadAttention", multi_head_attention, Composite(), _heads_samples),
    _operator("GroupQueryAttention", group_query_attention, Composite(drift=_rows_left_open), _grouped_samples),
    _operator("RotaryEmbedding", rotary_embedding, Composite(), _rotary_samples),
)
