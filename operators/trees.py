"""Tree ensembles (ai.onnx.ml): the operator of version 5, and the two of versions 1 to 4 that models have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.draws import choice, draw, integers, normal
from conformance.lazy import torch
from conformance.rules import EXACT, Composite
from conformance.spec import Operator, Sample, Shape, TensorSpec, tensor

from .estimators import TRANSFORMS, listed, transformed
from .features import ML, NUMBERS, real
from .samples import DYNAMIC, EMPTY, INF, LARGE, NAN, SPECIAL, pairwise

__all__ = ["OPERATORS", "Forest"]

ONE = ("float32",)
REAL = ("float32", "float64")
LEAF = -1
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
MEMBER = 6


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees as arrays over all their nodes: ``roots`` and the two ``branches`` are positions in them. A leaf has mode
    -1. ``votes``: of each its node, its target and its weight. ``missing``: the branch of NaN. ``members``: a MEMBER node's set."""

    roots: Sequence[int]
    features: Sequence[int]
    modes: Sequence[int]
    splits: Any
    branches: tuple[Sequence[int], Sequence[int]]
    missing: Sequence[int]
    votes: tuple[Sequence[int], Sequence[int], Any]
    members: Mapping[int, Any] = field(default_factory=dict)

    def leaves(self, x: torch.Tensor) -> torch.Tensor:
        """The leaf of each of (N, F) in each tree: (N, T) positions. Raises ``ValueError`` where a way down never ends."""
        device = x.device
        features, modes, missing, yes, no = (
            torch.tensor(list(a), dtype=torch.int64, device=device)
            for a in (self.features, self.modes, self.missing, *self.branches)
        )
        splits = torch.as_tensor(self.splits, device=device).to(x.dtype)
        at = torch.tensor(list(self.roots), device=device).expand(len(x), -1)
        for _ in self.features:
            if not bool((modes[at] != LEAF).any()):
                return at
            value, split, mode = x.gather(1, features[at]), splits[at], modes[at]
            tests = (value <= split, value < split, value >= split, value > split, value == split, value != split)
            holds = torch.zeros_like(at, dtype=torch.bool)
            for number, test in enumerate(tests):
                holds = torch.where(mode == number, test, holds)
            for node, group in self.members.items():
                found = (value.unsqueeze(-1) == torch.as_tensor(group, device=device).to(x.dtype)).any(-1)
                holds = torch.where(at == node, found, holds)
            holds = torch.where(value.isnan(), missing[at] != 0, holds)
            at = torch.where(mode == LEAF, at, torch.where(holds, yes[at], no[at]))
        raise ValueError("the branches of a tree go round in a circle")

    def scores(self, x: torch.Tensor, targets: int, aggregate: str) -> torch.Tensor:
        """The leaves' votes for each target: (N, targets)."""
        size = len(self.features) * targets
        nodes, owners = (torch.tensor(list(v), dtype=torch.int64, device=x.device) for v in self.votes[:2])
        at, weights = nodes * targets + owners, torch.as_tensor(self.votes[2], device=x.device).to(x.dtype)
        if aggregate not in AGGREGATES:
            raise ValueError(f"aggregate_function {aggregate}")
        seen = torch.zeros(size, dtype=torch.bool, device=x.device).index_fill(0, at, True)
        if aggregate in ("SUM", "AVERAGE"):
            table = x.new_zeros(size).index_add(0, at, weights)
        else:
            least = aggregate == "MIN"
            table = x.new_full((size,), INF if least else -INF)
            table = table.scatter_reduce(0, at, weights, "amin" if least else "amax")
        leaves = self.leaves(x)
        found, there = table.reshape(-1, targets)[leaves], seen.reshape(-1, targets)[leaves]  # (N, T, targets)
        if aggregate in ("SUM", "AVERAGE"):
            y = found.sum(1)
            return y / len(self.roots) if aggregate == "AVERAGE" else y
        best = found.amin(1) if least else found.amax(1)
        return torch.where(there.any(1), best, torch.zeros_like(best))


