"""Every command of the documents is run as it stands there, made small by a few arguments more."""

import itertools
import json
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import published_sets
import pytest
from cli import environment
from conftest import MEDIA, ROOT, TESTS
from user_files import published, videos

from actjax.data.samples.sequences import make_sequences
from actjax.data.samples.untrimmed_shapes import draw_video, make_untrimmed
from actjax.localization import proposal_rows, save_localize_proposal_file

NAMES = ("README.md", "docs/guide.md", "docs/model_zoo.md", "docs/scaling.md", "experiments/README.md")
TEXTS = [(ROOT / name).read_text() for name in NAMES]


def commands(text: str) -> list[str]:
    """Those of the ```bash blocks of a document, each in one line; a loop of the shell is one."""
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S))
    lines = re.sub(r" *\\?\n +|\n(?=done$)", " ", blocks, flags=re.M).splitlines()
    parts = itertools.chain(*(line.split(" && ") for line in lines))
    return [command for part in parts if (command := re.sub(r"\s+# .*", "", part).strip())]


# What they need: a few videos, features, checkpoints, as a user would have them.


def kinetics_videos(folder: pathlib.Path) -> None:
    """The videos under the names of the lists of Kinetics."""
    (folder / "data" / "kinetics400").mkdir(parents=True)
    for split in ("train", "val"):
        lines = [f"../../{line}\n" for line in (folder / f"{split}.txt").read_text().splitlines()]
        (folder / "data" / "kinetics400" / f"kinetics400_{split}_list_videos.txt").write_text("".join(lines))


def kinetics_frames(folder: pathlib.Path) -> None:
    """Two folders of pictures, the list of Kinetics that names them, and another."""
    root = folder / "data" / "kinetics400"
    for k in range(2):
        (root / f"clip_{k}").mkdir(parents=True)
        for number in range(1, 10):
            cv2.imwrite(str(root / f"clip_{k}" / f"img_{number:05d}.jpg"), np.full((48, 64, 3), 20 * number, np.uint8))
    (root / "kinetics400_train_list_rawframes.txt").write_text("clip_0 9 0\nclip_1 9 1\n")
    (folder / "val.txt").write_text("data/kinetics400/clip_0 9 3\ndata/kinetics400/clip_1 9 1\n")


def activitynet(folder: pathlib.Path) -> None:
    """Features and annotations where MMAction2's scripts put them."""
    made = make_sequences(folder / "made", num_train=16, num_val=8)
    root = folder / "data" / "ActivityNet"
    (root / "activitynet_feature_cuhk").mkdir(parents=True)
    (made / "features").rename(root / "activitynet_feature_cuhk" / "csv_mean_100")
    for split in ("train", "val"):
        (made / f"anet_anno_{split}.json").rename(root / f"anet_anno_{split}.json")


def classes(folder: pathlib.Path) -> None:
    """A folder with a folder of four videos for each of two classes."""
    videos(folder)
    files = sorted((folder / "videos").glob("*.mp4"))
    for name, some in (("clapping", files[:4]), ("waving", files[4:8])):
        (folder / "FOLDER" / name).mkdir(parents=True)
        for file in some:
            shutil.copy(file, folder / "FOLDER" / name)


def matches(folder: pathlib.Path) -> None:
    """Five untrimmed videos, with the annotation file of the guide for them."""
    made = make_untrimmed(folder / "untrimmed", num_train=4, num_val=1)
    (made / "videos").rename(folder / "VIDEOS")
    (made / "annotations.json").rename(folder / "annotations.json")


def csv_features(folder: pathlib.Path) -> None:
    shutil.copytree(
        folder / "data" / "ActivityNet" / "activitynet_feature_cuhk" / "csv_mean_100", folder / "activitynet_csv"
    )


def thumos14(folder: pathlib.Path) -> None:
    """Untrimmed videos as folders of pictures, and proposals: near their actions, a part of them, behind them."""
    for split, count in (("val", 2), ("test", 1)):
        rows = []
        for k in range(count):
            rng = np.random.default_rng((k, count))
            frames, truths = draw_video(rng)
            pictures = folder / "data" / "thumos14" / "rawframes" / split / f"video_{split}_{k}"
            pictures.mkdir(parents=True)
            for number, frame in enumerate(frames, 1):
                cv2.imwrite(str(pictures / f"img_{number:05d}.jpg"), frame)
            labels, segments = [row[0] for row in truths], np.array([row[1:] for row in truths])
            length = segments[:, 1:] - segments[:, :1]
            near = segments + length * rng.uniform(-0.1, 0.1, segments.shape)
            short, behind = segments[:, :1] + length * [0, 0.25], segments[:, 1:] + [0, 8]
            found = np.concatenate([near, short, behind]).astype(int).clip(0, len(frames))
            rows.append(
                (
                    pictures.name,
                    len(frames),
                    [list(map(str, row)) for row in truths],
                    proposal_rows(found, segments, labels),
                )
            )
        save_localize_proposal_file(rows, folder / "data" / "thumos14" / f"thumos14_tag_{split}_proposal_list.txt")


