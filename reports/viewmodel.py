"""What the certification report shows, as plain records: every number is decided here, nothing of its markup.

Texts that people read are left to the language; what comes from a run stays as the evidence has it.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..certificate import Blocker, Certificate, Contradiction, Measurement, Missing, Summary, Waived
from ..dtypes import BOOL, DTYPES, FLOATS, SIGNED, UNSIGNED
from ..runfolder import PlannedFurther, PlannedModel, PlannedOperator, PlannedVectors, RunFolder
from ..spec import PUBLISHED, Source, Verdict, of_suite
from .cases import CaseView, Reproduce, case_view, label, real, strings, worst
from .criteria import CriterionView, TierView, tier_views
from .distribution import Distribution, distribution
from .tally import SEVERITY, Tally

__all__ = [
    "BlockerView",
    "BroughtView",
    "Cell",
    "FamilyView",
    "FurtherView",
    "ModelView",
    "NodeView",
    "OperatorView",
    "Page",
    "UnsupportedView",
    "VectorsView",
    "WaivedView",
    "page",
]

WORST = 20  # cases furthest outside their bound, and as many of the other failures
LONG_NAME = 28  # characters: a longer name than that is set smaller, or it would fill the certificate
LISTED_BESIDE = (
    100  # vectors of each verdict, with message and commands: a page in which all fail stays under 4 MB
)
LISTED = 30  # failing nodes named under a model's strip; the page says how many more there are


@dataclass(frozen=True, slots=True)
class Cell:
    """All cases of one operator in one dtype, from the catalogue and from models' nodes."""

    dtype: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class OperatorView:
    """A row of the heatmap; one cell for each column, None where nothing was planned."""

    label: str
    family: str
    rule: str
    core: bool
    common: bool
    extension: bool
    tally: Tally
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class FamilyView:
    """The operators of a family."""

    name: str
    operators: tuple[OperatorView, ...]

    @property
    def tally(self) -> Tally:
        return sum((operator.tally for operator in self.operators), Tally())


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of a strip. ``number``: its case's; None, and ``verdict`` None, where the case was not selected."""

    name: str
    operator: str
    number: int | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class ModelView:
    """A reference model. ``whole``: every node, every block and the run from end to end pass."""

    name: str
    domain: str
    parameters: int
    nodes: tuple[NodeView, ...]
    tally: Tally
    blocks: Tally
    end_to_end: Verdict | None
    end_to_end_units: float | None
    whole: bool
    failing: tuple[tuple[NodeView, CaseView], ...]
    more_failing: int

    @property
    def gravest(self) -> Verdict:
        """The gravest verdict among nodes, blocks and the run from end to end."""
        end = Tally.of([self.end_to_end]) if self.end_to_end is not None else Tally()
        return (self.tally + self.blocks + end).gravest


@dataclass(frozen=True, slots=True)
class BlockerView:
    """A line of the fix-first list. ``operator``: its label, with the domain. ``examples``: at most three cases."""

    blocker: Blocker
    operator: str
    tally: Tally
    examples: tuple[CaseView, ...]


@dataclass(frozen=True, slots=True)
class WaivedView:
    """A waived case; ``href`` only where the link is one that a browser may follow."""

    waived: Waived
    href: str | None


@dataclass(frozen=True, slots=True)
class UnsupportedView:
    """What the backend declined, by operator. ``message``: the first it gave."""

    operator: str
    dtypes: tuple[str, ...]
    count: int
    planned: int
    message: str


@dataclass(frozen=True, slots=True)
class VectorsView:
    """ONNX's published vectors. ``of``: whose. ``similar``: how many ONNX's own tolerance accepts. ``published``:
    those that are held against their published outputs. ``failing``: those that did not pass, by verdict, and how many
    more of it there are. ``unjudged``: the names of those that can have no verdict, by the reason."""

    of: str
    tally: Tally
    similar: int
    defined: Tally
    published: Tally
    failing: tuple[tuple[Verdict, tuple[CaseView, ...], int], ...]
    unjudged: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class BroughtView:
    """A model that the user brought. ``opset``: the file's own, ``shown_opset`` that of what the backend was shown.
    ``lengths``: the inputs with symbolic dimensions and the shapes chosen. ``unjudged``: how many of its pieces can have
    no verdict."""

    model: ModelView
    origin: str
    opset: int
    shown_opset: int
    lengths: tuple[tuple[str, str], ...]
    unjudged: int


