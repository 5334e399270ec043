"""The config of own untrimmed videos -> its run.

Sections: `data`; those of the localizer, BMN, BSN or SSN, except its `data`. `localizer` names it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from actjax.config import Reader, plain, unknown
from actjax.errors import check_number, named
from actjax.tasks import bsn, ssn
from actjax.tasks.recognition.run import EMBEDDINGS

LOCALIZERS = ("bmn", "bsn", "ssn")


class OwnData(NamedTuple):
    """Section `data`.

    videos: folder of untrimmed video files, or a pattern; "": the sample set, with its annotations.
    train, val: annotation files in ActivityNet's form; one file may be both if its field `subset` tells them apart.
    subsets: the subset of each split, for a file of both.
    network: the TSN or TSM that looks at the videos: the workdir of a run, or a recipe, which is trained first.
    interval: BMN, BSN: frames from one feature to the next; None: as many as give the median training video as many
      features as the localizer has time steps, at most 16.
    window: seconds that each feature's clip spans; None: as many as the clips of the network, see `clip_seconds`.
    num_frames: frames of each feature's clip; None: as in `extract.num_frames`.
    what: "scores", the network's logits, or "embedding".
    rescale: BMN, BSN: see `datasets.untrimmed.activitynet`.
    max_missing: share of the annotated videos that may be missing or unreadable; they are left out.
    num_train, num_val, seed: of the sample set.
    """

    videos: str = ""
    train: str = ""
    val: str = ""
    subsets: tuple[str, str] = ("training", "validation")
    network: str = "tsm_shapes"
    interval: int | None = None
    window: float | None = None
    num_frames: int | None = None
    what: str = "scores"
    rescale: str = "linear"
    max_missing: float = 0.05
    num_train: int = 160
    num_val: int = 40
    seed: int = 0

    def check(self) -> "OwnData":
        """Returns itself. ValueError: a value out of range, or videos without annotations."""
        with named("data"):
            for name in ("interval", "num_frames"):
                if getattr(self, name) is not None:
                    check_number(name, getattr(self, name), "[1, inf)", whole=True)
            if self.window is not None:
                check_number("window", self.window, "(0, inf)")
            check_number("max_missing", self.max_missing, "[0, 1]")
        if self.what not in EMBEDDINGS:
            raise ValueError(f"data.what={unknown(self.what, EMBEDDINGS)}")
        given = [name for name in ("videos", "train", "val") if getattr(self, name)]
        if given and len(given) < 3:
            raise ValueError(f"data.{given[0]} is set; own videos need all of data.videos, data.train and data.val")
        return self


class OwnRun(NamedTuple):
    """A run of own videos, as its config describes it.

    localizer: name of its task. sections: the config of the localizer, without `data`.
    """

    localizer: str
    data: OwnData
    sections: Mapping


def build(*, data, localizer: str, **sections) -> OwnRun:
    """The run of a config. The localizer's own sections are checked once the features are known."""
    if localizer not in LOCALIZERS:
        raise ValueError(f"config.localizer={unknown(localizer, LOCALIZERS)}")
    return OwnRun(localizer, READERS["data"].bind(data or {}, "data")().check(), plain(sections))


READERS = {"data": Reader((OwnData,))} | {
    name: reader for task in (bsn, ssn) for name, reader in task.READERS.items() if name not in ("data", "detect")
}
