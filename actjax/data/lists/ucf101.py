"""UCF101: `classInd.txt`, `trainlist01.txt` and `testlist01.txt`; three splits.

Videos are `UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi`.
"""

import os
import pathlib

from actjax.data.datasets.class_names import load_class_names
from actjax.data.lists.published import Published, Wanted, check_rows, find_file, labels
from actjax.errors import shown
from actjax.text_files import read_lines


def read_ucf101(annotations: pathlib.Path, *, split: int = 1) -> Published:
    """A split of UCF101, in the order of the classes in `classInd.txt`; its test list is "val".

    Raises:
      FileNotFoundError: a file is missing. ValueError: a line that does not parse, an unknown class, a number that is
        not that of the folder's class, a video that is there twice.
    """
    classes = find_file(annotations, r"classInd\.txt", like="classInd.txt")
    names = load_class_names(classes)
    label_of = labels(names, classes)
    stems = {"train": f"trainlist{split:02d}", "val": f"testlist{split:02d}"}
    files = {part: find_file(annotations, rf"{stem}\.txt", like=f"{stem}.txt") for part, stem in stems.items()}
    splits = {}
    for part, file in files.items():
        lines = read_lines(file, what="a list of UCF101")
        splits[part] = [_wanted(f"{file}, line {number}", line, label_of) for number, line in lines]
    check_rows(splits, files)
    return Published(names, splits, [classes, *files.values()])


def _wanted(where: str, line: str, label_of) -> Wanted:
    path, *numbers = line.split()
    folder, slash, file = path.rpartition("/")
    if len(numbers) > 1 or not slash or not file:
        raise ValueError(f"{where}: {shown(line)}; expected CLASS/VIDEO.avi, in a train list with the class's number")
    label = label_of(folder.rpartition("/")[2], where)
    if numbers and numbers != [str(label + 1)]:
        raise ValueError(f"{where}: {shown(line)}; the class of this folder has number {label + 1}")
    name = os.path.splitext(path)[0]
    return Wanted(where, path, (name, f"/{os.path.splitext(file)[0]}"), label)
