"""The examples of the findings: what they print is what ONNX and ONNX Runtime still do."""

from __future__ import annotations

import doctest
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
TEXT, CLASSICAL = ((DOCS / name).read_text(encoding="utf-8") for name in ("findings.md", "findings-ml.md"))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_the_findings_are_of_the_installed_version(package: str) -> None:
    found = re.search(rf"^Versions:.*\b{package} ([0-9.]*[0-9])", TEXT, re.MULTILINE)
    assert found
    assert found[1] == version(package), (
        "run the examples with the new version and bring docs/findings.md up to date"
    )


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the findings are of x86-64's kernels")
def test_every_example_prints_what_the_findings_say() -> None:
    names: dict[str, Any] = {}
    report: list[str] = []
    for text in (TEXT, CLASSICAL):  # the second goes on with the definitions of the first
        preamble = re.search(r"```python\n(.*?)```", text, re.DOTALL)
        assert preamble
        exec(preamble[1], names)
        blocks = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
        assert len(blocks) > 10
        examples = doctest.DocTestParser().get_doctest("".join(blocks), names, "findings", None, None)
        doctest.DocTestRunner(verbose=False).run(examples, out=report.append)
    assert not report, "".join(report)
