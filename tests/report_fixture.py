"""Synthetic run folders for the tests of the reports: every verdict, every kind of case, and a realistic size.

Nothing here is a result: the numbers come from a seeded generator. ``python tests/report_fixture.py FOLDER``
writes one to look at.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FAMILIES: dict[str, tuple[str, str]] = {
    "arithmetic": ("rounded", "Add Sub Mul Div Neg Abs Sqrt Reciprocal Mod Pow Sum Mean Max Min Sign Clip Floor Ceil Round"),
    "elementary": ("elementary", "Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh Erf Sigmoid"),
    "activations": ("composite", "Relu LeakyRelu PRelu Elu Selu Celu Gelu Mish HardSigmoid HardSwish Softplus Softsign"
                   " ThresholdedRelu Swish Softmax LogSoftmax Hardmax"),
    "logic": ("exact", "Equal Greater Less GreaterOrEqual LessOrEqual And Or Xor Not Where IsNaN IsInf"),
    "convolution": ("accumulation", "Conv ConvTranspose AveragePool MaxPool GlobalAveragePool GlobalMaxPool LpPool"),
    "linear": ("accumulation", "MatMul Gemm Einsum MatMulInteger Det"),
    "normalisation": ("composite", "BatchNormalization LayerNormalization InstanceNormalization GroupNormalization"
                      " RMSNormalization LpNormalization LRN MeanVarianceNormalization"),
    "reductions": ("accumulation", "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum"
                  " ReduceLogSumExp ReduceSumSquare ArgMax ArgMin CumSum"),
    "movement": ("exact", "Reshape Transpose Concat Split Slice Squeeze Unsqueeze Flatten Expand Tile Pad Shape Size Identity"
              " Constant ConstantOfShape DepthToSpace SpaceToDepth Trilu Range EyeLike"),
    "indexing": ("exact", "Gather GatherElements GatherND ScatterElements ScatterND OneHot TopK Unique NonZero Compress"
                 " NonMaxSuppression RoiAlign"),
    "resampling": ("composite", "Resize GridSample AffineGrid CenterCropPad"),
    "recurrent": ("composite", "LSTM GRU RNN"),
    "quantisation": ("requantised", "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul"
                     " ConvInteger"),
    "attention": ("composite", "Attention RotaryEmbedding"),
    "casting": ("exact", "Cast CastLike BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot"),
}  # fmt: skip
CORE = set(
    "Add Sub Mul Div Sqrt Pow Exp Tanh Erf Sigmoid Relu Clip Softmax Equal Where Conv MaxPool AveragePool"
    " GlobalAveragePool MatMul Gemm BatchNormalization LayerNormalization ReduceMean Reshape Transpose Concat Split"
    " Slice Squeeze Unsqueeze Expand Pad Gather Cast".split()
)
MODELS: dict[str, tuple[str, int, str]] = {
    "resnet50": ("image classification", 124, "Conv Conv BatchNormalization Relu Add MaxPool"),
    "mobilenetv2": ("image classification", 100, "Conv Clip Add Conv"),
    "vit-base": ("image classification", 320, "MatMul Add LayerNormalization Softmax Gelu Reshape Transpose"),
    "convnext-tiny": ("image classification", 174, "Conv LayerNormalization Gemm Gelu Mul Transpose Add"),
    "rtdetr": ("detection", 365, "Conv Relu MatMul Add Resize TopK GatherElements GridSample Sigmoid"),
    "segformer-b0": ("segmentation", 431, "Conv LayerNormalization MatMul Softmax Gelu Resize Concat Transpose"),
    "ppocr-det": ("OCR", 464, "Conv HardSigmoid Mul Relu ConvTranspose Sigmoid Resize"),
    "ppocr-rec": ("OCR", 580, "Conv HardSwish MatMul Softmax Add LSTM Squeeze Reshape"),
    "bert-base": ("NLP", 420, "MatMul Add LayerNormalization Softmax Erf Mul Reshape Transpose"),
    "gpt2": ("NLP", 392, "Gemm Add LayerNormalization Softmax Tanh Mul Split Where Concat"),
    "llama-1b": ("NLP", 537, "MatMul Mul Add Softmax Sigmoid Sqrt ReduceMean Concat Slice Cos Sin"),
    "whisper-tiny": ("speech", 303, "Conv Gelu MatMul Add LayerNormalization Softmax Reshape"),
    "silero-vad": ("speech", 90, "Conv Relu LSTM Sigmoid Squeeze"),
    "patchtst": ("time series", 161, "MatMul Add BatchNormalization Softmax Gelu Transpose"),
    "unet-sd": ("diffusion", 464, "Conv InstanceNormalization Sigmoid Mul Add MatMul Softmax Resize"),
    "dlrm": ("recommendation", 96, "Gather Gemm Relu Concat MatMul Sigmoid"),
}
FLOATS = ("float32", "float16", "bfloat16", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
STYLES = ("basic", "broadcast", "scalar", "empty", "rank6", "odd-sizes", "large", "special-values")
SUITE = {"version": "0.1.0", "digest": "sha256:" + "5f3a9c0e" * 8, "name": "standard", "opset": 21, "seed": 0}
BAD = ("inaccurate", "wrong", "unsupported", "error", "crash", "timeout", "out-of-memory", "flaky", "not-run")
MESSAGES = {
    "pass": "",
    "inaccurate": "output 0: 37 of 4096 elements (0.90 %) outside the bound; worst at [0, 3, 11]",
    "wrong": "output 0: shape (2, 3, 8, 8), expected (2, 3, 9, 9)",
    "unsupported": "no kernel for {operator}({opset}) in {dtype}",
    "error": "RuntimeError: [ShapeInference] {operator}: cannot merge dimension 3 with 4",
    "crash": "the process died: SIGSEGV (signal 11)",
    "timeout": "no answer within 30 s",
    "out-of-memory": "over the memory limit of 4096 MiB",
    "flaky": "the repeat did not agree: verdicts pass and inaccurate",
    "not-run": "no verdict",
}

Mischief = Callable[[str], str]
"""Gives a text from a field's name and its honest value: how tests plant markup."""


