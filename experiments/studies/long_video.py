r"""Finds actions in one long video, and measures the seconds and the memory that it takes. Linux.

    python -m actjax.main --config=bmn_own --workdir=runs/bmn_own
    python experiments/studies/long_video.py --workdir=runs/bmn_own --minutes=60

The video is a loop of the sample set's untrimmed validation videos. Memory is the largest sum over the program and its
reader process; it must not grow with the length of the video.
"""

import fractions
import itertools
import pathlib
import subprocess
import sys
import tempfile
import time

import av
from absl import app, flags

from actjax.data.samples.shapes import FPS, HEIGHT, WIDTH
from actjax.data.samples.untrimmed_shapes import make_untrimmed

_WORKDIR = flags.DEFINE_string("workdir", None, "A run of BMN, BSN, SSN, TSN or TSM.", required=True)
_MINUTES = flags.DEFINE_float("minutes", 60.0, "Length of the video.")
_VIDEOS = flags.DEFINE_integer("videos", 20, "Videos in the loop.")


def write_loop(target: pathlib.Path, files: list[pathlib.Path], num_frames: int) -> None:
    """Writes the frames of the files, one after another and again, until there are `num_frames`."""
    frames = (frame for file in itertools.cycle(files) for frame in av.open(str(file)).decode(video=0))
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, frame in enumerate(itertools.islice(frames, num_frames)):
            own = frame.reformat(format="yuv420p")
            own.pts, own.time_base = number, fractions.Fraction(1, FPS)
            container.mux(stream.encode(own))
        container.mux(stream.encode())


def mebibytes(pid: int) -> float:
    """The memory of a process and its children."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = [int(child) for file in tasks for child in file.read_text().split()]
    except (OSError, IndexError):
        return 0.0  # it has just ended
    return pages * 4096 / 2**20 + sum(map(mebibytes, children))


def main(_) -> None:
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        root = make_untrimmed(num_train=8, num_val=max(_VIDEOS.value, 1)) / "videos"
        video = folder / "long.mp4"
        write_loop(video, sorted(root.glob("val_*.mp4"))[: _VIDEOS.value], round(_MINUTES.value * 60 * FPS))
        flag = [f"--workdir={_WORKDIR.value}", f"--video={video}", f"--out={folder / 'found'}"]
        begun, most = time.perf_counter(), 0.0
        process = subprocess.Popen([sys.executable, "-m", "actjax.main", "--mode=localize", *flag])
        while process.poll() is None:
            most = max(most, mebibytes(process.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - begun
        if process.returncode:
            sys.exit(process.returncode)
        segments = len((folder / "found" / "segments.csv").read_text().splitlines()) - 1
        print(f"{_MINUTES.value:g} minutes of video: {seconds:.0f} s, at most {most:.0f} MiB, {segments} segments")


if __name__ == "__main__":
    app.run(main)
