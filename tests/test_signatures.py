"""Public functions: arrays positional, options and draws keyword-only, a docstring each."""

import inspect

import pytest

from actjax import (
    browsing,
    hosts,
    localization,
    losses,
    metrics,
    models,
    paths,
    predicting,
    segments,
    tasks,
    training,
    workdir,
)
from actjax.data import (
    annotations,
    builders,
    checking,
    datasets,
    features,
    loading,
    prepared,
    proposals,
    seeding,
    selecting,
    shapes,
    stages,
)
from actjax.localization import batched, proposal_file
from actjax.video import decoding, draws, layout, pictures, proposal_sampling, rendering, sampling, views

MODULES = (
    annotations,
    batched,
    browsing,
    builders,
    checking,
    datasets,
    decoding,
    draws,
    features,
    hosts,
    layout,
    loading,
    localization,
    losses,
    metrics,
    models,
    paths,
    pictures,
    predicting,
    prepared,
    proposal_file,
    proposal_sampling,
    proposals,
    rendering,
    sampling,
    seeding,
    segments,
    selecting,
    shapes,
    stages,
    tasks,
    training,
    views,
    workdir,
)
# Arguments that the API reference passes by position although they have a default.
POSITIONAL = {"axis", "topk", "normalize", "width", "folder", "rules", "temporal_iou_thresholds", "max_avg_proposals"}
POSITIONAL |= {"version", "result_dict", "tem_results_ext", "pgm_proposal_ext", "top_k", "bsp_boundary_ratio"}
POSITIONAL |= {"num_sample_start", "num_sample_end", "num_sample_action", "num_sample_interp"}
POSITIONAL |= {"with_gt", "background_coverage_threshold", "incomplete_overlap_threshold"}


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
