"""The catalogue: what each ONNX operator means, how accurate it must be, and how it is exercised.

One module an operator family, listed here by hand. To add an operator, write an `Operator` entry in its
family's ``OPERATORS``; docs/adding-an-operator.md walks through one.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from conformance.spec import Operator, Sample

from .extents import extents

__all__ = ["FAMILIES", "catalogue"]

FAMILIES = (
    "arithmetic",
    "elementary",
    "activations",
    "logic",
    "reductions",
    "movement",
    "assembly",
    "indexing",
    "generation",
    "selection",
    "casting",
    "quantisation",
    "quantised",
    "structure",
    "randomness",
    "linear",
    "convolution",
    "pooling",
    "regions",
    "normalisation",
    "resampling",
    "grids",
    "attention",
    "recurrent",
    "losses",
    "signal",
    "stateful",
    "images",
    "features",
    "labels",
    "estimators",
    "trees",
    "fused",
    "transformers",
    "blockquantised",
    "qlinear",
)


def _samples(operator: Operator) -> Iterator[Sample]:
    yield from operator.samples()
    yield from extents(operator)


@functools.cache
def catalogue() -> Mapping[tuple[str, str], Operator]:
    """Every operator of the suite by (domain, name), in the order of the families.

    Raises ``ValueError`` where two entries share a name.
    """
    entries: dict[tuple[str, str], Operator] = {}
    for family in FAMILIES:
        module = importlib.import_module(f"{__name__}.{family}")
        for operator in module.OPERATORS:
            key = (operator.domain, operator.name)
            if key in entries:
                raise ValueError(f"{operator.name} is defined twice: {entries[key].family} and {family}")
            entries[key] = replace(operator, family=family, samples=functools.partial(_samples, operator))
    return MappingProxyType(entries)
