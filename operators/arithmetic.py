"""Elementwise arithmetic on one, two or many tensors."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.draws import choice, full, integers, nonzero
from conformance.rules import ROUNDED, Rounded
from conformance.spec import Operator, Sample, tensor

__all__ = ["OPERATORS"]

NAN, INF = float("nan"), float("inf")
SPECIAL = choice(NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0)


def pairs() -> Iterator[Sample]:
    """Two operands that broadcast against each other."""
    yield Sample("same-shape", (tensor(3, 4, 5), tensor(3, 4, 5)))


OPERATORS = (
    Operator("Add", lambda a, b: a + b, ROUNDED, pairs),
)