def ensemble(
    x: torch.Tensor,
    *,
    nodes_splits: torch.Tensor,
    nodes_featureids: Sequence[int],
    nodes_modes: torch.Tensor,
    nodes_truenodeids: Sequence[int],
    nodes_falsenodeids: Sequence[int],
    nodes_trueleafs: Sequence[int],
    nodes_falseleafs: Sequence[int],
    leaf_targetids: Sequence[int],
    leaf_weights: torch.Tensor,
    tree_roots: Sequence[int],
    nodes_missing_value_tracks_true: Sequence[int] = (),
    nodes_hitrates: torch.Tensor | None = None,
    membership_values: torch.Tensor | None = None,
    n_targets: int = 1,
    aggregate_function: int = 1,
    post_transform: int = 0,
) -> torch.Tensor:
    """(N, F) to (N, targets): each tree's leaf votes for one target (TreeEnsemble-5). Here leaves follow the nodes."""
    inner, leaves = len(nodes_featureids), len(leaf_targetids)
    modes = [*nodes_modes.tolist(), *[LEAF] * leaves]
    if not set(modes) <= {LEAF, *range(len(MODES))}:
        raise ValueError(f"nodes_modes {set(modes)}")
    yes, no = (
        [i + inner if leaf else i for i, leaf in zip(ids, flags, strict=True)] + list(range(inner, inner + leaves))
        for ids, flags in ((nodes_truenodeids, nodes_trueleafs), (nodes_falsenodeids, nodes_falseleafs))
    )
    groups: list[list[float]] = [[]]
    for value in [] if membership_values is None else membership_values.tolist():
        if value != value:
            groups.append([])
        else:
            groups[-1].append(value)
    testing = [i for i, mode in enumerate(modes) if mode == MEMBER]
    if len(testing) > len(groups) or (testing and membership_values is None):
        raise ValueError(f"{len(testing)} nodes test for membership")
    # A NaN may also end the last set.
    members = dict(zip(testing, groups, strict=False))
    forest = Forest(
        tree_roots,
        [*nodes_featureids, *[0] * leaves],
        modes,
        torch.cat([nodes_splits, nodes_splits.new_zeros(leaves)]),
        (yes, no),
        [*(nodes_missing_value_tracks_true or [0] * inner), *[0] * leaves],
        (range(inner, inner + leaves), leaf_targetids, leaf_weights),
        members,
    )
    return transformed(forest.scores(x, n_targets, AGGREGATES[aggregate_function]), TRANSFORMS[post_transform])


def _planted(attributes: Mapping[str, Any], votes: str) -> Forest:
    """The trees of the attributes of versions 1 to 4, whose nodes have names: a tree's and a node's."""
    get = attributes.get
    names = list(zip(attributes["nodes_treeids"], attributes["nodes_nodeids"], strict=True))
    place = {name: i for i, name in enumerate(names)}
    modes = [LEAF if m == "LEAF" else MODES.index(m) for m in attributes["nodes_modes"]]

    def branch(key: str) -> list[int]:
        ids = attributes[key]
        return [
            i if m == LEAF else place[name[0], to]
            for i, (m, name, to) in enumerate(zip(modes, names, ids, strict=True))
        ]

    roots = {tree: i for i, (tree, _) in reversed(list(enumerate(names)))}
    splits, weights = (
        torch.tensor(list(get(key) or []), dtype=torch.float64)
        if get(f"{key}_as_tensor") is None
        else get(f"{key}_as_tensor")
        for key in ("nodes_values", f"{votes}_weights")
    )
    trees, nodes = attributes[f"{votes}_treeids"], attributes[f"{votes}_nodeids"]
    return Forest(
        [roots[t] for t in sorted(roots)],
        attributes["nodes_featureids"],
        modes,
        splits,
        (branch("nodes_truenodeids"), branch("nodes_falsenodeids")),
        get("nodes_missing_value_tracks_true") or [0] * len(names),
        ([place[name] for name in zip(trees, nodes, strict=True)], attributes[f"{votes}_ids"], weights),
    )


def _base(attributes: Mapping[str, Any], like: torch.Tensor) -> torch.Tensor:
    given = attributes.get("base_values_as_tensor")
    if given is None:
        given = torch.tensor(list(attributes.get("base_values") or [0.0]), dtype=torch.float64)
    return given.to(like)


