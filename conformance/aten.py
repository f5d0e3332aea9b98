"""What torch's operations do to rounding: which are exact, which round and by how much, which add up many terms.

Definitions are written in torch; whoever looks at how rounding travels through one (`montecarlo`), or stands in for
a device that rounds otherwise (`planted`), sees its aten operations, and asks here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["CORRECT", "EXACT", "ROUNDED", "TERMS", "Mode", "conditioning", "is_real", "name_of"]


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """What sees every aten operation between entering and leaving it. Exact ones run as they are, and the others are
    `rounding`'s, which a mode defines."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = name_of(func, args, kwargs)
        return func(*args, **kwargs) if name in EXACT else self.rounding(name, func, args, kwargs)

    def rounding(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operation that is not exact."""
        raise NotImplementedError

    def simpler(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result by the operations that one is made of, each seen in turn; NotImplemented where it is not."""
        with self:
            return func.decompose(*args, **kwargs)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to protect a mode from torch.compile, torch would import its compiler, which takes seconds."""
        return False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Operations that are exact in any binary floating-point format: movement, selection, comparison, sign, rounding
# to integers; also creation, and casts (to a float the definition never rounds in float64).
EXACT = _words(
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
ROUNDED: dict[str, tuple[float, float, float]] = {
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
CORRECT = _words("add sub rsub mul")


def is_real(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def name_of(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
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
    if is_real(value) or name in ("alpha", "beta"):
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


def conditioning(
    name: str, func: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """A and K of one call of an accumulation (``name`` in `TERMS`): the same sums over absolute values, and the number
    of terms that reach each output."""
    if name.startswith("_fft"):
        sums = _fft_magnitude(*args)
    else:
        sums = func(*map(_magnitude, args), **{k: _magnitude(v, k) for k, v in kwargs.items()})
    return sums, TERMS[name](func, args, kwargs, sums)


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
    ones = [torch.ones_like(a) if is_real(a) else a for a in args]
    factors = {k: 1 if k in ("alpha", "beta") else v for k, v in kwargs.items()}
    result: torch.Tensor = func(*ones, **factors)
    return result


def _scattered(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> float:
    """At most everything along the dimension: a mean or a product does not count its terms."""
    return float(args[2].shape[args[1]] + 1 if args[2].ndim else 2)


TERMS: dict[str, Callable[[Any, Any, Any, torch.Tensor], torch.Tensor | float]] = {
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
