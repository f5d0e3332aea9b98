"""Defects in what a single operator means."""

from __future__ import annotations

from ..spec import Operator
from .record import Defect

__all__ = ["defects"]


def defects(operator: Operator) -> list[Defect]:
    """Of this operator alone."""
    return []
