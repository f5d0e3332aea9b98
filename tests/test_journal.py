"""Killed, cut short, garbled, full or taken: the journal keeps every verdict that was given, and says what is wrong."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.journal import Journal

IDENTITY = {"backend": "acme", "digest": "d1", "seed": 0, "options": {"device": "1"}}


def record(n: int, verdict: str = "pass") -> dict[str, Any]:
    return {"case": f"Conv/sample-{n}/float32", "verdict": verdict, "message": "größer ≥ 1\nzwei 中文"}


def write(folder: Path, *numbers: int) -> None:
    with Journal.open(folder, resume=(folder / "results.jsonl").exists(), identity=IDENTITY) as journal:
        for n in numbers:
            journal.append(record(n))


def reopened(folder: Path, **changes: Any) -> dict[str, Any]:
    with Journal.open(folder, resume=True, identity=IDENTITY | changes) as journal:
        return journal.completed


def test_records_come_back_when_a_run_is_resumed(tmp_path: Path) -> None:
    write(tmp_path / "new" / "run", 1, 2)
    write(tmp_path / "new" / "run", 3)
    assert list(reopened(tmp_path / "new" / "run").values()) == [record(1), record(2), record(3)]


def test_the_last_record_of_a_case_counts(tmp_path: Path) -> None:
    write(tmp_path)
    with Journal.open(tmp_path, resume=True, identity=IDENTITY) as journal:
        journal.append(record(1, "not-run"))
        journal.append(record(1, "pass"))
    assert [r["verdict"] for r in reopened(tmp_path).values()] == ["pass"]


def test_resume_where_nothing_is_starts_anew(tmp_path: Path) -> None:
    assert reopened(tmp_path) == {}


def test_a_last_line_cut_at_any_byte_costs_that_record_only(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        assert len(reopened(tmp_path)) == 2
        assert path.read_bytes() == whole[:start]
    write(tmp_path, 4)
    assert list(reopened(tmp_path).values()) == [record(1), record(2), record(4)]


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 40 + b"\n", b'{"case": "a"\n', b"[1]\n", b'{"verdict": "pass"}\n', b"\xff\n"]
)
def test_a_garbled_last_line_is_dropped(tmp_path: Path, garbage: bytes) -> None:
    write(tmp_path, 1)
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + garbage)
    assert list(reopened(tmp_path).values()) == [record(1)]
    assert path.read_bytes() == whole


def test_a_garbled_line_in_the_middle_is_named_and_nothing_is_cut(tmp_path: Path) -> None:
    write(tmp_path, 1)
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes() + b"garbage\n" + path.read_bytes()
    path.write_bytes(whole)
    with pytest.raises(UsageError, match=r"results\.jsonl, line 2: no record"):
        reopened(tmp_path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("trace", ["run.json", "results.jsonl", "identity.json"])
def test_a_folder_with_a_run_is_not_taken_without_resume(tmp_path: Path, trace: str) -> None:
    (tmp_path / trace).write_text("{}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="holds a run: continue it with --resume"):
        Journal.open(tmp_path, resume=False, identity=IDENTITY)
    assert [p.name for p in tmp_path.iterdir()] == [trace]


@pytest.mark.parametrize(
    ("key", "value"), [("backend", "torch"), ("digest", "d2"), ("seed", 1), ("options", {"device": "2"})]
)
def test_another_run_is_not_resumed(tmp_path: Path, key: str, value: Any) -> None:
    write(tmp_path, 1)
    before = (tmp_path / "results.jsonl").read_bytes()
    with pytest.raises(UsageError, match=f"holds another run: its {key} is .*, not "):
        reopened(tmp_path, **{key: value})
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_a_run_of_another_format_is_not_resumed(tmp_path: Path) -> None:
    write(tmp_path, 1)
    for text, message in [
        (json.dumps(IDENTITY | {"extra": 1}), "another version"),
        ("[]", "another version"),
        ("{", "cannot be read"),
    ]:
        (tmp_path / "identity.json").write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=message):
            reopened(tmp_path)
    (tmp_path / "identity.json").unlink()
    with pytest.raises(UsageError, match="cannot be resumed"):
        reopened(tmp_path)


def test_a_run_killed_before_it_wrote_anything_can_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").touch()
    assert reopened(tmp_path) == {}
    assert json.loads((tmp_path / "identity.json").read_text(encoding="utf-8")) == IDENTITY


def test_two_runs_cannot_write_to_one_folder(tmp_path: Path) -> None:
    with (
        Journal.open(tmp_path, resume=False, identity=IDENTITY),
        pytest.raises(UsageError, match="another run is writing"),
    ):
        reopened(tmp_path)
    reopened(tmp_path)


def test_a_path_that_is_no_folder_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to"):
        Journal.open(tmp_path / "file", resume=False, identity=IDENTITY)


def test_each_record_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal.open(tmp_path, resume=False, identity=IDENTITY) as journal:
        written: list[bytes] = []
        real = os.write
        monkeypatch.setattr(os, "write", lambda d, data: written.append(bytes(data)) or real(d, data))
        journal.append(record(1))
        journal.append(record(2))
    assert [json.loads(line) for line in written] == [record(1), record(2)]


def test_any_text_can_be_kept_but_no_number_that_json_lacks(tmp_path: Path) -> None:
    with Journal.open(tmp_path, resume=False, identity=IDENTITY) as journal:
        journal.append({"case": "a", "message": "lone \udc80 surrogate,   and \u2028 a separator"})
        with pytest.raises(ValueError, match="JSON"):
            journal.append({"case": "b", "seconds": float("nan")})
    assert reopened(tmp_path)["a"]["message"] == "lone \udc80 surrogate,   and \u2028 a separator"
    assert set(reopened(tmp_path)) == {"a"}


@pytest.mark.parametrize("part", [0, 7])
def test_a_full_disk_is_said_in_one_line_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    journal = Journal.open(tmp_path, resume=False, identity=IDENTITY)
    journal.append(record(1))
    real = os.write
    room = part

    def full(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done, room = real(descriptor, data[:room]), 0
        return done

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UsageError, match="No space left on device; the verdicts so far are safe") as caught:
        journal.append(record(2))
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    journal.close()
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 1
    write(tmp_path, 2)
    assert list(reopened(tmp_path).values()) == [record(1), record(2)]


CHILD = """
import resource, sys
from pathlib import Path
from conformance.errors import UsageError
from conformance.journal import Journal

if sys.argv[2] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with Journal.open(Path(sys.argv[1]), resume=True, identity={"seed": 0}) as journal:
        for n in range(len(journal.completed), 10**9):
            journal.append({"case": str(n), "message": "x" * 300})
            print(n, flush=True)
except UsageError as error:
    sys.exit(str(error))
"""


def test_a_limit_of_the_system_on_the_files_size_is_a_full_disk(tmp_path: Path) -> None:
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    assert soft == resource.RLIM_INFINITY or soft > 5000
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), "5000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "File too large; the verdicts so far are safe" in done.stderr
    with Journal.open(tmp_path, resume=True, identity={"seed": 0}) as journal:
        assert len(journal.completed) == len(done.stdout.split())


def test_killed_at_any_moment_no_verdict_that_was_given_is_lost(tmp_path: Path) -> None:
    said = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), "0"], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for _ in range(50):
                said = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
        with Journal.open(tmp_path, resume=True, identity={"seed": 0}) as journal:
            assert set(journal.completed) >= {str(n) for n in range(said + 1)}
            assert list(journal.completed) == [str(n) for n in range(len(journal.completed))]
