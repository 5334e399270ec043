"""A video with its labels: what is found at each moment, and a time bar."""

import contextlib
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from actjax.errors import storage_fault
from actjax.paths import does_not_exist, is_url, local, replace
from actjax.timelines.labelled_file import CONTAINERS, LabelledFile, Sound, check_encoder
from actjax.timelines.labels import Labels
from actjax.timelines.source_frames import Frame, SourceFrames
from actjax.timelines.timeline import Timeline, checked
from actjax.video.decoding import content
from actjax.video.errors import VideoError

LEAST, MOST = 360, 4096  # pixels: of height and width of a labelled frame; small frames are enlarged up to LEAST


def write_labelled(
    source: str | os.PathLike | bytes,
    target: str | os.PathLike,
    timeline: Timeline,
    *,
    min_score: float = 0.0,
    lines: int = 2,
    progress: Callable | None = None,
) -> int:
    """Writes a video with its labels on it, as H.264 -> the number of its frames.

    Each frame shows in a box the best `lines` segments of its moment, as `moments` chooses them, and at the bottom a
    time bar: the segments, beneath them the ground truth if it is known, and where the frame is.

    Frames are those that FFmpeg shows, upright, each at its own time, also where the rate varies; Matroska rounds times
    to milliseconds, and a video that begins before 0 is moved to 0. Frames of less than 360 lines are enlarged by a
    whole factor, odd sizes are padded. Sound is copied where the file can hold it, else left out with a warning. One
    frame is in memory at a time. If the source breaks, the frames before that are written, and one warning says where
    it ended.

    >>> from actjax.data.samples.shapes import write_video
    >>> write_video("clip.mp4", np.zeros((10, 48, 64, 3), np.uint8), fps=10)
    >>> timeline = Timeline("clip", 1.0, [{"segment": [0.2, 0.6], "score": 0.87, "class": "jump"}])
    >>> write_labelled("clip.mp4", "labelled.mp4", timeline)
    10

    Args:
      source: as `open_video` takes it. target: a local file, .mp4 or .mkv; complete or not there at all.
      min_score: lower scores are not shown. lines: number of segments at a time.
      progress: (frames, their number or None, what is done) -> the same frames, such as `workdir.progress`.

    Raises:
      VideoError: the source is missing, no video, or none of its frames can be decoded. ImportError: the encoder is
        missing. ValueError, TypeError, KeyError: another suffix, a URL or the source itself as the target, or as
        `checked` and `moments`. FileNotFoundError: the target's folder.
    """
    target = _checked_target(source, target)
    timeline = checked(timeline)
    draw = lambda size: Labels(size, timeline, min_score=min_score, lines=lines)
    draw((LEAST, LEAST))  # refuses wrong options before a file is opened
    check_encoder()
    name = f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)
    data = content(source, folder=False)
    with contextlib.closing(SourceFrames(data, name)) as frames, contextlib.closing(Sound(data, name=name)) as sound:
        iterator = iter(frames)
        first = next(iterator)
        total = frames.num_frames or round(timeline.seconds * frames.rate) or None
        everything = itertools.chain([first], iterator)
        if progress is not None:
            everything = progress(everything, total, f"labels of {name}")
        count = 0

        def write(file) -> None:
            nonlocal count
            count = _write(file, target.suffix.lower(), first, everything, frames, sound, draw)

        replace(target, write)
    return count


def _write(file, suffix: str, first: Frame, everything: Iterator, frames: SourceFrames, sound: Sound, draw) -> int:
    """Writes all frames with their labels -> their number."""
    factor = enlargement(*first.picture.shape[:2])
    size = first.picture.shape[0] * factor, first.picture.shape[1] * factor
    labels, shift, count = draw(size), max(-first.stamp, 0), 0
    sound.shift = shift * frames.time_base
    settings = dict(time_base=frames.time_base, rate=frames.rate, aspect=frames.aspect)
    settings |= dict(size=(size[0] + size[0] % 2, size[1] + size[1] % 2))
    last = first
    with (
        _naming(frames.name, settings["size"]),
        LabelledFile(file, suffix, **settings, sound=sound if sound.fits(suffix) else None) as output,
    ):
        for last in everything:
            picture = _resized(last.picture, size)
            labels.draw(picture, float(last.stamp * frames.time_base))
            padded = np.pad(picture, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), "edge")
            output.add(padded, last.stamp + shift, last.duration)
            count += 1
        end = float((last.stamp + shift + max(last.duration, 1)) * frames.time_base)
        output.finish(sound_until=end if frames.ended_early else float("inf"))
    return count


@contextlib.contextmanager
def _naming(name: str, size: tuple[int, int]) -> Iterator[None]:
    """Errors of FFmpeg while it encodes -> VideoError with the name of the source; those of the disk stay."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        if storage_fault(error):
            raise
        height, width = size
        raise VideoError(name, f"cannot be encoded as H.264 of {width}x{height}: {error.strerror}") from error


def enlargement(height: int, width: int) -> int:
    """The whole factor by which small frames are enlarged, so that text on them can be read.

    >>> enlargement(48, 64), enlargement(256, 340), enlargement(720, 1280)
    (8, 2, 1)
    """
    wanted = max(-(-LEAST // height), -(-LEAST // width))
    return max(min(wanted, MOST // max(height, width)), 1)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A copy of a picture in this size."""
    import cv2

    if picture.shape[:2] == size:
        return picture.copy()
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_CUBIC)


def _checked_target(source, target) -> pathlib.Path:
    target = local(target, "the target of a labelled video")
    if target.suffix.lower() not in CONTAINERS:
        raise ValueError(f"{target}: a labelled video is one of {', '.join(CONTAINERS)}; change the suffix")
    if target.is_dir():
        raise ValueError(f"{target} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: the folder {does_not_exist(target.parent)}")
    if not isinstance(source, bytes) and not is_url(source):
        path = pathlib.Path(source)
        if target.exists() and path.exists() and target.samefile(path):
            raise ValueError(f"{target} is the video itself; write the labelled one to another file")
    return target
