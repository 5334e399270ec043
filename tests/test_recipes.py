"""Configs as data, without jax: what tests/test_configs.py, which builds them, does not look at."""

import re
import runpy
import subprocess
import sys

import pytest
from conftest import ROOT

from actjax.config.overrides import override
from actjax.data.clips.transforms import EVAL_VIEWS, SAMPLERS
from actjax.data.datasets.annotations import load_annotations
from actjax.recipes import tsm
from actjax.tasks import registered

CONFIGS = {
    file.stem: runpy.run_path(str(file))["get_config"]
    for file in sorted((ROOT / "configs").glob("ts[mn]_*.py"))
    if file.stem not in ("tsm_own", "tsm_shapes")
}
ZOO = (ROOT / "docs" / "model_zoo.md").read_text()
TESTS_OF_ZOO = dict(re.findall(r"^\| `(\w+)` \| (\d+ x \d+)", ZOO, re.M))


def shape(section) -> tuple[int, int, int]:
    """(clips, frames of a clip, side) that a video of 300 frames, 340x256, gives without draws."""
    sample, view = section.sample.to_dict(), section.view.to_dict()
    indices = SAMPLERS[sample.pop("name")](300, **sample)
    boxes = EVAL_VIEWS[view.pop("name")](256, 340, **view)
    return len(indices) * len(boxes), indices.shape[1], boxes[0].size[0]


def test_recipes_load_without_jax():
    code = "import sys, actjax.recipes; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_validation_is_one_centre(name):
    frames = int(re.search(r"1x1x(\d+)_", name)[1])
    dense = name.startswith("tsm_r50_dense")
    assert shape(CONFIGS[name]().eval) == (10 if dense else 1, frames, 224)


@pytest.mark.parametrize("name", CONFIGS)
def test_model_zoo_tells_the_test(name):
    config = CONFIGS[name]()
    clips, frames, side = shape(config.get("test") or config.eval)
    assert TESTS_OF_ZOO[name] == f"{clips} x {frames}"
    assert side == (256 if clips in (6, 30) else 224)
    if clips > 1:
        assert clips % config.test.clips_at_once == 0 and config.run.eval_batch_size == 8


def test_model_zoo_lists_every_config():
    assert set(TESTS_OF_ZOO) == set(CONFIGS)
    files = re.findall(r"^\| `(\S+)\.pth`", ZOO, re.M)
    assert len(set(files)) == len(files) and all(re.search(r"_\d{8}-[0-9a-f]{8}$", file) for file in files)


@pytest.mark.parametrize("name", CONFIGS)
def test_training_follows_the_name(name):
    config, video = CONFIGS[name](), "_video_" in name
    start = "resnet101-5d3b4d8f" if "_r101_" in name else "resnet50-19c8e357"
    start = "mobilenet_v2-b0353104" if "_mobilenetv2_" in name else start
    assert config.load_from.path == f"checkpoints/{start}.pth" and f"`{start}.pth`" in ZOO
    assert config.train.sample.name == ("dense_sample_frames" if name.startswith("tsm_r50_dense") else "sample_frames")
    assert config.train.view.num_fixed_crops == (5 if name.startswith("tsn") else 13)
    assert config.eval.average_clips == ("score" if name.startswith("tsn") else "prob")
    assert config.data.name == ("videos" if video else "rawframes") and ("backend" in config.train) == video
    assert config.data.get("filename_tmpl", "") == ("{:05d}.jpg" if "sthv1" in name else "")
    assert config.model.get("non_local_mode", "") in name and bool(config.model.get("non_local")) == ("_nl_" in name)
    assert config.model.get("temporal_pool", False) == ("temporal_pool" in name)


def test_a_recipe_takes_a_network_of_another_package():
    """Without a depth, which is ResNet's, and from scratch unless a file is named."""
    config = tsm(None, data="sthv2", epochs=50, milestones=(20, 40), lr=0.01, model=dict(arch="mypkg.nets:TinyNet"))
    assert "depth" not in config.model and config.load_from.path == ""
    config = tsm(None, data="sthv2", epochs=50, milestones=(20, 40), lr=0.01, model=dict(arch="resnet", depth=101))
    assert config.model.depth == 101 and "resnet101" in config.load_from.path


def takes(config, key: str) -> bool:
    """Whether the command line can override `key`."""
    try:
        override(config.to_dict(), {key: None}, registered(config).reader)
    except ValueError as error:
        return "is unknown" not in str(error)  # or only the value is wrong
    return True


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("tsm")])
def test_overrides_that_are_told_can_be_made(name):
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "configs" / f"{name}.py"]
    told = {key for text in texts for key in re.findall(r"--config\.([a-z_.]+)=", text.read_text())}
    assert {"model.num_segments", "run.ema", "data.val", "stages", "tem.results"} <= told
    configs = [CONFIGS[name](), *(runpy.run_path(str(ROOT / "configs" / f"{other}.py"))["get_config"]() for other in
               ("bsn_400x100_activitynet_feature", "bmn_400x100_2x8_9e_activitynet_feature", "bmn_own"))]  # fmt: skip
    assert [key for key in sorted(told) if not any(takes(config, key) for config in configs)] == []


def test_a_recipe_for_flow():
    config = CONFIGS["tsn_r50_1x1x3_100e_kinetics400_rgb"]("flow")
    for section in (config.train, config.eval, config.test):
        assert (section.modality, section.stack, section.sample.clip_len) == ("Flow", 5, 5)
    assert (config.data.modality, config.data.filename_tmpl) == ("Flow", "{}_{:05d}.jpg")
    assert config.load_from.inflate_stem and config.model.mean == config.model.std == (128.0,)
    prepared = CONFIGS["tsn_r50_1x1x3_100e_kinetics400_rgb"]("flow,scratch,prepared=folder")
    assert prepared.data.to_dict() == dict(name="prepared", folder="folder") and "load_from" not in prepared
    with pytest.raises(ValueError, match="'flow': video files have no flow"):
        CONFIGS["tsm_r50_video_1x1x8_50e_kinetics400_rgb"]("flow")


def test_override_of_one_section_leaves_the_others():
    config = CONFIGS["tsm_r50_1x1x16_50e_kinetics400_rgb"]()
    config.train.sample.num_clips, config.eval.view.size = 4, 112
    assert (config.eval.sample.num_clips, config.test.sample.num_clips, config.test.view.size) == (16, 16, 224)
    assert CONFIGS["tsm_r50_1x1x8_50e_kinetics400_rgb"]().eval.view.size == 224


def test_lists_of_kinetics_as_the_zoo_makes_them(tmp_path, monkeypatch):
    """The lists of MMAction2's layout, after the command in model_zoo.md, name folders that are there."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data" / "kinetics400"
    for split in ("train", "val"):
        (root / f"rawframes_{split}" / "dancing" / split).mkdir(parents=True)
        (root / f"kinetics400_{split}_list_rawframes.txt").write_text(f"dancing/{split} 30 7\n")
    command = re.search(r"^for split in .*?^done$", ZOO, re.M | re.S)[0]
    subprocess.run(["bash", "-ec", command], check=True)
    data = CONFIGS["tsm_r50_1x1x8_50e_kinetics400_rgb"]().data
    for file in (data.train, data.val):
        (record,) = load_annotations("rawframes", file, data_prefix=data.data_prefix or None)
        assert (tmp_path / record.path).is_dir() and (record.num_frames, record.label) == (30, 7)
