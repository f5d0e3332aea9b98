"""Adapters of engines that this environment does not have, and what docs/findings says of these engines.

`conformance setup NAME` makes an engine's environment in the current folder; the tests that need one run where it is.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import ml_dtypes
import numpy as np
import onnx
import pytest
from command_line import FEW, call, cannot_import, interpreter_with
from onnx import TensorProto, helper

from conformance.backends import listing, resolve
from conformance.pool import Launch, Pool, Task

ROOT = Path(__file__).parent.parent
FINDINGS = ROOT / "docs" / "findings"
# An adapter's name, and the module that it misses first where nothing is installed (TVM's front end wants onnx).
ENGINES = {
    "openvino": "openvino",
    "tract": "tract",
    "tinygrad": "tinygrad",
    "opencv": "cv2",
    "iree": "iree",
    "tvm": "onnx",
    "nxrt": "nxrt",
    "emx-onnx-cgen": "onnx",
    "mnn": "_tools",
}


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has NumPy and nothing else."""
    return interpreter_with(tmp_path_factory.mktemp("bare") / "venv", "numpy")


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_is_not_installed_is_named_in_one_line(name: str, bare_python: str, tmp_path: Path) -> None:
    assert cannot_import(bare_python, tmp_path, ENGINES[name]) == [ENGINES[name]]
    done = call("run", name, "--python", bare_python, "-o", tmp_path / "run", *FEW)
    assert done.status == 2
    assert f"the backend {name} does not start" in done.complaint or f"{name}.py does not start" in done.complaint
    assert f"No module named '{ENGINES[name]}'" in done.complaint
    assert not (tmp_path / "run").exists()


def test_every_adapter_is_listed_and_has_its_page() -> None:
    described = dict(listing())
    for name in ENGINES:
        assert len(described[name]) > 10
        page = (ROOT / "docs" / "backends" / f"{name}.md").read_text(encoding="utf-8")
        assert f"conformance run {name}" in page


def own_python(name: str) -> str:
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs {python.parent.parent}: conformance setup {name} makes it")
    return str(python)


def models(folder: Path, rows: int | str) -> Mapping[str, Path]:
    """A sum of a given and a stored number in several types, and an operator that nobody has."""
    made = {}
    for name, kind, op in (
        ("float32", TensorProto.FLOAT, "Add"),
        ("int64", TensorProto.INT64, "Add"),
        ("bfloat16", TensorProto.BFLOAT16, "Add"),
        ("unknown", TensorProto.FLOAT, "Frobnicate"),
    ):
        value = [helper.make_tensor_value_info(n, kind, [rows, 3]) for n in "xy"]
        one = helper.make_tensor("one", kind, [1], [1])
        graph = helper.make_graph([helper.make_node(op, ["x", "one"], ["y"])], "g", value[:1], value[1:], [one])
        made[name] = folder / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), made[name])
    return made


@pytest.mark.parametrize("name", ENGINES)
def test_an_adapter_gives_the_graphs_outputs_at_any_length_and_declines_what_it_lacks(
    name: str, tmp_path: Path
) -> None:
    def arrays(dtype: object, rows: int) -> dict[str, np.ndarray]:
        return {"x": np.full((rows, 3), 2).astype(dtype)}

    # tinygrad's runner keeps the length that it has seen first; emx-onnx-cgen's adapter asks for static shapes.
    lengths = (4,) if name in ("tinygrad", "emx-onnx-cgen") else (1, 4)
    made = models(tmp_path, 4 if name == "emx-onnx-cgen" else "N")
    kinds = ("float32", "f4"), ("int64", "i8")
    tasks = [Task(n, made[n], tuple(arrays(d, rows) for rows in lengths)) for n, d in kinds]
    tasks += [Task("bfloat16", made["bfloat16"], (arrays(ml_dtypes.bfloat16, 4),))]
    tasks += [Task("unknown", made["unknown"], (arrays("f4", 4),))]
    with Pool(Launch(resolve(name), python=own_python(name))) as pool:
        outcomes = {outcome.id: outcome for outcome in pool.run(tasks)}
    for task, dtype in (("float32", np.float32), ("int64", np.int64)):
        assert outcomes[task].status == "ok", outcomes[task].message
        for rows, (output,) in zip(lengths, outcomes[task].outputs, strict=True):
            assert (output.dtype, output.shape, set(output.ravel().tolist())) == (dtype, (rows, 3), {3})
    if outcomes["bfloat16"].status == "ok":
        assert outcomes["bfloat16"].outputs[0][0].dtype == ml_dtypes.bfloat16
    else:  # where the compiler that tinygrad or emx-onnx-cgen calls is too old for it, that is an error
        assert outcomes["bfloat16"].status in ("unsupported", "error"), outcomes["bfloat16"].message
    assert outcomes["unknown"].status in ("unsupported", "error")


# ------------------------------------------------------------------------------------------------ findings


@pytest.fixture(scope="module")
def questions() -> ModuleType:
    sys.path.insert(0, str(FINDINGS))
    try:
        import questions
    finally:
        sys.path.remove(str(FINDINGS))
    return questions


# Where neither ONNX Runtime nor ONNX's reference evaluator gives the answer by hand, and why it stands.
NEITHER = {
    # ONNX Runtime refuses an even size; the reference evaluator leaves channels out altogether, as of ONNX 1.23.2.
    "LRN of an even size: ⌊(size-1)/2⌋ before, ⌈(size-1)/2⌉ after",
}


def test_each_answer_by_hand_is_also_that_of_onnx_runtime_or_of_onnx(questions: ModuleType) -> None:
    right: set[str] = set()
    for engine in ("onnxruntime", "reference"):
        _, run = questions.ENGINES[engine]()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            questions.answers(run, 0)
        lines = [line.split("\t") for line in printed.getvalue().splitlines()]
        right |= {questions.QUESTIONS[int(line[1])].title for line in lines if line[2] == "right"}
    titles = {question.title for question in questions.QUESTIONS}
    assert len(titles) == len(questions.QUESTIONS)
    assert titles - right == NEITHER


@pytest.mark.parametrize("name", ENGINES)
def test_what_is_printed_of_an_engine_is_what_the_questions_ask(name: str, questions: ModuleType) -> None:
    head, *entries = (FINDINGS / f"{name}.txt").read_text(encoding="utf-8").split("\n\n")
    by_hand = {
        f"{q.title} ({q.model.graph.node[0].op_type})": f"    by hand  {questions.show(q.answer)}"
        for q in questions.QUESTIONS
    }
    assert f"{len(by_hand)} questions" in head
    assert entries
    for entry in entries:
        title, expected, actual = entry.strip("\n").split("\n")
        assert by_hand[title] == expected
        assert actual.split(None, 1)[1] != expected.split(None, 2)[2]
    report = (ROOT / "docs" / "findings-engines.md").read_text(encoding="utf-8")
    wrong = [n for n in head.replace(",", ";").split("; ") if n.endswith((" wrong", " died"))]
    assert f"| {head.partition(':')[0]} | {sum(int(n.split()[0]) for n in wrong)} |" in report
