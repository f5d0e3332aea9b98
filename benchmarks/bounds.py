"""Legal evaluations and planted defects against the bounds: the experiment behind ADR 0003.

    python benchmarks/bounds.py [--only accumulation|composite] [--seeds N]

Prints, for each family and dtype, how many legal variants fail (must be 0) and how many defects are caught, and
for the composites the distance of the worst legal error in σ, which COMPOSITE_SIGMAS has to exceed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import torch
from composites import COMPOSITES, THROUGH_FLOAT32, Shapes

from conformance.dtypes import lookup, torch_dtype
from conformance.judge import judge
from conformance.montecarlo import OPERATOR_SAMPLES, spread
from conformance.numerics import Expected, ulp
from conformance.rules import Accumulation, Composite
from conformance.spec import Verdict

Array = np.ndarray


def rounded(x: Array, fraction: int) -> Array:
    """To nearest even with this many fraction bits, exponent unbounded."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(np.ldexp(mantissa, fraction + 1)), exponent - fraction - 1)


def truncated(x: Array, fraction: int) -> Array:
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.trunc(np.ldexp(mantissa, fraction + 1)), exponent - fraction - 1)


# --- Matrix products ---------------------------------------------------------------------------------------------


def sequential(a: Array, b: Array, keep: Callable[[Array], Array], block: int = 1) -> Array:
    """a @ b with one accumulator; ``block`` products are summed exactly before they are added to it."""
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(0, a.shape[1], block):
        total = keep(total + a[:, k : k + block] @ b[k : k + block])
    return total


def pairwise(a: Array, b: Array) -> Array:
    parts = (a.T[:, :, None] * b[:, None, :]).astype(np.float32)
    while len(parts) > 1:
        if len(parts) % 2:
            parts = np.concatenate([parts, np.zeros_like(parts[:1])])
        parts = parts[0::2] + parts[1::2]
    return parts[0].astype(np.float64)


def split(x: Array, pieces: int) -> list[Array]:
    """x as a sum of bfloat16 numbers."""
    out = []
    for _ in range(pieces):
        out.append(rounded(x, 7))
        x = x - out[-1]
    return out


def legal_products(a: Array, b: Array, dtype: str) -> Iterator[tuple[str, Array]]:
    if dtype == "float64":
        products = a.T[:, :, None] * b[:, None, :]
        yield "sequential", np.add.accumulate(products, axis=0)[-1]
        yield "reversed", np.add.accumulate(products[::-1], axis=0)[-1]
        yield "library", a @ b
        return
    single = lambda x: x.astype(np.float32).astype(np.float64)  # noqa: E731
    yield "fma", sequential(a, b, single)
    yield "reversed", sequential(a[:, ::-1], b[::-1], single)
    yield "two roundings", single_products(a, b)
    yield "pairwise", pairwise(a, b)
    for lanes in (8, 32):
        pieces = [sequential(a[:, i::lanes], b[i::lanes], single) for i in range(min(lanes, a.shape[1]))]
        total = pieces[0]
        for piece in pieces[1:]:
            total = single(total + piece)
        yield f"{lanes} lanes", total
    yield "library", (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float64)
    yield "float64", a @ b
    if dtype == "float32":
        # Three products of bfloat16 halves, as XLA's BF16_BF16_F32_X3 has them, and the six of X6.
        for name, pieces_, order in (("bf16x6", 3, 2),):
            left, right = split(a, pieces_), split(b, pieces_)
            total = np.zeros((a.shape[0], b.shape[1]))
            for i, j in ((i, j) for i in range(pieces_) for j in range(pieces_) if i + j <= order):
                total = single(total + sequential(left[i], right[j], single))
            yield name, total
    else:
        yield "truncating, blocks of 8", sequential(a, b, lambda x: truncated(x, 23), 8)
        yield "truncating, blocks of 16", sequential(a, b, lambda x: truncated(x, 23), 16)


def single_products(a: Array, b: Array) -> Array:
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total += np.outer(a[:, k], b[k]).astype(np.float32)
    return total.astype(np.float64)


