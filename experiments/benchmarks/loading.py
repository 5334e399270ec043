"""Clips per second of the input pipeline by number of reader processes; with --peer, against MMAction2 0.6.

    python experiments/benchmarks/loading.py                                             # the sample set
    python experiments/benchmarks/loading.py --config=tsm_r50_video_1x1x8_50e_kinetics400_rgb \
        --list=k400/val.txt --prefix=k400/videos

Reads the training clips of a config and discards them. The clock starts once the readers are warm.

    git clone --depth=1 --branch=v0.6.0 https://github.com/open-mmlab/mmaction2
    pip install torch 'mmcv==1.7.2'
    python experiments/benchmarks/loading.py --peer=mmaction2 --video=tests/media/test.mp4 --avi=tests/media/test.avi

With --peer, runs the TSM Kinetics training pipeline on copies of one video, with the same number of processes on both
sides, `--runs` times each. Sources: video files, AVI files like HMDB51's (MPEG-4 with packed B-frames, from which
MMAction2 reads wrong frames), folders of frames, and a prepared set (actjax) against folders of frames (MMAction2).
Then prints the milliseconds of every stage. Without --peer, `--memory=10000` reads that many clips and prints the
memory of all processes.
"""

import argparse
import os
import pathlib
import runpy
import shutil
import sys
import tempfile
import time
import types

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
KINETICS = ROOT / "configs" / "tsm_r50_video_1x1x8_50e_kinetics400_rgb.py"
COPIES = 8


def batches_of(records, protocol, *, batch_size: int, num_workers: int):
    from actjax.data.loading.batches import Loader, train_batches
    from actjax.data.loading.quarantine import Quarantine

    path = pathlib.Path(tempfile.mkdtemp()) / "quarantine.jsonl"
    return train_batches(
        records,
        protocol,
        seed=0,
        batch_size=batch_size,
        position=0,
        num_batches=10**6,
        quarantine=Quarantine(path, num_records=len(records), max_share=1.0),
        loader=Loader(num_workers),
    )


def rate_of(batches, size, *, warm: int, seconds: float) -> float:
    """Clips per second of an iterator of batches, `size(batch)` clips each, after `warm` batches."""
    for _ in range(warm):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += size(next(batches))
    return count / (time.perf_counter() - start)


def measure(records, protocol, *, batch_size: int, num_workers: int, seconds: float) -> float:
    """Clips per second with warm workers."""
    batches = batches_of(records, protocol, batch_size=batch_size, num_workers=num_workers)
    try:
        return rate_of(batches, lambda batch: len(batch["label"]), warm=4 * max(num_workers, 1), seconds=seconds)
    finally:
        batches.close()


def by_workers(records, protocol, args) -> None:
    cores = os.cpu_count()
    workers = args.workers or [0, *(2**k for k in range(cores.bit_length()) if 2**k <= cores)]
    v, t, h, w, _ = protocol.clip_shape
    print(f"{len(records)} videos, clips of {v}x{t}x{h}x{w}, batches of {args.batch}, {cores} cores", end=", ")
    print(time.strftime("%Y-%m-%d"))
    print(f"{'workers':>8}{'clips/s':>10}{'ratio':>8}")
    base = None
    for number in workers:
        rate = measure(records, protocol, batch_size=args.batch, num_workers=number, seconds=args.seconds)
        base = base or rate
        print(f"{number:8}{rate:10.1f}{rate / base:8.2f}", flush=True)


