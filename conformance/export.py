"""One case as a standard ONNX test-data folder, with a script that reproduces it outside the suite."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ._version import __version__
from .casework import Casework, Ready
from .demands import Demands
from .errors import UsageError
from .goldens import default_folder
from .graphs import to_tensor_proto
from .numerics import allowed
from .plan import Plan, Selection, build_plan
from .runfolder import RunFolder, read_run
from .spec import FURTHER, Case, Source

__all__ = ["export_case"]


def export_case(folder: Path, case_id: str, output: Path) -> Path:
    """Write ``model.onnx``, ``test_data_set_N/{input,output}_M.pb``, the bounds and ``reproduce.py``.

    The case is made again from the suite opset and the seed that the run names, so the suite must be the one
    that made the run. Returns the folder. Raises ``UsageError`` for an unknown case, another suite version, or
    a folder that exists.
    """
    if output.exists():
        raise UsageError(f"{output} exists already; name a new folder")
    run = read_run(folder)
    if case_id not in run.plan.cases:
        raise UsageError(f"{folder} has no case {case_id}; results.jsonl names those that there are")
    plan, case = _again(run, case_id)
    # As the backend of the run demands models: what it was shown is what is to be looked at.
    with Casework(plan, default_folder(), Demands.of(run.backend)) as casework:
        ready = _ready(casework, case)
        if ready.declined:
            raise UsageError(f"{case_id} cannot be exported: {ready.declined}")
        if ready.problem:
            raise UsageError(f"{case_id} cannot be exported: {ready.problem}")
        graph = onnx.load(str(ready.model), load_external_data=False).graph
        if not all(v.type.HasField("tensor_type") for v in (*graph.input, *graph.output)):
            raise UsageError(
                f"{case_id} cannot be exported: it has maps, sequences or optionals, and this writes tensors only"
            )
        output.mkdir(parents=True)
        try:
            _write(ready, output)
        except BaseException:
            shutil.rmtree(output, ignore_errors=True)
            raise
    return output


def _again(run: RunFolder, case_id: str) -> tuple[Plan, Case]:
    """The case as it was planned, and a plan that has it."""
    planned = run.plan.cases[case_id]
    try:
        opset, seed = int(run.suite["opset"]), int(run.suite["seed"])
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{run.path}: the run names no suite opset and seed to make {case_id} from") from None
    if planned.source is Source.VECTOR:
        selection = Selection("vectors", opset, seed, vectors=case_id)
    elif FURTHER in planned.tags:
        assert run.plan.further is not None
        assert planned.model is not None
        selection = Selection("models-from", opset, seed, models=(planned.model,), further=run.plan.further.of)
    else:
        selection = Selection("full", opset, seed, models=(planned.model,) if planned.model else ())
    plan = build_plan(selection)
    case = next((c for c in plan.cases if c.id == case_id), None)
    if case is None or case.digest != planned.digest:
        raise UsageError(
            f"{case_id} of suite {run.suite.get('version')} is another case in this one, {__version__}: "
            "export it with the version that made the run"
            + (", and its onnx" if planned.source is Source.VECTOR else "")
            + (", and the same file" if FURTHER in planned.tags else "")
        )
    return plan, case


def _ready(casework: Casework, case: Case) -> Ready:
    if case.source is Source.OPERATOR:
        return casework.operator_case(case)
    if case.source is Source.VECTOR:
        return casework.vector_case(case)
    assert case.model is not None
    return next(iter(casework.model_cases(case.model, [case])))


def _write(ready: Ready, output: Path) -> None:
    shutil.copyfile(ready.model, output / "model.onnx")
    graph = onnx.load(str(ready.model), load_external_data=False).graph
    beside = {e.value for t in graph.initializer for e in t.external_data if e.key == "location"}
    for name in sorted(beside):
        shutil.copyfile(ready.model.with_name(name), output / name)
    names = [o.name for o in graph.output]
    inputs = [i.name for i in graph.input]
    bounds: dict[str, Any] = {}  # arrays; savez_compressed has a flag among its keywords
    for k, feed in enumerate(ready.feeds):
        data = output / f"test_data_set_{k}"
        data.mkdir()
        for i, name in enumerate(n for n in inputs if n in feed):
            _tensor(data / f"input_{i}.pb", feed[name], name)
        for i, (name, expected) in enumerate(
            zip(names, ready.expected[k] if ready.expected else (), strict=False)
        ):
            value = np.asarray(expected.value)
            _tensor(data / f"output_{i}.pb", value.astype(_numpy(expected.dtype)), name)
            if value.dtype != object:
                bounds[f"expected_{k}_{i}"] = value.astype(np.float64)
                bounds[f"allowed_{k}_{i}"] = allowed(expected)
    np.savez_compressed(output / "bounds.npz", **bounds)
    (output / "case.json").write_text(json.dumps({"case": ready.case.id, "refuse": ready.expected is None}) + "\n")
    (output / "reproduce.py").write_text(_SCRIPT, encoding="utf-8")


def _numpy(dtype: str) -> np.dtype:
    from .dtypes import lookup

    return lookup(dtype).numpy


def _tensor(path: Path, array: np.ndarray, name: str) -> None:
    path.write_bytes(to_tensor_proto(np.asarray(array), name).SerializeToString())


_SCRIPT = '''"""Reproduces this case: python reproduce.py [path/to/backend.py]  (default: ONNX Runtime).

Needs numpy, onnx and the backend's library; nothing of the suite.
"""
import glob, importlib.util, json, os, sys
import numpy as np, onnx
from onnx import numpy_helper

here = os.path.dirname(os.path.abspath(__file__))
model = os.path.join(here, "model.onnx")
case = json.load(open(os.path.join(here, "case.json")))


def prepare():
    if len(sys.argv) > 1:
        spec = importlib.util.spec_from_file_location("backend", sys.argv[1])
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Backend().prepare(model)
    import onnxruntime
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)


def tensors(folder, kind):
    for i in range(len(glob.glob(os.path.join(folder, kind + "_*.pb")))):
        proto = onnx.TensorProto.FromString(open(os.path.join(folder, "%s_%d.pb" % (kind, i)), "rb").read())
        yield proto.name, numpy_helper.to_array(proto)


run = prepare()
if case["refuse"]:
    print("prepared, although the model is invalid: it should have been refused here, or when it runs")
bounds = np.load(os.path.join(here, "bounds.npz"))
bad = 0
for k, folder in enumerate(sorted(glob.glob(os.path.join(here, "test_data_set_*")))):
    actual = run(dict(tensors(folder, "input")))
    for i, (name, stored) in enumerate(tensors(folder, "output")):
        got = np.asarray(actual[i])
        print("%s: %s %s, expected %s %s" % (name, got.dtype, got.shape, stored.dtype, stored.shape))
        if "expected_%d_%d" % (k, i) not in bounds or got.shape != stored.shape:
            same = got.shape == stored.shape and (got == stored).all()
            bad += not same
            continue
        expected, allowed = bounds["expected_%d_%d" % (k, i)], bounds["allowed_%d_%d" % (k, i)]
        with np.errstate(invalid="ignore"):
            off = np.abs(got.astype(np.float64) - expected)
        wrong = ~((off <= allowed) | (np.isnan(expected) & np.isnan(got.astype(np.float64))) | (got == stored))
        bad += int(wrong.sum())
        for index in list(zip(*np.nonzero(wrong)))[:5]:
            print("  [%s] actual %r expected %r allowed %r" % (
                ", ".join(map(str, index)), got[index], expected[index], allowed[index]))
print("%d elements outside their bound" % bad)
sys.exit(1 if bad else 0)
'''
