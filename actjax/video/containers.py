"""What FFmpeg may open: files that hold their own pictures, and nothing besides the file or bytes that it is given.

FFmpeg also reads playlists and session descriptions, which make it open other files and sockets.
"""

import codecs
import contextlib
import os
import re
import threading
from collections.abc import Iterator
from typing import BinaryIO

from actjax.video.boxes import check_promises
from actjax.video.readers import Unreadable, frame_limit

# FFmpeg's readers of files that hold frames. Left out: those that open what a file names (hls, concat, dash, imf, sdp,
# rtsp, image2, mlv, vobsub, ...), devices, sound, subtitles and text.
_CONTAINERS = """
    4xm anm apng apv argo_brp asf asf_o av1 avi avs avs2 avs3 bethsoftvid bfi bink bmv c93 cavsvideo cdg cdxl cine
    cri_pipe dhav dirac dnxhd dsicin dv dxa ea evc film_cpk filmstrip fits flic flv frm gdv gif gxf h261 h263 h264
    hevc hnm hxvs ico idcin iff ifv ingenient ipmovie ipu iv8 ivf ivr jpegxl_anim jv kux live_flv lmlm4 lvf lxf m4v
    matroska mgsts mjpeg mjpeg_2000 mm mods moflex mov mp4 mpeg mpegts mpegtsraw mpegvideo mpjpeg mtv mv mvi mxf mxg
    nsv nut nuv obu ogg paf pmp psxstr pva r3d rl2 rm roq rpl sdr2 ser sga siff simbiosis_imx smjpeg smk smush swf
    thp tiertexseq tmv ty txd usm vc1 vc1test vividas vivo vmd vvc wc3movie webm webp_anim wsvqa wtv xmv yop
    yuv4mpegpipe bmp_pipe dds_pipe dpx_pipe exr_pipe gem_pipe gif_pipe hdr_pipe j2k_pipe jpeg_pipe jpegls_pipe
    jpegxl_pipe jpegxs_pipe pam_pipe pbm_pipe pcx_pipe pfm_pipe pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe photocd_pipe
    pictor_pipe png_pipe ppm_pipe psd_pipe qdraw_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe vbn_pipe webp_pipe
    xwd_pipe
"""
_VARIABLE, _LOCK = "OPENCV_FFMPEG_CAPTURE_OPTIONS", threading.Lock()
HEAD = 4096  # bytes that are looked at
_WORDS = {  # what is found at the beginning, or at the start of any line -> what the file is
    r"\A#EXT": "a playlist (M3U), which names other files",
    r"\Affconcat": "a playlist (ffconcat), which names other files",
    r"\A\[(playlist|reference)\]": "a playlist, which names other files",
    r"^(v=0\s*$|c=IN IP|m=(video|audio) )": "a session description (SDP), which names an address in the network",
    r"\A<(!doctype )?html": "a web page",
    r"\A<": "XML, such as a playlist",
}
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_PICTURES_IN_TEXT = re.compile(rb"YUV4MPEG2 |P[1-7]\s")  # headers of text before the pixels


def opened(source: str | BinaryIO, given: dict[str, str]):
    """A file opened with PyAV. av.FFmpegError: it cannot be."""
    import av

    lenient = int(av.__version__.partition(".")[0]) < 19  # PyAV 19 accepts titles that are not UTF-8
    return av.open(source, options=given, **({"metadata_errors": "ignore"} if lenient else {}))


def nameless(path: str) -> BinaryIO:
    """A file of whose name FFmpeg knows nothing: it decides by the content what it is."""
    return open(os.open(path, os.O_RDONLY), "rb")


def options(source: str | BinaryIO) -> dict[str, str]:
    """The options with which FFmpeg opens a file at a path, or bytes: no other protocol, no frame above the limit."""
    return {
        "format_whitelist": ",".join(_CONTAINERS.split()),
        "protocol_whitelist": "file" if isinstance(source, str) else "none",
        # Of widths that decoders have rounded up: readers count exactly. FFmpeg takes no larger number.
        "max_pixels": str(min(frame_limit() * 9 // 8, 2**31 - 1)),
    }


@contextlib.contextmanager
def opencv_options(path: str) -> Iterator[None]:
    """While OpenCV opens a file it is given the same `options`. It takes them from the environment."""
    with _LOCK:
        before = os.environ.get(_VARIABLE)
        given = "|".join(f"{name};{value}" for name, value in options(path).items())
        os.environ[_VARIABLE] = f"{before}|{given}" if before else given
        try:
            yield
        finally:
            os.environ.pop(_VARIABLE)
            if before is not None:
                os.environ[_VARIABLE] = before


def check_file(source: str | BinaryIO) -> None:
    """Looks into a file before a library opens it.

    Raises:
      Unreadable: it is empty, it begins with text, such as a playlist, or it promises more frames than it has bytes.
    """
    with open(source, "rb") if isinstance(source, str) else contextlib.nullcontext(source) as file:
        file.seek(0)
        head = file.read(HEAD)
        if not head:
            raise Unreadable("the file is empty")
        if found := _text(head):
            raise Unreadable(f"not a video file: {found}")
        check_promises(file)


def _text(head: bytes) -> str:
    """What text at the beginning of a file says; "": it is none.

    >>> _text(b"#EXTM3U"), _text(b"hello"), _text(b"\\0\\0\\0\\x1cftypisom")
    ('a playlist (M3U), which names other files', 'it is text', '')
    """
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    try:
        text = codecs.getincrementaldecoder(_MARKS.get(mark, "utf-8"))().decode(head[len(mark) :])
        whole = all(letter.isprintable() or letter.isspace() for letter in text)
    except UnicodeDecodeError:
        text, whole = head.decode("latin-1"), False
    text, zero, _ = text.partition("\0")
    text = text.lstrip()
    found = next((words for start, words in _WORDS.items() if re.search(start, text, re.IGNORECASE | re.MULTILINE)), "")
    if zero and found == _WORDS[r"\A<"]:  # the first number of a file that is no text
        found = ""
    return found or ("it is text" if whole and text and not _PICTURES_IN_TEXT.match(head) else "")
