"""The data sets that a config may name for recognition."""

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from actjax.config import pick
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.checking import (
    check_names,
    check_prepared_labels,
    check_records,
    warn_of_both,
    warn_of_labels,
)
from actjax.data.datasets.class_names import load_class_names
from actjax.data.datasets.existing import check_lists
from actjax.data.datasets.selecting import concatenate, repeat, subset
from actjax.data.prepared.reading import check_shards, load_prepared
from actjax.data.prepared.reading import load_class_names as prepared_class_names
from actjax.data.samples.shapes import make_shapes
from actjax.metrics.matching import repeated


class Dataset(NamedTuple):
    """Records of both splits and their class names; `lists`: records of further annotation files, by their names."""

    train: Sequence
    val: Sequence
    class_names: list[str]
    lists: Mapping[tuple[str, ...], Sequence] = {}


def videos(
    *,
    train: str | Sequence[str],
    val: str | Sequence[str],
    num_classes: int,
    data_prefix: str = "",
    class_names: str | Sequence[str] = "",
    select: dict | None = None,
    **options,
) -> Dataset:
    """Your own video files.

    Args:
      train, val: annotation files (text, JSON or CSV; see `load_annotations`), one or several for each split.
      num_classes: labels are below this.
      data_prefix: folder or URL that relative paths start from; "" for the folder of the annotation file.
      class_names: the names, or a file with one per line, in the order of the labels; "" to use the class numbers.
      select: selects training records, see `selected`.
      options: of `load_annotations`: `multi_class`.

    Raises:
      FileNotFoundError: a file is missing. ValueError: a line does not parse, a wrong label or number of names.
    """
    return _from_lists("videos", train, val, num_classes, data_prefix, class_names, select, options)


def rawframes(
    *,
    train: str | Sequence[str],
    val: str | Sequence[str],
    num_classes: int,
    data_prefix: str = "",
    class_names: str | Sequence[str] = "",
    select: dict | None = None,
    **options,
) -> Dataset:
    """Folders of images, RGB or optical flow; arguments as for `videos`.

    Args:
      options: of `load_annotations`: those of `videos`, and `with_offset`, `filename_tmpl`, `start_index`, `modality`.
    """
    return _from_lists("rawframes", train, val, num_classes, data_prefix, class_names, select, options)


def prepared(
    *,
    folder: str,
    num_classes: int,
    train: str = "train",
    val: str = "val",
    select: dict | None = None,
    multi_class: bool = False,
) -> Dataset:
    """A prepared set that `--mode=prepare` wrote.

    Args:
      folder: the folder that it was written to.
      num_classes: labels are below this.
      train, val: names of its splits.
      select: selects training records, see `selected`.
      multi_class: a video may have several classes, or none.

    Raises:
      FileNotFoundError: no such folder or split. ValueError: `multi_class` does not fit the labels, a wrong number of
        names, a label that is no class.
    """
    records = [load_prepared(folder, split) for split in (train, val)]
    names = _names(folder, num_classes, prepared_class_names)
    check_prepared_labels([record.label for split in records for record in split], num_classes, folder, multi_class)
    return Dataset(selected(records[0], **(select or {})), records[1], names)


def shapes(*, num_classes: int, folder: str = "", num_train: int = 1280, num_val: int = 320, seed: int = 0) -> Dataset:
    """The sample set, which `make_shapes` writes to `folder` ("": the cache) on first use."""
    root = make_shapes(folder or None, num_train=num_train, num_val=num_val, seed=seed)
    lists = {split: os.path.join(root, f"{split}.txt") for split in ("train", "val")}
    return videos(**lists, num_classes=num_classes, class_names=os.path.join(root, "classes.txt"))


DATASETS = {"videos": videos, "rawframes": rawframes, "prepared": prepared, "shapes": shapes}
FROM_LISTS = ("videos", "rawframes")  # data sets that take further lists


def build_dataset(config, *, num_classes: int) -> Dataset:
    """`{"name": "videos", "train": ..., ...}` -> the data set. Source: the API entry build_dataset.

    A data set of one's own, "package.module:name", is called with `num_classes` if it takes it. It returns a `Dataset`
    whose records have `path` (a name, unique in its split), `label` and `open(backend=)`, as those of
    `actjax.data.datasets.records`. Labels are classes, or float [num_classes], see `checking.check_records`.

    Raises:
      ValueError: an unknown name or key; suggests the nearest valid one; no `Dataset`, another number of class names,
        no records, or a wrong label. Whatever the data set's function raises.
    """
    dataset = _made(config, num_classes)
    if config["name"] not in DATASETS:
        where = f"data.name={config['name']!r}"
        splits = {"train": dataset.train, "val": dataset.val}
        for split, records in (splits | {f"lists[{files}]": dataset.lists[files] for files in dataset.lists}).items():
            check_records(records, num_classes, f"{where}: {split}", multi_class=bool(config.get("multi_class", False)))
    return dataset


