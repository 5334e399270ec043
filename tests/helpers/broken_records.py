"""Records whose videos hang, crash or fault when they are opened, and records whose readers are stopped or killed."""

import ctypes
import itertools
import os
import signal
import time
from typing import NamedTuple

from actjax.data.datasets.records import VideoRecord


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


class Befallen(NamedTuple):
    """A healthy video: what befalls its readers comes from outside.

    folder: keeps the count between processes.
    what: the signal that a reader gets, but SIGALRM: it is deaf to its deadline and sleeps, as it would in the kernel.
    times: how many readers get it.
    after: how many calls of `frames` before; None: when the video is opened.
    """

    path: str
    label: int
    folder: str
    what: str
    times: int = 1
    after: int | None = None

    def open(self, *, backend):
        video = VideoRecord(self.path).open(backend=backend)
        if self.after is None:
            self.befall()
            return video
        return _Later(video, self, itertools.count())

    def befall(self):
        if not any(_first(f"{self.folder}/{k}") for k in range(self.times)):
            return
        if self.what == "SIGALRM":
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            time.sleep(1000)
        os.kill(os.getpid(), getattr(signal, self.what))


class _Later(NamedTuple):
    video: object
    record: Befallen
    calls: object

    @property
    def num_frames(self):
        return self.video.num_frames

    @property
    def size(self):
        return self.video.size

    @property
    def fps(self):
        return self.video.fps

    def frames(self, indices):
        if next(self.calls) == self.record.after:
            self.record.befall()
        return self.video.frames(indices)


class Waiting(NamedTuple):
    """A healthy video whose reader writes `folder/opened` and then waits for `folder/go`."""

    path: str
    label: int
    folder: str

    def open(self, *, backend):
        _first(f"{self.folder}/opened")
        while not os.path.exists(f"{self.folder}/go"):
            time.sleep(0.01)
        return VideoRecord(self.path).open(backend=backend)


def _first(path: str) -> bool:
    """Creates a file. False: it exists."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False
