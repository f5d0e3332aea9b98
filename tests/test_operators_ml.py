"""ai.onnx.ml and the youngest operators of the default domain: their meanings against ONNX's evaluator, ONNX's vectors
and calculations by hand; maps on their way to a backend and back."""

from __future__ import annotations

import functools
import importlib
import io
import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from PIL import Image

from conformance.dtypes import is_known, lookup
from conformance.graphs import Content, build, domain_opset, dtypes_of, nodes_of
from conformance.interpreter import call, to_array, to_tensor
from conformance.judge import judge
from conformance.operators import catalogue
from conformance.operators.estimators import probit, transformed
from conformance.operators.trees import Forest
from conformance.oracle import asks_evaluator, expect_content
from conformance.plan import samples_of
from conformance.spec import Case, Operator, Sample, Source, Verdict

torch.set_num_threads(1)  # the tensors are small
NEWEST = 28
ML = "ai.onnx.ml"
YOUNG = ("CausalConvWithState", "CumProd", "LinearAttention", "SwiGLU", "TfIdfVectorizer", "ImageDecoder")
OPERATORS: Mapping[str, Operator] = {o.name: o for (d, n), o in catalogue().items() if d == ML or n in YOUNG}
DEFINED = [name for name, o in OPERATORS.items() if o.meaning is not None]

# Where ONNX's evaluator declines or is wrong, and what settles it. Everything else agrees.
_NAN_KEY = "it looks keys up in a dict, in which no NaN is another; the definition has NaN match NaN"
_NO_TRANSFORM = "it has no post_transform here"
_WINITZKI = "it has Winitzki's approximation of three digits; see the test of the quantile"
_TRANSPOSED = "it has a dot product where libsvm has the products; see the test of the coupling"
_FLOAT32_INTS = "it computes in the integers' type"
_TRACKS = "it takes nodes_missing_value_tracks_true for granted, which may be left out"
_NEQ = "it compares NaN, which is unequal to all, where the definition names the branch of NaN"
_MEMBERS = "it ends a set at 0 and hands sets out in the order of a walk; the definition's is that of the nodes"
_EMPTY = "it has no empty batch"
_DOUBLES = "it reads no attributes that are tensors"
_MATRIX = "it has matrices only"
EXPLAINED: Mapping[str, str] = {
    "TfIdfVectorizer/columns-reordered-weights": "it gives column i the weight of the i-th n-gram",
    "FeatureVectorizer/vectors": "it takes a vector for a column; by the definition it is a row",
    "FeatureVectorizer/vector-and-row": "it takes a vector for a column; by the definition it is a row",
    "Imputer/rank-3": _MATRIX,
    "Normalizer/max-empty": _EMPTY,
    "Normalizer/l1-empty": _EMPTY,
    "Normalizer/l2-empty": _EMPTY,
    "Normalizer/l2-beyond-int32": "it takes no root of what is beyond int64",
    "Normalizer/vector": _MATRIX,
    "OneHotEncoder/fractions": "it casts no floats to integers",
    "OneHotEncoder/rank-3": _MATRIX,
    "LabelEncoder/floats-to-int64s": _NAN_KEY,
    "LabelEncoder/floats-to-floats": _NAN_KEY,
    "LabelEncoder/tensors-nan": _NAN_KEY,
    "LinearRegressor/beyond-int32": _FLOAT32_INTS,
    "SVMRegressor/beyond-int32": _FLOAT32_INTS,
    "SVMRegressor/whole-poly": _FLOAT32_INTS,
    "SVMClassifier/whole-poly": _FLOAT32_INTS,
    "SVMClassifier/empty": _EMPTY,
    "TreeEnsemble/missing-neq-float32": _NEQ,
    "TreeEnsemble/missing-tracked-neq-float32": _NEQ,
    "TreeEnsemble/member-float32": _MEMBERS,
    "TreeEnsemble/member-float64": _MEMBERS,
    "TreeEnsemble/member-missing-tracked-float32": _MEMBERS,
    "TreeEnsemble/member-deep-float32": _MEMBERS,
    "TreeEnsemble/member-deep-float64": _MEMBERS,
    "TreeEnsemble/member-and-leq-float32": _MEMBERS,
    "TreeEnsemble/empty-float32": _EMPTY,
    "TreeEnsembleRegressor/missing-leq": _TRACKS,
    "TreeEnsembleRegressor/missing-gte": _TRACKS,
    "TreeEnsembleRegressor/missing-eq": _TRACKS,
    "TreeEnsembleRegressor/missing-neq": _TRACKS,
    "TreeEnsembleClassifier/missing-leq": _TRACKS,
    "TreeEnsembleClassifier/missing-gte": _TRACKS,
    "TreeEnsembleClassifier/missing-eq": _TRACKS,
    "TreeEnsembleClassifier/missing-neq": _TRACKS,
}
_NO_INTERCEPTS = "it makes NaN of intercepts that are left out"


