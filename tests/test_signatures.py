"""Public functions: arrays positional, options and draws keyword-only, a docstring each."""

import importlib
import inspect
import pkgutil

import pytest

import actjax

# Arguments that the API reference passes by position although they have a default.
POSITIONAL = {"axis", "topk", "normalize", "width", "folder", "rules", "temporal_iou_thresholds", "max_avg_proposals"}
POSITIONAL |= {"version", "result_dict", "tem_results_ext", "pgm_proposal_ext", "top_k", "bsp_boundary_ratio"}
POSITIONAL |= {"num_sample_start", "num_sample_end", "num_sample_action", "num_sample_interp", "num_devices"}
POSITIONAL |= {"with_gt", "background_coverage_threshold", "incomplete_overlap_threshold"}


def public_functions():
    """Those of every module, where they are defined."""
    for info in pkgutil.walk_packages(actjax.__path__, "actjax."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_") and function.__module__ == info.name:
                yield pytest.param(function, id=f"{info.name}.{name}")


@pytest.mark.parametrize("function", list(public_functions()))
def test_options_are_keyword_only(function):
    parameters = list(inspect.signature(function).parameters.values())
    first = parameters[0] if parameters else None  # of what does nothing but draw
    for p in parameters:
        drawn = p.name in ("u", "key", "rng", "jitter") and function.__name__ != "below" and p is not first
        if drawn or (p.default is not p.empty and p.name not in POSITIONAL):
            assert p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD), f"{function.__name__}: write `*, {p.name}`"


@pytest.mark.parametrize("function", list(public_functions()))
def test_has_a_docstring(function):
    assert function.__doc__
