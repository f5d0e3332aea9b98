"""The criteria of the inference track: one function a row of docs/tiers.md, each a count over the evidence.

A row yields one criterion or two for a tier. Thresholds stand in one table; nothing else here is a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from .certificate import Criterion, percent
from .facts import FLOATS, Scope, is_float
from .runfolder import PlannedCase, PlannedOperator
from .spec import Source, Verdict

__all__ = ["THRESHOLDS", "Thresholds", "candidates", "evaluate"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What one tier asks for. None: the figure is only reported there."""

    operators: int
    catalogue: Fraction | None
    weighted: Fraction
    models: int
    domains: int
    quantised: Fraction | None
    dynamic_models: int | None
    waived: Fraction


# Operators, models and domains: the column for ONNX in PaddlePaddle's Maturity_Model_for_Paddle_Hardware_
# Adaptation.md (PaddlePaddle/community). The shares are this project's own.
THRESHOLDS = {
    1: Thresholds(35, None, Fraction(80, 100), 10, 2, None, None, Fraction(0)),
    2: Thresholds(75, None, Fraction(95, 100), 50, 3, None, None, Fraction(1, 100)),
    3: Thresholds(120, Fraction(98, 100), Fraction(995, 1000), 100, 4, Fraction(98, 100), 3, Fraction(5, 1000)),
}
_CORE_SIZE = 35  # the frozen list; a plan that flags fewer operators cannot ask for all of it
_DOMAIN_MODELS = 2  # a domain counts from this many whole models
_RUNS = 20
# Bytes a run: less than a page of memory cannot be told from none.
_PAGE = 4096
_BROKEN = frozenset({Verdict.CRASH, Verdict.TIMEOUT, Verdict.OUT_OF_MEMORY})
_INCORRECT = frozenset({Verdict.INACCURATE, Verdict.WRONG})

Row = Callable[[Scope], Iterator[Criterion]]


def candidates(tier: int) -> tuple[tuple[str, ...], ...]:
    """The sets of floating dtypes in which a tier can be reached; one of them is enough."""
    if tier == 1:
        return tuple((dtype,) for dtype in FLOATS)
    if tier == 2:
        return (("float32", "float16"), ("float32", "bfloat16"))
    return (FLOATS,)


def evaluate(scope: Scope) -> tuple[Criterion, ...]:
    """Every criterion of the scope's tier, in the order of docs/tiers.md."""
    return tuple(criterion for row in _ROWS for criterion in row(scope))


def _floor(
    scope: Scope,
    name: str,
    required: int | Fraction | None,
    reached: int | Fraction | None,
    *,
    available: int | None = None,
    detail: str = "",
    items: Iterable[str] = (),
) -> Criterion:
    """``reached`` at least ``required``; what could not be counted (None) is not met. None required: reported."""
    met = None if required is None else reached is not None and reached >= required
    return Criterion(scope.tier, name, required, reached, met, False, available, detail, tuple(items))


def _ceiling(
    scope: Scope, name: str, allowed: int | Fraction, reached: int | Fraction, detail: str, items: Iterable[str]
) -> Criterion:
    return Criterion(scope.tier, name, allowed, reached, reached <= allowed, True, None, detail, tuple(items))


def _share(part: int | Fraction, whole: int | Fraction) -> Fraction | None:
    return Fraction(part) / whole if whole else None


def _of(part: int, whole: int, what: str) -> str:
    return f"{part} of {whole} {what}"


def _labels(operators: Iterable[PlannedOperator]) -> list[str]:
    return [operator.label for operator in operators]


def _operator_kinds(scope: Scope) -> Iterator[Criterion]:
    operators = scope.facts.operators
    trusted = [o for o in operators if o.key in scope.trusted]
    asked = [o for o in operators if scope.required[o.key]]
    falling = [o for o in asked if o.key not in scope.trusted]
    limits = THRESHOLDS[scope.tier]
    yield _floor(
        scope,
        "operator-kinds",
        limits.operators,
        len(trusted),
        available=len(asked),
        detail=_of(len(trusted), len(asked), "operators that the tier has cases for are trusted"),
        items=_labels(falling),
    )
    listed = [o for o in scope.listed if scope.required[o.key]]
    good = [o for o in listed if o.key in scope.trusted]
    name, least = ("core-operators", _CORE_SIZE) if scope.tier == 1 else ("common-operators", 1)
    yield _floor(
        scope,
        name,
        max(least, len(scope.listed)),
        len(good),
        available=len(listed),
        detail=_of(len(good), len(scope.listed), "listed operators are trusted"),
        items=_labels(o for o in scope.listed if o.key not in scope.trusted),
    )
    yield _floor(
        scope,
        "catalogue-coverage",
        limits.catalogue,
        _share(len(trusted), len(operators)),
        detail=_of(len(trusted), len(operators), "operators of the catalogue are trusted"),
        items=_labels(o for o in operators if o.key not in scope.trusted),
    )


