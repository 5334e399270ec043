"""Optimizers with torch's update rules, and an ordered table of rules for per-parameter multipliers.

Source: MMAction2 0.6, except where a function names another.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import optax

from actjax.config import plain
from actjax.models.freezing import NORM, numbered_stages

Schedule = Callable[[Any], Any]  # step -> learning rate


class Optimizer(NamedTuple):
    """An optimizer, as the training loop uses it.

    schedule: steps per epoch -> Schedule.
    transform: (params, schedule) -> optax transformation.
    freeze: params -> params, with gradients stopped for frozen ones.
    """

    schedule: Callable[[float], Schedule]
    transform: Callable[[Any, Schedule], optax.GradientTransformation]
    freeze: Callable[[Any], Any] = lambda params: params


class Rule(NamedTuple):
    """Multipliers of learning rate and weight decay for parameters whose whole path matches `pattern`."""

    group: str
    pattern: str
    lr_mult: float
    decay_mult: float


UNIFORM_RULES = (Rule("all", r".*", 1, 1),)


def frozen_rules(patterns: Sequence[str]) -> tuple[Rule, ...]:
    """The rule that freezes parameters matching one of `patterns`; put it before all other rules."""
    return (Rule("frozen", "|".join(patterns), 0, 0),) if patterns else ()


def layerwise_rules(
    *, factor: float, stages: int | Sequence[tuple[str, str]] = 4, decay_norms: bool = False
) -> tuple[Rule, ...]:
    """Layer-wise learning rate decay: from the classifier to the stem, each stage's rate is `factor` times the next's.

    Args:
      stages: the number of stages of the backbone, 4 for ResNet and 7 for MobileNet-V2; or (name, regular expression of
        whole parameter paths) of the stem and of each stage, in order. Parameters that no expression matches then have
        the classifier's rate. A config that leaves it out gets the stages of its network, see `with_stages`.
      decay_norms: whether weight decay also applies to scales and biases.

    Raises:
      ValueError: `stages` is a mapping, whose order a config does not keep.

    Source: Howard & Ruder, arXiv:1801.06146 (discriminative fine-tuning).
    """
    if isinstance(stages, Mapping):
        raise ValueError(f"layerwise: stages={stages}; write ((name, pattern), ...), from the stem to the last stage")
    if isinstance(stages, int):
        last = r"(backbone/conv2|fc_cls)/.*"
        stages = [(name, f"backbone/{pattern}") for name, pattern in numbered_stages(stages).items()]
    else:
        last = r".*"
    places = (*stages, ("head", last))
    return tuple(
        Rule(f"{name}_{kind}", rf"(?=.*/{leaf}$)({pattern})", factor ** (len(places) - 1 - k), decay)
        for k, (name, pattern) in enumerate(places)
        for kind, leaf, decay in (("weight", "kernel", 1), ("other", r"(scale|bias)", int(decay_norms)))
    )


def with_stages(optim, model):
    """Section `optim` of a config, in which layer-wise rules without `stages` get those of the backbone of `model`.

    Raises:
      ValueError: the backbone does not tell its stages.
    """
    optim = plain(optim)
    rules = optim.get("rules") if isinstance(optim, dict) else None
    wanted = isinstance(rules, dict) and rules.get("name") == "layerwise" and "stages" not in rules
    if wanted and (stages := getattr(model, "stages", None)):
        return {**optim, "rules": {**rules, "stages": tuple(stages.items())}}
    return optim


def tsm_rules(*, fc_lr5: bool = True) -> tuple[Rule, ...]:
    """The parameter policy of the TSM authors and of TSMOptimizerConstructor.

    The table follows their code. MMAction2's documentation states 10x decay for the last layer; to get that, replace
    the rule below by `("lr5_weight", r"fc_cls/kernel", 5, 10)`.
    """
    last_layer = (Rule("lr5_weight", r"fc_cls/kernel", 5, 1), Rule("lr10_bias", r"fc_cls/bias", 10, 0))
    return (
        Rule("first_conv_weight", r"backbone/stem/conv/kernel", 1, 1),
        Rule("first_conv_bias", r"backbone/stem/conv/bias", 2, 0),
        *(last_layer if fc_lr5 else ()),
        Rule("bn", rf".*/{NORM}/(scale|bias)", 1, 0),
        Rule("normal_weight", r".*/kernel", 1, 1),
        Rule("normal_bias", r".*/bias", 2, 0),
    )


class ParamGroups(NamedTuple):
    """The rule that applies to each parameter; `str()` prints the table."""

    rules: tuple[Rule, ...]
    members: dict[str, tuple[str, ...]]  # group -> paths
    sizes: dict[str, int]  # group -> number of parameters
    lr_mult: Any  # trees like the parameters
    decay_mult: Any

    def __str__(self) -> str:
        rows = [("group", "lr x", "decay x", "tensors", "parameters")]
        for rule in self.rules:
            tensors, numbers = len(self.members[rule.group]), f"{self.sizes[rule.group]:,}"
            rows.append((rule.group, f"{rule.lr_mult:g}", f"{rule.decay_mult:g}", str(tensors), numbers))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)


def param_groups(params, rules: Sequence[Rule] | None = None) -> ParamGroups:
    """Assigns to each parameter the first rule whose pattern matches its whole path, e.g. `backbone/stem/conv/kernel`.

    Args:
      params: a tree of arrays or shapes.
      rules: (group, pattern, lr multiplier, decay multiplier), in order; None: `tsm_rules()`. An lr multiplier of 0
        freezes a parameter, see `freeze`.

    Raises:
      ValueError: a parameter matches no rule, or two rules have the same group name.
    """
    rules = tuple(Rule(*rule) for rule in (tsm_rules() if rules is None else rules))
    members = {rule.group: [] for rule in rules}
    sizes = dict.fromkeys(members, 0)
    if len(members) != len(rules):
        raise ValueError(f"param_groups: group names must differ, got {[rule.group for rule in rules]}")

    def assign(path, leaf) -> Rule:
        name = "/".join(key.key for key in path)
        for rule in rules:
            if re.fullmatch(rule.pattern, name):
                members[rule.group].append(name)
                sizes[rule.group] += math.prod(leaf.shape)
                return rule
        raise ValueError(f"param_groups: no rule matches {name!r}; patterns are {[rule.pattern for rule in rules]}")

    chosen = jax.tree_util.tree_map_with_path(assign, params)
    take = lambda field: jax.tree.map(lambda r: getattr(r, field), chosen, is_leaf=lambda x: isinstance(x, Rule))
    frozen = {group: tuple(paths) for group, paths in members.items()}
    return ParamGroups(rules, frozen, sizes, take("lr_mult"), take("decay_mult"))


def freeze(params, groups: ParamGroups):
    """Stops the gradient of parameters whose lr multiplier is 0. Their gradients are not computed and do not count in
    the gradient norm or its clipping."""
    return jax.tree.map(lambda p, mult: p if mult else jax.lax.stop_gradient(p), params, groups.lr_mult)


def sgd(
    params,
    schedule: Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    rules: Sequence[Rule] = UNIFORM_RULES,
) -> optax.GradientTransformation:
    """SGD as in torch: weight decay is added to the gradient before momentum.

    Args:
      params: a tree of arrays or shapes; the rules apply to its paths.
      schedule: step -> learning rate.
      clip_norm: maximum global norm of the gradient, applied first; None: no clipping.
      rules: multipliers of learning rate and decay, see `param_groups`.

    Source: CopyOfSGD.
    """
    moved = optax.trace(momentum, nesterov=nesterov)
    return _descent(params, schedule, moved, weight_decay=weight_decay, clip_norm=clip_norm, rules=rules)


def adam(
    params,
    schedule: Schedule,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    rules: Sequence[Rule] = UNIFORM_RULES,
) -> optax.GradientTransformation:
    """Adam as in torch: weight decay is added to the gradient (unlike AdamW), and `eps` is outside the square root.

    Other arguments as in `sgd`. Source: arXiv:1412.6980.
    """
    moved = optax.scale_by_adam(*betas, eps=eps)
    return _descent(params, schedule, moved, weight_decay=weight_decay, clip_norm=clip_norm, rules=rules)


def _descent(params, schedule: Schedule, moved, *, weight_decay, clip_norm, rules) -> optax.GradientTransformation:
    """Chains clipping, weight decay, the transformation `moved` and the learning rate; applies the rules."""
    groups = param_groups(params, rules)

    def decay(gradients, params):
        return jax.tree.map(lambda g, p, mult: g + weight_decay * mult * p, gradients, params, groups.decay_mult)

    return optax.chain(
        optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
        optax.stateless(decay),
        moved,
        optax.stateless(lambda updates, _: jax.tree.map(lambda u, mult: u * mult, updates, groups.lr_mult)),
        optax.scale_by_learning_rate(schedule),
    )


def tsm_optimizer(
    params,
    schedule: Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    clip_norm: float | None = 20.0,
    fc_lr5: bool = True,
) -> optax.GradientTransformation:
    """`sgd` with `tsm_rules` and the published values. Source: TSMOptimizerConstructor."""
    rules = tsm_rules(fc_lr5=fc_lr5)
    return sgd(params, schedule, momentum=momentum, weight_decay=weight_decay, clip_norm=clip_norm, rules=rules)


def table_rules(*, rows: Sequence[Sequence]) -> tuple[Rule, ...]:
    """Custom rules: rows of (group, pattern, lr multiplier, decay multiplier)."""
    return tuple(Rule(*row) for row in rows)


OPTIMIZERS = {"sgd": sgd, "adam": adam}
RULES = {"tsm": tsm_rules, "uniform": lambda: UNIFORM_RULES, "layerwise": layerwise_rules, "table": table_rules}


def step_schedule(epoch, *, epochs: float, milestones: Sequence[int], gamma: float = 0.1):
    """Learning rate factor gamma^(number of milestones reached); milestones are epochs."""
    return math.prod(jax.numpy.where(epoch >= milestone, gamma, 1.0) for milestone in milestones)


def cosine_schedule(epoch, *, epochs: float, final: float = 0.0):
    """Learning rate factor that follows half a cosine from 1 to `final` over the run. Source: arXiv:1608.03983."""
    return final + (1 - final) * 0.5 * (1 + jax.numpy.cos(jax.numpy.pi * epoch / epochs))


def constant_schedule(epoch, *, epochs: float):
    """Learning rate factor 1."""
    return jax.numpy.ones_like(epoch)


SCHEDULES = {"step": step_schedule, "cosine": cosine_schedule, "constant": constant_schedule}


def by_epoch(
    factor: Callable, *, lr: float, steps_per_epoch: float, warmup_epochs: float = 0.0, warmup_ratio: float = 0.1
) -> Schedule:
    """Factor as a function of the epoch -> learning rate per step, with linear warm-up from `warmup_ratio * lr`."""

    def schedule(step):
        epoch = step / steps_per_epoch
        warm = warmup_ratio + (1 - warmup_ratio) * epoch / warmup_epochs if warmup_epochs else 1.0
        return lr * factor(epoch) * jax.numpy.minimum(warm, 1.0)

    return schedule
