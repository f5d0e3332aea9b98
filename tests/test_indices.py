"""Indices: both ends of an axis from the front and from the back, and what lies beyond them where ONNX says what that is.

Beyond is an error for the gathers and ScatterElements ("It is an error if any of the index values are out
of bounds"), all off for OneHot, clamped for Slice, and discarded for Compress. Of lengths of ReverseSequence and of
positions of TensorScatter that are too large, ONNX says nothing: none is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest

from conformance.graphs import attributes_of, build
from conformance.operators import catalogue
from conformance.plan import samples_of
from conformance.spec import Sample

Asked = tuple[Sample, dict[str, np.ndarray], dict[str, object]]


def _asked(name: str) -> Iterator[Asked]:
    """The samples of an operator with all their inputs by name, constants too, and their attributes."""
    operator = catalogue()["", name]
    for sample in samples_of(operator):
        opset = sample.opset or 24
        dtype = (sample.dtypes or ("float32",))[0]
        if sample.model is not None or (sample.refuse and "inputs" in sample.name):
            continue
        content = build(operator, sample, dtype, opset, f"indices/{sample.name}")
        (node,) = content.model.graph.node
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in content.model.graph.initializer}
        for feed in content.feeds:
            given = {**constants, **feed}
            yield sample, given, attributes_of(node, opset)


def _sizes(
    name: str, given: dict[str, np.ndarray], attributes: dict[str, object]
) -> Iterator[tuple[np.ndarray, int]]:
    """Indices with the size of the axis that they are positions of."""
    data, indices = given["data"], given["indices"]
    if name.endswith("ND"):
        batch = int(attributes.get("batch_dims", 0))  # type: ignore[call-overload]
        for part in range(min(indices.shape[-1] if indices.ndim else 0, data.ndim - batch)):
            yield indices[..., part], data.shape[batch + part]
    elif -data.ndim <= int(attributes["axis"]) < data.ndim:  # type: ignore[call-overload]
        yield indices, data.shape[int(attributes["axis"])]  # type: ignore[call-overload]


INDEXED = ("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND")


@pytest.mark.parametrize("name", INDEXED)
def test_positions_reach_both_ends_from_the_front_and_from_the_back(name: str) -> None:
    met = set()
    for sample, given, attributes in _asked(name):
        for values, size in [] if sample.refuse else _sizes(name, given, attributes):
            if size > 1:
                ends = {0: "first", size - 1: "last", -1: "last from the back", -size: "first from the back"}
                met |= {text for value, text in ends.items() if (values == value).any()}
            assert ((values >= -size) & (values < size)).all(), sample.name
    assert met == {"first", "last", "last from the back", "first from the back"}


# Of ScatterND, ONNX only says that positions "are expected in the valid range".
@pytest.mark.parametrize("name", [n for n in INDEXED if n != "ScatterND"])
def test_the_positions_next_to_both_ends_have_to_be_refused(name: str) -> None:
    found = set()
    for sample, given, attributes in _asked(name):
        if sample.refuse and given["indices"].dtype.kind == "i":
            for values, size in _sizes(name, given, attributes):
                held = "held" if sample.inputs[1] is not None and sample.inputs[1].constant else "run"
                found |= {(held, "behind")} if (values == size).any() else set()
                found |= {(held, "before")} if (values == -size - 1).any() else set()
    assert found >= {("run", "behind"), ("run", "before"), ("held", "behind")}


# An axis on either side of what is accepted.
@pytest.mark.parametrize(
    "name", ["Gather", "GatherElements", "ScatterElements", "OneHot", "Compress", "TopK", "Split"]
)
def test_an_axis_counts_from_the_back_and_one_beyond_has_to_be_refused(name: str) -> None:
    accepted = {int(s.attributes["axis"]) for s in samples_of(catalogue()["", name]) if "axis" in s.attributes}
    assert min(accepted) < 0 < max(accepted)
    assert [s for s in samples_of(catalogue()["", name]) if s.refuse and s.name == "axis-out-of-range"]


def test_one_hot_positions_inside_reach_both_ends_and_those_outside_are_all_off() -> None:
    inside, outside = set(), set()
    for sample, given, _ in _asked("OneHot"):
        depth = int(np.reshape(given["depth"], ()))
        values = given["indices"].astype(np.int64)
        if not sample.refuse:
            inside |= {v for v in (0, depth - 1, -1, -depth) if (values == v).any()} if depth == 5 else set()
            outside |= {v for v in (depth, -depth - 1) if (values == v).any()}
    assert inside == {0, 4, -1, -5}
    assert outside == {5, -6}


def test_slices_are_clamped_at_both_ends_in_both_directions() -> None:
    met = set()
    for sample, given, _ in _asked("Slice"):
        data = given["data"]
        axes = given.get("axes", np.arange(len(given["starts"])))
        steps = given.get("steps", np.ones_like(given["starts"]))
        if sample.refuse or not (len(axes) == len(steps) == len(given["starts"])):
            continue
        for start, end, axis, step in zip(given["starts"], given["ends"], axes, steps, strict=True):
            size, way = data.shape[axis], "forward" if step > 0 else "backward"
            met |= {(way, "start before")} if start < -size else set()
            met |= {(way, "start behind")} if start > size else set()
            met |= {(way, "end before")} if end < -size else set()
            met |= {(way, "end behind")} if end > size else set()
            met |= {(way, "negative start")} if -size <= start < 0 else set()
            met |= {(way, "negative end")} if -size <= end < 0 else set()
    places = ("start before", "start behind", "end before", "end behind", "negative start", "negative end")
    missing = {(way, place) for way in ("forward", "backward") for place in places} - met
    # Backward, an end behind the last element leaves nothing, as does forward an end before the first.
    assert missing <= {("backward", "end behind"), ("forward", "end before")}


def test_the_number_of_largest_elements_is_one_all_and_no_more() -> None:
    asked, refused = set(), set()
    for sample, given, attributes in _asked("TopK"):
        axis = int(attributes["axis"])  # type: ignore[call-overload]
        if -given["X"].ndim <= axis < given["X"].ndim and given["K"].dtype == np.int64:
            k, size = int(given["K"][0]), given["X"].shape[axis]
            (refused if sample.refuse else asked).update({"one"} if k == 1 else {"all"} if k == size else set())
            refused |= {"more"} if sample.refuse and k > size else {"less"} if sample.refuse and k < 0 else set()
    assert asked >= {"one", "all"}
    assert refused == {"more", "less"}


def test_positions_in_a_cache_reach_its_last_place_and_wrap_only_where_they_may() -> None:
    last, wrapped = False, False
    for sample, given, attributes in _asked("TensorScatter"):
        axis = int(attributes["axis"])  # type: ignore[call-overload]
        size, count = given["past_cache"].shape[axis], given["update"].shape[axis]
        start = given.get("write_indices", np.zeros(1, np.int64))
        beyond = (start + count > size).any()
        assert not beyond or attributes["mode"] == "circular", sample.name
        last |= bool((start + count == size).any())
        wrapped |= bool(beyond)
    assert last
    assert wrapped


def test_reversed_lengths_and_kept_rows_end_with_their_axes() -> None:
    lengths = [
        (g["sequence_lens"], g["input"].shape[int(a["time_axis"])])
        for s, g, a in _asked("ReverseSequence")
        if not s.refuse
    ]  # type: ignore[call-overload]
    assert any((n == size).any() for n, size in lengths)
    assert any((n == 0).any() for n, _ in lengths)
    assert all((n <= size).all() for n, size in lengths)
    conditions = [
        (g["condition"], g["input"].shape[int(a["axis"])])
        for s, g, a in _asked("Compress")
        if "axis" in a and not s.refuse
    ]  # type: ignore[call-overload]
    assert any(len(c) < size for c, size in conditions)
    assert any(c[-1] and len(c) == size for c, size in conditions)


def test_parts_are_empty_whole_and_add_up_or_are_refused() -> None:
    sizes = [
        (s, g["split"], g["input"].shape[int(a["axis"])])
        for s, g, a in _asked("Split")
        if "split" in g and int(a["axis"]) < g["input"].ndim
    ]  # type: ignore[call-overload]
    assert any(0 in parts for s, parts, _ in sizes if not s.refuse)
    assert all(parts.sum() == size for s, parts, size in sizes if not s.refuse)
    assert {s.name for s, parts, size in sizes if s.refuse} >= {"wrong-sum", "negative-size"}


def test_the_limit_of_selected_boxes_is_none_some_and_more_than_there_are() -> None:
    limits = set()
    for sample, given, _ in _asked("NonMaxSuppression"):
        most = given.get("max_output_boxes_per_class")
        if most is not None and not sample.refuse:
            boxes = given["boxes"].shape[1]
            limits.add("none" if int(most) == 0 else "all" if int(most) >= boxes else "some")
    assert limits == {"none", "some", "all"}
