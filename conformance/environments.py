"""Environments of backends that need a Python of their own: what goes into one, making it, finding it again.

A record is a TOML file beside the adapter, of the same name. Nothing of what it names is part of this project: pip
fetches it, from the index that it is set up for, when the user has seen the list and said yes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import UsageError
from .files import write_whole
from .goldens import default_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Environment", "find", "interpreter_of", "make", "place_of", "record_of"]

RECORDS = Path(__file__).with_name("backends")
# The environment variable that names a backend the folder for what it compiles.
COMPILE_CACHE = "CONFORMANCE_COMPILE_CACHE"
# In a finished environment: the record that it was made from.
STAMP = "conformance.json"


@dataclass(frozen=True, slots=True)
class Environment:
    """What a backend's environment consists of.

    ``python``: the versions ("3.11") that it was tried with, the best one first. ``requirements``: pinned, as pip
    takes them; ``without_dependencies``: installed after them, with none of what they ask for. ``variables``: of the
    backend's process, with ``{packages}`` for the environment's site-packages. ``executable`` and ``aside``: files
    there (globs) that need the permission to be run, and ones that must go out of the way (".aside" is appended).
    ``size``, ``licence`` and ``notes`` are for whoever is asked.
    """

    backend: str
    python: tuple[str, ...]
    requirements: tuple[str, ...]
    licence: str
    size: str
    without_dependencies: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    executable: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    notes: str = ""

    @property
    def folder(self) -> Path:
        """Where it is made: below the current folder, as run folders are."""
        return Path(f".venv-{self.backend}")


def record_of(backend: str, records: Path = RECORDS) -> Environment | None:
    """The record of a built-in backend's environment; None for one that lives in this Python.

    Raises ``ValueError`` for a record that is none: they are this project's own.
    """
    path = records / f"{backend.replace('-', '_')}.toml"
    if not backend.replace("-", "").isalnum() or not path.is_file():
        return None
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    unknown = content.keys() - {f.name for f in fields(Environment)}
    if unknown:
        raise ValueError(f"{path.name}: unknown keys {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    return Environment(backend, **values)


def find(environment: Environment, named: str | None) -> str:
    """The interpreter that the environment is made from: ``named``, or the first one here of a version that it was
    tried with. Raises ``UsageError`` where there is none."""
    wanted = " or ".join(environment.python)
    if named is not None:
        version = _ask(named, "import sys; print('%d.%d' % sys.version_info[:2])")
        if version not in environment.python:
            raise UsageError(f"{named} is Python {version}; {environment.backend} needs {wanted}")
        return named
    for version in environment.python:
        if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
            return sys.executable
        found = shutil.which(f"python{version}")
        if found is not None and _works(found):  # a version manager's stand-in may have nothing behind it
            return found
    raise UsageError(f"{environment.backend} needs Python {wanted}, and none is here: name one with --python")


def make(environment: Environment, python: str, say: Callable[[str], None] = lambda line: None) -> Path:
    """Make the environment; its interpreter. One that is there, unfinished or from another record, is made anew.

    Raises ``UsageError`` where pip or venv fail, and for a folder of that name that is no environment.
    """
    folder = environment.folder
    if folder.exists():
        if not (folder / "pyvenv.cfg").is_file():
            raise UsageError(f"{folder} is no virtual environment: move it away")
        shutil.rmtree(folder)
    say(f"making {folder}")
    _run([python, "-m", "venv", str(folder)])
    own = str(folder / "bin" / "python")
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for flags, packages in (([], environment.requirements), (["--no-deps"], environment.without_dependencies)):
        if packages:
            say(f"installing {', '.join(packages)}")
            _run([*pip, *flags, *packages])
    packages_folder = Path(_packages(own))
    for path in _found(packages_folder, environment.executable):
        path.chmod(path.stat().st_mode | 0o111)
    for path in _found(packages_folder, environment.aside):
        path.rename(path.with_name(f"{path.name}.aside"))
    write_whole(folder / STAMP, json.dumps(_stamp(environment), indent=1) + "\n")
    return Path(own)


def interpreter_of(environment: Environment) -> Path | None:
    """The interpreter of the finished environment; None where there is none, or one of another record."""
    try:
        made_from = json.loads((environment.folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return environment.folder / "bin" / "python" if made_from == _stamp(environment) else None


def place_of(backend: str, named: str | None) -> tuple[str | None, dict[str, str]]:
    """The interpreter in which a backend runs (None: this one), and the variables that its process needs there:
    ``named`` if given, else that of its own environment, if there is one. Raises ``OSError`` where there can be no
    folder for what the backend compiles."""
    variables = {COMPILE_CACHE: str(_compile_cache(backend))}
    environment = record_of(backend)
    if environment is None:
        return named, variables
    made = interpreter_of(environment)
    python = named or (None if made is None else str(made))
    if environment.variables:
        packages = _packages(python or sys.executable)
        variables |= {name: text.replace("{packages}", packages) for name, text in environment.variables.items()}
    return python, variables


def _compile_cache(backend: str) -> Path:
    """The folder where a backend may keep what it compiled: it outlives processes and runs."""
    own = os.environ.get(COMPILE_CACHE)
    name = re.sub(r"[^\w.-]+", "-", backend).strip("-.") or "backend"
    folder = Path(own) if own else default_folder() / "compiled" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def _stamp(environment: Environment) -> dict[str, Any]:
    """What, if it changes, makes another environment: as JSON has it."""
    kept = ("requirements", "without_dependencies", "executable", "aside")
    stamp: dict[str, Any] = json.loads(json.dumps({k: v for k, v in asdict(environment).items() if k in kept}))
    return stamp


def _packages(python: str) -> str:
    return _ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))")


def _found(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    found = []
    for pattern in patterns:
        matches = [path for path in sorted(folder.glob(pattern)) if path.suffix != ".aside"]
        if not matches:
            raise UsageError(f"{folder} has no {pattern}: the package is not the one that the record is for")
        found += matches
    return found


def _works(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _ask(python: str, code: str) -> str:
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"no such interpreter: {python}: {error.strerror}") from None
    if done.returncode:
        raise UsageError(f"{python} does not run: {_last(done.stderr)}")
    return done.stdout.strip()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"{' '.join(command[:5])} … failed: {_last(done.stderr or done.stdout)}")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["without a word"])[-1]
