"""What to fix first: the failing operators, in the order of the models that each one alone would unlock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from .certificate import Blocker
from .facts import Facts, Scope
from .runfolder import PlannedCase, PlannedModel
from .spec import Source, Verdict

__all__ = ["blockers"]

# What a failing case is charged to: (domain, operator, dtype), or the case itself for a block or a whole model.
Cause = tuple[str, str, str] | str


@dataclass(slots=True)
class _Group:
    cases: list[PlannedCase] = field(default_factory=list)
    unlocks: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


def blockers(scope: Scope) -> tuple[Blocker, ...]:
    """Everything that fails and that the scope's tier asks for, one entry an operator and dtype.

    A model is unlocked by an entry if no other entry keeps it from being whole. A block or whole model that
    fails is taken for a consequence where one of its model's nodes fails, and stands for itself where all nodes
    pass. Cases without a verdict appear nowhere, but keep their models from being unlocked.
    Order: models unlocked, then the operator's weight, then models broken, then the name.
    """
    facts = scope.facts
    groups: dict[Cause, _Group] = {}
    wanted = {c.case for c in scope.cases} | facts.in_models
    wanted |= {c.case for operator in facts.operators for c in scope.required[operator.key]}
    blame = {model.name: _causes(model, facts) for model in facts.run.plan.models}
    consequences = _consequences(facts)
    for case in facts.run.plan.cases.values():
        verdict = facts.run.results[case.case].verdict
        if case.case not in wanted or case.case in consequences or verdict in (Verdict.PASS, Verdict.NOT_RUN):
            continue
        groups.setdefault(_cause(case), _Group()).cases.append(case)
    for model, causes in blame.items():
        for cause in causes:
            if cause in groups:
                groups[cause].models.append(model)
                if len(causes) == 1:
                    groups[cause].unlocks.append(model)
    found = [_blocker(cause, group, facts) for cause, group in groups.items()]
    return tuple(sorted(found, key=lambda b: (-len(b.unlocks), -b.weight, -len(b.models), b.what)))


def _cause(case: PlannedCase) -> Cause:
    if case.source in (Source.OPERATOR, Source.MODEL):
        return (case.domain, case.operator, case.dtype)
    return case.case


def _causes(model: PlannedModel, facts: Facts) -> set[Cause]:
    """What keeps the model from being whole; a case without a verdict counts as a cause of its own."""
    cases, results = facts.run.plan.cases, facts.run.results
    failing = [ident for ident in dict.fromkeys(node.case for node in model.nodes) if ident not in facts.passed]
    if not failing:
        failing = [ident for ident in model.blocks if ident not in facts.passed]
    if not failing and model.end_to_end is not None and model.end_to_end not in facts.passed:
        failing = [model.end_to_end]
    causes: set[Cause] = set()
    for ident in failing:
        ran = ident in cases and results[ident].verdict is not Verdict.NOT_RUN
        causes.add(_cause(cases[ident]) if ran else f"not run: {ident}")
    return causes


def _consequences(facts: Facts) -> frozenset[str]:
    """Failing blocks and whole runs of models in which something smaller fails; a block that several models
    share is one only if that holds in each of them."""
    explained: set[str] = set()
    unexplained: set[str] = set()
    for model in facts.run.plan.models:
        nodes = all(node.case in facts.passed for node in model.nodes)
        blocks = all(block in facts.passed for block in model.blocks)
        (unexplained if nodes else explained).update(model.blocks)
        if model.end_to_end is not None:
            (unexplained if nodes and blocks else explained).add(model.end_to_end)
    return frozenset(explained - unexplained)


def _blocker(cause: Cause, group: _Group, facts: Facts) -> Blocker:
    first = group.cases[0]
    single = not isinstance(cause, str)
    label = ".".join(filter(None, (first.domain, first.operator)))
    return Blocker(
        what=f"{label} in {first.dtype}" if single else first.case,
        operator=first.operator if single else None,
        domain=first.domain,
        dtype=first.dtype,
        weight=facts.weights.get((first.domain, first.operator), Fraction(0)) if single else Fraction(0),
        unlocks=tuple(group.unlocks),
        models=tuple(group.models),
        verdicts=dict(Counter(facts.run.results[case.case].verdict for case in group.cases)),
        cases=tuple(case.case for case in group.cases),
    )
