"""How the values of a tensor come about: recipes, and the counter-based generator that carries them out.

A recipe plus a key always gives the same bits, on every machine and in any order. Only NumPy's raw Philox
output is used (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011: integers, fully specified),
and only arithmetic that IEEE 754 defines exactly; a library's own normal sampler may change with its version
or with the machine's ``log``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .dtypes import lookup

__all__ = [
    "AUTO",
    "Draw",
    "choice",
    "coin",
    "distinct",
    "draw",
    "full",
    "integers",
    "nonzero",
    "normal",
    "subnormal",
    "uniform",
    "values",
]


@dataclass(frozen=True, slots=True)
class Draw:
    """A recipe: ``kind`` says which of the constructors below made it, the rest are its parameters."""

    kind: str
    a: float = 0.0
    b: float = 0.0
    items: tuple[Any, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v not in (0.0, ())}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Draw:
        return cls(**{**data, "items": tuple(data.get("items", ()))})


# floats: normal(), of complex numbers both parts; integers: small, of both signs where signed; bool: coin(); strings: words;
# float8e8m0, which has nothing else: powers of two.
AUTO = Draw("auto")


def normal(mean: float = 0.0, std: float = 1.0) -> Draw:
    """Near-normal: the sum of four 16-bit uniforms, so bounded by mean ± 3.47 std."""
    return Draw("normal", mean, std)


def uniform(low: float, high: float) -> Draw:
    """Uniform on [low, high)."""
    return Draw("uniform", low, high)


def nonzero(low: float = 0.5, high: float = 2.0) -> Draw:
    """A random sign times uniform(low, high): away from zero, for divisors."""
    return Draw("nonzero", low, high)


def integers(low: int, high: int) -> Draw:
    """Whole numbers from low to high, both included, in any dtype: sums of few of them are exact in floats."""
    return Draw("integers", low, high)


def subnormal() -> Draw:
    """Subnormal numbers of the float type itself, of both signs and all sizes."""
    return Draw("subnormal")


def coin(share: float = 0.5) -> Draw:
    """True (1) with the given probability."""
    return Draw("coin", share)


def distinct(step: float = 1.0) -> Draw:
    """A random permutation of 0, step, 2·step, …, centred on zero for signed types: no ties."""
    return Draw("distinct", step)


def choice(*items: Any) -> Draw:
    """Each element one of ``items``, every item used at least once where there is room (special values)."""
    return Draw("choice", items=items)


def values(*items: Any) -> Draw:
    """Exactly these, in row-major order."""
    return Draw("values", items=items)


def full(value: Any) -> Draw:
    """The same value everywhere."""
    return Draw("full", items=(value,))


def _raw(key: str, count: int) -> np.ndarray:
    """``count`` 64-bit words of Philox4x64-10 under a key hashed from text. uint64, shape (count,)."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    bits = np.random.Philox(key=np.frombuffer(digest, dtype="<u8"))
    return bits.random_raw(count)


