"""Modes and keys that training does not read: explain, extract, prepare, and what a loader does with bad files."""

import functools
import json
import pathlib

import numpy as np
import pytest
from cli import run
from drawn import drawn
from learning import small
from observing import batches, digest, merged, nested

import actjax
from actjax.data.datasets.annotations import load_annotations
from actjax.data.prepared.index import BLOCK, HEADER, load_index
from actjax.data.prepared.reading import open_shard
from actjax.data.samples.untrimmed_shapes import make_untrimmed
from actjax.door import run_mode
from actjax.tasks.opening import open_config, open_workdir
from actjax.training import save_variables


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "titles"), [("bsn_sample", ("tem", "pem")), ("bmn_sample", ("bmn",)), ("ssn_sample", ("",))]
)
def test_explain(recipe, titles, cache):
    printed = run("--mode=explain", f"--config={recipe}", cache=cache)
    assert printed.count("memory per device") == len(titles) and "optim.lr = " in printed
    assert all(title in printed for title in titles)


@pytest.fixture(scope="module")
def videos(shapes):
    """An own config of eight videos to train on and eight to validate on, by keys."""
    records = [load_annotations("videos", shapes / f"{split}.txt")[:8] for split in ("train", "val")]
    for split, part in zip(("train", "val"), records, strict=True):
        lines = ["path,label", *(f"{record.path},{record.label}" for record in part)]
        (shapes.parent / f"{split}_8.csv").write_text("\n".join(lines) + "\n")
    data = {"data.name": "videos", "data.train": "{folder}/train_8.csv", "data.val": "{folder}/val_8.csv"}
    tiny = {"model.name": "TSM", "model.num_classes": 8, "model.arch": "outside_nets:TinyNet"}
    return functools.partial(nested, folder=shapes.parent), merged(small("recognition")[1], data | tiny)


EXTRACT = {"interval": 8, "num_frames": 2, "what": "embedding", "suffix": ".npy", "chunk": 3}


def test_features_are_extracted_as_told(videos, tmp_path):
    made, keys = videos
    opened = open_config(made(keys), {}, workdir=tmp_path / "run")
    network = opened.run.network
    start = lambda: drawn(network.task.init)
    save_variables(network.task, network.optimizer, network.settings, tmp_path / "run", start)
    (tmp_path / "run" / "config.json").write_text(opened.config.to_json_best_effort())
    (tmp_path / "run" / "class_names.json").write_text(json.dumps([str(k) for k in range(8)]))

    def extracted(name: str, options: dict) -> dict[str, np.ndarray]:
        again = open_workdir(tmp_path / "run", {"extract": options}, trust_code=True)
        run_mode("extract", again, tmp_path / "run", out=str(tmp_path / name))
        files = sorted(
            file
            for file in (tmp_path / name).iterdir()
            if file.suffix in (".npy", ".csv") and file.stem != "video_info"
        )
        read = lambda file: np.load(file) if file.suffix == ".npy" else np.loadtxt(file, delimiter=",", skiprows=1)
        return {file.name: np.atleast_2d(read(file)) for file in files}

    plain, told = extracted("plain", {}), extracted("told", EXTRACT)
    assert len(plain) == len(told) == 16
    for (name, scores), (other, features) in zip(plain.items(), told.items(), strict=True):
        assert name.endswith(".csv") and other.endswith(".npy")
        assert scores.shape[1] == 8 and features.shape[1] == 16  # classes, and what the classifier sees
        assert len(features) > len(scores)
    chunks, frames = (extracted(key, {key: EXTRACT[key]}) for key in ("chunk", "num_frames"))
    for name, scores in plain.items():
        np.testing.assert_allclose(chunks[name], scores, rtol=1e-4, atol=1e-5)
        assert not np.allclose(frames[name], scores, rtol=1e-4, atol=1e-5)


def test_a_set_is_prepared_as_told(videos, tmp_path):
    made, keys = videos

    def prepared(name: str, **options):
        changed = keys | {f"prepare.{key}": value for key, value in options.items()}
        run_mode("prepare", open_config(made(changed), {}), tmp_path / "run", out=str(tmp_path / name))
        files = list((tmp_path / name).glob("*train.array_record*"))
        record = load_annotations("prepared", tmp_path / name, split="train")[0]
        return len(files), record.open().size, sum(file.stat().st_size for file in files)

    plain, told = prepared("plain", short_side=48), prepared("told", short_side=24, num_shards=3)
    assert plain[:2] == (1, (48, 64)) and told[:2] == (3, (24, 32))
    assert prepared("coarse", short_side=48, quality=20)[2] < 0.7 * plain[2]


def _damage(folder, split: str, pictures=(20,)) -> None:
    """Another bit in some pictures of the third video of a split."""
    index = load_index(str(folder), split)
    for picture in pictures:
        _flip(index, *index.spans[index.columns["first_span"][2] + picture, 0, :2].tolist())
    load_index.cache_clear()
    open_shard.cache_clear()


