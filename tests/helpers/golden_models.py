"""Weights, inputs and expected values of the golden model cases, in our names and layouts."""

import functools
import importlib.util
import json
import pathlib
import re

import numpy as np

from actjax.models import TSM, TSN

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "models"
NON_LOCAL = ((0, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 0, 0))
TSM_ = functools.partial(TSM, dropout=0.0)
MODELS = {
    "tsm_r18": TSM_(num_classes=10, depth=18),
    "tsm_r34": TSM_(num_classes=10, depth=34),
    "tsm_r50": TSM_(num_classes=400),
    "tsm_r50_s16": TSM_(num_classes=400),
    "tsm_r50_block": TSM_(num_classes=400, shift_place="block"),
    "tsm_r50_tpool": TSM_(num_classes=400, temporal_pool=True),
    "tsm_r50_nl_embedded_gaussian": TSM_(num_classes=400, non_local=NON_LOCAL),
    "tsm_r50_nl_gaussian": TSM_(num_classes=400, non_local=NON_LOCAL, non_local_mode="gaussian"),
    "tsm_r50_nl_dot_product": TSM_(num_classes=400, non_local=NON_LOCAL, non_local_mode="dot_product"),
    "tsm_r101": TSM_(num_classes=174, depth=101),
    "tsm_r152": TSM_(num_classes=10, depth=152),
    "tsm_mobilenetv2": TSM_(num_classes=400, arch="mobilenet_v2"),
    "tsn_r50": TSN(num_classes=400, dropout=0.0),
    "tsn_r50_flow": TSN(num_classes=101, in_channels=10, dropout=0.0),
}
_spec = importlib.util.spec_from_file_location("fillrule", FOLDER / "fillrule.py")
fillrule = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fillrule)

_LEAVES = {
    "conv.weight": ("params", "conv/kernel"),
    "conv.bias": ("params", "conv/bias"),
    "bn.weight": ("params", "bn/scale"),
    "bn.bias": ("params", "bn/bias"),
    "bn.running_mean": ("batch_stats", "bn/mean"),
    "bn.running_var": ("batch_stats", "bn/var"),
}


def place(key: str) -> tuple[str, str] | None:
    """A checkpoint key of the reference -> our collection and path; None for counters."""
    if key.endswith("num_batches_tracked"):
        return None
    if key.startswith("cls_head."):
        return "params", f"{key.split('.')[1]}/{'kernel' if key.endswith('weight') else 'bias'}"
    if key == "sample_mask":
        return None
    if not key.startswith("backbone."):
        return "params", _localizer_place(key)
    key = key.replace(".net.", ".").replace(".block.", ".").removeprefix("backbone.")
    key = re.sub(r"\.conv\.(\d)\.", r".conv\1.", key)  # MobileNet's lists of convolutions
    module, leaf = re.fullmatch(r"(.*)\.((?:conv|bn)\.\w+)", key).groups()
    if nonlocal_ := re.fullmatch(r"(layer\d)\.(\d+)\.non_local_block\.(\w+)(\.0)?", module):
        stage, block, part, _ = nonlocal_.groups()
        if part == "conv_out":
            leaf_place = _LEAVES[leaf]
            return leaf_place[0], f"backbone/{stage}_{block}_non_local/conv_out/{leaf_place[1]}"
        return "params", f"backbone/{stage}_{block}_non_local/{part}/{_LEAVES[leaf][1].removeprefix('conv/')}"
    module = "stem" if module == "conv1" else re.sub(r"^layer(\d)\.(\d+)\.", r"layer\1_\2/", module)
    collection, name = _LEAVES[leaf]
    return collection, f"backbone/{module}/{name}"


def _localizer_place(key: str) -> str:
    """Of TEM (conv1), PEM (fc1) and BMN (x_1d_b.0)."""
    module, leaf = key.rsplit(".", 1)
    if module.startswith("x_"):
        kind, number = module.split(".")
        one = {"x_1d_p": "map_1d", "x_3d_p": "map_3d"}
        several = {"x_1d_b": "base", "x_1d_s": "start", "x_1d_e": "end", "x_2d_p": "map_2d"}
        module = one[kind] if kind in one else f"{several[kind]}_{int(number) // 2}"
    return f"{module}/{'kernel' if leaf == 'weight' else 'bias'}"


def from_torch(array: np.ndarray) -> np.ndarray:
    """[out, in, h, w] -> [h, w, in, out]; [out, in, 1, 1, 1] -> [1, 1, in, out]; [out, in, n, 1, 1] and [out, in, n] ->
    [n, in, out]; [out, in] -> [in, out]."""
    if array.ndim == 5:
        array = array[..., 0] if array.shape[2] == 1 else array[..., 0, 0]
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def to_torch(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def variables(model: str) -> dict:
    """The golden weights of a manifest as our variables."""
    tree: dict = {"params": {}, "batch_stats": {}}
    for key, value in fillrule.state_dict(json.loads((FOLDER / "manifests" / f"{model}.json").read_text())).items():
        if where := place(key):
            put(tree[where[0]], where[1], from_torch(value))
    return tree


def put(tree: dict, path: str, value) -> None:
    *parents, leaf = path.split("/")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[leaf] = value


def leaf(tree: dict, path: str) -> np.ndarray:
    for part in path.split("/"):
        tree = tree[part]
    return np.asarray(tree)


def case(name: str) -> dict:
    return json.loads((FOLDER / "cases" / f"{name}.json").read_text())


def arrays(name: str) -> dict:
    return dict(np.load(FOLDER / "cases" / f"{name}.npz"))


def clips(inputs: dict) -> dict:
    """The inputs of a case; videos from [b, t, c, h, w] to [b, t, h, w, c]."""
    made = {
        name: fillrule.fill(fillrule.default_salt(), e["name"], tuple(e["shape"]), e["dtype"], e["fill"])
        for name, e in inputs.items()
    }
    return {name: value.transpose(0, 1, 3, 4, 2) if value.ndim == 5 else value for name, value in made.items()}


def probe(key: str, array: np.ndarray) -> float:
    """The dot product that tells permuted axes apart; `array` in our layout."""
    torch_layout = to_torch(array).astype(np.float64)  # a 1x1x1 kernel has the order of a 1x1 one
    return float((torch_layout * fillrule.gauss(fillrule.default_salt(), f"probe:{key}", torch_layout.shape)).sum())


def close(actual, expected, *, of_max):
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=of_max * np.abs(expected).max())
