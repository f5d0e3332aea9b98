"""What crosses the channel arrives as it was, and what contradicts itself is refused."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import conformance
from conformance import protocol

X = np.arange(3, dtype=np.float32)


def test_strings_sequences_and_absent_optionals_go_in() -> None:
    arrays: list[np.ndarray] = []
    values = [np.array(["a", "ü"], object), [X, X[:1]], None, np.array("s", object)]
    items = [protocol.flatten(value, arrays) for value in values]
    back = [protocol.unflatten(item, arrays) for item in items]
    assert back[0].tolist() == ["a", "ü"]
    assert [a.tolist() for a in back[1]] == [X.tolist(), [0.0]]
    assert back[2] is None
    assert (back[3].shape, back[3].item()) == ((), "s")


@pytest.mark.parametrize("name", ["protocol.py", "worker.py"])
def test_what_a_vendors_interpreter_reads_is_python_3_8_and_needs_numpy_only(name: str) -> None:
    tree = ast.parse(
        (Path(conformance.__file__).parent / name).read_text(encoding="utf-8"), feature_version=(3, 8)
    )
    imported = {a.name.partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {(n.module or "").partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    # conformance: for the type checker only; ml_dtypes: where its dtypes are in play.
    assert imported - sys.stdlib_module_names <= {"numpy", "ml_dtypes", "conformance"}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_arrays_survive_packing(data: st.DataObject) -> None:
    dtypes = st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(sizes=(16, 32, 64)),
    )
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    given_arrays = data.draw(st.lists(hnp.arrays(dtypes, shapes), max_size=4))
    arrays: list[np.ndarray] = []
    for array in given_arrays:
        protocol.flatten(array, arrays)
    specs, pieces = protocol.pack(arrays, (), "")
    back = protocol.load(specs, memoryview(bytearray(b"".join(pieces))), ())
    for array, again in zip(given_arrays, back, strict=True):
        assert protocol.same(np.ascontiguousarray(array).astype(again.dtype).reshape(array.shape), again)


@given(st.binary(min_size=16, max_size=200))
def test_bytes_that_are_no_frame_are_refused(noise: bytes) -> None:
    position = 0

    def fill(memory: memoryview) -> None:
        nonlocal position
        if position + len(memory) > len(noise):
            raise EOFError
        memory[:] = noise[position : position + len(memory)]
        position += len(memory)

    with pytest.raises((protocol.ProtocolError, EOFError)):
        protocol.read_frame(fill)


@pytest.mark.parametrize(
    "specs",
    [
        [["float32", [2], 0]],
        [["float32", [-1], 0]],
        [["float32", [1 << 60], 0]],
        [["float32", [1], -8]],
        [["object", [1], 0]],
        [["float32", [1], "/etc/passwd"]],
        [["float32", [1], "{folder}/../x"]],
        [["float32", [1], "{folder}/short"]],
        [["float32", [1], "{folder}/missing"]],
        [["float32"]],
        7,
    ],
)
def test_arrays_that_contradict_the_payload_are_refused(specs: Any, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"abc")
    for spec in specs if isinstance(specs, list) else ():
        if isinstance(spec[-1], str):
            spec[-1] = spec[-1].format(folder=tmp_path)
    with pytest.raises(protocol.ProtocolError):
        protocol.load(specs, memoryview(b"1234"), [str(tmp_path)])


def test_a_full_memory_file_system_passes_big_arrays_on_to_the_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    full = tmp_path / "full"
    disk = tmp_path / "disk"
    for folder in (full, disk):
        folder.mkdir()
    (full / "a").symlink_to("/dev/full")
    path = protocol.store(X, [str(full), str(disk)], "a")
    assert path == str(disk / "a")
    assert np.fromfile(path, np.float32).tolist() == X.tolist()
    (full / "a").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        protocol.store(X, [str(full)], "a")


def test_same_compares_bits_but_for_nans() -> None:
    assert protocol.same(np.array([np.nan, 1]), np.array([-np.nan, 1]))
    assert not protocol.same(np.array([0.0]), np.array([-0.0]))
    assert not protocol.same(np.zeros(2), np.zeros((2, 1)))
    assert not protocol.same(np.zeros(2, np.int32), np.zeros(2, np.float32))
    assert not protocol.same(np.array([1, 2], ml_dtypes.int4), np.array([1, 3], ml_dtypes.int4))
    nan = np.array([np.nan, 1], ml_dtypes.bfloat16)
    assert protocol.same(nan, -nan * np.array([1, -1], nan.dtype))
