"""Whether the samples cover what attributes can say: every value, the defaults left out and written out, every two values
together, and whether the cases tell one value from another."""

from __future__ import annotations

import functools
import itertools
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from attribute_values import (
    ENUMERATED,
    FLAGS,
    LISTED,
    NUMBERS,
    OPERATORS,
    TEXTS,
    Setting,
    default_of,
    pairs,
    plain,
    possible,
    schema,
    settings,
    value_of,
)
from onnx.reference import ReferenceEvaluator

from conformance.graphs import Content, build, defaults_of, domain_opset, dtypes_of, nodes_of
from conformance.interpreter import call, to_array, to_tensor
from conformance.judge import judge
from conformance.operators.samples import pairwise
from conformance.oracle import asks_evaluator, expect_content
from conformance.plan import samples_of
from conformance.spec import Case, Operator, Sample, Source, Verdict, tensor

NEWEST = onnx.defs.onnx_opset_version()
INT, STRING = onnx.defs.OpSchema.AttrType.INT, onnx.defs.OpSchema.AttrType.STRING

# --- The tables ------------------------------------------------------------------------------------------


def test_the_tables_say_of_every_attribute_what_kind_it_is() -> None:
    unknown = [
        f"{name}.{attribute}"
        for name, operator in OPERATORS.items()
        for attribute, formal in schema(operator).attributes.items()
        if attribute not in ENUMERATED.get(name, {})
        and (
            (formal.type == STRING and attribute not in TEXTS)
            or (formal.type == INT and attribute not in FLAGS | NUMBERS)
        )
    ]
    assert not unknown, f"new in onnx: is it an enumeration, a flag, or free? {unknown}"


def test_the_enumerated_values_stand_in_the_operators_texts() -> None:
    for table in (ENUMERATED, LISTED):
        for name, attributes in table.items():
            for attribute, values in attributes.items():
                formal = schema(OPERATORS[name])
                text = f"{formal.doc} {formal.attributes[attribute].description}"
                # MEMBER and its like are numbered in the order of the text.
                lost = [v for v in values if isinstance(v, str) and v != "absent" and v not in text]
                assert not lost, f"{name}.{attribute}: {lost}"


# --- Every value -----------------------------------------------------------------------------------------

_NO_MODEL = "a node without it computes nothing"
_ML_DATA = {
    "CategoryMapper": "cats_int64s cats_strings",
    "FeatureVectorizer": "inputdimensions",
    "LinearRegressor": "coefficients",
    "SVMClassifier": "coefficients rho",
    "SVMRegressor": "coefficients rho",
    "TreeEnsemble": "n_targets",
    "TreeEnsembleClassifier": "class_ids class_nodeids class_treeids nodes_falsenodeids nodes_featureids nodes_modes nodes_nodeids "
    "nodes_treeids nodes_truenodeids",
    "TreeEnsembleRegressor": "n_targets nodes_falsenodeids nodes_featureids nodes_modes nodes_nodeids nodes_treeids "
    "nodes_truenodeids target_ids target_nodeids target_treeids",
}
UNSET: Mapping[tuple[str, str, Any], str] = {
    **{(name, a, "absent"): _NO_MODEL for name, names in _ML_DATA.items() for a in names.split()},
    **{
        (name, "hidden_size", "absent"): "the text does not say what holds then" for name in ("RNN", "GRU", "LSTM")
    },
    ("RegexFullMatch", "pattern", "absent"): "what matches no pattern is not said",
    ("Scaler", "offset", "absent"): "the text has no default",
    ("Scaler", "scale", "absent"): "the text has no default",
}


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if schema(o).attributes])
def test_every_attribute_is_set_to_every_value(name: str) -> None:
    operator, found = OPERATORS[name], settings(OPERATORS[name])
    missing = {
        (name, attribute, value)
        for attribute in schema(operator).attributes
        for value in set(possible(operator, attribute))
        - {value_of(operator, attribute, s.attributes) for s in found}
    }
    assert missing == {key for key in UNSET if key[0] == name}


def _items(value: Any) -> list[Any]:
    return list(onnx.numpy_helper.to_array(value)) if isinstance(value, onnx.TensorProto) else list(value or ())


