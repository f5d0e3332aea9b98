"""Linear models and support vector machines (ai.onnx.ml): scores from dot products and kernels, and labels from scores.

ONNX says of scores and labels little more than that there are some. What is asked here is what its reference evaluator
and libsvm (https://www.csie.ntu.edu.tw/~cjlin/libsvm), whence the support vector machines come, both have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.draws import draw, integers, normal, uniform
from conformance.lazy import torch
from conformance.rules import EXACT, Composite
from conformance.spec import Operator, Sample, tensor

from .features import ML, NUMBERS, by_row, column, real
from .samples import DYNAMIC, EMPTY, LARGE, literal, pairwise, refusals

__all__ = ["OPERATORS", "TRANSFORMS", "listed", "transformed"]

ONE = ("float32",)
REAL = ("float32", "float64")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
SMALL = 1e-7  # what SOFTMAX_ZERO takes for 0


def probit(p: torch.Tensor) -> torch.Tensor:
    """The quantile of the standard normal distribution: a start of three digits, and then Newton's method."""
    q = (1 - p) * p * 4
    log = q.log().clamp(max=0)
    centre = 2 / (math.pi * 0.147) + log / 2
    # The root less the centre, but as a quotient: near a half they cancel, and a rounding would leave a negative number.
    far = -log / 0.147
    y = (far / ((centre.square() + far).sqrt() + centre)).sqrt() * (p * 2 - 1).sign() * math.sqrt(2)
    for _ in range(3):
        excess = ((y / math.sqrt(2)).erf() + 1) / 2 - p
        y = y - excess * (y.square() / 2).exp() * math.sqrt(2 * math.pi)
    return y


def transformed(scores: torch.Tensor, transform: str) -> torch.Tensor:
    """The scores of each row after ``post_transform``. SOFTMAX_ZERO is a softmax that leaves zeros at zero."""
    if transform == "LOGISTIC":
        return scores.sigmoid()
    if transform == "PROBIT":
        return probit(scores)
    if transform in ("SOFTMAX", "SOFTMAX_ZERO") and scores.numel():
        top = scores.amax(-1, keepdim=True)
        shares = (scores - top).exp()
        if transform == "SOFTMAX_ZERO":
            shares = torch.where(scores.abs() <= SMALL, scores * (-top).exp(), shares)
        return shares / shares.sum(-1, keepdim=True)
    return scores


def listed(key: str, *shape: int, low: float = 0.0, high: float = 0.0, whole: bool = False) -> list[float]:
    """Numbers of a model's attributes, which are float32: near-normal, or uniform, or small integers."""
    recipe = integers(-3, 3) if whole else uniform(low, high) if high > low else normal()
    values: list[float] = draw(recipe, shape, "float32", key).astype("float64").reshape(-1).tolist()
    return values


def linear_regressor(
    x: torch.Tensor,
    *,
    coefficients: Sequence[float],
    intercepts: Sequence[float] = (),
    targets: int = 1,
    post_transform: str = "NONE",
    dtypes: Sequence[str],
) -> torch.Tensor:
    """(N, C) times the coefficients, a row of them for each target, plus the intercepts (LinearRegressor-1)."""
    x = real(x, dtypes)
    y = torch.matmul(x, column(coefficients, x).reshape(targets, -1).T)
    return transformed(y + column(intercepts, y) if intercepts else y, post_transform)


