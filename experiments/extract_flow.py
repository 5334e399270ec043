"""Optical flow of videos as pictures, for recipes with modality "Flow".

    python experiments/extract_flow.py --list=k400/train.txt --prefix=k400/videos --out=k400/flow --bound=20

For every line `file label` of the list, OUT/file-without-ending/ gets x_00001.jpg, y_00001.jpg, ...: the flow from each
frame to the next, one pair less than there are frames. Grey value = (flow + bound) * 255 / (2 * bound), rounded and
clipped: 128 stands still, a step is 2 * bound / 255 pixels. OUT/LIST then holds lines `folder total_frames label` for

    load_annotations("rawframes", "k400/flow/train.txt", modality="Flow", filename_tmpl="{}_{:05d}.jpg")

A folder gets its name when it is complete: run again, and only what is missing is made. Videos that cannot be decoded
end in OUT/LIST with the ending .broken.jsonl, and do not stop the run.
"""

import argparse
import concurrent.futures
import csv
import functools
import io
import json
import multiprocessing
import os
import pathlib
import shutil
import sys
import threading
from typing import NamedTuple

import numpy as np

METHODS = ("dis", "farneback")
RUN = 16  # frames decoded at a time


class Options(NamedTuple):
    """What the pictures depend on, beside the video."""

    method: str = "dis"
    bound: float = 20.0
    short_side: int = 0
    quality: int = 95
    backend: str = "pyav"


def to_picture(flow: np.ndarray, bound: float) -> np.ndarray:
    """Flow in pixels -> uint8 grey values, any shape; what lies beyond `bound` is clipped."""
    return np.clip(np.rint((flow + bound) * (255 / (2 * bound))), 0, 255).astype(np.uint8)


def from_picture(picture: np.ndarray, bound: float) -> np.ndarray:
    """Grey values -> float32 flow in pixels, within bound / 255."""
    return picture.astype(np.float32) * (2 * bound / 255) - bound


def flow_method(name: str):
    """`flow(before, after)` of two grey pictures [h, w] -> float32 [h, w, 2], x and y in pixels."""
    import cv2

    if name == "dis":
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return lambda before, after: dis.calc(before, after, None)
    farneback = dict(pyr_scale=0.5, levels=5, winsize=15, iterations=3, poly_n=7, poly_sigma=1.5, flags=0)
    return lambda before, after: cv2.calcOpticalFlowFarneback(before, after, None, **farneback)


def grey_frames(video, short_side: int):
    """The frames of a video one by one -> uint8 [h, w]; larger ones are brought down to `short_side` first."""
    import cv2

    from actjax.video import views
    from actjax.video.rendering import render

    for begin in range(0, video.num_frames, RUN):
        frames = video.frames(np.arange(begin, min(begin + RUN, video.num_frames)))
        if short_side and min(frames.shape[1:3]) > short_side:
            frames = render(frames, views.resize(*frames.shape[1:3], scale=(-1, short_side)))
        for frame in frames:
            yield cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)


def extract(path: str, folder: pathlib.Path, options: Options) -> int:
    """Writes the flow of a video into a new folder -> number of pictures per direction; 0 for a single frame.

    Raises:
      VideoError: the video cannot be decoded; the folder is not there then.
    """
    import cv2

    from actjax.video.decoding import open_video

    building = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        flow, before, number = flow_method(options.method), None, 0
        for grey in grey_frames(open_video(path, backend=options.backend), options.short_side):
            if before is not None:
                number += 1
                picture = to_picture(flow(before, grey), options.bound)
                for channel, direction in enumerate("xy"):
                    file = building / f"{direction}_{number:05d}.jpg"
                    quality = [cv2.IMWRITE_JPEG_QUALITY, options.quality]
                    if not cv2.imwrite(str(file), np.ascontiguousarray(picture[..., channel]), quality):
                        raise OSError(f"{file} cannot be written; is the disk full?")
            before = grey
        if number:
            os.replace(building, folder)
        return number
    finally:
        shutil.rmtree(building, ignore_errors=True)


def extract_one(job: tuple[str, pathlib.Path], options: Options, timeout: float) -> tuple[int, str]:
    """One video, unless its folder is there -> number of pictures, and what is wrong with it.

    In a process of its own, as decoders crash or hang on some broken files.
    """
    path, folder = job
    if folder.is_dir():
        return len(list(folder.glob("x_*.jpg"))), ""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cv2", "numpy"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_extract_and_tell, args=(sender, path, folder, options))
    process.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            return 0, f"took more than --timeout={timeout:g} s"
        answer = receiver.recv()
    except EOFError:
        process.join()
        return 0, f"its process died with exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()
    if isinstance(answer, Exception):  # no fault of the video
        raise answer
    return answer


