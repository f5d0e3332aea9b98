"""More recommenders, and networks on graphs: written down here, as their authors publish code and not exports."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from conformance.draws import integers, uniform

from .reference import Built, Feed, Reference, real

__all__ = ["REFERENCES"]

OURS = "Apache-2.0"
FIELDS, ROWS, BATCH = 26, 5000, 64


def mlp(*sizes: int, last: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*(layers[:-1] if last else layers))


class Fields(nn.Module):
    """One table for all fields, each with rows of its own: (batch, FIELDS) hashed ids to (batch, FIELDS, size)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(FIELDS * ROWS, size)
        self.register_buffer("first", torch.arange(FIELDS) * ROWS)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids + self.first)


class WideAndDeep(nn.Module):
    """Cheng et al. (2016): (batch, 13) and (batch, FIELDS) to (batch, 1)."""

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.wide, self.fields = Fields(1), Fields(size)
        self.numbers = nn.BatchNorm1d(13)
        self.deep = mlp(13 + FIELDS * size, 256, 128, 64, 1, last=True)

    def forward(self, numbers: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([self.numbers(numbers), self.fields(ids).flatten(1)], 1)
        return torch.sigmoid(self.wide(ids).sum(1) + self.deep(joined))


class FactorisationMachine(nn.Module):
    """DeepFM (Guo et al., 2017): pairwise products by the square of the sum less the sum of the squares."""

    def __init__(self, size: int = 10) -> None:
        super().__init__()
        self.first, self.fields = Fields(1), Fields(size)
        self.deep = mlp(FIELDS * size, 400, 400, 1, last=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        v = self.fields(ids)
        pairs = 0.5 * (v.sum(1).square() - v.square().sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.first(ids).sum(1) + pairs + self.deep(v.flatten(1)))


class CrossNetwork(nn.Module):
    """DCN v2 (Wang et al., 2021): three crosses beside a deep network."""

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.fields = Fields(size)
        width = FIELDS * size
        self.crosses = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.deep = mlp(width, 512, 256)
        self.last = nn.Linear(width + 256, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        start = self.fields(ids).flatten(1)
        x = start
        for cross in self.crosses:
            x = start * cross(x) + x
        return torch.sigmoid(self.last(torch.cat([x, self.deep(start)], 1)))


class Interest(nn.Module):
    """DIN (Zhou et al., 2018): a candidate's attention over what the user looked at, padding masked."""

    def __init__(self, items: int = 20000, size: int = 32) -> None:
        super().__init__()
        self.items = nn.Embedding(items, size)
        self.attention = nn.Sequential(nn.Linear(4 * size, 80), nn.PReLU(), nn.Linear(80, 40), nn.PReLU())
        self.score = nn.Linear(40, 1)
        self.last = nn.Sequential(nn.Linear(2 * size, 200), nn.PReLU(200), nn.Linear(200, 1))

    def forward(self, history: torch.Tensor, length: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
        seen, wanted = self.items(history), self.items(candidate)
        query = wanted.unsqueeze(1).expand_as(seen)
        score = self.score(self.attention(torch.cat([seen, query, seen - query, seen * query], -1))).squeeze(-1)
        there = torch.arange(history.shape[1]).unsqueeze(0) < length
        score = torch.where(there, score, torch.zeros_like(score))
        interest = (score.unsqueeze(1) @ seen).squeeze(1)
        return torch.sigmoid(self.last(torch.cat([interest, wanted], 1)))


class TwoTower(nn.Module):
    """Retrieval by two towers (Covington et al., 2016): the best 10 of 4096 items for each user."""

    def __init__(self, size: int = 64) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(10000, size), nn.Embedding(4096, size)
        self.user, self.item = mlp(size, 128, 64, last=True), mlp(size, 128, 64, last=True)

    def forward(self, users: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        left = F.normalize(self.user(self.users(users)), dim=-1)
        right = F.normalize(self.item(self.items.weight), dim=-1)
        found = torch.topk(left @ right.T, 10)
        return found.values, found.indices


class Sequential(nn.Module):
    """SASRec (Kang and McAuley, 2018): two causal blocks over a user's last 50 items, scores of 100 candidates."""

    def __init__(self, items: int = 10000, size: int = 64, length: int = 50) -> None:
        super().__init__()
        self.items, self.places = nn.Embedding(items, size), nn.Embedding(length, size)
        self.blocks = nn.ModuleList(nn.ModuleList(self._block(size)) for _ in range(2))
        self.norm = nn.LayerNorm(size)
        self.register_buffer("blocked", torch.ones(length, length).triu(1).bool())

    @staticmethod
    def _block(size: int) -> list[nn.Module]:
        return [
            nn.LayerNorm(size),
            nn.Linear(size, 3 * size),
            nn.Linear(size, size),
            nn.LayerNorm(size),
            mlp(size, size, size),
        ]

    def forward(self, history: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        x = self.items(history) * self.items.embedding_dim**0.5 + self.places.weight
        for before, qkv, out, between, deep in self.blocks:
            query, key, value = qkv(before(x)).chunk(3, -1)
            scores = (query @ key.transpose(1, 2)) * self.items.embedding_dim**-0.5
            scores = scores.masked_fill(self.blocked, -1e4)
            x = x + out(scores.softmax(-1) @ value)
            x = x + deep(between(x))
        return (self.norm(x[:, -1:]) @ self.items(candidates).transpose(1, 2)).squeeze(1)


def hashed(*shape: int, rows: int) -> Feed:
    return Feed(shape, integers(0, rows - 1), "int64")


# Cora's extent: 2,708 papers, 5,429 citations each way, 1,433 words, 7 classes.
NODES, EDGES, WORDS, CLASSES = 2708, 10858, 1433, 7


class Convolution(nn.Module):
    """GCN (Kipf and Welling, 2017), two layers, messages along edges normalised by degree."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WORDS, hidden), nn.Linear(hidden, CLASSES)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges[0], edges[1]
        degree = torch.ones(NODES).scatter_add(0, target, torch.ones(EDGES))
        scale = degree.rsqrt()
        weight = (scale[source] * scale[target]).unsqueeze(1)
        x = torch.relu(self._spread(self.first(x), source, target, weight, scale))
        return self._spread(self.second(x), source, target, weight, scale).log_softmax(-1)

    @staticmethod
    def _spread(x: Any, source: Any, target: Any, weight: Any, scale: Any) -> torch.Tensor:
        index = target.unsqueeze(1).expand(-1, x.shape[1])
        own = x * scale.square().unsqueeze(1)
        return own.scatter_add(0, index, x[source] * weight)


class Attention(nn.Module):
    """GAT (Veličković et al., 2018): eight heads, weights of a node's edges by a softmax over them."""

    def __init__(self, heads: int = 8, hidden: int = 8) -> None:
        super().__init__()
        self.first = GraphAttention(WORDS, heads, hidden)
        self.second = GraphAttention(heads * hidden, 1, CLASSES)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        return self.second(F.elu(self.first(x, edges)), edges).log_softmax(-1)


class GraphAttention(nn.Module):
    def __init__(self, inputs: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads, self.outputs = heads, outputs
        self.project = nn.Linear(inputs, heads * outputs, bias=False)
        self.weigh_target = nn.Parameter(torch.randn(heads, outputs) * 0.3)
        self.weigh_source = nn.Parameter(torch.randn(heads, outputs) * 0.3)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges[0], edges[1]
        x = self.project(x).view(NODES, self.heads, self.outputs)
        score = F.leaky_relu(
            (x * self.weigh_source).sum(-1)[source] + (x * self.weigh_target).sum(-1)[target], 0.2
        )
        index = target.unsqueeze(1).expand(-1, self.heads)
        top = torch.full((NODES, self.heads), -10.0).scatter_reduce(0, index, score, "amax")
        share = torch.exp(score - top[target])
        total = torch.zeros(NODES, self.heads).scatter_add(0, index, share)
        messages = x[source] * (share / total[target].clamp(min=1e-9)).unsqueeze(-1)
        wide = target.view(-1, 1, 1).expand(-1, self.heads, self.outputs)
        return torch.zeros_like(x).scatter_add(0, wide, messages).flatten(1)


class Sage(nn.Module):
    """GraphSAGE (Hamilton et al., 2017) on a sampled neighbourhood: 64 nodes, 10 neighbours each, 10 of each of them;
    means over neighbours, vectors of length one."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        self.own = nn.ModuleList([nn.Linear(602, hidden), nn.Linear(hidden, 41)])
        self.around = nn.ModuleList([nn.Linear(602, hidden), nn.Linear(hidden, 41)])

    def forward(self, features: torch.Tensor, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
        middle = F.normalize(torch.relu(self.own[0](near) + self.around[0](far.mean(2))), dim=-1)
        centre = F.normalize(torch.relu(self.own[0](features) + self.around[0](near.mean(1))), dim=-1)
        return self.own[1](centre) + self.around[1](middle.mean(1))


class Isomorphism(nn.Module):
    """GIN (Xu et al., 2019): molecules as one graph of parts, sums over neighbours, sums over each molecule."""

    NODES, EDGES, MOLECULES, KINDS = 512, 1100, 32, 28

    def __init__(self, hidden: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.atoms = nn.Embedding(self.KINDS, hidden)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Linear(hidden, 2 * hidden), nn.BatchNorm1d(2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, hidden)
            )
            for _ in range(layers)
        )
        self.epsilon = nn.Parameter(torch.rand(layers))
        self.last = nn.Linear(hidden, 1)

    def forward(self, atoms: torch.Tensor, edges: torch.Tensor, molecule: torch.Tensor) -> torch.Tensor:
        x = self.atoms(atoms)
        index = edges[1].unsqueeze(1).expand(-1, x.shape[1])
        for position, layer in enumerate(self.layers):
            around = torch.zeros_like(x).scatter_add(0, index, x[edges[0]])
            x = F.relu(layer((1 + self.epsilon[position]) * x + around))
        wide = molecule.unsqueeze(1).expand(-1, x.shape[1])
        pooled = torch.zeros(self.MOLECULES, x.shape[1]).scatter_add(0, wide, x)
        return self.last(pooled)


class Distances(nn.Module):
    """SchNet (Schütt et al., 2018): interactions of atoms filtered by their distances, an energy."""

    ATOMS = 32

    def __init__(self, hidden: int = 64, bins: int = 50, layers: int = 3) -> None:
        super().__init__()
        self.atoms = nn.Embedding(100, hidden)
        self.register_buffer("centres", torch.linspace(0.0, 8.0, bins))
        self.filters = nn.ModuleList(
            nn.Sequential(nn.Linear(bins, hidden), nn.Softplus(), nn.Linear(hidden, hidden)) for _ in range(layers)
        )
        self.before = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(layers))
        self.after = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.Softplus(), nn.Linear(hidden, hidden))
            for _ in range(layers)
        )
        self.last = nn.Sequential(nn.Linear(hidden, 32), nn.Softplus(), nn.Linear(32, 1))

    def forward(self, atoms: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        x = self.atoms(atoms)
        apart = (places.unsqueeze(0) - places.unsqueeze(1)).square().sum(-1).add(1e-6).sqrt()
        spread = torch.exp(-10.0 * (apart.unsqueeze(-1) - self.centres).square())
        near = 0.5 * (torch.cos(apart * (torch.pi / 8.0)) + 1.0) * (apart < 8.0)
        for filters, before, after in zip(self.filters, self.before, self.after, strict=True):
            weights = filters(spread) * near.unsqueeze(-1)
            x = x + after((weights * before(x).unsqueeze(0)).sum(1) * 0.1)
        return self.last(x).sum(0)


def citation(net: nn.Module) -> Built:
    inputs = {"x": real(NODES, WORDS, std=0.3), "edges": hashed(2, EDGES, rows=NODES)}
    return Built(net, inputs, ["classes"])


def ranked(net: nn.Module, *, numbers: bool = False) -> Built:
    inputs = {"ids": hashed(BATCH, FIELDS, rows=ROWS)}
    return Built(net, ({"numbers": real(BATCH, 13)} if numbers else {}) | inputs, ["click"])


def interest() -> Built:
    inputs = {
        "history": hashed(32, 50, rows=20000),
        "length": Feed((32, 1), integers(5, 50), "int64"),
        "candidate": hashed(32, rows=20000),
    }
    return Built(Interest(), inputs, ["click"])


def sequential() -> Built:
    inputs = {"history": hashed(8, 50, rows=10000), "candidates": hashed(8, 100, rows=10000)}
    return Built(Sequential(), inputs, ["scores"])


def sage() -> Built:
    inputs = {"features": real(64, 602), "near": real(64, 10, 602), "far": real(64, 10, 10, 602)}
    return Built(Sage(), inputs, ["classes"])


def isomorphism() -> Built:
    inputs = {
        "atoms": hashed(Isomorphism.NODES, rows=Isomorphism.KINDS),
        "edges": hashed(2, Isomorphism.EDGES, rows=Isomorphism.NODES),
        "molecule": hashed(Isomorphism.NODES, rows=Isomorphism.MOLECULES),
    }
    return Built(Isomorphism(), inputs, ["property"])


def distances() -> Built:
    inputs = {"atoms": hashed(Distances.ATOMS, rows=100), "places": Feed((Distances.ATOMS, 3), uniform(0.0, 6.0))}
    return Built(Distances(), inputs, ["energy"])


def _reference(name: str, domain: str, source: str, build: Any, **more: Any) -> Reference:
    return Reference(name, domain, f"here, after {source}", OURS, build, **more)


RECOMMENDATION, GRAPH = "recommendation", "graph"
CRITEO = f"{FIELDS} fields of {ROWS:,} rows, {BATCH} samples"
REFERENCES = (
    _reference(
        "wide-and-deep",
        RECOMMENDATION,
        f"Cheng et al. (2016), {CRITEO}",
        lambda: ranked(WideAndDeep(), numbers=True),
        fold=False,
    ),
    _reference(
        "deepfm",
        RECOMMENDATION,
        f"Guo et al. (2017), {CRITEO}",
        lambda: replace(ranked(FactorisationMachine()), gains={"table.weight": 0.2}),
        opset=18,
    ),
    _reference("dcn-v2", RECOMMENDATION, f"Wang et al. (2021), {CRITEO}", lambda: ranked(CrossNetwork())),
    _reference("din", RECOMMENDATION, "Zhou et al. (2018), 32 users' last 50 items", interest),
    _reference(
        "two-tower",
        RECOMMENDATION,
        "Covington et al. (2016), the best 10 of 4,096 items",
        lambda: Built(TwoTower(), {"users": hashed(16, rows=10000)}, ["scores", "items"]),
    ),
    _reference("sasrec", RECOMMENDATION, "Kang and McAuley (2018), 8 users' last 50 items", sequential, opset=18),
    _reference("gcn", GRAPH, "Kipf and Welling (2017), Cora's extent", lambda: citation(Convolution())),
    _reference("gat", GRAPH, "Veličković et al. (2018), Cora's extent", lambda: citation(Attention())),
    _reference("graphsage", GRAPH, "Hamilton et al. (2017), Reddit's features, 64 nodes", sage),
    _reference("gin", GRAPH, "Xu et al. (2019), 32 molecules of 16 atoms", isomorphism, opset=18, fold=False),
    _reference("schnet", GRAPH, "Schütt et al. (2018), a molecule of 32 atoms", distances),
)
