"""Products and contractions of matrices and tensors, and the determinant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance.draws import choice, integers, normal, uniform, values
from conformance.lazy import torch
from conformance.rules import Accumulation, Composite
from conformance.spec import Operator, Sample, tensor

from .geometry import wide
from .samples import DYNAMIC, EMPTY, FEW, INF, LARGE, NAN, SPECIAL, pairwise, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
WHOLE = integers(-4, 4)
# Each special value once or twice among ordinary ones, so that most rows stay finite.
RARE = choice(NAN, INF, -INF, *(0.25 * i for i in range(-12, 13) if i))


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(…, M, K) times (…, K, N), with NumPy's rules for vectors and broadcasting (MatMul-13)."""
    return torch.matmul(a, b)


def _matmul_samples() -> Iterator[Sample]:
    w = tensor(8, 6, constant=True)
    yield Sample("matrix", (tensor(5, 8), w))
    yield Sample("both-at-run-time", (tensor(5, 8), tensor(8, 6)), dtypes=FEW)
    yield Sample("constant-left", (tensor(5, 8, constant=True), tensor(8, 6)), dtypes=FEW)
    yield Sample("tails", (tensor(17, 33), tensor(33, 19, constant=True)))
    yield Sample("ones", (tensor(1, 1), tensor(1, 1, constant=True)), dtypes=FEW)
    yield Sample("vector-vector", (tensor(13), tensor(13)), dtypes=FEW)
    yield Sample("vector-matrix", (tensor(13), tensor(13, 7)), dtypes=FEW)
    yield Sample("matrix-vector", (tensor(7, 13), tensor(13)), dtypes=FEW)
    yield Sample("vector-batch", (tensor(5), tensor(3, 5, 4)), dtypes=FEW)
    yield Sample("batch", (tensor(3, 4, 5), tensor(3, 5, 6)), dtypes=FEW)
    yield Sample("batch-constant", (tensor(3, 4, 5), tensor(5, 6, constant=True)), dtypes=FEW)
    yield Sample("batch-broadcast", (tensor(2, 1, 4, 5), tensor(3, 5, 6)), dtypes=FEW)
    yield Sample("rank-5", (tensor(2, 1, 2, 3, 4), tensor(1, 3, 1, 4, 5)), dtypes=FEW)
    yield Sample("matrix-batch", (tensor(4, 5), tensor(3, 5, 6)), dtypes=ONE)
    for k in (64, 512):
        yield Sample(f"inner-{k}", (tensor(33, k), tensor(k, 35, constant=True)), tags=LARGE)
    yield Sample("inner-4096", (tensor(16, 4096), tensor(4096, 5, constant=True)), dtypes=FEW, tags=LARGE)
    positive = uniform(0.5, 1.5)
    yield Sample(
        "inner-512-positive", (tensor(33, 512, draw=positive), tensor(512, 35, draw=positive)), dtypes=FEW
    )
    yield Sample(
        "exact-integers",
        (tensor(33, 65, draw=WHOLE), tensor(65, 35, draw=WHOLE, constant=True)),
        dtypes=FEW,
        exact=True,
    )
    yield Sample(
        "exact-integers-bfloat16",
        (tensor(9, 15, draw=WHOLE), tensor(15, 11, draw=WHOLE)),
        dtypes=("bfloat16", "float64"),
        exact=True,
    )
    yield Sample("large-values", (tensor(9, 40, draw=normal(0, 1e18)), tensor(40, 9)), dtypes=ONE)
    yield Sample(
        "overflow",
        (tensor(5, 8, draw=uniform(3e4, 6e4)), tensor(8, 6, draw=uniform(3e4, 6e4))),
        dtypes=("float16",),
        tags=SPECIAL,
    )
    yield Sample(
        "special", (tensor(24, 8, draw=RARE), tensor(8, 9)), dtypes=("float32", "float64", "float16"), tags=SPECIAL
    )
    yield Sample("no-rows", (tensor(0, 5), tensor(5, 3)), dtypes=FEW, tags=EMPTY)
    yield Sample("no-inner", (tensor(4, 0), tensor(0, 3)), dtypes=FEW, tags=EMPTY)
    yield Sample("empty-batch", (tensor(0, 4, 5), tensor(5, 3)), dtypes=ONE, tags=EMPTY)
    yield Sample(
        "dynamic",
        (tensor(2, 4, 16), tensor(16, 8, constant=True)),
        dtypes=FEW,
        again=((tensor(1, 1, 16), tensor(16, 8)), (tensor(3, 17, 16), tensor(16, 8))),
        tags=DYNAMIC,
    )
    yield Sample("opset-11", (tensor(5, 8), w), dtypes=("float32", "float64"), opset=11)
    yield Sample("inner-mismatch", (tensor(3, 4), tensor(5, 6)), dtypes=ONE, refuse="4 columns against 5 rows")
    yield Sample(
        "batch-mismatch", (tensor(2, 3, 4), tensor(3, 4, 5)), dtypes=ONE, refuse="2 and 3 do not broadcast"
    )
    yield Sample("scalar-operand", (tensor(), tensor(4, 5)), dtypes=ONE, refuse="a scalar has no columns")
    yield from refusals(2)


