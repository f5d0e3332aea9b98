"""The plan: operators and models become the ordered, hashed list of cases. It is the denominator of every grade."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import onnx

from . import models
from ._version import __version__
from .cuts import Contents, Piece, Reference, blocks_of, open_model, piece
from .dtypes import lookup
from .errors import UsageError
from .further import PREFIX, File, FurtherModel, find, open_file
from .goldens import default_folder
from .graphs import TYPE_ATTRIBUTES, defaults_of, domain_opset, dtypes_of, has_choice, lookup_name, schema_of
from .operators import catalogue
from .rules import Accumulation, Composite, Elementary, Exact, OrderFree, Random, Requantised, Rounded
from .spec import FURTHER, Case, Operator, Sample, Source, TensorSpec, of_suite
from .vectors import REASONS, Vector, case_of, collect, unjudged
from .versions import as_of

__all__ = [
    "SUITES",
    "FurtherPlan",
    "ModelPlan",
    "Plan",
    "PlannedNode",
    "Selection",
    "build_plan",
    "check",
    "samples_of",
]

# How often each suite runs a case. Tier 3 asks for twenty. The suites "vectors" and "models-from" have nothing of their
# own: ONNX's published vectors alone, the user's models alone.
SUITES = {"smoke": 2, "standard": 2, "full": 20, "vectors": 2, "models-from": 2}
# How many operators of a block its name spells.
SPELT = 12
# The suites that a certificate can be given for.
CERTIFYING = ("standard", "full")
# All vectors that the installed onnx ships; any other name is one of these, or a pattern of them.
ALL_VECTORS = "onnx"
# The smoke suite: the first samples of every operator, and models small enough for a minute on a laptop.
SMOKE_SAMPLES = 2
SMOKE_MODELS = ("mobilenet-v2",)
# The families whose operators a grade counts as quantised: scaling, and products of what was scaled.
QUANTISED = ("quantisation", "quantised")
DYNAMIC = frozenset({"dynamic"})
_RULE_NAMES = {
    Exact: "exact",
    Rounded: "rounded",
    Elementary: "elementary",
    Accumulation: "accumulation",
    Composite: "composite",
    Requantised: "requantised",
    OrderFree: "order-free",
    Random: "random",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a suite is wanted. Empty collections mean everything; any filter makes the run no certificate.

    ``vectors``: ONNX's published vectors that are wanted besides, which neither the digest nor a tier looks at:
    "onnx" for all, a name or a pattern of names, or "" for none.
    ``further``: packages, folders and files whose models are wanted besides; nor do these count.
    """

    suite: str = "standard"
    opset: int = 21
    seed: int = 0
    operators: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    vectors: str = ""
    further: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return self.suite in CERTIFYING and not (self.operators or self.models or self.dtypes)

    @property
    def runs(self) -> int:
        """How often each input set of a case is run, to see whether the answers agree."""
        return SUITES[self.suite]


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node of a reference model and the case that stands for it."""

    name: str
    operator: str
    case: str


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A reference model in the plan: its nodes in execution order, its blocks, its run from end to end."""

    name: str
    domain: str
    nodes: tuple[PlannedNode, ...]
    blocks: tuple[str, ...]
    end_to_end: str
    parameters: int


