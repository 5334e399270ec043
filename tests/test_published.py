"""Files that recipes start from: one error says where a missing one is published, and another content is refused."""

import hashlib
import os

import pytest
from conftest import ROOT

import actjax
from actjax.published import check_published
from actjax.recipes import IMAGENET, PUBLISHED

REAL = ROOT.parent / "shared" / "real" / "imagenet"


def test_every_start_of_a_recipe_is_in_the_table():
    names = {path.rpartition("/")[2] for path in IMAGENET.values()}
    assert names == PUBLISHED.keys()
    assert all(url == f"https://download.pytorch.org/models/{name}" for name, url in PUBLISHED.items())


def test_a_file_is_known_by_its_digits(tmp_path):
    content = b"weights"
    digits = hashlib.sha256(content).hexdigest()[:8]
    urls = {f"net-{digits}.pth": "https://host/right", "net-00000000.pth": "https://host/wrong"}
    for name in (*urls, "own.pth"):
        (tmp_path / name).write_bytes(content)
    check_published(tmp_path / f"net-{digits}.pth", urls)
    check_published(tmp_path / "own.pth", urls)
    message = rf"net-00000000.pth is not the published file .* begins with {digits}, not with 00000000; .*host/wrong"
    with pytest.raises(ValueError, match=message):
        check_published(tmp_path / "net-00000000.pth", urls)
    with pytest.raises(FileNotFoundError, match="load_from.path=.*none.pth does not exist; docs/model_zoo.md names"):
        check_published(tmp_path / "none.pth", urls)
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(FileNotFoundError, match="pipe.pth is a named pipe"):
        check_published(tmp_path / "pipe.pth", urls)


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ("tsm_own", "mobilenet_v2-b0353104.pth"),
        ("tsm_own:r50", "resnet50-19c8e357.pth"),
        ("tsm_own:mobilenet", "mobilenet_v2-b0353104.pth"),
    ],
)
def test_missing_weights_are_one_error_before_anything_is_written(tmp_path, monkeypatch, config, file):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / "videos" / name).mkdir(parents=True)
        for k in range(5):
            (tmp_path / "videos" / name / f"{k}.mp4").write_bytes(b"")  # nothing is decoded
    train = lambda: actjax.train(config, "run", data=dict(folder="videos"))
    with pytest.raises(FileNotFoundError) as caught:
        train()
    message = str(caught.value)
    for told in (file, f"curl --create-dirs -o checkpoints/{file} {PUBLISHED[file]}", file[-12:-4], "tsm_own:scratch"):
        assert told in message
    assert "\n" not in message and not (tmp_path / "run").exists()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / file).write_bytes(b"other")
    with pytest.raises(ValueError, match=f"is not the published file '{file}'"):
        train()
    assert not (tmp_path / "run").exists()


def test_arguments_of_the_recipe():
    with pytest.raises(ValueError, match="write one of tsm_own:mobilenet, tsm_own:r50 and tsm_own:scratch"):
        actjax.build("tsm_own:r50,scratch")
