"""TSN and TSM equal the reference: logits, stages, losses, gradients, parameters after optimizer steps."""

import functools

import golden_models as g
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from actjax.losses import cross_entropy
from actjax.models import TSM, TSN, temporal_shift
from actjax.training import param_groups, sgd, tsm_optimizer, tsm_rules

MODELS = {
    "tsm_r18": TSM(num_classes=10, depth=18, dropout=0.0),
    "tsm_r50": TSM(num_classes=400, depth=50, dropout=0.0),
    "tsm_r50_block": TSM(num_classes=400, depth=50, dropout=0.0, shift_place="block"),
    "tsm_r101": TSM(num_classes=400, depth=101, dropout=0.0),
    "tsn_r50": TSN(num_classes=400, depth=50, dropout=0.0),
}


def model_of(case):
    return MODELS[case["model"]].clone(num_classes=len(g.variables(case["model"])["params"]["fc_cls"]["bias"]))


def close(actual, expected, *, of_max):
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=of_max * np.abs(expected).max())


@pytest.mark.parametrize(
    "name",
    [
        "tsm_r18_eval",
        "tsm_r50_eval",
        "tsm_r50_block_eval",
        "tsm_r50_16f_backbone8_eval",
        "tsm_r101_eval",
        "tsn_r50_eval",
    ],
)
def test_eval_logits_and_stages(name):
    case = g.case(name)
    model = model_of(case)
    if "backbone8" in name:
        model = model.clone(num_segments=8)
    video = g.clips(case["inputs"])["imgs"]
    apply = jax.jit(functools.partial(model.apply, train=False, mutable=["intermediates"]))
    logits, state = apply(g.variables(case["model"]), video)
    close(logits, g.arrays(name)["logits"], of_max=1e-4)
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        (maps,), stage = state["intermediates"]["backbone"][layer], case["stages"][f"backbone.{layer}"]
        flat = np.asarray(maps).transpose(0, 3, 1, 2).ravel()
        assert list(np.asarray(maps).transpose(0, 3, 1, 2).shape) == stage["shape"]
        np.testing.assert_allclose([flat.mean(), flat.std()], [stage["mean"], stage["std"]], rtol=1e-4)
        at = [k * flat.size // 16 for k in range(16)]
        np.testing.assert_allclose(flat[at], stage["sample16"], rtol=0, atol=1e-4 * np.abs(flat).max())


def gradient_step(model, optimizer):
    """(variables, opt_state, video, labels) -> the same after a step, and what the step measured."""

    def step(variables, opt_state, video, labels):
        def loss(params):
            both = {"params": params, "batch_stats": variables["batch_stats"]}
            logits, updated = model.apply(both, video, train=True, mutable=["batch_stats"])
            return cross_entropy(logits, labels).mean(), (logits, updated["batch_stats"])

        (value, (logits, stats)), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        updates, opt_state = optimizer.update(gradients, opt_state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, "batch_stats": stats}, opt_state, (value, logits, gradients)

    return jax.jit(step)


def optimizer_of(case, params):
    options = case["optimizer"]
    make = tsm_optimizer if "constructor" in options else sgd
    clip = case.get("grad_clip") or {}
    return make(
        params,
        lambda step: options["lr"],
        momentum=options["momentum"],
        weight_decay=options["weight_decay"],
        clip_norm=clip.get("max_norm"),
    )


@pytest.mark.parametrize("name", ["tsm_r18_train", "tsm_r18_train_clip", "tsn_r50_train"])
def test_gradients_and_optimizer_steps(name):
    case = g.case(name)
    variables, inputs = g.variables(case["model"]), g.clips(case["inputs"])
    optimizer = optimizer_of(case, variables["params"])
    step, opt_state = gradient_step(model_of(case), optimizer), optimizer.init(variables["params"])
    for number, expected in enumerate(case["steps"]):
        before = variables
        variables, opt_state, (value, logits, gradients) = step(variables, opt_state, inputs["imgs"], inputs["labels"])
        np.testing.assert_allclose(value, expected["losses"]["loss"], rtol=1e-4)
        close(logits, g.arrays(name)["train_logits" + ("_step2" if number else "")], of_max=1e-4)
        np.testing.assert_allclose(optax.tree.norm(gradients), expected["grad_total_norm"], rtol=1e-3)
        check_gradients(gradients, expected["grads"])
        check_parameters(before, variables, expected["after"])


def check_gradients(gradients, expected):
    largest = max(row[0] for row in expected.values())
    for key, (l2, _, dot, _) in expected.items():
        gradient = g.leaf(gradients, g.place(key)[1])
        np.testing.assert_allclose(np.linalg.norm(gradient), l2, rtol=1e-2, atol=1e-4 * largest, err_msg=key)
        np.testing.assert_allclose(g.probe(key, gradient), dot, rtol=0, atol=5e-2 * l2 + 1e-4 * largest, err_msg=key)


def check_parameters(before, after, expected):
    largest = max(row[2] for row in expected.values())
    for key, (l2, dot, delta_l2, delta_dot) in expected.items():
        if (where := g.place(key)) is None:
            continue
        value = g.leaf(after[where[0]], where[1])
        delta = value.astype(np.float64) - g.leaf(before[where[0]], where[1])
        scale = max(delta_l2, 1e-4 * largest)
        np.testing.assert_allclose(np.linalg.norm(value), l2, rtol=1e-5, err_msg=key)
        # What a sign flip at a ReLU moves the step by, the parameter moves by too.
        np.testing.assert_allclose(g.probe(key, value), dot, rtol=0, atol=1e-5 * l2 + 5e-2 * scale, err_msg=key)
        np.testing.assert_allclose(np.linalg.norm(delta), delta_l2, rtol=0, atol=1e-2 * scale, err_msg=key)
        np.testing.assert_allclose(g.probe(key, delta), delta_dot, rtol=0, atol=5e-2 * scale, err_msg=key)


def test_trajectory_of_twenty_steps():
    case = g.case("tsm_r18_trajectory")
    variables, inputs = g.variables("tsm_r18"), g.clips(case["inputs"])
    options = case["optimizer"]
    schedule = lambda step: options["lr"] * jnp.where(step >= case["lr_milestones"][0], case["lr_gamma"], 1.0)
    optimizer = tsm_optimizer(variables["params"], schedule, momentum=0.9, weight_decay=1e-4, clip_norm=20.0)
    step, opt_state = gradient_step(MODELS["tsm_r18"], optimizer), optimizer.init(variables["params"])
    losses = []
    for number in range(20):
        batch = number % 4
        variables, opt_state, (value, _, _) = step(
            variables, opt_state, inputs[f"imgs{batch}"], inputs[f"labels{batch}"]
        )
        losses.append(float(value))
    np.testing.assert_allclose(losses, g.arrays("tsm_r18_trajectory")["losses"], rtol=1e-3)
    logits = MODELS["tsm_r18"].apply(variables, inputs["imgs0"])
    close(logits, g.arrays("tsm_r18_trajectory")["final_logits"], of_max=5e-3)


def test_temporal_shift_matches_golden():
    arrays = g.arrays("ops_shift")
    for number, config in g.case("ops_shift")["configs"].items():
        x, y = (arrays[f"{name}{number}"].transpose(0, 2, 3, 1) for name in "xy")
        out = temporal_shift(jnp.asarray(x), num_segments=config["num_segments"], shift_div=config["shift_div"])
        np.testing.assert_allclose(out, y, rtol=1e-6)


def test_parameter_groups_match_golden():
    for name, expected in g.case("tsm_param_groups")["models"].items():
        model, _, variant = name.partition("/")
        params = g.variables(model)["params"]
        groups = param_groups(params, tsm_rules(fc_lr5=variant != "fc_lr5_false"))
        by_path = {path: group for group, paths in groups.members.items() for path in paths}
        for key, (_, group, lr_mult, decay_mult) in expected["params"].items():
            path = g.place(key)[1]
            assert by_path[path] == group, key
            assert (g.leaf(groups.lr_mult, path), g.leaf(groups.decay_mult, path)) == (lr_mult, decay_mult)
        assert len(by_path) == len(expected["params"])
