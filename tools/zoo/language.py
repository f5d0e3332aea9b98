"""Text encoders, and decoders that generate with a cache."""

from __future__ import annotations

from typing import Any

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


def decode_step(net: nn.Module, layers: int, heads: int, size: int, vocabulary: int) -> Built:
    """One new token after PAST cached ones, of which the first PADDING are padding."""
    from transformers import DynamicCache

    inputs = {
        "input_ids": ids(1, 1, vocabulary=vocabulary),
        "attention_mask": mask(PAST + 1, PADDING, left=True),
        "position_ids": ids(1, 1, vocabulary=PAST - PADDING + 1, first=PAST - PADDING),
        **cache_feeds(layers, heads, PAST, size),
    }

    def forward(net: nn.Module, tokens: Any, attention: Any, positions: Any, *past: Any) -> Any:
        result = net(
            input_ids=tokens,
            attention_mask=attention,
            position_ids=positions,
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


REFERENCES = (
    Reference(
        "bert-base", "NLP", "transformers BertForMaskedLM, bert-base-uncased sizes", TRANSFORMERS, bert_base
    ),
    Reference(
        "gpt2",
        "text generation",
        "transformers GPT2LMHeadModel, gpt2 sizes: one step with a cache",
        TRANSFORMERS,
        gpt2,
    ),
)