def gemm(
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
) -> torch.Tensor:
    """alpha·A'·B' + beta·C, C broadcast to (M, N) (Gemm-13). Integers take the factors truncated."""
    if not a.dtype.is_floating_point:
        alpha, beta = int(alpha), int(beta)
    left, right = a.mT if transA else a, b.mT if transB else b
    if c is None:
        y = torch.matmul(left, right)
        return y if alpha == 1 else y * alpha
    # In one operation, so that narrow formats are rounded once.
    return torch.addmm(c, left, right, beta=beta, alpha=alpha)


def _gemm_magnitude(attributes: dict[str, Any]) -> dict[str, Any]:
    return {**attributes, "alpha": abs(attributes["alpha"]), "beta": abs(attributes["beta"])}


def _gemm_count(*inputs: torch.Tensor | None, **attributes: Any) -> torch.Tensor:
    a, b, *c = inputs
    assert a is not None
    assert b is not None
    return gemm(a, b, *c, **{**attributes, "alpha": 1.0, "beta": 1.0})


def _gemm_samples() -> Iterator[Sample]:
    a, b = tensor(5, 8), tensor(8, 6, constant=True)
    bias = tensor(6, constant=True)
    yield Sample("bias", (a, b, bias))
    yield Sample("no-bias", (a, b), dtypes=FEW)
    yield Sample("trans-a", (tensor(8, 5), b, bias), {"transA": 1}, dtypes=FEW)
    yield Sample("trans-b", (a, tensor(6, 8, constant=True), bias), {"transB": 1})
    yield Sample(
        "trans-both", (tensor(8, 5), tensor(6, 8, constant=True), bias), {"transA": 1, "transB": 1}, dtypes=FEW
    )
    yield from pairwise(
        Sample("pairs", ()),
        {"alpha": (None, 0.5), "beta": (None, -1.5), "transA": (None, 1), "transB": (None, 1)},
        inputs=lambda row: (
            tensor(8, 5) if row["transA"] else a,
            tensor(6, 8, constant=True) if row["transB"] else b,
            bias,
        ),
    )
    yield Sample(
        "alpha-beta", (a, b, bias), {"alpha": -2.25, "beta": 0.35}, dtypes=("float32", "float16", "float64")
    )
    yield Sample("alpha-without-bias", (a, b), {"alpha": 3.0}, dtypes=FEW)
    yield Sample("beta-0", (a, b, bias), {"beta": 0.0}, dtypes=FEW)
    yield Sample("bias-scalar", (a, b, tensor(constant=True)), dtypes=FEW)
    yield Sample("bias-one", (a, b, tensor(1, constant=True)), dtypes=FEW)
    yield Sample("bias-row", (a, b, tensor(1, 6, constant=True)), dtypes=FEW)
    yield Sample("bias-column", (a, b, tensor(5, 1, constant=True)), dtypes=FEW)
    yield Sample("bias-full", (a, b, tensor(5, 6)), dtypes=FEW)
    yield Sample("all-at-run-time", (a, tensor(8, 6), tensor(6)), {"transB": 0}, dtypes=FEW)
    yield Sample(
        "tails", (tensor(17, 33), tensor(19, 33, constant=True), tensor(19, constant=True)), {"transB": 1}
    )
    yield Sample("ones", (tensor(1, 1), tensor(1, 1, constant=True), tensor(1, constant=True)), dtypes=FEW)
    for k in (512, 2048):
        operands = tensor(33, k), tensor(33, k, constant=True), tensor(33, constant=True)
        yield Sample(f"inner-{k}", operands, {"transB": 1}, dtypes=("float32", "float16", "bfloat16"), tags=LARGE)
    whole = (
        tensor(33, 65, draw=WHOLE),
        tensor(35, 65, draw=WHOLE, constant=True),
        tensor(35, draw=WHOLE, constant=True),
    )
    yield Sample("exact-integers", whole, {"transB": 1}, dtypes=FEW, exact=True)
    yield Sample(
        "special", (tensor(24, 8, draw=RARE), b, bias), dtypes=("float32", "float64", "float16"), tags=SPECIAL
    )
    yield Sample(
        "special-bias", (a, b, tensor(6, draw=values(NAN, INF, -INF, 0.0, -0.0, 1.0))), dtypes=FEW, tags=SPECIAL
    )
    yield Sample("no-rows", (tensor(0, 8), b, bias), dtypes=FEW, tags=EMPTY)
    yield Sample("no-inner", (tensor(4, 0), tensor(0, 6), bias), dtypes=FEW, tags=EMPTY)
    sizes = ((tensor(1, 8), b, bias), (tensor(19, 8), b, bias))
    yield Sample("dynamic", (a, b, bias), dtypes=FEW, again=sizes, tags=DYNAMIC)
    yield Sample("opset-11", (a, b), dtypes=("float32", "float64"), opset=11)
    yield Sample("inner-mismatch", (tensor(3, 4), tensor(5, 6)), dtypes=ONE, refuse="4 columns against 5 rows")
    yield Sample("trans-mismatch", (a, b, bias), {"transB": 1}, dtypes=ONE, refuse="8 columns against 6 rows")
    yield Sample("bias-mismatch", (a, b, tensor(7)), dtypes=ONE, refuse="7 does not broadcast to (5, 6)")
    yield Sample("rank-3", (tensor(2, 5, 8), b), dtypes=ONE, refuse="Gemm takes matrices")
    yield from refusals(2, most=3)


