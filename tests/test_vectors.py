"""ONNX's published node vectors by the catalogue's definitions: run in the vectors' own types as a backend does, and
held against the bounds; in float64, and held against the published outputs. docs/vectors.md explains the misses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from conformance import interpreter
from conformance.backends.torch import Backend, Unsupported
from conformance.casework import Casework, Ready
from conformance.graphs import Node
from conformance.plan import Plan, Selection
from conformance.pool import Outcome
from conformance.run import verdict_of
from conformance.spec import Operator, Verdict
from conformance.vector_oracle import rounded
from conformance.vectors import Vector, case_of, collect, defined, flat, similar, unjudged

# What the torch backend does not pass, and why.
MISSED = {
    "test_mvn": "onnx's checker cannot infer the body of this function where its attribute is left out",
}
# Where the definition in float64 does not give what is published, within ONNX's tolerance, and who is right.
UNLIKE = {
    "test_dft_inverse": "float32 leaves 1e-7 and more where the definition has zero",
    "test_dft_inverse_opset19": "float32 leaves 1e-7 and more where the definition has zero",
    "test_dynamicquantizelinear": "-2.5 / (5 / 255) is -127.5: either neighbour is right",
    "test_dynamicquantizelinear_expanded": "-2.5 / (5 / 255) is -127.5: either neighbour is right",
    "test_maxunpool_export_with_output_shape": "its indices count in the inferred shape, not in the output's",
    "test_resize_downsample_scales_linear_align_corners": "it takes scale times length, 2.4, for the length",
    "test_resize_downsample_scales_cubic_align_corners": "it takes scale times length, 3.2, for the length",
}


@pytest.fixture(scope="module")
def vectors() -> list[Vector]:
    return collect()


@pytest.fixture(scope="module")
def cases(vectors: list[Vector], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ready]]:
    """The vectors that the catalogue defines, each with its reference and bound."""
    with _casework(_defined(vectors), tmp_path_factory.mktemp("cache")) as casework:
        yield _ready(casework)


def _casework(vectors: Iterable[Vector], cache: Path) -> Casework:
    found = {case.id: (case, v) for case, v in ((case_of(v), v) for v in vectors)}
    cases = tuple(case for case, _ in found.values())
    return Casework(Plan(Selection("vectors"), cases, (), {k: v for k, (_, v) in found.items()}), cache)


def _ready(casework: Casework) -> dict[str, Ready]:
    return {ready.case.id.removeprefix("vectors/"): ready for ready in casework.ready(lambda case: False)}


def _defined(vectors: Iterable[Vector]) -> list[Vector]:
    return [v for v in vectors if not unjudged(v) and defined(v)]


def _run(vector: Vector, path: Path, backend: Backend) -> Outcome:
    """What the worker would answer, without the worker: isolation is tested elsewhere, and takes its time."""
    try:
        return Outcome(vector.name, "ok", outputs=[backend.prepare(str(path))(dict(vector.feed))])
    except Unsupported as reason:
        return Outcome(vector.name, "unsupported", str(reason))
    except Exception as error:  # noqa: BLE001  (as the worker: whatever a backend raises is its answer)
        return Outcome(vector.name, "error", f"{type(error).__name__}: {error}")


def missed(vectors: Iterable[Vector], cases: Mapping[str, Ready]) -> dict[str, str]:
    """The vectors that the torch backend does not pass, with the reason."""
    backend, found = Backend(), {}
    for vector in vectors:
        case = cases[vector.name]
        judgement = verdict_of(case, _run(vector, case.model, backend))
        if judgement.verdict is not Verdict.PASS:
            found[vector.name] = f"{judgement.verdict}: {judgement.message}"
    return found


def unlike(vectors: Iterable[Vector], cases: Mapping[str, Ready]) -> set[str]:
    """The vectors whose published outputs the definition in float64 does not give."""
    found = set()
    for vector in vectors:
        expected = cases[vector.name].expected
        assert expected is not None
        if not similar(vector, [rounded(e) for e in expected[0]]):
            found.add(vector.name)
    return found


def share(missing: Sequence[str] | Mapping[str, str], of: Sequence[Vector]) -> Fraction:
    return 1 - Fraction(len(missing), len(of))


def test_nearly_all_vectors_have_a_verdict_and_a_definition(vectors: list[Vector]) -> None:
    """Else a share of 99 % would say little: what falls out of it is counted here."""
    assert len(vectors) > 1800
    assert len({v.name for v in vectors}) == len(vectors)
    assert {unjudged(v) for v in vectors} <= {"", "random"}
    assert sum(unjudged(v) == "random" for v in vectors) == 3
    lists = [v for v in vectors if not unjudged(v) and any(isinstance(o, list) for o in v.outputs)]
    assert len(lists) >= 25
    assert len(_defined(vectors)) / len(vectors) > 0.93


def test_the_torch_backend_passes_the_vectors_but_those_that_are_explained(
    vectors: list[Vector], cases: dict[str, Ready]
) -> None:
    of = _defined(vectors)
    found = missed(of, cases)
    assert share(found, of) >= Fraction(99, 100), found
    assert found.keys() == MISSED.keys(), {n: m for n, m in found.items() if n not in MISSED}


def test_the_definitions_give_the_published_outputs_but_those_that_are_explained(
    vectors: list[Vector], cases: dict[str, Ready]
) -> None:
    of = _defined(vectors)
    found = unlike(of, cases)
    assert share(sorted(found), of) >= Fraction(99, 100)
    assert found == UNLIKE.keys()


def _same(a: object, b: object) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and (a.dtype == object or a.tobytes() == b.tobytes())
    return a is None and b is None


def test_vectors_from_the_cache_are_those_that_onnx_makes(
    vectors: list[Vector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr("conformance.vectors._made", lambda: made.append(1) or vectors)
    assert collect(tmp_path) is vectors
    kept = collect(tmp_path)
    assert len(made) == 1
    assert [(v.name, v.model, v.rtol, v.atol) for v in kept] == [
        (v.name, v.model, v.rtol, v.atol) for v in vectors
    ]
    for a, b in zip(kept, vectors, strict=True):
        assert list(a.feed) == list(b.feed), a.name
        assert _same([*a.feed.values(), *a.outputs], [*b.feed.values(), *b.outputs]), a.name
        assert unjudged(a) == unjudged(b)


@pytest.mark.parametrize("harm", ["cut", "empty", "noise"])
def test_a_damaged_cache_of_vectors_is_made_again(
    vectors: list[Vector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr("conformance.vectors._made", lambda: vectors[:3])
    collect(tmp_path)
    (path,) = (tmp_path / "vectors").iterdir()
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-1], "empty": b"", "noise": b"\0" * len(whole)}[harm])
    assert [v.name for v in collect(tmp_path)] == [v.name for v in vectors[:3]]
    assert path.read_bytes() == whole


def _with(name: str, meaning: object, patch: pytest.MonkeyPatch) -> None:
    """Have one operator mean something else, for whoever asks from now on."""
    real = interpreter.operator_of

    def planted(node: Node) -> Operator:
        operator = real(node)
        return replace(operator, meaning=meaning) if node.operator == name else operator

    patch.setattr(interpreter, "operator_of", planted)


def _slope(x: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(1.01 * x)


def test_a_wrong_computation_is_missed_by_the_bound(
    vectors: list[Vector], cases: dict[str, Ready], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [v for v in _defined(vectors) if v.operators == {"Sigmoid"}]
    assert not missed(some, cases)
    _with("Sigmoid", _slope, monkeypatch)
    assert missed(some, cases).keys() == {v.name for v in some}


def test_a_wrong_definition_is_missed_by_the_published_output_only(
    vectors: list[Vector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend and the reference are the same definition: without the published outputs they agree for ever."""
    some = [v for v in _defined(vectors) if v.operators == {"Sigmoid"}]
    _with("Sigmoid", _slope, monkeypatch)
    with _casework(some, tmp_path) as casework:
        cases = _ready(casework)
        assert not missed(some, cases)
        assert unlike(some, cases) == {v.name for v in some}