def _weighted_coverage(scope: Scope) -> Iterator[Criterion]:
    facts = scope.facts
    weights = {key: weight for key, weight in facts.weights.items() if key not in facts.extensions}
    covered = sum((weight for key, weight in weights.items() if key in scope.trusted), Fraction(0))
    lacking = sorted((key for key in weights if key not in scope.trusted), key=lambda key: (-weights[key], key))
    share = _share(covered, sum(weights.values(), Fraction(0)))
    yield _floor(
        scope,
        "weighted-coverage",
        THRESHOLDS[scope.tier].weighted,
        share,
        detail="the plan has no models" if share is None else f"{percent(share)} of an average model's nodes",
        items=(".".join(filter(None, key)) for key in lacking),
    )


def _models(scope: Scope) -> Iterator[Criterion]:
    facts, limits = scope.facts, THRESHOLDS[scope.tier]
    planned, whole = facts.run.plan.models, facts.whole
    names = {model.name for model in whole}
    yield _floor(
        scope,
        "models-whole",
        limits.models,
        len(whole),
        available=len(planned),
        detail=_of(len(whole), len(planned), "models pass in every node, every block and end to end"),
        items=(model.name for model in planned if model.name not in names),
    )
    all_of = Counter(model.domain for model in planned)
    whole_of = Counter(model.domain for model in whole)
    possible = [domain for domain, count in all_of.items() if count >= _DOMAIN_MODELS]
    reached = [domain for domain in possible if whole_of[domain] >= _DOMAIN_MODELS]
    yield _floor(
        scope,
        "domains",
        limits.domains,
        len(reached),
        available=len(possible),
        detail=_of(len(reached), len(possible), f"domains have {_DOMAIN_MODELS} whole models or more"),
        items=(domain for domain in possible if domain not in reached),
    )


def _listed_cases(scope: Scope, dtypes: Collection[str]) -> dict[str, list[PlannedCase]]:
    """The listed operators' required cases by dtype."""
    found: dict[str, list[PlannedCase]] = {}
    for operator in scope.listed:
        for case in scope.required[operator.key]:
            if case.dtype in dtypes:
                found.setdefault(case.dtype, []).append(case)
    return found


def _dtypes(scope: Scope) -> Iterator[Criterion]:
    floats = _listed_cases(scope, scope.floats)
    carried = [dtype for dtype in scope.floats if scope.facts.all_pass(floats.get(dtype, ()))]
    yield _floor(
        scope,
        "floating-dtypes",
        len(scope.floats),
        len(carried),
        available=len(floats),
        detail=f"judged in {', '.join(scope.floats)}",
        items=(dtype for dtype in scope.floats if dtype not in carried),
    )
    others = {case.dtype for group in scope.facts.cases.values() for case in group if not is_float(case.dtype)}
    asked = _listed_cases(scope, others)
    good = [dtype for dtype in sorted(asked) if scope.facts.all_pass(asked[dtype])]
    yield _floor(
        scope,
        "integer-dtypes",
        max(1, len(asked)),
        len(good),
        available=len(asked),
        detail=_of(len(good), len(asked), "other dtypes that the tier asks for pass in the listed operators"),
        items=(dtype for dtype in sorted(asked) if dtype not in good),
    )


def _quantised(scope: Scope) -> Iterator[Criterion]:
    quantised = [o for o in scope.facts.operators if o.quantised]
    trusted = sum(o.key in scope.trusted for o in quantised)
    yield _floor(
        scope,
        "quantised-operators",
        THRESHOLDS[scope.tier].quantised,
        _share(trusted, len(quantised)),
        detail=_of(trusted, len(quantised), "quantised operators are trusted"),
        items=_labels(o for o in quantised if o.key not in scope.trusted),
    )


def _dynamic(scope: Scope) -> Iterator[Criterion]:
    facts = scope.facts
    listed = [o for o in facts.operators if o.core or o.common]
    cases = {
        o.key: [c for c in facts.cases.get(o.key, ()) if "dynamic" in c.tags and scope.asks(c)] for o in listed
    }
    able = sum(bool(cases[o.key]) for o in listed)
    good = {o.key for o in listed if facts.all_pass(cases[o.key])}
    yield _floor(
        scope,
        "dynamic-shapes",
        None if scope.tier == 1 else max(1, len(listed)),
        len(good),
        available=None if scope.tier == 1 else able,
        detail=_of(len(good), len(listed), "Common operators pass at several shapes with one prepared model"),
        items=_labels(o for o in listed if o.key not in good),
    )
    if (required := THRESHOLDS[scope.tier].dynamic_models) is not None:
        plan = facts.run.plan
        ends = [c for c in plan.cases.values() if c.source is Source.END_TO_END and "dynamic" in c.tags]
        models = list(dict.fromkeys(c.model for c in ends if c.model is not None))
        sound = {model.name for model in facts.whole}
        good_models = [m for m in models if m in sound and facts.all_pass(c for c in ends if c.model == m)]
        yield _floor(
            scope,
            "dynamic-models",
            required,
            len(good_models),
            available=len(models),
            detail=_of(len(good_models), len(models), "models with dynamic shapes are whole"),
            items=(model for model in models if model not in good_models),
        )


