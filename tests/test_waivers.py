"""Waivers: what they cover, what they cost, and when they are an error themselves."""

from __future__ import annotations

import datetime
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import evidence_factory as factory
import pytest
from evidence_factory import name, plan

from conformance.certificate import Certificate, Criterion
from conformance.errors import UsageError
from conformance.grade import grade
from conformance.runfolder import RunFolder, read_run
from conformance.spec import Verdict
from conformance.waivers import Waiver, apply_waivers, read_waivers

FULL = plan()
LAST_DAY = datetime.date(2026, 3, 1)  # the day on which the factory's runs start
TEXT = """
[[waiver]]
case = "Op074/plain/*"
backend = "acme"
version = "2.*"
reason = "known"
link = "https://example.com/1"
expires = 2026-03-01
"""


def waiver(*cases: str, backend: str = "Acme", version: str = "2.1", expires: datetime.date = LAST_DAY) -> Waiver:
    return Waiver(cases, backend, version, "known", "https://example.com/1", expires)


def waived(verdicts: dict[str, str], *waivers: Waiver) -> RunFolder:
    return replace(factory.run(FULL, verdicts), waivers=waivers)


def criterion(certificate: Certificate, tier: int, what: str) -> Criterion:
    return next(c for c in certificate.of_tier(tier) if c.name == what)


def test_exact_ids_and_globs_cover_failing_cases() -> None:
    verdicts = {f"{name(80)}/plain/{dtype}": "wrong" for dtype in ("float32", "float16")}
    overlay = apply_waivers(waived(verdicts, waiver(f"{name(80)}/plain/*float*")))
    assert [w.case for w in overlay.waived] == [f"{name(80)}/plain/float32", f"{name(80)}/plain/float16"]
    assert overlay.waived[0].verdict is Verdict.WRONG
    assert overlay.errors == (f"waiver '{name(80)}/plain/*float*' covers {name(80)}/plain/bfloat16, which passed",)
    assert not apply_waivers(waived(verdicts, waiver(*verdicts))).errors


def test_the_backend_may_be_named_as_on_the_command_line() -> None:
    ident = f"{name(80)}/plain/float32"
    assert apply_waivers(waived({ident: "wrong"}, waiver(ident, backend="acme", version="2.*"))).waived


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (waiver("Nothing/*"), "matches no planned case"),
        (waiver("Op000/plain/float32"), "covers Op000/plain/float32, which passed"),
        (waiver("Op080/plain/float32", expires=datetime.date(2026, 2, 28)), "expired on 2026-02-28"),
        (waiver("Op080/plain/float32", backend="other"), "is for backend 'other'"),
        (waiver("Op080/plain/float32", version="2.0"), "is for version '2.0'"),
    ],
)
def test_a_waiver_that_does_not_hold_is_an_error_in_the_report(bad: Waiver, reason: str) -> None:
    certificate = grade(waived({"Op080/plain/float32": "wrong"}, bad))
    assert not certificate.waived
    (error,) = certificate.waiver_errors
    assert reason in error
    assert criterion(certificate, 3, "correctness").reached == 1


def test_a_waiver_holds_on_its_last_day() -> None:
    assert apply_waivers(waived({"Op080/plain/float32": "wrong"}, waiver("Op080/plain/float32"))).waived


def test_a_waived_case_no_longer_blocks_but_never_counts_as_a_pass() -> None:
    ident = f"{name(74)}/plain/float16"  # Common, not Core; in bfloat16 everything passes
    certificate = grade(waived({ident: "wrong"}, waiver(ident)))
    assert criterion(certificate, 3, "correctness").met
    assert criterion(certificate, 3, "waived").reached == Fraction(1, len(FULL["cases"]))
    assert criterion(certificate, 3, "waived-common").met is False
    assert name(74) in criterion(certificate, 3, "common-operators").items


def test_tier_1_allows_no_waived_case() -> None:
    ident = "model099/block-n0"
    assert grade(waived({ident: "unsupported"})).tier == 2
    certificate = grade(waived({ident: "unsupported"}, waiver(ident)))
    assert (certificate.tier, criterion(certificate, 1, "waived").met) == (0, False)


def test_waived_in_core_fails_tier_2() -> None:
    ident = f"{name(0)}/plain/float64"
    assert criterion(grade(waived({ident: "wrong"}, waiver(ident))), 2, "waived-core").met is False
    ident = f"{name(40)}/plain/bfloat16"
    assert criterion(grade(waived({ident: "wrong"}, waiver(ident))), 2, "waived-core").met is True


@pytest.mark.parametrize(("tier", "total"), [(2, 100), (3, 200)])
def test_the_ceiling_on_both_sides(tier: int, total: int) -> None:
    """One waived case in exactly as many as allowed, then one more."""
    planned = plan(operators=40, core=1, common=40, models=0)
    scope = [c for c in planned["cases"] if tier == 3 or c["dtype"] in ("float32", "float16", "int64")]
    spare = len(scope) // total
    idents = [f"{name(i)}/plain/int64" for i in range(1, spare + 2)]
    for count, met in ((spare, True), (spare + 1, False)):
        verdicts = dict.fromkeys(idents[:count], "unsupported")
        run = replace(factory.run(planned, verdicts), waivers=(waiver(*verdicts),))
        found = criterion(grade(run), tier, "waived")
        assert found.met is met
        assert found.reached == Fraction(count, len(scope))


def test_a_waiver_never_completes_an_incomplete_run() -> None:
    certificate = grade(waived({"Op080/plain/float32": "not-run"}, waiver("Op080/plain/float32")))
    assert (certificate.complete, certificate.waived, certificate.waiver_errors) == (False, (), ())


def test_the_copy_in_the_run_folder_is_what_counts(tmp_path: Path) -> None:
    folder = factory.write(tmp_path / "run", FULL, factory.results(FULL, {"Op074/plain/float32": "error"}))
    assert read_run(folder).waivers == ()
    (folder / "waivers.toml").write_text(TEXT)
    certificate = grade(read_run(folder))
    assert [w.case for w in certificate.waived] == ["Op074/plain/float32"]
    assert len(certificate.waiver_errors) == 1


def test_a_file_is_read_into_records(tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_text(TEXT + TEXT.replace('case = "Op074/plain/*"', 'cases = ["a", "b"]'))
    first, second = read_waivers(file)
    assert first == Waiver(("Op074/plain/*",), "acme", "2.*", "known", "https://example.com/1", LAST_DAY)
    assert second.cases == ("a", "b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[waiver]\n", "cannot be read as TOML"),
        ("[[waivers]]\n", "unknown key 'waivers'"),
        ("waiver = 3\n", "must be a list of tables"),
        (TEXT.replace("reason", "why"), "waiver 1: unknown key 'why'"),
        (TEXT.replace('"known"', '" "'), "'reason' is missing or empty"),
        (TEXT.replace("2026-03-01", '"soon"'), "'expires' must be a date"),
        (TEXT.replace("case =", "cases ="), "'case' must be a case id or a glob"),
        (TEXT.replace('case = "Op074/plain/*"', ""), "'case' must be a case id or a glob"),
    ],
)
def test_an_unreadable_file_is_one_clear_line(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "w.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_waivers(file)
    assert str(file) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file of waivers"):
        read_waivers(tmp_path / "none.toml")
