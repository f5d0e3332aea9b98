"""The certificate as records: tier, criteria, what blocks the next tier, counts, measured precision. How they come about:
`grade`, and `measured`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .precision import Mode
from .spec import Source, Verdict

__all__ = [
    "TIERS",
    "Accumulator",
    "Blocker",
    "Certificate",
    "Contradiction",
    "Criterion",
    "Measured",
    "Measurement",
    "Missing",
    "Summary",
    "Waived",
    "percent",
]

TIERS = (1, 2, 3)


def percent(share: Fraction | int, places: int = 2) -> str:
    """``"69.99 %"``: rounded down, never up, so that 100 is shown only where it is exact."""
    scale = 10**places
    hundredths = int(share * 100 * scale // 1)
    whole, rest = divmod(hundredths, scale)
    text = f"{whole}.{rest:0{places}d}" if places else str(whole)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _number(value: int | Fraction | None) -> Any:
    """Counts stay integers. A share becomes its exact fraction, as text because numerators outgrow the integers
    that many JSON readers have, with a percentage to show."""
    if isinstance(value, Fraction):
        return {"fraction": f"{value.numerator}/{value.denominator}", "percent": percent(value)}
    return value


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of the certificate.

    ``name``: a stable slug (docs/tiers.md lists them). ``required`` and ``reached``: counts, or shares as exact
    fractions; ``required`` is a floor, or a ceiling where ``at_most``; None, and ``met`` None with it, where the
    tier only reports the figure. ``available``: the most that this plan could give, where that is a question.
    ``detail``: a sentence for people. ``items``: what falls short (operators, dtypes, models, cases), in order.
    """

    tier: int
    name: str
    required: int | Fraction | None
    reached: int | Fraction | None
    met: bool | None
    at_most: bool = False
    available: int | None = None
    detail: str = ""
    items: tuple[str, ...] = ()

    @property
    def short(self) -> bool:
        """The plan itself is too small for what is asked."""
        return self.available is not None and isinstance(self.required, int) and self.available < self.required

    @property
    def met_as_far_as_asked(self) -> bool:
        """Met, reported only, or short with all that the plan has (never of nothing)."""
        if self.met is not False:
            return True
        return self.short and self.reached is not None and self.reached >= (self.available or 0) > 0

    def as_json(self) -> dict[str, Any]:
        return {
            "tier": self.tier,
            "name": self.name,
            "required": _number(self.required),
            "reached": _number(self.reached),
            "met": self.met,
            "at_most": self.at_most,
            "available": self.available,
            "detail": self.detail,
            "items": list(self.items),
        }


