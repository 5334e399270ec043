"""Every config builds, and a wrong key in any section stops it before data is opened."""

import functools
import runpy

import jax
import numpy as np
import pytest
from conftest import ROOT
from drawn import drawn
from marks import slow_but

from actjax.tasks import build
from actjax.training import devices, step

NOT_PUBLISHED = ("tsm_own", "tsm_shapes")
RECIPES = sorted(file.stem for file in (ROOT / "configs").glob("ts[mn]_*.py") if file.stem not in NOT_PUBLISHED)

# What MMAction2 publishes; `test`: clips of a video, and frames of a clip.
K400 = dict(decay=1e-4, clip=20.0, classes=400)
STH = dict(epochs=50, decay=5e-4, clip=20.0, classes=174)
PUBLISHED = {
    "tsm_r50_1x1x8_50e_kinetics400_rgb": dict(K400, frames=8, batch=64, lr=0.01, epochs=50, test=(1, 8)),
    "tsm_r50_1x1x8_100e_kinetics400_rgb": dict(K400, frames=8, batch=64, lr=0.01, epochs=100, test=(1, 8)),
    "tsm_r50_video_1x1x8_50e_kinetics400_rgb": dict(K400, frames=8, batch=64, lr=0.02, epochs=50, test=(1, 8)),
    "tsm_r50_dense_1x1x8_100e_kinetics400_rgb": dict(K400, frames=8, batch=64, lr=0.01, epochs=100, test=(100, 8)),
    "tsm_r50_1x1x16_50e_kinetics400_rgb": dict(K400, frames=16, batch=48, lr=0.0075, epochs=50, test=(10, 16)),
    "tsm_nl_embedded_gaussian_r50_1x1x8_50e_kinetics400_rgb": dict(
        K400, frames=8, batch=64, lr=0.01, epochs=50, test=(1, 8)
    ),
    "tsm_nl_gaussian_r50_1x1x8_50e_kinetics400_rgb": dict(K400, frames=8, batch=64, lr=0.01, epochs=50, test=(1, 8)),
    "tsm_nl_dot_product_r50_1x1x8_50e_kinetics400_rgb": dict(K400, frames=8, batch=64, lr=0.01, epochs=50, test=(1, 8)),
    "tsm_temporal_pool_r50_1x1x8_50e_kinetics400_rgb": dict(K400, frames=8, batch=64, lr=0.01, epochs=50, test=(1, 8)),
    "tsm_mobilenetv2_dense_1x1x8_100e_kinetics400_rgb": dict(
        K400 | dict(decay=2e-5), frames=8, batch=64, lr=0.01, epochs=100, test=(30, 8)
    ),
    "tsm_r50_1x1x8_50e_sthv1_rgb": dict(STH, frames=8, batch=64, lr=0.01, test=(6, 8)),
    "tsm_r50_1x1x16_50e_sthv1_rgb": dict(STH, frames=16, batch=48, lr=0.0075, test=(6, 16)),
    "tsm_r50_1x1x8_50e_sthv2_rgb": dict(STH, frames=8, batch=48, lr=0.0075, test=(6, 8)),
    "tsm_r50_1x1x16_50e_sthv2_rgb": dict(STH, frames=16, batch=48, lr=0.0075, test=(6, 16)),
    "tsm_r101_1x1x8_50e_sthv2_rgb": dict(STH, frames=8, batch=64, lr=0.01, test=(6, 8)),
    "tsn_r50_1x1x3_100e_kinetics400_rgb": dict(
        K400 | dict(clip=40.0), frames=3, batch=256, lr=0.01, epochs=100, test=(10, 25)
    ),
}


def load(root, name, arg=None):
    get_config = runpy.run_path(str(root / "configs" / f"{name}.py"))["get_config"]
    return get_config() if arg is None else get_config(arg)


def test_every_config_is_tested():
    assert sorted(PUBLISHED) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_the_published_one(root, name):
    config, told = load(root, name), PUBLISHED[name]
    experiment = build(config)
    assert experiment.train_clips.clip_shape == (1, told["frames"], 224, 224, 3)
    side = 256 if told["test"][0] in (6, 30) else 224
    assert experiment.test.clips.clip_shape == (*told["test"], side, side, 3)
    optim, run = config.optim, config.run
    milestones = {50: (20, 40), 100: (40, 80)}[told["epochs"]]
    assert (run.batch_size, optim.lr_batch_size, optim.lr) == (told["batch"], told["batch"], told["lr"])
    assert (run.epochs, optim.schedule.milestones, optim.schedule.gamma) == (told["epochs"], milestones, 0.1)
    assert (optim.weight_decay, optim.clip_norm, optim.momentum) == (told["decay"], told["clip"], 0.9)
    assert config.model.num_classes == told["classes"]
    assert config.model.dropout == (0.4 if name.startswith("tsn") else 0.5)
    assert config.train.view.flip_ratio == (0.0 if "sth" in name else 0.5)
    assert optim.rules.name == ("uniform" if name.startswith("tsn") else "tsm")


