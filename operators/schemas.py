"""The schemas of the operators outside ONNX's domains, in the form in which ONNX has its own.

Signatures, types and defaults are those that ONNX Runtime 1.32 registers for the domain com.microsoft (docs/
ContribOperators.md there); a test compares them one by one. Registered with onnx itself, they serve the checker, shape
inference and the defaults of attributes like any other schema. What the operators mean is not decided here.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import TypeProto, helper
from onnx.defs import OpSchema

__all__ = ["DOMAIN", "ENTRIES", "Entry", "register"]

DOMAIN = "com.microsoft"

FLOAT, INT, STRING = OpSchema.AttrType.FLOAT, OpSchema.AttrType.INT, OpSchema.AttrType.STRING
FLOATS, INTS = OpSchema.AttrType.FLOATS, OpSchema.AttrType.INTS

Dim = int | str | None
Dims = list[Dim]
# The shapes of the inputs (None: absent or unknown) and the attributes, to the shapes of the outputs (None: unknown).
# Beside the attributes stand the inputs' element types, as "types".
Shapes = Callable[[Sequence[Dims | None], Mapping[str, Any]], Sequence[Dims | None]]


@dataclass(frozen=True, slots=True)
class Needed:
    """An attribute that has to be given."""

    kind: Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A schema in few words.

    ``inputs``, ``outputs``: ``name:type``, the type a variable or one of ONNX's names, with ``?`` where it may be left
    out and ``*`` where any number of any types may follow. ``types``: what each variable may be.
    ``attributes``: the default, an ``AttrType`` where there is none, or `Needed`. ``shapes``: of the outputs.
    ``unbound``: the type of a variable (or the variable that has it) that no input given decides.
    """

    name: str
    inputs: str
    outputs: str
    types: Mapping[str, str]
    shapes: Shapes
    attributes: Mapping[str, Any] = field(default_factory=dict)
    unbound: Mapping[str, str] = field(default_factory=dict)


# Shapes. An unknown dimension is None, an unknown shape too.


def _first(inputs: Sequence[Dims | None], attributes: Mapping[str, Any]) -> list[Dims | None]:
    return [inputs[0]]


def _broadcast(*shapes: Dims | None) -> Dims | None:
    if any(s is None for s in shapes):
        return None
    known = [s for s in shapes if s is not None]
    rank = max((len(s) for s in known), default=0)
    out: Dims = []
    for place in range(rank):
        dims = [s[place - rank + len(s)] for s in known if place - rank + len(s) >= 0]
        wide = [d for d in dims if d != 1]
        fixed = [d for d in wide if isinstance(d, int)]
        out.append(
            fixed[0] if fixed else wide[0] if wide and all(d == wide[0] for d in wide) else None if wide else 1
        )
    return out


def _binary(left: int, right: int) -> Shapes:
    return lambda inputs, attributes: [_broadcast(inputs[left], inputs[right])]


def _product(a: Dims | None, b: Dims | None) -> Dims | None:
    if a is None or b is None:
        return None
    left = [1, *a] if len(a) == 1 else a
    right = [*b, 1] if len(b) == 1 else b
    batch = _broadcast(left[:-2], right[:-2])
    assert batch is not None
    return batch + ([left[-2]] if len(a) > 1 else []) + ([right[-1]] if len(b) > 1 else [])


def _turned(dims: Dims | None, batch: int, matrix: int) -> Dims | None:
    if dims is None or len(dims) < 2:
        return dims
    turned = [*dims[1:-1], dims[0], dims[-1]] if batch else list(dims)
    return [*turned[:-2], turned[-1], turned[-2]] if matrix else turned


