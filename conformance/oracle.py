"""What is right: float64 references of cases and what conditions them, computed once and cached.

Single operators are evaluated by their definitions in float64 on inputs that are representable in the dtype
under test. Pieces of models get the inputs that the model's float64 run has at that place, rounded to their
declared types (teacher forcing), so that a defect is charged to the operator that has it.
"""

from __future__ import annotations

import locale
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from . import models
from .cuts import Piece, Reference, blocks_of, piece
from .dtypes import dtype_of, lookup, torch_dtype
from .goldens import Golden
from .graphs import Content, Node, nodes_of
from .interpreter import call, last_uses, operator_of, run_nodes, to_array, to_tensor
from .numerics import COMPOSITE_SIGMAS, Expected, allowed
from .operators import catalogue
from .rules import EXACT, Accumulation, Composite, OrderFree, Random, Requantised, Rule
from .spec import Case, Operator, Sample, Source

if TYPE_CHECKING:
    import torch

__all__ = [
    "COMPOSITE",
    "asks_evaluator",
    "effective_rule",
    "evaluate",
    "expect",
    "expect_content",
    "expect_graph",
    "model_goldens",
    "piece_rule",
    "rules_of",
]

COMPOSITE = Composite()
REQUANTISED = Requantised()
# Disturbed runs of an operator whose outputs are many (a lack of samples is then made up for by all the elements
# together), and of a whole model.
LARGE_SAMPLES = 4
LARGE = 20_000
MODEL_SAMPLES = 2
SMALL_MODEL_SAMPLES = 4


def effective_rule(rule: Rule, dtype: str) -> Rule:
    """The rule that holds for an output of this type: all but floats are equal or not, unless the rule is made
    for them."""
    special = isinstance(rule, (OrderFree, Random, Requantised))
    return rule if special or (dtype and lookup(dtype).is_float) else EXACT


def piece_rule(dtype: str) -> Rule:
    """The rule of an output of several nodes together: what has been quantised may be on either side of a tie."""
    return REQUANTISED if dtype in ("int8", "uint8") else effective_rule(COMPOSITE, dtype)


def _is_approximate(rule: Rule) -> bool:
    return not (rule == EXACT or isinstance(rule, (type(EXACT), OrderFree, Random)))


def rules_of(case: Case, dtypes: Sequence[str], sample: Sample | None = None) -> tuple[Rule, ...]:
    """The rule of each output that a case yields, in order (outputs left out have dtype "")."""
    if case.source in (Source.BLOCK, Source.END_TO_END):
        return tuple(piece_rule(d) for d in dtypes if d)
    operator = catalogue().get((case.domain, case.operator))
    rules = [operator.rule_for(i) if operator else EXACT for i in range(len(dtypes))]
    if sample is not None and sample.exact:
        rules = [EXACT] * len(dtypes)
    return tuple(effective_rule(r, d) for r, d in zip(rules, dtypes, strict=True) if d)


def expect_content(case: Case, content: Content, sample: Sample) -> tuple[tuple[Expected, ...], ...]:
    """The expected outputs of an operator case for each of its input sets."""
    operator = catalogue()[case.domain, case.operator]
    if asks_evaluator(operator, content, sample):
        same = content.model if sample.reference is None else sample.reference(case.dtype, case.opset)
        return tuple(_by_evaluator(same, feed) for feed in content.feeds)
    (node,) = nodes_of(content.model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer}
    return tuple(
        expect(
            node,
            [({**constants, **feed})[n] if n else None for n in node.inputs],
            key=f"{case.id}/{k}",
            exact=sample.exact,
        )
        for k, feed in enumerate(content.feeds)
    )


def asks_evaluator(operator: Operator, content: Content, sample: Sample) -> bool:
    """Whether ONNX's evaluator is this case's oracle: its operator has no definition on tensors, or the model is the
    sample's own, or there are strings that the operator does more with than move and compare them."""
    if operator.meaning is None or sample.model is not None or sample.reference is not None:
        return True
    if operator.strings:
        return False
    values = (*content.model.graph.input, *content.model.graph.output)
    return any(v.type.tensor_type.elem_type == onnx.TensorProto.STRING for v in values)


