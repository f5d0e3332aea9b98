"""The records that everything else speaks in: what an operator means, which samples it has, what a case is."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .draws import AUTO, Draw, values
from .rules import EXACT, Rule

__all__ = [
    "FURTHER",
    "PUBLISHED",
    "Case",
    "Operator",
    "Sample",
    "Shape",
    "Source",
    "TensorSpec",
    "Verdict",
    "const",
    "of_suite",
    "tensor",
]


# The tag of one of ONNX's vectors that is held against its published output, as the catalogue does not define it.
PUBLISHED = "published"
# The tag of a case from a model that the user brought.
FURTHER = "further"


class Verdict(str, enum.Enum):
    """What came of a case: a closed set. Only ``PASS`` counts for a tier."""

    PASS = "pass"
    INACCURATE = "inaccurate"
    WRONG = "wrong"
    UNSUPPORTED = "unsupported"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    FLAKY = "flaky"
    NOT_RUN = "not-run"

    def __str__(self) -> str:
        return self.value


class Source(str, enum.Enum):
    """Where a case comes from. ``VECTOR``: from outside, one of ONNX's published tests; no tier counts these."""

    OPERATOR = "operator"
    MODEL = "model"
    BLOCK = "block"
    END_TO_END = "end-to-end"
    VECTOR = "vector"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input: its shape, the recipe for its values, its dtype (None: the dtype under test) and whether the
    model holds it as an initializer."""

    shape: tuple[int, ...]
    draw: Draw = AUTO
    dtype: str | None = None
    constant: bool = False


def tensor(*shape: int, draw: Draw = AUTO, dtype: str | None = None, constant: bool = False) -> TensorSpec:
    """An input of the given shape: ``tensor(2, 3)``, ``tensor()`` for a scalar."""
    return TensorSpec(shape, draw, dtype, constant)


def const(items: Sequence[Any] | int | float | str | bool, dtype: str | None = "int64") -> TensorSpec:
    """A literal initializer, one-dimensional for a list and a scalar otherwise: axes, shapes, limits."""
    if isinstance(items, (int, float, str, bool)):
        return TensorSpec((), values(items), dtype, constant=True)
    return TensorSpec((len(items),), values(*items), dtype, constant=True)


Shape = int | tuple[int | str, ...] | None  # of an output: an input's position, or dimensions


@dataclass(frozen=True, slots=True)
class Sample:
    """One way of using an operator; crossed with dtypes it becomes cases.

    ``inputs``: in the schema's order, None for an optional input left out.
    ``attributes``: as the schema names them; defaults left out stay out of the model. Values: int, float, str,
    lists of these, an ``onnx.TensorProto`` or an ``onnx.GraphProto``.
    ``outputs``: how many outputs are asked for, or for each one whether it is.
    ``dtypes``: the dtypes under test for this sample (None: all of the operator's).
    ``opset``: write the model at this opset rather than at the suite's; in ai.onnx.ml a version of that domain.
    ``since``: the first opset (in ai.onnx.ml, version) whose text allows the sample, where the schemas do not tell: a
    mode that was added, a graph of the sample's own. As of an older one the sample is left out.
    ``shape``: of the first output, where ONNX's inference does not find it: the shape itself, or the position of the
    graph's input that has the same one. A list has one for each output.
    ``again``: further input sets for the same prepared model; where their shapes differ from ``inputs``, the
    model declares those dimensions symbolic. Initializers are the same in all sets.
    ``exact``: the result is exact in any order of evaluation (small integers), whatever the rule says.
    ``refuse``: why the model is invalid; the backend must then refuse it rather than compute something.
    ``model``: for operators that cannot stand alone (sequences, optionals): gives, for a dtype and an opset, the
    ``onnx.ModelProto`` whose inputs are ``inputs`` in order. Its ``repr`` is part of the suite's digest.
    ``reference``: like ``model``, and means the same, in operators that ONNX's evaluator gets right; the expected
    values are this one's. A result that is a map, or a sequence of maps with the same keys, is two results there:
    the ascending keys and the values that belong to them.
    ``written_out``: the schema's defaults stand in the model, of whatever opset it is, beside ``attributes``.
    ``tags``: any of "special", "empty", "large", "dynamic", "scalar", …; shown, filtered, and used by the grade.
    """

    name: str
    inputs: tuple[TensorSpec | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int | tuple[bool, ...] = 1
    dtypes: tuple[str, ...] | None = None
    opset: int | None = None
    since: int = field(default=0, repr=False)
    shape: Shape | list[Shape] = None
    again: tuple[tuple[TensorSpec | None, ...], ...] = ()
    exact: bool = False
    refuse: str = ""
    model: Callable[[str, int], Any] | None = None
    reference: Callable[[str, int], Any] | None = None
    written_out: bool = False
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Operator:
    """An entry of the catalogue.

    ``meaning``: the definition, on torch tensors and generic in dtype and device. Inputs come by position (None
    where left out), attributes by keyword with the schema's defaults filled in; if it has parameters named
    ``opset`` (the model's opset), ``n_outputs`` (how many outputs the node has), ``dtypes`` or ``input_dtypes`` (the
    outputs' or inputs' ONNX type names), these are given too. Returns a tensor or a tuple of tensors. None: the operator is not tensor
    arithmetic, and ONNX's own reference evaluator is the oracle.
    ``rule``: the accuracy rule, or one for each output.
    ``samples``: yields the samples.
    ``dtypes``: the dtypes under test (None: all numeric and bool ones that the schema allows for the type
    variable of the first input).
    ``variable``: the schema's type variable that the dtype under test stands for (None: the first input's).
    ``strings``: elements are only moved and compared, with "" for zero: the definition holds for strings too, which
    go through it as their places in the sorted list of all that are there.
    ``family``: filled in by the catalogue from the module.
    """

    name: str
    meaning: Callable[..., Any] | None
    rule: Rule | tuple[Rule, ...]
    samples: Callable[[], Iterable[Sample]]
    dtypes: tuple[str, ...] | None = None
    variable: str | None = None
    domain: str = ""
    strings: bool = False
    family: str = ""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rule, or those of the outputs."""
        return self.rule if isinstance(self.rule, tuple) else (self.rule,)

    def rule_for(self, output: int) -> Rule:
        """The rule of the output at this position."""
        if isinstance(self.rule, tuple):
            return self.rule[output] if output < len(self.rule) else EXACT
        return self.rule


