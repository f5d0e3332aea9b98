"""How the engine and its worker speak: frames of a JSON header and raw array bytes, on a private descriptor.

Read by both sides, and so by a vendor's own interpreter: Python 3.8, the standard library and NumPy only
(ml_dtypes where bfloat16, or 8 bits and fewer, are in play). Nothing is ever unpickled.

A frame is a prefix (magic, header size, payload size), a JSON object padded with blanks to a multiple of
``ALIGN`` bytes, and the payload. Values (an operator's inputs or outputs) are described in the header:

========================================  ==========================================================
a number ``i``                            the array ``header["arrays"][i]``
``null``                                  an optional value that is absent
a list                                    a sequence of values
``{"strings": [...], "shape": [...]}``    a tensor of strings
``{"map": [keys, values]}``               a map: two described vectors of equal length
``{"odd": type, "text": text}``           something that is no ONNX value: reported, never transported
========================================  ==========================================================

and an array is ``[dtype, shape, where]`` with ``where`` its offset in the payload or, from ``FILE_BYTES``
bytes up, the path of a scratch file that holds its bytes.
"""

# Aliases are evaluated, and Python 3.8 cannot subscript tuple; paths are strings, as they travel.

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Dict, Tuple

import numpy as np

__all__ = [
    "FILE_BYTES",
    "MESSAGE_LIMIT",
    "Frame",
    "Odd",
    "ProtocolError",
    "agree",
    "clean",
    "described",
    "dtype_named",
    "flatten",
    "load",
    "pack",
    "read_frame",
    "same",
    "send_frame",
    "store",
    "unflatten",
]

_PREFIX = struct.Struct("<4sIQ")
_MAGIC = b"CNF1"
ALIGN = 64
# Measured: below this the socket is as fast as a file in memory, above it the copies through the socket cost.
FILE_BYTES = 256 * 1024
# Garbage on the channel must not make the reader allocate the sizes that the garbage spells.
_HEADER_LIMIT = 1 << 28
_PAYLOAD_LIMIT = 1 << 34
MESSAGE_LIMIT = 2000

Frame = Tuple[Dict[str, Any], memoryview]


class ProtocolError(Exception):
    """The other side sent something that is no frame, or a frame that contradicts itself."""


class Odd:
    """Something in the place of an ONNX value that is none: its type's name and a short text."""

    def __init__(self, type: str, text: str) -> None:
        self.type = type
        self.text = text

    def __repr__(self) -> str:
        return f"{self.type} {self.text}".strip()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and (self.type, self.text) == (other.type, other.text)

    def __hash__(self) -> int:
        return hash((self.type, self.text))


# ------------------------------------------------------------------------------------------------ text


def clean(text: object, limit: int = MESSAGE_LIMIT) -> str:
    """``str(text)`` without control characters and lone surrogates, at most ``limit`` characters.

    An object whose ``__str__`` raises gives a text that says so. Newlines and tabs stay.
    """
    try:
        raw = str(text)
    except BaseException as error:  # noqa: BLE001  (a backend's exception may do anything)
        raw = f"<{type(text).__name__} whose text cannot be had: {type(error).__name__}>"
    if len(raw) > limit:
        raw = raw[: limit - 1] + "…"
    raw = raw.encode("utf-8", "backslashreplace").decode("utf-8")
    if raw.isprintable():
        return raw
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in raw)


def _type_name(value: object) -> str:
    kind = type(value)
    module = getattr(kind, "__module__", "") or ""
    name = getattr(kind, "__qualname__", kind.__name__)
    return clean(name if module in ("builtins", "__main__") else f"{module}.{name}", 200)


# ---------------------------------------------------------------------------------------------- dtypes

