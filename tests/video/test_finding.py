"""Paths, folders and patterns become lists of videos, and nothing is left out without a word."""

import os

import pytest

from actjax.video.finding import VIDEO_SUFFIXES, find_videos, told_of


@pytest.fixture
def folder(tmp_path):
    """A folder of videos in folders, with other files among them."""
    for name in (
        "b.mp4",
        "a/x.MPG",
        "a/deep/er/y.wmv",
        "a/deep/z.gif",
        "notes.txt",
        "a/l.csv",
        "a/README",
        ".hid/v.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".DS_Store").touch()
    return tmp_path


def names(found, folder):
    return [os.path.relpath(path, folder) for path in found.files]


def test_a_folder_is_searched_to_its_depth(folder):
    found = find_videos(folder)
    assert names(found, folder) == ["a/deep/er/y.wmv", "a/deep/z.gif", "a/x.MPG", "b.mp4"]
    assert found.left_out == {"hidden": 2, ".txt": 1, ".csv": 1, "": 1}
    assert found.told().startswith("left out: 2 hidden") and "1 without a suffix" in found.told()
    assert told_of(folder, found).endswith(found.told()) and ": 4 videos; " in told_of(folder, found)


@pytest.mark.parametrize("suffix", ["m4v", "mpg", "wmv", "flv", "gif", "MTS", "vob", "3gp", "rmvb", "ogv", "y4m"])
def test_suffixes_of_videos(tmp_path, suffix):
    file = tmp_path / f"v.{suffix}"
    file.touch()
    assert find_videos(tmp_path).files == [file] and find_videos(tmp_path).told() == ""


def test_every_suffix_of_ffmpegs_video_formats_is_known():
    """Formats of sound, subtitles, still pictures and playlists aside, whatever PyAV's FFmpeg lists for reading."""
    av = pytest.importorskip("av")
    wanted = "mov mp4 m4v 3gp 3g2 mj2 avi flv f4v gif asf webm mkv mpg ts m2ts nut mxf ogv rm wtv h264 hevc ivf dv y4m"
    assert {f".{suffix}" for suffix in wanted.split()} <= VIDEO_SUFFIXES
    sound = "m4a mka mp3 wav aac flac ogg opus ac3 wma srt ass vtt jpg png m3u8 sdp txt"
    assert not {f".{suffix}" for suffix in sound.split()} & VIDEO_SUFFIXES
    read = {s for name in ("mov", "matroska", "avi", "flv", "mpegts", "dv", "ivf") if name in av.formats_available
            for s in av.format.ContainerFormat(name, "r").extensions}  # fmt: skip
    others = {"m4a", "m4b", "mka", "mks", "isma", "j2k", "heic", "heif", "avif"}  # sound and pictures
    assert {f".{suffix}" for suffix in read - others} <= VIDEO_SUFFIXES


def test_a_file_may_have_any_suffix(folder):
    assert find_videos(folder / "notes.txt").files == [folder / "notes.txt"]
    assert find_videos(str(folder / "a" / "README")).files == [folder / "a" / "README"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.mp4", ["b.mp4"]),
        ("**/*.*", ["a/deep/er/y.wmv", "a/deep/z.gif", "a/x.MPG", "b.mp4"]),
        ("*", ["a/deep/er/y.wmv", "a/deep/z.gif", "a/x.MPG", "b.mp4"]),  # what the folder holds
        ("a/deep*", ["a/deep/er/y.wmv", "a/deep/z.gif"]),
        ("a/*.csv", ["a/l.csv"]),  # the suffix is taken at its word
        ("**/[yz].*", ["a/deep/er/y.wmv", "a/deep/z.gif"]),
    ],
)
def test_patterns(folder, pattern, expected):
    assert names(find_videos(str(folder / pattern)), folder) == expected


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path):
    file = tmp_path / "goal [final].mp4"
    file.touch()
    assert find_videos(str(file)).files == [file]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none", "none does not exist"),
        ("*.webm", "no file has a name of this pattern"),
        ("a/deep/**/*.tx?", "no file has a name of this pattern"),
        ("*.t?t", r"names no video, .*left out: 1 \.txt"),
        (".hid/.more", "does not exist"),
    ],
)
def test_nothing_is_an_error(folder, path, message):
    with pytest.raises(FileNotFoundError, match=message):
        find_videos(str(folder / path))


def test_a_folder_without_videos_says_what_it_holds(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file with the suffix of a video, .*; it is empty"):
        find_videos(tmp_path)
    (tmp_path / "list.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"such as \.mp4, .*; left out: 1 \.txt"):
        find_videos(tmp_path)


def test_links_are_followed_once(folder):
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "c").symlink_to(folder / "a" / "deep")
    found = find_videos(folder)
    assert sorted(path.name for path in found.files) == ["b.mp4", "x.MPG", "y.wmv", "z.gif"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_listed_is_told(folder):
    (folder / "a").chmod(0)
    try:
        assert find_videos(folder).left_out["unreadable"] == 1
    finally:
        (folder / "a").chmod(0o755)