def _flip(index, offset: int, length: int) -> None:
    block, place = divmod(int(index.columns["start"][2]) + offset + length // 2, BLOCK - HEADER)
    file = pathlib.Path(index.shards[0][0])
    data = bytearray(file.read_bytes())
    data[block * BLOCK + HEADER + place] ^= 16
    file.write_bytes(data)


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "earlier"])
def test_check_lists_what_is_damaged_in_a_prepared_set(videos, tmp_path, capsys, earlier):
    """The video with the damaged picture; in sets without checksums of pictures all videos of its shard."""
    made, keys = videos
    config = open_config(made(keys | {"prepare.num_shards": 2, "prepare.short_side": 24}), {})
    run_mode("prepare", config, tmp_path / "run", out=str(tmp_path / "set"))
    if earlier:
        for split in ("train", "val"):
            spans, metadata = (tmp_path / "set" / "index" / f"{split}{ending}" for ending in (".spans.npy", ".json"))
            np.save(spans, np.load(spans)[..., :2])
            content = json.loads(metadata.read_text())
            del content["index_sha256"]
            metadata.write_text(json.dumps(content))
    _damage(tmp_path / "set", "val")
    prepared = {key: value for key, value in keys.items() if not key.startswith("data.")}
    prepared |= {"data.name": "prepared", "data.folder": str(tmp_path / "set"), "loader.num_workers": 1}
    run_mode("check", open_config(made(prepared), {}), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "broken.jsonl").read_text().splitlines()]
    assert [row["path"].rpartition("/")[2] for row in rows] == [f"val#{k}" for k in (range(4) if earlier else [2])]
    assert all("damaged" in row["reason"] for row in rows)
    printed = capsys.readouterr().out
    assert "videos-val.array_record-00000-of-00002, with 4 videos, is damaged; copy the folder again" in printed
    assert f"train from it with --config=CONFIG --config.data.name=prepared --config.data.folder={tmp_path}" in printed
    assert printed.count("val#") == (0 if earlier else 1)  # the videos of a whole shard are in the list alone
    assert "train: 8 of 8 videos are sound" in printed


def test_a_damaged_picture_of_a_prepared_set_does_not_end_a_run(videos, tmp_path):
    """The video is quarantined with the reason, as far as `max_broken` allows."""
    made, keys = videos
    run_mode("prepare", open_config(made(keys), {}), tmp_path / "run", out=str(tmp_path / "set"))
    prepared = {key: value for key, value in keys.items() if not key.startswith("data.")}
    prepared |= {"data.name": "prepared", "data.folder": str(tmp_path / "set"), "loader.num_workers": 1}
    prepared |= {"run.batch_size": 8, "run.eval_batch_size": 8, "run.epochs": 4.0, "run.eval_every": 4.0}
    for split in ("train", "val"):
        _damage(tmp_path / "set", split, range(20))
    results = actjax.train(made(prepared | {"loader.max_broken": 0.5}), tmp_path / "trained")
    assert results["num_broken"]
    reasons = (tmp_path / "trained" / "quarantine.jsonl").read_text()
    assert "videos-train.array_record-00000-of-00001 is damaged" in reasons
    with pytest.raises(RuntimeError, match="is damaged"):
        actjax.train(made(prepared | {"loader.max_broken": 0.0}), tmp_path / "strict")


@pytest.mark.parametrize("task", ["recognition", "ssn"])
def test_loaders_do_with_broken_files_as_told(task, videos, tmp_path, tmp_path_factory):
    if task == "recognition":
        made, keys = videos
        lists = ["path,label", *(f"{tmp_path}/{k}.mp4,{k}" for k in range(8))]
        (tmp_path / "list.csv").write_text("\n".join(lists) + "\n")
        source = load_annotations("videos", made(keys)["data"]["train"])
        for k, record in enumerate(source):
            (tmp_path / f"{k}.mp4").symlink_to(record.path)
        keys = keys | {"data.train": str(tmp_path / "list.csv")}
        config, broken = made(keys), tmp_path / "3.mp4"
    else:
        folder = make_untrimmed(tmp_path / "set", num_train=4, num_val=4, processes=2)
        sizes = {"data.folder": str(folder), "data.num_train": 4, "data.num_val": 4}
        config, broken = nested(small("ssn")[1] | sizes), folder / "videos" / "train_0001.mp4"
    config["run"] |= dict(batch_size=8, eval_batch_size=8)

    def read(**loader) -> str:
        opened = actjax.build({**config, "loader": dict(num_workers=1) | loader})
        dataset = opened.open_dataset()
        more = (opened.targets(dataset),) if task == "ssn" else ()
        return batches(opened.loop_data(dataset, *more, tmp_path_factory.mktemp("run")))

    assert read() == read(max_broken=0.0)
    with pytest.raises(RuntimeError, match="none of the videos can be decoded|loader.max_broken=0.5"):
        read(timeout=1e-4, max_broken=0.5)
    broken.unlink()
    broken.write_text("no video")
    with pytest.raises(RuntimeError, match="loader.max_broken=0"):
        read(max_broken=0.0)
    (tmp_path / "skip.jsonl").write_text(json.dumps({"path": str(broken), "reason": "known"}) + "\n")
    assert read(max_broken=0.5) == read(max_broken=0.0, skip=str(tmp_path / "skip.jsonl"))
    assert digest(broken.read_text())
