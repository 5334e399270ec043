"""Our variables -> checkpoint files for torch and MMAction2."""

import os
import pathlib

import numpy as np
from flax.traverse_util import flatten_dict

from actjax.interop.naming import mmaction_name
from actjax.interop.torch_files import save_torch

SUFFIXES = (".pth", ".safetensors")


def export_checkpoint(variables: dict, model, path: str | os.PathLike, *, meta: dict | None = None) -> list[str]:
    """Writes the variables under MMAction2's names and in torch's axis order -> the names.

    A parameter of a backbone that MMAction2 does not have gets the name that its `checkpoint_names` say, or its plain
    name, see `CheckpointNames`, after `backbone.`.

    >>> import jax
    >>> from actjax.models import PEM, initialize
    >>> model = PEM(hidden_dim=4)
    >>> export_checkpoint(initialize(model, key=jax.random.key(0)), model, "pem.safetensors")
    ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']

    Args:
      path: `.pth` for `{"meta", "state_dict"}`, which torch and MMAction2 load, or `.safetensors`.
      meta: plain values to store, as "CLASSES", the class names; in `.safetensors` as text.

    Raises:
      ValueError: another suffix, two variables of one name, or another number of class names than the model's.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: suffix {suffix!r}; choose from {SUFFIXES}")
    names, num_classes = (meta or {}).get("CLASSES"), getattr(model, "num_classes", None)
    if names and num_classes and len(names) != num_classes:
        raise ValueError(
            f"{len(names)} class names for a network with {num_classes} classes; correct class_names.json in the "
            "workdir, or set data.class_names"
        )
    tensors = {}
    for keys, value in flatten_dict(variables).items():
        name = mmaction_name("/".join(keys[1:]), model)
        if name in tensors:
            raise ValueError(f"{path}: {'/'.join(keys)} and another variable would both be called {name}")
        tensors[name] = _to_torch(np.asarray(value), name)
        if name.endswith("running_var"):
            tensors[name.replace("running_var", "num_batches_tracked")] = np.zeros((), np.int64)
    if suffix == ".pth":
        save_torch(path, tensors, meta=meta)
    else:
        from safetensors.numpy import save_file

        save_file(tensors, path, metadata={name: str(value) for name, value in (meta or {}).items()})
    return list(tensors)


def _to_torch(value: np.ndarray, name: str) -> np.ndarray:
    """[..., in, out] -> [out, in, ...] for kernels of 0 to 3 axes; adds the axes of length 1 of MMAction2's 3-d
    convolutions."""
    order = {5: (4, 3, 0, 1, 2), 4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0)}.get(value.ndim, range(value.ndim))
    value = value.transpose(tuple(order))
    if ".non_local_block." in name and value.shape[2:] == (1, 1):
        value = value[:, :, None]
    if name.startswith("x_3d_p.") and value.ndim == 3:
        value = value[..., None, None]
    return np.asarray(value, order="C")
