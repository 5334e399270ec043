"""What a config leads to, cheaply: the arrays of its batches, its traced functions, the updates of its optimizer.

Nothing is compiled. Two configs that differ in a key that has an effect differ in one of these.
"""

import contextlib
import hashlib
from collections.abc import Callable

import jax
import numpy as np

import actjax
from actjax.tasks.building import WITH_BACKBONE
from actjax.training.program import make_program


def digest(tree) -> str:
    """Of any tree of arrays and plain values."""
    found = hashlib.sha1()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = np.asarray(leaf)
        content = array.tobytes() if array.dtype != object else repr(leaf).encode()
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode() + content)
    return found.hexdigest()


def batches(data, *, steps: int = 2) -> str:
    """The first training batches of a `training.Data`, and the first one of its validation."""
    with contextlib.closing(data.train(0, steps)) as train:
        return digest((data.num_records, list(train), first(data.evaluate)))


def first(passes) -> dict:
    """The first batch of the first pass."""
    with contextlib.closing(passes()) as opened:
        return next(next(opened))


def traced(function, *arguments) -> str:
    """The operations of a function, their order and constants, whatever its variables are called."""
    closed = jax.make_jaxpr(function)(*arguments)
    return digest([_operations(closed.jaxpr), list(closed.consts)])


def _operations(jaxpr) -> list:
    numbers: dict = {}
    names = lambda variables: [
        repr(v.val) if hasattr(v, "val") else f"{numbers.setdefault(v, len(numbers))} {v.aval}" for v in variables
    ]
    found: list = [names((*jaxpr.constvars, *jaxpr.invars))]
    for equation in jaxpr.eqns:
        found.append([equation.primitive.name, *names(equation.invars), *names(equation.outvars)])
        for name, value in sorted(equation.params.items()):
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    found.append([_operations(getattr(inner, "jaxpr", inner)), list(getattr(inner, "consts", ()))])
                elif not callable(inner) and " at 0x" not in repr(inner):
                    found.append(f"{name}={inner!r}")
    return [*found, names(jaxpr.outvars)]


def network(network) -> str:
    """How a network starts, learns and predicts: all of it traced, but for gradients and updates."""
    task, key = network.task, jax.random.key(0)
    batch = _shapes(network.element_spec, 2)
    learnt = traced(task.loss, jax.eval_shape(task.init, key), batch, key)
    return digest([traced(task.init, key), learnt, predicted(task, network.element_spec)])


def predicted(task, element_spec: dict) -> str:
    """The prediction of a task, traced for two examples."""
    return traced(task.predict, jax.eval_shape(task.init, jax.random.key(0)), _shapes(element_spec, 2))


def _shapes(element_spec: dict, size: int) -> dict:
    return {name: jax.ShapeDtypeStruct((size, *np.shape(x)), x.dtype) for name, x in element_spec.items()}


def step(network) -> str:
    """The start and a whole training step, traced for all devices."""
    program = make_program(network.task, network.optimizer, network.settings)
    batch = _shapes(network.element_spec, network.settings.batch_size)
    return digest([traced(program.create), traced(program.update, program.shapes, batch)])


def updates(network) -> str:
    """What the optimizer does to gradients, its rates in the course of training, and its groups of parameters."""
    shapes = jax.eval_shape(network.task.init, jax.random.key(0))["params"]
    schedule = network.optimizer.schedule(1.0)

    def second(gradients, params):
        transform = network.optimizer.transform(params, schedule)
        _, state = transform.update(gradients, transform.init(params), params)
        return transform.update(gradients, state, params)

    rates = [float(schedule(np.int32(k))) for k in range(6)]
    return digest([traced(second, shapes, shapes), rates, str(network.groups)])


def merged(base: dict, keys: dict) -> dict:
    """Keys like "model.width" and their values, of which `keys` replace those of `base`.

    A section that has another name in `keys` keeps nothing of `base`, and another backbone no sizes.
    """
    renamed = [key.removesuffix("name") for key in keys if key.endswith(".name") and base.get(key) != keys[key]]
    renamed = (*renamed, *(f"model.{size}" for size in WITH_BACKBONE["arch"] if "model.arch" in keys))
    return {key: value for key, value in base.items() if not (renamed and key.startswith(renamed))} | keys


def nested(keys: dict, **places) -> dict:
    """A config from keys like "model.width"; places: what {NAME} in a text stands for."""
    config: dict = {}
    for key, value in keys.items():
        *sections, last = key.split(".")
        place = config
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = _placed(value, places)
    return config


def without_effect(base: dict, keys: dict, seen: Callable, *, besides: tuple[str, ...] = (), **places) -> list[str]:
    """The `keys` of a config without which nothing changes; places: as for `nested`.

    A config may also be refused without a key. besides: sections whose keys are not looked at.
    seen: (section, run) -> what the keys of a section have an effect on.
    """

    def found(section: str, keys: dict) -> str:
        try:
            return seen(section, actjax.build(nested(merged(base, keys), **places)))
        except (ValueError, LookupError, OSError, RuntimeError) as error:
            return str(error)

    section = lambda key: key.partition(".")[0]
    run = actjax.build(nested(merged(base, keys), **places))
    asked = [key for key in keys if section(key) not in besides]
    whole = {name: seen(name, run) for name in sorted(set(map(section, asked)))}
    less = lambda key: {other: value for other, value in keys.items() if other != key}
    return [key for key in asked if found(section(key), less(key)) == whole[section(key)]]


def _placed(value, places: dict):
    if isinstance(value, str):
        return value.format(**places)
    return type(value)(_placed(part, places) for part in value) if isinstance(value, list | tuple) else value