def _unit(key: str, count: int) -> np.ndarray:
    """float64 in [0, 1), 53 bits each."""
    places: np.ndarray = (_raw(key, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return places


_HALVES = np.uint64(0x0000FFFF0000FFFF)
_UNIT_STD = float(1.0 / np.sqrt((65536.0**2 - 1.0) / 3.0))  # of a sum of four uniform 16-bit integers


def _gauss(key: str, count: int, mean: float, std: float, target: np.dtype[Any]) -> np.ndarray:
    """Sums of four 16-bit lanes: integers below 2^18, so only the scale and the shift round. In chunks that
    stay in cache, since a model's weights are hundreds of millions of these."""
    words = _raw(key, count)
    out = np.empty(count, dtype=target)
    chunk = 1 << 15
    for start in range(0, count, chunk):
        part = words[start : start + chunk]
        pairs = part & _HALVES
        pairs += (part >> np.uint64(16)) & _HALVES
        lanes = pairs.view(np.uint32)
        total = lanes[0::2].astype(np.float64)
        total += lanes[1::2]
        total -= 2 * 65535
        total *= _UNIT_STD * std
        total += mean
        out[start : start + chunk] = total
    return out


def _auto(key: str, count: int, dtype: str) -> np.ndarray:
    kind = lookup(dtype).kind
    if dtype == "float8e8m0":
        powers: np.ndarray = np.ldexp(1.0, _whole(key, count, -8, 8))
        return powers
    if kind == "complex":
        parts = [_gauss(f"{key}/{part}", count, 0.0, 1.0, np.dtype(np.float64)) for part in ("real", "imaginary")]
        return parts[0] + 1j * parts[1]
    if kind == "float":
        return _gauss(key, count, 0.0, 1.0, lookup(dtype).numpy)
    if kind == "bool":
        return _whole(key, count, 0, 1)
    if kind == "string":
        words = np.array(["alpha", "beta", "", "Γ delta", "x"], dtype=object)
        return words.take(_whole(key, count, 0, 4))
    low, high = {"int2": (-2, 1), "uint2": (0, 3), "int4": (-8, 7), "uint4": (0, 7)}.get(dtype, (-8, 8))
    return _whole(key, count, max(low, 0) if kind == "uint" else low, high)


def _whole(key: str, count: int, low: int, high: int) -> np.ndarray:
    span = np.uint64(high - low + 1)
    # A 64-bit word modulo a small span: the bias is below 2^-40 for the spans in use.
    offset = (_raw(key, count) >> np.uint64(1)) % span if span else _raw(key, count)
    return offset.astype(np.int64) + low


def draw(recipe: Draw, shape: Sequence[int], dtype: str, key: str) -> np.ndarray:
    """Carry out a recipe.

    Returns an array of the given shape in the NumPy type of ``dtype``; reals are rounded once, to nearest even.
    ``key`` names the tensor: another key, another draw. Raises ``ValueError`` for an unknown kind or a list of
    values that does not fill the shape.
    """
    count = int(np.prod(shape, dtype=np.int64)) if len(shape) else 1
    target = lookup(dtype).numpy
    kind, a, b = recipe.kind, recipe.a, recipe.b
    flat: np.ndarray
    if kind == "auto":
        flat = _auto(key, count, dtype)
    elif kind == "normal":
        flat = _gauss(key, count, a, b, target)
    elif kind == "uniform":
        flat = _unit(key, count) * (b - a) + a
    elif kind == "nonzero":
        sign = _whole(key + "/sign", count, 0, 1) * 2 - 1
        flat = (_unit(key, count) * (b - a) + a) * sign
    elif kind == "integers":
        flat = _whole(key, count, int(a), int(b))
    elif kind == "subnormal":
        format_ = lookup(dtype)
        sign = _whole(key + "/sign", count, 0, 1) * 2 - 1
        flat = sign * _whole(key, count, 1, 2**format_.p - 1) * (format_.smallest * 2.0**-format_.p)
    elif kind == "coin":
        flat = _unit(key, count) < a
    elif kind == "distinct":
        order = np.argsort(_raw(key, count), kind="stable").astype(np.int64)
        centre = 0 if lookup(dtype).kind == "uint" else count // 2
        flat = (order - centre) * a
    elif kind == "choice":
        items = _literal(recipe.items, dtype)
        order = _whole(key, count, 0, len(items) - 1)
        # The first positions of a random order take each item once; the rest are free.
        places = np.argsort(_raw(key + "/places", count), kind="stable")[: len(items)]
        order[places] = np.arange(len(places))
        return items[order].reshape(shape)
    elif kind in ("values", "full"):
        items = _literal(recipe.items, dtype)
        if kind == "full":
            return np.full(shape, items[0], dtype=target)
        if len(items) != count:
            raise ValueError(f"{len(items)} values do not fill shape {tuple(shape)}")
        return items.reshape(shape)
    else:
        raise ValueError(f"unknown kind of draw {kind!r}")
    if flat.dtype == object:
        return flat.reshape(shape)
    return flat.astype(target).reshape(shape)


def _literal(items: Sequence[Any], dtype: str) -> np.ndarray:
    target = lookup(dtype).numpy
    if lookup(dtype).kind == "string":
        out = np.empty(len(items), dtype=object)
        out[:] = items
        return out
    if lookup(dtype).is_float:
        with np.errstate(over="ignore"):  # a literal may be meant to overflow the dtype under test
            return np.array([float(i) for i in items], dtype=np.float64).astype(target)
    return np.array(items, dtype=object).astype(target)