@dataclass(frozen=True, slots=True)
class Missing:
    """Where the suite is smaller than a tier asks for: no backend can be given that tier."""

    tier: int
    name: str
    required: int
    available: int

    def as_json(self) -> dict[str, Any]:
        return {
            "tier": self.tier,
            "name": self.name,
            "required": self.required,
            "available": self.available,
        }


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something to fix: an operator in one dtype, or (``operator`` None) a block or whole model whose nodes pass.

    ``unlocks``: the models that would be whole if this alone were fixed. ``models``: all models that it breaks.
    ``weight``: the operator's mean share of the models' nodes. ``verdicts``: the failing cases by verdict.
    """

    what: str
    operator: str | None
    domain: str
    dtype: str
    weight: Fraction
    unlocks: tuple[str, ...]
    models: tuple[str, ...]
    verdicts: Mapping[Verdict, int]
    cases: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "operator": self.operator,
            "domain": self.domain,
            "dtype": self.dtype,
            "weight": _number(self.weight),
            "unlocks_models": list(self.unlocks),
            "models": list(self.models),
            "verdicts": {str(verdict): count for verdict, count in self.verdicts.items()},
            "cases": list(self.cases),
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts that add up to the plan, and both coverages (exact shares of trusted operators), at ``tier``.

    ``vectors``: the verdicts on ONNX's published vectors, which are in no other figure here; ``further``: those on the
    models that the user brought, likewise.
    """

    verdicts: Mapping[Source, Mapping[Verdict, int]]
    tier: int
    coverage: Fraction
    weighted_coverage: Fraction
    operators_trusted: int
    operators: int
    models_whole: int
    models: int
    vectors: Mapping[Verdict, int] = field(default_factory=dict)
    further: Mapping[Verdict, int] = field(default_factory=dict)

    @property
    def planned(self) -> int:
        return sum(sum(counts.values()) for counts in self.verdicts.values())

    def count(self, verdict: Verdict) -> int:
        """Cases with this verdict, of all sources."""
        return sum(counts.get(verdict, 0) for counts in self.verdicts.values())

    @property
    def passed(self) -> int:
        return self.count(Verdict.PASS)

    def as_json(self) -> dict[str, Any]:
        beside = {"vectors": self.vectors, "further": self.further}
        return {
            "planned": self.planned,
            "passed": self.passed,
            "verdicts": {
                str(source): {str(verdict): count for verdict, count in counts.items()}
                for source, counts in self.verdicts.items()
            },
            "tier": self.tier,
            "coverage": _number(self.coverage),
            "weighted_coverage": _number(self.weighted_coverage),
            "operators_trusted": self.operators_trusted,
            "operators": self.operators,
            "models_whole": self.models_whole,
            "models": self.models,
            **{name: {str(v): n for v, n in counts.items()} for name, counts in beside.items() if counts},
        }


@dataclass(frozen=True, slots=True)
class Waived:
    """A case whose verdict is waived. It counts against the tier's ceiling and never as a pass."""

    case: str
    verdict: Verdict
    reason: str
    link: str
    expires: str

    def as_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "link": self.link,
            "expires": self.expires,
        }


@dataclass(frozen=True, slots=True)
class Accumulator:
    """``bits``: of the unit roundoff that explains the errors of sums of all lengths; ``format``: whose that is, or ""
    for none of those that hardware has. ``shortest``, ``longest``: the sums' numbers of terms."""

    bits: float
    format: str
    shortest: int
    longest: int

    def as_json(self) -> dict[str, Any]:
        return {"bits": self.bits, "format": self.format, "terms": [self.shortest, self.longest]}


