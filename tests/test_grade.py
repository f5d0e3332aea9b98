"""The grade: both sides of every boundary, and the properties that a fair grade has."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import evidence_factory as factory
import pytest
from evidence_factory import FLOATS, case, name, plan, results, run
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.certificate import Certificate, Criterion, percent
from conformance.grade import grade, summary
from conformance.runfolder import RunFolder
from conformance.spec import Source, Verdict

# Big enough for Tier 1 and no more.
SMALL = plan(operators=36, core=35, common=35, models=10, domains=2, quantised=1)
# Big enough for Tier 3, but for the runs of each case.
FULL = plan()
ONLY_TWENTY = {"repeat-twenty", "memory-growth"}
# The same as the full suite runs it.
TWENTY = {**FULL, "suite": {**FULL["suite"], "name": "full", "runs": 20}}


def criterion(certificate: Certificate, tier: int, what: str) -> Criterion:
    return next(c for c in certificate.of_tier(tier) if c.name == what)


def unmet(certificate: Certificate, tier: int) -> set[str]:
    return {c.name for c in certificate.of_tier(tier) if c.met is False}


def failing(*prefixes: str, verdict: str = "unsupported") -> dict[str, str]:
    """This verdict for each case of the full plan whose id starts with one of the prefixes."""
    return {c["case"]: verdict for c in FULL["cases"] if c["case"].startswith(prefixes)}


def test_percent_is_rounded_down_and_shows_100_only_where_exact() -> None:
    assert percent(Fraction(69999999, 10**8)) == "69.99 %"
    assert percent(Fraction(10**9 - 1, 10**9)) == "99.99 %"
    assert percent(Fraction(1)) == "100 %"
    assert percent(Fraction(1, 2)) == "50 %"
    assert percent(Fraction(0)) == "0 %"
    assert percent(Fraction(999, 1000), places=0) == "99 %"
    assert percent(Fraction(1, 10)) == "10 %"


def test_a_standard_run_in_which_everything_passes_lacks_only_the_twenty_runs_of_the_full_suite() -> None:
    certificate = grade(run(FULL))
    assert certificate.tier == 2
    assert certificate.complete
    assert {m.name for m in certificate.missing} == unmet(certificate, 3) == ONLY_TWENTY
    assert not certificate.blockers


def test_the_small_suite_gives_tier_1_and_calls_tier_2_provisional_with_the_missing_counts() -> None:
    certificate = grade(run(SMALL))
    assert (certificate.tier, certificate.provisional_tier) == (1, 2)
    missing = {(m.tier, m.name): (m.required, m.available) for m in certificate.missing}
    assert missing[2, "models-whole"] == (50, 10)
    assert missing[2, "operator-kinds"] == (75, 36)
    assert missing[2, "domains"] == (3, 2)
    assert (1, "models-whole") not in missing


def test_provisional_needs_everything_that_the_suite_can_ask() -> None:
    last = SMALL["models"][-1]["end_to_end"]
    certificate = grade(run({**SMALL}, {last: "unsupported"}))
    assert certificate.provisional_tier is None


def test_a_suite_one_model_too_small_never_gives_the_tier() -> None:
    certificate = grade(run(plan(operators=36, core=35, common=35, models=9, domains=2)))
    assert certificate.tier == 0
    assert certificate.provisional_tier == 2
    assert criterion(certificate, 1, "models-whole").short


def test_nothing_planned_is_never_a_pass() -> None:
    empty = {**plan(0, models=0), "cases": []}
    certificate = grade(run(empty))
    assert (certificate.tier, certificate.complete, certificate.provisional_tier) == (0, False, None)
    for tier in (1, 2, 3):
        assert unmet(certificate, tier) >= {"core-operators" if tier == 1 else "common-operators", "models-whole"}


def test_a_filtered_plan_and_a_case_without_a_line_give_no_tier() -> None:
    filtered = {**SMALL, "suite": {**SMALL["suite"], "complete": False}}
    assert (grade(run(filtered)).tier, grade(run(filtered)).complete) == (0, False)
    assert not grade(run(filtered)).missing  # the filter's doing, not the suite's
    lines = results(SMALL)[:-1]
    certificate = grade(run(SMALL, lines=lines))
    assert (certificate.tier, certificate.complete, certificate.provisional) == (0, False, False)
    assert certificate.summary.count(Verdict.NOT_RUN) == 1
    assert certificate.summary.planned == len(SMALL["cases"])


@pytest.mark.parametrize(("tier", "models"), [(1, 10), (2, 50), (3, 100)])
def test_models_whole_on_both_sides(tier: int, models: int) -> None:
    enough = grade(run(FULL, {m["end_to_end"]: "unsupported" for m in FULL["models"][models:]}))
    assert criterion(enough, tier, "models-whole").met
    less = grade(run(FULL, {m["end_to_end"]: "unsupported" for m in FULL["models"][models - 1 :]}))
    found = criterion(less, tier, "models-whole")
    assert (found.required, found.reached, found.met) == (models, models - 1, False)
    assert less.tier < tier


@pytest.mark.parametrize("part", ["n0", "block-n0", "end-to-end"])
def test_one_failing_node_block_or_whole_run_makes_a_model_not_whole(part: str) -> None:
    certificate = grade(run(FULL, {f"model050/{part}": "unsupported"}))
    assert criterion(certificate, 3, "models-whole").items == ("model050",)


@pytest.mark.parametrize(("tier", "kinds"), [(1, 35), (2, 75), (3, 120)])
def test_operator_kinds_on_both_sides(tier: int, kinds: int) -> None:
    declined = failing(*(f"{name(i)}/plain/" for i in range(kinds, 120)))
    found = criterion(grade(run(FULL, declined)), tier, "operator-kinds")
    assert (found.reached, found.met) == (kinds, True)
    declined |= failing(f"{name(0)}/plain/")
    certificate = grade(run(FULL, declined))
    found = criterion(certificate, tier, "operator-kinds")
    assert (found.reached, found.met) == (kinds - 1, False)
    assert certificate.tier == 0  # the operator is of Core


@pytest.mark.parametrize(("tier", "what", "last"), [(1, "core-operators", 34), (2, "common-operators", 74)])
def test_all_of_core_and_all_of_common(tier: int, what: str, last: int) -> None:
    inside = grade(run(FULL, failing(f"{name(last)}/plain/")))
    assert criterion(inside, tier, what).items == (name(last),)
    assert inside.tier == tier - 1
    outside = grade(run(FULL, failing(f"{name(last + 1)}/plain/")))
    assert criterion(outside, tier, what).met
    assert outside.tier == tier


def test_core_below_its_frozen_size_is_a_gap_of_the_suite() -> None:
    certificate = grade(run(plan(operators=40, core=34, common=40, models=10, domains=2)))
    assert certificate.tier == 0
    assert any(m.name == "core-operators" and m.available == 34 for m in certificate.missing)


def test_catalogue_coverage_on_both_sides_of_98_percent() -> None:
    wide = plan(operators=150)
    two_percent = {
        c["case"]: "unsupported" for c in wide["cases"] if c["operator"] in (name(147), name(148), name(149))
    }
    found = criterion(grade(run(wide, two_percent)), 3, "catalogue-coverage")
    assert (found.reached, found.met) == (Fraction(98, 100), True)
    more = {**two_percent, f"{name(146)}/plain/bfloat16": "unsupported"}
    assert criterion(grade(run(wide, more)), 3, "catalogue-coverage").met is False


@pytest.mark.parametrize(("tier", "share"), [(1, 160), (2, 190), (3, 199)])
def test_weighted_coverage_on_both_sides(tier: int, share: int) -> None:
    """One model of 200 nodes, of which exactly ``share`` have a trusted operator, then one fewer."""
    for lacking, met in ((200 - share, True), (201 - share, False)):
        planned = plan(operators=40, core=35, common=35, models=0)
        nodes = [
            case(f"m/n{i}", name(0) if i >= lacking else name(39), source="model", model="m") for i in range(200)
        ]
        planned["cases"] += nodes
        planned["models"] = [
            {
                "name": "m",
                "domain": "d",
                "nodes": [{"name": c["case"][2:], "operator": c["operator"], "case": c["case"]} for c in nodes],
                "blocks": [],
                "end_to_end": None,
                "parameters": 1,
            }
        ]
        declined = {f"{name(39)}/plain/{dtype}": "unsupported" for dtype in FLOATS}
        found = criterion(grade(run(planned, declined)), tier, "weighted-coverage")
        assert found.reached == Fraction(200 - lacking, 200)
        assert found.met is met


def test_the_weight_is_the_mean_of_shares_not_the_share_of_all_nodes() -> None:
    planned = plan(operators=2, core=2, common=2, models=0)
    models = []
    for ident, operators in (("one", [name(0)]), ("four", [name(1)] * 4)):
        nodes = [{"name": f"n{i}", "operator": op, "case": f"{ident}/n{i}"} for i, op in enumerate(operators)]
        planned["cases"] += [case(n["case"], n["operator"], source="model", model=ident) for n in nodes]
        models.append({"name": ident, "domain": "d", "nodes": nodes, "blocks": [], "parameters": 1})
    planned["models"] = models
    certificate = grade(run(planned, {f"{name(1)}/plain/{dtype}": "unsupported" for dtype in FLOATS}))
    assert criterion(certificate, 1, "weighted-coverage").reached == Fraction(1, 2)


@pytest.mark.parametrize(("tier", "domains"), [(1, 2), (2, 3), (3, 4)])
def test_domains_on_both_sides(tier: int, domains: int) -> None:
    """A domain counts from its second whole model."""
    wanted = {"model000", "model004", "model001", "model005", "model002", "model006", "model003", "model007"}
    kept = {m["name"] for m in FULL["models"] if int(m["name"][5:]) % 4 < domains}
    for drop, met in ((set(), True), ({m for m in kept if m != "model000" and int(m[5:]) % 4 == 0}, False)):
        whole = (kept & wanted) - drop
        verdicts = {m["end_to_end"]: "unsupported" for m in FULL["models"] if m["name"] not in whole}
        assert criterion(grade(run(FULL, verdicts)), tier, "domains").met is met


@pytest.mark.parametrize("dtype", FLOATS)
def test_tier_1_takes_any_one_floating_dtype(dtype: str) -> None:
    others = [d for d in FLOATS if d != dtype]
    verdicts = {
        c["case"]: "unsupported" for c in FULL["cases"] if c["dtype"] in others and c["source"] == "operator"
    }
    certificate = grade(run(FULL, verdicts))
    assert certificate.tier == 1
    assert certificate.dtypes[1] == (dtype,)


def test_a_part_is_judged_in_the_floating_dtype_that_it_runs() -> None:
    kept = [c for c in FULL["cases"] if c["dtype"] == "float32"]
    part = {**FULL, "suite": {**FULL["suite"], "complete": False}, "cases": kept}
    operators = [c["case"] for c in kept if c["source"] == "operator"]
    verdicts = dict.fromkeys(operators[len(operators) // 2 :], "unsupported")
    verdicts |= {f"{name(0)}/plain/float32": "inaccurate", f"{name(1)}/plain/float32": "crash"}
    certificate = grade(run(part, verdicts))
    assert certificate.dtypes[1] == ("float32",)  # in float16 nothing ran, and nothing failed
    assert certificate.summary.operators_trusted > 0


@pytest.mark.parametrize(("lost", "tier"), [("float16", 2), ("bfloat16", 2), ("float32", 1)])
def test_tier_2_needs_float32_and_one_narrow_dtype(lost: str, tier: int) -> None:
    verdicts = {
        c["case"]: "unsupported" for c in FULL["cases"] if c["dtype"] == lost and c["source"] == "operator"
    }
    certificate = grade(run(FULL, verdicts))
    assert certificate.tier == tier
    assert lost in criterion(certificate, 3, "floating-dtypes").items


def test_float64_is_reported_beside_and_never_lacking() -> None:
    verdicts = {f"{name(0)}/plain/float64": "unsupported"}
    assert unmet(grade(run(FULL, verdicts)), 3) == ONLY_TWENTY


def test_integers_that_no_model_uses_are_asked_for_from_tier_2() -> None:
    used, unused = f"{name(0)}/plain/int64", f"{name(1)}/plain/int64"
    assert grade(run(FULL, {unused: "unsupported"})).tier == 1
    assert grade(run(FULL, {used: "unsupported"})).tier == 0
    exotic = {**FULL, "cases": [*FULL["cases"], case(f"{name(1)}/plain/uint16", name(1), "uint16")]}
    certificate = grade(run(exotic, {f"{name(1)}/plain/uint16": "unsupported"}))
    assert certificate.tier == 2
    assert criterion(certificate, 3, "integer-dtypes").items == ("uint16",)


def test_a_required_dtype_without_a_case_cannot_be_trusted() -> None:
    operators = [
        {**o, "required_dtypes": [*FLOATS, "uint8"]} if o["operator"] == name(0) else o for o in FULL["operators"]
    ]
    certificate = grade(run({**FULL, "operators": operators}))
    assert name(0) in criterion(certificate, 2, "common-operators").items
    assert certificate.tier == 1


def test_quantised_operators_are_reported_and_asked_for_in_tier_3() -> None:
    certificate = grade(run(FULL, failing(f"{name(75)}/plain/int64")))
    assert criterion(certificate, 2, "quantised-operators").met is None
    found = criterion(certificate, 3, "quantised-operators")
    assert (found.reached, found.met) == (Fraction(2, 3), False)


@pytest.mark.parametrize(("tag", "what"), [("nan", "special-values"), ("batches", "dynamic-shapes")])
def test_special_values_and_dynamic_shapes_count_for_common_operators_from_tier_2(tag: str, what: str) -> None:
    common = grade(run(FULL, {f"{name(74)}/{tag}/float32": "wrong"}))
    assert common.tier == 1
    assert what in unmet(common, 2)
    rare = grade(run(FULL, {f"{name(75)}/{tag}/float32": "wrong"}))
    assert rare.tier == 2
    assert unmet(rare, 3) >= {"correctness", "operator-kinds"}


def test_common_operators_without_a_dynamic_case_are_a_gap_of_the_suite() -> None:
    cases = [c for c in FULL["cases"] if c["case"] != f"{name(0)}/batches/float32"]
    certificate = grade(run({**FULL, "cases": cases}))
    assert (certificate.tier, certificate.provisional_tier) == (1, 2)
    assert [(m.required, m.available) for m in certificate.missing if m.tier == 2] == [(75, 74)]


def test_three_models_with_dynamic_shapes_in_tier_3() -> None:
    found = criterion(grade(run(FULL)), 3, "dynamic-models")
    assert (found.reached, found.met) == (3, True)
    found = criterion(grade(run(FULL, {"model001/n0": "error"})), 3, "dynamic-models")
    assert (found.reached, found.met, found.items) == (2, False, ("model001",))


@pytest.mark.parametrize("verdict", ["crash", "timeout", "out-of-memory", "inaccurate", "wrong"])
def test_one_bad_case_blocks_the_tier_whose_cases_show_it(verdict: str) -> None:
    """Outside Core, in a model that is not even needed for the count; then outside all models."""
    what = "correctness" if verdict in ("inaccurate", "wrong") else "stability"
    certificate = grade(run(FULL, {"model099/n0": verdict}))
    assert certificate.tier == 0
    assert criterion(certificate, 1, what).reached == 1
    certificate = grade(run(FULL, {f"{name(119)}/plain/float32": verdict}))
    assert certificate.tier == 2
    assert criterion(certificate, 2, what).met
    assert criterion(certificate, 3, what).items == (f"{name(119)}/plain/float32",)


def test_declining_lowers_coverage_where_a_wrong_answer_blocks() -> None:
    node = "model099/block-n0"
    assert grade(run(FULL, {node: "unsupported"})).tier == 2
    assert grade(run(FULL, {node: "wrong"})).tier == 0


def test_a_wrong_answer_in_a_dtype_that_the_tier_does_not_ask_for_does_not_block_it() -> None:
    assert grade(run(FULL, {f"{name(0)}/plain/bfloat16": "wrong"})).tier == 2
    certificate = grade(run(FULL, {f"{name(0)}/plain/float64": "wrong"}))
    assert certificate.tier == 2
    assert criterion(certificate, 3, "correctness").reached == 1


def test_a_model_that_was_computed_instead_of_refused_costs_the_operator() -> None:
    certificate = grade(run(FULL, {f"{name(0)}/refused/float32": "wrong"}))
    assert name(0) in criterion(certificate, 2, "common-operators").items


def test_repeats_must_agree_in_verdict_then_in_bits() -> None:
    def graded(repeat: str, verdict: str = "pass") -> Certificate:
        lines = results(FULL)
        lines[0] |= {"repeat": repeat, "verdict": verdict}
        return grade(run(FULL, lines=lines))

    assert graded("identical").tier == 2
    assert graded("differs").tier == 1
    # Not repeated: Tier 1 is then reached in float16, in which this case does not count.
    assert criterion(graded("not-repeated"), 2, "repeat-verdicts").met is False
    assert criterion(graded("differs", "flaky"), 2, "repeat-verdicts").met is False


def twenty(**odd: object) -> Certificate:
    """Everything passes twenty times without growth; the first case as told."""
    lines = [r | {"runs": 20, "growth": 0} for r in results(TWENTY)]
    lines[0] |= odd
    return grade(run(TWENTY, lines=[{k: v for k, v in r.items() if v is not None} for r in lines]))


def test_the_full_suite_reaches_tier_3() -> None:
    certificate = twenty()
    assert certificate.tier == 3
    assert not certificate.missing


@pytest.mark.parametrize(
    ("odd", "lacking"),
    [
        ({"runs": 19}, {"repeat-twenty"}),
        ({"growth": 4096}, {"memory-growth"}),
        ({"growth": None}, {"memory-growth"}),
        ({"repeat": "differs", "growth": None}, {"repeat-bits"}),
    ],
)
def test_tier_3_asks_for_twenty_runs_of_every_case_and_steady_memory(
    odd: dict[str, object], lacking: set[str]
) -> None:
    certificate = twenty(**odd)
    assert certificate.tier < 3
    assert unmet(certificate, 3) == lacking


def test_twenty_runs_that_a_folder_claims_for_a_standard_suite_are_not_enough() -> None:
    lines = [r | {"runs": 20, "growth": 0} for r in results(FULL)]
    assert unmet(grade(run(FULL, lines=lines)), 3) == {"memory-growth"}


def test_whole_models_and_refusals_owe_no_repeat() -> None:
    once = {c["case"] for c in FULL["cases"] if c["source"] == "end-to-end" or "refuse" in c["tags"]}
    lines = [r | {"repeat": "not-repeated"} if r["case"] in once else r for r in results(FULL)]
    assert len(once) == 101
    assert grade(run(FULL, lines=lines)).tier == 2


def test_random_operators_owe_no_identical_bits() -> None:
    operators = [{**o, "rule": "random"} if o["operator"] == name(0) else o for o in FULL["operators"]]
    planned = {**FULL, "operators": operators}
    lines = [r | {"repeat": "differs"} if r["operator"] == name(0) else r for r in results(planned)]
    assert grade(run(planned, lines=lines)).tier == 2


def test_extensions_are_outside_the_tiers() -> None:
    entry = {**FULL["operators"][0], "operator": "Fused", "domain": "com.acme", "extension": True, "core": False}
    extra = case("com.acme.Fused/plain/float32", "Fused", domain="com.acme")
    planned = {**FULL, "operators": [*FULL["operators"], entry], "cases": [*FULL["cases"], extra]}
    certificate = grade(run(planned, {extra["case"]: "crash"}))
    assert unmet(certificate, 3) == ONLY_TWENTY
    assert certificate.summary.operators == 120


def test_the_summary_adds_up_to_the_plan() -> None:
    counted = summary(run(FULL, {"model000/n0": "wrong", "model000/end-to-end": "timeout"}))
    assert counted.planned == len(FULL["cases"])
    assert counted.passed == counted.planned - 2
    assert counted.verdicts[Source.MODEL][Verdict.WRONG] == 1
    assert (counted.models_whole, counted.models) == (99, 100)


# --- Properties ----------------------------------------------------------------------------------------------

VERDICTS = [v.value for v in Verdict if v is not Verdict.NOT_RUN]
IDS = [c["case"] for c in SMALL["cases"]]
ROUGH = st.dictionaries(st.sampled_from(IDS), st.sampled_from(VERDICTS), max_size=12)


@settings(max_examples=12, deadline=None)
@given(verdicts=ROUGH, seed=st.integers(0, 1000))
def test_the_order_of_the_journal_changes_nothing(verdicts: dict[str, str], seed: int) -> None:
    lines = results(SMALL, verdicts)
    expected = grade(run(SMALL, lines=lines)).as_json()
    random.Random(seed).shuffle(lines)
    assert grade(run(SMALL, lines=lines)).as_json() == expected


@settings(max_examples=12, deadline=None)
@given(verdicts=ROUGH, data=st.data())
def test_more_passes_never_lower_the_tier(verdicts: dict[str, str], data: st.DataObject) -> None:
    mended = data.draw(st.sets(st.sampled_from(sorted(verdicts)))) if verdicts else set()
    better = {c: v for c, v in verdicts.items() if c not in mended}

    def reached(graded: Certificate) -> tuple[int, int]:
        return graded.tier, graded.provisional_tier or graded.tier

    before, after = reached(grade(run(SMALL, verdicts))), reached(grade(run(SMALL, better)))
    assert after[0] >= before[0]
    assert after[1] >= before[1]


@settings(max_examples=8, deadline=None)
@given(verdicts=ROUGH, dropped=st.sampled_from(IDS))
def test_dropping_any_line_makes_the_certificate_incomplete(verdicts: dict[str, str], dropped: str) -> None:
    lines = [r for r in results(SMALL, verdicts) if r["case"] != dropped]
    certificate = grade(run(SMALL, lines=lines))
    assert (certificate.tier, certificate.complete) == (0, False)
    assert certificate.summary.planned == len(IDS)


@settings(max_examples=12, deadline=None)
@given(verdicts=ROUGH)
def test_every_criterion_says_met_exactly_where_its_figures_do(verdicts: dict[str, str]) -> None:
    for c in grade(run(SMALL, verdicts)).criteria:
        if c.required is None:
            assert c.met is None
        elif c.reached is None:
            assert c.met is False
        else:
            assert c.met is (c.reached <= c.required if c.at_most else c.reached >= c.required)


def test_grading_reads_nothing_but_its_argument() -> None:
    evidence: RunFolder = run(SMALL)
    assert grade(replace(evidence, path=None)) == grade(evidence)
    assert factory.plan(1, models=1) == factory.plan(1, models=1)


def test_the_documentation_names_every_criterion_and_no_other() -> None:
    text = (Path(__file__).parent.parent / "docs" / "tiers.md").read_text(encoding="utf-8")
    table = [row for row in text.splitlines() if row.startswith("| `")]
    documented = {slug for row in table for slug in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert documented == {c.name for c in grade(run(SMALL)).criteria}


@pytest.mark.parametrize(
    ("also", "asking"),
    [(["uint8"], {2, 3}), (["float16"], {3}), (["uint32"], {3}), (["int64", "bool"], {1, 2, 3})],
)
def test_a_case_is_asked_for_only_where_all_its_dtypes_are(also: list[str], asking: set[int]) -> None:
    mixed = [
        case(f"{name(0)}/mixed/{dtype}", name(0), dtype, also=[d for d in also if d != dtype]) for dtype in FLOATS
    ]
    planned = {**FULL, "cases": [*FULL["cases"], *mixed]}
    lines = results(planned, {c["case"]: "unsupported" for c in mixed if c["also"]})
    certificate = grade(run(planned, lines=lines))
    for tier in (1, 2, 3):
        what = "core-operators" if tier == 1 else "common-operators"
        assert (name(0) in criterion(certificate, tier, what).items) == (tier in asking)