_PLAIN: tuple[str, ...] = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_PLAIN += ("float16", "float32", "float64", "complex64", "complex128")
_EXTENDED: tuple[str, ...] = (
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
_EXTENDED += ("float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "int4", "uint4", "int2", "uint2")
_NAMES: dict[np.dtype[Any], str] = {}  # a dtype's name takes NumPy as long as all the rest of a small array
_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in _PLAIN}


def _name_of(dtype: np.dtype[Any]) -> str:
    name = _NAMES.get(dtype)
    if name is None:
        name = _NAMES[dtype] = dtype.name
    return name


def dtype_named(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name on the wire. Raises ``ProtocolError`` for an unknown one, and
    ``ImportError`` where this interpreter's ml_dtypes is missing or too old to have it."""
    if name not in _DTYPES:
        if name not in _EXTENDED:
            raise ProtocolError(f"unknown dtype {name!r}")
        import ml_dtypes

        if not hasattr(ml_dtypes, name):
            raise ImportError(f"ml_dtypes {ml_dtypes.__version__} has no {name}")
        _DTYPES[name] = np.dtype(getattr(ml_dtypes, name))
    return _DTYPES[name]


# ---------------------------------------------------------------------------------------------- values


def flatten(value: Any, arrays: list[np.ndarray], copy: bool = False) -> Any:
    """The description of a value; its arrays are appended to ``arrays`` in C order and native byte order.

    ``copy``: append private copies, for a caller whose arrays may change.
    """
    if type(value) is np.ndarray or type(value) is np.memmap:
        return _flatten_array(value, arrays, copy)
    if value is None:
        return None
    # A list stands for a sequence, and a sequence holds tensors or maps: a list of numbers is a mistake.
    if isinstance(value, (list, tuple)) and all(isinstance(item, (np.ndarray, dict)) for item in value):
        return [flatten(item, arrays, copy) for item in value]
    if isinstance(value, dict):
        keys, items = _column(value), _column(value.values())
        if keys is not None and items is not None:
            return {"map": [flatten(keys, arrays), flatten(items, arrays)]}
    if isinstance(value, Odd):
        return {"odd": value.type, "text": value.text}
    # Only small builtin values are spelt out: the repr of anything else may be huge, slow or fatal.
    small = isinstance(value, (bool, int, float, complex, str, bytes, np.generic))
    text = clean(repr(value), 100) if small else ""
    if isinstance(value, (list, tuple, dict)):
        text = f"of {len(value)}"
    elif isinstance(value, np.ndarray):
        text = f"{value.dtype} {value.shape}"
    return {"odd": _type_name(value), "text": text}


def _column(items: Iterable[Any]) -> np.ndarray | None:
    """A map's keys or its values as a vector; None where they are not all texts, all int64 or all floats."""
    found = list(items)
    if found and all(isinstance(item, (str, bytes)) for item in found):
        return np.array(found, dtype=object)
    if all(isinstance(item, (int, np.integer)) and -(1 << 63) <= item < 1 << 63 for item in found):
        return np.array(found, dtype=np.int64)
    if all(isinstance(item, (float, np.floating)) for item in found):
        return np.array(found, dtype=np.float64)
    return None


def _flatten_array(value: np.ndarray, arrays: list[np.ndarray], copy: bool) -> Any:
    dtype = value.dtype
    if dtype.kind in "USOT":
        items = value.ravel().tolist()
        if all(isinstance(item, (str, bytes)) for item in items):
            texts = [i.decode("utf-8", "backslashreplace") if isinstance(i, bytes) else i for i in items]
            return {"strings": texts, "shape": list(value.shape)}
        kinds = sorted({_type_name(item) for item in items if not isinstance(item, (str, bytes))})
        return {"odd": "numpy.ndarray", "text": "of objects: " + ", ".join(kinds[:3])}
    name = _name_of(dtype)
    if name not in _DTYPES and name not in _EXTENDED:
        return {"odd": "numpy.ndarray", "text": f"of dtype {clean(dtype, 100)}"}
    if not dtype.isnative:
        value = value.astype(dtype.newbyteorder("="))
    elif copy or not value.flags.c_contiguous:
        value = value.copy(order="C")
    arrays.append(np.asarray(value))
    return len(arrays) - 1


def unflatten(item: Any, arrays: Sequence[np.ndarray]) -> Any:
    """The value that ``flatten`` described: an ndarray, a list, a dict, None or an ``Odd``.

    Raises ``ProtocolError`` for a description that is none.
    """
    if item is None:
        return None
    if isinstance(item, int) and 0 <= item < len(arrays):
        return arrays[item]
    if isinstance(item, list):
        return [unflatten(i, arrays) for i in item]
    if isinstance(item, dict) and "odd" in item:
        return Odd(str(item["odd"]), str(item.get("text", "")))
    if isinstance(item, dict) and isinstance(item.get("map"), list) and len(item["map"]) == 2:
        keys, values = (unflatten(i, arrays) for i in item["map"])
        vectors = all(isinstance(column, np.ndarray) and column.ndim == 1 for column in (keys, values))
        if not vectors or len(keys) != len(values):
            raise ProtocolError(f"no map: {clean(item, 100)}")
        return dict(zip(keys.tolist(), values.tolist()))  # noqa: B905  (Python 3.8 has no strict)
    if isinstance(item, dict) and isinstance(item.get("strings"), list):
        strings = np.empty(len(item["strings"]), dtype=object)
        strings[:] = item["strings"]
        try:
            return strings.reshape(item.get("shape"))
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"strings: {error}") from None
    raise ProtocolError(f"no value: {clean(item, 100)}")


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """The bytes of a C-ordered array, shape (nbytes,), sharing its memory."""
    return array.reshape(-1).view(np.uint8)


def described(outputs: Sequence[Any], copy: bool = False) -> tuple[list[Any], list[np.ndarray]]:
    """The descriptions of a run's outputs, and their arrays, as `flatten` gives them."""
    arrays: list[np.ndarray] = []
    return [flatten(output, arrays, copy) for output in outputs], arrays


def agree(a: tuple[list[Any], list[np.ndarray]], b: tuple[list[Any], list[np.ndarray]]) -> bool:
    """Whether two runs' outputs, as `described`, are the same by `same`."""
    return a[0] == b[0] and all(map(same, a[1], b[1]))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two C-ordered arrays agree in dtype, shape and every bit; a NaN agrees with any other NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    x, y = _bytes_of(a), _bytes_of(b)
    if np.array_equal(x, y):
        return True
    try:
        nan = np.isnan(a) & np.isnan(b)
    except TypeError:  # int4 and its kin have no isnan
        return False
    size = a.dtype.itemsize
    differ = (x.reshape(-1, size) != y.reshape(-1, size)).any(axis=1)
    return not bool((differ & ~nan.reshape(-1)).any())


# ---------------------------------------------------------------------------------------------- arrays


def store(array: np.ndarray, folders: Sequence[str], name: str) -> str:
    """Write a C-ordered array's bytes into a new file; the path.

    The first folder is memory and may be small, so a full one passes the file on to the next. Written, not
    mapped: a full memory file system kills whoever touches a mapping of it, but fails a write politely.
    """
    data = _bytes_of(array).data
    for folder in folders:
        path = os.path.join(folder, name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            done = 0
            while done < len(data):
                done += os.write(descriptor, data[done:])
            return path
        except OSError as error:
            os.unlink(path)
            if error.errno != errno.ENOSPC or folder == folders[-1]:
                raise
        finally:
            os.close(descriptor)
    raise ValueError("no scratch folder")


def pack(arrays: Iterable[np.ndarray], folders: Sequence[str], name: str) -> tuple[list[Any], list[Any]]:
    """The descriptions of C-ordered arrays, and the payload's pieces; big ones go to scratch files whose names
    begin with ``name``."""
    specs: list[Any] = []
    pieces: list[Any] = []
    at = 0
    for array in arrays:
        size = array.nbytes
        if size >= FILE_BYTES and folders:
            where: Any = store(array, folders, f"{name}-{len(specs)}")
        else:
            where = at
            if size:
                pieces.append(array.tobytes())
                if size % ALIGN:
                    pieces.append(bytes(ALIGN - size % ALIGN))
                at += size + (-size) % ALIGN
        specs.append([_name_of(array.dtype), list(array.shape), where])
    return specs, pieces


def load(specs: Any, payload: memoryview, folders: Sequence[str], copy: bool = False) -> list[np.ndarray]:
    """The arrays that ``pack`` described: writable, private to this process.

    ``copy``: inline arrays own their memory instead of sharing the payload's. Raises ``ProtocolError`` for
    descriptions that contradict the payload or name a file outside ``folders``.
    """
    arrays = []
    try:
        for name, shape, where in specs:
            dtype = dtype_named(name)
            if any(type(side) is not int or side < 0 for side in shape):
                raise ProtocolError(f"no shape: {clean(shape, 100)}")
            count = math.prod(shape)
            if isinstance(where, str):
                array = np.frombuffer(_map(where, count * dtype.itemsize, folders), np.uint8).view(dtype)
            elif count == 0:
                array = np.empty(0, dtype)
            else:
                array = np.frombuffer(payload, dtype, count, where)
                if copy:
                    array = array.copy()
            arrays.append(array.reshape(shape))
    except (TypeError, ValueError, OSError) as error:
        raise ProtocolError(f"arrays: {error}") from None
    return arrays


def _map(path: str, size: int, folders: Sequence[str]) -> mmap.mmap:
    if os.path.dirname(path) not in folders:
        raise ProtocolError(f"a file outside the scratch folder: {clean(path, 200)}")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_size != size:
            raise ProtocolError(f"{path}: not {size} bytes")
        return mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------- frames


def send_frame(header: dict[str, Any], pieces: Sequence[Any], send: Callable[[memoryview], None]) -> None:
    """Hand a frame's bytes to ``send``, which sends all of what it is given."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % ALIGN)
    size = sum(len(piece) for piece in pieces)
    send(memoryview(b"".join([_PREFIX.pack(_MAGIC, len(text), size), text, *pieces])))


def read_frame(fill: Callable[[memoryview], None]) -> Frame:
    """The next frame; ``fill`` fills the memory it is given, or raises (``EOFError`` at the end).

    Raises ``ProtocolError`` for bytes that are no frame.
    """
    prefix = bytearray(_PREFIX.size)
    fill(memoryview(prefix))
    magic, size, payload = _PREFIX.unpack(prefix)
    if magic != _MAGIC or size > _HEADER_LIMIT or payload > _PAYLOAD_LIMIT:
        raise ProtocolError(f"no frame: {bytes(prefix)!r}")
    data = memoryview(bytearray(size + payload))
    fill(data)
    try:
        header = json.loads(bytes(data[:size]))
    except ValueError as error:
        raise ProtocolError(f"no header: {error}") from None
    if not isinstance(header, dict):
        raise ProtocolError(f"no header: {clean(header, 100)}")
    return header, data[size:]
