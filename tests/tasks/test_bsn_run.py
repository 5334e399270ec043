"""BSN and BMN from files of features to scored proposals, as a user runs them."""

import errno
import functools
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import time
import types
from typing import NamedTuple

import numpy as np
import pytest
from cli import ROOT, command, environment, run

import actjax
from actjax.config.files import saved_config
from actjax.data.datasets.features import load_proposals
from actjax.data.loading import endings
from actjax.data.loading.endings import patiently
from actjax.data.samples.sequences import make_sequences
from actjax.mmaction2 import generate_bsp_feature, generate_candidate_proposals
from actjax.tables import read_table
from actjax.tasks.bsn.proposals import Pgm, generate
from actjax.tasks.bsn.run import splits_of
from actjax.tasks.stage_folder import StageFolder
from actjax.video.errors import Unreachable, VideoError

TINY = (
    "--config.data.num_train=48",
    "--config.data.num_val=16",
)
TINY_BSN = (
    "--config=bsn_sample",
    *TINY,
    "--config.tem.model.hidden_dim=16",
    "--config.tem.run.epochs=2.0",
    "--config.pem.run.epochs=2.0",
    "--config.pgm.top_k_train=40",
    "--config.pgm.top_k=60",
)
TINY_BMN = (
    "--config=bmn_sample",
    *TINY,
    "--config.bmn.model.temporal_scale=20",
    "--config.bmn.model.hidden_dim_1d=16",
    "--config.bmn.model.hidden_dim_2d=8",
    "--config.bmn.model.hidden_dim_3d=16",
    "--config.bmn.run.epochs=2.0",
)


@pytest.fixture(scope="module")
def bsn(tmp_path_factory, cache):
    workdir = tmp_path_factory.mktemp("runs") / "bsn"
    return workdir, run(*TINY_BSN, f"--workdir={workdir}", cache=cache)


def contents(folder) -> dict[str, bytes]:
    """The files of a run that its config decides over."""
    files = [*folder.rglob("v_*.csv"), *folder.rglob("v_*.npy"), *folder.glob("*_proposals.json")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_run_ends_with_tables_and_files(bsn):
    workdir, output = bsn
    assert "Traceback" not in output and "Warning" not in output
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in output.splitlines() if line.startswith("│ ")}
    assert set(rows) == {"proposals", "uniform", "ground truth"}
    results = json.loads((workdir / "results.json").read_text())
    assert float(rows["proposals"][-1]) == pytest.approx(results["auc"], abs=0.01)
    assert float(rows["uniform"][-1]) == pytest.approx(results["uniform_auc"], abs=0.01)
    assert results["ground_truth_auc"] > 95 and results["ground_truth_AR@100"] == 1
    assert results["num_videos"] == 16 and results["num_empty"] == 0
    assert 0 <= results["average_mAP"] <= 1 and {"mAP@0.50", "mAP@0.75", "mAP@0.95"} <= results.keys()
    official = json.loads((workdir / "results_proposals.json").read_text())
    assert set(official) == {"version", "results", "external_data"} and len(official["results"]) == 16
    assert all(len(rows) <= 100 for rows in official["results"].values())
    detections = json.loads((workdir / "results_detections.json").read_text())["results"]
    labels = {row["label"] for row in detections["val_0000"]}
    assert len(labels) == 2
    assert (workdir / "results_ar_an.png").stat().st_size > 10_000
    config = json.loads((workdir / "config.json").read_text())
    assert config["pgm"]["top_k"] == 60 and not list(workdir.glob("*.old"))


def test_the_official_command_line_agrees(bsn, cache):
    """What the run reports is what `actjax.metrics` makes of the files it wrote."""
    workdir, _ = bsn
    (folder,) = cache.glob("sequences-48-16-*")
    from actjax.metrics import evaluate_proposals, load_activitynet, load_results, proposal_numbers

    truth = load_activitynet(folder / "anet_anno_val.json")
    score = evaluate_proposals(truth, load_results(workdir / "results_proposals.json"))
    results = json.loads((workdir / "results.json").read_text())
    for name, value in proposal_numbers(score).items():
        assert results[name] == pytest.approx(value)


