"""The element types: one table from ONNX's names to NumPy, ONNX's enumeration and the constants of each format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = [
    "BFLOAT16",
    "BOOL",
    "BORROWED",
    "DTYPES",
    "FLOATS",
    "INTEGERS",
    "SIGNED",
    "UNSIGNED",
    "DType",
    "dtype_of",
    "from_onnx",
    "is_known",
    "lookup",
    "numpy_to_torch",
    "torch_dtype",
    "torch_to_numpy",
]


@dataclass(frozen=True, slots=True)
class DType:
    """One ONNX element type.

    ``p`` is the number of fraction bits (IEEE 754 binary formats; 0 for integers), ``smallest`` the smallest
    positive normal number and ``largest`` the largest finite one. ``accumulator`` names the format in which
    hardware sums products of this one (NUMERICS: float32 for the 16- and 8-bit formats, itself otherwise).
    """

    name: str
    onnx: int
    numpy: np.dtype[Any]
    kind: str
    p: int = 0
    smallest: float = 0.0
    largest: float = 0.0
    accumulator: str = ""

    @property
    def u(self) -> float:
        """Unit roundoff, 2^-(p+1)."""
        return 2.0 ** -(self.p + 1)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")


def _float(name: str, onnx: int, scalar: Any, accumulator: str = "float32") -> DType:
    info = ml_dtypes.finfo(scalar)  # type: ignore[no-untyped-call]  # ml_dtypes leaves it untyped
    return DType(
        name,
        onnx,
        np.dtype(scalar),
        "float",
        p=int(info.nmant),
        smallest=float(info.smallest_normal),
        largest=float(info.max),
        accumulator=accumulator,
    )


def _plain(name: str, onnx: int, scalar: Any, kind: str) -> DType:
    return DType(name, onnx, np.dtype(scalar), kind)


# The numbers are onnx.TensorProto.DataType; that they are is tested, so that this module needs no onnx.
_ALL = (
    _float("float32", 1, np.float32),
    _plain("uint8", 2, np.uint8, "uint"),
    _plain("int8", 3, np.int8, "int"),
    _plain("uint16", 4, np.uint16, "uint"),
    _plain("int16", 5, np.int16, "int"),
    _plain("int32", 6, np.int32, "int"),
    _plain("int64", 7, np.int64, "int"),
    _plain("string", 8, np.object_, "string"),
    _plain("bool", 9, np.bool_, "bool"),
    _float("float16", 10, np.float16),
    _float("float64", 11, np.float64, accumulator="float64"),
    _plain("uint32", 12, np.uint32, "uint"),
    _plain("uint64", 13, np.uint64, "uint"),
    _plain("complex64", 14, np.complex64, "complex"),
    _plain("complex128", 15, np.complex128, "complex"),
    _float("bfloat16", 16, ml_dtypes.bfloat16),
    _float("float8e4m3fn", 17, ml_dtypes.float8_e4m3fn),
    _float("float8e4m3fnuz", 18, ml_dtypes.float8_e4m3fnuz),
    _float("float8e5m2", 19, ml_dtypes.float8_e5m2),
    _float("float8e5m2fnuz", 20, ml_dtypes.float8_e5m2fnuz),
    _plain("uint4", 21, ml_dtypes.uint4, "uint"),
    _plain("int4", 22, ml_dtypes.int4, "int"),
    _float("float4e2m1", 23, ml_dtypes.float4_e2m1fn),
    _float("float8e8m0", 24, ml_dtypes.float8_e8m0fnu),
    _plain("uint2", 25, ml_dtypes.uint2, "uint"),
    _plain("int2", 26, ml_dtypes.int2, "int"),
    _float("float6e2m3", 27, ml_dtypes.float6_e2m3fn),
    _float("float6e3m2", 28, ml_dtypes.float6_e3m2fn),
)
DTYPES: dict[str, DType] = {d.name: d for d in _ALL}
_BY_ONNX = {d.onnx: d for d in _ALL}
_BY_NUMPY = {d.numpy: d for d in _ALL}

BFLOAT16 = DTYPES["bfloat16"].numpy
FLOATS = ("float32", "float16", "bfloat16", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
BOOL = ("bool",)


def lookup(name: str) -> DType:
    """The entry for an ONNX type name such as ``"float16"``. Raises ``KeyError`` for an unknown one."""
    return DTYPES[name]


def from_onnx(elem_type: int) -> DType:
    """The entry for a number of ``onnx.TensorProto.DataType``. Raises ``KeyError`` for an unknown one."""
    return _BY_ONNX[elem_type]


def is_known(array: np.ndarray) -> bool:
    """Whether the table has the array's element type."""
    return array.dtype.kind in "UST" or array.dtype in _BY_NUMPY


def dtype_of(array: np.ndarray) -> str:
    """The ONNX name of an array's element type; Unicode arrays count as ``"string"``.

    Raises ``KeyError`` for an element type that ONNX does not have.
    """
    if array.dtype.kind in "UST":
        return "string"
    return _BY_NUMPY[array.dtype].name


# torch has the ONNX names, but for these.
_TORCH_NAMES = {
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
}
# What torch cannot compute in, or has no kernels for (its float8_e8m0fnu), travels as a type that holds all its values:
# as values and not as bits, so that a definition moves, compares and converts them like any other number.
BORROWED = {
    "int4": "int8",
    "uint4": "uint8",
    "int2": "int8",
    "uint2": "uint8",
    "float4e2m1": "float32",
    "float6e2m3": "float32",
    "float6e3m2": "float32",
    "float8e8m0": "float32",
}
# Formats that NumPy's torch bridge does not know: the bits travel as an integer of the same size.
_BITS = {1: (np.uint8, "uint8"), 2: (np.int16, "int16")}


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of an ONNX type name: of the `BORROWED` ones that in which they travel."""
    import torch

    name = BORROWED.get(name, name)
    dtype = getattr(torch, _TORCH_NAMES.get(name, name))
    assert isinstance(dtype, torch.dtype)
    return dtype


def _needs_bits(name: str) -> bool:
    return name == "bfloat16" or name in _TORCH_NAMES


def numpy_to_torch(array: np.ndarray) -> torch.Tensor:
    """A tensor of the same shape and element type (or that in which it travels); shares memory where it can."""
    import torch

    name = dtype_of(array)
    if not array.flags.writeable or not array.flags.c_contiguous:
        array = np.array(array, order="C")
    if _needs_bits(name):
        bits = array.view(_BITS[array.dtype.itemsize][0])
        return torch.from_numpy(bits).view(torch_dtype(name))
    if name in BORROWED:
        return torch.from_numpy(array.astype(DTYPES[BORROWED[name]].numpy))
    return torch.from_numpy(array)


def torch_to_numpy(tensor: torch.Tensor, name: str | None = None) -> np.ndarray:
    """An array of the same shape, as ONNX type ``name`` (default: the tensor's own); integers wrap, floats round."""
    import torch

    tensor = tensor.detach().cpu()
    if name is not None:
        tensor = tensor.to(torch_dtype(name))
    own = {torch_dtype(n): n for n in DTYPES if n not in BORROWED and n != "string"}[tensor.dtype]
    if _needs_bits(own):
        bits = tensor.contiguous().view(getattr(torch, _BITS[tensor.element_size()][1])).numpy()
        return bits.view(DTYPES[own].numpy)
    array = np.asarray(tensor.resolve_conj().contiguous().numpy())
    return array.astype(DTYPES[name].numpy) if name in BORROWED else array
