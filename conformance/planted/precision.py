"""Defects of arithmetic: accumulators and operands too narrow, terms dropped or doubled, coarse functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..rules import Accumulation, Composite, Elementary
from ..spec import Operator
from .device import Arithmetic, sequential
from .outputs import never
from .record import Defect
from .subject import NotApplicable, Outputs, Subject, equal

__all__ = ["defects"]


_EVERY_4 = sequential(4, steps=2**14)


def _last_dropped(count: int) -> Sequence[Sequence[torch.Tensor]]:
    return sequential(8)(max(count - 1, 1))


def _tail_dropped(count: int) -> Sequence[Sequence[torch.Tensor]]:
    return sequential(8)(count - count % 32 if count > 32 else count)


def _block_twice(count: int) -> Sequence[Sequence[torch.Tensor]]:
    (chain,) = sequential(8)(count)
    return [[*chain, chain[0]] if count > 8 else list(chain)]


def _coarse(relative: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    def off(exact: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        # The error of a short polynomial or a table: smooth, and of either sign.
        return exact * (1.0 + relative * torch.sin(exact * 37.0).nan_to_num())

    return off


def _with(accumulator: str = "float64", **how: Any) -> Callable[[Subject], Outputs]:
    """What comes of an `Arithmetic` that is right but for ``how``."""
    arithmetic, right = Arithmetic(accumulator=accumulator, **how), Arithmetic(accumulator="float64")

    def spoil(subject: Subject) -> Outputs:
        found = subject.evaluate(arithmetic=arithmetic, widen=True)
        if arithmetic.operands and equal(found, subject.evaluate(arithmetic=right, widen=True)):
            raise NotApplicable  # there are no products
        return found

    return spoil


def defects(operator: Operator) -> list[Defect]:
    """Of operators that add up, and of those that are made of functions."""
    if operator.meaning is None:
        return []
    found: list[Defect] = []
    every = ("float32", "float16", "bfloat16")
    if any(isinstance(r, (Accumulation, Composite)) for r in operator.rules):
        found += [
            Defect("accumulator-in-float16", _with(accumulator="float16", order=_EVERY_4), every[:2]),
            Defect("accumulator-in-bfloat16", _with(accumulator="bfloat16", order=_EVERY_4), every),
            Defect("products-in-tf32", _with(operands="tf32"), every[:1]),
            Defect("products-in-bfloat16", _with(operands="bfloat16"), every[:2]),
            Defect("products-in-float16", _with(operands="float16"), (every[0], every[2])),
            Defect("last-term-dropped", _with(order=_last_dropped), every),
            Defect("tail-of-32-dropped", _with(order=_tail_dropped), every),
            Defect("block-added-twice", _with(order=_block_twice), every),
        ]
    if any(isinstance(r, Composite) for r in operator.rules):
        found += [
            Defect("steps-in-float16", _with(step="float16"), every[:1]),
            Defect("steps-in-bfloat16", _with(step="bfloat16"), every[:2]),
        ]
    if any(isinstance(r, (Composite, Elementary)) for r in operator.rules):
        found += [
            Defect("coarse-functions-2^-12", _with(off=_coarse(2.0**-12)), every[:1]),
            Defect("coarse-functions-2^-7", _with(off=_coarse(2.0**-7)), every[1:2]),
            Defect("coarse-functions-2^-4", _with(off=_coarse(2.0**-4)), every[2:]),
        ]
    # A definition without sums, or without functions, cannot have them wrong.
    return [replace(d, silent=never) for d in found]
