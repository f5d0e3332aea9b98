"""What is shipped: one top-level package, with all that it reads at run time inside."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy so that nothing is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    for folder in ("conformance", "operators", "reports", "templates"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, source)
    # The build backend itself: pip is no part of the tests' environment, and would make another one.
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, str(source / "dist")], check=True, capture_output=True, cwd=source
    )
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture
def names(wheel: Path) -> list[str]:
    """The files inside."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_sole_top_level_package_is_conformance(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"conformance"}
    assert len(tops) == 2


@pytest.mark.parametrize(
    ("folder", "shipped"),
    [
        ("conformance", "conformance"),
        ("operators", "conformance/operators"),
        ("reports", "conformance/reports"),
        ("templates", "conformance/templates"),
    ],
)
def test_every_file_of_the_source_folders_is_inside(names: list[str], folder: str, shipped: str) -> None:
    found = [p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert len(found) > 5
    missing = {f"{shipped}/{p.relative_to(ROOT / folder)}" for p in found} - set(names)
    assert missing == set()


def test_what_is_read_at_run_time_is_inside(names: list[str]) -> None:
    kinds = {
        "conformance/py.typed",
        "conformance/backends/template.txt",
        "conformance/models/manifest.json",
        "conformance/models/operator_sets.json",
        "conformance/models/graphs/mobilenet-v2.onnx",
        "conformance/suite/test_conformance.py",
        *(
            f"conformance/templates/{n}"
            for n in ("report.html", "matrix.html", "style.css", "script.js", "zh.json")
        ),
    }
    assert kinds - set(names) == set()


def test_nothing_of_the_tests_or_the_tools_is_shipped(names: list[str]) -> None:
    assert [n for n in names if n.startswith(("tests/", "tools/", "docs/", "benchmarks/"))] == []
    assert [n for n in names if "__pycache__" in n or n.endswith(".pyc")] == []


def test_the_command_and_the_plugin_are_declared(wheel: Path, names: list[str]) -> None:
    (declared,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(declared).decode()
    assert "[console_scripts]\nconformance = conformance.cli:main\n" in text
    assert "[pytest11]\nconformance = conformance.pytest_plugin\n" in text
