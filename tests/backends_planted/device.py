"""The catalogue's definitions on an emulated device: its formats are options, and so is what it declares (JSON)."""

import json

import numpy as np
import onnx

from conformance.dtypes import FLOATS, lookup
from conformance.graphs import nodes_of
from conformance.interpreter import NoMeaning, operator_of, run_nodes, to_tensor
from conformance.planted.device import Arithmetic, sequential


class Unsupported(Exception):
    pass


class Backend:
    def __init__(self, operands="", accumulator="float64", declares="{}"):
        self.arithmetic = Arithmetic(accumulator=accumulator, operands=operands, order=sequential(4))
        self.declared = json.loads(declares)

    def describe(self):
        return {"name": "Emulated", "version": "1", "device": "emulated", "numerics": self.declared}

    def prepare(self, model):
        proto = onnx.load(model)
        onnx.checker.check_model(proto, full_check=True)
        nodes = nodes_of(proto)
        try:
            for node in nodes:
                operator_of(node)
        except NoMeaning as reason:
            raise Unsupported(str(reason)) from None
        weights = {t.name: to_tensor(onnx.numpy_helper.to_array(t), widen=True) for t in proto.graph.initializer}
        names = [o.name for o in proto.graph.output]
        dtypes = {n: d for node in nodes for n, d in zip(node.outputs, node.dtypes, strict=True)}
        working = next((d for d in dtypes.values() if d in FLOATS), "float32")

        def run(inputs):
            feeds = {n: to_tensor(a, widen=True) for n, a in inputs.items()}
            results = self.arithmetic.run(working, lambda: run_nodes(nodes, feeds, names, weights.get, widen=True))
            with np.errstate(all="ignore"):
                return [r.numpy().astype(lookup(dtypes[n]).numpy) for r, n in zip(results, names, strict=True)]

        return run
