"""The catalogue as a whole: it has every operator of the installed onnx, and no two cases of the plan are the same."""

from __future__ import annotations

import collections
from collections.abc import Iterable

import onnx
import pytest

from conformance.graphs import allowed_dtypes, build, domain_opset, lookup_name, schema_of
from conformance.operators import catalogue
from conformance.plan import Plan, Selection, build_plan, samples_of
from conformance.spec import Case, Source

DOMAINS = ("", "ai.onnx.ml")
NEWEST = onnx.defs.onnx_opset_version()


def _newest(domain: str) -> dict[str, onnx.defs.OpSchema]:
    """The newest version of every operator of a domain, withdrawn ones included."""
    found: dict[str, onnx.defs.OpSchema] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        known = found.get(schema.name)
        if schema.domain == domain and (known is None or known.since_version < schema.since_version):
            found[schema.name] = schema
    return found


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_catalogue_has_every_operator_of_the_installed_onnx(domain: str) -> None:
    missing = [name for name in sorted(_newest(domain)) if (domain, name) not in catalogue()]
    assert not missing


def test_withdrawn_operators_that_are_still_deployed_are_there() -> None:
    withdrawn = {(d, name) for d in DOMAINS for name, schema in _newest(d).items() if schema.deprecated}
    assert withdrawn == {
        ("", "Scatter"),
        ("", "Upsample"),
        ("ai.onnx.ml", "TreeEnsembleClassifier"),
        ("ai.onnx.ml", "TreeEnsembleRegressor"),
    }
    assert withdrawn <= set(catalogue())


def test_the_catalogue_has_no_operator_that_onnx_does_not_have() -> None:
    assert not [key for key in catalogue() if key[0] in DOMAINS and key[1] not in _newest(key[0])]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return build_plan(Selection(opset=NEWEST))


def test_every_operator_has_cases_at_the_newest_opset(plan: Plan) -> None:
    assert not set(catalogue()) - {(case.domain, case.operator) for case in plan.cases}


def test_no_two_cases_have_the_same_content(plan: Plan) -> None:
    cases = collections.defaultdict(list)
    for case in plan.cases:
        cases[case.digest].append(case.id)
    assert not [ids for ids in cases.values() if len(ids) > 1]


def test_the_version_of_a_domain_is_the_one_that_was_released_with_the_default_domain_s() -> None:
    assert [domain_opset("ai.onnx.ml", n) for n in (13, 14, 15, 18, 19, 20, 21)] == [2, 2, 2, 3, 3, 4, 5]
    assert domain_opset("ai.onnx.ml", NEWEST) == onnx.defs.onnx_ml_opset_version()
    assert domain_opset("", 17) == 17


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_a_case_is_of_a_version_that_has_its_operator(opset: int) -> None:
    names = tuple(name for domain, name in catalogue() if domain == "ai.onnx.ml")
    cases = [c for c in build_plan(Selection(opset=opset, operators=names)).cases if c.domain == "ai.onnx.ml"]
    newest = domain_opset("ai.onnx.ml", opset)
    for case in cases:
        schema = schema_of(case.operator, case.opset, case.domain)
        assert schema is not None, case.id
        assert not schema.deprecated, case.id
        assert case.opset <= newest, case.id
    tree = {c.operator for c in cases if c.operator.startswith("TreeEnsemble")}
    assert ("TreeEnsemble" in tree) == (newest >= 5)
    assert "TreeEnsembleClassifier" in tree


# The dtypes that a type variable may stand for and no case asks for, by operator and variable, each with its reason.
_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
_CONSTANTS = "the function body holds the window's constants in float32, which the formula does not"
_STASHED = "stage one is computed in float32: the result has no digits of float64"
_LONE = "no operator takes a sequence of it, and a case has tensors as its outputs"
UNASKED: dict[tuple[str, str], tuple[set[str], str]] = {
    ("Attention", "U"): (
        _INTEGERS,
        "a mask is boolean or a float of the type of query, key and value, says the text",
    ),
    ("BlackmanWindow", "T2"): ({"float64"}, _CONSTANTS),
    ("HammingWindow", "T2"): ({"float64"}, _CONSTANTS),
    ("LayerNormalization", "T"): ({"float64"}, _STASHED),
    ("MeanVarianceNormalization", "T"): (
        {"float16", "bfloat16", "float64"},
        "its function body adds a float32 epsilon: ONNX's checker refuses the model",
    ),
    ("RMSNormalization", "T"): ({"float64"}, _STASHED),
    ("RMSNormalization", "V"): ({"float64"}, _STASHED),
    ("SoftmaxCrossEntropyLoss", "T"): (
        {"bfloat16"},
        "its function body uses a NegativeLogLikelihoodLoss without it",
    ),
    ("SplitToSequence", "T"): ({"bfloat16"}, _LONE),
    ("SplitToSequence", "S"): ({"bfloat16"}, _LONE),
}