def _is_probit(attributes: Mapping[str, Any]) -> bool:
    return attributes.get("post_transform") == "PROBIT"


# The same by attributes, where many samples set them.
RULES: Sequence[tuple[str, Callable[[Mapping[str, Any]], bool], str]] = (
    (
        "TfIdfVectorizer",
        lambda a: a["mode"] != "TF" and "weights" not in a and "pool_int64s" in a,
        "it wants weights, which may be left out",
    ),
    ("LinearRegressor", lambda a: a.get("post_transform", "NONE") != "NONE", _NO_TRANSFORM),
    ("LinearRegressor", lambda a: "intercepts" not in a, _NO_INTERCEPTS),
    ("LinearClassifier", _is_probit, _WINITZKI),
    ("LinearClassifier", lambda a: "intercepts" not in a, _NO_INTERCEPTS),
    ("SVMRegressor", lambda a: "post_transform" in a, _NO_TRANSFORM),
    ("SVMClassifier", lambda a: "prob_a" in a and len(a["vectors_per_class"]) > 2, _TRANSPOSED),
    ("TreeEnsemble", lambda a: bool(a.get("post_transform")), _NO_TRANSFORM),
    ("TreeEnsembleRegressor", lambda a: "post_transform" in a, _NO_TRANSFORM),
    ("TreeEnsembleRegressor", lambda a: "nodes_values_as_tensor" in a, _DOUBLES),
    ("TreeEnsembleClassifier", lambda a: "nodes_values_as_tensor" in a, _DOUBLES),
    ("TreeEnsembleClassifier", _is_probit, _WINITZKI),
)


def _explained(name: str, sample: Sample) -> bool:
    by_rule = any(name == operator and holds(sample.attributes) for operator, holds, _ in RULES)
    return by_rule or f"{name}/{sample.name}" in EXPLAINED


# What it computes in float32 whatever it is given.
SINGLE = {
    "LinearAttention": 3e-5,
    "TreeEnsembleClassifier": 1e-6,
    "CausalConvWithState": 1e-6,
    "TfIdfVectorizer": 1e-6,
}
SINGLE |= {"LinearClassifier": 1e-6}


def _cases(operator: Operator) -> Iterator[tuple[Sample, str, int]]:
    """Every sample that is defined on tensors, in one dtype: float64 where it has it, else the first."""
    for sample in samples_of(operator):
        opset = sample.opset or domain_opset(operator.domain, NEWEST)
        dtypes = [d for d in dtypes_of(operator, sample, opset) if d != "string"]
        if not sample.refuse and sample.model is None and sample.reference is None and dtypes:
            yield sample, "float64" if "float64" in dtypes else dtypes[0], opset


def _content(operator: Operator, sample: Sample, dtype: str, opset: int) -> Content:
    return build(operator, sample, dtype, opset, f"0/{operator.name}/{sample.name}/{dtype}")


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if lookup_kind(array) == "float" else array


def lookup_kind(array: np.ndarray) -> str:
    from conformance.dtypes import dtype_of

    return lookup(dtype_of(array)).kind


