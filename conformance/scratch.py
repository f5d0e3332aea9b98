"""Folders for big arrays and logs, which go when the process that made them goes, however it goes."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from .files import naming

__all__ = ["Scratch"]

_PREFIX = "conformance-scratch-"
_MEMORY = Path("/dev/shm")


class Scratch:
    """Scratch folders, best first: one in memory where the system has such a place, and one on disk.

    Each is locked while its process lives. One whose lock is free was left by a killed process, and is removed
    by the next: in memory it would hold its arrays until the machine restarts.
    """

    def __init__(self) -> None:
        self._held: list[tuple[Path, int]] = []
        roots = [_MEMORY] if os.access(_MEMORY, os.W_OK) else []
        for root in [*roots, Path(tempfile.gettempdir())]:
            _sweep(root)
            self._held.append(_make(root))

    @property
    def folders(self) -> tuple[str, ...]:
        return tuple(str(folder) for folder, _ in self._held)

    @property
    def disk(self) -> Path:
        """The folder on disk, for what may grow."""
        return self._held[-1][0]

    def write(self, name: str, content: bytes) -> Path:
        """Write a file into the first folder that has room for it; the path. Memory may be as small as 64 MB, as
        it is in a container by default. Raises ``OSError`` where none has room."""
        for folder, _ in self._held:
            path = folder / name
            try:
                path.write_bytes(content)
                return path
            except OSError as error:
                path.unlink(missing_ok=True)
                if error.errno != errno.ENOSPC or folder == self.disk:
                    raise naming(path, error) from None
        raise ValueError("closed")

    def close(self) -> None:
        """Remove the folders."""
        while self._held:
            folder, lock = self._held.pop()
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _make(root: Path) -> tuple[Path, int]:
    # Under another name until it is locked, lest somebody else takes it for an abandoned one.
    new = Path(tempfile.mkdtemp(prefix="conformance-new-", dir=root))
    lock = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return new.rename(root / new.name.replace("conformance-new-", _PREFIX)), lock


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # another user's, or gone by now
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue  # its process lives
        finally:
            os.close(lock)
