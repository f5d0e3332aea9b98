"""Whether verdicts hang on the seed: the same cases with other inputs, and a correct engine's chance of failing on fresh ones.

The cases whose inputs are drawn and whose results may be off run through a backend with one seed after another. What
changes its verdict is listed; from how far the errors of all others stay below their bounds, and how these scatter, the
chance is estimated that a seed not tried yet fails one (docs/stability.md says how).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .casework import Casework
from .errors import UsageError
from .operators import catalogue
from .plan import Plan, Selection, build_plan, samples_of
from .pool import Launch, Pool
from .rules import Accumulation, Composite, Elementary, Random, Requantised, Rounded
from .run import judge_one, refusal_to_start
from .spec import Case, Source, Verdict

__all__ = ["Chance", "Stability", "Track", "chances", "measure", "tail"]

# The rules whose outputs may be off or are drawn, from what scatters least to what scatters most.
RULES = (
    (Rounded, "rounded"),
    (Requantised, "requantised"),
    (Elementary, "elementary"),
    (Accumulation, "accumulation"),
    (Composite, "composite"),
    (Random, "random"),
)
# Errors of these scatter with the inputs without an end that the rule would set.
SCATTERING = ("accumulation", "composite")
# Seeds from which the scatter of a case is known well enough to be used at all.
FEWEST = 5
# Cases are alike that have one rule and about as many elements; in groups of at least so many.
SIZES = (32, 512)
ALIKE = 5
# A scatter below this share of the bound is taken for it: nothing hangs on how small it is.
LITTLE = 0.02
# Shares of all excesses that the tail is fitted to; the largest chance counts.
TAILS = (0.05, 0.02, 0.01)
# Of a statistical test of random numbers.
FALSE_ALARM = 1e-9


@dataclass(frozen=True, slots=True)
class Track:
    """A case through all seeds. ``units``: its largest error in units of the bound, None where none was measured.
    ``elements``: of its largest output. ``mean_square``: the largest that its ensemble test had, in units of the limit;
    None without one."""

    case: str
    operator: str
    dtype: str
    rule: str
    verdicts: tuple[Verdict, ...]
    units: tuple[float | None, ...]
    messages: tuple[str, ...]
    elements: int
    mean_square: float | None

    @property
    def changes(self) -> bool:
        return len(set(self.verdicts)) > 1

    @property
    def passes(self) -> bool:
        return set(self.verdicts) == {Verdict.PASS}


@dataclass(frozen=True, slots=True)
class Chance:
    """Of cases of one rule: how many, the largest error seen, and how many cases a fresh seed is expected to fail, from
    the tail of their errors (None where the rule sets an end to these) and from tests with a derived rate."""

    rule: str
    cases: int
    largest: float
    by_tail: float | None
    by_tests: float

    @property
    def expected(self) -> float:
        return (self.by_tail or 0.0) + self.by_tests


@dataclass(frozen=True, slots=True)
class Stability:
    """``planned``: how many cases of each rule the suite has, of which ``tracks`` are those that ran."""

    suite: Mapping[str, Any]
    backend: Mapping[str, Any]
    seeds: tuple[int, ...]
    planned: Mapping[str, int]
    tracks: tuple[Track, ...]

    def sound(self) -> tuple[Track, ...]:
        """The cases that pass with every seed, of operators without a case that was inaccurate or wrong with any: where
        an engine is wrong now and then, its errors say nothing of a correct one."""
        faulty = {t.operator for t in self.tracks if {Verdict.INACCURATE, Verdict.WRONG} & set(t.verdicts)}
        return tuple(t for t in self.tracks if t.passes and t.operator not in faulty)

    def chances(self) -> tuple[Chance, ...]:
        """By rule, for the sound cases."""
        return chances(self.sound())

    def expected(self) -> float:
        """How many cases of the suite a fresh seed is expected to fail for an engine like this one: what the sound cases
        came to, for as many as are planned. No smaller than the chance that any fails."""
        ran = Counter(t.rule for t in self.sound())
        return sum(c.expected * max(1.0, self.planned.get(c.rule, 0) / ran[c.rule]) for c in self.chances())


def measure(
    launch: Launch,
    selection: Selection,
    seeds: Sequence[int],
    sample: int | None = None,
    jobs: int = 1,
    timeout: float = 60.0,
    progress: Callable[[int], None] = lambda seed: None,
) -> Stability:
    """Run the selection with each seed. ``sample``: at most so many cases of each operator and dtype, evenly spread.

    References are made in a folder that is thrown away. Models run only where the selection names them. Raises
    ``UsageError`` for a backend that does not start, and a selection without such a case.
    """
    plan = build_plan(selection)
    cases = {c.id: rule for c in plan.cases if (rule := _rule(c, selection))}
    if not cases:
        raise UsageError("the selection has no case whose result may be off")
    chosen = _sampled([c for c in plan.cases if c.id in cases], sample)
    part = replace(plan, cases=tuple(chosen))
    found: list[dict[str, _Outcome]] = []
    with ProcessPoolExecutor(jobs, get_context("fork"), _begin, (part, launch, timeout)) as pool:
        described = pool.submit(_describe).result()
        if reason := refusal_to_start(launch.spec, described):
            raise UsageError(reason)
        for seed, outcomes in zip(seeds, pool.map(_seed, seeds), strict=True):
            found.append(outcomes)
            progress(seed)
    tracks = tuple(
        Track(
            case=case.id,
            operator=f"{case.domain}.{case.operator}" if case.domain else case.operator,
            dtype=case.dtype,
            rule=cases[case.id],
            verdicts=tuple(one[case.id].verdict for one in found),
            units=tuple(one[case.id].units for one in found),
            messages=tuple(one[case.id].message for one in found),
            elements=max(one[case.id].elements for one in found),
            mean_square=max((m for one in found if (m := one[case.id].mean_square) is not None), default=None),
        )
        for case in chosen
    )
    return Stability(plan.suite(), described, tuple(seeds), Counter(cases.values()), tracks)


def _rule(case: Case, selection: Selection) -> str:
    """The rule that gives a case's outputs most room, by its name; "" where nothing that is drawn may be off."""
    if "refuse" in case.tags or case.source is Source.VECTOR:
        return ""
    if case.source in (Source.BLOCK, Source.END_TO_END):
        return "composite" if selection.models else ""
    operator = catalogue().get((case.domain, case.operator))
    if operator is None or operator.meaning is None or (case.source is Source.MODEL and not selection.models):
        return ""
    if case.source is Source.OPERATOR and samples_of(operator)[case.index].exact:
        return ""
    named = [name for kind, name in RULES if any(isinstance(rule, kind) for rule in operator.rules)]
    floats = case.dtype.startswith(("float", "bfloat", "complex")) or "requantised" in named
    return named[-1] if named and floats else ""


