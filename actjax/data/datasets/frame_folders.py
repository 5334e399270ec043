"""A folder of numbered pictures -> the template of their names and how many there are."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from actjax.errors import shown

_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)", re.S)
_FIELD = re.compile(r"\{[^{}]*\}")
_SIMPLE = re.compile(r"\{[01]?(:0?\d{0,2}d?)?\}")


class Frames(NamedTuple):
    """The frames of a folder: frame k is the file `filename_tmpl.format(start_index + k)`."""

    num_frames: int
    filename_tmpl: str
    start_index: int


def frames_of(names: Sequence[str], *, folder: str) -> Frames:
    """The frames that have these names, in any order.

    >>> frames_of(["img_00002.jpg", "img_00001.jpg"], folder="clip")
    Frames(num_frames=2, filename_tmpl='img_{:05d}.jpg', start_index=1)

    Args:
      folder: for errors.

    Raises:
      ValueError: a name without digits at its end, names that differ in more than the number, or a missing number.
    """
    parts = [_NUMBERED.fullmatch(name) for name in names]
    if None in parts:
        odd = names[parts.index(None)]
        raise ValueError(f"{folder}: {shown(odd)} has no number at its end, as frames have: img_00001.jpg; remove it")
    prefix, digits, suffix = parts[0].groups()
    width = min(len(part[2]) for part in parts)
    for name, part in zip(names, parts, strict=True):
        alike = (part[1], part[3]) == (prefix, suffix) and part[2] == f"{int(part[2]):0{width}d}"
        if not alike or len(part[2]) > 9:
            other = f" and {shown(names[0])}" if name != names[0] else ""
            raise ValueError(
                f"{folder}: frames are named alike, with up to 9 digits, but there are {shown(name)}{other}; "
                "a folder holds the frames of one video"
            )
    numbers = sorted(int(part[2]) for part in parts)
    start = numbers[0]
    if numbers[-1] - start + 1 != len(numbers):
        gap = next(start + k for k, number in enumerate(numbers) if number != start + k)
        raise ValueError(f"{folder}: frame number {gap} is missing; there are {len(numbers)}, {start} to {numbers[-1]}")
    literal = lambda text: text.replace("{", "{{").replace("}", "}}")
    return Frames(len(numbers), f"{literal(prefix)}{{:0{width}d}}{literal(suffix)}", start)


def check_template(template: str) -> str:
    """Returns a template of the names of frames. ValueError: it has other fields than {} or {:05d}.

    >>> check_template("{}_{:05d}.jpg")
    '{}_{:05d}.jpg'
    """
    rest = template.replace("{{", "").replace("}}", "")
    fields = _FIELD.findall(rest)
    if not fields or not all(map(_SIMPLE.fullmatch, fields)) or set("{}") & set(_FIELD.sub("", rest)):
        raise ValueError(f"filename_tmpl {shown(template)}; expected the like of img_{{:05d}}.jpg")
    return template
