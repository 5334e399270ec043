"""Checkpoints, evaluation, feeding and reports of the loop, on a task that costs nothing."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lines import RECORDS, SETTINGS, Killed, dying_data, line_data, line_task, optimizer, rows

from actjax.training import (
    Data,
    Preempted,
    checkpoints,
    evaluate,
    restore_variables,
    save_variables,
    train,
)
from actjax.training.feeding import Feeder
from actjax.training.reporting import Report
from actjax.training.task import Task


def test_run_leaves_what_it_promises(tmp_path):
    metrics = train(line_task(), line_data(), optimizer, SETTINGS, tmp_path)
    assert metrics["rows"] == metrics["num_videos"] == RECORDS and np.shape(metrics["matrix"]) == (2, 2)
    assert [row["step"] for row in rows(tmp_path, "val")] == [3, 5, 8, 10]  # epochs end inside batches 3 and 8
    train_rows = rows(tmp_path, "train")
    assert [row["step"] for row in train_rows] == [2, 4, 6, 8, 10]
    assert {"loss", "lr", "grad_norm", "clips_per_s", "data_wait", "epoch"} <= train_rows[0].keys()
    assert list(tmp_path.glob("events.out.tfevents.*"))
    steps = {int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal()}
    best = min(rows(tmp_path, "val"), key=lambda row: row["loss"])["step"]
    assert steps == {9, 10, best}


def test_best_stays_and_can_be_named(tmp_path):
    def rising(outputs, targets):
        rising.calls += 1
        return {"top1_acc": [0.2, 0.9, 0.5, 0.4][rising.calls - 1]}

    rising.calls = 0
    settings = SETTINGS._replace(best="top1_acc", keep=1)
    task = line_task()._replace(score=rising)
    train(task, line_data(), optimizer, settings, tmp_path)
    for which, step in (("best", 5), ("latest", 10), ("5", 5)):
        variables, found = restore_variables(task, settings, tmp_path, which)
        assert found == step and variables["params"]["w"] > 0
    for other in ("", "05", "9" * 5000):
        with pytest.raises(FileNotFoundError, match="no checkpoint '"):
            restore_variables(line_task(), SETTINGS, tmp_path, other)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint '7' .* latest, best, \[5, 10\]"):
        restore_variables(task, settings, tmp_path, "7")
    with pytest.raises(FileNotFoundError, match="train first"):
        restore_variables(task, settings, tmp_path / "elsewhere", "best")


def test_resume_continues_and_forgets_what_it_repeats(tmp_path):
    with pytest.raises(Killed):
        train(line_task(), dying_data(7), optimizer, SETTINGS._replace(log_every=1), tmp_path)
    asked = []
    resumed = train(line_task(), line_data(asked), optimizer, SETTINGS._replace(log_every=1), tmp_path)
    whole = train(line_task(), line_data(), optimizer, SETTINGS._replace(log_every=1), tmp_path / "whole")
    assert asked[0] == 6  # the checkpoint after step 6, made by save_every=3
    assert resumed["loss"] == whole["loss"]
    assert [row["step"] for row in rows(tmp_path, "train")] == list(range(1, 11))
    finished = train(line_task(), line_data(), optimizer, SETTINGS, tmp_path)  # a third start only evaluates
    shorter = train(line_task(), line_data(), optimizer, SETTINGS._replace(epochs=1), tmp_path)
    assert shorter["loss"] == whole["loss"]
    assert finished["loss"] == whole["loss"]


@pytest.mark.parametrize("step", [4, 10])
def test_sigterm_saves_the_step_and_ends_with_a_status_of_its_own(step, tmp_path, caplog):
    def told(position, count):
        for n, batch in enumerate(line_data().train(position, count), position // 8):
            if n == step - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    before = signal.getsignal(signal.SIGTERM)
    settings = SETTINGS._replace(log_every=1, save_every=100)
    caplog.set_level("INFO", logger="actjax")
    with pytest.raises(Preempted) as raised:
        train(line_task(), line_data()._replace(train=told), optimizer, settings, tmp_path)
    assert raised.value.code == 75 and signal.getsignal(signal.SIGTERM) is before
    saved = max(row["step"] for row in rows(tmp_path, "train"))
    assert step - 3 <= saved <= step and (tmp_path / "checkpoints" / str(saved)).is_dir()
    assert f"interrupted: saved step {saved}" in caplog.messages
    resumed = train(line_task(), line_data(), optimizer, settings, tmp_path)
    whole = train(line_task(), line_data(), optimizer, settings, tmp_path / "whole")
    assert resumed["loss"] == whole["loss"]
    numbers = [{row["step"]: row["loss"] for row in rows(folder, "train")} for folder in (tmp_path, tmp_path / "whole")]
    assert numbers[0] == numbers[1]


def test_training_in_another_thread_leaves_signals_alone(tmp_path):
    import threading

    before, metrics = signal.getsignal(signal.SIGTERM), []
    run = lambda: metrics.append(train(line_task(), line_data(), optimizer, SETTINGS, tmp_path))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=120)
    assert metrics and signal.getsignal(signal.SIGTERM) is before


def test_a_number_that_is_not_finite_stops_the_run(tmp_path):
    task = line_task()
    exploding = task._replace(loss=lambda v, b, k: (task.loss(v, b, k)[0] / 0.0, {}, {}))
    with pytest.raises(FloatingPointError, match="is (inf|nan) at step 1"):
        train(exploding, line_data(), optimizer, SETTINGS._replace(log_every=9, save_every=1), tmp_path)
    assert not [path for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal()]


def test_evaluation_without_a_readable_row():
    nothing = [{"x": np.zeros(8, np.float32), "y": np.zeros(8, np.float32), "mask": np.zeros(8, bool)}]
    with pytest.raises(RuntimeError, match="no video of the validation set"):
        evaluate(lambda v, b: {"y": b["x"]}, line_task().score, {}, nothing)


def test_rule_follows_from_the_metric():
    for name in ("top1_acc", "mean_class_accuracy", "AR@100", "auc", "mAP@0.5"):
        assert checkpoints.higher_is_better(name)
    assert not checkpoints.higher_is_better("val_loss")
    with pytest.raises(ValueError, match="whether higher is better"):
        checkpoints.higher_is_better("joy")


def test_feeder_hands_over_errors_and_counts_the_wait():
    import time

    def slow():
        for n in range(3):
            time.sleep(0.2)
            yield n
        raise OSError("disk gone")

    feeder = Feeder(slow(), lambda batch: batch * 10)
    assert [feeder.next() for _ in range(3)] == [0, 10, 20]
    assert feeder.waited > 0.3
    with pytest.raises(OSError, match="disk gone"):
        feeder.next()
    feeder.close()


def test_feeder_closes_its_source_early():
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    feeder = Feeder(endless(), lambda batch: batch)
    assert feeder.next() == 1
    feeder.close()
    assert closed == [True]


def test_report_survives_a_half_written_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "split": "train"}\n{"step": 2, "sp')
    Report(tmp_path, first_step=1, steps=4, batch_size=8).close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "split": "train"}\n'


@pytest.mark.parametrize(("patience", "steps", "told"), [(30.0, 60, []), (0.0, 60, [20]), (0.0, 9, [9]), (0.0, 2, [])])
def test_a_slow_run_says_when_its_first_line_comes(patience, steps, told, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("actjax.training.reporting.PATIENCE", patience)
    report = Report(tmp_path, first_step=0, steps=steps, batch_size=8)
    for step in (1, 2):
        report.pace(step, {"loss": np.float32(0)}, log_every=20)
    report.close()
    lines = [record.getMessage() for record in caplog.records]
    assert [int(line.split("at step ")[1].split(",")[0]) for line in lines if "a step takes" in line] == told


def test_settings_refuse():
    for field in ("epochs", "batch_size", "keep"):
        with pytest.raises(ValueError, match=f"{field}=0"):
            SETTINGS._replace(**{field: 0}).check()


@pytest.mark.parametrize("ema", [None, 0.9])
def test_given_variables_are_where_training_starts(ema, tmp_path):
    """As step 0 of a run, and in place of the task's own, with and without a moving average of them."""
    settings, given = SETTINGS._replace(ema=ema), lambda: {"params": {"w": np.float32(3)}}
    save_variables(line_task(), optimizer, settings, tmp_path / "saved", given)
    variables, step = restore_variables(line_task(), settings, tmp_path / "saved", "latest")
    assert (step, variables["params"]["w"]) == (0, 3)
    with pytest.raises(FileExistsError, match="already holds checkpoints"):
        save_variables(line_task(), optimizer, settings, tmp_path / "saved", given)
    for workdir, initial in (("saved", None), ("new", given)):
        metrics = train(line_task(), line_data(), optimizer, settings, tmp_path / workdir, initial=initial)
        assert metrics["loss"] < 1e-5  # 3 fits from the start, the task's own 0 does not


