"""Makes the saved runs of commit 0a25df0 again.

In a checkout of that commit, with this folder copied into it, from its root:

    PYTHONPATH=. python tests/golden/saved_runs/make.py

Videos and features are drawn where the folder `data` is missing.
"""

import gzip
import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable

import numpy as np

HERE = pathlib.Path(__file__).parent
RUNS = ("recognition", "bsn", "ssn")
CLIP = "tests/golden/saved_runs/data/clips/val_0_1.mp4"  # to predict from
GO_ON = {  # what a user adds to the command line to train longer
    "recognition": ["--config.run.epochs=4.0"],
    "bsn": ["--config.pem.run.epochs=6.0"],  # PEM is then trained anew; TEM and the proposals stay
    "ssn": ["--config.run.epochs=4.0"],
}
STATES = {  # published recipes, and what is changed in them
    "tsm_nl_embedded_gaussian_r50_1x1x8_50e_kinetics400_rgb": {"model.dtype": "float16", "run.ema": 0.999},
    "tsm_mobilenetv2_dense_1x1x8_100e_kinetics400_rgb": {},
    "ssn_r50_450e_thumos14_rgb": {},
    "bsn_400x100_activitynet_feature": {},
    "bmn_400x100_2x8_9e_activitynet_feature": {},
}
# Left out of a run: logs, pictures, and what tells about the machine.
MACHINE = ("environment.json", "commit_success.txt", "train.log", "events.out", ".png", ".old", "quarantine.jsonl")


def config(name: str) -> str:
    return f"--config=tests/golden/saved_runs/{name}.py"


def losses(workdir: pathlib.Path) -> dict[str, list[float]]:
    """The loss of every step, by the folder of the network."""
    found = {}
    for file in sorted(workdir.rglob("metrics.jsonl")):
        rows = map(json.loads, file.read_text().splitlines())
        found[str(file.parent.relative_to(workdir))] = [row["loss"] for row in rows if row["split"] == "train"]
    return found


def results(workdir: pathlib.Path, name: str = "results") -> dict[str, float]:
    """The metrics of `NAME.json`."""
    numbers = json.loads((workdir / f"{name}.json").read_text())
    return {key: value for key, value in numbers.items() if key not in ("seconds", "decoder")}


def states(networks: Callable) -> dict[str, dict[str, str]]:
    """Every leaf of the training states of `STATES`, by its path: its type and shape.

    networks: config -> {stage, "" for the only one: (task, optimizer, settings)}.
    """
    import jax

    from actjax.training.program import make_program

    found = {}
    for name, changes in STATES.items():
        config = runpy.run_path(str(HERE.parents[2] / "configs" / f"{name}.py"))["get_config"]()
        config.update_from_flattened_dict(changes)
        for stage, parts in networks(config).items():
            state = make_program(*parts, steps_per_epoch=1.0).shapes
            leaves = jax.tree_util.tree_leaves_with_path(state._asdict())
            found[f"{name} {stage}".strip()] = {jax.tree_util.keystr(k): f"{x.dtype}{list(x.shape)}" for k, x in leaves}
    return found


def networks_then(config) -> dict:
    """Of a config at commit 0a25df0."""
    from actjax.experiment import build

    made = build(config)
    parts = lambda network, task: (task, network.optimizer, network.settings)
    if hasattr(made, "networks"):
        return {stage: parts(network, network.task(None)) for stage, network in made.networks.items()}
    return {"": parts(made, made.task)}


def main() -> None:
    if not (HERE / "data").exists():
        draw(HERE / "data")
    after = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in RUNS:
            workdir = pathlib.Path(folder, name)
            run(config(name), workdir)
            run("--mode=eval", workdir)
            if name == "recognition":
                run("--mode=predict", workdir, f"--video={CLIP}")
            pack(workdir, HERE / f"{name}.tar.gz")
            run(config(name), workdir, *GO_ON[name])
            after[name] = {"losses": losses(workdir), "results": results(workdir)}
    (HERE / "after.json").write_text(json.dumps(after, indent=1) + "\n")
    (HERE / "states.json.gz").write_bytes(gzip.compress(json.dumps(states(networks_then)).encode(), mtime=0))


def run(what: str, workdir: pathlib.Path, *options: str) -> None:
    subprocess.run([sys.executable, "-m", "actjax.main", what, f"--workdir={workdir}", *options], check=True)


def pack(workdir: pathlib.Path, archive: pathlib.Path) -> None:
    """The run without `MACHINE`."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if any(part in pathlib.Path(info.name).name for part in MACHINE):
            return None
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(archive, "w:gz", compresslevel=9) as file:
        file.add(workdir, arcname=workdir.name, filter=plain)


def draw(folder: pathlib.Path) -> None:
    """Videos and features as those of the sample sets, smaller."""
    from actjax.data import sequences, shapes
    from actjax.data.untrimmed_shapes import NUM_PROPOSALS, draw_video, motion_actionness
    from actjax.localization import actionness_grouping, proposal_rows, save_localize_proposal_file

    clips, untrimmed, features = (folder / name for name in ("clips", "untrimmed", "features"))
    for path in (clips, untrimmed / "videos", features / "csv"):
        path.mkdir(parents=True)
    for split, draws in (("train", 4), ("val", 2)):
        lines = []
        for k in range(draws):
            frames = shapes.draw_clip(k % 2, rng=np.random.default_rng((0, len(split), k)))[:16]
            for label, ordered in ((k % 2 * 2, frames), (k % 2 * 2 + 1, frames[::-1])):
                shapes.write_video(clips / f"{split}_{k}_{label}.mp4", small(ordered), fps=12)
                lines.append(f"{split}_{k}_{label}.mp4 {label}\n")
        (clips / f"{split}.txt").write_text("".join(lines))
    (clips / "classes.txt").write_text("".join(f"{name}\n" for name in shapes.CLASSES[:4]))

    for split, draws in (("train", (0, 8, 11)), ("val", (1, 3))):
        rows = []
        for k in draws:
            frames, truths = draw_video(np.random.default_rng((0, 0, k)))
            shapes.write_video(untrimmed / "videos" / f"v{k}.mp4", small(frames), fps=12)
            found = actionness_grouping(motion_actionness(frames), min_length=8)[: NUM_PROPOSALS // 3]
            labels, segments = [row[0] for row in truths], [row[1:] for row in truths]
            proposals = proposal_rows(found[:, :2], segments, labels)
            rows.append((f"v{k}", len(frames), [list(map(str, truth)) for truth in truths], proposals))
        save_localize_proposal_file(rows, untrimmed / f"{split}_proposals.txt")
    (untrimmed / "classes.txt").write_text("".join(f"{name}\n" for name in shapes.CLASSES))

    made = sequences.make_sequences(features / "whole", num_train=4, num_val=3, seed=3)
    for file in sorted((made / "features").iterdir()):
        rows = file.read_text().splitlines()[::4]  # the header, then every fourth feature
        few = [",".join(f"{float(x):.2f}" if n else x for x in row.split(",")[:8]) for n, row in enumerate(rows)]
        (features / "csv" / file.name).write_text("\n".join(few) + "\n")
    for split in ("train", "val"):
        shutil.move(made / f"anet_anno_{split}.json", features / f"{split}.json")
    shutil.move(made / "class_scores.json", features / "class_scores.json")
    shutil.rmtree(made)


def small(frames: np.ndarray) -> np.ndarray:
    import cv2

    return np.stack([cv2.resize(frame, (32, 24), interpolation=cv2.INTER_AREA) for frame in frames])


if __name__ == "__main__":
    os.chdir(HERE.parents[2])
    main()
