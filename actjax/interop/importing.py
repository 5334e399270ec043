"""Checkpoint files of other frameworks -> our variables, and a report of mismatches."""

import difflib
import functools
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from actjax.interop.naming import HEADS, translate
from actjax.interop.torch_files import load_torch
from actjax.models.init import initialize
from actjax.paths import local


class Report(NamedTuple):
    """How a file's parameters were used; `str()` gives the full report.

    layout: naming scheme of the file.
    loaded: number of parameters and statistics taken from the file.
    missing: (our path, the nearest name in `extra` or None): only in the model, so initialised.
    extra: (name, the nearest path in `missing` or None): only in the file.
    misshaped: (name, its shape, the model's shape, both in our axis order): initialised, too.
    notes: anything beyond copying.
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
        lines += [f"missing from the file, initialised: {ours}{near(name)}" for ours, name in self.missing]
        lines += [f"only in the file, ignored: {name}{near(ours)}" for name, ours in self.extra]
        lines += [f"wrong shape, initialised: {name} is {a}, in the model {b}" for name, a, b in self.misshaped]
        return "\n".join(lines)


class Imported(NamedTuple):
    """Variables of the model, NumPy arrays, and the report."""

    variables: dict
    report: Report


def import_checkpoint(
    path: str | os.PathLike, model, *, inflate_stem: bool = False, strict: bool = False, seed: int = 0
) -> Imported:
    """Loads a checkpoint file into the variables of `model`; parameters that are not in the file are initialised.

    Reads `.pth` files of MMAction2 (recognisers, SSN, TEM, PEM, BMN), of the TSM authors' repository and of torchvision
    (ResNet, MobileNet-V2), and `.safetensors` with the same names; for a backbone of another package, what
    `export_checkpoint` writes and what its `checkpoint_names` read. torch is not needed and nothing in the file is
    executed.

    >>> from actjax.models import PEM, export_checkpoint
    >>> model = PEM(hidden_dim=4)
    >>> _ = export_checkpoint(initialize(model, key=jax.random.key(0)), model, "pem.safetensors")
    >>> print(import_checkpoint("pem.safetensors", model).report)
    pem.safetensors: 4 tensors in the layout of MMAction2

    Args:
      model: a network of `actjax.models`.
      inflate_stem: initialise a stem for another number of channels, e.g. for flow, from the mean of the file's stem
        over its channels. Source: arXiv:1608.00859, section 3.2.
      strict: missing, extra and misshaped parameters are errors; a classifier for other classes is not.
      seed: for parameters that are initialised.

    Raises:
      FileNotFoundError: no such file. ValueError: not a checkpoint, an unknown layout, less than half of the model in
        the file, a value that is not finite; with `strict` also any mismatch.
    """
    tensors = read_tensors(path)
    start = functools.partial(initialize, model, key=jax.random.key(seed))
    shapes = jax.eval_shape(start)
    ours = _by_place(shapes)
    try:
        layout, places = translate(tensors, model=model, paths=ours)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    wanted = {name: place for name, place in places.items() if place is not None}
    fit = _fit(path, tensors, wanted, ours, getattr(model, "in_channels", None) if inflate_stem else None)
    if 2 * len(fit.values) < len(ours):
        raise ValueError(
            f"{path}: a file in the layout of {layout}; it has only {len(fit.values)} of the model's {len(ours)} "
            "tensors. Do model.arch, depth and width match?"
        )
    report = _report(path, layout, wanted, fit, ours)
    if strict and (report.missing or report.extra or report.misshaped):
        raise ValueError(str(report))
    # Compiled, so that unused values are not computed.
    anew = jax.jit(lambda: {place: value for place, value in _by_place(start()).items() if place not in fit.values})
    values = fit.values | jax.tree.map(np.asarray, anew() if len(fit.values) < len(ours) else {})
    return Imported(unflatten_dict({keys: values["/".join(keys[1:])] for keys in flatten_dict(shapes)}), report)


class _Fit(NamedTuple):
    """Loaded arrays by parameter path; re-initialised heads; notes and shape mismatches as in `Report`."""

    values: dict[str, np.ndarray]
    anew: set[str]
    notes: list[str]
    misshaped: list[tuple]


def _fit(path, tensors: dict, wanted: dict[str, str], ours: dict, channels: int | None) -> _Fit:
    """Matches tensors of the file with the model's parameters.

    Args:
      wanted: {name in the file: our path}. ours: {our path: anything with a shape and a dtype}.
      channels: of the frames, if a stem for another number of channels is to be inflated.
    """
    fit = _Fit({}, set(), [], [])
    for name, place in wanted.items():
        if place not in ours:
            continue
        shape = ours[place].shape
        value = _to_ours(tensors[name], ours[place])
        if not np.isfinite(value).all():
            raise ValueError(f"{path}: {name} has values that are not finite")
        # The stem is the convolution that reads as many channels as a frame has.
        here, there = shape[2:3], value.shape[2:3]
        if len(shape) == 4 and here == (channels,) != there and value.shape == (*shape[:2], *there, shape[3]):
            fit.notes.append(f"the stem for {value.shape[2]} channels was inflated to {shape[2]}")
            value = np.repeat(value.mean(axis=2, keepdims=True), shape[2], axis=2)
        if value.shape == shape:
            fit.values[place] = value
        elif (head := place.partition("/")[0]) in HEADS:
            if head not in fit.anew:
                fit.notes.append(
                    f"{value.shape[-1]} classes in the file, {shape[-1]} in the model: {head} is re-initialised"
                )
            fit.anew.add(head)
        else:
            fit.misshaped.append((name, value.shape, shape))
    in_file = {place.partition("/")[0] for place in wanted.values()}
    for head in HEADS:
        if f"{head}/kernel" in ours and head not in in_file:
            fit.notes.append(f"the file has no {HEADS[head]}: {head} is re-initialised")
            fit.anew.add(head)
    return fit


def _report(path, layout: str, wanted: dict[str, str], fit: _Fit, ours: Iterable[str]) -> Report:
    told = {wanted[name] for name, *_ in fit.misshaped}
    told |= {place for place in ours if place.partition("/")[0] in fit.anew}
    missing = sorted(set(ours) - set(fit.values) - told)
    extra = {place: name for name, place in wanted.items() if place not in set(ours)}
    return Report(
        path=str(path),
        layout=layout,
        loaded=len(fit.values),
        missing=tuple((place, extra.get(_nearest(place, extra))) for place in missing),
        extra=tuple((name, _nearest(place, missing)) for place, name in extra.items()),
        misshaped=tuple(fit.misshaped),
        notes=tuple(fit.notes),
    )


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The named tensors of a `.safetensors` file, or the state dict of a torch file.

    Raises:
      FileNotFoundError: no such file. ValueError: the file is neither of these.
    """
    if local(path, "the checkpoint").suffix == ".safetensors":
        return _read_safetensors(path)
    content = load_torch(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: contains a {type(content).__name__}; expected a dictionary of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise ValueError(
                f"{path}: {name!r} is a {type(value).__name__}; expected tensors, or a 'state_dict' of tensors"
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
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from error


def _by_place(variables: dict) -> dict:
    """Variables by our path, without the name of the collection."""
    return {"/".join(keys[1:]): value for keys, value in flatten_dict(variables).items()}


def _to_ours(tensor: np.ndarray, like) -> np.ndarray:
    """[out, in, ...] -> [..., in, out], with the number of axes and the dtype of `like`, our parameter.

    Of 3-d kernels [out, in, n, 1, 1] we keep n, or for n = 1 a 2-d kernel, where ours have fewer axes.
    """
    if tensor.ndim == 5 and tensor.shape[3:] == (1, 1) and like.ndim < 5:
        tensor = tensor[..., 0] if tensor.shape[2] == 1 else tensor[..., 0, 0]
    order = {5: (2, 3, 4, 1, 0), 4: (2, 3, 1, 0), 3: (2, 1, 0), 2: (1, 0)}.get(tensor.ndim, range(tensor.ndim))
    return np.asarray(tensor.transpose(tuple(order)), dtype=like.dtype, order="C")


def _nearest(place: str, others: Iterable[str]) -> str | None:
    """The most similar name in `others`, or None if none is similar."""
    return next(iter(difflib.get_close_matches(place, list(others), n=1, cutoff=0.6)), None)
