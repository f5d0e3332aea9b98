"""The evidence of a run, indexed once for the grade: what passed, which operators and models it adds up to."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from .certificate import Measured
from .measured import measured
from .runfolder import PlannedCase, PlannedModel, PlannedOperator, RunFolder
from .spec import Source

__all__ = ["FLOATS", "Facts", "Scope", "facts_of", "is_float", "scope_of"]

FLOATS = ("float32", "float16", "bfloat16")  # the floating dtypes that tiers ask for, in order of preference
_WHOLE_NUMBERS = frozenset({"int32", "int64", "bool", "uint8", "int8"})  # what Tier 2 asks for in any case
# Cases of these kinds are only reported in Tier 1; Tier 2 asks for them of Common operators, Tier 3 of all.
_DEMANDING = frozenset({"special", "empty", "dynamic"})

Key = tuple[str, str]  # (domain, operator)


@functools.cache
def is_float(dtype: str) -> bool:
    """Any floating dtype, float64 and the 8-bit formats included."""
    return dtype.startswith(("float", "bfloat"))


@dataclass(frozen=True, slots=True)
class Facts:
    """A run of the suite, indexed: without the published vectors and the user's models, which no tier counts.

    ``passed``: the cases that passed; ``waived``: those whose failure is waived (none of which passed).
    ``operators``: the catalogue without extensions. ``cases``: each operator's cases, from the catalogue and
    from models' nodes. ``in_models``: every case of every model. ``pairs``: the (operator, dtype) pairs of
    models' nodes, ``beside``: the same for the dtypes that these use besides their own. ``weights``: each operator's
    mean share of the models' nodes; they sum to 1 if there are models. ``whole``: the models all of whose cases passed.
    ``measured``: the precision of the operators, beside what is declared of it.
    """

    run: RunFolder
    passed: frozenset[str]
    waived: frozenset[str]
    operators: tuple[PlannedOperator, ...]
    extensions: frozenset[Key]
    cases: Mapping[Key, tuple[PlannedCase, ...]]
    in_models: frozenset[str]
    pairs: frozenset[tuple[Key, str]]
    beside: frozenset[tuple[Key, str]]
    weights: Mapping[Key, Fraction]
    whole: tuple[PlannedModel, ...]
    measured: Measured

    def all_pass(self, cases: Iterable[PlannedCase]) -> bool:
        """Every one passed, and there is at least one: nothing planned is never a pass."""
        ids = [case.case for case in cases]
        return bool(ids) and self.passed.issuperset(ids)


def facts_of(run: RunFolder, waived: frozenset[str]) -> Facts:
    """Index a run, but for its vectors and the user's models. Weights follow docs/tiers.md, exactly; a node's operator is its case's."""
    run = run.suite_alone()
    plan = run.plan
    cases: dict[Key, list[PlannedCase]] = {}
    for case in plan.cases.values():
        if case.source in (Source.OPERATOR, Source.MODEL):
            cases.setdefault((case.domain, case.operator), []).append(case)
    extensions = frozenset(operator.key for operator in plan.operators if operator.extension)
    pairs: set[tuple[Key, str]] = set()
    beside: set[tuple[Key, str]] = set()
    weights: dict[Key, Fraction] = {}
    counted = [model for model in plan.models if model.nodes]
    for model in counted:
        for node in model.nodes:
            planned = plan.cases.get(node.case)
            key = ("", node.operator) if planned is None else (planned.domain, planned.operator)
            weights[key] = weights.get(key, Fraction(0)) + Fraction(1, len(model.nodes) * len(counted))
            if planned is not None:
                pairs.add((key, planned.dtype))
                beside.update((key, dtype) for dtype in planned.also)
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
        beside=frozenset(beside),
        weights=weights,
        whole=tuple(model for model in plan.models if _whole(model, passed)),
        measured=measured(run),
    )


def _whole(model: PlannedModel, passed: frozenset[str]) -> bool:
    return bool(model.nodes) and model.end_to_end is not None and passed.issuperset(model.cases)


@dataclass(frozen=True, slots=True)
class Scope:
    """What one tier asks for when it is judged in these floating dtypes.

    ``listed``: Core for Tier 1, Core and Common above. ``required``: for each operator, the cases on which its
    trust depends, refusals among them. ``trusted``: the operators all of whose required cases pass. ``cases``:
    the tier's cases; in these no wrong answer and no crash is forgiven.
    """

    facts: Facts
    tier: int
    floats: tuple[str, ...]
    listed: tuple[PlannedOperator, ...]
    required: Mapping[Key, tuple[PlannedCase, ...]]
    trusted: frozenset[Key]
    cases: tuple[PlannedCase, ...]

    def asks(self, case: PlannedCase) -> bool:
        """Whether the tier asks for this operator in the case's dtypes."""
        return _asks_for(self.facts, self.tier, self.floats, case)


def scope_of(facts: Facts, tier: int, floats: tuple[str, ...]) -> Scope:
    """Work out a tier's scope; docs/tiers.md has it in words."""
    listed = tuple(o for o in facts.operators if o.core or (tier > 1 and o.common))
    required: dict[Key, tuple[PlannedCase, ...]] = {}
    trusted = set()
    for operator in facts.operators:
        key, cases = operator.key, facts.cases.get(operator.key, ())
        demanding = tier == 3 or (tier == 2 and (operator.core or operator.common))
        asked = [case for case in cases if _asks_for(facts, tier, floats, case)]
        required[key] = tuple(case for case in asked if demanding or not case.tags & _DEMANDING)
        # A dtype that the plan requires and has no case for cannot have passed.
        there = {case.dtype for case in cases}
        absent = any(d not in there and _asks(facts, tier, floats, key, d) for d in operator.required_dtypes)
        if not absent and facts.all_pass(required[key]):
            trusted.add(key)
    cases = _cases(facts, tier, [case.case for o in listed for case in required[o.key]])
    return Scope(facts, tier, floats, listed, required, frozenset(trusted), cases)


def _asks(facts: Facts, tier: int, floats: tuple[str, ...], key: Key, dtype: str) -> bool:
    if is_float(dtype):
        return dtype in floats
    return tier == 3 or (key, dtype) in facts.pairs or (tier == 2 and dtype in _WHOLE_NUMBERS)


def _asks_for(facts: Facts, tier: int, floats: tuple[str, ...], case: PlannedCase) -> bool:
    """Whether a tier asks for every dtype of a case. No tier is without the types of shapes and conditions."""
    key = (case.domain, case.operator)
    others = [d for d in case.also - {"int64", "bool"} if (key, d) not in facts.beside]
    return all(_asks(facts, tier, floats, key, dtype) for dtype in (case.dtype, *others))


def _cases(facts: Facts, tier: int, required: Iterable[str]) -> tuple[PlannedCase, ...]:
    """Tiers 1 and 2: the required cases of the listed operators, and every node, block and whole run of every
    model, in whatever dtypes the models have. Tier 3: all. Extensions belong to no tier."""
    chosen = set(required)

    def belongs(case: PlannedCase) -> bool:
        if (case.domain, case.operator) in facts.extensions:
            return False
        counted = case.case in facts.in_models and not case.tags & _DEMANDING
        return tier == 3 or counted or case.case in chosen

    return tuple(case for case in facts.run.plan.cases.values() if belongs(case))
