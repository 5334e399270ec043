"""What actjax promises, as a user would see it. Minutes each."""

import contextlib
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from cli import ROOT, SMALL, command, environment, run

pytestmark = pytest.mark.slow


# Half of the config's epochs and width, and one evaluation.
SHORT = ("--config.run.epochs=4.0", "--config.run.eval_every=4.0", "--config.model.width=12")


def test_tsm_learns_motion(cache, tmp_path):
    run("--config=tsm_shapes", *SHORT, f"--workdir={tmp_path}", cache=cache, timeout=900, level=3)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["num_videos"] == 320 and results["top1_acc"] >= 0.95


def test_tsn_is_blind_to_it(cache, tmp_path):
    run("--config=tsm_shapes:tsn", *SHORT, f"--workdir={tmp_path}", cache=cache, timeout=900, level=3)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["num_videos"] == 320 and 0.3 < results["top1_acc"] <= 0.55


def last_step(workdir) -> int:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    steps = [json.loads(line)["step"] for line in lines if line.endswith("}")]
    return max(steps, default=0)


def test_workers_die_with_a_killed_trainer(cache, tmp_path):
    arguments = (*SMALL, "--config.run.epochs=50.0", f"--workdir={tmp_path}")
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while last_step(tmp_path) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process.poll() is None and last_step(tmp_path) >= 2, "the trainer has not begun"
    group = os.getpgid(process.pid)
    process.kill()
    process.wait(timeout=30)
    try:
        for _ in range(100):
            os.killpg(group, 0)  # somebody is still there
            time.sleep(0.2)
        pytest.fail("loader processes outlived the trainer")
    except ProcessLookupError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def test_kinetics_config_trains_on_real_files(cache, media, tmp_path):
    (tmp_path / "list.txt").write_text("test.mp4 0\npart_0.mp4 1\ntest.avi 399\n")
    run(
        "--config=tsm_r50_video_1x1x8_50e_kinetics400_rgb:scratch",
        f"--config.data.train={tmp_path}/list.txt", f"--config.data.val={tmp_path}/list.txt",
        f"--config.data.data_prefix={media}", "--config.loader.num_workers=1",
        "--config.run.batch_size=2", "--config.run.epochs=2.0", "--config.run.log_every=1",
        "--config.train.view.short_side=72", "--config.train.view.size=64",
        "--config.eval.view.short_side=72", "--config.eval.view.size=64",
        f"--workdir={tmp_path / 'run'}", cache=cache, timeout=600,
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert len(losses) == 3 and losses[0] == pytest.approx(np.log(400), rel=0.05)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["num_videos"] == 3 and results["bn"] == "device"


def test_a_published_file_answers_for_a_real_video(cache, media, tmp_path):
    """The golden weights in MMAction2's own layout, at full size: import, predict, export, import; nothing changes."""
    import golden_models as g

    from actjax.interop.torch_files import save_torch

    manifest = json.loads((g.FOLDER / "manifests" / "tsm_r18.json").read_text())
    save_torch(tmp_path / "tsm_r18.pth", g.fillrule.state_dict(manifest))
    config = (
        "--config=tsm_r50_1x1x8_50e_kinetics400_rgb",
        "--config.model.depth=18",
        "--config.model.num_classes=10",
    )
    source, answers = tmp_path / "tsm_r18.pth", []
    for number in range(2):
        workdir = tmp_path / f"run{number}"
        output = run("--mode=import", *config, f"--workdir={workdir}", f"--from={source}", cache=cache)
        assert "102 tensors in the layout of MMAction2" in output
        run("--mode=predict", f"--workdir={workdir}", f"--video={media / 'test.mp4'}", cache=cache)
        answers.append(json.loads((workdir / "predictions.jsonl").read_text()))
        source = tmp_path / "again.safetensors"
        run("--mode=export", f"--workdir={workdir}", f"--out={source}", cache=cache)
    assert answers[0] == answers[1] and len(answers[0]["predictions"]) == 5
    from safetensors.numpy import load_file

    tensors = load_file(source)
    for name, value in g.fillrule.state_dict(manifest).items():
        assert "num_batches" in name or (tensors[name] == value).all()
