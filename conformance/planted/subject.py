"""A case of the suite with a correct backend in hand: what planted defects and legal variants start from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from ..casework import Ready
from ..dtypes import FLOATS, from_onnx, lookup
from ..graphs import Node, nodes_of
from ..interpreter import DECLINES, call, to_array, to_tensor
from ..operators import catalogue
from ..oracle import evaluate
from ..protocol import agree, described
from ..rules import Accumulation, Composite, Elementary, Requantised, Rounded, Rule
from ..spec import Case
from .device import Arithmetic

__all__ = ["RAISED", "Inputs", "NotApplicable", "Outputs", "Subject", "equal"]

Inputs = Sequence[Any]  # a node's inputs by position: arrays, None where one is left out
Outputs = list[list[Any]]  # of each input set, in the node's order

# What a changed node raises is what a backend would; an OSError where an image can no longer be read.
RAISED = (*DECLINES, OSError)

_APPROXIMATE = (Rounded, Elementary, Accumulation, Composite, Requantised)


class NotApplicable(Exception):
    """The case has nothing that the defect could spoil."""


class Subject:
    """One operator case, made ready. ``good`` are the outputs of a correct backend, `evaluate` those of one that is
    changed; all are arrays in their declared types, for each input set of the case."""

    def __init__(self, case: Case, ready: Ready) -> None:
        assert ready.expected is not None, "a model to refuse has no outputs"
        self.case = case
        self.ready = ready
        self.operator = catalogue()[case.domain, case.operator]
        self.expected = ready.expected

    @property
    def dtype(self) -> str:
        return self.case.dtype

    @property
    def rules(self) -> list[Rule]:
        """The rules of the operator's outputs."""
        return [self.operator.rule_for(i) for i in range(len(self.expected[0]))]

    @functools.cached_property
    def model(self) -> onnx.ModelProto:
        return onnx.load(self.ready.model)

    @functools.cached_property
    def node(self) -> Node:
        """The operator's own node. Raises `NotApplicable` where the case is a graph of several."""
        nodes = nodes_of(self.model)
        if len(nodes) != 1:
            raise NotApplicable
        return nodes[0]

    @functools.cached_property
    def good(self) -> Outputs:
        """The float64 results, rounded once."""
        return [[self._rounded(e.value, e.dtype) for e in one] for one in self.expected]

    @staticmethod
    def _rounded(value: np.ndarray, dtype: str) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array(value.astype(lookup(dtype).numpy))  # a copy, to be spoilt at will

    @property
    def inputs(self) -> Sequence[Inputs]:
        """The node's inputs, of each input set."""
        if not self.ready.inputs:
            raise NotApplicable
        return self.ready.inputs

    def evaluate(
        self,
        change: Callable[[list[Any]], Inputs] = lambda inputs: inputs,
        attributes: Mapping[str, Any] | None = None,
        *,
        arithmetic: Arithmetic | None = None,
        meaning: Callable[..., Any] | None = None,
        widen: bool | None = None,
    ) -> Outputs:
        """The outputs with inputs, attributes, arithmetic or the definition itself changed.

        ``change`` gets a list of the inputs, whose arrays it must not write into. ``widen``: compute in float64 and
        round once (None: where the operator's rule approximates). Raises `NotApplicable` where the case cannot be
        evaluated otherwise than it is.
        """
        if self.operator.meaning is None or self._strings:
            if arithmetic is not None or meaning is not None or widen is not None or not self._evaluator_agrees:
                raise NotApplicable
            return [self._by_evaluator(change(list(one)), attributes) for one in self.inputs]
        node = self.node
        wide = any(isinstance(self.operator.rule_for(i), _APPROXIMATE) for i in range(len(node.outputs)))
        wide = wide if widen is None else widen
        found = []
        for one in self.inputs:
            tensors = [None if a is None else to_tensor(a, widen=wide) for a in change(list(one))]

            def work(tensors: list[Any] = tensors) -> list[Any]:
                return call(node, tensors, widen=wide, attributes=attributes, meaning=meaning)

            results = arithmetic.run(self._format, work) if arithmetic is not None else work()
            found.append([self._array(results[i], d, wide) for i, d in enumerate(node.dtypes) if d])
        return found

    def _array(self, result: Any, dtype: str, wide: bool) -> np.ndarray:
        # Not by torch, which goes from float64 to float16 by way of float32 and so rounds twice.
        if wide and lookup(dtype).is_float and result.is_floating_point() and result.itemsize == 8:
            return self._rounded(result.numpy(), dtype)
        return to_array(result, dtype)

    @property
    def constants(self) -> frozenset[int]:
        """The positions of the inputs that the model itself holds; none where the case is a graph of several nodes."""
        nodes = nodes_of(self.model)
        held = {t.name for t in self.model.graph.initializer}
        return frozenset(i for i, n in enumerate(nodes[0].inputs) if n in held) if len(nodes) == 1 else frozenset()

    @property
    def working(self) -> str:
        """The format in which a device may put each intermediate result: that of the outputs, or what the operator says
        (``stash_type``, ``softmax_precision``)."""
        for name in ("stash_type", "softmax_precision"):
            if asked := self.ready.attributes.get(name):
                return from_onnx(asked).name
        return self._format

    @property
    def _format(self) -> str:
        floats = [e.dtype for e in self.expected[0] if e.dtype in FLOATS]
        return min(floats, key=lambda d: lookup(d).p, default="float32")

    @functools.cached_property
    def _strings(self) -> bool:
        """Whether strings go in or come out: torch has none."""
        arrays = [a for one in (*self.ready.inputs, *self.good) for a in one]
        return any(isinstance(a, np.ndarray) and a.dtype.kind in "OUS" for a in arrays)

    @functools.cached_property
    def _evaluator_agrees(self) -> bool:
        """Whether ONNX's evaluator runs the case's own model rightly: some expected values come from another one."""
        found: list[np.ndarray] = []
        wanted: list[np.ndarray] = []
        for one, good in zip(self.inputs, self.good, strict=True):
            results = self._by_evaluator(one, None)
            if len(results) != len(good):
                return False
            found += [np.asarray(a) for a in results]
            wanted += good
        return all(
            a.shape == b.shape and bool(np.all((a == b) | ((a != a) & (b != b))))
            for a, b in zip(found, wanted, strict=True)
        )

    def _by_evaluator(self, inputs: Inputs, attributes: Mapping[str, Any] | None) -> list[Any]:
        model = self.model
        if attributes is not None:
            model = onnx.ModelProto()
            model.CopyFrom(self.model)
            for node in model.graph.node:
                if (node.domain, node.op_type) == (self.case.domain, self.case.operator):
                    del node.attribute[:]
                    node.attribute.extend(
                        onnx.helper.make_attribute(k, v) for k, v in attributes.items() if v is not None
                    )
        names = [i.name for i in model.graph.input]
        constants = {t.name: t for t in model.graph.initializer}
        (node, *others) = model.graph.node
        if not others and len(inputs) == len(node.input):
            # What the model holds may be changed as well, or left out.
            changed = onnx.ModelProto()
            changed.CopyFrom(model)
            del changed.graph.initializer[:]
            names = []
            for i, (name, array) in enumerate(zip(node.input, inputs, strict=True)):
                if array is None:
                    changed.graph.node[0].input[i] = ""
                elif name in constants:
                    changed.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
                else:
                    names.append(name)
            inputs = [a for n, a in zip(node.input, inputs, strict=True) if a is not None and n not in constants]
            model = changed
        return evaluate(model, dict(zip(names, inputs, strict=True)))


def equal(one: Outputs, other: Outputs) -> bool:
    """Whether two backends gave the same, bit by bit; a NaN is as good as another."""
    return len(one) == len(other) and all(
        agree(described(a), described(b)) for a, b in zip(one, other, strict=True)
    )
