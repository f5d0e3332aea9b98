"""Defects in what comes out of any operator: tails, layouts, shapes, types, special values, stale buffers."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import DTYPES, FLOATS, INTEGERS, dtype_of, lookup
from ..rules import Exact, Random, Rounded
from ..spec import Operator
from .record import Defect
from .subject import NotApplicable, Outputs, Subject

__all__ = ["defects"]

_OTHER_TYPE = {
    "float32": "float64",
    "float64": "float32",
    "float16": "float32",
    "bfloat16": "float32",
    "int64": "int32",
    "int32": "int64",
    "bool": "uint8",
    "uint8": "int8",
    "int8": "uint8",
    "int16": "int32",
    "uint16": "int32",
    "uint32": "int64",
    "uint64": "int64",
}


def each(change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Subject], Outputs]:
    """A defect of single outputs: ``change`` gives the spoilt array, or None for one that cannot show it."""

    def spoil(subject: Subject) -> Outputs:
        touched = False
        found: Outputs = []
        for one in subject.good:
            found.append([])
            for array in one:
                spoilt = change(array.copy())
                touched |= spoilt is not None
                found[-1].append(array if spoilt is None else spoilt)
        if not touched:
            raise NotApplicable
        return found

    return spoil


def _tail(array: np.ndarray) -> np.ndarray | None:
    whole = array.size - array.size % 8
    if whole == array.size:
        return None
    array.reshape(-1)[whole:] = np.zeros(1, array.dtype)[0]
    return array


def _stale_tail(array: np.ndarray) -> np.ndarray | None:
    whole = array.size - array.size % 32
    if whole in (0, array.size):
        return None
    flat = array.reshape(-1)
    flat[whole:] = flat[: array.size - whole]
    return array


def _last_column(array: np.ndarray) -> np.ndarray | None:
    if array.ndim < 1 or array.shape[-1] < 2 or not array.size:
        return None
    array[..., -1] = array[..., -2]
    return array


def _one_batch(array: np.ndarray) -> np.ndarray | None:
    if array.ndim < 2 or array.shape[0] < 2 or not array.size:
        return None
    array[1:] = array[:1]
    return array


def _last_row(array: np.ndarray) -> np.ndarray | None:
    if array.ndim < 2 or not array.size:
        return None
    array.reshape(-1, array.shape[-1])[-1] = np.zeros(1, array.dtype)[0]
    return array


def _one_element(array: np.ndarray) -> np.ndarray | None:
    if not array.size:
        return None
    flat = array.reshape(-1)
    at = zlib.crc32(str(array.shape).encode()) % array.size
    value = flat[at]
    if array.dtype.kind in "OUS":
        flat[at] = f"{value}x"
    elif array.dtype == bool:
        flat[at] = not value
    elif array.dtype.kind in "iu" or dtype_of(array) in ("int4", "uint4"):
        flat[at] = np.array(int(value) ^ 1).astype(array.dtype)
    else:
        wide = complex(value) if array.dtype.kind == "c" else float(value)
        flat[at] = np.array(wide * 1.5 or 1.0).astype(array.dtype)
    return array


def _shifted(array: np.ndarray) -> np.ndarray | None:
    return np.roll(array, 1).reshape(array.shape) if array.size > 1 else None


def _transposed(array: np.ndarray) -> np.ndarray | None:
    if array.ndim < 2:
        return None
    return np.ascontiguousarray(array.T).reshape(array.shape)


def _channels_last(array: np.ndarray) -> np.ndarray | None:
    if array.ndim < 3:
        return None
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)).reshape(array.shape)


def _high_rank(array: np.ndarray) -> np.ndarray | None:
    if array.ndim < 5:
        return None
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(array.shape)


def _scalar(array: np.ndarray) -> np.ndarray | None:
    return array.reshape(1) if array.ndim == 0 else None


def _squeezed(array: np.ndarray) -> np.ndarray | None:
    return array.squeeze() if 1 in array.shape else None


def _empty(array: np.ndarray) -> np.ndarray | None:
    return array.reshape(0) if array.size == 0 and array.ndim > 1 else None


def _other_type(array: np.ndarray) -> np.ndarray | None:
    other = _OTHER_TYPE.get("" if array.dtype.kind in "OUS" else dtype_of(array))
    return None if other is None else array.astype(DTYPES[other].numpy)


def _constant(array: np.ndarray) -> np.ndarray | None:
    return np.resize(array.reshape(-1)[:1], array.shape) if array.size > 1 else None


def _index_of_16_bits(array: np.ndarray) -> np.ndarray | None:
    if array.size <= 1 << 16:
        return None
    flat = array.reshape(-1)
    flat[1 << 16 :] = np.resize(flat[: 1 << 16], flat.size - (1 << 16))
    return array


def _floats(change: Callable[[np.ndarray, Any], np.ndarray]) -> Callable[[np.ndarray], np.ndarray | None]:
    def spoilt(array: np.ndarray) -> np.ndarray | None:
        kind = None if array.dtype.kind in "OUSc" else lookup(dtype_of(array))
        if kind is None or not kind.is_float:
            return None
        with np.errstate(all="ignore"):
            return change(array, kind)

    return spoilt


def _nan_swallowed(array: np.ndarray, kind: Any) -> np.ndarray:
    array[np.isnan(array.astype(np.float64))] = 0
    return array


def _infinity_clipped(array: np.ndarray, kind: Any) -> np.ndarray:
    wide = array.astype(np.float64)
    return np.where(np.isinf(wide), np.sign(wide) * kind.largest, wide).astype(array.dtype)


def _zero_sign_lost(array: np.ndarray, kind: Any) -> np.ndarray:
    array[array.astype(np.float64) == 0] = 0
    return array


def _flushed(array: np.ndarray, kind: Any) -> np.ndarray:
    wide = array.astype(np.float64)
    return np.where(np.abs(wide) < kind.smallest, np.copysign(0.0, wide), wide).astype(array.dtype)


def _in(name: str) -> Callable[[np.ndarray, Any], np.ndarray]:
    def change(array: np.ndarray, kind: Any) -> np.ndarray:
        if name == "tf32":
            bits = array.astype(np.float32).view(np.uint32)
            cut = ((bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)
            return np.where(np.isfinite(array), cut, array).astype(array.dtype)
        return array.astype(DTYPES[name].numpy).astype(array.dtype)

    return change


def _scaled(by: float) -> Callable[[np.ndarray, Any], np.ndarray]:
    return lambda array, kind: (array.astype(np.float64) * (1.0 + by)).astype(array.dtype)


def _integers(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray | None]:
    def spoilt(array: np.ndarray) -> np.ndarray | None:
        if array.dtype.kind not in "iu":
            return None
        with np.errstate(all="ignore"):
            return change(array).astype(array.dtype)

    return spoilt


def never(subject: Subject) -> bool:
    """For what is a matter of shapes: an operator that has none of these in the suite cannot have the defect."""
    return False


def provoked(
    change: Callable[[np.ndarray, Any], None], seen: Callable[[np.ndarray, Any], bool]
) -> Callable[[Subject], bool]:
    """Whether outputs show what ``seen`` looks for once ``change`` has been written into the operands."""

    def possible(subject: Subject) -> bool:
        def changed(inputs: list[Any]) -> list[Any]:
            found = []
            for array in inputs:
                if isinstance(array, np.ndarray) and array.dtype.kind not in "OUSc" and array.size:
                    kind = lookup(dtype_of(array))
                    if kind.is_float:
                        array = array.copy()
                        change(array.reshape(-1), kind)
                found.append(array)
            return found

        outputs = subject.evaluate(changed)
        return any(
            seen(a, lookup(dtype_of(a)))
            for one in outputs
            for a in one
            if isinstance(a, np.ndarray) and a.dtype.kind not in "OUSc" and lookup(dtype_of(a)).is_float
        )

    return possible


def _put_noughts(flat: np.ndarray, kind: Any) -> None:
    flat[:] = -0.0


def _has_nought(array: np.ndarray, kind: Any) -> bool:
    return bool((np.signbit(array.astype(np.float64)) & (array == 0)).any())


def _put_long(flat: np.ndarray, kind: Any) -> None:
    flat[:] = np.resize([1001.37, -0.12345, 321.9876, -57.31], flat.shape)


def _loses(name: str) -> Callable[[np.ndarray, Any], bool]:
    def seen(array: np.ndarray, kind: Any) -> bool:
        with np.errstate(all="ignore"):
            return bool((_in(name)(array, kind) != array).any())

    return seen


def _put_nan(flat: np.ndarray, kind: Any) -> None:
    flat[0] = np.nan


def _put_infinity(flat: np.ndarray, kind: Any) -> None:
    flat[0] = np.inf


def _put_subnormal(flat: np.ndarray, kind: Any) -> None:
    flat[:] = kind.smallest / 2


def _has_nan(array: np.ndarray, kind: Any) -> bool:
    return bool(np.isnan(array.astype(np.float64)).any())


def _has_infinity(array: np.ndarray, kind: Any) -> bool:
    return bool(np.isinf(array.astype(np.float64)).any())


def _has_subnormal(array: np.ndarray, kind: Any) -> bool:
    size = np.abs(array.astype(np.float64))
    return bool(((size > 0) & (size < kind.smallest)).any())


def _swapped(subject: Subject) -> Outputs:
    if len(subject.good[0]) < 2:
        raise NotApplicable
    return [[one[1], one[0], *one[2:]] for one in subject.good]


def _missing(subject: Subject) -> Outputs:
    if len(subject.good[0]) < 2:
        raise NotApplicable
    return [one[:-1] for one in subject.good]


def _stale(subject: Subject) -> Outputs:
    """What came out first is given again for whatever has outputs of the same shapes."""
    first, *others = subject.good
    shapes = [a.shape for a in first]
    if not any([a.shape for a in one] == shapes for one in others):
        raise NotApplicable
    return [first if [a.shape for a in one] == shapes else one for one in subject.good]


def _truncated(subject: Subject) -> Outputs:
    found: Outputs = []
    for one, good in zip(subject.expected, subject.good, strict=True):
        found.append([])
        for expected, array in zip(one, good, strict=True):
            kind = lookup(expected.dtype)
            if expected.value.dtype != np.float64 or kind.name != "float32":
                found[-1].append(array)
                continue
            away = np.abs(array.astype(np.float64)) > np.abs(expected.value)
            found[-1].append(np.where(away, np.nextafter(array, np.zeros_like(array)), array))
    return found


_NARROW = ("float16", "bfloat16")


def defects(operator: Operator) -> list[Defect]:
    """Of any operator; those of floats and integers where it can have such outputs."""
    rules = operator.rule if isinstance(operator.rule, tuple) else (operator.rule,)
    if all(isinstance(r, Random) for r in rules):
        # Of random numbers a test sees whole distributions: one element may be anything.
        kinds = {
            "other-type": _other_type,
            "constant": _constant,
            "period-of-16": lambda a: np.resize(a.reshape(-1)[:16], a.shape) if a.size > 16 else None,
            "half-repeated": lambda a: np.resize(a.reshape(-1)[: a.size // 2], a.shape) if a.size > 1 else None,
            "sorted": lambda a: np.sort(a.reshape(-1)).reshape(a.shape) if a.size > 1 else None,
            "scaled-1.25": _floats(_scaled(0.25)),
            "shifted-by-a-quarter": _floats(lambda a, kind: (a.astype(np.float64) + 0.25).astype(a.dtype)),
        }
        return [Defect(name, each(change), silent=never) for name, change in kinds.items()]
    found = [
        Defect("tail-unwritten", each(_tail), silent=never),
        Defect("tail-stale", each(_stale_tail), silent=never),
        Defect("last-column-repeated", each(_last_column), silent=never),
        Defect("first-batch-for-all", each(_one_batch), silent=never),
        Defect("last-row-unwritten", each(_last_row), silent=never),
        Defect("one-element-off", each(_one_element)),
        Defect("shifted-by-one", each(_shifted), silent=never),
        Defect("transposed", each(_transposed), silent=never),
        Defect("channels-last", each(_channels_last), silent=never),
        Defect("high-rank-mixed-up", each(_high_rank), silent=never),
        Defect("scalar-as-vector", each(_scalar), silent=never),
        Defect("ones-squeezed", each(_squeezed), silent=never),
        Defect("empty-without-shape", each(_empty), silent=never),
        Defect("other-type", each(_other_type)),
        Defect("outputs-swapped", _swapped, silent=never),
        Defect("last-output-missing", _missing),
        Defect("stale-output", _stale),
        Defect("16-bit-index", each(_index_of_16_bits), silent=never),
        Defect("int64-through-float64", each(_integers(lambda a: a.astype(np.float64))), ("int64", "uint64")),
        Defect("int64-through-int32", each(_integers(lambda a: a.astype(np.int32))), ("int64", "uint64")),
        Defect("integers-through-float32", each(_integers(lambda a: a.astype(np.float32))), INTEGERS[2:4]),
        Defect("sign-bit-lost", each(_integers(lambda a: a & np.iinfo(a.dtype).max // 2)), INTEGERS),
    ]
    found += [
        Defect("nan-swallowed", each(_floats(_nan_swallowed)), FLOATS, silent=provoked(_put_nan, _has_nan)),
        Defect(
            "infinity-clipped",
            each(_floats(_infinity_clipped)),
            FLOATS,
            silent=provoked(_put_infinity, _has_infinity),
        ),
        Defect(
            "subnormals-flushed", each(_floats(_flushed)), FLOATS, silent=provoked(_put_subnormal, _has_subnormal)
        ),
        Defect(
            "result-in-bfloat16",
            each(_floats(_in("bfloat16"))),
            ("float32", "float16"),
            silent=provoked(_put_long, _loses("bfloat16")),
        ),
        Defect(
            "result-in-float16",
            each(_floats(_in("float16"))),
            ("float32", "bfloat16"),
            silent=provoked(_put_long, _loses("float16")),
        ),
        Defect(
            "result-in-tf32", each(_floats(_in("tf32"))), ("float32",), silent=provoked(_put_long, _loses("tf32"))
        ),
        Defect(
            "result-in-float32",
            each(_floats(_in("float32"))),
            ("float64",),
            silent=provoked(_put_long, _loses("float32")),
        ),
        Defect("scaled-2^-12", each(_floats(_scaled(2.0**-12))), ("float32", "float64")),
        Defect("scaled-2^-7", each(_floats(_scaled(2.0**-7))), ("float16",)),
        Defect("scaled-2^-4", each(_floats(_scaled(2.0**-4))), ("bfloat16",)),
    ]
    if any(isinstance(r, Exact) and r.signed_zero for r in rules):
        found.append(
            Defect(
                "zero-without-sign",
                each(_floats(_zero_sign_lost)),
                FLOATS,
                silent=provoked(_put_noughts, _has_nought),
            )
        )
    if any(isinstance(r, Rounded) and r.ulps < 1.0 for r in rules):
        found.append(Defect("truncated", _truncated, ("float32",)))
    return found
