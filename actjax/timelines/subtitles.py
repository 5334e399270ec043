"""Subtitles in SubRip's format (.srt), which players show with the video that they lie beside."""

import re

from actjax.literal import literal
from actjax.paths import rewrite, to_path
from actjax.timelines.moments import moments
from actjax.timelines.timeline import Timeline, checked

# What players take for commands: arrows between times, tags in <> or {}, escapes such as \N and \h.
_COMMANDS = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "\\": "/"})


def srt_text(timeline: Timeline, *, min_score: float = 0.0, lines: int = 2) -> str:
    r"""Subtitles that name the segments of each moment: "class 0.87", or "action 0.87" for proposals.

    >>> print(srt_text(Timeline("a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87, "class": "jump"}])))
    1
    00:00:01,500 --> 00:00:09,000
    jump 0.87
    <BLANKLINE>

    Args:
      min_score: lower scores are not shown.
      lines: number of segments at a time; the best are shown, see `moments`. Cues never overlap.

    Times are rounded to milliseconds and lie within the video; cues that then have no length are left out. What a
    player would obey in a name is replaced by a similar character.

    Raises:
      ValueError, TypeError, KeyError: as `checked` and `moments`.
    """
    timeline = checked(timeline)
    most = round(timeline.seconds * 1000)
    inside = lambda time: min(max(round(time * 1000), 0), most)
    rows = [row | {"segment": [*map(inside, row["segment"])]} for row in timeline.segments]
    cues = []
    for number, moment in enumerate(moments(rows, min_score=min_score, lines=lines), start=1):
        text = "\n".join(f"{plain(rows[k].get('class', ''))} {rows[k]['score']:.2f}" for k in moment.shown)
        cues.append(f"{number}\n{_clock(moment.start)} --> {_clock(moment.end)}\n{text}\n")
    return "\n".join(cues)


def write_srt(path, timeline: Timeline, *, min_score: float = 0.0, lines: int = 2) -> None:
    """Writes `srt_text` to a file in UTF-8, whose earlier content stays until the new one is complete.

    >>> write_srt("a.srt", Timeline("a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87, "class": "jump"}]))

    Raises: as `srt_text`.
    """
    rewrite(to_path(path), srt_text(timeline, min_score=min_score, lines=lines))


def plain(name: str) -> str:
    """A name in one line, without anything that a player of subtitles obeys; "action" if nothing is left.

    >>> plain("<i>jump</i> --> {b}")
    '‹i›jump‹/i› → (b)'
    """
    text = literal(re.sub(r"--+>", "→", " ".join(name.split())), lines=False).translate(_COMMANDS)
    return text.strip() or "action"


def _clock(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{milliseconds:03}"
