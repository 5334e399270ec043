"""Optimizers with torch's update rules, and an ordered table of rules for per-parameter multipliers.

Source: MMAction2 0.6, except where a function names another.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from actjax.config import plain
from actjax.errors import check_number
from actjax.models.freezing import numbered_stages
from actjax.training.groups import ParamGroups, Rule, checked_rules, unmatched
from actjax.training.naming import parameter_names

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


UNIFORM_RULES = (Rule("all", r".*", 1, 1),)


def frozen_rules(patterns: Sequence[str]) -> tuple[Rule, ...]:
    """The rule that freezes parameters matching one of `patterns`; put it before all other rules.

    >>> frozen_rules(["backbone/stem/.*"])
    (Rule(group='frozen', pattern='backbone/stem/.*', lr_mult=0, decay_mult=0, beside=''),)
    """
    return (Rule("frozen", "|".join(patterns), 0, 0),) if patterns else ()


def layerwise_rules(
    *,
    factor: float,
    stages: int | Sequence[tuple[str, str]] = 4,
    decay_norms: bool = False,
    rows: Sequence[Sequence] = (),
) -> tuple[Rule, ...]:
    """Layer-wise learning rate decay: from the classifier to the stem, each stage's rate is `factor` times the next's.

    Args:
      stages: the number of stages of the backbone, 4 for ResNet and 7 for MobileNet-V2; or (name, regular expression of
        whole parameter paths) of the stem and of each stage, in order. Parameters that no expression matches then have
        the classifier's rate. A config that leaves it out gets the stages of its network, see `with_stages`.
      decay_norms: whether weight decay also applies to scales and biases.
      rows: further rules, for parameters of other names, as in `table_rules`.

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
    found = tuple(
        Rule(f"{name}_{kind}", rf"(?=.*/{leaf}$)({pattern})", factor ** (len(places) - 1 - k), decay)
        for k, (name, pattern) in enumerate(places)
        for kind, leaf, decay in (("weight", "kernel", 1), ("other", r"(scale|bias)", int(decay_norms)))
    )
    return (*found, *checked_rules(rows))


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


def tsm_rules(*, fc_lr5: bool = True, rows: Sequence[Sequence] = ()) -> tuple[Rule, ...]:
    """The parameter policy of the TSM authors and of TSMOptimizerConstructor.

    The table follows their code. MMAction2's documentation states 10x decay for the last layer; to get that, replace
    the rule below by `("lr5_weight", r"fc_cls/kernel", 5, 10)`.

    Other networks can use it, too. Every module with a parameter named `scale` is a norm, so its scale and bias are in
    `bn`; the bias of a norm without a scale is a `normal_bias`. The first convolution and the last layer are found by
    their names here, `backbone/stem/conv` and `fc_cls`; under other names they are a `normal_weight` and a
    `normal_bias`. Parameters that are not named kernel, bias or scale match no rule and need `rows`.

    >>> [rule.group for rule in tsm_rules()]
    ['first_conv_weight', 'first_conv_bias', 'lr5_weight', 'lr10_bias', 'bn', 'normal_weight', 'normal_bias']

    Args:
      fc_lr5: whether the last layer has a higher learning rate: 5x for its kernel, 10x for its bias.
      rows: more rules, as in `table_rules`, for parameters that match none of these.
    """
    last_layer = (Rule("lr5_weight", r"fc_cls/kernel", 5, 1), Rule("lr10_bias", r"fc_cls/bias", 10, 0))
    return (
        Rule("first_conv_weight", r"backbone/stem/conv/kernel", 1, 1),
        Rule("first_conv_bias", r"backbone/stem/conv/bias", 2, 0),
        *(last_layer if fc_lr5 else ()),
        Rule("bn", r"(.*/)?(scale|bias)", 1, 0, beside="scale"),
        Rule("normal_weight", r"(.*/)?kernel", 1, 1),
        Rule("normal_bias", r"(.*/)?bias", 2, 0),
        *checked_rules(rows),
    )


