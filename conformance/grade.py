"""The grade: a pure function from a run folder's records to a certificate.

Exact integers and fractions only. The denominator is the plan: what has no verdict makes the certificate
incomplete, what the suite is too small to ask for is never given, and nothing planned is never a pass.
docs/tiers.md says in words what is computed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

from .blockers import blockers
from .certificate import (
    TIERS,
    Blocker,
    Certificate,
    Criterion,
    Missing,
    Summary,
    Waived,
    percent,
)
from .criteria import candidates, evaluate
from .facts import Facts, Scope, facts_of, scope_of
from .runfolder import RunFolder
from .spec import FURTHER, Source, Verdict
from .waivers import apply_waivers

__all__ = [
    "Blocker",
    "Certificate",
    "Criterion",
    "Missing",
    "Summary",
    "Waived",
    "grade",
    "percent",
    "summary",
]

Judged = tuple[Scope, tuple[Criterion, ...]]


def grade(run: RunFolder) -> Certificate:
    """Grade a run on the inference track; the same evidence always gives the same certificate."""
    waivers = apply_waivers(run)
    facts = facts_of(run, frozenset(entry.case for entry in waivers.waived))
    judged = {tier: _best(facts, tier) for tier in TIERS}
    complete = _complete(run)
    tier = provisional = 0
    if complete:
        tier = _highest({t: all(c.met is not False for c in judged[t][1]) for t in TIERS})
        provisional = _highest({t: all(c.met_as_far_as_asked for c in judged[t][1]) for t in TIERS})
    criteria = tuple(criterion for t in TIERS for criterion in judged[t][1])
    return Certificate(
        tier=tier,
        complete=complete,
        criteria=criteria,
        blockers=blockers(judged[tier + 1][0]) if tier < TIERS[-1] else (),
        summary=_summary(judged[max(tier, 1)][0], run),
        suite=run.suite,
        backend=run.backend,
        provisional_tier=provisional if provisional > tier else None,
        missing=tuple(
            Missing(c.tier, c.name, c.required, c.available)
            for c in criteria
            # What a filter left out is no gap of the suite.
            if run.plan.complete and c.short and isinstance(c.required, int) and c.available is not None
        ),
        dtypes={t: judged[t][0].floats for t in TIERS},
        waived=waivers.waived,
        waiver_errors=waivers.errors,
        sensitivity=run.sensitivity,
        measured=facts.measured,
    )


def summary(run: RunFolder, tier: int = 1) -> Summary:
    """The counts alone, and both coverages as the given tier asks for them."""
    waivers = apply_waivers(run)
    facts = facts_of(run, frozenset(entry.case for entry in waivers.waived))
    return _summary(_best(facts, tier)[0], run)


def _complete(run: RunFolder) -> bool:
    """Nothing was filtered, something was planned, and every planned case has a verdict."""
    judged = all(result.verdict is not Verdict.NOT_RUN for result in run.results.values())
    return run.plan.complete and bool(run.results) and judged


def _best(facts: Facts, tier: int) -> Judged:
    """Judge the tier in each set of floating dtypes that it may be reached in, and keep the best.

    Best is the most criteria met as far as the suite asks, then the most met in full (where any set meets all,
    it comes first in both), then the most operators trusted; among equals, the first in `candidates`. A set of which a
    part of a suite runs nothing comes last: without cases nothing fails.
    """

    def merit(judged: Judged) -> tuple[bool, int, int, Fraction]:
        scope, criteria = judged
        trusted = next(c.reached for c in criteria if c.name == "operator-kinds")
        return (
            any(case.dtype in scope.floats for cases in scope.required.values() for case in cases),
            sum(c.met_as_far_as_asked for c in criteria),
            sum(c.met is not False for c in criteria),
            Fraction(trusted or 0),
        )

    scopes = [scope_of(facts, tier, floats) for floats in candidates(tier)]
    return max(((scope, evaluate(scope)) for scope in scopes), key=merit)


def _highest(reached: Mapping[int, bool]) -> int:
    """The highest tier that is reached together with all below it; 0 for none."""
    tier = 0
    while reached.get(tier + 1, False):
        tier += 1
    return tier


def _summary(scope: Scope, run: RunFolder) -> Summary:
    facts = scope.facts
    counts: dict[Source, Counter[Verdict]] = {source: Counter() for source in Source}
    further: Counter[Verdict] = Counter()
    for case in run.plan.cases.values():
        group = further if FURTHER in case.tags else counts[case.source]
        group[run.results[case.case].verdict] += 1
    vectors = counts.pop(Source.VECTOR)
    trusted = [operator for operator in facts.operators if operator.key in scope.trusted]
    weights = {key: weight for key, weight in facts.weights.items() if key not in facts.extensions}
    total = sum(weights.values(), Fraction(0))
    covered = sum((weights.get(operator.key, Fraction(0)) for operator in trusted), Fraction(0))
    return Summary(
        verdicts={source: {v: found[v] for v in Verdict if found[v]} for source, found in counts.items()},
        tier=scope.tier,
        coverage=Fraction(len(trusted), len(facts.operators)) if facts.operators else Fraction(0),
        weighted_coverage=covered / total if total else Fraction(0),
        operators_trusted=len(trusted),
        operators=len(facts.operators),
        models_whole=len(facts.whole),
        models=len(facts.run.plan.models),
        vectors={v: vectors[v] for v in Verdict if vectors[v]},
        further={v: further[v] for v in Verdict if further[v]},
    )
