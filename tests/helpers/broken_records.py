"""Records whose videos hang, crash or fault when they are opened."""

import ctypes
import os
import signal
from typing import NamedTuple


class Hanging(NamedTuple):
    path: str = "hanging.mp4"
    label: int = 0

    def open(self, *, backend):
        ctypes.PyDLL(None).sleep(1000)  # PyDLL keeps the interpreter's lock


class Crashing(NamedTuple):
    path: str = "crashing.mp4"
    label: int = 0

    def open(self, *, backend):
        os.kill(os.getpid(), signal.SIGSEGV)


class Exiting(NamedTuple):
    path: str = "exiting.mp4"
    label: int = 0

    def open(self, *, backend):
        os._exit(3)


class Faulty(NamedTuple):
    path: str = "faulty.mp4"
    label: int = 0

    def open(self, *, backend):
        raise ZeroDivisionError("a fault")