@dataclass(frozen=True, slots=True)
class FurtherPlan:
    """A model that the user brought. ``opset``: the file's own; ``shown``: that of what the backend is shown.
    ``lengths``: the shapes chosen for inputs with symbolic dimensions. ``unjudged``: the ids that its pieces would have,
    of those that can have no verdict, by the reason (a key of `further.REASONS`)."""

    file: File
    model: ModelPlan
    opset: int
    shown: int
    lengths: Mapping[str, str]
    unjudged: Mapping[str, tuple[str, ...]]

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self.model),
            "origin": self.file.origin,
            "digest": self.file.digest,
            "opset": self.opset,
            "shown_opset": self.shown,
            "lengths": dict(self.lengths),
            "unjudged": {reason: list(names) for reason, names in self.unjudged.items()},
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The cases in the order in which they run, and the models that they come from.

    ``vectors``: the published vectors by their cases' ids; ``unjudged``: the names of those that can have no verdict,
    by the reason (a key of `vectors.REASONS`). ``further``: the models that the user brought, by name.
    """

    selection: Selection
    cases: tuple[Case, ...]
    models: tuple[ModelPlan, ...]
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    unjudged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    further: Mapping[str, FurtherPlan] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash over every case's content, the rules and the model graphs. The vectors and the user's models are no
        part of the suite: with and without them it is the same."""
        state = hashlib.blake2b(f"{__version__}\n".encode(), digest_size=16)
        suite = [case for case in self.cases if of_suite(case.source, case.tags)]
        for case in sorted(suite, key=lambda c: c.id):
            rule = _rules_text(case)
            state.update(f"{case.id} {case.digest} {rule}\n".encode())
        return state.hexdigest()

    @property
    def vectors_digest(self) -> str:
        """A hash over the vectors' content; "" where the plan has none."""
        return _content(c for c in self.cases if c.source is Source.VECTOR)

    @property
    def further_digest(self) -> str:
        """A hash over the content of the user's models' cases; "" where the plan has none."""
        return _content(c for c in self.cases if FURTHER in c.tags)

    def model(self, name: str) -> ModelPlan:
        """A model of the suite or the user's by its name. Raises ``KeyError`` for another."""
        if name in self.further:
            return self.further[name].model
        return {m.name: m for m in self.models}[name]

    def suite(self) -> dict[str, Any]:
        """The suite's identity as it stands in run.json, plan.json and the certificate."""
        return {
            "version": __version__,
            "digest": self.digest,
            "name": self.selection.suite,
            "opset": self.selection.opset,
            "seed": self.selection.seed,
            "runs": self.selection.runs,
            "complete": self.selection.complete,
        }

    def as_json(self) -> dict[str, Any]:
        """plan.json (docs/schemas/plan.schema.json)."""
        data = {
            "format": 1,
            "suite": self.suite(),
            "cases": [_case_json(c) for c in self.cases],
            "models": [asdict(m) for m in self.models],
            "operators": _operators_json(c for c in self.cases if of_suite(c.source, c.tags)),
        }
        if self.vectors or self.unjudged:
            data["vectors"] = {
                "of": f"ONNX {onnx.__version__}",
                "digest": self.vectors_digest,
                "unjudged": {reason: list(names) for reason, names in self.unjudged.items()},
            }
        if self.further:
            data["further"] = {
                "of": list(self.selection.further),
                "digest": self.further_digest,
                "models": [m.as_json() for m in self.further.values()],
            }
        return data


def _content(cases: Iterable[Case]) -> str:
    found = sorted((c.id, c.digest, c.graph) if c.graph else (c.id, c.digest) for c in cases)
    return hashlib.blake2b(repr(found).encode(), digest_size=16).hexdigest() if found else ""


def _rules_text(case: Case) -> str:
    operator = catalogue().get((case.domain, case.operator))
    return "" if operator is None or case.source is not Source.OPERATOR else _rule_name(operator)


def _rule_name(operator: Operator) -> str:
    return ", ".join(dict.fromkeys(_RULE_NAMES[type(r)] for r in operator.rules))


def _case_json(case: Case) -> dict[str, Any]:
    return {
        "case": case.id,
        "operator": case.operator,
        "domain": case.domain,
        "opset": case.opset,
        "dtype": case.dtype,
        "also": sorted(case.also),
        "source": str(case.source),
        "family": case.family,
        "model": case.model,
        "tags": sorted(case.tags),
        "occurrences": {k: list(v) for k, v in case.occurrences.items()},
        "digest": case.digest,
    }


