"""Defects in how operands are read: precision lowered, operands swapped, optional ones ignored, broadcasts wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from ..dtypes import DTYPES, FLOATS, SIGNED, dtype_of, lookup
from ..graphs import schema_of
from ..rules import Accumulation, Composite, Random
from ..spec import Operator
from .outputs import BY_FLOATS, COMPARING, SQUARED, filled, float_of, floats, floored, flushed, narrowed, never
from .record import Defect
from .subject import RAISED, Inputs, NotApplicable, Outputs, Subject, equal

__all__ = ["defects"]

# Of Clip, max(input, min) is.
_COMMUTATIVE = frozenset(
    "Add Clip Mul And Or Xor Equal BitwiseAnd BitwiseOr BitwiseXor Max Min Mean Sum Concat SequenceLength".split()
)
_BROADCAST = frozenset(
    "Add Sub Mul Div Pow Mod And Or Xor Equal Greater Less GreaterOrEqual LessOrEqual BitwiseAnd BitwiseOr "
    "BitwiseXor BitShift Max Min Mean Sum Where PRelu".split()
)

# Softmax is the same of numbers that are all moved by the same.
_WITHOUT_EFFECT = frozenset({("QLinearSoftmax", "x_zero_point")})

# Numbers with digits to lose; two of each that differ in the last ones alone.
_LONG = (1001.37, -0.12345, 321.9876, -57.31, 1001.36, -0.12344)


def _each_input(change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Subject], Outputs]:
    def spoil(subject: Subject) -> Outputs:
        return subject.evaluate(lambda inputs: _through(change, inputs))

    return spoil


def _through(change: Callable[[np.ndarray], np.ndarray | None], inputs: Inputs) -> list[Any]:
    """The inputs with those arrays changed that ``change`` has something to say about."""
    changed = [change(a) if isinstance(a, np.ndarray) else None for a in inputs]
    return [a if new is None else new for a, new in zip(inputs, changed, strict=True)]


def _integer_in(name: str) -> Callable[[np.ndarray], np.ndarray | None]:
    def change(array: np.ndarray) -> np.ndarray | None:
        if array.dtype.kind not in "iu" or array.dtype.itemsize < 4:
            return None
        with np.errstate(all="ignore"):
            if name == "int32":  # saturated: a uint32 that wraps has all its bits when it comes back
                limits = np.iinfo(np.int32)
                clipped: np.ndarray = np.clip(
                    array, max(int(limits.min), int(np.iinfo(array.dtype).min)), limits.max
                )
                return clipped
            narrow: np.ndarray = array.astype(DTYPES[name].numpy).astype(array.dtype)
            return narrow

    return change


_flushed = floats(flushed)


def _tells(change: Callable[[np.ndarray], np.ndarray | None], fill: Sequence[float]) -> Callable[[Subject], bool]:
    """Whether outputs depend on the digits that ``change`` takes away, once the operands are full of them."""

    def possible(subject: Subject) -> bool:
        def full(inputs: list[Any]) -> list[Any]:
            found = []
            for array in inputs:
                kind = float_of(array)
                if kind is not None:
                    values = np.array(fill or [kind.smallest / 2, -kind.smallest / 4])
                    array = np.resize(values, array.shape).astype(array.dtype)
                found.append(array)
            return found

        def taken_away(inputs: list[Any]) -> list[Any]:
            return _through(change, full(inputs))

        return not equal(subject.evaluate(full), subject.evaluate(taken_away))

    return possible


def _swapped(subject: Subject) -> Outputs:
    def swapped(inputs: list[Any]) -> Inputs:
        if len(inputs) < 2 or any(not isinstance(a, np.ndarray) for a in inputs[:2]):
            raise NotApplicable
        if inputs[0].dtype != inputs[1].dtype:
            raise NotApplicable
        return [inputs[1], inputs[0], *inputs[2:]]

    return subject.evaluate(swapped)


def _cyclic(subject: Subject) -> Outputs:
    """A smaller operand is read again from its beginning, instead of along its axes."""

    def changed(inputs: list[Any]) -> Inputs:
        arrays = [a for a in inputs if isinstance(a, np.ndarray)]
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        if all(a.size == 1 or a.shape == shape for a in arrays) or 0 in shape:
            raise NotApplicable
        return [np.resize(a, shape) if isinstance(a, np.ndarray) and a.size > 1 else a for a in inputs]

    return subject.evaluate(changed)


def _ignored(position: int) -> Callable[[Subject], Outputs]:
    def spoil(subject: Subject) -> Outputs:
        _ = subject.node  # of a graph of several, the inputs are not the operator's

        def changed(inputs: list[Any]) -> Inputs:
            if position >= len(inputs) or inputs[position] is None:
                raise NotApplicable
            return [None if p == position else a for p, a in enumerate(inputs)]

        return subject.evaluate(changed)

    return spoil


def _counts(position: int, name: str) -> Callable[[Subject], bool]:
    """Whether an optional input can matter: the zero points of float8 are zero by definition."""

    def possible(subject: Subject) -> bool:
        given = [one[position] for one in subject.inputs if position < len(one)]
        return any(
            isinstance(a, np.ndarray) and not (name.endswith("zero_point") and lookup(dtype_of(a)).is_float)
            for a in given
        )

    return possible


def _narrowed(name: str, dtypes: tuple[str, ...]) -> Defect:
    change = floats(narrowed(name))

    def legal(subject: Subject) -> bool:
        # Results that are rounded to float32 may come from operands that were: no bound tells.
        narrow = all(e.dtype != "float64" for e in subject.expected[0])
        return (
            name == "float32" and narrow and any(isinstance(r, (Accumulation, Composite)) for r in subject.rules)
        )

    def spoil(subject: Subject) -> Outputs:
        if legal(subject):
            raise NotApplicable
        return _each_input(change)(subject)

    return Defect(f"operands-in-{name}", spoil, dtypes, silent=_tells(change, _LONG))


def _differ(one: np.ndarray, other: np.ndarray, name: str) -> bool:
    return not (float_of(one) is not None and name == "float32") and not equal([[one]], [[other]])


def _whole(operator: Operator, name: str, dtypes: tuple[str, ...]) -> Defect:
    change = _integer_in(name)

    def possible(subject: Subject) -> bool:
        for fill in filled(subject):

            def through(inputs: list[Any], fill: Callable[[list[Any]], Inputs] = fill) -> Inputs:
                return _through(change, fill(inputs))

            try:
                pairs = zip(subject.evaluate(fill), subject.evaluate(through), strict=True)
                # Whole numbers that become floats may do so by way of float32.
                if any(_differ(a, b, name) for one, other in pairs for a, b in zip(one, other, strict=True)):
                    return True
            except (NotApplicable, *RAISED):
                continue
        return False

    silent = never if operator.name in BY_FLOATS else possible
    return Defect(f"operands-through-{name}", _each_input(change), dtypes, silent=silent)


def defects(operator: Operator) -> list[Defect]:
    """Of any operator that computes: one that draws at random has its own."""
    if all(isinstance(r, Random) for r in operator.rules) or operator.name == "Loop":  # which might never end
        return []
    found = [
        _narrowed("bfloat16", ("float32", "float16")),
        _narrowed("tf32", ("float32",)),
        _narrowed("float16", ("float32", "bfloat16")),
        _narrowed("float32", ("float64",)),
        _whole(operator, "int32", ("int64", "uint64", "uint32")),
        _whole(operator, "float32", ("int32", "int64")),
        Defect(
            "subnormal-operands-flushed",
            _each_input(_flushed),
            FLOATS,
            silent=never if operator.name in SQUARED | COMPARING else _tells(_flushed, ()),
        ),
    ]
    if floored(operator):
        found = [d for d in found if d.name != "subnormal-operands-flushed"]
    if not operator.domain and operator.name not in _COMMUTATIVE:
        found.append(Defect("operands-swapped", _swapped))
    if operator.name in _BROADCAST:
        # Slopes are for numbers below zero.
        signed = (*FLOATS, *SIGNED) if operator.name == "PRelu" else None
        found.append(Defect("cyclic-broadcast", _cyclic, signed))
    schema = schema_of(operator.name, onnx.defs.onnx_opset_version(), operator.domain)
    if schema is not None:
        optional = onnx.defs.OpSchema.FormalParameterOption.Optional
        found += [
            Defect(
                f"input-ignored:{formal.name}",
                _ignored(position),
                silent=never
                if (operator.name, formal.name) in _WITHOUT_EFFECT
                else _counts(position, formal.name),
            )
            for position, formal in enumerate(schema.inputs)
            if formal.option == optional
        ]
    return found
