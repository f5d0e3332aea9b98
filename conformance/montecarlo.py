"""Monte Carlo arithmetic: how far rounding can carry the results of a definition.

Parker, "Monte Carlo Arithmetic: exploiting randomness in floating-point arithmetic" (1997); the idea behind
CADNA and Verrou. A definition written in torch is evaluated in float64 while every operation that would round
in the dtype under test is disturbed at random by that dtype's rounding error; the root mean square of what comes
out is σ. What it decides: which aten operations round, and by how much. What it leaves to `numerics`: how many σ
a backend may be off by.

Not modelled: overflow to infinity in the narrow dtype, and constants that a backend rounds (a disturbed
operation on them has an error of the same size).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .aten import CORRECT, ROUNDED, TERMS, Mode, conditioning, is_real
from .dtypes import lookup

__all__ = ["BLOCK_SAMPLES", "OPERATOR_SAMPLES", "UnknownOperationError", "lean", "spread"]

# Disturbed runs. With 16, σ comes out below a third of its true value once in 10^5 elements, and below a quarter, which
# numerics.COMPOSITE_SIGMAS just makes up for, once in 10^7 (χ² of 16 degrees of freedom). Large outputs, blocks and models
# are dearer to run: see `_few`.
OPERATOR_SAMPLES = 16
BLOCK_SAMPLES = 8

# Bytes of accumulation noise kept from the first run. Beyond it, the noise is computed again in each run:
# twice the work for these operations, but memory does not grow with the number of nodes.
KEEP_BYTES = 512 << 20

# The absolute part of a saturating function's disturbance, as a share of its range: engines' tails are off by
# thousands of ulp (docs/numerics.md); times COMPOSITE_SIGMAS it is 1.5 times what such a function may be off by alone.
_TAIL = 0.25

# Draws between these have a mean square of 1. Draws of ±1 have, too, but two errors of the same size then cancel in half of
# the runs, and in all of them once in 4096: the bound of that element was none (docs/adr/0003).
_REACH = math.sqrt(3.0)

# A result of IEEE 754's own operations is left alone where it is a simple number that the format holds: a multiple of
# a sixteenth.
_FRACTION = 16.0


class UnknownOperationError(ValueError):
    """The definition uses a torch operation whose rounding is not known; write it with simpler ones."""


def spread(
    run: Callable[[], Sequence[torch.Tensor]],
    dtype: str,
    samples: int,
    key: str,
    base: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """σ of every output of ``run`` when it is computed in ``dtype``.

    ``run`` evaluates a definition, with the same operations at each call: an operator, or a whole graph; on
    float64 tensors, or for a type of at most 24 bits on float32 ones, whose own rounding then adds a little.
    ``base``: the exact results, float64 for floats (None: one undisturbed call gives them). ``dtype`` is the ONNX
    name of the float type under test, ``key`` names the case: the same key gives the same σ.

    Returns for each output a float64 array of its shape. Floats: the root mean square deviation from the exact
    result; inf where a disturbed run turns a number into NaN or infinity, the other way round, or one of
    these into another (rounding decides there); 0 where all runs agree on NaN or infinity. Other types: 0 where
    all runs agree, inf where one differs. With fewer than 16 samples σ is made larger where it is uncertain. An
    output whose shape changes under disturbance is inf throughout.
    Raises `UnknownOperationError` where the definition uses a float operation that is in none of the tables.
    """
    mode = _Rounding(dtype, key)
    with torch.inference_mode(False), torch.no_grad():
        if base is None:
            with mode:  # undisturbed, but an operation that is not known is found here
                base = [_array(t) for t in run()]
        total = [np.zeros(b.shape) for b in base]
        for sample in range(samples):
            mode.begin(sample)
            with mode:
                outputs = run()
            for output, origin, sum_ in zip(outputs, base, total, strict=True):
                _accumulate(_array(output), origin, sum_)
            del outputs
    for sum_ in total:
        sum_ /= math.sqrt(samples)
        if samples < OPERATOR_SAMPLES:
            _few(sum_, samples)
    return total


def lean(run: Callable[[], Sequence[torch.Tensor]], dtype: str, base: Sequence[np.ndarray]) -> list[np.ndarray]:
    """How far the outputs of ``run`` go where every function is off by all that its table allows, and always to the same
    side: a recurrent cell's errors then add up from step to step, which draws with random signs never do.

    Arguments and what comes back are as in `spread`, but the larger deviation of the two sides in place of σ.
    """
    mode = _Rounding(dtype, "")
    found = [np.zeros(b.shape) for b in base]
    with torch.inference_mode(False), torch.no_grad():
        for side in (1.0, -1.0):
            mode.lean(side)
            with mode:
                outputs = run()
            for output, origin, largest in zip(outputs, base, found, strict=True):
                deviation = np.zeros(origin.shape)
                _accumulate(_array(output), origin, deviation)
                np.maximum(largest, deviation, out=largest)
    return found


def _few(sigma: np.ndarray, samples: int) -> None:
    """Make up for few samples, in place: elements whose disturbances came out small by chance would get a bound
    that a correct backend breaks. In the outputs of blocks and models σ varies little, so none is below half the
    median; with fewer than 8 samples all grow by 8/samples."""
    if samples < BLOCK_SAMPLES:
        sigma *= BLOCK_SAMPLES / samples
    known = sigma[np.isfinite(sigma) & (sigma > 0)]
    if known.size:
        np.maximum(sigma, np.median(known) / 2, out=sigma, where=sigma > 0)


def _array(tensor: torch.Tensor) -> np.ndarray:
    """A copy, so that no later run can write into it; NumPy knows no bfloat16, which becomes float64."""
    if tensor.is_floating_point():
        tensor = tensor.double()
    return np.array(tensor.resolve_conj().resolve_neg().numpy())


def _accumulate(value: np.ndarray, origin: np.ndarray, total: np.ndarray) -> None:
    """Add the deviation of one run to ``total``, the root of the sum of their squares (which would underflow)."""
    if value.shape != origin.shape:
        total[...] = np.inf
        return
    if origin.dtype.kind not in "fc":
        total[value != origin] = np.inf
        return
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.asarray(np.abs(value - origin))  # NumPy makes a scalar of an array of rank 0
    if not np.isfinite(error).all():
        same = (value == origin) | (np.isnan(value) & np.isnan(origin))
        error[same] = 0.0
        error[~same & ~(np.isfinite(value) & np.isfinite(origin))] = np.inf
    np.hypot(total, error, out=total)


class _Rounding(Mode):
    """Sees every aten operation of a run: leaves it undisturbed until `begin`, and disturbs it from then on. An
    accumulation's noise is computed at its first call and kept for the runs that follow."""

    def __init__(self, dtype: str, key: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        kind = lookup(dtype)
        self._u = kind.u
        self._accumulator = lookup(kind.accumulator)
        self._narrow = kind.p < lookup("float32").p
        self._held = 2.0 ** (kind.p + 1)  # whole numbers up to here are in the format
        # Below it rounding is absolute: half of a subnormal step, u times the smallest normal number.
        self._normal = kind.smallest
        self._key = key
        self._generator = torch.Generator()
        self._disturbed = False
        self._side = 0.0
        self._call = 0
        self._kept: dict[int, tuple[tuple[Any, ...], torch.Tensor]] = {}
        self._bytes = 0

    def begin(self, sample: int) -> None:
        """Start a disturbed run."""
        digest = hashlib.blake2b(f"{self._key}/{sample}".encode(), digest_size=8).digest()
        self._generator.manual_seed(int.from_bytes(digest, "little") >> 1)
        self._disturbed = True
        self._call = 0

    def lean(self, side: float) -> None:
        """Start a run in which functions alone are disturbed, all to one side (1 or -1)."""
        self._side = side

    def rounding(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        rounded = ROUNDED.get(name)
        noise = None
        if name in TERMS:
            rounded = (1.0, 1.0, 0.0)
            if not self._side and any(is_real(a) for a in args):
                # Before an operation in place overwrites its operand.
                noise = self._noise(name, func, args, kwargs)
        elif rounded is None:
            simpler = self.simpler(func, args, kwargs)
            if simpler is not NotImplemented:
                return simpler
        result = func(*args, **kwargs)
        if rounded is None:
            if any(is_real(r) for r in (result if isinstance(result, (tuple, list)) else (result,))):
                raise UnknownOperationError(
                    f"how {func._schema.name} rounds is not known: write the definition with simpler "
                    "operations (exp, sum, mul, matmul, ...)"
                )
        elif is_real(result):
            count, narrow, scale = rounded
            relative = (narrow if self._narrow else count) * self._u
            # The tables count in ulps, of which one is up to 2u; what is rounded once is off by u at most.
            ulps = relative > self._u
            if self._disturbed or (self._side and ulps):
                self._disturb(result, relative, scale, noise, correct=name in CORRECT, ulps=ulps)
        return result

    def _disturb(
        self,
        result: torch.Tensor,
        relative: float,
        scale: float,
        noise: torch.Tensor | None,
        *,
        correct: bool,
        ulps: bool,
    ) -> None:
        """Round ``result`` at random, in place. ``correct``: but not where it is a simple number of the format.
        ``ulps``: ``relative`` is not of the result but of twice the power of two below it."""
        if result.is_complex():
            # A component's error is relative to the modulus.
            parts = torch.view_as_real(result)
            size = parts.square().sum(-1, keepdim=True).sqrt_() * relative
            parts.add_(self._drawn(size.expand_as(parts).clone()))
            if noise is not None:
                parts.add_(self._drawn(noise.unsqueeze(-1).expand_as(parts).clone()))
            return
        size = self._twice_power(result) if ulps else result
        # Half of its own subnormal step the format of the run does not have.
        least = max(max(scale * _TAIL, self._normal) * relative, _step(result))
        drawn = size.abs().mul_(relative).clamp_(min=least).masked_fill_(result == 0, 0.0)
        self._drawn(drawn)
        if noise is not None:
            drawn.add_(self._drawn(noise.clone()))
        if correct:
            simple = (result * _FRACTION).frac_() == 0
            if simple.any():
                drawn.masked_fill_(simple.logical_and_(result.abs() <= self._held / _FRACTION), 0.0)
        if not math.isfinite(drawn.sum().item()):  # an infinite or undefined result stays as it is
            drawn.masked_fill_(~torch.isfinite(drawn), 0.0)
        result.add_(drawn)

    def _twice_power(self, x: torch.Tensor) -> torch.Tensor:
        """Of which u is an ulp: like `numerics.ulp` it ends at the smallest normal number; 0 for what is exactly 0."""
        return _power(x).clamp_(min=self._normal).mul_(2.0).masked_fill_(x == 0, 0.0)

    def _drawn(self, size: torch.Tensor) -> torch.Tensor:
        """``size`` times a number drawn for each element, evenly between -√3 and √3, in place; in a run that leans to a
        side, ``size`` on this side."""
        if self._side:
            return size.abs_().mul_(self._side)
        return size.mul_(torch.empty_like(size).uniform_(-_REACH, _REACH, generator=self._generator))

    def _noise(self, name: str, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> torch.Tensor:
        """√K·u_acc·A of one accumulation, from this call or from the same one of an earlier run."""
        self._call += 1
        signature = (name, *(a.shape for a in args if isinstance(a, torch.Tensor)))
        kept = self._kept.get(self._call)
        if kept is not None and kept[0] == signature:
            return kept[1]
        magnitude, terms = conditioning(name, func, args, kwargs)
        root = terms.clamp(min=1.0).sqrt_() if isinstance(terms, torch.Tensor) else math.sqrt(max(terms, 1))
        # Terms and sums that are subnormal are rounded absolutely, too.
        noise = magnitude.clamp(min=self._accumulator.smallest) * (root * self._accumulator.u)
        noise.clamp_(min=_step(noise)).masked_fill_(magnitude == 0, 0.0)
        if self._call not in self._kept and self._bytes + noise.nbytes <= KEEP_BYTES:
            self._bytes += noise.nbytes
            self._kept[self._call] = (signature, noise)
        return noise


def _step(x: torch.Tensor) -> float:
    """The smallest number that the format of ``x`` has."""
    kind = torch.finfo(x.dtype)
    return kind.smallest_normal * kind.eps


def _power(x: torch.Tensor) -> torch.Tensor:
    """2^⌊log2|x|⌋ of normal numbers, infinity of what is not finite: the fraction and the sign taken off."""
    whole, mask = (torch.int32, 0x7F800000) if x.itemsize == 4 else (torch.int64, 0x7FF0000000000000)
    return x.contiguous().view(whole).bitwise_and(mask).view(x.dtype)
