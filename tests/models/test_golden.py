"""TSN and TSM equal the reference: logits, stages, losses, gradients, parameters after optimizer steps."""

import functools

import golden_models as g
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from marks import slow_but

from actjax.losses import binary_cross_entropy, cross_entropy
from actjax.models import initialize, temporal_pool, temporal_shift
from actjax.models.non_local import NonLocal
from actjax.tasks.recognition.task import recognition_task
from actjax.training import freeze, frozen_rules, param_groups, sgd, tsm_optimizer, tsm_rules


def model_of(case):
    overrides = {key.removeprefix("backbone__"): value for key, value in (case.get("config_overrides") or {}).items()}
    return g.MODELS[case["model"]].clone(**overrides)


@pytest.mark.parametrize(
    "name",
    slow_but(
        [
            "tsm_r18_eval",
            "tsm_r34_eval",
            "tsm_r50_eval",
            "tsm_r50_eval_112",
            "tsm_r50_eval_224",
            "tsm_r50_caffe_eval",
            "tsm_r50_block_eval",
            "tsm_r50_s16_eval",
            "tsm_r50_16f_backbone8_eval",
            "tsm_r50_tpool_eval",
            "tsm_r50_nl_embedded_gaussian_eval",
            "tsm_r50_nl_gaussian_eval",
            "tsm_r50_nl_dot_product_eval",
            "tsm_r101_eval",
            "tsm_r152_eval",
            "tsm_mobilenetv2_eval",
            "tsn_r50_eval",
            "tsn_r50_flow_eval",
        ],
        "tsm_r18_eval",
        "tsm_mobilenetv2_eval",
    ),
)
def test_eval_logits_and_stages(name):
    case = g.case(name)
    model = model_of(case)
    if "backbone8" in name:
        model = model.clone(num_segments=8)
    video = g.clips(case["inputs"])["imgs"]
    apply = jax.jit(functools.partial(model.apply, train=False, mutable=["intermediates"]))
    logits, state = apply(g.variables(case["model"]), video)
    g.close(logits, g.arrays(name)["logits"], of_max=1e-4)
    for layer in sorted(state["intermediates"]["backbone"]):
        if (stage := case.get("stages", {}).get(f"backbone.{layer}")) is None:
            continue
        (maps,) = state["intermediates"]["backbone"][layer]
        flat = np.asarray(maps).transpose(0, 3, 1, 2).ravel()
        assert list(np.asarray(maps).transpose(0, 3, 1, 2).shape) == stage["shape"]
        np.testing.assert_allclose([flat.mean(), flat.std()], [stage["mean"], stage["std"]], rtol=1e-4)
        at = [k * flat.size // 16 for k in range(16)]
        np.testing.assert_allclose(flat[at], stage["sample16"], rtol=0, atol=1e-4 * np.abs(flat).max())


def rules_of(model):
    return (*frozen_rules(model.freezing.patterns()), *tsm_rules())


def gradient_step(model, optimizer):
    """(variables, opt_state, video, labels) -> the same after a step, and what the step measured."""

    def step(variables, opt_state, video, labels):
        groups = param_groups(variables["params"], rules_of(model))

        def loss(params):
            both = {"params": freeze(params, groups), "batch_stats": variables["batch_stats"]}
            logits, updated = model.apply(both, video, train=True, mutable=["batch_stats"])
            return cross_entropy(logits, labels).mean(), (logits, updated["batch_stats"])

        (value, (logits, stats)), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        updates, opt_state = optimizer.update(gradients, opt_state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, "batch_stats": stats}, opt_state, (value, logits, gradients)

    return jax.jit(step, compiler_options={"xla_backend_optimization_level": 1})  # unoptimised, it runs for long


def optimizer_of(case, model, params):
    options = case["optimizer"]
    clip = case.get("grad_clip") or {}
    return sgd(
        params,
        lambda step: options["lr"],
        momentum=options["momentum"],
        weight_decay=options["weight_decay"],
        clip_norm=clip.get("max_norm"),
        **({"rules": rules_of(model)} if "constructor" in options else {}),
    )


@pytest.mark.parametrize(
    "name",
    slow_but(
        [
            "tsm_r18_train",
            "tsm_r18_train_clip",
            "tsm_r18_train_frozen2",
            "tsm_r18_train_norm_eval",
            "tsm_r18_train_partial_bn",
            "tsm_r50_train",
            "tsm_r50_tpool_train",
            "tsm_r50_nl_embedded_gaussian_train",
            "tsm_mobilenetv2_train",
            "tsn_r50_train",
        ],
        "tsm_r18_train",
        "tsm_r18_train_partial_bn",
    ),
)
def test_gradients_and_optimizer_steps(name):
    case = g.case(name)
    variables, inputs = g.variables(case["model"]), g.clips(case["inputs"])
    model = model_of(case)
    optimizer = optimizer_of(case, model, variables["params"])
    step, opt_state = gradient_step(model, optimizer), optimizer.init(variables["params"])
    for number, expected in enumerate(case["steps"]):
        before = variables
        variables, opt_state, (value, logits, gradients) = step(variables, opt_state, inputs["imgs"], inputs["labels"])
        np.testing.assert_allclose(value, expected["losses"]["loss"], rtol=1e-4)
        g.close(logits, g.arrays(name)["train_logits" + ("_step2" if number else "")], of_max=1e-4)
        np.testing.assert_allclose(optax.tree.norm(gradients), expected["grad_total_norm"], rtol=1e-3)
        share = 2e-2 if "mobilenet" in name else 1e-2  # more ReLUs at whose zero a sign may flip
        check_gradients(gradients, expected["grads"], share)
        check_parameters(before, variables, expected["after"], share)


def check_gradients(gradients, expected, share):
    """All that are expected, and no other: what is frozen has none."""
    assert sum(bool(np.any(leaf)) for leaf in jax.tree.leaves(gradients)) == len(expected)
    largest = max(row[0] for row in expected.values())
    for key, (l2, _, dot, _) in expected.items():
        gradient = g.leaf(gradients, g.place(key)[1])
        np.testing.assert_allclose(np.linalg.norm(gradient), l2, rtol=share, atol=1e-4 * largest, err_msg=key)
        np.testing.assert_allclose(g.probe(key, gradient), dot, rtol=0, atol=5e-2 * l2 + 1e-4 * largest, err_msg=key)


def check_parameters(before, after, expected, share):
    largest = max(row[2] for row in expected.values())
    for key, (l2, dot, delta_l2, delta_dot) in expected.items():
        if (where := g.place(key)) is None:
            continue
        value = g.leaf(after[where[0]], where[1])
        delta = value.astype(np.float64) - g.leaf(before[where[0]], where[1])
        scale = max(delta_l2, 1e-4 * largest)
        np.testing.assert_allclose(np.linalg.norm(value), l2, rtol=1e-5, atol=share * scale, err_msg=key)
        # What a sign flip at a ReLU moves the step by, the parameter moves by too.
        np.testing.assert_allclose(g.probe(key, value), dot, rtol=0, atol=1e-5 * l2 + 5e-2 * scale, err_msg=key)
        np.testing.assert_allclose(np.linalg.norm(delta), delta_l2, rtol=0, atol=share * scale, err_msg=key)
        np.testing.assert_allclose(g.probe(key, delta), delta_dot, rtol=0, atol=5e-2 * scale, err_msg=key)


@pytest.mark.slow
def test_trajectory_of_twenty_steps():
    case = g.case("tsm_r18_trajectory")
    variables, inputs = g.variables("tsm_r18"), g.clips(case["inputs"])
    options = case["optimizer"]
    schedule = lambda step: options["lr"] * jnp.where(step >= case["lr_milestones"][0], case["lr_gamma"], 1.0)
    optimizer = tsm_optimizer(variables["params"], schedule, momentum=0.9, weight_decay=1e-4, clip_norm=20.0)
    step, opt_state = gradient_step(g.MODELS["tsm_r18"], optimizer), optimizer.init(variables["params"])
    losses = []
    for number in range(20):
        batch = number % 4
        variables, opt_state, (value, _, _) = step(
            variables, opt_state, inputs[f"imgs{batch}"], inputs[f"labels{batch}"]
        )
        losses.append(float(value))
    np.testing.assert_allclose(losses, g.arrays("tsm_r18_trajectory")["losses"], rtol=1e-3)
    logits = g.MODELS["tsm_r18"].apply(variables, inputs["imgs0"])
    g.close(logits, g.arrays("tsm_r18_trajectory")["final_logits"], of_max=5e-3)


def test_temporal_shift_matches_golden():
    arrays = g.arrays("ops_shift")
    for number, config in g.case("ops_shift")["configs"].items():
        x, y = (arrays[f"{name}{number}"].transpose(0, 2, 3, 1) for name in "xy")
        out = temporal_shift(jnp.asarray(x), num_segments=config["num_segments"], shift_div=config["shift_div"])
        np.testing.assert_allclose(out, y, rtol=1e-6)


def test_temporal_pool_matches_golden():
    arrays, case = g.arrays("ops_tpool"), g.case("ops_tpool")
    out = temporal_pool(jnp.asarray(arrays["x"].transpose(0, 2, 3, 1)), num_segments=case["num_segments"])
    np.testing.assert_allclose(out, arrays["y"].transpose(0, 2, 3, 1), rtol=1e-6)


def test_parameter_groups_match_golden():
    models = g.case("tsm_param_groups")["models"] | g.case("tsm_param_groups_mobilenetv2")["models"]
    for name, expected in models.items():
        model, _, variant = name.partition("/")
        params = g.variables(model)["params"]
        groups = param_groups(params, tsm_rules(fc_lr5=variant != "fc_lr5_false"))
        by_path = {path: group for group, paths in groups.members.items() for path in paths}
        for key, (_, group, lr_mult, decay_mult) in expected["params"].items():
            path = g.place(key)[1]
            assert by_path[path] == group, key
            assert (g.leaf(groups.lr_mult, path), g.leaf(groups.decay_mult, path)) == (lr_mult, decay_mult)
        assert len(by_path) == len(expected["params"])


@pytest.mark.parametrize("name", g.case("ops_nonlocal")["configs"])
def test_non_local_block_matches_golden(name):
    """Eval, training and the gradients of sum(y r), with and without sub-sampling."""
    config, prefix = g.case("ops_nonlocal")["configs"][name], f"{name}/"
    arrays = {key.removeprefix(prefix): value for key, value in g.arrays("ops_nonlocal").items() if prefix in key}
    b, c, t, h, w = arrays["x"].shape
    frames = lambda x: x.transpose(0, 2, 3, 4, 1).reshape(b * t, h, w, c).astype(np.float32)
    tree = {"params": {}, "batch_stats": {}}
    for key in config["keys"]:
        if key in arrays and (where := g.place(f"backbone.layer2.0.non_local_block.{key}")):
            g.put(tree[where[0]], where[1].partition("_non_local/")[2], g.from_torch(arrays[key]).astype(np.float32))
    block = NonLocal(num_segments=t, mode=config["mode"], sub_sample=config["sub_sample"])
    g.close(block.apply(tree, frames(arrays["x"]), train=False), frames(arrays["y_eval"]), of_max=1e-5)

    def loss(params, x):
        y, _ = block.apply({**tree, "params": params}, x, train=True, mutable=["batch_stats"])
        return (y * frames(arrays["r"])).sum(), y

    (gradients, dx), y = jax.grad(loss, (0, 1), has_aux=True)(tree["params"], frames(arrays["x"]))
    g.close(y, frames(arrays["y_train"]), of_max=1e-5)
    g.close(dx, frames(arrays["dx"]), of_max=1e-4)
    # The bias before a batch norm, and phi's under a softmax, have gradients of 0 but for rounding.
    largest = max(np.abs(value).max() for key, value in arrays.items() if key.startswith("grad/"))
    for key, expected in arrays.items():
        if key.startswith("grad/"):
            path = g.place(f"backbone.layer2.0.non_local_block.{key.removeprefix('grad/')}")[1]
            actual = g.leaf(gradients, path.partition("_non_local/")[2])
            np.testing.assert_allclose(actual, g.from_torch(expected), rtol=1e-4, atol=1e-5 * largest, err_msg=key)


LOSSES = {
    "ce_w1.0": (cross_entropy, {}),
    "ce_w0.5": (cross_entropy, dict(loss_weight=0.5)),
    "bce_w160": (binary_cross_entropy, dict(loss_weight=160.0)),
    "bce_smooth0.1": (binary_cross_entropy, dict(label_smoothing=0.1)),
    "ce_class_weight": (cross_entropy, {}),
    "ce_soft": (cross_entropy, {}),
    "ce_soft_class_weight": (cross_entropy, {}),
    "bce_class_weight": (binary_cross_entropy, {}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_match_golden(name):
    file = "losses" if name in g.case("losses")["cases"] else "losses_v0241"
    loss, options = LOSSES[name]
    about = g.case(file)["cases"][name]
    if isinstance(about, dict):
        options = options | {"class_weights": about["class_weight"]}
    arrays = {key.partition("/")[2]: value for key, value in g.arrays(file).items() if key.startswith(f"{name}/")}
    mean = lambda score: loss(score, jnp.asarray(arrays["label"]), **options).mean()
    value, gradient = jax.value_and_grad(mean)(jnp.asarray(arrays["score"], jnp.float32))
    np.testing.assert_allclose(value, arrays["loss"].item(), rtol=1e-5)
    g.close(gradient, arrays["d_score"], of_max=1e-5)


@pytest.mark.parametrize("setting", g.case("bn_modes")["settings"])
def test_frozen_layers_are_the_reference_s(setting):
    """As many frozen parameters and as many batch norms that keep their statistics, for every setting of the table."""
    depth, _, modes = setting.partition("/")
    expected = g.case("bn_modes")["settings"][setting]
    options = {mode: True for mode in ("norm_eval", "partial_bn") if mode in modes}
    if modes.startswith("frozen"):
        options["frozen_stages"] = int(modes.removeprefix("frozen"))
    model = g.TSM_(num_classes=3, depth=int(depth[1:]), width=8, **options)
    shapes = jax.eval_shape(lambda key: initialize(model, key=key), jax.random.key(0))
    groups = param_groups(shapes["params"], rules_of(model))
    assert len(groups.members.get("frozen", ())) == expected["frozen_params"]
    ones = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)
    train = functools.partial(model.apply, train=True, mutable=["batch_stats"])
    _, updated = jax.jit(train)(ones, jnp.zeros((1, 2, 32, 32, 3)))
    kept = jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), ones["batch_stats"], updated["batch_stats"]))
    assert sum(kept) == 2 * expected["bn_in_eval_mode"]


def test_views_are_averaged_as_in_both_releases():
    """48 frames are 6 views of 8, four at a time: 0.24.1's three ways, and 0.6's mean of all scores."""
    case, variables = g.case("multi_view_v0241"), g.variables("tsm_r18")
    imgs = g.clips(case["inputs"])["imgs"]
    video = imgs.reshape(2, 6, 8, *imgs.shape[2:])
    scores = {}
    for way in ("none", "score", "prob"):
        task = recognition_task(g.MODELS["tsm_r18"], average_clips=way, clips_at_once=4)
        scores[way] = jax.jit(task.predict)(variables, {"video": video})["scores"]
    expected = g.arrays("multi_view_v0241")
    g.close(scores["none"].reshape(12, -1), expected["out_None_batch2"], of_max=1e-4)
    g.close(scores["score"], expected["out_score_batch2"], of_max=1e-4)
    g.close(scores["prob"], expected["out_prob_batch2"], of_max=1e-4)
    g.close(scores["score"], g.arrays("multi_view_v060")["out_None_batch2"], of_max=1e-4)
