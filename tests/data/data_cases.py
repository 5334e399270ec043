"""Reads the golden files of the data layer."""

import json

import numpy as np
from conftest import GOLDEN


def cases(name, *functions):
    """The cases of `<name>.json`, of all functions or of those named."""
    found = json.loads((GOLDEN / "data" / f"{name}.json").read_text())["cases"]
    return [case for case in found if not functions or case["fn"] in functions]


def arrays(name):
    return np.load(GOLDEN / "data" / f"{name}.npz")
