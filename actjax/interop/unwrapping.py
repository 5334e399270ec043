"""What training programs put around a network's weights: dictionaries that hold them, and prefixes of their names.

Averaged weights are those of an exponential moving average over the training (EMA).
"""

import collections
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from actjax.interop.placeholders import Placeholder

# Keys of dictionaries, which may hold each other. PySlowFast writes "model_state", DeepSpeed "module".
_PLAIN = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
_AVERAGED = ("state_dict_ema", "model_ema", "model_ema_state_dict", "ema_state_dict", "ema_model", "ema", "shadow")
# Parts at the start of names, and the part that torch.compile writes anywhere.
_PREFIXES = ("module", "model", "net", "network", "encoder")
_AVERAGED_PREFIXES = ("model_ema", "ema_model", "ema")
_RUN = re.compile(rf"(?:(?:{'|'.join(_PREFIXES + _AVERAGED_PREFIXES)})\.){{0,8}}")
_COMPILED = re.compile(r"(^|(?<=\.))_orig_mod\.")
_MOST_PREFIXES = 16  # that are tried; files of training programs have two or three
_DEEPEST = 4  # dictionaries inside each other
_LONGEST_NAME = 500


class Weights(NamedTuple):
    """The tensors of one network, {name in the file: array}, whether they are averaged, and notes for the report."""

    tensors: dict[str, np.ndarray]
    averaged: bool = False
    notes: tuple[str, ...] = ()


def find_weights(content: object, *, ema: bool | None = None) -> Weights:
    """The weights in the content of a file, inside any dictionaries of training programs.

    Args:
      ema: True: averaged weights, where the dictionaries have some; False: plain ones; None: the plain ones, except of
        MMEngine's files, whose "state_dict" is averaged; or the only ones.

    Raises:
      ValueError: no weights, several networks, or with False averaged weights only.
    """
    found = list(_keys_of_weights(content, ()))
    if not found:
        if isinstance(content, dict):
            wrapped = {key: content[key] for key in (*_PLAIN, *_AVERAGED) if key in content}
            for some in (wrapped, *wrapped.values()):
                _check_placeholders(some)
        kind = f"the keys {shown(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(f"contains {kind}; expected a dictionary of tensors, alone or in {_PLAIN[0]!r} or the like")
    swapped = {keys[:-1]: keys for keys in found if _is_of_mmengine(content, keys)}
    averaged = lambda keys: _averaged(keys) != (keys[:-1] in swapped and keys[-1] in ("state_dict", "ema_state_dict"))
    choices = {kind: [keys for keys in found if averaged(keys) == kind] for kind in (False, True)}
    kind = bool(swapped) or not choices[False] if ema is None else ema and bool(choices[True])
    if not choices[kind]:
        raise ValueError(f"has only averaged (EMA) weights, in {_told(found[0])}; import them with --ema (ema=True)")
    if len(choices[kind]) > 1:
        both = " and ".join(map(_told, choices[kind][:2]))
        raise ValueError(f"has several networks, such as {both}; save the one to import in a file of its own")
    (keys,) = choices[kind]
    notes = []
    if kind or keys not in ((), ("state_dict",)):
        notes.append(f"{'averaged (EMA)' if kind else 'the'} weights in {_told(keys)} were taken")
    if others := choices[not kind]:
        other = "plain" if kind else "averaged (EMA)"
        notes.append(f"the file also has {other} weights, in {_told(others[0])}: {_flag(not kind)} takes them")
    return Weights(_checked(_at(content, keys)), kind, tuple(notes))


