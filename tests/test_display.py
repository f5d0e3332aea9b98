"""What the terminal shows: names that a vendor's engineer understands, in lines that fit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rich.console
from evidence_factory import plan, run

from conformance import display
from conformance.certificate import Certificate
from conformance.grade import grade
from conformance.run import Tally
from conformance.spec import Verdict

PLAN = plan(operators=36, core=35, common=35, models=10, domains=2)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every console is a terminal of 80 columns."""

    def console(**options: Any) -> rich.console.Console:
        return rich.console.Console(force_terminal=True, width=80, color_system=None, **options)

    monkeypatch.setattr(display, "Console", console)


def printed(certificate: Certificate, capsys: pytest.CaptureFixture[str]) -> str:
    display.print_certificate(certificate, Path("runs/acme"))
    return capsys.readouterr().out


def whole(certificate: Certificate) -> Certificate:
    return replace(certificate, suite={**certificate.suite, "complete": True})


def test_the_summary_names_what_is_not_met_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    broken = {case["case"]: case["operator"] for case in PLAN["cases"] if case["operator"] in ("Op000", "Op001")}
    verdicts = {case: "wrong" if operator == "Op000" else "unsupported" for case, operator in broken.items()}
    text = printed(whole(grade(run(PLAN, verdicts))), capsys)
    assert "No tier reached" in text
    assert re.search(r"^  \d+ wrong, \d+ unsupported$", text, re.MULTILINE)
    assert "  ✗ All Core operators trusted: 33, required ≥ 35 (Op000, Op001)\n" in text
    assert re.search(r"^  1\. Op00[01] in \w+: \d+ (wrong|unsupported)", text, re.MULTILINE)
    assert "core-operators" not in text
    assert text.endswith("Report: runs/acme/report/index.html\n")


def test_a_line_of_the_summary_has_as_many_names_as_fit(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(whole(grade(run(PLAN, {case["case"]: "error" for case in PLAN["cases"]}))), capsys)
    unmet = [line for line in text.splitlines() if "✗" in line]
    assert unmet
    assert max(map(len, unmet)) <= 80
    assert re.search(r"✗ All Core operators trusted: 0, required ≥ 35 \(.*, and \d+ more\)", text)
    assert re.search(r"  and \d+ more in the report", text)


def test_of_a_part_of_the_suite_no_criteria_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    certificate = grade(run(PLAN, {case["case"]: "error" for case in PLAN["cases"]}))
    part = replace(certificate, complete=False, tier=0, suite={**certificate.suite, "complete": False})
    text = printed(part, capsys)
    assert "only a part of the suite was run" in text
    assert "✗" not in text
    assert "Fix first" in text


def test_a_case_without_a_verdict_is_named_as_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    certificate = replace(whole(grade(run(PLAN))), complete=False, tier=0)
    assert "some planned cases have no verdict" in printed(certificate, capsys)


def test_control_characters_of_an_operators_name_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    certificate = whole(grade(run(PLAN, {case["case"]: "error" for case in PLAN["cases"]})))
    nasty = replace(certificate.blockers[0], what="Evil\x1b[2J[bold]")
    text = printed(replace(certificate, blockers=(nasty,)), capsys)
    assert "\x1b" not in text
    assert "Evil\\x1b[2J[bold]" in text


def test_the_names_of_a_table_are_whole_at_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(monkeypatch)
    rows = [("whisper-tiny-encoder", "words " * 20, "136"), ("gpt2", "text", "1001")]
    display.print_table(("model", "what", "nodes"), rows)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("whisper-tiny-encoder ") for line in lines)
    assert lines[-1].endswith(" 1001")
    assert lines[1].rstrip().endswith("  136")  # numbers end together


def test_elsewhere_a_table_is_lines_for_cut_and_awk(capsys: pytest.CaptureFixture[str]) -> None:
    display.print_table(("model", "nodes"), [("gpt2", "565"), ("tcn", "40")])
    assert capsys.readouterr().out == "gpt2\t565\ntcn\t40\n"


def test_the_bar_keeps_its_place_beside_every_verdict_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(monkeypatch)
    with display.progress() as show:
        show(Tally(10_387, dict.fromkeys(Verdict, 900)))
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out).splitlines()
    bar = next(line for line in lines if "9000/10387" in line)
    assert len(bar) <= 80
    assert bar.count("━") > 30
    assert "900 out-of-memory" in " ".join(lines)
