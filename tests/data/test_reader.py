"""Decoders that hang with the GIL held, crash, or fail: one error each, and the next request is served."""

import contextlib
import errno
import functools
import http.server
import logging
import os
import pathlib
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest
from broken_records import Crashing, Exiting, Faulty, Hanging

from actjax import errors
from actjax.data.clips import spec, transforms
from actjax.data.datasets.records import VideoRecord
from actjax.data.loading import endings
from actjax.data.loading.batches import Loader, train_batches
from actjax.data.loading.quarantine import Quarantine
from actjax.data.loading.readers import Readers
from actjax.data.loading.sharing import SharedMemory
from actjax.data.seeding import Place, transform_rngs
from actjax.video import fetching
from actjax.video.decoding import open_video
from actjax.video.errors import Unreachable, VideoError

PROTOCOL = spec.ClipSpec(
    functools.partial(transforms.sample_frames, num_clips=4),
    functools.partial(transforms.multi_scale, short_side=45, size=40, scales=(1, 0.875), flip_ratio=0.5),
)
HERE = pathlib.Path(__file__).parent
PLACE = Place(seed=3, epoch=1, record=7)


@pytest.fixture
def reader():
    reader = Readers(PROTOCOL, 1, timeout=1.0)
    yield reader
    reader.close()


def test_same_clip_as_in_this_process(reader, media):
    record = VideoRecord(str(media / "part_0.mp4"), 5)
    for place in (PLACE, PLACE._replace(epoch=2)):
        clip = reader.read(record, place)
        here = spec.read_clip(record, PROTOCOL, rngs=transform_rngs(place))
        np.testing.assert_array_equal(clip.video, here.video)
        np.testing.assert_array_equal(clip.indices, here.indices)
        assert clip.label == 5 and clip.views[0].flip == here.views[0].flip


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Hanging(), "decoding took more than 1 s"),
        (Crashing(), r"the decoder crashed its process \(SIGSEGV\)"),
        (Exiting(), r"the decoder crashed its process \(status 3\)"),
        (VideoRecord("missing.mp4"), "no such file"),
    ],
)
def test_a_broken_record_is_one_error_and_the_next_is_read(reader, media, record, reason):
    for _ in range(2):
        with pytest.raises(VideoError, match=reason) as error:
            reader.read(record)
        assert error.value.path == record.path
        assert reader.read(VideoRecord(str(media / "part_0.mp4"), 1), PLACE).label == 1


def test_a_fault_in_the_code_keeps_its_type_and_tells_where(reader):
    with pytest.raises(ZeroDivisionError, match="a fault") as error:
        reader.read(Faulty())
    assert "in another process" in error.value.__notes__[0] and "Traceback" in error.value.__notes__[0]


def test_functions_without_a_module_reach_the_process(media):
    factor = 3

    def sample(num_frames, *, rng=None):
        return np.array([[0, factor]])

    reader = Readers(PROTOCOL._replace(sample=sample), 1)
    try:
        assert reader.read(VideoRecord(str(media / "part_0.mp4")), PLACE).indices.tolist() == [[0, 3]]
    finally:
        reader.close()


def test_close_ends_a_request_under_way(reader):
    slow = Readers(PROTOCOL, 1, timeout=600)
    closer = threading.Timer(1.0, slow.close)
    closer.start()
    with pytest.raises(RuntimeError, match="were closed"):
        slow.read(Hanging())
    with pytest.raises(RuntimeError, match="were closed"):
        slow.read(Hanging())
    closer.join()


def test_many_threads_share_some_readers(media):
    from concurrent.futures import ThreadPoolExecutor

    record = VideoRecord(str(media / "part_0.mp4"))
    expected = [
        spec.read_clip(record, PROTOCOL, rngs=transform_rngs(PLACE._replace(record=k))).video for k in range(12)
    ]
    readers = Readers(PROTOCOL, 2)

    def read(k):
        return readers.read(record, PLACE._replace(record=k)).video

    with ThreadPoolExecutor(6) as threads:
        for clip, other in zip(threads.map(read, range(12)), expected, strict=True):
            np.testing.assert_array_equal(clip, other)
    readers.close()


