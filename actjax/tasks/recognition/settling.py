"""What a config leaves to its data: the number of classes, the epochs, and whether to mirror clips.

A folder of classes is split once: a run keeps the lists in its workdir, and whatever opens the workdir reads them.
"""

import functools
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax

from actjax import training
from actjax.config import plain
from actjax.data.datasets.class_folders import unlisted
from actjax.data.datasets.folders import VAL_SHARE, Split, split_folder
from actjax.data.datasets.kept_lists import has_lists, load_lists, origin_of, save_lists
from actjax.data.datasets.mirrored import mirrored_pairs
from actjax.data.datasets.recognition import build_dataset, found_names
from actjax.data.datasets.selecting import selected
from actjax.errors import shown
from actjax.paths import absolute, local
from actjax.tasks.recognition.config import READERS

log = logging.getLogger("actjax")

CLIPS, MOST_EPOCHS, LEAST_EPOCHS = 60_000, 100, 25


class Settled(NamedTuple):
    """A config without open values, and a function that gives its run what was found on the way."""

    config: dict
    equip: Callable = lambda run: run


class _Source(NamedTuple):
    """names: () -> class names, or None. count: (num_classes) -> training videos. equip: as in `Settled`."""

    names: Callable[[], Sequence[str] | None]
    count: Callable[[int], int]
    equip: Callable


def epochs_for(num_videos: int) -> float:
    """The epochs in which a run sees 60,000 training clips, but at least 25 and at most 100.

    >>> epochs_for(10), epochs_for(1200), epochs_for(3570)
    (100.0, 50.0, 25.0)
    """
    return float(min(max(round(CLIPS / num_videos), LEAST_EPOCHS), MOST_EPOCHS))


def settle(config: Mapping, workdir: pathlib.Path | None) -> Settled:
    """Fills `model.num_classes`, `run.epochs` and `train.view.flip_ratio` where they are None, from the data.

    Data are read only if a value is open. The folder of a folder of classes becomes an absolute path.

    Args:
      workdir: where the run is or will be. If it has the lists of a split, they hold.

    Raises:
      ValueError: data that do not tell a value; another split than the workdir keeps. Others as the data set.
    """
    config = plain(config)
    data, model, run, train = (config.get(name) for name in ("data", "model", "run", "train"))
    if not all(isinstance(section, dict) for section in (data, model, run, train)):
        return Settled(config)  # which `build` refuses
    source = _folder_source(data, workdir) if data.get("name") == "folders" else _other_source(data)
    if model.get("num_classes", 0) is None:
        if not (names := source.names()):
            name = data.get("name")
            raise ValueError(
                f"model.num_classes=None: data.name={name!r} does not name the classes; set data.class_names, or "
                "model.num_classes"
            )
        model["num_classes"] = len(names)
    view = train.get("view")
    if isinstance(view, dict) and view.get("flip_ratio", 0) is None:
        view["flip_ratio"] = _flip_ratio(source.names() or (), train.get("flip_labels") or ())
    if run.get("epochs", 0) is None:
        count = source.count(model.get("num_classes"))
        run["epochs"] = epochs_for(count)
        log.info("run.epochs=%g, for %d training videos", run["epochs"], count)
    return Settled(config, source.equip)


def _flip_ratio(names: Sequence[str], covered: Sequence[Sequence[int]]) -> float:
    """0.0 if a mirror turns two classes into each other whose labels are not swapped with the clip, else 0.5."""
    swapped = {frozenset(pair) for pair in covered}
    pairs = [pair for pair in mirrored_pairs(names) if frozenset(pair) not in swapped]
    if not pairs:
        return 0.5
    a, b = pairs[0]
    more = f", and {len(pairs) - 1} more pair{'s' * (len(pairs) > 2)}" if len(pairs) > 1 else ""
    log.info(
        "train.view.flip_ratio=0: a mirror turns %s and %s into each other%s", shown(names[a]), shown(names[b]), more
    )
    return 0.0


def _other_source(data: Mapping) -> _Source:
    return _Source(
        lambda: found_names(data, needed=True),
        lambda num_classes: len(build_dataset(data, num_classes=num_classes).train),
        lambda run: run,
    )


