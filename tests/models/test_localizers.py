"""TEM, PEM and BMN equal the reference: outputs, losses, gradients, parameters after optimizer steps, proposals."""

import functools

import golden_models as g
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from actjax.localization import (
    actionness_labels,
    boundary_labels,
    boundary_matching_proposals,
    bsp_feature,
    candidate_proposals,
    inside_video,
    iou_map,
    match,
    post_processing,
)
from actjax.losses import binary_logistic_regression, bmn_classification, bmn_regression, proposal_regression
from actjax.models import BMN, PEM, TEM, export_checkpoint, import_checkpoint, initialize
from actjax.models.bmn import sampling_table
from actjax.tasks.bsn.task import bmn, pem, tem
from actjax.training import adam

SMALL_BMN = BMN(temporal_scale=20, feat_dim=16, num_samples=8, hidden_dim_1d=32, hidden_dim_2d=16, hidden_dim_3d=64)
MODELS = {
    "bsn_tem": TEM(),
    "bsn_tem_small": TEM(temporal_scale=20, feat_dim=16, hidden_dim=32),
    "bsn_pem": PEM(),
    "bmn": BMN(),
    "bmn_small": SMALL_BMN,
}
PEM_NMS = dict(alpha=0.75, low_threshold=0.65, high_threshold=0.9, top_k=100)
BMN_NMS = dict(alpha=0.4, low_threshold=0.5, high_threshold=0.9, top_k=100)


def tem_case(name):
    arrays = g.arrays(name)
    scale = MODELS[name].temporal_scale
    feature = g.clips(g.case(name)["inputs"])["raw_feature"].transpose(0, 2, 1)
    labels = [actionness_labels(arrays[f"gt{i}"], temporal_scale=scale) for i in range(len(feature))]
    return tem(MODELS[name]), {"feature": feature, "label": np.stack(labels)}


def pem_case(name):
    inputs = g.clips(g.case(name)["inputs"])
    shape = inputs["reference_temporal_iou"].shape
    batch = {"feature": inputs["bsp_feature"], "iou": inputs["reference_temporal_iou"], "given": np.ones(shape, bool)}
    return pem(MODELS[name], nms=PEM_NMS), batch


def bmn_case(name):
    arrays = g.arrays(name)
    feature = g.clips(g.case(name)["inputs"])["raw_feature"].transpose(0, 2, 1)
    truth = [arrays[f"gt{i}"] for i in range(len(feature))]
    batch = {
        "feature": feature,
        "label": np.stack([boundary_labels(segments, temporal_scale=20) for segments in truth]),
        "ious": np.stack([iou_map(segments, temporal_scale=20) for segments in truth]),
    }
    return bmn(MODELS[name], nms=BMN_NMS, exact_sampling=True), batch


CASES = {"bsn_tem": tem_case, "bsn_tem_small": tem_case, "bsn_pem": pem_case, "bmn_small": bmn_case}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_gradients_and_adam_steps(name, dtype, monkeypatch):
    """In float32 the first gradients; in float64 all steps: Adam follows the sign of gradients that are nearly 0."""
    with jax.enable_x64(dtype == "float64"):
        monkeypatch.setitem(MODELS, name, MODELS[name].clone(dtype=dtype))
        case, share = g.case(name), {"float32": 1e-3, "float64": 1e-4}[dtype]
        steps = steps_of(name, dtype, monkeypatch)
        for number, expected in enumerate(case["steps"]):
            results = next(steps)
            if number == 0 or dtype == "float64":
                check_step(expected, results, share)
            if number == 0:
                check_parts(name, case, results["parts"])


