"""How much the suite was measured to see (`sensitivity`): the figures that go on every certificate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["published"]

_FIGURES = Path(__file__).with_name("sensitivity.json")


def published() -> dict[str, Any] | None:
    """The figures as ``conformance sensitivity --figures`` wrote them for this version: the suite that they were
    measured with, planted and caught defects, verdicts on legal variants and how many of these failed. None for a
    version that was not measured."""
    if not _FIGURES.exists():
        return None
    figures: dict[str, Any] = json.loads(_FIGURES.read_text(encoding="utf-8"))
    return figures