def param_groups(params, rules: Sequence[Rule] | None = None) -> ParamGroups:
    """Assigns to each parameter the first rule whose pattern matches its whole path, e.g. `backbone/stem/conv/kernel`.

    >>> norm = {"scale": jax.numpy.ones(4), "bias": jax.numpy.zeros(4)}
    >>> groups = param_groups({"layers": [norm, {"kernel": jax.numpy.ones((4, 2))}]})
    >>> groups.members["bn"], groups.members["normal_weight"]
    (('layers/0/bias', 'layers/0/scale'), ('layers/1/kernel',))
    >>> groups.decay_mult["layers"][0]["bias"]
    0.0

    Args:
      params: any pytree of arrays or shapes: Linen's dict, an `nnx.State`, lists, dataclasses or a single array. A path
        joins the keys, indices and attributes that lead to an array.
      rules: (group, pattern, lr multiplier, decay multiplier), in order; None: `tsm_rules()`. An lr multiplier of 0
        freezes a parameter, see `freeze`.

    Raises:
      ValueError: a parameter matches no rule (the message proposes the rows to add), two parameters have the same path,
        or the rules are invalid, see `checked_rules`.
    """
    rules = checked_rules(tsm_rules() if rules is None else rules)
    leaves, structure = jax.tree.flatten(params)
    shapes = dict(zip(parameter_names(params), (tuple(getattr(leaf, "shape", ())) for leaf in leaves), strict=True))
    chosen = {path: next((rule for rule in rules if rule.matches(path, shapes)), None) for path in shapes}
    if missed := [path for path, rule in chosen.items() if rule is None]:
        raise unmatched(missed, shapes, rules)
    members = {rule.group: tuple(path for path in shapes if chosen[path] == rule) for rule in rules}
    sizes = {group: sum(math.prod(shapes[path]) for path in paths) for group, paths in members.items()}
    take = lambda field: structure.unflatten([getattr(rule, field) for rule in chosen.values()])
    return ParamGroups(rules, members, sizes, take("lr_mult"), take("decay_mult"))


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

    >>> params = {"kernel": jax.numpy.ones(2)}
    >>> optimizer = sgd(params, lambda step: 0.5, weight_decay=0.1)
    >>> updates, state = optimizer.update({"kernel": jax.numpy.ones(2)}, optimizer.init(params), params)
    >>> print(optax.apply_updates(params, updates)["kernel"])
    [0.45 0.45]

    Args:
      params: any pytree of arrays or shapes; the rules apply to its paths.
      schedule: step -> learning rate.
      clip_norm: maximum global norm of the gradient, applied first; None: no clipping.
      rules: multipliers of learning rate and decay, see `param_groups`.

    Raises:
      ValueError: a number is out of range; see `param_groups`; in an update, if the gradients have a parameter that
        `params` does not have.

    Source: CopyOfSGD.
    """
    momentum = _number("momentum", momentum, "[0, 1)")
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

    >>> params = {"kernel": jax.numpy.ones(2)}
    >>> optimizer = adam(params, lambda step: 0.5)
    >>> updates, state = optimizer.update({"kernel": jax.numpy.ones(2)}, optimizer.init(params), params)
    >>> print(optax.apply_updates(params, updates)["kernel"].round(3))
    [0.5 0.5]

    Other arguments as in `sgd`. Source: arXiv:1412.6980.
    """
    betas = [_number("betas", beta, "[0, 1)") for beta in betas]
    eps = _number("eps", eps, "[0, inf)")
    moved = optax.scale_by_adam(*betas, eps=eps)
    return _descent(params, schedule, moved, weight_decay=weight_decay, clip_norm=clip_norm, rules=rules)


def _descent(params, schedule: Schedule, moved, *, weight_decay, clip_norm, rules) -> optax.GradientTransformation:
    """Chains clipping, weight decay, the transformation `moved` and the learning rate; applies the rules."""
    weight_decay = _number("weight_decay", weight_decay, "[0, inf)")
    if clip_norm is not None:
        clip_norm = _number("clip_norm", clip_norm, "(0, inf]")
    groups = param_groups(params, rules)

    def decay(gradients, params):
        return groups.map(lambda rule, g, p: g + weight_decay * rule.decay_mult * p, gradients, params)

    return optax.chain(
        optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
        optax.stateless(decay),
        moved,
        optax.stateless(lambda updates, _: groups.map(lambda rule, u: u * rule.lr_mult, updates)),
        optax.scale_by_learning_rate(schedule),
    )


