"""Operators that carry a state from one step of decoding to the next: causal convolution and linear attention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from conformance.draws import uniform
from conformance.lazy import F, torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .geometry import wide
from .samples import DYNAMIC, EMPTY, FEW, INF, LARGE, NAN, SPECIAL, literal, only, pairwise, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16")


def causal_conv(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    past_state: torch.Tensor | None = None,
    *,
    activation: str = "none",
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, C, L) with (C, 1, k): each channel's convolution with the k last positions (CausalConvWithState-27).

    The k - 1 positions before the first are ``past_state`` (N, C, k - 1), or zeros; those before the next are the
    second result. ``activation`` silu or swish: x·sigmoid(x).
    """
    n, channels, _ = input.shape
    k = weight.shape[-1]
    before = input.new_zeros(n, channels, k - 1) if past_state is None else past_state
    padded = torch.cat([before, input], -1)
    y = F.conv1d(wide(padded), wide(weight), None if bias is None else wide(bias), groups=channels)
    if activation != "none":
        y = y * y.sigmoid()
    return y.to(input.dtype), padded[..., padded.shape[-1] - (k - 1) :]


def _causal_conv_samples() -> Iterator[Sample]:
    def sample(
        name: str,
        n: int,
        channels: int,
        length: int,
        k: int,
        *,
        bias: bool = False,
        past: bool = False,
        dtypes: tuple[str, ...] = FEW,
        tags: frozenset[str] = frozenset(),
        **attributes: Any,
    ) -> Sample:
        inputs: list[TensorSpec | None] = [
            tensor(n, channels, length),
            tensor(channels, 1, k, constant=True),
            tensor(channels, constant=True) if bias else None,
            tensor(n, channels, k - 1) if past else None,
        ]
        while inputs[-1] is None:
            inputs.pop()
        return Sample(name, tuple(inputs), attributes, outputs=2, dtypes=dtypes, tags=tags)

    yield sample("prefill", 2, 5, 9, 4, dtypes=ALL)
    yield sample("bias", 2, 5, 9, 4, bias=True)
    yield sample("past", 2, 5, 9, 4, past=True)
    yield sample("bias-past-silu", 2, 5, 9, 4, bias=True, past=True, activation="silu", dtypes=ALL)
    yield sample("swish", 2, 5, 9, 4, activation="swish")
    yield sample("none", 2, 5, 9, 4, activation="none")
    yield sample("decode-step", 3, 8, 1, 4, bias=True, past=True, activation="silu", dtypes=ALL)
    yield sample("shorter-than-kernel", 2, 3, 2, 5)
    yield sample("shorter-than-kernel-past", 2, 3, 2, 5, past=True)
    yield sample("kernel-1", 2, 3, 7, 1, bias=True)
    yield sample("ones", 1, 1, 1, 1)
    yield sample("tails", 1, 33, 17, 3, bias=True, past=True)
    yield sample("large", 2, 129, 251, 4, bias=True, activation="silu", dtypes=ALL, tags=LARGE)
    yield sample("empty-batch", 0, 3, 5, 4, tags=EMPTY)
    weight = tensor(3, 1, 4, constant=True)
    sizes = tuple((tensor(n, 3, length), weight, None, tensor(n, 3, 3)) for n, length in ((1, 1), (4, 11)))
    first = tensor(2, 3, 5), weight, None, tensor(2, 3, 3)
    yield Sample("dynamic", first, {"activation": "silu"}, outputs=2, dtypes=FEW, again=sizes, tags=DYNAMIC)
    # Every window has one special value at most: 0 times infinity elsewhere is nobody's matter.
    row = literal(1.0, INF, 2.0, -1.0, NAN, 0.5, 3.0, -INF, 1.0, 2.0, shape=(1, 1, 10))
    half = literal(0.5, -2.0, shape=(1, 1, 2))
    yield Sample("special", (row, half), outputs=2, dtypes=ALL, tags=SPECIAL)
    x = tensor(2, 3, 5)
    for name, inputs, attributes, why in (
        ("channel-mismatch", (x, tensor(4, 1, 3)), {}, "3 channels against 4"),
        ("not-depthwise", (x, tensor(3, 3, 3)), {}, "the weight's second size is not 1"),
        ("state-length", (x, tensor(3, 1, 3), None, tensor(2, 3, 3)), {}, "a state of 3 for a kernel of 3"),
        ("bad-activation", (x, tensor(3, 1, 3)), {"activation": "gelu"}, "no such activation"),
    ):
        yield Sample(name, inputs, attributes, outputs=2, dtypes=ONE, refuse=why)
    yield from refusals(2, most=4)