def _sampled(cases: Sequence[Case], sample: int | None) -> list[Case]:
    if sample is None:
        return list(cases)
    groups: dict[tuple[str, str, str, str | None], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.domain, case.operator, case.dtype, case.model), []).append(case)
    kept = {g[i * len(g) // n].id for g in groups.values() for n in [min(sample, len(g))] for i in range(n)}
    return [case for case in cases if case.id in kept]


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: Verdict
    units: float | None
    elements: int
    mean_square: float | None
    message: str


_SHARED: dict[str, Any] = {}


def _begin(plan: Plan, launch: Launch, timeout: float) -> None:
    import torch

    torch.set_num_threads(1)
    _SHARED.update(plan=plan, launch=launch, timeout=timeout)


def _describe() -> dict[str, Any]:
    with Pool(_SHARED["launch"]) as pool:
        return pool.describe()


def _seed(seed: int) -> dict[str, _Outcome]:
    """Every case with the inputs of a seed."""
    plan: Plan = _SHARED["plan"]
    plan = replace(plan, selection=replace(plan.selection, seed=seed))
    found = {}
    with (
        TemporaryDirectory() as cache,
        Pool(_SHARED["launch"]) as pool,
        Casework(plan, Path(cache)) as casework,
    ):
        described = pool.describe()
        for ready in casework.ready(lambda case: False):
            judgement = judge_one(pool, ready, ready.case, described, _SHARED["timeout"], runs=1)
            error = judgement.error
            found[ready.case.id] = _Outcome(
                judgement.verdict,
                error.get("units"),
                error.get("elements") or 0,
                error.get("mean_square"),
                judgement.message,
            )
    return found


# --- What the errors say of a seed that was not tried --------------------------------------------------------


def chances(tracks: Sequence[Track]) -> tuple[Chance, ...]:
    """By rule, over cases that passed with every seed."""
    found = []
    for _, rule in RULES:
        own = [t for t in tracks if t.rule == rule]
        if not own:
            continue
        by_tail = _by_tail(own) if rule in SCATTERING else None
        by_tests = sum(_by_ensemble(t.mean_square) for t in own if t.mean_square is not None)
        if rule == "random":
            by_tests += FALSE_ALARM * len(own)
        largest = max((u for t in own for u in t.units if u is not None), default=0.0)
        found.append(Chance(rule, len(own), largest, by_tail, by_tests))
    return tuple(found)


def _by_tail(tracks: Iterable[Track]) -> float:
    """Expected number of cases beyond their bound with a fresh seed.

    As in the regional analysis of floods (Hosking & Wallis, 1997): in a group of like cases, the errors have one
    distribution but for each case's own mean and scatter. From the tail of all errors of a group each case's own
    distance, from its mean to its bound, is read.
    """
    groups: dict[int, list[np.ndarray]] = {}
    for t in tracks:
        x = _scattering(t)
        if len(x) >= FEWEST and x.min() < x.max():
            groups.setdefault(sum(t.elements >= size for size in SIZES), []).append(x)
    few = [x for group in groups.values() if len(group) < ALIKE for x in group]
    alike = [group for group in groups.values() if len(group) >= ALIKE]
    if few:  # with all others of the rule
        alike.append([x for group in groups.values() for x in group])
    total = dict.fromkeys(TAILS, 0.0)
    for position, group in enumerate(alike):
        own = few if few and position == len(alike) - 1 else group
        deviations = np.array([_deviation(x[i], np.delete(x, i)) for x in group for i in range(len(x))])
        distances = np.array([_deviation(1.0, x) for x in own])
        for share in TAILS:
            total[share] += float(tail(deviations, share)(distances).sum())
    return max(total.values())


def _deviation(fresh: float, known: np.ndarray) -> float:
    """How far a fresh seed's error is from the mean of the known ones, in deviations: that of a fresh one from a mean
    of n is √(1 + 1/n) times the scatter."""
    scatter = max(float(known.std(ddof=1)), LITTLE) * math.sqrt(1.0 + 1.0 / len(known))
    return (fresh - float(known.mean())) / scatter


def _scattering(track: Track) -> np.ndarray:
    """The errors of a case, over the bound, as far as luck has a part in them. The last rounding of a sum to 16 bits takes
    up to half of its bound at every seed, and leaves the other half to what was added up in float32."""
    x = np.array([u for u in track.units if u is not None])
    last = track.rule == "accumulation" and track.dtype in ("float16", "bfloat16")
    return np.maximum(2.0 * x - 1.0, 0.0) if last else x


def tail(values: np.ndarray, share: float) -> Callable[[np.ndarray], np.ndarray]:
    """The chance of a value beyond x, by peaks over a threshold: a generalised Pareto distribution fitted to the upper
    ``share`` of the values by probability-weighted moments (Hosking & Wallis, Technometrics 29, 1987), with no upper
    end even where the fit has one; below the threshold, the share that was seen there or beyond.

    ``values``: at least two of them. Returns a function of an array of any shape.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = min(max(2, round(share * len(ordered))), len(ordered) - 1)
    threshold = float(ordered[-count - 1])
    peaks = ordered[-count:] - threshold
    mean = float(peaks.mean())
    weighted = float((peaks * (1.0 - (np.arange(1, count + 1) - 0.35) / count)).mean())
    shape, scale = 0.0, mean
    if mean > 2.0 * weighted:
        shape = 2.0 - mean / (mean - 2.0 * weighted)
        scale = 2.0 * mean * weighted / (mean - 2.0 * weighted)
    if shape <= 0.0:  # an exponential tail
        shape, scale = 0.0, mean

    def beyond(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=np.float64)
        seen = 1.0 - np.searchsorted(ordered, x, side="left") / len(ordered)
        above = np.maximum(x - threshold, 0.0) / max(scale, 1e-300)
        fitted = np.exp(-above) if shape == 0.0 else (1.0 + shape * above) ** (-1.0 / shape)
        return np.where(x > threshold, fitted * (count / len(ordered)), seen)

    return beyond


def _by_ensemble(mean_square: float) -> float:
    """The chance that the ensemble tests of a case fail by luck, if its errors are independent and their mean square
    is this share of the limit: the sum of T errors exceeds √(10 · 1.6 · T) beyond √(10 / share) deviations, and their
    mean square, of a relative deviation of √(2/T), its limit beyond (1/share - 1) · √(T/2), with T at least 1000."""
    if mean_square <= 0.0:
        return 0.0
    lean = math.erfc(math.sqrt(10.0 / mean_square) / math.sqrt(2.0))
    spread = 0.5 * math.erfc((1.0 / mean_square - 1.0) * math.sqrt(1000 / 2) / math.sqrt(2.0))
    return lean + spread
