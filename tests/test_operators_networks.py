"""The operators that networks are made of: meanings against ONNX's evaluator and ONNX's vectors, samples against
the schemas. Where the evaluator is wrong, test_operators_networks_by_hand says what is right."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from conformance.dtypes import FLOATS, lookup
from conformance.graphs import Content, Node, build, dtypes_of, nodes_of
from conformance.interpreter import call, to_array, to_tensor
from conformance.judge import judge
from conformance.operators import catalogue
from conformance.oracle import expect
from conformance.spec import Operator, Sample, Verdict

FAMILIES = (
    "linear",
    "convolution",
    "pooling",
    "regions",
    "normalisation",
    "resampling",
    "grids",
    "attention",
    "recurrent",
    "losses",
    "signal",
)
OPERATORS = {o.name: o for o in catalogue().values() if o.family in FAMILIES}
OPSET = 21


class Explained(NamedTuple):
    """Why ONNX's evaluator does not say what the definition does, and how far off it may be, relative to the
    largest value (None: it is wrong, or has no answer, and must be seen to be)."""

    reason: str
    within: float | None = None


_MISSING = Explained("the evaluator has no such operator")
_COORDINATES = Explained("the evaluator's coordinates are float32", 1e-5)
_BODY = Explained("constants or statistics of the function body are float32", 1e-5)
_ACTIVATIONS = Explained("the evaluator knows no activations but the default ones")
_LENGTHS = Explained("the evaluator ignores sequence_lens")
_CLIP = Explained("the evaluator ignores clip")
_LP_CEIL = Explained("the evaluator multiplies a mean by the whole kernel's size where a window is cut off")
_LRN = Explained("the evaluator iterates over the batch where it means the channels, and takes 4-D input only")
_NO_ABS = Explained("the evaluator's 1-norm takes no absolute values")
_GROUPS = Explained("the evaluator splits a grouped transpose's weights along the wrong axis")
_OUTPUT_SHAPE = Explained("the evaluator takes an output shape without auto_pad for one without padding")
_MIXED = Explained("the evaluator adds a float32 epsilon to float64")
_STASH = Explained("the evaluator stashes in float32 only")
_CUBIC = Explained("the evaluator's cubic coefficient makes its weights float32", 1e-5)
_3D = Explained("the evaluator's indices of three spatial axes are those of another element")
_ZERO_TIMES = Explained("the evaluator multiplies the elements that it does not take by zero, and adds them")
_GLOBAL = Explained("the evaluator takes the axes of a 4-D input for all ranks")
DISAGREEMENTS: Mapping[str, Explained] = {
    "AffineGrid": Explained("the evaluator's grid is float32", 1e-6),
    "Attention/softmax-float16": Explained("the softmax is in float16 as asked", 5e-3),
    "Attention/softmax-bfloat16": Explained("the softmax is in bfloat16 as asked", 4e-2),
    "AveragePool/dilated-ceil-mode": Explained("the evaluator shifts the windows by half of what ceil_mode adds"),
    "AveragePool/special": Explained("the evaluator leaves NaN out of its means"),
    "BatchNormalization/opset-9": Explained("the evaluator uses the batch's own statistics before opset 14"),
    "BlackmanWindow": _BODY,
    "Col2Im/none-of-a-batch": Explained("the evaluator returns nothing where there is nothing"),
    "ConvTranspose/empty-batch": Explained("the evaluator cannot concatenate nothing"),
    "DeformConv": _COORDINATES,
    "GlobalAveragePool/empty-batch": Explained("the evaluator divides by the size of the batch"),
    "GlobalLpPool": _MISSING,
    "GlobalMaxPool/one-axis": _GLOBAL,
    "GlobalMaxPool/three-axes": _GLOBAL,
    "GridSample": _COORDINATES,
    "GridSample/empty-batch": Explained("the evaluator returns no tuple"),
    "GridSample/opset-16-bicubic": Explained("the evaluator does not know opset 16's names"),
    "GridSample/opset-16-bilinear": Explained("the evaluator does not know opset 16's names"),
    "GroupNormalization": _BODY,
    "GroupNormalization/large-mean": Explained("the function body cancels in float32", 1e-3),
    "GroupNormalization/stash-float16": Explained("the statistics are in float16 as asked", 5e-3),
    "GroupNormalization/stash-float64": Explained("the statistics are in float64 as asked", 1e-12),
    "HammingWindow": _BODY,
    "HannWindow": _BODY,
    "LRN": _LRN,
    "LRN/defaults": Explained("with so small a factor the wrong channels hardly show", 0.01),
    "LRN/channels-subnormal": Explained("squares that are zero, of whichever channels", 1e-12),
    "LRN/empty-batch": Explained("there is nothing to be wrong about", 1e-12),
    "LpNormalization/axis-1-p-1": _NO_ABS,
    "LpNormalization/p-1": _NO_ABS,
    "LpPool/p-2-nan": Explained("the evaluator leaves NaN out of its sums"),
    "LpNormalization/p-1-subnormal": _NO_ABS,
    "LpPool/ceil-mode": _LP_CEIL,
    "LpPool/ceil-mode-1d": _LP_CEIL,
    "LpPool/ceil-mode-asymmetric": _LP_CEIL,
    "LpPool/dilated-ceil-mode": _LP_CEIL,
    "MaxPool/indices-3d": _3D,
    "MaxPool/indices-3d-column-major": _3D,
    "MaxRoiPool": _MISSING,
    "MeanVarianceNormalization": _MIXED,
    "NegativeLogLikelihoodLoss/none-of-a-batch": Explained("the evaluator cannot reshape nothing"),
    "NegativeLogLikelihoodLoss/none-of-a-batch-sum": Explained("the evaluator cannot reshape nothing"),
    "Resize": _CUBIC,
    "Resize/pairs-linear-align-corners-exclude-outside-antialias-scaled": Explained(
        "the evaluator takes scale times length for the output's length"
    ),
    "Resize/extremes-int64": Explained("the evaluator takes integers of 64 bits through doubles"),
    "Resize/nearest-infinity": _ZERO_TIMES,
    "Resize/nearest-nan": _ZERO_TIMES,
    "Resize/axes-negative": Explained("the evaluator takes no negative axes"),
    "Resize/linear-half-pixel-symmetric-fractional": Explained(
        "the evaluator's weights and taps part at a rounding"
    ),
    "Resize/cubic-half-pixel-symmetric-fractional": Explained("its weights and taps part at a rounding"),
    "RoiAlign/opset-11": Explained("the evaluator shifts by half a pixel before opset 16 as well"),
    "Upsample": Explained("the evaluator takes nearest and whole scales only"),
    **{
        f"Upsample/extremes-{dtype}": Explained("whole scales", 0.0)
        for dtype in ("int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "Upsample/identity": Explained("nothing to interpolate", 0.0),
    "Upsample/large": Explained("whole scales", 0.0),
    "Upsample/nearest": Explained("whole scales", 0.0),
    "GRU/infinity": _ACTIVATIONS,
    "RNN/infinity": _ACTIVATIONS,
    "RNN/subnormals": _ACTIVATIONS,
    "Upsample/none-of-a-batch": Explained("whole scales", 0.0),
    "Upsample/several-lengths": Explained("whole scales", 0.0),
}


def _sets(*names: str) -> Callable[[Sample], bool]:
    return lambda sample: any(name in sample.attributes for name in names)


def _same(sample: Sample) -> bool:
    return sample.attributes.get("auto_pad", "").startswith("SAME")


def _last(*usual: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.attributes.get("activations", usual)[-1] not in usual


def _shows_the_product(sample: Sample) -> bool:
    fourth = sample.outputs == 4 or (isinstance(sample.outputs, tuple) and len(sample.outputs) == 4)
    return fourth and "softcap" in sample.attributes and not sample.attributes.get("qk_matmul_output_mode")


# The same by what a sample sets, where many do: operators, samples, reason. The first one that fits counts.
RULES: Sequence[tuple[Sequence[str], Callable[[Sample], bool], Explained]] = (
    (("RNN", "GRU", "LSTM"), lambda s: len(s.inputs) > 4 and s.inputs[4] is not None, _LENGTHS),
    (("RNN",), _last("Tanh", "Affine"), _ACTIVATIONS),
    (("GRU", "LSTM"), _last("Tanh"), _ACTIVATIONS),
    (("RNN", "GRU", "LSTM"), _sets("clip"), _CLIP),
    (("LSTM",), _sets("input_forget"), Explained("the evaluator ignores input_forget")),
    (("ConvTranspose",), _sets("group"), _GROUPS),
    (("ConvTranspose",), lambda s: _sets("output_shape")(s) and not _same(s), _OUTPUT_SHAPE),
    (
        ("MaxPool",),
        lambda s: (
            s.outputs == 2 and "strides" not in s.attributes and ("dilations" not in s.attributes or _same(s))
        ),
        Explained("the evaluator's indices without strides are those of other elements"),
    ),
    (
        ("MaxPool",),
        lambda s: s.attributes.get("auto_pad") == "SAME_LOWER" and "strides" in s.attributes,
        Explained("the evaluator rounds the output's size down with SAME_LOWER"),
    ),
    (
        ("AveragePool", "LpPool"),
        lambda s: "ceil_mode" in s.attributes and "auto_pad" in s.attributes,
        Explained("the evaluator does not have ceil_mode with auto_pad"),
    ),
    (
        ("AveragePool", "LpPool"),
        lambda s: "dilations" in s.attributes and "auto_pad" in s.attributes,
        Explained("the evaluator leaves dilations out where it pads by itself"),
    ),
    (("LayerNormalization", "RMSNormalization"), _sets("stash_type"), _STASH),
    (("Attention",), _shows_the_product, Explained("the evaluator shows the capped product for the plain one")),
    (("Attention",), _sets("scale"), Explained("the evaluator takes the root of the scale in float32", 1e-6)),
    (("Attention",), lambda s: s.attributes.get("softmax_precision") == 1, Explained("in float32 as asked", 1e-6)),
)


def _explained(name: str, sample: Sample) -> Explained:
    one = DISAGREEMENTS.get(f"{name}/{sample.name}")
    rules = (reason for names, holds, reason in RULES if name in names and holds(sample))
    return one or next(rules, None) or DISAGREEMENTS.get(name, Explained("", 1e-12))


def content_of(operator: Operator, sample: Sample) -> tuple[Content, str]:
    """A sample's model and inputs in float64 where the schema has it, else in the first dtype of the sample."""
    opset = sample.opset or OPSET
    dtypes = dtypes_of(operator, sample, opset)
    wide = Sample(sample.name, sample.inputs, dtypes=("float64",))
    one = dtypes[0]
    if operator.variable is None and lookup(one).is_float and dtypes_of(operator, wide, opset):
        one = "float64"
    return build(operator, sample, one, opset, f"0/{operator.name}/{sample.name}/{one}"), one


