"""Text encoders, and decoders that generate with a cache."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from .reference import Built, Call, Reference, cache_feeds, ids, mask

__all__ = ["REFERENCES"]

TRANSFORMERS = "Apache-2.0"
LENGTH = 64  # tokens of an encoder's input
PAST = 64  # tokens in a decoder's cache
PADDING = 5  # of them padded, so that masks do something


def bert_base() -> Built:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig()
    inputs = {
        "input_ids": ids(1, LENGTH, vocabulary=config.vocab_size),
        "attention_mask": mask(LENGTH, PADDING),
        "token_type_ids": ids(1, LENGTH, vocabulary=2),
    }

    def forward(net: nn.Module, tokens: Any, attention: Any, types: Any) -> Any:
        return net(input_ids=tokens, attention_mask=attention, token_type_ids=types).logits

    return Built(Call(BertForMaskedLM(config), forward), inputs, ["logits"])


def decode_step(
    net: nn.Module, layers: int, heads: int, size: int, vocabulary: int, *, positions: bool = True
) -> Built:
    """One new token after PAST cached ones, of which the first PADDING are padding."""
    from transformers import DynamicCache

    inputs = {
        "input_ids": ids(1, 1, vocabulary=vocabulary),
        "attention_mask": mask(PAST + 1, PADDING, left=True),
        "position_ids": ids(1, 1, vocabulary=PAST - PADDING + 1, first=PAST - PADDING),
        **cache_feeds(layers, heads, PAST, size),
    }

    # Where positions are counted from the mask or biases stand for them, the model does not ask for any.
    positioned = "position_ids" in inspect.signature(net.forward).parameters and positions
    if not positioned:
        del inputs["position_ids"]

    def forward(net: nn.Module, tokens: Any, attention: Any, *rest: Any) -> Any:
        past = rest[1:] if positioned else rest
        result = net(
            input_ids=tokens,
            attention_mask=attention,
            **({"position_ids": rest[0]} if positioned else {}),
            past_key_values=DynamicCache(list(zip(past[0::2], past[1::2], strict=True))),
            use_cache=True,
        )
        present = [t for layer in result.past_key_values.layers for t in (layer.keys, layer.values)]
        return (result.logits, *present)

    outputs = ["logits", *(n.replace("past_key_values", "present") for n in inputs if n.startswith("past"))]
    return Built(Call(net, forward), inputs, outputs)


def gpt2() -> Built:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config()
    head_size = config.n_embd // config.n_head
    return decode_step(GPT2LMHeadModel(config), config.n_layer, config.n_head, head_size, config.vocab_size)


def minilm() -> Built:
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    inputs = {
        "input_ids": ids(1, LENGTH, vocabulary=config.vocab_size),
        "attention_mask": mask(LENGTH, PADDING),
    }

    def forward(net: nn.Module, tokens: Any, attention: Any) -> Any:
        """A sentence embedding: the mean over what is not padded, of length one."""
        hidden = net(input_ids=tokens, attention_mask=attention).last_hidden_state
        weight = attention.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)

    return Built(Call(BertModel(config, add_pooling_layer=False), forward), inputs, ["sentence_embedding"])


def smollm() -> Built:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
    )
    return decode_step(LlamaForCausalLM(config), 30, 3, 64, config.vocab_size)


REFERENCES = (
    Reference(
        "bert-base", "NLP", "transformers BertForMaskedLM, bert-base-uncased sizes", TRANSFORMERS, bert_base
    ),
    Reference(
        "minilm-l6",
        "NLP",
        "transformers BertModel, sentence-transformers/all-MiniLM-L6-v2 sizes, pooled",
        TRANSFORMERS,
        minilm,
        opset=18,
    ),
    Reference(
        "gpt2",
        "text generation",
        "transformers GPT2LMHeadModel, gpt2 sizes: one step with a cache",
        TRANSFORMERS,
        gpt2,
        state=True,
    ),
    Reference(
        "smollm-135m",
        "text generation",
        "transformers LlamaForCausalLM, HuggingFaceTB/SmolLM-135M sizes: one step with a cache",
        TRANSFORMERS,
        smollm,
        state=True,
    ),
)