def _folder_source(data: dict, workdir: pathlib.Path | None) -> _Source:
    """Of a folder of classes; makes the paths in `data` absolute."""
    READERS["data"].bind(data, "data")
    if not data["folder"]:
        raise ValueError("data.folder is not set; give a folder whose sub-folders are the classes: data.folder=FOLDER")
    for key in ("folder", "lists"):
        if isinstance(data.get(key), str) and data[key] and "://" not in data[key]:
            data[key] = os.path.abspath(local(data[key], f"data.{key}"))
    kept = kept_lists(workdir)
    if kept and has_lists(kept):
        _check_same(kept, data)
    made = functools.cache(lambda: _split(data | ({"lists": str(kept)} if kept else {})))

    def equip(run):
        if kept:
            return run._replace(data=run.data | {"lists": str(kept)})
        return run._replace(split=made() if made.cache_info().currsize else None)

    count = lambda num_classes: len(selected(made().train, **(data.get("select") or {})))
    return _Source(lambda: made().class_names, count, equip)


def _split(data: Mapping) -> Split:
    if data.get("lists"):
        return load_lists(data["lists"], videos=data.get("folder"))
    return split_folder(data.get("folder", ""), **{key: data[key] for key in ("val_share", "seed") if key in data})


def kept_lists(workdir: pathlib.Path | None) -> pathlib.Path | None:
    """Where a workdir keeps its split, which reading finds missing if it is; None if it holds no run yet."""
    if workdir is None:
        return None
    lists = absolute(workdir) / "lists"
    return lists if has_lists(lists) or (workdir / "config.json").exists() else None


def _check_same(kept: pathlib.Path, data: Mapping) -> None:
    """Raises ValueError if `data` asks for another split than the one that is kept."""
    if given := data.get("lists"):
        same = lambda split: (split.train, split.val, split.class_names)
        if (
            os.path.abspath(given) != str(kept)
            and has_lists(given)
            and same(load_lists(given)) != same(load_lists(kept))
        ):
            raise ValueError(f"data.lists={given}: {kept} has another split, which holds; choose another workdir")
        return
    origin = origin_of(kept)
    for key, default in (("val_share", VAL_SHARE), ("seed", 0)):
        was, now = origin.get(key), data.get(key, default)
        if was is not None and was != now:
            raise ValueError(
                f"data.{key}={now}: the split in {kept} was made with {was} and holds; choose another workdir"
            )


def keep_split(run, workdir: pathlib.Path):
    """Writes the lists of a folder of classes to the workdir, unless they are there -> the run that reads them.

    Of lists that are there it says how many videos of the folder are in none of them. Other data sets are as they are.

    Raises:
      ValueError: another process of the run found other files in the folder.
    """
    if run.data.get("name") != "folders":
        return run
    lists, first = absolute(workdir) / "lists", jax.process_index() == 0
    there = run.data.get("lists") == str(lists)
    split = None if there else run.split or _split(run.data)
    if split and first:
        save_lists(split.tell(), lists)
        log.info("the split is kept in %s; it holds for this workdir, whatever is added to the folder", lists)
    training.wait_for_all("the lists of the split")
    kept = load_lists(lists, videos=run.data["folder"])
    if split and [split.class_names, *map(_paths, split[:2])] != [kept.class_names, *map(_paths, kept[:2])]:
        raise ValueError(f"{run.data['folder']} has changed while the processes of the run started; start them again")
    if there and first:
        _tell_new(run.data["folder"], {*_paths(kept.train), *_paths(kept.val)}, lists)
    return run._replace(data=run.data | {"lists": str(lists)}, split=None)


def _paths(records: Sequence) -> list[str]:
    return [record.path for record in records]


def _tell_new(folder: str, known: set[str], lists: pathlib.Path) -> None:
    try:
        new = unlisted(folder, known)
    except (OSError, ValueError) as error:
        log.warning("%s could not be looked through for new videos: %s", folder, error)
        return
    if new:
        log.warning(
            "%d videos in %s are in no list in %s and are not used, such as %s; a new workdir splits them all",
            len(new), folder, lists, shown(os.path.relpath(new[0], folder)),
        )  # fmt: skip
