"""Finds a backend by the name that the user gave. Backends themselves are loaded by the worker, never here."""

from __future__ import annotations

import ast
import difflib
import keyword
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

from ..errors import UsageError

__all__ = ["listing", "new_backend", "resolve"]

GROUP = "conformance.backends"
_HERE = Path(__file__).parent
_BUILT_IN = {p.stem.replace("_", "-"): p.name for p in sorted(_HERE.glob("*.py")) if p.stem != "__init__"}
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


def resolve(name: str) -> str:
    """What the worker loads for a backend's name: ``/path/file.py[:Class]`` or ``package.module[:Class]``.

    ``name`` is that of a built-in or an entry point, ``package.module[:Class]`` or ``path/file.py[:Class]``.
    Raises ``UsageError`` for a name that is none of these, and for a file that is missing or does not parse.
    A module is not looked for: it may exist in the vendor's interpreter only.
    """
    if name in _BUILT_IN:
        return str(_HERE / _BUILT_IN[name])
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry.value.partition("[")[0].replace(" ", "")
    where, colon, member = name.rpartition(":")
    if not where.endswith(".py"):
        where, colon, member = name, "", ""
    if where.endswith(".py") or "/" in where:
        return f"{_parsed(Path(where))}{colon}{member}"
    if _DOTTED.fullmatch(name) and ("." in name or ":" in name):
        return name
    known = sorted({*_BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UsageError(
        f"unknown backend {name!r}{hint}: there are {', '.join(known)}, package.module:Class and path/to/file.py"
    )


def _parsed(path: Path) -> Path:
    try:
        ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        raise UsageError(f"backend file {path}: {error.strerror}") from None
    except SyntaxError as error:
        raise UsageError(f"backend file {path}:{error.lineno or 1}: {error.msg}") from None
    except ValueError as error:  # a NUL byte
        raise UsageError(f"backend file {path}: {error}") from None
    return path.absolute()


def listing() -> list[tuple[str, str]]:
    """Name and description of each backend that can be named without a path, built-in ones first."""
    rows = []
    for name, file in _BUILT_IN.items():
        text = ast.get_docstring(ast.parse((_HERE / file).read_bytes())) or ""
        rows.append((name, text.partition("\n")[0]))
    return rows + sorted((entry.name, entry.value) for entry in entry_points(group=GROUP))


def new_backend(name: str, folder: Path) -> Path:
    """Write ``NAME.py``, a working adapter to start from, and return its path.

    Raises ``UsageError`` for a name that is no module's, one that would hide an installed module, and a file
    that exists.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        raise UsageError(f"{name!r} cannot be a module's name: letters, digits and _ are meant")
    if name in {*_BUILT_IN, "numpy", "onnx", "conformance"} or name in sys.stdlib_module_names:
        raise UsageError(f"{name}.py would hide the module {name}: choose another name")
    path = folder / f"{name}.py"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write((_HERE / "template.txt").read_text(encoding="utf-8").format(name=name))
    except FileExistsError:
        raise UsageError(f"{path} exists, and stays as it is") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    return path
