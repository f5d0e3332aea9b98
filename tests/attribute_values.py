"""The values that attributes can take, and which of them the samples of the catalogue set.

onnx's schemas do not list the values of an enumeration, so they stand here, from the operators' texts (`schema.doc`
and the attributes' descriptions). What an attribute is set to comes down to a *value*: of an enumeration or a
flag the value itself, of anything else whether it is the default ("default", "other"), or, where there is no
default, whether it is given ("absent", "given").
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import onnx
from onnx import helper

from conformance.graphs import domain_opset, dtypes_of, schema_of
from conformance.operators import catalogue
from conformance.plan import samples_of
from conformance.spec import Operator, Sample

__all__ = [
    "DOMAINS",
    "NEWEST",
    "Setting",
    "attributes_of",
    "plain",
    "possible",
    "schema",
    "settings",
    "value_of",
]

NEWEST = onnx.defs.onnx_opset_version()
DOMAINS = ("", "ai.onnx.ml")

_AUTO_PAD = {"auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")}
_SCATTERED = {"reduction": ("none", "add", "mul", "max", "min")}
_DIRECTION = {"direction": ("forward", "reverse", "bidirectional")}
_LOSS = {"reduction": ("none", "mean", "sum")}
_POST = {"post_transform": ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")}
_KERNEL = {"kernel_type": ("LINEAR", "POLY", "RBF", "SIGMOID")}
_ROUNDING = {"round_mode": ("up", "down", "nearest")}

ENUMERATED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "AveragePool": _AUTO_PAD,
    "BitShift": {"direction": ("LEFT", "RIGHT")},
    "Cast": _ROUNDING,
    "CastLike": _ROUNDING,
    "CastMap": {"cast_to": ("TO_FLOAT", "TO_STRING", "TO_INT64"), "map_form": ("DENSE", "SPARSE")},
    "CausalConvWithState": {"activation": ("none", "silu", "swish")},
    "Conv": _AUTO_PAD,
    "ConvInteger": _AUTO_PAD,
    "ConvTranspose": _AUTO_PAD,
    "DepthToSpace": {"mode": ("DCR", "CRD")},
    "GRU": _DIRECTION,
    "Gelu": {"approximate": ("none", "tanh")},
    "GridSample": {"mode": ("linear", "nearest", "cubic"), "padding_mode": ("zeros", "border", "reflection")},
    "ImageDecoder": {"pixel_format": ("RGB", "BGR", "Grayscale")},
    "LSTM": _DIRECTION,
    "LinearAttention": {"update_rule": ("linear", "gated", "delta", "gated_delta")},
    "LinearClassifier": _POST,
    "LinearRegressor": _POST,
    "LpNormalization": {"p": (1, 2)},
    "LpPool": _AUTO_PAD,
    "MaxPool": _AUTO_PAD,
    "NegativeLogLikelihoodLoss": _LOSS,
    "Normalizer": {"norm": ("MAX", "L1", "L2")},
    "Pad": {"mode": ("constant", "reflect", "edge", "wrap")},
    "QLinearConv": _AUTO_PAD,
    "RNN": _DIRECTION,
    "Attention": {"qk_matmul_output_mode": (0, 1, 2, 3), "softmax_precision": ("absent", 1, 10, 11, 16)},
    "Resize": {
        "coordinate_transformation_mode": (
            "half_pixel",
            "half_pixel_symmetric",
            "pytorch_half_pixel",
            "align_corners",
            "asymmetric",
            "tf_crop_and_resize",
        ),
        "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
        "mode": ("nearest", "linear", "cubic"),
        "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    },
    "RoiAlign": {
        "coordinate_transformation_mode": ("half_pixel", "output_half_pixel"),
        "mode": ("avg", "max"),
    },
    "SVMClassifier": {**_POST, **_KERNEL},
    "SVMRegressor": {**_POST, **_KERNEL},
    "ScatterElements": _SCATTERED,
    "ScatterND": _SCATTERED,
    "SoftmaxCrossEntropyLoss": _LOSS,
    "SpaceToDepth": {"mode": ("DCR", "CRD")},
    "StringNormalizer": {"case_change_action": ("NONE", "LOWER", "UPPER")},
    "TensorScatter": {"mode": ("linear", "circular")},
    "TfIdfVectorizer": {"mode": ("TF", "IDF", "TFIDF")},
    "TreeEnsemble": {"aggregate_function": (0, 1, 2, 3), "post_transform": (0, 1, 2, 3, 4)},
    "TreeEnsembleClassifier": _POST,
    "TreeEnsembleRegressor": {**_POST, "aggregate_function": ("SUM", "AVERAGE", "MIN", "MAX")},
    "Upsample": {"mode": ("nearest", "linear")},
}

# Values that stand in lists or tensors: one a node or a gate.
LISTED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    **{
        name: {
            "activations": (
                "Relu",
                "Tanh",
                "Sigmoid",
                "Affine",
                "LeakyRelu",
                "ThresholdedRelu",
                "ScaledTanh",
                "HardSigmoid",
                "Elu",
                "Softsign",
                "Softplus",
            )
        }
        for name in ("RNN", "GRU", "LSTM")
    },
    **{
        f"TreeEnsemble{kind}": {
            "nodes_modes": (*(f"BRANCH_{m}" for m in ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ")), "LEAF")
        }
        for kind in ("Classifier", "Regressor")
    },
    "TreeEnsemble": {"nodes_modes": (0, 1, 2, 3, 4, 5, 6)},
    "Scan": {"scan_input_directions": (0, 1), "scan_output_directions": (0, 1)},
}

# Integers that are a yes or a no, or one of two axes.
FLAGS = frozenset(
    "align_corners allowzero antialias batch_axis ceil_mode center_point_box count_include_pad detect_negative "
    "detect_positive exclude_outside exclusive fmod input_forget interleaved inverse is_case_sensitive is_causal "
    "keepdims largest layout linear_before_reset multi_class new_axis noop_with_empty_axes one_class onesided periodic "
    "reverse saturate select_last_index sorted storage_order time_axis training_mode transA transB upper zeros".split()
)
# Integers that count, index or measure, and types.
NUMBERS = frozenset(
    "axis batch_dims block_size blocksize cast_to chunk_size default_int64 dtype end group hidden_size ignore_index k "
    "kv_num_heads left_window_size max_gram_length max_map max_skip_count maxsplit min_gram_length n_supports n_targets "
    "num_groups num_heads num_outputs num_scan_inputs offset_group output_datatype output_dtype output_height "
    "output_width p precision q_num_heads replaced_value_int64 right_window_size rotary_embedding_dim sample_size "
    "sampling_ratio seed size start stash_type targets to value_int".split()
)
# Strings that may be anything.
TEXTS = frozenset("default_string delimiter equation locale pattern value_string".split())


def schema(operator: Operator) -> Any:
    """The newest schema of an operator, withdrawn ones included."""
    return schema_of(operator.name, domain_opset(operator.domain, NEWEST), operator.domain)


def plain(value: Any) -> Any:
    """An attribute's value with text for bytes and lists for sequences; floats as float32 has them."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return helper.make_attribute("x", value).f
    if isinstance(value, (str, int)) or not hasattr(value, "__iter__"):
        return value
    return [plain(v) for v in value]


