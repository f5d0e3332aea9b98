"""The command line as tests call it, small selections to call it with, and run folders as they read them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.cli import main

SCRIPTS = Path(sysconfig.get_path("scripts"))
# float16 leaves the catalogue's own cases: all reference models are float32, and take minutes. One model is
# named because a plan otherwise opens all of them.
FEW = ("--model", "tcn", "--dtype", "float16", "--operator", "Softmax")
MORE = (*FEW, "--operator", "Conv", "--operator", "MaxPool")


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr, which says whose it is; anything else than one line fails here. (After Ctrl-C, a
        line's end comes first: terminals have shown ^C.)"""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("conformance: "), self.err
        return lines[0].removeprefix("conformance: ")


def call(*arguments: str | Path) -> Done:
    """The command in this process; a traceback fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(a) for a in arguments])
    return Done(status, out.getvalue(), err.getvalue())


def start(*arguments: str | Path, **popen: Any) -> subprocess.Popen[str]:
    """The installed command in a process of its own, which takes interrupts even where this one was started without
    (a shell's background jobs are)."""
    command = ["env", "--default-signal=INT", str(SCRIPTS / "conformance"), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)


def finish(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=300)
    return Done(process.returncode, out, err)


def wait_for(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    """Wait until a run has given so many verdicts, or has ended."""
    journal = folder / "results.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= count):
        time.sleep(0.005)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of results.jsonl; one that is cut short fails here."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def verdicts(folder: Path) -> dict[str, str]:
    """The verdict of each case of the plan: exactly one line each, or it fails here."""
    planned = [c["case"] for c in json.loads((folder / "plan.json").read_text(encoding="utf-8"))["cases"]]
    found = [(line["case"], line["verdict"]) for line in lines(folder)]
    assert sorted(case for case, _ in found) == sorted(planned)
    return dict(found)


def contents(folder: Path) -> Mapping[str, str]:
    """A hash of every file, by path: equal before and after means that nothing was lost or overwritten."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def interpreter_with(folder: Path, *packages: str) -> str:
    """A new virtual environment in which these packages exist and nothing else does.

    They are linked from where this interpreter has them, not installed: no network, and nothing of this project.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    for package in packages:
        found = __import__(package).__file__
        assert found is not None
        for source in (Path(found).parent, Path(found).parent.with_name(f"{package}.libs")):
            if source.exists():
                (Path(done.stdout.strip()) / source.name).symlink_to(source)
    return python


def cannot_import(python: str, folder: Path, *names: str) -> list[str]:
    """Which of these modules do not exist there. ``folder``: where to ask, away from this project's own folders."""
    code = f"import importlib.util as u; print(*[n for n in {names!r} if u.find_spec(n) is None])"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd=folder, env=env)
    return done.stdout.split()


def copied(folder: Path, target: Path) -> Path:
    """A copy of a run folder that a test may spoil."""
    return Path(shutil.copytree(folder, target))
