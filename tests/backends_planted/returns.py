"""A backend whose run() returns what the model's name says, and whose prepare() may return no callable."""

from pathlib import Path

import numpy as np


class FakeTensor:
    """Stands for another framework's tensor: costly to print."""

    def __repr__(self):
        raise AssertionError("printed")


X = np.arange(6, dtype=np.float32).reshape(2, 3)
OUTER = {
    "dict": {"y": X},
    "none": None,
    "array": X,
    "generator": (x for x in [X]),
    "string": "y",
    "number": 3.5,
}
ITEMS = {
    "list-of-numbers": [1.0, 2.0],
    "float": 2.5,
    "numpy-scalar": np.float32(2.5),
    "tensor": FakeTensor(),
    "matrix": np.matrix([[1.0, 2.0]]),
    "masked": np.ma.masked_array([1.0, 2.0], [True, False]),
    "objects": np.array([X, None], dtype=object),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "longdouble": np.ones(2, np.longdouble),
    "dict-item": {"a": X},
    "map": {"b": 1.5, "a": 2.5},
    "maps": [{3: "x", 1: "y"}, {3: "", 1: "Γ"}],
    "mixed-map": {"a": 1, 2: 3},
    "nothing-item": None,
    "sequence": [X, X + 1],
    "empty-sequence": [],
    "strings": np.array(["a", "ü", "日本"]),
    "bytes": np.array([b"a", b"\xff"], dtype=object),
    "transposed": X.T,
    "strided": X[:, ::2],
    "big-endian": X.astype(">f4"),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float16),
    "readonly": np.broadcast_to(np.float32(1), (2, 2)),
    "complex": np.array([1 + 2j], np.complex64),
    "bool": np.array([True, False]),
    "large": np.arange(1_000_000, dtype=np.float64),
}


class Backend:
    def describe(self):
        return {"name": "Returns"}

    def prepare(self, model):
        name = Path(model).name
        if name == "not-callable":
            return [X]
        if name in OUTER:
            return lambda inputs: OUTER[name]
        return lambda inputs: [ITEMS[name]]