@dataclass(frozen=True, slots=True)
class Measurement:
    """The precision of an operator in one dtype.

    ``cases``: in how many floats were compared that may be off; ``passed``: all of them passed. ``bits``, ``least``: the
    median and the lowest of the cases' effective bits; None where no case had any error. ``mode``: the one that most
    inaccurate cases behave like, None where none is named; ``named``: how many cases these are, of ``inaccurate``.
    ``accumulator``: where sums of several lengths show one. ``declared_mode``, ``declared_accumulator``: as the backend
    has them, "" where it does not. ``extension``: of an operator that belongs to no tier.
    """

    operator: str
    domain: str
    dtype: str
    cases: int
    passed: bool
    bits: float | None
    least: float | None
    mode: Mode | None
    named: int
    inaccurate: int
    accumulator: Accumulator | None
    declared_mode: str = ""
    declared_accumulator: str = ""
    extension: bool = False

    @property
    def label(self) -> str:
        """``Conv``, or ``com.example.Conv`` outside the default domain."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator

    @property
    def behaves_like(self) -> str:
        """The mode, or the dtype itself where all passed; "" for errors that no reduced precision explains."""
        return str(self.mode) if self.mode is not None else self.dtype if self.passed else ""

    def as_json(self) -> dict[str, Any]:
        return {
            "operator": self.operator,
            "domain": self.domain,
            "dtype": self.dtype,
            "cases": self.cases,
            "bits": self.bits,
            "lowest_bits": self.least,
            "behaves_like": self.behaves_like,
            "named": self.named,
            "inaccurate": self.inaccurate,
            "accumulator": None if self.accumulator is None else self.accumulator.as_json(),
            "declared": {"mode": self.declared_mode, "accumulator": self.declared_accumulator},
        }


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A declaration that the measurement contradicts. ``what``: mode, accumulator or flush_to_zero. ``found``: what it
    behaves like; for flush_to_zero the operators that do flush. ``operators``: where; for flush_to_zero those that keep
    subnormal numbers, always or at times."""

    dtype: str
    what: str
    declared: str
    found: Mode | str
    operators: tuple[str, ...]

    def __str__(self) -> str:
        where = ", ".join(self.operators)
        if self.what == "flush_to_zero":
            return f"{self.dtype} flush_to_zero: declared, and done in {self.found}, but not always in {where}"
        return f"{self.dtype} {self.what}: declared {self.declared}, but behaves like {self.found} in {where}"

    def as_json(self) -> dict[str, Any]:
        return {
            "dtype": self.dtype,
            "what": self.what,
            "declared": self.declared,
            "found": str(self.found),
            "operators": list(self.operators),
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """All operators that compute floats, by operator and dtype, and the declarations that do not hold."""

    operators: tuple[Measurement, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "operators": [m.as_json() for m in self.operators],
            "contradictions": [c.as_json() for c in self.contradictions],
        }


@dataclass(frozen=True, slots=True)
class Certificate:
    """The grade.

    ``tier``: 0 to 3. ``complete``: nothing was filtered and every planned case has a verdict; if not, the tier
    is 0. ``provisional_tier``: a higher tier all of whose criteria are met as far as the suite can ask, held
    back only because the suite is too small; None where there is none. ``missing``: where it is too small.
    ``dtypes``: for each tier the floating dtypes that it was judged in. ``blockers``: for the next tier, first
    things first. ``waiver_errors``: waivers that match nothing, have expired or cover a passing case.
    ``sensitivity``: how much the suite was measured to see, as the run recorded it. ``measured``: the precision of the
    operators, which no tier asks for but where it contradicts what the backend declares.
    """

    tier: int
    complete: bool
    criteria: tuple[Criterion, ...]
    blockers: tuple[Blocker, ...]
    summary: Summary
    suite: Mapping[str, Any]
    backend: Mapping[str, Any]
    provisional_tier: int | None = None
    missing: tuple[Missing, ...] = ()
    dtypes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    waived: tuple[Waived, ...] = ()
    waiver_errors: tuple[str, ...] = ()
    track: str = "inference"
    sensitivity: Mapping[str, Any] = field(default_factory=dict)
    measured: Measured = field(default_factory=Measured)

    @property
    def provisional(self) -> bool:
        return self.provisional_tier is not None

    def of_tier(self, tier: int) -> tuple[Criterion, ...]:
        """The criteria of one tier, in the order of docs/tiers.md."""
        return tuple(criterion for criterion in self.criteria if criterion.tier == tier)

    def as_json(self) -> dict[str, Any]:
        """The content of certificate.json (docs/schemas/certificate.schema.json)."""
        return {
            "format": 1,
            "tier": self.tier,
            "track": self.track,
            "complete": self.complete,
            "provisional": self.provisional,
            "provisional_tier": self.provisional_tier,
            "missing": [missing.as_json() for missing in self.missing],
            "criteria": [criterion.as_json() for criterion in self.criteria],
            "dtypes": {str(tier): list(dtypes) for tier, dtypes in self.dtypes.items()},
            "blockers": [blocker.as_json() for blocker in self.blockers],
            "summary": self.summary.as_json(),
            "waivers": {
                "waived": [waived.as_json() for waived in self.waived],
                "errors": list(self.waiver_errors),
            },
            "suite": dict(self.suite),
            "sensitivity": dict(self.sensitivity) or None,
            "precision": self.measured.as_json(),
            "backend": dict(self.backend),
        }