@pytest.mark.parametrize("change", ["value", "dtype", "shape", "count"])
def test_other_outputs_are_not_similar(vectors: list[Vector], change: str) -> None:
    vector = next(v for v in vectors if v.name == "test_add")
    (array,) = vector.outputs
    other = {
        "value": [array * np.float32(1.002)],
        "dtype": [array.astype(np.float64)],
        "shape": [array[None]],
        "count": [array, array],
    }
    assert similar(vector, [array * np.float32(1.0005)])
    assert not similar(vector, other[change])


# The vectors with sequences among their values, which the catalogue does not define: a backend that gives what is
# published, and ones that do not.
SPOILT = {
    "one tensor more": lambda o: [*o, o[-1]],
    "one tensor less": lambda o: o[:-1],
    "another order": lambda o: o[::-1],
    "another value": lambda o: [*o[:-1], o[-1] + o[-1].dtype.type(1)],
    "another shape": lambda o: [*o[:-1], o[-1][None]],
    "another dtype": lambda o: [*o[:-1], o[-1].astype(np.float64)],
    "no sequence": lambda o: o[0],
    "None": lambda o: None,
}


@pytest.fixture(scope="module")
def sequences(vectors: list[Vector], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ready]]:
    some = [v for v in vectors if not unjudged(v) and any(isinstance(o, list) for o in v.outputs)]
    with _casework(some, tmp_path_factory.mktemp("cache")) as casework:
        yield _ready(casework)


