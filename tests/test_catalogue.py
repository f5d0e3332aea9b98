"""The catalogue as a whole: it has every operator of the installed onnx, and no two cases of the plan are the same."""

from __future__ import annotations

import collections

import onnx
import pytest

from conformance.graphs import domain_opset, schema_of
from conformance.operators import catalogue
from conformance.plan import Plan, Selection, build_plan

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
