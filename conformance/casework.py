"""A planned case made ready to run: its model on disk, its inputs, and what is expected of it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .cuts import Piece, Reference, blocks_of, cut, open_model, piece
from .demands import ANY_MODEL, Demands, Unfit, fitted, renamed
from .errors import UsageError
from .files import share_whole
from .further import open_file
from .goldens import Golden, GoldenCache
from .graphs import Content, build, dtypes_of, nodes_of
from .interpreter import DECLINES
from .numerics import Expected
from .operators import catalogue
from .oracle import asks_evaluator, expect_content, model_goldens, rules_of
from .plan import Plan, samples_of
from .rules import EXACT, Rule
from .scratch import Scratch
from .spec import PUBLISHED, Case, Sample, Source
from .vector_oracle import by_definition, by_publication, inputs_of, only_node, rules_of_vector
from .vectors import FUNCTION, similar
from .versions import as_of
from .weights import Weights

__all__ = ["Casework", "Ready"]

Feed = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Ready:
    """A case with all that running and judging it takes.

    ``expected``: for each input set the expected outputs; None for a model that must be refused.
    ``inputs``: for each input set the node's inputs by position, initializers included (empty for pieces of
    several nodes). ``lengths``: for each output how many tensors its sequence has, whose expectations follow each
    other in ``expected``, or None for a tensor; empty where all are tensors. ``problem``: why there is no reference;
    such a case gets no verdict. ``declined``: why there is no model that the backend would take.
    """

    case: Case
    model: Path
    feeds: tuple[Feed, ...]
    expected: tuple[tuple[Expected, ...], ...] | None
    inputs: tuple[tuple[np.ndarray | None, ...], ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    lengths: tuple[int | None, ...] = ()
    scratch: Path | None = None
    problem: str = ""
    declined: str = ""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a model's cases come from. ``whole``: the model's file for input sets and whether with its dynamic axes, and
    the same path again where the file is a scratch one. ``given``: as `model_goldens` has it."""

    reference: Reference
    weight: Callable[[str], np.ndarray | None]
    whole: Callable[[Sequence[Feed], bool], tuple[Path, Path | None]]
    given: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict)


