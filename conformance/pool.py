"""Runs tasks in isolated backend processes, one a slot, and tells what came of each: verdicts are not its
business, but crashes, hangs, memory and silence are."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from . import protocol
from .errors import UsageError
from .process import Launch, Process, WorkerError
from .protocol import Odd
from .scratch import Scratch

__all__ = ["Launch", "Odd", "Outcome", "Pool", "Task"]

# A backend that fails so often to start, and never did, will not start at all; one that has started before gets
# more chances, because a device may need a while to come back from a crash.
STILLBIRTHS = 3
RELAPSES = 10


@dataclass(frozen=True, slots=True)
class Task:
    """A prepared model to run: ``feeds`` holds one or more sets of inputs by name (arrays; None for an absent
    optional; lists of arrays for sequences), each run ``repeats`` times. ``timeout``: seconds for all of it."""

    id: str
    model: Path
    feeds: tuple[Mapping[str, Any], ...]
    repeats: int = 2
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task.

    ``status``: "ok", "unsupported", "error", "crash", "timeout", "out-of-memory", or "malformed" (an answer that
    is no list of ONNX values). ``outputs``: for each feed the outputs in graph order: ndarray, list (a sequence),
    None (an absent optional) or ``Odd``. ``repeat``: "identical", "differs" or "not-repeated"; where it differs,
    ``others`` holds for each feed the outputs that came besides, each once. ``runs``: how often each feed was run to
    the end. ``growth``: bytes a run by which the process grew steadily (None: not measured, as over few runs).
    ``log``: the end of what was printed. ``seconds``: of the first run of all feeds, ``prepare_seconds`` before them;
    for a death, until then.
    ``after``: the task that ran before in the same process, if this one fails only in its company. ``stage``: where
    the backend itself declined or raised: "prepare", "run", or "" for what was not its answer to this task.
    ``packed``: how many tasks shared the model.
    """

    id: str
    status: str
    message: str = ""
    outputs: list[list[Any]] = field(default_factory=list)
    repeat: str = "not-repeated"
    others: list[list[list[Any]]] = field(default_factory=list)
    log: str = ""
    seconds: float = 0.0
    prepare_seconds: float = 0.0
    after: str | None = None
    stage: str = ""
    runs: int = 0
    growth: float | None = None
    packed: int = 1


class Pool:
    """Backend processes, at most ``jobs`` at a time; a context manager."""

    def __init__(self, launch: Launch, jobs: int = 1) -> None:
        """Raises ``UsageError`` where there is no such interpreter. Processes start when they are needed."""
        if launch.python is not None and shutil.which(launch.python) is None:
            raise UsageError(f"no such interpreter: {launch.python}")
        self._jobs = jobs
        self._scratch = Scratch()
        starts = _Starts()
        folders, disk = self._scratch.folders, self._scratch.disk
        self._slots = [_Slot(launch, folders, disk / f"slot{n}.log", starts) for n in range(jobs)]
        self._idle: queue.LifoQueue[_Slot] = queue.LifoQueue()  # last in, first out: a warm process is preferred
        for slot in reversed(self._slots):
            self._idle.put(slot)
        # Threads live as long as the pool: on Linux a worker dies with the thread that started it.
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="conformance-slot")

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(gently=kind is None)

    def describe(self) -> dict[str, Any]:
        """What the backend says of itself, "name" at least, and "interpreter". Where it does not start, "error"
        (with the status and the reason) and "log" instead; the tasks will then end so, too."""
        described: dict[str, Any] = self._threads.submit(self._with_slot, _Slot.describe).result()
        return described

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """The tasks' outcomes, in the order in which they finish.

        Tasks are taken from the iterable in the caller's thread, one more than there are slots: it waits for the
        first slot that is free, so that no process stands idle while the caller is busy with an outcome.
        """
        finished: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        source = iter(tasks)
        running = 0
        try:
            while True:
                while running <= self._jobs and (task := next(source, None)) is not None:
                    future = self._threads.submit(self._with_slot, _Slot.attend, task)
                    future.add_done_callback(finished.put)
                    running += 1
                if not running:
                    return
                outcome = finished.get().result()
                running -= 1
                yield outcome
        finally:
            if running:  # the caller gave up, or was interrupted
                for slot in self._slots:
                    slot.abort()

    def close(self, gently: bool = True) -> None:
        """End the processes; ``gently``: let the backend's ``close()`` run first, unless a task is under way."""
        if not gently or self._idle.qsize() < self._jobs:
            for slot in self._slots:
                slot.abort()
        # In the pool's threads, which outlive the processes that they started: see above.
        for closing in [self._threads.submit(slot.close) for slot in self._slots]:
            closing.result()
        self._threads.shutdown()
        self._scratch.close()

    def _with_slot(self, work: Any, *arguments: Any) -> Any:
        slot = self._idle.get()
        try:
            return work(slot, *arguments)
        finally:
            self._idle.put(slot)