@dataclass(frozen=True, slots=True)
class FurtherView:
    """The models that the user brought. ``failing`` and ``unjudged`` as in `VectorsView`."""

    tally: Tally
    models: tuple[BroughtView, ...]
    failing: tuple[tuple[Verdict, tuple[CaseView, ...], int], ...]
    unjudged: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def whole(self) -> int:
        return sum(brought.model.whole and not brought.unjudged for brought in self.models)


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report. ``tally``: of the suite's cases; ``planned``: of all, ``vectors`` and ``further`` included. ``declared``, ``environment``: (name, value) pairs, nested names joined with a dot."""

    backend: str
    version: str
    device: str
    certificate: Certificate
    summary: Summary
    suite: Mapping[str, Any]
    digest: str
    started: str
    finished: str | None
    seconds: float
    command: str
    declared: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    tally: Tally
    planned: Tally
    sources: tuple[tuple[str, Tally], ...]
    first_failing: CriterionView | None
    tiers: tuple[TierView, ...]
    missing: tuple[Missing, ...]
    blockers: tuple[BlockerView, ...]
    dtypes: tuple[str, ...]
    families: tuple[FamilyView, ...]
    models: tuple[ModelView, ...]
    distributions: tuple[Distribution, ...]
    precision: tuple[Measurement, ...]
    contradictions: tuple[Contradiction, ...]
    furthest: tuple[CaseView, ...]
    more_furthest: int
    failures: tuple[CaseView, ...]
    more_failures: int
    closest: tuple[CaseView, ...]
    vectors: VectorsView | None
    further: FurtherView | None
    waived: tuple[WaivedView, ...]
    waiver_errors: tuple[str, ...]
    unsupported: tuple[UnsupportedView, ...]
    cases: tuple[CaseView, ...]
    reproduce: Reproduce

    @property
    def long_name(self) -> bool:
        return len(self.backend) > LONG_NAME

    @property
    def not_run(self) -> int:
        return self.planned[Verdict.NOT_RUN]

    @property
    def selected(self) -> bool:
        """The plan is the whole suite, not a part that somebody picked."""
        return self.suite.get("complete") is True

    @property
    def without_suite(self) -> bool:
        """Nothing of the suite itself was planned."""
        return not self.tally.total and (self.vectors is not None or self.further is not None)

    @property
    def clean_operators(self) -> int:
        return sum(operator.tally.clean for family in self.families for operator in family.operators)

    @property
    def operators(self) -> int:
        return sum(len(family.operators) for family in self.families)


def page(run: RunFolder, certificate: Certificate) -> Page:
    """The report of a run and its grade. Pure: reads nothing else."""
    reproduce = Reproduce.of(run)
    cases = tuple(
        case_view(number, planned, run.results[planned.case], reproduce)
        for number, planned in enumerate(run.plan.cases.values())
    )
    by_id = {case.id: case for case in cases}
    suite = tuple(case for case in cases if of_suite(case.source, run.plan.cases[case.id].tags))
    further = tuple(case for case in cases if case.further)
    dtypes = _columns(suite)
    furthest, failures, closest = worst(suite)
    tiers, first = tier_views(certificate)
    backend, header = run.backend, run.run
    return Page(
        backend=str(backend.get("name") or backend.get("spec") or "—"),
        version=str(backend.get("version") or ""),
        device=str(backend.get("device") or ""),
        certificate=certificate,
        summary=certificate.summary,
        suite=run.suite,
        digest=str(run.suite.get("digest", "")),
        started=_moment(header.get("started")) or "—",
        finished=_moment(header.get("finished")),
        seconds=real(header.get("seconds")) or 0.0,
        command=_command(header.get("command")),
        declared=tuple(_pairs(backend)),
        environment=tuple(_pairs(header.get("environment") or {})),
        tally=Tally.of(case.verdict for case in suite),
        planned=Tally.of(case.verdict for case in cases),
        sources=(
            *((s, Tally.of(c.verdict for c in cases if c.source is s and not c.further)) for s in Source),
            ("further", Tally.of(case.verdict for case in further)),
        ),
        first_failing=first,
        tiers=tiers,
        missing=certificate.missing,
        blockers=tuple(_blocker(blocker, by_id) for blocker in certificate.blockers),
        dtypes=dtypes,
        families=_families(run, suite, dtypes),
        models=tuple(_model(model, by_id) for model in run.plan.models),
        distributions=_distributions(suite),
        # What behaves like another precision first, then what nothing explains.
        precision=tuple(sorted(certificate.measured.operators, key=lambda m: (m.mode is None, m.passed))),
        contradictions=certificate.measured.contradictions,
        furthest=tuple(furthest[:WORST]),
        more_furthest=max(0, len(furthest) - WORST),
        failures=tuple(failures[:WORST]),
        more_failures=max(0, len(failures) - WORST),
        closest=tuple(closest),
        vectors=_vectors(run, cases),
        further=_further(run, further, by_id),
        waived=tuple(WaivedView(w, w.link if _safe(w.link) else None) for w in certificate.waived),
        waiver_errors=certificate.waiver_errors,
        unsupported=_unsupported(suite),
        cases=cases,
        reproduce=reproduce,
    )


