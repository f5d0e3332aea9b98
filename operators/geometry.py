"""What the sliding-window operators share: padding, output sizes and the windows themselves, in any rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.lazy import F, torch

__all__ = ["Frame", "frame", "pad", "spread", "wide", "windows"]


def wide(x: torch.Tensor) -> torch.Tensor:
    """The tensor in the format that its sums are computed in: float32 for narrower ones, else its own."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def spread(values: Sequence[int] | None, rank: int, default: int) -> list[int]:
    """One value for each spatial axis, the default where the attribute is absent (an empty list counts so)."""
    return list(values) if values else [default] * rank


@dataclass(frozen=True, slots=True)
class Frame:
    """How a kernel slides along one axis: padding before and after, positions, stride and dilation.

    ``begin`` and ``end`` are the padding that the operator declares; with ``ceil_mode`` a last window may reach
    ``beyond`` elements further, into space that is neither input nor padding.
    """

    begin: int
    end: int
    beyond: int
    out: int
    kernel: int
    stride: int
    dilation: int


def frame(
    sizes: Sequence[int],
    kernel: Sequence[int],
    *,
    auto_pad: str = "NOTSET",
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    ceil_mode: int = 0,
) -> list[Frame]:
    """The frames of all spatial axes, from the sizes of the input (AveragePool-22, MaxPool-22, Conv-22).

    Raises ``ValueError`` where the kernel does not fit into the padded input; with ceil_mode one that is larger by less
    than a stride does, as ceil((input + pads - kernel) / stride + 1) is 1 then.
    """
    rank = len(sizes)
    given = spread(pads, 2 * rank, 0)
    steps, gaps = spread(strides, rank, 1), spread(dilations, rank, 1)
    frames = []
    for axis, (size, k, step, gap) in enumerate(zip(sizes, kernel, steps, gaps, strict=True)):
        reach = (k - 1) * gap + 1
        begin, end = given[axis], given[axis + rank]
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            out = -(-size // step)
            total = max((out - 1) * step + reach - size, 0)
            small, big = total // 2, total - total // 2
            begin, end = (small, big) if auto_pad == "SAME_UPPER" else (big, small)
        else:
            if auto_pad == "VALID":
                begin = end = 0
            room = size + begin + end - reach
            out = room // step + 1
            if ceil_mode and auto_pad != "VALID":
                out = -(-room // step) + 1
                if (out - 1) * step >= size + begin:  # a window that would start in the padding at the end
                    out -= 1
            if out < 1:
                raise ValueError(f"a window of {reach} does not fit into {size} + {begin} + {end}")
            if room < 0:
                # The only window, larger than all there is: what it reaches past the end counts for nothing.
                k = (size + begin + end - 1) // gap + 1
                reach = (k - 1) * gap + 1
        beyond = max((out - 1) * step + reach - (size + begin + end), 0)
        frames.append(Frame(begin, end, beyond, out, k, step, gap))
    return frames


def pad(x: torch.Tensor, frames: Sequence[Frame], value: float, beyond: float | None = None) -> torch.Tensor:
    """The input with its padding, and, unless ``beyond`` is None, with what ceil_mode reaches past it."""
    around = [n for f in reversed(frames) for n in (f.begin, f.end)]
    x = F.pad(x, around, value=value) if any(around) else x
    extra = [n for f in reversed(frames) for n in (0, f.beyond)]
    return x if beyond is None or not any(extra) else F.pad(x, extra, value=beyond)


def windows(padded: torch.Tensor, frames: Sequence[Frame]) -> torch.Tensor:
    """(N, C, D1, …, Dn) to (N, C, O1, …, On, K): the elements under the kernel at each position, row by row."""
    rank = len(frames)
    x = padded
    for axis, f in enumerate(frames):
        starts = torch.arange(f.out, device=x.device) * f.stride
        taps = starts[:, None] + torch.arange(f.kernel, device=x.device) * f.dilation
        where = 2 + 2 * axis  # each axis done before stands as a pair
        x = torch.unflatten(x.index_select(where, taps.flatten()), where, (f.out, f.kernel))
    outer = [2 + 2 * axis for axis in range(rank)]
    inner = [3 + 2 * axis for axis in range(rank)]
    return x.permute(0, 1, *outer, *inner).flatten(2 + rank)
