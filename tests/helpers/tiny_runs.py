"""Tiny runs for localizing: a recogniser, and a localizer of untrimmed videos that it looks at."""

import json
import pathlib
import shutil
import tempfile

import numpy as np
from drawn import drawn_variables

import actjax
from actjax.data.samples.untrimmed_shapes import make_untrimmed
from actjax.door import run_mode
from actjax.interop import export_checkpoint
from actjax.models import embedding
from actjax.tasks.opening import open_config, open_workdir
from actjax.video.decoding import open_video

RECOGNISER = dict(
    data=dict(num_train=32, num_val=8),
    run=dict(batch_size=8, epochs=1.0),
    model=dict(width=8),
    loader=dict(num_workers=1),
    localize=dict(chunk=8),
)
BMN = dict(
    model=dict(temporal_scale=16, hidden_dim_1d=16, hidden_dim_2d=8, hidden_dim_3d=16, num_samples=4),
    run=dict(epochs=2.0, batch_size=8, eval_batch_size=8, eval_every=9.0),
)


def own(network: pathlib.Path, **data) -> dict:
    """The section `data` of a tiny run of own videos; by default of the sample set."""
    return dict(network=str(network), num_train=8, num_val=4) | data


def localize(workdir: pathlib.Path, changes=None, **flags):
    """`--mode=localize` in this process -> what was found."""
    return run_mode("localize", open_workdir(workdir, changes or {}), workdir, **flags)


def copied(workdir: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
    """A copy of a run."""
    shutil.copytree(workdir, to)
    return to


def facts(workdir: pathlib.Path, **changes) -> dict:
    """What a run knows of its training data, with changes, which are kept."""
    file = workdir / "training_data.json"
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(content))
    return content


def videos_of_the_sample_set() -> pathlib.Path:
    """The folder of the untrimmed videos of a tiny run."""
    return make_untrimmed(num_train=8, num_val=4) / "videos"


def make_recogniser(workdir: pathlib.Path, *, seed: int = 0) -> pathlib.Path:
    """A run of TSM with drawn weights, whose classes change along a video, as those of a trained network do."""
    opened = open_config("tsm_shapes", RECOGNISER)
    model = opened.run.network.model
    variables = drawn_variables(model)
    videos = [open_video(file) for file in sorted(videos_of_the_sample_set().glob("*_000[03].mp4"))]
    clips = [video.frames(np.arange(k, k + 8)) for video in videos for k in range(0, video.num_frames - 8, 16)]
    clips = np.stack(clips)[: len(clips) // 8 * 8, None, :, 4:44, 12:52]
    seen = np.concatenate(
        [embedding(model, variables, clips[k : k + 8], what="embedding") for k in range(0, len(clips), 8)]
    )
    kernel = np.random.default_rng(seed).normal(size=(seen.shape[1], model.num_classes)) / (
        seen.std(axis=0)[:, None] + 1e-6
    )
    kernel /= (seen @ kernel).std(axis=0)
    head = {"kernel": kernel.astype(np.float32), "bias": -(seen.mean(axis=0) @ kernel).astype(np.float32)}
    variables = variables | {"params": variables["params"] | {"fc_cls": head}}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "drawn.pth")
        export_checkpoint(variables, model, file)
        run_mode("import", opened, workdir, source=str(file))
    return workdir


def train_bmn(workdir: pathlib.Path, network: pathlib.Path, **data) -> pathlib.Path:
    actjax.train("bmn_own", workdir, data=own(network, **data), bmn=BMN)
    return workdir
