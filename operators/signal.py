"""Fourier transforms, analysis windows and the mel filter bank."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from conformance.draws import subnormal, uniform, values
from conformance.dtypes import INTEGERS, lookup, torch_dtype
from conformance.lazy import torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, const, tensor

from .geometry import wide
from .samples import DYNAMIC, FEW, LARGE, NAN, SPECIAL, literal, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")


def _transform(x: torch.Tensor, length: int, bins: int, *, inverse: bool) -> torch.Tensor:
    """(…, n, 1 or 2) to (…, bins, 2): the transform of ``length`` points, cut or padded with zeros.

    By a fast transform: its error is a share of the whole signal's size in every bin, and no algorithm owes
    more than that (Higham, "Accuracy and Stability of Numerical Algorithms", chapter 24).
    """
    if not x.numel():  # of nothing, the library that torch calls makes no transform
        return x.new_zeros(*x.shape[:-2], bins, 2)
    parts = x.unbind(-1)
    z = torch.complex(parts[0], parts[1] if len(parts) == 2 else torch.zeros_like(parts[0]))
    y = torch.fft.ifft(z, length) if inverse else torch.fft.fft(z, length)
    return torch.view_as_real(y[..., :bins])


def dft(
    input: torch.Tensor,
    dft_length: torch.Tensor | None = None,
    axis: torch.Tensor | int | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> torch.Tensor:
    """The discrete Fourier transform of (…, n, …, 1 or 2) along an axis (DFT-20, -17).

    ``onesided`` keeps ⌊N/2⌋ + 1 bins; with ``inverse`` it takes these and gives a real signal. Raises ``ValueError``
    where the last axis is neither.
    """
    if input.shape[-1] not in (1, 2):
        raise ValueError(f"a number of {input.shape[-1]} parts: it is real (1) or complex (2)")
    where = -2 if axis is None else int(axis)
    x = wide(input).movedim(where, -2)
    half = bool(onesided and inverse)
    default = 2 * (x.shape[-2] - 1) if half else x.shape[-2]
    length = default if dft_length is None else int(dft_length)
    if half:
        y: torch.Tensor = torch.fft.irfft(torch.complex(x[..., 0], x[..., 1]), length)[..., None]
    else:
        y = _transform(x, length, length // 2 + 1 if onesided else length, inverse=bool(inverse))
    return y.movedim(-2, where).to(input.dtype)


def _dft_samples() -> Iterator[Sample]:
    def sample(
        name: str, shape: tuple[int, ...], *more: int | None, dtypes: tuple[str, ...] = FEW, **fields: Any
    ) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "opset", "refuse") if k in fields}
        given = [tensor(*shape), *(None if m is None else const(m) for m in more)]
        return Sample(name, tuple(given), fields, dtypes=dtypes, **kept)

    real, complex_ = (2, 10, 1), (2, 10, 2)
    yield sample("real", real, dtypes=ALL)
    yield sample("complex", complex_, dtypes=("float32", "float16", "float64"))
    yield sample("inverse", complex_, inverse=1)
    yield sample("inverse-real", real, inverse=1)
    yield sample("onesided", real, onesided=1)
    # A real signal's half spectrum: nothing imaginary in its first bin, nor in the last one of an even length.
    for name, length in (("even", 8), ("odd", 9)):
        bins = [0.5, 0.0, 1.5, -0.25, -2.0, 0.75, 0.125, 1.0, -1.0, 0.0 if length == 8 else 3.0]
        given = literal(*bins, shape=(1, 5, 2)), const(length)
        yield Sample(f"onesided-inverse-{name}", given, {"onesided": 1, "inverse": 1}, dtypes=FEW)
    yield sample("onesided-odd", (2, 9, 1), onesided=1)
    yield sample("power-of-two", (2, 16, 1))
    yield sample("prime", (1, 13, 2))
    yield sample("one-point", (2, 1, 1))
    yield sample("two-points", (2, 2, 2))
    yield sample("padded", complex_, 16)
    yield sample("cut", complex_, 7)
    yield sample("padded-onesided", real, 15, onesided=1)
    yield sample("cut-inverse", complex_, 6, inverse=1)
    yield sample("axis-1-of-4", (2, 8, 5, 1), None, 1)
    yield sample("axis-0", (6, 5, 2), None, 0)
    yield sample("negative-axis", (2, 6, 5, 1), None, -3)
    yield sample("axis-and-length", (2, 6, 5, 1), 8, 1, onesided=1)
    yield Sample("length-int32", (tensor(2, 10, 1), const(16, "int32")), dtypes=FEW)
    yield sample("length-256", (3, 256, 1), onesided=1, tags=LARGE)
    yield sample("length-1000", (1, 1000, 2), dtypes=ONE, tags=LARGE)
    yield sample("dynamic", real, again=((tensor(1, 7, 1),), (tensor(3, 16, 1),)), tags=DYNAMIC)
    # Both parts, since a product of complex numbers mixes them and a sum does not. Infinity is no input: zero parts of
    # factors, of which a fast transform has none, make it a NaN.
    broken = tensor(2, 3, 2, draw=values(1.0, 2.0, NAN, NAN, -0.5, 3.0, 1.0, -1.0, 2.0, 0.5, -2.0, 1.5))
    yield Sample("nan", (broken,), dtypes=ALL, tags=SPECIAL)
    tiny = tensor(3, 2, 1, draw=subnormal())  # two points: sums and differences
    yield Sample("subnormals", (tiny,), dtypes=ALL, tags=SPECIAL | {"subnormal"})
    yield sample("opset-17", (2, 10, 5, 1), opset=17)
    yield sample("opset-17-axis", (2, 10, 5, 1), opset=17, axis=2, onesided=1)
    yield sample("bad-axis", real, None, 3, dtypes=ONE, refuse="axis 3 of a tensor of rank 3")
    yield sample("three-parts", (2, 10, 3), dtypes=ONE, refuse="a number has at most two parts")
    yield from refusals(1, most=3)


def stft(
    signal: torch.Tensor,
    frame_step: torch.Tensor,
    window: torch.Tensor | None = None,
    frame_length: torch.Tensor | None = None,
    *,
    onesided: int = 1,
) -> torch.Tensor:
    """(batch, n, 1 or 2) to (batch, frames, bins, 2): the transform of each windowed frame (STFT-17)."""
    x = wide(signal)
    x = x.unsqueeze(-1) if x.dim() == 2 else x
    step = int(frame_step)
    default = x.shape[1] if window is None else window.shape[0]
    length = default if frame_length is None else int(frame_length)
    frames = x.unfold(1, length, step).transpose(-1, -2)  # (batch, frames, length, parts)
    if window is not None:
        frames = frames * window.to(x.dtype)[:, None]
    bins = length // 2 + 1 if onesided else length
    return _transform(frames, length, bins, inverse=False).to(signal.dtype)


def _stft_samples() -> Iterator[Sample]:
    def sample(
        name: str,
        shape: tuple[int, ...],
        step: int,
        window: int = 0,
        length: int = 0,
        dtypes: tuple[str, ...] = FEW,
        **fields: Any,
    ) -> Sample:
        given = [
            tensor(*shape),
            const(step),
            tensor(window, draw=uniform(0.0, 1.0), constant=True) if window else None,
            const(length) if length else None,
        ]
        while given[-1] is None:
            given.pop()
        tags = fields.pop("tags", frozenset())
        return Sample(name, tuple(given), fields, dtypes=dtypes, tags=tags)

    yield sample("window", (1, 64, 1), 8, window=16, dtypes=ALL)
    yield sample("length", (1, 64, 1), 8, length=16)
    sizes = const(8, "int32"), tensor(16, draw=uniform(0.0, 1.0), constant=True), const(16, "int32")
    yield Sample("sizes-int32", (tensor(1, 64, 1), *sizes), dtypes=FEW)
    yield sample("window-and-length", (2, 50, 1), 7, window=12, length=12)
    yield sample("both-sides", (1, 64, 1), 8, window=16, onesided=0)
    yield sample("complex", (2, 40, 2), 5, window=10, onesided=0)
    yield sample("odd-length", (1, 50, 1), 9, window=13)
    yield sample("no-overlap", (1, 64, 1), 16, length=16)
    yield sample("gaps", (1, 60, 1), 20, window=8)
    yield sample("step-1", (1, 20, 1), 1, window=8)
    yield sample("one-frame", (3, 16, 1), 4, window=16)
    yield sample("batch", (4, 33, 1), 8, window=9)
    # As in DFT: both parts, and two points to a frame.
    signal = (NAN if i in (2, 3) else 0.5 * (i % 5) - 1.0 for i in range(16))
    broken = tensor(1, 8, 2, draw=values(*signal)), const(4), None, const(4)
    yield Sample("nan", broken, {"onesided": 0}, dtypes=ALL, tags=SPECIAL)
    tiny = tensor(1, 12, 1, draw=subnormal()), const(2), None, const(2)
    yield Sample("subnormals", tiny, dtypes=ALL, tags=SPECIAL | {"subnormal"})
    yield sample("large", (1, 2000, 1), 160, window=400, dtypes=ONE, tags=LARGE)


Coefficients = Sequence[float]


def _window(coefficients: Coefficients) -> Callable[..., torch.Tensor]:
    """Σ (−1)^i · a_i · cos(2π·i·n/N): N is the size, or one less where the window is not periodic."""

    def meaning(
        size: torch.Tensor, *, output_datatype: int = 1, periodic: int = 1, dtypes: Sequence[str] = ("float32",)
    ) -> torch.Tensor:
        target = torch_dtype(dtypes[0])
        count = int(size)
        period = max(count if periodic else count - 1, 1)
        work = torch.promote_types(target, torch.float32) if target.is_floating_point else torch.float64
        n = torch.arange(count, device=size.device)
        y = coefficients[0] * torch.ones(count, dtype=work, device=size.device)
        for i, a in enumerate(coefficients[1:], 1):
            y = y + (-1) ** i * a * (((i * n) % period).to(work) * (2 * math.pi / period)).cos()
        return y.to(target)

    return meaning


def _window_samples(more: Sequence[str] = ()) -> Iterator[Sample]:
    """``more``: further dtypes; ONNX's function bodies hold their constants in float32, so that only a window
    whose constants are exact is one to float64's accuracy."""
    for dtype in ("float32", "float16", "bfloat16", *more):
        attributes: dict[str, Any] = {"output_datatype": lookup(dtype).onnx} if dtype != "float32" else {}
        for size in (1, 2, 7, 10, 64, 401) if dtype == "float32" else (10, 33):
            yield Sample(f"periodic-{size}-{dtype}", (const(size),), attributes, dtypes=(dtype,))
            if size > 1:
                symmetric = {**attributes, "periodic": 0}
                yield Sample(f"symmetric-{size}-{dtype}", (const(size),), symmetric, dtypes=(dtype,))
    # 15 behind the last whole vector, which rise where those at the beginning fall.
    yield Sample(
        "periodic-47-bfloat16", (const(47),), {"output_datatype": lookup("bfloat16").onnx}, dtypes=("bfloat16",)
    )
    # All between 0 and 1, but for a first 0: a cast, the last step of the function body, cuts the fractions off.
    for dtype in INTEGERS:
        yield Sample(f"whole-{dtype}", (const(7),), {"output_datatype": lookup(dtype).onnx}, dtypes=(dtype,))
    yield Sample("size-int32", (const(12, "int32"),), dtypes=ONE)
    yield Sample("size-at-run-time", (tensor(draw=_TWELVE, dtype="int64"),), shape=(12,), dtypes=ONE)
    yield Sample("size-float", (const(12.0, "float32"),), dtypes=ONE, refuse="a size is an integer")