def inputs_of(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> tuple[Node, list[np.ndarray | None]]:
    (node,) = nodes_of(model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return node, [{**constants, **feed}[n] if n else None for n in node.inputs]


def evaluate(node: Node, inputs: Sequence[np.ndarray | None], *, widen: bool) -> list[np.ndarray]:
    """A node's outputs by its meaning; those left out are skipped."""
    outputs = call(node, [None if a is None else to_tensor(a, widen=widen) for a in inputs], widen=widen)
    floats = {d: "float64" if widen and d and lookup(d).is_float else d for d in node.dtypes}
    return [to_array(t, floats[d]) for t, d in zip(outputs, node.dtypes, strict=False) if d]


def _differs(mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray], within: float) -> str:
    if len(mine) != len(theirs):
        return f"{len(mine)} outputs against {len(theirs)}"
    for a, b in zip(mine, theirs, strict=True):
        if a.shape != b.shape:
            return f"{a.shape} against {b.shape}"
        a, b = a.astype(np.float64), np.asarray(b).astype(np.float64)
        scale = np.max(np.abs(b), where=np.isfinite(b), initial=1e-3)
        same = np.isclose(a, b, 0.0, within * scale, equal_nan=True)
        if not np.all(same):
            worst = np.unravel_index(np.argmin(same), same.shape)
            return f"{a[worst]!r} against {b[worst]!r} at {worst}, {np.sum(~same)} of {same.size}"
    return ""


def _by_evaluator(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> list[np.ndarray] | str:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return list(ReferenceEvaluator(model).run(None, dict(feed)))
        except (RuntimeError, TypeError, ValueError, IndexError, ZeroDivisionError, AssertionError) as error:
            return f"{type(error).__name__}: {error}"


# The evaluator's loops in Python take seconds there; the same attributes are tried on smaller inputs.
_SLOW = {
    ("DeformConv", s.name)
    for s in OPERATORS["DeformConv"].samples()
    if s.name not in ("pointwise", "group-offset-group", "dilations", "kernel-2x4", "far-outside", "bias-mask")
}
_SLOW |= {("MaxPool", "large"), ("AveragePool", "large"), ("LpPool", "large"), ("AveragePool", "kernel-13")} | {
    (name, "large") for name in ("GridSample", "RoiAlign", "Resize")
}
# Accuracy of the dtype that a sample is drawn in, where the evaluator does not compute in float64.
_NARROW = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 1e-2}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_meaning_in_float64_says_what_the_reference_evaluator_says(name: str) -> None:
    operator = OPERATORS[name]
    for sample in operator.samples():
        if sample.refuse or (name, sample.name) in _SLOW:
            continue
        key = f"{name}/{sample.name}"
        content, dtype = content_of(operator, sample)
        explained = _explained(name, sample)
        wrong = []
        for feed in content.feeds:
            node, inputs = inputs_of(content.model, feed)
            theirs = _by_evaluator(content.model, feed)
            within = max(explained.within or 1e-12, _NARROW.get(dtype, 0.0))
            message = (
                theirs if isinstance(theirs, str) else _differs(evaluate(node, inputs, widen=True), theirs, within)
            )
            if explained.within is not None:
                assert not message, f"{key}: {message}"
            wrong.append(bool(message))
        assert explained.within is not None or any(wrong), f"{key} is no longer a disagreement"


@functools.cache
def _vectors() -> Mapping[str, list[Any]]:
    """ONNX's node vectors of these operators; only their modules are imported, all of them take many seconds."""
    package = importlib.import_module("onnx.backend.test.case.node")
    wanted = {n.lower() for n in OPERATORS}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.replace("_", "") in wanted:
                importlib.import_module(f"{package.__name__}.{module.name}")
    found: dict[str, list[Any]] = {}
    for case in package._NodeTestCases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and not nodes[0].domain:
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


WITHOUT_VECTORS = {"GlobalLpPool", "MaxRoiPool"}
# Vectors that say something else than the text; the text, and the engines, are followed.
VECTORS_EXPLAINED = {
    "test_maxunpool_export_with_output_shape": "its indices count in the inferred shape, not in the output's",
    "test_resize_downsample_scales_linear_align_corners": "it takes scale times length, 2.4, for the output's length",
    "test_resize_downsample_scales_cubic_align_corners": "it takes scale times length, 3.2, for the output's length",
}


@pytest.mark.parametrize("name", [n for n in OPERATORS if n not in WITHOUT_VECTORS])
def test_a_meaning_reproduces_the_published_vectors(name: str) -> None:
    cases = _vectors()[name]
    for case in cases:
        for inputs, outputs in case.data_sets:
            feed = {i.name: np.asarray(a) for i, a in zip(case.model.graph.input, inputs, strict=True)}
            node, arrays = inputs_of(case.model, feed)
            mine = evaluate(node, arrays, widen=False)
            assert [m.dtype for m in mine] == [np.asarray(o).dtype for o in outputs], case.name
            # A tolerance for zeros, which the vectors' own is too small for: sums of ten numbers and more.
            within = 1e-5 if all(m.dtype.itemsize > 2 for m in mine) else 5e-3
            wrong = False
            for m, o in zip(mine, outputs, strict=True):
                a, b = m.astype(np.float64), np.asarray(o).astype(np.float64)
                wrong |= a.shape != b.shape or not np.allclose(
                    a, b, max(case.rtol, within), within, equal_nan=True
                )
            assert wrong == (case.name in VECTORS_EXPLAINED), case.name


def _cases(operator: Operator, *, refuse: bool = False) -> Iterator[tuple[Sample, str, int]]:
    for sample in operator.samples():
        if bool(sample.refuse) == refuse:
            opset = sample.opset or OPSET
            for dtype in dtypes_of(operator, sample, opset):
                yield sample, dtype, opset


@pytest.mark.parametrize("name", OPERATORS)
def test_a_meaning_run_in_float16_stays_within_its_own_bound(name: str) -> None:
    operator = OPERATORS[name]
    found = [c for c in _cases(operator) if c[1] == "float16" and not c[0].tags & {"large", "dynamic"}]
    # One in six: each costs a dozen disturbed runs.
    for sample, dtype, opset in found[::6]:
        content = build(operator, sample, dtype, opset, f"0/{name}/{sample.name}/{dtype}")
        node, inputs = inputs_of(content.model, content.feeds[0])
        expected = expect(node, inputs, key=f"{name}/{sample.name}/{dtype}", exact=sample.exact)
        judged = judge(expected, evaluate(node, inputs, widen=False), inputs, node.attributes)
        assert judged.verdict is Verdict.PASS, f"{name}/{sample.name}/{dtype}: {judged.message}"


@pytest.mark.parametrize("name", OPERATORS)
def test_samples_have_distinct_names_and_enough_of_them(name: str) -> None:
    operator = OPERATORS[name]
    samples = list(operator.samples())
    assert len({s.name for s in samples}) == len(samples)
    assert all(dtypes_of(operator, s, s.opset or OPSET) for s in samples)
    assert 7 <= sum(1 for _ in _cases(operator)) <= (185 if name == "Resize" else 140)  # which moves every type


# Outputs whose shape ONNX cannot infer, which the checker wants all the same.
WITHOUT_SHAPE = {"MaxUnpool", "GroupNormalization"}


@pytest.mark.parametrize("name", [n for n in OPERATORS if n not in WITHOUT_SHAPE])
def test_valid_models_pass_the_checker(name: str) -> None:
    operator, seen = OPERATORS[name], set()
    for sample, dtype, opset in _cases(operator):
        if sample.name in seen or sample.name.endswith("at-run-time") or dtype not in (*FLOATS, "int32"):
            continue
        seen.add(sample.name)
        onnx.checker.check_model(build(operator, sample, dtype, opset, "0").model, full_check=False)
