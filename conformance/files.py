"""Files that are written whole or not at all: a full disk leaves what was there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["naming", "share_whole", "write_whole"]


def write_whole(path: Path, text: str | Iterable[str]) -> Path:
    """Put a text, or the pieces of one, into a file; returns its path. Raises ``OSError`` that names the file."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines([text] if isinstance(text, str) else text)
        return part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise naming(path, error) from None
        raise


def share_whole(path: Path, pieces: Iterable[bytes | memoryview]) -> Path:
    """The same for bytes, in a folder that is made where it is missing, and that other processes write into, too:
    of two that write one file, either's stays whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(pieces)
        return Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise naming(path, error) from None
        raise


def naming(path: Path, error: OSError) -> OSError:
    """The error with the file's name: a write that fails, other than an open, does not say where."""
    return OSError(error.errno, error.strerror, str(path))