def _operators_json(cases: Iterable[Case]) -> list[dict[str, Any]]:
    sets = models.operator_sets()
    weights = sets["weight"]
    found: dict[tuple[str, str], set[str]] = {}
    for case in cases:
        if case.source in (Source.OPERATOR, Source.MODEL):
            found.setdefault((case.domain, case.operator), set()).add(case.dtype)
    rows = []
    for (domain, name), dtypes in sorted(found.items()):
        operator = catalogue().get((domain, name))
        rows.append(
            {
                "operator": name,
                "domain": domain,
                "family": operator.family if operator else "uncatalogued",
                "rule": _rule_name(operator) if operator else "",
                "core": not domain and name in sets["core"],
                "common": not domain and name in sets["common"],
                "weight": 0.0 if domain else weights.get(name, 0.0),
                "required_dtypes": sorted(dtypes),
                "quantised": operator is not None and operator.family in QUANTISED,
                "extension": domain not in ("", "ai.onnx.ml"),
            }
        )
    return rows


@functools.cache
def samples_of(operator: Operator) -> tuple[Sample, ...]:
    """The samples of an entry, in order. Raises ``ValueError`` where two share a name.

    The first sample that is fed anything gets a second draw of its inputs: a backend that gives for it what it gave
    before, because the shapes are the same, is found out. The one that leaves most attributes out comes once more at
    the end, with their defaults written out: what an attribute means must not depend on whether it stands in the model.
    """
    samples = list(operator.samples())
    samples += _written_out(operator, samples)
    names = [s.name for s in samples]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise ValueError(f"{operator.name}: more than one sample is named {', '.join(sorted(twice))}")
    for position, sample in enumerate(samples):
        if any(spec and not spec.constant for spec in sample.inputs) and not (sample.refuse or sample.again):
            samples[position] = replace(sample, again=(sample.inputs,))
            break
    return tuple(samples)


def _written_out(operator: Operator, samples: Sequence[Sample]) -> list[Sample]:
    newest = domain_opset(operator.domain, onnx.defs.onnx_opset_version())

    def left_out(sample: Sample) -> int:
        return len(set(defaults_of(operator, sample.opset or newest)) - set(sample.attributes))

    plain = [s for s in samples if s.model is None and not s.refuse]
    most = max(plain, key=left_out, default=None)
    if most is None or not left_out(most):
        return []
    dtypes = dtypes_of(operator, most, most.opset or newest)
    one = "float32" if "float32" in dtypes else dtypes[0]
    return [replace(most, name="defaults-written-out", dtypes=(one,), written_out=True)]


def _shapes(inputs: Sequence[TensorSpec | None]) -> list[tuple[int, ...] | None]:
    return [None if spec is None else spec.shape for spec in inputs]


def _operator_cases(operator: Operator, selection: Selection) -> Iterable[Case]:
    newest = domain_opset(operator.domain, selection.opset)
    if schema_of(operator.name, newest, operator.domain) is None:
        return  # newer than the opset that this run is as of
    prefix = f"{operator.domain}." if operator.domain else ""
    kept = 0
    for index, written in enumerate(samples_of(operator)):
        opset = written.opset or newest
        sample = as_of(operator, written, opset) if opset <= newest else None
        if sample is None or (sample.written_out and not defaults_of(operator, opset)):
            continue
        if selection.suite == "smoke" and kept >= SMOKE_SAMPLES:
            break
        kept += 1
        content = _sample_text(sample)
        chosen = _chosen(operator, sample, opset)
        for dtype in dtypes_of(operator, sample, opset):
            if selection.dtypes and dtype not in selection.dtypes:
                continue
            name = f"{prefix}{operator.name}/{sample.name}/{dtype}"
            text = f"{operator.domain}:{operator.name}@{opset} {dtype} {content}"
            yield Case(
                id=name,
                operator=operator.name,
                domain=operator.domain,
                opset=opset,
                dtype=dtype,
                source=Source.OPERATOR,
                family=operator.family,
                digest=hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
                also=chosen - {dtype},
                index=index,
                tags=sample.tags
                | ({"refuse"} if sample.refuse else set())
                | ({"dynamic"} if any(_shapes(a) != _shapes(sample.inputs) for a in sample.again) else set()),
            )


