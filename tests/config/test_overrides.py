"""Values typed on the command line, or given in Python, in place of a config's."""

import inspect
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from actjax.config import Reader, bind
from actjax.config.files import load_config
from actjax.config.overrides import Text, override, split_flags
from actjax.config.recipe_files import recipe_names
from actjax.config.typed_text import read_text
from actjax.tasks import TASKS, build, registered
from actjax.training.groups import Rule


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("2", float, 2.0),
        ("1e-3", float, 1e-3),
        ("2", int, 2),
        ("2", str, "2"),  # numbers that are names
        ("None", str, "None"),
        ("None", float | None, None),
        ("none", str | None, None),
        ("0.5", float | None, 0.5),
        ("true", bool, True),
        ("0", bool, False),
        ("a,b", Sequence[str], ("a", "b")),
        ("a", Sequence[str], ("a",)),
        ("", tuple[int, ...], ()),
        ("1, 2", tuple[float, ...], (1.0, 2.0)),
        ("(1,2)", tuple[int, ...], (1, 2)),
        ("((0,1),(2,))", tuple[tuple[int, ...], ...], ((0, 1), (2,))),
        ("[a, b]", list[str], ("a", "b")),
        ('["a,b", "c"]', Sequence[str], ("a,b", "c")),
        ("train.csv", str | Sequence[str], "train.csv"),
        ("train.csv,more.csv", str | Sequence[str], ("train.csv", "more.csv")),
        ('["one,two.csv"]', str | Sequence[str], ("one,two.csv",)),
        ("7", int | str, 7),
        ("x7", int | str, "x7"),
        ("{'a': 1}", dict, {"a": 1}),
        ("prob", Literal["prob", "score"], "prob"),
        ("null", int | None, None),
        ("a,0.5", tuple[str, float], ("a", 0.5)),
    ],
)
def test_the_annotation_says_what_a_text_means(text, kind, value):
    read = read_text(text, kind)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("many", int, "an integer"),
        ("2.5", int, "an integer"),
        ("", float, "a number"),
        ("maybe", bool, "true or false"),
        ("x", float | None, "a number or None"),
        ("1,x", tuple[int, ...], "integers separated by commas"),
        ("mean", Literal["prob", "score"], "prob or score"),
        ("[1", dict, "a section"),
        ("1,2,3", tuple[int, int], "2 values separated by commas"),
        ("(1,.5,.75", tuple[float, ...], "numbers separated by commas"),
    ],
)
def test_what_does_not_fit_is_refused(text, kind, expected):
    with pytest.raises(ValueError, match=f"^expected {expected}$"):
        read_text(text, kind)


@pytest.mark.parametrize(
    ("text", "before", "value"),
    [
        ("3", 0.5, 3.0),
        ("0.5", 3, 0.5),
        ("3", 2, 3),
        ("3", "name", "3"),
        ("3", None, 3),
        ("a,2", None, ("a", 2)),
        ("None", None, None),
        ("1,x", (0.5,), (1, "x")),
    ],
)
def test_without_an_annotation_the_value_in_the_config_decides(text, before, value):
    assert read_text(text, inspect.Parameter.empty, before=before) == value


def test_flags_are_taken_out_of_the_command_line():
    argv = ["--config=x", "--config.run.epochs=2", "--workdir", "w", "--config.data.train", "a b.txt", "--mode=train"]
    argv += ["-config.run.seed=1", "--config.model.small_input", "--config.run.epochs=3", "--config.loss.name="]
    rest, changes = split_flags(argv)
    assert rest == ["--config=x", "--workdir", "w", "--mode=train"]
    expected = {
        "run.epochs": "3",
        "data.train": "a b.txt",
        "run.seed": "1",
        "model.small_input": "true",
        "loss.name": "",
    }
    assert changes == expected
    with pytest.raises(ValueError, match="write --config.SECTION.KEY=VALUE"):
        split_flags(["--config.=3"])


def changed(recipe: str, changes: dict) -> dict:
    config = load_config(recipe).config
    return override(config, changes, registered(config).reader)


def typed(recipe: str, *arguments: str) -> dict:
    return changed(recipe, split_flags(arguments)[1])


def test_any_key_that_a_function_takes():
    config = typed(
        "tsm_shapes",
        "--config.model.width=16",
        "--config.loss.class_weights=1,2,1,1,1,1,1,1",
        "--config.loader.power=0.5",
        "--config.optim.nesterov=true",
        "--config.run.ema=0.99",
        "--config.augment.mixup.alpha=0.2",
        "--config.extract.what=embedding",
        "--config.test.sample.name=sample_frames",
        "--config.test.sample.num_clips=4",
        "--config.test.view.name=three_crop",
        "--config.test.view.short_side=40",
        "--config.test.average_clips=prob",
    )
    assert config["loss"] == {"class_weights": (1.0, 2.0, *(1.0,) * 6)}
    assert config["augment"] == {"mixup": {"alpha": 0.2}}
    run = build(config)
    assert run.network.settings.ema == 0.99 and run.loader.power == 0.5
    assert run.test.clips.clip_shape == (3, 4, 40, 40, 3)


