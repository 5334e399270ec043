"""The table of backbones, the networks inside TSN, TSM and SSN, and what a backbone has to be.

A backbone is a Linen module class that is called with `(frames, train=)` and maps `[n, h, w, c] -> [n, h', w', d]`.
The n frames are those of all clips, one clip after the other. A new backbone is one file and one line of `BACKBONES`.
In another package it needs no line here: a config names it, `model.arch="package.module:Class"`.

The rest is optional. Recognisers use what the class has; a config that asks for more is refused with a ValueError.

Fields that recognisers set, if the class has them:
  dtype: the compute dtype; without it, float32 alone.
  temporal: the hooks of TSM, see `Temporal`. Stages and blocks are counted from 0. TSM refuses a network that never
    calls a hook which it needs; for its default, call `x = self.temporal.in_residual(x, stage, block)` at the start of
    every residual branch.
  freezing: for `frozen_stages`, `norm_eval` and `partial_bn`. Each batch norm asks it for its `train`:
    `self.freezing.stem(train)`, `.stage(stage, train)` or `.last(train)`; with `after_block`, `.added(stage, train)`.
  depth, width, small_input, style: set where a config changes the default of TSN.
All other fields are set by `model.arch_options`.

Attributes that describe the network, of the class or as properties:
  stages: {name: regular expression}, in order, first for the stem and then for every stage. An expression matches the
    paths of the stage's parameters inside the backbone, e.g. {"stem": r"stem/.*", "layer1": r"layer1_.*"}. What no
    expression matches comes after the last stage. For `frozen_stages`, `partial_bn` and layer-wise learning rates.
  blocks: the number of blocks in each stage, for `non_local`. TSM's shift_place="blockres" shifts in every block, or in
    every second one if the third stage has 23 or more.
  checkpoint_names: see `CheckpointNames`; without it, plain names.

Call normalisation layers `bn...` or `...norm...`, or leave their names to Linen: rules of the optimizer go by the name.
"""

import inspect
import re
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from actjax.config import bind, find
from actjax.models.freezing import ADDED, Freezing
from actjax.models.mobilenet import MobileNetV2
from actjax.models.resnet import ResNet
from actjax.models.temporal import Temporal

BACKBONES = {"resnet": ResNet, "mobilenet_v2": MobileNetV2}

# Fields that every recogniser sets, with the values that a network without the field can do.
WITHOUT = {"temporal": Temporal(), "freezing": Freezing(), "dtype": jnp.dtype("float32")}
# What asks for an attribute, and what to do where a backbone lacks it.
REMEDIES = {
    "temporal": (
        "temporal shift",
        "add `temporal: Temporal = Temporal()` and call its hooks, or choose model.name='TSN' (SSN: num_segments=1)",
    ),
    "freezing": (
        "frozen_stages, norm_eval, partial_bn",
        "add `freezing: Freezing = Freezing()` and ask it for the `train` of every batch norm",
    ),
    "dtype": ("model.dtype", "add `dtype: jnp.dtype = jnp.float32` and compute in it, or choose model.dtype='float32'"),
    "stages": (
        "frozen_stages, partial_bn, layer-wise rates",
        "add `stages`, regular expressions of its parameters from the stem to the last stage; layer-wise "
        "rates can also have optim.rules.stages",
    ),
    "blocks": ("non_local", "add `blocks`, the number of blocks in each stage"),
}
# What asks for each hook of `Temporal`, and what to choose instead.
HOOKS = {
    "in_residual": ("shift_place='blockres'", "choose model.shift_place='block' or model.name='TSN'"),
    "before_block": ("shift_place='block'", "choose model.shift_place='blockres' or model.name='TSN'"),
    "before_stage": ("temporal_pool", "leave model.temporal_pool out"),
    "after_block": ("non_local", "leave model.non_local out"),
}


