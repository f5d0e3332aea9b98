"""The operators of com.microsoft: schemas, place in the plan, and what they may and may not change in a grade."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from conformance.graphs import schema_of
from conformance.operators import schemas

THEIRS = {s.name: s for s in runtime.get_all_operator_schema() if s.domain == schemas.DOMAIN}


def _formal(parameters: Any, *, theirs: bool) -> list[tuple[str, str, str]]:
    kind = "typeStr" if theirs else "type_str"
    return [(p.name, getattr(p, kind), str(p.option).rpartition(".")[2]) for p in parameters]


def _default(stored: Any) -> Any:
    """An attribute's default, None where there is none."""
    if isinstance(stored, bytes):
        stored = onnx.AttributeProto.FromString(stored)
    return None if stored.type == onnx.AttributeProto.UNDEFINED else helper.get_attribute_value(stored)


def _types(constraints: Any) -> dict[str, set[str]]:
    return {c.type_param_str: set(c.allowed_type_strs) for c in constraints}


@pytest.mark.parametrize("name", [entry.name for entry in schemas.ENTRIES])
def test_a_schema_is_the_one_that_onnx_runtime_has(name: str) -> None:
    ours, theirs = schema_of(name, 1, schemas.DOMAIN), THEIRS[name]
    assert ours.since_version == theirs.since_version == 1
    assert _formal(ours.inputs, theirs=False) == _formal(theirs.inputs, theirs=True)
    assert _formal(ours.outputs, theirs=False) == _formal(theirs.outputs, theirs=True)
    assert _types(ours.type_constraints) == _types(theirs.type_constraints)
    assert {k: (str(a.type), a.required) for k, a in ours.attributes.items()} == {
        k: (str(a.type), a.required) for k, a in theirs.attributes.items()
    }
    for key, attribute in ours.attributes.items():
        assert _default(attribute.default_value) == _default(theirs.attributes[key]._default_value), key