_TWELVE = const(12).draw


def mel_weight_matrix(
    num_mel_bins: torch.Tensor,
    dft_length: torch.Tensor,
    sample_rate: torch.Tensor,
    lower_edge_hertz: torch.Tensor,
    upper_edge_hertz: torch.Tensor,
    *,
    output_datatype: int = 1,
    dtypes: Sequence[str] = ("float32",),
) -> torch.Tensor:
    """(dft_length//2 + 1, num_mel_bins): triangles between bins evenly spaced in mel (MelWeightMatrix-17).

    Band edges fall on whole spectrum bins, ⌊(dft_length + 1)·hertz/rate⌋, num_mel_bins + 2 steps apart.
    """
    bands, length, rate = int(num_mel_bins), int(dft_length), int(sample_rate)
    low, high = (_mel(float(edge)) for edge in (lower_edge_hertz, upper_edge_hertz))
    step = (high - low) / (bands + 2)
    edges = []
    for i in range(bands + 2):
        hertz = 700 * (10 ** ((low + i * step) / 2595) - 1)
        edges.append(int((length + 1) * hertz // rate))
    target = torch_dtype(dtypes[0])
    y = torch.zeros(length // 2 + 1, bands, dtype=target, device=num_mel_bins.device)
    for band, (left, centre, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        if left == centre:
            y[centre, band] = 1.0
        for j in range(left, centre + 1) if left < centre else ():
            y[j, band] = (j - left) / (centre - left)
        for j in range(centre, right):
            y[j, band] = (right - j) / (right - centre)
    return y


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def _mel_samples() -> Iterator[Sample]:
    def sample(
        name: str, bands: int, length: int, rate: int, low: float, high: float, dtype: str = "float32"
    ) -> Sample:
        attributes = {"output_datatype": lookup(dtype).onnx} if dtype != "float32" else {}
        given = const(bands), const(length), const(rate), const(low, "float32"), const(high, "float32")
        return Sample(name, given, attributes, dtypes=(dtype,))

    yield sample("speech", 8, 64, 8192, 50.0, 4000.0)
    yield sample("from-zero", 8, 16, 8192, 0.0, 4096.0)
    yield sample("many-bands", 20, 64, 16000, 20.0, 7600.0)
    yield sample("large", 40, 512, 16000, 64.0, 7600.0)
    yield sample("one-band", 1, 32, 8000, 100.0, 3000.0)
    for dtype in ("float16", "float64", "bfloat16"):
        yield sample(f"speech-{dtype}", 8, 64, 8192, 50.0, 4000.0, dtype)
    # Band edges on the spectrum's bins 0, 1 and 2: nothing but zeros and a one, and the edges' rounding moves none.
    narrow = const(1), const(16), const(8192)
    for dtype in INTEGERS:
        edges = const(0.0, "float32"), const(2944.0, "float32")
        yield Sample(f"whole-{dtype}", (*narrow, *edges), {"output_datatype": lookup(dtype).onnx}, dtypes=(dtype,))
    for dtype in ("float16", "bfloat16", "float64"):
        edges = const(0.0, dtype), const(2944.0, dtype)
        yield Sample(f"edges-{dtype}", (*narrow, *edges), dtypes=ONE)
    whole = (*(const(v, "int32") for v in (8, 64, 8192)), const(50.0, "float32"), const(4000.0, "float32"))
    yield Sample("sizes-int32", whole, dtypes=ONE)


HANN, HAMMING, BLACKMAN = (0.5, 0.5), (25 / 46, 1 - 25 / 46), (0.42, 0.5, 0.08)

OPERATORS = (
    Operator("DFT", dft, Composite(), _dft_samples),
    Operator("STFT", stft, Composite(), _stft_samples),
    Operator(
        "HannWindow", _window(HANN), Composite(scale=1.0), lambda: _window_samples(["float64"]), variable="T2"
    ),
    Operator("HammingWindow", _window(HAMMING), Composite(scale=1.0), _window_samples, variable="T2"),
    Operator("BlackmanWindow", _window(BLACKMAN), Composite(scale=1.0), _window_samples, variable="T2"),
    Operator("MelWeightMatrix", mel_weight_matrix, Composite(), _mel_samples, variable="T3"),
)
