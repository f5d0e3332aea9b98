"""The process in which a backend lives: loads it, prepares models, runs inputs, answers on a private channel.

Started as ``PYTHON worker.py DESCRIPTOR`` by a vendor's own interpreter (Python 3.8 or newer, the standard
library and NumPy), so nothing of the ``conformance`` package is imported: ``protocol.py`` is loaded from beside
this file. Verdicts are the parent's business; the worker says what happened.
"""

# Aliases are evaluated, and Python 3.8 cannot subscript tuple; paths are strings, as they travel.

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import inspect
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def _load_file(path: str, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and pickle look a class's module up
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from conformance import protocol
else:
    protocol = _load_file(os.path.join(HERE, "protocol.py"), "_conformance_protocol")

Answer = Tuple[Dict[str, Any], List[Any]]  # a header and the payload's pieces
Values = Tuple[List[Any], List[Any]]  # descriptions of values and their arrays

# Fewer runs than this show no growth of memory: each quarter of them must hold more than one.
GROWTH_RUNS = 8

# What allocators say when they have no memory; the type is often a plain RuntimeError.
_NO_MEMORY = ("bad_alloc", "out of memory", "failed to allocate memory", "cannot allocate memory")


# ------------------------------------------------------------------------------------------- the backend


def load_backend(spec: str) -> Any:
    """The backend class named by ``path.py[:Class]`` or ``package.module[:Class]``.

    Without a name: the class ``Backend``, or the only class with a ``prepare`` method. Raises ``ImportError``
    where there is none or more than one, and whatever importing raises.
    """
    where, _, name = spec.rpartition(":")
    if not where or not name.replace(".", "").isidentifier():
        where, name = spec, ""
    if where.endswith(".py"):
        folder, stem = os.path.split(os.path.abspath(where))
        # A file may import its neighbours; last on the path, so that it never shadows an installed package.
        # The built-in adapters are named after the packages that they import: theirs stays off the path.
        if folder != os.path.join(HERE, "backends"):
            sys.path.append(folder)
        module = _load_file(os.path.abspath(where), "conformance_backend_" + stem[:-3])
    else:
        sys.path.append(os.getcwd())
        module = importlib.import_module(where)
    if name:
        found = module
        for part in name.split("."):
            found = getattr(found, part, None)
            if found is None:
                raise ImportError(f"{where} has no {name}")
        return found
    if hasattr(module, "Backend"):
        return module.Backend
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and hasattr(value, "prepare")
    ]
    if len(classes) != 1:
        names = ", ".join(sorted(c.__name__ for c in classes))
        raise ImportError(
            f"{where} has several backends: {names}" if names else f"{where} has no class with a prepare method"
        )
    return classes[0]


