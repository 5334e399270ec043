"""Public names that users have in their code still import, and those of the table for people from MMAction2.

`from package import name` works for all of them. `actjax.tasks.ssn` and `actjax.tasks.recognition` were functions and
are packages now, which hold `task.ssn_task` and `task.recognition_task`.
"""

import importlib

import pytest

NAMES = """\
data.annotations.RawframesRecord data.annotations.VideoRecord
data.annotations.load_annotations data.build_dataloader data.build_dataset data.datasets.build_dataset
data.datasets.rawframes data.datasets.videos data.features.load_feature data.features.load_proposals
data.features.localization_labels data.load_annotations data.loading.build_dataloader data.loading.eval_batches
data.loading.train_batches data.prepared.load_prepared data.proposals.construct_proposal_pools
data.proposals.eval_item data.proposals.get_negatives data.proposals.get_positives data.proposals.training_item
data.repeat data.rescaling.pooled data.selecting.power_sample data.selecting.repeat data.selecting.shard
data.stages.read_clip data.untrimmed.activitynet detecting.report localization localization.actionness_labels
localization.batched localization.batched.soft_nms localization.boundary_labels
localization.boundary_matching_proposals localization.eval_ap localization.evaluate_ssn
localization.generate_bsp_feature localization.generate_candidate_proposals localization.ground_truth_by_class
localization.iou_map localization.load_localize_proposal_file localization.perform_regression
localization.post_processing localization.proposal_file.denormalize_proposal_file localization.proposal_list
localization.results_to_detections localization.soft_nms localization.temporal_iou localization.temporal_nms
losses.activity_loss losses.binary_cross_entropy losses.binary_logistic_regression losses.bmn_classification
losses.bmn_regression losses.boundary_regression_loss losses.completeness_loss losses.cross_entropy
losses.ohem_hinge_loss losses.proposal_regression metrics metrics.average_precision_at_temporal_iou
metrics.average_recall_at_avg_proposals metrics.confusion_matrix metrics.dump_results metrics.eval_ap
metrics.evaluate_activitynet metrics.evaluate_proposals metrics.evaluate_recognition metrics.get_weighted_score
metrics.mean_average_precision metrics.mean_class_accuracy metrics.pairwise_temporal_iou metrics.proposals2json
metrics.softmax metrics.top_k_accuracy models.BMN models.PEM models.ResNet models.SSN models.TEM models.TSM
models.TSN models.export_checkpoint models.freezing.Freezing models.import_checkpoint models.normalize
models.stpp.pool_segments models.stpp.pool_ticks models.temporal_shift models.tick_scores tasks.bmn tasks.pem
tasks.tem training.adam training.allreduce_grads training.evaluate training.param_groups training.sgd
training.step.LossScale training.step.update training.train training.tsm_optimizer video.decoding
video.decoding.open_video video.layout.collect video.layout.compose video.layout.format_shape video.layout.normalize
video.layout.to_array video.layout.transpose video.rendering video.rendering.render video.sampling
video.sampling.dense_sample_frames video.sampling.sample_frames video.sampling.sample_proposal_frames
video.sampling.untrimmed_sample_frames video.views video.views.center_crop video.views.flip
video.views.multi_group_crop video.views.multi_scale_crop video.views.random_crop video.views.random_resized_crop
video.views.resize video.views.ten_crop video.views.three_crop"""


@pytest.mark.parametrize("name", NAMES.split())
def test_a_public_name_is_imported(name):
    module, _, attribute = f"actjax.{name}".rpartition(".")
    found: dict = {}
    exec(f"from {module} import {attribute}", found)
    assert getattr(importlib.import_module(module), attribute) is found[attribute]
    assert attribute in dir(importlib.import_module(module)) or "Moved" in importlib.import_module(module).__doc__


def test_an_earlier_module_tells_where_its_names_went():
    with pytest.raises(AttributeError, match="actjax.data.stages.*nothing.*actjax.data.clips.spec"):
        importlib.import_module("actjax.data.stages").nothing  # noqa: B018


def test_an_earlier_module_lists_its_names():
    found: dict = {}
    exec("from actjax.data.stages import *", found)
    assert {"read_clip", "sample_frames"} <= set(found) & set(dir(importlib.import_module("actjax.data.stages")))