@pytest.mark.parametrize("name", LISTED)
def test_every_value_stands_in_some_list(name: str) -> None:
    for attribute, values in LISTED[name].items():
        found = {item for s in settings(OPERATORS[name]) for item in _items(s.attributes.get(attribute))}
        assert set(values) <= found, f"{attribute}: {set(values) - found}"


# --- Defaults, written out and left out ------------------------------------------------------------------

UNWRITTEN: Mapping[tuple[str, str], str] = {
    **{
        ("LabelEncoder", f"default_{kind}"): "written where the values are of its type, and then as another"
        for kind in ("float", "int64", "string")
    },
    ("CategoryMapper", "default_int64"): "of the two defaults a node has one",
    ("CategoryMapper", "default_string"): "of the two defaults a node has one",
    ("Imputer", "replaced_value_float"): "of the two values a node has one",
    ("Imputer", "replaced_value_int64"): "of the two values a node has one",
}
UNLEFT: Mapping[tuple[str, str], str] = {
    ("MeanVarianceNormalization", "axes"): "ONNX's own shape inference fails on the function without it",
}


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if schema(o).attributes])
def test_defaults_are_left_out_and_written_out(name: str) -> None:
    operator = OPERATORS[name]
    newest = domain_opset(operator.domain, NEWEST)
    rows = [
        {**(defaults_of(operator, s.sample.opset or newest) if s.sample.written_out else {}), **s.attributes}
        for s in settings(operator)
    ]
    for attribute, formal in schema(operator).attributes.items():
        default = default_of(formal)
        if default is None:
            continue
        left_out = any(attribute not in row for row in rows)
        assert left_out == ((name, attribute) not in UNLEFT), f"{attribute} is never left out"
        written = any(plain(row[attribute]) == default for row in rows if attribute in row)
        assert written == ((name, attribute) not in UNWRITTEN), f"{attribute} = {default}"


def test_written_out_defaults_change_no_expected_value() -> None:
    twins = [
        (o, s) for o in OPERATORS.values() if o.family != "randomness" for s in samples_of(o) if s.written_out
    ]
    assert len(twins) > 80
    for operator, twin in twins:
        bare = _Sweep(operator, replace(twin, written_out=False))
        assert bare.same(bare.run(defaults_of(operator, bare.case.opset))), operator.name


# --- Every two values ------------------------------------------------------------------------------------

