"""Backends are found by name, the built-in adapters run through the worker, and a new one works as written."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from command_line import cannot_import, interpreter_with
from onnx import TensorProto, helper

from conformance import backends
from conformance.backends import listing, new_backend, resolve
from conformance.errors import UsageError
from conformance.pool import Launch, Outcome, Pool, Task

PLANTED = Path(__file__).parent / "backends_planted"
X = np.arange(3, dtype=np.float32)
CPU = "CPUExecutionProvider"


def save(
    folder: Path, name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], opset: int = 21
) -> Path:
    graph = helper.make_graph(nodes, name, inputs, outputs)
    path = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


def value(name: str, kind: int, *shape: int) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """One-node models by name; the input is x and the output y."""
    folder = tmp_path_factory.mktemp("models")
    node = helper.make_node
    kinds = {
        "bfloat16": TensorProto.BFLOAT16,
        "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
        "float8_e5m2": TensorProto.FLOAT8E5M2,
        "string": TensorProto.STRING,
        "float16": TensorProto.FLOAT16,
        "complex64": TensorProto.COMPLEX64,
    }
    same = {
        name: save(
            folder, name, [node("Identity", ["x"], ["y"])], [value("x", kind, 2, 3)], [value("y", kind, 2, 3)]
        )
        for name, kind in kinds.items()
    }
    f, i4 = TensorProto.FLOAT, TensorProto.INT4
    broken = folder / "broken.onnx"
    broken.write_bytes(b"\x08\x0a garbage")
    sequence = helper.make_tensor_sequence_value_info("y", f, None)
    scale = node("Constant", [], ["scale"], value_float=1.0)
    zero = node("Constant", [], ["zero"], value=helper.make_tensor("", i4, [], [0]))
    return same | {
        "add": save(folder, "add", [node("Add", ["x", "x"], ["y"])], [value("x", f, 3)], [value("y", f, 3)]),
        "unknown": save(
            folder, "unknown", [node("Frobnicate", ["x"], ["y"])], [value("x", f, 3)], [value("y", f, 3)]
        ),
        "invalid": save(
            folder, "invalid", [node("Add", ["x", "x"], ["y"], axis=1)], [value("x", f, 3)], [value("y", f, 3)]
        ),
        "broken": broken,
        "missing": folder / "missing.onnx",
        "split": save(folder, "split", [node("SplitToSequence", ["x"], ["y"])], [value("x", f, 3)], [sequence]),
        "to_int4": save(
            folder,
            "to_int4",
            [scale, zero, node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
            [value("x", f, 5)],
            [value("y", i4, 5)],
        ),
        "from_int4": save(
            folder,
            "from_int4",
            [scale, node("DequantizeLinear", ["x", "scale"], ["y"])],
            [value("x", i4, 5)],
            [value("y", f, 5)],
        ),
        "no_kernel": save(
            folder,
            "no_kernel",
            [node("Atan", ["x"], ["y"])],
            [value("x", TensorProto.BFLOAT16, 3)],
            [value("y", TensorProto.BFLOAT16, 3)],
            opset=22,
        ),
    }


def one(pool: Pool, model: Path, x: Any = X) -> Outcome:
    (outcome,) = pool.run([Task(model.stem, model, ({"x": x},))])
    return outcome


# ------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("name", [name for name, _ in listing()])
def test_a_built_in_name_is_a_file_that_needs_no_import_of_this_project(name: str) -> None:
    path = Path(resolve(name))
    assert path.is_file()
    if name != "torch":  # it runs the catalogue's own definitions
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
        assert "conformance" not in {alias.name.partition(".")[0] for n in imports for alias in n.names}
        assert "conformance" not in {
            (n.module or "").partition(".")[0] for n in imports if isinstance(n, ast.ImportFrom)
        }


def test_every_built_in_backend_is_listed_with_a_description() -> None:
    rows = dict(listing())
    assert {"onnxruntime", "torch", "onnx-reference", "onnx-backend", "command", "qualcomm-htp"} <= set(rows)
    assert all(len(text) > 20 for text in rows.values())


def test_modules_and_files_go_to_the_worker_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme.py").write_text("class Backend: pass\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert resolve("acme.py") == str(tmp_path / "acme.py")
    assert resolve("./acme.py:Backend") == f"{tmp_path / 'acme.py'}:Backend"
    assert resolve("acme.runtime") == "acme.runtime"
    assert resolve("acme.runtime:Chip.Backend") == "acme.runtime:Chip.Backend"
    assert resolve("acme:Backend") == "acme:Backend"


def test_an_entry_point_is_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name, value = "acme", "acme_runtime.backend : Backend [extra]"

    monkeypatch.setattr(backends, "entry_points", lambda group: [Entry] if group == "conformance.backends" else [])
    assert resolve("acme") == "acme_runtime.backend:Backend"
    assert ("acme", Entry.value) in listing()
    with pytest.raises(UsageError, match="there are acme, "):
        resolve("acne_")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "onnxruntim",
            r"unknown backend 'onnxruntim' \(did you mean onnxruntime\?\): there are [a-z0-9, -]*onnx-backend, ",
        ),
        ("", "unknown backend ''"),
        ("a b.c", "unknown backend 'a b.c'"),
        ("no/such.py", "backend file no/such.py: No such file"),
        ("no/such.py:Class", "backend file no/such.py: No such file"),
        ("no/such", "backend file no/such: No such file"),
        (".", "unknown backend"),
        ("/", "backend file /: Is a directory"),
    ],
)
def test_a_name_that_is_no_backend_is_one_clear_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"class Backend:\n    def prepare(self, model)\n        pass\n", r"acme\.py:2: expected ':'"),
        (b"x = 1\n  y = 2\n", r"acme\.py:2: unexpected indent"),
        (b"x = '\xff'\n", r"acme\.py"),
        (b"x = 1\x00\n", r"acme\.py"),
    ],
)
def test_a_syntax_error_is_found_before_the_run_with_its_line(tmp_path: Path, source: bytes, message: str) -> None:
    (tmp_path / "acme.py").write_bytes(source)
    with pytest.raises(UsageError, match=message) as caught:
        resolve(str(tmp_path / "acme.py"))
    assert "\n" not in str(caught.value)


def test_a_file_may_import_its_neighbours_but_they_hide_no_installed_package(tmp_path: Path) -> None:
    (tmp_path / "helper_of_acme.py").write_text("NAME = 'helped'\n", encoding="utf-8")
    (tmp_path / "ml_dtypes.py").write_text("raise RuntimeError('hidden')\n", encoding="utf-8")
    (tmp_path / "acme.py").write_text(
        "import helper_of_acme, ml_dtypes\n"
        "class Acme:\n"
        "    def describe(self): return {'name': helper_of_acme.NAME + ml_dtypes.bfloat16.__name__}\n"
        "    def prepare(self, model): return lambda inputs: list(inputs.values())\n",
        encoding="utf-8",
    )
    with Pool(Launch(resolve(str(tmp_path / "acme.py")))) as pool:
        assert pool.describe()["name"] == "helpedbfloat16"


def test_a_module_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_here.py").write_text(
        "class Backend:\n    def prepare(self, model): return lambda inputs: list(inputs.values())\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    with Pool(Launch(resolve("acme_here:Backend"))) as pool:
        assert one(pool, Path("any")).outputs[0][0].tolist() == X.tolist()


# ------------------------------------------------------------------------------------------ new-backend


def test_a_new_backend_is_short_and_runs_as_it_is(tmp_path: Path, models: Mapping[str, Path]) -> None:
    path = new_backend("acme", tmp_path)
    assert path == tmp_path / "acme.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 50
    with Pool(Launch(resolve(str(path)), {"device": "1"})) as pool:
        assert pool.describe()["name"] == "acme"
        assert one(pool, models["add"]).outputs[0][0].tolist() == [0.0, 2.0, 4.0]
        assert one(pool, models["no_kernel"], X.astype(ml_dtypes.bfloat16)).status == "unsupported"
        assert one(pool, models["broken"]).status == "error"


def test_the_example_in_the_documentation_is_a_backend(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "adding-a-backend.md").read_text(encoding="utf-8")
    (tmp_path / "acme.py").write_text(text.split("```python\n")[1].split("```")[0], encoding="utf-8")
    with Pool(Launch(resolve(str(tmp_path / "acme.py")), {"device": "1"})) as pool:
        assert pool.describe()["driver"] == "5.3"
        assert one(pool, Path("Add.onnx")).outputs[0][0].tolist() == X.tolist()
        assert one(pool, Path("Loop.onnx")).message == "no control flow"


def test_a_new_backend_never_overwrites_a_file(tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"acme\.py exists"):
        new_backend("acme", tmp_path)
    assert (tmp_path / "acme.py").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "name", ["", "a-b", "1a", "../a", "a.py", "class", "torch", "onnxruntime", "numpy", "json", "é"]
)
def test_a_new_backend_takes_no_name_that_is_or_hides_something_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        new_backend(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_new_backend_in_a_folder_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        new_backend("acme", tmp_path / "none")


# ------------------------------------------------------------------------------------- the built-in ones


@pytest.fixture(scope="module")
def runtime() -> Iterator[Pool]:
    with Pool(Launch(resolve("onnxruntime"))) as pool:
        yield pool


def test_onnxruntime_says_what_it_is(runtime: Pool) -> None:
    described = runtime.describe()
    assert described["name"] == "ONNX Runtime"
    assert described["driver"] == CPU
    assert described["version"]
    assert described["device"]


DTYPES = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16"]


@pytest.mark.parametrize("name", DTYPES)
def test_onnxruntime_takes_and_gives_formats_that_numpy_lacks(
    runtime: Pool, models: Mapping[str, Path], name: str
) -> None:
    x = np.array([[0, 1, -2], [0.5, np.nan, 16]], getattr(ml_dtypes, name, None) or name)
    outcome = one(runtime, models[name], x)
    (y,) = outcome.outputs[0]
    assert (outcome.status, outcome.repeat) == ("ok", "identical")
    assert (y.dtype, y.tobytes()) == (x.dtype, x.tobytes())


def test_onnxruntime_takes_and_gives_int4_strings_and_sequences(runtime: Pool, models: Mapping[str, Path]) -> None:
    numbers = [1, -2, 3, -8, 7]
    (y,) = one(runtime, models["to_int4"], np.array(numbers, np.float32)).outputs[0]
    assert (y.dtype, y.tolist()) == (np.dtype(ml_dtypes.int4), numbers)
    (y,) = one(runtime, models["from_int4"], np.array(numbers, ml_dtypes.int4)).outputs[0]
    assert (y.dtype, y.tolist()) == (np.float32, numbers)
    words = np.array([["a", "ü", ""], ["日本", "b", "c"]], object)
    (y,) = one(runtime, models["string"], words).outputs[0]
    assert y.tolist() == words.tolist()
    (y,) = one(runtime, models["split"]).outputs[0]
    assert [a.tolist() for a in y] == [[0.0], [1.0], [2.0]]


def test_onnxruntime_tells_what_it_lacks_from_what_is_no_model(runtime: Pool, models: Mapping[str, Path]) -> None:
    lacking = one(runtime, models["no_kernel"], X.astype(ml_dtypes.bfloat16))
    assert lacking.status == "unsupported"
    assert "Could not find an implementation for Atan" in lacking.message
    assert one(runtime, models["unknown"]).status == "unsupported"
    numbers = one(runtime, models["complex64"], np.ones((2, 3), np.complex64))
    assert numbers.status == "unsupported", numbers.message
    for name in ("invalid", "broken", "missing"):
        assert one(runtime, models[name]).status == "error", name


def test_onnxruntime_without_the_provider_asked_for_is_unsupported(models: Mapping[str, Path]) -> None:
    with Pool(Launch(resolve("onnxruntime"), {"provider": "NoSuchExecutionProvider"})) as pool:
        outcome = one(pool, models["add"])
    assert outcome.status == "unsupported"
    assert f"NoSuchExecutionProvider is not among {CPU}" in outcome.message.replace("AzureExecutionProvider, ", "")


def test_onnxruntime_does_not_fall_back_to_the_cpu(models: Mapping[str, Path]) -> None:
    """The Azure provider takes no ordinary operator, and is in every Linux build."""
    import onnxruntime

    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this build has the CPU provider only")
    with Pool(Launch(resolve("onnxruntime"), {"provider": "AzureExecutionProvider"})) as pool:
        outcome = one(pool, models["add"])
    assert outcome.status == "unsupported"
    assert "fallback to CPU EP has been explicitly disabled" in outcome.message


def test_onnxruntime_does_not_compute_constants_in_a_providers_place(tmp_path: Path) -> None:
    """A graph of constants is computed while it is read, on the CPU: the session that is left asks nobody."""
    import onnxruntime

    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this build has the CPU provider only")
    made = helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0, 3.0])
    node = helper.make_node("Add", ["c", "c"], ["y"])
    model = save(tmp_path, "constants", [made, node], [], [value("y", TensorProto.FLOAT, 3)])
    task = Task("constants", model, ({},))
    with Pool(Launch(resolve("onnxruntime"), {"provider": "AzureExecutionProvider"})) as pool:
        (outcome,) = pool.run([task])
    assert outcome.status == "unsupported"
    assert "no node is left for AzureExecutionProvider" in outcome.message
    with Pool(Launch(resolve("onnxruntime"))) as pool:
        (outcome,) = pool.run([task])
    assert outcome.outputs[0][0].tolist() == [2.0, 4.0, 6.0]


def test_onnxruntime_refuses_an_option_that_it_does_not_have() -> None:
    with Pool(Launch(resolve("onnxruntime"), {"optimization": "most"})) as pool:
        assert "one of all, extended, basic, disabled" in pool.describe()["error"]


def test_the_reference_evaluator_runs_and_refuses_what_is_no_model(models: Mapping[str, Path]) -> None:
    with Pool(Launch(resolve("onnx-reference"))) as pool:
        assert pool.describe()["version"] == onnx.__version__
        assert one(pool, models["add"]).outputs[0][0].tolist() == [0.0, 2.0, 4.0]
        x = np.ones((2, 3), ml_dtypes.bfloat16)
        assert one(pool, models["bfloat16"], x).outputs[0][0].dtype == x.dtype
        for name in ("unknown", "invalid", "broken"):
            assert one(pool, models[name]).status == "error", name


def test_torch_takes_complex_numbers_and_declines_strings(tmp_path: Path, models: Mapping[str, Path]) -> None:
    made = helper.make_node("Constant", [], ["y"], value_strings=["a", "b"])
    constant = save(
        tmp_path, "constant", [made], [value("x", TensorProto.FLOAT, 3)], [value("y", TensorProto.STRING, 2)]
    )
    numbers = np.array([[1 + 2j, 0, 1], [3j, -1, 2]], np.complex64)
    with Pool(Launch(resolve("torch"))) as pool:
        (y,) = one(pool, models["complex64"], numbers).outputs[0]
        assert (y.dtype, y.tolist()) == (numbers.dtype, numbers.tolist())
        for model, x in ((models["string"], np.full((2, 3), "a", object)), (constant, X)):
            outcome = one(pool, model, x)
            assert (outcome.status, outcome.message) == ("unsupported", "torch has no strings")


ONNX_BACKEND = """
import numpy as np
from onnx.backend.base import Backend, BackendRep

