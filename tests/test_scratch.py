"""Scratch folders go with their process, even where it was killed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.scratch import Scratch


def test_folders_of_a_killed_run_are_removed_by_the_next() -> None:
    code = "from conformance.scratch import Scratch; import os; print(*Scratch().folders, flush=True); os._exit(1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    left = [Path(folder) for folder in done.stdout.split()]
    assert left
    assert all(folder.is_dir() for folder in left)
    first, second = Scratch(), Scratch()
    try:
        assert not any(folder.exists() for folder in left)
        assert all(Path(folder).is_dir() for folder in (*first.folders, *second.folders))
    finally:
        first.close()
        second.close()


KILLED = """
import os
from pathlib import Path
import onnx
from conformance.casework import Casework
from conformance.plan import Selection, build_plan

plan = build_plan(Selection("smoke", operators=("Abs",)))
casework = Casework(plan, Path("cache")).__enter__()
print(casework.write(onnx.ModelProto()), flush=True)
os._exit(1)
"""


def test_the_models_of_a_killed_run_are_removed_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    model = Path(done.stdout.strip())
    assert model.is_file()
    Scratch().close()
    assert not model.exists()


def test_a_model_that_memory_has_no_room_for_goes_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = Scratch()
    memory, disk = scratch.folders[0], str(scratch.disk)
    full = {memory}
    write = Path.write_bytes

    def limited(path: Path, content: bytes) -> int:
        if str(path.parent) in full:
            write(path, content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", limited)
    try:
        if memory != disk:
            path = scratch.write("model.onnx", b"x" * 100)
            assert (str(path.parent), path.read_bytes()) == (disk, b"x" * 100)
            assert list(Path(memory).iterdir()) == []
        full.add(disk)
        with pytest.raises(OSError, match=r"No space left on device: '.*other\.onnx'"):
            scratch.write("other.onnx", b"x" * 100)
        assert not (Path(disk) / "other.onnx").exists()
    finally:
        scratch.close()
