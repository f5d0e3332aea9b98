"""More text encoders: every family that changed the attention, the positions or the embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .decoders import SPECIAL, VOCABULARY
from .language import LENGTH, PADDING, TRANSFORMERS
from .reference import Built, Call, Reference, hf, ids, mask

__all__ = ["REFERENCES"]

LAYERS = 4


def encoder(name: str, *, masked: bool = True, length: int = LENGTH, gains: Any = None, **config: Any) -> Built:
    """A model of transformers from token ids, and a mask where it takes one, to its first output."""
    settings = {"vocab_size": VOCABULARY, "num_hidden_layers": LAYERS, **SPECIAL, **config}
    net = hf(name, **{k: v for k, v in settings.items() if v is not None})
    inputs = {"input_ids": ids(1, length, vocabulary=VOCABULARY, first=3)}
    if masked:
        inputs["attention_mask"] = mask(length, PADDING)

    def forward(net: nn.Module, tokens: Any, *attention: Any) -> Any:
        return net(input_ids=tokens, **({"attention_mask": attention[0]} if attention else {}))[0]

    return Built(Call(net, forward), inputs, ["logits"], gains or {})


class Fourier(nn.Module):
    """FNet (Lee-Thorp et al., 2021): the real part of a discrete Fourier transform in place of attention, as the
    published implementation does it where there is no fast one: by products with the matrices of cosines and sines."""

    def __init__(self, width: int = 768, layers: int = LAYERS) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, width), nn.Embedding(LENGTH, width)
        self.norm = nn.LayerNorm(width)
        self.mixed = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.deep = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            for _ in range(layers)
        )
        self.after = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.last = nn.Linear(width, 4)
        for name, size in (("tokens", LENGTH), ("width", width)):
            angle = 2 * torch.pi * torch.arange(size).outer(torch.arange(size)).remainder(size) / size
            self.register_buffer(f"cos_{name}", angle.cos() / size**0.5)
            self.register_buffer(f"sin_{name}", angle.sin() / size**0.5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.tokens(tokens) + self.positions.weight)
        for mixed, deep, after in zip(self.mixed, self.deep, self.after, strict=True):
            real = self.cos_tokens @ (x @ self.cos_width) - self.sin_tokens @ (x @ self.sin_width)
            x = mixed(x + real)
            x = after(x + deep(x))
        return self.last(x.mean(1))


class TextCnn(nn.Module):
    """Kim's convolutions over words (2014): ids (1, LENGTH) to classes, maxima over time."""

    def __init__(self, width: int = 300) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, 100, size) for size in (3, 4, 5))
        self.last = nn.Linear(300, 6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens).transpose(1, 2)
        return self.last(torch.cat([F.relu(c(x)).amax(2) for c in self.convolutions], 1)).log_softmax(-1)


class Tagger(nn.Module):
    """A two-way LSTM over words and over characters' convolutions (Ma and Hovy, 2016): labels for each word."""

    def __init__(self, width: int = 100, hidden: int = 200) -> None:
        super().__init__()
        self.words, self.letters = nn.Embedding(VOCABULARY, width), nn.Embedding(128, 30)
        self.spell = nn.Conv1d(30, 30, 3, padding=1)
        self.state = nn.LSTM(width + 30, hidden, bidirectional=True, batch_first=True)
        self.last = nn.Linear(2 * hidden, 17)

    def forward(self, words: torch.Tensor, letters: torch.Tensor) -> torch.Tensor:
        spelt = self.spell(self.letters(letters.flatten(0, 1)).transpose(1, 2)).amax(2)
        joined = torch.cat([self.words(words), spelt.view(*words.shape, -1)], -1)
        return self.last(self.state(joined)[0])


def tagger() -> Built:
    inputs = {"words": ids(1, 32, vocabulary=VOCABULARY), "letters": ids(1, 32, 12, vocabulary=128)}
    return Built(Tagger(), inputs, ["labels"])


def tokens_only(net: nn.Module) -> Built:
    return Built(net, {"input_ids": ids(1, LENGTH, vocabulary=VOCABULARY)}, ["logits"])


def _reference(name: str, source: str, build: Any, **more: Any) -> Reference:
    full = source if source.startswith("here") else f"transformers {source}, vocabulary of {VOCABULARY}"
    return Reference(name, "NLP", full, TRANSFORMERS, build, **more)


