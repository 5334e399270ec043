"""What the sections `optim` and `run` of every network take, each key with another value than its default."""

from collections.abc import Callable

from flax.traverse_util import flatten_dict
from observing import merged, nested

import actjax
from actjax.config.files import load_config

# The first convolution of each network, of which the rules below tell the rest apart.
FIRST = {"recognition": "backbone/stem/.*", "ssn": "backbone/stem/.*"}
FIRST |= {"tem": "conv1/.*", "pem": "fc1/.*", "bmn": "base_0/.*"}
OPTIM = {
    "sgd": {
        "name": "sgd", "lr": 0.03, "lr_batch_size": 4, "momentum": 0.8, "nesterov": True, "weight_decay": 1e-3,
        "clip_norm": 5.0, "warmup_epochs": 0.25, "warmup_ratio": 0.3, "rules.name": "table",
        "rules.rows": (("first", "{first}", 5, 1), ("rest", ".*", 1, 0)), "schedule.name": "step",
        "schedule.milestones": (2, 3), "schedule.gamma": 0.5,
    },
    "adam": {
        "name": "adam", "lr": 0.003, "weight_decay": 0.1, "clip_norm": 1.0, "betas": (0.8, 0.9), "eps": 1e-3,
        "rules.name": "layerwise", "rules.factor": 0.5, "rules.decay_norms": True,
        "rules.stages": (("first", "{first}"), ("rest", ".*")), "rules.rows": (("more", "nowhere", 2, 1),),
        "schedule.name": "cosine", "schedule.final": 0.1,
    },
    "tsm": {
        "rules.name": "tsm", "rules.fc_lr5": False, "rules.rows": (("more", "nowhere", 2, 1),),
        "schedule.name": "constant",
    },
}  # fmt: skip
RUN = {"seed": 7, "fsdp": 2, "accumulate": 2, "ema": 0.9, "batch_size": 32, "epochs": 2.5}


def small(name: str) -> tuple[str, dict, Callable]:
    """The prefix of a network's sections, a small config of its task by dotted keys, and (run) -> `Network`."""
    if name == "recognition":
        sizes = {"model.width": 8, "data.num_train": 64, "data.num_val": 40}
        return "", _config("tsm_shapes") | sizes, lambda run: run.network
    if name == "ssn":
        return "", _config("ssn_sample") | {"model.width": 8}, lambda run: run.network
    sizes = {"data.num_train": 48, "data.num_val": 16}
    if name == "bmn":
        hidden = {f"bmn.model.hidden_dim_{k}d": 8 for k in (1, 2, 3)}
        return "bmn.", _config("bmn_sample") | sizes | hidden | {"bmn.model.temporal_scale": 20}, _stage(name)
    sizes |= {"tem.model.hidden_dim": 16, "pem.model.hidden_dim": 16, "pgm.top_k_train": 40, "pgm.top_k": 60}
    return f"{name}.", _config("bsn_sample") | sizes, _stage(name)


def _config(recipe: str) -> dict:
    return flatten_dict(load_config(recipe).config.to_dict(), sep=".")


def _stage(name: str) -> Callable:
    return lambda run: run.networks[name].network


def network_of(name: str, keys: dict):
    """The `Network` of a small config with other `keys`, such as "optim.lr"."""
    prefix, config, find = small(name)
    found = {f"{prefix}{key}": value for key, value in keys.items()}
    return find(actjax.build(nested(merged(config, found), first=FIRST[name])))
