"""The rows of a timeline's picture: what stands in each, and how it is drawn."""

from typing import NamedTuple

from actjax.timelines.timeline import PALETTE, Timeline, classes, colours, has_classes, opacity

INK, MUTED, GRID = "#222222", "#777777", "#e8e8e8"
BAR, TRUTH, GAP, LANE = 0.26, 0.08, 0.1, 0.085  # inches: heights of bars, space around them, a lane of proposals


class Row(NamedTuple):
    """A row, with lengths in inches from its top.

    bars: (start, end, score, top, height, colour) from the lowest score to the highest. truth: (start, end, colour).
    """

    name: str
    remark: str
    height: float
    bars_start: float
    bars_end: float
    bars: list[tuple]
    truth: list[tuple]
    truth_start: float
    takes_all_curves: bool = False


def timeline_rows(timeline: Timeline, *, rows: int, shown_proposals: int) -> tuple[list[Row], str]:
    """The rows of a picture from the top, and a note about the classes that have none."""
    if not has_classes(timeline):
        return _proposal_rows(timeline, shown_proposals), ""
    names = classes(timeline)
    palette = colours(timeline)
    drawn = [_class_row(timeline, name, palette[name]) for name in names[:rows]]
    left = names[rows:]
    if not left:
        return drawn, ""
    number = sum(row["class"] in set(left) for row in timeline.segments)
    return drawn, f"without a row: {_count(number, 'segment')} of {_count(len(left), 'class')}: {', '.join(left)}"


def _class_row(timeline: Timeline, name: str, colour: tuple) -> Row:
    found = sorted((row for row in timeline.segments if row["class"] == name), key=lambda row: row["score"])
    known = [row for row in timeline.truth or [] if row["label"] == name]
    bars = [(*row["segment"], row["score"], GAP, BAR, colour) for row in found]
    truth = [(*row["segment"], colour) for row in known]
    remark = f"{len(found)} found" + (f", {len(known)} true" if timeline.truth is not None else "")
    space = TRUTH + 0.02 if timeline.truth is not None else 0
    return Row(name, remark, 2 * GAP + BAR + space, GAP, GAP + BAR, bars, truth, GAP + BAR + 0.02)


def _proposal_rows(timeline: Timeline, shown_proposals: int) -> list[Row]:
    best = sorted(timeline.segments, key=lambda row: -row["score"])[:shown_proposals]
    bars = [(*row["segment"], row["score"], GAP + k * LANE, LANE * 0.82, PALETTE[0]) for k, row in enumerate(best)][
        ::-1
    ]
    end = GAP + max(len(best) * LANE, BAR)
    number = len(timeline.segments)
    remark = f"best {len(best)} of {number}" if len(best) < number else f"{number} found"
    rows = [Row("proposals", remark, end + GAP, GAP, end, bars, [], end, takes_all_curves=True)]
    if timeline.truth is not None:
        truth = [(*row["segment"], PALETTE[2]) for row in timeline.truth]
        height = 2 * GAP + BAR
        rows.append(Row("ground truth", f"{len(truth)} true", height, GAP, GAP + BAR, [], truth, GAP + 0.06))
    return rows


def draw_row(axes, row: Row, top: float, timeline: Timeline) -> None:
    """Draws the bars of a row that begins at `top`, on axes whose y is in inches."""
    axes.axhline(top + row.height, color=GRID, linewidth=0.8, zorder=0.5)
    least = timeline.seconds / 600  # what can still be seen
    span = lambda start, end: (start, max(end - start, least))
    for start, end, score, place, height, colour in row.bars:
        shade = tuple(1 - opacity(timeline, score) * (1 - part / 255) for part in colour)  # as if over white
        axes.broken_barh(
            [span(start, end)], (top + place, height), facecolor=shade, edgecolor="white", linewidth=0.6, zorder=2
        )
    for start, end, colour in row.truth:
        shade = tuple(part / 255 for part in colour)
        axes.broken_barh([span(start, end)], (top + row.truth_start, TRUTH), facecolor=shade, linewidth=0, zorder=2)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{'es' if what.endswith('s') else 's'}"
