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
from actjax.data.datasets.class_names import checked_names, load_class_names
from actjax.data.datasets.existing import check_lists
from actjax.data.datasets.folders import VAL_SHARE, split_folder
from actjax.data.datasets.kept_lists import kind_of, load_lists
from actjax.data.datasets.named_labels import names_of_lists
from actjax.data.datasets.selecting import concatenate, selected
from actjax.data.prepared.reading import check_shards, load_prepared
from actjax.data.prepared.reading import load_class_names as prepared_class_names
from actjax.data.samples.shapes import CLASSES, make_shapes
from actjax.paths import does_not_exist, to_path


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
      class_names: the names, or a file with one per line, in the order of the labels; "": the sorted names of the
        training list if its labels are names, else the class numbers.
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
    names = checked_names(folder, num_classes, prepared_class_names)
    check_prepared_labels([record.label for split in records for record in split], num_classes, folder, multi_class)
    return Dataset(selected(records[0], **(select or {})), records[1], names)


def shapes(*, num_classes: int, folder: str = "", num_train: int = 1280, num_val: int = 320, seed: int = 0) -> Dataset:
    """The sample set, which `make_shapes` writes to `folder` ("": the cache) on first use."""
    root = make_shapes(folder or None, num_train=num_train, num_val=num_val, seed=seed)
    lists = {split: os.path.join(root, f"{split}.txt") for split in ("train", "val")}
    return videos(**lists, num_classes=num_classes, class_names=os.path.join(root, "classes.txt"))


def folders(
    *,
    folder: str,
    num_classes: int,
    lists: str = "",
    val_share: float = VAL_SHARE,
    seed: int = 0,
    select: dict | None = None,
) -> Dataset:
    """A folder whose sub-folders are the classes: video files, or folders of frames, at any depth.

    Args:
      folder: a local folder, see `folders.split_folder`.
      num_classes: the number of sub-folders.
      lists: folder with the lists of an earlier split, RUN/lists, which holds; "": the folder is split.
      val_share: share of the videos of every class to validate on, if the folder has no `train` and `val`.
      seed: of the split.
      select: selects training records, see `selected`.

    Raises:
      FileNotFoundError, ValueError: as `folders.split_folder` and `kept_lists.load_lists`; another number of classes.
    """
    options = dict(val_share=val_share, seed=seed)
    split = load_lists(lists, videos=folder) if lists else split_folder(folder, **options).tell()
    names = checked_names(split.class_names, num_classes, load_class_names, where=lists or folder)
    return Dataset(selected(split.train, **(select or {})), split.val, names)


DATASETS = {"videos": videos, "rawframes": rawframes, "prepared": prepared, "shapes": shapes, "folders": folders}
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
    if config["name"] == "folders":
        where = config.get("lists") or config["folder"]
        paths = {f"{split} of {where}": (r.path for r in getattr(dataset, split)) for split in ("train", "val")}
        frames = kind_of(dataset) == "rawframes"
        options = dict(max_broken=max_broken, skip=skip, folders=frames)
        return check_lists(paths, prefix=f"data.folder={config['folder']}", **options)
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
    options |= dict(
        data_prefix=config.get("data_prefix") or None, num_classes=num_classes, names=found_names(config) or ()
    )
    return _records(config["name"], files, options)


def load_names(config, *, num_classes: int) -> list[str]:
    """The class names of a data set, without its records where possible, for uses of a trained network.

    Raises:
      ValueError: the number of names differs from the network's number of classes.
    """
    if config["name"] in FROM_LISTS:
        given, train = config.get("class_names", ""), config.get("train", ())
        names = given or found_names(config)
        return checked_names(names, num_classes, load_class_names, where=_where_names(train, given))
    return _made(config, num_classes).class_names


def found_names(config, *, needed: bool = False) -> list[str] | None:
    """The class names that a data set of `DATASETS` has by itself; None if it does not tell them.

    Args:
      needed: a missing training list is an error; otherwise it tells no names.
    """
    if config.get("name") in FROM_LISTS:
        if given := config.get("class_names"):
            return load_class_names(given) if isinstance(given, str) else [*map(str, given)]
        files = _files(config.get("train", ()))
        missing = [file for file in files if not to_path(file).exists()]
        if missing and needed:
            raise FileNotFoundError(f"annotation file {does_not_exist(missing[0])}")
        return None if missing else names_of_lists(files, multi_class=config.get("multi_class", False))
    if config.get("name") == "prepared":
        return prepared_class_names(config["folder"]) if "folder" in config else None
    return list(CLASSES) if config.get("name") == "shapes" else None


def _from_lists(
    kind: str, train, val, num_classes: int, data_prefix: str, class_names, select, options: dict
) -> Dataset:
    asked = dict(name=kind, train=train, class_names=class_names, multi_class=options.get("multi_class", False))
    found = found_names(asked)
    options = options | dict(data_prefix=data_prefix or None, num_classes=num_classes, names=found or ())
    splits = [_records(kind, _files(files), options) for files in (train, val)]
    names = checked_names(class_names or found, num_classes, load_class_names, where=_where_names(train, class_names))
    if kind == "videos":  # a folder of frames may hold several videos
        paths = ([record.path for record in records] for records in splits)
        lists = [f"data.train={_told(train)}", f"data.val={_told(val)}"]
        warn_of_both(", ".join(lists), *paths)
        warn_of_labels(dict(zip(lists, splits, strict=True)))
    return Dataset(selected(splits[0], **(select or {})), splits[1], names)


def _records(kind: str, files: Sequence[str], options: dict) -> Sequence:
    lists = [load_annotations(kind, file, **options) for file in files]
    return lists[0] if len(lists) == 1 else concatenate(*lists)


def _files(files: str | Sequence[str]) -> Sequence[str]:
    return [files] if isinstance(files, str) else files


def _where_names(train: str | Sequence[str], class_names) -> str:
    return "data.class_names" if class_names else f"data.train={_told(train)}"
