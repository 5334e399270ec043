"""Paths that users give: what they are, and where URLs may lead."""

import os
import socket

from actjax import paths


def test_what_is_no_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        (tmp_path / "folder").mkdir()
        kinds = {"file": None, "none": None, "a\0b": None, "gs://a/b": None, "/dev/zero": "is a device"}
        kinds |= {kind: f"is a {kind}" for kind in ("pipe", "socket", "folder")}
        assert {path: paths.not_a_file(path) for path in kinds} == kinds
        for path, kind in kinds.items():
            if "\0" not in path and "://" not in path:
                link = tmp_path / f"link to {os.path.basename(path)}"
                link.symlink_to(path)
                assert paths.not_a_file(link) == kind
    (tmp_path / "circle").symlink_to("circle")
    assert paths.not_a_file("circle") is None
