"""What a user gives as videos -> records.

A video is a path or URL of a file, the bytes of a file, or its frames, uint8 [t, h, w, c].
"""

import glob
import logging
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from actjax.data.datasets.class_folders import PICTURES
from actjax.data.datasets.frame_folders import frames_of
from actjax.data.datasets.records import BytesRecord, FramesRecord, RawframesRecord, VideoRecord
from actjax.data.prepared.writing import repeated
from actjax.metrics.matching import stem
from actjax.paths import PACKAGES, canonical, check_url, is_url, to_path
from actjax.video.finding import VIDEO_SUFFIXES, find_videos, told_of

log = logging.getLogger("actjax")


def is_several(video) -> bool:
    """Whether it is a list of videos, a folder of them or a pattern of their names."""
    if isinstance(video, list | tuple):
        return True
    if not isinstance(video, str | os.PathLike) or (is_url(video) and not _stored(video)):
        return False
    path = to_path(video)
    return (path.is_dir() and not pictures_of(path)) or (glob.has_magic(os.fspath(video)) and not path.exists())


def records_of(video) -> list:
    """The records of a video, of a list of videos, or of those in a folder or of a pattern; says what is left out.

    Raises:
      FileNotFoundError: as `find_videos`. ValueError: frames of another type or shape, an empty path, a URL that needs
        a package. TypeError: not a video.
    """
    if isinstance(video, list | tuple):
        return [record for one in video for record in records_of(one)]
    if isinstance(video, str | os.PathLike) and not os.fspath(video):
        raise ValueError("the path of the video is empty")
    if isinstance(video, bytes | bytearray | memoryview):
        return [BytesRecord(bytes(video))]
    if isinstance(video, str | os.PathLike):
        if is_url(video) and not _stored(video):
            check_url(video)
            return [VideoRecord(os.fspath(video))]
        if (path := to_path(video)).is_dir() and (frames := pictures_of(path)):
            return [frames]
        found = find_videos(video)
        if told := told_of(video, found):
            log.warning("%s", told)
        return [VideoRecord(str(file)) for file in found.files]
    if hasattr(video, "__array__"):
        return [FramesRecord(np.asarray(video)).check()]
    hint = "; for several videos give a list, list(videos)" if isinstance(video, Iterable) else ""
    raise TypeError(f"a video is a path, a URL, bytes or frames uint8 [t, h, w, c], not {type(video).__name__}{hint}")


def pictures_of(folder: pathlib.Path) -> RawframesRecord | None:
    """The record of a local folder that directly holds the frames of one video, and no video; None: it does not.

    Raises:
      ValueError: its pictures are not numbered as frames are.
    """
    names = [] if is_url(folder) else [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
    suffixes = {os.path.splitext(name)[1].lower() for name in names}
    pictures = [name for name in names if name.lower().endswith(PICTURES)]
    if not pictures or suffixes & VIDEO_SUFFIXES:
        return None
    frames = frames_of(pictures, folder=str(folder))
    options = dict(filename_tmpl=frames.filename_tmpl, start_index=frames.start_index)
    return RawframesRecord(str(folder), frames.num_frames, **options)


def _stored(url) -> bool:
    """Whether a URL is in an object store, which has folders."""
    return canonical(url).partition("://")[0] in PACKAGES


def distinct_names(paths: Sequence[str]) -> list[str]:
    """What each video is called in tables and files: the shortest of three forms of its path that tells all apart.

    >>> distinct_names(["/a/run/0.mp4", "/a/walk/0.mp4"])
    ['run_0', 'walk_0']
    """
    text = lambda path: path.encode(errors="backslashreplace").decode()  # names of files may be no text
    paths = [os.path.abspath(text(path)) for path in paths]  # a URL becomes one, too
    common = os.path.commonpath([os.path.dirname(path) for path in paths] or ["/"])
    parts = [pathlib.PurePath(os.path.relpath(path, common)).parts for path in paths]
    names = [stem(path) for path in paths]
    for longer in (["_".join([*own[:-1], stem(own[-1])]) for own in parts], ["_".join(own) for own in parts]):
        if repeated(names):
            names = longer
    if twice := repeated(names):
        raise ValueError(f"several videos are named {twice[:5]}; the names must differ, as they name files")
    return names
