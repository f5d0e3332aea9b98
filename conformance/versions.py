"""How a sample is written at an opset: samples are of their operators' newest version, runs are as of older ones too.

What became an input over the versions becomes an attribute again; what an older version cannot say is left out. The
schemas decide. What they do not tell (a mode that was added, a graph of the sample's own) is the sample's ``since``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx

from .draws import draw
from .graphs import domain_opset, has_types, schema_of
from .spec import Operator, Sample

__all__ = ["as_of"]


def as_of(operator: Operator, sample: Sample, opset: int) -> Sample | None:
    """The sample as a model at this opset (of the operator's domain) has it, or None where no such model is valid.

    A model that is to be refused is never left out for being invalid: it then has one reason more.
    """
    schema = schema_of(operator.name, opset, operator.domain)
    if schema is None or schema.deprecated or opset < sample.since:
        return None
    if sample.model is not None:
        return sample
    older = _with_attributes(operator, sample, schema)
    if sample.refuse:
        return older or sample
    return older if older is not None and _is_valid(operator, older, schema, opset) else None


def _with_attributes(operator: Operator, sample: Sample, schema: Any) -> Sample | None:
    """The last inputs moved into attributes of the same name, where the schema has these instead (the axes of a
    reduction before opset 18). None where such an input has no value before the run; and where it has no elements, as
    ONNX does not say what an empty attribute means there."""
    newest = schema_of(
        operator.name, domain_opset(operator.domain, onnx.defs.onnx_opset_version()), operator.domain
    )
    inputs = {i.name for i in schema.inputs}
    kept = len(sample.inputs)
    attributes: dict[str, Any] = {}
    for position in range(min(kept, len(newest.inputs)) - 1, -1, -1):
        name = newest.inputs[position].name
        if name in inputs or name not in schema.attributes:
            break
        kept, spec = position, sample.inputs[position]
        if spec is not None:
            if not spec.constant or 0 in spec.shape:
                return None
            attributes[name] = draw(spec.draw, spec.shape, spec.dtype or "int64", name).tolist()
    if kept == len(sample.inputs):
        return sample
    return replace(
        sample,
        inputs=sample.inputs[:kept],
        attributes={**sample.attributes, **attributes},
        again=tuple(specs[:kept] for specs in sample.again),
    )


def _is_valid(operator: Operator, sample: Sample, schema: Any, opset: int) -> bool:
    """Whether the schema has this many inputs and outputs, these attributes, and the dtypes that the sample names."""
    outputs = sample.outputs if isinstance(sample.outputs, int) else len(sample.outputs)
    if len(sample.inputs) > schema.max_input or outputs > schema.max_output:
        return False
    if not set(sample.attributes) <= set(schema.attributes):
        return False
    return has_types(operator, sample, opset)