def ucf101(folder: pathlib.Path) -> None:
    """Six videos of two classes, and the published lists."""
    published_sets.ucf101(folder)
    (folder / "annotations").rename(folder / "ucfTrainTestlist")
    (folder / "videos").rename(folder / "UCF-101")


def result_files(folder: pathlib.Path) -> None:
    """A ground truth of ActivityNet, and detections of half of it."""
    segments = [{"segment": [0, 10], "label": "x"}, {"segment": [20, 30], "label": "y"}]
    truth = {"database": {"v": {"subset": "validation", "duration": 30, "annotations": segments}}}
    (folder / "activity_net.v1-3.min.json").write_text(json.dumps(truth))
    (folder / "pred.json").write_text(json.dumps({"results": {"v": [segments[0] | {"score": 0.9}]}}))


def scores(folder: pathlib.Path) -> None:
    """Of two runs: alone the first is wrong at one video of two, together they are right."""
    for name, values in (("rgb", [[0.6, 0.4], [0.6, 0.4]]), ("flow", [[0.5, 0.5], [0.1, 0.9]])):
        (folder / "runs" / name).mkdir(parents=True)
        np.savez(folder / "runs" / name / "scores.npz", name=["a", "b"], scores=values, label=[0, 1])


def copied(source: str, target: str) -> Callable[[pathlib.Path], None]:
    return lambda folder: shutil.copy(folder / source, folder / target)


class Run(NamedTuple):
    """A command that is run.

    more: arguments that make it small. needs: write what it reads, after the commands before it.
    leaves: files that it makes. says: a pattern of what it prints.
    """

    more: str = ""
    needs: tuple[Callable, ...] = ()
    leaves: tuple[str, ...] = ()
    says: str = ""


class Elsewhere(NamedTuple):
    """A command that the test `name` of `file` runs in the same form."""

    file: str
    name: str


def overrides(*settings: str) -> str:
    """Arguments that set keys of a config."""
    return " ".join(f"--config.{setting}" for setting in settings)


SMALL_LOADER, SMALL_DEPTH = overrides("loader.num_workers=1"), overrides("model.depth=10")
SMALL_EVAL = overrides("eval.view.short_side=36", "eval.view.size=32", "run.eval_batch_size=2")
SMALL_TRAIN = overrides(
    "train.view.short_side=36", "train.view.size=32", "run.batch_size=4", "run.epochs=1.0", "run.log_every=1"
)
SMALL = f"{SMALL_LOADER} {SMALL_DEPTH} {SMALL_EVAL} {SMALL_TRAIN}"
SMALL_TEST = overrides("test.view.short_side=36", "test.view.size=32", "test.sample.num_clips=3")
SMALL_BSN = overrides(
    "tem.model.feat_dim=48", "tem.model.hidden_dim=16", "tem.run.epochs=1.0",
    "pgm.top_k_train=40", "pgm.top_k=60", "pem.run.epochs=1.0",
)  # fmt: skip
SMALL_BMN = overrides(
    "bmn.model.feat_dim=48", "bmn.model.temporal_scale=20", "bmn.model.num_samples=4", "bmn.model.hidden_dim_1d=16",
    "bmn.model.hidden_dim_2d=8", "bmn.model.hidden_dim_3d=16", "bmn.run.epochs=1.0", "bmn.run.batch_size=8",
)  # fmt: skip
SMALL_OWN = SMALL_BMN.replace("--config.bmn.model.feat_dim=48 ", "")
SMALL_SSN = overrides(
    "model.depth=10", "train.view.short_side=36", "train.view.size=32", "test.view.short_side=36", "test.view.size=32",
    "sample.body_segments=1", "sample.test_interval=60", "loader.num_workers=1", "load_from.path=checkpoints/small.pth",
    "run.batch_size=1", "run.eval_batch_size=1", "run.epochs=1.0",
)  # fmt: skip
SMALL_STEP = overrides("model.depth=10", "run.batch_size=8", "train.view.size=32", "train.sample.num_clips=2")

