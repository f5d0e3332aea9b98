"""The documents: links lead somewhere, commands and options exist, examples run, tables say what the code says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from conformance.cli import cli
from conformance.graphs import build, dtypes_of, nodes_of
from conformance.judge import judge
from conformance.operators import catalogue
from conformance.oracle import expect
from conformance.rules import Elementary, Rounded
from conformance.spec import Operator, Verdict
from conformance.waivers import read_waivers

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _page(path: Path) -> Any:
    return pytest.param(path, id=str(path.relative_to(ROOT)))


def _prose(path: Path) -> str:
    """Without code, fenced or indented."""
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


def _anchors(path: Path) -> set[str]:
    """The headings as GitHub links to them."""
    heads = re.findall(r"^#+ (.*)$", BLOCK.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", [_page(page) for page in PAGES])
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        where = path.parent / name if name else path
        assert where.exists(), f"{target} is not there"
        assert not anchor or anchor in _anchors(where), f"{target}: no such heading"


def _commands(path: Path) -> Iterator[str]:
    """`conformance …` in blocks of code and in the text, without what stands around it."""
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    lines += [
        line for language, block in BLOCK.findall(text) if language in ("", "sh") for line in block.split("\n")
    ]
    lines += re.findall(r"`([^`\n]+)`", _prose(path))
    for line in lines:
        found = re.match(r"\s*(?:\w+=\S+ )*(?:\S*/bin/)?(conformance [^|>&]*)", line)
        if found and "/" not in found[1].split()[1]:
            yield found[1]


@pytest.mark.parametrize("path", [_page(page) for page in PAGES])
def test_every_command_exists_with_its_options(path: Path) -> None:
    for line in _commands(path):
        # Square brackets and dots are how a text says "perhaps" and "more of these".
        _, *words = shlex.split(re.sub(r"[\[\]…]|\.\.\.", "", line), comments=True)
        if not words or words[0].startswith("-"):
            assert set(words) <= {"--help", "--version"}, line
            continue
        command = cli.commands.get(words[0])
        assert command is not None, f"{line}: no such command"
        try:
            command.make_parser(click.Context(command)).parse_args(words[1:])
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_the_checks_see_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n[x](page.md#a-page) [y](missing.md)\n\n    conformance run acme --no-such-option\n"
    )
    with pytest.raises(AssertionError, match=r"missing\.md is not there"):
        test_every_relative_link_leads_somewhere(page)
    with pytest.raises(pytest.fail.Exception, match="no-such-option"):
        test_every_command_exists_with_its_options(page)


@pytest.mark.parametrize("path", [_page(page) for page in PAGES])
def test_python_in_the_documents_is_python(path: Path) -> None:
    for language, block in BLOCK.findall(path.read_text(encoding="utf-8")):
        if language == "python":
            compile(block, str(path), "exec")


def test_the_example_of_a_waiver_file_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs/getting-started-vendor.md").read_text(encoding="utf-8")
    (block,) = [block for language, block in BLOCK.findall(text) if language == "toml"]
    path = tmp_path / "waivers.toml"
    path.write_text(block, encoding="utf-8")
    assert [len(waiver.cases) for waiver in read_waivers(path)] == [1, 2]


def test_the_operator_of_the_guide_is_right_by_its_own_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/adding-an-operator.md").read_text(encoding="utf-8")
    code = "".join(block for language, block in BLOCK.findall(text) if language == "python")
    space: dict[str, Any] = {"__name__": "guide"}
    exec(compile(code, "adding-an-operator.md", "exec"), space)
    entry: Operator = space["ENTRY"]
    known = MappingProxyType({**catalogue(), ("", entry.name): entry})
    monkeypatch.setattr("conformance.interpreter.catalogue", lambda: known)
    space["test_exclusive_products_start_from_one_at_either_end"]()
    space["test_a_product_with_inputs_cut_to_bfloat16_is_caught"](None)
    for sample in entry.samples():
        for dtype in dtypes_of(entry, sample, 26):
            content = build(entry, sample, dtype, 26, f"0/{sample.name}/{dtype}")
            if sample.refuse:
                continue
            constants = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer}
            (node,) = nodes_of(content.model)
            for feed in content.feeds:
                inputs = [{**constants, **feed}[name] for name in node.inputs]
                expected = expect(node, inputs, key=sample.name, exact=sample.exact)
                with np.errstate(all="ignore"):
                    actual = ReferenceEvaluator(content.model).run(None, dict(feed))
                found = judge(expected, [np.asarray(a) for a in actual], inputs, node.attributes)
                assert found.verdict is Verdict.PASS, f"{sample.name}/{dtype}: {found.message}"


def test_the_table_of_ulps_is_the_catalogues() -> None:
    text = (ROOT / "docs/numerics.md").read_text(encoding="utf-8")
    table = text.partition("| operator | n |")[2].partition("\n\n")[0].splitlines()[2:]
    written = {}
    for row in table:
        names, ulps, narrow, scale = (cell.strip() for cell in row.strip("|").split("|"))
        for name in re.sub(r" \(.*\)", "", names).split(", "):
            written[name] = (float(ulps), float(narrow), float(scale or 0))
    held = {}
    for operator in catalogue().values():
        for rule in operator.rules:
            if isinstance(rule, (Rounded, Elementary)):
                held[operator.name] = (rule.ulps, rule.narrow, getattr(rule, "scale", 0.0))
    assert written == held
