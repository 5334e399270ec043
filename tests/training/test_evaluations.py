"""Evaluators besides the validation: when they are due, which passes they share, and what a resumed run does."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from lines import RECORDS, SETTINGS, Killed, dying_data, line_data, line_task, optimizer, rows

from actjax.training import Data, Evaluator, checkpoints, evaluate, restore_variables, train

TASK = line_task()


class Passes:
    """The passes over some lines, which count what is opened, read and closed."""

    def __init__(self, num: int = 8):
        self.num, self.opened, self.read, self.closed = num, 0, 0, 0

    def __call__(self):
        self.opened += 1
        try:
            while True:
                self.read += 1
                x = np.arange(8, dtype=np.float32)
                yield iter([{"x": x, "y": 3 * x + 1, "mask": x < self.num}])
        finally:
            self.closed += 1


def counting(passes: Passes) -> Data:
    return line_data()._replace(evaluate=passes)


def worst(outputs, targets):
    return {"loss": float(np.abs(outputs["y"] - targets["y"]).max())}


def by_name(metrics: dict) -> dict:
    return {name: float(value) for name, value in metrics.items() if np.isscalar(value)}


def test_each_has_its_interval_and_the_last_step_evaluates_all(tmp_path):
    validation, own = Passes(), Passes(num=4)
    evaluators = [
        Evaluator("often", 0.8, TASK.predict, worst, own),
        Evaluator("seldom", 3, TASK.predict, TASK.score, own),
    ]
    metrics = train(TASK, counting(validation), optimizer, SETTINGS, tmp_path, evaluators=evaluators)
    found = {
        name: [row["step"] for row in rows(tmp_path, "val") if f"{name}loss" in row]
        for name in ("", "often/", "seldom/")
    }  # an epoch takes 2.5 steps
    assert found == {"": [3, 5, 8, 10], "often/": [2, 4, 6, 8, 10], "seldom/": [8, 10]}
    assert metrics["often/num_videos"] == metrics["seldom/rows"] == 4 and metrics["num_videos"] == 8
    assert rows(tmp_path, "val")[-1].items() >= by_name(metrics).items()
    assert np.shape(metrics["seldom/matrix"]) == (2, 2)


def test_passes_are_shared_and_closed(tmp_path):
    """The validation's stay open, those of others are closed after every use, and no pass is made twice."""
    validation, own = Passes(), Passes()
    evaluators = [
        Evaluator("same", 1, TASK.predict, worst, validation),
        Evaluator("between", 0.5, TASK.predict, worst, validation),
        Evaluator("own", 1, TASK.predict, worst, own),
        Evaluator("also", 2, TASK.predict, worst, own),
        Evaluator("other", 4, lambda variables, batch: {"y": 0 * batch["x"]}, worst, own),
    ]
    metrics = train(TASK, counting(validation), optimizer, SETTINGS, tmp_path, evaluators=evaluators)
    assert validation.opened == validation.closed == 1
    assert validation.read == 8 and len(rows(tmp_path, "val")) == 8  # steps 2, 3, 4, 5, 7, 8, 9, 10
    assert own.opened == own.read == own.closed == 4 + 1  # after steps 3, 5, 8 and 10; for "other" again in the end
    assert metrics["same/loss"] == metrics["between/loss"] == metrics["own/loss"] == metrics["also/loss"]
    assert metrics["other/loss"] == 22


def test_tags_of_tensorboard(tmp_path):
    train(
        TASK,
        line_data(),
        optimizer,
        SETTINGS,
        tmp_path,
        evaluators=[Evaluator("own", 1, TASK.predict, worst, Passes())],
    )
    events = b"".join(file.read_bytes() for file in tmp_path.glob("events.out.tfevents.*"))
    assert b"own/loss" in events and b"val/loss" in events and b"val/own" not in events