def _special(scope: Scope) -> Iterator[Criterion]:
    cases = [
        case
        for operator in scope.facts.operators
        if scope.tier != 2 or operator.core or operator.common
        for case in scope.facts.cases.get(operator.key, ())
        if case.tags & {"special", "empty"} and scope.asks(case)
    ]
    failing = [case.case for case in cases if case.case not in scope.facts.passed]
    reported = scope.tier == 1
    yield _floor(
        scope,
        "special-values",
        None if reported else max(1, len(cases)),
        len(cases) - len(failing),
        available=None if reported else len(cases),
        detail=_of(len(cases) - len(failing), len(cases), "cases with special values or empty tensors pass"),
        items=failing,
    )


def _repeatability(scope: Scope) -> Iterator[Criterion]:
    results = scope.facts.run.results
    # Whole models and refusals run once: the nodes of the former repeat, and the latter have no outputs.
    cases = [c for c in scope.cases if c.source is not Source.END_TO_END and "refuse" not in c.tags]
    compared = [c for c in cases if results[c.case].verdict in (Verdict.PASS, Verdict.FLAKY)]
    # One that failed in company and passed alone has had two verdicts.
    agreeing = {
        c.case
        for c in compared
        if results[c.case].passed and results[c.case].repeat != "not-repeated" and results[c.case].after is None
    }
    yield _floor(
        scope,
        "repeat-verdicts",
        max(1, len(compared)),
        len(agreeing),
        detail=_of(len(agreeing), len(compared), "cases that can be repeated had the same verdict twice"),
        items=(case.case for case in compared if case.case not in agreeing),
    )
    rules = {o.key: o.rule for o in scope.facts.operators}
    fixed = [  # a random operator without a seed has no bits to repeat
        c
        for c in cases
        if results[c.case].passed and "random" not in rules.get((c.domain, c.operator), "").split(", ")
    ]
    same = {c.case for c in fixed if results[c.case].repeat == "identical"}
    yield _floor(
        scope,
        "repeat-bits",
        None if scope.tier == 1 else max(1, len(fixed)),
        len(same),
        detail=_of(len(same), len(fixed), "passing cases gave the same bits twice"),
        items=(case.case for case in fixed if case.case not in same),
    )
    if scope.tier == 3:
        runs = scope.facts.run.plan.runs
        few = [c.case for c in compared if results[c.case].runs < _RUNS]
        yield _floor(
            scope,
            "repeat-twenty",
            _RUNS,
            min((results[c.case].runs for c in compared), default=0),
            available=runs,
            detail=_of(len(compared) - len(few), len(compared), f"cases that can be repeated ran {_RUNS} times"),
            items=few,
        )
        watched = [c for c in compared if results[c.case].repeat != "differs"] if runs >= _RUNS else []
        steady = {c.case for c in watched if (grown := results[c.case].growth) is not None and grown < _PAGE}
        yield _floor(
            scope,
            "memory-growth",
            max(1, len(watched)),
            len(steady),
            available=len(watched),
            detail=_of(
                len(steady), len(watched), "cases with the same bits in every run did not grow the process"
            ),
            items=(c.case for c in watched if c.case not in steady),
        )


def _failures(scope: Scope) -> Iterator[Criterion]:
    results, waived = scope.facts.run.results, scope.facts.waived
    where = "anywhere" if scope.tier == 3 else "in the tier's cases"
    for name, verdicts, what in (
        ("stability", _BROKEN, "crashes, timeouts or out-of-memory"),
        ("correctness", _INCORRECT, "inaccurate or wrong results"),
    ):
        found = [c.case for c in scope.cases if results[c.case].verdict in verdicts and c.case not in waived]
        yield _ceiling(scope, name, 0, len(found), f"{len(found)} {what} {where}", found)


def _numerics(scope: Scope) -> Iterator[Criterion]:
    """In every tier and anywhere: what is declared of a dtype is declared of all operators."""
    found = scope.facts.measured.contradictions
    detail = f"{len(found)} declarations are contradicted by the measurement"
    yield _ceiling(scope, "declared-numerics", 0, len(found), detail, map(str, found))


def _waived(scope: Scope) -> Iterator[Criterion]:
    facts, cases = scope.facts, scope.cases
    limit = THRESHOLDS[scope.tier].waived
    found = [case.case for case in cases if case.case in facts.waived]
    detail = _of(len(found), len(cases), "cases of the tier are waived")
    share = _share(len(found), len(cases)) or Fraction(0)
    yield _ceiling(scope, "waived", limit or 0, share if limit else len(found), detail, found)
    if scope.tier > 1:
        name, inner = ("waived-core", "core") if scope.tier == 2 else ("waived-common", "common")
        protected = [o for o in facts.operators if o.core or (inner == "common" and o.common)]
        ids = [c.case for o in protected for c in facts.cases.get(o.key, ()) if c.case in facts.waived]
        yield _ceiling(scope, name, 0, len(ids), f"{len(ids)} waived cases in {inner.title()} operators", ids)


_ROWS: Sequence[Row] = (
    _operator_kinds,
    _weighted_coverage,
    _models,
    _dtypes,
    _quantised,
    _dynamic,
    _special,
    _repeatability,
    _failures,
    _numerics,
    _waived,
)
