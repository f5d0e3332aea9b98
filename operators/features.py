"""Features made ready for classical models: n-grams, selection, scaling, imputation, encodings (ai.onnx.ml)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from conformance.draws import Draw, anything, choice, distinct, integers, subnormal, uniform
from conformance.dtypes import torch_dtype
from conformance.lazy import torch
from conformance.rules import EXACT, ROUNDED, Composite, Rule
from conformance.spec import Operator, Sample, Shape, TensorSpec, tensor

from .samples import DYNAMIC, EMPTY, INF, LARGE, NAN, SPECIAL, literal, pairwise, refusals

__all__ = ["ML", "NUMBERS", "OPERATORS", "by_row", "column", "like_input", "real"]

ML = "ai.onnx.ml"
NUMBERS = ("float32", "float64", "int64", "int32")  # what most operators of the domain take
ONE = ("float32",)
STRINGS = ("string",)
WORDS = ("TTL", "Γ delta", "", "x", "TTL x")


def real(x: torch.Tensor, dtypes: Sequence[str]) -> torch.Tensor:
    """The input in the type of the first output: whole numbers go through the same sums as floats."""
    return x.to(torch_dtype(dtypes[0]))


def column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """A list attribute as a tensor that broadcasts along the last axis."""
    return torch.tensor(list(values), dtype=like.dtype, device=like.device)


def like_input(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples with the output's shape declared as the input's, which ONNX does not infer."""
    for sample in samples:
        yield sample if sample.refuse else replace(sample, shape=0)


def by_row(samples: Iterable[Sample], *rest: Callable[[Sample], tuple[int, ...]]) -> Iterator[Sample]:
    """The samples with outputs declared that have a row for each of the first input's, and ``rest`` behind it."""
    for sample in samples:
        x = sample.inputs[0] if sample.inputs else None
        if sample.refuse or x is None:
            yield sample
        else:
            rows = "X_0" if sample.again else x.shape[0]
            shapes: list[Shape] = [(rows, *columns(sample)) for columns in rest]
            yield replace(sample, shape=shapes)


def tfidf(
    x: torch.Tensor,
    *,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    min_gram_length: int,
    max_gram_length: int,
    max_skip_count: int,
    pool_int64s: Sequence[int] = (),
    pool_strings: Sequence[str] = (),
    weights: Sequence[float] | None = None,
) -> torch.Tensor:
    """How often each n-gram of the pool stands in each row (TfIdfVectorizer-9); (C,) or (N, C) whole numbers.

    The items of an n-gram are 1 to ``max_skip_count`` + 1 places apart, always as far. The i-th n-gram counts in column
    ``ngram_indexes[i]``, under IDF and TFIDF with ``weights[i]``.
    """
    if mode not in ("TF", "IDF", "TFIDF"):
        raise ValueError(f"mode {mode}")
    if pool_int64s and pool_strings:
        raise ValueError("pool_int64s and pool_strings")
    rows = (x if x.dim() == 2 else x.unsqueeze(0)).long()
    y = torch.zeros(len(rows), max(ngram_indexes) + 1, dtype=torch.float64, device=x.device)
    position = 0
    for n, start in enumerate(ngram_counts, 1):
        end = ngram_counts[n] if n < len(ngram_counts) else len(pool_int64s)
        grams = torch.tensor(pool_int64s[start:end], dtype=torch.int64, device=x.device).reshape(-1, n)
        columns = torch.tensor(ngram_indexes[position : position + len(grams)], device=x.device)
        factors = (
            y.new_ones(len(grams)) if weights is None else column(weights[position : position + len(grams)], y)
        )
        position += len(grams)
        if not min_gram_length <= n <= max_gram_length:
            continue
        counts = torch.zeros(len(rows), len(grams), dtype=torch.int64, device=x.device)
        for step in range(1, max_skip_count + 2 if n > 1 else 2):
            span = (n - 1) * step + 1
            if span <= rows.shape[-1]:
                windows = rows.unfold(-1, span, 1)[..., ::step]
                counts += (windows.unsqueeze(2) == grams).all(-1).sum(1)
        found = counts.clamp(max=1) if mode == "IDF" else counts
        y.index_add_(1, columns, found.to(y.dtype) * (1.0 if mode == "TF" else factors))
    return y if x.dim() == 2 else y[0]


