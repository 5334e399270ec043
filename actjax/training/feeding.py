"""Host batches -> device batches, transferred one step ahead."""

import queue
import threading
import time
from collections.abc import Callable, Iterator

import jax


class Feeder:
    """Yields `put(batch)`; a thread transfers the next batch while the devices compute.

    `waited`: total seconds in which the devices were idle because data was late.
    """

    def __init__(self, batches: Iterator, put: Callable):
        self._batches, self._put = batches, put
        self._queue: queue.Queue = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._transfer, daemon=True, name="feeder")
        self.waited = 0.0
        self._thread.start()

    def next(self, running=None):
        """The next batch; `running` is the pending output of the step in progress."""
        if self._queue.empty():
            jax.block_until_ready(running)  # time does not count as waiting while a step runs
            start = time.perf_counter()
            batch, error = self._queue.get()
            self.waited += time.perf_counter() - start
        else:
            batch, error = self._queue.get()
        if error is not None:
            raise error
        return batch

    def close(self) -> None:
        """Ends the thread and closes the batches; a thread that hangs is left to end with the process."""
        self._stop.set()
        self._thread.join(timeout=30)
        if not self._thread.is_alive():
            self._batches.close()

    def _transfer(self):
        try:
            for batch in self._batches:
                if not self._offer(batch=self._put(batch)):
                    return
            raise RuntimeError("the loader ran out of batches before the last step")
        except BaseException as error:  # raised again in the training loop
            self._offer(error=error)

    def _offer(self, *, batch=None, error: BaseException | None = None) -> bool:
        """Waits for room; False if the feeder was closed meanwhile."""
        while not self._stop.is_set():
            try:
                self._queue.put((batch, error), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
