"""Image-text matching and recommendation."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from conformance.draws import integers, uniform

from .reference import Built, Call, Feed, Reference, ids, mask, pixels, real

__all__ = ["REFERENCES"]

TRANSFORMERS = "Apache-2.0"
OURS = "Apache-2.0"


def clip() -> Built:
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    vision = CLIPVisionConfig(
        hidden_size=256, intermediate_size=1024, num_hidden_layers=10, num_attention_heads=4, patch_size=16
    )
    text = CLIPTextConfig(hidden_size=256, intermediate_size=1024, num_hidden_layers=3, num_attention_heads=4)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=512)

    def forward(net: nn.Module, tokens: Any, image: Any, attention: Any) -> Any:
        result = net(input_ids=tokens, pixel_values=image, attention_mask=attention)
        return result.logits_per_image, result.image_embeds, result.text_embeds

    inputs = {
        "input_ids": ids(1, 77, vocabulary=text.vocab_size),
        "pixel_values": pixels(224, 224),
        "attention_mask": mask(77, 40),
    }
    return Built(Call(CLIPModel(config), forward), inputs, ["logits_per_image", "image_embeds", "text_embeds"])


class Dlrm(nn.Module):
    """Deep learning recommendation model (Naumov et al., 2019) on Criteo's 13 numbers and 26
    categories, the tables cut to 10,000 rows.

    (batch, 13) and hashed ids (batch, 26) to (batch, 1). Pairwise dot products of the embeddings, by Gather.
    """

    ROWS = (1460, 583, 10000, 10000, 305, 24, 10000, 633, 3, 10000, 5683, 10000, 3194)
    ROWS += (27, 10000, 10000, 10, 5652, 2173, 4, 10000, 18, 15, 10000, 105, 10000)

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, size) for rows in self.ROWS)
        self.bottom = self._mlp(13, 512, 256, 64, size)
        count = len(self.ROWS) + 1
        self.register_buffer("pairs", torch.tensor([i * count + j for i in range(count) for j in range(i)]))
        self.top = self._mlp(size + count * (count - 1) // 2, 512, 256)
        self.last = nn.Linear(256, 1)

    @staticmethod
    def _mlp(*sizes: int) -> nn.Sequential:
        pairs = itertools.pairwise(sizes)
        return nn.Sequential(*(layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())))

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        dense = self.bottom(numbers)
        vectors = torch.stack(
            [dense, *(t(categories[:, i] % t.num_embeddings) for i, t in enumerate(self.tables))], 1
        )
        products = (vectors @ vectors.transpose(1, 2)).flatten(1)
        crossed = torch.cat([dense, products.index_select(1, self.pairs)], 1)
        return torch.sigmoid(self.last(self.top(crossed)))


class GraphFilter(nn.Module):
    """Neural graph collaborative filtering (Wang et al., 2019): users and items of MovieLens 100K as one graph,
    three propagation layers, messages summed over edges, scores of some pairs.

    edges (2, E): from, to, as node numbers; weights (E,); pairs (2, P). Gives (P,).
    """

    USERS, ITEMS = 943, 1682

    def __init__(self, size: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.nodes = nn.Embedding(self.USERS + self.ITEMS, size)
        self.plain = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))
        self.crossed = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))

    def forward(self, edges: torch.Tensor, weights: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        x = self.nodes.weight
        seen = [x]
        targets = edges[1].unsqueeze(1).expand(-1, x.shape[1])
        for plain, crossed in zip(self.plain, self.crossed, strict=True):
            messages = x[edges[0]] * weights.unsqueeze(1)
            gathered = torch.zeros_like(x).scatter_add(0, targets, messages)
            x = F.leaky_relu(plain(gathered + x) + crossed(gathered * x), 0.2)
            seen.append(F.normalize(x, dim=1))
        all_layers = torch.cat(seen, 1)
        return (all_layers[pairs[0]] * all_layers[pairs[1]]).sum(1)


def dlrm() -> Built:
    inputs = {
        "numbers": real(64, 13),
        "categories": Feed((64, 26), integers(0, 2**31 - 1), "int64"),
    }
    return Built(Dlrm(), inputs, ["click"])


def graph_filter() -> Built:
    count = GraphFilter.USERS + GraphFilter.ITEMS
    inputs = {
        "edges": Feed((2, 8192), integers(0, count - 1), "int64"),
        "weights": Feed((8192,), uniform(0.05, 0.5)),
        "pairs": Feed((2, 256), integers(0, count - 1), "int64"),
    }
    return Built(GraphFilter(), inputs, ["score"])


REFERENCES = (
    Reference(
        "clip-tiny", "image-text", "transformers CLIPModel, TinyCLIP-ViT-8M-16-Text-3M sizes", TRANSFORMERS, clip
    ),
    Reference(
        "dlrm",
        "recommendation",
        "here, after Naumov et al. (2019), Criteo sizes, 64 samples, tables of at most 10,000 rows",
        OURS,
        dlrm,
    ),
    Reference(
        "ngcf",
        "recommendation",
        "here, after Wang et al. (2019), MovieLens 100K's nodes, 8,192 edges",
        OURS,
        graph_filter,
        opset=18,
    ),
)
