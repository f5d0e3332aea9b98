"""Shapes that every operator meets whatever it computes: each rank, more than 2^20 elements, no elements, and one
prepared model at several lengths. They come after the samples of the operators' own files, from which they take values
and attributes; tests/test_shapes.py holds what each operator has by both together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.draws import coin, integers, uniform
from conformance.spec import Operator, Sample, TensorSpec, const, tensor

from .samples import DYNAMIC, EMPTY, LARGE, SCALAR, literal, tagged
from .structure import written

__all__ = ["extents"]

ONE = ("float32",)
# Primes, so that no tile divides them; their product is past 2^20.
ROWS, COLUMNS = 1031, 1021
LONG = 4099  # 257 rows of it are past 2^20, too

Shape = tuple[int, ...]
Given = tuple[TensorSpec | None, ...]
# By the input's position: the axis that counts what is independent of each other (images, rows, sequences).
Batch = Mapping[int, int]

ONE_OPERAND = (
    "Neg",
    "Sqrt",
    "Clip",
    "Sin",
    "Cos",
    "Tanh",
    "Erf",
    "Relu",
    "Gelu",
    "Sigmoid",
    "HardSwish",
    "IsNaN",
    "Cast",
)
TWO_OPERANDS = ("Add", "Sub", "Mul", "Div", "Pow", "And")

# The sample to take, and the axes of its inputs that become 0 long.
NONE: Mapping[str, tuple[str, Batch]] = {
    "ConvInteger": ("plain", {0: 0}),
    "QLinearConv": ("plain", {0: 0}),
    "DeformConv": ("basic", {0: 0, 2: 0}),
    "Col2Im": ("overlap", {0: 0}),
    "MeanVarianceNormalization": ("axes-2-3", {0: 0}),
    "Upsample": ("nearest", {0: 0}),
    "RNN": ("forward", {0: 1}),
    "GRU": ("forward", {0: 1}),
    "LSTM": ("forward", {0: 1}),
    "DFT": ("complex", {0: 0}),
    "STFT": ("window", {0: 0}),
    "ArrayFeatureExtractor": ("matrix", {0: 0}),
    "TensorScatter": ("prefill", {0: 0, 1: 0}),
    "Attention": ("heads", {0: 0, 1: 0, 2: 0}),
    "RotaryEmbedding": ("no-positions", {0: 0, 1: 0, 2: 0}),
    "LinearAttention": ("linear", {0: 0, 1: 0, 2: 0}),
}
# The sample to take, the axes of its inputs, and the lengths that one prepared model meets there besides its own.
SEVERAL: Mapping[str, tuple[str, Batch, Sequence[int]]] = {
    "CastLike": ("to-int32", {0: 0}, (1, 7)),
    "BitCast": ("to-int32", {0: 0}, (1, 7)),
    "Bernoulli": ("probabilities", {0: 0}, (1, 99)),
    "Multinomial": ("sixteen-classes", {0: 0}, (1, 7)),
    "DeformConv": ("basic", {0: 0, 2: 0}, (2, 3)),
    "Col2Im": ("overlap", {0: 0}, (1, 5)),
    "MaxRoiPool": ("basic", {0: 2}, (11, 17)),
    "RoiAlign": ("basic", {0: 2}, (11, 17)),
    "MeanVarianceNormalization": ("axes-2-3", {0: 0}, (1, 5)),
    "LRN": ("size-5", {0: 0}, (1, 5)),
    "Upsample": ("nearest", {0: 0}, (2, 5)),
    "TensorScatter": ("prefill", {0: 0, 1: 0}, (1, 5)),
    "FeatureVectorizer": ("two", {0: 0, 1: 0}, (1, 7)),
    "ReverseSequence": ("time-first", {0: 0}, (5, 9)),
    "Scatter": ("axis-0", {0: 0}, (5, 9)),
    "CenterCropPad": ("crop-and-pad", {0: 1}, (11, 13)),
}


def extents(operator: Operator) -> Iterator[Sample]:
    """The samples of an entry that shapes alone tell from those of its own."""
    if operator.domain not in ("", "ai.onnx.ml"):
        return  # whose operators may have names of ONNX's
    name, samples = operator.name, {sample.name: sample for sample in operator.samples()}
    first = samples.get("vector") or next(iter(samples.values()))
    if name in ONE_OPERAND:
        for rank, shape in (("rank-4", (3, 13, 5, 67)), ("rank-5", (2, 3, 1, 7, 11))):
            yield _of(first, f"extent-{rank}", _at(first, shape))
        yield _of(first, "million", _at(first, (ROWS, COLUMNS)), tags=LARGE)
    if name in TWO_OPERANDS:
        few = ("bool",) if name == "And" else ONE
        yield _of(first, "extent-rank-5", _at(first, (2, 3, 1, 13, 11), (3, 67, 1, 1)), dtypes=few)
        yield _of(first, "million", _at(first, (ROWS, COLUMNS), (COLUMNS,)), dtypes=few, tags=LARGE)
    if name in NONE:
        source, batch = NONE[name]
        yield _of(samples[source], "none-of-a-batch", _counted(samples[source], batch, 0), tags=EMPTY)
    if name in SEVERAL:
        source, batch, lengths = SEVERAL[name]
        again = tuple(_counted(samples[source], batch, n) for n in lengths)
        yield _of(samples[source], "several-lengths", samples[source].inputs, again=again, tags=DYNAMIC)
    if name in OTHERS:
        yield from OTHERS[name]()


def _of(sample: Sample, name: str, inputs: Given, **fields: Any) -> Sample:
    """The sample with inputs of other shapes. In float32, or in the first dtype where it has not that one."""
    dtypes = ONE if sample.dtypes is None or "float32" in sample.dtypes else sample.dtypes[:1]
    shape = sample.shape
    if isinstance(shape, tuple):  # rows of a fixed width
        shape = ("rows", *shape[1:])
    return replace(sample, name=name, inputs=inputs, **{"dtypes": dtypes, "again": (), "shape": shape, **fields})


def _at(sample: Sample, *shapes: Shape) -> Given:
    """The inputs in these shapes, the constant ones as they are."""
    rest = iter(shapes)
    return tuple(i if i is None or i.constant else replace(i, shape=next(rest)) for i in sample.inputs)


def _counted(sample: Sample, batch: Batch, length: int) -> Given:
    """The inputs with axes that are as long as given."""
    inputs = list(sample.inputs)
    for position, axis in batch.items():
        spec = inputs[position]
        assert spec is not None
        inputs[position] = replace(spec, shape=(*spec.shape[:axis], length, *spec.shape[axis + 1 :]))
    return tuple(inputs)


def index(*items: int, shape: Shape | None = None) -> TensorSpec:
    """Indices that the model does not hold."""
    return literal(*items, shape=shape, dtype="int64")


def _moved(uses: Sequence[tuple[str, Sequence[TensorSpec | None], dict[str, Any]]]) -> Iterator[Sample]:
    """One float32 sample for each name, inputs and attributes; the tags follow from the name."""
    for name, inputs, attributes in uses:
        tags = LARGE if name == "million" else SCALAR if name == "extent-rank-0" else frozenset()
        yield tagged(name, *inputs, attributes=attributes, dtypes=ONE, tags=tags)


def _softmaxes() -> Iterator[Sample]:
    wide = tensor(257, LONG)
    yield from _moved((("extent-rank-5", [tensor(2, 1, 3, 7, 11)], {"axis": 3}), ("million", [wide], {"axis": 1})))


def _wheres() -> Iterator[Sample]:
    def chosen(condition: Shape, *shapes: Shape) -> list[TensorSpec]:
        return [tensor(*condition, draw=coin(0.5), dtype="bool"), *(tensor(*shape) for shape in shapes)]

    yield from _moved(
        (
            ("extent-rank-5", chosen((2, 1, 1, 13, 11), (3, 67, 1, 1), ()), {}),
            ("million", chosen((ROWS, 1), (ROWS, COLUMNS), (COLUMNS,)), {}),
        )
    )


def _sums() -> Iterator[Sample]:
    x, one = tensor(257, LONG), {"keepdims": 0}
    yield from _moved(
        (
            ("extent-rank-1", [tensor(67), const([0])], {}),
            ("extent-rank-4", [tensor(2, 13, 5, 7), const([1, 3])], one),
            ("extent-rank-5", [tensor(2, 3, 1, 7, 11), const([0, -1])], {}),
        )
    )
    yield tagged("million", x, const([1]), dtypes=ONE, tags=LARGE)


def _sums_and_halves() -> Iterator[Sample]:
    yield from _sums()
    yield tagged("million-float16", tensor(257, LONG), const([1]), dtypes=("float16",), tags=LARGE)


def _reshapes() -> Iterator[Sample]:
    yield from _moved(
        (
            ("extent-rank-1", [tensor(67 * 13), const([13, 67])], {}),
            ("extent-rank-4", [tensor(2, 3, 5, 67), const([-1, 67])], {}),
            ("extent-rank-5", [tensor(2, 3, 1, 7, 11), const([0, 0, 77])], {}),
            ("extent-rank-6", [tensor(2, 1, 3, 1, 7, 11), const([7, -1])], {}),
            ("million", [tensor(ROWS, COLUMNS), const([COLUMNS, -1])], {}),
        )
    )


def _squeezes() -> Iterator[Sample]:
    yield from _moved(
        (
            ("extent-rank-0", [tensor()], {}),
            ("extent-rank-1", [tensor(1), const([0])], {}),
            ("extent-rank-4", [tensor(1, 13, 1, 67), const([0, -2])], {}),
            ("million", [tensor(ROWS, 1, COLUMNS), const([1])], {}),
        )
    )


def _unsqueezes() -> Iterator[Sample]:
    yield from _moved(
        (
            ("extent-rank-1", [tensor(67), const([0, 2])], {}),
            ("extent-rank-3", [tensor(2, 13, 67), const([-1])], {}),
            ("extent-rank-4", [tensor(2, 3, 5, 7), const([2])], {}),
            ("extent-rank-5", [tensor(2, 3, 1, 7, 11), const([0])], {}),
            ("extent-rank-6", [tensor(2, 1, 3, 1, 2, 3), const([6])], {}),
            ("million", [tensor(ROWS, COLUMNS), const([1])], {}),
        )
    )


def _transposes() -> Iterator[Sample]:
    yield from _moved(
        (
            ("extent-rank-5", [tensor(2, 3, 5, 7, 11)], {"perm": [3, 0, 4, 2, 1]}),
            ("million", [tensor(ROWS, COLUMNS)], {}),
        )
    )


def _expansions() -> Iterator[Sample]:
    yield from _moved(
        (
            ("extent-rank-1", [tensor(67), const([13, 1])], {}),
            ("extent-rank-4", [tensor(2, 1, 5, 1), const([3, 1, 7])], {}),
            ("extent-rank-5", [tensor(2, 1, 1, 7, 11), const([3, 1, 1, 1])], {}),
            ("extent-rank-6", [tensor(2, 1, 3, 1, 2, 1), const([5, 1, 2, 1, 7])], {}),
            ("million", [tensor(ROWS, 1), const([1, COLUMNS])], {}),
        )
    )


def _concatenations() -> Iterator[Sample]:
    yield from _moved(
        (
            ("extent-rank-4", [tensor(2, 3, 13, 7), tensor(2, 3, 4, 7)], {"axis": 2}),
            ("extent-rank-5", [tensor(2, 1, 3, 7, 11), tensor(2, 1, 5, 7, 11)], {"axis": -3}),
            ("million", [tensor(ROWS, 509), tensor(ROWS, 512)], {"axis": 1}),
        )
    )


def _divisions() -> Iterator[Sample]:
    for name, shape, sizes, axis in (
        ("extent-rank-4", (2, 13, 5, 7), [4, 9], 1),
        ("extent-rank-5", (2, 1, 3, 7, 11), [1, 6], -2),
        ("million", (ROWS, COLUMNS), [509, 512], 1),
    ):
        tags = LARGE if name == "million" else frozenset[str]()
        cut = tensor(*shape), const(sizes)
        yield Sample(name, cut, {"axis": axis}, outputs=2, dtypes=ONE, tags=tags)


def _slices() -> Iterator[Sample]:
    def cut(
        shape: Shape, starts: list[int], ends: list[int], axes: list[int], steps: list[int]
    ) -> list[TensorSpec]:
        return [tensor(*shape), *(const(items) for items in (starts, ends, axes, steps))]

    yield from _moved(
        (
            ("extent-rank-4", cut((2, 13, 5, 67), [12, 1], [0, 66], [1, 3], [-3, 5]), {}),
            ("extent-rank-5", cut((2, 3, 1, 7, 11), [1], [10], [4], [2]), {}),
            ("million", cut((ROWS, COLUMNS), [-1, 3], [0, COLUMNS], [0, 1], [-1, 1]), {}),
        )
    )


def _gathers() -> Iterator[Sample]:
    rows = tensor(ROWS - 4, draw=integers(-ROWS, ROWS - 1), dtype="int64")
    yield from _moved(
        (
            ("extent-rank-4", [tensor(2, 13, 5, 7), index(12, -13, 3)], {"axis": 1}),
            ("extent-rank-5", [tensor(2, 3, 1, 7, 11), index(6, 0, shape=(2, 1))], {"axis": 3}),
            ("million", [tensor(ROWS, COLUMNS), rows], {}),
        )
    )


def _gathers_nd() -> Iterator[Sample]:
    places = tensor(LONG, 1, draw=integers(-ROWS, ROWS - 1), dtype="int64")
    yield from _moved(
        (
            ("extent-rank-4", [tensor(2, 3, 5, 7), index(1, 2, 0, -1, shape=(2, 2))], {}),
            ("extent-rank-5", [tensor(2, 3, 1, 7, 11), index(1, 2, 0, -2, -1, -1, shape=(2, 3))], {}),
            ("million", [tensor(ROWS, 257), places], {}),
        )
    )


def _products() -> Iterator[Sample]:
    stack = [tensor(2, 1, 3, 1, 5, 7), tensor(1, 2, 1, 2, 7, 3)]
    narrow = [tensor(ROWS, COLUMNS), tensor(COLUMNS, 11)]
    yield from _moved((("extent-rank-6", stack, {}), ("million", narrow, {})))
    yield tagged("million-float16", *narrow, dtypes=("float16",), tags=LARGE)


def _gemms() -> Iterator[Sample]:
    yield from _moved((("million", [tensor(ROWS, COLUMNS), tensor(COLUMNS, 11), tensor(11)], {}),))


IMAGE = (1, 3, 593, 599)


def _convolutions() -> Iterator[Sample]:
    weight = tensor(2, 3, 3, 3, draw=uniform(-0.3, 0.3), constant=True)
    yield from _moved((("million", [tensor(*IMAGE), weight], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),))


def _pools() -> Iterator[Sample]:
    yield from _moved((("million", [tensor(*IMAGE)], {"kernel_shape": [3, 3], "strides": [2, 2]}),))


def _channels(x: Shape, count: int) -> list[TensorSpec]:
    """An image and as many parameters by channel: scales and variances positive."""
    positive, n = uniform(0.5, 1.5), x[1]
    parameters = [tensor(n, draw=positive), tensor(n), tensor(n), tensor(n, draw=positive)]
    return [tensor(*x), *(replace(p, constant=True) for p in parameters[:count])]


def _batch_norms() -> Iterator[Sample]:
    yield from _moved(
        (("extent-rank-6", _channels((2, 3, 1, 2, 5, 3), 4), {}), ("million", _channels((1, 67, 127, 131), 4), {}))
    )


def _instance_norms() -> Iterator[Sample]:
    yield from _moved(
        (("extent-rank-6", _channels((2, 3, 1, 2, 5, 3), 2), {}), ("million", _channels((1, 3, 593, 599), 2), {}))
    )


def _layer_norms() -> Iterator[Sample]:
    def normed(*x: int) -> list[TensorSpec]:
        scale = tensor(x[-1], draw=uniform(0.5, 1.5), constant=True)
        return [tensor(*x), scale, tensor(x[-1], constant=True)]

    yield from _moved(
        (
            ("extent-rank-5", normed(2, 3, 1, 7, 67), {}),
            ("extent-rank-6", normed(2, 1, 3, 1, 2, 11), {}),
            ("million", normed(257, LONG), {}),
        )
    )


def _resizes() -> Iterator[Sample]:
    def sized(x: Shape, sizes: list[int]) -> list[TensorSpec | None]:
        return [tensor(*x), None, None, const(sizes)]

    linear = {"mode": "linear"}
    yield from _moved(
        (
            ("extent-rank-1", sized((67,), [101]), linear),
            ("extent-rank-6", sized((1, 2, 1, 2, 3, 5), [1, 2, 1, 2, 5, 8]), {}),
            ("million", sized(IMAGE, [1, 3, 301, 307]), {}),
        )
    )


def _recurrences() -> Iterator[Sample]:
    weights = (tensor(1, 16, 593, draw=uniform(-0.04, 0.04), constant=True), tensor(1, 16, 4, constant=True))
    outputs = {"hidden_size": 4}
    yield Sample("million", (tensor(3, 601, 593), *weights), outputs, dtypes=ONE, tags=LARGE)


def _reversals() -> Iterator[Sample]:
    yield tagged("no-columns", tensor(4, 2, 0), const([3, 1]), dtypes=ONE, tags=EMPTY)


def _compressions() -> Iterator[Sample]:
    kept = literal(True, False, True, dtype="bool")
    yield tagged("no-rows", tensor(0, 3), kept, attributes={"axis": 1}, dtypes=ONE, tags=EMPTY)


def _boxes() -> Iterator[Sample]:
    limits = TensorSpec((), const(5).draw, "int64", constant=True)
    yield tagged("no-boxes", tensor(1, 0, 4), tensor(1, 2, 0), limits, dtypes=ONE, tags=EMPTY)


def _unpools() -> Iterator[Sample]:
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nothing = tensor(0, 2, 2, 3), tensor(0, 2, 2, 3, dtype="int64")
    yield tagged("none-of-a-batch", *nothing, attributes=attributes, dtypes=ONE, tags=EMPTY)


def _losses() -> Iterator[Sample]:
    nothing = tensor(0, 5), tensor(0, dtype="int64")
    yield tagged("none-of-a-batch", *nothing, attributes={"reduction": "none"}, dtypes=ONE, tags=EMPTY)
    summed = tensor(0, 5), tensor(0, dtype="int64")
    yield tagged("none-of-a-batch-sum", *summed, attributes={"reduction": "sum"}, dtypes=ONE, tags=EMPTY)


def _fillings() -> Iterator[Sample]:
    again = ((index(1, 5, 2),), (index(7, 0, 3),))
    yield tagged("several-lengths", index(2, 3, 4), dtypes=ONE, again=again, tags=DYNAMIC)


def _grids() -> Iterator[Sample]:
    sets = [(tensor(n, 2, 3), index(n, 3, h, w)) for n, h, w in ((2, 5, 6), (1, 3, 7), (3, 4, 2))]
    first, *again = sets
    yield tagged("several-lengths", *first, dtypes=ONE, again=tuple(again), tags=DYNAMIC)


def _frames() -> Iterator[Sample]:
    step, window = const(8), tensor(16, draw=uniform(0.0, 1.0), constant=True)
    first, *again = ((tensor(n, length, 1), step, window) for n, length in ((1, 64), (2, 40), (3, 99)))
    shape = ("batch", "frames", 9, 2)
    yield tagged("several-lengths", *first, dtypes=ONE, again=tuple(again), shape=shape, tags=DYNAMIC)


def _windows() -> Iterator[Sample]:
    first, *again = (literal(n, shape=()) for n in (10, 3, 17))
    sets = tuple((size,) for size in again)
    yield tagged("several-lengths", first, dtypes=("int64",), again=sets, shape=("size",), tags=DYNAMIC)


def _texts(attributes: Mapping[str, Any], operands: int = 1, outputs: int = 1) -> Iterator[Sample]:
    # No empty ones: ONNX does not say whether these are normalised away, or how many parts they have.
    first, *again = ((literal(*text.split("|")),) * operands for text in ("b|a c", "x y", "www.a.com|Γ|b|x|a  c"))
    sets, strings = tuple(again), ("string",)
    yield Sample("several-lengths", first, attributes, outputs=outputs, dtypes=strings, again=sets, tags=DYNAMIC)


PAIR = "($T[m,3] a, $T[n,3] b) => "
PAIRS = tuple((tensor(m, 3), tensor(n, 3)) for m, n in ((2, 4), (1, 7), (5, 0)))
ROWS_OF_3 = tuple((tensor(n, 3),) for n in (2, 0, 7))
SOME_ROWS = tuple((tensor(n, 3),) for n in (2, 1, 7))


def _graphs(text: str, sets: tuple[Given, ...] = PAIRS, **fields: Any) -> Callable[[], Iterator[Sample]]:
    """A graph of a sequence, an optional or a body, run at several lengths."""

    def samples() -> Iterator[Sample]:
        first, *again = sets
        graph = written("several-lengths", text, dtypes=ONE, again=tuple(again), tags=DYNAMIC, **fields)
        yield replace(graph, inputs=first)

    return samples


_JOIN = "y = ConcatFromSequence <axis = 0> (t) }"
_ROWS = "($T[m,3] a) => ($T[p,3] y) "
_THEN_ELSE = (
    "<then_branch = yes () => ($T[p,3] u) { u = Neg (a) }, else_branch = no () => ($T[q,3] v) { v = Abs (a) }>"
)
_EACH = "<body = each ($T[k,3] p) => ($T[k,3] q) { q = Neg (p) }>"
_TURN = "<body = turn (int64 i, bool c, $T[m,3] v) => (bool d, $T[m,3] w) { d = Identity (c) w = Add (v, a) }>"
OTHERS: Mapping[str, Callable[[], Iterator[Sample]]] = {
    "Softmax": _softmaxes,
    "Where": _wheres,
    "ReduceSum": _sums_and_halves,
    "ReduceMean": _sums_and_halves,
    "ReduceL2": _sums,
    "Reshape": _reshapes,
    "Squeeze": _squeezes,
    "Unsqueeze": _unsqueezes,
    "Transpose": _transposes,
    "Expand": _expansions,
    "Concat": _concatenations,
    "Split": _divisions,
    "Slice": _slices,
    "Gather": _gathers,
    "GatherND": _gathers_nd,
    "MatMul": _products,
    "Gemm": _gemms,
    "Conv": _convolutions,
    "MaxPool": _pools,
    "BatchNormalization": _batch_norms,
    "InstanceNormalization": _instance_norms,
    "LayerNormalization": _layer_norms,
    "Resize": _resizes,
    "LSTM": _recurrences,
    "ReverseSequence": _reversals,
    "Compress": _compressions,
    "NonMaxSuppression": _boxes,
    "MaxUnpool": _unpools,
    "NegativeLogLikelihoodLoss": _losses,
    "ConstantOfShape": _fillings,
    "AffineGrid": _grids,
    "STFT": _frames,
    "HannWindow": _windows,
    "HammingWindow": _windows,
    "BlackmanWindow": _windows,
    "StringConcat": lambda: _texts({}, operands=2),
    "StringNormalizer": lambda: _texts({"case_change_action": "UPPER", "locale": "C"}),
    "RegexFullMatch": lambda: _texts({"pattern": "[a-z ]+"}),
    "StringSplit": lambda: _texts({"delimiter": " "}, outputs=2),
    "SequenceConstruct": _graphs(PAIR + "($T[p,3] y) { t = SequenceConstruct (a, b) " + _JOIN),
    "SequenceAt": _graphs(
        PAIR + "($T[p,3] y) <int64 i = {1}> { t = SequenceConstruct (a, b) y = SequenceAt (t, i) }"
    ),
    "SequenceInsert": _graphs(
        PAIR + "($T[p,3] y) { s = SequenceConstruct (a, a) t = SequenceInsert (s, b) " + _JOIN
    ),
    "SequenceErase": _graphs(
        PAIR + "($T[p,3] y) { s = SequenceConstruct (b, a, b) t = SequenceErase (s) " + _JOIN
    ),
    "SequenceEmpty": _graphs(_ROWS + "{ s = SequenceEmpty () t = SequenceInsert (s, a) " + _JOIN, ROWS_OF_3),
    "SplitToSequence": _graphs(_ROWS + "{ t = SplitToSequence <axis = 0> (a) " + _JOIN, SOME_ROWS),
    "ConcatFromSequence": _graphs(PAIR + "($T[p,3] y) { t = SequenceConstruct (a, b, a) " + _JOIN),
    "SequenceMap": _graphs(
        PAIR + "($T[p,3] y) { s = SequenceConstruct (a, b) t = SequenceMap " + _EACH + " (s) " + _JOIN, opset=17
    ),
    "Optional": _graphs("($T[m,3] a) => (bool y) { t = Optional (a) y = OptionalHasElement (t) }", ROWS_OF_3),
    "OptionalGetElement": _graphs(_ROWS + "{ y = OptionalGetElement (a) }", ROWS_OF_3, since=18),
    "OptionalHasElement": _graphs("($T[m,3] a) => (bool y) { y = OptionalHasElement (a) }", ROWS_OF_3, since=18),
    "If": _graphs(_ROWS + "<bool c = {1}> { y = If (c) " + _THEN_ELSE + " }", ROWS_OF_3),
    "Loop": _graphs(_ROWS + "<int64 k = {3}, bool g = {1}> { y = Loop (k, g, a) " + _TURN + " }", ROWS_OF_3),
}