MAIN = "python -m actjax.main"
VIDEOS = "tsm_r50_video_1x1x8_50e_kinetics400_rgb"
FRAMES = "tsm_r50_1x1x8_50e_kinetics400_rgb"
LISTS = "--config.data.train=train.txt --config.data.val=val.txt"

# Each group in a folder of its own, in the order in which they are run.
GROUPS = {
    "a folder of classes": {
        f"{MAIN} --config=tsm_own --workdir=runs/mine --config.data.folder=FOLDER": Run(
            f"{SMALL_LOADER} {SMALL_EVAL} {SMALL_TRAIN} --config.model.width=8 --config.load_from.path=",
            (classes,),
            ("runs/mine/results.json", "runs/mine/lists/val.csv", "runs/mine/lists/classes.txt"),
            "2 classes, 6 videos to train on, 2 to validate on",
        ),
    },
    "own videos": {
        f"{MAIN} --mode=check --config={VIDEOS}:scratch --workdir=runs/data {LISTS}": Run(
            needs=(videos,),
            leaves=("runs/data/broken.jsonl", "runs/data/train_clean.csv"),
            says="8 of 8 videos are sound",
        ),
        f"{MAIN} --config={VIDEOS}:scratch --workdir=runs/mine {LISTS} --config.data.class_names=classes.txt "
        "--config.model.num_classes=12": Run(
            SMALL, leaves=("runs/mine/results.json", "runs/mine/checkpoints/2"), says="top1_acc"
        ),
        f"{MAIN} --mode=eval --workdir=runs/mine": Run(
            leaves=("runs/mine/results_eval.json", "runs/mine/scores.npz"), says="top1_acc"
        ),
        f"{MAIN} --mode=eval --workdir=runs/mine --config.data.val=val.txt": Run(
            leaves=("runs/mine/results_eval.json",), says="top1_acc"
        ),
        f"{MAIN} --mode=predict --workdir=runs/mine --video=clip.mp4": Run(
            leaves=("runs/mine/predictions.jsonl",), says="clip.mp4"
        ),
        f"{MAIN} --mode=extract --workdir=runs/mine --video=videos --out=features": Run(
            leaves=("features/val_1.csv", "features/video_info.csv")
        ),
        f"{MAIN} --config=bmn_own --workdir=runs/bmn_own": Run(
            f"{SMALL_OWN} --config.data.network=runs/mine --config.data.num_train=6 --config.data.num_val=3",
            leaves=("runs/bmn_own/results.json", "runs/bmn_own/features/extraction.json"),
            says="ground truth",
        ),
        f"{MAIN} --mode=localize --workdir=runs/bmn_own --video=match.mp4 --render": Run(
            needs=(copied("clip.mp4", "match.mp4"),),
            leaves=tuple(f"runs/bmn_own/localized/{name}" for name in ("segments.csv", "match.srt", "match.mp4")),
            says="match",
        ),
        f"{MAIN} --config=bmn_own --workdir=runs/matches --config.data.videos=VIDEOS "
        "--config.data.train=annotations.json --config.data.val=annotations.json --config.data.network=runs/mine": Run(
            SMALL_OWN, (matches,), ("runs/matches/results.json", "runs/matches/lists/val.json"), "ground truth"
        ),
        f"{MAIN} --mode=import --config={FRAMES} --workdir=runs/tsm --from=FILE.pth": Run(
            SMALL_DEPTH,
            (published("FILE.pth"),),
            ("runs/tsm/checkpoints/0",),
            "in the layout of MMAction2",
        ),
        f"{MAIN} --mode=prepare --config={VIDEOS} --out=k400_prepared": Run(
            f"{SMALL_LOADER} --config.prepare.short_side=0 --config.model.num_classes=12",
            (kinetics_videos,),
            ("k400_prepared/dataset_info.json",),
        ),
        f"{MAIN} --config={VIDEOS}:prepared=k400_prepared --workdir=runs/k400": Run(
            f"{SMALL} --config.model.num_classes=12 --config.load_from.path=checkpoints/small.pth",
            (published("checkpoints/small.pth"),),
            ("runs/k400/results.json",),
            "400 classes in the file, 12 in the model: fc_cls is re-initialised",
        ),
        "python experiments/extract_flow.py --list=train.txt --out=flow": Run("--workers=1", says="8 videos done"),
        "python experiments/extract_flow.py --list=val.txt --out=flow": Run("--workers=1", leaves=("flow/val.csv",)),
        f"{MAIN} --config=tsn_r50_1x1x3_100e_kinetics400_rgb:flow --workdir=runs/flow "
        "--config.data.train=flow/train.csv --config.data.val=flow/val.csv --config.model.num_classes=12": Run(
            f"{SMALL} {SMALL_TEST} --config.load_from.path=checkpoints/small.pth",
            leaves=("runs/flow/results.json",),
            says="the stem for 3 channels was inflated to 10",
        ),
    },
    "public sets": {
        "python -m actjax.data.lists ucf101 --annotations=ucfTrainTestlist --videos=UCF-101": Run(
            needs=(ucf101,),
            leaves=("data/ucf101/train.csv", "data/ucf101/val.csv", "data/ucf101/classes.txt"),
            says=f"{VIDEOS}.* --config.data.data_prefix=UCF-101 .*--config.model.num_classes=2",
        ),
    },
    "model zoo": {
        f"{MAIN} --mode=import --config={FRAMES} --workdir=runs/tsm "
        "--from=tsm_r50_1x1x8_50e_kinetics400_rgb_20210701-68d582b4.pth": Run(
            f"{SMALL_DEPTH} {SMALL_EVAL}",
            (published("tsm_r50_1x1x8_50e_kinetics400_rgb_20210701-68d582b4.pth"),),
            ("runs/tsm/checkpoints/0",),
        ),
        f"{MAIN} --mode=predict --workdir=runs/tsm --video=clip.mp4": Run(
            needs=(copied(MEDIA / "test.mp4", "clip.mp4"),), says="clip.mp4"
        ),
        f"{MAIN} --mode=eval --workdir=runs/tsm --config.data.val=val.txt": Run(
            SMALL_LOADER,
            (kinetics_frames,),
            ("runs/tsm/scores.npz",),
            "top1_acc",
        ),
        f"{MAIN} --mode=export --workdir=runs/tsm --out=tsm.pth": Run(leaves=("tsm.pth",)),
        "python -m actjax.metrics accuracy --predictions runs/rgb/scores.npz runs/flow/scores.npz "
        "--coefficients 1 1.5": Run(needs=(scores,), says=r"top1_acc\W+1\.0"),
        f"{MAIN} --mode=explain --config={FRAMES} --devices=8": Run(
            SMALL_STEP, says=r"optim.lr = 0.0[0-9]+(?s:.*)memory per device"
        ),
    },
    "localization": {
        f"{MAIN} --config=bsn_400x100_activitynet_feature --workdir=runs/bsn": Run(
            SMALL_BSN, (activitynet,), ("runs/bsn/results.json", "runs/bsn/results_proposals.json"), "ground truth"
        ),
        f"{MAIN} --mode=export --stage=pem --workdir=runs/bsn --out=ours.pth": Run(leaves=("ours.pth",)),
        f"{MAIN} --mode=import --stage=pem --config=bsn_400x100_activitynet_feature --workdir=runs/pem "
        "--from=pem.pth": Run(needs=(copied("ours.pth", "pem.pth"),), leaves=("runs/pem/pem/checkpoints/0",)),
        f"{MAIN} --config=bmn_400x100_2x8_9e_activitynet_feature --workdir=runs/bmn": Run(
            SMALL_BMN, leaves=("runs/bmn/results.json",), says="ground truth"
        ),
        f"{MAIN} --mode=prepare --features=activitynet_csv --out=activitynet_prepared": Run(
            needs=(csv_features,), leaves=("activitynet_prepared/features.json",)
        ),
        f"{MAIN} --config=ssn_r50_450e_thumos14_rgb --workdir=runs/ssn": Run(
            SMALL_SSN, (thumos14, published("checkpoints/small.pth")), ("runs/ssn/results.json",), "perfect scores"
        ),
        "python -m actjax.metrics activitynet-detection --ground-truth activity_net.v1-3.min.json --subset validation "
        "--predictions pred.json": Run(needs=(result_files,), says=r"average_mAP\W+0\.5"),
        "python -m actjax.metrics activitynet-detection --ground-truth activity_net.v1-3.min.json --subset validation "
        "--predictions pred.json --plot map.png": Run(leaves=("map.png",), says="average_mAP"),
    },
}

