"""Labels that are names of classes, in CSV and JSON lists.

The labels of a list are all numbers, or names. If one of them is no number, all are names, "7" too if a class is called
so. A list of numbers alone has the numbers of classes, whatever the classes are called.
"""

import difflib
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

from actjax.data.datasets.parsing import items
from actjax.errors import shown
from actjax.text_files import suffix_of

_WEIGHTED = re.compile(r"(.*):\s*([-+.\deE]+|nan|inf)", re.S)


def names_of_lists(files: Sequence[str | pathlib.Path], *, multi_class: bool) -> list[str] | None:
    """The sorted names that are labels in these lists; None if the labels are numbers.

    Raises:
      ValueError: numbers among names, in one list or in two; a list that cannot be read.
    """
    rows = {file: [*items(pathlib.Path(file))] for file in files if suffix_of(file) in (".csv", ".json")}
    named = [file for file in rows if are_names(rows[file])]
    if not named:
        return None
    if others := [file for file in files if file not in named]:
        raise ValueError(f"{named[0]} has names of classes as labels, {others[0]} has numbers; set data.class_names")
    return sorted(set().union(*(_sorted_names(file, rows[file], multi_class) for file in named)))


def names_of_rows(file, rows: Sequence[tuple[str, object]], *, multi_class: bool) -> list[str] | None:
    """`names_of_lists`, of the rows of one list."""
    return sorted(_sorted_names(file, rows, multi_class)) if are_names(rows) else None


def are_names(rows: Iterable[tuple[str, object]]) -> bool:
    """Whether a label of these rows is no number."""
    return any(not _is_number(_WEIGHTED.sub(r"\1", part)) for _, row in rows for label in _texts(row)
               for part in (label.split(";") if label.strip() else []))  # fmt: skip


def _sorted_names(file, rows: Iterable[tuple[str, object]], multi_class: bool) -> set[str]:
    found = set()
    for place, row in rows:
        for text in _texts(row):
            for part in parts_of(text, (), multi_class=multi_class):
                name = weighted(part)[0]
                if _is_number(name):
                    raise ValueError(
                        f"{file}, {place}: label {shown(name)} is a number, others are names of classes; if a class is "
                        "called so, set data.class_names"
                    )
                found.add(name)
    return found


def _texts(row) -> Iterator[str]:
    """The labels of a row that are text."""
    label = row.get("label") if isinstance(row, dict) else None
    yield from (one for one in (label if isinstance(label, list) else [label]) if isinstance(one, str))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parts_of(text: str, names: Iterable[str], *, multi_class: bool) -> list[str]:
    """The labels in the field of a table: several are separated by semicolons, unless the whole field is a name.

    >>> parts_of("run; jump", (), multi_class=True), parts_of("left; then right", (), multi_class=False)
    (['run', 'jump'], ['left; then right'])
    """
    text = text.strip()
    parts = [part.strip() for part in text.split(";")]
    if text in names or not (multi_class or all(map(_WEIGHTED.fullmatch, parts))):
        return [text] if text else []
    if text and "" in parts:
        raise ValueError(f"{text!r} has an empty label between or behind semicolons; remove the semicolon")
    return parts if text else []


def weighted(part: str, *, names: Iterable[str] = ()) -> tuple[str, str]:
    """The name and the weight of "run:0.7"; the weight is "" without one, or where the whole is a name.

    >>> weighted("run:0.7"), weighted("at 10:30", names=["at 10:30"])
    (('run', '0.7'), ('at 10:30', ''))
    """
    found = None if part in names else _WEIGHTED.fullmatch(part)
    return (found[1].strip(), found[2]) if found else (part, "")


def number_of(name: str, numbers: dict[str, int]) -> int:
    """The number of the class of this name. ValueError: there is none; suggests the nearest."""
    if name in numbers:
        return numbers[name]
    if not numbers:
        raise ValueError(f"{shown(name)}: labels are names here, but no names are known; set data.class_names")
    folded = {known.casefold(): known for known in numbers}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    hint = f"did you mean {shown(folded[near[0]])}? " if near else ""
    raise ValueError(f"{shown(name)} is no class; {hint}there are {len(numbers)}, such as {shown(next(iter(numbers)))}")
