"""What is written for machines besides the certificate: JUnit, badge, schemas; and the comparison of two runs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import evidence_factory as factory
import pytest
from evidence_factory import name, plan, results, run

from conformance.certificate import Certificate
from conformance.difference import compare
from conformance.grade import grade
from conformance.reports.badge import badge, render_badge, write_badge
from conformance.reports.junit import junit, write_junit
from conformance.spec import Verdict

TINY = plan(operators=4, core=1, common=2, models=1, quantised=0)
NASTY = "</failure><script>alert('&')</script>]]>\x00\x1b[31m\ud800\ufffe \N{GRINNING FACE}"
EACH = dict(zip((c["case"] for c in TINY["cases"]), (str(v) for v in Verdict), strict=False))
SCHEMAS = Path(__file__).parent.parent / "docs" / "schemas"


def document(evidence: Any) -> ET.Element:
    return ET.fromstring("".join(junit(evidence)))


def counts(element: ET.Element) -> Counter[str]:
    return Counter(child.tag for case in element.iter("testcase") for child in case)


def test_junit_has_every_planned_case_once_and_counts_that_add_up() -> None:
    root = document(run(TINY, EACH))
    assert [c.get("name") for c in root.iter("testcase")] == [c["case"] for c in TINY["cases"]]
    for element in (root, *root.iter("testsuite")):
        found = counts(element)
        assert int(element.get("tests", "")) == len(list(element.iter("testcase")))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.get(attribute, "")) == found[tag]
    assert counts(root) == {"failure": 3, "error": 5, "skipped": 1}
    assert {s.get("name") for s in root.iter("testsuite")} == {
        "operator.arithmetic",
        "model.arithmetic",
        "block.block",
        "end-to-end.end-to-end",
    }


def test_the_type_in_junit_is_the_verdict() -> None:
    root = document(run(TINY, EACH))
    types = {case.get("name"): child.get("type") for case in root.iter("testcase") for child in case}
    assert types == {case: verdict for case, verdict in EACH.items() if verdict != "pass"}


def test_junit_survives_markup_and_control_characters(tmp_path: Path) -> None:
    lines = results(TINY)
    lines[0] |= {"verdict": "wrong", "message": NASTY, "log": NASTY, "error": {"actual": NASTY}, "after": NASTY}
    header = factory.header(TINY)
    header["backend"] |= {"name": NASTY, "version": NASTY}
    path = write_junit(factory.write(tmp_path / "run", TINY, lines, header))
    root = ET.parse(path).getroot()
    (failure,) = root.iter("failure")
    assert "<script>alert('&')</script>" in (failure.text or "")
    assert not list(root.iter("script"))
    assert "\N{GRINNING FACE}" in (failure.get("message") or "")


def test_waived_cases_are_skipped_in_junit_with_the_reason(tmp_path: Path) -> None:
    case = f"{name(1)}/plain/float32"
    folder = factory.write(tmp_path / "run", TINY, results(TINY, {case: "wrong"}))
    (folder / "waivers.toml").write_text(
        f'[[waiver]]\ncase = "{case}"\nbackend = "Acme"\nversion = "2.1"\nreason = "R"\nlink = "L"\nexpires = 2027-01-01'
    )
    (skipped,) = ET.parse(write_junit(folder)).getroot().iter("skipped")
    assert skipped.get("type") == "wrong"
    assert "waived until 2027-01-01 (R; L)" in (skipped.get("message") or "")


def with_tier(tier: int, **fields: Any) -> Certificate:
    return replace(grade(run(TINY)), tier=tier, **{"provisional_tier": None, **fields})


def test_the_badge_says_the_tier_and_never_more() -> None:
    assert badge(with_tier(2)).value == "Tier 2"
    assert badge(with_tier(0)).value == "no tier"
    assert badge(with_tier(1, provisional_tier=2)).value == "Tier 1 (Tier 2 provisional)"
    assert badge(with_tier(0, complete=False)).value == "incomplete"


def test_a_version_does_not_fall_off_a_badge_behind_a_long_name() -> None:
    backend = {"name": "Accelerated inference runtime for heterogeneous devices", "version": "2026.11"}
    assert badge(with_tier(1, backend=backend)).label == "Accelerated inference runtime f… 2026.11"


def test_the_badge_is_svg_whatever_the_backend_is_called(tmp_path: Path) -> None:
    text = render_badge(with_tier(1, backend={"name": NASTY, "version": '"><b>'}))
    root = ET.fromstring(text)
    assert not [e for e in root.iter() if e.tag.endswith(("script", "}b"))]
    folder = factory.write(tmp_path / "run", TINY, results(TINY))
    assert ET.parse(write_badge(folder)).getroot().tag == "{http://www.w3.org/2000/svg}svg"


# --- Schemas -------------------------------------------------------------------------------------------------


def check(schema: str, document: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    rules = json.loads((SCHEMAS / f"{schema}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(rules)
    jsonschema.Draft202012Validator(rules).validate(document)


def test_real_documents_satisfy_the_published_schemas() -> None:
    check("plan", TINY)
    check("run", factory.header(TINY))
    for line in results(TINY, EACH):
        check("result", line)
    lines = results(TINY, EACH)
    lines.pop()
    for certificate in (grade(run(TINY, EACH)), grade(run(TINY, lines=lines)), grade(run(plan()))):
        check("certificate", json.loads(json.dumps(certificate.as_json())))


@pytest.mark.parametrize(
    ("schema", "change"),
    [
        ("certificate", {"tier": 4}),
        ("certificate", {"tier": "2"}),
        ("certificate", {"criteria": [{"tier": 1}]}),
        ("result", {"verdict": "fine"}),
        ("result", {"seconds": -1}),
        ("run", {"backend": None}),
        ("plan", {"cases": [{}]}),
    ],
)
def test_the_schemas_refuse_what_is_not_in_the_contract(schema: str, change: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    good = {
        "certificate": json.loads(json.dumps(grade(run(TINY)).as_json())),
        "result": results(TINY)[0],
        "run": factory.header(TINY),
        "plan": TINY,
    }[schema]
    with pytest.raises(jsonschema.ValidationError):
        check(schema, {**good, **change})


# --- Two runs ------------------------------------------------------------------------------------------------


def test_a_comparison_sorts_every_case_into_what_became_of_it() -> None:
    a, b, c = (f"{name(0)}/plain/{dtype}" for dtype in ("float32", "float16", "bfloat16"))
    other = {**TINY, "cases": [*TINY["cases"], factory.case("New/plain/float32", name(1))]}
    found = compare(run(TINY, {b: "error", c: "error"}), run(other, {a: "wrong", c: "timeout"}))
    assert [(x.case, x.old, x.new) for x in found.regressed] == [(a, Verdict.PASS, Verdict.WRONG)]
    assert [x.case for x in found.fixed] == [b]
    assert [x.case for x in found.changed] == [c]
    assert [x.case for x in found.added] == ["New/plain/float32"]
    assert not found.gone
    back = compare(run(other), run(TINY))
    assert [x.case for x in back.gone] == ["New/plain/float32"]
    assert f"regressed: {a} (pass -> wrong)" in found.text()
    json.dumps(found.as_json())


def test_a_comparison_shows_tiers_models_and_what_is_not_comparable() -> None:
    small = plan(operators=36, core=35, common=35, models=10, domains=2)
    old, new = run(small), run(small, {"model003/n0": "unsupported"})
    found = compare(old, new)
    assert (found.tier_change, found.models_lost, found.models_won) == (-1, ("model003",), ())
    assert found.text().startswith("Tier 1 -> Tier 0: 1 regressed")
    newer = replace(new, run={**new.run, "backend": {**new.backend, "version": "3.0"}})
    assert "backend version: '2.1' -> '3.0'" in compare(new, newer).notes


def test_a_comparison_prints_no_control_characters() -> None:
    lines = results(TINY)
    lines[0] |= {"verdict": "wrong", "message": "bad\n\x1b[31mred"}
    text = compare(run(TINY), run(TINY, lines=lines)).text()
    assert "\x1b" not in text
    assert sum(line.startswith("regressed") for line in text.splitlines()) == 1
