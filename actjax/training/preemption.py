"""SIGTERM in training: all processes save the same step, and end with a status that says so."""

import logging
import signal
import threading

import jax

from actjax.training.distributed import PREEMPTED, client, set_once, wait_for_all

log = logging.getLogger(__name__)

_STOP = "actjax/stop"  # folder of the key in the store of the coordination service


class Preempted(SystemExit):
    """The run was asked to end by SIGTERM, and has saved `step`; the same command goes on."""

    def __init__(self, step: int):
        super().__init__(PREEMPTED)
        log.info("SIGTERM: saved step %d; the same command goes on", step)


class StopOnSigterm:
    """A context for the steps of training: SIGTERM to any process stops all of them, after the same step.

    Outside, SIGTERM ends the process as usual. Python handles signals in its main thread alone: in another thread only
    the other processes' signals count.
    """

    def __init__(self):
        self._noticed = False
        self._listens = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "StopOnSigterm":
        if self._listens:
            self._before = signal.signal(signal.SIGTERM, self._notice) or signal.SIG_DFL
        return self

    def __exit__(self, kind, *_) -> None:
        if self._listens:
            signal.signal(signal.SIGTERM, self._before)
            if self._noticed and kind is None:  # it came after the last look
                signal.raise_signal(signal.SIGTERM)

    def _notice(self, *_) -> None:
        self._noticed = True

    def after(self, step: int, previous) -> bool:
        """Whether to stop after `step`; every process asks after every step.

        The first process that noticed SIGTERM at step n writes n + 2 to the store of the coordination service. All
        look there, in 0.2 ms. None has asked about n + 2 yet: before that it waits for the result of step n + 1, and a
        step is a collective, which does not complete before this process begins it.

        Args:
          previous: what step - 1 returned; waited for if there are several processes.
        """
        if client() is None:
            return self._noticed
        jax.block_until_ready(previous)
        if self._noticed:
            set_once(f"{_STOP}/step", str(step + 2))
        return any(step >= float(last) for _, last in client().key_value_dir_get(_STOP))

    def at_end(self) -> bool:
        """Whether SIGTERM came to any process before all had called this, after their last step."""
        if client() is None:
            return self._noticed
        if self._noticed:
            set_once(f"{_STOP}/step", "inf")  # who still asks about the last step comes here, too
        wait_for_all("the end of training")
        return bool(client().key_value_dir_get(_STOP))
