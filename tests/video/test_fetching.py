"""Files at URLs: how much of them is read, and where they may lead."""

import contextlib
import functools
import gzip
import http.server
import threading

import pytest

from actjax.video.decoding import open_video
from actjax.video.errors import Unreachable, VideoError
from actjax.video.fetching import fetch

pytest.importorskip("aiohttp", reason="pip install 'actjax[remote]'")
CONTENT = bytes(range(256)) * 40


class _Handler(http.server.BaseHTTPRequestHandler):
    """`/KIND`: answers as a server that is lying, without an end, or whole."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()

    def do_GET(self):
        with contextlib.suppress(OSError):
            getattr(self, self.path[1:].partition(".")[0])()

    def answer(self, *chunks, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)

    def whole(self):
        self.answer(CONTENT, Content_Length=str(len(CONTENT)))

    def without_length(self):
        self.answer(CONTENT)

    def cut(self):
        self.answer(CONTENT, Content_Length=str(10 * len(CONTENT)))

    def zipped(self):
        self.answer(gzip.compress(CONTENT), Content_Encoding="gzip")

    def endless(self):
        self.answer(*[bytes(2**20)] * 1000)

    def endless_part(self):
        self.answer(*[bytes(2**20)] * 1000, status=206, Content_Range="bytes 0-9/10")

    def bomb(self):
        self.answer(gzip.compress(bytes(2**20)) * 100, Content_Encoding="gzip")

    def gone(self):
        self.answer(status=404)

    def forbidden(self):
        self.answer(status=403)

    def to_a_file(self):
        self.answer(status=302, Location="file:///etc/passwd")

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def url():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=functools.partial(server.serve_forever, 0.05), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("kind", ["whole", "without_length", "zipped"])
def test_the_whole_file_is_read(url, kind):
    assert fetch(f"{url}/{kind}.mp4") == CONTENT  # whatever HEAD says of its length


def test_a_file_that_was_cut_on_its_way_is_the_networks_fault(url):
    with pytest.raises(Unreachable):
        fetch(f"{url}/cut.mp4")


@pytest.mark.parametrize("kind", ["endless", "endless_part", "bomb"])
def test_reading_ends_at_the_limit(url, kind, monkeypatch):
    monkeypatch.setenv("ACTJAX_MAX_DOWNLOAD_MB", "3")
    with pytest.raises(VideoError, match=r"\.mp4: cannot be read: size in MB: .* ACTJAX_MAX_DOWNLOAD_MB=3"):
        open_video(f"{url}/{kind}.mp4")
    monkeypatch.setenv("ACTJAX_MAX_PICTURE_MB", "2")
    with pytest.raises(VideoError, match="size in MB: .* ACTJAX_MAX_PICTURE_MB=2"):
        open_video(url, backend="rawframes", filename_tmpl=f"{kind}.{{}}", num_frames=1).frames([0])


def test_files_of_a_store_are_measured_before_they_are_read(monkeypatch):
    import fsspec

    fsspec.filesystem("memory").pipe("/fetched/a.mp4", bytes(2_000_000))
    assert len(fetch("memory://fetched/a.mp4")) == 2_000_000
    monkeypatch.setenv("ACTJAX_MAX_DOWNLOAD_MB", "1")
    with pytest.raises(OSError, match="size in MB: 2 .*ACTJAX_MAX_DOWNLOAD_MB=1"):
        fetch("memory://fetched/a.mp4")


def test_the_case_of_a_scheme_says_nothing(url):
    assert fetch(f"{url}/whole.mp4".replace("http:", "HTTP:")) == CONTENT


@pytest.mark.parametrize(
    ("kind", "reason"), [("gone", "there is no such file"), ("forbidden", "the server answers 403 Forbidden")]
)
def test_why_a_server_does_not_give_a_file(url, kind, reason):
    with pytest.raises(VideoError, match=f"/{kind}.mp4: cannot be read: {reason}$"):
        open_video(f"{url}/{kind}.mp4")
    with pytest.raises(VideoError, match=f"/{kind}.1: {reason}$"):
        open_video(url, backend="rawframes", filename_tmpl=f"{kind}.{{}}", num_frames=1).frames([0])
    with pytest.raises(VideoError, match="memory://fetched/none.mp4: cannot be read: there is no such file$"):
        open_video("memory://fetched/none.mp4")


def test_a_server_leads_to_no_local_file(url):
    with pytest.raises((VideoError, Unreachable)):
        open_video(f"{url}/to_a_file.mp4")
