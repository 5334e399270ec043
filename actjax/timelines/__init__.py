"""Segments found along a video -> files that people look at: tables, subtitles, pictures, labelled videos."""

from actjax.timelines.overlay import write_labelled
from actjax.timelines.picture import Curves, save_picture, timeline_figure
from actjax.timelines.subtitles import srt_text, write_srt
from actjax.timelines.tables import read_csv, read_results, write_csv, write_results
from actjax.timelines.timeline import Timeline

__all__ = [
    "Curves",
    "Timeline",
    "read_csv",
    "read_results",
    "save_picture",
    "srt_text",
    "timeline_figure",
    "write_csv",
    "write_labelled",
    "write_results",
    "write_srt",
]