def test_scores_may_use_jax(tmp_path):
    score = lambda outputs, targets: {"loss": jnp.abs(jnp.asarray(outputs["y"]) - 1).mean()}
    evaluators = [Evaluator("jax", 1, TASK.predict, score, Passes())]
    assert np.isfinite(
        float(train(TASK, line_data(), optimizer, SETTINGS, tmp_path, evaluators=evaluators)["jax/loss"])
    )


def test_a_resumed_run_reports_the_same(tmp_path):
    make = lambda: [
        Evaluator("a", 0.4, TASK.predict, worst, Passes()),
        Evaluator("b", 3, TASK.predict, worst, Passes()),
    ]
    for step in (4, 7):
        with pytest.raises(Killed):
            train(TASK, dying_data(step), optimizer, SETTINGS, tmp_path / "killed", evaluators=make())
    killed = train(TASK, line_data(), optimizer, SETTINGS, tmp_path / "killed", evaluators=make())
    whole = train(TASK, line_data(), optimizer, SETTINGS, tmp_path / "whole", evaluators=make())
    again = train(TASK, line_data(), optimizer, SETTINGS, tmp_path / "whole", evaluators=make())
    assert by_name(killed) == by_name(whole) == by_name(again)
    assert rows(tmp_path / "killed", "val") == rows(tmp_path / "whole", "val")


def test_the_best_is_one_of_those_that_were_measured(tmp_path):
    """Here the loss of an evaluator rises: the best is its first measurement, not an earlier or a latest checkpoint."""
    measured = iter([1.0, 2.0, 3.0])
    evaluator = Evaluator("own", 2, TASK.predict, lambda outputs, targets: {"loss": next(measured)}, Passes())
    settings = SETTINGS._replace(best="own/loss", keep=1)
    train(TASK, line_data(), optimizer, settings, tmp_path, evaluators=[evaluator])
    assert [row["step"] for row in rows(tmp_path, "val") if "own/loss" in row] == [5, 10]
    assert restore_variables(TASK, settings, tmp_path, "best")[1] == 5
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal()}
    assert kept == {5, 10}


def test_a_metric_that_fails_loses_no_training(tmp_path):
    """The step is saved without metrics, and the run goes on once the metric is mended."""

    def broken(outputs, targets):
        raise ValueError("metric 'own' returned nan; it must return finite numbers")

    evaluators = [Evaluator("own", 1, TASK.predict, broken, Passes())]
    with pytest.raises(ValueError, match="'own' returned nan; .* finite numbers. Step 3 is saved; fix") as raised:
        train(TASK, line_data(), optimizer, SETTINGS, tmp_path, evaluators=evaluators)
    assert raised.value.clear and "\n" not in str(raised.value)
    assert restore_variables(TASK, SETTINGS, tmp_path, "latest")[1] == 3
    mended = train(TASK, line_data(), optimizer, SETTINGS, tmp_path)
    assert by_name(mended) == by_name(train(TASK, line_data(), optimizer, SETTINGS, tmp_path / "whole"))


def test_an_evaluation_that_failed_at_the_end_is_ranked_once_it_is_mended(tmp_path):
    """Its metrics are stored with the last checkpoint, as in a run without a fault."""
    measured = iter([3.0, 2.0, float("nan")])

    def failing(outputs, targets):
        if np.isnan(value := next(measured)):
            raise ValueError("metric 'own' returned nan; it must return finite numbers")
        return {"loss": value}

    settings = SETTINGS._replace(best="own/loss")
    with pytest.raises(ValueError, match="Step 10 is saved"):
        train(TASK, line_data(), optimizer, settings, tmp_path, evaluators=[
            Evaluator("own", 1.5, TASK.predict, failing, Passes())])  # fmt: skip
    assert restore_variables(TASK, settings, tmp_path, "best")[1] == 8
    mended = Evaluator("own", 1.5, TASK.predict, lambda outputs, targets: {"loss": 1.0}, Passes())
    for _ in range(2):
        results = train(TASK, line_data(), optimizer, settings, tmp_path, evaluators=[mended])
        assert results["best"]["step"] == 10 and results["best"]["own/loss"] == 1.0
        assert restore_variables(TASK, settings, tmp_path, "best")[1] == 10
    (row,) = [row for row in rows(tmp_path, "val") if row["step"] == 10]
    assert row["own/loss"] == 1.0
    later = tmp_path / "checkpoints" / "10" / "ranked.json"  # written at once, beside a checkpoint that stays as it was
    later.write_text(later.read_text().replace("1.0", "1.5"))
    assert restore_variables(TASK, settings, tmp_path, "best")[1] == 8