# What holds a model's data rather than says how it is computed.
DATA = re.compile(
    r"base_values_as_tensor|body|cats_.*|class.*|coefficients|default_.*|hidden_size|imputed_.*|kernel_params|keys_.*|leaf_.*|"
    r"membership_values|n_supports|ngram_.*|nodes_(?!hitrates$|missing).*|pool_.*|prob_.*|replaced_.*|rho|sparse_value|"
    r"support_vectors|target_.*|tree_roots|value.*|vectors_per_class"
)
Values = Sequence[Any]
_ANY: Values = ()
_EXPLICIT = ("SAME_UPPER", "SAME_LOWER", "VALID")
_RECURRENT = ("RNN", "GRU", "LSTM")
_NAMED = ("other", "given")
_CUBIC, _OUTSIDE = "it is of the cubic filter", "what is outside counts for filters only"
# Operators, an attribute's values and another's that do not go together, and why not. No values mean any.
APART: Sequence[tuple[Sequence[str], str, Values, str, Values, str]] = (
    (
        ("Cast",),
        "round_mode",
        ("down",),
        "saturate",
        (0,),
        "as float8e8m0 rounds down, nothing is out of its range",
    ),
    (
        ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"),
        *("auto_pad", _EXPLICIT, "pads", ("given",)),
        "cannot be used simultaneously with auto_pad attribute",
    ),
    (("ConvTranspose",), "auto_pad", ("VALID",), "output_shape", ("given",), "two decisions about the padding"),
    (("ConvTranspose",), "output_padding", ("given",), "strides", ("absent",), "it is less than the stride"),
    (("CastMap",), "map_form", ("SPARSE",), "max_map", ("default",), "a sparse result has a length"),
    (
        ("StringNormalizer",),
        "case_change_action",
        ("LOWER", "UPPER"),
        "locale",
        ("absent",),
        "the platform decides",
    ),
    (("Attention",), "kv_num_heads", ("absent",), "q_num_heads", ("given",), "flat inputs need both"),
    (("Attention",), "kv_num_heads", ("given",), "q_num_heads", ("absent",), "flat inputs need both"),
    *(
        (("Attention",), "qk_matmul_output_mode", (2,), a, (1, "other"), "what stands for a hidden key is open")
        for a in ("is_causal", "left_window_size", "right_window_size")
    ),
    *(
        (
            ("Attention",),
            "softmax_precision",
            (10, 11, 16),
            a,
            _ANY,
            "tried alone: float32 is tried with all others",
        )
        for a in (
            *("is_causal", "left_window_size", "right_window_size", "scale", "softcap", "qk_matmul_output_mode"),
            *("q_num_heads", "kv_num_heads"),
        )
    ),
    (_RECURRENT, "activation_alpha", ("absent",), "activation_beta", ("given",), "no function takes beta alone"),
    *(
        (_RECURRENT, a, ("given",), "activations", ("absent", "default"), "the usual functions take neither")
        for a in ("activation_alpha", "activation_beta")
    ),
    *(
        (_RECURRENT, "layout", (1,), a, _NAMED, "the layout moves axes outside of gates and functions")
        for a in ("activations", "activation_alpha", "activation_beta", "clip")
    ),
    *(
        (("LSTM",), "clip", ("given",), a, _NAMED, "what the threshold is for is open where the cell can pass it")
        for a in ("activations", "activation_alpha", "activation_beta")
    ),
    (("Resize",), "antialias", (1,), "mode", ("nearest",), "it is a filter's"),
    (("Resize",), "antialias", (1,), "exclude_outside", (0,), "whether the wider filter counts the edge is open"),
    (("Resize",), "antialias", (1,), "coordinate_transformation_mode", ("tf_crop_and_resize",), "so it is here"),
    (("Resize",), "antialias", (1,), "extrapolation_value", ("other",), "it is the region's"),
    (("Resize",), "antialias", (1,), "nearest_mode", _ANY, "it is a filter's"),
    (("Resize",), "axes", ("absent",), "keep_aspect_ratio_policy", ("not_larger", "not_smaller"), "of all axes"),
    (("Resize",), "coordinate_transformation_mode", _ANY, "extrapolation_value", ("other",), "it is the region's"),
    (
        ("Resize",),
        *("coordinate_transformation_mode", ("align_corners",), "keep_aspect_ratio_policy", _ANY),
        "the corners are those of the length asked for or of the one that keeps the aspect",
    ),
    (
        ("Resize",),
        *("coordinate_transformation_mode", ("tf_crop_and_resize",), "keep_aspect_ratio_policy", _ANY),
        "the aspect of the region or of the image",
    ),
    (
        ("Resize",),
        *("coordinate_transformation_mode", ("align_corners",), "nearest_mode", ("ceil",)),
        "the last place is whole but for a rounding",
    ),
    (("Resize",), "cubic_coeff_a", ("other",), "mode", ("nearest", "linear"), _CUBIC),
    (("Resize",), "cubic_coeff_a", ("other",), "nearest_mode", _ANY, _CUBIC),
    (("Resize",), "exclude_outside", (1,), "mode", ("nearest",), _OUTSIDE),
    (("Resize",), "exclude_outside", (1,), "nearest_mode", _ANY, _OUTSIDE),
    (("Resize",), "extrapolation_value", ("other",), "keep_aspect_ratio_policy", _ANY, "it is the region's"),
    (("Resize",), "mode", ("linear", "cubic"), "nearest_mode", _ANY, "it is the nearest mode's"),
    (
        ("SVMRegressor",),
        *("kernel_type", ("LINEAR", "POLY", "SIGMOID"), "post_transform", ("PROBIT",)),
        "a probit is of a probability",
    ),
    (
        ("SVMRegressor",),
        *("one_class", (1,), "post_transform", ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")),
        "of the decision or of the label is not said",
    ),
)


def _is_apart(name: str, first: tuple[str, Any], second: tuple[str, Any]) -> Iterator[int]:
    given = dict((first, second))
    for number, (names, a, values, b, others, _) in enumerate(APART):
        if name not in names or set(given) != {a, b}:
            continue
        if (not values or given[a] in values) and (not others or given[b] in others):
            yield number


def _missing_pairs(operator: Operator, found: Sequence[Setting]) -> list[tuple[tuple[str, Any], tuple[str, Any]]]:
    names = [a for a in schema(operator).attributes if not DATA.fullmatch(a)]
    rows = [[(a, value_of(operator, a, s.attributes)) for a in sorted(names)] for s in found]
    there = {pair for row in rows for pair in itertools.combinations(row, 2)}
    wanted = [p for p in pairs(operator) if p[0][0] in names and p[1][0] in names and _can_be_set(operator, *p)]
    return [p for p in wanted if p not in there]


def _can_be_set(operator: Operator, *items: tuple[str, Any]) -> bool:
    return not any((operator.name, *item) in UNSET for item in items)


MANY = [n for n, o in OPERATORS.items() if len(schema(o).attributes) >= 3]


@functools.cache
def _pairs_missing(name: str) -> tuple[tuple[tuple[str, Any], tuple[str, Any]], ...]:
    return tuple(_missing_pairs(OPERATORS[name], settings(OPERATORS[name])))


@pytest.mark.parametrize("name", MANY)
def test_every_two_values_of_two_attributes_stand_together(name: str) -> None:
    missing = [pair for pair in _pairs_missing(name) if not list(_is_apart(name, *pair))]
    assert not missing


def test_what_is_said_not_to_go_together_does_not() -> None:
    used = {number for name in MANY for pair in _pairs_missing(name) for number in _is_apart(name, *pair)}
    assert [APART[number] for number in range(len(APART)) if number not in used] == []


def test_a_sample_that_is_lost_leaves_pairs_missing() -> None:
    operator = OPERATORS["MaxPool"]
    kept = [s for s in settings(operator) if "storage_order" not in s.attributes]
    assert (("auto_pad", "VALID"), ("storage_order", 1)) in _missing_pairs(operator, kept)


# --- The generator of combinations -----------------------------------------------------------------------


def _pairwise(valid: Any = None) -> list[Sample]:
    values = {"mode": (None, "FIRST_WORD", "other"), "flag": (None, 0, 1), "sizes": (None, [2, 3])}
    return list(
        pairwise(Sample("pairs", (tensor(2),), {"k": 7}), values, variations={"bias": (False, True)}, valid=valid)
    )


def test_pairwise_has_every_two_values_in_fewer_samples_than_all() -> None:
    found = _pairwise()
    assert 9 <= len(found) < 36
    for (a, x), (b, y) in itertools.combinations([("mode", "other"), ("flag", 1), ("sizes", [2, 3])], 2):
        assert any(s.attributes.get(a) == x and s.attributes.get(b) == y for s in found)
    assert all(s.attributes["k"] == 7 and s.dtypes == ("float32",) for s in found)
    assert found == _pairwise()


def test_pairwise_names_say_what_is_set() -> None:
    names = [s.name for s in _pairwise()]
    assert len(set(names)) == len(names)
    assert names[0] == "pairs"
    assert all(("first-word" in s.name) == (s.attributes.get("mode") == "FIRST_WORD") for s in _pairwise())
    assert all(("sizes-2x3" in s.name) == ("sizes" in s.attributes) for s in _pairwise())
    assert all(s.name.endswith("-bias") == ("bias" in s.name) for s in _pairwise())


def test_pairwise_has_all_that_is_valid_where_the_library_stops_early() -> None:
    """Of ConvTranspose's combinations the library alone leaves pairs out: its first one that brings nothing new is not the
    last one that could."""

    def valid(row: Mapping[str, Any]) -> bool:
        return not (row["a"] and row["b"]) and not (row["c"] and not row["d"])

    values: dict[str, Sequence[Any]] = dict.fromkeys("abcdef", (None, 1, 2))
    rows = [s.attributes for s in pairwise(Sample("p", ()), values, valid=valid)]
    for a, b in itertools.combinations(values, 2):
        for x, y in itertools.product((None, 1, 2), repeat=2):
            given = {**dict.fromkeys(values), a: x, b: y}
            possible_alone = any(valid({**given, "d": d} if "d" not in (a, b) else given) for d in (None, 1))
            assert any(r.get(a) == x and r.get(b) == y for r in rows) == possible_alone, (a, x, b, y)
    assert all(valid({**dict.fromkeys(values), **row}) for row in rows)


# --- Whether the cases tell one value from another -------------------------------------------------------

_WRONG = (
    *(RuntimeError, ValueError, TypeError, LookupError, NotImplementedError, ArithmeticError, AssertionError),
    *(onnx.shape_inference.InferenceError, onnx.checker.ValidationError, OverflowError),
)


class _Sweep:
    """One case of a sample, and what a backend would return that took its attributes for others."""

    def __init__(self, operator: Operator, sample: Sample) -> None:
        self.operator, self.sample = operator, replace(sample, again=())
        opset = sample.opset or domain_opset(operator.domain, NEWEST)
        dtypes = dtypes_of(operator, sample, opset)
        dtype = "float32" if "float32" in dtypes else dtypes[0]
        name = f"{operator.name}/{sample.name}/{dtype}"
        self.case = Case(name, operator.name, operator.domain, opset, dtype, Source.OPERATOR, operator.family, "")
        self.content = build(operator, self.sample, dtype, opset, f"0/{name}")
        self.original = self._outputs(self.content)

    def run(self, changes: Mapping[str, Any]) -> list[np.ndarray] | None:
        """The outputs with some attributes changed, or left out where the change is None; None where there are none."""
        try:
            return self._outputs(self._changed(changes))
        except _WRONG:
            return None

    def _changed(self, changes: Mapping[str, Any]) -> Content:
        if self.sample.model is None:
            own = {k: v for k, v in {**self.sample.attributes, **changes}.items() if v is not None}
            changed = replace(self.sample, attributes=own, shape=None)
            # The inputs stay those of the case: their draws go by its id.
            return build(self.operator, changed, self.case.dtype, self.case.opset, f"0/{self.case.id}")
        model = onnx.ModelProto()
        model.CopyFrom(self.content.model)
        for node in _nodes(model.graph, self.operator):
            kept = [a for a in node.attribute if a.name not in changes]
            added = [onnx.helper.make_attribute(k, v) for k, v in changes.items() if v is not None]
            del node.attribute[:]
            node.attribute.extend([*kept, *added])
        return Content(model, self.content.feeds)

    def _outputs(self, content: Content) -> list[np.ndarray]:
        feed = content.feeds[0]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if asks_evaluator(self.operator, content, self.sample):
                given = self.sample.reference is not None and content is self.content
                model = self.sample.reference(self.case.dtype, self.case.opset) if given else content.model
                return list(ReferenceEvaluator(model).run(None, dict(feed)))
            node, inputs = self._node(content)
            outputs = call(node, [None if a is None else to_tensor(a, widen=False) for a in inputs], widen=False)
            return [to_array(t, d) for t, d in zip(outputs, node.dtypes, strict=False) if d]

    def _node(self, content: Content) -> tuple[Any, list[Any]]:
        (node,) = nodes_of(content.model)
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer}
        return node, [({**constants, **content.feeds[0]}).get(n) if n else None for n in node.inputs]

    def same(self, outputs: list[np.ndarray] | None) -> bool:
        """Whether there is nothing to see: outputs of the same bits."""
        if outputs is None or len(outputs) != len(self.original):
            return False
        return all(_bits(a) == _bits(b) for a, b in zip(outputs, self.original, strict=True))

    def fails(self, outputs: list[np.ndarray] | None) -> bool:
        """Whether the case would fail a backend that returned these."""
        if outputs is None:
            return True
        inputs, attributes = ([], {}) if self.sample.model is not None else self._view()
        (expected, *_) = expect_content(self.case, self.content, self.sample)
        return judge(expected, outputs, inputs, attributes).verdict is not Verdict.PASS

    def _view(self) -> tuple[list[Any], Mapping[str, Any]]:
        node, inputs = self._node(self.content)
        return inputs, node.attributes