def _chosen(operator: Operator, sample: Sample, opset: int) -> frozenset[str]:
    """The dtypes that a sample itself chooses, whatever the dtype under test: of inputs to which the schema gives a
    choice, and of outputs that an attribute decides. A model that is to be refused asks for nothing."""
    if sample.refuse:
        return frozenset()
    found = {
        spec.dtype
        for specs in (sample.inputs, *sample.again)
        for position, spec in enumerate(specs)
        if spec and spec.dtype and has_choice(operator, position, opset)
    }
    for name, value in sample.attributes.items():
        if name in TYPE_ATTRIBUTES and isinstance(value, int) and value:
            found.add(lookup_name(value))
        elif isinstance(value, onnx.TensorProto):
            found.add(lookup_name(value.data_type))
    return frozenset(found)


def _sample_text(sample: Sample) -> str:
    """All that makes a sample's content, as text: the recipe of the model and of its inputs."""
    attributes = {k: _attribute_text(v) for k, v in sorted(sample.attributes.items())}
    fields = replace(sample, attributes={}, name="", tags=frozenset())
    return f"{fields!r} {attributes!r}"


def _attribute_text(value: Any) -> str:
    if isinstance(value, (onnx.TensorProto, onnx.SparseTensorProto, onnx.GraphProto, onnx.TypeProto)):
        stored: bytes = value.SerializeToString(deterministic=True)
        return stored.hex()
    return repr(value)


def _case_dtypes(reference: Reference, part: Piece) -> list[str]:
    """The dtypes of a model case, first the one that it is filed under: of its first float value, else of its
    first output."""
    types = [reference.types[n][0] for n in (*part.outputs, *part.inputs, *part.constants)]
    first = next((t for t in types if lookup(t).is_float), types[0])
    return list(dict.fromkeys([first, *types]))


@dataclass(slots=True)
class _Open:
    """A case from a model while further places are found where it stands."""

    case: Case
    places: dict[str, list[int]]


class _Known:
    """The cases from models so far, by content. ``alike``: two pieces that no backend tells apart may share a case."""

    def __init__(self, *, alike: bool) -> None:
        self._cases: dict[str, _Open] = {}
        self._contents = Contents(alike=alike)

    def piece(self, reference: Reference, part: Piece, case: Callable[[str], Case], *, exactly: bool) -> str:
        """The id of the case that a piece has; ``case`` makes a new one, given its digest. ``exactly``: it shares one
        only with a piece that is the same to the last bit."""
        digest = self._contents.of(reference, part, exactly=exactly)
        if digest not in self._cases:
            self._cases[digest] = _Open(case(digest), {})
        found = self._cases[digest]
        found.places.setdefault(reference.name, []).append(part.positions[0])
        return found.case.id

    def whole(self, case: Case) -> None:
        """A run of a whole model: always a case of its own."""
        assert case.model is not None
        self._cases[case.id] = _Open(case, {case.model: [0]})

    def cases(self) -> list[Case]:
        """The cases in the order in which they came, with all places where they stand."""
        places = [(o.case, {m: tuple(p) for m, p in o.places.items()}) for o in self._cases.values()]
        return [replace(case, occurrences=where) for case, where in places]


