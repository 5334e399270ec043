"""SSN on whole videos: scores of their proposals, one file each, then detections and how good they are."""

from actjax.detecting.report import report
from actjax.detecting.scoring import score_videos

__all__ = ["report", "score_videos"]