ELSEWHERE = {
    f"{MAIN} --config=tsm_shapes --workdir=runs/tsm_shapes": Elsewhere("test_mission.py", "test_tsm_learns_motion"),
    f"{MAIN} --config=bsn_sample --workdir=runs/bsn_sample": Elsewhere(
        "tasks/test_bsn_run.py", "test_sample_configs_are_far_above_uniform_windows"
    ),
    f"{MAIN} --config=bmn_sample --workdir=runs/bmn_sample": Elsewhere(
        "tasks/test_bsn_run.py", "test_sample_configs_are_far_above_uniform_windows"
    ),
    f"{MAIN} --config=ssn_sample --workdir=runs/ssn_sample": Elsewhere(
        "tasks/test_ssn_run.py", "test_sample_config_is_far_above_its_proposals"
    ),
    f"{MAIN} --config={VIDEOS}:scratch --workdir=gs://bucket/run --config.data.train=gs://bucket/lists/train.txt "
    "--config.data.val=gs://bucket/lists/val.txt": Elsewhere("test_remote.py", "test_command_line"),
    f"python experiments/studies/scaling.py --config={FRAMES}:scratch --step_seconds=0.1": Elsewhere(
        "test_studies.py", "test_scaling"
    ),
    **{
        f"{MAIN} --config=FILE --workdir=/shared/runs/NAME --distributed=10.0.0.1:8476,2,{place}": Elsewhere(
            "training/test_multihost.py", "test_two_processes_are_one"
        )
        for place in range(2)
    },
    'for split in train val; do sed -i "s#^#rawframes_$split/#" '
    "data/kinetics400/kinetics400_${split}_list_rawframes.txt done": Elsewhere(
        "test_recipes.py", "test_lists_of_kinetics_as_the_zoo_makes_them"
    ),
}
EXTRAS = re.compile(r"pip install -e (?:\.|'\.\[(\w+)\]')")


