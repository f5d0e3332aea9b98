"""More text generators: one step with a cache, each family at a deployed size with some of its identical layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .initialise import thin
from .language import PADDING, PAST, TRANSFORMERS, decode_step
from .reference import Built, Call, Feed, Reference, cache_feeds, hf, ids, mask, real

__all__ = ["REFERENCES"]

VOCABULARY = 8192  # rows of the embedding: published tables are up to thirty times as long, and no different


def step(name: str, layers: int, heads: int, size: int, *, key: str = "num_hidden_layers", **config: Any) -> Built:
    """One step of a causal model of transformers; ``heads`` and ``size`` are those of the cache."""
    net = hf(name, vocab_size=VOCABULARY, **{key: layers}, **{**SPECIAL, **config})
    return decode_step(net, layers, heads, size, VOCABULARY)


def whole(name: str, layers: int, heads: int, size: int, vocabulary: int, **config: Any) -> Built:
    """As `step`, with all layers and the whole vocabulary, its weights nowhere in memory."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        net = hf(name, vocab_size=vocabulary, num_hidden_layers=layers, **config)
    thin(net)
    return decode_step(net, layers, heads, size, vocabulary)


# Ids of special tokens lie beyond a short vocabulary in some defaults.
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def mamba() -> Built:
    """One step of a state-space model: a window of convolution inputs and a state a layer, no keys, no values."""
    net = hf("MambaForCausalLM", vocab_size=VOCABULARY, num_hidden_layers=LAYERS, hidden_size=768, **SPECIAL)
    return Built(MambaStep(net), _mamba_feeds(net.config), ["logits", *_mamba_names("present")])


LAYERS = 4


def _mamba_names(when: str) -> list[str]:
    return [f"{when}.{layer}.{part}" for layer in range(LAYERS) for part in ("window", "state")]


def _mamba_feeds(config: Any) -> dict[str, Feed]:
    shapes = {
        "window": (1, config.intermediate_size, config.conv_kernel),
        "state": (1, config.intermediate_size, config.state_size),
    }
    feeds = {"input_ids": ids(1, 1, vocabulary=VOCABULARY)}
    return feeds | {n: real(*shapes[n.rsplit(".", 1)[1]], std=0.5) for n in _mamba_names("past")}


