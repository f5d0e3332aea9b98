"""Defects in how attributes are read: ignored, turned round, one value for all axes, one mode for another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx

from ..graphs import TYPE_ATTRIBUTES, schema_defaults
from ..plan import samples_of
from ..rules import Random
from ..spec import Operator
from .outputs import never
from .record import Defect
from .subject import NotApplicable, Outputs, Subject

__all__ = ["defects"]

# Attributes with a list of values by name: other texts (an equation, a pattern) are data.
_MODES = frozenset(
    "mode coordinate_transformation_mode nearest_mode keep_aspect_ratio_policy reduction auto_pad padding_mode "
    "direction approximate norm post_transform aggregate_function kernel_type case_change_action round_mode".split()
)

# What a node says twice: the weights' shapes tell it, too, or the inputs'.
_REDUNDANT = frozenset({"kernel_shape", "hidden_size", "num_outputs", "inputdimensions"})
# What changes no right result: the order of a set; which method fitted the coefficients; the one locale that every platform
# has; that an unknown category is refused; that any order will do; the order of trees; how often a node was passed.
_WITHOUT_EFFECT = frozenset(
    {
        ("ignored", "StringNormalizer", "locale"),
        ("reversed", "StringNormalizer", "stopwords"),
        ("ignored", "LinearClassifier", "multi_class"),
        ("ignored", "OneHotEncoder", "zeros"),
        ("ignored", "TopK", "sorted"),
        ("reversed", "TreeEnsemble", "tree_roots"),
        ("ignored", "TreeEnsembleRegressor", "nodes_hitrates"),
        ("ignored", "TreeEnsembleClassifier", "nodes_hitrates"),
    }
)
# The least precision of what lies between: a definition that computes in more has no use for it, and is right.
_LEAST = frozenset({"stash_type", "accuracy_level"})
# One that is the same as another where no pads are given; where no region is given, and more than one pixel comes out.
_SAME = frozenset(
    {
        ("auto_pad", "VALID", "NOTSET"),
        ("coordinate_transformation_mode", "align_corners", "tf_crop_and_resize"),
    }
)


def _changed(name: str, change: Callable[[Any], Any]) -> Callable[[Subject], Outputs]:
    """With one attribute's value changed where it is there; `NotApplicable` where it stays the same."""

    def spoil(subject: Subject) -> Outputs:
        attributes = dict(subject.ready.attributes)
        if name not in attributes:
            raise NotApplicable
        before = attributes[name]
        after = change(before)
        if isinstance(before, (onnx.TensorProto, onnx.GraphProto)) or after == before:
            raise NotApplicable
        if after is None:
            del attributes[name]
        else:
            attributes[name] = after
        return subject.evaluate(attributes=attributes)

    return spoil


def _ignored(name: str) -> Callable[[Subject], Outputs]:
    def spoil(subject: Subject) -> Outputs:
        if subject.case.operator == "Constant":  # without its one attribute it has nothing to give
            raise NotApplicable
        default = schema_defaults(subject.case.operator, subject.case.opset, subject.case.domain).get(name)
        return _changed(name, lambda value: default)(subject)

    return spoil


def _halves(value: Any) -> Any:
    half = len(value) // 2
    return [*value[half:], *value[:half]]


def _seen(operator: Operator) -> Mapping[str, list[Any]]:
    """The values of every attribute that the samples set, in order."""
    values: dict[str, list[Any]] = {}
    for sample in samples_of(operator):
        if not sample.refuse:
            for name, value in sample.attributes.items():
                if value not in values.setdefault(name, []):
                    values[name].append(value)
    return values


def _mode(name: str, of: str, to: str) -> Defect:
    return Defect(f"taken-for:{name}={of}->{to}", _changed(name, lambda value: to if value == of else value))


def defects(operator: Operator) -> list[Defect]:
    """For every attribute that a sample sets."""
    if all(isinstance(r, Random) for r in operator.rules):
        return []
    found: list[Defect] = []
    for name, values in sorted(_seen(operator).items()):
        if any(isinstance(v, (onnx.TensorProto, onnx.GraphProto)) for v in values):
            continue
        if name in TYPE_ATTRIBUTES:  # another type of the output is a defect of outputs
            continue
        silent = (
            never if name in _REDUNDANT | _LEAST or ("ignored", operator.name, name) in _WITHOUT_EFFECT else None
        )
        found.append(Defect(f"ignored:{name}", _ignored(name), silent=silent))
        lists = [v for v in values if isinstance(v, (list, tuple)) and len(v) > 1 and len(set(v)) > 1]
        if lists:
            turned = _changed(name, lambda v: list(reversed(v)))
            free = name in {"axes", *_REDUNDANT} or ("reversed", operator.name, name) in _WITHOUT_EFFECT
            found.append(Defect(f"reversed:{name}", turned, silent=never if free else None))
            first = _changed(name, lambda v: [v[0]] * len(v))
            found.append(Defect(f"first-for-all:{name}", first, silent=never if name in _REDUNDANT else None))
        if name == "pads" and lists:
            found.append(Defect(f"ends-swapped:{name}", _changed(name, _halves)))
        if name not in _MODES:
            continue
        modes = list(dict.fromkeys(v for v in values if isinstance(v, str) and v))
        default = next((v for v in (schema_defaults(operator.name, 21, operator.domain).get(name),) if v), None)
        modes += [default] if isinstance(default, str) and default not in modes else []
        if len(modes) > 1:
            pairs = zip(modes, [*modes[1:], modes[0]], strict=True)
            found += [_mode(name, of, to) for of, to in pairs if (name, of, to) not in _SAME]
    return found