def _keys_of_weights(content: object, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The keys that lead to each dictionary with tensors, of those that training programs write."""
    if not isinstance(content, dict) or len(keys) == _DEEPEST:
        return
    inner = [one for key in (*_PLAIN, *_AVERAGED) for one in _keys_of_weights(content.get(key), (*keys, key))]
    if inner or any(isinstance(value, np.ndarray) for value in content.values()):
        yield from inner or [keys]


def _averaged(keys: tuple[str, ...]) -> bool:
    return any(key in _AVERAGED for key in keys)


def _is_of_mmengine(content: dict, keys: tuple[str, ...]) -> bool:
    """Whether these are the weights in MMEngine's "ema_state_dict", which are plain: it swaps them with "state_dict".

    Source: `EMAHook.before_save_checkpoint`.
    """
    return (
        keys[-1:] == ("ema_state_dict",) and "steps" in _at(content, keys) and "state_dict" in _at(content, keys[:-1])
    )


def _at(content, keys: tuple[str, ...]) -> dict:
    for key in keys:
        content = content[key]
    return content


def _flag(ema: bool) -> str:
    """The flag and the argument that choose averaged or plain weights."""
    return f"--{'' if ema else 'no'}ema (ema={ema})"


def _told(keys: tuple[str, ...]) -> str:
    return " > ".join(map(repr, keys)) or "the file itself"


def _checked(tensors: dict) -> dict[str, np.ndarray]:
    """Without values that are no tensors, such as the decay of an average."""
    for name in tensors:
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise ValueError(f"has a tensor named {repr(name)[:40]}; expected text of at most {_LONGEST_NAME} letters")
    _check_placeholders(tensors)
    return {name: value for name, value in tensors.items() if isinstance(value, np.ndarray)}


def _check_placeholders(content: object) -> None:
    """Refuses objects that are not read, where weights are looked for."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, Placeholder):
            raise ValueError(
                f"has a `{value.name[:100]}` as {repr(name)[:60]}, which is neither a tensor nor a plain value; load "
                "the file where it was made and save only its state_dict"
            )


def shown(names: Iterable) -> str:
    """The first three names for a message, cut."""
    return "[" + ", ".join(repr(str(name)[:60]) for name in sorted(map(str, names))[:3]) + "]"


def without_prefixes(
    names: Iterable[str], covers: Callable[[list[str]], bool], *, ema: bool | None = None
) -> tuple[dict[str, str], bool, tuple[str, ...]]:
    """Names without the prefixes of training programs, if the network's names come after one.

    Args:
      covers: whether names, those that begin with a prefix but without it, are the network's.
      ema: as in `find_weights`, for prefixes such as `model_ema.`.

    Returns:
      {name in the file: its bare name}, whether the prefix is one of averaged weights, and notes for the report. If the
      network's names come after none, only `module.` is removed.

    Raises:
      ValueError: two prefixes fit.
    """
    bare = {name: _COMPILED.sub("", name) for name in names}
    notes = ["`_orig_mod.` was removed from the names"] if any(name != inner for name, inner in bare.items()) else []
    fitting = [prefix for prefix in _prefixes(bare.values()) if covers(_after(prefix, bare.values()))]
    choices = {kind: [one for one in fitting if _has_average(one) == kind] for kind in (False, True)}
    if ema is False and choices[True] and not choices[False]:
        raise ValueError(
            f"has only averaged (EMA) weights, named `{choices[True][0]}...`; import them with --ema (ema=True)"
        )
    kind = bool(choices[True] and (ema if choices[False] else ema is not False))
    if len(choices[kind]) > 1:
        one, other = (f"`{prefix}`" if prefix else "no prefix" for prefix in choices[kind][:2])
        raise ValueError(f"the network's names come after {one} and after {other}; save those that you want alone")
    for prefix in filter(None, choices[kind]):
        bare = {name: inner.removeprefix(prefix) for name, inner in bare.items()}
        notes.append(f"`{prefix}` was removed from the names{' (EMA weights)' * kind}")
    if not choices[kind]:
        bare = {name: inner.removeprefix("module.") for name, inner in bare.items()}
    if others := choices[not kind]:
        notes.append(f"the file also has weights named `{others[0]}...`: {_flag(not kind)} takes them")
    return bare, kind, tuple(notes)


def averages_of_mmcv(names: Iterable[str]) -> set[str]:
    """The buffers in which MMCV 1.x keeps the average of each parameter, or the parameter while it has the average.

    >>> averages_of_mmcv(["fc.weight", "ema_fc_weight", "ema_conv.weight"])
    {'ema_fc_weight'}

    Which of the two depends on the order of its hooks. Source: `EMAHook.before_run`.
    """
    names = {*names}
    return {buffer for name in names if (buffer := f"ema_{name.replace('.', '_')}") in names}


def _prefixes(names: Iterable[str]) -> list[str]:
    """The most frequent sequences of wrappers at the start of names, and their beginnings; the shortest first."""
    counts = collections.Counter()
    for run, count in collections.Counter(_RUN.match(name)[0] for name in names).items():
        counts.update({run[: dot.end()]: count for dot in re.finditer(r"^|\.", run)})
    return sorted((prefix for prefix, _ in counts.most_common(_MOST_PREFIXES)), key=len)


def _after(prefix: str, names: Iterable[str]) -> list[str]:
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _has_average(prefix: str) -> bool:
    return not {*prefix.split(".")}.isdisjoint(_AVERAGED_PREFIXES)
