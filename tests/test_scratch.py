"""Scratch folders go with their process, even where it was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
