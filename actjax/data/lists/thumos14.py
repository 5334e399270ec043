"""THUMOS14: for each class `CLASS_val.txt` and `CLASS_test.txt`, lines `video start end` in seconds, and Ambiguous.

`detclasslist.txt`, where it is there, gives the order of the classes. Videos are `video_validation_0000051.mp4` and
`video_test_0000004.mp4`.
"""

import pathlib

from actjax.data.lists.published import Untrimmed, Wanted, check_rows, find_files, has_file, labels
from actjax.errors import shown
from actjax.metrics.ground_truth import load_thumos14
from actjax.text_files import read_lines

_SUBSETS = {"train": "val", "val": "test"}  # as published detectors use them
_LIST = r"detclasslist\.txt"


def read_thumos14(annotations: pathlib.Path, *, ambiguous: bool = False) -> Untrimmed:
    """The validation videos as "train", the test videos as "val": those with an instance.

    Every row stays as published, also those of CliffDiving that are repeated as Diving. The classes are in the order of
    `detclasslist.txt`, or sorted by name without it.

    Args:
      ambiguous: the rows of the files Ambiguous are a class, the last one; otherwise they are left out. This changes
        scores: in the test videos there are 3,358 instances without them, 3,457 with them.

    Raises:
      FileNotFoundError: no such files, or none of a class of the list. ValueError: a line that does not parse, a class
        that is not in the list, a row that is there twice.
    """
    folders = {subset: _folder(annotations, subset) for subset in _SUBSETS.values()}
    truths = {part: load_thumos14(folders[subset], subset=subset, ambiguous="class" if ambiguous else "drop")
              for part, subset in _SUBSETS.items()}  # fmt: skip
    listed = find_files(annotations, _LIST, like=_LIST) if has_file(annotations, _LIST) else []
    source = listed[0] if listed else folders["val"]
    names = _names(listed) if listed else [name for name in truths["train"].labels if name != "Ambiguous"]
    names += ["Ambiguous"] * ambiguous
    label_of = labels(names, source)
    splits, segments = {}, {}
    for part, truth in truths.items():
        folder, subset = folders[_SUBSETS[part]], _SUBSETS[part]
        for name in truth.labels:
            label_of(name, str(folder / f"{name}_{subset}.txt"))
        if lacking := [name for name in names if name not in truth.labels]:
            raise FileNotFoundError(f"{folder}: no file {lacking[0]}_{subset}.txt, a class of {source}")
        splits[part] = [Wanted(f"{folder}, video {shown(video)}", video, (video,)) for video in truth.videos]
        segments |= {video: [] for video in truth.videos}
        found = truth.instances
        for video, label, segment in zip(found.video, found.label, found.segments.tolist(), strict=True):
            segments[truth.videos[video]].append({"segment": segment, "label": truth.labels[label]})
    check_rows(splits, folders)
    told = "a class" if ambiguous else "left out; --ambiguous makes them a class"
    files = [file for subset, folder in folders.items() for file in sorted(folder.glob(f"*_{subset}.txt"))]
    notes = [f"{part}: {truth.name}" for part, truth in truths.items()] + [f"rows of Ambiguous are {told}"]
    return Untrimmed(names, splits, files + listed, segments, {}, notes)


def _folder(annotations: pathlib.Path, subset: str) -> pathlib.Path:
    """The folder of the classes' files of a subset."""
    like = f"CLASS_{subset}.txt, such as Diving_{subset}.txt,"
    files = find_files(annotations, rf"\w+_{subset}\.txt", like=like)
    folders = sorted({file.parent for file in files})
    if len(folders) > 1:
        raise ValueError(f"{folders[0]} and {folders[1]} both hold CLASS_{subset}.txt; give a folder with one of them")
    return folders[0]


def _names(files: list[pathlib.Path]) -> list[str]:
    """The classes of the list, which may be there with the annotations of each split."""
    lists = []
    for path in files:
        rows = [(number, line.split()) for number, line in read_lines(path, what="the list of THUMOS14's classes")]
        if wrong := next((row for row in rows if len(row[1]) != 2 or not row[1][0].isdecimal()), None):
            raise ValueError(f"{path}, line {wrong[0]}: {shown(' '.join(wrong[1]))}; expected NUMBER CLASS")
        lists.append([name for _, (_, name) in rows])
        if lists[-1] != lists[0]:
            raise ValueError(f"{files[0]} and {path} list different classes; remove one")
    return lists[0]