class Casework:
    """Makes cases ready in the plan's order, from the golden cache or by running the oracle, with models as the
    backend demands them.

    Used as a context manager: it owns scratch folders, the first in memory where the system has such a place.
    """

    def __init__(
        self, plan: Plan, cache: Path, demands: Demands = ANY_MODEL, *, published_only: bool = False
    ) -> None:
        self._plan = plan
        self._demands = demands
        self._seed = plan.selection.seed
        self._cache_folder = cache
        self._cache = GoldenCache(cache)
        self._published_only = published_only
        self._scratch: Scratch | None = None
        self._serial = itertools.count()

    def __enter__(self) -> Casework:
        self._scratch = Scratch()
        return self

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            self._scratch.close()

    def ready(self, skip: Callable[[Case], bool]) -> Iterator[Ready]:
        """Every case that is not skipped: operator cases, each model's in one run of that model, then vectors."""
        todo = [c for c in self._plan.cases if not skip(c)]
        for case in todo:
            if case.source is Source.OPERATOR:
                yield self.operator_case(case)
        by_model: dict[str, list[Case]] = {}
        for case in todo:
            if case.model is not None:
                by_model.setdefault(case.model, []).append(case)
        for name, cases in by_model.items():
            yield from self.model_cases(name, cases)
        for case in todo:
            if case.source is Source.VECTOR:
                yield self.vector_case(case)

    def operator_case(self, case: Case) -> Ready:
        """One case of the catalogue."""
        operator = catalogue()[case.domain, case.operator]
        sample = as_of(operator, samples_of(operator)[case.index], case.opset)
        assert sample is not None, f"{case.id} is not in the plan of opset {case.opset}"
        key = f"{self._seed}/{case.id}"
        content = build(operator, sample, case.dtype, case.opset, key)

        def rewritten(opset: int) -> onnx.ModelProto | None:
            written = samples_of(operator)[case.index]
            other = None if case.domain or written.opset else as_of(operator, written, opset)
            if other is None or case.dtype not in dtypes_of(operator, other, opset):
                return None
            return build(operator, other, case.dtype, opset, key).model

        try:
            model = self._fitted(
                content.model,
                content.feeds,
                single=sample.model is None,
                rewritten=rewritten,
                refuse=bool(sample.refuse),
            )
        except Unfit as reason:
            return Ready(case, Path(), (), (), declined=str(reason))
        feeds = tuple(renamed(feed, content.model, model) for feed in content.feeds)
        path = self.write(model)
        if sample.refuse:
            return Ready(case, path, feeds, None, scratch=path)
        expected: tuple[tuple[Expected, ...], ...] = ()
        problem = ""
        if asks_evaluator(operator, content, sample):
            maps = sum(not o.type.HasField("tensor_type") for o in content.model.graph.output)
            rules: tuple[Rule, ...] = (EXACT,) * (len(content.model.graph.output) + maps)
        else:
            rules = rules_of(case, nodes_of(content.model)[0].dtypes, sample)
        try:
            expected = self._golden(
                case,
                rules,
                lambda: Golden(({},) * len(content.feeds), expect_content(case, content, sample)),
            ).outputs
        except _OracleFailure as failure:
            problem = str(failure)
        inputs, attributes = _node_view(content, sample)
        return Ready(case, path, feeds, expected, inputs, attributes, scratch=path, problem=problem)

    def vector_case(self, case: Case) -> Ready:
        """One of ONNX's published vectors."""
        vector = self._plan.vectors[case.id]
        feeds = (vector.feed,)
        try:
            model = self._fitted(vector.model, feeds, single=case.operator != FUNCTION)
        except Unfit as reason:
            return Ready(case, Path(), (), (), declined=str(reason))
        path = self.write(model)
        lengths = tuple(len(o) if isinstance(o, list) else None for o in vector.outputs)
        node = only_node(vector)
        inputs = () if node is None else (inputs_of(vector, node),)
        attributes = {} if node is None else node.attributes
        expected: tuple[tuple[Expected, ...], ...] = ()
        problem = ""
        if PUBLISHED in case.tags:
            expected = (by_publication(vector),)
        else:
            rules = rules_of_vector(vector, node)
            try:
                golden = self._golden(case, rules, lambda: Golden(({},), (by_definition(vector, node),)), seed=0)
                expected = golden.outputs
            except _OracleFailure as failure:
                problem = str(failure)
        return Ready(
            case,
            path,
            feeds,
            expected,
            inputs,
            attributes,
            lengths if any(n is not None for n in lengths) else (),
            scratch=path,
            problem=problem,
        )

    def similar(self, case: Case, outputs: Sequence[Any]) -> bool:
        """Whether outputs of a vector are what ONNX's own runner accepts."""
        return similar(self._plan.vectors[case.id], outputs)

    def model_cases(self, name: str, cases: Sequence[Case]) -> Iterator[Ready]:
        """A model's nodes and blocks as the float64 run reaches them, then the model from end to end."""
        source = self._source(name)
        reference = source.reference
        blocks = blocks_of(reference)
        missing = [c for c in cases if not self._cache.has(c, self._seed)]
        lacking = {c.id for c in missing}

        def finish(case: Case, golden: Golden) -> Ready:
            try:
                if case.source is Source.END_TO_END:
                    path, scratch = source.whole(golden.feeds, "dynamic" in case.tags)
                    return Ready(case, path, golden.feeds, golden.outputs, scratch=scratch)
                part = piece(reference, [case.index]) if case.source is Source.MODEL else blocks[case.part]
                single = case.source is Source.MODEL
                model = cut(reference, part, source.weight)
                path = self.write(self._fitted(model, golden.feeds, single=single))
            except Unfit as reason:
                return Ready(case, Path(), (), (), declined=str(reason))
            inputs, attributes = _piece_view(reference, part, golden.feeds, source.weight)
            return Ready(case, path, golden.feeds, golden.outputs, inputs, attributes, scratch=path)

        for case in cases:
            if case.id not in lacking:
                golden = self._cache.load(case, self._seed, self._model_rules(reference, case, blocks))
                if golden is None:
                    missing.append(case)
                else:
                    yield finish(case, golden)
        if not missing:
            return
        self._require_oracle(missing[0])
        done = set()
        try:
            for case, golden in model_goldens(reference, missing, self._seed, source.weight, source.given):
                self._cache.store(case, self._seed, golden)
                done.add(case.id)
                yield finish(case, golden)
        except DECLINES as error:
            # What the reference run did not reach has no verdict, and says why.
            for case in missing:
                if case.id not in done:
                    yield Ready(case, Path(), (), (), problem=_why(error))

    def _fitted(self, model: onnx.ModelProto, feeds: Sequence[Feed], **how: Any) -> onnx.ModelProto:
        try:
            return fitted(model, feeds, self._demands, **how)
        except ImportError:
            raise UsageError(
                "the backend takes other opsets than the suite's, and whether a conversion is exact takes torch to "
                "tell: pip install 'conformance[oracle]'"
            ) from None

    def _source(self, name: str) -> _Source:
        """A model's graph, its constants, and how to come by the whole of it: of a reference model or the user's."""
        if name in self._plan.further:
            model = open_file(self._plan.further[name].file, self._seed)

            def brought(feeds: Sequence[Feed], dynamic: bool) -> tuple[Path, Path | None]:
                wanted = self._fitted(model.original, feeds, single=False, weight=model.weight)
                if wanted is model.original and not model.converted:
                    return model.file.path, None
                path = self.write(wanted)
                return path, path

            return _Source(model.reference, model.weight, brought, model.given)
        reference = open_model(name)
        weights = Weights(reference, self._cache_folder, self._seed)
        return _Source(
            reference, weights.get, lambda feeds, dynamic: (self._whole(weights, feeds, dynamic=dynamic), None)
        )

    def _whole(self, weights: Weights, feeds: Sequence[Feed], *, dynamic: bool) -> Path:
        """The whole model as the backend demands it: the file as it is, or another beside it, which is where the
        weights are that it names."""
        path = weights.path(dynamic=dynamic)
        model = onnx.load(str(path), load_external_data=False)
        wanted = self._fitted(model, feeds, single=False, weight=weights.get)
        if wanted is model:
            return path
        content = wanted.SerializeToString(deterministic=True)
        name = hashlib.blake2b(content, digest_size=8).hexdigest()
        other = path.with_name(f"{path.stem}-{name}.onnx")
        return other if other.exists() else share_whole(other, [content])

    def _model_rules(self, reference: Reference, case: Case, blocks: Mapping[str, Piece]) -> tuple[Any, ...]:
        if case.source is Source.MODEL:
            return rules_of(case, reference.nodes[case.index].dtypes)
        names = reference.outputs if case.source is Source.END_TO_END else blocks[case.part].outputs
        return rules_of(case, [reference.types[n][0] for n in names])

    def _golden(
        self, case: Case, rules: Sequence[Any], make: Callable[[], Golden], seed: int | None = None
    ) -> Golden:
        """``seed``: of what the golden depends on, where that is not the plan's."""
        seed = self._seed if seed is None else seed
        golden = self._cache.load(case, seed, rules)
        if golden is None:
            self._require_oracle(case)
            try:
                golden = make()
            except DECLINES as error:
                raise _OracleFailure(_why(error)) from error
            self._cache.store(case, seed, golden)
        return golden

    def _require_oracle(self, case: Case) -> None:
        if self._published_only:
            raise UsageError(
                f"no published golden for {case.id} in {self._cache_folder}: the folder is of another suite version "
                "or seed, or of a run without this case"
            )
        try:
            import torch
        except ImportError:
            raise UsageError(
                f"no golden for {case.id} in {self._cache_folder}, and computing it needs torch: "
                "pip install 'conformance[oracle]', or name a folder of published goldens (run --goldens, or "
                "CONFORMANCE_CACHE)"
            ) from None
        assert torch

    def write(self, model: onnx.ModelProto) -> Path:
        """Put a model into a scratch file of its own."""
        assert self._scratch is not None, "used outside its with block"
        return self._scratch.write(f"{next(self._serial)}.onnx", model.SerializeToString())


