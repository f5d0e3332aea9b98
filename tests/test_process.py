"""No process outlives its purpose, fills the memory or the disk: not the worker, and nothing that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import process
from conformance.pool import Launch, Outcome, Pool, Task

PLANTED = Path(__file__).parent / "backends_planted"
X = np.arange(3, dtype=np.float32)


def named(**arguments: Any) -> Pool:
    return Pool(Launch(f"{PLANTED / 'misbehaving.py'}:Named", **arguments))


def task(model: str, **arguments: Any) -> Task:
    return Task(model, Path("/nowhere") / model, ({"x": X},), **arguments)


@pytest.mark.parametrize("how", ["hog", "hog_in_child"])
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory limit needs Linux's /proc")
def test_more_memory_than_allowed_is_out_of_memory_even_in_a_child(how: str) -> None:
    with named(memory=250 << 20) as pool:
        (outcome,) = pool.run([task(how)])
    assert outcome.status == "out-of-memory"
    assert "more than 250 MiB" in outcome.message


def test_endless_noise_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 1 << 20)
    cuts = []
    cut = os.ftruncate
    monkeypatch.setattr(os, "ftruncate", lambda file, size: (cuts.append(os.fstat(file).st_size), cut(file, size)))
    with named() as pool:
        (outcome,) = pool.run([task("flood", timeout=1.0)])
    assert outcome.status == "timeout"
    assert len(cuts) > 2
    assert "noise" in outcome.log


def test_a_backend_that_says_goodbye_and_stays_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FAREWELL", 0.5)
    farewell = tmp_path / "farewell"
    with Pool(Launch(f"{PLANTED / 'misbehaving.py'}:Lingers", {"farewell": str(farewell)})) as pool:
        (outcome,) = pool.run([task("a")])
        (slot,) = pool._slots
        assert slot._process is not None
        pid = slot._process._process.pid
    assert outcome.status == "ok"
    assert not Path(f"/proc/{pid}").exists()
    assert farewell.read_text(encoding="utf-8") == "closed"


def test_a_pool_closed_while_a_task_runs_ends_it() -> None:
    found: list[Outcome] = []
    with named() as pool:
        caller = threading.Thread(target=lambda: found.extend(pool.run([task("hang")])))
        caller.start()
        while pool._slots[0]._previous is None:
            time.sleep(0.01)
    caller.join()
    assert [outcome.status for outcome in found] == ["crash"]


def test_a_closed_pool_leaves_no_folder_and_no_process() -> None:
    with named() as pool:
        list(pool.run([task("good")]))
        folders = pool._scratch.folders
        process = pool._slots[0]._process
        assert process is not None
        pid = process._process.pid
    assert not any(Path(folder).exists() for folder in folders)
    assert not _alive(pid)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finding lost children needs Linux's /proc")
def test_children_that_left_their_dead_worker_are_killed_too(tmp_path: Path) -> None:
    with named() as pool:
        (outcome,) = pool.run([Task("orphan", tmp_path / "orphan", ({"x": X},))])
        pids = [int(pid) for pid in (tmp_path / "orphan").read_text(encoding="utf-8").split()]
        assert outcome.message == "exited with status 5 and no answer"
        assert len(pids) == 2
        _gone(pids)


PARENT = """
import signal, sys
from pathlib import Path
import numpy as np
from conformance.pool import Launch, Outcome, Pool, Task

# A shell starts its background jobs with interrupts ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

def tasks():
    yield Task("good", Path("good"), ({"x": np.ones(1)},))
    print(pool._slots[0]._process._process.pid, flush=True)
    yield Task("hang", Path("hang"), ({"x": np.ones(1)},), timeout=300)

with Pool(Launch(sys.argv[1])) as pool:
    pool.describe()
    for outcome in pool.run(tasks()):
        print(outcome.id, outcome.status, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_the_worker_goes_when_its_parent_is_stopped(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, f"{PLANTED / 'misbehaving.py'}:Named"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "good ok\n"
        assert _alive(pid)
        parent.send_signal(how)
        parent.communicate(timeout=60)
    assert parent.returncode in (-how, 1)
    _gone([pid])


def _gone(pids: list[int]) -> None:
    for _ in range(600):
        if not any(map(_alive, pids)):
            return
        time.sleep(0.05)
    pytest.fail(f"still alive: {pids}")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
