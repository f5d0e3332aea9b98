"""The accuracy rules that an operator can name. Records only; ``numerics`` turns them into bounds.

Every rule speaks of *floating-point* outputs. An output of any other type is held to equality, unless the rule
is one of the three made for such outputs (`Requantised`, `OrderFree`, `Random`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "EXACT",
    "ROUNDED",
    "Accumulation",
    "Composite",
    "Elementary",
    "Exact",
    "OrderFree",
    "Random",
    "Requantised",
    "Rounded",
    "Rule",
]


@dataclass(frozen=True, slots=True)
class Exact:
    """Equal, element by element; NaN equals NaN. ``signed_zero``: the definition fixes the sign of zero too."""

    signed_zero: bool = False


@dataclass(frozen=True, slots=True)
class Rounded:
    """Within ``ulps`` ulp(y) of the exact result y: the basic arithmetic of IEEE 754.

    ``narrow`` is the count for float16 and bfloat16, whose result may be rounded twice (through float32).
    """

    ulps: float
    narrow: float


@dataclass(frozen=True, slots=True)
class Elementary:
    """Within ``ulps`` ulp(y), ``narrow`` in float16 and bfloat16 (OpenCL C 3.0, table of ULP values).

    ``scale``: for functions that saturate, the size of their range; an absolute error of ulps·u·scale is then
    allowed everywhere (their tails are off by thousands of ulp in every engine).
    ``low``, ``high``: the range that no result may leave by more than its bound.
    """

    ulps: float
    narrow: float
    scale: float = 0.0
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True, slots=True)
class Accumulation:
    """Within 4·√K·u_acc·A + 2u·|y|, and, over 1000 outputs and more, the ensemble tests.

    A is the definition run on absolute values, K the definition run on ones: the number of terms that reach an
    output. ``operands`` are the positions of the inputs that the sums run over (default: every float input).
    ``magnitude`` replaces attributes for the A run (``{"alpha": abs(alpha)}``), given the node's attributes.
    ``count`` is the definition whose value on ones is K where the operator itself does not count (a mean
    divides: its count is the sum). Same parameters as the operator's meaning.
    """

    operands: tuple[int, ...] | None = None
    magnitude: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    count: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Composite:
    """Each step's rounding, carried through the definition by Monte Carlo arithmetic (`montecarlo`).

    ``scale``, ``low``, ``high`` as for `Elementary`. ``drift``: what rounding adds to this where it need not be random,
    because a step is repeated on equal numbers: with the operator's parameters, an absolute error in units of u.
    """

    scale: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    drift: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Requantised:
    """Any integer between the definition's values with its real inputs moved by a few u: ±1 only at a tie.

    ``operands``: positions of the inputs that are moved (default: every float input). ``extremes``: the scale is
    taken from the smallest and the largest element, which are therefore moved apart from the rest, too: moved with
    it they change nothing.
    """

    operands: tuple[int, ...] | None = None
    extremes: bool = False


@dataclass(frozen=True, slots=True)
class OrderFree:
    """Equal after ``canonical(inputs, attributes, outputs)`` has put both sides into one order.

    ``canonical`` takes the node's inputs (arrays or None), its attributes and a list of outputs (NumPy arrays),
    and returns a list of arrays; it raises ``ValueError`` with a reason where the outputs are inconsistent with
    the inputs (an index that does not point at its value).
    """

    canonical: Callable[[Sequence[np.ndarray | None], Mapping[str, Any], Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True, slots=True)
class Random:
    """A statistical test of the outputs at a false-alarm rate of 1e-9 at most.

    ``test(inputs, attributes, outputs, flush_to_zero)`` returns None, or in one line what is wrong. The last one says
    whether the backend declares that it treats subnormal numbers as zero.
    """

    test: Callable[[Sequence[np.ndarray | None], Mapping[str, Any], Sequence[np.ndarray], bool], str | None]


Rule = Exact | Rounded | Elementary | Accumulation | Composite | Requantised | OrderFree | Random

EXACT = Exact()
ROUNDED = Rounded(0.5, 1.0)  # IEEE 754 addition, subtraction, multiplication