class BackendIsNotSupposedToImplementIt(Exception):
    pass

class Rep(BackendRep):
    def run(self, inputs, **arguments):
        return (inputs[0] * 2, inputs[0].sum(dtype=np.float32))

class Wrapped(Backend):
    @classmethod
    def prepare(cls, model, device="CPU", **arguments):
        if model.graph.node[0].op_type != "Add":
            raise BackendIsNotSupposedToImplementIt("only Add")
        return Rep()

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"
"""


def test_a_class_with_onnxs_backend_interface_is_a_backend(
    models: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrapped_backend.py").write_text(ONNX_BACKEND, encoding="utf-8")
    launch = Launch(resolve("onnx-backend"), {"module": "wrapped_backend"}, env={"PYTHONPATH": str(tmp_path)})
    with Pool(launch) as pool:
        assert pool.describe()["name"] == "wrapped_backend (ONNX backend interface)"
        outcome = one(pool, models["add"])
        assert [o.tolist() for o in outcome.outputs[0]] == [[0.0, 2.0, 4.0], 3.0]
        declined = one(pool, models["split"])
        assert (declined.status, declined.message) == ("unsupported", "only Add")
    options = {"module": "wrapped_backend", "class": "Wrapped", "device": "NPU"}
    with Pool(Launch(resolve("onnx-backend"), options, env={"PYTHONPATH": str(tmp_path)})) as pool:
        assert "does not support the device NPU" in pool.describe()["error"]
    with Pool(Launch(resolve("onnx-backend"))) as pool:
        assert "--option module=package.module" in pool.describe()["error"]


# --------------------------------------------------------------------------------- another interpreter


@pytest.fixture(scope="module")
def vendors_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has NumPy and ONNX Runtime, and neither ml_dtypes nor anything of this project."""
    return interpreter_with(tmp_path_factory.mktemp("vendor") / "venv", "numpy", "onnxruntime")


