"""The sets that can be made into lists, by name."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

from actjax.data.lists.activitynet import read_activitynet
from actjax.data.lists.diving48 import read_diving48
from actjax.data.lists.hmdb51 import read_hmdb51
from actjax.data.lists.kinetics import read_kinetics
from actjax.data.lists.published import Published, Untrimmed
from actjax.data.lists.something_v1 import read_jester, read_something_v1
from actjax.data.lists.something_v2 import read_something_v2
from actjax.data.lists.thumos14 import read_thumos14
from actjax.data.lists.ucf101 import read_ucf101


class Format(NamedTuple):
    """How a set is read and trained with.

    read: (folder or file of the annotations, **options) -> what they say. kind: "videos", "frames" or "untrimmed".
    wants: the published files, in one line. options: of `read`. recipe: the config of the command that is printed, and
    flags it needs.
    """

    read: Callable[..., Published | Untrimmed]
    kind: str
    num_classes: int
    wants: str
    recipe: str
    flags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def published(self, annotations: pathlib.Path, **options) -> Published | Untrimmed:
        """What the annotations say, with a note if the number of classes is not that of the whole set."""
        found = self.read(annotations, **options)
        expected = self.num_classes + options.get("ambiguous", False)
        if (count := len(found.class_names)) == expected:
            return found
        return found._replace(notes=[*found.notes, f"there are {count} classes; the whole set has {expected}"])


_VIDEOS = "tsm_r50_video_1x1x8_50e_kinetics400_rgb"
_BMN = "bmn_400x100_2x8_9e_activitynet_feature"
_KINETICS = "train.csv and val.csv or validate.csv, or one CSV file of both; videos ID_000010_000020.mp4 or ID.mp4"

FORMATS = {
    "ucf101": Format(
        read_ucf101, "videos", 101, "classInd.txt, trainlist01.txt, testlist01.txt; videos CLASS/VIDEO.avi",
        _VIDEOS, options=("split",),
    ),
    "hmdb51": Format(
        read_hmdb51, "videos", 51, "CLASS_test_split1.txt of every class; videos CLASS/VIDEO.avi",
        _VIDEOS, options=("split",),
    ),
    "sthv1": Format(
        read_something_v1, "frames", 174, "something-something-v1-{labels,train,validation}.csv; frames ID/00001.jpg",
        "tsm_r50_1x1x8_50e_sthv1_rgb",
    ),
    "sthv2": Format(
        read_something_v2, "videos", 174,
        "something-something-v2-{labels,train,validation}.json, or labels.json, ...; videos ID.webm",
        "tsm_r50_1x1x8_50e_sthv2_rgb", ("data.name=videos",),
    ),
    "kinetics400": Format(read_kinetics, "videos", 400, _KINETICS, _VIDEOS),
    "kinetics600": Format(read_kinetics, "videos", 600, _KINETICS, _VIDEOS),
    "kinetics700": Format(read_kinetics, "videos", 700, _KINETICS, _VIDEOS),
    "jester": Format(
        read_jester, "frames", 27, "jester-v1-{labels,train,validation}.csv; frames ID/00001.jpg",
        "tsm_r50_1x1x8_50e_sthv1_rgb",
    ),
    "diving48": Format(
        read_diving48, "videos", 48, "Diving48_V2_{train,test}.json, Diving48_vocab.json; videos ID.mp4", _VIDEOS,
    ),
    "activitynet": Format(
        read_activitynet, "untrimmed", 200, "activity_net.v1-3.min.json; videos v_ID.mp4 or a table of their lengths",
        _BMN,
    ),
    "thumos14": Format(
        read_thumos14, "untrimmed", 20,
        "CLASS_val.txt and CLASS_test.txt of every class, optionally detclasslist.txt; videos video_test_0000004.mp4",
        _BMN, options=("ambiguous",),
    ),
}  # fmt: skip
