"""The evidence of a run, indexed once for the grade: what passed, which operators and models it adds up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from .runfolder import PlannedCase, PlannedModel, PlannedOperator, RunFolder
from .spec import Source

__all__ = ["FLOATS", "Facts", "Scope", "facts_of", "is_float"]

FLOATS = ("float32", "float16", "bfloat16")  # the floating dtypes that tiers ask for, in order of preference
_WHOLE_NUMBERS = frozenset({"int32", "int64", "bool", "uint8", "int8"})  # what Tier 2 asks for in any case
# Cases of these kinds are only reported in Tier 1; Tier 2 asks for them of Common operators, Tier 3 of all.
_DEMANDING = frozenset({"special", "empty", "dynamic"})

Key = tuple[str, str]  # (domain, operator)


def is_float(dtype: str) -> bool:
    """Any floating dtype, float64 and the 8-bit formats included."""
    return dtype.startswith(("float", "bfloat"))


@dataclass(frozen=True, slots=True)
class Facts:
    """A run folder, indexed.

    ``passed``: the cases that passed; ``waived``: those whose failure is waived (none of which passed).
    ``operators``: the catalogue without extensions. ``cases``: each operator's cases, from the catalogue and
    from models' nodes. ``in_models``: every case of every model. ``pairs``: the (operator, dtype) pairs of
    models' nodes. ``weights``: each operator's mean share of the models' nodes; they sum to 1 if there are
    models. ``whole``: the models all of whose cases passed.
    """

    run: RunFolder
    passed: frozenset[str]
    waived: frozenset[str]
    operators: tuple[PlannedOperator, ...]
    extensions: frozenset[Key]
    cases: Mapping[Key, tuple[PlannedCase, ...]]
    in_models: frozenset[str]
    pairs: frozenset[tuple[Key, str]]
    weights: Mapping[Key, Fraction]
    whole: tuple[PlannedModel, ...]

    def all_pass(self, cases: Iterable[PlannedCase]) -> bool:
        """Every one passed, and there is at least one: nothing planned is never a pass."""
        ids = [case.case for case in cases]
        return bool(ids) and self.passed.issuperset(ids)


def facts_of(run: RunFolder, waived: frozenset[str]) -> Facts:
    """Index a run. Weights follow docs/tiers.md, exactly; a node's operator is its case's."""
    plan = run.plan
    cases: dict[Key, list[PlannedCase]] = {}
    for case in plan.cases.values():
        if case.source in (Source.OPERATOR, Source.MODEL):
            cases.setdefault((case.domain, case.operator), []).append(case)
    extensions = frozenset(operator.key for operator in plan.operators if operator.extension)
    pairs: set[tuple[Key, str]] = set()
    weights: dict[Key, Fraction] = {}
    counted = [model for model in plan.models if model.nodes]
    for model in counted:
        for node in model.nodes:
            planned = plan.cases.get(node.case)
            key = ("", node.operator) if planned is None else (planned.domain, planned.operator)
            weights[key] = weights.get(key, Fraction(0)) + Fraction(1, len(model.nodes) * len(counted))
            if planned is not None:
                pairs.add((key, planned.dtype))
    passed = frozenset(case for case, result in run.results.items() if result.passed)
    return Facts(
        run=run,
        passed=passed,
        waived=waived,
        operators=tuple(operator for operator in plan.operators if not operator.extension),
        extensions=extensions,
        cases={key: tuple(group) for key, group in cases.items()},
        in_models=frozenset(case for model in plan.models for case in model.cases if case in plan.cases),
        pairs=frozenset(pairs),
        weights=weights,
        whole=tuple(model for model in plan.models if _whole(model, passed)),
    )


def _whole(model: PlannedModel, passed: frozenset[str]) -> bool:
    return bool(model.nodes) and model.end_to_end is not None and passed.issuperset(model.cases)


@dataclass(frozen=True, slots=True)
class Scope:
    """What one tier asks for when it is judged in these floating dtypes: which operators, which of their cases."""

    facts: Facts
    tier: int
    floats: tuple[str, ...]

    @property
    def listed(self) -> tuple[PlannedOperator, ...]:
        """Core for Tier 1, Core and Common above."""
        operators = self.facts.operators
        return tuple(o for o in operators if o.core or (self.tier > 1 and o.common))

    def asks(self, key: Key, dtype: str) -> bool:
        """Whether the tier asks for this operator in this dtype."""
        if is_float(dtype):
            return dtype in self.floats
        if self.tier == 3 or (key, dtype) in self.facts.pairs:
            return True
        return self.tier == 2 and dtype in _WHOLE_NUMBERS

    def demanding(self, operator: PlannedOperator) -> bool:
        """Whether special values, empty tensors and dynamic shapes count for this operator."""
        return self.tier == 3 or (self.tier == 2 and (operator.core or operator.common))

    def required(self, operator: PlannedOperator) -> tuple[PlannedCase, ...]:
        """The cases on which the operator's trust depends, refusals among them."""
        demanding = self.demanding(operator)
        return tuple(
            case
            for case in self.facts.cases.get(operator.key, ())
            if self.asks(operator.key, case.dtype) and (demanding or not case.tags & _DEMANDING)
        )

    def trusted(self, operator: PlannedOperator) -> bool:
        """Every required case passes, and no dtype that the plan requires is without a case."""
        cases = self.facts.cases.get(operator.key, ())
        dtypes = {case.dtype for case in cases}
        promised = all(d in dtypes for d in operator.required_dtypes if self.asks(operator.key, d))
        return promised and self.facts.all_pass(self.required(operator))

    def cases(self) -> tuple[PlannedCase, ...]:
        """The tier's cases: in these no wrong answer and no crash is forgiven.

        Tiers 1 and 2: the required cases of the listed operators, and every node, block and whole run of every
        model in the dtypes that the tier asks for. Tier 3: all, in any dtype. Extensions belong to no tier.
        """
        plan = self.facts.run.plan
        if self.tier == 3:
            return tuple(case for case in plan.cases.values() if not self._extension(case))
        chosen = {case.case for operator in self.listed for case in self.required(operator)}
        for ident in self.facts.in_models:
            case = plan.cases[ident]
            asked = case.dtype in self.floats or not is_float(case.dtype)
            if asked and not case.tags & _DEMANDING and not self._extension(case):
                chosen.add(ident)
        return tuple(case for case in plan.cases.values() if case.case in chosen)

    def _extension(self, case: PlannedCase) -> bool:
        return (case.domain, case.operator) in self.facts.extensions