def steps_of(name, dtype, monkeypatch):
    """What every step of training gives."""
    options = g.case(name)["optimizer"]
    task, batch = CASES[name](name)
    to_dtype = lambda x: x.astype(dtype) if x.dtype == np.float32 else x
    batch = batch | {"feature": to_dtype(batch["feature"])}
    start = params = jax.tree.map(to_dtype, g.variables(name)["params"])
    if name == "bmn_small":
        draws = np.stack([g.arrays(name)["draw_medium"], g.arrays(name)["draw_low"]])
        uniform = jax.random.uniform
        given = lambda key, shape, *bounds: jnp.asarray(draws) if shape == draws.shape else uniform(key, shape, *bounds)
        monkeypatch.setattr(jax.random, "uniform", given)
    optimizer = adam(params, lambda step: options["lr"], weight_decay=options["weight_decay"])

    @jax.jit
    def step(params, opt_state):
        def loss(params):
            losses, _, parts = task.loss({"params": params}, batch, jax.random.key(0))
            return losses.mean(), jax.tree.map(jnp.mean, parts)

        (value, parts), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
        return params, opt_state, dict(loss=value, parts=parts, gradients=gradients)

    opt_state = optimizer.init(params)
    while True:
        params, opt_state, results = step(params, opt_state)
        yield results | {"params": params, "start": start}