def einsum(*inputs: torch.Tensor, equation: str) -> torch.Tensor:
    """Einstein summation with NumPy's extensions: ellipsis, repeated labels, implicit output (Einsum-12)."""
    return torch.einsum(equation.replace(" ", ""), *inputs)


def _einsum_samples() -> Iterator[Sample]:
    def sample(name: str, equation: str, *shapes: tuple[int, ...], **fields: Any) -> Sample:
        fields.setdefault("dtypes", FEW)
        return Sample(name, tuple(tensor(*s) for s in shapes), {"equation": equation}, **fields)

    yield sample("matmul", "ij,jk->ik", (5, 8), (8, 6), dtypes=None)
    yield sample("matmul-implicit", "ij,jk", (5, 8), (8, 6))
    yield sample("implicit-order", "ba,ac", (5, 8), (8, 6))
    yield sample("transpose", "ij->ji", (5, 7))
    yield sample("transpose-implicit", "ba", (5, 7))
    yield sample("permute", "abcd->dbca", (2, 3, 4, 5))
    yield sample("row-sum", "ij->i", (5, 7))
    yield sample("total", "ijk->", (3, 4, 5))
    yield sample("trace", "ii", (6, 6))
    yield sample("diagonal", "ii->i", (6, 6))
    yield sample("diagonal-batch", "...ii->...i", (3, 5, 5))
    yield sample("inner", "i,i", (13,), (13,))
    yield sample("outer", "i,j->ij", (5,), (7,))
    yield sample("hadamard", "ij,ij->ij", (5, 7), (5, 7))
    yield sample("row-dot", "ij,ij->i", (5, 7), (5, 7))
    yield sample("batch-matmul", "bij,bjk->bik", (3, 4, 5), (3, 5, 6), dtypes=("float32", "float16", "float64"))
    yield sample("ellipsis", "...ij,...jk->...ik", (2, 3, 4, 5), (1, 3, 5, 6))
    yield sample("ellipsis-middle", "i...j,j->...i", (4, 2, 3, 5), (5,))
    yield sample("attention", "bqhd,bkhd->bhqk", (2, 5, 3, 8), (2, 7, 3, 8))
    yield sample("attention-values", "bhqk,bkhd->bqhd", (2, 3, 5, 7), (2, 7, 3, 8))
    yield sample("capital-labels", "Ab,bA->A", (5, 7), (7, 5))
    yield sample("spaces", " i j , j k -> i k ", (5, 8), (8, 6))
    yield sample("three-operands", "ij,jk,kl->il", (4, 5), (5, 6), (6, 3))
    yield sample("bilinear", "bi,oij,bj->bo", (3, 4), (5, 4, 6), (3, 6))
    yield sample("one-operand", "ij->ij", (3, 5))
    yield sample("broadcast-one", "...i,...i->...", (3, 1, 7), (1, 4, 7))
    yield sample("inner-512", "ij,kj->ik", (33, 512), (35, 512), tags=LARGE)
    yield Sample(
        "constant-weight",
        (tensor(2, 5, 8), tensor(8, 3, 4, constant=True)),
        {"equation": "bsd,dhk->bhsk"},
        dtypes=FEW,
    )
    yield Sample(
        "exact-integers",
        (tensor(17, 33, draw=WHOLE), tensor(19, 33, draw=WHOLE)),
        {"equation": "ij,kj->ik"},
        dtypes=FEW,
        exact=True,
    )
    special = tensor(8, 6, draw=RARE), tensor(6, 5)
    yield Sample("special", special, {"equation": "ij,jk->ik"}, dtypes=("float32", "float64"), tags=SPECIAL)
    yield sample("empty", "ij,jk->ik", (0, 4), (4, 3), dtypes=ONE, tags=EMPTY)
    yield sample("empty-inner", "ij,jk->ik", (3, 0), (0, 2), dtypes=ONE, tags=EMPTY)
    again = ((tensor(1, 3, 4), tensor(1, 4, 6)), (tensor(4, 7, 9), tensor(4, 9, 2)))
    yield sample("dynamic", "bij,bjk->bik", (2, 3, 4), (2, 4, 5), again=again, tags=DYNAMIC)
    yield sample("size-mismatch", "ij,jk->ik", (3, 4), (5, 6), dtypes=ONE, refuse="j is 4 and 5")
    yield sample("rank-mismatch", "ijk->ij", (3, 4), dtypes=ONE, refuse="three labels for a matrix")
    yield sample("operand-mismatch", "ij,jk->ik", (3, 4), dtypes=ONE, refuse="two terms for one operand")
    yield sample("unknown-output", "ij->ik", (3, 4), dtypes=ONE, refuse="k is not among the inputs")


