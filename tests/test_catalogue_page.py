"""docs/catalogue.md says what the catalogue has."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_what_the_tool_makes() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "catalogue.py"))
    written = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8").splitlines()
    made = tool["page"]().splitlines()
    changed = [line for line in made if line not in written] + [line for line in written if line not in made]
    assert written == made, f"run `python tools/catalogue.py`; {len(changed)} lines differ: {changed[:4]}"


def test_groups_of_dtypes_are_named_only_where_they_are_whole() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "catalogue.py"))
    assert tool["brief"]({"float32", "bool"}) == "bool, float32"
    assert tool["brief"]({"float64", "float32", "bfloat16", "float16", "int8"}) == "floats, int8"
