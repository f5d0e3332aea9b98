"""A run folder as records: what was planned, what came of it, on which backend. Reads and checks; judges nothing.

The plan is the denominator. A planned case without a line in results.jsonl gets the verdict ``not-run`` here,
so that whoever iterates over ``RunFolder.results`` iterates over what was planned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from .errors import UsageError
from .spec import Source, Verdict, of_suite
from .waivers import Waiver, read_waivers

__all__ = [
    "CERTIFICATE",
    "FORMAT",
    "PLAN",
    "REPEATS",
    "RESULTS",
    "RUN",
    "WAIVERS",
    "Further",
    "Plan",
    "PlannedCase",
    "PlannedFurther",
    "PlannedModel",
    "PlannedNode",
    "PlannedOperator",
    "PlannedVectors",
    "Result",
    "RunFolder",
    "parse_result",
    "parse_run",
    "read_run",
]

FORMAT = 1
RUN, PLAN, RESULTS, CERTIFICATE = "run.json", "plan.json", "results.jsonl", "certificate.json"
WAIVERS = "waivers.toml"
REPEATS = ("identical", "differs", "not-repeated")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """An entry of the plan. ``also``: the dtypes besides ``dtype`` that it uses. ``occurrences``: the positions in
    each model's node list where the case stands. ``digest``: of the case's content; "" where the plan has none."""

    case: str
    operator: str
    domain: str
    opset: int
    dtype: str
    source: Source
    family: str
    model: str | None = None
    also: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    occurrences: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node of a reference model and the case that judges it (shared by identical nodes)."""

    name: str
    operator: str
    case: str


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A reference model: nodes in execution order, ids of its block cases and of its end-to-end case."""

    name: str
    domain: str
    nodes: tuple[PlannedNode, ...]
    blocks: tuple[str, ...] = ()
    end_to_end: str | None = None
    parameters: int = 0

    @property
    def cases(self) -> tuple[str, ...]:
        """Every case that the model needs, each once: nodes, blocks, end to end."""
        ids = [node.case for node in self.nodes] + list(self.blocks)
        if self.end_to_end is not None:
            ids.append(self.end_to_end)
        return tuple(dict.fromkeys(ids))


@dataclass(frozen=True, slots=True)
class PlannedOperator:
    """An operator of the catalogue. ``rule``: the name of its accuracy rule. ``weight``: as the plan printed it,
    for display; the grade computes the exact one from the models' nodes."""

    operator: str
    domain: str
    family: str
    rule: str = ""
    core: bool = False
    common: bool = False
    weight: float = 0.0
    required_dtypes: tuple[str, ...] = ()
    quantised: bool = False
    extension: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """(domain, name)."""
        return (self.domain, self.operator)

    @property
    def label(self) -> str:
        """``Conv``, or ``com.example.Conv`` outside the default domain."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator


@dataclass(frozen=True, slots=True)
class PlannedVectors:
    """The published vectors that the plan has besides the suite: whose, a digest of their content, and the names of
    those that can have no verdict, by the reason."""

    of: str
    digest: str = ""
    unjudged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedFurther:
    """A model that the user brought. ``origin``: where it was found; ``digest``: of the file. ``opset``: the file's own,
    ``shown_opset`` that of what the backend is shown. ``lengths``: the shapes that were chosen for inputs with symbolic
    dimensions. ``unjudged``: the ids of pieces that can have no verdict, by the reason."""

    model: PlannedModel
    origin: str
    digest: str = ""
    opset: int = 0
    shown_opset: int = 0
    lengths: Mapping[str, str] = field(default_factory=dict)
    unjudged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Further:
    """The models that the user brought: the places that he named, a digest of their cases' content, and each model."""

    of: tuple[str, ...]
    digest: str = ""
    models: tuple[PlannedFurther, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """plan.json. ``complete``: nothing was filtered out, so that a certificate can be given. ``cases``: those of the
    vectors and of the user's models are among them, ``models`` are the suite's alone."""

    suite: Mapping[str, Any]
    cases: Mapping[str, PlannedCase]
    models: tuple[PlannedModel, ...]
    operators: tuple[PlannedOperator, ...]
    vectors: PlannedVectors | None = None
    further: Further | None = None

    @property
    def complete(self) -> bool:
        return self.suite.get("complete") is True

    @property
    def runs(self) -> int:
        """How often the suite runs each input set of a case that can be repeated."""
        runs = self.suite.get("runs")
        return runs if isinstance(runs, int) else 2


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case: the last line about it in results.jsonl, or ``not-run`` where there is none."""

    case: str
    verdict: Verdict
    message: str = ""
    error: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    repeat: str = "not-repeated"
    runs: int = 1
    growth: float | None = None
    log: str = ""
    after: str | None = None

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASS


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A whole run. ``run``: run.json as it is. ``results``: one for each planned case, in the plan's order.
    ``waivers``: those that the run was started with. ``path``: where it was read from; None for one that was
    never on disk."""

    run: Mapping[str, Any]
    plan: Plan
    results: Mapping[str, Result]
    waivers: tuple[Waiver, ...] = ()
    path: Path | None = None

    def suite_alone(self) -> RunFolder:
        """The run without vectors and the user's models: what tiers count."""
        return self.only(lambda case: of_suite(case.source, case.tags))

    def only(self, wanted: Callable[[PlannedCase], bool]) -> RunFolder:
        """The run as if it had these cases alone."""
        cases = {k: case for k, case in self.plan.cases.items() if wanted(case)}
        if len(cases) == len(self.plan.cases):
            return self
        plan = replace(self.plan, cases=MappingProxyType(cases))
        return replace(self, plan=plan, results=MappingProxyType({k: self.results[k] for k in cases}))

    @property
    def suite(self) -> Mapping[str, Any]:
        """The suite's name, version, digest, opset and seed."""
        return self.plan.suite

    @property
    def sensitivity(self) -> Mapping[str, Any]:
        """The figures of the suite's own test that the run recorded; empty where there are none, or no whole ones."""
        found = self.run.get("sensitivity")
        if not isinstance(found, dict) or not isinstance(found.get("suite"), dict):
            return {}
        counts = [found.get(key) for key in ("planted", "caught", "verdicts", "failed")]
        return found if all(type(count) is int and count >= 0 for count in counts) else {}

    @property
    def backend(self) -> Mapping[str, Any]:
        """What the backend said of itself."""
        backend: Mapping[str, Any] = self.run["backend"]
        return backend


def read_run(folder: Path | str) -> RunFolder:
    """Read and check run.json, plan.json, results.jsonl and, where there is one, waivers.toml.

    Of several lines about a case the last one counts (a resumed run repeats the cases that were in flight). A
    last line that was cut off in the middle, as a killed run leaves it, is not evidence: its case has not run.
    Raises `UsageError`, one line with file and line, for anything missing or malformed.
    """
    folder = Path(folder)
    texts = {}
    for name in (RUN, PLAN, RESULTS):
        try:
            # A killed run may have cut its last line inside a character.
            texts[name] = (folder / name).read_text("utf-8", "replace" if name == RESULTS else "strict")
        except FileNotFoundError:
            if name == RESULTS and PLAN in texts:
                texts[name] = ""  # stopped before the first verdict
                continue
            reason = "no such folder" if not folder.is_dir() else f"{name} is missing"
            raise UsageError(f"{folder} is not a run folder: {reason}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{folder / name}: cannot be read: {error}") from None
    run = parse_run(texts[RUN], texts[PLAN], texts[RESULTS], folder)
    waivers = folder / WAIVERS
    return replace(run, waivers=read_waivers(waivers)) if waivers.exists() else run


def parse_run(run: str, plan: str, results: str, path: Path | None = None) -> RunFolder:
    """The same from the texts of the first three; ``path`` names them in messages."""
    base = path if path is not None else Path()
    header = _document(run, base / RUN)
    planned = _plan(_document(plan, base / PLAN), base / PLAN)
    try:
        backend = header["backend"]
        if not isinstance(backend, dict) or not isinstance(header["suite"], dict):
            raise TypeError("'backend' and 'suite' must be objects")
        for key in ("version", "digest"):
            mine, other = header["suite"].get(key), planned.suite.get(key)
            if mine != other:
                raise ValueError(f"suite {key} is {mine!r}, but {PLAN} has {other!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{base / RUN}: {_reason(error)}") from None
    found = _results(results, planned, base / RESULTS)
    filled = {
        case: found.get(case) or Result(case, Verdict.NOT_RUN, "no verdict was recorded") for case in planned.cases
    }
    return RunFolder(MappingProxyType(header), planned, MappingProxyType(filled), path=path)


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _document(text: str, file: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise UsageError(f"{file}:{line}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{file}: expected an object, found {type(data).__name__}")
    if data.get("format") != FORMAT:
        raise UsageError(f"{file}: format {data.get('format')!r} is not {FORMAT}, the one that is read here")
    return data


def _typed(data: Mapping[str, Any], key: str, kind: type[T], *default: T) -> T:
    """``data[key]``, checked; a bool is not an int here. Raises ``KeyError`` or ``TypeError``."""
    value = data.get(key, default[0]) if default else data[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{key!r} must be {kind.__name__}, not {value!r}")
    return value


def _number(data: Mapping[str, Any], key: str) -> float:
    value = data.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{key!r} must be a number, not {value!r}")
    return float(value)


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{key!r} must be a list of strings, not {value!r}")
    return tuple(value)


def _optional(data: Mapping[str, Any], key: str) -> str | None:
    return None if data.get(key) is None else _typed(data, key, str)


def _case(data: Mapping[str, Any]) -> PlannedCase:
    occurrences = data.get("occurrences") or {}
    return PlannedCase(
        case=_typed(data, "case", str),
        operator=_typed(data, "operator", str),
        domain=_typed(data, "domain", str, ""),
        opset=_typed(data, "opset", int),
        dtype=_typed(data, "dtype", str),
        source=Source(_typed(data, "source", str)),
        family=_typed(data, "family", str),
        model=_optional(data, "model"),
        also=frozenset(_texts(data, "also")),
        tags=frozenset(_texts(data, "tags")),
        occurrences=MappingProxyType({m: tuple(int(i) for i in at) for m, at in occurrences.items()}),
        digest=_typed(data, "digest", str, ""),
    )


def _node(data: Mapping[str, Any]) -> PlannedNode:
    return PlannedNode(_typed(data, "name", str), _typed(data, "operator", str), _typed(data, "case", str))


def _model(data: Mapping[str, Any]) -> PlannedModel:
    return PlannedModel(
        name=_typed(data, "name", str),
        domain=_typed(data, "domain", str),
        nodes=tuple(_node(node) for node in _typed(data, "nodes", list)),
        blocks=_texts(data, "blocks"),
        end_to_end=_optional(data, "end_to_end"),
        parameters=_typed(data, "parameters", int, 0),
    )


def _operator(data: Mapping[str, Any]) -> PlannedOperator:
    return PlannedOperator(
        operator=_typed(data, "operator", str),
        domain=_typed(data, "domain", str, ""),
        family=_typed(data, "family", str),
        rule=_typed(data, "rule", str, ""),
        core=_typed(data, "core", bool, False),
        common=_typed(data, "common", bool, False),
        weight=_number(data, "weight"),
        required_dtypes=_texts(data, "required_dtypes"),
        quantised=_typed(data, "quantised", bool, False),
        extension=_typed(data, "extension", bool, False),
    )


def _vectors(data: Mapping[str, Any]) -> PlannedVectors:
    nothing: dict[str, Any] = {}
    unjudged = _typed(data, "unjudged", dict, nothing)
    return PlannedVectors(
        of=_typed(data, "of", str),
        digest=_typed(data, "digest", str, ""),
        unjudged=MappingProxyType({reason: _texts(unjudged, reason) for reason in unjudged}),
    )


def _brought(data: Mapping[str, Any]) -> PlannedFurther:
    nothing: dict[str, Any] = {}
    unjudged, lengths = _typed(data, "unjudged", dict, nothing), _typed(data, "lengths", dict, nothing)
    return PlannedFurther(
        model=_model(data),
        origin=_typed(data, "origin", str),
        digest=_typed(data, "digest", str, ""),
        opset=_typed(data, "opset", int, 0),
        shown_opset=_typed(data, "shown_opset", int, 0),
        lengths=MappingProxyType({name: _typed(lengths, name, str) for name in lengths}),
        unjudged=MappingProxyType({reason: _texts(unjudged, reason) for reason in unjudged}),
    )


def _further(data: Mapping[str, Any], file: Path) -> Further:
    models = _unique(_entries(data, "models", _brought, file), lambda m: m.model.name, "further model", file)
    return Further(_texts(data, "of"), _typed(data, "digest", str, ""), tuple(models.values()))


def _entries(data: Mapping[str, Any], key: str, parse: Callable[[Mapping[str, Any]], T], file: Path) -> list[T]:
    if not isinstance(data.get(key), list):
        raise UsageError(f"{file}: {key!r} must be a list")
    out = []
    for position, entry in enumerate(data[key]):
        try:
            if not isinstance(entry, dict):
                raise TypeError(f"expected an object, found {type(entry).__name__}")
            out.append(parse(entry))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file}: {key}[{position}]: {_reason(error)}") from None
    return out


def _unique(items: list[T], name: Callable[[T], Any], what: str, file: Path) -> dict[Any, T]:
    out: dict[Any, T] = {}
    for item in items:
        if name(item) in out:
            raise UsageError(f"{file}: {what} {name(item)!r} is planned twice")
        out[name(item)] = item
    return out


def _plan(data: Mapping[str, Any], file: Path) -> Plan:
    if not isinstance(data.get("suite"), dict):
        raise UsageError(f"{file}: 'suite' must be an object")
    cases = _unique(_entries(data, "cases", _case, file), lambda c: c.case, "case", file)
    models = _unique(_entries(data, "models", _model, file), lambda m: m.name, "model", file)
    operators = _unique(_entries(data, "operators", _operator, file), lambda o: o.key, "operator", file)
    vectors = None
    if data.get("vectors") is not None:
        (vectors,) = _entries({"vectors": [data["vectors"]]}, "vectors", _vectors, file)
    further = None
    if data.get("further") is not None:
        (further,) = _entries({"further": [data["further"]]}, "further", lambda d: _further(d, file), file)
    plan = Plan(
        data["suite"],
        MappingProxyType(cases),
        tuple(models.values()),
        tuple(operators.values()),
        vectors,
        further,
    )
    if plan.complete:  # a filtered plan keeps the models' node lists, but not all their cases
        for model in plan.models:
            missing = next((case for case in model.cases if case not in plan.cases), None)
            if missing is not None:
                raise UsageError(f"{file}: model {model.name!r} names case {missing!r}, which is not planned")
    return plan


def parse_result(data: Mapping[str, Any]) -> Result:
    """A line of results.jsonl. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for one that is none."""
    repeat = _typed(data, "repeat", str, "not-repeated")
    if repeat not in REPEATS:
        raise ValueError(f"'repeat' must be one of {', '.join(REPEATS)}, not {repeat!r}")
    error: dict[str, Any] = {}
    runs = _typed(data, "runs", int, 1 if repeat == "not-repeated" else 2)
    return Result(
        case=_typed(data, "case", str),
        verdict=Verdict(_typed(data, "verdict", str)),
        message=_typed(data, "message", str, ""),
        error=MappingProxyType(_typed(data, "error", dict, error)),
        seconds=_number(data, "seconds"),
        repeat=repeat,
        runs=runs,
        growth=None if data.get("growth") is None else _number(data, "growth"),
        log=_optional(data, "log") or "",
        after=_optional(data, "after"),
    )


def _results(text: str, plan: Plan, file: Path) -> dict[str, Result]:
    found: dict[str, Result] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # no line end: cut off while it was written
                break
            raise UsageError(f"{file}:{number}: not JSON: {error}") from None
        try:
            if not isinstance(data, dict):
                raise TypeError(f"expected an object, found {type(data).__name__}")
            result = parse_result(data)
            if result.case not in plan.cases:
                raise ValueError(f"case {result.case!r} is not in {PLAN}")
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file}:{number}: {_reason(error)}") from None
        found[result.case] = result
    return found
