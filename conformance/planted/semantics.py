"""Defects in what single operators mean, as engines have had them, each with the thread that says so (or that tells of
something of the same effect). The wrong definitions are in `placing` and `computing`."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..spec import Operator
from .record import Defect
from .subject import Outputs, Subject

__all__ = [
    "Maker",
    "Meaning",
    "Mistake",
    "as_asked",
    "defects",
    "fixed",
    "of_inputs",
    "of_outputs",
    "replaced",
    "taken",
]

Meaning = Callable[..., Any]
Maker = Callable[[Meaning], Meaning]  # from the right definition to the wrong one

_TABLES = ("placing", "computing")


@dataclass(frozen=True, slots=True)
class Mistake:
    """``source``: the thread, as owner/repository#number."""

    name: str
    source: str
    make: Maker


def as_asked(make: Maker) -> Maker:
    """A wrong definition with the right one's parameters, which are what the interpreter gives, unless it has others."""

    def signed(right: Meaning) -> Meaning:
        wrong = make(right)
        wrong.__signature__ = getattr(wrong, "__signature__", inspect.signature(right))  # type: ignore[attr-defined]
        return wrong

    return signed


def fixed(**attributes: Any) -> Maker:
    """With attributes at these values, whatever the node says."""

    def make(right: Meaning) -> Meaning:
        @functools.wraps(right)
        def wrong(*inputs: Any, **given: Any) -> Any:
            return right(*inputs, **{**given, **attributes})

        return wrong

    return make


def taken(name: str, of: Any, to: Any) -> Maker:
    """One value of an attribute taken for another."""

    def make(right: Meaning) -> Meaning:
        @functools.wraps(right)
        def wrong(*inputs: Any, **given: Any) -> Any:
            return right(*inputs, **{**given, name: to if given.get(name) == of else given.get(name)})

        return wrong

    return make


def replaced(wrong: Meaning) -> Maker:
    """Another definition altogether."""
    return lambda right: wrong


def of_inputs(change: Callable[[list[Any]], Sequence[Any]]) -> Maker:
    """``change``: of the list of inputs, before the right definition gets them."""

    def make(right: Meaning) -> Meaning:
        @functools.wraps(right)
        def wrong(*inputs: Any, **given: Any) -> Any:
            return right(*change(list(inputs)), **given)

        return wrong

    return make


def of_outputs(change: Callable[..., Any]) -> Maker:
    """``change``: from the right outputs, the inputs and the attributes."""

    def make(right: Meaning) -> Meaning:
        @functools.wraps(right)
        def wrong(*inputs: Any, **given: Any) -> Any:
            return change(right(*inputs, **given), inputs, given)

        return wrong

    return make


def _spoil(make: Maker, right: Meaning) -> Callable[[Subject], Outputs]:
    return lambda subject: subject.evaluate(meaning=make(right))


def defects(operator: Operator) -> list[Defect]:
    """Of this operator alone."""
    if operator.domain or operator.meaning is None:
        return []
    mistakes: list[Mistake] = []
    for name in _TABLES:
        mistakes += importlib.import_module(f"{__package__}.{name}").MISTAKES.get(operator.name, ())
    return [Defect(m.name, _spoil(m.make, operator.meaning), source=m.source, silent=_must_show) for m in mistakes]


def _must_show(subject: Subject) -> bool:
    """A wrong definition is wrong in every dtype at once: only the first of them needs cases that show it."""
    return subject.dtype == "float32"
