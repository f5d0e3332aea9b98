"""Which reduced precision explains outputs that are inaccurate: the format of the operands, and that of the results.

Looks only at what has been judged inaccurate, so that a backend that passes costs nothing; it changes no verdict. A format
is named where it alone accounts for the errors (docs/adr/0011 has the odds), and none where nothing does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from .casework import Ready
from .dtypes import FLOATS, lookup
from .graphs import Node, nodes_of
from .interpreter import DECLINES, call, to_tensor
from .judge import Judgement
from .numerics import Expected, approximates
from .operators import catalogue
from .precision import FORMATS, Mode
from .rules import Accumulation
from .spec import Verdict

if TYPE_CHECKING:
    import torch

__all__ = ["named"]

# A format is named from this many outputs that it moves, and where what it leaves of the squared errors is below a
# 16th: errors of another origin come that close to it by a chance of 16^-((16-1)/2), one in 10^9.
OUTPUTS = 16
LEFT = 1 / 16
# Products and results beyond which nothing is evaluated again: a fifth of a second of one core.
LARGEST_SUMS, LARGEST_OUTPUTS = 1 << 25, 1 << 20
# Results in a narrow format are off by less than this in the root mean square: bfloat16 sums of 4096 terms by 1/64.
NEAR = 1 / 8
# A format is preferred to one named before it only where it leaves clearly less.
CLEARLY = 0.8


def named(judgement: Judgement, ready: Ready, outputs: Sequence[Sequence[Any]]) -> Judgement:
    """The same judgement, with the mode that explains it at the end of its message and in its error record: for
    ``inaccurate``, and where there is one. ``outputs``: what was judged, for each input set."""
    if judgement.verdict is not Verdict.INACCURATE or ready.expected is None or ready.lengths:
        return judgement
    if "special" in ready.case.tags:  # what becomes of a subnormal number says nothing of digits
        return judgement
    pairs = [
        (want, np.asarray(got))
        for one, actual in zip(ready.expected, outputs, strict=True)
        for want, got in zip(one, actual, strict=True)
    ]
    at = [i for i, (want, got) in enumerate(pairs) if want.dtype in FLOATS and approximates(want) and got.size]
    if not at or sum(got.size for _, got in pairs) > LARGEST_OUTPUTS:
        return judgement
    wants = [pairs[i][0] for i in at]
    actual = [pairs[i][1].astype(np.float64) for i in at]
    results = _grid(wants, actual)
    inputs = _operands(ready, at, wants, actual, results)
    if not inputs and not results:
        return judgement
    mode = Mode(inputs, results)
    message = f"{judgement.message}; behaves like {mode}"
    return replace(judgement, message=message, error=judgement.error | {"mode": mode.as_json()})


def _is_of(values: np.ndarray, name: str) -> bool:
    """Whether a format has all these numbers."""
    if name == "tf32":  # a float32 without its last 13 bits
        return _is_of(values, "float32") and not (values.astype(np.float32).view(np.uint32) & 0x1FFF).any()
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array_equal(values.astype(lookup(name).numpy).astype(np.float64), values)


def _narrower(dtype: str) -> list[str]:
    """The formats with fewer digits than a dtype, the widest first."""
    return [name for name, bits in FORMATS.items() if bits <= lookup(dtype).p]


def _grid(wants: Sequence[Expected], actual: Sequence[np.ndarray]) -> str:
    """The narrowest format that all results are numbers of, though what is expected of them is not. They must resemble
    it, however: whole numbers, or one number everywhere, are of every format."""
    (dtype, *others) = dict.fromkeys(want.dtype for want in wants)
    if others:
        return ""
    got = np.concatenate([a.reshape(-1) for a in actual])
    with np.errstate(over="ignore", invalid="ignore"):
        right = np.concatenate([w.value.astype(lookup(dtype).numpy).astype(np.float64).reshape(-1) for w in wants])
    use = np.isfinite(got) & np.isfinite(right) & (got != 0)
    got, right = got[use], right[use]
    if not np.square(got - right).sum() < NEAR**2 * np.square(right).sum():
        return ""
    for name in reversed(_narrower(dtype)):
        if _is_of(got, name):
            # A number of more digits than these has their last bit by a chance of one in two at least.
            telling = np.frexp(right)[0] * 2.0 ** FORMATS[name] % 1.0 != 0.0
            return name if np.count_nonzero(telling) >= OUTPUTS else ""
    return ""


def _operands(
    ready: Ready, at: Sequence[int], wants: Sequence[Expected], actual: Sequence[np.ndarray], results: str
) -> str:
    """The format of the operands that explains the errors: of the factors of products, where there are products, and
    otherwise of the inputs."""
    node = _node(ready)
    if node is None or _sums(wants) > LARGEST_SUMS:
        return ""
    import torch

    from .planted.device import rounded

    def put(values: np.ndarray) -> np.ndarray:
        return np.asarray(rounded(torch.from_numpy(np.array(values)), results).numpy()) if results else values

    right = [put(want.value) for want in wants]
    found, least = "", LEFT
    for name, truncate in _candidates(wants[0].dtype):
        for evaluate in (_with_factors, _with_inputs):
            try:
                values = evaluate(node, ready, wants[0].dtype, name, truncate)
            except DECLINES:
                continue
            moved = [put(values[i]) for i in at]
            if [m.shape for m in moved] != [w.shape for w in right]:  # Range's length is made of its inputs
                continue
            left = _left(actual, right, moved, [w.value for w in wants])
            if left is not None and left < least:
                found, least = name, left * CLEARLY
    return found


def _with_factors(node: Node, ready: Ready, dtype: str, name: str, truncate: bool) -> list[np.ndarray]:
    """The definition in float64 with the factors of every product in it put into a format."""
    from .planted.device import Arithmetic

    arithmetic = Arithmetic(accumulator="float64", order=_at_once, operands=name, chop=truncate)
    return _evaluate(node, ready, lambda work: arithmetic.run(dtype, work), lambda tensor: tensor)


def _with_inputs(node: Node, ready: Ready, dtype: str, name: str, truncate: bool) -> list[np.ndarray]:
    """The definition in float64 on inputs that were put into a format."""
    from .planted.device import rounded

    return _evaluate(node, ready, lambda work: work(), lambda tensor: rounded(tensor, name, truncate=truncate))


def _evaluate(
    node: Node,
    ready: Ready,
    run: Callable[[Callable[[], list[torch.Tensor]]], list[torch.Tensor]],
    change: Callable[[torch.Tensor], torch.Tensor],
) -> list[np.ndarray]:
    found = []
    for one in ready.inputs:
        tensors = [None if a is None else change(to_tensor(a, widen=True)) for a in one]
        results = run(functools.partial(call, node, tensors, widen=True))
        found += [results[i].double().numpy() for i, d in enumerate(node.dtypes) if d]
    return found


def _at_once(count: int) -> list[list[torch.Tensor]]:
    import torch

    return [[torch.arange(count)]]


def _candidates(dtype: str) -> Iterator[tuple[str, bool]]:
    """To nearest before towards zero, and the wider formats first."""
    narrower = _narrower(dtype)
    yield from ((name, False) for name in narrower)
    yield from ((name, True) for name in narrower if name != "float32")


def _left(
    actual: Sequence[np.ndarray],
    right: Sequence[np.ndarray],
    moved: Sequence[np.ndarray],
    scale: Sequence[np.ndarray],
) -> float | None:
    """The share of the squared errors that remains against ``moved`` in place of ``right``; None where too few
    outputs are moved at all."""
    before = after = 0.0
    count = 0
    for got, one, other, size in zip(actual, right, moved, scale, strict=True):
        use = np.isfinite(got) & np.isfinite(one) & np.isfinite(other)
        got, one, other = got[use], one[use], other[use]
        unit = float(np.square(size[use]).mean()) if use.any() else 0.0
        if not unit:
            continue
        before += float(np.square(got - one).sum()) / unit
        after += float(np.square(got - other).sum()) / unit
        count += int(np.count_nonzero(one != other))
    return after / before if count >= OUTPUTS and before > 0.0 else None


def _sums(wants: Sequence[Expected]) -> float:
    """How many products an evaluation adds up, as far as the references tell."""
    return sum(
        float(np.broadcast_to(w.terms, w.value.shape).sum())
        for w in wants
        if isinstance(w.rule, Accumulation) and w.terms is not None
    )


def _node(ready: Ready) -> Node | None:
    """The case's only node, where the catalogue has a definition of it and torch is there to evaluate it."""
    try:
        import torch
    except ImportError:  # not needed where the references are published ones
        return None
    assert torch
    arrays = [a for one in ready.inputs for a in one if a is not None]
    if not arrays or any(a.dtype.kind in "OUS" for a in arrays):
        return None
    nodes = nodes_of(onnx.load(ready.model))
    known = len(nodes) == 1 and catalogue().get((nodes[0].domain, nodes[0].operator))
    return nodes[0] if known and known.meaning is not None else None
