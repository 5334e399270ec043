"""Paths that users give: what they are, and where URLs may lead."""

import os
import socket

import pytest

from actjax import paths
from actjax.data.datasets.existing import missing_files
from actjax.video.decoding import open_video
from actjax.video.errors import VideoError


def test_what_is_no_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        (tmp_path / "folder").mkdir()
        kinds = {"file": None, "none": None, "a\0b": None, "gs://a/b": None, "/dev/zero": "is a device"}
        kinds |= {"pipe": "is a named pipe", "socket": "is a socket", "folder": "is a folder"}
        assert {path: paths.not_a_file(path) for path in kinds} == kinds
        for path, kind in kinds.items():
            if "\0" not in path and "://" not in path:
                link = tmp_path / f"link to {os.path.basename(path)}"
                link.symlink_to(path)
                assert paths.not_a_file(link) == kind
    (tmp_path / "circle").symlink_to("circle")
    assert paths.not_a_file("circle") is None


@pytest.mark.parametrize(
    "url",
    ["reference://a", "file:///etc/passwd", "local:///etc/passwd", "dask://a", "jupyter://h/a", "github://a:b@c/d.mp4",
     "ftp://a/b.mp4", "zip://a.mp4::http://h/a.zip", "simplecache::gs://bucket/a.mp4", "gs://a::file:///etc/passwd",
     "HTTPX://h/a.mp4", "data://a", "://a", "x" * 5000 + "://a"],
)  # fmt: skip
def test_urls_of_other_schemes_are_refused_in_one_line(url):
    for check in (paths.check_url, paths.check_scheme, paths.to_path):
        with pytest.raises(ValueError, match=r"must be a local path, or \[.*'gs'.*\]://; copy it first") as caught:
            check(url)
        assert len(str(caught.value)) < 400
    with pytest.raises(VideoError, match="cannot be read: .*must be a local path, or .*'http'") as caught:
        open_video(url)
    assert len(str(caught.value)) < 400 and caught.value.path == url
    with pytest.raises(VideoError, match="cannot be read: .*must be a local path, or .*'http'"):
        open_video(url, backend="rawframes", num_frames=1)
    with pytest.raises(ValueError, match="must be a local path"):
        missing_files([url])


def test_urls_of_videos():
    for scheme in ("http", "https", "gs", "gcs", "s3", "az", "abfs", "hf", "memory"):
        assert paths.check_scheme(f"{scheme}://a/b.mp4") == scheme
        assert paths.check_scheme(f"{scheme.upper()}://a/b.mp4") == scheme
    with pytest.raises(ValueError, match=r"https://a/list.txt: must be a local path, or \['az', 'gs', 's3'\]://"):
        paths.to_path("https://a/list.txt")