def test_published_sequences_pass_and_are_similar(vectors: list[Vector], sequences: dict[str, Ready]) -> None:
    for vector in (v for v in vectors if v.name in sequences):
        outcome = Outcome(vector.name, "ok", outputs=[list(vector.outputs)])
        assert verdict_of(sequences[vector.name], outcome).verdict is Verdict.PASS, vector.name
        assert similar(vector, vector.outputs)


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_sequence_is_wrong_wherever_it_stands(
    vectors: list[Vector], sequences: dict[str, Ready], how: str
) -> None:
    changed = 0
    for vector in (v for v in vectors if v.name in sequences):
        for position, output in enumerate(vector.outputs):
            spoilt = SPOILT[how](output)
            if _same(spoilt, output):  # a palindrome
                continue
            outputs = [*vector.outputs[:position], spoilt, *vector.outputs[position + 1 :]]
            judgement = verdict_of(sequences[vector.name], Outcome(vector.name, "ok", outputs=[outputs]))
            assert judgement.verdict in (Verdict.WRONG, Verdict.INACCURATE), vector.name
            assert judgement.message.startswith(f"output {position}"), judgement.message
            assert judgement.error["output"] == position
            assert not similar(vector, outputs), vector.name
            changed += 1
    assert changed > 20


def test_what_only_moves_data_is_equal_or_wrong(vectors: list[Vector], sequences: dict[str, Ready]) -> None:
    """A float may be off by ONNX's tolerance only where something computes it."""
    (vector,) = [v for v in vectors if v.name == "test_split_to_sequence_1"]
    (items,) = vector.outputs
    off = [[items[0] * np.float32(1.0005), *items[1:]]]
    judgement = verdict_of(sequences[vector.name], Outcome(vector.name, "ok", outputs=[off]))
    assert (judgement.verdict, similar(vector, off)) == (Verdict.WRONG, True)
    assert judgement.message.startswith("output 0[0] (float32")


@pytest.mark.parametrize(
    "outputs", [[], [1.0], ["text"], [np.zeros(2, "datetime64[s]")], [None], [{"a": 1}], [[[]]]]
)
def test_whatever_is_returned_can_be_asked_whether_it_is_similar(
    vectors: list[Vector], outputs: list[object]
) -> None:
    for name in ("test_add", "test_sequence_insert_at_back"):
        assert not similar(next(v for v in vectors if v.name == name), outputs)


def test_the_digest_of_a_vector_is_of_its_content(vectors: list[Vector]) -> None:
    cases = {v.name: case_of(v).digest for v in vectors if not unjudged(v)}
    vector = next(v for v in vectors if v.name == "test_sequence_insert_at_back")
    assert case_of(vector).digest == cases[vector.name]
    others = [
        replace(vector, outputs=[vector.outputs[0][:-1]]),
        replace(vector, outputs=[[*vector.outputs[0][:-1], vector.outputs[0][-1] + 1]]),
        replace(vector, feed={**vector.feed, "tensor": flat(vector.outputs)[0] + 7}),
        replace(vector, model=next(v.model for v in vectors if v.name == "test_sequence_insert_at_front")),
    ]
    assert len({case_of(v).digest for v in others} | {cases[vector.name]}) == 5
