"""Every feature that a user can set, enumerated from the code, and the end-to-end tests that set it.

A feature is told by its place: `recognition mode eval`, `bsn tem.run.ema`, `ssn train.view.name=random`, `flag topk`,
`door load checkpoint`, `metrics accuracy --json`, `recipe recipes.py prepared`.
"""

import argparse
import functools
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from types import ModuleType

from absl import flags
from conftest import ROOT, TESTS
from learning import FIRST, OPTIM, RUN

import actjax
import actjax.data.lists.__main__ as lists
import actjax.main
import actjax.metrics.__main__ as metrics
from actjax.config import Reader
from actjax.config.sections import parameters_of
from actjax.tasks import TASKS
from actjax.tasks.recognition.trained import TrainedRecogniser

KEYS = "tests/tasks/test_{}_keys.py"

# Test -> the features that it sets and whose effect it sees; {a,b} stands for both, * for any characters.
TABLE = {
    "tests/test_main.py::test_eval_of_the_checkpoint_repeats_the_numbers":
        "recognition mode {train,eval}; flag {config,workdir,mode}",
    "tests/test_main.py::test_predictions_go_where_they_are_asked_for":
        "recognition mode predict; flag {video,out,topk}",
    "tests/test_main.py::test_export_and_import_of_a_run": "recognition mode {export,import}; flag {from,ema}",
    "tests/test_main.py::test_check_browse_and_prepare": "recognition mode {check,browse,prepare}; flag num",
    "tests/test_main.py::test_features_are_prepared_without_a_config": "flag features",
    "tests/test_main.py::test_a_quarantine_is_shown_and_cleared": "flag clear",
    "tests/test_main.py::test_scores_of_runs_are_fused_from_the_command_line":
        "flag protocol; metrics accuracy --{json,predictions,coefficients}",
    "tests/test_outside.py::test_a_copy_from_elsewhere_runs_nothing_before_it_is_trusted": "flag trust_code",
    "tests/tasks/test_own_folder.py::test_one_command_trains_and_keeps_its_split":
        "recognition data.{name=folders,val_share}; recipe tsm_own.py scratch",
    "tests/tasks/test_own_folder.py::test_another_split_is_refused_in_the_workdir": "recognition data.lists",
    "tests/test_published.py::test_missing_weights_are_one_error_before_anything_is_written":
        "recipe tsm_own.py {mobilenet,r50}",
    "tests/tasks/test_extracting.py::test_command_line": "recognition mode extract",
    "tests/tasks/test_localizing.py::test_command_line": "bmn mode localize; flag {video,features,out}",
    "tests/tasks/test_localizing.py::test_a_network_that_has_moved": "flag network",
    "tests/tasks/test_localizing_recognition.py::test_segments_are_those_of_the_kept_scores":
        "recognition mode localize; recognition localize.{window,stride,threshold}",
    "tests/tasks/test_localizing_recognition.py::test_classes_that_do_not_exclude_each_other":
        "recognition localize.{tolerance,min_seconds}",
    "tests/tasks/test_localizing_recognition.py::test_a_background_class_parts_action_from_nothing":
        "recognition localize.background",
    "tests/tasks/test_localizing_recognition.py::test_chunks_change_nothing": "recognition localize.chunk",
    "tests/tasks/test_localizing_ssn.py::test_detections_are_those_of_its_evaluation":
        "ssn mode localize; flag proposals",
    "tests/tasks/test_localizing_ssn.py::test_a_run_that_knows_who_made_its_proposals": "ssn data.proposed_by",
    "tests/tasks/test_localize_outputs.py::test_command_line": "flag {truth,render,min_score}",
    "tests/tasks/test_own_videos.py::test_the_workdir_is_an_ordinary_run": "own mode train; own data.network",
    "tests/tasks/test_own_videos.py::test_videos_are_found_by_their_names": "own data.{videos,train,val,subsets}",
    "tests/tasks/test_own_videos.py::test_videos_that_are_missing": "own data.max_missing",
    "tests/tasks/test_own_videos.py::test_clips_of_the_network_are_as_told":
        "own data.{interval,window,num_frames,what,num_train,num_val,seed}",
    "tests/tasks/test_own_videos.py::test_recipes_build": "own localizer; recipe ssn_own.py r50",
    "tests/tasks/test_own_videos.py::test_explain": "own mode explain",
    "tests/tasks/test_own_videos.py::test_bsn_from_nothing": "bsn mode localize; own data.rescale",
    "tests/tasks/test_bsn_run.py::test_bmn_trains_evaluates_and_is_exchanged":
        "bmn mode {train,eval,import,export}; flag checkpoint",
    "tests/tasks/test_bsn_run.py::test_run_ends_with_tables_and_files": "bsn mode train",
    "tests/tasks/test_bsn_run.py::test_stages_one_by_one_and_killed": "bsn stages",
    "tests/tasks/test_bsn_run.py::test_export_needs_the_stage": "bsn mode export; flag stage",
    "tests/tasks/test_bsn_run.py::test_curves_and_proposals_made_elsewhere":
        "bsn tem.results; bsn pgm.{proposals,features}",
    "tests/tasks/test_ssn_run.py::test_one_command_ends_with_mean_average_precision": "ssn mode train",
    "tests/tasks/test_ssn_run.py::test_checkpoint_of_others_and_a_broken_video":
        "ssn mode {export,import,eval}; ssn loader.max_broken",
    "tests/test_saved_runs.py::test_bsn_is_evaluated_and_nothing_finished_is_repeated": "bsn mode eval",
    "tests/training/test_multihost.py::test_two_processes_are_one": "flag {distributed,heartbeat}",
    "tests/test_docs_commands.py::test_commands_do_what_is_told":
        "recognition mode explain; flag devices; bsn mode import; recipe recipes.py {flow,prepared}; "
        "recognition load_from.inflate_stem",
    "tests/test_mission.py::test_tsn_is_blind_to_it": "recipe tsm_shapes.py tsn",
    "tests/test_mission.py::test_kinetics_config_trains_on_real_files": "recipe recipes.py scratch",
    "tests/tasks/test_evaluators.py::test_every_evaluator_has_its_numbers_in_all_results": "recognition evaluators.*",
    "tests/tasks/test_outside_backbone.py::test_train_export_and_import": "recognition model.arch_options",
    "tests/test_door.py::test_a_run_from_python_is_a_run_of_the_command_line": "door train {config,workdir,overrides}",
    "tests/test_door.py::test_predict_takes_videos_in_any_form": "door load source; door predict {video,topk}",
    "tests/test_door.py::test_scores_and_features": "door {scores,embed} video",
    "tests/test_door.py::test_a_loaded_run_tells_what_it_is_and_ends": "door close",
    "tests/test_door.py::test_evaluate_repeats_the_numbers": "door evaluate *",
    "tests/test_door.py::test_a_checkpoint_of_another_program": "door load {checkpoint,overrides}",
    "tests/test_door.py::test_a_run_and_its_saved_config_without_the_code": "door load trust_code",
    "tests/metrics/test_command_line.py::test_activitynet_detection":
        "metrics activitynet-detection --{ground-truth,predictions,json,plot,per-class}",
    "tests/metrics/test_command_line.py::test_activitynet_proposals":
        "metrics activitynet-proposals --{ground-truth,predictions,json,plot}",
    "tests/metrics/test_command_line.py::test_thumos14_names_its_variant":
        "metrics thumos14 --{ground-truth,predictions,json,per-class,cliff-diving,ambiguous}",
    "tests/metrics/test_command_line.py::test_which_videos_of_activitynet_count":
        "metrics {activitynet-detection,activitynet-proposals} --{subset,video-info,block-list,unknown-videos}",
    "tests/metrics/test_command_line.py::test_which_videos_of_thumos14_count":
        "metrics thumos14 --{subset,block-list,unknown-videos,plot}",
    "tests/metrics/test_command_line.py::test_accuracy_of_several_labels": "metrics accuracy --multi-label",
    "tests/metrics/test_command_line.py::test_accuracy_fuses_models": "metrics accuracy --ground-truth",
    "tests/metrics/test_command_line.py::test_accuracy_of_folders_of_frames": "metrics accuracy --rawframes",
    "tests/data/test_public_lists.py::test_lists_are_as_published_and_the_printed_command_reads_them":
        "lists {ucf101,hmdb51,sthv1,sthv2,jester,diving48} --{annotations,videos,out}; "
        "lists {kinetics400,kinetics600,kinetics700} --{annotations,videos,out}",
    "tests/data/test_public_lists.py::test_the_second_split": "lists {ucf101,hmdb51} --split",
    "tests/data/test_public_lists.py::test_missing_videos_are_told_and_left_out_or_kept": "lists * --keep_missing",
    "tests/data/test_public_lists.py::test_activitynet_with_a_table_of_lengths":
        "lists {activitynet,thumos14} --{annotations,video_info,out}",
    "tests/data/test_public_lists.py::test_activitynet_with_lengths_of_the_videos":
        "lists activitynet --{videos,features}",
    "tests/data/test_public_lists.py::test_thumos14": "lists thumos14 --{videos,features,ambiguous}",
    KEYS.format("bsn") + "::test_a_run_detects_as_told":
        "bmn detect.top_classes; bmn data.class_scores; bmn bmn.checkpoint",
    KEYS.format("bsn") + "::test_training_starts_from_a_file":
        "{bsn,bmn} {tem,pem,bmn}.load_from.{path,strict,seed}; {recognition,ssn} load_from.{path,strict,seed}",
    KEYS.format("bsn") + "::test_stages_use_the_checkpoints_that_are_named":
        "bsn {tem,pem}.checkpoint; bsn data.class_scores; bsn detect.top_classes",
    KEYS.format("bsn") + "::test_averaged_weights_of_a_file_are_taken_if_asked":
        "{recognition,ssn} load_from.ema; {bsn,bmn} {tem,pem,bmn}.load_from.ema",
    KEYS.format("bsn") + "::test_the_stem_of_an_ssn_for_flow_is_inflated": "ssn load_from.inflate_stem",
    KEYS.format("ssn") + "::test_a_run_detects_as_told": "ssn detect.*; ssn checkpoint",
    KEYS.format("ssn") + "::test_the_recipe_for_thumos14_reads_videos_from_scratch":
        "recipe ssn_r50_450e_thumos14_rgb.py {videos,scratch}; door build {config,overrides}",
    KEYS.format("modes") + "::test_explain": "{bsn,bmn,ssn} mode explain",
    KEYS.format("modes") + "::test_features_are_extracted_as_told":
        "recognition extract.{interval,window,num_frames,what,suffix,chunk}",
    KEYS.format("modes") + "::test_a_set_is_prepared_as_told": "recognition prepare.{short_side,num_shards,quality}",
    KEYS.format("modes") + "::test_loaders_do_with_broken_files_as_told":
        "{recognition,ssn} loader.{timeout,max_broken,skip}",
    KEYS.format("recognition") + "::test_a_run":
        "recognition {data.name=videos,model.name=TSM}; recognition {train,eval}.sample.name=sample_frames; "
        "recognition {train.view.name=multi_scale,eval.view.name=center}",
    KEYS.format("learning") + "::test_a_run_logs_evaluates_and_saves_when_told":
        "{bsn,bmn} data.name=sequences; ssn data.name=untrimmed_shapes; * *optim.rules.name=uniform; "
        "ssn {train.view.name=multi_scale,test.view.name=center}",
}  # fmt: skip

