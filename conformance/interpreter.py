"""Runs nodes and graphs by the catalogue's definitions, on torch tensors.

Two modes. *Native*: every tensor in its declared type; data movement, comparisons and integers need nothing
else, and it is how the torch backend runs. *Widened*: every float tensor in float64, for the references; a Cast
to a narrower float keeps float64 then, because the reference is of the mathematics and not of a rounding.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from .dtypes import from_onnx, lookup, numpy_to_torch, torch_dtype, torch_to_numpy
from .graphs import TYPE_ATTRIBUTES, Node
from .operators import catalogue
from .spec import Operator

if TYPE_CHECKING:
    import torch

__all__ = ["DECLINES", "NoMeaning", "call", "last_uses", "operator_of", "run_nodes", "to_array", "to_tensor"]

# torch has no arithmetic on these: they are computed in a wider signed type and wrapped at the end.
_WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


# What a definition, or ONNX's evaluator, raises for inputs that it does not cover. Anything else is a defect of ours.
DECLINES = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError)


class NoMeaning(LookupError):
    """The catalogue has no tensor definition for this operator."""


def operator_of(node: Node) -> Operator:
    """The catalogue's entry for a node. Raises `NoMeaning` where there is none, or none on tensors."""
    operator = catalogue().get((node.domain, node.operator))
    if operator is None or operator.meaning is None:
        domain = f"{node.domain}::" if node.domain else ""
        raise NoMeaning(f"the catalogue has no tensor definition of {domain}{node.operator}")
    return operator


def to_tensor(array: np.ndarray, *, widen: bool, wide: str = "float64") -> torch.Tensor:
    """A CPU tensor of the same values: floats as ``wide`` when widened, large unsigned integers as signed."""
    import torch

    kind = lookup(_name(array)).kind
    if kind == "float" and widen and array.dtype != lookup(wide).numpy:
        return torch.from_numpy(np.asarray(array, dtype=lookup(wide).numpy))
    name = _name(array)
    if name in _WIDER:
        return torch.from_numpy(array.astype(lookup(_WIDER[name]).numpy))
    return numpy_to_torch(array)


def to_array(tensor: torch.Tensor, dtype: str) -> np.ndarray:
    """An array of the declared dtype: integers wrap, floats round to nearest even."""
    if dtype in _WIDER:
        return tensor.detach().cpu().numpy().astype(lookup(dtype).numpy)
    return torch_to_numpy(tensor, dtype)


def _name(array: np.ndarray) -> str:
    from .dtypes import dtype_of

    return dtype_of(array)


@functools.cache
def _extras(meaning: Callable[..., Any]) -> frozenset[str]:
    names = inspect.signature(meaning).parameters
    return frozenset(n for n in ("opset", "n_outputs", "dtypes", "input_dtypes") if n in names)


def _widened_name(dtype: str, wide: str) -> str:
    """A widened evaluation stands for arithmetic. Into the 8-bit formats a node converts, by rules of its own."""
    return wide if dtype and lookup(dtype).is_float and lookup(dtype).numpy.itemsize > 1 else dtype


def _attribute(name: str, value: Any, device: torch.device | str, *, widen: bool, wide: str) -> Any:
    if isinstance(value, onnx.TensorProto):
        return to_tensor(onnx.numpy_helper.to_array(value), widen=widen, wide=wide).to(device)
    if widen and name in TYPE_ATTRIBUTES and isinstance(value, int) and value:
        return lookup(_widened_name(from_onnx(value).name, wide)).onnx
    return value


def call(
    node: Node,
    inputs: Sequence[torch.Tensor | None],
    *,
    widen: bool,
    wide: str = "float64",
    attributes: Mapping[str, Any] | None = None,
    meaning: Callable[..., Any] | None = None,
) -> list[torch.Tensor]:
    """Evaluate one node. Returns its outputs by position, ``wide`` where widened and a float, else as declared.

    ``attributes`` and ``meaning`` replace the node's own, for the conditioning runs. Raises `NoMeaning` for an
    operator that the catalogue does not define on tensors, and whatever torch raises for inputs that do not fit.
    """
    meaning = meaning or operator_of(node).meaning
    assert meaning is not None
    given = list(inputs)
    while given and given[-1] is None:
        given.pop()
    device = next((t.device for t in given if t is not None), "cpu")
    keywords = {
        k: _attribute(k, v, device, widen=widen, wide=wide)
        for k, v in (node.attributes if attributes is None else attributes).items()
    }
    declared = tuple(_widened_name(d, wide) for d in node.dtypes) if widen else node.dtypes
    extras = _extras(meaning)
    if "opset" in extras:
        keywords.setdefault("opset", node.opset)  # QLinearSoftmax has an attribute of this name
    if "n_outputs" in extras:
        keywords["n_outputs"] = len(node.outputs)
    if "dtypes" in extras:
        keywords["dtypes"] = declared
    if "input_dtypes" in extras:
        keywords["input_dtypes"] = node.input_dtypes
    result = meaning(*given, **keywords)
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    return [_declared(t, declared[i]) if i < len(declared) else t for i, t in enumerate(outputs)]


def _declared(tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    """Cast to the declared type, where torch computes in it; the wide unsigned ones stay wide until the end."""
    if tensor is None or not dtype:
        return tensor
    target = torch_dtype(_WIDER.get(dtype, dtype))
    return tensor if tensor.dtype == target else tensor.to(target)


def last_uses(nodes: Sequence[Node], keep: Iterable[str] = ()) -> list[list[str]]:
    """For each position, the values that nothing after it reads (``keep`` are never among them)."""
    last: dict[str, int] = {}
    for position, node in enumerate(nodes):
        for name in (*node.inputs, *node.outputs):
            if name:
                last[name] = position
    for name in keep:
        last.pop(name, None)
    freed: list[list[str]] = [[] for _ in nodes]
    for name, position in last.items():
        freed[position].append(name)
    return freed


def run_nodes(
    nodes: Sequence[Node],
    feeds: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    weight: Callable[[str], torch.Tensor | None],
    *,
    widen: bool,
    wide: str = "float64",
    device: str = "cpu",
    visit: Callable[[int, Node, list[torch.Tensor | None], list[torch.Tensor]], None] | None = None,
) -> list[torch.Tensor]:
    """Evaluate nodes in order and return the named outputs. Every value is freed at its last use.

    ``weight(name)`` gives an initializer when it is first needed; it is dropped again right after the node, so
    that at no time more than one node's weights are held. ``visit`` sees each node's inputs and outputs.
    """
    values: dict[str, torch.Tensor] = dict(feeds)
    freed = last_uses(nodes, keep=outputs)
    for position, node in enumerate(nodes):
        inputs = [_value(name, values, weight, device) if name else None for name in node.inputs]
        results = call(node, inputs, widen=widen, wide=wide)
        if visit is not None:
            visit(position, node, inputs, results)
        values.update((n, r) for n, r in zip(node.outputs, results, strict=False) if n)
        del inputs, results
        for name in freed[position]:
            values.pop(name, None)
    return [_value(name, values, weight, device) for name in outputs]


def _value(
    name: str,
    values: Mapping[str, torch.Tensor],
    weight: Callable[[str], torch.Tensor | None],
    device: str,
) -> torch.Tensor:
    if name in values:
        return values[name]
    tensor = weight(name)
    if tensor is None:
        raise KeyError(f"no value named {name!r}")
    return tensor.to(device)