def default_of(formal: Any) -> Any:
    """The default of an attribute of a schema, None where there is none."""
    declared = formal.default_value
    return plain(helper.get_attribute_value(declared)) if declared.type else None


def possible(operator: Operator, attribute: str) -> tuple[Any, ...]:
    """All values of an attribute that ask for samples."""
    formal = schema(operator).attributes[attribute]
    listed = ENUMERATED.get(operator.name, {}).get(attribute)
    if listed is not None:
        return listed
    if formal.type == onnx.defs.OpSchema.AttrType.INT and attribute in FLAGS:
        return (0, 1)
    if formal.required:
        return ("given",)
    return ("absent", "given") if default_of(formal) is None else ("default", "other")


def value_of(operator: Operator, attribute: str, attributes: Mapping[str, Any]) -> Any:
    """What an attribute comes down to in a node with these attributes."""
    formal = schema(operator).attributes[attribute]
    default = default_of(formal)
    values = possible(operator, attribute)
    given = plain(attributes[attribute]) if attribute in attributes else default
    if values == ("default", "other"):
        return "default" if given == default else "other"
    if values in (("absent", "given"), ("given",)):
        return "absent" if given is None else "given"
    return "absent" if given is None else given


def attributes_of(operator: Operator, sample: Sample) -> Iterator[dict[str, Any]]:
    """The attributes of each node of the operator in a sample's model."""
    if sample.model is None:
        yield {k: plain(v) for k, v in sample.attributes.items()}
        return
    opset = sample.opset or domain_opset(operator.domain, NEWEST)
    dtype = (dtypes_of(operator, sample, opset) or ("float32",))[0]
    graphs = [sample.model(dtype, opset).graph]
    while graphs:
        for node in graphs.pop().node:
            graphs += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
            if (node.op_type, node.domain) == (operator.name, operator.domain):
                yield {a.name: plain(helper.get_attribute_value(a)) for a in node.attribute}


class Setting(NamedTuple):
    """The attributes of one node of a sample that a backend must compute."""

    sample: Sample
    attributes: dict[str, Any]


def settings(operator: Operator) -> list[Setting]:
    """Every node of the operator in its samples, except for models to refuse."""
    return [
        Setting(sample, attributes)
        for sample in samples_of(operator)
        if not sample.refuse
        for attributes in attributes_of(operator, sample)
    ]


def pairs(operator: Operator) -> Iterator[tuple[tuple[str, Any], tuple[str, Any]]]:
    """Every two values of two attributes."""
    names = sorted(schema(operator).attributes)
    for first, second in itertools.combinations(names, 2):
        for pair in itertools.product(possible(operator, first), possible(operator, second)):
            yield (first, pair[0]), (second, pair[1])


OPERATORS = {o.name: o for (domain, _), o in catalogue().items() if domain in DOMAINS}
