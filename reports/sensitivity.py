"""docs/sensitivity.md: what the planted defects and the legal variants came to."""

from __future__ import annotations

from collections.abc import Iterable

from ..sensitivity import Answer, Sensitivity
from .tally import percent

__all__ = ["markdown"]


def markdown(found: Sensitivity) -> str:
    """The page: totals, a table by family and dtype, and every survivor."""
    caught = sum(a.caught for a in found.answers)
    verdicts = sum(found.verdicts.values())
    dtypes = sorted({a.dtype for a in found.answers}, key=_order)
    lines = [
        "# Sensitivity",
        "",
        "How much the standard suite sees: defects that were planted into a correct backend, one at a time, and legal ways",
        "of computing that must pass. Made by",
        "",
        "    conformance sensitivity --output docs/sensitivity.md",
        "",
        f"Suite {found.suite['version']}, digest {found.suite['digest']}, opset {found.suite['opset']}.",
        "",
        "| | |",
        "|---|---|",
        f"| planted defects (operator × kind × dtype) | {len(found.answers)} |",
        f"| caught | {caught} ({percent(caught, len(found.answers))}) |",
        f"| verdicts on legal variants | {verdicts} |",
        f"| wrongly failed | {len(found.failures)} |",
        "",
        "## Caught, by family and dtype",
        "",
        f"| family | {' | '.join(dtypes)} | all |",
        f"|---|{'---:|' * (len(dtypes) + 1)}",
    ]
    for family in dict.fromkeys(a.family for a in found.answers):
        own = [a for a in found.answers if a.family == family]
        cells = [_cell(a for a in own if a.dtype == dtype) for dtype in dtypes]
        lines.append(f"| {family} | {' | '.join(cells)} | {_cell(own)} |")
    lines += ["", "## Survivors", ""]
    lines += _survivors("That no case shows: what they spoil, the suite does not have.", found, shown=False)
    lines += _survivors("That a case shows, but within its bound:", found, shown=True)
    lines += ["## Legal variants that were failed", ""]
    lines += [f"- `{f.case}` as *{f.variant}*: {f.message}" for f in found.failures] or ["None."]
    return "\n".join(lines) + "\n"


def _order(dtype: str) -> tuple[int, str]:
    first = ("float32", "float16", "bfloat16", "float64")
    return (first.index(dtype) if dtype in first else len(first), dtype)


def _cell(answers: Iterable[Answer]) -> str:
    own = list(answers)
    return f"{sum(a.caught for a in own)}/{len(own)}" if own else ""


def _survivors(title: str, found: Sensitivity, *, shown: bool) -> list[str]:
    places: dict[str, list[str]] = {}
    for answer in found.answers:
        if not answer.caught and answer.shown == shown:
            places.setdefault(answer.defect, []).append(f"{answer.operator}/{answer.dtype}")
    listed = [f"- `{defect}`: {', '.join(where)}" for defect, where in sorted(places.items())]
    return [title, "", *(listed or ["None."]), ""]
