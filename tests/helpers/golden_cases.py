"""Reads the golden files of metrics and localization."""

import json

import numpy as np
from conftest import GOLDEN

FOLDER = GOLDEN / "metrics"
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-6, np.float16: 2e-3}


def cases(name):
    """(case, arrays, keyword arguments) of one file; those that are stated not to be tested are left out."""
    arrays = np.load(FOLDER / f"{name}.npz")
    for case in map(str, arrays["cases"]):
        found = {k[len(case) + 1 :]: arrays[k] for k in arrays.files if k.startswith(case + "/")}
        found.pop("warns")
        kwargs = json.loads(str(found.pop("kwargs")))
        if not case.endswith("_fragile"):
            yield case, found, kwargs


def by_video(arrays, ids, rows, offsets) -> dict:
    return {
        str(v): arrays[rows][a:b] for v, a, b in zip(arrays[ids], arrays[offsets], arrays[offsets][1:], strict=False)
    }


def predictions(arrays) -> list[list]:
    """Rows [video, class, start, end, score]."""
    columns = (arrays[f"pred_{name}"].tolist() for name in ("video", "class", "seg", "score"))
    return [[video, label, *segment, score] for video, label, segment, score in zip(*columns, strict=True)]


def read_json(name):
    return json.loads((FOLDER / name).read_text())


def decode(value):
    """An argument of bad_input.json."""
    if isinstance(value, list):
        return [decode(v) for v in value]
    if isinstance(value, dict):
        if "__nd__" in value:
            return np.array(value["__nd__"], dtype=value["dtype"]).reshape(value["shape"])
        if "__tuple__" in value:
            return tuple(decode(v) for v in value["__tuple__"])
        return {decode(k): decode(v) for k, v in value["__dict__"]}
    return f"{FOLDER}/{value[1:]}" if isinstance(value, str) and value.startswith("@") else value