def _plain(value: Any, depth: int = 6) -> Any:
    """What a backend says of itself, as JSON: anything else becomes its text."""
    if value is None or isinstance(value, (bool, str)):
        return protocol.clean(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value - value == 0:
        return float(value)
    if depth and isinstance(value, dict):
        return {protocol.clean(k, 200): _plain(v, depth - 1) for k, v in value.items()}
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [_plain(v, depth - 1) for v in items]
    return protocol.clean(value, 200)


def _failure(stage: str, error: BaseException) -> dict[str, Any]:
    """The answer for something that the backend raised."""
    names = [c.__name__ for c in type(error).__mro__]
    text = protocol.clean(error)
    if "Unsupported" in names:
        return {"status": "unsupported", "stage": stage, "message": text or "declined without a reason"}
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    _to_log("".join(lines))
    message = protocol.clean(f"{type(error).__name__} in {stage}: {text}")
    low = text.lower()
    if "MemoryError" in names or "OutOfMemoryError" in names or any(sign in low for sign in _NO_MEMORY):
        return {"status": "out-of-memory", "stage": stage, "message": message}
    return {"status": "error", "stage": stage, "message": message}


def _to_log(text: str) -> None:
    # Straight to the descriptor: a backend may have replaced or closed sys.stderr.
    with contextlib.suppress(OSError):  # the log is a help, not a verdict
        os.write(2, text.encode("utf-8", "backslashreplace"))


# ---------------------------------------------------------------------------------------------- the worker


class Worker:
    """Answers the parent's requests, one at a time, until the channel closes."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._backend: Any = None
        self._folders: list[str] = []
        self._name = ""
        self._sent = 0
        self._pid = os.getpid()
        self._log = os.dup(2)  # a backend may close or replace the descriptor itself

    def serve(self) -> None:
        while True:
            header, payload = protocol.read_frame(self._fill)
            request = header.get("op")
            if request == "hello":
                answer: Answer = self._hello(header), []
            elif request == "case":
                answer = self._case(header, payload)
            else:
                answer = self._close(), []
            if os.getpid() != self._pid:
                os._exit(0)  # a child that the backend forked came out here: the channel is not its own
            # The parent may have sent the next request by now, whose output is not this one's.
            answer[0]["printed"] = os.fstat(self._log).st_size
            protocol.send_frame(*answer, self._channel.sendall)
            if request == "close":
                return

    def _fill(self, memory: memoryview) -> None:
        while len(memory):
            count = self._channel.recv_into(memory)
            if not count:
                raise EOFError
            memory = memory[count:]

    def _hello(self, header: dict[str, Any]) -> dict[str, Any]:
        _die_with(header["parent"])
        self._folders, self._name = header["folders"], header["name"]
        answer: dict[str, Any] = {
            "status": "ok",
            "interpreter": {
                "executable": sys.executable,
                "python": sys.version.split()[0],
                "numpy": np.__version__,
            },
        }
        try:
            make = load_backend(header["spec"])
            self._backend = make(**header["options"])
            if not callable(getattr(self._backend, "prepare", None)):
                raise TypeError(f"{header['spec']} has no prepare method")
            described = self._backend.describe() if hasattr(self._backend, "describe") else {}
            if not isinstance(described, dict):
                raise TypeError(f"describe() returned {type(described).__name__}, not a dict")
            answer["describe"] = _plain(described)
            gc.collect()
            gc.freeze()  # what the backend imported stays: later collections need not look at it
        except BaseException as error:  # noqa: BLE001  (whatever a backend raises, sys.exit included, is its answer)
            answer.update(_failure("start", error))
        return answer

    def _case(self, header: dict[str, Any], payload: memoryview) -> Answer:
        specs, feeds = header["arrays"], header["feeds"]
        try:
            for dtype, _, _ in specs:
                protocol.dtype_named(dtype)
        except ImportError as error:
            message = f"this interpreter cannot hold the inputs: {error}"
            return {"status": "unsupported", "message": message}, []

        def inputs(feed: dict[str, Any]) -> dict[str, Any]:
            # Fresh and writable each time, so that a backend which overwrites its inputs harms nobody.
            arrays = protocol.load(specs, payload, self._folders, copy=True)
            return {name: protocol.unflatten(item, arrays) for name, item in feed.items()}

        stage = "prepare"
        first: list[Values] = []
        others: list[list[Values]] = [[] for _ in feeds]
        repeats = header["repeats"]
        quarters = {repeats * n // 4 - 1 for n in (1, 2, 3, 4)} if repeats >= GROWTH_RUNS else set()
        sizes: list[int] = []
        seconds = 0.0
        try:
            start = time.perf_counter()
            run = self._backend.prepare(header["model"])
            preparing = time.perf_counter() - start
            if not callable(run):
                return _malformed(f"prepare() returned {_kind(run)}, not a callable"), []
            stage = "run"
            for turn in range(repeats):
                for position, feed in enumerate(feeds):
                    given = inputs(feed)
                    start = time.perf_counter()
                    outputs = run(given)
                    if turn == 0:
                        seconds += time.perf_counter() - start
                    if type(outputs) not in (list, tuple):
                        return _malformed(f"run() returned {_kind(outputs)}, not a list of arrays"), []
                    # Private copies: the backend may own the memory, and use it again in its next run.
                    values = protocol.described(outputs, copy=True)
                    if turn == 0:
                        first.append(values)
                    elif not any(protocol.agree(known, values) for known in (first[position], *others[position])):
                        others[position].append(values)
                    del outputs, values, given
                if turn in quarters:
                    sizes.append(_resident())
        except BaseException as error:  # noqa: BLE001  (whatever a backend raises, sys.exit included)
            return _failure(stage, error), []
        differs = any(others)
        arrays: list[Any] = []
        answer = {
            "status": "ok",
            "prepare": preparing,
            "seconds": seconds,
            "repeat": "differs" if differs else "identical" if repeats > 1 else "not-repeated",
            "outputs": [_renumber(values, arrays) for values in first],
            "others": [[_renumber(values, arrays) for values in kept] for kept in others] if differs else [],
            # Where outputs differ, it is this process that keeps them.
            "growth": None if differs or not all(sizes or [0]) else _growth(sizes, repeats * len(feeds) / 4),
        }
        self._sent += 1
        name = f"{self._name}-{self._sent}"
        try:
            answer["arrays"], pieces = protocol.pack(arrays, self._folders, name)
        except OSError as error:
            return {"status": "error", "message": f"no room for the outputs: {error.strerror}"}, []
        return answer, pieces

    def _close(self) -> dict[str, Any]:
        close = getattr(self._backend, "close", None)
        if callable(close):
            try:
                close()
            except BaseException as error:  # noqa: BLE001  (as above; all verdicts are given by now)
                return _failure("close", error)
        self._backend = None
        gc.collect()
        return {"status": "ok"}


def _resident() -> int:
    """The bytes of memory that this process holds, once garbage is collected; 0 where the system does not say."""
    gc.collect()
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _growth(sizes: Sequence[int], runs: float) -> float:
    """Bytes a run by which the process grew in the quietest of the quarters after the first, of ``runs`` runs each:
    what a backend allocates once, early or late, is no growth; what it does not give back shows in every quarter."""
    return max(0, min(sizes[n] - sizes[n - 1] for n in range(1, len(sizes)))) / runs


def _renumber(values: Values, arrays: list[Any]) -> list[Any]:
    """The descriptions with their arrays counted in ``arrays``, to which these are appended."""
    base = len(arrays)
    arrays.extend(values[1])

    def move(item: Any) -> Any:
        if isinstance(item, list):
            return [move(i) for i in item]
        if isinstance(item, dict) and "map" in item:
            return {"map": move(item["map"])}
        return item + base if isinstance(item, int) else item

    return [move(item) for item in values[0]]


def _kind(value: Any) -> str:
    item = protocol.flatten(value, [])
    if isinstance(item, dict) and "odd" in item:
        return str(protocol.Odd(item["odd"], item["text"]))
    return "None" if value is None else type(value).__name__


def _malformed(message: str) -> dict[str, Any]:
    return {"status": "malformed", "message": protocol.clean(message)}


def _die_with(parent: int) -> None:
    """Let the kernel end this process with its parent, in whatever native code it then hangs (Linux only;
    elsewhere a closed channel ends it before its next request)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(0)


def _unbuffer_native_output() -> None:
    """Line-buffer C's stdout, which is a file here: what a driver printed must outlive its crash."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # another C library: output may come late
        libc = ctypes.CDLL(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, 1, 0)  # _IOLBF on glibc and musl


def main() -> None:
    # The script's folder is no place to import from: its modules have generic names.
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    # Crashing is what some drivers do when they decline a model: a core file each time would fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _unbuffer_native_output()
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    sys.argv = ["worker.py"]
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone: so go
        Worker(socket.socket(fileno=descriptor)).serve()


if __name__ == "__main__":
    main()
