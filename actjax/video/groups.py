"""Finds the frames of a video stream from its packets, before anything is decoded.

If each packet holds one frame and its presentation timestamp, frame k is the one with the k-th smallest timestamp, and
decoding can start at the last key frame before it. Other files raise `Unordered`: they must be decoded in order.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from actjax.video.streams import MP4, Stream, Unordered

# Codecs with one frame per packet, and containers whose timestamps are those of the frames. AVI has no timestamps: it
# counts packets, which gives the display order if it is the decoding order.
FRAMED = ("h264", "hevc", "av1", "vp9", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "prores", "dnxhd")
STAMPED = {
    MP4: (*FRAMED, "h263"), "matroska,webm": FRAMED, "mpegts": FRAMED, "flv": ("h264", "hevc", "flv1"),
    "avi": ("mpeg4",),
}  # fmt: skip
FIELDS = ("h264", "mpeg2video")  # codecs that may put the two fields of a frame into two packets
KEY, DISCARD = 1, 2  # FFmpeg's AVINDEX_KEYFRAME and AVINDEX_DISCARD_FRAME
PROGRESSIVE = 1  # FFmpeg's AV_FIELD_PROGRESSIVE
NOTHING = 8  # bytes; MPEG-4 packets of at most this size may stand for "no frame"
REORDER = 16  # packets also decoded after a wanted one, since its timestamp may belong to another frame
SHORT = 5000  # packets; in shorter files every packet is examined, in longer ones only those of the groups being read
HEAD = 32  # packets decoded to find out whether the first frames of a stream can be


class Run(NamedTuple):
    """Packets `first` up to `end`, to be decoded in one go. stamps: timestamps of the frames they may give.

    key: timestamp of the first decoded frame. reordered: whether display order differs from decoding order.
    """

    first: int
    end: int
    key: int
    stamps: set[int]
    reordered: bool


class Groups:
    """The packets of a stream in decoding order. A group begins with a key frame and ends before the next one.

    Args:
      stream: the stream.
      keys: bool [n], whether a packet is a key frame.
      shown: bool [n], whether its frame is shown.
      stamps: int64 [n], presentation timestamps in the stream's time base; None: read when needed.
    """

    def __init__(self, stream: Stream, keys: np.ndarray, shown: np.ndarray, stamps: np.ndarray | None = None):
        self._stream = stream
        starts = np.union1d([0], np.flatnonzero(keys))
        self._starts, self._ends = starts, np.append(starts[1:], len(keys))
        self._shown = shown
        self._before = np.concatenate([[0], np.cumsum(shown)])[starts]  # frames shown before each group
        self._stamps = {} if stamps is None else dict(enumerate(np.split(stamps, starts[1:])))
        self.num_frames = int(np.count_nonzero(shown))

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """Sorted frame indices -> int64 [n], their timestamps in the stream's time base."""
        groups = self._groups(indices)
        out = [np.sort(self._shown_stamps(g))[indices[groups == g] - self._before[g]] for g in np.unique(groups)]
        return np.concatenate([np.zeros(0, np.int64), *out])

    def runs(self, indices: np.ndarray, wanted: np.ndarray) -> list[Run]:
        """The packets to decode for sorted frame indices; `wanted` holds their `stamps`."""
        groups = self._groups(indices)
        spans: list[list[int]] = []  # first and last group, end
        for last in np.unique(groups).tolist():
            first = last
            while first and self._refers_back(first):
                first -= 1
            of_last = np.isin(self._all_stamps(last), wanted[groups == last])
            end = int(self._starts[last] + np.flatnonzero(of_last)[-1] + 1)
            if self._stream.codec.has_b_frames:
                end = min(end + REORDER, int(self._ends[last]))
            if spans and first <= spans[-1][1]:
                spans[-1][1:] = last, end
            else:
                spans.append([first, last, end])
        return [self._run(range(first, last + 1), end) for first, last, end in spans]

    def _run(self, groups: range, end: int) -> Run:
        stamps = set().union(*(self._shown_stamps(group).tolist() for group in groups))
        reordered = any(np.any(np.diff(self._all_stamps(group)) < 0) for group in groups)
        return Run(int(self._starts[groups[0]]), end, int(self._all_stamps(groups[0])[0]), stamps, reordered)

    def _groups(self, indices: np.ndarray) -> np.ndarray:
        """Frame indices -> int64 [n], their groups. Of groups that begin with the same frame, the last one shows it."""
        return np.searchsorted(self._before, indices, side="right") - 1

    def _all_stamps(self, group: int) -> np.ndarray:
        if group not in self._stamps:
            packets = self._stream.packets(int(self._starts[group]), int(self._ends[group]))
            self._stamps[group] = _stamps(packets)
            if len(self._stamps[group]) < self._ends[group] - self._starts[group]:
                raise Unordered
            self._check(group)
        return self._stamps[group]

    def _shown_stamps(self, group: int) -> np.ndarray:
        return self._all_stamps(group)[self._shown[self._starts[group] : self._ends[group]]]

    def _refers_back(self, group: int) -> bool:
        """Whether frames of a group are shown before its key frame: these may refer to the previous group."""
        stamps = self._all_stamps(group)
        return bool(np.any(stamps < stamps[0]))

    def _check(self, group: int) -> None:
        """Raises Unordered if two frames have the same timestamp, or a group overlaps a known neighbour in time."""
        stamps = np.sort(self._shown_stamps(group))
        if np.any(stamps[1:] == stamps[:-1]):
            raise Unordered
        for one, next_ in ((group - 1, group), (group, group + 1)):
            if one in self._stamps and next_ in self._stamps:
                earlier, later = self._shown_stamps(one), self._shown_stamps(next_)
                if len(earlier) and len(later) and earlier.max() >= later.min():
                    raise Unordered

    def check(self) -> None:
        """Raises Unordered if the known timestamps do not give the order of frames, or which ones can be decoded."""
        known = list(self._stamps)
        for group in known:
            self._check(group)
        hidden = np.flatnonzero(~self._shown)
        edges = (hidden < self._ends[0]) | (hidden >= self._starts[-1])
        if not edges.all() or (len(hidden) and self._stream.format == "hevc"):
            raise Unordered  # several edits, or hidden frames may be reference frames
        if len(self._shown) <= SHORT and any(map(self._refers_back, known[1:])):
            raise Unordered  # the frames these groups refer to may have been cut off