class _OracleFailure(Exception):
    """The reference of a case cannot be computed."""


def _why(error: BaseException) -> str:
    first = str(error).strip().splitlines() or [""]
    return f"the reference could not be computed: {type(error).__name__}: {first[0]}"


def _node_view(
    content: Content, sample: Sample
) -> tuple[tuple[tuple[np.ndarray | None, ...], ...], Mapping[str, Any]]:
    """What order-free and random rules look at: the node's inputs for each input set, and its attributes."""
    if sample.model is not None:
        return tuple(tuple(f.values()) for f in content.feeds), {}
    (node,) = nodes_of(content.model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer}
    sets = tuple(
        tuple(({**constants, **feed}).get(n) if n else None for n in node.inputs) for feed in content.feeds
    )
    return sets, node.attributes


def _piece_view(
    reference: Reference,
    part: Piece,
    feeds: Sequence[Feed],
    constant: Callable[[str], np.ndarray | None],
) -> tuple[tuple[tuple[np.ndarray | None, ...], ...], Mapping[str, Any]]:
    if len(part.positions) > 1:
        return ((),) * len(feeds), {}
    node = reference.nodes[part.positions[0]]
    sets = tuple(tuple(f[n] if n in f else constant(n) if n else None for n in node.inputs) for f in feeds)
    return sets, node.attributes
