"""Defects in what comes out of any operator: tails, layouts, shapes, types, special values, stale buffers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ..dtypes import DTYPES, FLOATS, INTEGERS, DType, dtype_of, lookup
from ..rules import Composite, Elementary, Exact, Random, Rounded
from ..spec import Operator
from .device import rounded
from .record import Defect
from .subject import RAISED, Inputs, NotApplicable, Outputs, Subject, equal

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
        flat[at] = np.array((np.isfinite(wide) and wide * 1.5) or 1.0).astype(array.dtype)
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


def float_of(value: Any) -> DType | None:
    """The format of an array of real floats; None for any other value."""
    if not isinstance(value, np.ndarray) or value.dtype.kind in "OUSc":
        return None
    kind = lookup(dtype_of(value))
    return kind if kind.is_float else None


def floats(change: Callable[[np.ndarray, DType], np.ndarray | None]) -> Callable[[np.ndarray], np.ndarray | None]:
    """``change`` of arrays of floats; None for others."""

    def spoilt(array: np.ndarray) -> np.ndarray | None:
        kind = float_of(array)
        if kind is None:
            return None
        with np.errstate(all="ignore"):
            return np.asarray(change(array, kind))

    return spoilt


def _nan_swallowed(array: np.ndarray, kind: DType) -> np.ndarray:
    array[np.isnan(array.astype(np.float64))] = 0
    return array


def _infinity_clipped(array: np.ndarray, kind: DType) -> np.ndarray:
    wide = array.astype(np.float64)
    return np.where(np.isinf(wide), np.sign(wide) * kind.largest, wide).astype(array.dtype)


def _zero_sign_lost(array: np.ndarray, kind: DType) -> np.ndarray:
    array[array.astype(np.float64) == 0] = 0
    return array


def flushed(array: np.ndarray, kind: DType) -> np.ndarray:
    """Zeros, with their signs, for subnormal numbers."""
    wide = array.astype(np.float64)
    return np.where(np.abs(wide) < kind.smallest, np.copysign(0.0, wide), wide).astype(array.dtype)


def narrowed(name: str) -> Callable[[np.ndarray, DType], np.ndarray]:
    """The values as a narrower format has them: one of ours, or "tf32"."""

    def change(array: np.ndarray, kind: DType) -> np.ndarray:
        if name == "tf32":
            return rounded(torch.from_numpy(array.astype(np.float64)), name).numpy().astype(array.dtype)
        return array.astype(DTYPES[name].numpy).astype(array.dtype)

    return change


def _scaled(by: float) -> Callable[[np.ndarray, DType], np.ndarray | None]:
    def change(array: np.ndarray, kind: DType) -> np.ndarray | None:
        # Rounded to a format as coarse as float8, a result that is so little larger is the same again.
        if by < 2.0 ** -(kind.p + 1):
            return None
        scaled: np.ndarray = (array.astype(np.float64) * (1.0 + by)).astype(array.dtype)
        return scaled

    return change


def _integers(
    change: Callable[[np.ndarray], np.ndarray], size: int = 1
) -> Callable[[np.ndarray], np.ndarray | None]:
    """``size``: the bytes of the smallest integers that the change can spoil."""

    def spoilt(array: np.ndarray) -> np.ndarray | None:
        if array.dtype.kind not in "iu" or array.dtype.itemsize < size:
            return None
        with np.errstate(all="ignore"):
            return np.asarray(change(array)).astype(array.dtype)  # of a scalar NumPy makes no array

    return spoilt


# What NaN comes to among elements that are compared, ONNX does not say of these, nor what class it makes, nor what scale a
# tensor with NaN gets: no case asks.
_ORDERING = frozenset(
    "TopK Unique MaxPool GlobalMaxPool MaxRoiPool LinearClassifier SVMClassifier DynamicQuantizeLinear "
    "Max Min Clip Relu HardSigmoid Celu".split()
)
# Infinity in one place becomes infinity or NaN in others, by the way in which a transform or an interpolation is done.
_SPREADING = frozenset("DFT STFT DeformConv LinearClassifier SVMClassifier DynamicQuantizeLinear".split())
# What only compares: to a backend that declares that it flushes, subnormal numbers are all equal, and no case asks.
COMPARING = frozenset(
    "TopK Unique NonMaxSuppression Binarizer LabelEncoder TreeEnsemble TreeEnsembleRegressor TreeEnsembleClassifier "
    "LinearClassifier SVMClassifier DynamicQuantizeLinear".split()
)
# Integers that come by way of float32, as their attributes do, or whose squares leave the type: the digits that are lost
# there may be.
BY_FLOATS = frozenset(
    "Gemm ReduceL2 ReduceSumSquare Binarizer LinearClassifier SVMClassifier TreeEnsembleClassifier".split()
)


def never(subject: Subject) -> bool:
    """For what is a matter of shapes: an operator that has none of these in the suite cannot have the defect."""
    return False


def provoked(
    change: Callable[[np.ndarray, DType], None], seen: Callable[[np.ndarray, DType], bool]
) -> Callable[[Subject], bool]:
    """Whether outputs show what ``seen`` looks for once ``change`` has been written into the operands."""

    def possible(subject: Subject) -> bool:
        def changed(inputs: list[Any]) -> list[Any]:
            found = []
            for array in inputs:
                kind = float_of(array)
                if kind is not None and array.size:
                    array = array.copy()
                    change(array.reshape(-1), kind)
                found.append(array)
            return found

        outputs = subject.evaluate(changed)
        return any((kind := float_of(a)) is not None and seen(a, kind) for one in outputs for a in one)

    return possible


def filled(subject: Subject) -> Iterator[Callable[[list[Any]], Inputs]]:
    """Changes that fill one operand of an integer type under test with both ends of the type and numbers of all its
    digits. One at a time, as others may be positions; none that has one element or is the model's own, which are
    sizes and axes."""
    for position in range(max(len(one) for one in subject.inputs)):
        if position in subject.constants:
            continue

        def change(inputs: list[Any], position: int = position) -> Inputs:
            array = inputs[position] if position < len(inputs) else None
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.size < 2:
                raise NotApplicable
            if dtype_of(array) != subject.dtype:
                raise NotApplicable
            low, high = (int(v) for v in (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max))
            values = np.array([high, low, high - 1, low + 1, high // 2 + 1, high - 11], dtype=object)
            inputs[position] = np.resize(values, array.shape).astype(array.dtype)
            return inputs

        yield change


def from_large(change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Subject], bool]:
    """Whether ``change`` shows in outputs once an operand is full of large integers."""

    def possible(subject: Subject) -> bool:
        for fill in filled(subject):
            try:
                outputs = subject.evaluate(fill)
            except (NotApplicable, *RAISED):
                continue
            for array in (a for one in outputs for a in one if isinstance(a, np.ndarray)):
                changed = change(array.copy())
                if changed is not None and not np.array_equal(changed, array):
                    return True
        return False

    return possible


def _put_noughts(flat: np.ndarray, kind: DType) -> None:
    flat[:] = -0.0


def _has_nought(array: np.ndarray, kind: DType) -> bool:
    return bool((np.signbit(array.astype(np.float64)) & (array == 0)).any())


def _put_long(flat: np.ndarray, kind: DType) -> None:
    flat[:] = np.resize([1001.37, -0.12345, 321.9876, -57.31], flat.shape)


def _loses(name: str) -> Callable[[np.ndarray, DType], bool]:
    def seen(array: np.ndarray, kind: DType) -> bool:
        with np.errstate(all="ignore"):
            return not np.array_equal(
                narrowed(name)(array, kind).astype(np.float64), array.astype(np.float64), equal_nan=True
            )

    return seen


def _put_nan(flat: np.ndarray, kind: DType) -> None:
    flat[0] = np.nan


def _put_infinity(flat: np.ndarray, kind: DType) -> None:
    flat[0] = np.inf


def _put_subnormal(flat: np.ndarray, kind: DType) -> None:
    flat[:] = kind.smallest / 2


def _has_nan(array: np.ndarray, kind: DType) -> bool:
    return bool(np.isnan(array.astype(np.float64)).any())


def _has_infinity(array: np.ndarray, kind: DType) -> bool:
    return bool(np.isinf(array.astype(np.float64)).any())


def _has_subnormal(array: np.ndarray, kind: DType) -> bool:
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


def _varies(subject: Subject) -> bool:
    """Whether outputs depend on values, and not only on shapes."""

    def turned(inputs: list[Any]) -> Inputs:
        given = subject.constants
        return [
            a if not isinstance(a, np.ndarray) or i in given else a.reshape(-1)[::-1].reshape(a.shape)
            for i, a in enumerate(inputs)
        ]

    changed = subject.evaluate(turned)
    return any(
        [a.shape for a in one] == [a.shape for a in good] and not equal([one], [good])
        for one, good in zip(changed, subject.good, strict=True)
    )


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


def _whole(
    operator: Operator,
    name: str,
    change: Callable[[np.ndarray], np.ndarray],
    dtypes: tuple[str, ...],
    size: int = 1,
) -> Defect:
    spoilt = _integers(change, size)
    return Defect(name, each(spoilt), dtypes, silent=never if operator.name in BY_FLOATS else from_large(spoilt))


# Squares of subnormal numbers are zero.
SQUARED = frozenset("ReduceL2 ReduceSumSquare MeanVarianceNormalization".split())
# Made of Sigmoid and Tanh; or, in ReduceLogSumExp, of a logarithm of what lies beside 1.
_MADE_OF_FLOORED = frozenset("GRU LSTM ReduceLogSumExp".split())


def floored(operator: Operator) -> bool:
    """Whether results may be off by a share of a fixed number, beside which no subnormal one is seen: a rule's ``scale``
    says so. Not Log, whose operand is another matter: it takes zero to infinity."""
    scaled = (
        any(isinstance(r, (Composite, Elementary)) and r.scale for r in operator.rules) and operator.name != "Log"
    )
    return scaled or operator.name in _MADE_OF_FLOORED


def defects(operator: Operator) -> list[Defect]:
    """Of any operator; those of floats and integers where it can have such outputs."""
    if all(isinstance(r, Random) for r in operator.rules):
        # Of random numbers a test sees whole distributions: one element may be anything.
        kinds = {
            "other-type": _other_type,
            "constant": _constant,
            "period-of-16": lambda a: np.resize(a.reshape(-1)[:16], a.shape) if a.size > 16 else None,
            "half-repeated": lambda a: np.resize(a.reshape(-1)[: a.size // 2], a.shape) if a.size > 1 else None,
            "sorted": lambda a: np.sort(a.reshape(-1)).reshape(a.shape) if a.size > 1 else None,
            "scaled-1.25": floats(_scaled(0.25)),
            "shifted-by-a-quarter": floats(lambda a, kind: (a.astype(np.float64) + 0.25).astype(a.dtype)),
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
        Defect("stale-output", _stale, silent=_varies),
        Defect("16-bit-index", each(_index_of_16_bits), silent=never),
        _whole(operator, "int64-through-float64", lambda a: a.astype(np.float64), ("int64", "uint64"), 8),
        _whole(operator, "int64-through-int32", lambda a: a.astype(np.int32), ("int64", "uint64"), 8),
        _whole(operator, "integers-through-float32", lambda a: a.astype(np.float32), INTEGERS[2:4], 4),
        _whole(operator, "sign-bit-lost", lambda a: a & np.iinfo(a.dtype).max // 2, INTEGERS),
    ]
    found += [
        Defect(
            "nan-swallowed",
            each(floats(_nan_swallowed)),
            FLOATS,
            silent=never if operator.name in _ORDERING else provoked(_put_nan, _has_nan),
        ),
        Defect(
            "infinity-clipped",
            each(floats(_infinity_clipped)),
            FLOATS,
            silent=never if operator.name in _SPREADING else provoked(_put_infinity, _has_infinity),
        ),
        Defect(
            "subnormals-flushed",
            each(floats(flushed)),
            FLOATS,
            silent=never if operator.name in SQUARED | COMPARING else provoked(_put_subnormal, _has_subnormal),
        ),
        Defect(
            "result-in-bfloat16",
            each(floats(narrowed("bfloat16"))),
            ("float32", "float16"),
            silent=provoked(_put_long, _loses("bfloat16")),
        ),
        Defect(
            "result-in-float16",
            each(floats(narrowed("float16"))),
            ("float32", "bfloat16"),
            silent=provoked(_put_long, _loses("float16")),
        ),
        Defect(
            "result-in-tf32",
            each(floats(narrowed("tf32"))),
            ("float32",),
            silent=provoked(_put_long, _loses("tf32")),
        ),
        Defect(
            "result-in-float32",
            each(floats(narrowed("float32"))),
            ("float64",),
            silent=provoked(_put_long, _loses("float32")),
        ),
        Defect("scaled-2^-12", each(floats(_scaled(2.0**-12))), ("float32", "float64")),
        Defect("scaled-2^-7", each(floats(_scaled(2.0**-7))), ("float16",)),
        Defect("scaled-2^-4", each(floats(_scaled(2.0**-4))), ("bfloat16",)),
    ]
    if floored(operator):
        found = [d for d in found if d.name != "subnormals-flushed"]
    if any(isinstance(r, Exact) and r.signed_zero for r in operator.rules):
        found.append(
            Defect(
                "zero-without-sign",
                each(floats(_zero_sign_lost)),
                FLOATS,
                silent=provoked(_put_noughts, _has_nought),
            )
        )
    if any(isinstance(r, Rounded) and r.ulps < 1.0 for r in operator.rules):
        found.append(Defect("truncated", _truncated, ("float32",)))
    return found