def _mine(content: Content, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    (node,) = nodes_of(content.model)
    given = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer} | dict(feed)
    tensors = [to_tensor(given[n], widen=True) if n else None for n in node.inputs]
    results = call(node, tensors, widen=True)
    names = ["float64" if lookup(d).is_float else d for d in node.dtypes]
    return [to_array(t, d) for t, d in zip(results, names, strict=True)]


def _theirs(content: Content, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    model = onnx.ModelProto.FromString(content.model.SerializeToString())
    for tensor in model.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(_wide(onnx.numpy_helper.to_array(tensor)), tensor.name))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [np.asarray(o) for o in ReferenceEvaluator(model).run(None, {k: _wide(v) for k, v in feed.items()})]


def _unlike(name: str, mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> str:
    close = SINGLE.get(name, 1e-12)
    for a, b in zip(mine, theirs, strict=True):
        if a.shape != b.shape:
            return f"{a.shape} where the evaluator has {b.shape}"
        size = float(np.abs(b[np.isfinite(b)]).max(initial=0.0)) if b.dtype.kind == "f" else 0.0
        with np.errstate(all="ignore"):
            same = np.isclose(a, b, rtol=close, atol=close * size, equal_nan=True)
        if not same.all():
            return f"{a[~same][0]} where the evaluator has {b[~same][0]}"
    return ""


@pytest.mark.parametrize("name", DEFINED)
def test_a_meaning_is_that_of_the_evaluator(name: str) -> None:
    problems, stale, compared = [], [], 0
    for sample, dtype, opset in _cases(OPERATORS[name]):
        content = _content(OPERATORS[name], sample, dtype, opset)
        if asks_evaluator(OPERATORS[name], content, sample):
            continue
        found = ""
        for feed in content.feeds:
            mine = _mine(content, feed)
            compared += 1
            try:
                found = found or _unlike(name, mine, _theirs(content, feed))
            except Exception as error:  # noqa: BLE001  (whatever the evaluator raises)
                found = f"{type(error).__name__}: {error}"
        explained = _explained(name, sample)
        if found and not explained:
            problems.append(f"{sample.name}/{dtype}: {found}")
        if explained and not found:
            stale.append(sample.name)
    assert not problems
    assert not stale, "these agree, and need no explanation"
    assert compared


def test_every_explanation_is_of_a_sample() -> None:
    names = {f"{name}/{sample.name}" for name in DEFINED for sample in samples_of(OPERATORS[name])}
    assert not set(EXPLAINED) - names


@pytest.mark.parametrize("name", OPERATORS)
def test_samples_are_valid_models_and_have_a_reference(name: str) -> None:
    operator = OPERATORS[name]
    for sample in samples_of(operator):
        opset = sample.opset or domain_opset(operator.domain, NEWEST)
        for dtype in dtypes_of(operator, sample, opset)[:1]:
            content = _content(operator, sample, dtype, opset)
            if sample.refuse:
                continue
            onnx.checker.check_model(content.model, full_check=True)
            if asks_evaluator(operator, content, sample):
                case = Case("", name, operator.domain, opset, dtype, Source.OPERATOR, operator.family, "")
                assert len(expect_content(case, content, sample)) == len(content.feeds)


@pytest.mark.parametrize("name", DEFINED)
def test_an_invalid_model_is_refused_by_the_checker_or_by_the_definition(name: str) -> None:
    operator = OPERATORS[name]
    for sample in samples_of(operator):
        opset = sample.opset or domain_opset(operator.domain, NEWEST)
        if sample.refuse:
            content = _content(operator, sample, dtypes_of(operator, sample, opset)[0], opset)
            with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a refusal
                _check_and_compute(content)


def _check_and_compute(content: Content) -> None:
    onnx.checker.check_model(content.model, full_check=True)
    for feed in content.feeds:
        _mine(content, feed)


# ONNX's vectors.

MODULES = ("causal_conv_with_state", "cumprod", "linear_attention", "swiglu", "tfidfvectorizer", "scatter")
MODULES += tuple(
    f"ai_onnx_ml.{m}" for m in ("array_feature_extractor", "binarizer", "label_encoder", "tree_ensemble")
)


@functools.cache
def _vectors() -> list[Any]:
    package = importlib.import_module("onnx.backend.test.case.node")
    names = {*OPERATORS, "Scatter"}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for module in MODULES:
            importlib.import_module(f"{package.__name__}.{module}")
    cases = [c for c in package._NodeTestCases if len(c.model.graph.node) == 1]
    return [c for c in cases if c.model.graph.node[0].op_type in names]


def test_meanings_reproduce_the_published_vectors() -> None:
    problems, seen = [], set()
    for case in _vectors():
        (node,) = nodes_of(case.model)
        for inputs, outputs in case.data_sets:
            arrays, wanted = (
                [onnx.numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else np.asarray(a) for a in side]
                for side in (inputs, outputs)
            )
            if not all(is_known(a) and a.dtype.kind not in "OUST" for a in (*arrays, *wanted)):
                continue
            given = dict(zip([i.name for i in case.model.graph.input], arrays, strict=True))
            seen.add(node.operator)
            tensors = [to_tensor(given[n], widen=True) if n else None for n in node.inputs]
            for got, want in zip(call(node, tensors, widen=True), wanted, strict=False):
                a = to_array(got, "float64" if lookup_kind(want) == "float" else node.dtypes[0])
                close = 4e-3 if want.dtype.itemsize == 2 else 1e-5
                if a.shape != want.shape or not np.allclose(
                    a, _wide(want), rtol=close, atol=close, equal_nan=True
                ):
                    problems.append(f"{case.name}: {a} where {want} is expected")
    assert not problems
    assert seen == {
        "CausalConvWithState",
        "CumProd",
        "LinearAttention",
        "SwiGLU",
        "TfIdfVectorizer",
        "Scatter",
    } | {
        "ArrayFeatureExtractor",
        "Binarizer",
        "TreeEnsemble",
    }


# By hand: trees.


def _walk(attributes: Mapping[str, Any], tree: int, row: np.ndarray) -> tuple[int, int]:
    """The leaf's name, by versions 1 to 4."""
    names = list(zip(attributes["nodes_treeids"], attributes["nodes_nodeids"], strict=True))
    at = next(i for i, (t, _) in enumerate(names) if t == tree)
    while attributes["nodes_modes"][at] != "LEAF":
        value, split = float(row[attributes["nodes_featureids"][at]]), attributes["nodes_values"][at]
        if math.isnan(value):
            yes = bool(attributes.get("nodes_missing_value_tracks_true", [0] * len(names))[at])
        else:
            yes = {
                "BRANCH_LEQ": value <= split,
                "BRANCH_LT": value < split,
                "BRANCH_GTE": value >= split,
                "BRANCH_GT": value > split,
                "BRANCH_EQ": value == split,
                "BRANCH_NEQ": value != split,
            }[attributes["nodes_modes"][at]]
        to = attributes["nodes_truenodeids" if yes else "nodes_falsenodeids"][at]
        at = names.index((tree, to))
    return names[at]


def _summed(attributes: Mapping[str, Any], x: np.ndarray, kind: str, count: int) -> np.ndarray:
    """Votes row by row, tree by tree, leaf by leaf."""
    function = attributes.get("aggregate_function", "SUM")
    trees = sorted(set(attributes["nodes_treeids"]))
    y = np.zeros((len(x), count))
    for i, row in enumerate(x):
        votes: list[list[float]] = [[] for _ in range(count)]
        for tree in trees:
            leaf = _walk(attributes, tree, row)
            for t, n, c, w in zip(
                *(attributes[f"{kind}_{k}"] for k in ("treeids", "nodeids", "ids", "weights")), strict=True
            ):
                if (t, n) == leaf:
                    votes[c].append(w)
        for c, given in enumerate(votes):
            y[i, c] = {"SUM": sum, "MIN": min, "MAX": max, "AVERAGE": lambda v: sum(v) / len(trees)}[function](
                given
            )
    return y + np.array(attributes.get("base_values", [0.0]))


@pytest.mark.parametrize("name", ["TreeEnsembleRegressor", "TreeEnsembleClassifier"])
def test_older_trees_have_the_values_of_a_walk_by_hand(name: str) -> None:
    kind = "target" if name.endswith("Regressor") else "class"
    compared = 0
    for sample, dtype, opset in _cases(OPERATORS[name]):
        content = _content(OPERATORS[name], sample, dtype, opset)
        attributes = sample.attributes
        if "nodes_values" not in attributes or "large" in sample.tags or "post_transform" in attributes:
            continue
        if name.endswith("Classifier") and ("classlabels_int64s" not in attributes or "one-score" in sample.name):
            continue
        labels = attributes.get("classlabels_int64s", [])
        for feed in content.feeds:
            mine = _mine(content, feed)
            wanted = _summed(
                attributes, feed["X"].astype(np.float64), kind, len(labels) or attributes["n_targets"]
            )
            np.testing.assert_allclose(mine[-1], wanted, rtol=1e-12, atol=1e-12)
            if labels:
                assert mine[0].tolist() == [labels[int(row.argmax())] for row in wanted]
            compared += 1
    assert compared > 20


def test_one_sum_for_two_classes() -> None:
    operator = OPERATORS["TreeEnsembleClassifier"]
    for name in ("one-score-shares", "one-score-logistic"):
        (sample,) = [s for s in samples_of(operator) if s.name == name]
        content = _content(operator, sample, "float32", 3)
        (feed,) = content.feeds
        s = _summed(sample.attributes, feed["X"], "class", 1)[:, 0]
        labels, scores = _mine(content, feed)
        if name.endswith("shares"):
            expected = np.stack([1 - s, s], -1)
        else:
            expected = 1 / (1 + np.exp(-np.stack([-s, s], -1)))
        np.testing.assert_allclose(scores, expected, rtol=1e-12)
        assert labels.tolist() == [5 if a > b else -3 for a, b in expected]


def _sets(attributes: Mapping[str, Any]) -> dict[int, set[float]]:
    if "membership_values" not in attributes:
        return {}
    text = " ".join(map(str, onnx.numpy_helper.to_array(attributes["membership_values"]).tolist()))
    groups = [{float(v) for v in part.split()} for part in text.split("nan")]
    modes = onnx.numpy_helper.to_array(attributes["nodes_modes"]).tolist()
    return dict(zip([i for i, mode in enumerate(modes) if mode == 6], groups, strict=False))


def _leaf(attributes: Mapping[str, Any], node: int, row: np.ndarray) -> int:
    """The leaf's position, by version 5, recursively."""
    value = float(row[attributes["nodes_featureids"][node]])
    split = float(onnx.numpy_helper.to_array(attributes["nodes_splits"])[node])
    mode = int(onnx.numpy_helper.to_array(attributes["nodes_modes"])[node])
    if math.isnan(value):
        yes = bool(attributes.get("nodes_missing_value_tracks_true", [0] * (node + 1))[node])
    elif mode == 6:
        yes = value in _sets(attributes)[node]
    else:
        yes = (value <= split, value < split, value >= split, value > split, value == split, value != split)[mode]
    side = "true" if yes else "false"
    to = attributes[f"nodes_{side}nodeids"][node]
    return int(to) if attributes[f"nodes_{side}leafs"][node] else _leaf(attributes, to, row)


def test_trees_of_version_5_have_the_values_of_a_walk_by_hand() -> None:
    operator, compared = OPERATORS["TreeEnsemble"], 0
    for sample, dtype, opset in _cases(operator):
        if "large" in sample.tags:
            continue
        content, attributes = _content(operator, sample, dtype, opset), sample.attributes
        weights = onnx.numpy_helper.to_array(attributes["leaf_weights"]).astype(np.float64)
        for feed in content.feeds:
            y = np.zeros((len(feed["X"]), attributes["n_targets"]))
            for i, row in enumerate(feed["X"].astype(np.float64)):
                votes: list[list[float]] = [[] for _ in y[i]]
                for root in attributes["tree_roots"]:
                    leaf = _leaf(attributes, root, row)
                    votes[attributes["leaf_targetids"][leaf]].append(weights[leaf])
                count = len(attributes["tree_roots"])
                function = (lambda v, n=count: sum(v) / n, sum, min, max)[attributes.get("aggregate_function", 1)]
                y[i] = [function(v) for v in votes]
            transform = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")[
                attributes.get("post_transform", 0)
            ]
            np.testing.assert_allclose(_mine(content, feed)[0], _transformed(y, transform), rtol=1e-12, atol=1e-12)
            compared += 1
    assert compared > 30


