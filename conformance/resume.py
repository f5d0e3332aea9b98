"""What an interrupted run left behind, checked before a run goes on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import UsageError
from .plan import Plan
from .runfolder import RESULTS, RUN, parse_result
from .spec import Verdict

__all__ = ["header_so_far", "verdicts_so_far"]


def verdicts_so_far(completed: Mapping[str, Mapping[str, Any]], plan: Plan, folder: Path) -> dict[str, Verdict]:
    """The verdicts that an interrupted run gave, by case."""
    planned = {case.id for case in plan.cases}
    verdicts = {}
    for case, record in completed.items():
        try:
            if case not in planned:
                raise ValueError("the plan has no such case")
            verdicts[case] = parse_result(record).verdict
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise UsageError(
                f"{folder / RESULTS}: {case!r}: {reason}; take its line out, and --resume runs what is missing"
            ) from None
    return verdicts


def header_so_far(folder: Path, described: Mapping[str, Any]) -> dict[str, Any]:
    """run.json of a run that is resumed. Raises ``UsageError`` where the backend is no longer the one that gave the
    verdicts so far: a certificate names one."""
    try:
        header: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
        was = header["backend"]
        for key in ("name", "version", "device", "driver"):
            if was.get(key) != described.get(key):
                had, has = was.get(key), described.get(key)
                raise UsageError(f"{folder} holds another run: its backend's {key} is {had!r}, not {has!r}")
        if not isinstance(header["started"], str):
            raise TypeError("'started' is no text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{folder / RUN} is damaged ({reason}); choose another folder") from None
    return header