def _fused_matmul(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    left = _turned(inputs[0], a.get("transBatchA", 0), a["transA"])
    return [_product(left, _turned(inputs[1], a.get("transBatchB", 0), a["transB"]))]


def _gemm(b: int) -> Shapes:
    def shapes(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
        left, right = _turned(inputs[0], 0, a["transA"]), _turned(inputs[b], 0, a["transB"])
        return [None if left is None or right is None else [left[0], right[1]]]

    return shapes


def _window(
    x: Dims | None, kernel: Sequence[Any] | None, a: Mapping[str, Any], channels: Dim, *, last: bool = False
) -> Dims | None:
    """The shape after a kernel has slid over the spatial axes."""
    if x is None or kernel is None:
        return None
    sizes = x[1:-1] if last else x[2:]
    rank = len(sizes)
    pads, strides = a.get("pads") or [0] * 2 * rank, a.get("strides") or [1] * rank
    gaps, same = a.get("dilations") or [1] * rank, a.get("auto_pad", "NOTSET").startswith("SAME")
    out: Dims = []
    for i, size in enumerate(sizes):
        if not isinstance(size, int) or not isinstance(kernel[i], int):
            out.append(None)
            continue
        room = size - (kernel[i] - 1) * gaps[i] - 1
        if a.get("auto_pad", "NOTSET") == "NOTSET":
            room += pads[i] + pads[i + rank]
        steps = -(-room // strides[i]) if a.get("ceil_mode") else room // strides[i]
        # A window that would start in the padding at the end is none.
        if a.get("ceil_mode") and steps * strides[i] >= size + pads[i]:
            steps -= 1
        out.append(-(-size // strides[i]) if same else steps + 1)
    return [x[0], *out, channels] if last else [x[0], channels, *out]


def _conv(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    w = inputs[1]
    return [None if w is None else _window(inputs[0], a.get("kernel_shape") or w[2:], a, w[0])]


def _pool(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    x, last = inputs[0], bool(a["channels_last"])
    return [None if x is None else _window(x, a["kernel_shape"], a, x[-1 if last else 1], last=last)]


def _global_pool(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    x = inputs[0]
    if x is None:
        return [None]
    ones: Dims = [1] * (len(x) - 2)
    return [[x[0], *ones, x[-1]] if a["channels_last"] else [*x[:2], *ones]]


def _concat(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    parts = [inputs[i] for i in range(2, len(inputs), 3)]
    first = parts[0]
    if first is None:
        return [None]
    sizes = [None if p is None else p[a["axis"]] for p in parts]
    out = list(first)
    out[a["axis"]] = (
        sum(s for s in sizes if isinstance(s, int)) if all(isinstance(s, int) for s in sizes) else None
    )
    return [out]


def _where(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    return [_broadcast(inputs[0], inputs[1], inputs[4])]


def _skipped(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    x = inputs[0]
    rows: Dims | None = None if x is None else [*x[:-1], 1]
    return [x, rows, rows, x]


def _embedded(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    ids, words = inputs[0], inputs[2]
    rows: Dims | None = None if ids is None or words is None else [*ids, words[1]]
    return [rows, None if ids is None else ids[:1], rows]


def _columns(name: str) -> Shapes:
    """A matrix whose columns are counted by an attribute."""

    def shapes(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
        x = inputs[0]
        return [None if x is None else [*x[:-1], a[name if a.get("transB", 1) else "K"]]]

    return shapes


def _gathered(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    data, indices = inputs[:2]
    if data is None or indices is None:
        return [None]
    size = list(data)
    if a["types"][0] == onnx.TensorProto.UINT8:  # several numbers share a byte
        size[-1] = size[-1] * 8 // a["bits"] if isinstance(size[-1], int) else None
    axis = a["gather_axis"] % len(data)
    return [[*size[:axis], *indices, *size[axis + 1 :]]]


def _plus(*parts: Dim) -> Dim:
    return sum(p for p in parts if isinstance(p, int)) if all(isinstance(p, int) for p in parts) else None


def _over(dim: Dim, count: int) -> Dim:
    return dim // count if isinstance(dim, int) else None


def _packed_attention(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    x, weights = inputs[0], inputs[1]
    past = inputs[4] if len(inputs) > 4 else None
    if x is None or weights is None:
        return [None, None]
    sizes = a.get("qkv_hidden_sizes")
    hidden: Dim = sizes[2] if sizes else _over(weights[1], 3)
    total = x[1] if past is None else _plus(past[3], x[1])
    return [[x[0], x[1], hidden], [2, x[0], a["num_heads"], total, _over(hidden, a["num_heads"])]]


def _quantised_attention(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    past = inputs[8] if len(inputs) > 8 else None
    return _packed_attention([inputs[0], inputs[1], None, None, past], a)


def _heads_attention(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    q, k, v, _, _, _, past, past_v = [*inputs, *[None] * 8][:8]
    heads = a["num_heads"]
    if q is None or len(q) == 5 or k is None or len(k) == 5:  # queries, keys and values in one tensor
        packed = q if k is None else k
        if q is None or packed is None:
            return [None] * 4
        size = packed[-1]
        hidden = heads * size if isinstance(size, int) else None
        return [[q[0], q[1], hidden], None, None, None]
    if v is None:
        return [None] * 4
    if len(k) == 4:
        return [[q[0], q[1], heads * v[3] if isinstance(v[3], int) else None], k, v, [q[0], heads, q[1], k[2]]]
    total, total_v = (x[1] if p is None else _plus(p[2], x[1]) for x, p in ((k, past), (v, past_v)))
    present = [[q[0], heads, n, _over(x[2], heads)] for x, n in ((k, total), (v, total_v))]
    return [[q[0], q[1], v[2]], *present, [q[0], heads, q[1], total]]


def _grouped_attention(inputs: Sequence[Dims | None], a: Mapping[str, Any]) -> list[Dims | None]:
    q, k, past = inputs[0], inputs[1], inputs[3]
    if q is None:
        return [None] * 4
    heads, groups = a["num_heads"], a["kv_num_heads"]
    size = _over(q[2], heads if k is not None else heads + 2 * groups)
    # How long the present is depends on the value of total_sequence_length.
    present: Dims = [q[0], groups, None if past is not None else q[1], size]
    hidden = heads * size if isinstance(size, int) else None
    return [[q[0], q[1], hidden], present, present, [q[0], heads, q[1], None]]


_F = "float16 float bfloat16"
_F64 = "float16 float double bfloat16"
_8BIT = "uint8 int8"
_ANY8 = "int8 uint8 int16 uint16 int4 uint4"
_FLOAT8 = "float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz"
_GEMM = {"alpha": 1.0, "transA": 0, "transB": 0}
_MATMUL = {**_GEMM, "transBatchA": 0, "transBatchB": 0}
_CONV = {"auto_pad": "NOTSET", "dilations": INTS, "group": 1, "kernel_shape": INTS, "pads": INTS, "strides": INTS}
_POOL = {
    "auto_pad": "NOTSET",
    "ceil_mode": 0,
    "channels_last": 0,
    "count_include_pad": 0,
    "kernel_shape": Needed(INTS),
    "pads": INTS,
    "strides": INTS,
}
_HEADS = {"mask_filter_value": FLOAT, "num_heads": Needed(INT), "scale": FLOAT, "unidirectional": 0}
_UNARY_8BIT = "X:T X_scale:float X_zero_point:T? Y_scale:float Y_zero_point:T?"
_BINARY_8BIT = "A:T A_scale:float A_zero_point:T? B:T B_scale:float B_zero_point:T? C_scale:float C_zero_point:T?"

ENTRIES = (
    Entry("Gelu", "X:T", "Y:T", {"T": _F64}, _first),
    Entry("BiasGelu", "A:T B:T", "C:T", {"T": _F64}, _first),
    Entry("FastGelu", "X:T bias:T?", "Y:T", {"T": _F64}, _first),
    Entry("QuickGelu", "X:T", "Y:T", {"T": _F64}, _first, {"alpha": 1.702}),
    Entry("FusedMatMul", "A:T B:T", "Y:T", {"T": _F64}, _fused_matmul, _MATMUL),
    Entry(
        "FusedGemm",
        "A:T B:T C:T?",
        "Y:T",
        {"T": "float16 float double uint32 uint64 int32 int64"},
        _gemm(1),
        {
            **_GEMM,
            "beta": 1.0,
            "activation": STRING,
            "activation_alpha": FLOAT,
            "activation_beta": FLOAT,
            "activation_gamma": FLOAT,
        },
    ),
    Entry(
        "FusedConv",
        "X:T W:T B:T? Z:T?",
        "Y:T",
        {"T": "float16 float double"},
        _conv,
        {**_CONV, "activation": STRING, "activation_params": FLOATS},
    ),
    Entry("Inverse", "X:T", "Y:T", {"T": "float16 float double"}, _first),
    Entry(
        "SkipLayerNormalization",
        "input:T skip:T gamma:T beta:T? bias:T?",
        "output:T mean:U? inv_std_var:U? input_skip_bias_sum:T?",
        {"T": _F, "U": "float"},
        _skipped,
        {"epsilon": 1e-12},
    ),
    Entry(
        "SkipSimplifiedLayerNormalization",
        "input:T skip:T gamma:T bias:T?",
        "output:T mean:U? inv_std_var:U? input_skip_bias_sum:T?",
        {"T": _F, "U": "float"},
        _skipped,
        {"epsilon": 1e-12},
    ),
    Entry(
        "EmbedLayerNormalization",
        "input_ids:T1 segment_ids:T1? word_embedding:T position_embedding:T segment_embedding:T? gamma:T beta:T "
        "mask:T1? position_ids:T1?",
        "output:T mask_index:T1? embedding_sum:T?",
        {"T1": "int32", "T": "float float16"},
        _embedded,
        {"epsilon": 1e-12, "mask_index_type": INT},
    ),
    Entry(
        "Attention",
        "input:T weights:T bias:T? mask_index:M? past:T? attention_bias:T? past_sequence_length:M?",
        "output:T present:T?",
        {"T": _F, "M": "int32"},
        _packed_attention,
        {
            **_HEADS,
            "do_rotary": INT,
            "past_present_share_buffer": INT,
            "qkv_hidden_sizes": INTS,
            "rotary_embedding_dim": INT,
        },
    ),
    Entry(
        "QAttention",
        "input:T1 weight:T2 bias:T3 input_scale:T3 weight_scale:T3 mask_index:T4? input_zero_point:T1? "
        "weight_zero_point:T2? past:T3?",
        "output:T3 present:T3?",
        {"T1": _8BIT, "T2": _8BIT, "T3": "float float16", "T4": "int32"},
        _quantised_attention,
        {**_HEADS, "do_rotary": INT, "past_present_share_buffer": INT},
    ),
    Entry(
        "MultiHeadAttention",
        "query:T key:T? value:T? bias:T? key_padding_mask:M? attention_bias:T? past_key:T? past_value:T? "
        "past_sequence_length:M? cache_indirection:M?",
        "output:T present_key:T? present_value:T? qk:QK?",
        {"T": _F, "QK": _F, "M": "int32"},
        _heads_attention,
        _HEADS,
        {"QK": "T"},
    ),
    Entry(
        "GroupQueryAttention",
        "query:T key:T? value:T? past_key:T_CACHE? past_value:T_CACHE? seqlens_k:M total_sequence_length:M "
        "cos_cache:T? sin_cache:T? position_ids:int64? attention_bias:T? head_sink:T? k_scale:T_KV_SCALE? "
        "v_scale:T_KV_SCALE? q_norm_weight:T? k_norm_weight:T? query_seqlens:M?",
        "output:T present_key:T_CACHE? present_value:T_CACHE? output_qk:T?",
        {
            "T": _F,
            "T_CACHE": "float float16 bfloat16 uint8 int8 float8e4m3fn",
            "T_KV_SCALE": "float",
            "M": "int32",
        },
        _grouped_attention,
        {
            "causal": 1,
            "do_rotary": INT,
            "k_norm_epsilon": FLOAT,
            "k_quant_type": "NONE",
            "kv_cache_bit_width": INT,
            "kv_num_heads": Needed(INT),
            "local_window_size": -1,
            "num_heads": Needed(INT),
            "q_norm_epsilon": FLOAT,
            "qk_norm_epsilon": 1e-6,
            "qk_output": 0,
            "rotary_interleaved": INT,
            "scale": FLOAT,
            "sliding_window_cache": 0,
            "smooth_softmax": -1,
            "softcap": FLOAT,
            "v_quant_type": "NONE",
        },
        {"T_CACHE": "T"},
    ),
    Entry(
        "RotaryEmbedding",
        "input:T position_ids:M cos_cache:T sin_cache:T",
        "output:T",
        {"T": _F, "M": "int64"},
        _first,
        {
            "interleaved": INT,
            "is_packed_batching": INT,
            "num_heads": INT,
            "rotary_embedding_dim": INT,
            "scale": FLOAT,
        },
    ),
    Entry(
        "MatMulNBits",
        "A:T1 B:T2 scales:T1 zero_points:T3? g_idx:T4? bias:T1?",
        "Y:T1",
        {"T1": _F, "T2": "uint8", "T3": "uint8 float16 float bfloat16", "T4": "int32"},
        _columns("N"),
        {
            "K": Needed(INT),
            "N": Needed(INT),
            "accuracy_level": 0,
            "bits": 4,
            "block_size": Needed(INT),
            "weight_prepacked": 0,
        },
    ),
    Entry(
        "MatMulBnb4",
        "A:T1 B:T2 absmax:T1",
        "Y:T1",
        {"T1": _F, "T2": "uint8"},
        _columns("N"),
        {
            "K": Needed(INT),
            "N": Needed(INT),
            "block_size": Needed(INT),
            "quant_type": Needed(INT),
            "training_mode": 0,
            "transB": 1,
        },
    ),
    Entry(
        "GatherBlockQuantized",
        "data:T1 indices:Tind scales:T2 zero_points:T1?",
        "output:T2",
        {"T1": f"int4 uint4 uint8 {_FLOAT8} float4e2m1", "T2": _F, "Tind": "int32 int64"},
        _gathered,
        {"bits": 4, "block_size": 128, "gather_axis": 0, "quantize_axis": 1},
    ),
    Entry(
        "QuantizeLinear",
        "x:T1 y_scale:T1 y_zero_point:T2?",
        "y:T2",
        {"T1": "float16 float", "T2": _ANY8},
        _first,
        {"axis": INT},
        {"T2": "uint8"},
    ),
    Entry(
        "DequantizeLinear",
        "x:T1 x_scale:T2 x_zero_point:T1?",
        "y:T2",
        {"T1": f"{_ANY8} int32", "T2": "float16 float"},
        _first,
        {"axis": INT},
    ),
    Entry(
        "DynamicQuantizeMatMul",
        "A:T1 B:T2 b_scale:T1 b_zero_point:T2? bias:T1?",
        "Y:T1",
        {"T1": "float", "T2": _8BIT},
        lambda inputs, _: [_product(*inputs[:2])],
    ),
    Entry(
        "MatMulIntegerToFloat",
        "A:T1 B:T2 a_scale:T3 b_scale:T3 a_zero_point:T1? b_zero_point:T2? bias:T3?",
        "Y:T3",
        {"T1": _8BIT, "T2": _8BIT, "T3": "float float16"},
        lambda inputs, _: [_product(*inputs[:2])],
    ),
    Entry(
        "QGemm",
        "A:TA a_scale:T a_zero_point:TA B:TB b_scale:T b_zero_point:TB C:TC? y_scale:T? y_zero_point:TYZ?",
        "Y:TY",
        {"T": "float", "TA": _8BIT, "TB": _8BIT, "TC": "int32", "TYZ": _8BIT, "TY": f"float {_8BIT}"},
        _gemm(3),
        _GEMM,
        {"TY": "TYZ", "TYZ": "float"},
    ),
    Entry("QLinearAdd", _BINARY_8BIT, "C:T", {"T": _8BIT}, _binary(0, 3)),
    Entry("QLinearMul", _BINARY_8BIT, "C:T", {"T": _8BIT}, _binary(0, 3)),
    Entry("QLinearSigmoid", _UNARY_8BIT, "Y:T", {"T": _8BIT}, _first),
    Entry("QLinearLeakyRelu", _UNARY_8BIT, "Y:T", {"T": _8BIT}, _first, {"alpha": 0.01}),
    Entry(
        "QLinearSoftmax",
        "X:T X_scale:float x_zero_point:T? y_scale:float y_zero_point:T",
        "Y:T",
        {"T": _8BIT},
        _first,
        {"axis": -1, "opset": Needed(INT)},
    ),
    Entry(
        "QLinearAveragePool",
        "X:T x_scale:float x_zero_point:T? y_scale:float y_zero_point:T?",
        "Y:T",
        {"T": _8BIT},
        _pool,
        _POOL,
    ),
    Entry(
        "QLinearGlobalAveragePool",
        "X:T x_scale:float x_zero_point:T y_scale:float y_zero_point:T",
        "Y:T",
        {"T": _8BIT},
        _global_pool,
        {"channels_last": 0},
    ),
    Entry(
        "QLinearConcat",
        "Y_scale:TF Y_zero_point:T8 inputs:TV*",
        "Y:T8",
        {"T8": _8BIT, "TF": "float", "TV": f"{_8BIT} float"},
        _concat,
        {"axis": Needed(INT)},
    ),
    Entry(
        "QLinearWhere",
        "condition:B X:T x_scale:TF x_zero_point:T Y:T y_scale:TF y_zero_point:T z_scale:TF z_zero_point:T",
        "Z:T",
        {"B": "bool", "TF": "float", "T": _8BIT},
        _where,
    ),
)


def _formal(text: str, types: Mapping[str, str]) -> OpSchema.FormalParameter:
    name, _, kind = text.rstrip("?*").partition(":")
    options = OpSchema.FormalParameterOption
    option = {"?": options.Optional, "*": options.Variadic}.get(text[-1], options.Single)
    written = kind if kind in types else f"tensor({kind})"
    return OpSchema.FormalParameter(name, written, param_option=option, is_homogeneous=text[-1] != "*")


def _attribute(name: str, value: Any) -> OpSchema.Attribute:
    if isinstance(value, Needed):
        return OpSchema.Attribute(name, value.kind, required=True)
    if isinstance(value, OpSchema.AttrType):
        return OpSchema.Attribute(name, value, required=False)
    return OpSchema.Attribute(name, helper.make_attribute(name, value))


def _schema(entry: Entry) -> OpSchema:
    schema = OpSchema(
        entry.name,
        DOMAIN,
        1,
        inputs=[_formal(t, entry.types) for t in entry.inputs.split()],
        outputs=[_formal(t, entry.types) for t in entry.outputs.split()],
        type_constraints=[(v, [f"tensor({t})" for t in text.split()], "") for v, text in entry.types.items()],
        attributes=[_attribute(k, v) for k, v in entry.attributes.items()],
    )
    schema.set_type_and_shape_inference_function(functools.partial(_infer, entry, schema))
    return schema


def _infer(entry: Entry, schema: OpSchema, context: Any) -> None:
    """Give the outputs their element types, and their shapes as far as those of the inputs are known."""
    formal = list(schema.inputs)
    given = [context.get_input_type(i) if context.has_input(i) else None for i in range(context.get_num_inputs())]
    bound: dict[str, int] = {}
    for position, kind in enumerate(given):
        if kind is not None and kind.HasField("tensor_type"):
            bound.setdefault(formal[min(position, len(formal) - 1)].type_str, kind.tensor_type.elem_type)
    attributes: dict[str, Any] = {"types": [0 if kind is None else kind.tensor_type.elem_type for kind in given]}
    for name in schema.attributes:
        value = context.get_attribute(name) or schema.attributes[name].default_value
        if value.type != onnx.AttributeProto.UNDEFINED:
            plain = helper.get_attribute_value(value)
            attributes[name] = plain.decode() if isinstance(plain, bytes) else plain
    shapes = entry.shapes([_dims(kind) for kind in given], attributes)
    for position in range(context.get_num_outputs()):
        if not context.has_output(position):
            continue
        elem_type = _element(entry, schema.outputs[position].type_str, bound)
        if elem_type:
            dims = shapes[position] if position < len(shapes) else None
            context.set_output_type(position, _type(elem_type, dims))


def _element(entry: Entry, variable: str, bound: Mapping[str, int]) -> int:
    """The element type of a variable: of the inputs that have it, else the only one, else as the entry says."""
    if variable in bound:
        return bound[variable]
    if variable in entry.unbound:
        return _element(entry, entry.unbound[variable], bound)
    names = entry.types.get(variable, variable).split()
    return int(onnx.TensorProto.DataType.Value(names[0].upper())) if len(names) == 1 else 0


def _dims(kind: TypeProto | None) -> Dims | None:
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in kind.tensor_type.shape.dim]


def _type(elem_type: int, dims: Dims | None) -> TypeProto:
    kind = TypeProto()
    kind.tensor_type.elem_type = elem_type
    if dims is not None:
        kind.tensor_type.shape.SetInParent()
        for dim in dims:
            place = kind.tensor_type.shape.dim.add()
            if isinstance(dim, int):
                place.dim_value = dim
            elif dim is not None:
                place.dim_param = dim
    return kind


@functools.cache
def register() -> None:
    """Make the schemas known to onnx, once. One that something else in the process has registered stays.

    ONNX's evaluator builds a table of all schemas by name when it is imported, and fails where two domains share one:
    so it is imported first.
    """
    importlib.import_module("onnx.reference")
    for entry in ENTRIES:
        if not onnx.defs.has(entry.name, DOMAIN):
            onnx.defs.register_schema(_schema(entry))