def _transformed(y: np.ndarray, transform: str) -> np.ndarray:
    """Scalar by scalar."""
    if transform == "LOGISTIC":
        return np.array([[1 / (1 + math.exp(-v)) for v in row] for row in y])
    if transform == "PROBIT":
        return np.array([[statistics.NormalDist().inv_cdf(v) for v in row] for row in y])
    if transform.startswith("SOFTMAX"):
        rows = []
        for row in y:
            e = [0.0 if transform.endswith("ZERO") and v == 0 else math.exp(v - max(row)) for v in row]
            rows.append([v / sum(e) for v in e])
        return np.array(rows)
    return y


def test_the_quantile_is_that_of_the_normal_distribution() -> None:
    p = np.concatenate([np.linspace(0.001, 0.999, 999), [1e-6, 1 - 1e-6]])
    wanted = [statistics.NormalDist().inv_cdf(v) for v in p]
    np.testing.assert_allclose(probit(torch.from_numpy(p)).numpy(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("transform", ["SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"])
def test_scores_are_transformed_as_by_hand(transform: str) -> None:
    y = np.array([[0.25, 0.75, 0.5], [0.1, 0.9, 0.3]])
    if transform == "SOFTMAX_ZERO":
        y[0, 1] = 0.0
    np.testing.assert_allclose(
        transformed(torch.from_numpy(y), transform).numpy(), _transformed(y, transform), rtol=1e-12
    )


# By hand: support vectors.


def _kernel(a: np.ndarray, b: np.ndarray, attributes: Mapping[str, Any]) -> float:
    gamma, coef0, degree = attributes.get("kernel_params", [0.0, 0.0, 0.0])
    dot = math.fsum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    return {
        "LINEAR": lambda: dot,
        "POLY": lambda: (gamma * dot + coef0) ** int(degree),
        "RBF": lambda: math.exp(
            -gamma * math.fsum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True))
        ),
        "SIGMOID": lambda: math.tanh(gamma * dot + coef0),
    }[attributes.get("kernel_type", "LINEAR")]()


