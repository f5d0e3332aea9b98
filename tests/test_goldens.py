"""The golden cache: what comes back is what was stored, or nothing."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conformance.dtypes import dtype_of, lookup
from conformance.goldens import Golden, GoldenCache
from conformance.numerics import Expected, allowed
from conformance.rules import EXACT, Accumulation, Composite, Requantised
from conformance.spec import Case, Source

CASE = Case("Add/plain/float32", "Add", "", 21, "float32", Source.OPERATOR, "arithmetic", "digest")
Y = np.linspace(-3, 3, 6).reshape(2, 3)


@pytest.fixture
def cache(tmp_path: Path) -> GoldenCache:
    return GoldenCache(tmp_path)


def golden(*outputs: Expected, feed: Any = None) -> Golden:
    return Golden(({} if feed is None else {"x": feed},), (outputs,))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@given(
    hnp.arrays(
        st.sampled_from([lookup(d).numpy for d in ("float64", "float32", "int64", "uint8", "bool", "complex64")]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_arrays_come_back_bit_by_bit(array: np.ndarray) -> None:
    stored = golden(Expected(dtype_of(array), EXACT, array), feed=array)
    with tempfile.TemporaryDirectory() as folder:
        cache = GoldenCache(Path(folder))
        cache.store(CASE, 0, stored)
        found = cache.load(CASE, 0, [EXACT])
    assert found is not None
    assert same(found.feeds[0]["x"], array)
    assert same(found.outputs[0][0].value, array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8e4m3fn", "float8e5m2", "int4", "uint4"])
def test_types_that_numpy_lacks_come_back(cache: GoldenCache, dtype: str) -> None:
    array = np.arange(6).astype(lookup(dtype).numpy)
    cache.store(CASE, 0, golden(Expected(dtype, EXACT, array)))
    found = cache.load(CASE, 0, [EXACT])
    assert found is not None
    assert same(found.outputs[0][0].value, array)


def test_strings_come_back(cache: GoldenCache) -> None:
    array = np.array([["a", ""], ["\u4f60\u597d", "\n"]], dtype=object)
    cache.store(CASE, 0, golden(Expected("string", EXACT, array)))
    found = cache.load(CASE, 0, [EXACT])
    assert found is not None
    assert found.outputs[0][0].value.tolist() == array.tolist()


@pytest.mark.parametrize(
    "expected",
    [
        Expected("float32", Accumulation(), Y, magnitude=np.abs(Y) * 7, terms=np.full((2, 3), 9.0)),
        Expected("float16", Composite(), Y, spread=np.abs(Y) * 1e-3),
        Expected("uint8", Requantised(), Y.astype("u1"), low=Y.astype("u1"), high=Y.astype("u1") + np.uint8(1)),
    ],
)
def test_bounds_are_the_same_from_the_cache(cache: GoldenCache, expected: Expected) -> None:
    cache.store(CASE, 0, golden(expected))
    found = cache.load(CASE, 0, [expected.rule])
    assert found is not None
    np.testing.assert_array_equal(allowed(found.outputs[0][0]), allowed(expected))


def test_the_conditioning_of_many_elements_keeps_the_digits_that_a_bound_needs(cache: GoldenCache) -> None:
    y = np.random.default_rng(0).normal(size=(80, 90))
    expected = Expected("float32", Accumulation(), y, magnitude=np.abs(y) * 31, terms=np.full(y.shape, 64.0))
    cache.store(CASE, 0, golden(expected))
    found = cache.load(CASE, 0, [expected.rule])
    assert found is not None
    assert same(found.outputs[0][0].value, y)
    np.testing.assert_allclose(allowed(found.outputs[0][0]), allowed(expected), rtol=2**-22)


@given(st.data())
def test_a_file_with_any_byte_changed_or_cut_off_counts_as_none(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = GoldenCache(Path(folder))
        cache.store(CASE, 0, golden(Expected("float32", Composite(), Y, spread=Y), feed=Y))
        path = cache.path(CASE, 0)
        blob = bytearray(path.read_bytes())
        header = 16 + int.from_bytes(blob[8:16], "little")
        at = data.draw(st.integers(header, len(blob) - 1))
        if data.draw(st.booleans()):
            blob[at] ^= data.draw(st.integers(1, 255))
        else:
            del blob[at:]
        path.write_bytes(blob)
        assert cache.load(CASE, 0, [Composite()]) is None
        assert path.exists()  # it may be somebody's published one: only a new golden replaces it


def test_other_content_another_seed_and_another_opset_have_goldens_of_their_own(cache: GoldenCache) -> None:
    others = [(replace(CASE, digest="other"), 0), (CASE, 1), (replace(CASE, opset=20), 0)]
    others.append((replace(CASE, graph="other"), 0))  # a piece like it, cut from a model with other constants
    assert len({cache.path(case, seed) for case, seed in [(CASE, 0), *others]}) == 5


def test_a_golden_replaces_the_one_of_an_older_content_and_no_other(cache: GoldenCache) -> None:
    older, neighbour = replace(CASE, digest="older"), replace(CASE, id="Add/other/float32")
    for case in (older, neighbour):
        cache.store(case, 0, golden(Expected("float64", EXACT, Y)))
    cache.store(CASE, 0, golden(Expected("float64", EXACT, Y)))
    assert [cache.has(c, 0) for c in (older, neighbour, CASE)] == [False, True, True]


def test_a_golden_that_does_not_fit_on_the_disk_leaves_no_part(
    cache: GoldenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        cache.store(CASE, 0, golden(Expected("float64", EXACT, Y)))
    assert not [p for p in cache.folder.rglob("*") if p.is_file()]