def _regressor_samples() -> Iterator[Sample]:
    def sample(name: str, n: int, c: int, targets: int, dtypes: tuple[str, ...] = REAL, **fields: Any) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "exact") if k in fields}
        whole = kept.get("exact", False)
        weights: dict[str, Any] = {
            "coefficients": listed(f"{name}/coefficients", targets, c, whole=whole),
            "intercepts": listed(f"{name}/intercepts", targets, whole=whole),
        }
        if targets > 1:
            weights["targets"] = targets
        x = tensor(n, c, draw=integers(-3, 3)) if whole else tensor(n, c)
        return Sample(name, (x,), {**weights, **fields}, dtypes=dtypes, **kept)

    yield sample("one-target", 5, 7, 1, NUMBERS)
    yield sample("targets", 5, 7, 3, NUMBERS)
    yield sample("exact-integers", 9, 33, 5, NUMBERS, exact=True)
    yield sample("one-feature", 5, 1, 2)
    yield sample("empty", 0, 7, 3, ONE, tags=EMPTY)
    yield sample("large", 129, 257, 9, ONE, tags=LARGE)
    yield sample("dynamic", 5, 7, 3, ONE, again=((tensor(1, 7),), (tensor(33, 7),)), tags=DYNAMIC)
    # Sums between 0 and 1: a probit is of a probability.
    yield from pairwise(
        Sample("pairs", (tensor(9, 3, draw=uniform(0.1, 1.0)),)),
        {"targets": (None, 3), "post_transform": (None, *TRANSFORMS[1:])},
        variations={"intercepts": (False, True)},
        more=lambda row: {
            "coefficients": listed("pairs/coefficients", row["targets"] or 1, 3, low=0.02, high=0.3),
            **({"intercepts": [0.01, 0.03, 0.05][: row["targets"] or 1]} if row["intercepts"] else {}),
        },
    )
    # Scores that are zero, which one of the two leaves there.
    for transform in ("SOFTMAX", "SOFTMAX_ZERO"):
        zeros = {"coefficients": [1.0, 0.0, 0.0, 1.0], "targets": 2, "post_transform": transform}
        x = literal(0.0, 2.0, -1.0, 0.0, 3.0, 1.0, shape=(3, 2))
        yield Sample(f"{transform.lower().replace('_', '-')}-of-zeros", (x,), zeros, dtypes=REAL)
    odd = {"coefficients": [1.0, 2.0, 3.0], "targets": 2}
    yield Sample("coefficients-uneven", (tensor(5, 2),), odd, dtypes=ONE, refuse="3 coefficients for 2 targets")
    yield from refusals(1)


