"""Models once more as they are deployed: in float16, quantised, with axes whose length is known at run time only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from conformance.draws import coin, integers

from . import classification, decoders, dense, encoders, forecasts, generation, graph, language, ocr, sound, vision
from .decoders import VOCABULARY, whole
from .reference import Built, Call, Dynamic, Feed, Reference, ids, pixels, real

__all__ = ["REFERENCES"]

_BASES: Mapping[str, Reference] = {
    r.name: r
    for family in (
        vision,
        classification,
        dense,
        ocr,
        language,
        encoders,
        decoders,
        sound,
        forecasts,
        generation,
        graph,
    )
    for r in family.REFERENCES
}


def _in(form: str, suffix: str, names: Iterable[str], **more: Any) -> list[Reference]:
    return [
        replace(
            _BASES[name],
            name=f"{name}-{suffix}",
            source=f"{_BASES[name].source}, {form}",
            form=form,
            suite="full",
            **more,
        )
        for name in names
    ]


def dynamic(
    name: str,
    domain: str,
    source: str,
    build: Any,
    axes: Mapping[str, Mapping[int, str]],
    *sizes: Mapping[str, int],
    **more: Any,
) -> Reference:
    return Reference(f"{name}-dynamic", domain, source, "Apache-2.0", build, dynamic=Dynamic(axes, sizes), **more)


def encoder_batch() -> Built:
    """MiniLM's sizes with two layers: a batch of sentences to vectors."""
    net = _bert()

    def forward(net: nn.Module, tokens: Any, attention: Any) -> Any:
        hidden = net(input_ids=tokens, attention_mask=attention).last_hidden_state
        weight = attention.unsqueeze(-1).to(hidden.dtype)
        return F.normalize((hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9), dim=1)

    inputs = {
        "input_ids": ids(2, 24, vocabulary=VOCABULARY),
        "attention_mask": Feed((2, 24), coin(0.9), "int64"),
    }
    return Built(Call(net, forward), inputs, ["sentence_embedding"])


def _bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=384,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=1536,
        attn_implementation="eager",
    )
    return BertModel(config, add_pooling_layer=False)