def wrong_products(a: Array, b: Array, dtype: str) -> Iterator[tuple[str, Array]]:
    single = lambda x: x.astype(np.float32).astype(np.float64)  # noqa: E731
    exact, k = a @ b, a.shape[1]
    if dtype == "float64":
        yield "float32 inputs", single(a) @ single(b)
        yield "float32 accumulation", sequential(a, b, single)
    if dtype == "float32":
        yield "tf32 inputs", rounded(a, 10) @ rounded(b, 10)
        yield "tf32, truncated inputs", truncated(a, 10) @ truncated(b, 10)
        left, right = split(a, 2), split(b, 2)
        yield "bf16x2", left[0] @ right[0] + left[0] @ right[1]
    if dtype in ("float32", "float16"):
        yield "bf16 inputs", rounded(a, 7) @ rounded(b, 7)
    yield "accumulation in float16", sequential(a, b, lambda x: rounded(x, 10))
    yield "accumulation in bfloat16", sequential(a, b, lambda x: rounded(x, 7))
    yield "last term dropped", a[:, :-1] @ b[:-1]
    yield "tail tile dropped", a[:, : k - max(1, k % 16 or 8)] @ b[: k - max(1, k % 16 or 8)]
    yield "term doubled", exact + np.outer(a[:, 0], b[0])
    one = exact.copy()
    one[1, 2] = one[2, 1]
    yield "one wrong element", one
    part = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}[dtype]
    yield "scale", exact * (1 + part)
    yield "bias", exact + part * np.abs(exact).mean()
    yield "8-bit inputs", rounded(a, 3) @ b
    transposed = exact.copy()
    transposed[:16, :16] = exact[:16, :16].T
    yield "tile transposed", transposed