def _nodes(graph: onnx.GraphProto, operator: Operator) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        if (node.op_type, node.domain) == (operator.name, operator.domain):
            yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g, operator)


def _bits(value: Any) -> tuple[Any, ...]:
    array = np.asarray(value)
    return array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes()


def _size(sample: Sample) -> int:
    return sum(int(np.prod(spec.shape)) for spec in sample.inputs if spec is not None)


@functools.cache
def _sweeps(name: str) -> tuple[tuple[_Sweep, dict[str, Any]], ...]:
    """The samples of an operator, small ones first; of those with nodes of several kinds of attributes, the first."""
    operator = OPERATORS[name]
    opset = domain_opset(operator.domain, NEWEST)
    found = [
        s
        for s in settings(operator)
        if "large" not in s.sample.tags
        and not s.sample.written_out
        and _computes(operator, dtypes_of(operator, s.sample, s.sample.opset or opset))
    ]
    return tuple((_Sweep(operator, s.sample), s.attributes) for s in sorted(found, key=lambda s: _size(s.sample)))


def _computes(operator: Operator, dtypes: Sequence[str]) -> bool:
    """Whether a case can be carried out here: torch has no strings, and of the 8-bit floats hardly more than copies."""
    return any(not (d == "string" and operator.strings) and not d.startswith("float8") for d in dtypes[:1])


