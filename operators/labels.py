"""Labels looked up in tables, and tensors made of maps and maps of tensors (ai.onnx.ml).

Torch has no strings, and ONNX's evaluator no CategoryMapper, CastMap and ZipMap: where these come in, the expectation is
a graph that means the same. Maps cannot be taken apart inside a model, so they travel between suite and backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.draws import choice, integers
from conformance.dtypes import torch_dtype
from conformance.lazy import torch
from conformance.rules import EXACT
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .features import ML
from .samples import DYNAMIC, EMPTY, INF, LARGE, NAN, SCALAR, SPECIAL, literal, tagged

__all__ = ["OPERATORS", "Constants", "Graph"]

ONE = ("float32",)
STRINGS = ("string",)
BEFORE = 21  # the default domain's version in graphs that only stand for others

_NAMES = {"float32": "float", "float64": "double"}


@dataclass(frozen=True, slots=True)
class Graph:
    """A model from ONNX's text form, with ``ml.`` for the domain and ``$T`` for the dtype; ``default`` is the version of
    the default domain, 0 where its operators do not occur."""

    text: str
    default: int = 0

    def __call__(self, dtype: str, opset: int) -> Any:
        import onnx

        domains = {ML: opset, **({"": self.default} if self.default else {})}
        version = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid(*d) for d in domains.items()])
        imports = ", ".join(f'"{domain}": {number}' for domain, number in domains.items())
        text = self.text.replace("ml.", f"{ML}.").replace("$T", _NAMES.get(dtype, dtype))
        return onnx.parser.parse_model(f"<ir_version: {version}, opset_import: [{imports}]> case {text}")


@dataclass(frozen=True, slots=True)
class Constants:
    """The model that yields these tensors, whatever it is given: (ONNX type name, shape, items) each."""

    tensors: tuple[tuple[str, tuple[int, ...], tuple[Any, ...]], ...]

    def __call__(self, dtype: str, opset: int) -> Any:
        from onnx import helper

        from conformance.dtypes import lookup

        nodes, outputs = [], []
        for i, (name, shape, items) in enumerate(self.tensors):
            kind = lookup(name).onnx
            values: list[Any] = [str(item).encode() for item in items] if name == "string" else list(items)
            value = helper.make_tensor("value", kind, shape, values)
            nodes.append(helper.make_node("Constant", [], [f"y{i}"], value=value))
            outputs.append(helper.make_tensor_value_info(f"y{i}", kind, shape))
        graph = helper.make_graph(nodes, "expected", [], outputs)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", BEFORE)])


def encode(
    x: torch.Tensor,
    *,
    keys_int64s: Sequence[int] = (),
    keys_floats: Sequence[float] = (),
    keys_strings: Sequence[str] = (),
    keys_tensor: torch.Tensor | None = None,
    values_int64s: Sequence[int] = (),
    values_floats: Sequence[float] = (),
    values_strings: Sequence[str] = (),
    values_tensor: torch.Tensor | None = None,
    default_int64: int = -1,
    default_float: float = -0.0,
    default_string: str = "",
    default_tensor: torch.Tensor | None = None,
    dtypes: Sequence[str],
) -> torch.Tensor:
    """Each element's value in the table, else the default; of a key twice the last counts, and NaN is a key like any
    other (LabelEncoder-4). Without strings."""
    keys = torch.tensor(list(keys_int64s or keys_floats)) if keys_tensor is None else keys_tensor
    kind = torch_dtype(dtypes[0])
    values = torch.tensor(list(values_int64s or values_floats)) if values_tensor is None else values_tensor
    floats = kind.is_floating_point
    default = torch.tensor(default_float if floats else default_int64)
    if default_tensor is not None:
        default = default_tensor.reshape(())
    elif values_tensor is not None:
        default = torch.tensor(-0.0 if floats else -1)
    y = default.to(kind).expand(x.shape)
    for key, value in zip(keys.to(x.dtype), values.to(kind), strict=True):
        same = x.isnan() if x.is_floating_point() and bool(key.isnan()) else x == key
        y = torch.where(same, value, y)
    return y


def _encode_samples() -> Iterator[Sample]:
    import onnx

    def column(items: Sequence[Any], dtype: Any) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(np.array(items, dtype))

    def one(item: Any, dtype: Any) -> onnx.TensorProto:
        return column([item], dtype)

    def sample(name: str, dtype: str, x: TensorSpec, **fields: Any) -> Sample:
        kept = {
            k: fields.pop(k)
            for k in ("tags", "again", "opset", "since", "shape", "refuse", "reference")
            if k in fields
        }
        return Sample(name, (x,), fields, dtypes=(dtype,), **kept)

    whole: dict[str, Any] = {"keys_int64s": [3, -7, 0, 2**40]}
    x = tensor(4, 5, draw=choice(3, -7, 0, 2**40, 1, -1))
    text: dict[str, Any] = {"keys_strings": ["a", "", "Γ", "x y"]}
    words = literal("Γ", "a", "A", "", "x y", "x  y", shape=(2, 3))
    reals: dict[str, Any] = {"keys_floats": [0.1, -2.5, NAN, INF]}
    points = literal(0.1, 0.10000001, NAN, -2.5, INF, -INF, 0.0, shape=(7,))
    for kind, values in (
        ("int64s", {"values_int64s": [9, -(2**60), 0, 1]}),
        ("floats", {"values_floats": [0.5, -1.25, NAN, -0.0]}),
        ("strings", {"values_strings": ["one", "", "Γ", "x y"]}),
    ):
        yield sample(f"int64s-to-{kind}", "int64", x, **whole, **values)
        yield sample(f"strings-to-{kind}", "string", words, **text, **values)
    yield sample("floats-to-int64s", "float32", points, **reals, values_int64s=[9, 8, 7, 6], tags=SPECIAL)
    yield sample("floats-to-floats", "float32", points, **reals, values_floats=[0.5, 1.0, 2.0, -3.0], tags=SPECIAL)
    # ONNX's evaluator finds no NaN among the keys.
    named = {"values_strings": ["tenth", "", "none", "all"], "default_string": "?"}
    found = ("tenth", "?", "none", "", "all", "?", "?")
    expected = Constants((("string", (7,), found),))
    yield sample("floats-to-strings", "float32", points, **reals, **named, reference=expected, tags=SPECIAL)
    yield sample("default-int64", "int64", x, **whole, values_int64s=[1, 2, 3, 4], default_int64=-99)
    yield sample("default-float", "int64", x, **whole, values_floats=[1.0, 2.0, 3.0, 4.0], default_float=0.1)
    yield sample(
        "default-string", "string", words, **text, values_strings=["p", "q", "r", "s"], default_string="?"
    )
    twice = {"keys_int64s": [3, 0, 3], "values_int64s": [1, 2, 3]}
    yield sample("key-twice", "int64", x, **twice, since=4)
    for suffix, name, key, value in (
        ("int64", "int64", np.int64, np.float64),
        ("float32", "float32", np.float32, np.float32),
        ("float64", "float64", np.float64, np.int64),
        ("int32", "int32", np.int32, np.int32),
        ("int16", "int16", np.int16, np.float32),
        ("to-int16", "int32", np.int32, np.int16),
    ):
        tables = {
            "keys_tensor": column([3, -7, 0], key),
            "values_tensor": column([1, -2, 100], value),
            "default_tensor": one(-42, value),
        }
        given = tensor(4, 5, draw=choice(3, -7, 0, 1))
        yield sample(f"tensors-{suffix}", name, given, **tables)
    strange = {"keys_tensor": column([0.1, NAN, -0.5], np.float64), "values_tensor": column([7, 8, 9], np.int64)}
    near = literal(0.1, 0.10000000149011612, NAN, -0.5, 0.5)
    nothing = one(0, np.int64)
    yield sample("tensors-nan", "float64", near, **strange, default_tensor=nothing, tags=SPECIAL)
    small: dict[str, Any] = {"keys_int64s": [0, 1, 2], "values_int64s": [10, 20, 30]}
    numbers = integers(-1, 3)
    yield sample("scalar", "int64", tensor(draw=numbers), **small, tags=SCALAR)
    yield sample("vector", "int64", tensor(17, draw=numbers), **small)
    yield sample("rank-4", "int64", tensor(2, 3, 1, 2, draw=numbers), **small)
    yield sample("empty", "int64", tensor(0, 3, draw=numbers), **small, tags=EMPTY)
    yield sample("large", "int64", tensor(129, 257, draw=numbers), **small, tags=LARGE)
    sizes = ((tensor(1, 9, draw=numbers),), (tensor(33, 2, draw=numbers),))
    yield sample("dynamic", "int64", tensor(4, 5, draw=numbers), **small, again=sizes, tags=DYNAMIC)
    yield sample("version-2", "int64", x, **whole, values_floats=[1.0, 2.0, 3.0, 4.0], opset=2)
    yield sample("version-2-strings", "string", words, **text, values_int64s=[1, 2, 3, 4], opset=2)
    floats = {"keys_floats": [0.1, -2.5], "values_strings": ["p", "q"], "default_string": "?", "opset": 2}
    yield sample("version-2-floats", "float32", literal(0.1, -2.5, 2.5, 0.0), **floats)
    absent = {"values_floats": [1.0, 2.0, 3.0, 4.0], "default_float": 0.1, "opset": 2}
    yield sample("version-2-default-float", "string", words, **text, **absent)
    absent = {"values_int64s": [1, 2, 3, 4], "default_int64": -99, "opset": 2}
    yield sample("version-2-default-int64", "int64", x, **whole, **absent)
    classes = {"classes_strings": ["a", "Γ", ""], "default_int64": -5, "default_string": "?"}
    indices = Constants((("int64", (2, 3), (1, 0, -5, 2, -5, -5)),))
    yield sample("version-1", "string", words, **classes, opset=1, shape=0, reference=indices)
    names = Constants((("string", (4,), ("Γ", "?", "a", "?")),))
    yield sample("version-1-back", "int64", literal(1, 3, 0, -1), **classes, opset=1, shape=0, reference=names)
    odd = {"keys_int64s": [1, 2, 3], "values_int64s": [1, 2]}
    yield sample("lengths-differ", "int64", x, **odd, refuse="3 keys and 2 values")
    yield sample("no-keys", "int64", x, values_int64s=[1, 2], refuse="no keys")
    yield sample(
        "keys-of-another-type", "int64", x, **text, values_int64s=[1, 2, 3, 4], refuse="words for numbers"
    )
    both = {**whole, **reals, "values_int64s": [1, 2, 3, 4]}
    yield sample("two-tables-of-keys", "int64", x, **both, refuse="both integers and floats as keys")


def _category_samples() -> Iterator[Sample]:
    numbers, words = (4, -1, 0, 2**40), ("a", "", "Γ", "x y")
    table: dict[str, Any] = {"cats_int64s": list(numbers), "cats_strings": list(words)}

    def sample(name: str, shape: tuple[int, ...], items: Sequence[Any], **fields: Any) -> Sample:
        back = bool(items) and isinstance(items[0], int)
        there: Mapping[Any, Any] = dict(
            zip(numbers, words, strict=True) if back else zip(words, numbers, strict=True)
        )
        other = fields.get("default_string", "_Unused") if back else fields.get("default_int64", -1)
        found = tuple(there.get(item, other) for item in items)
        expected = Constants((("string" if back else "int64", shape, found),))
        kept = {k: fields.pop(k) for k in ("tags",) if k in fields}
        dtypes = ("int64",) if back else STRINGS
        return Sample(
            name, (literal(*items, shape=shape),), {**table, **fields}, dtypes=dtypes, reference=expected, **kept
        )

    yield sample("strings", (5,), ("Γ", "a", "", "A", "x y"))
    yield sample("strings-default", (2, 2), ("a", "b", "", "Γ"), default_int64=-42)
    yield sample("strings-empty", (0,), (), tags=EMPTY)
    yield sample("int64s", (5,), (0, 4, 1, 2**40, -1))
    yield sample("int64s-default", (3, 2), (0, 4, 1, 3, -1, -2), default_string="?")
    yield sample("scalar", (), ("Γ",), tags=SCALAR)
    unlike = {"cats_int64s": [1, 2], "cats_strings": ["a"]}
    yield Sample("lengths-differ", (literal(1),), unlike, dtypes=("int64",), refuse="2 numbers and 1 word")
    yield Sample("wrong-type", (tensor(3),), table, dtypes=ONE, refuse="the schema has no float32")


def _map(keys: Sequence[Any], items: Sequence[Any]) -> tuple[TensorSpec, TensorSpec]:
    """A map's two specs."""
    text, words = isinstance(keys[0], str), isinstance(items[0], str)
    values = literal(*items, dtype="string" if words else None)
    return literal(*keys, dtype="string" if text else "int64"), values


