"""Versions of operators: each whose behaviour is its own has cases, and at every opset the models are valid ones."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import onnx
import pytest

from conformance.graphs import attributes_of, build, schema_of
from conformance.operators import catalogue
from conformance.plan import Selection, build_plan, samples_of
from conformance.spec import Case, Sample, Source
from conformance.versions import as_of

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = range(13, NEWEST + 1)
# The oldest version of each domain that a run is as of.
OLDEST = {"": 13, "ai.onnx.ml": 2}
Key = tuple[str, str]

# What sets these versions apart from the ones before, where the schemas' inputs, outputs and attributes are the same:
# values of an attribute. Each is in a case of the version, and in none of an older one.
VALUES: Mapping[tuple[str, int], tuple[str, tuple[str, ...]]] = {
    ("Pad", 19): ("mode", ("wrap",)),
    ("ScatterElements", 18): ("reduction", ("max", "min")),
    ("ScatterND", 18): ("reduction", ("max", "min")),
    ("Resize", 19): ("coordinate_transformation_mode", ("half_pixel_symmetric",)),
    ("GridSample", 20): ("mode", ("linear", "cubic")),
}
# Versions without cases, whose text differs from the version before and says the same.
REWORDED = {
    ("Add", 14): "names the integer types that were added",
    ("Div", 14): "names the integer types that were added",
    ("Mul", 14): "names the integer types that were added",
    ("Sub", 14): "names the integer types that were added",
    ("Loop", 16): "lays out its list with other marks",
    ("QuantizeLinear", 24): "a space between two sentences",
    ("QuantizeLinear", 25): "adds the ranges of the types that were added",
    ("Squeeze", 23): "calls the list of axes a tensor of one dimension",
    ("Unsqueeze", 23): "calls the list of axes a tensor of one dimension",
    ("Transpose", 21): "says that perm has one entry an axis",
}


@cache
def _versions() -> Mapping[Key, dict[int, Any]]:
    """Every schema of the catalogue's operators by its version, withdrawn ones apart."""
    found: dict[Key, dict[int, Any]] = collections.defaultdict(dict)
    for schema in onnx.defs.get_all_schemas_with_history():
        if (schema.domain, schema.name) in catalogue() and schema.domain in OLDEST and not schema.deprecated:
            found[schema.domain, schema.name][schema.since_version] = schema
    return found


def _in_force(key: Key) -> list[int]:
    """The versions of an operator that are in force at an opset of a run, oldest first."""
    versions = sorted(_versions()[key])
    oldest = max((v for v in versions if v <= OLDEST[key[0]]), default=versions[0])
    return [v for v in versions if v >= oldest]


def _signature(schema: Any) -> tuple[Any, ...]:
    """All of a schema that is checked in a model, but for types."""

    def formal(parameter: Any) -> tuple[Any, ...]:
        return parameter.name, parameter.option, parameter.is_homogeneous, parameter.min_arity

    attributes = {
        name: (a.type, a.required, a.default_value.SerializeToString()) for name, a in schema.attributes.items()
    }
    return [formal(i) for i in schema.inputs], [formal(o) for o in schema.outputs], attributes  # type: ignore[return-value]


def _text(schema: Any) -> list[str]:
    """What a schema says in words, but for line breaks."""
    parameters = (*schema.inputs, *schema.outputs)
    words = (schema.doc, *(a.description for _, a in sorted(schema.attributes.items())))
    return [re.sub(r"\s+", " ", text).strip() for text in (*words, *(p.description for p in parameters))]


@cache
def _plan(opset: int) -> tuple[Case, ...]:
    cases = build_plan(Selection(opset=opset, operators=tuple(n for _, n in catalogue()))).cases
    return tuple(c for c in cases if c.source is Source.OPERATOR)


@cache
def _cases() -> Mapping[tuple[Key, int], list[tuple[Sample, Case]]]:
    """The cases of a run as of 21, the default, and of one as of the newest opset, by operator and version."""
    found: dict[tuple[Key, int], dict[str, tuple[Sample, Case]]] = collections.defaultdict(dict)
    for opset in (21, NEWEST):
        for case in _plan(opset):
            schema = schema_of(case.operator, case.opset, case.domain)
            if "refuse" not in case.tags and case.domain in OLDEST:
                key = case.domain, case.operator
                sample = samples_of(catalogue()[key])[case.index]
                found[key, schema.since_version][case.id] = sample, case
    return {where: list(cases.values()) for where, cases in found.items()}


def _alike(key: Key, version: int) -> bool:
    """Whether a version differs from the one before it in types alone, or in words that are known to say the same."""
    older = [v for v in _versions()[key] if v < version]
    if not older:
        return False
    before, after = _versions()[key][max(older)], _versions()[key][version]
    if _signature(before) != _signature(after):
        return False
    return _text(before) == _text(after) or (key[1], version) in REWORDED


@pytest.mark.parametrize("key", [k for k in catalogue() if k[0] in OLDEST], ids=lambda k: k[1])
def test_every_version_that_behaves_in_a_way_of_its_own_has_cases(key: Key) -> None:
    """Versions in a row that differ in types alone behave in one way: one of them has to have cases."""
    runs: list[list[int]] = []
    for version in sorted(_versions()[key]):
        if runs and _alike(key, version):
            runs[-1].append(version)
        else:
            runs.append([version])
    asked = [run for run in runs if set(run) & set(_in_force(key))]
    assert asked
    assert not [run for run in asked if not any(_cases().get((key, v)) for v in run)]


def test_every_rewording_is_one_and_no_more() -> None:
    for (name, version), _ in REWORDED.items():
        key = "", name
        before = max(v for v in _versions()[key] if v < version)
        schemas = _versions()[key][before], _versions()[key][version]
        assert _signature(schemas[0]) == _signature(schemas[1]), name
        assert _text(schemas[0]) != _text(schemas[1]), name