def _piece_case(reference: Reference, name: str, part: Piece, graph: str, digest: str) -> Case:
    """The case of a piece of a model. ``name``: of a node, or of a block; ``graph``: a hash of the model."""
    dtype, *others = _case_dtypes(reference, part)
    first = reference.nodes[part.positions[0]]
    if len(part.positions) == 1:
        known_as = catalogue().get((first.domain, first.operator))
        operator, domain, source = first.operator, first.domain, Source.MODEL
        family = known_as.family if known_as else "uncatalogued"
    else:
        names = [reference.nodes[p].operator for p in part.positions]
        operator = "+".join(names if len(names) <= SPELT else [*names[: SPELT - 1], f"… ({len(names)} nodes)"])
        domain, source, family = "", Source.BLOCK, "block"
    return Case(
        id=f"{reference.name}/{name}",
        operator=operator,
        domain=domain,
        opset=first.opset,
        dtype=dtype,
        source=source,
        family=family,
        digest=digest,
        also=frozenset(others),
        index=part.positions[0],
        model=reference.name,
        graph=graph,
    )


def _model_cases(name: str, known: _Known) -> ModelPlan:
    """Add a model's nodes, blocks and whole runs to the known cases."""
    reference = open_model(name)
    entry = models.manifest()[name]

    def admit(name: str, part: Piece) -> str:
        make = functools.partial(_piece_case, reference, name, part, entry.digest)
        # The standard suite's digest is of its models' cases: what counts as the same there must not change.
        return known.piece(reference, part, make, exactly=entry.suite == "standard")

    pieces = [(n, admit(n.name, piece(reference, [position]))) for position, n in enumerate(reference.nodes)]
    blocks = [admit(*block) for block in blocks_of(reference).items()]
    whole = Case(
        id=f"{name}/end-to-end",
        operator="(model)",
        domain="",
        opset=entry.opset,
        dtype=_case_dtypes(reference, piece(reference, [len(reference.nodes) - 1]))[0],
        source=Source.END_TO_END,
        family="end-to-end",
        digest=entry.digest,
        model=name,
        graph=entry.digest,
    )
    known.whole(whole)
    if reference.model.axes:
        digest = f"{entry.digest}-dynamic"
        known.whole(replace(whole, id=f"{name}/dynamic-shapes", digest=digest, tags=DYNAMIC))
    nodes = tuple(PlannedNode(node.name, node.operator, case) for node, case in pieces)
    return ModelPlan(name, entry.domain, nodes, tuple(dict.fromkeys(blocks)), whole.id, entry.parameters)


def _check_names(kind: str, wanted: Sequence[str], known: Collection[str]) -> None:
    unknown = [w for w in wanted if w not in known]
    if unknown:
        raise UsageError(
            f"unknown {kind} {', '.join(unknown)}; `conformance list {kind}s` shows the {len(known)} that there are"
        )


def check(selection: Selection) -> list[File]:
    """The files of the user's models. Raises ``UsageError`` for an unknown suite, opset, operator, model or dtype, and a
    place without models; quick, as it opens none."""
    if selection.suite not in SUITES:
        raise UsageError(f"unknown suite {selection.suite!r}; there are {', '.join(SUITES)}")
    newest = onnx.defs.onnx_opset_version()
    if not 13 <= selection.opset <= newest:
        raise UsageError(
            f"opset {selection.opset} is outside 13..{newest}, what the installed onnx and the suite have"
        )
    names = {text for domain, name in catalogue() for text in (name, *([f"{domain}.{name}"] if domain else ()))}
    if _wanted_vectors(selection) or selection.further:
        names |= {schema.name for schema in onnx.defs.get_all_schemas()}
    if selection.suite == "vectors" and selection.models:
        raise UsageError("the suite 'vectors' has no models: leave --model out")
    if selection.suite == "models-from" and not selection.further:
        raise UsageError("the suite 'models-from' has the models of --models-from alone, and there is none")
    _check_names("operator", selection.operators, names)
    files = find(selection.further)
    _check_names("model", selection.models, (*models.names(), *(f.name for f in files)))
    for dtype in selection.dtypes:
        try:
            lookup(dtype)
        except KeyError:
            raise UsageError(f"unknown dtype {dtype}; ONNX's names are meant, such as float16 or int64") from None
    return files


