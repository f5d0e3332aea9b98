"""Legal ways of computing: orders of summation, precision above what is asked for, functions within their tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..dtypes import lookup
from ..numerics import Expected, approximates, ulp
from ..rules import Accumulation, Composite, Elementary, Rounded
from .device import Arithmetic, Order, lanes, pairwise, sequential, split
from .outputs import each, floats, flushed
from .record import Variant
from .subject import NotApplicable, Outputs, Subject, equal

__all__ = ["VARIANTS"]

_RULES = {
    "sums": (Accumulation, Composite),
    "functions": (Composite,),
    "all": (Rounded, Elementary, Accumulation, Composite),
}


def _step(subject: Subject) -> str:
    """Where the rule is of sums, what is put together from several of them stays in the accumulator's format."""
    sums = any(isinstance(r, Accumulation) for r in subject.rules)
    return lookup(subject.working).accumulator if sums else subject.working


def _variant(name: str, kind: str, make: Callable[[str], Arithmetic], *, narrow: bool = False) -> Variant:
    """A variant by an arithmetic, for operators whose rule is of the kind. ``make``: gets the dtype."""

    def run(subject: Subject) -> Outputs:
        if subject.operator.meaning is None or not any(isinstance(r, _RULES[kind]) for r in subject.rules):
            raise NotApplicable
        if narrow and subject.working not in ("float16", "bfloat16"):
            raise NotApplicable
        return subject.evaluate(arithmetic=make(_step(subject)), widen=True)

    return Variant(name, run)


def _order(name: str, order: Order, **how: Any) -> Variant:
    return _variant(name, "sums", lambda step: Arithmetic(step=step, order=order, **how))


def _tensor_core(step: str) -> Arithmetic:
    return Arithmetic(step=step, order=sequential(4), truncate=True)


def _once(subject: Subject) -> Outputs:
    return subject.good


def _flushed(subject: Subject) -> Outputs:
    """Subnormal results as zeros."""
    found = each(floats(flushed))(subject)
    if equal(found, subject.good):
        raise NotApplicable
    return found


def _native(subject: Subject) -> Outputs:
    """torch's own kernels in the declared types, step by step."""
    if subject.operator.meaning is None:
        raise NotApplicable
    return subject.evaluate(widen=False)


def _moved(exact: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return torch.where(exact.isfinite() & (exact != 0), exact + by, exact)


def _up(exact: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    return _moved(exact, allowed)


def _down(exact: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    return _moved(exact, -allowed)


def _either(exact: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    draws = torch.rand(exact.shape, generator=torch.Generator().manual_seed(exact.numel()), dtype=torch.float64)
    return _moved(exact, allowed * (2.0 * draws - 1.0))


def _wavy(exact: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    return _moved(exact, allowed * torch.sin(exact * 37.0).nan_to_num())


def _at_the_edge(name: str, side: float) -> Variant:
    """Results of single functions as far off as their count of ulps lets them be."""

    def run(subject: Subject) -> Outputs:
        found: Outputs = []
        for one, good in zip(subject.expected, subject.good, strict=True):
            found.append([])
            for expected, array in zip(one, good, strict=True):
                moved = array
                if (
                    isinstance(expected.rule, (Elementary, Rounded))
                    and approximates(expected)
                    and array.dtype.kind != "c"
                ):
                    moved = _edge(expected, array, side)
                found[-1].append(moved)
        if all(a is b for x, y in zip(found, subject.good, strict=True) for a, b in zip(x, y, strict=True)):
            raise NotApplicable
        return found

    return Variant(name, run)


def _edge(expected: Expected, array: np.ndarray, side: float) -> np.ndarray:
    kind = lookup(expected.dtype)
    count = expected.rule.narrow if kind.p < lookup("float32").p else expected.rule.ulps  # type: ignore[union-attr]
    y = expected.value
    step = ulp(y, expected.dtype)
    moved = (y + side * (count - 0.5) * step).astype(kind.numpy)
    # At a power of two the rounding is coarser than the count: back to what is surely within.
    legal = np.isfinite(y) & np.isfinite(moved.astype(np.float64)) & (y != 0)
    legal &= np.abs(moved.astype(np.float64) - y) <= count * step
    return np.where(legal, moved, array)


VARIANTS = (
    Variant("one-rounding", _once),
    Variant("kernels-of-torch", _native),
    Variant("results-flushed-to-zero", _flushed, flush_to_zero=True),
    _variant("every-step-rounded", "all", lambda step: Arithmetic(step=step)),
    _variant("steps-in-float32", "all", lambda step: Arithmetic(step="float32"), narrow=True),
    _variant("steps-in-float64", "all", lambda step: Arithmetic(accumulator="float64")),
    _order("one-after-the-other", sequential(1)),
    _order("one-after-the-other-products-rounded", sequential(1), fused=False),
    _order("from-the-last", sequential(1, reverse=True)),
    _order("from-the-last-products-rounded", sequential(1, reverse=True), fused=False),
    _order("shuffled", sequential(1, seed=1)),
    _order("shuffled-again", sequential(1, seed=2)),
    _order("shuffled-by-8", sequential(8, seed=3)),
    *(_order(f"blocks-of-{n}", sequential(n)) for n in (2, 4, 8, 16, 32, 64, 128, 256)),
    *(_order(f"blocks-of-{n}-from-the-last", sequential(n, reverse=True)) for n in (4, 16, 64)),
    *(_order(f"lanes-{n}", lanes(n)) for n in (4, 8, 16, 32)),
    *(_order(f"parts-{n}", split(n)) for n in (2, 4, 8)),
    *(_order(f"parts-{n}-of-blocks-of-16", split(n, 16)) for n in (2, 4)),
    _order("tree", pairwise),
    _order("accumulator-in-float64", sequential(1), accumulator="float64"),
    # As tensor cores do, whose blocks have at least 8 terms where the factors are not of 16 bits.
    *(_order(f"truncating-blocks-of-{n}", sequential(n), truncate=True) for n in (8, 16)),
    _variant("truncating-blocks-of-4", "sums", _tensor_core, narrow=True),
    _at_the_edge("results-high", 1.0),
    _at_the_edge("results-low", -1.0),
    _variant("functions-high", "functions", lambda step: Arithmetic(step=step, off=_up)),
    _variant("functions-low", "functions", lambda step: Arithmetic(step=step, off=_down)),
    _variant("functions-random", "functions", lambda step: Arithmetic(step=step, off=_either)),
    _variant("functions-wavy", "functions", lambda step: Arithmetic(step=step, off=_wavy)),
    _variant("functions-high-one-rounding", "functions", lambda step: Arithmetic(off=_up)),
    _variant("functions-low-one-rounding", "functions", lambda step: Arithmetic(off=_down)),
)
