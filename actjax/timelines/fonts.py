"""Text of any script in matplotlib's pictures."""

import bisect
import functools
import itertools
import unicodedata

from actjax.literal import literal

# Fonts of systems for what DejaVu Sans, which comes with matplotlib, does not have.
_FAMILIES = ("Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "Droid Sans Fallback")
_FAMILIES += ("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "Malgun Gothic")
_FAMILIES += ("Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai")
MISSING = "□"


@functools.cache
def families() -> tuple[str, ...]:
    """The installed fonts to use together, the first that has a character first."""
    from matplotlib.font_manager import fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in _FAMILIES if name in installed))


@functools.cache
def _characters(weight: str) -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    files = {findfont(FontProperties(family=name, weight=weight)) for name in families()}
    return frozenset().union(*(FT2Font(file).get_charmap() for file in files))


def printable(text: str, *, most: int, weight: str = "normal") -> str:
    """Text in one line as long as `most` small letters; a character that no font has is shown as a box.

    >>> printable("pole vault", most=8), printable("POLE VAULT", most=8)
    ('pole va…', 'POLE …')
    """
    text = unicodedata.normalize("NFC", literal(" ".join(text.split()), lines=False))
    ends = list(itertools.accumulate(map(_width, text)))
    if ends and ends[-1] > most:
        text = f"{text[: bisect.bisect_right(ends, most - 1)]}…"
    return "".join(letter if ord(letter) in _characters(weight) else MISSING for letter in text)


def _width(letter: str) -> float:
    """About how wide a character is, in small letters."""
    if unicodedata.east_asian_width(letter) in "WF":
        return 2.0
    return 1.65 if letter in "MWmw%@" else 1.3 if letter.isupper() else 1.0