def memory(records, protocol, args) -> None:
    """Resident memory of this process and its readers while `--memory` clips go by."""
    num_workers = (args.workers or [2])[0]
    batches = batches_of(records, protocol, batch_size=args.batch, num_workers=num_workers)
    print(f"{'clips':>8}{'MiB':>8}   this process and {num_workers} readers")
    for count in range(0, args.memory + 1, args.batch):
        next(batches)
        if count % (args.memory // 10) < args.batch:
            print(f"{count:8}{_resident():8.0f}", flush=True)
    batches.close()


def _resident() -> float:
    """MiB of this process and its children, shared pages counted once."""
    mine = str(os.getpid())
    total = 0
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            if mine in (folder.name, status["PPid"].strip()):
                rollup = (folder / "smaps_rollup").read_text()
                total += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
        except (OSError, KeyError, StopIteration):
            continue
    return total / 1024


# The peer.


def load_peer(checkout: str):
    """The reference's pipelines, from its files; the rest of its package is not imported."""
    root = pathlib.Path(checkout, "mmaction")
    if not (root / "datasets" / "pipelines").is_dir():
        sys.exit(f"error: {checkout}: no folder mmaction/datasets/pipelines; name a checkout of MMAction2 v0.6.0")
    try:
        import mmcv  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        sys.exit(f"error: the reference needs torch and mmcv 1.x ({error}); pip install torch 'mmcv==1.7.2'")
    np.int = int  # a name that NumPy has dropped
    for name in ("mmaction", "mmaction.datasets"):
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    from mmaction.datasets.pipelines import Compose

    return Compose


def peer_pipeline(reading: list[dict]) -> list[dict]:
    """The training chain of the reference's TSM Kinetics config, with its way of reading frames."""
    sample = dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=8)
    init, decode = reading[:-1], reading[-1:]
    return [
        *init, sample, *decode,
        dict(type="Resize", scale=(-1, 256)),
        dict(
            type="MultiScaleCrop", input_size=224, scales=(1, 0.875, 0.75, 0.66), random_crop=False,
            max_wh_scale_gap=1, num_fixed_crops=13,
        ),
        dict(type="Resize", scale=(224, 224), keep_ratio=False),
        dict(type="Flip", flip_ratio=0.5),
        dict(type="Normalize", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_bgr=False),
        dict(type="FormatShape", input_format="NCHW"),
        dict(type="Collect", keys=["imgs", "label"], meta_keys=[]),
        dict(type="ToTensor", keys=["imgs", "label"]),
    ]  # fmt: skip


class PeerDataset:
    """What its RawframeDataset and VideoDataset do per item: copy the record, run the pipeline."""

    def __init__(self, compose, infos: list[dict]):
        self._compose, self._infos = compose, infos

    def __len__(self):
        return 10**6

    def __getitem__(self, index):
        return self._compose(dict(self._infos[index % len(self._infos)]))


def measure_peer(dataset, *, batch_size: int, num_workers: int, seconds: float) -> float:
    import cv2
    from torch.utils.data import DataLoader

    loader = DataLoader(
        dataset, batch_size, num_workers=num_workers, pin_memory=False, worker_init_fn=lambda _: cv2.setNumThreads(1)
    )
    batches = iter(loader)
    rate = rate_of(batches, lambda batch: len(batch["label"]), warm=4 * max(num_workers, 1), seconds=seconds)
    del batches
    return rate


def stage_times(step, state, repeats: int = 20) -> dict[str, float]:
    """Milliseconds of every named function of a chain, each given what the one before it made."""
    total: dict[str, float] = {}
    for _ in range(repeats):
        value = state()
        for name, function in step:
            start = time.perf_counter()
            value = function(value)
            total[name] = total.get(name, 0.0) + (time.perf_counter() - start) * 1e3 / repeats
    return total


def our_stages(record, protocol):
    from actjax.video.rendering import render

    rng = np.random.default_rng(0)

    def decode(pair):
        return pair[0].frames(pair[1].ravel())

    return [
        ("open", lambda record: record.open(backend=protocol.backend)),
        ("sample", lambda video: (video, protocol.sample(video.num_frames, rng=rng))),
        ("decode", decode),
        ("view", lambda frames: (frames, protocol.view(*frames.shape[1:3], rng=rng))),
        ("render", lambda pair: render(*pair, fused=protocol.fused)),
    ]


def print_stages(title: str, times: dict[str, float]) -> None:
    print(f"{title}: {sum(times.values()):.1f} ms a clip")
    for name, value in times.items():
        print(f"  {name:16}{value:8.2f}")


