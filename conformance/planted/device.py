"""A stand-in for a device: the definitions, computed with another arithmetic.

A definition is evaluated in float64 and every aten operation's result is put into the format that the device works
in; sums go through an accumulator of its own, in its own order; elementary functions are as inaccurate as they are
told to be. With what a conforming device may do this makes legal variants, with more it makes defects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..aten import CORRECT, ROUNDED, TERMS, Mode, is_real
from ..dtypes import FLOATS, lookup
from ..numerics import ulp

__all__ = ["Arithmetic", "Order", "lanes", "pairwise", "rounded", "sequential", "split"]

# Parts of a sum of K terms: those inside a part are added exactly, the parts one after the other in the accumulator.
# The chains are summed each by itself, and then together.
Order = Callable[[int], Sequence[Sequence[torch.Tensor]]]

# Each step costs an operation. More than this show nothing new of accumulators that are wide enough.
STEPS = 192


def rounded(x: torch.Tensor, dtype: str, *, truncate: bool = False) -> torch.Tensor:
    """A float64 tensor with its values in another format, to nearest even or towards zero; overflow is infinite.

    ``dtype``: float64, float32, float16, bfloat16, or "tf32" (float32's range, 10 fraction bits).
    """
    if dtype == "float64" or not x.is_floating_point():
        return x
    if dtype == "tf32":
        bits = x.float().view(torch.int32)
        if not truncate:
            bits = bits + 0xFFF + ((bits >> 13) & 1)
        result = (bits & ~0x1FFF).view(torch.float32).double()
        return torch.where(x.isfinite(), result, x)
    narrow = x.to(getattr(torch, dtype))
    result = narrow.double()
    if truncate:
        down = torch.nextafter(narrow, torch.zeros_like(narrow)).double()
        result = torch.where(result.abs() > x.abs(), down, result)
    return result


def _chunks(index: torch.Tensor, block: int, steps: int = STEPS) -> list[torch.Tensor]:
    block = max(block, -(-len(index) // steps))
    return list(torch.split(index, block)) if len(index) else []


def sequential(block: int = 1, *, reverse: bool = False, seed: int | None = None, steps: int = STEPS) -> Order:
    """One chain, ``block`` terms at a time: from the first, from the last, or shuffled. ``steps``: the most of them, for
    which blocks are made larger."""

    def order(count: int) -> list[list[torch.Tensor]]:
        if seed is not None:
            index = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        else:
            index = torch.arange(count)
        return [_chunks(index.flip(0) if reverse else index, block, steps)]

    return order


def split(parts: int, block: int = 1) -> Order:
    """Contiguous parts, as where several processors share a sum."""
    return lambda count: [_chunks(p, block) for p in torch.arange(count).tensor_split(parts) if len(p)]


def lanes(width: int) -> Order:
    """As many accumulators as a vector has lanes: each takes every ``width``-th term."""
    return lambda count: [_chunks(torch.arange(n, count, width), 1) for n in range(min(width, count))]


def pairwise(count: int) -> list[list[torch.Tensor]]:
    """Short chains, added up in a tree."""
    return [[part] for part in torch.arange(count).tensor_split(min(count, 64)) if len(part)]


_BLOCKS_OF_8 = sequential(8)


@dataclass(frozen=True)
class Arithmetic:
    """How a device computes in the dtype under test.

    ``step``: the format of every operation's result ("": results stay in float64, rounded once at the end by the
    caller). ``accumulator``: of sums. ``order``: of their terms. ``operands``: the format that factors of products are
    put into, to nearest or, with ``chop``, towards zero. ``fused``: a product is added before it is rounded. ``truncate``: the accumulator rounds towards zero.
    ``off``: for the functions that are not correctly rounded, gives from the exact result and the absolute error that
    their table leaves beside a last rounding the result of the device.
    """

    step: str = ""
    accumulator: str = "float32"
    order: Order = _BLOCKS_OF_8
    operands: str = ""
    chop: bool = False
    fused: bool = True
    truncate: bool = False
    off: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None

    def run(self, dtype: str, work: Callable[[], list[torch.Tensor]]) -> list[torch.Tensor]:
        """What ``work``, a definition on float64 tensors, comes to for the ONNX dtype under test."""
        with torch.no_grad(), _Mode(self, dtype):
            return work()


class _Mode(Mode):
    def __init__(self, arithmetic: Arithmetic, dtype: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._how = arithmetic
        self._kind = lookup(dtype if dtype in FLOATS else "float64")

    def rounding(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in TERMS:
            result = self._sum(name, args, kwargs) if any(is_real(a) for a in args) else None
            return func(*args, **kwargs) if result is None else self._put(func, args, self._round(result))
        table = ROUNDED.get(name)
        if table is None:
            simpler = self.simpler(func, args, kwargs)
            return func(*args, **kwargs) if simpler is NotImplemented else simpler
        result = func(*args, **kwargs)
        if not isinstance(result, torch.Tensor) or result.dtype != torch.float64:
            return result
        changed = result
        if self._how.off is not None and name not in CORRECT:
            count, narrow, _ = table
            ulps = max((narrow if self._kind.p < 23 else count) - 0.5, 0.0)
            changed = self._how.off(result, ulps * torch.from_numpy(ulp(result.numpy(), self._kind.name)))
            # Where a result is a plain number, such as exp(0), every library has it.
            changed = torch.where((result * 16.0).frac() == 0, result, changed)
        changed = self._round(changed)
        return self._put(func, args, changed)

    @staticmethod
    def _put(func: Any, args: Sequence[Any], result: torch.Tensor) -> torch.Tensor:
        return args[0].copy_(result) if func._schema.is_mutable else result

    def _round(self, x: torch.Tensor) -> torch.Tensor:
        return rounded(x, self._how.step) if self._how.step and x.dtype == torch.float64 else x

    def _sum(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> torch.Tensor | None:
        """A sum in the device's own way; None for the kinds that are left exact but for their final rounding."""
        if any(isinstance(a, torch.Tensor) and a.is_complex() for a in args):
            return None
        with torch.utils._python_dispatch._disable_current_modes():
            if name in ("mm", "bmm"):
                return self._product(*map(self._operand, args[:2]))
            if name in ("addmm", "baddbmm"):
                base, left, right = args[:3]
                product = self._product(self._operand(left), self._operand(right))
                scaled: torch.Tensor = product * kwargs.get("alpha", 1)
                shifted: torch.Tensor = scaled + base * kwargs.get("beta", 1)
                return shifted
            if name == "convolution":
                return self._convolution(*args)
            if name in ("sum", "mean") and args[0].dtype == torch.float64:
                return self._reduction(name, *args, **kwargs)
        return None

    def _operand(self, x: torch.Tensor) -> torch.Tensor:
        return rounded(x, self._how.operands, truncate=self._how.chop) if self._how.operands else x

    def _product(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """(…, m, k) times (…, k, n)."""
        return self._accumulate(
            left.shape[-1], lambda part: left[..., part] @ right[..., part, :], (*left.shape[:-1], right.shape[-1])
        )

    def _reduction(
        self, name: str, x: torch.Tensor, dim: Any = None, keepdim: bool = False, **_: Any
    ) -> torch.Tensor:
        dims = list(range(x.ndim)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)
        dims = sorted(d % x.ndim for d in dims) if x.ndim else []
        rest = [d for d in range(x.ndim) if d not in dims]
        kept = [x.shape[d] for d in rest]
        count = math.prod(x.shape[d] for d in dims)
        terms = x.permute(*rest, *dims).reshape(*kept, count)
        total = self._accumulate(count, lambda part: terms[..., part].sum(-1), kept)
        if name == "mean":
            total = total / count if count else torch.full_like(total, torch.nan)
        if keepdim:
            for d in dims:
                total = total.unsqueeze(d)
        return total

    def _convolution(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        transposed: bool,
        extra: Sequence[int],
        groups: int,
    ) -> torch.Tensor:
        """Every window as a column, and a matrix product for each group."""
        sides = weight.ndim - 2
        kernel = weight.shape[2:]
        stride, padding, dilation = (list(v) * (sides if len(v) == 1 else 1) for v in (stride, padding, dilation))
        if transposed:
            # The same as a convolution of the input with zeros between, by the flipped kernel.
            extra = list(extra) * (sides if len(extra) == 1 else 1)
            spread = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
            wide = x.new_zeros(*x.shape[:2], *spread)
            inside: list[Any] = [slice(None)] * 2 + [slice(None, None, s) for s in stride]
            wide[tuple(inside)] = x
            pads = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
            ends = [p + e for p, e in zip(pads, extra, strict=True)]
            flipped = weight.flip(list(range(2, weight.ndim)))
            # (in, out/g, …) becomes (out, in/g, …).
            parts = flipped.reshape(groups, weight.shape[0] // groups, weight.shape[1], *kernel).transpose(1, 2)
            x, weight = wide, parts.reshape(-1, weight.shape[0] // groups, *kernel)
            stride = [1] * sides
        else:
            pads = ends = padding
        flat = [n for pair in zip(reversed(pads), reversed(ends), strict=True) for n in pair]
        padded = torch.nn.functional.pad(x, flat)
        for axis in range(sides):
            reach = dilation[axis] * (kernel[axis] - 1) + 1
            outputs = (padded.shape[2 + axis] - reach) // stride[axis] + 1
            at = torch.arange(max(outputs, 0))[:, None] * stride[axis]
            at = at + torch.arange(kernel[axis])[None] * dilation[axis]
            taken = padded.index_select(2 + axis, at.reshape(-1))
            padded = taken.reshape(*padded.shape[: 2 + axis], *at.shape, *padded.shape[3 + axis :])
            padded = padded.movedim(3 + axis, -1)
        size = padded.shape[2 : 2 + sides]
        channels = x.shape[1] // groups
        terms, places = channels * math.prod(kernel), math.prod(size)
        columns = padded.reshape(x.shape[0], groups, channels, places, math.prod(kernel))
        columns = columns.transpose(-1, -2).reshape(x.shape[0], groups, terms, places)
        rows = weight.reshape(groups, weight.shape[0] // groups, terms)
        result = self._product(self._operand(rows), self._operand(columns))
        result = result.reshape(x.shape[0], weight.shape[0], *size)
        return result if bias is None else result + bias.reshape(-1, *[1] * sides)

    def _accumulate(
        self, count: int, part: Callable[[torch.Tensor], torch.Tensor], shape: Sequence[int]
    ) -> torch.Tensor:
        """The sum over ``count`` terms; ``part`` gives the exact sum of those at some positions."""
        how = self._how
        accumulator = "float64" if self._kind.name == "float64" else how.accumulator

        def put(x: torch.Tensor) -> torch.Tensor:
            return rounded(x, accumulator, truncate=how.truncate)

        chains = []
        for chain in how.order(count) if count else ():
            total: torch.Tensor | None = None
            for index in chain:
                term = part(index)
                if not how.fused or total is None:
                    term = put(term)
                total = term if total is None else put(total + term)
            if total is not None:
                chains.append(total)
        while len(chains) > 1:  # pairs, then pairs of pairs
            paired = [put(a + b) for a, b in zip(chains[::2], chains[1::2], strict=False)]
            chains = paired + chains[len(paired) * 2 :]
        return chains[0] if chains else torch.zeros(tuple(shape), dtype=torch.float64)