def det(x: torch.Tensor) -> torch.Tensor:
    """(…, M, M) to (…): Gaussian elimination with the largest pivot of each column (Det-22)."""
    a = wide(x)
    size = a.shape[-1]
    result = a.new_ones(a.shape[:-2])
    for k in range(size):
        order = torch.arange(size - k, device=a.device)
        pivot = a[..., :, 0].abs().argmax(-1, keepdim=True)
        result = torch.where(pivot[..., 0] == 0, result, -result)
        # Exchange the first row and the pivot's.
        rows = torch.where(order == pivot, torch.zeros_like(order), order)
        rows = torch.where(order == 0, pivot, rows)
        a = a.gather(-2, rows[..., None].expand(a.shape))
        head = a[..., :1, :1]
        result = result * head[..., 0, 0]
        factors = a[..., 1:, :1] / torch.where(head == 0, torch.ones_like(head), head)
        a = a[..., 1:, 1:] - factors * a[..., :1, 1:]
    return result.to(x.dtype)


def _det_samples() -> Iterator[Sample]:
    yield Sample("matrix", (tensor(3, 3),))
    yield Sample("one", (tensor(1, 1),))
    yield Sample("two", (tensor(2, 2),))
    yield Sample("batch", (tensor(5, 4, 4),))
    yield Sample("two-batches", (tensor(2, 3, 3, 3),), dtypes=("float32", "float64"))
    yield Sample("size-8", (tensor(2, 8, 8),), dtypes=("float32", "float64"))
    yield Sample("size-17", (tensor(17, 17, draw=normal(0, 0.5)),), dtypes=("float32", "float64"))
    identity = values(*(1.0 if i == j else 0.0 for i in range(4) for j in range(4)))
    yield Sample("identity", (tensor(4, 4, draw=identity),))
    exchange = values(0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
    yield Sample("permutation", (tensor(3, 3, draw=exchange),), dtypes=FEW)
    yield Sample("odd-permutation", (tensor(2, 2, draw=values(0.0, 1.0, 1.0, 0.0)),), dtypes=FEW)
    yield Sample("zero-row", (tensor(2, 2, draw=values(1.0, 2.0, 0.0, 0.0)),), dtypes=FEW)
    yield Sample("zero", (tensor(2, 3, 3, draw=integers(0, 0)),), dtypes=FEW)
    yield Sample("nan", (tensor(2, 2, draw=values(NAN, 1.0, 2.0, 3.0)),), dtypes=ONE, tags=SPECIAL)
    yield Sample("empty-batch", (tensor(0, 3, 3),), dtypes=ONE, tags=EMPTY)
    yield Sample("large-batch", (tensor(1000, 3, 3),), dtypes=ONE, tags=LARGE)
    yield Sample(
        "dynamic", (tensor(2, 3, 3),), dtypes=ONE, again=((tensor(1, 5, 5),), (tensor(7, 2, 2),)), tags=DYNAMIC
    )
    yield Sample("opset-22", (tensor(3, 4, 4),), opset=22)
    yield Sample("not-square", (tensor(3, 4),), dtypes=ONE, refuse="3 rows and 4 columns")
    yield Sample("vector", (tensor(4),), dtypes=ONE, refuse="a vector has no determinant")
    yield from refusals(1)


OPERATORS = (
    Operator("MatMul", matmul, Accumulation(), _matmul_samples),
    Operator("Gemm", gemm, Accumulation(magnitude=_gemm_magnitude, count=_gemm_count), _gemm_samples),
    # More than two operands are contracted pair by pair, and what is between may be rounded to the type.
    Operator("Einsum", einsum, Composite(), _einsum_samples),
    Operator("Det", det, Composite(), _det_samples),
)
