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

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .dtypes import lookup

__all__ = ["BLOCK_SAMPLES", "OPERATOR_SAMPLES", "UnknownOperationError", "spread"]

# Disturbed runs. With 12, σ comes out below a third of its true value once in 10^4 elements (χ² of 12 degrees of
# freedom), which numerics.COMPOSITE_SIGMAS makes up for. Blocks and models are dearer to run: see `_few`.
OPERATOR_SAMPLES = 12
BLOCK_SAMPLES = 8

# Bytes of accumulation noise kept from the first run. Beyond it, the noise is computed again in each run:
# twice the work for these operations, but memory does not grow with the number of nodes.
KEEP_BYTES = 512 << 20

# The absolute part of a saturating function's disturbance, as a share of its range: engines' tails are off by
# thousands of ulp (docs/numerics.md); times COMPOSITE_SIGMAS it is 1.5 times what such a function may be off by alone.
_TAIL = 0.25


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Operations that are exact in any binary floating-point format: movement, selection, comparison, sign, rounding
# to integers; also creation, and casts (to a float the definition never rounds in float64).
_EXACT = _words(
    """
    view _unsafe_view reshape _reshape_alias as_strided expand permute transpose t numpy_T squeeze unsqueeze
    select slice split split_with_sizes unbind chunk diagonal detach alias lift lift_fresh lift_fresh_copy
    clone contiguous _to_copy to copy resize set empty empty_like empty_strided new_empty new_empty_strided
    new_zeros new_ones new_full zeros zeros_like ones ones_like full full_like fill zero arange eye
    scalar_tensor tril triu tril_indices triu_indices diag_embed cat stack constant_pad_nd reflection_pad1d
    reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d roll flip repeat
    repeat_interleave gather index _unsafe_index index_select take masked_fill masked_select masked_scatter
    scatter put index_put _index_put_impl _unsafe_index_put index_fill index_copy select_scatter slice_scatter
    diagonal_scatter embedding where neg abs sign sgn relu threshold hardtanh clamp clamp_min clamp_max
    maximum minimum fmax fmin max min amax amin aminmax argmax argmin topk sort kthvalue median nanmedian mode
    cummax cummin _cummax_helper _cummin_helper max_pool2d_with_indices max_pool3d_with_indices
    adaptive_max_pool2d adaptive_max_pool3d max_unpool2d max_unpool3d unfold im2col upsample_nearest1d
    upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d pixel_shuffle pixel_unshuffle channel_shuffle hardshrink floor ceil round trunc
    frac fmod frexp ldexp copysign signbit nextafter heaviside isnan isinf isfinite isposinf isneginf eq ne lt
    le gt ge equal logical_not logical_and logical_or logical_xor bitwise_not bitwise_and bitwise_or
    bitwise_xor nonzero nonzero_static unique _unique2 unique_dim unique_consecutive any all isin
    _local_scalar_dense item is_same_size view_as_real view_as_complex real imag _conj conj _conj_physical
    resolve_conj resolve_neg complex nan_to_num bucketize searchsorted _assert_async
    """
)

# Operations that round: n in float32, n in narrower formats (docs/numerics.md: OpenCL C 3.0's table), and the
# size of the range of those that saturate.
_ROUNDED: dict[str, tuple[float, float, float]] = {
    **dict.fromkeys(
        _words(
            "add sub rsub mul square lerp addcmul addr leaky_relu _prelu_kernel softshrink linspace hardsigmoid "
            "remainder floor_divide polar angle deg2rad rad2deg special_xlog1py"
        ),
        (1.0, 1.0, 0.0),
    ),
    **dict.fromkeys(_words("div true_divide reciprocal addcdiv hardswish"), (2.5, 1.0, 0.0)),
    **dict.fromkeys(_words("sqrt exp log exp2 expm1 log2 log10"), (3.0, 2.0, 0.0)),
    **dict.fromkeys(_words("rsqrt log1p"), (2.0, 1.0, 0.0)),
    **dict.fromkeys(_words("sin cos sinh cosh acos asin acosh asinh hypot elu xlogy"), (4.0, 2.0, 0.0)),
    **dict.fromkeys(_words("tan atan atanh atan2"), (6.0, 2.0, 0.0)),
    **dict.fromkeys(["tanh"], (5.0, 2.0, 1.0)),
    **dict.fromkeys(["sigmoid"], (5.0, 2.0, 1.0)),
    **dict.fromkeys(["erf", "erfc"], (16.0, 4.0, 1.0)),
    **dict.fromkeys(_words("pow float_power"), (16.0, 4.0, 0.0)),
}


