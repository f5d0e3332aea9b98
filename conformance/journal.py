"""The evidence while it comes in: one JSON object a line, appended so that no verdict is lost once given."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import UsageError
from .files import write_whole

__all__ = ["Journal"]

RESULTS = "results.jsonl"
IDENTITY = "identity.json"
# Any of these makes a folder one that holds a run,
_TRACES = (RESULTS, IDENTITY, "run.json")
# and these a run would overwrite, or take for its own.
_LATER = ("plan.json", "certificate.json", "waivers.toml", "junit.xml", "badge.svg", "report", "signature.json")


class Journal:
    """``results.jsonl`` of one run, locked against a second writer; a context manager.

    ``completed``: the records that the folder held when it was opened, by case; the last one of a case counts.
    """

    def __init__(
        self,
        path: Path,
        descriptor: int,
        completed: dict[str, dict[str, Any]],
        size: int,
        *,
        new: bool,
        made: bool,
    ) -> None:
        """Use ``Journal.open``."""
        self.completed = completed
        self._path = path
        self._descriptor = descriptor
        self._size = size
        self._new = new  # the run, and
        self._made = made  # the folder

    @classmethod
    def open(cls, folder: Path, *, resume: bool, identity: Mapping[str, Any]) -> Journal:
        """The journal of a new run, or, with ``resume``, of one that was interrupted.

        ``identity`` (JSON values) says which run this is: backend, options, suite digest, seed. What a killed run
        left half-written at the end is cut off. Raises ``UsageError`` for a folder that holds a run where none is
        to be resumed, another run than this one, a run that is still going on, unreadable records, or somebody
        else's files under the names that a run writes.
        """
        path = folder / RESULTS
        try:
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            used = any((folder / name).exists() for name in _TRACES)
            if used and not resume:
                raise UsageError(f"{folder} holds a run: continue it with --resume, or choose another folder")
            strange = None if used else next((name for name in _LATER if (folder / name).exists()), None)
            if strange is not None:
                raise UsageError(f"{folder} has a {strange} that is of no run here: choose another folder")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error.strerror}") from None
        try:
            _lock(descriptor, folder)
            if used:
                _compare(folder, identity)
            else:
                _write_identity(folder, identity)
            completed, size = _read(path)
            os.ftruncate(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, completed, size, new=not used, made=made)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record; when this returns, it outlives the process.

        Raises ``UsageError`` where the disk takes no more (what was there before stays whole), and ``ValueError``
        for a record with a NaN or an infinity in it, which JSON does not have.
        """
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
        # A lone surrogate becomes the escape that JSON would have used anyway.
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        try:
            # One write, so that whoever kills the run finds the line whole or, at the end, cut short.
            done = os.write(self._descriptor, line)
            while done < len(line):
                done += os.write(self._descriptor, line[done:])
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise UsageError(
                f"{self._path}: {error.strerror}; the verdicts so far are safe: make room and continue with --resume"
            ) from None
        self._size += len(line)

    def close(self) -> None:
        """Release the folder. A run that never began leaves nothing there, so that its name can be used again."""
        folder = self._path.parent
        if self._new and not self._size and not (folder / "run.json").exists():
            self._path.unlink(missing_ok=True)
            (folder / IDENTITY).unlink(missing_ok=True)
            if self._made:
                with contextlib.suppress(OSError):  # somebody put something there in the meantime
                    folder.rmdir()
        os.close(self._descriptor)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another run is writing to {folder}") from None
    except OSError:
        return  # a network file system without locks: the run goes on unguarded rather than not at all


def _write_identity(folder: Path, identity: Mapping[str, Any]) -> None:
    try:
        write_whole(folder / IDENTITY, json.dumps(identity, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from None


def _compare(folder: Path, identity: Mapping[str, Any]) -> None:
    try:
        theirs = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        # Killed before its identity was there, a run has no records and no run.json either.
        if (folder / "run.json").exists() or (folder / RESULTS).stat().st_size:
            raise UsageError(f"{folder} holds a run that cannot be resumed: it has no {IDENTITY}") from None
        _write_identity(folder, identity)
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / IDENTITY} cannot be read: {error}") from None
    ours = json.loads(json.dumps(identity))
    for key in ours if isinstance(theirs, dict) else ():
        if theirs.get(key) != ours[key]:
            had, has = (json.dumps(value)[:80] for value in (theirs.get(key), ours[key]))
            raise UsageError(f"{folder} holds another run: its {key} is {had}, not {has}")
    if not isinstance(theirs, dict) or theirs.keys() != ours.keys():
        raise UsageError(f"{folder} holds a run of another version of this program")


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The records by case, and the size in bytes of the file up to the last whole one."""
    completed: dict[str, dict[str, Any]] = {}
    lines = path.read_bytes().split(b"\n")
    lines.pop()  # what follows the last line's end: nothing, or a line cut short
    size = 0
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            completed[record["case"]] = record
        except (ValueError, TypeError, KeyError):
            if number == len(lines):
                break
            raise UsageError(
                f"{path}, line {number}: no record; take the line out to run its case again"
            ) from None
        size += len(line) + 1
    return completed, size