def _number(name: str, value, bounds: str):
    """The value, once it is checked. NumPy's numbers become Python's, as they would turn bfloat16 into float32."""
    value = float(value) if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0 else value
    check_number(name, value, bounds)
    return value


def tsm_optimizer(
    params,
    schedule: Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    clip_norm: float | None = 20.0,
    fc_lr5: bool = True,
    rows: Sequence[Sequence] = (),
) -> optax.GradientTransformation:
    """`sgd` with `tsm_rules` and the published values.

    >>> params = {"embedding": jax.numpy.ones((5, 2)), "fc_cls": {"kernel": jax.numpy.ones((2, 3))}}
    >>> optimizer = tsm_optimizer(params, lambda step: 0.01, rows=[("embedding", r"embedding", 1, 0)])
    >>> gradients = jax.tree.map(jax.numpy.ones_like, params)
    >>> updates, state = optimizer.update(gradients, optimizer.init(params), params)
    >>> print(updates["embedding"][0], updates["fc_cls"]["kernel"][0])
    [-0.01 -0.01] [-0.050005 -0.050005 -0.050005]

    Args:
      fc_lr5, rows: see `tsm_rules`; others: see `sgd`.

    Raises:
      ValueError: see `sgd`.

    Source: TSMOptimizerConstructor.
    """
    rules = tsm_rules(fc_lr5=fc_lr5, rows=rows)
    return sgd(params, schedule, momentum=momentum, weight_decay=weight_decay, clip_norm=clip_norm, rules=rules)


def table_rules(*, rows: Sequence[Sequence]) -> tuple[Rule, ...]:
    """Custom rules: rows of (group, pattern, lr multiplier, decay multiplier). See `checked_rules` for errors."""
    return checked_rules(rows)


OPTIMIZERS = {"sgd": sgd, "adam": adam}
RULES = {"tsm": tsm_rules, "uniform": lambda: UNIFORM_RULES, "layerwise": layerwise_rules, "table": table_rules}


def step_schedule(epoch, *, epochs: float, milestones: Sequence[int], gamma: float = 0.1):
    """Learning rate factor gamma^(number of milestones reached); milestones are epochs."""
    check_number("gamma", gamma, "[0, inf)")
    return math.prod(jax.numpy.where(epoch >= milestone, gamma, 1.0) for milestone in milestones)


def cosine_schedule(epoch, *, epochs: float, final: float = 0.0):
    """Learning rate factor that follows half a cosine from 1 to `final` over the run. Source: arXiv:1608.03983."""
    check_number("final", final, "[0, inf)")
    return final + (1 - final) * 0.5 * (1 + jax.numpy.cos(jax.numpy.pi * epoch / epochs))


def constant_schedule(epoch, *, epochs: float):
    """Learning rate factor 1."""
    return jax.numpy.ones_like(epoch)


SCHEDULES = {"step": step_schedule, "cosine": cosine_schedule, "constant": constant_schedule}


def by_epoch(
    factor: Callable, *, lr: float, steps_per_epoch: float, warmup_epochs: float = 0.0, warmup_ratio: float = 0.1
) -> Schedule:
    """Factor as a function of the epoch -> learning rate per step, with linear warm-up from `warmup_ratio * lr`.

    Raises:
      ValueError: a negative learning rate or warm-up, a ratio outside [0, 1].
    """
    check_number("lr", lr, "[0, inf)")
    check_number("warmup_epochs", warmup_epochs, "[0, inf)")
    check_number("warmup_ratio", warmup_ratio, "[0, 1]")

    def schedule(step):
        epoch = step / steps_per_epoch
        warm = warmup_ratio + (1 - warmup_ratio) * epoch / warmup_epochs if warmup_epochs else 1.0
        return lr * factor(epoch) * jax.numpy.minimum(warm, 1.0)

    return schedule