def test_every_command_is_known_and_every_entry_is_a_command():
    told = set(itertools.chain(*map(commands, TEXTS)))
    known = [*itertools.chain(*GROUPS.values()), *ELSEWHERE]
    assert all(run.leaves or run.says for group in GROUPS.values() for run in group.values())
    assert len(known) == len(set(known))
    installs = {command for command in told if EXTRAS.fullmatch(command)}
    assert sorted(told - set(known) - installs - {"pytest"}) == []
    assert sorted(set(known) - told) == []
    assert len(installs) == 2


def test_what_is_installed_exists():
    setup = (ROOT / "setup.py").read_text()
    extras = {extra for text in TEXTS for extra in EXTRAS.findall(text) if extra}
    assert {"gpu", "test", "plots", "remote"} == extras
    assert [extra for extra in extras if f'"{extra}": [' not in setup] == []


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())), ids=lambda test: test.name)
def test_the_test_that_runs_it_is_there(test):
    assert f"\ndef {test.name}(" in (TESTS / test.file).read_text()


@pytest.fixture(scope="session")
def shell(cache):
    """run(arguments of python, cwd, log) -> exit status, in a process that outlives the command: see `forking.py`."""
    variables = environment(cache)
    variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), variables["PYTHONPATH"]])
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "helpers" / "forking.py")], env=variables, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip

    def run(arguments: list[str], cwd: pathlib.Path, log: pathlib.Path) -> int:
        print(json.dumps({"arguments": arguments, "cwd": str(cwd), "log": str(log)}), file=process.stdin, flush=True)
        if not select.select([process.stdout], [], [], 300)[0]:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"{arguments} took more than 300 s\n{log.read_text()}")
        return int(process.stdout.readline())

    yield run
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow  # 25 processes, most of which compile a network
@pytest.mark.parametrize("group", GROUPS)
def test_commands_do_what_is_told(group, shell, tmp_path):
    folder, log = tmp_path / "folder", tmp_path / "log"
    folder.mkdir()
    (folder / "experiments").symlink_to(ROOT / "experiments")
    for command, how in GROUPS[group].items():
        for write in how.needs:
            write(folder)
        log.unlink(missing_ok=True)
        status = shell([*shlex.split(command)[1:], *shlex.split(how.more)], folder, log)
        printed = log.read_text()
        assert status == 0, f"{command}\n{printed}"
        assert re.search(how.says, printed), f"{command}\n{printed}"
        assert "Traceback" not in printed, f"{command}\n{printed}"
        assert [name for name in how.leaves if not (folder / name).exists()] == [], f"{command}\n{printed}"
