"""Every key of the sections `optim` and `run`, of every network: without it something else happens."""

import json

import numpy as np
import pytest
from learning import FIRST, OPTIM, RUN, network_of, small
from marks import slow_but
from observing import digest, merged, nested, step, updates

import actjax

# The last layer of these networks is not called fc_cls.
NO_EFFECT = dict.fromkeys(("tem", "pem", "bmn", "ssn"), ("optim.rules.fc_lr5",))


def same_without(name: str, keys: dict, see) -> list[str]:
    """The keys that change nothing, of those that change the small config. A config may also be refused without one."""

    def seen(keys: dict) -> str:
        try:
            return see(network_of(name, keys))
        except ValueError as error:
            return str(error)

    prefix, config, _ = small(name)
    whole = see(network_of(name, keys))
    changed = [key for key in keys if config.get(f"{prefix}{key}") != keys[key] and key not in NO_EFFECT.get(name, ())]
    return [key for key in changed if seen({k: v for k, v in keys.items() if k != key}) == whole]


@pytest.mark.parametrize("variant", OPTIM)
@pytest.mark.parametrize("name", slow_but(FIRST, "tem", "pem"))
def test_every_key_of_the_optimizer_has_an_effect(name, variant):
    assert same_without(name, {f"optim.{key}": value for key, value in OPTIM[variant].items()}, updates) == []


@pytest.mark.parametrize("name", slow_but(FIRST, "tem", "pem"))
def test_every_key_of_the_step_has_an_effect(name):
    keys = {f"run.{key}": value for key, value in RUN.items()}
    keys |= {"run.bn": "group:2"} if name in ("recognition", "ssn") else {}
    assert same_without(name, keys, lambda network: digest((step(network), network.settings.epochs))) == []


TOLD = {
    "run.batch_size": 8, "run.epochs": 4.0, "run.log_every": 3, "run.eval_every": 2.0, "run.save_every": 5,
    "run.keep": 1, "run.eval_batch_size": 24,
}  # fmt: skip
BEST = {"recognition": "mean_class_accuracy", "tem": "loss_start", "pem": "AR@10", "bmn": "AR@5", "ssn": "activity_acc"}


@pytest.mark.parametrize("name", slow_but(FIRST, "tem"))
def test_a_run_logs_evaluates_and_saves_when_told(name, shapes, tmp_path, monkeypatch):
    """Sixteen records in batches of eight: eight steps, of which one file tells."""
    monkeypatch.setenv("ACTJAX_CACHE", str(shapes.parent))
    prefix, config, _ = small(name)
    upside_down = "greater" if "loss" in BEST[name] else "less"
    told = TOLD | {"run.best": BEST[name], "run.best_rule": upside_down}
    told = {f"{prefix}{key}": value for key, value in told.items()}
    workdir = tmp_path if prefix == "" else tmp_path / name
    more = {"data.num_train": 16, "data.num_val": 16, "loader.num_workers": 0}
    if prefix:
        more = {"data.num_train": 16, "data.num_val": 16}
    if name in ("tem", "pem"):
        more |= {"stages": "tem"} if name == "tem" else {"tem.run.epochs": 1.0}
    actjax.train(nested(merged(config, more | told)), tmp_path)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "train"] == [3, 6, 8]
    evaluated = [row for row in rows if row["split"] == "val"]
    assert [row["step"] for row in evaluated] == [4, 8]
    kept = sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal())
    scores = [row[BEST[name]] for row in evaluated]
    best = 4 if (np.argmax if "loss" in BEST[name] else np.argmin)(scores) == 0 and scores[0] != scores[1] else 8
    assert kept == sorted({best, 8})