def build_plan(selection: Selection) -> Plan:
    """The plan of a selection: operator cases family by family, then each model's nodes, blocks and whole run, then
    the same of the models that the user brought, then the published vectors.

    Raises ``UsageError`` for what ``check`` refuses, for a file that is no ONNX model or cannot be run, and for a
    selection that leaves no case.
    """
    files = check(selection)
    cases: list[Case] = []
    model_plans: list[ModelPlan] = []
    only_models = bool(selection.models) and not selection.operators
    if selection.suite in ("smoke", "standard", "full"):
        for operator in catalogue().values():
            if not only_models and _named(operator.domain, operator.name, selection):
                cases += _operator_cases(operator, selection)
        model_plans, more = _models(selection)
        cases += more
    further, more = _further(selection, files)
    cases += more
    vectors, left = _vectors(selection)
    cases += [case for case, _ in vectors]
    if not cases and not any(brought.unjudged for brought in further.values()):
        newer = [n for n in selection.operators if schema_of(n, selection.opset, "") is None]
        hint = (
            f"; {', '.join(newer)} came after opset {selection.opset}, try --opset {onnx.defs.onnx_opset_version()}"
            if newer
            else ""
        )
        if left:
            hint = f"; no verdict can be given to {', '.join(n for names in left.values() for n in names)}: "
            hint += ", ".join(REASONS[reason] for reason in left)
        raise UsageError(f"the selection leaves no case: loosen --operator, --model or --dtype{hint}")
    return Plan(selection, tuple(cases), tuple(model_plans), {case.id: v for case, v in vectors}, left, further)


def _wanted_vectors(selection: Selection) -> str:
    """The vectors that a selection asks for, as `Selection.vectors` says it; a case's id is as good as a name."""
    pattern = selection.vectors or (ALL_VECTORS if selection.suite == "vectors" else "")
    return "*" if pattern == ALL_VECTORS else pattern.removeprefix("vectors/")


def _vectors(selection: Selection) -> tuple[list[tuple[Case, Vector]], dict[str, tuple[str, ...]]]:
    """The published vectors that are wanted, and the names of those that can have no verdict, by the reason."""
    pattern = _wanted_vectors(selection)
    if not pattern:
        return [], {}
    named = [v for v in collect(default_folder()) if fnmatchcase(v.name, pattern)]
    if not named:
        raise UsageError(f"onnx {onnx.__version__} has no vector {pattern!r}; all are called 'onnx'")
    found = []
    left: dict[str, tuple[str, ...]] = {}
    for vector in named:
        if selection.operators and not vector.operators & set(selection.operators):
            continue
        if reason := unjudged(vector):
            left[reason] = (*left.get(reason, ()), vector.name)
            continue
        case = case_of(vector)
        if not selection.dtypes or case.dtype in selection.dtypes:
            found.append((case, vector))
    return found, left


def _suite_models(suite: str) -> Sequence[str]:
    """The reference models that a suite has; the full one has all."""
    if suite == "smoke":
        return SMOKE_MODELS
    return [m.name for m in models.manifest().values() if suite == "full" or m.suite == "standard"]


def _models(selection: Selection) -> tuple[list[ModelPlan], list[Case]]:
    wanted = (
        [n for n in selection.models if not n.startswith(PREFIX)]
        if selection.models
        else (_suite_models(selection.suite))
    )
    known = _Known(alike=any(models.manifest()[name].suite != "standard" for name in wanted))
    plans = [_model_cases(name, known) for name in wanted]
    cases = known.cases()
    kept = [c for c in cases if _wanted(c, selection)]
    ids: Mapping[str, Case] = {c.id: c for c in kept}
    if len(kept) == len(cases):
        return plans, kept
    # A filtered run has parts of models: it can show their nodes but call none of them whole.
    return [p for p in plans if any(n.case in ids for n in p.nodes)], kept