def _coupling(r: np.ndarray) -> np.ndarray:
    """libsvm's multiclass_probability, statement by statement."""
    k = len(r)
    q, p = np.zeros((k, k)), np.full(k, 1 / k)
    for t in range(k):
        for j in range(t):
            q[t, t] += r[j, t] * r[j, t]
            q[t, j] = q[j, t]
        for j in range(t + 1, k):
            q[t, t] += r[j, t] * r[j, t]
            q[t, j] = -r[j, t] * r[t, j]
    for _ in range(max(100, k)):
        qp = [sum(q[t, j] * p[j] for j in range(k)) for t in range(k)]
        pqp = sum(p[t] * qp[t] for t in range(k))
        if max(abs(v - pqp) for v in qp) < 0.005 / k:
            break
        for t in range(k):
            diff = (-qp[t] + pqp) / q[t, t]
            p[t] += diff
            pqp = (pqp + diff * (diff * q[t, t] + 2 * qp[t])) / (1 + diff) / (1 + diff)
            for j in range(k):
                qp[j] = (qp[j] + diff * q[t, j]) / (1 + diff)
                p[j] /= 1 + diff
    return p


def test_support_vector_classes_are_those_of_libsvm_by_hand() -> None:
    operator, compared = OPERATORS["SVMClassifier"], 0
    for sample, dtype, opset in _cases(operator):
        attributes = sample.attributes
        sizes = attributes.get("vectors_per_class")
        if not sizes or "classlabels_ints" not in attributes or "large" in sample.tags:
            continue
        content = _content(operator, sample, dtype, opset)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        vectors = np.reshape(attributes["support_vectors"], (starts[-1], -1))
        weights = np.reshape(attributes["coefficients"], (-1, starts[-1]))
        for feed in content.feeds:
            labels, scores = _mine(content, feed)
            for n, row in enumerate(feed["X"].astype(np.float64)):
                kernels = [_kernel(row, v, attributes) for v in vectors]
                votes, decisions, r = [0] * len(sizes), [], np.zeros((len(sizes), len(sizes)))
                for i in range(len(sizes)):
                    for j in range(i + 1, len(sizes)):
                        total = attributes["rho"][len(decisions)]
                        total += sum(weights[j - 1, v] * kernels[v] for v in range(starts[i], starts[i + 1]))
                        total += sum(weights[i, v] * kernels[v] for v in range(starts[j], starts[j + 1]))
                        votes[i if total > 0 else j] += 1
                        if "prob_a" in attributes:
                            a, b = attributes["prob_a"][len(decisions)], attributes["prob_b"][len(decisions)]
                            chance = 1 / (1 + math.exp(total * a + b))
                            r[i, j] = min(max(chance, 1e-7), 1 - 1e-7)
                            r[j, i] = 1 - r[i, j]
                        decisions.append(total)
                assert labels[n] == attributes["classlabels_ints"][votes.index(max(votes))]
                wanted = [-decisions[0], decisions[0]] if len(sizes) == 2 else decisions
                expected = _coupling(r) if "prob_a" in attributes else np.array(wanted)
                expected = _transformed(expected[None], attributes.get("post_transform", "NONE"))[0]
                np.testing.assert_allclose(scores[n], expected, rtol=1e-10, atol=1e-12)
                compared += 1
    assert compared > 50


