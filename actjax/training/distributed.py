"""A run of several processes on `jax.distributed`: its start, its barrier, and the end of a process that fails.

JAX's coordination service finds processes that were lost, and ends the others. Added here: a process that fails tells
the others why, and all end with status 1, so that nothing starts the same failure again.
"""

import contextlib
import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterator

import jax
from jax._src import distributed  # its client, which is not public: every version from 0.10 to 0.12 has it here
from jax.errors import JaxRuntimeError

from actjax.hosts import Place

PREEMPTED = 75  # exit status after SIGTERM in training: EX_TEMPFAIL
LOST = 134  # 128 + SIGABRT: how JAX ends a process after another one was lost

_COUNT, _FAILED = "actjax/count", "actjax/failed"  # keys in the store of the service
_POLL = 1.0  # seconds between two looks at what failed
_LAST = 4 * _POLL  # until process 0 ends, which keeps the store: JAX aborts whoever is left then
_FOREVER = 7 * 24 * 3600 * 1000  # milliseconds that a process waits in a barrier: evaluations take hours
# Codes of errors that a lost process causes in the others, as XLA writes them; jax raises some as ValueError.
_RUNTIME = re.compile(r"\b(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION): ")


@contextlib.contextmanager
def joined(place: Place | None, *, heartbeat: int = 60, timeout: float = 300.0) -> Iterator[None]:
    """Inside, `jax.devices()` are those of all processes; nothing of JAX may have run before.

    A process that raises inside ends with status 1, and so do all others: JAX's own exit would wait for them.

    Args:
      place: this process; None: it is alone, and nothing happens.
      heartbeat: seconds without a sign of life after which JAX takes a process for lost, and ends the others.
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
    """Returns when every process has called it with the same `what`, however long that takes.

    Not a collective of the devices, which would give up on a process that comes much later.

    Raises:
      JaxRuntimeError: a process was lost.
    """
    if client():
        client().wait_at_barrier(f"actjax/{what}", _FOREVER)


def client():
    """That of JAX's coordination service; None: this process is alone."""
    return distributed.global_state.client


def set_once(key: str, value: str) -> None:
    """Sets a key in the store of the service, unless it has a value already."""
    with contextlib.suppress(JaxRuntimeError):
        client().key_value_set(key, value)


def _initialize(place: Place, heartbeat: int, timeout: float) -> None:
    if place.index == 0:
        waits = f"waiting up to {timeout:g} s for {place.count} processes at port {place.port}"
        print(waits, file=sys.stderr, flush=True)  # JAX aborts without a word about who is missing
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM everywhere
    jax.distributed.initialize(
        f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}",
        place.count,
        place.index,
        local_device_ids=place.devices,
        cluster_detection_method="deactivate",  # else a Slurm task gets the one GPU of its local number
        initialization_timeout=math.ceil(timeout),
        heartbeat_timeout_seconds=heartbeat,
        shutdown_timeout_seconds=60,
    )


def _compare_counts(place: Place) -> None:
    """JAX does not: processes that take their number for another one would wait for each other for ever."""
    if place.index == 0:
        return set_once(_COUNT, str(place.count))
    count = client().blocking_key_value_get(_COUNT, 60_000)
    if int(count) != place.count:
        raise SystemExit(
            f"error: process 0 was started as one of {count} processes, process {place.index} as one of {place.count}; "
            "start all with the same number"
        )


def _end_with_others(index: int, left: threading.Event) -> None:
    """Ends this process once another one has told why it fails, wherever the main thread hangs."""
    while not left.wait(_POLL):
        with contextlib.suppress(JaxRuntimeError):
            for key, reason in client().key_value_dir_get(_FAILED):
                time.sleep(_LAST if index == 0 else 0)
                os.write(2, f"error: process {key.rpartition('/')[2]} failed: {reason}\n".encode())
                os._exit(1)


def _fail(error: BaseException, index: int, heartbeat: int, left: threading.Event) -> None:
    """Shows the error as Python would, tells the other processes, and ends this one with status 1."""
    told = isinstance(error, SystemExit)
    if told:
        print(error.code, file=sys.stderr)
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    sys.stdout.flush()
    try:
        if _RUNTIME.search(_words(error)):  # perhaps for the loss of a process: then JAX ends this one meanwhile
            print(f"if another process was lost, JAX ends this one within {heartbeat} s", file=sys.stderr, flush=True)
            time.sleep(heartbeat + 15)
        left.set()
        reason = str(error.code).removeprefix("error: ") if told else f"{type(error).__name__}: {error}"
        set_once(f"{_FAILED}/{index}", " ".join(reason.split()))
        sys.stderr.flush()
        time.sleep(_LAST if index == 0 else 2 * _POLL)  # the others read it
    finally:
        os._exit(1)


def _words(error: BaseException | None) -> str:
    """The messages of an error and of those that led to it."""
    words = []
    while error is not None:
        words.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(words)
