"""Classes that a mirror turns into each other, found by their names."""

import inspect
import re
from collections.abc import Callable, Sequence

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")
_TURNS = {"clockwise": "counterclockwise", "cw": "ccw"}
_TURNS |= {back: there for there, back in _TURNS.items()}
_SIDE = re.compile(r"(left|right)(.*)")


def mirrored_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of classes whose names differ in left and right, or in clockwise and counter-clockwise, alone.

    Whole words count, whatever their case and what separates them.

    >>> mirrored_pairs(["turn_left", "Turn right", "RollClockwise", "roll anti-clockwise", "bright", "blight"])
    [(0, 1), (2, 3)]
    """
    words = [_words(name) for name in names]
    first = {own: k for k, own in reversed([*enumerate(words)])}
    partners = [first.get(tuple(map(_mirrored, own)), k) for k, own in enumerate(words)]
    return [(k, partner) for k, partner in enumerate(partners) if k < partner and words[k] != words[partner]]


def mirroring_warning(
    names: Sequence[str], view: Callable, flip_labels: Sequence[Sequence[int]], *, shown: int = 5
) -> str:
    """What to tell the user if training mirrors clips whose classes a mirror turns into each other; "" if nothing.

    Args:
      view: the function of the training view, with `flip_ratio` bound; one without this argument does not mirror.
      flip_labels: pairs of classes that are swapped with the mirrored clip.
      shown: number of pairs that are named.
    """
    parameter = inspect.signature(view).parameters.get("flip_ratio")
    ratio = parameter.default if parameter else 0
    if not isinstance(ratio, int | float) or ratio <= 0:
        return ""
    covered = {frozenset(pair) for pair in flip_labels}
    pairs = [pair for pair in mirrored_pairs(names) if frozenset(pair) not in covered]
    if not pairs:
        return ""
    told = ", ".join(f"{names[a]!r} and {names[b]!r}" for a, b in pairs[:shown])
    left = len(pairs) - shown
    more = f" and {left} more pair{'s' * (left > 1)}" if left > 0 else ""
    all_pairs = tuple(sorted([*(tuple(pair) for pair in flip_labels), *pairs]))
    labels = f", or train.flip_labels={all_pairs} to swap them, too" if len(pairs) <= shown else ""
    return (
        f"clips are mirrored (train.view.flip_ratio={ratio:g}), which turns classes into each other: {told}{more}; "
        f"set train.view.flip_ratio=0{labels}"
    )


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, "counter" and "anti" joined to "clockwise".

    >>> _words("TurnAnti-clockwise_2")
    ('turn', 'counterclockwise', '2')
    """
    text = " ".join(_WORD.findall(name)).lower()
    text = re.sub(r"\b(counter|contra|anti) ?clock ?wise\b", "counterclockwise", text)
    text = re.sub(r"\b(ccw|acw)\b", "ccw", text)
    return tuple(re.sub(r"\bclock wise\b", "clockwise", text).split())


def _mirrored(word: str) -> str:
    """A word as it is in the mirror: "lefthanded" -> "righthanded"."""
    if side := _SIDE.fullmatch(word):
        return {"left": "right", "right": "left"}[side[1]] + side[2]
    return _TURNS.get(word, word)
