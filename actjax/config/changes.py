"""What differs between two configs."""

import hashlib
import json
from collections.abc import Iterator, Sequence


def as_saved(section):
    """A section with the types that JSON keeps: tuples become lists."""
    return json.loads(json.dumps(section, default=str))


def digest_of_config(sections: dict, *, without: Sequence[str] = ()) -> str:
    """A short digest of sections, by which they are known again.

    >>> digest_of_config({"eval": {"num_clips": 8, "backend": "av"}, "model": {"depth": (1, 2)}}, without=["backend"])
    '55db463ae7c60e38'
    """

    def kept(value):
        if not isinstance(value, dict):
            return value
        return {key: kept(inner) for key, inner in value.items() if key not in without}

    return hashlib.sha256(json.dumps(kept(as_saved(sections)), sort_keys=True).encode()).hexdigest()[:16]


def differences(was, now, *, name: str = "") -> Iterator[tuple[str, object, object]]:
    """Yields (dotted key, old value, new value) for every value that differs; None stands for a key that is missing.

    >>> list(differences({"run": {"epochs": 2}, "task": "bsn"}, {"run": {"epochs": 3, "seed": 1}, "task": "bsn"}))
    [('run.epochs', 2, 3), ('run.seed', None, 1)]
    """
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            yield from differences(was.get(key), now.get(key), name=f"{name}.{key}".lstrip("."))
    elif was != now:
        yield name, was, now


def told(changes, *, at_most: int = 6) -> str:
    """Differences in words, the first ones if there are many.

    >>> told([("run.epochs", 2, 3), ("run.seed", None, 1)])
    'run.epochs was 2, is 3; run.seed was not set, is 1'
    """
    value = lambda x: "not set" if x is None else repr(x) if len(repr(x)) < 60 else f"{repr(x)[:57]}..."
    changes = list(changes)
    words = [f"{key} was {value(was)}, is {value(now)}" for key, was, now in changes[:at_most]]
    return "; ".join(words + [f"and {len(changes) - at_most} more"] * (len(changes) > at_most))
