"""A data set: records that open themselves."""

from typing import NamedTuple

from actjax.data.datasets.recognition import Dataset
from actjax.data.datasets.recognition import shapes as sample_set
from actjax.video.decoding import open_video


class Clip(NamedTuple):
    path: str
    label: int

    def open(self, *, backend="pyav"):
        return open_video(self.path, backend=backend)


def shapes(*, num_classes, num_train: int, num_val: int):
    made = sample_set(num_classes=num_classes, num_train=num_train, num_val=num_val)
    splits = ([Clip(record.path, record.label) for record in split] for split in (made.train, made.val))
    return Dataset(*splits, made.class_names)