def find_groups(stream: Stream) -> Groups:
    """The groups of a stream, from its index or from all its packets. Raises Unordered: it must be decoded in order."""
    if not _is_stamped(stream):
        raise Unordered
    entries = stream.stream.index_entries
    return _indexed(stream, entries) if len(entries) > SHORT and stream.has_index() else _scanned(stream)


def _is_stamped(stream: Stream) -> bool:
    """Whether this kind of file is expected to give the order of its frames by timestamps."""
    packed = stream.format == "mpeg4" and stream.codec.has_b_frames  # a packet may hold two frames, the next one none
    return stream.format in STAMPED.get(stream.container, ()) and not packed


def _indexed(stream: Stream, entries) -> Groups:
    flags = np.fromiter((entry.flags for entry in entries), np.int8, len(entries))  # a signed 2-bit field
    sizes = (entry.size for entry in entries) if stream.format == "mpeg4" else ()
    if entries[-1].pos + entries[-1].size > stream.num_bytes:
        raise Unordered  # the end of the file is missing
    head = [*stream.packets(0, HEAD)]
    stream.seek_by_index()
    return _playable(stream, head, (flags & KEY) != 0, (flags & DISCARD) == 0, None, sizes)


def _scanned(stream: Stream) -> Groups:
    head, rows = [], []
    for packet in stream.packets():
        if packet.is_corrupt:
            raise Unordered  # a packet that cannot be decoded shows no frame
        if len(head) < HEAD:
            head.append(packet)
        rows.append((packet.pts, packet.is_keyframe, not packet.is_discard, packet.size))
    stamps, keys, shown, sizes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return _playable(stream, head, np.array(keys, bool), np.array(shown, bool), _array(stamps), sizes)


def _playable(stream: Stream, head: list, keys, shown, stamps, sizes: Iterable[int]) -> Groups:
    """Groups without the leading frames that cannot be decoded because their references were cut off; `head`: the first
    packets."""
    if not len(keys) or (stream.format == "mpeg4" and min(sizes) <= NOTHING):
        raise Unordered
    first = _stamps(head)
    if not keys[0] or not shown[:HEAD].all() or np.any(first < first[0]) or _has_fields(stream):
        shown[: len(head)] &= ~_lost(stream, head, first, shown[: len(head)], whole=len(head) == len(keys))
    groups = Groups(stream, keys, shown, stamps)
    groups.check()
    return groups


def _has_fields(stream: Stream) -> bool:
    return stream.format in FIELDS and stream.codec.field_order != PROGRESSIVE


def _lost(stream: Stream, head: list, stamps: np.ndarray, shown: np.ndarray, *, whole: bool) -> np.ndarray:
    """bool [n]: whether a packet of `head` has a frame that cannot be decoded, because its references are missing."""
    import av

    stream.codec.flush_buffers()
    found = []
    for packet in itertools.chain(head, [None] if whole else []):
        try:
            found += [frame.pts for frame in stream.decode(packet)]
        except av.FFmpegError:
            if found:
                raise Unordered from None
    stream.codec.flush_buffers()
    if not found:
        raise Unordered
    expected = np.sort(stamps[shown])
    if not whole:
        expected = expected[expected <= found[-1]]
    if found != expected[expected >= found[0]].tolist():
        raise Unordered
    return shown & (stamps < found[0])


def _stamps(packets: Iterable) -> np.ndarray:
    return _array([packet.pts for packet in packets])


def _array(stamps) -> np.ndarray:
    if None in stamps:
        raise Unordered
    return np.array(stamps, np.int64)
