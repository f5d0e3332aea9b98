"""The elementary functions: exponentials, logarithms, trigonometric and hyperbolic functions, erf.

Accuracies are those of OpenCL C 3.0 (tables of relative error as ULP values: single precision full profile, and
half precision for the narrow types).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from conformance.draws import AUTO, Draw, uniform
from conformance.dtypes import FLOATS
from conformance.lazy import torch
from conformance.rules import Elementary
from conformance.spec import Operator, Sample, tensor

from . import samples as s

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]


def function(
    draw: Draw,
    *,
    wide: Draw | None = None,
    special: Sequence[float] = s.SPECIAL_VALUES,
    edges: Sequence[float] = (),
    bfloat16_since: int = 22,
) -> Iterator[Sample]:
    """A function of one number.

    ``draw``: where the function is mostly used. ``wide``: a range that takes its reduction of the argument, or
    its growth, to the limits of float16. ``edges``: points where implementations change branch.
    ``bfloat16_since``: the version of the operator that took in bfloat16.
    """
    yield from s.unary(draw, special=special)
    if wide is not None:
        yield Sample("wide", (tensor(33, 31, draw=wide),), dtypes=FLOATS)
    if edges:
        yield s.tagged("edges", s.literal(*edges), dtypes=FLOATS, tags=s.SPECIAL)
    if bfloat16_since > 21:
        yield Sample("bfloat16", (tensor(3, 5, 7, draw=draw),), dtypes=("bfloat16",), opset=bfloat16_since)


UNIT = (0.0, -0.0, 0.5, -0.5, 0.75, 1.0, -1.0, 0.99951172, -0.99951172)  # where asin and acos are defined
BEYOND = (s.NAN, s.INF, -s.INF, 1.5, -2.5)
FAR = (100.0, -1000.0, 12345.0, 65504.0)  # arguments of many periods, each representable in float16
TINY = (1e-3, -1e-3, 2.0**-12, -(2.0**-14), 1e-7)  # where f(x) = x or 1 + x to the last bit


def entry(
    name: str, meaning: Callable[[Tensor], Tensor], rule: Elementary, draw: Draw = AUTO, **options: object
) -> Operator:
    return Operator(name, meaning, rule, partial(function, draw, **options))  # type: ignore[arg-type]


OPERATORS = (
    entry(
        "Exp",
        lambda x: torch.exp(x),
        Elementary(3, 2, low=0.0),
        wide=uniform(-12, 11),
        # Overflow and underflow of float16, then of float32 and bfloat16.
        edges=(11.0, 11.5, -17.0, -18.0, 88.5, 89.0, -87.0, -104.0, -150.0, *TINY),
        bfloat16_since=13,
    ),
    entry(
        "Log",
        lambda x: torch.log(x),
        # The scale: between 1/2 and 2 the error is absolute, as OpenCL's relaxed profile has it (there 2^-21).
        Elementary(3, 2, 1.0),
        uniform(0.01, 9),
        wide=uniform(0, 60000),
        # Around the zero at 1, where a logarithm of two added parts cancels.
        edges=(0.9995117, 1.0009766, 0.9921875, 1.0078125, 65504.0, 2.0**-14, 0.70703125, 1.4140625),
        bfloat16_since=13,
    ),
    entry(
        "Sin",
        lambda x: torch.sin(x),
        Elementary(4, 2, 1.0, -1.0, 1.0),
        wide=uniform(-300, 300),
        edges=(*FAR, *TINY),
    ),
    entry(
        "Cos",
        lambda x: torch.cos(x),
        Elementary(4, 2, 1.0, -1.0, 1.0),
        wide=uniform(-300, 300),
        edges=(*FAR, *TINY),
    ),
    entry("Tan", lambda x: torch.tan(x), Elementary(5, 2), uniform(-1.5, 1.5), wide=uniform(-30, 30), edges=TINY),
    entry("Asin", lambda x: torch.asin(x), Elementary(4, 2), uniform(-1, 1), special=(*UNIT, *BEYOND), edges=TINY),
    entry("Acos", lambda x: torch.acos(x), Elementary(4, 2), uniform(-1, 1), special=(*UNIT, *BEYOND), edges=TINY),
    entry("Atan", lambda x: torch.atan(x), Elementary(5, 2), wide=uniform(-60, 60), edges=(*FAR, *TINY)),
    entry(
        "Sinh",
        lambda x: torch.sinh(x),
        Elementary(4, 2),
        wide=uniform(-11, 11),
        edges=(12.0, -12.0, 89.0, 89.5, *TINY),
    ),
    entry(
        "Cosh",
        lambda x: torch.cosh(x),
        Elementary(4, 2),
        wide=uniform(-11, 11),
        edges=(12.0, -12.0, 89.0, 89.5, *TINY),
    ),
    entry(
        "Tanh",
        lambda x: torch.tanh(x),
        Elementary(5, 2, 1.0, -1.0, 1.0),
        wide=uniform(-12, 12),
        edges=(0.625, -0.625, 9.0, -9.5, 90.0, -90.0, *TINY),
        bfloat16_since=13,
    ),
    entry("Asinh", lambda x: torch.asinh(x), Elementary(4, 2), wide=uniform(-60000, 60000), edges=(*FAR, *TINY)),
    entry(
        "Acosh",
        lambda x: torch.acosh(x),
        Elementary(4, 2),
        uniform(1.0, 9),
        wide=uniform(1, 60000),
        edges=(1.0, 1.0009766, 1.5, 65504.0),
    ),
    entry(
        "Atanh",
        lambda x: torch.atanh(x),
        Elementary(5, 2),
        uniform(-0.99, 0.99),
        special=(*UNIT, *BEYOND),
        edges=TINY,
    ),
    entry(
        "Erf",
        lambda x: torch.erf(x),
        Elementary(16, 4, 1.0, -1.0, 1.0),
        wide=uniform(-5, 5),
        edges=(0.84375, 1.0, 1.25, 2.857, 3.9, -4.1, 6.0, *TINY),
        bfloat16_since=13,
    ),
)
