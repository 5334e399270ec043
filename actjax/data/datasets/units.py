"""Holds the numbers of untrimmed videos against each other: lengths in seconds and frames, segments, features."""

import logging
from collections.abc import Iterator, Sequence

from actjax.data.datasets.records import ActivityNetRecord
from actjax.errors import shown

log = logging.getLogger(__name__)

SLIPS = 0.1  # of a file's segments or videos; where more contradict each other, a field has another unit
RATES = (0.5, 1000)  # frames per second


def check_units(path, records: Sequence[ActivityNetRecord]) -> None:
    """Warns of segments and lengths that contradict each other, with their number and the first.

    Raises:
      ValueError: more than a tenth do.
    """
    segments = [(record, *row["segment"]) for record in records for row in record.annotations]
    for kind, told in _OF_SEGMENTS.items():
        _tell(path, told, [(r, f"[{s:g}, {e:g}] {found}") for r, s, e in segments for found in kind(r, s, e)], segments)
    _check_fractions(path, segments)
    for kind, told in _OF_VIDEOS.items():
        _tell(path, told, [(record, found) for record in records for found in kind(record)], records)


def _tell(path, told: str, found: list[tuple[ActivityNetRecord, str]], among: Sequence) -> None:
    if not found:
        return
    record, example = found[0]
    text = f"{path}: {len(found)} of {len(among)} {told}; the first is of {shown(record.video)}: {example}"
    if len(found) > SLIPS * len(among):
        raise ValueError(text)
    log.warning("%s", text)


def _check_fractions(path, segments: list[tuple]) -> None:
    """ValueError: all segments of long videos end within the first second."""
    if len(segments) > 1 and all(end <= 1 for _, _, end in segments):
        record, start, end = max(segments, key=lambda segment: segment[0].duration_second)
        if record.duration_second > 10:
            raise ValueError(
                f"{path}: all {len(segments)} segments end within the first second, such as [{start:g}, {end:g}] of "
                f"{shown(record.video)} in {record.duration_second:g} s; they must be in seconds, not fractions"
            )


def _outside(record: ActivityNetRecord, start: float, end: float) -> Iterator[str]:
    if not 0 <= start < record.duration_second or end > 1.05 * record.duration_second + 1:
        yield f"in {record.duration_second:g} s"


def _behind_features(record: ActivityNetRecord, start: float, end: float) -> Iterator[str]:
    covered = record.feature_frame / record.duration_frame * record.duration_second
    if covered <= start < record.duration_second:
        lengths = f"feature_frame={record.feature_frame:g} of duration_frame={record.duration_frame:g}"
        yield f"in {record.duration_second:g} s, of which {lengths} covers {covered:g}"


def _too_many_features(record: ActivityNetRecord) -> Iterator[str]:
    if record.feature_frame > 1.5 * record.duration_frame + 64:  # the last step of features may lie behind the end
        yield f"feature_frame={record.feature_frame:g}, duration_frame={record.duration_frame:g}"


def _strange_rate(record: ActivityNetRecord) -> Iterator[str]:
    if not RATES[0] <= record.duration_frame / record.duration_second <= RATES[1]:
        yield f"duration_frame={record.duration_frame:g} in duration_second={record.duration_second:g}"


_OF_SEGMENTS = {
    _outside: "segments are not inside their video; they must be in seconds, not in frames",
    _behind_features: "segments begin after what the features cover; feature_frame counts frames, not rows of a file",
}
_OF_VIDEOS = {
    _too_many_features: "videos have features of more frames than they have; feature_frame counts frames of the video",
    _strange_rate: "videos have an impossible frame rate",
}