def make_backbone(arch: str, options: Mapping | None, *, linen: Mapping, **fields) -> nn.Module:
    """The network that `arch` names.

    Args:
      options: section `model.arch_options`: fields that are not among `fields`.
      linen: name or parent of the module.
      fields: `temporal`, `freezing` and `dtype`, and sizes that a config changes.

    Raises:
      ValueError: an unknown `arch` or option, or a field that is needed and that the class does not have.
    """
    made = find(BACKBONES, arch, "model.arch")
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise ValueError(f"model.arch={arch!r} is not the class of a Linen module; see actjax.models.backbones")
    known = inspect.signature(made).parameters
    for name, value in fields.items():
        if name not in known and not (name in WITHOUT and value == WITHOUT[name]):
            raise ValueError(lacking(made, name))
    fields = {name: value for name, value in fields.items() if name in known}
    make = bind(made, options or {}, "model.arch_options", given=(*fields, "parent", "name"))
    return make(**fields, **linen)


def described(backbone: nn.Module, attribute: str):
    """The value of an attribute that describes the network. ValueError: it has none."""
    if (value := getattr(backbone, attribute, None)) is None:
        raise ValueError(lacking(type(backbone), attribute))
    return value


def lacking(backbone: type, attribute: str) -> str:
    """The message about an attribute that is needed and that a backbone does not have."""
    why, remedy = REMEDIES.get(attribute, (f"model.{attribute}", f"leave model.{attribute} out"))
    return f"{why}: {backbone.__name__} has no attribute `{attribute}`; {remedy} (see actjax.models.backbones)"


def check_called(backbone: nn.Module, frames, maps, idle: set[str], *, pooled: bool) -> None:
    """Checks a call of the backbone.

    Args:
      idle: the hooks of `Temporal` that have done nothing.
      pooled: whether a hook halves the number of frames.

    Raises:
      ValueError: the output is not a map for each frame, or a hook that TSM needs was never called.
    """
    name = type(backbone).__name__
    if maps.ndim != 4:
        raise ValueError(f"{name} maps {frames.shape} to {maps.shape}; a backbone maps [n, h, w, c] to [n, h', w', d]")
    if idle:
        why, otherwise = HOOKS[min(idle)]
        shifting = " on model.shift_div or more channels" * ("shift" in why)
        raise ValueError(
            f"{why}: {name} never calls `temporal.{min(idle)}`{shifting}, so it would do nothing; call it there "
            f"(see actjax.models.backbones), or {otherwise}"
        )
    if len(maps) != (expected := len(frames) // (1 + pooled)):
        raise ValueError(
            f"{name} maps {frames.shape} to {maps.shape}; a backbone returns one map for each frame, here {expected}"
            + " after temporal_pool" * pooled
        )


def check_paths(backbone: str, variables: Mapping, stages: Mapping[str, str], freezing: Freezing) -> None:
    """Checks that patterns match the parameters in `variables`, those of a recogniser, as they should.

    Raises:
      ValueError: more frozen stages than the backbone has, a stage without parameters, or a batch norm with a name that
        `partial_bn` does not recognise.
    """
    freezing.patterns()
    paths = {"/".join(keys) for keys in flatten_dict(variables["params"])}
    for stage, pattern in stages.items():
        if not any(re.fullmatch(pattern, path) for path in paths):
            raise ValueError(f"{backbone}.stages: {stage!r} matches no parameter; the pattern is {pattern!r}")
    if not freezing.partial_bn:
        return
    norms = {"/".join(keys[:-1]) for keys in flatten_dict(variables.get("batch_stats", {}))}
    exempt = rf"{freezing.stages[0]}|{ADDED}"
    expected = {path for path in paths if path.rpartition("/")[0] in norms and not re.fullmatch(exempt, path)}
    if wrong := expected ^ {path for path in paths if re.fullmatch(freezing.norms(), path)}:
        raise ValueError(f"partial_bn: {backbone} has {min(wrong)!r}; call batch norms, and no other layer, bn or norm")
