"""A backend with a command line: what it writes is judged, and how it ends is told as what it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import call, lines, verdicts
from onnx import TensorProto, helper

from conformance.backends import resolve
from conformance.pool import Launch, Outcome, Pool, Task

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "runner.cpp"
X = np.arange(3, dtype=np.float32)

# A runner that does what the model's name says, and adds one otherwise.
RUNNER = """
import os, signal, sys, time
import onnx
from onnx import numpy_helper
model, inputs, outputs = sys.argv[1:]
how = os.path.basename(model).partition(".")[0]
print("noise " * 1000)
print("a reason of", how, file=sys.stderr)
if how == "declines": sys.exit(77)
if how == "fails": sys.exit(3)
if how == "dies": os.kill(os.getpid(), signal.SIGSEGV)
if how == "hangs": time.sleep(1000)
if how == "forgets": sys.exit(0)
if how == "garbage":
    open(outputs + "/output_0.pb", "wb").write(b"not a tensor")
    sys.exit(0)
names = sorted(os.listdir(inputs))
assert names == ["input_%d.pb" % n for n in range(len(names))], names
assert os.listdir(outputs) == []
tensors = [onnx.TensorProto.FromString(open(inputs + "/" + n, "rb").read()) for n in names]
assert [t.name for t in tensors] == ["b", "a"], [t.name for t in tensors]  # the graph's order
arrays = [numpy_helper.to_array(t) for t in tensors]
open(outputs + "/output_0.pb", "wb").write(numpy_helper.from_array(arrays[0] + 2 * arrays[1]).SerializeToString())
"""


@pytest.fixture
def runner(tmp_path: Path) -> str:
    """The command, with a folder that has a blank in its name."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "runner.py").write_text(RUNNER, encoding="utf-8")
    return f"{sys.executable} '{folder / 'runner.py'}' {{model}} {{inputs}} {{outputs}}"


def model(folder: Path, name: str) -> Path:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (3,)) for n in "bay"]
    graph = helper.make_graph([helper.make_node("Add", ["b", "a"], ["y"])], "case", values[:2], values[2:])
    path = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def run(command: str, *models: Path, timeout: float = 60.0, **options: str) -> list[Outcome]:
    feeds = ({"a": X, "b": X + 1},)  # not in the graph's order
    with Pool(Launch(resolve("command"), {"command": command, **options})) as pool:
        return [next(iter(pool.run([Task(m.stem, m, feeds, timeout=timeout)]))) for m in models]


def test_inputs_are_written_in_the_graphs_order_and_outputs_are_read(tmp_path: Path, runner: str) -> None:
    (outcome,) = run(runner, model(tmp_path, "good"))
    assert (outcome.status, outcome.repeat) == ("ok", "identical"), outcome
    assert outcome.outputs[0][0].tolist() == [1.0, 4.0, 7.0]


def test_how_the_command_ends_is_told_as_what_it_was(tmp_path: Path, runner: str) -> None:
    names = ["declines", "fails", "dies", "forgets", "garbage", "good"]
    found = dict(zip(names, run(runner, *(model(tmp_path, name) for name in names)), strict=True))
    assert {name: outcome.status for name, outcome in found.items()} == {
        "declines": "unsupported",
        "fails": "error",
        "dies": "crash",
        "forgets": "error",
        "garbage": "error",
        "good": "ok",
    }
    assert found["declines"].message == "a reason of declines"
    assert "exit status 3: a reason of fails" in found["fails"].message
    assert "a reason of fails" in found["fails"].log
    assert "SIGSEGV" in found["dies"].message
    assert "a reason of dies" in found["dies"].log
    assert "wrote no output_0.pb" in found["forgets"].message


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path, runner: str) -> None:
    (outcome,) = run(runner, model(tmp_path, "hangs"), timeout=5.0)
    assert outcome.status == "timeout"
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path / "hangs.onnx") not in done.stdout


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "are meant to stand in it"),
        ("true {model} {inputs}", "are meant to stand in it"),
        ("no-such-command {model} {inputs} {outputs}", "no such command: no-such-command"),
        ("true '{model} {inputs} {outputs}", "No closing quotation"),
    ],
)
def test_a_command_that_cannot_be_one_does_not_start(command: str, message: str) -> None:
    with Pool(Launch(resolve("command"), {"command": command})) as pool:
        assert message in pool.describe()["error"]


def test_a_file_says_what_the_backend_is_and_takes(tmp_path: Path, runner: str) -> None:
    said = {"name": "Acme A1", "version": "3.2", "supports": {"dtypes": ["float32"]}, "static_shapes": True}
    (tmp_path / "acme.json").write_text(json.dumps(said), encoding="utf-8")
    with Pool(Launch(resolve("command"), {"command": runner, "describe": str(tmp_path / "acme.json")})) as pool:
        described = pool.describe()
    assert {key: described[key] for key in said} == said


def test_the_command_line_takes_a_backend_or_a_command() -> None:
    for arguments in ((), ("onnxruntime", "--command", "true {model} {inputs} {outputs}")):
        done = call("run", *arguments)
        assert done.status == 2
        assert done.complaint == "name a BACKEND, or a --command in its place"


def test_the_example_in_cpp_runs_what_it_has_and_declines_the_rest(cache: Path, tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    binary = tmp_path / "runner"
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([compiler, "-std=c++17", "-O2", *warnings, "-o", binary, EXAMPLE], check=True)
    command = f"{binary} {{model}} {{inputs}} {{outputs}}"
    few = (
        "--model",
        "tcn",
        "--suite",
        "smoke",
        "--operator",
        "Add",
        "--operator",
        "LeakyRelu",
        "--operator",
        "Gelu",
    )
    done = call(
        "run", "--command", command, *few, "--dtype", "float32", "--dtype", "int32", "-o", tmp_path / "run"
    )
    assert done.status == 0, done
    found = verdicts(tmp_path / "run")
    for case, verdict in found.items():
        has = case.endswith("/float32") and not case.startswith("Gelu/")
        assert verdict == ("pass" if has or case.startswith("tcn/Add") else "unsupported"), case
    messages = {line["case"].partition("/")[0]: line["message"] for line in lines(tmp_path / "run")}
    assert messages["Gelu"] == "no Gelu with 1 inputs"