class Decoder(nn.Module):
    """A causal layer of GPT's kind with a cache that grows, written so that no length stands in the graph."""

    def __init__(self, width: int = 256, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.embed, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(512, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers + 1))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.deep = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
            for _ in range(layers)
        )
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: torch.Tensor, places: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.embed(tokens) + self.places(places)
        present = []
        for index, (qkv, out, deep) in enumerate(zip(self.qkv, self.out, self.deep, strict=True)):
            parts = qkv(self.norms[2 * index](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            query, key, value = parts[0], parts[1], parts[2]
            key = torch.cat([past[2 * index], key], 2)
            value = torch.cat([past[2 * index + 1], value], 2)
            present += [key, value]
            scores = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5
            mixed = scores.softmax(-1) @ value
            x = x + out(mixed.transpose(1, 2).flatten(2))
            x = x + deep(self.norms[2 * index + 1](x))
        return (self.head(self.norms[-1](x)), *present)


def growing_cache() -> Built:
    cache = real(2, 4, 16, 64)
    inputs = {
        "input_ids": ids(2, 1, vocabulary=VOCABULARY),
        "position_ids": ids(2, 1, vocabulary=512),
        **{f"past.{layer}.{part}": cache for layer in range(2) for part in ("key", "value")},
    }
    outputs = ["logits", *(f"present.{layer}.{part}" for layer in range(2) for part in ("key", "value"))]

    def forward(net: nn.Module, *tensors: Any) -> Any:
        return net(*tensors)

    return Built(Call(Decoder(), forward), inputs, outputs)


def images(name: str, size: int = 96) -> Any:
    """A model of images of another size, two at a time."""

    def build() -> Built:
        built = _BASES[name].build()
        (image,) = built.inputs.values()
        return replace(built, inputs={"image": replace(image, shape=(2, image.shape[1], size, size))})

    return build


def rows(name: str, count: int = 16) -> Any:
    """A model of samples with another number of them."""

    def build() -> Built:
        built = _BASES[name].build()
        return replace(built, inputs={n: replace(f, shape=(count, *f.shape[1:])) for n, f in built.inputs.items()})

    return build


class Convolution(nn.Module):
    """GCN on a graph of any size: the number of nodes is that of the features' rows."""

    def __init__(self, words: int = 64, hidden: int = 32, classes: int = 7) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(words, hidden), nn.Linear(hidden, classes)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self._spread(self.first(x), edges))
        return self._spread(self.second(x), edges).log_softmax(-1)

    @staticmethod
    def _spread(x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        index = edges[1].unsqueeze(1).expand(-1, x.shape[1])
        return x.scatter_add(0, index, x[edges[0]] * 0.3)


def any_graph() -> Built:
    inputs = {"x": real(100, 64, std=0.5), "edges": Feed((2, 300), integers(0, 49), "int64")}
    return Built(Convolution(), inputs, ["classes"])


class Recogniser(nn.Module):
    """CRNN (Shi et al., 2015) at a quarter of the width, for lines of any length."""

    def __init__(self, width: int = 16, characters: int = 97) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.MaxPool2d((8, 1)),
        )
        self.state = nn.LSTM(4 * width, 64, bidirectional=True)
        self.last = nn.Linear(128, characters)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.body(image).squeeze(2).permute(2, 0, 1)
        return self.last(self.state(x)[0]).log_softmax(-1)


class Frames(nn.Module):
    """Dilated convolutions over frames (van den Oord et al., 2016), gated, for any number of them."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv1d(40, width, 1)
        self.deep = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, padding=d, dilation=d) for d in (1, 2, 4, 8))
        self.skip = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(4))
        self.last = nn.Conv1d(width, 29, 1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        x = self.first(frames)
        for deep, skip in zip(self.deep, self.skip, strict=True):
            value, gate = deep(x).chunk(2, 1)
            x = x + skip(torch.tanh(value) * torch.sigmoid(gate))
        return self.last(x).log_softmax(1)


BATCH_AND_SIZE = {"image": {0: "batch", 2: "height", 3: "width"}}
REFERENCES = (
    *_in(
        "float16",
        "float16",
        [
            "resnet18",
            "mobilenet-v1",
            "deit-tiny",
            "yolov8-nano",
            "unet",
            "electra-small",
            "wav2vec2-base",
            "itransformer",
        ],
    ),
    *_in("int8", "int8", ["resnet18", "mobilenet-v2", "squeezenet", "dbnet-mobile", "deit-tiny", "googlenet"]),
    *_in(
        "dynamic int8",
        "dynamic-int8",
        ["minilm-l6", "roberta-base", "n-beats"],
        wild="sums of products of 8-bit integers are cast to float32 before they are scaled",
    ),
    *_in("int4", "int4", ["llama-3.2-1b", "opt-125m", "pythia-70m"]),
    Reference(
        "tinyllama-1.1b-int4",
        "text generation",
        "transformers LlamaForCausalLM, TinyLlama/TinyLlama-1.1B sizes, all layers and the whole vocabulary, "
        "4-bit weights: one step with a cache",
        "Apache-2.0",
        lambda: whole(
            "LlamaForCausalLM",
            22,
            4,
            64,
            32000,
            hidden_size=2048,
            intermediate_size=5632,
            num_attention_heads=32,
            num_key_value_heads=4,
        ),
        form="int4",
        state=True,
    ),
    dynamic(
        "minilm",
        "NLP",
        f"transformers BertModel, all-MiniLM sizes, 2 of 6 layers, vocabulary of {VOCABULARY}, pooled",
        encoder_batch,
        {n: {0: "batch", 1: "sequence"} for n in ("input_ids", "attention_mask")},
        {"batch": 1, "sequence": 7},
        {"batch": 3, "sequence": 40},
    ),
    dynamic(
        "gpt",
        "text generation",
        "here, GPT's blocks, 2 layers of 256: a step with a cache of any length",
        growing_cache,
        {
            "input_ids": {0: "batch"},
            "position_ids": {0: "batch"},
            **{f"past.{layer}.{part}": {0: "batch", 2: "past"} for layer in range(2) for part in ("key", "value")},
        },
        {"batch": 1, "past": 1},
        {"batch": 3, "past": 100},
        state=True,
    ),
    dynamic(
        "resnet18",
        "image classification",
        "transformers ResNetForImageClassification, microsoft/resnet-18 sizes, images of any size",
        images("resnet18"),
        BATCH_AND_SIZE,
        {"batch": 1, "height": 64, "width": 130},
        {"batch": 3, "height": 112, "width": 80},
    ),
    dynamic(
        "squeezenet",
        "image classification",
        "here, after Iandola et al. (2016), images of any size",
        images("squeezenet"),
        BATCH_AND_SIZE,
        {"batch": 1, "height": 75, "width": 120},
        {"batch": 3, "height": 130, "width": 64},
    ),
    dynamic(
        "espcn",
        "image generation",
        "here, after Shi et al. (2016), images of any size",
        images("espcn", 40),
        BATCH_AND_SIZE,
        {"batch": 1, "height": 21, "width": 64},
        {"batch": 3, "height": 48, "width": 33},
    ),
    dynamic(
        "crnn",
        "OCR",
        "here, after Shi et al. (2015), a quarter of the width, lines of any length",
        lambda: Built(Recogniser(), {"image": pixels(32, 96, 1)}, ["characters"]),
        {"image": {3: "width"}},
        {"width": 32},
        {"width": 220},
    ),
    dynamic(
        "wavenet",
        "speech",
        "here, after van den Oord et al. (2016), any number of frames",
        lambda: Built(Frames(), {"frames": real(2, 40, 64)}, ["letters"]),
        {"frames": {0: "batch", 2: "frames"}},
        {"batch": 1, "frames": 20},
        {"batch": 3, "frames": 151},
    ),
    dynamic(
        "deepfm",
        "recommendation",
        "here, after Guo et al. (2017), any number of samples",
        rows("deepfm"),
        {"ids": {0: "batch"}},
        {"batch": 1},
        {"batch": 100},
    ),
    dynamic(
        "gcn",
        "graph",
        "here, after Kipf and Welling (2017), a graph of any size",
        any_graph,
        {"x": {0: "nodes"}, "edges": {1: "edges"}},
        {"nodes": 50, "edges": 40},
        {"nodes": 333, "edges": 1000},
    ),
)
