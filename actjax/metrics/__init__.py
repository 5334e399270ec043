"""Scores or segments -> numbers. Needs NumPy only: importable on its own.

`python -m actjax.metrics --help` scores result files.
"""

from actjax.faces import lazy
from actjax.metrics.average_precision import Instances, average_precisions, eval_ap
from actjax.metrics.average_recall import AverageRecall, average_recall_at_avg_proposals
from actjax.metrics.evaluation import (
    DetectionScore,
    activitynet_recall,
    evaluate_activitynet,
    evaluate_detections,
    evaluate_proposals,
    evaluate_recognition,
    proposal_numbers,
)
from actjax.metrics.ground_truth import GroundTruth, activitynet_ground_truth, load_activitynet, load_thumos14
from actjax.metrics.multilabel import (
    class_mean_average_precision,
    mean_average_precision,
    sample_mean_average_precision,
)
from actjax.metrics.recognition import (
    confusion_matrix,
    get_weighted_score,
    mean_class_accuracy,
    softmax,
    top_k_accuracy,
)
from actjax.metrics.results import Predictions, dump_results, load_results, proposals2json
from actjax.metrics.score_files import load_class_scores

__all__ = [
    "AverageRecall",
    "DetectionScore",
    "GroundTruth",
    "Instances",
    "Predictions",
    "activitynet_ground_truth",
    "activitynet_recall",
    "average_precision_at_temporal_iou",
    "average_precisions",
    "average_recall_at_avg_proposals",
    "class_mean_average_precision",
    "confusion_matrix",
    "dump_results",
    "eval_ap",
    "evaluate_activitynet",
    "evaluate_detections",
    "evaluate_proposals",
    "evaluate_recognition",
    "get_weighted_score",
    "load_activitynet",
    "load_class_scores",
    "load_results",
    "load_thumos14",
    "mean_average_precision",
    "mean_class_accuracy",
    "pairwise_temporal_iou",
    "proposal_numbers",
    "proposals2json",
    "sample_mean_average_precision",
    "softmax",
    "top_k_accuracy",
]
__getattr__, __dir__ = lazy(
    __name__, dict.fromkeys(("average_precision_at_temporal_iou", "pairwise_temporal_iou"), "mmaction2")
)