def matrices(kind: str, rows: int, inner: int, columns: int, rng: np.random.Generator) -> tuple[Array, Array]:
    a, b = rng.standard_normal((rows, inner)), rng.standard_normal((inner, columns))
    if kind == "positive":
        return np.abs(a), np.abs(b)
    if kind == "rectified":
        return np.maximum(a, 0), b / math.sqrt(inner)
    if kind == "offset":
        return a + 3, b * 0.1 + 1
    if kind == "repeated":
        return np.repeat(a[:2], -(-rows // 2), axis=0)[:rows], b
    if kind == "mean":
        return np.abs(a), np.full_like(b, 1.0)
    return a, b


def accumulation(seeds: int) -> bool:
    sound = True
    print("accumulation: matrix products")
    for dtype in ("float32", "float16", "bfloat16", "float64"):
        legal, defects, missed, failed = Counter(), Counter(), Counter(), Counter()
        for seed in range(seeds):
            for inner in (16, 64, 512, 4096):
                for kind in ("normal", "positive", "rectified", "offset", "repeated", "mean"):
                    rng = np.random.default_rng([seed, inner, len(kind)])
                    target = lookup(dtype).numpy
                    a, b = (x.astype(target).astype(np.float64) for x in matrices(kind, 40, inner, 40, rng))
                    if dtype == "float64":
                        a_, b_ = (x.astype(np.longdouble) for x in (a, b))
                        value = (a_ @ b_).astype(np.float64) if inner <= 512 else a @ b
                    else:
                        value = a @ b
                    want = Expected(
                        dtype,
                        Accumulation(),
                        value,
                        np.abs(a) @ np.abs(b),
                        np.full((1, 1), float(inner)),
                    )
                    for name, result in legal_products(a, b, dtype):
                        verdict = judge([want], [result.astype(target)], (), {})
                        legal["all"] += 1
                        if verdict.verdict is not Verdict.PASS:
                            failed[f"{name}/{kind}/K={inner}"] += 1
                    # A dropped term of 4096 positive ones is below bfloat16's resolution: no comparator sees it in
                    # data without signs, and exact cases of small integers are there for that.
                    if kind not in ("normal", "rectified", "repeated"):
                        continue
                    for name, result in wrong_products(a, b, dtype):
                        out = result.astype(target)
                        if np.array_equal(out, value.astype(target)):
                            continue  # the defect did nothing here
                        verdict = judge([want], [out], (), {})
                        defects["all"] += 1
                        if verdict.verdict is Verdict.PASS:
                            missed[f"{name}/{kind}/K={inner}"] += 1
        sound &= not failed
        report(dtype, legal["all"], failed, defects["all"], missed)
    return sound


def report(dtype: str, legal: int, failed: Counter[str], defects: int, missed: Counter[str]) -> None:
    caught = defects - sum(missed.values())
    print(f"  {dtype:9} legal failed {sum(failed.values())}/{legal}   defects caught {caught}/{defects}")
    for title, found in (("FAILED", failed), ("missed", missed)):
        for name, count in sorted(found.items()):
            print(f"     {title} {name} x{count}")


# --- Composites --------------------------------------------------------------------------------------------------


def inputs_of(shapes: Shapes, kind: str, dtype: str, rng: np.random.Generator) -> list[torch.Tensor]:
    """Numbers of the dtype, as float64. A variance (the fifth input) is positive."""
    arrays = [rng.standard_normal(shape) for shape in shapes]
    if kind == "offset":
        arrays[0] += 2
    if kind == "small":
        arrays[0] *= 0.05
    if kind == "repeated":
        arrays[0] = np.repeat(arrays[0][..., :1], arrays[0].shape[-1], axis=-1)
        arrays[0][..., ::3] += 1.0
    if len(arrays) == 5:
        arrays[4] = np.abs(arrays[4]) + 0.1
    if len(arrays) == 4:
        arrays = [a / math.sqrt(a.shape[-1]) if a.shape[0] == 128 else a for a in arrays]
    return [torch.from_numpy(a).to(torch_dtype(dtype)).double() for a in arrays]


def reduced(tensors: list[torch.Tensor], fraction: int) -> list[torch.Tensor]:
    return [torch.from_numpy(rounded(t.numpy(), fraction)) for t in tensors]


def composite(seeds: int) -> bool:
    sound = True
    sums: dict[str, Counter[str]] = {d: Counter() for d in ("float32", "float16", "bfloat16")}
    print("composites: c = largest (error - 2u|y|) / sigma of a legal variant, then counts at the constant in use")
    for family, (shapes, meaning, others, wrong) in COMPOSITES.items():
        print(family)
        for dtype in ("float32", "float16", "bfloat16"):
            legal = defects = 0
            failed, missed, need = Counter(), Counter(), 0.0
            for seed in range(seeds):
                for kind in ("normal", "offset", "small", "repeated"):
                    rng = np.random.default_rng([seed, len(kind), len(family)])
                    given = inputs_of(shapes, kind, dtype, rng)
                    value = meaning(*given).numpy()
                    sigma = spread(lambda: [meaning(*given)], dtype, OPERATOR_SAMPLES, f"{family}/{seed}")[0]  # noqa: B023
                    want = Expected(dtype, Composite(), value, spread=sigma)
                    for index, function in enumerate((meaning, *others)):
                        for name, through in (("steps", torch_dtype(dtype)), ("float32", torch.float32)):
                            if name == "steps" and dtype != "float32" and function in THROUGH_FLOAT32:
                                continue
                            out = function(*(g.to(through) for g in given)).to(torch_dtype(dtype))
                            legal += 1
                            verdict = judge([want], [array(out, dtype)], (), {})
                            with np.errstate(all="ignore"):
                                error = np.abs(out.double().numpy() - value)
                                over = error - np.maximum(2 * lookup(dtype).u * np.abs(value), ulp(value, dtype))
                                ratio = float(np.nanmax(np.where(over > 0, over / sigma, 0.0)))
                            need = max(need, ratio)
                            if verdict.verdict is not Verdict.PASS:
                                failed[f"way {index} in {name} on {kind} data ({ratio:.3g} sigma)"] += 1
                    # A step in a format no narrower than the one under test is legal.
                    coarse = {"float32": "", "float16": "float16 ", "bfloat16": ("float16 ", "bfloat16 ")}[dtype]
                    bad = {n: f(*given) for n, f in wrong.items() if not (coarse and n.startswith(coarse))}
                    if dtype == "float32":
                        bad["tf32 inputs"] = meaning(*reduced(given, 10))
                        bad["all in float16"] = meaning(*(g.half() for g in given)).double()
                    if dtype != "bfloat16":
                        bad["bfloat16 inputs"] = meaning(*reduced(given, 7))
                        bad["all in bfloat16"] = meaning(*(g.bfloat16() for g in given)).double()
                    for name, out in bad.items():
                        got = array(out.to(torch_dtype(dtype)), dtype)
                        if np.array_equal(got, value.astype(lookup(dtype).numpy), equal_nan=True):
                            continue
                        defects += 1
                        if judge([want], [got], (), {}).verdict is Verdict.PASS:
                            missed[f"{name} on {kind} data"] += 1
            sound &= not failed
            print(f"  c = {need:.2f}")
            report(dtype, legal, failed, defects, missed)
            sums[dtype] += Counter(legal=legal, failed=sum(failed.values()))
            sums[dtype] += Counter(defects=defects, caught=defects - sum(missed.values()))
    for dtype, n in sums.items():
        print(f"{dtype}: legal failed {n['failed']}/{n['legal']}, defects caught {n['caught']}/{n['defects']}")
    return sound


def array(tensor: torch.Tensor, dtype: str) -> Array:
    return tensor.double().numpy().astype(lookup(dtype).numpy)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", choices=("accumulation", "composite"))
    arguments = parser.parse_args()
    experiments = {"accumulation": accumulation, "composite": composite}
    results = [f(arguments.seeds) for name, f in experiments.items() if arguments.only in (None, name)]
    sys.exit(0 if all(results) else 1)