def _cast_map_samples() -> Iterator[Sample]:
    # ONNX does not say which shape the tensor has; ONNX Runtime, where the operator comes from, makes it one row.
    def sample(
        name: str,
        keys: Sequence[int],
        items: Sequence[Any],
        target: str,
        found: Sequence[Any],
        *,
        written: bool = True,
        **fields: Any,
    ) -> Sample:
        words = isinstance(items[0], str)
        kind = {"TO_FLOAT": "float32", "TO_STRING": "string", "TO_INT64": "int64"}[target]
        named = {"cast_to": target, **fields} if written else fields
        given = {k: f'"{v}"' if isinstance(v, str) else v for k, v in named.items()}
        attributes = f"<{', '.join(f'{k} = {v}' for k, v in given.items())}>" if given else ""
        text = f"(map(int64, {'string' if words else 'float'}) x) => ({_NAMES.get(kind, kind)}[m, n] y)"
        model = Graph(f"{text} {{ y = ml.CastMap {attributes} (x) }}")
        expected = Constants(((kind, (1, len(found)), tuple(found)),))
        return tagged(name, *_map(keys, items), dtypes=STRINGS if words else ONE, model=model, reference=expected)

    keys, items = (7, 0, -3, 2), (0.5, -1.25, 3.0, 1e6)
    order = (3.0, -1.25, 1e6, 0.5)
    yield sample("floats", keys, items, "TO_FLOAT", order)
    yield sample("whole-floats-to-int64", keys, (4.0, -1.0, 3.0, 1e6), "TO_INT64", (3, -1, 1000000, 4))
    sparse: dict[str, Any] = {"map_form": "SPARSE", "max_map": 9}
    yield sample(
        "sparse", (7, 0, 2), items[:3], "TO_FLOAT", (-1.25, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0), **sparse
    )
    yield sample("sparse-to-int64", (1, 0), (5.0, 6.0), "TO_INT64", (6, 5, 0), map_form="SPARSE", max_map=3)
    yield sample("dense-max-map", (7, 0, 2), items[:3], "TO_FLOAT", (-1.25, 3.0, 0.5), max_map=9)
    yield sample("defaults-written-out", keys, items, "TO_FLOAT", order, map_form="DENSE", max_map=1)
    yield sample("no-attributes", keys, items, "TO_FLOAT", order, written=False)
    yield sample("one", (5,), (2.5,), "TO_FLOAT", (2.5,))
    yield sample("strings", keys, ("a", "", "Γ", "x y"), "TO_STRING", ("Γ", "", "x y", "a"))
    yield sample("strings-to-floats", keys, ("0.5", "-1.25", "3", "1e6"), "TO_FLOAT", order)
    yield sample("strings-to-int64", keys, ("5", "-12", "3", "100"), "TO_INT64", (3, -12, 100, 5))
    yield sample(
        "strings-sparse", (2, 0), ("a", "b"), "TO_STRING", ("b", "", "a", ""), map_form="SPARSE", max_map=4
    )


