"""The matrix site: many runs side by side, nothing overwritten that is not its own."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.grade import grade
from conformance.reports.html import write_report
from conformance.reports.language import LANGUAGES, load_language
from conformance.reports.matrix import MARK, matrix, natural, render_matrix, write_matrix
from conformance.reports.viewmodel import Page, page
from conformance.runfolder import read_run


def _sibling(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build: Callable[..., Path] = _sibling("report_fixture").build
NASTY = '"><script>alert(1)</script><img src=x onerror=y>\u202e\x00'


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("runs")
    small = {"operators_per_family": 2, "models": 2}
    return [
        build(base / "new", backend="acme", version="1.10.0", seed=1, quality=0.5, **small),
        build(base / "old", backend="acme", version="1.9.0", seed=2, quality=0.5, **small),
        build(base / "bad", backend="zeta", seed=3, quality=0.3, complete=False, **small),
        build(base / "few", backend="beta", seed=4, operators_per_family=1, models=1),
    ]


@pytest.fixture(scope="module")
def views(folders: list[Path]) -> list[Page]:
    runs = [read_run(folder) for folder in folders]
    return [page(run, grade(run)) for run in runs]


def test_runs_are_ordered_by_backend_then_version_as_numbers(folders: list[Path], tmp_path: Path) -> None:
    text = write_matrix(folders, tmp_path / "site").read_text("utf-8")
    rows = re.findall(r'<tr id="run-\d+"><th scope="row"><bdi>(.*?)</bdi>.*?<td><bdi>(.*?)</bdi>', text)
    assert rows == [("acme", "1.9.0"), ("acme", "1.10.0"), ("beta", "1.32.0"), ("zeta", "1.32.0")]
    assert natural("1.9") < natural("1.10") < natural("1.10rc") < natural("2")


def test_a_cell_is_the_share_of_the_operators_passing_cases(views: list[Page]) -> None:
    content = matrix(views)
    rows = {row.label: row for _, rows in content.families for row in rows}
    for position, view in enumerate(views):
        expected = {o.label: o.tally for family in view.families for o in family.operators}
        for label, row in rows.items():
            assert row.cells[position] == expected.get(label)
    assert rows["Log"].cells[3] is None  # not planned in the small run: neither passed nor failed


def test_an_incomplete_run_is_marked_wherever_it_stands(views: list[Page]) -> None:
    text = render_matrix(matrix(views), load_language("en"))
    assert text.count('title="incomplete"') == 2  # above the models and above the operators
    assert re.search(r'<bdi>zeta</bdi>.*<span class="badge v-not-run">', text)
    assert 'title="incomplete"' not in render_matrix(matrix(views[:2]), load_language("en"))


def test_a_column_keeps_its_version_however_long_the_name(views: list[Page]) -> None:
    long = replace(views[0], backend="x" * 200)
    text = render_matrix(matrix([long]), load_language("en"))
    # Each is cut by itself, and the whole stands in the title.
    assert f'title="{"x" * 200} 1.10.0"><bdi>{"x" * 200}</bdi> <bdi>1.10.0</bdi></a>' in text


def test_runs_of_different_suites_are_told_apart(views: list[Page], folders: list[Path], tmp_path: Path) -> None:
    assert matrix(views).suites == 1
    other = build(tmp_path / "other", operators_per_family=1, models=1)
    for name in ("run.json", "plan.json"):
        text = (other / name).read_text("utf-8")
        (other / name).write_text(text.replace("5f3a9c0e", "00000000"), "utf-8")
    index = write_matrix([*folders, other], tmp_path / "site")
    assert "These runs are of different suites" in index.read_text("utf-8")


def test_reports_are_copied_and_linked_where_a_run_has_one(folders: list[Path], tmp_path: Path) -> None:
    write_report(folders[0])
    site = tmp_path / "site"
    text = write_matrix(folders, site).read_text("utf-8")
    links = [href for href in re.findall(r'href="([^"]*)"', text) if not href.startswith("#")]
    assert links == ["reports/02-acme-1.10.0.html"]
    assert (site / links[0]).read_bytes() == (folders[0] / "report" / "index.html").read_bytes()


def test_a_rewritten_site_keeps_nothing_of_the_old_one_and_nothing_of_others_is_lost(
    folders: list[Path], tmp_path: Path
) -> None:
    write_report(folders[0])
    site = tmp_path / "site"
    write_matrix(folders, site)
    (site / "notes.txt").write_text("mine")
    write_matrix(folders[1:2], site)
    assert sorted(p.name for p in site.rglob("*") if p.is_file()) == ["index.html", MARK, "notes.txt"]


@pytest.mark.parametrize("mark", [None, "not json", '{"kind": "other", "files": []}', "[]"])
def test_a_folder_that_is_no_matrix_site_is_refused(folders: list[Path], tmp_path: Path, mark: str | None) -> None:
    site = tmp_path / "thesis"
    site.mkdir()
    (site / "index.html").write_text("my thesis")
    if mark is not None:
        (site / MARK).write_text(mark)
    with pytest.raises(UsageError, match="left alone"):
        write_matrix(folders, site)
    assert (site / "index.html").read_text() == "my thesis"


def test_a_run_folder_is_refused_as_site(folders: list[Path]) -> None:
    with pytest.raises(UsageError, match="left alone"):
        write_matrix(folders, folders[0])
    with pytest.raises(UsageError, match="is a file"):
        write_matrix(folders, folders[0] / "run.json")


def test_a_doctored_mark_deletes_nothing_outside_the_site(folders: list[Path], tmp_path: Path) -> None:
    victim = tmp_path / "victim.html"
    victim.write_text("precious")
    site = tmp_path / "site"
    site.mkdir()
    files = ["../victim.html", str(victim), "reports/../../victim.html"]
    (site / MARK).write_text(json.dumps({"kind": "conformance-matrix", "files": files}))
    write_matrix(folders[:1], site)
    assert victim.read_text() == "precious"


def test_wrong_usage_is_said_in_a_line(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one run folder"):
        write_matrix([], tmp_path / "site")
    with pytest.raises(UsageError, match="unknown language"):
        write_matrix(folders, tmp_path / "site", "tlh")
    with pytest.raises(UsageError, match="not a run folder"):
        write_matrix([tmp_path / "nothing"], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_forty_runs_fit_and_a_folder_given_twice_counts_once(
    views: list[Page], folders: list[Path], tmp_path: Path
) -> None:
    text = render_matrix(matrix([views[k % 4] for k in range(40)]), load_language("en"))
    assert text.count('<tr id="run-') == 40
    assert len(text) < 2_000_000
    twice = write_matrix([folders[0], folders[0] / "."], tmp_path / "site").read_text("utf-8")
    assert twice.count('<tr id="run-') == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_site_is_balanced_loads_nothing_and_every_anchor_is_there(views: list[Page], language: str) -> None:
    text = render_matrix(matrix(views), load_language(language))
    parsed = _sibling("test_report").Parsed(text)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {href[1:] for href in parsed.attributes("href")} <= set(parsed.ids)
    assert not parsed.attributes("src")
    assert load_language(language)("matrix.title") in parsed.words()


def test_planted_markup_stays_text(tmp_path: Path) -> None:
    folder = build(tmp_path / "run", operators_per_family=1, models=1, mischief=lambda text: text + NASTY)
    write_report(folder)
    text = write_matrix([folder], tmp_path / "site").read_text("utf-8")
    parsed = _sibling("test_report").Parsed(text)
    assert not {tag for tag, _ in parsed.elements} & {"img"}
    assert [attributes for tag, attributes in parsed.elements if tag == "script"] == [{}]
    assert not {name for _, attributes in parsed.elements for name in attributes if name.startswith("on")}
    assert "\u202e" not in text
    assert "\x00" not in text
    assert '"><script>alert(1)</script><img src=x onerror=y>\\u202e\\x00' in parsed.words()