def test_neighbours_of_a_crash_are_read_all_the_same(media):
    """Each process has two requests: what waits behind a crash goes to the next process, and is not blamed."""
    from concurrent.futures import ThreadPoolExecutor

    good = VideoRecord(str(media / "part_0.mp4"), 1)
    records = [Crashing() if k % 3 == 1 else good for k in range(18)]
    readers = Readers(PROTOCOL, 2)

    def label(record):
        try:
            return readers.read(record, PLACE).label
        except VideoError as error:
            return error.path

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(label, records))
    readers.close()
    assert found == ["crashing.mp4" if k % 3 == 1 else 1 for k in range(18)]


def test_memory_of_a_batch_serves_again_only_when_nobody_has_it():
    memory = SharedMemory((4, 5))
    first, second = memory.take(4), memory.take(4)
    assert first.slot != second.slot
    first.array[...], second.array[...] = 1, 2
    view = first.array[2:, 1:]
    slot = first.slot
    del first
    assert memory.take(4).slot not in (slot, second.slot) and (view == 1).all()
    del view
    assert memory.take(4).slot == slot
    held = [memory.take(3).array for _ in range(100)]
    for k, array in enumerate(held):
        array[...] = k
    memory.close()
    assert [array.mean() for array in held] == list(range(100)) and len(memory._maps) == 7


