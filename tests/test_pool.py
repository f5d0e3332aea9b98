"""Planted backends misbehave in every way that drivers do; each case must get its own verdict all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance import process, protocol
from conformance.errors import UsageError
from conformance.pool import DEPTH, Launch, Odd, Outcome, Pool, Task, _Errand, _Slot

PLANTED = Path(__file__).parent / "backends_planted"
X = np.arange(3, dtype=np.float32)


def planted(name: str, **arguments: Any) -> Launch:
    return Launch(f"{PLANTED / 'misbehaving.py'}:{name}", **arguments)


def task(model: str, x: np.ndarray = X, **arguments: Any) -> Task:
    return Task(model, Path("/nowhere") / model, ({"x": x},), **arguments)


def outcomes(launch: Launch, *tasks: Task, jobs: int = 1) -> dict[str, Outcome]:
    with Pool(launch, jobs) as pool:
        return {outcome.id: outcome for outcome in pool.run(tasks)}


@pytest.fixture(scope="module")
def named() -> Iterator[Pool]:
    """A pool that goes through all the deaths below and still works."""
    with Pool(planted("Named", memory=250 << 20)) as pool:
        yield pool


def one(pool: Pool, *tasks: Task) -> Outcome:
    *_, last = pool.run(tasks)
    return last


# ------------------------------------------------------------------------------------- deaths and refusals

# Deaths last: what follows one is the first in its process, and need not be run again alone.
ENDS = [
    ("leave", "error", "SystemExit in run: 4"),
    ("decline", "unsupported", "no such kernel"),
    ("escape", "error", "Escape in run: out"),
    ("interrupt", "error", "KeyboardInterrupt in run"),
    ("unprintable", "error", "Unprintable in run: <Unprintable whose text cannot be had: RuntimeError>"),
    ("memory", "out-of-memory", "MemoryError in run"),
    ("segfault", "crash", "killed by SIGSEGV"),
    ("device_memory", "out-of-memory", "CUDA error: out of memory"),
    ("abort", "crash", "killed by SIGABRT"),
    ("bad_alloc", "out-of-memory", "std::bad_alloc"),
    ("vanish", "crash", "exited with status 0 and no answer"),
    ("status3", "crash", "exited with status 3"),
    ("orphan", "crash", "exited with status 5"),
    ("garbage", "malformed", "something else than an answer"),
    ("close_all", "crash", "no answer"),
    ("mute", "crash", "closed the channel"),
]


@pytest.mark.parametrize(("how", "status", "message"), ENDS, ids=[end[0] for end in ENDS])
def test_each_way_to_fail_has_its_status_and_reason(named: Pool, how: str, status: str, message: str) -> None:
    outcome = one(named, task(how))
    assert outcome.status == status
    assert message in outcome.message


def test_a_hang_is_a_timeout_and_the_log_says_where(named: Pool) -> None:
    outcome = one(named, task("hang", timeout=1.0))
    assert (outcome.status, outcome.message) == ("timeout", "no answer within 1 s")
    assert "in hang" in outcome.log


def test_a_crash_leaves_its_output_and_stack_in_the_log(named: Pool) -> None:
    outcome = one(named, task("segfault"))
    assert "about to crash" in outcome.log
    assert "in segfault" in outcome.log


def test_temporary_files_of_a_killed_process_go_with_it() -> None:
    with Pool(planted("Named")) as pool:
        folder = Path(one(pool, task("litter")).log.partition("\n")[0])
        assert folder.parent.parent == pool._scratch.disk
        assert not folder.exists()
        assert one(pool, task("good")).status == "ok"


def test_a_rude_message_is_cleaned_and_cut(named: Pool) -> None:
    message = one(named, task("rude")).message
    assert message.startswith("ValueError in run: bell\\x07 escape\\x1b[31m null\\x00 surrogate\\udc80 xxx")
    assert len(message) <= protocol.MESSAGE_LIMIT + 50


def test_one_crash_in_ten_costs_no_other_case_its_verdict() -> None:
    found = outcomes(planted("EveryTenth"), *(task(str(n)) for n in range(20)), jobs=2)
    assert {int(i) for i, o in found.items() if o.status == "crash"} == {0, 10}
    assert sum(o.status == "ok" for o in found.values()) == 18
    assert all(o.after is None for o in found.values())


def test_noise_on_both_streams_neither_blocks_nor_answers() -> None:
    outcome = outcomes(planted("Noisy"), task("good"))["good"]
    assert outcome.status == "ok"
    np.testing.assert_array_equal(outcome.outputs[0][0], X + 1)
    assert outcome.log.endswith("100%")
    assert len(outcome.log) <= 2000


def test_a_forked_copy_of_the_worker_does_not_answer_too(named: Pool) -> None:
    assert one(named, task("fork")).status == "ok"
    assert one(named, task("good", X + 5)).outputs[0][0].tolist() == [6.0, 7.0, 8.0]


# ----------------------------------------------------------------------------------------- starts


@pytest.mark.parametrize(
    ("launch", "status", "message", "log"),
    [
        (Launch(str(PLANTED / "dies_at_import.py")), "crash", "exited with status 9", "no device"),
        (planted("Starts", options={"how": "exit"}), "crash", "(licence expired)", "licence expired"),
        (
            planted("Starts", options={"how": "raise"}),
            "error",
            "OSError in start: the device is busy",
            "Traceback",
        ),
        (planted("Starts", options={"how": "decline"}), "unsupported", "no device", ""),
        (planted("Starts", options={"how": "hang"}, start_timeout=0.5), "timeout", "did not start", ""),
        (planted("Starts", options={"how": "no-dict"}), "error", "returned str, not a dict", ""),
        (planted("Starts", options={"speed": "9"}), "error", "unexpected keyword argument", ""),
        (planted("NoPrepare"), "error", "has no prepare method", ""),
        (planted("Missing"), "error", "has no Missing", ""),
        (Launch(str(PLANTED / "misbehaving.py")), "error", "has several backends: Caches, Company, ", ""),
        (Launch("no.such.module:Class"), "error", "ModuleNotFoundError", ""),
    ],
)
def test_a_backend_that_does_not_start_gives_each_case_that_verdict(
    launch: Launch, status: str, message: str, log: str
) -> None:
    outcome = outcomes(launch, task("a"))["a"]
    assert outcome.status == status
    assert message in outcome.message
    assert log in outcome.log


def test_a_backend_that_does_not_start_describes_why() -> None:
    with Pool(planted("Starts", options={"how": "exit"})) as pool:
        described = pool.describe()
    assert described["name"] == "misbehaving"
    assert described["error"].startswith("crash: the backend did not start: exited with status 7")
    assert described["log"] == "licence expired"


def test_after_three_failed_starts_no_more_are_tried(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    launch = planted("Starts", options={"how": "raise", "log": str(starts)})
    found = outcomes(launch, *(task(str(n)) for n in range(50)))
    assert len(found) == 50
    assert {o.message for o in found.values()} == {"OSError in start: the device is busy"}
    assert len(starts.read_text(encoding="utf-8").splitlines()) == 3


def test_whatever_a_backend_says_of_itself_becomes_json() -> None:
    with Pool(planted("Starts")) as pool:
        described = pool.describe()
    assert described["version"] == [1, 2]
    assert described["memory"] == "5"
    assert described["nan"] == "nan"
    assert described["set"] == ["a", "b"]
    assert "cannot be had" in described["object"]
    assert described["supports"] == {"dtypes": ["float32"], "opset": [11, 21]}
    assert described["interpreter"]["numpy"] == np.__version__


def test_an_interpreter_that_is_none_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no such interpreter: /no/python"):
        Pool(planted("Good", python="/no/python"))


# ----------------------------------------------------------------------------------------- company


@pytest.mark.parametrize("poison", ["poison-crash", "poison-hang"])
def test_a_case_that_dies_only_in_company_passes_and_names_its_predecessor(poison: str) -> None:
    found = outcomes(planted("Company"), task(poison), task("victim", timeout=1.0), task("next"))
    assert [o.status for o in found.values()] == ["ok"] * 3
    assert [o.after for o in found.values()] == [None, poison, None]


def test_a_spoilt_device_is_charged_to_the_case_that_spoilt_it() -> None:
    found = outcomes(planted("Company"), task("first"), task("poison-context"), task("victim"), task("next"))
    assert [o.status for o in found.values()] == ["ok", "error", "ok", "ok"]
    assert [o.after for o in found.values()] == [None, None, "poison-context", None]


def test_the_same_error_again_and_again_costs_one_restart_only(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    launch = planted("SameErrorAlways", options={"log": str(starts)})
    found = outcomes(launch, *(task(str(n)) for n in range(20)))
    assert {o.status for o in found.values()} == {"error"}
    assert len(starts.read_text(encoding="utf-8").splitlines()) == 2


# ------------------------------------------------------------------------------------ inputs and outputs


def test_inputs_are_fresh_for_every_run(named: Pool) -> None:
    outcome = one(named, task("overwrite"))
    assert outcome.repeat == "identical"
    assert outcome.outputs[0][0].tolist() == [1.0, 2.0, 3.0]


def test_a_buffer_that_the_backend_reuses_does_not_change_earlier_outputs() -> None:
    feeds = ({"x": X}, {"x": X * 10})
    found = outcomes(planted("ReusesBuffer"), Task("a", Path("a"), feeds))["a"]
    assert [o[0].tolist() for o in found.outputs] == [[1.0, 2.0, 3.0], [1.0, 11.0, 21.0]]
    assert found.repeat == "identical"


def test_a_second_answer_that_differs_comes_back_beside_the_first() -> None:
    found = outcomes(planted("Counts"), task("a"), task("b", repeats=1))
    assert found["a"].repeat == "differs"
    assert found["a"].outputs[0][1].tolist() == [1.0, 2.0, 3.0]
    assert found["a"].others[0][0][1].tolist() == [2.0, 3.0, 4.0]
    assert (found["b"].repeat, found["b"].others) == ("not-repeated", [])


def test_of_many_runs_every_answer_comes_back_once() -> None:
    found = outcomes(planted("Rare"), task("a", repeats=20))["a"]
    assert (found.repeat, found.runs) == ("differs", 20)
    assert found.outputs[0][0].tolist() == [1.0, 2.0, 3.0]
    assert [other[0].tolist() for other in found.others[0]] == [[2.0, 3.0, 4.0], [3.0, 4.0, 5.0]]


@pytest.mark.parametrize(
    ("backend", "least", "below"), [("Good", 0, 4096), ("Caches", 0, 4096), ("Leaks", 1e6, 2e6)]
)
def test_what_a_backend_keeps_of_every_run_is_growth(backend: str, least: float, below: float) -> None:
    found = outcomes(planted(backend), task("a", repeats=20), task("b", repeats=2))
    assert found["a"].growth is not None
    assert least <= found["a"].growth < below
    assert found["b"].growth is None


def test_the_payload_of_a_nan_is_no_difference() -> None:
    assert outcomes(planted("NewNaN"), task("a"))["a"].repeat == "identical"


OUTER = {
    "dict": "run() returned dict of 1",
    "none": "run() returned None",
    "array": "run() returned ndarray",
    "generator": "run() returned generator",
    "string": "run() returned str 'y'",
    "number": "run() returned float 3.5",
    "not-callable": "prepare() returned list",
    "list-of-numbers": "output 0 is list of 2",
    "float": "output 0 is float 2.5",
    "numpy-scalar": "output 0 is numpy.float32",
    "tensor": "FakeTensor",
    "matrix": "output 0 is numpy.matrix",
    "masked": "MaskedArray",
    "objects": "output 0 is numpy.ndarray of objects: ",
    "dates": "of dtype datetime64",
    "longdouble": "of dtype",
    "dict-item": "output 0 is dict of 1",
    "mixed-map": "output 0 is dict of 2",
}


@pytest.fixture(scope="module")
def returned() -> dict[str, Outcome]:
    names = [*OUTER, "nothing-item", "sequence", "empty-sequence", "strings", "bytes", "transposed", "strided"]
    names += ["map", "maps", "big-endian", "scalar", "empty", "readonly", "complex", "bool", "large"]
    return outcomes(Launch(str(PLANTED / "returns.py")), *map(task, names))


@pytest.mark.parametrize(("name", "message"), OUTER.items())
def test_a_wrong_return_type_is_malformed_and_named(returned: dict[str, Outcome], name: str, message: str) -> None:
    assert returned[name].status == "malformed"
    assert message in returned[name].message
    assert all(isinstance(output, Odd) for one in returned[name].outputs for output in one)


def test_every_kind_of_onnx_value_comes_back_as_it_was(returned: dict[str, Outcome]) -> None:
    def output(name: str) -> Any:
        assert (returned[name].status, returned[name].repeat) == ("ok", "identical"), returned[name]
        return returned[name].outputs[0][0]

    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert output("nothing-item") is None
    assert output("empty-sequence") == []
    assert [a.tolist() for a in output("sequence")] == [x.tolist(), (x + 1).tolist()]
    assert output("map") == {"b": 1.5, "a": 2.5}
    assert output("maps") == [{3: "x", 1: "y"}, {3: "", 1: "Γ"}]
    assert output("strings").tolist() == ["a", "ü", "日本"]
    assert output("bytes").tolist() == ["a", "\\xff"]
    for name, expected in {
        "transposed": x.T,
        "strided": x[:, ::2],
        "big-endian": x,
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float16),
        "readonly": np.ones((2, 2), np.float32),
        "complex": np.array([1 + 2j], np.complex64),
        "bool": np.array([True, False]),
        "large": np.arange(1_000_000, dtype=np.float64),
    }.items():
        assert (output(name).dtype, output(name).shape) == (expected.dtype, expected.shape), name
        np.testing.assert_array_equal(output(name), expected)


@pytest.mark.parametrize("size", [0, 1, protocol.FILE_BYTES // 2 - 1, protocol.FILE_BYTES // 2, 1_000_000])
def test_inputs_of_any_size_arrive_whole_and_leave_no_file(named: Pool, size: int) -> None:
    x = (np.arange(size) % 1000).astype(np.float16)
    outcome = one(named, task("alias", x))
    assert outcome.outputs[0][0].dtype == x.dtype
    np.testing.assert_array_equal(outcome.outputs[0][0], x)
    folders = [Path(folder) for folder in named._scratch.folders]
    assert [p.name for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix != ".log"] == []


EXTENDED = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4, ml_dtypes.uint4]


@pytest.mark.parametrize("dtype", EXTENDED)
def test_ml_dtypes_arrays_cross_the_channel(named: Pool, dtype: Any) -> None:
    x = np.array([0, 1, 2, 3], dtype).reshape(2, 2)
    outcome = one(named, task("alias", x))
    assert outcome.outputs[0][0].dtype == x.dtype
    assert outcome.outputs[0][0].tolist() == x.tolist()


# ------------------------------------------------------------------------------------------- the pool


def test_no_more_tasks_are_taken_than_keep_the_slots_busy() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[Task]:
        for n in range(20):
            taken.append(n)
            yield task(str(n))

    with Pool(planted("Good"), jobs=2) as pool:
        for done, _ in enumerate(pool.run(tasks()), 1):
            assert len(taken) < done + DEPTH * 2


def test_no_process_stands_idle_while_the_caller_is_busy_with_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = [threading.Event() for _ in range(5)]
    attend = _Slot.attend

    def begin(slot: _Slot, errand: _Errand, more: Callable[[], _Errand | None]) -> Outcome:
        begun[int(errand.task.id)].set()
        return attend(slot, errand, more)

    monkeypatch.setattr(_Slot, "attend", begin)

    with Pool(planted("Good")) as pool:
        for done, _ in enumerate(pool.run(task(str(n)) for n in range(5)), 1):
            assert all(event.wait(60) for event in begun[: done + DEPTH - 1])
            assert not any(event.is_set() for event in begun[done + DEPTH - 1 :])


def test_what_is_sent_before_its_turn_keeps_its_own_output() -> None:
    names = [f"case{n}" for n in range(40)]
    for name, outcome in outcomes(planted("Echo"), *map(task, names)).items():
        assert outcome.log == f"this is {name}"


def test_a_death_takes_nothing_with_it_that_was_sent_before_its_turn() -> None:
    found = outcomes(planted("Echo"), *map(task, ["a", "b", "crash", "c", "d"]))
    assert {name: outcome.status for name, outcome in found.items()} == {
        **dict.fromkeys("abcd", "ok"),
        "crash": "crash",
    }
    assert "this is crash" in found["crash"].log
    assert found["c"].log == "this is c"


def test_a_long_log_is_cut_between_two_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 20)
    with Pool(planted("Echo")) as pool:
        for outcome in pool.run(task(f"case{n}") for n in range(20)):
            assert outcome.log == f"this is {outcome.id}"
            assert (pool._scratch.disk / "slot0.log").stat().st_size < 100


def test_only_small_tasks_are_sent_before_their_turn_and_only_while_no_slot_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    early: list[str] = []
    take = Pool._take_small

    def taking(pool: Pool) -> _Errand | None:
        errand = take(pool)
        if errand is not None:
            early.append(errand.task.id)
        return errand

    monkeypatch.setattr(Pool, "_take_small", taking)
    large = np.zeros(protocol.FILE_BYTES, np.uint8)
    with Pool(planted("Good"), jobs=2) as pool:
        assert len(list(pool.run([task("a"), task("b")]))) == 2
        assert not early
        assert len(list(pool.run(task(f"large{n}", large) for n in range(10)))) == 10
        assert not early
        assert len(list(pool.run(task(f"small{n}") for n in range(50)))) == 50
        assert early


def test_an_error_in_the_tasks_reaches_the_caller() -> None:
    def tasks() -> Iterator[Task]:
        yield task("a")
        raise LookupError("no such case")

    with Pool(planted("Good")) as pool, pytest.raises(LookupError, match="no such case"):
        list(pool.run(tasks()))


def test_a_backend_is_closed_at_the_end(tmp_path: Path) -> None:
    farewell = tmp_path / "farewell"
    outcomes(planted("Good", options={"farewell": str(farewell)}), task("a"))
    assert farewell.read_text(encoding="utf-8") == "closed"
