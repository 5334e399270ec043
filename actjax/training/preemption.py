"""SIGTERM or Ctrl-C in training: all processes save the same step and exit with status 75."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

import jax

from actjax.training.distributed import PREEMPTED, client, set_once, wait_for_all

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STOP = "actjax/stop"  # directory of the key in the coordination service's store


class Preempted(SystemExit):
    """SIGTERM or Ctrl-C stopped the run after it saved `step`; the same command resumes it."""

    def __init__(self, step: int):
        super().__init__(PREEMPTED)
        self.step = step
        log.info("interrupted: saved step %d", step)


@contextlib.contextmanager
def compiling(then: str, *, what: str | None = None) -> Iterator[None]:
    """A context for calls that XLA compiles: Ctrl-C waits for the compiler, a second Ctrl-C does not.

    XLA would continue after a KeyboardInterrupt and crash when Python ends. Programs with a SIGINT handler of their own
    are left alone, such as the command line, which ends at once.

    Args:
      then: the text of the KeyboardInterrupt.
      what: what is compiled, which the log then says; None: it says nothing.
    """
    if what is not None:
        log.info("compiling %s ...", what)
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    noticed = []

    def notice(number: int, frame) -> None:
        if noticed:
            raise KeyboardInterrupt(then)
        noticed.append(number)
        log.warning("interrupted: waiting for the compiler; interrupt again to stop at once")

    signal.signal(signal.SIGINT, notice)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if noticed:
        raise KeyboardInterrupt(then)


class StopOnSigterm:
    """A context for training steps: SIGTERM or Ctrl-C in any process stops all processes after the same step.

    A second Ctrl-C raises KeyboardInterrupt at once. Outside of the context, signals act as usual. Python handles
    signals only in the main thread; used in another thread, the context reacts only to signals to other processes.
    """

    def __init__(self):
        self._noticed: signal.Signals | None = None
        self._listens = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "StopOnSigterm":
        if self._listens:
            self._before = {n: signal.signal(n, self._notice) or signal.SIG_DFL for n in _SIGNALS}
        return self

    def __exit__(self, kind, *_) -> None:
        if self._listens:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            if self._noticed and kind is None:  # it came after the last check
                signal.raise_signal(self._noticed)

    def _notice(self, number: int, frame) -> None:
        if self._noticed == number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        self._noticed = signal.Signals(number)
        again = "; interrupt again to stop at once" if number == signal.SIGINT else ""
        log.warning("%s: the current step is completed and saved%s", self._noticed.name, again)

    def after(self, step: int, previous) -> bool:
        """Whether to stop after `step`; every process calls this after every step.

        The first process that notices a signal, at step n, writes n + 2 to the coordination service's store. Every
        process reads the store after each step, which takes 0.2 ms. None has called this for step n + 2 yet: it would
        first wait for the result of step n + 1, a collective that cannot complete before this process starts it.

        Args:
          previous: the result of step - 1; with several processes, this waits for it.
        """
        if client() is None:
            return self._noticed is not None
        jax.block_until_ready(previous)
        if self._noticed:
            set_once(f"{_STOP}/step", str(step + 2))
        return any(step >= float(last) for _, last in client().key_value_dir_get(_STOP))

    def at_end(self) -> bool:
        """Whether any process received a signal before all had finished their last step and called this."""
        if client() is None:
            return self._noticed is not None
        if self._noticed:
            set_once(f"{_STOP}/step", "inf")  # a process still at its last step must come here too
        wait_for_all("the end of training")
        return bool(client().key_value_dir_get(_STOP))
