"""A run of several processes: JAX is told of them, and all end together, in whatever way one of them ends."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils

from actjax.hosts import Link, Place

log = logging.getLogger(__name__)

PREEMPTED = 75  # exit status after SIGTERM: EX_TEMPFAIL

_link: Link | None = None  # as jax.distributed, one for the process


class Preempted(SystemExit):
    """The run was asked to end by SIGTERM, and has saved `step`; the same command goes on."""

    def __init__(self, step: int):
        super().__init__(PREEMPTED)
        log.info("SIGTERM: saved step %d; the same command goes on", step)


@contextlib.contextmanager
def joined(place: Place | None, link: Link | None) -> Iterator[None]:
    """Inside, `jax.devices()` are those of all processes; nothing of JAX may have run before.

    Whoever ends with an error ends the others, and leaves at once: the barrier at JAX's exit would wait for them.

    Args:
      place, link: this process and its connection to the others; None for one that is alone.
    """
    if link is None:
        yield
        return
    global _link
    _link = link
    _initialize(place, link.port)
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, SystemExit) and error.code in (None, 0, PREEMPTED)):
            _fail(link, error)
        link.leave()
        raise
    else:
        link.leave()


def wait_for_all(what: str) -> None:
    """Returns when every process has come here; `what` is the same in all of them.

    No collective of the devices, which would give up on a process that comes much later.
    """
    if _link:
        _link.wait(what)
    elif jax.process_count() > 1:  # of a program that told JAX of them by itself
        multihost_utils.sync_global_devices(what)


@contextlib.contextmanager
def stop_on_sigterm() -> Iterator[Callable[[], bool]]:
    """Gives `stop()`, to be asked after every step: True once SIGTERM has come, in all processes after the same step.

    Python handles signals in its main thread alone; in another one only the other processes' signals count.
    """
    noticed = threading.Event()
    request, stop = (_link.stop_soon, _link.stop_here) if _link else (noticed.set, noticed.is_set)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: request())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def _initialize(place: Place, port: int) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would catch every SIGTERM, not only the loop's
    jax.distributed.initialize(
        f"[{place.host}]:{port}" if ":" in place.host else f"{place.host}:{port}",
        place.count,
        place.index,
        local_device_ids=place.devices,
        cluster_detection_method="deactivate",  # else a Slurm task gets the one GPU of its local number
        initialization_timeout=120,
        heartbeat_timeout_seconds=120,  # the link is faster, and says what to do
        shutdown_timeout_seconds=60,
    )


def _fail(link: Link, error: BaseException) -> None:
    """Ends the process as Python would, but for what waits at its exit."""
    told = isinstance(error, SystemExit)
    reason = str(error.code).removeprefix("error: ") if told else f"{type(error).__name__}: {error}"
    link.fail(" ".join(reason.split()))
    if told:
        print(error.code, file=sys.stderr)
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
