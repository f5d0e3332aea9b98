"""Anything with a command line that reads an ONNX file and ONNX's test-data layout: a board over ssh, a C++ program.

Options: ``command``, with ``{model}`` (an .onnx file), ``{inputs}`` (a folder with input_0.pb, input_1.pb, … in the order
of the graph's inputs) and ``{outputs}`` (an empty folder that gets output_0.pb, …) where they belong, and
``describe`` (a JSON file with what describe() returns). `conformance run --command TEXT` sets the first.

Exit status 0: the outputs are there. 77: the model is declined. Anything else: an error, told by the last line on
stderr. A command that dies of a signal takes this process with it, and so is the crash that it was.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["DECLINED", "Backend", "Unsupported"]

# The exit status that means "unsupported": automake's for a test that was skipped.
DECLINED = 77
_PLACES = ("model", "inputs", "outputs")


class Unsupported(Exception):
    """The command declines the model."""


class Failed(Exception):
    """The command did not do what it was asked for."""


class Backend:
    def __init__(self, command: str = "", describe: str = "") -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"command={command}: {error}") from None
        missing = [place for place in _PLACES if f"{{{place}}}" not in command]
        if not self._words or missing:
            raise ValueError(f"command={command}: {{model}}, {{inputs}} and {{outputs}} are meant to stand in it")
        if shutil.which(self._words[0]) is None:
            raise ValueError(f"no such command: {self._words[0]}")
        self._described = {"name": Path(self._words[0]).name}
        if describe:
            found = json.loads(Path(describe).read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError(f"{describe}: a JSON object is meant")
            self._described.update(found)
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-command-")

    def describe(self) -> dict[str, Any]:
        """What the file says, if there is one; else the command's name."""
        return dict(self._described)

    def prepare(self, model: str) -> Callable[[Mapping[str, Any]], list[Any]]:
        """Nothing is prepared: the command reads the model in every run."""
        graph = onnx.load(model, load_external_data=False).graph
        inputs = [value.name for value in graph.input]
        outputs = [value.type for value in graph.output]

        def run(feeds: Mapping[str, Any]) -> list[Any]:
            folder = Path(tempfile.mkdtemp(dir=self._folder.name))
            try:
                places = {"model": model, "inputs": str(folder / "in"), "outputs": str(folder / "out")}
                (folder / "in").mkdir()
                (folder / "out").mkdir()
                for position, name in enumerate(name for name in inputs if name in feeds):
                    path = folder / "in" / f"input_{position}.pb"
                    path.write_bytes(_to_proto(feeds[name], name).SerializeToString())
                self._call(places)
                return [_read(folder / "out" / f"output_{n}.pb", kind) for n, kind in enumerate(outputs)]
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        return run

    def close(self) -> None:
        """Remove the scratch folder."""
        self._folder.cleanup()

    def _call(self, places: Mapping[str, str]) -> None:
        words = []
        for word in self._words:
            for place, path in places.items():
                word = word.replace(f"{{{place}}}", path)
            words.append(word)
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        text = done.stderr.decode("utf-8", "replace")
        print(text, end="", flush=True)  # the log of the case
        reason = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "without a word")
        if done.returncode == DECLINED:
            raise Unsupported(reason)
        if done.returncode < 0:
            signal.signal(-done.returncode, signal.SIG_DFL)
            os.kill(os.getpid(), -done.returncode)
        if done.returncode:
            raise Failed(f"the command gave exit status {done.returncode}: {reason}")


def _to_proto(value: Any, name: str) -> Any:
    if isinstance(value, np.ndarray):
        return numpy_helper.from_array(value, name)
    if isinstance(value, list):
        return numpy_helper.from_list(value, name)
    if value is None:
        return numpy_helper.from_optional(value, name)
    raise Unsupported(f"ONNX's test data have no {type(value).__name__}")


def _read(path: Path, kind: onnx.TypeProto) -> Any:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Failed(f"the command wrote no {path.name}") from None
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    if kind.HasField("map_type"):
        raise Unsupported("ONNX's test data have no maps")
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))
