"""Checkpoint files of other frameworks -> our variables, and a report of mismatches."""

import contextlib
import difflib
import functools
import os
from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from actjax.interop.naming import HEADS, translate
from actjax.interop.safetensors_files import is_safetensors, load_safetensors
from actjax.interop.torch_files import load_torch
from actjax.interop.unwrapping import averages_of_mmcv, find_weights, shown, without_prefixes
from actjax.models.init import initialize
from actjax.paths import local

_MOST_LINES = 200  # of one kind in a report's text


class Report(NamedTuple):
    """How a file's parameters were used; `str()` gives the report as text.

    layout: naming scheme of the file.
    loaded: number of parameters and statistics taken from the file.
    missing: (our path, the nearest name in `extra` or None, of the first 200): only in the model, so initialised.
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
        name = lambda text: text if text.isprintable() else repr(text)
        near = lambda text: f" (nearest: {name(text)})" if text else ""
        missing = [f"missing from the file, initialised: {ours}{near(other)}" for ours, other in self.missing]
        extra = [f"{name(other)}{near(ours)}" for other, ours in self.extra[:3]]
        count = f"{len(self.extra)} tensors, such as " if len(self.extra) > len(extra) else ""
        extra = [f"only in the file, ignored: {count}{', '.join(extra)}"] if extra else []
        shapes = [f"wrong shape, initialised: {name(n)} is {a}, in the model {b}" for n, a, b in self.misshaped]
        lines = [f"{self.path}: {self.loaded} tensors in the layout of {self.layout}", *self.notes]
        for some in (missing, extra, shapes):
            lines += some[:_MOST_LINES] + [f"... and {len(some) - _MOST_LINES} more"] * (len(some) > _MOST_LINES)
        return "\n".join(lines)


class Imported(NamedTuple):
    """Variables of the model, NumPy arrays, and the report."""

    variables: dict
    report: Report


def import_checkpoint(
    path: str | os.PathLike,
    model,
    *,
    inflate_stem: bool = False,
    strict: bool = False,
    ema: bool | None = None,
    seed: int = 0,
) -> Imported:
    """Loads a checkpoint file into the variables of `model`; parameters that are not in the file are initialised.

    Reads `.pth` files of MMAction2 (recognisers, SSN, TEM, PEM, BMN), of the TSM authors' repository and of torchvision
    (ResNet, MobileNet-V2), and `.safetensors` with the same names; for a backbone of another package, what
    `export_checkpoint` writes and what its `checkpoint_names` read. torch is not needed and nothing in the file is
    executed. Dictionaries around the weights, as "state_dict" or "model", and prefixes of their names, as `module.`,
    `model.` or `_orig_mod.`, are removed, and the report names them.

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
      ema: of a file with plain and averaged (EMA) weights, True takes the averaged and False the plain ones. None: the
        plain ones, except of MMEngine's files, which keep the averaged in "state_dict"; or the only ones.
      seed: for parameters that are initialised.

    Raises:
      FileNotFoundError: no such file. ValueError: not a checkpoint, an unknown layout, less than half of the model in
        the file, a value that is not finite, several networks, no weights of the kind that `ema` asks for; with
        `strict` also any mismatch.
    """
    start = functools.partial(initialize, model, key=jax.random.key(seed))
    shapes = jax.eval_shape(start)
    ours = _by_place(shapes)
    content = _read(path)
    try:
        tensors, places, layout, notes = _translated(content, model, ours, ema)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    wanted = {name: place for name, place in places.items() if place is not None}
    fit = _fit(path, tensors, wanted, ours, getattr(model, "in_channels", None) if inflate_stem else None)
    if 2 * len(fit.values) < len(ours):
        raise ValueError(
            f"{path}: a file in the layout of {layout}; it has only {len(fit.values)} of the model's {len(ours)} "
            "tensors. Do model.arch, depth and width match?"
        )
    fit.notes[:0] = notes
    report = _report(path, layout, wanted, fit, ours)
    if strict and (report.missing or report.extra or report.misshaped):
        raise ValueError(str(report))
    # Compiled, so that unused values are not computed.
    anew = jax.jit(lambda: {place: value for place, value in _by_place(start()).items() if place not in fit.values})
    values = fit.values | jax.tree.map(np.asarray, anew() if len(fit.values) < len(ours) else {})
    return Imported(unflatten_dict({keys: values["/".join(keys[1:])] for keys in flatten_dict(shapes)}), report)


def _translated(content, model, ours: dict, ema: bool | None) -> tuple[dict, dict[str, str | None], str, tuple]:
    """The tensors in the content of a file, our path of each name or None, the layout, and notes for the report."""

    def covers(names: list[str]) -> bool:
        with contextlib.suppress(ValueError):
            places = translate(names, model=model, paths=ours).paths.values()
            return 2 * len(ours.keys() & set(places)) >= len(ours)
        return False

    weights = find_weights(content, ema=ema)
    bare, averaged, notes = without_prefixes(weights.tensors, covers, ema=None if weights.averaged else ema)
    if ema and not (weights.averaged or averaged):
        raise ValueError("has no averaged (EMA) weights; import it without --ema (ema=True)")
    if buffers := averages_of_mmcv(bare.values()):
        bare = {name: inner for name, inner in bare.items() if inner not in buffers}
        notes = (*notes, f"{len(buffers)} buffers of MMCV's EMAHook, such as {shown(buffers)}, are ignored")
    layout, paths = translate(bare.values(), model=model, paths=ours)
    places, names = {name: paths[inner] for name, inner in bare.items()}, {}
    for name, place in places.items():
        if place in ours and names.setdefault(place, name) != name:
            raise ValueError(
                f"{names[place]!r} and {name!r} are the same parameter of the network; save the one to import alone"
            )
    return weights.tensors, places, layout, (*weights.notes, *notes)


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
        if tensors[name].dtype.kind in "biu" and np.dtype(ours[place].dtype).kind not in "biu":
            raise ValueError(
                f"{path}: {name} has the type {tensors[name].dtype}, in the model {ours[place].dtype}; of a quantized "
                "network save the dequantized float32 weights"
            )
        with np.errstate(over="ignore"):
            value = _to_ours(tensors[name], ours[place])
        if not np.isfinite(value).all():
            raise ValueError(f"{path}: {name} has values that are not finite as {ours[place].dtype}")
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
    known = set(ours)
    extra = [(name, place) for name, place in wanted.items() if place not in known]
    near_extra, near_missing = {place: name for name, place in extra[:_MOST_LINES]}, missing[:_MOST_LINES]
    return Report(
        path=str(path),
        layout=layout,
        loaded=len(fit.values),
        missing=tuple((place, near_extra.get(_nearest(place, near_extra))) for place in missing),
        extra=tuple((name, _nearest(place, near_missing) if place in near_extra else None) for name, place in extra),
        misshaped=tuple(fit.misshaped),
        notes=tuple(fit.notes),
    )


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The named tensors of a `.safetensors` file, or the state dict of a torch file, told apart by their content.

    Raises:
      FileNotFoundError: no such file. ValueError: the file is neither of these.
    """
    content = _read(path)
    try:
        return find_weights(content).tensors
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read(path: str | os.PathLike) -> object:
    local(path, "the checkpoint")
    return load_safetensors(path) if is_safetensors(path) else load_torch(path)


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
