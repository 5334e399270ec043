"""Clips per second of the input pipeline, by number of worker processes.

    python experiments/benchmarks/loading.py                                             # the sample set
    python experiments/benchmarks/loading.py --config=configs/tsm_r50_video_1x1x8_50e_kinetics400_rgb.py \
        --list=k400/val.txt --prefix=k400/videos

Reads the training clips that a config asks for and throws them away; workers are warm when the clock starts.
"""

import argparse
import os
import pathlib
import runpy
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]


def measure(dataset, protocol, *, batch_size: int, num_workers: int, seconds: float) -> float:
    """Clips per second with warm workers."""
    from actjax.data.loading import Quarantine, train_batches

    quarantine = Quarantine(
        pathlib.Path(tempfile.mkdtemp()) / "quarantine.jsonl", num_records=len(dataset), max_share=1.0
    )
    span = dict(seed=0, batch_size=batch_size, first_step=0, num_steps=10**6)
    batches = train_batches(dataset, protocol, quarantine=quarantine, num_workers=num_workers, **span)
    for _ in range(4 * max(num_workers, 1)):  # what was read ahead while the workers started
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += batch_size
    rate = count / (time.perf_counter() - start)
    batches.close()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "tsm_shapes.py"))
    parser.add_argument("--list", help="annotation file; default the config's own data set")
    parser.add_argument("--prefix", help="folder that the list's file names start from")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, nargs="*", help="default 0, 1, 2, 4 ... up to the cores")
    args = parser.parse_args()

    from actjax.data.annotations import load_annotations
    from actjax.experiment import build

    experiment = build(runpy.run_path(args.config)["get_config"]())
    dataset = (
        load_annotations("videos", args.list, data_prefix=args.prefix) if args.list else experiment.open_dataset().train
    )
    cores = os.cpu_count()
    workers = args.workers or [0, *(2**k for k in range(cores.bit_length()) if 2**k <= cores)]
    v, t, h, w, _ = experiment.train_protocol.clip_shape
    print(f"{len(dataset)} videos, clips of {v}x{t}x{h}x{w}, batches of {args.batch}, {cores} cores", end=", ")
    print(time.strftime("%Y-%m-%d"))
    print(f"{'workers':>8}{'clips/s':>10}{'ratio':>8}")
    base = None
    for number in workers:
        rate = measure(
            dataset, experiment.train_protocol, batch_size=args.batch, num_workers=number, seconds=args.seconds
        )
        base = base or rate
        print(f"{number:8}{rate:10.1f}{rate / base:8.2f}", flush=True)


if __name__ == "__main__":
    main()