def linear_classifier(
    x: torch.Tensor,
    *,
    coefficients: Sequence[float],
    intercepts: Sequence[float] = (),
    classlabels_ints: Sequence[int] = (),
    multi_class: int = 0,
    post_transform: str = "NONE",
    dtypes: Sequence[str],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The label of the highest score, and the scores of (N, C) by a row of coefficients a class (LinearClassifier-1)."""
    x = real(x, dtypes[1:])
    scores = torch.matmul(x, column(coefficients, x).reshape(len(classlabels_ints), -1).T)
    scores = transformed(scores + column(intercepts, x) if intercepts else scores, post_transform)
    return torch.tensor(list(classlabels_ints), device=x.device)[scores.argmax(-1)], scores


def _of_zeros(more: Mapping[str, Any]) -> Iterator[Sample]:
    """Classifiers whose scores are their inputs, zeros among them, which one of the two transforms leaves there."""
    x = literal(0.0, 2.0, -1.0, -1.0, 0.0, 3.0, 1.5, -2.0, 0.0, shape=(3, 3))
    identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    for transform in ("SOFTMAX", "SOFTMAX_ZERO"):
        attributes = {"coefficients": identity, "classlabels_ints": [4, 0, 9], "post_transform": transform, **more}
        yield Sample(f"{transform.lower().replace('_', '-')}-of-zeros", (x,), attributes, outputs=2, dtypes=ONE)


def _classifier_samples() -> Iterator[Sample]:
    def sample(name: str, n: int, c: int, classes: int, dtypes: tuple[str, ...] = REAL, **fields: Any) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "exact") if k in fields}
        whole = kept.get("exact", False)
        # Not by rank: labels are names.
        weights: dict[str, Any] = {
            "coefficients": listed(f"{name}/coefficients", classes, c, whole=whole),
            "intercepts": listed(f"{name}/intercepts", classes, low=-0.5, high=0.5),
            "classlabels_ints": [(7 * k + 3) % 11 - 2 for k in range(classes)],
        }
        x = tensor(n, c, draw=integers(-3, 3)) if whole else tensor(n, c)
        return Sample(name, (x,), {**weights, **fields}, outputs=2, dtypes=dtypes, **kept)

    yield sample("three-classes", 5, 7, 3, NUMBERS)
    yield sample("two-classes", 5, 7, 2, NUMBERS)
    yield sample("multinomial", 5, 7, 3, multi_class=1)
    yield sample("empty", 0, 7, 3, ONE, tags=EMPTY)
    yield sample("large", 129, 257, 9, ONE, tags=LARGE)
    yield sample("dynamic", 5, 7, 3, ONE, again=((tensor(1, 7),), (tensor(33, 7),)), tags=DYNAMIC)
    for transform in TRANSFORMS[1:-1]:
        yield sample(transform.lower().replace("_", "-"), 5, 7, 4, REAL, post_transform=transform)
    # Scores between 0 and 1: a probit is of a probability.
    yield from pairwise(
        Sample(
            "pairs",
            (tensor(9, 3, draw=uniform(0.1, 1.0)),),
            {"coefficients": listed("classes/pairs", 3, 3, low=0.02, high=0.3), "classlabels_ints": [1, 8, 4]},
            outputs=2,
        ),
        {
            "post_transform": (None, *TRANSFORMS[1:]),
            "multi_class": (None, 1),
            "intercepts": (None, [0.01, 0.02, 0.03]),
        },
    )
    yield from _of_zeros({"intercepts": [0.0, 0.0, 0.0]})
    # Whole numbers, so that ONNX's evaluator, which has strings and computes in float32, is exact.
    named: dict[str, Any] = {
        "coefficients": [1.0, -2.0, 3.0, 0.0, 1.0, -1.0],
        "intercepts": [0.5, -0.25],
        "classlabels_strings": ["no", "Γ yes"],
    }
    x = tensor(9, 3, draw=integers(-4, 4))
    yield Sample("strings", (x,), named, outputs=2, dtypes=ONE)
    few = {"coefficients": [1.0] * 7, "classlabels_ints": [0, 1, 2]}
    yield Sample(
        "coefficients-uneven", (tensor(5, 2),), few, outputs=2, dtypes=ONE, refuse="7 coefficients for 3 classes"
    )
    bare = {"classlabels_ints": [0, 1, 2]}
    yield Sample(
        "no-coefficients", (tensor(5, 2),), bare, outputs=2, dtypes=ONE, refuse="coefficients are required"
    )


def kernel(x: torch.Tensor, vectors: torch.Tensor, kind: str, parameters: Sequence[float]) -> torch.Tensor:
    """(N, C) against (S, C): the kernel of each pair; parameters gamma, coef0, degree as libsvm has them."""
    gamma, coef0, degree = [*parameters, 0.0, 0.0, 0.0][:3]
    if kind == "RBF":
        return (-gamma * (x.unsqueeze(1) - vectors).square().sum(-1)).exp()
    products = torch.matmul(x, vectors.T)
    if kind == "POLY":
        base = gamma * products + coef0
        y = torch.ones_like(base)
        for _ in range(int(degree)):
            y = y * base
        return y
    return (gamma * products + coef0).tanh() if kind == "SIGMOID" else products


def svm_regressor(
    x: torch.Tensor,
    *,
    coefficients: Sequence[float],
    rho: Sequence[float],
    support_vectors: Sequence[float] = (),
    n_supports: int = 0,
    kernel_type: str = "LINEAR",
    kernel_params: Sequence[float] = (),
    one_class: int = 0,
    post_transform: str = "NONE",
    dtypes: Sequence[str],
) -> torch.Tensor:
    """Σ coefficient·kernel(x, vector) + rho, for (N, C) an (N, 1); without vectors the coefficients' product with x.
    One class: 1 where that is positive, else -1 (SVMRegressor-1)."""
    x = real(x, dtypes)
    weights = column(coefficients, x)
    k = x
    if n_supports:
        k = kernel(x, column(support_vectors, x).reshape(n_supports, -1), kernel_type, kernel_params)
    y = torch.matmul(k, weights.unsqueeze(-1)) + rho[0]
    if one_class:
        y = torch.where(y > 0, torch.ones_like(y), -torch.ones_like(y))
    return transformed(y, post_transform)


KERNELS: dict[str, list[float]] = {
    "LINEAR": [],
    "POLY": [0.25, 0.5, 3.0],
    "RBF": [0.125, 0.0, 0.0],
    "SIGMOID": [0.125, -0.25, 0.0],
}


def _svm_regressor_samples() -> Iterator[Sample]:
    def model(name: str, features: int, supports: int, kind: str, **more: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "kernel_type": kind,
            "kernel_params": KERNELS[kind] or [0.0, 0.0, 0.0],
            "coefficients": listed(f"{name}/coefficients", supports),
            "support_vectors": listed(f"{name}/vectors", supports, features),
            "n_supports": supports,
            "rho": listed(f"{name}/rho", 1),
        }
        return {**fields, **more}

    for kind in KERNELS:
        name = kind.lower()
        yield Sample(name, (tensor(5, 4),), model(name, 4, 6, kind), dtypes=REAL)
        yield Sample(
            f"{name}-one-class", (tensor(17, 4),), model(f"{name}-one", 4, 6, kind, one_class=1), dtypes=ONE
        )
    whole = tensor(5, 4, draw=integers(-3, 3))
    yield Sample("whole", (whole,), model("whole", 4, 6, "RBF"), dtypes=NUMBERS)
    bare = {"coefficients": listed("bare", 4), "rho": [0.5], "kernel_params": [0.0, 0.0, 0.0]}
    yield Sample("no-vectors", (tensor(5, 4),), bare, dtypes=REAL)
    plain = {k: v for k, v in model("plain", 4, 6, "LINEAR").items() if k != "kernel_params"}
    yield Sample("no-kernel-params", (tensor(5, 4),), plain, dtypes=ONE)
    yield Sample("one-vector", (tensor(5, 4),), model("one", 4, 1, "RBF"), dtypes=ONE)
    yield Sample("large", (tensor(65, 33),), model("large", 33, 129, "POLY"), dtypes=ONE, tags=LARGE)
    sizes = ((tensor(1, 4),), (tensor(33, 4),))
    yield Sample("dynamic", (tensor(5, 4),), model("dynamic", 4, 6, "RBF"), dtypes=ONE, again=sizes, tags=DYNAMIC)
    yield Sample("empty", (tensor(0, 4),), model("empty", 4, 6, "RBF"), dtypes=ONE, tags=EMPTY)
    # A share of the only score is 1; a probit would be of a probability. Whether what is transformed of one class is the
    # decision or the label is not said.
    yield from pairwise(
        Sample("pairs", (tensor(17, 4),)),
        {
            "kernel_type": (None, *list(KERNELS)[1:]),
            "one_class": (None, 1),
            "post_transform": (None, *TRANSFORMS[1:-1]),
        },
        valid=lambda row: not (row["one_class"] and row["post_transform"]),
        more=lambda row: {
            k: v for k, v in model("pairs", 4, 6, row["kernel_type"] or "LINEAR").items() if k != "kernel_type"
        },
    )
    likely = model("probit", 4, 6, "RBF", post_transform="PROBIT", rho=[0.0625])
    likely["coefficients"] = listed("probit/coefficients", 6, low=0.02, high=0.15)
    yield Sample("probit", (tensor(5, 4),), likely, dtypes=ONE)
    odd = model("bad", 4, 6, "RBF", kernel_type="LAPLACE")
    yield Sample("bad-kernel", (tensor(5, 4),), odd, dtypes=ONE, refuse="no such kernel")
    yield from refusals(1)


def _coupled(pairs: torch.Tensor) -> torch.Tensor:
    """Class probabilities (N, K) from those of each class against each other one (N, K, K).

    The second method of Wu, Lin and Weng, "Probability estimates for multi-class classification by pairwise coupling"
    (2004), stopped where libsvm stops it.
    """
    k = pairs.shape[-1]
    q = -(pairs.mT * pairs)
    q = q + torch.diag_embed(pairs.square().sum(1))  # nothing on the diagonal of pairs
    p = torch.full_like(pairs[:, 0], 1 / k)
    going = torch.ones(len(pairs), 1, dtype=torch.bool, device=pairs.device)
    for _ in range(max(100, k)):
        qp = torch.matmul(q, p.unsqueeze(-1)).squeeze(-1)
        total = (p * qp).sum(-1, keepdim=True)
        going = going & ((qp - total).abs() >= 0.005 / k).any(-1, keepdim=True)
        if not bool(going.any()):
            break
        after = p
        for t in range(k):
            own = q[:, t, t].unsqueeze(-1)
            step = (total - qp[:, t : t + 1]) / own
            after = after + step * torch.eye(k, dtype=p.dtype, device=p.device)[t]
            total = (total + step * (step * own + 2 * qp[:, t : t + 1])) / (1 + step) / (1 + step)
            qp = (qp + step * q[:, t]) / (1 + step)
            after = after / (1 + step)
        p = torch.where(going, after, p)
    return p


def svm_classifier(
    x: torch.Tensor,
    *,
    coefficients: Sequence[float],
    rho: Sequence[float],
    classlabels_ints: Sequence[int] = (),
    support_vectors: Sequence[float] = (),
    vectors_per_class: Sequence[int] = (),
    kernel_type: str = "LINEAR",
    kernel_params: Sequence[float] = (),
    prob_a: Sequence[float] = (),
    prob_b: Sequence[float] = (),
    post_transform: str = "NONE",
    dtypes: Sequence[str],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels (N,) and scores of (N, C), by votes between each two classes (SVMClassifier-1).

    libsvm's svm_predict_values: the vectors stand class by class, and between classes i < j row j - 1 of the (K - 1, S)
    coefficients belongs to i's vectors and row i to j's. The scores are the K(K - 1)/2 decisions, or probabilities where
    ``prob_a`` and ``prob_b`` are there. Without vectors: a row of coefficients a class, and a rho.
    """
    x = real(x, dtypes[1:])
    names, classes = torch.tensor(list(classlabels_ints), device=x.device), len(classlabels_ints)
    if not vectors_per_class:
        scores = torch.matmul(x, column(coefficients, x).reshape(classes, -1).T) + column(rho, x)
        return names[scores.argmax(-1)], transformed(scores, post_transform)
    count = sum(vectors_per_class)
    k = kernel(x, column(support_vectors, x).reshape(count, -1), kernel_type, kernel_params)
    weights = column(coefficients, x).reshape(-1, count)
    ends = [sum(vectors_per_class[: i + 1]) for i in range(classes)]
    spans = [slice(end - size, end) for end, size in zip(ends, vectors_per_class, strict=True)]
    votes = x.new_zeros(len(x), classes)
    decisions: list[torch.Tensor] = []
    pairs = x.new_zeros(len(x), classes, classes)
    for i in range(classes):
        for j in range(i + 1, classes):
            turn = len(decisions)
            own = torch.matmul(k[:, spans[i]], weights[j - 1, spans[i]])
            other = torch.matmul(k[:, spans[j]], weights[i, spans[j]])
            decisions.append(own + other + rho[turn])
            won = decisions[-1] > 0
            votes[:, i] += won
            votes[:, j] += ~won
            if prob_a:
                chance = 1 - (decisions[-1] * prob_a[turn] + prob_b[turn]).sigmoid()
                chance = chance.clamp(1e-7, 1 - 1e-7)
                pairs[:, i, j], pairs[:, j, i] = chance, 1 - chance
    labels = names[votes.argmax(-1)]
    if prob_a:
        return labels, transformed(_coupled(pairs), post_transform)
    scores = torch.stack(decisions, -1)
    if classes == 2:
        scores = torch.cat([-scores, scores], -1)
    return labels, transformed(scores, post_transform)


def _svm_classifier_samples() -> Iterator[Sample]:
    def model(name: str, features: int, sizes: Sequence[int], kind: str, **more: Any) -> dict[str, Any]:
        classes, count = len(sizes), sum(sizes)
        pairs = classes * (classes - 1) // 2
        fields: dict[str, Any] = {
            "kernel_type": kind,
            "kernel_params": KERNELS[kind] or [0.0, 0.0, 0.0],
            "coefficients": listed(f"{name}/coefficients", classes - 1, count),
            "support_vectors": listed(f"{name}/vectors", count, features),
            "vectors_per_class": list(sizes),
            "rho": listed(f"{name}/rho", pairs, low=-0.3, high=0.3),
            "classlabels_ints": [(7 * k + 3) % 11 - 2 for k in range(classes)],
        }
        if more.pop("probabilities", False):
            fields["prob_a"] = listed(f"{name}/a", pairs, low=-2.0, high=-0.5)
            fields["prob_b"] = listed(f"{name}/b", pairs, low=-0.2, high=0.2)
        return {**fields, **more}

    def sample(name: str, attributes: dict[str, Any], n: int = 7, features: int = 4, **fields: Any) -> Sample:
        return Sample(
            name, (tensor(n, features),), attributes, outputs=2, dtypes=fields.pop("dtypes", REAL), **fields
        )

    for kind in KERNELS:
        name = kind.lower()
        yield sample(name, model(name, 4, (3, 2, 4), kind))
        yield sample(f"{name}-probabilities", model(f"{name}-p", 4, (3, 2, 4), kind, probabilities=True))
    yield sample("two-classes", model("two", 4, (3, 4), "RBF"))
    yield sample("two-classes-probabilities", model("two-p", 4, (3, 4), "RBF", probabilities=True))
    four = model("four", 4, (1, 3, 2, 2), "RBF", probabilities=True)
    yield sample("four-classes-probabilities", four)
    whole = tensor(7, 4, draw=integers(-3, 3))
    yield Sample("whole", (whole,), model("whole", 4, (3, 2, 4), "RBF"), outputs=2, dtypes=NUMBERS)
    linear: dict[str, Any] = {
        "coefficients": listed("no-vectors", 3, 4),
        "rho": [0.25, 0.25, 0.25],  # whether all classes have the first or each its own is not said
        "classlabels_ints": [4, 0, 9],
        "kernel_params": [0.0, 0.0, 0.0],
    }
    yield sample("no-vectors", linear)
    plain = {k: v for k, v in model("plain", 4, (3, 2, 4), "LINEAR").items() if k != "kernel_params"}
    yield sample("no-kernel-params", plain, dtypes=ONE)
    for transform in TRANSFORMS[1:-1]:
        name = transform.lower().replace("_", "-")
        yield sample(name, {**linear, "post_transform": transform}, dtypes=ONE)
    yield from _of_zeros({"rho": [0.0, 0.0, 0.0], "kernel_params": [0.0, 0.0, 0.0]})
    bare = {k: v for k, v in model("pairs", 4, (3, 2, 4), "RBF").items() if not k.startswith("kernel")}
    chances = {"prob_a": [-1.5, -0.75, -1.0], "prob_b": [0.125, -0.0625, 0.0]}
    yield from pairwise(
        sample("pairs", bare, dtypes=ONE),
        {
            "kernel_type": (None, *list(KERNELS)[1:]),
            "post_transform": (None, *TRANSFORMS[1:]),
        },
        variations={"probabilities": (False, True)},
        more=lambda row: {
            "kernel_params": KERNELS[row["kernel_type"] or "LINEAR"] or [0.0, 0.0, 0.0],
            **(chances if row["probabilities"] else {}),
        },
        # A probit is of a probability.
        valid=lambda row: row["probabilities"] or row["post_transform"] != "PROBIT",
    )
    yield sample(
        "large",
        model("large", 33, (40, 25, 31), "RBF", kernel_params=[0.02, 0.0, 0.0]),
        65,
        33,
        dtypes=ONE,
        tags=LARGE,
    )
    sizes = ((tensor(1, 4),), (tensor(33, 4),))
    yield sample("dynamic", model("dynamic", 4, (3, 2, 4), "POLY"), dtypes=ONE, again=sizes, tags=DYNAMIC)
    yield sample("empty", model("empty", 4, (3, 2, 4), "POLY"), 0, dtypes=ONE, tags=EMPTY)
    # Whole numbers, so that ONNX's evaluator, which has strings and computes in float32, is exact.
    named: dict[str, Any] = {
        "kernel_type": "LINEAR",
        "kernel_params": [0.0, 0.0, 0.0],
        "coefficients": [1.0, -2.0, 1.0, 1.0, 0.0, -1.0],
        "support_vectors": [1.0, 2.0, -1.0, 1.0, 2.0, 2.0],
        "vectors_per_class": [1, 1, 1],
        "rho": [0.5, -0.25, 0.75],
        "classlabels_strings": ["low", "Γ", "high"],
    }
    yield Sample("strings", (tensor(9, 2, draw=integers(-4, 4)),), named, outputs=2, dtypes=ONE)
    yield sample(
        "bad-kernel", model("bad", 4, (3, 2), "RBF", kernel_type="LAPLACE"), dtypes=ONE, refuse="no such kernel"
    )


def _targets(sample: Sample) -> tuple[int, ...]:
    return (sample.attributes.get("targets", 1),)


def _classes(sample: Sample) -> tuple[int, ...]:
    """As many scores as classes: so it is with three, decisions or not, and with two by convention."""
    named = sample.attributes.get("classlabels_ints") or sample.attributes["classlabels_strings"]
    return (len(named),)


def _regressor_shapes() -> Iterator[Sample]:
    return by_row(_regressor_samples(), _targets)


def _svm_regressor_shapes() -> Iterator[Sample]:
    return by_row(_svm_regressor_samples(), _targets)


def _svm_classifier_shapes() -> Iterator[Sample]:
    return by_row(_svm_classifier_samples(), lambda sample: (), _classes)


OPERATORS = (
    Operator("LinearRegressor", linear_regressor, Composite(), _regressor_shapes, NUMBERS, domain=ML),
    Operator("LinearClassifier", linear_classifier, (EXACT, Composite()), _classifier_samples, NUMBERS, domain=ML),
    Operator("SVMRegressor", svm_regressor, Composite(), _svm_regressor_shapes, NUMBERS, domain=ML),
    Operator("SVMClassifier", svm_classifier, (EXACT, Composite()), _svm_classifier_shapes, NUMBERS, domain=ML),
)
