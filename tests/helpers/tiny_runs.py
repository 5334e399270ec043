"""Tiny runs for localizing: a recogniser, and localizers of untrimmed videos that it looks at."""

import json
import pathlib
import shutil

import actjax
from actjax.data.samples.untrimmed_shapes import make_untrimmed
from actjax.door import run_mode
from actjax.tasks.opening import open_workdir

RECOGNISER = dict(
    data=dict(num_train=32, num_val=8),
    run=dict(batch_size=8, epochs=1.0, log_every=1),
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


def train_recogniser(workdir: pathlib.Path, **changes) -> pathlib.Path:
    actjax.train("tsm_shapes", workdir, **(RECOGNISER | changes))
    return workdir


def train_bmn(workdir: pathlib.Path, network: pathlib.Path, **data) -> pathlib.Path:
    actjax.train("bmn_own", workdir, data=own(network, **data), bmn=BMN)
    return workdir
