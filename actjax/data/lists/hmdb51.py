"""HMDB51: a file `CLASS_test_split1.txt` for each class, lines `VIDEO.avi MARK`; three splits.

The mark is 1 for training, 2 for testing and 0 for neither. Videos are `CLASS/VIDEO.avi`.
"""

import os
import pathlib
import re

from actjax.data.lists.published import Published, Wanted, check_rows, find_files, labels
from actjax.errors import shown
from actjax.text_files import read_lines

_PARTS = {"0": "others", "1": "train", "2": "val"}


def read_hmdb51(annotations: pathlib.Path, *, split: int = 1) -> Published:
    """A split of HMDB51, with the classes sorted by name; its test videos are "val".

    Raises:
      FileNotFoundError: no file of a class. ValueError: a line that does not parse, another mark, a class or a video
        that is there twice.
    """
    pattern = rf".+_test_split{split}\.txt"
    files = find_files(annotations, pattern, like=f"CLASS_test_split{split}.txt, such as wave_test_split{split}.txt,")
    of_class = {re.sub(r"_test_split\d\.txt(\.gz)?$", "", file.name, flags=re.IGNORECASE): file for file in files}
    names = sorted(of_class)
    if len(names) < len(files):
        raise ValueError(f"--annotations={annotations}: several files of one class; give the folder that holds one set")
    label_of = labels(names, annotations)
    parts: dict[str, list[Wanted]] = {part: [] for part in _PARTS.values()}
    for name in names:
        for number, line in read_lines(of_class[name], what="a split of HMDB51"):
            where = f"{of_class[name]}, line {number}"
            video, _, mark = line.rpartition(" ")
            if not video.strip() or mark not in _PARTS:
                raise ValueError(f"{where}: {shown(line)}; expected VIDEO.avi and 0, 1 (train) or 2 (test)")
            video = video.strip()
            bare = os.path.splitext(video)[0]
            wanted = Wanted(where, f"{name}/{video}", (f"{name}/{bare}", f"/{bare}"), label_of(name, where))
            parts[_PARTS[mark]].append(wanted)
    others = parts.pop("others")
    check_rows(parts, dict.fromkeys(parts, annotations))
    notes = [f"{len(others)} videos are marked 0, for neither training nor testing"] if others else []
    return Published(names, parts, files, others, notes)
