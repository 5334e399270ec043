"""Weights, inputs and expected values of the golden model cases, in our names and layouts."""

import importlib.util
import json
import pathlib
import re

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "models"
_spec = importlib.util.spec_from_file_location("fillrule", FOLDER / "fillrule.py")
fillrule = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fillrule)

_LEAVES = {
    "conv.weight": ("params", "conv/kernel"),
    "bn.weight": ("params", "bn/scale"),
    "bn.bias": ("params", "bn/bias"),
    "bn.running_mean": ("batch_stats", "bn/mean"),
    "bn.running_var": ("batch_stats", "bn/var"),
}


def place(key: str) -> tuple[str, str] | None:
    """A checkpoint key of the reference -> our collection and path; None for counters."""
    if key.endswith("num_batches_tracked"):
        return None
    if key.startswith("cls_head.fc_cls."):
        return "params", f"fc_cls/{'kernel' if key.endswith('weight') else 'bias'}"
    key = key.replace(".net.", ".").removeprefix("backbone.")
    module, leaf = re.fullmatch(r"(.*)\.((?:conv|bn)\.\w+)", key).groups()
    module = "stem" if module == "conv1" else re.sub(r"^layer(\d)\.(\d+)\.", r"layer\1_\2/", module)
    collection, name = _LEAVES[leaf]
    return collection, f"backbone/{module}/{name}"


def from_torch(array: np.ndarray) -> np.ndarray:
    """[out, in, h, w] -> [h, w, in, out]; [out, in] -> [in, out]."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def to_torch(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def variables(model: str) -> dict:
    """The golden weights of a manifest as our variables."""
    tree: dict = {"params": {}, "batch_stats": {}}
    for key, value in fillrule.state_dict(json.loads((FOLDER / "manifests" / f"{model}.json").read_text())).items():
        if where := place(key):
            node = tree[where[0]]
            *parents, leaf = where[1].split("/")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = from_torch(value)
    return tree


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
    torch_layout = to_torch(array).astype(np.float64)
    return float((torch_layout * fillrule.gauss(fillrule.default_salt(), f"probe:{key}", torch_layout.shape)).sum())
