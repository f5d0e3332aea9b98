"""Hold a run folder against the findings: which failed cases docs/findings*.md does not name.

    conformance run onnxruntime -o runs/ort
    python tools/findings.py runs/ort

A finding names its cases in backticks, by their ids or by patterns of fnmatch (`Cast/to-float8*/float32`), in the
sections whose headings begin with the backend's name. A case that failed and that no finding names is a defect that
nobody has looked at, or an error of the suite; a name that no case has is a finding that nobody can check. Either is
listed, and the exit status is 1. Names whose cases all pass are listed as well: a version, or a processor, may have
mended them. What a backend declines is no failure.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from conformance.errors import UsageError
from conformance.runfolder import read_run
from conformance.spec import Verdict

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("findings*.md"))
NO_FAILURE = (Verdict.PASS, Verdict.UNSUPPORTED)
_EXAMPLE = re.compile(r"```.*?```", re.DOTALL)
_NAME = re.compile(r"`([^`\s]+/[^`\s]+)`")


@dataclass(frozen=True, slots=True)
class Comparison:
    """``unnamed``: the cases that failed and no pattern matches. ``unknown``: the patterns that match no case.
    ``mended``: those that match cases, none of which failed."""

    unnamed: tuple[str, ...]
    unknown: tuple[str, ...]
    mended: tuple[str, ...]


def patterns(pages: Iterable[str], backend: str) -> tuple[str, ...]:
    """The cases that the findings about a backend name, in the order of the pages."""
    names: dict[str, None] = {}
    for page in pages:
        for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
            if section.startswith(f"{backend} "):
                names.update(dict.fromkeys(_NAME.findall(_EXAMPLE.sub("", section))))
    return tuple(names)


def compare(names: Iterable[str], verdicts: Mapping[str, Verdict]) -> Comparison:
    """Hold ``names`` against the verdicts of a run, by case id."""
    failed = {case for case, verdict in verdicts.items() if verdict not in NO_FAILURE}
    named: set[str] = set()
    unknown, mended = [], []
    for name in names:
        matched = {case for case in verdicts if fnmatchcase(case, name)}
        named |= matched
        if not matched:
            unknown.append(name)
        elif not matched & failed:
            mended.append(name)
    return Comparison(tuple(c for c in verdicts if c in failed - named), tuple(unknown), tuple(mended))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of a run of the whole suite")
    try:
        run = read_run(parser.parse_args().folder)
    except UsageError as error:
        print(f"findings: {error}", file=sys.stderr)
        return 2
    backend = str(run.run["backend"]["name"])
    names = patterns((page.read_text(encoding="utf-8") for page in PAGES), backend)
    found = compare(names, {case: result.verdict for case, result in run.results.items()})
    print(f"{backend}: {len(names)} names in the findings")
    for title, entries in (
        ("failed, and in no finding", [f"{c}: {run.results[c].verdict.value}" for c in found.unnamed]),
        ("named, but not in the run", found.unknown),
        ("named, but not failed", found.mended),
    ):
        print(f"{title}: {len(entries)}")
        for entry in entries:
            print(f"  {entry}")
    return 1 if found.unnamed or found.unknown else 0


if __name__ == "__main__":
    sys.exit(main())