def _tfidf_samples() -> Iterator[Sample]:
    pool = {
        "ngram_counts": [0, 4],
        "ngram_indexes": [0, 1, 2, 3, 4, 5, 6],
        "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7],
    }
    weights = [0.25, 3.0, 0.1, 1.7, 2.5, 0.3, 9.0]
    whole = ("int64", "int32")
    rows = literal(1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8, dtype=None, shape=(2, 6))
    vector = literal(1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8)

    def sample(
        name: str, x: TensorSpec, least: int, most: int, skip: int, mode: str = "TF", **more: Any
    ) -> Sample:
        kept = {k: more.pop(k) for k in ("dtypes", "again", "tags", "refuse") if k in more}
        lengths = {"min_gram_length": least, "max_gram_length": most, "max_skip_count": skip}
        kept.setdefault("dtypes", whole)
        return Sample(name, (x,), {**pool, **lengths, "mode": mode, **more}, **kept)

    for name, x in (("rows", rows), ("vector", vector)):
        others = ((tensor(*x.shape, draw=integers(2, 8)),),)
        yield sample(f"{name}-pairs", x, 2, 2, 0, again=others)
        yield sample(f"{name}-pairs-skip-5", x, 2, 2, 5)
        yield sample(f"{name}-words-and-pairs-skip-1", x, 1, 2, 1)
        yield sample(f"{name}-words", x, 1, 1, 3)
    yield from pairwise(
        Sample("pairs", (rows,), pool, dtypes=("int64",)),
        {
            "mode": ("TF", "IDF", "TFIDF"),
            "weights": (None, weights),
            "min_gram_length": (1, 2),
            "max_gram_length": (1, 2),
            "max_skip_count": (0, 1, 3),
        },
        valid=lambda row: row["min_gram_length"] <= row["max_gram_length"],
    )
    # The coordinates in another order than the pool: a weight belongs to its n-gram, not to its column.
    order: dict[str, Any] = {"ngram_indexes": [6, 0, 5, 1, 4, 2, 3]}
    yield sample("columns-reordered", rows, 1, 2, 1, **order)
    yield sample("columns-reordered-weights", rows, 1, 2, 1, "TFIDF", weights=weights, **order)
    yield sample("columns-with-gaps", rows, 1, 2, 0, ngram_indexes=[0, 2, 4, 6, 8, 10, 12])
    three: dict[str, Any] = {"ngram_counts": [0, 2, 6], "ngram_indexes": [0, 1, 2, 3, 4, 5]}
    three["pool_int64s"] = [3, 7, 3, 3, 7, 8, 3, 3, 7, 1, 3, 3]
    yield sample("threes", rows, 1, 3, 2, **three)
    yield sample("threes-only", rows, 3, 3, 1, **three)
    yield sample("nothing-found", literal(*range(20, 26)), 1, 2, 0)
    yield sample("shorter-than-a-pair", literal(5), 1, 2, 0)
    yield sample("empty", tensor(0), 1, 2, 0, tags=EMPTY)
    long = tensor(7, 513, draw=integers(2, 8))
    yield sample("large", long, 1, 2, 3, "TFIDF", weights=weights, tags=LARGE)
    again = ((tensor(1, 3, draw=integers(2, 8)),), (tensor(5, 17, draw=integers(2, 8)),))
    yield sample("dynamic", tensor(2, 6, draw=integers(2, 8)), 1, 2, 1, again=again, tags=DYNAMIC)
    text = literal("a", "b", "a", "b", "Γ", "", shape=(2, 3))
    words = {
        "pool_strings": ["a", "Γ", "", "a", "b", "b", "Γ"],
        "ngram_counts": [0, 3],
        "ngram_indexes": [0, 1, 2, 3, 4],
    }
    for name, chosen in (("TF", {}), ("TFIDF", {"weights": [0.5, 2.0, 0.25, 3.0, 1.5]})):
        attributes = {
            "min_gram_length": 1,
            "max_gram_length": 2,
            "max_skip_count": 1,
            "mode": name,
            **words,
            **chosen,
        }
        yield Sample(f"strings-{name.lower()}", (text,), attributes, dtypes=STRINGS)
    yield sample("no-mode", rows, 1, 2, 0, "BM25", dtypes=("int64",), refuse="no such mode")
    both: dict[str, Any] = {"pool_strings": ["a"] * 10}
    yield sample("two-pools", rows, 1, 2, 0, dtypes=("int64",), refuse="numbers and strings", **both)
    # That min_gram_length is at most max_gram_length, the text does not ask for.


