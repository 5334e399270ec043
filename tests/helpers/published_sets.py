"""Small public sets as their publishers ship them: `annotations` and `videos` in a folder, files true to format.

Videos are empty files, since only their names count, or short clips where their lengths do.
"""

import json
import pathlib
import shutil

import numpy as np
from conftest import MEDIA

from actjax.data.samples.shapes import write_video

STHV1 = ("Holding something", "Lifting up one end of something, then letting it drop down", "Opening something")
DIVES = (
    ["Back", "15som", "05Twis", "FREE"],
    ["Back", "15som", "15Twis", "FREE"],
    ["Forward", "Dive", "NoTwis", "PIKE"],
)


def write(folder: pathlib.Path, files: dict[str, str]) -> None:
    """Files by their path from a folder -> text, or empty files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


def empty(folder: pathlib.Path, *names: str) -> None:
    write(folder, dict.fromkeys(names, ""))


def clip(path: pathlib.Path, *, seconds: float, fps: int = 10) -> None:
    """A video of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, np.zeros((round(seconds * fps), 32, 48, 3), np.uint8), fps=fps)


def ucf101(folder: pathlib.Path) -> None:
    """Two classes; the lines end as on Windows, as published."""
    train = [f"{c}/v_{c}_g{g:02d}_c01.avi {k}\r\n" for k, c in ((1, "ApplyEyeMakeup"), (2, "YoYo")) for g in (8, 9)]
    test = [f"{c}/v_{c}_g01_c01.avi\r\n" for c in ("ApplyEyeMakeup", "YoYo")]
    lists = {"classInd.txt": "1 ApplyEyeMakeup\r\n2 YoYo\r\n", "trainlist01.txt": "".join(train)}
    write(folder / "annotations", lists | {"testlist01.txt": "".join(test)})
    empty(folder / "videos", *(line.split()[0] for line in train + test))


def hmdb51(folder: pathlib.Path) -> None:
    """Two classes with a name in common, as some names are in the whole set; a video is in neither part."""
    lines = "a_f_cm_np1_ba_bad_0.avi 1 \nb (x)_f_cm_np1_ba_bad_1.avi 2 \nc_f_cm_np1_ba_med_2.avi 0 \n"
    write(folder / "annotations" / "testTrainMulti_7030_splits",
          {f"{name}_test_split{split}.txt": lines for name in ("wave", "brush_hair") for split in (1, 2)})  # fmt: skip
    files = [line.rsplit(maxsplit=1)[0] for line in lines.splitlines()]
    empty(folder / "videos", *(f"{name}/{file}" for name in ("wave", "brush_hair") for file in files))


def frames(folder: pathlib.Path, *counts: int, suffix: str = ".jpg") -> None:
    """Folders 1, 2, ... of so many frames."""
    for number, count in enumerate(counts, 1):
        (folder / str(number)).mkdir(parents=True)
        for k in range(1, count + 1):
            shutil.copy(MEDIA / "imgs" / f"img_{k:05d}.jpg", folder / str(number) / f"{k:05d}{suffix}")


def twentybn(folder: pathlib.Path, prefix: str, names: tuple[str, ...]) -> None:
    lists = {"labels": "".join(f"{name}\n" for name in names), "train": f"2;{names[1]}\n1;{names[0]}\n"}
    lists |= {"validation": f"3;{names[2]}\n", "test": "4\n5\n"}
    write(folder / "annotations", {f"{prefix}-{part}.csv": text for part, text in lists.items()})
    frames(folder / "videos", 3, 4, 5)


def sthv1(folder: pathlib.Path) -> None:
    twentybn(folder, "something-something-v1", STHV1)


def jester(folder: pathlib.Path) -> None:
    twentybn(folder, "jester-v1", ("Swiping Left", "Swiping Right", "Doing other things"))


def sthv2(folder: pathlib.Path, prefix: str = "something-something-v2-") -> None:
    entry = lambda number, template: {"id": str(number), "label": "x", "template": template, "placeholders": ["cup"]}
    train = [entry(78687, "Holding [something] next to [something]"), entry(9, "[Something] falling, like a paper")]
    lists = {"labels": {"Holding something next to something": "0", "Something falling, like a paper": "1"},
             "train": train, "validation": [entry(74225, "[Something] falling, like a paper")],
             "test": [{"id": "1420"}]}  # fmt: skip
    write(folder / "annotations", {f"{prefix}{part}.json": json.dumps(content) for part, content in lists.items()})
    empty(folder / "videos", "78687.webm", "9.webm", "74225.webm", "1420.webm")


