"""ONNX Runtime as a compiler that takes few models: each class raises for what it has declared that it does not take,
so a case that is shown such a model fails."""

import json
import os
import signal
from pathlib import Path

import onnx
import onnxruntime

onnxruntime.set_default_logger_severity(4)


class Plain:
    """Takes everything. ``log``: a file that receives each model's operators, opset and input shapes."""

    def __init__(self, log="", oldest="1", newest="99"):
        self.log = log
        self.oldest = int(oldest)
        self.newest = int(newest)

    def describe(self):
        return {"name": type(self).__name__, "version": "1"}

    def prepare(self, model):
        proto = onnx.load(model, load_external_data=False)
        if self.log:
            line = {
                "operators": [node.op_type for node in proto.graph.node],
                "opset": {o.domain: o.version for o in proto.opset_import}.get(""),
                "shapes": [
                    [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in proto.graph.input
                ],
            }
            with Path(self.log).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.look(proto)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        return lambda inputs: session.run(outputs, inputs)

    def look(self, proto):
        pass


class OpsetRange(Plain):
    """Takes the opsets from ``oldest`` to ``newest``."""

    def describe(self):
        return {**super().describe(), "supports": {"opset": [self.oldest, self.newest]}}

    def look(self, proto):
        for imported in proto.opset_import:
            if imported.domain == "" and not self.oldest <= imported.version <= self.newest:
                raise ValueError(f"opset {imported.version}?")


class StaticShapes(Plain):
    """Takes no symbolic dimensions, and wonders about values that are declared twice."""

    def describe(self):
        return {**super().describe(), "static_shapes": True}

    def look(self, proto):
        for value in proto.graph.input:
            if not all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim):
                raise ValueError(f"what shape has {value.name}?")


class Packs(Plain):
    """Takes several cases in one model, and sees what is not unique there."""

    def describe(self):
        return {**super().describe(), "packs": 8}

    def look(self, proto):
        names = [node.name for node in proto.graph.node]
        made = [o for node in proto.graph.node for o in node.output if o]
        assert len(set(names)) == len(names), names
        assert len(set(made)) == len(made), made


class PacksWithACrash(Packs):
    """Dies at one operator, whatever stands beside it."""

    def look(self, proto):
        if "Cos" in {node.op_type for node in proto.graph.node}:
            os.kill(os.getpid(), signal.SIGSEGV)


class PacksWithAFlaw(Packs):
    """Spoils the last output of every model that has more than one node: right for each case alone."""

    def prepare(self, model):
        run = super().prepare(model)
        several = len(onnx.load(model).graph.node) > 1
        return lambda inputs: [*(o := run(inputs))[:-1], o[-1] * 2] if several else run(inputs)


class PacksWithADefect(Packs):
    """Computes one operator wrongly, packed or not."""

    def prepare(self, model):
        run = super().prepare(model)
        made = {o for node in onnx.load(model).graph.node if node.op_type == "Sin" for o in node.output}
        wrong = [o.name in made for o in onnx.load(model).graph.output]
        return lambda inputs: [
            o * o.dtype.type(1.5) if bad else o for o, bad in zip(run(inputs), wrong, strict=True)
        ]


class PacksCountsWrong(Packs):
    """Forgets an output of every packed model."""

    def prepare(self, model):
        run = super().prepare(model)
        several = len(onnx.load(model).graph.node) > 1
        return lambda inputs: run(inputs)[:-1] if several else run(inputs)
