"""Subtitles, read by a parser of their own and compared with the rule at every millisecond that matters."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actjax.timelines import Timeline, srt_text, write_srt
from actjax.timelines.moments import moments

TIME = r"(\d{2,}):(\d\d):(\d\d),(\d{3})"


def parsed(text: str) -> list[tuple[int, int, list[str]]]:
    """(start, end, lines) of each cue of a SubRip file, in milliseconds."""
    cues = []
    for number, block in enumerate(filter(None, text.split("\n\n")), start=1):
        first, times, *lines = block.strip("\n").split("\n")
        assert first == str(number) and lines and all(lines)
        found = re.fullmatch(f"{TIME} --> {TIME}", times)
        parts = [int(part) for part in found.groups()]
        assert all(part < 60 for part in (*parts[1:3], *parts[5:7]))
        cues.append((*(((h * 60 + m) * 60 + s) * 1000 + ms for h, m, s, ms in (parts[:4], parts[4:])), lines))
    return cues


def expected(timeline: Timeline, moment: int, min_score: float, lines: int) -> list[str]:
    """What is shown at a millisecond, straight from the rule."""
    inside = lambda time: min(max(round(time * 1000), 0), round(timeline.seconds * 1000))
    shown = [
        row
        for row in timeline.segments
        if row["score"] >= min_score and inside(row["segment"][0]) <= moment < inside(row["segment"][1])
    ]
    best = sorted(shown, key=lambda row: -row["score"])[:lines]  # a stable sort
    return [f"{row.get('class', 'action')} {row['score']:.2f}" for row in best]


times = st.integers(-2000, 70000).map(lambda ms: ms / 1000) | st.floats(-1, 61) | st.integers(0, 8)
scores = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)


@st.composite
def timelines(draw):
    rows = []
    classified = draw(st.booleans())
    for a, b, score in draw(st.lists(st.tuples(times, times, scores), max_size=12)):
        row = {"segment": sorted((a, b)), "score": score}
        rows.append(row | ({"class": draw(st.sampled_from(["run", "jump high", "läuft"]))} if classified else {}))
    return Timeline("a", draw(st.sampled_from([60.0, 5.0])), rows)


@given(timelines(), st.sampled_from([0.0, 0.25, 0.6]), st.integers(1, 4))
def test_every_moment_shows_the_best_segments(timeline, min_score, lines):
    cues = parsed(srt_text(timeline, min_score=min_score, lines=lines))
    assert all(start < end for start, end, _ in cues)
    assert all(one[1] <= two[0] for one, two in zip(cues, cues[1:], strict=False))
    edges = {round(edge * 1000) + d for row in timeline.segments for edge in row["segment"] for d in (-1, 0, 1)}
    for moment in (edge for edge in edges if edge >= 0):
        shown = [line for start, end, lines_ in cues if start <= moment < end for line in lines_]
        assert shown == expected(timeline, moment, min_score, lines)


@given(timelines(), st.integers(1, 4))
def test_a_moment_ends_only_where_something_changes(timeline, lines):
    found = moments(timeline.segments, lines=lines)
    assert all(one.end < two.start or one.shown != two.shown for one, two in zip(found, found[1:], strict=False))
    assert all(moment.start < moment.end and 0 < len(moment.shown) <= lines for moment in found)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("jump", "jump 0.87"),
        ("a --> b", "a → b 0.87"),
        ("a ----> b", "a → b 0.87"),
        ("one\n\n2\n00:00:00,000 --> 00:00:09,000\nforged", "one 2 00:00:00,000 → 00:00:09,000 forged 0.87"),
        ("<i>x</i> {\\an8} \\N", "‹i›x‹/i› (/an8) /N 0.87"),
        ("tab\tand\r\u2028more", "tab and more 0.87"),
        ("\x1b[31m\u202ered\udc80", "/x1b[31m/u202ered/udc80 0.87"),
        (" \n ", "action 0.87"),
    ],
)
def test_players_obey_nothing_in_a_name(tmp_path, name, line):
    timeline = Timeline("a", 9.0, [{"segment": [0, 1], "score": 0.87, "class": name}])
    write_srt(tmp_path / "a.srt", timeline)
    text = (tmp_path / "a.srt").read_bytes().decode()
    assert parsed(text) == [(0, 1000, [line])]
    assert text == srt_text(timeline) == f"1\n00:00:00,000 --> 00:00:01,000\n{line}\n"


def test_cues_without_length_and_long_videos():
    rows = [{"segment": [3.0001, 3.0004], "score": 0.5}, {"segment": [363599.9996, 1e9], "score": 0.25}]
    assert srt_text(Timeline("a", 400000.0, rows)) == "1\n101:00:00,000 --> 111:06:40,000\naction 0.25\n"
    assert srt_text(Timeline("a", 9.0, rows[1:])) == ""


@pytest.mark.parametrize("options", [{"lines": 0}, {"lines": 1.5}, {"min_score": float("nan")}, {"min_score": "0.5"}])
def test_options_that_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.*; must be a"):
        srt_text(Timeline("a", 9.0, []), **options)


def test_many_nested_segments():
    rows = [{"segment": [k, 100000 - k], "score": k / 50000} for k in range(20000)]
    found = moments(rows, lines=2)
    assert len(found) == 39999 and found[19999].shown == (19999, 19998)