REFERENCES = (
    _reference(
        "distilbert",
        "DistilBertForSequenceClassification, distilbert-base sizes, 4 of 6 layers",
        lambda: encoder("DistilBertForSequenceClassification"),
    ),
    _reference(
        "roberta-base",
        "RobertaForTokenClassification, roberta-base sizes, 4 of 12 layers",
        lambda: encoder("RobertaForTokenClassification"),
        opset=18,
    ),
    _reference(
        "albert-base",
        "AlbertForMaskedLM, albert-base-v2 sizes, one set of weights for 4 layers",
        lambda: encoder(
            "AlbertForMaskedLM",
            hidden_size=768,
            num_attention_heads=12,
            intermediate_size=3072,
            tie_word_embeddings=True,
        ),
    ),
    _reference(
        "electra-small",
        "ElectraForPreTraining, google/electra-small-discriminator sizes, 6 of 12 layers",
        lambda: encoder("ElectraForPreTraining", num_hidden_layers=6),
    ),
    _reference(
        "deberta-v3-small",
        "DebertaV2ForSequenceClassification, microsoft/deberta-v3-small sizes, 2 of 6 layers",
        lambda: encoder(
            "DebertaV2ForSequenceClassification",
            num_hidden_layers=2,
            hidden_size=768,
            num_attention_heads=12,
            intermediate_size=3072,
            relative_attention=True,
            position_buckets=256,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
            type_vocab_size=0,
        ),
    ),
    _reference(
        "mpnet-base",
        "MPNetModel, sentence-transformers/all-mpnet-base-v2 sizes, 3 of 12 layers",
        lambda: encoder("MPNetModel", num_hidden_layers=3),
    ),
    _reference(
        "modernbert-base",
        "ModernBertForMaskedLM, answerdotai/ModernBERT-base sizes, 4 of 22 layers",
        lambda: encoder(
            "ModernBertForMaskedLM",
            cls_token_id=1,
            sep_token_id=2,
            local_attention=32,
            reference_compile=False,
            attn_implementation="eager",
        ),
    ),
    _reference(
        "mobilebert",
        "MobileBertForSequenceClassification, google/mobilebert-uncased sizes, 4 of 24 layers",
        lambda: encoder("MobileBertForSequenceClassification"),
    ),
    _reference(
        "squeezebert",
        "SqueezeBertForSequenceClassification, squeezebert-uncased sizes, 4 of 12 layers",
        lambda: encoder("SqueezeBertForSequenceClassification"),
        opset=18,
    ),
    _reference(
        "convbert-base",
        "ConvBertForTokenClassification, YituTech/conv-bert-base sizes, 2 of 12 layers",
        lambda: encoder("ConvBertForTokenClassification", num_hidden_layers=2),
    ),
    _reference(
        "nystromformer",
        "NystromformerForSequenceClassification, uw-madison/nystromformer-512 sizes, 2 of 12 layers",
        lambda: encoder("NystromformerForSequenceClassification", num_hidden_layers=2, segment_means_seq_len=64),
    ),
    _reference(
        "roformer",
        "RoFormerForMaskedLM, junnyu/roformer_chinese_base sizes, 3 of 12 layers",
        lambda: encoder("RoFormerForMaskedLM", num_hidden_layers=3, embedding_size=768),
    ),
    _reference(
        "esm2-8m",
        "EsmForMaskedLM, facebook/esm2_t6_8M sizes: proteins",
        lambda: encoder(
            "EsmForMaskedLM",
            num_hidden_layers=6,
            hidden_size=320,
            num_attention_heads=20,
            intermediate_size=1280,
            position_embedding_type="rotary",
            token_dropout=True,
            mask_token_id=32,
            emb_layer_norm_before=False,
        ),
    ),
    _reference(
        "t5-small-encoder",
        "T5EncoderModel, t5-small sizes, 4 of 6 layers",
        lambda: encoder("T5EncoderModel", attn_implementation="eager", num_layers=4, num_hidden_layers=None),
    ),
    _reference("fnet-base", "here, after Lee-Thorp et al. (2021), 4 layers", lambda: tokens_only(Fourier())),
    _reference("text-cnn", "here, after Kim (2014)", lambda: tokens_only(TextCnn()), opset=18),
    _reference("bilstm-tagger", "here, after Ma and Hovy (2016)", tagger),
)
