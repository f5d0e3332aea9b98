"""Waivers: known failures that a vendor owns up to. An overlay on verdicts; never a verdict, never a bound.

A waiver file is TOML::

    [[waiver]]
    case = "Resize/cubic-*/float16"   # an exact id or a glob; or: cases = ["...", "..."]
    backend = "acme"                  # the backend's name, or as it is named on the command line
    version = "2.1.*"                 # exact or a glob
    reason = "cubic coefficients are rounded to float16"
    link = "https://example.com/issues/17"
    expires = 2027-03-01              # the last day on which it holds

The run keeps a copy as waivers.toml beside its evidence, so that a grade needs nothing but the run folder. What the
waivers amount to is decided as of the day of the run, not of the day of reading.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .certificate import Waived
from .errors import UsageError
from .spec import Verdict

if TYPE_CHECKING:
    from .runfolder import RunFolder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Overlay", "Waiver", "apply_waivers", "read_waivers"]

_TEXTS = ("backend", "version", "reason", "link")
_FIELDS = {"case", "cases", "expires", *_TEXTS}


@dataclass(frozen=True, slots=True)
class Waiver:
    """One entry of the file. ``cases``: exact ids or globs. ``expires``: the last day on which it holds."""

    cases: tuple[str, ...]
    backend: str
    version: str
    reason: str
    link: str
    expires: datetime.date


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the waivers amount to in one run. ``errors``: waivers that match nothing, have expired, are meant for
    another backend or version, or cover a passing case; one line each."""

    waived: tuple[Waived, ...] = ()
    errors: tuple[str, ...] = ()


def read_waivers(path: Path | str) -> tuple[Waiver, ...]:
    """Read a waiver file. Raises `UsageError`, one line with file and entry, for anything unreadable in it."""
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file of waivers") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as TOML: {error}") from None
    unknown = sorted(set(data) - {"waiver"})
    if unknown:
        raise UsageError(f"{path}: unknown key {unknown[0]!r}; waivers are [[waiver]] tables")
    return _entries(data.get("waiver", []), str(path))


def apply_waivers(run: RunFolder) -> Overlay:
    """Hold each of the run's waivers against it, in order; the first one that covers a case is the one that counts."""
    waived: dict[str, Waived] = {}
    errors = []
    for waiver in run.waivers:
        if problem := _void(waiver, run):
            errors.append(problem)
            continue
        for pattern in waiver.cases:
            matched = _matching(pattern, run)
            passing = [case for case in matched if run.results[case].passed]
            if not matched:
                errors.append(f"waiver {pattern!r} matches no planned case")
            if passing:
                others = f" and {len(passing) - 1} others" if len(passing) > 1 else ""
                errors.append(f"waiver {pattern!r} covers {passing[0]}{others}, which passed")
            for case in matched:
                verdict = run.results[case].verdict
                if verdict not in (Verdict.PASS, Verdict.NOT_RUN):
                    entry = Waived(case, verdict, waiver.reason, waiver.link, waiver.expires.isoformat())
                    waived.setdefault(case, entry)
    order = {case: position for position, case in enumerate(run.plan.cases)}
    return Overlay(tuple(sorted(waived.values(), key=lambda entry: order[entry.case])), tuple(errors))


def _matching(pattern: str, run: RunFolder) -> list[str]:
    if pattern in run.results:
        return [pattern]
    return [case for case in run.results if fnmatchcase(case, pattern)]


def _void(waiver: Waiver, run: RunFolder) -> str | None:
    """Why the waiver does not hold for this run at all, in one line."""
    what = f"waiver {waiver.cases[0]!r}"
    names = [str(run.backend[key]) for key in ("name", "spec") if key in run.backend]
    if not any(fnmatchcase(name, waiver.backend) for name in names):
        return f"{what} is for backend {waiver.backend!r}; this run is of {' / '.join(names)!r}"
    version = str(run.backend.get("version", ""))
    if not fnmatchcase(version, waiver.version):
        return f"{what} is for version {waiver.version!r} of {waiver.backend}; this run is of {version!r}"
    started = str(run.run.get("started", ""))
    try:
        day = datetime.date.fromisoformat(started[:10])
    except ValueError:
        return f"{what} cannot be dated: the run does not say when it started ({started!r})"
    if day > waiver.expires:
        return f"{what} expired on {waiver.expires.isoformat()}; the run started on {day.isoformat()}"
    return None


def _entries(entries: Any, file: str) -> tuple[Waiver, ...]:
    if not isinstance(entries, list):
        raise UsageError(f"{file}: waivers must be a list of tables")
    out = []
    for number, entry in enumerate(entries, start=1):
        try:
            out.append(_waiver(entry))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{file}: waiver {number}: {error}") from None
    return tuple(out)


def _waiver(entry: Mapping[str, Any]) -> Waiver:
    if not isinstance(entry, Mapping):
        raise TypeError("expected a table")
    if unknown := sorted(set(entry) - _FIELDS):
        raise ValueError(f"unknown key {unknown[0]!r}")
    cases = entry.get("cases", [entry["case"]] if "case" in entry else [])
    if "case" in entry and "cases" in entry:
        raise ValueError("give 'case' or 'cases', not both")
    if not isinstance(cases, list) or not cases or not all(isinstance(c, str) and c for c in cases):
        raise ValueError("'case' must be a case id or a glob, or 'cases' a list of them")
    for key in _TEXTS:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise ValueError(f"{key!r} is missing or empty")
    backend, version, reason, link = (entry[key] for key in _TEXTS)
    return Waiver(tuple(cases), backend, version, reason, link, _date(entry.get("expires")))


def _date(value: Any) -> datetime.date:
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"'expires' must be a date such as 2027-03-01, not {value!r}") from None
