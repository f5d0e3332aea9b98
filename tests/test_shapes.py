"""Shapes: every operator meets those that it allows, and what it does not meet has a reason."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import onnx
import pytest

from conformance.graphs import build, value_types
from conformance.models import load, manifest, operator_sets
from conformance.operators import catalogue
from conformance.plan import Selection, build_plan, samples_of
from conformance.spec import Case, Sample, Source

NEWEST = onnx.defs.onnx_opset_version()
Key = tuple[str, str]


def _in_standard() -> set[str]:
    standard = [n for n, e in manifest().items() if e.suite == "standard"]
    used = [{(n.domain, n.op_type) for n in load(name).proto.graph.node} for name in standard]
    return {o for _, o in set().union(*used) if sum(("", o) in found for found in used) >= 2}


# What two or more of the standard suite's models use. (Common is what two or more of all models use; those that it has
# beyond these meet several lengths, emptiness and the shapes of their own samples.)
COMMON = sorted(set(operator_sets()["core"]) | _in_standard())
RANKS = range(7)
TILES = (8, 16, 32, 64)
MANY = 2**20

IMAGE = {0: "N and C come first", 1: "N and C come first"}
SPATIAL = {**IMAGE, 2: "a spatial axis is needed", 6: "no engine and no definition here has four spatial axes"}
JOINED = {0: "a scalar has no axis"}
# The ranks of the first input that an operator does not allow.
WITHOUT_RANKS: Mapping[str, Mapping[int, str]] = {
    "Softmax": JOINED,
    "Concat": JOINED,
    "Split": JOINED,
    "Slice": JOINED,
    "Gather": JOINED,
    "GatherND": JOINED,
    "MatMul": {0: "a scalar is no operand of numpy.matmul"},
    "Gemm": dict.fromkeys((0, 1, 3, 4, 5, 6), "matrices only"),
    "Conv": SPATIAL,
    "MaxPool": SPATIAL,
    "BatchNormalization": IMAGE,
    "InstanceNormalization": {**IMAGE, 2: "a spatial axis is needed"},
    "LayerNormalization": JOINED,
    "Resize": {0: "a scalar has no axis"},
    "LSTM": dict.fromkeys((0, 1, 2, 4, 5, 6), "(length, batch, size)"),
}
# Operators without an input, an output or a part that could be empty.
NEVER_EMPTY: Mapping[str, str] = {
    "SequenceLength": "what is split or joined is not empty, and counted is the sequence",
    "SplitToSequence": "of no rows there is an empty sequence, which nothing can be made of",
    "DynamicQuantizeLinear": "of no elements there is no range",
    "GroupNormalization": "ONNX's function body reshapes to (0, groups, -1), which no tensor without elements can be",
    "SoftmaxCrossEntropyLoss": "ONNX's function body reshapes to (0, 0, -1)",
    "Scan": "what a scan of no steps yields ONNX leaves to its engines",
    "Multinomial": "what it draws is tested by counts",
    "AffineGrid": "its size is an input, and names the elements of an image that is there",
    "HannWindow": "a window of 0 is the quotient 0 by 0 of its definition",
    "HammingWindow": "the same",
    "BlackmanWindow": "the same",
    "MelWeightMatrix": "its inputs are scalars",
    "ImageDecoder": "of no bytes there is no image",
    "CastMap": "maps have no shape",
    "DictVectorizer": "maps have no shape",
    "ZipMap": "of no rows there is a sequence of no maps, which has no keys to compare",
}
NEVER_SEVERAL: Mapping[str, str] = {
    "CategoryMapper": "ONNX's evaluator does not have it, and its references hold the results of one input",
    "Constant": "no input",
    "RandomNormal": "no input",
    "RandomUniform": "no input",
    "MelWeightMatrix": "its inputs are scalars",
    "ImageDecoder": "a stream of bytes is one image",
    "CastMap": "maps have no shape",
    "DictVectorizer": "maps have no shape",
}


@dataclass
class Met:
    """What the cases of an operator have been fed."""

    ranks: set[int] = field(default_factory=set)  # of the first input
    lengths: set[int] = field(default_factory=set)  # of all axes of all inputs
    empty: bool = False
    elements: int = 0  # of the largest value, or of all inputs together
    sets: int = 0  # of one prepared model, of lengths or of values that lengths follow from


@cache
def _met() -> Mapping[Key, Met]:
    names = tuple(name for _, name in catalogue())
    met: dict[Key, Met] = collections.defaultdict(Met)
    for opset in (21, NEWEST):
        for case in build_plan(Selection(opset=opset, operators=names)).cases:
            if case.source is not Source.OPERATOR or "refuse" in case.tags:
                continue
            sample = samples_of(catalogue()[case.domain, case.operator])[case.index]
            _add(met[case.domain, case.operator], sample, case)
    return met


def _add(met: Met, sample: Sample, case: Case) -> None:
    for specs in (sample.inputs, *sample.again):
        shapes = [spec.shape for spec in specs if spec is not None]
        if specs and specs[0] is not None:
            met.ranks.add(len(specs[0].shape))
        met.lengths |= {length for shape in shapes for length in shape}
        met.empty |= any(0 in shape for shape in shapes) or "empty" in sample.tags
        met.elements = max(met.elements, sum(math.prod(shape) for shape in shapes))
    different = {tuple(spec and spec.shape for spec in specs) for specs in (sample.inputs, *sample.again)}
    if len(different) > 2 or "dynamic" in sample.tags:
        met.sets = max(met.sets, 1 + len(sample.again))
    if "large" in sample.tags and met.elements <= MANY and sample.model is None:
        operator = catalogue()[case.domain, case.operator]
        graph = build(operator, sample, case.dtype, case.opset, "shapes").model.graph
        outputs = (value_types(graph)[o.name][1] for o in graph.output)
        met.elements = max(met.elements, *(math.prod(shape or ()) for shape in outputs))


@pytest.mark.parametrize("name", COMMON)
def test_a_common_operator_meets_every_rank_that_it_allows(name: str) -> None:
    without = {rank for rank in RANKS if rank not in _met()["", name].ranks}
    assert without == set(WITHOUT_RANKS.get(name, {}))


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % i for i in range(2, math.isqrt(n) + 1))


@pytest.mark.parametrize("name", COMMON)
def test_a_common_operator_meets_ones_primes_and_what_no_tile_divides(name: str) -> None:
    lengths = _met()["", name].lengths
    assert 1 in lengths
    assert any(_is_prime(n) for n in lengths if n > min(TILES))
    assert [t for t in TILES if not any(n > t and n % t for n in lengths)] == []


@pytest.mark.parametrize("name", COMMON)
def test_a_common_operator_meets_more_than_a_million_elements(name: str) -> None:
    assert _met()["", name].elements > MANY


@pytest.mark.parametrize("key", catalogue(), ids=lambda k: k[1])
def test_an_operator_meets_nothing_at_all_or_says_why_not(key: Key) -> None:
    if key[0] in ("", "ai.onnx.ml"):
        assert _met()[key].empty != (key[1] in NEVER_EMPTY)


@pytest.mark.parametrize("key", catalogue(), ids=lambda k: k[1])
def test_one_prepared_model_meets_three_lengths_or_says_why_not(key: Key) -> None:
    if key[0] in ("", "ai.onnx.ml"):
        assert (_met()[key].sets >= 3) != (key[1] in NEVER_SEVERAL)
