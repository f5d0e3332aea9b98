"""Weights of a few bits that share a scale in blocks, as language models are deployed with.

Of com.microsoft, version 1; the law is the text that ONNX Runtime registers with each operator (docs/
ContribOperators.md there), for the table of FP4 bitsandbytes, to which it refers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.draws import choice, full, integers, nonzero, uniform, values
from conformance.dtypes import lookup
from conformance.lazy import F, torch
from conformance.numerics import COMPOSITE_SIGMAS
from conformance.rules import ROUNDED, Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from . import samples as s
from .quantisation import fixed
from .schemas import DOMAIN

__all__ = ["OPERATORS"]

ONE = ("float32",)
GPU = ("float32", "float16", "bfloat16")
BYTES = integers(0, 255)
# Dettmers et al., "QLoRA: efficient finetuning of quantized LLMs" (2023), appendix E.
NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
# bitsandbytes: a sign, two bits of exponent and one of fraction, divided by the largest (12); 1/192 for the smallest.
FP4 = (0.0, 1 / 192, 2 / 3, 1.0, 1 / 3, 1 / 2, 1 / 6, 1 / 4)


# What they mean.


def unpacked(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Bytes (…, n) to the numbers of ``bits`` bits in them (…, 8·n/bits), lowest bits first, int64."""
    ones = (packed.to(torch.int64)[..., None] >> torch.arange(8, device=packed.device)) & 1
    groups = torch.unflatten(ones.flatten(-2), -1, (-1, bits))
    return (groups << torch.arange(bits, device=packed.device)).sum(-1)