def extract(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The elements at y along the last axis; of a vector as one row (ArrayFeatureExtractor-1)."""
    found = x[..., y.flatten()]
    return found if x.dim() > 1 else found.unsqueeze(0)


def _extract_samples() -> Iterator[Sample]:
    def at(*items: int, shape: tuple[int, ...] | None = None) -> TensorSpec:
        return literal(*items, shape=shape, dtype="int64")

    def sample(
        name: str, *inputs: TensorSpec, dtypes: tuple[str, ...] = ("float32", "int64"), **fields: Any
    ) -> Sample:
        return Sample(name, inputs, dtypes=dtypes, **fields)

    yield sample("matrix", tensor(3, 5), at(0, 4, 2), dtypes=(*NUMBERS, "string"))
    yield sample("vector", tensor(7), at(6, 0, 3), dtypes=("float32", "string"), shape=(1, 3))
    yield sample("rank-4", tensor(2, 3, 2, 5), at(1, 3))
    yield sample("one-index", tensor(3, 5), at(2))
    yield sample("repeated", tensor(3, 5), at(1, 1, 4, 1))
    yield sample("indices-in-a-row", tensor(3, 5), at(0, 4, 2, shape=(1, 3)))
    yield sample(
        "large", tensor(129, 257), tensor(65, draw=integers(0, 256), dtype="int64"), dtypes=ONE, tags=LARGE
    )
    again = ((tensor(1, 9), at(8, 2)), (tensor(5, 2), at(1, 0, 1)))
    yield sample("dynamic", tensor(2, 4), at(3), again=again, tags=DYNAMIC)
    yield sample("special", literal(NAN, INF, -INF, -0.0, shape=(1, 4)), at(3, 0, 1, 2), dtypes=ONE, tags=SPECIAL)
    yield sample("anything", tensor(2, 9, draw=anything()), at(*range(8, -1, -1)), dtypes=NUMBERS, tags=SPECIAL)
    yield sample("index-out-of-range", tensor(3, 5), at(5), dtypes=ONE, refuse="column 5 of 5")
    yield from refusals(2, wrong="bool")


def binarize(x: torch.Tensor, *, threshold: float = 0.0) -> torch.Tensor:
    """1 above the threshold, else 0, in the type of x; NaN is not above (Binarizer-1)."""
    return (x > threshold).to(x.dtype)


def _each(draw: Draw, **attributes: Any) -> Iterator[Sample]:
    """An elementwise operator of the domain on matrices and other shapes."""
    yield Sample("matrix", (tensor(5, 7, draw=draw),), attributes, dtypes=NUMBERS)
    yield Sample("row", (tensor(1, 7, draw=draw),), attributes, dtypes=("float32", "int64"))
    yield Sample("empty", (tensor(0, 7, draw=draw),), attributes, dtypes=ONE, tags=EMPTY)
    yield Sample("large", (tensor(257, 7, draw=draw),), attributes, dtypes=ONE, tags=LARGE)
    sizes = (tensor(1, 7, draw=draw),), (tensor(33, 7, draw=draw),)
    yield Sample("dynamic", (tensor(5, 7, draw=draw),), attributes, dtypes=ONE, again=sizes, tags=DYNAMIC)


def _binarize_samples() -> Iterator[Sample]:
    yield from _each(integers(-3, 3))
    for name, threshold in (("threshold-1-5", 1.5), ("threshold-minus-2", -2.0)):
        yield Sample(name, (tensor(5, 7, draw=integers(-3, 3)),), {"threshold": threshold}, dtypes=NUMBERS)
    yield Sample("vector", (tensor(17),), dtypes=ONE)
    yield Sample("rank-3", (tensor(2, 3, 4),), {"threshold": 0.25}, dtypes=ONE)
    edges = literal(0.1, 0.10000001, 0.099999994, -0.0, 0.0, INF, -INF, NAN, 1e-40)
    yield Sample(
        "special", (edges,), {"threshold": 0.10000000149011612}, dtypes=("float32", "float64"), tags=SPECIAL
    )
    yield Sample("beyond-int32", (literal(2**32, -(2**40), 2**62, 0),), dtypes=("int64",), tags=SPECIAL)
    yield from refusals(1)


def vectorize(
    *inputs: torch.Tensor, inputdimensions: Sequence[int] | None = None, dtypes: Sequence[str]
) -> torch.Tensor:
    """All columns side by side, as floats; a vector is one row (FeatureVectorizer-1)."""
    return torch.cat([real(x, dtypes).reshape(-1, x.shape[-1]) for x in inputs], -1)


def _vectorize_samples() -> Iterator[Sample]:
    def sample(
        name: str, *shapes: tuple[int, ...], dtypes: tuple[str, ...] = ("float32", "int64"), **fields: Any
    ) -> Sample:
        sizes = fields.pop("sizes", [shape[-1] for shape in shapes])
        rows = shapes[0][0] if len(shapes[0]) > 1 else 1
        fields.setdefault("shape", (rows, sum(sizes)))
        return Sample(name, tuple(tensor(*s) for s in shapes), {"inputdimensions": sizes}, dtypes=dtypes, **fields)

    yield sample("two", (3, 2), (3, 5), dtypes=NUMBERS)
    yield sample("three", (3, 1), (3, 4), (3, 2))
    yield sample("one", (3, 4))
    yield sample("vectors", (4,), (2,))
    yield sample("vector-and-row", (4,), (1, 2))
    unusual = Sample(
        "special", (tensor(2, 5, draw=anything()), tensor(2, 3)), {"inputdimensions": [5, 3]}, shape=(2, 8)
    )
    yield replace(unusual, dtypes=("float32", "float64"), tags=SPECIAL)
    far = literal(2**32, -(2**40), 3, 2**62, shape=(2, 2))
    beyond = {"inputdimensions": [2]}
    yield Sample("beyond-int32", (far,), beyond, dtypes=("int64",), shape=(2, 2), tags=SPECIAL)
    yield sample("empty", (0, 2), (0, 3), tags=EMPTY, dtypes=ONE)
    yield sample("large", (129, 33), (129, 17), (129, 1), tags=LARGE, dtypes=ONE)
    yield sample("rows-differ", (3, 2), (4, 2), dtypes=ONE, refuse="3 rows beside 4")


def impute(
    x: torch.Tensor,
    *,
    imputed_value_floats: Sequence[float] = (),
    imputed_value_int64s: Sequence[int] = (),
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> torch.Tensor:
    """The elements equal to the one value, NaN to any NaN, replaced; values a column or one for all (Imputer-1)."""
    if x.is_floating_point():
        there = x.isnan() if replaced_value_float != replaced_value_float else x == replaced_value_float
        return torch.where(there, column(imputed_value_floats, x), x)
    return torch.where(x == replaced_value_int64, column(imputed_value_int64s, x), x)


def _impute_samples() -> Iterator[Sample]:
    floats, whole = ("float32", "float64"), ("int64", "int32")
    some = tensor(5, 4, draw=choice(NAN, 1.0, 2.5, -3.0, 0.0))
    each = [0.5, -1.25, 7.0, 100.0]
    for name, values in (("each-column", each), ("one-for-all", [9.5])):
        chosen: dict[str, Any] = {"imputed_value_floats": values}
        yield Sample(f"nan-{name}", (some,), {**chosen, "replaced_value_float": NAN}, dtypes=floats, tags=SPECIAL)
        yield Sample(f"value-{name}", (some,), {**chosen, "replaced_value_float": 2.5}, dtypes=floats)
        yield Sample(f"default-{name}", (some,), chosen, dtypes=floats)
        chosen = {"imputed_value_int64s": [int(v) for v in values]}
        x = tensor(5, 4, draw=integers(-2, 2))
        yield Sample(f"whole-{name}", (x,), {**chosen, "replaced_value_int64": -1}, dtypes=whole)
        yield Sample(f"whole-default-{name}", (x,), chosen, dtypes=whole)
    missing = {"imputed_value_floats": each, "replaced_value_float": NAN}
    anywhere = tensor(5, 4, draw=anything())
    yield Sample("special", (anywhere,), missing, dtypes=floats, tags=SPECIAL)
    minus = {"imputed_value_int64s": [9, -1, 7, 100], "replaced_value_int64": 1}
    yield Sample("special-whole", (anywhere,), minus, dtypes=whole, tags=SPECIAL)
    yield Sample("rank-3", (tensor(2, 3, 4, draw=some.draw),), missing, dtypes=ONE)
    yield Sample(
        "infinity",
        (literal(INF, -INF, 1.0, NAN, shape=(1, 4)),),
        {**missing, "replaced_value_float": INF},
        dtypes=ONE,
        tags=SPECIAL,
    )
    yield Sample("empty", (tensor(0, 4),), missing, dtypes=ONE, tags=EMPTY)
    yield Sample("large", (tensor(257, 4, draw=some.draw),), missing, dtypes=ONE, tags=LARGE)
    sizes = tuple((tensor(n, 4, draw=some.draw),) for n in (1, 33))
    yield Sample("dynamic", (some,), missing, dtypes=ONE, again=sizes, tags=DYNAMIC)
    three = {"imputed_value_floats": each[:3]}
    yield Sample("three-for-four", (some,), three, dtypes=ONE, refuse="3 values for 4 columns")
    yield Sample("nothing-to-impute", (some,), {"replaced_value_float": 1.0}, dtypes=ONE, refuse="no values given")
    yield from refusals(1)


def normalize(x: torch.Tensor, *, norm: str = "MAX", dtypes: Sequence[str]) -> torch.Tensor:
    """Each row divided by its largest element, its sum or its Euclidean length, unless that is 0 (Normalizer-1)."""
    x = real(x, dtypes)
    if not x.numel():
        return x
    if norm == "MAX":
        size = x.amax(-1, keepdim=True)
    else:
        size = x.sum(-1, keepdim=True) if norm == "L1" else x.square().sum(-1, keepdim=True).sqrt()
    return x / torch.where(size == 0, torch.ones_like(size), size)


def _normalize_samples() -> Iterator[Sample]:
    # ONNX's formulas have no absolute values and L2 a square root that loses the sign; engines differ. So there are
    # no negative numbers here, except where the largest magnitude is positive: then MAX has one reading.
    positive = integers(0, 9)
    for norm in ("MAX", "L1", "L2"):
        name = norm.lower()
        chosen = {"norm": norm}
        yield Sample(name, (tensor(5, 7, draw=positive),), chosen, dtypes=NUMBERS)
        yield Sample(
            f"{name}-fractions", (tensor(5, 7, draw=uniform(0.1, 9.0)),), chosen, dtypes=("float32", "float64")
        )
        rows = literal(0.0, 0.0, 0.0, 3.0, 0.0, 4.0, 1e-15, 1e-15, 2e-15, shape=(3, 3))
        yield Sample(f"{name}-zeros", (rows,), chosen, dtypes=ONE, tags=SPECIAL)
        yield Sample(f"{name}-large", (tensor(129, 257, draw=uniform(0.0, 1.0)),), chosen, dtypes=ONE, tags=LARGE)
        sizes = tuple((tensor(n, 7, draw=uniform(0.1, 1.0)),) for n in (1, 33))
        first = (tensor(5, 7, draw=uniform(0.1, 1.0)),)
        yield Sample(f"{name}-dynamic", first, chosen, dtypes=ONE, again=sizes, tags=DYNAMIC)
        yield Sample(f"{name}-empty", (tensor(0, 7),), chosen, dtypes=ONE, tags=EMPTY)
        if norm != "MAX":
            unknown = literal(NAN, 1.0, 2.0, 4.0, 1.0, 3.0, shape=(2, 3))
            yield Sample(f"{name}-nan", (unknown,), chosen, dtypes=("float32", "float64"), tags=SPECIAL)
        far = literal(2**40, 2**33, 0, 2**32, 5, 2**41, shape=(2, 3))
        yield Sample(f"{name}-beyond-int32", (far,), chosen, dtypes=("int64",), tags=SPECIAL)
    yield Sample("vector", (tensor(7, draw=uniform(0.1, 9.0)),), {"norm": "L1"}, dtypes=ONE)
    yield Sample("default", (tensor(5, 7, draw=positive),), dtypes=ONE)
    mixed = literal(-1.0, 2.0, 4.0, 8.0, -7.5, 0.0, shape=(2, 3))
    yield Sample("max-mixed-signs", (mixed,), dtypes=("float32", "float64"))
    yield Sample("bad-norm", (tensor(5, 7),), {"norm": "L3"}, dtypes=ONE, refuse="no such norm")
    yield from refusals(1)


def one_hot(
    x: torch.Tensor, *, cats_int64s: Sequence[int] = (), cats_strings: Sequence[str] = (), zeros: int = 1
) -> torch.Tensor:
    """A last axis with 1 at the category's place; numbers are cast to integers first (OneHotEncoder-1)."""
    places = torch.tensor(list(cats_int64s), device=x.device)
    found = x.long().unsqueeze(-1) == places
    if not zeros and not bool(found.any(-1).all()):
        raise ValueError("an element is no category")
    return found.to(torch.float32)


def _one_hot_samples() -> Iterator[Sample]:
    cats: dict[str, Any] = {"cats_int64s": [5, -1, 0, 3]}
    known = choice(5, -1, 0, 3)
    yield Sample("matrix", (tensor(5, 7, draw=known),), cats, dtypes=NUMBERS)
    yield Sample("vector", (tensor(7, draw=known),), cats, dtypes=NUMBERS)
    yield Sample("unknown", (tensor(9, draw=choice(5, 1, 2, 3)),), cats, dtypes=NUMBERS)
    yield Sample("all-known", (tensor(9, draw=known),), {**cats, "zeros": 0}, dtypes=NUMBERS)
    yield Sample("fractions", (literal(5.9, -1.9, 0.5, -0.5, 3.25, 2.999),), cats, dtypes=("float32", "float64"))
    far = literal(2**32 + 5, 2**32, 5, 3 - 2**40)
    yield Sample("beyond-int32", (far,), cats, dtypes=("int64",), tags=SPECIAL)
    yield Sample("rank-3", (tensor(2, 3, 4, draw=known),), cats, dtypes=("float32", "int64"))
    yield Sample("empty", (tensor(0, draw=known),), cats, dtypes=("int64",), tags=EMPTY)
    yield Sample("one-category", (tensor(5, draw=integers(0, 1)),), {"cats_int64s": [1]}, dtypes=("int64",))
    many = {"cats_int64s": list(range(0, 200, 2))}
    yield Sample("large", (tensor(513, draw=integers(0, 200)),), many, dtypes=("int64",), tags=LARGE)
    sizes = ((tensor(1, draw=known),), (tensor(33, draw=known),))
    yield Sample("dynamic", (tensor(7, draw=known),), cats, dtypes=("int64",), again=sizes, tags=DYNAMIC)
    text = {"cats_strings": list(WORDS[:4])}
    yield Sample("strings-all-known", (literal(*WORDS[:4]),), {**text, "zeros": 0}, dtypes=STRINGS)
    for name, shape in (("strings", (6,)), ("strings-matrix", (2, 3))):
        items = literal("x", "TTL x", "", "TTL", "ttl", "Γ delta", shape=shape)
        yield Sample(name, (items,), text, dtypes=STRINGS)
    unknown = (literal(5, 1),)
    yield Sample("unknown-forbidden", unknown, {**cats, "zeros": 0}, dtypes=("int64",), refuse="1 is no category")
    yield Sample("no-categories", unknown, dtypes=("int64",), refuse="no categories given")


def scale(
    x: torch.Tensor, *, offset: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,), dtypes: Sequence[str]
) -> torch.Tensor:
    """(x - offset)·scale, a number a column or one for all (Scaler-1)."""
    x = real(x, dtypes)
    return (x - column(offset, x)) * column(scale, x)


