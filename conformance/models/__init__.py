"""Reference models: graphs that people really run, stored without weights, at their real sizes.

    model = load("resnet50")
    materialise(model, "resnet50.onnx")          # an ordinary ONNX file; the same bits everywhere
    feed(model, "pixel_values")                  # what to run it on

``read_model`` is for anybody else's files: it trusts nothing in them.
"""

from __future__ import annotations

from .reader import read_model
from .store import (
    Model,
    ModelEntry,
    TensorType,
    feed,
    load,
    loosen,
    manifest,
    materialise,
    names,
    operator_sets,
    weight,
)

__all__ = [
    "Model",
    "ModelEntry",
    "TensorType",
    "feed",
    "load",
    "loosen",
    "manifest",
    "materialise",
    "names",
    "operator_sets",
    "read_model",
    "weight",
]
