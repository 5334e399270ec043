"""Checkpoints as training programs write them: the same weights inside dictionaries, under prefixes, with averages."""

import functools
import itertools
import re
import zipfile

import jax
import ml_dtypes
import numpy as np
import pytest
from drawn import drawn_variables

from actjax.interop import pickling
from actjax.interop.importing import read_tensors
from actjax.models import TSM, export_checkpoint, import_checkpoint

MODEL = TSM(num_classes=5, depth=10, width=8)


@functools.cache
def variables():
    return drawn_variables(MODEL)


@pytest.fixture(scope="module")
def tensors(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.pth"
    export_checkpoint(variables(), MODEL, path)
    return read_tensors(path)


def pickled(value, arrays: list) -> bytes:
    """As torch.save writes it; the storages of tensors are the `arrays`."""
    if isinstance(value, dict):
        items = [pickling._plain(key) + pickled(inner, arrays) for key, inner in value.items()]
        return b"}(" + b"".join(items) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(pickled(inner, arrays) for inner in value) + b"e"
    if not isinstance(value, np.ndarray):
        return pickling._plain(value)
    arrays.append(value)
    return pickling._tensor("", str(len(arrays) - 1), value)


def save(path, content, stream=False):
    if stream:
        torch = pytest.importorskip("torch", reason="torch writes this format")
        of_torch = lambda value: torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
        tree = jax.tree.map(of_torch, content)
        return torch.save(tree, path, _use_new_zipfile_serialization=False)
    arrays = []
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + pickled(content, arrays) + b".")
        for key, array in enumerate(arrays):
            file.writestr(f"archive/data/{key}", array.tobytes())


def averaged(tensors, factor=0.5):
    return {name: np.asarray(factor * value, value.dtype) for name, value in tensors.items()}


def named(tensors, prefix):
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def imported(tmp_path, content, stream=False, **options):
    save(tmp_path / "file.pth", content, stream)
    return import_checkpoint(tmp_path / "file.pth", MODEL, strict=True, **options)


def is_plain(found, factor=1.0):
    expect = jax.tree.map(lambda value: (factor * value).astype(value.dtype), variables())
    jax.tree.map(np.testing.assert_array_equal, expect, found)


CONTAINERS = [
    ("state_dict",),
    ("model",),
    ("model_state",),
    ("model_state_dict",),
    ("net",),
    ("network",),
    ("module",),
    ("model", "state_dict"),
    ("state_dict", "module", "model"),
    (),
]


@pytest.mark.parametrize("stream", [False, True], ids=["zip", "stream"])
@pytest.mark.parametrize("keys", CONTAINERS, ids=">".join)
def test_dictionaries_around_the_weights(tmp_path, tensors, keys, stream):
    content = tensors
    for key in reversed(keys):
        content = {"epoch": 3, key: content, "optimizer": {"state": {}}, "best": np.float32([0.5])}
    found = imported(tmp_path, content, stream)
    is_plain(found.variables)
    told = f"the weights in {' > '.join(map(repr, keys))} were taken"
    assert found.report.notes == (() if keys in ((), ("state_dict",)) else (told,))


