"""Reads the golden files of the data layer, and compares the draws that records get with exact laws."""

import json

import numpy as np
from conftest import GOLDEN

from actjax.data.seeding import Place, transform_rngs

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


def places(num):
    """`num` places of a training run: 250 records, epoch after epoch."""
    return [Place(seed=0, epoch=k // 250, record=k % 250) for k in range(num)]


def record_draws(stage, *shape, num=20_000):
    """What a stage draws for each of `num` places -> float32 [num, *shape]."""
    return np.stack([transform_rngs(place)(stage).random(shape, dtype=np.float32) for place in places(num)])


def boxes_follow(boxes, law):
    """`follows` for whole boxes; `law`: box -> its share."""
    numbers = {box: k for k, box in enumerate(law)}
    drawn = np.array([numbers.get(tuple(box), -1) for box in boxes.tolist()])
    return follows(drawn, range(len(law)), list(law.values()))


def independent(xs, ys):
    """The correlation of two columns of draws is what chance allows (5 standard errors)."""
    if xs.std() == 0 or ys.std() == 0:
        return True
    return abs(np.corrcoef(xs, ys)[0, 1]) < 5 / np.sqrt(len(xs))


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