# Of these, IEEE 754's own: they round correctly, so a number that the format holds comes out exact. It is asked of
# whole numbers and simple fractions: an index that is computed in floats (a floor, an offset, the middle between two
# pixels) stays an index.
_CORRECT = _words("add sub rsub mul")
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
    all runs agree, inf where one differs. With fewer than 12 samples σ is made larger where it is uncertain. An
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
        sum_ /= samples
        np.sqrt(sum_, out=sum_)
        if samples < OPERATOR_SAMPLES:
            _few(sum_, samples)
    return total


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
    """Add the squared deviation of one run to ``total``."""
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
    error *= error
    total += error


class _Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Sees every aten operation of a run: leaves it undisturbed until `begin`, and disturbs it from then on. An
    accumulation's noise is computed at its first call and kept for the runs that follow."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to protect a mode from torch.compile, torch would import its compiler, which takes seconds."""
        return False

    def __init__(self, dtype: str, key: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        kind = lookup(dtype)
        self._u = kind.u
        self._accumulator = lookup(kind.accumulator).u
        self._narrow = kind.p < lookup("float32").p
        self._held = 2.0 ** (kind.p + 1)  # whole numbers up to here are in the format
        # Where subnormals are common their rounding is absolute: half of 2u times the smallest normal number.
        self._smallest = kind.smallest if kind.smallest > 1e-30 else 0.0
        self._key = key
        self._generator = torch.Generator()
        self._disturbed = False
        self._call = 0
        self._kept: dict[int, tuple[tuple[Any, ...], torch.Tensor]] = {}
        self._bytes = 0

    def begin(self, sample: int) -> None:
        """Start a disturbed run."""
        digest = hashlib.blake2b(f"{self._key}/{sample}".encode(), digest_size=8).digest()
        self._generator.manual_seed(int.from_bytes(digest, "little") >> 1)
        self._disturbed = True
        self._call = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(func, args, kwargs)
        if name in _EXACT:
            return func(*args, **kwargs)
        rounded = _ROUNDED.get(name)
        noise = None
        if name in _TERMS:
            rounded = (1.0, 1.0, 0.0)
            if any(_is_real(a) for a in args):
                # Before an operation in place overwrites its operand.
                noise = self._noise(name, func, args, kwargs)
        elif rounded is None:
            with self:
                simpler = func.decompose(*args, **kwargs)
            if simpler is not NotImplemented:
                return simpler
        result = func(*args, **kwargs)
        if rounded is None:
            if any(_is_real(r) for r in (result if isinstance(result, (tuple, list)) else (result,))):
                raise UnknownOperationError(
                    f"how {func._schema.name} rounds is not known: write the definition with simpler "
                    "operations (exp, sum, mul, matmul, ...)"
                )
        elif self._disturbed and _is_real(result):
            count, narrow, scale = rounded
            relative = (narrow if self._narrow else count) * self._u
            self._disturb(result, relative, scale, noise, correct=name in _CORRECT)
        return result

    def _disturb(
        self, result: torch.Tensor, relative: float, scale: float, noise: torch.Tensor | None, *, correct: bool
    ) -> None:
        """Round ``result`` at random, in place. ``correct``: but not where it is a simple number of the format."""
        if result.is_complex():
            # A component's error is relative to the modulus.
            parts = torch.view_as_real(result)
            size = parts.square().sum(-1, keepdim=True).sqrt_() * relative
            parts.add_(self._signed(size.expand_as(parts).clone()))
            if noise is not None:
                parts.add_(self._signed(noise.unsqueeze(-1).expand_as(parts).clone()))
            return
        least = max(scale * _TAIL, self._smallest)
        if least:
            drawn = result.abs().clamp_(min=least).mul_(relative).masked_fill_(result == 0, 0.0)
        else:
            drawn = result * relative
        self._signed(drawn)
        if noise is not None:
            drawn.add_(self._signed(noise.clone()))
        if correct:
            simple = (result * _FRACTION).frac_() == 0
            if simple.any():
                drawn.masked_fill_(simple.logical_and_(result.abs() <= self._held / _FRACTION), 0.0)
        if not math.isfinite(drawn.sum().item()):  # an infinite or undefined result stays as it is
            drawn.masked_fill_(~torch.isfinite(drawn), 0.0)
        result.add_(drawn)

    def _signed(self, size: torch.Tensor) -> torch.Tensor:
        """``size`` with each sign flipped or not at random, in place: a random bit where the format has its sign."""
        words = torch.empty(size.numel() * size.itemsize // 8 + 1, dtype=torch.int64)
        words.random_(-(2**63), None, generator=self._generator)
        whole = torch.int32 if size.itemsize == 4 else torch.int64
        bits = words.view(whole)[: size.numel()].bitwise_and_(torch.iinfo(whole).min).view(size.shape)
        size.view(whole).bitwise_xor_(bits)
        return size

    def _noise(self, name: str, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> torch.Tensor:
        """√K·u_acc·A of one accumulation, from this call or from the same one of an earlier run."""
        self._call += 1
        signature = (name, *(a.shape for a in args if isinstance(a, torch.Tensor)))
        kept = self._kept.get(self._call)
        if kept is not None and kept[0] == signature:
            return kept[1]
        if name.startswith("_fft"):
            magnitude = _fft_magnitude(*args)
        else:
            magnitude = func(*map(_magnitude, args), **{k: _magnitude(v, k) for k, v in kwargs.items()})
        terms = _TERMS[name](func, args, kwargs, magnitude)
        root = terms.clamp(min=1.0).sqrt_() if isinstance(terms, torch.Tensor) else math.sqrt(max(terms, 1))
        noise: torch.Tensor = magnitude * (root * self._accumulator)
        if self._call not in self._kept and self._bytes + noise.nbytes <= KEEP_BYTES:
            self._bytes += noise.nbytes
            self._kept[self._call] = (signature, noise)
        return noise


def _is_real(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def _name(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """The operation, whatever its overload and whether in place; "+" where it adds into its destination."""
    name, arguments = _signature(func)
    if name not in _VARYING:
        return name
    given = dict(zip(arguments, args, strict=False)) | kwargs
    if name in _ADDING and given.get("accumulate"):
        return "index_put+"
    if name == "pow" and isinstance(given.get("exponent"), (int, float)):
        return _POWERS.get(float(given["exponent"]), name)
    if name in ("scatter", "scatter_reduce", "index_reduce") and "reduce" in given:
        exact = given["reduce"] in ("amax", "amin")
        return "scatter" if exact else "scatter+"
    if name == "abs" and args[0].is_complex():
        return "hypot"
    if name == "round" and given.get("decimals"):
        return "mul"
    return "div" if name == "div" and given.get("rounding_mode") is None else name


@functools.cache  # an operation's schema takes far longer to look at than the operation to run
def _signature(func: Any) -> tuple[str, tuple[str, ...]]:
    """An operation's name and those of its arguments."""
    name: str = func._schema.name.split("::")[1]
    if name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    return name, tuple(a.name for a in func._schema.arguments)


_ADDING = _words("index_put _index_put_impl _unsafe_index_put put")
# Operations whose arguments decide how they round.
_VARYING = _ADDING | _words("pow scatter scatter_reduce index_reduce abs round div")
# Powers that engines compute as something simpler.
_POWERS = {0.0: "clone", 1.0: "clone", 2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}


def _magnitude(value: Any, name: str = "") -> Any:
    """A float operand's absolute value, and that of the factors alpha and beta; anything else as it is."""
    if _is_real(value) or name in ("alpha", "beta"):
        return abs(value)
    return [_magnitude(v) for v in value] if isinstance(value, (list, tuple)) else value


def _fft_magnitude(x: torch.Tensor, dims: Any, normalization: int, *rest: Any) -> torch.Tensor:
    """Every output of a Fourier transform is a sum of all inputs times numbers of modulus 1."""
    dims = list(dims)
    half = 2.0 if rest and not isinstance(rest[0], bool) else 1.0  # complex to real: half of the terms are stored
    count = half * math.prod(x.shape[d] for d in dims)
    total: torch.Tensor = x.abs().sum(dims, keepdim=True) * (
        half / count ** {0: 0.0, 1: 0.5, 2: 1.0}[int(normalization)]
    )
    return total


# How many terms are added up into each output of an accumulation, given the call and its A.


def _reduced(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> float:
    return float(args[0].numel() / max(out.numel(), 1))


def _transformed(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> float:
    return float(math.prod(args[0].shape[d] for d in args[1]))


def _inner(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> float:
    left = [a for a in args if isinstance(a, torch.Tensor)][-2]
    batch = left.shape[0] if func._schema.name.startswith("aten::addbmm") else 1
    return float(left.shape[-1] * batch + 1)


def _window(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> float:
    """The weight's elements that reach one output (transposed: an upper bound, as if the stride were 1)."""
    weight, transposed, groups = args[1], args[6], args[8]
    across = weight.shape[0] // groups if transposed else weight.shape[1]
    return float(across * math.prod(weight.shape[2:]) + 1)


def _kernel(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> float:
    return float(math.prod(args[1]))


def _adaptive(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> float:
    spatial = len(args[1])
    return float(math.prod(-(-i // o) + 1 for i, o in zip(args[0].shape[-spatial:], args[1], strict=True) if o))


def _running(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> torch.Tensor:
    if out.ndim == 0:
        return torch.ones(())
    dim = args[1] % out.ndim
    shape = [1] * out.ndim
    shape[dim] = -1
    return torch.arange(1, out.shape[dim] + 1, dtype=torch.float64).view(shape)


def _counted(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> torch.Tensor:
    """The operation on ones."""
    ones = [torch.ones_like(a) if _is_real(a) else a for a in args]
    factors = {k: 1 if k in ("alpha", "beta") else v for k, v in kwargs.items()}
    result: torch.Tensor = func(*ones, **factors)
    return result


def _scattered(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> float:
    """At most everything along the dimension: a mean or a product does not count its terms."""
    return float(args[2].shape[args[1]] + 1 if args[2].ndim else 2)


_TERMS: dict[str, Callable[[Any, Any, Any, torch.Tensor], torch.Tensor | float]] = {
    **dict.fromkeys(_words("sum mean nansum nanmean prod trace norm linalg_vector_norm"), _reduced),
    **dict.fromkeys(_words("mm bmm addmm baddbmm addbmm mv addmv dot vdot"), _inner),
    **dict.fromkeys(_words("_fft_r2c _fft_c2c _fft_c2r"), _transformed),
    **dict.fromkeys(_words("cumsum cumprod"), _running),
    **dict.fromkeys(_words("index_add scatter_add index_put+ col2im"), _counted),
    "scatter+": _scattered,
    **dict.fromkeys(_words("avg_pool1d avg_pool2d avg_pool3d"), _kernel),
    **dict.fromkeys(
        _words("adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool3d"), _adaptive
    ),
    "convolution": _window,
}
