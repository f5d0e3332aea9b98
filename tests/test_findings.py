"""The findings: their examples print what ONNX and ONNX Runtime still do, and the cases that they name are cases."""

from __future__ import annotations

import doctest
import platform
import re
import runpy
import subprocess
import sys
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import evidence_factory as factory
import pytest

from conformance.plan import Selection, build_plan
from conformance.spec import Verdict

ROOT = Path(__file__).parents[1]
DOCS, TOOL = ROOT / "docs", ROOT / "tools" / "findings.py"
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


PAGE = """
# Findings

`Pad/before-any-engine/float32`

## Acme 2.1

Cases: `Abs/*`, `Add/nan/float32`.

```python
"`Mul/in-an-example/float32`"
```

| what | cases |
|---|---|
| a type | `Cast/to-*/int8`, `Cast/gone/int8` |

## Acmeist 1

`Div/of-another/float32`
"""


def test_the_names_of_a_page_are_those_of_the_engines_section_but_not_of_its_examples() -> None:
    patterns = runpy.run_path(str(TOOL))["patterns"]
    assert patterns([PAGE], "Acme") == ("Abs/*", "Add/nan/float32", "Cast/to-*/int8", "Cast/gone/int8")


def test_a_failure_that_nothing_names_and_a_name_that_no_case_has_are_found() -> None:
    compare = runpy.run_path(str(TOOL))["compare"]
    verdicts = {
        "Abs/nan/float32": Verdict.WRONG,
        "Add/nan/float32": Verdict.PASS,
        "Mul/nan/float32": Verdict.CRASH,
        "Neg/nan/float32": Verdict.UNSUPPORTED,
    }
    found = compare(["Abs/*", "Add/nan/float32", "Sub/*"], verdicts)
    assert (found.unnamed, found.unknown, found.mended) == (("Mul/nan/float32",), ("Sub/*",), ("Add/nan/float32",))
    everything = compare(["Abs/*", "M*/nan/*"], verdicts)
    assert (everything.unnamed, everything.unknown, everything.mended) == ((), (), ())


def test_the_tool_tells_a_run_folder_from_what_is_none(tmp_path: Path) -> None:
    planned = factory.plan(operators=2, core=1, common=2, models=0)
    ident = planned["cases"][0]["case"]
    folder = factory.write(tmp_path / "run", planned, factory.results(planned, {ident: "wrong"}))
    for argument, status, words in ((folder, 1, f"{ident}: wrong"), (tmp_path / "none", 2, "findings: ")):
        done = subprocess.run([sys.executable, "-P", TOOL, argument], capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert words in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_every_case_that_the_findings_name_is_in_the_suite() -> None:
    names = runpy.run_path(str(TOOL))["patterns"]((TEXT, CLASSICAL), "ONNX Runtime")
    assert len(names) > 50
    cases = [case.id for case in build_plan(Selection()).cases]
    assert not [name for name in names if not any(fnmatchcase(case, name) for case in cases)]