# Features that need no row, and why.
WITHOUT = {
    "recognition train.sample.twice_sample": "refused: it is for tests",
    "recognition train.sample.num_sample_positions": "for tests; training draws one window",
    "recognition {eval,test}.sample.temporal_jitter": "for training; tests draw nothing",
    "{bsn,bmn} *.load_from.inflate_stem": "these networks have no stem",
    "{bsn,bmn,ssn} *optim.rules.fc_lr5": "these networks have no layer of this name",
    "ssn train.view.{name=multi_group,groups}": "refused: SSN takes one crop of each clip",
    "bmn stages": "BMN has one stage",
}


def tables() -> dict[str, list[str]]:
    """Test -> patterns of features: the table, and what the tests of keys set."""
    found = {test: texts.split("; ") for test, texts in TABLE.items()}
    recognition, ssn, bsn = (_module(name) for name in ("recognition", "ssn", "bsn"))
    for case, keys in (recognition.CASES | recognition.LOOKED_AT).items():
        test = KEYS.format("recognition") + f"::test_every_key_has_an_effect[{case}]"
        looked_at = {k: v for k, v in recognition.with_the_test(keys).items() if not k.startswith(("optim.", "run."))}
        found[test] = _named("recognition", looked_at)
    for case, keys in ssn.CASES.items():
        found[KEYS.format("ssn") + f"::test_every_key_has_an_effect[{case}]"] = _named("ssn", keys)
    for name, keys in bsn.NETWORKS.items():
        test = KEYS.format("bsn") + f"::test_every_key_of_a_network_has_an_effect[{name}]"
        found[test] = _named(_task(name), {f"{name}.{key}": value for key, value in keys.items()})
    found[KEYS.format("bsn") + "::test_every_key_between_the_networks_has_an_effect"] = _named("bsn", bsn.PGM)
    for case, keys in bsn.TRAINED.items():
        test = KEYS.format("bsn") + f"::test_every_key_of_the_data_has_an_effect[{case}]"
        found[test] = [*_named("bsn", keys), *_named("bmn", {k: v for k, v in keys.items() if "tem." not in k})]
    learning = _module("learning")
    for name in FIRST:
        prefix = "" if name in ("recognition", "ssn") else f"{name}."
        for variant, keys in OPTIM.items():
            test = KEYS.format("learning") + f"::test_every_key_of_the_optimizer_has_an_effect[{name}-{variant}]"
            found[test] = _named(_task(name), {f"{prefix}optim.{key}": value for key, value in keys.items()})
        step = {f"{prefix}run.{key}": None for key in (*RUN, *([] if prefix else ["bn"]))}
        found[KEYS.format("learning") + f"::test_every_key_of_the_step_has_an_effect[{name}]"] = _named(
            _task(name), step
        )
        told = {f"{prefix}{key}": None for key in (*learning.TOLD, "run.best", "run.best_rule")}
        test = KEYS.format("learning") + f"::test_a_run_logs_evaluates_and_saves_when_told[{name}]"
        found[test] = _named(_task(name), told)
    return found


