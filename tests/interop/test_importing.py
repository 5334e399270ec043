"""Checkpoints of others: the reference's logits after import, the same file after export, and what does not fit."""

import functools
import json

import golden_models as g
import jax
import numpy as np
import pytest
from drawn import drawn_variables
from marks import slow_but

from actjax.interop.naming import mmaction_name, translate
from actjax.interop.torch_files import save_torch
from actjax.models import TSM, TSN, export_checkpoint, import_checkpoint, initialize

SMALL = functools.partial(TSM, depth=10, width=8)


def manifest(name):
    return json.loads((g.FOLDER / "manifests" / f"{name}.json").read_text())


def save(path, tensors, wrapper="openmmlab"):
    """A real-format file; the TSM authors' and torchvision's differ in names alone."""
    if path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file(tensors, path)
    else:
        save_torch(path, tensors)
    return path


@pytest.mark.parametrize(
    "name",
    slow_but(
        [
            "import_torchvision_r18_eval",
            "import_torchvision_r50_eval",
            "import_torchvision_mobilenetv2_eval",
            "import_mmcls_mobilenetv2_eval",
            "import_tsmauthors_r50_eval",
            "import_tsmauthors_mobilenetv2_eval",
        ],
        "import_torchvision_r18_eval",
        "import_mmcls_mobilenetv2_eval",
    ),
)
def test_imported_files_give_the_reference_s_logits(name, tmp_path):
    case = g.case(name)
    model = g.MODELS[case["model"]]
    source = case.get("checkpoint") or case["backbone_from"]
    path = save(tmp_path / "file.pth", g.fillrule.state_dict(manifest(source)))
    variables, report = import_checkpoint(path, model)
    assert not report.missing and not report.extra and not report.misshaped
    if case["head_from"] != source:
        (note,) = report.notes
        assert "fc_cls is re-initialised" in note
        variables["params"]["fc_cls"] = g.variables(case["head_from"])["params"]["fc_cls"]
    logits = jax.jit(functools.partial(model.apply, train=False))(variables, g.clips(case["inputs"])["imgs"])
    g.close(logits, g.arrays(name)["logits"], of_max=1e-4)


@pytest.mark.parametrize("name", g.MODELS)
def test_names_of_every_model_are_the_reference_s_both_ways(name):
    names = [entry["key"] for entry in manifest(name)["tensors"]]
    shapes = jax.eval_shape(lambda key: initialize(g.MODELS[name], key=key), jax.random.key(0))
    ours = {"/".join(key.key for key in path[1:]) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)}
    assert {mmaction_name(path, g.MODELS[name]) for path in ours} == {n for n in names if "num_batches" not in n}
    assert {path for path in translate(names).paths.values() if path} == ours


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "model",
    [
        SMALL(num_classes=5),
        SMALL(num_classes=5, shift_place="block", temporal_pool=True),
        SMALL(num_classes=5, non_local=((0,), (1,), (1,), (0,))),
        TSM(num_classes=5, arch="mobilenet_v2", width=8),
        TSN(num_classes=5, depth=10, width=8, in_channels=10),
    ],
    ids=["plain", "block-pool", "non-local", "mobilenet", "flow"],
)
def test_export_then_import_is_exact(model, suffix, tmp_path):
    variables = drawn_variables(model)
    export_checkpoint(variables, model, tmp_path / f"file{suffix}", meta={"epoch": 3})
    again, report = import_checkpoint(tmp_path / f"file{suffix}", model, strict=True)
    assert report.loaded == len(jax.tree.leaves(variables)) and not report.notes
    jax.tree.map(np.testing.assert_array_equal, variables, again)


def test_golden_file_goes_in_and_out_unchanged(tmp_path):
    """Import, export, import of a whole net: tensors equal to the file's, bit for bit."""
    tensors = g.fillrule.state_dict(manifest("tsm_r50_nl_gaussian"))
    model = g.MODELS["tsm_r50_nl_gaussian"]
    first = import_checkpoint(save(tmp_path / "a.pth", tensors), model, strict=True)
    export_checkpoint(first.variables, model, tmp_path / "b.safetensors")
    from safetensors.numpy import load_file

    written = load_file(tmp_path / "b.safetensors")
    assert set(written) == set(tensors)
    for name, value in tensors.items():
        if "num_batches" not in name:
            np.testing.assert_array_equal(written[name], value)


