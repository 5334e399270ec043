"""Something-Something V1 and Jester, of one publisher: `PREFIX-labels.csv`, `-train.csv` and `-validation.csv`.

A line of the labels is a class, as it stands; a line of a list is `id;class`. A video is a folder `id` of frames
`00001.jpg`. The lists of the test splits have no classes.
"""

import pathlib
import re

from actjax.data.lists.published import Published, Wanted, check_rows, find_file, has_file, labels
from actjax.errors import shown
from actjax.text_files import read_lines

HIDDEN = "the test split is skipped: its labels are not published"


def read_something_v1(annotations: pathlib.Path) -> Published:
    """Something-Something V1, in the order of its labels; arguments and errors as `read_jester`."""
    return _read(annotations, "something-something-v1")


def read_jester(annotations: pathlib.Path) -> Published:
    """Jester, in the order of its labels.

    Raises:
      FileNotFoundError: a file is missing. ValueError: a line that does not parse, an unknown class, a class or a video
        that is there twice.
    """
    return _read(annotations, "jester-v1")


def _read(annotations: pathlib.Path, prefix: str) -> Published:
    file_of = lambda part: find_file(annotations, rf"{re.escape(prefix)}-{part}\.csv", like=f"{prefix}-{part}.csv")
    classes, files = file_of("labels"), {"train": file_of("train"), "val": file_of("validation")}
    names = [line for _, line in read_lines(classes, what="a list of classes")]
    label_of = labels(names, classes)
    splits = {}
    for part, file in files.items():
        rows = splits[part] = []
        for number, line in read_lines(file, what="a published list"):
            where = f"{file}, line {number}"
            video, mark, name = (text.strip() for text in line.partition(";"))
            if not mark or not re.fullmatch(r"[\w-]+", video):
                raise ValueError(f"{where}: {shown(line)}; expected id;class")
            rows.append(Wanted(where, video, (video,), label_of(name, where)))
    check_rows(splits, files)
    test = has_file(annotations, rf"{re.escape(prefix)}-test\.csv")
    return Published(names, splits, [classes, *files.values()], notes=[HIDDEN] if test else [])
