"""What several test files share: a cache of references of their own, and one run that many tests read."""

from __future__ import annotations

import locale
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import MORE, Done, call


@pytest.fixture(autouse=True)
def kept_locale() -> Iterator[None]:
    """Tests that call ONNX's evaluator themselves leave the locale that its StringNormalizer sets."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """References made in this session: neither the user's are read nor anything is left to them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("CONFORMANCE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def said(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A run of ONNX Runtime, and what it printed. Read only: many tests look at it."""
    folder = tmp_path_factory.mktemp("run") / "onnxruntime"
    return folder, call("run", "onnxruntime", *MORE, "-o", folder)


@pytest.fixture(scope="session")
def good(said: tuple[Path, Done]) -> Path:
    """The folder of that run."""
    folder, done = said
    assert done.status == 0, done
    return folder
