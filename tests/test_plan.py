"""The plan: the same everywhere, valid models only, nothing lost and nothing twice."""

from __future__ import annotations

import onnx
import pytest

from conformance import models
from conformance.errors import UsageError
from conformance.graphs import build
from conformance.operators import catalogue
from conformance.plan import SUITES, Plan, Selection, build_plan, samples_of
from conformance.spec import Source


@pytest.fixture(scope="module")
def standard() -> Plan:
    return build_plan(Selection())


def test_every_model_that_is_not_to_be_refused_is_valid_by_onnxs_strict_checker(standard: Plan) -> None:
    """A backend that checks what it is given must not be failed for that."""
    built, invalid = set(), []
    for case in standard.cases:
        key = case.domain, case.operator, case.index
        if case.source is not Source.OPERATOR or key in built:
            continue  # dtypes of one sample share their graph
        built.add(key)
        operator = catalogue()[case.domain, case.operator]
        sample = samples_of(operator)[case.index]
        if sample.refuse:
            continue
        model = build(operator, sample, case.dtype, case.opset, case.id).model
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            invalid.append(f"{case.id}: {error}")
    assert len(built) > 3000
    assert not invalid


def test_every_case_has_an_id_of_its_own(standard: Plan) -> None:
    ids = [case.id for case in standard.cases]
    assert len(set(ids)) == len(ids)


def test_every_node_of_every_model_has_a_case_in_the_plan(standard: Plan) -> None:
    ids = {case.id for case in standard.cases}
    for model in standard.models:
        assert model.end_to_end in ids
        assert ids.issuperset(node.case for node in model.nodes)
        assert ids.issuperset(model.blocks)


def test_each_suite_holds_the_smaller_one_and_a_reference_model() -> None:
    names = [name for name in SUITES if name not in ("vectors", "models-from")]  # which have nothing of their own
    plans = {name: build_plan(Selection(suite=name)) for name in names}
    held = [{case.id for case in plans[name].cases if case.source is Source.OPERATOR} for name in names]
    assert held[0] < held[1] <= held[2]
    assert all(plan.models for plan in plans.values())


def test_the_full_suite_has_all_models_and_the_standard_one_those_that_say_so(standard: Plan) -> None:
    full = build_plan(Selection("full"))
    entries = models.manifest()
    assert [m.name for m in full.models] == list(entries)
    assert [m.name for m in standard.models] == [n for n, e in entries.items() if e.suite == "standard"]
    held = {case.id: case.digest for case in full.cases}
    assert all(held[case.id] == case.digest for case in standard.cases)


def test_a_dynamic_model_has_a_case_of_its_own_beside_the_static_one() -> None:
    plan = build_plan(Selection(models=("deepfm-dynamic",)))
    wholes = {c.id: c for c in plan.cases if c.source is Source.END_TO_END}
    assert set(wholes) == {"deepfm-dynamic/end-to-end", "deepfm-dynamic/dynamic-shapes"}
    assert wholes["deepfm-dynamic/dynamic-shapes"].tags == {"dynamic"}
    assert plan.models[0].end_to_end == "deepfm-dynamic/end-to-end"


def test_the_digest_names_the_content_and_not_the_order(standard: Plan) -> None:
    again = build_plan(Selection())
    assert again.digest == standard.digest
    assert Plan(again.selection, again.cases[::-1], again.models).digest == standard.digest
    assert Plan(again.selection, again.cases[1:], again.models).digest != standard.digest


@pytest.mark.parametrize("opset", [13, 17, onnx.defs.onnx_opset_version()])
def test_no_case_is_newer_than_the_opset_of_the_run(opset: int) -> None:
    plan = build_plan(Selection(opset=opset, models=()))
    operators = [c for c in plan.cases if c.source is Source.OPERATOR and not c.domain]
    assert operators
    assert max(c.opset for c in operators) <= opset


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(suite="huge"), "unknown suite 'huge'"),
        (Selection(operators=("Convolve",)), "unknown operator Convolve"),
        (Selection(models=("resnet5",)), "unknown model resnet5"),
        (Selection(dtypes=("fp16",)), "unknown dtype fp16"),
        (Selection(opset=12), "opset 12 is outside"),
        (Selection(operators=("Erf",), dtypes=("bool",)), "leaves no case"),
        (Selection(operators=("Swish",)), "Swish came after opset 21"),
    ],
)
def test_a_selection_that_means_nothing_is_wrong_usage(selection: Selection, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_plan(selection)