def wide_task() -> Task:
    """Fits y = w x of 32 numbers, enough to be divided among devices."""

    def loss(variables, batch, key):
        return jnp.square(batch["x"] @ variables["params"]["w"] - batch["y"]).mean(1), {}, {}

    score = lambda outputs, targets: {"loss": float(np.square(outputs["y"] - targets["y"]).mean())}
    predict = lambda variables, batch: {"y": batch["x"] @ variables["params"]["w"]}
    return Task(lambda key: {"params": {"w": jax.random.normal(key, (32, 32)) / 6}}, loss, predict, score)


def wide_data() -> Data:
    def batch(n: int) -> dict:
        x = np.random.default_rng(n).normal(size=(8, 32)).astype(np.float32)
        return {"x": x, "y": np.roll(x, 1, axis=1)}

    def passes():
        while True:
            yield iter([batch(99) | {"mask": np.ones(8, bool)}])

    return Data(RECORDS, lambda at, count: (batch(n) for n in range(at // 8, at // 8 + count)), passes)


@pytest.mark.parametrize("bn", ["global", "device"])
def test_a_checkpoint_goes_on_with_any_division(bn, tmp_path):
    """A run whose state is divided among 8, then 2 devices, then copied to all, is the run on copies throughout."""
    settings = SETTINGS._replace(bn=bn, log_every=1, ema=0.5)
    whole = train(wide_task(), wide_data(), optimizer, settings, tmp_path / "whole")
    for epochs, fsdp in ((1, 8), (2, 2), (4, 1)):
        part = settings._replace(epochs=epochs, fsdp=fsdp)
        metrics = train(wide_task(), wide_data(), optimizer, part, tmp_path / "parts")
    assert metrics["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    found, wanted = (
        restore_variables(wide_task(), settings, tmp_path / name, "latest")[0]["params"]["w"]
        for name in ("parts", "whole")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    losses = [[row["loss"] for row in rows(tmp_path / name, "train")] for name in ("parts", "whole")]
    np.testing.assert_allclose(*losses, rtol=1e-6)
