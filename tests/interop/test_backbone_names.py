"""Checkpoints of networks with a backbone of another package: tests/helpers/outside_nets.py."""

import jax
import numpy as np
import pytest

from actjax.interop.importing import read_tensors
from actjax.interop.naming import mmaction_name
from actjax.interop.torch_files import save_torch
from actjax.models import SSN, TSM, TSN, export_checkpoint, import_checkpoint, initialize

PLAIN = TSN(num_classes=3, arch="outside_nets:PlainNet")
TINY = TSM(num_classes=3, arch="outside_nets:TinyNet", non_local=((0, 1), (1, 0)), temporal_pool=True)
NAMED = TSM(num_classes=3, arch="outside_nets:NamedNet")


def variables_of(model):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: initialize(model, key=jax.random.key(0)))
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "model",
    [PLAIN, TINY, NAMED, SSN(num_classes=3, arch="outside_nets:PlainNet")],
    ids=["plain", "tiny", "named", "ssn"],
)
def test_export_then_import_is_exact(model, suffix, tmp_path):
    variables = variables_of(model)
    export_checkpoint(variables, model, tmp_path / f"file{suffix}")
    again, report = import_checkpoint(tmp_path / f"file{suffix}", model, strict=True)
    assert report.loaded == len(jax.tree.leaves(variables)) and not report.notes
    jax.tree.map(np.testing.assert_array_equal, variables, again)


def test_plain_names_are_paths_with_torch_s_last_parts_and_axes(tmp_path):
    """Also where a module is called as one of ResNet's or as a wrapper of MMAction2."""
    variables = variables_of(PLAIN)
    names = export_checkpoint(variables, PLAIN, tmp_path / "file.pth")
    assert set(names) == {
        "backbone.layer1_0.weight",
        "backbone.layer1_0.bias",
        "backbone.conv1.weight",
        "backbone.conv1.bias",
        "backbone.conv1.running_mean",
        "backbone.conv1.running_var",
        "backbone.conv1.num_batches_tracked",
        "backbone.net.weight",
        "backbone.LayerNorm_0.weight",
        "backbone.LayerNorm_0.bias",
        "backbone.gain",
        "backbone.stem.weight",
        "backbone.stem.bias",
        "cls_head.fc_cls.weight",
        "cls_head.fc_cls.bias",
    }
    tensors = read_tensors(tmp_path / "file.pth")
    ours = variables["params"]["backbone"]
    np.testing.assert_array_equal(tensors["backbone.layer1_0.weight"], ours["layer1_0"]["kernel"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(tensors["backbone.stem.weight"], ours["stem"]["kernel"].T)
    assert tensors["backbone.gain"].shape == () and tensors["backbone.net.weight"].shape == (6, 1, 3, 3)


def test_non_local_blocks_keep_the_backbone_s_plain_names():
    assert mmaction_name("backbone/layer1_1_non_local/g/kernel", TINY) == "backbone.layer1_1_non_local.g.weight"


def test_a_backbone_reads_the_files_of_others(tmp_path):
    """Names of its own kind go through its `read`; heads of other tasks and counters are dropped."""
    variables = variables_of(NAMED)
    names = export_checkpoint(variables, NAMED, tmp_path / "ours.pth")
    assert "backbone.patch.weight" in names and "backbone.patches_bn.weight" in names
    tensors = read_tensors(tmp_path / "ours.pth")
    theirs = {"fc.weight": np.zeros((1000, 16), np.float32), "fc.bias": np.zeros(1000, np.float32)}
    for name, value in tensors.items():
        name = name.removeprefix("backbone.").replace("patch.", "patch.0.").replace("patches_bn.", "patch.1.")
        name = name.replace("early_", "blocks.0.").replace("late_", "blocks.1.").replace("widen.", "out.")
        name = name.replace("Conv_0", "conv").replace("BatchNorm_0", "bn")
        if not name.startswith("cls_head."):
            theirs[name] = value
    save_torch(tmp_path / "theirs.pth", theirs)
    again, report = import_checkpoint(tmp_path / "theirs.pth", NAMED, strict=True)
    assert report.layout == "NamedNet of others"
    assert report.notes == ("the file has no classifier of videos: fc_cls is re-initialised",)
    for collection in ("params", "batch_stats"):
        theirs, ours = (tree[collection]["backbone"] for tree in (again, variables))
        jax.tree.map(np.testing.assert_array_equal, theirs, ours)


def test_a_stem_of_another_package_is_inflated_for_flow(tmp_path):
    variables = variables_of(NAMED)
    export_checkpoint(variables, NAMED, tmp_path / "file.pth")
    flow = TSM(num_classes=3, arch="outside_nets:NamedNet", in_channels=10)
    again, report = import_checkpoint(tmp_path / "file.pth", flow, inflate_stem=True, strict=True)
    assert report.notes == ("the stem for 3 channels was inflated to 10",)
    stem = lambda tree: tree["params"]["backbone"]["patches_conv"]["kernel"]
    mean = stem(variables).mean(2, keepdims=True)
    np.testing.assert_allclose(stem(again), np.repeat(mean, 10, 2), rtol=1e-6)


def test_files_of_other_networks_are_refused(tmp_path):
    resnet = TSM(num_classes=3, depth=10, width=8)
    export_checkpoint(variables_of(resnet), resnet, tmp_path / "resnet.pth")
    for model in (PLAIN, TINY, NAMED):
        with pytest.raises(ValueError, match=r"it has only \d+ of the model's \d+ tensors"):
            import_checkpoint(tmp_path / "resnet.pth", model)
    export_checkpoint(variables_of(TINY), TINY, tmp_path / "tiny.pth")
    with pytest.raises(ValueError, match=r"it has only \d+ of the model's \d+ tensors"):
        import_checkpoint(tmp_path / "tiny.pth", resnet)


def test_two_variables_of_one_name_are_refused(tmp_path):
    twin = TSN(num_classes=3, arch="outside_nets:TwinNet")
    with pytest.raises(
        ValueError, match="params/backbone/scale and another variable would both be called backbone.weight"
    ):
        export_checkpoint(variables_of(twin), twin, tmp_path / "file.pth")
