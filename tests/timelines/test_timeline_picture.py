"""Pictures of timelines: bars are where the segments are."""

import sys
import warnings

import cv2
import numpy as np
import pytest

from actjax.timelines import Curves, Timeline, save_picture, timeline_figure
from actjax.timelines.axis import clock, tick_times
from actjax.timelines.timeline import PALETTE, classes, colours

pytest.importorskip("matplotlib", reason="the extra `plots`")
DPI = 100
WHITE = np.array([255, 255, 255])


def drawn(path, timeline, **options) -> tuple[np.ndarray, object]:
    """RGB int [h, w, 3], and (seconds, inches from the top of the rows) -> (column, row) of a pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_picture(path, timeline, dpi=DPI, **options)
    figure = timeline_figure(timeline, **options)
    picture = cv2.imread(str(path))[..., ::-1].astype(int)
    figure.set_dpi(DPI)

    def place(seconds, inches):
        x, y = figure.axes[0].transData.transform((seconds, inches))
        return round(x), round(picture.shape[0] - y)

    return picture, place


def columns(picture, colour, rows: slice) -> np.ndarray:
    """Whether each column has a pixel of about this colour in these rows."""
    return (np.abs(picture[rows] - np.array(colour)).max(-1) < 12).any(0)


def span(found: np.ndarray) -> tuple[int, int]:
    return int(np.argmax(found)), len(found) - int(np.argmax(found[::-1]))


def test_bars_are_where_the_segments_are(tmp_path):
    rows = [
        {"segment": [10, 30], "score": 1.0, "class": "run"},
        {"segment": [70, 80], "score": 1.0, "class": "run"},
        {"segment": [40, 50.5], "score": 1.0, "class": "jump"},
    ]
    truth = [{"segment": [12, 33], "label": "run"}, {"segment": [60, 61], "label": "walk"}]
    timeline = Timeline("v_a", 100.0, rows, truth)
    picture, place = drawn(tmp_path / "a.png", timeline)
    assert picture.shape[1] == 1200 and 200 < picture.shape[0] < 400
    palette = colours(timeline)
    assert [*palette] == classes(timeline) == ["run", "jump", "walk"]
    height = 0.56  # inches of a row with truth
    for k, (name, seconds) in enumerate([("run", [(10, 30), (70, 80)]), ("jump", [(40, 50.5)])]):
        y = place(0, k * height + 0.23)[1]
        found = columns(picture, palette[name], slice(y, y + 1))
        for start, end in seconds:
            x0, x1 = place(start, 0)[0], place(end, 0)[0]
            assert np.abs(np.array(span(found[x0 - 20 : x1 + 20])) + x0 - 20 - (x0, x1)).max() <= 2
        assert found.sum() == pytest.approx(sum(place(e, 0)[0] - place(s, 0)[0] for s, e in seconds), abs=6)
    for name, k, (start, end) in (("run", 0, (12, 33)), ("walk", 2, (60, 61))):
        y = place(0, k * height + 0.42)[1]
        found = span(columns(picture, palette[name], slice(y, y + 1)))
        assert np.abs(np.array(found) - (place(start, 0)[0], place(end, 0)[0])).max() <= 2


def test_bars_are_stronger_the_higher_the_score(tmp_path):
    scores = (0.1, 0.5, 0.9)
    rows = [{"segment": [10 * k, 10 * k + 8], "score": x, "class": "run"} for k, x in enumerate(scores)]
    picture, place = drawn(tmp_path / "a.png", Timeline("a", 30.0, rows))
    shades = [picture[place(0, 0.23)[1], place(10 * k + 4, 0)[0]] for k in range(3)]
    distance = [np.abs(WHITE - shade).sum() for shade in shades]
    assert distance[0] < distance[1] < distance[2]


def test_the_better_of_overlapping_segments_is_on_top(tmp_path):
    rows = [{"segment": [10, 20], "score": 1.0, "class": "run"}, {"segment": [0, 30], "score": 0.1, "class": "run"}]
    timeline = Timeline("a", 30.0, rows)
    picture, place = drawn(tmp_path / "a.png", timeline)
    x, y = place(15, 0.23)
    np.testing.assert_allclose(picture[y, x], colours(timeline)["run"], atol=2)


def test_proposals_are_stacked_by_rank(tmp_path):
    rows = [{"segment": [10 * k, 10 * k + 8], "score": 1 - k / 100} for k in range(8)]
    timeline = Timeline("a", 80.0, rows[::-1], [{"segment": [20, 60], "label": "run"}])
    picture, place = drawn(tmp_path / "a.png", timeline, shown_proposals=5)
    for k in range(8):
        x = place(10 * k + 4, 0)[0]
        lanes = [place(0, 0.1 + lane * 0.085 + 0.03)[1] for lane in range(5)]
        coloured = [np.abs(picture[y, x] - WHITE).max() > 100 for y in lanes]
        assert coloured == [lane == k for lane in range(5)]
    truth = columns(picture, PALETTE[2], slice(None))
    assert np.abs(np.array(span(truth)) - (place(20, 0)[0], place(60, 0)[0])).max() <= 2


def test_classes_beyond_the_rows_are_named(tmp_path):
    rows = [{"segment": [k, k + 1], "score": 1 - k / 100, "class": f"class {k}"} for k in range(15)]
    figure = timeline_figure(Timeline("a", 20.0, rows))
    texts = [text.get_text() for text in (*figure.texts, *figure.axes[0].texts)]
    assert "without a row: 3 segments of 3 classes: class 12, class 13, class 14" in texts
    assert [text for text in texts if text.startswith("class")] == [f"class {k}" for k in range(12)]
    assert figure.get_figheight() > timeline_figure(Timeline("a", 20.0, rows), rows=3).get_figheight()


@pytest.mark.parametrize("classified", [True, False])
def test_curves_are_drawn_over_their_rows(tmp_path, classified):
    seconds = np.linspace(0, 10, 50)
    curves = Curves(seconds, np.stack([np.ones(50), np.zeros(50)], 1), ["run", "other"])
    rows = [{"segment": [1, 2], "score": 0.5} | ({"class": "run"} if classified else {})]
    lines = timeline_figure(Timeline("a", 10.0, rows), curves=curves).axes[0].lines
    assert sum(len(line.get_xdata()) == 50 for line in lines) == (1 if classified else 2)
    (top,) = {y for line in lines[:] if len(line.get_xdata()) == 50 for y in line.get_ydata()} - {0.36}
    assert top == pytest.approx(0.1)
    drawn(tmp_path / "a.png", Timeline("a", 10.0, rows), curves=curves)


ODD = [
    "läuft",
    "Прыжок",
    "跳跃",
    "手を振る",
    "$x_1$ $",
    "a\nb",
    "\x1b[31m",
    "x" * 900,
    "عربي",
    "😀",
    "_^{}\\frac",
    "\udc80",
]


def test_odd_names_do_not_warn(tmp_path):
    rows = [{"segment": [k, k + 1], "score": 0.5, "class": name} for k, name in enumerate(ODD)]
    for video in ODD:
        drawn(tmp_path / "a.png", Timeline(video, 20.0, rows, [{"segment": [1, 2], "label": "跳跃"}]), rows=6)


@pytest.mark.parametrize("name", ["a" * 900, "W" * 900, "跳" * 900, "mw" * 400, "counter-clockwise turning"])
def test_long_names_are_cut_and_stay_in_the_picture(name):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    timeline = Timeline(name, 20.0, [{"segment": [0, 1], "score": 0.5, "class": name}])
    figure = timeline_figure(timeline)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [*figure.axes[0].texts, *figure.texts]
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert [text.get_text().endswith("…") for text in texts[:1]] == [len(name) > 30]


@pytest.mark.parametrize("seconds", [1e-3, 0.5, 4.2, 100.0, 7380.0, 1e6])
def test_nothing_to_draw_on_any_length(tmp_path, seconds):
    drawn(tmp_path / "a.png", Timeline("a", seconds, []))
    drawn(tmp_path / "a.png", Timeline("a", seconds, [{"segment": [0, 0], "score": 2.0, "class": "run"}], []))


def test_the_time_axis():
    for seconds in (0.05, 0.3, 2, 14, 59, 61, 600, 5000, 86400, 1e7):
        ticks = tick_times(seconds)
        assert ticks[0] == 0 and ticks[-1] <= seconds + 1e-6 and len(ticks) <= 15
    texts = [text.get_text() for text in timeline_figure(Timeline("a", 7380.0, [])).axes[0].get_xticklabels()]
    assert texts[:2] == ["0:00:00", "0:10:00"] and texts[-1] == "2:00:00"
    texts = [text.get_text() for text in timeline_figure(Timeline("a", 100.0, [])).axes[0].get_xticklabels()]
    assert texts == ["0:00", "0:10", "0:20", "0:30", "0:40", "0:50", "1:00", "1:10", "1:20", "1:30", "1:40"]
    assert clock(59.96, digits=1) == "1:00.0"


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"plots need matplotlib: pip install 'actjax\[plots\]'"):
        save_picture(tmp_path / "a.png", Timeline("a", 9.0, []))
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows=0; must be a whole number"),
        ({"shown_proposals": 0}, "shown_proposals=0; must be a whole number"),
        ({"dpi": 5000}, "dpi=5000; must be a whole number"),
        ({"curves": Curves(np.zeros(3), np.zeros((3, 2)), ["a"])}, r"curves: times have shape \(3,\), scores \(3, 2\)"),
        ({"curves": Curves(np.zeros(1), np.full((1, 1), np.nan), ["a"])}, "curves of .'a'.: a time or a score is not"),
    ],
)
def test_options_that_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        save_picture(tmp_path / "a.png", Timeline("a", 9.0, []), **options)
