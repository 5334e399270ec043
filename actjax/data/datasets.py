"""The data sets a config may name: where the records of both splits come from."""

import os
from typing import NamedTuple

from actjax.data.annotations import VideoRecord, load_annotations, load_class_names
from actjax.data.shapes import make_shapes


class Dataset(NamedTuple):
    """Records of both splits and what their labels mean."""

    train: list[VideoRecord]
    val: list[VideoRecord]
    class_names: list[str]


def videos(*, train: str, val: str, num_classes: int, data_prefix: str = "", class_names: str = "") -> Dataset:
    """A user's own video files.

    Args:
      train, val: annotation files with lines `file label`.
      num_classes: labels are below this.
      data_prefix: folder that relative file names start from; "" for each annotation file's own.
      class_names: file with one name per line; "" for the numbers themselves.

    Raises:
      FileNotFoundError: a file is missing. ValueError: a line does not parse, a label or the number of names is off.
    """
    splits = []
    for path in (train, val):
        records = load_annotations("videos", path, data_prefix=data_prefix or None)
        for record in records:
            if record.label >= num_classes:
                raise ValueError(
                    f"{path}: label {record.label} of {record.path} needs model.num_classes > {num_classes}"
                )
        splits.append(records)
    names = [str(k) for k in range(num_classes)] if not class_names else load_class_names(class_names)
    if len(names) != num_classes:
        raise ValueError(f"{class_names} holds {len(names)} names; model.num_classes is {num_classes}")
    return Dataset(*splits, names)


def shapes(*, num_classes: int, folder: str = "", num_train: int = 1280, num_val: int = 320, seed: int = 0) -> Dataset:
    """The sample set; see `make_shapes`, which writes it on first use. `folder`: where, "" for the cache."""
    root = make_shapes(folder or None, num_train=num_train, num_val=num_val, seed=seed)
    lists = {split: os.path.join(root, f"{split}.txt") for split in ("train", "val")}
    return videos(**lists, num_classes=num_classes, class_names=os.path.join(root, "classes.txt"))


DATASETS = {"videos": videos, "shapes": shapes}
