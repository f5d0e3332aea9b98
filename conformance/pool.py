"""Runs tasks in isolated backend processes, one a slot, and tells what came of each: verdicts are not its
business, but crashes, hangs, memory and silence are."""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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

# Tasks taken from the caller for each slot: one that its process runs, one that the process has been sent, one waiting.
DEPTH = 3


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
        self._errands: deque[_Errand] = deque()  # waiting for a slot
        self._running = 0  # tasks whose outcome the caller does not have
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

        Tasks are taken from the iterable in the caller's thread, ``DEPTH`` for each slot, so that no process stands
        idle while the caller is busy with an outcome.
        """
        finished: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        source = iter(tasks)
        try:
            while True:
                while self._running < DEPTH * self._jobs and (task := next(source, None)) is not None:
                    self._errands.append(_Errand(task, finished.put))
                    self._threads.submit(self._attend)
                    self._running += 1
                if not self._running:
                    return
                outcome = finished.get()
                self._running -= 1
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            if self._running:  # the caller gave up, or was interrupted
                self._errands.clear()
                for slot in self._slots:
                    slot.abort()

    def close(self, gently: bool = True) -> None:
        """End the processes; ``gently``: let the backend's ``close()`` run first, unless a task is under way."""
        if not gently or self._running:
            for slot in self._slots:
                slot.abort()
        # In the pool's threads, which outlive the processes that they started: see above.
        for closing in [self._threads.submit(slot.close) for slot in self._slots]:
            closing.result()
        self._threads.shutdown()
        self._scratch.close()

    def _with_slot(self, work: Callable[..., Any], *arguments: Any) -> Any:
        slot = self._idle.get()
        try:
            return work(slot, *arguments)
        finally:
            self._idle.put(slot)

    def _attend(self) -> None:
        """Attend to what waits; another slot may have taken what this was called for."""
        if (errand := self._take()) is not None:
            self._with_slot(self._serve, errand)

    def _serve(self, slot: _Slot, errand: _Errand | None) -> None:
        while errand is not None:
            try:
                errand.done(slot.attend(errand, self._take_small))
            except BaseException as error:  # noqa: BLE001  (raised again in the caller's thread)
                errand.done(error)
            errand = slot.claimed() or self._take()

    def _take(self) -> _Errand | None:
        with contextlib.suppress(IndexError):
            return self._errands.popleft()
        return None

    def _take_small(self) -> _Errand | None:
        """What waits, if no slot is free for it and it can be sent before its turn: for small ones alone the exchange
        takes time that matters, and a large one is better off with whichever slot is free first."""
        errand = self._take() if len(self._errands) > self._idle.qsize() else None
        if errand is None or errand.small:
            return errand
        self._errands.appendleft(errand)
        return None


class _Errand:
    """A task on its way: what is sent for it, and to whom the outcome goes."""

    def __init__(self, task: Task, done: Callable[[Outcome | BaseException], None]) -> None:
        self.task = task
        self.done = done
        self.sent_to: Process | None = None
        self._arrays: list[np.ndarray] = []
        feeds = [{name: protocol.flatten(v, self._arrays) for name, v in feed.items()} for feed in task.feeds]
        self._header = {"op": "case", "model": str(task.model.absolute()), "feeds": feeds, "repeats": task.repeats}
        self._pieces: list[Any] = []
        self.small = sum(array.nbytes for array in self._arrays) < protocol.FILE_BYTES

    def send(self, process: Process, folders: tuple[str, ...], name: str) -> None:
        """Send it, unless this process has it. Raises ``UsageError`` where the scratch folders have no room for its
        large inputs, whose files begin with ``name``; one that is small has none."""
        if self.sent_to is process:
            return
        if "arrays" not in self._header:
            try:
                self._header["arrays"], self._pieces = protocol.pack(self._arrays, folders, name)
            except OSError as error:
                raise UsageError(f"no room for the inputs of {self.task.id}: {error.strerror}") from None
        process.send(self._header, self._pieces)
        self.sent_to = process

    def remove(self, folders: tuple[str, ...]) -> None:
        """Remove the files of its large inputs."""
        _unlink(self._header.get("arrays", ()), folders)


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
        self._temporary = log.with_suffix(".tmp")  # a killed process leaves its temporary files behind
        self._starts = starts
        self._process: Process | None = None
        self._hello: dict[str, Any] = {}
        self._aborted = False
        self._next: _Errand | None = None  # sent before its turn
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

    def claimed(self) -> _Errand | None:
        """What this slot has taken before its turn, and must attend to now."""
        errand, self._next = self._next, None
        return errand

    def attend(self, errand: _Errand, more: Callable[[], _Errand | None]) -> Outcome:
        """The outcome of a task; where earlier tasks of the same process may be to blame, of the task alone.

        ``more``: gives the next task to send, so that the process finds it when it is done with this one.
        """
        try:
            previous, trouble = self._previous, self._trouble
            outcome = self._ask(errand, more)
            if previous is None or not self._suspect(outcome, trouble):
                return outcome
            self._drop()
            if self._ensure() is not None:
                return outcome
            alone = self._ask(errand)
            if alone.status != outcome.status:
                return replace(alone, after=previous)
            self._genuine.add(alone.message)
            return alone
        finally:
            errand.remove(self._folders)

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

    def _ask(self, errand: _Errand, more: Callable[[], _Errand | None] = lambda: None) -> Outcome:
        task = errand.task
        failure = self._ensure()
        if failure is not None:
            return replace(failure, id=task.id)
        process = self._process
        assert process is not None
        process.clear_log(idle=errand.sent_to is not process)
        self._previous = task.id
        began = time.monotonic()
        name = f"in-{self._log.stem}"
        try:
            errand.send(process, self._folders, name)
            if not process.log_is_long and (following := more()) is not None:
                self._next = following
                following.send(process, self._folders, name)
            outcome = self._read(task, *process.answer(task.timeout))
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
            self._temporary.mkdir(exist_ok=True)
            process = self._process = Process(self._launch, self._folders, self._log, self._temporary)
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
            shutil.rmtree(self._temporary, ignore_errors=True)


def _unlink(specs: Any, folders: tuple[str, ...]) -> None:
    for spec in specs if isinstance(specs, list) else ():
        if isinstance(spec, list) and isinstance(spec[-1], str) and str(Path(spec[-1]).parent) in folders:
            Path(spec[-1]).unlink(missing_ok=True)
