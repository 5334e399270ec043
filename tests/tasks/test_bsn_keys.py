"""Every key of BSN's and BMN's sections has an effect: without it something else happens."""

import json
import shutil

import jax
import numpy as np
import pytest
from drawn import drawn_variables
from learning import FIRST, network_of, small
from observing import digest, merged, nested, network
from safetensors.numpy import load_file, save_file

import actjax
from actjax.data.samples.sequences import make_sequences
from actjax.models import export_checkpoint
from actjax.tables import write_table
from actjax.tasks.bsn.inference import TEM_HEADER

NETWORKS = {
    "tem": {
        "model.temporal_scale": 50, "model.feat_dim": 40, "model.hidden_dim": 24, "model.output_factor": 0.2,
        "model.dtype": "bfloat16", "loss.match_threshold": 0.4, "loss.action_weight": 3.0,
    },
    "pem": {
        "model.hidden_dim": 24, "model.fc1_factor": 0.2, "model.fc2_factor": 0.3, "model.dtype": "bfloat16",
        "loss.sampled": True, "loss.high": 0.8, "loss.low": 0.3, "loss.medium_ratio": 2.0, "loss.low_ratio": 3.0,
        "nms.alpha": 0.6, "nms.low_threshold": 0.5, "nms.high_threshold": 0.8, "nms.top_k": 30,
    },
    "bmn": {
        "model.temporal_scale": 24, "model.feat_dim": 40, "model.boundary_ratio": 0.4, "model.num_samples": 8,
        "model.num_samples_per_bin": 2, "model.hidden_dim_1d": 12, "model.hidden_dim_2d": 12,
        "model.hidden_dim_3d": 12, "model.sampling": "gather", "model.dtype": "bfloat16", "loss.match_threshold": 0.4,
        "loss.regression_weight": 5.0, "loss.classification_weight": 2.0, "loss.peak_threshold": 0.3,
        "loss.exact_sampling": True, "nms.alpha": 0.6, "nms.low_threshold": 0.6, "nms.high_threshold": 0.8,
        "nms.top_k": 30,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sequences(tmp_path_factory.mktemp("keys") / "sequences", num_train=48, num_val=16)


def same_without(keys: dict, see) -> list[str]:
    """The keys that change nothing; a config may also be refused without one."""

    def seen(keys: dict) -> str:
        try:
            return see(keys)
        except ValueError as error:
            return str(error)

    whole = see(keys)
    return [key for key in keys if seen({other: value for other, value in keys.items() if other != key}) == whole]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_key_of_a_network_has_an_effect(name):
    see = lambda keys: network(network_of(name, keys))
    assert same_without(NETWORKS[name], see) == []


@pytest.fixture(scope="module")
def curves(folder, tmp_path_factory):
    """Curves of 100 steps for every video, as of another program."""
    made, rng, times = tmp_path_factory.mktemp("curves"), np.random.default_rng(0), np.arange(101) / 100
    for file in (folder / "features").iterdir():
        write_table(made / file.name, TEM_HEADER, np.column_stack([rng.random((100, 3)), times[:-1], times[1:]]))
    return made


SAMPLE = {"data.folder": "{folder}"}
PGM = {
    "pgm.peak_threshold": 0.9, "pgm.top_k_train": 20, "pgm.top_k": 30, "pgm.bsp_boundary_ratio": 0.4,
    "pgm.num_sample_start": 4, "pgm.num_sample_end": 5, "pgm.num_sample_action": 6, "pgm.num_sample_interp": 2,
    "pem.model.feat_dim": 15,
}  # fmt: skip


def test_every_key_between_the_networks_has_an_effect(folder, curves, tmp_path_factory):
    """Nothing is trained: the curves come from elsewhere."""

    def see(keys: dict) -> str:
        workdir, given = tmp_path_factory.mktemp("run"), {"stages": "pgm", "tem.results": str(curves)}
        actjax.train(nested(merged(small("pem")[1], SAMPLE | given | keys), folder=folder), workdir)
        files = sorted(file for file in (workdir / "pgm").rglob("v_*") if file.is_file())
        return digest([file.name.encode() + file.read_bytes() for file in files])

    assert same_without(PGM, see) == []


TRAINED = {
    "own": {
        "data.name": "activitynet", "data.features": "{folder}/mended", "data.train": "{folder}/all.json",
        "data.val": "{folder}/all.json", "data.video_info": "{folder}/info.csv", "data.max_missing": 0.2,
        "data.subsets": ("fit", "score"),
        "data.rescale": "pooled", "tem.labels.boundary_ratio": 0.3, "loader.skip": "{folder}/skip.jsonl",
        "loader.max_broken": 0.0,
    },
    "sample": {
        "data.folder": "{folder}-small", "data.num_train": 32, "data.num_val": 10, "data.seed": 2,
        "data.rescale": "pooled",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def own(folder):
    """One file for both splits, a table that tells them apart, a video that is missing, and one that is broken."""
    parts = [json.loads((folder / f"anet_anno_{split}.json").read_text()) for split in ("train", "val")]
    (folder / "all.json").write_text(json.dumps(parts[0] | parts[1]))
    subsets = zip(("fit", "score"), parts, strict=True)
    table = [
        f"{name},{row['duration_frame']},{row['duration_second']},{row['fps']},{row['fps']},{subset},{row['feature_frame']}"
        for subset, part in subsets
        for name, row in part.items()
    ]
    (folder / "info.csv").write_text("\n".join(["video,numFrame,seconds,fps,rfps,subset,featureFrame", *table]))
    shutil.copytree(folder / "features", folder / "mended")
    (folder / "mended" / "v_train_0001.csv").unlink()
    broken = folder / "mended" / "v_train_0002.csv"
    broken.write_text("f0,f1\n1,oops\n")
    (folder / "skip.jsonl").write_text(json.dumps({"path": str(broken.with_suffix("")), "reason": "known"}) + "\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", TRAINED)
def test_every_key_of_the_data_has_an_effect(case, own, tmp_path_factory):
    """A few steps of TEM, whose losses tell."""
    base = small("tem")[1] | SAMPLE | {"stages": "tem", "tem.model.temporal_scale": 20, "tem.model.hidden_dim": 4}
    base |= {"tem.run.log_every": 1, "tem.run.batch_size": 8, "tem.run.epochs": 1.0}

    def see(keys: dict) -> str:
        workdir = tmp_path_factory.mktemp("run")
        try:
            actjax.train(nested(merged(base, keys), folder=own), workdir)
        except (FileNotFoundError, RuntimeError) as error:
            return str(error)
        rows = [json.loads(line) for line in (workdir / "tem" / "metrics.jsonl").read_text().splitlines()]
        return digest([row["loss"] for row in rows])

    assert same_without(TRAINED[case], see) == []


@pytest.mark.slow
def test_a_run_detects_as_told(own, tmp_path):
    """BMN with class scores: detections of its own number of classes, from the checkpoint that the config names."""
    sizes = {
        "bmn.run.epochs": 4.0,
        "bmn.run.eval_every": 1.0,
        "bmn.optim.lr": 0.1,
        "bmn.checkpoint": "best",
        "detect.top_classes": 3,
    }
    data = {"data.name": "activitynet", "data.features": "{folder}/features",
            "data.train": "{folder}/anet_anno_train.json", "data.val": "{folder}/anet_anno_val.json",
            "data.class_scores": "{folder}/class_scores.json"}  # fmt: skip
    results = actjax.train(nested(merged(small("bmn")[1], data | sizes), folder=own), tmp_path)
    rows = json.loads((tmp_path / "results_detections.json").read_text())["results"]["val_0000"]
    assert len({row["label"] for row in rows}) == 3 and 0 <= results["average_mAP"] <= 1
    assert actjax.evaluate(tmp_path, detect=dict(top_classes=1))["average_mAP"] != results["average_mAP"]
    found = [json.loads(line) for line in (tmp_path / "bmn" / "metrics.jsonl").read_text().splitlines()]
    assert results["auc"] == pytest.approx(max(row["auc"] for row in found if row["split"] == "val"))


@pytest.mark.parametrize("name", FIRST)
def test_training_starts_from_a_file(name, tmp_path):
    """`load_from` of every network: all of a file; what it lacks, drawn by the seed, unless it must be whole."""
    model = network_of(name, {}).model
    export_checkpoint(drawn_variables(model), model, tmp_path / "whole.safetensors")
    tensors = load_file(tmp_path / "whole.safetensors")
    kernels = sorted(key for key in tensors if tensors[key].ndim > 1)
    missing = kernels[len(kernels) // 2]
    save_file({key: value for key, value in tensors.items() if key != missing}, tmp_path / "part.safetensors")

    def start(**keys) -> str:
        return digest(network_of(name, {f"load_from.{key}": value for key, value in keys.items()}).initial(tmp_path)())

    part = str(tmp_path / "part.safetensors")
    assert start(path=str(tmp_path / "whole.safetensors")) == digest(drawn_variables(model)) != start(path=part)
    assert start(path=part) != start(path=part, seed=3)
    with pytest.raises(ValueError, match="part.safetensors"):
        start(path=part, strict=True)


@pytest.mark.parametrize("name", FIRST)
def test_averaged_weights_of_a_file_are_taken_if_asked(name, tmp_path):
    """Here they have a prefix of their own, beside the plain ones."""
    model = network_of(name, {}).model
    plain = drawn_variables(model)
    export_checkpoint(plain, model, tmp_path / "plain.safetensors")
    tensors = load_file(tmp_path / "plain.safetensors")
    averaged = {f"model_ema.{key}": np.asarray(value / 2, value.dtype) for key, value in tensors.items()}
    save_file({f"model.{key}": value for key, value in tensors.items()} | averaged, tmp_path / "both.safetensors")
    for ema, factor in ((None, 1.0), (False, 1.0), (True, 0.5)):
        keys = {"load_from.path": str(tmp_path / "both.safetensors"), "load_from.ema": ema}
        found = network_of(name, keys).initial(tmp_path)()
        assert digest(found) == digest(jax.tree.map(lambda value, factor=factor: value * np.float32(factor), plain))


@pytest.mark.slow
def test_stages_use_the_checkpoints_that_are_named(own, tmp_path):
    """BSN on own data with class scores; rates that let the last checkpoint be another one than the best."""
    keys = {"data.name": "activitynet", "data.features": "{folder}/features",
            "data.train": "{folder}/anet_anno_train.json", "data.val": "{folder}/anet_anno_val.json",
            "data.class_scores": "{folder}/class_scores.json", "detect.top_classes": 3}  # fmt: skip
    for stage, rate in (("tem", 0.3), ("pem", 0.1)):
        keys |= {f"{stage}.run.epochs": 4.0, f"{stage}.run.eval_every": 1.0, f"{stage}.optim.lr": rate}
    base, curves = small("pem")[1], []
    for which in ("best", "latest"):
        named = {f"{stage}.checkpoint": which for stage in ("tem", "pem")}
        results = actjax.train(nested(merged(base, keys | named), folder=own), tmp_path / which)
        files = sorted((tmp_path / which / "tem" / "tem_results").iterdir())
        curves.append([file.read_text() for file in files])
        rows = {stage: _rows(tmp_path / which / stage, score) for stage, score in (("tem", "loss"), ("pem", "auc"))}
        chosen = max(rows["pem"]) if which == "best" else rows["pem"][-1]
        assert results["auc"] == pytest.approx(chosen) and "average_mAP" in results
    assert (curves[0] == curves[1]) == (min(rows["tem"]) == rows["tem"][-1])
    detections = json.loads((tmp_path / "best" / "results_detections.json").read_text())["results"]
    assert {len({row["label"] for row in found}) for found in detections.values() if found} == {3}


def _rows(folder, score: str) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row[score] for row in rows if row["split"] == "val"]


def test_the_stem_of_an_ssn_for_flow_is_inflated(tmp_path):
    model = network_of("ssn", {}).model
    export_checkpoint(drawn_variables(model), model, tmp_path / "rgb.safetensors")
    flow = {"sample.modality": "Flow", "sample.stack": 2, "model.num_segments": 2, "model.mean": (128.0,),
            "model.std": (128.0,), "load_from.path": str(tmp_path / "rgb.safetensors")}  # fmt: skip
    drawn, inflated = (
        network_of("ssn", flow | {"load_from.inflate_stem": way}).initial(tmp_path)() for way in (False, True)
    )
    stems = [variables["params"]["backbone"]["stem"]["conv"]["kernel"] for variables in (drawn, inflated)]
    assert stems[0].shape == stems[1].shape and stems[1].shape[2] == 4
    np.testing.assert_allclose(stems[1], np.broadcast_to(stems[1][:, :, :1], stems[1].shape))
    assert (stems[0] != stems[1]).any()
