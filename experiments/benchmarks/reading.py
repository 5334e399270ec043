"""Milliseconds to read 8 frames of a video, sampled as for TSM, against decoding and converting the whole file once.

    python experiments/benchmarks/reading.py [FILE ...]

Without files, it reads two from tests/media: a 10-second MP4 of 300 frames, and an AVI of MPEG-4 with packed B-frames.
With --hours=2, it also measures the time to open an MP4 file of that length. One thread on both sides; medians of
`--repeats`.
"""

import argparse
import fractions
import pathlib
import statistics
import tempfile
import time

import numpy as np

MEDIA = pathlib.Path(__file__).parents[2] / "tests" / "media"


def milliseconds(function, repeats: int) -> float:
    """The median of `repeats` calls."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken)


def whole(path: str) -> int:
    """Decodes and converts every frame, one after the other."""
    import av

    with av.open(path) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(frame.to_ndarray(format="rgb24", threads=1) is not None for frame in file.decode(stream))


def against_whole(path: str, repeats: int) -> None:
    from actjax.video.decoding import open_video
    from actjax.video.sampling import sample_frames

    rng, num_frames = np.random.default_rng(0), open_video(path).num_frames

    def eight():
        indices = sample_frames(num_frames, clip_len=1, num_clips=8, u=rng.random(8))
        open_video(path).frames(indices.ravel())

    ours, all_of_it = milliseconds(eight, repeats), milliseconds(lambda: whole(path), repeats)
    name = pathlib.Path(path).name
    print(f"{name[-28:]:30}{num_frames:8}{ours:10.1f}{all_of_it:10.1f}{ours / all_of_it:8.2f}", flush=True)


def long_video(path: str, hours: float) -> None:
    """Grey frames of 64x48, 30 a second, with B-frames."""
    import av

    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"preset": "ultrafast", "x264-params": "bframes=2:keyint=250"}
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        for k in range(int(hours * 3600 * 30)):
            frame.pts, frame.time_base = k, fractions.Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def main() -> None:
    from actjax.video.decoding import open_video

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=[str(MEDIA / name) for name in ("test.mp4", "test.avi")])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--hours", type=float, default=0.0)
    args = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}{'':20}{'frames':>8}{'8 of them':>10}{'all':>10}{'ratio':>8}   ms")
    for file in args.files:
        against_whole(file, args.repeats)
    if args.hours:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/long.mp4"
            long_video(path, args.hours)
            taken = milliseconds(lambda: open_video(path), args.repeats)
            print(f"opening {open_video(path).num_frames} frames of MP4: {taken:.0f} ms")


if __name__ == "__main__":
    main()