def regressor(x: torch.Tensor, *, dtypes: Sequence[str], **attributes: Any) -> torch.Tensor:
    """(N, F) to (N, targets): leaves' votes, added up or otherwise, plus ``base_values`` (TreeEnsembleRegressor-3)."""
    exact = x if x.is_floating_point() else real(x, dtypes)
    scores = _planted(attributes, "target").scores(
        exact, attributes.get("n_targets", 1), attributes["aggregate_function"]
    )
    return transformed(scores + _base(attributes, scores), attributes["post_transform"]).to(
        real(x[:0], dtypes).dtype
    )


def classifier(x: torch.Tensor, *, dtypes: Sequence[str], **attributes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The class with the highest score, and every class's score (N, C), of leaves' votes (TreeEnsembleClassifier-3).

    Two labels and votes for class 0 alone, as converters write boosted trees and ONNX's evaluator takes them: the sum
    s is the second label's score, and the first one's is 1 - s, or -s under a transform.
    """
    labels = torch.tensor(list(attributes["classlabels_int64s"]), device=x.device)
    exact = x if x.is_floating_point() else real(x, dtypes[1:])
    scores = _planted(attributes, "class").scores(exact, len(labels), "SUM")
    scores = scores + _base(attributes, scores)
    if len(labels) == 2 and set(attributes["class_ids"]) == {0}:
        s = scores[:, 0]
        scores = torch.stack([1 - s if attributes["post_transform"] == "NONE" else -s, s], -1)
    scores = transformed(scores, attributes["post_transform"]).to(real(x[:0], dtypes[1:]).dtype)
    return labels[scores.argmax(-1)], scores


# How they are exercised: full binary trees, node i having children 2i + 1 (true) and 2i + 2.


def grown(
    name: str,
    trees: int = 3,
    depth: int = 3,
    features: int = 4,
    targets: int = 1,
    modes: Sequence[str] = MODES[:1],
    *,
    whole: bool = False,
    tracks: bool = False,
    weights: tuple[float, float] = (0.0, 0.0),
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """The nodes' attributes of version 1, and the leaves' votes as (treeids, nodeids, ids, weights)."""
    inner, size = 2**depth - 1, 2 ** (depth + 1) - 1
    values = listed(f"{name}/splits", trees * size, whole=whole)
    which = draw(integers(0, features - 1), (trees * size,), "int64", f"{name}/features").tolist()
    nodes: dict[str, list[Any]] = {
        k: [] for k in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    votes: dict[str, list[Any]] = {"treeids": [], "nodeids": [], "ids": []}
    for tree in range(trees):
        for node in range(size):
            leaf, at = node >= inner, tree * size + node
            row = (
                tree,
                node,
                0 if leaf else which[at],
                0.0 if leaf else values[at],
                "LEAF" if leaf else modes[at % len(modes)],
                0 if leaf else 2 * node + 1,
                0 if leaf else 2 * node + 2,
            )
            for items, item in zip(nodes.values(), row, strict=True):
                items.append(item)
            if leaf:
                for target in range(targets):
                    for items, item in zip(votes.values(), (tree, node, target), strict=True):
                        items.append(item)
    if tracks:
        nodes["missing_value_tracks_true"] = [int(i % 3 != 1) for i in range(trees * size)]
    low, high = weights
    votes["weights"] = listed(f"{name}/weights", len(votes["ids"]), low=low, high=high, whole=whole)
    return {f"nodes_{k}": v for k, v in nodes.items()}, votes


def _inputs(whole: bool = False) -> TensorSpec:
    return tensor(9, 4, draw=integers(-3, 3) if whole else normal())


def _none_of_the_first(count: int, run: int) -> list[float]:
    """Votes for three targets in turn, ``run`` for each, and all of them 0 for the first one."""
    return [0.0 if i // run % 3 == 0 else 0.05 + (7 * i % 64) / 64 for i in range(count)]


def _common(make: Any, shapes: list[Shape]) -> Iterator[Sample]:
    """What the two older operators share; ``make(name, x, dtypes, grown's arguments, attributes, fields)``. ``shapes``: the
    outputs', for 9 rows: ONNX infers them from version 3 on."""
    yield make("basic", _inputs(), REAL)
    yield make("whole", _inputs(True), NUMBERS, {"whole": True})
    for mode in MODES[:6]:
        word = mode.removeprefix("BRANCH_").lower()
        # Whole numbers meet their thresholds: what happens at equality is the difference between the modes.
        yield make(word, _inputs(True), REAL, {"whole": True, "modes": (mode,)})
    mixed = {"whole": True, "modes": MODES[:6], "depth": 4}
    yield make("mixed-modes", _inputs(True), REAL, mixed)
    gaps = tensor(17, 4, draw=choice(NAN, -2.0, 0.0, 1.0, INF, -INF))
    for mode in ("BRANCH_LEQ", "BRANCH_GTE", "BRANCH_EQ", "BRANCH_NEQ"):
        word = mode.removeprefix("BRANCH_").lower()
        yield make(f"missing-{word}", gaps, REAL, {"whole": True, "modes": (mode,)}, tags=SPECIAL)
        yield make(
            f"missing-tracked-{word}", gaps, REAL, {"whole": True, "modes": (mode,), "tracks": True}, tags=SPECIAL
        )
    yield make("stump", _inputs(), ONE, {"depth": 1, "trees": 1})
    yield make("leaf-alone", _inputs(), ONE, {"depth": 0, "trees": 2})
    yield make("many-trees", tensor(33, 12), ONE, {"trees": 60, "depth": 5, "features": 12}, tags=LARGE)
    yield make("many-rows", tensor(513, 4), ONE, {"trees": 8, "depth": 4}, tags=LARGE)
    yield make("one-row", tensor(1, 4), ONE, {"trees": 20})
    yield make("dynamic", _inputs(), ONE, again=((tensor(1, 4),), (tensor(65, 4),)), tags=DYNAMIC)
    yield make("empty", tensor(0, 4), ONE, tags=EMPTY)
    yield make("version-1", _inputs(), ONE, opset=1, shape=shapes)


def _doubles(attributes: dict[str, Any], votes: str) -> dict[str, Any]:
    """The attributes that have a double form in it, at values that float32 does not have."""
    import onnx

    moved = dict(attributes)
    for key in ("nodes_values", "nodes_hitrates", f"{votes}_weights", "base_values"):
        if key in moved:
            items = np.array(moved.pop(key), np.float64) * (1 + 2.0**-30)
            moved[f"{key}_as_tensor"] = onnx.numpy_helper.from_array(items)
    return moved


def _regressor_samples() -> Iterator[Sample]:
    def make(
        name: str,
        x: TensorSpec,
        dtypes: tuple[str, ...],
        growth: Mapping[str, Any] = {},
        more: Mapping[str, Any] = {},
        **fields: Any,
    ) -> Sample:
        nodes, votes = grown(f"regressor/{name}", **growth)
        attributes = {
            **nodes,
            **{f"target_{k}": v for k, v in votes.items()},
            "n_targets": growth.get("targets", 1),
            **more,
        }
        fields.setdefault("opset", 3)
        if fields.pop("doubles", False):
            attributes = _doubles(attributes, "target")
        return Sample(name, (x,), attributes, dtypes=dtypes, **fields)

    yield from _common(make, [(9, 1)])
    three = {"targets": 3}
    yield make("targets", _inputs(), REAL, three)
    base = {"base_values": [0.5, -1.25, 100.0]}
    for aggregate in AGGREGATES:
        yield make(f"{aggregate.lower()}", _inputs(), REAL, three, {"aggregate_function": aggregate})
        yield make(
            f"{aggregate.lower()}-base-values", _inputs(), ONE, three, {**base, "aggregate_function": aggregate}
        )
    for transform in TRANSFORMS[1:4]:
        word = transform.lower().replace("_", "-")
        yield make(word, _inputs(), ONE, three, {"post_transform": transform})
        if transform != "LOGISTIC":  # the first target has no votes: a zero, which one of the two leaves there
            chosen = {"post_transform": transform, "target_weights": _none_of_the_first(72, 1)}
            yield make(f"{word}-of-zeros", _inputs(), ONE, three, chosen)
    probabilities = {"weights": (0.1, 0.3), "targets": 2}
    yield make("probit", _inputs(), ONE, probabilities, {"post_transform": "PROBIT"})
    # A probit is of a probability.
    small = make("pairs", _inputs(), ONE, {"targets": 3, "weights": (0.01, 0.1)})
    yield from pairwise(
        small,
        {
            "aggregate_function": (None, "AVERAGE", "MIN", "MAX"),
            "post_transform": (None, *TRANSFORMS[1:]),
            "base_values": (None, [0.25, 0.125, 0.5]),
            "nodes_hitrates": (None, [0.5] * 45),
            "nodes_missing_value_tracks_true": (None, [int(i % 3 != 1) for i in range(45)]),
        },
    )
    yield make("doubles", _inputs(), ("float64",), three, base, doubles=True)
    yield make("hit-rates-doubles", _inputs(), ("float64",), three, {"nodes_hitrates": [1.0] * 45}, doubles=True)
    yield make("no-such-mode", _inputs(), ONE, {"modes": ("BRANCH_NEAR",)}, refuse="no such mode")
    yield make(
        "no-such-aggregate", _inputs(), ONE, {}, {"aggregate_function": "MEDIAN"}, refuse="no such function"
    )
    short = {"nodes_featureids": [0, 1]}
    yield make("lengths-differ", _inputs(), ONE, {}, short, refuse="2 features for 45 nodes")
    lost = {"nodes_truenodeids": [99] * 45}
    yield make("no-such-node", _inputs(), ONE, {}, lost, refuse="node 99 of 15")


def _classifier_samples() -> Iterator[Sample]:
    def make(
        name: str,
        x: TensorSpec,
        dtypes: tuple[str, ...],
        growth: Mapping[str, Any] = {},
        more: Mapping[str, Any] = {},
        **fields: Any,
    ) -> Sample:
        # Shares, as a forest of them has; not ranks: labels are names.
        growth = {"targets": 3, "weights": (0.01, 0.3), **growth}
        nodes, votes = grown(f"classifier/{name}", **growth)
        if growth.get("whole"):
            votes["weights"] = listed(f"classifier/{name}/shares", len(votes["ids"]), low=0.01, high=0.3)
        labels = [(7 * k + 3) % 11 - 2 for k in range(growth["targets"])]
        attributes = {**nodes, **{f"class_{k}": v for k, v in votes.items()}, "classlabels_int64s": labels, **more}
        fields.setdefault("opset", 3)
        if fields.pop("doubles", False):
            attributes = _doubles(attributes, "class")
        given = {k: v for k, v in attributes.items() if v is not None}
        return Sample(name, (x,), given, outputs=2, dtypes=dtypes, **fields)

    yield from _common(make, [(9,), (9, 3)])
    base = {"base_values": [0.5, -0.25, 0.125]}
    yield make("base-values", _inputs(), REAL, {}, base)
    for transform in TRANSFORMS[1:4]:
        word = transform.lower().replace("_", "-")
        yield make(word, _inputs(), ONE, {"weights": (-2.0, 2.0)}, {"post_transform": transform})
        if transform != "LOGISTIC":  # the first class has no votes: a zero, which one of the two leaves there
            chosen = {"post_transform": transform, "class_weights": _none_of_the_first(72, 1)}
            yield make(f"{word}-of-zeros", _inputs(), ONE, {}, chosen)
    yield make("probit", _inputs(), ONE, {}, {"post_transform": "PROBIT"})
    yield make("two-classes", _inputs(), REAL, {"targets": 2})
    yield from pairwise(
        make("pairs", _inputs(), ONE, {"weights": (0.01, 0.1)}),
        {
            "post_transform": (None, *TRANSFORMS[1:]),
            "base_values": (None, [0.25, 0.125, 0.5]),
            "nodes_hitrates": (None, [0.5] * 45),
            "nodes_missing_value_tracks_true": (None, [int(i % 3 != 1) for i in range(45)]),
        },
    )
    yield make("hit-rates-doubles", _inputs(), ("float64",), {}, {"nodes_hitrates": [1.0] * 45}, doubles=True)
    # One sum for two classes: of a forest (shares up to 1) and of boosted trees (logarithms of odds).
    second = {"classlabels_int64s": [5, -3]}
    yield make("one-score-shares", _inputs(), REAL, {"targets": 1}, second)
    boosted = {"targets": 1, "weights": (-2.0, 2.0)}
    yield make("one-score-logistic", _inputs(), REAL, boosted, {**second, "post_transform": "LOGISTIC"})
    yield make("doubles", _inputs(), ("float64",), {}, base, doubles=True)
    # Fractions of few bits, so that ONNX's evaluator, which has strings and computes in float32, is exact; no ties.
    bits = [(5 * i % 8) / 8 + (i % 3) / 64 for i in range(72)]
    named = {"classlabels_int64s": None, "classlabels_strings": ["low", "Γ", "high"], "class_weights": bits}
    yield make("strings", _inputs(), ONE, {}, named)
    yield make("no-such-mode", _inputs(), ONE, {"modes": ("BRANCH_NEAR",)}, refuse="no such mode")
    yield make("no-such-class", _inputs(), ONE, {}, {"class_ids": [7] * 72}, refuse="class 7 of 3")


def _ensemble_samples() -> Iterator[Sample]:
    import onnx

    def array(items: Sequence[Any], dtype: str) -> onnx.TensorProto:
        kind = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "uint8": np.uint8}[dtype]
        return onnx.numpy_helper.from_array(np.array(items, kind))

    def make(
        name: str,
        x: TensorSpec,
        growth: Mapping[str, Any] = {},
        more: Mapping[str, Any] = {},
        members: Sequence[float] = (),
        dtypes: tuple[str, ...] = REAL,
        **fields: Any,
    ) -> Iterator[Sample]:
        nodes, votes = grown(f"ensemble/{name}", **growth)
        inner = [i for i, mode in enumerate(nodes["nodes_modes"]) if mode != "LEAF"]
        leaves = [i for i, mode in enumerate(nodes["nodes_modes"]) if mode == "LEAF"]
        outer = frozenset(leaves)
        place = {**{i: n for n, i in enumerate(inner)}, **{i: n for n, i in enumerate(leaves)}}
        size = len(nodes["nodes_modes"]) // growth.get("trees", 3)
        targets = more.get("n_targets", 1)
        attributes: dict[str, Any] = {
            "nodes_featureids": [nodes["nodes_featureids"][i] for i in inner],
            "tree_roots": [place[t * size] for t in range(growth.get("trees", 3))],
            "leaf_targetids": [i * growth.get("trees", 3) // len(leaves) % targets for i in range(len(leaves))],
            "n_targets": targets,
        }
        for side in ("true", "false"):
            to = [nodes[f"nodes_{side}nodeids"][i] + i - i % size for i in inner]
            attributes[f"nodes_{side}nodeids"] = [place[i] for i in to]
            attributes[f"nodes_{side}leafs"] = [int(i in outer) for i in to]
        if growth.get("tracks"):
            attributes["nodes_missing_value_tracks_true"] = [
                nodes["nodes_missing_value_tracks_true"][i] for i in inner
            ]
        # The tensors among the attributes have the input's type, so there is a sample for each.
        for dtype in dtypes:
            tensors = {
                "nodes_splits": array([nodes["nodes_values"][i] for i in inner], dtype),
                "nodes_modes": array([MODES.index(nodes["nodes_modes"][i]) for i in inner], "uint8"),
                "leaf_weights": array(votes["weights"], dtype),
            }
            if members:
                tensors["membership_values"] = array(members, dtype)
            yield Sample(f"{name}-{dtype}", (x,), {**attributes, **tensors, **more}, dtypes=(dtype,), **fields)

    yield from make("basic", _inputs(), dtypes=(*REAL, "float16"))
    for mode in MODES[:6]:
        word = mode.removeprefix("BRANCH_").lower()
        yield from make(word, _inputs(True), {"whole": True, "modes": (mode,)})
    yield from make("mixed-modes", _inputs(True), {"whole": True, "modes": MODES[:6], "depth": 4})
    gaps = tensor(17, 4, draw=choice(NAN, -2.0, 0.0, 1.0, INF, -INF))
    for mode in ("BRANCH_LEQ", "BRANCH_GTE", "BRANCH_EQ", "BRANCH_NEQ"):
        word = mode.removeprefix("BRANCH_").lower()
        growth = {"whole": True, "modes": (mode,)}
        yield from make(f"missing-{word}", gaps, growth, dtypes=ONE, tags=SPECIAL)
        yield from make(f"missing-tracked-{word}", gaps, {**growth, "tracks": True}, dtypes=ONE, tags=SPECIAL)
    # Sets in the order of the nodes: of one, of several, with zero. Whether a set may be empty is not said.
    sets = (1.0, NAN, -2.0, 0.0, 3.0, NAN, 0.0, NAN, -1.0, NAN, 2.0, -1.0, NAN, 3.0, 1.0, NAN, -3.0, NAN)
    stumps = {"whole": True, "modes": (MODES[MEMBER],), "trees": 7, "depth": 1}
    yield from make("member", _inputs(True), stumps, members=sets)
    yield from make(
        "member-missing-tracked", gaps, {**stumps, "tracks": True}, members=sets, dtypes=ONE, tags=SPECIAL
    )
    deep = {"whole": True, "modes": (MODES[MEMBER],), "trees": 1, "depth": 3}
    yield from make("member-deep", tensor(33, 4, draw=integers(-3, 3)), deep, members=sets)
    both = {"whole": True, "modes": (MODES[0], MODES[MEMBER]), "trees": 1, "depth": 3}
    yield from make("member-and-leq", tensor(33, 4, draw=integers(-3, 3)), both, members=sets[:8], dtypes=ONE)
    for number, aggregate in enumerate(AGGREGATES):
        yield from make(aggregate.lower(), _inputs(), {"trees": 6}, {"n_targets": 2, "aggregate_function": number})
    for number, transform in enumerate(TRANSFORMS[1:4], 1):
        word = transform.lower().replace("_", "-")
        more = {"n_targets": 3, "post_transform": number}
        yield from make(word, _inputs(), {"trees": 9}, more, dtypes=ONE)
        if transform != "LOGISTIC":  # the first target has no votes: a zero, which one of the two leaves there
            chosen = {**more, "leaf_weights": array(_none_of_the_first(72, 8), "float32")}
            yield from make(f"{word}-of-zeros", _inputs(), {"trees": 9}, chosen, dtypes=ONE)
    shares = {"weights": (0.1, 0.3), "trees": 2}
    yield from make("probit", _inputs(), shares, {"post_transform": 4}, dtypes=ONE)
    stump = {"nodes_truenodeids": [0, 1], "nodes_falsenodeids": [0, 1]}
    yield from make("leaf-alone", _inputs(), {"depth": 1, "trees": 2}, stump, dtypes=ONE)
    yield from make(
        "many-trees", tensor(33, 12), {"trees": 60, "depth": 5, "features": 12}, dtypes=ONE, tags=LARGE
    )
    sizes = ((tensor(1, 4),), (tensor(65, 4),))
    yield from make("dynamic", _inputs(), dtypes=ONE, again=sizes, tags=DYNAMIC)
    yield from make("empty", tensor(0, 4), dtypes=ONE, tags=EMPTY)
    shared = {"n_targets": 2}
    (small,) = make("pairs", _inputs(), {"weights": (0.01, 0.1)}, shared, dtypes=ONE)
    yield from pairwise(
        replace(small, name="pairs"),
        {
            "aggregate_function": (None, 0, 2, 3),
            "post_transform": (None, 1, 2, 3, 4),
            "nodes_missing_value_tracks_true": (None, [int(i % 3 != 1) for i in range(21)]),
        },
        variations={"hitrates": (False, True)},
        more=lambda row: {"nodes_hitrates": array([0.5] * 21, "float32")} if row["hitrates"] else {},
    )
    unknown = {"nodes_modes": onnx.numpy_helper.from_array(np.full(21, 9, np.uint8))}
    yield from make("no-such-mode", _inputs(), {}, unknown, dtypes=ONE, refuse="mode 9")
    lost = {"nodes_truenodeids": [99] * 21}
    yield from make("no-such-node", _inputs(), {}, lost, dtypes=ONE, refuse="node 99 of 21")
    yield from make(
        "sets-missing", _inputs(True), stumps, dtypes=ONE, refuse="sets to test membership of are missing"
    )


OPERATORS = (
    Operator(
        "TreeEnsemble", ensemble, Composite(), _ensemble_samples, ("float32", "float64", "float16"), domain=ML
    ),
    Operator("TreeEnsembleRegressor", regressor, Composite(), _regressor_samples, NUMBERS, domain=ML),
    Operator("TreeEnsembleClassifier", classifier, (EXACT, Composite()), _classifier_samples, NUMBERS, domain=ML),
)
