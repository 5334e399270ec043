"""Clips from processes that can be killed: decoders hang or crash on some broken files, and nothing else stops them.

A reader is one process. Requests and answers go through a socket, pixels through memory that both see. The kernel
itself ends a reader that exceeds its deadline (SIGALRM, whatever lock the decoder holds), and the next request starts
a new one; the price of this on the fast path is one small message each way.
"""

import mmap
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection

import numpy as np

from actjax.data.seeding import Place, stage_rngs
from actjax.data.stages import Clip, Protocol, read_clip
from actjax.video.errors import VideoError, VideoTimeout


class Reader:
    """Makes clips of one protocol in a process of its own, which starts with the first request.

    Args:
      protocol: how a record becomes a clip.
      timeout: seconds that one record may take.
    """

    def __init__(self, protocol: Protocol, *, timeout: float = 30.0):
        self._protocol, self._timeout = protocol, timeout
        self._process = None
        self._closed = False
        size = int(np.prod(protocol.clip_shape))
        self._file = _memory_file()
        self._file.truncate(size)
        self._pixels = np.frombuffer(mmap.mmap(self._file.fileno(), size), np.uint8).reshape(protocol.clip_shape)

    def read(self, record, place: Place | None = None) -> Clip:
        """The clip of a record with the draws of `place`; its pixels hold until the next call.

        Raises:
          VideoError: the record cannot be decoded, or decoding it took too long or crashed.
          RuntimeError: the process does not start, or the reader was closed.
        """
        if self._process is None:
            self._start()
        try:
            self._channel.send((record, place))
            answer = self._channel.recv()
        except (EOFError, OSError):
            raise self._cause_of_death(record) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer._replace(video=self._pixels)

    def close(self) -> None:
        """Ends the process, also in the middle of a request."""
        self._closed = True
        self._file.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        import cloudpickle  # carries functions of notebooks, too

        if self._closed:
            raise RuntimeError("the reader was closed")
        ours, theirs = socket.socketpair()
        descriptors = theirs.fileno(), self._file.fileno()
        command = f"from actjax.data.reader import serve; serve{descriptors}"
        path = os.pathsep.join(filter(None, sys.path))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", command], pass_fds=descriptors, env=os.environ | {"PYTHONPATH": path}
            )
        self._channel = Connection(ours.detach())
        if self._closed:  # meanwhile, by another thread
            self.close()
        try:
            self._channel.send_bytes(cloudpickle.dumps((self._protocol, self._timeout)))
            self._channel.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"a reader process does not start; it ended with {self._process.wait()}") from None

    def _cause_of_death(self, record) -> Exception:
        status = self._process.wait()
        self._process = None
        self._channel.close()
        if self._closed:
            return RuntimeError("the reader was closed")
        if status == -signal.SIGALRM:
            return VideoTimeout(record.path, f"decoding took more than {self._timeout:g} s")
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return VideoError(record.path, f"the decoder crashed its process ({how})")


class Readers:
    """Some readers behind one `read`, which threads may call at once. `num=0`: none, reads happen here, unguarded."""

    def __init__(self, protocol: Protocol, num: int, *, timeout: float = 30.0):
        self._protocol = protocol
        self._all = [Reader(protocol, timeout=timeout) for _ in range(num)]
        self._free: queue.SimpleQueue = queue.SimpleQueue()
        for reader in self._all:
            self._free.put(reader)

    def read(self, record, place: Place | None = None, *, out: np.ndarray) -> Clip:
        """As `Reader.read`; the pixels go to `out` [v, t, h, w, c]."""
        if not self._all:
            clip = read_clip(record, self._protocol, rngs=stage_rngs(place))
            out[...] = clip.video
            return clip._replace(video=out)
        reader = self._free.get()
        try:
            clip = reader.read(record, place)
            out[...] = clip.video
            return clip._replace(video=out)
        finally:
            self._free.put(reader)

    def close(self) -> None:
        for reader in self._all:
            reader.close()


def serve(channel: int, memory: int) -> None:
    """The reader's side: answers requests until the other side is gone."""
    import cv2

    for number in (signal.SIGINT, signal.SIGTERM):  # they go to the whole group; the trainer decides, and we follow it
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    channel = Connection(channel)
    protocol, timeout = pickle.loads(channel.recv_bytes())
    pixels = np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape(protocol.clip_shape)
    channel.send("ready")
    while True:
        try:
            record, place = channel.recv()
        except (EOFError, OSError):
            return
        signal.setitimer(signal.ITIMER_REAL, timeout)
        answer = _answer(record, place, protocol, pixels)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            channel.send(answer)
        except OSError:
            return


def _answer(record, place: Place | None, protocol: Protocol, pixels: np.ndarray):
    try:
        clip = read_clip(record, protocol, rngs=stage_rngs(place))
        pixels[...] = clip.video
        return clip._replace(video=None)
    except VideoError as error:
        return error
    except Exception as error:  # a fault in the code; the caller raises it
        text = f"{type(error).__name__}: {error}\n\nin a reader process:\n{traceback.format_exc()}"
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(text)
        error.add_note(text)
        return error


def _memory_file():
    """A file without a name; in memory where the system can, which no limit of /dev/shm touches."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("actjax-clip"), "r+b")
    return tempfile.TemporaryFile()
