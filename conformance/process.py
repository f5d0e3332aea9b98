"""One worker process: started, asked, watched and killed. What became of it is told as a status and a message."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import protocol

__all__ = ["Launch", "Process", "WorkerError"]

# How often (seconds) a waiting parent looks at the child's memory and log, and whether it still lives: a child
# of the backend may hold the channel open after the worker's death. An answer is seen at once all the same.
TICK = 0.05
# Seconds that a worker told to go may take before it is killed; drivers may hang there too.
FAREWELL = 5.0
# Seconds that a hanging process gets to write down where it hangs.
LAST_WORDS = 1.0
# Seconds that a killed process gets to disappear. One stuck in the kernel (a driver) never does: it is left.
BURIAL = 10.0
# A log longer than this (bytes) is cut while the case still runs: endless noise must not fill the disk.
LOG_BYTES = 64 << 20
LOG_TAIL = 2000

# The environment variable by which all that a worker started is known.
COOKIE = "CONFORMANCE_WORKER"

_WORKER = Path(__file__).with_name("worker.py")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, slots=True)
class Launch:
    """How a backend's process is started.

    ``spec``: ``/path/file.py[:Class]`` or ``package.module[:Class]`` (see ``backends.resolve``). ``options``: the
    keyword arguments of the backend's class. ``python``: the interpreter (None: this one). ``memory``: the
    limit in bytes for the worker and its children together (None: no limit; Linux only). ``env``: additional
    environment variables. ``start_timeout``: seconds for importing the backend, its ``__init__`` and
    ``describe()``.
    """

    spec: str
    options: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    memory: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    start_timeout: float = 120.0


class WorkerError(Exception):
    """The worker is no more. ``status``: "crash", "timeout", "out-of-memory" or "malformed"."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Process:
    """A worker process and its channel. Not thread-safe, but for ``kill``, which any thread may call."""

    def __init__(self, launch: Launch, folders: Sequence[str], log: Path, temporary: Path) -> None:
        """Start the process; ``folders``: for big arrays (the log's name without its suffix begins the names of
        its files), ``log``: the file that receives its standard output and error, ``temporary``: the folder for
        temporary files of it and its children. Raises ``OSError`` where the interpreter cannot start."""
        self._launch = launch
        self._folders = list(folders)
        self._name = log.stem
        self._log = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._noise = b""
        self._log_from, self._log_to = 0, 0  # the part of the log that belongs to the request under way
        self._cookie = uuid.uuid4().hex
        mine, theirs = socket.socketpair()
        try:
            # Its own session, so that all it starts can be killed together and Ctrl-C reaches the parent only.
            # faulthandler leaves the Python stack of a crash in the log.
            self._process = subprocess.Popen(
                [launch.python or sys.executable, "-u", "-X", "faulthandler", str(_WORKER), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(temporary), **launch.env, COOKIE: self._cookie},
            )
        except BaseException:
            mine.close()
            os.close(self._log)
            raise
        finally:
            theirs.close()
        mine.setblocking(False)
        self._channel = mine
        self._readable = select.poll()
        self._readable.register(mine, select.POLLIN)
        self._either = select.poll()
        self._either.register(mine, select.POLLIN | select.POLLOUT)
        self._unsent = memoryview(b"")
        self._deadline = 0.0
        self.dead = False

    def hello(self) -> dict[str, Any]:
        """Have the backend loaded; the worker's answer. Raises ``WorkerError``."""
        request = {
            "op": "hello",
            "parent": os.getpid(),
            "spec": self._launch.spec,
            "options": dict(self._launch.options),
            "folders": self._folders,
            "name": self._name,
        }
        self.send(request, [])
        return self.answer(self._launch.start_timeout)[0]

    def send(self, header: dict[str, Any], pieces: Sequence[Any]) -> None:
        """Send a request, as much of it as the channel takes at once; the rest goes while an answer is awaited.
        One may follow another before that is answered: the worker attends to them in turn."""
        protocol.send_frame(header, pieces, self._queue)
        self._push()

    def answer(self, timeout: float) -> protocol.Frame:
        """The answer to the oldest request without one, within ``timeout`` seconds from now. Raises
        ``WorkerError``; the process is then dead."""
        self._deadline = time.monotonic() + timeout
        self._log_to = -1
        try:
            self._wait()
            header, payload = protocol.read_frame(self._fill)
            printed = header.get("printed")
            self._log_to = printed if type(printed) is int else -1
            return header, payload
        except (EOFError, ConnectionResetError):
            raise self._post_mortem() from None
        except TimeoutError:
            self._dump_stack()
            self.kill()
            raise WorkerError("timeout", f"no answer within {timeout:g} s") from None
        except protocol.ProtocolError as error:
            self.kill()
            raise WorkerError("malformed", f"the channel carried something else than an answer: {error}") from None
        except BaseException:
            self.kill()
            raise

    @property
    def log_is_long(self) -> bool:
        """Whether the log is to be cut before another request is sent."""
        return os.fstat(self._log).st_size > LOG_BYTES

    def clear_log(self, idle: bool) -> None:
        """Forget what the process printed before its last answer; ``idle``: it has no request now."""
        self._noise = b""
        if idle and self.log_is_long:
            os.ftruncate(self._log, 0)
        size = os.fstat(self._log).st_size
        self._log_from = min(self._log_to, size) if self._log_to >= 0 else size

    def log_tail(self) -> str:
        """The last ``LOG_TAIL`` characters of what the process has printed between ``clear_log`` and its answer,
        or its death."""
        size = os.fstat(self._log).st_size
        end = min(self._log_to, size) if self._log_to >= 0 else size
        if end <= self._log_from and not self._noise:
            return ""
        want = 4 * LOG_TAIL
        begin = max(self._log_from, end - want)
        raw = (self._noise + os.pread(self._log, max(0, end - begin), begin))[-want:]
        text = _ANSI.sub("", raw.decode("utf-8", "replace"))
        # Of a progress bar, what a terminal would show at the end.
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
        return protocol.clean("\n".join(lines).strip()[-LOG_TAIL:], 2 * LOG_TAIL)

    def close(self) -> None:
        """Let the backend close, then make sure that the process and its children are gone."""
        with contextlib.suppress(WorkerError, subprocess.TimeoutExpired):
            self.send({"op": "close"}, [])
            self.answer(FAREWELL)
            self._process.wait(FAREWELL)
        self.kill()

    def kill(self) -> None:
        """Kill the process and all that it started, and reap it. May be called again, and from any thread."""
        if self.dead:
            return
        self.dead = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        _kill_marked(self._cookie)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(BURIAL)

    def _dump_stack(self) -> None:
        """Have faulthandler write into the log where the process hangs."""
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            self._process.send_signal(signal.SIGABRT)
            self._process.wait(LAST_WORDS)

    def release(self) -> None:
        """Close the descriptors of a process that was killed."""
        self._channel.close()
        os.close(self._log)

    def _post_mortem(self) -> WorkerError:
        # The channel closes a moment before the process can be reaped.
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return WorkerError("crash", "the backend closed the channel")
        self.kill()  # what it left behind
        if code >= 0:
            return WorkerError("crash", f"exited with status {code} and no answer")
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if name == "SIGABRT" and "bad_alloc" in self.log_tail():
            return WorkerError("out-of-memory", f"killed by {name} (std::bad_alloc)")
        hint = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
        return WorkerError("crash", f"killed by {name}{hint}")

    def _queue(self, data: memoryview) -> None:
        self._unsent = memoryview(b"".join([self._unsent, data])) if self._unsent else data

    def _push(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._channel.send(self._unsent) :]
        except BlockingIOError:
            pass  # the worker has not read what came before
        except (BrokenPipeError, ConnectionResetError):
            self._unsent = memoryview(b"")  # whoever waits for the answer learns of the death

    def _fill(self, memory: memoryview) -> None:
        while memory:
            try:
                count = self._channel.recv_into(memory)
            except BlockingIOError:
                self._wait()
                continue
            if not count:
                raise EOFError
            memory = memory[count:]

    def _wait(self) -> None:
        """Until there is something to read."""
        while True:
            left = self._deadline - time.monotonic()
            events = self._either if self._unsent else self._readable
            ready = events.poll(1000 * max(0.0, min(left, TICK)))
            if any(event != select.POLLOUT for _, event in ready):
                return
            if ready:
                self._push()
                continue
            if left <= 0:
                raise TimeoutError
            if self._process.poll() is not None:
                raise EOFError
            self._watch()

    def _watch(self) -> None:
        size = os.fstat(self._log).st_size
        if size > LOG_BYTES:
            begin = max(self._log_from, size - 4 * LOG_TAIL)
            self._noise = os.pread(self._log, size - begin, begin)
            os.ftruncate(self._log, 0)
            self._log_from = 0
        limit = self._launch.memory
        if limit is not None:
            used = _memory(_family(self._process.pid), limit)
            if used > limit:
                self.kill()
                raise WorkerError(
                    "out-of-memory", f"used {used / 2**20:.0f} MiB, more than {limit / 2**20:.0f} MiB"
                )


def _kill_marked(cookie: str) -> None:
    """Kill what left the process group, or lost its parent: a mark in the environment is inherited all the same."""
    mark = f"{COOKIE}={cookie}".encode()
    for _ in range(10):  # a marked process may have started another in the meantime
        found = False
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
                    found = True
        if not found:
            return


def _family(pid: int) -> list[int]:
    """A process and its descendants; the process alone where there is no /proc."""
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                pids += map(int, (thread / "children").read_text().split())
    return pids


def _memory(pids: list[int], limit: int) -> int:
    """Bytes that the processes hold: resident ones, and where these exceed ``limit``, each process's share of
    them (pages shared between forked processes count once)."""
    resident = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    if resident <= limit or len(pids) == 1:
        return resident
    share = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            share += int(found[1]) * 1024 if found else 0
    return share or resident
