"""What to fix first: order, unlocked models, and who is blamed for a failing block."""

from __future__ import annotations

from evidence_factory import name, plan, results, run

from conformance.grade import grade
from conformance.spec import Verdict

FULL = plan()


def test_blockers_are_ordered_by_the_models_that_each_alone_unlocks() -> None:
    verdicts = {
        "model000/n0": "unsupported",  # Op000, float32: alone in models 0 and 25
        "model025/n0": "unsupported",
        "model010/n0": "wrong",  # Op030: alone in model 10
        "model011/n0": "error",  # Op033 and Op034 together in model 11: neither unlocks it alone
        "model011/n1": "error",
        "model012/n3": "timeout",  # Op000 in int64
        f"{name(100)}/plain/float16": "unsupported",  # breaks no model
    }
    found = {b.what: b for b in grade(run(FULL, verdicts)).blockers}
    assert next(iter(found)) == f"{name(0)} in float32"
    assert found[f"{name(0)} in float32"].unlocks == ("model000", "model025")
    assert found[f"{name(30)} in float32"].unlocks == ("model010",)
    assert found[f"{name(33)} in float32"].unlocks == ()
    assert found[f"{name(33)} in float32"].models == ("model011",)
    assert found[f"{name(0)} in int64"].verdicts == {Verdict.TIMEOUT: 1}
    assert sum(len(b.unlocks) for b in found.values()) == 4


def test_a_failing_block_is_blamed_only_where_its_models_nodes_all_pass() -> None:
    alone = grade(run(FULL, {"model000/block-n0": "wrong", "model000/end-to-end": "wrong"})).blockers
    assert [(b.what, b.operator, b.unlocks) for b in alone] == [("model000/block-n0", None, ("model000",))]
    with_node = {"model000/n1": "wrong", "model000/block-n0": "wrong", "model000/end-to-end": "wrong"}
    assert [b.what for b in grade(run(FULL, with_node)).blockers] == [f"{name(1)} in float32"]


def test_blockers_of_an_interrupted_run_name_what_failed_and_not_what_did_not_run() -> None:
    verdicts = {f"{name(0)}/plain/int64": "wrong"}
    lines = [r for r in results(FULL, verdicts) if not r["case"].startswith("model")]
    (only,) = grade(run(FULL, lines=lines)).blockers
    assert (only.what, only.unlocks) == (f"{name(0)} in int64", ())