def matcher(pattern: str) -> re.Pattern:
    """`{a,b}` stands for both, `*` for any characters."""
    parts = re.split(r"(\{[^}]*\}|\*)", pattern)
    text = {"*": ".*"}
    return re.compile("".join(
        text.get(part) or (f"({part[1:-1].replace(',', '|')})" if part.startswith("{") else re.escape(part))
        for part in parts
    ))  # fmt: skip


def features() -> set[str]:
    """Everything that a user can set."""
    return {*_of_configs(), *_of_commands(), *_of_the_door(), *_of_recipes()}


def _of_configs() -> Iterator[str]:
    for name, task in TASKS.items():
        yield from (f"{name} mode {mode}" for mode in task.modes)
        yield from (f"{name} {key}" for key in _keys(task.reader, ""))


def _keys(reader: Reader, prefix: str) -> Iterator[str]:
    """All keys that a section may hold, and all names of functions that it may select."""
    for by in reader.by:
        tables = by if isinstance(by, Mapping) else {"": by}
        for name, function in tables.items():
            if name:
                yield f"{prefix}name={name}"
            for key in parameters_of(function, reader.given, positional=reader.positional)[0]:
                if key not in reader.parts and key != "name":
                    yield f"{prefix}{key}"
    for key, part in reader.parts.items():
        yield from _keys(part, f"{prefix}{key}.")
    if reader.each:
        yield from _keys(reader.each, f"{prefix}NAME.")


