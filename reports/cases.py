"""Cases as the report shows them: what came of each, how far off it was, and what reproduces it."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..runfolder import PlannedCase, Result, RunFolder
from ..spec import FURTHER, Source, Verdict
from .tally import SEVERITY

__all__ = ["CaseView", "Reproduce", "case_view", "label", "real", "strings", "worst"]


# What a run is of, by its key in the evidence, where that is not what the command line has by itself.
_SUITE = (("name", "--suite", "standard"), ("opset", "--opset", 21), ("seed", "--seed", 0))


def _given(command: Sequence[str]) -> dict[str, str]:
    """The options of a command line with one value each, ``--flag value`` and ``--flag=value`` alike."""
    given = {}
    for word, after in itertools.pairwise((*command, "")):
        flag, separator, value = word.partition("=")
        given["--output" if flag == "-o" else flag] = value if separator else after
    return given


@dataclass(frozen=True, slots=True)
class Reproduce:
    """How a case of this run is run again: the folder as the run named it, and the start of the command, for one of
    the suite, for one of ONNX's vectors and for one of the user's models."""

    folder: str
    run: str
    vectors: str
    further: str

    @classmethod
    def of(cls, run: RunFolder) -> Reproduce:
        given = _given(strings(run.run.get("command")))
        folder = given.get("--output") or (run.path.name if run.path is not None else "DIR")
        backend = run.backend
        parts = ["conformance", "run", str(backend.get("spec") or backend.get("name") or "BACKEND")]
        options = backend.get("options")
        for key, value in options.items() if isinstance(options, Mapping) else ():
            parts += ["--option", f"{key}={value}"]
        ends = []
        for suite in (run.suite, {**run.suite, "name": "vectors"}, {**run.suite, "name": "models-from"}):
            end = [
                w for k, flag, default in _SUITE if suite.get(k, default) != default for w in (flag, str(suite[k]))
            ]
            ends.append(end)
        if run.plan.further is not None:
            ends[-1] += [w for place in run.plan.further.of for w in ("--models-from", place)]
        same = [w for flag in ("--python", "--timeout", "--memory") if flag in given for w in (flag, given[flag])]
        return cls(folder, *(shlex.join([*parts, *end, *same]) for end in ends))

    def commands(self, case: PlannedCase) -> tuple[str, ...]:
        """Export the case as files that need nothing of this project; run its operator or model, or the vector
        itself, again."""
        start, only = self.run, ["--operator", label(case.domain, case.operator), "--dtype", case.dtype]
        if case.source is Source.VECTOR:
            start, only = self.vectors, ["--vectors", case.case.removeprefix("vectors/")]
        elif case.source is not Source.OPERATOR:
            start, only = self.further if FURTHER in case.tags else self.run, ["--model", case.model or ""]
        export = ["conformance", "export", self.folder, case.case, "-o", "reproduction"]
        return shlex.join(export), f"{start} {shlex.join([*only, '-o', 'again'])}"


@dataclass(frozen=True, slots=True)
class CaseView:
    """A planned case and what came of it. ``number``: its place in the plan. ``units``: its largest error in
    units of the bound; None where no float was compared. ``commands``: what reproduces it, in a shell. ``further``: it
    is of a model that the user brought."""

    number: int
    id: str
    operator: str
    dtype: str
    source: Source
    model: str | None
    family: str
    verdict: Verdict
    message: str
    error: Mapping[str, Any]
    units: float | None
    repeat: str
    log: str
    after: str | None
    commands: tuple[str, ...] = ()
    further: bool = False


def strings(value: Any) -> list[str]:
    """The items of a list as text; nothing where the evidence has no list."""
    return [str(item) for item in value] if isinstance(value, list) else []


def real(value: Any) -> float | None:
    """A number as evidence may hold it; text such as "nan" or "inf" too, and None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def label(domain: str, operator: str) -> str:
    """``Conv``, or ``com.example.Conv`` outside the default domain."""
    return f"{domain}.{operator}" if domain else operator


def case_view(number: int, planned: PlannedCase, result: Result, reproduce: Reproduce) -> CaseView:
    """A planned case with its result."""
    return CaseView(
        number=number,
        id=planned.case,
        operator=label(planned.domain, planned.operator),
        dtype=planned.dtype,
        source=planned.source,
        model=planned.model,
        family=planned.family,
        verdict=result.verdict,
        message=result.message,
        error=result.error,
        units=real(result.error.get("units")),
        repeat=result.repeat,
        log=result.log,
        after=result.after,
        commands=reproduce.commands(planned),
        further=FURTHER in planned.tags,
    )


def worst(cases: Iterable[CaseView]) -> tuple[list[CaseView], list[CaseView], list[CaseView]]:
    """Cases beyond their bound, the furthest first; one of each other failure, the gravest first; and, of those
    within their bound, the ten closest to it."""
    beyond, within = [], []
    others: dict[tuple[Verdict, str, str], CaseView] = {}
    for case in cases:
        far = case.units is not None and (math.isnan(case.units) or case.units > 1)
        if case.verdict is Verdict.PASS:
            if case.units is not None and not far:
                within.append(case)
        elif far:
            beyond.append(case)
        elif case.verdict not in (Verdict.UNSUPPORTED, Verdict.NOT_RUN):
            others.setdefault((case.verdict, case.operator, case.dtype), case)

    def distance(case: CaseView) -> float:
        units = case.units or 0.0
        return math.inf if math.isnan(units) else units

    beyond.sort(key=distance, reverse=True)
    within.sort(key=distance, reverse=True)
    rest = sorted(others.values(), key=lambda case: SEVERITY.index(case.verdict))
    return beyond, rest, within[:10]
