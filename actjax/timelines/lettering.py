"""Text on frames. OpenCV 5 brings fonts for most scripts; OpenCV 4 has ASCII alone."""

import functools
import unicodedata

import numpy as np

from actjax.literal import literal

_BOLD = 500  # weight of a variable font; 400 is regular


@functools.cache
def _font():
    """OpenCV's own font; None before version 5."""
    import cv2

    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def line_of(name: str) -> str:
    """A name in one line of what can be drawn: with OpenCV 4 without accents, "?" for letters of other scripts.

    >>> line_of("jump\\nhigh")
    'jump high'
    """
    text = literal(" ".join(name.split()), lines=False)
    if _font() is not None:
        return text
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in letters)


def text_width(text: str, size: int) -> int:
    """The width in pixels of a line of letters of this size."""
    import cv2

    if (font := _font()) is not None:
        left, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), font, size, _BOLD)
        return left + width
    return cv2.getTextSize(text, *_hershey(size))[0][0]


def draw_text(picture: np.ndarray, text: str, place: tuple[int, int], size: int) -> None:
    """Draws white letters of this size, in pixels, into uint8 [h, w, 3]; `place`: x and y of the line's foot."""
    import cv2

    if (font := _font()) is not None:
        cv2.putText(picture, text, place, (255, 255, 255), font, size, _BOLD)
    else:
        face, scale, thickness = _hershey(size)
        cv2.putText(picture, text, place, face, scale, (255, 255, 255), thickness, cv2.LINE_AA)


def fitted(name: str, ending: str, size: int, width: int) -> str:
    """`name ending` with as much of the name as fits into `width` pixels.

    >>> fitted("jump", "0.87", 20, 1000)
    'jump 0.87'
    """
    text, mark = f"{name} {ending}", "..."
    if text_width(text, size) <= width:
        return text
    low, high = 0, len(name)  # characters that fit, that do not
    while high - low > 1:
        middle = (low + high) // 2
        fits = text_width(f"{name[:middle]}{mark} {ending}", size) <= width
        low, high = (middle, high) if fits else (low, middle)
    return f"{name[:low]}{mark} {ending}"


def _hershey(size: int) -> tuple[int, float, int]:
    """Face, scale and thickness of OpenCV's letters made of strokes."""
    import cv2

    return cv2.FONT_HERSHEY_SIMPLEX, size / 32, max(round(size / 16), 1)
