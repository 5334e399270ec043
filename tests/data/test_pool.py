"""The pool itself, with work of every kind; clips and shards are in test_reader and test_prepared."""

import contextlib
import os
import pickle
import signal
import sys
import threading

import pytest

from actjax.data.loading import processes
from actjax.data.loading.endings import Ended, MachineError
from actjax.data.loading.pool import GuardedPool
from actjax.data.loading.processes import GuardedProcess
from actjax.video.errors import VideoError, VideoTimeout


def work(request, deadline):
    kind, value = request
    if kind == "echo":
        return value
    if kind == "count":
        return count(value)
    if kind == "raise":
        raise value
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "wait":
        threading.Event().wait(60)
    return lambda: None  # cannot be pickled


def count(number):
    yield from range(number)
    return number


class Refuses:
    """Cannot be pickled, with an error that a lost connection has, too."""

    def __reduce__(self):
        raise OSError("not to be sent")


class Unreadable:
    """Is pickled, and cannot be read."""

    def __reduce__(self):
        return int, ("no number",)


@pytest.fixture
def pool():
    with contextlib.closing(GuardedPool(work, 2, timeout=2.0)) as pool:
        yield pool


def ask(pool, *request):
    return pool.submit(request, path="a.mp4").result(timeout=30)


def test_answers_and_faults(pool):
    """A fault of the code or of the network is raised as it is; the file is blamed for the end of a process alone."""
    assert ask(pool, "echo", 7) == 7 and ask(pool, "count", 3) == 3
    for error in (
        VideoError("b.mp4", "broken"),
        ConnectionResetError("reset"),
        BrokenPipeError("pipe"),
        EOFError("end"),
    ):
        with pytest.raises(type(error)):
            ask(pool, "raise", error)
    with pytest.raises(VideoError, match="a.mp4: the decoder crashed its process .SIGSEGV."):
        ask(pool, "kill", None)
    with pytest.raises(VideoTimeout):
        ask(pool, "wait", None)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        ask(pool, "other", None)
    with pytest.raises(OSError, match="not to be sent"):
        ask(pool, "echo", Refuses())
    with pytest.raises(ValueError, match="invalid literal"):
        ask(pool, "echo", Unreadable())
    assert ask(pool, "echo", 8) == 8


class EndsStart:
    """Work whose process ends while it starts; the first `times` processes of a folder do."""

    def __init__(self, folder, times, number):
        self.state = folder, times, number

    def __reduce__(self):
        return end_start, self.state


def end_start(folder, times, number):
    with contextlib.suppress(FileExistsError):
        for k in range(times):
            if not (folder / str(k)).exists():
                (folder / str(k)).touch()
                os.kill(os.getpid(), number) if number else os._exit(1)
    return work


def test_a_process_that_is_killed_while_it_starts_is_started_again(tmp_path, caplog):
    with contextlib.closing(GuardedPool(EndsStart(tmp_path, 2, signal.SIGKILL), 1, timeout=2.0)) as pool:
        assert list(pool.stream(("count", 3))) == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, "was killed .SIGKILL., 3 times at the same place: probably memory is short"),
        (signal.SIGSEGV, "a reader process did not start: it ended with SIGSEGV"),
        (0, "a reader process did not start: it ended with status 1"),
    ],
)
def test_a_process_that_never_starts_ends_the_run(tmp_path, number, message):
    requests = (lambda pool: ask(pool, "echo", 5)), (lambda pool: list(pool.stream(("count", 3))))
    for request in requests:
        with contextlib.closing(GuardedPool(EndsStart(tmp_path, 10**6, number), 1, timeout=2.0)) as pool:
            for _ in range(2):
                with pytest.raises(MachineError, match=message) as caught:
                    request(pool)
                assert caught.value.clear


def killed_between(request, deadline):
    """Counts; after the parts `places` the process is killed, once each."""
    folder, number, places = request
    for k in range(number):
        yield k
        if k in places and not (folder / str(k)).exists():
            (folder / str(k)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_stream_of_a_killed_process_goes_on_where_it_was(tmp_path):
    """As often as it takes, if it gets any further."""
    with contextlib.closing(GuardedPool(killed_between, 1, timeout=2.0)) as pool:
        assert list(pool.stream((tmp_path, 12, range(2, 9)))) == list(range(12))
    assert len(list(tmp_path.iterdir())) == 7


def test_a_process_that_cannot_be_killed_is_left_behind(monkeypatch):
    """One in an uninterruptible sleep ends when the file server answers, not when it is killed."""
    monkeypatch.setattr(processes, "GRACE", 0.2)
    process = GuardedProcess(lambda channel: threading.Event().wait(60))
    with monkeypatch.context() as patch:
        patch.setattr(process._process, "kill", lambda: None)
        assert process.wait() == -signal.SIGKILL
    process.kill()
    process.wait()


def test_a_request_that_a_stopped_process_does_not_read(monkeypatch):
    """Longer than what the system keeps for the process."""
    monkeypatch.setattr(processes, "START", 1.0)
    with contextlib.closing(GuardedPool(work, 1, timeout=30)) as pool:
        assert ask(pool, "echo", 1) == 1
        monkeypatch.setattr(processes, "START", 60.0)
        os.kill(pool.pids()[0], signal.SIGSTOP)
        assert len(ask(pool, "echo", bytes(10**7))) == 10**7


def test_parts_and_what_is_left_of_them(pool):
    parts = pool.stream(("count", 5))
    assert [next(parts), next(parts)] == [0, 1]
    parts.close()
    assert list(pool.stream(("count", 3))) == [0, 1, 2]
    with pytest.raises(Ended) as ended:
        list(pool.stream(("kill", None)))
    assert ended.value.status == -signal.SIGSEGV
    with pytest.raises(ConnectionResetError):
        list(pool.stream(("raise", ConnectionResetError("reset"))))


def test_a_cancelled_request_leaves_its_neighbours_alone():
    with contextlib.closing(GuardedPool(work, 1, timeout=0)) as pool:
        futures = [pool.submit(("echo", k), path="a.mp4") for k in range(20)]
        cancelled = [future.cancel() for future in futures[::3]]
        kept = [future for future in futures if not future.cancelled()]
        assert [future.result(timeout=30) for future in kept] == [k for k in range(20) if not futures[k].cancelled()]
        assert any(cancelled)


def test_a_closed_pool_says_so(pool):
    waiting = pool.submit(("wait", None), path="a.mp4")
    stream = pool.stream(("count", 10**6))
    next(stream)
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        waiting.result(timeout=30)
    with pytest.raises(RuntimeError, match="closed"):
        for _ in stream:
            pass
    for late in (lambda: ask(pool, "echo", 1), lambda: list(pool.stream(("echo", 1)))):
        with pytest.raises(RuntimeError, match="closed"):
            late()
    pool.close()


def test_a_process_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    """Unless it is on the path of its parent, and then in the same place."""
    (tmp_path / "cv2.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), *filter(None, sys.path)])
    process = GuardedProcess(lambda channel: channel.send(__import__("sys").path[:2]))
    try:
        assert process.receive() == sys.path[:2]
    finally:
        process.kill()
        process.wait()