def _concrete(operator: Operator, attribute: str, value: Any) -> list[Any]:
    """What a value may stand for in a node; None is left out."""
    if value in ("default", "absent"):
        return [None]
    if value not in ("other", "given"):
        return [value]
    found = {
        repr(s.attributes[attribute]): s.attributes[attribute]
        for s in settings(operator)
        if attribute in s.attributes
    }
    default = default_of(schema(operator).attributes[attribute])
    return [v for v in found.values() if v != default][:6]


def _unseen(name: str, attribute: str) -> list[tuple[Any, Any]]:
    """Pairs of values of which no case that has the first one fails a backend that takes it for the second one."""
    operator = OPERATORS[name]
    values = possible(operator, attribute)
    steps = [("given", "given")] if values == ("given",) else list(itertools.permutations(values, 2))
    if DATA.fullmatch(attribute):  # data of another kind that a node has no use for
        steps = [s for s in steps if s != ("absent", "given")]
    return [
        (value, taken)
        for value, taken in steps
        if not ({(name, attribute, value), (name, attribute, taken)} & set(UNSET))
        and not _seen(name, attribute, value, taken)
    ]


def _seen(name: str, attribute: str, value: Any, taken: Any) -> bool:
    operator = OPERATORS[name]
    others = _concrete(operator, attribute, taken)
    for sweep, own in _sweeps(name):
        if value_of(operator, attribute, own) != value:
            continue
        for other in others:
            if other == own.get(attribute):
                continue
            outputs = sweep.run({attribute: other})
            if not sweep.same(outputs) and sweep.fails(outputs):
                return True
    return False