@pytest.mark.parametrize(
    "name", slow_but(RECIPES, "tsm_r50_1x1x8_50e_kinetics400_rgb", "tsn_r50_1x1x3_100e_kinetics400_rgb")
)
def test_recipe_takes_a_step(root, name):
    """At reduced depth, width and size: the first loss is that of guessing, and the groups are printed."""
    config = load(root, name, "scratch")
    config.model.width = 8
    if "depth" in config.model:
        config.model.depth = 10
    if "non_local" in config.model:
        config.model.non_local = ((0,), (1,), (1,), (0,))
    for section in ("train", "eval", "test"):
        if section in config:
            config[section].view.short_side = 64
            if "size" in config[section].view:
                config[section].view.size = 64
    experiment = build(config)
    views, *shape = experiment.train_clips.clip_shape
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (2, views, *shape), dtype=np.uint8)
    schedule = experiment.network.optimizer.schedule(1.0)
    tx = functools.partial(experiment.network.optimizer.transform, schedule=schedule)
    choices = dict(
        tx=tx, schedule=schedule, mesh=devices.make_mesh(1), bn="global", freeze=experiment.network.optimizer.freeze
    )
    variables = drawn(experiment.network.task.init)
    state = jax.jit(functools.partial(step.create_state, seed=0, init=lambda key: variables, tx=tx))()
    update = jax.jit(functools.partial(step.update, loss=experiment.network.task.loss, **choices))
    after, numbers = update(state, {"video": video, "label": np.array([1, 5], np.int32)})
    assert float(numbers["loss"]) == pytest.approx(np.log(config.model.num_classes), rel=0.1)
    assert 0 < float(numbers["grad_norm"]) < np.inf and float(numbers["lr"]) == pytest.approx(config.optim.lr)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.variables["params"], after.variables["params"])
    assert all(jax.tree.leaves(moved["fc_cls"])) and all(jax.tree.leaves(moved["backbone"]["stem"]))
    first = "all" if name.startswith("tsn") else "first_conv_weight"
    assert str(experiment.network.groups).splitlines()[1].split()[0] == first


def test_arguments_of_recipes(root):
    name = "tsm_r50_1x1x8_50e_sthv1_rgb"
    assert load(root, name).load_from.path.endswith("resnet50-19c8e357.pth")
    assert "load_from" not in load(root, name, "scratch")
    assert load(root, name, "prepared=folder").data.to_dict() == dict(name="prepared", folder="folder")
    assert build(load(root, name, "prepared=folder")).eval_clips.clip_shape[1] == 8
    with pytest.raises(ValueError, match="did you mean 'scratch'"):
        load(root, name, "scrach")
    with pytest.raises(
        FileNotFoundError, match=r"load_from.path=.*resnet50-19c8e357.pth does not exist.*; get it with `curl"
    ):
        build(load(root, name)).network.initial(root / "nowhere")


@pytest.mark.parametrize("name", ["tsn_r50_1x1x3_100e_kinetics400_rgb", "tsm_r50_dense_1x1x8_100e_kinetics400_rgb"])
def test_recipe_for_flow_builds(root, name):
    """Ten channels in every protocol, one view after the other as for RGB."""
    experiment, rgb = build(load(root, name, "flow")), build(load(root, name))
    assert experiment.network.model.in_channels == 10
    for flow, plain in ((experiment.train_clips, rgb.train_clips), (experiment.test.clips, rgb.test.clips)):
        assert flow.clip_shape == (*plain.clip_shape[:-1], 10)