def test_files_between_stages_are_those_of_the_reference(bsn, cache):
    """The functions under the reference's names read them, and make the next stage's files from them."""
    workdir, _ = bsn
    (folder,) = cache.glob("sequences-48-16-*")
    curves, proposals, features = (
        workdir / "tem" / "tem_results", workdir / "pgm" / "pgm_proposals", workdir / "pgm" / "pgm_features"
    )  # fmt: skip
    assert len(list(curves.iterdir())) == len(list(proposals.iterdir())) == len(list(features.iterdir())) == 64
    infos = [{"video_name": name, **info} for name, info in
             json.loads((folder / "anet_anno_val.json").read_text()).items()]  # fmt: skip
    assert (curves / "v_val_0000.csv").read_text().startswith("action,start,end,tmin,tmax\n")
    assert read_table(curves / "v_val_0000.csv", columns=5).shape == (100, 5)
    made = generate_candidate_proposals(range(len(infos)), infos, curves, temporal_scale=100, peak_threshold=0.5)
    points = generate_bsp_feature(range(len(infos)), infos, curves, proposals, top_k=60)
    for info in infos:
        name = info["video_name"]
        found = load_proposals(name, top_k=60, pgm_proposals_dir=proposals, pgm_features_dir=features)
        table = read_table(proposals / f"{name}.csv", columns=7)
        np.testing.assert_allclose(table, made[name][:60], rtol=1e-6)
        np.testing.assert_allclose(found.bsp_feature, points[name], atol=1e-6)
        assert len(found.tmin) == min(60, len(made[name]))


def test_what_is_complete_is_not_repeated(bsn, cache):
    workdir, first = bsn
    before = {file: file.stat().st_mtime_ns for file in workdir.rglob("*.csv")}
    checkpoints = sorted(path.name for path in (workdir / "tem" / "checkpoints").iterdir())
    output = run(*TINY_BSN, f"--workdir={workdir}", "--config.tem.run.log_every=7", cache=cache)
    for words in ("tem: training is complete", "tem: the curves are complete", "split val are complete",
                  "pem: training is complete", "pem: the proposals are complete"):  # fmt: skip
        assert words in output
    assert {file: file.stat().st_mtime_ns for file in workdir.rglob("*.csv")} == before
    assert sorted(path.name for path in (workdir / "tem" / "checkpoints").iterdir()) == checkpoints
    table = lambda text: [line for line in text.splitlines() if "│" in line]
    assert table(output) == table(first)


def test_a_stage_of_another_config_is_made_anew(bsn, cache, tmp_path):
    """And those after it; what was there is kept."""
    workdir = tmp_path / "run"
    shutil.copytree(bsn[0], workdir)
    changed = "--config.pgm.peak_threshold=0.999"
    output = run(*TINY_BSN, changed, f"--workdir={workdir}", "--mode=eval", cache=cache, status=1)
    assert "pgm.peak_threshold was 0.5, is 0.999" in output
    output = run(*TINY_BSN, changed, f"--workdir={workdir}", "--config.stages=pem", cache=cache, status=1)
    assert "add pgm to --config.stages and train" in output and not list(workdir.glob("p*.old*"))
    output = run(*TINY_BSN, changed, f"--workdir={workdir}", cache=cache)
    assert "tem: the curves are complete" in output and "pgm.peak_threshold was 0.5, is 0.999" in output
    assert (workdir / "pgm.old" / "pgm_proposals").is_dir() and (workdir / "pem.old" / "checkpoints").is_dir()
    assert contents(workdir / "pgm.old") == contents(bsn[0] / "pgm") != contents(workdir / "pgm")