def check_step(expected, results, share):
    np.testing.assert_allclose(results["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(optax.tree.norm(results["gradients"]), expected["grad_total_norm"], rtol=share)
    largest = max(row[0] for row in expected["grads"].values())
    for key, (l2, _, dot, _) in expected["grads"].items():
        gradient = g.leaf(results["gradients"], g.place(key)[1])
        np.testing.assert_allclose(np.linalg.norm(gradient), l2, rtol=share, atol=1e-6 * largest, err_msg=key)
        np.testing.assert_allclose(g.probe(key, gradient), dot, atol=share * l2 + 1e-6 * largest, err_msg=key)
    for key, (l2, _, delta_l2, delta_dot) in expected["after"].items():
        value = g.leaf(results["params"], g.place(key)[1]).astype(np.float64)
        delta = value - g.leaf(results["start"], g.place(key)[1])
        np.testing.assert_allclose(np.linalg.norm(value), l2, rtol=1e-5, err_msg=key)
        np.testing.assert_allclose(np.linalg.norm(delta), delta_l2, rtol=10 * share, err_msg=key)
        np.testing.assert_allclose(g.probe(key, delta), delta_dot, atol=10 * share * delta_l2, err_msg=key)


def check_parts(name, case, parts):
    names = dict(loss_boundary="tem_loss", loss_regression="pem_reg_loss", loss_classification="pem_cls_loss")
    for part, value in parts.items():
        expected = case["losses"][names[part] if name == "bmn_small" else part]
        np.testing.assert_allclose(value, expected, rtol=1e-5, err_msg=part)


@pytest.mark.parametrize("name", ["bsn_tem", "bsn_tem_small"])
def test_curves_labels_and_scores_of_tem(name):
    task, batch = tem_case(name)
    arrays = g.arrays(name)
    curves = np.asarray(jax.jit(task.predict)(g.variables(name), batch)["curves"])
    np.testing.assert_allclose(curves, arrays["output"], atol=1e-5)
    np.testing.assert_allclose(curves[0].T, arrays["test_row0"][:, :3], atol=1e-5)
    expected = np.stack([arrays[f"label_{part}"] for part in ("action", "start", "end")], axis=1)
    np.testing.assert_allclose(batch["label"], expected, atol=1e-6)
    scores = task.score({"curves": curves}, batch)
    for part, value in g.case(name)["losses"].items():
        np.testing.assert_allclose(scores[part], value, rtol=1e-5)


def test_scores_and_proposals_of_pem():
    task, batch = pem_case("bsn_pem")
    arrays, case = g.arrays("bsn_pem"), g.case("bsn_pem")
    variables = g.variables("bsn_pem")
    scores = jax.jit(PEM().apply)(variables, batch["feature"])
    np.testing.assert_allclose(scores.reshape(-1, 1), arrays["output"], atol=1e-5)
    names = ("test_tmin", "test_tmax", "test_tmin_score", "test_tmax_score")
    test = {
        "feature": arrays["test_feature"].astype(np.float32),
        "proposal": np.stack([arrays[name] for name in names], axis=-1).astype(np.float32),
        "given": np.ones((1, 30), bool),
    }
    out = jax.tree.map(np.asarray, jax.jit(task.predict)(variables, test))
    rows = out["proposals"][out["found"]]
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    info = case["test_video_meta"]
    seconds = info["duration_frame"] // 16 * 16 / info["duration_frame"] * info["duration_second"]
    np.testing.assert_allclose(rows[:, 2], arrays["test_scores"], rtol=1e-4)
    segments = np.clip(rows[:, :2], 0, 1) * seconds
    np.testing.assert_allclose(segments, arrays["test_segments"], atol=1e-3)


@pytest.mark.parametrize("sampling", ["contract", "gather"])
def test_maps_of_bmn(sampling):
    arrays, (_, batch) = g.arrays("bmn_small"), bmn_case("bmn_small")
    maps = jax.jit(SMALL_BMN.clone(sampling=sampling).apply)(g.variables("bmn_small"), batch["feature"])
    confidence = np.stack([maps.regression, maps.classification], axis=1)
    np.testing.assert_allclose(confidence, arrays["confidence_map"], atol=1e-5)
    np.testing.assert_allclose(np.stack([maps.start, maps.end]), np.stack([arrays["start"], arrays["end"]]), atol=1e-5)


def test_the_ways_of_sampling_have_one_gradient():
    variables, (_, batch) = g.variables("bmn_small"), bmn_case("bmn_small")

    def total(params, sampling):
        maps = SMALL_BMN.clone(sampling=sampling).apply({"params": params}, batch["feature"])
        return maps.regression.mean() + (maps.classification**2).mean()

    gradients = [jax.jit(jax.grad(functools.partial(total, sampling=way)))(variables["params"]) for way in
                 ("contract", "gather")]  # fmt: skip
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(a).max() + 1e-9)


@pytest.mark.slow
def test_maps_of_the_published_bmn():
    arrays = g.arrays("bmn_full_eval")
    feature = g.clips(g.case("bmn_full_eval")["inputs"])["raw_feature"].transpose(0, 2, 1)
    maps = jax.jit(BMN().apply)(g.variables("bmn"), feature)
    confidence = np.stack([maps.regression, maps.classification], axis=1)
    np.testing.assert_allclose(confidence[:, :, ::10], arrays["confidence_map_every10"], atol=1e-5)
    expected = g.case("bmn_full_eval")["confidence_map"]
    np.testing.assert_allclose([confidence.mean(), confidence.std()], [expected["mean"], expected["std"]], rtol=1e-4)
    np.testing.assert_allclose(np.stack([maps.start, maps.end]), np.stack([arrays["start"], arrays["end"]]), atol=1e-5)


@pytest.mark.parametrize(("scale", "samples"), [(20, 8), (100, 32)])
def test_sampling_table_is_the_reference_mask(scale, samples):
    mask = np.asarray(sampling_table(scale, samples, 3, 0.5).mask(scale))
    inside = inside_video(scale)
    if scale == 20:
        expected = g.arrays("bmn_small")["sample_mask"].reshape(scale, samples, scale, scale)
    else:
        expected = g.fillrule.bmn_sample_mask(scale, samples, 3, 0.5).reshape(scale, samples, scale, scale)
    assert not expected[:, :, ~inside].any()
    np.testing.assert_allclose(mask, expected[:, :, inside].transpose(1, 0, 2), atol=1e-6)


def test_labels_of_bmn():
    arrays, (_, batch) = g.arrays("bmn_small"), bmn_case("bmn_small")
    inside = arrays["bm_mask"] > 0
    np.testing.assert_array_equal(inside_video(20), inside)
    np.testing.assert_allclose(batch["ious"], arrays["label_confidence"] * inside, atol=1e-6)
    expected = np.stack([arrays["label_start"], arrays["label_end"]], axis=1)
    np.testing.assert_allclose(batch["label"], expected, atol=1e-6)


def test_proposals_of_bmn():
    arrays, case = g.arrays("bmn_small"), g.case("bmn_small")
    confidence = arrays["confidence_map"][0]
    rows = boundary_matching_proposals(arrays["start"][0], arrays["end"][0], *confidence)
    out = post_processing(rows, case["test_video_meta"], *(BMN_NMS[key] for key in BMN_NMS))
    np.testing.assert_allclose([row["score"] for row in out], arrays["test_scores"], rtol=1e-9)
    np.testing.assert_allclose([row["segment"] for row in out], arrays["test_segments"], rtol=1e-9)


@pytest.mark.parametrize("name", g.case("bmn_loss")["configs"])
def test_bmn_losses(name):
    arrays = {key.partition("/")[2]: jnp.asarray(x) for key, x in g.arrays("bmn_loss").items() if key.startswith(name)}
    inside = inside_video(8)
    u = jnp.stack([arrays["draw0"], arrays["draw1"]])

    def losses(pred, start, end):
        boundary = binary_logistic_regression(start, arrays["gt_start"]) + binary_logistic_regression(
            end, arrays["gt_end"]
        )
        regression = bmn_regression(pred[:, 0], arrays["gt"] * inside, u=u, exact_sampling=True)
        classification = bmn_classification(pred[:, 1], arrays["gt"] * inside, inside)
        parts = jnp.stack([boundary.mean(), regression.mean(), classification.mean()])
        return parts @ jnp.array([1.0, 10.0, 1.0]), parts

    inputs = (arrays["pred"], arrays["start"], arrays["end"])
    (total, parts), gradients = jax.value_and_grad(losses, argnums=(0, 1, 2), has_aux=True)(*inputs)
    np.testing.assert_allclose([total, *parts], arrays["losses"], rtol=1e-5)
    for gradient, key in zip(gradients, ("d_pred", "d_start", "d_end"), strict=True):
        np.testing.assert_allclose(gradient, arrays[key], atol=1e-5 * np.abs(arrays[key]).max())


def test_sampling_of_bmn_is_mended_by_default():
    """With more high cells than medium and low ones, all of these count once and nothing else does."""
    rng = np.random.default_rng(0)
    ious = np.where(rng.random((2, 8, 8)) < 0.6, 0.8, 0.2) * inside_video(8)
    confidence, u = rng.random((2, 8, 8)), rng.random((2, 2, 8, 8))
    squares = ((confidence - ious) ** 2)[ious > 0]
    np.testing.assert_allclose(bmn_regression(confidence, ious, u=u).mean(), 0.5 * squares.mean())
    assert not bmn_regression(confidence, np.minimum(ious, 0.5), u=u).any()  # no high cell: 0, not NaN


@pytest.mark.parametrize("name", [key for key in g.case("losses")["cases"] if key.startswith("blr")])
def test_binary_logistic_regression(name):
    arrays = {key.rpartition("/")[2]: jnp.asarray(x) for key, x in g.arrays("losses").items() if key.startswith(name)}
    options = dict(threshold=0.8, ratio_range=(1.5, 3)) if "thr0.8" in name else {}
    loss = lambda score: binary_logistic_regression(score, arrays["label"], **options).mean()
    value, gradient = jax.value_and_grad(loss)(arrays["score"])
    np.testing.assert_allclose(value, arrays["loss"][0], rtol=1e-5)
    np.testing.assert_allclose(gradient, arrays["d_score"], atol=1e-5 * np.abs(arrays["d_score"]).max())


def test_loss_of_pem_is_finite_without_high_proposals_and_can_be_sampled():
    rng = np.random.default_rng(0)
    scores, ious, u = rng.random((3, 4, 60))
    given = np.ones((4, 60), bool)
    assert np.isfinite(proposal_regression(scores, ious / 2, given)).all()
    padded = [np.pad(x, ((0, 0), (0, 9))) for x in (scores, ious, given)]
    np.testing.assert_allclose(proposal_regression(*padded), proposal_regression(scores, ious, given))
    # All high ones, as many medium ones, twice as many low ones: with draws of 0 all there are.
    everything = proposal_regression(scores, ious, given, u=np.zeros_like(u))
    np.testing.assert_allclose(everything, proposal_regression(scores, ious, given))
    few = proposal_regression(scores, ious, given, u=np.ones_like(u), high=0.95)
    error = np.abs(scores - ious)[ious > 0.95]
    np.testing.assert_allclose(few.mean(), 0.5 * (error**2).mean())


def test_chain_from_curves_to_proposals():
    """TEM's curves -> PGM -> PEM -> soft-NMS, float32 between the stages as in the reference's files."""
    case, arrays = g.case("bsn_pipeline"), g.arrays("bsn_pipeline")
    variables = g.variables(case["pem_weights"])
    for number, info in enumerate(case["video_infos"]):
        curves = arrays[f"tem{number}"].astype(np.float32)
        proposals = candidate_proposals(curves[:, 1], curves[:, 2], peak_threshold=case["peak_threshold"])
        covered = info["feature_frame"] / info["duration_frame"] * info["duration_second"]
        truth = np.array([row["segment"] for row in info["annotations"]]) / covered
        rows = np.concatenate([proposals, match(proposals, truth)], axis=1)
        np.testing.assert_allclose(rows, arrays[f"proposals{number}"], atol=1e-6)
        options = {key: value for key, value in case["bsp"].items() if key != "top_k"}
        best = rows[: case["bsp"]["top_k"]].astype(np.float32)
        features = bsp_feature(curves[:, 0], best, **options)
        np.testing.assert_allclose(features, arrays[f"bsp{number}"], atol=1e-5)
        scores = jax.jit(PEM().apply)(variables, features[None].astype(np.float32))[0]
        scored = np.concatenate([best[:, :2], (scores * best[:, 2] * best[:, 3])[:, None]], axis=1)
        out = post_processing(scored, info, *(PEM_NMS[key] for key in PEM_NMS))
        np.testing.assert_allclose([row["score"] for row in out], arrays[f"final_scores{number}"], rtol=1e-4)
        np.testing.assert_allclose([row["segment"] for row in out], arrays[f"final_segments{number}"], atol=1e-4)


@pytest.mark.parametrize("name", ["bsn_tem_small", "bsn_pem", "bmn_small"])
def test_import_and_export(name, tmp_path):
    """A file in the reference's layout, sample mask and all, gives the golden weights, and is written again."""
    import safetensors.numpy

    tensors = dict(g.fillrule.state_dict(g.json.loads((g.FOLDER / "manifests" / f"{name}.json").read_text())))
    safetensors.numpy.save_file(tensors, tmp_path / "theirs.safetensors")
    imported = import_checkpoint(tmp_path / "theirs.safetensors", MODELS[name], strict=True)
    jax.tree.map(np.testing.assert_array_equal, imported.variables["params"], dict(g.variables(name)["params"]))
    export_checkpoint(imported.variables, MODELS[name], tmp_path / "ours.safetensors")
    again = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    tensors.pop("sample_mask", None)
    assert again.keys() == tensors.keys()
    for key, value in tensors.items():
        np.testing.assert_array_equal(again[key], value)


@pytest.mark.parametrize("name", MODELS)
def test_initialisation_is_that_of_torch(name):
    """Weights and biases uniform in +-1 / sqrt(fan_in)."""
    variables = jax.eval_shape(lambda: initialize(MODELS[name], key=jax.random.key(0)))
    assert set(variables) == {"params"}
    if name == "bmn":
        return
    params = initialize(MODELS[name], key=jax.random.key(0))["params"]
    for module, leaves in params.items():
        bound = np.prod(leaves["kernel"].shape[:-1]) ** -0.5
        for leaf in jax.tree.leaves(leaves):
            assert np.abs(leaf).max() <= bound * 1.0001, module
        assert np.abs(leaves["kernel"]).max() > 0.9 * bound, module
