"""Video files -> their top classes, by name."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from actjax.data.clips.spec import ClipSpec
from actjax.data.datasets.records import VideoRecord
from actjax.data.loading.readers import Readers
from actjax.paths import to_path
from actjax.video.errors import VideoError

VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".webm")


def predict_files(
    path: str | os.PathLike,
    clips: ClipSpec,
    predict: Callable,
    variables: dict,
    class_names: Sequence[str],
    *,
    topk: int = 5,
    timeout: float = 30.0,
) -> Iterator[dict]:
    """The top classes of a video file, or of every video file in a folder.

    Args:
      path: the file or folder.
      clips: the clip spec of the evaluation.
      predict: (variables, batch) -> {"scores": [b, k]}.
      topk: classes per video.
      timeout: seconds that decoding one video may take.

    Yields:
      {"video", "predictions": [{"class", "label", "score"}]}, best first; {"video", "error"} for a broken file.

    Raises:
      FileNotFoundError: the file does not exist, or the folder has no video files.
    """
    files = video_files(path)
    with contextlib.closing(Readers(clips, 1, timeout=timeout)) as readers:
        for file in files:
            try:
                clip = readers.read(VideoRecord(str(file)))
            except VideoError as error:
                yield {"video": str(file), "error": error.reason}
                continue
            scores = np.asarray(predict(variables, {"video": clip.video[None]})["scores"][0])
            scores = scores.reshape(-1, len(class_names)).mean(0)  # over the crops, if `predict` does not average them
            best = np.argsort(-scores, kind="stable")[:topk]
            yield {
                "video": str(file),
                "predictions": [{"class": class_names[k], "label": int(k), "score": float(scores[k])} for k in best],
            }


def video_files(path: str | os.PathLike) -> list[pathlib.Path]:
    """The file itself, or the video files of a folder, sorted by name. Raises FileNotFoundError if there is none."""
    path = to_path(path)
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in VIDEO_SUFFIXES) if path.is_dir() else [path]
    if not path.exists() or not files:
        raise FileNotFoundError(f"{path}: no video file found; the suffix must be one of {VIDEO_SUFFIXES}")
    return files