def test_files_between_stages_that_are_damaged_are_made_again(bsn, cache, tmp_path):
    """Curves cut short, an empty file of proposals, a lost file of features, results of another folder of the stage."""
    workdir = tmp_path / "run"
    shutil.copytree(bsn[0], workdir)
    curves = workdir / "tem" / "tem_results" / "v_val_0001.csv"
    curves.write_text("\n".join(curves.read_text().splitlines()[:60]))
    (workdir / "pgm" / "pgm_proposals" / "v_val_0002.csv").write_text("")
    (workdir / "pgm" / "pgm_features" / "v_train_0003.npy").unlink()
    (workdir / "results_proposals.json").write_text('{"results": {')
    output = run(*TINY_BSN, f"--workdir={workdir}", cache=cache)
    told = "are gone or not as they were written, such as"
    assert f"1 of 64 files of the run {told} {curves}; they are made again" in output
    assert f"1 of 32 files of the run {told} {workdir}/pgm/pgm_proposals/v_val_0002.csv" in output
    assert f"1 of 128 files of the run {told} {workdir}/pgm/pgm_features/v_train_0003.npy" in output
    assert f"1 of 1 files of the run {told} {workdir}/results_proposals.json" in output
    assert "pgm: the proposals of split train" not in output and contents(workdir) == contents(bsn[0])


