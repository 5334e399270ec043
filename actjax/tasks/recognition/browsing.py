"""A contact sheet of training clips: one row per record, with its label, frame indices and crop."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from actjax.data.clips.spec import Clip, ClipSpec
from actjax.data.loading.order import Order
from actjax.data.loading.readers import Readers
from actjax.literal import literal
from actjax.video.errors import VideoError

MARGIN, LINE = 4, 16  # pixels: around pictures, a line of text


def contact_sheet(
    records: Sequence,
    clips: ClipSpec,
    class_names: Sequence[str],
    *,
    num: int,
    seed: int,
    timeout: float = 30.0,
    augment: Callable | None = None,
) -> np.ndarray:
    """The first `num` clips of a training run -> RGB uint8 [h, w, 3].

    Args:
      augment: (video [v, t, h, w, c], position) -> the augmented video; None: no augmentation.
    """
    order, rows = Order(records, seed=seed), []
    with contextlib.closing(Readers(clips, 1, timeout=timeout)) as readers:
        for position in range(min(num, len(records))):
            place = order.place(position)
            record = records[place.record]
            try:
                clip = readers.read(record, place)
            except VideoError as error:
                rows.append(_row([f"#{place.record} {record.path}: {error.reason}"], None, clips))
                continue
            text = f"#{place.record} {os.path.basename(record.path)}: {_names(clip.label, class_names)}"
            video = clip.video if augment is None else augment(clip.video, position)
            rows.append(_row([text, _draws(clip)], video, clips))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def save_png(path: pathlib.Path, picture: np.ndarray) -> None:
    """Writes an RGB picture as PNG."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def _names(label, class_names: Sequence[str]) -> str:
    if np.ndim(label) == 0:
        return f"{int(label)} {class_names[int(label)]}"
    return ", ".join(f"{k} {class_names[k]} {label[k]:g}" for k in np.flatnonzero(label)) or "no class"


def _draws(clip: Clip) -> str:
    boxes = ["{:g},{:g}-{:g},{:g}".format(*(round(float(edge), 1) for edge in view.box)) for view in clip.views]
    mirrored = " mirrored" if clip.views[0].flip else ""
    return f"frames {' '.join(map(str, clip.indices.ravel()))}; box {'; '.join(boxes)}{mirrored}"


def _row(lines: list[str], video: np.ndarray | None, clips: ClipSpec) -> np.ndarray:
    """Lines of text above the frames of every crop -> uint8 [h, w, 3]."""
    import cv2

    v, t, h, w, _ = clips.clip_shape
    row = np.zeros((len(lines) * LINE + (0 if video is None else v * (h + MARGIN)), t * (w + MARGIN), 3), np.uint8)
    for k, line in enumerate(lines):
        cv2.putText(
            row,
            literal(line, lines=False),
            (2, k * LINE + 12),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.4,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
    for i, j in np.ndindex((v, t) if video is not None else (0, 0)):
        y, x = len(lines) * LINE + i * (h + MARGIN), j * (w + MARGIN)
        row[y : y + h, x : x + w] = _visible(video[i, j])
    return row


def _visible(frame: np.ndarray) -> np.ndarray:
    """RGB unchanged; flow as red (first x channel) and green (first y channel)."""
    if frame.shape[-1] == 3:
        return frame
    return np.concatenate([frame[..., :2], np.full_like(frame[..., :1], 128)], axis=-1)