def _scale_samples() -> Iterator[Sample]:
    offset, factor = [0.5, -1.25, 3.0, 0.0, 10.0, 1e-3, -7.0], [2.0, 0.1, -3.0, 1.0, 0.0, 1e3, 0.25]
    yield from _each(integers(-9, 9), offset=offset, scale=factor)
    for name, attributes in (
        ("one-for-all", {"offset": [0.3], "scale": [1.7]}),
        ("scale-alone", {"offset": [0.0] * 7, "scale": factor}),
        ("offset-alone", {"offset": offset, "scale": [1.0] * 7}),
    ):
        yield Sample(name, (tensor(5, 7),), attributes, dtypes=("float32", "float64"))
    fields: dict[str, Any] = {"offset": offset, "scale": factor}
    yield Sample("standardised", (tensor(5, 7, draw=distinct(0.37)),), fields, dtypes=("float32", "float64"))
    yield Sample(
        "special",
        (literal(NAN, INF, -INF, -0.0, 1e38, -1e38, 1e-40, shape=(1, 7)),),
        {"offset": [1.0], "scale": [8.0]},
        dtypes=("float32", "float64"),
        tags=SPECIAL,
    )
    doubled = {"offset": [0.0], "scale": [2.0]}
    small = (tensor(3, 5, draw=subnormal()),)
    yield Sample("subnormals", small, doubled, dtypes=ONE, tags=SPECIAL | {"subnormal"})
    far = (literal(2**40, 2**33, 0, -(2**32), shape=(2, 2)),)
    yield Sample("beyond-int32", far, doubled, dtypes=("int64",), tags=SPECIAL)
    unlike = {"offset": offset, "scale": factor[:3]}
    yield Sample("lengths-differ", (tensor(5, 7),), unlike, dtypes=ONE, refuse="7 offsets and 3 factors")
    yield from refusals(1)


def _entry(name: str, meaning: Any, rule: Rule, samples: Any, *dtypes: str) -> Operator:
    return Operator(name, meaning, rule, samples, dtypes or NUMBERS, domain=ML)


OPERATORS = (
    # A count times a weight.
    Operator("TfIdfVectorizer", tfidf, ROUNDED, _tfidf_samples, ("int64", "int32", "string")),
    _entry("ArrayFeatureExtractor", extract, EXACT, _extract_samples, *NUMBERS, "string"),
    _entry("Binarizer", binarize, EXACT, _binarize_samples),
    _entry("FeatureVectorizer", vectorize, EXACT, _vectorize_samples),
    _entry("Imputer", impute, EXACT, lambda: like_input(_impute_samples())),
    _entry("Normalizer", normalize, Composite(), lambda: like_input(_normalize_samples())),
    _entry("OneHotEncoder", one_hot, EXACT, _one_hot_samples, *NUMBERS, "string"),
    _entry("Scaler", scale, Composite(), lambda: like_input(_scale_samples())),
)
