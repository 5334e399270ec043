"""Reads the golden files of the data layer."""

import json

import numpy as np
from conftest import GOLDEN


def cases(name, *functions):
    """The cases of `<name>.json` of the functions named."""
    found = json.loads((GOLDEN / "data" / f"{name}.json").read_text())["cases"]
    return [case for case in found if case["fn"] in functions]


def arrays(name):
    return np.load(GOLDEN / "data" / f"{name}.npz")