def test_a_vendors_interpreter_needs_numpy_and_its_own_library_only(
    vendors_python: str, models: Mapping[str, Path], tmp_path: Path
) -> None:
    lacking = ["conformance", "onnx", "ml_dtypes", "torch"]
    assert cannot_import(vendors_python, tmp_path, *lacking) == lacking
    with Pool(Launch(resolve("onnxruntime"), python=vendors_python)) as pool:
        described = pool.describe()
        assert described["name"] == "ONNX Runtime"
        assert described["interpreter"]["executable"] == vendors_python
        assert one(pool, models["add"]).outputs[0][0].tolist() == [0.0, 2.0, 4.0]
        assert one(pool, models["float16"], np.ones((2, 3), np.float16)).status == "ok"
        lacking = one(pool, models["bfloat16"], np.ones((2, 3), ml_dtypes.bfloat16))
        assert lacking.status == "unsupported"
        assert "No module named 'ml_dtypes'" in lacking.message
    with Pool(Launch(f"{PLANTED / 'misbehaving.py'}:EveryTenth", python=vendors_python)) as pool:
        found = [o.status for o in pool.run([Task(str(n), Path(str(n)), ({"x": X},)) for n in range(1, 12)])]
    assert found == ["ok"] * 9 + ["crash", "ok"]