def kinetics(folder: pathlib.Path) -> None:
    """A folder for each split; names of classes with blanks and commas."""
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    write(folder / "annotations", {
        "train.csv": f'{header}"washing, drying",--Gkrd_Z9Tc,0,10,train,0\nair drumming,a_nQbRBEz2s,104,114,train,0\n',
        "validate.csv": f"{header}air drumming,---QUuC4vJs,84,94,validate,0\n",
        "test.csv": "youtube_id,time_start,time_end,split\nxxxxxxxxxxx,1,11,test\n",
    })  # fmt: skip
    empty(folder / "videos", "train/--Gkrd_Z9Tc_000000_000010.mp4", "train/a_nQbRBEz2s_000104_000114.mp4",
          "val/---QUuC4vJs_000084_000094.mp4", "test/xxxxxxxxxxx_000001_000011.mp4")  # fmt: skip


def diving48(folder: pathlib.Path) -> None:
    entry = lambda name, label: {"vid_name": name, "label": label, "start_frame": 0, "end_frame": 48}
    lists = {"Diving48_vocab": DIVES, "Diving48_V2_test": [entry("-mmq0PT-u8k_00155", 0)],
             "Diving48_V2_train": [entry("2x00lRzlTVQ_00001", 2), entry("2x00lRzlTVQ_00000", 1)]}  # fmt: skip
    write(folder / "annotations", {f"{name}.json": json.dumps(content) for name, content in lists.items()})
    empty(folder / "videos", "-mmq0PT-u8k_00155.mp4", "2x00lRzlTVQ_00000.mp4", "2x00lRzlTVQ_00001.mp4")


def activitynet(folder: pathlib.Path) -> None:
    """Clips of 3, 2 and 4 s at 10 frames per second, and features of them."""
    entry = lambda subset, seconds, *rows: {
        "duration": seconds, "subset": subset, "resolution": "320x240", "url": "https://www.youtube.com/watch?v=x",
        "annotations": [{"label": label, "segment": segment} for label, segment in rows],
    }  # fmt: skip
    database = {
        "sJFgo9H6zNo": entry("validation", 4.0, ("Fun sliding down", [0.5, 3.5])),
        "-fjVaqkG0ws": entry("training", 3.02, ("Long jump", [0.01, 1.0]), ("Fun sliding down", [2, 3])),
        "v_UmAH95xls": entry("training", 2.0, ("Long jump", [0, 2.0])),
        "testtesttes": entry("testing", 10.0),
    }
    content = {"version": "VERSION 1.3", "taxonomy": [], "database": database}
    write(folder / "annotations", {"activity_net.v1-3.min.json": json.dumps(content)})
    for name, seconds in (("v_sJFgo9H6zNo", 4), ("v_-fjVaqkG0ws", 3), ("v_v_UmAH95xls", 2)):
        clip(folder / "videos" / f"{name}.mp4", seconds=seconds)
        features(folder, name)


def features(folder: pathlib.Path, name: str) -> None:
    (folder / "features").mkdir(exist_ok=True)
    np.save(folder / "features" / f"{name}.npy", np.ones((5, 4), np.float32))


def thumos14(folder: pathlib.Path) -> None:
    """Two classes, of which one repeats the other, and Ambiguous, which has a video of its own."""
    val, test = "video_validation_0000051", "video_test_0000004"
    rows = {"CliffDiving": (f"{val}  0.2 0.9\n", f"{test}  1.0 2.0\n"),
            "Diving": (f"{val}  0.2 0.9\n{val}  1.0 1.5\n", f"{test}  1.0 2.0\n"),
            "Ambiguous": (f"{val}  1.6 1.9\n", "video_test_0000005  0.1 0.9\n")}  # fmt: skip
    for place, part in enumerate(("val", "test")):
        texts = {f"{name}_{part}.txt": parts[place] for name, parts in rows.items()}
        write(folder / "annotations" / part, texts | {"detclasslist.txt": "26 Diving\n22 CliffDiving\n"})
    for name, seconds in ((val, 2), (test, 3), ("video_test_0000005", 1)):
        clip(folder / "videos" / f"{name}.mp4", seconds=seconds)
        features(folder, name)


SETS = {
    "ucf101": ucf101, "hmdb51": hmdb51, "sthv1": sthv1, "sthv2": sthv2, "kinetics400": kinetics,
    "kinetics600": kinetics, "kinetics700": kinetics, "jester": jester, "diving48": diving48,
    "activitynet": activitynet, "thumos14": thumos14,
}  # fmt: skip
