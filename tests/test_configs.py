"""Every config builds, and a wrong key in any section stops it before data is opened."""

import runpy

import pytest

from actjax.experiment import build

VARIANTS = {"tsm_shapes": (None, "tsn"), "tsm_r50_video_1x1x8_50e_kinetics400_rgb": (None, "prepared=folder")}


def load(root, name, arg=None):
    get_config = runpy.run_path(str(root / "configs" / f"{name}.py"))["get_config"]
    return get_config() if arg is None else get_config(arg)


def test_every_config_is_tested(root):
    assert {file.stem for file in (root / "configs").glob("*.py")} == set(VARIANTS)


@pytest.mark.parametrize(("name", "arg"), [(name, arg) for name, args in VARIANTS.items() for arg in args])
def test_config_builds(root, name, arg):
    experiment = build(load(root, name, arg))
    assert experiment.protocol.clip_shape[1] == 8


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ("", "modle", r"config.'modle' is unknown; did you mean 'model'"),
        ("data", "num_trian", r"data.'num_trian' is unknown; did you mean 'num_train'"),
        ("loader", "workers", r"loader.'workers' is unknown; did you mean 'num_workers'"),
        ("model", "shift_divs", r"model.'shift_divs' is unknown; did you mean 'shift_div'"),
        ("train.sample", "num_clip", r"train.sample.'num_clip' is unknown; did you mean 'num_clips'"),
        ("train.view", "scale", r"train.view.'scale' is unknown; did you mean 'scales'"),
        ("eval", "average_clip", r"eval.'average_clip' is unknown"),
        ("optim", "momentun", r"optim.'momentun' is unknown; did you mean 'momentum'"),
        ("optim.schedule", "milestones", r"optim.schedule.'milestones' is unknown"),
        ("optim.rules", "fc_lr5", r"optim.rules.'fc_lr5' is unknown"),
        ("run", "epoch", r"run.'epoch' is unknown; did you mean 'epochs'"),
    ],
)
def test_unread_key_is_an_error(root, section, key, message):
    config = load(root, "tsm_shapes")
    place = config
    for part in filter(None, section.split(".")):
        place = place[part]
    place[key] = 1
    with pytest.raises(ValueError, match=message):
        build(config)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("task", "recognise", "did you mean 'recognition'"),
        ("train.view.name", "multiscale", "did you mean 'multi_scale'"),
        ("eval.view.name", "multi_scale", "eval.view.name='multi_scale' is unknown"),  # draws: not a test view
        ("eval.view.size", 60, "does not fit"),
        ("eval.average_clips", "mean", "eval.average_clips='mean' is unknown; choose from"),
        ("train.backend", "decrod", "train.backend='decrod' is unknown; did you mean 'decord'"),
        ("run.bn", "sync", "run.bn"),
        ("run.best", "fun", "whether more is better"),
        ("run.best", "mean_class_acc", "did you mean 'mean_class_accuracy'"),
        ("run.epochs", 0, "must be positive"),
        ("optim.name", "adm", "optim.name='adm' is unknown"),
        ("model.depth", 20, "depth=20; choose from"),
        ("model.shift_place", "blok", "shift_place='blok'"),
        ("model.dtype", "float23", "float23"),
    ],
)
def test_wrong_value_is_an_error(root, path, value, message):
    config = load(root, "tsm_shapes")
    *sections, key = path.split(".")
    place = config
    for part in sections:
        place = place[part]
    place[key] = value
    with pytest.raises(ValueError, match=message):
        build(config)


def test_missing_key_is_an_error(root):
    config = load(root, "tsm_shapes")
    del config.optim["lr"]
    with pytest.raises(ValueError, match="optim.lr is missing"):
        build(config)