def _news() -> Iterator[tuple[Key, int]]:
    """The versions in force that have an input or an attribute that the one before has not."""
    for key in _versions():
        for version in _in_force(key):
            older = [v for v in _versions()[key] if v < version]
            if older and _added(key, version):
                yield key, version


def _added(key: Key, version: int) -> tuple[list[int], set[str]]:
    """The positions of inputs and the attributes that came with a version."""
    before = _versions()[key][max(v for v in _versions()[key] if v < version)]
    after = _versions()[key][version]
    positions = list(range(len(before.inputs), len(after.inputs)))
    return positions, set(after.attributes) - set(before.attributes)


@pytest.mark.parametrize(("key", "version"), list(_news()), ids=lambda v: v[1] if isinstance(v, tuple) else str(v))
def test_what_a_version_added_is_used_in_a_case_of_that_version(key: Key, version: int) -> None:
    positions, attributes = _added(key, version)
    used: set[int | str] = set()
    for sample, _ in _cases().get((key, version), []):
        used |= {i for i, spec in enumerate(sample.inputs) if spec is not None} | set(sample.attributes)
    assert not {*positions, *attributes} - used


@pytest.mark.parametrize(("name", "version"), list(VALUES), ids=lambda v: str(v))
def test_a_value_that_a_version_added_is_used_in_a_case_of_that_version_and_in_none_before(
    name: str, version: int
) -> None:
    key = "", name
    attribute, values = VALUES[name, version]
    used = [
        (schema.since_version, sample.attributes.get(attribute))
        for o in OPSETS
        for schema, sample in _used(key, o)
    ]
    for value in values:
        at = {since for since, chosen in used if chosen == value}
        assert version in at
        assert min(at) == version


def _used(key: Key, opset: int) -> Iterator[tuple[Any, Sample]]:
    """The samples that a run as of an opset has of an operator, each with the schema that it is written by."""
    for case in _plan(opset):
        if (case.domain, case.operator) == key and "refuse" not in case.tags:
            sample = samples_of(catalogue()[key])[case.index]
            yield schema_of(case.operator, case.opset, case.domain), sample


@pytest.mark.parametrize("opset", OPSETS)
def test_every_model_of_every_opset_and_dtype_is_valid_by_onnxs_strict_checker(opset: int) -> None:
    """A backend that checks what it is given must not be failed for that."""
    invalid = []
    for case in _plan(opset):
        schema = schema_of(case.operator, case.opset, case.domain)
        if "refuse" in case.tags or schema is None:
            continue
        content = case.domain, case.operator, case.index, case.dtype, schema.since_version
        if content in _checked:
            continue
        _checked.add(content)
        model = _model(case)
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            invalid.append(f"{case.id} at {case.opset}: {error}")
    assert not invalid


# Models with these differ in the number of the opset alone.
_checked: set[tuple[str, str, int, str, int]] = set()


def _model(case: Case) -> onnx.ModelProto:
    operator = catalogue()[case.domain, case.operator]
    sample = as_of(operator, samples_of(operator)[case.index], case.opset)
    assert sample is not None, case.id
    return build(operator, sample, case.dtype, case.opset, case.id).model


@pytest.mark.parametrize("opset", OPSETS)
def test_no_two_cases_of_one_opset_have_the_same_content(opset: int) -> None:
    cases = collections.defaultdict(list)
    for case in _plan(opset):
        cases[case.digest].append(case.id)
    assert not [ids for ids in cases.values() if len(ids) > 1]


def test_axes_that_became_an_input_are_an_attribute_before() -> None:
    entry = catalogue()["", "ReduceMax"]
    (sample,) = [s for s in samples_of(entry) if s.name == "two-axes"]
    older = as_of(entry, sample, 17)
    assert older is not None
    (node,) = build(entry, older, "float32", 17, "key").model.graph.node
    assert list(node.input) == ["data"]
    assert attributes_of(node, 17) == {"axes": [0, 2], "keepdims": 0}
    assert as_of(entry, sample, 18) == sample


@pytest.mark.parametrize(
    ("name", "sample", "since", "why"),
    [
        ("ReduceMax", "axes-at-run-time", 18, "an attribute has no value that a run gives"),
        ("ReduceMax", "empty-axes", 18, "no elements"),
        ("ReduceMax", "no-axes-noop", 18, "no such attribute"),
        ("Pad", "axes", 18, "no such input"),
        ("Cast", "to-int4", 21, "no such type to cast to"),
        ("QuantizeLinear", "to-int16", 21, "no such zero point"),
        ("Pad", "wrap", 19, "no such mode, which the schema does not know"),
        ("OptionalHasElement", "of-a-tensor", 18, "not of an optional, in a graph of the sample's own"),
    ],
)
def test_what_an_older_version_cannot_say_is_left_out(name: str, sample: str, since: int, why: str) -> None:
    entry = catalogue()["", name]
    (found,) = [s for s in samples_of(entry) if s.name == sample]
    assert as_of(entry, found, since) is not None
    assert as_of(entry, found, since - 1) is None, why


def test_a_withdrawn_version_has_no_cases() -> None:
    """GroupNormalization-18 had its scale by group; ONNX took it back when it became one by channel."""
    assert not [c for c in _plan(20) if c.operator == "GroupNormalization"]
    assert [c for c in _plan(21) if c.operator == "GroupNormalization"]


def test_a_model_to_be_refused_is_refused_at_older_opsets_too() -> None:
    assert {c.id for c in _plan(13) if c.operator == "ReduceMax" and "refuse" in c.tags} == {
        f"ReduceMax/{name}/float32" for name in ("axis-out-of-range", "float-axes", "wrong-type")
    }
