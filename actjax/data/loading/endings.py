"""How a reader process ended: whether the file that it was reading is to blame, or the machine.

A file is to blame for a crash and for a deadline. A process that another program killed, that was stopped, or whose
deadline passed while the machine stood still says nothing about its file, which is read again.
"""

import logging
import signal
import time
from collections.abc import Callable

from actjax.video.errors import Unreachable, VideoError, VideoTimeout
from actjax.video.fetching import network_fault

log = logging.getLogger(__name__)

TRIES = 3  # processes that may end at the same place
PAUSES = (1, 10, 60)  # seconds before a server is tried again
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGSYS", "SIGTRAP")
_OF_THE_WORK = {-getattr(signal, name) for name in (*_CRASHES, "SIGALRM")}


class Ended(Exception):
    """A process ended while working.

    Attributes:
      status: its exit status, or minus the signal that ended it; -SIGALRM: its deadline.
      doubtful: its deadline may have passed while the process could not run.
      started: it had started to work.
      part: the last part of an answer that it sent; None: there was none.
    """

    def __init__(self, status: int, *, doubtful: bool = False, started: bool = True):
        killed = status < 0 and status not in _OF_THE_WORK
        what = f"a reader process {'was killed' if killed else 'ended'} ({how(status)})"
        super().__init__("a reader process did not answer, or was stopped" if doubtful else what)
        self.status, self.doubtful, self.started, self.part = status, doubtful, started, None
        self.excused = killed or doubtful  # the file is not to blame


class MachineError(RuntimeError):
    """The machine failed: it ended the readers for lack of memory, or cannot write. No file is to blame."""

    clear = True


def retry(error: Ended | Unreachable, tries: int) -> float:
    """Seconds to wait before a request is tried again that has ended in `error` for the `tries`-th time.

    Raises:
      Ended: the file is to blame, see `blame`. MachineError, Unreachable: the machine or the network is, repeatedly.
    """
    if isinstance(error, Unreachable):
        if tries > len(PAUSES):
            raise Unreachable(error.url, f"{error.reason}; tried {tries} times")
        log.warning("%s Trying again in %g s", error, PAUSES[tries - 1])
        return PAUSES[tries - 1]
    if not error.excused and not error.started:
        raise MachineError(f"a reader process did not start: it ended with {how(error.status)}")
    if not error.excused or (error.doubtful and error.started and tries == TRIES):
        raise error
    if tries == TRIES:
        raise MachineError(
            f"{error}, {tries} times at the same place: probably memory is short; use fewer reader processes "
            "(loader.num_workers) or smaller frames, then repeat the command, which resumes where it stopped"
        )
    log.warning("%s; another one reads the same video again", error)
    return 0.0


def patiently(read: Callable, *arguments):
    """`read(*arguments)` in this process, tried again while the network is gone; then raises Unreachable."""
    tries = 0
    while True:
        try:
            return read(*arguments)
        except (VideoError, Unreachable) as error:
            if not isinstance(reason := excused(error), Unreachable):
                raise
            tries += 1
            time.sleep(retry(reason, tries))


def excused(error: VideoError | Unreachable) -> VideoError | Unreachable:
    """The error itself, or Unreachable if the network, or a file server that is mounted here, is behind it."""
    fault = network_fault(error) if isinstance(error, VideoError) else ""
    return Unreachable(error.path, fault) if fault else error


def blame(path: str, status: int, timeout: float) -> VideoError:
    """The error for the file that a process was reading when it ended with `status`."""
    if status == -signal.SIGALRM:
        return VideoTimeout(path, f"decoding took more than {timeout:g} s")
    return VideoError(path, f"the decoder crashed its process ({how(status)})")


def how(status: int) -> str:
    """The name of the signal that ended a process, or its exit status."""
    known = {-number for number in signal.Signals}  # those for real time have no names
    return signal.Signals(-status).name if status in known else f"status {status}"
