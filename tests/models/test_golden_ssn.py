"""SSN equals the reference: pooling, heads, losses, gradients, parameters after a step, scores of whole videos."""

import functools
import re

import golden_models as g
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from actjax.losses import activity_loss, boundary_regression_loss, completeness_loss, ohem_hinge_loss
from actjax.models import (
    SSN,
    TSM,
    export_checkpoint,
    import_checkpoint,
    initialize,
    proposal_scores,
    tick_features,
    tick_scores,
)
from actjax.models.stpp import TickScores, num_parts, pool_segments, pool_ticks
from actjax.tasks.ssn.task import ssn_task
from actjax.training import freeze, frozen_rules, param_groups, sgd
from actjax.training.optimizers import UNIFORM_RULES

SSN_ = functools.partial(SSN, num_classes=20, partial_bn=True, dropout=0.0)
MODELS = {"ssn_r50": SSN_(), "ssn_r50_pyramid": SSN_(stpp_stage=(1, (1, 2), 1))}


def as_tuples(stages):
    return tuple(tuple(stage) if isinstance(stage, list) else stage for stage in stages)


def of_config(case, config):
    return {name.removeprefix(f"{config}/"): x for name, x in g.arrays(case).items() if name.startswith(f"{config}/")}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def wide():
    """Golden arrays are float64."""
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("config", g.case("ssn_head")["configs"])
def test_pooling_and_heads_of_training(config, wide):
    options, arrays = g.case("ssn_head")["configs"][config], of_config("ssn_head", config)
    stages, segments = as_tuples(options["stpp_stage"]), tuple(options["num_segments_list"])
    assert num_parts(stages) == options["num_multipliers"]
    features = arrays["x"].reshape(8, sum(segments), -1)
    pool = jax.jit(functools.partial(pool_segments, num_segments_list=segments, stpp_stage=stages))
    course, pyramid = pool(features, arrays["scale_factor"][0])
    np.testing.assert_allclose(course, arrays["course_feat"], rtol=1e-10)
    np.testing.assert_allclose(pyramid.reshape(8, -1), arrays["stpp_feat"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("config", g.case("ssn_head")["configs"])
def test_scores_of_ticks_and_their_pooling(config, wide):
    options, arrays = g.case("ssn_head")["configs"][config], of_config("ssn_head", config)
    stages, k, m = as_tuples(options["stpp_stage"]), 4, options["num_multipliers"]
    head = lambda name: {"kernel": arrays[f"{name}.weight"].T, "bias": arrays[f"{name}.bias"]}
    params = {name: head(name) for name in ("activity_fc", "completeness_fc", "regressor_fc")}
    model = SSN(num_classes=k, stpp_stage=stages)
    score = jax.jit(functools.partial(tick_scores, model, divide_parts=False))
    scores = score({"params": params}, arrays["test_x"])
    raw = arrays["test_raw"]  # activity, completeness of every part, regression of every part
    np.testing.assert_allclose(scores.activity, raw[:, : k + 1], rtol=1e-10)
    np.testing.assert_allclose(scores.parts[..., :k], raw[:, k + 1 : k + 1 + m * k].reshape(-1, m, k), rtol=1e-9)
    np.testing.assert_allclose(scores.parts[..., k:], raw[:, k + 1 + m * k :].reshape(-1, m, 2 * k), rtol=1e-9)
    nothing = [[0, 0], [1, 1]]
    pool = jax.jit(functools.partial(proposal_scores, model, reg_norm_consts=nothing, num_ticks=len(raw)))
    found = pool(scores, arrays["ticks"], arrays["test_scale"])
    inside = arrays["ticks"][:, 1] < len(raw)  # the reference has NaN for a proposal behind the last tick
    np.testing.assert_allclose(found.activity[inside], arrays["test_activity"][inside], rtol=1e-9, atol=1e-12)
    assert np.isfinite(found.activity).all()
    # Of some lengths, the reference's third of a third step in float32 falls short of the whole, and a tick is lost.
    lengths = np.maximum(1, arrays["ticks"][:, 2] - arrays["ticks"][:, 1]).astype(np.float32)
    exact = (lengths / np.float32(3)).astype(np.float64) * 3 >= lengths if config == "c2" else lengths > 0
    assert exact.sum() >= 6
    for values, key in ((found.completeness, "test_completeness"), (found.regression.reshape(8, -1), "test_bbox")):
        np.testing.assert_allclose(values[exact], arrays[key][exact], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("config", g.case("ssn_loss")["configs"])
def test_losses_and_their_gradients(config, wide):
    options, arrays = g.case("ssn_loss")["configs"][config], of_config("ssn_loss", config)
    b, p = arrays["labels"].shape
    labels, types = jnp.asarray(arrays["labels"]), jnp.asarray(arrays["type"])

    def losses(activity, completeness, regression):
        rows = [x.reshape(b, p, *x.shape[1:]) for x in (activity, completeness, regression)]
        parts = (
            activity_loss(rows[0], labels, types),
            0.1 * completeness_loss(rows[1], labels, types, num_hard=options["kept_incomplete"]),
            0.1 * boundary_regression_loss(rows[2], labels, types, jnp.asarray(arrays["targets"])),
        )
        return sum(part.mean() for part in parts), [part.mean() for part in parts]

    inputs = [jnp.asarray(arrays[name]) for name in ("activity", "completeness", "bbox")]
    (_, parts), gradients = jax.jit(jax.value_and_grad(losses, argnums=(0, 1, 2), has_aux=True))(*inputs)
    for part, name in zip(parts, ("activity", "completeness", "reg"), strict=True):
        np.testing.assert_allclose(part, arrays[f"loss_{name}"][0], rtol=1e-9)
    for gradient, name in zip(gradients, ("activity", "completeness", "bbox"), strict=True):
        np.testing.assert_allclose(gradient, arrays[f"d_{name}"], rtol=1e-9, atol=1e-12)
    again = losses(*(arrays[name] for name in ("activity", "completeness", "bbox")))[1]
    np.testing.assert_allclose(again, parts, rtol=1e-9)  # NumPy has the same


@pytest.mark.parametrize("name", [key for key in g.case("losses")["cases"] if key.startswith("hinge")])
def test_hinge_loss_with_hard_examples(name, wide):
    arrays = {key.rpartition("/")[2]: jnp.asarray(x) for key, x in g.arrays("losses").items() if key.startswith(name)}
    sign, size, ratio = map(float, re.findall(r"-?\d[\d.]*", name))
    options = dict(is_positive=int(sign), group_size=int(size), ohem_ratio=ratio)
    if name.endswith("0.1667"):
        options["ohem_ratio"] = 1 / 6
    loss = lambda scores: ohem_hinge_loss(scores, arrays["label"], **options).sum()
    value, gradient = jax.jit(jax.value_and_grad(loss))(arrays["score"])
    np.testing.assert_allclose(value, arrays["loss"].sum(), rtol=1e-9)
    np.testing.assert_allclose(gradient, arrays["d_score"], rtol=1e-9)


def test_hinge_loss_keeps_what_rounding_would_lose():
    scores, labels = np.zeros((49, 3)), np.ones(49, int)
    assert ohem_hinge_loss(scores, labels, is_positive=1, ohem_ratio=1 / 49, group_size=49) == [1]  # int() has 0
    with pytest.raises(ValueError, match="49 scores, 49 labels in groups of 8"):
        ohem_hinge_loss(scores, labels, is_positive=1, ohem_ratio=0.5, group_size=8)


def initialized(model):
    return jax.jit(functools.partial(initialize, model))(key=jax.random.key(0))


def filled(entry):
    """An input of a case, by its rule."""
    rule = entry["name"], tuple(entry["shape"]), entry["dtype"], entry["fill"]
    return g.fillrule.fill(g.fillrule.default_salt(), *rule)


def training_case(name):
    case = g.case(name)
    made = {key: filled(entry) for key, entry in case["inputs"].items()}
    return {
        "video": made["imgs"].transpose(0, 1, 2, 4, 5, 3)[:, :, :, None],
        "proposal_scale_factor": made["proposal_scale_factor"],
        "proposal_type": np.array([case["proposal_type"]]),
        "proposal_labels": np.array(case["proposal_labels"]),
        "reg_targets": made["reg_targets"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssn_r50_train", "ssn_r50_pyramid_train"])
def test_gradients_and_optimizer_steps(name):
    case, batch = g.case(name), training_case(name)
    model, before = MODELS[case["model"]], g.variables(case["model"])
    task = ssn_task(model, num_hard=1)
    rules = (*frozen_rules(model.freezing.patterns()), *UNIFORM_RULES)
    options, clip = case["optimizer"], case["grad_clip"]["max_norm"]
    names = dict(momentum=options["momentum"], weight_decay=options["weight_decay"], clip_norm=clip, rules=rules)
    optimizer = sgd(before["params"], lambda step: options["lr"], **names)

    @jax.jit
    def step(variables, opt_state):
        groups = param_groups(variables["params"], rules)

        def loss(params):
            losses, updated, parts = task.loss(variables | {"params": freeze(params, groups)}, batch, jax.random.key(0))
            return losses.mean(), (updated, jax.tree.map(jnp.mean, parts))

        (value, (updated, parts)), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        updates, opt_state = optimizer.update(gradients, opt_state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        rows = (batch["video"], batch["proposal_scale_factor"])
        scores, _ = model.apply(variables, *rows, train=True, mutable=["batch_stats"])
        return {"params": params, **updated}, opt_state, (value, parts, gradients, scores)

    variables, opt_state = before, optimizer.init(before["params"])
    for expected in case["steps"]:
        start = variables
        variables, opt_state, (value, parts, gradients, scores) = step(variables, opt_state)
        if start is before:
            for found, key in zip(scores, ("activity", "completeness", "bbox"), strict=True):
                wanted = g.arrays(name)[key]
                np.testing.assert_allclose(found[0], wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=key)
        losses = expected["losses"]
        np.testing.assert_allclose(value, losses["loss"], rtol=1e-4)
        for ours, theirs in (("activity", "activity"), ("completeness", "completeness"), ("regression", "reg")):
            np.testing.assert_allclose(parts[f"loss_{ours}"], losses[f"loss_{theirs}"], rtol=1e-4)
        np.testing.assert_allclose(optax.tree.norm(gradients), expected["grad_total_norm"], rtol=1e-3)
        largest = max(row[0] for row in expected["grads"].values())
        for key, (l2, _, dot, _) in expected["grads"].items():
            gradient = g.leaf(gradients, g.place(key)[1])
            np.testing.assert_allclose(np.linalg.norm(gradient), l2, rtol=1e-2, atol=1e-6 * largest, err_msg=key)
            np.testing.assert_allclose(g.probe(key, gradient), dot, atol=1e-2 * l2 + 1e-6 * largest, err_msg=key)
        for key in expected["params_without_grad"]:
            place = g.place(key)[1]
            assert (g.leaf(start["params"], place) == g.leaf(variables["params"], place)).all(), key


@pytest.mark.slow
def test_scores_of_a_whole_video():
    case, arrays, model = g.case("ssn_r50_test"), g.arrays("ssn_r50_test"), MODELS["ssn_r50"]
    images = filled(case["inputs"]["imgs"])
    clips = images.transpose(1, 0, 3, 4, 2)[:, :, None]  # [ticks, crops, 1, h, w, c]
    variables = g.variables("ssn_r50")
    features = jax.jit(functools.partial(tick_features, model))(variables, clips)
    scores = tick_scores(model, variables, features)
    found = proposal_scores(
        model, scores, arrays["proposal_ticks"][0], arrays["scale_factor"][0], arrays["reg_norm_consts"][0], len(clips)
    )
    for values, key in zip(found, ("activity", "completeness", "bbox"), strict=True):
        np.testing.assert_allclose(values, arrays[key], atol=1e-4 * np.abs(arrays[key]).max(), err_msg=key)


def slow_pooling(scores, ticks, scale_factors, num_ticks, stages):
    """By the words of the specification, proposal by proposal."""
    activity, parts = np.zeros((len(ticks), scores.activity.shape[1])), np.zeros((len(ticks), scores.parts.shape[2]))
    for i, row in enumerate(ticks.tolist()):
        begin = min(row[1], num_ticks - 1)
        activity[i] = scores.activity[begin : max(begin + 1, row[2])][: num_ticks - begin].mean(0)
        part = 0
        for stage, counts in enumerate(stages):
            left, right = row[stage], max(row[stage] + 1, row[stage + 1])
            for count in counts:
                for k in range(count):
                    ends = [left + j * (right - left) // count for j in (k, k + 1)]
                    rows = scores.parts[ends[0] : min(ends[1], num_ticks), part]
                    factor = (scale_factors[i, 0], 1, scale_factors[i, 1])[stage]
                    parts[i] += factor * rows.mean(0) if len(rows) else 0
                    part += 1
    return activity, parts


@pytest.mark.parametrize("stages", [((1,), (1,), (1,)), ((1,), (1, 2), (1,)), ((2, 3), (1, 2, 3, 5), (4,))])
def test_pooling_by_running_sums_is_that_of_slices(stages, rng):
    """In float32 over a long video whose scores are far from 0, padded, with empty, last and overlong proposals."""
    t, m = 9000, sum(map(sum, stages))
    raw = (rng.normal(3, 1, (t, 5)), rng.normal(-4, 1, (t, m, 6)))
    ticks = np.sort(rng.integers(0, t + 1, (60, 4)), axis=1)
    ticks[:20] = ticks[:20, :1] + np.sort(rng.integers(0, 9, (20, 4)), axis=1)
    ticks[:4] = [[t, t, t, t], [t - 1, t - 1, t, t], [0, 0, 0, 0], [0, t - 1, t - 1, t + 5]]
    factors = rng.random((60, 2))
    expected = slow_pooling(TickScores(*raw), ticks, factors, t, stages)
    padded = TickScores(*(np.pad(x, ((0, 1000), *((0, 0),) * (x.ndim - 1)), constant_values=9e3) for x in raw))
    found = jax.jit(functools.partial(pool_ticks, stpp_stage=stages))(
        jax.tree.map(lambda x: x.astype(np.float32), padded), ticks, factors, t
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=3e-4)


def test_test_pooling_divides_as_training_does(rng):
    """A video whose ticks are the sampled segments: both poolings give the same, whatever the pyramid."""
    model = SSN(
        num_classes=3, segments=(2, 6, 2), stpp_stage=(2, (1, 2, 3), (1, 2)), width=8, depth=10, small_input=True
    )
    features = rng.normal(size=(10, 64)).astype(np.float32)
    heads = {"activity_fc": (64, 4), "completeness_fc": (64 * 11, 3), "regressor_fc": (64 * 11, 6)}
    params = {n: {"kernel": rng.normal(size=shape), "bias": np.zeros(shape[1])} for n, shape in heads.items()}
    params = jax.tree.map(lambda x: x.astype(np.float32), params)
    scores = tick_scores(model, {"params": params}, features)
    found = proposal_scores(model, scores, [[0, 2, 8, 10]], [[1.0, 1.0]], [[0, 0], [1, 1]], 10)
    course, pyramid = pool_segments(features, np.ones(2), num_segments_list=model.segments, stpp_stage=model.stpp_stage)
    np.testing.assert_allclose(found.activity[0], course @ params["activity_fc"]["kernel"], rtol=1e-4, atol=1e-4)
    completeness = pyramid.ravel() @ params["completeness_fc"]["kernel"]
    np.testing.assert_allclose(found.completeness[0], completeness, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_import_and_export(name, tmp_path):
    import safetensors.numpy

    tensors = dict(g.fillrule.state_dict(g.json.loads((g.FOLDER / "manifests" / f"{name}.json").read_text())))
    extra = {"cls_head.test_fc.weight": np.zeros((3, 3), np.float32)}  # what the reference's test leaves behind
    safetensors.numpy.save_file(tensors | extra, tmp_path / "theirs.safetensors")
    imported = import_checkpoint(tmp_path / "theirs.safetensors", MODELS[name], strict=True)
    jax.tree.map(np.testing.assert_array_equal, imported.variables["params"], dict(g.variables(name)["params"]))
    export_checkpoint(imported.variables, MODELS[name], tmp_path / "ours.safetensors")
    again = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert again.keys() == tensors.keys()
    for key in again:
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(again[key], tensors[key])


def test_starts_from_a_recogniser_with_anew_heads(tmp_path):
    """The backbone of a TSM checkpoint; 10 classes of videos are no classes of proposals."""
    tsm = TSM(num_classes=10, depth=10)
    export_checkpoint(initialized(tsm), tsm, tmp_path / "tsm.safetensors")
    model = SSN(num_classes=4, depth=10, num_segments=4)
    imported = import_checkpoint(tmp_path / "tsm.safetensors", model)
    assert "the file has no classifier of proposals: activity_fc is re-initialised" in str(imported.report)
    assert not imported.report.missing and not imported.report.misshaped
    other = SSN(num_classes=7, depth=10, num_segments=4)
    export_checkpoint(imported.variables, model, tmp_path / "ssn.safetensors")
    notes = import_checkpoint(tmp_path / "ssn.safetensors", other).report.notes
    assert "5 classes in the file, 8 in the model: activity_fc is re-initialised" in notes


def test_clips_of_one_frame_do_not_shift(rng):
    """A plain network for single frames, the shift for clips of several, both with the same parameters."""
    small = dict(num_classes=2, depth=10, width=16, small_input=True)
    clips = rng.integers(0, 255, (2, 4, 32, 32, 3), dtype=np.uint8)
    one, four = SSN(**small), SSN(**small, num_segments=4)
    variables = initialized(one)
    apply = lambda model, x: jax.jit(functools.partial(model.apply, heads=False))(variables, x)
    features = [apply(model, x) for model, x in ((one, clips), (four, clips))]
    alone = np.mean([apply(one, clips[:, k, None]) for k in range(4)], axis=0)
    np.testing.assert_allclose(features[0], alone, rtol=1e-4, atol=1e-5)
    assert np.abs(features[1] - features[0]).max() > 1e-3