def _element(of: onnx.TypeProto) -> str:
    """The dtype of a tensor, or of the tensors in a sequence or an optional; "" where there are none."""
    kind = of.WhichOneof("value")
    while kind in ("sequence_type", "optional_type"):
        of = getattr(of, kind).elem_type
        kind = of.WhichOneof("value")
    return lookup_name(of.tensor_type.elem_type) if kind == "tensor_type" else ""


def _variables(domain: str, name: str) -> dict[str, set[str]]:
    """The dtypes of every type variable of an operator's inputs and outputs, as of the newest opset."""
    newest = domain_opset(domain, NEWEST)
    schema = schema_of(name, newest, domain)
    used = {formal.type_str for formal in (*schema.inputs, *schema.outputs)}
    choices = {v: set(allowed_dtypes(name, newest, domain, v)) - {""} for v in used}
    return {v: dtypes for v, dtypes in choices.items() if len(dtypes) > 1}


def _asked(cases: Iterable[Case]) -> dict[tuple[str, str, str], set[str]]:
    """The dtypes that cases have, by domain, operator and type variable."""
    found: dict[tuple[str, str, str], set[str]] = collections.defaultdict(set)
    for case in cases:
        operator = catalogue()[case.domain, case.operator]
        content = build(operator, samples_of(operator)[case.index], case.dtype, case.opset, case.id)
        graph = onnx.shape_inference.infer_shapes(content.model).graph
        types = {v.name: _element(v.type) for v in (*graph.input, *graph.output, *graph.value_info)}
        types |= {t.name: lookup_name(t.data_type) for t in graph.initializer}
        # By position: the newest version may call its variables by other names than the case's.
        schema = schema_of(case.operator, domain_opset(case.domain, NEWEST), case.domain)
        for node in graph.node:
            if node.op_type == case.operator:
                for formals, names in ((schema.inputs, node.input), (schema.outputs, node.output)):
                    for position, name in enumerate(names):
                        if name and formals:
                            variable = formals[min(position, len(formals) - 1)].type_str
                            found[case.domain, case.operator, variable].add(types.get(name, ""))
    return found


def test_every_dtype_that_a_schema_allows_has_a_case_or_a_reason(plan: Plan) -> None:
    """For each type variable of an operator's inputs and outputs; it fails where a new onnx adds a dtype."""
    cases = [c for c in plan.cases if c.source is Source.OPERATOR and not c.tags & {"refuse", "large"}]
    asked = _asked(cases)
    missing: dict[tuple[str, str], set[str]] = {}
    for domain, name in catalogue():
        if domain in DOMAINS:
            for variable, dtypes in _variables(domain, name).items():
                gap = dtypes - asked[domain, name, variable]
                if gap:
                    missing[name, variable] = gap
    expected = {key: dtypes for key, (dtypes, _) in UNASKED.items()}
    assert not {k: v for k, v in missing.items() if v != expected.get(k)}
    assert expected.keys() <= missing.keys()


def test_without_its_cases_a_dtype_is_missing(plan: Plan) -> None:
    relus = [c for c in plan.cases if c.operator == "Relu" and c.source is Source.OPERATOR]
    cases = [c for c in relus if c.dtype != "int8" and "refuse" not in c.tags]
    assert cases
    assert _variables("", "Relu")["T"] - _asked(cases)["", "Relu", "T"] == {"int8"}


@pytest.mark.parametrize("opset", [Selection().opset, NEWEST])
def test_what_is_said_to_be_a_wrong_type_is_none_of_the_schemas(opset: int) -> None:
    accepted = []
    cases = [c for c in build_plan(Selection(opset=opset)).cases if "/wrong-type/" in c.id]
    for case in cases:
        operator = catalogue()[case.domain, case.operator]
        model = build(operator, samples_of(operator)[case.index], case.dtype, case.opset, case.id).model
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            continue
        accepted.append(case.id)
    assert len(cases) > 50
    assert not accepted
