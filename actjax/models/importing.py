"""Checkpoint files of others -> our variables, and a report of what did not fit."""

import difflib
import os
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from actjax.models.layouts import HEAD, translate
from actjax.models.torch_files import load_torch
from actjax.models.tsm import initialize

STEM = "backbone/stem/conv/kernel"


class Report(NamedTuple):
    """What became of a file's parameters; `str()` tells it in full.

    layout: whose names the file has.
    loaded: parameters and statistics taken from the file.
    missing: (our path, the nearest name among `extra`, or None): in the model alone, so they start anew.
    extra: (name, the nearest of our `missing` paths, or None): in the file alone.
    misshaped: (name, its shape, the model's, both in the model's order): these start anew, too.
    notes: what was done beyond copying.
    """

    path: str
    layout: str
    loaded: int
    missing: tuple[tuple[str, str | None], ...]
    extra: tuple[tuple[str, str | None], ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        near = lambda name: f" (nearest: {name})" if name else ""
        lines = [f"{self.path}: {self.loaded} tensors in the layout of {self.layout}", *self.notes]
        lines += [f"missing in the file, starts anew: {ours}{near(name)}" for ours, name in self.missing]
        lines += [f"only in the file, left out: {name}{near(ours)}" for name, ours in self.extra]
        lines += [f"another shape, starts anew: {name} is {a}, the model's {b}" for name, a, b in self.misshaped]
        return "\n".join(lines)


class Imported(NamedTuple):
    """Variables of the model, NumPy in float32, and what is to be said of them."""

    variables: dict
    report: Report


def import_checkpoint(
    path: str | os.PathLike, model, *, inflate_stem: bool = False, strict: bool = False, seed: int = 0
) -> Imported:
    """The variables of `model` with what a checkpoint file holds of them.

    Reads `.pth` files of MMAction2, of the TSM authors' repository and of torchvision (ResNet, MobileNet-V2), and
    `.safetensors` with the same names. torch is not needed and nothing in the file is executed.

    Args:
      model: a recogniser of `actjax.models`.
      inflate_stem: a stem for another number of channels, as of flow, starts from the mean of the file's over its
        channels. Source: arXiv:1608.00859, section 3.2.
      strict: what is missing, extra or of another shape is an error; a classifier of other classes is not.
      seed: of what starts anew.

    Raises:
      FileNotFoundError: no such file. ValueError: no checkpoint, no known layout, not half of the model in it, a value
        that is not finite; with `strict` also what does not fit.
    """
    tensors = read_tensors(path)
    start = jax.tree.map(np.asarray, jax.jit(lambda: initialize(model, jax.random.key(seed)))())
    flat = {"/".join(path): path for path in ((*keys[1:],) for keys in flatten_dict(start))}
    collections = {"/".join(keys[1:]): keys[0] for keys in flatten_dict(start)}
    ours = {name: flatten_dict(start)[(collections[name], *keys)] for name, keys in flat.items()}
    try:
        layout, places = translate(tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None

    values, notes, extra, misshaped = {}, [], [], []
    for name, place in places.items():
        if place is None:
            continue
        if place not in ours:
            extra.append(name)
            continue
        value, shape = _to_ours(tensors[name]), ours[place].shape
        if not np.isfinite(value).all():
            raise ValueError(f"{path}: {name} holds values that are not finite")
        if place == STEM and inflate_stem and value.shape[2] != shape[2]:
            notes.append(f"the stem for {value.shape[2]} channels was inflated to {shape[2]}")
            value = np.repeat(value.mean(axis=2, keepdims=True), shape[2], axis=2)
        if value.shape == shape:
            values[place] = value
        elif place.startswith(f"{HEAD}/"):
            if value.ndim == 2:
                notes.append(f"{value.shape[-1]} classes in the file, {shape[-1]} in the model: {HEAD} starts anew")
        else:
            misshaped.append((name, value.shape, shape))
    if 2 * len(values) < len(ours):
        raise ValueError(
            f"{path}: a file in the layout of {layout}; only {len(values)} of the model's {len(ours)} tensors are in "
            "it. Do model.arch, depth and width fit?"
        )
    rows = {place for name, _, _ in misshaped if (place := places[name])}
    missing = sorted(set(ours) - set(values) - rows)
    if all(name.startswith(f"{HEAD}/") for name in missing) and missing and not any(HEAD in note for note in notes):
        notes.append(f"the file has no classifier for videos: {HEAD} starts anew")
    missing = [name for name in missing if not (name.startswith(f"{HEAD}/") and any(HEAD in n for n in notes))]
    report = Report(
        str(path),
        layout,
        len(values),
        _with_nearest(missing, {places[name]: name for name in extra}),
        _with_nearest(extra, {name: name for name in missing}, places),
        tuple(misshaped),
        tuple(notes),
    )
    if strict and (report.missing or report.extra or report.misshaped):
        raise ValueError(str(report))
    merged = {(collections[name], *flat[name]): values.get(name, ours[name]) for name in ours}
    return Imported(unflatten_dict(merged), report)


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The named tensors of a `.safetensors` file, or the state dict of a torch file.

    Raises:
      FileNotFoundError: no such file. ValueError: it is none of these.
    """
    if pathlib.Path(path).suffix == ".safetensors":
        return _read_safetensors(path)
    content = load_torch(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: holds a {type(content).__name__}; expected a dictionary of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise ValueError(
                f"{path}: {name!r} is a {type(value).__name__}; expected tensors, or a dictionary of them, 'state_dict'"
            )
    return content


def _read_safetensors(path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        return load_file(path)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: no safetensors file that can be read: {error}") from error


def _to_ours(tensor: np.ndarray) -> np.ndarray:
    """[out, in, 1, 1, 1] or [out, in, h, w] -> [h, w, in, out]; [out, in] -> [in, out]; float32."""
    tensor = tensor[..., 0] if tensor.ndim == 5 else tensor
    order = {4: (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim, range(tensor.ndim))
    return np.ascontiguousarray(tensor.transpose(tuple(order)), dtype=np.float32)


def _with_nearest(names: list[str], others: dict[str, str], shown: dict | None = None) -> tuple:
    """Every name with the nearest of `others`, which maps what is compared to what is told."""
    rows = []
    for name in names:
        near = difflib.get_close_matches((shown or {}).get(name, name), list(others), n=1, cutoff=0.6)
        rows.append((name, others[near[0]] if near else None))
    return tuple(rows)
