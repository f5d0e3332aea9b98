"""Monte Carlo arithmetic: σ bounds what legal evaluations are off by, is the same each time, and knows its limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from conformance.dtypes import lookup, torch_dtype
from conformance.judge import judge
from conformance.montecarlo import OPERATOR_SAMPLES, UnknownOperationError, lean, spread
from conformance.numerics import COMPOSITE_SIGMAS, Expected, ulp
from conformance.rules import Composite
from conformance.spec import Verdict

torch.set_num_threads(1)  # small tensors, and other tests run beside these

T = torch.Tensor
U = 2.0**-24


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> T:
    array = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(array.astype(lookup(dtype).numpy).astype(np.float64))


def sigma(
    run: Callable[[], T], dtype: str = "float32", samples: int = OPERATOR_SAMPLES, key: str = "key"
) -> np.ndarray:
    return spread(lambda: [run()], dtype, samples, key)[0]


def test_one_rounding_disturbs_by_one_unit() -> None:
    x, y = numbers(50), numbers(50, seed=1)
    many = 3000
    np.testing.assert_allclose(sigma(lambda: x + y, samples=many), U * np.abs((x + y).numpy()), rtol=0.07)
    products = sigma(lambda: x * y, "float16", many)
    np.testing.assert_allclose(products, 2.0**-11 * np.abs((x * y).numpy()), rtol=0.07)


def test_elementary_functions_have_the_counts_of_the_table() -> None:
    x = numbers(50)
    for dtype, count in (("float32", 3), ("bfloat16", 2)):
        expected = count * ulp(np.exp(x.numpy()), dtype)
        np.testing.assert_allclose(sigma(lambda: torch.exp(x), dtype, samples=3000), expected, rtol=0.07)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_ulp_of_a_subnormal_result_is_that_of_the_smallest_normal_number(dtype: str) -> None:
    x = torch.tensor([3.0, -1.0, 0.0], dtype=torch.float64) * (lookup(dtype).smallest / 16)
    expected = (2.5 if dtype == "float32" else 1.0) * ulp(x.numpy() / 3, dtype)
    out = sigma(lambda: x / 3.0, dtype)
    assert (out[:2] >= 0.4 * expected[:2]).all()
    assert out[2] == 0.0


@pytest.mark.parametrize(
    ("dtype", "wide"), [("float32", "float32"), ("float32", "float64"), ("float64", "float64")]
)
def test_sums_of_subnormal_products_are_as_far_off_as_their_roundings(dtype: str, wide: str) -> None:
    kind, rng = lookup(dtype), np.random.default_rng(4)
    step = kind.smallest * 2.0**-kind.p
    x = (rng.integers(-1000, 1000, (200, 16)) * step).astype(kind.numpy)
    w = rng.uniform(-1, 1, (200, 16)).astype(kind.numpy)
    a, b = (torch.from_numpy(v).to(torch_dtype(wide)) for v in (x, w))
    exact = (x.astype(np.float64) / step * w).sum(1)
    for run in (lambda: (a * b).sum(1), lambda: torch.bmm(a[:, None], b[:, :, None]).reshape(-1)):
        want = Expected(dtype, Composite(), exact * step, spread=sigma(run, dtype))
        for order in (range(16), range(15, -1, -1), rng.permutation(16)):
            out = np.zeros(200, kind.numpy)
            for k in order:
                out = out + x[:, k] * w[:, k]
            assert judge([want], [out], (), {}).verdict is Verdict.PASS
        wrong = out + kind.numpy.type(40 * step)
        assert judge([want], [wrong], (), {}).verdict is Verdict.INACCURATE


def test_moving_and_choosing_is_exact() -> None:
    x = numbers(4, 6)

    def move() -> T:
        y = torch.cat([x.T.reshape(4, 6), x.abs().neg()]).clamp(min=-1)[1:, ::2].relu()
        return torch.where(y > 0.5, y, -y).flip(0).contiguous().floor().double()

    assert (sigma(move) == 0).all()


def test_the_rounding_of_a_cancelled_sum_stays() -> None:
    x = numbers(50)
    out = sigma(lambda: (x + 1000.0) - 1000.0, samples=100)
    assert np.median(out) == pytest.approx(1000 * U, rel=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_two_errors_of_one_size_never_cancel_in_all_runs(dtype: str) -> None:
    x, y = numbers(100_000, dtype=dtype), numbers(100_000, seed=1, dtype=dtype)
    near = torch.nextafter(x.float(), torch.tensor(math.inf)).double()
    out = sigma(lambda: near * y - x * y, dtype, OPERATOR_SAMPLES)  # a rotation's two products, say
    each = lookup(dtype).u * np.abs((x * y).numpy())
    assert (COMPOSITE_SIGMAS * out > each).all()


def test_a_sum_gets_the_noise_of_its_accumulator() -> None:
    x = torch.ones(4096, dtype=torch.float64) * torch.tensor([1.0, -1.0]).double().repeat(2048)
    out = sigma(lambda: x.sum(), "float16", samples=400)  # zero, so it has no rounding of its own
    assert out == pytest.approx(math.sqrt(4096) * U * 4096, rel=0.2)


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x @ x.T,
        lambda x: torch.einsum("ij,kj->ik", x, x),
        lambda x: torch.nn.functional.linear(x, x, x[:, 0]),
        lambda x: torch.nn.functional.conv1d(x[None], x[:, None, :3], groups=8),
        lambda x: torch.nn.functional.conv_transpose1d(x[None], x[:, None, :3]),
        lambda x: torch.nn.functional.avg_pool1d(x[None], 3),
        lambda x: torch.nn.functional.adaptive_avg_pool1d(x[None], 5),
        lambda x: x.cumsum(1),
        lambda x: x.new_zeros(8).index_add(0, torch.arange(8) % 2, x[:, 0]),
        lambda x: x.new_zeros(8, 16).scatter_add(1, torch.zeros(8, 16, dtype=torch.int64), x),
        lambda x: x.new_zeros(8, 16).scatter_reduce(1, torch.zeros(8, 16, dtype=torch.int64), x, "mean"),
        lambda x: x.new_zeros(2).index_put((torch.zeros(8, dtype=torch.int64),), x[:, 1], accumulate=True),
        lambda x: torch.fft.irfft(torch.fft.rfft(x)),
        lambda x: torch.view_as_real(torch.fft.fft(x)),
        lambda x: x.prod(0),
        lambda x: torch.linalg.vector_norm(x, dim=1),
    ],
    ids=range(16),
)
def test_accumulations_in_float32_stay_within_their_spread(run: Callable[[T], T]) -> None:
    x = numbers(8, 16)
    want = Expected("float32", Composite(), run(x).numpy(), spread=sigma(lambda: run(x)))
    assert (want.spread > 0).any()  # type: ignore[operator]
    assert judge([want], [run(x.float()).numpy()], (), {}).verdict is Verdict.PASS


def test_operations_in_place_are_disturbed_as_well() -> None:
    x = numbers(50)

    def in_place() -> T:
        y = x.clone()
        y += 1.0
        y[10:20].mul_(3.0)
        return y

    out = sigma(in_place)
    plain = sigma(lambda: x + 1.0)
    np.testing.assert_allclose(out[:10], plain[:10])
    assert (out[10:20] > 2 * plain[10:20]).all()


def test_the_same_key_gives_the_same_spread_and_another_key_another() -> None:
    x = numbers(20)
    first, again, other = (sigma(lambda: (x + 1).exp(), key=k) for k in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_definition_sees_its_inputs_unchanged_and_the_state_of_torch_untouched() -> None:
    x = numbers(20)
    before, state = x.clone(), torch.get_rng_state()
    sigma(lambda: (x * 2).exp_())
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_operation_of_unknown_rounding_is_refused_by_name() -> None:
    x = numbers(3, 4)
    for run, name in (
        (lambda: torch.softmax(x, 0), "_softmax"),
        (lambda: torch.nn.functional.gelu(x), "gelu"),
        (lambda: x.var(), "var"),
        (lambda: torch.nn.functional.layer_norm(x, (4,)), "native_layer_norm"),
    ):
        with pytest.raises(UnknownOperationError, match=name):
            sigma(run)


def test_infinity_and_nan_have_no_spread_unless_rounding_decides_on_them() -> None:
    x = torch.tensor([0.0, -1.0, 1.0, math.nan], dtype=torch.float64)
    np.testing.assert_array_equal(sigma(lambda: torch.log(x))[[0, 1, 3]], 0)
    assert np.isinf(sigma(lambda: torch.log(x[2:3] / 3.0 * 3.0 - 1.0)))


def test_an_integer_output_is_free_exactly_where_rounding_decides() -> None:
    x = torch.tensor([[1.0, 5.0], [1.0, 1.0]], dtype=torch.float64)
    np.testing.assert_array_equal(sigma(lambda: (x / 3.0).argmax(1), samples=60), [0, np.inf])


def test_an_output_whose_shape_depends_on_rounding_is_free() -> None:
    x = torch.ones(40, dtype=torch.float64)
    assert np.isinf(sigma(lambda: (x / 3.0)[(x / 3.0) >= 1 / 3])).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_that_is_computed_in_floats_stays_an_index(dtype: str) -> None:
    """Correctly rounded operations are exact on whole numbers, up to the last that the format holds."""
    at = numbers(64).abs() * 7
    x = numbers(64)

    def taps() -> T:
        middle = at.floor() + 0.5
        return x[(middle * 2.0 - middle + 0.5).clamp(0, 63).long()]

    np.testing.assert_array_equal(sigma(taps, dtype), 0)
    beyond = torch.tensor([17.0, 2.0 ** (lookup(dtype).p + 1) + 1], dtype=torch.float64)
    held, rounded = sigma(lambda: beyond + 0.0, dtype)
    assert held == 0 < rounded


def test_few_samples_give_a_larger_spread_rather_than_one_that_is_small_by_chance() -> None:
    x = numbers(1024)
    many = sigma(lambda: (x.abs() + 1).log() + 1, samples=100)
    for samples in (4, 8):
        few = sigma(lambda: (x.abs() + 1).log() + 1, samples=samples)
        assert (few > 0.3 * many).all()


def test_memory_for_accumulations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    import conformance.montecarlo as module

    x = numbers(8, 8)
    kept = sigma(lambda: x @ x @ x)
    monkeypatch.setattr(module, "KEEP_BYTES", 0)
    np.testing.assert_allclose(sigma(lambda: x @ x @ x), kept, rtol=1e-4)


# --- Composites as people write them, and as they get them wrong. ---


def softmax(x: T) -> T:
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def layer_norm(x: T, eps: float = 1e-5, divisor: int = 0) -> T:
    d = x - x.mean(-1, keepdim=True)
    return d / torch.sqrt((d * d).sum(-1, keepdim=True) / (divisor or x.shape[-1]) + eps)


def gelu(x: T) -> T:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def cell(x: T) -> T:
    h = c = x.new_zeros(x.shape[0], x.shape[1] // 4)
    for _ in range(3):
        i, o, f, g = (x + torch.cat([h] * 4, 1)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def attention(x: T, scale: float = 1.0) -> T:
    return softmax(x @ x.mT / math.sqrt(x.shape[-1]) * scale) @ x


COMPOSITES: tuple[tuple[Callable[..., T], Sequence[Callable[..., T]], Sequence[Callable[..., T]]], ...] = (
    (
        softmax,
        (lambda x: torch.softmax(x, -1), lambda x: torch.exp2(x * math.log2(math.e)) / torch.exp(x).sum(-1, True)),
        (lambda x: torch.softmax(x, 0), lambda x: softmax(x.half()).to(x.dtype), lambda x: softmax(x) * 1.0001),
    ),
    (
        layer_norm,
        (lambda x: torch.layer_norm(x, x.shape[-1:]), lambda x: layer_norm(x.double()).to(x.dtype)),
        (
            lambda x: layer_norm(x, 0.0),
            lambda x: layer_norm(x, divisor=x.shape[-1] - 1),
            lambda x: layer_norm(x.T).T,
        ),
    ),
    (
        gelu,
        (torch.nn.functional.gelu, lambda x: x * torch.special.ndtr(x)),
        (lambda x: torch.nn.functional.gelu(x, approximate="tanh"), torch.relu),
    ),
    (cell, (), (lambda x: cell(x.half()).to(x.dtype), lambda x: cell(torch.cat(x.chunk(4, -1)[::-1], -1)))),
    (
        attention,
        (lambda x: torch.nn.functional.scaled_dot_product_attention(x, x, x),),
        (lambda x: attention(x, 0.999), lambda x: attention(x.bfloat16()).to(x.dtype)),
    ),
)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("meaning", "others", "wrong"), COMPOSITES, ids=[c[0].__name__ for c in COMPOSITES])
def test_legal_evaluations_of_composites_pass_and_defects_do_not(
    meaning: Callable[..., T], others: Sequence[Callable[..., T]], wrong: Sequence[Callable[..., T]], dtype: str
) -> None:
    x = numbers(32, 64, dtype=dtype)
    want = Expected(dtype, Composite(), meaning(x).numpy(), spread=sigma(lambda: meaning(x), dtype))

    def verdict(out: T) -> Verdict:
        rounded = out.to(torch_dtype(dtype)).double().numpy().astype(lookup(dtype).numpy)
        return judge([want], [rounded], (), {}).verdict

    for function in (meaning, *others):
        assert verdict(function(x.float())) is Verdict.PASS
        assert verdict(function(x)) is Verdict.PASS
    assert verdict(meaning(x.to(torch_dtype(dtype)))) is Verdict.PASS  # every step in the narrow format
    if dtype == "float32":
        for function in wrong:
            assert verdict(function(x.float())) is Verdict.INACCURATE


def test_tf32_inputs_to_attention_are_caught() -> None:
    x = numbers(32, 64)
    mantissa, exponent = np.frexp(x.numpy())
    coarse = torch.from_numpy(np.ldexp(np.round(mantissa * 2048) / 2048, exponent))
    want = Expected("float32", Composite(), attention(x).numpy(), spread=sigma(lambda: attention(x)))
    assert judge([want], [attention(coarse).float().numpy()], (), {}).verdict is Verdict.INACCURATE


def test_functions_that_all_lean_to_one_side_add_up() -> None:
    x = torch.linspace(0.3, 0.9, 50, dtype=torch.float64)

    def run() -> list[T]:
        total = torch.zeros_like(x)
        for _ in range(64):
            total = total + torch.exp(x)
        return [total]

    base = [run()[0].numpy()]
    one = 3 * np.spacing(np.exp(x.numpy()).astype(np.float32)).astype(np.float64)
    np.testing.assert_allclose(lean(run, "float32", base)[0], 64 * one, rtol=1e-3)


def test_what_has_no_function_does_not_lean() -> None:
    x = torch.linspace(0.3, 0.9, 50, dtype=torch.float64)
    base = [(x * x + 0.1).numpy()]
    assert not lean(lambda: [x * x + 0.1], "float32", base)[0].any()
