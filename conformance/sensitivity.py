"""How much the suite sees: planted defects that it must fail, and legal variants that it must pass.

Each operator's cases are put before a correct backend that was changed in one way; the judgement is the one that a run
would give. A defect counts as caught when one of the operator's cases in that dtype does not pass.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from .casework import Casework
from .errors import UsageError
from .operators import FAMILIES, catalogue
from .plan import Plan, Selection, build_plan
from .planted import RAISED, Defect, NotApplicable, Outputs, Subject, defects, equal, variants
from .pool import Outcome
from .run import verdict_of
from .spec import PUBLISHED, Case, Operator, Source, Verdict

__all__ = ["Answer", "Failure", "Sensitivity", "judged", "measure"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one planted defect: ``by`` is the case that caught it, "" for none; ``shown``: some case's
    outputs were other than the correct ones. One that no case shows is a gap of the suite, one that is shown and not
    caught a gap of a bound."""

    operator: str
    family: str
    dtype: str
    defect: str
    by: str
    shown: bool

    @property
    def caught(self) -> bool:
        return bool(self.by)


@dataclass(frozen=True, slots=True)
class Failure:
    """A legal variant that a case failed."""

    case: str
    family: str
    dtype: str
    variant: str
    message: str


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """All answers, the failed variants, and the number of verdicts on variants by family and dtype."""

    suite: dict[str, Any]
    answers: tuple[Answer, ...]
    failures: tuple[Failure, ...]
    verdicts: dict[tuple[str, str], int]

    def figures(self) -> dict[str, Any]:
        """What a certificate says of the suite: counts, and the suite that they hold for."""
        return {
            "suite": {key: self.suite[key] for key in ("version", "digest", "opset", "seed")},
            "planted": len(self.answers),
            "caught": sum(a.caught for a in self.answers),
            "verdicts": sum(self.verdicts.values()),
            "failed": len(self.failures),
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """What one operator came to."""

    answers: list[Answer]
    failures: list[Failure]
    verdicts: dict[tuple[str, str], int]


def judged(subject: Subject, outputs: Outputs, *, flush_to_zero: bool = False) -> str:
    """The suite's own word on outputs: "" for a pass, else the verdict and its message."""
    outcome = Outcome(subject.case.id, "ok", outputs=outputs, repeat="identical", runs=2)
    judgement = verdict_of(subject.ready, outcome, flush_to_zero=flush_to_zero)
    return "" if judgement.verdict is Verdict.PASS else f"{judgement.verdict}: {judgement.message}"


def measure(
    families: Sequence[str],
    dtypes: Sequence[str],
    cache: Path,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda operator: None,
    compare: Callable[..., str] = judged,
    suite: str = "standard",
) -> Sensitivity:
    """Run all defects and variants of the families (empty: all) in the dtypes (empty: all) through a suite.

    ``compare``: stands in for the judge, as another suite's way of comparing would; so do other cases, where
    ``suite`` is "vectors" for ONNX's published ones of a single operator with a definition. Raises ``UsageError`` for
    unknown names.
    """
    unknown = [family for family in families if family not in FAMILIES]
    if unknown:
        raise UsageError(f"unknown family {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
    plan = build_plan(Selection(suite=suite, dtypes=tuple(dtypes)))
    cases: dict[tuple[str, str], list[Case]] = {}
    for case in plan.cases:
        entry = catalogue().get((case.domain, case.operator))
        usable = entry is not None and case.model is None and not case.tags & {"refuse", PUBLISHED}
        if entry is not None and usable and (not families or entry.family in families):
            cases.setdefault((case.domain, case.operator), []).append(case)
    answers: list[Answer] = []
    failures: list[Failure] = []
    verdicts: dict[tuple[str, str], int] = {}
    with ProcessPoolExecutor(jobs, get_context("fork"), _begin, (plan, cache, compare)) as pool:
        for (_, name), found in zip(cases, pool.map(_operator, cases.values()), strict=True):
            answers += found.answers
            failures += found.failures
            for place, count in found.verdicts.items():
                verdicts[place] = verdicts.get(place, 0) + count
            progress(name)
    return Sensitivity(plan.suite(), tuple(answers), tuple(failures), verdicts)


_SHARED: dict[str, Any] = {}


def _begin(plan: Plan, cache: Path, compare: Callable[..., str] = judged) -> None:
    import torch

    torch.set_num_threads(1)
    _SHARED.update(plan=plan, cache=cache, compare=compare)


def _operator(cases: Sequence[Case]) -> _Found:
    """What the cases of one operator come to."""
    with (
        Casework(_SHARED["plan"], _SHARED["cache"]) as casework,
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        subjects = []
        for case in cases:
            own = case.source is Source.OPERATOR
            ready = casework.operator_case(case) if own else casework.vector_case(case)
            if not ready.problem:
                subjects.append(Subject(case, ready))
        by_dtype: dict[str, list[Subject]] = {}
        for subject in subjects:
            by_dtype.setdefault(subject.dtype, []).append(subject)
        entry = catalogue()[cases[0].domain, cases[0].operator]
        return _Found(list(_plant(entry, by_dtype)), *_vary(subjects))


def _plant(entry: Operator, by_dtype: dict[str, list[Subject]]) -> Iterator[Answer]:
    name = f"{entry.domain}.{entry.name}" if entry.domain else entry.name
    for defect in defects(entry):
        for dtype, subjects in by_dtype.items():
            if defect.dtypes is None or dtype in defect.dtypes:
                answer = _look(defect, subjects)
                if answer is not None:
                    yield Answer(name, entry.family, dtype, defect.name, *answer)


def _look(defect: Defect, subjects: Sequence[Subject]) -> tuple[str, bool] | None:
    """The case that catches a defect and whether any shows it; None where it applies to none."""
    applied = shown = False
    for subject in subjects:
        try:
            outputs = defect.spoil(subject)
        except NotApplicable:
            continue
        except RAISED:  # it is seen
            return subject.case.id, True
        applied = True
        if equal(outputs, subject.good):
            continue
        shown = True
        if _SHARED["compare"](subject, outputs):
            return subject.case.id, True
    if applied and not shown and defect.silent is not None:
        applied = any(_possible(defect.silent, subject) for subject in subjects)
    return ("", shown) if applied else None


def _possible(silent: Callable[[Subject], bool], subject: Subject) -> bool:
    try:
        return silent(subject)
    except (NotApplicable, *RAISED):
        return False


def _vary(subjects: Iterable[Subject]) -> tuple[list[Failure], dict[tuple[str, str], int]]:
    failures = []
    verdicts: dict[tuple[str, str], int] = {}
    for subject in subjects:
        for variant in variants():
            try:
                outputs = variant.run(subject)
            except NotApplicable:
                continue
            place = (subject.operator.family, subject.dtype)
            verdicts[place] = verdicts.get(place, 0) + 1
            message = _SHARED["compare"](subject, outputs, flush_to_zero=variant.flush_to_zero)
            if message:
                failures.append(Failure(subject.case.id, *place, variant.name, message))
    return failures, verdicts