def test_nan_is_never_the_best(tmp_path):
    measured = iter([float("nan"), 1.0, 2.0])
    evaluator = Evaluator("own", 2, TASK.predict, lambda outputs, targets: {"loss": next(measured)}, Passes())
    settings = SETTINGS._replace(best="own/loss")
    train(TASK, line_data(), optimizer, settings, tmp_path, evaluators=[evaluator])
    assert restore_variables(TASK, settings, tmp_path, "best")[1] == 10


def test_results_are_plain_numbers():
    """json.dumps takes them, matrices as nested lists."""
    batches = [{"x": np.ones(2), "label": np.array([1, 0]), "mask": np.array([True, True])}]
    score = lambda outputs, targets: {"a": np.float32(0.5), "b": jnp.int32(3), "matrix": np.eye(2, dtype=int)}
    found = evaluate(lambda variables, batch: {"y": batch["x"]}, score, 0.0, batches, put=dict)
    assert json.loads(json.dumps(found)) == found == {"a": 0.5, "b": 3, "matrix": [[1, 0], [0, 1]], "num_videos": 2}


def test_another_best_for_a_run_that_goes_on(tmp_path):
    """Checkpoints from before have no such metric and are not the best."""
    train(TASK, line_data(), optimizer, SETTINGS._replace(epochs=2), tmp_path)
    settings = SETTINGS._replace(best="own/acc")
    score = lambda outputs, targets: {"acc": -float(np.abs(outputs["y"]).mean())}
    evaluator = Evaluator("own", 3, TASK.predict, score, Passes())
    assert restore_variables(TASK, settings, tmp_path, "best")[1] == 5  # the latest, for want of another
    train(TASK, line_data(), optimizer, settings, tmp_path, evaluators=[evaluator])
    measured = {row["step"]: row["own/acc"] for row in rows(tmp_path, "val") if "own/acc" in row}
    assert restore_variables(TASK, settings, tmp_path, "best")[1] == max(measured, key=measured.get)


def test_a_best_that_is_not_reported(tmp_path):
    settings = SETTINGS._replace(best="own/acc")
    evaluators = [Evaluator("own", 2, TASK.predict, worst, Passes())]
    with pytest.raises(ValueError, match=r"run.best='own/acc' was not reported; choose from \['own/loss', 'own/num_vi"):
        train(TASK, line_data(), optimizer, settings, tmp_path, evaluators=evaluators)


def test_nothing_to_evaluate(tmp_path):
    evaluators = [Evaluator("own", 1, TASK.predict, worst, Passes(num=0))]
    with pytest.raises(RuntimeError, match="no video of evaluator 'own' could be read"):
        train(TASK, line_data(), optimizer, SETTINGS, tmp_path, evaluators=evaluators)


@pytest.mark.parametrize("name", ["mAP", "own/mAP", "lossless/f1", "own/sample_mAP", "mAP@0.5", "a/recall"])
def test_higher_is_better(name):
    assert checkpoints.higher_is_better(name)


def test_lower_is_better():
    assert not checkpoints.higher_is_better("accurate/loss")
    with pytest.raises(ValueError, match="whether higher is better"):
        checkpoints.higher_is_better("accurate/ece")


assert RECORDS == 20 and SETTINGS.batch_size == 8  # which the steps above follow from