def test_a_stage_whose_checkpoint_is_damaged_goes_back(bsn, cache, tmp_path):
    """To the newest intact one, from which the same network is trained, if its outputs are needed again."""
    workdir = tmp_path / "run"
    shutil.copytree(bsn[0], workdir)
    newest = max((workdir / "tem" / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    data = max((newest / "default").rglob("d/*"), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[:-1])
    (workdir / "tem" / "tem_results" / "v_val_0001.csv").unlink()
    output = run("--mode=eval", f"--workdir={workdir}", cache=cache, status=1)
    assert f"{data} is damaged" in output and "repeat the training, which resumes from an intact one" in output
    assert "--checkpoint" not in output
    output = run(*TINY_BSN, f"--workdir={workdir}", cache=cache)
    assert "resuming from the newest intact checkpoint" in output and contents(workdir) == contents(bsn[0])


def test_a_stage_is_made_from_what_the_earlier_ones_made(bsn, cache, tmp_path, monkeypatch):
    """From all of it, of the same videos, by the same network; an imported network is never trained anew."""
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    workdir = tmp_path / "run"
    shutil.copytree(bsn[0], workdir)
    lost = workdir / "pgm" / "pgm_features" / "v_val_0000.npy"
    content = lost.read_bytes()
    lost.unlink()
    last = (*TINY_BSN, f"--workdir={workdir}", "--config.stages=pem")
    output = run(*last, cache=cache, status=1)
    assert f"stage pem needs the outputs of stage pgm, but {workdir}/pgm: 1 of 128 files" in output
    assert f"such as {lost}; add pgm to --config.stages" in output
    lost.write_bytes(content)
    made = actjax.build(saved_config(workdir), stages="pem")
    dataset = made.open_dataset()
    made.check_stages(workdir, splits=splits_of(dataset))
    with pytest.raises(ValueError, match="pgm was made from another training split"):
        made.check_stages(workdir, splits=splits_of(dataset._replace(train=dataset.train[1:])))
    stage = workdir / "tem" / "stage.json"
    stage.write_text(json.dumps(json.loads(stage.read_text()) | {"network": "another"}))
    output = run("--mode=eval", f"--workdir={workdir}", cache=cache, status=1)
    assert f"{workdir}/pgm was made with another network of tem; resume the training, which makes it again" in output
    output = run(*TINY_BSN, f"--workdir={workdir}", cache=cache)
    for again in ("pgm", "pem"):
        assert f"{workdir}/{again} was made with another network of tem; running the stage again" in output
    assert contents(workdir) != {} and "tem: the curves are complete" in output
    shutil.rmtree(workdir / "pem" / "checkpoints")
    (workdir / "results_proposals.json").unlink()
    output = run(*last, cache=cache, status=1)
    assert f"error: {workdir}/pem is trained, but its checkpoints are gone; delete this folder, then train" in output
    shutil.copytree(bsn[0] / "pem" / "checkpoints", workdir / "pem" / "checkpoints")
    for path in sorted((workdir / "pem" / "checkpoints").iterdir(), key=lambda path: int(path.name))[:-1]:
        shutil.rmtree(path)
    next((workdir / "pem" / "checkpoints").iterdir()).rename(workdir / "pem" / "checkpoints" / "0")
    with pytest.raises(
        ValueError, match="pem holds an imported network, which the change of pem.nms.alpha would replace"
    ):
        actjax.build(saved_config(workdir), **{"pem.nms.alpha": 0.5}).folder("pem", workdir, mend=True)
    stage = workdir / "pem" / "stage.json"
    stage.write_text(json.dumps(json.loads(stage.read_text()) | {"done": []}))
    assert f"{workdir}/pem is half imported; delete this folder" in run(*last, cache=cache, status=1)
    assert "names no stage; choose from tem, pgm, pem" in run(*last[:-1], "--config.stages=,", cache=cache, status=1)


def test_an_evaluation_leaves_an_unfinished_run_alone(bsn, cache, tmp_path):
    """It makes no curves with a network that is half trained."""
    workdir = tmp_path / "run"
    shutil.copytree(bsn[0], workdir)
    stage = workdir / "tem" / "stage.json"
    stage.write_text(json.dumps(json.loads(stage.read_text()) | {"done": []}))
    for path in ("tem/tem_results", "pgm", "pem"):
        shutil.rmtree(workdir / path)
    before = sorted(workdir.rglob("*"))
    output = run("--mode=eval", f"--workdir={workdir}", cache=cache, status=1)
    assert "stage tem" in output and "is not trained to its end; first resume the training" in output
    assert sorted(workdir.rglob("*")) == before
    stage.write_text("")
    for mode in ("eval", "train"):
        output = run(f"--mode={mode}", *TINY_BSN, f"--workdir={workdir}", cache=cache, status=1)
        assert f"error: {stage} is damaged; delete or move the folder {stage.parent}, and the stage runs" in output


def test_stages_one_by_one_and_killed(bsn, cache, tmp_path):
    """Each stage in a run of its own, each killed once inside: the files are those of the run in one go."""
    workdir = tmp_path / "run"
    output = run(*TINY_BSN, f"--workdir={workdir}", "--config.stages=pgm", cache=cache, status=1)
    assert "stage pgm needs the outputs of stage tem" in output
    kill_when(lambda: list(workdir.glob("tem/checkpoints/*/_CHECKPOINT_METADATA")), workdir, "tem", cache)
    kill_when(lambda: len(list(workdir.glob("tem/tem_results/v_*.csv"))) > 3, workdir, "tem", cache)
    made = {file: file.stat().st_mtime_ns for file in workdir.glob("tem/tem_results/v_*.csv")}
    run(*TINY_BSN, f"--workdir={workdir}", "--config.stages=tem", cache=cache)
    kill_when(lambda: len(list(workdir.glob("pgm/pgm_proposals/v_*.csv"))) > 3, workdir, "pgm", cache)
    output = run(*TINY_BSN, f"--workdir={workdir}", "--config.stages=tem,pgm", cache=cache)
    assert "proposals are scored by the last stage, pem, which was not run" in output
    assert json.loads((workdir / "config.json").read_text())["stages"] == "tem,pgm,pem"
    kill_when(lambda: list(workdir.glob("pem/checkpoints/*/_CHECKPOINT_METADATA")), workdir, "pem", cache)
    run(*TINY_BSN, f"--workdir={workdir}", cache=cache)
    assert all(file.stat().st_mtime_ns == when for file, when in made.items())  # nothing was written twice
    assert contents(workdir) == contents(bsn[0])
    assert not list(workdir.rglob(".*.csv"))


def kill_when(condition, workdir, stages: str, cache) -> None:
    """Starts the stages, and kills them as soon as the condition holds (or when they are done)."""
    arguments = command(*TINY_BSN, f"--workdir={workdir}", f"--config.stages={stages}")
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 200
    while process.poll() is None and not condition() and time.monotonic() < end:
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    assert condition()


def test_what_decides_over_a_stage(tmp_path):
    sections = {"data": {"features": "x", "class_scores": ""}, "tem": {"run": {"epochs": 2.0, "log_every": 50}}}
    folder = StageFolder(tmp_path, "tem", sections, mend=True)
    folder.mark("train")
    indifferent = {"data": {"features": "x", "class_scores": "s.json"}, "tem": {"run": {"epochs": 2.0, "keep": 1}}}
    assert StageFolder(tmp_path, "tem", indifferent, mend=False).done == ["train"]
    decisive = {"data": {"features": "x"}, "tem": {"run": {"epochs": 3.0}}}
    with pytest.raises(ValueError, match=r"tem was made with another config: tem.run.epochs was 2.0, is 3.0; take its"):
        StageFolder(tmp_path, "tem", decisive, mend=False)
    for old in ("tem.old", "tem.old1"):
        folder = StageFolder(tmp_path, "tem", decisive, mend=True)
        assert folder.done == [] and not (tmp_path / old).exists()
        folder.begin()
        assert (tmp_path / old).is_dir()
        StageFolder(tmp_path, "tem", sections, mend=True).save()


def test_a_longer_training_goes_on(bsn, cache, tmp_path):
    """PEM from its checkpoint, with another batch size; what came from the shorter training is made again."""
    workdir = tmp_path / "run"
    shutil.copytree(bsn[0], workdir)
    longer = ("--config.pem.run.epochs=6.0", "--config.pem.run.batch_size=4")
    output = run(*TINY_BSN, f"--workdir={workdir}", *longer, cache=cache)
    assert "pem.run.epochs was" in output and "training continues from its checkpoints" in output
    rows, before = (
        [json.loads(line) for line in (folder / "pem" / "metrics.jsonl").read_text().splitlines()]
        for folder in (workdir, bsn[0])
    )
    assert rows[: len(before)] == before and rows[-1]["epoch"] == 6.0 > before[-1]["epoch"]
    assert (workdir / "pem.old" / "stage.json").exists()
    name = "results_proposals.json"
    assert (workdir / name).read_bytes() != (bsn[0] / name).read_bytes()


def test_curves_and_proposals_made_elsewhere(bsn, cache, tmp_path):
    workdir, _ = bsn
    for options in (
        [f"--config.tem.results={workdir / 'tem' / 'tem_results'}"],
        [f"--config.pgm.proposals={workdir / 'pgm' / 'pgm_proposals'}",
         f"--config.pgm.features={workdir / 'pgm' / 'pgm_features'}", "--config.stages=pem"],
    ):  # fmt: skip
        config = tmp_path / "elsewhere.py"
        config.write_text(
            f"import runpy\n\n\ndef get_config():\n    config = runpy.run_path({str(ROOT / 'configs/bsn_sample.py')!r})"
            "['get_config']()\n    config.tem.results = config.pgm.proposals = config.pgm.features = ''\n"
            "    return config\n"
        )
        other = tmp_path / str(len(options))
        output = run(f"--config={config}", *TINY_BSN[1:], *options, f"--workdir={other}", cache=cache)
        words = ("using the proposals in", "reading curves from", f"reading proposals from {workdir}")
        assert any(word in output for word in words)
        proposals = "results_proposals.json"
        assert (other / proposals).read_bytes() == (workdir / proposals).read_bytes()


def test_bmn_trains_evaluates_and_is_exchanged(tmp_path, cache):
    workdir = tmp_path / "run"
    output = run(*TINY_BMN, f"--workdir={workdir}", cache=cache)
    results = json.loads((workdir / "results.json").read_text())
    assert "loss" in (workdir / "bmn" / "metrics.jsonl").read_text() and "ground truth" in output
    run("--mode=eval", f"--workdir={workdir}", cache=cache)  # the config is the run's own
    again = json.loads((workdir / "results_eval.json").read_text())
    assert again["auc"] == results["auc"]
    run("--mode=eval", f"--workdir={workdir}", "--checkpoint=3", cache=cache)
    assert json.loads((workdir / "results_eval.json").read_text())["auc"] != results["auc"]
    run("--mode=export", f"--workdir={workdir}", f"--out={tmp_path / 'bmn.pth'}", "--checkpoint=latest", cache=cache)
    other = tmp_path / "other"
    run(*TINY_BMN, "--mode=import", f"--from={tmp_path / 'bmn.pth'}", f"--workdir={other}", cache=cache)
    run("--mode=eval", f"--workdir={other}", cache=cache)
    assert json.loads((other / "results_eval.json").read_text())["auc"] == results["auc"]
    output = run("--mode=browse", *TINY_BMN, f"--workdir={workdir}", cache=cache, status=1)
    assert re.search(r"error: --mode=browse does not apply to this config's task", output)


def test_a_file_server_that_is_gone_is_no_broken_file(monkeypatch, tmp_path):
    """PGM lists videos whose curves are damaged, and tries again while their disk does not answer."""
    record, make = types.SimpleNamespace(path="v_1", video="v_1"), functools.partial(generate, num_steps=100)
    with pytest.raises(VideoError, match="v_1: .*does not exist"):
        patiently(make, record, tmp_path, Pgm(), 10)

    def stale(path, **options):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("actjax.tasks.bsn.proposals.read_table", stale)
    monkeypatch.setattr(endings, "PAUSES", (0.01,))
    with pytest.raises(Unreachable, match="v_1 cannot be reached .*Stale file handle; tried 2 times"):
        patiently(make, record, tmp_path, Pgm(), 10)


class RenamedFeatures(NamedTuple):
    """The features of a data set under other names, as the index of a prepared set may hold them."""

    features: object
    plain: dict

    def read(self, video: str) -> np.ndarray:
        return self.features.read(self.plain[video])


def test_names_of_videos_that_are_paths_stay_in_the_folders_of_their_stage(bsn, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    names = {"v_val_0000": str(tmp_path / "outside" / "v"), "v_val_0001": "../../../v", "v_val_0002": "run/1.mp4",
             "v_train_0000": "V_VAL_0003", "v_train_0001": "x" * 300}  # fmt: skip
    made = actjax.build(saved_config(bsn[0]))
    dataset = made.open_dataset()
    renamed = lambda record: record._replace(video=names.get(record.video, record.video))
    dataset = dataset._replace(
        train=[*map(renamed, dataset.train)],
        val=[*map(renamed, dataset.val)],
        features=RenamedFeatures(dataset.features, dict(map(reversed, names.items())) | {
            record.video: record.video for record in (*dataset.train, *dataset.val)
        }),
        class_scores="",
    )  # fmt: skip
    workdir = tmp_path / "runs" / "bsn"
    assert made.train(workdir, dataset=dataset)["num_empty"] == 0
    folders = [workdir / folder for folder in ("tem/tem_results", "pgm/pgm_proposals", "pgm/pgm_features")]
    for folder in folders:
        stems = [path.stem for path in folder.iterdir()]
        assert len({stem.casefold() for stem in stems}) == 64 and "v_val_0004" in stems
    assert sorted(tmp_path.iterdir()) == [tmp_path / "runs"] and list((tmp_path / "runs").iterdir()) == [workdir]
    assert {path.parent for path in workdir.rglob("*.csv")} == set(folders[:2])
    assert not (workdir / "quarantine.jsonl").exists()


def test_curves_of_another_network_are_made_again(bsn, cache, tmp_path):
    """An interrupted inference goes on with the network that began it, or starts again."""
    workdir = tmp_path / "run"
    shutil.copytree(bsn[0], workdir)
    stage, curves = workdir / "tem" / "stage.json", workdir / "tem" / "tem_results"
    shutil.copy(curves / "v_val_0000.csv", curves / "v_val_0001.csv")  # whoever made them
    (curves / "v_val_0002.csv").unlink()
    known = json.loads(stage.read_text())
    assert known["network"] and known["made_by"]
    stage.write_text(json.dumps(known | {"network": "another", "done": ["train"], "files": {}}))
    output = run("--mode=eval", f"--workdir={workdir}", cache=cache)
    assert f"{curves}: its files were made by another network; they are made again" in output
    assert {path.name: path.read_bytes() for path in curves.iterdir()} == {
        path.name: path.read_bytes() for path in (bsn[0] / "tem" / "tem_results").iterdir()
    }


def test_curves_that_do_not_belong_are_named(tmp_path):
    record = types.SimpleNamespace(path="v_1", video="v_1")
    for content, told in (
        ("action,start,end,tmin,tmax\n" + 60 * "0,0,0,0,0\n", "60 time steps; tem.model.temporal_scale is 100"),
        ("action,start,end\n" + 100 * "0,0,0\n", "100 rows of 3 columns; expected 1 or more rows of 5"),
        ("action,start,end,tmin,tmax\n" + 100 * "nan,0,0,0,0\n", "row 0 has NaN"),
    ):
        (tmp_path / "v_1.csv").write_text(content)
        with pytest.raises(VideoError, match=f"v_1.csv: .*{told}"):
            generate(record, tmp_path, Pgm(), 10, num_steps=100)


def test_own_annotations_and_broken_files(tmp_path, cache):
    """Two videos without features, one with broken ones: told, left out, and nothing ends."""
    data = make_sequences(tmp_path / "data", num_train=32, num_val=16, seed=1)
    (data / "features" / "v_train_0003.csv").unlink()
    (data / "features" / "v_val_0002.csv").unlink()
    (data / "features" / "v_train_0005.csv").write_text("f0,f1\n1,oops\n")
    config = tmp_path / "own.py"
    config.write_text(
        f"import runpy\n\n\ndef get_config():\n    config = runpy.run_path({str(ROOT / 'configs/bmn_sample.py')!r})"
        f"['get_config']()\n    config.data = dict(name='activitynet', features={str(data / 'features')!r}, "
        f"train={str(data / 'anet_anno_train.json')!r}, val={str(data / 'anet_anno_val.json')!r}, max_missing=0.05)\n"
        "    return config\n"
    )
    workdir = tmp_path / "run"
    output = run(f"--config={config}", *TINY_BMN[3:], f"--workdir={workdir}", cache=cache)
    assert "2 videos have no features; the first is v_train_0003" in output
    assert "v_train_0005" in (workdir / "quarantine.jsonl").read_text()
    results = json.loads((workdir / "results.json").read_text())
    assert results["num_videos"] == 15 and "average_mAP" not in results
    truth = data / "anet_anno_train.json"
    known, before = truth.read_text(), {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    changed = json.loads(known)
    changed["v_train_0000"]["annotations"][0]["segment"][1] += 1.0
    truth.write_text(json.dumps(changed))
    again = (f"--config={config}", *TINY_BMN[3:], f"--workdir={workdir}", "--config.bmn.run.epochs=3.0")
    output = run(*again, cache=cache, status=1)
    assert "was made from another training split; use another workdir, or the earlier data" in output
    truth.write_text(known)
    logs = {workdir / "train.log", workdir / ".lock"}
    assert {path: path.stat().st_mtime_ns for path in before if path not in logs} == {
        path: time for path, time in before.items() if path not in logs
    }
    assert not list(workdir.glob("*.old")) and "training continues from its checkpoints" in run(*again, cache=cache)
    arguments = (f"--config={config}", f"--workdir={tmp_path / 'other'}")
    output = run(*arguments, "--config.data.max_missing=0.01", cache=cache, status=1)
    assert "no features of 2 of 48 videos" in output and "Traceback" not in output
    output = run(*arguments, "--config.data.val=absent.json", cache=cache, status=1)
    assert "error: annotation file absent.json does not exist" in output


ERRORS = {
    "config.stages='pgm2'": ("bsn_sample", ("stages",), "tem,pgm2"),
    "tem.run.best=": ("bsn_sample", ("tem", "run", "best"), "top1_acc"),
    "pem.nms.'alfa' is unknown": ("bsn_sample", ("pem", "nms", "alfa"), 1.0),
    "pgm makes 32 numbers per proposal": ("bsn_sample", ("pem", "model", "feat_dim"), 30),
    "data.rescale='lineer' is unknown; did you mean 'linear'": ("bmn_sample", ("data", "rescale"), "lineer"),
    "model.sampling='gathr'": ("bmn_sample", ("bmn", "model", "sampling"), "gathr"),
    "bmn.checkpoint='newest'": ("bmn_sample", ("bmn", "checkpoint"), "newest"),
    "tem.loss.action_weight=-1.0; must be": ("bsn_sample", ("tem", "loss"), dict(action_weight=-1.0)),
    "bmn.loss.regression_weight=nan; must be": ("bmn_sample", ("bmn", "loss"), dict(regression_weight=float("nan"))),
    "pem.optim.schedule.gamma=-1.0; must be": ("bsn_sample", ("pem", "optim", "schedule", "gamma"), -1.0),
    "detect.'classes' is unknown": ("bmn_sample", ("detect", "classes"), 3),
}


@pytest.mark.parametrize("message", ERRORS)
def test_wrong_configs_stop_the_launch(message, tmp_path):
    from actjax.tasks import build

    name, path, value = ERRORS[message]
    config = runpy.run_path(str(ROOT / "configs" / f"{name}.py"))["get_config"]()
    config.unlock()
    section = config
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with pytest.raises(ValueError, match=re.escape(message)):
        made = build(config)
        made._replace(data=made.data | {"folder": str(tmp_path / "data")}).open_dataset()


@pytest.mark.parametrize(
    "name", ["bsn_400x100_activitynet_feature", "bmn_400x100_2x8_9e_activitynet_feature", "bsn_sample", "bmn_sample"]
)
def test_configs_are_the_published_ones(name):
    from actjax.tasks import build

    config = runpy.run_path(str(ROOT / "configs" / f"{name}.py"))["get_config"]()
    made = build(config)
    if "sample" in name:
        return
    published = {  # learning rate, decay, epochs, milestones, batch, and parameters of MMAction2's network
        "tem": (1e-3, 1e-4, 20, (7, 14), 16, 1_403_395),
        "pem": (1e-2, 1e-5, 20, (10,), 16, 8_705),
        "bmn": (1e-3, 1e-4, 9, (7,), 16, 36_978_564 - 100 * 32 * 100 * 100),
    }
    assert set(made.networks) == {"tem", "pem"} if name.startswith("bsn") else {"bmn"}
    for stage, network in made.networks.items():
        optim, run_ = config[stage].optim, config[stage].run
        numbers = (optim.lr, optim.weight_decay, run_.epochs, optim.schedule.milestones, run_.batch_size)
        assert (*numbers, network.network.groups.sizes["all"]) == published[stage]


def test_export_needs_the_stage(bsn, cache, tmp_path):
    workdir, _ = bsn
    output = run("--mode=export", f"--workdir={workdir}", f"--out={tmp_path / 'x.pth'}", cache=cache, status=1)
    assert "error: --stage=None; choose from ['pem', 'tem']" in output
    run("--mode=export", "--stage=tem", f"--workdir={workdir}", f"--out={tmp_path / 'x.pth'}", cache=cache)
    assert (tmp_path / "x.pth").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "gain"),
    [("bsn_sample", (), 20), ("bmn_sample", ("--config.bmn.run.epochs=2.0",), 12)],
)
def test_sample_configs_are_far_above_uniform_windows(name, options, gain, tmp_path, cache):
    workdir = tmp_path / "run"
    run(f"--config=configs/{name}.py", *options, f"--workdir={workdir}", cache=cache, timeout=300, level=3)
    results = json.loads((workdir / "results.json").read_text())
    assert results["uniform_auc"] + gain < results["auc"] < results["ground_truth_auc"]
    assert results["uniform_AR@100"] + 0.1 < results["AR@100"] and results["mAP@0.50"] > 0.4