def evaluate(model: onnx.ModelProto, feed: Mapping[str, Any]) -> list[Any]:
    """A model's outputs by ONNX's reference evaluator. Its StringNormalizer sets the locale of the whole process, and
    with it how text is decoded everywhere: what was set before is set again."""
    from onnx.reference import ReferenceEvaluator

    before = locale.setlocale(locale.LC_ALL)
    try:
        return list(ReferenceEvaluator(model).run(None, dict(feed)))
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _by_evaluator(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> tuple[Expected, ...]:
    arrays = [np.asarray(o) for o in evaluate(model, feed)]
    return tuple(Expected(dtype_of(a), EXACT, a) for a in arrays)


def expect(
    node: Node, inputs: Sequence[np.ndarray | None], *, key: str, exact: bool = False
) -> tuple[Expected, ...]:
    """The expected outputs of one node with their conditioning; outputs that are left out are skipped.

    ``inputs``: arrays in their declared types. ``key`` names the Monte Carlo draws. ``exact``: the result is
    representable, whatever the rule.
    """
    if any(a is not None and dtype_of(a) == "string" for a in inputs):
        return _expect_strings(node, inputs, key=key)
    operator = operator_of(node)
    rules = [effective_rule(operator.rule_for(i), d) for i, d in enumerate(node.dtypes)]
    widen = exact or any(_is_approximate(r) for r, d in zip(rules, node.dtypes, strict=True) if d)
    tensors = [None if a is None else to_tensor(a, widen=widen) for a in inputs]
    results = call(node, tensors, widen=widen)
    wanted = [i for i, d in enumerate(node.dtypes) if d]
    found: dict[int, Expected] = {}
    for i in wanted:
        rule = EXACT if exact else rules[i]
        float_reference = _is_approximate(rule) and lookup(node.dtypes[i]).is_float
        value = to_array(results[i], "float64" if float_reference else node.dtypes[i])
        found[i] = Expected(node.dtypes[i], rule, value)
    if any(isinstance(e.rule, Accumulation) for e in found.values()):
        _condition(node, tensors, found)
    if any(isinstance(e.rule, Composite) for e in found.values()):
        _propagate(
            lambda: [call(node, tensors, widen=True)[i] for i in wanted], found, _working_dtype(node, inputs), key
        )
        _drift(node, tensors, found)
    if any(isinstance(e.rule, Requantised) for e in found.values()):
        _bracket(node, tensors, inputs, found)
    return tuple(found[i] for i in wanted)


def _expect_strings(node: Node, inputs: Sequence[np.ndarray | None], *, key: str) -> tuple[Expected, ...]:
    """As `expect`, of an operator that moves and compares strings: they go in and come out as their places in the
    sorted list of all, in which the empty string, their zero, is the first."""
    texts = [a is not None and dtype_of(a) == "string" for a in inputs]
    found = {str(s) for a, text in zip(inputs, texts, strict=True) if text and a is not None for s in a.flat}
    words = np.array(sorted(found | {""}), dtype=object)
    places = [
        np.searchsorted(words, a) if text and a is not None else a for a, text in zip(inputs, texts, strict=True)
    ]
    as_numbers = replace(node, dtypes=tuple("int64" if d == "string" else d for d in node.dtypes))
    expected = expect(as_numbers, places, key=key)
    return tuple(
        replace(e, dtype=d, value=np.asarray(words[e.value], dtype=object)) if d == "string" else e
        for e, d in zip(expected, (d for d in node.dtypes if d), strict=True)
    )


def _working_dtype(node: Node, inputs: Sequence[np.ndarray | None]) -> str:
    """The format in which an implementation would work: the narrowest float among outputs, else among inputs."""
    names = [d for d in node.dtypes if d and lookup(d).is_float]
    names = names or [dtype_of(a) for a in inputs if a is not None and lookup(dtype_of(a)).is_float]
    return min(names, key=lambda d: lookup(d).p, default="float32")


def _operands(rule: Accumulation | Requantised, tensors: Sequence[torch.Tensor | None]) -> list[int]:
    floats = [i for i, t in enumerate(tensors) if t is not None and t.is_floating_point()]
    return floats if rule.operands is None else [i for i in rule.operands if i in floats]


def _condition(node: Node, tensors: Sequence[torch.Tensor | None], found: dict[int, Expected]) -> None:
    """A and K: the operator itself, run on absolute values and on ones."""
    import torch

    for i, expected in found.items():
        rule = expected.rule
        if not isinstance(rule, Accumulation):
            continue
        positions = _operands(rule, tensors)
        attributes = dict(node.attributes)
        if rule.magnitude is not None:
            attributes = {**attributes, **rule.magnitude(dict(attributes))}
        # A bound needs no more digits than float32 has, and is far cheaper there.
        wide = "float64" if expected.dtype == "float64" else "float32"
        working = [t.to(torch_dtype(wide)) if t is not None and t.is_floating_point() else t for t in tensors]
        sizes = [t.abs() if t is not None and p in positions else t for p, t in enumerate(working)]
        ones = [torch.ones_like(t) if t is not None and p in positions else t for p, t in enumerate(working)]
        magnitude = call(node, sizes, widen=True, wide=wide, attributes=attributes)[i]
        terms = call(node, ones, widen=True, wide=wide, attributes=attributes, meaning=rule.count)[i]
        found[i] = replace(
            expected,
            magnitude=to_array(magnitude, "float64"),
            terms=np.maximum(to_array(terms, "float64"), 1.0),
        )


def _propagate(
    run: Callable[[], Sequence[torch.Tensor]],
    found: dict[int, Expected],
    dtype: str,
    key: str,
    samples: int | None = None,
) -> None:
    """σ of the outputs that rounding touches, by disturbed runs of the definition."""
    from .montecarlo import OPERATOR_SAMPLES, lean, spread

    order = sorted(found)
    base = [found[i].value for i in order]
    if samples is None:
        samples = OPERATOR_SAMPLES if max(b.size for b in base) < LARGE else LARGE_SAMPLES
        spreads = spread(run, dtype, samples, key, base)
        for sigma, leaning in zip(spreads, lean(run, dtype, base), strict=True):
            sigma += leaning / COMPOSITE_SIGMAS  # so that it counts once
    else:  # a block or a model: too few functions one after the other for it to matter
        spreads = spread(run, dtype, samples, key, base)
    for i, sigma in zip(order, spreads, strict=True):
        # An integer that came out otherwise in a disturbed run (a tie of a quantisation, the index of the larger of
        # two near-equals) is rounding's to decide, too.
        if isinstance(found[i].rule, Composite) or np.isinf(sigma).any():
            found[i] = replace(found[i], spread=sigma)


def _drift(node: Node, tensors: Sequence[torch.Tensor | None], found: dict[int, Expected]) -> None:
    """The errors of the composites that all lean to one side, added to σ so that they count once."""
    for i, expected in found.items():
        if isinstance(expected.rule, Composite) and expected.rule.drift is not None:
            assert expected.spread is not None
            units = to_array(call(node, tensors, widen=True, meaning=expected.rule.drift)[i], "float64")
            drift = units * lookup(expected.dtype).u
            found[i] = replace(expected, spread=expected.spread + drift / COMPOSITE_SIGMAS)


def _bracket(
    node: Node,
    tensors: Sequence[torch.Tensor | None],
    inputs: Sequence[np.ndarray | None],
    found: dict[int, Expected],
) -> None:
    """The definition's values with each real operand moved by 4u either way: what a rounding tie can become."""
    for i, expected in found.items():
        if not isinstance(expected.rule, Requantised):
            continue
        low = high = expected.value
        for p in _operands(expected.rule, tensors):
            array = inputs[p]
            assert array is not None
            original = tensors[p]
            assert original is not None
            for changed in _moved(original, 4.0 * lookup(dtype_of(array)).u, expected.rule.extremes):
                moved = list(tensors)
                moved[p] = changed
                value = to_array(call(node, moved, widen=True)[i], expected.dtype)
                low, high = np.minimum(low, value), np.maximum(high, value)
        found[i] = replace(expected, low=low, high=high)


def _moved(tensor: torch.Tensor, by: float, extremes: bool) -> Iterator[torch.Tensor]:
    """The tensor with all elements moved either way, and with its extremes alone, each and both."""
    import torch

    parts = [torch.ones_like(tensor, dtype=torch.bool)]
    if extremes and tensor.numel():
        least, most = tensor == tensor.min(), tensor == tensor.max()
        parts += [least, most, least | most]
    for part in parts:
        for step in (1.0 - by, 1.0 + by):
            yield torch.where(part, tensor * step, tensor)


# --- Reference models ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A case that a model's run must yield, with the nodes that it is cut from."""

    case: Case
    part: Piece


def model_goldens(
    reference: Reference,
    cases: Sequence[Case],
    seed: int,
    weight: Callable[[str], np.ndarray | None],
    given: Mapping[int, Mapping[str, np.ndarray]] = MappingProxyType({}),
) -> Iterator[tuple[Case, Golden]]:
    """The goldens of a model's cases, in the order in which the model's float64 run reaches them.

    One run serves them all, and every value is freed at its last use. ``weight`` gives initializers by name.
    ``given``: of nodes that the catalogue does not define, by position, what they yield, as far as it is known.
    The end-to-end case, where asked for, comes last.
    """
    whole = [c for c in cases if c.source is Source.END_TO_END]
    blocks = blocks_of(reference)
    wanted = [
        _Wanted(c, piece(reference, [c.index]) if c.source is Source.MODEL else blocks[c.part])
        for c in cases
        if c.source is not Source.END_TO_END
    ]
    at: dict[int, list[_Wanted]] = {}
    for w in wanted:
        at.setdefault(w.part.positions[-1], []).append(w)
    feeds = {n: models.feed(reference.model, n, seed) for n in reference.model.inputs}
    values: dict[str, torch.Tensor] = {n: to_tensor(a, widen=True) for n, a in feeds.items()}
    freed = _freed(reference, wanted)

    def lookup_value(name: str) -> torch.Tensor | None:
        if name in values:
            return values[name]
        array = weight(name)
        return None if array is None else to_tensor(array, widen=True)

    last = max(at, default=-1) if not whole else len(reference.nodes) - 1
    for position, node in enumerate(reference.nodes[: last + 1]):
        if position in given:
            values.update((n, to_tensor(a, widen=True)) for n, a in given[position].items())
            continue
        inputs = [lookup_value(n) if n else None for n in node.inputs]
        results = call(node, inputs, widen=True)
        del inputs
        for entry in at.get(position, ()):
            forced = {n: to_array(values[n], reference.types[n][0]) for n in entry.part.inputs}
            yield entry.case, _piece_golden(reference, entry, forced, weight)
        values.update((n, r) for n, r in zip(node.outputs, results, strict=False) if n)
        del results
        for name in freed[position]:
            values.pop(name, None)
    for case in whole:
        if "dynamic" in case.tags:
            yield case, _dynamic_golden(reference, case, seed, weight)
        else:
            reached = [values[n] for n in reference.outputs]
            yield case, Golden((feeds,), (_whole(reference, case.id, feeds, reached, weight),))


def _dynamic_golden(
    reference: Reference, case: Case, seed: int, weight: Callable[[str], np.ndarray | None]
) -> Golden:
    """A model at its own lengths, at each of its further ones, and at its own again, as one prepared model meets them."""
    model = reference.model
    sets = [{n: models.feed(model, n, seed, sizes) for n in model.inputs} for sizes in (None, *model.sizes)]
    outputs = [_whole(reference, f"{case.id}/{k}", feeds, None, weight) for k, feeds in enumerate(sets)]
    return Golden((*sets, sets[0]), (*outputs, outputs[0]))


def _freed(reference: Reference, wanted: Sequence[_Wanted]) -> list[list[str]]:
    """As `last_uses`, but what a block reads is held until the block's last node has been reached."""
    freed = last_uses(reference.nodes, keep=reference.outputs)
    where = {name: position for position, names in enumerate(freed) for name in names}
    for entry in wanted:
        end = entry.part.positions[-1]
        for name in entry.part.inputs:
            if where.get(name, end) < end:
                where[name] = end
    later: list[list[str]] = [[] for _ in freed]
    for name, position in where.items():
        later[position].append(name)
    return later


def _piece_golden(
    reference: Reference,
    entry: _Wanted,
    forced: Mapping[str, np.ndarray],
    weight: Callable[[str], np.ndarray | None],
) -> Golden:
    nodes = [reference.nodes[p] for p in entry.part.positions]
    if len(nodes) == 1:
        inputs = [forced.get(n, weight(n)) if n else None for n in nodes[0].inputs]
        return Golden((forced,), (expect(nodes[0], inputs, key=entry.case.id),))
    outputs = {n: reference.types[n][0] for n in entry.part.outputs}
    expected = expect_graph(nodes, forced, outputs, weight, key=entry.case.id)
    return Golden((forced,), (expected,))


def expect_graph(
    nodes: Sequence[Node],
    feeds: Mapping[str, np.ndarray],
    outputs: Mapping[str, str],
    weight: Callable[[str], np.ndarray | None],
    *,
    key: str,
    samples: int | None = None,
    values: Sequence[torch.Tensor] | None = None,
) -> tuple[Expected, ...]:
    """The expected outputs of several nodes together: a fused piece, or a whole model.

    ``outputs``: the declared dtype of each output by name; ``values``: their float64 results, where these are known
    already. Floats are composites: each step's rounding, in the narrowest float that the nodes declare, is carried
    through those that follow. Disturbed runs of types up to float32 work in float32: what they sample is far above
    its own rounding or, for float32, is that rounding.
    """
    floats = {d for node in nodes for d in node.dtypes if d and lookup(d).is_float}
    working = min(floats, key=lambda d: lookup(d).p, default="float32")

    def run(wide: str, names: Sequence[str]) -> list[torch.Tensor]:
        def tensor_weight(name: str) -> torch.Tensor | None:
            array = weight(name)
            return None if array is None else to_tensor(array, widen=True, wide=wide)

        tensors = {n: to_tensor(a, widen=True, wide=wide) for n, a in feeds.items()}
        return run_nodes(nodes, tensors, names, tensor_weight, widen=True, wide=wide)

    # Before a quantiser the numbers are still real: what rounding can do to them says which ties can go either way.
    ends = {n: q for q in nodes if q.operator == "QuantizeLinear" for n in q.outputs if n in outputs}
    made = {o: d for node in nodes for o, d in zip(node.outputs, node.dtypes, strict=True)}
    inner = {q.inputs[0]: made[q.inputs[0]] for q in ends.values() if q.inputs[0] in made}
    declared = {**outputs, **{n: d for n, d in inner.items() if n not in outputs}}
    reached = run("float64", [*declared]) if values is None else values
    found = {}
    for i, (result, dtype) in enumerate(zip(reached, declared.values(), strict=True)):
        rule = piece_rule(dtype)
        found[i] = Expected(dtype, rule, to_array(result, "float64" if rule is COMPOSITE else dtype))
    if any(e.rule is COMPOSITE for e in found.values()):
        wide = "float64" if working == "float64" else "float32"
        _propagate(lambda: run(wide, [*declared]), found, working, key, samples)
    by_name = dict(zip(declared, found.values(), strict=True))
    for name, expected in by_name.items():
        if expected.rule is REQUANTISED:
            node = ends.get(name)
            source = None if node is None else by_name.get(node.inputs[0])
            by_name[name] = _between(expected, node, source, weight)
    return tuple(by_name[name] for name in outputs)


def _between(
    expected: Expected,
    node: Node | None,
    source: Expected | None,
    weight: Callable[[str], np.ndarray | None],
) -> Expected:
    """The quantiser's values at both ends of what rounding leaves of its input, each end moved outwards by 4u as
    the operator's own cases have it. Where no such input is known: one more or less where a disturbed run had another."""
    low = high = expected.value
    if (node is None or source is None) and expected.spread is not None:
        tie = np.isinf(expected.spread)
        low, high = low.astype(np.float64) - tie, high.astype(np.float64) + tie
    if node is not None and source is not None:
        reach = allowed(source) + 4.0 * lookup(source.dtype).u * np.abs(source.value)
        # `cuts` has only quantisers with a constant scale end a piece.
        others = [
            to_tensor(a, widen=True) if n and (a := weight(n)) is not None else None for n in node.inputs[1:]
        ]
        ends = [
            to_array(
                call(node, [to_tensor(source.value + side, widen=True), *others], widen=True)[0], expected.dtype
            )
            for side in (-reach, reach)
        ]
        low, high = np.minimum(low, np.minimum(*ends)), np.maximum(high, np.maximum(*ends))
    return replace(expected, low=low, high=high)


def _whole(
    reference: Reference,
    key: str,
    feeds: Mapping[str, np.ndarray],
    reached: Sequence[torch.Tensor] | None,
    weight: Callable[[str], np.ndarray | None],
) -> tuple[Expected, ...]:
    """The float64 run and the drift of a float32 one, sampled: a few Monte Carlo runs of the whole graph.

    With so few runs a single element's spread is uncertain, so half of it is taken from the whole tensor.
    """
    declared = {n: reference.types[n][0] for n in reference.outputs}
    many = max(math.prod(reference.types[n][1] or ()) for n in reference.outputs) >= LARGE
    outputs = expect_graph(
        reference.nodes,
        feeds,
        declared,
        weight,
        key=key,
        samples=MODEL_SAMPLES if many else SMALL_MODEL_SAMPLES,
        values=reached,
    )
    pooled = []
    for expected in outputs:
        if expected.spread is not None and expected.spread.size:
            energy = np.square(expected.spread)
            expected = replace(expected, spread=np.sqrt(0.5 * energy + 0.5 * energy.mean()))
        pooled.append(expected)
    return tuple(pooled)