def _dtypes(family: str, rule: str) -> tuple[str, ...]:
    if family == "quantisation":
        return ("uint8", "int8")
    if family == "logic":
        return (*FLOATS, *INTEGERS, "bool")
    if rule == "exact" or family == "arithmetic":
        return FLOATS + (INTEGERS if rule != "exact" else (*INTEGERS, "bool"))
    return FLOATS


def _error(rng: random.Random, verdict: str, rule: str) -> dict[str, Any]:
    if verdict not in ("pass", "inaccurate", "wrong", "flaky") or (verdict == "wrong" and rng.random() < 0.5):
        return {}
    if rule == "exact" and verdict == "pass":
        return {"units": None, "ulp": None, "share": 0.0, "elements": 4096, "bits": None, "median_units": None}
    units = rng.choice([0.0, math.exp(rng.gauss(-2.2, 1.3))])
    units = min(units, 0.999) if verdict == "pass" else 1.0 + math.exp(rng.gauss(1.5, 2.0))
    return {
        "units": units,
        "ulp": units * 2.5,
        "share": 0.0 if verdict == "pass" else 37 / 4096,
        "output": 0,
        "index": [0, 3, 11],
        "actual": repr(0.125 + units / 1000) if rng.random() < 0.8 else "nan",
        "expected": "0.125",
        "allowed": "1.1920928955078125e-07",
        "bits": round(23.5 - math.log2(1 + units), 2),
        "elements": 4096,
        "median_units": units / 7,
    }