def test_a_reader_dies_with_its_owner_even_while_the_decoder_hangs():
    """The owner is killed while its reader hangs with the lock held: the deadline still ends the reader."""
    code = f"""
import sys; sys.path[:0] = {[str(HERE), str(HERE.parent / "helpers")]!r}
from broken_records import Hanging
from test_reader import PROTOCOL, Readers, VideoRecord, VideoError
reader = Readers(PROTOCOL, 1, timeout=2.0)
try: reader.read(VideoRecord("missing.mp4"))
except VideoError: pass
print(reader.pool.pids()[0], flush=True)
reader.read(Hanging())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        pid = int(owner.stdout.readline())
        time.sleep(0.5)
        owner.kill()
    deadline = time.monotonic() + 20
    while pathlib.Path(f"/proc/{pid}").exists() and "Z" not in _state(pid):
        assert time.monotonic() < deadline, "the reader outlived its owner"
        time.sleep(0.1)


def _state(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_readers_without_memory_files(monkeypatch, media):
    """As on macOS, which has no `memfd_create`: the pixels go through a file without a name."""
    record = VideoRecord(str(media / "part_0.mp4"), 1)
    with contextlib.closing(Readers(PROTOCOL, 1)) as readers:
        expected = readers.read(record, PLACE).video
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with contextlib.closing(Readers(PROTOCOL, 2)) as readers:
        for _ in range(3):
            np.testing.assert_array_equal(readers.read(record, PLACE).video, expected)


def test_what_processes_warn_of_is_logged_once(media, tmp_path, caplog, monkeypatch):
    """Two processes meet files that OpenCV refuses and PyAV reads; whoever started them says so, once."""
    import numbered

    monkeypatch.setattr(errors, "_told", set())
    monkeypatch.setattr(errors.log, "propagate", True)
    records = [VideoRecord(str(numbered.write(tmp_path / f"{k}.mkv", "ffv1", num=4)), k) for k in range(4)]
    protocol = PROTOCOL._replace(backend=("opencv", "pyav"))
    with contextlib.closing(Readers(protocol, 2)) as readers, caplog.at_level(logging.WARNING, "actjax"):
        labels = [readers.submit(record, PLACE, readers.empty(1).clip(0)).result() for record in records]
    assert labels == [0, 1, 2, 3]
    said = "opencv cannot read some videos exactly; falling back to pyav"
    assert [record.getMessage() for record in caplog.records] == [said]


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, after the first `num_faults` requests; those get the status `fault`, or with 0 no answer."""

    daemon_threads = True

    def __init__(self, folder, *, fault=503, num_faults=0):
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
        self.fault, self.num_faults = fault, num_faults
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if not self._fails():
            super().do_GET()

    def do_HEAD(self):
        if not self._fails():
            super().do_HEAD()

    def _fails(self):
        if self.server.num_faults <= 0:
            return False
        self.server.num_faults -= 1
        if self.server.fault:
            self.send_error(self.server.fault)
        else:
            time.sleep(60)
        return True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve(media, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(endings, "PAUSES", (0.1, 0.1, 0.1))
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(contextlib.closing(Server(media, **options)))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_server_that_is_down_for_a_while_changes_no_clip(media, serve, caplog, num_workers):
    server = serve(num_faults=5)  # FFmpeg is given the whole file: two requests at a time
    expected = spec.read_clip(VideoRecord(str(media / "part_0.mp4")), PROTOCOL, rngs=transform_rngs(PLACE)).video
    with contextlib.closing(Readers(PROTOCOL, num_workers)) as readers, caplog.at_level(logging.WARNING, "actjax"):
        clip = readers.read(VideoRecord(f"{server.url}/part_0.mp4"), PLACE)
        np.testing.assert_array_equal(clip.video, expected)
        with pytest.raises(VideoError, match="none.mp4: cannot be read"):
            readers.read(VideoRecord(f"{server.url}/none.mp4"), PLACE)
    said = [record.getMessage() for record in caplog.records]
    assert said and all(
        "part_0.mp4 cannot be reached (503" in text and "Trying again in 0.1 s" in text for text in said
    )


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_server_that_is_gone_ends_the_run_and_blames_no_video(tmp_path, serve, num_workers):
    server = serve()
    server.close()
    records = [VideoRecord(f"{server.url}/{k}.mp4", 0) for k in range(8)]
    quarantine = Quarantine(tmp_path / "quarantine.jsonl", num_records=8)
    options = dict(seed=0, batch_size=4, position=0, num_batches=2, quarantine=quarantine, loader=Loader(num_workers))
    with pytest.raises(Unreachable, match=rf"{server.url}/.*.mp4 cannot be reached .*is the network") as caught:
        list(train_batches(records, PROTOCOL, **options))
    assert caught.value.clear and not quarantine.path.exists()


def test_a_server_that_does_not_answer_is_no_hanging_decoder(serve):
    """The deadline passes while the file is fetched; one that passes while it is decoded is another matter."""
    server = serve(fault=0, num_faults=10**6)
    with contextlib.closing(Readers(PROTOCOL, 1, timeout=3.0)) as readers:
        with pytest.raises(Unreachable, match="part_0.mp4 cannot be reached .no answer before the deadline"):
            readers.read(VideoRecord(f"{server.url}/part_0.mp4"), PLACE)
        server.num_faults = 0
        assert readers.read(VideoRecord(f"{server.url}/part_0.mp4", 3), PLACE).label == 3
        with pytest.raises(VideoError, match="decoding took more than 3 s"):
            readers.read(Hanging())


class Stale(NamedTuple):
    """A file of a prepared set, for example, whose server is gone."""

    path: str = "mnt/a.mp4"
    label: int = 0

    def open(self, *, backend):
        try:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        except OSError as error:
            raise VideoError(self.path, str(error)) from None


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_reason_behind_an_error_counts(num_workers, monkeypatch):
    monkeypatch.setattr(endings, "PAUSES", (0.1,))
    said = pytest.raises(Unreachable, match="mnt/a.mp4 cannot be reached .*Stale file handle; tried 2 times")
    with contextlib.closing(Readers(PROTOCOL, num_workers)) as readers, said:
        readers.read(Stale())


def test_a_dead_mount_is_no_missing_file(monkeypatch):
    def stat(path):
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(fetching.os, "stat", stat)
    with pytest.raises(Unreachable, match="mnt/a.mp4 cannot be reached .Transport endpoint is not connected"):
        open_video("mnt/a.mp4")