def _command(value: Any) -> str:
    return value if isinstance(value, str) else shlex.join(strings(value))


def _moment(value: Any) -> str | None:
    """A time to the minute, in UTC; text that is no ISO time stays as it is."""
    if not value:
        return None
    try:
        moment = datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return str(value)
    if moment.tzinfo is None:
        return f"{moment:%Y-%m-%d %H:%M}"
    return f"{moment.astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"


def _columns(cases: Iterable[CaseView]) -> tuple[str, ...]:
    """The dtypes that occur: floats first, widest use first; then integers, then the rest."""
    used = {case.dtype for case in cases if case.source in (Source.OPERATOR, Source.MODEL)}
    first = (*FLOATS, *SIGNED, *UNSIGNED, *BOOL)
    known = [*first, *(name for name in DTYPES if name not in first)]
    return tuple(d for d in known if d in used) + tuple(sorted(used - set(known)))


def _families(run: RunFolder, cases: Sequence[CaseView], dtypes: Sequence[str]) -> tuple[FamilyView, ...]:
    found: dict[str, dict[str, list[Verdict]]] = {}
    for case in cases:
        if case.source in (Source.OPERATOR, Source.MODEL):
            found.setdefault(case.operator, {}).setdefault(case.dtype, []).append(case.verdict)
    rows: dict[str, list[OperatorView]] = {}
    listed = {operator.label for operator in run.plan.operators}
    others = {  # in a model, but not in the plan's list: nothing that ran may vanish from the page
        case.operator: PlannedOperator(case.operator, "", case.family)
        for case in cases
        if case.operator in found and case.operator not in listed
    }
    for operator in (*run.plan.operators, *others.values()):
        tallies = {dtype: Tally.of(verdicts) for dtype, verdicts in found.get(operator.label, {}).items()}
        cells = tuple(Cell(d, tallies[d]) if d in tallies else None for d in dtypes)
        rows.setdefault(operator.family, []).append(
            OperatorView(
                label=operator.label,
                family=operator.family,
                rule=operator.rule,
                core=operator.core,
                common=operator.common,
                extension=operator.extension,
                tally=sum(tallies.values(), Tally()),
                cells=cells,
            )
        )
    return tuple(
        FamilyView(name, tuple(sorted(operators, key=lambda o: o.label)))
        # What no tier counts comes last.
        for name, operators in sorted(rows.items(), key=lambda item: (all(o.extension for o in item[1]), item[0]))
    )


def _model(model: PlannedModel, by_id: Mapping[str, CaseView]) -> ModelView:
    def node(name: str, operator: str, case: CaseView | None) -> NodeView:
        if case is None:
            return NodeView(name, operator, None, None)
        return NodeView(name, operator, case.number, case.verdict)

    pairs = [(planned, by_id.get(planned.case)) for planned in model.nodes]
    nodes = tuple(node(planned.name, planned.operator, case) for planned, case in pairs)
    failing = [
        (view, case)
        for view, (_, case) in zip(nodes, pairs, strict=True)
        if case is not None and case.verdict is not Verdict.PASS
    ]
    blocks = [by_id[name].verdict for name in model.blocks if name in by_id]
    end = by_id.get(model.end_to_end or "")
    planned_all = all(name in by_id for name in model.cases)
    return ModelView(
        name=model.name,
        domain=model.domain,
        parameters=model.parameters,
        nodes=nodes,
        tally=Tally.of(view.verdict for view in nodes if view.verdict is not None),
        blocks=Tally.of(blocks),
        end_to_end=end.verdict if end is not None else None,
        end_to_end_units=end.units if end is not None else None,
        whole=planned_all and bool(model.cases) and all(by_id[n].verdict is Verdict.PASS for n in model.cases),
        failing=tuple(failing[:LISTED]),
        more_failing=max(0, len(failing) - LISTED),
    )


