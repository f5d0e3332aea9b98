"""What one entry of the zoo says, and the small pieces that the entries are written with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from conformance.draws import Draw, integers, normal, values

__all__ = ["Built", "Call", "Dynamic", "Feed", "Reference", "cache_feeds", "hf", "ids", "mask", "pixels", "real"]


@dataclass(frozen=True, slots=True)
class Feed:
    """A real input: its shape, ONNX type name and the recipe for its values."""

    shape: tuple[int, ...]
    draw: Draw
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Built:
    """An instance ready for export: a module that takes the inputs by position and returns a tensor or a tuple
    of them. ``gains`` scales parameters whose name contains the key, where the framework's own initialisation
    lets activations vanish or explode."""

    module: nn.Module
    inputs: dict[str, Feed]
    outputs: Sequence[str]
    gains: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Axes whose length a backend learns at run time: for each input, names of its axes; and the lengths, by name,
    at which the model is run besides those of its feeds."""

    axes: Mapping[str, Mapping[int, str]]
    sizes: tuple[Mapping[str, int], ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """An architecture. ``source``: where the definition comes from; ``licence``: that definition's.

    ``fold``: whether the exporter's rewriter may fold batch normalisation into convolutions, as deployed
    graphs have it; without, the graph keeps BatchNormalization nodes, as an importer of training graphs sees it.
    ``form``: the numbers that the deployed graph computes in, a key of `forms.FORMS`. ``suite``: the smallest that
    has the model. ``state``: whether it takes and gives a cache or another state. ``wild``: why its activations leave
    the usual range, where that is the architecture's own.
    """

    name: str
    domain: str
    source: str
    licence: str
    build: Callable[[], Built]
    opset: int = 20
    fold: bool = True
    form: str = "float32"
    suite: str = "full"
    state: bool = False
    dynamic: Dynamic | None = None
    wild: str = ""


class Call(nn.Module):
    """A model behind a function of plain tensors: exporters want positional tensors in, tensors out."""

    def __init__(self, net: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.net = net
        self._function = function

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self._function(self.net, *tensors)


def hf(name: str, **config: Any) -> nn.Module:
    """A model of transformers by its class's name, from its configuration's defaults and what differs from them."""
    import transformers

    model = getattr(transformers, name)
    net: nn.Module = model(model.config_class(**config))
    return net


def pixels(height: int, width: int, channels: int = 3) -> Feed:
    """A normalised image, batch 1, NCHW."""
    return Feed((1, channels, height, width), normal())


def real(*shape: int, std: float = 1.0) -> Feed:
    """Normal values."""
    return Feed(shape, normal(0.0, std))


def ids(*shape: int, vocabulary: int, first: int = 0) -> Feed:
    """Token ids in [first, vocabulary)."""
    return Feed(shape, integers(first, vocabulary - 1), "int64")


def mask(length: int, padding: int, *, left: bool = False) -> Feed:
    """An attention mask of shape (1, length) with so many padded positions at one end."""
    row = [1] * (length - padding)
    row = [0] * padding + row if left else row + [0] * padding
    return Feed((1, length), values(*row), "int64")


def cache_feeds(layers: int, heads: int, length: int, size: int) -> dict[str, Feed]:
    """Keys and values of a decoder's cache, two inputs of shape (1, heads, length, size) a layer."""
    feeds = {}
    for layer in range(layers):
        for part in ("key", "value"):
            feeds[f"past_key_values.{layer}.{part}"] = Feed((1, heads, length, size), normal())
    return feeds
