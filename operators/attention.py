"""Scaled dot-product attention and rotary position embeddings, in elementary steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from conformance.draws import Draw, coin, full, integers, uniform, values
from conformance.dtypes import from_onnx, torch_dtype
from conformance.lazy import F, torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .geometry import wide
from .samples import DYNAMIC, FEW, LARGE, SPECIAL, pairwise, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
# Not float64: ONNX's function body has the scale in float32 whatever the inputs are.
ALL = ("float32", "float16", "bfloat16")


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    past_key: torch.Tensor | None = None,
    past_value: torch.Tensor | None = None,
    nonpad_kv_seqlen: torch.Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    n_outputs: int = 1,
) -> tuple[torch.Tensor, ...]:
    """softmax(Q·Kᵀ·scale, capped, + mask)·V over heads (Attention-24, with the windows of -25).

    Q (batch, heads, length, size) or (batch, length, heads·size); K and V the same with ``kv_num_heads``, each
    of which serves a run of query heads. A query that may see no key gives zeros.
    """
    flat = q.dim() == 3
    if flat:
        assert q_num_heads is not None
        assert kv_num_heads is not None
        q, k, v = _heads(q, q_num_heads), _heads(k, kv_num_heads), _heads(v, kv_num_heads)
    present_key = k if past_key is None else torch.cat([past_key, k], 2)
    present_value = v if past_value is None else torch.cat([past_value, v], 2)
    past = 0 if past_key is None else past_key.shape[2]
    repeats = q.shape[1] // present_key.shape[1]
    keys = wide(present_key).repeat_interleave(repeats, 1)
    root = math.sqrt(scale if scale else 1 / math.sqrt(q.shape[-1]))
    product = torch.matmul(wide(q) * root, (keys * root).mT)
    scores = (product / softcap).tanh() * softcap if softcap else product
    queries, total = scores.shape[-2:]
    allowed = _visible(
        queries, total, past, nonpad_kv_seqlen, is_causal, left_window_size, right_window_size, q.device
    )
    biased = scores
    if attn_mask is not None:
        missing = total - attn_mask.shape[-1]
        if attn_mask.dtype == torch.bool:
            allowed = allowed & F.pad(attn_mask, [0, missing], value=False)
        else:
            biased = scores + F.pad(attn_mask.to(scores.dtype), [0, missing], value=-math.inf)
    biased = biased.masked_fill(~allowed, -math.inf)
    probabilities = _softmax(biased, softmax_precision).to(scores.dtype)
    y = torch.matmul(probabilities, wide(present_value).repeat_interleave(repeats, 1)).to(q.dtype)
    if flat:
        y = y.transpose(1, 2).flatten(2)
    shown = (product, scores, biased, probabilities)[qk_matmul_output_mode].to(q.dtype)
    return (y, present_key, present_value, shown)[: max(n_outputs, 1)]


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


def _visible(
    queries: int,
    keys: int,
    past: int,
    lengths: torch.Tensor | None,
    causal: int,
    left: int,
    right: int,
    device: torch.device,
) -> torch.Tensor:
    """Which key each query may see: (queries, keys), or (batch, 1, queries, keys) with ``lengths``.

    Query i stands at ``i + past``, or at the end of the valid keys where their count is given.
    """
    i = torch.arange(queries, device=device)[:, None]
    j = torch.arange(keys, device=device)
    offset: int | torch.Tensor = past
    allowed = torch.ones(queries, keys, dtype=torch.bool, device=device)
    if lengths is not None:
        counts = lengths.reshape(-1, 1, 1, 1)
        allowed = allowed & (j < counts)
        offset = counts - queries if past == 0 else past
    if causal:
        allowed = allowed & (j <= i + offset)
    if left >= 0:
        allowed = allowed & (i + offset - j <= left)
    if right >= 0:
        allowed = allowed & (j - i - offset <= right)
    return allowed


def _softmax(x: torch.Tensor, precision: int | None) -> torch.Tensor:
    """Over the last axis, in the named precision if that is wider; all zeros where every score is −∞."""
    if precision is not None:
        x = x.to(torch.promote_types(x.dtype, torch_dtype(from_onnx(precision).name)))
    top = x.amax(-1, keepdim=True)
    blind = top == -math.inf
    weights = (x - torch.where(blind, torch.zeros_like(top), top)).exp()
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(blind, torch.ones_like(total), total)


def _attention_samples() -> Iterator[Sample]:
    def sample(
        name: str, given: tuple[TensorSpec | None, ...], dtypes: tuple[str, ...] | None = FEW, **fields: Any
    ) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "refuse", "outputs") if k in fields}
        return Sample(name, given, fields, dtypes=dtypes, opset=fields.pop("opset", 23), **kept)

    def heads(
        batch: int = 2, length: int = 4, keys: int = 6, size: int = 8, *, q: int = 3, kv: int = 3, v: int = 0
    ) -> tuple[TensorSpec, ...]:
        return tensor(batch, q, length, size), tensor(batch, kv, keys, size), tensor(batch, kv, keys, v or size)

    def flat(
        batch: int = 2, length: int = 4, keys: int = 6, size: int = 8, *, q: int = 3, kv: int = 3, v: int = 0
    ) -> tuple[TensorSpec, ...]:
        return (
            tensor(batch, length, q * size),
            tensor(batch, keys, kv * size),
            tensor(batch, keys, kv * (v or size)),
        )

    three: dict[str, Any] = {"q_num_heads": 3, "kv_num_heads": 3}
    grouped: dict[str, Any] = {"q_num_heads": 6, "kv_num_heads": 2}
    past = tensor(2, 3, 5, 8), tensor(2, 3, 5, 8)
    yield sample("heads", heads(), ALL)
    yield sample("flat", flat(), ALL, **three)
    yield sample("self-attention", heads(keys=4))
    yield sample("value-size", heads(v=5))
    yield sample("value-size-flat", flat(v=5), **three)
    yield sample("scale", heads(), scale=0.3)
    yield sample("grouped", heads(q=6, kv=2))
    yield sample("grouped-flat", flat(q=6, kv=2), **grouped)
    yield sample("multi-query", heads(q=4, kv=1))
    yield sample("softcap", heads(), softcap=1.5)
    yield sample("softmax-float32", heads(), softmax_precision=1)
    yield sample("softmax-float64", heads(), ONE, softmax_precision=11)
    # A narrower softmax than its inputs would have to be narrow, and to what accuracy is not said.
    yield sample("softmax-float16", heads(), ("float16",), softmax_precision=10)
    yield sample("softmax-bfloat16", heads(), ("bfloat16",), softmax_precision=16)
    yield from _attention_pairs()
    unbounded = {"left_window_size": -1, "right_window_size": -1}
    yield sample("windows-unbounded", heads(), ONE, opset=25, **unbounded)
    yield sample("causal", heads(length=5, keys=5), ALL, is_causal=1)
    yield sample("causal-more-keys", heads(), is_causal=1)
    yield sample("causal-flat-grouped", flat(length=5, keys=5, q=6, kv=2), is_causal=1, **grouped)
    additive = tensor(4, 6)
    yield sample("additive-mask", (*heads(), additive), ALL)
    # Heads of 16, whose scale and its root are powers of two: the function body's float32 holds them as well.
    yield sample("float64", (*heads(size=16), additive), ("float64",))
    yield sample("additive-mask-heads", (*heads(), tensor(3, 4, 6)))
    yield sample("additive-mask-batch", (*heads(), tensor(2, 1, 4, 6)))
    yield sample("additive-mask-full", (*heads(), tensor(2, 3, 4, 6)))
    yield sample("additive-mask-causal", (*heads(length=5, keys=5), tensor(5, 5)), is_causal=1)
    seen = tensor(4, 6, draw=values(*(1, 0, 1, 1, 0, 1) * 4), dtype="bool")
    yield sample("boolean-mask", (*heads(), seen))
    yield sample("boolean-mask-full", (*heads(), tensor(2, 3, 4, 6, draw=coin(0.8), dtype="bool")))
    yield sample("boolean-mask-causal", (*heads(length=4, keys=6), seen), is_causal=1)
    infinite = tensor(4, 6, draw=values(*(0.0, -math.inf, 0.5, 0.0, -math.inf, -1.0) * 4))
    yield sample("infinite-mask", (*heads(), infinite), tags=SPECIAL)
    blind = tensor(4, 6, draw=values(*(1, 1, 0, 1, 1, 1), *(0,) * 6, *(1,) * 12), dtype="bool")
    yield sample("query-without-keys", (*heads(), blind), tags=SPECIAL)
    yield sample("past", (*heads(), None, *past), outputs=3)
    yield sample("past-causal", (*heads(length=4, keys=4), None, *past), is_causal=1, outputs=3)
    yield sample("past-mask", (*heads(), tensor(4, 11), *past), outputs=3)
    yield sample("past-flat", (*flat(), None, *past), outputs=3, **three)
    step = (*heads(length=1, keys=1), None, *past)
    yield sample("decode-step", step, ("float32", "float16", "bfloat16"), is_causal=1, outputs=3)
    for mode, name in enumerate(("product", "capped", "biased", "probabilities")):
        fields: dict[str, Any]
        fields = {"qk_matmul_output_mode": mode, "softcap": 2.0, "outputs": (True, False, False, True)}
        yield sample(f"output-{name}", (*heads(), additive), **fields)
    yield sample("all-outputs", (*heads(), None, *past), outputs=4)
    yield sample("large-scores", (tensor(1, 2, 4, 8, draw=uniform(-30, 30)), *heads(1, q=2, kv=2)[1:]))
    yield sample("constant-keys", (tensor(1, 2, 4, 8), tensor(1, 2, 6, 8, draw=full(0.5)), tensor(1, 2, 6, 8)))
    yield sample("one-key", heads(length=3, keys=1))
    yield sample("ones", heads(1, 1, 1, 1, q=1, kv=1))
    yield sample("tails", heads(1, 17, 33, 19, q=3, kv=3))
    yield sample(
        "large", heads(1, 64, 96, 64, q=4, kv=2), ("float32", "float16", "bfloat16"), tags=LARGE, is_causal=1
    )
    again = (heads(1, 2, 9), heads(3, 7, 3))
    yield sample("dynamic", heads(), again=again, tags=DYNAMIC)
    short = tensor(2, dtype="int64", draw=values(4, 6))
    yield sample("key-lengths", (*heads(), None, None, None, short), opset=24)
    yield sample("key-lengths-causal", (*heads(), None, None, None, short), opset=24, is_causal=1)
    yield sample("key-lengths-short-mask", (*heads(keys=8), tensor(4, 6), None, None, short), opset=24)
    sides: dict[str, Any] = {"left_window_size": 2, "right_window_size": 1, "opset": 25}
    yield sample("window", heads(length=5, keys=7), **sides)
    yield sample("window-past", (*heads(length=4, keys=4), None, *past), ONE, **sides, outputs=3)
    yield sample("window-key-lengths", (*heads(), None, None, None, short), ONE, **sides)
    yield sample("window-of-one", heads(length=5, keys=5), ONE, opset=25, left_window_size=0, right_window_size=0)
    yield sample("flat-without-heads", flat(), ONE, refuse="heads must be given")
    yield sample("size-mismatch", (*heads()[:1], *heads(size=7)[1:]), ONE, refuse="queries of 8 against keys of 7")
    yield sample("bad-mask", (*heads(), tensor(5, 6)), ONE, refuse="a mask of 5 rows for 4 queries")


def _attention_pairs() -> Iterator[Sample]:
    """Every two attributes, ways of giving the heads, and masks. Where a pair has a window it is of opset 25."""

    def inputs(row: Mapping[str, Any]) -> tuple[TensorSpec | None, ...]:
        q, k = (tensor(2, 4, 48), tensor(2, 6, 16)) if row["flat"] else (tensor(2, 6, 4, 8), tensor(2, 2, 6, 8))
        past = (tensor(2, 2, 3, 8),) * 2 if row["past"] else ()
        total = 9 if row["past"] else 6
        mask = {
            None: None,
            "additive": tensor(4, total),
            "boolean": tensor(4, total, draw=values(*((1, 0, 1) * 12)[: 4 * total]), dtype="bool"),
        }[row["mask"]]
        return (q, k, k, mask, *past) if past else (q, k, k, mask) if mask else (q, k, k)

    def valid(row: Mapping[str, Any]) -> bool:
        # What stands for a hidden key in the biased scores, -inf or the lowest number, is open.
        hides = row["is_causal"] or row["mask"] == "boolean" or row["left_window_size"] or row["right_window_size"]
        return not (row["qk_matmul_output_mode"] == 2 and hides)

    for pair in pairwise(
        Sample("pairs", ()),
        {
            "qk_matmul_output_mode": (None, 1, 2, 3),
            "is_causal": (None, 1),
            "left_window_size": (None, 2),
            "right_window_size": (None, 1),
            "scale": (None, 0.3),
            "softcap": (None, 1.5),
            "softmax_precision": (None, 1),
        },
        variations={"flat": (False, True), "mask": (None, "additive", "boolean"), "past": (False, True)},
        inputs=inputs,
        more=lambda row: {"q_num_heads": 6, "kv_num_heads": 2} if row["flat"] else {},
        valid=valid,
    ):
        windowed = {"left_window_size", "right_window_size"} & set(pair.attributes)
        outputs = (True, False, False, True) if len(pair.inputs) < 6 else 4
        yield replace(pair, opset=25 if windowed else 23, outputs=outputs)


def rotary_embedding(
    x: torch.Tensor,
    cos_cache: torch.Tensor,
    sin_cache: torch.Tensor,
    position_ids: torch.Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> torch.Tensor:
    """Pairs of features turned by the angle of their position (RotaryEmbedding-23).

    x (batch, heads, length, size) or (batch, length, heads·size); caches (positions, size/2) read at
    ``position_ids`` (batch, length), or (batch, length, size/2) as they are.
    """
    a = _heads(x, num_heads) if x.dim() == 3 else x
    size = rotary_embedding_dim or a.shape[-1]
    turned, rest = a[..., :size], a[..., size:]
    cos, sin = (c if position_ids is None else c[position_ids] for c in (cos_cache, sin_cache))
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    if interleaved:
        left, right = turned[..., 0::2], turned[..., 1::2]
        real, imaginary = cos * left - sin * right, sin * left + cos * right
        turned = torch.stack([real, imaginary], -1).flatten(-2)
    else:
        left, right = turned[..., : size // 2], turned[..., size // 2 :]
        turned = torch.cat([cos * left - sin * right, sin * left + cos * right], -1)
    y = torch.cat([turned, rest], -1)
    return y.transpose(1, 2).flatten(2) if x.dim() == 3 else y


def _rotary_samples() -> Iterator[Sample]:
    def sample(
        name: str, given: tuple[TensorSpec | None, ...], dtypes: tuple[str, ...] | None = FEW, **fields: Any
    ) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "refuse") if k in fields}
        return Sample(name, given, fields, dtypes=dtypes, opset=23, **kept)

    def caches(*shape: int) -> tuple[TensorSpec, TensorSpec]:
        near = uniform(-1.0, 1.0)
        return tensor(*shape, draw=near, constant=len(shape) == 2), tensor(
            *shape, draw=near, constant=len(shape) == 2
        )

    def ids(batch: int, length: int, draw: Draw | None = None) -> TensorSpec:
        return tensor(batch, length, dtype="int64", draw=draw or integers(0, 49))

    x = tensor(2, 3, 4, 8)
    yield sample("positions", (x, *caches(50, 4), ids(2, 4)), None)
    yield sample("no-positions", (x, *caches(2, 4, 4)))
    yield sample("interleaved", (x, *caches(50, 4), ids(2, 4)), interleaved=1)
    yield sample("interleaved-no-positions", (x, *caches(2, 4, 4)), interleaved=1)
    yield sample("partial", (x, *caches(50, 2), ids(2, 4)), rotary_embedding_dim=4)
    yield sample("partial-interleaved", (x, *caches(2, 4, 3)), rotary_embedding_dim=6, interleaved=1)
    flat = tensor(2, 4, 24)
    yield sample("flat", (flat, *caches(50, 4), ids(2, 4)), num_heads=3)
    yield sample("flat-interleaved", (flat, *caches(2, 4, 4)), num_heads=3, interleaved=1)
    yield sample("flat-partial", (flat, *caches(50, 2), ids(2, 4)), num_heads=3, rotary_embedding_dim=4)
    yield sample("one-position", (tensor(1, 3, 1, 8), *caches(50, 4), ids(1, 1)))
    yield sample("same-position", (x, *caches(50, 4), ids(2, 4, integers(7, 7))))
    yield sample("ones", (tensor(1, 1, 1, 2), *caches(1, 1, 1)))
    yield sample("tails", (tensor(1, 5, 17, 34), *caches(50, 17), ids(1, 17)))
    yield sample("large", (tensor(1, 16, 33, 64), *caches(50, 32), ids(1, 33)), None, tags=LARGE)
    again = ((tensor(1, 3, 1, 8), *caches(50, 4), ids(1, 1)), (tensor(3, 3, 9, 8), *caches(50, 4), ids(3, 9)))
    yield sample("dynamic", (x, *caches(50, 4), ids(2, 4)), again=again, tags=DYNAMIC)
    yield sample("flat-without-heads", (flat, *caches(50, 4), ids(2, 4)), ONE, refuse="num_heads must be given")
    yield sample("cache-mismatch", (x, *caches(2, 4, 3)), ONE, refuse="3 angles for 4 pairs")
    for refused in refusals(3, most=4):
        yield sample(refused.name, refused.inputs, ONE, refuse=refused.refuse)


OPERATORS = (
    Operator("Attention", attention, Composite(), _attention_samples),
    Operator("RotaryEmbedding", rotary_embedding, Composite(), _rotary_samples),
)
