"""Data sets of untrimmed videos with proposals, for SSN."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from actjax.config import pick
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.class_names import load_class_names
from actjax.data.datasets.existing import missing_files
from actjax.data.datasets.ssn_lists import SSNRecord
from actjax.data.samples.untrimmed_shapes import make_untrimmed

log = logging.getLogger(__name__)


class Proposed(NamedTuple):
    """Records of both splits and their class names; class k of a proposal file is `class_names[k - 1]`.

    fps: frames per second, to report results in seconds; 0: use the fps of the video files, if known.
    """

    train: Sequence[SSNRecord]
    val: Sequence[SSNRecord]
    class_names: list[str]
    fps: float = 0.0


def proposals(
    *,
    train: str,
    val: str,
    num_classes: int,
    data_prefix: str | tuple[str, str] = "",
    class_names: str | tuple[str, ...] = "",
    fps: float = 0.0,
    max_missing: float = 0.05,
    frame_counts: str = "",
    proposed_by: str = "",
    **options,
) -> Proposed:
    """Video files, or folders of their frames, with proposal files.

    Args:
      train, val: proposal files, see `load_localize_proposal_file`.
      num_classes: number of classes of the network; classes in the files are 1 .. num_classes.
      data_prefix: where the videos are, one for both splits or one for each; "" for the folder of the proposal file.
      class_names: names, or a file with one per line; "" to use the class numbers.
      fps: see `Proposed`.
      max_missing: share of the videos that may be missing; they are left out.
      frame_counts: JSON file, if the proposal files contain fractions; "" if they contain frames.
      proposed_by: the run that made the proposals, which `--mode=localize` asks for those of new videos; "": none.
      options: of `load_annotations("ssn", ...)`.

    Raises:
      FileNotFoundError: a file or too many videos are missing. ValueError: a proposal file does not parse, a class is
        above `num_classes`, the number of names differs from it.
    """
    names = class_names or [str(k + 1) for k in range(num_classes)]
    names = load_class_names(names) if isinstance(names, str) else list(names)
    if len(names) != num_classes:
        raise ValueError(f"data.class_names={class_names}: {len(names)} names; model.num_classes is {num_classes}")
    splits = []
    prefixes = (data_prefix, data_prefix) if isinstance(data_prefix, str) else data_prefix
    for path, prefix in zip((train, val), prefixes, strict=True):
        given = dict(data_prefix=prefix or None, frame_counts=frame_counts or None)
        records = load_annotations("ssn", path, **given, **options)
        for record in records:
            if record.ground_truth.size and record.ground_truth.label.max() > num_classes:
                highest = record.ground_truth.label.max()
                raise ValueError(f"{path}: video {record.video!r} has class {highest}; model.num_classes={num_classes}")
        splits.append(_there(path, records, max_missing))
    return Proposed(*splits, names, fps)


def untrimmed_shapes(
    *, num_classes: int, folder: str = "", num_train: int = 160, num_val: int = 40, seed: int = 0
) -> Proposed:
    """The sample set, which `make_untrimmed` writes to `folder` ("": the cache) on first use."""
    root = make_untrimmed(folder or None, num_train=num_train, num_val=num_val, seed=seed)
    lists = {split: str(root / f"{split}_proposals.txt") for split in ("train", "val")}
    names = str(root / "classes.txt")
    return proposals(
        **lists, num_classes=num_classes, data_prefix=str(root / "videos"), class_names=names, suffix=".mp4"
    )


PROPOSED = {"proposals": proposals, "untrimmed_shapes": untrimmed_shapes}


def build_proposed(config, *, num_classes: int) -> Proposed:
    """`{"name": "proposals", "train": ..., ...}` -> the data set. ValueError: an unknown name or key."""
    return pick(PROPOSED, config, "data", given=("num_classes",))(num_classes=num_classes)


def _there(path, records: Sequence[SSNRecord], max_missing: float) -> list[SSNRecord]:
    """Drops records whose video is missing, as far as `missing_files` looks, and renumbers the rest."""
    paths = {*missing_files((record.path for record in records), folders=True)[0]}
    missing = [record for record in records if record.path in paths]
    if len(missing) > max_missing * len(records):
        raise FileNotFoundError(
            f"{path}: {len(missing)} of its {len(records)} videos do not exist, {missing[0].path} the first; "
            f"data.max_missing={max_missing:g} allows fewer. See data.data_prefix, data.suffix"
        )
    if missing:
        log.warning("%s: %d videos do not exist and are left out, %s the first", path, len(missing), missing[0].path)
    gone = {record.number for record in missing}
    kept = [record for record in records if record.number not in gone]
    return [_numbered(record, number) for number, record in enumerate(kept)]


def _numbered(record: SSNRecord, number: int) -> SSNRecord:
    renumber = lambda rows: rows._replace(video=rows.video * 0 + number)
    parts = renumber(record.ground_truth), renumber(record.proposals)
    return record._replace(number=number, ground_truth=parts[0], proposals=parts[1])