def exported(tmp_path, model, change):
    """An exported file of `model`, after `change` of its tensors."""
    from actjax.interop.importing import read_tensors

    variables = drawn_variables(model)
    export_checkpoint(variables, model, tmp_path / "file.pth")
    tensors = read_tensors(tmp_path / "file.pth")
    change(tensors)
    return save(tmp_path / "changed.pth", tensors)


def test_what_does_not_fit_is_listed_with_the_nearest_name(tmp_path):
    def change(tensors):
        tensors["backbone.layer1.0.conv3.conv.weight"] = tensors.pop("backbone.layer1.0.conv2.conv.weight")
        tensors["backbone.layer2.0.conv2.conv.weight"] = np.zeros((2, 2, 3, 3), np.float32)

    path = exported(tmp_path, SMALL(num_classes=5), change)
    variables, report = import_checkpoint(path, SMALL(num_classes=5))
    assert report.missing == (("backbone/layer1_0/conv2/conv/kernel", "backbone.layer1.0.conv3.conv.weight"),)
    assert report.extra == (("backbone.layer1.0.conv3.conv.weight", "backbone/layer1_0/conv2/conv/kernel"),)
    assert report.misshaped == (("backbone.layer2.0.conv2.conv.weight", (3, 3, 2, 2), (3, 3, 16, 16)),)
    assert np.abs(variables["params"]["backbone"]["layer1_0"]["conv2"]["conv"]["kernel"]).max() > 0
    with pytest.raises(ValueError, match="only in the file, ignored: backbone.layer1.0.conv3.conv.weight"):
        import_checkpoint(path, SMALL(num_classes=5), strict=True)


def test_a_new_number_of_classes_starts_the_head_anew_and_says_so(tmp_path):
    path = exported(tmp_path, SMALL(num_classes=7), lambda tensors: None)
    variables, report = import_checkpoint(path, SMALL(num_classes=5), strict=True)
    assert report.notes == ("7 classes in the file, 5 in the model: fc_cls is re-initialised",)
    assert "is re-initialised" in str(report)
    assert variables["params"]["fc_cls"]["kernel"].shape == (64, 5)


def test_an_rgb_stem_is_inflated_for_flow_if_asked(tmp_path):
    path = exported(tmp_path, SMALL(num_classes=5), lambda tensors: None)
    flow = SMALL(num_classes=5, in_channels=10)
    stem = lambda variables: variables["params"]["backbone"]["stem"]["conv"]["kernel"]
    rgb = stem(import_checkpoint(path, SMALL(num_classes=5)).variables)
    variables, report = import_checkpoint(path, flow, inflate_stem=True)
    assert report.notes == ("the stem for 3 channels was inflated to 10",)
    np.testing.assert_allclose(stem(variables), np.repeat(rgb.mean(2, keepdims=True), 10, 2), rtol=1e-6)
    variables, report = import_checkpoint(path, flow)
    assert [name for name, _, _ in report.misshaped] == ["backbone.conv1.conv.weight"]


def test_bad_files_are_named(tmp_path):
    model = SMALL(num_classes=5)
    with pytest.raises(FileNotFoundError, match="nothing.pth"):
        import_checkpoint(tmp_path / "nothing.pth", model)
    with pytest.raises(FileNotFoundError, match="nothing.safetensors: no such file"):
        import_checkpoint(tmp_path / "nothing.safetensors", model)
    (tmp_path / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0notjson!")
    with pytest.raises(ValueError, match="bad.safetensors: not a readable safetensors file"):
        import_checkpoint(tmp_path / "bad.safetensors", model)
    unknown = save(tmp_path / "unknown.pth", {"encoder.weight": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=r"unknown.pth: names such as \['encoder.weight'\] match no known layout"):
        import_checkpoint(unknown, model)
    other = exported(tmp_path, TSM(num_classes=5, arch="mobilenet_v2", width=8), lambda tensors: None)
    with pytest.raises(ValueError, match=r"it has only \d+ of the model's \d+ tensors"):
        import_checkpoint(other, SMALL(num_classes=6, width=4))
    broken = exported(tmp_path, model, lambda tensors: tensors["backbone.conv1.bn.bias"].fill(np.nan))
    with pytest.raises(ValueError, match="backbone.conv1.bn.bias has values that are not finite"):
        import_checkpoint(broken, model)
    with pytest.raises(ValueError, match=r"suffix '.onnx'; choose from"):
        export_checkpoint({}, model, tmp_path / "file.onnx")
