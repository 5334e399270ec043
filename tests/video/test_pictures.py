"""Pictures in folders: their size is asked before there is memory for it."""

import os
import struct
import zlib

import cv2
import mutating
import numpy as np
import pytest

from actjax.video.decoding import open_video
from actjax.video.errors import VideoError
from actjax.video.picture_sizes import picture_size

KINDS = ("jpg", "png", "bmp", "tiff", "webp", "pbm", "pgm", "ppm")


def encoded(kind: str, width: int = 60, height: int = 40, options=()) -> bytes:
    gray = kind in ("pbm", "pgm")
    picture = np.random.default_rng(0).integers(256, size=(height, width, 3)[: 2 if gray else 3], dtype=np.uint8)
    return cv2.imencode(f".{kind}", picture, options)[1].tobytes()


def read(folder, content: bytes, **options) -> np.ndarray:
    (folder / "img_00001.jpg").write_bytes(content)
    return open_video(folder, backend="rawframes", **options).frames([0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(60, 40), (1, 1), (2, 300), (513, 7)])
def test_the_size_is_that_of_the_pixels(tmp_path, kind, size):
    content = encoded(kind, *size)
    assert picture_size(content) == size
    assert read(tmp_path, content).shape == (1, size[1], size[0], 3)


def test_sizes_of_further_kinds(tmp_path):
    lossy, progressive = [cv2.IMWRITE_WEBP_QUALITY, 50], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    jpeg = encoded("jpg")
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(jpeg) + 2) + jpeg
    for content in (
        encoded("webp", options=lossy),
        encoded("jpg", options=progressive),
        jpeg[:2] + b"\xff\xff\xff" + jpeg[3:],  # fill bytes
        jpeg[:2] + thumbnail.replace(struct.pack(">HH", 40, 60), struct.pack(">HH", 9, 9)) + jpeg[2:],
        b"P6\n# a comment\n60 # another\n40\n255\n" + bytes(60 * 40 * 3),
        b"P5 #9 9\r60 40 255\n" + bytes(60 * 40),
    ):
        assert picture_size(content) == (60, 40)
        assert read(tmp_path, content).shape == (1, 40, 60, 3)


def big_tiff(width: int, height: int, order: str, kind: int) -> bytes:
    """A BigTIFF file with the pixels of 60 x 40; kind: TIFF's number of the type of width and height."""
    word = {3: "H6x", 4: "I4x", 16: "Q"}
    pixels, rows = bytes(range(1, 201)) * 12, []
    for tag, one, value in (
        (256, kind, width), (257, kind, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 16, 16), (277, 3, 1),
        (278, kind, height), (279, 16, len(pixels)),
    ):  # fmt: skip
        rows.append(struct.pack(f"{order}HHQ{word[one]}", tag, one, 1, value))
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HHHQ", 43, 8, 0, 16 + len(pixels))
    return head + pixels + struct.pack(f"{order}Q", len(rows)) + b"".join(rows) + bytes(8)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [3, 4, 16])
def test_large_kinds_of_tiff(tmp_path, order, kind):
    content = big_tiff(60, 40, order, kind)
    assert picture_size(content) == (60, 40)
    if kind < 16:  # OpenCV's reader wants no width of 64 bits
        assert read(tmp_path, content)[0, 0, :3, 0].tolist() == [1, 2, 3]
    with pytest.raises(VideoError, match="frames of 65000x65000 .* exceed ACTJAX_MAX_FRAME_MPIXELS"):
        read(tmp_path, big_tiff(65000, 65000, order, kind))


def bomb(kind: str, side: int = 32000) -> bytes:
    """A small file whose header says that it is large."""
    if kind == "png":
        chunk = lambda name, data: (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    if kind == "ppm":
        return b"P6 %d %d 255\n" % (side, side) + bytes(1000)
    content = bytearray(encoded(kind))
    if kind == "jpg":
        place = content.index(b"\xff\xc0") + 5
        content[place : place + 4] = struct.pack(">HH", side, side)
    elif kind == "bmp":
        content[18:26] = struct.pack("<ii", side, -side)
    elif kind == "tiff":
        for tag in (256, 257):  # of kind 3, 16 bits, or 4, 32 bits
            place = next(
                content.index(struct.pack("<HH", tag, k)) for k in (3, 4) if struct.pack("<HH", tag, k) in content
            )
            content[place + 8 : place + 12] = struct.pack("<I", side)
    elif kind == "webp":
        return b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (side - 1).to_bytes(3, "little") * 2 + bytes(content[12:])
    return bytes(content)


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "tiff", "webp", "ppm"])
def test_a_small_file_of_a_large_picture_is_refused(tmp_path, kind, monkeypatch):
    content = bomb(kind)
    assert len(content) < 20_000
    monkeypatch.setattr(cv2, "imdecode", None)  # it is not asked
    with pytest.raises(VideoError, match="img_00001.jpg: frames of 32000x32000 .1024 megapixels. exceed"):
        read(tmp_path, content)
    with pytest.raises(VideoError, match="ACTJAX_MAX_FRAME_MPIXELS=40"):
        open_video(tmp_path, backend="rawframes").check()


def test_frames_above_a_limit_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.0024")
    assert read(tmp_path, encoded("png", 60, 40)).shape == (1, 40, 60, 3)
    with pytest.raises(VideoError, match="frames of 61x40"):
        read(tmp_path, encoded("png", 61, 40))
    monkeypatch.setenv("ACTJAX_MAX_PICTURE_MB", "0.001")
    with pytest.raises(VideoError, match="img_00001.jpg: size in MB: .*ACTJAX_MAX_PICTURE_MB=0.001"):
        read(tmp_path, encoded("png", 60, 40))


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"P5 9", b"RIFF1234WEBPVP8L"]
)
def test_what_has_no_size_is_no_picture(tmp_path, content):
    with pytest.raises(VideoError, match="img_00001.jpg is not an image of a kind that is read: JPEG, PNG"):
        read(tmp_path, content)


def test_pipes_and_devices_in_a_folder_are_named(tmp_path):
    options = dict(backend="rawframes", filename_tmpl="{}")
    os.mkfifo(tmp_path / "1")
    (tmp_path / "2").symlink_to("/dev/zero")
    (tmp_path / "3").mkdir()
    video = open_video(tmp_path, **options)
    assert video.num_frames == 3
    for k, kind in enumerate(("named pipe", "device", "folder")):
        with pytest.raises(VideoError, match=f"{k + 1} is a {kind}, not an image"):
            video.frames([k])


def test_mutated_pictures_are_read_or_refused(tmp_path):
    """2,000 mutations of small files: no crash, hang or much memory; a picture, or one line."""
    paths, folder = [], tmp_path / "folder"
    folder.mkdir()
    for kind in (*KINDS, "progressive"):
        path = tmp_path / f"picture.{kind}"
        path.write_bytes(
            encoded("jpg", options=[cv2.IMWRITE_JPEG_PROGRESSIVE, 1]) if kind not in KINDS else encoded(kind)
        )
        paths.append(str(path))
    options = f"folder={str(folder)!r}, backend='rawframes', filename_tmpl='{{}}'"
    read, refused = map(
        int, mutating.in_process(f"import mutating; mutating.read_all({paths}, 250, {options})").split()
    )
    assert read + refused == 250 * len(paths) >= 2000 and read > 100 and refused > 100
