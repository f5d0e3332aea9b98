"""Backends that misbehave, one class for each way. The model's file name tells them when to."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np


class Unsupported(Exception):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text either")


class Escape(BaseException):
    """Not an Exception: passes every `except Exception`."""


class Good:
    """Adds one."""

    def __init__(self, farewell=""):
        self.farewell = farewell

    def describe(self):
        return {"name": type(self).__name__, "version": "1"}

    def prepare(self, model):
        return self.plus_one

    def plus_one(self, inputs):
        return [inputs["x"] + 1]

    def close(self):
        if self.farewell:
            Path(self.farewell).write_text("closed", encoding="utf-8")


class Named(Good):
    """Does what the model's name says, and is good at everything else."""

    def prepare(self, model):
        self.model = model
        return getattr(self, Path(model).name.partition("-")[0].replace(".", "_"), self.plus_one)

    def litter(self, inputs):
        self.folder = tempfile.TemporaryDirectory()
        print(self.folder.name)
        os.abort()

    def segfault(self, inputs):
        print("about to crash")
        os.kill(os.getpid(), signal.SIGSEGV)

    def abort(self, inputs):
        os.abort()

    def bad_alloc(self, inputs):
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()

    def vanish(self, inputs):
        os._exit(0)

    def status3(self, inputs):
        os._exit(3)

    def leave(self, inputs):
        sys.exit(4)

    def hang(self, inputs):
        while True:
            time.sleep(1)

    def flood(self, inputs):
        while True:
            os.write(1, b"noise and more noise\n" * 1000)

    def decline(self, inputs):
        raise Unsupported("no such kernel")

    def escape(self, inputs):
        raise Escape("out")

    def interrupt(self, inputs):
        raise KeyboardInterrupt

    def unprintable(self, inputs):
        raise Unprintable

    def rude(self, inputs):
        raise ValueError("bell\a escape\x1b[31m null\0 surrogate\udc80 " + "x" * 1_000_000)

    def memory(self, inputs):
        raise MemoryError

    def device_memory(self, inputs):
        raise RuntimeError("CUDA error: out of memory")

    def hog(self, inputs):
        hoard = []
        while len(hoard) < 100:  # 1.6 GB, should nobody stop it
            hoard.append(np.ones(2_000_000))
            time.sleep(0.01)
        return [inputs["x"]]

    def hog_in_child(self, inputs):
        code = (
            "import time; hoard = []\n"
            "while len(hoard) < 100: hoard.append(bytearray(16_000_000)); time.sleep(0.01)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, start_new_session=True)
        return [inputs["x"]]

    def garbage(self, inputs):
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"?" * 1000)
            except OSError:
                continue
        return [inputs["x"]]

    def close_all(self, inputs):
        os.closerange(3, 256)
        return [inputs["x"]]

    def mute(self, inputs):
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3, 64):
            os.dup2(null, descriptor)
        time.sleep(1000)

    def fork(self, inputs):
        os.fork()
        return [inputs["x"] + 1]

    def orphan(self, inputs):
        # A child that holds every descriptor open, in a session of its own, while the worker dies.
        child = subprocess.Popen(["sleep", "1000"], close_fds=False, start_new_session=True)
        fork = os.fork()
        if fork == 0:
            time.sleep(1000)
        if Path(self.model).parent.is_dir():
            Path(self.model).write_text(f"{child.pid} {fork}", encoding="utf-8")
        os._exit(5)

    def overwrite(self, inputs):
        result = inputs["x"] + 1
        inputs["x"][...] = -1
        return [result]

    def alias(self, inputs):
        return [inputs["x"]]


class EveryTenth(Good):
    def prepare(self, model):
        if int(Path(model).name) % 10 == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        return self.plus_one


class Echo(Good):
    """Prints the model's name, and crashes on the one named crash."""

    def prepare(self, model):
        name = Path(model).name
        print("this is", name)
        if name == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        return self.plus_one


class Noisy(Good):
    """Ten megabytes on each stream, as text, as bytes and as what an answer might look like."""

    def prepare(self, model):
        for _ in range(100):
            os.write(1, b"o" * 100_000)
            os.write(2, b"e" * 100_000)
        print(json.dumps({"status": "ok", "outputs": []}))
        print("\x1b[32m10%\r50%\r100%\x1b[0m")
        return self.plus_one


class Company(Good):
    """Bears no other case after `poison` in the same process."""

    poisoned = ""

    def prepare(self, model):
        poisoned, name = self.poisoned, Path(model).name
        if name.startswith("poison"):
            self.poisoned = name
        if poisoned == "poison-crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if poisoned == "poison-hang" and name == "victim":
            time.sleep(1000)
        if poisoned == "poison-context" or self.poisoned == "poison-context":
            raise RuntimeError("the device's context is lost")
        return self.plus_one


class Lingers(Good):
    """Answers to the last, and does not leave: a thread of its library goes on."""

    def close(self):
        super().close()
        threading.Thread(target=time.sleep, args=(1000,)).start()


class SameErrorAlways(Good):
    starts = "starts"

    def __init__(self, log):
        with Path(log).open("a", encoding="utf-8") as file:
            file.write("start\n")

    def prepare(self, model):
        raise RuntimeError("not implemented")


class ReusesBuffer(Good):
    def __init__(self):
        self.buffer = np.zeros(3, np.float32)

    def plus_one(self, inputs):
        np.add(inputs["x"], 1, out=self.buffer)
        return [self.buffer]


class Counts(Good):
    """A different second answer."""

    count = 0

    def plus_one(self, inputs):
        self.count += 1
        return [inputs["x"], inputs["x"] + self.count]


class Leaks(Good):
    """Keeps a megabyte of every run; `Good` and `Caches` keep nothing, or the same once."""

    def __init__(self):
        self.kept = []

    def plus_one(self, inputs):
        self.kept.append(bytearray(os.urandom(4096)) * 256)
        return super().plus_one(inputs)


class Caches(Good):
    """Builds a cache over its first runs and adds no more."""

    def __init__(self):
        self.kept = []

    def plus_one(self, inputs):
        if len(self.kept) < 7:
            self.kept.append(bytearray(os.urandom(4096)) * 1024)
        return super().plus_one(inputs)


class Rare(Good):
    """Answers otherwise in its tenth run, and in another way in its twelfth."""

    count = 0

    def plus_one(self, inputs):
        self.count += 1
        return [inputs["x"] + {10: 2, 12: 3}.get(self.count, 1)]


class NewNaN(Good):
    """NaNs whose payload changes from run to run, and whose sign does."""

    payload = 0x7FC00000

    def plus_one(self, inputs):
        self.payload ^= 0x80000001
        return [np.array([self.payload], np.uint32).view(np.float32)]


class Starts:
    """Fails to start, or starts and says odd things, as its options tell it."""

    def __init__(self, how="", log=""):
        if log:
            with Path(log).open("a", encoding="utf-8") as file:
                file.write("start\n")
        self.how = how
        if how == "raise":
            raise OSError("the device is busy")
        if how == "decline":
            raise Unsupported("no device")
        if how == "exit":
            print("licence expired")
            os._exit(7)
        if how == "hang":
            time.sleep(1000)

    def describe(self):
        if self.how == "no-dict":
            return "ACME"
        return {
            "name": "Starts",
            "version": (1, 2),
            "memory": np.int64(5),
            "nan": float("nan"),
            "set": {"b", "a"},
            3: b"\x00",
            "object": Unprintable(),
            "supports": {"dtypes": ["float32"], "opset": (11, 21)},
        }

    def prepare(self, model):
        return lambda inputs: [inputs["x"]]


class NoPrepare:
    pass