def _of_commands() -> Iterator[str]:
    yield from (f"flag {flag.name}" for flag in flags.FLAGS.get_flags_for_module(actjax.main))
    for program, parser in (("metrics", metrics._parser()), ("lists", lists._parser())):
        (tasks,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        for task, sub in tasks.choices.items():
            options = [option for action in sub._actions for option in action.option_strings]
            yield from (f"{program} {task} {option}" for option in options if option not in ("-h", "--help"))


def _of_the_door() -> Iterator[str]:
    methods = {name: getattr(TrainedRecogniser, name) for name in ("predict", "scores", "embed", "close")}
    for name, function in (
        {name: getattr(actjax, name) for name in ("train", "evaluate", "load", "build")} | methods
    ).items():
        names = [key for key in inspect.signature(function).parameters if key != "self"]
        yield from (f"door {name} {key}" for key in names) if names else (f"door {name}",)


def _of_recipes() -> Iterator[str]:
    for file in (ROOT / "actjax" / "recipes.py", *sorted((ROOT / "configs").glob("*.py"))):
        for arguments in re.findall(r"parse_arg\(arg, (.*?)\)", file.read_text()):
            yield from (f"recipe {file.name} {key}" for key in re.findall(r"(\w+)=", arguments))


@functools.cache
def _module(name: str) -> ModuleType:
    """A file of tests, which need not be in the path."""
    spec = importlib.util.spec_from_file_location(f"keys_of_{name}", TESTS / "tasks" / f"test_{name}_keys.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _task(network: str) -> str:
    return "bsn" if network in ("tem", "pem") else network


def _named(task: str, keys: Mapping) -> list[str]:
    """The features of keys: a name is one of its own, and an augmentation is one with all that it takes."""
    names = [f"{key}={value}" if key.endswith(".name") else key for key, value in keys.items()]
    return [f"{task} " + (".".join(name.split(".")[:2]) if name.startswith("augment.") else name) for name in names]
