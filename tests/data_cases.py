"""Reads the golden files of the data layer, and compares draws with exact laws."""

import json

import numpy as np
from conftest import GOLDEN

FOLDER = GOLDEN / "data"


def cases(name, *functions):
    """The cases of `<name>.json`, of all functions or of those named."""
    found = json.loads((FOLDER / f"{name}.json").read_text())["cases"]
    return [case for case in found if not functions or case["fn"] in functions]


def arrays(name):
    return np.load(FOLDER / f"{name}.npz")


def turned(size):
    """The reference's (w, h) -> (h, w)."""
    return tuple(size[::-1]) if isinstance(size, list) else size


def follows(drawn, values, law=None):
    """Chi-square: every number drawn is one of `values`, each as often as `law` (default: uniform) says."""
    values = np.asarray(values)
    law = np.full(len(values), 1 / len(values)) if law is None else np.asarray(law)
    counts = np.array([(drawn == value).sum() for value in values])
    if counts.sum() != drawn.size:
        return False
    expected = law * drawn.size
    statistic, freedom = ((counts - expected) ** 2 / expected).sum(), len(values) - 1
    # A normal bound on chi-square, p < 1e-7; the seeds of the tests are fixed.
    return statistic < freedom + 5.2 * np.sqrt(2 * freedom) + 20


def slots_follow(drawn, slots):
    """Every column of `drawn` follows the law of its slot."""
    for column, slot in zip(np.asarray(drawn).T, slots, strict=True):
        low, high = slot.get("uniform_range", (0, -1))
        if not follows(column, slot.get("values", range(low, high + 1)), slot.get("prob")):
            return False
    return True
