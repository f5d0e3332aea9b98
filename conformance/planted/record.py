"""What a planted defect and a legal variant are, and where all of them are found."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..spec import Operator
from .subject import Outputs, Subject

__all__ = ["Defect", "Variant", "defects", "variants"]

# Modules with a function ``defects(operator)``, from what is wrong with any operator to what is wrong with one.
_DEFECTS = ("outputs", "operands", "attributes", "precision", "semantics")


@dataclass(frozen=True)
class Defect:
    """One way of being wrong with one operator.

    ``name``: readable, the same for the same mistake in other operators. ``spoil`` gives the outputs of the
    defective backend, or raises `NotApplicable`. ``dtypes``: those in which the defect can be (None: all).
    ``source``: the thread of a real engine that has had it. ``silent``: where no case of the suite shows the defect,
    tells by a case whether the operator could have it at all (None: it could).
    """

    name: str
    spoil: Callable[[Subject], Outputs]
    dtypes: tuple[str, ...] | None = None
    source: str = ""
    silent: Callable[[Subject], bool] | None = None


@dataclass(frozen=True)
class Variant:
    """One legal way of computing. ``run`` gives the outputs, or raises `NotApplicable`. ``flush_to_zero``: legal
    for a backend that declares it."""

    name: str
    run: Callable[[Subject], Outputs]
    flush_to_zero: bool = False


def defects(operator: Operator) -> list[Defect]:
    """All defects of an operator. Raises ``ValueError`` where two have one name."""
    found = [
        defect
        for module in _DEFECTS
        for defect in importlib.import_module(f"{__package__}.{module}").defects(operator)
    ]
    names = [d.name for d in found]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise ValueError(f"{operator.name}: more than one defect is named {', '.join(sorted(twice))}")
    return found


@functools.cache
def variants() -> Sequence[Variant]:
    """All legal variants."""
    return tuple(importlib.import_module(f"{__package__}.variants").VARIANTS)
