"""What the page's script needs, as one compact JSON text that is safe inside a script element.

Columns rather than records, and every repeated string once: ten thousand cases stay under a megabyte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..spec import Source, Verdict
from .tally import SEVERITY, SYMBOLS, figure
from .viewmodel import Page
from .visible import clip, visible_all

__all__ = ["MESSAGE_BUDGET", "as_script", "columns"]

MESSAGE_BUDGET = 1_200_000  # characters of distinct messages and logs: a third of the page's 4 MB
_LIMITS = (4000, 2000, 1000, 500, 250, 120, 60, 20)
_DETAIL = (
    *("ulp", "bits", "median_units", "elements", "share", "output", "index", "actual", "expected", "allowed"),
    "similar",
)


class _Table:
    """Distinct values in order of first sight."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        if value not in self._places:
            self._places[value] = len(self.values)
            self.values.append(value)
        return self._places[value]


def _limit(texts: Iterable[str]) -> int:
    """How long a message may be so that all of them together stay within the budget."""
    lengths = [len(text) for text in texts]
    for limit in _LIMITS:
        if sum(min(length, limit) for length in lengths) <= MESSAGE_BUDGET:
            return limit
    return _LIMITS[-1]


def _plain(value: Any) -> Any:
    """A number JSON can hold: three digits for people, and text for what JSON has no number for."""
    if isinstance(value, float):
        return figure(value) if not math.isfinite(value) else float(f"{value:.4g}")
    return value


def columns(page: Page, words: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a report. ``words``: the script's texts. A case's place in a column is its ``number``."""
    cases = page.cases
    verdicts, sources = list(Verdict), list(Source)
    place = {verdict: i for i, verdict in enumerate(verdicts)}
    source = {s: i for i, s in enumerate(sources)}
    operators, dtypes, owners, texts = _Table(), _Table(), _Table(), _Table()
    texts.place("")
    for case in cases:
        texts.place(case.message)
        texts.place(case.log)
    limit = _limit(texts.values)
    details = {}
    for case in cases:
        if case.verdict is Verdict.PASS and not case.message:
            continue
        detail: dict[str, Any] = {
            key: clip(value, limit) if isinstance(value, str) else _plain(value)
            for key, value in ((key, case.error.get(key)) for key in _DETAIL)
            if value is not None
        }
        if case.log:
            detail["log"] = texts.place(case.log)
        if case.after:
            detail["after"] = case.after
        if case.repeat == "differs":
            detail["differs"] = 1
        if detail:
            details[str(case.number)] = detail
    return {
        "verdicts": [{"name": str(v), "symbol": SYMBOLS[v], "rank": SEVERITY.index(v)} for v in verdicts],
        "sources": [str(s) for s in sources],
        "id": [case.id for case in cases],
        "operator": [operators.place(case.operator) for case in cases],
        "dtype": [dtypes.place(case.dtype) for case in cases],
        "model": [owners.place(case.model or "") for case in cases],
        "source": [source[case.source] for case in cases],
        "verdict": [place[case.verdict] for case in cases],
        "message": [texts.place(case.message) for case in cases],
        "units": [_plain(case.units) for case in cases],
        "detail": details,
        "operators": operators.values,
        "dtypes": dtypes.values,
        "models": owners.values,
        "texts": [clip(text, limit) for text in texts.values],
        "shortened": any(len(text) > limit for text in texts.values),
        "strips": [model.name for model in page.models],
        "nodes": [[node.number for node in model.nodes] for model in page.models],
        "names": [[node.name for node in model.nodes] for model in page.models],
        "reproduce": {
            "folder": page.reproduce.folder,
            "run": page.reproduce.run,
            "vectors": page.reproduce.vectors,
            "further": page.reproduce.further,
        },
        "further": [case.number for case in cases if case.further],
        "words": dict(words),
    }


def as_script(data: Any) -> str:
    """The data as JSON that is inert inside ``<script type="application/json">``.

    No ``<``, ``>`` or ``&`` is left: neither ``</script`` nor ``<!--`` can appear, whatever a backend wrote. Line
    separators and the like are spelled out by `visible_all` before.
    """
    text = json.dumps(visible_all(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
