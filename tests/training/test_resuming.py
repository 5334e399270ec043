"""A resumed run: its progress in records, what fits it, and what is damaged."""

import functools
import os
import pathlib
import shutil

import jax
import numpy as np
import pytest
from lines import RECORDS, SETTINGS, Killed, dying_data, line_data, line_task, optimizer, rows

from actjax.training import DamagedError, MisfitError, Optimizer, restore_variables, restoring, sgd, steps, train
from actjax.training.timeline import Timeline

BY_EPOCH = Optimizer(lambda steps_per_epoch: lambda n: 0.001 * (n / steps_per_epoch), sgd)


def asked_data(asked: list):
    """`line_data` that notes where it is asked to begin, and how many batches it makes."""
    data = line_data()

    def noted(position, count):
        asked.append((position, count))
        return data.train(position, count)

    return data._replace(train=noted)


def test_another_batch_size_goes_on_from_the_same_record(tmp_path):
    """The epoch, the schedule and the evaluations follow the records, whatever a step takes of them."""
    settings, asked = SETTINGS._replace(log_every=1, eval_every=1), []
    for batch_size, epochs in ((8, 2), (40, 6), (8, 8)):
        part = settings._replace(batch_size=batch_size, epochs=epochs)
        train(line_task(), asked_data(asked), BY_EPOCH, part, tmp_path)
    assert asked == [(0, 5), (40, 2), (120, 5)]  # 2 epochs, 6 epochs, 8 epochs of 20 records
    made = rows(tmp_path, "train")
    epochs = [row["epoch"] for row in made]
    assert epochs == [0.4, 0.8, 1.2, 1.6, 2.0, 4.0, 6.0, 6.4, 6.8, 7.2, 7.6, 8.0]
    begun = np.array([0.0, *epochs[:-1]])  # the epoch before each step sets its learning rate
    np.testing.assert_allclose([row["lr"] for row in made], 0.001 * begun, rtol=1e-5, atol=1e-9)
    assert [row["epoch"] for row in rows(tmp_path, "val")] == [1.2, 2.0, 4.0, 6.0, 7.2, 8.0]


def test_the_same_batch_size_after_another_is_exact(tmp_path):
    """A kill after the batch size has changed: the rest of the run is that of the run without the kill."""
    settings = SETTINGS._replace(log_every=1)
    for workdir in (tmp_path / "whole", tmp_path / "killed"):
        train(line_task(), line_data(), BY_EPOCH, settings._replace(epochs=1), workdir)
    later, data = settings._replace(batch_size=16, save_every=1), line_data()

    def batches(position, count, *, dies_at=None):
        for start in range(position, position + 16 * count, 16):
            if start == dies_at:
                raise Killed
            x = np.random.default_rng(start).normal(size=16).astype(np.float32)
            yield {"x": x, "y": 3 * x}

    whole = train(line_task(), data._replace(train=batches), BY_EPOCH, later, tmp_path / "whole")
    dying = data._replace(train=functools.partial(batches, dies_at=24 + 2 * 16))
    with pytest.raises(Killed):
        train(line_task(), dying, BY_EPOCH, later, tmp_path / "killed")
    assert rows(tmp_path / "killed", "train")[-1]["step"] == 4
    killed = train(line_task(), data._replace(train=batches), BY_EPOCH, later, tmp_path / "killed")
    assert killed == whole
    assert [row["lr"] for row in rows(tmp_path / "killed", "train")] == [
        row["lr"] for row in rows(tmp_path / "whole", "train")
    ]