@dataclass(frozen=True, slots=True)
class Case:
    """One entry of the plan: the denominator consists of these.

    ``id`` is readable and stable, ``digest`` a hash of the content (the model and the recipes of its inputs).
    ``also``: the dtypes besides ``dtype`` that the case puts in or asks for; a tier that does not ask for one of
    them does not ask for the case.
    ``tags``: from the sample, and "refuse" for a model that must be refused.
    ``occurrences``: for cases from models, the positions in each model's node list where this case stands.
    ``index``: for operator cases the sample's position, for model cases and blocks the first node's position;
    with ``operator``, ``dtype`` and ``model`` it leads back to the content.
    ``graph``: a hash of the model that the case is cut from, whose values the case's inputs are; "" where there is none.
    """

    id: str
    operator: str
    domain: str
    opset: int
    dtype: str
    source: Source
    family: str
    digest: str
    also: frozenset[str] = frozenset()
    index: int = 0
    model: str | None = None
    tags: frozenset[str] = frozenset()
    occurrences: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    graph: str = ""

    @property
    def part(self) -> str:
        """Of a case from a model: the node's or block's name in it, which is what follows the model's in the id."""
        return self.id.removeprefix(f"{self.model}/")


def of_suite(source: Source, tags: Collection[str]) -> bool:
    """Whether a case of this source and with these tags is the suite's own, which digests and tiers count."""
    return source is not Source.VECTOR and FURTHER not in tags
