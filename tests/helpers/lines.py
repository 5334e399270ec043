"""A task that costs nothing, its data, and how a run of it is told apart from others."""

import json

import jax.numpy as jnp
import numpy as np

from actjax.training import Data, Optimizer, Settings, sgd
from actjax.training.task import Task

RECORDS = 20


def line_task() -> Task:
    """Fits y = w x."""

    def loss(variables, batch, key):
        return (variables["params"]["w"] * batch["x"] - batch["y"]) ** 2, {}, {}

    def score(outputs, targets):
        error = float(np.abs(outputs["y"] - targets["y"]).mean())
        return {"loss": error, "rows": len(targets["y"]), "matrix": np.eye(2)}

    return Task(
        lambda key: {"params": {"w": jnp.zeros(())}}, loss, lambda v, b: {"y": v["params"]["w"] * b["x"]}, score
    )


def line_data(log=None) -> Data:
    def train_steps(position, count):
        for n in range(position // 8, position // 8 + count):
            if log is not None:
                log.append(n)
            x = np.random.default_rng(n).normal(size=8).astype(np.float32)
            yield {"x": x, "y": 3 * x}

    def passes():
        x = np.arange(24, dtype=np.float32).reshape(3, 8)
        while True:
            yield ({"x": row, "y": 3 * row, "mask": row < RECORDS} for row in x)

    return Data(RECORDS, train_steps, passes)


optimizer = Optimizer(lambda steps_per_epoch: lambda n: 0.02, sgd)


SETTINGS = Settings(epochs=4, batch_size=8, log_every=2, eval_every=1, save_every=3, keep=2, best="loss")


def rows(workdir, split):
    every = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [row for row in every if row["split"] == split]


class Killed(Exception):
    """What `dying_data` ends with."""


def dying_data(step: int) -> Data:
    """`line_data`, which ends a run before that step."""

    def dying(position, count):
        for n, batch in enumerate(line_data().train(position, count), position // 8):
            if n == step:
                raise Killed
            yield batch

    return line_data()._replace(train=dying)
