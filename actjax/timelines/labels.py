"""The labels and the time bar on the frames of a video."""

import bisect

import numpy as np

from actjax.timelines.lettering import draw_text, fitted, line_of, text_width
from actjax.timelines.moments import moments
from actjax.timelines.timeline import PALETTE, Timeline, colours, opacity

DARK, COVER = 20, 0.62  # of the box behind text and of the time bar: its grey, how much of the frame it covers


class Labels:
    """Draws a video's labels onto its frames, all of one size.

    Args:
      size: height and width of the frames. timeline: a checked one. min_score, lines: as `moments` takes them.
    """

    def __init__(self, size: tuple[int, int], timeline: Timeline, *, min_score: float, lines: int):
        self._size, self._timeline = size, timeline
        self._moments = moments(timeline.segments, min_score=min_score, lines=lines)
        self._starts = [moment.start for moment in self._moments]
        self._colours = colours(timeline) | {"": PALETTE[0]}
        self._box: tuple[int, np.ndarray] | None = None  # the moment whose box was drawn last
        height, width = size
        self.text_size = min(max(height // 20, 16), 44)
        self.bar_height = max(height // 24, 8)
        self._bar = self._draw_bar(min_score)
        self._line = max(width // 400, 1)  # half the cursor's width

    def draw(self, picture: np.ndarray, seconds: float) -> None:
        """Draws onto uint8 [h, w, 3] what belongs to the frame shown at this second."""
        k = bisect.bisect_right(self._starts, seconds) - 1
        if k >= 0 and seconds < self._moments[k].end:
            box = self._box_of(k)
            margin = self.text_size // 2
            _cover(picture[margin : margin + box.shape[0], margin : margin + box.shape[1]], box)
        _cover(picture[-self.bar_height :], self._bar)
        width = picture.shape[1]
        x = min(max(round(seconds / self._timeline.seconds * width), 0), width - 1)
        bar = picture[-self.bar_height - 2 * self._line :]
        bar[:, max(x - 2 * self._line, 0) : x + 2 * self._line + 1] = DARK
        bar[:, max(x - self._line, 0) : x + self._line + 1] = 255

    def _box_of(self, k: int) -> np.ndarray:
        """The box of a moment, uint8 [h, w, 4]: colours and how much they cover."""
        if self._box is None or self._box[0] != k:
            rows = [self._timeline.segments[row] for row in self._moments[k].shown]
            self._box = k, self._draw_box(rows)
        return self._box[1]

    def _draw_box(self, rows: list[dict]) -> np.ndarray:
        size, (height, width) = self.text_size, self._size
        step, pad = size * 3 // 2, size // 2
        most = max(width - 5 * pad - size // 2, size)
        rows = rows[: max((height - self.bar_height - 3 * pad) // step, 1)]
        names = [line_of(row.get("class", "action")) for row in rows]
        texts = [fitted(name, f"{row['score']:.2f}", size, most) for name, row in zip(names, rows, strict=True)]
        shape = len(rows) * step + pad // 2, min(max(text_width(text, size) for text in texts) + 3 * pad, width - pad)
        box = np.full((*shape, 3), DARK, np.uint8)
        cover = np.full((*shape, 1), round(255 * COVER), np.uint8)
        for k, (row, text) in enumerate(zip(rows, texts, strict=True)):
            top = k * step + pad // 2
            foot = top + step * 2 // 3
            draw_text(box, text, (2 * pad, foot), size)
            mark = slice(top + step // 6, top + step * 5 // 6), slice(pad // 2, pad // 2 + size * 2 // 5)
            box[mark], cover[mark] = self._colours[row.get("class", "")], 255
        letters = (box.max(2, keepdims=True).astype(int) - DARK) * 255 // (255 - DARK)  # they are not translucent
        return np.concatenate([box, np.clip(letters, cover, 255).astype(np.uint8)], axis=2)

    def _draw_bar(self, min_score: float) -> np.ndarray:
        """The time bar without its cursor, uint8 [h, w, 4]; known truth is its lower third."""
        height, width = self.bar_height, self._size[1]
        bar = np.full((height, width, 4), (DARK, DARK, DARK, round(255 * COVER)), np.uint8)
        third = height // 3 if self._timeline.truth is not None else 0
        column = lambda time: min(max(round(time / self._timeline.seconds * width), 0), width)
        for row in sorted(self._timeline.segments, key=lambda row: row["score"]):
            if row["score"] >= min_score:
                start, end = map(column, row["segment"])
                shade = DARK + opacity(self._timeline, row["score"]) * (
                    np.array(self._colours[row.get("class", "")]) - DARK
                )
                bar[1 : height - third, start : max(end, start + 1)] = (*shade.astype(np.uint8), 255)
        for row in self._timeline.truth or []:
            start, end = map(column, row["segment"])
            colour = self._colours.get(row["label"], (255, 255, 255))
            bar[height - third + 1 :, start : max(end, start + 1)] = (*colour, 255)
        return bar


def _cover(part: np.ndarray, box: np.ndarray) -> None:
    """Lays a box [h, w, 4] over a part of a picture, as far as that reaches."""
    box = box[: part.shape[0], : part.shape[1]]
    cover = box[..., 3:].astype(np.uint16)
    part[:] = ((255 - cover) * part + cover * box[..., :3] + 127) // 255
