"""The compatibility matrix: many runs side by side as a static site, from the evidence on disk alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..certificate import Certificate
from ..errors import UsageError
from ..files import write_whole
from ..grade import grade
from ..runfolder import read_run
from .html import environment, inline_script
from .language import Language, load_language
from .tally import Tally
from .viewmodel import ModelView, Page, page

__all__ = ["MARK", "Matrix", "MatrixRow", "ModelRow", "RunColumn", "matrix", "write_matrix"]

MARK = "matrix.json"  # what makes a folder a matrix site, and lists what was written there
_KIND = "conformance-matrix"


@dataclass(frozen=True, slots=True)
class RunColumn:
    """A run. ``suite``: a letter that runs of the same suite share. ``report``: its copy, relative to the site."""

    backend: str
    version: str
    device: str
    started: str
    suite: str
    suite_version: str
    certificate: Certificate
    selected: bool
    tally: Tally
    report: str | None


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """An operator; one tally for each run, None where the run planned nothing of it."""

    label: str
    family: str
    core: bool
    common: bool
    extension: bool
    cells: tuple[Tally | None, ...]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A reference model; one view for each run, None where it was not part of it."""

    name: str
    domain: str
    cells: tuple[ModelView | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The site's content. ``suites``: how many different suites the runs are of."""

    runs: tuple[RunColumn, ...]
    suites: int
    families: tuple[tuple[str, tuple[MatrixRow, ...]], ...]
    models: tuple[ModelRow, ...]


def natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    """A sort key under which 1.9 comes before 1.10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)


def _letter(number: int) -> str:
    """A, B, … Z, AA, AB, …"""
    letters = ""
    while number >= 0:
        letters = chr(ord("A") + number % 26) + letters
        number = number // 26 - 1
    return letters


def matrix(pages: Sequence[Page], reports: Mapping[int, str] | None = None) -> Matrix:
    """The matrix of some runs' pages, in the given order. ``reports``: links by the run's position."""
    links = reports or {}
    letters: dict[tuple[str, ...], str] = {}
    runs = []
    for position, one in enumerate(pages):
        identity = tuple(str(one.suite.get(key)) for key in ("version", "digest", "opset", "seed", "name"))
        letter = letters.setdefault(identity, _letter(len(letters)))
        runs.append(
            RunColumn(
                backend=one.backend,
                version=one.version,
                device=one.device,
                started=one.started,
                suite=letter,
                suite_version=str(one.suite.get("version", "—")),
                certificate=one.certificate,
                selected=one.selected,
                tally=one.tally,
                report=links.get(position),
            )
        )
    return Matrix(tuple(runs), len(letters), _operator_rows(pages), _model_rows(pages))


def _operator_rows(pages: Sequence[Page]) -> tuple[tuple[str, tuple[MatrixRow, ...]], ...]:
    tables = [{o.label: o for family in one.families for o in family.operators} for one in pages]
    known = {label: operator for table in tables for label, operator in table.items()}
    families: dict[str, list[MatrixRow]] = {}
    for label, operator in sorted(known.items()):
        found = [table.get(label) for table in tables]
        cells = tuple(o.tally if o is not None and o.tally.total else None for o in found)
        row = MatrixRow(label, operator.family, operator.core, operator.common, operator.extension, cells)
        families.setdefault(operator.family, []).append(row)
    return tuple((family, tuple(rows)) for family, rows in sorted(families.items(), key=_counted_first))


def _counted_first(family: tuple[str, list[MatrixRow]]) -> tuple[bool, str]:
    """Families of operators that no tier counts come last."""
    name, rows = family
    return all(row.extension for row in rows), name


def _model_rows(pages: Sequence[Page]) -> tuple[ModelRow, ...]:
    tables = [{model.name: model for model in one.models} for one in pages]
    domains = {name: model.domain for table in tables for name, model in table.items()}
    return tuple(
        ModelRow(name, domain, tuple(table.get(name) for table in tables))
        for name, domain in sorted(domains.items(), key=lambda item: (item[1], item[0]))
    )


def render_matrix(content: Matrix, language: Language) -> str:
    """The site's page as HTML."""
    script, script_hash = inline_script("matrix.js")
    return (
        environment()
        .get_template("matrix.html")
        .render(matrix=content, t=language, script=script, script_hash=script_hash)
    )


def write_matrix(folders: Sequence[Path], site: Path, language: str = "en") -> Path:
    """Write ``site/index.html`` and copies of the runs' reports, where they have one; returns the page's path.

    Runs are ordered by backend, version and start; a folder given twice counts once. Raises ``UsageError`` for an
    unknown language, for no folders, for a folder that holds no run, and for a site folder that holds something
    other than a matrix site.
    """
    spoken = load_language(language)
    unique = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    if not unique:
        raise UsageError("a matrix needs at least one run folder")
    site = Path(site)
    previous = _claim(site)
    found = []
    for folder in unique:
        run = read_run(folder)
        whole = page(run, grade(run))
        # Forty runs of ten thousand cases each: keep what the matrix shows, not the cases.
        found.append((replace(whole, cases=(), furthest=(), failures=(), closest=(), blockers=()), folder))
    found.sort(key=lambda item: (item[0].backend.lower(), natural(item[0].version), item[0].started))
    for old in previous:
        (site / old).unlink(missing_ok=True)
    links = {}
    for position, (one, folder) in enumerate(found):
        source = folder / "report" / "index.html"
        if source.is_file():
            links[position] = f"reports/{position + 1:02d}-{_slug(one.backend, one.version)}.html"
            target = site / links[position]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    site.mkdir(parents=True, exist_ok=True)
    mark = {"kind": _KIND, "format": 1, "files": ["index.html", *links.values()]}
    write_whole(site / MARK, json.dumps(mark, indent=1) + "\n")
    return write_whole(site / "index.html", render_matrix(matrix([one for one, _ in found], links), spoken))


def _slug(*texts: str) -> str:
    """A file name that is safe everywhere and needs no escaping in a link."""
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(texts).lower()).strip("-.")[:60] or "run"


def _claim(site: Path) -> tuple[str, ...]:
    """The files that an earlier matrix left in the folder. Raises ``UsageError`` for a folder of another kind."""
    if not site.exists():
        return ()
    if not site.is_dir():
        raise UsageError(f"{site} is a file; a matrix needs a folder")
    if not any(site.iterdir()):
        return ()
    try:
        mark = json.loads((site / MARK).read_text(encoding="utf-8"))
        files = mark["files"] if mark["kind"] == _KIND else None
    except (OSError, ValueError, KeyError, TypeError):
        files = None
    if not isinstance(files, list):
        raise UsageError(f"{site} is not empty and holds no matrix site: it is left alone")
    ours = re.compile(r"index\.html|reports/[0-9a-z.-]+\.html")  # nothing else is ever written, or removed
    return tuple(name for name in files if isinstance(name, str) and ours.fullmatch(name))
