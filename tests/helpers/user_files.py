"""Files that a user of the documents would have: a few videos and their lists, a published checkpoint."""

import pathlib
import shutil
from collections.abc import Callable

import numpy as np
from conftest import MEDIA
from drawn import drawn_variables

from actjax.data.samples.shapes import write_video


def videos(folder: pathlib.Path) -> None:
    """Eight videos to train on, two to validate on, their lists, the names of twelve classes, and a clip."""
    rng = np.random.default_rng(0)
    (folder / "videos").mkdir()
    for split, count in (("train", 8), ("val", 2)):
        for k in range(count):
            frames = rng.integers(0, 256, (1, 48, 64, 3), np.uint8).repeat(12, 0)
            write_video(folder / "videos" / f"{split}_{k}.mp4", frames, fps=12)
        (folder / f"{split}.txt").write_text("".join(f"videos/{split}_{k}.mp4 {k}\n" for k in range(count)))
    (folder / "classes.txt").write_text("".join(f"action {k}\n" for k in range(12)))
    shutil.copy(MEDIA / "test.mp4", folder / "clip.mp4")


def published(name: str) -> Callable[[pathlib.Path], None]:
    """A checkpoint in MMAction2's layout, of a small network."""

    def write(folder: pathlib.Path) -> None:
        from actjax.models import TSM, export_checkpoint

        network = TSM(num_classes=400, depth=10)
        (folder / name).parent.mkdir(exist_ok=True)
        export_checkpoint(drawn_variables(network), network, folder / name)

    return write