PREFIXES = ["module.", "module.module.", "model.", "net.", "network.", "encoder.", "model.module.", "module.model.net."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_names(tmp_path, tensors, prefix):
    found = imported(tmp_path, {"state_dict": named(tensors, prefix)})
    is_plain(found.variables)
    assert found.report.notes == (f"`{prefix}` was removed from the names",)


@pytest.mark.parametrize("suffix", [".safetensors", ".SAFETENSORS", ".bin"])
def test_names_of_torch_compile_in_safetensors(tmp_path, tensors, suffix):
    from safetensors.numpy import save_file

    compiled = {name.replace("backbone.", "backbone._orig_mod."): value for name, value in tensors.items()}
    for names in (compiled, named(tensors, "_orig_mod."), named(tensors, "module._orig_mod.module.")):
        save_file(names, tmp_path / f"file{suffix}")
        found = import_checkpoint(tmp_path / f"file{suffix}", MODEL, strict=True)
        is_plain(found.variables)
        assert found.report.notes[0] == "`_orig_mod.` was removed from the names"
        assert len(found.report.notes) == 1 + ("module._orig_mod.module." in next(iter(names)))


def test_what_lightning_writes(tmp_path, tensors):
    """Its metrics and losses have tensors of their own, which are reported."""
    more = {"criterion.weight": np.ones(5, np.float32), "train_acc.correct": np.zeros((), np.int64)}
    content = {
        "pytorch-lightning_version": "2.5",
        "state_dict": named(tensors, "model.") | more,
        "hparams": {"lr": 0.1},
    }
    save(tmp_path / "file.ckpt", content)
    found = import_checkpoint(tmp_path / "file.ckpt", MODEL)
    is_plain(found.variables)
    assert [name for name, _ in found.report.extra] == list(more)
    assert "only in the file, ignored: criterion.weight, train_acc.correct" in str(found.report)
    content["state_dict"] |= {f"loss.{k}": np.ones(3, np.float32) for k in range(60)}
    save(tmp_path / "file.ckpt", content)
    told = str(import_checkpoint(tmp_path / "file.ckpt", MODEL).report).splitlines()
    line = "only in the file, ignored: 62 tensors, such as criterion.weight, train_acc.correct, loss.0"
    assert [one for one in told if "ignored" in one] == [line]


# Averaged weights.

BESIDE = {
    "timm": ("state_dict", "state_dict_ema"),
    "model_ema": ("model", "model_ema"),
    "ema": ("model", "ema"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_averaged_weights_are_taken_if_asked(tmp_path, tensors, name):
    plain, average = BESIDE[name]
    content = {plain: named(tensors, "module."), average: named(averaged(tensors), "module."), "epoch": 1}
    for ema in (None, False):
        found = imported(tmp_path, content, ema=ema)
        is_plain(found.variables)
        assert (
            f"the file also has averaged (EMA) weights, in '{average}': --ema (ema=True) takes them"
            in found.report.notes
        )
    found = imported(tmp_path, content, ema=True)
    is_plain(found.variables, 0.5)
    assert found.report.notes[0] == f"averaged (EMA) weights in '{average}' were taken"
    assert f"the file also has plain weights, in '{plain}': --noema (ema=False) takes them" in str(found.report)


def test_the_shadow_of_an_average_is_found(tmp_path, tensors):
    content = {"model": tensors, "ema": {"shadow": averaged(tensors), "decay": 0.99, "num_updates": 7}}
    is_plain(imported(tmp_path, content).variables)
    found = imported(tmp_path, content, ema=True)
    is_plain(found.variables, 0.5)
    assert found.report.notes[0] == "averaged (EMA) weights in 'ema' > 'shadow' were taken"


def test_mmengine_keeps_the_averaged_weights_in_state_dict(tmp_path, tensors):
    """`EMAHook.before_save_checkpoint` swaps the two, so that the plain "state_dict" is the one to test."""
    swapped = {"state_dict": averaged(tensors), "ema_state_dict": named(tensors, "module.") | {"steps": np.array(9)}}
    for ema in (None, True):
        found = imported(tmp_path, swapped, ema=ema)
        is_plain(found.variables, 0.5)
        assert found.report.notes[0] == "averaged (EMA) weights in 'state_dict' were taken"
        assert "plain weights, in 'ema_state_dict': --noema (ema=False) takes them" in found.report.notes[1]
    is_plain(import_checkpoint(tmp_path / "file.pth", MODEL, ema=False).variables)
    del swapped["ema_state_dict"]["steps"]  # not of MMEngine
    is_plain(imported(tmp_path, swapped, ema=False).variables, 0.5)
    is_plain(imported(tmp_path, swapped, ema=True).variables)


def test_averaged_weights_under_a_prefix(tmp_path, tensors):
    content = {"state_dict": named(tensors, "model.") | named(averaged(tensors), "model_ema.module.")}
    save(tmp_path / "file.pth", content)
    for ema, factor, other in (
        (None, 1.0, "model_ema.module."),
        (False, 1.0, "model_ema.module."),
        (True, 0.5, "model."),
    ):
        found = import_checkpoint(tmp_path / "file.pth", MODEL, ema=ema)
        is_plain(found.variables, factor)
        assert f"the file also has weights named `{other}...`" in str(found.report)


def test_averaged_weights_that_are_the_only_ones(tmp_path, tensors):
    for content in ({"model_ema": tensors}, named(tensors, "ema_model.")):
        for ema in (None, True):
            found = imported(tmp_path, content, ema=ema)
            is_plain(found.variables)
            assert re.search(r"averaged \(EMA\) weights|names \(EMA weights\)", found.report.notes[0])
        with pytest.raises(
            ValueError, match=r"file.pth: has only averaged \(EMA\) weights, .* import them with --ema \(ema=True\)"
        ):
            imported(tmp_path, content, ema=False)
    with pytest.raises(
        ValueError, match=r"file.pth: has no averaged \(EMA\) weights; import it without --ema \(ema=True\)"
    ):
        imported(tmp_path, {"state_dict": tensors}, ema=True)


def test_buffers_of_mmcv_s_average_are_told(tmp_path, tensors):
    buffers = {f"ema_{name.replace('.', '_')}": value for name, value in averaged(tensors).items()}
    for prefix in ("", "module."):
        found = imported(tmp_path, {"state_dict": named(tensors | buffers, prefix)})
        is_plain(found.variables)
        (note,) = [note for note in found.report.notes if "EMAHook" in note]
        assert note.startswith(f"{len(buffers)} buffers of MMCV's EMAHook, such as ['ema_backbone_conv1_bn_bias'")
        assert not found.report.extra and len(note) < 400


# Objects beside the weights, which are not read.


def test_objects_beside_the_weights_are_passed_over(tmp_path, tensors):
    """Arguments, as DeiT and MAE save them, and MMEngine's record of losses."""
    args = b"cargparse\nNamespace\n)\x81}" + pickling._text("lr") + b"K\x01sb"
    history = b"cmmengine.logging.history_buffer\nHistoryBuffer\n"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85c_codecs\nencode\n(U\x01bU\x06latin1tRtR"
        b"(K\x01K\x01\x85cnumpy\ndtype\n(U\x02f8\x89\x88tR\x89c_codecs\nencode\n(U\x08\0\0\0\0\0\0\0\0U\x06latin1tRtb"
    )
    least = b"c__builtin__\ngetattr\n" + history + b"U\x03min\x86R"
    hub = history + b")\x81}(U\x0c_log_history" + array + b"U\x12statistics_methods}U\x03min" + least + b"sub"
    for name, code in {"args": args, "message_hub": b"}U\x04loss" + hub + b"s", "palette": array}.items():
        _save_with(tmp_path / "file.pth", tensors, name, code)
        is_plain(import_checkpoint(tmp_path / "file.pth", MODEL).variables)
    (first, *_) = tensors
    for inside in (tensors, {}):
        _save_with(tmp_path / "file.pth", inside, first, array, beside=False)
        with pytest.raises(
            ValueError, match=f"file.pth: has a `numpy.*` as '{first}', which is neither a tensor"
        ) as told:
            import_checkpoint(tmp_path / "file.pth", MODEL)
        assert len(str(told.value)) < 400


def _save_with(path, tensors, name: str, code: bytes, *, beside: bool = True):
    """Saves tensors, with the value that a pickle makes beside them or among them."""
    arrays = []
    state = pickled(tensors, arrays)
    more = pickling._text(name) + code + b"s"
    state = pickling._text("state_dict") + (state + b"s" + more if beside else state + more + b"s")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}" + state + b".")
        for key, array in enumerate(arrays):
            file.writestr(f"archive/data/{key}", array.tobytes())


# What is not clear is refused.


def test_two_networks_are_named(tmp_path, tensors):
    with pytest.raises(ValueError, match="file.pth: has several networks, such as 'state_dict' and 'model'; save the"):
        imported(tmp_path, {"model": tensors, "state_dict": averaged(tensors)})
    both = named(tensors, "model.") | named(averaged(tensors), "net.")
    with pytest.raises(ValueError, match="come after `(model|net)\\.` and after `(model|net)\\.`"):
        imported(tmp_path, {"state_dict": both})
    with pytest.raises(ValueError, match="come after no prefix and after `module\\.`"):
        imported(tmp_path, tensors | named(averaged(tensors), "module."))


def test_names_that_meet_are_named(tmp_path, tensors):
    name = "backbone.conv1.conv.weight"
    for other in (f"_orig_mod.{name}", "backbone._orig_mod.conv1.conv.weight", "backbone.conv1.net.conv.weight"):
        with pytest.raises(ValueError, match=f"{name}' and .*{other.split('.')[0]}.* are the same parameter"):
            imported(tmp_path, tensors | {other: tensors[name]})


def test_what_has_no_weights_is_told(tmp_path):
    for content, match in (
        ({"epoch": 3, "args": {"lr": 0.1}}, r"contains the keys \['args', 'epoch'\]; expected a dictionary of tensors"),
        ([np.ones(3)], "contains a list; expected a dictionary of tensors"),
        ({}, r"contains the keys \[\]"),
        ({"a" * 600: np.ones(3)}, "expected text of at most 500 letters"),
        ({3: np.ones(3)}, "a tensor named 3; expected text"),
        ({f"{'b' * 450}{n}": np.ones(3) for n in range(5)}, "match no known layout"),
    ):
        with pytest.raises(ValueError, match=f"file.pth: .*{match}") as error:
            imported(tmp_path, content)
        assert len(str(error.value)) < 400 + len(str(tmp_path)) and "\n" not in str(error.value)


def test_many_names_do_not_take_long(tmp_path, tensors):
    """Similar names are looked for among a few; as many prefixes as names are not tried."""
    runs = ["".join(parts) for parts in itertools.product(("model.", "net.", "module."), repeat=6)]
    more = {f"{run}{n}.extra": np.zeros(1, np.float32) for run in runs for n in range(10)}
    save(tmp_path / "file.pth", tensors | more)
    found = import_checkpoint(tmp_path / "file.pth", MODEL)
    assert len(found.report.extra) == len(more) and len(str(found.report)) < 50_000


# Values that are not weights.


def changed(tensors, value):
    return tensors | {"backbone.conv1.conv.weight": value}


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.bool_])
def test_integers_are_no_weights(tmp_path, tensors, kind):
    content = changed(tensors, np.ones((8, 3, 7, 7), kind))
    with pytest.raises(
        ValueError, match="backbone.conv1.conv.weight has the type .*, in the model float32; of a quant"
    ):
        imported(tmp_path, content)


def test_numbers_beyond_the_model_s_type_are_not_finite(tmp_path, tensors):
    content = changed(tensors, np.full((8, 3, 7, 7), 1e300))
    with pytest.raises(ValueError, match="backbone.conv1.conv.weight has values that are not finite as float32"):
        imported(tmp_path, content)


@pytest.mark.parametrize("kind", ["float64", "float16", ml_dtypes.bfloat16])
def test_other_floats_are_converted(tmp_path, tensors, kind):
    save(
        tmp_path / "file.pth",
        {k: np.asarray(v, kind if v.dtype == np.float32 else v.dtype) for k, v in tensors.items()},
    )
    found = import_checkpoint(tmp_path / "file.pth", MODEL, strict=True).variables
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-2, atol=1e-4), variables(), found)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32"}