_SEED = "ONNX does not say which numbers a seed gives"
_HINT = "it changes no result"
_WINDOWED = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv")
# Operators, an attribute, the value that cases have and the one that it is taken for (None: any), and why no case tells
# them apart.
ALIKE: Sequence[tuple[Sequence[str], str, Any, Any, str]] = (
    (_WINDOWED, "kernel_shape", "given", "absent", "the weight has the same shape"),
    (
        (*_WINDOWED[:4], "MaxPool", "AveragePool", "LpPool"),
        *("auto_pad", "VALID", "NOTSET"),
        "without pads, which must not stand beside VALID, they are the same",
    ),
    (("TensorScatter",), "mode", "linear", "circular", "a linear write that would go round is invalid"),
    (("Range",), "stash_type", None, None, "the bound has room for sums in the narrow type, see numerics.md"),
    (
        ("TopK",),
        "sorted",
        None,
        None,
        "the definition sorts always, and the judge asks for it where the case does",
    ),
    (("QuantizeLinear",), "precision", None, None, "the quotients are exact in any precision"),
    (("SequenceEmpty",), "dtype", None, None, "a sequence of nothing shows no type"),
    (("StringNormalizer",), "locale", None, None, "the words are cased alike everywhere"),
    (
        (
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
            "Bernoulli",
            "Multinomial",
            "Dropout",
        ),
        *("seed", None, None, _SEED),
    ),
    (("GroupNormalization", "RMSNormalization"), "stash_type", None, None, "planted by hand below"),
    (
        ("Attention",),
        "softmax_precision",
        None,
        None,
        "a softmax in more digits is right, and the bound has room for fewer",
    ),
    (("RotaryEmbedding",), "num_heads", "absent", "given", "an input of four axes shows its heads"),
    (("CausalConvWithState",), "activation", "silu", "swish", "two names of one function"),
    (("CausalConvWithState",), "activation", "swish", "silu", "two names of one function"),
    (("LinearAttention",), "chunk_size", None, None, _HINT),
    (
        ("TreeEnsemble", "TreeEnsembleRegressor", "TreeEnsembleClassifier"),
        *("nodes_hitrates", "given", "absent", "they say how often a node was met, for speed alone"),
    ),
    (
        ("TreeEnsembleRegressor", "TreeEnsembleClassifier"),
        *("nodes_hitrates_as_tensor", "given", "absent", "they say how often a node was met, for speed alone"),
    ),
    (("SVMRegressor",), "post_transform", "SOFTMAX", "SOFTMAX_ZERO", "of one score alone they are the same"),
    (("SVMRegressor",), "post_transform", "SOFTMAX_ZERO", "SOFTMAX", "of one score alone they are the same"),
    (("LinearClassifier",), "multi_class", None, None, "the text has one formula for both"),
    (("OneHotEncoder",), "zeros", 0, 1, "the case that has to be refused tells"),
)