def against_peer(args) -> None:
    from actjax.data.datasets.records import RawframesRecord, VideoRecord
    from actjax.data.prepared.reading import load_prepared
    from actjax.data.prepared.writing import prepare
    from actjax.tasks import build
    from actjax.video.decoding import open_video

    compose = load_peer(args.peer)
    protocol = build(runpy.run_path(str(KINETICS))["get_config"]()).train_clips
    workers = (args.workers or [min(2, os.cpu_count())])[0]
    options = dict(batch_size=args.batch, num_workers=workers, seconds=args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        num_frames = write_copies(open_video(args.video), pathlib.Path(args.video), folder)
        videos = [VideoRecord(str(folder / f"{k}.mp4"), k) for k in range(COPIES)]
        packed = [VideoRecord(shutil.copy(args.avi, folder / f"{k}.avi"), k) for k in range(COPIES)]
        frames = [RawframesRecord(str(folder / f"{k}"), num_frames, k) for k in range(COPIES)]
        prepare(videos, folder / "prepared", split="train", class_names=[str(k) for k in range(COPIES)])
        stored = load_prepared(folder / "prepared", "train")
        video_infos, packed_infos = (
            [dict(filename=r.path, label=r.label, start_index=0, modality="RGB") for r in records]
            for records in (videos, packed)
        )
        frame_infos = [
            dict(frame_dir=r.path, total_frames=num_frames, label=r.label, start_index=1, modality="RGB",
                 filename_tmpl="img_{:05}.jpg")
            for r in frames
        ]  # fmt: skip
        reading = peer_pipeline([dict(type="DecordInit"), dict(type="DecordDecode")])
        peers = {
            "mp4": PeerDataset(compose(reading), video_infos),
            "avi": PeerDataset(compose(reading), packed_infos),
            "frames": PeerDataset(compose(peer_pipeline([dict(type="RawFrameDecode")])), frame_infos),
        }
        cases = [
            ("mp4", "mp4", videos, protocol),
            ("mp4, by decord", "mp4", videos, protocol._replace(backend="decord")),
            ("avi, packed", "avi", packed, protocol),
            ("frames", "frames", frames, protocol),
            ("prepared / its frames", "frames", stored, protocol),
        ]
        print(
            f"TSM Kinetics training clips, {num_frames} frames a video, {workers} processes", time.strftime("%Y-%m-%d")
        )
        print(f"{'from':24}{'MMAction2':>12}{'actjax':>12}{'ratio':>8}   clips/s")
        for _ in range(args.runs):
            theirs = {name: measure_peer(dataset, **options) for name, dataset in peers.items()}
            for name, peer, records, chosen in cases:
                ours = measure(records, chosen, **options)
                print(f"{name:24}{theirs[peer]:12.1f}{ours:12.1f}{ours / theirs[peer]:8.2f}", flush=True)
        for name, _, records, chosen in cases:
            print_stages(f"actjax, {name}", stage_times(our_stages(records[0], chosen), lambda r=records[0]: r))
        for name, dataset in peers.items():
            steps = [(type(step).__name__, step) for step in dataset._compose.transforms]
            info = dataset._infos[0]
            print_stages(f"MMAction2, {name}", stage_times(steps, lambda info=info: dict(info)))


def write_copies(video, path: pathlib.Path, folder: pathlib.Path) -> int:
    """Copies of the file, and folders of its frames as JPEG."""
    import cv2

    frames = video.frames(np.arange(video.num_frames))
    for k in range(COPIES):
        shutil.copy(path, folder / f"{k}.mp4")
        (folder / f"{k}").mkdir()
    for i, frame in enumerate(frames, start=1):
        _, data = cv2.imencode(".jpg", frame[..., ::-1])
        for k in range(COPIES):
            (folder / f"{k}" / f"img_{i:05}.jpg").write_bytes(data.tobytes())
    return len(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="tsm_shapes", help="a recipe or a file")
    parser.add_argument("--list", help="annotation file; default the config's own data set")
    parser.add_argument("--prefix", help="folder that the list's file names start from")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, nargs="*", help="default 0, 1, 2, 4 ... up to the cores")
    parser.add_argument("--memory", type=int, help="clips to read while memory is watched")
    parser.add_argument("--peer", help="checkout of MMAction2 v0.6.0")
    parser.add_argument("--video", default=str(ROOT / "tests" / "media" / "test.mp4"), help="with --peer")
    parser.add_argument("--avi", default=str(ROOT / "tests" / "media" / "test.avi"), help="with --peer")
    parser.add_argument("--runs", type=int, default=3, help="with --peer")
    args = parser.parse_args()
    if args.peer:
        return against_peer(args)

    from actjax.config.files import load_config
    from actjax.data.datasets.annotations import load_annotations
    from actjax.tasks import build

    experiment = build(load_config(args.config).config)
    records = (
        load_annotations("videos", args.list, data_prefix=args.prefix) if args.list else experiment.open_dataset().train
    )
    (memory if args.memory else by_workers)(records, experiment.train_clips, args)


if __name__ == "__main__":
    main()
