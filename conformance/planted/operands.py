"""Defects in how operands are read: precision lowered, operands swapped, optional ones ignored, broadcasts wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from ..dtypes import DTYPES, FLOATS, dtype_of, lookup
from ..graphs import schema_of
from ..rules import Random
from ..spec import Operator
from .outputs import _in
from .record import Defect
from .subject import Inputs, NotApplicable, Outputs, Subject, equal

__all__ = ["defects"]

_COMMUTATIVE = frozenset(
    "Add Mul And Or Xor Equal BitwiseAnd BitwiseOr BitwiseXor Max Min Mean Sum Concat".split()
)
_BROADCAST = frozenset(
    "Add Sub Mul Div Pow Mod And Or Xor Equal Greater Less GreaterOrEqual LessOrEqual BitwiseAnd BitwiseOr "
    "BitwiseXor BitShift Max Min Mean Sum Where PRelu".split()
)

# Numbers with digits to lose; two of each that differ in the last ones alone.
_LONG = (1001.37, -0.12345, 321.9876, -57.31, 1001.36, -0.12344)


def _each_input(change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Subject], Outputs]:
    def spoil(subject: Subject) -> Outputs:
        def changed(inputs: list[Any]) -> Inputs:
            return [a if not isinstance(a, np.ndarray) else _kept(change(a), a) for a in inputs]

        return subject.evaluate(changed)

    return spoil


def _kept(changed: np.ndarray | None, array: np.ndarray) -> np.ndarray:
    return array if changed is None else changed


def _float_in(name: str) -> Callable[[np.ndarray], np.ndarray | None]:
    def change(array: np.ndarray) -> np.ndarray | None:
        if array.dtype.kind in "OUSc" or not lookup(dtype_of(array)).is_float:
            return None
        with np.errstate(all="ignore"):
            return _in(name)(array, None)

    return change


def _integer_in(name: str) -> Callable[[np.ndarray], np.ndarray | None]:
    def change(array: np.ndarray) -> np.ndarray | None:
        if array.dtype.kind not in "iu" or array.dtype.itemsize < 4:
            return None
        with np.errstate(all="ignore"):
            return array.astype(DTYPES[name].numpy).astype(array.dtype)

    return change


def _flushed(array: np.ndarray) -> np.ndarray | None:
    if array.dtype.kind in "OUSc" or not lookup(dtype_of(array)).is_float:
        return None
    wide = array.astype(np.float64)
    return np.where(np.abs(wide) < lookup(dtype_of(array)).smallest, np.copysign(0.0, wide), wide).astype(
        array.dtype
    )


def _tells(change: Callable[[np.ndarray], np.ndarray | None], fill: Sequence[float]) -> Callable[[Subject], bool]:
    """Whether outputs depend on the digits that ``change`` takes away, once the operands are full of them."""

    def possible(subject: Subject) -> bool:
        def full(inputs: list[Any]) -> list[Any]:
            found = []
            for array in inputs:
                if (
                    isinstance(array, np.ndarray)
                    and array.dtype.kind not in "OUSc"
                    and lookup(dtype_of(array)).is_float
                ):
                    kind = lookup(dtype_of(array))
                    values = np.array(fill or [kind.smallest / 2, -kind.smallest / 4])
                    array = np.resize(values, array.shape).astype(array.dtype)
                found.append(array)
            return found

        def narrowed(inputs: list[Any]) -> list[Any]:
            return [a if not isinstance(a, np.ndarray) else _kept(change(a), a) for a in full(inputs)]

        return not equal(subject.evaluate(full), subject.evaluate(narrowed))

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
        def changed(inputs: list[Any]) -> Inputs:
            if position >= len(inputs) or inputs[position] is None:
                raise NotApplicable
            return [None if p == position else a for p, a in enumerate(inputs)]

        return subject.evaluate(changed)

    return spoil


def _narrowed(name: str, dtypes: tuple[str, ...]) -> Defect:
    change = _float_in(name)
    return Defect(f"operands-in-{name}", _each_input(change), dtypes, silent=_tells(change, _LONG))


def defects(operator: Operator) -> list[Defect]:
    """Of any operator that computes: one that draws at random has its own."""
    rules = operator.rule if isinstance(operator.rule, tuple) else (operator.rule,)
    if all(isinstance(r, Random) for r in rules) or operator.name == "Loop":  # which might never end
        return []
    found = [
        _narrowed("bfloat16", ("float32", "float16")),
        _narrowed("tf32", ("float32",)),
        _narrowed("float16", ("float32", "bfloat16")),
        _narrowed("float32", ("float64",)),
        Defect("operands-through-int32", _each_input(_integer_in("int32")), ("int64", "uint64", "uint32")),
        Defect("operands-through-float32", _each_input(_integer_in("float32")), ("int32", "int64")),
        Defect("subnormal-operands-flushed", _each_input(_flushed), FLOATS, silent=_tells(_flushed, ())),
    ]
    if not operator.domain and operator.name not in _COMMUTATIVE:
        found.append(Defect("operands-swapped", _swapped))
    if operator.name in _BROADCAST:
        found.append(Defect("cyclic-broadcast", _cyclic))
    schema = schema_of(operator.name, onnx.defs.onnx_opset_version(), operator.domain)
    if schema is not None:
        optional = onnx.defs.OpSchema.FormalParameterOption.Optional
        found += [
            Defect(f"input-ignored:{formal.name}", _ignored(position))
            for position, formal in enumerate(schema.inputs)
            if formal.option == optional
        ]
    return found
