"""RGB by the file's own matrix and range: against the formulas of the standards, and against FFmpeg where it is."""

import fractions
import shutil
import subprocess

import numbered
import numpy as np
import pytest

from actjax.video.decoding import open_video
from actjax.video.errors import BackendError

MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # by H.273: Kr, Kb
LIMITED, FULL = 1, 2


def flat(path, codec, *, yuv, matrix: int, colour_range: int, pix_fmt: str):
    """A video of one colour, given as 8-bit Y, U, V."""
    import av

    kind, shift = ("<u2", 2) if "10" in pix_fmt else ("u1", 0)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.color_range, stream.codec_context.colorspace = colour_range, matrix
        if codec == "libx264":
            stream.options = {"crf": "1"}
        for k in range(3):
            frame = av.VideoFrame(64, 48, pix_fmt)
            frame.colorspace, frame.color_range = matrix, colour_range
            for plane, value in zip(frame.planes, yuv, strict=True):
                plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, value << shift, kind).tobytes())
            frame.pts, frame.time_base = k, fractions.Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def rgb(yuv, matrix: int, colour_range: int) -> np.ndarray:
    """ITU-R BT.601, 709 and 2020."""
    kr, kb = MATRICES[matrix]
    y, u, v = (np.array(yuv) - (0, 128, 128)).astype(float)
    if colour_range == LIMITED:
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    r, b = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(np.round([r, g, b]), 0, 255)


@pytest.mark.parametrize("yuv", [(120, 90, 170), (200, 140, 110), (60, 160, 120)])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx264", "yuv420p"), ("libx264", "yuv420p10le"), ("ffv1", "yuv444p")]
)
def test_matrix_and_range(tmp_path, codec, pix_fmt, matrix, colour_range, yuv):
    kind = dict(yuv=yuv, matrix=matrix, colour_range=colour_range, pix_fmt=pix_fmt)
    path = flat(tmp_path / "flat.mkv", codec, **kind)
    expected = rgb(yuv, matrix, colour_range)
    for backend in ("pyav", "opencv", "decord"):
        try:
            frames = open_video(path, backend=backend).frames([0, 2])
        except (BackendError, ImportError):
            assert backend != "pyav"
            continue
        assert np.abs(frames.astype(int) - expected).max() <= 3, backend  # FFmpeg's arithmetic is that far off


KINDS = [
    ("libx264", "yuv420p", "mp4", ""), ("libx264", "yuv420p10le", "mp4", ""), ("libx264", "yuv422p", "mp4", ""),
    ("libx264", "yuv420p", "mp4", "interlaced=1"), ("libx265", "yuv420p10le", "mkv", ""),
    ("mpeg4", "yuv420p", "avi", ""), ("libvpx-vp9", "yuv420p", "webm", ""), ("libsvtav1", "yuv420p10le", "mp4", ""),
    ("mjpeg", "yuvj422p", "avi", ""), ("prores_ks", "yuv422p10le", "mov", ""), ("ffv1", "yuva420p", "mkv", ""),
]  # fmt: skip
ODD = ("mpeg4", "libvpx-vp9", "ffv1")  # encoders that take odd sizes
CASES = [(*kind, size) for kind in KINDS for size in ((128, 96), (98, 68), *([(97, 65)] if kind[0] in ODD else []))]


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg program here to compare with")
@pytest.mark.parametrize(("matrix", "colour_range"), [(2, 0), (1, LIMITED), (1, FULL), (9, LIMITED)])
@pytest.mark.parametrize(("codec", "pix_fmt", "ending", "params", "size"), CASES)
def test_within_two_levels_of_ffmpeg(tmp_path, codec, pix_fmt, ending, params, size, matrix, colour_range):
    def change(stream):
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, colour_range

    path = tmp_path / f"clip.{ending}"
    numbered.write(path, codec, num=4, gop=1, pix_fmt=pix_fmt, size=size, change=change, params=params)
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        path,
        "-fps_mode",
        "passthrough",
        "-pix_fmt",
        "rgb24",
        "-f",
        "rawvideo",
        "-",
    ]
    shown = subprocess.run(command, check=True, timeout=60, stdout=subprocess.PIPE).stdout
    expected = np.frombuffer(shown, np.uint8).reshape(4, size[1], size[0], 3)
    for backend in ("pyav", "opencv", "decord"):
        try:
            frames = open_video(path, backend=backend).frames(range(4))
        except (BackendError, ImportError):
            assert backend != "pyav"
            continue
        assert np.abs(frames.astype(int) - expected).max() <= 2, backend