def _made(config, num_classes: int) -> Dataset:
    """The data set of a config, whose records are not checked yet."""
    make = pick(DATASETS, config, "data", given=("num_classes",))
    given = {"num_classes": num_classes} if "num_classes" in inspect.signature(make).parameters else {}
    dataset = make(**given)
    if not isinstance(dataset, Dataset):
        raise ValueError(f"data.name={config['name']!r} returned {type(dataset).__name__}; it must be a Dataset")
    check_names(dataset.class_names, num_classes, f"data.name={config['name']!r}")
    return dataset


def check_files(config, dataset: Dataset, *, max_broken: float, skip: str = "") -> None:
    """Looks for the files of `FROM_LISTS` and for the shards of a prepared set, see `existing.check_lists`.

    Args:
      max_broken, skip: of the section `loader`.

    Raises:
      FileNotFoundError: more files are missing than `max_broken` allows, or all of a list. ValueError: a list of URLs
        that need a package.
    """
    if config["name"] == "prepared":
        for split in dict.fromkeys((config.get("train", "train"), config.get("val", "val"))):
            check_shards(config["folder"], split, max_broken=max_broken)
    if config["name"] not in FROM_LISTS:
        return
    lists = {f"data.{split}={_told(config[split])}": getattr(dataset, split) for split in ("train", "val")}
    lists |= {f"list {_told(files)} of an evaluator": records for files, records in dataset.lists.items()}
    paths = {name: (record.path for record in records) for name, records in lists.items()}
    prefix = (
        f"data.data_prefix={given}"
        if (given := config.get("data_prefix"))
        else "the list's folder, unless data.data_prefix is set"
    )
    check_lists(paths, prefix=prefix, max_broken=max_broken, skip=skip, folders=config["name"] == "rawframes")


def _told(files: str | Sequence[str]) -> str:
    return files if isinstance(files, str) else ",".join(files)


def load_list(config, files: Sequence[str], *, num_classes: int) -> Sequence:
    """The records of further annotation files, joined, for a data set of `FROM_LISTS`.

    They are read as the data set's own files: the same kind, `data_prefix` and options. Errors as for these.
    """
    own = {*inspect.signature(videos).parameters, "name"}  # the remaining ones are options of `load_annotations`
    options = {key: value for key, value in config.items() if key not in own}
    options |= dict(data_prefix=config.get("data_prefix") or None, num_classes=num_classes)
    return _records(config["name"], files, options)


def load_names(config, *, num_classes: int) -> list[str]:
    """The class names of a data set, without its records where possible, for uses of a trained network.

    Raises:
      ValueError: the number of names differs from the network's number of classes.
    """
    if config["name"] in FROM_LISTS:
        return _names(config.get("class_names", ""), num_classes, load_class_names)
    return _made(config, num_classes).class_names


def selected(
    records: Sequence,
    *,
    repeat_times: int = 1,
    classes: Sequence[int] | None = None,
    fraction: float | None = None,
    seed: int = 0,
):
    """The records of `classes`, a `fraction` of each class, the result repeated `repeat_times` times."""
    if classes is not None or fraction is not None:
        records = subset(records, classes=classes, fraction=fraction, seed=seed)
    return records if repeat_times == 1 else repeat(records, repeat_times)


def _from_lists(
    kind: str, train, val, num_classes: int, data_prefix: str, class_names, select, options: dict
) -> Dataset:
    options = options | dict(data_prefix=data_prefix or None, num_classes=num_classes)
    splits = [_records(kind, [files] if isinstance(files, str) else files, options) for files in (train, val)]
    names = _names(class_names, num_classes, load_class_names)
    if kind == "videos":  # a folder of frames may hold several videos
        paths = ([record.path for record in records] for records in splits)
        lists = [f"data.train={_told(train)}", f"data.val={_told(val)}"]
        warn_of_both(", ".join(lists), *paths)
        warn_of_labels(dict(zip(lists, splits, strict=True)))
    return Dataset(selected(splits[0], **(select or {})), splits[1], names)


def _records(kind: str, files: Sequence[str], options: dict) -> Sequence:
    lists = [load_annotations(kind, file, **options) for file in files]
    return lists[0] if len(lists) == 1 else concatenate(*lists)


def _names(source: str | Sequence[str], num_classes: int, load) -> list[str]:
    """Class names from a file that `load` reads, or as given; without a source, the class numbers."""
    if not source:
        return [str(k) for k in range(num_classes)]
    names, where = (load(source), source) if isinstance(source, str) else ([*map(str, source)], "data.class_names")
    if len(names) != num_classes:
        raise ValueError(
            f"{where} has {len(names)} names, but model.num_classes={num_classes}; "
            f"set model.num_classes={len(names)}, or correct the names"
        )
    if twice := repeated(names):
        raise ValueError(f"{where} has the name {twice!r} more than once; give every class a name of its own")
    return names
