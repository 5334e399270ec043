"""A picture of the segments along a video; needs the extra `plots`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actjax.errors import ShapeError, check_number, shown
from actjax.paths import replace, to_path
from actjax.timelines.axis import show_times
from actjax.timelines.fonts import families, printable
from actjax.timelines.rows import GRID, INK, MUTED, Row, draw_row, timeline_rows
from actjax.timelines.timeline import Timeline, checked, has_classes

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 12.0, 2.6, 0.3, 0.72, 0.48  # inches: the picture, its margins
NOTE = 0.22  # inches for the line about classes that have no row


class Curves(NamedTuple):
    """Scores along a video: times [n] in seconds, scores [n, k], and the names [k] of the classes.

    Each is drawn over the row of its class; without classes, all over the row of the proposals.
    """

    times: np.ndarray
    scores: np.ndarray
    names: Sequence[str]


def timeline_figure(timeline: Timeline, *, curves: Curves | None = None, rows: int = 12, shown_proposals: int = 20):
    """A figure of matplotlib: time from left to right, a row for each class.

    Bars are the segments, the stronger the higher their score; narrow bars beneath them are the ground truth. Proposals
    have one row with the best `shown_proposals`, from the best at the top to the worst.

    >>> figure = timeline_figure(Timeline("a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87, "class": "jump"}]))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['jump', '1 found']

    Args:
      curves: scores along the video, 0 to 1.
      rows: classes with a row, by the sum of their scores; a note names the others.
      shown_proposals: proposals that are drawn.

    Raises:
      ImportError: matplotlib is missing. ValueError, TypeError, KeyError: as `checked`; curves of other shapes, `rows`
        or `shown_proposals` below 1.
    """
    timeline = checked(timeline)
    check_number("rows", rows, "[1, 100]", whole=True)
    check_number("shown_proposals", shown_proposals, "[1, 1000]", whole=True)
    _check_curves(curves)
    figure_class = _figure_class()
    drawn, left_out = timeline_rows(timeline, rows=rows, shown_proposals=shown_proposals)
    inches = [row.height for row in drawn]
    bottom = BOTTOM + (NOTE if left_out else 0)
    height = TOP + sum(inches) + bottom
    figure = figure_class(figsize=(WIDTH, height), facecolor="white")
    axes = figure.add_axes((LEFT / WIDTH, bottom / height, (WIDTH - LEFT - RIGHT) / WIDTH, sum(inches) / height))
    axes.set(xlim=(0, timeline.seconds), ylim=(sum(inches), 0), yticks=[])
    axes.tick_params(colors=MUTED, labelsize=9, length=3)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    show_times(axes, timeline.seconds)
    top = 0.0
    for row in drawn:
        _name_row(figure, axes, row, top)
        draw_row(axes, row, top, timeline)
        _draw_curves(axes, row, top, curves)
        top += row.height
    _write_texts(figure, timeline, curves, left_out)
    return figure


def save_picture(
    path, timeline: Timeline, *, curves: Curves | None = None, rows: int = 12, shown_proposals: int = 20, dpi: int = 150
) -> None:
    """Writes `timeline_figure` as a PNG file, whose earlier content stays until the new one is complete.

    >>> save_picture("a.png", Timeline("a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87, "class": "jump"}]))

    Raises: as `timeline_figure`; ValueError: `dpi` is not 20 to 600.
    """
    check_number("dpi", dpi, "[20, 600]", whole=True)
    figure = timeline_figure(timeline, curves=curves, rows=rows, shown_proposals=shown_proposals)
    replace(to_path(path), lambda file: figure.savefig(file, format="png", dpi=dpi))


def _figure_class():
    try:
        from matplotlib.figure import Figure  # no pyplot: no window system, no global state
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'actjax[plots]'") from error
    return Figure


def _check_curves(curves: Curves | None) -> None:
    if curves is None:
        return
    times, scores = np.shape(curves.times), np.shape(curves.scores)
    if len(times) != 1 or scores != (*times, len(curves.names)):
        raise ShapeError(
            f"curves: times have shape {times}, scores {scores}, names ({len(curves.names)},); expected [n], [n, k]"
        )
    if not np.isfinite(curves.times).all() or not np.isfinite(curves.scores).all():
        raise ValueError(f"curves of {shown(list(curves.names))}: a time or a score is not finite")


def _name_row(figure, axes, row: Row, top: float) -> None:
    """The name to the left of a row, and how many segments it has."""
    options = dict(ha="right", va="center", family=families(), parse_math=False)
    place = (-0.015, top + row.height / 2)
    axes.annotate(
        printable(row.name, most=26), place, xycoords=("axes fraction", "data"), xytext=(0, 5), fontsize=10,
        textcoords="offset points", color=INK, annotation_clip=False, **options,
    )  # fmt: skip
    axes.annotate(
        row.remark, place, xycoords=("axes fraction", "data"), xytext=(0, -7), fontsize=7.5,
        textcoords="offset points", color=MUTED, annotation_clip=False, **options,
    )  # fmt: skip


def _draw_curves(axes, row: Row, top: float, curves: Curves | None) -> None:
    if curves is None:
        return
    scores = np.clip(np.asarray(curves.scores, np.float64), 0, 1)
    bottom, height = top + row.bars_end, row.bars_end - row.bars_start
    for k, name in enumerate(curves.names):
        if row.takes_all_curves or name == row.name:
            shade = INK if not row.takes_all_curves else str(0.15 + 0.5 * k / max(len(curves.names), 1))
            axes.plot(curves.times, bottom - height * scores[:, k], color=shade, linewidth=0.9, alpha=0.7)


def _write_texts(figure, timeline: Timeline, curves: Curves | None, left_out: str) -> None:
    inch = 1 / figure.get_figheight()
    options = dict(family=families(), parse_math=False)
    title = printable(timeline.video, most=90, weight="bold")
    figure.text(0.15 / WIDTH, 1 - 0.26 * inch, title, fontsize=13, weight="bold", color=INK, va="center", **options)
    parts = ["bars: segments found, the stronger the higher the score"]
    parts += ["thin bars: ground truth"] if timeline.truth is not None else []
    if curves is not None:
        all_in_one = not has_classes(timeline)
        told = f" of {', '.join(curves.names)}, from dark to light" if all_in_one and len(curves.names) > 1 else ""
        parts.append(f"lines: scores{told}")
    told = printable("  ·  ".join(parts), most=170)
    figure.text(0.15 / WIDTH, 1 - 0.52 * inch, told, fontsize=8.5, color=MUTED, va="center", **options)
    if left_out:
        text = printable(left_out, most=170)
        figure.text(0.15 / WIDTH, 0.14 * inch, text, fontsize=8.5, color=MUTED, va="center", **options)