def test_support_vector_regressions_are_sums_by_hand() -> None:
    operator, compared = OPERATORS["SVMRegressor"], 0
    for sample, dtype, opset in _cases(operator):
        attributes = sample.attributes
        if "large" in sample.tags:
            continue
        content = _content(operator, sample, dtype, opset)
        for feed in content.feeds:
            for n, row in enumerate(feed["X"].astype(np.float64)):
                if attributes.get("n_supports"):
                    vectors = np.reshape(attributes["support_vectors"], (attributes["n_supports"], -1))
                    terms = [
                        c * _kernel(row, v, attributes)
                        for c, v in zip(attributes["coefficients"], vectors, strict=True)
                    ]
                else:
                    terms = [c * v for c, v in zip(attributes["coefficients"], row.tolist(), strict=True)]
                y = math.fsum(terms) + attributes["rho"][0]
                y = (1.0 if y > 0 else -1.0) if attributes.get("one_class") else y
                (y,) = _transformed(np.array([[y]]), attributes.get("post_transform", "NONE"))[0]
                assert _mine(content, feed)[0][n, 0] == pytest.approx(y, rel=1e-10, abs=1e-12, nan_ok=True)
                compared += 1
    assert compared > 50


# By hand: n-grams.


@pytest.mark.parametrize("skips", [0, 1, 5])
def test_n_grams_are_counted_as_by_hand(skips: int) -> None:
    operator = OPERATORS["TfIdfVectorizer"]
    (sample,) = [s for s in samples_of(operator) if s.name == "columns-reordered-weights"]
    attributes = {**sample.attributes, "max_skip_count": skips, "mode": "TFIDF"}
    grams = [[2], [3], [5], [4], [5, 6], [7, 8], [6, 7]]
    assert [item for gram in grams for item in gram] == attributes["pool_int64s"]
    items = [1, 5, 6, 7, 5, 8, 6, 2, 7, 7, 8]
    weights, columns = attributes["weights"], attributes["ngram_indexes"]
    wanted = [0.0] * 7
    for i, gram in enumerate(grams):
        if len(gram) == 1:
            count = items.count(gram[0])
        else:
            pairs = [(a, b) for s in range(1, skips + 2) for a, b in zip(items, items[s:], strict=False)]
            count = pairs.count((gram[0], gram[1]))
        wanted[columns[i]] = count * weights[i]
    assert operator.meaning is not None
    assert operator.meaning(torch.tensor(items), **attributes).tolist() == pytest.approx(wanted)


