"""The golden cache: expected values and their conditioning, on disk, by the content of the case.

A folder of small files that can be copied: a vendor with a published one needs no torch and no float64 run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .dtypes import dtype_of, lookup
from .files import share_whole
from .numerics import Expected
from .rules import Rule
from .spec import Case

__all__ = ["Golden", "GoldenCache", "default_folder"]

_MAGIC = b"golden2\n"
_PARTS = ("value", "magnitude", "terms", "spread", "low", "high")
# Conditioning needs few digits: above this many elements it is kept in float32.
_NARROW_ABOVE = 4096


@dataclass(frozen=True, slots=True)
class Golden:
    """What the oracle knows of a case: for each input set, the inputs (for pieces of models) and the outputs."""

    feeds: tuple[Mapping[str, np.ndarray], ...]
    outputs: tuple[tuple[Expected, ...], ...]


def default_folder() -> Path:
    """``$CONFORMANCE_CACHE``, or ``conformance`` in the user's cache folder (XDG)."""
    own = os.environ.get("CONFORMANCE_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "conformance"


# What a reference is made by, apart from the catalogue.
_ORACLE = (
    "oracle vector_oracle interpreter montecarlo numerics rules dtypes draws graphs cuts spec weights".split()
)


@functools.cache
def _oracle_version() -> str:
    """A hash of the sources that references depend on. All families share one: their definitions use each other."""
    here = Path(__file__).parent
    from . import operators

    catalogue = Path(str(operators.__file__)).parent
    state = hashlib.blake2b(digest_size=16)
    for path in (*(here / f"{name}.py" for name in _ORACLE), *sorted(catalogue.glob("*.py"))):
        state.update(path.read_bytes())
    return state.hexdigest()


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class GoldenCache:
    """Goldens under one folder, one file each, written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, case: Case, seed: int) -> Path:
        """Where the golden of a case lies, whether or not it is there."""
        key = _hash(f"{case.id} {case.opset} {seed}")
        version = _hash(f"{case.digest} {case.graph} {_oracle_version()}")
        return self.folder / "goldens" / key[:2] / f"{key[2:]}.{version}.golden"

    def has(self, case: Case, seed: int) -> bool:
        return self.path(case, seed).exists()

    def load(self, case: Case, seed: int, rules: Sequence[Rule]) -> Golden | None:
        """The golden of a case, None where there is none (a damaged file counts as none and is made again)."""
        path = self.path(case, seed)
        try:
            data = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size > 1 << 20 else None
            blob = path.read_bytes() if data is None else data
            return _decode(blob, rules)
        except (FileNotFoundError, ValueError, KeyError, IndexError):
            return None

    def store(self, case: Case, seed: int, golden: Golden) -> None:
        """Keep a golden, in place of one that an older oracle made. Raises ``OSError`` where the disk does not take
        it."""
        path = share_whole(self.path(case, seed), _encode(golden))
        for older in path.parent.glob(f"{path.name.partition('.')[0]}.*.golden"):
            if older != path:
                older.unlink(missing_ok=True)


def _encode(golden: Golden) -> list[bytes | memoryview]:
    arrays: list[np.ndarray] = []

    def place(array: np.ndarray | None, *, narrow: bool = False) -> int | None:
        if array is None:
            return None
        array = np.asarray(array)
        if narrow and array.dtype == np.float64:
            if array.ndim and array.size and (array == array.flat[0]).all():
                array = array.flat[0].reshape(())
            elif array.size > _NARROW_ABOVE:
                array = array.astype(np.float32)
        arrays.append(array)
        return len(arrays) - 1

    sets = [
        {
            "inputs": {n: place(a) for n, a in feed.items()},
            "outputs": [
                {"dtype": e.dtype, **{p: place(getattr(e, p), narrow=p != "value") for p in _PARTS}}
                for e in outputs
            ],
        }
        for feed, outputs in zip(golden.feeds, golden.outputs, strict=True)
    ]
    described, chunks = [], []
    for array in arrays:
        dtype = dtype_of(array)
        if dtype == "string":
            raw: bytes | memoryview = json.dumps([str(s) for s in array.flat]).encode()
        else:
            raw = np.ascontiguousarray(array).tobytes()
        described.append([dtype, list(array.shape), len(raw)])
        chunks.append(raw)
    header = json.dumps({"sets": sets, "arrays": described, "crc": _checksum(chunks)}).encode()
    return [_MAGIC, len(header).to_bytes(8, "little"), header, *chunks]


def _checksum(chunks: Iterable[Any]) -> int:
    return functools.reduce(lambda crc, chunk: zlib.crc32(chunk, crc), chunks, 0)


def _decode(blob: Any, rules: Sequence[Rule]) -> Golden:
    if bytes(blob[:8]) != _MAGIC:
        raise ValueError("not a golden")
    size = int.from_bytes(bytes(blob[8:16]), "little")
    header = json.loads(bytes(blob[16 : 16 + size]))
    start = 16 + size
    if _checksum([blob[start:]]) != header["crc"]:
        raise ValueError("damaged")
    arrays: list[np.ndarray] = []
    for dtype, shape, length in header["arrays"]:
        raw = blob[start : start + length]
        start += length
        if dtype == "string":
            array = np.empty(int(np.prod(shape)), dtype=object)
            array[:] = json.loads(bytes(raw))
            arrays.append(array.reshape(shape))
        else:
            arrays.append(np.frombuffer(raw, dtype=lookup(dtype).numpy).reshape(shape))

    def get(index: int | None, like: np.ndarray | None = None) -> np.ndarray | None:
        if index is None:
            return None
        array = arrays[index]
        return array if like is None or array.shape == like.shape else np.broadcast_to(array, like.shape)

    feeds, sets = [], []
    for described in header["sets"]:
        feeds.append({n: arrays[i] for n, i in described["inputs"].items()})
        outputs = []
        for rule, parts in zip(rules, described["outputs"], strict=True):
            value = arrays[parts["value"]]
            known: dict[str, Any] = {p: get(parts[p], value) for p in _PARTS[1:] if parts[p] is not None}
            outputs.append(Expected(parts["dtype"], rule, value, **known))
        sets.append(tuple(outputs))
    return Golden(tuple(feeds), tuple(sets))