def build(
    folder: Path,
    *,
    seed: int = 1,
    quality: float = 0.97,
    complete: bool = True,
    operators_per_family: int = 99,
    models: int = 16,
    vectors: int = 0,
    mischief: Mischief | None = None,
    backend: str = "onnxruntime",
    version: str = "1.32.0",
    waivers: Sequence[dict[str, Any]] = (),
) -> Path:
    """Write a run folder: about ``quality`` of the operators are clean, the others fail in every way there is."""
    rng = random.Random(seed)
    twist: Mischief = mischief or (lambda text: text)
    catalogue: list[dict[str, Any]] = []
    cases: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    flaws: dict[tuple[str, str], str] = {}

    def add(case: str, operator: str, dtype: str, source: str, family: str, rule: str, **more: Any) -> str:
        verdict = "pass"
        flaw = flaws.get((operator, dtype)) or (flaws.get((operator, "*")))
        if flaw and rng.random() < 0.45:
            verdict = flaw
        if source in ("block", "end-to-end") and rng.random() > quality:
            verdict = "inaccurate"
        if verdict == "not-run" and complete:
            verdict = "flaky"
        plan = {
            "case": twist(case), "operator": twist(operator), "domain": "", "opset": 21, "dtype": dtype,
            "source": source, "family": twist(family), "model": None, "tags": [], "occurrences": {}, **more,
        }  # fmt: skip
        cases.append(plan)
        if verdict != "not-run":
            message = MESSAGES[verdict].format(operator=operator, opset=21, dtype=dtype)
            line = {
                **{k: plan[k] for k in ("case", "operator", "domain", "opset", "dtype", "source", "model")},
                "verdict": verdict, "message": twist(message) if message or mischief else "",
                "error": _error(rng, verdict, rule), "seconds": round(rng.expovariate(900), 6),
                "repeat": "differs" if verdict == "flaky" else "identical",
            }  # fmt: skip
            if mischief and line["error"]:
                line["error"] |= {key: twist(key) for key in ("actual", "expected", "allowed")}
            if verdict in ("crash", "error", "timeout"):
                line["log"] = twist("acme_rt: W tile.cc:118] falling back\nacme_rt: F tile.cc:240] check failed\n")
            if verdict == "crash":
                line["after"] = twist("Conv/basic/float32")
            results.append(line)
        return str(plan["case"])

    for family, (rule, names) in FAMILIES.items():
        for name in names.split()[:operators_per_family]:
            dtypes = _dtypes(family, rule)
            if rng.random() > quality:
                flaws[name, rng.choice([*dtypes, "*"])] = rng.choice(BAD)
            if name in (
                "Resize",
                "LSTM",
                "GridSample",
                "NonMaxSuppression",
                "Unique",
                "ConvTranspose",
                "Softplus",
                "Pow",
            ):
                number = (
                    "Resize",
                    "LSTM",
                    "GridSample",
                    "NonMaxSuppression",
                    "Unique",
                    "ConvTranspose",
                    "Softplus",
                    "Pow",
                )
                flaws[name, dtypes[min(1, len(dtypes) - 1)]] = BAD[number.index(name)]
            if "bfloat16" in dtypes and rng.random() < 0.25:
                flaws[name, "bfloat16"] = "unsupported"
            catalogue.append({
                "operator": twist(name), "domain": "", "family": twist(family), "rule": rule, "core": name in CORE,
                "common": name in CORE or any(name in m[2].split() for m in MODELS.values()),
                "weight": round(rng.random() / 60, 5), "required_dtypes": list(dtypes[:3]),
                "quantised": family == "quantisation", "extension": False,
            })  # fmt: skip
            for dtype in dtypes:
                for style in STYLES:
                    tags = {"special-values": ["special"], "empty": ["empty"], "broadcast": ["dynamic"]}.get(
                        style, []
                    )
                    add(f"{name}/{style}/{dtype}", name, dtype, "operator", family, rule, tags=tags)

    family_of = {name: (family, rule) for family, (rule, names) in FAMILIES.items() for name in names.split()}
    graphs: list[dict[str, Any]] = []
    for model, (domain, count, kinds) in list(MODELS.items())[:models]:
        nodes, seen = [], {}
        sequence = kinds.split()
        for position in range(count):
            operator = sequence[position % len(sequence)] if rng.random() < 0.9 else rng.choice(sequence)
            name = f"{operator}_{position}"
            key = (operator, rng.randrange(9))
            if key not in seen:
                family, rule = family_of[operator]
                dtype = "float16" if operator in ("Resize", "LSTM") and rng.random() < 0.5 else "float32"
                seen[key] = add(f"{model}/{name}", operator, dtype, "model", family, rule, model=twist(model))
            nodes.append({"name": twist(name), "operator": twist(operator), "case": seen[key]})
        blocks = [
            add(f"{model}/block-{b}", "Conv+Relu", "float32", "block", "block", "accumulation", model=twist(model))
            for b in range(6)
        ]
        end = add(
            f"{model}/end-to-end",
            "(model)",
            "float32",
            "end-to-end",
            "end-to-end",
            "accumulation",
            model=twist(model),
        )
        graphs.append({
            "name": twist(model), "domain": twist(domain), "nodes": nodes, "blocks": blocks, "end_to_end": end,
            "parameters": rng.randrange(10**6, 10**9),
        })  # fmt: skip

    for number in range(vectors):
        flaws["Vector", "*"] = BAD[number % len(BAD)]
        tags = ["published"] if number % 3 == 0 else []
        add(f"vectors/test_{number}", "Vector", "float32", "vector", "vectors", "rounded", tags=tags)
        if results[-1]["source"] == "vector" and results[-1]["error"]:
            results[-1]["error"]["similar"] = number % 4 != 0

    suite = {**SUITE, "complete": True}
    description = {
        "spec": twist(backend), "name": twist(backend), "version": twist(version), "device": twist("CPU"),
        "driver": twist("none"), "options": {twist("intra_op_num_threads"): twist("1")},
        "supports": {"opset": [11, 21], "dtypes": ["float32", twist("float16")]},
        "numerics": {"float32": {"accumulator": "float32", "mode": twist("strict")}},
    }  # fmt: skip
    run = {
        "format": 1, "suite": suite, "backend": description,
        "environment": {
            "platform": twist("Linux-6.1.0-x86_64-with-glibc2.36"), "python": "3.11.2",
            "cpu": twist("AMD EPYC 9R14"), "memory_gb": 24.0,
            "packages": {"onnx": "1.23.2", "torch": "2.13.0", twist("onnxruntime"): twist("1.32.0")},
        },
        "command": ["conformance", "run", twist(backend), "-o", twist("runs/ort")],
        "started": "2026-11-22T09:12:44+00:00", "finished": "2026-11-22T09:18:02+00:00" if complete else None,
        "seconds": 318.4,
    }  # fmt: skip
    plan = {"format": 1, "suite": suite, "cases": cases, "models": graphs, "operators": catalogue}
    if vectors:
        unjudged = {
            "random": [twist("test_drawn")],
            twist("another"): [twist(f"test_{n}_of_more") for n in range(20)],
        }
        plan["vectors"] = {"of": twist("ONNX 1.23.2"), "digest": "77" * 16, "unjudged": unjudged}
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "run.json", run)
    _write(folder / "plan.json", plan)
    if waivers:
        (folder / "waivers.toml").write_text("\n".join(_table(waiver) for waiver in waivers), encoding="utf-8")
    with (folder / "results.jsonl").open("w", encoding="utf-8") as stream:
        for line in results:
            stream.write(json.dumps(line) + "\n")
    return folder


def _table(waiver: Mapping[str, Any]) -> str:
    # A JSON string is a TOML string too, as long as it escapes no surrogates.
    lines = [f"{key} = {value if key == 'expires' else json.dumps(value)}" for key, value in waiver.items()]
    return "\n".join(["[[waiver]]", *lines, ""])


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
