"""ONNX Runtime with one planted defect, one class for each: what the suite must find, or must not be misled by."""

import json
import os
import signal
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

onnxruntime.set_default_logger_severity(4)


class Good:
    """No defect. ``log``: a file that receives a hash of the model and the inputs of each run."""

    def __init__(self, log="", version="1"):
        self.log = log
        self.version = version

    def describe(self):
        return {"name": type(self).__name__, "version": self.version, "device": "CPU"}

    def prepare(self, model):
        session = onnxruntime.InferenceSession(self.load(model), providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]

        def run(inputs):
            if self.log:
                hashes = [zlib.crc32(Path(model).read_bytes())]
                hashes += [zlib.crc32(np.ascontiguousarray(array)) for array in inputs.values()]
                with Path(self.log).open("a", encoding="utf-8") as file:
                    file.write(" ".join(map(str, hashes)) + "\n")
            return session.run(outputs, inputs)

        return run

    def load(self, model):
        return Path(model).read_bytes()


class IgnoresAttribute(Good):
    """Compiles one operator as if an attribute had its default."""

    def __init__(self, operator, attribute):
        super().__init__()
        self.operator = operator
        self.attribute = attribute

    def load(self, model):
        import onnx

        proto = onnx.load(model)
        for node in proto.graph.node:
            if node.op_type == self.operator:
                kept = [a for a in node.attribute if a.name != self.attribute]
                del node.attribute[:]
                node.attribute.extend(kept)
        return proto.SerializeToString()


class OneLength(Good):
    """Compiles a model for the lengths that it meets first: what comes later is cropped or repeated to them."""

    def prepare(self, model):
        run = super().prepare(model)
        first = {}

        def at_first_lengths(inputs):
            for name, array in inputs.items():
                first.setdefault(name, array.shape)
            return run({name: np.resize(array, first[name]) for name, array in inputs.items()})

        return at_first_lengths


class Tilts(Good):
    """Adds a fiftieth to whatever a model with this operator gives in floats."""

    def __init__(self, operator):
        super().__init__()
        self.operator = operator

    def prepare(self, model):
        import onnx

        run = super().prepare(model)
        if self.operator not in {node.op_type for node in onnx.load(model).graph.node}:
            return run
        return lambda inputs: [o * o.dtype.type(1.02) if o.dtype.kind == "f" else o for o in run(inputs)]


class CrashesOnSome(Good):
    """Dies on every model whose hash is a multiple of ten, every time."""

    def load(self, model):
        content = Path(model).read_bytes()
        if zlib.crc32(content) % 10 == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        return content


class Slow(Good):
    """Takes its time, so that a run can be killed while it goes on."""

    def load(self, model):
        time.sleep(0.02)
        return super().load(model)


class Noisy(Good):
    """Prints what drivers print, and what an answer might look like, on every channel that it can find."""

    def load(self, model):
        print(json.dumps({"status": "ok", "outputs": [[0]], "arrays": [["float16", [1], 0]]}))
        os.write(1, b"CNF1" + bytes(12) + b"\xff\xfe\x00" * 1000)
        os.write(2, b"\x1b[31mwarning:\x1b[0m " + b"x" * 70_000 + b"\n")
        sys.stdout.write("loading 10%\r50%\r100%")
        return super().load(model)


class Miscounts(Good):
    """Gives an output less than the graph has, or its last one twice."""

    def __init__(self, how="less"):
        super().__init__()
        self.how = how

    def prepare(self, model):
        run = super().prepare(model)

        def miscounted(inputs):
            outputs = run(inputs)
            return outputs[:-1] if self.how == "less" else [*outputs, outputs[-1]]

        return miscounted


class Stale(Good):
    """Remembers what a prepared model gave, by the shapes of what it was given."""

    def prepare(self, model):
        fresh, known = super().prepare(model), {}

        def run(inputs):
            shapes = tuple(np.shape(array) for array in inputs.values())
            if shapes not in known:
                known[shapes] = fresh(inputs)
            return known[shapes]

        return run


class DiesOnce(Good):
    """Dies in its first case, and never starts again."""

    def __init__(self, mark):
        super().__init__()
        self.mark = Path(mark)
        if self.mark.exists():
            raise RuntimeError("device lost")

    def load(self, model):
        self.mark.touch()
        os.abort()


class DiesNowAndThen(Good):
    """Dies at every seventh model that one process prepares, whichever that is."""

    prepared = 0

    def load(self, model):
        self.prepared += 1
        if self.prepared % 7 == 0:
            os.abort()
        return super().load(model)