class MambaStep(nn.Module):
    """A step written down: the framework's own updates its cache in place."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        backbone: Any = self.net.backbone
        x = backbone.embeddings(tokens)
        present: list[torch.Tensor] = []
        for layer, window, state in zip(backbone.layers, past[0::2], past[1::2], strict=True):
            mixed, *new = self._mix(layer.mixer, layer.norm(x), window, state)
            present += new
            x = x + mixed
        logits: torch.Tensor = self.net.lm_head(backbone.norm_f(x))
        return (logits, *present)

    @staticmethod
    def _mix(mixer: Any, x: torch.Tensor, window: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden, gate = mixer.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        window = torch.cat([window[:, :, 1:], hidden], dim=-1)
        hidden = mixer.act((window * mixer.conv1d.weight[:, 0]).sum(-1) + mixer.conv1d.bias)
        sizes = [mixer.time_step_rank, mixer.ssm_state_size, mixer.ssm_state_size]
        step, b, c = torch.split(mixer.x_proj(hidden), sizes, dim=-1)
        step = torch.nn.functional.softplus(mixer.dt_proj(step)).unsqueeze(-1)
        decay = torch.exp(-torch.exp(mixer.A_log) * step)
        state = decay * state + step * b.unsqueeze(1) * hidden.unsqueeze(-1)
        y = (state @ c.unsqueeze(-1)).squeeze(-1) + mixer.D * hidden
        y = y * mixer.act(gate.squeeze(-1))
        return mixer.out_proj(y).unsqueeze(1), window, state


class RwkvStep(nn.Module):
    """RWKV-4 (Peng et al., 2023), one token: time mixing with an exponentially decaying numerator and denominator,
    then channel mixing; five vectors of state a layer."""

    PARTS = ("mix", "numerator", "denominator", "largest", "channel")

    def __init__(self, width: int = 768, layers: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.first, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.layers = nn.ModuleList(RwkvLayer(width) for _ in range(layers))

    def forward(self, tokens: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.first(self.embed(tokens[:, 0]))
        present: list[torch.Tensor] = []
        count = len(self.PARTS)
        for index, layer in enumerate(self.layers):
            x, new = layer(x, past[index * count : (index + 1) * count])
            present += new
        return (self.head(self.last(x)), *present)


class RwkvLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixes = nn.ParameterList(nn.Parameter(torch.rand(width)) for _ in range(5))
        self.decay = nn.Parameter(torch.rand(width) * 2 - 1)
        self.bonus = nn.Parameter(torch.randn(width) * 0.3)
        self.key, self.value, self.receptance, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.gate = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        old, numerator, denominator, largest, channel = state
        now = self.before(x)
        key, value, gate = (
            layer(now * mix + old * (1 - mix))
            for layer, mix in zip((self.key, self.value, self.receptance), self.mixes, strict=False)
        )
        top = torch.maximum(largest, self.bonus + key)
        a, b = torch.exp(largest - top), torch.exp(self.bonus + key - top)
        mixed = (a * numerator + b * value) / (a * denominator + b)
        x = x + self.output(torch.sigmoid(gate) * mixed)
        decayed = largest - torch.exp(self.decay)
        top = torch.maximum(decayed, key)
        a, b = torch.exp(decayed - top), torch.exp(key - top)
        numerator, denominator = a * numerator + b * value, a * denominator + b
        here = self.between(x)
        wanted = torch.relu(self.up(here * self.mixes[3] + channel * (1 - self.mixes[3]))) ** 2
        passed = torch.sigmoid(self.gate(here * self.mixes[4] + channel * (1 - self.mixes[4])))
        return x + passed * self.down(wanted), [now, numerator, denominator, top, here]


def rwkv() -> Built:
    from conformance.draws import uniform

    from .reference import Feed

    feeds = {"input_ids": ids(1, 1, vocabulary=VOCABULARY)}
    names = [f"{layer}.{part}" for layer in range(4) for part in RwkvStep.PARTS]
    for name in names:
        positive = name.endswith("denominator")
        feeds[f"past.{name}"] = Feed((1, 768), uniform(1.0, 3.0)) if positive else real(1, 768, std=0.5)
    return Built(RwkvStep(), feeds, ["logits", *(f"present.{n}" for n in names)])


def seq2seq(name: str, *, layers: int, heads: int, size: int, width: int, **config: Any) -> Built:
    """One step of an encoder-decoder: a cache of its own tokens and one of the encoder's, which does not grow."""
    from transformers import DynamicCache, EncoderDecoderCache

    net = hf(name, vocab_size=VOCABULARY, decoder_start_token_id=2, **{**SPECIAL, **config})
    source = 32
    inputs = {
        "decoder_input_ids": ids(1, 1, vocabulary=VOCABULARY),
        "encoder_attention_mask": mask(source, PADDING),
        "encoder_hidden_states": real(1, source, width),
        **cache_feeds(layers, heads, PAST, size),
        **{n.replace("past", "cross"): f for n, f in cache_feeds(layers, heads, source, size).items()},
    }

    def forward(net: nn.Module, tokens: Any, attention: Any, encoded: Any, *caches: Any) -> Any:
        past, cross = caches[: 2 * layers], caches[2 * layers :]
        both = EncoderDecoderCache(
            DynamicCache(list(zip(past[0::2], past[1::2], strict=True))),
            DynamicCache(list(zip(cross[0::2], cross[1::2], strict=True))),
        )
        result = net(
            decoder_input_ids=tokens,
            attention_mask=attention,
            encoder_outputs=(encoded,),
            past_key_values=both,
            use_cache=True,
        )
        own = result.past_key_values.self_attention_cache
        return (result.logits, *(t for layer in own.layers for t in (layer.keys, layer.values)))

    outputs = ["logits", *(n.replace("past_key_values", "present") for n in inputs if n.startswith("past"))]
    return Built(Call(net, forward), inputs, outputs)


def _reference(name: str, source: str, build: Any, **more: Any) -> Reference:
    ours = source.startswith("here")
    full = source if ours else f"transformers {source}, vocabulary of {VOCABULARY}: one step with a cache"
    return Reference(name, "text generation", full, TRANSFORMERS, build, **{"state": True, **more})