@pytest.mark.parametrize("arg", [None, "tsn"])
def test_sample_config_builds(root, arg):
    assert build(load(root, "tsm_shapes", arg)).eval_clips.clip_shape[1] == 8


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ("", "modle", r"config.'modle' is unknown; did you mean 'model'"),
        ("data", "num_trian", r"data.'num_trian' is unknown; did you mean 'num_train'"),
        ("loss", "label_smothing", r"loss.'label_smothing' is unknown; did you mean 'label_smoothing'"),
        ("load_from", "file", r"load_from.'file' is unknown"),
        ("test", "bakend", r"test.'bakend' is unknown; did you mean 'backend'"),
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
    config.update(loss={"label_smoothing": 0.1}, load_from={"path": "file.pth"}, test=config.eval.to_dict())
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
        ("run.best", "fun", "whether higher is better"),
        ("run.best", "mean_class_acc", "did you mean 'mean_class_accuracy'"),
        ("run.epochs", 0.0, r"run.epochs=0.0; must be a number in \(0, inf\)"),
        ("run.epochs", float("inf"), r"run.epochs=inf; must be a number in \(0, inf\)"),
        ("run.epochs", float("nan"), "run.epochs=nan; must be"),
        ("run.batch_size", 0, r"run.batch_size=0; must be a whole number in \[1, inf\)"),
        ("run.eval_batch_size", 0, "run.eval_batch_size=0; must be"),
        ("run.log_every", -1, "run.log_every=-1; must be"),
        ("run.eval_every", float("nan"), "run.eval_every=nan; must be"),
        ("run.keep", True, "run.keep=True: must be an integer"),
        ("run.seed", -1, "run.seed=-1; must be"),
        ("run.seed", 2**32, r"run.seed=4294967296; must be a whole number in \[0, 4294967296\)"),  # as 0 for JAX
        ("train.flip_labels", ((0, 8),), r"train.flip_labels=\(\(0, 8\),\); expected pairs of classes in 0..7"),
        ("train.flip_labels", ((-1, 2),), "train.flip_labels=.*expected pairs"),
        ("train.flip_labels", ((0, 1), (1, 2)), "train.flip_labels=.*each class once at most"),
        ("train.flip_labels", ((3, 3),), "train.flip_labels=.*each class once at most"),
        ("run.ema", 1.0, r"run.ema=1.0; must be a number in \(0, 1\)"),
        ("run.fsdp", 0, "run.fsdp=0; must be positive, or -1"),
        ("loader.num_workers", -1, r"loader.num_workers=-1; must be a whole number in \[0, 1000\]"),
        ("loader.num_workers", 1001, r"loader.num_workers=1001; must be a whole number in \[0, 1000\]"),
        ("loader.timeout", 0.0, r"loader.timeout=0.0; must be a number in \(0, inf\)"),
        ("loader.timeout", float("inf"), "loader.timeout=inf; must be"),
        ("loader.max_broken", 1.5, r"loader.max_broken=1.5; must be a number in \[0, 1\]"),
        ("loader.power", float("nan"), "loader.power=nan; must be a number"),
        ("optim.lr", -0.1, r"optim.lr=-0.1; must be a number in \[0, inf\)"),
        ("optim.lr", float("nan"), "optim.lr=nan; must be"),
        ("optim.lr_batch_size", 0, "optim.lr_batch_size=0; must be"),
        ("optim.momentum", 2.0, r"optim.momentum=2.0; must be a number in \[0, 1\)"),
        ("optim.weight_decay", -1e-4, "optim.weight_decay=-0.0001; must be"),
        ("optim.clip_norm", 0.0, r"optim.clip_norm=0.0; must be a number in \(0, inf\]"),
        ("optim.warmup_epochs", -1.0, "optim.warmup_epochs=-1.0; must be"),
        ("optim.warmup_ratio", 2.0, "optim.warmup_ratio=2.0; must be"),
        ("model.dropout", 1.5, r"model.dropout=1.5; must be a number in \[0, 1\]"),
        ("model.num_classes", 0, r"model.num_classes=0; must be a whole number in \[1, inf\)"),
        ("loss", dict(label_smoothing=2.0), r"loss.label_smoothing=2.0; must be a number in \[0, 1\]"),
        ("augment", dict(mixup=dict(alpha=float("inf"))), r"mixup: alpha=inf; must be a number in \(0, inf\)"),
        ("loss", dict(loss_weight=float("nan")), r"loss.loss_weight=nan; must be a number in \(0, inf\)"),
        ("loss", dict(loss_weight=-1.0), "loss.loss_weight=-1.0; must be"),
        ("loss", dict(loss_weight=float("inf")), "loss.loss_weight=inf; must be"),
        ("loss", dict(class_weights=(0.0,) * 8), "loss.class_weights=.*; at least one must be above 0"),
        ("loss", dict(class_weights=(1.0,) * 7 + (-1.0,)), "loss.class_weights=-1.0; must be"),
        ("loss", dict(class_weights=(1.0,) * 7 + (float("nan"),)), "loss.class_weights=nan; must be"),
        ("model.width", 0, r"model.width=0; must be a whole number in \[1, inf\)"),
        ("model.shift_div", 0, r"model.shift_div=0; must be a whole number in \[2, inf\)"),
        ("model.shift_div", 1, "model.shift_div=1; must be"),
        ("model.shift_div", 4096, "ResNet never calls `temporal.in_residual` on model.shift_div or more channels"),
        ("model.init_std", float("nan"), r"model.init_std=nan; must be a number in \[0, inf\)"),
        ("model.init_std", -0.1, "model.init_std=-0.1; must be"),
        ("train.stack", 0, "train: stack=0; must be"),
        ("eval.clips_at_once", -1, r"eval.clips_at_once=-1; must be a whole number in \[0, inf\)"),
        ("extract", dict(num_frames=0), r"extract.num_frames=0; must be a whole number in \[1, inf\)"),
        ("extract", dict(interval=0), "extract.interval=0; must be"),
        ("prepare", dict(quality=101), r"prepare.quality=101; must be a whole number in \[1, 100\]"),
        ("prepare", dict(short_side=-1), "prepare.short_side=-1; must be"),
        ("optim.schedule", dict(name="step", milestones=(1,), gamma=float("nan")), "optim.schedule.gamma=nan; must be"),
        ("optim.schedule", dict(name="step", milestones=(1,), gamma=-0.1), "optim.schedule.gamma=-0.1; must be"),
        ("optim.schedule", dict(name="cosine", final=float("nan")), "optim.schedule.final=nan; must be"),
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