def _alike(name: str, attribute: str, value: Any, taken: Any) -> Iterator[int]:
    for number, (names, own, a, b, _) in enumerate(ALIKE):
        if name in names and attribute == own and a in (None, value) and b in (None, taken):
            yield number


@functools.cache
def _all_unseen(name: str) -> tuple[tuple[str, Any, Any], ...]:
    attributes = schema(OPERATORS[name]).attributes
    return tuple((attribute, *step) for attribute in attributes for step in _unseen(name, attribute))


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if schema(o).attributes])
def test_some_case_fails_a_backend_that_takes_a_value_for_another(name: str) -> None:
    assert [step for step in _all_unseen(name) if not list(_alike(name, *step))] == []


@pytest.mark.parametrize("name", sorted({name for names, *_ in ALIKE for name in names}))
def test_what_is_said_not_to_be_told_apart_is_not(name: str) -> None:
    used = {number for step in _all_unseen(name) for number in _alike(name, *step)}
    assert used == {number for number, (names, *_) in enumerate(ALIKE) if name in names}


def test_an_unknown_category_that_must_not_be_zeros_is_a_case() -> None:
    (sample,) = [s for s in samples_of(OPERATORS["OneHotEncoder"]) if s.refuse and s.attributes.get("zeros") == 0]
    assert sample.refuse


def test_group_statistics_in_float32_fail_a_case_that_asks_for_float64() -> None:
    operator = OPERATORS["GroupNormalization"]
    sample = next(s for s in samples_of(operator) if s.name == "stash-float64")
    sweep = _Sweep(operator, replace(sample, dtypes=("float64",)))
    node, inputs = sweep._node(sweep.content)
    narrow = [to_tensor(np.float32(a), widen=False) for a in inputs if a is not None]
    as_float32 = replace(node, dtypes=("float32",))
    (y,) = call(as_float32, narrow, widen=False)
    assert not sweep.fails(sweep.original)
    assert sweep.fails([to_array(y, "float32").astype(np.float64)])


def test_layer_statistics_have_the_type_that_they_are_stashed_in() -> None:
    operator = OPERATORS["LayerNormalization"]
    sample = next(s for s in samples_of(operator) if s.attributes.get("stash_type") == 16 and s.outputs == 3)
    sweep = _Sweep(operator, sample)
    assert [a.dtype for a in sweep.original] == [ml_dtypes.bfloat16] * 3
    y, mean, inverse = sweep.original
    assert sweep.fails([y, mean.astype(np.float32), inverse.astype(np.float32)])