REFERENCES = (
    _reference(
        "opt-125m",
        "OPTForCausalLM, facebook/opt-125m sizes, 4 of 12 layers",
        lambda: step("OPTForCausalLM", 4, 12, 64),
    ),
    _reference(
        "gpt-neo-125m",
        "GPTNeoForCausalLM, EleutherAI/gpt-neo-125m sizes, 4 of 12 layers",
        lambda: step(
            "GPTNeoForCausalLM",
            4,
            12,
            64,
            key="num_layers",
            hidden_size=768,
            num_heads=12,
            attention_types=[[["global", "local"], 2]],
            window_size=32,
            max_position_embeddings=128,
        ),
        opset=18,
    ),
    _reference(
        "pythia-70m",
        "GPTNeoXForCausalLM, EleutherAI/pythia-70m sizes",
        lambda: step(
            "GPTNeoXForCausalLM", 6, 8, 64, hidden_size=512, num_attention_heads=8, intermediate_size=2048
        ),
    ),
    _reference(
        "bloom-560m",
        "BloomForCausalLM, bigscience/bloom-560m sizes, 2 of 24 layers",
        lambda: step("BloomForCausalLM", 2, 16, 64, key="n_layer", hidden_size=1024, n_head=16),
    ),
    _reference(
        "llama-3.2-1b",
        "LlamaForCausalLM, meta-llama/Llama-3.2-1B sizes, 2 of 16 layers",
        lambda: step(
            "LlamaForCausalLM",
            2,
            8,
            64,
            hidden_size=2048,
            intermediate_size=8192,
            num_attention_heads=32,
            num_key_value_heads=8,
            tie_word_embeddings=True,
        ),
    ),
    _reference(
        "mistral-7b",
        "MistralForCausalLM, mistralai/Mistral-7B sizes, 1 of 32 layers at half the width",
        lambda: step(
            "MistralForCausalLM",
            1,
            4,
            128,
            hidden_size=2048,
            intermediate_size=7168,
            num_attention_heads=16,
            num_key_value_heads=4,
            sliding_window=32,
        ),
    ),
    _reference(
        "qwen2-0.5b",
        "Qwen2ForCausalLM, Qwen/Qwen2-0.5B sizes, 4 of 24 layers",
        lambda: step(
            "Qwen2ForCausalLM",
            4,
            2,
            64,
            hidden_size=896,
            intermediate_size=4864,
            num_attention_heads=14,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        ),
    ),
    _reference(
        "qwen3-0.6b",
        "Qwen3ForCausalLM, Qwen/Qwen3-0.6B sizes, 4 of 28 layers",
        lambda: step(
            "Qwen3ForCausalLM",
            4,
            8,
            128,
            hidden_size=1024,
            intermediate_size=3072,
            num_attention_heads=16,
            num_key_value_heads=8,
            head_dim=128,
            tie_word_embeddings=True,
        ),
    ),
    _reference(
        "gemma-2b",
        "GemmaForCausalLM, google/gemma-2b sizes, 1 of 18 layers at half the width",
        lambda: step(
            "GemmaForCausalLM",
            1,
            1,
            256,
            hidden_size=1024,
            intermediate_size=8192,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=256,
        ),
    ),
    _reference(
        "gemma3-270m",
        "Gemma3ForCausalLM, google/gemma-3-270m sizes, 6 of 18 layers",
        lambda: step(
            "Gemma3ForCausalLM",
            6,
            1,
            256,
            hidden_size=640,
            intermediate_size=2048,
            num_attention_heads=4,
            num_key_value_heads=1,
            sliding_window=512,
        ),
    ),
    _reference(
        "phi-1.5",
        "PhiForCausalLM, microsoft/phi-1_5 sizes, 1 of 24 layers",
        lambda: step("PhiForCausalLM", 1, 32, 64),
        opset=18,
    ),
    _reference(
        "phi-3-mini",
        "Phi3ForCausalLM, microsoft/Phi-3-mini sizes, 1 of 32 layers at half the width",
        lambda: step(
            "Phi3ForCausalLM",
            1,
            16,
            96,
            hidden_size=1536,
            intermediate_size=4096,
            num_attention_heads=16,
            num_key_value_heads=16,
        ),
    ),
    _reference(
        "stablelm-1.6b",
        "StableLmForCausalLM, stabilityai/stablelm-2-1_6b sizes, 1 of 24 layers",
        lambda: step(
            "StableLmForCausalLM",
            1,
            32,
            64,
            hidden_size=2048,
            intermediate_size=5632,
            num_attention_heads=32,
            num_key_value_heads=32,
            use_qkv_bias=True,
        ),
        opset=18,
    ),
    _reference(
        "cohere-small",
        "CohereForCausalLM, 1 layer of 2048",
        lambda: step(
            "CohereForCausalLM",
            1,
            4,
            128,
            hidden_size=2048,
            intermediate_size=5632,
            num_attention_heads=16,
            num_key_value_heads=4,
            use_qk_norm=True,
        ),
    ),
    _reference(
        "olmo2-1b",
        "Olmo2ForCausalLM, allenai/OLMo-2-1B sizes, 1 of 16 layers",
        lambda: step(
            "Olmo2ForCausalLM",
            1,
            16,
            128,
            hidden_size=2048,
            intermediate_size=8192,
            num_attention_heads=16,
            num_key_value_heads=16,
        ),
    ),
    _reference(
        "granite-350m",
        "GraniteForCausalLM, ibm-granite's 350 M sizes, 4 layers",
        lambda: step(
            "GraniteForCausalLM",
            4,
            4,
            64,
            hidden_size=1024,
            intermediate_size=2048,
            num_attention_heads=16,
            num_key_value_heads=4,
            embedding_multiplier=12.0,
            residual_multiplier=0.22,
            attention_multiplier=0.015625,
            logits_scaling=4.0,
        ),
    ),
    _reference(
        "mamba-130m",
        "MambaForCausalLM's parameters, state-spaces/mamba-130m sizes, 4 of 24 layers",
        mamba,
    ),
    _reference("rwkv-169m", "here, after Peng et al. (2023), RWKV-4 169 M sizes, 4 of 12 layers", rwkv),
    _reference(
        "t5-small-decoder",
        "T5ForConditionalGeneration, t5-small sizes",
        lambda: seq2seq(
            "T5ForConditionalGeneration",
            attn_implementation="eager",
            layers=6,
            heads=8,
            size=64,
            width=512,
            num_layers=1,
            num_decoder_layers=6,
        ),
    ),
)
