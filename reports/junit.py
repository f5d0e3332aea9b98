"""JUnit XML for continuous integration: one test suite for each source and family, one test case for each case.

``inaccurate``, ``wrong`` and ``flaky`` are failures; ``error``, ``crash``, ``timeout``, ``out-of-memory`` and
``not-run`` are errors; ``unsupported`` is skipped, as is whatever a waiver covers. The element's type attribute
is the verdict itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ..certificate import Waived
from ..files import write_whole
from ..runfolder import PlannedCase, Result, RunFolder, read_run
from ..spec import Verdict
from ..waivers import apply_waivers

__all__ = ["junit", "write_junit"]

_ELEMENT = {
    Verdict.INACCURATE: "failure",
    Verdict.WRONG: "failure",
    Verdict.FLAKY: "failure",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.ERROR: "error",
    Verdict.CRASH: "error",
    Verdict.TIMEOUT: "error",
    Verdict.OUT_OF_MEMORY: "error",
    Verdict.NOT_RUN: "error",
}
# Everything that is not a character of XML 1.0 (section 2.2): no escape can express it.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(folder: Path | str, run: RunFolder | None = None) -> Path:
    """Write DIR/junit.xml from the evidence in DIR (``run``, where it has just been read); returns its path."""
    folder = Path(folder)
    return write_whole(folder / "junit.xml", junit(run or read_run(folder)))


def junit(run: RunFolder) -> Iterator[str]:
    """The document, piece by piece, in the order of the plan."""
    waived = {entry.case: entry for entry in apply_waivers(run).waived}
    suites: dict[str, list[PlannedCase]] = {}
    for case in run.plan.cases.values():
        suites.setdefault(f"{case.source}.{case.family}", []).append(case)
    total = _counts(run.plan.cases, run, waived)
    name = f"conformance of {run.backend.get('name', 'a backend')} {run.backend.get('version', '')}".strip()
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<testsuites{_attributes(name=name, **total)}>\n"
    for suite, cases in suites.items():
        counts = _counts({case.case: case for case in cases}, run, waived)
        yield f"  <testsuite{_attributes(name=suite, timestamp=str(run.run.get('started', '')), **counts)}>\n"
        for case in cases:
            yield _testcase(case, suite, run.results[case.case], waived.get(case.case))
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _clean(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)


def _attributes(**values: str) -> str:
    return "".join(f" {name}={quoteattr(_clean(value))}" for name, value in values.items() if value)


def _element(result: Result, waived: Waived | None) -> str | None:
    if result.passed:
        return None
    return "skipped" if waived is not None else _ELEMENT[result.verdict]


def _counts(cases: Mapping[str, PlannedCase], run: RunFolder, waived: Mapping[str, Waived]) -> dict[str, str]:
    found = Counter(_element(run.results[case], waived.get(case)) for case in cases)
    seconds = sum(run.results[case].seconds for case in cases)
    return {
        "tests": str(len(cases)),
        "failures": str(found["failure"]),
        "errors": str(found["error"]),
        "skipped": str(found["skipped"]),
        "time": f"{seconds:.6f}",
    }


def _testcase(case: PlannedCase, suite: str, result: Result, waived: Waived | None) -> str:
    head = _attributes(name=case.case, classname=f"conformance.{suite}", time=f"{result.seconds:.6f}")
    element = _element(result, waived)
    if element is None:
        return f"    <testcase{head}/>\n"
    message = result.message or str(result.verdict)
    if waived is not None:
        message = f"waived until {waived.expires} ({waived.reason}; {waived.link}): {message}"
    parts = [f"    <testcase{head}>\n"]
    parts.append(f"      <{element}{_attributes(type=str(result.verdict), message=message.splitlines()[0])}>")
    parts.append(escape(_clean("\n".join((message, *_details(result))))))
    parts.append(f"</{element}>\n")
    if result.log:
        parts.append(f"      <system-out>{escape(_clean(result.log))}</system-out>\n")
    parts.append("    </testcase>\n")
    return "".join(parts)


def _details(result: Result) -> Iterator[str]:
    for key in ("output", "index", "actual", "expected", "allowed", "share", "units", "ulp"):
        if result.error.get(key) is not None:
            yield f"{key}: {result.error[key]}"
    if result.after is not None:
        yield f"only after: {result.after}"
