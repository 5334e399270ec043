"""Public functions: arrays positional, options and draws keyword-only, a docstring each."""

import inspect

import pytest

from actjax import losses, metrics, models, tasks, training
from actjax.data import annotations, loading, shapes
from actjax.video import decoding, draws, rendering, sampling, views

MODULES = (
    annotations,
    decoding,
    draws,
    loading,
    losses,
    metrics,
    models,
    rendering,
    sampling,
    shapes,
    tasks,
    training,
    views,
)
# Arguments that the API reference passes by position although they have a default.
POSITIONAL = {"axis", "topk", "normalize", "width", "folder", "rules"}


def public_functions():
    for module in MODULES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_") and function.__module__.startswith("actjax"):
                yield pytest.param(function, id=f"{function.__module__}.{name}")


@pytest.mark.parametrize("function", list(public_functions()))
def test_options_are_keyword_only(function):
    for p in inspect.signature(function).parameters.values():
        if (
            p.name in ("u", "key", "rng", "jitter")
            and function is not draws.below
            or (p.default is not p.empty and p.name not in POSITIONAL)
        ):
            assert p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD), f"{function.__name__}: write `*, {p.name}`"


@pytest.mark.parametrize("function", list(public_functions()))
def test_has_a_docstring(function):
    assert function.__doc__
