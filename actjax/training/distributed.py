"""Runs of several processes on `jax.distributed`: start, barrier, and what happens when one process fails.

JAX's coordination service detects lost processes and ends the others. This module adds: a process that fails sends its
error to the others, and all exit with status 1, so that a launcher does not restart into the same failure.
"""

import collections
import contextlib
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator

import jax
from jax._src import distributed  # its client is not public; JAX 0.10 to 0.12 have it here
from jax.errors import JaxRuntimeError

from actjax.hosts import Place

PREEMPTED = 75  # exit status after SIGTERM in training: EX_TEMPFAIL
LOST = 134  # 128 + SIGABRT: JAX ends the remaining processes with it after one was lost

_COUNT, _FAILED = "actjax/count", "actjax/failed"  # keys in the service's key-value store
_POLL = 1.0  # seconds between two checks for failed processes
_LAST = 4 * _POLL  # seconds that process 0, which holds the store, waits before it exits: JAX then aborts the rest
_CALLS: collections.Counter = collections.Counter()  # of each barrier
_FOREVER = 7 * 24 * 3600 * 1000  # milliseconds that a barrier waits: evaluations take hours
# XLA's codes for errors that a lost process causes in the others; JAX raises some as ValueError.
_RUNTIME = re.compile(r"\b(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION): ")


@contextlib.contextmanager
def joined(place: Place | None, *, heartbeat: int = 60, timeout: float = 300.0) -> Iterator[None]:
    """A context in which `jax.devices()` lists the devices of all processes. JAX must not be initialised before.

    If a process raises inside, it and all other processes exit with status 1; JAX's own shutdown would wait for them.

    Args:
      place: this process; None: a single process, and the context does nothing.
      heartbeat: seconds without a heartbeat after which JAX treats a process as lost and ends the others.
      timeout: seconds that the processes wait for each other at the start.
    """
    if place is None:
        yield
        return
    _initialize(place, heartbeat, timeout)
    left = threading.Event()
    watch = threading.Thread(target=_end_with_others, args=(place.index, left), daemon=True, name="failures")
    watch.start()
    try:
        _compare_counts(place)
        yield
    except BaseException as error:
        if not (isinstance(error, SystemExit) and error.code in (None, 0, PREEMPTED)):
            _fail(error, place.index, heartbeat, left)
        raise
    finally:
        wait_for_all("the end")
        left.set()
        watch.join()


def wait_for_all(what: str) -> None:
    """Returns once every process has called it with the same `what`, however long that takes.

    A collective on the devices would time out if one process came much later.

    Raises:
      JaxRuntimeError: a process was lost.
    """
    if client():
        _CALLS[what] += 1  # a barrier opens once
        client().wait_at_barrier(f"actjax/{what}/{_CALLS[what]}", _FOREVER)


def client():
    """The client of JAX's coordination service; None in a single process."""
    return distributed.global_state.client


def set_once(key: str, value: str) -> None:
    """Sets a key in the service's store unless it already has a value."""
    with contextlib.suppress(JaxRuntimeError):
        client().key_value_set(key, value)


def _initialize(place: Place, heartbeat: int, timeout: float) -> None:
    if place.index == 0:
        waits = f"waiting up to {timeout:g} s for {place.count} processes on port {place.port}"
        print(waits, file=sys.stderr, flush=True)  # JAX aborts without saying which process is missing
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would intercept SIGTERM everywhere
    jax.distributed.initialize(
        f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}",
        place.count,
        place.index,
        local_device_ids=place.devices,
        cluster_detection_method="deactivate",  # otherwise a Slurm task gets only the GPU with its local ID
        initialization_timeout=math.ceil(timeout),
        heartbeat_timeout_seconds=heartbeat,
        shutdown_timeout_seconds=60,
    )
    if threading.current_thread() is threading.main_thread():
        # JAX aborts in a thread of its own; faulthandler, enabled by absl, can crash dumping the others' stacks.
        signal.signal(signal.SIGABRT, signal.SIG_DFL)


def _compare_counts(place: Place) -> None:
    """Checks that all processes expect the same number of processes. JAX does not, and they would wait forever."""
    if place.index == 0:
        return set_once(_COUNT, str(place.count))
    count = client().blocking_key_value_get(_COUNT, 60_000)
    if int(count) != place.count:
        raise SystemExit(
            f"error: process 0 was started as one of {count} processes, process {place.index} as one of {place.count}; "
            "start all with the same number"
        )


def _end_with_others(index: int, left: threading.Event) -> None:
    """Ends this process once another one has reported its failure, even if the main thread hangs."""
    while not left.wait(_POLL):
        with contextlib.suppress(JaxRuntimeError):
            for key, reason in client().key_value_dir_get(_FAILED):
                time.sleep(_LAST if index == 0 else 0)
                os.write(2, f"error: process {key.rpartition('/')[2]} failed: {reason}\n".encode())
                os._exit(1)


def _fail(error: BaseException, index: int, heartbeat: int, left: threading.Event) -> None:
    """Prints the error as Python would, reports it to the other processes, and exits with status 1."""
    told = isinstance(error, SystemExit | KeyboardInterrupt)
    code = "interrupted" if isinstance(error, KeyboardInterrupt) else getattr(error, "code", None)
    if told:
        print(code, file=sys.stderr)
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    sys.stdout.flush()
    try:
        if _RUNTIME.search(_words(error)):  # perhaps caused by a lost process: JAX then ends this one during the sleep
            print(f"if another process was lost, JAX ends this one within {heartbeat} s", file=sys.stderr, flush=True)
            time.sleep(heartbeat + 15)
        left.set()
        reason = str(code).removeprefix("error: ") if told else f"{type(error).__name__}: {error}"
        set_once(f"{_FAILED}/{index}", " ".join(reason.split()))
        sys.stderr.flush()
        time.sleep(_LAST if index == 0 else 2 * _POLL)  # time for the others to read it
    finally:
        os._exit(1)


def _words(error: BaseException | None) -> str:
    """The messages of an error and of its causes."""
    words = []
    while error is not None:
        words.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(words)