def _extract_and_tell(sender, path: str, folder: pathlib.Path, options: Options) -> None:
    """In a fresh process: one core, and no life after the parent's, even if that is killed."""
    import cv2

    from actjax.video.errors import VideoError

    def follow_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()
    cv2.setNumThreads(1)
    try:
        number = extract(path, folder, options)
        sender.send((number, "" if number else "a single frame has no flow"))
    except (VideoError, cv2.error) as error:  # OpenCV's: too small a picture
        sender.send((0, getattr(error, "reason", str(error).strip())))
    except Exception as error:
        sender.send(error)


def extract_list(annotations, prefix, out, options: Options, *, workers: int, timeout: float = 3600) -> tuple[int, int]:
    """The flow of every video of an annotation list, and the list of the results -> numbers of videos done, broken."""
    from rich.console import Console
    from rich.progress import track

    from actjax.data.datasets.annotations import load_annotations

    if options.method not in METHODS:
        raise ValueError(f"--method={options.method}; choose from {METHODS}")
    if not options.bound > 0 or not 1 <= options.quality <= 100 or options.short_side < 0:
        raise ValueError(f"--bound, --quality and --short-side: {options}; expected above 0, 1..100, 0 or more")
    annotations, out = pathlib.Path(annotations), pathlib.Path(out)
    prefix = pathlib.Path(prefix) if prefix else annotations.parent
    records = load_annotations("videos", annotations, data_prefix=prefix)
    _same_options(out, options)
    names = [os.path.splitext(os.path.relpath(record.path, prefix))[0] for record in records]
    if len(set(names)) < len(set(record.path for record in records)) or any(name.startswith("..") for name in names):
        raise ValueError(f"{annotations}: file names must lie below --prefix={prefix} and differ without their ending")
    jobs = dict(
        zip(names, ((record.path, out / name) for name, record in zip(names, records, strict=True)), strict=True)
    )
    run = functools.partial(extract_one, options=options, timeout=timeout)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        show = dict(total=len(jobs), console=Console(stderr=True), disable=not sys.stderr.isatty())
        results = list(track(pool.map(run, jobs.values()), "optical flow", **show))
    found = dict(zip(jobs, results, strict=True))
    rows = [(name, found[name][0], record.label) for name, record in zip(names, records, strict=True) if found[name][0]]
    table = io.StringIO()  # CSV: names may hold blanks
    csv.writer(table, lineterminator="\n").writerows([("path", "total_frames", "label"), *rows])
    broken = {jobs[name][0]: reason for name, (_, reason) in found.items() if reason}
    _replace(out / f"{annotations.stem}.csv", table.getvalue())
    reasons = [json.dumps(dict(path=path, reason=reason)) + "\n" for path, reason in broken.items()]
    _replace((out / annotations.name).with_suffix(".broken.jsonl"), "".join(reasons))
    return len(jobs) - len(broken), len(broken)


def _same_options(out: pathlib.Path, options: Options) -> None:
    """Finished folders are kept, so all of a set must come from the same options."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "options.json"
    if path.exists() and (there := json.loads(path.read_text())) != options._asdict():
        raise ValueError(f"{out} holds flow made with {there}, not {options._asdict()}; choose another --out")
    _replace(path, json.dumps(options._asdict()))


def _replace(path: pathlib.Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", required=True, help="annotation file with lines `file label`")
    parser.add_argument("--prefix", help="folder that the list's file names start from; default the list's own")
    parser.add_argument("--out", required=True)
    parser.add_argument("--method", choices=METHODS, default="dis")
    parser.add_argument("--bound", type=float, default=20.0, help="pixels that grey 0 and 255 stand for")
    parser.add_argument("--short-side", type=int, default=0, help="bring larger frames down to it; 0: as they are")
    parser.add_argument("--quality", type=int, default=95)
    parser.add_argument("--backend", default="pyav")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=float, default=3600, help="seconds a video may take")
    args = parser.parse_args()
    options = Options(args.method, args.bound, args.short_side, args.quality, args.backend)
    try:
        done, broken = extract_list(
            args.list, args.prefix, args.out, options, workers=args.workers, timeout=args.timeout
        )
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from None
    result = pathlib.Path(args.out) / pathlib.Path(args.list).name
    files = result.with_suffix(".broken.jsonl"), result.with_suffix(".csv")
    print(f"{done} videos done, {broken} broken (see {files[0]}); list: {files[1]}")


if __name__ == "__main__":
    main()