def test_a_blank_does_not_make_a_value_true():
    assert typed("tsm_shapes", "--config.model.small_input", "false")["model"]["small_input"] is False
    assert typed("tsm_shapes", "--config.run.epochs", "3")["run"]["epochs"] == 3.0
    assert typed("tsm_shapes", "--config.model.small_input")["model"]["small_input"] is True
    with pytest.raises(ValueError, match="^--config.data.folder: expected a value$"):
        typed("tsm_shapes", "--config.data.folder")
    with pytest.raises(ValueError, match="--config.run.epochs: expected a number"):
        typed("tsm_shapes", "--config.run.epochs")


def test_another_name_drops_what_it_does_not_take(caplog):
    caplog.set_level(logging.INFO, logger="actjax")
    recipe = "tsm_r50_1x1x8_50e_kinetics400_rgb"
    config = typed(recipe, "--config.optim.schedule.name=cosine", "--config.model.name=TSN")
    assert config["optim"]["schedule"] == {"name": "cosine"} and "shift_div" not in config["model"]
    assert "config.optim.schedule.gamma=0.1 is dropped: name is now 'cosine'" in caplog.messages
    assert len([text for text in caplog.messages if text.endswith("is dropped: name is now 'TSN'")]) == 3
    with pytest.raises(
        ValueError, match="config.optim.schedule.'gamma' does not go with config.optim.schedule.name='cosine'"
    ):  # never what was typed
        typed(recipe, "--config.optim.schedule.name=cosine", "--config.optim.schedule.gamma=0.5")
    same = typed(recipe, "--config.optim.schedule.name=step")
    assert same["optim"]["schedule"]["gamma"] == 0.1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.run.epocs=3", "config.run.'epocs' is unknown; did you mean 'epochs'"),
        ("--config.modl.width=3", "config.'modl' is unknown; did you mean config.model.width?"),
        ("--config.lr=0.1", "config.'lr' is unknown; did you mean config.optim.lr?"),
        ("--config.optim.learning_rate=0.1", "config.optim.'learning_rate' is unknown; did you mean config.optim.lr?"),
        ("--config.run.grad_clip=1", "config.run.'grad_clip' is unknown; did you mean config.optim.clip_norm?"),
        ("--config.run.nothing_like_this=1", "config.run.'nothing_like_this' is unknown; choose from"),
        ("--config.optim.schedule=cosine", "expected a section or None; write --config.optim.schedule.name=cosine"),
        ("--config.run=3", "--config.run=3: expected a section or None"),
        ("--config.run.epochs.more=3", "config.run.epochs.more: config.run.epochs is 8.0, not a section"),
        ("--config.run.epochs=many", "--config.run.epochs=many: expected a number"),
        ("--config.model.name=TSMM", "model.name='TSMM' is unknown; did you mean 'TSM'"),
        ("--config.model.parent=x", "config.model.'parent' is unknown"),
        ("--config.data.num_classes=3", "config.data.'num_classes' is unknown"),
        ("--config.task=bsn", "config.'task' is unknown"),
        ("--config.data.select.fraction=0.5", "config.data.'select' does not go with config.data.name='shapes', only"),
    ],
)
def test_what_nothing_reads_is_refused(argument, message):
    with pytest.raises(ValueError, match=message):
        build(typed("tsm_shapes", argument))


def later(size: "tuple[int, int]", tag: "str" = "", other: "Unknown" = None):  # noqa: F821
    """With annotations of which one cannot be evaluated."""


def test_annotations_are_read_one_by_one():
    reader = Reader((later,))
    found = override({}, {"size": Text("2,3"), "tag": Text("007"), "other": Text("007")}, reader)
    assert found == {"size": (2, 3), "tag": "007", "other": 7}
    assert bind(later, {"size": [2, 3]}, "own").keywords == {"size": (2, 3)}


def loss_of_any(*arguments, gamma: float = 1.0, weights=np.ones(3)):  # noqa: B008
    """Takes its inputs as `*args`, and has an array as a default."""


def test_functions_with_other_signatures():
    reader = Reader((loss_of_any,), positional=2)
    assert override({}, {"gamma": Text("2"), "weights": [1, 2, 3]}, reader) == {"gamma": 2.0, "weights": [1, 2, 3]}
    assert bind(loss_of_any, {"gamma": 2}, "loss", positional=2).keywords == {"gamma": 2}


def test_sections_are_merged_however_they_are_given():
    for changes in ({"loader": {"num_workers": 1}}, {"loader": Text("{'num_workers': 1}")}):
        assert changed("tsm_shapes", changes)["loader"] == {"num_workers": 1, "max_broken": 0.05}
    assert changed("tsm_shapes", {"loader": {}, "loss": {}}) == load_config("tsm_shapes").config.to_dict() | {
        "loss": {}
    }
    assert changed("tsm_shapes", {"loss": None})["loss"] is None