# Images.


def test_pictures_are_what_another_decoder_makes_of_the_files() -> None:
    operator = OPERATORS["ImageDecoder"]
    for sample in samples_of(operator):
        if sample.refuse:
            continue
        content = _content(operator, sample, "uint8", NEWEST)
        case = Case("", operator.name, "", NEWEST, "uint8", Source.OPERATOR, operator.family, "")
        (expected,) = expect_content(case, content, sample)[0]
        picture = Image.open(io.BytesIO(content.feeds[0]["encoded_stream"].tobytes()))
        wanted = sample.attributes.get("pixel_format", "RGB")
        pixels = (
            np.array(picture.convert("L"))[..., None]
            if wanted == "Grayscale"
            else np.array(picture.convert("RGB"))
        )
        assert np.array_equal(expected.value, pixels[..., ::-1] if wanted == "BGR" else pixels), sample.name


# Maps.


def _expectation(name: str, sample: str, dtype: str = "float32") -> tuple[Content, Any]:
    operator = OPERATORS[name]
    (found,) = [s for s in samples_of(operator) if s.name == sample]
    content = _content(operator, found, dtype, 5)
    case = Case("", name, ML, 5, dtype, Source.OPERATOR, operator.family, "")
    return content, expect_content(case, content, found)[0]


