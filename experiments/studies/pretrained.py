r"""Steps until a network from ImageNet, and the same one from nothing, are right about 90 % of the sample set.

    python experiments/studies/pretrained.py --weights=mobilenet_v2_imagenet.safetensors --mean=128 --std=128
    python experiments/studies/pretrained.py --weights=checkpoints/mobilenet_v2-b0353104.pth

Both are TSM with MobileNetV2, 8 frames of `--size`, trained as `tsm_own` trains on a folder: batch norms of the first
keep their ImageNet statistics, those of the second estimate their own, at the learning rate of `tsm_own:scratch`. They
see the same batches. The validation is made every `--every` epochs, so steps are multiples of that.
"""

import json
import pathlib
import tempfile
import time

from absl import app, flags

_WEIGHTS = flags.DEFINE_string("weights", None, "File with ImageNet weights of MobileNetV2.", required=True)
_MEAN = flags.DEFINE_multi_float("mean", [123.675, 116.28, 103.53], "Of the pixels that the weights expect.")
_STD = flags.DEFINE_multi_float("std", [58.395, 57.12, 57.375], "Of these pixels.")
_SIZE = flags.DEFINE_integer("size", 64, "Side of the frames, in pixels.")
_VIDEOS = flags.DEFINE_integer("videos", 320, "Training videos; a quarter as many validate.")
_EPOCHS = flags.DEFINE_float("epochs", 10.0, "Of each run.")
_EVERY = flags.DEFINE_float("every", 1.0, "Epochs between validations.")
_GOAL = flags.DEFINE_float("goal", 0.9, "Accuracy that counts.")
_RUNS = flags.DEFINE_multi_enum("run", ["imagenet", "nothing"], ["imagenet", "nothing"], "What to run.")
_FOLDER = flags.DEFINE_string("folder", None, "Keeps the runs; default: a temporary folder.")


def options(name: str) -> dict:
    """The overrides of `tsm_own` for a run."""
    size = _SIZE.value
    changes = {
        "data": dict(name="shapes", num_train=_VIDEOS.value, num_val=_VIDEOS.value // 4),
        "model.mean": tuple(_MEAN.value),
        "model.std": tuple(_STD.value),
        "train.view": dict(short_side=round(size * 9 / 8), size=size, scales=(1.0, 0.875)),
        "eval.view": dict(short_side=round(size * 9 / 8), size=size),
        "run": dict(epochs=_EPOCHS.value, eval_every=_EVERY.value, log_every=10),
        "load_from.path": _WEIGHTS.value,
    }
    if name == "nothing":
        changes |= {"load_from.path": "", "model.norm_eval": False, "model.frozen_stages": -1}
        changes |= {"optim.lr": 0.05, "optim.lr_batch_size": 16, "optim.rules.name": "uniform"}
    return changes


def validations(workdir: pathlib.Path) -> list[tuple[int, float]]:
    """(step, accuracy) of every validation of a run."""
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [(row["step"], row["top1_acc"]) for row in rows if row["split"] == "val"]


def main(_) -> None:
    import actjax

    with tempfile.TemporaryDirectory() as temporary:
        table = []
        for name in _RUNS.value:
            begun = time.perf_counter()
            workdir = pathlib.Path(_FOLDER.value or temporary) / name
            actjax.train("tsm_own", workdir, **options(name))
            seconds, found = time.perf_counter() - begun, validations(workdir)
            reached = next((str(step) for step, accuracy in found if accuracy >= _GOAL.value), "not reached")
            table.append((name, reached, f"{max(a for _, a in found):.1%}", f"{found[-1][1]:.1%}", f"{seconds:.0f} s"))
            print(name, *(f"{step}: {accuracy:.3f}" for step, accuracy in found))
    print(f"\n| starts from | steps to {_GOAL.value:.0%} | best | last | time |\n| --- | --- | --- | --- | --- |")
    for row in table:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    app.run(main)
