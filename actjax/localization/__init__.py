"""Network outputs -> segments, in NumPy. `actjax.localization.batched` has jittable, batched versions."""

from actjax.faces import lazy
from actjax.localization.bmn import boundary_matching_proposals
from actjax.localization.detections import classified, detections_from_proposals, uniform_proposals
from actjax.localization.grouping import actionness_grouping, grouped_runs
from actjax.localization.labels import actionness_labels, boundary_labels, inside_video, iou_map
from actjax.localization.nms import grouped_nms, proposal_list, soft_nms, temporal_nms
from actjax.localization.proposal_file import (
    ground_truth_by_class,
    load_localize_proposal_file,
    proposal_rows,
    results_to_proposal_file,
    save_localize_proposal_file,
)
from actjax.localization.proposals import bsp_feature, candidate_proposals, match
from actjax.localization.ssn import perform_regression, score_proposals, ssn_detections
from actjax.metrics import eval_ap
from actjax.segments import temporal_iop, temporal_iou

__all__ = [
    "actionness_grouping",
    "actionness_labels",
    "boundary_labels",
    "boundary_matching_proposals",
    "bsp_feature",
    "candidate_proposals",
    "classified",
    "detections_from_proposals",
    "eval_ap",
    "evaluate_ssn",
    "generate_bsp_feature",
    "generate_candidate_proposals",
    "ground_truth_by_class",
    "grouped_nms",
    "grouped_runs",
    "inside_video",
    "iou_map",
    "load_localize_proposal_file",
    "match",
    "perform_regression",
    "post_processing",
    "proposal_list",
    "proposal_rows",
    "results_to_detections",
    "results_to_proposal_file",
    "save_localize_proposal_file",
    "score_proposals",
    "soft_nms",
    "ssn_detections",
    "temporal_iop",
    "temporal_iou",
    "temporal_nms",
    "uniform_proposals",
]
__getattr__, __dir__ = lazy(
    __name__,
    dict.fromkeys(
        (
            "evaluate_ssn",
            "generate_bsp_feature",
            "generate_candidate_proposals",
            "post_processing",
            "results_to_detections",
        ),
        "mmaction2",
    ),
)
