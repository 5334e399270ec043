"""What a user gives as videos -> records.

A video is a path or URL of a file, the bytes of a file, or its frames, uint8 [t, h, w, c].
"""

import glob
import logging
import os
from collections.abc import Iterable

import numpy as np

from actjax.data.datasets.records import BytesRecord, FramesRecord, VideoRecord
from actjax.paths import PACKAGES, canonical, check_url, is_url, to_path
from actjax.video.finding import find_videos, told_of

log = logging.getLogger("actjax")


def is_several(video) -> bool:
    """Whether it is a list of videos, a folder of them or a pattern of their names."""
    if isinstance(video, list | tuple):
        return True
    if not isinstance(video, str | os.PathLike) or (is_url(video) and not _stored(video)):
        return False
    path = to_path(video)
    return path.is_dir() or (glob.has_magic(os.fspath(video)) and not path.exists())


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
        found = find_videos(video)
        if told := told_of(video, found):
            log.warning("%s", told)
        return [VideoRecord(str(file)) for file in found.files]
    if hasattr(video, "__array__"):
        return [FramesRecord(np.asarray(video)).check()]
    hint = "; for several videos give a list, list(videos)" if isinstance(video, Iterable) else ""
    raise TypeError(f"a video is a path, a URL, bytes or frames uint8 [t, h, w, c], not {type(video).__name__}{hint}")


def _stored(url) -> bool:
    """Whether a URL is in an object store, which has folders."""
    return canonical(url).partition("://")[0] in PACKAGES