def test_a_sequence_of_maps_is_judged_by_keys_and_values() -> None:
    content, expected = _expectation("ZipMap", "int64s")
    rows = content.feeds[0]["x"]
    right = [{3: float(a), -1: float(b), 10**12: float(c)} for a, b, c in rows]
    assert judge(expected, [right], [], {}).verdict is Verdict.PASS
    shuffled = [dict(reversed(m.items())) for m in right]
    assert judge(expected, [shuffled], [], {}).verdict is Verdict.PASS
    wrong_value = [{**m, 3: m[-1] + 1} for m in right]
    swapped = [{3: m[-1], -1: m[3], 10**12: m[10**12]} for m in right]
    other_key = [{(4 if k == 3 else k): v for k, v in m.items()} for m in right]
    ragged = [*right[:-1], {3: 1.0}]
    texts = [{str(k): v for k, v in m.items()} for m in right]
    for bad in (wrong_value, swapped, other_key, ragged, texts, right[:-1], [], right[0], [None], "maps"):
        assert judge(expected, [bad], [], {}).verdict is Verdict.WRONG


def test_a_map_is_fed_as_a_dict() -> None:
    content, (expected,) = _expectation("DictVectorizer", "strings-float32")
    assert content.feeds[0] == {"x": {"c": np.float32(1001.37), "a": np.float32(-0.12345)}}
    assert expected.value.tolist() == [np.float32(-0.12345), np.float32(1001.37), 0.0, 0.0]
    content, (expected,) = _expectation("CastMap", "floats")
    assert content.feeds[0] == {"x": {7: 0.5, 0: -1.25, -3: 3.0, 2: 1e6}}
    assert expected.value.tolist() == [[3.0, -1.25, 1e6, 0.5]]


def test_a_tree_that_goes_round_in_a_circle_is_an_error_and_no_endless_walk() -> None:
    both = [1, 0], [0, 1]
    circle = Forest([0], [0, 0], [0, 0], [1.0, 1.0], both, [0, 0], ([], [], []))
    with pytest.raises(ValueError, match="circle"):
        circle.leaves(torch.tensor([[0.5]]))