def _dictionary_samples() -> Iterator[Sample]:
    def sample(
        name: str, vocabulary: Sequence[Any], entries: Mapping[Any, Any], dtype: str, **fields: Any
    ) -> Sample:
        words = isinstance(vocabulary[0], str)
        listed = ", ".join(f'"{v}"' if words else str(v) for v in vocabulary)
        key = "string" if words else "int64"
        kind = _NAMES.get(dtype, dtype)
        text = f"(map({key}, {kind}) x) => ({kind}[n] y)"
        model = Graph(f"{text} {{ y = ml.DictVectorizer <{key}_vocabulary = [{listed}]> (x) }}")
        nothing = "" if dtype == "string" else 0
        found = tuple(entries.get(v, nothing) for v in vocabulary)
        keys, items = _map(list(entries), list(entries.values()))
        expected = Constants(((dtype, (len(vocabulary),), found),))
        return tagged(name, keys, items, dtypes=(dtype,), model=model, reference=expected, **fields)

    words, numbers = ("a", "c", "b", "z"), (7, -1, 0, 2**40)
    for dtype, items in (("int64", (4, -8)), ("float32", (1001.37, -0.12345)), ("float64", (0.1, 1e300))):
        yield sample(f"strings-{dtype}", words, {"c": items[0], "a": items[1]}, dtype)
    for dtype, pair in (("string", ("x", "Γ")), ("float32", (0.5, -1.25)), ("float64", (0.1, 1e300))):
        yield sample(f"int64s-{dtype}", numbers, {0: pair[0], 2**40: pair[1]}, dtype)
    whole = dict(zip(reversed(words), (1.0, 2.0, 3.0, 4.0), strict=True))
    yield sample("all", words, whole, "float32")
    yield sample("special", words, {"z": NAN, "a": -INF}, "float32", tags=SPECIAL)
    many = {i: float(i) for i in range(0, 300, 7)}
    yield sample("large", tuple(range(299, -1, -1)), many, "float32", tags=LARGE)