def _further(selection: Selection, files: Sequence[File]) -> tuple[dict[str, FurtherPlan], list[Case]]:
    """The models that the user brought, and the cases of what can be judged of them."""
    if not files:
        return {}, []
    _require_torch()
    found = [f for f in files if not selection.models or f.name in selection.models]
    known = _Known(alike=False)
    plans = {file.name: _further_cases(open_file(file, selection.seed), known) for file in found}
    return plans, [c for c in known.cases() if _wanted(c, selection)]


def _further_cases(opened: FurtherModel, known: _Known) -> FurtherPlan:
    """Add what can be judged of a file to the known cases."""
    reference, name = opened.reference, opened.file.name
    # What it is fed and the graph as it ran, constants included: all other values follow from these. (Piece by piece:
    # a message ends at 2 GB.)
    content = hashlib.blake2b(repr((dict(reference.model.inputs), dict(reference.types))).encode(), digest_size=16)
    for proto in reference.protos:
        content.update(proto.SerializeToString(deterministic=True))
    for literal in reference.literals.values():
        content.update(literal.SerializeToString(deterministic=True))
    graph = content.hexdigest()
    tags = frozenset({FURTHER})
    left: dict[str, list[str]] = {}

    def admit(own: str, part: Piece) -> str | None:
        reasons = [opened.unjudged[p][0] for p in part.positions if p in opened.unjudged]
        if reasons:
            left.setdefault(reasons[0] if len(part.positions) == 1 else "part", []).append(f"{name}/{own}")
            return None
        return known.piece(
            reference,
            part,
            lambda digest: replace(_piece_case(reference, own, part, graph, digest), tags=tags),
            exactly=True,
        )

    nodes = [
        PlannedNode(node.name, node.operator, admit(node.name, piece(reference, [p])) or f"{name}/{node.name}")
        for p, node in enumerate(reference.nodes)
    ]
    blocks = [case for block in blocks_of(reference).items() if (case := admit(*block)) is not None]
    whole = f"{name}/end-to-end"
    shown = next((o.version for o in reference.model.proto.opset_import if not o.domain), 1)
    if opened.whole is not None:
        left.setdefault(opened.whole[0], []).append(whole)
    else:
        dtypes = [reference.types[o][0] for o in reference.outputs]
        known.whole(
            Case(
                id=whole,
                operator="(model)",
                domain="",
                opset=shown,
                dtype=next((d for d in dtypes if lookup(d).is_float), dtypes[0]),
                source=Source.END_TO_END,
                family="end-to-end",
                digest=opened.file.digest,
                model=name,
                tags=tags,
                graph=graph,
            )
        )
    parameters = sum(
        math.prod(t.dims) for t in reference.literals.values() if lookup_name(t.data_type) != "string"
    )
    model = ModelPlan(name, "", tuple(nodes), tuple(dict.fromkeys(blocks)), whole, parameters)
    unjudged = {reason: tuple(names) for reason, names in left.items()}
    return FurtherPlan(opened.file, model, opened.opset, shown, opened.lengths, unjudged)


def _require_torch() -> None:
    try:
        import torch
    except ImportError:
        raise UsageError(
            "--models-from runs each file once to learn its shapes, which needs torch: "
            "pip install 'conformance[oracle]'"
        ) from None
    assert torch


def _wanted(case: Case, selection: Selection) -> bool:
    if selection.dtypes and case.dtype not in selection.dtypes:
        return False
    if not selection.operators:
        return True
    return case.source is Source.MODEL and _named(case.domain, case.operator, selection)


def _named(domain: str, name: str, selection: Selection) -> bool:
    """Whether the selection takes in an operator: by its name, with its domain before it where ONNX's own domain has
    one of the same name (``Gelu``, ``com.microsoft.Gelu``)."""
    if not selection.operators or (domain and f"{domain}.{name}" in selection.operators):
        return True
    return name in selection.operators and (not domain or ("", name) not in catalogue())