def test_sizes_go_with_their_backbone(caplog):
    caplog.set_level(logging.INFO, logger="actjax")
    config = typed("tsm_shapes", "--config.model.arch=mobilenet_v2", "--config.model.width=16")
    assert "depth" not in config["model"] and config["model"]["width"] == 16  # never what was typed
    assert "config.model.depth=10 is dropped: arch is now 'mobilenet_v2'" in caplog.messages
    assert typed("tsm_shapes", "--config.model.arch=resnet")["model"]["depth"] == 10


def own_optimizer(params, schedule, rules, *, factor: float = 1.0, **more):
    """Takes any key."""


def test_keys_of_a_function_that_takes_any(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "own_optimizer", own_optimizer)
    named = {"optim": {"name": f"{__name__}:own_optimizer", "lr": 0.1, "lr_batch_size": 8}}
    config = {"task": "recognition", **named}
    assert override(config, {"optim.beta": 0.5}, TASKS["recognition"].reader)["optim"]["beta"] == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": {"seed": 3.5}}, "config.run.seed=3.5: must be an integer"),
        ({"run": {"epochs": True}}, "config.run.epochs=True: must be a number"),
        ({"run.batch_size": "8"}, "config.run.batch_size='8': must be an integer"),
        ({"model": {"small_input": "false"}}, "config.model.small_input='false': must be true or false"),
        ({"model.mean": "1,2,3"}, "config.model.mean='1,2,3': must be a list of numbers"),
        ({"loss": print}, "config.loss: configs hold names, not functions; write 'builtins:print'"),
        (
            {"loss": {"class_weights": np.ones(3)}},
            "configs hold text, numbers, None and sequences of them, not ndarray",
        ),
        ({"augment": {1: 2}}, "config.augment: the keys of a config are text, not 1"),
        ({"optim": {"schedule": "cosine"}}, "write config.optim.schedule.name='cosine'"),
    ],
)
def test_in_python_values_have_the_types_of_their_parameters(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        changed("tsm_shapes", changes)


def test_numbers_of_numpy_and_paths_are_plain_values():
    row = Rule("all", ".*", 1, 1)
    changes = {
        "run": {"seed": np.int64(3)},
        "optim": {"lr": jnp.float32(0.5), "rules": dict(name="table", rows=[row])},
        "data.folder": Path("a"),
        "model.dtype": jnp.bfloat16,
    }
    config = changed("tsm_shapes", changes)
    found = config["run"]["seed"], config["optim"]["lr"], config["data"]["folder"], config["model"]["dtype"]
    assert found == (3, 0.5, "a", "bfloat16") and [type(value) for value in found] == [int, float, str, str]
    (found,) = config["optim"]["rules"]["rows"]
    assert found == row and type(found) is tuple


def test_values_of_a_file_have_the_types_of_their_parameters():
    config = load_config("tsm_shapes").config.to_dict()
    config["run"]["batch_size"] = 8.5
    with pytest.raises(ValueError, match="^run.batch_size=8.5: must be an integer$"):
        build(config)


def test_in_python_sections_are_merged_and_values_kept():
    config = changed("tsm_shapes", {"run": {"epochs": 1.5, "ema": None}, "model.width": 16, "load_from": {"path": ""}})
    assert config["run"]["epochs"] == 1.5 and config["run"]["batch_size"] == 16
    assert config["model"]["width"] == 16 and config["load_from"] == {"path": ""}
    assert type(changed("tsm_shapes", {"data.folder": "2024"})["data"]["folder"]) is str
    merged = changed("tsm_shapes", {"loader": ConfigDict({"num_workers": 1}), "evaluators": {"own": {"interval": 1.0}}})
    assert merged["loader"] == {"num_workers": 1, "max_broken": 0.05} and merged["evaluators"] == {
        "own": {"interval": 1.0}
    }
    given = {"loss": {}, "loss.label_smoothing": 0.1}
    changed("tsm_shapes", given)
    assert given == {"loss": {}, "loss.label_smoothing": 0.1}
    with pytest.raises(ValueError, match="config.run.epochs is given twice"):
        changed("tsm_shapes", {"run.epochs": 2.0, "run": {"epochs": 3.0}})
    before = load_config("tsm_shapes").config.to_dict()
    override(before, {"run.epochs": 1.0}, TASKS["recognition"].reader)
    assert before["run"]["epochs"] == 8.0  # the config itself is not changed


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_key_of_every_recipe_can_be_typed(recipe):
    """As its own text, wherever a value has one."""
    config = load_config(recipe).config.to_dict()
    reader, texts = registered(config).reader, {}

    def visit(section, where: str) -> None:
        for key, value in section.items():
            if isinstance(value, dict):
                visit(value, f"{where}{key}.")
            elif where + key != "task":
                texts[where + key] = Text(",".join(map(str, value)) if is_flat(value) else value)

    visit(config, "")
    assert len(texts) > 20
    again = override(config, texts, reader)
    for key, value in config.items():
        assert as_tuples(again[key]) == as_tuples(value)


def is_flat(value) -> bool:
    return isinstance(value, tuple | list) and not any(isinstance(v, tuple | list) or "," in str(v) for v in value)


def as_tuples(value):
    if isinstance(value, dict):
        return {key: as_tuples(inner) for key, inner in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value