def _distributions(cases: Iterable[CaseView]) -> tuple[Distribution, ...]:
    errors: dict[str, list[float]] = {}
    for case in cases:
        if case.units is not None:
            errors.setdefault(case.family, []).append(case.units)
    return tuple(distribution(family, units) for family, units in sorted(errors.items()))


def _blocker(blocker: Blocker, by_id: Mapping[str, CaseView]) -> BlockerView:
    examples = [by_id[case] for case in blocker.cases[:3] if case in by_id]
    name = label(blocker.domain, blocker.operator or blocker.what)
    return BlockerView(blocker, name, Tally(blocker.verdicts), tuple(examples))


def _safe(link: str) -> bool:
    """A link that a reader may follow; ``javascript:`` and the like are shown as text."""
    return link.startswith(("https://", "http://"))


def _unsupported(cases: Iterable[CaseView]) -> tuple[UnsupportedView, ...]:
    declined: dict[str, list[CaseView]] = {}
    planned: dict[str, int] = {}
    for case in cases:
        planned[case.operator] = planned.get(case.operator, 0) + 1
        if case.verdict is Verdict.UNSUPPORTED:
            declined.setdefault(case.operator, []).append(case)
    views = [
        UnsupportedView(
            operator, tuple(sorted({c.dtype for c in found})), len(found), planned[operator], found[0].message
        )
        for operator, found in declined.items()
    ]
    return tuple(sorted(views, key=lambda view: (-view.count, view.operator)))


def _vectors(run: RunFolder, cases: Iterable[CaseView]) -> VectorsView | None:
    found = [case for case in cases if case.source is Source.VECTOR]
    if not found and run.plan.vectors is None:
        return None
    planned = run.plan.vectors or PlannedVectors("ONNX")
    tagged = [(PUBLISHED in run.plan.cases[case.id].tags, case.verdict) for case in found]
    return VectorsView(
        of=planned.of,
        tally=Tally.of(case.verdict for case in found),
        similar=sum(case.error.get("similar") is True for case in found),
        defined=Tally.of(verdict for published, verdict in tagged if not published),
        published=Tally.of(verdict for published, verdict in tagged if published),
        failing=_failing(found),
        unjudged=tuple(planned.unjudged.items()),
    )


def _failing(cases: Iterable[CaseView]) -> tuple[tuple[Verdict, tuple[CaseView, ...], int], ...]:
    """What did not pass, by verdict: the first of it, and how many more there are."""
    by_verdict: dict[Verdict, list[CaseView]] = {}
    for case in cases:
        by_verdict.setdefault(case.verdict, []).append(case)
    return tuple(
        (v, tuple(by_verdict[v][:LISTED_BESIDE]), max(0, len(by_verdict[v]) - LISTED_BESIDE))
        for v in SEVERITY
        if v in by_verdict and v is not Verdict.PASS
    )


def _further(run: RunFolder, cases: Sequence[CaseView], by_id: Mapping[str, CaseView]) -> FurtherView | None:
    planned = run.plan.further
    if planned is None:
        return None
    unjudged: dict[str, tuple[str, ...]] = {}
    for brought in planned.models:
        for reason, names in brought.unjudged.items():
            unjudged[reason] = (*unjudged.get(reason, ()), *names)
    return FurtherView(
        tally=Tally.of(case.verdict for case in cases),
        models=tuple(_brought(brought, by_id) for brought in planned.models),
        failing=_failing(cases),
        unjudged=tuple(unjudged.items()),
    )


def _brought(planned: PlannedFurther, by_id: Mapping[str, CaseView]) -> BroughtView:
    return BroughtView(
        model=_model(planned.model, by_id),
        origin=planned.origin,
        opset=planned.opset,
        shown_opset=planned.shown_opset,
        lengths=tuple(planned.lengths.items()),
        unjudged=sum(map(len, planned.unjudged.values())),
    )


def _pairs(data: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested data as (dotted name, text) pairs."""
    for key, value in data.items() if isinstance(data, Mapping) else ():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _pairs(value, f"{name}.")
        elif isinstance(value, list):
            yield name, ", ".join(str(item) for item in value) or "—"
        else:
            yield name, "—" if value in (None, "", {}) else str(value)