def test_other_records_are_refused(tmp_path):
    train(line_task(), line_data()._replace(digest="a"), optimizer, SETTINGS._replace(epochs=1), tmp_path)
    for data, message in (
        (line_data()._replace(num_records=21), "trained on 20 records, and the training set now has 21"),
        (line_data()._replace(digest="b"), "other files or labels, or another order"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            train(line_task(), data, optimizer, SETTINGS, tmp_path)
        assert raised.value.clear and str(tmp_path) in str(raised.value)
    assert train(line_task(), line_data()._replace(digest="a"), optimizer, SETTINGS, tmp_path)["step"] == 10


def test_another_validation_split_ranks_anew(tmp_path, caplog):
    """The metrics before do not count, neither for the best checkpoint that is kept nor for the one that is taken."""

    def split(scale, digest):
        def passes():
            x = scale * np.ones(8, np.float32)
            while True:
                yield iter([{"x": x, "y": 3 * x, "mask": np.ones(8, bool)}])

        return line_data()._replace(evaluate=passes, val_digest=digest)

    worst_first = SETTINGS._replace(best_rule="greater", keep=1, save_every=1000)
    assert train(line_task(), split(100, "a"), optimizer, worst_first._replace(epochs=1), tmp_path)["step"] == 3
    assert not caplog.text
    results = train(line_task(), split(1, "b"), optimizer, worst_first, tmp_path)
    assert "the validation has changed since step 3" in caplog.text
    assert (results["step"], results["best"]["step"], steps(tmp_path / "checkpoints")) == (10, 5, [5, 10])
    assert restore_variables(line_task(), worst_first, tmp_path, "best")[1] == 5
    caplog.clear()
    train(line_task(), split(1, "b"), optimizer, worst_first._replace(epochs=5), tmp_path)
    assert not caplog.text


def test_a_checkpoint_that_a_training_replaces_is_looked_up_again(tmp_path, monkeypatch):
    """Reading beside a training that keeps few checkpoints; a damaged one is still told."""
    train(line_task(), line_data(), optimizer, SETTINGS, tmp_path)
    folder, check = tmp_path / "checkpoints", restoring.check
    assert steps(folder) == [8, 9, 10]

    def replaced(folder, step):
        monkeypatch.setattr(restoring, "check", check)
        shutil.rmtree(folder / "10")
        check(folder, step)

    monkeypatch.setattr(restoring, "check", replaced)
    assert restore_variables(line_task(), SETTINGS, tmp_path, "latest")[1] == 9
    (folder / "9" / "actjax.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"actjax\.json is damaged; the newest intact checkpoint is that of step 8"):
        restore_variables(line_task(), SETTINGS, tmp_path, "latest")


def test_the_best_is_taken_beside_a_damaged_checkpoint(tmp_path):
    """Unless the metrics of that one are damaged, too: it might be the best."""
    settings = SETTINGS._replace(best_rule="greater", keep=1)
    train(line_task(), line_data(), optimizer, settings, tmp_path)
    assert steps(tmp_path / "checkpoints") == [3, 10]
    newest = tmp_path / "checkpoints" / "10"
    next((newest / "default").rglob("d/*")).write_bytes(b"")
    assert restore_variables(line_task(), settings, tmp_path, "best")[1] == 3
    with pytest.raises(DamagedError, match="the newest intact checkpoint is that of step 3"):
        restore_variables(line_task(), settings, tmp_path, "latest")
    (newest / "metrics" / "metrics").write_text('{"loss": 100.0}')
    with pytest.raises(DamagedError, match=r"10/metrics/metrics is damaged \(its digest does not match\)"):
        restore_variables(line_task(), settings, tmp_path, "best")
    (newest / "actjax.json").write_text("[]")
    with pytest.raises(DamagedError, match=r"10/actjax\.json is damaged"):
        restore_variables(line_task(), settings, tmp_path, "best")


def files_of(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_does_not_fit_leaves_the_run_as_it_was(tmp_path):
    """The network, the optimizer or the moving average of another run."""
    train(line_task(), line_data(), optimizer, SETTINGS._replace(epochs=1), tmp_path)
    before, described = files_of(tmp_path), []
    wide = line_task()._replace(init=lambda key: {"params": {"w": jax.numpy.zeros(3)}})
    more = line_task()._replace(init=lambda key: {"params": {"w": jax.numpy.zeros(()), "v": jax.numpy.zeros(())}})
    adam = optimizer._replace(transform=lambda params, schedule: __import__("optax").adam(schedule))
    for task, by, settings, message in (
        (wide, optimizer, SETTINGS, r"/w is \[\] there, \[3\] here"),
        (more, optimizer, SETTINGS, "it has no .*/v"),
        (line_task(), adam, SETTINGS, "it has no opt_state/"),
        (line_task(), optimizer, SETTINGS._replace(ema=0.9), "it has no ema/params/w"),
    ):
        with pytest.raises(MisfitError, match=message) as raised:
            train(task, line_data(), by, settings, tmp_path, describe=lambda: described.append(1))
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    with pytest.raises(MisfitError, match=r"variables/params/w is \[\] there, \[3\] here"):
        restore_variables(wide, SETTINGS, tmp_path, "best")
    assert not described and files_of(tmp_path) == before


def test_an_average_is_read_from_the_checkpoint(tmp_path):
    """To evaluate it, neither the optimizer nor `run.ema` is needed."""
    averaged = SETTINGS._replace(ema=0.99)
    train(line_task(), line_data(), optimizer, averaged, tmp_path)
    found = [restore_variables(line_task(), each, tmp_path, "latest") for each in (averaged, SETTINGS)]
    assert found[0] == found[1]


def test_best_by_rule(tmp_path):
    """A metric whose name tells nothing, and one whose name tells the wrong thing."""
    settings = SETTINGS._replace(best="rows", keep=1)
    with pytest.raises(ValueError, match="run.best='rows': the name does not show .* best_rule='greater' or 'less'"):
        settings.check()
    with pytest.raises(ValueError, match="best_rule='higher'; choose from .*greater.*less"):
        settings._replace(best_rule="higher").check()
    values = [0.5, 0.2, 0.9, 0.4]
    for rule, step in (("greater", 8), ("less", 5)):
        calls = iter(values)
        task = line_task()._replace(score=lambda outputs, targets, calls=calls: {"rows": next(calls)})
        metrics = train(task, line_data(), optimizer, settings._replace(best_rule=rule), tmp_path / rule)
        assert metrics["best"] == {"step": step, "rows": max(values) if rule == "greater" else min(values)} | (
            {} if "num_videos" not in metrics["best"] else {"num_videos": RECORDS}
        )
        chosen = settings._replace(best_rule=rule)
        assert restore_variables(task, chosen, tmp_path / rule, "best")[1] == step


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> pathlib.Path:
    """A finished run with the checkpoints 8, 9 and 10."""
    workdir = tmp_path_factory.mktemp("trained")
    train(line_task(), line_data(), optimizer, SETTINGS._replace(keep=3), workdir)
    assert restoring.steps(workdir / "checkpoints") == [8, 9, 10]
    return workdir


def copied(trained: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(trained, tmp_path / "run"))


def flip(path: pathlib.Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_no_flipped_bit_changes_an_answer(trained, tmp_path):
    """200 of them, one at a time, in any file of a checkpoint. The files that Orbax writes after the digests, which say
    when it was committed, hold nothing that is used."""
    rng, workdir = np.random.default_rng(0), copied(trained, tmp_path)
    right = float(restore_variables(line_task(), SETTINGS, workdir, "10")[0]["params"]["w"])
    files = [path for path in sorted((workdir / "checkpoints" / "10").rglob("*")) if path.is_file()]
    sizes, noticed, harmless = np.array([path.stat().st_size for path in files]), 0, 0
    for _ in range(200):
        path = files[rng.choice(len(files), p=sizes / sizes.sum())]
        content = path.read_bytes()
        flip(path, int(rng.integers(8 * len(content))))
        try:
            assert float(restore_variables(line_task(), SETTINGS, workdir, "10")[0]["params"]["w"]) == right
            assert path.name in ("commit_success.txt", "_CHECKPOINT_METADATA"), path
            harmless += 1
        except DamagedError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            assert "the newest intact checkpoint is that of step 9; use --checkpoint=9 to select it" in str(error)
            noticed += 1
        path.write_bytes(content)
    assert noticed >= 180


def test_the_best_is_not_sought_among_damaged_ones(trained, tmp_path):
    """A changed metric would make another checkpoint the best."""
    workdir = copied(trained, tmp_path)
    step = restore_variables(line_task(), SETTINGS, workdir, "best")[1]
    (workdir / "checkpoints" / str(step) / "metrics" / "metrics").write_text('{"loss": 1e9}')
    with pytest.raises(DamagedError, match=f"checkpoints/{step}/metrics/metrics is damaged"):
        restore_variables(line_task(), SETTINGS, workdir, "best")
    (workdir / "file").mkdir()
    (workdir / "file" / "checkpoints").write_text("")
    with pytest.raises(NotADirectoryError, match="file/checkpoints"):
        train(line_task(), line_data(), optimizer, SETTINGS, workdir / "file")


def test_no_missing_part_changes_an_answer(trained, tmp_path):
    """100 files cut short or deleted."""
    rng, workdir = np.random.default_rng(1), copied(trained, tmp_path)
    files = [path for path in sorted((workdir / "checkpoints" / "10").rglob("*")) if path.is_file()]
    files = [path for path in files if path.name != "commit_success.txt"]
    for k in range(100):
        path = files[int(rng.integers(len(files)))]
        content = path.read_bytes()
        if k % 2:
            path.unlink()
        else:
            path.write_bytes(content[: int(rng.integers(len(content)))])
        with pytest.raises(DamagedError, match="step 9"):
            restore_variables(line_task(), SETTINGS, workdir, "10")
        path.write_bytes(content)
    assert restore_variables(line_task(), SETTINGS, workdir, "10")[1] == 10


@pytest.mark.parametrize("how", ["flipped", "empty", "cut metadata", "half deleted"])
def test_a_resumed_run_takes_the_newest_whole_checkpoint(how, tmp_path, caplog):
    """It says so, keeps the damaged ones aside, and ends as the run that was never damaged."""
    caplog.set_level("INFO", logger="actjax")
    settings = SETTINGS._replace(log_every=1)
    whole = train(line_task(), line_data(), optimizer, settings, tmp_path / "whole")
    with pytest.raises(Killed):
        train(line_task(), dying_data(8), optimizer, settings, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    before, newest = restoring.steps(folder)[-2:]
    broken = folder / str(newest)
    if how == "empty":
        shutil.rmtree(broken)
        broken.mkdir()
    elif how == "half deleted":
        (broken / "actjax.json").unlink()
        (broken / "_CHECKPOINT_METADATA").unlink()
    elif how == "cut metadata":
        os.truncate(broken / "default" / "_METADATA", 10)
    else:
        flip(next((broken / "default" / "d").iterdir()), 100)
    assert train(line_task(), line_data(), optimizer, settings, tmp_path / "run") == whole
    (told,) = [message for message in caplog.messages if "moved to" in message]
    assert "\n" not in told and f"resuming from the newest intact checkpoint, that of step {before}" in told
    assert [path.name for path in (tmp_path / "run" / "checkpoints.damaged").iterdir()] == [str(newest)]


def test_a_run_without_a_whole_checkpoint_is_left_alone(trained, tmp_path):
    """Its weights may be worth more than a start from nothing."""
    workdir = copied(trained, tmp_path)
    for step in (8, 9, 10):
        flip(workdir / "checkpoints" / str(step) / "default" / "_METADATA", 9)
    before = files_of(workdir)
    with pytest.raises(DamagedError, match="no other checkpoint is intact. To train anew, choose another workdir"):
        train(line_task(), line_data(), optimizer, SETTINGS._replace(epochs=5), workdir)
    assert files_of(workdir) == before


def test_a_checkpoint_of_an_older_version_is_read(trained, tmp_path, caplog):
    """It has no digests: that is said, and its progress is that of its batch size."""
    workdir = copied(trained, tmp_path)
    for step in (8, 9, 10):
        folder = workdir / "checkpoints" / str(step)
        (folder / "actjax.json").unlink()
        metadata = folder / "_CHECKPOINT_METADATA"
        metadata.write_text(metadata.read_text().replace('{"digests": "actjax.json"}', "{}"))
    assert restore_variables(line_task(), SETTINGS, workdir, "10")[1] == 10
    assert "has no digests, as an older version wrote it" in caplog.text
    assert train(line_task(), line_data(), optimizer, SETTINGS._replace(epochs=6), workdir)["step"] == 15


def test_weights_that_are_not_finite_are_refused(tmp_path):
    from actjax.training import save_variables

    broken = lambda: {"params": {"w": np.float32(np.nan)}}
    save_variables(line_task(), optimizer, SETTINGS, tmp_path, broken)
    with pytest.raises(ValueError, match=r"checkpoints/0: params/w is not finite \(1 of 1 values\)"):
        restore_variables(line_task(), SETTINGS, tmp_path, "latest")


def test_scores_that_are_not_finite_stop_a_run(tmp_path):
    """The step is not saved, as its network may have diverged."""
    task = line_task()._replace(predict=lambda v, b: {"scores": v["params"]["w"] / (b["x"] - 7), "y": b["y"]})
    with pytest.raises(FloatingPointError, match="scores of 1 of 20 videos of the validation set are not finite"):
        train(task, line_data(), optimizer, SETTINGS._replace(save_every=100), tmp_path)
    assert restoring.steps(tmp_path / "checkpoints") == []


def test_last_steps_are_exact():
    """The formula of the whole epochs, where rounding could add a step."""
    for records, batch_size, epochs in ((10, 3, 3.0), (30, 8, 0.1), (100, 7, 0.7), (64, 8, 2.0), (7, 100, 5)):
        last = Timeline(records, batch_size).last_step(epochs)
        assert (last - 1) * batch_size < epochs * records - 1e-6 <= last * batch_size