def _zip_map_samples() -> Iterator[Sample]:
    def sample(name: str, labels: Sequence[Any], *rows: int, refuse: str = "", **fields: Any) -> Sample:
        words = isinstance(labels[0], str)
        key = "string" if words else "int64"
        listed = ", ".join(f'"{v}"' if words else str(v) for v in labels)
        columns = fields.pop("columns", len(labels))
        text = f"(float[n, {columns}] x) => (seq(map({key}, float)) z)"
        attribute = f"classlabels_{key}s = [{listed}]"
        model = Graph(f"{text} {{ z = ml.ZipMap <{attribute}> (x) }}")
        order = sorted(range(len(labels)), key=lambda i: labels[i])
        ascending = ", ".join(f'"{labels[i]}"' if words else str(labels[i]) for i in order)
        places = ", ".join(map(str, order))
        same = Graph(
            f"(float[n, {columns}] x) => ({key}[{len(labels)}] k, float[n, {len(labels)}] v) "
            f"<int64[{len(labels)}] at = {{{places}}}> {{ "
            f"k = Constant <value = {key}[{len(labels)}] {{{ascending}}}> () v = Gather <axis = 1> (x, at) }}",
            BEFORE,
        )
        first, *others = (tensor(n, columns) for n in rows)
        again = tuple((x,) for x in others)
        return tagged(name, first, dtypes=ONE, model=model, reference=same, again=again, refuse=refuse, **fields)

    yield sample("int64s", (3, -1, 10**12), 4)
    yield sample("strings", ("b", "Γ", "", "a b"), 5)
    yield sample("one-row", (2, 1, 0), 1)
    yield sample("one-label", ("yes",), 3)
    yield sample("large", tuple(range(100, 0, -1)), 33, tags=LARGE)
    yield sample("dynamic", ("x", "y"), 2, 1, 9, tags=DYNAMIC)
    yield sample("too-few-labels", (1, 2), 4, columns=3, refuse="2 labels for 3 columns")


OPERATORS = (
    Operator("LabelEncoder", encode, EXACT, _encode_samples, domain=ML),
    Operator("CategoryMapper", None, EXACT, _category_samples, ("string", "int64"), domain=ML),
    Operator("CastMap", None, EXACT, _cast_map_samples, domain=ML),
    Operator("DictVectorizer", None, EXACT, _dictionary_samples, domain=ML),
    Operator("ZipMap", None, EXACT, _zip_map_samples, ONE, domain=ML),
)
