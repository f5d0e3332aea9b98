"""The named suites and sets hold what their names promise."""

from conformance import models
from conformance.plan import SMOKE_MODELS, Selection, build_plan


def test_smoke_runs_a_model_from_end_to_end() -> None:
    plan = build_plan(Selection("smoke"))
    assert set(SMOKE_MODELS) <= set(models.names())
    assert [m.name for m in plan.models] == list(SMOKE_MODELS)
    assert {m.end_to_end for m in plan.models} <= {c.id for c in plan.cases}


def test_quantised_products_count_as_quantised_operators() -> None:
    listed = build_plan(Selection("smoke")).as_json()["operators"]
    rows = {row["operator"]: row for row in listed if not row["extension"]}
    quantised = {name for name, row in rows.items() if row["quantised"]}
    assert quantised == {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    }