def matmul_n_bits(
    a: torch.Tensor,
    b: torch.Tensor,
    scales: torch.Tensor,
    zero_points: torch.Tensor | None = None,
    g_idx: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    *,
    K: int,  # noqa: N803
    N: int,  # noqa: N803
    block_size: int,
    bits: int = 4,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> torch.Tensor:
    """A (…, K) times the transpose of (quantised - zero point)·scale (N, K), plus the bias.

    b (N, blocks, block_size·bits/8) bytes; zero points packed like it, or (N, blocks) of A's type.
    """
    blocks = -(-K // block_size)
    whole = unpacked(b.reshape(N, blocks, -1), bits)
    zero: torch.Tensor | int = 2 ** (bits - 1)
    if zero_points is not None:
        if zero_points.is_floating_point():
            zero = zero_points.reshape(N, blocks, 1)
        else:
            # A row's last byte may be filled up; 3 bits need whole rows of bits.
            zero = unpacked(_padded(zero_points.reshape(N, -1), bits), bits)[:, :blocks, None]
    weights = (whole - zero).to(scales.dtype) * scales.reshape(N, blocks, 1)
    y = torch.matmul(a, weights.flatten(1)[:, :K].mT)
    return y if bias is None else y + bias


def _padded(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Rows of bytes filled up to a whole count of numbers."""
    return F.pad(packed, [0, -packed.shape[-1] % bits])


def _quantised_left(
    a: torch.Tensor, *others: Any, block_size: int, accuracy_level: int = 0, **attributes: Any
) -> Any:
    """What level 4 adds: A may be rounded to int8 in blocks, to steps of their largest magnitude over 127 (or of their
    range, at most twice that, over 255).

    Each element is then off by half a step at most, and by 1/√12 of one in the root mean square; the errors of a sum are
    independent. Level 4 is asked in float32 only, so the units are float32's.
    """
    exact = matmul_n_bits(a, *others, block_size=block_size, **attributes)
    if accuracy_level != 4:
        return torch.zeros_like(exact)
    columns = attributes["K"]
    room = F.pad(a.abs(), [0, -columns % block_size])
    most = torch.unflatten(room, -1, (-1, block_size)).amax(-1, keepdim=True)
    step = (most / 127).expand(*most.shape[:-1], block_size).flatten(-2)[..., :columns]
    b, scales, zero_points, *_ = (*others, None, None)
    identity = torch.eye(columns, dtype=a.dtype, device=a.device)
    weights = matmul_n_bits(identity, b, scales, zero_points, block_size=block_size, **attributes)
    largest = torch.matmul(step / 2, weights.abs())
    deviation = torch.matmul(step * step / 12, weights * weights).sqrt()
    return torch.minimum(largest, COMPOSITE_SIGMAS * deviation) / lookup("float32").u


def matmul_bnb4(
    a: torch.Tensor,
    b: torch.Tensor,
    absmax: torch.Tensor,
    *,
    K: int,  # noqa: N803
    N: int,  # noqa: N803
    block_size: int,
    quant_type: int,
    training_mode: int = 0,
    transB: int = 1,  # noqa: N803
) -> torch.Tensor:
    """A times the weights (N, K), transposed unless ``transB`` is 0: entries of a table times their block's scale.

    b is N·K/2 bytes in row-major order, the first of two numbers in the high bits; FP4 is table 0 and NF4 table 1.
    """
    table = torch.tensor(NF4 if quant_type else (*FP4, *(-v for v in FP4)), dtype=absmax.dtype, device=a.device)
    whole = b.to(torch.int64)
    codes = torch.stack([whole >> 4, whole & 15], -1).flatten()[: N * K]
    scales = absmax.flatten().repeat_interleave(block_size)[: N * K]
    weights = (table[codes] * scales).reshape(N, K)
    return torch.matmul(a, weights.mT if transB else weights)


def gather_block_quantized(
    data: torch.Tensor,
    indices: torch.Tensor,
    scales: torch.Tensor,
    zero_points: torch.Tensor | None = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
    input_dtypes: tuple[str, ...] = ("uint8",),
) -> torch.Tensor:
    """Slices along an axis of (data - zero point)·scale, in blocks along another; zeros for an index out of range.

    Bytes hold numbers of ``bits`` bits along the last axis, lowest first, with a zero point of 2^(bits-1) by default;
    4-bit types hold one, with a default of 0.
    """
    axis, along = gather_axis % data.dim(), quantize_axis % data.dim()
    whole, zero = data.to(torch.int64), torch.zeros((), dtype=torch.int64, device=data.device)
    in_bytes = input_dtypes[0] == "uint8"
    if in_bytes:
        whole, zero = unpacked(data, bits), zero + 2 ** (bits - 1)
    if zero_points is not None:
        zero = unpacked(zero_points, bits) if in_bytes else zero_points.to(torch.int64)
        zero = (
            zero[..., : scales.shape[-1]].repeat_interleave(block_size, along).narrow(along, 0, whole.shape[along])
        )
    spread = scales.repeat_interleave(block_size, along).narrow(along, 0, whole.shape[along])
    real = (whole - zero).to(scales.dtype) * spread
    at = indices.long()
    size = real.shape[axis]
    inside = (at >= -size) & (at < size)
    found = real.index_select(axis, torch.where(inside, at % size, torch.zeros_like(at)).flatten())
    kept = inside.flatten().reshape([-1 if i == axis else 1 for i in range(real.dim())])
    found = torch.where(kept, found, torch.zeros_like(found))
    return found.reshape(*real.shape[:axis], *at.shape, *real.shape[axis + 1 :])


# How they are exercised.


def _weights(n: int, k: int, bits: int, block: int, *, zero: str = "") -> tuple[TensorSpec | None, ...]:
    """Packed weights, scales and zero points (packed, of A's type, or none)."""
    blocks = -(-k // block)
    zeros: TensorSpec | None = None
    if zero == "packed":
        zeros = tensor(n, -(-blocks * bits // 8), draw=BYTES, dtype="uint8", constant=True)
    elif zero == "real":
        zeros = tensor(n, blocks, draw=uniform(0.3 * 2**bits, 0.7 * 2**bits), constant=True)
    return (
        tensor(n, blocks, block * bits // 8, draw=BYTES, dtype="uint8", constant=True),
        # Weights of about 1/√K, whatever the bits, so that outputs stay near 1.
        tensor(n, blocks, draw=uniform(2 / 2**bits / k**0.5, 4 / 2**bits / k**0.5), constant=True),
        zeros,
    )


def _outlier(others: float) -> TensorSpec:
    """One large number in front of many small ones: a narrow accumulator that holds it has no room left for the others."""
    return tensor(1, 1024, draw=values(8192.0, *[others] * 1023))


def _n_bits() -> Iterator[Sample]:
    def sample(
        name: str,
        a: tuple[int, ...] = (3, 32),
        n: int = 8,
        *,
        bits: int = 4,
        block: int = 16,
        zero: str = "",
        bias: bool = False,
        dtypes: tuple[str, ...] = s.FEW,
        again: tuple[tuple[int, ...], ...] = (),
        tags: frozenset[str] = frozenset(),
        **attributes: Any,
    ) -> Sample:
        k = a[-1]
        weights = _weights(n, k, bits, block, zero=zero)
        more = (None, tensor(n, constant=True)) if bias else ()
        while not more and weights[-1] is None:
            weights = weights[:-1]
        named = {"K": k, "N": n, "bits": bits, "block_size": block, **attributes}
        sets = tuple((tensor(*shape), *weights, *more) for shape in again)
        return Sample(name, (tensor(*a), *weights, *more), named, dtypes=dtypes, again=sets, tags=tags)

    yield sample("plain", dtypes=GPU)
    yield sample("zero-points", zero="packed", dtypes=GPU)
    yield sample("real-zero-points", zero="real")
    yield sample("bias", bias=True)
    yield sample("zero-points-bias", zero="packed", bias=True, dtypes=ONE)
    yield sample("one-row", (1, 64), 24, block=32, zero="packed")
    yield sample("three-axes", (2, 3, 64), 9, block=32)
    yield sample("rank-4", (1, 2, 3, 32), 5, dtypes=ONE)
    yield sample("block-32", (5, 96), 17, block=32, zero="packed")
    yield sample("block-64", (2, 128), 7, block=64, zero="packed")
    yield sample("block-128", (2, 256), 16, block=128, zero="packed", dtypes=ONE)
    yield sample("block-256", (2, 512), 4, block=256, dtypes=ONE)
    yield sample("inner-not-whole", (3, 40), 8, zero="packed")
    yield sample("inner-less-than-a-block", (3, 20), 8, block=32, dtypes=ONE)
    # Three blocks: the zero points' last byte is half full.
    yield sample("zero-points-odd", (3, 48), 8, zero="packed", dtypes=ONE)
    yield sample("one-column", (3, 32), 1, dtypes=ONE)
    for bits in (2, 8):
        yield sample(f"{bits}-bits", bits=bits)
        yield sample(f"{bits}-bits-zero-points", (3, 96), bits=bits, block=32, zero="packed", bias=True)
        yield sample(f"{bits}-bits-one-row", (1, 64), 24, bits=bits, block=32, dtypes=ONE)
    yield sample("level-1", (3, 64), block=32, zero="packed", accuracy_level=1, dtypes=ONE)
    fourth: dict[str, Any] = {"block": 32, "accuracy_level": 4, "dtypes": ONE, "tags": frozenset({"coarse"})}
    for name, rows, zero in (("", 3, ""), ("-zero-points", 5, "packed"), ("-one-row", 1, "packed")):
        yield sample(f"level-4{name}", (rows, 128), 16, zero=zero, **fourth)
    yield sample("level-4-8-bits", (3, 128), 16, bits=8, **fourth)
    yield sample("large", (7, 512), 129, block=32, zero="packed", tags=s.LARGE)
    yield sample("large-one-row", (1, 1024), 256, block=128, dtypes=ONE, tags=s.LARGE)
    yield sample("dynamic", (3, 32), again=((1, 32), (17, 32)), tags=s.DYNAMIC)
    yield sample("dynamic-length", (1, 5, 32), again=((1, 1, 32), (3, 2, 32)), dtypes=ONE, tags=s.DYNAMIC)
    yield sample("empty", (0, 32), dtypes=ONE, tags=s.EMPTY)
    # A of zeros, so that the bias comes out. (An infinite A times a weight of zero, or with the zero points taken off at
    # the end, is left open.)
    nought = sample("bias-alone", (1, 32), bias=True)
    nought = replace(nought, inputs=(tensor(1, 32, draw=full(0.0)), *nought.inputs[1:]))
    yield from s.only(s.carried(nought, 5), dtypes=GPU)
    positive = sample("outlier", (1, 1024), 4, block=256, dtypes=("bfloat16",))
    b = tensor(4, 4, 128, draw=choice(0x99, 0xBA, 0xDC, 0xEF), dtype="uint8", constant=True)
    yield replace(positive, inputs=(_outlier(4.0), b, positive.inputs[2]))
    beyond = sample("beyond-float16", (1, 32), dtypes=("bfloat16",))
    yield replace(beyond, inputs=(tensor(1, 32, draw=nonzero(1e6, 1e7)), *beyond.inputs[1:]))
    # Scales that are powers of two and small whole numbers: nothing rounds, and a single wrong nibble shows.
    whole = tensor(5, 64, draw=s.SMALL)
    packed = tensor(9, 2, 16, draw=BYTES, dtype="uint8", constant=True)
    exact = (whole, packed, tensor(9, 2, draw=integers(1, 1), constant=True))
    named = {"K": 64, "N": 9, "block_size": 32}
    yield Sample("exact-integers", exact, named, dtypes=s.FEW, exact=True)
    zeros = tensor(9, 1, draw=BYTES, dtype="uint8", constant=True)
    yield Sample("exact-integers-zero-points", (*exact, zeros), named, dtypes=s.FEW, exact=True)
    wrong = {**named, "K": 80}
    yield Sample("inner-mismatch", exact, wrong, dtypes=ONE, refuse="80 columns are asked for, 64 are there")


def _bnb4() -> Iterator[Sample]:
    def sample(name: str, a: tuple[int, ...], n: int, k: int, block: int, kind: int, **fields: Any) -> Sample:
        attributes = {"K": k, "N": n, "block_size": block, "quant_type": kind, **fields.pop("attributes", {})}
        b = tensor((n * k + 1) // 2, draw=BYTES, dtype="uint8", constant=True)
        absmax = tensor(-(-n * k // block), draw=uniform(0.2, 0.6), constant=True)
        again = tuple((tensor(*shape), b, absmax) for shape in fields.pop("again", ()))
        return Sample(name, (tensor(*a), b, absmax), attributes, again=again, **{"dtypes": s.FEW, **fields})

    for kind, name in enumerate(("fp4", "nf4")):
        yield sample(name, (3, 32), 8, 32, 16, kind)
        yield sample(f"{name}-block-64", (2, 3, 64), 12, 64, 64, kind, dtypes=ONE)
        yield sample(f"{name}-one-row", (1, 64), 9, 64, 32, kind, dtypes=ONE)
        # Blocks run on from one row of the weights into the next.
        yield sample(f"{name}-blocks-across-rows", (3, 24), 5, 24, 16, kind, dtypes=ONE)
    # Weights of 1, -1 and 0: nothing rounds, and sums are beyond bfloat16's whole numbers.
    named = {"K": 16, "N": 2, "block_size": 16, "quant_type": 1}
    signs, ones = tensor(16, draw=choice(0xFF, 0xF7, 0x0F), dtype="uint8", constant=True), fixed(1.0, 1.0)
    whole = tensor(3, 16, draw=integers(30, 120))
    yield Sample("nf4-exact-integers", (whole, signs, ones), named, dtypes=s.FEW, exact=True)
    plain = Sample("nf4-ones", (tensor(2, 16), replace(signs, draw=full(0xFF)), ones), named)
    yield from s.only(s.carried(plain, 0), dtypes=s.FEW)
    named = {"K": 1024, "N": 2, "block_size": 64, "quant_type": 1}
    positive = tensor(1024, draw=choice(0x88, 0xAA, 0xCC, 0xEE), dtype="uint8", constant=True)
    given = _outlier(0.5), positive, tensor(32, draw=uniform(0.002, 0.004), constant=True)
    yield Sample("nf4-outlier", given, named, dtypes=("float16",))
    yield sample("nf4-large", (5, 256), 33, 256, 64, 1, dtypes=ONE, tags=s.LARGE)
    yield sample("nf4-dynamic", (2, 32), 8, 32, 16, 1, dtypes=ONE, again=((1, 32), (9, 32)), tags=s.DYNAMIC)


def _gathers() -> Iterator[Sample]:
    def sample(
        name: str,
        kind: str,
        shape: tuple[int, ...],
        at: TensorSpec,
        *,
        zero: bool = False,
        scale: str = "float32",
        block: int = 16,
        bits: int = 4,
        along: int = 1,
        **fields: Any,
    ) -> Sample:
        """``shape``: of the numbers, not of the bytes that they are packed into."""
        each = 8 // bits if kind == "uint8" else 1
        blocks = [-(-d // block) if i == along else d for i, d in enumerate(shape)]
        draw = {"uint8": BYTES, "uint4": integers(0, 15), "int4": integers(-8, 7)}[kind]
        data = tensor(*shape[:-1], -(-shape[-1] // each), draw=draw, constant=True)
        scales = tensor(*blocks, draw=uniform(0.02, 0.09), dtype=scale, constant=True)
        zeros = (tensor(*blocks[:-1], -(-blocks[-1] // each), draw=draw, constant=True),) if zero else ()
        attributes = {"block_size": block, "bits": bits, **fields.pop("attributes", {})}
        attributes |= {"quantize_axis": along} if along != 1 else {}
        opset = None if kind == "uint8" else 21  # which has the 4-bit types
        return Sample(name, (data, at, scales, *zeros), attributes, dtypes=(kind,), opset=opset, **fields)

    at = tensor(2, 3, draw=integers(0, 6), dtype="int64")
    for kind in ("uint4", "int4", "uint8"):
        yield sample(kind, kind, (7, 32), at)
        yield sample(f"{kind}-zero-points", kind, (7, 32), at, zero=True)
    yield sample("int32-indices", "uint4", (7, 32), tensor(5, draw=integers(0, 6), dtype="int32"))
    yield sample("scalar-index", "uint4", (7, 32), fixed(3, dtype="int64"), tags=s.SCALAR)
    yield sample("negative-indices", "uint4", (7, 32), tensor(4, draw=values(-1, -7, 6, 0), dtype="int64"))
    yield sample("float16-scales", "uint4", (7, 32), at, zero=True, scale="float16")
    yield sample("float16-scales-bytes", "uint8", (7, 32), at, zero=True, scale="float16")
    yield sample("8-bits", "uint8", (7, 32), at, bits=8)
    yield sample("8-bits-zero-points", "uint8", (7, 64), at, bits=8, block=32, zero=True)
    yield sample("2-bits", "uint8", (7, 64), at, bits=2)
    yield sample("2-bits-zero-points", "uint8", (7, 64), at, bits=2, zero=True)
    yield sample("blocks-not-whole", "uint4", (7, 40), at, zero=True)
    yield sample(
        "three-axes", "int4", (5, 3, 32), tensor(2, draw=integers(0, 4), dtype="int64"), along=2, zero=True
    )
    other = {"gather_axis": 1}
    by_column = tensor(4, draw=integers(0, 4), dtype="int64")
    yield sample("gather-axis-1", "uint4", (32, 5), by_column, along=0, zero=True, attributes=other)
    yield sample("embedding", "uint8", (128, 256), tensor(1, 9, draw=integers(0, 127), dtype="int64"), block=32)
    yield sample("out-of-range", "uint4", (7, 32), tensor(4, draw=values(2, 7, -8, 6), dtype="int64"))


_operator = partial(Operator, domain=DOMAIN)

OPERATORS = (
    _operator("MatMulNBits", matmul_n_bits, Composite(drift=_quantised_left), _n_bits),
    _operator("MatMulBnb4", matmul_bnb4, Composite(), _bnb4),
    _operator(
        "GatherBlockQuantized", gather_block_quantized, ROUNDED, _gathers, dtypes=("uint4", "int4", "uint8")
    ),
)