def linear_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    past_state: torch.Tensor | None = None,
    decay: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    *,
    q_num_heads: int,
    kv_num_heads: int,
    chunk_size: int = 64,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token after the other (LinearAttention-27): S ← exp(g)·S + k⊗v for the rules without delta, and
    S ← exp(g)·S + β·k⊗(v − exp(g)·Sᵀk) with it; o = scale·qᵀS.

    query (B, T, Hq·dk), key (B, T, Hkv·dk), value (B, T, Hkv·dv); the state (B, Hkv, dk, dv). ``decay`` g has a number
    a head (B, T, Hkv) or a feature (B, T, Hkv·dk), ``beta`` one a head or one for all (B, T, 1).
    """
    q, k, v = (
        wide(_split(x, heads)) for x, heads in ((query, q_num_heads), (key, kv_num_heads), (value, kv_num_heads))
    )
    batch, length, _, size = q.shape
    factor = scale or 1 / math.sqrt(size)
    state = v.new_zeros(batch, kv_num_heads, size, v.shape[-1]) if past_state is None else wide(past_state)
    rows = []
    for t in range(length):
        added = v[:, t]
        if decay is not None:
            gate = wide(_split(decay[:, t], kv_num_heads)).exp()
            state = state * gate.unsqueeze(-1)
        if beta is not None:
            recalled = torch.matmul(k[:, t].unsqueeze(-2), state).squeeze(-2)
            added = wide(beta[:, t]).unsqueeze(-1) * (added - recalled)
        state = state + k[:, t].unsqueeze(-1) * added.unsqueeze(-2)
        seen = state.repeat_interleave(q_num_heads // kv_num_heads, 1)
        rows.append(factor * torch.matmul(q[:, t].unsqueeze(-2), seen).squeeze(-2))
    y = torch.stack(rows, 1).flatten(2)
    return y.to(query.dtype), state.to(query.dtype if past_state is None else past_state.dtype)


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(…, heads·size) as (…, heads, size)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def _linear_attention_samples() -> Iterator[Sample]:
    def inputs(
        rule: str,
        batch: int = 2,
        length: int = 5,
        heads: tuple[int, int] = (2, 2),
        size: int = 8,
        values: int = 4,
        *,
        past: bool = False,
        features: bool = False,
        one_beta: bool = False,
    ) -> tuple[TensorSpec | None, ...]:
        q, kv = heads
        # Keys of about unit length and gates below 1 keep the state bounded, as the models do.
        near = uniform(-1.0, 1.0) if size == 1 else uniform(-1.7 / math.sqrt(size), 1.7 / math.sqrt(size))
        given: list[TensorSpec | None] = [
            tensor(batch, length, q * size),
            tensor(batch, length, kv * size, draw=near),
            tensor(batch, length, kv * values),
            tensor(batch, kv, size, values) if past else None,
            tensor(batch, length, kv * size if features else kv, draw=uniform(-2.0, 0.0))
            if "gated" in rule
            else None,
            tensor(batch, length, 1 if one_beta else kv, draw=uniform(0.1, 0.95)) if "delta" in rule else None,
        ]
        while given[-1] is None:
            given.pop()
        return tuple(given)

    def sample(name: str, rule: str, dtypes: tuple[str, ...] = FEW, **given: Any) -> Sample:
        kept: dict[str, Any] = {k: given.pop(k) for k in ("scale", "chunk_size") if k in given}
        q, kv = given.get("heads", (2, 2))
        attributes: dict[str, Any] = {"q_num_heads": q, "kv_num_heads": kv, "update_rule": rule, **kept}
        tags = given.pop("tags", frozenset())
        return Sample(name, inputs(rule, **given), attributes, outputs=2, dtypes=dtypes, tags=tags)

    for rule in ("linear", "gated", "delta", "gated_delta"):
        word = rule.replace("_", "-")
        yield sample(word, rule, ALL)
        yield sample(f"{word}-past", rule, ALL if rule == "linear" else FEW, past=True)
        yield sample(f"{word}-decode-step", rule, length=1, past=True)
    yield Sample(
        "default-rule", inputs("gated_delta"), {"q_num_heads": 2, "kv_num_heads": 2}, outputs=2, dtypes=FEW
    )
    yield sample("decay-by-feature", "gated", features=True)
    yield sample("decay-by-feature-delta", "gated_delta", features=True, past=True)
    yield sample("one-beta", "delta", one_beta=True)
    yield sample("grouped", "gated_delta", heads=(6, 2))
    yield sample("one-key-head", "linear", heads=(4, 1))
    yield from pairwise(
        Sample("pairs", (), {"q_num_heads": 2, "kv_num_heads": 2}, outputs=2),
        {
            "update_rule": (None, "linear", "gated", "delta"),
            "scale": (None, 0.3),
            "chunk_size": (None, 2),
        },
        inputs=lambda row: inputs(row["update_rule"] or "gated_delta"),
    )
    yield sample("ones", "gated_delta", batch=1, length=1, heads=(1, 1), size=1, values=1)
    yield sample("tails", "gated_delta", batch=1, length=17, heads=(3, 3), size=19, values=13)
    yield sample(
        "longer-than-a-chunk", "gated_delta", ONE, batch=1, length=70, heads=(2, 1), size=16, values=16, tags=LARGE
    )
    again = tuple(inputs("gated", batch, length, past=True) for batch, length in ((1, 1), (3, 9)))
    attributes: dict[str, Any] = {"q_num_heads": 2, "kv_num_heads": 2, "update_rule": "gated"}
    yield Sample(
        "dynamic", inputs("gated", past=True), attributes, outputs=2, dtypes=FEW, again=again, tags=DYNAMIC
    )
    linear = {**attributes, "update_rule": "linear"}
    for name, given, chosen, why in (
        ("gated-without-decay", inputs("linear"), attributes, "gated needs decay"),
        ("delta-without-beta", inputs("linear"), {**attributes, "update_rule": "delta"}, "delta needs beta"),
        ("bad-rule", inputs("linear"), {**attributes, "update_rule": "quadratic"}, "no such rule"),
        ("uneven-heads", inputs("linear", heads=(3, 2)), {**linear, "q_num_heads": 3}, "3 heads for 2"),
        ("heads-left-out", inputs("linear"), {"update_rule": "linear"}, "the heads must be given"),
        ("state-shape", (*inputs("linear"), tensor(2, 2, 4, 8)), linear, "a state of 4 by 8, not 8 by 4"),
    ):
        yield Sample(name, given, chosen, outputs=2, dtypes=ONE, refuse=why)


OPERATORS = (
    Operator("CausalConvWithState", causal_conv, Composite(), lambda: only(_causal_conv_samples(), opset=27)),
    Operator(
        "LinearAttention", linear_attention, Composite(), lambda: only(_linear_attention_samples(), opset=27)
    ),
)
