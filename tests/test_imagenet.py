"""Real ImageNet weights: they name pictures right, and `tsm_own:mobilenet` starts from them."""

import numpy as np
import pytest
from conftest import ROOT

import actjax
from actjax.interop import import_checkpoint
from actjax.models import TSN

REAL = ROOT.parent / "shared" / "real" / "imagenet"
FILE = REAL / "mobilenet_v2_imagenet.safetensors"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is not there")

PICTURES = {
    "bird": "chickadee",
    "cat": "Egyptian cat",
    "dragonfly": "dragonfly",
    "hot_dog": "hotdog",
    "parrot": "macaw",
}


def test_pictures_are_named_right():
    import cv2
    import jax

    model = TSN(arch="mobilenet_v2", num_classes=1001, mean=(128.0,), std=(128.0,))
    imported = import_checkpoint(FILE, model, strict=True)
    labels = (REAL / "imagenet_labels.txt").read_text().splitlines()
    read = lambda name: cv2.resize(cv2.imread(str(REAL / f"{name}.png")), (225, 225), interpolation=cv2.INTER_AREA)
    clips = np.stack([read(name)[None, ..., ::-1] for name in PICTURES])
    scores = jax.jit(lambda clips: jax.nn.softmax(model.apply(imported.variables, clips)))(clips)
    found = [labels[int(k)] for k in np.argmax(scores, axis=-1)]
    assert all(name in label for name, label in zip(PICTURES.values(), found, strict=True)), found


def test_the_recipe_starts_from_them(tmp_path):
    sizes = {f"{part}.view.{key}": 64 for part in ("train", "eval") for key in ("short_side", "size")}
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(5):
            (tmp_path / name / f"{k}.mp4").write_bytes(b"")
    more = {"data.folder": str(tmp_path), "load_from.path": str(FILE), **sizes}
    run = actjax.build("tsm_own", **more)
    initial = run.network.initial(tmp_path / "run")()
    kernel = initial["params"]["fc_cls"]["kernel"]
    assert kernel.shape == (1280, 2) and kernel.std() == pytest.approx(0.001, rel=0.1)
    frozen = [group for group in str(run.network.groups).splitlines() if group.split()[:2] == ["frozen", "0"]]
    assert frozen and run.network.settings.epochs == 100.0 and run.network.model.norm_eval
    stem = np.asarray(initial["params"]["backbone"]["stem"]["conv"]["kernel"])
    assert np.isfinite(stem).all() and stem.std() > 0.05  # not as initialised