class _Starts:
    """Counts the failed starts of all slots, until it is clear that the backend does not start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ever = False
        self._failures = 0
        self._last: Outcome | None = None

    def hopeless(self) -> Outcome | None:
        """The outcome of the last start, if there is no point in another."""
        with self._lock:
            return self._last if self._failures >= (RELAPSES if self._ever else STILLBIRTHS) else None

    def count(self, failure: Outcome | None) -> None:
        with self._lock:
            self._ever |= failure is None
            self._failures = 0 if failure is None else self._failures + 1
            self._last = failure


class _Slot:
    """One place for a process: attends to one task at a time, and replaces the process where it must."""

    def __init__(self, launch: Launch, folders: tuple[str, ...], log: Path, starts: _Starts) -> None:
        self._launch = launch
        self._folders = folders
        self._log = log
        self._starts = starts
        self._process: Process | None = None
        self._hello: dict[str, Any] = {}
        self._aborted = False
        self._previous: str | None = None  # the task that ran last in this process,
        self._trouble: str | None = None  # the message with which it failed, if it did,
        self._genuine: set[str] = set()  # and messages that a fresh process gave, too

    def describe(self) -> dict[str, Any]:
        failure = self._ensure()
        if failure is not None:
            name = Path(self._launch.spec).stem
            return {"name": name, "error": f"{failure.status}: {failure.message}", "log": failure.log}
        described = dict(self._hello["describe"])
        described["name"] = str(described.get("name") or Path(self._launch.spec).stem)
        return {**described, "interpreter": self._hello["interpreter"]}

    def attend(self, task: Task) -> Outcome:
        """The outcome of a task; where earlier tasks of the same process may be to blame, of the task alone."""
        arrays: list[np.ndarray] = []
        feeds = [{name: protocol.flatten(v, arrays) for name, v in feed.items()} for feed in task.feeds]
        header = {"op": "case", "model": str(task.model.absolute()), "feeds": feeds, "repeats": task.repeats}
        try:
            header["arrays"], pieces = protocol.pack(arrays, self._folders, f"in-{self._log.stem}")
        except OSError as error:
            raise UsageError(f"no room for the inputs of {task.id}: {error.strerror}") from None
        try:
            previous, trouble = self._previous, self._trouble
            outcome = self._ask(task, header, pieces)
            if previous is None or not self._suspect(outcome, trouble):
                return outcome
            self._drop()
            if self._ensure() is not None:
                return outcome
            alone = self._ask(task, header, pieces)
            if alone.status != outcome.status:
                return replace(alone, after=previous)
            self._genuine.add(alone.message)
            return alone
        finally:
            _unlink(header["arrays"], self._folders)

    def abort(self) -> None:
        """End the process at once and start no other; for any thread."""
        self._aborted = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Let the backend close, and end the process."""
        if self._process is not None and not self._aborted:
            self._process.close()
        self._drop()

    def _suspect(self, outcome: Outcome, trouble: str | None) -> bool:
        """Whether the tasks before this one may have caused its end."""
        if self._aborted:
            return False
        if self._process is None or outcome.status == "out-of-memory":
            return True
        # A device whose context is spoilt answers everything with one and the same error.
        return outcome.status == "error" and outcome.message == trouble and outcome.message not in self._genuine

    def _ask(self, task: Task, header: dict[str, Any], pieces: list[Any]) -> Outcome:
        failure = self._ensure()
        if failure is not None:
            return replace(failure, id=task.id)
        process = self._process
        assert process is not None
        process.clear_log()
        self._previous = task.id
        began = time.monotonic()
        try:
            outcome = self._read(task, *process.ask(header, pieces, task.timeout))
        except (WorkerError, protocol.ProtocolError) as death:
            status = death.status if isinstance(death, WorkerError) else "malformed"
            process.kill()
            outcome = Outcome(task.id, status, str(death), seconds=time.monotonic() - began)
        outcome = replace(outcome, log=process.log_tail())
        self._trouble = outcome.message if outcome.status == "error" else None
        if process.dead:
            self._drop()
        return outcome

    def _read(self, task: Task, answer: dict[str, Any], payload: memoryview) -> Outcome:
        status = answer.get("status")
        if status != "ok":
            return Outcome(task.id, str(status), str(answer.get("message")), stage=str(answer.get("stage", "")))
        try:
            arrays = protocol.load(answer["arrays"], payload, self._folders)

            def values(one: Any) -> list[Any]:
                return [protocol.unflatten(item, arrays) for item in one]

            outputs = [values(one) for one in answer["outputs"]]
            others = [[values(one) for one in kept] for kept in answer["others"]]
            seconds, preparing = float(answer["seconds"]), float(answer["prepare"])
            growth = None if answer["growth"] is None else float(answer["growth"])
        except (KeyError, TypeError) as error:
            raise protocol.ProtocolError(f"an answer without {error}") from None
        finally:
            _unlink(answer.get("arrays", ()), self._folders)
        odd = [
            (n, o)
            for one in [*outputs, *(one for kept in others for one in kept)]
            for n, o in enumerate(one)
            if isinstance(o, Odd)
        ]
        message = f"output {odd[0][0]} is {odd[0][1]}, not an array" if odd else ""
        status = "malformed" if odd else "ok"
        return Outcome(
            task.id,
            status,
            message,
            outputs,
            str(answer["repeat"]),
            others,
            seconds=seconds,
            prepare_seconds=preparing,
            runs=task.repeats,
            growth=growth,
        )

    def _ensure(self) -> Outcome | None:
        """Have a process with the backend loaded; or the outcome of trying."""
        if self._process is not None:
            return None
        if self._aborted:
            return Outcome("", "crash", "the run was stopped")
        failure = self._starts.hopeless()
        if failure is not None:
            return failure
        began = time.monotonic()
        try:
            process = self._process = Process(self._launch, self._folders, self._log)
        except OSError as error:
            raise UsageError(f"cannot start {self._launch.python or 'the worker'}: {error.strerror}") from None
        if self._aborted:  # since it was asked above: the one who stopped the run did not see this process
            process.kill()
        try:
            self._hello = process.hello()
            status, message = str(self._hello["status"]), str(self._hello.get("message", ""))
        except WorkerError as death:
            last = process.log_tail().rpartition("\n")[2]
            status, message = death.status, f"the backend did not start: {death}" + (last and f" ({last})")
        if status != "ok":
            process.kill()
            log = process.log_tail()
            failure = Outcome("", status, message, log=log, seconds=time.monotonic() - began)
            self._drop()
        self._starts.count(failure)
        return failure

    def _drop(self) -> None:
        """Forget the process, dead or alive, with all that it left in the scratch folders."""
        process, self._process = self._process, None
        self._previous = self._trouble = None
        if process is not None:
            process.kill()
            process.release()
            for folder in self._folders:
                for path in Path(folder).glob(f"{self._log.stem}-*"):
                    path.unlink(missing_ok=True)


def _unlink(specs: Any, folders: tuple[str, ...]) -> None:
    for spec in specs if isinstance(specs, list) else ():
        if isinstance(spec, list) and isinstance(spec[-1], str) and str(Path(spec[-1]).parent) in folders:
            Path(spec[-1]).unlink(missing_ok=True)
